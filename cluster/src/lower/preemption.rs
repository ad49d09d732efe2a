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
//! Pods nominated to a node hold their room against those of equal and lower priority only. One of higher priority takes
//! that room where no other is free, and where it preempts on such a node, all nominations of lower priority end there.
//! Whose room is lost so is a pending pod like others, and may preempt in its turn. Nominated pods with volumes, devices or
//! rules about other pods keep their room.
//!
//! Kubernetes' source of truth: `DefaultPreemption` of kube-scheduler, and `RunFilterPluginsWithNominatedPods`.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};

use stowage_solver::{HostPort, Node, Pod as Pending, PodSpec, ResourceId, Resources, RunningPod, SpecId};

use super::labels;
use super::nominated::Nominated;
use super::world::World;
use crate::snapshot::{Pod, Snapshot};

/// Finds the pods that preempt, and lets them. `pending` are the snapshot's pods of `pods`; `slot` is the resource of
/// attach slots, which pods share. Nominated pods that lose their room become pods of `pods`.
#[expect(clippy::too_many_arguments, reason = "one step of lowering, on what the steps before have made")]
pub(super) fn preempt(
    snapshot: &Snapshot,
    pending: &[&Pod],
    pods: &mut Vec<Pending>,
    nodes: &mut [Node],
    specs: &mut Vec<PodSpec>,
    world: &World<'_>,
    slot: Option<ResourceId>,
    nominated: &mut Vec<Nominated>,
) {
    let running = nodes.iter().filter(|n| n.open).flat_map(|n| &n.pods);
    let Some(lowest) = running.map(|p| specs[p.spec.index()].priority).min() else { return };
    let keys = |n: &Nominated| n.pod.clone();
    let names: HashSet<String> = nominated.iter().map(keys).collect();
    let waiting = snapshot.pods().filter(|pod| pod.nominated.is_some());
    let waiting: HashMap<String, &Pod> =
        waiting.map(|pod| (pod.key(), pod)).filter(|(key, _)| names.contains(key)).collect();
    let light = |n: &&Nominated| {
        let spec = &specs[n.spec.index()];
        let devices = waiting.get(&n.pod).is_none_or(|pod| !pod.spec.resource_claims.is_empty());
        is_simple(spec) && !devices && slot.is_none_or(|slot| spec.requests.get(slot) == 0)
    };
    let held: HashSet<String> = nominated.iter().filter(light).map(keys).collect();
    let mut who: Vec<&Pod> = pending.to_vec();
    // Whether a pod is one for which others make room, if need be.
    let eager = |at: usize, pods: &[Pending], who: &[&Pod], specs: &[PodSpec]| {
        let spec = &specs[pods[at].spec.index()];
        spec.priority > lowest && is_simple(spec) && !who[at].refused
    };
    let turn = |at: usize, pods: &[Pending], specs: &[PodSpec]| {
        (Reverse(specs[pods[at].spec.index()].priority), pods[at].name.clone(), at)
    };
    let mut order: Vec<_> = (0..pods.len()).map(|at| turn(at, pods, specs)).collect();
    order.sort_unstable();
    // Those after the last of them change nothing.
    let last = order.iter().rposition(|(_, _, at)| eager(*at, pods, &who, specs));
    order.truncate(last.map_or(0, |last| last + 1));
    let mut order = BTreeSet::from_iter(order);
    let mut yard = Yard { nodes, free: Vec::new(), safe: names, held };
    yard.free = yard.nodes.iter().map(|n| n.allocatable.minus(&n.used)).collect();
    // Room only shrinks: what did not fit once does not fit later.
    let mut hopeless = HashSet::<SpecId>::new();
    let mut preempting = Vec::new();
    while let Some((_, _, at)) = order.pop_first() {
        let id = pods[at].spec;
        if specs[id.index()].blocked.is_some() || hopeless.contains(&id) || yard.settle(&specs[id.index()]) {
            continue;
        }
        let mut released = Vec::new();
        if eager(at, pods, &who, specs) {
            if let Some(taken) = yard.settle_on_held(&specs[id.index()], specs) {
                released = taken;
            } else if world.preempts(&who[at].spec)
                && let Some((node, victims)) = yard.target(&specs[id.index()], specs, slot)
            {
                let victims: Vec<String> =
                    victims.iter().map(|at| yard.nodes[node].pods[*at].name.clone()).collect();
                released = yard.release_lower(node, specs[id.index()].priority, specs);
                let name = pods[at].name.clone();
                let labels = pods[at].labels;
                let running = RunningPod { name, spec: id, labels, terminating: false, count: 1 };
                preempting.push((at, yard.evict(node, &victims, running, specs, slot)));
            } else {
                hopeless.insert(id);
            }
        } else {
            hopeless.insert(id);
        }
        for pod in released {
            nominated.retain(|n| n.pod != pod.name);
            let Some(own) = waiting.get(&pod.name) else { continue };
            who.push(own);
            pods.push(Pending { name: pod.name, spec: pod.spec, labels: pod.labels });
            order.insert(turn(pods.len() - 1, pods, specs));
            hopeless.clear();
        }
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
    /// Nominated pods: on their way to a node themselves, and not sent off again.
    safe: HashSet<String>,
    /// Those of them that only hold their room against pods that are no more important.
    held: HashSet<String>,
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

    /// Pods nominated to a node whose room one of this priority may take: the lowest first.
    fn held_below(&self, at: usize, priority: i32, specs: &[PodSpec]) -> Vec<usize> {
        let of = |pod: usize| specs[self.nodes[at].pods[pod].spec.index()].priority;
        let mut found: Vec<usize> = (0..self.nodes[at].pods.len())
            .filter(|pod| of(*pod) < priority && self.held.contains(&self.nodes[at].pods[*pod].name))
            .collect();
        found.sort_by_key(|pod| (of(*pod), Reverse(*pod)));
        found
    }

    /// Lets a pod take room that pods of lower priority are nominated to, those of the first node where that suffices.
    /// Says whose room it was, if there is such a node.
    fn settle_on_held(&mut self, spec: &PodSpec, specs: &[PodSpec]) -> Option<Vec<RunningPod>> {
        if self.held.is_empty() {
            return None;
        }
        let fits = |at: &usize| {
            let held = self.held_below(*at, spec.priority, specs);
            let of = |pod: &usize| &specs[self.nodes[*at].pods[*pod].spec.index()];
            let room = held.iter().fold(self.free[*at].clone(), |room, pod| room.plus(&of(pod).requests));
            let theirs = |port: &&HostPort| held.iter().any(|pod| of(pod).host_ports.contains(port));
            let mut taken = self.nodes[*at].host_ports.iter().filter(|port| !theirs(port));
            !held.is_empty()
                && spec.requests.fits(&room)
                && self.admits(*at, spec)
                && !taken.any(|taken| spec.host_ports.iter().any(|port| port.clashes(taken)))
        };
        let at = (0..self.nodes.len()).find(fits)?;
        let mut released = Vec::new();
        for pod in self.held_below(at, spec.priority, specs) {
            let name = self.nodes[at].pods[pod].name.clone();
            let clashes = specs[self.nodes[at].pods[pod].spec.index()]
                .host_ports
                .iter()
                .any(|taken| spec.host_ports.iter().any(|port| port.clashes(taken)));
            if clashes || !spec.requests.fits(&self.free[at]) {
                released.push(name);
                let gone = &specs[self.nodes[at].pods[pod].spec.index()];
                self.free[at] = self.free[at].plus(&gone.requests);
            }
        }
        let released = self.release(at, &released, specs);
        self.free[at] = self.free[at].minus(&spec.requests);
        Some(released)
    }

    /// Ends all nominations to a node of pods below a priority.
    fn release_lower(&mut self, at: usize, priority: i32, specs: &[PodSpec]) -> Vec<RunningPod> {
        let held = self.held_below(at, priority, specs);
        let names: Vec<String> = held.iter().map(|pod| self.nodes[at].pods[*pod].name.clone()).collect();
        for pod in held {
            let gone = &specs[self.nodes[at].pods[pod].spec.index()];
            self.free[at] = self.free[at].plus(&gone.requests);
        }
        self.release(at, &names, specs)
    }

    /// Takes nominated pods off their node.
    fn release(&mut self, at: usize, names: &[String], specs: &[PodSpec]) -> Vec<RunningPod> {
        let node = &mut self.nodes[at];
        let (gone, stay): (Vec<RunningPod>, Vec<RunningPod>) =
            std::mem::take(&mut node.pods).into_iter().partition(|pod| names.contains(&pod.name));
        node.pods = stay;
        for pod in &gone {
            let spec = &specs[pod.spec.index()];
            node.used = node.used.minus(&spec.requests);
            node.host_ports.retain(|port| !spec.host_ports.contains(port));
        }
        gone
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
            .filter(|pod| of(*pod).priority < spec.priority && !self.safe.contains(&node.pods[*pod].name))
            .collect();
        let clashing =
            |pod: usize| spec.host_ports.iter().any(|p| of(pod).host_ports.iter().any(|q| p.clashes(q)));
        let held = self.held_below(at, spec.priority, specs);
        let theirs = |port: &HostPort| held.iter().any(|pod| of(*pod).host_ports.contains(port));
        let taken = |p: &HostPort| node.host_ports.iter().any(|q| p.clashes(q) && !theirs(q));
        let ports_taken = spec.host_ports.iter().any(taken);
        if ports_taken && !lower.iter().any(|pod| clashing(*pod)) {
            return None;
        }
        // Who is nominated there and less important does not count.
        let mut room = self.free[at].clone();
        for &pod in &held {
            room = room.plus(&of(pod).requests);
        }
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
        victims: &[String],
        running: RunningPod,
        specs: &[PodSpec],
        slot: Option<ResourceId>,
    ) -> String {
        let node = &mut self.nodes[at];
        let spec = &specs[running.spec.index()];
        let mut names: Vec<&str> = victims.iter().map(String::as_str).collect();
        names.sort_unstable();
        let more = if names.len() > 1 { format!(" and {} more", names.len() - 1) } else { String::new() };
        let why = format!(
            "kube-scheduler makes room for it on node {}: {}{more} of lower priority must go",
            node.name, names[0]
        );
        let (gone, stay): (Vec<RunningPod>, Vec<RunningPod>) =
            std::mem::take(&mut node.pods).into_iter().partition(|pod| victims.contains(&pod.name));
        node.pods = stay;
        for victim in &gone {
            let gone = &specs[victim.spec.index()];
            let freed = freed(gone, slot);
            node.used = node.used.minus(&freed);
            self.free[at] = self.free[at].plus(&freed);
            node.host_ports.retain(|port| !gone.host_ports.contains(port));
        }
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
