//! The node that a claim will be at least, before anybody knows which: what all of the types that it names have.

use std::collections::BTreeMap;

use stowage_api::well_known::{ARCH, HOSTNAME, INSTANCE_TYPE, OS, stable};
use stowage_api::{NodeClaim, Operator, Quantity};
use stowage_cluster::Snapshot;
use stowage_cluster::object::Node;
use stowage_pricing::{Catalog, InstanceType, NodeConfig};

/// The node that stands for a claim which was not launched yet. It has the room that the smallest of its types has, the labels
/// that they share, and counts against limits as the largest. `None` where the claim names no type that is known.
///
/// Who asked for the claim knew more. This is for when that process has ended.
pub fn stand_in(claim: &NodeClaim, snapshot: &Snapshot, catalog: &Catalog) -> Option<Node> {
    let mut types = types(claim, snapshot, catalog).into_iter();
    let first = types.next()?;
    let mut labels = labels_of(&first);
    let mut least = first.allocatable();
    let mut most: BTreeMap<String, Quantity> = first.resources.as_ref().clone();
    for of in types {
        let others = labels_of(&of);
        labels.retain(|key, value| others.get(key) == Some(value));
        let own = of.allocatable();
        least.retain(|name, _| own.contains_key(name));
        for (name, amount) in &mut least {
            *amount = own[name].min(*amount);
        }
        for (name, amount) in of.resources.iter() {
            let known = most.entry(name.clone()).or_insert(*amount);
            *known = (*amount).max(*known);
        }
    }
    for requirement in &claim.spec.requirements {
        let key = stable(&requirement.key);
        // Of several, the one that was planned comes first. Types are no label unless there is one.
        let values = &requirement.values;
        if requirement.operator == Operator::In
            && let Some(value) = values.first()
            && (key != INSTANCE_TYPE || values.len() == 1)
        {
            labels.insert(key.to_owned(), value.clone());
        }
    }
    labels.extend(claim.metadata.labels.clone());
    labels.insert(HOSTNAME.to_owned(), claim.metadata.name.clone());
    let mut node = Node::default();
    node.metadata.name.clone_from(&claim.metadata.name);
    node.metadata.labels = labels;
    node.spec.taints.clone_from(&claim.spec.taints);
    node.status.allocatable = least.into_iter().collect();
    node.status.capacity = most.into_iter().collect();
    Some(node)
}

fn labels_of(of: &InstanceType) -> BTreeMap<String, String> {
    let mut labels = of.labels.as_ref().clone();
    labels.insert(ARCH.to_owned(), of.architecture.clone());
    labels.extend(of.operating_systems.first().map(|os| (OS.to_owned(), os.clone())));
    labels
}

/// The types that a claim names, as nodes of its class have them; the planned one first.
fn types(claim: &NodeClaim, snapshot: &Snapshot, catalog: &Catalog) -> Vec<InstanceType> {
    let named = claim.spec.requirements.iter();
    let mut named = named.filter(|r| stable(&r.key) == INSTANCE_TYPE && r.operator == Operator::In);
    let Some(named) = named.next() else { return Vec::new() };
    let class = claim.spec.node_class_ref.as_ref();
    let class = snapshot.node_classes.iter().find(|c| class.is_some_and(|of| of.name == c.metadata.name));
    let config = class.map(|class| {
        let base = catalog.source.nodes().cloned().unwrap_or_default();
        NodeConfig::of(class, &base).0
    });
    let of = |name: &String| match &config {
        Some(config) => catalog.find_suited(name, config).ok().flatten(),
        None => catalog.find(name).cloned(),
    };
    named.values.iter().filter_map(of).collect()
}
