//! Claims, volumes and storage classes.

use serde::Deserialize;
use serde::de::IgnoredAny;
use stowage_api::{ObjectMeta, null_is_default, short_list};

use super::selector::NodeSelector;

/// A claim of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PersistentVolumeClaim {
    /// Metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: ClaimSpec,
    /// Status.
    #[serde(deserialize_with = "null_is_default")]
    pub status: ClaimStatus,
}

/// Status of a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ClaimStatus {
    /// `Pending`, `Bound`, or `Lost` where its volume is gone.
    #[serde(deserialize_with = "null_is_default")]
    pub phase: String,
}

/// Specification of a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimSpec {
    /// Name of its storage class.
    pub storage_class_name: Option<String>,
    /// Name of the volume that it is bound to.
    pub volume_name: Option<String>,
    /// How it may be used: `ReadWriteOnce`, `ReadWriteOncePod` and so on.
    #[serde(deserialize_with = "short_list")]
    pub access_modes: Vec<String>,
}

/// A volume.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct PersistentVolume {
    /// Metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: VolumeSpec,
}

/// Specification of a volume.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeSpec {
    /// Nodes that it can be attached to.
    #[serde(deserialize_with = "null_is_default")]
    pub node_affinity: VolumeNodeAffinity,
    /// Name of its storage class.
    #[serde(deserialize_with = "null_is_default")]
    pub storage_class_name: String,
    /// The claim that has it.
    pub claim_ref: Option<IgnoredAny>,
    /// Where a CSI driver made it.
    pub csi: Option<CsiSource>,
    /// Where it is an EBS volume in the old style.
    pub aws_elastic_block_store: Option<IgnoredAny>,
}

/// Nodes that a volume can be attached to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct VolumeNodeAffinity {
    /// What must hold.
    pub required: Option<NodeSelector>,
}

/// The CSI driver of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct CsiSource {
    /// Name.
    #[serde(deserialize_with = "null_is_default")]
    pub driver: String,
}

/// A way to make volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageClass {
    /// Metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// Driver, or in-tree plug-in.
    #[serde(deserialize_with = "null_is_default")]
    pub provisioner: String,
    /// `Immediate` or `WaitForFirstConsumer`.
    #[serde(deserialize_with = "null_is_default")]
    pub volume_binding_mode: String,
    /// Where its volumes may be made; anywhere when empty.
    #[serde(deserialize_with = "short_list")]
    pub allowed_topologies: Vec<TopologyTerm>,
}

/// Everything in a term must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopologyTerm {
    /// On labels.
    #[serde(deserialize_with = "short_list")]
    pub match_label_expressions: Vec<TopologyExpression>,
}

/// A node label with one of these values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct TopologyExpression {
    /// Label key.
    pub key: String,
    /// Values.
    #[serde(default, deserialize_with = "null_is_default")]
    pub values: Vec<String>,
}

/// A volume that is attached to a node, or is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct VolumeAttachment {
    /// Metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: AttachmentSpec,
}

/// Specification of a [`VolumeAttachment`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AttachmentSpec {
    /// Node.
    #[serde(deserialize_with = "null_is_default")]
    pub node_name: String,
    /// Volume.
    #[serde(deserialize_with = "null_is_default")]
    pub source: AttachmentSource,
}

/// What is attached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AttachmentSource {
    /// Name of the `PersistentVolume`; empty where the pod names a volume by itself.
    #[serde(deserialize_with = "null_is_default")]
    pub persistent_volume_name: String,
}
