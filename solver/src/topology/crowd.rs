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
    /// Rules carried by some pod, pending or running.
    pub(super) rules: BTreeSet<Rule>,
    /// By rule, label value: carriers and matches so far.
    counts: HashMap<Rule, BTreeMap<String, (u32, u32)>>,
}

/// The rules that concern one class.
pub(super) struct Concern {
    pub(super) rules: Vec<Rule>,
    carried: Vec<Rule>,
    matched: Vec<SelectorId>,
}

impl Crowd {
    pub(super) fn of(model: &Model<'_>) -> Self {
        let problem = model.problem;
        let pending = (0..model.classes.classes.len()).map(|c| model.spec(c));
        let running = problem.nodes.iter().flat_map(|n| &n.pods).map(|p| &problem.specs[p.spec.index()]);
        let rules: BTreeSet<Rule> = pending.chain(running).flat_map(|spec| terms(model, spec)).collect();
        let mut this = Self { rules, counts: HashMap::new() };
        if this.rules.is_empty() {
            return this;
        }
        for (node, matched) in problem.nodes.iter().zip(&model.classes.running) {
            for (pod, matched) in node.pods.iter().zip(matched) {
                let concern = this.concern_of(model, &problem.specs[pod.spec.index()], matched);
                for rule in &concern.rules {
                    if let Some(value) = node.labels.get(&rule.1) {
                        this.count(rule, value, &concern);
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
        let carried: Vec<Rule> = terms(model, spec).collect();
        let concerns = |r: &&Rule| matched.binary_search(&r.0).is_ok() || carried.contains(r);
        let rules = self.rules.iter().filter(concerns).cloned().collect();
        Concern { rules, carried, matched: matched.to_vec() }
    }

    fn count(&mut self, rule: &Rule, value: &str, concern: &Concern) {
        let entry = self.counts.entry(rule.clone()).or_default().entry(value.to_owned()).or_default();
        entry.0 += u32::from(concern.carried.contains(rule));
        entry.1 += u32::from(concern.matched.contains(&rule.0));
    }

    /// Whether a rule lets one more pod of the class into a domain.
    pub(super) fn has_room(&self, rule: &Rule, concern: &Concern, candidate: &Candidate) -> bool {
        let Some(value) = value_of(&candidate.domain, &rule.1) else { return true };
        let (carriers, matches) =
            self.counts.get(rule).and_then(|values| values.get(value)).copied().unwrap_or_default();
        (!concern.carried.contains(rule) || matches == 0)
            && (!concern.matched.contains(&rule.0) || carriers == 0)
    }

    /// The candidates that pods which run or have been dealt do not keep a class out of.
    pub(super) fn open_to(
        &self,
        model: &Model<'_>,
        class: usize,
        candidates: &[Candidate],
    ) -> Vec<Candidate> {
        let concern = self.concern(model, class);
        let open = |c: &&Candidate| concern.rules.iter().all(|rule| self.has_room(rule, &concern, c));
        candidates.iter().filter(open).cloned().collect()
    }

    /// Counts one more pod of the class in a domain.
    pub(super) fn add(&mut self, concern: &Concern, candidate: &Candidate) {
        for rule in &concern.rules {
            if let Some(value) = value_of(&candidate.domain, &rule.1) {
                self.count(rule, value, concern);
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
