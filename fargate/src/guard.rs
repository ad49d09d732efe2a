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
//! - Each pod that waits too long is made anew once, where its owner does that. Others are told of once.
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
    /// When it was created, in seconds since 1970.
    pub created: u64,
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
    /// Tell that a pod waits, and that somebody else has to make it anew; then confirm it.
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
}

impl Guard {
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
        self.done.retain(|uid| there.contains(uid.as_str()));
        let late =
            |pod: &&Routed| now.saturating_sub(pod.created) > pod.timeout && !self.done.contains(&pod.uid);
        let mut late: Vec<&Routed> = waiting.iter().filter(late).collect();
        late.sort_by(|a, b| (a.created, &a.pod).cmp(&(b.created, &b.pod)));
        let mut asked = BTreeSet::new();
        let mut intents = Vec::new();
        for pod in late {
            let Some(hold) = cache.held(&pod.workload, now) else {
                if asked.insert(pod.workload.hold_word()) {
                    let waited = now.saturating_sub(pod.created);
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
                Err(why) => intents.push(Intent::Stuck { pod: name, uid, why }),
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
