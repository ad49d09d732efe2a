//! One cluster against the real scheduler: do planned pods fit where they are planned, and do others fit nowhere?

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::{Value, json};
use stowage_api::well_known;

use super::device;
use super::plan::{Plan, plan};
use super::rules::REQUIRED;
use super::stage::{PREEMPTING, Stage, by_key};
use super::watcher::Seen;
use crate::case::{Case, key};
use crate::generate::priority_of;

/// So many orders of the planned pods are tried before they are said not to fit.
const ORDERS: usize = 12;

/// A pod about which the plan and the scheduler do not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Disagreement {
    /// No plan could be made or read.
    NoPlan(String),
    /// The scheduler does not let the pod run on the node planned for it, in whatever order the planned pods come.
    Refused {
        /// `namespace/name`.
        pod: String,
        /// Where it was to run.
        node: String,
        /// What the scheduler says, or where it put it instead.
        why: String,
    },
    /// The scheduler does not make room for the pod where it should.
    Patient {
        /// `namespace/name`.
        pod: String,
        /// Where it was to take the place of others.
        node: String,
        /// What it does instead.
        why: String,
    },
    /// The scheduler found a node for a pod that the plan gives none.
    Bound {
        /// `namespace/name`.
        pod: String,
        /// The node that took it.
        node: String,
        /// Why there should be none.
        why: String,
    },
}

impl Disagreement {
    /// What makes two of them the same kind of failure.
    pub(crate) fn kind(&self) -> &str {
        match self {
            // A cluster that lost too much cannot even be read.
            Self::NoPlan(why) => why.split(':').next().unwrap_or_default(),
            Self::Refused { .. } => "refused",
            Self::Patient { .. } => "patient",
            Self::Bound { .. } => "bound",
        }
    }
}

impl std::fmt::Display for Disagreement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoPlan(why) => write!(f, "there is no plan: {why}"),
            Self::Refused { pod, node, why } => {
                write!(f, "{pod} is planned on {node}, and the scheduler says: {why}")
            }
            Self::Patient { pod, node, why } => {
                write!(f, "{pod} was to take the place of others on {node}, and does not: {why}")
            }
            Self::Bound { pod, node, why } => {
                write!(f, "{pod} is bound to {node}, and was to fit nowhere: {why}")
            }
        }
    }
}

/// What came of a cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// What plan and scheduler do not agree about.
    pub(crate) disagreements: Vec<Disagreement>,
    /// Pods that have a place in the plan.
    pub(crate) placed: usize,
    /// Pods that have none.
    pub(crate) unplaced: usize,
    /// Placed pods that found a node without being told which.
    pub(crate) unaided: usize,
    /// Planned nodes.
    pub(crate) nodes: usize,
    /// Empty nodes that were added for the pods without a place.
    pub(crate) extra: usize,
}

/// Tries a cluster. The stage is empty before and after.
///
/// # Errors
/// Where the control plane fails; what that leaves on the stage is not cleared.
pub(crate) fn check(stage: &mut Stage, case: &Case, unaided: bool) -> Result<Outcome> {
    let plan = match plan(case) {
        Ok(plan) => plan,
        Err(error) => {
            let disagreements = vec![Disagreement::NoPlan(format!("{error:#}"))];
            return Ok(Outcome { disagreements, ..Outcome::default() });
        }
    };
    let mut outcome = Outcome {
        placed: plan.placed.len(),
        unplaced: plan.unplaced.len(),
        nodes: plan.nodes.len(),
        extra: plan.launchable.len(),
        ..Outcome::default()
    };
    let pods = by_key(case);
    stage.set_up(case)?;
    let (disagreements, settled) = preempt(stage, case, &plan, &pods)?;
    outcome.disagreements = disagreements;
    stage.add_nodes(&plan.nodes)?;
    let mut rest = plan.clone();
    rest.placed.retain(|name, _| !settled.contains(name));
    if outcome.disagreements.is_empty() {
        outcome.disagreements = as_planned(stage, case, &rest, &pods)?;
    }
    if outcome.disagreements.is_empty() && !plan.unplaced.is_empty() {
        outcome.disagreements = nowhere(stage, case, &plan, &pods)?;
    }
    if unaided && outcome.disagreements.is_empty() {
        for (_, pod) in pods.iter().filter(|(name, _)| !plan.preempting.contains_key(*name)) {
            stage.withdraw(case, pod)?;
        }
        stage.remove_nodes(&plan.launchable)?;
        stage.renew_claims(case)?;
        outcome.unaided = alone(stage, &plan, &pods)?;
    }
    stage.clear(case)?;
    Ok(outcome)
}

/// Lets the pods go that are to take the place of others, before there are new nodes, and before each those that the plan
/// puts on existing nodes and that have as much right to it: the higher priority, then the name. Afterwards they run, and
/// those whose place they have are gone: so the rest of the plan has it. Tells which of the others run now, too.
fn preempt(
    stage: &mut Stage,
    case: &Case,
    plan: &Plan,
    pods: &BTreeMap<String, &Value>,
) -> Result<(Vec<Disagreement>, BTreeSet<String>)> {
    let (mut out, mut settled) = (Vec::new(), BTreeSet::new());
    let existing: BTreeSet<String> = case.of_kind("Node").map(key).collect();
    let rank = |name: &str| {
        let class = pods[name]["spec"]["priorityClassName"].as_str();
        (Reverse(class.map_or(0, priority_of)), name.to_owned())
    };
    let Some(last) = plan.preempting.keys().map(|name| rank(name)).max() else {
        return Ok((out, settled));
    };
    let there = plan.placed.iter().filter(|(name, node)| existing.contains(*node) && rank(name) < last);
    let mut order: Vec<(&String, &String)> = plan.preempting.iter().chain(there).collect();
    order.sort_by_key(|(name, _)| rank(name));
    for (name, node) in order {
        let preempts = plan.preempting.contains_key(name);
        let mut pod = pods[name].clone();
        if preempts {
            pod["spec"]["schedulerName"] = json!(PREEMPTING);
        }
        let uid = stage.submit(&pod)?;
        stage.barrier()?;
        stage.release(&pod, (!preempts).then_some(node.as_str()))?;
        let is_settled = |seen: &[Seen]| {
            let gave_up = seen[0].refused.is_some() && (!preempts || seen[0].nominated.is_none());
            seen[0].node.is_some() || gave_up
        };
        let seen = stage.wait(&[uid], name, is_settled)?.remove(0);
        if seen.node.as_ref() == Some(node) {
            settled.insert(name.clone());
        } else if preempts {
            let why =
                seen.node.map(|other| format!("it goes to {other}")).or(seen.refused).unwrap_or_default();
            out.push(Disagreement::Patient { pod: name.clone(), node: node.clone(), why });
        } else {
            // It may have to come after others.
            stage.withdraw(case, &pod)?;
        }
    }
    Ok((out, settled))
}

/// The planned pods in the order to let them go. Those that are to be even over something go before others that they may
/// count and that need not be, those that must be near others after these, and nodes take turns, because that keeps even
/// what is to be even.
fn order<'a>(
    plan: &Plan,
    pods: &BTreeMap<String, &'a Value>,
    first: &BTreeSet<String>,
) -> Vec<(String, &'a Value)> {
    let even_over = |pod: &Value| -> BTreeSet<String> {
        let rules = pod["spec"]["topologySpreadConstraints"].as_array().into_iter().flatten();
        let keys = rules.filter_map(|rule| rule["topologyKey"].as_str().map(str::to_owned));
        keys.filter(|key| key != well_known::HOSTNAME).collect()
    };
    let keys: BTreeSet<String> = plan.placed.keys().flat_map(|name| even_over(pods[name])).collect();
    let mut on_node = BTreeMap::<&str, usize>::new();
    let mut out: Vec<_> = plan
        .placed
        .iter()
        .map(|(name, node)| {
            let rank = on_node.entry(node).or_default();
            *rank += 1;
            let pod = pods[name];
            let near = !pod["spec"]["affinity"]["podAffinity"][REQUIRED].is_null();
            let free_of = keys.len() - even_over(pod).len();
            let even = !pod["spec"]["topologySpreadConstraints"].is_null();
            ((!first.contains(name), near, free_of, !even, *rank), name.clone(), pod)
        })
        .collect();
    out.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    out.into_iter().map(|(_, name, pod)| (name, pod)).collect()
}

/// Whether there is an order in which the scheduler lets all planned pods run where they are planned.
///
/// A plan says where pods end up. Rules between them can ask for an order: pods that are to be even must come before
/// others that they count but that need not be even. So where some pods are left, these go first the next time.
fn as_planned(
    stage: &mut Stage,
    case: &Case,
    plan: &Plan,
    pods: &BTreeMap<String, &Value>,
) -> Result<Vec<Disagreement>> {
    let mut first = BTreeSet::new();
    let mut refused = BTreeMap::new();
    for turn in 0..ORDERS {
        if turn > 0 {
            for name in plan.placed.keys() {
                stage.withdraw(case, pods[name])?;
            }
            stage.renew_claims(case)?;
        }
        refused = in_order(stage, case, plan, order(plan, pods, &first))?;
        let known = first.len();
        first.extend(refused.keys().cloned());
        if refused.is_empty() || (turn > 0 && first.len() == known) {
            break;
        }
    }
    let refused = refused.into_iter();
    Ok(refused
        .map(|(pod, why)| Disagreement::Refused { node: plan.placed[&pod].clone(), pod, why })
        .collect())
}

/// Lets planned pods go one by one, each nominated to its node. The scheduler looks at that node first, so a pod that is
/// bound elsewhere was refused there. Such a pod is taken back, and has its turn again after the next that is let in: before
/// all that come later in the order. Returns those of which none could go in the end, and why.
fn in_order(
    stage: &mut Stage,
    case: &Case,
    plan: &Plan,
    mut left: Vec<(String, &Value)>,
) -> Result<BTreeMap<String, String>> {
    let mut uids = BTreeMap::new();
    for (name, pod) in &left {
        uids.insert(name.clone(), stage.submit(pod)?);
    }
    stage.barrier()?;
    let mut refused = BTreeMap::<String, String>::new();
    while let Some(at) = left.iter().position(|(name, _)| !refused.contains_key(name)) {
        let (name, pod) = &left[at];
        let planned = &plan.placed[name];
        stage.release(pod, Some(planned))?;
        let seen = stage.wait(&[uids[name].clone()], name, |seen| seen[0].is_decided())?;
        if seen[0].node.as_ref() == Some(planned) {
            refused.clear();
            left.remove(at);
            continue;
        }
        let why = match &seen[0] {
            Seen { node: Some(other), .. } => format!("refused on {planned}, bound to {other}"),
            Seen { refused, .. } => refused.clone().unwrap_or_default(),
        };
        let had_claims = stage.withdraw(case, pod)?;
        uids.insert(name.clone(), stage.submit(pod)?);
        if had_claims {
            stage.barrier()?;
        }
        refused.insert(name.clone(), why);
    }
    Ok(refused)
}

/// Adds an empty node of every kind there is, and lets the pods go that have no place.
///
/// A pod whose claims of devices are not all there is not even tried: it waits for them outside the scheduler's queue.
fn nowhere(
    stage: &mut Stage,
    case: &Case,
    plan: &Plan,
    pods: &BTreeMap<String, &Value>,
) -> Result<Vec<Disagreement>> {
    stage.add_nodes(&plan.launchable)?;
    let uids = plan.unplaced.keys().map(|name| stage.submit(pods[name])).collect::<Result<Vec<_>>>()?;
    stage.barrier()?;
    plan.unplaced.keys().try_for_each(|name| stage.release(pods[name], None))?;
    let waits: Vec<bool> = plan.unplaced.keys().map(|name| device::lacks_claims(pods[name], case)).collect();
    let all = |seen: &[Seen]| seen.iter().zip(&waits).all(|(seen, waits)| *waits || seen.is_decided());
    let seen = stage.wait(&uids, "pods without a place", all)?;
    let mut out = Vec::new();
    for ((pod, why), seen) in plan.unplaced.iter().zip(seen) {
        // No wider choice makes a node take more.
        if let Some(node) = seen.node.filter(|_| !plan.too_narrow.contains(pod)) {
            out.push(Disagreement::Bound { pod: pod.clone(), node, why: why.clone() });
        }
    }
    Ok(out)
}

/// Lets the planned pods go all together, told nothing. Returns how many find a node.
fn alone(stage: &mut Stage, plan: &Plan, pods: &BTreeMap<String, &Value>) -> Result<usize> {
    let uids = plan.placed.keys().map(|name| stage.submit(pods[name])).collect::<Result<Vec<_>>>()?;
    stage.barrier()?;
    plan.placed.keys().try_for_each(|name| stage.release(pods[name], None))?;
    let count = |seen: &[Seen]| seen.iter().filter(|s| s.node.is_some()).count();
    let mut bound = count(&stage.wait(&uids, "pods on their own", |seen| seen.iter().all(Seen::is_decided))?);
    // One that is bound may make room for another that was refused: all that has begun is done after a barrier.
    while bound < uids.len() {
        stage.barrier()?;
        let now = count(&stage.wait(&uids, "pods on their own", |_| true)?);
        if now == bound {
            break;
        }
        bound = now;
    }
    Ok(bound)
}
