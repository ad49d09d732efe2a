//! Labels and what is required of them.
//!
//! Kubernetes' source of truth: `nodeaffinity` of k8s.io/component-helpers for requirements; kubelet, the cloud controller
//! and the EBS driver for labels.

use stowage_api::{Operator, well_known};
use stowage_solver::{self as solver, Labels, NodeConstraint, Requirement};

/// A requirement, in the solver's words.
pub(crate) fn requirement(from: &stowage_api::Requirement) -> Requirement {
    let op = match (from.operator, from.number()) {
        (Operator::In, _) => solver::Operator::In(from.values.clone()),
        (Operator::NotIn, _) => solver::Operator::NotIn(from.values.clone()),
        (Operator::Exists, _) => solver::Operator::Exists,
        (Operator::DoesNotExist, _) => solver::Operator::DoesNotExist,
        (Operator::Gt, Some(n)) => within(n.checked_add(1), Some(i64::MAX)),
        (Operator::Lt, Some(n)) => within(Some(i64::MIN), n.checked_sub(1)),
        (Operator::Gte, n) => within(n, Some(i64::MAX)),
        (Operator::Lte, n) => within(Some(i64::MIN), n),
        (Operator::Gt | Operator::Lt, None) => impossible(),
    };
    Requirement { key: from.key.clone(), op }
}

fn within(low: Option<i64>, high: Option<i64>) -> solver::Operator {
    low.zip(high).map_or_else(impossible, |(low, high)| solver::Operator::Within(low, high))
}

/// That a label has this value.
pub(super) fn equals(key: &str, value: &str) -> Requirement {
    Requirement { key: key.to_owned(), op: solver::Operator::In(vec![value.to_owned()]) }
}

/// What no label satisfies.
pub(super) fn impossible() -> solver::Operator {
    solver::Operator::In(Vec::new())
}

/// Adds the older names of labels, as kubelet, the cloud controller and the EBS driver do on every new node.
pub(super) fn add_aliases(labels: &mut Labels) {
    for (alias, stable) in well_known::ALIASES {
        if !labels.contains_key(alias)
            && let Some(value) = labels.get(stable).cloned()
        {
            labels.insert(alias.to_owned(), value);
        }
    }
}

/// Whether every constraint holds on a node with these labels.
pub(super) fn all_hold(constraints: &[NodeConstraint], labels: &Labels) -> bool {
    let holds = |r: &Requirement| r.allows(labels.get(&r.key).map(String::as_str));
    constraints.iter().all(|c| c.any_of.iter().any(|term| term.iter().all(holds)))
}

/// Whether none of the taints keeps a pod with these tolerations away.
pub(super) fn admits(taints: &[solver::Taint], tolerations: &[solver::Toleration]) -> bool {
    taints
        .iter()
        .filter(|t| t.effect != solver::Effect::PreferNoSchedule)
        .all(|taint| tolerations.iter().any(|t| t.tolerates(taint)))
}

/// A taint, in the solver's words.
pub(super) fn taint(from: &stowage_api::Taint) -> solver::Taint {
    let effect = match from.effect {
        stowage_api::Effect::NoSchedule => solver::Effect::NoSchedule,
        stowage_api::Effect::PreferNoSchedule => solver::Effect::PreferNoSchedule,
        stowage_api::Effect::NoExecute => solver::Effect::NoExecute,
    };
    solver::Taint { key: from.key.clone(), value: from.value.clone(), effect }
}
