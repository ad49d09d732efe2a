//! Devices: what drivers publish on nodes and would on types, classes, and claims of pods.
//!
//! Drawn from numbers of its own and added to a cluster that is made already, so that it changes nothing else of it.

use serde_json::{Value, json};

use crate::case::Case;
use crate::random::Random;

/// How many clusters in a hundred have devices.
const CLUSTERS: u64 = 30;

const GPU: &str = "gpu.example.com";
const NIC: &str = "nic.example.com";

/// Adds devices to some clusters.
pub(super) fn add(seed: u64, case: &mut Case) {
    let mut random = Random::new(!seed);
    let random = &mut random;
    if !random.percent(CLUSTERS) {
        return;
    }
    for of_type in case.catalog.as_array_mut().into_iter().flatten() {
        let slices = slices_of(of_type["name"].as_str().unwrap_or_default());
        if !slices.is_empty() && random.percent(85) {
            of_type["resourceSlices"] = json!(slices);
        }
    }
    case.objects.extend(classes());
    let free = existing(random, case);
    pods(random, case, free);
}

fn gpu(name: &str, model: &str, gib: u32, numa: u32) -> Value {
    json!({
        "name": name,
        "attributes": {
            "model": {"string": model}, "numa": {"int": numa}, "ready": {"bool": true}, "driverVersion": {"version": "1.10.2"},
            "pci.example.com/root": {"string": format!("pci{numa}")},
        },
        "capacity": {"memory": {"value": format!("{gib}Gi")}},
    })
}

fn nic(name: &str, numa: u32) -> Value {
    json!({"name": name, "attributes": {"pci.example.com/root": {"string": format!("pci{numa}")}}})
}

/// What drivers would publish on a type.
fn slices_of(name: &str) -> Vec<Value> {
    let gpus = |devices: &[Value]| json!({"driver": GPU, "devices": devices});
    match name {
        "c1.large" => vec![gpus(&[gpu("gpu-0", "small", 16, 0)])],
        "r1.large" => vec![gpus(&[gpu("gpu-0", "small", 16, 0), gpu("gpu-1", "small", 16, 1)])],
        "m2.xlarge" => {
            let four = [
                gpu("gpu-0", "small", 16, 0),
                gpu("gpu-1", "big", 80, 0),
                gpu("gpu-2", "small", 16, 1),
                gpu("gpu-3", "big", 80, 1),
            ];
            vec![
                gpus(&four),
                json!({"driver": NIC, "devices": [nic("nic-0", 0), nic("nic-1", 1), nic("nic-2", 2)]}),
            ]
        }
        "g1.xlarge" => vec![gpus(&[gpu("gpu-0", "big", 80, 0)])],
        _ => Vec::new(),
    }
}

/// They are the same in all clusters.
fn classes() -> [Value; 3] {
    let class = |name: &str, expression: &str| {
        let selectors = json!([{"cel": {"expression": expression}}]);
        json!({
            "apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": name},
            "spec": {"selectors": selectors},
        })
    };
    [
        class("gpu", "device.driver == 'gpu.example.com'"),
        class(
            "big-gpu",
            "device.driver == 'gpu.example.com' && \
             device.capacity['gpu.example.com'].memory.isGreaterThan(quantity('20Gi'))",
        ),
        class("nic", "device.driver == 'nic.example.com'"),
    ]
}

/// A `ResourceSlice` of a node.
pub(crate) fn slice(node: &str, at: usize, driver: &str, devices: &Value) -> Value {
    json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": format!("{node}-{at}")},
        "spec": {
            "driver": driver, "nodeName": node, "devices": devices,
            "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
        },
    })
}

/// Slices of the nodes that exist, and claims that have some of their GPUs. Returns what is free: node and device.
fn existing(random: &mut Random, case: &mut Case) -> Vec<(String, String)> {
    let nodes: Vec<(String, String)> = case
        .of_kind("Node")
        .map(|node| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (
                text(&node["metadata"]["name"]),
                text(&node["metadata"]["labels"]["node.kubernetes.io/instance-type"]),
            )
        })
        .collect();
    let mut free = Vec::new();
    for (node, of_type) in nodes {
        if random.percent(20) {
            continue;
        }
        for (at, of_driver) in slices_of(&of_type).into_iter().enumerate() {
            let driver = of_driver["driver"].as_str().unwrap_or_default();
            let mut object = slice(&node, at, driver, &of_driver["devices"]);
            if random.percent(8) {
                // The driver is about to publish another.
                object["spec"]["pool"]["resourceSliceCount"] = json!(2);
            }
            let complete = object["spec"]["pool"]["resourceSliceCount"] == 1;
            case.objects.push(object);
            for device in of_driver["devices"].as_array().into_iter().flatten() {
                let device = device["name"].as_str().unwrap_or_default();
                if driver == GPU && random.percent(30) {
                    let mut taken =
                        claim("data", &format!("taken-{node}-{device}"), &json!([exactly("gpu")]));
                    give(&mut taken, &node, device);
                    case.objects.push(taken);
                } else if driver == GPU && complete {
                    free.push((node.clone(), device.to_owned()));
                }
            }
        }
    }
    free
}

/// Gives a claim a GPU of a node, and someone who uses it, so that nobody takes it away again.
fn give(claim: &mut Value, node: &str, device: &str) {
    claim["status"] = json!({
        "allocation": {
            "devices": {"results": [{"request": "gpus", "driver": GPU, "pool": node, "device": device}]},
            "nodeSelector": {"nodeSelectorTerms": [
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]},
            ]},
        },
        "reservedFor": [{"resource": "pods", "name": "someone", "uid": "00000000-0000-0000-0000-000000000000"}],
    });
}

fn exactly(class: &str) -> Value {
    json!({"name": "gpus", "exactly": {"deviceClassName": class}})
}

fn claim(namespace: &str, name: &str, requests: &Value) -> Value {
    json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": {"name": name, "namespace": namespace},
        "spec": {"devices": {"requests": requests}},
    })
}

/// What a claim asks for.
fn asked(random: &mut Random, namespace: &str) -> Value {
    let selected = |expression: &str| {
        let mut request = exactly("gpu");
        request["exactly"]["selectors"] = json!([{"cel": {"expression": expression}}]);
        json!({"requests": [request]})
    };
    let with = |more: &Value| {
        let mut request = exactly("gpu");
        for (key, value) in more.as_object().into_iter().flatten() {
            request["exactly"][key] = value.clone();
        }
        request
    };
    let network = json!({"name": "net", "exactly": {"deviceClassName": "nic"}});
    match random.within(0, 15) {
        0..=2 => json!({"requests": [exactly("gpu")]}),
        3 => json!({"requests": [with(&json!({"count": 2}))]}),
        4 => selected("device.attributes['gpu.example.com'].model == 'big'"),
        5 => selected(
            "cel.bind(gpu, device.attributes['gpu.example.com'], gpu.ready && gpu.numa == 0 && \
             gpu.driverVersion.isGreaterThan(semver('1.9.0')))",
        ),
        6 => json!({"requests": [exactly("big-gpu")]}),
        7 => json!({"requests": [with(&json!({"allocationMode": "All"}))]}),
        8 | 9 => json!({
            "requests": [with(&json!({"count": 2}))],
            "constraints": [{"requests": ["gpus"], "matchAttribute": "gpu.example.com/numa"}],
        }),
        10 => json!({
            "requests": [exactly("gpu"), network], "constraints": [{"matchAttribute": "pci.example.com/root"}],
        }),
        11 => json!({"requests": [exactly("gpu"), network]}),
        12 | 13 => json!({"requests": [{"name": "gpus", "firstAvailable": [
            {"name": "big", "deviceClassName": "big-gpu"},
            {"name": "small", "deviceClassName": "gpu", "count": 2},
        ]}]}),
        14 if namespace == "lab" => json!({"requests": [with(&json!({"adminAccess": true}))]}),
        14 => json!({"requests": [exactly("missing")]}),
        _ => selected("device.attributes['gpu.example.com'].model == 'huge'"),
    }
}

/// Gives the pods of some services claims.
fn pods(random: &mut Random, case: &mut Case, mut free: Vec<(String, String)>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut services: Vec<(String, String)> = case
        .pending()
        .map(|pod| (text(&pod["metadata"]["namespace"]), text(&pod["metadata"]["labels"]["app"])))
        .collect();
    services.dedup();
    let mut more = Vec::new();
    for (namespace, app) in services {
        if !random.percent(40) {
            continue;
        }
        let name = format!("{app}-devices");
        let mut reference = json!([{"name": "gpus", "resourceClaimName": name}]);
        match random.within(0, 9) {
            0 | 1 => {
                let mut shared = claim(&namespace, &name, &json!([]));
                shared["spec"]["devices"] = asked(random, &namespace);
                more.push(shared);
            }
            2 if !free.is_empty() => {
                let at = random.within(0, free.len() - 1);
                let (node, device) = free.remove(at);
                let mut tied = claim(&namespace, &name, &json!([exactly("gpu")]));
                give(&mut tied, &node, &device);
                more.push(tied);
            }
            3 => {}
            _ => {
                let mut template = claim(&namespace, &name, &json!([]));
                template["kind"] = json!("ResourceClaimTemplate");
                template["spec"] = json!({"spec": {"devices": asked(random, &namespace)}});
                more.push(template);
                reference = json!([{"name": "gpus", "resourceClaimTemplateName": name}]);
            }
        }
        for pod in case.objects.iter_mut().filter(|o| o["kind"] == "Pod" && o["spec"]["nodeName"].is_null()) {
            if pod["metadata"]["namespace"] == json!(namespace)
                && pod["metadata"]["labels"]["app"] == json!(app)
            {
                pod["spec"]["resourceClaims"] = reference.clone();
            }
        }
    }
    case.objects.extend(more);
}
