//! Whoever leads is killed in the midst of each way in which nodes go, and one who waits takes over: never do more nodes go at the
//! same time than the budget allows, nothing is lost, and a batch that must not be disrupted runs on where it is.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use stowage_e2e::{Controller, World, holds};

use super::common::{
    CLAIMS, DEPLOYMENTS, POOLS, Random, deployment, name, node_pool, nothing_is_left_over, one_a_node,
    settled,
};
use super::witness::Witness;
use super::{PODS, goes, is_tainted};

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/stowage/leases/karpenter-leader-election";

/// A leader that is dead is missed after fifteen seconds, and each step of what it did may be done over.
const PATIENCE: Duration = Duration::from_mins(5);

/// Replicas of the controller, of which one leads and one waits.
struct Replicas<'w> {
    world: &'w World,
    running: BTreeMap<String, Controller>,
    started: usize,
    moments: Random,
}

impl<'w> Replicas<'w> {
    fn of(world: &'w World) -> Self {
        let mut replicas = Self { world, running: BTreeMap::new(), started: 0, moments: Random(0x7f4a_7c15) };
        replicas.start();
        replicas.start();
        replicas
    }

    fn start(&mut self) {
        self.started += 1;
        let name = format!("replica-{}", self.started);
        let replica = self.world.controller(&name, &[]).unwrap();
        self.running.insert(name, replica);
    }

    /// Who leads, and is alive.
    fn leader(&self) -> Option<String> {
        let lease = self.world.client().get(LEASE).ok()?;
        let holder = lease["spec"]["holderIdentity"].as_str()?;
        let leads =
            |name: &&String| holder.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('_'));
        self.running.keys().find(leads).cloned()
    }

    /// Kills whoever leads once a node is about to go, at some moment of what follows, and starts another that waits.
    fn kill_leader_in_the_midst(&mut self) {
        let leader = self
            .world
            .within(PATIENCE, "a node to be about to go", |w| {
                let some = w.claims()?.iter().any(|claim| goes(claim) > 0);
                Ok(self.leader().filter(|_| some))
            })
            .unwrap();
        thread::sleep(Duration::from_millis(self.moments.below(2_500)));
        // Without a chance to tidy up.
        drop(self.running.remove(&leader));
        self.start();
        let next = self
            .world
            .within(PATIENCE, "another to lead", |_| Ok(self.leader().filter(|now| *now != leader)))
            .unwrap();
        println!("{leader} was killed, {next} leads");
    }
}

/// A pod of a batch that nobody may disturb, and that nobody makes anew: on a node of its own. (A Job's would be done at once, as kwok
/// has it.)
fn batch() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "report", "labels": {"app": "report"}, "annotations": {"karpenter.sh/do-not-disrupt": "true"},
        },
        "spec": {"restartPolicy": "Never", "containers": [{
            "name": "report", "image": "report:1", "resources": {"requests": {"cpu": "3", "memory": "1Gi"}},
        }]},
    })
}

/// That pod: its uid and its node.
fn of_batch(world: &World) -> Option<(String, String)> {
    let pods = world.pods().unwrap();
    let pod = pods.iter().find(|pod| pod["metadata"]["labels"]["app"] == "report")?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some((text(&pod["metadata"]["uid"])?, text(&pod["spec"]["nodeName"])?))
}

/// Waits until nodes are there for pods alone, and none is about to go.
fn no_node_is_empty(world: &World, pods: usize) {
    world
        .within(PATIENCE, "empty nodes to be gone", |w| {
            let all = w.pods()?;
            let used: BTreeSet<&str> =
                all.iter().filter_map(|pod| pod["spec"]["nodeName"].as_str()).collect();
            let claims = w.claims()?;
            let rests = claims.iter().all(|claim| goes(claim) == 0 && holds(claim, "Ready"));
            Ok((rests && claims.len() == used.len() && w.running()? == pods).then_some(()))
        })
        .unwrap();
}

#[test]
fn whoever_leads_may_die_in_each_way_in_which_nodes_go() {
    let world = World::start("leader").unwrap();
    let mut pool = node_pool("default", &json!({}));
    pool["spec"]["disruption"] = json!({"consolidateAfter": "0s", "budgets": [{"nodes": "2"}]});
    pool["spec"]["template"]["spec"]["requirements"]
        .as_array_mut()
        .unwrap()
        .push(json!({"key": "karpenter.k8s.aws/instance-cpu", "operator": "Lt", "values": ["9"]}));
    world.client().create(POOLS, &pool).unwrap();
    world.client().create(PODS, &batch()).unwrap();
    world.client().create(DEPLOYMENTS, &deployment("web", 6, "900m", &one_a_node("web"))).unwrap();
    let mut replicas = Replicas::of(&world);
    settled(&world, 7);
    let batch = of_batch(&world).unwrap();
    let going = Witness::of(&world, CLAIMS, goes);
    let untouched =
        |world: &World| assert_eq!(of_batch(world).as_ref(), Some(&batch), "the batch was disturbed");

    // Empty nodes.
    world.client().patch(&format!("{DEPLOYMENTS}/web"), &json!({"spec": {"replicas": 3}})).unwrap();
    replicas.kill_leader_in_the_midst();
    no_node_is_empty(&world, 4);
    untouched(&world);

    // Nodes that are out of date, but for that of the batch.
    let before: BTreeSet<String> =
        world.claims().unwrap().iter().map(|claim| name(claim).to_owned()).collect();
    let labels = json!({"spec": {"template": {"metadata": {"labels": {"team": "b"}}}}});
    world.client().patch(&format!("{POOLS}/default"), &labels).unwrap();
    replicas.kill_leader_in_the_midst();
    world
        .within(PATIENCE, "all nodes but the batch's to be replaced", |w| {
            let claims = w.claims()?;
            let old: Vec<&Value> = claims.iter().filter(|claim| before.contains(name(claim))).collect();
            let rests = claims.iter().all(|claim| goes(claim) == 0 && holds(claim, "Ready"));
            let is_last =
                old.len() == 1 && old[0]["status"]["nodeName"] == batch.1 && holds(old[0], "Drifted");
            Ok((rests && is_last && w.running()? == 4).then_some(()))
        })
        .unwrap();
    untouched(&world);

    // Nodes that are larger than what is left on them.
    world.client().create(DEPLOYMENTS, &deployment("bulk", 8, "1800m", &json!({}))).unwrap();
    settled(&world, 12);
    let before = world.machines().unwrap().len();
    world.client().patch(&format!("{DEPLOYMENTS}/bulk"), &json!({"spec": {"replicas": 2}})).unwrap();
    replicas.kill_leader_in_the_midst();
    no_node_is_empty(&world, 6);
    world
        .within(PATIENCE, "whoever leads to come to rest", |w| {
            let claims = w.claims()?;
            let rests = claims.iter().all(|claim| goes(claim) == 0 && holds(claim, "Ready"));
            let old = claims.iter().filter(|claim| holds(claim, "Drifted")).count();
            Ok((rests && old == 1 && w.running()? == 6).then_some(()))
        })
        .unwrap();
    untouched(&world);
    let after = world.machines().unwrap().len();
    println!("{before} machines became {after}");

    assert!(going.most() > 0 && going.most() <= 2, "{} at once", going.most());
    assert!(!world.nodes().unwrap().iter().any(is_tainted), "marks of one that is dead");
    nothing_is_left_over(&world);
}
