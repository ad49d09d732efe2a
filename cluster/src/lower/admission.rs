//! What the API server and the scheduler's configuration add to a pod as it is written.
//!
//! - *Runtime classes*: overhead, node selector and tolerations. The API server merges them into each pod it admits, so
//!   pods of a captured cluster have them already; manifests do not. Kubernetes' source of truth: the admission plugin
//!   `RuntimeClass`.
//! - *Default spread*: pods that state no spread and belong to a workload get the constraints of the scheduler's
//!   configuration (`defaultConstraints` of its plugin `PodTopologySpread`). The plugin infers their selector from the
//!   services and the workload that select the pod; here it is the pod's own labels, but for those that only one pod of
//!   a `StatefulSet` has. That selects the same pods wherever a workload gives all its pods the same labels.

use std::borrow::Cow;

use super::world::World;
use crate::object::{LabelSelector, PodSpec};
use crate::snapshot::Pod;

/// Labels by which a `StatefulSet` tells its pods apart.
const OF_ONE_POD: [&str; 2] = ["statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"];

/// Whether the spread of the scheduler's configuration holds for a pod.
pub(super) fn spreads_by_default(pod: &Pod, world: &World<'_>) -> bool {
    pod.replicated && pod.spec.topology_spread_constraints.is_empty() && !world.default_spread.is_empty()
}

/// The spec of a pod with its runtime class in it.
pub(super) fn with_runtime_class<'p>(spec: &'p PodSpec, world: &World<'_>) -> Cow<'p, PodSpec> {
    let Some(class) = world.runtime_class(&spec.runtime_class_name) else { return Cow::Borrowed(spec) };
    let mut spec = spec.clone();
    if spec.overhead.iter().next().is_none() {
        spec.overhead = class.overhead.pod_fixed.clone();
    }
    for (key, value) in &class.scheduling.node_selector {
        spec.node_selector.entry(key.clone()).or_insert_with(|| value.clone());
    }
    for toleration in &class.scheduling.tolerations {
        if !spec.tolerations.contains(toleration) {
            spec.tolerations.push(toleration.clone());
        }
    }
    Cow::Owned(spec)
}

/// The spec of a pod that waits for a node, as the scheduler sees it.
pub(super) fn effective<'p>(pod: &'p Pod, world: &World<'_>) -> Cow<'p, PodSpec> {
    let mut spec = with_runtime_class(&pod.spec, world);
    if spreads_by_default(pod, world) {
        let own = pod.labels.iter().filter(|(key, _)| !OF_ONE_POD.contains(&key.as_str()));
        let match_labels = own.map(|(key, value)| (key.clone(), value.clone())).collect();
        let selector = LabelSelector { match_labels, match_expressions: Vec::new() };
        let constraints = world.default_spread.iter().cloned().map(|mut constraint| {
            constraint.label_selector = Some(selector.clone());
            constraint
        });
        spec.to_mut().topology_spread_constraints.extend(constraints);
    }
    spec
}
