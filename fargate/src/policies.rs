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
