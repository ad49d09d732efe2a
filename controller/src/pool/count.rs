//! What the nodes of each `NodePool` have together: `status.resources` and `status.nodes`.
//!
//! A machine counts from its launch until it is gone, once: as its Node where that is there, else as its `NodeClaim`.

use std::collections::{BTreeMap, HashSet};

use stowage_api::well_known::{CPU, EPHEMERAL_STORAGE, MEMORY, NODE_POOL, NODES, PODS};
use stowage_api::{NodePool, Quantity, ResourceList};
use stowage_cluster::Snapshot;

/// What nodes have together, and how many they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// By resource.
    pub resources: BTreeMap<String, Quantity>,
    /// Nodes.
    pub nodes: i64,
}

impl Count {
    /// As a status shows it: with zeros for what nothing has of, and the number of nodes among the resources.
    pub fn shown(&self) -> BTreeMap<String, Quantity> {
        let none = [CPU, MEMORY, PODS, EPHEMERAL_STORAGE].map(|name| (name.to_owned(), Quantity::ZERO));
        let mut all = BTreeMap::from(none);
        all.extend(self.resources.clone());
        all.insert(NODES.to_owned(), Quantity::from_units(self.nodes));
        all
    }

    /// One more node.
    pub(crate) fn add(&mut self, capacity: &ResourceList) {
        self.nodes += 1;
        for (name, amount) in capacity.iter() {
            let known = self.resources.get(name);
            // More than eight pebi-units of anything is nothing to be exact about.
            let sum = known.map_or(amount, |known| known.checked_add(amount).unwrap_or(*known));
            self.resources.insert(name.to_owned(), sum);
        }
    }
}

/// How many nodes a `NodePool` may have.
pub fn node_limit(pool: &NodePool) -> u64 {
    let limit = pool.spec.limits.get(NODES);
    limit.map_or(u64::MAX, |limit| u64::try_from(limit.floor_units()).unwrap_or_default())
}

/// By name of the `NodePool`; those without nodes are not there.
pub fn counts(snapshot: &Snapshot) -> BTreeMap<&str, Count> {
    let mut out = BTreeMap::<&str, Count>::new();
    let (mut names, mut machines) = (HashSet::new(), HashSet::new());
    for node in snapshot.nodes() {
        names.insert(node.metadata.name.as_str());
        machines.insert(node.spec.provider_id.as_str());
        let Some(pool) = node.metadata.labels.get(NODE_POOL) else { continue };
        let status = &node.status;
        let capacity = if status.capacity.is_empty() { &status.allocatable } else { &status.capacity };
        out.entry(pool).or_default().add(capacity);
    }
    for claim in snapshot.node_claims() {
        let (node, machine) = (claim.status.node_name.as_str(), claim.status.provider_id.as_str());
        if machine.is_empty() || names.contains(node) || machines.contains(machine) {
            continue;
        }
        if let Some(pool) = claim.metadata.labels.get(NODE_POOL) {
            out.entry(pool).or_default().add(&claim.status.capacity);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use stowage_cluster::{Index, Kind};

    use super::*;

    fn node(name: &str, pool: &str, machine: &str) -> Value {
        json!({
            "metadata": {"name": name, "labels": {"karpenter.sh/nodepool": pool}},
            "spec": {"providerID": machine},
            "status": {"capacity": {"cpu": "3500m", "memory": "6Gi", "pods": "29"}},
        })
    }

    fn claim(name: &str, pool: &str, machine: &str) -> Value {
        json!({
            "metadata": {"name": name, "labels": {"karpenter.sh/nodepool": pool}},
            "status": {"providerID": machine, "capacity": {"cpu": "2", "memory": "2Gi", "nvidia.com/gpu": "1"}},
        })
    }

    #[test]
    fn every_machine_counts_once() {
        let mut index = Index::default();
        for (kind, object) in [
            (Kind::Node, node("n-1", "a", "aws:///z/i-1")),
            (Kind::NodeClaim, claim("a-1", "a", "aws:///z/i-1")),
            (Kind::NodeClaim, claim("a-2", "a", "aws:///z/i-2")),
            (Kind::NodeClaim, claim("a-3", "a", "")),
            (Kind::Node, node("n-9", "b", "aws:///z/i-9")),
            (Kind::Node, json!({"metadata": {"name": "stranger"}})),
        ] {
            index.apply(kind, &object.to_string()).expect("an object");
        }
        let snapshot = index.snapshot();
        let counts = counts(&snapshot);
        assert_eq!(counts.keys().copied().collect::<Vec<_>>(), ["a", "b"]);
        let shown: Vec<String> = counts["a"].shown().iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            shown,
            ["cpu=5500m", "ephemeral-storage=0", "memory=8Gi", "nodes=2", "nvidia.com/gpu=1", "pods=29"]
        );
        assert_eq!(Count::default().shown().len(), 5);
    }
}
