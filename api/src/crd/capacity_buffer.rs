//! CapacityBuffer: room that is kept free for pods to come. The kind is shared with the Cluster Autoscaler.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rule::rules;
use super::{Amounts, Condition, Other, condition, is_default};

/// The strategy that is looked after: nodes are up and running.
pub const ACTIVE_CAPACITY: &str = "buffer.x-k8s.io/active-capacity";

/// For which pods room is kept free, and for how many.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "autoscaling.x-k8s.io",
    version = "v1beta1",
    kind = "CapacityBuffer",
    plural = "capacitybuffers",
    shortname = "cb",
    category = "autoscaling",
    namespaced,
    status = "CapacityBufferStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "Room that is kept free for pods to come.",
    printcolumn(name = "Strategy", type_ = "string", json_path = ".spec.provisioningStrategy"),
    printcolumn(name = "PodTemplate", type_ = "string", json_path = ".status.podTemplateRef.name"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.replicas"),
    printcolumn(name = "ConditionsType", type_ = "string", json_path = ".status.conditions[*].type"),
    printcolumn(name = "ConditionsStatus", type_ = "string", json_path = ".status.conditions[*].status"),
    printcolumn(name = "ConditionsReason", type_ = "string", json_path = ".status.conditions[*].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    (
        "!has(self.podTemplateRef) || has(self.replicas) || has(self.limits)",
        "podTemplateRef needs replicas or limits beside it",
    ),
    (
        "!(has(self.podTemplateRef) && has(self.scalableRef))",
        "podTemplateRef and scalableRef exclude each other",
    ),
])))]
pub struct CapacityBufferSpec {
    /// How room is kept free. Other strategies than active capacity are left to others.
    #[serde(default = "active")]
    pub provisioning_strategy: String,
    /// The PodTemplate that says what the pods are like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template_ref: Option<PodTemplateRef>,
    /// The workload whose pods they are like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scalable_ref: Option<ScalableRef>,
    /// Room for so many pods at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0))]
    pub replicas: Option<i32>,
    /// Room for so many percent of the workload's pods, rounded up, and for one at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0))]
    pub percentage: Option<i32>,
    /// The most that all the pods may ask for together. Alone, it says how many pods there is room for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Amounts>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

fn active() -> String {
    ACTIVE_CAPACITY.to_owned()
}

/// A PodTemplate of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplateRef {
    /// Its name.
    #[schemars(extend("minLength" = 1))]
    pub name: String,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

/// A workload of the same namespace that can be scaled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalableRef {
    /// Its API group; empty for that of Kubernetes' core.
    #[serde(default, skip_serializing_if = "is_default")]
    pub api_group: String,
    /// Its kind: Deployment, ReplicaSet, StatefulSet or ReplicationController.
    #[schemars(extend("minLength" = 1))]
    pub kind: String,
    /// Its name.
    #[schemars(extend("minLength" = 1))]
    pub name: String,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

/// What a CapacityBuffer has come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CapacityBufferStatus {
    /// The PodTemplate that says what the pods are like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template_ref: Option<PodTemplateRef>,
    /// The generation of it that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template_generation: Option<i64>,
    /// Room for so many pods is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// The strategy that was followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioning_strategy: Option<String>,
    /// What the object has come to.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(schema_with = "condition::list")]
    pub conditions: Vec<Condition>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}
