//! What was found for an EC2NodeClass.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::crd::{Condition, Other, Requirement, condition, is_default};

/// What was found for an EC2NodeClass, and what it has come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ec2NodeClassStatus {
    /// The images that were found.
    #[serde(default, skip_serializing_if = "is_default")]
    pub amis: Vec<Image>,
    /// The subnets that were found.
    #[serde(default, skip_serializing_if = "is_default")]
    pub subnets: Vec<Subnet>,
    /// The security groups that were found.
    #[serde(default, skip_serializing_if = "is_default")]
    pub security_groups: Vec<SecurityGroup>,
    /// The capacity reservations that were found.
    #[serde(default, skip_serializing_if = "is_default")]
    pub capacity_reservations: Vec<CapacityReservation>,
    /// The instance profile that nodes are launched with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_profile: Option<String>,
    /// What the object has come to.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(schema_with = "condition::list")]
    pub conditions: Vec<Condition>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

/// An image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Its id.
    pub id: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether its owner advises against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<bool>,
    /// What the labels of an instance type must be for it to run there.
    #[schemars(extend("items" = json!({
        "type": "object",
        "required": ["key", "operator"],
        "properties": {
            "key": {"type": "string"},
            "operator": {"type": "string"},
            "values": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "atomic"},
        },
    })))]
    pub requirements: Vec<Requirement>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

/// A subnet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subnet {
    /// Its id.
    pub id: String,
    /// Its availability zone, by name.
    pub zone: String,
    /// Its availability zone, by id.
    #[serde(default, rename = "zoneID", skip_serializing_if = "Option::is_none")]
    pub zone_id: Option<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

/// A security group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecurityGroup {
    /// Its id.
    pub id: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

/// A capacity reservation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CapacityReservation {
    /// Its id.
    #[schemars(extend("pattern" = "^cr-[0-9a-z]+$"))]
    pub id: String,
    /// The zone that it is for.
    pub availability_zone: String,
    /// The instance type that it is for.
    pub instance_type: String,
    /// Whether it takes any instance that matches, or only those that name it.
    #[schemars(extend("enum" = ["open", "targeted"]))]
    pub instance_match_criteria: String,
    /// The account that it belongs to.
    #[serde(rename = "ownerID")]
    #[schemars(extend("pattern" = "^[0-9]{12}$"))]
    pub owner_id: String,
    /// Whether it is a block of capacity for a fixed time.
    #[serde(default = "plain")]
    #[schemars(extend("enum" = ["default", "capacity-block"]))]
    pub reservation_type: String,
    /// Whether AWS may take the capacity back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interruptible: Option<bool>,
    /// Whether it can be used, or ends soon.
    #[serde(default = "active")]
    #[schemars(extend("enum" = ["active", "expiring"]))]
    pub state: String,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub end_time: Option<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

fn plain() -> String {
    "default".to_owned()
}

fn active() -> String {
    "active".to_owned()
}
