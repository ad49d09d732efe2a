//! What all loops about Fargate share: pods and `Jobs`, policies and profiles, verdicts, what is granted.
//!
//! Admissions are answered from here, a thousand a second: they read, and wait for nobody who works for longer than a moment.
//! So what takes its time (a look, a document) is made from copies or beside other readers, and put here in one go.
//!
//! # Invariants
//! - No lock is held while anything is awaited.
//! - Where several are taken, then in this order: pods, `Jobs`, verdicts, ledger.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stowage_fargate::{
    Admission, Answer, Cache, Concerns, Fleet, Jobs, Labels, Ledger, Policies, PolicyError, PolicyId,
    Profiles, Refusals, Reserve, Sighting, Workload, admit,
};
use stowage_pricing::FargateRates;
use stowage_pricing::aws::offerings::Subnet;
use tokio::sync::Notify;

use crate::shared::Shared;

/// Verdicts that are older are not followed. The leader looks every minute; what survives the change of one and a slow look is
/// ten of these.
pub(crate) const OLDEST: Duration = Duration::from_mins(15);

/// Workloads that somebody should look at soon; of more, the regular look takes care.
const MOST_WANTED: usize = 1_000;

/// The moment, as the core counts it: seconds since 1970.
pub(crate) fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A policy as the API server has it.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) uid: String,
    pub(crate) generation: Option<i64>,
    pub(crate) resource_version: Option<String>,
    pub(crate) status: serde_json::Value,
}

/// What policies were made from: each object's name and generation, and the labels of namespaces.
pub(crate) type MadeFrom = (Vec<(String, Option<i64>)>, BTreeMap<String, Labels>);

/// What is known of policies and of all that they stand on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Whether policies were listed: until then nobody knows that there are none.
    pub(crate) listed: bool,
    pub(crate) policies: Policies,
    /// What they were made from: with the same, they are the same.
    pub(crate) made_from: MadeFrom,
    pub(crate) objects: BTreeMap<PolicyId, Object>,
    pub(crate) errors: BTreeMap<PolicyId, Vec<PolicyError>>,
    pub(crate) profiles: Profiles,
    pub(crate) subnets: Vec<Subnet>,
    pub(crate) concerns: Concerns,
    pub(crate) rates: Option<FargateRates>,
}

/// Pods, by what is asked about them.
#[derive(Debug, Default)]
pub(crate) struct Pods {
    pub(crate) fleet: Fleet,
    /// Those on Fargate, or about to be, by uid: for whoever begins to count them.
    pub(crate) routed: HashMap<String, Sighting>,
    /// Those that went of late: a list that was begun before may still have them.
    pub(crate) gone: VecDeque<(u64, String)>,
    /// Counts changes.
    pub(crate) changes: u64,
}

#[derive(Debug, Default)]
struct Inner {
    pods: Shared<Pods>,
    jobs: RwLock<Jobs>,
    known: RwLock<Arc<Known>>,
    cache: RwLock<Cache>,
    /// Only who leads has one.
    ledger: Shared<Option<Ledger>>,
    refusals: Shared<Refusals>,
    wanted: Shared<BTreeSet<Workload>>,
    news: Notify,
    /// When the API server last asked about a pod.
    asked: Shared<Option<u64>>,
}

/// What all loops share.
#[derive(Clone, Debug, Default)]
pub struct State(Arc<Inner>);

impl State {
    pub(crate) fn pods<T>(&self, f: impl FnOnce(&mut Pods) -> T) -> T {
        self.0.pods.with(f)
    }

    pub(crate) fn jobs<T>(&self, f: impl FnOnce(&Jobs) -> T) -> T {
        f(&self.0.jobs.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn change_jobs<T>(&self, f: impl FnOnce(&mut Jobs) -> T) -> T {
        f(&mut self.0.jobs.write().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn known(&self) -> Arc<Known> {
        Arc::clone(&self.0.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on this is known.
    pub(crate) fn learn(&self, known: Known) {
        *self.0.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
    }

    pub(crate) fn cache<T>(&self, f: impl FnOnce(&Cache) -> T) -> T {
        f(&self.0.cache.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn change_cache<T>(&self, f: impl FnOnce(&mut Cache) -> T) -> T {
        f(&mut self.0.cache.write().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn ledger<T>(&self, f: impl FnOnce(&mut Option<Ledger>) -> T) -> T {
        self.0.ledger.with(f)
    }

    pub(crate) fn refusals<T>(&self, f: impl FnOnce(&mut Refusals) -> T) -> T {
        self.0.refusals.with(f)
    }

    /// A workload should be looked at soon.
    pub(crate) fn want(&self, workload: &Workload) {
        let is_new = self.0.wanted.with(|all| all.len() < MOST_WANTED && all.insert(workload.clone()));
        if is_new {
            self.0.news.notify_one();
        }
    }

    /// The workloads that somebody wanted looked at since this was last asked.
    pub(crate) fn wanted(&self) -> BTreeSet<Workload> {
        self.0.wanted.with(std::mem::take)
    }

    /// Waits until a workload is wanted looked at.
    pub(crate) async fn news(&self) {
        self.0.news.notified().await;
    }

    /// When the API server last asked about a pod.
    pub(crate) fn asked(&self) -> Option<u64> {
        self.0.asked.with(|at| *at)
    }

    /// Answers an admission as of `now`, from what is known.
    pub(crate) fn admit(&self, review: &[u8], now: u64, reserve: Reserve<'_>) -> Answer {
        let known = self.known();
        self.0.asked.with(|at| *at = Some(now));
        self.jobs(|jobs| {
            self.cache(|cache| {
                let admission = Admission {
                    policies: &known.policies,
                    profiles: &known.profiles,
                    jobs,
                    concerns: &known.concerns,
                    cache,
                    rates: known.rates,
                    oldest: OLDEST.as_secs(),
                };
                admit(review, &admission, now, reserve)
            })
        })
    }
}
