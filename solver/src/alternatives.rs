//! What else a node could be launched as: other types, zones and capacity types that hold the same pods.
//!
//! A launch that meets a capacity error takes the next alternative and keeps the plan. So each alone, put in the place of
//! the planned node with all else as planned, must break no rule:
//!
//! - it is of the same `NodePool` with the same chosen labels, so taints and the pool's weight stay as they are;
//! - it admits every pod (labels, host ports) and has room for all of them beside its own `DaemonSets`;
//! - pods that a rule over a node label concerns (they carry it, or it selects them) find the same value of that label:
//!   a zone-spread pod stays in its zone, one that is spread over capacity types keeps its capacity type. The same holds
//!   for the zone of users of a shared volume claim;
//! - the `NodePool`'s limits still hold.
//!
//! Cheapest first, and at most [`TYPES`] types for each capacity type.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use fixedbitset::FixedBitSet;

use crate::arrangement::{NewNodes, Pods};
use crate::class::{Class, Classes, SelectorId};
use crate::kind::Kind;
use crate::model::Model;
use crate::pack::Budget;
use crate::problem::{Offering, PodSelector, PodSpec, Problem, TopologyKey, TypeId};
use crate::solution::Alternative;

/// At most this many types for each capacity type: what Karpenter passes to one `CreateFleet` call.
const TYPES: usize = 60;

/// Finds what holds the pods of a bin.
pub(crate) struct Alternatives<'m> {
    model: &'m Model<'m>,
    /// By variant: its kinds and their shapes, cheapest first, then by the name of the type.
    shelves: Vec<Vec<(u32, u32)>>,
    /// By kind: the number of its type, zone and capacity type together, and that of its capacity type.
    places: Vec<(u32, u32)>,
    ties: Ties<'m>,
    /// By label: for each kind the number of its value, zero for none.
    columns: BTreeMap<&'m str, Vec<u32>>,
}

impl<'m> Alternatives<'m> {
    pub(crate) fn of(model: &'m Model<'m>) -> Self {
        let mut shelves = vec![Vec::new(); model.kinds.variants.len()];
        for (at, kind) in model.kinds.kinds.iter().enumerate() {
            shelves[kind.variant as usize].push((at as u32, kind.shape));
        }
        for shelf in &mut shelves {
            // Kinds stand by the names of their types already.
            shelf.sort_by_key(|(at, _)| model.kinds.kinds[*at as usize].price);
        }
        let (mut places, mut capacities) = (HashMap::new(), HashMap::new());
        let number = |kind: &Kind| {
            let offering = offering(model, kind);
            let capacity = offering.capacity_type.as_str();
            let (next, next_capacity) = (places.len() as u32, capacities.len() as u32);
            let place = *places.entry((kind.instance_type, offering.zone.as_str(), capacity)).or_insert(next);
            (place, *capacities.entry(capacity).or_insert(next_capacity))
        };
        let places = model.kinds.kinds.iter().map(number).collect();
        let ties = Ties::of(model.problem, &model.classes);
        let columns = ties.labels().into_iter().map(|label| (label, column(model, label))).collect();
        Self { model, shelves, places, ties, columns }
    }

    /// The kinds of a variant that could hold `pods` where `like` holds it now, itself included; cheapest first.
    /// Limits are not looked at.
    pub(crate) fn holding(&self, pods: &Pods, like: u32, variant: u32) -> Vec<u32> {
        self.holding_up_to(pods, like, variant, i64::MAX)
    }

    /// The same, but of those that cost more than this only the kind itself.
    fn holding_up_to(&self, pods: &Pods, like: u32, variant: u32, most: i64) -> Vec<u32> {
        let model = self.model;
        let classes: BTreeSet<usize> = pods.iter().map(|(class, _)| *class as usize).collect();
        let gates: BTreeSet<u32> = classes.iter().map(|class| model.gate_of[*class]).collect();
        let gates: Vec<&FixedBitSet> = gates.into_iter().map(|gate| &model.gates[gate as usize]).collect();
        let tied: Vec<&Vec<u32>> =
            self.tied(&classes).into_iter().filter_map(|label| self.columns.get(label)).collect();
        let load = model.load(pods.iter().copied());
        let fits = |shape: &crate::kind::Shape| load.iter().zip(&shape.room).all(|(need, have)| need <= have);
        let roomy: Vec<bool> = model.kinds.shapes.iter().map(fits).collect();
        let shelf = &self.shelves[variant as usize];
        let holds = |(at, shape): &&(u32, u32)| {
            roomy[*shape as usize]
                && gates.iter().all(|gate| gate.contains(*at as usize))
                && tied.iter().all(|column| column[*at as usize] == column[like as usize])
        };
        let dearer = shelf.partition_point(|(at, _)| model.kinds.kinds[*at as usize].price <= most);
        let (cheap, dear) = shelf.split_at(dearer);
        let all = cheap.iter().chain(dear.iter().filter(|(at, _)| *at == like));
        all.filter(holds).map(|(at, _)| *at).collect()
    }

    /// What else a node could be launched as, with `budget` left of the limits.
    pub(crate) fn of_nodes(&self, new: &NewNodes, budget: &Budget) -> Arc<[Alternative]> {
        self.of_nodes_up_to(new, budget, i64::MAX)
    }

    /// The same for at most so many micro-dollars an hour, as weighed.
    pub(crate) fn of_nodes_up_to(&self, new: &NewNodes, budget: &Budget, most: i64) -> Arc<[Alternative]> {
        let model = self.model;
        let own = &model.kinds.kinds[new.kind as usize];
        let place = |at: u32| self.places[at as usize];
        let (own_place, own_capacity) = place(new.kind);
        let mut seen = HashSet::from([own_place]);
        let mut types = HashMap::<u32, HashSet<TypeId>>::new();
        types.entry(own_capacity).or_default().insert(own.instance_type);
        let mut found = Vec::new();
        let mut holding = self.holding_up_to(&new.pods, new.kind, own.variant, most);
        holding.retain(|at| budget.allows_instead(model, own, &model.kinds.kinds[*at as usize]));
        // Types that `minValues` needs keep their places among so many.
        for at in model.varied_by(new.kind, &holding) {
            types.entry(place(at).1).or_default().insert(model.kinds.kinds[at as usize].instance_type);
        }
        for at in holding {
            let kind = &model.kinds.kinds[at as usize];
            let (place, capacity) = place(at);
            let of_capacity = types.entry(capacity).or_default();
            let one_too_many = of_capacity.len() >= TYPES && !of_capacity.contains(&kind.instance_type);
            if one_too_many || !seen.insert(place) {
                continue;
            }
            of_capacity.insert(kind.instance_type);
            found.push(Alternative { instance_type: kind.instance_type, offering: kind.offering });
        }
        found.into()
    }

    /// Labels whose value these classes must keep.
    pub(crate) fn tied(&self, classes: &BTreeSet<usize>) -> BTreeSet<&'m str> {
        let of_classes = classes.iter().map(|class| &self.model.classes.classes[*class]);
        of_classes.flat_map(|class| self.ties.of_class(class)).collect()
    }
}

/// Which rules over node labels tie pods to a value of those labels.
pub(crate) struct Ties<'p> {
    problem: &'p Problem,
    /// By selector of rules over node labels: those labels.
    by_selector: HashMap<SelectorId, BTreeSet<&'p str>>,
}

impl<'p> Ties<'p> {
    pub(crate) fn of(problem: &'p Problem, classes: &Classes<'p>) -> Self {
        let mut by_selector = HashMap::<_, BTreeSet<_>>::new();
        let running = problem.nodes.iter().flat_map(|n| &n.pods).map(|p| &problem.specs[p.spec.index()]);
        let pending = classes.classes.iter().map(|class| &problem.specs[class.spec.index()]);
        for (selector, label) in pending.chain(running).flat_map(label_rules) {
            by_selector.entry(classes.selector_id(selector)).or_default().insert(label);
        }
        Self { problem, by_selector }
    }

    /// Every label that some rule may tie a pod to.
    pub(crate) fn labels(&self) -> BTreeSet<&'p str> {
        self.by_selector.values().flatten().copied().chain([self.problem.zone_key.as_str()]).collect()
    }

    /// Labels whose value pods of a class must keep, whatever else their node is launched as.
    pub(crate) fn of_class(&self, class: &Class) -> BTreeSet<&'p str> {
        let spec = &self.problem.specs[class.spec.index()];
        let mut tied: BTreeSet<&str> = label_rules(spec).map(|(_, label)| label).collect();
        let selecting = class.matched.iter();
        tied.extend(selecting.filter_map(|selector| self.by_selector.get(selector)).flatten());
        if !spec.unbound_claims.is_empty() {
            tied.insert(self.problem.zone_key.as_str());
        }
        tied
    }
}

/// The rules of a spec over node labels: what they select, and the label.
fn label_rules(spec: &PodSpec) -> impl Iterator<Item = (&PodSelector, &str)> {
    let terms = spec.affinity.iter().chain(&spec.anti_affinity).map(|term| (&term.selector, &term.key));
    let all = spec.spread.iter().map(|spread| (&spread.selector, &spread.key)).chain(terms);
    all.filter_map(|(selector, key)| match key {
        TopologyKey::Label(label) => Some((selector, label.as_str())),
        TopologyKey::Host => None,
    })
}

/// For each kind the number of its value of a label, zero for none.
pub(crate) fn column(model: &Model<'_>, label: &str) -> Vec<u32> {
    if let Some(known) = model.kinds.column(label) {
        return known.to_vec();
    }
    let mut ids = HashMap::<&str, u32>::new();
    let number = |kind| {
        let Some(value) = model.kinds.label(kind, label) else { return 0 };
        let next = ids.len() as u32 + 1;
        *ids.entry(value).or_insert(next)
    };
    model.kinds.kinds.iter().map(number).collect()
}

/// The offering of a kind.
pub(crate) fn offering<'m>(model: &'m Model<'_>, kind: &Kind) -> &'m Offering {
    &model.problem.types[kind.instance_type.index()].offerings[kind.offering as usize]
}
