//! Every pending pod stands in exactly one list, every id points somewhere, and the bill adds up.

use super::{Violation, violation};
use crate::money::Price;
use crate::problem::{PodId, Problem};
use crate::solution::{Alternative, Solution};

pub(super) fn check(problem: &Problem, solution: &Solution, found: &mut Vec<Violation>) {
    let mut seen = vec![0u32; problem.pods.len()];
    let mut count = |pod: PodId| match seen.get_mut(pod.index()) {
        Some(times) => *times += 1,
        None => violation(found, format!("pod number {} does not exist", pod.0)),
    };
    solution.new_nodes.iter().flat_map(|n| &n.pods).for_each(|p| count(*p));
    solution.placements.iter().flat_map(|n| &n.pods).for_each(|p| count(*p));
    solution.routed.iter().for_each(|r| count(r.pod));
    solution.unplaced.iter().for_each(|u| count(u.pod));
    for (pod, times) in problem.pods.iter().zip(&seen).filter(|(_, times)| **times != 1) {
        violation(found, format!("pod {} is in {times} lists instead of one", pod.name));
    }
    for unplaced in solution.unplaced.iter().filter(|u| u.reasons.is_empty()) {
        violation(found, format!("pod number {} is unplaced without a reason", unplaced.pod.0));
    }
    let mut nodes = std::collections::BTreeSet::new();
    for placement in &solution.placements {
        if placement.node.index() >= problem.nodes.len() {
            violation(found, format!("existing node number {} does not exist", placement.node.0));
        } else if !nodes.insert(placement.node) {
            violation(
                found,
                format!("existing node {} is listed twice", problem.nodes[placement.node.index()].name),
            );
        }
    }
    for (at, node) in solution.new_nodes.iter().enumerate() {
        let of_type = problem.types.get(node.instance_type.index());
        let offering = of_type.and_then(|t| t.offerings.get(node.offering));
        match offering {
            None => violation(found, format!("new node {at}: no such offering")),
            Some(o) if o.price != node.price => {
                violation(
                    found,
                    format!("new node {at}: priced {}, its offering costs {}", node.price, o.price),
                );
            }
            Some(o) if o.price - o.due() != node.rebate => {
                let due = o.price - o.due();
                violation(
                    found,
                    format!("new node {at}: its rebate is stated as {}, it is {due}", node.rebate),
                );
            }
            Some(_) => {}
        }
        match problem.pools.get(node.pool.index()) {
            None => violation(found, format!("new node {at}: no such NodePool")),
            Some(pool) if pool.node_cost != node.fixed_cost => {
                let (stated, due) = (node.fixed_cost, pool.node_cost);
                violation(found, format!("new node {at}: its fixed cost is stated as {stated}, it is {due}"));
            }
            Some(_) => {}
        }
        let known = |a: &Alternative| {
            problem
                .types
                .get(a.instance_type.index())
                .is_some_and(|t| (a.offering as usize) < t.offerings.len())
        };
        if !node.alternatives.iter().all(known) {
            violation(found, format!("new node {at}: an alternative is no offering"));
        }
        if node.daemons.iter().any(|d| d.index() >= problem.daemons.len()) {
            violation(found, format!("new node {at}: no such DaemonSet"));
        }
    }
    let routes: Price = solution.routed.iter().map(|r| r.price).sum();
    let cost = solution.new_nodes.iter().map(|n| n.price - n.rebate + n.fixed_cost).sum::<Price>() + routes;
    if cost != solution.cost {
        violation(
            found,
            format!("the cost is stated as {}, nodes and routes add up to {cost}", solution.cost),
        );
    }
    if solution.bound > solution.cost {
        violation(found, format!("the lower bound {} is above the cost {}", solution.bound, solution.cost));
    }
    let instances = solution.new_nodes.iter().map(|n| n.price).sum::<Price>() + routes;
    if solution.instance_bound > instances {
        let bound = solution.instance_bound;
        violation(
            found,
            format!("the lower bound {bound} of the instances' bill is above that bill, {instances}"),
        );
    }
}
