//! What is for sale: few kinds while sets of nodes are tried, all that will do once a step is taken.
//!
//! Of a catalogue's thousands of offerings, most are beaten by others for all pods that there are. Without them a trial takes
//! a fraction of the time; the launches of a step get their alternatives from the whole catalogue again.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::fleet::{Fleet, SPOT};
use super::state::weighed;
use crate::alternatives::Alternatives;
use crate::arrangement::NewNodes;
use crate::model::Model;
use crate::money::Price;
use crate::pack::Budget;
use crate::pack::useful::{Asking, useful};
use crate::problem::{Node, Pod, Problem};
use crate::solution::{Alternative, NewNode};

/// The problem with only those offerings for sale that no other beats, for the pods of nodes that may go. Types keep their
/// ids, offerings do not.
pub(super) fn narrowed(problem: &Problem, fleet: &Fleet) -> Problem {
    // How wide the choice is matters, or what is taken from a quota: nothing is left out then.
    let wide = problem.pools.iter().any(|pool| !pool.min_values.is_empty());
    if wide || !problem.quotas.is_empty() {
        return problem.clone();
    }
    let mut pods: Vec<Pod> = Vec::new();
    for (node, held) in problem.nodes.iter().zip(&fleet.nodes).filter(|(_, held)| held.candidate().is_some())
    {
        let movers = held.moves.iter().filter_map(|(pod, _)| node.pods.get(*pod as usize));
        pods.extend(movers.map(|pod| Pod { name: pod.name.clone(), spec: pod.spec, labels: pod.labels }));
    }
    let all = Problem { pods, nodes: Vec::new(), ..problem.clone() };
    let model = Model::build(&all);
    let classes = 0..model.classes.classes.len();
    let sets: Vec<_> = classes.clone().map(|class| model.feasible(class)).collect();
    let asking: Vec<Asking<'_>> =
        classes.map(|class| Asking { need: &model.requests[class], kinds: &sets[class] }).collect();
    let mut kept = BTreeSet::new();
    for kind in useful(&model, &asking, &Budget::unlimited(&model)) {
        let kind = &model.kinds.kinds[kind.kind as usize];
        kept.insert((kind.instance_type.index(), kind.offering as usize));
    }
    // Domains of spread rules are what is for sale, too: one offering of each combination of labels stays.
    let mut seen = BTreeSet::new();
    for (at, of_type) in problem.types.iter().enumerate() {
        for (number, offering) in of_type.offerings.iter().enumerate() {
            if kept.contains(&(at, number)) {
                seen.insert(&offering.labels);
            }
        }
    }
    for (at, of_type) in problem.types.iter().enumerate() {
        for (number, offering) in of_type.offerings.iter().enumerate() {
            if seen.insert(&offering.labels) {
                kept.insert((at, number));
            }
        }
    }
    let mut narrow = problem.clone();
    for (at, of_type) in narrow.types.iter_mut().enumerate() {
        let mut number = 0;
        of_type.offerings.retain(|_| {
            number += 1;
            kept.contains(&(at, number - 1))
        });
    }
    narrow
}

/// The position in the whole catalogue of what a launch was planned as on a narrowed one.
pub(super) fn offering_of(whole: &Problem, narrow: &Problem, new: &NewNode) -> Option<usize> {
    let planned = narrow.types[new.instance_type.index()].offerings.get(new.offering)?;
    whole.types[new.instance_type.index()].offerings.iter().position(|offering| offering == planned)
}

/// The same with what launches take of limits and quotas.
pub(super) fn spent(problem: &Problem, launches: &[NewNode]) -> Problem {
    let mut after = problem.clone();
    for new in launches {
        let pool = &mut after.pools[new.pool.index()];
        pool.used = pool.used.plus(&problem.types[new.instance_type.index()].capacity);
        pool.node_count += 1;
        for (quota, units) in &new.offering(problem).draws {
            let quota = &mut after.quotas[quota.index()];
            quota.units = quota.units.saturating_sub(*units).max(0);
        }
    }
    after
}

/// What else a launch could be, as long as it costs no more than `most`, cheapest first; with how many types of its capacity
/// type that makes, its own among them. What it takes of limits and quotas is taken in `problem` already.
pub(super) fn alternatives(
    problem: &Problem,
    new: &NewNode,
    pods: Vec<Pod>,
    most: Price,
) -> (Arc<[Alternative]>, usize) {
    let pool = &problem.pools[new.pool.index()];
    let dear = |price: Price| price + pool.node_cost > most;
    let mut cheap = problem.types.clone();
    // Ids of types are their positions: what is too dear is emptied, not taken out.
    let mut numbers: Vec<Vec<usize>> = Vec::with_capacity(cheap.len());
    for (at, of_type) in cheap.iter_mut().enumerate() {
        let own = |number: usize| at == new.instance_type.index() && number == new.offering;
        let all = of_type.offerings.iter().enumerate();
        let kept: Vec<usize> =
            all.filter(|(number, o)| own(*number) || !dear(o.due())).map(|(number, _)| number).collect();
        let mut number = 0;
        of_type.offerings.retain(|_| {
            number += 1;
            kept.binary_search(&(number - 1)).is_ok()
        });
        numbers.push(kept);
    }
    // Rules of others may tie these pods to a zone: one of each stands for all.
    let mut seen = BTreeSet::new();
    let running =
        problem.nodes.iter().flat_map(|node| &node.pods).filter(|pod| seen.insert((pod.spec, pod.labels)));
    let witness = Node {
        name: "all that run".to_owned(),
        labels: crate::Labels::new(),
        taints: Vec::new(),
        allocatable: crate::Resources::default(),
        used: crate::Resources::default(),
        host_ports: Vec::new(),
        pods: running.cloned().collect(),
        pool: None,
        open: false,
    };
    let small = Problem {
        resources: problem.resources.clone(),
        zone_key: problem.zone_key.clone(),
        specs: problem.specs.clone(),
        label_sets: problem.label_sets.clone(),
        pods,
        nodes: vec![witness],
        pools: problem.pools.clone(),
        types: cheap,
        daemons: problem.daemons.clone(),
        quotas: problem.quotas.clone(),
    };
    let model = Model::build(&small);
    let own = model.kinds.kinds.iter().position(|kind| {
        let chosen = &model.kinds.variants[kind.variant as usize].chosen;
        kind.instance_type == new.instance_type
            && numbers[kind.instance_type.index()].get(kind.offering as usize) == Some(&new.offering)
            && problem.pools[kind.pool.index()].name == pool.name
            && chosen.iter().map(|(k, v)| (k.clone(), v.clone())).eq(new.chosen_labels.iter().cloned())
    });
    let Some(own) = own else { return (Arc::from([]), 1) };
    let held =
        (0..model.classes.classes.len() as u32).map(|class| (class, model.count(class as usize))).collect();
    let bins = NewNodes { kind: own as u32, pods: held, copies: 1 };
    let found = Alternatives::of(&model).of_nodes(&bins, &Budget::of(&model));
    let back = |a: &Alternative| {
        let offering = *numbers.get(a.instance_type.index())?.get(a.offering as usize)?;
        Some(Alternative { instance_type: a.instance_type, offering: u32::try_from(offering).ok()? })
    };
    let found: Vec<Alternative> = found.iter().filter_map(back).collect();
    let capacity = &new.offering(problem).capacity_type;
    let alike =
        found.iter().filter(|a| &a.offering(problem).capacity_type == capacity).map(|a| a.instance_type);
    let types: BTreeSet<_> = alike.chain([new.instance_type]).collect();
    let count = types.len();
    (found.into(), count)
}

/// As how many types a launch could be had for less than a price, with its capacity type.
pub(super) fn types_below(
    whole: &Problem,
    narrow: &Problem,
    new: &NewNode,
    pods: Vec<Pod>,
    price: Price,
) -> usize {
    let Some(offering) = offering_of(whole, narrow, new) else { return 0 };
    let new = NewNode { offering, ..new.clone() };
    alternatives(whole, &new, pods, price - Price::from_micros(1)).1
}

/// Keeps the cheapest of so many types, the planned one among them, all of them spot: with more to choose from, the launch might
/// take one that would be replaced again.
pub(super) fn cheapest(
    problem: &Problem,
    new: &NewNode,
    all: &[Alternative],
    types: usize,
) -> Arc<[Alternative]> {
    let mut seen = BTreeSet::from([new.instance_type]);
    let mut out = Vec::new();
    for alternative in all.iter().filter(|a| a.offering(problem).capacity_type == SPOT) {
        if seen.contains(&alternative.instance_type) || seen.len() < types {
            seen.insert(alternative.instance_type);
            out.push(*alternative);
        }
    }
    out.into()
}

/// What a launch may cost at most for a step to go on saving `least`, where its launches share what is to spare.
pub(super) fn most(new: &NewNode, saving: Price, least: Price, launches: usize) -> Price {
    let spare = (saving - least).max(Price::ZERO).micros() / i64::try_from(launches.max(1)).unwrap_or(1);
    weighed(new) + Price::from_micros(spare)
}
