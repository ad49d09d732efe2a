//! Services and their pods, pending and running.

use serde_json::{Value, json};

use super::node::Existing;
use super::rule;
use super::volume::{Storage, Volumes};
use crate::random::Random;

/// Names of services, which are the value of their pods' label `app`.
pub(super) const APPS: [&str; 4] = ["web", "api", "cache", "jobs"];

/// Pods that are alike.
pub(super) struct Service {
    app: &'static str,
    namespace: &'static str,
    replicas: usize,
    /// Pods of the second version are those with an odd number.
    versions: usize,
    tier: &'static str,
    spec: Value,
    storage: Option<Storage>,
}

/// A container with requests.
pub(super) fn container(cpu: &str, memory: &str) -> Value {
    json!({"name": "main", "image": "main", "resources": {"requests": {"cpu": cpu, "memory": memory}}})
}

pub(super) fn services(random: &mut Random, nodes: &[Existing], volumes: &mut Volumes) -> Vec<Service> {
    let count = random.within(2, 4);
    // Together 5 to 15 pods.
    let most = 15 / count;
    (0..count).map(|at| one(at, random.within(3, most), random, nodes, volumes)).collect()
}

fn one(
    at: usize,
    replicas: usize,
    random: &mut Random,
    nodes: &[Existing],
    volumes: &mut Volumes,
) -> Service {
    let app = APPS[at];
    let namespace = random.pick(&["shop", "shop", "data", "lab"]);
    let mut spec = json!({"containers": [size(random)]});
    resources(random, &mut spec);
    rule::node_rules(random, &mut spec, nodes);
    rule::spread(random, &mut spec, app);
    rule::pod_rules(random, &mut spec, app);
    rule::host_ports(random, &mut spec);
    if random.percent(15) {
        spec["priorityClassName"] = json!(random.pick(&["important", "spare"]));
    }
    let storage = random.percent(22).then(|| volumes.storage(random, namespace, app));
    Service {
        app,
        namespace,
        replicas,
        versions: random.pick(&[1, 1, 2]),
        tier: random.pick(&["front", "back"]),
        spec,
        storage,
    }
}

fn size(random: &mut Random) -> Value {
    let cpu = random.pick(&["100m", "250m", "400m", "500m", "800m", "1", "1500m", "1900m"]);
    let memory = random.pick(&["128Mi", "512Mi", "1Gi", "2Gi", "3Gi"]);
    container(cpu, memory)
}

/// Ways in which pods ask for more than their containers do one by one.
fn resources(random: &mut Random, spec: &mut Value) {
    match random.within(0, 24) {
        0 => {
            // As the API server leaves it.
            spec["runtimeClassName"] = json!("heavy");
            spec["overhead"] = json!({"cpu": "120m", "memory": "200Mi"});
        }
        1 => {
            let mut first = container("1200m", "1Gi");
            first["name"] = json!("first");
            spec["initContainers"] = json!([first]);
        }
        2 => {
            let mut sidecar = container("300m", "256Mi");
            sidecar["name"] = json!("sidecar");
            sidecar["restartPolicy"] = json!("Always");
            spec["initContainers"] = json!([sidecar]);
        }
        3 => spec["resources"] = json!({"requests": {"cpu": "3200m", "memory": "7Gi"}}),
        4 => {
            let limits = &mut spec["containers"][0]["resources"];
            limits["limits"] = json!({"nvidia.com/gpu": "1"});
            limits["requests"]["nvidia.com/gpu"] = json!("1");
        }
        5 => spec["containers"][0]["resources"]["requests"]["ephemeral-storage"] = json!("7Gi"),
        // More than any type has.
        6 => spec["containers"][0]["resources"]["requests"]["memory"] = json!("60Gi"),
        _ => {}
    }
}

/// The pending pods of the services.
pub(super) fn pending(random: &mut Random, services: &[Service], volumes: &mut Volumes) -> Vec<Value> {
    let mut out = Vec::new();
    for service in services {
        for at in 0..service.replicas {
            let name = format!("{}-{at}", service.app);
            let mut pod = pod(service, &name, at);
            if let Some(storage) = &service.storage {
                volumes.attach(random, &mut pod, storage, &name);
            }
            pod["status"] = json!({"phase": "Pending"});
            out.push(pod);
        }
    }
    out
}

fn pod(service: &Service, name: &str, at: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": service.namespace,
            "labels": {"app": service.app, "tier": service.tier, "version": format!("v{}", at % service.versions)},
        },
        "spec": service.spec,
    })
}

/// A running pod: small, of a service or of none, with rules between pods as the service has them.
pub(super) fn running(random: &mut Random, services: &[Service], name: &str) -> Value {
    let service = random.pick(&(0..services.len()).collect::<Vec<_>>());
    let mut pod = pod(&services[service], name, random.within(0, 1));
    let ports = pod["spec"]["containers"][0]["ports"].take();
    let affinity = pod["spec"]["affinity"]["podAntiAffinity"].take();
    pod["spec"] = json!({"containers": [container("100m", "128Mi")]});
    if !affinity.is_null() {
        pod["spec"]["affinity"] = json!({"podAntiAffinity": affinity});
    }
    if !ports.is_null() && random.percent(50) {
        pod["spec"]["containers"][0]["ports"] = ports;
    }
    if random.percent(25) {
        pod["metadata"]["labels"] = json!({"app": "other", "tier": "back"});
    }
    pod
}
