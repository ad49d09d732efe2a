//! Pods without a node that planning leaves alone: the plan must name none of them, and they take nobody's place.
//!
//! Drawn from numbers of its own and added to a cluster that is made already, so that it changes nothing else of it.

use serde_json::{Value, json};

use super::pod::container;
use crate::case::Case;
use crate::random::Random;

/// How many clusters in a hundred have such pods.
const CLUSTERS: u64 = 20;

/// Adds some to some clusters.
pub(super) fn add(seed: u64, case: &mut Case) {
    let mut random = Random::new(seed ^ 0x6279_7374);
    if random.percent(CLUSTERS) {
        let all = [gated(), of_another_scheduler(), mirror(), of_a_daemon_set(), terminating()];
        case.objects.extend(random.some(&all));
    }
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": "web", "tier": "front", "version": "v0"}},
        "spec": {"containers": [container("700m", "1Gi")]},
        "status": {"phase": "Pending"},
    })
}

fn gated() -> Value {
    let mut pod = pod("gated");
    pod["spec"]["schedulingGates"] = json!([{"name": "example.com/quota"}]);
    pod
}

fn of_another_scheduler() -> Value {
    let mut pod = pod("others");
    pod["spec"]["schedulerName"] = json!("batch-scheduler");
    pod
}

fn mirror() -> Value {
    let mut pod = pod("mirror");
    pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "0123"});
    pod["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "Node", "name": "node-0", "uid": "uid", "controller": true}]);
    pod
}

fn of_a_daemon_set() -> Value {
    let mut pod = pod("daemon");
    pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "uid", "controller": true}]);
    pod
}

fn terminating() -> Value {
    let mut pod = pod("ending");
    pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    pod
}
