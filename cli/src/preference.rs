//! What became of preferences, in words.

use std::collections::BTreeMap;

use stowage_solver::{Preference, Preferences, Problem, Solution};

use crate::money::hourly;
use crate::text::count;

/// Notes on preferences: how many pods go without which, and what it costs to honour the others.
pub(crate) fn notes(problem: &Problem, solution: &Solution) -> Vec<String> {
    let Some(preferences) = &solution.preferences else { return Vec::new() };
    let stated = count(preferences.pods, "pod");
    let mut notes = Vec::new();
    if preferences.given_up.is_empty() {
        notes.push(format!("preferences of {stated} are honoured, all of them"));
    } else {
        notes.push(format!(
            "preferences of {stated}: {} {} without some ({})",
            count(preferences.given_up.len(), "pod"),
            if preferences.given_up.len() == 1 { "goes" } else { "go" },
            by_kind(problem, preferences)
        ));
    }
    if let Some(without) = preferences.without.filter(|without| *without < solution.cost) {
        notes.push(format!(
            "honouring preferences costs {} an hour: --preference-policy ignore plans for {} or less",
            hourly(solution.cost - without),
            hourly(without)
        ));
    }
    notes
}

/// How many pods go without which kind of preference, and one of them for each.
fn by_kind(problem: &Problem, preferences: &Preferences) -> String {
    let mut kinds = BTreeMap::<&str, (usize, &str)>::new();
    for (pod, lost) in &preferences.given_up {
        let pod = &problem.pods[pod.index()];
        let mut words: Vec<&str> =
            lost.iter().map(|at| kind(&problem.specs[pod.spec.index()].preferences[*at])).collect();
        words.sort_unstable();
        words.dedup();
        for kind in words {
            let (pods, example) = kinds.entry(kind).or_insert((0, &pod.name));
            *pods += 1;
            *example = (*example).min(&pod.name);
        }
    }
    let parts = kinds.into_iter().map(|(kind, (pods, example))| match pods {
        1 => format!("{kind}: {example}"),
        _ => format!("{kind}: {example} and {} more", pods - 1),
    });
    parts.collect::<Vec<_>>().join("; ")
}

fn kind(preference: &Preference) -> &'static str {
    match preference {
        Preference::Node(_) => "node affinity",
        Preference::Untainted(_) => "PreferNoSchedule taints",
        Preference::Near(_) => "pod affinity",
        Preference::Away(_) => "pod anti-affinity",
        Preference::Spread(_) => "spread, or anti-affinity to its own kind",
    }
}
