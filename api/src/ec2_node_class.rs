//! `EC2NodeClass`, `karpenter.k8s.aws/v1`: how nodes are launched on EC2.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};

use crate::{ObjectMeta, Quantity, Requirement, null_is_default, short_list};

/// An `EC2NodeClass`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Ec2NodeClass {
    /// Metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: Ec2NodeClassSpec,
    /// Status.
    #[serde(deserialize_with = "null_is_default")]
    pub status: Ec2NodeClassStatus,
}

/// Specification of an `EC2NodeClass`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ec2NodeClassSpec {
    /// `AL2023`, `Bottlerocket` and their like; where absent, an alias of [`Self::ami_selector_terms`] says it.
    pub ami_family: Option<String>,
    /// Which images may be used.
    #[serde(deserialize_with = "null_is_default")]
    pub ami_selector_terms: Vec<AmiSelectorTerm>,
    /// Settings of kubelet.
    pub kubelet: Option<Kubelet>,
    /// `RAID0` where instance stores become ephemeral storage.
    pub instance_store_policy: Option<String>,
    /// Volumes that each node starts with.
    #[serde(deserialize_with = "null_is_default")]
    pub block_device_mappings: Vec<BlockDeviceMapping>,
    /// Network interfaces that each node starts with; absent leaves them to the instance type.
    pub network_interfaces: Option<Vec<NetworkInterface>>,
    /// Time-outs of tracked connections, which only Nitro instances have.
    pub connection_tracking: Option<IgnoredAny>,
    /// Options of the processor.
    #[serde(deserialize_with = "null_is_default")]
    pub cpu_options: CpuOptions,
    /// The placement group that nodes are launched into.
    pub placement_group_selector: Option<PlacementGroupSelector>,
}

/// A placement group, by one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PlacementGroupSelector {
    /// Its name.
    pub name: Option<String>,
    /// Its id.
    pub id: Option<String>,
}

/// One way to find images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AmiSelectorTerm {
    /// `family@version`: `al2023@latest`.
    pub alias: Option<String>,
}

/// Settings of kubelet that decide what pods may use of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Kubelet {
    /// Pods at most: a number, or an expression of the provider's own.
    pub max_pods: Option<IntOrText>,
    /// Pods for each vCPU at most; zero sets no limit.
    pub pods_per_core: Option<u32>,
    /// Kept for kubelet and the container runtime: quantities, or expressions.
    #[serde(deserialize_with = "amounts")]
    pub kube_reserved: BTreeMap<String, String>,
    /// Kept for the system: quantities, or expressions.
    #[serde(deserialize_with = "amounts")]
    pub system_reserved: BTreeMap<String, String>,
    /// Signal → the amount or percentage below which pods are evicted at once.
    #[serde(deserialize_with = "amounts")]
    pub eviction_hard: BTreeMap<String, String>,
}

/// Texts by name. YAML writes a bare `1` where kubelet wants `"1"`, and the API server lets it pass.
fn amounts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Amount {
        Text(String),
        Whole(i64),
        Decimal(f64),
    }
    let amounts = Option::<BTreeMap<String, Amount>>::deserialize(deserializer)?.unwrap_or_default();
    let text = |amount| match amount {
        Amount::Text(text) => text,
        Amount::Whole(number) => number.to_string(),
        Amount::Decimal(number) => number.to_string(),
    };
    Ok(amounts.into_iter().map(|(name, amount)| (name, text(amount))).collect())
}

/// A whole number of at least zero, or a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntOrText {
    /// A number.
    Int(u32),
    /// A text.
    Text(String),
}

impl<'de> Deserialize<'de> for IntOrText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = IntOrText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of at least 0, or an expression")
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<IntOrText, E> {
                u32::try_from(n)
                    .map(IntOrText::Int)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(n), &self))
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<IntOrText, E> {
                u32::try_from(n)
                    .map(IntOrText::Int)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(n), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<IntOrText, E> {
                Ok(IntOrText::Text(text.to_owned()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A volume that each node starts with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockDeviceMapping {
    /// `/dev/xvda`.
    pub device_name: Option<String>,
    /// Whether kubelet's files and the images are on it.
    #[serde(deserialize_with = "null_is_default")]
    pub root_volume: bool,
    /// The volume.
    #[serde(deserialize_with = "null_is_default")]
    pub ebs: BlockDevice,
}

/// An EBS volume that each node starts with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockDevice {
    /// Its size; absent where a snapshot tells.
    pub volume_size: Option<Quantity>,
}

/// A network interface that each node starts with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkInterface {
    /// The card that it is on.
    pub network_card_index: u32,
    /// Its place on the card.
    pub device_index: u32,
    /// `interface`, or `efa-only`, which has no address.
    pub interface_type: Option<String>,
}

impl NetworkInterface {
    /// Whether it has no address.
    pub fn is_efa_only(&self) -> bool {
        self.interface_type.as_deref() == Some("efa-only")
    }
}

/// Options of the processor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CpuOptions {
    /// `enabled` or `disabled`.
    pub nested_virtualization: Option<String>,
}

/// Status of an `EC2NodeClass`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ec2NodeClassStatus {
    /// The subnets that nodes are launched into.
    #[serde(deserialize_with = "null_is_default")]
    pub subnets: Vec<Subnet>,
    /// The security groups that nodes are launched with.
    #[serde(deserialize_with = "null_is_default")]
    pub security_groups: Vec<SelectedGroup>,
    /// The images that were found.
    #[serde(deserialize_with = "null_is_default")]
    pub amis: Vec<Ami>,
    /// The capacity reservations that were found. How many machines of them are free is not said.
    #[serde(deserialize_with = "null_is_default")]
    pub capacity_reservations: Vec<SelectedReservation>,
}

/// A resolved security group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SelectedGroup {
    /// `sg-0123456789abcdef0`.
    #[serde(deserialize_with = "null_is_default")]
    pub id: String,
}

/// A resolved capacity reservation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SelectedReservation {
    /// `cr-0123456789abcdef0`.
    #[serde(deserialize_with = "null_is_default")]
    pub id: String,
    /// `default`, or `capacity-block`.
    #[serde(deserialize_with = "null_is_default")]
    pub reservation_type: String,
    /// When it ends, as RFC 3339 has it; absent where it does not.
    pub end_time: Option<String>,
}

/// A resolved subnet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Subnet {
    /// `subnet-0123456789abcdef0`.
    #[serde(deserialize_with = "null_is_default")]
    pub id: String,
    /// Availability zone: `us-east-1a`.
    #[serde(deserialize_with = "null_is_default")]
    pub zone: String,
    /// Availability zone id: `use1-az1`; empty where not known.
    #[serde(rename = "zoneID", deserialize_with = "null_is_default")]
    pub zone_id: String,
}

/// A resolved image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Ami {
    /// `ami-0123456789abcdef0`.
    #[serde(deserialize_with = "null_is_default")]
    pub id: String,
    /// What instance types it runs on, by their labels.
    #[serde(deserialize_with = "short_list")]
    pub requirements: Vec<Requirement>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_decides_about_capacity() {
        let class: Ec2NodeClass = serde_json::from_str(
            r#"{"spec": {"amiSelectorTerms": [{"alias": "al2023@latest"}], "instanceStorePolicy": "RAID0",
                "kubelet": {"maxPods": 58, "podsPerCore": 10, "kubeReserved": {"cpu": "200m", "pid": 100},
                            "evictionHard": {"memory.available": "5%"}, "clusterDNS": ["10.0.1.100"]},
                "blockDeviceMappings": [{"deviceName": "/dev/xvda", "ebs": {"volumeSize": "100Gi"}}],
                "networkInterfaces": [{"networkCardIndex": 0, "deviceIndex": 0, "interfaceType": "interface"},
                                      {"networkCardIndex": 0, "deviceIndex": 1, "interfaceType": "efa-only"}]},
               "status": {"subnets": [{"id": "subnet-1", "zone": "us-east-1a", "zoneID": "use1-az1"}],
                          "amis": [{"id": "ami-1"}]}}"#,
        )
        .expect("valid");
        let kubelet = class.spec.kubelet.expect("given");
        assert_eq!(kubelet.max_pods, Some(IntOrText::Int(58)));
        assert_eq!([&kubelet.kube_reserved["cpu"], &kubelet.kube_reserved["pid"]], ["200m", "100"]);
        assert_eq!(class.spec.block_device_mappings[0].ebs.volume_size, "100Gi".parse().ok());
        let interfaces = class.spec.network_interfaces.expect("given");
        assert_eq!(interfaces.iter().map(NetworkInterface::is_efa_only).collect::<Vec<_>>(), [false, true]);
        assert_eq!(class.status.subnets[0].zone_id, "use1-az1");
    }

    #[test]
    fn max_pods_is_a_number_or_an_expression() {
        let read = |text: &str| serde_json::from_str::<IntOrText>(text);
        assert_eq!(read("110").expect("valid"), IntOrText::Int(110));
        assert_eq!(read("\"max_pods - 4\"").expect("valid"), IntOrText::Text("max_pods - 4".to_owned()));
        for text in ["-1", "1.5", "true", "4294967296", "[]"] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains("a whole number of at least 0, or an expression"), "{error}");
        }
    }
}
