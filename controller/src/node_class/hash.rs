//! The hash of an `EC2NodeClass`: machines that were launched under another one have drifted.
//!
//! It covers what Karpenter's covers: all of the specification but selector terms and `ipPrefixCount`, with the family in
//! the place of an alias. The numbers are not Karpenter's, so they carry a version of their own: hashes of other versions are
//! not compared, and a cluster that changes from one to the other keeps its machines.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Annotation with the hash.
pub const HASH: &str = stowage_api::well_known::NODE_CLASS_HASH;
/// Annotation with the hash's version.
pub const HASH_VERSION: &str = stowage_api::well_known::NODE_CLASS_HASH_VERSION;
/// Of this program.
pub const VERSION: &str = "stowage-v1";

/// Not covered: found by what they select, or said by the family.
const LEFT_OUT: [&str; 7] = [
    "amiSelectorTerms",
    "subnetSelectorTerms",
    "securityGroupSelectorTerms",
    "capacityReservationSelectorTerms",
    "placementGroupSelector",
    "amiFamily",
    "ipPrefixCount",
];

/// The hash of a specification as the API server has it.
pub fn hash(spec: &Value, family: &str, ca_bundle: &str) -> String {
    let fields = spec.as_object().into_iter().flatten();
    let covered: serde_json::Map<String, Value> = fields
        .filter(|(name, _)| !LEFT_OUT.contains(&name.as_str()))
        .filter_map(|(name, value)| Some((name.clone(), stated(value)?)))
        .collect();
    let mut digest = Sha256::new();
    for part in [family, ca_bundle] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    // Keys of objects come in order.
    digest.update(Value::Object(covered).to_string());
    digest.finalize().iter().take(8).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)).to_string()
}

/// What is not stated and what is stated as nothing are the same. The order of lists says nothing.
fn stated(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(fields) => {
            let stated = fields.iter().filter_map(|(name, value)| Some((name.clone(), stated(value)?)));
            let stated: serde_json::Map<String, Value> = stated.collect();
            (!stated.is_empty()).then_some(Value::Object(stated))
        }
        Value::Array(values) => {
            let mut stated: Vec<Value> = values.iter().filter_map(stated).collect();
            stated.sort_by_cached_key(ToString::to_string);
            (!stated.is_empty()).then_some(Value::Array(stated))
        }
        other => Some(other.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(spec: &Value) -> String {
        hash(spec, "AL2023", "ca")
    }

    #[test]
    fn what_decides_how_machines_are_made_is_covered() {
        let plain =
            json!({"role": "nodes", "tags": {"a": "1"}, "metadataOptions": {"httpTokens": "required"}});
        // A number of its own: it must not change from release to release.
        assert_eq!(of(&plain), "10929053291939000439");
        let with = |name: &str, value: Value| {
            let mut spec = plain.clone();
            spec[name] = value;
            of(&spec)
        };
        for (name, value) in [
            ("userData", json!("hello")),
            ("tags", json!({"a": "2"})),
            ("kubelet", json!({"maxPods": 5})),
            ("metadataOptions", json!({"httpTokens": "optional"})),
            ("aFieldOfTomorrow", json!(true)),
        ] {
            assert_ne!(with(name, value), of(&plain), "{name}");
        }
        for (name, value) in [
            ("amiSelectorTerms", json!([{"alias": "al2023@latest"}])),
            ("subnetSelectorTerms", json!([{"id": "subnet-1"}])),
            ("amiFamily", json!("AL2023")),
            ("ipPrefixCount", json!(2)),
            ("userData", json!(null)),
            ("blockDeviceMappings", json!([])),
        ] {
            assert_eq!(with(name, value), of(&plain), "{name}");
        }
        assert_ne!(hash(&plain, "Bottlerocket", "ca"), of(&plain));
        assert_ne!(hash(&plain, "AL2023", "other"), of(&plain));
    }
}
