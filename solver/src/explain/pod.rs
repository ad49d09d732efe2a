//! Why one pod is where it is: everything that could be bought, and every node that exists, by what is in its way.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use super::ExplainOptions;
use super::cost::remedies;
use super::data::{Cheapest, NodeTally, Place, PodStory, PoolStory, Refusal, Unfit};
use super::unplaced::{constraint_words, taint_words};
use crate::kind::untolerated;
use crate::model::{Model, holds};
use crate::money::Price;
use crate::problem::{NodeId, PodId, PodSpec, PoolId, Problem};
use crate::solution::Solution;

/// The story of a pod; `None` for one that is not in the plan.
pub(super) fn story(
    problem: &Problem,
    solution: &Solution,
    pod: PodId,
    options: &ExplainOptions,
    cancel: &AtomicBool,
) -> Option<PodStory> {
    let place = place(problem, solution, pod)?;
    let model = Model::build(problem);
    let class = model.classes.classes.iter().position(|c| c.pods.contains(&pod))?;
    let remedies = match &place {
        Place::Nowhere(_) => remedies(problem, pod, options, cancel),
        _ => Vec::new(),
    };
    Some(PodStory {
        pod,
        pools: pools(&model, class),
        nodes: nodes(&model, class, solution),
        cheapest: cheapest(&model, class),
        place,
        remedies,
    })
}

fn place(problem: &Problem, solution: &Solution, pod: PodId) -> Option<Place> {
    if let Some(at) = solution.new_nodes.iter().position(|n| n.pods.contains(&pod)) {
        let node = &solution.new_nodes[at];
        let of_type = &problem.types[node.instance_type.index()];
        let requests = &problem.specs[problem.pods[pod.index()].spec.index()].requests;
        let shares = requests
            .iter()
            .map(|(id, amount)| (amount as f64 / of_type.allocatable.get(id).max(1) as f64, Some(id)));
        let (share, of) = shares.fold((0.0, None), |best, next| if next.0 > best.0 { next } else { best });
        return Some(Place::New { node: at as u32, share, of });
    }
    if let Some(placement) = solution.placements.iter().find(|p| p.pods.contains(&pod)) {
        return Some(Place::Existing(placement.node));
    }
    if let Some(routed) = solution.routed.iter().find(|routed| routed.pod == pod) {
        return Some(Place::Routed(routed.price));
    }
    let unplaced = solution.unplaced.iter().find(|u| u.pod == pod)?;
    Some(Place::Nowhere(unplaced.reasons.clone()))
}

fn pools(model: &Model<'_>, class: usize) -> Vec<PoolStory> {
    let problem = model.problem;
    let spec = model.spec(class);
    let mut order: Vec<usize> = (0..problem.pools.len()).collect();
    order.sort_by(|a, b| {
        let (a, b) = (&problem.pools[*a], &problem.pools[*b]);
        b.weight.cmp(&a.weight).then_with(|| a.name.cmp(&b.name))
    });
    let story = |pool: usize| {
        let pool = PoolId::of(pool);
        let taint = untolerated(&problem.pools[pool.index()].taints, &spec.tolerations);
        let (mut kinds, mut fit) = (0, 0);
        let mut refused = BTreeMap::<Unfit, u32>::new();
        for at in model.kinds.of_pool(pool) {
            let kind = &model.kinds.kinds[at];
            kinds += 1;
            let room = &model.kinds.shapes[kind.shape as usize].room;
            let why = if let Some(taint) = taint {
                Some(Unfit::Taint(taint_words(taint)))
            } else if let Some(constraint) = spec.node.iter().find(|c| !model.kinds.meets(kind, c)) {
                Some(Unfit::Constraint {
                    source: constraint.source.clone(),
                    wanted: constraint_words(constraint),
                })
            } else if let Some(short) = short(model, class, room) {
                Some(short)
            } else if model.gates[model.gate_of[class] as usize].contains(at) {
                None
            } else {
                let narrow = model.too_narrow(class, &[at]);
                Some(narrow.map_or(Unfit::HostPort, |narrow| Unfit::MinValues(narrow.key)))
            };
            match why {
                Some(why) => *refused.entry(why).or_insert(0) += 1,
                None => fit += 1,
            }
        }
        let mut refused: Vec<Refusal> =
            refused.into_iter().map(|(why, count)| Refusal { why, count }).collect();
        refused.sort_by_key(|r| std::cmp::Reverse(r.count));
        PoolStory { pool, kinds, fit, refused }
    };
    order.into_iter().map(story).collect()
}

/// What of a room is too little for a pod: the resource of which the least part is there.
fn short(model: &Model<'_>, class: usize, room: &[i64]) -> Option<Unfit> {
    let need = model.requests[class].iter().zip(room).enumerate();
    let lacking = need.filter(|(_, (need, have))| have < need && **need > 0);
    let part = |need: i64, have: i64| have.max(0) as f64 / need as f64;
    let worst =
        lacking.min_by(|a, b| part(*a.1.0, *a.1.1).total_cmp(&part(*b.1.0, *b.1.1)).then(a.0.cmp(&b.0)));
    worst.map(|(dim, _)| Unfit::Room(model.kinds.dims[dim]))
}

fn nodes(model: &Model<'_>, class: usize, solution: &Solution) -> Vec<NodeTally> {
    let spec = model.spec(class);
    let mut tallies = BTreeMap::<Unfit, (u32, NodeId)>::new();
    let own = |at: usize| {
        solution.placements.iter().any(|p| {
            p.node.index() == at && p.pods.iter().any(|pod| model.classes.classes[class].pods.contains(pod))
        })
    };
    for at in model.node_order.iter().filter(|at| !own(**at)) {
        let why = unfit(model, class, spec, *at);
        let Some(why) = why else { continue };
        let tally = tallies.entry(why).or_insert_with(|| (0, NodeId::of(*at)));
        tally.0 += 1;
    }
    let mut tallies: Vec<NodeTally> =
        tallies.into_iter().map(|(why, (nodes, example))| NodeTally { why, nodes, example }).collect();
    tallies.sort_by_key(|t| std::cmp::Reverse(t.nodes));
    tallies
}

/// What keeps a pod off an existing node. What is in nobody's way as the node stands is other pods': those that run there
/// by a rule, or those that the plan has put there.
fn unfit(model: &Model<'_>, class: usize, spec: &PodSpec, at: usize) -> Option<Unfit> {
    let node = &model.problem.nodes[at];
    if !node.open {
        return Some(Unfit::Closed);
    }
    if let Some(taint) = untolerated(&node.taints, &spec.tolerations) {
        return Some(Unfit::Taint(taint_words(taint)));
    }
    if let Some(constraint) = spec.node.iter().find(|c| !holds(c, &node.labels)) {
        return Some(Unfit::Constraint {
            source: constraint.source.clone(),
            wanted: constraint_words(constraint),
        });
    }
    if spec.host_ports.iter().any(|p| node.host_ports.iter().any(|taken| p.clashes(taken))) {
        return Some(Unfit::HostPort);
    }
    short(model, class, &model.node_room[at]).or(Some(Unfit::Pods))
}

fn cheapest(model: &Model<'_>, class: usize) -> Option<Cheapest> {
    let fits = model.feasible(class);
    let kinds = fits.ones().map(|at| &model.kinds.kinds[at]);
    // Kinds stand by pool, type and price already: the first of the cheapest is the one.
    let kind = kinds.min_by_key(|kind| kind.price)?;
    Some(Cheapest {
        pool: kind.pool,
        instance_type: kind.instance_type,
        offering: kind.offering,
        price: Price::from_micros(kind.price),
    })
}
