//! What the status of a policy says.
//!
//! # Invariants
//! - The same facts give the same status: it is written only when something has changed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use stowage_solver::Price;

use crate::admit::Left;
use crate::label::no_profile;
use crate::policies::Overruled;
use crate::policy::{Labels, Policy, PolicyError, PolicyId};
use crate::profiles::Profiles;
use crate::refusals::Refusals;
use crate::verdict::{Side, Verdict};

/// The longest example of a workload, in characters: fifty of them keep a status within some 50 KB.
const MAX_EXAMPLE: usize = 250;

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
    /// Whether it holds; `None` where that is not known.
    pub holds: Option<bool>,
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
    /// The policy; where it is not understood, what is wrong with it.
    pub policy: Result<&'a Policy, &'a [PolicyError]>,
    /// What is known of profiles.
    pub profiles: &'a Profiles,
    /// The namespaces that it is about and labels of a pod in each; none where there are no pods yet.
    pub pods: &'a [(&'a str, &'a Labels)],
    /// Pods that run by it and what they cost an hour: [`crate::Ledger::used`].
    pub used: (usize, Price),
    /// Which policies are overruled.
    pub overruled: &'a [Overruled],
    /// What became of admissions lately.
    pub refusals: &'a Refusals,
}

/// A verdict, for the status: word of the workload, verdict, and whether the guard holds it on nodes.
pub type Standing<'v> = (&'v str, &'v Verdict, bool);

/// The word for what the guard holds on nodes.
const GUARD: &str = "Guard";

/// The status of a policy, with the verdicts that there are.
pub fn status<'v>(facts: &Facts<'_>, id: &PolicyId, verdicts: impl Iterator<Item = Standing<'v>>) -> Status {
    let (pods, cost) = facts.used;
    let mut refused = BTreeMap::<&'static str, (usize, String)>::new();
    for (word, verdict, held) in verdicts.filter(|(_, verdict, _)| verdict.found.policy.0 == *id) {
        let reason = match (held, verdict.side) {
            (true, _) => GUARD,
            (false, Side::Ec2) => verdict.why.word(),
            (false, Side::Fargate) => continue,
        };
        let example = || {
            let held = if held { "held on nodes, as Fargate did not start its pods in time; " } else { "" };
            format!("{word}: {held}{verdict}").chars().take(MAX_EXAMPLE).collect()
        };
        refused.entry(reason).or_insert_with(|| (0, example())).0 += 1;
    }
    for (why, workloads, example) in facts.refusals.of(id) {
        // What the verdicts say is told from them.
        if !matches!(why, Left::Nodes | Left::Guard | Left::Never) {
            refused.entry(why.word()).or_insert_with(|| (0, example.to_owned())).0 += workloads;
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

fn valid(facts: &Facts<'_>) -> (Option<bool>, &'static str, String) {
    match facts.policy {
        Ok(_) => (Some(true), VALIDATION_SUCCEEDED, String::new()),
        Err(errors) => {
            let said: Vec<String> = errors.iter().map(|e| format!("{}: {}", e.field, e.problem)).collect();
            (
                Some(false),
                "Invalid",
                format!("{}; its pods stay on nodes until it is mended", said.join("; ")),
            )
        }
    }
}

fn found(facts: &Facts<'_>) -> (Option<bool>, &'static str, String) {
    let Ok(policy) = facts.policy else {
        return (None, "Invalid", "the policy cannot be understood".to_owned());
    };
    let missing: Vec<&str> = facts.profiles.missing(policy).collect();
    if !missing.is_empty() {
        return (Some(false), "NoSuchProfile", format!("EKS has no active profile {}", missing.join(", ")));
    }
    if !facts.profiles.were_asked() && policy.profiles.is_empty() {
        let message =
            "EKS was not asked for its profiles yet; where Stowage may not ask, state them in spec.profiles";
        return (None, "NotAsked", message.to_owned());
    }
    let without = |(namespace, labels): &&(&str, &Labels)| {
        facts.profiles.ways(policy, namespace, labels).next().is_none()
    };
    let without: BTreeSet<&str> =
        facts.pods.iter().filter(without).map(|(namespace, _)| *namespace).collect();
    match (without.is_empty(), facts.profiles.of(policy).is_empty()) {
        (true, false) => (Some(true), PROFILE_FOUND, String::new()),
        _ => (Some(false), "NoProfile", no_profile(&without)),
    }
}

fn conflict(facts: &Facts<'_>, id: &PolicyId) -> (Option<bool>, &'static str, String) {
    let own: Vec<&Overruled> = facts.overruled.iter().filter(|o| o.policy == *id).collect();
    let said: Vec<String> = own.iter().map(ToString::to_string).collect();
    match own.iter().any(|o| o.contradicts) {
        _ if own.is_empty() => (Some(false), "NoConflict", String::new()),
        true => (Some(true), "Contradicted", said.join("; ")),
        false => (Some(true), "Overruled", said.join("; ")),
    }
}
