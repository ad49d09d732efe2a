//! What `EC2NodeClasses` of a snapshot make of a catalogue.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should fail where it stands")]

use std::collections::BTreeSet;

use stowage_cluster::{LowerOptions, Lowered, ReadOptions, Source, lower, read};
use stowage_pricing::{Catalog, Settings};
use stowage_solver::Operator;

const CLASS: &str = "karpenter.k8s.aws/ec2nodeclass";

fn embedded() -> Catalog {
    Catalog::embedded("us-east-1", &Settings::default()).unwrap()
}

fn lowered(objects: &str, catalog: &Catalog) -> Lowered {
    let text = format!("# YAML\n---\n{objects}");
    let source = Source { name: "s.yaml", bytes: text.as_bytes() };
    lower(&read(&[source], &ReadOptions::default()).unwrap(), catalog, &LowerOptions::default()).unwrap()
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

/// What pods may use of a type, as nodes of a class have it; without a class where all are alike.
fn allocatable(of: &Lowered, class: Option<&str>, name: &str, resource: &str) -> String {
    let at = of
        .problem
        .types
        .iter()
        .position(|t| t.name == name && t.labels.get(CLASS).map(String::as_str) == class);
    of.allocatable[at.unwrap()][resource].to_string()
}

fn zones(of: &Lowered, class: Option<&str>) -> Vec<String> {
    let types = of.problem.types.iter().filter(|t| t.labels.get(CLASS).map(String::as_str) == class);
    let zones: BTreeSet<String> = types.flat_map(|t| &t.offerings).map(|o| o.zone.clone()).collect();
    zones.into_iter().collect()
}

fn about_classes(of: &Lowered) -> Vec<String> {
    of.notes.iter().map(ToString::to_string).filter(|n| n.contains("EC2NodeClass")).collect()
}

#[test]
fn one_class_decides() {
    let spec = "{kubelet: {maxPods: 58, systemReserved: {memory: 100Mi}}, instanceStorePolicy: RAID0}";
    let objects =
        pool("a", "fast") + &class("fast", spec, &["us-east-1a", "us-east-1b"]) + &class("idle", "{}", &[]);
    let of = lowered(&objects, &embedded());
    assert_eq!(allocatable(&of, None, "m7i.large", "pods"), "58");
    // 7577 − 674 − 100 MiB.
    assert_eq!(allocatable(&of, None, "m7i.large", "memory"), "6803Mi");
    // 75 GB, less 1 GiB and a tenth.
    assert_eq!(
        allocatable(&of, None, "m5d.large", "ephemeral-storage"),
        (75_000_000_000_i64 - (1 << 30) - 7_500_000_000).to_string()
    );
    // Amazon Linux 2023 does not run there.
    assert!(!of.problem.types.iter().any(|t| t.name == "a1.2xlarge"));
    assert_eq!(zones(&of, None), ["us-east-1a", "us-east-1b"]);
    let [unsuited, zones] = &about_classes(&of)[..] else { panic!("{:?}", about_classes(&of)) };
    assert!(unsuited.contains("a1.2xlarge: Amazon Linux 2023 does not run on a1"), "{unsuited}");
    assert!(zones.contains("no subnet in us-east-1c, us-east-1d"), "{zones}");
}

#[test]
fn each_pool_buys_what_its_own_class_has() {
    let objects = pool("a", "few")
        + &pool("b", "disk")
        + &class("few", "{kubelet: {maxPods: 8}}", &["us-east-1a"])
        + &class(
            "disk",
            "{amiFamily: Bottlerocket, kubelet: {kubeReserved: {cpu: 1, memory: max}}}",
            &["us-east-1c"],
        );
    let of = lowered(&objects, &embedded());
    assert_eq!(allocatable(&of, Some("few"), "m7i.large", "pods"), "8");
    assert_eq!(allocatable(&of, Some("disk"), "m7i.large", "pods"), "29");
    assert_eq!(allocatable(&of, Some("disk"), "m7i.large", "cpu"), "1");
    // Bottlerocket's second volume takes a slot.
    assert_eq!(allocatable(&of, Some("few"), "m7i.large", "attachable-volumes-aws-ebs"), "31");
    assert_eq!(allocatable(&of, Some("disk"), "m7i.large", "attachable-volumes-aws-ebs"), "30");
    assert_eq!(
        (zones(&of, Some("few")), zones(&of, Some("disk"))),
        (vec!["us-east-1a".to_owned()], vec!["us-east-1c".to_owned()])
    );
    assert!(
        about_classes(&of).iter().any(|n| n.contains("disk") && n.contains("kubeReserved.memory: \"max\""))
    );
    for (pool, class) in of.problem.pools.iter().zip(["few", "disk"]) {
        let required = pool.requirements.iter().find(|r| r.key == CLASS).unwrap();
        assert_eq!(required.op, Operator::In(vec![class.to_owned()]));
    }
}

#[test]
fn windows_nodes_beside_linux_nodes() {
    let objects = pool("a", "linux")
        + &pool("b", "windows")
        + &class("linux", "{amiFamily: AL2023}", &[])
        + &class("windows", "{amiFamily: Windows2022}", &[]);
    let of = lowered(&objects, &embedded());
    assert_eq!(allocatable(&of, Some("linux"), "m7i.large", "pods"), "29");
    assert_eq!(allocatable(&of, Some("windows"), "m7i.large", "pods"), "110");
    assert!(!of.problem.types.iter().any(|t| t.name == "m7g.large" && t.labels[CLASS] == "windows"));
}

#[test]
fn what_says_nothing_changes_nothing() {
    let bare = lowered(&pool("a", "gone"), &embedded());
    let empty = lowered(&(pool("a", "empty") + &class("empty", "{}", &[])), &embedded());
    assert_eq!(bare.problem.types.len(), embedded().types.len());
    assert!(bare.problem.types.iter().all(|t| !t.labels.contains_key(CLASS)));
    let without_a1: Vec<_> = bare.problem.types.iter().filter(|t| !t.name.starts_with("a1.")).collect();
    assert_eq!(empty.problem.types.iter().collect::<Vec<_>>(), without_a1);
    assert!(about_classes(&empty).is_empty());
    // Two classes that are alike are one view.
    let alike =
        pool("a", "one") + &pool("b", "other") + &class("one", "{}", &[]) + &class("other", "{}", &[]);
    assert_eq!(lowered(&alike, &embedded()).problem.types, empty.problem.types);
}
