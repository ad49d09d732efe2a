//! `EC2NodeClass`, `karpenter.k8s.aws/v1`: how nodes are launched on EC2.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::{ObjectMeta, null_is_default};

/// An `EC2NodeClass`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Ec2NodeClass {
    /// Metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: Ec2NodeClassSpec,
    /// Status.
    #[serde(deserialize_with = "null_is_default")]
    pub status: Ec2NodeClassStatus,
}

/// Specification of an `EC2NodeClass`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ec2NodeClassSpec {
    /// Settings of kubelet; `Some` where there are any. What they say is not read yet.
    pub kubelet: Option<IgnoredAny>,
    /// `RAID0` where instance stores become ephemeral storage.
    pub instance_store_policy: Option<String>,
}

/// Status of an `EC2NodeClass`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Ec2NodeClassStatus {
    /// The subnets that nodes are launched into.
    #[serde(deserialize_with = "null_is_default")]
    pub subnets: Vec<Subnet>,
}

/// A resolved subnet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Subnet {
    /// Availability zone: `us-east-1a`.
    #[serde(deserialize_with = "null_is_default")]
    pub zone: String,
}
