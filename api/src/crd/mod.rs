//! The custom resources in full: what a controller reads, writes and serves, and the schemas that the API server checks.
//!
//! ```text
//! NodePool ──▶ NodeClaim          karpenter.sh/v1
//!    │  ▲
//!    │  └─ NodeOverlay            karpenter.sh/v1alpha1
//!    ▼
//! EC2NodeClass                    karpenter.k8s.aws/v1
//! CapacityBuffer                  autoscaling.x-k8s.io/v1beta1
//! FargatePolicy, ClusterFargatePolicy   stowage.dev/v1alpha1
//! ```
//!
//! The types of the crate's root hold what planning reads, and little memory. These hold everything. Where kinds are shared
//! with others, their fields, defaults, limits and rules are those of Karpenter 1.14, so that what it takes is taken here, and what it refuses is
//! refused, except where its schema contradicts its documentation (see `docs/compatibility.md`).
//!
//! # Invariants
//! - What is read is written again: fields that a newer version has and this one does not are kept, by the API server and
//!   by these types, in `other`.
//! - Words out of a list (operators, policies) and quantities are texts here: an object that an older schema let in is
//!   still read, together with all others in its list, and whoever uses the field says what is wrong with it.
//! - `definitions` is what stands in `deploy/charts`; `cargo xtask crds` writes it there.

#![expect(clippy::duplicated_attributes, reason = "each column that is shown to people has a type")]

mod amount;
mod capacity_buffer;
pub mod condition;
mod ec2_node_class;
mod fargate_policy;
mod hash;
mod label_selector;
mod node_claim;
mod node_overlay;
mod node_pool;
mod requirement;
mod rule;
mod schema;
mod template;

use std::collections::BTreeMap;

pub use amount::{Amount, Amounts};
pub use capacity_buffer::{
    ACTIVE_CAPACITY, CapacityBuffer, CapacityBufferSpec, CapacityBufferStatus, PodTemplateRef, ScalableRef,
};
pub use condition::Condition;
pub use ec2_node_class::{
    AmiSelectorTerm, BlockDevice, BlockDeviceMapping, CapacityReservation, CapacityReservationSelectorTerm,
    ConnectionTracking, CpuOptions, Ec2NodeClass, Ec2NodeClassSpec, Ec2NodeClassStatus, Image,
    MetadataOptions, NetworkInterface, PlacementGroupSelector, SecurityGroup, SecurityGroupSelectorTerm,
    Subnet, SubnetSelectorTerm,
};
pub use fargate_policy::{
    ClusterFargatePolicy, ClusterFargatePolicySpec, ExpectedLife, FargateCaps, FargateGuard, FargatePending,
    FargatePolicy, FargatePolicySpec, FargatePolicyStatus, FargateProfileSelector, FargateProfileTerm,
    FargateRefusal, FargateRouting,
};
pub use hash::{NODE_POOL_HASH_VERSION, node_pool_hash};
pub use label_selector::{LabelExpression, LabelSelector};
pub use node_claim::{NodeClaim, NodeClaimSpec, NodeClaimStatus, ResourceRequirements};
pub use node_overlay::{NodeOverlay, NodeOverlaySpec, NodeOverlayStatus};
pub use node_pool::{
    Budget, Disruption, NodePool, NodePoolSpec, NodePoolStatus, NodePoolTemplate, NodePoolTemplateMeta,
    NodePoolTemplateSpec,
};
pub use requirement::{OverlayRequirement, Requirement};
pub use schema::definitions;
pub use template::{NodeClassRef, Taint};

/// Fields of newer versions, by name: kept as they are.
pub type Other = BTreeMap<String, serde_json::Value>;

/// For `skip_serializing_if`: what says nothing is not written.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;
