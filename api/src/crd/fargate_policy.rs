//! FargatePolicy and ClusterFargatePolicy: which pods may run on Fargate instead of nodes, and when they do.
//!
//! The two say the same, of the pods of one namespace and of those of many. Who rules a pod that several select is not said
//! here: see `docs/fargate.md`.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::label_selector::LabelSelector;
use super::rule::{DURATION, rules};
use super::{Condition, Other, condition, is_default};

/// What is wrong in the same way in either kind.
const SHARED_RULES: [(&str, &str); 1] = [(
    "!has(self.tolerancePercent) || self.mode == 'WhenCheaper'",
    "tolerancePercent is for the mode WhenCheaper only",
)];

/// Which pods of its namespace may run on Fargate, and when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "stowage.dev",
    version = "v1alpha1",
    kind = "FargatePolicy",
    plural = "fargatepolicies",
    shortname = "fgp",
    category = "stowage",
    namespaced,
    status = "FargatePolicyStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "Which pods of its namespace may run on Fargate instead of nodes, and when they do.",
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Routed", type_ = "integer", json_path = ".status.routedPods"),
    printcolumn(name = "Hourly", type_ = "string", json_path = ".status.hourlyCost"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Conflict",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Conflict")].status"#,
        priority = 1
    )
)]
#[schemars(extend("x-kubernetes-validations" = rules(&SHARED_RULES)))]
pub struct FargatePolicySpec {
    /// Which pods, and when.
    #[serde(flatten)]
    pub routing: FargateRouting,
}

/// Which pods of many namespaces may run on Fargate, and when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "stowage.dev",
    version = "v1alpha1",
    kind = "ClusterFargatePolicy",
    plural = "clusterfargatepolicies",
    shortname = "cfgp",
    category = "stowage",
    status = "FargatePolicyStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "Which pods of many namespaces may run on Fargate instead of nodes, and when they do.",
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Routed", type_ = "integer", json_path = ".status.routedPods"),
    printcolumn(name = "Hourly", type_ = "string", json_path = ".status.hourlyCost"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Conflict",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Conflict")].status"#,
        priority = 1
    )
)]
#[schemars(extend("x-kubernetes-validations" = rules(&SHARED_RULES)))]
pub struct ClusterFargatePolicySpec {
    /// The namespaces whose pods it is about. Without it, all but those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Whether namespaces of the system may be selected: those whose names begin with kube-, and that of Stowage itself. A
    /// policy that selects one of them and does not say so is refused.
    #[serde(default, skip_serializing_if = "is_default")]
    pub system_namespaces: bool,
    /// Which pods, and when.
    #[serde(flatten)]
    pub routing: FargateRouting,
}

/// Which pods may run on Fargate, and when they do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FargateRouting {
    /// The pods. With nothing in it, all.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pod_selector: LabelSelector,
    /// When they run on Fargate: never; when that costs less than nodes would; whenever they can; or when no node has room
    /// for them.
    #[schemars(extend("enum" = ["Never", "WhenCheaper", "Always", "WhenNoRoom"]))]
    pub mode: String,
    /// How much more than nodes Fargate may cost with the mode WhenCheaper, in percent; nothing where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0, "maximum" = 1000))]
    pub tolerance_percent: Option<i32>,
    /// How much there may be of it. Pods beyond that run on nodes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub caps: FargateCaps,
    /// How long pods are expected to run that may go.
    #[serde(default, skip_serializing_if = "is_default")]
    pub expected_life: ExpectedLife,
    /// Kinds of pods that never go: DoNotDisrupt are those marked karpenter.sh/do-not-disrupt that are not known to end
    /// within a day, as Fargate replaces pods to patch; JobWithoutTTL are those of Jobs without ttlSecondsAfterFinished, as
    /// Fargate bills finished pods until they are deleted.
    #[serde(default = "never_routed")]
    #[schemars(extend(
        "maxItems" = 5,
        "x-kubernetes-list-type" = "set",
        "items" = json!({
            "type": "string",
            "enum": ["DoNotDisrupt", "JobWithoutTTL", "Job", "StatefulSet", "BarePod"],
        })
    ))]
    pub never_route: Vec<String>,
    /// The Fargate profiles that the pods may use. Without it, those that EKS has.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend(
        "maxItems" = 10,
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = json!(["name"])
    ))]
    pub profiles: Vec<FargateProfileTerm>,
    /// What becomes of pods that wait for a node already.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pending: FargatePending,
    /// What becomes of pods that Fargate does not start.
    #[serde(default)]
    #[schemars(extend("default" = json!({"pendingTimeout": "5m"})))]
    pub guard: FargateGuard,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

impl Default for FargateRouting {
    fn default() -> Self {
        Self {
            pod_selector: LabelSelector::default(),
            mode: String::new(),
            tolerance_percent: None,
            caps: FargateCaps::default(),
            expected_life: ExpectedLife::default(),
            never_route: never_routed(),
            profiles: Vec::new(),
            pending: FargatePending::default(),
            guard: FargateGuard::default(),
            other: Other::new(),
        }
    }
}

fn never_routed() -> Vec<String> {
    vec!["DoNotDisrupt".to_owned(), "JobWithoutTTL".to_owned()]
}

/// How much there may be of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FargateCaps {
    /// At most so many pods at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0, "maximum" = 1_000_000))]
    pub max_pods: Option<i64>,
    /// At most so many dollars an hour, as "2.50".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 16, "pattern" = r"^[0-9]{1,7}(\.[0-9]{1,6})?$"))]
    pub max_hourly_cost: Option<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

/// How long pods are expected to run: the median of those of their workload that have ended, and no longer than their
/// activeDeadlineSeconds. Where neither is known, pods of Jobs and bare pods do not go while a bound is set; those of other
/// workloads are expected to run on without end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "!has(self.min) || !has(self.max) || duration(self.min) <= duration(self.max)",
    "min is longer than max",
)])))]
pub struct ExpectedLife {
    /// Pods that are expected to end sooner do not go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 32, "pattern" = DURATION))]
    pub min: Option<String>,
    /// Pods that are expected to run longer do not go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 32, "pattern" = DURATION))]
    pub max: Option<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

/// A Fargate profile that is there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FargateProfileTerm {
    /// Its name in EKS.
    #[schemars(extend("minLength" = 1, "maxLength" = 63, "pattern" = "^[A-Za-z0-9][-A-Za-z0-9_]*$"))]
    pub name: String,
    /// What it takes: pods that fit one of these.
    #[schemars(extend("minItems" = 1, "maxItems" = 5, "x-kubernetes-list-type" = "atomic"))]
    pub selectors: Vec<FargateProfileSelector>,
    /// The zones of its subnets. Without them, pods that need a zone do not go.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("maxItems" = 16, "x-kubernetes-list-type" = "set"))]
    pub zones: Vec<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

/// A namespace, and labels that must all be there; with * and ?.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FargateProfileSelector {
    /// Namespace.
    #[schemars(extend("minLength" = 1, "maxLength" = 63))]
    pub namespace: String,
    /// Labels, keys and values.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("maxProperties" = 5, "x-kubernetes-map-type" = "atomic"))]
    pub labels: BTreeMap<String, String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

/// What becomes of pods that wait for a node already.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FargatePending {
    /// Whether they are deleted for their owner to make them anew, for Fargate. Only those whose owner does.
    #[serde(default, skip_serializing_if = "is_default")]
    pub recreate: bool,
    /// At most so many a minute; 10 where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "maximum" = 600))]
    pub per_minute: Option<i32>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

/// What becomes of pods that Fargate does not start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "!has(self.pendingTimeout) || duration(self.pendingTimeout) >= duration('2m')",
    "pendingTimeout is shorter than 2m",
)])))]
pub struct FargateGuard {
    /// After so long, their workload goes back to nodes, and they are made anew where their owner does that.
    #[serde(default = "five_minutes")]
    #[schemars(extend("maxLength" = 32, "pattern" = DURATION))]
    pub pending_timeout: String,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

impl Default for FargateGuard {
    fn default() -> Self {
        Self { pending_timeout: five_minutes(), other: Other::new() }
    }
}

fn five_minutes() -> String {
    "5m".to_owned()
}

/// What a policy has come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FargatePolicyStatus {
    /// How many pods run on Fargate, or are about to, by this policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routed_pods: Option<i64>,
    /// What they cost, in dollars an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hourly_cost: Option<String>,
    /// How many workloads that it selects were left on nodes when they were last looked at, by reason.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend(
        "maxItems" = 50,
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = json!(["reason"])
    ))]
    pub refused: Vec<FargateRefusal>,
    /// What the object has come to.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(schema_with = "condition::list")]
    pub conditions: Vec<Condition>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

/// Why pods were left on nodes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FargateRefusal {
    /// Why, as one word.
    pub reason: String,
    /// How many workloads.
    pub workloads: i64,
    /// One of them, and why in words.
    #[serde(default, skip_serializing_if = "is_default")]
    pub example: String,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}
