//! What suites of whole clusters share: objects, and waiting for them to come to rest.

#![allow(dead_code, reason = "each suite uses some of it")]

use serde_json::{Value, json};
use stowage_e2e::{Controller, World, holds};

pub(crate) const CLAIMS: &str = "/apis/karpenter.sh/v1/nodeclaims";
pub(crate) const CLASSES: &str = "/apis/karpenter.k8s.aws/v1/ec2nodeclasses";
pub(crate) const POOLS: &str = "/apis/karpenter.sh/v1/nodepools";
pub(crate) const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

/// Pods that share no node.
pub(crate) fn one_a_node(app: &str) -> Value {
    json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
        "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": app}},
    }]}}})
}

/// A NodePool of ordinary machines with these fields in its template's spec.
pub(crate) fn node_pool(name: &str, template: &Value) -> Value {
    let mut pool = stowage_e2e::node_pool(name);
    merge(&mut pool["spec"]["template"]["spec"], template);
    pool
}

/// A Deployment with these fields in its pods' spec.
pub(crate) fn deployment(name: &str, replicas: usize, cpu: &str, more: &Value) -> Value {
    let mut deployment = stowage_e2e::deployment(name, replicas, cpu, "1Gi");
    merge(&mut deployment["spec"]["template"]["spec"], more);
    deployment
}

/// The same moments in every run.
pub(crate) struct Random(pub(crate) u32);

impl Random {
    pub(crate) fn below(&mut self, most: u64) -> u64 {
        // xorshift, Marsaglia 2003.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        u64::from(self.0) % most
    }
}

fn merge(into: &mut Value, more: &Value) {
    for (key, value) in more.as_object().unwrap() {
        into[key] = value.clone();
    }
}

pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

/// Waits until so many pods run, and every NodeClaim is ready.
pub(crate) fn settled(world: &World, pods: usize) -> Vec<Value> {
    world
        .until("all pods to run on nodes that are ready", |w| {
            let claims = w.claims()?;
            let ready = !claims.is_empty() && claims.iter().all(|claim| holds(claim, "Ready"));
            Ok((ready && w.running()? == pods).then_some(claims))
        })
        .unwrap()
}

/// Checks that every machine has one claim and one node, and the other way round.
pub(crate) fn nothing_is_left_over(world: &World) {
    let machines = world.machines().unwrap();
    let ids = |objects: Vec<Value>, at: &dyn Fn(&Value) -> &Value| {
        let mut ids: Vec<String> =
            objects.iter().map(|o| at(o).as_str().unwrap_or_default().to_owned()).collect();
        ids.sort();
        ids
    };
    let mut running: Vec<String> = machines.iter().map(|m| format!("aws:///{}/{}", m.zone, m.id)).collect();
    running.sort();
    assert_eq!(ids(world.claims().unwrap(), &|claim| &claim["status"]["providerID"]), running);
    assert_eq!(ids(world.nodes().unwrap(), &|node| &node["spec"]["providerID"]), running);
}

/// How often it was looked whether nodes are needed.
pub(crate) fn looks(controller: &Controller) -> usize {
    let text = controller.metrics().unwrap_or_default();
    let of = |line: &&str| {
        line.starts_with("karpenter_voluntary_disruption_decision_evaluation_duration_seconds_count{")
            && line.contains("reason=\"underutilized\"")
    };
    let counts = text.lines().filter(of).filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
    counts.sum()
}
