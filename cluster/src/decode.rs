//! One object: from its JSON to what is kept of it.
//!
//! # Invariants
//! - A malformed object is a [`Fault`] that names the field. Nothing of it is kept.
//! - What pods have in common is kept once: namespaces, names of nodes, labels and specs.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;
use std::ops::Deref;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use stowage_api::{
    Ec2NodeClass, NodeClaim, NodeOverlay, NodePool, NodeSettings, ObjectMeta, duration, well_known,
};

use crate::document::message;
use crate::error::{ObjectError, Position};
use crate::kind::Kind;
use crate::object::{
    CsiNode, DaemonSet, DeviceClass, FargateProfile, Job, Namespace, Node, PersistentVolume,
    PersistentVolumeClaim, PodDisruptionBudget, PodObject, PodSpec, PriorityClass, ResourceClaim,
    ResourceClaimTemplate, ResourceSlice, RuntimeClass, Service, StorageClass, VolumeAttachment,
};
use crate::requests::pod_requests;
use crate::snapshot::{Pod, Snapshot, namespace_of};

/// The largest object that is read, in bytes. etcd takes 1.5 MiB for a request, and indented JSON is some three times
/// the size of what is stored.
const MAX_OBJECT: usize = 8 << 20;

/// An object of a kind that is read.
#[derive(Debug)]
pub(crate) enum Object {
    Pod(Arc<Pod>),
    Node(Arc<Node>),
    PersistentVolumeClaim(Box<PersistentVolumeClaim>),
    PersistentVolume(Box<PersistentVolume>),
    StorageClass(Box<StorageClass>),
    CsiNode(Box<CsiNode>),
    DaemonSet(Box<DaemonSet>),
    Namespace(Box<Namespace>),
    PriorityClass(Box<PriorityClass>),
    RuntimeClass(Box<RuntimeClass>),
    NodePool(Box<NodePool>),
    NodeClaim(Arc<NodeClaim>),
    Ec2NodeClass(Box<Ec2NodeClass>),
    ResourceClaim(Box<ResourceClaim>),
    ResourceClaimTemplate(Box<ResourceClaimTemplate>),
    DeviceClass(Box<DeviceClass>),
    ResourceSlice(Box<ResourceSlice>),
    FargateProfile(Box<FargateProfile>),
    Job(Box<Job>),
    NodeOverlay(Box<NodeOverlay>),
    Service(Box<Service>),
    VolumeAttachment(Box<VolumeAttachment>),
    PodDisruptionBudget(Box<PodDisruptionBudget>),
}

impl Object {
    /// Puts it at the end of its kind's list. Pods, nodes and their claims are shared, others copied: there are few.
    pub(crate) fn add_to(&self, snapshot: &mut Snapshot) {
        match self {
            Self::Pod(o) => snapshot.pods.push(Arc::clone(o)),
            Self::Node(o) => snapshot.nodes.push(Arc::clone(o)),
            Self::NodeClaim(o) => snapshot.node_claims.push(Arc::clone(o)),
            Self::PersistentVolumeClaim(o) => snapshot.claims.push(o.as_ref().clone()),
            Self::PersistentVolume(o) => snapshot.volumes.push(o.as_ref().clone()),
            Self::StorageClass(o) => snapshot.storage_classes.push(o.as_ref().clone()),
            Self::CsiNode(o) => snapshot.csi_nodes.push(o.as_ref().clone()),
            Self::DaemonSet(o) => snapshot.daemon_sets.push(o.as_ref().clone()),
            Self::Namespace(o) => snapshot.namespaces.push(o.as_ref().clone()),
            Self::PriorityClass(o) => snapshot.priority_classes.push(o.as_ref().clone()),
            Self::RuntimeClass(o) => snapshot.runtime_classes.push(o.as_ref().clone()),
            Self::NodePool(o) => snapshot.node_pools.push(o.as_ref().clone()),
            Self::Ec2NodeClass(o) => snapshot.node_classes.push(o.as_ref().clone()),
            Self::ResourceClaim(o) => snapshot.resource_claims.push(o.as_ref().clone()),
            Self::ResourceClaimTemplate(o) => snapshot.resource_claim_templates.push(o.as_ref().clone()),
            Self::DeviceClass(o) => snapshot.device_classes.push(o.as_ref().clone()),
            Self::ResourceSlice(o) => snapshot.resource_slices.push(o.as_ref().clone()),
            Self::FargateProfile(o) => snapshot.fargate_profiles.push(o.as_ref().clone()),
            Self::Job(o) => snapshot.jobs.push(o.as_ref().clone()),
            Self::NodeOverlay(o) => snapshot.node_overlays.push(o.as_ref().clone()),
            Self::Service(o) => snapshot.services.push(o.as_ref().clone()),
            Self::VolumeAttachment(o) => snapshot.attachments.push(o.as_ref().clone()),
            Self::PodDisruptionBudget(o) => snapshot.disruption_budgets.push(o.as_ref().clone()),
        }
    }
}

/// An object and what it is called.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// Its namespace; empty for kinds of the whole cluster.
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Box<str>,
    pub(crate) object: Object,
}

/// Turns JSON into objects.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    strings: Interned<str>,
    labels: Interned<BTreeMap<String, String>>,
    specs: Interned<PodSpec>,
}

/// One of each, shared.
#[derive(Debug)]
struct Interned<T: ?Sized>(HashSet<Arc<T>>);

impl<T: ?Sized> Default for Interned<T> {
    fn default() -> Self {
        Self(HashSet::new())
    }
}

impl<T: ?Sized + Hash + Eq> Interned<T> {
    fn get<O: Borrow<T> + Into<Arc<T>>>(&mut self, value: O) -> (Arc<T>, bool) {
        if let Some(known) = self.0.get(value.borrow()) {
            return (Arc::clone(known), false);
        }
        let new: Arc<T> = value.into();
        self.0.insert(Arc::clone(&new));
        (new, true)
    }

    fn sweep(&mut self) {
        self.0.retain(|shared| Arc::strong_count(shared) > 1);
    }
}

/// A problem with an object, not yet knowing where that stands.
#[derive(Debug)]
pub(crate) struct Fault {
    field: String,
    problem: String,
}

impl Fault {
    pub(crate) fn new(field: &str, problem: impl Into<String>) -> Self {
        Self { field: field.to_owned(), problem: problem.into() }
    }

    /// The same, with where it stands and what can be made out of the object's name.
    pub(crate) fn at(self, raw: &str, kind: &str, position: &Position) -> ObjectError {
        let object = match (named(raw), kind) {
            (_, "") => None,
            (None, kind) => Some(kind.to_owned()),
            (Some((Some(namespace), name)), kind) => Some(format!("{kind} {namespace}/{name}")),
            (Some((None, name)), kind) => Some(format!("{kind} {name}")),
        };
        let node = if kind == Kind::Pod.name() { node_of(raw) } else { None };
        ObjectError { position: position.clone(), object, field: self.field, problem: self.problem, node }
    }
}

impl Decoder {
    /// Reads an object of this kind.
    pub(crate) fn decode(&mut self, kind: Kind, raw: &str) -> Result<Decoded, Fault> {
        if raw.len() > MAX_OBJECT {
            let problem = format!(
                "the object is {} MiB of JSON, and Kubernetes itself holds none above 1.5 MiB: at most {} MiB are read",
                raw.len() >> 20,
                MAX_OBJECT >> 20
            );
            return Err(Fault::new("", problem));
        }
        Ok(match kind {
            Kind::Pod => {
                let pod = parse::<PodObject>(raw)?;
                let (namespace, name) = self.named(kind, &pod.metadata)?;
                Decoded { namespace, name, object: Object::Pod(Arc::new(self.pod(pod)?)) }
            }
            Kind::DaemonSet => {
                let mut daemon: DaemonSet = parse(raw)?;
                check_requests(&daemon.spec.template.spec, "spec.template.spec.containers")?;
                let (namespace, name) = self.named(kind, &daemon.metadata)?;
                daemon.spec.template.spec.node_name = String::new();
                Decoded { namespace, name, object: Object::DaemonSet(Box::new(daemon)) }
            }
            Kind::RuntimeClass => {
                let class: RuntimeClass = parse(raw)?;
                let overhead = PodSpec { overhead: class.overhead.pod_fixed.clone(), ..PodSpec::default() };
                check_requests(&overhead, "overhead.podFixed")?;
                let (namespace, name) = self.named(kind, &class.metadata)?;
                Decoded { namespace, name, object: Object::RuntimeClass(Box::new(class)) }
            }
            Kind::NodePool => {
                let pool: NodePool = parse(raw)?;
                // Read again when lowered; here the error can still say where it stands.
                NodeSettings::of(&pool.metadata.annotations)
                    .map_err(|e| Fault::new(&format!("metadata.annotations[{}]", e.key), e.problem))?;
                let (namespace, name) = self.named(kind, &pool.metadata)?;
                Decoded { namespace, name, object: Object::NodePool(Box::new(pool)) }
            }
            Kind::Node => self.plain(kind, raw, |o| &o.metadata, Object::Node)?,
            Kind::PersistentVolumeClaim => {
                self.plain(kind, raw, |o| &o.metadata, Object::PersistentVolumeClaim)?
            }
            Kind::PersistentVolume => self.plain(kind, raw, |o| &o.metadata, Object::PersistentVolume)?,
            Kind::StorageClass => self.plain(kind, raw, |o| &o.metadata, Object::StorageClass)?,
            Kind::CsiNode => self.plain(kind, raw, |o| &o.metadata, Object::CsiNode)?,
            Kind::Namespace => self.plain(kind, raw, |o| &o.metadata, Object::Namespace)?,
            Kind::PriorityClass => self.plain(kind, raw, |o| &o.metadata, Object::PriorityClass)?,
            Kind::NodeClaim => self.plain(kind, raw, |o| &o.metadata, Object::NodeClaim)?,
            Kind::Ec2NodeClass => self.plain(kind, raw, |o| &o.metadata, Object::Ec2NodeClass)?,
            Kind::ResourceClaim => self.plain(kind, raw, |o| &o.metadata, Object::ResourceClaim)?,
            Kind::ResourceClaimTemplate => {
                self.plain(kind, raw, |o| &o.metadata, Object::ResourceClaimTemplate)?
            }
            Kind::DeviceClass => self.plain(kind, raw, |o| &o.metadata, Object::DeviceClass)?,
            Kind::ResourceSlice => self.plain(kind, raw, |o| &o.metadata, Object::ResourceSlice)?,
            Kind::FargateProfile => self.plain(kind, raw, |o| &o.metadata, Object::FargateProfile)?,
            Kind::Job => self.plain(kind, raw, |o| &o.metadata, Object::Job)?,
            Kind::NodeOverlay => self.plain(kind, raw, |o| &o.metadata, Object::NodeOverlay)?,
            Kind::Service => self.plain(kind, raw, |o| &o.metadata, Object::Service)?,
            Kind::VolumeAttachment => self.plain(kind, raw, |o| &o.metadata, Object::VolumeAttachment)?,
            Kind::PodDisruptionBudget => {
                self.plain(kind, raw, |o| &o.metadata, Object::PodDisruptionBudget)?
            }
        })
    }

    /// An object that is kept as it is read.
    fn plain<P>(
        &mut self,
        kind: Kind,
        raw: &str,
        meta: impl Fn(&P::Target) -> &ObjectMeta,
        wrap: impl Fn(P) -> Object,
    ) -> Result<Decoded, Fault>
    where
        P: Deref + From<P::Target>,
        P::Target: DeserializeOwned + Sized,
    {
        let object: P::Target = parse(raw)?;
        let (namespace, name) = self.named(kind, meta(&object))?;
        Ok(Decoded { namespace, name, object: wrap(object.into()) })
    }

    /// Namespace and name of an object, checked.
    fn named(&mut self, kind: Kind, meta: &ObjectMeta) -> Result<(Arc<str>, Box<str>), Fault> {
        let namespace = if kind.is_namespaced() { namespace_of(meta) } else { "" };
        if meta.name.is_empty() {
            return Err(Fault::new("metadata.name", "missing: an object that a cluster holds has a name"));
        }
        for (field, name) in [("metadata.name", meta.name.as_str()), ("metadata.namespace", namespace)] {
            // 253 bytes is Kubernetes' own limit; a slash would make `namespace/name` ambiguous.
            if name.len() > 253 || name.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control()) {
                let problem = "not a name: at most 253 characters, no slashes or spaces";
                return Err(Fault::new(field, problem));
            }
        }
        Ok((self.strings.get(namespace).0, meta.name.as_str().into()))
    }

    fn pod(&mut self, pod: PodObject) -> Result<Pod, Fault> {
        let PodObject { metadata, mut spec, status } = pod;
        let namespace = self.strings.get(namespace_of(&metadata)).0;
        let node = std::mem::take(&mut spec.node_name);
        let node = (!node.is_empty()).then(|| self.strings.get(node.as_str()).0);
        let owner = metadata.owner_references.iter().find(|o| o.kind == "DaemonSet");
        let daemon_set = owner.map(|o| self.strings.get(o.name.as_str()).0);
        let owned_by = |kinds: &[&str]| metadata.owner_references.iter().any(|o| kinds.contains(&&*o.kind));
        let job = metadata.owner_references.iter().find(|o| o.kind == "Job");
        let job = job.map(|o| self.strings.get(o.name.as_str()).0);
        let owner = metadata.owner_references.first().map(|owner| {
            let kind = owner.kind.to_ascii_lowercase();
            let path = format!("/apis/{}/namespaces/{namespace}/{kind}s/{}", owner.api_version, owner.name);
            self.strings.get(path.as_str()).0
        });
        let holds = |kind: &str| status.conditions.iter().any(|c| c.kind == kind && c.status == "True");
        let ready = holds("Ready");
        let mark = metadata.annotations.get(well_known::DO_NOT_DISRUPT);
        let do_not_disrupt = mark.is_some_and(|v| v == "true");
        let protected_for = mark.and_then(|v| duration(v)).map(|d| d.as_secs()).filter(|s| *s > 0);
        let protected_for = protected_for.map(|s| u32::try_from(s).unwrap_or(u32::MAX));
        let odd_mark = mark.is_some_and(|v| v != "true") && protected_for.is_none();
        let started = status.start_time.as_ref().or(metadata.creation_timestamp.as_ref());
        let started = started.and_then(|moment| moment.parse().ok());
        let deletion_cost = metadata.annotations.get(well_known::POD_DELETION_COST);
        let deletion_cost = deletion_cost.and_then(|cost| cost.parse().ok()).unwrap_or(0);
        let mirror = owned_by(&["Node"]);
        let replicated = owned_by(&["ReplicaSet", "StatefulSet", "ReplicationController"]);
        let nominated = Some(status.nominated).filter(|n| !n.is_empty());
        let refused = nominated.is_none()
            && status
                .conditions
                .iter()
                .any(|c| c.kind == "PodScheduled" && c.status == "False" && c.reason == "Unschedulable");
        let nominated = nominated.map(|n| self.strings.get(n.as_str()).0);
        let terminating = metadata.is_terminating();
        let labels = self.labels.get(metadata.labels).0;
        let (spec, new) = self.specs.get(spec);
        if new && let Err(fault) = check_requests(&spec, "spec.containers") {
            self.specs.0.remove(&spec);
            return Err(fault);
        }
        let name = metadata.name.into_boxed_str();
        let uid = metadata.uid.into_boxed_str();
        let made_claims = status.made_claims.into_boxed_slice();
        Ok(Pod {
            namespace,
            name,
            uid,
            labels,
            spec,
            node,
            phase: status.phase,
            terminating,
            daemon_set,
            job,
            owner,
            ready,
            do_not_disrupt,
            protected_for,
            odd_mark,
            started,
            deletion_cost,
            nominated,
            refused,
            mirror,
            replicated,
            made_claims,
        })
    }

    /// Forgets what no object shares any more; takes time in proportion to what is kept.
    pub(crate) fn sweep(&mut self) {
        self.strings.sweep();
        self.labels.sweep();
        self.specs.sweep();
    }
}

/// Whether the sums of what the containers ask for can be counted. A spec that cannot is never kept.
fn check_requests(spec: &PodSpec, field: &str) -> Result<(), Fault> {
    pod_requests(spec).map(drop).map_err(|absurd| {
        Fault::new(field, format!("all containers together ask for more than 8Pi of {}", absurd.resource))
    })
}

/// Parses an object; where that fails, once more and slower, to learn in which field.
fn parse<T: DeserializeOwned>(raw: &str) -> Result<T, Fault> {
    serde_json::from_str(raw).map_err(|first| {
        let mut again = serde_json::Deserializer::from_str(raw);
        match serde_path_to_error::deserialize::<_, T>(&mut again) {
            Ok(_) => Fault::new("", message(&first)),
            Err(error) => {
                let field = error.path().to_string();
                let field = if field == "." { String::new() } else { field };
                Fault { field, problem: with_remedy(message(error.inner())) }
            }
        }
    })
}

/// Serde's words, with what to do where that is known.
fn with_remedy(problem: String) -> String {
    let scalar =
        ["type: integer", "type: floating point", "type: boolean"].iter().any(|t| problem.contains(t));
    if scalar && problem.ends_with("expected a string") {
        format!("{problem}: put it in quotes")
    } else {
        problem
    }
}

/// Namespace and name of an object that may be malformed, as far as can be told.
pub(crate) fn named(raw: &str) -> Option<(Option<String>, String)> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        metadata: &'a RawValue,
    }
    #[derive(Deserialize)]
    struct Meta {
        name: String,
        namespace: Option<String>,
    }
    let object: Named<'_> = serde_json::from_str(raw).ok()?;
    let meta: Meta = serde_json::from_str(object.metadata.get()).ok()?;
    Some((meta.namespace, meta.name))
}

/// The node that a malformed pod runs on, as far as can be told.
fn node_of(raw: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Bound<'a> {
        #[serde(borrow)]
        spec: &'a RawValue,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Spec {
        node_name: String,
    }
    let pod: Bound<'_> = serde_json::from_str(raw).ok()?;
    let spec: Spec = serde_json::from_str(pod.spec.get()).ok()?;
    Some(spec.node_name).filter(|name| !name.is_empty())
}
