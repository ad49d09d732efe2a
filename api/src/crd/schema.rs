//! The definitions of all kinds, as the API server wants them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use super::{
    CapacityBuffer, ClusterFargatePolicy, Ec2NodeClass, FargatePolicy, NodeClaim, NodeOverlay, NodePool,
};

/// The definition of each kind, by its full name: `nodepools.karpenter.sh`.
///
/// # Errors
/// Never, as long as the types can be written as JSON.
pub fn definitions() -> Result<Vec<(String, Value)>, serde_json::Error> {
    let all = [
        CapacityBuffer::crd(),
        ClusterFargatePolicy::crd(),
        Ec2NodeClass::crd(),
        FargatePolicy::crd(),
        NodeClaim::crd(),
        NodeOverlay::crd(),
        NodePool::crd(),
    ];
    all.into_iter().map(definition).collect()
}

fn definition(crd: CustomResourceDefinition) -> Result<(String, Value), serde_json::Error> {
    let name = crd.metadata.name.clone().unwrap_or_default();
    let mut value = serde_json::to_value(crd)?;
    tidy(&mut value);
    if let Some(schema) =
        value.pointer_mut("/spec/versions/0/schema/openAPIV3Schema").and_then(Value::as_object_mut)
    {
        // The name of a type of ours.
        schema.remove("title");
    }
    Ok((name, value))
}

/// Takes out what derived schemas say beyond what is meant.
///
/// A field that may be absent is not one that may be null: the API server takes null for absent where a field is not
/// nullable, and keeps it where it is. Empty lists and maps of a definition say nothing.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if fields.get("nullable") == Some(&Value::Bool(true)) {
                fields.remove("nullable");
                if let Some(Value::Array(words)) = fields.get_mut("enum") {
                    words.retain(|word| !word.is_null());
                }
            }
            fields.retain(|name, value| {
                !(matches!(name.as_str(), "shortNames" | "categories")
                    && value.as_array().is_some_and(Vec::is_empty))
            });
            fields.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}
