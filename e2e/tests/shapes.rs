//! Nodes of many shapes for pods that need them: accelerators, architectures, spot, taints, labels, DaemonSets, host ports,
//! weights and limits, nodes that are always there and room that is kept.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "common/world.rs"]
mod common;
#[path = "common/witness.rs"]
mod witness;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stowage_e2e::{World, holds};

use common::{
    CLAIMS, DEPLOYMENTS, POOLS, deployment, looks, name, node_pool, nothing_is_left_over, one_a_node,
};
use witness::Witness;

/// A pool with these requirements instead of those of ordinary ones.
fn pool(name: &str, requirements: &[(&str, &str, &[&str])], more: &Value) -> Value {
    let mut pool = node_pool(name, more);
    let requirements: Vec<Value> = requirements
        .iter()
        .map(|(key, operator, values)| {
            let mut requirement = json!({"key": key, "operator": operator});
            if !values.is_empty() {
                requirement["values"] = json!(values);
            }
            requirement
        })
        .collect();
    pool["spec"]["template"]["spec"]["requirements"] = json!(requirements);
    pool
}

/// The nodes that pods of a Deployment run on.
fn nodes_of(world: &World, app: &str) -> Vec<Value> {
    let nodes = world.nodes().unwrap();
    let pods = world.pods().unwrap();
    let names: BTreeSet<&str> = pods
        .iter()
        .filter(|pod| pod["metadata"]["labels"]["app"] == app)
        .map(|pod| pod["spec"]["nodeName"].as_str().unwrap())
        .collect();
    nodes.into_iter().filter(|node| names.contains(name(node))).collect()
}

fn labels<'a>(nodes: &'a [Value], key: &str) -> BTreeSet<&'a str> {
    nodes.iter().map(|node| node["metadata"]["labels"][key].as_str().unwrap_or_default()).collect()
}

fn with_gpu(app: &str) -> Value {
    let mut of = deployment(app, 2, "1", &json!({}));
    of["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] = json!({"nvidia.com/gpu": "1"});
    of
}

#[test]
fn pods_get_nodes_of_the_shapes_that_they_need() {
    const ARCH: &str = "kubernetes.io/arch";
    const CAPACITY: &str = "karpenter.sh/capacity-type";
    const CATEGORY: &str = "karpenter.k8s.aws/instance-category";
    let world = World::start("shapes").unwrap();
    let ordinary: &[&str] = &["c", "m", "r"];
    let dedicated = json!({"taints": [{"key": "dedicated", "value": "batch", "effect": "NoSchedule"}]});
    for pool in [
        pool(
            "default",
            &[(ARCH, "In", &["amd64"]), (CAPACITY, "In", &["on-demand"]), (CATEGORY, "In", ordinary)],
            &json!({}),
        ),
        pool(
            "arm",
            &[
                (ARCH, "In", &["arm64"]),
                (CAPACITY, "In", &["on-demand"]),
                (CATEGORY, "In", ordinary),
                ("owner", "In", &["shop"]),
            ],
            &json!({}),
        ),
        pool(
            "gpu",
            &[(ARCH, "In", &["amd64"]), (CAPACITY, "In", &["on-demand"]), (CATEGORY, "In", &["g"])],
            &json!({}),
        ),
        pool(
            "spot",
            &[
                (ARCH, "In", &["amd64"]),
                (CAPACITY, "In", &["spot", "on-demand"]),
                (CATEGORY, "In", ordinary),
                ("team", "Exists", &[]),
            ],
            &dedicated,
        ),
    ] {
        world.client().create(POOLS, &pool).unwrap();
    }
    let tolerant = json!({
        "nodeSelector": {"team": "search"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    });
    let mut ports = deployment("ports", 3, "200m", &json!({}));
    ports["spec"]["template"]["spec"]["containers"][0]["ports"] =
        json!([{"containerPort": 80, "hostPort": 8080}]);
    let agent = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "template": {
                "metadata": {"labels": {"app": "agent"}},
                "spec": {
                    "tolerations": [{"operator": "Exists"}],
                    "containers": [{"name": "agent", "image": "agent", "resources": {"requests": {"cpu": "300m", "memory": "200Mi"}}}],
                },
            },
        },
    });
    world.client().create("/apis/apps/v1/namespaces/default/daemonsets", &agent).unwrap();
    for of in [
        deployment("web", 6, "1", &json!({})),
        deployment("arm", 3, "1", &json!({"nodeSelector": {ARCH: "arm64", "owner": "shop"}})),
        deployment("batch", 4, "1500m", &tolerant),
        with_gpu("train"),
        ports,
    ] {
        world.client().create(DEPLOYMENTS, &of).unwrap();
    }
    let controller = world.controller("controller", &[]).unwrap();
    world
        .until("every pod and the agent of every node to run", |w| {
            let (claims, nodes) = (w.claims()?, w.nodes()?);
            let ready = !claims.is_empty() && claims.iter().all(|claim| holds(claim, "Ready"));
            Ok((ready && w.running()? == 18 + nodes.len()).then_some(()))
        })
        .unwrap();
    nothing_is_left_over(&world);

    let arm = nodes_of(&world, "arm");
    assert_eq!((labels(&arm, ARCH), labels(&arm, "owner")), (["arm64"].into(), ["shop"].into()));
    assert_eq!(labels(&nodes_of(&world, "train"), CATEGORY), ["g"].into());
    let batch = nodes_of(&world, "batch");
    assert_eq!(labels(&batch, "team"), ["search"].into());
    assert_eq!(labels(&batch, CAPACITY), ["spot"].into(), "spot is cheaper");
    assert_eq!(labels(&batch, "karpenter.sh/nodepool"), ["spot"].into());
    assert_eq!(nodes_of(&world, "ports").len(), 3, "a port of a host is one pod's");
    let tag = format!("tag:kubernetes.io/cluster/{}", world.cluster);
    let machines =
        world.ec2.ask("DescribeInstances", &[("Filter.1.Name", &tag), ("Filter.1.Value.1", "owned")]);
    assert!(machines.unwrap().contains("<instanceLifecycle>spot"), "EC2 was asked for spot");
    // Of what they are required to be, nothing is missing.
    let drifted = |w: &World| w.claims().unwrap().iter().filter(|claim| holds(claim, "Drifted")).count();
    world.until("drift to be looked for", |_| Ok((looks(&controller) >= 2).then_some(()))).unwrap();
    assert_eq!(drifted(&world), 0);
}

#[test]
fn heavy_pools_come_first_limits_hold_and_some_nodes_are_always_there() {
    let world = World::start("weights").unwrap();
    let mut first = node_pool("first", &json!({}));
    first["spec"]["weight"] = json!(50);
    first["spec"]["limits"] = json!({"cpu": "4"});
    let mut fixed = node_pool(
        "fixed",
        &json!({
            "taints": [{"key": "fixed", "effect": "NoSchedule"}],
            "requirements": [
                {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]},
                {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["m7i.large"]},
            ],
        }),
    );
    fixed["spec"]["replicas"] = json!(2);
    for pool in [first, node_pool("second", &json!({})), fixed] {
        world.client().create(POOLS, &pool).unwrap();
    }
    // Nobody runs yet, and room for two pods is kept.
    let template = json!({
        "apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "room"},
        "template": {"spec": {"containers": [
            {"name": "c", "image": "c", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}},
        ]}},
    });
    world.client().create("/api/v1/namespaces/default/podtemplates", &template).unwrap();
    let buffer = json!({
        "apiVersion": "autoscaling.x-k8s.io/v1beta1", "kind": "CapacityBuffer", "metadata": {"name": "room"},
        "spec": {"podTemplateRef": {"name": "room"}, "replicas": 2},
    });
    world
        .client()
        .create("/apis/autoscaling.x-k8s.io/v1beta1/namespaces/default/capacitybuffers", &buffer)
        .unwrap();
    let gates = "--feature-gates=StaticCapacity=true,CapacityBuffer=true";
    let _controller = world.controller("controller", &[gates]).unwrap();
    let count = |w: &World, pool: &str| -> anyhow::Result<usize> {
        let of = |claim: &Value| {
            claim["metadata"]["labels"]["karpenter.sh/nodepool"] == pool && holds(claim, "Ready")
        };
        Ok(w.claims()?.iter().filter(|claim| of(claim)).count())
    };
    world
        .until("fixed nodes and room", |w| {
            Ok((count(w, "fixed")? == 2 && count(w, "first")? >= 1).then_some(()))
        })
        .unwrap();
    world.client().create(DEPLOYMENTS, &deployment("web", 8, "1", &json!({}))).unwrap();
    world.until("all pods to run", |w| Ok((w.running()? == 8).then_some(()))).unwrap();
    world.until("a node of the second pool", |w| Ok((count(w, "second")? > 0).then_some(()))).unwrap();
    let cpu = |pool: &str| -> i64 {
        let of = |claim: &&Value| claim["metadata"]["labels"]["karpenter.sh/nodepool"] == pool;
        let claims = world.claims().unwrap();
        claims
            .iter()
            .filter(of)
            .map(|c| c["status"]["capacity"]["cpu"].as_str().unwrap().parse::<i64>().unwrap())
            .sum()
    };
    assert!(cpu("first") <= 4, "a limit is never exceeded");
    assert_eq!(count(&world, "fixed").unwrap(), 2, "pods do not change it");
    world.client().patch(&format!("{POOLS}/fixed"), &json!({"spec": {"replicas": 1}})).unwrap();
    world
        .until("one fixed node to go", |w| {
            let of = |claim: &Value| claim["metadata"]["labels"]["karpenter.sh/nodepool"] == "fixed";
            Ok((w.claims()?.iter().filter(|claim| of(claim)).count() == 1).then_some(()))
        })
        .unwrap();
}

/// CPUs of a claim's machine; of one that has none yet, nothing is known.
fn cpus(claim: &Value) -> usize {
    claim["status"]["capacity"]["cpu"].as_str().map_or(0, |cpus| cpus.parse().unwrap())
}

#[test]
fn limits_hold_at_every_moment_and_are_used() {
    let world = World::start("limits").unwrap();
    let mut pool = node_pool("default", &json!({}));
    pool["spec"]["limits"] = json!({"cpu": "24"});
    world.client().create(POOLS, &pool).unwrap();
    let witness = Witness::of(&world, CLAIMS, cpus);
    let _controller = world.controller("controller", &[]).unwrap();
    // They come in three batches, each while machines of the last are launched, and want twice what they may have.
    for batch in 0..3 {
        let name = format!("web-{batch}");
        let machines = world.machines().unwrap().len();
        world.client().create(DEPLOYMENTS, &deployment(&name, 8, "1500m", &one_a_node(&name))).unwrap();
        if batch < 2 {
            world.until("a machine", |w| Ok((w.machines()?.len() > machines).then_some(()))).unwrap();
        }
    }
    world
        .until("what limits leave to run", |w| {
            let events = w.list("/api/v1/namespaces/default/events")?;
            let told = |event: &Value| {
                event["reason"] == "FailedScheduling"
                    && event["note"]
                        .as_str()
                        .or_else(|| event["message"].as_str())
                        .is_some_and(|note| note.contains("limit"))
            };
            Ok((w.running()? >= 10 && events.iter().any(told)).then_some(()))
        })
        .unwrap();
    assert!(witness.most() <= 24, "{} CPUs at some moment", witness.most());
    // A node that goes makes room for another only when it is gone.
    let claims = world.claims().unwrap();
    let first = claims[0]["metadata"]["name"].as_str().unwrap();
    world.client().delete(&format!("{CLAIMS}/{first}")).unwrap();
    world
        .until("another in its place", |w| {
            let names: Vec<Value> = w.claims()?.iter().map(|c| c["metadata"]["name"].clone()).collect();
            let before = claims
                .iter()
                .all(|c| c["metadata"]["name"] == first || names.contains(&c["metadata"]["name"]));
            Ok((before && !names.iter().any(|name| name == first) && names.len() >= claims.len())
                .then_some(()))
        })
        .unwrap();
    assert!(witness.most() <= 24, "{} CPUs at some moment", witness.most());
}
