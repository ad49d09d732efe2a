//! The loop that looks after pods on Fargate: those that do not start go back to nodes, and what is billed is compared with what
//! was planned.
//!
//! # Invariants
//! - Whom nobody makes anew, or whose deletion is refused, keeps no other from its turn.
//! - Who was sent is looked after, though the policy that sent it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use stowage_fargate::{
    Bucket, Guard, Hold, Intent, Policy, Purpose, Routed, Sighting, Stays, Told, Workload, may_recreate,
};
use stowage_pricing::fargate::choose_profile;
use tracing::{info, warn};

use super::metrics::Measured;
use super::owners::{Live, delete, live};
use super::publish::Publisher;
use super::state::{Known, State, seconds};
use crate::announce::{Announcer, warning};

/// How often pods are looked after.
const EVERY: Duration = Duration::from_secs(10);
/// Pods that are read from the API server in one look; the others come at the next.
const AT_ONCE: usize = 50;
/// How many pods a minute go back, of all policies together: who sent them may be wrong about all of them at once.
const PER_MINUTE: u32 = 30;
/// A pod that was left as it is, for so many seconds.
const REST: u64 = 60;
/// How long a call may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Looks after pods.
pub(crate) struct Watch {
    pub(crate) client: Client,
    pub(crate) state: State,
    pub(crate) publisher: Publisher,
    pub(crate) announcer: Announcer,
    pub(crate) measured: Measured,
}

struct Memory {
    guard: Guard,
    bucket: Bucket,
    told: Told,
    /// How many writings of verdicts were begun when a hold was first seen here, by the word that holds go by.
    held: BTreeMap<String, u64>,
    /// What rules pods that wait, by uid: should it go while they do.
    ruled: BTreeMap<String, Arc<Policy>>,
    /// Pods that were held back by a gate, by uid, and when that was last so.
    gated: BTreeMap<String, u64>,
    /// Pods that are not looked at before then, by uid.
    rests: BTreeMap<String, u64>,
    /// Where a look begins.
    turn: usize,
}

impl Memory {
    /// Forgets pods that do not wait any more.
    fn forget(&mut self, waiting: &BTreeSet<&str>, now: u64) {
        self.ruled.retain(|uid, _| waiting.contains(uid.as_str()));
        self.gated.retain(|uid, _| waiting.contains(uid.as_str()));
        self.rests.retain(|uid, until| waiting.contains(uid.as_str()) && now < *until);
    }

    /// Who rules a pod, or did when it began to wait.
    fn ruling(&mut self, known: &Known, pod: &Sighting) -> Option<Arc<Policy>> {
        if let Some(policy) = known.policies.ruling(&pod.key.namespace, &pod.labels) {
            self.ruled.insert(pod.uid.clone(), Arc::clone(policy));
        }
        self.ruled.get(&pod.uid).cloned()
    }
}

impl Watch {
    /// Looks after them until the task is dropped.
    pub(crate) async fn run(self) {
        let now = seconds();
        let mut memory = Memory {
            guard: Guard::default(),
            bucket: Bucket::new(PER_MINUTE, now),
            told: Told::default(),
            held: BTreeMap::new(),
            ruled: BTreeMap::new(),
            gated: BTreeMap::new(),
            rests: BTreeMap::new(),
            turn: 0,
        };
        loop {
            tokio::time::sleep(EVERY).await;
            let known = self.state.known();
            if known.policies.all().is_empty() && memory.ruled.is_empty() {
                self.measured.standing(0, 0, 0);
                continue;
            }
            self.look(&known, &mut memory).await;
        }
    }

    async fn look(&self, known: &Arc<Known>, memory: &mut Memory) {
        let now = seconds();
        let mut all = self.routed();
        // Each look begins where the one before has ended, so that those who are left as they are keep nobody from his turn.
        let many = all.len().max(1);
        all.sort_by(|(_, a), (_, b)| a.uid.cmp(&b.uid));
        all.rotate_left(memory.turn % many);
        memory.turn = memory.turn.wrapping_add(AT_ONCE);
        self.compare(&all, &mut memory.told);
        all.retain(|(_, pod)| !pod.bound && !pod.over && !pod.terminating);
        memory.forget(&all.iter().map(|(_, pod)| pod.uid.as_str()).collect(), now);
        let (mut waiting, mut left) = (Vec::new(), AT_ONCE);
        for (workload, pod) in &all {
            let Some((policy, created)) = memory.ruling(known, pod).zip(pod.created) else { continue };
            if pod.gated {
                memory.gated.insert(pod.uid.clone(), now);
                continue;
            }
            let since = memory.gated.get(&pod.uid).map_or(created, |gated| created.max(*gated));
            let mut routed = Routed {
                workload: Workload::clone(workload),
                pod: pod.pod(),
                uid: pod.uid.clone(),
                resource_version: pod.resource_version.clone(),
                since,
                timeout: policy.pending_timeout,
                // Nobody asks while it is not late.
                may_recreate: Err(Stays::NotWaiting),
            };
            if now.saturating_sub(since) > policy.pending_timeout {
                let is_due = left > 0 && !memory.rests.contains_key(&pod.uid);
                let found = if is_due { self.live(&routed).await } else { None };
                left -= usize::from(is_due);
                // One that goes to a profile as its owner makes it would go there again, whatever is held.
                let profiles = known.profiles.of(&policy);
                let found = found
                    .filter(|found| choose_profile(profiles, &pod.key.namespace, &found.template).is_none());
                if let Some(found) = found {
                    routed.resource_version.clone_from(&found.resource_version);
                    routed.may_recreate = back(&found);
                } else {
                    // It is not gone, and its turn comes later.
                    routed.timeout = u64::MAX;
                    if is_due {
                        memory.rests.insert(pod.uid.clone(), now.saturating_add(REST));
                    }
                }
                if memory.guard.is_told(&pod.uid) && routed.may_recreate.is_err() {
                    memory.rests.insert(pod.uid.clone(), now.saturating_add(REST));
                }
            }
            waiting.push(routed);
        }
        self.act(&waiting, memory, now).await;
        let tickets = self.state.ledger(|ledger| ledger.as_ref().map_or(0, stowage_fargate::Ledger::open));
        let held = self.state.cache(|cache| cache.holds(now));
        self.measured.standing(held, memory.told.differ(), tickets);
    }

    /// Says where Fargate provisions something else than was planned.
    fn compare(&self, all: &[(Arc<Workload>, Sighting)], told: &mut Told) {
        let words: Vec<String> = all.iter().map(|(workload, _)| workload.to_string()).collect();
        let provisioned = words.iter().zip(all).filter_map(|(word, (_, pod))| {
            Some((word.as_str(), pod.shape?, pod.provisioned.as_deref()?, pod))
        });
        for (difference, pod) in told.compare(provisioned) {
            warn!(pod = pod.pod(), %difference, "Fargate provisions something else than planned");
            self.announcer.tell(reference(pod), warning("FargateShape", difference.to_string()));
        }
    }

    /// A pod as it is now; `None` where it is gone, or cannot be read now.
    async fn live(&self, routed: &Routed) -> Option<Live> {
        match tokio::time::timeout(LIMIT, live(&self.client, &routed.pod, &routed.uid)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                let why = format!("{error:#}");
                warn!(pod = routed.pod, error = why, "a pod that waits for Fargate cannot be read");
                None
            }
            Err(_) => None,
        }
    }

    /// Pods on Fargate, with their workloads.
    fn routed(&self) -> Vec<(Arc<Workload>, Sighting)> {
        let jobs = self.state.jobs(Clone::clone);
        self.state.pods(|pods| {
            let with = |pod: &Sighting| Some((pods.fleet.workload(&pod.uid, &jobs)?, pod.clone()));
            pods.routed.values().filter_map(with).collect()
        })
    }

    async fn act(&self, waiting: &[Routed], memory: &mut Memory, now: u64) {
        // What is published is asked beforehand, of all that are held: the guard asks at once.
        let mut published = BTreeMap::new();
        for pod in waiting {
            let word = pod.workload.hold_word();
            if published.contains_key(&word)
                || self.state.cache(|cache| cache.held(&pod.workload, now)).is_none()
            {
                continue;
            }
            let begun = *memory.held.entry(word.clone()).or_insert_with(|| self.publisher.begun());
            published.insert(word, self.publisher.is_published(begun, now).await);
        }
        memory.held.retain(|word, _| published.contains_key(word));
        let is_published =
            |workload: &Workload, _: Hold| published.get(&workload.hold_word()).copied().unwrap_or_default();
        let intents = self
            .state
            .cache(|cache| memory.guard.look(waiting, cache, &is_published, &mut memory.bucket, now));
        let mut is_news = false;
        let mut doomed = Vec::new();
        for intent in intents {
            match intent {
                Intent::Hold { workload, pod, waited } => {
                    let hold = self.state.change_cache(|cache| cache.hold(&workload, now));
                    let Some(hold) = hold else { continue };
                    memory.held.insert(workload.hold_word(), self.publisher.begun());
                    is_news = true;
                    let hours = hold.until.saturating_sub(now).div_ceil(3_600);
                    let why = format!(
                        "Fargate has not started it for {waited} s: pods of {workload} go to nodes for {hours} h"
                    );
                    warn!(%workload, pod, waited, hours, "Fargate does not start pods in time");
                    if let Some(found) = waiting.iter().find(|routed| routed.pod == pod) {
                        self.announcer.tell(named(&pod, &found.uid), warning("FargatePending", why));
                    }
                }
                Intent::Recreate { pod, uid, resource_version } => doomed.push((pod, uid, resource_version)),
                Intent::Stuck { pod, uid, why } => {
                    let note = format!("waits for Fargate and is left as it is: {why}");
                    self.announcer.tell(named(&pod, &uid), warning("FargateStuck", note));
                }
            }
        }
        if is_news && let Err(error) = self.publisher.publish().await {
            // The look for verdicts tries again.
            warn!(error = format!("{error:#}"), "that pods are held on nodes cannot be written");
        }
        for (pod, uid, resource_version) in doomed {
            match delete(&self.client, &pod, &uid, &resource_version).await {
                Ok(true) => {
                    info!(pod, "deleted, to be made anew for nodes");
                    self.measured.recreated("Nodes");
                    memory.guard.confirm(&uid);
                }
                // It has changed: it is read again.
                Ok(false) => {}
                Err(error) => {
                    warn!(
                        pod,
                        error = format!("{error:#}"),
                        "a pod that waits for Fargate cannot be made anew"
                    );
                    memory.rests.insert(uid, now.saturating_add(REST));
                }
            }
        }
    }
}

/// Whether a pod may be made anew for nodes.
fn back(found: &Live) -> Result<(), Stays> {
    may_recreate(&found.pod, found.owner.as_ref(), Purpose::Back)
}

fn reference(pod: &Sighting) -> ObjectReference {
    named(&pod.pod(), &pod.uid)
}

/// What an event on a pod is about: `namespace/name`, and its uid.
pub(crate) fn named(key: &str, uid: &str) -> ObjectReference {
    let (namespace, name) = key.split_once('/').unwrap_or(("default", key));
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}
