//! How long pods of a workload run, and what a policy makes of that.
//!
//! # Invariants
//! - What is not known is not guessed: where a policy has bounds, pods that nobody knows stay on nodes.

use crate::policy::Policy;

/// A pod that is known to end within this many seconds is no long runner. How often Fargate patches is not documented; of pods
/// that run for hours few will meet with it.
pub(crate) const DAY: u64 = 86_400;

/// How long pods of a workload run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// The median of those that have ended, in seconds; `None` while there are too few to say.
    pub observed: Option<u64>,
    /// Their `activeDeadlineSeconds`.
    pub deadline: Option<u64>,
    /// Whether they are there to stay: those of `Deployments` and the like.
    pub endless: bool,
}

impl Life {
    /// How long a pod is expected to run, in seconds; `None` where nobody knows, or without end.
    pub fn expected(self) -> Option<u64> {
        match (self.observed, self.deadline) {
            (Some(observed), deadline) => Some(deadline.map_or(observed, |d| observed.min(d))),
            // A pod may well end long before its deadline.
            (None, _) => None,
        }
    }

    /// Whether it is known to end within a day.
    pub(crate) fn is_short(self) -> bool {
        self.expected().or(self.deadline).is_some_and(|seconds| seconds <= DAY)
    }

    /// Why a policy keeps such pods on nodes.
    pub(crate) fn against(self, policy: &Policy) -> Option<String> {
        let (min, max) = (policy.min_life, policy.max_life);
        let expected = self.expected();
        if let Some(min) = min {
            if let Some(known) = expected.or(self.deadline).filter(|known| *known < min) {
                return Some(format!("its pods run for {known} s, less than spec.expectedLife.min"));
            }
            if expected.is_none() && !self.endless {
                return Some("how long its pods run is not known yet".to_owned());
            }
        }
        let max = max?;
        match expected.or(self.deadline) {
            Some(known) if known <= max => None,
            Some(known) => Some(format!("its pods run for {known} s, more than spec.expectedLife.max")),
            None if self.endless => {
                Some("its pods run without end, more than spec.expectedLife.max".to_owned())
            }
            None => Some("how long its pods run is not known yet".to_owned()),
        }
    }
}
