//! What is asked of the ledger, by the replica that answers an admission of the one that leads, and why there may be no room.
//!
//! # Invariants
//! - Whatever the answer is, it is for one admission: asked again, it is the same grant.
//! - No answer in time is no grant: who asked gives the ticket back, as it may have been granted all the same.

use std::fmt;

use serde::{Deserialize, Serialize};
use stowage_solver::Price;

use crate::policy::{Labels, PolicyId};
use crate::sighting::PodKey;

/// What is asked for: room for one pod. Followers send it to the leader as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The uid of the admission.
    pub ticket: String,
    /// The policy that rules the pod.
    pub policy: PolicyId,
    /// What the pod is known by.
    pub pod: PodKey,
    /// Its labels as it was admitted, by which it is ruled again should policies change.
    pub labels: Labels,
    /// Labels that it gets: one that is stored without them was not granted.
    pub added: Labels,
    /// What it costs an hour.
    pub price: Price,
    /// Whether only to ask.
    pub dry_run: bool,
    /// It goes to Fargate whatever is answered, as a profile takes it as it is: it is counted, cap or not.
    pub by_itself: bool,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Full {
    /// The cap of pods is reached.
    Pods,
    /// That of dollars an hour is.
    Cost,
    /// The policy is not known here.
    Unknown,
    /// What was granted before this one led, or before the policy had a cap, has not all been seen yet.
    Settling,
    /// The next block has not been written yet.
    NotWritten,
    /// Somebody else leads, or it is not certain that nobody does.
    NotLeading,
    /// There are too many tickets of which no pod has been seen.
    Busy,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pods => "spec.caps.maxPods is reached",
            Self::Cost => "spec.caps.maxHourlyCost is reached",
            Self::Unknown => "the policy is not known yet",
            Self::Settling => "what was granted before is still being counted",
            Self::NotWritten => "the next grants are still being written down",
            Self::NotLeading => "whoever counts caps does not lead",
            Self::Busy => "too many grants wait for their pods to be seen",
        })
    }
}
