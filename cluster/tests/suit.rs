//! What `EC2NodeClasses` of a snapshot make of the embedded catalogue.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should fail where it stands")]

use stowage_cluster::{LowerOptions, ReadOptions, Snapshot, Source, Suited, lower, read, suit};
use stowage_pricing::{Catalog, Offering, Settings};

fn catalog() -> Catalog {
    Catalog::embedded("us-east-1", &Settings::default()).unwrap()
}

fn snapshot(objects: &str) -> Snapshot {
    let text = format!("# YAML\n---\n{objects}");
    read(&[Source { name: "s.yaml", bytes: text.as_bytes() }], &ReadOptions::default()).unwrap()
}

fn pool(name: &str, class: &str) -> String {
    format!(
        "{{apiVersion: karpenter.sh/v1, kind: NodePool, metadata: {{name: {name}}}, spec: {{template: {{spec: \
         {{nodeClassRef: {{group: karpenter.k8s.aws, kind: EC2NodeClass, name: {class}}}, requirements: []}}}}}}}}\n---\n"
    )
}

fn class(name: &str, spec: &str, zones: &[&str]) -> String {
    let subnets: Vec<String> = zones.iter().map(|z| format!("{{id: s, zone: {z}}}")).collect();
    format!(
        "{{apiVersion: karpenter.k8s.aws/v1, kind: EC2NodeClass, metadata: {{name: {name}}}, spec: {spec}, status: \
         {{subnets: [{}]}}}}\n---\n",
        subnets.join(", ")
    )
}

fn allocatable(suited: &Suited, name: &str, resource: &str) -> String {
    suited.catalog.find(name).unwrap().allocatable()[resource].to_string()
}

#[test]
fn one_class_decides() {
    let spec = "{kubelet: {maxPods: 58, systemReserved: {memory: 100Mi}}, instanceStorePolicy: RAID0}";
    let objects =
        pool("a", "fast") + &class("fast", spec, &["us-east-1a", "us-east-1b"]) + &class("idle", "{}", &[]);
    let suited = suit(&snapshot(&objects), &catalog()).unwrap();
    assert_eq!(allocatable(&suited, "m7i.large", "pods"), "58");
    // 7577 − 674 − 100 MiB.
    assert_eq!(allocatable(&suited, "m7i.large", "memory"), "6803Mi");
    // 75 GB, less 1 GiB and a tenth.
    assert_eq!(
        allocatable(&suited, "m5d.large", "ephemeral-storage"),
        (75_000_000_000_i64 - (1 << 30) - 7_500_000_000).to_string()
    );
    assert_eq!(suited.unsuited[0].0, "a1.2xlarge");
    assert!(!suited.differ && suited.unused.is_empty());
    let m7i = suited.catalog.find("m7i.large").unwrap();
    let zones: Vec<&str> = m7i
        .offerings
        .iter()
        .filter(|o| o.available && o.capacity_type() == "spot")
        .map(Offering::zone)
        .collect();
    assert_eq!(zones, ["us-east-1a", "us-east-1b"]);

    let said = |catalog: &Catalog| -> Vec<String> {
        let lowered = lower(&snapshot(&objects), catalog, &LowerOptions::default()).unwrap();
        let about_classes =
            lowered.notes.iter().map(ToString::to_string).filter(|n| n.contains("EC2NodeClass"));
        about_classes.collect()
    };
    assert_eq!(said(&catalog()).len(), 3, "{:?}", said(&catalog()));
    assert!(said(&suited.catalog).is_empty(), "{:?}", said(&suited.catalog));
}

#[test]
fn of_several_the_least_counts() {
    let objects = pool("a", "few")
        + &pool("b", "disk")
        + &class("few", "{kubelet: {maxPods: 8}}", &["us-east-1a"])
        + &class(
            "disk",
            "{amiFamily: Bottlerocket, kubelet: {kubeReserved: {cpu: 1, memory: max}}}",
            &["us-east-1c"],
        );
    let suited = suit(&snapshot(&objects), &catalog()).unwrap();
    assert!(suited.differ);
    assert_eq!(allocatable(&suited, "m7i.large", "pods"), "8");
    assert_eq!(allocatable(&suited, "m7i.large", "cpu"), "1");
    // Bottlerocket's second volume takes a slot.
    assert_eq!(allocatable(&suited, "m7i.large", "attachable-volumes-aws-ebs"), "30");
    assert_eq!(suited.unused, ["disk: spec.kubelet.kubeReserved.memory: \"max\""]);
    let zones: std::collections::BTreeSet<&str> = suited
        .catalog
        .types
        .iter()
        .flat_map(|t| &t.offerings)
        .filter(|o| o.available)
        .map(Offering::zone)
        .collect();
    assert_eq!(zones.into_iter().collect::<Vec<_>>(), ["us-east-1a", "us-east-1c"]);
    for of in &suited.catalog.types {
        assert!(of.overhead.iter().all(|(name, kept)| *kept <= of.resources[name]), "{}", of.name);
    }
}

#[test]
fn without_classes_and_with_files_nothing_changes() {
    let bare = suit(&snapshot(&pool("a", "gone")), &catalog()).unwrap();
    assert_eq!(bare.catalog, catalog());
    let file = Catalog::parse(catalog().to_json().as_bytes(), "c.json").unwrap();
    let objects = pool("a", "few") + &class("few", "{kubelet: {maxPods: 8}}", &[]);
    assert_eq!(suit(&snapshot(&objects), &file).unwrap().catalog, file);
}
