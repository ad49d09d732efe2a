//! Devices of dynamic resource allocation, as drivers publish them (`resource.k8s.io/v1`).
//!
//! They stand here because two inputs have them: `ResourceSlices` of a snapshot, and catalogues, which say what a driver
//! would publish on a node of a type.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::{Quantity, null_is_default, short_list};

/// A device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Device {
    /// Name, unique in its pool.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    /// What it is, by name; a name without a domain is in the driver's.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, DeviceAttribute>,
    /// How much it has, by name.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub capacity: BTreeMap<String, DeviceCapacity>,
    /// Taints.
    #[serde(deserialize_with = "short_list", skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<DeviceTaint>,
    /// Whether several claims may have it at once.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_false")]
    pub allow_multiple_allocations: bool,
    /// Whether it is a part that takes from counters it shares with others.
    #[serde(deserialize_with = "is_there", skip_serializing_if = "is_false")]
    pub consumes_counters: bool,
    /// Whether it waits for conditions before pods that use it are bound.
    #[serde(deserialize_with = "is_there", skip_serializing_if = "is_false")]
    pub binding_conditions: bool,
    /// Where `resource.k8s.io/v1beta1` has attributes and capacity.
    #[serde(skip_serializing)]
    pub basic: Option<BasicDevice>,
}

/// What a device is and has, as `resource.k8s.io/v1beta1` wraps it up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct BasicDevice {
    /// Attributes.
    #[serde(deserialize_with = "null_is_default")]
    pub attributes: BTreeMap<String, DeviceAttribute>,
    /// Capacity.
    #[serde(deserialize_with = "null_is_default")]
    pub capacity: BTreeMap<String, DeviceCapacity>,
}

impl Device {
    /// The same, with everything where version 1 of the API has it.
    #[must_use]
    pub fn modern(mut self) -> Self {
        if let Some(basic) = self.basic.take() {
            self.attributes.extend(basic.attributes);
            self.capacity.extend(basic.capacity);
        }
        self
    }
}

/// The value of an attribute: exactly one of the fields is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(default)]
pub struct DeviceAttribute {
    /// A whole number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub int: Option<i64>,
    /// True or false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bool: Option<bool>,
    /// Text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub string: Option<String>,
    /// A semantic version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// An amount that a device has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct DeviceCapacity {
    /// How much.
    #[serde(deserialize_with = "null_is_default")]
    pub value: Quantity,
}

/// A taint of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct DeviceTaint {
    /// Key.
    #[serde(deserialize_with = "null_is_default")]
    pub key: String,
    /// Value.
    #[serde(deserialize_with = "null_is_default")]
    pub value: String,
    /// Effect: `NoSchedule` and `NoExecute` keep claims away, others do nothing.
    #[serde(deserialize_with = "null_is_default")]
    pub effect: String,
}

/// What a driver publishes on a node: a `ResourceSlice` without what ties it to one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct DeviceTemplate {
    /// The driver.
    #[serde(deserialize_with = "null_is_default")]
    pub driver: String,
    /// Its devices.
    #[serde(deserialize_with = "short_list")]
    pub devices: Vec<Device>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Whether a list has items, which are not read, or a written-down flag is set.
fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Flag(bool),
        Items(Vec<serde::de::IgnoredAny>),
    }
    Ok(match Option::<Written>::deserialize(deserializer)? {
        None => false,
        Some(Written::Flag(flag)) => flag,
        Some(Written::Items(items)) => !items.is_empty(),
    })
}
