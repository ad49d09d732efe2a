//! `NodeClaim`, `karpenter.sh/v1`: one machine asked for, and what became of it.

use serde::Deserialize;

use crate::{
    NodeClassRef, ObjectMeta, Requirement, ResourceList, StatusCondition, Taint, null_is_default, short_list,
};

/// A `NodeClaim`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodeClaim {
    /// Metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: NodeClaimSpec,
    /// Status.
    #[serde(deserialize_with = "null_is_default")]
    pub status: NodeClaimStatus,
}

/// Specification of a `NodeClaim`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeClaimSpec {
    /// What the labels of the node must satisfy.
    #[serde(deserialize_with = "short_list")]
    pub requirements: Vec<Requirement>,
    /// Taints of the node.
    #[serde(deserialize_with = "short_list")]
    pub taints: Vec<Taint>,
    /// Taints that the node starts with and others take away.
    #[serde(deserialize_with = "short_list")]
    pub startup_taints: Vec<Taint>,
    /// What the node must have room for.
    #[serde(deserialize_with = "null_is_default")]
    pub resources: NodeClaimResources,
    /// The class that says how to launch it.
    pub node_class_ref: Option<NodeClassRef>,
    /// How old the node may get, or `Never`; a month where it is not stated.
    pub expire_after: Option<String>,
    /// How long the node may take to let go of its pods, before they are killed; as long as they need where it is not stated.
    pub termination_grace_period: Option<String>,
}

/// What a node must have room for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodeClaimResources {
    /// What the pods that it is made for ask for.
    #[serde(deserialize_with = "null_is_default")]
    pub requests: ResourceList,
}

/// Status of a `NodeClaim`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeClaimStatus {
    /// The Node, once it has registered.
    #[serde(deserialize_with = "null_is_default")]
    pub node_name: String,
    /// The machine: `aws:///<zone>/<instance>`.
    #[serde(rename = "providerID", deserialize_with = "null_is_default")]
    pub provider_id: String,
    /// The image that it was launched from.
    #[serde(rename = "imageID", deserialize_with = "null_is_default")]
    pub image_id: String,
    /// What the machine has.
    #[serde(deserialize_with = "null_is_default")]
    pub capacity: ResourceList,
    /// What pods may use of it.
    #[serde(deserialize_with = "null_is_default")]
    pub allocatable: ResourceList,
    /// What the machine has come to.
    #[serde(deserialize_with = "short_list")]
    pub conditions: Vec<StatusCondition>,
    /// When a pod last came to the node or went from it, as RFC 3339.
    pub last_pod_event_time: Option<String>,
}
