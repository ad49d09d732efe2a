//! A hash that is the same in every build: what it says is kept in the cluster, and read by newer versions.

use serde_json::Value;

use crate::json::text;

/// FNV-1a of 64 bits. Who wants two templates of one workload to share a verdict can have that by making them alike, too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// A text and its end: "a", "bc" is not "ab", "c".
    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
        self.bytes(&[0xff]);
    }

    pub(crate) fn finish(self) -> u64 {
        self.0
    }
}

/// Hashes JSON whatever the order of its fields, and as if what is absent, null or empty were the same: to Kubernetes it is.
///
/// How deep JSON may nest, `serde_json` limits when it reads it.
pub(crate) struct Canonical<'h> {
    hash: &'h mut Fnv,
    /// Keys that are passed over, wherever they stand.
    without: &'h [&'h str],
}

impl<'h> Canonical<'h> {
    pub(crate) fn without(hash: &'h mut Fnv, without: &'h [&'h str]) -> Self {
        Self { hash, without }
    }

    pub(crate) fn value(&mut self, value: &Value) {
        match value {
            Value::Null => {}
            Value::Bool(b) => self.hash.bytes(if *b { b"t" } else { b"f" }),
            Value::Number(number) => self.hash.text(&number.to_string()),
            Value::String(text) => self.hash.text(text),
            Value::Array(items) => {
                self.hash.bytes(b"[");
                for item in items {
                    self.value(item);
                }
                self.hash.bytes(b"]");
            }
            Value::Object(fields) => {
                let told = |(key, value): &(&String, &Value)| {
                    !self.is_bare(value) && !self.without.contains(&key.as_str())
                };
                let mut fields: Vec<(&String, &Value)> = fields.iter().filter(told).collect();
                fields.sort_unstable_by_key(|(key, _)| *key);
                self.hash.bytes(b"{");
                for (key, value) in fields {
                    self.hash.text(key);
                    self.value(value);
                }
                self.hash.bytes(b"}");
            }
        }
    }

    /// A field of an object; says whether there is anything in it.
    pub(crate) fn field(&mut self, of: &Value, key: &str) -> bool {
        let Some(value) = of.get(key).filter(|value| !self.is_bare(value)) else { return false };
        self.hash.text(key);
        self.value(value);
        true
    }

    /// Whether nothing of it is told, however deep.
    fn is_bare(&self, value: &Value) -> bool {
        match value {
            Value::Object(fields) => {
                fields.iter().all(|(key, value)| self.without.contains(&key.as_str()) || self.is_bare(value))
            }
            other => is_empty(other),
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// The claim of a volume, without the pod's own name where it ends in that: a claim that is made for each pod.
pub(crate) fn claim<'v>(volume: &'v Value, pod: &str) -> &'v str {
    let name = volume.get("persistentVolumeClaim").map_or("", |claim| text(claim, "claimName"));
    name.strip_suffix(pod).filter(|_| !pod.is_empty()).unwrap_or(name)
}
