//! The virtual pods of a buffer, from the template of the pods that are to come.

use serde_json::{Value, json};
use stowage_cluster::{Index, Kind, Pod};

/// What the names of virtual pods begin with.
pub(super) const PREFIX: &str = "capacity-buffer-";

/// A virtual pod of a buffer, from a pod template as the API server gives it; its name lacks the number.
///
/// Volumes that are claimed are left out: no claim of theirs exists.
///
/// # Errors
/// What is wrong with the template.
pub(super) fn virtual_pod(namespace: &str, buffer: &str, template: &Value) -> Result<Pod, String> {
    let mut spec = template["spec"].clone();
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("nodeName");
        // It says how a pod begins its life; this one has none.
        spec.remove("schedulingGates");
        spec.remove("schedulerName");
        if let Some(volumes) = spec.get_mut("volumes").and_then(Value::as_array_mut) {
            volumes.retain(|v| v.get("persistentVolumeClaim").is_none() && v.get("ephemeral").is_none());
        }
    }
    let pod = json!({
        "metadata": {
            "namespace": namespace,
            "name": format!("{PREFIX}{buffer}-"),
            "labels": template["metadata"]["labels"],
        },
        "spec": spec,
        "status": {
            "phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}],
        },
    });
    let mut index = Index::default();
    index
        .apply(Kind::Pod, &pod.to_string())
        .map_err(|error| format!("{}: {}", error.field, error.problem))?;
    index.snapshot().pods().next().cloned().ok_or_else(|| "it is no pod template".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_pod_is_the_template_without_claims() {
        let template = json!({
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "nodeName": "n-1",
                "schedulerName": "other",
                "nodeSelector": {"tier": "web"},
                "containers": [{"name": "main", "resources": {"requests": {"cpu": "1"}}}],
                "volumes": [
                    {"name": "a", "persistentVolumeClaim": {"claimName": "a"}},
                    {"name": "b", "ephemeral": {"volumeClaimTemplate": {}}},
                    {"name": "c", "emptyDir": {}},
                ],
            },
        });
        let pod = virtual_pod("shop", "room", &template).expect("a pod");
        assert_eq!((pod.key().as_str(), pod.refused), ("shop/capacity-buffer-room-", true));
        assert_eq!(pod.pending(), Some(Ok(())));
        assert_eq!(pod.labels.get("app").map(String::as_str), Some("web"));
        assert_eq!(pod.spec.volumes.len(), 0, "those that are no claims are not read anyway");
    }

    #[test]
    fn what_is_wrong_with_a_template_is_said() {
        let template = json!({"spec": {"containers": [{"resources": {"requests": {"cpu": "lots"}}}]}});
        let said = virtual_pod("shop", "room", &template).expect_err("no amount");
        assert!(said.starts_with("spec.containers[0].resources.requests.cpu: "), "{said}");
    }
}
