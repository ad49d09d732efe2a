//! What all loops about Fargate share: pods and `Jobs`, policies and profiles, verdicts, what is granted.
//!
//! Admissions are answered from here, a thousand a second: they read, and wait for nobody who works for longer than a moment.
//! So what takes its time (a look, a document) is made from copies or beside other readers, and put here in one go.
//!
//! # Invariants
//! - No lock is held while anything is awaited.
//! - Where several are taken, then in this order: pods, `Jobs`, verdicts, ledger.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stowage_fargate::{
    Admission, Answer, Cache, Concerns, Fleet, Jobs, Labels, Ledger, OnNodes, Policies, Policy, PolicyError,
    PolicyId, Profiles, Refusals, Reserve, Sighting, Workload, admit,
};
use stowage_pricing::FargateRates;
use stowage_pricing::aws::offerings::Subnet;
use stowage_pricing::fargate::choose_profile;
use stowage_solver::Price;
use tokio::sync::Notify;

use super::pods::Gone;
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
    pub(crate) gone: Gone,
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
    /// Since when the webhook is registered; only who leads knows.
    registered: Shared<Option<u64>>,
    /// When a pod last came back that the webhook should have labelled.
    doubted: Shared<Option<u64>>,
    /// Workloads whose pods are left as they are for now, though they wait and belong on Fargate, by word.
    resting: Shared<BTreeSet<String>>,
}

/// For so many seconds no node is bought for a pod that is to be made anew.
const WITHHELD: u64 = 30;
/// And for so many where nobody has looked at its workload yet.
const LOOKED: u64 = 5;
/// What may be made anew at once is worth so many seconds: what [`stowage_fargate::Bucket`] begins with.
const AT_FIRST: u64 = 6;
/// The API server has asked within so many seconds, or who knows whether it would.
const ASKED: u64 = 900;
/// So many seconds after a registration was written every API server knows of it.
const HEARD: u64 = 10;

/// What is known of where pods that wait belong.
enum Said {
    Nothing,
    Nodes,
    Fargate(Price),
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

    /// The webhook is registered as of now, or it is not.
    pub(crate) fn registered(&self, is: bool, now: u64) {
        self.0.registered.with(|since| *since = is.then(|| since.unwrap_or(now)));
    }

    /// A pod that was made anew for Fargate then has come back as it was.
    pub(crate) fn doubt(&self, then: u64) {
        self.0.doubted.with(|at| *at = Some(then));
    }

    /// The API server has asked about a pod, here or at another replica.
    pub(crate) fn was_asked(&self, now: u64) {
        self.0.asked.with(|at| *at = Some(now));
    }

    /// Whether the API server is likely to ask about the next pod: it did lately, or has been told to. A replica that leads is
    /// not always the one that is asked, so no question proves nothing; but once a pod has come back as it was, only a question
    /// since then does.
    pub(crate) fn is_asked(&self, now: u64) -> bool {
        let ago = |at: Option<u64>| at.map(|at| now.saturating_sub(at));
        let (asked, doubted) = (self.0.asked.with(|at| *at), self.0.doubted.with(|at| *at));
        if doubted.is_some_and(|doubted| asked.is_none_or(|asked| asked < doubted)) {
            return false;
        }
        ago(asked).is_some_and(|ago| ago <= ASKED)
            || ago(self.0.registered.with(|at| *at)).is_some_and(|ago| ago >= HEARD)
    }

    /// From now on these workloads, by word, are left as they are: nodes are to be bought for them.
    pub(crate) fn rest(&self, words: BTreeSet<String>) {
        self.0.resting.with(|resting| *resting = words);
    }

    /// Pods for which no node is to be bought yet, as `namespace/name`: their policy wants them made anew for Fargate, and they
    /// belong there, or nobody has looked yet. For half a minute at most: then whatever was to come of it has come.
    ///
    /// As many of each policy as can be made anew meanwhile, and none that would be left as it is all the same.
    pub(crate) fn withheld(&self, now: u64) -> BTreeSet<String> {
        let known = self.known();
        let remakes = known.policies.all().iter().any(|policy| policy.recreate_per_minute.is_some());
        if !remakes || !self.is_asked(now) {
            return BTreeSet::new();
        }
        let young =
            self.pods(|pods| self.jobs(|jobs| pods.fleet.young(&known.policies, jobs, now, WITHHELD)));
        let resting = self.0.resting.with(|resting| resting.clone());
        let belongs = |workload: &Workload, policy: &Policy, created: u64, before: u32| {
            let verdict = self.cache(|cache| match cache.held(workload, now) {
                Some(_) => Said::Nodes,
                None => cache.get(workload).map_or(Said::Nothing, |verdict| {
                    let is_of_it = verdict.found.policy == (policy.id.clone(), policy.version);
                    match verdict.target() {
                        _ if !is_of_it => Said::Nothing,
                        Some(target) => Said::Fargate(target.price),
                        // It waits, so there is none.
                        None if verdict.found.nodes == Some(OnNodes::Room) => Said::Nothing,
                        None => Said::Nodes,
                    }
                }),
            });
            match verdict {
                Said::Nothing => {
                    let is_new = now.saturating_sub(created) < LOOKED;
                    if is_new {
                        self.want(workload);
                    }
                    is_new
                }
                Said::Nodes => false,
                Said::Fargate(price) => self.has_room(&policy.id, price, before.saturating_add(1)),
            }
        };
        let mut withheld = BTreeSet::new();
        let mut by_policy = BTreeMap::<PolicyId, u32>::new();
        for pod in young {
            let profiles = known.profiles.of(&pod.policy);
            // EKS would not take the next one either.
            let is_left = choose_profile(profiles, &pod.namespace, &pod.labels).is_some();
            if is_left || resting.contains(&pod.workload.word()) {
                continue;
            }
            let before = by_policy.entry(pod.policy.id.clone()).or_default();
            let most = (u64::from(pod.per_minute) * (WITHHELD + AT_FIRST) / 60).max(1);
            if u64::from(*before) < most && belongs(&pod.workload, &pod.policy, pod.created, *before) {
                *before += 1;
                withheld.insert(pod.pod);
            }
        }
        withheld
    }

    /// Whether the caps of a policy have room for so many more pods, as the one that counts knows.
    pub(crate) fn has_room(&self, policy: &PolicyId, price: Price, pods: u32) -> bool {
        self.ledger(|ledger| ledger.as_ref().is_some_and(|ledger| ledger.has_room(policy, price, pods)))
    }

    /// Answers an admission as of `now`, from what is known.
    pub(crate) fn admit(&self, review: &[u8], now: u64, reserve: Reserve<'_>) -> Answer {
        let known = self.known();
        self.was_asked(now);
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_is_registered_is_asked_from_soon_after_until_it_is_no_more() {
        let state = State::default();
        assert!(!state.is_asked(1_000), "nobody knows");
        state.registered(true, 1_000);
        assert!(!state.is_asked(1_005), "not every API server has heard of it");
        state.registered(true, 1_008);
        assert!(state.is_asked(1_010));
        state.doubt(1_015);
        assert!(!state.is_asked(1_016), "a pod came back as it was, so who is registered is not asked");
        state.was_asked(1_017);
        assert!(state.is_asked(1_018));
        state.0.asked.with(|at| *at = None);
        state.registered(false, 1_020);
        assert!(!state.is_asked(1_040));
    }

    fn pod(name: &str, owner: &str, labels: &serde_json::Value) -> serde_json::Value {
        json!({
            "metadata": {
                "name": name, "namespace": "shop", "uid": name, "labels": labels,
                "creationTimestamp": "1970-01-01T00:16:40Z",
                "ownerReferences": [{"kind": owner, "name": "o", "uid": "o", "controller": true}],
            },
            "spec": {"containers": [{"name": "a"}]},
        })
    }

    /// Who is withheld waits: so only those that are about to be made anew.
    #[test]
    fn nodes_are_bought_at_once_for_whom_nobody_makes_anew() {
        let state = State::default();
        let policy = json!({
            "metadata": {"name": "p", "namespace": "shop"},
            "spec": {"mode": "Always", "pending": {"recreate": true, "perMinute": 10},
                "profiles": [{"name": "f", "selectors": [{"namespace": "shop", "labels": {"go": "y"}}]}]},
        });
        let policy = Policy::of_namespace(&policy.to_string()).unwrap();
        let (policies, _) = Policies::new(vec![policy], BTreeMap::new(), "stowage");
        state.learn(Known { listed: true, policies, ..Known::default() });
        let none = json!({});
        for at in 0..9 {
            state.see(&pod(&format!("web-{at}"), "ReplicaSet", &none));
        }
        state.see(&pod("a-run", "Workflow", &none));
        state.see(&pod("a-taken", "StatefulSet", &json!({"go": "y"})));
        assert!(state.withheld(1_001).is_empty(), "the webhook is not asked");
        state.was_asked(1_000);
        let first = ["shop/web-0", "shop/web-1", "shop/web-2", "shop/web-3", "shop/web-4", "shop/web-5"];
        assert_eq!(state.withheld(1_001).iter().collect::<Vec<_>>(), first, "as many as go in half a minute");
        assert!(state.withheld(1_000 + LOOKED).is_empty(), "nobody has looked");
        let word = state.wanted().first().expect("it is to be looked at").word();
        state.rest(BTreeSet::from([word]));
        assert!(state.withheld(1_001).is_empty(), "it is left as it is");
    }
}
