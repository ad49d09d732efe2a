//! What `PodDisruptionBudgets` say of pods.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use stowage_solver::Labels;

use crate::object::{LabelSelector, PodDisruptionBudget};
use crate::snapshot::{Pod, Snapshot, namespace_of};

/// The budgets of a snapshot, and what each allows.
#[derive(Debug)]
pub struct Shields<'s> {
    by_namespace: HashMap<&'s str, Vec<Shield<'s>>>,
}

/// A budget, and what it allows.
#[derive(Debug)]
struct Shield<'s> {
    budget: &'s PodDisruptionBudget,
    allowed: i64,
    always: bool,
}

/// What stands in the way of evicting a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// A budget lets no pod go now.
    Spent(String),
    /// A budget never lets one go.
    Always(String),
    /// Several budgets select it, which the API server refuses to evict.
    Several(Vec<String>),
}

impl<'s> Shields<'s> {
    /// Of a snapshot. Work grows with distinct sets of labels, not with pods.
    pub fn of(snapshot: &'s Snapshot) -> Self {
        // By namespace and labels: how many pods, and how many of them are ready.
        let mut groups = HashMap::<(&str, *const Labels), (&Arc<Labels>, usize, usize)>::new();
        if !snapshot.disruption_budgets.is_empty() {
            for pod in snapshot.pods().filter(|pod| pod.is_bound() && !pod.terminating) {
                let group = groups.entry((pod.namespace.as_ref(), Arc::as_ptr(&pod.labels)));
                let group = group.or_insert((&pod.labels, 0, 0));
                group.1 += 1;
                group.2 += usize::from(pod.ready);
            }
        }
        let mut by_namespace = HashMap::<&str, Vec<Shield<'_>>>::new();
        for budget in snapshot.disruption_budgets.iter().filter(|b| !b.metadata.is_terminating()) {
            let namespace = namespace_of(&budget.metadata);
            let Some(selector) = &budget.spec.selector else { continue };
            let own = groups
                .iter()
                .filter(|((other, _), (labels, ..))| *other == namespace && selector.selects(labels));
            let (all, ready) = own.fold((0, 0), |sum, (_, group)| (sum.0 + group.1, sum.1 + group.2));
            let shield =
                Shield { budget, allowed: budget.allowed(all, ready), always: budget.blocks_always(all) };
            by_namespace.entry(namespace).or_default().push(shield);
        }
        for shields in by_namespace.values_mut() {
            shields.sort_by_key(|shield| &shield.budget.metadata.name);
        }
        Self { by_namespace }
    }

    /// Whether there is any budget.
    pub fn is_empty(&self) -> bool {
        self.by_namespace.is_empty()
    }

    /// How many pods each budget lets go, by `namespace/name`.
    pub fn allowances(&self) -> BTreeMap<String, i64> {
        let all = self
            .by_namespace
            .iter()
            .flat_map(|(namespace, shields)| shields.iter().map(move |s| (*namespace, s)));
        all.map(|(namespace, s)| (format!("{namespace}/{}", s.budget.metadata.name), s.allowed)).collect()
    }

    /// What stands in the way of evicting a pod.
    pub(super) fn guard(&self, pod: &Pod) -> Option<Guard> {
        let own = self.by_namespace.get(pod.namespace.as_ref())?;
        let over: Vec<&Shield<'_>> = own
            .iter()
            .filter(|s| s.budget.spec.selector.as_ref().is_some_and(|selector| selector.selects(&pod.labels)))
            .collect();
        let name = |s: &Shield<'_>| format!("{}/{}", pod.namespace, s.budget.metadata.name);
        match over.as_slice() {
            [] => None,
            [one] => {
                let exempt = !pod.ready && one.budget.spec.unhealthy_pod_eviction_policy == "AlwaysAllow";
                match (exempt || one.allowed > 0, one.always) {
                    (true, _) => None,
                    (false, true) => Some(Guard::Always(name(one))),
                    (false, false) => Some(Guard::Spent(name(one))),
                }
            }
            several => Some(Guard::Several(several.iter().map(|s| name(s)).collect())),
        }
    }
}

impl LabelSelector {
    /// Whether labels satisfy all of it.
    pub(crate) fn selects(&self, labels: &Labels) -> bool {
        let get = |key: &str| labels.get(key).map(String::as_str);
        self.match_labels.iter().all(|(key, value)| get(key) == Some(value))
            && self.match_expressions.iter().all(|r| {
                let r = crate::lower::requirement(&r.0);
                r.allows(get(&r.key))
            })
    }
}
