//! The policies of a cluster: which one rules a pod, and which ones are overruled.
//!
//! Of several policies that select a pod the most specific rules it alone: one of its namespace before one of the cluster, then
//! the one with more requirements in its selectors, then the first by name. Policies are not merged, so that who reads one
//! knows what it does; the others are told that they are overruled.
//!
//! # Invariants
//! - Without a policy that selects it, no pod is routed. Pods of system namespaces are routed by policies only that say so.
//! - The order in which policies are given does not matter.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::policy::{Labels, Mode, Policy, PolicyError, PolicyId};

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

/// Why one policy comes before another one that selects the same pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precedence {
    /// It is of the pod's namespace, the other one of the cluster.
    Namespace,
    /// It has so many requirements in its selectors, the other one so many.
    Requirements(usize, usize),
    /// It is the first by name.
    Name,
}

impl fmt::Display for Precedence {
    /// What the other one is told: "is of the cluster, and one of the namespace comes first".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace => f.write_str("is of the cluster, and one of the namespace comes first"),
            Self::Requirements(more, less) => {
                write!(f, "selects by fewer requirements, {less} and not {more}")
            }
            Self::Name => f.write_str("selects as narrowly, and comes later by name"),
        }
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
pub(crate) const NAME_LABEL: &str = "kubernetes.io/metadata.name";

impl Policies {
    /// All policies from their JSON, each with whether it is a `FargatePolicy`, as [`Self::new`] takes them. What is wrong with
    /// which stands beside them: such a policy is there as one that keeps its pods on nodes.
    pub fn read(
        objects: impl IntoIterator<Item = (bool, String)>,
        namespaces: BTreeMap<String, Labels>,
        own: &str,
    ) -> (Self, BTreeMap<PolicyId, Vec<PolicyError>>) {
        let (mut all, mut wrong) = (Vec::new(), Vec::new());
        for (of_namespace, json) in objects {
            match if of_namespace { Policy::of_namespace(&json) } else { Policy::of_cluster(&json) } {
                Ok(policy) => all.push(policy),
                Err(invalid) => {
                    wrong.extend(invalid.errors);
                    all.extend(invalid.refusing.map(|policy| *policy));
                }
            }
        }
        let (policies, more) = Self::new(all, namespaces, own);
        let mut errors = BTreeMap::<PolicyId, Vec<PolicyError>>::new();
        for error in wrong.into_iter().chain(more) {
            errors.entry(error.policy.clone()).or_default().push(error);
        }
        (policies, errors)
    }

    /// All policies, those in place of invalid ones ([`crate::Invalid::refusing`]) included, in a cluster with these namespaces,
    /// Stowage itself in `own`. Those of the cluster that select namespaces of the system and do not say that they may are
    /// invalid, too, and stand among the errors.
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
        for mut policy in policies {
            if let Some(name) = this.system_namespace_of(&policy) {
                errors.push(PolicyError {
                    policy: policy.id.clone(),
                    field: "spec.namespaceSelector".to_owned(),
                    problem: format!(
                        "selects the system namespace {name}: leave it out with {{key: {NAME_LABEL}, operator: \
                         NotIn, values: [{name}]}}, or set spec.systemNamespaces: true"
                    ),
                });
                (policy.invalid, policy.mode) = (true, Mode::Never);
            }
            this.all.push(Arc::new(policy));
        }
        this.all.sort_by(|a, b| a.rank().cmp(&b.rank()));
        (this, errors)
    }

    fn system_namespace_of(&self, policy: &Policy) -> Option<&str> {
        let selector = policy.namespaces.as_ref().filter(|_| !policy.system && !policy.invalid)?;
        let named =
            self.namespaces.iter().find(|(name, labels)| self.is_system(name) && selector.matches(labels));
        named.map(|(name, _)| name.as_str())
    }

    /// The namespaces of the system that are there, and that of Stowage.
    pub(crate) fn system_namespaces(&self) -> impl Iterator<Item = String> {
        let known = self.namespaces.keys().filter(|name| self.is_system(name));
        known.chain([&self.own]).filter(|name| !name.is_empty()).cloned()
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

    /// The policy that rules a pod, be it an invalid one, which keeps it on nodes; `None` where none is about it.
    pub fn ruling(&self, namespace: &str, labels: &Labels) -> Option<&Arc<Policy>> {
        self.selecting(namespace, labels).next()
    }

    /// The policies that select a pod, the one that rules it first.
    pub fn selecting<'s, 'a>(
        &'s self,
        namespace: &'a str,
        labels: &'a Labels,
    ) -> impl Iterator<Item = &'s Arc<Policy>> + use<'s, 'a> {
        let (of_namespace, system) = (self.namespaces.get(namespace), self.is_system(namespace));
        self.all.iter().filter(move |policy| policy.selects(namespace, of_namespace, labels, system))
    }

    /// Why the first of two policies that select a pod comes before the second.
    pub fn precedence(first: &Policy, second: &Policy) -> Precedence {
        if first.id.namespace.is_some() != second.id.namespace.is_some() {
            return Precedence::Namespace;
        }
        let (more, less) = (first.requirements(), second.requirements());
        if more == less { Precedence::Name } else { Precedence::Requirements(more, less) }
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
