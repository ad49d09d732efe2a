//! What one planner made of one workload: the document that passes between processes, the Go program's included.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A plan with what it took to make it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outcome {
    /// Name and version, for people.
    pub(crate) planner: String,
    /// Seconds from a problem in memory to the finished plan.
    pub(crate) solve_seconds: f64,
    /// Seconds from objects in memory to where `solve_seconds` begins: cluster state and topology counts for Karpenter,
    /// lowering for the others.
    pub(crate) set_up_seconds: f64,
    /// Resident set when planning began, in bytes: what reading left, the problem itself included.
    pub(crate) start_bytes: u64,
    /// Largest resident set, in bytes; 0 where the system does not tell.
    pub(crate) peak_bytes: u64,
    /// Whether that is the peak since reading ended; otherwise it is of the whole process.
    pub(crate) peak_from_solve: bool,
    /// Whether a time limit ended the solve.
    #[serde(default)]
    pub(crate) timed_out: bool,
    /// Proven lower bound, dollars an hour.
    #[serde(default)]
    pub(crate) bound: Option<f64>,
    /// How the solve ended, as in a plan document.
    #[serde(default)]
    pub(crate) status: Option<String>,
    /// Seconds by stage of the solve, in the order in which the stages began.
    #[serde(default)]
    pub(crate) stages: Vec<(String, f64)>,
    /// What the reader should know.
    #[serde(default)]
    pub(crate) notes: Vec<String>,
    /// Nodes to launch.
    pub(crate) nodes: Vec<Node>,
    /// Pods on nodes that exist.
    pub(crate) existing_nodes: Vec<Existing>,
    /// Pods placed nowhere, with the reason.
    pub(crate) unschedulable: BTreeMap<String, String>,
}

/// A node to launch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Node {
    pub(crate) node_pool: String,
    pub(crate) instance_type: String,
    pub(crate) zone: String,
    pub(crate) capacity_type: String,
    /// Dollars an hour.
    pub(crate) price: f64,
    pub(crate) pods: Vec<String>,
}

/// Pods placed on one existing node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Existing {
    pub(crate) name: String,
    pub(crate) pods: Vec<String>,
}

impl Outcome {
    /// Dollars an hour.
    pub(crate) fn cost(&self) -> f64 {
        // In whole micro-dollars, so that the order of nodes does not show.
        let micros: i64 = self.nodes.iter().map(|n| (n.price * 1e6).round() as i64).sum();
        micros as f64 / 1e6
    }

    /// Pods in the plan, placed or not.
    pub(crate) fn pods(&self) -> usize {
        let new: usize = self.nodes.iter().map(|n| n.pods.len()).sum();
        let existing: usize = self.existing_nodes.iter().map(|n| n.pods.len()).sum();
        new + existing + self.unschedulable.len()
    }

    /// The gap to its own bound, where it proves one.
    pub(crate) fn gap(&self) -> Option<f64> {
        self.bound.map(|bound| gap(self.cost(), bound))
    }

    /// The plan as a document that a judge reads. A planner that proves no bound states the one that always holds.
    pub(crate) fn document(&self) -> Value {
        let (cost, bound) = (self.cost(), self.bound.unwrap_or(0.0));
        let gap = gap(cost, bound);
        let named: Vec<Value> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(at, n)| {
                json!({"name": format!("{}-{at}", n.node_pool), "nodePool": n.node_pool, "instanceType": n.instance_type,
                    "zone": n.zone, "capacityType": n.capacity_type, "price": n.price, "pods": n.pods})
            })
            .collect();
        let left: Vec<Value> =
            self.unschedulable.iter().map(|(pod, reason)| json!({"pod": pod, "reasons": [reason]})).collect();
        json!({
            "schemaVersion": "stowage.dev/plan/v1",
            "summary": {
                "pendingPods": self.pods(), "newNodes": self.nodes.len(), "hourlyCost": cost, "lowerBound": bound,
                "gap": if gap.is_finite() { json!(gap) } else { Value::Null },
                "status": self.status.as_deref().unwrap_or("budget-spent"), "solveSeconds": self.solve_seconds,
            },
            "newNodes": named, "existingNodes": self.existing_nodes, "fargate": [], "unschedulable": left,
        })
    }
}

/// `cost / bound - 1`, as plans define it.
pub(crate) fn gap(cost: f64, bound: f64) -> f64 {
    if cost == 0.0 {
        0.0
    } else if bound == 0.0 {
        f64::INFINITY
    } else {
        cost / bound - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(price: f64, pods: &[&str]) -> Node {
        Node { price, pods: pods.iter().map(|p| (*p).to_owned()).collect(), ..Node::default() }
    }

    #[test]
    fn the_bill_adds_up_in_micro_dollars() {
        let outcome = Outcome {
            nodes: vec![node(0.1, &["a/x"]), node(0.2, &["a/y", "a/z"])],
            unschedulable: BTreeMap::from([("a/w".to_owned(), "too big".to_owned())]),
            ..Outcome::default()
        };
        assert_eq!((outcome.cost(), outcome.pods()), (0.3, 4));
        let document = outcome.document();
        assert_eq!(document["summary"]["hourlyCost"], 0.3);
        assert_eq!(document["summary"]["gap"], Value::Null, "no bound, no gap");
    }

    #[test]
    fn what_the_go_program_prints_is_read() {
        let text = r#"{"planner":"karpenter 1.14.1","go":"go1.26.8","solveSeconds":0.5,"setUpSeconds":0.1,"startBytes":512,"peakBytes":1024,
            "peakFromSolve":true,"nodes":[{"nodePool":"default","instanceType":"m7i.large","zone":"us-east-1a",
            "capacityType":"on-demand","price":0.1008,"pods":["default/web-0"]}],"existingNodes":[],"unschedulable":{}}"#;
        let outcome: Outcome = serde_json::from_str(text).unwrap();
        assert_eq!((outcome.cost(), outcome.bound, outcome.gap()), (0.1008, None, None));
    }
}
