//! A captured cluster: its objects, as far as planning reads them.
//!
//! Which pods wait for kube-scheduler is Kubernetes' to say: those without a node that are not gated, and whose owner is no
//! `DaemonSet` and no node.

use std::collections::BTreeMap;
use std::sync::Arc;

use stowage_api::{Ec2NodeClass, NodeClaim, NodeOverlay, NodePool, ObjectMeta, well_known};

use stowage_pricing::Timestamp;

use crate::error::ObjectError;
use crate::object::{
    CsiNode, DaemonSet, DeviceClass, FargateProfile, Job, MadeClaim, Namespace, Node, PersistentVolume,
    PersistentVolumeClaim, Phase, PodDisruptionBudget, PodSpec, PriorityClass, ResourceClaim,
    ResourceClaimTemplate, ResourceSlice, RuntimeClass, Service, StorageClass, VolumeAttachment,
};

/// A captured cluster, as [`crate::read()`] gives it.
///
/// # Invariants
/// No two objects of a kind share namespace and name. Every object has a name. Vectors are in the order of the input.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Pods. They, nodes and `NodeClaims` are many, and shared by the snapshots that have them in common.
    pub pods: Vec<Arc<Pod>>,
    /// Nodes.
    pub nodes: Vec<Arc<Node>>,
    /// Claims of volumes.
    pub claims: Vec<PersistentVolumeClaim>,
    /// Volumes.
    pub volumes: Vec<PersistentVolume>,
    /// Storage classes.
    pub storage_classes: Vec<StorageClass>,
    /// What CSI drivers can do on each node.
    pub csi_nodes: Vec<CsiNode>,
    /// `DaemonSets`.
    pub daemon_sets: Vec<DaemonSet>,
    /// Namespaces.
    pub namespaces: Vec<Namespace>,
    /// Priority classes.
    pub priority_classes: Vec<PriorityClass>,
    /// Runtime classes.
    pub runtime_classes: Vec<RuntimeClass>,
    /// `NodePools`.
    pub node_pools: Vec<NodePool>,
    /// `NodeClaims`.
    pub node_claims: Vec<Arc<NodeClaim>>,
    /// `EC2NodeClasses`.
    pub node_classes: Vec<Ec2NodeClass>,
    /// `NodeOverlays`.
    pub node_overlays: Vec<NodeOverlay>,
    /// Claims of devices.
    pub resource_claims: Vec<ResourceClaim>,
    /// What claims of devices are made from for single pods.
    pub resource_claim_templates: Vec<ResourceClaimTemplate>,
    /// Classes of devices.
    pub device_classes: Vec<DeviceClass>,
    /// Devices that drivers publish.
    pub resource_slices: Vec<ResourceSlice>,
    /// Fargate profiles.
    pub fargate_profiles: Vec<FargateProfile>,
    /// Jobs.
    pub jobs: Vec<Job>,
    /// Services.
    pub services: Vec<Service>,
    /// Which volumes are attached to which nodes.
    pub attachments: Vec<VolumeAttachment>,
    /// How many pods of a workload must stay up.
    pub disruption_budgets: Vec<PodDisruptionBudget>,
    /// How many objects of other kinds there were, by kind.
    pub ignored: BTreeMap<String, usize>,
    /// Malformed objects that were left out, where [`crate::ReadOptions::skip_invalid`] asks for that.
    pub invalid: Vec<ObjectError>,
}

impl Snapshot {
    /// Its pods.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.iter().map(Arc::as_ref)
    }

    /// Its nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().map(Arc::as_ref)
    }

    /// Its `NodeClaims`.
    pub fn node_claims(&self) -> impl Iterator<Item = &NodeClaim> {
        self.node_claims.iter().map(Arc::as_ref)
    }
}

/// A pod. Namespaces, labels and specs are shared between the pods that have them in common, so that a hundred thousand
/// pods of a hundred `ReplicaSets` take little more than their names.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Pod {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Box<str>,
    /// What tells it from others of its name; empty where the snapshot does not say.
    pub uid: Box<str>,
    /// Labels.
    pub labels: Arc<BTreeMap<String, String>>,
    /// What decides where it may run.
    pub spec: Arc<PodSpec>,
    /// The node that it is bound to.
    pub node: Option<Arc<str>>,
    /// Where it is in its life.
    pub phase: Phase,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// The `DaemonSet` that it belongs to.
    pub daemon_set: Option<Arc<str>>,
    /// The `Job` that it belongs to.
    pub job: Option<Arc<str>>,
    /// The first of its owners, as the path of an object: `/apis/apps/v1/namespaces/web/replicasets/front`.
    pub owner: Option<Arc<str>>,
    /// Whether it says that it is ready.
    pub ready: bool,
    /// Whether it is marked not to be disrupted.
    pub do_not_disrupt: bool,
    /// For how many seconds from its start it is marked not to be disrupted.
    pub protected_for: Option<u32>,
    /// Whether it is marked so with what is neither `true` nor a time, which says nothing.
    pub odd_mark: bool,
    /// When kubelet started it, or else when it was made.
    pub started: Option<Timestamp>,
    /// What it costs to delete it, compared with others of its workload: its annotation, or zero.
    pub deletion_cost: i32,
    /// The node that kube-scheduler holds room on for it.
    pub nominated: Option<Arc<str>>,
    /// Whether kube-scheduler has found no node for it, preemption tried.
    pub refused: bool,
    /// Whether kubelet itself runs it (a static pod's mirror).
    pub mirror: bool,
    /// Whether it is one of a workload's replicas.
    pub replicated: bool,
    /// The claims of devices that were made for it from templates.
    pub made_claims: Box<[MadeClaim]>,
}

/// Why a pod that has no node is none of the planner's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LeftOut {
    /// It has ended, or says that it runs without saying where.
    NotPending,
    /// It is being deleted.
    Terminating,
    /// It belongs to a `DaemonSet`, whose controller binds it.
    DaemonSet,
    /// A scheduling gate holds it back.
    Gated,
    /// Kubelet runs it by itself.
    Mirror,
    /// Another scheduler binds it.
    OtherScheduler,
}

impl Pod {
    /// `namespace/name`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Whether it takes room on the node it is bound to.
    pub fn is_bound(&self) -> bool {
        self.node.is_some() && !matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Whether it waits for a node, and if not although it has none, why.
    pub fn pending(&self) -> Option<Result<(), LeftOut>> {
        if self.node.is_some() {
            None
        } else if self.phase != Phase::Pending {
            Some(Err(LeftOut::NotPending))
        } else if self.terminating {
            Some(Err(LeftOut::Terminating))
        } else if self.daemon_set.is_some() {
            Some(Err(LeftOut::DaemonSet))
        } else if self.mirror {
            Some(Err(LeftOut::Mirror))
        } else if self.spec.scheduling_gates.0 > 0 {
            Some(Err(LeftOut::Gated))
        } else if self.spec.scheduler_name == well_known::FARGATE_SCHEDULER {
            // It gets a machine of its own, and no node of ours could take it.
            Some(Err(LeftOut::OtherScheduler))
        } else {
            Some(Ok(()))
        }
    }
}

/// The namespace of an object: `default` where it states none.
pub(crate) fn namespace_of(meta: &ObjectMeta) -> &str {
    meta.namespace.as_deref().filter(|n| !n.is_empty()).unwrap_or("default")
}
