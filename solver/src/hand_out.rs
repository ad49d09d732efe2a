//! From patterns of items to named pods on nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::alternatives::Alternatives;
use crate::explain::reasons;
use crate::model::Model;
use crate::pack::{Budget, Incumbent, Pattern};
use crate::problem::{NodeId, PodId, TopologyKey};
use crate::solution::{NewNode, NotHonoured, Placement, Solution, Unplaced};
use crate::topology::Dealt;

/// Turns patterns of items into named pods on nodes.
pub(crate) fn hand_out(
    model: &Model<'_>,
    dealt: &Dealt,
    placed: &[(usize, Pattern)],
    incumbent: &Incumbent,
    budget: &Budget,
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
    let mut on_node = BTreeMap::<&str, (usize, Vec<PodId>)>::new();
    for (node, pattern) in placed {
        let (_, pods) = on_node.entry(&problem.nodes[*node].name).or_insert_with(|| (*node, Vec::new()));
        for (item, count) in pattern {
            take(dealt.stock.items[*item as usize].class, *count, pods);
        }
    }
    for (node, mut pods) in on_node.into_values() {
        by_name(&mut pods);
        solution.placements.push(Placement { node: NodeId::of(node), pods });
    }
    let choices = Alternatives::of(model, &dealt.stock);
    for bins in &incumbent.bins {
        let kind = &model.kinds.kinds[bins.kind as usize];
        let alternatives = choices.of_bins(bins, budget);
        for _ in 0..bins.copies {
            let mut pods = Vec::new();
            for (item, count) in &bins.pattern {
                take(dealt.stock.items[*item as usize].class, *count, &mut pods);
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
                price: problem.types[kind.instance_type.index()].offerings[kind.offering as usize].price,
                fixed_cost: problem.pools[kind.pool.index()].node_cost,
                pods,
                daemons: model.kinds.shapes[kind.shape as usize].daemons.clone(),
                alternatives: Arc::clone(&alternatives),
            });
        }
    }
    let place = |node: &NewNode| {
        let of_type = &problem.types[node.instance_type.index()];
        let offering = &of_type.offerings[node.offering];
        (of_type.name.as_str(), offering.zone.as_str(), offering.capacity_type.as_str())
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
    solution.not_honoured = not_honoured(model);
}

/// Rules that no step of packing looks at yet.
fn not_honoured(model: &Model<'_>) -> Vec<NotHonoured> {
    let over_hosts = |class: &usize| model.spec(*class).affinity.iter().any(|t| t.key == TopologyKey::Host);
    let near: Vec<usize> = (0..model.classes.classes.len()).filter(over_hosts).collect();
    let pods = |class: &usize| &model.classes.classes[*class].pods;
    let name = |pod: &PodId| model.problem.pods[pod.index()].name.as_str();
    let example = near.iter().map(|c| pods(c)[0]).min_by(|a, b| name(a).cmp(name(b)));
    let count = near.iter().map(|c| pods(c).len()).sum();
    let rule = "required pod affinity over hosts";
    example.map(|example| NotHonoured { rule, pods: count, example }).into_iter().collect()
}
