//! What scenario files may say more tersely than a snapshot: a Deployment stands for its pods, a node for its labels.

use serde_json::{Map, Value, json};

const ZONE: &str = "topology.kubernetes.io/zone";

/// The objects of a snapshot.
pub(super) fn expanded(documents: Vec<Value>) -> Result<Vec<Value>, String> {
    let mut out = Vec::new();
    for mut object in documents {
        match object["kind"].as_str() {
            Some("Deployment") => out.extend(pods(&object)?),
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
