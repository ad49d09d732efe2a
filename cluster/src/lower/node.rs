//! Nodes that exist or are being launched: capacity already paid for, less what takes room there.
//!
//! Kubernetes' source of truth: the scheduler's `NodeInfo`, and its plugins `NodeUnschedulable` and `TaintToleration`.

use std::collections::{BTreeSet, HashMap, HashSet};

use stowage_api::{NodeClaim, Taint, well_known};
use stowage_solver::{self as solver, Daemon, HostPort, Labels, Resources, RunningPod};

use super::device::Devices;
use super::notes::Notes;
use super::resource::ResourceIds;
use super::spec::Specs;
use super::volume::{NAME_FIELD, OLD_EBS_DRIVER};
use super::{LabelSets, LowerOptions, bound_by_node, labels};
use crate::note::Note;
use crate::object::Node;
use crate::snapshot::{Pod, Snapshot};

/// `NodeClaims` that have no Node yet and are not being deleted.
pub(super) fn launching(snapshot: &Snapshot) -> impl Iterator<Item = &NodeClaim> {
    without_node(snapshot).filter(|c| !c.metadata.is_terminating())
}

/// `NodeClaims` that have no Node, yet or any more.
pub(super) fn without_node(snapshot: &Snapshot) -> impl Iterator<Item = &NodeClaim> {
    let nodes: HashSet<&str> = snapshot.nodes.iter().map(|n| n.metadata.name.as_str()).collect();
    let machines: HashSet<&str> =
        snapshot.nodes.iter().map(|n| n.spec.provider_id.as_str()).filter(|id| !id.is_empty()).collect();
    // A node may be there before its claim says which it is.
    snapshot.node_claims().filter(move |c| {
        !nodes.contains(c.status.node_name.as_str()) && !machines.contains(c.status.provider_id.as_str())
    })
}

/// What stays the same from node to node while they are lowered.
struct Context<'c, 's> {
    resources: &'c ResourceIds<'s>,
    devices: &'c Devices,
    daemons: &'c [Daemon],
    /// `DaemonSets` that have a pod on a node: (node, `namespace/name`).
    manned: HashSet<(&'s str, String)>,
    /// Attach slots by node, where its CSI driver says.
    slots: HashMap<&'s str, u32>,
    /// Nodes on which the EBS driver does the work of the old one.
    migrated: HashSet<&'s str>,
    /// Keys of the startup taints of each `NodePool`.
    startup: HashMap<&'s str, Vec<&'s str>>,
}

/// Lowers the nodes of a snapshot, and where `options` say so the machines being launched.
pub(super) fn lower<'a>(
    snapshot: &'a Snapshot,
    options: &LowerOptions,
    resources: &ResourceIds<'a>,
    daemons: &[Daemon],
    specs: &mut Specs<'a>,
    label_sets: &mut LabelSets,
    notes: &mut Notes,
) -> Vec<solver::Node> {
    let bound = bound_by_node(snapshot);
    let context = Context {
        resources,
        devices: specs.devices(),
        daemons,
        manned: manned(&bound),
        slots: slots(snapshot),
        migrated: migrated(snapshot),
        startup: snapshot
            .node_pools
            .iter()
            .map(|p| {
                let taints = &p.spec.template.spec.startup_taints;
                (p.metadata.name.as_str(), taints.iter().map(|t| t.key.as_str()).collect())
            })
            .collect(),
    };
    let mut out = Vec::with_capacity(snapshot.nodes.len());
    let mut full: Option<(usize, &String)> = None;
    for node in &snapshot.nodes {
        let pods = bound.get(node.metadata.name.as_str()).map_or(&[][..], Vec::as_slice);
        let mut lowered = context.node(node, pods, specs, label_sets);
        if !lowered.open && !node.metadata.is_terminating() {
            full.get_or_insert((0, &node.metadata.name)).0 += 1;
        }
        let of_fargate =
            lowered.labels.get(well_known::COMPUTE_TYPE).map(String::as_str) == Some(well_known::FARGATE);
        // A node of Fargate is made for one pod, and goes with it.
        lowered.open &= !of_fargate && !options.closed.contains(&node.metadata.name);
        out.push(lowered);
    }
    if let Some((count, example)) = full {
        notes.add(Note::Overcommitted { count, example: example.clone() });
    }
    let mut names: HashSet<&str> = snapshot.nodes.iter().map(|n| n.metadata.name.as_str()).collect();
    let claims: Vec<&NodeClaim> = launching(snapshot).collect();
    if let Some(first) = claims.first() {
        let example = first.metadata.name.clone();
        notes.add(Note::InFlight { count: claims.len(), example, open: options.in_flight });
    }
    if options.in_flight {
        let free = claims.into_iter().filter(|c| names.insert(&c.metadata.name));
        out.extend(free.map(|claim| context.claim(claim, specs)));
    }
    out
}

impl<'s> Context<'_, 's> {
    fn node(
        &self,
        node: &'s Node,
        pods: &[&'s Pod],
        specs: &mut Specs<'s>,
        label_sets: &mut LabelSets,
    ) -> solver::Node {
        let name = node.metadata.name.as_str();
        let mut labels = node.metadata.labels.clone();
        labels.entry(well_known::HOSTNAME.to_owned()).or_insert_with(|| name.to_owned());
        labels.insert(NAME_FIELD.to_owned(), name.to_owned());
        // So that volumes of the old driver can ask for it; see `volume::migrated`.
        if self.migrated.contains(name) {
            labels.insert(well_known::MIGRATED_PLUGINS.to_owned(), OLD_EBS_DRIVER.to_owned());
        }

        let stated = node.status.allocatable.iter();
        let attach = self
            .slots
            .get(name)
            .map(|n| (well_known::EBS_SLOTS, stowage_api::Quantity::from_units((*n).into())));
        let stated =
            stated.filter(|(key, _)| attach.is_none() || *key != well_known::EBS_SLOTS).chain(attach);
        let allocatable =
            self.resources.supply(stated).plus(&self.resources.amounts(self.devices.of_node(name)));

        let mut used = Vec::new();
        let mut disks = BTreeSet::new();
        let mut host_ports = Vec::new();
        let mut running = Vec::with_capacity(pods.len());
        let slot = self.resources.get(well_known::EBS_SLOTS);
        for pod in pods {
            let (spec, own_disks) = specs.of_bound(pod);
            let lowered = &specs.all()[spec.index()];
            // A disk that several pods share is attached once.
            used.extend(lowered.requests.iter().filter(|(id, _)| Some(*id) != slot));
            disks.extend(own_disks.iter().cloned());
            host_ports.extend(lowered.host_ports.iter().cloned());
            let labels = label_sets.of_pending(pod, self.devices);
            running.push(RunningPod {
                name: pod.key(),
                spec,
                labels,
                terminating: pod.terminating,
                count: 1,
            });
        }
        used.extend(slot.map(|id| (id, disks.len() as i64)));
        let overcommitted = !Resources::from_amounts(used.iter().copied()).fits(&allocatable);
        let taints = self.taints(node, &labels);
        let (more, ports) = self.to_come(name, &labels, &taints, specs);
        used.extend(more.iter());
        host_ports.extend(ports);
        host_ports.sort_unstable();
        host_ports.dedup();
        solver::Node {
            name: name.to_owned(),
            pool: labels.get(well_known::NODE_POOL).cloned(),
            labels,
            taints,
            allocatable,
            used: Resources::from_amounts(used),
            host_ports,
            pods: running,
            open: !node.metadata.is_terminating() && !overcommitted,
        }
    }

    /// The taints that keep pods away: not those that a Karpenter node sheds by itself while it starts.
    fn taints(&self, node: &Node, labels: &Labels) -> Vec<solver::Taint> {
        let starting = match labels.get(well_known::NODE_POOL) {
            Some(pool) if labels.get(well_known::INITIALIZED).is_none_or(|v| v != "true") => {
                Some(self.startup.get(pool.as_str()).map_or(&[][..], Vec::as_slice))
            }
            _ => None,
        };
        let goes = |key: &str| {
            starting.is_some_and(|startup| well_known::is_starting_taint(key) || startup.contains(&key))
        };
        let mut taints: Vec<_> =
            node.spec.taints.iter().filter(|t| !goes(&t.key)).map(labels::taint).collect();
        if node.spec.unschedulable {
            taints.push(solver::Taint {
                key: well_known::TAINT_UNSCHEDULABLE.to_owned(),
                value: String::new(),
                effect: solver::Effect::NoSchedule,
            });
        }
        taints.sort_unstable();
        taints.dedup();
        taints
    }

    /// What `DaemonSets` will take of a node that they suit and have no pod on yet.
    fn to_come(
        &self,
        node: &'s str,
        labels: &Labels,
        taints: &[solver::Taint],
        specs: &Specs<'_>,
    ) -> (Resources, Vec<HostPort>) {
        let (mut requests, mut ports) = (Resources::default(), Vec::new());
        for daemon in self.daemons {
            let spec = &specs.all()[daemon.spec.index()];
            if labels::all_hold(&spec.node, labels)
                && labels::admits(taints, &spec.tolerations)
                && !self.manned.contains(&(node, daemon.name.clone()))
            {
                requests = requests.plus(&spec.requests);
                ports.extend(spec.host_ports.iter().cloned());
            }
        }
        (requests, ports)
    }

    /// A machine that is being launched, named after its claim.
    fn claim(&self, claim: &'s NodeClaim, specs: &Specs<'_>) -> solver::Node {
        let name = claim.metadata.name.as_str();
        let mut labels = Labels::new();
        for requirement in &claim.spec.requirements {
            if let (stowage_api::Operator::In, [value]) =
                (requirement.operator, requirement.values.as_slice())
            {
                labels.insert(well_known::stable(&requirement.key).to_owned(), value.clone());
            }
        }
        labels.extend(claim.metadata.labels.iter().map(|(k, v)| (k.clone(), v.clone())));
        labels.insert(well_known::HOSTNAME.to_owned(), name.to_owned());
        labels::add_aliases(&mut labels);
        let taints: Vec<_> = claim.spec.taints.iter().map(|t: &Taint| labels::taint(t)).collect();
        let (used, host_ports) = self.to_come(name, &labels, &taints, specs);
        let of_type = labels.get(well_known::INSTANCE_TYPE).map_or("", String::as_str);
        let devices = self.resources.amounts(self.devices.of_type(of_type));
        solver::Node {
            name: name.to_owned(),
            pool: labels.get(well_known::NODE_POOL).cloned(),
            labels,
            taints,
            allocatable: self.resources.supply(claim.status.allocatable.iter()).plus(&devices),
            used,
            host_ports,
            pods: Vec::new(),
            open: true,
        }
    }
}

/// Which `DaemonSets` have a pod on which node.
fn manned<'s>(bound: &HashMap<&'s str, Vec<&'s Pod>>) -> HashSet<(&'s str, String)> {
    let pods = bound.iter().flat_map(|(node, pods)| pods.iter().map(|pod| (*node, *pod)));
    pods.filter_map(|(node, pod)| Some((node, format!("{}/{}", pod.namespace, pod.daemon_set.as_ref()?))))
        .collect()
}

/// Nodes on which the EBS driver does the work of the old one.
fn migrated(snapshot: &Snapshot) -> HashSet<&str> {
    let stated = snapshot.csi_nodes.iter().filter(|node| {
        let plugins = node.metadata.annotations.get(well_known::MIGRATED_PLUGINS);
        plugins.is_some_and(|p| p.split(',').any(|plugin| plugin == OLD_EBS_DRIVER))
    });
    stated.map(|node| node.metadata.name.as_str()).collect()
}

/// EBS volumes that can be attached to each node, where its CSI driver says.
fn slots(snapshot: &Snapshot) -> HashMap<&str, u32> {
    let mut slots = HashMap::new();
    for node in &snapshot.csi_nodes {
        let ebs = node.spec.drivers.iter().filter(|d| well_known::EBS_DRIVERS.contains(&d.name.as_str()));
        if let Some(count) = ebs.filter_map(|d| d.allocatable.count).next_back() {
            slots.insert(node.metadata.name.as_str(), count);
        }
    }
    slots
}
