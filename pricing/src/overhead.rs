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

use crate::facts::TypeFacts;
use crate::node_config::{AmiFamily, NodeConfig};
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
        (CPU, Quantity::from_millis(i64::from(reserved_cpu_millis(facts.vcpus))), 0),
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
    (advertised - config.vm_memory_overhead.of_rounded_up(advertised)) as i64 * MIB
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
    use crate::share::Share;

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

    fn standard() -> NodeConfig {
        NodeConfig::default()
    }

    fn kubelet(json: &str) -> NodeConfig {
        let class = serde_json::from_str(&format!("{{\"spec\": {json}}}")).unwrap();
        NodeConfig::of(&class, &standard()).0
    }

    #[test]
    fn a_plain_type() {
        let capacity = capacity(&m5_large(), &standard());
        let expected =
            ["attachable-volumes-aws-ebs 25", "cpu 2", "ephemeral-storage 20Gi", "memory 7577Mi", "pods 29"];
        assert_eq!(shown(&capacity), expected);
        assert_eq!(
            shown(&overhead(&m5_large(), &standard())),
            ["cpu 70m", "ephemeral-storage 3Gi", "memory 674Mi"]
        );
    }

    #[test]
    fn arm64_hides_64_mib_before_the_percentage() {
        let facts = TypeFacts { architecture: "arm64".to_owned(), ..m5_large() };
        assert_eq!(capacity(&facts, &standard())[MEMORY].to_string(), "7518Mi");
    }

    #[test]
    fn memory_overhead_is_adjustable_and_rounds_up() {
        let with = |share| NodeConfig { vm_memory_overhead: share, ..standard() };
        assert_eq!(capacity(&m5_large(), &with(Share::ZERO))[MEMORY].to_string(), "8Gi");
        assert_eq!(capacity(&m5_large(), &with(Share::from_millionths(1)))[MEMORY].to_string(), "8191Mi");
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
        let of = capacity(&facts, &standard());
        assert_eq!((of[NVIDIA_GPU].to_string(), of[EFA].to_string()), ("8".to_owned(), "32".to_owned()));

        let facts = TypeFacts { neuron: device("AWS", 16, 8), branch_interfaces: 9, ..m5_large() };
        let of = capacity(&facts, &standard());
        assert_eq!([NEURON, NEURON_CORE, POD_ENI].map(|name| of[name].to_string()), ["16", "128", "9"]);

        let part_of_one = TypeFacts { gpu: device("NVIDIA", 0, 0), ..m5_large() };
        assert!(!capacity(&part_of_one, &standard()).contains_key(NVIDIA_GPU));
    }

    /// m5.large: 3 interfaces of 10 addresses, so 3 × 9 + 2 = 29 pods and 11 × 29 + 255 = 574 MiB kept.
    #[test]
    fn pods_and_what_is_kept_for_them() {
        let kept = |config: &NodeConfig| {
            let of = |amounts: BTreeMap<String, Quantity>, name: &str| amounts[name].to_string();
            (of(capacity(&m5_large(), config), PODS), of(overhead(&m5_large(), config), MEMORY))
        };
        let expect = |spec: &str, pods: &str, memory: &str| {
            assert_eq!(kept(&kubelet(spec)), (pods.to_owned(), memory.to_owned()), "{spec}");
        };
        expect("{}", "29", "674Mi");
        // Amazon Linux reserves for 29 all the same; Bottlerocket for what there are: 11 × 8 + 255 + 100.
        expect(r#"{"kubelet": {"maxPods": 8}}"#, "8", "674Mi");
        expect(r#"{"amiFamily": "Bottlerocket", "kubelet": {"maxPods": 8}}"#, "8", "443Mi");
        expect(r#"{"kubelet": {"podsPerCore": 4}}"#, "8", "674Mi");
        expect(r#"{"amiFamily": "Bottlerocket", "kubelet": {"podsPerCore": 4}}"#, "29", "674Mi");
        expect(r#"{"kubelet": {"podsPerCore": 0, "maxPods": 200}}"#, "200", "674Mi");
        // Windows: 11 × 110 + 255 + 100.
        expect(r#"{"amiFamily": "Windows2022"}"#, "110", "1565Mi");
        // One interface without an address: 2 × 9 + 2 pods, 11 × 20 + 255 + 100.
        let efa = r#"{"networkInterfaces": [{"networkCardIndex": 0, "deviceIndex": 0, "interfaceType": "interface"},
            {"networkCardIndex": 0, "deviceIndex": 1, "interfaceType": "efa-only"}]}"#;
        expect(efa, "20", "575Mi");

        let reserved = |n| NodeConfig { reserved_interfaces: n, ..standard() };
        assert_eq!(kept(&reserved(1)), ("20".to_owned(), "674Mi".to_owned()));
        assert_eq!(kept(&reserved(3)), ("0".to_owned(), "674Mi".to_owned()));
        // 3 × 9 × 16 + 2 = 434, cut to what AWS recommends.
        let prefixes = NodeConfig { prefix_delegation: true, ..standard() };
        assert_eq!(kept(&prefixes), ("110".to_owned(), "674Mi".to_owned()));
        let large = TypeFacts { vcpus: 32, ..m5_large() };
        assert_eq!(pods(&large, &prefixes), 250);
        let xen = TypeFacts { hypervisor: "xen".to_owned(), ..m5_large() };
        assert_eq!(pods(&xen, &prefixes), 29);
        let small = TypeFacts { interfaces: 1, ipv4_per_interface: 4, ..m5_large() };
        assert_eq!(pods(&small, &prefixes), 50); // 1 × 3 × 16 + 2
    }

    #[test]
    fn kubelet_reserves_and_evicts_as_told() {
        let config = kubelet(
            r#"{"kubelet": {"kubeReserved": {"cpu": "200m", "ephemeral-storage": "2Gi"},
                "systemReserved": {"cpu": "100m", "memory": "500Mi", "pid": "100"},
                "evictionHard": {"memory.available": "5%", "nodefs.available": "1Gi"}}}"#,
        );
        // Memory: 574 + 500 MiB, and 5 % of 7577 MiB = 397253018.0 → …019 bytes.
        let memory = (574 + 500) * MIB + (7577 * MIB + 19) / 20;
        let kept = overhead(&m5_large(), &config);
        assert_eq!(kept[CPU].to_string(), "300m");
        assert_eq!(kept[MEMORY].ceil_units(), memory);
        assert_eq!(kept[EPHEMERAL_STORAGE].to_string(), "3Gi");
        assert_eq!(kept.len(), 3);
    }

    #[test]
    fn no_more_is_kept_than_there_is() {
        let config = kubelet(
            r#"{"kubelet": {"kubeReserved": {"cpu": "64", "memory": "8Pi"}, "systemReserved": {"memory": "8Pi"}}}"#,
        );
        let (have, kept) = (capacity(&m5_large(), &config), overhead(&m5_large(), &config));
        assert_eq!([&kept[CPU], &kept[MEMORY]], [&have[CPU], &have[MEMORY]]);
    }

    #[test]
    fn windows_counts_addresses() {
        let windows = kubelet(r#"{"amiFamily": "Windows2019"}"#);
        let of = capacity(&m5_large(), &windows);
        assert_eq!(
            [&of[PRIVATE_IPV4_ADDRESS], &of[EPHEMERAL_STORAGE]].map(ToString::to_string),
            ["9", "50Gi"]
        );
        assert!(!capacity(&m5_large(), &standard()).contains_key(PRIVATE_IPV4_ADDRESS));
    }
}
