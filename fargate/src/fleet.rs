//! The pods of a cluster by workload: which ones there are to look at, how many wait, and how many run on Fargate.
//!
//! Pods are taken in as the JSON of a watch, where everything stands that tells workloads apart; a snapshot has no longer all of
//! it. Which policy rules a pod is asked when a look begins, as policies change more often than pods do.
//!
//! # Invariants
//! - What pods have in common is kept once: 100,000 pods of 1,000 workloads take some 20 MB.
//! - Workloads come in the order of their words, and the pod that is looked at is the newest: the order of events does not matter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use stowage_cluster::{Pod, Snapshot};
use stowage_pricing::FargateRates;
use stowage_solver::Price;

use crate::jobs::{JobFacts, Jobs};
use crate::json::text;
use crate::life::Life;
use crate::lives::Lives;
use crate::look::Candidate;
use crate::needs::Needs;
use crate::policies::Policies;
use crate::policy::{Labels, Policy};
use crate::sighting::{Sighting, controller};
use crate::workload::Workload;

/// After so many changes, what no pod shares any more is forgotten.
const SWEEP_EVERY: usize = 10_000;

/// Whose a pod is.
#[derive(Clone, Debug)]
enum Whose {
    Workload(Arc<Workload>),
    /// Of the `Job` of this uid, in this namespace: it may become known later than its pods.
    Job {
        uid: Arc<str>,
        namespace: Arc<str>,
    },
}

/// Where a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It waits for a node.
    Waits,
    /// It is on Fargate, or about to be, for so much an hour.
    Fargate(Option<Price>),
    /// On a node, held back, or on its way out.
    Elsewhere,
}

#[derive(Clone, Debug)]
struct Kept {
    name: Box<str>,
    namespace: Arc<str>,
    labels: Arc<Labels>,
    whose: Whose,
    needs: Arc<Needs>,
    place: Place,
    created: u64,
    deadline: Option<u64>,
    ended: bool,
}

/// One of each, shared.
#[derive(Debug)]
struct Shared<T: ?Sized>(BTreeSet<Arc<T>>);

impl<T: ?Sized> Default for Shared<T> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<T: Ord> Shared<T> {
    fn get(&mut self, value: T) -> Arc<T> {
        if let Some(known) = self.0.get(&value) {
            return Arc::clone(known);
        }
        let new = Arc::new(value);
        self.0.insert(Arc::clone(&new));
        new
    }
}

impl Shared<str> {
    fn text(&mut self, value: &str) -> Arc<str> {
        if let Some(known) = self.0.get(value) {
            return Arc::clone(known);
        }
        let new: Arc<str> = value.into();
        self.0.insert(Arc::clone(&new));
        new
    }
}

impl<T: ?Sized + Ord> Shared<T> {
    fn sweep(&mut self) {
        self.0.retain(|shared| Arc::strong_count(shared) > 1);
    }
}

/// Pods by uid.
#[derive(Debug, Default)]
pub struct Fleet {
    pods: BTreeMap<Box<str>, Kept>,
    texts: Shared<str>,
    labels: Shared<Labels>,
    workloads: Shared<Workload>,
    needs: Shared<Needs>,
    lives: Lives,
    changes: usize,
}

/// A workload that a policy rules, as a look takes it.
#[derive(Clone, Debug)]
pub struct Group {
    /// The workload.
    pub workload: Workload,
    /// The policy.
    pub policy: Arc<Policy>,
    /// The newest pod of it, as `namespace/name`: the one to look at.
    pub pod: String,
    /// What that pod needs, its labels aside.
    pub needs: Arc<Needs>,
    /// Its `Job`, where it has one that is known.
    pub job: Option<JobFacts>,
    /// How long its pods run.
    pub life: Life,
    /// Its pods that wait for a node, by `namespace/name`.
    pub waiting: BTreeSet<String>,
    /// How many of its pods are on Fargate, and what they cost an hour.
    pub on_fargate: (usize, Price),
}

/// A pod that has not waited for long and may be made anew.
#[derive(Clone, Debug)]
pub struct Young {
    /// `namespace/name`.
    pub pod: String,
    /// Its namespace,
    pub namespace: Arc<str>,
    /// and its labels.
    pub labels: Arc<Labels>,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// What it is of.
    pub workload: Arc<Workload>,
    /// What rules it.
    pub policy: Arc<Policy>,
    /// How many pods a minute that lets be made anew.
    pub per_minute: u32,
}

impl Group {
    /// To look at, by its pod as planning knows it.
    pub fn candidate<'a>(&'a self, pod: &'a Pod) -> Candidate<'a> {
        Candidate {
            workload: &self.workload,
            policy: &self.policy,
            pod,
            needs: &self.needs,
            job: self.job.as_ref(),
            life: self.life,
            waiting: &self.waiting,
            on_fargate: self.on_fargate.0,
        }
    }

    /// Groups with the pod of each that is to be looked at, as planning knows it. Those are left out whose pod the snapshot does
    /// not have.
    pub fn with_pods(groups: Vec<Self>, snapshot: &Snapshot) -> Vec<(Self, Arc<Pod>)> {
        let names: BTreeSet<&str> = groups.iter().map(|group| group.pod.as_str()).collect();
        let pods: BTreeMap<String, Arc<Pod>> = snapshot
            .pods
            .iter()
            .map(|pod| (pod.key(), pod))
            .filter(|(key, _)| names.contains(key.as_str()))
            .map(|(key, pod)| (key, Arc::clone(pod)))
            .collect();
        let with = |group: Self| {
            let pod = pods.get(&group.pod).cloned()?;
            Some((group, pod))
        };
        groups.into_iter().filter_map(with).collect()
    }
}

impl Fleet {
    /// A pod is there, or has changed. Says what else is known of it, for the ledger, the guard and the bill. When it has ended,
    /// for how long it ran is noted once.
    pub fn see(&mut self, pod: &Value, jobs: &Jobs, rates: Option<FargateRates>) -> Option<Sighting> {
        let seen = Sighting::of(pod)?;
        let namespace = self.texts.text(&seen.key.namespace);
        let whose = if let Some(workload) = Workload::of_pod(pod, &namespace, &Jobs::default()) {
            Whose::Workload(self.workloads.get(workload))
        } else {
            let uid = self.texts.text(controller(pod).map_or("", |owner| text(owner, "uid")));
            Whose::Job { uid, namespace: Arc::clone(&namespace) }
        };
        let place = match (seen.on_fargate, seen.bound || seen.over || seen.terminating || seen.gated) {
            (true, _) => Place::Fargate(rates.and_then(|rates| seen.price(rates))),
            (false, false) => Place::Waits,
            (false, true) => Place::Elsewhere,
        };
        let kept = Kept {
            name: seen.name.as_str().into(),
            namespace,
            labels: self.labels.get(seen.labels.clone()),
            whose,
            needs: self.needs.get(Needs::of_pod(pod)),
            place,
            created: seen.created.unwrap_or_default(),
            deadline: seen.deadline,
            ended: seen.over,
        };
        let workload = workload_of(&kept, jobs);
        let before = self.pods.insert(seen.uid.as_str().into(), kept);
        if let Some((workload, ran)) =
            workload.zip(seen.ran).filter(|_| before.is_none_or(|before| !before.ended))
        {
            self.lives.note(&workload, ran);
        }
        self.change();
        Some(seen)
    }

    /// A pod is gone.
    pub fn gone(&mut self, uid: &str) {
        if self.pods.remove(uid).is_some() {
            self.change();
        }
    }

    /// All pods were listed anew, and these are there.
    pub fn listed(&mut self, uids: &BTreeSet<&str>) {
        self.pods.retain(|uid, _| uids.contains(&**uid));
        self.change();
    }

    fn change(&mut self) {
        self.changes += 1;
        if self.changes.is_multiple_of(SWEEP_EVERY) {
            self.texts.sweep();
            self.labels.sweep();
            self.workloads.sweep();
            self.needs.sweep();
        }
    }

    /// How many pods there are.
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    /// The workload of a pod; `None` where neither it nor its `Job` is known.
    pub fn workload(&self, uid: &str, jobs: &Jobs) -> Option<Arc<Workload>> {
        workload_of(self.pods.get(uid)?, jobs)
    }

    /// Pods that have waited for less than `within` seconds and that their policy lets be made anew, by an owner that does so; the
    /// oldest first.
    pub fn young(&self, policies: &Policies, jobs: &Jobs, now: u64, within: u64) -> Vec<Young> {
        let young = |kept: &&Kept| kept.place == Place::Waits && now.saturating_sub(kept.created) < within;
        let found = |kept: &Kept| {
            let policy = policies.ruling(&kept.namespace, &kept.labels)?;
            let workload = workload_of(kept, jobs).filter(|workload| workload.is_endless())?;
            Some(Young {
                per_minute: policy.recreate_per_minute?,
                pod: format!("{}/{}", kept.namespace, kept.name),
                namespace: Arc::clone(&kept.namespace),
                labels: Arc::clone(&kept.labels),
                created: kept.created,
                workload,
                policy: Arc::clone(policy),
            })
        };
        let mut all: Vec<Young> = self.pods.values().filter(young).filter_map(found).collect();
        all.sort_by(|a, b| (a.created, &a.pod).cmp(&(b.created, &b.pod)));
        all
    }

    /// The workloads that policies rule, by word. Where policies rule pods of one workload differently, the one of the newest
    /// pod counts, and only pods that it rules.
    pub fn groups(&self, policies: &Policies, jobs: &Jobs) -> Vec<Group> {
        let mut ruling = BTreeMap::<(*const Labels, *const u8), Option<Arc<Policy>>>::new();
        let mut ruled: Vec<(&Kept, Arc<Policy>, Arc<Workload>, &str)> = Vec::new();
        for (uid, kept) in &self.pods {
            let key = (Arc::as_ptr(&kept.labels), kept.namespace.as_ptr());
            let policy =
                ruling.entry(key).or_insert_with(|| policies.ruling(&kept.namespace, &kept.labels).cloned());
            let Some((policy, workload)) = policy.clone().zip(workload_of(kept, jobs)) else { continue };
            ruled.push((kept, policy, workload, uid));
        }
        // The newest first, so that it makes the group.
        ruled.sort_by_key(|(kept, _, _, uid)| (std::cmp::Reverse(kept.created), *uid));
        let mut groups = BTreeMap::<String, Group>::new();
        for (kept, policy, workload, _) in ruled {
            let group =
                groups.entry(workload.word()).or_insert_with(|| self.group(kept, &policy, &workload, jobs));
            if group.policy.id != policy.id {
                continue;
            }
            match kept.place {
                Place::Waits => {
                    group.waiting.insert(format!("{}/{}", kept.namespace, kept.name));
                }
                Place::Fargate(price) => {
                    group.on_fargate.0 += 1;
                    group.on_fargate.1 += price.unwrap_or_default();
                }
                Place::Elsewhere => {}
            }
        }
        groups.into_values().collect()
    }

    fn group(&self, kept: &Kept, policy: &Arc<Policy>, workload: &Workload, jobs: &Jobs) -> Group {
        let job = match &kept.whose {
            Whose::Job { uid, .. } => jobs.get(uid).cloned(),
            Whose::Workload(_) => None,
        };
        let life = Life {
            observed: self.lives.observed(workload),
            deadline: kept.deadline,
            endless: workload.is_endless(),
        };
        Group {
            workload: workload.clone(),
            policy: Arc::clone(policy),
            pod: format!("{}/{}", kept.namespace, kept.name),
            needs: Arc::clone(&kept.needs),
            job,
            life,
            waiting: BTreeSet::new(),
            on_fargate: (0, Price::ZERO),
        }
    }
}

fn workload_of(kept: &Kept, jobs: &Jobs) -> Option<Arc<Workload>> {
    match &kept.whose {
        Whose::Workload(workload) => Some(Arc::clone(workload)),
        Whose::Job { uid, namespace } => Some(Arc::new(Workload::of_job(jobs.get(uid)?, namespace))),
    }
}

#[cfg(test)]
#[path = "fleet_tests.rs"]
mod tests;
