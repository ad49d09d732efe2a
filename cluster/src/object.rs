//! Kubernetes' own kinds, as thin as planning allows.
//!
//! Why not the types of a client library: a whole pod is hundreds of fields, of which scheduling reads thirty. Thin
//! structs read a large snapshot several times faster and in a fraction of the memory, let equal specs be shared, and
//! keep a very large generated crate out of the build.
//!
//! # Invariants
//! - `null` is absent; unknown fields are ignored; a known field of the wrong type is an error.
//! - Whatever is not read is not stored, so that two specs are equal exactly when nothing that is read tells them apart.

mod cluster_wide;
mod device;
mod disruption;
mod fargate;
mod node;
mod pod;
mod selector;
mod storage;

pub use cluster_wide::{
    DaemonSet, DaemonSetSpec, Job, JobSpec, Namespace, PodTemplate, PodTemplateMeta, PriorityClass,
    RuntimeClass, RuntimeOverhead, RuntimeScheduling, Service, ServiceSpec,
};
pub use device::{
    AllocatedDevice, AllocatedDevices, Allocation, AllocationMode, CelSelector, Consumer, DeviceClaim,
    DeviceClass, DeviceClassSpec, DeviceConstraint, DeviceRequest, DeviceSelector, DeviceToleration,
    ExactRequest, ResourceClaim, ResourceClaimSpec, ResourceClaimStatus, ResourceClaimTemplate,
    ResourceClaimTemplateSpec, ResourcePool, ResourceSlice, ResourceSliceSpec,
};
pub use disruption::{DisruptionBudgetSpec, DisruptionBudgetStatus, PodDisruptionBudget};
pub use fargate::{FargateProfile, FargateProfileSpec, FargateProfileStatus};
pub use node::{CsiDriver, CsiNode, CsiNodeSpec, DriverAllocatable, Node, NodeSpec, NodeStatus};
pub(crate) use pod::PodObject;
pub use pod::{
    Affinity, Container, ContainerPort, ContainerResources, Count, MadeClaim, NodeAffinity, Phase,
    PodAffinity, PodAffinityTerm, PodResourceClaim, PodSpec, Policy, PreferredNodeTerm, Protocol,
    SecurityContext, SpreadConstraint, Toleration, TolerationEffect, TolerationOperator, Unsatisfiable,
    Volume, WeightedPodTerm,
};
pub use selector::{LabelRequirement, LabelSelector, NodeSelector, NodeSelectorTerm};
pub use storage::{
    AttachmentSource, AttachmentSpec, ClaimSpec, CsiSource, PersistentVolume, PersistentVolumeClaim,
    StorageClass, TopologyExpression, TopologyTerm, VolumeAttachment, VolumeNodeAffinity, VolumeSpec,
};
