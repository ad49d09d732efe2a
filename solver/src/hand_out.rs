//! From numbers of pods of each class to named pods on nodes.

use std::sync::Arc;

use crate::alternatives::{Alternatives, offering};
use crate::arrangement::{Arrangement, Pods};
use crate::explain::reasons;
use crate::kind::drawn;
use crate::model::Model;
use crate::money::Price;
use crate::pack::Budget;
use crate::problem::{NodeId, PodId};
use crate::solution::{Alternative, NewNode, Placement, Routed, Solution, Unplaced};
use crate::topology::Dealt;

/// Names the pods of an arrangement, and its nodes; and where somebody is `choosing`, what else they could be launched as.
pub(crate) fn hand_out(
    model: &Model<'_>,
    dealt: &Dealt,
    arrangement: &Arrangement,
    budget: &Budget,
    choosing: bool,
    solution: &mut Solution,
) {
    let problem = model.problem;
    let mut next = vec![0usize; model.classes.classes.len()];
    let mut take = |class: u32, count: u32, into: &mut Vec<PodId>| {
        let at = &mut next[class as usize];
        into.extend_from_slice(&model.classes.classes[class as usize].pods[*at..*at + count as usize]);
        *at += count as usize;
    };
    let by_name = |pods: &mut Vec<PodId>| {
        pods.sort_unstable_by(|a, b| problem.pods[a.index()].name.cmp(&problem.pods[b.index()].name));
    };
    let mut nodes: Vec<(&usize, &Pods)> = arrangement.on_nodes.iter().collect();
    nodes.sort_unstable_by_key(|(node, _)| problem.nodes[**node].name.as_str());
    for (node, of_node) in nodes {
        let mut pods = Vec::new();
        for (class, count) in of_node {
            take(*class, *count, &mut pods);
        }
        by_name(&mut pods);
        solution.placements.push(Placement { node: NodeId::of(*node), pods });
    }
    let varied = problem.pools.iter().any(|pool| !pool.min_values.is_empty());
    let choices = (choosing || varied).then(|| Alternatives::of(model));
    for new in &arrangement.new {
        let kind = &model.kinds.kinds[new.kind as usize];
        let (mut alternatives, mut relaxed) = (Arc::default(), Vec::new());
        if let Some(choices) = &choices {
            alternatives = choices.of_nodes(new, budget);
            relaxed = model.lacking(new.kind, &choices.holding(&new.pods, new.kind, kind.variant));
        }
        for _ in 0..new.copies {
            let mut pods = Vec::new();
            for (class, count) in &new.pods {
                take(*class, *count, &mut pods);
            }
            by_name(&mut pods);
            solution.new_nodes.push(NewNode {
                pool: kind.pool,
                instance_type: kind.instance_type,
                offering: kind.offering as usize,
                chosen_labels: model.kinds.variants[kind.variant as usize]
                    .chosen
                    .clone()
                    .into_iter()
                    .collect(),
                price: offering(model, kind).price,
                rebate: offering(model, kind).price - offering(model, kind).due(),
                fixed_cost: problem.pools[kind.pool.index()].node_cost,
                pods,
                daemons: model.kinds.shapes[kind.shape as usize].daemons.clone(),
                alternatives: Arc::clone(&alternatives),
                relaxed: relaxed.clone(),
            });
        }
    }
    for (class, count) in &arrangement.routed {
        let mut pods = Vec::new();
        take(*class, *count, &mut pods);
        let price = Price::from_micros(model.routes[*class as usize].unwrap_or(0));
        let node = cheapest_alone(model, *class as usize);
        solution.routed.extend(pods.into_iter().map(|pod| Routed { pod, price, node }));
    }
    solution.routed.sort_by(|a, b| problem.pods[a.pod.index()].name.cmp(&problem.pods[b.pod.index()].name));
    let place = |node: &NewNode| {
        let of_type = &problem.types[node.instance_type.index()];
        let offering = &of_type.offerings[node.offering];
        let place = (of_type.name.as_str(), offering.zone.as_str(), offering.capacity_type.as_str());
        (place, node.rebate, drawn(problem, offering))
    };
    let pool_name = |node: &NewNode| problem.pools[node.pool.index()].name.as_str();
    let first = |node: &NewNode| node.pods.first().map_or("", |p| problem.pods[p.index()].name.as_str());
    solution.new_nodes.sort_by(|a, b| {
        let pools = pool_name(a).cmp(pool_name(b));
        pools
            .then(b.price.cmp(&a.price))
            .then_with(|| place(a).cmp(&place(b)))
            .then_with(|| first(a).cmp(first(b)))
    });
    let mut unplaced = Vec::new();
    for (class, next) in next.into_iter().enumerate() {
        let pods = &model.classes.classes[class].pods[next..];
        if !pods.is_empty() {
            let why = reasons(model, class, &dealt.stuck, budget);
            unplaced.extend(pods.iter().map(|pod| Unplaced { pod: *pod, reasons: why.clone() }));
        }
    }
    unplaced.sort_by(|a, b| problem.pods[a.pod.index()].name.cmp(&problem.pods[b.pod.index()].name));
    solution.unplaced = unplaced;
}

/// The cheapest node that would hold one pod of a class alone, and what it costs as weighed.
fn cheapest_alone(model: &Model<'_>, class: usize) -> Option<(Alternative, Price)> {
    let fits = model.feasible(class);
    let kind = fits.ones().map(|at| &model.kinds.kinds[at]).min_by_key(|kind| kind.price)?;
    let node = Alternative { instance_type: kind.instance_type, offering: kind.offering };
    Some((node, Price::from_micros(kind.price)))
}
