//! Disks that are attached already: a pod that joins them takes no second slot of the node.
//!
//! Slots are counted as a resource, and what a pod takes of a resource is the same on every node. So where it could matter a
//! node gets a second count of its own:
//!
//! ```text
//! slots           of the node: what there is, and one more for each attached disk that a pending pod would join;
//!                 asked for by every pod, one for each of its disks
//! slots of node-a of the node: what there is; of all others: without end;
//!                 asked for by every pod, one for each of its disks that is not attached to node-a
//! ```
//!
//! The first lets pods join their disks, the second keeps all others within what there is. Pods that share a disk on a *new*
//! node still take a slot each.
//!
//! Kubernetes' source of truth: `NodeVolumeLimits` of kube-scheduler, which counts distinct volumes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use stowage_api::well_known;
use stowage_solver::{Problem, ResourceId, Resources, SpecId};

use super::spec::Specs;
use super::{UNLIMITED, bound_by_node};
use crate::snapshot::{Pod, Snapshot};

/// At most so many nodes have a count of their own, the first by name: each is one more number for every node and type.
const MOST_NODES: usize = 16;

/// Which disks pods have on nodes, and which pending ones would join.
pub(super) struct Attached {
    /// By pending pod: its disks.
    wanted: Vec<Arc<BTreeSet<String>>>,
    /// By name of node: the disks there.
    disks: BTreeMap<String, BTreeSet<String>>,
}

impl Attached {
    pub(super) fn of<'a>(snapshot: &'a Snapshot, pending: &[&'a Pod], specs: &mut Specs<'a>) -> Self {
        let wanted: Vec<_> = pending.iter().map(|pod| specs.disks_of(pod)).collect();
        let of_interest: BTreeSet<&String> = wanted.iter().flat_map(|disks| disks.iter()).collect();
        let mut disks = BTreeMap::<String, BTreeSet<String>>::new();
        if of_interest.is_empty() {
            return Self { wanted, disks };
        }
        let bound = bound_by_node(snapshot);
        for node in snapshot.nodes.iter().map(|node| node.metadata.name.as_str()) {
            for pod in bound.get(node).into_iter().flatten() {
                let (_, own) = specs.of_bound(pod);
                let own = own.iter().filter(|disk| of_interest.contains(disk)).cloned();
                let own: BTreeSet<String> = own.collect();
                if !own.is_empty() {
                    disks.entry(node.to_owned()).or_default().extend(own);
                }
            }
        }
        Self { wanted, disks }
    }

    /// Gives nodes a count of their own where their slots could run out. `slot` is the resource of attach slots.
    pub(super) fn count_once(&self, problem: &mut Problem, slot: ResourceId) {
        let asked = |problem: &Problem, spec: SpecId| problem.specs[spec.index()].requests.get(slot);
        let wanted: i64 = problem.pods.iter().map(|pod| asked(problem, pod.spec)).sum();
        let by_name: HashMap<&str, usize> =
            problem.nodes.iter().enumerate().map(|(at, node)| (node.name.as_str(), at)).collect();
        let tight = |(name, disks)| {
            let at = *by_name.get(String::as_str(name))?;
            let node = &problem.nodes[at];
            let left = node.allocatable.get(slot).saturating_sub(node.used.get(slot));
            (node.open && left < wanted).then_some((at, disks))
        };
        let tight: Vec<(usize, &BTreeSet<String>)> =
            self.disks.iter().filter_map(tight).take(MOST_NODES).collect();
        if tight.is_empty() {
            return;
        }
        let plain: Vec<i64> = problem.specs.iter().map(|spec| spec.requests.get(slot)).collect();
        // By pod and count: how many of its disks are there.
        let mut joins = BTreeMap::<(usize, ResourceId), i64>::new();
        for (node, disks) in tight {
            let own = ResourceId::of(problem.resources.len());
            problem.resources.push(format!("{} of {}", well_known::EBS_SLOTS, problem.nodes[node].name));
            let mut more = 0;
            for (pod, wanted) in self.wanted.iter().enumerate() {
                let there = wanted.intersection(disks).count() as i64;
                if there > 0 && plain[problem.pods[pod].spec.index()] > 0 {
                    joins.insert((pod, own), there);
                    more += there;
                }
            }
            let endless = Resources::from_amounts([(own, UNLIMITED)]);
            for (at, other) in problem.nodes.iter_mut().enumerate() {
                if at == node {
                    let there = other.allocatable.get(slot);
                    let taken = Resources::from_amounts([(own, other.used.get(slot))]);
                    other.allocatable =
                        other.allocatable.plus(&Resources::from_amounts([(own, there), (slot, more)]));
                    other.used = other.used.plus(&taken);
                } else {
                    other.allocatable = other.allocatable.plus(&endless);
                }
            }
            for of_type in &mut problem.types {
                of_type.allocatable = of_type.allocatable.plus(&endless);
            }
            for (spec, slots) in problem.specs.iter_mut().zip(&plain) {
                spec.requests = spec.requests.plus(&Resources::from_amounts([(own, *slots)]));
            }
        }
        let mut by_pod = BTreeMap::<usize, Vec<(ResourceId, i64)>>::new();
        for ((pod, own), there) in joins {
            by_pod.entry(pod).or_default().push((own, there));
        }
        let mut known = HashMap::<(SpecId, Vec<(ResourceId, i64)>), SpecId>::new();
        for (pod, less) in by_pod {
            let from = problem.pods[pod].spec;
            let next = SpecId::of(problem.specs.len());
            let id = *known.entry((from, less.clone())).or_insert(next);
            if id == next {
                let mut spec = problem.specs[from.index()].clone();
                spec.requests = spec.requests.minus(&Resources::from_amounts(less));
                problem.specs.push(spec);
            }
            problem.pods[pod].spec = id;
        }
    }
}
