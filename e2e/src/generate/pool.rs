//! `NodePool`s: requirements, taints, labels, labels left open, limits and weights.

use serde_json::{Value, json};

use super::catalog::{CAPACITY_TYPES, TYPES, ZONES};
use crate::random::Random;

const NAMES: [&str; 3] = ["default", "second", "third"];

/// The taint of pools that have one; some services tolerate it.
pub(super) const TAINT: (&str, &str) = ("dedicated", "batch");

/// A label that some pools give to their nodes.
pub(super) const LABEL: (&str, [&str; 2]) = ("example.com/disk", ["ssd", "hdd"]);

/// A label that some pools leave open.
pub(super) const OPEN: (&str, [&str; 2]) = ("example.com/team", ["red", "blue"]);

pub(super) fn generate(random: &mut Random) -> Vec<Value> {
    let count = random.within(1, 3);
    (0..count).map(|at| one(at, random)).collect()
}

fn one(at: usize, random: &mut Random) -> Value {
    let one_of = |key: &str, operator: &str, values: &[&str]| json!({"key": key, "operator": operator, "values": values});
    let capacity: Vec<&str> =
        if random.percent(60) { CAPACITY_TYPES.to_vec() } else { random.some(&CAPACITY_TYPES) };
    let mut requirements = vec![one_of("karpenter.sh/capacity-type", "In", &capacity)];
    if random.percent(if at == 0 { 10 } else { 30 }) {
        let zones = ZONES.map(|(zone, _)| zone);
        requirements.push(one_of("topology.kubernetes.io/zone", "In", &random.some(&zones)));
    }
    if random.percent(if at == 0 { 8 } else { 25 }) {
        let operator = random.pick(&["In", "NotIn"]);
        // The first pool always has something small to buy.
        let types =
            if at == 0 && operator == "NotIn" { vec![random.pick(&TYPES[1..])] } else { random.some(&TYPES) };
        requirements.push(one_of("node.kubernetes.io/instance-type", operator, &types));
    }
    if at > 0 && random.percent(20) {
        requirements.push(one_of(
            "karpenter.k8s.aws/instance-cpu",
            random.pick(&["Gt", "Lt"]),
            &[random.pick(&["3", "5"])],
        ));
    }
    if at > 0 && random.percent(25) {
        requirements.push(one_of("kubernetes.io/arch", "In", &[random.pick(&["amd64", "amd64", "arm64"])]));
    }
    if random.percent(40) {
        requirements.push(one_of(OPEN.0, "In", &OPEN.1));
    }
    let mut labels = json!({});
    if random.percent(65) {
        labels[LABEL.0] = json!(random.pick(&LABEL.1));
    }
    let mut spec = json!({
        "template": {
            "metadata": {"labels": labels},
            "spec": {
                "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"},
                "requirements": requirements,
            },
        },
    });
    if random.percent(if at == 0 { 5 } else { 35 }) {
        let effect = random.pick(&["NoSchedule", "NoSchedule", "NoExecute"]);
        spec["template"]["spec"]["taints"] = json!([{"key": TAINT.0, "value": TAINT.1, "effect": effect}]);
    }
    match random.within(0, 9) {
        0 => spec["limits"] = json!({"cpu": random.within(4, 24).to_string()}),
        1 => spec["limits"] = json!({"nodes": random.within(1, 3).to_string()}),
        2 => spec["limits"] = json!({"memory": format!("{}Gi", random.within(16, 64))}),
        _ => {}
    }
    if random.percent(30) {
        spec["weight"] = json!(random.within(1, 100));
    }
    json!({
        "apiVersion": "karpenter.sh/v1", "kind": "NodePool",
        "metadata": {"name": NAMES[at]}, "spec": spec,
    })
}
