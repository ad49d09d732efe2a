//! What a machine is told when it starts: its labels, taints and kubelet, beside its cluster.

use std::collections::{BTreeMap, BTreeSet};

use stowage_api::crd::Ec2NodeClass;
use stowage_api::{Effect, Taint};
use stowage_pricing::AmiFamily;

use crate::facts::ClusterFacts;
use crate::node_class::max_pods;
use crate::user_data::Boot;

/// What a machine of a class is told, beside these labels and taints.
pub(crate) fn boot(
    facts: &ClusterFacts,
    class: &Ec2NodeClass,
    mut labels: BTreeMap<String, String>,
    taints: Vec<Taint>,
) -> Boot {
    // Kept from putting the claim's taints back once a user's agent has taken them away.
    labels.insert("karpenter.sh/do-not-sync-taints".to_owned(), "true".to_owned());
    let unregistered = Taint {
        key: "karpenter.sh/unregistered".to_owned(),
        value: String::new(),
        effect: Effect::NoExecute,
    };
    let kubelet = class.spec.kubelet.clone().unwrap_or_default();
    Boot {
        cluster: facts.name.clone(),
        endpoint: facts.endpoint.clone(),
        ca_bundle: facts.ca_bundle.clone(),
        service_cidr: facts.service_cidr.clone(),
        dns: facts.dns.clone(),
        labels,
        taints: taints.into_iter().chain([unregistered]).collect::<BTreeSet<_>>().into_iter().collect(),
        max_pods: max_pods(&kubelet),
        kubelet,
        raid0: class.spec.instance_store_policy.as_deref() == Some("RAID0"),
        custom: class.spec.user_data.clone(),
    }
}

/// The family of a class's images: stated, or that of the alias.
pub(crate) fn family(class: &Ec2NodeClass) -> AmiFamily {
    let alias =
        class.spec.ami_selector_terms.iter().find_map(|term| term.alias.as_deref()?.split('@').next());
    class.spec.ami_family.as_deref().or(alias).and_then(AmiFamily::of_name).unwrap_or(AmiFamily::Custom)
}
