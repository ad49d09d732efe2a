//! Selectors of nodes and of pods.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use stowage_api::{Requirement, null_is_default, short_list};

/// Selects nodes: one of the terms must hold. No term selects nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelector {
    /// Alternatives.
    #[serde(deserialize_with = "short_list")]
    pub node_selector_terms: Vec<NodeSelectorTerm>,
}

/// Everything in a term must hold. A term with nothing in it selects nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelectorTerm {
    /// On labels.
    #[serde(deserialize_with = "short_list")]
    pub match_expressions: Vec<Requirement>,
    /// On fields, of which Kubernetes knows `metadata.name` alone.
    #[serde(deserialize_with = "short_list")]
    pub match_fields: Vec<Requirement>,
}

/// Selects objects by label: all must hold. Nothing in it selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels with these values.
    #[serde(deserialize_with = "null_is_default")]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements.
    #[serde(deserialize_with = "short_list")]
    pub match_expressions: Vec<LabelRequirement>,
}

/// A requirement that compares no numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LabelRequirement(pub Requirement);

impl<'de> Deserialize<'de> for LabelRequirement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let requirement = Requirement::deserialize(deserializer)?;
        if requirement.operator.is_numeric() {
            return Err(serde::de::Error::custom(format_args!(
                "operator {} is not for label selectors, which know In, NotIn, Exists and DoesNotExist",
                requirement.operator
            )));
        }
        Ok(Self(requirement))
    }
}
