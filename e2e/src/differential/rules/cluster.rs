//! What nodes, `NodePool`s and the cluster as a whole bring along.

use serde_json::Value;

use super::{OfCase, anti, claims, has_min_values, is_unloved, list, running, waits};

pub(super) const CASES: &[OfCase] = &[
    ("anti-affinity of running pods", |case| running(case).any(|pod| anti(pod).next().is_some())),
    ("running pods that end", |case| {
        running(case).any(|pod| pod["metadata"]["deletionTimestamp"].is_string())
    }),
    ("nodes: taken as they are", |case| case.of_kind("Node").next().is_some()),
    ("nodes: cordoned", |case| case.of_kind("Node").any(|n| n["spec"]["unschedulable"] == true)),
    ("nodes: tainted", |case| case.of_kind("Node").any(|n| list(&n["spec"]["taints"]).next().is_some())),
    ("nodes: attach limits", |case| case.of_kind("CSINode").next().is_some()),
    ("DaemonSets", |case| case.of_kind("DaemonSet").next().is_some()),
    ("DaemonSets on some nodes", |case| {
        case.of_kind("DaemonSet").any(|d| d["spec"]["template"]["spec"]["nodeSelector"].is_object())
    }),
    ("NodePools: several", |case| case.of_kind("NodePool").count() > 1),
    ("NodePools: taints", |case| {
        case.of_kind("NodePool").any(|p| p["spec"]["template"]["spec"]["taints"].is_array())
    }),
    ("NodePools: labels left open", |case| {
        case.of_kind("NodePool").any(|p| {
            list(&p["spec"]["template"]["spec"]["requirements"]).any(|r| r["key"] == "example.com/team")
        })
    }),
    ("NodePools: weights", |case| case.of_kind("NodePool").any(|p| p["spec"]["weight"].is_u64())),
    ("NodePools: limits of resources", |case| {
        case.of_kind("NodePool").any(|p| p["spec"]["limits"]["cpu"].is_string())
    }),
    ("NodePools: limits of nodes", |case| {
        case.of_kind("NodePool").any(|p| p["spec"]["limits"]["nodes"].is_string())
    }),
    ("NodePools: minValues, strict", |case| {
        has_min_values(case) && case.option("min-values-policy").is_none()
    }),
    ("NodePools: minValues, best effort", |case| {
        has_min_values(case) && case.option("min-values-policy").is_some()
    }),
    ("PreferNoSchedule, NodePools", |case| {
        case.of_kind("NodePool").any(|p| is_unloved(&p["spec"]["template"]["spec"]))
    }),
    ("PreferNoSchedule, nodes", |case| case.of_kind("Node").any(|n| is_unloved(&n["spec"]))),
    ("preferences not looked at", |case| case.option("preference-policy").is_some()),
    ("left alone: gated", |case| waits(case).any(|p| p["spec"]["schedulingGates"].is_array())),
    ("left alone: of other schedulers", |case| {
        waits(case).any(|p| p["spec"]["schedulerName"] == "batch-scheduler")
    }),
    ("left alone: mirrors", |case| {
        waits(case).any(|p| p["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string())
    }),
    ("left alone: of DaemonSets", |case| {
        waits(case).any(|p| p["metadata"]["ownerReferences"][0]["kind"] == "DaemonSet")
    }),
    ("left alone: ending", |case| waits(case).any(|p| p["metadata"]["deletionTimestamp"].is_string())),
];

pub(super) const VOLUMES: &[OfCase] = &[
    ("volumes: ReadWriteOncePod", |case| {
        case.of_kind("PersistentVolumeClaim").any(|c| c["spec"]["accessModes"][0] == "ReadWriteOncePod")
    }),
    ("volumes: one claim for several pods", |case| {
        case.of_kind("PersistentVolumeClaim")
            .any(|c| c["metadata"]["name"].as_str().is_some_and(|n| n.ends_with("-shared")))
    }),
    ("volumes: in-tree driver, zone in a label", |case| {
        case.of_kind("PersistentVolume").any(|v| v["metadata"]["labels"].is_object())
    }),
    ("volumes: attach limits of new nodes", |case| {
        let limited = |t: &Value| t["resources"]["attachable-volumes-aws-ebs"].is_string();
        list(&case.catalog).any(limited) && case.pending().any(|pod| claims(pod, case).next().is_some())
    }),
];
