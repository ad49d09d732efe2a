//! `NodePool`, `karpenter.sh/v1`: what nodes may be launched, and how they then look.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{ObjectMeta, Requirement, ResourceList, Taint, null_is_default, short_list};

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
