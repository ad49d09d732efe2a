//! What a snapshot means, as a problem: pods and their rules, nodes, `NodePools`, `DaemonSets`.
#![expect(clippy::panic, reason = "a helper of tests fails the test")]

mod common;

use std::collections::BTreeMap;

use common::{catalog, list, pod, read_bytes};
use stowage_cluster::{LeftOut, LowerError, LowerOptions, Lowered, Note, Rule, UNLIMITED, lower};
use stowage_solver::{
    Effect, HostPort, NodeConstraint, Operator, PodSelector, Problem, Protocol, Requirement, Resources,
    Taint, TopologyKey,
};

fn lowered_with(items: &str, options: &LowerOptions) -> Lowered {
    let snapshot = read_bytes(list(items).as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    lower(&snapshot, catalog(), options).unwrap_or_else(|e| panic!("{e}"))
}

fn lowered(items: &str) -> Lowered {
    lowered_with(items, &LowerOptions::default())
}

/// The problem of one pod with this spec, among these other objects.
fn one(spec: &str, others: &[&str]) -> Problem {
    let pod = pod(spec);
    lowered(&[&[pod.as_str()], others].concat().join(",")).problem
}

fn amounts(problem: &Problem, resources: &Resources) -> BTreeMap<String, i64> {
    resources.iter().map(|(id, amount)| (problem.resources[id.index()].clone(), amount)).collect()
}

fn map(of: &[(&str, i64)]) -> BTreeMap<String, i64> {
    of.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect()
}

fn is_in(key: &str, values: &[&str]) -> Requirement {
    Requirement { key: key.to_owned(), op: Operator::In(values.iter().map(|v| (*v).to_owned()).collect()) }
}

fn constraint(source: &str, any_of: Vec<Vec<Requirement>>) -> NodeConstraint {
    let of_volume = source.contains("claim");
    NodeConstraint { source: source.to_owned(), any_of, of_volume }
}

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
fn spread_and_affinity_are_lowered_fully() {
    let items = r#"{"kind": "Namespace", "metadata": {"name": "shop", "labels": {"tier": "front"}}},
        {"kind": "Namespace", "metadata": {"name": "lab"}},
        {"kind": "Pod", "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web", "v": "2"}}, "spec": {
            "topologySpreadConstraints": [
                {"maxSkew": 2, "minDomains": 3, "topologyKey": "topology.kubernetes.io/zone", "matchLabelKeys": ["v", "none"],
                 "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}}},
                {"topologyKey": "kubernetes.io/hostname", "nodeAffinityPolicy": "Ignore", "nodeTaintsPolicy": "Honor"},
                {"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "ScheduleAnyway"}],
            "affinity": {
                "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": "rack", "labelSelector": {}, "namespaceSelector": {"matchLabels": {"tier": "front"}},
                     "namespaces": ["lab"], "mismatchLabelKeys": ["v"]}],
                    "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": {"topologyKey": "rack"}}]},
                "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchExpressions": [
                        {"key": "app", "operator": "In", "values": ["web", "api", "web"]}]}},
                    {"topologyKey": "rack", "namespaceSelector": {}}]}}}},
        {"kind": "Pod", "metadata": {"name": "web-1", "namespace": "shop", "labels": {"app": "web", "v": "2"}}},
        {"kind": "Pod", "metadata": {"name": "web-2", "namespace": "shop", "labels": {"app": "web", "v": "2"}}}"#;
    let Lowered { problem, notes, .. } = lowered(items);
    let spec = &problem.specs[0];
    let own = |labels| PodSelector { namespaces: vec!["shop".to_owned()], labels };
    let not_in = Requirement { key: "v".to_owned(), op: Operator::NotIn(vec!["2".to_owned()]) };
    let rack = || TopologyKey::Label("rack".to_owned());

    assert_eq!(spec.spread.len(), 2);
    assert_eq!((spec.spread[0].max_skew, spec.spread[0].min_domains), (2, 3));
    assert_eq!(spec.spread[0].selector, own(Some(vec![is_in("app", &["web"]), is_in("v", &["2"])])));
    assert!(spec.spread[0].honor_node_affinity && !spec.spread[0].honor_taints);
    assert_eq!((spec.spread[1].key.clone(), spec.spread[1].max_skew), (TopologyKey::Host, 1));
    assert_eq!(spec.spread[1].selector, own(None));
    assert!(!spec.spread[1].honor_node_affinity && spec.spread[1].honor_taints);

    let namespaces = vec!["lab".to_owned(), "shop".to_owned()];
    assert_eq!(spec.affinity[0].key, rack());
    assert_eq!(
        spec.affinity[0].selector,
        PodSelector { namespaces: namespaces.clone(), labels: Some(vec![not_in]) }
    );
    assert_eq!(spec.anti_affinity[0].selector, own(Some(vec![is_in("app", &["api", "web"])])));
    assert_eq!(spec.anti_affinity[1].selector, PodSelector { namespaces, labels: None });

    assert_eq!(spec.preferences.len(), 2);
    assert_eq!(notes, [Note::DefaultNodePool]);
}

#[test]
fn match_label_keys_tell_pods_of_one_spec_apart() {
    let of = |name: &str, v: &str| {
        format!(
            r#"{{"kind": "Pod", "metadata": {{"name": "{name}", "labels": {{"v": "{v}"}}}}, "spec": {{
               "topologySpreadConstraints": [{{"topologyKey": "z", "labelSelector": {{}}, "matchLabelKeys": ["v"]}}]}}}}"#
        )
    };
    let problem = lowered(&[of("a", "1"), of("b", "2"), of("c", "1")].join(",")).problem;
    let specs: Vec<usize> = problem.pods.iter().map(|p| p.spec.index()).collect();
    assert_eq!(specs, [0, 1, 0]);
    assert_eq!(problem.label_sets.len(), 2);
}

const STORAGE: &str = r#"
    {"kind": "StorageClass", "metadata": {"name": "gp3"}, "provisioner": "ebs.csi.aws.com",
     "volumeBindingMode": "WaitForFirstConsumer", "allowedTopologies": [{"matchLabelExpressions": [
        {"key": "topology.ebs.csi.aws.com/zone", "values": ["us-east-1a", "us-east-1b"]}]}]},
    {"kind": "StorageClass", "metadata": {"name": "now"}, "provisioner": "ebs.csi.aws.com", "volumeBindingMode": "Immediate"},
    {"kind": "PersistentVolume", "metadata": {"name": "pv-1"}, "spec": {"csi": {"driver": "ebs.csi.aws.com"}, "nodeAffinity": {
        "required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["us-east-1a"]}]}]}}}},
    {"kind": "PersistentVolume", "metadata": {"name": "pv-2", "labels": {
        "failure-domain.beta.kubernetes.io/zone": "us-east-1a__us-east-1b"}}, "spec": {"awsElasticBlockStore": {}}},
    {"kind": "PersistentVolumeClaim", "metadata": {"name": "bound"}, "spec": {"volumeName": "pv-1"}},
    {"kind": "PersistentVolumeClaim", "metadata": {"name": "old"}, "spec": {"volumeName": "pv-2"}},
    {"kind": "PersistentVolumeClaim", "metadata": {"name": "lost"}, "spec": {"volumeName": "pv-9"}},
    {"kind": "PersistentVolumeClaim", "metadata": {"name": "fresh"}, "spec": {"storageClassName": "gp3"}},
    {"kind": "PersistentVolumeClaim", "metadata": {"name": "now"}, "spec": {"storageClassName": "now"}},
    {"kind": "PersistentVolumeClaim", "metadata": {"name": "odd"}, "spec": {"storageClassName": "none"}},
    {"kind": "PersistentVolumeClaim", "metadata": {"name": "plain"}, "spec": {}},
    {"kind": "PersistentVolumeClaim", "metadata": {"name": "going", "deletionTimestamp": "2026-01-01T00:00:00Z"}}"#;

fn with_claims(claims: &[&str]) -> Problem {
    let volumes: Vec<String> = claims
        .iter()
        .map(|c| format!(r#"{{"name": "v", "persistentVolumeClaim": {{"claimName": "{c}"}}}}"#))
        .collect();
    one(&format!(r#"{{"volumes": [{}]}}"#, volumes.join(",")), &[STORAGE])
}

fn not_migrated() -> Requirement {
    let key = "storage.alpha.kubernetes.io/migrated-plugins".to_owned();
    Requirement { key, op: Operator::DoesNotExist }
}

#[test]
fn volumes_bind_pods_to_zones_and_take_attach_slots() {
    let problem = with_claims(&["bound", "old", "fresh", "bound"]);
    let spec = &problem.specs[0];
    let zones = ["us-east-1a", "us-east-1b"];
    assert_eq!(
        spec.node,
        [
            constraint(
                "volume pv-1 of claim bound",
                vec![vec![is_in("topology.kubernetes.io/zone", &zones[..1])]]
            ),
            constraint(
                "volume pv-2 of claim old",
                vec![
                    vec![is_in("failure-domain.beta.kubernetes.io/zone", &zones)],
                    vec![is_in("topology.kubernetes.io/zone", &zones)],
                ]
            ),
            constraint(
                "volume pv-2 of claim old",
                vec![vec![is_in("topology.ebs.csi.aws.com/zone", &zones)], vec![not_migrated()]]
            ),
            constraint(
                "allowed topologies of claim fresh",
                vec![vec![is_in("topology.ebs.csi.aws.com/zone", &zones)]]
            ),
            constraint(
                "volume pv-1 of claim bound",
                vec![vec![is_in("topology.kubernetes.io/zone", &zones[..1])]]
            ),
        ]
    );
    assert_eq!(amounts(&problem, &spec.requests), map(&[("attachable-volumes-aws-ebs", 3), ("pods", 1)]));
    assert_eq!((spec.blocked.as_deref(), spec.unbound_claims.len()), (None, 0));
    let slots = |name: &str| {
        let found = problem.types.iter().find(|t| t.name == name).expect("in the catalogue");
        amounts(&problem, &found.allocatable)["attachable-volumes-aws-ebs"]
    };
    assert_eq!((slots("m7i.large"), slots("g5.xlarge")), (UNLIMITED, 20));
}

#[test]
fn claims_that_cannot_be_had_block_their_pods() {
    for (claim, reason) in [
        ("nowhere", "claim nowhere does not exist in namespace default"),
        ("going", "claim going is being deleted"),
        ("lost", "volume pv-9 of claim lost does not exist"),
        ("odd", "storage class none of claim odd does not exist"),
        ("now", "claim now is not bound although its storage class now binds immediately"),
        ("plain", "claim plain is not bound and names no storage class, and no storage class is the default"),
    ] {
        assert_eq!(with_claims(&["bound", claim]).specs[0].blocked.as_deref(), Some(reason), "{claim}");
    }
}

#[test]
fn unbound_claims_that_pods_share_keep_them_together() {
    let user = |name: &str, claim: &str| {
        pod(&format!(r#"{{"volumes": [{{"persistentVolumeClaim": {{"claimName": "{claim}"}}}}]}}"#))
            .replace("web", name)
    };
    let items = [STORAGE, &user("a", "fresh"), &user("b", "fresh"), &user("c", "bound"), &user("d", "bound")]
        .join(",");
    let problem = lowered(&items).problem;
    let shared: Vec<&[String]> =
        problem.pods.iter().map(|p| problem.specs[p.spec.index()].unbound_claims.as_slice()).collect();
    let fresh = ["default/fresh".to_owned()];
    assert_eq!(shared, [&fresh[..], &fresh[..], &[], &[]]);
}

#[test]
fn ephemeral_volumes_are_called_after_their_pods() {
    let spec = r#"{"volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {"storageClassName": "now"}}}}]}"#;
    let bound =
        r#"{"kind": "PersistentVolumeClaim", "metadata": {"name": "b-v"}, "spec": {"volumeName": "pv-1"}}"#;
    let pods = ["a", "b", "c"].map(|name| pod(spec).replace("web", name));
    let problem = lowered(&format!("{STORAGE}, {bound}, {}", pods.join(","))).problem;
    let constraints: Vec<usize> =
        problem.pods.iter().map(|p| problem.specs[p.spec.index()].node.len()).collect();
    assert_eq!(constraints, [0, 1, 0]);
    // Where nothing of the volumes differs, nothing tells the pods apart.
    assert_eq!(problem.pods[0].spec, problem.pods[2].spec);
    let slots: Vec<i64> =
        problem.specs.iter().map(|s| amounts(&problem, &s.requests)["attachable-volumes-aws-ebs"]).collect();
    assert_eq!(slots, [1, 1]);
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
    // Capacity of n1, allocatable of n2, nothing of n3, and the claim without a node.
    assert_eq!(amounts(&problem, &problem.pools[0].used)["cpu"], 4000 + 2000 + 8000);
    assert_eq!(problem.pools[0].node_count, 3);
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

#[test]
fn sums_that_cannot_be_counted_are_an_error() {
    let pods: Vec<String> = (0..3000)
        .map(|n| {
            let amount = if n == 7 { "8Pi" } else { "7Pi" };
            pod(&format!(r#"{{"containers": [{{"resources": {{"requests": {{"memory": "{amount}"}}}}}}]}}"#))
                .replace("web", &format!("web-{n}"))
        })
        .collect();
    let snapshot = read_bytes(list(&pods.join(",")).as_bytes()).expect("each alone is fine");
    let error = lower(&snapshot, catalog(), &LowerOptions::default()).expect_err("all together are not");
    assert_eq!(
        error,
        LowerError::TooMuch { resource: "memory".to_owned(), example: "default/web-7".to_owned() }
    );
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
