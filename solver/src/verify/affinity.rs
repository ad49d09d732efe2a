//! Required pod affinity over the finished cluster.
//!
//! There must be an order in which the pods can be bound one after another: each joins a domain where a pod stands that
//! all its terms select, for every term; and only while none stands anywhere may a pod that selects itself be the first.
//!
//! An order is looked for pod by pod. Whoever may stand does, unless that would keep others from beginning their group
//! where they are: those go first. Where only such pods are left one of them stands all the same.
//!
//! Kubernetes' source of truth: `satisfyPodAffinity` of kube-scheduler's `InterPodAffinity`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::cluster::{Cluster, Domain};
use super::{Violation, violation};
use crate::problem::{PodTerm, TopologyKey};

/// The pods that carry the same terms.
struct Group<'p, 'c> {
    terms: &'p [PodTerm],
    /// Pods that every term selects, by seat.
    targets: BTreeSet<usize>,
    /// Carriers that the plan placed and that do not stand yet.
    waiting: BTreeSet<usize>,
    /// By term: the domains where a target stands.
    held: Vec<BTreeSet<Domain<'c>>>,
}

/// Pods as they come to stand.
struct Order<'p, 'c> {
    cluster: &'c Cluster<'p>,
    groups: Vec<Group<'p, 'c>>,
    /// By seat: the group whose terms it carries.
    own: HashMap<usize, usize>,
    /// By seat: the groups that it is a target of.
    aims: HashMap<usize, Vec<usize>>,
}

pub(super) fn check<'p, 'c>(cluster: &'c Cluster<'p>, found: &mut Vec<Violation>) {
    let mut carriers = BTreeMap::<&'p [PodTerm], BTreeSet<usize>>::new();
    for at in (0..cluster.seats.len()).filter(|at| cluster.seats[*at].placed) {
        let terms = cluster.spec(at).affinity.as_slice();
        if !terms.is_empty() {
            carriers.entry(terms).or_default().insert(at);
        }
    }
    let mut order =
        Order { cluster, groups: Vec::new(), own: HashMap::new(), aims: HashMap::<usize, Vec<usize>>::new() };
    for (at, (terms, waiting)) in carriers.into_iter().enumerate() {
        let targets = targets(cluster, terms);
        for seat in &targets {
            order.aims.entry(*seat).or_default().push(at);
        }
        order.own.extend(waiting.iter().map(|seat| (*seat, at)));
        order.groups.push(Group { terms, targets, waiting, held: vec![BTreeSet::new(); terms.len()] });
    }
    let concerned: BTreeSet<usize> = order.own.keys().chain(order.aims.keys()).copied().collect();
    let (mut coming, there): (Vec<usize>, Vec<usize>) =
        concerned.into_iter().partition(|seat| cluster.seats[*seat].placed);
    for seat in there {
        order.stand(seat);
    }
    loop {
        let before = coming.len();
        coming.retain(|seat| {
            let stands = order.may_stand(*seat) && !order.is_in_the_way(*seat);
            if stands {
                order.stand(*seat);
            }
            !stands
        });
        if coming.len() == before {
            // Those that begin a group first: their chance goes by.
            let begins = |seat: &usize| order.own.get(seat).is_some_and(|g| order.groups[*g].is_empty());
            let next = coming.iter().position(|seat| begins(seat) && order.may_stand(*seat));
            let next = next.or_else(|| coming.iter().position(|seat| order.may_stand(*seat)));
            let Some(next) = next else { break };
            order.stand(coming.remove(next));
        }
    }
    for group in &order.groups {
        if let Some(seat) = group.waiting.first() {
            let keys: Vec<&TopologyKey> = group.terms.iter().map(|t| &t.key).collect();
            let pod = cluster.seats[*seat].name;
            violation(
                found,
                format!(
                    "pod {pod}: its affinity over {keys:?} finds no pod in the domain of its node ({} pods alike)",
                    group.waiting.len()
                ),
            );
        }
    }
}

/// The pods that every term selects.
fn targets(cluster: &Cluster<'_>, terms: &[PodTerm]) -> BTreeSet<usize> {
    let mut sets = terms.iter().map(|t| cluster.picked(&t.selector).into_iter().collect::<BTreeSet<usize>>());
    let first = sets.next().unwrap_or_default();
    sets.fold(first, |a, b| a.intersection(&b).copied().collect())
}

impl Group<'_, '_> {
    /// Whether no target stands anywhere.
    fn is_empty(&self) -> bool {
        self.held.iter().all(BTreeSet::is_empty)
    }
}

impl<'c> Order<'_, 'c> {
    fn domain(&self, seat: usize, key: &TopologyKey) -> Option<Domain<'c>> {
        self.cluster.domain(self.cluster.seats[seat].host, key)
    }

    /// Whether a pod's own terms let it in now.
    fn may_stand(&self, seat: usize) -> bool {
        let Some(group) = self.own.get(&seat).map(|at| &self.groups[*at]) else { return true };
        let begins = group.is_empty() && group.targets.contains(&seat);
        group.terms.iter().zip(&group.held).all(|(term, held)| {
            self.domain(seat, &term.key).is_some_and(|domain| begins || held.contains(&domain))
        })
    }

    /// Whether pods wait to begin a group that could not join this one where it stands.
    fn is_in_the_way(&self, seat: usize) -> bool {
        let groups = self.aims.get(&seat).into_iter().flatten().map(|at| &self.groups[*at]);
        groups.filter(|group| group.is_empty()).any(|group| {
            let joins = |other: &usize| {
                let same = |t: &PodTerm| self.domain(*other, &t.key) == self.domain(seat, &t.key);
                *other == seat || group.terms.iter().all(same)
            };
            !group.waiting.iter().all(joins)
        })
    }

    fn stand(&mut self, seat: usize) {
        if let Some(own) = self.own.get(&seat) {
            self.groups[*own].waiting.remove(&seat);
        }
        for at in self.aims.get(&seat).into_iter().flatten() {
            let group = &mut self.groups[*at];
            for (term, held) in group.terms.iter().zip(&mut group.held) {
                held.extend(self.cluster.domain(self.cluster.seats[seat].host, &term.key));
            }
        }
    }
}
