//! Claims of devices as the resource claim controller makes them from templates.

use serde_json::{Value, json};

use crate::case::Case;

fn references(pod: &Value) -> impl Iterator<Item = &Value> {
    pod["spec"]["resourceClaims"].as_array().into_iter().flatten()
}

/// Whether a pod refers to a claim by its name.
pub(super) fn uses(pod: &Value, claim: &Value) -> bool {
    pod["metadata"]["namespace"] == claim["metadata"]["namespace"]
        && references(pod).any(|r| r["resourceClaimName"] == claim["metadata"]["name"])
}

/// Whether a pod has a claim that is not there and that nothing is there to make from.
pub(super) fn lacks_claims(pod: &Value, case: &Case) -> bool {
    references(pod).any(|reference| {
        let (kind, name) = match &reference["resourceClaimTemplateName"] {
            Value::Null => ("ResourceClaim", &reference["resourceClaimName"]),
            template => ("ResourceClaimTemplate", template),
        };
        let namespace = &pod["metadata"]["namespace"];
        !case
            .of_kind(kind)
            .any(|o| o["metadata"]["name"] == *name && o["metadata"]["namespace"] == *namespace)
    })
}

/// The claims that are made for a pod. A template that is not there makes none.
pub(super) fn made_for(pod: &Value, templates: &[Value]) -> Vec<Value> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = |reference: &Value| {
        let template = templates.iter().find(|t| {
            t["metadata"]["namespace"] == pod["metadata"]["namespace"]
                && t["metadata"]["name"] == reference["resourceClaimTemplateName"]
        })?;
        Some(json!({
            "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
            "metadata": {
                "name": format!("{}-{}", text(&pod["metadata"]["name"]), text(&reference["name"])),
                "namespace": pod["metadata"]["namespace"],
                "annotations": {"resource.kubernetes.io/pod-claim-name": reference["name"]},
            },
            "spec": template["spec"]["spec"],
        }))
    };
    references(pod).filter_map(of).collect()
}

/// What the pod's status says of claims that were made for it.
pub(super) fn statuses(made: &[Value]) -> Vec<Value> {
    let of = |claim: &Value| {
        json!({
            "name": claim["metadata"]["annotations"]["resource.kubernetes.io/pod-claim-name"],
            "resourceClaimName": claim["metadata"]["name"],
        })
    };
    made.iter().map(of).collect()
}
