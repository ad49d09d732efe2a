//! Rules between pods and nodes, what pods ask for, and their volumes.

use super::{OfPod, PREFERRED, claims, expressions, is_bound_by, list, terms, unbound};

pub(super) const PODS: &[OfPod] = &[
    ("node selector", |pod, _| pod["spec"]["nodeSelector"].is_object()),
    ("node affinity, several terms", |pod, _| terms(pod).count() > 1),
    ("node affinity, matchFields", |pod, _| terms(pod).any(|t| t["matchFields"].is_array())),
    ("node affinity, In", |pod, _| expressions(pod).any(|e| e["operator"] == "In")),
    ("node affinity, NotIn", |pod, _| expressions(pod).any(|e| e["operator"] == "NotIn")),
    ("node affinity, Exists", |pod, _| expressions(pod).any(|e| e["operator"] == "Exists")),
    ("node affinity, DoesNotExist", |pod, _| expressions(pod).any(|e| e["operator"] == "DoesNotExist")),
    ("node affinity, Gt", |pod, _| expressions(pod).any(|e| e["operator"] == "Gt")),
    ("node affinity, Lt", |pod, _| expressions(pod).any(|e| e["operator"] == "Lt")),
    ("preferred node affinity", |pod, _| pod["spec"]["affinity"]["nodeAffinity"][PREFERRED].is_array()),
    ("tolerations", |pod, _| pod["spec"]["tolerations"].is_array()),
    ("host ports", |pod, _| list(&pod["spec"]["containers"][0]["ports"]).any(|p| p["hostPort"].is_u64())),
    ("host ports with an address", |pod, _| {
        list(&pod["spec"]["containers"][0]["ports"]).any(|p| p["hostIP"].is_string())
    }),
    ("init containers", |pod, _| list(&pod["spec"]["initContainers"]).any(|c| c["restartPolicy"].is_null())),
    ("sidecars", |pod, _| list(&pod["spec"]["initContainers"]).any(|c| c["restartPolicy"] == "Always")),
    ("resources of the whole pod", |pod, _| pod["spec"]["resources"].is_object()),
    ("devices", |pod, _| pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"].is_string()),
    ("priority", |pod, _| pod["spec"]["priorityClassName"].is_string()),
    ("preferred node affinity, several weights", |pod, _| {
        list(&pod["spec"]["affinity"]["nodeAffinity"][PREFERRED]).count() > 1
    }),
    ("restricted labels", |pod, _| {
        pod["spec"]["nodeSelector"]["karpenter.k8s.aws/instance-fantasy"].is_string()
    }),
    ("restricted labels, absent", |pod, _| {
        expressions(pod).any(|e| e["key"] == "karpenter.k8s.aws/instance-fantasy")
    }),
    ("arm64", |pod, _| pod["spec"]["nodeSelector"]["kubernetes.io/arch"] == "arm64"),
    ("Windows", |pod, _| pod["spec"]["nodeSelector"]["kubernetes.io/os"] == "windows"),
    ("runtime class: overhead", |pod, _| pod["spec"]["runtimeClassName"].is_string()),
    ("runtime class: node selector, tolerations", |pod, _| pod["spec"]["runtimeClassName"] == "sandboxed"),
    ("limits without requests", |pod, _| {
        let resources = &pod["spec"]["containers"][0]["resources"];
        resources["requests"].is_null() && resources["limits"].is_object()
    }),
    ("nominated to a node", |pod, _| pod["status"]["nominatedNodeName"].is_string()),
];

pub(super) const VOLUMES: &[OfPod] = &[
    ("volumes: bound", |pod, case| claims(pod, case).any(|c| c["spec"]["volumeName"].is_string())),
    ("volumes: WaitForFirstConsumer", |pod, case| {
        unbound(pod, case).any(|c| c == "wait" || c == "in-tree" || c == "files")
    }),
    ("volumes: allowedTopologies", |pod, case| unbound(pod, case).any(|c| c == "narrow")),
    ("volumes: ephemeral", |pod, _| list(&pod["spec"]["volumes"]).any(|v| v["ephemeral"].is_object())),
    ("volumes: claim that does not exist", |pod, case| {
        let named = list(&pod["spec"]["volumes"]).filter(|v| v["persistentVolumeClaim"].is_object()).count();
        named > claims(pod, case).count()
    }),
    ("volumes: several claims", |pod, case| claims(pod, case).count() > 1),
    ("volumes: made by the in-tree driver", |pod, case| unbound(pod, case).any(|c| c == "in-tree")),
    ("volumes: without zones", |pod, case| unbound(pod, case).any(|c| c == "files")),
    ("volumes: class that does not exist", |pod, case| unbound(pod, case).any(|c| c == "missing")),
    ("volumes: Immediate", |pod, case| unbound(pod, case).any(|c| c == "at-once")),
    ("volumes: bound, by zone id", |pod, case| is_bound_by(pod, case, "topology.k8s.aws/zone-id")),
    ("volumes: bound, by the driver's label", |pod, case| {
        is_bound_by(pod, case, "topology.ebs.csi.aws.com/zone")
    }),
];
