//! To which zones pending pods are bound, for the metric that tells of it.

use std::collections::{BTreeMap, BTreeSet};

use stowage_solver::{PodSpec, Problem};

/// Pods that may go to several zones.
const FLEXIBLE: &str = "flexible";
/// Pods that may go to none: their own rules and those of their volumes do not meet.
const NONE: &str = "none";

/// Pending pods by zone, as their own rules and their volumes have it. Where other pods are is left out: that may change with
/// each of them.
///
/// compat: karpenter v1.14 counts spread and affinity between pods as well.
pub(crate) fn effective(problem: &Problem) -> BTreeMap<String, usize> {
    let mut zones: BTreeSet<&str> =
        problem.nodes.iter().filter_map(|n| Some(n.labels.get(&problem.zone_key)?.as_str())).collect();
    zones.extend(problem.types.iter().flat_map(|of| &of.offerings).map(|offering| offering.zone.as_str()));
    let named: Vec<String> =
        problem.specs.iter().map(|spec| zone_of(spec, &problem.zone_key, &zones)).collect();
    let mut counts = BTreeMap::new();
    for pod in &problem.pods {
        *counts.entry(named[pod.spec.index()].clone()).or_insert(0) += 1;
    }
    counts
}

fn zone_of(spec: &PodSpec, key: &str, zones: &BTreeSet<&str>) -> String {
    let may = |zone: &&&str| {
        spec.node.iter().all(|rule| {
            let holds = |term: &stowage_solver::Term| {
                term.iter().filter(|r| r.key == key).all(|r| r.allows(Some(zone)))
            };
            rule.any_of.iter().any(holds)
        })
    };
    let mut left = zones.iter().filter(may);
    match (left.next(), left.next()) {
        (Some(zone), None) => (*zone).to_owned(),
        (Some(_), Some(_)) => FLEXIBLE.to_owned(),
        (None, _) => NONE.to_owned(),
    }
}
