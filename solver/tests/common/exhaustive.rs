//! The optimum of a tiny cluster, by trying everything; written to be read rather than to be fast.
//!
//! It knows no rule: it asks the verifier about each finished arrangement. So it also shows that the verifier and the packer
//! agree on what is allowed.

use std::sync::Arc;

use stowage_solver::{
    DaemonId, NewNode, NodeId, PodId, PoolId, Price, Problem, Reason, Routed, Solution, Status, TypeId,
    Unplaced, verify,
};

/// Something pods can be put on: an existing node, a new one of some kind, or a machine for one of them.
#[derive(Clone)]
enum Place {
    Existing(NodeId),
    New(NewNode),
    Route(Price),
}

impl Place {
    fn cost(&self) -> Price {
        match self {
            Self::Existing(_) => Price::ZERO,
            Self::New(node) => node.price - node.rebate + node.fixed_cost,
            Self::Route(price) => *price,
        }
    }
}

/// The cheapest cost of holding `pods`, or `None` if nothing holds them all.
pub fn cheapest(problem: &Problem, pods: &[PodId]) -> Option<Price> {
    let kinds = kinds(problem);
    let mut places: Vec<(Place, Vec<PodId>)> =
        (0..problem.nodes.len()).map(|at| (Place::Existing(NodeId::of(at)), Vec::new())).collect();
    let mut best = None;
    place_next(problem, &kinds, pods, &mut places, &mut best);
    best
}

fn place_next(
    problem: &Problem,
    kinds: &[NewNode],
    pods: &[PodId],
    places: &mut Vec<(Place, Vec<PodId>)>,
    best: &mut Option<Price>,
) {
    let cost: Price = places.iter().map(|(p, _)| p.cost()).sum();
    if best.is_some_and(|best| cost >= best) {
        return;
    }
    let Some((pod, rest)) = pods.split_first() else {
        if verify(problem, &arrangement(problem, places, cost)).is_empty() {
            *best = Some(cost);
        }
        return;
    };
    if let Some(route) = problem.specs[problem.pods[pod.index()].spec.index()].route {
        places.push((Place::Route(route.price), vec![*pod]));
        place_next(problem, kinds, rest, places, best);
        places.pop();
    }
    for at in 0..places.len() {
        if matches!(places[at].0, Place::Route(_)) {
            continue;
        }
        places[at].1.push(*pod);
        place_next(problem, kinds, rest, places, best);
        places[at].1.pop();
    }
    for kind in kinds {
        places.push((Place::New(kind.clone()), vec![*pod]));
        place_next(problem, kinds, rest, places, best);
        places.pop();
    }
}

/// The places as a solution; pods that nobody was asked to hold are left out with a made-up reason.
fn arrangement(problem: &Problem, places: &[(Place, Vec<PodId>)], cost: Price) -> Solution {
    let mut solution = Solution { cost, status: Status::BudgetSpent, ..Solution::default() };
    for (place, pods) in places {
        match place {
            Place::New(node) => solution.new_nodes.push(NewNode { pods: pods.clone(), ..node.clone() }),
            Place::Existing(node) if !pods.is_empty() => {
                solution.placements.push(stowage_solver::Placement { node: *node, pods: pods.clone() });
            }
            Place::Route(price) => {
                solution.routed.push(Routed { pod: pods[0], price: *price, node: None });
            }
            Place::Existing(_) => {}
        }
    }
    let held: Vec<PodId> = places.iter().flat_map(|(_, pods)| pods.clone()).collect();
    for pod in (0..problem.pods.len()).map(PodId::of).filter(|p| !held.contains(p)) {
        solution.unplaced.push(Unplaced { pod, reasons: vec![Reason::NoPools] });
    }
    solution
}

/// Every new node there could be: pool, type, offering and values of its open labels.
fn kinds(problem: &Problem) -> Vec<NewNode> {
    let mut out = Vec::new();
    for (pool_at, pool) in problem.pools.iter().enumerate() {
        for (type_at, of_type) in problem.types.iter().enumerate() {
            for (offering, offered) in of_type.offerings.iter().enumerate() {
                let teams: Vec<Vec<(String, String)>> = if pool.open_labels.is_empty() {
                    vec![Vec::new()]
                } else {
                    ["red", "blue"].iter().map(|v| vec![("team".to_owned(), (*v).to_owned())]).collect()
                };
                for chosen_labels in teams {
                    // The random clusters have at most one DaemonSet; it tolerates nothing and selects everything.
                    let daemons = if pool.taints.is_empty() { problem.daemons.len() } else { 0 };
                    out.push(NewNode {
                        pool: PoolId::of(pool_at),
                        instance_type: TypeId::of(type_at),
                        offering,
                        chosen_labels,
                        price: offered.price,
                        rebate: offered.price - offered.due(),
                        fixed_cost: pool.node_cost,
                        pods: Vec::new(),
                        daemons: (0..daemons).map(DaemonId::of).collect(),
                        alternatives: Arc::default(),
                        relaxed: Vec::new(),
                    });
                }
            }
        }
    }
    out
}
