//! Pod specs: everything that decides where a pod may run, worked out once for each distinct one.
//!
//! Kubernetes' source of truth for what a pod needs: `PodRequests` of its component helpers, by which kube-scheduler and kubelet
//! add up containers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use stowage_api::well_known;
use stowage_solver::{
    self as solver, Effect, HostPort, NodeConstraint, PodSpec, ResourceId, Resources, SpecId,
};

use super::admission;
use super::device::Devices;
use super::labels;
use super::preference;
use super::resource::ResourceIds;
use super::selector;
use super::volume::{self, VolumeRules};
use super::world::World;
use crate::note::Rule;
use crate::object::{
    self, Container, DaemonSet, Protocol, TolerationEffect, TolerationOperator, Unsatisfiable, Volume,
};
use crate::requests::pod_requests;
use crate::snapshot::{Pod, namespace_of};

/// Taints that every `DaemonSet` pod tolerates (the `DaemonSet` controller adds these tolerations itself).
const DAEMON_TOLERATES: [(&str, Effect); 6] = [
    (well_known::TAINT_NOT_READY, Effect::NoExecute),
    (well_known::TAINT_UNREACHABLE, Effect::NoExecute),
    (well_known::TAINT_DISK_PRESSURE, Effect::NoSchedule),
    (well_known::TAINT_MEMORY_PRESSURE, Effect::NoSchedule),
    (well_known::TAINT_PID_PRESSURE, Effect::NoSchedule),
    (well_known::TAINT_UNSCHEDULABLE, Effect::NoSchedule),
];

/// Distinct specs.
pub(super) struct Specs<'a> {
    world: &'a World<'a>,
    resources: &'a ResourceIds<'a>,
    devices: &'a Devices,
    all: Vec<PodSpec>,
    equal: HashMap<PodSpec, SpecId>,
    known: HashMap<Origin<'a>, Known>,
}

/// What a lowered spec comes from. Objects of a snapshot are told apart by address: equal ones are shared already.
#[derive(PartialEq, Eq, Hash)]
struct Origin<'a> {
    namespace: &'a str,
    spec: *const object::PodSpec,
    /// The pod's labels, where its rules look at them.
    labels: Option<*const solver::Labels>,
    /// The pod's name, where its volumes are called after it.
    name: Option<&'a str>,
    /// What its claims of devices come to.
    devices: Option<u32>,
    /// Whether it has a node: then what it would like is of no matter any more.
    bound: bool,
    /// Whether the spread of the scheduler's configuration holds for it.
    by_default: bool,
}

struct Known {
    id: SpecId,
    rules: Arc<[Rule]>,
    disks: Arc<BTreeSet<String>>,
}

impl<'a> Specs<'a> {
    pub(super) fn new(world: &'a World<'a>, resources: &'a ResourceIds<'a>, devices: &'a Devices) -> Self {
        Self { world, resources, devices, all: Vec::new(), equal: HashMap::new(), known: HashMap::new() }
    }

    /// What claims of devices come to.
    pub(super) fn devices(&self) -> &'a Devices {
        self.devices
    }

    pub(super) fn all(&self) -> &[PodSpec] {
        &self.all
    }

    /// Drops all preferences. By spec: whether it had any.
    pub(super) fn forget_preferences(&mut self) -> Vec<bool> {
        self.equal.clear();
        self.all.iter_mut().map(|spec| !std::mem::take(&mut spec.preferences).is_empty()).collect()
    }

    /// Lowers what specs ask for to these amounts.
    pub(super) fn cap(&mut self, caps: &BTreeMap<ResourceId, i64>) {
        if caps.is_empty() {
            return;
        }
        self.equal.clear();
        for spec in &mut self.all {
            let capped = spec
                .requests
                .iter()
                .map(|(id, amount)| (id, caps.get(&id).map_or(amount, |cap| amount.min(*cap))));
            spec.requests = Resources::from_amounts(capped.collect::<Vec<_>>());
        }
    }

    pub(super) fn into_all(self) -> Vec<PodSpec> {
        self.all
    }

    /// The spec of a pod, and the rules in it that are not honoured.
    pub(super) fn of(&mut self, pod: &'a Pod) -> (SpecId, Arc<[Rule]>) {
        let known = self.known(pod, false);
        (known.id, Arc::clone(&known.rules))
    }

    /// A spec with a route.
    pub(super) fn routed(&mut self, id: SpecId, route: solver::Route) -> SpecId {
        self.intern(PodSpec { route: Some(route), ..self.all[id.index()].clone() })
    }

    /// The spec of a pod, and the EBS disks that it attaches.
    pub(super) fn of_bound(&mut self, pod: &'a Pod) -> (SpecId, Arc<BTreeSet<String>>) {
        let known = self.known(pod, true);
        (known.id, Arc::clone(&known.disks))
    }

    /// The EBS disks of a pod that waits.
    pub(super) fn disks_of(&mut self, pod: &'a Pod) -> Arc<BTreeSet<String>> {
        Arc::clone(&self.known(pod, false).disks)
    }

    fn known(&mut self, pod: &'a Pod, bound: bool) -> &Known {
        let spec = pod.spec.as_ref();
        let by_default = !bound && admission::spreads_by_default(pod, self.world);
        let origin = Origin {
            namespace: &pod.namespace,
            spec,
            labels: (by_default || looks_at_own_labels(spec)).then_some(Arc::as_ptr(&pod.labels)),
            name: spec.volumes.iter().any(|v| matches!(v, Volume::Ephemeral { .. })).then_some(&pod.name),
            devices: self.devices.number(pod),
            bound,
            by_default,
        };
        if !self.known.contains_key(&origin) {
            let volumes = volume::rules(&spec.volumes, &pod.namespace, &pod.name, self.world);
            let effective = if bound {
                admission::with_runtime_class(spec, self.world)
            } else {
                admission::effective(pod, self.world)
            };
            let rules = not_honoured(spec, self.world).collect();
            let disks = Arc::new(volumes.disks.clone());
            let mut lowered = self.lower(pod, &effective, volumes);
            if !bound {
                lowered.preferences = preference::of(pod, &effective, &lowered.tolerations, self.world);
            }
            let id = self.intern(lowered);
            self.known.insert(origin, Known { id, rules, disks });
            return self.known(pod, bound);
        }
        &self.known[&origin]
    }

    /// `spec` is the pod's as the scheduler sees it.
    fn lower(&self, pod: &Pod, spec: &object::PodSpec, volumes: VolumeRules) -> PodSpec {
        let namespace = pod.namespace.as_ref();
        let mut node = node_constraints(spec);
        node.extend(volumes.constraints);
        let hard = |c: &&object::SpreadConstraint| c.when_unsatisfiable == Unsatisfiable::DoNotSchedule;
        let spreads = spec.topology_spread_constraints.iter().filter(hard);
        let term = |t| selector::pod_term(t, namespace, &pod.labels, self.world);
        let mut lowered = PodSpec {
            namespace: namespace.to_owned(),
            requests: self.requests(spec, volumes.disks.len()),
            node,
            tolerations: tolerations(spec),
            host_ports: host_ports(spec),
            spread: spreads.map(|c| selector::spread(c, namespace, &pod.labels)).collect(),
            affinity: spec.affinity.pod_affinity.required.iter().map(term).collect(),
            anti_affinity: spec.affinity.pod_anti_affinity.required.iter().map(term).collect(),
            preferences: Vec::new(),
            unbound_claims: volumes.unbound.into_iter().collect(),
            priority: spec.priority.unwrap_or_else(|| self.world.priority(&spec.priority_class_name)),
            blocked: volumes.blocked,
            route: None,
        };
        if let Some(number) = self.devices.number(pod) {
            let claims = self.devices.kind(number);
            let requests = self.resources.amounts(self.devices.named(&claims.requests));
            lowered.requests = lowered.requests.plus(&requests);
            lowered.node.extend(claims.node.iter().cloned());
            lowered.affinity.extend(claims.affinity.iter().cloned());
            lowered.anti_affinity.extend(claims.anti_affinity.iter().cloned());
            lowered.blocked = lowered.blocked.or_else(|| claims.blocked.clone());
        }
        lowered
    }

    /// The spec of a `DaemonSet`'s pods. Where its volumes are does not keep it from any node.
    pub(super) fn of_daemon(&mut self, daemon: &DaemonSet) -> SpecId {
        let effective = admission::with_runtime_class(&daemon.spec.template.spec, self.world);
        let spec = effective.as_ref();
        let namespace = namespace_of(&daemon.metadata);
        let volumes = volume::rules(&spec.volumes, namespace, &daemon.metadata.name, self.world);
        let mut tolerations = tolerations(spec);
        let network = (well_known::TAINT_NETWORK_UNAVAILABLE, Effect::NoSchedule);
        let always = DAEMON_TOLERATES.into_iter().chain(spec.host_network.then_some(network));
        tolerations.extend(always.map(|(key, effect)| solver::Toleration {
            key: Some(key.to_owned()),
            value: None,
            effect: Some(effect),
        }));
        let lowered = PodSpec {
            namespace: namespace.to_owned(),
            requests: self.requests(spec, volumes.disks.len()),
            node: node_constraints(spec),
            tolerations,
            host_ports: host_ports(spec),
            priority: spec.priority.unwrap_or_else(|| self.world.priority(&spec.priority_class_name)),
            ..PodSpec::default()
        };
        self.intern(lowered)
    }

    fn requests(&self, spec: &object::PodSpec, disks: usize) -> solver::Resources {
        // A spec whose requests cannot be counted is refused when it is read.
        let requests = pod_requests(spec).unwrap_or_default();
        self.resources.amounts(requests.into_iter().chain([(well_known::EBS_SLOTS, disks as i64)]))
    }

    fn intern(&mut self, spec: PodSpec) -> SpecId {
        if let Some(id) = self.equal.get(&spec) {
            return *id;
        }
        let id = SpecId::of(self.all.len());
        self.all.push(spec.clone());
        self.equal.insert(spec, id);
        id
    }
}

/// Whether `matchLabelKeys` or its opposite make the pod's own labels part of a rule, or a wish asks whether it is about the
/// pod itself.
fn looks_at_own_labels(spec: &object::PodSpec) -> bool {
    let affinity = &spec.affinity;
    if !affinity.pod_affinity.preferred.is_empty() || !affinity.pod_anti_affinity.preferred.is_empty() {
        return true;
    }
    let terms = affinity.pod_affinity.required.iter().chain(&affinity.pod_anti_affinity.required);
    terms.into_iter().any(|t| !t.match_label_keys.is_empty() || !t.mismatch_label_keys.is_empty())
        || spec.topology_spread_constraints.iter().any(|c| !c.match_label_keys.is_empty())
}

/// Rules of a spec that planning does not honour.
fn not_honoured(spec: &object::PodSpec, world: &World<'_>) -> impl Iterator<Item = Rule> {
    let runtime = spec.runtime_class_name.as_str();
    let numeric =
        |t: &object::Toleration| matches!(t.operator, TolerationOperator::Lt | TolerationOperator::Gt);
    [
        (Rule::RuntimeClass, !runtime.is_empty() && world.runtime_class(runtime).is_none()),
        (Rule::NumericTolerations, spec.tolerations.iter().any(numeric)),
    ]
    .into_iter()
    .filter_map(|(rule, stated)| stated.then_some(rule))
}

/// Node selector and required node affinity.
fn node_constraints(spec: &object::PodSpec) -> Vec<NodeConstraint> {
    let mut out = Vec::new();
    if !spec.node_selector.is_empty() {
        let all = spec.node_selector.iter();
        let term = all.map(|(key, value)| labels::equals(key, value)).collect();
        out.push(NodeConstraint { source: "node selector".to_owned(), any_of: vec![term], of_volume: false });
    }
    if let Some(required) = &spec.affinity.node_affinity.required {
        out.push(NodeConstraint {
            source: "node affinity".to_owned(),
            any_of: volume::terms(required),
            of_volume: false,
        });
    }
    out
}

fn tolerations(spec: &object::PodSpec) -> Vec<solver::Toleration> {
    let text = |s: &String| (!s.is_empty()).then(|| s.clone());
    let lowered = spec.tolerations.iter().filter_map(|t| {
        let value = match t.operator {
            TolerationOperator::Exists => None,
            // Without a key, `Equal` is no valid toleration.
            TolerationOperator::Equal if !t.key.is_empty() => Some(t.value.clone()),
            TolerationOperator::Equal | TolerationOperator::Lt | TolerationOperator::Gt => return None,
        };
        let effect = match t.effect {
            TolerationEffect::Any => None,
            TolerationEffect::NoSchedule => Some(Effect::NoSchedule),
            TolerationEffect::PreferNoSchedule => Some(Effect::PreferNoSchedule),
            TolerationEffect::NoExecute => Some(Effect::NoExecute),
        };
        Some(solver::Toleration { key: text(&t.key), value, effect })
    });
    let mut lowered: Vec<_> = lowered.collect();
    lowered.sort_unstable();
    lowered.dedup();
    lowered
}

/// Ports on the node: of containers and sidecars, and all of their ports where the pod shares the node's network.
fn host_ports(spec: &object::PodSpec) -> Vec<HostPort> {
    let sidecars = spec.init_containers.iter().filter(|c: &&Container| c.sidecar);
    let ports = spec.containers.iter().chain(sidecars).flat_map(|c| &c.ports).filter_map(|p| {
        let port = match p.host_port {
            0 if spec.host_network => p.container_port,
            port => port,
        };
        let any = p.host_ip.is_empty() || p.host_ip == "0.0.0.0" || p.host_ip == "::";
        let protocol = match p.protocol {
            Protocol::Tcp => solver::Protocol::Tcp,
            Protocol::Udp => solver::Protocol::Udp,
            Protocol::Sctp => solver::Protocol::Sctp,
        };
        (port > 0).then(|| HostPort { ip: (!any).then(|| p.host_ip.clone()), protocol, port })
    });
    let mut ports: Vec<_> = ports.collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}
