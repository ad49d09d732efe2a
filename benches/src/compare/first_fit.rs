//! First-fit decreasing, the baseline that anyone would write first.
//!
//! 1. Pods by CPU, then memory, largest first, then by name.
//! 2. Each goes to the first node, existing ones first and then new ones in the order they were opened, that has room
//!    and whose rules allow it: node selectors and affinity, taints, host ports, spread, pod affinity and anti-affinity.
//! 3. Where none does, a node is opened: the offering with the lowest price per copy of this pod that it would hold,
//!    counting no more copies than still wait and may share a host; of equals the cheaper, then the first by name.
//! 4. At the end each new node becomes the cheapest offering of its pool and domains that holds what it got.
//!
//! It looks at one pod at a time, never moves one again, and proves nothing. It ignores priorities and shared unbound
//! volumes, and gives open labels of a `NodePool` their first value.

use std::collections::HashMap;

use stowage_solver::{
    Daemon, DaemonId, Effect, HostPort, InstanceType, LabelSetId, NewNode, NodeConstraint, NodeId, NodePool,
    Obstacle, Offering, Placement, Pod, PodId, PodSpec, PoolId, Price, Problem, Reason, ResourceId,
    Resources, Solution, SpecId, Taint, Toleration, TypeId, Unplaced,
};

use super::rules::{Domains, Rules};

/// Plans `problem`.
pub(crate) fn plan(problem: &Problem) -> Solution {
    let mut packing = Packing::of(problem);
    let mut waiting = HashMap::<(SpecId, LabelSetId), u32>::new();
    for pod in &problem.pods {
        *waiting.entry((pod.spec, pod.labels)).or_insert(0) += 1;
    }
    let mut unplaced = Vec::new();
    for id in decreasing(problem) {
        let pod = &problem.pods[id.index()];
        let copies =
            waiting.get_mut(&(pod.spec, pod.labels)).map_or(1, |left| std::mem::replace(left, *left - 1));
        if !packing.add(id, copies) {
            unplaced.push(Unplaced { pod: id, reasons: reasons(problem, pod) });
        }
    }
    unplaced.sort_by_key(|u| u.pod);
    packing.shrink();
    packing.finish(unplaced)
}

fn decreasing(problem: &Problem) -> Vec<PodId> {
    let resource = |name: &str| problem.resources.iter().position(|r| r == name).map(ResourceId::of);
    let (cpu, memory) = (resource("cpu"), resource("memory"));
    let mut order: Vec<PodId> = (0..problem.pods.len()).map(PodId::of).collect();
    order.sort_by_key(|id| {
        let pod = &problem.pods[id.index()];
        let asks = |r: Option<ResourceId>| r.map_or(0, |r| problem.specs[pod.spec.index()].requests.get(r));
        (-asks(cpu), -asks(memory), &pod.name)
    });
    order
}

fn reasons(problem: &Problem, pod: &Pod) -> Vec<Reason> {
    if let Some(why) = &problem.specs[pod.spec.index()].blocked {
        return vec![Reason::Blocked(why.clone())];
    }
    if problem.pools.is_empty() {
        return vec![Reason::NoPools];
    }
    (0..problem.pools.len()).map(|pool| Reason::Pool(PoolId::of(pool), Obstacle::NoTypeHolds)).collect()
}

/// Something that can be bought.
struct Kind<'p> {
    pool: PoolId,
    instance_type: TypeId,
    offering: usize,
    price: Price,
    capacity: &'p Resources,
    daemons: Vec<DaemonId>,
    room: Resources,
    ports: Vec<HostPort>,
    domains: Domains,
}

enum Home {
    Node(NodeId),
    New(usize),
}

struct Bin {
    home: Home,
    room: Resources,
    ports: Vec<HostPort>,
    domains: Domains,
    pods: Vec<PodId>,
}

/// What one spec may use at all.
struct Choice {
    kinds: Vec<usize>,
    nodes: Vec<bool>,
    /// Domains of those, each once.
    eligible: Vec<Domains>,
}

struct Packing<'p> {
    problem: &'p Problem,
    chosen: Vec<Vec<(String, String)>>,
    kinds: Vec<Kind<'p>>,
    bins: Vec<Bin>,
    rules: Rules<'p>,
    choices: HashMap<SpecId, Choice>,
    /// Capacity and nodes in use, by pool.
    used: Vec<(Resources, u32)>,
}

impl<'p> Packing<'p> {
    fn of(problem: &'p Problem) -> Self {
        let mut rules = Rules::of(problem);
        let chosen: Vec<Vec<(String, String)>> = problem.pools.iter().map(first_values).collect();
        let mut bins = Vec::new();
        for (at, node) in problem.nodes.iter().enumerate() {
            let domains = rules.domains(|key| node.labels.get(key).map(String::as_str), at as u32);
            for running in node.pods.iter().filter(|p| !p.terminating) {
                let pod = Pod { name: running.name.clone(), spec: running.spec, labels: running.labels };
                rules.place(&pod, &domains);
            }
            bins.push(Bin {
                home: Home::Node(NodeId::of(at)),
                room: node.allocatable.minus(&node.used),
                ports: node.host_ports.clone(),
                domains,
                pods: Vec::new(),
            });
        }
        let mut this = Self {
            problem,
            chosen: Vec::new(),
            kinds: Vec::new(),
            bins,
            rules,
            choices: HashMap::new(),
            used: problem.pools.iter().map(|p| (p.used.clone(), p.node_count)).collect(),
        };
        this.chosen = chosen;
        this.enumerate();
        this
    }

    fn enumerate(&mut self) {
        let problem = self.problem;
        for (pool_at, pool) in problem.pools.iter().enumerate() {
            for (type_at, of_type) in problem.types.iter().enumerate() {
                for (offering_at, offering) in of_type.offerings.iter().enumerate() {
                    let label = |key: &str| label(pool, of_type, offering, key);
                    if !pool
                        .requirements
                        .iter()
                        .all(|r| r.allows(label(&r.key).or_else(|| self.value(pool_at, &r.key))))
                    {
                        continue;
                    }
                    let open = |key: &str| label(key).or_else(|| self.value(pool_at, key));
                    let (daemons, room, ports) =
                        daemons_of(problem, &pool.taints, &of_type.allocatable, open);
                    let Some(room) = room else { continue };
                    let domains = self.rules.domains(label, u32::MAX);
                    self.kinds.push(Kind {
                        pool: PoolId::of(pool_at),
                        instance_type: TypeId::of(type_at),
                        offering: offering_at,
                        price: offering.price,
                        capacity: &of_type.capacity,
                        daemons,
                        room,
                        ports,
                        domains,
                    });
                }
            }
        }
    }

    /// The value chosen for an open label of a pool.
    fn value(&self, pool: usize, key: &str) -> Option<&str> {
        self.chosen[pool].iter().find(|(open, _)| open == key).map(|(_, value)| value.as_str())
    }

    fn choice(&mut self, id: SpecId) {
        if self.choices.contains_key(&id) {
            return;
        }
        let (problem, spec) = (self.problem, &self.problem.specs[id.index()]);
        let kinds: Vec<usize> = (0..self.kinds.len())
            .filter(|at| {
                let kind = &self.kinds[*at];
                let (pool, of_type) =
                    (&problem.pools[kind.pool.index()], &problem.types[kind.instance_type.index()]);
                let offering = &of_type.offerings[kind.offering];
                let of_kind = |key: &str| {
                    label(pool, of_type, offering, key).or_else(|| self.value(kind.pool.index(), key))
                };
                tolerates(&spec.tolerations, &pool.taints) && meets(&spec.node, of_kind)
            })
            .collect();
        let nodes: Vec<bool> = problem
            .nodes
            .iter()
            .map(|node| {
                let of_node = |key: &str| node.labels.get(key).map(String::as_str);
                node.open && tolerates(&spec.tolerations, &node.taints) && meets(&spec.node, of_node)
            })
            .collect();
        let of_nodes = nodes.iter().zip(&self.bins).filter(|(yes, _)| **yes).map(|(_, bin)| &bin.domains);
        let mut eligible: Vec<Domains> =
            kinds.iter().map(|at| &self.kinds[*at].domains).chain(of_nodes).cloned().collect();
        eligible.sort_unstable();
        eligible.dedup();
        self.choices.insert(id, Choice { kinds, nodes, eligible });
    }

    /// Places a pod; false where it can be nowhere. `copies` of it, itself included, wait.
    fn add(&mut self, id: PodId, copies: u32) -> bool {
        let problem = self.problem;
        let pod = &problem.pods[id.index()];
        let spec = &problem.specs[pod.spec.index()];
        if spec.blocked.is_some() {
            return false;
        }
        self.choice(pod.spec);
        let choice = &self.choices[&pod.spec];
        let at = (0..self.bins.len()).find(|at| {
            let bin = &self.bins[*at];
            let welcome = match bin.home {
                Home::Node(node) => choice.nodes[node.index()],
                Home::New(kind) => choice.kinds.binary_search(&kind).is_ok(),
            };
            welcome
                && spec.requests.fits(&bin.room)
                && free(&spec.host_ports, &bin.ports)
                && self.rules.allow(pod, &bin.domains, &choice.eligible)
        });
        let Some(at) = at.or_else(|| self.open(pod, spec, copies)) else { return false };
        let bin = &mut self.bins[at];
        bin.room = bin.room.minus(&spec.requests);
        bin.ports.extend(spec.host_ports.iter().cloned());
        bin.pods.push(id);
        self.rules.place(pod, &bin.domains);
        true
    }

    /// Opens the node with the lowest price per copy.
    fn open(&mut self, pod: &Pod, spec: &PodSpec, copies: u32) -> Option<usize> {
        let choice = &self.choices[&pod.spec];
        let most = self.rules.most_on_a_host(pod).min(copies).max(1);
        let host = self.bins.len() as u32;
        let mut best: Option<(i64, Price, usize)> = None;
        for at in &choice.kinds {
            let kind = &self.kinds[*at];
            let held = held(&kind.room, &spec.requests, most);
            if held == 0
                || !free(&spec.host_ports, &kind.ports)
                || !within(self.problem, &self.used, kind, None)
            {
                continue;
            }
            // Micro-dollars a copy, in thousandths, so that no float decides.
            let each = kind.price.micros().saturating_mul(1000) / i64::from(held);
            let better = best.is_none_or(|(least, price, _)| (each, kind.price) < (least, price));
            if better && self.rules.allow(pod, &self.rules.on_host(&kind.domains, host), &choice.eligible) {
                best = Some((each, kind.price, *at));
            }
        }
        let (_, _, at) = best?;
        let kind = &self.kinds[at];
        let used = &mut self.used[kind.pool.index()];
        *used = (used.0.plus(kind.capacity), used.1 + 1);
        self.bins.push(Bin {
            home: Home::New(at),
            room: kind.room.clone(),
            ports: kind.ports.clone(),
            domains: self.rules.on_host(&kind.domains, host),
            pods: Vec::new(),
        });
        Some(self.bins.len() - 1)
    }

    /// Makes each new node the cheapest that holds what it got.
    fn shrink(&mut self) {
        for at in 0..self.bins.len() {
            let Home::New(now) = self.bins[at].home else { continue };
            let kind = &self.kinds[now];
            let specs: Vec<&PodSpec> = self.bins[at].pods.iter().map(|p| self.spec(*p)).collect();
            let load = Resources::from_amounts(specs.iter().flat_map(|s| s.requests.iter()));
            let allowed = |other: usize| {
                self.bins[at].pods.iter().all(|p| {
                    let spec = self.problem.pods[p.index()].spec;
                    self.choices[&spec].kinds.binary_search(&other).is_ok()
                })
            };
            let cheapest = (0..self.kinds.len())
                .filter(|other| {
                    let with = &self.kinds[*other];
                    with.pool == kind.pool
                        && with.price < kind.price
                        && self.rules.alike(&with.domains, &kind.domains)
                        && load.fits(&with.room)
                        && specs.iter().all(|s| free(&s.host_ports, &with.ports))
                        && within(self.problem, &self.used, with, Some(kind))
                        && allowed(*other)
                })
                .min_by_key(|other| (self.kinds[*other].price, *other));
            if let Some(other) = cheapest {
                let with = &self.kinds[other];
                let used = &mut self.used[kind.pool.index()].0;
                *used = used.minus(kind.capacity).plus(with.capacity);
                self.bins[at].home = Home::New(other);
            }
        }
    }

    fn spec(&self, pod: PodId) -> &'p PodSpec {
        &self.problem.specs[self.problem.pods[pod.index()].spec.index()]
    }

    fn finish(self, unplaced: Vec<Unplaced>) -> Solution {
        let mut solution = Solution { unplaced, ..Solution::default() };
        for mut bin in self.bins.into_iter().filter(|bin| !bin.pods.is_empty()) {
            bin.pods.sort_unstable();
            match bin.home {
                Home::Node(node) => solution.placements.push(Placement { node, pods: bin.pods }),
                Home::New(kind) => {
                    let kind = &self.kinds[kind];
                    solution.cost += kind.price;
                    solution.new_nodes.push(NewNode {
                        pool: kind.pool,
                        instance_type: kind.instance_type,
                        offering: kind.offering,
                        chosen_labels: self.chosen[kind.pool.index()].clone(),
                        price: kind.price,
                        pods: bin.pods,
                        daemons: kind.daemons.clone(),
                        alternatives: Vec::new(),
                    });
                }
            }
        }
        solution
    }
}

/// The first value of each open label that has a list of them.
fn first_values(pool: &NodePool) -> Vec<(String, String)> {
    let first = |open: &stowage_solver::OpenLabel| {
        let values = open.requirements.iter().find_map(|r| match &r.op {
            stowage_solver::Operator::In(values) => Some(values),
            _ => None,
        })?;
        let value = values.iter().find(|v| open.requirements.iter().all(|r| r.allows(Some(v.as_str()))))?;
        Some((open.key.clone(), value.clone()))
    };
    pool.open_labels.iter().filter_map(first).collect()
}

fn label<'p>(
    pool: &'p NodePool,
    of_type: &'p InstanceType,
    offering: &'p Offering,
    key: &str,
) -> Option<&'p str> {
    let found = offering.labels.get(key).or_else(|| of_type.labels.get(key)).or_else(|| pool.labels.get(key));
    found.map(String::as_str)
}

/// The `DaemonSets` of a new node, the room that they leave (none where they do not fit), and their ports.
fn daemons_of<'a>(
    problem: &Problem,
    taints: &[Taint],
    allocatable: &Resources,
    label: impl Fn(&str) -> Option<&'a str>,
) -> (Vec<DaemonId>, Option<Resources>, Vec<HostPort>) {
    let spec = |d: &Daemon| &problem.specs[d.spec.index()];
    let runs =
        |d: &&(usize, &Daemon)| tolerates(&spec(d.1).tolerations, taints) && meets(&spec(d.1).node, &label);
    let daemons: Vec<(usize, &Daemon)> = problem.daemons.iter().enumerate().collect();
    let daemons: Vec<&(usize, &Daemon)> = daemons.iter().filter(runs).collect();
    let load = Resources::from_amounts(daemons.iter().flat_map(|(_, d)| spec(d).requests.iter()));
    let ports = daemons.iter().flat_map(|(_, d)| spec(d).host_ports.iter().cloned()).collect();
    let room = load.fits(allocatable).then(|| allocatable.minus(&load));
    (daemons.iter().map(|(at, _)| DaemonId::of(*at)).collect(), room, ports)
}

fn tolerates(tolerations: &[Toleration], taints: &[Taint]) -> bool {
    let hard = taints.iter().filter(|t| t.effect != Effect::PreferNoSchedule);
    hard.into_iter().all(|taint| tolerations.iter().any(|t| t.tolerates(taint)))
}

fn meets<'a>(constraints: &[NodeConstraint], label: impl Fn(&str) -> Option<&'a str>) -> bool {
    let any = |c: &NodeConstraint| c.any_of.iter().any(|term| term.iter().all(|r| r.allows(label(&r.key))));
    constraints.iter().all(any)
}

fn free(wanted: &[HostPort], taken: &[HostPort]) -> bool {
    wanted.iter().all(|w| taken.iter().all(|t| !w.clashes(t)))
}

/// How many copies fit, `most` at most.
fn held(room: &Resources, requests: &Resources, most: u32) -> u32 {
    let fits = requests.iter().map(|(id, amount)| room.get(id) / amount).min().unwrap_or(i64::MAX);
    u32::try_from(fits).unwrap_or(u32::MAX).min(most)
}

/// Whether a pool's limits allow one more node, or one in place of another.
fn within(
    problem: &Problem,
    used: &[(Resources, u32)],
    kind: &Kind<'_>,
    instead_of: Option<&Kind<'_>>,
) -> bool {
    let pool = &problem.pools[kind.pool.index()];
    let (used, nodes) = &used[kind.pool.index()];
    let after = |id: ResourceId| {
        used.get(id) + kind.capacity.get(id) - instead_of.map_or(0, |other| other.capacity.get(id))
    };
    let nodes = nodes + u32::from(instead_of.is_none());
    pool.node_limit.is_none_or(|limit| nodes <= limit)
        && pool.limits.iter().all(|(id, limit)| after(*id) <= *limit)
}
