//! Nodes that exist, what runs there, and the `DaemonSet`s that run everywhere.

use serde_json::{Map, Value, json};

use super::catalog::{CAPACITY_TYPES, ZONES};
use super::pod::{self, Service};
use super::pool::TAINT;
use super::rule;
use crate::daemon;
use crate::random::Random;

/// A node that exists.
pub(super) struct Existing {
    pub(super) name: String,
    object: Value,
    /// Volumes that can be attached, where its CSI driver says.
    attach: Option<usize>,
}

pub(super) fn generate(random: &mut Random, catalog: &Value, pools: &[Value]) -> Vec<Existing> {
    let count = random.pick(&[0, 1, 2, 2, 3]);
    (0..count).map(|at| one(at, random, catalog, pools)).collect()
}

fn one(at: usize, random: &mut Random, catalog: &Value, pools: &[Value]) -> Existing {
    let types = catalog.as_array().map_or(&[][..], Vec::as_slice);
    let shape = random.pick(types);
    let (zone, zone_id) = random.pick(&ZONES);
    let name = format!("node-{at}");
    let mut labels = Map::new();
    let mut put = |key: &str, value: &str| labels.insert(key.to_owned(), json!(value));
    put("kubernetes.io/hostname", &name);
    put("kubernetes.io/os", "linux");
    put("kubernetes.io/arch", shape["architecture"].as_str().unwrap_or_default());
    put("node.kubernetes.io/instance-type", shape["name"].as_str().unwrap_or_default());
    put("topology.kubernetes.io/region", "us-east-1");
    put("topology.kubernetes.io/zone", zone);
    put("topology.k8s.aws/zone-id", zone_id);
    // An older node may lack what the EBS driver puts there.
    if random.percent(80) {
        put("topology.ebs.csi.aws.com/zone", zone);
        put("failure-domain.beta.kubernetes.io/zone", zone);
    }
    let mut taints = Vec::new();
    if random.percent(70) {
        let pool = random.pick(pools);
        put("karpenter.sh/nodepool", pool["metadata"]["name"].as_str().unwrap_or_default());
        put("karpenter.sh/capacity-type", random.pick(&CAPACITY_TYPES));
        put("karpenter.sh/registered", "true");
        put("karpenter.sh/initialized", "true");
        for (key, value) in shape["labels"].as_object().into_iter().flatten() {
            put(key, value.as_str().unwrap_or_default());
        }
        for (key, value) in pool["spec"]["template"]["metadata"]["labels"].as_object().into_iter().flatten() {
            put(key, value.as_str().unwrap_or_default());
        }
        taints.extend(pool["spec"]["template"]["spec"]["taints"].as_array().cloned().unwrap_or_default());
    } else {
        put("eks.amazonaws.com/nodegroup", "system");
        if random.percent(30) {
            taints.push(json!({"key": TAINT.0, "value": TAINT.1, "effect": "NoSchedule"}));
        }
    }
    let cordoned = random.percent(8);
    let allocatable = json!({
        "cpu": format!("{}m", random.within(1, 4) * 900),
        "memory": format!("{}Mi", random.within(2, 10) * 900),
        "pods": random.pick(&["5", "8", "16"]),
        "ephemeral-storage": "18Gi",
    });
    let mut spec = json!({"taints": taints});
    if cordoned {
        spec["unschedulable"] = json!(true);
    }
    let object = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": spec,
        "status": {"allocatable": allocatable, "capacity": allocatable},
    });
    let attach = random.percent(40).then(|| random.within(1, 3));
    Existing { name, object, attach }
}

/// The nodes and what their CSI drivers say.
pub(super) fn objects(nodes: &[Existing]) -> Vec<Value> {
    let drivers = nodes.iter().filter_map(|n| Some(csi_node(&n.name, n.attach?)));
    nodes.iter().map(|n| n.object.clone()).chain(drivers).collect()
}

/// What the EBS driver says of a node: so many volumes, and that it serves the in-tree driver's too.
pub(crate) fn csi_node(name: &str, attach: usize) -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "CSINode",
        "metadata": {
            "name": name,
            "annotations": {"storage.alpha.kubernetes.io/migrated-plugins": "kubernetes.io/aws-ebs"},
        },
        "spec": {"drivers": [{
            "name": "ebs.csi.aws.com", "nodeID": name, "topologyKeys": [], "allocatable": {"count": attach},
        }]},
    })
}

pub(super) fn daemon_sets(random: &mut Random) -> Vec<Value> {
    let mut out = Vec::new();
    if random.percent(50) {
        let spec = json!({
            "tolerations": [{"operator": "Exists"}],
            "containers": [pod::container("50m", "64Mi")],
        });
        out.push(daemon_set("agent", &spec));
    }
    if random.percent(20) {
        let spec = json!({
            "nodeSelector": {"kubernetes.io/arch": "amd64"},
            "containers": [pod::container("150m", "256Mi")],
        });
        out.push(daemon_set("tracer", &spec));
    }
    if random.percent(15) {
        let mut container = pod::container("20m", "32Mi");
        container["ports"] = json!([{"containerPort": 80, "hostPort": rule::PORT}]);
        let spec = json!({
            "nodeSelector": {"karpenter.sh/capacity-type": "spot"},
            "tolerations": [{"operator": "Exists"}],
            "containers": [container],
        });
        out.push(daemon_set("spot-watch", &spec));
    }
    out
}

fn daemon_set(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name, "namespace": "lab"},
        "spec": {
            "selector": {"matchLabels": {"daemon": name}},
            "template": {"metadata": {"labels": {"daemon": name}}, "spec": spec},
        },
    })
}

/// Running pods: those of `DaemonSet`s, replicas of services that are pending too, and others.
pub(super) fn running(
    random: &mut Random,
    nodes: &[Existing],
    daemons: &[Value],
    services: &[Service],
) -> Vec<Value> {
    let mut out = Vec::new();
    for node in nodes {
        out.extend(daemon::pods_on(&node.object, daemons));
        for at in 0..random.pick(&[0, 1, 1, 2, 3]) {
            let name = format!("old-{}-{at}", node.name);
            let mut pod = pod::running(random, services, &name);
            pod["spec"]["nodeName"] = json!(node.name);
            pod["status"] = json!({"phase": "Running"});
            if random.percent(6) {
                pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }
            out.push(pod);
        }
    }
    out
}
