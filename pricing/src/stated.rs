//! A catalogue file for nodes that are set up as an `EC2NodeClass` says.
//!
//! A file states what a type has and what is kept of it, not why. So what a class says is laid over that: kubelet's limits on
//! pods replace the file's number of pods, and what kubelet keeps is at least what the class says.
//!
//! # Invariants
//! - What a class leaves unsaid stays as the file has it.
//! - No overhead falls below the file's, nor exceeds what there is.

use std::sync::Arc;

use stowage_api::Quantity;
use stowage_api::well_known::{CPU, EPHEMERAL_STORAGE, INSTANCE_LOCAL_NVME, MEMORY, PODS};

use crate::catalog::InstanceType;
use crate::node_config::{NodeConfig, Threshold};

/// Lays what a class says over what a file states of a type.
pub(crate) fn set_up(of: &mut InstanceType, config: &NodeConfig) {
    if let Some(disk) = stores(of).filter(|_| config.raid0) {
        Arc::make_mut(&mut of.resources).insert(EPHEMERAL_STORAGE.to_owned(), disk);
    }
    limit_pods(of, config);
    for (name, evict) in [(CPU, None), (MEMORY, config.evict_memory), (EPHEMERAL_STORAGE, config.evict_disk)]
    {
        keep(of, name, evict, config);
    }
}

/// What its instance stores add up to, where its labels tell.
fn stores(of: &InstanceType) -> Option<Quantity> {
    let gigabytes: i64 = of.labels.get(INSTANCE_LOCAL_NVME)?.parse().ok()?;
    (gigabytes > 0).then(|| Quantity::from_units(gigabytes.saturating_mul(1_000_000_000)))
}

fn limit_pods(of: &mut InstanceType, config: &NodeConfig) {
    if let Some(most) = config.max_pods {
        Arc::make_mut(&mut of.resources).insert(PODS.to_owned(), Quantity::from_units(i64::from(most)));
    }
    if config.pods_per_core == 0 || !config.ami_family.knows_pods_per_core() {
        return;
    }
    let cores = of.resources.get(CPU).map_or(0, |cpu| cpu.floor_units());
    let by_cores = Quantity::from_units(i64::from(config.pods_per_core).saturating_mul(cores));
    let pods = Arc::make_mut(&mut of.resources).entry(PODS.to_owned()).or_insert(by_cores);
    *pods = (*pods).min(by_cores);
}

/// Keeps at least what kubelet reserves for itself and evicts below, and on top what it reserves for the system.
fn keep(of: &mut InstanceType, name: &str, evict: Option<Threshold>, config: &NodeConfig) {
    let Some(have) = of.resources.get(name).copied() else { return };
    let system = config.system_reserved.get(name).copied();
    let kube = config.kube_reserved.get(name).copied();
    if system.is_none() && kube.is_none() && evict.is_none() {
        return;
    }
    let stated = of.overhead.get(name).copied().unwrap_or_default();
    let evict = evict.map_or(0, |threshold| threshold.bytes(have.floor_units()));
    let own = kube.unwrap_or_default().checked_add(Quantity::from_bytes(evict)).unwrap_or(have);
    let kept = own.max(stated).checked_add(system.unwrap_or_default()).unwrap_or(have);
    Arc::make_mut(&mut of.overhead).insert(name.to_owned(), kept.min(have));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;

    /// What pods may use of a type with 4 CPUs and 16 GiB, of which 1 GiB is kept, set up as a class says.
    fn allocatable(spec: &str, resource: &str) -> String {
        let file = r#"[{"name": "a", "architecture": "amd64", "operatingSystems": ["linux"],
            "resources": {"cpu": "4", "memory": "16Gi", "pods": "29", "ephemeral-storage": "20Gi"},
            "overhead": {"memory": "1Gi"}, "labels": {"karpenter.k8s.aws/instance-local-nvme": "100"},
            "offerings": [{"Price": 1, "Available": true, "Requirements": [
                {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]},
                {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["z"]}]}]}]"#;
        let class = serde_json::from_str(&format!(r#"{{"spec": {spec}}}"#)).unwrap();
        let (config, unused) = NodeConfig::of(&class, &NodeConfig::default());
        assert!(unused.is_empty(), "{unused:?}");
        let (catalog, unsuited) =
            Catalog::parse(file.as_bytes(), "file.json").unwrap().suited_to(&config).unwrap();
        assert!(unsuited.is_empty());
        catalog.types[0].allocatable()[resource].to_string()
    }

    #[test]
    fn kubelet_decides_how_many_pods() {
        assert_eq!(allocatable("{}", "pods"), "29");
        assert_eq!(allocatable(r#"{"kubelet": {"maxPods": 110}}"#, "pods"), "110");
        assert_eq!(allocatable(r#"{"kubelet": {"podsPerCore": 2}}"#, "pods"), "8");
        assert_eq!(allocatable(r#"{"kubelet": {"podsPerCore": 20}}"#, "pods"), "29");
    }

    #[test]
    fn what_is_kept_is_at_least_what_the_file_states() {
        assert_eq!(allocatable("{}", "memory"), "15Gi");
        assert_eq!(allocatable(r#"{"kubelet": {"kubeReserved": {"memory": "512Mi"}}}"#, "memory"), "15Gi");
        assert_eq!(allocatable(r#"{"kubelet": {"kubeReserved": {"memory": "2Gi"}}}"#, "memory"), "14Gi");
        assert_eq!(allocatable(r#"{"kubelet": {"systemReserved": {"memory": "1Gi"}}}"#, "memory"), "14Gi");
        assert_eq!(
            allocatable(r#"{"kubelet": {"evictionHard": {"memory.available": "25%"}}}"#, "memory"),
            "12Gi"
        );
        assert_eq!(allocatable(r#"{"kubelet": {"systemReserved": {"cpu": "9"}}}"#, "cpu"), "0");
    }

    #[test]
    fn instance_stores_are_one_disk_where_asked_for() {
        assert_eq!(allocatable(r#"{"instanceStorePolicy": "RAID0"}"#, "ephemeral-storage"), "100G");
        assert_eq!(allocatable("{}", "ephemeral-storage"), "20Gi");
    }
}
