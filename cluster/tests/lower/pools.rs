//! What can be bought: offerings, and what `NodePools` make of them.

use std::collections::BTreeMap;

use stowage_cluster::{LowerOptions, Lowered, Note};
use stowage_solver::{Operator, Problem, Requirement};

use super::{is_in, lowered, lowered_with, map, one};

#[test]
fn offerings_carry_every_label_of_the_node_to_be() {
    let problem = one("{}", &[]);
    let m7i = problem.types.iter().find(|t| t.name == "m7i.large").expect("in the catalogue");
    for (key, value) in [
        ("kubernetes.io/arch", "amd64"),
        ("beta.kubernetes.io/arch", "amd64"),
        ("kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/os", "linux"),
        ("node.kubernetes.io/instance-type", "m7i.large"),
        ("beta.kubernetes.io/instance-type", "m7i.large"),
        ("karpenter.k8s.aws/instance-category", "m"),
    ] {
        assert_eq!(m7i.labels.get(key).map(String::as_str), Some(value), "{key}");
    }
    // Two zones, and the spot offering is not available.
    let zones: Vec<&str> = m7i.offerings.iter().map(|o| o.zone.as_str()).collect();
    assert_eq!(zones, ["us-east-1a", "us-east-1b"]);
    for (key, value) in [
        ("topology.kubernetes.io/zone", "us-east-1a"),
        ("failure-domain.beta.kubernetes.io/zone", "us-east-1a"),
        ("topology.ebs.csi.aws.com/zone", "us-east-1a"),
        ("topology.kubernetes.io/region", "us-east-1"),
        ("failure-domain.beta.kubernetes.io/region", "us-east-1"),
        ("karpenter.sh/capacity-type", "on-demand"),
    ] {
        assert_eq!(m7i.offerings[0].labels.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert_eq!(m7i.offerings[0].price.micros(), 100_800);
}

#[test]
fn other_operating_systems_are_offered_where_someone_wants_them() {
    let systems = |problem: &Problem| -> Vec<String> {
        let g5 = problem.types.iter().find(|t| t.name == "g5.xlarge").expect("in the catalogue");
        g5.offerings.iter().map(|o| o.labels["kubernetes.io/os"].clone()).collect()
    };
    assert_eq!(systems(&one("{}", &[])), ["linux"]);
    assert_eq!(
        systems(&one(r#"{"nodeSelector": {"kubernetes.io/os": "windows"}}"#, &[])),
        ["linux", "windows"]
    );
    let pool = r#"{"kind": "NodePool", "metadata": {"name": "w"}, "spec": {"template": {"spec": {"requirements": [
        {"key": "beta.kubernetes.io/os", "operator": "In", "values": ["windows"]}]}}}}"#;
    assert_eq!(systems(&one("{}", &[pool])), ["linux", "windows"]);
}

#[test]
fn node_pools_sort_their_requirements() {
    let pool = r#"{"kind": "NodePool", "metadata": {"name": "p"}, "spec": {"weight": 5,
        "limits": {"cpu": "100", "memory": "1Gi", "nodes": 3, "example.com/x": 1},
        "template": {
            "metadata": {"labels": {"team": "blue", "fits": "yes"}},
            "spec": {
                "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "main"},
                "taints": [{"key": "gpu", "effect": "NoSchedule"}, {"key": "soft", "effect": "PreferNoSchedule"}],
                "startupTaints": [{"key": "cilium", "effect": "NoExecute"}],
                "requirements": [
                    {"key": "failure-domain.beta.kubernetes.io/zone", "operator": "In", "values": ["us-east-1a"]},
                    {"key": "karpenter.k8s.aws/instance-generation", "operator": "Gt", "values": ["4"], "minValues": 2},
                    {"key": "karpenter.k8s.aws/instance-made-up", "operator": "DoesNotExist"},
                    {"key": "fits", "operator": "In", "values": ["yes", "no"]},
                    {"key": "single", "operator": "In", "values": ["x"]},
                    {"key": "choice", "operator": "In", "values": ["b", "a", "c"]},
                    {"key": "choice", "operator": "NotIn", "values": ["c"]},
                    {"key": "free", "operator": "Exists"},
                    {"key": "absent", "operator": "DoesNotExist"}]}}}}"#;
    let Lowered { problem, notes, .. } = lowered(pool);
    let pool = &problem.pools[0];
    let generation = Requirement {
        key: "karpenter.k8s.aws/instance-generation".to_owned(),
        op: Operator::Within(5, i64::MAX),
    };
    assert_eq!(pool.requirements, [generation, is_in("topology.kubernetes.io/zone", &["us-east-1a"])]);
    let open: Vec<_> = pool.open_labels.iter().map(|l| (l.key.as_str(), l.requirements.clone())).collect();
    let exists = Requirement { key: "free".to_owned(), op: Operator::Exists };
    assert_eq!(open, [("choice", vec![is_in("choice", &["b", "a"])]), ("free", vec![exists])]);
    for (key, value) in [
        ("team", "blue"),
        ("fits", "yes"),
        ("single", "x"),
        ("karpenter.sh/nodepool", "p"),
        ("karpenter.sh/registered", "true"),
        ("karpenter.sh/initialized", "true"),
        ("karpenter.k8s.aws/ec2nodeclass", "main"),
    ] {
        assert_eq!(pool.labels.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert!(pool.labels.contains_key("kubernetes.io/hostname"));
    assert_eq!(pool.taints.iter().map(|t| t.key.as_str()).collect::<Vec<_>>(), ["gpu", "soft"]);
    let limits: BTreeMap<_, _> =
        pool.limits.iter().map(|(id, n)| (problem.resources[id.index()].clone(), *n)).collect();
    assert_eq!(limits, map(&[("cpu", 100_000), ("memory", 1 << 30), ("example.com/x", 1)]));
    assert_eq!((pool.weight, pool.node_limit), (5, Some(3)));
    let asked: Vec<_> = pool.min_values.iter().map(|m| (m.key.as_str(), m.least, m.relax)).collect();
    assert_eq!(asked, [("karpenter.k8s.aws/instance-generation", 2, false)]);
    let rules: Vec<String> =
        notes.iter().filter(|n| matches!(n, Note::NotHonoured { .. })).map(ToString::to_string).collect();
    assert_eq!(
        rules,
        [
            "not honoured: NodePool limits on a resource that no instance type has (1 NodePool, example.com/x of p)",
        ]
    );
}

#[test]
fn contradictory_requirements_leave_a_pool_nothing_to_buy() {
    for requirement in [
        r#"{"key": "team", "operator": "In", "values": ["red"]}"#,
        r#"{"key": "team", "operator": "DoesNotExist"}"#,
        r#"{"key": "karpenter.sh/made-up", "operator": "Exists"}"#,
        r#"{"key": "other", "operator": "In", "values": ["a"]}, {"key": "other", "operator": "NotIn", "values": ["a"]}"#,
    ] {
        let pool = format!(
            r#"{{"kind": "NodePool", "metadata": {{"name": "p"}}, "spec": {{"template": {{
               "metadata": {{"labels": {{"team": "blue"}}}}, "spec": {{"requirements": [{requirement}]}}}}}}}}"#
        );
        let problem = lowered(&pool).problem;
        let never = &problem.pools[0].requirements;
        assert!(
            matches!(never.as_slice(), [Requirement { op: Operator::In(values), .. }] if values.is_empty()),
            "{requirement}"
        );
    }
}

#[test]
fn pools_that_launch_nothing_are_left_out() {
    let pools = r#"{"kind": "NodePool", "metadata": {"name": "a"}, "spec": {"replicas": 2}},
        {"kind": "NodePool", "metadata": {"name": "b", "deletionTimestamp": "2026-01-01T00:00:00Z"}}"#;
    let Lowered { problem, notes, .. } = lowered(pools);
    assert!(problem.pools.is_empty());
    let idle = |name: &str, deleting| Note::IdlePool { name: name.to_owned(), deleting };
    assert_eq!(notes, [idle("a", false), idle("b", true)]);
}

/// A pool with these annotations.
fn pool_with(annotations: &str) -> String {
    format!(r#"{{"kind": "NodePool", "metadata": {{"name": "general", "annotations": {{{annotations}}}}}}}"#)
}

#[test]
fn a_nodepool_may_say_what_its_nodes_cost_beside_their_instances() {
    let told = pool_with(r#""stowage.dev/node-cost": "0.0125", "other.io/node-cost": "7""#);
    let options = LowerOptions {
        nodes: stowage_api::NodeSettings { cost: "0.5".parse().ok(), ..Default::default() },
        ..LowerOptions::default()
    };
    let other = r#"{"kind": "NodePool", "metadata": {"name": "other"}}"#;
    let Lowered { problem, notes, .. } = lowered_with(&format!("{told},{other}"), &options);
    let costs: Vec<i64> = problem.pools.iter().map(|p| p.node_cost.micros()).collect();
    assert_eq!(costs, [12_500, 500_000], "an annotation goes before the option");
    let shown: Vec<String> = notes.iter().map(ToString::to_string).collect();
    assert!(
        shown.contains(&"a node of NodePool general costs $0.0125 an hour beside its instance".to_owned()),
        "{shown:?}"
    );
}

#[test]
fn sizes_of_nodes_are_requirements_on_types() {
    let plain = lowered(&pool_with("")).problem;
    assert!(plain.types.iter().all(|t| t.labels.keys().all(|k| !k.starts_with("stowage.dev/"))));
    let Lowered { problem, notes, .. } = lowered(&pool_with(
        r#""stowage.dev/min-node-cpu": "3", "stowage.dev/max-node-memory": "64Gi", "stowage.dev/max-cpu": "1""#,
    ));
    let admitted: Vec<&str> = problem
        .types
        .iter()
        .filter(|t| {
            problem.pools[0].requirements.iter().all(|r| r.allows(t.labels.get(&r.key).map(String::as_str)))
        })
        .map(|t| t.name.as_str())
        .collect();
    assert_eq!(admitted, ["g5.xlarge"]);
    let shown: Vec<String> = notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown[0],
        "nodes of NodePool general have at least 3 vCPUs and at most 64Gi memory: 1 instance type of that size in the catalogue"
    );
    assert!(shown[1].starts_with(
        "annotation stowage.dev/max-cpu of NodePool general means nothing: there are node-cost"
    ));
}
