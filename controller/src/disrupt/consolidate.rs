//! Nodes that need not be: the solver's consolidation of the whole cluster, a command for each of its steps.
//!
//! ```text
//! snapshot ─▶ pods of nodes that go already are where they are promised ─▶ lower ─▶ fleet ─▶ consolidate ─▶ commands
//!                                                                                                └▶ why other nodes stay
//! ```
//!
//! A step is looked for once more, among its own nodes only, before it is carried out: what comes out then is what is done.
//!
//! # Invariants
//! - Nodes that take pods of nodes which go, or are kept free for pods to come, stay.
//! - A cluster that has not changed since nothing was found is not looked at again for some minutes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use stowage_api::ConsolidationPolicy;
use stowage_cluster::disrupt::{Reason, Standing, fleet};
use stowage_cluster::words::kept as words;
use stowage_cluster::{LowerOptions, Lowered, lower};
use stowage_solver::{
    Aims, Consolidation as Found, Destination, Fleet, Kept, NodeId, Price, Problem, Step, consolidate,
};

use super::command::{Candidate, Command, Replacement, displace};
use super::methods::{self, Cause, Method, Stays, View, Weighed};
use super::simulate::closed;
use crate::decide::{DecideError, orders_for};

/// Steps that are begun at the same time, whatever budgets say: those after them are looked for when the cluster has moved on.
const MOST_STEPS: usize = 20;

/// How long a cluster that did not change is left alone.
///
/// compat: karpenter v1.14 looks again after five minutes, too, as prices may have changed.
const AGAIN: Duration = Duration::from_mins(5);

/// The method that saves money by moving pods.
#[derive(Clone, Debug, Default)]
pub struct Consolidation {
    /// The cluster in which nothing was found, when that was, and why its nodes stay.
    fruitless: Option<(u64, Instant, methods::Found)>,
}

impl Method for Consolidation {
    fn reason(&self) -> Reason {
        Reason::Underutilized
    }

    fn kind(&self) -> &'static str {
        "multi"
    }

    fn find(&mut self, view: &mut View<'_>) -> Result<methods::Found, DecideError> {
        // Nothing is ours to take away, and nothing to explain.
        if view.standings.iter().all(|standing| standing.claim.is_none()) {
            return Ok(methods::Found::default());
        }
        let signature = signature(view);
        if let Some((of, at, found)) = &self.fruitless
            && *of == signature
            && at.elapsed() < AGAIN
        {
            return Ok(found.clone());
        }
        let plan = Plan::of(view, None)?;
        let mut found = methods::Found { stays: plan.stays(view.standings), ..methods::Found::default() };
        found.eligible = plan.open;
        found.blocked = plan.blocked(view.standings);
        found.cut_short = plan.found.spent;
        found.weighed = plan.weighed(view.standings);
        for step in plan.found.steps.iter().take(MOST_STEPS) {
            let Some(command) = plan.command(step, view) else { continue };
            if command.replacements.iter().all(|of| (view.ready)(of.pool()))
                && command.candidates.iter().all(|of| view.room.take(&of.pool, Reason::Underutilized))
            {
                found.commands.push(command);
            }
        }
        let seen = methods::Found { cut_short: false, weighed: Vec::new(), ..found.clone() };
        self.fruitless = found.commands.is_empty().then(|| (signature, Instant::now(), seen));
        Ok(found)
    }
}

/// What is left of a command in the cluster as it is now: what its own nodes still come to.
///
/// # Errors
/// Why nothing is.
pub fn validate(command: &Command, view: &mut View<'_>) -> Result<Command, String> {
    let uids: BTreeSet<&str> = command.candidates.iter().map(|of| of.uid.as_str()).collect();
    let plan = Plan::of(view, Some(&uids)).map_err(|error| error.to_string())?;
    let mut steps = plan.found.steps.iter();
    let Some(again) = steps.find_map(|step| plan.command(step, view)) else {
        let stays = plan.stays(view.standings);
        let own = stays.into_iter().find(|stays| uids.contains(stays.uid.as_str()));
        return Err(own.map_or_else(|| "its nodes are gone".to_owned(), |stays| stays.why));
    };
    if let Some(pool) = again.replacements.iter().map(Replacement::pool).find(|pool| !(view.ready)(pool)) {
        return Err(format!("NodePool {pool} is not ready"));
    }
    for candidate in &again.candidates {
        if !view.room.take(&candidate.pool, Reason::Underutilized) {
            return Err(format!("the budgets of NodePool {} let it go no more", candidate.pool));
        }
    }
    Ok(again)
}

/// A consolidation of the cluster, and what it is about.
struct Plan {
    lowered: Lowered,
    found: Found,
    /// Nodes that could go, before budgets were looked at.
    open: usize,
    sums: Sums,
}

/// By `NodePool`: what its nodes cost, and what taking all of them away would disrupt.
#[derive(Debug, Default)]
struct Sums(BTreeMap<String, (Price, i64)>);

impl Sums {
    fn of(problem: &Problem, fleet: &Fleet) -> Self {
        let mut sums = BTreeMap::<String, (Price, i64)>::new();
        for (node, held) in problem.nodes.iter().zip(&fleet.nodes) {
            let (cost, disruption) = sums.entry(node.pool.clone().unwrap_or_default()).or_default();
            *cost += held.price.unwrap_or(Price::ZERO);
            *disruption = disruption.saturating_add(held.disruption());
        }
        Self(sums)
    }

    /// The share saved over the share disrupted, of what these `NodePools` come to together.
    ///
    /// compat: karpenter v1.14, `ScoreMove`.
    fn score(&self, pools: &BTreeSet<&str>, saving: Price, disruption: i64) -> f64 {
        let own = pools.iter().filter_map(|pool| self.0.get(*pool));
        let (cost, whole) =
            own.fold((Price::ZERO, 0_i64), |sum, of| (sum.0 + of.0, sum.1.saturating_add(of.1)));
        let saved = saving.dollars() / cost.max(Price::from_micros(1)).dollars();
        let disrupted = disruption.max(1) as f64 / whole.max(1) as f64;
        saved / disrupted
    }
}

impl Plan {
    /// Plans for all nodes that may go, or for those of these claims, by uid.
    fn of(view: &View<'_>, only: Option<&BTreeSet<&str>>) -> Result<Self, DecideError> {
        let homes = view.homes();
        let mut after = view.snapshot.clone();
        after.pods.retain_mut(|pod| {
            if let Some(node) = pod.is_bound().then(|| homes.get(&pod.key())).flatten() {
                displace(Arc::make_mut(pod));
                Arc::make_mut(pod).nominated = Some(Arc::from(node.as_str()));
            }
            true
        });
        let lowering = LowerOptions { closed: closed(view.snapshot), ..view.terms.lowering.clone() };
        let lowered = lower(&after, view.terms.catalog, &lowering)?;
        let mut fleet = fleet(&lowered.problem, view.whole, &view.terms.lowering.commitments, view.standings);
        let mut open = 0;
        let by_name = by_name(view.standings);
        for (held, node) in fleet.nodes.iter_mut().zip(&lowered.problem.nodes) {
            let standing = by_name.get(node.name.as_str());
            let chosen = only.is_none_or(|only| {
                standing.and_then(|s| s.claim).is_some_and(|claim| only.contains(claim.metadata.uid.as_str()))
            });
            held.removable &= chosen && !view.needed.nodes.contains(&node.name);
            open += usize::from(held.removable);
        }
        let sums = Sums::of(&lowered.problem, &fleet);
        let left = |pool: &str| view.room.left(pool, Reason::Underutilized);
        let limits = view.snapshot.node_pools.iter().filter_map(|pool| {
            let more = left(&pool.metadata.name)?.more;
            Some((pool.metadata.name.clone(), u32::try_from(more).ok()?))
        });
        let aims = Aims { limits: limits.collect(), ..view.aims.clone() };
        let found = consolidate(&lowered.problem, &fleet, &aims, &AtomicBool::new(false), &mut |_, _, _| {})
            .map_err(|broken| {
                DecideError::Broken(broken.first().map(|v| v.what.clone()).unwrap_or_default())
            })?;
        Ok(Self { lowered, found, open, sums })
    }

    fn name(&self, node: NodeId) -> &str {
        &self.lowered.problem.nodes[node.index()].name
    }

    /// A step as a command; `None` where a node of it is not ours after all, which would be a defect.
    fn command(&self, step: &Step, view: &View<'_>) -> Option<Command> {
        let by_name = by_name(view.standings);
        let candidate = |node: &NodeId| Candidate::of(by_name.get(self.name(*node))?, view.prices);
        let candidates: Option<Vec<Candidate>> = step.removes.iter().map(candidate).collect();
        let candidates = candidates?;
        let problem = &self.lowered.problem;
        let mut pods = vec![Vec::new(); step.launches.len()];
        let mut moves = Vec::new();
        for moved in &step.moves {
            match moved.to {
                Destination::Existing(node) => moves.push((moved.pod.clone(), self.name(node).to_owned())),
                Destination::New(at) => {
                    let running = problem.nodes[moved.from.index()].pods.iter();
                    let spec = running.clone().find(|pod| pod.name == moved.pod)?.spec;
                    pods.get_mut(at)?.push((moved.pod.clone(), spec));
                }
            }
        }
        let launched = orders_for(&self.lowered, &step.launches, pods);
        Some(Command {
            reason: Reason::Underutilized,
            kind: if candidates.len() == 1 { "single" } else { "multi" },
            candidates,
            replacements: launched.into_iter().map(|wanted| Replacement::Planned(Box::new(wanted))).collect(),
            moves,
        })
    }

    /// Why nodes stay, those that are ours.
    fn stays(&self, standings: &[Standing<'_>]) -> Vec<Stays> {
        let by_name = by_name(standings);
        let stays = |(node, kept): &(NodeId, Kept)| {
            let standing = by_name.get(self.name(*node))?;
            let claim = standing.claim?;
            let refusal = standing.refusals().next();
            let (word, why) = match refusal {
                Some(refusal) => (words::refusal_word(refusal), words::refusal(refusal)),
                None => (words::kept_word(kept), words::kept(&self.lowered.problem, kept)),
            };
            Some(Stays {
                claim: claim.metadata.name.clone(),
                uid: claim.metadata.uid.clone(),
                node: standing.node.metadata.name.clone(),
                pool: standing.pool.map(|pool| pool.metadata.name.clone()).unwrap_or_default(),
                cause: if refusal.is_some() { Cause::Refused } else { Cause::NotWorth },
                word,
                why,
                saving: words::saving(kept)
                    .map(stowage_solver::Price::dollars)
                    .filter(|saving| *saving > 0.0),
            })
        };
        self.found.kept.iter().filter_map(stays).collect()
    }

    /// What the policies of `NodePools` have said: of the steps, and of nodes whose going is worth too little to them.
    fn weighed(&self, standings: &[Standing<'_>]) -> Vec<Weighed> {
        let by_name = by_name(standings);
        let of_node = |node: &NodeId| by_name.get(self.name(*node))?.pool;
        let mut out = Vec::new();
        for step in &self.found.steps {
            let pools: BTreeMap<&str, ConsolidationPolicy> = step
                .removes
                .iter()
                .filter_map(of_node)
                .map(|pool| (pool.metadata.name.as_str(), pool.spec.disruption.consolidation_policy))
                .collect();
            let score = self.sums.score(&pools.keys().copied().collect(), step.saving, step.disruption);
            out.extend(pools.into_iter().map(|(pool, policy)| Weighed {
                pool: pool.to_owned(),
                policy: policy.name(),
                approved: true,
                score: (policy == ConsolidationPolicy::Balanced).then_some(score),
            }));
        }
        let rejected = self.found.kept.iter().filter_map(|(node, kept)| {
            let Kept::Unbalanced { score, .. } = kept else { return None };
            let pool = of_node(node)?;
            Some(Weighed {
                pool: pool.metadata.name.clone(),
                policy: pool.spec.disruption.consolidation_policy.name(),
                approved: false,
                score: Some(f64::from(*score) / 1000.0),
            })
        });
        out.extend(rejected);
        out
    }

    /// `NodePools` whose budgets held nodes back.
    fn blocked(&self, standings: &[Standing<'_>]) -> BTreeSet<String> {
        let by_name = by_name(standings);
        let limited = self.found.kept.iter().filter(|(_, kept)| *kept == Kept::Limit);
        let pools = limited.filter_map(|(node, _)| by_name.get(self.name(*node))?.pool);
        pools.map(|pool| pool.metadata.name.clone()).collect()
    }
}

fn by_name<'a, 's>(standings: &'a [Standing<'s>]) -> HashMap<&'s str, &'a Standing<'s>> {
    standings.iter().map(|standing| (standing.node.metadata.name.as_str(), standing)).collect()
}

/// A number that changes when what a consolidation looks at does: pods and where they are, which nodes may go, `NodePools`, what
/// is for sale.
fn signature(view: &View<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for standing in view.standings {
        (&standing.node.metadata.name, standing.may_save(), standing.node.is_ready()).hash(&mut hasher);
    }
    for pod in view.snapshot.pods() {
        (&pod.uid, &pod.node, &pod.nominated).hash(&mut hasher);
    }
    for pool in &view.snapshot.node_pools {
        (&pool.metadata.name, format!("{:?}", pool.spec), (view.ready)(&pool.metadata.name))
            .hash(&mut hasher);
        view.room.left(&pool.metadata.name, Reason::Underutilized).map(|left| left.more).hash(&mut hasher);
    }
    view.needed.nodes.hash(&mut hasher);
    view.homes().hash(&mut hasher);
    for of in &view.terms.catalog.types {
        for offering in of.offerings.iter().filter(|offering| offering.available) {
            (&of.name, offering.price.to_bits()).hash(&mut hasher);
        }
    }
    hasher.finish()
}
