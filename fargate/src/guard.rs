//! The guard: pods that were sent to Fargate and do not start there go back to nodes.
//!
//! Fargate may have no capacity, or the profile was changed or deleted. Its scheduler tries for a while and may give up; then
//! the pod would wait for ever, with room on nodes beside it.
//!
//! ```text
//! a pod waits too long ─▶ Hold ─▶ all replicas know ─▶ Recreate ─▶ done
//! ```
//!
//! A pod that is deleted before every replica that answers admissions knows of the hold would be sent to Fargate again. So the
//! hold comes first, then it is published, and then only the pod is deleted. What is wanted is said again at each look, until
//! it is confirmed: a controller that dies in between has done nothing that its successor would not do.
//!
//! # Invariants
//! - A workload is taken back once; until that has run out it is told of no more.
//! - Each pod that waits too long is made anew once, where its owner does that. Others are told of once, and made anew when their
//!   owner does that after all: a `ReplicaSet` that is being scaled, for example, is certain of how many it wants a moment later.
//! - No pod is deleted before the hold of its workload was published.

use std::collections::BTreeSet;

use crate::cache::Cache;
use crate::hold::Hold;
use crate::pace::Bucket;
use crate::recreate::Stays;
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
    /// The version of it that was looked at.
    pub resource_version: String,
    /// Since when it could be started, in seconds since 1970: when it was made, or its last gate was taken away.
    pub since: u64,
    /// `spec.guard.pendingTimeout` of its policy, in seconds.
    pub timeout: u64,
    /// Whether it may be deleted for its owner to make it anew: [`crate::may_recreate`], back to nodes.
    pub may_recreate: Result<(), Stays>,
}

/// What the guard wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Hold a workload on nodes ([`Cache::hold`]), publish that, and tell of it. The pods follow at a later look.
    Hold {
        /// The workload.
        workload: Workload,
        /// The pod that waited the longest.
        pod: String,
        /// For how many seconds.
        waited: u64,
    },
    /// Delete a pod, if it still has this uid and resource version; then confirm it.
    Recreate {
        /// `namespace/name`.
        pod: String,
        /// Its uid.
        uid: String,
        /// Its resource version.
        resource_version: String,
    },
    /// Tell that a pod waits, and that somebody else has to make it anew. It is said once.
    Stuck {
        /// `namespace/name`.
        pod: String,
        /// Its uid.
        uid: String,
        /// Why it is not deleted.
        why: Stays,
    },
}

/// What the guard has seen done.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    done: BTreeSet<String>,
    told: BTreeSet<String>,
}

impl Guard {
    /// Whether it was told of a pod of this uid that it is left as it is.
    pub fn is_told(&self, uid: &str) -> bool {
        self.told.contains(uid)
    }

    /// Looks after pods that wait on Fargate, all of them. `published` says whether all replicas that answer admissions know of a
    /// hold; `bucket` how fast pods may be deleted.
    pub fn look(
        &mut self,
        waiting: &[Routed],
        cache: &Cache,
        published: &dyn Fn(&Workload, Hold) -> bool,
        bucket: &mut Bucket,
        now: u64,
    ) -> Vec<Intent> {
        let there: BTreeSet<&str> = waiting.iter().map(|pod| pod.uid.as_str()).collect();
        for known in [&mut self.done, &mut self.told] {
            known.retain(|uid| there.contains(uid.as_str()));
        }
        let late =
            |pod: &&Routed| now.saturating_sub(pod.since) > pod.timeout && !self.done.contains(&pod.uid);
        let mut late: Vec<&Routed> = waiting.iter().filter(late).collect();
        late.sort_by(|a, b| (a.since, &a.pod).cmp(&(b.since, &b.pod)));
        let mut asked = BTreeSet::new();
        let mut intents = Vec::new();
        for pod in late {
            let Some(hold) = cache.held(&pod.workload, now) else {
                // One that nobody makes anew waits on, and that is no news.
                if !self.told.contains(&pod.uid) && asked.insert(pod.workload.hold_word()) {
                    let waited = now.saturating_sub(pod.since);
                    intents.push(Intent::Hold {
                        workload: pod.workload.clone(),
                        pod: pod.pod.clone(),
                        waited,
                    });
                }
                continue;
            };
            let (name, uid) = (pod.pod.clone(), pod.uid.clone());
            match pod.may_recreate {
                Err(why) => {
                    if self.told.insert(uid.clone()) {
                        intents.push(Intent::Stuck { pod: name, uid, why });
                    }
                }
                Ok(()) if published(&pod.workload, hold) && bucket.take(now) => {
                    let resource_version = pod.resource_version.clone();
                    intents.push(Intent::Recreate { pod: name, uid, resource_version });
                }
                Ok(()) => {}
            }
        }
        intents
    }

    /// What was wanted for the pod of this uid is done.
    pub fn confirm(&mut self, uid: &str) {
        self.done.insert(uid.to_owned());
    }
}
