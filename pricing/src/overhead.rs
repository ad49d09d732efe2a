//! What an instance has, and what of it pods may use: Karpenter's formulas for Amazon Linux 2023 and its defaults.
//!
//! ```text
//! capacity      cpu                 vCPUs
//!               memory              advertised (arm64: less 64 MiB), less the VM overhead rounded up to whole MiB
//!               pods                interfaces × (IPv4 per interface − 1) + 2
//!               ephemeral-storage   the 20 GiB root volume
//! overhead      cpu                 kube-reserved: 6 % of the 1st core, 1 % of the 2nd, 0.5 % of the next two, 0.25 % above
//!               memory              kube-reserved: 11 MiB × pods + 255 MiB; eviction: 100 MiB
//!               ephemeral-storage   kube-reserved: 1 GiB; eviction: 10 %
//! ```
//!
//! compat: karpenter-provider-aws, `pkg/providers/instancetype/types.go`, v1.14.

use std::collections::BTreeMap;

use stowage_api::Quantity;
use stowage_api::well_known::{
    AMD_GPU, CPU, EBS_SLOTS, EFA, EPHEMERAL_STORAGE, GAUDI, MEMORY, NEURON, NEURON_CORE, NVIDIA_GPU, POD_ENI,
    PODS,
};

use crate::facts::TypeFacts;
use crate::share::Share;
use crate::volume::AttachLimit;

const MIB: i64 = 1 << 20;
const GIB: i64 = 1 << 30;

/// Root volume of a node whose `EC2NodeClass` asks for no other.
const ROOT_VOLUME_BYTES: i64 = 20 * GIB;

/// What an arm64 instance advertises but its kernel never sees (crash kernel reservation).
const ARM64_HIDDEN_MIB: u64 = 64;

/// Everything that a node of this type offers.
pub(crate) fn capacity(facts: &TypeFacts, vm_memory_overhead: Share) -> BTreeMap<String, Quantity> {
    let hidden = if facts.architecture == "arm64" { ARM64_HIDDEN_MIB } else { 0 };
    let advertised = facts.memory_mib.saturating_sub(hidden);
    let memory = advertised - vm_memory_overhead.of_rounded_up(advertised);
    let mut capacity = BTreeMap::from([
        (CPU.to_owned(), Quantity::from_units(i64::from(facts.vcpus))),
        (MEMORY.to_owned(), Quantity::from_bytes(memory as i64 * MIB)),
        (PODS.to_owned(), Quantity::from_units(i64::from(pods(facts)))),
        (EPHEMERAL_STORAGE.to_owned(), Quantity::from_bytes(ROOT_VOLUME_BYTES)),
        (EBS_SLOTS.to_owned(), Quantity::from_units(i64::from(AttachLimit::of(facts).on_a_new_node(0)))),
    ]);
    let devices = |of: &Option<crate::facts::Device>, maker: &str| {
        of.as_ref().filter(|d| d.manufacturer.eq_ignore_ascii_case(maker)).map_or(0, |d| d.count)
    };
    let neuron = facts.neuron.as_ref();
    for (resource, count) in [
        (NVIDIA_GPU, devices(&facts.gpu, "NVIDIA")),
        (AMD_GPU, devices(&facts.gpu, "AMD")),
        (GAUDI, devices(&facts.gpu, "Habana")),
        (NEURON, neuron.map_or(0, |d| d.count)),
        (NEURON_CORE, neuron.map_or(0, |d| d.count * d.cores)),
        (EFA, facts.efa_interfaces),
        (POD_ENI, facts.branch_interfaces),
    ] {
        if count > 0 {
            capacity.insert(resource.to_owned(), Quantity::from_units(i64::from(count)));
        }
    }
    capacity
}

/// What kubelet keeps for itself and the system, and the room below which it evicts pods.
pub(crate) fn overhead(facts: &TypeFacts) -> BTreeMap<String, Quantity> {
    let memory_mib = 11 * i64::from(pods(facts)) + 255 + 100;
    BTreeMap::from([
        (CPU.to_owned(), Quantity::from_millis(i64::from(reserved_cpu_millis(facts.vcpus)))),
        (MEMORY.to_owned(), Quantity::from_bytes(memory_mib * MIB)),
        (EPHEMERAL_STORAGE.to_owned(), Quantity::from_bytes(GIB + ROOT_VOLUME_BYTES / 10)),
    ])
}

/// Pods that the VPC CNI has addresses for, each pod taking one: an interface's first address is its own, and the two
/// more pods are those on the host network (kube-proxy and the CNI itself).
fn pods(facts: &TypeFacts) -> u32 {
    facts.interfaces * facts.ipv4_per_interface.saturating_sub(1) + 2
}

/// The CPU tiers, each cut to whole millicores as it is added up.
fn reserved_cpu_millis(vcpus: u32) -> u32 {
    // (cores that the tier ends at, tenths of a millicore for each core in it)
    const TIERS: [(u32, u32); 4] = [(1, 600), (2, 100), (4, 50), (u32::MAX, 25)];
    let mut from = 0;
    let mut millis = 0;
    for (to, tenths) in TIERS {
        millis += (vcpus.clamp(from, to) - from) * tenths / 10;
        from = to;
    }
    millis
}

#[cfg(test)]
mod tests {
    use super::*;

    fn m5_large() -> TypeFacts {
        TypeFacts {
            name: "m5.large".to_owned(),
            vcpus: 2,
            memory_mib: 8192,
            architecture: "amd64".to_owned(),
            hypervisor: "nitro".to_owned(),
            interfaces: 3,
            ipv4_per_interface: 10,
            ebs_attachments: 27,
            ebs_shares_slots: true,
            ..TypeFacts::default()
        }
    }

    fn shown(amounts: &BTreeMap<String, Quantity>) -> Vec<String> {
        amounts.iter().map(|(name, amount)| format!("{name} {amount}")).collect()
    }

    const DEFAULT: Share = Share::from_millionths(75_000);

    #[test]
    fn a_plain_type() {
        let capacity = capacity(&m5_large(), DEFAULT);
        let expected =
            ["attachable-volumes-aws-ebs 25", "cpu 2", "ephemeral-storage 20Gi", "memory 7577Mi", "pods 29"];
        assert_eq!(shown(&capacity), expected);
        assert_eq!(shown(&overhead(&m5_large())), ["cpu 70m", "ephemeral-storage 3Gi", "memory 674Mi"]);
    }

    #[test]
    fn arm64_hides_64_mib_before_the_percentage() {
        let facts = TypeFacts { architecture: "arm64".to_owned(), ..m5_large() };
        assert_eq!(capacity(&facts, DEFAULT)[MEMORY].to_string(), "7518Mi");
    }

    #[test]
    fn memory_overhead_is_adjustable_and_rounds_up() {
        assert_eq!(capacity(&m5_large(), Share::ZERO)[MEMORY].to_string(), "8Gi");
        assert_eq!(capacity(&m5_large(), Share::from_millionths(1))[MEMORY].to_string(), "8191Mi");
    }

    #[test]
    fn reserved_cpu_by_tier() {
        for (vcpus, millis) in [(0, 0), (1, 60), (2, 70), (4, 80), (5, 82), (8, 90), (96, 310), (448, 1190)] {
            assert_eq!(reserved_cpu_millis(vcpus), millis, "{vcpus} vCPUs");
        }
    }

    #[test]
    fn devices_become_extended_resources() {
        let device = |maker: &str, count, cores| {
            Some(crate::facts::Device { manufacturer: maker.to_owned(), count, cores, ..Default::default() })
        };
        let facts = TypeFacts { gpu: device("NVIDIA", 8, 0), efa_interfaces: 32, ..m5_large() };
        let of = capacity(&facts, DEFAULT);
        assert_eq!((of[NVIDIA_GPU].to_string(), of[EFA].to_string()), ("8".to_owned(), "32".to_owned()));

        let facts = TypeFacts { neuron: device("AWS", 16, 8), branch_interfaces: 9, ..m5_large() };
        let of = capacity(&facts, DEFAULT);
        assert_eq!([NEURON, NEURON_CORE, POD_ENI].map(|name| of[name].to_string()), ["16", "128", "9"]);

        let part_of_one = TypeFacts { gpu: device("NVIDIA", 0, 0), ..m5_large() };
        assert!(!capacity(&part_of_one, DEFAULT).contains_key(NVIDIA_GPU));
    }
}
