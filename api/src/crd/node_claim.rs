//! NodeClaim: one node, from the decision to make it until it is gone.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::node_pool::month;
use super::rule::{DURATION, DURATION_OR_NEVER, rules};
use super::{
    Amounts, Condition, NodeClassRef, Other, Requirement, Taint, condition, is_default, requirement,
};

/// What one node must be. It cannot be changed: another node takes another NodeClaim.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "karpenter.sh",
    version = "v1",
    kind = "NodeClaim",
    plural = "nodeclaims",
    category = "karpenter",
    status = "NodeClaimStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "One node: what it must be, and what it has come to, from the decision to make it until it is gone.",
    printcolumn(
        name = "Type",
        type_ = "string",
        json_path = r".metadata.labels.node\.kubernetes\.io/instance-type"
    ),
    printcolumn(
        name = "Capacity",
        type_ = "string",
        json_path = r".metadata.labels.karpenter\.sh/capacity-type"
    ),
    printcolumn(
        name = "Zone",
        type_ = "string",
        json_path = r".metadata.labels.topology\.kubernetes\.io/zone"
    ),
    printcolumn(name = "Node", type_ = "string", json_path = ".status.nodeName"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "ImageID", type_ = "string", json_path = ".status.imageID", priority = 1),
    printcolumn(name = "ID", type_ = "string", json_path = ".status.providerID", priority = 1),
    printcolumn(
        name = "NodePool",
        type_ = "string",
        json_path = r".metadata.labels.karpenter\.sh/nodepool",
        priority = 1
    ),
    printcolumn(name = "NodeClass", type_ = "string", json_path = ".spec.nodeClassRef.name", priority = 1),
    printcolumn(
        name = "Drifted",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Drifted")].status"#,
        priority = 1
    )
)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("self == oldSelf", "the spec of a NodeClaim cannot be changed"),
])))]
pub struct NodeClaimSpec {
    /// What the labels of the node must be.
    #[schemars(schema_with = "requirement::of_claim")]
    pub requirements: Vec<Requirement>,
    /// The object that says how the node is launched.
    pub node_class_ref: NodeClassRef,
    /// What the node must have room for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resources: ResourceRequirements,
    /// Taints of the node.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub taints: Vec<Taint>,
    /// Taints that the node begins with and that something else takes away; pods need not tolerate them.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub startup_taints: Vec<Taint>,
    /// How old the node may get, as 720h, or Never.
    #[serde(default = "month")]
    #[schemars(extend("pattern" = DURATION_OR_NEVER))]
    pub expire_after: String,
    /// How long the node may take to let go of its pods, before they are killed; without it, as long as they need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = DURATION))]
    pub termination_grace_period: Option<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

/// What a node must have room for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceRequirements {
    /// What the pods that it is made for ask for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub requests: Amounts,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

/// What a NodeClaim has come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeClaimStatus {
    /// Name of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// The instance, as the node says it: its zone and its id.
    #[serde(default, rename = "providerID", skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
    /// The image that the instance runs.
    #[serde(default, rename = "imageID", skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// What the node has, as estimated until it has joined.
    #[serde(default, skip_serializing_if = "is_default")]
    pub capacity: Amounts,
    /// What of that pods may use.
    #[serde(default, skip_serializing_if = "is_default")]
    pub allocatable: Amounts,
    /// What the object has come to.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(schema_with = "condition::terse_list")]
    pub conditions: Vec<Condition>,
    /// When a pod last came to the node or went from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_pod_event_time: Option<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}
