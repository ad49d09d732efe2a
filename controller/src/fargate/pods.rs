//! Pods and `Jobs` as their watches tell of them, into what the core knows of them and into the ledger.
//!
//! The index keeps less of a pod than tells workloads apart, so this takes the objects as they come, from the same watches.
//!
//! # Invariants
//! - What a list no longer has is gone, in the ledger as well.
//! - A pod that is gone does not come back by an older list.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use kube::ResourceExt as _;
use kube::api::DynamicObject;
use kube::runtime::watcher::Event;
use serde_json::Value;
use stowage_cluster::Kind;
use stowage_fargate::Sighting;

use super::state::{State, seconds};
use crate::shared::Shared;

/// For how many seconds it is remembered that a pod went: longer than a list takes.
const REMEMBERED: u64 = 600;

/// Uids of pods that went of late.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    uids: HashSet<Arc<str>>,
    since: VecDeque<(u64, Arc<str>)>,
}

impl Gone {
    fn insert(&mut self, uid: &str, now: u64) {
        let uid: Arc<str> = uid.into();
        if self.uids.insert(Arc::clone(&uid)) {
            self.since.push_back((now, uid));
        }
        while let Some((_, uid)) = self.since.pop_front_if(|(at, _)| at.saturating_add(REMEMBERED) < now) {
            self.uids.remove(&uid);
        }
    }

    fn contains(&self, uid: &str) -> bool {
        self.uids.contains(uid)
    }
}

/// Takes in what watches tell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched {
    state: State,
    /// What a list has told so far, while it goes on: uids of pods, and of `Jobs`.
    listing: Shared<(BTreeSet<String>, BTreeSet<String>)>,
}

impl Watched {
    pub(crate) fn new(state: State) -> Self {
        Self { state, listing: Shared::default() }
    }

    /// A watch has told of this.
    pub(crate) fn event(&self, kind: Kind, event: &Event<DynamicObject>) {
        match kind {
            Kind::Pod => self.pod(event),
            Kind::Job => self.job(event),
            _ => {}
        }
    }

    fn pod(&self, event: &Event<DynamicObject>) {
        match event {
            Event::Init => self.listing.with(|(pods, _)| pods.clear()),
            Event::InitApply(pod) => {
                self.listing.with(|(pods, _)| pods.extend(pod.uid()));
                self.state.see(&as_json(pod));
            }
            Event::InitDone => {
                let listed = self.listing.with(|(pods, _)| std::mem::take(pods));
                self.state.listed(&listed.iter().map(String::as_str).collect());
            }
            Event::Apply(pod) => self.state.see(&as_json(pod)),
            Event::Delete(pod) => self.state.gone(&pod.uid().unwrap_or_default()),
        }
    }

    fn job(&self, event: &Event<DynamicObject>) {
        let state = &self.state;
        match event {
            Event::Init => self.listing.with(|(_, jobs)| jobs.clear()),
            Event::InitApply(job) => {
                self.listing.with(|(_, jobs)| jobs.extend(job.uid()));
                state.change_jobs(|jobs| jobs.apply(&as_json(job)));
            }
            Event::InitDone => {
                let listed = self.listing.with(|(_, jobs)| std::mem::take(jobs));
                state.change_jobs(|jobs| jobs.retain(|uid| listed.contains(uid)));
            }
            Event::Apply(job) => state.change_jobs(|jobs| jobs.apply(&as_json(job))),
            Event::Delete(job) => state.change_jobs(|jobs| jobs.remove(&job.uid().unwrap_or_default())),
        }
    }
}

fn as_json(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

impl State {
    /// A pod is there, or has changed.
    pub(crate) fn see(&self, pod: &Value) {
        let rates = self.known().rates;
        let seen = self.pods(|pods| {
            let seen = self.jobs(|jobs| pods.fleet.see(pod, jobs, rates))?;
            pods.changes += 1;
            if seen.on_fargate {
                pods.routed.insert(seen.uid.clone(), seen.clone());
            }
            Some(seen)
        });
        if let Some(seen) = seen {
            self.count(&seen);
        }
    }

    /// A pod stands in a list that was made at some time in the last minutes: if it went since, that is known here.
    pub(crate) fn see_listed(&self, pod: &Value) {
        let Some(seen) = Sighting::of(pod) else { return };
        let went = self.pods(|pods| pods.gone.contains(&seen.uid));
        if !went {
            self.count(&seen);
        }
    }

    /// Counts a pod against the caps.
    fn count(&self, seen: &Sighting) {
        let known = self.known();
        self.ledger(|ledger| {
            let Some(ledger) = ledger else { return };
            let ruling = known.policies.ruling(&seen.key.namespace, &seen.labels).map(|policy| &policy.id);
            let price = known.rates.and_then(|rates| seen.price(rates));
            ledger.seen(seen, ruling, price);
        });
    }

    fn gone(&self, uid: &str) {
        let now = seconds();
        self.pods(|pods| {
            pods.fleet.gone(uid);
            pods.routed.remove(uid);
            pods.changes += 1;
            pods.gone.insert(uid, now);
        });
        self.ledger(|ledger| ledger.iter_mut().for_each(|ledger| ledger.gone(uid)));
    }

    fn listed(&self, uids: &BTreeSet<&str>) {
        self.pods(|pods| {
            pods.fleet.listed(uids);
            pods.routed.retain(|uid, _| uids.contains(uid.as_str()));
            pods.changes += 1;
        });
        self.ledger(|ledger| ledger.iter_mut().for_each(|ledger| ledger.listed(uids)));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(uid: &str, scheduler: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": uid, "namespace": "shop", "uid": uid},
            "spec": {"schedulerName": scheduler, "containers": [{"name": "a"}]},
        }))
        .expect("a pod")
    }

    #[test]
    fn pods_come_and_go_and_a_list_takes_away_what_it_has_not() {
        let state = State::default();
        let watched = Watched::new(state.clone());
        let count = || state.pods(|pods| (pods.fleet.len(), pods.routed.len()));
        watched.event(Kind::Pod, &Event::Init);
        watched.event(Kind::Pod, &Event::InitApply(pod("a", "fargate-scheduler")));
        watched.event(Kind::Pod, &Event::InitDone);
        watched.event(Kind::Pod, &Event::Apply(pod("b", "fargate-scheduler")));
        watched.event(Kind::Pod, &Event::Apply(pod("c", "default-scheduler")));
        assert_eq!(count(), (3, 2));
        watched.event(Kind::Pod, &Event::Delete(pod("b", "fargate-scheduler")));
        assert_eq!(count(), (2, 1));
        watched.event(Kind::Pod, &Event::Init);
        watched.event(Kind::Pod, &Event::InitApply(pod("c", "default-scheduler")));
        watched.event(Kind::Pod, &Event::InitDone);
        assert_eq!(count(), (1, 0));
        let knows = |uid: &str| state.pods(|pods| pods.gone.contains(uid));
        assert!(knows("b") && !knows("c"));
        state.pods(|pods| pods.gone.insert("z", seconds() + REMEMBERED + 1));
        assert!(knows("z") && !knows("b"), "that is long ago");
    }
}
