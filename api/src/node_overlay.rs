//! `NodeOverlay`, `karpenter.sh/v1alpha1`: what types cost and hold, in the place of what the provider says.

use serde::Deserialize;

use crate::{ObjectMeta, Requirement, ResourceList, null_is_default};

/// A `NodeOverlay`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodeOverlay {
    /// Metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: NodeOverlaySpec,
}

/// Specification of a `NodeOverlay`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeOverlaySpec {
    /// Which offerings it is about.
    #[serde(deserialize_with = "null_is_default")]
    pub requirements: Vec<Requirement>,
    /// A price of an hour, as a decimal text.
    pub price: Option<String>,
    /// A change of the price: `+0.05`, `-15%`.
    pub price_adjustment: Option<String>,
    /// Extended resources that nodes have besides.
    #[serde(deserialize_with = "null_is_default")]
    pub capacity: ResourceList,
    /// Heavier ones go before.
    #[serde(deserialize_with = "null_is_default")]
    pub weight: i32,
}
