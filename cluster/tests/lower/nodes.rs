//! Nodes that there are or will be in a moment, and what runs there.

use stowage_cluster::{LowerOptions, Lowered, Note, UNLIMITED};
use stowage_solver::{Effect, Taint};

use super::common::pod;
use super::volumes::STORAGE;
use super::{amounts, lowered, lowered_with, map, one};

const NODES: &str = r#"
    {"kind": "NodePool", "metadata": {"name": "p"}, "spec": {"limits": {"cpu": 100}, "template": {"spec": {
        "startupTaints": [{"key": "cilium", "effect": "NoExecute"}]}}}},
    {"kind": "Node", "metadata": {"name": "n1", "labels": {"karpenter.sh/nodepool": "p", "karpenter.sh/initialized": "true"}},
     "spec": {"unschedulable": true, "taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
                                                {"key": "cilium", "effect": "NoExecute"}]},
     "status": {"capacity": {"cpu": 4}, "allocatable": {"cpu": "3.9999", "memory": "10Gi", "pods": 30}}},
    {"kind": "Node", "metadata": {"name": "n2", "labels": {"karpenter.sh/nodepool": "p", "kubernetes.io/hostname": "h2"}},
     "spec": {"taints": [{"key": "cilium", "effect": "NoExecute"}, {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"},
                         {"key": "karpenter.sh/unregistered", "effect": "NoExecute"}, {"key": "own", "value": "x", "effect": "NoSchedule"}]},
     "status": {"allocatable": {"cpu": 2, "pods": 30}}},
    {"kind": "Node", "metadata": {"name": "n3", "labels": {"karpenter.sh/nodepool": "p"}, "deletionTimestamp": "2026-01-01T00:00:00Z"},
     "status": {"capacity": {"cpu": 64}}},
    {"kind": "CSINode", "metadata": {"name": "n1"}, "spec": {"drivers": [
        {"name": "efs.csi.aws.com"}, {"name": "ebs.csi.aws.com", "allocatable": {"count": 25}}]}},
    {"kind": "NodeClaim", "metadata": {"name": "p-x", "labels": {"karpenter.sh/nodepool": "p"}}, "spec": {"requirements": [
        {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["us-east-1a"]}]},
     "status": {"capacity": {"cpu": 8}, "allocatable": {"cpu": 7, "pods": 50}}},
    {"kind": "NodeClaim", "metadata": {"name": "p-1", "labels": {"karpenter.sh/nodepool": "p"}}, "status": {"nodeName": "n1", "capacity": {"cpu": 4}}}"#;

#[test]
fn nodes_have_their_room_taints_and_limits() {
    let claim = r#"{"volumes": [{"persistentVolumeClaim": {"claimName": "bound"}}]}"#;
    let problem = one(claim, &[NODES, STORAGE]);
    let names: Vec<&str> = problem.nodes.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(names, ["n1", "n2", "n3"]);
    let [n1, n2, n3] = &problem.nodes[..] else { panic!("three nodes") };
    let expected =
        map(&[("attachable-volumes-aws-ebs", 25), ("cpu", 3999), ("memory", 10 << 30), ("pods", 30)]);
    assert_eq!(amounts(&problem, &n1.allocatable), expected);
    assert_eq!(amounts(&problem, &n2.allocatable)["attachable-volumes-aws-ebs"], UNLIMITED);
    let taint =
        |key: &str, value: &str, effect| Taint { key: key.to_owned(), value: value.to_owned(), effect };
    let expected = [
        taint("cilium", "", Effect::NoExecute),
        taint("node.kubernetes.io/unschedulable", "", Effect::NoSchedule),
    ];
    assert_eq!(n1.taints, expected);
    assert_eq!(n2.taints, [taint("own", "x", Effect::NoSchedule)]);
    assert_eq!((n1.open, n3.open), (true, false));
    assert_eq!(
        (n1.labels["kubernetes.io/hostname"].as_str(), n1.labels["metadata.name"].as_str()),
        ("n1", "n1")
    );
    assert_eq!(n2.labels["kubernetes.io/hostname"], "h2");
    // Capacity of n1, allocatable of n2, n3 until it is gone, and the claim without a node.
    assert_eq!(amounts(&problem, &problem.pools[0].used)["cpu"], 4000 + 2000 + 64_000 + 8000);
    assert_eq!(problem.pools[0].node_count, 4);
}

#[test]
fn machines_being_launched_are_nodes_where_asked() {
    let Lowered { problem, notes, .. } =
        lowered_with(NODES, &LowerOptions { in_flight: true, ..LowerOptions::default() });
    let claim = problem.nodes.iter().find(|n| n.name == "p-x").expect("is a node");
    assert_eq!(amounts(&problem, &claim.allocatable), map(&[("cpu", 7000), ("pods", 50)]));
    assert_eq!(claim.labels["topology.ebs.csi.aws.com/zone"], "us-east-1a");
    assert_eq!((claim.pool.as_deref(), claim.open), (Some("p"), true));
    assert_eq!(problem.nodes.len(), 4);
    assert!(notes.contains(&Note::InFlight { count: 1, example: "p-x".to_owned(), open: true }));
}

#[test]
fn running_pods_and_daemon_sets_to_come_take_room() {
    let bound = |name: &str, extra: &str| {
        format!(
            r#"{{"kind": "Pod", "metadata": {{"name": "{name}"{extra}}}, "spec": {{"nodeName": "n2",
               "volumes": [{{"persistentVolumeClaim": {{"claimName": "bound"}}}}],
               "containers": [{{"ports": [{{"hostPort": 80}}], "resources": {{"requests": {{"cpu": "100m"}}}}}}]}},
               "status": {{"phase": "Running"}}}}"#
        )
    };
    let daemon = |name: &str, spec: &str| {
        format!(
            r#"{{"kind": "DaemonSet", "metadata": {{"name": "{name}", "namespace": "kube-system"}}, "spec": {{"template": {{"spec": {{
               {spec}, "containers": [{{"ports": [{{"containerPort": 9100}}], "resources": {{"requests": {{"cpu": "10m"}}}}}}]}}}}}}}}"#
        )
    };
    let everywhere = r#""hostNetwork": true, "tolerations": [{"operator": "Exists"}]"#;
    let own_pod =
        r#", "namespace": "kube-system", "ownerReferences": [{"kind": "DaemonSet", "name": "there"}]"#;
    let items = [
        NODES.to_owned(),
        STORAGE.to_owned(),
        pod(r#"{"volumes": [{"persistentVolumeClaim": {"claimName": "bound"}}]}"#),
        bound("r1", ""),
        bound("r2", r#", "deletionTimestamp": "2026-01-01T00:00:00Z""#),
        bound("r3", own_pod).replace("\"volumes\"", "\"none\"").replace("80", "81"),
        bound("done", "").replace("Running", "Failed"),
        daemon("there", everywhere),
        daemon("to-come", everywhere),
        daemon("tainted", r#""hostNetwork": true"#),
        daemon("elsewhere", r#""nodeSelector": {"disk": "ssd"}, "tolerations": [{"operator": "Exists"}]"#),
        daemon("going", everywhere)
            .replace(r#""name": "going""#, r#""name": "going", "deletionTimestamp": "x""#),
    ];
    let problem = lowered(&items.join(",")).problem;
    let n2 = &problem.nodes[1];
    // Three pods and one to come; the disk that two of them share is attached once.
    let expected = map(&[("attachable-volumes-aws-ebs", 1), ("cpu", 310), ("pods", 4)]);
    assert_eq!(amounts(&problem, &n2.used), expected);
    assert_eq!(n2.host_ports.iter().map(|p| p.port).collect::<Vec<_>>(), [80, 81, 9100]);
    let running: Vec<_> = n2.pods.iter().map(|p| (p.name.as_str(), p.terminating)).collect();
    assert_eq!(running, [("default/r1", false), ("default/r2", true), ("kube-system/r3", false)]);
    // On a cordoned node even the one that tolerates nothing of its own runs, but for the taint of the pool.
    let cordoned = amounts(&problem, &problem.nodes[0].used);
    assert_eq!(cordoned, map(&[("cpu", 20), ("pods", 2)]));
    let names: Vec<&str> = problem.daemons.iter().map(|d| d.name.as_str()).collect();
    assert_eq!(
        names,
        ["kube-system/there", "kube-system/to-come", "kube-system/tainted", "kube-system/elsewhere"]
    );
}

#[test]
fn nothing_more_is_placed_on_overcommitted_nodes() {
    let items = r#"{"kind": "Node", "metadata": {"name": "n"}, "status": {"allocatable": {"cpu": 4, "pods": 10, "nvidia.com/gpu": 0}}},
        {"kind": "Pod", "metadata": {"name": "old"}, "status": {"phase": "Running"}, "spec": {"nodeName": "n",
         "containers": [{"resources": {"limits": {"nvidia.com/gpu": 1}}}]}}"#;
    let Lowered { problem, notes, .. } = lowered(items);
    assert!(!problem.nodes[0].open);
    let note = Note::Overcommitted { count: 1, example: "n".to_owned() };
    assert_eq!(
        note.to_string(),
        "nothing more is placed on 1 node whose pods ask for more than there is (n)"
    );
    assert!(notes.contains(&note));
    assert!(lowered(&items.replace("\"nvidia.com/gpu\": 0", "\"nvidia.com/gpu\": 1")).problem.nodes[0].open);
}
