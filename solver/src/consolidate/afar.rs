//! Nodes that a trial is not about, seen from afar: only what rules over several nodes count of them.
//!
//! A trial takes a few nodes away and looks for room on some others. All the rest of the cluster takes part in it by numbers
//! alone: how many pods of which kind are in which zone. So the rest is folded into one closed node for each combination of
//! labels and taints that any rule looks at, with one entry for all pods alike.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::state::without_those;
use crate::problem::{
    LabelSetId, Labels, Node, PodSelector, PodSpec, Problem, Resources, RunningPod, SpecId, Taint,
    TopologyKey,
};

/// Pods that no rule tells apart: spec, labels, whether they are being deleted.
type Alike = (SpecId, LabelSetId, bool);

/// What can be seen of every node from afar.
#[derive(Clone, Debug, Default)]
pub(super) struct Afar {
    /// Labels of nodes that rules look at.
    keys: BTreeSet<String>,
    /// What rules between pods select.
    selectors: BTreeSet<PodSelector>,
    /// Labels and taints of nodes, as far as rules look at them.
    places: Vec<(Labels, Vec<Taint>)>,
    place_ids: BTreeMap<(Labels, Vec<Taint>), usize>,
    /// Pods that rules count; none for those that no rule does.
    pods: Vec<Alike>,
    pod_ids: HashMap<Alike, Option<usize>>,
    /// By node.
    nodes: Vec<Sketch>,
}

/// A node: where it is, and how many of which pods it has.
#[derive(Clone, Debug, Default)]
struct Sketch {
    place: usize,
    pods: Vec<(usize, u32)>,
}

impl Afar {
    /// Of all nodes of a problem.
    pub(super) fn of(problem: &Problem) -> Self {
        let mut this = Self::default();
        this.keys.insert(problem.zone_key.clone());
        for spec in &problem.specs {
            let terms = || spec.affinity.iter().chain(&spec.anti_affinity);
            let over = spec.spread.iter().map(|rule| &rule.key).chain(terms().map(|term| &term.key));
            this.keys.extend(over.filter_map(|key| match key {
                TopologyKey::Label(label) => Some(label.clone()),
                TopologyKey::Host => None,
            }));
            if !spec.spread.is_empty() {
                let asked = spec.node.iter().flat_map(|constraint| constraint.any_of.iter().flatten());
                this.keys.extend(asked.map(|requirement| requirement.key.clone()));
            }
            this.selectors.extend(spec.spread.iter().map(|rule| rule.selector.clone()));
            this.selectors.extend(terms().map(|term| term.selector.clone()));
        }
        for node in &problem.nodes {
            this.push(&problem.specs, &problem.label_sets, node);
        }
        this
    }

    /// One more node.
    pub(super) fn push(&mut self, specs: &[PodSpec], label_sets: &[Labels], node: &Node) {
        let labels = node.labels.iter().filter(|(key, _)| self.keys.contains(*key));
        let labels: Labels = labels.map(|(key, value)| (key.clone(), value.clone())).collect();
        let place = (labels, node.taints.clone());
        let next = self.places.len();
        let id = *self.place_ids.entry(place.clone()).or_insert(next);
        if id == next {
            self.places.push(place);
        }
        self.nodes.push(Sketch { place: id, pods: Vec::new() });
        for pod in &node.pods {
            self.seat(specs, label_sets, self.nodes.len() - 1, pod);
        }
    }

    /// One more pod on a node.
    pub(super) fn seat(&mut self, specs: &[PodSpec], label_sets: &[Labels], at: usize, pod: &RunningPod) {
        let alike = (pod.spec, pod.labels, pod.terminating);
        let id = if let Some(known) = self.pod_ids.get(&alike) {
            *known
        } else {
            let spec = &specs[pod.spec.index()];
            let labels = &label_sets[pod.labels.index()];
            let counts = !spec.affinity.is_empty()
                || !spec.anti_affinity.is_empty()
                || self.selectors.iter().any(|selector| selector.selects(&spec.namespace, labels));
            let id = counts.then_some(self.pods.len());
            if counts {
                self.pods.push(alike);
            }
            self.pod_ids.insert(alike, id);
            id
        };
        let (Some(id), Some(node)) = (id, self.nodes.get_mut(at)) else { return };
        match node.pods.iter_mut().find(|(known, _)| *known == id) {
            Some((_, count)) => *count += pod.count,
            None => node.pods.push((id, pod.count)),
        }
    }

    /// Nodes are gone.
    pub(super) fn remove(&mut self, gone: &BTreeSet<usize>) {
        without_those(&mut self.nodes, gone);
    }

    /// The nodes stand in another order: `order` says which is where.
    pub(super) fn reorder(&mut self, order: &[usize]) {
        self.nodes = order.iter().map(|at| std::mem::take(&mut self.nodes[*at])).collect();
    }

    /// The nodes that are far away, folded. Nothing can be put on them.
    pub(super) fn folded(&self, far: impl Fn(usize) -> bool) -> Vec<Node> {
        let mut counts = vec![Vec::<u32>::new(); self.places.len()];
        for (_, node) in self.nodes.iter().enumerate().filter(|(at, _)| far(*at)) {
            let here = &mut counts[node.place];
            if here.is_empty() {
                here.resize(self.pods.len(), 0);
            }
            for (pod, count) in &node.pods {
                here[*pod] += count;
            }
        }
        let node = |(place, counts): (&(Labels, Vec<Taint>), Vec<u32>)| {
            let pods = self.pods.iter().zip(counts).filter(|(_, count)| *count > 0);
            let pods = pods.map(|((spec, labels, terminating), count)| RunningPod {
                name: String::new(),
                spec: *spec,
                labels: *labels,
                terminating: *terminating,
                count,
            });
            Node {
                name: String::new(),
                labels: place.0.clone(),
                taints: place.1.clone(),
                allocatable: Resources::default(),
                used: Resources::default(),
                host_ports: Vec::new(),
                pods: pods.collect(),
                pool: None,
                open: false,
            }
        };
        let any: Vec<bool> = {
            let mut any = vec![false; self.places.len()];
            self.nodes
                .iter()
                .enumerate()
                .filter(|(at, _)| far(*at))
                .for_each(|(_, node)| any[node.place] = true);
            any
        };
        let seen = self.places.iter().zip(counts).zip(any).filter(|(_, any)| *any);
        seen.map(|(folded, _)| node(folded)).collect()
    }
}
