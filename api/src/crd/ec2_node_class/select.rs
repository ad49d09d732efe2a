//! Selector terms: how images, subnets, security groups and reservations are found.
//!
//! Terms of a list are alternatives; what one term says holds together.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sought_tags;
use crate::crd::Other;
use crate::crd::rule::rules;

/// One way to find images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AmiSelectorTerm {
    /// A family and a version, as al2023@latest or bottlerocket@v1.20.4. It is the only term then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 30, "x-kubernetes-validations" = rules(&[
        ("self.matches('^[a-zA-Z0-9]+@.+$')", "an alias is a family and a version, as al2023@latest"),
        (
            "self.split('@')[0] in ['al2', 'al2023', 'bottlerocket', 'windows2019', 'windows2022', 'windows2025']",
            "the family of an alias is one of al2, al2023, bottlerocket, windows2019, windows2022 and windows2025",
        ),
        (
            "!(self.split('@')[0] in ['windows2019', 'windows2022', 'windows2025']) || self.split('@')[1] == 'latest'",
            "the version of a Windows alias can only be latest",
        ),
    ])))]
    pub alias: Option<String>,
    /// Tags of the image; an asterisk stands for any value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 20, "x-kubernetes-validations" = sought_tags()))]
    pub tags: Option<BTreeMap<String, String>>,
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = "ami-[0-9a-z]+"))]
    pub id: Option<String>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Account that it belongs to, or self or amazon, which both are sought where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// A parameter of the Systems Manager that holds its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssm_parameter: Option<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

pub(super) fn of_images() -> Value {
    rules(&[
        (
            "self.all(x, has(x.tags) || has(x.id) || has(x.name) || has(x.alias) || has(x.ssmParameter))",
            "each term needs one of tags, id, name, alias and ssmParameter",
        ),
        (
            "!self.exists(x, has(x.id) && (has(x.alias) || has(x.tags) || has(x.name) || has(x.owner)))",
            "id cannot be combined with other fields of a term",
        ),
        (
            "!self.exists(x, has(x.alias) && (has(x.id) || has(x.tags) || has(x.name) || has(x.owner)))",
            "alias cannot be combined with other fields of a term",
        ),
        ("!self.exists(x, has(x.alias)) || self.size() == 1", "alias cannot be combined with other terms"),
    ])
}

/// One way to find subnets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubnetSelectorTerm {
    /// Tags of the subnet; an asterisk stands for any value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 20, "x-kubernetes-validations" = sought_tags()))]
    pub tags: Option<BTreeMap<String, String>>,
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = "subnet-[0-9a-z]+"))]
    pub id: Option<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

pub(super) fn of_subnets() -> Value {
    rules(&[
        ("self.size() != 0", "subnetSelectorTerms may not be empty"),
        ("self.all(x, has(x.tags) || has(x.id))", "each term needs tags or id"),
        ("!self.exists(x, has(x.id) && has(x.tags))", "id cannot be combined with other fields of a term"),
    ])
}

/// One way to find security groups.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecurityGroupSelectorTerm {
    /// Tags of the group; an asterisk stands for any value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 20, "x-kubernetes-validations" = sought_tags()))]
    pub tags: Option<BTreeMap<String, String>>,
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = "sg-[0-9a-z]+"))]
    pub id: Option<String>,
    /// Its name, which is not its tag Name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

pub(super) fn of_groups() -> Value {
    rules(&[
        ("self.size() != 0", "securityGroupSelectorTerms may not be empty"),
        ("self.all(x, has(x.tags) || has(x.id) || has(x.name))", "each term needs one of tags, id and name"),
        (
            "!self.exists(x, has(x.id) && (has(x.tags) || has(x.name)))",
            "id cannot be combined with other fields of a term",
        ),
        (
            "!self.exists(x, has(x.name) && (has(x.tags) || has(x.id)))",
            "name cannot be combined with other fields of a term",
        ),
    ])
}

/// One way to find capacity reservations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CapacityReservationSelectorTerm {
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = "^cr-[0-9a-z]+$"))]
    pub id: Option<String>,
    /// Tags of the reservation; an asterisk stands for any value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 20, "x-kubernetes-validations" = sought_tags()))]
    pub tags: Option<BTreeMap<String, String>>,
    /// The account that it belongs to.
    #[serde(default, rename = "ownerID", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = "^[0-9]{12}$"))]
    pub owner_id: Option<String>,
    /// Whether it takes any instance that matches, or only those that name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["open", "targeted"]))]
    pub instance_match_criteria: Option<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

pub(super) fn of_reservations() -> Value {
    rules(&[
        (
            "self.all(x, has(x.tags) || has(x.id) || has(x.instanceMatchCriteria))",
            "each term needs one of tags, id and instanceMatchCriteria",
        ),
        (
            "!self.exists(x, has(x.id) && (has(x.tags) || has(x.ownerID) || has(x.instanceMatchCriteria)))",
            "id cannot be combined with other fields of a term",
        ),
    ])
}

/// Which placement group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlacementGroupSelector {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minLength" = 1))]
    pub name: Option<String>,
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = "^pg-[0-9a-z]+$"))]
    pub id: Option<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

pub(super) fn of_placement_group() -> Value {
    rules(&[("has(self.name) != has(self.id)", "exactly one of name and id is needed")])
}
