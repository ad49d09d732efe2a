//! What an instance has, and what of it pods may use, by Karpenter's formulas.
//!
//! ```text
//! capacity      cpu                 vCPUs
//!               memory              advertised (arm64: less 64 MiB), less the VM overhead rounded up to whole MiB
//!               pods                maxPods; else (interfaces − reserved − without address) × (IPv4 per interface − 1) + 2;
//!                                   at most podsPerCore × vCPUs. Windows: 110
//!               ephemeral-storage   the volume that pods' files are on, 20 GiB where nobody says; or the instance stores
//! overhead      cpu                 kube-reserved: 6 % of the 1st core, 1 % of the 2nd, 0.5 % of the next two, 0.25 % above
//!               memory              kube-reserved: 11 MiB × pods + 255 MiB; eviction: 100 MiB
//!               ephemeral-storage   kube-reserved: 1 GiB; eviction: 10 %
//! ```
//!
//! What kubelet is told in an `EC2NodeClass` replaces each part of the overhead, and its system-reserved comes on top.
//!
//! compat: karpenter-provider-aws, `pkg/providers/instancetype/types.go`, v1.14.

use std::collections::BTreeMap;

use stowage_api::Quantity;
use stowage_api::well_known::{
    AMD_GPU, CPU, EBS_SLOTS, EFA, EPHEMERAL_STORAGE, GAUDI, MEMORY, NEURON, NEURON_CORE, NVIDIA_GPU, POD_ENI,
    PODS, PRIVATE_IPV4_ADDRESS,
};

use crate::ami_family::AmiFamily;
use crate::facts::TypeFacts;
use crate::node_config::NodeConfig;
use crate::volume::AttachLimit;

const MIB: i64 = 1 << 20;
const GIB: i64 = 1 << 30;

/// What an arm64 instance advertises but its kernel never sees (memory reserved for contiguous allocation).
const ARM64_HIDDEN_MIB: u64 = 64;

/// Pods of a node whose family does not limit them by addresses: kubelet's own default.
const PODS_BY_DEFAULT: u32 = 110;

/// Addresses of a prefix, a /28.
const PREFIX_ADDRESSES: u32 = 16;

/// Everything that a node of this type offers.
pub(crate) fn capacity(facts: &TypeFacts, config: &NodeConfig) -> BTreeMap<String, Quantity> {
    let slots = AttachLimit::of(facts).on_a_new_node(config.other_volumes());
    let mut capacity = BTreeMap::from([
        (CPU.to_owned(), Quantity::from_units(i64::from(facts.vcpus))),
        (MEMORY.to_owned(), Quantity::from_bytes(memory_bytes(facts, config))),
        (PODS.to_owned(), Quantity::from_units(i64::from(pods(facts, config)))),
        (EPHEMERAL_STORAGE.to_owned(), config.data_volume(facts)),
        (EBS_SLOTS.to_owned(), Quantity::from_units(i64::from(slots))),
    ]);
    let devices = |of: &Option<crate::facts::Device>, maker: &str| {
        of.as_ref().filter(|d| d.manufacturer.eq_ignore_ascii_case(maker)).map_or(0, |d| d.count)
    };
    let neuron = facts.neuron.as_ref();
    let windows = matches!(config.ami_family, AmiFamily::Windows(_));
    for (resource, count) in [
        (NVIDIA_GPU, devices(&facts.gpu, "NVIDIA")),
        (AMD_GPU, devices(&facts.gpu, "AMD")),
        (GAUDI, devices(&facts.gpu, "Habana")),
        (NEURON, neuron.map_or(0, |d| d.count)),
        (NEURON_CORE, neuron.map_or(0, |d| d.count.saturating_mul(d.cores))),
        (EFA, config.efa_interfaces(facts)),
        (POD_ENI, facts.branch_interfaces),
        (PRIVATE_IPV4_ADDRESS, if windows { facts.ipv4_per_interface.saturating_sub(1) } else { 0 }),
    ] {
        if count > 0 {
            capacity.insert(resource.to_owned(), Quantity::from_units(i64::from(count)));
        }
    }
    capacity
}

/// What kubelet keeps for itself and the system, and the room below which it evicts pods; never more than there is.
pub(crate) fn overhead(facts: &TypeFacts, config: &NodeConfig) -> BTreeMap<String, Quantity> {
    let disk = config.data_volume(facts);
    let evict_memory = config.evict_memory.map_or(100 * MIB, |t| t.bytes(memory_bytes(facts, config)));
    let tenth_of_disk = (disk.ceil_units() + 9) / 10;
    let evict_disk = config.evict_disk.map_or(tenth_of_disk, |t| t.bytes(disk.ceil_units()));
    let reserved_for = if config.ami_family.reserves_for_all_addresses() {
        addresses(facts, config, 0)
    } else {
        pods(facts, config)
    };
    let memory = (11 * i64::from(reserved_for) + 255) * MIB;
    let capacity = capacity(facts, config);
    [
        (CPU, Quantity::from_millis(reserved_cpu_millis(facts.vcpus)), 0),
        (MEMORY, Quantity::from_bytes(memory), evict_memory),
        (EPHEMERAL_STORAGE, Quantity::from_bytes(GIB), evict_disk),
    ]
    .into_iter()
    .map(|(name, by_formula, evict)| {
        let kube = config.kube_reserved.get(name).copied().unwrap_or(by_formula);
        let system = config.system_reserved.get(name).copied().unwrap_or_default();
        let have = capacity.get(name).copied().unwrap_or_default();
        let kept = kube.checked_add(system).and_then(|q| q.checked_add(Quantity::from_bytes(evict)));
        (name.to_owned(), kept.unwrap_or(have).min(have))
    })
    .collect()
}

fn memory_bytes(facts: &TypeFacts, config: &NodeConfig) -> i64 {
    let hidden = if facts.architecture == "arm64" { ARM64_HIDDEN_MIB } else { 0 };
    let advertised = facts.memory_mib.saturating_sub(hidden);
    let usable = advertised.saturating_sub(config.vm_memory_overhead.of_rounded_up(advertised));
    i64::try_from(usable).unwrap_or(i64::MAX).saturating_mul(MIB)
}

/// The most pods that kubelet takes.
fn pods(facts: &TypeFacts, config: &NodeConfig) -> u32 {
    let family = config.ami_family;
    let most = config.max_pods.unwrap_or_else(|| {
        if !family.limits_pods_by_addresses() {
            PODS_BY_DEFAULT
        } else if config.prefix_delegation && facts.hypervisor != "xen" {
            by_prefixes(facts, config)
        } else {
            addresses(facts, config, config.reserved_interfaces)
        }
    });
    if config.pods_per_core > 0 && family.knows_pods_per_core() {
        most.min(config.pods_per_core.saturating_mul(facts.vcpus))
    } else {
        most
    }
}

/// Pods that the VPC CNI has addresses for, each pod taking one: an interface's first address is its own, and the two
/// more pods are those on the host network (kube-proxy and the CNI itself).
fn addresses(facts: &TypeFacts, config: &NodeConfig, reserved: u32) -> u32 {
    match facts.interfaces.saturating_sub(reserved).saturating_sub(config.addressless_interfaces()) {
        0 => 0,
        interfaces => interfaces.saturating_mul(facts.ipv4_per_interface.saturating_sub(1)).saturating_add(2),
    }
}

/// As [`addresses`], each slot of an interface holding a prefix of sixteen, up to what AWS recommends.
///
/// Source: amazon-eks-ami, `max-pods-calculator.sh`: at most 110 pods below 30 vCPUs, 250 from there on.
fn by_prefixes(facts: &TypeFacts, config: &NodeConfig) -> u32 {
    match addresses(facts, config, config.reserved_interfaces) {
        0 => 0,
        plain => {
            let recommended = if facts.vcpus < 30 { 110 } else { 250 };
            (plain.saturating_sub(2).saturating_mul(PREFIX_ADDRESSES).saturating_add(2)).min(recommended)
        }
    }
}

/// The CPU tiers, each cut to whole millicores as it is added up.
fn reserved_cpu_millis(vcpus: u32) -> i64 {
    // (cores that the tier ends at, tenths of a millicore for each core in it)
    const TIERS: [(i64, i64); 4] = [(1, 600), (2, 100), (4, 50), (u32::MAX as i64, 25)];
    let vcpus = i64::from(vcpus);
    let mut from = 0;
    let mut millis = 0;
    for (to, tenths) in TIERS {
        millis += (vcpus.clamp(from, to) - from) * tenths / 10;
        from = to;
    }
    millis
}

#[cfg(test)]
#[path = "overhead_tests.rs"]
mod tests;
