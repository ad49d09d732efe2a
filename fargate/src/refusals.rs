//! What became of admissions, for the status of policies: which workloads were refused, why, and when last.
//!
//! # Invariants
//! - Of each reason of a policy a hundred workloads are kept at most, and nothing for longer than 15 minutes: a status speaks
//!   of now.

use std::collections::BTreeMap;

use crate::admit::{Left, Outcome};
use crate::policy::PolicyId;

/// For how many seconds a refusal is told of.
const KEPT_FOR: u64 = 900;
/// Workloads that are told apart by reason; more of them count as so many.
const MOST: usize = 100;

/// The longest word of a workload that another replica is believed, in bytes: namespace, kind and name.
const LONGEST: usize = 1_024;

/// A policy, why it refused a pod, of which workload, and when last.
pub type Refused = (PolicyId, Left, String, u64);

/// Refusals by policy and reason: workloads, and when each was refused last.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    by_policy: BTreeMap<PolicyId, BTreeMap<Left, BTreeMap<Box<str>, u64>>>,
}

impl Refusals {
    /// Takes note of what became of an admission.
    pub fn note(&mut self, outcome: &Outcome, now: u64) {
        let Outcome::Refused { why, policy, workload } = outcome else { return };
        let word = workload.as_ref().map_or_else(String::new, ToString::to_string);
        self.refused(policy, *why, word, now);
    }

    fn refused(&mut self, policy: &PolicyId, why: Left, workload: String, at: u64) {
        let workloads = self.by_policy.entry(policy.clone()).or_default().entry(why).or_default();
        if workloads.len() < MOST || workloads.contains_key(workload.as_str()) {
            let last = workloads.entry(workload.into_boxed_str()).or_default();
            *last = at.max(*last);
        }
    }

    /// What was refused since a moment: for the replica that writes the status.
    pub fn since(&self, moment: u64) -> Vec<Refused> {
        let all = self.by_policy.iter().flat_map(|(policy, reasons)| {
            let workloads = reasons.iter().flat_map(|(why, all)| all.iter().map(move |of| (*why, of)));
            workloads.map(move |(why, (workload, at))| (policy.clone(), why, workload.to_string(), *at))
        });
        all.filter(|(.., at)| *at >= moment).collect()
    }

    /// What another replica has refused, as of `now`; of policies that are not known nothing is kept.
    pub fn hear(&mut self, told: Vec<Refused>, now: u64, is_known: impl Fn(&PolicyId) -> bool) {
        for (policy, why, workload, at) in told {
            if is_known(&policy) && workload.len() <= LONGEST {
                self.refused(&policy, why, workload, at.min(now));
            }
        }
    }

    /// Forgets what was long ago.
    pub fn forget(&mut self, now: u64) {
        let late = |at: u64| now.saturating_sub(at) > KEPT_FOR;
        for reasons in self.by_policy.values_mut() {
            reasons.retain(|_, workloads| {
                workloads.retain(|_, at| !late(*at));
                !workloads.is_empty()
            });
        }
        self.by_policy.retain(|_, reasons| !reasons.is_empty());
    }

    /// Why workloads of a policy were refused, how many, and one of them.
    pub fn of(&self, policy: &PolicyId) -> impl Iterator<Item = (Left, usize, &str)> {
        let reasons = self.by_policy.get(policy).into_iter().flatten();
        reasons.filter_map(|(why, workloads)| {
            let example = workloads.keys().next()?;
            Some((*why, workloads.len(), &**example))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Root, Workload};

    fn refused(why: Left, name: &str) -> Outcome {
        let root = Root::Controller("Deployment".to_owned(), name.to_owned());
        let workload = Workload { namespace: "shop".to_owned(), root, template: "1".to_owned() };
        Outcome::Refused { why, policy: PolicyId::default(), workload: Some(workload) }
    }

    #[test]
    fn workloads_count_once_for_a_while_and_so_many_at_most() {
        let mut refusals = Refusals::default();
        for (at, name) in [(0, "a"), (10, "a"), (20, "b")] {
            refusals.note(&refused(Left::CapPods, name), at);
        }
        refusals.note(&Outcome::Left(Left::NoPolicy), 20);
        let of = |refusals: &Refusals| -> Vec<(Left, usize, String)> {
            refusals.of(&PolicyId::default()).map(|(why, n, one)| (why, n, one.to_owned())).collect()
        };
        assert_eq!(of(&refusals), [(Left::CapPods, 2, "shop/Deployment/a".to_owned())]);
        refusals.forget(10 + KEPT_FOR + 1);
        assert_eq!(of(&refusals), [(Left::CapPods, 1, "shop/Deployment/b".to_owned())]);
        for n in 0..1_000 {
            refusals.note(&refused(Left::Stale, &format!("w{n}")), 1_000);
        }
        assert!(of(&refusals).iter().any(|(why, n, _)| (*why, *n) == (Left::Stale, MOST)));
        refusals.forget(10_000);
        assert!(refusals.by_policy.is_empty());
    }

    #[test]
    fn what_one_replica_has_refused_is_heard_by_another() {
        let (mut one, mut other) = (Refusals::default(), Refusals::default());
        one.note(&refused(Left::OwnScheduler, "a"), 100);
        one.note(&refused(Left::CapPods, "b"), 200);
        assert_eq!(one.since(150).len(), 1);
        other.hear(one.since(0), 150, |_| true);
        assert_eq!(other.since(0).iter().map(|told| told.3).collect::<Vec<_>>(), [100, 150], "clocks differ");
        let long = (PolicyId::default(), Left::Never, "x".repeat(LONGEST + 1), 100);
        other.hear(vec![long], 150, |_| true);
        other.hear(one.since(0), 150, |_| false);
        assert_eq!(other.since(0).len(), 2);
    }
}
