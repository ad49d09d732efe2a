//! `NodePools` that are all the same to every pod: one of them stands for the rest, so that thousands of them make no more
//! bin kinds than they offer choices.
//!
//! ```text
//! specs ─▶ labels, values and taints that anybody asks about ─▶ what of each pool they can tell ─▶ equal: twins
//! ```
//!
//! # Invariants
//! - Whatever a plan without twins holds, one with them holds at the same cost, and the other way round: of twins the first by
//!   weight and name is kept, none of them has a limit, and every rule gives the same verdict on their nodes.
//! - A pool with a limit is nobody's twin.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::problem::{
    Effect, MinValues, NodeConstraint, NodePool, OpenLabel, Operator, PodSpec, PoolId, Preference, Problem,
    Requirement, Taint, Toleration, TopologyKey,
};

/// What anybody asks of one label.
#[derive(Debug, Default)]
struct Asked<'p> {
    /// Values that are named.
    values: HashSet<&'p str>,
    /// Whether values are told apart that nobody names: numbers compared, or domains.
    every: bool,
}

/// What can be told of a pool. Equal for twins.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Features<'p> {
    /// Labels that anybody asks about; no value where it is one that nobody tells from others.
    labels: Vec<(&'p str, Option<&'p str>)>,
    open_labels: &'p [OpenLabel],
    /// For each taint which tolerations bear it; `None` where nobody bears one of them.
    taints: Option<BTreeSet<Vec<u32>>>,
    discouraging: BTreeSet<&'p Taint>,
    /// Requirements of types and offerings, and whether its own labels meet the others.
    requirements: BTreeSet<&'p Requirement>,
    possible: bool,
    min_values: &'p [MinValues],
    node_cost: i64,
}

/// For each pool which one stands for it: mostly itself. `order` is by weight and name.
pub(crate) fn stand_ins(problem: &Problem, order: &[usize]) -> Vec<PoolId> {
    let mut stand_ins: Vec<PoolId> = (0..problem.pools.len()).map(PoolId::of).collect();
    let unlimited = |at: &&usize| {
        let pool = &problem.pools[**at];
        pool.limits.is_empty() && pool.node_limit.is_none()
    };
    if order.iter().filter(unlimited).count() < 2 {
        return stand_ins;
    }
    let asked = asked(problem);
    let offered = offered(problem);
    let tolerations: Vec<&Toleration> = problem
        .specs
        .iter()
        .flat_map(|spec| &spec.tolerations)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let mut borne = HashMap::new();
    let mut first = HashMap::new();
    for at in order.iter().filter(unlimited) {
        let features = features(&problem.pools[*at], &asked, &offered, &tolerations, &mut borne);
        stand_ins[*at] = *first.entry(features).or_insert_with(|| PoolId::of(*at));
    }
    stand_ins
}

fn features<'p>(
    pool: &'p NodePool,
    asked: &HashMap<&str, Asked<'_>>,
    offered: &HashSet<&str>,
    tolerations: &[&Toleration],
    borne: &mut HashMap<&'p Taint, Vec<u32>>,
) -> Features<'p> {
    let labels = pool.labels.iter().filter_map(|(key, value)| {
        // A type without the label has the pool's.
        let falls_back = pool.requirements.iter().any(|r| r.key == *key) && offered.contains(key.as_str());
        let asked = asked.get(key.as_str());
        let told = falls_back || asked.is_some_and(|of| of.every || of.values.contains(value.as_str()));
        (told || asked.is_some()).then(|| (key.as_str(), told.then_some(value.as_str())))
    });
    // What types and offerings have goes before a pool's own labels.
    let is_offered = |r: &&Requirement| {
        offered.contains(r.key.as_str()) || pool.open_labels.iter().any(|open| open.key == r.key)
    };
    let (requirements, own): (Vec<&Requirement>, Vec<&Requirement>) =
        pool.requirements.iter().partition(is_offered);
    let (discouraging, hard): (Vec<&Taint>, Vec<&Taint>) =
        pool.taints.iter().partition(|taint| taint.effect == Effect::PreferNoSchedule);
    let mut bear = |taint: &'p Taint| {
        let bearing = borne.entry(taint).or_insert_with(|| {
            let all = (0_u32..).zip(tolerations);
            all.filter(|(_, toleration)| toleration.tolerates(taint)).map(|(at, _)| at).collect()
        });
        (!bearing.is_empty()).then(|| bearing.clone())
    };
    Features {
        labels: labels.collect(),
        open_labels: &pool.open_labels,
        taints: hard.into_iter().map(&mut bear).collect(),
        discouraging: discouraging.into_iter().collect(),
        requirements: requirements.into_iter().collect(),
        possible: own.iter().all(|r| r.allows(pool.labels.get(&r.key).map(String::as_str))),
        min_values: &pool.min_values,
        node_cost: pool.node_cost.micros(),
    }
}

/// Labels of types and offerings.
fn offered(problem: &Problem) -> HashSet<&str> {
    let of_types = problem.types.iter().flat_map(|of| of.labels.keys());
    let of_offerings = problem.types.iter().flat_map(|of| &of.offerings).flat_map(|o| o.labels.keys());
    of_types.chain(of_offerings).map(String::as_str).collect()
}

/// What anybody asks of labels.
fn asked(problem: &Problem) -> HashMap<&str, Asked<'_>> {
    let mut asked = HashMap::<&str, Asked<'_>>::new();
    asked.entry(problem.zone_key.as_str()).or_default().every = true;
    for spec in &problem.specs {
        for constraint in constraints(spec) {
            for requirement in constraint.any_of.iter().flatten() {
                let of = asked.entry(&requirement.key).or_default();
                match &requirement.op {
                    Operator::In(values) | Operator::NotIn(values) => {
                        of.values.extend(values.iter().map(String::as_str));
                    }
                    Operator::Exists | Operator::DoesNotExist => {}
                    Operator::Within(..) => of.every = true,
                }
            }
        }
        for key in topology_keys(spec) {
            if let TopologyKey::Label(key) = key {
                asked.entry(key).or_default().every = true;
            }
        }
    }
    asked
}

fn constraints(spec: &PodSpec) -> impl Iterator<Item = &NodeConstraint> {
    let wished = spec.preferences.iter().filter_map(|preference| match preference {
        Preference::Node(of) | Preference::Untainted(of) => Some(of),
        Preference::Near(_) | Preference::Away(_) | Preference::Spread(_) => None,
    });
    spec.node.iter().chain(wished)
}

fn topology_keys(spec: &PodSpec) -> impl Iterator<Item = &TopologyKey> {
    let terms = spec.affinity.iter().chain(&spec.anti_affinity).map(|term| &term.key);
    let spread = spec.spread.iter().map(|spread| &spread.key);
    let wished = spec.preferences.iter().filter_map(|preference| match preference {
        Preference::Near(term) | Preference::Away(term) => Some(&term.key),
        Preference::Spread(spread) => Some(&spread.key),
        Preference::Node(_) | Preference::Untainted(_) => None,
    });
    terms.chain(spread).chain(wished)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: &str = "zone";

    /// Two pools with a label `team` of their own, and the label `arch` on every type.
    fn problem() -> Problem {
        let pool = |name: &str| NodePool {
            name: name.to_owned(),
            labels: [("team".to_owned(), name.to_owned())].into(),
            ..NodePool::default()
        };
        let of_type = crate::problem::InstanceType {
            name: "a".to_owned(),
            labels: [("arch".to_owned(), "arm64".to_owned())].into(),
            capacity: crate::problem::Resources::default(),
            allocatable: crate::problem::Resources::default(),
            offerings: Vec::new(),
        };
        Problem {
            zone_key: ZONE.to_owned(),
            pools: vec![pool("x"), pool("y")],
            types: vec![of_type].into(),
            specs: vec![PodSpec::default()],
            ..Problem::default()
        }
    }

    fn are_twins(problem: &Problem) -> bool {
        stand_ins(problem, &[0, 1]) == [PoolId::of(0), PoolId::of(0)]
    }

    fn one_of(key: &str, value: &str) -> Requirement {
        Requirement { key: key.to_owned(), op: Operator::In(vec![value.to_owned()]) }
    }

    fn taint(value: &str) -> Taint {
        Taint { key: "team".to_owned(), value: value.to_owned(), effect: Effect::NoSchedule }
    }

    #[test]
    fn pools_are_twins_until_somebody_can_tell_them_apart() {
        let mut problem = problem();
        assert!(are_twins(&problem));
        let asks = |value: &str| NodeConstraint {
            source: String::new(),
            any_of: vec![vec![one_of("team", value)]],
            of_volume: false,
        };
        problem.specs[0].node = vec![asks("z")];
        assert!(are_twins(&problem), "neither is of the team that is asked for");
        problem.specs[0].node = vec![asks("y")];
        assert!(!are_twins(&problem));
    }

    #[test]
    fn a_wish_and_a_domain_tell_them_apart_too() {
        let mut problem = problem();
        let wish = NodeConstraint {
            source: String::new(),
            any_of: vec![vec![Requirement { key: "team".to_owned(), op: Operator::Within(1, 9) }]],
            of_volume: false,
        };
        problem.specs[0].preferences = vec![Preference::Node(wish)];
        assert!(!are_twins(&problem));
        problem.specs[0].preferences.clear();
        let term = crate::problem::PodTerm {
            key: TopologyKey::Label("team".to_owned()),
            selector: crate::problem::PodSelector { namespaces: Vec::new(), labels: None },
        };
        problem.specs[0].anti_affinity = vec![term];
        assert!(!are_twins(&problem));
    }

    #[test]
    fn taints_count_by_who_bears_them() {
        let mut problem = problem();
        (problem.pools[0].taints, problem.pools[1].taints) = (vec![taint("x")], vec![taint("y")]);
        assert!(are_twins(&problem), "nobody bears either");
        let toleration = |value: Option<&str>| Toleration {
            key: Some("team".to_owned()),
            value: value.map(str::to_owned),
            effect: None,
        };
        problem.specs[0].tolerations = vec![toleration(None)];
        assert!(are_twins(&problem), "who bears one bears the other");
        problem.specs[0].tolerations = vec![toleration(Some("y"))];
        assert!(!are_twins(&problem));
    }

    #[test]
    fn requirements_limits_and_costs_count() {
        let differs = |change: fn(&mut NodePool)| {
            let mut problem = problem();
            change(&mut problem.pools[1]);
            !are_twins(&problem)
        };
        assert!(differs(|pool| pool.requirements.push(one_of("arch", "arm64"))));
        assert!(
            differs(|pool| pool.requirements.push(one_of("rack", "r1"))),
            "no node of it can have a rack"
        );
        assert!(!differs(|pool| pool.requirements.push(one_of("team", "y"))), "its own label meets it");
        assert!(differs(|pool| pool.node_limit = Some(3)));
        assert!(differs(|pool| pool.node_cost = crate::Price::from_micros(10_000)));
        assert!(!differs(|pool| pool.weight = -1));
    }
}
