//! Required pod affinity over a label: pods that must be in a domain where others are.
//!
//! kube-scheduler counts, over all nodes, the pods that *every* term of a pod selects, by each term's domain; a pod may
//! join where each of its terms finds one. Only when there is none anywhere may a pod that selects itself be the first
//! (`satisfyPodAffinity` of its `InterPodAffinity` plugin).
//!
//! So the pods that others want to be near are dealt before those others, and a group that only wants to be near itself
//! is given one home: the domain that can hold most of it, has most room that costs nothing, and is cheapest.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::candidate::Candidate;
use super::value_of;
use crate::class::SelectorId;
use crate::model::Model;
use crate::problem::{PodSpec, TopologyKey};

/// Index into [`Nears::rules`].
pub(super) type NearId = usize;

/// The terms of one pod, and where the pods are that all of them select.
struct Near {
    /// Every one must select a pod for it to count.
    selectors: Vec<SelectorId>,
    /// Label keys of the terms.
    keys: Vec<String>,
    /// By key and value: pods that count.
    targets: BTreeMap<(String, String), u32>,
    /// Classes not dealt yet that count, those with the very same terms aside.
    awaited: u32,
    /// Where a group starts that is near itself only: by key of `keys`, its value.
    home: Option<Vec<String>>,
}

/// All affinity rules over labels.
#[derive(Default)]
pub(super) struct Nears {
    rules: Vec<Near>,
    /// By class: its own rule.
    own: Vec<Option<NearId>>,
    /// By class: the rules that count it.
    aims: Vec<Vec<NearId>>,
}

impl Nears {
    pub(super) fn of(model: &Model<'_>) -> Self {
        let classes = &model.classes.classes;
        let mut ids = BTreeMap::<(Vec<SelectorId>, Vec<String>), NearId>::new();
        let mut own = vec![None; classes.len()];
        for (class, own) in own.iter_mut().enumerate() {
            let terms = terms(model, model.spec(class));
            if !terms.1.is_empty() {
                let next = ids.len();
                *own = Some(*ids.entry(terms).or_insert(next));
            }
        }
        let mut rules: Vec<(NearId, Near)> = ids
            .into_iter()
            .map(|((selectors, keys), id)| {
                (id, Near { selectors, keys, targets: BTreeMap::new(), awaited: 0, home: None })
            })
            .collect();
        rules.sort_by_key(|(id, _)| *id);
        let mut this =
            Self { rules: rules.into_iter().map(|(_, near)| near).collect(), own, aims: Vec::new() };
        if this.rules.is_empty() {
            this.aims = vec![Vec::new(); classes.len()];
            return this;
        }
        this.aims = classes.iter().map(|class| this.counting(&class.matched)).collect();
        for (class, aims) in this.aims.iter().enumerate() {
            for &near in aims {
                let outside = this.own[class] != Some(near) && model.spec(class).blocked.is_none();
                this.rules[near].awaited += u32::from(outside);
            }
        }
        for (node, matched) in model.problem.nodes.iter().zip(&model.classes.running) {
            for matched in matched {
                for near in this.counting(matched) {
                    let near = &mut this.rules[near];
                    for key in &near.keys {
                        if let Some(value) = node.labels.get(key) {
                            *near.targets.entry((key.clone(), value.clone())).or_default() += 1;
                        }
                    }
                }
            }
        }
        this
    }

    /// The rules that count a pod which these selectors pick.
    fn counting(&self, matched: &[SelectorId]) -> Vec<NearId> {
        let counts = |near: &Near| near.selectors.iter().all(|s| matched.binary_search(s).is_ok());
        (0..self.rules.len()).filter(|at| counts(&self.rules[*at])).collect()
    }

    /// The label keys that affinity, a class's own or that of others to it, has something to say about.
    pub(super) fn keys(&self, class: usize) -> impl Iterator<Item = &String> {
        let rules = self.own[class].iter().chain(&self.aims[class]);
        rules.flat_map(|near| &self.rules[*near].keys)
    }

    /// Whether all pods that a class may want to be near have been dealt.
    pub(super) fn ready(&self, class: usize) -> bool {
        self.own[class].is_none_or(|near| self.rules[near].awaited == 0)
    }

    /// Whether a class is among the pods it wants to be near.
    pub(super) fn selects_itself(&self, class: usize) -> bool {
        self.own[class].is_some_and(|near| self.aims[class].contains(&near))
    }

    /// Whether a class is to start a group that is near itself only, and has no home yet.
    pub(super) fn homeless(&self, class: usize) -> Option<NearId> {
        let near = self.own[class].filter(|_| self.selects_itself(class))?;
        (self.rules[near].targets.is_empty() && self.rules[near].home.is_none()).then_some(near)
    }

    /// The classes of a group.
    pub(super) fn has_rule(&self, class: usize, near: NearId) -> bool {
        self.own[class] == Some(near)
    }

    /// Gives a group the domain that can hold most of its pods.
    pub(super) fn settle<'c>(&mut self, near: NearId, members: impl Iterator<Item = (u32, &'c [Candidate])>) {
        let rule = &mut self.rules[near];
        // By domain: pods that it can hold, those of them that cost nothing there, and how dear it is.
        let mut votes = BTreeMap::<Vec<String>, (u32, u32, Reverse<usize>)>::new();
        for (count, candidates) in members {
            let mut here = BTreeMap::<Vec<String>, (u32, u32, usize)>::new();
            for (rank, candidate) in candidates.iter().enumerate() {
                let values = rule.keys.iter().map(|key| value_of(&candidate.domain, key).map(str::to_owned));
                if let Some(values) = values.collect::<Option<Vec<String>>>() {
                    let entry = here.entry(values).or_insert((0, 0, rank));
                    entry.0 = entry.0.saturating_add(candidate.most);
                    entry.1 = entry.1.saturating_add(candidate.free);
                }
            }
            for (values, (most, free, rank)) in here {
                let entry = votes.entry(values).or_default();
                entry.0 = entry.0.saturating_add(most.min(count));
                entry.1 = entry.1.saturating_add(free.min(count));
                entry.2.0 += rank;
            }
        }
        let best = votes.into_iter().max_by(|(da, a), (db, b)| a.cmp(b).then_with(|| db.cmp(da)));
        rule.home = best.map(|(values, _)| values);
    }

    /// Whether affinity lets one more pod of a class into a domain.
    pub(super) fn allows(&self, class: usize, candidate: &Candidate) -> bool {
        let Some(near) = self.own[class] else { return true };
        let rule = &self.rules[near];
        if rule.targets.is_empty() {
            return self.selects_itself(class)
                && rule.home.as_ref().is_some_and(|home| {
                    rule.keys.iter().zip(home).all(|(k, v)| value_of(&candidate.domain, k) == Some(v))
                });
        }
        rule.keys.iter().all(|key| {
            value_of(&candidate.domain, key)
                .is_some_and(|value| rule.targets.contains_key(&(key.clone(), value.to_owned())))
        })
    }

    /// Counts pods of a class in a domain.
    pub(super) fn add(&mut self, class: usize, candidate: &Candidate, count: u32) {
        for near in &self.aims[class] {
            let rule = &mut self.rules[*near];
            for key in &rule.keys {
                if let Some(value) = value_of(&candidate.domain, key) {
                    *rule.targets.entry((key.clone(), value.to_owned())).or_default() += count;
                }
            }
        }
    }

    /// Notes that a class has been dealt.
    pub(super) fn dealt(&mut self, class: usize) {
        for near in &self.aims[class] {
            if self.own[class] != Some(*near) {
                self.rules[*near].awaited -= 1;
            }
        }
    }

    /// What a class wants to be near over, in words.
    pub(super) fn words(&self, class: usize) -> String {
        let keys = self.own[class].map_or(&[][..], |near| &self.rules[near].keys);
        format!(
            "pod affinity over {}: no pod that it selects is in a domain that it can use",
            keys.join(" and ")
        )
    }
}

/// The selectors of all affinity terms of a spec, and the label keys among their topologies.
fn terms(model: &Model<'_>, spec: &PodSpec) -> (Vec<SelectorId>, Vec<String>) {
    let selectors: BTreeSet<SelectorId> =
        spec.affinity.iter().map(|t| model.classes.selector_id(&t.selector)).collect();
    let keys = spec.affinity.iter().filter_map(|t| match &t.key {
        TopologyKey::Label(key) => Some(key.clone()),
        TopologyKey::Host => None,
    });
    let keys: BTreeSet<String> = keys.collect();
    (selectors.into_iter().collect(), keys.into_iter().collect())
}
