//! What a scenario expects. Only what is stated is looked at, but for one thing: a pod of which nothing is said is placed.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::consolidate::Expected;

/// `default/web`, `web` (of the namespace `default`), `web-*` or `*`.
pub(super) type Pattern = String;

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Expect {
    /// The snapshot is refused, with these words.
    pub(super) error: Option<OneOrMore>,
    /// How many pods are to be placed at all.
    pub(super) pending: Option<usize>,
    /// How many of them are placed, where it does not matter which.
    pub(super) placed: Option<usize>,
    /// Pods that wait, and words of the reasons.
    pub(super) unschedulable: BTreeMap<Pattern, OneOrMore>,
    /// New nodes in all, and by what they are.
    pub(super) nodes: Option<usize>,
    pub(super) zones: Option<BTreeMap<String, usize>>,
    pub(super) types: Option<BTreeMap<String, usize>>,
    pub(super) pools: Option<BTreeMap<String, usize>>,
    pub(super) capacity_types: Option<BTreeMap<String, usize>>,
    /// New nodes by the commitment or capacity reservation that they are bought with, if any.
    pub(super) commitments: Option<BTreeMap<String, usize>>,
    /// Where pods are.
    pub(super) on: BTreeMap<Pattern, On>,
    /// Groups of pods that share a node; no two of which do; and the same of zones.
    pub(super) together: Vec<Vec<Pattern>>,
    pub(super) apart: Vec<Vec<Pattern>>,
    pub(super) same_zone: Vec<Vec<Pattern>>,
    pub(super) different_zones: Vec<Vec<Pattern>>,
    /// How many of the pods go where.
    pub(super) per_node: BTreeMap<Pattern, Counts>,
    pub(super) per_zone: BTreeMap<Pattern, Counts>,
    pub(super) per_type: BTreeMap<Pattern, Counts>,
    pub(super) per_pool: BTreeMap<Pattern, Counts>,
    pub(super) per_capacity_type: BTreeMap<Pattern, Counts>,
    /// Dollars an hour: of the new nodes, proven to be the least, and with fixed costs of nodes.
    pub(super) cost: Option<f64>,
    pub(super) bound: Option<f64>,
    pub(super) weighed_cost: Option<f64>,
    pub(super) status: Option<String>,
    /// Words of notes; no other note may say that something is not honoured or left out.
    pub(super) notes: Vec<String>,
    /// `DaemonSets` on the new nodes of these pods.
    pub(super) daemon_sets: BTreeMap<Pattern, Vec<String>>,
    /// Other types of the new nodes of these pods.
    pub(super) alternatives: BTreeMap<Pattern, Vec<String>>,
    /// Values that the plan chose for labels of the new nodes of these pods.
    pub(super) labels: BTreeMap<Pattern, BTreeMap<String, String>>,
    /// Pods that go to Fargate.
    pub(super) fargate: BTreeMap<Pattern, Fargate>,
    /// The nodes are consolidated, in the place of planning pending pods; nothing else is looked at then.
    pub(super) consolidate: Option<Expected>,
    /// Fields of the summary of spot nodes.
    pub(super) spot: BTreeMap<String, Value>,
}

/// What Fargate provisions, what that costs, and what a node would.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Fargate {
    pub(super) vcpu: Option<f64>,
    #[serde(rename = "memoryGiB")]
    pub(super) memory_gib: Option<f64>,
    pub(super) price: Option<f64>,
    pub(super) node: Option<f64>,
}

impl Expect {
    /// Refuses what says nothing.
    pub(super) fn check(&self) -> Result<(), String> {
        if *self == Self::default() {
            return Err("expect says nothing".to_owned());
        }
        match self.on.iter().find(|(_, on)| **on == On::default()) {
            Some((pattern, _)) => Err(format!("expect.on of {pattern} says nothing")),
            None => Ok(()),
        }
    }
}

/// A text, or several.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(untagged)]
pub(super) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    pub(super) fn all(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::More(texts) => texts,
        }
    }
}

/// What the node of a pod is; of several values, one.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct On {
    /// An existing node by name.
    pub(super) node: Option<OneOrMore>,
    #[serde(rename = "type")]
    pub(super) of_type: Option<OneOrMore>,
    pub(super) zone: Option<OneOrMore>,
    pub(super) pool: Option<OneOrMore>,
    pub(super) capacity_type: Option<OneOrMore>,
    /// Whether it is yet to be bought.
    pub(super) new: Option<bool>,
}

/// How many pods each domain has: by name, or whichever domains they are, the most first.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(untagged)]
pub(super) enum Counts {
    By(BTreeMap<String, usize>),
    Any(Vec<usize>),
}
