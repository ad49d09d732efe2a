//! What every object has: name, namespace, labels, owners.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// An object's metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectMeta {
    /// Name, unique within the kind and namespace.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    /// Namespace; `None` for cluster-wide kinds.
    pub namespace: Option<String>,
    /// Labels.
    #[serde(deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
    /// When the object was asked to go; `Some` while it is being deleted.
    pub deletion_timestamp: Option<String>,
    /// The objects that it belongs to.
    #[serde(deserialize_with = "null_is_default")]
    pub owner_references: Vec<OwnerReference>,
}

impl ObjectMeta {
    /// Whether the object is being deleted.
    pub fn is_terminating(&self) -> bool {
        self.deletion_timestamp.as_ref().is_some_and(|t| !t.is_empty())
    }
}

/// A reference to an owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct OwnerReference {
    /// Kind: `ReplicaSet`, `DaemonSet`, `Node`.
    pub kind: String,
    /// Name.
    pub name: String,
}

/// Reads `null` as the default value, for `#[serde(deserialize_with)]`: Kubernetes takes `null` for absent everywhere.
pub fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}
