//! Required pod affinity over the finished cluster.
//!
//! There must be an order in which the pods can be bound one after another: each joins a domain where a pod stands that
//! all its terms select, for every term; and only while none stands anywhere may a pod that selects itself be the first.

use std::collections::{BTreeMap, HashSet};

use super::cluster::{Cluster, Domain};
use super::{Violation, violation};
use crate::problem::{PodTerm, TopologyKey};

/// The pods that carry the same terms.
struct Group<'p> {
    terms: &'p [PodTerm],
    /// Pods that every term selects, by seat.
    targets: Vec<usize>,
    /// Carriers that the plan placed and that do not stand yet.
    waiting: Vec<usize>,
}

pub(super) fn check(cluster: &Cluster<'_>, found: &mut Vec<Violation>) {
    let mut carriers = BTreeMap::<&[PodTerm], Vec<usize>>::new();
    let mut standing = vec![true; cluster.seats.len()];
    for at in (0..cluster.seats.len()).filter(|at| cluster.seats[*at].placed) {
        let terms = cluster.spec(at).affinity.as_slice();
        if !terms.is_empty() {
            carriers.entry(terms).or_default().push(at);
            standing[at] = false;
        }
    }
    let mut groups: Vec<Group<'_>> = carriers
        .into_iter()
        .map(|(terms, waiting)| Group { terms, targets: targets(cluster, terms), waiting })
        .collect();
    // Pods that may join first; a group's first pod only where nobody can join: others might make it needless.
    loop {
        let mut moved = false;
        for group in &mut groups {
            moved |= group.join(cluster, &mut standing);
        }
        if !moved {
            for group in &mut groups {
                moved |= group.begin(cluster, &mut standing);
            }
        }
        if !moved {
            break;
        }
    }
    for group in &groups {
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
fn targets(cluster: &Cluster<'_>, terms: &[PodTerm]) -> Vec<usize> {
    let mut sets = terms.iter().map(|t| cluster.picked(&t.selector).into_iter().collect::<HashSet<usize>>());
    let first = sets.next().unwrap_or_default();
    let mut all: Vec<usize> =
        sets.fold(first, |a, b| a.intersection(&b).copied().collect()).into_iter().collect();
    all.sort_unstable();
    all
}

impl Group<'_> {
    /// Lets every pod stand whose terms find one that does. Whether there was any.
    fn join(&mut self, cluster: &Cluster<'_>, standing: &mut [bool]) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        let stand: Vec<usize> = self.targets.iter().copied().filter(|seat| standing[*seat]).collect();
        let held: Vec<HashSet<Domain<'_>>> = self
            .terms
            .iter()
            .map(|t| {
                stand.iter().filter_map(|seat| cluster.domain(cluster.seats[*seat].host, &t.key)).collect()
            })
            .collect();
        let before = self.waiting.len();
        self.waiting.retain(|seat| {
            let host = cluster.seats[*seat].host;
            let joins = self
                .terms
                .iter()
                .zip(&held)
                .all(|(term, held)| cluster.domain(host, &term.key).is_some_and(|d| held.contains(&d)));
            standing[*seat] |= joins;
            !joins
        });
        self.waiting.len() < before
    }

    /// Lets the first pod of a group stand that selects itself, where no target stands anywhere.
    fn begin(&mut self, cluster: &Cluster<'_>, standing: &mut [bool]) -> bool {
        let counted = |seat: &usize| {
            let host = cluster.seats[*seat].host;
            standing[*seat] && self.terms.iter().any(|t| cluster.domain(host, &t.key).is_some())
        };
        if self.waiting.is_empty() || self.targets.iter().any(counted) {
            return false;
        }
        let first = self.waiting.iter().position(|seat| {
            let host = cluster.seats[*seat].host;
            self.targets.binary_search(seat).is_ok()
                && self.terms.iter().all(|t| cluster.domain(host, &t.key).is_some())
        });
        if let Some(first) = first {
            standing[self.waiting.remove(first)] = true;
        }
        first.is_some()
    }
}
