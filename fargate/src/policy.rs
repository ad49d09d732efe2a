//! A policy that is understood: what it is called, which pods it is about, and what it wants of them.
//!
//! One that cannot be understood in full is not followed in part. It does not let go of its pods either: whoever wrote it wanted
//! something else for them than what a wider policy says, and if that was `Never`, to follow the wider one would be the very
//! opposite. So its pods stay on nodes until it is mended.
//!
//! # Invariants
//! - A policy that is wrong in any field sends nothing to Fargate, and neither does any other of the pods that it selects before
//!   others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use stowage_pricing::fargate::Profile;
use stowage_solver::Price;

use crate::hash::Fnv;
use crate::object::{LabelSelector, PolicyObject, Spec};
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

impl Serialize for PolicyId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.word())
    }
}

impl<'de> Deserialize<'de> for PolicyId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let word = String::deserialize(from)?;
        Self::from_word(&word).ok_or_else(|| D::Error::custom("no policy: write namespace/name, or /name"))
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

impl Mode {
    /// As policies write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Never => "Never",
            Self::WhenCheaper { .. } => "WhenCheaper",
            Self::Always => "Always",
            Self::WhenNoRoom => "WhenNoRoom",
        }
    }
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
    /// Whether it stands for one that could not be understood, and keeps its pods on nodes.
    pub invalid: bool,
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

/// A policy that is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// What is wrong with it, one field at least.
    pub errors: Vec<PolicyError>,
    /// What keeps its pods on nodes: the pods that it selects, as far as that can be read, and else all where it is. `None`
    /// where not even its name can be.
    pub refusing: Option<Box<Policy>>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said: Vec<String> = self.errors.iter().map(ToString::to_string).collect();
        f.write_str(&said.join("; "))
    }
}

impl std::error::Error for Invalid {}

impl Policy {
    /// A `FargatePolicy`, from its JSON.
    ///
    /// # Errors
    /// All that is wrong with it, and what keeps its pods on nodes meanwhile.
    pub fn of_namespace(json: &str) -> Result<Self, Invalid> {
        Self::parse(json, true)
    }

    /// A `ClusterFargatePolicy`, from its JSON. Whether it selects namespaces of the system is asked by [`crate::Policies::new`].
    ///
    /// # Errors
    /// All that is wrong with it, and what keeps its pods on nodes meanwhile.
    pub fn of_cluster(json: &str) -> Result<Self, Invalid> {
        Self::parse(json, false)
    }

    fn parse(json: &str, of_namespace: bool) -> Result<Self, Invalid> {
        let read: Result<PolicyObject, _> =
            serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(json));
        let id = |namespace: Option<&str>, name: &str| PolicyId {
            namespace: of_namespace.then(|| namespace.unwrap_or("default").to_owned()),
            name: name.to_owned(),
        };
        match read {
            Ok(object) => {
                let meta = &object.metadata;
                let id = id(meta.namespace.as_deref(), &meta.name);
                let mut faults = Faults::default();
                let policy = Self::read(id, &object.spec, &mut faults);
                faults.or(policy)
            }
            Err(error) => {
                let value: Value = serde_json::from_str(json).unwrap_or_default();
                let word = |key: &str| value.pointer(key).and_then(Value::as_str);
                let id = id(word("/metadata/namespace"), word("/metadata/name").unwrap_or_default());
                let (field, problem) = (error.path().to_string(), error.inner().to_string());
                let refusing = (!id.name.is_empty()).then(|| Box::new(Self::refusing(id.clone(), &value)));
                Err(Invalid { errors: vec![PolicyError { policy: id, field, problem }], refusing })
            }
        }
    }

    /// In place of one that has another shape than a policy: the selectors that can be read still say which pods it meant.
    fn refusing(id: PolicyId, value: &Value) -> Self {
        let part = |key: &str| value.pointer(key).and_then(|v| LabelSelector::deserialize(v).ok());
        let spec = Spec {
            mode: "Never".to_owned(),
            pod_selector: part("/spec/podSelector").unwrap_or_default(),
            namespace_selector: part("/spec/namespaceSelector"),
            ..Spec::default()
        };
        Self { invalid: true, ..Self::read(id, &spec, &mut Faults::default()) }
    }

    fn read(id: PolicyId, spec: &Spec, faults: &mut Faults) -> Self {
        let of_namespace = id.namespace.is_some();
        let pods = read::selector(&spec.pod_selector, "spec.podSelector", faults);
        let namespaces = spec.namespace_selector.as_ref().filter(|_| !of_namespace);
        let namespaces = namespaces.map(|s| read::selector(s, "spec.namespaceSelector", faults));
        let (min_life, max_life) = read::life(&spec.expected_life, faults);
        let mut policy = Self {
            pods,
            namespaces,
            system: of_namespace || spec.system_namespaces,
            mode: read::mode(spec, faults),
            caps: read::caps(&spec.caps, faults),
            min_life,
            max_life,
            never: read::never(spec.never_route.as_deref(), faults),
            profiles: read::profiles(&spec.profiles, id.namespace.as_deref(), faults),
            recreate_per_minute: read::rate(&spec.pending, faults),
            pending_timeout: read::timeout(&spec.guard, faults),
            version: 0,
            invalid: false,
            id,
        };
        let mut hash = Fnv::default();
        let decides = (&policy.mode, policy.min_life, policy.max_life, &policy.never, &policy.profiles);
        hash.text(&format!("{decides:?}"));
        policy.version = hash.finish();
        policy
    }

    /// Whether it is about a pod of a namespace with these labels; `None` where they are not known.
    pub fn selects(
        &self,
        namespace: &str,
        of_namespace: Option<&Labels>,
        labels: &Labels,
        system: bool,
    ) -> bool {
        let place = match (&self.id.namespace, &self.namespaces) {
            (Some(own), _) => own == namespace,
            (None, _) if system && !self.system => false,
            (None, None) => true,
            // Of labels that nobody knows, NotIn would be as true as any: whoever asks for labels waits for them.
            (None, Some(selector)) => of_namespace.is_some_and(|labels| selector.matches(labels)),
        };
        place && self.pods.matches(labels)
    }

    /// Whether its pods may use the profile of this name.
    pub fn may_use(&self, profile: &str) -> bool {
        self.profiles.is_empty() || self.profiles.iter().any(|p| p.name == profile)
    }

    /// The place of this one among those that select a pod: the first rules it.
    pub(crate) fn rank(&self) -> (bool, std::cmp::Reverse<usize>, &PolicyId) {
        (self.id.namespace.is_none(), std::cmp::Reverse(self.requirements()), &self.id)
    }

    /// How many requirements its selectors have.
    pub(crate) fn requirements(&self) -> usize {
        self.pods.len() + self.namespaces.as_ref().map_or(0, Selector::len)
    }
}
