//! What is required of a label of nodes.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::rule::{self, KEY_PATTERN, Namer, VALUE_PATTERN};
use super::{Other, is_default};

/// What a label may be. It is written in one of eight operators; several on one label all hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Requirement {
    /// The label.
    #[schemars(extend("maxLength" = 316, "pattern" = KEY_PATTERN))]
    pub key: String,
    /// How the label and the values go together.
    #[schemars(extend("enum" = OPERATORS))]
    pub operator: String,
    /// The values: at least one for In, exactly one whole number for Gt, Lt, Gte and Lte, none for Exists and DoesNotExist.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("items" = value(), "x-kubernetes-list-type" = "atomic"))]
    pub values: Vec<String>,
    /// How many different values of the label the instance types that a node may be launched as must have between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "maximum" = 50))]
    pub min_values: Option<i64>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

/// What a label of an instance type or offering must be for an overlay to apply.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverlayRequirement {
    /// The label.
    #[schemars(extend(
        "maxLength" = 316, "pattern" = KEY_PATTERN, "x-kubernetes-validations" = rule::key(Namer::Overlay)
    ))]
    pub key: String,
    /// How the label and the values go together.
    #[schemars(extend("enum" = OPERATORS))]
    pub operator: String,
    /// The values: at least one for In and NotIn, exactly one whole number for Gt, Lt, Gte and Lte, none for others.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("items" = value(), "x-kubernetes-list-type" = "atomic"))]
    pub values: Vec<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

/// Schema of the requirements of a NodePool.
pub(super) fn of_pool(generator: &mut SchemaGenerator) -> Schema {
    list(generator, Namer::Pool)
}

/// Schema of the requirements of a NodeClaim.
pub(super) fn of_claim(generator: &mut SchemaGenerator) -> Schema {
    list(generator, Namer::Claim)
}

fn list(generator: &mut SchemaGenerator, namer: Namer) -> Schema {
    let mut item = generator.subschema_for::<Requirement>();
    if let Some(key) = item.pointer_mut("/properties/key").and_then(Value::as_object_mut) {
        key.insert(VALIDATIONS.to_owned(), rule::key(namer));
    }
    json_schema!({
        "type": "array",
        "description": "What the labels of the node must be: those of its instance type and offering, and others. All hold.",
        "maxItems": 100,
        "x-kubernetes-list-type": "atomic",
        "items": item,
        VALIDATIONS: rule::rules(&[rule::IN_NEEDS_VALUES, rule::ONE_NUMBER, rule::ENOUGH_VALUES]),
    })
}

const VALIDATIONS: &str = "x-kubernetes-validations";

const OPERATORS: [&str; 8] = ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Gte", "Lte"];

fn value() -> Value {
    json!({"type": "string", "maxLength": 63, "pattern": VALUE_PATTERN})
}
