//! Bits of Kubernetes' JSON that are read where they stand, without reading all around them.

use serde_json::{Map, Value};

use crate::policy::Labels;

/// A text of an object; empty where it is absent or something else.
pub(crate) fn text<'v>(of: &'v Value, key: &str) -> &'v str {
    of.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A list of an object; empty where it is absent or something else.
pub(crate) fn list<'v>(of: &'v Value, key: &str) -> &'v [Value] {
    of.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The labels of an object; `None` where what stands there are none.
pub(crate) fn labels_of(object: &Value) -> Option<Labels> {
    let none = Map::new();
    let labels = match object.pointer("/metadata/labels") {
        None | Some(Value::Null) => &none,
        Some(Value::Object(labels)) => labels,
        Some(_) => return None,
    };
    labels.iter().map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// Whether labels have all of these.
pub(crate) fn has_all(labels: &Labels, these: &Labels) -> bool {
    these.iter().all(|(key, value)| labels.get(key) == Some(value))
}
