//! Dynamic resource allocation: claims, their templates, device classes and what drivers publish (`resource.k8s.io`).
//!
//! Versions `v1` and `v1beta2` are alike in all that is read; `v1beta1`, which has no `exactly` around what a request asks
//! for, is read too.

use serde::Deserialize;
use serde::de::IgnoredAny;
use stowage_api::{Device, ObjectMeta, null_is_default, short_list};

use super::selector::NodeSelector;

/// A claim of devices.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ResourceClaim {
    /// Metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: ResourceClaimSpec,
    /// Status.
    #[serde(deserialize_with = "null_is_default")]
    pub status: ResourceClaimStatus,
}

/// Specification of a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(default)]
pub struct ResourceClaimSpec {
    /// The devices that it asks for.
    #[serde(deserialize_with = "null_is_default")]
    pub devices: DeviceClaim,
}

/// The devices that a claim asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(default)]
pub struct DeviceClaim {
    /// Requests, every one of which is met.
    #[serde(deserialize_with = "short_list")]
    pub requests: Vec<DeviceRequest>,
    /// What the devices have to have in common.
    #[serde(deserialize_with = "short_list")]
    pub constraints: Vec<DeviceConstraint>,
}

/// A request: one kind of device, or several to choose from in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceRequest {
    /// Name.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    /// What it asks for.
    pub exactly: Option<ExactRequest>,
    /// The first of these that can be had.
    #[serde(deserialize_with = "short_list")]
    pub first_available: Vec<ExactRequest>,
    /// Where `v1beta1` has what is in `exactly` else.
    #[serde(flatten)]
    inline: ExactRequest,
}

impl DeviceRequest {
    /// What it asks for where there is nothing to choose from.
    pub fn exact(&self) -> Option<&ExactRequest> {
        self.exactly.as_ref().or_else(|| (!self.inline.device_class_name.is_empty()).then_some(&self.inline))
    }
}

/// Devices of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExactRequest {
    /// Name, of an alternative only.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    /// Their class.
    #[serde(deserialize_with = "null_is_default")]
    pub device_class_name: String,
    /// What they have to be beside.
    #[serde(deserialize_with = "short_list")]
    pub selectors: Vec<DeviceSelector>,
    /// Whether `count` or all of a node are asked for.
    #[serde(deserialize_with = "null_is_default")]
    pub allocation_mode: AllocationMode,
    /// How many; 0 is taken as 1.
    #[serde(deserialize_with = "null_is_default")]
    pub count: u64,
    /// Whether it is for watching over devices, which does not take them.
    #[serde(deserialize_with = "null_is_default")]
    pub admin_access: bool,
    /// Taints of devices that do not matter.
    #[serde(deserialize_with = "short_list")]
    pub tolerations: Vec<DeviceToleration>,
    /// Whether it asks for a part of a device's capacity.
    #[serde(deserialize_with = "is_stated")]
    pub capacity: bool,
}

/// How many devices a request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
pub enum AllocationMode {
    /// As many as it counts.
    #[default]
    #[serde(alias = "")]
    ExactCount,
    /// All that suit it.
    All,
}

/// What a device has to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(default)]
pub struct DeviceSelector {
    /// As an expression.
    pub cel: Option<CelSelector>,
}

/// An expression about a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(default)]
pub struct CelSelector {
    /// The expression.
    #[serde(deserialize_with = "null_is_default")]
    pub expression: String,
}

/// A taint that does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(default)]
pub struct DeviceToleration {
    /// Key; empty for every key.
    #[serde(deserialize_with = "null_is_default")]
    pub key: String,
    /// `Equal`, which is the default, or `Exists`.
    #[serde(deserialize_with = "null_is_default")]
    pub operator: String,
    /// Value.
    #[serde(deserialize_with = "null_is_default")]
    pub value: String,
    /// Effect; empty for every effect.
    #[serde(deserialize_with = "null_is_default")]
    pub effect: String,
}

/// What devices of a claim have to have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceConstraint {
    /// The requests that it is about; all where there are none.
    #[serde(deserialize_with = "short_list")]
    pub requests: Vec<String>,
    /// An attribute that has one value on all devices.
    pub match_attribute: Option<String>,
}

/// Status of a claim.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceClaimStatus {
    /// The devices that it has.
    pub allocation: Option<Allocation>,
    /// Who may use them.
    #[serde(deserialize_with = "short_list")]
    pub reserved_for: Vec<Consumer>,
}

/// The devices that a claim has.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Allocation {
    /// Which.
    #[serde(deserialize_with = "null_is_default")]
    pub devices: AllocatedDevices,
    /// Nodes on which they are; every node where there is none.
    pub node_selector: Option<NodeSelector>,
}

/// The devices of an allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AllocatedDevices {
    /// One by one.
    #[serde(deserialize_with = "short_list")]
    pub results: Vec<AllocatedDevice>,
}

/// A device of an allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AllocatedDevice {
    /// Driver.
    #[serde(deserialize_with = "null_is_default")]
    pub driver: String,
    /// Pool.
    #[serde(deserialize_with = "null_is_default")]
    pub pool: String,
    /// Device.
    #[serde(deserialize_with = "null_is_default")]
    pub device: String,
    /// Whether it is only watched over.
    #[serde(deserialize_with = "null_is_default")]
    pub admin_access: bool,
}

/// Someone who uses a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Consumer {
    /// Plural of its kind: `pods`.
    #[serde(deserialize_with = "null_is_default")]
    pub resource: String,
    /// Its name.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
}

/// What claims of single pods are made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ResourceClaimTemplate {
    /// Metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: ResourceClaimTemplateSpec,
}

/// Specification of a claim template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ResourceClaimTemplateSpec {
    /// That of the claims.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: ResourceClaimSpec,
}

/// A class of devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DeviceClass {
    /// Metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: DeviceClassSpec,
}

/// Specification of a class of devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DeviceClassSpec {
    /// What its devices are; any device where there is none.
    #[serde(deserialize_with = "short_list")]
    pub selectors: Vec<DeviceSelector>,
}

/// Devices that a driver publishes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ResourceSlice {
    /// Metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: ResourceSliceSpec,
}

/// Specification of a slice.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceSliceSpec {
    /// The driver.
    #[serde(deserialize_with = "null_is_default")]
    pub driver: String,
    /// The pool that it is part of.
    #[serde(deserialize_with = "null_is_default")]
    pub pool: ResourcePool,
    /// The node that the devices are on.
    pub node_name: Option<String>,
    /// Nodes that can reach the devices.
    pub node_selector: Option<IgnoredAny>,
    /// Whether every node can.
    #[serde(deserialize_with = "null_is_default")]
    pub all_nodes: bool,
    /// Whether each device says for itself who can.
    #[serde(deserialize_with = "null_is_default")]
    pub per_device_node_selection: bool,
    /// The devices.
    #[serde(deserialize_with = "short_list")]
    pub devices: Vec<Device>,
}

/// A pool: slices of a driver that belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourcePool {
    /// Name.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    /// Which version of the pool this is part of.
    #[serde(deserialize_with = "null_is_default")]
    pub generation: i64,
    /// How many slices it has; 0 is taken as 1.
    #[serde(deserialize_with = "null_is_default")]
    pub resource_slice_count: i64,
}

fn is_stated<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<IgnoredAny>::deserialize(deserializer)?.is_some())
}
