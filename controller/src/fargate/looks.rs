//! The loop that finds verdicts, at the replica that leads: on the cluster as it is now, with the prices of now.
//!
//! Everything is looked at once a minute, and what is new within seconds: a look takes as many plans as there are workloads, on
//! a thread of its own, in parts so that what is found first is followed first.
//!
//! Runs of `CronJobs` come and go, and when there is none there is no pod to look at. So the last pod of each such workload is
//! kept for a day and looked at on, or every run would begin on nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::ObjectReference;
use stowage_api::NodeClaim;
use stowage_cluster::disrupt::{Leaving, leaving};
use stowage_cluster::{Pod, Snapshot};
use stowage_fargate::{
    AT_ONCE, Candidate, Finding, Ground, Group, Home, NODE_START, OnNodes, PolicyId, Side, Steadiness,
    Verdict, Why, Workload, look,
};
use stowage_solver::Price;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::metrics::Measured;
use super::publish::Publisher;
use super::state::{Known, State, seconds};
use crate::announce::{Announcer, normal};
use crate::assumed::{Beside, Expected};
use crate::follow::Cluster;
use crate::market::now;
use crate::operate::health::Pulse;
use crate::outlook::{Grounds, Outlook};
use crate::say::reference;
use crate::stand_in::stand_in;

/// How often everything is looked at: verdicts change after three looks in a row, so after three minutes.
const EVERY: Duration = Duration::from_mins(1);
/// How often it is seen whether a workload is new.
const TICK: Duration = Duration::from_secs(5);
/// Workloads that come within so short a time are looked at together.
const SETTLE: Duration = Duration::from_millis(500);
/// How long verdicts are kept that nobody looks at, and the last pods of workloads without one, in seconds.
const KEPT: u64 = 26 * 3_600;
/// Such workloads; of more, those go that were seen first.
const MOST_KEPT: usize = 1_000;
/// How long it is not said again that pods could come home.
const QUIET: u64 = 6 * 3_600;

/// What is shown while it goes on.
const PULSE: &str = "looks what goes to Fargate";

/// Finds verdicts.
pub(crate) struct Looker {
    pub(crate) state: State,
    pub(crate) cluster: Cluster,
    pub(crate) outlook: Outlook,
    pub(crate) expected: Expected,
    pub(crate) announcer: Announcer,
    pub(crate) measured: Measured,
    pub(crate) publisher: Publisher,
    pub(crate) pulse: Pulse,
}

/// Whether what a verdict stood on is gone: nodes were to have room, and pods wait for which there is none. That is no price that
/// comes and goes within minutes.
fn is_overtaken(old: &Verdict, found: &Finding, group: &Group) -> bool {
    let room = Some(OnNodes::Room);
    old.side == Side::Ec2 && old.found.nodes == room && found.nodes != room && !group.waiting.is_empty()
}

/// A workload without pods, as it was last seen.
struct Last {
    group: Group,
    pod: Arc<Pod>,
    seen: u64,
}

#[derive(Default)]
struct Memory {
    looked: Option<Instant>,
    /// How often pods had changed then.
    changes: u64,
    last: BTreeMap<String, Last>,
    /// When it was said of a workload that its pods could come home.
    told: BTreeMap<String, u64>,
}

/// Set when nobody waits for a look any more.
struct Cancel(Arc<AtomicBool>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Looker {
    /// Looks until the task is dropped.
    pub(crate) async fn run(self) {
        let mut memory = Memory::default();
        // What was found before is what a look begins with.
        if let Err(error) = self.publisher.read().await {
            warn!(error = format!("{error:#}"), "verdicts are found anew");
        }
        loop {
            self.pulse.beat(PULSE);
            if let Err(error) = self.round(&mut memory).await {
                warn!(error = format!("{error:#}"), "it was not looked what goes to Fargate");
            }
            tokio::select! {
                () = self.state.news() => tokio::time::sleep(SETTLE).await,
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    async fn round(&self, memory: &mut Memory) -> Result<()> {
        let known = self.state.known();
        let Some(snapshot) = self.cluster.snapshot() else { return Ok(()) };
        if known.policies.all().is_empty() {
            self.measured.looked(0, 0, 0, 0.0, 0.0);
            return Ok(());
        }
        let wanted = self.state.wanted();
        let whole = memory.looked.is_none_or(|looked| looked.elapsed() >= EVERY);
        let changes = self.state.pods(|pods| pods.changes);
        if !whole && wanted.is_empty() && changes == memory.changes {
            return Ok(());
        }
        memory.changes = changes;
        let jobs = self.state.jobs(Clone::clone);
        let groups = self.state.pods(|pods| pods.fleet.groups(&known.policies, &jobs));
        let now = seconds();
        // Of some the pod has not come yet: the next look has it.
        let mut all = Group::with_pods(groups, &snapshot);
        remember(&mut memory.last, &all, now);
        if whole {
            memory.looked = Some(Instant::now());
            all.extend(without_pods(&memory.last, &all, &known));
        } else {
            all.retain(|(group, _)| wanted.contains(&group.workload) || self.is_new(group));
        }
        for part in all.chunks(AT_ONCE) {
            self.pulse.beat(PULSE);
            self.look(part, &known, &snapshot).await?;
            self.measured.left_out(self.publisher.publish().await?);
        }
        if whole {
            self.state.change_cache(|cache| cache.forget_older(KEPT, now));
            self.sum_up(&all, memory, now);
            self.measured.left_out(self.publisher.publish().await?);
        }
        Ok(())
    }

    /// Whether nobody has looked at a workload under its policy as it is.
    fn is_new(&self, group: &Group) -> bool {
        let policy = (&group.policy.id, group.policy.version);
        self.state.cache(|cache| {
            cache
                .get(&group.workload)
                .is_none_or(|verdict| (&verdict.found.policy.0, verdict.found.policy.1) != policy)
        })
    }

    async fn look(
        &self,
        part: &[(Group, Arc<Pod>)],
        known: &Arc<Known>,
        snapshot: &Arc<Snapshot>,
    ) -> Result<()> {
        let started = Instant::now();
        let (amended, grounds) = self.grounds(snapshot);
        let cancelled = Arc::new(AtomicBool::new(false));
        let cancel = Cancel(Arc::clone(&cancelled));
        let (owned, known) = (part.to_vec(), Arc::clone(known));
        let found = tokio::task::spawn_blocking(move || {
            let catalog = grounds.for_sale();
            let ground = Ground {
                snapshot: &amended,
                catalog: &catalog,
                options: &grounds.lowering,
                profiles: &known.profiles,
                subnets: &known.subnets,
                rates: known.rates,
                node_start: NODE_START,
            };
            let candidates: Vec<Candidate<'_>> =
                owned.iter().map(|(group, pod)| group.candidate(pod)).collect();
            look(&ground, &candidates, &cancelled)
        });
        let found = found.await.context("the look ended without an answer")??;
        drop(cancel);
        let at = seconds();
        for ((group, pod), finding) in part.iter().zip(found) {
            if let Some(finding) = finding {
                self.settle(group, pod, finding, at);
            }
        }
        debug!(
            workloads = part.len(),
            seconds = started.elapsed().as_secs_f64(),
            "looked what goes to Fargate"
        );
        Ok(())
    }

    /// The cluster as it will be, and what plans are made from.
    fn grounds(&self, snapshot: &Snapshot) -> (Snapshot, Grounds) {
        let Leaving { nodes, pods: displaced } = leaving(snapshot, Some(now()));
        let market = Arc::clone(&self.outlook.market.borrow());
        let stand_in = |claim: &NodeClaim| stand_in(claim, snapshot, &market.catalog);
        let mut amended = self
            .expected
            .with(|all| all.amend(snapshot, &Beside { displaced: &displaced, stand_in: &stand_in }));
        amended.held.extend(nodes);
        let mut grounds = self.outlook.of(&mut amended.snapshot);
        grounds.lowering.closed.clone_from(&amended.held);
        (amended.snapshot, grounds)
    }

    /// Makes a verdict of what was found, and says so where that changes where pods go.
    fn settle(&self, group: &Group, pod: &Pod, finding: Finding, at: u64) {
        let verdict = self.state.change_cache(|cache| {
            let before = match cache.before(&group.workload) {
                stowage_fargate::Before::Same(old) if is_overtaken(old, &finding, group) => {
                    stowage_fargate::Before::Nothing
                }
                before => before,
            };
            let old = match before {
                stowage_fargate::Before::Same(old) => Some(old.side),
                _ => None,
            };
            let verdict = Verdict::after(before, finding, at, Steadiness::default());
            let news = old != Some(verdict.side);
            let told = news.then(|| verdict.to_string());
            let side = verdict.side;
            let cannot = matches!(verdict.why, Why::Forbidden(_) | Why::NoProfile);
            cache.put(&group.workload, verdict);
            told.map(|told| (told, side, old.is_some(), cannot))
        });
        let Some((told, side, changed, cannot)) = verdict else { return };
        self.publisher.changed(group.workload.word());
        info!(workload = %group.workload, policy = %group.policy.id, verdict = told, changed, "verdict");
        // That pods stay on nodes is no news, unless they did not before, or could not go whatever it cost.
        if side == Side::Fargate || changed || cannot {
            self.announcer.tell(reference(pod), normal("FargateVerdict", told));
        }
    }

    /// What verdicts come to, and who could come home.
    fn sum_up(&self, all: &[(Group, Arc<Pod>)], memory: &mut Memory, now: u64) {
        let (mut saved, mut home) = (Price::ZERO, Price::ZERO);
        memory.told.retain(|_, at| now.saturating_sub(*at) < QUIET);
        for (group, _) in all.iter().filter(|(group, _)| group.on_fargate.0 > 0) {
            let Some(verdict) = self.state.cache(|cache| cache.get(&group.workload).cloned()) else {
                continue;
            };
            if let Some(each) = verdict.saved() {
                let pods = i64::try_from(group.on_fargate.0).unwrap_or(i64::MAX);
                saved += Price::from_micros(each.micros().saturating_mul(pods));
            }
            let Some(found) = Home::of(&verdict.found, group.on_fargate, Steadiness::default()) else {
                continue;
            };
            home += found.saved();
            let word = group.workload.to_string();
            if let std::collections::btree_map::Entry::Vacant(entry) = memory.told.entry(word.clone()) {
                entry.insert(now);
                info!(workload = word, home = %found, "cheaper on nodes");
                self.announcer.tell(
                    policy_reference(&group.policy.id),
                    normal("CheaperOnNodes", format!("{word}: {found}")),
                );
            }
        }
        let (fargate, nodes, oldest) = self.state.cache(|cache| {
            let sides = cache.iter().fold((0, 0), |(a, b), (_, verdict)| match verdict.side {
                Side::Fargate => (a + 1, b),
                Side::Ec2 => (a, b + 1),
            });
            let followed = cache.iter().filter(|(_, verdict)| verdict.side == Side::Fargate);
            (sides.0, sides.1, followed.map(|(_, verdict)| verdict.age(now)).max().unwrap_or_default())
        });
        self.measured.looked(fargate, nodes, oldest, saved.dollars(), home.dollars());
    }
}

/// Whether there are pods of a workload now and then: those of what is there to stay are there, and a `Job` does not come back.
fn comes_and_goes(workload: &Workload) -> bool {
    !workload.is_endless() && workload.comes_back()
}

/// Keeps the last pods of workloads whose pods come and go.
fn remember(last: &mut BTreeMap<String, Last>, all: &[(Group, Arc<Pod>)], now: u64) {
    last.retain(|_, kept| now.saturating_sub(kept.seen) < KEPT);
    for (group, pod) in all.iter().filter(|(group, _)| comes_and_goes(&group.workload)) {
        let bare = Group { waiting: BTreeSet::new(), on_fargate: (0, Price::ZERO), ..group.clone() };
        last.insert(group.workload.word(), Last { group: bare, pod: Arc::clone(pod), seen: now });
    }
    while last.len() > MOST_KEPT {
        let Some(first) = last.iter().min_by_key(|(_, kept)| kept.seen).map(|(word, _)| word.clone()) else {
            break;
        };
        last.remove(&first);
    }
}

/// Workloads that have no pods now, with their last.
fn without_pods(
    last: &BTreeMap<String, Last>,
    all: &[(Group, Arc<Pod>)],
    known: &Known,
) -> Vec<(Group, Arc<Pod>)> {
    let there: BTreeSet<&Workload> = all.iter().map(|(group, _)| &group.workload).collect();
    let gone = last.values().filter(|kept| !there.contains(&kept.group.workload));
    let ruled = |kept: &Last| {
        // Labels of a pod that ran on Fargate are what made it run there, and policies do not select by them.
        let policy = known.policies.ruling(&kept.pod.namespace, &kept.pod.labels)?;
        Some((Group { policy: Arc::clone(policy), ..kept.group.clone() }, Arc::clone(&kept.pod)))
    };
    gone.filter_map(ruled).collect()
}

/// What an event on a policy is about.
pub(crate) fn policy_reference(id: &PolicyId) -> ObjectReference {
    let kind = if id.namespace.is_some() { "FargatePolicy" } else { "ClusterFargatePolicy" };
    ObjectReference {
        api_version: Some("stowage.dev/v1alpha1".to_owned()),
        kind: Some(kind.to_owned()),
        namespace: id.namespace.clone(),
        name: Some(id.name.clone()),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;
    use stowage_cluster::{Index, Kind};
    use stowage_fargate::{Fleet, Jobs, Policies, Policy};

    use super::*;

    fn pod(name: &str, owner: &str) -> serde_json::Value {
        json!({
            "metadata": {
                "name": name, "namespace": "shop", "uid": name, "labels": {"tier": "batch"},
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "ownerReferences": [{"kind": owner, "name": "o", "uid": "o", "controller": true}],
            },
            "spec": {"containers": [{"name": "a", "resources": {"requests": {"cpu": "1"}}}]},
            "status": {"phase": "Pending"},
        })
    }

    /// Pods of runs that are over are looked at on; those of a Deployment are there, or it has none.
    #[test]
    fn the_last_pod_of_what_comes_and_goes_is_kept() {
        let policy = json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": {"mode": "Always"}});
        let policy = Policy::of_namespace(&policy.to_string()).unwrap();
        let (policies, _) = Policies::new(vec![policy], BTreeMap::new(), "stowage");
        let known = Known { policies, ..Known::default() };
        let (mut fleet, mut index) = (Fleet::default(), Index::default());
        let mut jobs = Jobs::default();
        jobs.apply(&json!({"metadata": {"name": "o", "uid": "o"}, "spec": {"template": {"spec": {}}}}));
        for pod in [pod("a", "Workflow"), pod("b", "StatefulSet"), pod("c", "Job")] {
            fleet.see(&pod, &jobs, None);
            index.apply(Kind::Pod, &pod.to_string()).unwrap();
        }
        let all = Group::with_pods(fleet.groups(&known.policies, &jobs), &index.snapshot());
        assert_eq!(all.len(), 3);
        let mut last = BTreeMap::new();
        remember(&mut last, &all, 100);
        assert_eq!(without_pods(&last, &all, &known).len(), 0, "they are there");
        let gone = without_pods(&last, &[], &known);
        let names: Vec<&str> = gone.iter().map(|(group, _)| group.pod.as_str()).collect();
        assert_eq!(names, ["shop/a"]);
        assert!(gone[0].0.waiting.is_empty());
        remember(&mut last, &[], 100 + KEPT);
        assert!(last.is_empty());
    }
}
