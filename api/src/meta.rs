//! What every object has: name, namespace, labels, owners.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Longest list that [`short_list`] reads.
const MAX_ITEMS: usize = 1000;

/// An object's metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectMeta {
    /// Name, unique within the kind and namespace.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    /// Namespace; `None` for cluster-wide kinds.
    pub namespace: Option<String>,
    /// What tells it from others of its name, before and after it; empty in a snapshot that was written by hand.
    #[serde(deserialize_with = "null_is_default")]
    pub uid: String,
    /// Labels.
    #[serde(deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of our own domain and a few that are read; all others are passed by.
    #[serde(deserialize_with = "own_annotations")]
    pub annotations: BTreeMap<String, String>,
    /// When the object was made, as RFC 3339.
    pub creation_timestamp: Option<String>,
    /// When the object was asked to go; `Some` while it is being deleted.
    pub deletion_timestamp: Option<String>,
    /// Who has to agree before it is gone.
    #[serde(deserialize_with = "short_list")]
    pub finalizers: Vec<String>,
    /// The objects that it belongs to.
    #[serde(deserialize_with = "short_list")]
    pub owner_references: Vec<OwnerReference>,
}

impl ObjectMeta {
    /// Whether the object is being deleted.
    pub fn is_terminating(&self) -> bool {
        self.deletion_timestamp.as_ref().is_some_and(|t| !t.is_empty())
    }
}

/// One aspect of the state of an object, as far as others are interested in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusCondition {
    /// Name of the aspect; `type` to others.
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    pub kind: String,
    /// Whether it holds: `True`, `False` or `Unknown`.
    #[serde(deserialize_with = "null_is_default")]
    pub status: String,
    /// Why, as one word.
    #[serde(deserialize_with = "null_is_default")]
    pub reason: String,
    /// When the status last changed, as RFC 3339.
    pub last_transition_time: Option<String>,
    /// When somebody last looked, as RFC 3339: kubelet says so of its node.
    pub last_heartbeat_time: Option<String>,
}

impl StatusCondition {
    /// The condition of this name.
    pub fn find<'a>(of: &'a [Self], kind: &str) -> Option<&'a Self> {
        of.iter().find(|condition| condition.kind == kind)
    }

    /// Whether the condition of this name is `True`.
    pub fn holds(of: &[Self], kind: &str) -> bool {
        Self::find(of, kind).is_some_and(|condition| condition.status == "True")
    }
}

/// A reference to an owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerReference {
    /// Group and version: `apps/v1`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub api_version: String,
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

/// Reads annotations and keeps those of [`crate::well_known::OWN_DOMAIN`], what marks default storage classes, and
/// [`crate::well_known::READ_ANNOTATIONS`]: others may be large, and are nobody's business here.
fn own_annotations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    struct Own;
    impl<'de> Visitor<'de> for Own {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map")
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(BTreeMap::new())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut own = BTreeMap::new();
            while let Some(key) = map.next_key::<String>()? {
                if key.starts_with(crate::well_known::OWN_DOMAIN)
                    || crate::well_known::DEFAULT_CLASS.contains(&key.as_str())
                    || crate::well_known::READ_ANNOTATIONS.contains(&key.as_str())
                {
                    own.insert(key, map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(own)
        }
    }
    deserializer.deserialize_any(Own)
}

/// Reads a list that is compared with other lists item by item, for `#[serde(deserialize_with)]`: at most a thousand
/// items, which is ten times what Karpenter's own validation allows, so that no input makes such comparisons endless.
/// `null` is an empty list.
pub fn short_list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Items<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_unit<E: Error>(self) -> Result<Vec<T>, E> {
            Ok(Vec::new())
        }

        fn visit_none<E: Error>(self) -> Result<Vec<T>, E> {
            Ok(Vec::new())
        }

        fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
            deserializer.deserialize_seq(self)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(item) = items.next_element()? {
                if all.len() == MAX_ITEMS {
                    return Err(A::Error::custom(format_args!(
                        "more than {MAX_ITEMS} items: no such list is that long"
                    )));
                }
                all.push(item);
            }
            Ok(all)
        }
    }
    deserializer.deserialize_option(Items(PhantomData))
}
