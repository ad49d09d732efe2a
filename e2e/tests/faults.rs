//! What goes wrong on the way to a node, and that it comes right: no machine is launched twice, none is left behind, and all
//! pods run in the end.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "common/world.rs"]
mod common;

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use stowage_e2e::aws::Mishap;
use stowage_e2e::{World, holds};

use common::{
    CLAIMS, CLASSES, DEPLOYMENTS, POOLS, Random, deployment, name, node_pool, nothing_is_left_over,
    one_a_node, settled,
};

fn world(name: &str) -> World {
    let world = World::start(name).unwrap();
    world.client().create(POOLS, &node_pool("default", &json!({}))).unwrap();
    world
}

#[test]
fn what_cannot_be_had_is_bought_elsewhere() {
    let world = world("shortages");
    // The cheapest types for such pods, and all of a zone.
    world.front.short_of(&[
        ("*", "us-east-1a", "InsufficientInstanceCapacity"),
        ("m1.small", "*", "InsufficientInstanceCapacity"),
        ("c1.medium", "*", "UnfulfillableCapacity"),
        ("c3.large", "*", "InsufficientInstanceCapacity"),
    ]);
    let spread = json!({"topologySpreadConstraints": [{
        "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"app": "spread"}},
    }]});
    world.client().create(DEPLOYMENTS, &deployment("web", 20, "900m", &json!({}))).unwrap();
    world.client().create(DEPLOYMENTS, &deployment("spread", 12, "700m", &spread)).unwrap();
    let _controller = world.controller("controller", &[]).unwrap();
    settled(&world, 32);
    nothing_is_left_over(&world);
    for machine in world.machines().unwrap() {
        assert_ne!(machine.zone, "us-east-1a");
        assert!(!["m1.small", "c1.medium", "c3.large"].contains(&machine.instance_type.as_str()));
    }
}

#[test]
fn lost_and_refused_launches_are_made_once() {
    let world = world("lost");
    let mishaps = [
        Mishap::Throttle,
        Mishap::Lose,
        Mishap::Lose,
        Mishap::Break,
        Mishap::Cut,
        Mishap::Lose,
        Mishap::Throttle,
    ];
    world.front.next("CreateFleet", &mishaps);
    world.front.next("CreateLaunchTemplate", &[Mishap::Throttle, Mishap::Cut]);
    world.front.next("DescribeInstances", &[Mishap::None, Mishap::Break, Mishap::Cut, Mishap::Throttle]);
    world.client().create(DEPLOYMENTS, &deployment("web", 6, "1", &one_a_node("web"))).unwrap();
    let _controller = world.controller("controller", &[]).unwrap();
    assert_eq!(settled(&world, 6).len(), 6);
    nothing_is_left_over(&world);
}

#[test]
fn what_is_asked_otherwise_with_the_token_of_a_lost_launch_is_made_once() {
    let world = world("otherwise");
    world.front.next("CreateFleet", &[Mishap::Lose, Mishap::Lose]);
    world.client().create(DEPLOYMENTS, &deployment("web", 2, "1", &one_a_node("web"))).unwrap();
    let first = world.controller("first", &["--disable-leader-election"]).unwrap();
    world.until("two launches that are lost", |w| Ok((w.machines()?.len() > 1).then_some(()))).unwrap();
    drop(first);
    // Who takes over knows nothing of them, and what was bought cannot be had any more: the next requests are other ones.
    let bought = world.machines().unwrap();
    let gone: Vec<_> =
        bought.iter().map(|of| (of.instance_type.as_str(), "*", "InsufficientInstanceCapacity")).collect();
    world.front.short_of(&gone);
    let _next = world.controller("next", &["--disable-leader-election"]).unwrap();
    assert_eq!(settled(&world, 2).len(), 2);
    nothing_is_left_over(&world);
}

#[test]
fn machines_that_never_join_are_replaced() {
    let world = world("never-join");
    world.kubelets.broken(&["*"]);
    world.client().create(DEPLOYMENTS, &deployment("web", 1, "900m", &json!({}))).unwrap();
    let _controller = world.controller("controller", &[]).unwrap();
    let claim = world
        .until("the node to be missed", |w| {
            let claims = w.claims()?;
            let missed = |claim: &Value| {
                let conditions = claim["status"]["conditions"].as_array().cloned().unwrap_or_default();
                conditions.iter().any(|c| c["type"] == "Registered" && c["reason"] == "NodeNotFound")
            };
            Ok(claims.into_iter().find(missed))
        })
        .unwrap();
    // Before kubelets are well again: a node that joins is not too late, however late it is.
    world.ec2.ask("StopInstances", &[("InstanceId.1", &world.machines().unwrap()[0].id)]).unwrap();
    world.kubelets.broken(&[]);
    // A quarter of an hour is too long for a test: it has been missed since the day before.
    let mut conditions = claim["status"]["conditions"].clone();
    for condition in conditions.as_array_mut().unwrap() {
        if condition["type"] == "Registered" {
            condition["lastTransitionTime"] = json!("2026-01-01T00:00:00Z");
        }
    }
    let path = format!("{CLAIMS}/{}/status", name(&claim));
    world.client().patch(&path, &json!({"status": {"conditions": conditions}})).unwrap();
    let claims = settled(&world, 1);
    assert_ne!(name(&claims[0]), name(&claim));
    nothing_is_left_over(&world);
}

#[test]
fn an_api_server_that_goes_away_is_waited_for() {
    let mut world = world("restart");
    world.client().create(DEPLOYMENTS, &deployment("web", 8, "1", &one_a_node("web"))).unwrap();
    let controller = world.controller("controller", &[]).unwrap();
    world.until("a machine", |w| Ok((!w.machines()?.is_empty()).then_some(()))).unwrap();
    world.plane.restart("kube-apiserver").unwrap();
    world.until("the API server", |w| w.running().map(Some)).unwrap();
    world.client().create(DEPLOYMENTS, &deployment("more", 4, "1", &one_a_node("more"))).unwrap();
    settled(&world, 12);
    nothing_is_left_over(&world);
    assert!(controller.is_ready(), "it was never restarted");
}

#[test]
fn user_data_that_cannot_be_read_is_said_and_waited_for() {
    let world = world("user-data");
    let mut class = world.node_class().unwrap();
    class["metadata"]["name"] = json!("told");
    class["spec"]["userData"] = json!("MIME-Version: 1.0\n\nno part has a beginning");
    world.client().create(CLASSES, &class).unwrap();
    let of_class = json!({
        "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "told"},
        "taints": [{"key": "other", "effect": "NoSchedule"}],
    });
    world.client().create(POOLS, &node_pool("other", &of_class)).unwrap();
    let _controller = world.controller("controller", &[]).unwrap();
    let tolerant = json!({
        "tolerations": [{"key": "other", "operator": "Exists"}],
        "nodeSelector": {"karpenter.sh/nodepool": "other"},
    });
    world.client().create(DEPLOYMENTS, &deployment("other", 2, "900m", &tolerant)).unwrap();
    world.client().create(DEPLOYMENTS, &deployment("web", 2, "900m", &json!({}))).unwrap();
    let said = world
        .until("the class to say what is wrong", |w| {
            let class = w.client().get(&format!("{CLASSES}/told"))?;
            let conditions = class["status"]["conditions"].as_array().cloned().unwrap_or_default();
            Ok(conditions.into_iter().find(|c| c["type"] == "Ready" && c["status"] == "False"))
        })
        .unwrap();
    assert!(said["message"].as_str().unwrap().contains("ValidationSucceeded"), "{said}");
    // All else goes on.
    world.until("the others to run", |w| Ok((w.running()? == 2).then_some(()))).unwrap();
    let mended = json!({"spec": {"userData": "#!/bin/bash\necho told\n"}});
    world.client().patch(&format!("{CLASSES}/told"), &mended).unwrap();
    settled(&world, 4);
    nothing_is_left_over(&world);
}

#[test]
fn killed_at_any_moment_it_goes_on_where_it_was() {
    let world = world("killed");
    world.client().create(DEPLOYMENTS, &deployment("web", 60, "900m", &one_a_node_and_others())).unwrap();
    let mut moments = Random(0x9e37_79b9);
    let mut machines = BTreeSet::new();
    for life in 0..50 {
        let controller = world.controller("killed", &["--disable-leader-election"]).unwrap();
        thread::sleep(Duration::from_millis(200 + moments.below(2_300)));
        drop(controller);
        // Pods keep coming, so that there is always something under way.
        if life % 5 == 0 {
            let more = format!("more-{life}");
            world.client().create(DEPLOYMENTS, &deployment(&more, 3, "1500m", &one_a_node(&more))).unwrap();
        }
        machines.extend(world.machines().unwrap().into_iter().map(|machine| machine.id));
    }
    let _controller = world.controller("last", &["--disable-leader-election"]).unwrap();
    let claims = settled(&world, 90);
    nothing_is_left_over(&world);
    let launched: BTreeSet<_> = world.machines().unwrap().into_iter().map(|machine| machine.id).collect();
    assert_eq!(launched.len(), claims.len());
    assert!(machines.is_subset(&launched), "no machine was launched in vain");
}

/// Six pods to a zone at most differ, so that several nodes are needed in each.
fn one_a_node_and_others() -> Value {
    json!({"topologySpreadConstraints": [{
        "maxSkew": 2, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }]})
}

#[test]
fn of_two_replicas_one_works_and_the_other_takes_over() {
    let world = world("replicas");
    let first = world.controller("first", &[]).unwrap();
    let second = world.controller("second", &[]).unwrap();
    world.until("both to be ready", |_| Ok((first.is_ready() && second.is_ready()).then_some(()))).unwrap();
    world.client().create(DEPLOYMENTS, &deployment("web", 5, "1", &one_a_node("web"))).unwrap();
    world.until("a machine", |w| Ok((!w.machines()?.is_empty()).then_some(()))).unwrap();
    let leads = |of: &stowage_e2e::Controller| of.log().unwrap().contains("leads lease=");
    assert!(leads(&first) != leads(&second), "one leads");
    let left = if leads(&first) {
        drop(first);
        second
    } else {
        drop(second);
        first
    };
    let claims = settled(&world, 5);
    assert_eq!(claims.len(), 5);
    assert!(claims.iter().all(|claim| holds(claim, "Initialized")));
    nothing_is_left_over(&world);
    assert!(leads(&left));
}
