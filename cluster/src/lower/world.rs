//! Objects that pods refer to, found by name.
//!
//! Kubernetes' source of truth for priorities: the admission plugin `Priority`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use stowage_api::{ObjectMeta, well_known};
use stowage_solver::{Labels, Requirement, Taint};

use super::{LowerOptions, labels};
use crate::object::{
    PersistentVolume, PersistentVolumeClaim, PodSpec, RuntimeClass, SpreadConstraint, StorageClass, Volume,
};
use crate::snapshot::{Pod, Snapshot, namespace_of};

/// Look-ups over a snapshot.
pub(super) struct World<'s> {
    claims: HashMap<(&'s str, &'s str), &'s PersistentVolumeClaim>,
    volumes: HashMap<&'s str, &'s PersistentVolume>,
    classes: HashMap<&'s str, &'s StorageClass>,
    /// Labels of every namespace that exists or has a pod; their own name is one.
    pub(super) namespaces: BTreeMap<&'s str, Labels>,
    priorities: HashMap<&'s str, i32>,
    default_priority: i32,
    /// How many volumes of pending pods are of each claim.
    users: HashMap<(&'s str, &'s str), u32>,
    /// What pending pods require of the operating system's label.
    pub(super) systems: Vec<Requirement>,
    /// Taints of nodes and `NodePools` that only ask to keep away.
    pub(super) soft_taints: BTreeSet<Taint>,
    runtime_classes: HashMap<&'s str, &'s RuntimeClass>,
    /// Spread of pods that state none.
    pub(super) default_spread: &'s [SpreadConstraint],
    /// Priority classes whose pods preempt none; the empty name where the default one is among them.
    never_preempt: HashSet<&'s str>,
}

/// `namespace/name` of a namespaced object.
pub(super) fn key(meta: &ObjectMeta) -> String {
    format!("{}/{}", namespace_of(meta), meta.name)
}

impl<'s> World<'s> {
    pub(super) fn new(
        snapshot: &'s Snapshot,
        pending: &[&'s Pod],
        soft_taints: BTreeSet<Taint>,
        options: &'s LowerOptions,
    ) -> Self {
        let mut namespaces = BTreeMap::<&str, Labels>::new();
        for pod in &snapshot.pods {
            if !namespaces.contains_key(pod.namespace.as_ref()) {
                namespaces.insert(&pod.namespace, Labels::new());
            }
        }
        for namespace in &snapshot.namespaces {
            namespaces.insert(&namespace.metadata.name, namespace.metadata.labels.clone());
        }
        for (name, labels) in &mut namespaces {
            labels.entry(well_known::NAMESPACE_NAME.to_owned()).or_insert_with(|| (*name).to_owned());
        }
        let mut users = HashMap::new();
        for pod in pending {
            for volume in &pod.spec.volumes {
                if let Volume::Claim(name) = volume {
                    *users.entry((pod.namespace.as_ref(), name.as_str())).or_insert(0) += 1;
                }
            }
        }
        let classes = &snapshot.priority_classes;
        Self {
            claims: snapshot
                .claims
                .iter()
                .map(|c| ((namespace_of(&c.metadata), c.metadata.name.as_str()), c))
                .collect(),
            volumes: snapshot.volumes.iter().map(|v| (v.metadata.name.as_str(), v)).collect(),
            classes: snapshot.storage_classes.iter().map(|c| (c.metadata.name.as_str(), c)).collect(),
            namespaces,
            priorities: classes.iter().map(|c| (c.metadata.name.as_str(), c.value)).collect(),
            // Several defaults are a mistake that the API server refuses; the highest is as good as any.
            default_priority: classes.iter().filter(|c| c.global_default).map(|c| c.value).max().unwrap_or(0),
            users,
            systems: systems(pending, snapshot),
            soft_taints,
            runtime_classes: snapshot.runtime_classes.iter().map(|c| (c.metadata.name.as_str(), c)).collect(),
            default_spread: &options.default_spread,
            never_preempt: classes
                .iter()
                .filter(|c| c.preemption_policy.as_deref() == Some("Never"))
                .flat_map(|c| [Some(c.metadata.name.as_str()), c.global_default.then_some("")])
                .flatten()
                .collect(),
        }
    }

    pub(super) fn claim(&self, namespace: &str, name: &str) -> Option<&'s PersistentVolumeClaim> {
        self.claims.get(&(namespace, name)).copied()
    }

    pub(super) fn volume(&self, name: &str) -> Option<&'s PersistentVolume> {
        self.volumes.get(name).copied()
    }

    pub(super) fn storage_class(&self, name: &str) -> Option<&'s StorageClass> {
        self.classes.get(name).copied()
    }

    /// The storage class of claims that name none. Of several Kubernetes takes the newest; here it is the first by name.
    pub(super) fn default_storage_class(&self) -> Option<&'s str> {
        let is_default = |class: &&StorageClass| {
            let marks = &class.metadata.annotations;
            well_known::DEFAULT_CLASS.iter().any(|key| marks.get(*key).is_some_and(|v| v == "true"))
        };
        self.classes.values().copied().filter(is_default).map(|c| c.metadata.name.as_str()).min()
    }

    /// The volumes of a storage class that no claim has, by name.
    pub(super) fn free_volumes(&self, class: &str) -> Vec<&'s PersistentVolume> {
        let free = |v: &&PersistentVolume| v.spec.storage_class_name == class && v.spec.claim_ref.is_none();
        let mut free: Vec<_> = self.volumes.values().copied().filter(free).collect();
        free.sort_by_key(|v| &v.metadata.name);
        free
    }

    pub(super) fn runtime_class(&self, name: &str) -> Option<&'s RuntimeClass> {
        self.runtime_classes.get(name).copied()
    }

    /// Whether a pod may take the place of others.
    pub(super) fn preempts(&self, spec: &PodSpec) -> bool {
        match spec.preemption_policy.as_deref() {
            Some(policy) => policy != "Never",
            None => !self.never_preempt.contains(spec.priority_class_name.as_str()),
        }
    }

    /// Whether more than one pending pod uses a claim.
    pub(super) fn is_shared(&self, namespace: &str, claim: &str) -> bool {
        self.users.get(&(namespace, claim)).is_some_and(|users| *users > 1)
    }

    /// The priority of a pod that names this class, or none.
    pub(super) fn priority(&self, class: &str) -> i32 {
        match class {
            "" => self.default_priority,
            // Kubernetes' two built-in classes.
            "system-node-critical" => 2_000_001_000,
            "system-cluster-critical" => 2_000_000_000,
            named => self.priorities.get(named).copied().unwrap_or(self.default_priority),
        }
    }
}

/// What these pods require of the operating system's label.
fn systems(pending: &[&Pod], snapshot: &Snapshot) -> Vec<Requirement> {
    let is_system = |key: &str| well_known::stable(key) == well_known::OS;
    let mut seen = HashSet::new();
    let mut out = BTreeSet::new();
    for spec in pending.iter().map(|p| &p.spec).filter(|s| seen.insert(Arc::as_ptr(s))) {
        let selected = spec.node_selector.iter().filter(|(key, _)| is_system(key));
        out.extend(selected.map(|(key, value)| labels::equals(key, value)));
        let terms = spec.affinity.node_affinity.required.iter().flat_map(|r| &r.node_selector_terms);
        let requirements = terms.flat_map(|t| &t.match_expressions).filter(|r| is_system(&r.key));
        out.extend(requirements.map(labels::requirement));
    }
    let of_classes = snapshot.runtime_classes.iter().flat_map(|c| &c.scheduling.node_selector);
    let of_classes = of_classes.filter(|(key, _)| is_system(key));
    out.extend(of_classes.map(|(key, value)| labels::equals(key, value)));
    out.into_iter().collect()
}
