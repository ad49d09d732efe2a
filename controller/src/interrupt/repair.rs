//! Node repair: which nodes have been unhealthy for too long, and whether so many are that something else must be wrong. Pure.
//!
//! compat: karpenter v1.14, `pkg/controllers/node/health`, with the conditions and times of karpenter-provider-aws v1.14,
//! `RepairPolicies`. What counts as unhealthy for the breaker is every node with such a condition, for however short a time.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use stowage_api::StatusCondition;
use stowage_api::well_known::NODE_POOL;
use stowage_cluster::Snapshot;
use stowage_cluster::object::Node;

use super::act::{Known, Owner};
use crate::life::collect::id;
use crate::life::notes::DEADLINE;
use crate::time::{later, moment};

/// A condition that makes a node unhealthy.
struct Policy {
    condition: &'static str,
    statuses: &'static [&'static str],
    tolerated: Duration,
}

const HALF_AN_HOUR: Duration = Duration::from_mins(30);

/// What makes nodes unhealthy: kubelet's own condition, and those of EKS' node monitoring agent.
const POLICIES: [Policy; 6] = [
    Policy { condition: "Ready", statuses: &["False", "Unknown"], tolerated: HALF_AN_HOUR },
    Policy {
        condition: "AcceleratedHardwareReady",
        statuses: &["False"],
        tolerated: Duration::from_mins(10),
    },
    Policy { condition: "StorageReady", statuses: &["False"], tolerated: HALF_AN_HOUR },
    Policy { condition: "NetworkingReady", statuses: &["False"], tolerated: HALF_AN_HOUR },
    Policy { condition: "KernelReady", statuses: &["False"], tolerated: HALF_AN_HOUR },
    Policy { condition: "ContainerRuntimeReady", statuses: &["False"], tolerated: HALF_AN_HOUR },
];

/// Where more percent of the nodes are unhealthy, none is repaired: replacing them would not help, and costs the rest.
const MOST_UNHEALTHY_PERCENT: usize = 20;

/// What is wrong with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Illness {
    /// The condition.
    pub condition: &'static str,
    /// When it has been so for too long.
    pub due: Timestamp,
}

/// What is wrong with a node; of several, what is due first.
pub fn illness(node: &Node) -> Option<Illness> {
    let of = |policy: &Policy| {
        let found = StatusCondition::find(&node.status.conditions, policy.condition)?;
        let since = moment(found.last_transition_time.as_ref())?;
        let is = policy.statuses.contains(&found.status.as_str());
        is.then(|| Illness { condition: policy.condition, due: later(since, policy.tolerated) })
    };
    POLICIES.iter().filter_map(of).min_by_key(|illness| illness.due)
}

/// A node that has been unhealthy for too long.
#[derive(Clone, Debug, PartialEq)]
pub struct Patient<'s> {
    /// Whose it is.
    pub owner: Owner<'s>,
    /// What is wrong with it.
    pub condition: &'static str,
    /// Why it is not repaired, where it is not.
    pub blocked: Option<Blocked>,
}

/// Too many nodes are unhealthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Nodes that are.
    pub unhealthy: usize,
    /// Of so many.
    pub of: usize,
}

/// What there is to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Round<'s> {
    /// Nodes that have been unhealthy for too long.
    pub patients: Vec<Patient<'s>>,
    /// When there may be something to do next.
    pub due: Option<Timestamp>,
}

/// Nodes of a `NodePool`, or all of them.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    nodes: usize,
    unhealthy: usize,
}

impl Tally {
    fn count(&mut self, unhealthy: bool) {
        self.nodes += 1;
        self.unhealthy += usize::from(unhealthy);
    }

    /// Whether so many are unhealthy that none is repaired. The share is rounded up: of a few nodes, one may be.
    fn blocks(self) -> Option<Blocked> {
        let most = (self.nodes * MOST_UNHEALTHY_PERCENT).div_ceil(100);
        (self.unhealthy > most).then_some(Blocked { unhealthy: self.unhealthy, of: self.nodes })
    }
}

/// Whether a claim goes already and has no more time: nothing is left to be done about it. One that is still given time may never
/// be gone, as nobody may be there any more to end its pods.
fn is_hurried(owner: &Owner<'_>, now: Timestamp) -> bool {
    let claim = &owner.claim.metadata;
    claim.is_terminating() && moment(claim.annotations.get(DEADLINE)).is_some_and(|by| by <= now)
}

/// What there is to do about the nodes of a cluster.
pub fn look(snapshot: &Snapshot, now: Timestamp) -> Round<'_> {
    let known = Known::of(snapshot);
    let mut pools = HashMap::<&str, Tally>::new();
    let mut cluster = Tally::default();
    let mut ill = Vec::new();
    for node in snapshot.nodes() {
        let illness = illness(node);
        cluster.count(illness.is_some());
        if let Some(pool) = node.metadata.labels.get(NODE_POOL) {
            pools.entry(pool).or_default().count(illness.is_some());
        }
        let owner = id(&node.spec.provider_id).and_then(|machine| known.owner(machine));
        let owner = owner.filter(|owner| !is_hurried(owner, now));
        if let (Some(owner), Some(illness)) = (owner, illness) {
            ill.push((owner, illness, node.metadata.labels.get(NODE_POOL)));
        }
    }
    let mut round = Round::default();
    for (owner, illness, pool) in ill {
        if now < illness.due {
            round.due = round.due.into_iter().chain([illness.due]).min();
            continue;
        }
        // Standalone NodeClaims have no pool: the whole cluster counts.
        let tally = pool.and_then(|pool| pools.get(pool.as_str())).copied().unwrap_or(cluster);
        round.patients.push(Patient { owner, condition: illness.condition, blocked: tally.blocks() });
    }
    round
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOON: &str = "2026-07-01T12:00:00Z";

    fn noon() -> Timestamp {
        NOON.parse().expect("a moment")
    }

    fn condition(kind: &str, status: &str, minutes: u64) -> Value {
        let since = noon() - Duration::from_mins(minutes);
        json!({"type": kind, "status": status, "lastTransitionTime": since.to_string()})
    }

    fn cluster(pool: &str, nodes: &[Vec<Value>]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let labels = if pool.is_empty() { json!({}) } else { json!({(NODE_POOL): pool}) };
        for (at, conditions) in nodes.iter().enumerate() {
            let provider = format!("aws:///us-east-1a/i-{pool}{at}");
            let node = json!({
                "metadata": {"name": format!("n{pool}{at}"), "labels": labels}, "spec": {"providerID": provider},
                "status": {"conditions": conditions},
            });
            let claim = json!({
                "metadata": {"name": format!("c{pool}{at}"), "labels": labels}, "status": {"providerID": provider},
            });
            let node: Node = serde_json::from_value(node).expect("a node");
            let claim: stowage_api::NodeClaim = serde_json::from_value(claim).expect("a claim");
            snapshot.nodes.push(node.into());
            snapshot.node_claims.push(claim.into());
        }
        snapshot
    }

    fn names(round: &Round<'_>) -> Vec<(String, &'static str, bool)> {
        let of = |p: &Patient<'_>| (p.owner.claim.metadata.name.clone(), p.condition, p.blocked.is_some());
        round.patients.iter().map(of).collect()
    }

    #[test]
    fn each_condition_is_tolerated_for_its_time() {
        for (kind, status, minutes, ill) in [
            ("Ready", "False", 30, true),
            ("Ready", "Unknown", 30, true),
            ("Ready", "Unknown", 29, false),
            ("Ready", "True", 600, false),
            ("AcceleratedHardwareReady", "False", 10, true),
            ("AcceleratedHardwareReady", "False", 9, false),
            ("AcceleratedHardwareReady", "Unknown", 600, false),
            ("StorageReady", "False", 30, true),
            ("NetworkingReady", "False", 30, true),
            ("KernelReady", "False", 30, true),
            ("ContainerRuntimeReady", "False", 30, true),
            ("ContainerRuntimeReady", "Unknown", 600, false),
            ("DiskPressure", "True", 600, false),
        ] {
            let snapshot = cluster("a", &[vec![condition(kind, status, minutes)]]);
            let found = names(&look(&snapshot, noon()));
            let expected = if ill { vec![("ca0".to_owned(), kind, false)] } else { vec![] };
            assert_eq!(found, expected, "{kind} {status} for {minutes} min");
        }
    }

    #[test]
    fn what_is_not_due_yet_says_when() {
        let of = vec![condition("Ready", "False", 10), condition("AcceleratedHardwareReady", "False", 5)];
        let snapshot = cluster("a", &[of, vec![condition("Ready", "True", 0)]]);
        let round = look(&snapshot, noon());
        assert_eq!((round.patients.len(), round.due), (0, Some(noon() + Duration::from_mins(5))));
    }

    #[test]
    fn where_more_than_a_fifth_is_unhealthy_nothing_is_repaired() {
        let (ill, well) = (vec![condition("Ready", "Unknown", 60)], vec![condition("Ready", "True", 60)]);
        // Of eleven nodes a fifth is 2.2, so that three may be unhealthy.
        for (nodes, unhealthy, blocked) in
            [(1, 1, false), (5, 1, false), (5, 2, true), (10, 2, false), (11, 3, false), (11, 4, true)]
        {
            let mut all = vec![ill.clone(); unhealthy];
            all.resize(nodes, well.clone());
            for pool in ["a", ""] {
                let snapshot = cluster(pool, &all);
                let found = names(&look(&snapshot, noon()));
                assert_eq!(found.len(), unhealthy);
                assert!(found.iter().all(|(.., is)| *is == blocked), "{unhealthy} of {nodes}");
            }
        }
    }

    #[test]
    fn pools_are_counted_apart_and_those_count_that_are_ill_for_a_moment() {
        let ill = vec![condition("Ready", "Unknown", 60)];
        let mut snapshot = cluster("a", &[ill.clone(), vec![condition("Ready", "False", 0)]]);
        let other = cluster("b", &[vec![], vec![], ill]);
        snapshot.nodes.extend(other.nodes);
        snapshot.node_claims.extend(other.node_claims);
        let round = look(&snapshot, noon());
        let blocked: Vec<_> = round.patients.iter().map(|p| p.blocked).collect();
        assert_eq!(blocked, [Some(Blocked { unhealthy: 2, of: 2 }), None]);
    }

    #[test]
    fn a_claim_that_goes_is_left_to_go_once_its_time_is_over() {
        let of = |deadline: Option<&str>| {
            let mut snapshot = cluster("a", &[vec![condition("Ready", "Unknown", 60)]]);
            let mut claim = stowage_api::NodeClaim::clone(&snapshot.node_claims[0]);
            claim.metadata.deletion_timestamp = Some(NOON.to_owned());
            claim.metadata.annotations.extend(deadline.map(|by| (DEADLINE.to_owned(), by.to_owned())));
            snapshot.node_claims = vec![claim.into()];
            names(&look(&snapshot, noon()))
        };
        let ill = [("ca0".to_owned(), "Ready", false)];
        assert_eq!(of(None), ill, "its pods may never end");
        assert_eq!(of(Some("2026-07-01T12:00:01Z")), ill);
        assert_eq!(of(Some(NOON)), []);
    }
}
