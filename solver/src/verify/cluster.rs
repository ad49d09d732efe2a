//! The cluster as it would be once the plan is carried out.

use std::collections::HashMap;
use std::rc::Rc;

use crate::problem::{
    HostPort, LabelSetId, Labels, NodeConstraint, PodSelector, PodSpec, Problem, SpecId, Taint, Toleration,
    TopologyKey,
};
use crate::solution::Solution;

/// A node, old or new.
pub(super) struct Host<'p> {
    pub(super) title: String,
    /// Shared by all new nodes of one kind.
    pub(super) labels: Rc<Labels>,
    pub(super) taints: &'p [Taint],
    /// Index of the new node in the solution.
    pub(super) new: Option<usize>,
    /// Index of the existing node in the problem.
    pub(super) old: Option<usize>,
    /// Positions of its pods in [`Cluster::seats`].
    pub(super) seats: Vec<usize>,
}

/// A pod on a node.
pub(super) struct Seat<'p> {
    pub(super) name: &'p str,
    pub(super) spec: SpecId,
    pub(super) labels: LabelSetId,
    pub(super) host: usize,
    /// Whether the plan put it there.
    pub(super) placed: bool,
    pub(super) terminating: bool,
    /// How many pods alike it stands for.
    pub(super) count: u32,
}

/// Nodes and pods after the plan.
pub(super) struct Cluster<'p> {
    pub(super) problem: &'p Problem,
    pub(super) hosts: Vec<Host<'p>>,
    pub(super) seats: Vec<Seat<'p>>,
    /// Pods by namespace and labels: what selectors look at.
    groups: Vec<(&'p str, LabelSetId, Vec<usize>)>,
    by_label: HashMap<(&'p str, &'p str), Vec<usize>>,
}

impl<'p> Cluster<'p> {
    pub(super) fn after(problem: &'p Problem, solution: &Solution) -> Self {
        let mut this = Self {
            problem,
            hosts: Vec::new(),
            seats: Vec::new(),
            groups: Vec::new(),
            by_label: HashMap::new(),
        };
        for (at, node) in problem.nodes.iter().enumerate() {
            this.hosts.push(Host {
                title: format!("existing node {}", node.name),
                labels: Rc::new(node.labels.clone()),
                taints: &node.taints,
                new: None,
                old: Some(at),
                seats: Vec::new(),
            });
            for pod in &node.pods {
                this.seat(&pod.name, pod.spec, pod.labels, at, false, pod.terminating);
                if let Some(seat) = this.seats.last_mut() {
                    seat.count = pod.count;
                }
            }
        }
        for placement in &solution.placements {
            for pod in &placement.pods {
                let pod = &problem.pods[pod.index()];
                this.seat(&pod.name, pod.spec, pod.labels, placement.node.index(), true, false);
            }
        }
        let mut by_kind = HashMap::new();
        for (at, node) in solution.new_nodes.iter().enumerate() {
            let pool = &problem.pools[node.pool.index()];
            let of_type = &problem.types[node.instance_type.index()];
            let same = (node.pool, node.instance_type, node.offering, &node.chosen_labels);
            let labels = Rc::clone(by_kind.entry(same).or_insert_with(|| {
                let mut labels = pool.labels.clone();
                labels.extend(of_type.labels.clone());
                labels.extend(of_type.offerings[node.offering].labels.clone());
                labels.extend(node.chosen_labels.iter().cloned());
                Rc::new(labels)
            }));
            let host = this.hosts.len();
            this.hosts.push(Host {
                title: format!("new node {at} ({} from {})", of_type.name, pool.name),
                labels,
                taints: &pool.taints,
                new: Some(at),
                old: None,
                seats: Vec::new(),
            });
            for pod in &node.pods {
                let pod = &problem.pods[pod.index()];
                this.seat(&pod.name, pod.spec, pod.labels, host, true, false);
            }
        }
        this.group();
        this
    }

    fn seat(
        &mut self,
        name: &'p str,
        spec: SpecId,
        labels: LabelSetId,
        host: usize,
        placed: bool,
        terminating: bool,
    ) {
        self.hosts[host].seats.push(self.seats.len());
        self.seats.push(Seat { name, spec, labels, host, placed, terminating, count: 1 });
    }

    fn group(&mut self) {
        let mut ids = HashMap::<(&str, LabelSetId), usize>::new();
        for (at, seat) in self.seats.iter().enumerate() {
            let namespace = self.problem.specs[seat.spec.index()].namespace.as_str();
            let id = *ids.entry((namespace, seat.labels)).or_insert_with(|| {
                self.groups.push((namespace, seat.labels, Vec::new()));
                self.groups.len() - 1
            });
            self.groups[id].2.push(at);
        }
        for (at, (_, labels, _)) in self.groups.iter().enumerate() {
            for (key, value) in &self.problem.label_sets[labels.index()] {
                self.by_label.entry((key, value)).or_default().push(at);
            }
        }
    }

    pub(super) fn spec(&self, seat: usize) -> &'p PodSpec {
        &self.problem.specs[self.seats[seat].spec.index()]
    }

    /// The domain a pod is in.
    pub(super) fn domain<'a>(&'a self, host: usize, key: &TopologyKey) -> Option<Domain<'a>> {
        match key {
            TopologyKey::Host => Some(Domain::Host(host)),
            TopologyKey::Label(key) => self.hosts[host].labels.get(key).map(|value| Domain::Value(value)),
        }
    }

    /// The pods that a selector picks.
    pub(super) fn picked(&self, selector: &PodSelector) -> Vec<usize> {
        let Some(term) = &selector.labels else { return Vec::new() };
        let mut groups: Vec<usize> = match term.iter().find_map(|r| match &r.op {
            crate::Operator::In(values) => Some((r.key.as_str(), values)),
            _ => None,
        }) {
            Some((key, values)) => values
                .iter()
                .filter_map(|v| self.by_label.get(&(key, v.as_str())))
                .flatten()
                .copied()
                .collect(),
            None => (0..self.groups.len()).collect(),
        };
        groups.sort_unstable();
        groups.dedup();
        let picks = |group: &usize| {
            let (namespace, labels, _) = &self.groups[*group];
            selector.selects(namespace, &self.problem.label_sets[labels.index()])
        };
        groups.into_iter().filter(picks).flat_map(|g| self.groups[g].2.iter().copied()).collect()
    }
}

/// A value of a topology key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Domain<'a> {
    Host(usize),
    Value(&'a str),
}

/// The first node constraint that labels break.
pub(super) fn broken<'a>(constraints: &'a [NodeConstraint], labels: &Labels) -> Option<&'a NodeConstraint> {
    constraints.iter().find(|c| {
        let met =
            c.any_of.iter().any(|term| term.iter().all(|r| r.allows(labels.get(&r.key).map(String::as_str))));
        !met
    })
}

/// The first taint that repels.
pub(super) fn repelling<'a>(taints: &'a [Taint], tolerations: &[Toleration]) -> Option<&'a Taint> {
    let soft = crate::Effect::PreferNoSchedule;
    taints.iter().filter(|t| t.effect != soft).find(|t| tolerations.iter().all(|x| !x.tolerates(t)))
}

/// The first clash between ports taken and ports wanted.
pub(super) fn clash<'a>(taken: &[HostPort], wanted: &'a [HostPort]) -> Option<&'a HostPort> {
    wanted.iter().find(|w| taken.iter().any(|t| t.clashes(w)))
}
