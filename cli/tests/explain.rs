//! `stowage explain`: what it says of a small cluster with a catalogue of its own, in every form.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "tests, which share what they do not all use"
)]

mod support;

use serde_json::Value;
use support::{Ran, folder, stowage};

/// Two sizes of one family, and one with less memory; in zones a and b alike, in c one size at twice its price.
fn catalog(folder: &std::path::Path) -> String {
    let one = |name: &str, cpus: u32, gib: u32, price: f64, zones: &str| {
        let offering = format!(
            r#"{{"Price": {price}, "Available": true, "Requirements": [
                {{"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]}},
                {{"key": "topology.kubernetes.io/zone", "operator": "In", "values": [{zones}]}}]}}"#
        );
        format!(
            r#"{{"name": "{name}", "architecture": "amd64", "operatingSystems": ["linux"],
                "resources": {{"cpu": "{cpus}", "memory": "{gib}Gi", "pods": "110"}},
                "labels": {{"karpenter.k8s.aws/instance-category": "m", "karpenter.k8s.aws/instance-generation": "7"}},
                "offerings": [{offering}]}}"#
        )
    };
    let types = [
        one("m7.large", 2, 8, 0.2, r#""a", "b""#),
        one("m7.xlarge", 4, 16, 0.4, r#""a", "b""#),
        one("c7.xlarge", 4, 6, 0.3, r#""a", "b""#),
        one("m1.xlarge", 4, 16, 0.8, r#""c""#),
    ];
    let file = folder.join("catalog.json");
    std::fs::write(&file, format!("[{}]", types.join(","))).unwrap();
    file.to_str().unwrap().to_owned()
}

/// Six pods that are spread over three zones, and one that no node has the label for.
fn cluster() -> String {
    let pod = |name: &str, more: &str| {
        format!(
            r#"{{"kind": "Pod", "apiVersion": "v1", "metadata": {{"name": "{name}", "namespace": "default", "labels": {{"app": "web"}}}},
                "spec": {{"containers": [{{"name": "c", "resources": {{"requests": {{"cpu": "1500m", "memory": "6Gi"}}}}}}], {more}}},
                "status": {{"phase": "Pending", "conditions": [{{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}}]}}}}"#
        )
    };
    let spread = r#""topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}}}]"#;
    let mut items: Vec<String> = (0..6).map(|n| pod(&format!("web-{n}"), spread)).collect();
    items.push(pod("lost", r#""nodeSelector": {"disk": "ssd"}"#));
    items.push(
        r#"{"kind": "NodePool", "apiVersion": "karpenter.sh/v1", "metadata": {"name": "default"},
            "spec": {"template": {"spec": {"nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"},
            "requirements": [{"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]}]}}}}"#
            .to_owned(),
    );
    format!(r#"{{"kind": "List", "apiVersion": "v1", "items": [{}]}}"#, items.join(","))
}

/// At the width of an old terminal.
fn explain(test: &str, what: &[&str]) -> Ran {
    let folder = folder(test);
    let (catalog, file) = (catalog(&folder), folder.join("cluster.json"));
    std::fs::write(&file, cluster()).unwrap();
    let mut args = vec!["explain"];
    args.extend(what);
    args.extend([file.to_str().unwrap(), "--catalog", &catalog]);
    stowage(&args).env("COLUMNS", "80").output().unwrap().into()
}

fn json(test: &str, what: &[&str]) -> Value {
    let ran = explain(test, &[what, &["-o", "json"]].concat());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    serde_json::from_str(&ran.stdout).unwrap()
}

#[track_caller]
fn says(test: &str, what: &[&str], expected: &str) {
    let ran = explain(test, what);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let (first, second) = (ran.stdout.trim_end(), expected.trim());
    let differs = first.lines().zip(second.lines()).find(|(is, should)| is != should);
    assert_eq!(differs, None, "{first}");
    assert_eq!(first.lines().count(), second.lines().count(), "{first}");
}

#[test]
fn a_plan_is_explained() {
    says(
        "explain-plan",
        &[],
        "\
5 new nodes, $1.6000 an hour; proven lower bound $1.2000; 1 pod without a place

Why these nodes
  default-0: m1.xlarge c on-demand $0.8000, 2 pods
    - full, no cpu for another pod: cpu 75%, memory 75%, pods 1%
    - nothing cheaper here; elsewhere, m7.xlarge b on-demand saves $0.4000: pods
      such as default/web-0 were dealt to zone c
  default-1, default-2: m7.large a on-demand $0.2000, 1 pod
    - full, no cpu for another pod: cpu 75%, memory 75%, pods 0%
    - nothing on offer is cheaper
  default-3, default-4: m7.large b on-demand $0.2000, 1 pod
    - full, no cpu for another pod: cpu 75%, memory 75%, pods 0%
    - nothing on offer is cheaper

What resources are worth
  RESOURCE  $/H EACH  UNIT  ASKED FOR      $/H  SHARE  BETWEEN
  memory    $0.01700  GiB      36 GiB  $0.6119    68%
  cpu       $0.03201  vCPU          9  $0.2881    32%
  dual prices of the resource bound, which proves $0.9000 of $1.2000; there is
  more than enough of pods

What rules cost
  WITHOUT                            BOUND FALLS  PLAN FALLS              PROVEN
  node selector of default/lost: d…            -           -   places 1 pod more
  zone spread of default/web-0 and…      $0.0000     $0.4000  $0.0000 to $0.7000
  1 rule costs nothing that could be measured
  $ an hour. Each rule alone was relaxed and the problem solved again with quick
  effort: both falls are estimates, the range is what bounds and bills prove.
  Falls do not add up.",
    );
}

#[test]
fn a_node_is_explained() {
    says(
        "explain-node",
        &["node", "default-0"],
        "\
default-0: m1.xlarge c on-demand $0.8000, 2 pods, NodePool default
full, no cpu for another pod

How full
  RESOURCE  FULL    PODS  DAEMONSETS      OF
  cpu        75%       3           0       4
  memory     75%  12 GiB         0 B  16 GiB
  pods        1%       2           0     110

Why nothing cheaper
  - m7.xlarge b on-demand saves $0.4000: pods such as default/web-0 were dealt
    to zone c
  of 6 cheaper offers in all, 2 lack cpu, 2 lack memory, 2 are in another domain

Pods
  default/web-0, default/web-1",
    );
}

#[test]
fn a_pod_with_a_place_is_explained() {
    says(
        "explain-pod",
        &["pod", "web-0"],
        "\
default/web-0 goes to new node default-0: m1.xlarge c on-demand $0.8000, 2 pods
it takes 37.5% of the node's cpu
alone, the cheapest node for it is m7.large a on-demand at $0.2000, NodePool
  default

NodePools
  default: 7 of 7 offers could hold it, other pods aside",
    );
}

#[test]
fn a_pod_without_a_place_is_told_what_keeps_it_out_and_what_would_help() {
    says(
        "explain-lost",
        &["pod", "default/lost"],
        "\
default/lost has no place
  - NodePool default: no instance type it may launch has disk In [ssd] (node
    selector)

NodePools
  default: 0 of 7 offers could hold it, other pods aside
    - 7 do not have disk In [ssd] (node selector)

What would help
  - without node selector of default/lost: disk In [ssd] it finds a place
    (solved again)
  - add a NodePool, or widen one, so that its nodes can have disk In [ssd]",
    );
}

#[test]
fn what_is_not_in_the_plan_is_not_explained() {
    for (what, hint) in [
        (
            ["pod", "nobody"],
            "error: the plan has no pending pod default/nobody\nhint: there is default/lost,",
        ),
        (["node", "default-9"], "error: the plan has no new node default-9\nhint: there is default-0,"),
    ] {
        let ran = explain(&format!("explain-no-{}", what[0]), &what);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
        assert!(ran.stderr.starts_with(hint), "{}", ran.stderr);
    }
}

#[test]
fn documents_say_what_the_tables_say() {
    let whole = json("explain-json", &[]);
    assert_eq!(whole["schemaVersion"], "stowage.dev/explain/v1");
    assert_eq!(whole["nodes"][0]["names"], serde_json::json!(["default-0"]));
    assert_eq!(whole["nodes"][0]["binding"], serde_json::json!({"by": "resource", "resource": "cpu"}));
    assert_eq!(whole["nodes"][0]["cheaper"][0]["obstacle"], "domain");
    let spread = &whole["rules"]["measured"][1];
    assert_eq!((&spread["sort"], &spread["costs"]["planFalls"]), (&"spread".into(), &0.4.into()));
    let prices = &whole["shadowPrices"];
    let values = prices["resources"].as_array().unwrap().iter().map(|r| r["value"].as_f64().unwrap());
    assert!((values.sum::<f64>() - prices["allPods"].as_f64().unwrap()).abs() < 1e-5, "{prices}");
    let without = json("explain-json-0", &["--rules", "0"]);
    assert_eq!(
        (&without["rules"]["measured"], &without["rules"]["leftOut"]),
        (&serde_json::json!([]), &3.into())
    );
    let node = json("explain-json-node", &["node", "default-0"]);
    assert_eq!((&node["name"], &node["price"]), (&"default-0".into(), &0.8.into()));
    let pod = json("explain-json-pod", &["pod", "lost"]);
    assert_eq!(pod["place"], serde_json::json!({"on": "nowhere"}));
    assert_eq!(pod["remedies"][0]["pods"], 1);
    let yaml = explain("explain-yaml", &["pod", "lost", "-o", "yaml"]).stdout;
    assert_eq!(serde_saphyr::from_str::<Value>(&yaml).unwrap(), pod);
}

/// No line is wider than the terminal, and a pipe gets no colour.
#[test]
fn tables_keep_to_the_width() {
    for what in [&[][..], &["node", "default-1"], &["pod", "lost"]] {
        let out = explain(&format!("explain-width-{}", what.len() + what.join("").len()), what).stdout;
        assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
        assert!(!out.contains('\u{1b}'), "{out}");
    }
}
