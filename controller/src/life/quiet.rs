//! When a pod last came to a node or went from it: `status.lastPodEventTime` of its NodeClaim, by which it shows how long the
//! node has been quiet.
//!
//! compat: karpenter v1.14, `pkg/controllers/nodeclaim/podevents`: pods of DaemonSets do not count, and a claim is written to
//! every ten seconds at most. A pod that came while nobody looked is known by when it started.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use stowage_api::crd::condition::INITIALIZED;
use stowage_api::{NodeClaim, StatusCondition};
use stowage_cluster::Snapshot;
use stowage_pricing::Timestamp;

use crate::claim::is_ours;

/// How often a claim is written to at most.
const EVERY: Duration = Duration::from_secs(10);

/// The pods of a claim's node.
#[derive(Clone, Copy, Debug, Default)]
struct Pods {
    digest: u64,
    /// When the last of them started.
    newest: Option<Timestamp>,
}

/// The pods of each claim's node, as they were looked at last.
#[derive(Debug, Default)]
pub struct Quiet {
    seen: HashMap<String, Seen>,
}

/// A claim on whose node something has moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Its name.
    pub claim: String,
    /// When that was; `None` for just now.
    pub at: Option<Timestamp>,
}

#[derive(Debug)]
struct Seen {
    /// Digest of its pods.
    pods: u64,
    written: Option<Instant>,
    /// Something has moved, and was not written yet.
    moved: bool,
}

impl Quiet {
    /// Claims on whose node a pod has come, ended or begun to go since they were last named here.
    pub fn moved(&mut self, snapshot: &Snapshot, now: Instant) -> Vec<Moved> {
        let mut all = BTreeMap::<&str, (&NodeClaim, Pods)>::new();
        let claims =
            snapshot.node_claims().filter(|claim| !claim.status.node_name.is_empty() && is_ours(claim));
        let nodes: HashMap<&str, &NodeClaim> =
            claims.map(|claim| (claim.status.node_name.as_str(), claim)).collect();
        all.extend(nodes.values().map(|claim| (claim.metadata.name.as_str(), (*claim, Pods::default()))));
        for pod in snapshot.pods().filter(|pod| pod.daemon_set.is_none()) {
            let Some(claim) = pod.node.as_deref().and_then(|node| nodes.get(node)) else { continue };
            let mut digest = DefaultHasher::new();
            (&pod.namespace, &pod.name, &pod.uid, pod.terminating, pod.is_bound()).hash(&mut digest);
            let Some((_, pods)) = all.get_mut(claim.metadata.name.as_str()) else { continue };
            // A sum, so that the order of pods is of no matter.
            pods.digest = pods.digest.wrapping_add(digest.finish());
            pods.newest = pods.newest.max(pod.started);
        }
        self.seen.retain(|claim, _| all.contains_key(claim.as_str()));
        let mut out = Vec::new();
        for (name, (claim, pods)) in all {
            let Some(seen) = self.seen.get_mut(name) else {
                // What was there when we came is no event, unless nobody was there to see it come.
                let missed = missed(claim, pods.newest);
                let written = missed.map(|_| now);
                self.seen.insert(name.to_owned(), Seen { pods: pods.digest, written, moved: false });
                out.extend(missed.map(|at| Moved { claim: name.to_owned(), at: Some(at) }));
                continue;
            };
            seen.moved |= seen.pods != pods.digest;
            seen.pods = pods.digest;
            if seen.moved && seen.written.is_none_or(|at| now.duration_since(at) >= EVERY) {
                seen.moved = false;
                seen.written = Some(now);
                out.push(Moved { claim: name.to_owned(), at: None });
            }
        }
        out
    }
}

/// When the last pod of a claim's node has started, where the claim does not know of it. Kubelet starts a pod some time after it
/// came: that is no news. Before a node has started up nobody asks how quiet it is, and from then on it is at first.
fn missed(claim: &NodeClaim, newest: Option<Timestamp>) -> Option<Timestamp> {
    let initialized =
        StatusCondition::find(&claim.status.conditions, INITIALIZED).filter(|c| c.status == "True")?;
    let known = [claim.status.last_pod_event_time.as_ref(), initialized.last_transition_time.as_ref()];
    let known = known.into_iter().flatten().filter_map(|at| at.parse::<Timestamp>().ok()).max()?;
    newest.filter(|newest| *newest > known.plus_seconds(EVERY.as_secs().cast_signed()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stowage_cluster::{Index, Kind};

    use super::*;

    fn pod(index: &mut Index, name: &str, phase: &str, owner: &str) {
        let pod = json!({
            "metadata": {"name": name, "ownerReferences": [{"kind": owner, "name": "o"}]},
            "spec": {"nodeName": "ip-1"}, "status": {"phase": phase},
        });
        index.apply(Kind::Pod, &pod.to_string()).expect("a pod");
    }

    #[test]
    fn what_moves_is_told_once_and_not_too_often() {
        let mut index = Index::default();
        let claim = json!({"metadata": {"name": "default-1"}, "status": {"nodeName": "ip-1"}});
        index.apply(Kind::NodeClaim, &claim.to_string()).expect("a claim");
        pod(&mut index, "web", "Running", "ReplicaSet");
        let mut quiet = Quiet::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut moved = |index: &mut Index, at| {
            quiet.moved(&index.snapshot(), at).into_iter().map(|moved| moved.claim).collect::<Vec<_>>()
        };
        assert_eq!(moved(&mut index, at(0)), [""; 0], "it was there before");
        pod(&mut index, "agent", "Running", "DaemonSet");
        assert_eq!(moved(&mut index, at(1)), [""; 0], "daemons do not count");
        pod(&mut index, "job", "Running", "Job");
        assert_eq!(moved(&mut index, at(2)), ["default-1"]);
        pod(&mut index, "job", "Succeeded", "Job");
        assert_eq!(moved(&mut index, at(3)), [""; 0], "not yet");
        assert_eq!(moved(&mut index, at(12)), ["default-1"]);
        assert_eq!(moved(&mut index, at(60)), [""; 0]);
    }

    #[test]
    fn pods_that_came_while_nobody_led_are_events() {
        let of = |last: Option<&str>, started: &[&str], owner: &str| {
            let mut index = Index::default();
            let since = "2026-07-01T09:00:00Z";
            let initialized = json!({"type": INITIALIZED, "status": "True", "lastTransitionTime": since});
            let status = json!({"nodeName": "ip-1", "lastPodEventTime": last, "conditions": [initialized]});
            let claim = json!({"metadata": {"name": "default-1"}, "status": status});
            index.apply(Kind::NodeClaim, &claim.to_string()).expect("a claim");
            for (at, started) in started.iter().enumerate() {
                let pod = json!({
                    "metadata": {"name": format!("web-{at}"), "ownerReferences": [{"kind": owner, "name": "o"}]},
                    "spec": {"nodeName": "ip-1"}, "status": {"phase": "Running", "startTime": started},
                });
                index.apply(Kind::Pod, &pod.to_string()).expect("a pod");
            }
            let (mut quiet, now) = (Quiet::default(), Instant::now());
            let first = quiet.moved(&index.snapshot(), now);
            assert_eq!(quiet.moved(&index.snapshot(), now + EVERY), [], "once");
            first.into_iter().map(|moved| moved.at.map(|at| at.to_string())).collect::<Vec<_>>()
        };
        let (ten, later) = ("2026-07-01T10:00:00Z", "2026-07-01T10:00:11Z");
        assert_eq!(of(Some(ten), &[later, ten], "ReplicaSet"), [Some(later.to_owned())]);
        assert_eq!(of(None, &[ten], "ReplicaSet"), [Some(ten.to_owned())]);
        assert_eq!(of(None, &["2026-07-01T08:00:00Z"], "ReplicaSet"), [], "the node is younger than that");
        assert_eq!(of(Some(ten), &["2026-07-01T10:00:10Z"], "ReplicaSet"), [], "kubelet takes its time");
        assert_eq!(of(Some(later), &[ten], "ReplicaSet"), []);
        assert_eq!(of(Some(ten), &[later], "DaemonSet"), []);
        assert_eq!(of(Some(ten), &[], "ReplicaSet"), []);
    }
}
