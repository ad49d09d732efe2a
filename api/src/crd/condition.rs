//! Conditions: what an object has come to, each under a name that tools and dashboards know.
//!
//! # Invariants
//! - `last_transition_time` changes only with `status`.
//! - No clock: whoever sets a condition says when.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Root of all others of an object: it can be used.
pub const READY: &str = "Ready";
/// What the schema cannot check is right as well (`NodePool`, `NodeOverlay`, `EC2NodeClass`, `FargatePolicy`).
pub const VALIDATION_SUCCEEDED: &str = "ValidationSucceeded";
/// The `EC2NodeClass` of a `NodePool` is there and ready.
pub const NODE_CLASS_READY: &str = "NodeClassReady";
/// Nodes of a `NodePool` have joined of late; decides nothing.
pub const NODE_REGISTRATION_HEALTHY: &str = "NodeRegistrationHealthy";

/// The instance of a `NodeClaim` was created.
pub const LAUNCHED: &str = "Launched";
/// Its node has joined and carries the labels and taints that it should.
pub const REGISTERED: &str = "Registered";
/// Its node takes pods.
pub const INITIALIZED: &str = "Initialized";
/// Nothing has moved on its node for `consolidateAfter`.
pub const CONSOLIDATABLE: &str = "Consolidatable";
/// It is no longer what its `NodePool` or `EC2NodeClass` asks for.
pub const DRIFTED: &str = "Drifted";
/// Its node has let go of its pods.
pub const DRAINED: &str = "Drained";
/// No volume is attached to its node any more.
pub const VOLUMES_DETACHED: &str = "VolumesDetached";
/// Its instance is being terminated.
pub const INSTANCE_TERMINATING: &str = "InstanceTerminating";
/// Its node is what was promised.
pub const CONSISTENT_STATE_FOUND: &str = "ConsistentStateFound";
/// It was chosen to go.
pub const DISRUPTION_REASON: &str = "DisruptionReason";
/// `NodeClaim`: false where it is not taken away to save money, with why; Stowage's own.
pub const DISRUPTABLE: &str = "Disruptable";

/// Images of an `EC2NodeClass` were found.
pub const AMIS_READY: &str = "AMIsReady";
/// Its subnets were found.
pub const SUBNETS_READY: &str = "SubnetsReady";
/// Its security groups were found.
pub const SECURITY_GROUPS_READY: &str = "SecurityGroupsReady";
/// Its instance profile is there.
pub const INSTANCE_PROFILE_READY: &str = "InstanceProfileReady";
/// Its placement group was found, or it has none.
pub const PLACEMENT_GROUP_READY: &str = "PlacementGroupReady";
/// Its capacity reservations were looked up.
pub const CAPACITY_RESERVATIONS_READY: &str = "CapacityReservationsReady";

/// A `CapacityBuffer` knows its pods and how many.
pub const READY_FOR_PROVISIONING: &str = "ReadyForProvisioning";
/// There is room for the pods of a `CapacityBuffer`.
pub const PROVISIONING: &str = "Provisioning";

/// There is a Fargate profile for the pods of a `FargatePolicy`.
pub const PROFILE_FOUND: &str = "ProfileFound";
/// Another `FargatePolicy` rules pods that this one selects.
pub const CONFLICT: &str = "Conflict";

/// A status of a condition.
pub const TRUE: &str = "True";
/// A status of a condition.
pub const FALSE: &str = "False";
/// A status of a condition: not looked at yet.
pub const UNKNOWN: &str = "Unknown";

/// One aspect of the state of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Name of the aspect; `type` to others.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds: [`TRUE`], [`FALSE`] or [`UNKNOWN`].
    pub status: String,
    /// Why, as one word for programs.
    #[serde(default)]
    pub reason: String,
    /// Why, for people.
    #[serde(default)]
    pub message: String,
    /// When the status last changed, as RFC 3339.
    pub last_transition_time: String,
    /// Generation of the object that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Schema of a list of conditions.
pub(super) fn list(_: &mut SchemaGenerator) -> Schema {
    list_of(
        &["lastTransitionTime", "message", "reason", "status", "type"],
        &json!({"minLength": 1, "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"}),
    )
}

/// Schema of the conditions of a NodeClaim, whose reasons may be empty and need not be there.
pub(super) fn terse_list(_: &mut SchemaGenerator) -> Schema {
    list_of(
        &["lastTransitionTime", "status", "type"],
        &json!({"pattern": "^([A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?|)$"}),
    )
}

fn list_of(required: &[&str], reason: &Value) -> Schema {
    const NAME: &str = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$";
    let text = |description: &str| json!({"type": "string", "description": description});
    let with = |description: &str, more: &Value| {
        let mut schema = text(description);
        if let (Value::Object(schema), Value::Object(more)) = (&mut schema, more) {
            schema.extend(more.clone());
        }
        schema
    };
    let mut reason = with("Why, as one word for programs.", reason);
    reason["maxLength"] = json!(1024);
    json_schema!({
        "type": "array",
        "description": "What the object has come to, one aspect each.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One aspect of the state of the object.",
            "required": required,
            "properties": {
                "type": with("Name of the aspect.", &json!({"maxLength": 316, "pattern": NAME})),
                "status": with("Whether it holds.", &json!({"enum": [TRUE, FALSE, UNKNOWN]})),
                "reason": reason,
                "message": with("Why, for people.", &json!({"maxLength": 32768})),
                "lastTransitionTime": with("When the status last changed.", &json!({"format": "date-time"})),
                "observedGeneration": {
                    "type": "integer", "format": "int64", "minimum": 0,
                    "description": "Generation of the object that this is about.",
                },
            },
        },
    })
}

impl Condition {
    /// Whether it holds.
    pub fn is_true(&self) -> bool {
        self.status == TRUE
    }
}

/// The condition of this name.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.kind == kind)
}

/// Whether the condition of this name holds.
pub fn holds(conditions: &[Condition], kind: &str) -> bool {
    find(conditions, kind).is_some_and(Condition::is_true)
}

/// Puts a condition where the one of its name stands, or last. Where the status is what it was, so is the time of its last
/// change. Says whether anything is different from before.
pub fn set(conditions: &mut Vec<Condition>, mut wanted: Condition) -> bool {
    let Some(there) = conditions.iter_mut().find(|c| c.kind == wanted.kind) else {
        conditions.push(wanted);
        return true;
    };
    if there.status == wanted.status {
        wanted.last_transition_time.clone_from(&there.last_transition_time);
    }
    let differs = *there != wanted;
    *there = wanted;
    differs
}

/// [`READY`], from the conditions that it stands on: false with the first that is, else unknown with the first that is
/// not known to hold. The message names those
/// that are missing.
pub fn ready(conditions: &[Condition], roots: &[&str], now: &str, generation: Option<i64>) -> Condition {
    let status_of = |kind: &str| find(conditions, kind).map_or(UNKNOWN, |c| c.status.as_str());
    let with = |status: &str| -> Vec<&str> {
        roots.iter().copied().filter(|kind| status_of(kind) == status).collect()
    };
    let (failed, open) = (with(FALSE), with(UNKNOWN));
    let (status, reason, missing) = match (failed.is_empty(), open.is_empty()) {
        (false, _) => (FALSE, "UnhealthyDependents", failed),
        (true, false) => (UNKNOWN, "ReconcilingDependents", open),
        (true, true) => (TRUE, READY, Vec::new()),
    };
    let message = missing.iter().map(|kind| format!("{kind}={status}")).collect::<Vec<_>>().join(", ");
    Condition {
        kind: READY.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: now.to_owned(),
        observed_generation: generation,
    }
}
