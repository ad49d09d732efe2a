//! What classes say, and where such nodes run.

use super::*;
use crate::ami_family::WindowsYear;
use crate::embedded::type_facts;

fn facts(name: &str) -> &'static TypeFacts {
    type_facts().unwrap().iter().find(|f| f.name == name).unwrap()
}

fn of(spec: &str) -> (NodeConfig, Vec<String>) {
    let class = serde_json::from_str(&format!("{{\"spec\": {spec}}}")).unwrap();
    let (config, unused) = NodeConfig::of(&class, &NodeConfig::default());
    (config, unused.iter().map(ToString::to_string).collect())
}

#[test]
fn families_by_name_and_alias() {
    for (spec, family) in [
        ("{}", AmiFamily::Al2023),
        (r#"{"amiFamily": "Bottlerocket"}"#, AmiFamily::Bottlerocket),
        (r#"{"amiSelectorTerms": [{"alias": "al2@v20250101"}]}"#, AmiFamily::Al2),
        (
            r#"{"amiSelectorTerms": [{"alias": "windows2022@latest"}]}"#,
            AmiFamily::Windows(WindowsYear::Y2022),
        ),
        (r#"{"amiFamily": "Custom", "amiSelectorTerms": [{"alias": "al2023@latest"}]}"#, AmiFamily::Custom),
    ] {
        assert_eq!(of(spec).0.ami_family, family, "{spec}");
    }
    assert_eq!(of(r#"{"amiFamily": "Ubuntu"}"#).1, [r#"spec.amiFamily: "Ubuntu""#]);
}

#[test]
fn expressions_and_nonsense_are_named_and_passed_over() {
    let (config, unused) = of(
        r#"{"kubelet": {"maxPods": "max_pods / 2", "systemReserved": {"memory": "1Gi"},
        "kubeReserved": {"cpu": "-1"}, "evictionHard": {"memory.available": "half", "nodefs.available": "100%"}}}"#,
    );
    let expected = [
        r#"spec.kubelet.maxPods: "max_pods / 2""#,
        r#"spec.kubelet.kubeReserved.cpu: "-1""#,
        r#"spec.kubelet.evictionHard.memory.available: "half""#,
    ];
    assert_eq!(unused, expected);
    assert_eq!(config.system_reserved["memory"].to_string(), "1Gi");
    let (_, unknown) = of(r#"{"kubelet": {"kubeReserved": {"gpu": "1", "pid": "100"},
            "evictionHard": {"memory.free": "1Gi", "nodefs.inodesFree": "5%", "pid.available": "10%"}}}"#);
    let expected =
        [r#"spec.kubelet.kubeReserved.gpu: "1""#, r#"spec.kubelet.evictionHard.memory.free: "1Gi""#];
    assert_eq!(unknown, expected);
    assert_eq!(config.evict_disk.map(|t| t.bytes(100)), Some(0));
}

#[test]
fn thresholds_are_rounded_up() {
    for (text, bytes) in [("5%", 51), ("0.5%", 6), ("100%", 0), ("0%", 0), ("1Ki", 1024)] {
        assert_eq!(Threshold::parse(text).unwrap().bytes(1001), bytes, "{text}");
    }
    for text in ["", "-1Gi", "110%", "much"] {
        assert_eq!(Threshold::parse(text), None, "{text}");
    }
}

#[test]
fn what_does_not_run_where() {
    let plain = NodeConfig::default();
    let windows = NodeConfig { ami_family: AmiFamily::Windows(WindowsYear::Y2022), ..plain.clone() };
    let at = |card, device, efa_only| Interface { card, device, efa_only };
    let two_cards = NodeConfig { interfaces: Some(vec![at(0, 0, false), at(1, 0, false)]), ..plain.clone() };
    let efa = NodeConfig { interfaces: Some(vec![at(0, 0, false), at(0, 1, true)]), ..plain.clone() };
    let tracking = NodeConfig { connection_tracking: true, ..plain.clone() };
    let nested = NodeConfig { nested_virtualization: true, ..plain.clone() };
    for (config, name, misfit) in [
        (&plain, "m7i.large", None),
        (&plain, "a1.large", Some(Misfit::A1OnAl2023)),
        (&windows, "a1.large", Some(Misfit::ArmWindows)),
        (&windows, "m7i.large", None),
        (&two_cards, "m7i.large", Some(Misfit::Interfaces)),
        (&two_cards, "c6in.32xlarge", None),
        (&efa, "m7i.large", Some(Misfit::Interfaces)),
        (&efa, "p5.48xlarge", None),
        (&tracking, "m4.large", Some(Misfit::ConnectionTracking)),
        (&nested, "m7g.large", Some(Misfit::NestedVirtualization)),
        (&nested, "m8i.large", None),
    ] {
        assert_eq!(config.runs_on(facts(name)).err(), misfit, "{name}");
    }
}

#[test]
fn disks_by_family_and_mapping() {
    let bytes = |spec: &str, name: &str| of(spec).0.data_volume(facts(name)).to_string();
    let mapped = |family: &str, device: &str| {
        format!(
            r#"{{"amiFamily": "{family}", "blockDeviceMappings": [
                {{"deviceName": "/dev/other", "ebs": {{"volumeSize": "7Gi"}}}},
                {{"deviceName": "{device}", "ebs": {{"volumeSize": "100Gi"}}}}]}}"#
        )
    };
    assert_eq!(bytes("{}", "m5d.large"), "20Gi");
    assert_eq!(bytes(r#"{"instanceStorePolicy": "RAID0"}"#, "m5d.large"), "75G");
    assert_eq!(bytes(r#"{"instanceStorePolicy": "RAID0"}"#, "m5.large"), "20Gi");
    assert_eq!(bytes(r#"{"amiFamily": "Windows2022"}"#, "m5.large"), "50Gi");
    assert_eq!(bytes(&mapped("AL2023", "/dev/xvda"), "m5.large"), "100Gi");
    assert_eq!(bytes(&mapped("Bottlerocket", "/dev/xvdb"), "m5.large"), "100Gi");
    assert_eq!(bytes(&mapped("Bottlerocket", "/dev/xvda"), "m5.large"), "20Gi");
    assert_eq!(bytes(&mapped("Custom", "/dev/sdz"), "m5.large"), "100Gi");
    let root = r#"{"blockDeviceMappings": [{"deviceName": "/dev/xvda", "ebs": {"volumeSize": "100Gi"}},
        {"deviceName": "/dev/xvdc", "rootVolume": true, "ebs": {"volumeSize": "30Gi"}}]}"#;
    assert_eq!((bytes(root, "m5.large").as_str(), of(root).0.other_volumes()), ("30Gi", 1));
    assert_eq!(of(r#"{"amiFamily": "Bottlerocket"}"#).0.other_volumes(), 1);
}
