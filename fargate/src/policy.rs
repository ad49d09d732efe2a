//! Policies in a form that can be asked: which one rules a pod, and which ones are overruled.
//!
//! Of several policies that select a pod the most specific rules it alone: one of its namespace before one of the cluster, then
//! the one with more requirements in its selectors, then the first by name. Policies are not merged, so that who reads one
//! knows what it does; the others are told that they are overruled.
//!
//! # Invariants
//! - A policy that cannot be understood in full rules nothing. It does not rule in part.
//! - Without a policy that selects it, no pod is routed. Pods of system namespaces are routed by policies only that say so.
//! - The order in which policies are given does not matter.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use stowage_pricing::fargate::Profile;
use stowage_solver::Price;

use crate::hash::Fnv;
use crate::object::PolicyObject;
use crate::read::{self, Faults};
use crate::selector::Selector;

/// Labels of a pod or namespace.
pub type Labels = BTreeMap<String, String>;

/// What a policy is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyId {
    /// Its namespace; `None` where it is of the cluster.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl PolicyId {
    /// In one word, for metrics and for what is stored: `shop/default`, or `/default` where it is of the cluster.
    pub fn word(&self) -> String {
        format!("{}/{}", self.namespace.as_deref().unwrap_or_default(), self.name)
    }

    /// From one word; `None` for what [`Self::word`] does not write.
    pub fn from_word(word: &str) -> Option<Self> {
        let (namespace, name) = word.split_once('/')?;
        let namespace = (!namespace.is_empty()).then(|| namespace.to_owned());
        (!name.is_empty() && !name.contains('/')).then(|| Self { namespace, name: name.to_owned() })
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "FargatePolicy {namespace}/{}", self.name),
            None => write!(f, "ClusterFargatePolicy {}", self.name),
        }
    }
}

/// When pods run on Fargate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Never.
    Never,
    /// Where that costs no more than nodes would, and so many percent.
    WhenCheaper {
        /// How much more than nodes Fargate may cost.
        tolerance_percent: u32,
    },
    /// Whenever they can.
    Always,
    /// Where no node that is there has room.
    WhenNoRoom,
}

/// How much there may be of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// At most so many pods.
    pub pods: Option<u32>,
    /// At most so much an hour.
    pub hourly: Option<Price>,
}

/// A kind of pods that a policy can keep on nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Never {
    /// Marked not to be disrupted, and not known to end within a day.
    DoNotDisrupt,
    /// Of a `Job` that leaves finished pods lying.
    JobWithoutTtl,
    /// Of a `Job`.
    Job,
    /// Of a `StatefulSet`.
    StatefulSet,
    /// Of nobody.
    BarePod,
}

/// A policy that is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What it is called.
    pub id: PolicyId,
    /// The pods that it is about.
    pub pods: Selector,
    /// The namespaces that it is about, for one of the cluster; `None` is all but those of the system.
    pub namespaces: Option<Selector>,
    /// Whether that may be namespaces of the system.
    pub system: bool,
    /// When pods run on Fargate.
    pub mode: Mode,
    /// How much there may be of it.
    pub caps: Caps,
    /// The shortest expected life of pods that go, in seconds.
    pub min_life: Option<u64>,
    /// The longest, in seconds.
    pub max_life: Option<u64>,
    /// Kinds of pods that never go.
    pub never: BTreeSet<Never>,
    /// The profiles that it states, each with the zones of its subnets as names of subnets; empty for those of EKS.
    pub profiles: Vec<Profile>,
    /// Whether pods that wait for a node are deleted to be made anew, and how many of them a minute.
    pub recreate_per_minute: Option<u32>,
    /// After how many seconds a pod that Fargate has not started goes back to nodes.
    pub pending_timeout: u64,
    /// A hash of all that verdicts depend on: with another one, verdicts are to be found anew.
    pub version: u64,
}

/// Why a policy rules nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// The policy.
    pub policy: PolicyId,
    /// The field, as `spec.caps.maxPods`.
    pub field: String,
    /// What is wrong with it, and what would be right.
    pub problem: String,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.policy, self.field, self.problem)
    }
}

impl std::error::Error for PolicyError {}

impl Policy {
    /// A `FargatePolicy`, from its JSON.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn of_namespace(json: &str) -> Result<Self, Vec<PolicyError>> {
        let object = parse(json)?;
        let namespace = object.metadata.namespace.clone().unwrap_or_else(|| "default".to_owned());
        Self::read(PolicyId { namespace: Some(namespace), name: object.metadata.name.clone() }, &object)
    }

    /// A `ClusterFargatePolicy`, from its JSON. Whether it selects namespaces of the system is asked by [`Policies::new`].
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn of_cluster(json: &str) -> Result<Self, Vec<PolicyError>> {
        let object = parse(json)?;
        Self::read(PolicyId { namespace: None, name: object.metadata.name.clone() }, &object)
    }

    fn read(id: PolicyId, object: &PolicyObject) -> Result<Self, Vec<PolicyError>> {
        let spec = &object.spec;
        let of_namespace = id.namespace.is_some();
        let mut faults = Faults::default();
        let pods = read::selector(&spec.pod_selector, "spec.podSelector", &mut faults);
        let namespaces = spec.namespace_selector.as_ref().filter(|_| !of_namespace);
        let namespaces = namespaces.map(|s| read::selector(s, "spec.namespaceSelector", &mut faults));
        let mode = read::mode(spec, &mut faults);
        let caps = read::caps(&spec.caps, &mut faults);
        let (min_life, max_life) = read::life(&spec.expected_life, &mut faults);
        let never = read::never(spec.never_route.as_deref(), &mut faults);
        let profiles = read::profiles(&spec.profiles, id.namespace.as_deref(), &mut faults);
        let recreate_per_minute = read::rate(&spec.pending, &mut faults);
        let pending_timeout = read::timeout(&spec.guard, &mut faults);
        let mut policy = Self {
            id,
            pods,
            namespaces,
            system: of_namespace || spec.system_namespaces,
            mode,
            caps,
            min_life,
            max_life,
            never,
            profiles,
            recreate_per_minute,
            pending_timeout,
            version: 0,
        };
        let mut hash = Fnv::default();
        let decides = (&policy.mode, policy.min_life, policy.max_life, &policy.never, &policy.profiles);
        hash.text(&format!("{decides:?}"));
        policy.version = hash.finish();
        faults.or(policy)
    }

    /// Whether it is about a pod.
    pub fn selects(&self, namespace: &str, namespace_labels: &Labels, labels: &Labels, system: bool) -> bool {
        let place = match (&self.id.namespace, &self.namespaces) {
            (Some(own), _) => own == namespace,
            (None, _) if system && !self.system => false,
            (None, None) => true,
            (None, Some(selector)) => selector.matches(namespace_labels),
        };
        place && self.pods.matches(labels)
    }

    /// The place of this one among those that select a pod: the first rules it.
    fn rank(&self) -> (bool, std::cmp::Reverse<usize>, &PolicyId) {
        let requirements = self.pods.len() + self.namespaces.as_ref().map_or(0, Selector::len);
        (self.id.namespace.is_none(), std::cmp::Reverse(requirements), &self.id)
    }
}

/// Reads an object; where that cannot be done, says in which field, and of what policy as far as that can be told.
fn parse(json: &str) -> Result<PolicyObject, Vec<PolicyError>> {
    serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(json)).map_err(|error| {
        let object: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
        let word = |key: &str| object.pointer(key).and_then(serde_json::Value::as_str).map(str::to_owned);
        let name = word("/metadata/name").unwrap_or_default();
        let policy = PolicyId { namespace: word("/metadata/namespace"), name };
        let (field, problem) = (error.path().to_string(), error.inner().to_string());
        vec![PolicyError { policy, field, problem }]
    })
}

/// A policy that another one overrules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overruled {
    /// This one,
    pub policy: PolicyId,
    /// by this one,
    pub by: PolicyId,
    /// for so many of the pods that are there. None, where both select the same whatever pods there are.
    pub pods: usize,
    /// Whether the two want something else.
    pub contradicts: bool,
}

impl fmt::Display for Overruled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pods {
            0 => write!(f, "{} selects the same pods and comes before this one", self.by)?,
            1 => write!(f, "{} is more specific for 1 pod that this one selects too", self.by)?,
            pods => write!(f, "{} is more specific for {pods} pods that this one selects too", self.by)?,
        }
        f.write_str(if self.contradicts { ", and wants something else" } else { "" })
    }
}

/// The policies of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// By rank.
    all: Vec<Arc<Policy>>,
    namespaces: BTreeMap<String, Labels>,
    /// The namespace of Stowage itself.
    own: String,
}

/// A pod, as far as policies look at it: namespace, labels.
pub type Seen<'a> = (&'a str, &'a Labels);

/// Kubernetes keeps names with this beginning for itself.
const SYSTEM: &str = "kube-";
/// The label that the API server gives each namespace.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

impl Policies {
    /// Policies that are understood, in a cluster with these namespaces, Stowage itself in `own`. Those of the cluster that
    /// select namespaces of the system and do not say that they may are left out, and stand among the errors.
    pub fn new(
        policies: Vec<Policy>,
        mut namespaces: BTreeMap<String, Labels>,
        own: &str,
    ) -> (Self, Vec<PolicyError>) {
        for (name, labels) in &mut namespaces {
            labels.entry(NAME_LABEL.to_owned()).or_insert_with(|| name.clone());
        }
        let mut this = Self { all: Vec::new(), namespaces, own: own.to_owned() };
        let mut errors = Vec::new();
        for policy in policies {
            match this.system_namespace_of(&policy) {
                Some(name) => errors.push(PolicyError {
                    policy: policy.id,
                    field: "spec.namespaceSelector".to_owned(),
                    problem: format!(
                        "selects the system namespace {name}: leave it out with {{key: {NAME_LABEL}, operator: \
                         NotIn, values: [{name}]}}, or set spec.systemNamespaces: true"
                    ),
                }),
                None => this.all.push(Arc::new(policy)),
            }
        }
        this.all.sort_by(|a, b| a.rank().cmp(&b.rank()));
        (this, errors)
    }

    fn system_namespace_of(&self, policy: &Policy) -> Option<&str> {
        let selector = policy.namespaces.as_ref().filter(|_| !policy.system)?;
        let named =
            self.namespaces.iter().find(|(name, labels)| self.is_system(name) && selector.matches(labels));
        named.map(|(name, _)| name.as_str())
    }

    /// Whether a namespace is one of the system.
    pub fn is_system(&self, namespace: &str) -> bool {
        namespace.starts_with(SYSTEM) || namespace == self.own
    }

    /// All of them, those that rule before others first.
    pub fn all(&self) -> &[Arc<Policy>] {
        &self.all
    }

    /// The policy of this name.
    pub fn get(&self, id: &PolicyId) -> Option<&Arc<Policy>> {
        self.all.iter().find(|policy| policy.id == *id)
    }

    /// The policy that rules a pod; `None` where none is about it.
    pub fn ruling(&self, namespace: &str, labels: &Labels) -> Option<&Arc<Policy>> {
        self.selecting(namespace, labels).next()
    }

    /// The policies that select a pod, the one that rules it first.
    pub fn selecting<'s, 'a>(
        &'s self,
        namespace: &'a str,
        labels: &'a Labels,
    ) -> impl Iterator<Item = &'s Arc<Policy>> + use<'s, 'a> {
        let none = const { &Labels::new() };
        let (of_namespace, system) =
            (self.namespaces.get(namespace).unwrap_or(none), self.is_system(namespace));
        self.all.iter().filter(move |policy| policy.selects(namespace, of_namespace, labels, system))
    }

    /// Who is overruled by whom, for these pods and whatever pods there are; by name.
    pub fn overruled<'a>(&self, pods: impl Iterator<Item = Seen<'a>>) -> Vec<Overruled> {
        let mut counts = BTreeMap::<(&PolicyId, &PolicyId), (usize, bool)>::new();
        for (namespace, labels) in pods {
            let mut found = self.selecting(namespace, labels);
            let Some(winner) = found.next() else { continue };
            for loser in found {
                counts.entry((&loser.id, &winner.id)).or_insert((0, winner.mode != loser.mode)).0 += 1;
            }
        }
        for (at, loser) in self.all.iter().enumerate() {
            let same = |winner: &&Arc<Policy>| {
                (&winner.id.namespace, &winner.pods, &winner.namespaces, winner.system)
                    == (&loser.id.namespace, &loser.pods, &loser.namespaces, loser.system)
            };
            if let Some(winner) = self.all[..at].iter().find(same) {
                counts.entry((&loser.id, &winner.id)).or_insert((0, winner.mode != loser.mode));
            }
        }
        let told = |((policy, by), (pods, contradicts)): ((&PolicyId, &PolicyId), (usize, bool))| Overruled {
            policy: policy.clone(),
            by: by.clone(),
            pods,
            contradicts,
        };
        counts.into_iter().map(told).collect()
    }
}
