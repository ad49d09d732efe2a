//! A pod's workload: whose it is in the end, and from which template.
//!
//! One verdict holds for all pods of a workload and template. At admission a pod has no name yet and its other webhooks have
//! not run, so what tells templates apart must be there then and stay.
//!
//! - Controllers that name the template in a label (`pod-template-hash`, `controller-revision-hash`) are believed: sidecars
//!   that are injected later change nothing about it.
//! - For all others the template is a hash of the pod's spec and labels without what differs from pod to pod and what the API
//!   server itself adds when it admits a pod.
//!
//! # Invariants
//! - Replicas of one template, and runs of one `CronJob`, have one workload; pods of another template have another one.
//! - What the pod says is not trusted: a workload is one of the pod's namespace, whatever its labels say.

use std::fmt;

use serde_json::{Map, Value};
use stowage_api::well_known::DO_NOT_DISRUPT;
use stowage_pricing::fargate::{PROFILE_LABEL, Profile};
use stowage_pricing::fits_glob;

use crate::hash::Fnv;

/// Whose pods they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Root {
    /// Of a controller: its kind and name. That of `Deployments` and `CronJobs` is the root, not what stands between.
    Controller(String, String),
    /// Of a `DaemonSet`, by name.
    DaemonSet(String),
    /// Of a node: kubelet runs it by itself.
    Node,
    /// Of nobody, or of another pod. Those of a namespace that are alike are one workload, as names are made up.
    Bare,
}

/// Pods that share a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Workload {
    /// Their namespace.
    pub namespace: String,
    /// Whose they are.
    pub root: Root,
    /// Their template: the controller's own word for it, or a hash.
    pub template: String,
}

/// Labels in which controllers name the template of a pod.
const TEMPLATE_LABELS: [&str; 2] = ["pod-template-hash", "rollouts-pod-template-hash"];
/// That of `StatefulSets`, and of others that keep `ControllerRevisions`.
const REVISION_LABEL: &str = "controller-revision-hash";
/// Labels that differ from pod to pod, or from run to run.
const OWN_LABELS: [&str; 11] = [
    "pod-template-hash",
    "rollouts-pod-template-hash",
    REVISION_LABEL,
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/job-name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-completion-index",
    "job-name",
    "controller-uid",
    PROFILE_LABEL,
];
/// Fields of a pod's spec that differ from pod to pod, or that the API server or EKS sets when it admits one.
const OWN_FIELDS: [&str; 11] = [
    "nodeName",
    "schedulerName",
    "hostname",
    "subdomain",
    "serviceAccount",
    "priority",
    "preemptionPolicy",
    "enableServiceLinks",
    "imagePullSecrets",
    "overhead",
    "ephemeralContainers",
];
/// The volume that admission adds for the token of a service account begins so.
const TOKEN_VOLUME: &str = "kube-api-access-";
/// Taints that admission lets every pod tolerate for five minutes.
const ADDED_TOLERATIONS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
/// Digits of the time that `CronJobs` put at the end of names of their `Jobs`.
const TIME_DIGITS: usize = 8;

/// Labels that say nothing of a template, as they are added for Fargate: those that profiles select.
#[derive(Clone, Debug, Default)]
pub struct Added(Vec<String>);

impl Added {
    /// Those of these profiles.
    pub fn by<'p>(profiles: impl IntoIterator<Item = &'p Profile>) -> Self {
        let selectors = profiles.into_iter().flat_map(|p| &p.selectors);
        let mut keys: Vec<String> = selectors.flat_map(|s| s.labels.keys().cloned()).collect();
        keys.sort_unstable();
        keys.dedup();
        Self(keys)
    }

    fn has(&self, key: &str) -> bool {
        self.0.iter().any(|glob| fits_glob(glob, key))
    }
}

fn text<'v>(of: &'v Value, key: &str) -> &'v str {
    of.get(key).and_then(Value::as_str).unwrap_or_default()
}

impl Workload {
    /// That of a pod as the API server writes it, in this namespace.
    pub fn of_pod(pod: &Value, namespace: &str, added: &Added) -> Self {
        let none = Value::Null;
        let meta = pod.get("metadata").unwrap_or(&none);
        let labels = meta.get("labels").unwrap_or(&none);
        let owners = meta.get("ownerReferences").and_then(Value::as_array);
        let owners = owners.map(Vec::as_slice).unwrap_or_default();
        let controls = |o: &&Value| o.get("controller").and_then(Value::as_bool) == Some(true);
        let owner = owners.iter().find(controls).or_else(|| owners.first());
        let (kind, name) = owner.map_or(("", ""), |o| (text(o, "kind"), text(o, "name")));
        let named = TEMPLATE_LABELS.into_iter().find_map(|key| {
            let hash = text(labels, key);
            let root = name.strip_suffix(hash)?.strip_suffix('-')?;
            (!hash.is_empty() && !root.is_empty()).then_some((key, root, hash))
        });
        let (root, template) = match (kind, named) {
            ("ReplicaSet", Some((key, root, hash))) => {
                let kind = if key == TEMPLATE_LABELS[0] { "Deployment" } else { "Rollout" };
                (Root::Controller(kind.to_owned(), root.to_owned()), Some(hash))
            }
            ("DaemonSet", _) => (Root::DaemonSet(name.to_owned()), Some(text(labels, REVISION_LABEL))),
            ("Node", _) => (Root::Node, None),
            ("" | "Pod", _) => (Root::Bare, None),
            ("StatefulSet", _) => {
                (Root::Controller(kind.to_owned(), name.to_owned()), Some(text(labels, REVISION_LABEL)))
            }
            ("Job", _) => (of_job(name), None),
            _ => (Root::Controller(kind.to_owned(), name.to_owned()), None),
        };
        let template = match template.filter(|t| !t.is_empty()) {
            Some(stated) => stated.chars().take(63).collect(),
            None => hash(pod, text(meta, "name"), added),
        };
        Self { namespace: namespace.to_owned(), root, template }
    }

    /// In one word, under which its verdict is kept: `shop/Deployment/web@5d4f`.
    pub fn word(&self) -> String {
        let mut word = self.owner_word();
        word.push_str(&self.template);
        word
    }

    /// The same for all templates: what the words of all templates of its owner begin with.
    pub fn owner_word(&self) -> String {
        format!("{self}@")
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = &self.namespace;
        match &self.root {
            Root::Controller(kind, name) => write!(f, "{namespace}/{kind}/{name}"),
            Root::DaemonSet(name) => write!(f, "{namespace}/DaemonSet/{name}"),
            Root::Node => write!(f, "{namespace}/Node/"),
            Root::Bare => write!(f, "{namespace}/Pod/"),
        }
    }
}

/// The `CronJob` of a `Job` that is named after its time, or else the `Job`.
fn of_job(name: &str) -> Root {
    let run = name.rsplit_once('-').filter(|(cron, time)| {
        !cron.is_empty() && time.len() >= TIME_DIGITS && time.bytes().all(|b| b.is_ascii_digit())
    });
    match run {
        Some((cron, _)) => Root::Controller("CronJob".to_owned(), cron.to_owned()),
        None => Root::Controller("Job".to_owned(), name.to_owned()),
    }
}

/// A hash of what a pod shares with others of its template.
fn hash(pod: &Value, name: &str, added: &Added) -> String {
    let mut hash = Fnv::default();
    let empty = Map::new();
    let map = |pointer: &str| pod.pointer(pointer).and_then(Value::as_object).unwrap_or(&empty);
    let labels = map("/metadata/labels");
    let mut keys: Vec<&String> =
        labels.keys().filter(|k| !OWN_LABELS.contains(&k.as_str()) && !added.has(k)).collect();
    keys.sort_unstable();
    for key in keys {
        hash.text(key);
        hash.text(labels[key].as_str().unwrap_or_default());
    }
    hash.text(map("/metadata/annotations").get(DO_NOT_DISRUPT).and_then(Value::as_str).unwrap_or_default());
    let spec = map("/spec");
    let mut fields: Vec<(&String, &Value)> =
        spec.iter().filter(|(key, _)| !OWN_FIELDS.contains(&key.as_str())).collect();
    fields.sort_unstable_by_key(|(key, _)| *key);
    let mut out = Canonical { hash, name };
    for (key, value) in fields {
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        let own = |item: &Value| match key.as_str() {
            "volumes" => !text(item, "name").starts_with(TOKEN_VOLUME),
            "tolerations" => !ADDED_TOLERATIONS.contains(&text(item, "key")),
            _ => true,
        };
        if is_empty(value) || (value.is_array() && !items.iter().any(own)) {
            continue;
        }
        out.hash.text(key);
        if value.is_array() { out.list(items, own) } else { out.value(value) }
    }
    format!("{:016x}", out.hash.finish())
}

/// Hashes JSON whatever the order of its fields.
struct Canonical<'n> {
    hash: Fnv,
    /// The pod's name, which names of claims that are its own end in.
    name: &'n str,
}

impl Canonical<'_> {
    fn list(&mut self, items: &[Value], keep: impl Fn(&Value) -> bool) {
        self.hash.bytes(b"[");
        for item in items.iter().filter(|item| keep(item)) {
            self.value(item);
        }
        self.hash.bytes(b"]");
    }

    fn value(&mut self, value: &Value) {
        match value {
            // Absent, null and empty are the same to Kubernetes; what is empty is left out of its list or map.
            Value::Null => {}
            Value::Bool(b) => self.hash.bytes(if *b { b"t" } else { b"f" }),
            Value::Number(number) => self.hash.text(&number.to_string()),
            Value::String(text) => self.hash.text(text),
            Value::Array(items) => self.list(items, |_| true),
            Value::Object(fields) => {
                let mut keys: Vec<&String> = fields.keys().filter(|key| !is_empty(&fields[*key])).collect();
                keys.sort_unstable();
                self.hash.bytes(b"{");
                for key in keys {
                    self.hash.text(key);
                    match (key.as_str(), &fields[key]) {
                        ("claimName", Value::String(claim)) => {
                            let own = claim.strip_suffix(self.name).filter(|_| !self.name.is_empty());
                            self.hash.text(own.unwrap_or(claim));
                        }
                        ("volumeMounts", Value::Array(mounts)) => {
                            self.list(mounts, |m| !text(m, "name").starts_with(TOKEN_VOLUME));
                        }
                        (_, value) => self.value(value),
                    }
                }
                self.hash.bytes(b"}");
            }
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().all(|item| text(item, "name").starts_with(TOKEN_VOLUME)),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
#[path = "workload_tests.rs"]
mod tests;
