//! Spread rules that cannot be broken: with no more pods to count than `maxSkew`, no domain can have too many.
//!
//! What is left of such a rule is that nodes must have the label that it counts over; of a preference nothing is left.
//! Planning takes care of rules by dealing pods out evenly, which costs money that this saves.
//!
//! Kubernetes' source of truth: `PodTopologySpread` of kube-scheduler: the skew of a node's domain is the pods there less
//! the fewest of any domain, which is never below zero, and nodes without the label are left out.

use std::collections::HashMap;

use stowage_solver::{
    NodeConstraint, Operator, PodSelector, PodSpec, Preference, Problem, Requirement, Spread, TopologyKey,
};

/// Takes the rules away that no number of the problem's pods can break.
pub(super) fn loosen(problem: &mut Problem) {
    let mut counts = Counts::of(problem);
    let mut specs = std::mem::take(&mut problem.specs);
    for spec in specs.iter_mut().filter(|spec| may_be_loose(spec)) {
        let (loose, kept): (Vec<Spread>, Vec<Spread>) =
            std::mem::take(&mut spec.spread).into_iter().partition(|rule| counts.is_loose(problem, rule));
        spec.spread = kept;
        spec.node.extend(loose.into_iter().filter_map(has_label));
        spec.preferences
            .retain(|wish| !matches!(wish, Preference::Spread(rule) if counts.is_loose(problem, rule)));
    }
    problem.specs = specs;
}

fn may_be_loose(spec: &PodSpec) -> bool {
    let wished = spec.preferences.iter().filter_map(|wish| match wish {
        Preference::Spread(rule) => Some(rule),
        _ => None,
    });
    spec.spread.iter().chain(wished).any(|rule| rule.max_skew > 1)
}

/// Every node has a host name.
fn has_label(rule: Spread) -> Option<NodeConstraint> {
    let TopologyKey::Label(key) = rule.key else { return None };
    Some(NodeConstraint {
        source: format!("topology spread over {key}"),
        any_of: vec![vec![Requirement { key, op: Operator::Exists }]],
        // What a spread rule excludes is no domain of other rules' business.
        of_volume: true,
    })
}

/// How many pods there are, pending or running, that spread rules count.
struct Counts {
    /// By namespace and label set.
    pods: HashMap<(String, u32), u64>,
    by_selector: HashMap<PodSelector, u64>,
}

impl Counts {
    fn of(problem: &Problem) -> Self {
        let mut pods = HashMap::new();
        if problem.specs.iter().any(may_be_loose) {
            let running = problem.nodes.iter().flat_map(|node| &node.pods).filter(|pod| !pod.terminating);
            let running = running.map(|pod| (pod.spec, pod.labels));
            for (spec, labels) in problem.pods.iter().map(|pod| (pod.spec, pod.labels)).chain(running) {
                let namespace = &problem.specs[spec.index()].namespace;
                *pods.entry((namespace.clone(), labels.0)).or_insert(0) += 1;
            }
        }
        Self { pods, by_selector: HashMap::new() }
    }

    fn is_loose(&mut self, problem: &Problem, rule: &Spread) -> bool {
        if rule.max_skew < 2 {
            return false;
        }
        let counted = self.by_selector.entry(rule.selector.clone()).or_insert_with(|| {
            let selected = self.pods.iter().filter(|((namespace, labels), _)| {
                rule.selector.selects(namespace, &problem.label_sets[*labels as usize])
            });
            selected.map(|(_, count)| count).sum()
        });
        *counted <= u64::from(rule.max_skew)
    }
}
