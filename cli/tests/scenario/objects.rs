//! What scenario files may say more tersely than a snapshot: a Deployment stands for its pods, a node for its labels.

use serde_json::{Map, Value, json};

const ZONE: &str = "topology.kubernetes.io/zone";

/// The objects of a snapshot.
pub(super) fn expanded(documents: Vec<Value>) -> Result<Vec<Value>, String> {
    let mut out = Vec::new();
    for mut object in documents {
        match object["kind"].as_str() {
            Some("Deployment") => out.extend(pods(&object)?),
            Some("Bought") => {
                let [mut node, claim] = bought(&object)?;
                label(&mut node);
                out.extend([node, claim]);
            }
            Some("Node") => {
                label(&mut object);
                out.push(object);
            }
            _ => out.push(object),
        }
    }
    Ok(out)
}

/// The pods of a Deployment, called after it and numbered from 0; running where the template names a node.
fn pods(deployment: &Value) -> Result<Vec<Value>, String> {
    let name = deployment["metadata"]["name"].as_str().ok_or("a Deployment without a name")?;
    let replicas =
        deployment["spec"]["replicas"].as_u64().ok_or_else(|| format!("Deployment {name}: no replicas"))?;
    let template = deployment["spec"]["template"]
        .as_object()
        .ok_or_else(|| format!("Deployment {name}: no template"))?;
    let pod = |n: u64| {
        let mut pod = template.clone();
        pod.insert("apiVersion".to_owned(), json!("v1"));
        pod.insert("kind".to_owned(), json!("Pod"));
        let phase = if pod["spec"]["nodeName"].is_null() { "Pending" } else { "Running" };
        pod.entry("status").or_insert_with(|| json!({"phase": phase}));
        let metadata = pod.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        metadata["name"] = json!(format!("{name}-{n}"));
        if let Some(namespace) = deployment["metadata"]["namespace"].as_str() {
            metadata["namespace"] = json!(namespace);
        }
        Value::Object(pod)
    };
    Ok((0..replicas).map(pod).collect())
}

/// A node that a NodePool has bought, and its NodeClaim: `spec` says type, zone, what pods may use, and where it is another
/// than usual the capacity type, the NodePool, and more of the claim's status.
fn bought(from: &Value) -> Result<[Value; 2], String> {
    let (name, spec) = (&from["metadata"]["name"], &from["spec"]);
    let text = |key: &str, usual: &str| spec[key].as_str().unwrap_or(usual).to_owned();
    if name.is_null() || spec["type"].is_null() || spec["zone"].is_null() || spec["allocatable"].is_null() {
        return Err(format!("Bought {name}: no name, type, zone or allocatable"));
    }
    let pool = text("pool", "default");
    let mut labels = json!({
        "karpenter.sh/nodepool": pool, "karpenter.sh/initialized": "true",
        "node.kubernetes.io/instance-type": spec["type"], ZONE: spec["zone"],
        "karpenter.sh/capacity-type": text("capacityType", "on-demand"),
    });
    if let (Some(all), Some(own)) = (labels.as_object_mut(), from["metadata"]["labels"].as_object()) {
        all.extend(own.clone());
    }
    let mut status = spec["status"].as_object().cloned().unwrap_or_default();
    status.insert("nodeName".to_owned(), name.clone());
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": from["metadata"]["annotations"]},
        "status": {"allocatable": spec["allocatable"], "capacity": spec["allocatable"],
                   "conditions": [{"type": "Ready", "status": "True"}]},
    });
    let claim = json!({
        "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
        "metadata": {"name": format!("claim-of-{}", name.as_str().unwrap_or_default()),
                     "labels": {"karpenter.sh/nodepool": pool}},
        "status": status,
    });
    Ok([node, claim])
}

/// The labels that every node has, as far as they can be told from those that the file gives it.
fn label(node: &mut Value) {
    let name = node["metadata"]["name"].clone();
    if !node["metadata"].is_object() {
        return;
    }
    let labels = &mut node["metadata"]["labels"];
    if labels.is_null() {
        *labels = Value::Object(Map::new());
    }
    let Some(labels) = labels.as_object_mut() else { return };
    for (key, value) in [
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", json!("linux")),
        ("kubernetes.io/arch", json!("amd64")),
        ("topology.ebs.csi.aws.com/zone", labels.get(ZONE).cloned().unwrap_or_default()),
    ] {
        if !value.is_null() {
            labels.entry(key).or_insert(value);
        }
    }
}
