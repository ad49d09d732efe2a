//! What a machine is told when it starts: how it finds its cluster, and what its node is to look like.
//!
//! Each family of images has a language of its own. What a user wrote comes first or stays, and what makes the node ours
//! (cluster, labels, taints, kubelet's limits) comes last or wins. `Custom` images are told what the user says, to the letter.
//!
//! compat: karpenter-provider-aws v1.14, `pkg/providers/amifamily/bootstrap`.

mod al2;
mod al2023;
mod bottlerocket;
mod mime;
mod windows;

use std::collections::BTreeMap;

use serde_json::Value;
use stowage_api::{Effect, Taint};
use stowage_pricing::AmiFamily;

/// EC2 takes no more than this, in bytes, before it is encoded.
///
/// Source: EC2 User Guide, "Run commands when you launch an EC2 instance".
pub const MOST_BYTES: usize = 16 << 10;

/// What a machine of a family must know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Boot {
    /// Name of the cluster.
    pub cluster: String,
    /// URL of its API server.
    pub endpoint: String,
    /// Authorities that sign the API server's certificate: PEM in base64.
    pub ca_bundle: String,
    /// Addresses of Services: `10.100.0.0/16`.
    pub service_cidr: Option<String>,
    /// Address of the cluster's DNS, where kubelet's settings name none.
    pub dns: Option<String>,
    /// Labels of the node.
    pub labels: BTreeMap<String, String>,
    /// Taints of the node, those that it starts with included.
    pub taints: Vec<Taint>,
    /// Pods that the node takes.
    pub max_pods: Option<u32>,
    /// Settings of kubelet, as the `EC2NodeClass` has them.
    pub kubelet: BTreeMap<String, Value>,
    /// Whether local disks become one, for pods.
    pub raid0: bool,
    /// What the user wrote.
    pub custom: Option<String>,
}

/// Why there is nothing to tell a machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserDataError {
    /// The user's part does not read.
    #[error("spec.userData: {0}")]
    Custom(String),
    /// Something that the family cannot do without.
    #[error("{0}")]
    Missing(&'static str),
    /// More than EC2 takes.
    #[error("user data is {bytes} bytes, and EC2 takes {MOST_BYTES}: shorten spec.userData")]
    TooLong {
        /// What it came to.
        bytes: usize,
    },
}

impl Boot {
    /// What to tell a machine of this family, as it is before it is encoded for EC2.
    ///
    /// # Errors
    /// Where the user's part does not read, or the whole is more than EC2 takes.
    pub fn user_data(&self, family: AmiFamily) -> Result<String, UserDataError> {
        let text = match family {
            AmiFamily::Al2 => al2::user_data(self)?,
            AmiFamily::Al2023 => al2023::user_data(self)?,
            AmiFamily::Bottlerocket => bottlerocket::user_data(self)?,
            AmiFamily::Windows(_) => windows::user_data(self),
            AmiFamily::Custom => self.custom.clone().unwrap_or_default(),
        };
        if text.len() > MOST_BYTES {
            return Err(UserDataError::TooLong { bytes: text.len() });
        }
        Ok(text)
    }

    /// Labels that kubelet may put on its own node: the API server refuses others of Kubernetes' domains, and the controller
    /// puts those there.
    ///
    /// Source: Kubernetes, admission plug-in `NodeRestriction`.
    fn own_labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let may = |key: &str| {
            let Some((domain, _)) = key.split_once('/') else { return true };
            let within = |of: &str| domain == of || domain.strip_suffix(of).is_some_and(|d| d.ends_with('.'));
            let free = within("kubelet.kubernetes.io") || within("node.kubernetes.io");
            free || !(within("kubernetes.io") || within("k8s.io")) || KUBELETS_OWN.contains(&key)
        };
        self.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).filter(move |(key, _)| may(key))
    }

    /// `a=b,c=d`.
    fn label_flag(&self) -> String {
        let pairs: Vec<String> = self.own_labels().map(|(key, value)| format!("{key}={value}")).collect();
        pairs.join(",")
    }

    /// Kubelet's flags for how its node registers.
    fn registration_flags(&self) -> Vec<String> {
        let mut flags = Vec::new();
        let labels = self.label_flag();
        if !labels.is_empty() {
            flags.push(format!("--node-labels=\"{labels}\""));
        }
        if !self.taints.is_empty() {
            flags.push(format!("--register-with-taints=\"{}\"", taint_flag(&self.taints)));
        }
        flags
    }

    /// Kubelet's settings with what the controller knows better.
    fn kubelet_config(&self) -> BTreeMap<String, Value> {
        let mut config = self.kubelet.clone();
        if let Some(most) = self.max_pods {
            config.insert("maxPods".to_owned(), most.into());
        }
        if let Some(dns) = &self.dns {
            config.entry("clusterDNS".to_owned()).or_insert_with(|| Value::from(vec![dns.clone()]));
        }
        config
    }
}

/// Labels of Kubernetes' own domains that kubelet may set all the same.
const KUBELETS_OWN: [&str; 11] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

/// As Kubernetes spells it.
fn effect(taint: &Taint) -> &'static str {
    match taint.effect {
        Effect::NoSchedule => "NoSchedule",
        Effect::PreferNoSchedule => "PreferNoSchedule",
        Effect::NoExecute => "NoExecute",
    }
}

/// `key=value:Effect,…`, as kubelet's flag has it.
fn taint_flag(taints: &[Taint]) -> String {
    let one = |taint: &Taint| format!("{}={}:{}", taint.key, taint.value, effect(taint));
    taints.iter().map(one).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
