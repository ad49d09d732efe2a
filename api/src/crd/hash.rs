//! The hash of a `NodePool`'s template, by which it is found that a node was made from another one.
//!
//! It is Karpenter's, number for number, so that nodes of a cluster that comes from there, or goes back, are not replaced
//! for it. That makes it a hash over Go's structs: it knows the names of their types and fields, and tells what is not
//! stated from what is stated as empty. So it is taken from the object as the API server gives it.
//!
//! compat: karpenter v1.14, `NodePool.Hash` with `hashstructure` v2.0.2, `FormatV2`: slices are sets, zero values are left
//! out, requirements are not looked at. `benches/peer/hashes` writes what the test compares with.

use serde_json::Value;

/// Version of the hash: one that is carried by another version says nothing about drift.
pub const NODE_POOL_HASH_VERSION: &str = "v3";

/// The hash of a `NodePool`, an object as the API server gives it.
///
/// ```
/// let pool = serde_json::json!({"spec": {"template": {"spec": {"expireAfter": "Never", "requirements": []}}}});
/// assert_eq!(stowage_api::crd::node_pool_hash(&pool).len(), 19);
/// ```
pub fn node_pool_hash(pool: &Value) -> String {
    template(&pool["spec"]["template"]).to_string()
}

fn template(template: &Value) -> u64 {
    let (meta, spec) = (&template["metadata"], &template["spec"]);
    let metadata = [("Labels", map(&meta["labels"])), ("Annotations", map(&meta["annotations"]))];
    let spec = [
        ("Taints", set(&spec["taints"], taint)),
        ("StartupTaints", set(&spec["startupTaints"], taint)),
        ("NodeClassRef", spec["nodeClassRef"].is_object().then(|| class(&spec["nodeClassRef"]))),
        // A pointer: an empty duration is there, with nothing in it.
        (
            "TerminationGracePeriod",
            nanoseconds(&spec["terminationGracePeriod"])
                .map(|ns| structure("Duration", &[("Duration", (ns != 0).then(|| number(ns)))])),
        ),
        // Within it is the pointer.
        (
            "ExpireAfter",
            nanoseconds(&spec["expireAfter"])
                .map(|ns| structure("NillableDuration", &[("Duration", Some(number(ns)))])),
        ),
    ];
    let is_stated = |fields: &[(&str, Option<u64>)]| fields.iter().any(|(_, hash)| hash.is_some());
    structure(
        "NodeClaimTemplate",
        &[
            ("ObjectMeta", is_stated(&metadata).then(|| structure("ObjectMeta", &metadata))),
            (
                "Spec",
                (is_stated(&spec) || template["spec"]["requirements"].is_array())
                    .then(|| structure("NodeClaimTemplateSpec", &spec)),
            ),
        ],
    )
}

fn taint(taint: &Value) -> u64 {
    structure(
        "Taint",
        &[("Key", text(&taint["key"])), ("Value", text(&taint["value"])), ("Effect", text(&taint["effect"]))],
    )
}

fn class(reference: &Value) -> u64 {
    structure(
        "NodeClassReference",
        &[
            ("Kind", text(&reference["kind"])),
            ("Name", text(&reference["name"])),
            ("Group", text(&reference["group"])),
        ],
    )
}

/// A struct of this type with these fields in the order of its declaration; `None` is a zero value.
fn structure(name: &str, fields: &[(&str, Option<u64>)]) -> u64 {
    let stated = fields.iter().filter_map(|(field, hash)| Some((field, (*hash)?)));
    stated.fold(fnv(name.as_bytes()), |hash, (field, value)| {
        finish(hash ^ ordered(fnv(field.as_bytes()), value))
    })
}

/// A map of texts; `None` where there is none, which an empty one is not.
fn map(map: &Value) -> Option<u64> {
    let entry = |(key, value): (&String, &Value)| {
        ordered(fnv(key.as_bytes()), fnv(value.as_str().unwrap_or_default().as_bytes()))
    };
    Some(finish(map.as_object()?.iter().map(entry).fold(0, |all, one| all ^ one)))
}

/// A list, in any order; `None` where there is none, which an empty one is not.
fn set(list: &Value, of: impl Fn(&Value) -> u64) -> Option<u64> {
    Some(list.as_array()?.iter().map(of).fold(0, |all, one| all ^ one))
}

fn text(value: &Value) -> Option<u64> {
    value.as_str().filter(|text| !text.is_empty()).map(|text| fnv(text.as_bytes()))
}

fn number(value: i64) -> u64 {
    fnv(&value.to_le_bytes())
}

fn ordered(a: u64, b: u64) -> u64 {
    fnv(&[a.to_le_bytes(), b.to_le_bytes()].concat())
}

fn finish(hash: u64) -> u64 {
    fnv(&hash.to_le_bytes())
}

/// FNV-1, 64 bits: multiplied, then mixed.
fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(*byte))
}

/// A duration in hours, minutes and seconds, which is all that the schema lets in; `None` for `Never` and for what is none.
fn nanoseconds(duration: &Value) -> Option<i64> {
    let mut rest = duration.as_str().filter(|text| !text.is_empty())?;
    let mut total = 0_i64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let amount: i64 = rest.get(..end)?.parse().ok()?;
        let unit = match rest.as_bytes().get(end)? {
            b'h' => 3_600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        total = amount.checked_mul(unit * 1_000_000_000).and_then(|ns| total.checked_add(ns))?;
        rest = rest.get(end + 1..)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Deserialize)]
    struct Known {
        template: Value,
        hash: String,
    }

    #[test]
    fn hashes_are_those_of_karpenter() {
        let known: Vec<Known> =
            serde_json::from_str(include_str!("../../tests/hashes.json")).expect("a list");
        assert!(known.len() > 30);
        let mine = |known: &Known| node_pool_hash(&json!({"spec": {"template": known.template}}));
        let wrong: Vec<&Value> = known.iter().filter(|k| mine(k) != k.hash).map(|k| &k.template).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn what_is_no_template_has_a_hash_too() {
        for odd in [
            json!(null),
            json!([]),
            json!({"spec": {"template": {"spec": {"taints": [1], "expireAfter": "9999999999999h"}}}}),
        ] {
            assert!(!node_pool_hash(&odd).is_empty());
        }
    }
}
