//! What pods would like: preferred affinity, spread with `ScheduleAnyway`, and to keep off nodes with `PreferNoSchedule`.
//!
//! The order of a pod's preferences is that in which the solver gives them up, kind by kind Karpenter's:
//!
//! 1. preferred pod affinity, the lightest first;
//! 2. preferred pod anti-affinity, the lightest first;
//! 3. preferred node affinity, the heaviest first: terms are alternatives, of which the heaviest counts, and lighter ones
//!    as far as nodes can have both;
//! 4. `ScheduleAnyway`, in the order of the pod;
//! 5. keeping off `PreferNoSchedule` taints.
//!
//! Anti-affinity of a pod to its own kind becomes a spread with a skew of one: as long as there are domains enough that is
//! the same, and where there are not, pods still go evenly over those there are instead of anywhere.
//!
//! A soft taint becomes a label of the nodes that have it, under a name that no pod can mean.
//!
//! Kubernetes' source of truth: the `Score` methods of kube-scheduler's plugins `NodeAffinity`, `InterPodAffinity`,
//! `PodTopologySpread` and `TaintToleration`; Karpenter's `preferences.go` for the order. Neither of them drops the lighter
//! of two pod affinities first (Karpenter drops the heavier, kube-scheduler adds weights up).

use std::cmp::Reverse;
use std::collections::BTreeSet;

use stowage_solver::{
    self as solver, Effect, NodeConstraint, Operator, Preference, Requirement, Spread, Taint, Toleration,
};

use super::world::World;
use super::{labels, selector, volume};
use crate::object::{PodSpec, PreferredNodeTerm, Unsatisfiable, WeightedPodTerm};
use crate::snapshot::{Pod, Snapshot};

/// What a pod would like, in the order in which it is given up. `spec` and `tolerations` are the pod's as the scheduler sees
/// them.
pub(super) fn of(
    pod: &Pod,
    spec: &PodSpec,
    tolerations: &[Toleration],
    world: &World<'_>,
) -> Vec<Preference> {
    let namespace = pod.namespace.as_ref();
    let affinity = &spec.affinity;
    let term = |t: &WeightedPodTerm| selector::pod_term(&t.pod_affinity_term, namespace, &pod.labels, world);
    let mut out = Vec::new();
    out.extend(lightest_first(&affinity.pod_affinity.preferred).map(|t| Preference::Near(term(t))));
    out.extend(lightest_first(&affinity.pod_anti_affinity.preferred).map(|t| {
        let term = term(t);
        if !term.selector.selects(namespace, &pod.labels) {
            return Preference::Away(term);
        }
        Preference::Spread(Spread {
            key: term.key,
            max_skew: 1,
            min_domains: 1,
            selector: term.selector,
            honor_node_affinity: true,
            honor_taints: false,
            wished: false,
        })
    }));
    let says_something = |t: &&PreferredNodeTerm| {
        t.weight > 0 && t.preference.match_expressions.len() + t.preference.match_fields.len() > 0
    };
    let mut nodes: Vec<_> = affinity.node_affinity.preferred.iter().filter(says_something).collect();
    nodes.sort_by_key(|t| Reverse(t.weight));
    out.extend(nodes.into_iter().map(|t| {
        Preference::Node(NodeConstraint {
            source: "preferred node affinity".to_owned(),
            any_of: vec![volume::term(&t.preference)],
            of_volume: true,
        })
    }));
    let soft = spec.topology_spread_constraints.iter();
    let soft = soft.filter(|c| c.when_unsatisfiable == Unsatisfiable::ScheduleAnyway);
    out.extend(soft.map(|c| Preference::Spread(selector::spread(c, namespace, &pod.labels))));
    let feared = world.soft_taints.iter().filter(|taint| !tolerations.iter().any(|t| t.tolerates(taint)));
    let free: Vec<Requirement> =
        feared.map(|taint| Requirement { key: mark_of(taint), op: Operator::DoesNotExist }).collect();
    if !free.is_empty() {
        let source = "PreferNoSchedule taints".to_owned();
        out.push(Preference::Untainted(NodeConstraint { source, any_of: vec![free], of_volume: true }));
    }
    out
}

fn lightest_first(terms: &[WeightedPodTerm]) -> impl Iterator<Item = &WeightedPodTerm> {
    let mut sorted: Vec<_> = terms.iter().filter(|t| t.weight > 0).collect();
    sorted.sort_by_key(|t| t.weight);
    sorted.into_iter()
}

/// The taints of nodes and of `pools` that only ask to keep away.
pub(super) fn soft_taints(snapshot: &Snapshot, pools: &[&stowage_api::NodePool]) -> BTreeSet<Taint> {
    let of_nodes = snapshot.nodes.iter().flat_map(|n| &n.spec.taints);
    let of_claims = snapshot.node_claims.iter().flat_map(|c| &c.spec.taints);
    let of_pools = pools.iter().flat_map(|p| &p.spec.template.spec.taints);
    let all = of_nodes.chain(of_claims).chain(of_pools).map(labels::taint);
    all.filter(|taint| taint.effect == Effect::PreferNoSchedule).collect()
}

/// Puts the labels that stand for soft taints on nodes and `NodePools`.
pub(super) fn mark(nodes: &mut [solver::Node], pools: &mut [solver::NodePool]) {
    let of_nodes = nodes.iter_mut().map(|n| (&n.taints, &mut n.labels));
    for (taints, labels) in of_nodes.chain(pools.iter_mut().map(|p| (&p.taints, &mut p.labels))) {
        let soft = taints.iter().filter(|t| t.effect == Effect::PreferNoSchedule);
        labels.extend(soft.map(|taint| (mark_of(taint), String::new())));
    }
}

/// The label that stands for a soft taint.
fn mark_of(taint: &Taint) -> String {
    format!("stowage.dev/prefer-no-schedule:{}={}", taint.key, taint.value)
}
