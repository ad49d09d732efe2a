//! Machines that are taken away, fail or fall ill: on a whole cluster, with moto's queue. Every pod runs again elsewhere, and
//! no budget and no mark on a node holds that up.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "common/world.rs"]
mod common;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stowage_e2e::aws::{Mailbox, Mishap, Unwell};
use stowage_e2e::events::{event, interrupted, rebalance, scheduled, state};
use stowage_e2e::{Controller, REGION, World, holds};

use common::{CLAIMS, DEPLOYMENTS, POOLS, deployment, name, node_pool, nothing_is_left_over, settled};

const EVENTS: &str = "/apis/events.k8s.io/v1/events";
const LONG_AGO: &str = "2026-01-01T00:00:00Z";

/// A pool of one capacity type, of which no node may go by choice.
fn pool(capacity_type: &str) -> Value {
    let mut pool = node_pool("default", &json!({}));
    let requirements = pool["spec"]["template"]["spec"]["requirements"].as_array_mut().unwrap();
    requirements.retain(|of| of["key"] != "karpenter.sh/capacity-type");
    requirements
        .push(json!({"key": "karpenter.sh/capacity-type", "operator": "In", "values": [capacity_type]}));
    pool["spec"]["disruption"] = json!({"consolidateAfter": "Never", "budgets": [{"nodes": "0"}]});
    pool
}

/// Pods that share no node, marked as not to be disrupted where that is said.
fn one_a_node(replicas: usize, protected: bool) -> Value {
    let apart = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
        "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}},
    }]}}});
    let mut deployment = deployment("web", replicas, "900m", &apart);
    if protected {
        deployment["spec"]["template"]["metadata"]["annotations"] =
            json!({"karpenter.sh/do-not-disrupt": "true"});
    }
    deployment
}

/// A cluster whose pods all have a node of their own.
fn world(cluster: &str, capacity_type: &str, pods: &Value) -> World {
    let world = World::start(cluster).unwrap();
    world.client().create(POOLS, &pool(capacity_type)).unwrap();
    world.client().create(DEPLOYMENTS, pods).unwrap();
    world
}

/// The controller, with these flags. It leads without asking: who leads is not what these tests are about.
fn controller(world: &World, more: &[&str]) -> Controller {
    world.controller("controller", &[&["--disable-leader-election"], more].concat()).unwrap()
}

/// The machine of a NodeClaim.
fn machine(claim: &Value) -> String {
    claim["status"]["providerID"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
}

fn label<'c>(claim: &'c Value, key: &str) -> &'c str {
    claim["metadata"]["labels"][key].as_str().unwrap()
}

/// What a claim was bought as: type and zone.
fn offering(claim: &Value) -> (String, String) {
    let of = |key| label(claim, key).to_owned();
    (of("node.kubernetes.io/instance-type"), of("topology.kubernetes.io/zone"))
}

/// Waits until claims of these names are gone, and so many pods run.
fn replaced(world: &World, gone: &BTreeSet<String>, pods: usize) -> Vec<Value> {
    world
        .until("NodeClaims to be gone, and their pods to run elsewhere", |w| {
            let claims = w.claims()?;
            let new = claims.iter().all(|claim| !gone.contains(name(claim)) && holds(claim, "Ready"));
            let machines = w.machines()?.len() == claims.len() && w.nodes()?.len() == claims.len();
            Ok((new && machines && w.running()? == pods).then_some(claims))
        })
        .unwrap()
}

/// Waits until an object of this name has had an event.
fn told(world: &World, reason: &str, of: &str) -> Value {
    world
        .until(&format!("{reason} of {of}"), |w| {
            let events = w.list(EVENTS)?;
            let found = |event: &Value| event["reason"] == reason && event["regarding"]["name"] == *of;
            Ok(events.into_iter().find(found))
        })
        .unwrap()
}

/// Waits until a line of the metrics reads so.
fn measured(world: &World, controller: &Controller, line: &str) {
    let mut last = String::new();
    let found = world.until(line, |_| {
        last = controller.metrics()?;
        Ok(last.lines().any(|of| of == line).then_some(()))
    });
    if let Err(error) = found {
        let name = line.split(['{', ' ']).next().unwrap();
        let alike: Vec<&str> = last.lines().filter(|of| of.starts_with(name)).collect();
        panic!("{error:#}: {alike:#?}");
    }
}

fn empty(world: &World, mailbox: &Mailbox) {
    world.until("the queue to be empty", |_| Ok((mailbox.size()? == 0).then_some(()))).unwrap();
}

#[test]
fn a_storm_of_interruptions_leaves_every_pod_running_elsewhere() {
    const PODS: usize = 16;
    let world = world("storm", "spot", &one_a_node(PODS, false));
    let mailbox = world.front.mailbox(REGION, "storm").unwrap();
    let controller = controller(&world, &["--interruption-queue", "storm"]);
    let before = settled(&world, PODS);
    assert_eq!(before.len(), PODS);
    // A mark on the node is about what we choose to do.
    let marked = before[0]["status"]["nodeName"].as_str().unwrap();
    let mark = json!({"metadata": {"annotations": {"karpenter.sh/do-not-disrupt": "true"}}});
    world.client().patch(&format!("/api/v1/nodes/{marked}"), &mark).unwrap();

    // Of 16 machines, ten are taken back, two stop or end, one is to be retired; of one it is only said that it may be.
    let (taken, stopped, ended, retired, maybe) =
        (&before[..10], &before[10], &before[11], &before[12], &before[13]);
    let mut messages: Vec<String> = taken.iter().map(|claim| interrupted(&machine(claim))).collect();
    messages.extend(messages.clone());
    messages.push(state(&machine(stopped), "stopping"));
    messages.push(state(&machine(stopped), "stopped"));
    messages.push(state(&machine(ended), "shutting-down"));
    messages.push(scheduled(&[&machine(retired), "i-00000000", "i-0aaaaaaaaaaaaaaaa"]));
    messages.push(rebalance(&machine(maybe)));
    let strangers = (0..20).map(|at| interrupted(&format!("i-{at:017x}")));
    messages.extend(strangers);
    messages.push(event("aws.s3", "Object Created", &json!({"bucket": "b"})));
    let odd = ["plain words", "{\"source\": 1}", "{", "{"].map(str::to_owned);
    messages.extend(odd);
    messages.push(event(
        "aws.ec2",
        "EC2 Spot Instance Interruption Warning",
        &json!({"instance-id": "../x"}),
    ));
    // Mixed, the same in every run: the step and the number of messages have no factor in common.
    let count = messages.len();
    assert_ne!(count % 29, 0);
    let mixed: Vec<String> = (0..count).map(|at| messages[at * 29 % count].clone()).collect();
    mailbox.send(&mixed).unwrap();

    let gone: BTreeSet<String> = before[..13].iter().map(|claim| name(claim).to_owned()).collect();
    let after = replaced(&world, &gone, PODS);
    assert_eq!(after.len(), PODS);
    empty(&world, &mailbox);
    nothing_is_left_over(&world);
    assert!(after.iter().any(|claim| name(claim) == name(maybe)), "a recommendation ends nothing");
    let short: BTreeSet<_> = taken.iter().map(offering).collect();
    for claim in after.iter().filter(|claim| before.iter().all(|of| name(of) != name(claim))) {
        assert!(!short.contains(&offering(claim)), "{:?} was taken back just before", offering(claim));
    }
    for (reason, of) in [
        ("SpotInterrupted", &taken[0]),
        ("TerminatingOnInterruption", &taken[0]),
        ("InstanceStopping", stopped),
        ("InstanceTerminating", ended),
        ("InstanceUnhealthy", retired),
        ("SpotRebalanceRecommendation", maybe),
    ] {
        told(&world, reason, name(of));
    }

    let log = controller.log().unwrap();
    assert_eq!(log.matches("a message cannot be read, and is deleted").count(), 4, "each text once");
    let of_reason = |reason: &str, count: usize| {
        format!(
            r#"karpenter_nodeclaims_disrupted_total{{capacity_type="spot",nodepool="default",reason="{reason}"}} {count}"#
        )
    };
    for line in [
        of_reason("spot_interrupted", 10),
        of_reason("instance_stopped", 1),
        of_reason("instance_terminated", 1),
        of_reason("scheduled_change", 1),
        r#"karpenter_interruption_received_messages_total{message_type="spot_interrupted"} 40"#.to_owned(),
        r#"karpenter_interruption_received_messages_total{message_type="malformed"} 5"#.to_owned(),
        r#"karpenter_interruption_received_messages_total{message_type="no_op"} 1"#.to_owned(),
        r#"karpenter_interruption_received_messages_total{message_type="rebalance_recommendation"} 1"#
            .to_owned(),
        format!("karpenter_interruption_deleted_messages_total {count}"),
        "stowage_interruption_queue_readable 1".to_owned(),
    ] {
        measured(&world, &controller, &line);
    }
}

#[test]
fn a_queue_that_does_not_answer_is_waited_for() {
    let world = world("no-queue", "spot", &one_a_node(2, false));
    let controller = controller(&world, &["--interruption-queue", "late"]);
    let before = settled(&world, 2);
    let said = |words: &str, times: usize| {
        world
            .until(words, |_| Ok((controller.log()?.matches(words).count() >= times).then_some(())))
            .unwrap();
    };
    let unreadable = "stowage_interruption_queue_readable 0";
    said("there is no queue of this name", 1);
    measured(&world, &controller, unreadable);
    // It is made, and nobody may read it; then it answers that it is asked too often; then the line is cut.
    let mailbox = world.front.mailbox(REGION, "late").unwrap();
    world.front.always("ReceiveMessage", Mishap::Refuse);
    said("AccessDeniedException", 1);
    world.front.always("ReceiveMessage", Mishap::Throttle);
    said("ThrottlingException", 1);
    world.front.next("ReceiveMessage", &[Mishap::Break, Mishap::Cut, Mishap::Throttle]);
    world.front.next("DeleteMessageBatch", &[Mishap::Break, Mishap::Throttle]);
    world.front.always("ReceiveMessage", Mishap::None);
    mailbox.send(&[interrupted(&machine(&before[0]))]).unwrap();
    replaced(&world, &[name(&before[0]).to_owned()].into(), 2);
    empty(&world, &mailbox);
    said("interruptions are heard of again", 1);
    measured(&world, &controller, "stowage_interruption_queue_readable 1");
    // It is removed, and made anew.
    mailbox.remove().unwrap();
    measured(&world, &controller, unreadable);
    let mailbox = world.front.mailbox(REGION, "late").unwrap();
    mailbox.send(&[interrupted(&machine(&before[1]))]).unwrap();
    replaced(&world, &[name(&before[1]).to_owned()].into(), 2);
    empty(&world, &mailbox);
    nothing_is_left_over(&world);
    let log = controller.log().unwrap();
    for words in ["AccessDeniedException", "ThrottlingException"] {
        assert_eq!(log.matches(words).count(), 1, "{words} is said once:\n{log}");
    }
    assert!(controller.is_ready());
}

#[test]
fn machines_that_ec2_finds_something_wrong_with_go() {
    let world = world("checks", "on-demand", &one_a_node(5, true));
    let controller = controller(&world, &[]);
    let before = settled(&world, 5);
    let of = |at: usize, unwell: Unwell| (machine(&before[at]), unwell);
    let check = |check, since: &str| Unwell::Check(check, since.to_owned());
    let planned = |code, words: &str| Unwell::Event(code, words.to_owned());
    world.front.unwell(&[
        of(0, check("instance", LONG_AGO)),
        of(1, check("system", LONG_AGO)),
        // It may come back yet; it has, or never was.
        of(2, check("instance", "2099-01-01T00:00:00Z")),
        of(3, planned("instance-reboot", "[Completed] The instance was rebooted")),
        ("i-0123456789abcdef0".to_owned(), check("system", LONG_AGO)),
    ]);
    // Pods that must not be disrupted hold up nobody who cannot wait.
    let gone: BTreeSet<String> = before[..2].iter().map(|claim| name(claim).to_owned()).collect();
    replaced(&world, &gone, 5);
    for claim in &before[..2] {
        told(&world, "InstanceUnhealthy", name(claim));
    }
    let failed = "karpenter_nodeclaims_disrupted_total{capacity_type=\"on-demand\",nodepool=\"default\",\
                  reason=\"instance_status_failure\"} 2";
    measured(&world, &controller, failed);
    for category in ["InstanceStatus", "SystemStatus"] {
        let line =
            format!(r#"karpenter_interruption_instance_status_unhealthy_total{{category="{category}"}} 1"#);
        measured(&world, &controller, &line);
    }
    let names: BTreeSet<String> =
        world.claims().unwrap().iter().map(|claim| name(claim).to_owned()).collect();
    assert!(before[2..].iter().all(|claim| names.contains(name(claim))), "all others stay");

    // What is scheduled can wait for pods that must not be disrupted.
    let path = "/api/v1/namespaces/default/pods";
    let pods = world.pods().unwrap();
    let node = &before[4]["status"]["nodeName"];
    let pod = pods.iter().find(|pod| pod["spec"]["nodeName"] == *node).unwrap();
    world.front.unwell(&[of(4, planned("instance-retirement", "The instance runs on degraded hardware"))]);
    told(&world, "InstanceUnhealthy", name(&before[4]));
    told(&world, "FailedDraining", node.as_str().unwrap());
    assert!(world.pods().unwrap().iter().any(|of| name(of) == name(pod)));
    let free = json!({"metadata": {"annotations": {"karpenter.sh/do-not-disrupt": null}}});
    world.client().patch(&format!("{path}/{}", name(pod)), &free).unwrap();
    replaced(&world, &[name(&before[4]).to_owned()].into(), 5);
    nothing_is_left_over(&world);
}

/// Says of nodes that their storage is in this state, since then.
fn storage(world: &World, nodes: &[&Value], status: &str, since: &str) {
    for claim in nodes {
        let condition = json!([{
            "type": "StorageReady", "status": status, "lastTransitionTime": since, "reason": "MadeUp",
        }]);
        let path = format!("/api/v1/nodes/{}/status", claim["status"]["nodeName"].as_str().unwrap());
        // Of the list, the others stay.
        let kind = "application/strategic-merge-patch+json";
        let patch = json!({"status": {"conditions": condition}});
        assert_eq!(world.client().send("PATCH", &path, kind, Some(&patch)).unwrap().status, 200);
    }
}

#[test]
fn unhealthy_nodes_are_replaced_unless_too_many_are() {
    let world = world("repair", "on-demand", &one_a_node(6, true));
    let controller = controller(&world, &["--feature-gates", "NodeRepair=true"]);
    let before = settled(&world, 6);
    let all: Vec<&Value> = before.iter().collect();
    // Three of six are more than a fifth, which is two when rounded up. All are ill before one is for too long.
    storage(&world, &all[..3], "False", "2099-01-01T00:00:00Z");
    storage(&world, &all[..3], "False", LONG_AGO);
    for claim in &before[..3] {
        let event = told(&world, "NodeRepairBlocked", name(claim));
        assert!(event["note"].as_str().unwrap().contains("3 of 6"), "{event}");
    }
    let claims = world.claims().unwrap();
    let stays = |of: &Value| {
        claims.iter().any(|c| name(c) == name(of) && c["metadata"]["deletionTimestamp"].is_null())
    };
    assert!(before.iter().all(stays), "none is replaced");
    // One gets well, so that the others can be helped, whatever their pods say.
    storage(&world, &all[..1], "True", LONG_AGO);
    let gone: BTreeSet<String> = before[1..3].iter().map(|claim| name(claim).to_owned()).collect();
    let after = replaced(&world, &gone, 6);
    assert_eq!(after.iter().filter(|claim| before.iter().any(|of| name(of) == name(claim))).count(), 4);
    nothing_is_left_over(&world);
    let image = before[1]["status"]["imageID"].as_str().unwrap();
    let labels = format!(
        r#"capacity_type="on-demand",condition="storage_ready",image_id="{image}",nodepool="default""#
    );
    measured(&world, &controller, &format!("karpenter_nodeclaims_unhealthy_disrupted_total{{{labels}}} 2"));
    let disrupted = "karpenter_nodeclaims_disrupted_total{capacity_type=\"on-demand\",nodepool=\"default\",\
                     reason=\"unhealthy\"} 2";
    measured(&world, &controller, disrupted);
}

#[test]
fn nothing_is_launched_in_a_zone_that_the_cluster_is_shifted_away_from() {
    // moto's us-east-1a.
    const AWAY: &str = "use1-az6";
    let world = World::start("shifted").unwrap();
    world.eks().unwrap();
    world.client().create(POOLS, &pool("on-demand")).unwrap();
    let here = json!({"nodeSelector": {"topology.kubernetes.io/zone": "us-east-1a"}});
    world.client().create(DEPLOYMENTS, &deployment("here", 1, "900m", &here)).unwrap();
    // What machines are told does not come from EKS, which knows another API server.
    let server = world.plane.server().to_owned();
    let flags = ["--enable-zonal-shift", "--cluster-endpoint", &server];
    let controller = controller(&world, &flags);
    let first = settled(&world, 1).remove(0);
    assert_eq!(label(&first, "topology.kubernetes.io/zone"), "us-east-1a");
    assert!(controller.log().unwrap().contains("zonal shift is not switched on for the cluster"));

    world.front.shift(&[AWAY]);
    told(&world, "ZonalShiftActive", "default");
    measured(&world, &controller, &format!(r#"stowage_zone_shifted{{zone_id="{AWAY}"}} 1"#));
    let spread = json!({"topologySpreadConstraints": [{
        "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"app": "anywhere"}},
    }]});
    world.client().create(DEPLOYMENTS, &deployment("anywhere", 12, "900m", &spread)).unwrap();
    settled(&world, 13);
    let others = world.machines().unwrap().into_iter().filter(|of| of.id != machine(&first));
    let zones: BTreeSet<String> = others.map(|of| of.zone).collect();
    assert!(!zones.is_empty() && !zones.contains("us-east-1a"), "{zones:?}");

    // What goes in the zone is drained, and ended when EC2 can be asked again.
    world.client().delete(&format!("{CLAIMS}/{}", name(&first))).unwrap();
    world
        .until("the node to be drained", |w| {
            let claims = w.claims()?;
            Ok(claims.iter().any(|c| name(c) == name(&first) && holds(c, "VolumesDetached")).then_some(()))
        })
        .unwrap();
    let runs = |w: &World| w.machines().map(|all| all.iter().any(|of| of.id == machine(&first)));
    let asked = world.front.seen("TerminateInstances");
    told(&world, "FailedScheduling", name(&waiting(&world)));
    assert!(runs(&world).unwrap());
    assert_eq!(world.front.seen("TerminateInstances"), asked);
    world.front.shift(&[]);
    told(&world, "ZonalShiftCleared", "default");
    replaced(&world, &[name(&first).to_owned()].into(), 13);
    nothing_is_left_over(&world);
}

/// A pod that waits for a node.
fn waiting(world: &World) -> Value {
    world
        .until("a pod to wait", |w| {
            let pods = w.pods()?;
            Ok(pods.into_iter().find(|pod| pod["spec"]["nodeName"].is_null()))
        })
        .unwrap()
}
