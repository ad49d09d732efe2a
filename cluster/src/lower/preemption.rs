//! Pods for which kube-scheduler makes room: they get no node.
//!
//! A pod that fits nowhere takes the place of running pods of lower priority where that makes room for it. Buying a node
//! for it would be waste. A pod is taken to preempt where
//!
//! - its preemption policy (its own, else its class's) is not `Never`;
//! - kube-scheduler has not looked at it yet: a pod whose condition `PodScheduled` says `Unschedulable`, and that is
//!   nominated to no node, was refused with preemption tried;
//! - no rule about other pods concerns it: what evictions do to those is not worked out, and the pod gets a node;
//! - it does not fit in what pods of higher or equal priority, first come first, leave free on the nodes there are;
//! - on some node that admits it, it fits once pods of lower priority are gone. As many of these stay as can, the highest
//!   first; of several nodes the one whose highest victim is lowest, then with the least sum of priorities, then with the
//!   fewest victims.
//!
//! Its victims are gone for the rest of the plan, and it counts as running on the node. They come back as pending pods
//! when it happens, and are planned then. Disruption budgets choose among victims only in kube-scheduler, they prevent no
//! preemption: they are not looked at.
//!
//! Kubernetes' source of truth: `DefaultPreemption` of kube-scheduler.

use std::cmp::Reverse;
use std::collections::HashSet;

use stowage_solver::{Node, Pod as Pending, PodSpec, ResourceId, Resources, RunningPod, SpecId};

use super::labels;
use super::nominated::Nominated;
use super::world::World;
use crate::snapshot::Pod;

/// Finds the pods that preempt, and lets them. `pending` are the snapshot's pods of `pods`; `slot` is the resource of
/// attach slots, which pods share.
pub(super) fn preempt(
    pending: &[&Pod],
    pods: &mut [Pending],
    nodes: &mut [Node],
    specs: &mut Vec<PodSpec>,
    world: &World<'_>,
    slot: Option<ResourceId>,
    nominated: &[Nominated],
) {
    let running = nodes.iter().filter(|n| n.open).flat_map(|n| &n.pods);
    let Some(lowest) = running.map(|p| specs[p.spec.index()].priority).min() else { return };
    let able = |at: usize, specs: &[PodSpec]| {
        let spec = &specs[pods[at].spec.index()];
        spec.priority > lowest && is_simple(spec) && !pending[at].refused && world.preempts(&pending[at].spec)
    };
    let mut order: Vec<usize> = (0..pods.len()).collect();
    order.sort_by(|a, b| {
        let key = |at: usize| (Reverse(specs[pods[at].spec.index()].priority), pods[at].name.as_str());
        key(*a).cmp(&key(*b))
    });
    let Some(last) = order.iter().rposition(|at| able(*at, specs)) else { return };
    let safe = nominated.iter().map(|n| n.pod.as_str()).collect();
    let mut yard = Yard { nodes, free: Vec::new(), safe };
    yard.free = yard.nodes.iter().map(|n| n.allocatable.minus(&n.used)).collect();
    // Room only shrinks: what did not fit once does not fit later.
    let mut hopeless = HashSet::<SpecId>::new();
    let mut preempting = Vec::new();
    for at in order.into_iter().take(last + 1) {
        let (id, spec) = (pods[at].spec, &specs[pods[at].spec.index()]);
        if spec.blocked.is_some() || hopeless.contains(&id) || yard.settle(spec) {
            continue;
        }
        let target = able(at, specs).then(|| yard.target(spec, specs, slot)).flatten();
        let Some((node, victims)) = target else {
            hopeless.insert(id);
            continue;
        };
        let running =
            RunningPod { name: pods[at].name.clone(), spec: id, labels: pods[at].labels, terminating: false };
        let why = yard.evict(node, &victims, running, specs, slot);
        preempting.push((at, why));
    }
    for (at, why) in preempting {
        let mut spec = specs[pods[at].spec.index()].clone();
        spec.blocked = Some(why);
        pods[at].spec = SpecId::of(specs.len());
        specs.push(spec);
    }
}

/// Whether no rule about other pods concerns it.
fn is_simple(spec: &PodSpec) -> bool {
    spec.spread.is_empty()
        && spec.affinity.is_empty()
        && spec.anti_affinity.is_empty()
        && spec.unbound_claims.is_empty()
        && spec.blocked.is_none()
}

/// Nodes while they fill.
struct Yard<'n> {
    nodes: &'n mut [Node],
    /// By node: room left.
    free: Vec<Resources>,
    /// Pods that are on their way to a node themselves, and are not sent off again.
    safe: HashSet<&'n str>,
}

impl Yard<'_> {
    fn admits(&self, at: usize, spec: &PodSpec) -> bool {
        let node = &self.nodes[at];
        node.open
            && labels::all_hold(&spec.node, &node.labels)
            && labels::admits(&node.taints, &spec.tolerations)
    }

    /// Lets a pod take free room. Whether it found some.
    fn settle(&mut self, spec: &PodSpec) -> bool {
        let busy = |node: &Node| spec.host_ports.iter().any(|p| node.host_ports.iter().any(|q| p.clashes(q)));
        let fits = |at: &usize| {
            spec.requests.fits(&self.free[*at]) && self.admits(*at, spec) && !busy(&self.nodes[*at])
        };
        let found = (0..self.nodes.len()).find(fits);
        if let Some(at) = found {
            self.free[at] = self.free[at].minus(&spec.requests);
        }
        found.is_some()
    }

    /// The node on which a pod preempts, and which of its pods go.
    fn target(
        &self,
        spec: &PodSpec,
        specs: &[PodSpec],
        slot: Option<ResourceId>,
    ) -> Option<(usize, Vec<usize>)> {
        let of = |node: usize| {
            let victims = self.admits(node, spec).then(|| self.victims(node, spec, specs, slot)).flatten()?;
            let priority = |at: &usize| specs[self.nodes[node].pods[*at].spec.index()].priority;
            let highest = victims.iter().map(priority).max()?;
            let sum: i64 = victims.iter().map(|at| i64::from(priority(at)) - i64::from(i32::MIN)).sum();
            Some(((highest, sum, victims.len(), &self.nodes[node].name), (node, victims)))
        };
        (0..self.nodes.len()).filter_map(of).min_by(|a, b| a.0.cmp(&b.0)).map(|(_, found)| found)
    }

    /// Which pods of a node must go so that a pod fits.
    fn victims(
        &self,
        at: usize,
        spec: &PodSpec,
        specs: &[PodSpec],
        slot: Option<ResourceId>,
    ) -> Option<Vec<usize>> {
        let node = &self.nodes[at];
        let of = |pod: usize| &specs[node.pods[pod].spec.index()];
        let mut lower: Vec<usize> = (0..node.pods.len())
            .filter(|pod| of(*pod).priority < spec.priority && !self.safe.contains(&*node.pods[*pod].name))
            .collect();
        let clashing =
            |pod: usize| spec.host_ports.iter().any(|p| of(pod).host_ports.iter().any(|q| p.clashes(q)));
        let ports_taken = spec.host_ports.iter().any(|p| node.host_ports.iter().any(|q| p.clashes(q)));
        if ports_taken && !lower.iter().any(|pod| clashing(*pod)) {
            return None;
        }
        let mut room = self.free[at].clone();
        for pod in &lower {
            room = room.plus(&freed(of(*pod), slot));
        }
        if !spec.requests.fits(&room) {
            return None;
        }
        // The highest stay first.
        lower.sort_by_key(|pod| (Reverse(of(*pod).priority), *pod));
        let mut gone = Vec::new();
        for pod in lower {
            let without = room.minus(&freed(of(pod), slot));
            if !clashing(pod) && spec.requests.fits(&without) {
                room = without;
            } else {
                gone.push(pod);
            }
        }
        Some(gone).filter(|gone| !gone.is_empty())
    }

    /// Puts `running` in the place of `victims`. Says so.
    fn evict(
        &mut self,
        at: usize,
        victims: &[usize],
        running: RunningPod,
        specs: &[PodSpec],
        slot: Option<ResourceId>,
    ) -> String {
        let node = &mut self.nodes[at];
        let spec = &specs[running.spec.index()];
        let mut names: Vec<&str> = victims.iter().map(|v| node.pods[*v].name.as_str()).collect();
        names.sort_unstable();
        let more = if names.len() > 1 { format!(" and {} more", names.len() - 1) } else { String::new() };
        let why = format!(
            "kube-scheduler makes room for it on node {}: {}{more} of lower priority must go",
            node.name, names[0]
        );
        for victim in victims {
            let gone = &specs[node.pods[*victim].spec.index()];
            let freed = freed(gone, slot);
            node.used = node.used.minus(&freed);
            self.free[at] = self.free[at].plus(&freed);
            node.host_ports.retain(|port| !gone.host_ports.contains(port));
        }
        let mut number = 0..;
        node.pods.retain(|_| number.next().is_some_and(|at: usize| !victims.contains(&at)));
        node.used = node.used.plus(&spec.requests);
        node.host_ports.extend(spec.host_ports.iter().cloned());
        node.host_ports.sort_unstable();
        node.pods.push(running);
        self.free[at] = self.free[at].minus(&spec.requests);
        why
    }
}

/// What a pod leaves behind: attach slots not, because others may use the same disk.
fn freed(spec: &PodSpec, slot: Option<ResourceId>) -> Resources {
    Resources::from_amounts(spec.requests.iter().filter(|(id, _)| Some(*id) != slot))
}
