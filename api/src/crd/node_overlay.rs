//! NodeOverlay: what is different about instance types from what AWS says of them.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rule::{self, rules};
use super::{Amounts, Condition, Other, OverlayRequirement, condition, is_default};

/// What is different about instance types: another price, or resources that they have beside those known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "karpenter.sh",
    version = "v1alpha1",
    kind = "NodeOverlay",
    plural = "nodeoverlays",
    shortname = "overlays",
    category = "karpenter",
    status = "NodeOverlayStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "What is different about some instance types: their price, or resources beside those that AWS tells of.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Weight", type_ = "integer", json_path = ".spec.weight", priority = 1)
)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("!has(self.price) || !has(self.priceAdjustment)", "price and priceAdjustment exclude each other"),
])))]
pub struct NodeOverlaySpec {
    /// Which instance types and offerings it is about, by their labels.
    #[schemars(extend(
        "maxItems" = 100,
        "x-kubernetes-list-type" = "atomic",
        "x-kubernetes-validations" =
            rules(&[rule::IN_NEEDS_VALUES, rule::NOT_IN_NEEDS_VALUES, rule::ONE_NUMBER])
    ))]
    pub requirements: Vec<OverlayRequirement>,
    /// The price instead of the known one, in dollars an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = r"^\d+(\.\d+)?$"))]
    pub price: Option<String>,
    /// What is added to the known price or taken from it: dollars an hour as +0.05, or a part of it as -10%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = ADJUSTMENT))]
    pub price_adjustment: Option<String>,
    /// Resources that the instance types have, beside those that AWS tells of.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("x-kubernetes-validations" = rules(&[(
        "self.all(x, !(x in ['cpu', 'memory', 'ephemeral-storage', 'pods']))",
        "cpu, memory, ephemeral-storage and pods cannot be overlaid",
    )])))]
    pub capacity: Amounts,
    /// Of several overlays that set the same, the one with the greatest weight holds; no weight is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "maximum" = 10000))]
    pub weight: Option<i32>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

/// A sign and a number of dollars, or of percent, of which no more than all can be taken away.
const ADJUSTMENT: &str = r"^(([+-]{1}(\d*\.?\d+))|(\+{1}\d*\.?\d+%)|(^(-\d{1,2}(\.\d+)?%)$)|(-100%))$";

/// What a NodeOverlay has come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeOverlayStatus {
    /// What the object has come to.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(schema_with = "condition::list")]
    pub conditions: Vec<Condition>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}
