//! Capacity and overhead, worked out by hand.

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
fn absurd_facts_are_clamped() {
    let absurd = TypeFacts {
        vcpus: u32::MAX,
        memory_mib: u64::MAX,
        interfaces: u32::MAX,
        ipv4_per_interface: u32::MAX,
        local_disk_gb: u64::MAX,
        neuron: Some(crate::facts::Device { count: u32::MAX, cores: u32::MAX, ..Default::default() }),
        ..m5_large()
    };
    for spec in ["{}", r#"{"instanceStorePolicy": "RAID0", "kubelet": {"podsPerCore": 4000000000}}"#] {
        let config = kubelet(spec);
        let (have, kept) = (capacity(&absurd, &config), overhead(&absurd, &config));
        assert_eq!(have[MEMORY].floor_units(), Quantity::MAX_UNITS);
        assert!(kept.iter().all(|(name, amount)| *amount <= have[name] && !amount.is_negative()), "{kept:?}");
    }
    // 70 + 10 for the first four, and a quarter of a percent of each above.
    assert_eq!(reserved_cpu_millis(u32::MAX), 80 + (i64::from(u32::MAX) - 4) * 25 / 10);
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
    assert_eq!([&of[PRIVATE_IPV4_ADDRESS], &of[EPHEMERAL_STORAGE]].map(ToString::to_string), ["9", "50Gi"]);
    assert!(!capacity(&m5_large(), &standard()).contains_key(PRIVATE_IPV4_ADDRESS));
}
