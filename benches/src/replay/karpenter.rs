//! Karpenter's consolidation: emptiness, then several nodes for at most one, then one for at most one.
//!
//! compat: karpenter v1.14, `disruption/emptiness.go`, `multinodeconsolidation.go`, `singlenodeconsolidation.go` and
//! `consolidation.go`, as far as nodes on demand go:
//!
//! - Candidates stand by price over eviction cost, highest first.
//! - The empty ones go at once, as many as the budget allows.
//! - Of the others, the longest prefix that works, found by binary search, of at least two and at most a hundred and what the
//!   budget allows: all its pods have places on nodes that have come to rest and on at most one new one, which costs less than all
//!   that go. Where the new one could be of the type of one that goes, it is to cost less than that one.
//! - Otherwise the first node that works by itself.
//! - Commands follow each other until nothing is found, or the budget of the tick is used up.
//!
//! Places come from Stowage's own planner, and what is bought is the cheapest single node that holds what is left. Both are no
//! worse than what Karpenter's scheduler would find, so what is compared is the method.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use stowage_solver::{Destination, NodeId, PodMove, Price, Problem, Step};

use super::{Cluster, Named, Outcome, solved};

/// So many nodes are looked at together at most.
const TOGETHER: usize = 100;

/// Carries out what Karpenter would. Returns how many pods move.
pub(super) fn consolidate(cluster: &mut Cluster, budget: u32, now: u32, out: &mut Outcome) -> Result<u32> {
    let (mut left, mut moved) = (budget as usize, 0);
    while left > 0 {
        let candidates = candidates(cluster);
        let empty: Vec<usize> = candidates
            .iter()
            .copied()
            .filter(|at| cluster.fleet.nodes[*at].moves.is_empty())
            .take(left)
            .collect();
        let found = if empty.is_empty() {
            match several(cluster, &candidates, left)? {
                Some(step) => Some(step),
                None => alone(cluster, &candidates)?,
            }
        } else {
            simulate(cluster, &empty)?
        };
        let Some(step) = found else { break };
        left -= step.removes.len().min(left);
        let step = Named::of(&cluster.problem, &step);
        moved += cluster.carry_out(&step, now, out)?;
    }
    Ok(moved)
}

/// Nodes that may go, those first that cost most for what their pods cost to evict.
fn candidates(cluster: &Cluster) -> Vec<usize> {
    let mut all: Vec<(f64, usize)> = cluster
        .fleet
        .nodes
        .iter()
        .enumerate()
        .filter(|(_, held)| held.removable)
        .filter_map(|(at, held)| {
            let evictions: i64 = held.moves.iter().map(|(_, weight)| (*weight).max(0)).sum();
            Some((held.price?.dollars() / (1.0 + evictions as f64 / 1000.0), at))
        })
        .collect();
    let name = |at: usize| &cluster.problem.nodes[at].name;
    all.sort_by(|(a, at), (b, other)| b.total_cmp(a).then_with(|| name(*at).cmp(name(*other))));
    all.into_iter().map(|(_, at)| at).collect()
}

/// The longest prefix of the candidates that works.
fn several(cluster: &Cluster, candidates: &[usize], budget: usize) -> Result<Option<Step>> {
    let most = candidates.len().min(TOGETHER).min(budget);
    let (mut low, mut high, mut best) = (2, most, None);
    while low <= high {
        let middle = usize::midpoint(low, high);
        match simulate(cluster, &candidates[..middle])? {
            Some(step) => {
                best = Some(step);
                low = middle + 1;
            }
            None => high = middle - 1,
        }
    }
    Ok(best)
}

/// The first candidate that works by itself.
fn alone(cluster: &Cluster, candidates: &[usize]) -> Result<Option<Step>> {
    for at in candidates {
        if let Some(step) = simulate(cluster, &[*at])? {
            return Ok(Some(step));
        }
    }
    Ok(None)
}

/// What it takes to take nodes away; `None` where their pods need more than one new node, or where that saves nothing.
fn simulate(cluster: &Cluster, gone: &[usize]) -> Result<Option<Step>> {
    let (problem, fleet) = (&cluster.problem, &cluster.fleet);
    let gone: BTreeSet<usize> = gone.iter().copied().collect();
    let kept: Vec<usize> = (0..problem.nodes.len()).filter(|at| !gone.contains(at)).collect();
    let node = |at: &usize| {
        let mut node = problem.nodes[*at].clone();
        node.open &= fleet.nodes[*at].receives;
        node
    };
    let mut after = Problem { nodes: kept.iter().map(node).collect(), pods: Vec::new(), ..problem.clone() };
    let mut home = BTreeMap::new();
    for at in &gone {
        let node = &problem.nodes[*at];
        for pod in fleet.nodes[*at].moves.iter().filter_map(|(pod, _)| node.pods.get(*pod as usize)) {
            home.insert(pod.name.clone(), *at);
            let (name, spec, labels) = (pod.name.clone(), pod.spec, pod.labels);
            after.pods.push(stowage_solver::Pod { name, spec, labels });
        }
    }
    for pool in &mut after.pools {
        let most = pool.node_count + 1;
        pool.node_limit = Some(pool.node_limit.map_or(most, |limit| limit.min(most)));
    }
    let plan = if after.pods.is_empty() { stowage_solver::Solution::default() } else { solved(&after)? };
    if !plan.unplaced.is_empty() || plan.new_nodes.len() > 1 {
        return Ok(None);
    }
    let price: Price = gone.iter().filter_map(|at| fleet.nodes[*at].price).sum();
    let mut launches = plan.new_nodes.clone();
    if let Some(new) = launches.first() {
        let new_type = &after.types[new.instance_type.index()].name;
        let like = gone.iter().any(|at| fleet.nodes[*at].sold_as.instance_type == *new_type);
        if new.price - new.rebate + new.fixed_cost >= price || like {
            return Ok(None);
        }
    }
    let mut moves = Vec::new();
    let mut add = |pods: &[stowage_solver::PodId], to: Destination| {
        for pod in pods {
            let name = after.pods[pod.index()].name.clone();
            let from = NodeId::of(home[&name]);
            moves.push(PodMove { pod: name, from, to });
        }
    };
    for placement in &plan.placements {
        add(&placement.pods, Destination::Existing(NodeId::of(kept[placement.node.index()])));
    }
    for (at, new) in plan.new_nodes.iter().enumerate() {
        add(&new.pods, Destination::New(at));
    }
    for new in &mut launches {
        new.pods.clear();
    }
    moves.sort_by(|a, b| a.pod.cmp(&b.pod));
    let removes = gone.into_iter().map(NodeId::of).collect();
    Ok(Some(Step { removes, launches, moves, saving: Price::ZERO, disruption: 0, payback: 0 }))
}
