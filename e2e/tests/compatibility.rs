//! A cluster that Karpenter has run until now: its nodes are adopted, none is replaced.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "common/world.rs"]
mod common;

use serde_json::{Value, json};
use stowage_e2e::aws::all;
use stowage_e2e::{World, holds};

use common::{CLAIMS, DEPLOYMENTS, POOLS, deployment, name, node_pool, nothing_is_left_over, settled};

const CLAIM: &str = "default-7xk2p";

/// A machine as Karpenter launches it: found by its tags.
fn machine(world: &World) -> (String, String, String) {
    let class = world.node_class().unwrap();
    let image = class["spec"]["amiSelectorTerms"][0]["id"].as_str().unwrap().to_owned();
    let cluster = format!("kubernetes.io/cluster/{}", world.cluster);
    let mut form = vec![
        ("ImageId", image.as_str()),
        ("InstanceType", "m7i.2xlarge"),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("Placement.AvailabilityZone", "us-east-1a"),
        ("TagSpecification.1.ResourceType", "instance"),
    ];
    let tags = [
        ("karpenter.sh/nodepool", "default"),
        ("karpenter.sh/nodeclaim", CLAIM),
        ("karpenter.k8s.aws/ec2nodeclass", "default"),
        ("eks:eks-cluster-name", world.cluster.as_str()),
        (cluster.as_str(), "owned"),
    ];
    let keys: Vec<(String, String)> = (1..=tags.len())
        .map(|at| (format!("TagSpecification.1.Tag.{at}.Key"), format!("TagSpecification.1.Tag.{at}.Value")))
        .collect();
    for ((key, value), (tag, of)) in keys.iter().zip(&tags) {
        form.extend([(key.as_str(), *tag), (value.as_str(), *of)]);
    }
    let answer = world.ec2.ask("RunInstances", &form).unwrap();
    let id = all(&answer, "instanceId").remove(0);
    (id, "us-east-1a".to_owned(), image)
}

/// The objects that Karpenter has left behind.
fn node_of_karpenter(world: &World) -> String {
    let (id, zone, image) = machine(world);
    let provider = format!("aws:///{zone}/{id}");
    let of = world.catalog.types.iter().find(|t| t.name == "m7i.2xlarge").unwrap();
    let mut labels: serde_json::Map<String, Value> =
        of.labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    for (key, value) in [
        ("karpenter.sh/nodepool", "default"),
        ("karpenter.sh/capacity-type", "on-demand"),
        ("karpenter.k8s.aws/ec2nodeclass", "default"),
        ("kubernetes.io/arch", "amd64"),
        ("kubernetes.io/os", "linux"),
        ("node.kubernetes.io/instance-type", "m7i.2xlarge"),
        ("topology.kubernetes.io/region", "us-east-1"),
        ("topology.kubernetes.io/zone", &zone),
    ] {
        labels.insert(key.to_owned(), json!(value));
    }
    let amounts = |all: Vec<(String, String)>| -> Value {
        Value::Object(all.into_iter().map(|(key, value)| (key, json!(value))).collect())
    };
    let capacity = amounts(of.resources.iter().map(|(k, v)| (k.clone(), v.to_string())).collect());
    let allocatable = amounts(of.allocatable().into_iter().map(|(k, v)| (k, v.to_string())).collect());
    let pool = world.client().get(&format!("{POOLS}/default")).unwrap();
    let claim = json!({
        "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
        "metadata": {
            "name": CLAIM, "labels": labels, "finalizers": ["karpenter.sh/termination"],
            "annotations": {
                "karpenter.k8s.aws/ec2nodeclass-hash": "11870542310562142315",
                "karpenter.k8s.aws/ec2nodeclass-hash-version": "v4",
                "karpenter.sh/nodepool-hash": "6821555240594823858",
                "karpenter.sh/nodepool-hash-version": "v3",
            },
            "ownerReferences": [{
                "apiVersion": "karpenter.sh/v1", "kind": "NodePool", "name": "default",
                "uid": pool["metadata"]["uid"], "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "expireAfter": "720h",
            "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"},
            "requirements": [
                {"key": "karpenter.sh/nodepool", "operator": "In", "values": ["default"]},
                {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["m7i.2xlarge", "m6i.2xlarge"]},
            ],
            "resources": {"requests": {"cpu": "4"}},
        },
    });
    let created = world.client().create(CLAIMS, &claim).unwrap();
    let condition = |kind: &str| {
        json!({
            "type": kind, "status": "True", "reason": kind, "message": "", "lastTransitionTime": "2026-07-01T10:00:00Z",
        })
    };
    let conditions = ["Launched", "Registered", "Initialized", "Ready"].map(condition);
    let status = json!({"status": {
        "providerID": provider, "imageID": image, "nodeName": "ip-10-0-0-1.ec2.internal",
        "capacity": capacity, "allocatable": allocatable,
        "conditions": conditions,
    }});
    world.client().patch(&format!("{CLAIMS}/{CLAIM}/status"), &status).unwrap();

    for key in ["karpenter.sh/registered", "karpenter.sh/initialized"] {
        labels.insert(key.to_owned(), json!("true"));
    }
    labels.insert("kubernetes.io/hostname".to_owned(), json!("ip-10-0-0-1.ec2.internal"));
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": "ip-10-0-0-1.ec2.internal", "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"},
            "finalizers": ["karpenter.sh/termination"],
            "ownerReferences": [{
                "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "name": CLAIM,
                "uid": created["metadata"]["uid"], "blockOwnerDeletion": true,
            }],
        },
        "spec": {"providerID": provider},
        "status": {"capacity": capacity, "allocatable": allocatable},
    });
    world.client().create("/api/v1/nodes", &node).unwrap();
    id
}

#[test]
fn nodes_of_karpenter_are_adopted_and_kept() {
    let world = World::start("compatibility").unwrap();
    world.client().create(POOLS, &node_pool("default", &json!({}))).unwrap();
    let id = node_of_karpenter(&world);
    world.client().create(DEPLOYMENTS, &deployment("old", 4, "1", &json!({}))).unwrap();
    world.until("pods to run on the old node", |w| Ok((w.running()? == 4).then_some(()))).unwrap();

    let controller = world.controller("controller", &[]).unwrap();
    // More than the old node has room for: it is used, and what is left gets a new one.
    world.client().create(DEPLOYMENTS, &deployment("new", 6, "1", &json!({}))).unwrap();
    let claims = settled(&world, 10);
    assert!(claims.iter().any(|claim| name(claim) == CLAIM), "the old claim is still there");
    let pods = world.pods().unwrap();
    let on_old = pods.iter().filter(|pod| pod["spec"]["nodeName"] == "ip-10-0-0-1.ec2.internal").count();
    assert_eq!(on_old, 7, "7.9 CPUs are for pods");
    nothing_is_left_over(&world);
    assert!(world.machines().unwrap().iter().any(|machine| machine.id == id), "its machine runs");
    let old = world.client().get(&format!("{CLAIMS}/{CLAIM}")).unwrap();
    assert!(holds(&old, "Ready") && old["metadata"]["deletionTimestamp"].is_null());
    assert!(!controller.log().unwrap().contains("a NodeClaim is deleted"));

    // It ends as one of our own.
    world.client().delete(&format!("{CLAIMS}/{CLAIM}")).unwrap();
    world
        .until("the old machine to be gone", |w| {
            let there = w.machines()?.iter().any(|machine| machine.id == id);
            Ok((!there && w.claims()?.iter().all(|claim| name(claim) != CLAIM)).then_some(()))
        })
        .unwrap();
    settled(&world, 10);
    nothing_is_left_over(&world);
}
