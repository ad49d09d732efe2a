//! `NodePool`, `karpenter.sh/v1`: what nodes may be launched, and how they then look.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::{ObjectMeta, Requirement, ResourceList, Taint, duration, null_is_default, short_list};

/// A `NodePool`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodePool {
    /// Metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: NodePoolSpec,
}

/// Specification of a `NodePool`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodePoolSpec {
    /// How its `NodeClaims` look.
    #[serde(deserialize_with = "null_is_default")]
    pub template: NodePoolTemplate,
    /// Upper limits on what all its nodes have together; the resource `nodes` is their number.
    #[serde(deserialize_with = "null_is_default")]
    pub limits: ResourceList,
    /// Heavier `NodePools` are tried first.
    #[serde(deserialize_with = "null_is_default")]
    pub weight: i32,
    /// A static `NodePool`: this many nodes, whatever the pods.
    pub replicas: Option<i64>,
    /// When its nodes may be removed or replaced without need.
    #[serde(deserialize_with = "null_is_default")]
    pub disruption: Disruption,
}

/// When nodes may be removed or replaced without need.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Disruption {
    /// Which nodes may go to save money.
    #[serde(deserialize_with = "null_is_default")]
    pub consolidation_policy: ConsolidationPolicy,
    /// How long nothing may have come to a node or gone from it before it may go to save money: a length of time, or
    /// `Never`. Not at all where it is not stated.
    pub consolidate_after: Option<String>,
    /// How many of its nodes may go at the same time. A tenth of them where it is not stated; an empty list limits nothing.
    pub budgets: Option<Vec<Budget>>,
}

/// How many nodes may go at the same time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Budget {
    /// A number of nodes, or a part of all as `10%`.
    #[serde(deserialize_with = "null_is_default")]
    pub nodes: String,
    /// For which reasons; without any, for all.
    #[serde(deserialize_with = "short_list")]
    pub reasons: Vec<String>,
    /// When it comes into force, as cron writes it, in UTC; without one, always.
    pub schedule: Option<String>,
    /// For how long it is in force from then on.
    pub duration: Option<String>,
}

impl Disruption {
    /// How long a node must have been quiet before it may go to save money; `None` where it never may.
    pub fn quiet_for(&self) -> Option<Duration> {
        self.consolidate_after.as_deref().map_or(Some(Duration::ZERO), duration)
    }
}

/// Which nodes may go to save money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub enum ConsolidationPolicy {
    /// Those that no pod has to leave.
    WhenEmpty,
    /// Also those whose pods fit elsewhere for less.
    #[default]
    WhenEmptyOrUnderutilized,
    /// Of the latter only those that save much for the pods that must move.
    Balanced,
}

impl ConsolidationPolicy {
    /// As `NodePools` call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WhenEmpty => "WhenEmpty",
            Self::WhenEmptyOrUnderutilized => "WhenEmptyOrUnderutilized",
            Self::Balanced => "Balanced",
        }
    }
}

/// How the `NodeClaims` of a `NodePool` look.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodePoolTemplate {
    /// Labels.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: NodePoolTemplateMeta,
    /// Requirements and taints.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: NodePoolTemplateSpec,
}

/// Metadata of a `NodePool`'s template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodePoolTemplateMeta {
    /// Labels of its nodes.
    #[serde(deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
}

/// Specification of a `NodePool`'s template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodePoolTemplateSpec {
    /// What the labels of its nodes must satisfy.
    #[serde(deserialize_with = "short_list")]
    pub requirements: Vec<Requirement>,
    /// Taints of its nodes.
    #[serde(deserialize_with = "short_list")]
    pub taints: Vec<Taint>,
    /// Taints that its nodes start with and others take away.
    #[serde(deserialize_with = "short_list")]
    pub startup_taints: Vec<Taint>,
    /// The class that says how to launch its nodes.
    pub node_class_ref: Option<NodeClassRef>,
    /// How old a node may get, or `Never`; a month where it is not stated.
    pub expire_after: Option<String>,
}

/// A reference to a node class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodeClassRef {
    /// API group: `karpenter.k8s.aws`.
    #[serde(deserialize_with = "null_is_default")]
    pub group: String,
    /// Kind: `EC2NodeClass`.
    #[serde(deserialize_with = "null_is_default")]
    pub kind: String,
    /// Name.
    pub name: String,
}
