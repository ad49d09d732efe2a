//! The guard: pods that were sent to Fargate and do not start there go back to nodes.
//!
//! Fargate may have no capacity, or the profile was changed or deleted. Its scheduler tries for a while and may give up; then
//! the pod would wait for ever, with room on nodes beside it.
//!
//! # Invariants
//! - A workload is taken back once; until that has run out, nothing more is done about its verdict, and it is told of once.
//! - Each pod that waits too long is made anew once, where its owner does that. Others are only told of.

use std::collections::BTreeSet;

use crate::cache::Cache;
use crate::pending::Stays;
use crate::workload::Workload;

/// A pod that was sent to Fargate and has no node there yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed {
    /// Its workload.
    pub workload: Workload,
    /// `namespace/name`.
    pub pod: String,
    /// What tells it from others of its name.
    pub uid: String,
    /// When it was created, in seconds since 1970.
    pub created: u64,
    /// `spec.guard.pendingTimeout` of its policy, in seconds.
    pub timeout: u64,
    /// Whether it may be deleted for its owner to make it anew: [`crate::may_recreate`], its scheduler aside.
    pub may_recreate: Result<(), Stays>,
}

/// What the guard wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Tell of a workload that goes back to nodes.
    TakenBack {
        /// The workload.
        workload: Workload,
        /// The pod that waited.
        pod: String,
        /// For how many seconds.
        waited: u64,
        /// Until when the workload stays on nodes, in seconds since 1970.
        until: u64,
    },
    /// Delete a pod, if it still has this uid and no node.
    Recreate {
        /// `namespace/name`.
        pod: String,
        /// Its uid.
        uid: String,
    },
    /// Tell that a pod waits, and that somebody else has to make it anew.
    Stuck {
        /// `namespace/name`.
        pod: String,
        /// Why it is not deleted.
        why: Stays,
    },
}

/// What the guard has done already.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    done: BTreeSet<String>,
}

impl Guard {
    /// Looks after pods that wait on Fargate, all of them. Verdicts that change are changed in `cache`. After a new leader it
    /// may delete a pod that its predecessor has deleted: that one's uid is no longer there then, and nothing happens.
    pub fn look(&mut self, waiting: &[Routed], cache: &mut Cache, now: u64) -> Vec<Action> {
        let there: BTreeSet<&str> = waiting.iter().map(|pod| pod.uid.as_str()).collect();
        self.done.retain(|uid| there.contains(uid.as_str()));
        let mut late: Vec<&Routed> =
            waiting.iter().filter(|pod| now.saturating_sub(pod.created) > pod.timeout).collect();
        late.sort_by(|a, b| (a.created, &a.pod).cmp(&(b.created, &b.pod)));
        let mut actions = Vec::new();
        for pod in late {
            if !self.done.insert(pod.uid.clone()) {
                continue;
            }
            let until =
                cache.change(&pod.workload, |verdict| verdict.hold(now).then_some(verdict.held_until));
            if let Some(until) = until.flatten() {
                actions.push(Action::TakenBack {
                    workload: pod.workload.clone(),
                    pod: pod.pod.clone(),
                    waited: now.saturating_sub(pod.created),
                    until,
                });
            }
            // Without a verdict it would be made anew for nodes as well: what has none is left there.
            actions.push(match pod.may_recreate {
                Ok(()) => Action::Recreate { pod: pod.pod.clone(), uid: pod.uid.clone() },
                Err(why) => Action::Stuck { pod: pod.pod.clone(), why },
            });
        }
        actions
    }
}
