//! Whether a node has what its `NodeClaim` promised: the condition `ConsistentStateFound`, and an event. Nothing is done
//! about it, but pods may wait in vain for what is not there.
//!
//! compat: karpenter v1.14, `pkg/controllers/nodeclaim/consistency`: every ten minutes, for each resource that was asked for.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::Result;
use kube::Resource as _;
use serde_json::json;
use stowage_api::crd::condition::{CONSISTENT_STATE_FOUND, FALSE, INITIALIZED, TRUE};
use stowage_api::{NodeClaim, Quantity, StatusCondition};
use stowage_cluster::Snapshot;
use stowage_cluster::object::Node;
use tracing::warn;

use super::run::Caretaker;
use super::step::Aspect;
use crate::announce::warning;
use crate::claim::is_ours;

/// How often a node is looked at.
const EVERY: Duration = Duration::from_mins(10);

/// How often it is asked which are due.
const LOOK: Duration = Duration::from_secs(15);

/// A node has at least so many percent of what was promised.
const LEAST_PERCENT: i128 = 90;

/// What a node has too little of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shortfall {
    resource: String,
    promised: Quantity,
    has: Quantity,
}

/// What a node has too little of, of what its pods ask for.
fn shortfalls(claim: &NodeClaim, node: &Node) -> Vec<Shortfall> {
    let asked = claim.spec.resources.requests.iter().filter(|(_, amount)| !amount.is_zero());
    let short = asked.filter_map(|(resource, _)| {
        let promised = claim.status.capacity.get(resource)?;
        let has = node.status.capacity.get(resource).unwrap_or_default();
        let is_short = has.nanos() * 100 < promised.nanos() * LEAST_PERCENT;
        is_short.then(|| Shortfall { resource: resource.to_owned(), promised, has })
    });
    short.collect()
}

/// What to say of a claim; `None` where that stands there already.
fn verdict(claim: &NodeClaim, short: &[Shortfall]) -> Option<Aspect> {
    let status = if short.is_empty() { TRUE } else { FALSE };
    let said = StatusCondition::find(&claim.status.conditions, CONSISTENT_STATE_FOUND);
    let is_news = said.is_none_or(|said| said.status != status);
    let reason = if short.is_empty() { CONSISTENT_STATE_FOUND } else { "ConsistencyCheckFailed" };
    is_news.then(|| Aspect { kind: CONSISTENT_STATE_FOUND, status, reason, message: words(short) })
}

fn words(short: &[Shortfall]) -> String {
    let each = short.iter().map(|Shortfall { resource, promised, has }| {
        format!("the node has {has} of {resource} where {promised} was expected")
    });
    each.collect::<Vec<_>>().join("; ")
}

/// When claims were looked at last.
#[derive(Debug, Default)]
struct Looked(HashMap<String, Instant>);

impl Looked {
    /// Claims whose node is to be looked at now, each with it.
    fn due<'s>(&mut self, snapshot: &'s Snapshot, now: Instant) -> Vec<(&'s NodeClaim, &'s Node)> {
        let nodes: HashMap<&str, &Node> =
            snapshot.nodes().map(|node| (node.metadata.name.as_str(), node)).collect();
        let ready = |claim: &&NodeClaim| {
            let initialized = StatusCondition::holds(&claim.status.conditions, INITIALIZED);
            initialized && !claim.metadata.is_terminating() && is_ours(claim)
        };
        let claims: Vec<&NodeClaim> = snapshot.node_claims().filter(ready).collect();
        let names: HashSet<&str> = claims.iter().map(|claim| claim.metadata.name.as_str()).collect();
        self.0.retain(|name, _| names.contains(name.as_str()));
        let mut due = Vec::new();
        for claim in claims {
            let name = claim.metadata.name.as_str();
            let is_due = self.0.get(name).is_none_or(|at| now.duration_since(*at) >= EVERY);
            if let (true, Some(node)) = (is_due, nodes.get(claim.status.node_name.as_str())) {
                self.0.insert(name.to_owned(), now);
                due.push((claim, *node));
            }
        }
        due
    }
}

impl Caretaker {
    /// Compares nodes with what was promised, for ever.
    pub(super) async fn compare(self) {
        let mut looked = Looked::default();
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(snapshot) = self.cluster.snapshot() else { continue };
            for (claim, node) in looked.due(&snapshot, Instant::now()) {
                let short = shortfalls(claim, node);
                if let Err(error) = self.conclude(claim, &short).await {
                    let name = &claim.metadata.name;
                    warn!(
                        claim = name,
                        error = format!("{error:#}"),
                        "whether a node is as promised was not written"
                    );
                }
            }
        }
    }

    async fn conclude(&self, claim: &NodeClaim, short: &[Shortfall]) -> Result<()> {
        let aspect = verdict(claim, short);
        if aspect.is_none() && short.is_empty() {
            return Ok(());
        }
        let Some(written) = self.claims().get_opt(&claim.metadata.name).await? else { return Ok(()) };
        if let Some(aspect) = aspect {
            self.conditions(&written, &[aspect], &json!({})).await?;
        }
        if !short.is_empty() {
            warn!(
                claim = claim.metadata.name,
                node = claim.status.node_name,
                short = words(short),
                "a node is not as promised"
            );
            self.announcer.tell(written.object_ref(&()), warning("FailedConsistencyCheck", words(short)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn claim(capacity: &str) -> NodeClaim {
        let text = format!(
            r#"{{"metadata": {{"name": "a"}},
                "spec": {{"resources": {{"requests": {{"cpu": "1500m", "memory": "1Gi", "pods": "3"}}}}}},
                "status": {{"nodeName": "n", "capacity": {capacity},
                            "conditions": [{{"type": "Initialized", "status": "True"}}]}}}}"#
        );
        serde_json::from_str(&text).expect("a claim")
    }

    fn node(capacity: &str) -> Node {
        let text = format!(r#"{{"metadata": {{"name": "n"}}, "status": {{"capacity": {capacity}}}}}"#);
        serde_json::from_str(&text).expect("a node")
    }

    #[test]
    fn a_tenth_less_is_borne_and_more_is_said() {
        let claim = claim(r#"{"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "1"}"#);
        assert_eq!(shortfalls(&claim, &node(r#"{"cpu": "1800m", "memory": "4Gi"}"#)), []);
        let short = shortfalls(&claim, &node(r#"{"cpu": "1799m"}"#));
        // Nobody asked for the GPU, and of pods nothing was promised.
        assert_eq!(
            words(&short),
            "the node has 1799m of cpu where 2 was expected; the node has 0 of memory where 4Gi was expected"
        );
        let said = verdict(&claim, &short).expect("news");
        assert_eq!((said.status, said.reason), (FALSE, "ConsistencyCheckFailed"));
    }

    #[test]
    fn what_stands_there_is_not_written_again() {
        let mut claim = claim("{}");
        assert_eq!(verdict(&claim, &[]).map(|aspect| aspect.status), Some(TRUE));
        let holds = r#"{"type": "ConsistentStateFound", "status": "True"}"#;
        claim.status.conditions.push(serde_json::from_str(holds).expect("a condition"));
        assert_eq!(verdict(&claim, &[]), None);
    }

    #[test]
    fn a_node_is_looked_at_every_ten_minutes_once_it_takes_pods() {
        let mut snapshot = Snapshot::default();
        let mut looked = Looked::default();
        let start = Instant::now();
        let mut young = claim("{}");
        young.status.conditions.clear();
        snapshot.node_claims = vec![Arc::new(young)];
        snapshot.nodes = vec![Arc::new(node("{}"))];
        assert_eq!(looked.due(&snapshot, start).len(), 0);
        snapshot.node_claims = vec![Arc::new(claim("{}"))];
        assert_eq!(looked.due(&snapshot, start).len(), 1);
        assert_eq!(looked.due(&snapshot, start + EVERY / 2).len(), 0);
        assert_eq!(looked.due(&snapshot, start + EVERY).len(), 1);
    }
}
