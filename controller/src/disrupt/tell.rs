//! What is said of nodes that go and of those that stay: events on pods, Nodes and NodeClaims, and the condition `Disruptable`.

use std::collections::HashMap;
use std::time::Instant;

use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::ObjectReference;
use stowage_cluster::Pod;
use stowage_cluster::disrupt::Mark;
use stowage_cluster::words::count;
use tracing::warn;

use super::command::{Candidate, Command, Replacement};
use super::explain::Explainer;
use super::methods::{Cause, Stays};
use super::run::{Disruptor, Round};
use crate::announce::{normal, warning};
use crate::market::now;

/// Claims that are written side by side.
const SIDE_BY_SIDE: usize = 10;

/// Of what keeps nodes that could save money, what somebody may want to do something about: it is an event. All others end by
/// themselves, or are what the NodePool says.
const OBSTACLES: [&str; 6] = [
    "NodeProtected",
    "PodUnread",
    "PodProtected",
    "PodDisruptionBudget",
    "SeveralPodDisruptionBudgets",
    "ReplacementFailed",
];

/// Reason and words of an event.
pub(super) type Said = (&'static str, String);

/// What was last said of the mark of each pod, by uid: a mark stays for as long as its pod does, and is said once.
#[derive(Debug, Default)]
pub(super) struct Told(HashMap<String, Said>);

impl Told {
    /// Of all that is to be said of marks, what was not said before. Pods that are not named any more are forgotten.
    pub(super) fn news(&mut self, marked: Vec<(ObjectReference, Said)>) -> Vec<(ObjectReference, Said)> {
        let mut before = std::mem::take(&mut self.0);
        let is_news = |(of, said): &(ObjectReference, Said)| {
            let uid = of.uid.clone().unwrap_or_default();
            let known = before.remove(&uid).is_some_and(|before| before == *said);
            self.0.insert(uid, said.clone());
            !known
        };
        marked.into_iter().filter(is_news).collect()
    }
}

impl Disruptor {
    /// Says to the nodes of a command what has become of it.
    pub(super) fn trail(&self, reason: &'static str, command: &Command, note: &str) {
        let said = |of: &Candidate| -> Said { (reason, format!("{}: {note}", of.node)) };
        let all = command.candidates.iter().map(|of| (of.claim.as_str(), of.node.as_str(), said(of)));
        self.announce(all.collect());
    }

    /// Writes into NodeClaims why their nodes stay, and says so.
    pub(super) async fn explain(&self, all: &[Stays], explainer: &mut Explainer) {
        self.metrics.disruptions().stay(all);
        let Some(snapshot) = self.hands.cluster.snapshot() else { return };
        let due = explainer.due(all, &snapshot, Instant::now());
        let told = due.iter().filter_map(|stays| {
            let reason = match stays.cause {
                Cause::NotWorth => "Unconsolidatable",
                Cause::Refused if OBSTACLES.contains(&stays.word) => "DisruptionBlocked",
                // What holds nodes up is said of each look.
                Cause::Refused | Cause::HeldUp => return None,
            };
            Some((stays.claim.as_str(), stays.node.as_str(), (reason, stays.why.clone())))
        });
        self.announce(told.collect());
        let written = due.into_iter().map(|stays| self.hands.explain(stays).boxed());
        let written = futures::stream::iter(written.collect::<Vec<_>>()).buffer_unordered(SIDE_BY_SIDE);
        if let Some(error) = written.collect::<Vec<_>>().await.into_iter().find_map(Result::err) {
            warn!(error = format!("{error:#}"), "why a node stays could not be written");
        }
    }

    /// Says why nodes stay that would go but for that, and what marks of pods mean.
    pub(super) fn tell(&self, round: &mut Round, told: &mut Told) {
        let kept = round.found.iter().flat_map(|(_, _, found, _)| &found.kept);
        let kept = kept.map(|held| ("", held.node.as_str(), &held.why));
        let refused = round.refused.iter().map(|(claim, node, why)| (claim.as_str(), node.as_str(), why));
        let all =
            kept.chain(refused).map(|(claim, node, why)| (claim, node, ("DisruptionBlocked", why.clone())));
        self.announce(all.collect());
        let news = told.news(std::mem::take(&mut round.marked));
        self.announcer.tell_all(news.into_iter().map(|(of, (reason, note))| {
            let event = if reason == ODD_MARK { warning(reason, note) } else { normal(reason, note) };
            (of, event)
        }));
    }

    /// Tells NodeClaims and Nodes, by name; an empty name is nobody.
    pub(super) fn announce(&self, all: Vec<(&str, &str, Said)>) {
        let Some(snapshot) = self.hands.cluster.snapshot().filter(|_| !all.is_empty()) else { return };
        let uids: HashMap<&str, &str> =
            snapshot.node_claims().map(|c| (c.metadata.name.as_str(), c.metadata.uid.as_str())).collect();
        let told = all.into_iter().flat_map(|(claim, node, event)| {
            let claim = uids.get(claim).map(|uid| about("karpenter.sh/v1", "NodeClaim", claim, uid));
            // Nodes are known by their name where others would state a uid: kubectl looks for that.
            let node = (!node.is_empty()).then(|| about("v1", "Node", node, node));
            claim.into_iter().chain(node).map(move |of| (of, normal(event.0, event.1.clone())))
        });
        self.announcer.tell_all(told);
    }
}

const ODD_MARK: &str = "InvalidDoNotDisruptAnnotation";

/// What is to be said of the mark of a pod, where that is not plain.
pub(super) fn marked(pod: &Pod) -> Option<(ObjectReference, Said)> {
    let said = match Mark::of(pod, Some(now()))? {
        Mark::Odd => {
            let note = "karpenter.sh/do-not-disrupt is neither true nor a time as 30m: it counts for nothing";
            (ODD_MARK, note.to_owned())
        }
        Mark::Until(Some(until)) => ("DoNotDisruptUntil", format!("It must not be disrupted until {until}")),
        Mark::Over => {
            let note = "The time for which it must not be disrupted is over: its node may go";
            ("DoNotDisruptGracePeriodElapsed", note.to_owned())
        }
        Mark::Always | Mark::Until(None) => return None,
    };
    let mut of = about("v1", "Pod", &pod.name, &pod.uid);
    of.namespace = Some(pod.namespace.to_string());
    Some((of, said))
}

pub(crate) fn about(version: &str, kind: &str, name: &str, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some(version.to_owned()),
        kind: Some(kind.to_owned()),
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}

/// What a command comes to, in words.
pub(super) fn saves(command: &Command) -> String {
    format!(
        "{} go, {} come, which saves ${:.4} an hour",
        count(command.candidates.len(), "node"),
        command.replacements.len(),
        command.saving()
    )
}

pub(super) fn launching(command: &Command) -> Said {
    let nodes: Vec<&str> = command.candidates.iter().map(|candidate| candidate.node.as_str()).collect();
    let planned = command.replacements.iter().any(|r| matches!(r, Replacement::Planned(_)));
    let what = if planned { "for the pods" } else { "in the place" };
    (
        "DisruptionLaunching",
        format!("Launching NodeClaim {what} of {}: {}", nodes.join(", "), command.reason.name()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_pods_are_said_once() {
        let mut told = Told::default();
        let marks = |all: &[(&str, Said)]| {
            all.iter().map(|(uid, said)| (about("v1", "Pod", uid, uid), said.clone())).collect::<Vec<_>>()
        };
        let until = |minute: u32| ("DoNotDisruptUntil", format!("until 10:{minute}"));
        let over = || ("DoNotDisruptGracePeriodElapsed", "over".to_owned());
        let mut said = |all: &[(&str, Said)]| told.news(marks(all)).len();
        assert_eq!(said(&[("a", until(10)), ("b", over())]), 2);
        assert_eq!(said(&[("a", until(10)), ("b", over())]), 0, "however often it is looked");
        assert_eq!(said(&[("a", until(20)), ("b", over())]), 1, "another time");
        assert_eq!(said(&[("a", over()), ("b", over()), ("c", over())]), 2);
        assert_eq!(said(&[]), 0);
        assert_eq!(told.0.len(), 0, "those that are gone are forgotten");
    }
}
