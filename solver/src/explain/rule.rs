//! Rules that can be taken out of a problem, each alone.
//!
//! A rule between pods is told by its selector and domains: one spread constraint that five deployments carry is five
//! rules only if it selects different pods. What a volume asks for is no rule: a disk cannot be talked into moving.

use std::collections::BTreeMap;

use super::data::{PodRule, Rule};
use super::unplaced::constraint_words;
use crate::problem::{
    DaemonId, NodeConstraint, PodId, PodSelector, PodSpec, PoolId, Problem, ResourceId, SpecId, Term,
    TopologyKey,
};

/// Name of the resource of which every pod takes one.
const PODS: &str = "pods";

/// A rule, and what of the problem it is.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) rule: Rule,
    part: Part,
}

/// What is taken out.
#[derive(Clone, Debug)]
enum Part {
    Spread(TopologyKey, PodSelector),
    AntiAffinity(TopologyKey, PodSelector),
    Affinity(TopologyKey, PodSelector),
    /// Of the specs of a namespace.
    Constraint(String, String, Vec<Term>),
    Limits(PoolId),
    Weights,
    Daemon(DaemonId),
    MaxPods(ResourceId),
}

/// How the pods that carry a rule are told: by sort, domains and selector, or by namespace and constraint.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key<'p> {
    Between(u8, &'p TopologyKey, &'p PodSelector),
    Constraint(&'p str, &'p str, &'p [Term]),
}

/// Every rule of a problem that some pending pod, `NodePool` or `DaemonSet` has.
pub(super) fn rules(problem: &Problem) -> Vec<Found> {
    let mut found = between_and_constraints(problem);
    let by_name = |names: Vec<&str>| {
        let mut order: Vec<usize> = (0..names.len()).collect();
        order.sort_by_key(|at| names[*at]);
        order
    };
    for at in by_name(problem.pools.iter().map(|p| p.name.as_str()).collect()) {
        let pool = &problem.pools[at];
        if !pool.limits.is_empty() || pool.node_limit.is_some() {
            let pool = PoolId::of(at);
            found.push(Found { rule: Rule::Limits(pool), part: Part::Limits(pool) });
        }
    }
    if problem.pools.iter().any(|p| p.weight != problem.pools[0].weight) {
        found.push(Found { rule: Rule::Weights, part: Part::Weights });
    }
    for at in by_name(problem.daemons.iter().map(|d| d.name.as_str()).collect()) {
        if !problem.specs[problem.daemons[at].spec.index()].requests.is_empty() {
            let daemon = DaemonId::of(at);
            found.push(Found { rule: Rule::Daemon(daemon), part: Part::Daemon(daemon) });
        }
    }
    if let Some(at) = problem.resources.iter().position(|name| name == PODS) {
        let resource = ResourceId::of(at);
        if problem.pods.iter().any(|p| problem.specs[p.spec.index()].requests.get(resource) > 0) {
            found.push(Found { rule: Rule::MaxPods(resource), part: Part::MaxPods(resource) });
        }
    }
    found
}

fn between_and_constraints(problem: &Problem) -> Vec<Found> {
    // By spec: how many pending pods, and the first of them by name.
    let mut of_spec = BTreeMap::<SpecId, (u32, PodId)>::new();
    let name = |pod: PodId| problem.pods[pod.index()].name.as_str();
    for (at, pod) in problem.pods.iter().enumerate() {
        let pod_id = PodId::of(at);
        let entry = of_spec.entry(pod.spec).or_insert((0, pod_id));
        entry.0 += 1;
        if name(pod_id) < name(entry.1) {
            entry.1 = pod_id;
        }
    }
    let mut carried = BTreeMap::<Key<'_>, (u32, PodId)>::new();
    for (spec, (pods, first)) in &of_spec {
        for key in keys(&problem.specs[spec.index()]) {
            let entry = carried.entry(key).or_insert((0, *first));
            entry.0 += pods;
            if name(*first) < name(entry.1) {
                entry.1 = *first;
            }
        }
    }
    let mut found: Vec<Found> =
        carried.into_iter().map(|(key, (pods, pod))| of_key(&key, pod, pods)).collect();
    found.sort_by(|a, b| name(pod_of(&a.rule)).cmp(name(pod_of(&b.rule))).then_with(|| a.rule.cmp(&b.rule)));
    found
}

fn keys(spec: &PodSpec) -> Vec<Key<'_>> {
    let spread = spec.spread.iter().map(|s| Key::Between(0, &s.key, &s.selector));
    let anti = spec.anti_affinity.iter().map(|t| Key::Between(1, &t.key, &t.selector));
    let near = spec.affinity.iter().map(|t| Key::Between(2, &t.key, &t.selector));
    let own = spec.node.iter().filter(|c| !c.of_volume);
    let own = own.map(|c| Key::Constraint(&spec.namespace, &c.source, &c.any_of));
    let mut keys: Vec<Key<'_>> = spread.chain(anti).chain(near).chain(own).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn of_key(key: &Key<'_>, pod: PodId, pods: u32) -> Found {
    match *key {
        Key::Between(sort, domains, selector) => {
            let rule = PodRule { key: domains.clone(), pod, pods };
            let (domains, selector) = (domains.clone(), selector.clone());
            match sort {
                0 => Found { rule: Rule::Spread(rule), part: Part::Spread(domains, selector) },
                1 => Found { rule: Rule::AntiAffinity(rule), part: Part::AntiAffinity(domains, selector) },
                _ => Found { rule: Rule::Affinity(rule), part: Part::Affinity(domains, selector) },
            }
        }
        Key::Constraint(namespace, source, any_of) => {
            let constraint =
                NodeConstraint { source: source.to_owned(), any_of: any_of.to_vec(), of_volume: false };
            let wanted = constraint_words(&constraint);
            Found {
                rule: Rule::NodeConstraint { source: source.to_owned(), wanted, pod, pods },
                part: Part::Constraint(namespace.to_owned(), source.to_owned(), any_of.to_vec()),
            }
        }
    }
}

fn pod_of(rule: &Rule) -> PodId {
    match rule {
        Rule::Spread(r) | Rule::AntiAffinity(r) | Rule::Affinity(r) => r.pod,
        Rule::NodeConstraint { pod, .. } => *pod,
        _ => PodId(0),
    }
}

impl Found {
    /// Whether a pending pod is one that the rule holds back: it carries it, or the rule is of pools and nodes.
    pub(super) fn concerns(&self, spec: &PodSpec) -> bool {
        match &self.part {
            Part::Spread(key, selector) => {
                spec.spread.iter().any(|s| (&s.key, &s.selector) == (key, selector))
            }
            Part::AntiAffinity(key, selector) => {
                spec.anti_affinity.iter().any(|t| (&t.key, &t.selector) == (key, selector))
            }
            Part::Affinity(key, selector) => {
                spec.affinity.iter().any(|t| (&t.key, &t.selector) == (key, selector))
            }
            Part::Constraint(namespace, source, any_of) => {
                spec.namespace == *namespace
                    && spec.node.iter().any(|c| (&c.source, &c.any_of) == (source, any_of))
            }
            Part::Limits(_) | Part::Weights | Part::Daemon(_) | Part::MaxPods(_) => true,
        }
    }

    /// Takes the rule out of a problem.
    pub(super) fn relax(&self, problem: &mut Problem) {
        let specs = &mut problem.specs;
        match &self.part {
            Part::Spread(key, selector) => {
                for spec in specs {
                    spec.spread.retain(|r| (&r.key, &r.selector) != (key, selector));
                }
            }
            Part::AntiAffinity(key, selector) => {
                for spec in specs {
                    spec.anti_affinity.retain(|r| (&r.key, &r.selector) != (key, selector));
                }
            }
            Part::Affinity(key, selector) => {
                for spec in specs {
                    spec.affinity.retain(|r| (&r.key, &r.selector) != (key, selector));
                }
            }
            Part::Constraint(namespace, source, any_of) => {
                for spec in specs.iter_mut().filter(|s| s.namespace == *namespace) {
                    spec.node.retain(|c| c.of_volume || (&c.source, &c.any_of) != (source, any_of));
                }
            }
            Part::Limits(pool) => {
                let pool = &mut problem.pools[pool.index()];
                pool.limits.clear();
                pool.node_limit = None;
            }
            Part::Weights => problem.pools.iter_mut().for_each(|p| p.weight = 0),
            Part::Daemon(daemon) => {
                // What runs already stays counted; only nodes to come are spared.
                problem.daemons.remove(daemon.index());
            }
            Part::MaxPods(resource) => {
                for spec in specs {
                    let others = spec.requests.iter().filter(|(id, _)| id != resource);
                    spec.requests = crate::Resources::from_amounts(others.collect::<Vec<_>>());
                }
            }
        }
    }
}
