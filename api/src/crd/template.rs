//! What NodePools and NodeClaims say alike of a node: its taints, and how it is launched.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rule::{KEY_PATTERN, rules};
use super::{Other, is_default};

/// A taint: pods that do not tolerate it are kept away, or sent away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Taint {
    /// Name of the taint.
    #[schemars(extend("minLength" = 1, "pattern" = KEY_PATTERN))]
    pub key: String,
    /// Value of the taint.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("pattern" = KEY_PATTERN))]
    pub value: String,
    /// What becomes of pods that do not tolerate it.
    #[schemars(extend("enum" = ["NoSchedule", "PreferNoSchedule", "NoExecute"]))]
    pub effect: String,
    /// When it was set; on nodes only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub time_added: Option<String>,
}

/// The object that says how nodes are launched.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeClassRef {
    /// Its API group, without a version.
    #[schemars(extend(
        "pattern" = "^[^/]*$", "x-kubernetes-validations" = rules(&[("self != ''", "group may not be empty")])
    ))]
    pub group: String,
    /// Its kind.
    #[schemars(extend("x-kubernetes-validations" = rules(&[("self != ''", "kind may not be empty")])))]
    pub kind: String,
    /// Its name.
    #[schemars(extend("x-kubernetes-validations" = rules(&[("self != ''", "name may not be empty")])))]
    pub name: String,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}
