//! A fleet that has become too large: it shrinks to what its pods need, within budgets at every moment, whoever is killed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "common/world.rs"]
mod common;
#[path = "common/witness.rs"]
mod witness;

use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use stowage_cluster::{LowerOptions, ReadOptions, Source, lower, read};
use stowage_e2e::{Controller, World, holds};
use stowage_solver::{Options, solve};

use common::{
    CLAIMS, DEPLOYMENTS, POOLS, Random, deployment, looks, name, node_pool, nothing_is_left_over, settled,
};
use witness::Witness;

const PODS: &str = "/api/v1/namespaces/default/pods";
const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
const TAINT: &str = "karpenter.sh/disrupted";

/// A pool of machines with up to eight CPUs, of which so many may go at the same time.
fn pool(budget: &str) -> Value {
    let mut pool = node_pool("default", &json!({}));
    let requirements = pool["spec"]["template"]["spec"]["requirements"].as_array_mut().unwrap();
    requirements.extend([
        json!({"key": "karpenter.k8s.aws/instance-cpu", "operator": "Lt", "values": ["9"]}),
        json!({"key": "karpenter.k8s.aws/instance-category", "operator": "In", "values": ["c", "m", "r"]}),
        json!({"key": "karpenter.k8s.aws/instance-generation", "operator": "Gt", "values": ["5"]}),
    ]);
    pool["spec"]["disruption"] = json!({
        "consolidationPolicy": "WhenEmptyOrUnderutilized", "consolidateAfter": "0s", "budgets": [{"nodes": budget}],
    });
    pool
}

/// Whether a NodeClaim uses its pool's budgets up.
fn goes(claim: &Value) -> usize {
    let chosen = holds(claim, "DisruptionReason") || !claim["metadata"]["deletionTimestamp"].is_null();
    usize::from(holds(claim, "Initialized") && !holds(claim, "InstanceTerminating") && chosen)
}

/// Whether a pod serves.
fn serves(pod: &Value) -> usize {
    let is_web = pod["metadata"]["labels"]["app"] == "web";
    usize::from(is_web && holds(pod, "Ready") && pod["metadata"]["deletionTimestamp"].is_null())
}

/// Dollars an hour of all machines.
fn cost(world: &World) -> anyhow::Result<f64> {
    let price = |of_type: &str, zone: &str| {
        let of = world.catalog.types.iter().find(|t| t.name == of_type).unwrap();
        let sold = of.offerings.iter().find(|o| (o.zone(), o.capacity_type()) == (zone, "on-demand"));
        sold.unwrap().price
    };
    Ok(world.machines()?.iter().map(|machine| price(&machine.instance_type, &machine.zone)).sum())
}

/// What the pods of the cluster would cost in an empty one, dollars an hour.
fn afresh(world: &World) -> f64 {
    let mut pods = world.pods().unwrap();
    for pod in &mut pods {
        pod["spec"].as_object_mut().unwrap().remove("nodeName");
        pod["status"] = json!({"phase": "Pending"});
        pod["kind"] = json!("Pod");
        pod["apiVersion"] = json!("v1");
    }
    let pool = world.client().get(&format!("{POOLS}/default")).unwrap();
    let objects: Vec<Value> = pods.into_iter().chain([pool]).collect();
    let text = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    let snapshot = read(&[Source { name: "pods", bytes: text.as_bytes() }], &ReadOptions::default()).unwrap();
    let lowered = lower(&snapshot, &world.catalog, &LowerOptions::default()).unwrap();
    let never = AtomicBool::new(false);
    let plan = solve(&lowered.problem, &Options::default(), &never, &mut |_, _, _| {}).unwrap();
    assert!(plan.unplaced.is_empty());
    plan.cost.dollars()
}

/// Why each node stays, as its claim says.
fn whys(world: &World) -> Vec<String> {
    let of = |claim: &Value| {
        let conditions = claim["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let why = conditions.into_iter().find(|c| c["type"] == "Disruptable").unwrap_or_default();
        let labels = &claim["metadata"]["labels"];
        format!(
            "{} {}: {} {}",
            name(claim),
            labels["node.kubernetes.io/instance-type"],
            why["reason"],
            why["message"]
        )
    };
    world.claims().unwrap().iter().map(of).collect()
}

fn is_tainted(node: &Value) -> bool {
    node["spec"]["taints"].as_array().is_some_and(|taints| taints.iter().any(|taint| taint["key"] == TAINT))
}

/// Waits until nothing goes any more: it was looked three times since anything has changed, and a decision takes less than two
/// looks to be carried out.
fn at_rest(world: &World, controller: &Controller) {
    let mut before = (Vec::new(), 0);
    world
        .until("the cluster to come to rest", |w| {
            let claims = w.claims()?;
            let busy = claims.iter().any(|claim| goes(claim) > 0 || !holds(claim, "Ready"));
            let mut names: Vec<String> = claims.iter().map(|claim| name(claim).to_owned()).collect();
            names.sort();
            let now = looks(controller);
            if busy || names != before.0 || w.nodes()?.iter().any(is_tainted) {
                before = (names, now);
            }
            Ok((now >= before.1 + 4).then_some(()))
        })
        .unwrap();
}

#[test]
fn a_thousand_pods_become_three_hundred_and_the_fleet_follows() {
    let world = World::start("consolidate").unwrap();
    world.client().create(POOLS, &pool("6")).unwrap();
    let keep = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
        "spec": {"maxUnavailable": 40, "selector": {"matchLabels": {"app": "web"}}},
    });
    world.client().create(BUDGETS, &keep).unwrap();
    let batch = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "batch", "annotations": {"karpenter.sh/do-not-disrupt": "true"}},
        "spec": {"containers": [{"name": "c", "image": "c", "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}}}]},
    });
    world.client().create(PODS, &batch).unwrap();
    world.client().create(DEPLOYMENTS, &deployment("web", 1_000, "250m", &json!({}))).unwrap();
    let controller = world.controller("controller", &[]).unwrap();
    let before = settled(&world, 1_001).len();
    let (dear, batch) = (cost(&world).unwrap(), world.client().get(&format!("{PODS}/batch")).unwrap());
    at_rest(&world, &controller);

    let going = Witness::of(&world, CLAIMS, goes);
    world.client().patch(&format!("{DEPLOYMENTS}/web"), &json!({"spec": {"replicas": 300}})).unwrap();
    world.until("pods to go", |w| Ok((w.pods()?.len() == 301).then_some(()))).unwrap();
    let serving = Witness::of(&world, PODS, serves);
    at_rest(&world, &controller);
    let claims = settled(&world, 301);
    nothing_is_left_over(&world);

    let (cheap, least) = (cost(&world).unwrap(), afresh(&world));
    println!(
        "{before} nodes for {dear:.3} $/h became {} for {cheap:.3}; afresh they would be {least:.3}; at most {} went at once",
        claims.len(),
        going.most()
    );
    assert!(going.most() <= 6, "{} at once", going.most());
    assert!(going.most() > 1, "several went at the same time");
    assert!(serving.least() >= 260, "{} pods served at some moment", serving.least());
    assert!(cheap <= 1.1 * least, "{cheap} against {least}");
    let still = world.client().get(&format!("{PODS}/batch")).unwrap();
    assert_eq!(still["metadata"]["uid"], batch["metadata"]["uid"]);
    // Whoever stays says why.
    for claim in &claims {
        let conditions = claim["status"]["conditions"].as_array().unwrap();
        let why = conditions.iter().find(|c| c["type"] == "Disruptable" && c["status"] == "False");
        assert!(why.is_some_and(|why| !why["message"].as_str().unwrap().is_empty()), "{}", name(claim));
    }
    let measured = controller.metrics().unwrap();
    assert!(measured.contains("stowage_disruption_kept_nodes{"), "{measured}");
}

#[test]
fn killed_in_the_midst_of_it_no_budget_is_exceeded_and_no_mark_stays() {
    let world = World::start("consolidate-killed").unwrap();
    world.client().create(POOLS, &pool("3")).unwrap();
    world.client().create(DEPLOYMENTS, &deployment("web", 300, "250m", &json!({}))).unwrap();
    let first = world.controller("first", &["--disable-leader-election"]).unwrap();
    settled(&world, 300);
    let dear = cost(&world).unwrap();
    let going = Witness::of(&world, CLAIMS, goes);
    world.client().patch(&format!("{DEPLOYMENTS}/web"), &json!({"spec": {"replicas": 90}})).unwrap();
    drop(first);
    let mut moments = Random(0x7f4a_7c15);
    for life in 0..6 {
        let controller = world.controller("killed", &["--disable-leader-election"]).unwrap();
        world
            .until("something to go", |w| {
                let some = w.claims()?.iter().any(|claim| goes(claim) > 0);
                // Or there is nothing left to do.
                Ok((some || looks(&controller) >= 6).then_some(()))
            })
            .unwrap();
        thread::sleep(Duration::from_millis(moments.below(6_000)));
        drop(controller);
        println!("life {life}: {} machines", world.machines().unwrap().len());
    }
    let controller = world.controller("last", &["--disable-leader-election"]).unwrap();
    at_rest(&world, &controller);
    settled(&world, 90);
    nothing_is_left_over(&world);
    assert!(going.most() <= 3, "{} at once", going.most());
    assert!(world.nodes().unwrap().iter().all(|node| !is_tainted(node)));
    let (cheap, least) = (cost(&world).unwrap(), afresh(&world));
    println!("{dear:.3} $/h became {cheap:.3}; afresh {least:.3}");
    for why in whys(&world) {
        println!("{why}");
    }
    assert!(cheap <= 1.15 * least, "{cheap} against {least}");
}
