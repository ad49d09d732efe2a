//! A consolidation as a document, `stowage.dev/consolidation/v1`; see `docs/plan.md`.

use serde::Serialize;
use stowage_cluster::words::kept;
use stowage_solver::{Destination, NewNode, NodeId, Price, Step};

use super::Answer;

/// The document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Document<'a> {
    schema_version: &'static str,
    summary: Summary,
    steps: Vec<Taken<'a>>,
    kept: Vec<Stays<'a>>,
    notes: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    nodes: usize,
    removed: usize,
    launched: usize,
    moved_pods: usize,
    hourly_cost_before: f64,
    hourly_cost_after: f64,
    hourly_saving: f64,
    lower_bound: f64,
    disruption: f64,
    pending_pods: usize,
    complete: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Taken<'a> {
    removes: Vec<Removed<'a>>,
    launches: Vec<Launched<'a>>,
    moves: Vec<Moved<'a>>,
    hourly_saving: f64,
    disruption: f64,
    payback_seconds: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Removed<'a> {
    node: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    node_pool: &'a str,
    instance_type: &'a str,
    zone: &'a str,
    capacity_type: &'a str,
    hourly_cost: Option<f64>,
    disruption: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Launched<'a> {
    name: String,
    node_pool: &'a str,
    instance_type: &'a str,
    zone: &'a str,
    capacity_type: &'a str,
    hourly_cost: f64,
    alternatives: usize,
}

#[derive(Serialize)]
struct Moved<'a> {
    pod: &'a str,
    from: &'a str,
    to: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stays<'a> {
    node: &'a str,
    hourly_cost: Option<f64>,
    reason: &'a str,
}

/// The document of an answer.
pub(crate) fn of(answer: &Answer) -> Document<'_> {
    let found = &answer.found;
    let disruption: i64 = found.steps.iter().map(|step| step.disruption).sum();
    Document {
        schema_version: "stowage.dev/consolidation/v1",
        summary: Summary {
            nodes: answer.problem.nodes.len(),
            removed: found.steps.iter().map(|step| step.removes.len()).sum(),
            launched: found.steps.iter().map(|step| step.launches.len()).sum(),
            moved_pods: found.steps.iter().map(|step| step.moves.len()).sum(),
            hourly_cost_before: found.before.dollars(),
            hourly_cost_after: found.after.dollars(),
            hourly_saving: (found.before - found.after).dollars(),
            lower_bound: found.bound.dollars(),
            disruption: in_pods(disruption),
            pending_pods: answer.problem.pods.len(),
            complete: !found.spent,
        },
        steps: found.steps.iter().enumerate().map(|(at, step)| taken(answer, at, step)).collect(),
        kept: answer
            .kept
            .iter()
            .map(|(node, reason)| Stays {
                node: name(answer, *node),
                hourly_cost: price(answer, *node),
                reason,
            })
            .collect(),
        notes: &answer.notes,
    }
}

fn taken<'a>(answer: &'a Answer, number: usize, step: &'a Step) -> Taken<'a> {
    let to = |to: Destination| match to {
        Destination::Existing(node) => name(answer, node).to_owned(),
        Destination::New(launch) => new_name(answer, number, launch),
    };
    Taken {
        removes: step.removes.iter().map(|node| removed(answer, *node)).collect(),
        launches: step
            .launches
            .iter()
            .enumerate()
            .map(|(at, new)| launched(answer, new, new_name(answer, number, at)))
            .collect(),
        moves: step
            .moves
            .iter()
            .map(|pod| Moved { pod: &pod.pod, from: name(answer, pod.from), to: to(pod.to) })
            .collect(),
        hourly_saving: step.saving.dollars(),
        disruption: in_pods(step.disruption),
        payback_seconds: step.payback,
    }
}

fn removed(answer: &Answer, node: NodeId) -> Removed<'_> {
    let held = &answer.fleet.nodes[node.index()];
    Removed {
        node: name(answer, node),
        node_pool: answer.problem.nodes[node.index()].pool.as_deref().unwrap_or(""),
        instance_type: &held.sold_as.instance_type,
        zone: &held.sold_as.zone,
        capacity_type: &held.sold_as.capacity_type,
        hourly_cost: price(answer, node),
        disruption: in_pods(held.disruption()),
    }
}

fn launched<'a>(answer: &'a Answer, new: &'a NewNode, name: String) -> Launched<'a> {
    let offering = new.offering(&answer.problem);
    Launched {
        name,
        node_pool: &answer.problem.pools[new.pool.index()].name,
        instance_type: &answer.problem.types[new.instance_type.index()].name,
        zone: &offering.zone,
        capacity_type: &offering.capacity_type,
        hourly_cost: (new.price - new.rebate + new.fixed_cost).dollars(),
        alternatives: new.alternatives.len(),
    }
}

/// A name for a launch: its step and its number in it, such as `new-2-1`.
pub(super) fn new_name(answer: &Answer, step: usize, launch: usize) -> String {
    let mut name = format!("new-{}-{}", step + 1, launch + 1);
    while answer.problem.nodes.iter().any(|node| node.name == name) {
        name.push('x');
    }
    name
}

fn name(answer: &Answer, node: NodeId) -> &str {
    &answer.problem.nodes[node.index()].name
}

fn price(answer: &Answer, node: NodeId) -> Option<f64> {
    answer.fleet.nodes[node.index()].price.map(Price::dollars)
}

/// Thousandths of an ordinary pod, in pods.
fn in_pods(disruption: i64) -> f64 {
    disruption as f64 / 1000.0
}

/// After how long a step has paid, for people.
pub(super) fn payback(step: &Step) -> String {
    kept::lasting(step.payback)
}
