//! What is for sale: few kinds while sets of nodes are tried, all that will do once a step is taken.
//!
//! Of a catalogue's thousands of offerings, most are beaten by others for all pods that there are. Without them a trial takes
//! a fraction of the time; the launches of a step get their alternatives from the whole catalogue again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use fixedbitset::FixedBitSet;

use super::fleet::{Fleet, SPOT};
use super::state::weighed;
use crate::alternatives::{Alternatives, column};
use crate::arrangement::{NewNodes, Pods};
use crate::model::Model;
use crate::money::Price;
use crate::pack::useful::{Asking, useful};
use crate::pack::{Budget, add_to};
use crate::problem::{InstanceType, Node, Pod, PoolId, Problem, TypeId};
use crate::solution::{Alternative, NewNode, Relaxed};

/// The problem in which the pods of all nodes that may go wait, with everything that is for sale.
pub(super) fn everything(problem: &Problem, fleet: &Fleet) -> Problem {
    let mut pods: Vec<Pod> = Vec::new();
    for (node, held) in problem.nodes.iter().zip(&fleet.nodes).filter(|(_, held)| held.candidate().is_some())
    {
        let movers = held.moves.iter().filter_map(|(pod, _)| node.pods.get(*pod as usize));
        pods.extend(movers.map(|pod| Pod { name: pod.name.clone(), spec: pod.spec, labels: pod.labels }));
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
    Problem {
        resources: problem.resources.clone(),
        zone_key: problem.zone_key.clone(),
        specs: problem.specs.clone(),
        label_sets: problem.label_sets.clone(),
        pods,
        nodes: vec![witness],
        pools: problem.pools.clone(),
        types: problem.types.clone(),
        daemons: problem.daemons.clone(),
        quotas: problem.quotas.clone(),
    }
}

/// The problem with only those offerings for sale that no other beats, for the pods of nodes that may go. Neither types nor
/// offerings keep their ids: see [`Sale::launch`].
pub(super) fn narrowed(problem: &Problem, sale: &Sale<'_>) -> Problem {
    // How wide the choice is matters, or what is taken from a quota: nothing is left out then.
    let wide = problem.pools.iter().any(|pool| !pool.min_values.is_empty());
    if wide || !problem.quotas.is_empty() {
        return problem.clone();
    }
    let model = sale.model;
    let mut sets = Vec::<(usize, FixedBitSet)>::new();
    let mut known = BTreeSet::new();
    for class in 0..model.classes.classes.len() {
        let gate = &model.gates[model.gate_of[class] as usize];
        sets.push((class, gate.clone()));
        // Pods that a rule ties to a zone, or to another domain, buy what is best there.
        for label in sale.choices.tied(&BTreeSet::from([class])) {
            if known.insert((model.gate_of[class], &model.requests[class], label)) {
                let column = column(model, label);
                let values: BTreeSet<u32> = column.iter().copied().collect();
                for value in values {
                    let mut there = gate.clone();
                    column
                        .iter()
                        .enumerate()
                        .filter(|(_, own)| **own != value)
                        .for_each(|(at, _)| there.set(at, false));
                    sets.push((class, there));
                }
            }
        }
    }
    let asking: Vec<Asking<'_>> =
        sets.iter().map(|(class, kinds)| Asking { need: &model.requests[*class], kinds }).collect();
    let mut kept = BTreeSet::new();
    for kind in useful(model, &asking, &Budget::unlimited(model)) {
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
    let types = problem.types.iter().enumerate().filter_map(|(at, of_type)| {
        let own = of_type.offerings.iter().enumerate();
        let offerings: Vec<_> =
            own.filter(|(number, _)| kept.contains(&(at, *number))).map(|(_, o)| o.clone()).collect();
        (!offerings.is_empty()).then(|| InstanceType {
            name: of_type.name.clone(),
            labels: of_type.labels.clone(),
            capacity: of_type.capacity.clone(),
            allocatable: of_type.allocatable.clone(),
            offerings,
        })
    });
    Problem {
        resources: problem.resources.clone(),
        zone_key: problem.zone_key.clone(),
        specs: problem.specs.clone(),
        label_sets: problem.label_sets.clone(),
        pods: Vec::new(),
        nodes: problem.nodes.clone(),
        pools: problem.pools.clone(),
        types: types.collect(),
        daemons: problem.daemons.clone(),
        quotas: problem.quotas.clone(),
    }
}

/// Everything that is for sale, for the pods of all nodes that may go.
pub(super) struct Sale<'m> {
    model: &'m Model<'m>,
    choices: Alternatives<'m>,
    /// By name of pod: its class.
    classes: HashMap<&'m str, u32>,
    /// By pool, type and offering: its kinds.
    kinds: HashMap<(PoolId, TypeId, u32), Vec<u32>>,
    /// By name.
    types: HashMap<&'m str, TypeId>,
}

impl<'m> Sale<'m> {
    /// Of the model of [`everything`].
    pub(super) fn of(model: &'m Model<'m>) -> Self {
        let mut kinds = HashMap::<_, Vec<u32>>::new();
        for (at, kind) in model.kinds.kinds.iter().enumerate() {
            kinds.entry((kind.pool, kind.instance_type, kind.offering)).or_default().push(at as u32);
        }
        let mut classes = HashMap::new();
        for (at, class) in model.classes.classes.iter().enumerate() {
            classes.extend(
                class.pods.iter().map(|pod| (model.problem.pods[pod.index()].name.as_str(), at as u32)),
            );
        }
        let types = model.problem.types.iter().enumerate();
        let types = types.map(|(at, of_type)| (of_type.name.as_str(), TypeId::of(at))).collect();
        Self { model, choices: Alternatives::of(model), classes, kinds, types }
    }

    /// A launch that was planned on a narrowed catalogue, as the whole one has it.
    pub(super) fn launch(&self, narrow: &Problem, new: &NewNode) -> Option<NewNode> {
        let planned = &narrow.types[new.instance_type.index()];
        let instance_type = *self.types.get(planned.name.as_str())?;
        let all = &self.model.problem.types[instance_type.index()].offerings;
        let wanted = planned.offerings.get(new.offering)?;
        let offering = all.iter().position(|offering| offering == wanted)?;
        Some(NewNode { instance_type, offering, ..new.clone() })
    }

    /// What limits and quotas leave at some moment.
    pub(super) fn budget(&self, now: &Problem) -> Budget {
        Budget::at(self.model, now)
    }

    /// Takes a launch out of a budget.
    pub(super) fn take(&self, new: &NewNode, budget: &mut Budget) {
        if let Some(kind) = self.kind(new) {
            budget.take(self.model, &self.model.kinds.kinds[kind as usize], 1);
        }
    }

    fn kind(&self, new: &NewNode) -> Option<u32> {
        let of = self.kinds.get(&(new.pool, new.instance_type, u32::try_from(new.offering).ok()?))?;
        let chosen = |kind: &&u32| {
            let kind = &self.model.kinds.kinds[**kind as usize];
            let chosen = &self.model.kinds.variants[kind.variant as usize].chosen;
            chosen.iter().map(|(k, v)| (k.clone(), v.clone())).eq(new.chosen_labels.iter().cloned())
        };
        of.iter().find(chosen).copied()
    }

    /// What else a launch could be, as long as it costs no more than `most`, cheapest first. What it takes itself is out of the
    /// budget already.
    pub(super) fn alternatives<'n>(
        &self,
        new: &NewNode,
        pods: impl Iterator<Item = &'n str>,
        most: Price,
        budget: &Budget,
    ) -> Arc<[Alternative]> {
        let mut held = Pods::new();
        for pod in pods {
            let Some(class) = self.classes.get(pod) else { return Arc::from([]) };
            add_to(&mut held, *class, 1);
        }
        let Some(kind) = self.kind(new) else { return Arc::from([]) };
        let bins = NewNodes { kind, pods: held, copies: 1 };
        self.choices.of_nodes_up_to(&bins, budget, most.micros())
    }

    /// What a launch and what else it could be lack of the `minValues` that its `NodePool` insists on.
    pub(super) fn lacking(&self, problem: &Problem, new: &NewNode, all: &[Alternative]) -> Option<Relaxed> {
        let demands = &problem.pools[new.pool.index()].min_values;
        if demands.iter().all(|demand| demand.relax) {
            return None;
        }
        let own = self.kind(new)?;
        let of = |other: &Alternative| {
            self.kinds.get(&(new.pool, other.instance_type, other.offering))?.first().copied()
        };
        let kinds: Vec<u32> = all.iter().filter_map(of).chain([own]).collect();
        let insists = |key: &str| demands.iter().any(|demand| demand.key == key && !demand.relax);
        self.model.lacking(own, &kinds).into_iter().find(|lacking| insists(&lacking.key))
    }
}

/// How many types of its capacity type a launch and what else it could be make, its own among them.
pub(super) fn types(problem: &Problem, new: &NewNode, all: &[Alternative]) -> usize {
    let capacity = &new.offering(problem).capacity_type;
    let alike = all.iter().filter(|of| &of.offering(problem).capacity_type == capacity);
    let types: BTreeSet<_> = alike.map(|of| of.instance_type).chain([new.instance_type]).collect();
    types.len()
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
