//! Why nodes stay, told on their NodeClaims: the condition `Disruptable` is false, with the pod, budget, price or rule that is in
//! the way, and what would be saved.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use stowage_api::StatusCondition;
use stowage_api::crd::condition::DISRUPTABLE;
use stowage_cluster::Snapshot;

use super::methods::Stays;

/// Conditions that are written at one look: those of a large cluster come over some minutes.
const AT_ONCE: usize = 50;

/// Where only figures have changed, a condition is written again after so long.
const FIGURES: Duration = Duration::from_mins(10);

/// Remembers what was written when.
#[derive(Debug, Default)]
pub struct Explainer {
    /// By the claim's uid: when, and what.
    written: HashMap<String, (Instant, String)>,
}

impl Explainer {
    /// Of the nodes that stay, those whose claims are to be told why: another reason than they state, or other figures than some
    /// time ago.
    pub fn due<'s>(&mut self, stays: &'s [Stays], snapshot: &Snapshot, now: Instant) -> Vec<&'s Stays> {
        let stated: HashMap<&str, Option<&StatusCondition>> = snapshot
            .node_claims()
            .filter(|claim| !claim.metadata.is_terminating())
            .map(|claim| {
                let condition = StatusCondition::find(&claim.status.conditions, DISRUPTABLE);
                (claim.metadata.uid.as_str(), condition)
            })
            .collect();
        self.written.retain(|uid, _| stated.contains_key(uid.as_str()));
        let is_due = |stays: &&Stays| match stated.get(stays.uid.as_str()) {
            None => false,
            Some(None) => true,
            Some(Some(stated)) if stated.status != "False" || stated.reason != stays.word => true,
            // What another process has written is looked at once.
            Some(Some(_)) => self
                .written
                .get(&stays.uid)
                .is_none_or(|(at, why)| *why != stays.why && now.duration_since(*at) >= FIGURES),
        };
        let due: Vec<&Stays> = stays.iter().filter(is_due).take(AT_ONCE).collect();
        self.written.extend(due.iter().map(|stays| (stays.uid.clone(), (now, stays.why.clone()))));
        due
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stowage_cluster::{Index, Kind};

    use super::*;

    fn snapshot(condition: Option<(&str, &str)>) -> std::sync::Arc<Snapshot> {
        let mut index = Index::default();
        let conditions = condition.map(|(reason, message)| {
            json!([{"type": "Disruptable", "status": "False", "reason": reason, "message": message}])
        });
        let claim = json!({"metadata": {"name": "a", "uid": "u"}, "status": {"conditions": conditions.unwrap_or(json!([]))}});
        index.apply(Kind::NodeClaim, &claim.to_string()).expect("a claim");
        index.snapshot()
    }

    #[test]
    fn what_is_stated_already_is_not_written_again() {
        let stays = |word, why: &str| {
            vec![Stays {
                claim: "a".to_owned(),
                uid: "u".to_owned(),
                node: "n".to_owned(),
                pool: "default".to_owned(),
                refused: false,
                word,
                why: why.to_owned(),
                saving: None,
            }]
        };
        let (mut explainer, start) = (Explainer::default(), Instant::now());
        let mut due = |stays: &[Stays], condition, later| {
            explainer.due(stays, &snapshot(condition), start + Duration::from_secs(later)).len()
        };
        assert_eq!(due(&stays("A", "x"), None, 0), 1);
        assert_eq!(due(&stays("A", "x"), Some(("A", "x")), 10), 0);
        assert_eq!(due(&stays("A", "y"), Some(("A", "x")), 20), 0, "figures can wait");
        assert_eq!(due(&stays("B", "y"), Some(("A", "x")), 30), 1, "another reason cannot");
        assert_eq!(due(&stays("B", "z"), Some(("B", "y")), 630), 1);
    }
}
