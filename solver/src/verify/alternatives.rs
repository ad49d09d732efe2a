//! Each alternative of a new node, put in its place with all else as planned, breaks no rule.
//!
//! What is checked is sufficient, and stricter than the scheduler: where a rule over a node label concerns a pod of the
//! node, the alternative must have the very same value of that label, so that every such rule counts as before.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::cluster::{Cluster, Host, clash, repelling};
use super::{Violation, violation};
use crate::problem::{
    HostPort, LabelSetId, Labels, NodeConstraint, PodSelector, Problem, Resources, SpecId, Term, TopologyKey,
    TypeId,
};
use crate::solution::{Alternative, NewNode, Solution};

/// A node that could be launched: what it is, and what that means for pods.
type Launch<'s> = (u32, u32, u32, &'s [(String, String)]);

/// Pods that no rule tells apart.
type Pods = (SpecId, LabelSetId);

/// What holds for a node that could be launched, whatever its pods.
struct Setting<'p> {
    /// The requirement of the `NodePool` that it does not meet.
    unmet: Option<&'p str>,
    /// What its `DaemonSets` leave of what pods may use; `None` where they alone do not fit.
    room: Option<Resources>,
    /// Host ports that they take.
    ports: Vec<HostPort>,
}

/// The labels of a node that could be launched.
#[derive(Clone, Copy)]
struct View<'a> {
    chosen: &'a [(String, String)],
    offering: &'a Labels,
    of_type: &'a Labels,
    pool: &'a Labels,
}

impl<'a> View<'a> {
    fn of(problem: &'a Problem, node: &'a NewNode, alternative: Alternative) -> Self {
        Self {
            chosen: &node.chosen_labels,
            offering: &alternative.offering(problem).labels,
            of_type: &problem.types[alternative.instance_type.index()].labels,
            pool: &problem.pools[node.pool.index()].labels,
        }
    }

    fn get(&self, key: &str) -> Option<&'a str> {
        let chosen = self.chosen.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value);
        let found = chosen.or_else(|| self.offering.get(key)).or_else(|| self.of_type.get(key));
        found.or_else(|| self.pool.get(key)).map(String::as_str)
    }

    /// The first node constraint that is not met.
    fn broken<'c>(&self, constraints: &'c [NodeConstraint]) -> Option<&'c NodeConstraint> {
        let meets = |term: &Term| term.iter().all(|r| r.allows(self.get(&r.key)));
        constraints.iter().find(|constraint| !constraint.any_of.iter().any(meets))
    }
}

pub(super) fn check(cluster: &Cluster<'_>, solution: &Solution, found: &mut Vec<Violation>) {
    let mut checker = Checker::of(cluster, solution);
    // Nodes with the same list and alike pods have one verdict.
    let mut seen = HashSet::new();
    for host in &cluster.hosts {
        let Some(node) = host.new.map(|at| &solution.new_nodes[at]) else { continue };
        let mut pods: Vec<Pods> = Vec::with_capacity(host.seats.len());
        pods.extend(host.seats.iter().map(|at| (cluster.seats[*at].spec, cluster.seats[*at].labels)));
        pods.sort_unstable();
        let list = Arc::as_ptr(&node.alternatives).cast::<Alternative>();
        let own = (node.pool, node.instance_type, node.offering, &node.chosen_labels);
        let key = (list, own, pods);
        if !seen.contains(&key) {
            checker.node(host, node, &key.2, found);
            seen.insert(key);
        }
    }
}

struct Checker<'c, 'p, 's> {
    cluster: &'c Cluster<'p>,
    /// By pool: what its nodes have together, and how much of what its limits allow.
    used: Vec<Resources>,
    /// By quota: what new nodes draw together.
    drawn: Vec<i128>,
    settings: HashMap<Launch<'s>, Setting<'p>>,
    /// The labels of rules that select such a pod, of pods that run or are placed.
    selecting: HashMap<Pods, BTreeSet<&'p str>>,
}

impl<'c, 'p, 's> Checker<'c, 'p, 's> {
    fn of(cluster: &'c Cluster<'p>, solution: &'s Solution) -> Self {
        let problem = cluster.problem;
        let mut used: Vec<Resources> = problem.pools.iter().map(|p| p.used.clone()).collect();
        for node in &solution.new_nodes {
            let sum = &mut used[node.pool.index()];
            *sum = sum.plus(&problem.types[node.instance_type.index()].capacity);
        }
        let mut drawn = vec![0i128; problem.quotas.len()];
        for (id, units) in solution.new_nodes.iter().flat_map(|node| &node.offering(problem).draws) {
            drawn[id.index()] += i128::from(*units);
        }
        let specs: BTreeSet<SpecId> = cluster.seats.iter().map(|s| s.spec).collect();
        let mut rules = BTreeSet::<(&PodSelector, &str)>::new();
        for spec in specs.into_iter().map(|s| &problem.specs[s.index()]) {
            let spread = spec.spread.iter().map(|s| (&s.selector, &s.key));
            let terms = spec.affinity.iter().chain(&spec.anti_affinity).map(|t| (&t.selector, &t.key));
            rules.extend(spread.chain(terms).filter_map(|(selector, key)| label(key).map(|l| (selector, l))));
        }
        let mut selecting = HashMap::<Pods, BTreeSet<&str>>::new();
        for (selector, label) in rules {
            for seat in cluster.picked(selector).into_iter().map(|at| &cluster.seats[at]) {
                selecting.entry((seat.spec, seat.labels)).or_default().insert(label);
            }
        }
        Self { cluster, used, drawn, settings: HashMap::new(), selecting }
    }

    fn node(&mut self, host: &Host<'_>, node: &'s NewNode, pods: &[Pods], found: &mut Vec<Violation>) {
        let problem = self.cluster.problem;
        let mut asked = Resources::default();
        let mut kept = BTreeSet::new();
        for alike in pods.chunk_by(|a, b| a == b) {
            let (spec, labels) = &alike[0];
            let each = &problem.specs[spec.index()].requests;
            let all = each.iter().map(|(id, n)| (id, n.saturating_mul(alike.len() as i64)));
            asked = asked.plus(&Resources::from_amounts(all));
            kept.extend(self.concerning(*spec, *labels));
        }
        let mut places = HashSet::new();
        let mut last = crate::Price::ZERO;
        for alternative in node.alternatives.iter() {
            let what = |wrong: &str| {
                let of_type = &problem.types[alternative.instance_type.index()].name;
                let zone = &alternative.offering(problem).zone;
                format!("{}: alternative {of_type} in {zone} {wrong}", host.title)
            };
            let offering = alternative.offering(problem);
            if offering.due() < last {
                violation(found, what("is cheaper than the one before it"));
            }
            last = offering.due();
            if !places.insert((alternative.instance_type, &offering.zone, &offering.capacity_type))
                || (alternative.instance_type, alternative.offering as usize)
                    == (node.instance_type, node.offering)
            {
                violation(found, what("is listed twice, or is the node itself"));
            }
            if let Some(wrong) = self.wrong(host, node, *alternative, pods, &asked, &kept) {
                violation(found, what(&wrong));
            }
        }
        self.min_values(host, node, pods, found);
    }

    /// The node and its alternatives have as many values as the `NodePool` asks for, or as any of its pods leaves alone where
    /// that will do.
    fn min_values(&mut self, host: &Host<'_>, node: &'s NewNode, pods: &[Pods], found: &mut Vec<Violation>) {
        let problem = self.cluster.problem;
        let pool = &problem.pools[node.pool.index()];
        let own = Alternative { instance_type: node.instance_type, offering: node.offering as u32 };
        // A type counts with all the zones and capacity types that it is sold in, as with Karpenter.
        let distinct = |key: &str, among: &[Alternative]| {
            let mut values = BTreeSet::<&str>::new();
            for way in among {
                let offerings = &problem.types[way.instance_type.index()].offerings;
                let sold =
                    offerings.iter().filter_map(|offering| offering.labels.get(key)).map(String::as_str);
                let before = values.len();
                values.extend(sold);
                if values.len() == before {
                    values.extend(View::of(problem, node, *way).get(key));
                }
            }
            values.len()
        };
        let mut listed = node.alternatives.to_vec();
        listed.push(own);
        let wide = |among: &[Alternative]| {
            pool.min_values.iter().all(|d| distinct(&d.key, among) >= d.least as usize)
        };
        if wide(&listed) {
            return;
        }
        // Limits, which change with every node, may have kept some off the list. How wide the choice must be is about pods.
        let mut holding = |pods: &[Pods]| {
            let (mut kept, mut asked) = (BTreeSet::new(), Resources::default());
            for (spec, labels) in pods {
                kept.extend(self.concerning(*spec, *labels));
                asked = asked.plus(&problem.specs[spec.index()].requests);
            }
            let types = problem.types.iter().enumerate();
            let ways = types.flat_map(|(at, of_type)| {
                (0..of_type.offerings.len() as u32)
                    .map(move |offering| Alternative { instance_type: TypeId::of(at), offering })
            });
            ways.filter(|way| self.unfit(host, node, *way, pods, &asked, &kept).is_none())
                .collect::<Vec<Alternative>>()
        };
        let all = holding(pods);
        for demand in pool.min_values.iter().filter(|d| distinct(&d.key, &all) < d.least as usize) {
            let there = distinct(&demand.key, &all);
            let stated = node.relaxed.iter().any(|r| r.key == demand.key && r.found as usize == there);
            let mut alone = pods.iter().map(|pod| distinct(&demand.key, &holding(&[*pod])));
            if !(demand.relax && stated && alone.any(|alone| alone <= there)) {
                let Host { title, .. } = host;
                let (key, least) = (&demand.key, demand.least);
                violation(
                    found,
                    format!("{title} could be launched with {there} values of {key}, not with {least}"),
                );
            }
        }
    }

    /// What keeps an alternative from taking the node's place.
    fn wrong(
        &mut self,
        host: &Host<'_>,
        node: &'s NewNode,
        alternative: Alternative,
        pods: &[Pods],
        asked: &Resources,
        kept: &BTreeSet<&str>,
    ) -> Option<String> {
        let problem = self.cluster.problem;
        let pool = &problem.pools[node.pool.index()];
        let of_type = &problem.types[alternative.instance_type.index()];
        let own = &problem.types[node.instance_type.index()].capacity;
        for (id, limit) in &pool.limits {
            let used = self.used[node.pool.index()].get(*id).saturating_sub(own.get(*id));
            let more = of_type.capacity.get(*id) > own.get(*id);
            if more && used.saturating_add(of_type.capacity.get(*id)) > *limit {
                return Some(format!("exceeds the NodePool's limit of {}", problem.resources[id.index()]));
            }
        }
        for (id, units) in &alternative.offering(problem).draws {
            let own = node.offering(problem).draws.iter().filter(|(own, _)| own == id);
            let back: i128 = own.map(|(_, units)| i128::from(*units)).sum();
            let quota = &problem.quotas[id.index()];
            if self.drawn[id.index()] - back + i128::from(*units) > i128::from(quota.units) {
                return Some(format!("draws more on quota {} than there is", quota.name));
            }
        }
        self.unfit(host, node, alternative, pods, asked, kept)
    }

    /// The same but for limits of the `NodePool`.
    fn unfit(
        &mut self,
        host: &Host<'_>,
        node: &'s NewNode,
        alternative: Alternative,
        pods: &[Pods],
        asked: &Resources,
        kept: &BTreeSet<&str>,
    ) -> Option<String> {
        let problem = self.cluster.problem;
        let chosen = node.chosen_labels.as_slice();
        let launch = (node.pool.0, alternative.instance_type.0, alternative.offering, chosen);
        let view = View::of(problem, node, alternative);
        let setting =
            self.settings.entry(launch).or_insert_with(|| setting(problem, node, alternative, view));
        if let Some(key) = setting.unmet {
            return Some(format!("does not meet the NodePool's requirement on {key}"));
        }
        if let Some(label) =
            kept.iter().find(|key| view.get(key) != host.labels.get(**key).map(String::as_str))
        {
            return Some(format!("has another {label}, which a rule of its pods counts over"));
        }
        for alike in pods.chunk_by(|a, b| a.0 == b.0) {
            let spec = &problem.specs[alike[0].0.index()];
            if let Some(constraint) = view.broken(&spec.node) {
                return Some(format!("does not match the {} of one of its pods", constraint.source));
            }
            if let Some(port) = clash(&setting.ports, &spec.host_ports) {
                return Some(format!("has host port {} taken by a DaemonSet", port.port));
            }
        }
        let Some(room) = &setting.room else {
            return Some("has too little room for its DaemonSets".to_owned());
        };
        let short = asked.iter().find(|(id, amount)| *amount > room.get(*id));
        short.map(|(id, _)| format!("has too little {}", problem.resources[id.index()]))
    }

    /// The labels that rules concerning such a pod count over: its own rules, and those that select it.
    fn concerning(&self, spec: SpecId, labels: LabelSetId) -> impl Iterator<Item = &'p str> {
        let problem = self.cluster.problem;
        let selecting = self.selecting.get(&(spec, labels)).into_iter().flatten().copied();
        let spec = &problem.specs[spec.index()];
        let terms = spec.affinity.iter().chain(&spec.anti_affinity).map(|t| &t.key);
        let carried = spec.spread.iter().map(|s| &s.key).chain(terms).filter_map(label);
        let zone = (!spec.unbound_claims.is_empty()).then_some(problem.zone_key.as_str());
        selecting.chain(carried).chain(zone)
    }
}

fn label(key: &TopologyKey) -> Option<&str> {
    match key {
        TopologyKey::Label(label) => Some(label),
        TopologyKey::Host => None,
    }
}

/// What holds for a node with these labels, before its pods are looked at.
fn setting<'p>(
    problem: &'p Problem,
    node: &NewNode,
    alternative: Alternative,
    view: View<'_>,
) -> Setting<'p> {
    let pool = &problem.pools[node.pool.index()];
    let allocatable = &problem.types[alternative.instance_type.index()].allocatable;
    let (mut daemons, mut ports) = (Resources::default(), Vec::new());
    for spec in problem.daemons.iter().map(|d| &problem.specs[d.spec.index()]) {
        if view.broken(&spec.node).is_none() && repelling(&pool.taints, &spec.tolerations).is_none() {
            daemons = daemons.plus(&spec.requests);
            ports.extend(spec.host_ports.iter().cloned());
        }
    }
    let unmet = pool.requirements.iter().find(|r| !r.allows(view.get(&r.key)));
    Setting {
        unmet: unmet.map(|r| r.key.as_str()),
        room: daemons.fits(allocatable).then(|| allocatable.minus(&daemons)),
        ports,
    }
}
