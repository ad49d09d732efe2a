//! The newest state that watches have told of, of objects that this process writes itself.
//!
//! What is written is taken for known at once (`Cluster::assume`), while the watch tells of the same object beside it: of an
//! older state, of this one, of a later one, or of its end. The answer to a write must not bring back what is gone.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;
use stowage_cluster::Kind;

/// An answer takes no longer than this to come after the end of its object.
const KEPT: Duration = Duration::from_mins(5);

/// By uid: which version was seen last, or when the object ended.
#[derive(Debug, Default)]
pub(crate) struct Newest(HashMap<String, Seen>);

#[derive(Clone, Copy, Debug)]
enum Seen {
    At(u64),
    Ended(Instant),
}

/// Versions of the API server are numbers that grow.
///
/// Source: Kubernetes' API concepts, "resource versions", comparable since 1.35.
fn version(stated: Option<&str>) -> u64 {
    stated.and_then(|version| version.parse().ok()).unwrap_or(0)
}

/// Kinds that are assumed.
fn is_written(kind: Kind) -> bool {
    matches!(kind, Kind::NodeClaim | Kind::Node)
}

impl Newest {
    /// A watch or a list has told of this state.
    pub(crate) fn saw(&mut self, kind: Kind, of: &ObjectMeta) {
        if let Some(uid) = of.uid.as_ref().filter(|_| is_written(kind)) {
            self.0.insert(uid.clone(), Seen::At(version(of.resource_version.as_deref())));
        }
    }

    /// A watch has told of its end.
    pub(crate) fn ended(&mut self, kind: Kind, of: &ObjectMeta, now: Instant) {
        if let Some(uid) = of.uid.as_ref().filter(|_| is_written(kind)) {
            self.0.retain(|_, seen| !matches!(seen, Seen::Ended(at) if now.duration_since(*at) > KEPT));
            self.0.insert(uid.clone(), Seen::Ended(now));
        }
    }

    /// Whether an object with these metadata may be newer than what was seen.
    pub(crate) fn admits(&self, metadata: &Value) -> bool {
        match metadata["uid"].as_str().and_then(|uid| self.0.get(uid)) {
            None => true,
            Some(Seen::At(seen)) => version(metadata["resourceVersion"].as_str()) >= *seen,
            Some(Seen::Ended(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(uid: &str, version: &str) -> ObjectMeta {
        serde_json::from_value(json!({"name": "a", "uid": uid, "resourceVersion": version}))
            .expect("metadata")
    }

    #[test]
    fn an_answer_brings_back_nothing_that_is_older_or_gone() {
        let (mut newest, now) = (Newest::default(), Instant::now());
        let admits = |newest: &Newest, uid: &str, version: &str| {
            newest.admits(&json!({"uid": uid, "resourceVersion": version}))
        };
        assert!(admits(&newest, "u", "7"), "nobody has told of it yet");
        newest.saw(Kind::NodeClaim, &of("u", "9"));
        assert!(!admits(&newest, "u", "8") && admits(&newest, "u", "9") && admits(&newest, "u", "10"));
        newest.ended(Kind::NodeClaim, &of("u", "11"), now);
        assert!(!admits(&newest, "u", "12"));
        assert!(admits(&newest, "another", "12"), "another one of its name");
        newest.ended(Kind::NodeClaim, &of("v", "20"), now + KEPT + Duration::from_secs(1));
        assert_eq!(newest.0.len(), 1, "ends are forgotten in time");
    }

    #[test]
    fn kinds_that_nobody_writes_here_take_no_room() {
        let mut newest = Newest::default();
        newest.saw(Kind::Pod, &of("u", "9"));
        newest.ended(Kind::Pod, &of("u", "9"), Instant::now());
        assert!(newest.0.is_empty());
    }
}
