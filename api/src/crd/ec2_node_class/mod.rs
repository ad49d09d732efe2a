//! EC2NodeClass: how nodes are launched on EC2.

mod launch;
mod select;
mod status;

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use launch::{
    BlockDevice, BlockDeviceMapping, ConnectionTracking, CpuOptions, MetadataOptions, NetworkInterface,
};
pub use select::{
    AmiSelectorTerm, CapacityReservationSelectorTerm, PlacementGroupSelector, SecurityGroupSelectorTerm,
    SubnetSelectorTerm,
};
pub use status::{CapacityReservation, Ec2NodeClassStatus, Image, SecurityGroup, Subnet};

use super::rule::rules;
use super::{Other, is_default};

/// How nodes are launched on EC2.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "karpenter.k8s.aws",
    version = "v1",
    kind = "EC2NodeClass",
    root = "Ec2NodeClass",
    plural = "ec2nodeclasses",
    shortname = "ec2nc",
    shortname = "ec2ncs",
    category = "karpenter",
    status = "Ec2NodeClassStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "How nodes are launched on EC2: images, subnets, security groups, volumes, and settings of kubelet.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Role", type_ = "string", json_path = ".spec.role", priority = 1)
)]
#[schemars(extend("x-kubernetes-validations" = rules_of_all()))]
pub struct Ec2NodeClassSpec {
    /// Which images nodes may run. Of several that suit an instance type, the newest is taken.
    #[schemars(extend("minItems" = 1, "maxItems" = 30, "x-kubernetes-validations" = select::of_images()))]
    pub ami_selector_terms: Vec<AmiSelectorTerm>,
    /// The sort of image, which decides how user data is written and which volumes there are. An alias says it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = FAMILIES))]
    pub ami_family: Option<String>,
    /// Which subnets nodes may be launched into.
    #[schemars(extend("maxItems" = 30, "x-kubernetes-validations" = select::of_subnets()))]
    pub subnet_selector_terms: Vec<SubnetSelectorTerm>,
    /// Which security groups nodes have: all that are found.
    #[schemars(extend("maxItems" = 30, "x-kubernetes-validations" = select::of_groups()))]
    pub security_group_selector_terms: Vec<SecurityGroupSelectorTerm>,
    /// Which capacity reservations nodes may be launched into.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("maxItems" = 30, "x-kubernetes-validations" = select::of_reservations()))]
    pub capacity_reservation_selector_terms: Vec<CapacityReservationSelectorTerm>,
    /// The placement group that nodes are launched into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = select::of_placement_group()))]
    pub placement_group_selector: Option<PlacementGroupSelector>,
    /// The IAM role of the nodes; an instance profile is made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules(&[("self != ''", "role may not be empty")])))]
    pub role: Option<String>,
    /// The instance profile of the nodes, instead of a role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules(&[("self != ''", "instanceProfile may not be empty")])))]
    pub instance_profile: Option<String>,
    /// Tags of instances, volumes, launch templates and all else that is made for nodes.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("x-kubernetes-validations" = rules_of_tags()))]
    pub tags: BTreeMap<String, String>,
    /// What nodes do when they start, in the form that their image wants; what they need to join is added to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data: Option<String>,
    /// Settings of kubelet, by the names in its configuration file; they decide what pods may use of a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "settings")]
    pub kubelet: Option<BTreeMap<String, Value>>,
    /// Volumes that each node starts with, instead of those that its image asks for.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("maxItems" = 50, "x-kubernetes-validations" = launch::of_devices()))]
    pub block_device_mappings: Vec<BlockDeviceMapping>,
    /// What becomes of disks that are in the machine itself: with RAID0 they are joined, for pods and images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["RAID0"]))]
    pub instance_store_policy: Option<String>,
    /// Network interfaces that each node starts with, instead of those that suit its instance type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxItems" = 150, "x-kubernetes-validations" = launch::of_interfaces()))]
    pub network_interfaces: Option<Vec<NetworkInterface>>,
    /// Whether nodes have a public address, whatever their subnet says.
    #[serde(default, rename = "associatePublicIPAddress", skip_serializing_if = "Option::is_none")]
    pub associate_public_ip_address: Option<bool>,
    /// How many prefixes of addresses nodes are launched with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0))]
    pub ip_prefix_count: Option<i32>,
    /// Whether metrics of instances are taken every minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detailed_monitoring: Option<bool>,
    /// How the metadata service of instances is reached.
    #[serde(default)]
    #[schemars(extend("default" = launch::metadata_defaults()))]
    pub metadata_options: MetadataOptions,
    /// How long connections are tracked; on instances of the Nitro system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_tracking: Option<ConnectionTracking>,
    /// Options of the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_options: Option<CpuOptions>,
    /// Handed on to EC2 with each launch; AWS says when to set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

const FAMILIES: [&str; 7] =
    ["AL2", "AL2023", "Bottlerocket", "Custom", "Windows2019", "Windows2022", "Windows2025"];

fn rules_of_all() -> Value {
    let mut all = vec![
        (
            "has(self.role) != has(self.instanceProfile)".to_owned(),
            "exactly one of role and instanceProfile is needed".to_owned(),
        ),
        (
            "has(self.amiFamily) || self.amiSelectorTerms.exists(x, has(x.alias))".to_owned(),
            "amiFamily is needed where no alias says it".to_owned(),
        ),
    ];
    for family in FAMILIES.into_iter().filter(|family| *family != "Custom") {
        let alias = family.to_lowercase();
        all.push((
            format!(
                "!has(self.amiFamily) || self.amiFamily in ['Custom', '{family}'] || \
                 !self.amiSelectorTerms.exists(x, has(x.alias) && x.alias.find('^[^@]+') == '{alias}')"
            ),
            format!("with an alias of {alias}, amiFamily can only be {family} or Custom"),
        ));
    }
    rules(&all.iter().map(|(rule, message)| (rule.as_str(), message.as_str())).collect::<Vec<_>>())
}

/// Tags by which instances are found again are nobody else's to set.
fn rules_of_tags() -> Value {
    rules(&[
        ("self.all(k, k != '')", "keys of tags may not be empty"),
        ("self.all(k, k != 'eks:eks-cluster-name')", "the tag eks:eks-cluster-name is restricted"),
        (
            "self.all(k, !k.startsWith('kubernetes.io/cluster'))",
            "tags that begin with kubernetes.io/cluster are restricted",
        ),
        ("self.all(k, k != 'karpenter.sh/nodepool')", "the tag karpenter.sh/nodepool is restricted"),
        ("self.all(k, k != 'karpenter.sh/nodeclaim')", "the tag karpenter.sh/nodeclaim is restricted"),
        (
            "self.all(k, k != 'karpenter.k8s.aws/ec2nodeclass')",
            "the tag karpenter.k8s.aws/ec2nodeclass is restricted",
        ),
    ])
}

/// Any settings: kubelet's configuration grows with Kubernetes, and the controller checks it.
fn settings(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "Settings of kubelet, by the names in its configuration file; they decide what pods may use of a node.",
        "additionalProperties": {"x-kubernetes-preserve-unknown-fields": true},
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

/// Tags to find things by: an asterisk as the value finds any.
fn sought_tags() -> Value {
    json!([{"rule": "self.all(k, k != '' && self[k] != '')", "message": "keys and values of tags may not be empty"}])
}
