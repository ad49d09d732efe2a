//! Anti-affinity and spread over the finished cluster.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::cluster::{Cluster, Domain, broken, repelling};
use super::{Violation, violation};
use crate::problem::{
    InstanceType, Labels, NodeConstraint, NodePool, Offering, Operator, PodTerm, Spread, Toleration,
    TopologyKey,
};

pub(super) fn check(cluster: &Cluster<'_>, found: &mut Vec<Violation>) {
    anti_affinity(cluster, found);
    spread(cluster, found);
}

/// No carrier of a term shares its domain with another pod that the term picks, where the plan placed one of the two.
fn anti_affinity(cluster: &Cluster<'_>, found: &mut Vec<Violation>) {
    let mut carriers = BTreeMap::<&PodTerm, Vec<usize>>::new();
    for at in 0..cluster.seats.len() {
        for term in &cluster.spec(at).anti_affinity {
            carriers.entry(term).or_default().push(at);
        }
    }
    for (term, carriers) in carriers {
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
type Rule<'p> = (&'p Spread, Vec<&'p TopologyKey>, Option<&'p [NodeConstraint]>, Option<&'p [Toleration]>);

/// Offered values of a key, by what the pods' rule looks at.
type Offered<'p> =
    HashMap<(String, Option<&'p [NodeConstraint]>, Option<&'p [Toleration]>), BTreeSet<String>>;

fn spread(cluster: &Cluster<'_>, found: &mut Vec<Violation>) {
    let mut rules = BTreeMap::<Rule<'_>, Vec<usize>>::new();
    for (at, _) in cluster.seats.iter().enumerate().filter(|(_, seat)| seat.placed) {
        let spec = cluster.spec(at);
        let keys: BTreeSet<&TopologyKey> = spec.spread.iter().map(|s| &s.key).collect();
        for rule in &spec.spread {
            let affinity = rule.honor_node_affinity.then_some(spec.node.as_slice());
            let taints = rule.honor_taints.then_some(spec.tolerations.as_slice());
            rules.entry((rule, keys.iter().copied().collect(), affinity, taints)).or_default().push(at);
        }
    }
    let mut offered = HashMap::new();
    for (rule, carriers) in rules {
        spread_rule(cluster, &rule, &carriers, &mut offered, found);
    }
}

fn spread_rule<'p>(
    cluster: &Cluster<'p>,
    (rule, keys, affinity, taints): &Rule<'p>,
    carriers: &[usize],
    offered: &mut Offered<'p>,
    found: &mut Vec<Violation>,
) {
    let eligible: Vec<bool> = (0..cluster.hosts.len())
        .map(|at| {
            let host = &cluster.hosts[at];
            keys.iter().all(|key| cluster.domain(at, key).is_some())
                && affinity.is_none_or(|a| broken(a, &host.labels).is_none())
                && taints.is_none_or(|t| repelling(host.taints, t).is_none())
        })
        .collect();
    let mut domains: BTreeSet<Domain<'_>> = (0..eligible.len())
        .filter(|at| eligible[*at])
        .filter_map(|at| cluster.domain(at, &rule.key))
        .collect();
    if let TopologyKey::Label(key) = &rule.key {
        let values = offered
            .entry((key.clone(), *affinity, *taints))
            .or_insert_with(|| offered_values(cluster, key, *affinity, *taints));
        domains.extend(values.iter().map(|v| Domain::Value(v)));
    }
    let carrying: BTreeSet<usize> = carriers.iter().copied().collect();
    let (mut every, mut early) = (HashMap::<Domain<'_>, u32>::new(), HashMap::<Domain<'_>, u32>::new());
    for seat in cluster.picked(&rule.selector) {
        let pod = &cluster.seats[seat];
        let Some(domain) =
            cluster.domain(pod.host, &rule.key).filter(|_| eligible[pod.host] && !pod.terminating)
        else {
            continue;
        };
        *every.entry(domain).or_default() += 1;
        if !pod.placed || carrying.contains(&seat) {
            *early.entry(domain).or_default() += 1;
        }
    }
    let counted = domains.iter().all(|d| every.contains_key(d));
    let all_there = counted && domains.len() >= rule.min_domains as usize;
    let least = if all_there { every.values().copied().min().unwrap_or(0) } else { 0 };
    let mut told = BTreeSet::new();
    for seat in carriers {
        let pod = &cluster.seats[*seat];
        let Some(domain) = cluster.domain(pod.host, &rule.key) else {
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
                    "pod {}: spread over {:?} has {there} pods in {domain:?} and {least} in the least full of {} domains, \
                     its maxSkew is {}",
                    pod.name,
                    rule.key,
                    domains.len(),
                    rule.max_skew
                ),
            );
        }
    }
}

/// The values of a label that some `NodePool` could give to a node for these pods.
fn offered_values(
    cluster: &Cluster<'_>,
    key: &str,
    affinity: Option<&[NodeConstraint]>,
    taints: Option<&[Toleration]>,
) -> BTreeSet<String> {
    let mut values = BTreeSet::new();
    for pool in
        cluster.problem.pools.iter().filter(|p| taints.is_none_or(|t| repelling(&p.taints, t).is_none()))
    {
        for of_type in &cluster.problem.types {
            for offering in &of_type.offerings {
                let fixed = Fixed { pool, of_type, offering };
                let new = fixed.get(key).filter(|v| !values.contains(*v));
                if let Some(value) = new
                    && fixed.admitted()
                    && affinity.is_none_or(|a| a.iter().all(|c| fixed.meets(c)))
                {
                    values.insert(value.to_owned());
                }
            }
        }
    }
    values
}

/// The labels of a node that could be.
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
