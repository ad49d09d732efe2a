//! NodePool: nodes that may be made, how many, and when they may go.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::rule::{self, DURATION, DURATION_OR_NEVER, VALUE_PATTERN, rules};
use super::{
    Amounts, Condition, NodeClassRef, Other, Requirement, Taint, condition, is_default, requirement,
};

/// What nodes may be made, how many of them, and when they may be replaced or removed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "karpenter.sh",
    version = "v1",
    kind = "NodePool",
    plural = "nodepools",
    category = "karpenter",
    status = "NodePoolStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "Nodes of one sort: which may be made for pods, how many, and when they may be replaced or removed.",
    scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.nodes"),
    printcolumn(name = "NodeClass", type_ = "string", json_path = ".spec.template.spec.nodeClassRef.name"),
    printcolumn(name = "Nodes", type_ = "string", json_path = ".status.nodes"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Weight", type_ = "integer", json_path = ".spec.weight", priority = 1),
    printcolumn(name = "CPU", type_ = "string", json_path = ".status.resources.cpu", priority = 1),
    printcolumn(name = "Memory", type_ = "string", json_path = ".status.resources.memory", priority = 1)
)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    (
        "has(self.replicas) == has(oldSelf.replicas)",
        "replicas cannot be added to or taken from an existing NodePool: make another",
    ),
    (
        "!has(self.replicas) || !has(self.limits) || self.limits.size() == 0 || \
         (self.limits.size() == 1 && 'nodes' in self.limits)",
        "a NodePool with replicas can limit nodes only",
    ),
    ("!has(self.replicas) || !has(self.weight)", "a NodePool with replicas cannot have a weight"),
])))]
pub struct NodePoolSpec {
    /// What each node is made from. A node made from another template than this is out of date, and is replaced.
    pub template: NodePoolTemplate,
    /// When nodes may be removed or replaced without need.
    #[serde(default)]
    #[schemars(extend("default" = json!({"consolidateAfter": "0s"})))]
    pub disruption: Disruption,
    /// The most that all nodes together may have of a resource; nodes counts the nodes themselves. Without a limit for a
    /// resource there is none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: Amounts,
    /// Of several NodePools that could hold a pod, those with the greatest weight are taken; no weight is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "maximum" = 100))]
    pub weight: Option<i32>,
    /// Keep as many nodes as this, whatever pods there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0))]
    pub replicas: Option<i64>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

/// What each node is made from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodePoolTemplate {
    /// Labels and annotations of the nodes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub metadata: NodePoolTemplateMeta,
    /// What the nodes are.
    pub spec: NodePoolTemplateSpec,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

/// Labels and annotations of the nodes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodePoolTemplateMeta {
    /// Labels of the nodes.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend(
        "maxProperties" = 100,
        "additionalProperties" = json!({"type": "string", "maxLength": 63, "pattern": VALUE_PATTERN}),
        "x-kubernetes-map-type" = "atomic",
        "x-kubernetes-validations" = rule::labels()
    ))]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the nodes.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("x-kubernetes-map-type" = "granular"))]
    pub annotations: BTreeMap<String, String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

/// What the nodes are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodePoolTemplateSpec {
    /// What the labels of a node must be.
    #[schemars(schema_with = "requirement::of_pool")]
    pub requirements: Vec<Requirement>,
    /// The object that says how nodes are launched. Another one may be named later, of the same kind.
    #[schemars(extend("x-kubernetes-validations" = rules(&[
        ("self.group == oldSelf.group", "nodeClassRef.group cannot be changed"),
        ("self.kind == oldSelf.kind", "nodeClassRef.kind cannot be changed"),
    ])))]
    pub node_class_ref: NodeClassRef,
    /// Taints of the nodes.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub taints: Vec<Taint>,
    /// Taints that the nodes begin with and that something else takes away; pods need not tolerate them.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub startup_taints: Vec<Taint>,
    /// How old a node may get, as 720h, or Never.
    #[serde(default = "month")]
    #[schemars(extend("pattern" = DURATION_OR_NEVER))]
    pub expire_after: String,
    /// How long a node may take to let go of its pods, before they are killed; without it, as long as they need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = DURATION))]
    pub termination_grace_period: Option<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

/// The age that nodes may get where nothing is said.
pub(super) fn month() -> String {
    "720h".to_owned()
}

/// When nodes may be removed or replaced without need.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Disruption {
    /// Which nodes may go to save money: those that are empty, also those whose pods fit elsewhere for less, or of the
    /// latter only those that save much for the pods that must move.
    #[serde(default = "most")]
    #[schemars(extend("enum" = ["WhenEmpty", "WhenEmptyOrUnderutilized", "Balanced"]))]
    pub consolidation_policy: String,
    /// How long nothing may have come to a node or gone from it before it may go to save money, as 5m, or Never.
    #[schemars(extend("pattern" = DURATION_OR_NEVER))]
    pub consolidate_after: String,
    /// How many nodes may go at the same time. The tightest one that is in force holds.
    #[serde(default = "tenth")]
    #[schemars(extend(
        "default" = json!([{"nodes": "10%"}]),
        "maxItems" = 50,
        "x-kubernetes-list-type" = "atomic",
        "x-kubernetes-validations" = rules(&[(
            "self.all(x, has(x.schedule) == has(x.duration))",
            "schedule and duration of a budget go together",
        )])
    ))]
    pub budgets: Vec<Budget>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

impl Default for Disruption {
    fn default() -> Self {
        Self {
            consolidation_policy: most(),
            consolidate_after: "0s".to_owned(),
            budgets: tenth(),
            other: Other::new(),
        }
    }
}

fn most() -> String {
    "WhenEmptyOrUnderutilized".to_owned()
}

fn tenth() -> Vec<Budget> {
    vec![Budget { nodes: ten_percent(), ..Budget::default() }]
}

fn ten_percent() -> String {
    "10%".to_owned()
}

/// How many nodes may go at the same time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = ["nodes"]))]
pub struct Budget {
    /// A number of nodes, or a part of all as 10%, rounded up.
    #[serde(default = "ten_percent")]
    #[schemars(extend("pattern" = "^((100|[0-9]{1,2})%|[0-9]+)$"))]
    pub nodes: String,
    /// For which reasons; without any, for all.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend(
        "maxItems" = 50,
        "items" = json!({"type": "string", "enum": ["Underutilized", "Empty", "Drifted"]}),
        "x-kubernetes-list-type" = "set"
    ))]
    pub reasons: Vec<String>,
    /// When it comes into force, as a cron schedule of five fields or one of @hourly, @daily and their like, in UTC;
    /// without one, always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend(
        "pattern" = r"^(@(annually|yearly|monthly|weekly|daily|midnight|hourly))|((.+)\s(.+)\s(.+)\s(.+)\s(.+))$"
    ))]
    pub schedule: Option<String>,
    /// For how long it is in force from then on, in hours and minutes, as 8h30m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = "^((([0-9]+(h|m))|([0-9]+h[0-9]+m))(0s)?)$"))]
    pub duration: Option<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

/// What a NodePool has come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodePoolStatus {
    /// What all its nodes have together.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resources: Amounts,
    /// How many nodes it has.
    #[serde(default)]
    pub nodes: i64,
    /// Generation of its node class that conditions are about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_class_observed_generation: Option<i64>,
    /// What the object has come to.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(schema_with = "condition::list")]
    pub conditions: Vec<Condition>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}
