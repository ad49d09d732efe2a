//! The problem compiled to small integers: classes, kinds, gates and rules, ready for packing.
//!
//! A *gate* is the set of kinds that a pod's rules on labels, taints and ports let it use. Classes share gates, so
//! whatever depends on labels is worked out once for each gate, not for each class.

use std::collections::{BTreeSet, HashMap};

use fixedbitset::FixedBitSet;

use crate::arrangement::Pods;
use crate::class::{Class, Classes};
use crate::host_rule::HostRules;
use crate::kind::{Kinds, untolerated};
use crate::problem::{Labels, Node, NodeConstraint, PodSpec, Problem, ResourceId, Resources};
use crate::route;
use crate::variety::Variety;

/// Index into [`Model::gates`].
pub(crate) type GateId = u32;

/// A compiled problem.
pub(crate) struct Model<'p> {
    pub(crate) problem: &'p Problem,
    pub(crate) classes: Classes<'p>,
    pub(crate) kinds: Kinds<'p>,
    pub(crate) rules: HostRules,
    /// Sets of kinds.
    pub(crate) gates: Vec<FixedBitSet>,
    /// The gate of each class.
    pub(crate) gate_of: Vec<GateId>,
    /// By gate: specs that it is the gate of, together.
    pub(crate) gate_specs: Vec<Vec<&'p PodSpec>>,
    /// Host rules that ask for many nodes.
    pub(crate) weighty: Vec<u32>,
    /// By class: those of them that it carries and matches.
    pub(crate) scattered: Vec<Vec<u32>>,
    /// Teams of pods that must share a node, packed as classes of their own: they follow the classes wherever something is
    /// by class here. By team: how many pods of which class.
    pub(crate) teams: Vec<Pods>,
    /// By class: what its route costs, in micro-dollars an hour, where rules between pods leave it open.
    pub(crate) routes: Vec<Option<i64>>,
    /// Requests of each class, by dimension.
    pub(crate) requests: Vec<Vec<i64>>,
    /// How wide the choice of what to launch a node as must be.
    pub(crate) variety: Variety,
    /// Free room of each existing node, by dimension; negative where overcommitted.
    pub(crate) node_room: Vec<Vec<i64>>,
    /// Existing nodes in the order of their names.
    pub(crate) node_order: Vec<usize>,
}

impl<'p> Model<'p> {
    pub(crate) fn build(problem: &'p Problem) -> Self {
        let classes = Classes::build(problem);
        let pending = |class: &Class| &problem.specs[class.spec.index()];
        // What DaemonSets ask for counts too: where they alone do not fit, nothing runs.
        let daemons = problem.daemons.iter().map(|d| &problem.specs[d.spec.index()]);
        let specs = classes.classes.iter().map(pending).chain(daemons);
        let mut dims: Vec<ResourceId> =
            specs.flat_map(|spec| spec.requests.iter()).map(|(id, _)| id).collect();
        dims.sort_unstable_by(|a, b| problem.resources[a.index()].cmp(&problem.resources[b.index()]));
        dims.dedup();
        let mut wanted: Vec<&PodSpec> = classes.classes.iter().map(pending).collect();
        wanted.extend(problem.daemons.iter().map(|d| &problem.specs[d.spec.index()]));
        let mut kinds = Kinds::build(problem, dims, &wanted);
        let mut ids = HashMap::<(&_, &_, &_), GateId>::new();
        let mut gates = Vec::new();
        let mut gate_specs = Vec::new();
        let mut gate_of = Vec::with_capacity(classes.classes.len());
        for class in &classes.classes {
            let spec = pending(class);
            let next = gates.len() as GateId;
            let id = *ids.entry((&spec.node, &spec.tolerations, &spec.host_ports)).or_insert(next);
            if id == next {
                gates.push(kinds.admitting(spec));
                gate_specs.push(vec![spec]);
            }
            gate_of.push(id);
        }
        let variety = Variety::of(problem, &mut kinds, &classes, &gates, &gate_of);
        let dense = |r: &Resources| kinds.dims.iter().map(|d| r.get(*d)).collect::<Vec<i64>>();
        let requests = classes.classes.iter().map(|c| dense(&pending(c).requests)).collect();
        let node_room = problem
            .nodes
            .iter()
            .map(|n| {
                dense(&n.allocatable).iter().zip(dense(&n.used)).map(|(a, u)| a.saturating_sub(u)).collect()
            })
            .collect();
        let mut node_order: Vec<usize> = (0..problem.nodes.len()).collect();
        node_order.sort_unstable_by(|a, b| problem.nodes[*a].name.cmp(&problem.nodes[*b].name));
        let rules = HostRules::build(problem, &classes);
        let weighty = rules.weighty(&classes);
        let scattered = (0..classes.classes.len())
            .map(|class| weighty.iter().copied().filter(|rule| rules.scatters(class, *rule)).collect())
            .collect();
        let routes = route::open(problem, &classes);
        let mut this = Self {
            problem,
            classes,
            kinds,
            rules,
            gates,
            gate_of,
            gate_specs,
            weighty,
            scattered,
            teams: Vec::new(),
            routes,
            requests,
            variety,
            node_room,
            node_order,
        };
        this.narrow_gates();
        this
    }

    /// The spec of a class.
    pub(crate) fn spec(&self, class: usize) -> &'p PodSpec {
        &self.problem.specs[self.classes.classes[class].spec.index()]
    }

    /// The number of pods in a class.
    pub(crate) fn count(&self, class: usize) -> u32 {
        self.classes.classes[class].pods.len() as u32
    }

    /// The pods that one of a class stands for: itself, or the members of a team.
    pub(crate) fn members(&self, class: u32) -> Pods {
        let team = (class as usize).checked_sub(self.classes.classes.len());
        team.map_or_else(|| vec![(class, 1)], |team| self.teams[team].clone())
    }

    /// The class whose rules over domains a class or a team follows.
    pub(crate) fn lead(&self, class: u32) -> u32 {
        self.members(class)[0].0
    }

    /// Priority of the pods of a class, the highest of a team.
    pub(crate) fn priority(&self, class: u32) -> i32 {
        let of_members = self.members(class).into_iter().map(|(class, _)| self.spec(class as usize).priority);
        of_members.max().unwrap_or(0)
    }

    /// Forgets all teams.
    pub(crate) fn disband(&mut self) {
        let classes = self.classes.classes.len();
        let gates = self.gates.len() - self.teams.len();
        self.teams.clear();
        self.requests.truncate(classes);
        self.routes.truncate(classes);
        self.scattered.truncate(classes);
        self.rules.of_class.truncate(classes);
        self.gate_of.truncate(classes);
        self.gates.truncate(gates);
        self.gate_specs.truncate(gates);
        self.variety.disband(classes);
    }

    /// Makes a team a class. The first member leads.
    pub(crate) fn enlist(&mut self, members: Pods) -> u32 {
        let id = self.gate_of.len() as u32;
        self.requests.push(self.load(members.iter().copied()));
        self.routes.push(None);
        self.rules.of_class.push(self.rules.parts_of_team(&members));
        let scatters = |rule: &u32| self.rules.scatters(id as usize, *rule);
        self.scattered.push(self.weighty.iter().copied().filter(scatters).collect());
        let gate_of = |(class, _): &(u32, u32)| self.gate_of[*class as usize] as usize;
        let gates: BTreeSet<usize> = members.iter().map(gate_of).collect();
        let mut all = self.kinds.every();
        for gate in &gates {
            all.intersect_with(&self.gates[*gate]);
        }
        let specs = gates.iter().flat_map(|gate| self.gate_specs[*gate].iter().copied()).collect();
        self.gate_of.push(self.gates.len() as GateId);
        self.gates.push(all);
        self.gate_specs.push(specs);
        self.teams.push(members);
        self.narrow_team(id);
        id
    }

    /// What pods take, by dimension.
    pub(crate) fn load(&self, pods: impl IntoIterator<Item = (u32, u32)>) -> Vec<i64> {
        let mut load = vec![0i64; self.kinds.dims.len()];
        for (class, count) in pods {
            for (load, need) in load.iter_mut().zip(&self.requests[class as usize]) {
                *load += need * i64::from(count);
            }
        }
        load
    }

    /// Whether one pod of a class fits in this much room.
    pub(crate) fn fits(&self, class: usize, room: &[i64]) -> bool {
        self.requests[class].iter().zip(room).all(|(need, have)| need <= have)
    }

    /// The kinds that could hold one pod of a class alone.
    pub(crate) fn feasible(&self, class: usize) -> FixedBitSet {
        let mut set = self.gates[self.gate_of[class] as usize].clone();
        let holds: Vec<bool> = self.kinds.shapes.iter().map(|s| self.fits(class, &s.room)).collect();
        for (at, kind) in self.kinds.kinds.iter().enumerate() {
            if !holds[kind.shape as usize] {
                set.set(at, false);
            }
        }
        set
    }
}

/// Whether a node's labels satisfy a node constraint.
pub(crate) fn holds(constraint: &NodeConstraint, labels: &Labels) -> bool {
    met(constraint, |key| labels.get(key).map(String::as_str))
}

/// Whether labels, however they are looked up, satisfy a node constraint.
pub(crate) fn met<'l>(constraint: &NodeConstraint, label: impl Fn(&str) -> Option<&'l str>) -> bool {
    constraint.any_of.iter().any(|term| term.iter().all(|r| r.allows(label(&r.key))))
}

/// Whether a node's labels satisfy a pod's node constraints.
pub(crate) fn selects(spec: &PodSpec, labels: &Labels) -> bool {
    spec.node.iter().all(|constraint| holds(constraint, labels))
}

/// Whether an existing node takes new pods of this spec, room and other pods aside.
pub(crate) fn admits(node: &Node, spec: &PodSpec) -> bool {
    node.open && untolerated(&node.taints, &spec.tolerations).is_none() && selects(spec, &node.labels)
}

/// How often `need` goes into `room`, dimension by dimension; `u32::MAX` where nothing is needed.
pub(crate) fn copies(need: &[i64], room: &[i64]) -> u32 {
    let mut least = i64::from(u32::MAX);
    for (need, have) in need.iter().zip(room) {
        if *need > 0 {
            least = least.min(if have < need { 0 } else { have / need });
        }
    }
    least as u32
}
