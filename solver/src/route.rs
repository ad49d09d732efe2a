//! Routes: machines beside all nodes that hold one pod each, at a price ([`crate::Route`]).
//!
//! A route is a way for a pod like a bin kind is, but one without room to share, taints, limits or weight: packing weighs
//! it against nodes by price alone ([`crate::pack::route`]), and both bounds know that no pod is worth more than its route.
//!
//! Where such a machine is nobody knows. So a route is closed to pods that a rule over a node label concerns, and to those
//! that others want to be near; rules over the host are kept by themselves, as each machine is a host of its own.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use crate::Options;
use crate::class::{Classes, SelectorId};
use crate::ladder;
use crate::memory::Memory;
use crate::money::Price;
use crate::problem::{PodId, PodSpec, PodTerm, Problem, TopologyKey};
use crate::solution::{Solution, Status};

/// By class: what its route costs, in micro-dollars an hour; `None` where it has none or rules between pods close it.
pub(crate) fn open(problem: &Problem, classes: &Classes<'_>) -> Vec<Option<i64>> {
    let spec = |class: &crate::class::Class| &problem.specs[class.spec.index()];
    if classes.classes.iter().all(|class| spec(class).route.is_none()) {
        return vec![None; classes.classes.len()];
    }
    let mut closing = BTreeSet::new();
    for class in &classes.classes {
        let spec = spec(class);
        closing.extend(spec.affinity.iter().map(|term| classes.selector_id(&term.selector)));
        closing.extend(placed_by(spec).map(|selector| classes.selector_id(selector)));
    }
    // Pods that run keep others away from their domain.
    for pod in problem.nodes.iter().flat_map(|node| &node.pods) {
        let terms = &problem.specs[pod.spec.index()].anti_affinity;
        closing.extend(
            terms.iter().filter(|term| over_label(term)).map(|term| classes.selector_id(&term.selector)),
        );
    }
    let open = |class: &crate::class::Class| {
        let spec = spec(class);
        let closed = spec.blocked.is_some()
            || !spec.affinity.is_empty()
            || !spec.unbound_claims.is_empty()
            || placed_by(spec).next().is_some()
            || class.matched.iter().any(|selector: &SelectorId| closing.contains(selector));
        spec.route.filter(|_| !closed).map(|route| route.price.micros())
    };
    classes.classes.iter().map(open).collect()
}

/// Selectors of a spec's spread and anti-affinity rules over node labels.
fn placed_by(spec: &PodSpec) -> impl Iterator<Item = &crate::problem::PodSelector> {
    let spreads = spec.spread.iter().filter(|s| matches!(s.key, TopologyKey::Label(_))).map(|s| &s.selector);
    spreads.chain(spec.anti_affinity.iter().filter(|term| over_label(term)).map(|term| &term.selector))
}

fn over_label(term: &PodTerm) -> bool {
    matches!(term.key, TopologyKey::Label(_))
}

/// Says what the plan would cost without routes; and takes the plan without them, should it be cheaper.
pub(crate) fn compare(problem: &Problem, solution: &mut Solution, options: &Options, cancel: &AtomicBool) {
    if solution.routed.is_empty() {
        return;
    }
    let mut bare = problem.clone();
    bare.specs.iter_mut().for_each(|spec| spec.route = None);
    let other = ladder::climb(
        &bare,
        &Options { diversity: options.diversity.clone(), ..options.quick() },
        &mut Memory::default(),
        cancel,
        &mut |_, _, _| {},
    );
    let unplaced = |s: &Solution| s.unplaced.iter().map(|u| u.pod).collect::<Vec<PodId>>();
    if unplaced(&other) != unplaced(solution) {
        return;
    }
    let plain = |s: &Solution| s.cost - s.premium;
    if plain(&other) < plain(solution) {
        let (bound, stats): (Price, _) = (solution.bound.min(other.cost), solution.stats);
        *solution = Solution { bound, stats, ..other };
        solution.status = match solution.gap() {
            gap if gap <= 1e-6 => Status::Optimal,
            gap if gap <= options.gap => Status::WithinGap,
            _ => Status::BudgetSpent,
        };
    } else {
        solution.without_routes = Some(other.cost);
    }
}

/// The pods that have a route which rules between pods close, by position.
pub fn closed_routes(problem: &Problem) -> Vec<PodId> {
    if problem.pods.iter().all(|pod| problem.specs[pod.spec.index()].route.is_none()) {
        return Vec::new();
    }
    let classes = Classes::build(problem);
    let routes = open(problem, &classes);
    let closed = classes.classes.iter().zip(routes).filter(|(class, route)| {
        let spec = &problem.specs[class.spec.index()];
        route.is_none() && spec.route.is_some() && spec.blocked.is_none()
    });
    let mut pods: Vec<PodId> = closed.flat_map(|(class, _)| class.pods.iter().copied()).collect();
    pods.sort_unstable();
    pods
}
