//! Nodes, and what their CSI drivers can attach.

use serde::Deserialize;
use stowage_api::{ObjectMeta, ResourceList, StatusCondition, Taint, null_is_default, short_list};

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: NodeSpec,
    /// Status.
    #[serde(deserialize_with = "null_is_default")]
    pub status: NodeStatus,
}

/// Specification of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// Taints.
    #[serde(deserialize_with = "short_list")]
    pub taints: Vec<Taint>,
    /// Whether it is cordoned.
    #[serde(deserialize_with = "null_is_default")]
    pub unschedulable: bool,
    /// The machine: `aws:///<zone>/<instance>`.
    #[serde(rename = "providerID", deserialize_with = "null_is_default")]
    pub provider_id: String,
}

/// Status of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// What the machine has.
    #[serde(deserialize_with = "null_is_default")]
    pub capacity: ResourceList,
    /// What pods may use of it.
    #[serde(deserialize_with = "null_is_default")]
    pub allocatable: ResourceList,
    /// What kubelet says of it.
    #[serde(deserialize_with = "short_list")]
    pub conditions: Vec<StatusCondition>,
}

impl Node {
    /// Whether kubelet says that it can run pods.
    pub fn is_ready(&self) -> bool {
        StatusCondition::holds(&self.status.conditions, "Ready")
    }
}

/// What the CSI drivers of a node can do; named after the node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct CsiNode {
    /// Metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: CsiNodeSpec,
}

/// Specification of a [`CsiNode`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct CsiNodeSpec {
    /// Drivers.
    #[serde(deserialize_with = "short_list")]
    pub drivers: Vec<CsiDriver>,
}

/// A CSI driver on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct CsiDriver {
    /// Name.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    /// Limits.
    #[serde(deserialize_with = "null_is_default")]
    pub allocatable: DriverAllocatable,
}

/// Limits of a CSI driver on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DriverAllocatable {
    /// Volumes that can be attached; unlimited where not stated.
    pub count: Option<u32>,
}
