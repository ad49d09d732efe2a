//! What instances are launched with: volumes, interfaces, and options of the machine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::crd::Other;
use crate::crd::rule::rules;

/// A volume that each node starts with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlockDeviceMapping {
    /// Its name to the machine, as /dev/xvda.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_name: Option<String>,
    /// The volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules(&[
        ("has(self.snapshotID) || has(self.volumeSize)", "one of snapshotID and volumeSize is needed"),
        (
            "!has(self.volumeInitializationRate) || (has(self.snapshotID) && self.snapshotID != '')",
            "volumeInitializationRate needs a snapshotID",
        ),
    ])))]
    pub ebs: Option<BlockDevice>,
    /// Whether kubelet keeps its files on it, so that its size is what pods have of ephemeral storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_volume: Option<bool>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

/// At most 59,000 Gi, 64,000 G, 58 Ti or 64 T: the next below 64 TiB, and 64 TB, that the unit can say.
const VOLUME_SIZE: &str = "^(([1-9][0-9]{0,3}|[1-4][0-9]{4}|5[0-8][0-9]{3}|59000)Gi|\
                           ([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-3][0-9]{3}|64000)G|\
                           ([1-9]|[1-4][0-9]|5[0-8])Ti|([1-9]|[1-5][0-9]|6[0-4])T)$";

/// A volume of the Elastic Block Store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlockDevice {
    /// Its size, as 100Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = VOLUME_SIZE))]
    pub volume_size: Option<String>,
    /// Its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["standard", "io1", "io2", "gp2", "sc1", "st1", "gp3"]))]
    pub volume_type: Option<String>,
    /// Operations a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iops: Option<i64>,
    /// MiB a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throughput: Option<i64>,
    /// Whether it is encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<bool>,
    /// The key that it is encrypted with.
    #[serde(default, rename = "kmsKeyID", skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
    /// Whether it goes with the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_on_termination: Option<bool>,
    /// The snapshot that it begins as.
    #[serde(default, rename = "snapshotID", skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// How fast the snapshot is copied to it, in MiB a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 100, "maximum" = 300))]
    pub volume_initialization_rate: Option<i32>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

pub(super) fn of_devices() -> Value {
    rules(&[(
        "self.filter(x, has(x.rootVolume) && x.rootVolume).size() <= 1",
        "only one volume can be the root volume",
    )])
}

/// A network interface that each node starts with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkInterface {
    /// The card that it is on.
    #[schemars(extend("minimum" = 0))]
    pub network_card_index: i32,
    /// Its place on the card.
    #[schemars(extend("minimum" = 0))]
    pub device_index: i32,
    /// An interface like any other, or one for the Elastic Fabric Adapter that has no address.
    #[schemars(extend("enum" = ["interface", "efa-only"]))]
    pub interface_type: String,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

pub(super) fn of_interfaces() -> Value {
    rules(&[
        (
            "self.size() == 0 || self.exists(x, x.networkCardIndex == 0 && x.deviceIndex == 0 && \
             x.interfaceType == 'interface')",
            "the first device of the first card is needed, as an interface",
        ),
        (
            "self.all(x, self.filter(y, x.networkCardIndex == y.networkCardIndex && \
             x.deviceIndex == y.deviceIndex).size() == 1 && (x.interfaceType != 'efa-only' || \
             self.filter(y, x.networkCardIndex == y.networkCardIndex && y.interfaceType == 'efa-only').size() == 1))",
            "no two interfaces can have the same place, and a card only one that is efa-only",
        ),
    ])
}

/// How the metadata service of an instance is reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetadataOptions {
    /// Whether it is reached at all.
    #[serde(default = "enabled")]
    #[schemars(extend("enum" = ["enabled", "disabled"]))]
    pub http_endpoint: String,
    /// Whether it is reached over IPv6.
    #[serde(default = "disabled", rename = "httpProtocolIPv6")]
    #[schemars(extend("enum" = ["enabled", "disabled"]))]
    pub http_protocol_ipv6: String,
    /// How many hops an answer may take: with 1, pods that are not on the host's network do not reach it.
    #[serde(default = "one")]
    #[schemars(extend("minimum" = 1, "maximum" = 64))]
    pub http_put_response_hop_limit: i64,
    /// Whether requests need a token.
    #[serde(default = "required")]
    #[schemars(extend("enum" = ["required", "optional"]))]
    pub http_tokens: String,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

fn enabled() -> String {
    "enabled".to_owned()
}

fn disabled() -> String {
    "disabled".to_owned()
}

fn one() -> i64 {
    1
}

fn required() -> String {
    "required".to_owned()
}

impl Default for MetadataOptions {
    fn default() -> Self {
        Self {
            http_endpoint: enabled(),
            http_protocol_ipv6: disabled(),
            http_put_response_hop_limit: one(),
            http_tokens: required(),
            other: Other::new(),
        }
    }
}

/// What options are where none are given.
pub(super) fn metadata_defaults() -> Value {
    json!(MetadataOptions::default())
}

/// How long connections are tracked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "has(self.tcpEstablishedTimeout) || has(self.udpStreamTimeout) || has(self.udpTimeout)",
    "one of tcpEstablishedTimeout, udpStreamTimeout and udpTimeout is needed",
)])))]
pub struct ConnectionTracking {
    /// Seconds that an idle TCP connection is tracked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 60, "maximum" = 432_000))]
    pub tcp_established_timeout: Option<i32>,
    /// Seconds that an idle flow of UDP with answers is tracked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 60, "maximum" = 180))]
    pub udp_stream_timeout: Option<i32>,
    /// Seconds that an idle flow of UDP without answers is tracked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 30, "maximum" = 60))]
    pub udp_timeout: Option<i32>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}

/// Options of the processor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CpuOptions {
    /// Whether nodes can run virtual machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["enabled", "disabled"]))]
    pub nested_virtualization: Option<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub other: Other,
}
