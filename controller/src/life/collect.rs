//! Machines that nobody asked for any more, and NodeClaims whose machine is gone.
//!
//! compat: karpenter v1.14, both garbage collections: nodes that are ready keep their claim whatever EC2 says, and a machine
//! must be half a minute old before it is nobody's.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use stowage_api::crd::condition::{LAUNCHED, REGISTERED};
use stowage_api::{NodeClaim, StatusCondition};
use stowage_aws::Machine;
use stowage_cluster::Snapshot;

use crate::claim::is_ours;
use crate::time::{later, moment};

/// A machine that is younger may belong to a claim whose status is still to be written.
const YOUNG: Duration = Duration::from_secs(30);

/// EC2 may not list a machine at once.
const LISTED: Duration = Duration::from_mins(5);

/// Tag: the claim that a machine was launched for.
const NODE_CLAIM: &str = "karpenter.sh/nodeclaim";

/// Machines that belong to no claim.
pub fn orphans<'a>(machines: &'a [Machine], claims: &[NodeClaim], now: Timestamp) -> Vec<&'a Machine> {
    let owned: HashSet<&str> = claims.iter().filter_map(|claim| id(&claim.status.provider_id)).collect();
    // Being launched: whoever launches finds the machine by this tag.
    let launching: HashSet<&str> = claims
        .iter()
        .filter(|claim| claim.status.provider_id.is_empty())
        .map(|claim| claim.metadata.name.as_str())
        .collect();
    let awaited = |machine: &Machine| {
        machine.tags.get(NODE_CLAIM).is_some_and(|name| launching.contains(name.as_str()))
    };
    let old = |machine: &Machine| {
        Timestamp::from_second(machine.launched).is_ok_and(|launched| now >= later(launched, YOUNG))
    };
    machines
        .iter()
        .filter(|m| m.is_alive() && !owned.contains(m.id.as_str()) && !awaited(m) && old(m))
        .collect()
}

/// Claims whose machine has ended by itself.
pub fn lost<'a>(
    claims: &'a [NodeClaim],
    snapshot: &Snapshot,
    machines: &[Machine],
    now: Timestamp,
) -> Vec<&'a NodeClaim> {
    let known: HashMap<&str, &Machine> = machines.iter().map(|m| (m.id.as_str(), m)).collect();
    let ready: HashSet<&str> =
        snapshot.nodes().filter(|node| node.is_ready()).map(|node| node.spec.provider_id.as_str()).collect();
    let is_lost = |claim: &NodeClaim| {
        let conditions = &claim.status.conditions;
        let Some(id) = id(&claim.status.provider_id) else { return false };
        if let Some(machine) = known.get(id) {
            return !machine.is_alive();
        }
        let launched = StatusCondition::find(conditions, LAUNCHED);
        let since = launched.and_then(|c| moment(c.last_transition_time.as_ref()));
        StatusCondition::holds(conditions, REGISTERED)
            && since.is_none_or(|since| now >= later(since, LISTED))
    };
    claims
        .iter()
        .filter(|claim| !claim.metadata.is_terminating() && is_ours(claim))
        .filter(|claim| !ready.contains(claim.status.provider_id.as_str()))
        .filter(|claim| is_lost(claim))
        .collect()
}

/// What collecting looks at of a claim. One whose specification cannot be read keeps its machine all the same, and nobody else's.
///
/// # Errors
/// Where not even its name can be read: then nobody knows whose machines are whose.
pub fn known(claim: &impl Serialize) -> Result<NodeClaim> {
    let mut whole = serde_json::to_value(claim)?;
    if let Ok(read) = serde_json::from_value(whole.clone()) {
        return Ok(read);
    }
    let mut status = whole["status"].take();
    let reduced = json!({
        "metadata": whole["metadata"].take(),
        "spec": {"nodeClassRef": whole["spec"]["nodeClassRef"].take()},
        "status": {"providerID": status["providerID"].take(), "conditions": status["conditions"].take()},
    });
    let name = reduced["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    serde_json::from_value(reduced).with_context(|| format!("NodeClaim {name} cannot be read"))
}

/// The id of a machine of EC2, of how Nodes call it: `aws:///us-east-1a/i-0123456789abcdef0`.
pub fn id(provider_id: &str) -> Option<&str> {
    let (_, id) = provider_id.strip_prefix("aws:///")?.split_once('/')?;
    id.starts_with("i-").then_some(id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: &str = "2026-07-01T10:00:00Z";

    fn now() -> Timestamp {
        NOW.parse().expect("a moment")
    }

    fn machine(id: &str, state: &str, age: i64, claim: &str) -> Machine {
        let tags = [(NODE_CLAIM.to_owned(), claim.to_owned())].into();
        let launched = now().as_second() - age;
        Machine { id: id.to_owned(), state: state.to_owned(), launched, tags, ..Machine::default() }
    }

    fn claim(name: &str, id: &str, registered: &str, launched: &str) -> NodeClaim {
        let provider = if id.is_empty() { String::new() } else { format!("aws:///us-east-1a/{id}") };
        let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "lastTransitionTime": launched});
        let claim = json!({
            "metadata": {"name": name},
            "status": {"providerID": provider, "conditions": [condition(LAUNCHED, "True"), condition(REGISTERED, registered)]},
        });
        serde_json::from_value(claim).expect("a claim")
    }

    #[test]
    fn a_claim_that_cannot_be_read_keeps_its_machine_and_nobody_elses() {
        let odd = json!({
            "metadata": {"name": "odd"}, "spec": {"resources": {"requests": {"memory": "a lot"}}},
            "status": {"providerID": "aws:///us-east-1a/i-odd", "capacity": {"cpu": "none"}},
        });
        let claims = [known(&odd).expect("its name is read")];
        let machines = [machine("i-odd", "running", 100, "odd"), machine("i-gone", "running", 100, "gone")];
        let found: Vec<&str> = orphans(&machines, &claims, now()).iter().map(|m| m.id.as_str()).collect();
        assert_eq!(found, ["i-gone"]);
        assert!(known(&json!({"metadata": {"name": 7}})).is_err());
    }

    #[test]
    fn machines_without_a_claim_are_orphans_when_they_are_old_enough() {
        let claims = [claim("a", "i-a", "True", NOW), claim("launching", "", "Unknown", NOW)];
        let machines = [
            machine("i-a", "running", 100, "a"),
            machine("i-launching", "running", 100, "launching"),
            machine("i-young", "running", 29, "gone"),
            machine("i-gone", "pending", 30, "gone"),
            machine("i-second", "running", 100, "a"),
            machine("i-ended", "terminated", 100, "gone"),
        ];
        let found: Vec<&str> = orphans(&machines, &claims, now()).iter().map(|m| m.id.as_str()).collect();
        assert_eq!(found, ["i-gone", "i-second"]);
    }

    #[test]
    fn claims_of_machines_that_ended_are_lost_unless_their_node_lives() {
        let long_ago = "2026-07-01T09:00:00Z";
        let claims = [
            claim("alive", "i-alive", "True", long_ago),
            claim("ended", "i-ended", "Unknown", NOW),
            claim("unlisted", "i-unlisted", "True", long_ago),
            claim("unlisted-young", "i-young", "True", NOW),
            claim("unlisted-joining", "i-joining", "Unknown", long_ago),
            claim("ready", "i-ready", "True", long_ago),
            claim("launching", "", "Unknown", NOW),
        ];
        let mut claims = Vec::from(claims);
        let mut foreign = claim("foreign", "i-foreign", "True", long_ago);
        let class = json!({"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "default"});
        foreign.spec.node_class_ref = serde_json::from_value(class).expect("a reference");
        claims.push(foreign);
        let node = json!({
            "metadata": {"name": "n"}, "spec": {"providerID": "aws:///us-east-1a/i-ready"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        });
        let node: stowage_cluster::object::Node = serde_json::from_value(node).expect("a node");
        let nodes = vec![node.into()];
        let snapshot = Snapshot { nodes, ..Snapshot::default() };
        let machines = [machine("i-alive", "running", 100, ""), machine("i-ended", "terminated", 100, "")];
        let found: Vec<&str> =
            lost(&claims, &snapshot, &machines, now()).iter().map(|c| c.metadata.name.as_str()).collect();
        assert_eq!(found, ["ended", "unlisted"]);
    }

    #[test]
    fn ids_are_those_of_ec2() {
        assert_eq!(id("aws:///us-east-1a/i-0123"), Some("i-0123"));
        for other in ["", "kind://docker/x", "aws:///us-east-1a/fargate-ip-1", "aws:///i-0123"] {
            assert_eq!(id(other), None, "{other}");
        }
    }
}
