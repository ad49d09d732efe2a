//! What a scenario expects of a consolidation, and as much of its document as that looks at.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Expectations of `plan --consolidate`. Only what is stated is looked at.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Expected {
    /// The steps, in any order.
    steps: Option<Vec<Step>>,
    /// Words of the reasons why nodes stay.
    kept: BTreeMap<String, String>,
    /// Dollars an hour.
    before: Option<f64>,
    after: Option<f64>,
    bound: Option<f64>,
    /// Words of notes.
    notes: Vec<String>,
}

/// One step: nodes that go, and types that come, by name and how many.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Step {
    removes: Vec<String>,
    launches: BTreeMap<String, usize>,
    /// Their capacity type, where all have the same.
    capacity_type: Option<String>,
    saving: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    summary: Summary,
    steps: Vec<Taken>,
    kept: Vec<Kept>,
    #[serde(default)]
    notes: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    hourly_cost_before: f64,
    hourly_cost_after: f64,
    lower_bound: f64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Taken {
    removes: Vec<Removed>,
    launches: Vec<Launched>,
    hourly_saving: f64,
}

#[derive(Debug, Deserialize)]
struct Removed {
    node: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Launched {
    instance_type: String,
    capacity_type: String,
}

#[derive(Debug, Deserialize)]
struct Kept {
    node: String,
    reason: String,
}

/// What is not as expected.
pub(super) fn check(expected: &Expected, found: &Document) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(steps) = &expected.steps {
        let mut left: Vec<&Taken> = found.steps.iter().collect();
        for step in steps {
            match left.iter().position(|taken| is(step, taken)) {
                Some(at) => drop(left.remove(at)),
                None => out.push(format!("no step is {step:?}: {:?}", found.steps)),
            }
        }
        out.extend(left.into_iter().map(|taken| format!("a step that nobody expects: {taken:?}")));
    }
    for (node, words) in &expected.kept {
        match found.kept.iter().find(|kept| kept.node == *node) {
            None => out.push(format!("node {node} does not stay")),
            Some(kept) if !kept.reason.contains(words) => {
                out.push(format!("node {node} stays because {:?}, expected {words:?}", kept.reason));
            }
            Some(_) => {}
        }
    }
    let sums = [
        ("cost before", expected.before, found.summary.hourly_cost_before),
        ("cost after", expected.after, found.summary.hourly_cost_after),
        ("bound", expected.bound, found.summary.lower_bound),
    ];
    for (what, wanted, is) in sums {
        if let Some(wanted) = wanted.filter(|wanted| (wanted - is).abs() > 1e-6) {
            out.push(format!("{what}: {is}, expected {wanted}"));
        }
    }
    for words in &expected.notes {
        if !found.notes.iter().any(|note| note.contains(words)) {
            out.push(format!("no note says {words:?}: {:?}", found.notes));
        }
    }
    out
}

fn is(step: &Step, taken: &Taken) -> bool {
    let mut removes: Vec<&str> = taken.removes.iter().map(|removed| removed.node.as_str()).collect();
    let mut wanted: Vec<&str> = step.removes.iter().map(String::as_str).collect();
    removes.sort_unstable();
    wanted.sort_unstable();
    let mut launches = BTreeMap::new();
    for launch in &taken.launches {
        *launches.entry(launch.instance_type.clone()).or_insert(0) += 1;
    }
    let of_type = |launch: &Launched| step.capacity_type.as_ref().is_none_or(|c| *c == launch.capacity_type);
    removes == wanted
        && launches == step.launches
        && taken.launches.iter().all(of_type)
        && step.saving.is_none_or(|saving| (saving - taken.hourly_saving).abs() < 1e-6)
}
