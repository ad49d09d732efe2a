//! Rules that the rest of a cluster does without: each is put on some clusters as they are.
//!
//! Drawn from numbers of its own and added to a cluster that is made already, so that it changes nothing else of it.

use serde_json::{Value, json};

use super::catalog::ZONES;
use super::pool::{LABEL, TAINT};
use super::rule;
use crate::case::Case;
use crate::random::Random;

/// How many clusters in a hundred have some of these; each has every one of them this often.
const CLUSTERS: u64 = 45;
const EACH: u64 = 22;

/// Puts some of them on some clusters.
pub(super) fn add(seed: u64, case: &mut Case) {
    let mut random = Random::new(seed ^ 0x7477_6973_7473);
    let random = &mut random;
    if !random.percent(CLUSTERS) {
        return;
    }
    let twists: [fn(&mut Random, &mut Case); 10] = [
        unloved_nodes,
        sandboxes,
        spread_by_default,
        restricted_label,
        several_wishes,
        other_keys_of_volumes,
        windows,
        min_values,
        limits_alone,
        no_wishes,
    ];
    for twist in twists {
        if random.percent(EACH) {
            twist(random, case);
        }
    }
}

/// `RuntimeClass`es, which are the same in all clusters.
pub(super) fn runtime_classes() -> [Value; 2] {
    let class = |name: &str| {
        json!({
            "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}, "handler": name,
            "overhead": {"podFixed": {"cpu": "120m", "memory": "200Mi"}},
        })
    };
    let mut sandboxed = class("sandboxed");
    sandboxed["scheduling"] = json!({
        "nodeSelector": {LABEL.0: LABEL.1[0]}, "tolerations": [{"key": TAINT.0, "operator": "Exists"}],
    });
    [class("heavy"), sandboxed]
}

/// The pending pods of one service.
fn service<'c>(random: &mut Random, case: &'c mut Case) -> Vec<&'c mut Value> {
    let of = |pod: &Value| (pod["metadata"]["namespace"].clone(), pod["metadata"]["labels"]["app"].clone());
    let mut all: Vec<_> =
        case.pending().filter(|p| p["metadata"]["labels"]["tier"].is_string()).map(of).collect();
    all.dedup();
    let one = random.pick(&all);
    case.objects
        .iter_mut()
        .filter(|o| o["kind"] == "Pod" && o["spec"]["nodeName"].is_null() && of(o) == one)
        .collect()
}

/// What is said once of how to plan a cluster. Kubernetes knows nothing of it.
fn option(case: &mut Case, key: &str, value: &str) {
    let known = case.objects.iter_mut().find(|o| o["kind"] == "ConfigMap");
    match known {
        Some(map) => map["data"][key] = json!(value),
        None => case.objects.push(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "how-to-plan", "namespace": "default"},
            "data": {key: value},
        })),
    }
}

/// Nodes that pods would rather not go to.
fn unloved_nodes(random: &mut Random, case: &mut Case) {
    for object in &mut case.objects {
        let spec = match object["kind"].as_str() {
            Some("NodePool") => &mut object["spec"]["template"]["spec"],
            Some("Node") => &mut object["spec"],
            _ => continue,
        };
        if random.percent(50) {
            let mut taints = spec["taints"].as_array().cloned().unwrap_or_default();
            taints.push(json!({"key": "example.com/spare", "value": "yes", "effect": "PreferNoSchedule"}));
            spec["taints"] = json!(taints);
        }
    }
}

/// Pods that run in sandboxes, which need nodes of a kind, and more of them.
fn sandboxes(random: &mut Random, case: &mut Case) {
    let name = random.pick(&["heavy", "sandboxed"]);
    for pod in service(random, case) {
        let spec = &mut pod["spec"];
        // The API server refuses a pod that says otherwise than its class.
        if spec["runtimeClassName"].is_null() && spec["nodeSelector"][LABEL.0].is_null() {
            spec["runtimeClassName"] = json!(name);
        }
    }
}

/// The scheduler that spreads what does not say how. All pods are its own; some belong to a `ReplicaSet`.
pub(crate) const SPREADING: &str = "spreading-scheduler";

/// The constraints that it is configured with.
pub(crate) fn default_constraints() -> Value {
    json!([
        {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"},
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"},
    ])
}

/// Every `ReplicaSet` that pods may belong to: the scheduler asks them which pods are alike.
pub(crate) fn replica_sets() -> Vec<Value> {
    let mut out = Vec::new();
    for (namespace, _) in super::NAMESPACES {
        for app in super::pod::APPS {
            for (tier, version) in [("front", "v0"), ("front", "v1"), ("back", "v0"), ("back", "v1")] {
                let labels = json!({"app": app, "tier": tier, "version": version});
                out.push(json!({
                    "apiVersion": "apps/v1", "kind": "ReplicaSet",
                    "metadata": {"name": format!("{app}-{tier}-{version}"), "namespace": namespace},
                    "spec": {
                        "replicas": 0, "selector": {"matchLabels": labels},
                        "template": {
                            "metadata": {"labels": labels},
                            "spec": {"containers": [{"name": "main", "image": "main"}]},
                        },
                    },
                }));
            }
        }
    }
    out
}

fn spread_by_default(random: &mut Random, case: &mut Case) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for pod in case.objects.iter_mut().filter(|o| o["kind"] == "Pod" && o["spec"]["nodeName"].is_null()) {
        pod["spec"]["schedulerName"] = json!(SPREADING);
    }
    for _ in 0..2 {
        for pod in service(random, case) {
            let labels = &pod["metadata"]["labels"];
            let name =
                format!("{}-{}-{}", text(&labels["app"]), text(&labels["tier"]), text(&labels["version"]));
            pod["metadata"]["ownerReferences"] = json!([
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": "uid", "controller": true},
            ]);
            if let Some(spec) = pod["spec"].as_object_mut() {
                spec.remove("topologySpreadConstraints");
            }
        }
    }
}

/// Labels in Karpenter's domain that no node has.
fn restricted_label(random: &mut Random, case: &mut Case) {
    let absent = random.percent(50);
    for pod in service(random, case) {
        let key = "karpenter.k8s.aws/instance-fantasy";
        if absent {
            let required = &mut pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
            *required = json!({"nodeSelectorTerms": [{"matchExpressions": [{"key": key, "operator": "DoesNotExist"}]}]});
        } else {
            pod["spec"]["nodeSelector"][key] = json!("yes");
        }
    }
}

/// Several preferred terms of several weights.
fn several_wishes(random: &mut Random, case: &mut Case) {
    let wishes: Vec<Value> = [80, 40, 1]
        .map(|weight| json!({"weight": weight, "preference": {"matchExpressions": [rule::expression(random)]}}))
        .to_vec();
    for pod in service(random, case) {
        pod["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] =
            json!(wishes);
    }
}

/// Where a volume says which label tells where it is.
const WHERE: &str = "/spec/nodeAffinity/required/nodeSelectorTerms/0/matchExpressions/0";

/// Volumes that say with other labels than usual where they are.
fn other_keys_of_volumes(random: &mut Random, case: &mut Case) {
    let by_id = random.percent(50);
    for volume in case.objects.iter_mut().filter(|o| o["kind"] == "PersistentVolume") {
        let Some(expression) = volume.pointer_mut(WHERE) else { continue };
        let zone = expression["values"][0].as_str().unwrap_or_default();
        if by_id {
            let id = ZONES.iter().find(|(name, _)| *name == zone).map_or("", |(_, id)| id);
            *expression = json!({"key": "topology.k8s.aws/zone-id", "operator": "In", "values": [id]});
        } else {
            expression["key"] = json!("topology.ebs.csi.aws.com/zone");
        }
    }
}

/// A type that runs either system, and pods that need Windows.
fn windows(random: &mut Random, case: &mut Case) {
    for of_type in case.catalog.as_array_mut().into_iter().flatten() {
        if of_type["architecture"] == "amd64" && random.percent(70) {
            of_type["operatingSystems"] = json!(["linux", "windows"]);
        }
    }
    for pod in service(random, case) {
        pod["spec"]["nodeSelector"]["kubernetes.io/os"] = json!("windows");
    }
}

/// Pools whose nodes must be launchable as several things.
fn min_values(random: &mut Random, case: &mut Case) {
    for pool in case.objects.iter_mut().filter(|o| o["kind"] == "NodePool") {
        let key = random.pick(&[
            "node.kubernetes.io/instance-type",
            "karpenter.k8s.aws/instance-category",
            "topology.kubernetes.io/zone",
        ]);
        let least = random.within(2, 3);
        if let Some(requirements) = pool["spec"]["template"]["spec"]["requirements"].as_array_mut() {
            requirements.push(json!({"key": key, "operator": "Exists", "minValues": least}));
        }
    }
    if random.percent(50) {
        option(case, "min-values-policy", "best-effort");
    }
}

/// Containers that state limits and no requests: these are the same then.
fn limits_alone(random: &mut Random, case: &mut Case) {
    for pod in service(random, case) {
        let resources = &mut pod["spec"]["containers"][0]["resources"];
        if resources["limits"].is_null() {
            *resources = json!({"limits": resources["requests"]});
        }
    }
}

/// Plans that look at no preferences.
fn no_wishes(_: &mut Random, case: &mut Case) {
    option(case, "preference-policy", "ignore");
}
