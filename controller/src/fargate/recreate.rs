//! The loop that makes pods anew that wait for a node and belong on Fargate, where their policy says so.
//!
//! # Invariants
//! - What is deleted was read from the API server just before, and is deleted only if it has not changed since.
//! - Of a workload whose pods come back as they were, the next is tried ever later.
//! - No pod is deleted before all replicas know where the next one is to go, nor after a node was asked for that is to hold it.
//! - Workloads that are left as they are keep no other from its turn, and nodes are bought for them: [`State::rest`].

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use stowage_cluster::{Pod, Snapshot};
use stowage_fargate::{Backoff, Bucket, Group, PolicyId, Purpose, Stays, Target, may_recreate};
use tracing::{debug, info, warn};

use super::guard::named;
use super::metrics::Measured;
use super::owners::{Live, delete, live};
use super::publish::Publisher;
use super::state::{Known, OLDEST, State, seconds};
use crate::announce::{Announcer, normal};
use crate::assumed::Expected;
use crate::follow::Cluster;

/// How often it is looked for pods.
const EVERY: Duration = Duration::from_secs(2);
/// A pod is left alone for so many seconds after it was made: kube-scheduler may have a node for it.
const YOUNG: u64 = 3;
/// It takes so many seconds until the next one is there, and seen.
const SEEN: u64 = 10;
/// A workload that was left as it is rests for so many seconds.
const REST: u64 = 10;
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
    pub(crate) expected: Expected,
    pub(crate) publisher: Publisher,
    pub(crate) announcer: Announcer,
    pub(crate) measured: Measured,
}

/// What is remembered of workloads, by their words.
#[derive(Default)]
struct Memory {
    buckets: BTreeMap<PolicyId, Bucket>,
    backoff: Backoff,
    /// When pods of one were first deleted of which it is not known yet what became, and which waited then, by uid.
    tried: BTreeMap<String, (u64, BTreeSet<String>)>,
    /// Those that rest, and until when.
    rests: BTreeMap<String, u64>,
    /// The last one that was looked at: the next look begins behind it.
    last: String,
}

/// The cluster, as one look finds it.
struct Scene<'a> {
    known: &'a Known,
    pods: BTreeMap<String, &'a Pod>,
    /// Pods that a node was asked for that is to hold them.
    expected: HashSet<String>,
    now: u64,
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
            self.look(&known, &snapshot, &mut memory).await;
        }
    }

    async fn look(&self, known: &Arc<Known>, snapshot: &Snapshot, memory: &mut Memory) {
        let now = seconds();
        memory.forget(now);
        let jobs = self.state.jobs(Clone::clone);
        let mut groups = self.state.pods(|pods| pods.fleet.groups(&known.policies, &jobs));
        groups.retain(|group| {
            let may = group.policy.recreate_per_minute.is_some() && group.workload.is_endless();
            may && !group.waiting.is_empty()
        });
        let pods = snapshot.pods().map(|pod| (pod.key(), pod)).collect();
        let expected = self.expected.with(|all| all.expected().map(|(pod, _)| pod.to_owned()).collect());
        let scene = Scene { known, pods, expected, now };
        let behind = groups.partition_point(|group| group.workload.word() <= memory.last);
        groups.rotate_left(behind);
        let mut left = AT_ONCE;
        for group in &groups {
            if left == 0 {
                break;
            }
            memory.last = group.workload.word();
            self.remake(group, &scene, memory, &mut left).await;
        }
        self.state.rest(memory.resting(now));
    }

    /// Makes pods of one workload anew, as many as may.
    async fn remake(&self, group: &Group, scene: &Scene<'_>, memory: &mut Memory, left: &mut usize) {
        let (word, now) = (group.workload.word(), scene.now);
        let waiting: BTreeSet<String> =
            group.waiting.iter().filter_map(|key| Some(scene.pods.get(key)?.uid.to_string())).collect();
        if let Some(since) = memory.settle(&word, &waiting, group.on_fargate.0 > 0, now) {
            self.state.doubt(since);
        }
        let Some(rate) = group.policy.recreate_per_minute else { return };
        let Some(target) = self.target(group, now) else { return };
        if !memory.is_open(&word, now) || !self.publisher.is_known(&word, now) {
            return;
        }
        for key in group.waiting.iter().filter(|key| !scene.expected.contains(*key)) {
            let Some(pod) = scene.pods.get(key).filter(|pod| memory.is_next(&word, &pod.uid)) else {
                continue;
            };
            let bucket =
                memory.buckets.entry(group.policy.id.clone()).or_insert_with(|| Bucket::new(rate, now));
            bucket.set_rate(rate, now);
            if *left == 0 || !bucket.has(now) {
                return;
            }
            *left -= 1;
            let found = match tokio::time::timeout(LIMIT, live(&self.client, key, &pod.uid)).await {
                Ok(Ok(Some(found))) => found,
                Ok(Ok(None)) | Err(_) => continue,
                Ok(Err(error)) => {
                    warn!(pod = key, error = format!("{error:#}"), "a pod that waits cannot be read");
                    continue;
                }
            };
            if now.saturating_sub(found.created) < YOUNG {
                continue;
            }
            match self.may_go(scene.known, group, &target, &found, now) {
                Ok(()) => {}
                // That is of this one pod.
                Err(Stays::NotWaiting | Stays::Terminating | Stays::Nominated) => continue,
                Err(why) => {
                    debug!(pod = key, %why, "waits, and is not made anew for Fargate");
                    memory.rests.insert(word, now.saturating_add(REST));
                    return;
                }
            }
            bucket.take(now);
            match delete(&self.client, key, &found.uid, &found.resource_version).await {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => {
                    let why = format!("{error:#}");
                    warn!(pod = key, error = why, "a pod that waits cannot be made anew for Fargate");
                    memory.rests.insert(word, now.saturating_add(REST));
                    return;
                }
            }
            let note = format!(
                "deleted while it waited, for its owner to make another one for Fargate: profile {} for {} an hour",
                target.profile, target.price
            );
            info!(pod = key, policy = %group.policy.id, "deleted, to be made anew for Fargate");
            self.announcer.tell(named(key, &found.uid), normal("FargateRecreate", note));
            self.measured.recreated("Fargate");
            memory.tried.entry(word.clone()).or_insert_with(|| (now, waiting.clone()));
        }
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
    ) -> Result<(), Stays> {
        let purpose = Purpose::ToFargate {
            policy: &group.policy,
            profiles: &known.profiles,
            profile: &target.profile,
            cap_has_room: self.state.has_room(&group.policy.id, target.price, 1),
            webhook_answers: self.state.is_asked(now),
        };
        may_recreate(&found.pod, found.owner.as_ref(), purpose)
    }
}

impl Memory {
    /// What has become of the pods of a workload that were made anew last: these wait now. Where it was in vain, says since when.
    fn settle(&mut self, word: &str, waiting: &BTreeSet<String>, on_fargate: bool, now: u64) -> Option<u64> {
        let (at, waited) = self.tried.get(word)?;
        if now.saturating_sub(*at) < SEEN {
            return None;
        }
        let in_vain = (!waiting.is_subset(waited)).then_some(*at);
        if in_vain.is_some() {
            self.backoff.in_vain(word, now);
        } else if on_fargate {
            self.backoff.worked(word);
        } else {
            return None;
        }
        self.tried.remove(word);
        in_vain
    }

    /// Whether pods of a workload may be tried.
    fn is_open(&self, word: &str, now: u64) -> bool {
        self.backoff.is_open(word, now) && self.rests.get(word).is_none_or(|until| *until <= now)
    }

    /// Whether a pod may be made anew although it is not known yet what became of others of its workload: only those that waited
    /// then. One that came after may be one of them again, and would be made anew for ever.
    fn is_next(&self, word: &str, uid: &str) -> bool {
        self.tried.get(word).is_none_or(|(_, waited)| waited.contains(uid))
    }

    /// Workloads whose pods are left as they are for now.
    fn resting(&self, now: u64) -> BTreeSet<String> {
        let rests = self.rests.iter().filter(|(_, until)| now < **until).map(|(word, _)| word.clone());
        rests.chain(self.backoff.closed(now).map(str::to_owned)).collect()
    }

    fn forget(&mut self, now: u64) {
        self.backoff.forget(now);
        self.tried.retain(|_, (at, _)| now.saturating_sub(*at) < REMEMBERED);
        self.rests.retain(|_, until| now < *until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(uids: &[&str]) -> BTreeSet<String> {
        uids.iter().map(|uid| (*uid).to_owned()).collect()
    }

    #[test]
    fn who_comes_back_as_it_was_is_tried_later() {
        let mut memory = Memory::default();
        memory.tried.insert("w".to_owned(), (100, set(&["a", "b"])));
        memory.settle("w", &set(&["b", "c"]), false, 105);
        assert!(memory.is_open("w", 105), "too soon to tell");
        assert!(memory.is_next("w", "b"), "it waited already");
        assert!(!memory.is_next("w", "c"), "it may be the one that was deleted");
        assert_eq!(memory.settle("w", &set(&["b"]), true, 110), None);
        assert!(memory.is_open("w", 110), "one has got there");
        assert!(memory.is_next("w", "c"));
        memory.tried.insert("w".to_owned(), (100, set(&["a", "b"])));
        assert_eq!(memory.settle("w", &set(&["b", "c"]), false, 110), Some(100));
        assert!(!memory.is_open("w", 110), "it waits again");
        assert_eq!(memory.resting(110), set(&["w"]), "so a node is bought for it");
        assert!(memory.resting(409).contains("w") && !memory.resting(410).contains("w"));
    }

    /// However fast they may be made anew: the webhook is not reached, and each comes back as it was.
    #[test]
    fn pods_that_come_back_as_they_were_are_deleted_once_each() {
        let (mut memory, mut deleted, mut waiting) =
            (Memory::default(), 0, (0..5).collect::<BTreeSet<u32>>());
        for now in (1_000..1_300).step_by(2) {
            memory.forget(now);
            let uids: BTreeSet<String> = waiting.iter().map(u32::to_string).collect();
            memory.settle("w", &uids, false, now);
            let first =
                waiting.iter().find(|uid| memory.is_open("w", now) && memory.is_next("w", &uid.to_string()));
            if let Some(first) = first.copied().filter(|_| now % 6 == 0) {
                memory.tried.entry("w".to_owned()).or_insert_with(|| (now, uids));
                deleted += 1;
                waiting.remove(&first);
                waiting.insert(100 + deleted);
            }
        }
        assert_eq!(deleted, 2, "those of ten seconds, and then none for five minutes");
    }
}
