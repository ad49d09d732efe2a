//! Pods that kube-scheduler holds room for on a node (`status.nominatedNodeName`), mostly after preemption.
//!
//! For planning they run there: nobody else gets that room. In a finished plan they stand where every pending pod does, in
//! one list: that of their node. Kubernetes' source of truth: the nominator of kube-scheduler.

use stowage_solver::{LabelSetId, Node, NodeId, Placement, Pod, PodId, Problem, Solution, SpecId};

use crate::snapshot::Snapshot;

/// A pod that kube-scheduler holds room for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nominated {
    /// `namespace/name`.
    pub pod: String,
    /// Its node.
    pub node: NodeId,
    /// What decides where it may run.
    pub spec: SpecId,
    /// Its labels.
    pub labels: LabelSetId,
}

/// The nominated pods of a snapshot among those that run on `nodes`.
pub(super) fn of(snapshot: &Snapshot, nodes: &[Node]) -> Vec<Nominated> {
    let waits = |p: &&crate::Pod| p.nominated.is_some() && p.pending() == Some(Ok(()));
    let names: std::collections::HashSet<String> =
        snapshot.pods().filter(waits).map(crate::Pod::key).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let running = nodes.iter().enumerate().flat_map(|(at, node)| node.pods.iter().map(move |pod| (at, pod)));
    running
        .filter(|(_, pod)| names.contains(&pod.name))
        .map(|(at, pod)| Nominated {
            pod: pod.name.clone(),
            node: NodeId::of(at),
            spec: pod.spec,
            labels: pod.labels,
        })
        .collect()
}

/// Lists nominated pods as pending ones that a finished plan places on their nodes.
pub fn list_nominated(problem: &mut Problem, solution: &mut Solution, nominated: &[Nominated]) {
    for one in nominated {
        let node = &mut problem.nodes[one.node.index()];
        node.pods.retain(|pod| pod.name != one.pod);
        node.used = node.used.minus(&problem.specs[one.spec.index()].requests);
        let id = PodId::of(problem.pods.len());
        problem.pods.push(Pod { name: one.pod.clone(), spec: one.spec, labels: one.labels });
        match solution.placements.iter_mut().find(|p| p.node == one.node) {
            Some(placement) => placement.pods.push(id),
            None => solution.placements.push(Placement { node: one.node, pods: vec![id] }),
        }
    }
    if !nominated.is_empty() {
        let name = |pod: &PodId| problem.pods[pod.index()].name.clone();
        solution.placements.iter_mut().for_each(|placement| placement.pods.sort_by_key(name));
        solution
            .placements
            .sort_by(|a, b| problem.nodes[a.node.index()].name.cmp(&problem.nodes[b.node.index()].name));
    }
}
