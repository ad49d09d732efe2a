//! Kubernetes and Karpenter API types, well-known names and quantities, as far as Stowage reads them.
//!
//! ```text
//! EC2NodeClass ◀── NodePool ──▶ NodeClaim ──▶ Node ◀── Pod
//!                  (this crate: Karpenter's kinds, and the pieces that Kubernetes' own kinds share with them)
//! ```
//!
//! The types mirror `karpenter.sh/v1` and `karpenter.k8s.aws/v1` as of Karpenter 1.14. They hold the fields that are
//! read, in camel case; every other field is ignored, and `null` is the same as absent, as in Kubernetes itself.
//! What is there must have the right type: an unknown operator or a negative amount is an error, never a default.
//!
//! With the feature `crd` there are the kinds in full as well, to be written and served: the module `crd`.

#[cfg(feature = "crd")]
pub mod crd;
mod device;
mod duration;
mod ec2_node_class;
mod meta;
mod node_claim;
mod node_overlay;
mod node_pool;
mod node_settings;
mod quantity;
mod requirement;
mod resources;
mod taint;
pub mod well_known;

pub use device::{BasicDevice, Device, DeviceAttribute, DeviceCapacity, DeviceTaint, DeviceTemplate};
pub use duration::duration;
pub use ec2_node_class::{
    Ami, AmiSelectorTerm, BlockDevice, BlockDeviceMapping, CpuOptions, Ec2NodeClass, Ec2NodeClassSpec,
    Ec2NodeClassStatus, IntOrText, Kubelet, NetworkInterface, PlacementGroupSelector, SelectedGroup,
    SelectedReservation, Subnet,
};
pub use meta::{ObjectMeta, OwnerReference, StatusCondition, null_is_default, short_list};
pub use node_claim::{NodeClaim, NodeClaimResources, NodeClaimSpec, NodeClaimStatus};
pub use node_overlay::{NodeOverlay, NodeOverlaySpec};
pub use node_pool::{
    Budget, ConsolidationPolicy, Disruption, NodeClassRef, NodePool, NodePoolSpec, NodePoolTemplate,
    NodePoolTemplateMeta, NodePoolTemplateSpec,
};
pub use node_settings::{Dollars, DollarsError, NodeSettings, SettingError};
pub use quantity::{Quantity, QuantityError};
pub use requirement::{Operator, Requirement};
pub use resources::ResourceList;
pub use taint::{Effect, Taint};
