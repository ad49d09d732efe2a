//! A look at the cluster: what a pod of each workload would cost on nodes and on Fargate, and so which side is better.
//!
//! The rule, for so many pods of a workload as wait or run on Fargate, or for one where there are none:
//!
//! - *On nodes* they cost what a plan for everything that waits costs more with them than without. Room on nodes that are there
//!   and stay costs nothing; so does room on nodes that are bought anyway. A node that is bought for them alone is theirs to
//!   pay, and shared among them. They never cost more than if each had a node of its own.
//! - Pods of many workloads may be dear one by one and cheap together: each would open a node, and one node holds them all. So
//!   those that would go to Fargate by that rule are planned once more together, each free to go there; what of them belongs on
//!   nodes then costs its share of what they cost together.
//! - Where their expected life is known, a bought node is paid for while it starts as well: so long more of its price.
//! - *On Fargate* each costs its shape, requests rounded up with 256 MiB more, and a minute at least.
//! - `WhenCheaper`: Fargate, where it costs no more than nodes and the tolerance. `WhenNoRoom`: Fargate, where nodes cost
//!   anything at all. `Always`: Fargate. Where nodes have no place at any price, each of these is Fargate.
//!
//! # Invariants
//! - A look that was cancelled, or a plan that failed its own check, finds nothing: what was known before stays.
//! - What is found for a workload does not depend on the order of the workloads.
//! - Nodes of Fargate are nobody's room.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use stowage_api::well_known;
use stowage_cluster::{FargateOptions, LowerError, LowerOptions, Pod, Snapshot, lower};
use stowage_pricing::aws::offerings::Subnet;
use stowage_pricing::{Catalog, FargateRates};
use stowage_solver::Pod as Planned;

use crate::compare::{compare, on_nodes};
use crate::jobs::JobFacts;
use crate::life::Life;
use crate::needs::{Concerns, Needs};
use crate::plans::{Member, Plans, TOGETHER};
use crate::policy::{Labels, Mode, Policy};
use crate::profiles::Profiles;
use crate::trial::{Grounds, Trial, choose, forbidden};
use crate::verdict::{Finding, OnNodes, Side, Target, Why};
use crate::workload::Workload;

/// How long a node takes from its launch to its first pod, in seconds: what users of Karpenter report (kubernetes-sigs/karpenter
/// #1281).
pub const NODE_START: u64 = 80;
/// Workloads of one look, where there are many: so many are planned together.
pub const AT_ONCE: usize = 200;

/// A workload to look at.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The workload.
    pub workload: &'a Workload,
    /// The policy that rules it.
    pub policy: &'a Policy,
    /// A pod of it.
    pub pod: &'a Pod,
    /// What that pod needs, its labels aside.
    pub needs: &'a Needs,
    /// The `Job` of that pod, where it is known.
    pub job: Option<&'a JobFacts>,
    /// How long its pods run.
    pub life: Life,
    /// Its pods that wait for a node, by `namespace/name`.
    pub waiting: &'a BTreeSet<String>,
    /// How many of its pods are on Fargate.
    pub on_fargate: usize,
}

impl Candidate<'_> {
    /// How many pods it has that are to be placed, now or should they come home.
    fn pods(&self) -> usize {
        self.waiting.len().saturating_add(self.on_fargate)
    }
}

/// What all workloads have in common.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// The cluster.
    pub snapshot: &'a Snapshot,
    /// What nodes cost.
    pub catalog: &'a Catalog,
    /// How to plan; what it says of Fargate is not looked at.
    pub options: &'a LowerOptions,
    /// What is known of profiles.
    pub profiles: &'a Profiles,
    /// The subnets of those that EKS has.
    pub subnets: &'a [Subnet],
    /// What Fargate costs; `None` where that is not known, and then nothing goes there.
    pub rates: Option<FargateRates>,
    /// How long a node takes from the launch to the first pod, in seconds.
    pub node_start: u64,
}

/// Looks at the cluster for each of these workloads, in their order; `None` where nothing was found, as the look was cancelled.
///
/// # Errors
/// As [`lower`].
pub fn look(
    ground: &Ground<'_>,
    candidates: &[Candidate<'_>],
    cancel: &AtomicBool,
) -> Result<Vec<Option<Finding>>, LowerError> {
    let concerns = Concerns::of(ground.snapshot);
    let grounds = Grounds::new(ground.profiles, candidates);
    let mut snapshot = ground.snapshot.clone();
    let early: Vec<Option<Why>> = candidates.iter().map(forbidden).collect();
    let mut trials: Vec<Vec<Trial>> = Vec::new();
    for (at, candidate) in candidates.iter().enumerate() {
        let open = if early[at].is_some() { Vec::new() } else { grounds.trials(candidate, at) };
        snapshot.pods.extend(open.iter().map(|trial| Arc::clone(&trial.pod)));
        trials.push(open);
    }
    let options = LowerOptions {
        fargate: FargateOptions {
            wanted: true,
            subnets: ground.subnets.iter().cloned().chain(grounds.zones()).collect(),
            profiles: grounds.profiles(),
            stated: true,
            rates: ground.rates,
        },
        ..ground.options.clone()
    };
    let mut lowered = lower(&snapshot, ground.catalog, &options)?;
    for node in lowered.problem.nodes.iter_mut().filter(|node| is_fargate_node(&node.labels)) {
        node.open = false;
    }
    let at: BTreeMap<&str, usize> =
        lowered.problem.pods.iter().enumerate().map(|(at, pod)| (pod.name.as_str(), at)).collect();
    let mut chosen: Vec<Result<(Target, Planned), Why>> = Vec::new();
    for ((trials, early), candidate) in trials.iter().zip(early).zip(candidates) {
        let needs = || candidate.needs.clone().with_labels(&candidate.pod.labels, &concerns);
        chosen.push(match early {
            Some(why) => Err(why),
            None => choose(trials, &lowered, &at, ground.rates, needs),
        });
    }
    let trial_names: BTreeSet<String> = trials.iter().flatten().map(|trial| trial.pod.key()).collect();
    let mut plans = Plans::new(lowered.problem, &trial_names, cancel);
    let alone: Vec<Option<OnNodes>> = candidates
        .iter()
        .zip(&chosen)
        .map(|(candidate, chosen)| {
            let (_, like) = chosen.as_ref().ok()?;
            plans.cost(like, candidate.waiting, candidate.pods().clamp(1, TOGETHER))
        })
        .collect();
    let found = |at: usize, alone: OnNodes, jointly| {
        let (candidate, chosen) = (&candidates[at], chosen[at].as_ref().ok()?);
        let together = candidate.pods().clamp(1, TOGETHER) as u32;
        Some(compare(candidate, chosen.0.clone(), (alone, jointly), together, ground.node_start))
    };
    let first = |at: usize| found(at, alone[at]?, None);
    let joined: Vec<usize> = (0..candidates.len())
        .filter(|at| {
            let cheaper = matches!(candidates[*at].policy.mode, Mode::WhenCheaper { .. });
            let bought = matches!(alone[*at], Some(OnNodes::Bought(_)));
            cheaper
                && bought
                && candidates[*at].pods() > 0
                && first(*at).is_some_and(|f| f.side == Side::Fargate)
        })
        .collect();
    let members: Vec<Member<'_>> =
        joined.iter().filter_map(|at| member(&candidates[*at], chosen[*at].as_ref().ok()?)).collect();
    let Some(shares) = plans.jointly(&members) else { return Ok(candidates.iter().map(|_| None).collect()) };
    let shares: BTreeMap<usize, _> = joined.into_iter().zip(shares).collect();
    let all = chosen.iter().enumerate().map(|(at, chosen)| match chosen {
        Err(why) => Some(on_nodes(&candidates[at], why.clone())),
        Ok(_) => found(at, alone[at]?, shares.get(&at).copied().flatten()),
    });
    Ok(all.collect())
}

/// What [`look`] finds for one of these workloads, with as few plans as that takes: the others are looked at only where they may
/// come along to nodes.
///
/// # Errors
/// As [`lower`].
pub fn look_at(
    ground: &Ground<'_>,
    candidates: &[Candidate<'_>],
    at: usize,
    cancel: &AtomicBool,
) -> Result<Option<Finding>, LowerError> {
    let may_join = |c: &Candidate<'_>| matches!(c.policy.mode, Mode::WhenCheaper { .. }) && c.pods() > 0;
    let Some(own) = candidates.get(at) else { return Ok(None) };
    let alone = look(ground, &[*own], cancel)?.pop().flatten();
    let Some(first) = &alone else { return Ok(None) };
    let dear = first.side == Side::Fargate && matches!(first.nodes, Some(OnNodes::Bought(_)));
    let others: Vec<Candidate<'_>> = candidates
        .iter()
        .enumerate()
        .filter(|(n, other)| *n == at || may_join(other))
        .map(|(_, c)| *c)
        .collect();
    if !dear || !may_join(own) || others.len() < 2 {
        return Ok(alone);
    }
    let place = candidates[..at].iter().filter(|other| may_join(other)).count();
    let mut all = look(ground, &others, cancel)?;
    Ok(if place < all.len() { all.swap_remove(place) } else { None })
}

fn member<'a>(candidate: &Candidate<'a>, chosen: &'a (Target, Planned)) -> Option<Member<'a>> {
    let Mode::WhenCheaper { tolerance_percent } = candidate.policy.mode else { return None };
    let (target, like) = chosen;
    let pods = candidate.pods().min(TOGETHER);
    Some(Member { like, own: candidate.waiting, pods, price: target.price, tolerance_percent })
}

/// Whether a node is one of Fargate's: never bought for, drained or counted.
pub fn is_fargate_node(labels: &Labels) -> bool {
    labels.get(well_known::COMPUTE_TYPE).map(String::as_str) == Some(well_known::FARGATE)
}
