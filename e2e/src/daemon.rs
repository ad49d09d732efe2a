//! Which pods `DaemonSet`s run on a node. The `DaemonSet`s made up here say where by node selector and tolerations only.

use serde_json::{Value, json};

/// The pods that these `DaemonSet`s run on a node.
pub(crate) fn pods_on(node: &Value, daemon_sets: &[Value]) -> Vec<Value> {
    daemon_sets.iter().filter(|d| suits(node, &d["spec"]["template"]["spec"])).map(|d| pod(node, d)).collect()
}

fn pod(node: &Value, daemon_set: &Value) -> Value {
    let (name, node) = (&daemon_set["metadata"]["name"], &node["metadata"]["name"]);
    let mut spec = daemon_set["spec"]["template"]["spec"].clone();
    spec["nodeName"] = node.clone();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("{}-{}", name.as_str().unwrap_or_default(), node.as_str().unwrap_or_default()),
            "namespace": daemon_set["metadata"]["namespace"],
            "labels": daemon_set["spec"]["template"]["metadata"]["labels"],
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "DaemonSet", "name": name, "uid": format!("uid-{name}"), "controller": true,
            }],
        },
        "spec": spec,
        "status": {"phase": "Running"},
    })
}

fn suits(node: &Value, spec: &Value) -> bool {
    let selected = spec["nodeSelector"]
        .as_object()
        .is_none_or(|wanted| wanted.iter().all(|(key, value)| node["metadata"]["labels"][key] == *value));
    let tolerates_all = spec["tolerations"]
        .as_array()
        .is_some_and(|t| t.iter().any(|t| t["operator"] == "Exists" && t["key"].is_null()));
    let tainted = node["spec"]["taints"]
        .as_array()
        .is_some_and(|taints| taints.iter().any(|t| t["effect"] != "PreferNoSchedule"));
    selected && (tolerates_all || !tainted)
}
