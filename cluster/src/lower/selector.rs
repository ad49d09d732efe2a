//! Which pods spread and affinity rules look at.
//!
//! Kubernetes' source of truth: `AffinityTerm` of kube-scheduler's framework, and the API server for `matchLabelKeys`.

use stowage_api::well_known;
use stowage_solver::{Labels, Operator, PodSelector, PodTerm, Requirement, Spread, Term, TopologyKey};

use super::labels;
use super::world::World;
use crate::object::{LabelSelector, PodAffinityTerm, Policy, SpreadConstraint};

/// A pod's affinity or anti-affinity term. `own` are the pod's labels.
pub(super) fn pod_term(term: &PodAffinityTerm, namespace: &str, own: &Labels, world: &World<'_>) -> PodTerm {
    let mut extra = same(&term.match_label_keys, own);
    for key in &term.mismatch_label_keys {
        if let Some(value) = own.get(key) {
            extra.push(Requirement { key: key.clone(), op: Operator::NotIn(vec![value.clone()]) });
        }
    }
    let mut namespaces = term.namespaces.clone();
    if let Some(selector) = &term.namespace_selector {
        let wanted = merged(selector, Vec::new());
        let meets = |labels: &Labels| wanted.iter().all(|r| r.allows(labels.get(&r.key).map(String::as_str)));
        namespaces
            .extend(world.namespaces.iter().filter(|(_, l)| meets(l)).map(|(name, _)| (*name).to_owned()));
    } else if namespaces.is_empty() {
        namespaces.push(namespace.to_owned());
    }
    namespaces.sort_unstable();
    namespaces.dedup();
    let labels = term.label_selector.as_ref().map(|selector| merged(selector, extra));
    PodTerm { key: topology(&term.topology_key), selector: PodSelector { namespaces, labels } }
}

/// A pod's hard spread constraint. `own` are the pod's labels.
pub(super) fn spread(constraint: &SpreadConstraint, namespace: &str, own: &Labels) -> Spread {
    let extra = same(&constraint.match_label_keys, own);
    Spread {
        key: topology(&constraint.topology_key),
        max_skew: constraint.max_skew.max(1),
        min_domains: constraint.min_domains.max(1),
        selector: PodSelector {
            namespaces: vec![namespace.to_owned()],
            labels: constraint.label_selector.as_ref().map(|selector| merged(selector, extra)),
        },
        honor_node_affinity: constraint.node_affinity_policy != Some(Policy::Ignore),
        honor_taints: constraint.node_taints_policy == Some(Policy::Honor),
        wished: false,
    }
}

fn topology(key: &str) -> TopologyKey {
    if key == well_known::HOSTNAME { TopologyKey::Host } else { TopologyKey::Label(key.to_owned()) }
}

/// That the pods have the same value as this one for each of these keys, where this one has any.
fn same(keys: &[String], own: &Labels) -> Vec<Requirement> {
    let value =
        |key: &String| Some(Requirement { key: key.clone(), op: Operator::In(vec![own.get(key)?.clone()]) });
    keys.iter().filter_map(value).collect()
}

/// A selector and more, in a canonical order, so that equal selectors written differently are equal.
fn merged(selector: &LabelSelector, extra: Vec<Requirement>) -> Term {
    let mut all = extra;
    let equal = selector.match_labels.iter();
    all.extend(equal.map(|(key, value)| labels::equals(key, value)));
    all.extend(selector.match_expressions.iter().map(|r| {
        let mut requirement = labels::requirement(&r.0);
        if let Operator::In(values) | Operator::NotIn(values) = &mut requirement.op {
            values.sort_unstable();
            values.dedup();
        }
        requirement
    }));
    all.sort_unstable();
    all.dedup();
    all
}
