//! The life of machines on a whole cluster: real API server, scheduler and controllers, EC2 as moto has it, kubelets as kwok
//! has them, and the controller as the service account of its chart.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "common/world.rs"]
mod common;

use serde_json::json;
use stowage_e2e::{World, holds};

use common::{CLAIMS, DEPLOYMENTS, POOLS, deployment, name, node_pool, nothing_is_left_over, settled};

#[test]
fn machines_join_take_their_pods_and_go() {
    let world = World::start("life").unwrap();
    let taints = json!({
        "taints": [{"key": "dedicated", "value": "web", "effect": "NoSchedule"}],
        "startupTaints": [{"key": "agent.example/starting", "effect": "NoSchedule"}],
    });
    world.client().create(POOLS, &node_pool("default", &taints)).unwrap();
    let tolerant = json!({"tolerations": [{"key": "dedicated", "value": "web", "effect": "NoSchedule"}]});
    world.client().create(DEPLOYMENTS, &deployment("web", 40, "900m", &tolerant)).unwrap();
    let controller = world.controller("controller", &[]).unwrap();

    // The agent is somebody else: it takes its taint away when its node has joined.
    let claims = world
        .until("nodes to join", |w| {
            let claims = w.claims()?;
            Ok((!claims.is_empty() && claims.iter().all(|c| holds(c, "Registered"))).then_some(claims))
        })
        .unwrap();
    assert_eq!(world.running().unwrap(), 0, "nothing runs before the agent does");
    for node in world.nodes().unwrap() {
        let taints = node["spec"]["taints"].as_array().unwrap();
        let left: Vec<_> = taints.iter().filter(|t| t["key"] != "agent.example/starting").cloned().collect();
        let path = format!("/api/v1/nodes/{}", name(&node));
        world.client().patch(&path, &json!({"spec": {"taints": left}})).unwrap();
    }
    assert_eq!(settled(&world, 40).len(), claims.len());

    let nodes = world.nodes().unwrap();
    let machines = world.machines().unwrap();
    assert_eq!((nodes.len(), machines.len()), (claims.len(), claims.len()));
    for claim in world.claims().unwrap() {
        let node = nodes.iter().find(|n| n["spec"]["providerID"] == claim["status"]["providerID"]).unwrap();
        assert_eq!(claim["status"]["nodeName"], node["metadata"]["name"]);
        let labels = &node["metadata"]["labels"];
        for key in ["karpenter.sh/registered", "karpenter.sh/initialized"] {
            assert_eq!(labels[key], "true", "{key}");
        }
        for key in
            ["karpenter.sh/nodepool", "karpenter.sh/capacity-type", "karpenter.k8s.aws/instance-family"]
        {
            assert_eq!(labels[key], claim["metadata"]["labels"][key], "{key}");
        }
        assert_eq!(node["metadata"]["ownerReferences"][0]["uid"], claim["metadata"]["uid"]);
        let keys: Vec<_> = node["spec"]["taints"].as_array().unwrap().iter().map(|t| &t["key"]).collect();
        assert_eq!(keys, ["dedicated"]);
        let machine = machines.iter().find(|m| m.claim == name(&claim)).unwrap();
        assert_eq!(machine.name, name(node), "the machine is named after its node");
    }

    // One goes: its pods move, its machine ends, and nothing of it is left.
    let gone = world.claims().unwrap().remove(0);
    world.client().delete(&format!("{CLAIMS}/{}", name(&gone))).unwrap();
    world
        .until("the machine to be gone", |w| {
            let machine = w.machines()?.iter().any(|machine| machine.claim == name(&gone));
            let claim = w.claims()?.iter().any(|claim| name(claim) == name(&gone));
            let node = w.nodes()?.iter().any(|n| n["spec"]["providerID"] == gone["status"]["providerID"]);
            Ok((!machine && !claim && !node).then_some(()))
        })
        .unwrap();
    let log = controller.log().unwrap();
    assert!(log.contains("a pod is evicted"), "pods are asked to go, not lost");
    let metrics = controller.metrics().unwrap();
    for measured in [
        r#"karpenter_pods_eviction_requests_total{code="200"}"#,
        r#"karpenter_nodes_created_total{nodepool="default""#,
        r#"karpenter_nodeclaims_terminated_total{capacity_type="on-demand",nodepool="default""#,
        r#"karpenter_nodes_drained_total{nodepool="default"} 1"#,
    ] {
        assert!(metrics.contains(measured), "{measured}");
    }
    let pool = world.client().get(&format!("{POOLS}/default")).unwrap();
    assert!(holds(&pool, "NodeRegistrationHealthy"));
    let told = |claim: &serde_json::Value| claim["status"]["lastPodEventTime"].is_string();
    world.until("pods' moves to be told", |w| Ok(w.claims()?.iter().any(told).then_some(()))).unwrap();
}

#[test]
fn pods_go_where_they_were_planned() {
    let world = World::start("planned").unwrap();
    world.client().create(POOLS, &node_pool("default", &json!({}))).unwrap();
    // Sizes that fill nodes only together: left to itself, kube-scheduler spreads them over what comes up first.
    for (of, replicas, cpu) in [("large", 12, "1700m"), ("middle", 20, "800m"), ("small", 40, "230m")] {
        world.client().create(DEPLOYMENTS, &deployment(of, replicas, cpu, &json!({}))).unwrap();
    }
    let controller = world.controller("controller", &[]).unwrap();
    let claims = settled(&world, 72);
    let log = controller.log().unwrap();
    let first = log.lines().filter(|line| line.contains("asked for a node")).count();
    assert_eq!(claims.len(), first, "nothing was planned twice");
    nothing_is_left_over(&world);
}

#[test]
fn budgets_of_pods_hold_up_the_end_of_their_node() {
    let world = World::start("budgets").unwrap();
    world.client().create(POOLS, &node_pool("default", &json!({}))).unwrap();
    world.client().create(DEPLOYMENTS, &deployment("web", 1, "900m", &json!({}))).unwrap();
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    });
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    world.client().create(budgets, &budget).unwrap();
    let _controller = world.controller("controller", &[]).unwrap();
    let claim = settled(&world, 1).remove(0);
    let node = world.nodes().unwrap().remove(0);
    // A Node that is deleted takes its claim with it.
    world.client().delete(&format!("/api/v1/nodes/{}", name(&node))).unwrap();
    world
        .until("the budget to be in the way", |w| {
            let events = w.list("/api/v1/namespaces/default/events")?;
            let failed = events
                .iter()
                .find(|e| e["reason"] == "FailedDraining" && e["involvedObject"]["kind"] == "Node");
            Ok(failed.map(|event| event["message"].as_str().unwrap().contains("default/web-")))
        })
        .map(|named| assert!(named))
        .unwrap();
    assert_eq!(world.machines().unwrap().len(), 1, "the machine goes on");
    assert_eq!(world.running().unwrap(), 1, "the pod runs on");
    let draining = world.nodes().unwrap().remove(0);
    let keys: Vec<_> = draining["spec"]["taints"].as_array().unwrap().iter().map(|t| &t["key"]).collect();
    assert!(keys.contains(&&json!("karpenter.sh/disrupted")));

    world.client().delete(&format!("{budgets}/web")).unwrap();
    world
        .until("the pod to run on another node", |w| {
            let claims = w.claims()?;
            let moved = claims.len() == 1 && name(&claims[0]) != name(&claim);
            Ok((moved && w.running()? == 1).then_some(()))
        })
        .unwrap();
}

#[test]
fn machines_of_nobody_are_collected() {
    let world = World::start("orphans").unwrap();
    world.client().create(POOLS, &node_pool("default", &json!({}))).unwrap();
    world.client().create(DEPLOYMENTS, &deployment("web", 1, "900m", &json!({}))).unwrap();
    let _controller = world.controller("controller", &[]).unwrap();
    let claim = settled(&world, 1).remove(0);
    world.client().delete(&format!("{DEPLOYMENTS}/web")).unwrap();
    // Somebody takes the claim away by force, and its machine is left behind.
    let path = format!("{CLAIMS}/{}", name(&claim));
    world.client().patch(&path, &json!({"metadata": {"finalizers": null}})).unwrap();
    world.client().delete(&path).unwrap();
    world
        .until("the machine and its node to be gone", |w| {
            Ok((w.machines()?.is_empty() && w.nodes()?.is_empty()).then_some(()))
        })
        .unwrap();
}
