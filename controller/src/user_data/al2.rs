//! Amazon Linux 2: a script that the image brings, with flags.

use serde_json::Value;

use super::mime::{self, Part, SHELL};
use super::{Boot, UserDataError};

pub(super) fn user_data(boot: &Boot) -> Result<String, UserDataError> {
    let mut parts: Vec<Part> = match boot.custom.as_deref().filter(|text| !text.trim().is_empty()) {
        Some(text) if mime::has_parts(text) => mime::split(text)?,
        Some(text) => vec![(SHELL.to_owned(), text.to_owned())],
        None => Vec::new(),
    };
    parts.push((SHELL.to_owned(), script(boot)));
    Ok(mime::join(&parts))
}

fn script(boot: &Boot) -> String {
    let mut flags = vec![
        format!("--apiserver-endpoint {}", quoted(&boot.endpoint)),
        format!("--b64-cluster-ca {}", quoted(&boot.ca_bundle)),
    ];
    let config = boot.kubelet_config();
    if let Some(dns) = config.get("clusterDNS").and_then(|dns| dns[0].as_str()) {
        flags.push(format!("--dns-cluster-ip {}", quoted(dns)));
    }
    if boot.max_pods.is_some() {
        flags.push("--use-max-pods false".to_owned());
    }
    if boot.raid0 {
        flags.push("--local-disks raid0".to_owned());
    }
    let mut kubelet = boot.registration_flags();
    let numbers = [
        ("maxPods", "--max-pods"),
        ("podsPerCore", "--pods-per-core"),
        ("evictionMaxPodGracePeriod", "--eviction-max-pod-grace-period"),
        ("imageGCHighThresholdPercent", "--image-gc-high-threshold"),
        ("imageGCLowThresholdPercent", "--image-gc-low-threshold"),
        ("cpuCFSQuota", "--cpu-cfs-quota"),
    ];
    let plain = |(name, flag): (&str, &str)| Some(format!("{flag}={}", plain(config.get(name)?)));
    kubelet.extend(numbers.into_iter().filter_map(plain));
    let maps = [
        ("systemReserved", "--system-reserved", "="),
        ("kubeReserved", "--kube-reserved", "="),
        ("evictionHard", "--eviction-hard", "<"),
        ("evictionSoft", "--eviction-soft", "<"),
        ("evictionSoftGracePeriod", "--eviction-soft-grace-period", "="),
    ];
    for (name, flag, between) in maps {
        if let Some(Value::Object(entries)) = config.get(name) {
            let pairs: Vec<String> =
                entries.iter().map(|(key, value)| format!("{key}{between}{}", self::plain(value))).collect();
            kubelet.push(format!("{flag}=\"{}\"", pairs.join(",")));
        }
    }
    let extra = kubelet.join(" ");
    format!(
        "#!/bin/bash -xe\nexec > >(tee /var/log/user-data.log|logger -t user-data -s 2>/dev/console) 2>&1\n\
         /etc/eks/bootstrap.sh {} {} \\\n--kubelet-extra-args '{}'\n",
        quoted(&boot.cluster),
        flags.join(" "),
        extra.replace('\'', "'\\''")
    )
}

/// A value as a flag has it.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A word that the shell takes as it is.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
