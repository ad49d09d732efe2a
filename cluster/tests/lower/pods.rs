//! Pods: which wait for a node, what they ask for, and which nodes they admit.

use stowage_cluster::{LeftOut, LowerOptions, Lowered, Note, Rule, lower};
use stowage_solver::{Effect, HostPort, Operator, Protocol, Requirement};

use super::common::{catalog, list, pod, read_bytes};
use super::{amounts, constraint, is_in, lowered, map, one};

#[test]
fn pending_pods_are_those_that_wait_for_a_node() {
    let pod = |name: &str, meta: &str, spec: &str, status: &str| {
        format!(
            r#"{{"kind": "Pod", "metadata": {{"name": "{name}"{meta}}}, "spec": {{{spec}}}, "status": {{{status}}}}}"#
        )
    };
    let items = [
        pod("waits", "", "", r#""phase": "Pending""#),
        pod("new", "", "", ""),
        pod("runs", "", r#""nodeName": "gone""#, r#""phase": "Running""#),
        pod("done", "", r#""nodeName": "gone""#, r#""phase": "Succeeded""#),
        pod("failed", "", "", r#""phase": "Failed""#),
        pod("going", r#", "deletionTimestamp": "2026-01-01T00:00:00Z""#, "", ""),
        pod("daemon", r#", "ownerReferences": [{"kind": "DaemonSet", "name": "d"}]"#, "", ""),
        pod("gated", "", r#""schedulingGates": [{"name": "g"}]"#, ""),
    ];
    let Lowered { problem, notes, .. } = lowered(&items.join(","));
    let names: Vec<&str> = problem.pods.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["default/waits", "default/new"]);
    let left_out = |why, name: &str| Note::LeftOut { why, count: 1, example: format!("default/{name}") };
    assert_eq!(
        notes,
        [
            Note::DefaultNodePool,
            left_out(LeftOut::NotPending, "failed"),
            left_out(LeftOut::Terminating, "going"),
            left_out(LeftOut::DaemonSet, "daemon"),
            left_out(LeftOut::Gated, "gated"),
            Note::UnknownNode { count: 1, example: "default/runs".to_owned(), node: "gone".to_owned() },
        ]
    );
}

#[test]
fn requests_are_in_base_units_and_only_of_what_is_asked_for() {
    let spec = r#"{"containers": [{"resources": {"requests": {"cpu": "0.1005", "memory": "1.5", "nvidia.com/gpu": 1}}}]}"#;
    let problem = one(spec, &[]);
    assert_eq!(problem.resources, ["cpu", "memory", "nvidia.com/gpu", "pods"]);
    let expected = map(&[("cpu", 101), ("memory", 2), ("nvidia.com/gpu", 1), ("pods", 1)]);
    assert_eq!(amounts(&problem, &problem.specs[0].requests), expected);
    let m7i = problem.types.iter().find(|t| t.name == "m7i.large").expect("in the catalogue");
    assert_eq!(amounts(&problem, &m7i.capacity), map(&[("cpu", 2000), ("memory", 7577 << 20), ("pods", 29)]));
    assert_eq!(
        amounts(&problem, &m7i.allocatable),
        map(&[("cpu", 1930), ("memory", 6903 << 20), ("pods", 29)])
    );
}

#[test]
fn node_selector_and_affinity_become_constraints() {
    let spec = r#"{"nodeSelector": {"disk": "ssd", "a": "b"},
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "n", "operator": "Gt", "values": ["4"]},
                                  {"key": "n", "operator": "Lt", "values": ["9"]},
                                  {"key": "m", "operator": "NotIn", "values": ["x"]}]},
            {},
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}],
             "matchExpressions": [{"key": "e", "operator": "Exists"}, {"key": "f", "operator": "DoesNotExist"}]},
            {"matchExpressions": [{"key": "n", "operator": "Gt", "values": ["9223372036854775807"]}]}]}}}}"#;
    let problem = one(spec, &[]);
    let with = |key: &str, op| Requirement { key: key.to_owned(), op };
    assert_eq!(
        problem.specs[0].node,
        [
            constraint("node selector", vec![vec![is_in("a", &["b"]), is_in("disk", &["ssd"])]]),
            constraint(
                "node affinity",
                vec![
                    vec![
                        with("n", Operator::Within(5, i64::MAX)),
                        with("n", Operator::Within(i64::MIN, 8)),
                        with("m", Operator::NotIn(vec!["x".to_owned()])),
                    ],
                    vec![
                        with("e", Operator::Exists),
                        with("f", Operator::DoesNotExist),
                        is_in("metadata.name", &["node-1"]),
                    ],
                    vec![is_in("n", &[])],
                ]
            ),
        ]
    );
    let nowhere = r#"{"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}}"#;
    assert_eq!(one(nowhere, &[]).specs[0].node, [constraint("node affinity", vec![])]);
}

#[test]
fn tolerations_and_host_ports() {
    let spec = r#"{"hostNetwork": true,
        "tolerations": [{"operator": "Exists", "effect": "NoSchedule"}, {"key": "a", "value": "1", "operator": ""},
                        {"key": "b", "operator": "Exists", "effect": ""}, {"operator": "Equal"},
                        {"key": "c", "operator": "Lt", "value": "3"}],
        "initContainers": [{"ports": [{"hostPort": 1}]}, {"restartPolicy": "Always", "ports": [{"hostPort": 2}]}],
        "containers": [{"ports": [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP", "hostIP": "10.0.0.1"},
                                  {"hostPort": 443, "hostIP": "0.0.0.0"}]}]}"#;
    let items = pod(spec);
    let Lowered { problem, notes, .. } = lowered(&items);
    let shown: Vec<_> = problem.specs[0]
        .tolerations
        .iter()
        .map(|t| (t.key.as_deref(), t.value.as_deref(), t.effect))
        .collect();
    assert_eq!(
        shown,
        [(None, None, Some(Effect::NoSchedule)), (Some("a"), Some("1"), None), (Some("b"), None, None)]
    );
    let port = |ip: Option<&str>, protocol, port| HostPort { ip: ip.map(str::to_owned), protocol, port };
    assert_eq!(
        problem.specs[0].host_ports,
        [
            port(None, Protocol::Tcp, 2),
            port(None, Protocol::Tcp, 80),
            port(None, Protocol::Tcp, 443),
            port(Some("10.0.0.1"), Protocol::Udp, 53),
        ]
    );
    let rule = Rule::NumericTolerations;
    assert!(notes.contains(&Note::NotHonoured { rule, count: 1, example: "default/web".to_owned() }));
}

#[test]
fn priorities_come_from_the_pod_its_class_or_the_default() {
    let classes = r#"{"kind": "PriorityClass", "metadata": {"name": "high"}, "value": 1000},
        {"kind": "PriorityClass", "metadata": {"name": "usual"}, "value": 10, "globalDefault": true}"#;
    for (spec, expected) in [
        (r#"{"priority": 7, "priorityClassName": "high"}"#, 7),
        (r#"{"priorityClassName": "high"}"#, 1000),
        (r#"{"priorityClassName": "system-node-critical"}"#, 2_000_001_000),
        ("{}", 10),
    ] {
        assert_eq!(one(spec, &[classes]).specs[0].priority, expected, "{spec}");
    }
    assert_eq!(one("{}", &[]).specs[0].priority, 0);
}

#[test]
fn sums_that_cannot_be_counted_keep_nobody_else_from_a_place() {
    let pods: Vec<String> = (0..3000)
        .map(|n| {
            let amount = if n == 7 { "8Pi" } else { "7Pi" };
            pod(&format!(r#"{{"containers": [{{"resources": {{"requests": {{"memory": "{amount}"}}}}}}]}}"#))
                .replace("web", &format!("web-{n}"))
        })
        .collect();
    let snapshot = read_bytes(list(&pods.join(",")).as_bytes()).expect("each alone is fine");
    let problem = lower(&snapshot, catalog(), &LowerOptions::default()).expect("nor together").problem;
    assert_eq!(problem.pods.len(), 3000);
    // They ask for more than any machine has, as before, and are counted.
    let memory = problem.resources.iter().position(|name| name == "memory").expect("memory");
    let id = stowage_solver::ResourceId(u32::try_from(memory).expect("few"));
    let most = problem.types.iter().map(|of| of.capacity.get(id)).max().expect("types");
    for pod in &problem.pods {
        let asked = problem.specs[pod.spec.index()].requests.get(id);
        assert!(asked > most && asked <= i64::MAX / 4 / 3000, "{asked} against {most}");
    }
}
