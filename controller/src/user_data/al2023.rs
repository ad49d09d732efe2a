//! Amazon Linux 2023: nodeadm, which reads `NodeConfig`s and merges them, the last one first.

use serde_json::{Value, json};

use super::mime::{self, NODE_CONFIG, Part, SHELL};
use super::{Boot, UserDataError, effect};

pub(super) fn user_data(boot: &Boot) -> Result<String, UserDataError> {
    let mut parts = match boot.custom.as_deref().filter(|text| !text.trim().is_empty()) {
        Some(text) => of_user(text)?,
        None => Vec::new(),
    };
    // JSON is YAML, and needs no care with quotes.
    let config = serde_json::to_string_pretty(&node_config(boot)?).unwrap_or_default();
    parts.push((NODE_CONFIG.to_owned(), format!("# Written by the controller.\n{config}")));
    Ok(mime::join(&parts))
}

/// What the user wrote: parts, a `NodeConfig`, or a script.
fn of_user(text: &str) -> Result<Vec<Part>, UserDataError> {
    if mime::has_parts(text) {
        return mime::split(text);
    }
    let is_config = !text.trim_start().starts_with("#!")
        && text.lines().any(|line| line.trim_start().trim_start_matches('"').starts_with("apiVersion"))
        && text.contains("node.eks.aws/");
    let kind = if is_config { NODE_CONFIG } else { SHELL };
    Ok(vec![(kind.to_owned(), text.to_owned())])
}

fn node_config(boot: &Boot) -> Result<Value, UserDataError> {
    let cidr = boot.service_cidr.as_ref().ok_or(UserDataError::Missing(
        "the range of Services' addresses is not known, and nodeadm needs it: set STOWAGE_SERVICE_CIDR",
    ))?;
    let mut kubelet = boot.kubelet_config();
    if !boot.taints.is_empty() {
        let taints: Vec<Value> = boot
            .taints
            .iter()
            .map(|taint| {
                let mut out = json!({"key": taint.key, "effect": effect(taint)});
                if !taint.value.is_empty() {
                    out["value"] = json!(taint.value);
                }
                out
            })
            .collect();
        kubelet.insert("registerWithTaints".to_owned(), taints.into());
    }
    let mut out = json!({
        "apiVersion": "node.eks.aws/v1alpha1",
        "kind": "NodeConfig",
        "spec": {
            "cluster": {
                "name": boot.cluster,
                "apiServerEndpoint": boot.endpoint,
                "certificateAuthority": boot.ca_bundle,
                "cidr": cidr,
            },
            "kubelet": {"config": kubelet},
        },
    });
    let labels = boot.label_flag();
    if !labels.is_empty() {
        out["spec"]["kubelet"]["flags"] = json!([format!("--node-labels=\"{labels}\"")]);
    }
    if boot.raid0 {
        out["spec"]["instance"] = json!({"localStorage": {"strategy": "RAID0"}});
    }
    Ok(out)
}
