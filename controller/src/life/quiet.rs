//! When a pod last came to a node or went from it: `status.lastPodEventTime` of its NodeClaim, by which it shows how long the
//! node has been quiet.
//!
//! compat: karpenter v1.14, `pkg/controllers/nodeclaim/podevents`: pods of DaemonSets do not count, and a claim is written to
//! every ten seconds at most.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use stowage_cluster::Snapshot;

use crate::claim::is_ours;

/// How often a claim is written to at most.
const EVERY: Duration = Duration::from_secs(10);

/// The pods of each claim's node, as they were looked at last.
#[derive(Debug, Default)]
pub struct Quiet {
    seen: HashMap<String, Seen>,
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
    pub fn moved(&mut self, snapshot: &Snapshot, now: Instant) -> Vec<String> {
        let mut digests = BTreeMap::<&str, u64>::new();
        let claims =
            snapshot.node_claims().filter(|claim| !claim.status.node_name.is_empty() && is_ours(claim));
        let nodes: HashMap<&str, &str> =
            claims.map(|claim| (claim.status.node_name.as_str(), claim.metadata.name.as_str())).collect();
        digests.extend(nodes.values().map(|claim| (*claim, 0)));
        for pod in snapshot.pods().filter(|pod| pod.daemon_set.is_none()) {
            let Some(claim) = pod.node.as_deref().and_then(|node| nodes.get(node)) else { continue };
            let mut digest = DefaultHasher::new();
            (&pod.namespace, &pod.name, &pod.uid, pod.terminating, pod.is_bound()).hash(&mut digest);
            // A sum, so that the order of pods is of no matter.
            let sum = digests.entry(claim).or_default();
            *sum = sum.wrapping_add(digest.finish());
        }
        self.seen.retain(|claim, _| digests.contains_key(claim.as_str()));
        let mut out = Vec::new();
        for (claim, pods) in digests {
            let Some(seen) = self.seen.get_mut(claim) else {
                // What was there when we came is no event.
                self.seen.insert(claim.to_owned(), Seen { pods, written: None, moved: false });
                continue;
            };
            seen.moved |= seen.pods != pods;
            seen.pods = pods;
            if seen.moved && seen.written.is_none_or(|at| now.duration_since(at) >= EVERY) {
                seen.moved = false;
                seen.written = Some(now);
                out.push(claim.to_owned());
            }
        }
        out
    }
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
        assert_eq!(quiet.moved(&index.snapshot(), at(0)), [""; 0], "it was there before");
        pod(&mut index, "agent", "Running", "DaemonSet");
        assert_eq!(quiet.moved(&index.snapshot(), at(1)), [""; 0], "daemons do not count");
        pod(&mut index, "job", "Running", "Job");
        assert_eq!(quiet.moved(&index.snapshot(), at(2)), ["default-1"]);
        pod(&mut index, "job", "Succeeded", "Job");
        assert_eq!(quiet.moved(&index.snapshot(), at(3)), [""; 0], "not yet");
        assert_eq!(quiet.moved(&index.snapshot(), at(12)), ["default-1"]);
        assert_eq!(quiet.moved(&index.snapshot(), at(60)), [""; 0]);
    }
}
