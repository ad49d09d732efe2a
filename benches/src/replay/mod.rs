//! Simulated days of a cluster: pods come and go, nodes are bought for them, and somebody consolidates, or nobody.
//!
//! ```text
//! workload ─▶ traffic: who is to run at each moment ─┬─▶ cluster without consolidation
//!                                                    ├─▶ cluster with Karpenter's method (`karpenter.rs`)
//!                                                    └─▶ cluster with Stowage's, and the bound
//! ```
//!
//! All clusters see the same pods come and go, have their pending pods planned by the same planner, may take away the same share
//! of nodes in the same time, and leave nodes alone for the same while after pods have come or gone. What differs is which nodes
//! go, and what comes in their place.
//!
//! # Invariants
//! - The same workload, seed and settings give the same figures, on any machine.
//! - Every plan and every step has passed the verifier on the cluster as it was then.

mod karpenter;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, Result, ensure};
use stowage_solver::{
    Aims, Consolidation, Destination, Effort, Fleet, Labels, NewNode, NodeId, Options, Placement, Pod, PodId,
    PodMove, Price, Problem, Solution, Step, consolidate, solve, verify,
};

pub use traffic::{Pattern, Traffic};

/// Who consolidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// Nobody: a node that was bought stays.
    Nobody,
    /// Karpenter's emptiness, multi-node and single-node consolidation.
    Karpenter,
    /// Stowage's consolidation.
    Stowage,
}

/// How the days go.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long, in minutes.
    pub minutes: u32,
    /// How often pods come and go and nodes are looked at, in minutes.
    pub tick: u32,
    /// For how many minutes after pods have come or gone a node is left alone.
    pub consolidate_after: u32,
    /// The share of the nodes that may go in one tick, in percent, rounded up as Karpenter does.
    pub budget: u32,
    /// What steps are to save.
    pub aims: Aims,
    /// How often the bound is looked at, in ticks; never for zero.
    pub bound_every: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            minutes: 3 * 24 * 60,
            tick: 10,
            consolidate_after: 10,
            budget: 10,
            aims: Aims::default(),
            bound_every: 18,
        }
    }
}

/// What a policy comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// By tick: what the nodes cost an hour.
    pub hourly: Vec<Price>,
    /// By tick: pods that were moved to take nodes away.
    pub evictions: Vec<u32>,
    /// Nodes taken away.
    pub removed: u32,
    /// Nodes launched in their place.
    pub launched: u32,
    /// Pods that found no place, over all ticks.
    pub unplaced: u32,
    /// By tick at which it was looked at: no arrangement of the pods costs less an hour.
    pub bounds: Vec<(usize, Price)>,
}

impl Outcome {
    /// Dollars in all, where a tick has so many minutes.
    pub fn dollars(&self, tick: u32) -> f64 {
        self.hourly.iter().map(|price| price.dollars()).sum::<f64>() * f64::from(tick) / 60.0
    }

    /// Pods moved in all.
    pub fn moved(&self) -> u32 {
        self.evictions.iter().sum()
    }
}

/// A cluster while days go by.
pub(crate) struct Cluster {
    pub(crate) problem: Problem,
    pub(crate) fleet: Fleet,
    /// By node: when pods have last come or gone, in minutes.
    since: BTreeMap<String, u32>,
}

/// A step by names, which stay what they are while others are carried out.
pub(crate) struct Named {
    removes: Vec<String>,
    launches: Vec<NewNode>,
    /// Pod, and the node that it goes to, or the launch.
    moves: Vec<(String, Result<String, usize>)>,
}

/// Runs the days of a workload, whose pods all wait in `workload`, under a policy.
///
/// # Errors
/// Where a plan or a step breaks a rule.
pub fn run(
    workload: &Problem,
    pattern: Pattern,
    seed: u64,
    policy: Policy,
    settings: &Settings,
) -> Result<Outcome> {
    let mut traffic = Traffic::new(workload, pattern, seed);
    let empty = Problem { pods: Vec::new(), nodes: Vec::new(), ..workload.clone() };
    let mut cluster = Cluster { problem: empty, fleet: Fleet::default(), since: BTreeMap::new() };
    let mut out = Outcome::default();
    for tick in 0..settings.minutes / settings.tick.max(1) {
        let now = tick * settings.tick;
        let wanted = traffic.at(now);
        cluster.end(&wanted, now);
        out.unplaced += cluster.place(workload, &wanted, now)?;
        cluster.rest(now, settings.consolidate_after);
        let nodes = u32::try_from(cluster.problem.nodes.len()).unwrap_or(u32::MAX);
        let budget = nodes.saturating_mul(settings.budget).div_ceil(100);
        let moved = match policy {
            Policy::Nobody => 0,
            Policy::Karpenter => karpenter::consolidate(&mut cluster, budget, now, &mut out)?,
            Policy::Stowage => {
                let mut moved = 0;
                for step in stowage(&cluster, budget, settings)? {
                    moved += cluster.carry_out(&step, now, &mut out)?;
                }
                moved
            }
        };
        out.evictions.push(moved);
        out.hourly.push(cluster.cost());
        if settings.bound_every > 0 && tick.is_multiple_of(settings.bound_every) {
            out.bounds.push((tick as usize, cluster.bound()?));
        }
    }
    Ok(out)
}

/// Leaves of a market what a careful company would buy from: types of categories c, m and r above generation 4, in three zones.
pub fn market(problem: &mut Problem) {
    let usual = |labels: &Labels| {
        let label = |key: &str| labels.get(&format!("karpenter.k8s.aws/instance-{key}")).map(String::as_str);
        matches!(label("category"), Some("c" | "m" | "r"))
            && label("generation")
                .and_then(|number| number.parse::<u32>().ok())
                .is_some_and(|number| number > 4)
    };
    problem.types.retain(|of_type| usual(&of_type.labels));
    for of_type in &mut problem.types {
        of_type.offerings.retain(|offering| offering.zone.ends_with(['a', 'b', 'c']));
    }
}

/// What Stowage proposes.
fn stowage(cluster: &Cluster, budget: u32, settings: &Settings) -> Result<Vec<Named>> {
    let pools = cluster.problem.pools.iter();
    let limits = pools.map(|pool| (pool.name.clone(), budget)).collect();
    let aims = Aims { limits, ..settings.aims.clone() };
    let found = consolidated(&cluster.problem, &cluster.fleet, &aims)?;
    // Where there are several pools, they share the budget here.
    let mut left = budget as usize;
    let affordable = found.steps.iter().filter(|step| {
        let takes = step.removes.len();
        let fits = takes <= left;
        left -= if fits { takes } else { 0 };
        fits
    });
    Ok(affordable.map(|step| Named::of(&cluster.problem, step)).collect())
}

fn consolidated(problem: &Problem, fleet: &Fleet, aims: &Aims) -> Result<Consolidation> {
    let never = AtomicBool::new(false);
    consolidate(problem, fleet, aims, &never, &mut |_, _, _| {})
        .map_err(|broken| anyhow::anyhow!("a consolidation breaks a rule: {broken:?}"))
}

impl Named {
    /// A step by its positions in a problem.
    pub(crate) fn of(problem: &Problem, step: &Step) -> Self {
        let name = |node: NodeId| problem.nodes[node.index()].name.clone();
        let to = |to: Destination| match to {
            Destination::Existing(node) => Ok(name(node)),
            Destination::New(launch) => Err(launch),
        };
        Self {
            removes: step.removes.iter().map(|node| name(*node)).collect(),
            launches: step.launches.clone(),
            moves: step.moves.iter().map(|pod| (pod.pod.clone(), to(pod.to))).collect(),
        }
    }
}

impl Cluster {
    /// Pods that are no longer wanted end.
    fn end(&mut self, wanted: &BTreeSet<usize>, now: u32) {
        let names: BTreeSet<String> = wanted.iter().map(|at| traffic::name(*at)).collect();
        for node in self.fleet.ended(&mut self.problem, |pod| !names.contains(&pod.name)) {
            self.since.insert(self.problem.nodes[node.index()].name.clone(), now);
        }
    }

    /// Pods that are wanted and do not run get places. Returns how many find none.
    fn place(&mut self, workload: &Problem, wanted: &BTreeSet<usize>, now: u32) -> Result<u32> {
        let running: BTreeSet<&str> =
            self.problem.nodes.iter().flat_map(|node| &node.pods).map(|pod| pod.name.as_str()).collect();
        let pods = wanted.iter().map(|at| (traffic::name(*at), &workload.pods[at % workload.pods.len()]));
        let pods: Vec<Pod> = pods
            .filter(|(name, _)| !running.contains(name.as_str()))
            .map(|(name, pod)| Pod { name, spec: pod.spec, labels: pod.labels })
            .collect();
        if pods.is_empty() {
            return Ok(0);
        }
        self.problem.pods = pods;
        let pending = solved(&self.problem)?;
        let unplaced = u32::try_from(pending.unplaced.len()).unwrap_or(u32::MAX);
        let placed: Vec<String> =
            pending.placements.iter().map(|p| self.problem.nodes[p.node.index()].name.clone()).collect();
        let known: BTreeSet<String> = self.problem.nodes.iter().map(|node| node.name.clone()).collect();
        let plan = Consolidation { pending, ..Consolidation::default() };
        (self.problem, self.fleet) = plan.carried_out(&self.problem, &self.fleet);
        for (node, held) in self.problem.nodes.iter().zip(&mut self.fleet.nodes) {
            held.fixed = 1000;
            held.moves.iter_mut().for_each(|(_, weight)| *weight = 1000);
            if placed.contains(&node.name) || !known.contains(&node.name) {
                self.since.insert(node.name.clone(), now);
            }
        }
        Ok(unplaced)
    }

    /// Nodes where pods have come or gone of late are left alone.
    fn rest(&mut self, now: u32, after: u32) {
        for (node, held) in self.problem.nodes.iter_mut().zip(&mut self.fleet.nodes) {
            let quiet = self.since.get(&node.name).map_or(now, |since| now - since);
            held.quiet = u64::from(quiet) * 60;
            (held.removable, held.receives) = (quiet >= after, quiet >= after);
            node.open = true;
        }
    }

    /// Takes a step. Returns how many pods move.
    pub(crate) fn carry_out(&mut self, step: &Named, now: u32, out: &mut Outcome) -> Result<u32> {
        let positions: BTreeMap<&str, usize> =
            self.problem.nodes.iter().enumerate().map(|(at, node)| (node.name.as_str(), at)).collect();
        let at = |name: &str| positions.get(name).copied().with_context(|| format!("node {name} is gone"));
        let removes =
            step.removes.iter().map(|name| Ok(NodeId::of(at(name)?))).collect::<Result<Vec<_>>>()?;
        let home: BTreeMap<&str, usize> = removes
            .iter()
            .flat_map(|node| {
                self.problem.nodes[node.index()].pods.iter().map(|pod| (pod.name.as_str(), node.index()))
            })
            .collect();
        let mut moves = Vec::new();
        for (pod, to) in &step.moves {
            let from = home.get(pod.as_str()).with_context(|| format!("pod {pod} is not there"))?;
            let to = match to {
                Ok(name) => Destination::Existing(NodeId::of(at(name)?)),
                Err(launch) => Destination::New(*launch),
            };
            moves.push(PodMove { pod: pod.clone(), from: NodeId::of(*from), to });
        }
        moves.sort_by(|a, b| a.pod.cmp(&b.pod));
        let launches = step.launches.clone();
        let step = Step { removes, launches, moves, saving: Price::ZERO, disruption: 0, payback: 0 };
        check(&self.problem, &step)?;
        let known: BTreeSet<String> = self.problem.nodes.iter().map(|node| node.name.clone()).collect();
        let mut touched: BTreeSet<String> = step
            .moves
            .iter()
            .filter_map(|pod| match pod.to {
                Destination::Existing(node) => Some(self.problem.nodes[node.index()].name.clone()),
                Destination::New(_) => None,
            })
            .collect();
        out.removed += u32::try_from(step.removes.len()).unwrap_or(u32::MAX);
        out.launched += u32::try_from(step.launches.len()).unwrap_or(u32::MAX);
        let moved = u32::try_from(step.moves.len()).unwrap_or(u32::MAX);
        let plan = Consolidation { steps: vec![step], ..Consolidation::default() };
        (self.problem, self.fleet) = plan.carried_out(&self.problem, &self.fleet);
        let new = self.problem.nodes.iter().map(|node| &node.name).filter(|name| !known.contains(*name));
        touched.extend(new.cloned());
        for (node, held) in self.problem.nodes.iter_mut().zip(&mut self.fleet.nodes) {
            // Later steps of the same plan may well bring it more.
            node.open = true;
            if touched.contains(&node.name) {
                self.since.insert(node.name.clone(), now);
                // It has to come to rest first.
                (held.removable, held.receives) = (false, false);
            }
        }
        Ok(moved)
    }

    fn cost(&self) -> Price {
        self.fleet.nodes.iter().filter_map(|held| held.price).sum()
    }

    /// No arrangement of the pods costs less.
    fn bound(&self) -> Result<Price> {
        let mut fleet = self.fleet.clone();
        fleet.nodes.iter_mut().for_each(|held| (held.removable, held.receives) = (true, true));
        let aims = Aims { max_steps: 0, ..Aims::default() };
        Ok(consolidated(&self.problem, &fleet, &aims)?.bound)
    }
}

/// A plan for what waits.
pub(crate) fn solved(problem: &Problem) -> Result<Solution> {
    let options = Options { effort: Effort::Quick, ..Options::default() };
    let never = AtomicBool::new(false);
    solve(problem, &options, &never, &mut |_, _, _| {})
        .map_err(|broken| anyhow::anyhow!("a plan breaks a rule: {broken:?}"))
}

/// Whether a step breaks no rule where its nodes are gone and their pods wait.
fn check(problem: &Problem, step: &Step) -> Result<()> {
    let gone: BTreeSet<usize> = step.removes.iter().map(|node| node.index()).collect();
    let kept: Vec<usize> = (0..problem.nodes.len()).filter(|at| !gone.contains(at)).collect();
    let mut after = problem.clone();
    after.nodes = kept.iter().map(|at| problem.nodes[*at].clone()).collect();
    after.pods.clear();
    let mut launches = step.launches.clone();
    let mut placed = BTreeMap::<usize, Vec<PodId>>::new();
    let left: BTreeMap<&str, &PodMove> = step.moves.iter().map(|pod| (pod.pod.as_str(), pod)).collect();
    for pod in gone.iter().flat_map(|at| &problem.nodes[*at].pods) {
        let to = left.get(pod.name.as_str()).with_context(|| format!("pod {} is lost", pod.name))?;
        let id = PodId::of(after.pods.len());
        after.pods.push(Pod { name: pod.name.clone(), spec: pod.spec, labels: pod.labels });
        match to.to {
            Destination::New(launch) => launches[launch].pods.push(id),
            Destination::Existing(node) => {
                let at = kept.binary_search(&node.index()).ok().context("a pod goes to a node that goes")?;
                placed.entry(at).or_default().push(id);
            }
        }
    }
    let solution = Solution {
        cost: launches.iter().map(|new| new.price - new.rebate + new.fixed_cost).sum(),
        new_nodes: launches,
        placements: placed.into_iter().map(|(at, pods)| Placement { node: NodeId::of(at), pods }).collect(),
        ..Solution::default()
    };
    let broken = verify(&after, &solution);
    ensure!(broken.is_empty(), "a step breaks a rule: {broken:?}");
    Ok(())
}
