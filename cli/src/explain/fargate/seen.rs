//! What a snapshot holds about Fargate that planning does not read: policies, what pods of `Jobs` are made from, which pods are
//! of one workload, and what a controller has recorded.
//!
//! The sources are gone through again for it, once for what pods are understood by and once for the pods, and only where there
//! is anything of the kind.
//!
//! # Invariants
//! - What is damaged is left out and told of, whatever stands in it; a policy keeps its pods on nodes as it does in a cluster.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use stowage_cluster::{Raw, ReadOptions, Snapshot, Source, visit};
use stowage_fargate::{
    Cache, Document, FARGATE_SCHEDULER, Fleet, Jobs, Labels, Policies, PolicyError, PolicyId, Sighting,
    VERDICTS_KEY, VERDICTS_LABEL, is_fargate_node,
};

use crate::failure::Failure;

/// Kinds of objects that are seen here, and that planning counts as such that it does not read.
const KINDS: [&str; 3] = ["FargatePolicy", "ClusterFargatePolicy", "ConfigMap"];
/// The group of our own kinds.
const GROUP: &str = "stowage.dev";
/// So many warnings are told.
const WARNINGS: usize = 20;

/// What was seen.
#[derive(Default)]
pub(in crate::explain) struct Seen {
    /// The pod that is asked about, as `namespace/name`.
    key: String,
    /// Policies by kind, namespace and name: whether one is of a namespace, and its JSON.
    policies: BTreeMap<(bool, String), String>,
    documents: Vec<Document>,
    /// The namespace of Stowage; empty where nothing tells.
    own: String,
    pub(super) jobs: Jobs,
    pub(super) fleet: Fleet,
    /// The pod that is asked about.
    pub(super) pod: Option<Sighting>,
    pub(super) warnings: Vec<String>,
}

/// `namespace/name` of an object.
fn key(of: &Value) -> String {
    let word = |pointer: &str| of.pointer(pointer).and_then(Value::as_str).filter(|word| !word.is_empty());
    let (namespace, name) = (word("/metadata/namespace"), word("/metadata/name"));
    format!("{}/{}", namespace.unwrap_or("default"), name.unwrap_or_default())
}

/// Objects that were written by hand have no uid: what they are called tells them apart as well.
fn identify(of: &mut Value, uid: &str) {
    if let Some(meta) = of.get_mut("metadata").and_then(Value::as_object_mut)
        && meta.get("uid").and_then(Value::as_str).is_none_or(str::is_empty)
    {
        meta.insert("uid".to_owned(), json!(uid));
    }
}

/// The same for the `Jobs` that pods say they are of.
fn identify_owners(pod: &mut Value, namespace: &str) {
    let owners = pod.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut);
    for owner in owners.into_iter().flatten().filter(|owner| owner["kind"] == "Job") {
        let named = owner.get("uid").and_then(Value::as_str).is_some_and(|uid| !uid.is_empty());
        let name = owner.get("name").and_then(Value::as_str).map(|name| json!(format!("{namespace}/{name}")));
        if let Some((owner, name)) = owner.as_object_mut().zip(name).filter(|_| !named) {
            owner.insert("uid".to_owned(), name);
        }
    }
}

impl Seen {
    /// For an explanation of this pod.
    pub(in crate::explain) fn new(key: &str) -> Self {
        Self { key: key.to_owned(), ..Self::default() }
    }

    /// Goes through the sources of a snapshot.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub(in crate::explain) fn read(
        &mut self,
        sources: &[Source<'_>],
        options: &ReadOptions,
        snapshot: &Snapshot,
    ) -> Result<(), Failure> {
        let machines: BTreeSet<&str> = snapshot
            .nodes()
            .filter(|node| is_fargate_node(&node.metadata.labels))
            .map(|node| node.metadata.name.as_str())
            .collect();
        let asked = self.key.clone();
        let (namespace, name) = asked.split_once('/').unwrap_or_default();
        let asked = snapshot.pods().find(|pod| &*pod.namespace == namespace && &*pod.name == name);
        let on_fargate = asked.is_some_and(|pod| {
            let by_node = pod.node.as_deref().is_some_and(|node| machines.contains(node));
            by_node || pod.spec.scheduler_name == FARGATE_SCHEDULER
        });
        if !on_fargate && !KINDS.iter().any(|kind| snapshot.ignored.contains_key(*kind)) {
            return Ok(());
        }
        visit(sources, options, &mut |raw| self.object(raw)).map_err(Failure::new)?;
        if !on_fargate && self.is_empty() {
            return Ok(());
        }
        visit(sources, options, &mut |raw| self.take_pod(raw, name)).map_err(Failure::new)
    }

    /// Whether there is nothing about Fargate but perhaps the pod.
    fn is_empty(&self) -> bool {
        self.policies.is_empty() && self.documents.is_empty() && self.warnings.is_empty()
    }

    /// Whether there is anything to tell.
    pub(super) fn is_worth_telling(&self) -> bool {
        !self.is_empty() || self.pod.as_ref().is_some_and(|pod| pod.on_fargate)
    }

    fn warn(&mut self, warning: String) {
        if self.warnings.len() < WARNINGS {
            self.warnings.push(warning);
        }
    }

    /// What pods are understood by.
    fn object(&mut self, raw: Raw<'_>) {
        let of_namespace = raw.is("FargatePolicy", GROUP);
        if of_namespace || raw.is("ClusterFargatePolicy", GROUP) {
            self.policy(raw, of_namespace);
        } else if raw.is("ConfigMap", "") && raw.json.contains(VERDICTS_LABEL.0) {
            self.config_map(raw);
        } else if raw.is("Job", "batch")
            && let Ok(mut job) = serde_json::from_str::<Value>(raw.json)
        {
            let uid = key(&job);
            identify(&mut job, &uid);
            self.jobs.apply(&job);
        }
    }

    fn policy(&mut self, raw: Raw<'_>, of_namespace: bool) {
        let Ok(object) = serde_json::from_str::<Value>(raw.json) else {
            return self.warn(format!("{}: {}: it nests too deep to be read", raw.position, raw.kind));
        };
        let (namespace, name) = (key(&object), object.pointer("/metadata/name").and_then(Value::as_str));
        if name.is_none_or(str::is_empty) {
            return self.warn(format!(
                "{}: {}: metadata.name: missing, so it rules nothing: name it",
                raw.position, raw.kind
            ));
        }
        // One that is on its way out rules no longer.
        if object.pointer("/metadata/deletionTimestamp").is_some_and(Value::is_string) {
            return;
        }
        let word = if of_namespace { namespace } else { name.unwrap_or_default().to_owned() };
        if self.policies.contains_key(&(of_namespace, word.clone())) {
            return self.warn(format!(
                "{}: {} {word}: metadata.name: there is already one of this name, which counts: remove one of the two",
                raw.position, raw.kind
            ));
        }
        self.policies.insert((of_namespace, word), raw.json.to_owned());
    }

    fn config_map(&mut self, raw: Raw<'_>) {
        let Ok(map) = serde_json::from_str::<Value>(raw.json) else { return };
        let (label, value) = VERDICTS_LABEL;
        let labelled = map.pointer("/metadata/labels").and_then(|all| all.get(label));
        if labelled.and_then(Value::as_str) != Some(value) {
            return;
        }
        let name = key(&map);
        let about = format!("{}: ConfigMap {name}: data.{VERDICTS_KEY}", raw.position);
        let document = map.get("data").and_then(|data| data.get(VERDICTS_KEY)).and_then(Value::as_str);
        let Some(document) = document else {
            return self
                .warn(format!("{about}: missing, so what it recorded is not known: capture it again"));
        };
        match Document::parse(document) {
            Ok(document) => {
                name.split('/').next().unwrap_or_default().clone_into(&mut self.own);
                if document.dropped > 0 {
                    self.warn(format!(
                        "{about}: {} of it cannot be understood and are passed over: is this Stowage older than the one \
                         that wrote it?",
                        crate::text::count(document.dropped, "record")
                    ));
                }
                self.documents.push(document);
            }
            Err(why) => self.warn(format!(
                "{about}: {why}; what it recorded is not known: capture it again, with a Stowage as new as the one that \
                 wrote it"
            )),
        }
    }

    /// A pod: of all where there are policies, and else the one that is asked about.
    fn take_pod(&mut self, raw: Raw<'_>, name: &str) {
        if !raw.is("Pod", "") || self.policies.is_empty() && !raw.json.contains(name) {
            return;
        }
        let Ok(mut pod) = serde_json::from_str::<Value>(raw.json) else { return };
        let own = key(&pod);
        identify(&mut pod, &own);
        identify_owners(&mut pod, own.split('/').next().unwrap_or_default());
        let asked = own == self.key;
        // Prices of pods are no matter here, only how many there are.
        let seen = self.fleet.see(&pod, &self.jobs, None);
        if asked {
            self.pod = seen;
        }
    }

    /// The policies in these namespaces, and what is wrong with which.
    pub(super) fn policies(&self, snapshot: &Snapshot) -> (Policies, BTreeMap<PolicyId, Vec<PolicyError>>) {
        let namespaces: BTreeMap<String, Labels> = snapshot
            .namespaces
            .iter()
            .map(|of| (of.metadata.name.clone(), of.metadata.labels.clone()))
            .collect();
        let objects = self.policies.iter().map(|((of_namespace, _), json)| (*of_namespace, json.clone()));
        Policies::read(objects, namespaces, &self.own)
    }

    /// What was recorded, and when the last of it was written; `None` where nothing was.
    pub(super) fn recorded(&self) -> Option<(Cache, u64)> {
        let written = self.documents.iter().map(Document::at).max()?;
        let mut cache = Cache::default();
        cache.apply(&self.documents);
        Some((cache, written))
    }
}
