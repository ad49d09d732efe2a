//! What suites of the controller share: objects, and waiting for what it brings about.

#![allow(dead_code, reason = "each suite uses some of it")]

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stowage_e2e::{Client, ControlPlane};

pub(crate) const CLAIMS: &str = "/apis/karpenter.sh/v1/nodeclaims";
pub(crate) const CLASSES: &str = "/apis/karpenter.k8s.aws/v1/ec2nodeclasses";
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(50);

/// Waits until something is there, and keeps the logs where it is not in time.
pub(crate) fn until<T>(
    plane: &ControlPlane,
    patience: Duration,
    what: &str,
    mut holds: impl FnMut() -> Option<T>,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = holds() {
            return found;
        }
        if started.elapsed() > patience {
            plane.keep_logs();
            panic!("waited for {what}: see {}", plane.logs().display());
        }
        thread::sleep(EVERY);
    }
}

/// How many pods have a node.
pub(crate) fn bound(client: &Client) -> usize {
    let pods = items(&client.get(PODS).unwrap());
    pods.iter().filter(|pod| pod["spec"]["nodeName"].is_string()).count()
}

/// The objects of a list.
pub(crate) fn items(list: &Value) -> Vec<Value> {
    list["items"].as_array().unwrap().clone()
}

pub(crate) fn node_pool() -> Value {
    stowage_e2e::node_pool("default")
}

/// A class that NodePools name, which nobody looks up: it says of itself that it is ready.
pub(crate) fn ready_class(client: &Client) {
    let class = json!({
        "apiVersion": "karpenter.k8s.aws/v1", "kind": "EC2NodeClass", "metadata": {"name": "default"},
        "spec": {
            "amiSelectorTerms": [{"alias": "al2023@latest"}],
            "role": "nodes",
            "subnetSelectorTerms": [{"tags": {"cluster": "e2e"}}],
            "securityGroupSelectorTerms": [{"tags": {"cluster": "e2e"}}],
        },
    });
    client.create(CLASSES, &class).unwrap();
    set_class(client, "True");
}

/// The class says of itself that it is ready, or that it is not.
pub(crate) fn set_class(client: &Client, ready: &str) {
    let condition = json!({
        "type": "Ready", "status": ready, "reason": "SubnetsNotFound", "message": "SubnetsReady=False",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    client
        .patch(&format!("{CLASSES}/default/status"), &json!({"status": {"conditions": [condition]}}))
        .unwrap();
}
