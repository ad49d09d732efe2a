//! Claims of devices, from the objects of a cluster to the plan.
#![expect(clippy::panic, reason = "a helper of tests fails the test")]

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use common::read_bytes;
use serde_json::{Value, json};
use stowage_cluster::{LowerOptions, Lowered, Note, Rule, lower};
use stowage_pricing::Catalog;
use stowage_solver::{Options, Reason, solve};

const DRIVER: &str = "gpu.example.com";

/// A GPU: name, model, GiB, NUMA node.
fn gpu(name: &str, model: &str, gib: u32, numa: u32) -> Value {
    json!({
        "name": name,
        "attributes": {"model": {"string": model}, "numa": {"int": numa}, "driverVersion": {"version": "1.2.3"}},
        "capacity": {"memory": {"value": format!("{gib}Gi")}},
    })
}

fn gpus(count: u32, model: &str, gib: u32) -> Vec<Value> {
    (0..count).map(|at| gpu(&format!("gpu-{at}"), model, gib, at * 2 / count)).collect()
}

/// A type with these devices, for so many dollars an hour.
fn sold(name: &str, devices: &[Value], dollars: f64) -> Value {
    let slices = if devices.is_empty() { json!([]) } else { json!([{"driver": DRIVER, "devices": devices}]) };
    json!({
        "name": name, "resources": {"cpu": "16", "memory": "64Gi", "pods": "20"}, "resourceSlices": slices,
        "offerings": [{"Price": dollars, "Available": true, "Requirements": [
            {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]},
            {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["us-east-1a"]},
        ]}],
    })
}

fn catalog() -> Vec<Value> {
    vec![
        sold("c.plain", &[], 0.1),
        sold("g.one", &gpus(1, "T4", 16), 1.0),
        sold("g.four", &gpus(4, "T4", 16), 3.0),
        sold("h.two", &gpus(2, "H100", 80), 8.0),
        sold("h.mixed", &[gpu("big", "H100", 80, 0), gpu("small", "T4", 16, 1)], 5.0),
    ]
}

fn class(name: &str, expression: &str) -> Value {
    let selectors = json!([{"cel": {"expression": expression}}]);
    json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": name},
        "spec": {"selectors": selectors},
    })
}

fn gpu_class() -> Value {
    class("gpu", "device.driver == 'gpu.example.com'")
}

fn exactly(more: &Value) -> Value {
    let mut exactly = json!({"deviceClassName": "gpu"});
    for (key, value) in more.as_object().into_iter().flatten() {
        exactly[key] = value.clone();
    }
    json!({"name": "gpus", "exactly": exactly})
}

fn selecting(expression: &str) -> Value {
    json!({"selectors": [{"cel": {"expression": expression}}]})
}

fn template(name: &str, requests: &[Value], constraints: &Value) -> Value {
    json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaimTemplate", "metadata": {"name": name},
        "spec": {"spec": {"devices": {"requests": requests, "constraints": constraints}}},
    })
}

fn claim(name: &str, requests: &[Value]) -> Value {
    json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": {"name": name},
        "spec": {"devices": {"requests": requests}},
    })
}

/// The same with devices of a node.
fn given(mut claim: Value, node: &str, devices: &[&str]) -> Value {
    let results: Vec<Value> = devices
        .iter()
        .map(|device| json!({"request": "gpus", "driver": DRIVER, "pool": node, "device": device}))
        .collect();
    claim["status"] = json!({"allocation": {
        "devices": {"results": results},
        "nodeSelector": {"nodeSelectorTerms": [
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]},
        ]},
    }});
    claim
}

fn pod(name: &str, claims: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
            "containers": [{"resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}], "resourceClaims": claims,
        },
    })
}

fn by_template(name: &str, template: &str) -> Value {
    pod(name, &json!([{"name": "gpus", "resourceClaimTemplateName": template}]))
}

fn by_claim(name: &str, claim: &str) -> Value {
    pod(name, &json!([{"name": "gpus", "resourceClaimName": claim}]))
}

fn pods(count: u32, name: &str, template: &str) -> Vec<Value> {
    (0..count).map(|at| by_template(&format!("{name}-{at}"), template)).collect()
}

fn node(name: &str, devices: &[Value]) -> Vec<Value> {
    let allocatable = json!({"cpu": "16", "memory": "64Gi", "pods": "20"});
    vec![
        json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
            "status": {"allocatable": allocatable},
        }),
        slice(name, 1, 1, devices),
    ]
}

fn slice(node: &str, generation: u32, count: u32, devices: &[Value]) -> Value {
    json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": format!("{node}-{generation}")},
        "spec": {
            "driver": DRIVER, "nodeName": node, "devices": devices,
            "pool": {"name": node, "generation": generation, "resourceSliceCount": count},
        },
    })
}

fn pool() -> Value {
    json!({"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "all"}})
}

fn lowered(objects: &[Value]) -> Lowered {
    let snapshot = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    let catalog = json!(catalog()).to_string();
    let catalog = Catalog::parse(catalog.as_bytes(), "catalogue").unwrap_or_else(|e| panic!("{e}"));
    let snapshot = read_bytes(snapshot.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    lower(&snapshot, &catalog, &LowerOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// A plan: pods of each new node with its type, of each existing one, and of none.
#[derive(Debug, Default, PartialEq)]
struct Planned {
    new: Vec<(String, Vec<String>)>,
    old: BTreeMap<String, Vec<String>>,
    nowhere: Vec<String>,
    why: Vec<String>,
}

impl Planned {
    /// Types of new nodes, and how many pods each has.
    fn bought(&self) -> Vec<(&str, usize)> {
        let mut bought: Vec<_> = self.new.iter().map(|(name, pods)| (name.as_str(), pods.len())).collect();
        bought.sort_unstable();
        bought
    }
}

fn plan(objects: &[Vec<Value>]) -> Planned {
    let problem = lowered(&[objects.concat(), vec![pool()]].concat()).problem;
    let solution = solve(&problem, &Options::default(), &AtomicBool::new(false), &mut |_, _, _| {})
        .unwrap_or_else(|broken| panic!("{broken:?}"));
    let names = |pods: &[stowage_solver::PodId]| -> Vec<String> {
        pods.iter().map(|id| problem.pods[id.index()].name.replace("default/", "")).collect()
    };
    let mut planned = Planned::default();
    for node in &solution.new_nodes {
        planned.new.push((problem.types[node.instance_type.index()].name.clone(), names(&node.pods)));
    }
    planned.new.sort();
    for placement in &solution.placements {
        let name = problem.nodes[placement.node.index()].name.clone();
        planned.old.entry(name).or_default().extend(names(&placement.pods));
    }
    for unplaced in &solution.unplaced {
        planned.nowhere.extend(names(&[unplaced.pod]));
        planned.why.extend(unplaced.reasons.iter().map(|reason| match reason {
            Reason::Blocked(why) => why.clone(),
            other => format!("{other:?}"),
        }));
    }
    planned
}

#[test]
fn counted_devices_are_packed_like_memory() {
    let one = template("one", &[exactly(&json!({}))], &json!([]));
    let two = template("two", &[exactly(&json!({"count": 2}))], &json!([]));
    let objects = [vec![gpu_class(), one, two], pods(2, "a", "one"), pods(3, "b", "two")];
    assert_eq!(plan(&objects).bought(), [("g.four", 2), ("g.four", 3)]);
}

#[test]
fn selectors_and_classes_choose_devices() {
    let big = "device.capacity['gpu.example.com'].memory.compareTo(quantity('40Gi')) >= 0";
    let big = template("big", &[exactly(&selecting(big))], &json!([]));
    let h100 = class("h100", "device.attributes['gpu.example.com'].model == 'H100'");
    let by_class = json!({"name": "gpus", "exactly": {"deviceClassName": "h100"}});
    let by_class = template("class", &[by_class], &json!([]));
    let objects = [vec![gpu_class(), h100, big, by_class], pods(1, "a", "big"), pods(1, "b", "class")];
    assert_eq!(plan(&objects).bought(), [("h.two", 2)]);
}

#[test]
fn sets_within_sets_are_counted_exactly() {
    // Any GPU will do for one, only the big one for the other: both fit on the mixed node, a third does not.
    let any = template("any", &[exactly(&json!({}))], &json!([]));
    let big = template(
        "big",
        &[exactly(&selecting("device.attributes['gpu.example.com'].model == 'H100'"))],
        &json!([]),
    );
    let base = vec![gpu_class(), any, big];
    let both = [base.clone(), pods(1, "any", "any"), pods(1, "big", "big")];
    assert_eq!(plan(&both).bought(), [("h.mixed", 2)]);
    let third = [base, pods(2, "any", "any"), pods(1, "big", "big")];
    assert_eq!(plan(&third).bought(), [("g.one", 1), ("h.mixed", 2)]);
}

#[test]
fn all_devices_of_a_node_leave_none_to_others() {
    let all = template("all", &[exactly(&json!({"allocationMode": "All"}))], &json!([]));
    let one = template("one", &[exactly(&json!({}))], &json!([]));
    let objects = [
        vec![gpu_class(), all, one],
        pods(2, "all", "all"),
        pods(1, "one", "one"),
        vec![pod("none", &json!([]))],
    ];
    let planned = plan(&objects);
    assert_eq!(planned.nowhere, Vec::<String>::new());
    let gpus: Vec<usize> =
        planned.new.iter().map(|(_, pods)| pods.iter().filter(|p| !p.starts_with("none")).count()).collect();
    assert_eq!(gpus, [1, 1, 1], "{planned:?}");
}

#[test]
fn devices_that_match_are_found_in_one_place() {
    let alike = json!([{"requests": ["gpus"], "matchAttribute": "gpu.example.com/numa"}]);
    // Four GPUs on two NUMA nodes: two pairs, no three.
    let pair = template("pair", &[exactly(&json!({"count": 2}))], &alike);
    assert_eq!(
        plan(&[vec![gpu_class(), pair], pods(4, "a", "pair")]).bought(),
        [("g.four", 2), ("g.four", 2)]
    );
    let three = template("three", &[exactly(&json!({"count": 3}))], &alike);
    assert_eq!(plan(&[vec![gpu_class(), three], pods(1, "a", "three")]).nowhere, ["a-0"]);
    // Nor is there any with an attribute that no device has.
    let missing = json!([{"matchAttribute": "gpu.example.com/missing"}]);
    let odd = template("odd", &[exactly(&json!({}))], &missing);
    assert_eq!(plan(&[vec![gpu_class(), odd], pods(1, "a", "odd")]).nowhere, ["a-0"]);
}

#[test]
fn composed_claims_keep_others_off_their_nodes() {
    let alike = json!([{"matchAttribute": "gpu.example.com/numa"}]);
    let pair = template("pair", &[exactly(&json!({"count": 2}))], &alike);
    let one = template("one", &[exactly(&json!({}))], &json!([]));
    let planned = plan(&[vec![gpu_class(), pair, one], pods(1, "pair", "pair"), pods(1, "one", "one")]);
    assert_eq!(planned.bought(), [("g.four", 1), ("g.one", 1)]);
}

#[test]
fn the_first_alternative_that_can_be_had_is_taken() {
    let wish = |model: &str, count: u32| {
        let mut wish = selecting(&format!("device.attributes['gpu.example.com'].model == '{model}'"));
        (wish["name"], wish["deviceClassName"], wish["count"]) =
            (json!(model.to_lowercase()), json!("gpu"), json!(count));
        wish
    };
    let request =
        json!({"name": "gpus", "firstAvailable": [wish("B200", 1), wish("H100", 1), wish("T4", 2)]});
    let objects = [vec![gpu_class(), template("wish", &[request], &json!([]))], pods(2, "a", "wish")];
    // Four T4 hold two pods for three dollars.
    assert_eq!(plan(&objects).bought(), [("g.four", 2)]);
}

#[test]
fn pods_with_one_claim_share_its_node_and_its_devices() {
    let shared = claim("shared", &[exactly(&json!({"count": 4}))]);
    let users: Vec<Value> = (0..3).map(|at| by_claim(&format!("a-{at}"), "shared")).collect();
    assert_eq!(plan(&[vec![gpu_class(), shared], users]).bought(), [("g.four", 3)]);
}

#[test]
fn a_claim_with_devices_ties_its_pods_to_them() {
    let free = node("far", &gpus(4, "T4", 16));
    let shared = given(claim("shared", &[exactly(&json!({}))]), "near", &["gpu-0"]);
    let one = template("one", &[exactly(&json!({}))], &json!([]));
    let objects = [
        vec![gpu_class(), shared, one, by_claim("tied", "shared")],
        node("near", &gpus(1, "T4", 16)),
        free,
        pods(5, "a", "one"),
    ];
    let planned = plan(&objects);
    assert_eq!(planned.old["near"], ["tied"]);
    assert_eq!(planned.old["far"].len(), 4);
    assert_eq!(planned.bought(), [("g.one", 1)]);
}

#[test]
fn what_pools_are_not_complete_is_given_to_no_one() {
    let one = template("one", &[exactly(&json!({}))], &json!([]));
    let base = vec![gpu_class(), one];
    let mut old = node("n", &gpus(4, "T4", 16));
    assert_eq!(plan(&[base.clone(), old.clone(), pods(1, "a", "one")]).old["n"], ["a-0"]);
    // The newest generation counts, and it says that a slice is still to come.
    old.push(slice("n", 2, 2, &gpus(4, "T4", 16)));
    assert_eq!(plan(&[base.clone(), old, pods(1, "a", "one")]).bought(), [("g.one", 1)]);
    let twice = node("n", &[gpu("same", "T4", 16, 0), gpu("same", "T4", 16, 0)]);
    assert_eq!(plan(&[base, twice, pods(1, "a", "one")]).bought(), [("g.one", 1)]);
}

#[test]
fn watching_takes_nothing_but_needs_something_to_watch() {
    let watch =
        template("watch", &[exactly(&json!({"adminAccess": true, "allocationMode": "All"}))], &json!([]));
    let two = template("two", &[exactly(&json!({"count": 2}))], &json!([]));
    let objects = [vec![gpu_class(), watch, two], pods(3, "watch", "watch"), pods(2, "two", "two")];
    assert_eq!(plan(&objects).bought(), [("g.four", 5)]);
}

#[test]
fn tainted_devices_are_for_those_who_tolerate_them() {
    let mut tainted = gpu("gpu-0", "T4", 16, 0);
    tainted["taints"] = json!([{"key": "broken", "effect": "NoSchedule"}]);
    let tolerant = json!({"tolerations": [{"key": "broken", "operator": "Exists"}]});
    let base = vec![
        gpu_class(),
        template("one", &[exactly(&json!({}))], &json!([])),
        template("brave", &[exactly(&tolerant)], &json!([])),
    ];
    let planned = plan(&[base, node("n", &[tainted]), pods(1, "a", "one"), pods(1, "b", "brave")]);
    assert_eq!(
        (planned.old["n"].as_slice(), planned.bought()),
        (&["b-0".to_owned()][..], vec![("g.one", 1)])
    );
}

#[test]
fn what_is_missing_is_a_reason_on_the_pod() {
    let bad = |expression: &str| template("t", &[exactly(&selecting(expression))], &json!([]));
    let of_class =
        |name: &str| template("t", &[json!({"name": "a", "exactly": {"deviceClassName": name}})], &json!([]));
    let mut ending = claim("c", &[exactly(&json!({}))]);
    ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    for (objects, why) in [
        (vec![by_claim("a", "gone")], "resource claim gone does not exist in namespace default"),
        (vec![by_template("a", "gone")], "resource claim template gone does not exist in namespace default"),
        (
            vec![pod("a", &json!([{"name": "x"}]))],
            "its resource claim x names neither a claim nor a template",
        ),
        (vec![of_class("gone"), by_template("a", "t")], "device class gone does not exist"),
        (vec![ending, by_claim("a", "c")], "resource claim c is being deleted"),
        (
            vec![bad("device.driver =="), by_template("a", "t")],
            "a request for device class gpu has a selector that cannot be read: it ends too early",
        ),
        (
            vec![template("t", &[exactly(&json!({"count": 33}))], &json!([])), by_template("a", "t")],
            "a claim asks for more than 32 devices, which none may have",
        ),
        (
            vec![template("t", &[json!({"name": "odd"})], &json!([])), by_template("a", "t")],
            "request odd is of a kind that is not known",
        ),
    ] {
        let planned = plan(&[vec![gpu_class()], objects]);
        assert_eq!(planned.why, [why]);
    }
}

#[test]
fn what_a_selector_cannot_tell_closes_the_node_to_it() {
    let odd =
        template("odd", &[exactly(&selecting("device.attributes['gpu.example.com'].odd == 1"))], &json!([]));
    let objects = [vec![gpu_class(), odd], pods(1, "a", "odd")].concat();
    let planned = plan(std::slice::from_ref(&objects));
    assert_eq!(planned.nowhere, ["a-0"]);
    assert!(lowered(&objects).notes.contains(&Note::DeviceSelector {
        class: "gpu".to_owned(),
        count: 4,
        problem: "there is no odd".to_owned()
    }));
}

#[test]
fn a_nominated_pod_has_its_devices_as_good_as_taken() {
    let one = template("one", &[exactly(&json!({}))], &json!([]));
    let all = template("all", &[exactly(&json!({"allocationMode": "All"}))], &json!([]));
    let mut nominated = by_template("first", "one");
    nominated["status"] = json!({"phase": "Pending", "nominatedNodeName": "n"});
    let base = [vec![gpu_class(), one, all, nominated], node("n", &gpus(2, "T4", 16))];
    let counted = plan(&[base.concat(), pods(2, "a", "one")]);
    assert_eq!((counted.old["n"].len(), counted.bought()), (1, vec![("g.one", 1)]));
    let composed = plan(&[base.concat(), pods(1, "a", "all")]);
    assert_eq!((composed.old.len(), composed.bought()), (0, vec![("g.one", 1)]));
}

#[test]
fn made_claims_stand_for_their_template() {
    let one = template("one", &[exactly(&json!({}))], &json!([]));
    let made = given(claim("a-gpus-x7k2p", &[exactly(&json!({}))]), "n", &["gpu-0"]);
    let mut pod = by_template("a", "one");
    pod["status"] = json!({"resourceClaimStatuses": [{"name": "gpus", "resourceClaimName": "a-gpus-x7k2p"}]});
    let planned = plan(&[vec![gpu_class(), one.clone(), made, pod.clone()], node("n", &gpus(1, "T4", 16))]);
    assert_eq!(planned.old["n"], ["a"]);
    // Whoever makes claims may say that none is needed.
    pod["status"] = json!({"resourceClaimStatuses": [{"name": "gpus"}]});
    assert_eq!(plan(&[vec![gpu_class(), one, pod]]).bought(), [("c.plain", 1)]);
}

#[test]
fn what_is_not_honoured_is_said() {
    let mut part = gpu("part", "T4", 8, 0);
    part["consumesCounters"] = json!([{"counterSet": "gpu-0", "counters": {"slices": {"value": "1"}}}]);
    let mut several = gpu("several", "T4", 8, 0);
    several["allowMultipleAllocations"] = json!(true);
    let mut far = slice("x", 1, 1, &gpus(1, "T4", 16));
    far["spec"]["nodeName"] = Value::Null;
    far["spec"]["allNodes"] = json!(true);
    let share = json!({"capacity": {"requests": {"memory": "4Gi"}}});
    let daemon = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"},
        "spec": {"template": {"spec": {"resourceClaims": [{"name": "x", "resourceClaimTemplateName": "one"}]}}},
    });
    let objects = [
        vec![gpu_class(), template("one", &[exactly(&share)], &json!([])), far, daemon],
        node("n", &[part, several]),
        pods(1, "a", "one"),
    ]
    .concat();
    let rules: Vec<Rule> = lowered(&objects)
        .notes
        .into_iter()
        .filter_map(|note| if let Note::NotHonoured { rule, .. } = note { Some(rule) } else { None })
        .collect();
    let told = [
        Rule::DeviceShares,
        Rule::DaemonSetClaims,
        Rule::PartitionableDevices,
        Rule::ConsumableCapacity,
        Rule::SharedDevices,
    ];
    assert_eq!(rules, told);
}
