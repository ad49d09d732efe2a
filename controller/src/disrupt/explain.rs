//! Why nodes stay, told on their NodeClaims: the condition `Disruptable` is false, with the pod, budget, price or rule that is in
//! the way, and what would be saved.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use stowage_api::StatusCondition;
use stowage_api::crd::condition::DISRUPTABLE;
use stowage_cluster::Snapshot;
use stowage_cluster::disrupt::{Reason, Refusal, Standing};
use stowage_cluster::words::kept;

use super::methods::{Cause, Found, Stays};

/// Conditions that are written at one look: those of a large cluster come over some minutes.
const AT_ONCE: usize = 50;

/// Where only figures have changed, a condition is written again after so long.
const FIGURES: Duration = Duration::from_mins(10);

/// Why nodes stay, as far as one look has shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Of these nodes it has.
    pub stays: Vec<Stays>,
    /// Whether these are all: where a method finds something, those after it are not asked.
    pub whole: bool,
    /// Claims whose nodes are not on their way, by uid.
    pub here: BTreeSet<String>,
}

impl Seen {
    /// What the methods have found: what consolidation says of each node, or else who may not go at all; and before that, what
    /// holds up nodes that would have gone for another reason.
    pub fn of(standings: &[Standing<'_>], found: &[(Reason, &Found)]) -> Self {
        let goes = |why: &Refusal| matches!(why, Refusal::Chosen | Refusal::Deleting);
        let here = standings.iter().filter(|standing| !standing.refused.iter().any(goes));
        let by_node: HashMap<&str, &Standing<'_>> =
            here.map(|standing| (standing.node.metadata.name.as_str(), standing)).collect();
        let last = found.iter().find(|(reason, _)| *reason == Reason::Underutilized);
        let mut all: BTreeMap<String, Stays> = match last {
            Some((_, found)) => found.stays.iter().map(|of| (of.uid.clone(), of.clone())).collect(),
            None => by_node.values().filter_map(|standing| refused(standing)).collect(),
        };
        for held in found.iter().flat_map(|(_, found)| &found.kept) {
            let standing = by_node.get(held.node.as_str());
            let Some(stays) = standing.and_then(|of| stays(of, Cause::HeldUp, held.word, held.why.clone()))
            else {
                continue;
            };
            let saving = all.get(&stays.uid).and_then(|of| of.saving);
            all.insert(stays.uid.clone(), Stays { saving, ..stays });
        }
        let uids = by_node.values().filter_map(|standing| Some(standing.claim?.metadata.uid.clone()));
        Self { here: uids.collect(), stays: all.into_values().collect(), whole: last.is_some() }
    }
}

/// Why a node may not go at all; `None` where it may.
fn refused(standing: &Standing<'_>) -> Option<(String, Stays)> {
    let why = standing.refusals().next()?;
    let stays = stays(standing, Cause::Refused, kept::refusal_word(why), kept::refusal(why))?;
    Some((stays.uid.clone(), stays))
}

fn stays(standing: &Standing<'_>, cause: Cause, word: &'static str, why: String) -> Option<Stays> {
    let claim = &standing.claim?.metadata;
    Some(Stays {
        claim: claim.name.clone(),
        uid: claim.uid.clone(),
        node: standing.node.metadata.name.clone(),
        pool: standing.pool.map(|pool| pool.metadata.name.clone()).unwrap_or_default(),
        cause,
        word,
        why,
        saving: None,
    })
}

/// Why nodes stay, as the last looks have shown: by uid of the claim.
#[derive(Debug, Default)]
pub struct Known(BTreeMap<String, Stays>);

impl Known {
    /// Takes in what a look has shown. What it does not say is as it was, as long as the node is there; but who may not go at all is
    /// known of every look.
    pub fn update(&mut self, seen: Seen) -> Vec<Stays> {
        let Seen { stays, whole, here } = seen;
        let mut before = std::mem::take(&mut self.0);
        before.retain(|uid, _| !whole && here.contains(uid));
        for mut of in stays {
            of.saving = of.saving.or_else(|| before.get(&of.uid)?.saving);
            self.0.insert(of.uid.clone(), of);
        }
        for (uid, of) in before.into_iter().filter(|(_, of)| of.cause != Cause::Refused) {
            self.0.entry(uid).or_insert(of);
        }
        self.0.values().cloned().collect()
    }
}

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
                cause: Cause::NotWorth,
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

    fn known(uid: &str, cause: Cause, word: &'static str, saving: Option<f64>) -> Stays {
        Stays {
            claim: format!("claim-{uid}"),
            uid: uid.to_owned(),
            node: format!("node-{uid}"),
            pool: "default".to_owned(),
            cause,
            word,
            why: word.to_owned(),
            saving,
        }
    }

    #[test]
    fn what_a_look_does_not_say_is_as_it_was() {
        let mut all = Known::default();
        let here = || ["a", "b", "c", "d"].map(str::to_owned).into();
        let first = vec![
            known("a", Cause::NotWorth, "TooLittleSaved", Some(0.01)),
            known("b", Cause::NotWorth, "NoPlace", None),
            known("c", Cause::Refused, "NotQuiet", None),
            known("gone", Cause::NotWorth, "NoPlace", None),
        ];
        assert_eq!(all.update(Seen { stays: first, whole: true, here: here() }).len(), 4);
        let second = vec![
            known("a", Cause::HeldUp, "NodePoolBudget", None),
            known("d", Cause::Refused, "PodProtected", None),
        ];
        let found = all.update(Seen { stays: second.clone(), whole: false, here: here() });
        assert_eq!(
            found,
            [
                known("a", Cause::HeldUp, "NodePoolBudget", Some(0.01)),
                known("b", Cause::NotWorth, "NoPlace", None),
                second[1].clone(),
            ],
            "c may go by now, and another is gone"
        );
        let whole = all.update(Seen { stays: second.clone(), whole: true, here: here() });
        assert_eq!(whole, second);
    }
}
