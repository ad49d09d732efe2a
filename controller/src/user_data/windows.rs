//! Windows: a script that the image brings, called after the user's own.

use serde_json::Value;

use super::Boot;

pub(super) fn user_data(boot: &Boot) -> String {
    let mut kubelet = boot.registration_flags();
    let config = boot.kubelet_config();
    if let Some(most) = config.get("maxPods").and_then(Value::as_u64) {
        kubelet.push(format!("--max-pods={most}"));
    }
    let mut flags = vec![
        format!("-EKSClusterName {}", quoted(&boot.cluster)),
        format!("-APIServerEndpoint {}", quoted(&boot.endpoint)),
        format!("-Base64ClusterCA {}", quoted(&boot.ca_bundle)),
    ];
    if let Some(dns) = config.get("clusterDNS").and_then(|dns| dns[0].as_str()) {
        flags.push(format!("-DNSClusterIP {}", quoted(dns)));
    }
    flags.push(format!("-KubeletExtraArgs {}", quoted(&kubelet.join(" "))));
    let own = boot.custom.as_deref().map(body).unwrap_or_default();
    let own = if own.is_empty() { String::new() } else { format!("{own}\n") };
    format!(
        "<powershell>\n{own}[string]$EKSBootstrapScriptFile = \"$env:ProgramFiles\\Amazon\\EKS\\Start-EKSBootstrap.ps1\"\n\
         & $EKSBootstrapScriptFile {}\n</powershell>\n",
        flags.join(" ")
    )
}

/// The user's script without the tags around it.
fn body(text: &str) -> &str {
    let text = text.trim();
    let text = text.strip_prefix("<powershell>").unwrap_or(text);
    text.strip_suffix("</powershell>").unwrap_or(text).trim()
}

/// A word that PowerShell takes as it is.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "''"))
}
