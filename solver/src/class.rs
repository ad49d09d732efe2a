//! Pod classes: pods that no rule can tell apart, folded into one with a count.
//!
//! Work in the solver grows with classes, not with pods. Two pods are of one class when their specs are equal and
//! the same pod selectors (of spread and affinity rules anywhere in the problem) pick them: other labels are noise.
//!
//! Nor can any rule tell apart selectors that pick the same pods: they have one id. So a thousand terms about pods that
//! are not there are one.
//!
//! # Invariants
//! - Classes are sorted by the name of their first pod, pods of a class by name, so input order is irrelevant.

use std::collections::HashMap;

use crate::problem::{Labels, Operator, PodId, PodSelector, PodSpec, Problem, SpecId};

/// Index of a distinct pod selector in [`Classes::selectors`].
pub(crate) type SelectorId = u32;

/// Pods that are interchangeable.
#[derive(Clone, Debug)]
pub(crate) struct Class {
    /// Their common spec.
    pub(crate) spec: SpecId,
    /// Selectors that pick them, ascending.
    pub(crate) matched: Vec<SelectorId>,
    /// The pods, by name.
    pub(crate) pods: Vec<PodId>,
}

/// All classes, and the selectors that tell them apart.
#[derive(Debug, Default)]
pub(crate) struct Classes<'p> {
    pub(crate) classes: Vec<Class>,
    pub(crate) selectors: Vec<&'p PodSelector>,
    selector_ids: HashMap<&'p PodSelector, SelectorId>,
    /// For each existing node, for each of its running pods: the selectors that pick it.
    pub(crate) running: Vec<Vec<Vec<SelectorId>>>,
}

impl<'p> Classes<'p> {
    /// Folds the pending pods of `problem`.
    pub(crate) fn build(problem: &'p Problem) -> Self {
        let mut this = Self::default();
        this.collect_selectors(problem);
        let (groups, alike) = Groups::build(problem, &this.selectors);
        this.selector_ids.values_mut().for_each(|id| *id = alike[*id as usize]);
        let canonical = canonical_specs(problem);
        let mut by_key = HashMap::<(u32, u32), Vec<PodId>>::new();
        let mut matched_ids = HashMap::<&[SelectorId], u32>::new();
        for (at, pod) in problem.pods.iter().enumerate() {
            let spec = canonical[pod.spec.index()];
            let matched = groups.matched(problem, pod.spec, pod.labels.0);
            let next = matched_ids.len() as u32;
            let matched = *matched_ids.entry(matched).or_insert(next);
            by_key.entry((spec, matched)).or_default().push(PodId::of(at));
        }
        this.classes = by_key
            .into_values()
            .map(|mut pods| {
                pods.sort_unstable_by(|a, b| problem.pods[a.index()].name.cmp(&problem.pods[b.index()].name));
                let first = &problem.pods[pods[0].index()];
                Class {
                    spec: SpecId(canonical[first.spec.index()]),
                    matched: groups.matched(problem, first.spec, first.labels.0).to_vec(),
                    pods,
                }
            })
            .collect();
        let first_name = |class: &Class| problem.pods[class.pods[0].index()].name.as_str();
        this.classes.sort_unstable_by(|a, b| first_name(a).cmp(first_name(b)));
        this.running = problem
            .nodes
            .iter()
            .map(|node| {
                node.pods.iter().map(|pod| groups.matched(problem, pod.spec, pod.labels.0).to_vec()).collect()
            })
            .collect();
        this
    }

    /// The id of a selector that some rule uses; the same for all that pick the same pods.
    pub(crate) fn selector_id(&self, selector: &PodSelector) -> SelectorId {
        self.selector_ids.get(selector).copied().unwrap_or(SelectorId::MAX)
    }

    fn collect_selectors(&mut self, problem: &'p Problem) {
        let mut used = vec![false; problem.specs.len()];
        for pod in &problem.pods {
            used[pod.spec.index()] = true;
        }
        for pod in problem.nodes.iter().flat_map(|n| &n.pods) {
            used[pod.spec.index()] = true;
        }
        for (spec, _) in problem.specs.iter().zip(used).filter(|(_, used)| *used) {
            let terms = spec.affinity.iter().chain(&spec.anti_affinity).map(|t| &t.selector);
            for selector in spec.spread.iter().map(|s| &s.selector).chain(terms) {
                let next = self.selectors.len() as SelectorId;
                self.selector_ids.entry(selector).or_insert_with(|| {
                    self.selectors.push(selector);
                    next
                });
            }
        }
    }
}

/// Equal specs under one id, whoever interned them.
fn canonical_specs(problem: &Problem) -> Vec<u32> {
    let mut seen = HashMap::<&PodSpec, u32>::with_capacity(problem.specs.len());
    problem.specs.iter().enumerate().map(|(at, spec)| *seen.entry(spec).or_insert(at as u32)).collect()
}

/// Which selectors pick each combination of namespace and labels that a pod has.
struct Groups<'p> {
    by_key: HashMap<(&'p str, u32), usize>,
    matched: Vec<Vec<SelectorId>>,
}

impl<'p> Groups<'p> {
    /// The groups; and by selector, the first that picks the same of them.
    fn build(problem: &'p Problem, selectors: &[&'p PodSelector]) -> (Self, Vec<SelectorId>) {
        let mut by_key = HashMap::new();
        let mut members = Vec::<(&'p str, &'p Labels)>::new();
        let running = problem.nodes.iter().flat_map(|n| &n.pods).map(|p| (p.spec, p.labels));
        for (spec, labels) in problem.pods.iter().map(|p| (p.spec, p.labels)).chain(running) {
            let namespace = problem.specs[spec.index()].namespace.as_str();
            by_key.entry((namespace, labels.0)).or_insert_with(|| {
                members.push((namespace, &problem.label_sets[labels.index()]));
                members.len() - 1
            });
        }
        let mut by_label = HashMap::<(&str, &str), Vec<usize>>::new();
        if !selectors.is_empty() {
            for (at, (_, labels)) in members.iter().enumerate() {
                for (key, value) in *labels {
                    by_label.entry((key, value)).or_default().push(at);
                }
            }
        }
        let mut matched = vec![Vec::new(); members.len()];
        let mut known = HashMap::<Vec<usize>, SelectorId>::new();
        let mut alike = Vec::with_capacity(selectors.len());
        for (id, selector) in selectors.iter().enumerate() {
            let picks = |at: &usize| selector.selects(members[*at].0, members[*at].1);
            // Nearly every selector names a value of some label; only groups that have it can match.
            let narrow = selector.labels.iter().flatten().find_map(|r| match &r.op {
                Operator::In(values) => Some((r.key.as_str(), values)),
                _ => None,
            });
            let mut picked: Vec<usize> = match narrow {
                _ if selector.labels.is_none() => Vec::new(),
                Some((key, values)) => {
                    let having = values.iter().filter_map(|value| by_label.get(&(key, value.as_str())));
                    having.flatten().copied().filter(picks).collect()
                }
                None => (0..members.len()).filter(picks).collect(),
            };
            picked.sort_unstable();
            picked.dedup();
            let first = *known.entry(picked.clone()).or_insert(id as SelectorId);
            alike.push(first);
            if first == id as SelectorId {
                for at in picked {
                    matched[at].push(first);
                }
            }
        }
        (Self { by_key, matched }, alike)
    }

    fn matched(&self, problem: &Problem, spec: SpecId, labels: u32) -> &[SelectorId] {
        let namespace = problem.specs[spec.index()].namespace.as_str();
        self.by_key.get(&(namespace, labels)).map_or(&[], |&at| &self.matched[at])
    }
}
