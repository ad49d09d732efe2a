//! A spread rule while a class is dealt: how many matching pods each domain has, and whether one more may join.
//!
//! Kubernetes' source of truth: `PodTopologySpread` of kube-scheduler, its filter and `calPreFilterState`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::candidate::Candidate;
use super::value_of;
use crate::class::SelectorId;
use crate::kind::untolerated;
use crate::model::{GateId, Model, holds};
use crate::problem::{NodeConstraint, PodSpec, Spread, TopologyKey};

/// One spread rule while a class is dealt.
pub(super) struct SpreadCount {
    pub(super) key: String,
    pub(super) max_skew: u32,
    pub(super) always_empty: bool,
    pub(super) counts_itself: bool,
    /// By candidate: matching pods in its domain.
    pub(super) counts: Vec<u32>,
    values: Vec<Option<String>>,
    /// By eligible domain.
    pub(super) eligible: BTreeMap<String, u32>,
}

/// What decides which domains a spread rule counts: gate, key, and what its policies honour.
type View = (GateId, String, bool, bool);

/// Matching pods by domain, running and dealt.
#[derive(Default)]
pub(super) struct SpreadTally {
    /// What pending pods are spread over: by key, what is counted.
    rules: BTreeMap<String, BTreeSet<SelectorId>>,
    /// For each existing node: how many of its pods each selector picks, terminating ones aside.
    pub(super) live: Vec<HashMap<SelectorId, u32>>,
    /// By key, selector, label value: pending pods dealt so far.
    planned: HashMap<String, HashMap<SelectorId, BTreeMap<String, u32>>>,
    /// The values that `NodePool`s offer.
    offered: HashMap<View, Vec<String>>,
}

impl SpreadTally {
    /// Adds a rule that a pending pod has.
    pub(super) fn rule(&mut self, key: &str, selector: SelectorId) {
        if !self.rules.contains_key(key) {
            self.rules.insert(key.to_owned(), BTreeSet::new());
        }
        if let Some(selectors) = self.rules.get_mut(key) {
            selectors.insert(selector);
        }
    }

    /// The counts of a spread rule as one class sees them.
    pub(super) fn count(
        &mut self,
        model: &mut Model<'_>,
        class: usize,
        spread: &Spread,
        key: &str,
        candidates: &[Candidate],
    ) -> SpreadCount {
        let spec = model.spec(class);
        let selector = model.classes.selector_id(&spread.selector);
        let required = label_spreads(spec).filter(|(other, _)| !other.wished);
        let keys: Vec<&str> = required.map(|(_, key)| key).collect();
        let mut counts = BTreeMap::<String, u32>::new();
        for (node, live) in model.problem.nodes.iter().zip(&self.live) {
            let counted = keys.iter().all(|k| node.labels.contains_key(*k))
                && (!spread.honor_node_affinity || own(spec).all(|c| holds(c, &node.labels)))
                && (!spread.honor_taints || untolerated(&node.taints, &spec.tolerations).is_none());
            if let (true, Some(value)) = (counted, node.labels.get(key)) {
                *counts.entry(value.clone()).or_default() += live.get(&selector).copied().unwrap_or(0);
            }
        }
        let view = (model.gate_of[class], key.to_owned(), spread.honor_node_affinity, spread.honor_taints);
        for value in self.offered.entry(view).or_insert_with(|| offered_values(model, class, spread, key)) {
            counts.entry(value.clone()).or_default();
        }
        if let Some(planned) = self.planned.get(key).and_then(|of_key| of_key.get(&selector)) {
            for (value, count) in planned {
                if let Some(entry) = counts.get_mut(value) {
                    *entry += count;
                }
            }
        }
        SpreadCount {
            key: key.to_owned(),
            max_skew: spread.max_skew,
            always_empty: counts.len() < spread.min_domains as usize,
            counts_itself: model.classes.classes[class].matched.contains(&selector),
            counts: candidates
                .iter()
                .map(|c| value_of(&c.domain, key).and_then(|v| counts.get(v)).copied().unwrap_or(0))
                .collect(),
            values: candidates.iter().map(|c| value_of(&c.domain, key).map(str::to_owned)).collect(),
            eligible: counts,
        }
    }

    /// Notes what a class that is spread itself was dealt, for every rule that counts it: those dealt later find it there.
    /// Pods without such rules can be bound after all others, and are not counted.
    pub(super) fn note(&mut self, matched: &[SelectorId], candidates: &[Candidate], counts: &[u32]) {
        for (key, selectors) in &self.rules {
            let values: Vec<(&str, u32)> = candidates
                .iter()
                .zip(counts)
                .filter_map(|(candidate, count)| Some((value_of(&candidate.domain, key)?, *count)))
                .collect();
            let counting = matched.iter().filter(|selector| selectors.contains(selector));
            for selector in counting.filter(|_| !values.is_empty()) {
                let of_key = self.planned.entry(key.clone()).or_default();
                let table = of_key.entry(*selector).or_default();
                for (value, count) in &values {
                    *table.entry((*value).to_owned()).or_default() += count;
                }
            }
        }
    }

    /// The keys of the rules that count a class.
    pub(super) fn keys<'s>(&'s self, matched: &'s [SelectorId]) -> impl Iterator<Item = &'s String> {
        let counting = |selectors: &BTreeSet<SelectorId>| matched.iter().any(|s| selectors.contains(s));
        self.rules.iter().filter(move |(_, selectors)| counting(selectors)).map(|(key, _)| key)
    }
}

impl SpreadCount {
    /// Matching pods in the least full eligible domain.
    pub(super) fn least(&self) -> u32 {
        if self.always_empty { 0 } else { self.eligible.values().copied().min().unwrap_or(0) }
    }

    /// Whether one more pod may join a candidate's domain while the least full one has `least`.
    pub(super) fn allows(&self, at: usize, least: u32) -> bool {
        self.values[at].is_some()
            && self.counts[at] + u32::from(self.counts_itself) <= least.saturating_add(self.max_skew)
    }

    pub(super) fn add(&mut self, at: usize) {
        if !self.counts_itself {
            return;
        }
        if let Some(value) = self.values[at].clone() {
            if let Some(count) = self.eligible.get_mut(&value) {
                *count += 1;
            }
            for (count, other) in self.counts.iter_mut().zip(&self.values) {
                if other.as_ref() == Some(&value) {
                    *count += 1;
                }
            }
        }
    }

    pub(super) fn words(&self) -> String {
        format!(
            "topology spread over {} allows a skew of {}, and the least full of {} domains ({}) takes no more pods",
            self.key,
            self.max_skew,
            self.eligible.len(),
            self.eligible.iter().min_by_key(|(_, n)| **n).map_or("none", |(v, _)| v.as_str()),
        )
    }
}

/// The values of a spread key that some `NodePool` offers to a class, whether or not its pods fit there.
pub(crate) fn offered_values(model: &mut Model<'_>, class: usize, spread: &Spread, key: &str) -> Vec<String> {
    let spec = model.spec(class);
    let mut kinds =
        if spread.honor_taints { model.kinds.tolerated_by(&spec.tolerations) } else { model.kinds.every() };
    if spread.honor_node_affinity {
        for constraint in own(spec) {
            kinds.intersect_with(&model.kinds.meeting(constraint));
        }
    }
    let (values, of_kind) = model.kinds.values_of(key);
    let mut seen = vec![false; values.len() + 1];
    kinds.ones().for_each(|at| seen[of_kind[at] as usize] = true);
    values.iter().zip(&seen[1..]).filter(|(_, seen)| **seen).map(|(value, _)| value.clone()).collect()
}

/// The node selector and node affinity of a pod: where its volumes are does not take domains out of the count.
fn own(spec: &PodSpec) -> impl Iterator<Item = &NodeConstraint> {
    spec.node.iter().filter(|c| !c.of_volume)
}

/// The spread rules of a spec that are over a label.
pub(super) fn label_spreads(spec: &PodSpec) -> impl Iterator<Item = (&Spread, &str)> {
    spec.spread.iter().filter_map(|s| match &s.key {
        TopologyKey::Label(key) => Some((s, key.as_str())),
        TopologyKey::Host => None,
    })
}
