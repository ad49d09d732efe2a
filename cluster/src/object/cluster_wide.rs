//! `DaemonSets`, namespaces and priority classes: what applies across pods and nodes.

use std::collections::BTreeMap;

use serde::Deserialize;
use stowage_api::{ObjectMeta, ResourceList, null_is_default, short_list};

use super::pod::{PodSpec, Toleration};

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

/// A `Job`: pods that run to an end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Job {
    /// Metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: JobSpec,
}

/// Specification of a `Job`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobSpec {
    /// How long it stays once it is done; for ever where it does not say.
    pub ttl_seconds_after_finished: Option<i64>,
}

/// A `Service`: how pods are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: ServiceSpec,
}

/// Specification of a `Service`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServiceSpec {
    /// `ClusterIP`, `NodePort`, `LoadBalancer`, `ExternalName`.
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    pub kind: String,
    /// Labels of its pods.
    #[serde(deserialize_with = "null_is_default")]
    pub selector: BTreeMap<String, String>,
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
    /// Whether its pods may take the place of pods of lower priority: `Never`, or else they may.
    pub preemption_policy: Option<String>,
}

/// What runs the containers of pods that name it, and what that takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RuntimeClass {
    /// Metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// What a pod takes beside its containers.
    #[serde(deserialize_with = "null_is_default")]
    pub overhead: RuntimeOverhead,
    /// Nodes that have it.
    #[serde(deserialize_with = "null_is_default")]
    pub scheduling: RuntimeScheduling,
}

/// What a pod of a [`RuntimeClass`] takes beside its containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RuntimeOverhead {
    /// Whatever the containers ask for.
    #[serde(deserialize_with = "null_is_default")]
    pub pod_fixed: ResourceList,
}

/// Nodes that have a [`RuntimeClass`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RuntimeScheduling {
    /// Labels of theirs.
    #[serde(deserialize_with = "null_is_default")]
    pub node_selector: BTreeMap<String, String>,
    /// Tolerations of their taints.
    #[serde(deserialize_with = "short_list")]
    pub tolerations: Vec<Toleration>,
}
