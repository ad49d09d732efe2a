//! Reads snapshots: JSON or YAML, plain or gzipped, lists or single objects.
//!
//! ```text
//! bytes ─▶ inflate ─▶ text ─▶ documents ─▶ lists flattened ─▶ objects by kind ─▶ Snapshot
//! ```
//!
//! # Invariants
//! - Time and memory are proportional to the input: every list is flattened once, to a fixed depth, and every object
//!   has a size that etcd could have held.
//! - A malformed object is an error that names it; [`ReadOptions::skip_invalid`] collects such errors instead. What is
//!   no JSON or YAML at all is an error always, since nobody knows what was lost.

use std::borrow::Borrow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use stowage_api::{NodePool, NodeSettings, ObjectMeta, well_known};

use crate::document::{self, Envelope, JsonDocuments, message};
use crate::error::{ObjectError, Position, ReadError, Shown};
use crate::inflate::inflate;
use crate::kind::Kind;
use crate::object::{PodObject, PodSpec};
use crate::requests::pod_requests;
use crate::snapshot::{Pod, Snapshot, namespace_of};
use crate::yaml;

/// Lists within lists are flattened this deep; `kubectl` writes one level.
const MAX_LIST_DEPTH: usize = 4;

/// The largest object that is read, in bytes. etcd takes 1.5 MiB for a request, and indented JSON is some three times
/// the size of what is stored.
const MAX_OBJECT: usize = 8 << 20;

/// A file or stream, its bytes read by the caller.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its name, for messages.
    pub name: &'a str,
    /// What is in it.
    pub bytes: &'a [u8],
}

/// How to read.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// Leave malformed objects out, and collect what is wrong with them in [`Snapshot::invalid`].
    pub skip_invalid: bool,
    /// The most that a gzipped source may unpack to, in bytes. Plain sources have no limit: their size is no surprise.
    pub max_unpacked: u64,
}

impl Default for ReadOptions {
    fn default() -> Self {
        // A hundred thousand pods with every field that the API server keeps are about 1 GiB.
        Self { skip_invalid: false, max_unpacked: 2 << 30 }
    }
}

/// Reads one snapshot from one or several sources.
///
/// ```
/// use stowage_cluster::{ReadOptions, Source, read};
///
/// let bytes = br#"{"kind": "PodList", "items": [{"metadata": {"name": "web-0"}}]}"#;
/// let snapshot = read(&[Source { name: "pods.json", bytes }], &ReadOptions::default())?;
/// assert_eq!(snapshot.pods[0].key(), "default/web-0");
/// # Ok::<(), stowage_cluster::ReadError>(())
/// ```
///
/// # Errors
/// The first thing that cannot be read. An empty list is a valid snapshot; a source with nothing in it is not.
pub fn read(sources: &[Source<'_>], options: &ReadOptions) -> Result<Snapshot, ReadError> {
    let mut reader = Reader::new(options);
    for source in sources {
        reader.source(*source)?;
    }
    Ok(reader.snapshot)
}

struct Reader<'o> {
    options: &'o ReadOptions,
    snapshot: Snapshot,
    /// Where each object was first seen.
    seen: HashMap<(Kind, Arc<str>, Box<str>), Position>,
    strings: Interned<str>,
    labels: Interned<BTreeMap<String, String>>,
    specs: Interned<PodSpec>,
}

/// One of each, shared.
struct Interned<T: ?Sized>(HashSet<Arc<T>>);

impl<T: ?Sized + Hash + Eq> Interned<T> {
    fn get<O: Borrow<T> + Into<Arc<T>>>(&mut self, value: O) -> (Arc<T>, bool) {
        if let Some(known) = self.0.get(value.borrow()) {
            return (Arc::clone(known), false);
        }
        let new: Arc<T> = value.into();
        self.0.insert(Arc::clone(&new));
        (new, true)
    }
}

/// A problem with an object, not yet knowing where that stands.
struct Fault {
    field: String,
    problem: String,
}

impl Fault {
    fn new(field: &str, problem: impl Into<String>) -> Self {
        Self { field: field.to_owned(), problem: problem.into() }
    }
}

impl<'o> Reader<'o> {
    fn new(options: &'o ReadOptions) -> Self {
        Self {
            options,
            snapshot: Snapshot::default(),
            seen: HashMap::new(),
            strings: Interned(HashSet::new()),
            labels: Interned(HashSet::new()),
            specs: Interned(HashSet::new()),
        }
    }

    fn source(&mut self, source: Source<'_>) -> Result<(), ReadError> {
        let bytes = inflate(source.name, source.bytes, self.options.max_unpacked)?;
        let text = document::text(source.name, &bytes)?;
        let name: Arc<str> = source.name.into();
        let position = |document| Position { source: Arc::clone(&name), document, items: Vec::new() };
        if document::is_json(text) {
            let mut documents = JsonDocuments::new(source.name, text);
            let mut next = documents.next()?;
            let mut count = 0;
            while let Some(raw) = next {
                next = documents.next()?;
                let alone = count == 0 && next.is_none();
                self.object(raw, None, &position((!alone).then_some(count)))?;
                count += 1;
            }
            return Ok(());
        }
        let documents = yaml::documents(source.name, text)?;
        if documents.is_empty() {
            return Err(ReadError::Empty { origin: source.name.to_owned() });
        }
        for (count, raw) in documents.iter().enumerate() {
            self.object(raw, None, &position((documents.len() > 1).then_some(count)))?;
        }
        Ok(())
    }

    /// Reads one object, or the objects of a list. `list` is what the kind and version of the list around it say of
    /// its items.
    fn object(
        &mut self,
        raw: &str,
        list: Option<(&str, &str)>,
        position: &Position,
    ) -> Result<(), ReadError> {
        if !raw.starts_with('{') {
            let is = match raw.as_bytes().first() {
                Some(b'n') => "null",
                Some(b'[') => "an array",
                Some(b'"') => "a string",
                Some(b't' | b'f') => "true or false",
                _ => "a number",
            };
            let problem =
                format!("this is {is}, not a Kubernetes object: an object begins with {{ and has a kind");
            return self.fault(raw, "", position, Fault::new("", problem));
        }
        let envelope = Envelope::of(raw);
        if envelope.is_list() {
            return self.list(&envelope, raw, position);
        }
        let (list_kind, list_version) = list.unwrap_or_default();
        let name = envelope.kind.as_deref().filter(|k| !k.is_empty()).unwrap_or(list_kind);
        if name.is_empty() {
            let problem = "missing, or no text: every object says what it is, as in \"kind\": \"Pod\"";
            return self.fault(raw, "", position, Fault::new("kind", problem));
        }
        let version = envelope.api_version.as_deref().unwrap_or(list_version);
        let Some(kind) = Kind::of(name, version) else {
            *self.snapshot.ignored.entry(Shown(name).to_string()).or_insert(0) += 1;
            return Ok(());
        };
        if raw.len() > MAX_OBJECT {
            let problem = format!(
                "the object is {} MiB of JSON, and Kubernetes itself holds none above 1.5 MiB: at most {} MiB are read",
                raw.len() >> 20,
                MAX_OBJECT >> 20
            );
            return self.fault(raw, kind.name(), position, Fault::new("", problem));
        }
        self.typed(kind, raw, position).or_else(|fault| self.fault(raw, kind.name(), position, fault))
    }

    fn list(&mut self, envelope: &Envelope<'_>, raw: &str, position: &Position) -> Result<(), ReadError> {
        let kind = envelope.kind.as_deref().unwrap_or_default();
        if envelope.odd_items {
            return self.fault(raw, kind, position, Fault::new("items", "not a list"));
        }
        if position.items.len() >= MAX_LIST_DEPTH {
            let problem = format!("lists within lists, more than {MAX_LIST_DEPTH} deep");
            return self.fault(raw, kind, position, Fault::new("items", problem));
        }
        let of = (
            kind.strip_suffix("List").unwrap_or_default(),
            envelope.api_version.as_deref().unwrap_or_default(),
        );
        let mut position = position.clone();
        for (at, item) in envelope.items.iter().flatten().map(|item: &&RawValue| item.get()).enumerate() {
            position.items.push(at);
            self.object(item, (!of.0.is_empty()).then_some(of), &position)?;
            position.items.pop();
        }
        Ok(())
    }

    fn typed(&mut self, kind: Kind, raw: &str, position: &Position) -> Result<(), Fault> {
        match kind {
            Kind::Pod => {
                let pod = parse::<PodObject>(raw)?;
                self.admit(kind, &pod.metadata, position)?;
                let pod = self.pod(pod)?;
                self.snapshot.pods.push(pod);
            }
            Kind::Node => self.keep(kind, raw, position, |s| &mut s.nodes, |o| &o.metadata)?,
            Kind::PersistentVolumeClaim => {
                self.keep(kind, raw, position, |s| &mut s.claims, |o| &o.metadata)?;
            }
            Kind::PersistentVolume => self.keep(kind, raw, position, |s| &mut s.volumes, |o| &o.metadata)?,
            Kind::StorageClass => {
                self.keep(kind, raw, position, |s| &mut s.storage_classes, |o| &o.metadata)?;
            }
            Kind::CsiNode => self.keep(kind, raw, position, |s| &mut s.csi_nodes, |o| &o.metadata)?,
            Kind::DaemonSet => {
                let mut daemon: crate::object::DaemonSet = parse(raw)?;
                check_requests(&daemon.spec.template.spec, "spec.template.spec.containers")?;
                self.admit(kind, &daemon.metadata, position)?;
                daemon.spec.template.spec.node_name = String::new();
                self.snapshot.daemon_sets.push(daemon);
            }
            Kind::Namespace => self.keep(kind, raw, position, |s| &mut s.namespaces, |o| &o.metadata)?,
            Kind::PriorityClass => {
                self.keep(kind, raw, position, |s| &mut s.priority_classes, |o| &o.metadata)?;
            }
            Kind::RuntimeClass => {
                let class: crate::object::RuntimeClass = parse(raw)?;
                let overhead = crate::object::PodSpec {
                    overhead: class.overhead.pod_fixed.clone(),
                    ..crate::object::PodSpec::default()
                };
                check_requests(&overhead, "overhead.podFixed")?;
                self.admit(kind, &class.metadata, position)?;
                self.snapshot.runtime_classes.push(class);
            }
            Kind::NodePool => {
                let pool: NodePool = parse(raw)?;
                // Read again when lowered; here the error can still say where it stands.
                NodeSettings::of(&pool.metadata.annotations)
                    .map_err(|e| Fault::new(&format!("metadata.annotations[{}]", e.key), e.problem))?;
                self.admit(kind, &pool.metadata, position)?;
                self.snapshot.node_pools.push(pool);
            }
            Kind::NodeClaim => self.keep(kind, raw, position, |s| &mut s.node_claims, |o| &o.metadata)?,
            Kind::Ec2NodeClass => self.keep(kind, raw, position, |s| &mut s.node_classes, |o| &o.metadata)?,
            Kind::FargateProfile => {
                self.keep(kind, raw, position, |s| &mut s.fargate_profiles, |o| &o.metadata)?;
            }
            Kind::Job => self.keep(kind, raw, position, |s| &mut s.jobs, |o| &o.metadata)?,
            Kind::Service => self.keep(kind, raw, position, |s| &mut s.services, |o| &o.metadata)?,
            Kind::NodeOverlay => self.keep(kind, raw, position, |s| &mut s.node_overlays, |o| &o.metadata)?,
            Kind::ResourceClaim => {
                self.keep(kind, raw, position, |s| &mut s.resource_claims, |o| &o.metadata)?;
            }
            Kind::ResourceClaimTemplate => {
                self.keep(kind, raw, position, |s| &mut s.resource_claim_templates, |o| &o.metadata)?;
            }
            Kind::DeviceClass => {
                self.keep(kind, raw, position, |s| &mut s.device_classes, |o| &o.metadata)?;
            }
            Kind::ResourceSlice => {
                self.keep(kind, raw, position, |s| &mut s.resource_slices, |o| &o.metadata)?;
            }
        }
        Ok(())
    }

    fn keep<T: DeserializeOwned>(
        &mut self,
        kind: Kind,
        raw: &str,
        position: &Position,
        into: impl Fn(&mut Snapshot) -> &mut Vec<T>,
        meta: impl Fn(&T) -> &ObjectMeta,
    ) -> Result<(), Fault> {
        let object: T = parse(raw)?;
        self.admit(kind, meta(&object), position)?;
        into(&mut self.snapshot).push(object);
        Ok(())
    }

    /// Checks the name of an object, and that it is the first of that name.
    fn admit(&mut self, kind: Kind, meta: &ObjectMeta, position: &Position) -> Result<(), Fault> {
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
        let namespace = self.strings.get(namespace).0;
        match self.seen.entry((kind, namespace, meta.name.as_str().into())) {
            Entry::Occupied(first) => {
                let problem = format!(
                    "there is already a {kind} of this name at {}: remove one of the two",
                    first.get(),
                    kind = kind.name()
                );
                Err(Fault::new("metadata.name", problem))
            }
            Entry::Vacant(free) => {
                free.insert(position.clone());
                Ok(())
            }
        }
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
        let do_not_disrupt =
            metadata.annotations.get(well_known::DO_NOT_DISRUPT).is_some_and(|v| v == "true");
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
        let made_claims = status.made_claims.into_boxed_slice();
        Ok(Pod {
            namespace,
            name,
            labels,
            spec,
            node,
            phase: status.phase,
            terminating,
            daemon_set,
            job,
            do_not_disrupt,
            nominated,
            refused,
            mirror,
            replicated,
            made_claims,
        })
    }

    fn fault(&mut self, raw: &str, kind: &str, position: &Position, fault: Fault) -> Result<(), ReadError> {
        let object = match (named(raw), kind) {
            (_, "") => None,
            (None, kind) => Some(kind.to_owned()),
            (Some(name), kind) => Some(format!("{kind} {name}")),
        };
        let error =
            ObjectError { position: position.clone(), object, field: fault.field, problem: fault.problem };
        if !self.options.skip_invalid {
            return Err(ReadError::Object(Box::new(error)));
        }
        self.snapshot.invalid.push(error);
        Ok(())
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

/// `namespace/name` of an object that may be malformed, as far as can be told.
fn named(raw: &str) -> Option<String> {
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
    Some(match meta.namespace {
        Some(namespace) => format!("{namespace}/{}", meta.name),
        None => meta.name,
    })
}
