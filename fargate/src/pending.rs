//! Pods that wait for a node already: which of them may be deleted, for their owner to make them anew for Fargate.
//!
//! A pod cannot be sent to Fargate once it is there: EKS decides when it is created. So it is deleted, and its owner makes
//! another one. That must be certain, as a pod that nobody makes anew is lost.
//!
//! Pods of `Jobs` are never deleted: their controller counts a pod that was deleted while it waited as failed, against
//! `backoffLimit` and `podFailurePolicy`, and waits longer before each next one.
//!
//! # Invariants
//! - Only pods that wait, are bound to no node, are not being deleted, and whose owner is there, makes pods of this kind anew,
//!   is not being deleted, and wants at least as many pods as it has.
//! - What is not known is taken to be so that the pod stays.
//! - No more a minute than the policy says, whatever looks there are in between.

use std::fmt;

use stowage_cluster::Pod;
use stowage_cluster::object::Phase;

/// What is known of the controller that owns a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// Its kind.
    pub kind: String,
    /// Whether it is the very object that the pod names: of the same uid.
    pub same: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// How many pods it wants; `None` where that is not known.
    pub wants: Option<u32>,
    /// How many it has that are not being deleted and have not ended.
    pub has: u32,
    /// For a `StatefulSet`: the first number of its pods.
    pub first_ordinal: u32,
}

/// Why a pod that waits is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stays {
    /// It does not wait for a node: it has one, runs, has ended, or is held back.
    NotWaiting,
    /// It is being deleted.
    Terminating,
    /// Its owner is not there, or nobody knows.
    NoOwner,
    /// Its owner does not make such pods anew, or counts them as failed.
    NotRemade,
    /// Its owner is being deleted.
    OwnerGoes,
    /// Its owner wants fewer pods than it has.
    ScaledDown,
    /// kube-scheduler holds room for it on a node.
    Nominated,
}

impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotWaiting => "it does not wait for a node",
            Self::Terminating => "it is being deleted",
            Self::NoOwner => "no owner of it is known that would make it anew",
            Self::NotRemade => "its owner would not make it anew, or would count it as failed",
            Self::OwnerGoes => "its owner is being deleted",
            Self::ScaledDown => "its owner wants fewer pods than it has",
            Self::Nominated => "kube-scheduler holds room for it on a node",
        })
    }
}

/// Controllers that make a pod anew that was deleted, and make nothing of it.
const REMAKING: [&str; 3] = ["ReplicaSet", "ReplicationController", "StatefulSet"];

/// Whether a pod may be deleted for its owner to make it anew.
///
/// # Errors
/// Why it stays.
pub fn may_recreate(pod: &Pod, owner: Option<&Owner>) -> Result<(), Stays> {
    let no = Err;
    if pod.terminating {
        return no(Stays::Terminating);
    }
    if pod.node.is_some() || pod.phase != Phase::Pending || pod.pending() != Some(Ok(())) {
        return no(Stays::NotWaiting);
    }
    if pod.nominated.is_some() {
        return no(Stays::Nominated);
    }
    let Some(owner) = owner.filter(|owner| owner.same) else { return no(Stays::NoOwner) };
    if !REMAKING.contains(&owner.kind.as_str()) {
        return no(Stays::NotRemade);
    }
    if owner.terminating {
        return no(Stays::OwnerGoes);
    }
    let Some(wants) = owner.wants else { return no(Stays::NoOwner) };
    if wants < owner.has || wants == 0 {
        return no(Stays::ScaledDown);
    }
    if owner.kind == "StatefulSet" {
        let number = pod.name.rsplit_once('-').and_then(|(_, n)| n.parse::<u32>().ok());
        let last = owner.first_ordinal.saturating_add(wants);
        if !number.is_some_and(|n| (owner.first_ordinal..last).contains(&n)) {
            return no(Stays::ScaledDown);
        }
    }
    Ok(())
}

/// So many a minute: a bucket that holds a minute's worth, and begins full of what a tenth of a minute is worth.
///
/// Why not full: after each new leader a full minute's worth would go at once.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    per_minute: u32,
    /// In sixtieths.
    tokens: u64,
    filled: u64,
}

impl Bucket {
    /// So many a minute, from now on.
    pub fn new(per_minute: u32, now: u64) -> Self {
        Self { per_minute, tokens: (u64::from(per_minute) * 6).max(60), filled: now }
    }

    /// Another rate from now on.
    pub fn set_rate(&mut self, per_minute: u32, now: u64) {
        self.fill(now);
        self.per_minute = per_minute;
        self.tokens = self.tokens.min(u64::from(per_minute) * 60);
    }

    fn fill(&mut self, now: u64) {
        // A clock that goes back gives nothing.
        let seconds = now.saturating_sub(self.filled);
        self.filled = self.filled.max(now);
        let rate = u64::from(self.per_minute);
        self.tokens = self.tokens.saturating_add(seconds.saturating_mul(rate)).min(rate * 60);
    }

    /// Takes one, if there is one.
    pub fn take(&mut self, now: u64) -> bool {
        self.fill(now);
        let some = self.tokens >= 60;
        if some {
            self.tokens -= 60;
        }
        some
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stowage_cluster::{Index, Kind};

    use super::*;

    fn pod(json: &str) -> Pod {
        let mut index = Index::default();
        index.apply(Kind::Pod, json).unwrap();
        index.snapshot().pods[0].as_ref().clone()
    }

    fn owner(kind: &str) -> Owner {
        let kind = kind.to_owned();
        Owner { kind, same: true, terminating: false, wants: Some(3), has: 3, first_ordinal: 0 }
    }

    #[test]
    fn only_what_is_made_anew_for_certain() {
        let waiting = pod(r#"{"metadata": {"name": "web-1"}}"#);
        let stays = |of: &Owner| may_recreate(&waiting, Some(of)).err();
        for kind in ["ReplicaSet", "ReplicationController", "StatefulSet"] {
            assert_eq!(stays(&owner(kind)), None, "{kind}");
        }
        for kind in ["Job", "DaemonSet", "Workflow", "Pod", ""] {
            assert_eq!(stays(&owner(kind)), Some(Stays::NotRemade), "{kind}");
        }
        assert_eq!(may_recreate(&waiting, None), Err(Stays::NoOwner));
        let set = owner("ReplicaSet");
        assert_eq!(stays(&Owner { same: false, ..set.clone() }), Some(Stays::NoOwner));
        assert_eq!(stays(&Owner { terminating: true, ..set.clone() }), Some(Stays::OwnerGoes));
        assert_eq!(stays(&Owner { wants: Some(2), ..set.clone() }), Some(Stays::ScaledDown));
        assert_eq!(stays(&Owner { wants: Some(0), has: 0, ..set.clone() }), Some(Stays::ScaledDown));
        assert_eq!(stays(&Owner { wants: None, ..set }), Some(Stays::NoOwner));
        // Number 1 is the last that a set of two from 0 makes, and below the first of one from 2.
        let set = owner("StatefulSet");
        assert_eq!(stays(&Owner { wants: Some(2), has: 2, ..set.clone() }), None);
        assert_eq!(stays(&Owner { wants: Some(1), has: 1, ..set.clone() }), Some(Stays::ScaledDown));
        assert_eq!(stays(&Owner { first_ordinal: 2, ..set }), Some(Stays::ScaledDown));
    }

    #[test]
    fn only_pods_that_wait() {
        for (json, why) in [
            (r#"{"metadata": {"name": "a"}, "spec": {"nodeName": "n"}}"#, Stays::NotWaiting),
            (r#"{"metadata": {"name": "a"}, "status": {"phase": "Running"}}"#, Stays::NotWaiting),
            (r#"{"metadata": {"name": "a"}, "status": {"phase": "Failed"}}"#, Stays::NotWaiting),
            (
                r#"{"metadata": {"name": "a"}, "spec": {"schedulingGates": [{"name": "g"}]}}"#,
                Stays::NotWaiting,
            ),
            (
                r#"{"metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"}}"#,
                Stays::Terminating,
            ),
            (r#"{"metadata": {"name": "a"}, "status": {"nominatedNodeName": "n"}}"#, Stays::Nominated),
        ] {
            assert_eq!(may_recreate(&pod(json), Some(&owner("ReplicaSet"))), Err(why), "{json}");
        }
    }

    proptest! {
        /// In no minute more than the rate and what the bucket held at first.
        #[test]
        fn no_more_than_the_rate(rate in 1_u32..100, waits in prop::collection::vec(0_u64..10, 1..300)) {
            let (mut now, mut taken) = (0, Vec::new());
            let mut bucket = Bucket::new(rate, now);
            for wait in waits {
                now += wait;
                if bucket.take(now) {
                    taken.push(now);
                }
            }
            for (at, begin) in taken.iter().enumerate() {
                let within = taken[at..].iter().take_while(|t| **t < begin + 60).count() as u32;
                prop_assert!(within <= 2 * rate, "{within} of {rate}");
            }
            let most = u64::from(rate) * now / 60 + u64::from(rate) / 10 + 1;
            prop_assert!(taken.len() as u64 <= most, "{} of {most}", taken.len());
        }
    }
}
