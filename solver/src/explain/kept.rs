//! The problem as a plan took it: preferences that it keeps are rules, those that it gave up are gone.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::problem::{NodeConstraint, PodId, PodSpec, Preference, Problem, SpecId, Spread};
use crate::solution::Solution;

/// `problem` with what `solution` keeps of its preferences as rules.
pub(super) fn kept<'p>(problem: &'p Problem, solution: &Solution) -> Cow<'p, Problem> {
    let Some(preferences) = &solution.preferences else { return Cow::Borrowed(problem) };
    let given_up: HashMap<PodId, &[usize]> =
        preferences.given_up.iter().map(|(pod, lost)| (*pod, lost.as_slice())).collect();
    let mut out = problem.clone();
    let mut known = HashMap::<(SpecId, &[usize]), SpecId>::new();
    for at in 0..problem.pods.len() {
        let own = problem.pods[at].spec;
        let spec = &problem.specs[own.index()];
        if spec.preferences.is_empty() {
            continue;
        }
        let lost = given_up.get(&PodId::of(at)).copied().unwrap_or_default();
        let specs = &mut out.specs;
        let id = *known.entry((own, lost)).or_insert_with(|| {
            specs.push(hardened(spec, lost));
            SpecId::of(specs.len() - 1)
        });
        out.pods[at].spec = id;
    }
    for spec in &mut out.specs {
        spec.preferences.clear();
    }
    Cow::Owned(out)
}

/// A spec with all of its preferences but the `lost` as rules.
fn hardened(spec: &PodSpec, lost: &[usize]) -> PodSpec {
    let mut out = PodSpec { preferences: Vec::new(), ..spec.clone() };
    for (_, preference) in spec.preferences.iter().enumerate().filter(|(at, _)| !lost.contains(at)) {
        match preference {
            // As for volumes: a spread that honours a pod's node affinity looks at what it requires only.
            Preference::Node(wish) | Preference::Untainted(wish) => {
                out.node.push(NodeConstraint { of_volume: true, ..wish.clone() });
            }
            Preference::Near(term) => out.affinity.push(term.clone()),
            Preference::Away(term) => out.anti_affinity.push(term.clone()),
            Preference::Spread(spread) => out.spread.push(Spread { wished: true, ..spread.clone() }),
        }
    }
    out
}
