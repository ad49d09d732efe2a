//! Nodes that go: empty ones, those out of date, those too old. On a whole cluster, with a witness that looks at every event:
//! never do more go at the same time than budgets allow.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "common/world.rs"]
mod common;
#[path = "disrupt/leader.rs"]
mod leader;
#[path = "common/witness.rs"]
mod witness;

use serde_json::{Value, json};
use stowage_e2e::{World, holds};

use common::{CLAIMS, DEPLOYMENTS, POOLS, deployment, name, node_pool, nothing_is_left_over, settled};
use witness::Witness;

const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
const PODS: &str = "/api/v1/namespaces/default/pods";
const TAINT: &str = "karpenter.sh/disrupted";

/// A pool of which so many nodes may go at the same time.
fn pool(budget: &str, template: &Value) -> Value {
    let mut pool = node_pool("default", template);
    pool["spec"]["disruption"] = json!({"consolidateAfter": "0s", "budgets": [{"nodes": budget}]});
    pool
}

/// Pods that share no node.
fn one_a_node(replicas: usize) -> Value {
    let apart = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
        "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}},
    }]}}});
    deployment("web", replicas, "900m", &apart)
}

/// Changes the template of the pool, so that all of its nodes are out of date.
fn change(world: &World, team: &str) {
    let labels = json!({"spec": {"template": {"metadata": {"labels": {"team": team}}}}});
    world.client().patch(&format!("{POOLS}/default"), &labels).unwrap();
}

/// Whether a NodeClaim uses its pool's budgets up: it was chosen to go or goes, and its machine is not being ended yet.
fn goes(claim: &Value) -> usize {
    let chosen = holds(claim, "DisruptionReason") || !claim["metadata"]["deletionTimestamp"].is_null();
    usize::from(holds(claim, "Initialized") && !holds(claim, "InstanceTerminating") && chosen)
}

/// Whether a pod serves.
fn serves(pod: &Value) -> usize {
    usize::from(holds(pod, "Ready") && pod["metadata"]["deletionTimestamp"].is_null())
}

fn is_tainted(node: &Value) -> bool {
    node["spec"]["taints"].as_array().is_some_and(|taints| taints.iter().any(|taint| taint["key"] == TAINT))
}

#[test]
fn empty_nodes_go_within_the_budget() {
    let world = World::start("empty").unwrap();
    world.client().create(POOLS, &pool("2", &json!({}))).unwrap();
    world.client().create(DEPLOYMENTS, &one_a_node(5)).unwrap();
    let controller = world.controller("controller", &[]).unwrap();
    assert_eq!(settled(&world, 5).len(), 5);
    let witness = Witness::of(&world, CLAIMS, goes);
    let scale = json!({"spec": {"replicas": 1}});
    world.client().patch(&format!("{DEPLOYMENTS}/web"), &scale).unwrap();
    world
        .until("empty nodes to be gone", |w| {
            let claims = w.claims()?;
            Ok((claims.len() == 1 && w.machines()?.len() == 1).then_some(()))
        })
        .unwrap();
    assert_eq!(witness.most(), 2, "as many as may go at the same time, and no more");
    assert_eq!(settled(&world, 1).len(), 1);
    nothing_is_left_over(&world);
    let metrics = controller.metrics().unwrap();
    for measured in [
        r#"karpenter_nodeclaims_disrupted_total{capacity_type="on-demand",nodepool="default",reason="empty"} 4"#,
        r#"karpenter_voluntary_disruption_decisions_total{consolidation_type="empty",decision="delete",reason="empty"}"#,
        r#"karpenter_nodepools_allowed_disruptions{nodepool="default",reason="empty"}"#,
        "stowage_disruption_realised_dollars_per_hour",
    ] {
        assert!(metrics.contains(measured), "{measured}");
    }
}

#[test]
fn nodes_out_of_date_are_replaced_one_after_the_other() {
    let world = World::start("drift").unwrap();
    world.client().create(POOLS, &pool("1", &json!({}))).unwrap();
    world.client().create(DEPLOYMENTS, &one_a_node(3)).unwrap();
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}},
    });
    world.client().create(BUDGETS, &budget).unwrap();
    let controller = world.controller("controller", &[]).unwrap();
    assert_eq!(settled(&world, 3).len(), 3);
    world
        .until("all pods to serve", |w| Ok(w.pods()?.iter().all(|pod| serves(pod) > 0).then_some(())))
        .unwrap();
    let (going, serving) = (Witness::of(&world, CLAIMS, goes), Witness::of(&world, PODS, serves));
    change(&world, "b");
    world
        .until("all nodes to be of the new template", |w| {
            let claims = w.claims()?;
            let new = claims.iter().all(|claim| claim["metadata"]["labels"]["team"] == "b");
            let ready = claims.iter().all(|claim| holds(claim, "Ready"));
            Ok((claims.len() == 3 && new && ready && w.running()? == 3).then_some(()))
        })
        .unwrap();
    assert_eq!(going.most(), 1, "one after the other");
    assert!(serving.least() >= 2, "{} pods have served at some moment", serving.least());
    assert!(world.nodes().unwrap().iter().all(|node| !is_tainted(node)));
    world.until("machines to be ended", |w| Ok((w.machines()?.len() == 3).then_some(()))).unwrap();
    nothing_is_left_over(&world);
    let metrics = controller.metrics().unwrap();
    let measured = r#"karpenter_pods_drained_total{reason="drifted"} 3"#;
    assert!(metrics.contains(measured), "{measured}");
}

#[test]
fn a_pod_that_must_not_be_disrupted_keeps_its_node() {
    let world = World::start("protected").unwrap();
    world.client().create(POOLS, &pool("1", &json!({}))).unwrap();
    let mut web = one_a_node(1);
    web["spec"]["template"]["metadata"]["annotations"] = json!({"karpenter.sh/do-not-disrupt": "true"});
    world.client().create(DEPLOYMENTS, &web).unwrap();
    let _controller = world.controller("controller", &[]).unwrap();
    let claim = settled(&world, 1).remove(0);
    change(&world, "b");
    let pod = world.pods().unwrap().remove(0);
    world
        .until("the node to say why it stays", |w| {
            if !w.claims()?.iter().any(|claim| holds(claim, "Drifted")) {
                return Ok(None);
            }
            let events = w.list("/api/v1/namespaces/default/events")?;
            let blocked = events.iter().find(|event| {
                event["reason"] == "DisruptionBlocked" && event["involvedObject"]["name"] == *name(&claim)
            });
            Ok(blocked.map(|event| assert!(event["message"].as_str().unwrap().contains(name(&pod)))))
        })
        .unwrap();
    let same = world.claims().unwrap().remove(0);
    assert!(name(&same) == name(&claim) && holds(&same, "Drifted") && !holds(&same, "DisruptionReason"));
    // Once it may be, it moves.
    let free = json!({"metadata": {"annotations": {"karpenter.sh/do-not-disrupt": null}}});
    world.client().patch(&format!("{PODS}/{}", name(&pod)), &free).unwrap();
    let gone = name(&claim).to_owned();
    world
        .until("the node to be replaced", |w| Ok(w.claims()?.iter().all(|c| name(c) != gone).then_some(())))
        .unwrap();
    assert_eq!(settled(&world, 1).len(), 1);
}

#[test]
fn the_only_pod_of_a_deployment_leaves_when_another_serves() {
    let world = World::start_with("surge", &["settings.surgeFirst=Annotated"]).unwrap();
    world.client().create(POOLS, &pool("1", &json!({}))).unwrap();
    let mut web = one_a_node(1);
    web["spec"]["template"]["metadata"]["annotations"] = json!({"stowage.dev/surge-first": "true"});
    world.client().create(DEPLOYMENTS, &web).unwrap();
    let _controller = world.controller("controller", &["--surge-first", "annotated"]).unwrap();
    let first = name(&settled(&world, 1)[0]).to_owned();
    world
        .until("the pod to serve", |w| Ok((w.pods()?.iter().map(serves).sum::<usize>() == 1).then_some(())))
        .unwrap();
    let serving = Witness::of(&world, PODS, serves);
    world.client().delete(&format!("{CLAIMS}/{first}")).unwrap();
    world
        .until("another machine in its place", |w| {
            let claims = w.claims()?;
            let other = claims.iter().any(|claim| name(claim) != first && holds(claim, "Ready"));
            Ok((other && claims.len() == 1 && w.running()? == 1).then_some(()))
        })
        .unwrap();
    assert!(serving.least() >= 1, "at every moment somebody serves");
    let rolled = world.client().get(&format!("{DEPLOYMENTS}/web")).unwrap();
    assert_eq!(rolled["spec"]["template"]["metadata"]["annotations"]["stowage.dev/rolled-for"], first);
    nothing_is_left_over(&world);
}

#[test]
fn a_fleet_rolls_under_budgets_and_no_pod_is_lost() {
    const NODES: usize = 24;
    let world = World::start("rolling").unwrap();
    world.client().create(POOLS, &pool("5", &json!({}))).unwrap();
    let keep = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
        "spec": {"maxUnavailable": 3, "selector": {"matchLabels": {"app": "web"}}},
    });
    world.client().create(BUDGETS, &keep).unwrap();
    world.client().create(DEPLOYMENTS, &one_a_node(NODES)).unwrap();
    let _controller = world.controller("controller", &[]).unwrap();
    let before: Vec<String> = settled(&world, NODES).iter().map(|claim| name(claim).to_owned()).collect();
    assert_eq!(before.len(), NODES);
    let (going, serving) = (Witness::of(&world, CLAIMS, goes), Witness::of(&world, PODS, serves));
    change(&world, "b");
    // As long as it takes: what matters is that it goes on.
    let mut left = before.len();
    while left > 0 {
        world
            .until("the next nodes to be replaced", |w| {
                let claims = w.claims()?;
                let now = claims.iter().filter(|claim| before.iter().any(|of| of == name(claim))).count();
                Ok((now < left).then(|| left = now))
            })
            .unwrap();
    }
    assert_eq!(settled(&world, NODES).len(), NODES);
    nothing_is_left_over(&world);
    println!("{} at most went at the same time, {} pods served at least", going.most(), serving.least());
    assert!(going.most() <= 5, "{} at once", going.most());
    assert!(going.most() > 1, "they roll together, as far as budgets allow: {}", going.most());
    assert!(serving.least() >= NODES - 3, "{} served at some moment", serving.least());
}

#[test]
fn machines_go_when_they_are_too_old() {
    let world = World::start("expired").unwrap();
    // Forced: no budget holds it up.
    world.client().create(POOLS, &pool("0", &json!({"expireAfter": "45s"}))).unwrap();
    world.client().create(DEPLOYMENTS, &one_a_node(1)).unwrap();
    let controller = world.controller("controller", &[]).unwrap();
    let first = name(&settled(&world, 1).remove(0)).to_owned();
    world
        .until("the pod to run on another machine", |w| {
            let claims = w.claims()?;
            let other = claims.iter().any(|claim| name(claim) != first && holds(claim, "Ready"));
            let gone = claims.iter().all(|claim| name(claim) != first);
            Ok((other && gone && w.running()? == 1).then_some(()))
        })
        .unwrap();
    let metrics = controller.metrics().unwrap();
    assert!(metrics.contains(r#"nodepool="default",reason="expired"}"#));
}

#[test]
fn marks_of_one_that_was_killed_are_taken_off() {
    let world = World::start("stray").unwrap();
    world.client().create(POOLS, &pool("1", &json!({}))).unwrap();
    change(&world, "a");
    world.client().create(DEPLOYMENTS, &one_a_node(2)).unwrap();
    let first = world.controller("first", &["--disable-leader-election"]).unwrap();
    let before: Vec<String> = settled(&world, 2).iter().map(|claim| name(claim).to_owned()).collect();
    // What is launched instead never joins, so that it dies between the taint and the deletion.
    world.kubelets.broken(&["*"]);
    change(&world, "b");
    world
        .until("a node to be chosen and its replacement to be launched", |w| {
            let chosen = w.claims()?.iter().any(|claim| holds(claim, "DisruptionReason"));
            let launched = w.claims()?.len() == 3 && w.claims()?.iter().all(|claim| holds(claim, "Launched"));
            Ok((chosen && launched && w.nodes()?.iter().any(is_tainted)).then_some(()))
        })
        .unwrap();
    // The template is as it was: nobody will want what is under way again.
    change(&world, "a");
    let is_old = |claim: &Value| before.iter().any(|of| of == name(claim));
    world
        .until("the nodes to be up to date", |w| {
            let drifted = |claim: &Value| is_old(claim) && holds(claim, "Drifted");
            Ok((!w.claims()?.iter().any(drifted)).then_some(()))
        })
        .unwrap();
    assert!(world.nodes().unwrap().iter().any(is_tainted), "it is still under way");
    drop(first);
    let _second = world.controller("second", &["--disable-leader-election"]).unwrap();
    world
        .until("no mark to be left", |w| {
            let marked = |claim: &Value| is_old(claim) && holds(claim, "DisruptionReason");
            Ok((!w.claims()?.iter().any(marked) && !w.nodes()?.iter().any(is_tainted)).then_some(()))
        })
        .unwrap();
    assert_eq!(world.running().unwrap(), 2, "no pod had to move");
    let old = |w: &World| w.claims().unwrap().iter().filter(|claim| is_old(claim)).count();
    assert_eq!(old(&world), 2, "nothing was taken away");
    // The replacement that nobody needs any more is of the wrong template, and goes.
    world.kubelets.broken(&[]);
    world.until("two machines to be left", |w| Ok((w.machines()?.len() == 2).then_some(()))).unwrap();
    assert_eq!(old(&world), 2, "of the two templates, the nodes of the right one stay");
}
