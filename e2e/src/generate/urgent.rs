//! Pods that may take the place of others, and pods that a node holds room for.
//!
//! Drawn from numbers of its own and added to a cluster that is made already, so that it changes nothing else of it.

use serde_json::{Value, json};

use super::pod::container;
use crate::case::Case;
use crate::random::Random;

/// How many clusters in a hundred that have nodes get pods that preempt, and how many a nominated one.
const PREEMPTING: u64 = 22;
const NOMINATED: u64 = 15;

/// Adds such pods to some clusters.
pub(super) fn add(seed: u64, case: &mut Case) {
    let mut random = Random::new(seed ^ 0x7572_6765_6e74);
    let random = &mut random;
    let nodes: Vec<Value> = case.of_kind("Node").cloned().collect();
    if nodes.is_empty() {
        return;
    }
    let near_others = case.pending().any(|pod| pod["spec"]["affinity"]["podAffinity"].is_object());
    // What an eviction does to pods that are to be near the victim is not worked out.
    if random.percent(PREEMPTING) && !near_others {
        let running = |o: &&mut Value| o["kind"] == "Pod" && o["spec"]["nodeName"].is_string();
        let mut rank = 0;
        for pod in case.objects.iter_mut().filter(running) {
            // One that ends already is nobody's victim, and would hold its room here for ever.
            if let Some(meta) = pod["metadata"].as_object_mut() {
                meta.remove("deletionTimestamp");
            }
            // No two alike: of pods and nodes that are equally dear the scheduler takes any.
            pod["spec"]["priorityClassName"] = if pod["metadata"]["ownerReferences"].is_null() {
                rank += 1;
                json!(format!("rank-{rank}"))
            } else {
                json!("system-node-critical")
            };
        }
        for at in 0..random.within(1, 2) {
            let node = random.pick(&nodes);
            let cpu = milli(&node["status"]["allocatable"]["cpu"]).saturating_sub(random.within(1, 5) * 100);
            let mut pod = pending(&format!("urgent-{at}"), &format!("{cpu}m"));
            pod["spec"]["priorityClassName"] = json!("urgent");
            if random.percent(60) {
                pod["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
            }
            case.objects.push(pod);
        }
        // Whoever preempts takes no heed of pods of lower priority that are nominated; planning does.
        return;
    }
    if random.percent(NOMINATED) {
        let node = random.pick(&nodes);
        let name = &node["metadata"]["name"];
        let pods = case.of_kind("Pod").filter(|pod| pod["spec"]["nodeName"] == *name).count();
        let most = node["status"]["allocatable"]["pods"].as_str().and_then(|n| n.parse().ok()).unwrap_or(0);
        // What runs there never takes more than half of the smallest node, so there is room but for the number of pods.
        if pods < most {
            let mut pod = pending("held", "100m");
            pod["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
            pod["status"]["nominatedNodeName"] = name.clone();
            case.objects.push(pod);
        }
    }
}

fn pending(name: &str, cpu: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}},
        "spec": {"containers": [container(cpu, "128Mi")]},
        "status": {"phase": "Pending"},
    })
}

fn milli(amount: &Value) -> usize {
    amount.as_str().and_then(|text| text.trim_end_matches('m').parse().ok()).unwrap_or(0)
}

/// Priority classes for pods that run, one for each.
pub(super) fn ranks() -> impl Iterator<Item = Value> {
    (1..=9).map(|rank| {
        json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": format!("rank-{rank}")},
            "value": -100 - rank, "preemptionPolicy": "Never",
        })
    })
}
