//! What the status of a policy says.
//!
//! # Invariants
//! - The same facts give the same status: it is written only when something has changed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use stowage_pricing::fargate::Profile;
use stowage_solver::Price;

use crate::label::{no_profile, ways};
use crate::policy::{Labels, Overruled, Policy, PolicyError, PolicyId};
use crate::verdict::{Side, Verdict};

/// What the status of a policy says, its conditions aside: as the definition has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// How many pods run by it, or are about to.
    pub routed_pods: usize,
    /// What they cost, in dollars an hour.
    pub hourly_cost: String,
    /// Workloads that are left on nodes, by reason.
    pub refused: Vec<Refusal>,
    /// What its conditions come to; whoever writes them says when, and adds `Ready`, which stands on the first two.
    #[serde(skip)]
    pub aspects: [Aspect; 3],
}

/// Workloads that are left on nodes for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The reason, as one word.
    pub reason: &'static str,
    /// How many.
    pub workloads: usize,
    /// One of them, and why in words.
    pub example: String,
}

/// One condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aspect {
    /// Its name.
    pub kind: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// Why, as one word.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
}

/// What the schema cannot check is right as well.
const VALIDATION_SUCCEEDED: &str = "ValidationSucceeded";
/// There is a profile for its pods.
const PROFILE_FOUND: &str = "ProfileFound";
/// Another policy rules pods that it selects.
const CONFLICT: &str = "Conflict";

/// What a status is made from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The policy; an error where it rules nothing.
    pub policy: Result<&'a Policy, &'a [PolicyError]>,
    /// All profiles.
    pub profiles: &'a [Profile],
    /// The namespaces that it is about and labels of a pod in each; none where there are no pods yet.
    pub pods: &'a [(&'a str, &'a Labels)],
    /// Pods that run by it and what they cost an hour.
    pub used: (usize, Price),
    /// Which policies are overruled.
    pub overruled: &'a [Overruled],
}

/// The status of a policy, with the verdicts that there are.
pub fn status<'v>(
    facts: &Facts<'_>,
    id: &PolicyId,
    verdicts: impl Iterator<Item = (&'v str, &'v Verdict)>,
) -> Status {
    let (pods, cost) = facts.used;
    let mut refused = BTreeMap::<&'static str, (usize, String)>::new();
    for (word, verdict) in verdicts {
        if verdict.side == Side::Ec2 && verdict.found.policy.0 == *id {
            let example = || format!("{word}: {verdict}").chars().take(300).collect();
            refused.entry(verdict.why.word()).or_insert_with(|| (0, example())).0 += 1;
        }
    }
    let refusal = |(reason, (workloads, example))| Refusal { reason, workloads, example };
    let aspect = |kind, (holds, reason, message)| Aspect { kind, holds, reason, message };
    Status {
        routed_pods: pods,
        hourly_cost: cost.to_string().trim_start_matches('$').to_owned(),
        refused: refused.into_iter().map(refusal).collect(),
        aspects: [
            aspect(VALIDATION_SUCCEEDED, valid(facts)),
            aspect(PROFILE_FOUND, found(facts)),
            aspect(CONFLICT, conflict(facts, id)),
        ],
    }
}

fn valid(facts: &Facts<'_>) -> (bool, &'static str, String) {
    match facts.policy {
        Ok(_) => (true, VALIDATION_SUCCEEDED, String::new()),
        Err(errors) => {
            let said: Vec<String> = errors.iter().map(|e| format!("{}: {}", e.field, e.problem)).collect();
            (false, "Invalid", said.join("; "))
        }
    }
}

fn found(facts: &Facts<'_>) -> (bool, &'static str, String) {
    let stated: BTreeSet<&str> =
        facts.policy.iter().flat_map(|p| &p.profiles).map(|p| p.name.as_str()).collect();
    let has = |(namespace, labels): &&(&str, &Labels)| {
        let mut all = ways(facts.profiles, namespace, labels).into_iter();
        !all.any(|way| stated.is_empty() || stated.contains(way.profile.name.as_str()))
    };
    let without: BTreeSet<&str> = facts.pods.iter().filter(has).map(|(namespace, _)| *namespace).collect();
    match (without.is_empty(), facts.profiles.is_empty()) {
        (true, false) => (true, PROFILE_FOUND, String::new()),
        _ => (false, "NoProfile", no_profile(&without)),
    }
}

fn conflict(facts: &Facts<'_>, id: &PolicyId) -> (bool, &'static str, String) {
    let own: Vec<&Overruled> = facts.overruled.iter().filter(|o| o.policy == *id).collect();
    let said: Vec<String> = own.iter().map(ToString::to_string).collect();
    match own.iter().any(|o| o.contradicts) {
        _ if own.is_empty() => (false, "NoConflict", String::new()),
        true => (true, "Contradicted", said.join("; ")),
        false => (true, "Overruled", said.join("; ")),
    }
}
