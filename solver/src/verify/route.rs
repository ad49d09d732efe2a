//! Pods beside all nodes: each has a route at the stated price, and no rule that asks where it is.

use std::collections::BTreeSet;

use super::cluster::Cluster;
use super::{Violation, violation};
use crate::problem::{LabelSetId, PodSelector, PodSpec, SpecId, TopologyKey};
use crate::solution::Solution;

pub(super) fn check(cluster: &Cluster<'_>, solution: &Solution, found: &mut Vec<Violation>) {
    if solution.routed.is_empty() {
        return;
    }
    let problem = cluster.problem;
    // Selectors of everyone who asks where the pods are that they select: those that run, and those that wait, whether or
    // not the plan has a place for them.
    let mut asking = BTreeSet::<&PodSelector>::new();
    let waiting = problem.pods.iter().map(|pod| (pod.spec, true));
    let running = problem.nodes.iter().flat_map(|node| &node.pods).map(|pod| (pod.spec, false));
    for (spec, arrives) in waiting.chain(running).collect::<BTreeSet<(SpecId, bool)>>() {
        asking.extend(placing(&problem.specs[spec.index()], arrives));
    }
    let mut known = BTreeSet::<(SpecId, LabelSetId)>::new();
    for routed in &solution.routed {
        let pod = &problem.pods[routed.pod.index()];
        let spec = &problem.specs[pod.spec.index()];
        let price = spec.route.map(|route| route.price);
        if price != Some(routed.price) {
            let due = price.map_or_else(|| "none".to_owned(), |price| price.to_string());
            violation(found, format!("pod {} is routed for {}, its route is {due}", pod.name, routed.price));
        }
        if !known.insert((pod.spec, pod.labels)) {
            continue;
        }
        if let Some(why) = &spec.blocked {
            violation(found, format!("pod {} is routed and can run nowhere: {why}", pod.name));
        }
        if placing(spec, true).next().is_some() || !spec.unbound_claims.is_empty() {
            violation(found, format!("pod {} is routed and has a rule on where it is", pod.name));
        }
        let labels = &problem.label_sets[pod.labels.index()];
        if asking.iter().any(|selector| selector.selects(&spec.namespace, labels)) {
            violation(found, format!("pod {} is routed, and other pods ask where it is", pod.name));
        }
    }
}

/// Selectors of a pod's rules for which it matters where pods are, its own machine aside; of a pod that was there before
/// only what it goes on to ask of others.
fn placing(spec: &PodSpec, arrives: bool) -> impl Iterator<Item = &PodSelector> {
    let over_label = |key: &TopologyKey| matches!(key, TopologyKey::Label(_));
    let away = spec.anti_affinity.iter().filter(move |term| over_label(&term.key)).map(|term| &term.selector);
    let spread = spec.spread.iter().filter(move |s| arrives && over_label(&s.key)).map(|s| &s.selector);
    let near = spec.affinity.iter().filter(move |_| arrives).map(|term| &term.selector);
    away.chain(spread).chain(near)
}
