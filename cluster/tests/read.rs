//! Every shape in which a snapshot may come.
#![expect(clippy::panic, reason = "a helper of tests fails the test")]

mod common;

use common::{gzip, list, pod, read_bytes};
use stowage_cluster::object::Phase;
use stowage_cluster::{ReadOptions, Snapshot, Source, read};

fn keys(bytes: &[u8]) -> Vec<String> {
    read_bytes(bytes).unwrap_or_else(|e| panic!("{e}")).pods().map(stowage_cluster::Pod::key).collect()
}

#[test]
fn lists_single_objects_documents_and_gzip() {
    let list = list(&pod("{}"));
    let other = list.replace("web", "api");
    assert_eq!(keys(list.as_bytes()), ["default/web"]);
    assert_eq!(keys(pod("{}").as_bytes()), ["default/web"]);
    assert_eq!(keys(format!("{list}\n{other}").as_bytes()), ["default/web", "default/api"]);
    assert_eq!(keys(format!("\u{feff}{list}\n---\n{other}\n").as_bytes()), ["default/web", "default/api"]);
    assert_eq!(keys(&gzip(list.as_bytes())), ["default/web"]);
    assert_eq!(
        keys(&[gzip(list.as_bytes()), gzip(other.as_bytes())].concat()),
        ["default/web", "default/api"]
    );
}

#[test]
fn yaml_is_the_same() {
    let yaml = "
# a comment
apiVersion: v1
kind: List
items:
  - kind: Pod
    metadata: {name: web, namespace: shop, labels: {app: \"1\"}}
    spec:
      containers:
        - resources: {requests: {cpu: 0.1, memory: 1e3, example.com/x: 2}}
---
---
kind: Pod
metadata:
  name: api
  labels: &shared {app: api}
spec:
  nodeSelector: *shared
";
    let snapshot = read_bytes(yaml.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    let json = r#"{"kind": "PodList", "items": [
        {"metadata": {"name": "web", "namespace": "shop", "labels": {"app": "1"}},
         "spec": {"containers": [{"resources": {"requests": {"cpu": "100m", "memory": "1k", "example.com/x": "2"}}}]}},
        {"metadata": {"name": "api", "labels": {"app": "api"}}, "spec": {"nodeSelector": {"app": "api"}}}]}"#;
    let same = read_bytes(json.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    for (a, b) in snapshot.pods.iter().zip(&same.pods) {
        assert_eq!((a.key(), &a.labels, &a.spec), (b.key(), &b.labels, &b.spec));
    }
    assert_eq!((snapshot.pods.len(), same.pods.len()), (2, 2));
}

#[test]
fn typed_lists_lend_their_kind_to_their_items() {
    let text = r#"{"apiVersion": "v1", "items": [{"metadata": {"name": "a"}}], "kind": "NodeList"}
        {"apiVersion": "apps/v1", "kind": "DaemonSetList", "items": [{"metadata": {"name": "d"}}]}
        {"items": [{"kind": "List", "items": [{"kind": "Pod", "metadata": {"name": "deep"}}]}]}
        {"kind": "PodList", "items": null}"#;
    let snapshot = read_bytes(text.as_bytes()).expect("valid");
    assert_eq!((snapshot.nodes.len(), snapshot.daemon_sets.len(), snapshot.pods.len()), (1, 1, 1));
}

#[test]
fn every_kind_is_read_and_others_are_counted() {
    let kinds = [
        ("v1", "Pod"),
        ("v1", "Node"),
        ("v1", "PersistentVolumeClaim"),
        ("v1", "PersistentVolume"),
        ("storage.k8s.io/v1", "StorageClass"),
        ("storage.k8s.io/v1", "CSINode"),
        ("apps/v1", "DaemonSet"),
        ("v1", "Namespace"),
        ("scheduling.k8s.io/v1", "PriorityClass"),
        ("karpenter.sh/v1", "NodePool"),
        ("node.k8s.io/v1", "RuntimeClass"),
        ("karpenter.sh/v1", "NodeClaim"),
        ("karpenter.k8s.aws/v1", "EC2NodeClass"),
        ("resource.k8s.io/v1", "ResourceClaim"),
        ("resource.k8s.io/v1", "ResourceClaimTemplate"),
        ("resource.k8s.io/v1beta2", "DeviceClass"),
        ("resource.k8s.io/v1beta1", "ResourceSlice"),
        ("eks.services.k8s.aws/v1alpha1", "FargateProfile"),
        ("batch/v1", "Job"),
        ("v1", "Service"),
        ("storage.k8s.io/v1", "VolumeAttachment"),
        ("karpenter.sh/v1alpha1", "NodeOverlay"),
        ("policy/v1", "PodDisruptionBudget"),
        ("apps/v1", "ReplicaSet"),
        ("apps/v1", "StatefulSet"),
        ("apps/v1", "StatefulSet"),
        ("hypershift.openshift.io/v1beta1", "NodePool"),
    ];
    let objects = kinds.iter().enumerate().map(|(at, (version, kind))| {
        format!(r#"{{"apiVersion": "{version}", "kind": "{kind}", "metadata": {{"name": "n{at}"}}}}"#)
    });
    let text = list(&objects.collect::<Vec<_>>().join(","));
    let Snapshot {
        pods,
        nodes,
        claims,
        volumes,
        storage_classes,
        csi_nodes,
        daemon_sets,
        namespaces,
        priority_classes,
        runtime_classes,
        node_pools,
        node_claims,
        node_classes,
        resource_claims,
        resource_claim_templates,
        device_classes,
        resource_slices,
        fargate_profiles,
        jobs,
        services,
        attachments,
        node_overlays,
        disruption_budgets,
        ignored,
        invalid,
    } = read_bytes(text.as_bytes()).expect("valid");
    let counts = [
        pods.len(),
        nodes.len(),
        claims.len(),
        volumes.len(),
        storage_classes.len(),
        csi_nodes.len(),
        daemon_sets.len(),
        namespaces.len(),
        priority_classes.len(),
        runtime_classes.len(),
        node_pools.len(),
        node_claims.len(),
        node_classes.len(),
        resource_claims.len(),
        resource_claim_templates.len(),
        device_classes.len(),
        resource_slices.len(),
        fargate_profiles.len(),
        jobs.len(),
        services.len(),
        attachments.len(),
        node_overlays.len(),
        disruption_budgets.len(),
    ];
    assert_eq!(counts, [1; 23]);
    let ignored: Vec<_> = ignored.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
    assert_eq!(ignored, [("NodePool", 1), ("ReplicaSet", 1), ("StatefulSet", 2)]);
    assert_eq!(invalid, []);
}

#[test]
fn devices_are_read_in_every_version_of_their_api() {
    let new = r#"{"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": {"name": "c"},
         "spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu", "count": 2}}]}}},
        {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": "s"},
         "spec": {"driver": "d", "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1}, "nodeName": "n", "taints": null,
                  "devices": [{"name": "d0", "attributes": {"a": {"string": "x"}}, "capacity": {"m": {"value": "8Gi"}}}]}}"#;
    let old = r#"{"apiVersion": "resource.k8s.io/v1beta1", "kind": "ResourceClaim", "metadata": {"name": "c"},
         "spec": {"devices": {"requests": [{"name": "r", "deviceClassName": "gpu", "count": 2, "selectors": null}]}}},
        {"apiVersion": "resource.k8s.io/v1beta1", "kind": "ResourceSlice", "metadata": {"name": "s"},
         "spec": {"driver": "d", "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1}, "nodeName": "n",
                  "devices": [{"name": "d0", "basic": {"attributes": {"a": {"string": "x"}}, "capacity": {"m": {"value": "8Gi"}}}}]}}"#;
    let [new, old] =
        [new, old].map(|text| read_bytes(list(text).as_bytes()).unwrap_or_else(|e| panic!("{e}")));
    let ask =
        |s: &Snapshot| s.resource_claims[0].spec.devices.requests[0].exact().cloned().expect("a request");
    assert_eq!(
        (ask(&new).device_class_name, ask(&new).count),
        (ask(&old).device_class_name, ask(&old).count)
    );
    let device = |s: &Snapshot| s.resource_slices[0].spec.devices[0].clone().modern();
    assert_eq!(device(&new), device(&old));
    assert_eq!(device(&new).capacity["m"].value, "8Gi".parse().expect("a quantity"));
}

#[test]
fn null_is_absent_and_unknown_fields_are_ignored() {
    let text = r#"{"kind": "Pod", "metadata": {"name": "a", "namespace": null, "labels": null, "ownerReferences": null,
        "deletionTimestamp": null, "managedFields": [{"x": [1, {"y": null}]}]},
        "spec": {"containers": [{"resources": {"requests": null, "limits": null}, "ports": null, "env": [{}]}],
                 "initContainers": null, "affinity": null, "tolerations": null, "volumes": null, "priority": null,
                 "topologySpreadConstraints": null, "nodeSelector": null, "nodeName": null, "overhead": null},
        "status": {"phase": null, "podIP": "10.0.0.1"}}"#;
    let snapshot = read_bytes(text.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    let pod = &snapshot.pods[0];
    assert_eq!((pod.phase, pod.node.is_none(), pod.terminating), (Phase::Pending, true, false));
    assert_eq!(pod.spec.containers.len(), 1);
}

#[test]
fn pods_share_what_they_have_in_common() {
    let one = |name: &str, volume: &str, node: &str| {
        format!(
            r#"{{"kind": "Pod", "metadata": {{"name": "{name}", "labels": {{"app": "web"}}}},
               "spec": {{"nodeName": "{node}", "volumes": [{{"name": "{volume}", "projected": {{}}}}],
                        "containers": [{{"resources": {{"requests": {{"cpu": "1"}}}}}}]}}}}"#
        )
    };
    let text = list(&[one("a", "kube-api-access-1", "n1"), one("b", "kube-api-access-2", "n2")].join(","));
    let snapshot = read_bytes(text.as_bytes()).expect("valid");
    let [a, b] = &snapshot.pods[..] else { panic!("two pods") };
    assert!(std::sync::Arc::ptr_eq(&a.spec, &b.spec));
    assert!(std::sync::Arc::ptr_eq(&a.labels, &b.labels));
    assert_eq!((a.node.as_deref(), b.node.as_deref()), (Some("n1"), Some("n2")));
}

#[test]
fn several_sources_make_one_snapshot() {
    let (a, b) = (pod("{}"), pod("{}").replace("web", "api"));
    let sources = [Source { name: "a", bytes: a.as_bytes() }, Source { name: "b", bytes: b.as_bytes() }];
    assert_eq!(read(&sources, &ReadOptions::default()).expect("valid").pods.len(), 2);
}

#[test]
fn an_empty_list_is_a_snapshot() {
    for text in
        [list(""), "{\"kind\": \"PodList\", \"items\": []}".to_owned(), "kind: List\nitems: []\n".to_owned()]
    {
        let snapshot = read_bytes(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert!(snapshot.pods.is_empty());
    }
}
