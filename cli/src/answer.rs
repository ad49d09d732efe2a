//! A solved problem with everything that output needs beside it: names for new nodes, notes, how long it took.
//!
//! Both the document (`-o json`) and the table are made from an [`Answer`], so that they cannot disagree.

use std::collections::{BTreeMap, BTreeSet};

use stowage_api::well_known::SPOT;
use stowage_cluster::{Commitment, OnFargate};
use stowage_pricing::fargate::{Fit, Shape};
use stowage_solver::{
    InstanceType, NewNode, Node, NodePool, Offering, Pod, PodId, Price, Problem, QuotaId, ResourceId,
    Resources, Solution,
};

/// Exact quantities by resource, for one instance type.
pub(crate) type Quantities = BTreeMap<String, String>;

/// What a plan is printed from.
pub(crate) struct Answer {
    /// What was asked.
    pub(crate) problem: Problem,
    /// What came out.
    pub(crate) solution: Solution,
    /// Allocatable of instance types by their number in the problem, exactly as the catalogue states it.
    pub(crate) allocatable: BTreeMap<u32, Quantities>,
    /// Who may run on Fargate.
    pub(crate) fargate: OnFargate,
    /// What the reader must know: estimates, defaults, rules that were not honoured.
    pub(crate) notes: Vec<String>,
    /// Where the prices come from.
    pub(crate) prices: String,
    /// Commitments that new nodes may use.
    pub(crate) commitments: Vec<Commitment>,
    /// The gap that was asked for.
    pub(crate) asked_gap: f64,
    /// As how many instance types each spot node should be launchable.
    pub(crate) wanted_types: usize,
    /// Wall-clock time of the solve.
    pub(crate) solve_seconds: f64,
}

impl Answer {
    /// A name for each new node: its `NodePool`'s and a number, unlike that of any node of the cluster.
    pub(crate) fn node_names(&self) -> Vec<String> {
        let taken: BTreeSet<&str> = self.problem.nodes.iter().map(|n| n.name.as_str()).collect();
        let mut next = BTreeMap::<u32, u32>::new();
        let mut names = Vec::with_capacity(self.solution.new_nodes.len());
        for node in &self.solution.new_nodes {
            let pool = &self.pool(node).name;
            let number = next.entry(node.pool.0).or_insert(0);
            let name = loop {
                let name = format!("{pool}-{number}");
                *number += 1;
                if !taken.contains(name.as_str()) {
                    break name;
                }
            };
            names.push(name);
        }
        names
    }

    pub(crate) fn pool(&self, node: &NewNode) -> &NodePool {
        &self.problem.pools[node.pool.index()]
    }

    pub(crate) fn instance_type(&self, node: &NewNode) -> &InstanceType {
        &self.problem.types[node.instance_type.index()]
    }

    pub(crate) fn offering(&self, node: &NewNode) -> &Offering {
        &self.instance_type(node).offerings[node.offering]
    }

    pub(crate) fn pod(&self, id: PodId) -> &Pod {
        &self.problem.pods[id.index()]
    }

    /// What some pending pods request together.
    pub(crate) fn pods_request(&self, pods: &[PodId]) -> Resources {
        let specs = pods.iter().map(|id| self.pod(*id).spec);
        Resources::from_amounts(specs.flat_map(|spec| self.problem.specs[spec.index()].requests.iter()))
    }

    /// What the pods of a new node request, `DaemonSets` included.
    pub(crate) fn node_requests(&self, node: &NewNode) -> Resources {
        let daemons = node.daemons.iter().map(|id| self.problem.daemons[id.index()].spec);
        let daemons = daemons.flat_map(|spec| self.problem.specs[spec.index()].requests.iter());
        self.pods_request(&node.pods).plus(&Resources::from_amounts(daemons))
    }

    /// What Fargate provisions for a pod that the plan runs there, and the profile that takes it.
    pub(crate) fn fargate_fit(&self, pod: PodId) -> Option<&Fit> {
        self.fargate.verdict(pod.index())?.as_ref().ok()
    }

    /// The pods that go to Fargate, by shape and price: the shape, what one costs, and how many.
    pub(crate) fn on_fargate(&self) -> Vec<(Shape, Price, u32)> {
        let mut groups = BTreeMap::new();
        for routed in &self.solution.routed {
            if let Some(fit) = self.fargate_fit(routed.pod) {
                *groups.entry((fit.shape, routed.price)).or_insert(0) += 1;
            }
        }
        groups.into_iter().map(|((shape, price), count)| (shape, price, count)).collect()
    }

    /// The existing node of a placement.
    pub(crate) fn existing(&self, placement: &stowage_solver::Placement) -> &Node {
        &self.problem.nodes[placement.node.index()]
    }

    /// What a new node is bought with, by name: a commitment, a capacity reservation.
    pub(crate) fn drawn(&self, node: &NewNode) -> Option<&str> {
        let (quota, _) = self.offering(node).draws.first()?;
        Some(&self.problem.quotas[quota.index()].name)
    }

    /// Units that the new nodes together draw on a quota.
    pub(crate) fn units_drawn(&self, quota: QuotaId) -> i64 {
        let draws = self.solution.new_nodes.iter().flat_map(|node| &self.offering(node).draws);
        draws.filter(|(id, _)| *id == quota).map(|(_, units)| units).sum()
    }

    /// The id of a resource, where the problem has it.
    pub(crate) fn resource(&self, name: &str) -> Option<ResourceId> {
        self.problem.resources.iter().position(|r| r == name).map(ResourceId::of)
    }

    /// How many new nodes have a price that is an estimate.
    pub(crate) fn estimated_nodes(&self) -> usize {
        self.solution.new_nodes.iter().filter(|node| self.offering(node).estimated).count()
    }

    /// The new spot nodes: position in the solution, and as how many instance types each could be launched.
    pub(crate) fn spot_nodes(&self) -> Vec<(usize, usize)> {
        let nodes = self.solution.new_nodes.iter().enumerate();
        let spot = nodes.filter(|(_, node)| self.offering(node).capacity_type == SPOT);
        spot.map(|(at, node)| (at, node.flexibility(&self.problem))).collect()
    }

    /// Whether every pod has a place.
    pub(crate) fn is_complete(&self) -> bool {
        self.solution.unplaced.is_empty()
    }
}
