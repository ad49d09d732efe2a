//! `DaemonSets`, namespaces and priority classes: what applies across pods and nodes.

use std::collections::BTreeMap;

use serde::Deserialize;
use stowage_api::{ObjectMeta, null_is_default};

use super::pod::PodSpec;

/// A `DaemonSet`: one pod on every node that suits it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DaemonSet {
    /// Metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: DaemonSetSpec,
}

/// Specification of a `DaemonSet`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DaemonSetSpec {
    /// Its pods.
    #[serde(deserialize_with = "null_is_default")]
    pub template: PodTemplate,
}

/// What pods are made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PodTemplate {
    /// Metadata of the pods.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: PodTemplateMeta,
    /// Specification of the pods.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: PodSpec,
}

/// Metadata of pods made from a template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PodTemplateMeta {
    /// Labels.
    #[serde(deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
}

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Namespace {
    /// Metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
}

/// A named priority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PriorityClass {
    /// Metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// The priority.
    #[serde(deserialize_with = "null_is_default")]
    pub value: i32,
    /// Whether pods that name no class have this one.
    #[serde(deserialize_with = "null_is_default")]
    pub global_default: bool,
}
