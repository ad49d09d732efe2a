//! Static capacity: a `NodePool` with `replicas` keeps that many nodes, whatever pods there are (gate `StaticCapacity`).
//!
//! ```text
//! too few ─▶ NodeClaims from the template, as far as limits.nodes allows
//! too many ─▶ deleted: first what has no machine yet, then empty nodes, then those whose pods cost least to move
//! ```
//!
//! # Invariants
//! - Claims that are being deleted are no replicas any more, but count against `limits.nodes` until they are gone.
//! - Claims that were chosen to go for another reason are replaced before they do: until then nothing is missing, and what
//!   replaces them is not too many.
//! - Where claims go as fast as they are made, the next are made later each time.
//!
//! compat: karpenter v1.14, `pkg/controllers/static`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use kube::Client;
use kube::api::DeleteParams;
use stowage_api::crd::condition::DISRUPTION_REASON;
use stowage_api::well_known::NODE_POOL;
use stowage_api::{NodeClaim, NodePool, StatusCondition};
use stowage_cluster::{Kind, Pod, Snapshot};
use tracing::{info, warn};

use crate::answer::is_gone;
use crate::follow::{Cluster, api};
use crate::make::Maker;
use crate::operate::metrics::Metrics;
use crate::pool::Standing;
use crate::pool::count::node_limit;

/// Claims that are made or deleted side by side.
const SIDE_BY_SIDE: usize = 10;

/// The most that are made at once; the rest follows in the next look.
const MOST: u64 = 200;

/// How long after claims were made the next may be, at first and at most.
const PACE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// Looked at at least this often.
const EVERY: Duration = Duration::from_mins(1);

/// Changes that come within so short a time are looked at together.
const SETTLE: Duration = Duration::from_millis(200);

/// What is to be done about one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// So many claims are to be made.
    pub make: u64,
    /// These are to go, in this order.
    pub remove: Vec<String>,
}

/// What is to be done about a pool, of which these are the claims.
pub fn change(pool: &NodePool, claims: &[&NodeClaim], pods: &BTreeMap<&str, Vec<&Pod>>) -> Change {
    let Some(replicas) = pool.spec.replicas else { return Change::default() };
    if pool.metadata.is_terminating() {
        return Change::default();
    }
    let replicas = u64::try_from(replicas).unwrap_or_default();
    let mut running: Vec<&NodeClaim> =
        claims.iter().filter(|c| !c.metadata.is_terminating()).copied().collect();
    let count = running.len() as u64;
    if count < replicas {
        let room = node_limit(pool).saturating_sub(claims.len() as u64);
        return Change { make: (replicas - count).min(room), remove: Vec::new() };
    }
    // Those that were chosen to go are replaced by others, which must not be taken for too many.
    running.retain(|claim| !StatusCondition::holds(&claim.status.conditions, DISRUPTION_REASON));
    running.sort_by_cached_key(|claim| (rank(claim, pods), claim.metadata.name.clone()));
    let surplus = usize::try_from((running.len() as u64).saturating_sub(replicas)).unwrap_or(usize::MAX);
    let remove = running.into_iter().take(surplus).map(|claim| claim.metadata.name.clone()).collect();
    Change { make: 0, remove }
}

/// What goes first is least: its stage, then what its pods cost to move.
fn rank(claim: &NodeClaim, pods: &BTreeMap<&str, Vec<&Pod>>) -> (u8, i64) {
    if claim.status.provider_id.is_empty() {
        return (0, 0);
    }
    let own = pods.get(claim.status.node_name.as_str()).map_or(&[][..], Vec::as_slice);
    let moved = own.iter().filter(|pod| pod.daemon_set.is_none() && !pod.mirror);
    if own.iter().any(|pod| pod.do_not_disrupt) {
        (3, moved.map(|pod| eviction_cost(pod)).sum())
    } else if moved.clone().next().is_none() {
        (1, 0)
    } else {
        (2, moved.map(|pod| eviction_cost(pod)).sum())
    }
}

/// What it costs to move a pod, in units of 2⁻²⁵: one, and more or less by priority, within ten either way.
///
/// compat: karpenter v1.14, `EvictionCost`; the annotation of deletion costs is not read.
fn eviction_cost(pod: &Pod) -> i64 {
    const ONE: i64 = 1 << 25;
    (ONE + i64::from(pod.spec.priority.unwrap_or_default())).clamp(-10 * ONE, 10 * ONE)
}

/// What the loop works with.
pub struct Keeper {
    /// To ask for nodes with.
    pub maker: Maker,
    /// To write with.
    pub client: Client,
    /// What there is.
    pub cluster: Cluster,
    /// Which `NodePools` nodes can be made from.
    pub standing: Standing,
    /// What it measures.
    pub metrics: Arc<Metrics>,
}

/// When claims of a pool may be made again.
struct Pace {
    next: Instant,
    wait: Duration,
}

impl Keeper {
    /// Keeps replicas until the task is dropped.
    pub async fn run(self) {
        let mut changes = self.cluster.changes();
        let mut paces = HashMap::<String, Pace>::new();
        loop {
            let mut rest = EVERY;
            if let Some(snapshot) = self.cluster.snapshot()
                && snapshot.node_pools.iter().any(|pool| pool.spec.replicas.is_some())
            {
                match self.look(&snapshot, &mut paces).await {
                    Ok(soonest) => rest = soonest,
                    Err(error) => warn!(error = format!("{error:#}"), "replicas of NodePools are not kept"),
                }
            }
            tokio::select! {
                _ = changes.changed() => tokio::time::sleep(SETTLE).await,
                () = tokio::time::sleep(rest) => {}
            }
            changes.borrow_and_update();
        }
    }

    /// Looks at all static pools, and says in how long to look again at the latest.
    async fn look(&self, snapshot: &Snapshot, paces: &mut HashMap<String, Pace>) -> Result<Duration> {
        let mut claims = BTreeMap::<&str, Vec<&NodeClaim>>::new();
        for claim in snapshot.node_claims() {
            if let Some(pool) = claim.metadata.labels.get(NODE_POOL) {
                claims.entry(pool).or_default().push(claim);
            }
        }
        let mut pods = BTreeMap::<&str, Vec<&Pod>>::new();
        for pod in snapshot.pods().filter(|pod| pod.is_bound()) {
            pods.entry(pod.node.as_deref().unwrap_or_default()).or_default().push(pod);
        }
        let mut soonest = EVERY;
        for pool in snapshot.node_pools.iter().filter(|pool| pool.spec.replicas.is_some()) {
            let name = &pool.metadata.name;
            let own = claims.get(name.as_str()).map_or(&[][..], Vec::as_slice);
            let Change { make, remove } = change(pool, own, &pods);
            if !remove.is_empty() {
                info!(pool = name, surplus = remove.len(), "a static NodePool has too many nodes");
                self.remove(&remove).await?;
            }
            if make == 0 {
                // Once all have machines, what went wrong before is over.
                if own.iter().all(|claim| !claim.status.provider_id.is_empty()) {
                    paces.remove(name);
                }
                continue;
            }
            let now = Instant::now();
            let pace = paces.entry(name.clone()).or_insert(Pace { next: now, wait: PACE.0 });
            if !self.standing.is_ready(name) || pace.next > now {
                soonest = soonest.min(pace.next.saturating_duration_since(now).max(PACE.0));
                continue;
            }
            *pace = Pace { next: now + pace.wait, wait: (pace.wait * 2).min(PACE.1) };
            soonest = soonest.min(pace.wait);
            info!(pool = name, missing = make, "a static NodePool has too few nodes");
            self.make(name, make.min(MOST)).await?;
        }
        Ok(soonest)
    }

    async fn make(&self, pool: &str, count: u64) -> Result<()> {
        let mut failed = None;
        for made in self.maker.fixed(pool, count).await? {
            match made {
                Ok(claim) => {
                    info!(claim, pool, "asked for a node that is always to be there");
                    self.metrics.claim_made(pool, false);
                }
                // The others are there all the same.
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err).with_context(|| format!("a NodeClaim of {pool} was not made"))
    }

    async fn remove(&self, names: &[String]) -> Result<()> {
        let claims = api(&self.client, Kind::NodeClaim).await?;
        let all = &claims;
        let delete = |name| async move { (name, all.delete(name, &DeleteParams::default()).await) };
        let gone = futures::stream::iter(names.iter().map(String::as_str))
            .map(delete)
            .buffer_unordered(SIDE_BY_SIDE);
        for (name, gone) in gone.collect::<Vec<_>>().await {
            match gone {
                Ok(either) => match either.left() {
                    Some(going) => self.cluster.assume(Kind::NodeClaim, &going),
                    None => self.cluster.assume_gone(Kind::NodeClaim, name),
                },
                Err(error) if is_gone(&error) => {
                    self.cluster.assume_gone(Kind::NodeClaim, name);
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("NodeClaim {name} cannot be deleted"));
                }
            }
            info!(claim = name, "a node of a static NodePool is one too many");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use stowage_cluster::Index;

    use super::*;

    fn snapshot(pool: &Value, objects: &[(Kind, Value)]) -> Arc<Snapshot> {
        let mut index = Index::default();
        let pool = json!({"metadata": {"name": "fixed"}, "spec": pool});
        for (kind, object) in [(Kind::NodePool, pool)].iter().chain(objects) {
            index.apply(*kind, &object.to_string()).expect("an object");
        }
        index.snapshot()
    }

    fn found(snapshot: &Snapshot) -> Change {
        let claims: Vec<&NodeClaim> = snapshot.node_claims().collect();
        let mut pods = BTreeMap::<&str, Vec<&Pod>>::new();
        for pod in snapshot.pods() {
            pods.entry(pod.node.as_deref().expect("bound")).or_default().push(pod);
        }
        change(&snapshot.node_pools[0], &claims, &pods)
    }

    fn claim(name: &str, launched: bool) -> (Kind, Value) {
        let status = if launched {
            json!({"providerID": format!("aws:///z/{name}"), "nodeName": format!("node-{name}")})
        } else {
            json!({})
        };
        (Kind::NodeClaim, json!({"metadata": {"name": name}, "status": status}))
    }

    fn pod(name: &str, claim: &str, more: &Value) -> (Kind, Value) {
        let mut pod = json!({
            "metadata": {"name": name}, "spec": {"nodeName": format!("node-{claim}")}, "status": {"phase": "Running"},
        });
        for (field, value) in more.as_object().expect("fields") {
            let (of, field) = field.split_once('.').expect("a path");
            pod[of][field] = value.clone();
        }
        (Kind::Pod, pod)
    }

    #[test]
    fn what_is_missing_is_made_within_the_limit() {
        let mut going = claim("c", true);
        going.1["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let claims = [claim("a", true), claim("b", false), going];
        let of = |pool: Value| found(&snapshot(&pool, &claims));
        assert_eq!(of(json!({"replicas": 5})), Change { make: 3, remove: vec![] });
        assert_eq!(of(json!({"replicas": 5, "limits": {"nodes": "4"}})).make, 1, "what goes is still there");
        assert_eq!(of(json!({"replicas": 5, "limits": {"nodes": "1"}})).make, 0);
        assert_eq!(of(json!({"replicas": 2})), Change::default());
        assert_eq!(of(json!({})), Change::default());
        assert_eq!(of(json!({"replicas": 0})).remove, ["b", "a"]);
    }

    #[test]
    fn what_replaces_a_claim_that_is_to_go_is_not_too_many() {
        let mut chosen = claim("a", true);
        chosen.1["status"]["conditions"] = json!([{"type": "DisruptionReason", "status": "True"}]);
        let both = [chosen.clone(), claim("b", true)];
        let of = |replicas: u64, claims: &[(Kind, Value)]| {
            found(&snapshot(&json!({"replicas": replicas}), claims))
        };
        assert_eq!(of(1, &both), Change::default());
        assert_eq!(of(1, &[chosen]), Change::default(), "whoever chose it sees to its replacement");
        assert_eq!(of(0, &both).remove, ["b"]);
    }

    #[test]
    fn who_disturbs_least_goes_first() {
        let objects = [
            claim("a-kept", true),
            claim("b-dear", true),
            claim("c-cheap", true),
            claim("d-empty", true),
            claim("e-coming", false),
            claim("f-daemons", true),
            pod("p1", "a-kept", &json!({"metadata.annotations": {"karpenter.sh/do-not-disrupt": "true"}})),
            pod("p2", "b-dear", &json!({"spec.priority": 1_000_000_000})),
            pod("p3", "c-cheap", &json!({})),
            pod(
                "p4",
                "f-daemons",
                &json!({"metadata.ownerReferences": [{"kind": "DaemonSet", "name": "d"}]}),
            ),
        ];
        let order = found(&snapshot(&json!({"replicas": 0}), &objects)).remove;
        assert_eq!(order, ["e-coming", "d-empty", "f-daemons", "c-cheap", "b-dear", "a-kept"]);
    }
}
