//! What the first-fit baseline can buy: every offering that a `NodePool` admits, with the room its `DaemonSets` leave.

use stowage_solver::{
    Daemon, DaemonId, Effect, HostPort, InstanceType, NodeConstraint, NodePool, Offering, OpenLabel,
    Operator, PodSpec, PoolId, Price, Problem, ResourceId, Resources, Taint, Toleration, TypeId,
};

use super::rules::{Domains, Rules};

/// Something that can be bought.
pub(super) struct Kind<'p> {
    pub(super) pool: PoolId,
    pub(super) instance_type: TypeId,
    pub(super) offering: usize,
    pub(super) price: Price,
    pub(super) capacity: &'p Resources,
    pub(super) daemons: Vec<DaemonId>,
    pub(super) room: Resources,
    pub(super) ports: Vec<HostPort>,
    pub(super) domains: Domains,
}

/// All that can be bought, by pool, type and offering.
pub(super) struct Market<'p> {
    problem: &'p Problem,
    pub(super) kinds: Vec<Kind<'p>>,
    /// Values chosen for the open labels of each pool.
    pub(super) chosen: Vec<Vec<(String, String)>>,
    /// Capacity and nodes in use, by pool.
    used: Vec<(Resources, u32)>,
}

impl<'p> Market<'p> {
    pub(super) fn of(problem: &'p Problem, rules: &mut Rules<'p>) -> Self {
        let mut this = Self {
            problem,
            kinds: Vec::new(),
            chosen: problem.pools.iter().map(first_values).collect(),
            used: problem.pools.iter().map(|p| (p.used.clone(), p.node_count)).collect(),
        };
        for (at, pool) in problem.pools.iter().enumerate() {
            for (type_at, of_type) in problem.types.iter().enumerate() {
                for (offering_at, offering) in of_type.offerings.iter().enumerate() {
                    let fixed = |key: &str| label(pool, of_type, offering, key);
                    let all = |key: &str| fixed(key).or_else(|| value(&this.chosen[at], key));
                    if !pool.requirements.iter().all(|r| r.allows(all(&r.key))) {
                        continue;
                    }
                    let (daemons, room, ports) = daemons_of(problem, &pool.taints, &of_type.allocatable, all);
                    let Some(room) = room else { continue };
                    this.kinds.push(Kind {
                        pool: PoolId::of(at),
                        instance_type: TypeId::of(type_at),
                        offering: offering_at,
                        price: offering.price,
                        capacity: &of_type.capacity,
                        daemons,
                        room,
                        ports,
                        domains: rules.domains(fixed, u32::MAX),
                    });
                }
            }
        }
        this
    }

    /// Whether node constraints and taints let pods of `spec` onto a kind.
    pub(super) fn welcomes(&self, kind: &Kind<'_>, spec: &PodSpec) -> bool {
        let pool = &self.problem.pools[kind.pool.index()];
        let of_type = &self.problem.types[kind.instance_type.index()];
        let offering = &of_type.offerings[kind.offering];
        let chosen = &self.chosen[kind.pool.index()];
        let all = |key: &str| label(pool, of_type, offering, key).or_else(|| value(chosen, key));
        tolerates(&spec.tolerations, &pool.taints) && meets(&spec.node, all)
    }

    /// Whether the pool's limits allow one more node, or one in place of another.
    pub(super) fn within(&self, kind: &Kind<'_>, instead_of: Option<&Kind<'_>>) -> bool {
        let pool = &self.problem.pools[kind.pool.index()];
        let (used, nodes) = &self.used[kind.pool.index()];
        let after = |id: ResourceId| {
            let freed = instead_of.map_or(0, |other| other.capacity.get(id));
            used.get(id) + kind.capacity.get(id) - freed
        };
        let nodes = nodes + u32::from(instead_of.is_none());
        pool.node_limit.is_none_or(|limit| nodes <= limit)
            && pool.limits.iter().all(|(id, limit)| after(*id) <= *limit)
    }

    /// Counts a node against its pool's limits, in place of another or as one more.
    pub(super) fn count(&mut self, kind: usize, instead_of: Option<usize>) {
        let (used, nodes) = &mut self.used[self.kinds[kind].pool.index()];
        match instead_of {
            Some(other) => *used = used.minus(self.kinds[other].capacity),
            None => *nodes += 1,
        }
        *used = used.plus(self.kinds[kind].capacity);
    }
}

/// The first value of each open label that has a list of them.
fn first_values(pool: &NodePool) -> Vec<(String, String)> {
    let first = |open: &OpenLabel| {
        let values = open.requirements.iter().find_map(|r| match &r.op {
            Operator::In(values) => Some(values),
            _ => None,
        })?;
        let value = values.iter().find(|v| open.requirements.iter().all(|r| r.allows(Some(v.as_str()))))?;
        Some((open.key.clone(), value.clone()))
    };
    pool.open_labels.iter().filter_map(first).collect()
}

fn value<'a>(chosen: &'a [(String, String)], key: &str) -> Option<&'a str> {
    chosen.iter().find(|(open, _)| open == key).map(|(_, value)| value.as_str())
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

pub(super) fn tolerates(tolerations: &[Toleration], taints: &[Taint]) -> bool {
    let hard = taints.iter().filter(|t| t.effect != Effect::PreferNoSchedule);
    hard.into_iter().all(|taint| tolerations.iter().any(|t| t.tolerates(taint)))
}

pub(super) fn meets<'a>(constraints: &[NodeConstraint], label: impl Fn(&str) -> Option<&'a str>) -> bool {
    let any = |c: &NodeConstraint| c.any_of.iter().any(|term| term.iter().all(|r| r.allows(label(&r.key))));
    constraints.iter().all(any)
}

pub(super) fn free(wanted: &[HostPort], taken: &[HostPort]) -> bool {
    wanted.iter().all(|w| taken.iter().all(|t| !w.clashes(t)))
}
