//! Pods that wait, and whether they may be deleted for their owner to make them anew: for Fargate, or back for nodes.
//!
//! Where a pod runs is decided when it is created. So it is deleted, and its owner makes another one. That must be certain, as a
//! pod that nobody makes anew is lost; and it must change something, or the next one is deleted as well, for ever. A pod that
//! was labelled and that EKS did not take, a cap that is full, a webhook that does not answer: the next pod would be as this.
//!
//! Pods of `Jobs` are never deleted: their controller counts a pod that was deleted while it waited as failed, against
//! `backoffLimit` and `podFailurePolicy`, and waits longer before each next one.
//!
//! # Invariants
//! - Only pods that wait, are bound to no node, are not being deleted, and whose owner is there, makes pods of this kind anew,
//!   is not being deleted, and wants at least as many pods as it has.
//! - Only pods that are on the other side, and of which the next one would get where this one did not.
//! - What is not known is taken to be so that the pod stays.

use std::fmt;

use stowage_cluster::object::Phase;
use stowage_cluster::{LeftOut, Pod};
use stowage_pricing::fargate::choose_profile;

use crate::admit::DEFAULT_SCHEDULER;
use crate::policy::Policy;
use crate::profiles::Profiles;
use crate::sighting::FARGATE_SCHEDULER;

/// What is known of the controller that owns a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Owner {
    /// Its kind.
    pub kind: String,
    /// Whether the pod says that it controls it: who only owns a pod makes no other.
    pub controls: bool,
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
    /// For a `StatefulSet`: whether it leaves it to somebody else to delete pods for an update (`OnDelete`), and there is one:
    /// its `status.currentRevision` is not its `status.updateRevision`.
    pub update_awaited: bool,
}

/// What for a pod is to be made anew.
#[derive(Clone, Copy, Debug)]
pub enum Purpose<'a> {
    /// For Fargate, where its workload's verdict sends it.
    ToFargate {
        /// Its policy,
        policy: &'a Policy,
        /// what is known of profiles,
        profiles: &'a Profiles,
        /// the profile of the verdict,
        profile: &'a str,
        /// whether the cap of its policy has room for it: a dry run of the ledger,
        cap_has_room: bool,
        /// and whether our webhook answers: that it is registered, and was asked about a pod lately.
        webhook_answers: bool,
    },
    /// For nodes, as Fargate does not start it.
    Back,
}

/// Why a pod that waits is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stays {
    /// It does not wait for a node: it has one, runs, has ended, or is held back.
    NotWaiting,
    /// It is being deleted.
    Terminating,
    /// Its owner is not there, does not control it, or nobody knows.
    NoOwner,
    /// Its owner does not make such pods anew, or counts them as failed.
    NotRemade,
    /// Its owner is being deleted.
    OwnerGoes,
    /// Its owner wants fewer pods than it has.
    ScaledDown,
    /// Its owner would make it from another revision, and leaves it to somebody else when.
    UpdateAwaited,
    /// kube-scheduler holds room for it on a node.
    Nominated,
    /// It has another scheduler than what it is to be taken from.
    OtherScheduler,
    /// It has the labels of a profile, and EKS did not take it.
    NotTaken,
    /// The profile of the verdict takes it with no labels.
    NoProfile,
    /// The cap of its policy has no room.
    CapFull,
    /// Our webhook does not answer, and would not label the next one.
    NoWebhook,
}

impl Stays {
    /// Why, as one word for metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::NotWaiting => "NotWaiting",
            Self::Terminating => "Terminating",
            Self::NoOwner => "NoOwner",
            Self::NotRemade => "NotRemade",
            Self::OwnerGoes => "OwnerGoes",
            Self::ScaledDown => "ScaledDown",
            Self::UpdateAwaited => "UpdateAwaited",
            Self::Nominated => "Nominated",
            Self::OtherScheduler => "OtherScheduler",
            Self::NotTaken => "NotTaken",
            Self::NoProfile => "NoProfile",
            Self::CapFull => "CapFull",
            Self::NoWebhook => "NoWebhook",
        }
    }
}

impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotWaiting => "it does not wait for a node",
            Self::Terminating => "it is being deleted",
            Self::NoOwner => "no controller of it is known that would make it anew",
            Self::NotRemade => "its owner would not make it anew, or would count it as failed",
            Self::OwnerGoes => "its owner is being deleted",
            Self::ScaledDown => "its owner wants fewer pods than it has",
            Self::UpdateAwaited => "its StatefulSet updates pods when they are deleted, and would make it anew from another revision",
            Self::Nominated => "kube-scheduler holds room for it on a node",
            Self::OtherScheduler => "another scheduler has it",
            Self::NotTaken => "it has the labels of a Fargate profile and EKS did not take it: does the profile still exist?",
            Self::NoProfile => "no Fargate profile takes it",
            Self::CapFull => "spec.caps of its policy has no room",
            Self::NoWebhook => "the webhook of Stowage does not answer, so the next pod would not be labelled",
        })
    }
}

/// Controllers that make a pod anew that was deleted, and make nothing of it.
const REMAKING: [&str; 3] = ["ReplicaSet", "ReplicationController", "StatefulSet"];

/// Whether a pod may be deleted for its owner to make it anew. What is deleted is what was looked at: by its uid and resource
/// version as preconditions, after it was read once more from the API server.
///
/// # Errors
/// Why it stays.
pub fn may_recreate(pod: &Pod, owner: Option<&Owner>, purpose: Purpose<'_>) -> Result<(), Stays> {
    let no = Err;
    if pod.terminating {
        return no(Stays::Terminating);
    }
    // Whose scheduler it is, is asked below.
    let waits = matches!(pod.pending(), Some(Ok(()) | Err(LeftOut::OtherScheduler)));
    if pod.node.is_some() || pod.phase != Phase::Pending || !waits {
        return no(Stays::NotWaiting);
    }
    if pod.nominated.is_some() {
        return no(Stays::Nominated);
    }
    let scheduler = pod.spec.scheduler_name.as_str();
    match purpose {
        Purpose::Back if scheduler != FARGATE_SCHEDULER => return no(Stays::OtherScheduler),
        Purpose::ToFargate { .. } if !matches!(scheduler, "" | DEFAULT_SCHEDULER) => {
            return no(Stays::OtherScheduler);
        }
        Purpose::Back => {}
        Purpose::ToFargate { policy, profiles, profile, cap_has_room, webhook_answers } => {
            if choose_profile(profiles.of(policy), &pod.namespace, &pod.labels).is_some() {
                return no(Stays::NotTaken);
            }
            if !profiles.ways(policy, &pod.namespace, &pod.labels).any(|way| way.profile.name == profile) {
                return no(Stays::NoProfile);
            }
            if !cap_has_room {
                return no(Stays::CapFull);
            }
            if !webhook_answers {
                return no(Stays::NoWebhook);
            }
        }
    }
    made_anew(pod, owner)
}

/// Whether its owner is certain to make a pod anew.
fn made_anew(pod: &Pod, owner: Option<&Owner>) -> Result<(), Stays> {
    let no = Err;
    let Some(owner) = owner.filter(|owner| owner.same && owner.controls) else { return no(Stays::NoOwner) };
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
        if owner.update_awaited {
            return no(Stays::UpdateAwaited);
        }
        let number = pod.name.rsplit_once('-').and_then(|(_, n)| n.parse::<u32>().ok());
        let last = owner.first_ordinal.saturating_add(wants);
        if !number.is_some_and(|n| (owner.first_ordinal..last).contains(&n)) {
            return no(Stays::ScaledDown);
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "recreate_tests.rs"]
mod tests;
