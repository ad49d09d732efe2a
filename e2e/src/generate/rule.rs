//! Rules of pods: about nodes, about each other, about ports.

use serde_json::{Value, json};

use super::catalog::{CAPACITY_TYPES, TYPES, ZONES};
use super::node::Existing;
use super::pod::APPS;
use super::pool::{LABEL, OPEN, TAINT};
use crate::random::Random;

/// The host port that pods and a `DaemonSet` want.
pub(super) const PORT: u16 = 9100;

/// Keys over which pods are spread or kept together or apart.
const ZONE: &str = "topology.kubernetes.io/zone";
const HOST: &str = "kubernetes.io/hostname";
const DOMAINS: [&str; 8] =
    [ZONE, ZONE, ZONE, HOST, HOST, "karpenter.sh/capacity-type", "topology.k8s.aws/zone-id", LABEL.0];

/// Node selectors, required node affinity, tolerations, and preferences, which must not change anything.
pub(super) fn node_rules(random: &mut Random, spec: &mut Value, nodes: &[Existing]) {
    if random.percent(15) {
        let (key, value) = selector(random);
        spec["nodeSelector"] = json!({key: value});
    }
    if random.percent(18) {
        let terms: Vec<Value> = (0..random.within(1, 2)).map(|_| term(random, nodes)).collect();
        spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
            json!({"nodeSelectorTerms": terms});
    }
    if random.percent(10) {
        let term = json!({"matchExpressions": [expression(random)]});
        spec["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] =
            json!([{"weight": 50, "preference": term}]);
    }
    if random.percent(50) {
        spec["tolerations"] = json!([random.pick(&[
            json!({"key": TAINT.0, "operator": "Equal", "value": TAINT.1, "effect": "NoSchedule"}),
            json!({"key": TAINT.0, "operator": "Exists"}),
            json!({"key": TAINT.0, "value": "other"}),
            json!({"operator": "Exists"}),
        ])]);
    }
}

fn selector(random: &mut Random) -> (&'static str, &'static str) {
    match random.within(0, 6) {
        0 => (ZONE, random.pick(&ZONES).0),
        1 => ("karpenter.sh/capacity-type", random.pick(&CAPACITY_TYPES)),
        2 => ("kubernetes.io/arch", random.pick(&["amd64", "arm64"])),
        3 => (LABEL.0, random.pick(&LABEL.1)),
        4 => (OPEN.0, random.pick(&OPEN.1)),
        5 => ("topology.k8s.aws/zone-id", random.pick(&ZONES).1),
        _ => ("karpenter.sh/nodepool", random.pick(&["default", "second"])),
    }
}

fn term(random: &mut Random, nodes: &[Existing]) -> Value {
    if random.percent(15) && !nodes.is_empty() {
        let at = random.within(0, nodes.len() - 1);
        let operator = random.pick(&["In", "NotIn"]);
        return json!({"matchFields": [{"key": "metadata.name", "operator": operator, "values": [nodes[at].name]}]});
    }
    let expressions: Vec<Value> = (0..random.pick(&[1, 1, 2])).map(|_| expression(random)).collect();
    json!({"matchExpressions": expressions})
}

pub(super) fn expression(random: &mut Random) -> Value {
    let listed = |random: &mut Random, key: &str, values: &[&str]| {
        let operator = random.pick(&["In", "In", "NotIn"]);
        json!({"key": key, "operator": operator, "values": random.some(values)})
    };
    match random.within(0, 6) {
        0 => listed(random, ZONE, &ZONES.map(|(zone, _)| zone)),
        1 => listed(random, "node.kubernetes.io/instance-type", &TYPES),
        2 => listed(random, LABEL.0, &LABEL.1),
        3 => listed(random, OPEN.0, &OPEN.1),
        4 => {
            let operator = random.pick(&["Gt", "Lt"]);
            json!({"key": "karpenter.k8s.aws/instance-cpu", "operator": operator, "values": [random.pick(&["2", "4", "7"])]})
        }
        5 => {
            let key = random.pick(&[LABEL.0, OPEN.0, "karpenter.k8s.aws/instance-category"]);
            json!({"key": key, "operator": random.pick(&["Exists", "DoesNotExist"])})
        }
        _ => listed(random, "karpenter.k8s.aws/instance-category", &["m", "c", "r", "a"]),
    }
}

/// Topology spread.
pub(super) fn spread(random: &mut Random, spec: &mut Value, app: &str) {
    if !random.percent(45) {
        return;
    }
    let mut keys = vec![random.pick(&DOMAINS)];
    let second = random.pick(&DOMAINS);
    if random.percent(25) && second != keys[0] {
        keys.push(second);
    }
    spec["topologySpreadConstraints"] = keys.into_iter().map(|key| constraint(random, key, app)).collect();
}

fn constraint(random: &mut Random, key: &str, app: &str) -> Value {
    let mut constraint = json!({
        "topologyKey": key, "maxSkew": random.pick(&[1, 1, 1, 2]), "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": pods(random, app),
    });
    if random.percent(10) {
        constraint["whenUnsatisfiable"] = json!("ScheduleAnyway");
        return constraint;
    }
    if random.percent(20) {
        constraint["minDomains"] = json!(random.within(2, 4));
    }
    if random.percent(20) {
        constraint["nodeAffinityPolicy"] = json!(random.pick(&["Ignore", "Ignore", "Honor"]));
    }
    if random.percent(20) {
        constraint["nodeTaintsPolicy"] = json!(random.pick(&["Honor", "Honor", "Ignore"]));
    }
    if random.percent(20) {
        constraint["matchLabelKeys"] = json!(["version"]);
    }
    constraint
}

/// A selector of pods: mostly those of the same service.
fn pods(random: &mut Random, app: &str) -> Value {
    match random.within(0, 9) {
        0 => json!({"matchLabels": {"app": random.pick(&APPS)}}),
        1 => json!({"matchExpressions": [{"key": "app", "operator": "In", "values": random.some(&APPS)}]}),
        2 => json!({"matchLabels": {"tier": random.pick(&["front", "back"])}}),
        3 => json!({"matchExpressions": [
            {"key": "app", "operator": "Exists"}, {"key": "tier", "operator": "NotIn", "values": ["front"]},
        ]}),
        _ => json!({"matchLabels": {"app": app}}),
    }
}

/// Required pod affinity and anti-affinity, and preferences, which must not change anything.
pub(super) fn pod_rules(random: &mut Random, spec: &mut Value, app: &str) {
    if random.percent(20) {
        let terms: Vec<Value> = (0..random.pick(&[1, 1, 1, 2])).map(|_| pod_term(random, app, 75)).collect();
        spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = json!(terms);
    }
    if random.percent(super::POD_AFFINITY) {
        let terms: Vec<Value> = (0..random.pick(&[1, 1, 1, 2])).map(|_| affinity_term(random, app)).collect();
        spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = json!(terms);
    }
    if random.percent(8) {
        let kind = random.pick(&["podAffinity", "podAntiAffinity"]);
        let term = pod_term(random, app, 50);
        spec["affinity"][kind]["preferredDuringSchedulingIgnoredDuringExecution"] =
            json!([{"weight": 10, "podAffinityTerm": term}]);
    }
}

fn affinity_term(random: &mut Random, app: &str) -> Value {
    pod_term(random, app, super::HOST_AFFINITY)
}

/// A term over host names this often in a hundred times, over some domain else.
fn pod_term(random: &mut Random, app: &str, host: u64) -> Value {
    let key = if random.percent(host) { HOST } else { random.pick(&DOMAINS) };
    let mut term = json!({"topologyKey": key, "labelSelector": pods(random, app)});
    match random.within(0, 9) {
        0 => term["namespaces"] = json!(["shop", "data"]),
        1 => term["namespaceSelector"] = json!({"matchLabels": {"tier": "batch"}}),
        2 => term["namespaceSelector"] = json!({}),
        3 => term["matchLabelKeys"] = json!(["version"]),
        4 => term["mismatchLabelKeys"] = json!(["version"]),
        _ => {}
    }
    term
}

/// Host ports; addresses that clash and that do not.
pub(super) fn host_ports(random: &mut Random, spec: &mut Value) {
    if !random.percent(12) {
        return;
    }
    let mut port =
        json!({"containerPort": 80, "hostPort": PORT, "protocol": random.pick(&["TCP", "TCP", "UDP"])});
    if random.percent(30) {
        port["hostIP"] = json!(random.pick(&["10.0.0.1", "10.0.0.2", "0.0.0.0"]));
    }
    spec["containers"][0]["ports"] = json!([port]);
}
