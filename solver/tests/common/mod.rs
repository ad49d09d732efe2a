//! Builders that read like a sentence, and a generator of small random clusters.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)] // Each test binary uses its own part.

pub mod exhaustive;
pub mod random;
pub mod town;

use std::sync::atomic::AtomicBool;

use stowage_solver::{
    Daemon, Effect, HostPort, InstanceType, LabelSetId, Labels, Node, NodeConstraint, NodePool, Offering,
    Operator, Options, Pod, PodSelector, PodSpec, PodTerm, Price, Problem, Protocol, Quota, QuotaId,
    Requirement, ResourceId, Resources, Route, RunningPod, Solution, SpecId, Spread, Taint, Toleration,
    TopologyKey, solve,
};

pub const ZONE: &str = "topology.kubernetes.io/zone";
pub const CAPACITY: &str = "karpenter.sh/capacity-type";
pub const HOSTNAME: &str = "kubernetes.io/hostname";
const RESOURCES: [&str; 4] = ["cpu", "memory", "nvidia.com/gpu", "pods"];

/// A problem under construction.
#[derive(Clone, Debug)]
pub struct World(pub Problem);

/// Amounts in milli-CPU, MiB and GPUs; `pods` is a node's pod limit or a pod's one.
pub fn amounts(cpu: i64, mib: i64, gpu: i64, pods: i64) -> Resources {
    let all = [cpu, mib << 20, gpu, pods];
    Resources::from_amounts(all.into_iter().enumerate().map(|(at, n)| (ResourceId::of(at), n)))
}

pub fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

pub fn one_of(key: &str, values: &[&str]) -> Requirement {
    Requirement { key: key.to_owned(), op: Operator::In(values.iter().map(|v| (*v).to_owned()).collect()) }
}

pub fn node_selector(requirement: Requirement) -> NodeConstraint {
    NodeConstraint { source: "node selector".to_owned(), any_of: vec![vec![requirement]], of_volume: false }
}

pub fn app(name: &str) -> PodSelector {
    PodSelector { namespaces: vec!["default".to_owned()], labels: Some(vec![one_of("app", &[name])]) }
}

pub fn zone_spread(name: &str, max_skew: u32) -> Spread {
    spread(TopologyKey::Label(ZONE.to_owned()), name, max_skew)
}

pub fn spread(key: TopologyKey, name: &str, max_skew: u32) -> Spread {
    Spread {
        key,
        max_skew,
        min_domains: 1,
        selector: app(name),
        honor_node_affinity: true,
        honor_taints: false,
        wished: false,
    }
}

pub fn away_from(key: TopologyKey, name: &str) -> PodTerm {
    PodTerm { key, selector: app(name) }
}

pub fn near_to(key: TopologyKey, name: &str) -> PodTerm {
    PodTerm { key, selector: app(name) }
}

pub fn taint(key: &str) -> Taint {
    Taint { key: key.to_owned(), value: String::new(), effect: Effect::NoSchedule }
}

pub fn tolerate(key: &str) -> Toleration {
    Toleration { key: Some(key.to_owned()), value: None, effect: None }
}

pub fn port(port: u16) -> HostPort {
    HostPort { ip: None, protocol: Protocol::Tcp, port }
}

/// A machine for one pod, at so many thousandths of a dollar.
pub fn route(mills: i64) -> Route {
    Route { price: Price::from_micros(mills * 1000), shape: 0 }
}

/// A pod spec of the namespace `default` asking for this much.
pub fn spec(cpu: i64, mib: i64) -> PodSpec {
    PodSpec { namespace: "default".to_owned(), requests: amounts(cpu, mib, 0, 1), ..PodSpec::default() }
}

impl World {
    /// A `NodePool` `default` that takes everything, and no types yet.
    pub fn new() -> Self {
        let mut world = Self(Problem {
            resources: RESOURCES.iter().map(|r| (*r).to_owned()).collect(),
            zone_key: ZONE.to_owned(),
            ..Problem::default()
        });
        world.pool("default", |_| {});
        world
    }

    pub fn pool(&mut self, name: &str, change: impl FnOnce(&mut NodePool)) -> &mut Self {
        let mut pool = NodePool {
            name: name.to_owned(),
            labels: labels(&[("karpenter.sh/nodepool", name), (HOSTNAME, "a new node")]),
            ..NodePool::default()
        };
        change(&mut pool);
        self.0.pools.push(pool);
        self
    }

    /// An on-demand type of this room in zones a, b and c.
    pub fn instance(&mut self, name: &str, room: Resources, dollars: f64) -> &mut Self {
        self.instance_in(name, room, dollars, &["a", "b", "c"])
    }

    pub fn instance_in(&mut self, name: &str, room: Resources, dollars: f64, zones: &[&str]) -> &mut Self {
        let offerings = zones.iter().map(|zone| Offering {
            zone: (*zone).to_owned(),
            capacity_type: "on-demand".to_owned(),
            labels: labels(&[(ZONE, zone), (CAPACITY, "on-demand")]),
            price: Price::from_dollars(dollars).unwrap(),
            estimated: false,
            rebate: Price::ZERO,
            draws: Vec::new(),
        });
        self.0.types.push(InstanceType {
            name: name.to_owned(),
            labels: labels(&[("node.kubernetes.io/instance-type", name)]),
            capacity: room.clone(),
            allocatable: room,
            offerings: offerings.collect(),
        });
        self
    }

    /// Sells every type on spot too, at this share of its price.
    pub fn spot(&mut self, share: f64) -> &mut Self {
        for of_type in &mut self.0.types {
            for at in 0..of_type.offerings.len() {
                let mut offering = of_type.offerings[at].clone();
                "spot".clone_into(&mut offering.capacity_type);
                offering.labels.insert(CAPACITY.to_owned(), "spot".to_owned());
                offering.price = Price::from_dollars(offering.price.dollars() * share).unwrap();
                of_type.offerings.push(offering);
            }
        }
        self
    }

    /// A quota, and on it every offering that `units` says how many units of it takes, without anything to pay.
    pub fn covered(
        &mut self,
        name: &str,
        of: i64,
        units: impl Fn(usize, &InstanceType, &Offering) -> Option<i64>,
    ) -> &mut Self {
        let quota = QuotaId::of(self.0.quotas.len());
        self.0.quotas.push(Quota { name: name.to_owned(), units: of });
        for (at, of_type) in self.0.types.iter_mut().enumerate() {
            for offering in of_type.offerings.clone().iter().filter(|o| o.draws.is_empty()) {
                if let Some(units) = units(at, of_type, offering) {
                    let draws = vec![(quota, units)];
                    of_type.offerings.push(Offering { rebate: offering.price, draws, ..offering.clone() });
                }
            }
        }
        self
    }

    /// Capacity of a type in zone a that is there for so many nodes, at this share of its price.
    pub fn reserved(&mut self, of_type: usize, nodes: i64, share: f64) -> &mut Self {
        let quota = QuotaId::of(self.0.quotas.len());
        self.0.quotas.push(Quota { name: format!("reservation-{of_type}"), units: nodes });
        let of_type = &mut self.0.types[of_type];
        let mut offering = of_type.offerings[0].clone();
        "reserved".clone_into(&mut offering.capacity_type);
        offering.labels.insert(CAPACITY.to_owned(), "reserved".to_owned());
        offering.price = Price::from_dollars(offering.price.dollars() * share).unwrap();
        offering.draws = vec![(quota, 1)];
        of_type.offerings.push(offering);
        self
    }

    /// What is paid for already: in one of four a savings plan, reserved instances or reserved capacity each.
    pub fn quotas(&mut self, bits: u16) -> &mut Self {
        let has = |bit: u16| bits & (3 << (2 * bit)) == 0;
        let size = i64::from(bits >> 10 & 7);
        if has(0) {
            let rate = |_: usize, of_type: &InstanceType, o: &Offering| {
                let kept = if of_type.name.ends_with('1') { 7 } else { 5 };
                (o.capacity_type == "on-demand").then(|| (o.price.micros() * kept / 10).max(1))
            };
            self.covered("savings-plan", size * 50_000, rate);
        }
        if has(1) {
            let units = |at: usize, _: &InstanceType, o: &Offering| {
                (at < 2 && o.capacity_type == "on-demand").then(|| 1 + at as i64)
            };
            self.covered("reserved-instances", 1 + size / 2, units);
        }
        if has(2) {
            self.reserved(0, 1 + size % 3, if bits & 0x2000 == 0 { 0.0 } else { 0.5 });
        }
        self
    }

    pub fn intern(&mut self, spec: PodSpec, pod_labels: &Labels) -> (SpecId, LabelSetId) {
        let specs = &mut self.0.specs;
        let at = specs.iter().position(|s| *s == spec).unwrap_or_else(|| {
            specs.push(spec);
            specs.len() - 1
        });
        let sets = &mut self.0.label_sets;
        let set = sets.iter().position(|s| s == pod_labels).unwrap_or_else(|| {
            sets.push(pod_labels.clone());
            sets.len() - 1
        });
        (SpecId::of(at), LabelSetId::of(set))
    }

    /// `count` pending pods `default/<name>-<i>` labelled `app=<name>`.
    pub fn pods(&mut self, name: &str, count: usize, spec: PodSpec) -> &mut Self {
        let (spec, labels) = self.intern(spec, &labels(&[("app", name)]));
        for at in 0..count {
            self.0.pods.push(Pod { name: format!("default/{name}-{at:04}"), spec, labels });
        }
        self
    }

    /// An existing node in a zone.
    pub fn node(&mut self, name: &str, zone: &str, room: Resources) -> &mut Self {
        self.0.nodes.push(Node {
            name: name.to_owned(),
            labels: labels(&[(ZONE, zone), (HOSTNAME, name)]),
            taints: Vec::new(),
            allocatable: room,
            used: Resources::default(),
            host_ports: Vec::new(),
            pods: Vec::new(),
            pool: None,
            open: true,
        });
        self
    }

    /// A pod of `app` that runs on the last node.
    pub fn running(&mut self, app: &str, spec: PodSpec) -> &mut Self {
        let requests = spec.requests.clone();
        let ports = spec.host_ports.clone();
        let (spec, labels) = self.intern(spec, &labels(&[("app", app)]));
        let node = self.0.nodes.last_mut().unwrap();
        node.used = node.used.plus(&requests);
        node.host_ports.extend(ports);
        let name = format!("default/{app}-running-{}-{}", node.name, node.pods.len());
        node.pods.push(RunningPod { name, spec, labels, terminating: false, count: 1 });
        self
    }

    pub fn daemon(&mut self, name: &str, spec: PodSpec) -> &mut Self {
        let (spec, _) = self.intern(spec, &Labels::new());
        self.0.daemons.push(Daemon { name: format!("kube-system/{name}"), spec });
        self
    }

    pub fn solve(&self) -> Solution {
        plan(&self.0)
    }
}

/// Solves with default options; a violation is a failed test.
pub fn plan(problem: &Problem) -> Solution {
    plan_with(problem, &Options::default())
}

/// Solves; a violation is a failed test.
pub fn plan_with(problem: &Problem, options: &Options) -> Solution {
    solve(problem, options, &AtomicBool::new(false), &mut |_, _, _| {}).unwrap_or_else(|violations| {
        let lines: Vec<&str> = violations.iter().map(|v| v.what.as_str()).collect();
        panic!("the plan breaks rules:\n{}\n{problem:#?}", lines.join("\n"))
    })
}
