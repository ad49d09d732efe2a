//! The loop that looks after pods on Fargate: those that do not start go back to nodes, and what is billed is compared with what
//! was planned.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use stowage_fargate::{
    Bucket, Guard, Hold, Intent, Purpose, Routed, Sighting, Stays, Told, Workload, may_recreate,
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
    /// Where a look begins.
    turn: usize,
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
            turn: 0,
        };
        loop {
            tokio::time::sleep(EVERY).await;
            let known = self.state.known();
            if known.policies.all().is_empty() {
                continue;
            }
            if let Err(error) = self.look(&known, &mut memory).await {
                warn!(error = format!("{error:#}"), "pods on Fargate cannot be looked after");
            }
        }
    }

    async fn look(&self, known: &Arc<Known>, memory: &mut Memory) -> Result<()> {
        let now = seconds();
        let mut all = self.routed();
        // Each look begins where the one before has ended, so that those who are left as they are keep nobody from his turn.
        let many = all.len().max(1);
        all.sort_by(|(_, a), (_, b)| a.uid.cmp(&b.uid));
        all.rotate_left(memory.turn % many);
        memory.turn = memory.turn.wrapping_add(AT_ONCE);
        for (workload, pod) in &all {
            if let Some(difference) = memory.told.see(workload, pod) {
                warn!(%workload, pod = pod.pod(), %difference, "Fargate provisions something else than planned");
                self.announcer.tell(reference(pod), warning("FargateShape", difference.to_string()));
            }
        }
        let (mut waiting, mut left) = (Vec::new(), AT_ONCE);
        for (workload, pod) in all.iter().filter(|(_, pod)| !pod.bound && !pod.over && !pod.terminating) {
            let Some(policy) = known.policies.ruling(&pod.key.namespace, &pod.labels) else { continue };
            let Some(created) = pod.created else { continue };
            let mut routed = Routed {
                workload: Workload::clone(workload),
                pod: pod.pod(),
                uid: pod.uid.clone(),
                resource_version: pod.resource_version.clone(),
                created,
                timeout: policy.pending_timeout,
                // Nobody asks while it is not late.
                may_recreate: Err(Stays::NotWaiting),
            };
            if now.saturating_sub(created) > policy.pending_timeout {
                let found = if left > 0 { self.live(&routed).await } else { None };
                left = left.saturating_sub(1);
                // One that goes to a profile as its owner makes it would go there again, whatever is held.
                let profiles = known.profiles.of(policy);
                let found = found
                    .filter(|found| choose_profile(profiles, &pod.key.namespace, &found.template).is_none());
                match found {
                    Some(found) => {
                        routed.resource_version.clone_from(&found.resource_version);
                        routed.may_recreate = back(&found);
                    }
                    // It is not gone, and its turn comes later.
                    None => routed.timeout = u64::MAX,
                }
            }
            waiting.push(routed);
        }
        self.act(&waiting, memory, now).await?;
        let tickets = self.state.ledger(|ledger| ledger.as_ref().map_or(0, stowage_fargate::Ledger::open));
        let held = self.state.cache(|cache| cache.holds(now));
        self.measured.standing(held, memory.told.differ(), tickets);
        Ok(())
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

    async fn act(&self, waiting: &[Routed], memory: &mut Memory, now: u64) -> Result<()> {
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
                Intent::Recreate { pod, uid, resource_version } => {
                    if delete(&self.client, &pod, &uid, &resource_version).await? {
                        info!(pod, "deleted, to be made anew for nodes");
                        self.measured.recreated("Nodes");
                        memory.guard.confirm(&uid);
                    }
                }
                Intent::Stuck { pod, uid, why } => {
                    let note = format!("waits for Fargate and is left as it is: {why}");
                    self.announcer.tell(named(&pod, &uid), warning("FargateStuck", note));
                    memory.guard.confirm(&uid);
                }
            }
        }
        if is_news {
            self.publisher.publish().await?;
        }
        Ok(())
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
