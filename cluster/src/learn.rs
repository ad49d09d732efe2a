//! What the nodes of a snapshot show of the memory that machines really have.
//!
//! Karpenter writes the image of a machine into its `NodeClaim`; EKS labels the nodes of its node groups with theirs. Nodes
//! of which neither is there say nothing: an image of another version may keep more memory for itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use stowage_api::well_known::{EC2_NODE_CLASS, INSTANCE_TYPE, MEMORY, NODE_GROUP_IMAGE};
use stowage_pricing::{LearntCapacity, Timestamp};

use crate::object::Node;
use crate::snapshot::Snapshot;

/// Adds what a snapshot's nodes have, seen at `now`.
///
/// ```
/// use stowage_cluster::{ReadOptions, Source, learn, read};
/// use stowage_pricing::{LearntCapacity, Timestamp};
///
/// let bytes = br#"{"kind": "Node", "metadata": {"name": "n1", "labels": {
///     "node.kubernetes.io/instance-type": "m7i.large", "eks.amazonaws.com/nodegroup-image": "ami-1"}},
///     "status": {"capacity": {"memory": "7934656Ki"}}}"#;
/// let snapshot = read(&[Source { name: "node.json", bytes }], &ReadOptions::default())?;
/// let mut learnt = LearntCapacity::default();
/// learn(&snapshot, &mut learnt, Timestamp::EPOCH);
/// assert_eq!(learnt.memory("m7i.large", ["ami-1"]), Some("7934656Ki".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn learn(snapshot: &Snapshot, learnt: &mut LearntCapacity, now: Timestamp) {
    for (node, image) in with_images(snapshot) {
        let memory = node.status.capacity.get(MEMORY);
        if let (Some(of), Some(memory)) = (node.metadata.labels.get(INSTANCE_TYPE), memory) {
            learnt.observe(of, image, memory, now);
        }
    }
}

/// Images of the nodes that run, by the name of their `EC2NodeClass`; empty for those that name none.
pub(crate) fn images(snapshot: &Snapshot) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut by_class = BTreeMap::<&str, BTreeSet<&str>>::new();
    for (node, image) in with_images(snapshot) {
        let class = node.metadata.labels.get(EC2_NODE_CLASS).map_or("", String::as_str);
        by_class.entry(class).or_default().insert(image);
    }
    by_class
}

/// Nodes whose images are known.
fn with_images(snapshot: &Snapshot) -> impl Iterator<Item = (&Node, &str)> {
    let claims = || snapshot.node_claims.iter().filter(|c| !c.status.image_id.is_empty());
    let by_node: HashMap<&str, &str> =
        claims().map(|c| (c.status.node_name.as_str(), c.status.image_id.as_str())).collect();
    let by_machine: HashMap<&str, &str> =
        claims().map(|c| (c.status.provider_id.as_str(), c.status.image_id.as_str())).collect();
    let image = move |node: &Node| {
        let machine = Some(node.spec.provider_id.as_str()).filter(|id| !id.is_empty());
        let claimed = by_node.get(node.metadata.name.as_str());
        claimed.or_else(|| by_machine.get(machine?)).copied()
    };
    snapshot.nodes().filter_map(move |node| {
        let labelled = || node.metadata.labels.get(NODE_GROUP_IMAGE).map(String::as_str);
        Some((node, image(node).or_else(labelled).filter(|image| !image.is_empty())?))
    })
}
