//! The loop that makes pods anew that wait for a node and belong on Fargate, where their policy says so.
//!
//! # Invariants
//! - What is deleted was read from the API server just before, and is deleted only if it has not changed since.
//! - Of a workload whose pods come back as they were, the next is tried ever later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use kube::Client;
use stowage_cluster::{Pod, Snapshot};
use stowage_fargate::{Backoff, Bucket, Group, PolicyId, Purpose, Target, may_recreate};
use tracing::{debug, info, warn};

use super::guard::named;
use super::metrics::Measured;
use super::owners::{Live, delete, live};
use super::state::{Known, OLDEST, State, seconds};
use crate::announce::{Announcer, normal};
use crate::follow::Cluster;

/// How often it is looked for pods.
const EVERY: Duration = Duration::from_secs(2);
/// A pod is left alone for so many seconds after it was made: kube-scheduler may have a node for it.
const YOUNG: u64 = 3;
/// It takes so many seconds until the next one is there, and seen.
const SEEN: u64 = 10;
/// What became of pods that were made anew is waited for as long.
const REMEMBERED: u64 = 900;
/// Pods that are read in one look.
const AT_ONCE: usize = 20;
/// How long a call may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Makes pods anew.
pub(crate) struct Recreator {
    pub(crate) client: Client,
    pub(crate) state: State,
    pub(crate) cluster: Cluster,
    pub(crate) announcer: Announcer,
    pub(crate) measured: Measured,
}

#[derive(Default)]
struct Memory {
    buckets: BTreeMap<PolicyId, Bucket>,
    backoff: Backoff,
    /// When pods of a workload were last deleted, and which waited then, by uid.
    tried: BTreeMap<String, (u64, BTreeSet<String>)>,
}

impl Recreator {
    /// Makes pods anew until the task is dropped.
    pub(crate) async fn run(self) {
        let mut memory = Memory::default();
        loop {
            tokio::time::sleep(EVERY).await;
            let known = self.state.known();
            if !known.policies.all().iter().any(|policy| policy.recreate_per_minute.is_some()) {
                continue;
            }
            let Some(snapshot) = self.cluster.snapshot() else { continue };
            if let Err(error) = self.look(&known, &snapshot, &mut memory).await {
                warn!(error = format!("{error:#}"), "pods that wait cannot be made anew for Fargate");
            }
        }
    }

    async fn look(&self, known: &Arc<Known>, snapshot: &Snapshot, memory: &mut Memory) -> Result<()> {
        let now = seconds();
        memory.backoff.forget(now);
        let jobs = self.state.jobs(Clone::clone);
        let groups = self.state.pods(|pods| pods.fleet.groups(&known.policies, &jobs));
        let pods: BTreeMap<String, &Pod> = snapshot.pods().map(|pod| (pod.key(), pod)).collect();
        let mut left = AT_ONCE;
        for group in groups.iter().filter(|group| !group.waiting.is_empty()) {
            let Some(rate) = group.policy.recreate_per_minute else { continue };
            let word = group.workload.to_string();
            let uids: BTreeSet<String> =
                group.waiting.iter().filter_map(|key| Some(pods.get(key)?.uid.to_string())).collect();
            settle(memory, &word, &uids, group.on_fargate.0 > 0, now);
            let Some(target) = self.target(group, now) else { continue };
            for key in &group.waiting {
                let Some(pod) = pods.get(key) else { continue };
                if left == 0 || !memory.backoff.is_open(&word, now) || !is_next(memory, &word, &pod.uid) {
                    continue;
                }
                left -= 1;
                let found = match tokio::time::timeout(LIMIT, live(&self.client, key, &pod.uid)).await {
                    Ok(Ok(found)) => found,
                    Ok(Err(error)) => {
                        warn!(pod = key, error = format!("{error:#}"), "a pod that waits cannot be read");
                        continue;
                    }
                    Err(_) => continue,
                };
                let Some(found) = found else { continue };
                if now.saturating_sub(found.created) < YOUNG {
                    continue;
                }
                if let Err(why) = self.may_go(known, group, &target, &found, now) {
                    debug!(pod = key, %why, "waits, and is not made anew for Fargate");
                    continue;
                }
                let bucket =
                    memory.buckets.entry(group.policy.id.clone()).or_insert_with(|| Bucket::new(rate, now));
                bucket.set_rate(rate, now);
                if !bucket.take(now) {
                    break;
                }
                if delete(&self.client, key, &found.uid, &found.resource_version).await? {
                    let note = format!(
                        "deleted while it waited, for its owner to make another one for Fargate: profile {} for {} an hour",
                        target.profile, target.price
                    );
                    info!(pod = key, policy = %group.policy.id, "deleted, to be made anew for Fargate");
                    self.announcer.tell(named(key, &found.uid), normal("FargateRecreate", note));
                    self.measured.recreated("Fargate");
                    memory.tried.entry(word.clone()).or_insert_with(|| (now, uids.clone()));
                }
            }
        }
        memory.tried.retain(|_, (at, _)| now.saturating_sub(*at) < REMEMBERED);
        Ok(())
    }

    /// Where a workload's next pod would go on Fargate.
    fn target(&self, group: &Group, now: u64) -> Option<Target> {
        self.state.cache(|cache| {
            if cache.held(&group.workload, now).is_some() {
                return None;
            }
            let verdict = cache.get(&group.workload)?;
            let known = (&verdict.found.policy.0, verdict.found.policy.1);
            let fresh =
                verdict.age(now) <= OLDEST.as_secs() && known == (&group.policy.id, group.policy.version);
            verdict.target().filter(|_| fresh).cloned()
        })
    }

    fn may_go(
        &self,
        known: &Known,
        group: &Group,
        target: &Target,
        found: &Live,
        now: u64,
    ) -> Result<(), stowage_fargate::Stays> {
        let purpose = Purpose::ToFargate {
            policy: &group.policy,
            profiles: &known.profiles,
            profile: &target.profile,
            cap_has_room: self.state.has_room(&group.policy.id, target.price),
            webhook_answers: self.state.is_asked(now),
        };
        may_recreate(&found.pod, found.owner.as_ref(), purpose)
    }
}

/// What has become of the pods of a workload that were made anew last: these wait now.
fn settle(memory: &mut Memory, word: &str, waiting: &BTreeSet<String>, on_fargate: bool, now: u64) {
    let Some((at, waited)) = memory.tried.get(word) else { return };
    if now.saturating_sub(*at) < SEEN {
        return;
    }
    if !waiting.is_subset(waited) {
        memory.backoff.in_vain(word, now);
        memory.tried.remove(word);
    } else if on_fargate {
        memory.backoff.worked(word);
        memory.tried.remove(word);
    }
}

/// Whether a pod may be made anew although it is not known yet what became of others of its workload: only those that waited then.
/// One that came after may be one of them again, and would be made anew for ever.
fn is_next(memory: &Memory, word: &str, uid: &str) -> bool {
    memory.tried.get(word).is_none_or(|(_, waited)| waited.contains(uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_back_as_it_was_is_tried_later() {
        let set = |uids: &[&str]| uids.iter().map(|uid| (*uid).to_owned()).collect::<BTreeSet<_>>();
        let mut memory = Memory::default();
        memory.tried.insert("w".to_owned(), (100, set(&["a", "b"])));
        settle(&mut memory, "w", &set(&["b", "c"]), false, 105);
        assert!(memory.backoff.is_open("w", 105), "too soon to tell");
        assert!(is_next(&memory, "w", "b"), "it waited already");
        assert!(!is_next(&memory, "w", "c"), "it may be the one that was deleted");
        settle(&mut memory, "w", &set(&["b"]), true, 110);
        assert!(memory.backoff.is_open("w", 110), "one has got there");
        assert!(is_next(&memory, "w", "c"));
        memory.tried.insert("w".to_owned(), (100, set(&["a", "b"])));
        settle(&mut memory, "w", &set(&["b", "c"]), false, 110);
        assert!(!memory.backoff.is_open("w", 110), "it waits again");
    }
}
