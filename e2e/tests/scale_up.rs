//! A thousand pods at once: a Deployment spread over zones, and `StatefulSets` whose volumes are where they are.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "common/world.rs"]
mod common;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stowage_e2e::World;

use common::{DEPLOYMENTS, POOLS, deployment, node_pool, nothing_is_left_over, settled};

const ZONES: [&str; 3] = ["us-east-1a", "us-east-1b", "us-east-1c"];

/// Volumes of EBS that are there already, one zone each, and the claims that ask for them.
fn volumes(world: &World, set: &str, count: usize) {
    for at in 0..count {
        let zone = ZONES[at % ZONES.len()];
        let (claim, volume) = (format!("data-{set}-{at}"), format!("vol-{set}-{at}"));
        let persistent = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume},
            "spec": {
                "capacity": {"storage": "10Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "gp3",
                "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": volume},
                "claimRef": {"namespace": "default", "name": claim},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "topology.kubernetes.io/zone", "operator": "In", "values": [zone]},
                ]}]}},
            },
        });
        world.client().create("/api/v1/persistentvolumes", &persistent).unwrap();
        let asked = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": claim},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "gp3", "volumeName": volume,
                "resources": {"requests": {"storage": "10Gi"}},
            },
        });
        world.client().create("/api/v1/namespaces/default/persistentvolumeclaims", &asked).unwrap();
    }
}

fn stateful_set(name: &str, replicas: usize) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
        "spec": {
            "serviceName": name, "replicas": replicas, "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "containers": [{
                        "name": "db", "image": "db", "resources": {"requests": {"cpu": "1", "memory": "4Gi"}},
                        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    }],
                },
            },
            "volumeClaimTemplates": [{
                "metadata": {"name": "data"},
                "spec": {
                    "accessModes": ["ReadWriteOnce"], "storageClassName": "gp3",
                    "resources": {"requests": {"storage": "10Gi"}},
                },
            }],
        },
    })
}

#[test]
fn a_thousand_pods_run_where_they_must_for_what_was_planned() {
    let world = World::start("scale-up").unwrap();
    world.client().create(POOLS, &node_pool("default", &json!({}))).unwrap();
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "gp3"},
        "provisioner": "ebs.csi.aws.com", "volumeBindingMode": "WaitForFirstConsumer",
    });
    world.client().create("/apis/storage.k8s.io/v1/storageclasses", &class).unwrap();
    let spread = json!({"topologySpreadConstraints": [{
        "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }]});
    for set in ["db", "queue"] {
        volumes(&world, set, 30);
        world
            .client()
            .create("/apis/apps/v1/namespaces/default/statefulsets", &stateful_set(set, 30))
            .unwrap();
    }
    world.client().create(DEPLOYMENTS, &deployment("web", 940, "250m", &spread)).unwrap();
    let controller = world.controller("controller", &[]).unwrap();
    let claims = settled(&world, 1_000);
    nothing_is_left_over(&world);

    // Every pod with a volume runs where that is.
    let zone_of: BTreeMap<String, String> = world
        .nodes()
        .unwrap()
        .iter()
        .map(|node| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let zone = &node["metadata"]["labels"]["topology.kubernetes.io/zone"];
            (text(&node["metadata"]["name"]), text(zone))
        })
        .collect();
    let mut web = BTreeMap::<&str, usize>::new();
    for pod in &world.pods().unwrap() {
        let zone = &zone_of[pod["spec"]["nodeName"].as_str().unwrap()];
        let name = pod["metadata"]["name"].as_str().unwrap();
        if let Some(at) = name.strip_prefix("db-").or_else(|| name.strip_prefix("queue-")) {
            assert_eq!(zone, ZONES[at.parse::<usize>().unwrap() % ZONES.len()], "{name}");
        } else {
            *web.entry(zone).or_default() += 1;
        }
    }
    let (least, most) = (web.values().min().unwrap(), web.values().max().unwrap());
    assert!(most - least <= 1, "{web:?}");

    // What runs costs what was planned.
    let price = |of_type: &str, zone: &str| {
        let of = world.catalog.types.iter().find(|t| t.name == of_type).unwrap();
        let offering = of.offerings.iter().find(|o| (o.zone(), o.capacity_type()) == (zone, "on-demand"));
        offering.unwrap().price
    };
    let realised: f64 =
        world.machines().unwrap().iter().map(|machine| price(&machine.instance_type, &machine.zone)).sum();
    // By claim: one that came to nothing is in no sum.
    let log = controller.log().unwrap();
    let word = |line: &str, key: &str| {
        let after = line.split(&format!("{key}=")).nth(1).unwrap_or_default();
        after.split_whitespace().next().unwrap_or_default().trim_matches('"').to_owned()
    };
    let asked = log.lines().filter(|line| line.contains("asked for a node"));
    let prices: BTreeMap<String, f64> =
        asked.map(|line| (word(line, "claim"), word(line, "price").parse().unwrap())).collect();
    let planned: f64 = claims.iter().map(|claim| prices[claim["metadata"]["name"].as_str().unwrap()]).sum();
    println!("{} nodes, {realised:.4} $/h, planned {planned:.4} $/h", claims.len());
    assert!(realised <= planned * 1.02, "{realised} against {planned}");
}
