//! Where the pods of nodes that go would run: the solver's plan for the cluster without them, verified.
//!
//! ```text
//! snapshot ─▶ their pods wait again ─▶ what may not take them is closed ─▶ plan ─▶ a place for each, or the first that has none
//! ```
//!
//! # Invariants
//! - Only nodes that take pods now are relied on: what is on its way, or chosen to go, is closed.
//! - Nodes that go count against the limits of their `NodePools` until they are gone: what replaces them comes first.
//! - Pods that wait anyhow are left to provisioning: no node that is there holds them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use stowage_api::crd::condition::DISRUPTION_REASON;
use stowage_api::well_known::{INITIALIZED, NODE_POOL, TAINT_DISRUPTED};
use stowage_api::{NodeClaim, StatusCondition};
use stowage_cluster::disrupt::Standing;
use stowage_cluster::{LowerOptions, Snapshot};
use stowage_solver::Memory;

use super::command::displace;
use crate::decide::{DecideError, Decision, Terms, decide};

/// What becomes of pods.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// There is a place for each.
    Places(Decision),
    /// This pod has none, and why.
    Nowhere {
        /// `namespace/name`.
        pod: String,
        /// Why.
        why: String,
    },
}

/// What is spoken for beside what runs and what was promised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needed {
    /// Nodes that are kept free for pods that wait or are to come, by name.
    pub nodes: BTreeSet<String>,
    /// Where pods have room whose nodes go without a promise, by `namespace/name`: nodes that end by force, or that whoever led
    /// before has sent on their way.
    pub homes: BTreeMap<String, String>,
}

/// Plans for the pods of nodes that go. `promised` says where pods of nodes that go already are to run: by `namespace/name`.
///
/// # Errors
/// Where the snapshot cannot be lowered, or a defect shows.
pub fn simulate(
    snapshot: &Snapshot,
    leaving: &[&Standing<'_>],
    promised: &BTreeMap<String, String>,
    terms: &Terms<'_>,
) -> Result<Outcome, DecideError> {
    let displaced: HashSet<String> =
        leaving.iter().flat_map(|standing| standing.pods.iter().map(|pod| pod.key())).collect();
    let mut after = snapshot.clone();
    after.pods.retain_mut(|pod| {
        if pod.is_bound() {
            let key = pod.key();
            if displaced.contains(&key) {
                displace(Arc::make_mut(pod));
            } else if let Some(node) = promised.get(&key) {
                displace(Arc::make_mut(pod));
                Arc::make_mut(pod).nominated = Some(Arc::from(node.as_str()));
            }
            return true;
        }
        // Those that have a place hold it; the others are not ours.
        pod.pending() != Some(Ok(())) || pod.nominated.is_some()
    });
    let mut closed = closed(snapshot);
    closed.extend(leaving.iter().map(|standing| standing.node.metadata.name.clone()));
    let lowering = LowerOptions { closed, ..terms.lowering.clone() };
    let terms = Terms { lowering: &lowering, ..terms.clone() };
    let plan = decide(&after, &terms, &mut Memory::default(), &AtomicBool::new(false))?;
    let placed =
        plan.placed.iter().map(|(pod, _)| pod).chain(plan.wanted.iter().flat_map(|wanted| &wanted.pods));
    let placed: HashSet<&String> = placed.collect();
    let missing: BTreeSet<&str> =
        displaced.iter().filter(|pod| !placed.contains(pod)).map(String::as_str).collect();
    let Some(first) = missing.into_iter().next() else {
        let mut plan = plan;
        plan.placed.retain(|(pod, _)| displaced.contains(pod));
        return Ok(Outcome::Places(plan));
    };
    let why = plan.unplaced.iter().find(|(pod, _)| pod == first).map(|(_, why)| why.clone());
    let why = why.unwrap_or_else(|| "it is not planned for: another scheduler binds it".to_owned());
    Ok(Outcome::Nowhere { pod: first.to_owned(), why })
}

/// Nodes that nothing may be moved to: those that have not started up, and those that are to go.
pub(super) fn closed(snapshot: &Snapshot) -> BTreeSet<String> {
    let goes = |claim: &&NodeClaim| {
        claim.metadata.is_terminating() || StatusCondition::holds(&claim.status.conditions, DISRUPTION_REASON)
    };
    let going = snapshot.node_claims().filter(goes);
    let going: HashSet<&str> = going.map(|claim| claim.status.node_name.as_str()).collect();
    let nodes = snapshot.nodes().filter(|node| {
        let labels = &node.metadata.labels;
        let starts = labels.contains_key(NODE_POOL) && labels.get(INITIALIZED).is_none_or(|v| v != "true");
        let chosen = node.spec.taints.iter().any(|taint| taint.key == TAINT_DISRUPTED);
        starts || chosen || !node.is_ready() || going.contains(node.metadata.name.as_str())
    });
    nodes.map(|node| node.metadata.name.clone()).collect()
}

/// Nodes that pods are to run on which are not there yet: those that wait for kube-scheduler, or are to come, and those of nodes
/// that go already and have been promised no place. Nothing runs there yet, and they are needed all the same; what the last of
/// these need there is not given to others.
///
/// # Errors
/// Where the snapshot cannot be lowered, or a defect shows.
pub fn needed(
    snapshot: &Snapshot,
    standings: &[Standing<'_>],
    promised: &BTreeMap<String, String>,
    terms: &Terms<'_>,
) -> Result<Needed, DecideError> {
    let goes = |standing: &&Standing<'_>| {
        standing.node.metadata.is_terminating() || standing.claim.is_some_and(|c| c.metadata.is_terminating())
    };
    let pods = standings.iter().filter(goes).flat_map(|standing| &standing.pods);
    let homeless: HashSet<String> =
        pods.map(|pod| pod.key()).filter(|key| !promised.contains_key(key)).collect();
    let mut after = snapshot.clone();
    let mut asked = HashSet::new();
    after.pods.retain_mut(|pod| {
        let key = pod.key();
        if homeless.contains(&key) {
            displace(Arc::make_mut(pod));
        } else if pod.is_bound() || pod.nominated.is_some() {
            return true;
        } else if pod.pending() != Some(Ok(())) {
            return false;
        }
        asked.insert(key)
    });
    if asked.is_empty() {
        return Ok(Needed::default());
    }
    let leaving = standings.iter().filter(goes).map(|standing| standing.node.metadata.name.clone());
    let lowering = LowerOptions { closed: leaving.collect(), ..terms.lowering.clone() };
    let terms = Terms { lowering: &lowering, ..terms.clone() };
    let plan = decide(&after, &terms, &mut Memory::default(), &AtomicBool::new(false))?;
    let placed: Vec<(String, String)> =
        plan.placed.into_iter().filter(|(pod, _)| asked.contains(pod)).collect();
    Ok(Needed {
        nodes: placed.iter().map(|(_, node)| node.clone()).collect(),
        homes: placed.into_iter().filter(|(pod, _)| homeless.contains(pod)).collect(),
    })
}
