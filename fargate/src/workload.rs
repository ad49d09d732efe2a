//! A pod's workload: whose it is in the end, and from which template.
//!
//! One verdict holds for all pods of a workload and template. It is found for pods as they are stored and asked for by pods as
//! they are admitted, which have no name yet and which other webhooks may still change. So what tells templates apart must be
//! the same at both times:
//!
//! | owner | template |
//! |---|---|
//! | `ReplicaSet` | its label `pod-template-hash`, or that of Argo's Rollouts, where the `ReplicaSet` is named after it |
//! | `StatefulSet`, `DaemonSet` | its label `controller-revision-hash` |
//! | `Job`, and through it `CronJob` | a hash of the template of the `Job`, which is found by its uid |
//! | any other, and none | a hash of what decides what the pod costs and where it may run, and nothing else of it |
//!
//! # Invariants
//! - Replicas of one template, and runs of one `CronJob`, have one workload; pods of another template have another one.
//! - What the pod says is not trusted: a workload is one of the pod's namespace, whatever its labels say.
//! - A pod of a `Job` that is not known has no workload.

use std::fmt;

use serde_json::Value;

use crate::hash::{Canonical, Fnv, claim};
use crate::jobs::{JobFacts, Jobs};
use crate::json::{list, text};
use crate::needs::FILLED;
use crate::sighting::controller;

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

/// Labels in which controllers name the template of a pod, and the kind of the root then.
const TEMPLATE_LABELS: [(&str, &str); 2] =
    [("pod-template-hash", "Deployment"), ("rollouts-pod-template-hash", "Rollout")];
/// That of `StatefulSets` and `DaemonSets`.
const REVISION_LABEL: &str = "controller-revision-hash";
/// Kinds whose pods run until somebody takes them away.
const ENDLESS: [&str; 5] = ["Deployment", "Rollout", "ReplicaSet", "ReplicationController", "StatefulSet"];
/// The longest word for a template: a label's value.
const MAX_TEMPLATE: usize = 63;
/// What of a pod's spec, containers and claims aside, decides where it may run.
const PLACE: [&str; 5] = ["nodeSelector", "affinity", "hostNetwork", "hostPID", "hostIPC"];

impl Workload {
    /// That of a pod as the API server writes it, in this namespace; `None` where its `Job` is not known.
    pub fn of_pod(pod: &Value, namespace: &str, jobs: &Jobs) -> Option<Self> {
        let none = Value::Null;
        let meta = pod.get("metadata").unwrap_or(&none);
        let labels = meta.get("labels").unwrap_or(&none);
        // A pod of a node or a DaemonSet is bound to its node, whoever controls it.
        let tied = |o: &&Value| matches!(text(o, "kind"), "DaemonSet" | "Node");
        let owner = list(meta, "ownerReferences").iter().find(tied).or_else(|| controller(pod));
        let (kind, name) = owner.map_or(("", ""), |o| (text(o, "kind"), text(o, "name")));
        let named = TEMPLATE_LABELS.into_iter().find_map(|(key, kind)| {
            let hash = text(labels, key);
            // Labels are anybody's to write; the name is its controller's.
            let root = name.strip_suffix(hash)?.strip_suffix('-')?;
            (!hash.is_empty() && !root.is_empty()).then_some((kind, root, hash))
        });
        let controller = |kind: &str, name: &str| Root::Controller(kind.to_owned(), name.to_owned());
        let (root, template) = match (kind, named) {
            ("ReplicaSet", Some((kind, root, hash))) => (controller(kind, root), Some(hash)),
            ("DaemonSet", _) => (Root::DaemonSet(name.to_owned()), Some(text(labels, REVISION_LABEL))),
            ("Node", _) => (Root::Node, None),
            ("" | "Pod", _) => (Root::Bare, None),
            ("StatefulSet", _) => (controller(kind, name), Some(text(labels, REVISION_LABEL))),
            ("Job", _) => return jobs.of_pod(pod).map(|job| Self::of_job(job, namespace)),
            _ => (controller(kind, name), None),
        };
        let template = match template.filter(|t| !t.is_empty()) {
            Some(stated) => stated.chars().take(MAX_TEMPLATE).collect(),
            None => hash(pod, text(meta, "name")),
        };
        Some(Self { namespace: namespace.to_owned(), root, template })
    }

    /// That of the pods of a `Job`.
    pub(crate) fn of_job(job: &JobFacts, namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            root: Root::Controller(job.root.0.to_owned(), job.root.1.to_string()),
            template: job.template.to_string(),
        }
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

    /// What is kept on nodes together where Fargate does not start its pods: all templates of an owner, as a rollout changes
    /// nothing about Fargate. Bare pods have no owner, and only those that are alike go together.
    pub fn hold_word(&self) -> String {
        if self.has_owner() { self.owner_word() } else { self.word() }
    }

    /// Whether its templates follow each other; those of bare pods have nothing to do with each other.
    pub fn has_owner(&self) -> bool {
        !matches!(self.root, Root::Bare | Root::Node)
    }

    /// Whether it is of a name that comes back with new pods when its pods are gone: not of a `Job`, whose run is over then.
    pub fn comes_back(&self) -> bool {
        !matches!(&self.root, Root::Controller(kind, _) if kind == "Job")
    }

    /// Whether its pods are there to stay: who owns them makes another one for each that goes.
    pub fn is_endless(&self) -> bool {
        matches!(&self.root, Root::Controller(kind, _) if ENDLESS.contains(&kind.as_str()))
    }

    /// Whether its pods are those of `Jobs`.
    pub fn is_of_jobs(&self) -> bool {
        matches!(&self.root, Root::Controller(kind, _) if matches!(kind.as_str(), "Job" | "CronJob"))
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

/// A hash of what decides what a pod costs and where it may run. No labels, no volumes but claims, no environment, no
/// priority: permissions for AWS, EKS itself and many others add some of these after Stowage was asked.
fn hash(pod: &Value, name: &str) -> String {
    let mut hash = Fnv::default();
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    for kind in ["containers", "initContainers"] {
        hash.text(kind);
        for container in list(spec, kind) {
            hash.text(text(container, "name"));
            hash.text(text(container, "image"));
            let requests = container.get("resources").and_then(|r| r.get("requests")).unwrap_or(&Value::Null);
            Canonical::without(&mut hash, &[]).value(requests);
        }
    }
    for field in PLACE {
        Canonical::without(&mut hash, &FILLED).field(spec, field);
    }
    for volume in list(spec, "volumes") {
        let claim = claim(volume, name);
        if !claim.is_empty() {
            hash.text("claim");
            hash.text(claim);
        }
        if volume.get("ephemeral").is_some_and(|made| !made.is_null()) {
            hash.text("ephemeral");
        }
    }
    format!("{:016x}", hash.finish())
}

#[cfg(test)]
#[path = "workload_tests.rs"]
mod tests;
