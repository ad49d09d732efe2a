//! Pods: what of their spec decides where they may run.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use stowage_api::{ObjectMeta, ResourceList, null_is_default, short_list};

use super::selector::{LabelSelector, NodeSelector, NodeSelectorTerm};

/// A pod as written.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PodObject {
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) metadata: ObjectMeta,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) spec: PodSpec,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) status: PodStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PodStatus {
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) phase: Phase,
    #[serde(rename = "nominatedNodeName", deserialize_with = "null_is_default")]
    pub(crate) nominated: String,
    #[serde(rename = "startTime")]
    pub(crate) start_time: Option<String>,
    #[serde(deserialize_with = "short_list")]
    pub(crate) conditions: Vec<PodCondition>,
    #[serde(rename = "resourceClaimStatuses", deserialize_with = "short_list")]
    pub(crate) made_claims: Vec<MadeClaim>,
}

/// A condition of a pod.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PodCondition {
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    pub(crate) kind: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) status: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) reason: String,
}

/// The claim that was made for a pod from a template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MadeClaim {
    /// The pod's own name for it.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    /// The claim; `None` where none is needed.
    pub resource_claim_name: Option<String>,
}

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub enum Phase {
    /// Not started yet.
    #[default]
    #[serde(alias = "")]
    Pending,
    /// At least one container runs.
    Running,
    /// All containers ended well.
    Succeeded,
    /// A container ended badly, and none will run again.
    Failed,
    /// The node is not heard of.
    Unknown,
}

/// What of a pod's spec decides where it may run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// The node it is bound to. Empty in a [`crate::Pod`], which keeps it beside the spec so that specs can be shared.
    #[serde(deserialize_with = "null_is_default")]
    pub node_name: String,
    /// Containers.
    #[serde(deserialize_with = "short_list")]
    pub containers: Vec<Container>,
    /// Init containers, sidecars among them.
    #[serde(deserialize_with = "short_list")]
    pub init_containers: Vec<Container>,
    /// Pod-level resources.
    #[serde(deserialize_with = "null_is_default")]
    pub resources: ContainerResources,
    /// What its runtime takes beside the containers.
    #[serde(deserialize_with = "null_is_default")]
    pub overhead: ResourceList,
    /// Labels that its node must have.
    #[serde(deserialize_with = "null_is_default")]
    pub node_selector: BTreeMap<String, String>,
    /// Affinities.
    #[serde(deserialize_with = "null_is_default")]
    pub affinity: Affinity,
    /// Tolerations.
    #[serde(deserialize_with = "short_list")]
    pub tolerations: Vec<Toleration>,
    /// Topology spread.
    #[serde(deserialize_with = "short_list")]
    pub topology_spread_constraints: Vec<SpreadConstraint>,
    /// Volumes that are claims, or of a node or a server; what Kubernetes itself fills is left out.
    #[serde(deserialize_with = "outside_volumes")]
    pub volumes: Vec<Volume>,
    /// Whether it shares its node's network, and so takes ports of it.
    #[serde(deserialize_with = "null_is_default")]
    pub host_network: bool,
    /// Whether it sees its node's processes.
    #[serde(rename = "hostPID", deserialize_with = "null_is_default")]
    pub host_pid: bool,
    /// Whether it shares its node's inter-process communication.
    #[serde(rename = "hostIPC", deserialize_with = "null_is_default")]
    pub host_ipc: bool,
    /// Priority, where admission has resolved it.
    pub priority: Option<i32>,
    /// Name of its priority class.
    #[serde(deserialize_with = "null_is_default")]
    pub priority_class_name: String,
    /// Whether it may take the place of pods of lower priority: `Never`, or else it may. Where its class says so, and
    /// admission has not resolved it, the class decides.
    pub preemption_policy: Option<String>,
    /// The scheduler that binds it; empty for the default one.
    #[serde(deserialize_with = "null_is_default")]
    pub scheduler_name: String,
    /// How many gates keep it from being scheduled.
    #[serde(deserialize_with = "null_is_default")]
    pub scheduling_gates: Count,
    /// Name of its runtime class.
    #[serde(deserialize_with = "null_is_default")]
    pub runtime_class_name: String,
    /// Its claims of devices (dynamic resource allocation).
    #[serde(deserialize_with = "short_list")]
    pub resource_claims: Vec<PodResourceClaim>,
}

/// A claim of devices, as a pod refers to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodResourceClaim {
    /// The pod's own name for it.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    /// A claim that exists, by name.
    pub resource_claim_name: Option<String>,
    /// A template of a claim that is made for the pod alone.
    pub resource_claim_template_name: Option<String>,
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Requests and limits.
    #[serde(deserialize_with = "null_is_default")]
    pub resources: ContainerResources,
    /// Ports.
    #[serde(deserialize_with = "short_list")]
    pub ports: Vec<ContainerPort>,
    /// Of an init container, whether it keeps running beside the others (`restartPolicy: Always`).
    #[serde(rename = "restartPolicy", deserialize_with = "is_always")]
    pub sidecar: bool,
    /// What it may do on its node.
    #[serde(deserialize_with = "null_is_default")]
    pub security_context: SecurityContext,
}

/// What a container may do on its node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default)]
pub struct SecurityContext {
    /// Everything.
    #[serde(deserialize_with = "null_is_default")]
    pub privileged: bool,
}

/// Requests and limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default)]
pub struct ContainerResources {
    /// What is set aside for it.
    #[serde(deserialize_with = "null_is_default")]
    pub requests: ResourceList,
    /// What it may use at most; also the request where that is not stated.
    #[serde(deserialize_with = "null_is_default")]
    pub limits: ResourceList,
}

/// A port of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// Port inside the container.
    #[serde(deserialize_with = "null_is_default")]
    pub container_port: u16,
    /// Port on the node; 0 for none.
    #[serde(deserialize_with = "null_is_default")]
    pub host_port: u16,
    /// Address on the node; empty for every address.
    #[serde(rename = "hostIP", deserialize_with = "null_is_default")]
    pub host_ip: String,
    /// Protocol.
    #[serde(deserialize_with = "null_is_default")]
    pub protocol: Protocol,
}

/// Network protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP.
    #[default]
    #[serde(alias = "")]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// Affinities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Affinity {
    /// To nodes.
    #[serde(deserialize_with = "null_is_default")]
    pub node_affinity: NodeAffinity,
    /// To pods.
    #[serde(deserialize_with = "null_is_default")]
    pub pod_affinity: PodAffinity,
    /// Away from pods.
    #[serde(deserialize_with = "null_is_default")]
    pub pod_anti_affinity: PodAffinity,
}

/// Affinity to nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default)]
pub struct NodeAffinity {
    /// What must hold.
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    pub required: Option<NodeSelector>,
    /// What would be nice.
    #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution", deserialize_with = "short_list")]
    pub preferred: Vec<PreferredNodeTerm>,
}

/// Nodes that would be nice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default)]
pub struct PreferredNodeTerm {
    /// How nice, 1 to 100.
    #[serde(deserialize_with = "null_is_default")]
    pub weight: i32,
    /// Which nodes; all where nothing is in it.
    #[serde(deserialize_with = "null_is_default")]
    pub preference: NodeSelectorTerm,
}

/// Affinity to pods, or away from them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default)]
pub struct PodAffinity {
    /// What must hold: every term.
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution", deserialize_with = "short_list")]
    pub required: Vec<PodAffinityTerm>,
    /// What would be nice.
    #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution", deserialize_with = "short_list")]
    pub preferred: Vec<WeightedPodTerm>,
}

/// Pods that it would be nice to be near to, or away from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WeightedPodTerm {
    /// How nice, 1 to 100.
    #[serde(default, deserialize_with = "null_is_default")]
    pub weight: i32,
    /// Which pods, and how near.
    pub pod_affinity_term: PodAffinityTerm,
}

/// The pods to be near to, or away from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodAffinityTerm {
    /// Node label whose values are the domains.
    pub topology_key: String,
    /// Which pods; `None` selects none.
    #[serde(default)]
    pub label_selector: Option<LabelSelector>,
    /// In these namespaces.
    #[serde(default, deserialize_with = "short_list")]
    pub namespaces: Vec<String>,
    /// And in namespaces with such labels. With neither, in the pod's own.
    #[serde(default)]
    pub namespace_selector: Option<LabelSelector>,
    /// Label keys for which the pods must have this pod's value.
    #[serde(default, deserialize_with = "short_list")]
    pub match_label_keys: Vec<String>,
    /// Label keys for which the pods must not have this pod's value.
    #[serde(default, deserialize_with = "short_list")]
    pub mismatch_label_keys: Vec<String>,
}

/// A topology spread constraint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpreadConstraint {
    /// Node label whose values are the domains.
    pub topology_key: String,
    /// How uneven it may get; 0 is taken as 1.
    #[serde(default, deserialize_with = "null_is_default")]
    pub max_skew: u32,
    /// How many domains there must be at least; 0 is taken as 1.
    #[serde(default, deserialize_with = "null_is_default")]
    pub min_domains: u32,
    /// Whether it is a rule or a wish.
    #[serde(default, deserialize_with = "null_is_default")]
    pub when_unsatisfiable: Unsatisfiable,
    /// Which pods count; `None` selects none.
    #[serde(default)]
    pub label_selector: Option<LabelSelector>,
    /// Label keys for which the pods must have this pod's value.
    #[serde(default, deserialize_with = "short_list")]
    pub match_label_keys: Vec<String>,
    /// Whether domains count that the pod's node selector and affinity exclude; honoured when unset.
    #[serde(default)]
    pub node_affinity_policy: Option<Policy>,
    /// Whether domains count whose taints the pod does not tolerate; ignored when unset.
    #[serde(default)]
    pub node_taints_policy: Option<Policy>,
}

/// What becomes of a pod whose spread cannot be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub enum Unsatisfiable {
    /// It waits.
    #[default]
    DoNotSchedule,
    /// It runs anyway.
    ScheduleAnyway,
}

/// Whether something is looked at while domains are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
pub enum Policy {
    /// It is.
    Honor,
    /// It is not.
    Ignore,
}

/// A toleration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default)]
pub struct Toleration {
    /// Key; empty for every key.
    #[serde(deserialize_with = "null_is_default")]
    pub key: String,
    /// How the value compares.
    #[serde(deserialize_with = "null_is_default")]
    pub operator: TolerationOperator,
    /// Value.
    #[serde(deserialize_with = "null_is_default")]
    pub value: String,
    /// Effect.
    #[serde(deserialize_with = "null_is_default")]
    pub effect: TolerationEffect,
}

/// How a toleration's value compares with the taint's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub enum TolerationOperator {
    /// Equal.
    #[default]
    #[serde(alias = "")]
    Equal,
    /// Any value.
    Exists,
    /// A number below (alpha in Kubernetes 1.35).
    Lt,
    /// A number above (alpha in Kubernetes 1.35).
    Gt,
}

/// The effect that a toleration is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub enum TolerationEffect {
    /// Every effect.
    #[default]
    #[serde(rename = "")]
    Any,
    /// `NoSchedule`.
    NoSchedule,
    /// `PreferNoSchedule`.
    PreferNoSchedule,
    /// `NoExecute`.
    NoExecute,
}

/// A volume that is not Kubernetes' own to fill.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Volume {
    /// An existing claim, by name.
    Claim(String),
    /// A claim made for each pod, called after the pod and the volume.
    Ephemeral {
        /// The volume's name.
        volume: String,
        /// The storage class of the claim's template.
        storage_class: Option<String>,
    },
    /// A folder of the node.
    HostPath,
    /// An EBS volume, named in the pod.
    Ebs,
    /// Any other that comes from elsewhere.
    Other,
}

impl Volume {
    /// Whether it is a claim.
    pub fn is_claim(&self) -> bool {
        matches!(self, Self::Claim(_) | Self::Ephemeral { .. })
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct VolumeWire {
    #[serde(deserialize_with = "null_is_default")]
    name: String,
    persistent_volume_claim: Option<ClaimWire>,
    ephemeral: Option<EphemeralWire>,
    host_path: Option<IgnoredAny>,
    aws_elastic_block_store: Option<IgnoredAny>,
    // What Kubernetes fills by itself.
    config_map: Option<IgnoredAny>,
    #[serde(rename = "downwardAPI")]
    downward_api: Option<IgnoredAny>,
    empty_dir: Option<IgnoredAny>,
    image: Option<IgnoredAny>,
    projected: Option<IgnoredAny>,
    secret: Option<IgnoredAny>,
}

impl VolumeWire {
    fn is_filled(&self) -> bool {
        let fillings = [&self.config_map, &self.downward_api, &self.empty_dir];
        let fillings = fillings.into_iter().chain([&self.image, &self.projected, &self.secret]);
        fillings.into_iter().any(Option::is_some)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClaimWire {
    claim_name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct EphemeralWire {
    #[serde(deserialize_with = "null_is_default")]
    volume_claim_template: TemplateWire,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TemplateWire {
    #[serde(deserialize_with = "null_is_default")]
    spec: super::storage::ClaimSpec,
}

fn outside_volumes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Volume>, D::Error> {
    let written: Vec<VolumeWire> = short_list(deserializer)?;
    let mut kept = Vec::<Volume>::new();
    for volume in written {
        let filled = volume.is_filled();
        let read = match (volume.persistent_volume_claim, volume.ephemeral) {
            (Some(claim), _) => Volume::Claim(claim.claim_name),
            (None, Some(ephemeral)) => {
                let storage_class = ephemeral.volume_claim_template.spec.storage_class_name;
                Volume::Ephemeral { volume: volume.name, storage_class }
            }
            _ if volume.host_path.is_some() => Volume::HostPath,
            _ if volume.aws_elastic_block_store.is_some() => Volume::Ebs,
            _ if filled => continue,
            _ => Volume::Other,
        };
        // Two folders of the node are no more than one.
        if read.is_claim() || !kept.contains(&read) {
            kept.push(read);
        }
    }
    Ok(kept)
}

fn is_always<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.as_deref() == Some("Always"))
}

/// The length of a list whose items are not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Count(pub usize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Count, A::Error> {
                let mut count = 0;
                while items.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Count(count))
            }
        }
        deserializer.deserialize_seq(Items)
    }
}
