//! Selectors of objects by their labels, as Kubernetes' own kinds write them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rule::{self, KEY_PATTERN, VALUE_PATTERN, rules};
use super::{Other, is_default};

/// Selects objects by label: everything in it must hold. With nothing in it, it selects all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels with these values.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend(
        "maxProperties" = 20,
        "additionalProperties" =
            serde_json::json!({"type": "string", "maxLength": 63, "pattern": VALUE_PATTERN}),
        "x-kubernetes-map-type" = "atomic"
    ))]
    pub match_labels: BTreeMap<String, String>,
    /// What labels must be, beside that.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend(
        "maxItems" = 20,
        "x-kubernetes-list-type" = "atomic",
        "x-kubernetes-validations" =
            rules(&[rule::IN_NEEDS_VALUES, rule::NOT_IN_NEEDS_VALUES, rule::EXISTS_NEEDS_NONE])
    ))]
    pub match_expressions: Vec<LabelExpression>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

/// What a label must be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelExpression {
    /// The label's key.
    #[schemars(extend("maxLength" = 316, "pattern" = KEY_PATTERN))]
    pub key: String,
    /// How it is compared.
    #[schemars(extend("enum" = ["In", "NotIn", "Exists", "DoesNotExist"]))]
    pub operator: String,
    /// What it is compared with.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend(
        "maxItems" = 50,
        "x-kubernetes-list-type" = "atomic",
        "items" = serde_json::json!({"type": "string", "maxLength": 63, "pattern": VALUE_PATTERN})
    ))]
    pub values: Vec<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}
