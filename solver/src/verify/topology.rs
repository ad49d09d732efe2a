//! Anti-affinity and spread over the finished cluster.
//!
//! Kubernetes' source of truth: `InterPodAffinity` and `PodTopologySpread` of kube-scheduler.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::cluster::{Cluster, Domain, broken, repelling};
use super::{Violation, violation};
use crate::problem::{
    InstanceType, Labels, NodeConstraint, NodePool, Offering, Operator, PodTerm, Problem, SpecId, Spread,
    Toleration, TopologyKey,
};

pub(super) fn check(cluster: &Cluster<'_>, found: &mut Vec<Violation>) {
    anti_affinity(cluster, found);
    spread(cluster, found);
}

/// No carrier of a term shares its domain with another pod that the term picks, where the plan placed one of the two.
fn anti_affinity(cluster: &Cluster<'_>, found: &mut Vec<Violation>) {
    // By spec first: there are few, and terms are long to compare.
    let mut by_spec = BTreeMap::<SpecId, Vec<usize>>::new();
    for (at, seat) in cluster.seats.iter().enumerate() {
        by_spec.entry(seat.spec).or_default().push(at);
    }
    let mut carriers = BTreeMap::<&PodTerm, Vec<usize>>::new();
    for seats in by_spec.values() {
        for term in &cluster.spec(seats[0]).anti_affinity {
            carriers.entry(term).or_default().extend(seats);
        }
    }
    for (term, mut carriers) in carriers {
        carriers.sort_unstable();
        let mut holding = HashMap::<Domain<'_>, Vec<usize>>::new();
        for seat in carriers {
            if let Some(domain) = cluster.domain(cluster.seats[seat].host, &term.key) {
                holding.entry(domain).or_default().push(seat);
            }
        }
        for seat in cluster.picked(&term.selector) {
            let domain = cluster.domain(cluster.seats[seat].host, &term.key);
            let there = domain.and_then(|d| holding.get(&d));
            let other = there.into_iter().flatten().find(|carrier| {
                **carrier != seat && (cluster.seats[**carrier].placed || cluster.seats[seat].placed)
            });
            if let Some(other) = other {
                let (a, b) = (cluster.seats[*other].name, cluster.seats[seat].name);
                violation(
                    found,
                    format!("pod {a}: its anti-affinity over {:?} forbids {b} beside it", term.key),
                );
            }
        }
    }
}

/// Pods that carry one spread constraint and see the same nodes.
type Rule<'p> = (&'p Spread, View<'p>);

/// What decides which nodes a spread constraint counts: all its pod's keys, and what its policies honour.
type View<'p> = (Vec<&'p TopologyKey>, Option<&'p [NodeConstraint]>, Option<&'p [Toleration]>);

/// What is the same for many spread rules.
#[derive(Default)]
struct Shared<'p, 'c> {
    /// By key: the domain of each host.
    domains: HashMap<&'p TopologyKey, Vec<Option<Domain<'c>>>>,
    /// By view: whether each host counts.
    eligible: HashMap<View<'p>, Vec<bool>>,
    /// By key and view: the domains of the hosts that count.
    seen: HashMap<(&'p TopologyKey, View<'p>), HashSet<Domain<'c>>>,
    /// By key: what is for sale, by its value of that label.
    sold: HashMap<&'p str, BTreeMap<&'p str, Vec<Fixed<'p>>>>,
    /// By key and view: the values that `NodePool`s offer.
    offered: HashMap<(&'p str, View<'p>), BTreeSet<&'p str>>,
}

fn spread<'p>(cluster: &Cluster<'p>, found: &mut Vec<Violation>) {
    let mut views = HashMap::<SpecId, Vec<usize>>::new();
    let mut numbers = BTreeMap::<Rule<'p>, usize>::new();
    let mut carriers = Vec::<Vec<usize>>::new();
    for (at, seat) in cluster.seats.iter().enumerate().filter(|(_, seat)| seat.placed) {
        let spec = cluster.spec(at);
        let carried = views.entry(seat.spec).or_insert_with(|| {
            let keys: BTreeSet<&TopologyKey> = spec.spread.iter().map(|s| &s.key).collect();
            let keys: Vec<&TopologyKey> = keys.into_iter().collect();
            let number = |rule: &'p Spread| {
                let affinity = rule.honor_node_affinity.then_some(spec.node.as_slice());
                let taints = rule.honor_taints.then_some(spec.tolerations.as_slice());
                *numbers.entry((rule, (keys.clone(), affinity, taints))).or_insert_with(|| {
                    carriers.push(Vec::new());
                    carriers.len() - 1
                })
            };
            spec.spread.iter().map(number).collect()
        });
        for rule in carried.iter() {
            carriers[*rule].push(at);
        }
    }
    let mut shared = Shared::default();
    for (rule, number) in &numbers {
        shared.learn(cluster, rule);
        spread_rule(cluster, rule, &carriers[*number], &shared, found);
    }
}

impl<'p, 'c> Shared<'p, 'c> {
    fn learn(&mut self, cluster: &'c Cluster<'p>, (rule, view): &Rule<'p>) {
        let (keys, affinity, taints) = view;
        for key in keys {
            self.domains
                .entry(key)
                .or_insert_with(|| (0..cluster.hosts.len()).map(|at| cluster.domain(at, key)).collect());
        }
        if !self.eligible.contains_key(view) {
            let domains: Vec<&Vec<Option<Domain<'_>>>> = keys.iter().map(|key| &self.domains[key]).collect();
            let counts = |at: usize| {
                let host = &cluster.hosts[at];
                domains.iter().all(|d| d[at].is_some())
                    && affinity.is_none_or(|a| {
                        own(a).all(|c| broken(std::slice::from_ref(c), &host.labels).is_none())
                    })
                    && taints.is_none_or(|t| repelling(host.taints, t).is_none())
            };
            let eligible = (0..cluster.hosts.len()).map(counts).collect();
            self.eligible.insert(view.clone(), eligible);
        }
        let (of_host, eligible) = (&self.domains[&rule.key], &self.eligible[view]);
        self.seen.entry((&rule.key, view.clone())).or_insert_with(|| {
            of_host.iter().zip(eligible).filter(|(_, eligible)| **eligible).filter_map(|(d, _)| *d).collect()
        });
        if let TopologyKey::Label(key) = &rule.key {
            let sold = self.sold.entry(key).or_insert_with(|| sold(cluster.problem, key));
            self.offered
                .entry((key, view.clone()))
                .or_insert_with(|| offered_values(sold, *affinity, *taints));
        }
    }
}

fn spread_rule(
    cluster: &Cluster<'_>,
    (rule, view): &Rule<'_>,
    carriers: &[usize],
    shared: &Shared<'_, '_>,
    found: &mut Vec<Violation>,
) {
    let (of_host, eligible) = (&shared.domains[&rule.key], &shared.eligible[view]);
    let seen = &shared.seen[&(&rule.key, view.clone())];
    let mut unseen = Vec::new();
    if let TopologyKey::Label(key) = &rule.key {
        let offered = shared.offered[&(key.as_str(), view.clone())].iter().map(|v| Domain::Value(v));
        unseen.extend(offered.filter(|d| !seen.contains(d)));
    }
    let total = seen.len() + unseen.len();
    let (mut every, mut early) = (HashMap::<Domain<'_>, u32>::new(), HashMap::<Domain<'_>, u32>::new());
    for seat in cluster.picked(&rule.selector) {
        let pod = &cluster.seats[seat];
        let Some(domain) = of_host[pod.host].filter(|_| eligible[pod.host] && !pod.terminating) else {
            continue;
        };
        *every.entry(domain).or_default() += pod.count;
        // Carriers stand in the order of their seats.
        if !pod.placed || carriers.binary_search(&seat).is_ok() {
            *early.entry(domain).or_default() += pod.count;
        }
    }
    // A domain offered and not seen has no pod.
    let counted = unseen.is_empty() && seen.iter().all(|d| every.contains_key(d));
    let all_there = counted && total >= rule.min_domains as usize;
    let least = if all_there { every.values().copied().min().unwrap_or(0) } else { 0 };
    let mut told = BTreeSet::new();
    for seat in carriers {
        let pod = &cluster.seats[*seat];
        let Some(domain) = of_host[pod.host] else {
            violation(
                found,
                format!("pod {}: its node lacks the label of spread key {:?}", pod.name, rule.key),
            );
            continue;
        };
        let there = early.get(&domain).copied().unwrap_or(0);
        if there > least.saturating_add(rule.max_skew) && told.insert(domain) {
            violation(
                found,
                format!(
                    "pod {}: spread over {:?} has {there} pods in {domain:?} and {least} in the least full of {} \
                     domains, its maxSkew is {}",
                    pod.name, rule.key, total, rule.max_skew
                ),
            );
        }
    }
}

/// The node selector and node affinity of a pod: where its volumes are does not take nodes out of the count.
fn own(constraints: &[NodeConstraint]) -> impl Iterator<Item = &NodeConstraint> {
    constraints.iter().filter(|c| !c.of_volume)
}

/// All that could be launched, by its value of a label.
fn sold<'p>(problem: &'p Problem, key: &str) -> BTreeMap<&'p str, Vec<Fixed<'p>>> {
    let mut by_value = BTreeMap::<&str, Vec<Fixed<'_>>>::new();
    for pool in &problem.pools {
        for of_type in &problem.types {
            for offering in &of_type.offerings {
                let fixed = Fixed { pool, of_type, offering };
                if let Some(value) = fixed.get(key) {
                    by_value.entry(value).or_default().push(fixed);
                }
            }
        }
    }
    by_value
}

/// The values of a label that some `NodePool` could give to a node for these pods.
fn offered_values<'p>(
    sold: &BTreeMap<&'p str, Vec<Fixed<'p>>>,
    affinity: Option<&[NodeConstraint]>,
    taints: Option<&[Toleration]>,
) -> BTreeSet<&'p str> {
    let is_offered = |fixed: &Fixed<'_>| {
        taints.is_none_or(|t| repelling(&fixed.pool.taints, t).is_none())
            && fixed.admitted()
            && affinity.is_none_or(|a| own(a).all(|c| fixed.meets(c)))
    };
    sold.iter().filter(|(_, all)| all.iter().any(is_offered)).map(|(value, _)| *value).collect()
}

/// The labels of a node that could be.
#[derive(Clone, Copy)]
struct Fixed<'a> {
    pool: &'a NodePool,
    of_type: &'a InstanceType,
    offering: &'a Offering,
}

impl<'a> Fixed<'a> {
    fn get(&self, key: &str) -> Option<&'a str> {
        let from = |labels: &'a Labels| labels.get(key);
        from(&self.offering.labels)
            .or_else(|| from(&self.of_type.labels))
            .or_else(|| from(&self.pool.labels))
            .map(String::as_str)
    }

    fn admitted(&self) -> bool {
        self.pool.requirements.iter().all(|r| r.allows(self.get(&r.key)))
    }

    fn meets(&self, constraint: &NodeConstraint) -> bool {
        constraint.any_of.iter().any(|term| {
            term.iter().all(|r| match self.pool.open_labels.iter().find(|o| o.key == r.key) {
                None => r.allows(self.get(&r.key)),
                // An open label takes whatever value suits, where it allows one.
                Some(open) => match &r.op {
                    Operator::In(values) => {
                        values.iter().any(|v| open.requirements.iter().all(|o| o.allows(Some(v))))
                    }
                    Operator::DoesNotExist => false,
                    _ => true,
                },
            })
        })
    }
}
