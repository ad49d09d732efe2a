//! Required pod anti-affinity over a label: a carrier has its domain to itself, both ways.
//!
//! Kubernetes' source of truth: `InterPodAffinity` of kube-scheduler: `satisfyPodAntiAffinity` for the carrier,
//! `satisfyExistingPodsAntiAffinity` for those it is about.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::candidate::Candidate;
use super::value_of;
use crate::class::SelectorId;
use crate::model::Model;
use crate::problem::{PodSpec, TopologyKey};

/// A selector, and the label over which it keeps pods apart.
pub(super) type Rule = (SelectorId, String);

/// Carriers and matches of every rule, by domain.
#[derive(Default)]
pub(super) struct Crowd {
    /// Rules carried by some pod, pending or running, in order.
    rules: Vec<Rule>,
    /// By selector: where its rules begin and end.
    by_selector: HashMap<SelectorId, (usize, usize)>,
    /// The labels of all rules.
    pub(super) keys: BTreeSet<String>,
    /// By rule, label value: carriers and matches so far.
    counts: Vec<BTreeMap<String, (u32, u32)>>,
}

/// The part that one class has in a rule.
pub(super) struct Part {
    rule: usize,
    carries: bool,
    matches: bool,
}

/// The rules that concern one class, in order.
pub(super) struct Concern {
    pub(super) parts: Vec<Part>,
}

impl Crowd {
    pub(super) fn of(model: &Model<'_>) -> Self {
        let problem = model.problem;
        let pending = (0..model.classes.classes.len()).map(|c| model.spec(c));
        let running = problem.nodes.iter().flat_map(|n| &n.pods).map(|p| &problem.specs[p.spec.index()]);
        let rules: BTreeSet<Rule> = pending.chain(running).flat_map(|spec| terms(model, spec)).collect();
        if rules.is_empty() {
            return Self::default();
        }
        let mut this = Self { rules: rules.into_iter().collect(), ..Self::default() };
        this.keys = this.rules.iter().map(|(_, key)| key.clone()).collect();
        this.counts = vec![BTreeMap::new(); this.rules.len()];
        for (at, (selector, _)) in this.rules.iter().enumerate() {
            this.by_selector.entry(*selector).or_insert((at, at)).1 = at + 1;
        }
        for (node, matched) in problem.nodes.iter().zip(&model.classes.running) {
            for (pod, matched) in node.pods.iter().zip(matched) {
                let concern = this.concern_of(model, &problem.specs[pod.spec.index()], matched);
                for part in &concern.parts {
                    if let Some(value) = node.labels.get(&this.rules[part.rule].1) {
                        this.count(part, value);
                    }
                }
            }
        }
        this
    }

    pub(super) fn concern(&self, model: &Model<'_>, class: usize) -> Concern {
        self.concern_of(model, model.spec(class), &model.classes.classes[class].matched)
    }

    fn concern_of(&self, model: &Model<'_>, spec: &PodSpec, matched: &[SelectorId]) -> Concern {
        let carried = terms(model, spec).filter_map(|rule| self.rules.binary_search(&rule).ok());
        let mut parts: BTreeMap<usize, (bool, bool)> = carried.map(|rule| (rule, (true, false))).collect();
        for rule in self.matching(matched) {
            parts.entry(rule).or_default().1 = true;
        }
        let part = |(rule, (carries, matches))| Part { rule, carries, matches };
        Concern { parts: parts.into_iter().map(part).collect() }
    }

    /// The rules of these selectors.
    fn matching<'s>(&'s self, matched: &'s [SelectorId]) -> impl Iterator<Item = usize> + 's {
        matched.iter().filter_map(|selector| self.by_selector.get(selector)).flat_map(|(from, to)| *from..*to)
    }

    /// The labels over which some rule keeps others away from a pod that these selectors pick.
    pub(super) fn keys_against(&self, matched: &[SelectorId]) -> BTreeSet<&String> {
        self.matching(matched).map(|rule| &self.rules[rule].1).collect()
    }

    /// The label of a rule.
    pub(super) fn key(&self, part: &Part) -> &str {
        &self.rules[part.rule].1
    }

    fn count(&mut self, part: &Part, value: &str) {
        let values = &mut self.counts[part.rule];
        if !values.contains_key(value) {
            values.insert(value.to_owned(), (0, 0));
        }
        if let Some((carriers, matches)) = values.get_mut(value) {
            *carriers += u32::from(part.carries);
            *matches += u32::from(part.matches);
        }
    }

    /// Whether a rule lets one more pod of the class into a domain.
    pub(super) fn has_room(&self, part: &Part, candidate: &Candidate) -> bool {
        let values = &self.counts[part.rule];
        if values.is_empty() {
            return true;
        }
        let Some(value) = value_of(&candidate.domain, self.key(part)) else { return true };
        let (carriers, matches) = values.get(value).copied().unwrap_or_default();
        (!part.carries || matches == 0) && (!part.matches || carriers == 0)
    }

    /// The candidates that pods which run or have been dealt do not keep a class out of.
    pub(super) fn open_to(
        &self,
        model: &Model<'_>,
        class: usize,
        candidates: &[Candidate],
    ) -> Vec<Candidate> {
        let concern = self.concern(model, class);
        let open = |c: &&Candidate| concern.parts.iter().all(|part| self.has_room(part, c));
        candidates.iter().filter(open).cloned().collect()
    }

    /// Counts one more pod of the class in a domain.
    pub(super) fn add(&mut self, concern: &Concern, candidate: &Candidate) {
        for part in &concern.parts {
            if let Some(value) = value_of(&candidate.domain, self.key(part)) {
                self.count(part, value);
            }
        }
    }
}

/// The label anti-affinity rules that a spec carries.
pub(super) fn terms<'a>(model: &'a Model<'_>, spec: &'a PodSpec) -> impl Iterator<Item = Rule> + 'a {
    spec.anti_affinity.iter().filter_map(|t| match &t.key {
        TopologyKey::Label(key) => Some((model.classes.selector_id(&t.selector), key.clone())),
        TopologyKey::Host => None,
    })
}
