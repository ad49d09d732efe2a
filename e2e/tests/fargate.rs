//! Pods on Fargate: a policy, the webhook over TLS beside EKS's own, and what becomes of pods where something does not answer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "common/world.rs"]
mod common;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stowage_e2e::{Controller, Eks, World, free_ports};
use stowage_pricing::fargate::{Profile, ProfileSelector};

use common::{DEPLOYMENTS, POOLS, deployment, node_pool};

const POLICIES: &str = "/apis/stowage.dev/v1alpha1/namespaces/default/fargatepolicies";
const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const OURS: &str = "0400-stowage-fargate";

/// A profile that takes pods of `default` with our label.
fn profile() -> Profile {
    let labels = BTreeMap::from([("stowage.dev/fargate".to_owned(), "true".to_owned())]);
    let selectors = vec![ProfileSelector { namespace: "default".to_owned(), labels }];
    Profile { name: "stowage".to_owned(), selectors, subnets: Vec::new() }
}

fn policy(more: &Value) -> Value {
    let mut policy = json!({
        "apiVersion": "stowage.dev/v1alpha1", "kind": "FargatePolicy", "metadata": {"name": "batch"},
        "spec": {
            "mode": "Always",
            "profiles": [{
                "name": "stowage",
                "selectors": [{"namespace": "default", "labels": {"stowage.dev/fargate": "true"}}],
            }],
        },
    });
    for (key, value) in more.as_object().unwrap() {
        policy["spec"][key] = value.clone();
    }
    policy
}

fn world(name: &str) -> World {
    let world = World::start_with(name, &["settings.fargate=true"]).unwrap();
    world.client().create(POOLS, &node_pool("default", &json!({}))).unwrap();
    world
}

fn controller(world: &World, name: &str) -> Controller {
    let [port] = free_ports().unwrap();
    let (port, url) = (format!("--webhook-port={port}"), format!("--webhook-url=https://127.0.0.1:{port}"));
    let flags = ["--fargate", &port, &url, "--pod-ip=127.0.0.1", "--system-namespace=stowage"];
    world.controller(name, &flags).unwrap()
}

/// Pods of an app that run: those on Fargate, and all.
fn running(world: &World, app: &str) -> (usize, usize) {
    let pods = world.pods().unwrap();
    let ours = pods.iter().filter(|pod| pod["metadata"]["labels"]["app"] == app);
    let runs: Vec<&Value> = ours.filter(|pod| pod["status"]["phase"] == "Running").collect();
    let on_fargate = runs.iter().filter(|pod| pod["spec"]["schedulerName"] == "fargate-scheduler").count();
    (on_fargate, runs.len())
}

fn registered(world: &World) -> bool {
    world.client().get(&format!("{WEBHOOKS}/{OURS}")).is_ok()
}

#[test]
fn pods_of_a_policy_land_on_fargate_up_to_its_cap_and_on_nodes_without_us() {
    let world = world("fargate");
    let eks = Eks::start(world.client(), vec![profile()]).unwrap();
    let first = controller(&world, "controller");
    world.client().create(POLICIES, &policy(&json!({"caps": {"maxPods": 3}}))).unwrap();
    world.until("the webhook to be registered", |w| Ok(registered(w).then_some(()))).unwrap();
    // The first pod of a workload runs on a node: nobody has looked at it yet.
    world.client().create(DEPLOYMENTS, &deployment("web", 1, "1", &json!({}))).unwrap();
    world.until("the first pod to run", |w| Ok((running(w, "web").1 == 1).then_some(()))).unwrap();
    // Whoever begins to count waits until all that went before is known.
    let policy_of = |w: &World| w.client().get(&format!("{POLICIES}/batch"));
    world
        .until("a new replica to be routed", |w| {
            w.client().patch(&format!("{DEPLOYMENTS}/web"), &json!({"spec": {"replicas": 1}}))?;
            w.client().patch(&format!("{DEPLOYMENTS}/web"), &json!({"spec": {"replicas": 2}}))?;
            std::thread::sleep(std::time::Duration::from_secs(5));
            Ok((running(w, "web").0 >= 1).then_some(()))
        })
        .unwrap();
    world.client().patch(&format!("{DEPLOYMENTS}/web"), &json!({"spec": {"replicas": 8}})).unwrap();
    world.until("all to run", |w| Ok((running(w, "web").1 == 8).then_some(()))).unwrap();
    assert_eq!(running(&world, "web").0, 3, "the cap is reached exactly");
    world
        .until("the policy to say so", |w| Ok((policy_of(w)?["status"]["routedPods"] == 3).then_some(())))
        .unwrap();

    // Nobody answers: pods are created all the same.
    drop(first);
    world.client().create(DEPLOYMENTS, &deployment("late", 2, "1", &json!({}))).unwrap();
    world
        .until("pods to be created", |w| {
            let pods = w.pods()?;
            let made = pods.iter().filter(|pod| pod["metadata"]["labels"]["app"] == "late").count();
            Ok((made == 2).then_some(()))
        })
        .unwrap();
    let _second = controller(&world, "second");
    world.until("them to run on nodes", |w| Ok((running(w, "late") == (0, 2)).then_some(()))).unwrap();

    // Without a policy nobody is asked.
    world.client().delete(&format!("{POLICIES}/batch")).unwrap();
    world.until("the webhook to go", |w| Ok((!registered(w)).then_some(()))).unwrap();
    drop(eks);
}
