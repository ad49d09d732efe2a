//! Claims and volumes: what they ask of nodes, and which pods they keep from running anywhere.
#![expect(clippy::panic, reason = "a helper of tests fails the test")]

mod common;

use common::{catalog, list, read_bytes};
use stowage_cluster::{LowerOptions, lower};
use stowage_solver::{NodeConstraint, PodSpec, Problem};

fn lowered(items: &[&str]) -> Problem {
    let snapshot = read_bytes(list(&items.join(",")).as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    lower(&snapshot, catalog(), &LowerOptions::default()).unwrap_or_else(|e| panic!("{e}")).problem
}

/// A pod with these claims; `more` adds to its spec.
fn user(name: &str, claims: &[&str], more: &str) -> String {
    let volumes: Vec<String> =
        claims.iter().map(|c| format!(r#"{{"persistentVolumeClaim": {{"claimName": "{c}"}}}}"#)).collect();
    let volumes = volumes.join(",");
    format!(
        r#"{{"kind": "Pod", "metadata": {{"name": "{name}"}}, "spec": {{"volumes": [{volumes}]{more}}}}}"#
    )
}

fn claim(name: &str, spec: &str) -> String {
    format!(r#"{{"kind": "PersistentVolumeClaim", "metadata": {{"name": "{name}"}}, "spec": {{{spec}}}}}"#)
}

fn class(name: &str, provisioner: &str, more: &str) -> String {
    format!(
        r#"{{"kind": "StorageClass", "metadata": {{"name": "{name}"{more}}}, "provisioner": "{provisioner}",
            "volumeBindingMode": "WaitForFirstConsumer"}}"#
    )
}

fn volume(name: &str, spec: &str) -> String {
    format!(r#"{{"kind": "PersistentVolume", "metadata": {{"name": "{name}"}}, "spec": {{{spec}}}}}"#)
}

fn in_zone(zone: &str) -> String {
    format!(
        r#""nodeAffinity": {{"required": {{"nodeSelectorTerms": [{{"matchExpressions": [
            {{"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["{zone}"]}}]}}]}}}}"#
    )
}

fn spec_of<'p>(problem: &'p Problem, name: &str) -> &'p PodSpec {
    let name = format!("default/{name}");
    let pod = problem.pods.iter().find(|p| p.name == name).unwrap_or_else(|| panic!("no pod {name}"));
    &problem.specs[pod.spec.index()]
}

fn slots(problem: &Problem, name: &str) -> i64 {
    let at = problem.resources.iter().position(|r| r == "attachable-volumes-aws-ebs");
    at.map_or(0, |at| spec_of(problem, name).requests.get(stowage_solver::ResourceId::of(at)))
}

fn sources(constraints: &[NodeConstraint]) -> Vec<&str> {
    constraints.iter().map(|c| c.source.as_str()).collect()
}

#[test]
fn a_claim_without_a_class_has_the_default_one_or_none() {
    let pod = user("p", &["c"], "");
    let unnamed = claim("c", "");
    let mark = r#", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}"#;
    let ebs = class("gp3", "ebs.csi.aws.com", mark);
    let problem = lowered(&[&pod, &unnamed, &ebs]);
    assert_eq!((spec_of(&problem, "p").blocked.as_deref(), slots(&problem, "p")), (None, 1));

    let unmarked = class("gp3", "ebs.csi.aws.com", "");
    let problem = lowered(&[&pod, &unnamed, &unmarked]);
    assert!(spec_of(&problem, "p").blocked.as_deref().is_some_and(|why| why.contains("no storage class is")));

    let problem = lowered(&[&pod, &claim("c", r#""storageClassName": """#), &ebs]);
    assert!(spec_of(&problem, "p").blocked.as_deref().is_some_and(|why| why.contains("bound to none")));
}

#[test]
fn a_lost_claim_keeps_its_pod_from_running() {
    let lost = r#"{"kind": "PersistentVolumeClaim", "metadata": {"name": "c"}, "spec": {"volumeName": "v"}, "status": {"phase": "Lost"}}"#;
    let problem = lowered(&[&user("p", &["c"], ""), lost, &volume("v", "")]);
    assert!(spec_of(&problem, "p").blocked.as_deref().is_some_and(|why| why.starts_with("claim c is lost")));
}

#[test]
fn volumes_made_by_hand_are_where_they_are() {
    let pod = user("p", &["c"], "");
    let wanting = claim("c", r#""storageClassName": "local""#);
    let local = class("local", "kubernetes.io/no-provisioner", "");
    let of_class = r#""storageClassName": "local", "#;
    let here = volume("v1", &format!("{of_class}{}", in_zone("us-east-1a")));
    let there = volume("v2", &format!("{of_class}{}", in_zone("us-east-1b")));
    let taken = volume("v3", &format!(r#"{of_class}"claimRef": {{"name": "other"}}"#));
    let problem = lowered(&[&pod, &wanting, &local, &here, &there, &taken]);
    let spec = spec_of(&problem, "p");
    assert_eq!(sources(&spec.node), ["free volumes of claim c"]);
    assert_eq!((spec.node[0].any_of.len(), spec.node[0].of_volume), (2, true));

    let problem = lowered(&[&pod, &wanting, &local, &taken]);
    assert!(spec_of(&problem, "p").blocked.as_deref().is_some_and(|why| why.ends_with("none is free")));
}

#[test]
fn several_claims_must_agree_and_every_volume_has_its_say() {
    let bound = |name: &str, volume: &str| claim(name, &format!(r#""volumeName": "{volume}""#));
    let csi = r#""csi": {"driver": "ebs.csi.aws.com"}, "#;
    let old = r#""awsElasticBlockStore": {"volumeID": "vol-1"}, "#;
    let items = [
        user("p", &["a", "b"], ""),
        bound("a", "va"),
        bound("b", "vb"),
        volume("va", &format!("{csi}{}", in_zone("us-east-1a"))),
        volume("vb", &format!("{old}{}", in_zone("us-east-1b"))),
    ];
    let problem = lowered(&items.each_ref().map(String::as_str));
    let expected = ["volume va of claim a", "volume vb of claim b", "volume vb of claim b"];
    assert_eq!(sources(&spec_of(&problem, "p").node), expected);
    assert_eq!(slots(&problem, "p"), 2, "in-tree disks take slots too");
}

#[test]
fn file_systems_have_no_zone_and_take_no_slot() {
    let items = [
        user("p", &["files", "new"], ""),
        claim("files", r#""volumeName": "v""#),
        volume("v", r#""csi": {"driver": "efs.csi.aws.com"}"#),
        claim("new", r#""storageClassName": "efs""#),
        class("efs", "efs.csi.aws.com", ""),
    ];
    let problem = lowered(&items.each_ref().map(String::as_str));
    let spec = spec_of(&problem, "p");
    assert_eq!((spec.node.len(), spec.blocked.as_deref(), slots(&problem, "p")), (0, None, 0));
}

#[test]
fn a_claim_for_one_pod_has_one_user() {
    let alone = claim("c", r#""volumeName": "v", "accessModes": ["ReadWriteOncePod"]"#);
    let pv = volume("v", "");
    let (a, b, c) = (user("a", &["c"], ""), user("b", &["c"], r#", "priority": 5"#), user("c", &["c"], ""));
    let problem = lowered(&[&a, &b, &c, &alone, &pv]);
    let why = |name: &str| spec_of(&problem, name).blocked.as_deref();
    let taken = "claim c is for one pod at a time (ReadWriteOncePod), and pod default/b has it";
    assert_eq!((why("a"), why("b"), why("c")), (Some(taken), None, Some(taken)));

    let runs = user("runs", &["c"], r#", "nodeName": "n""#);
    let problem = lowered(&[&a, &runs, &alone, &pv]);
    assert!(spec_of(&problem, "a").blocked.as_deref().is_some_and(|why| why.contains("pod default/runs")));

    // Others may share.
    let shared = claim("c", r#""volumeName": "v", "accessModes": ["ReadWriteOnce"]"#);
    let problem = lowered(&[&a, &runs, &shared, &pv]);
    assert_eq!(spec_of(&problem, "a").blocked, None);
}
