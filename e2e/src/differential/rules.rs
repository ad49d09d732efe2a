//! Which rules a cluster exercises: those that its pending pods, nodes or `NodePool`s state.

use std::collections::BTreeSet;

use serde_json::Value;

use super::plan::Plan;
use crate::case::Case;

/// Every rule, in words, and how to see it in a pending pod.
type OfPod = (&'static str, fn(&Value, &Case) -> bool);

/// Every rule, in words, and how to see it in a cluster.
type OfCase = (&'static str, fn(&Case) -> bool);

const OF_PODS: [OfPod; 47] = [
    ("spread over zones", |pod, _| hard(pod).any(|c| c["topologyKey"] == ZONE)),
    ("spread over hosts", |pod, _| hard(pod).any(|c| c["topologyKey"] == HOST)),
    ("spread over capacity types", |pod, _| {
        hard(pod).any(|c| c["topologyKey"] == "karpenter.sh/capacity-type")
    }),
    ("spread over zone ids", |pod, _| hard(pod).any(|c| c["topologyKey"] == "topology.k8s.aws/zone-id")),
    ("spread over a label of NodePools", |pod, _| hard(pod).any(|c| c["topologyKey"] == "example.com/disk")),
    ("spread with maxSkew above 1", |pod, _| hard(pod).any(|c| c["maxSkew"].as_u64() > Some(1))),
    ("spread with minDomains", |pod, _| hard(pod).any(|c| c["minDomains"].is_u64())),
    ("spread with nodeAffinityPolicy Ignore", |pod, _| {
        hard(pod).any(|c| c["nodeAffinityPolicy"] == "Ignore")
    }),
    ("spread with nodeTaintsPolicy Honor", |pod, _| hard(pod).any(|c| c["nodeTaintsPolicy"] == "Honor")),
    ("spread with matchLabelKeys", |pod, _| hard(pod).any(|c| c["matchLabelKeys"].is_array())),
    ("spread over several keys", |pod, _| hard(pod).count() > 1),
    ("spread that counts other pods", |pod, _| {
        hard(pod).any(|c| c["labelSelector"]["matchLabels"]["app"] != pod["metadata"]["labels"]["app"])
    }),
    ("spread beside running pods", |pod, case| {
        hard(pod).any(|c| {
            running(case).any(|r| {
                alike(r, pod) && c["labelSelector"]["matchLabels"]["app"] == r["metadata"]["labels"]["app"]
            })
        })
    }),
    ("spread, ScheduleAnyway", |pod, _| {
        list(&pod["spec"]["topologySpreadConstraints"]).any(|c| c["whenUnsatisfiable"] == "ScheduleAnyway")
    }),
    ("anti-affinity over hosts", |pod, _| anti(pod).any(|t| t["topologyKey"] == HOST)),
    ("anti-affinity over zones", |pod, _| anti(pod).any(|t| t["topologyKey"] == ZONE)),
    ("anti-affinity over other labels", |pod, _| {
        anti(pod).any(|t| t["topologyKey"] != ZONE && t["topologyKey"] != HOST)
    }),
    ("anti-affinity with namespaces", |pod, _| anti(pod).any(|t| t["namespaces"].is_array())),
    ("anti-affinity with namespaceSelector", |pod, _| anti(pod).any(|t| t["namespaceSelector"].is_object())),
    ("anti-affinity with matchLabelKeys", |pod, _| anti(pod).any(|t| t["matchLabelKeys"].is_array())),
    ("anti-affinity with mismatchLabelKeys", |pod, _| anti(pod).any(|t| t["mismatchLabelKeys"].is_array())),
    ("preferred pod affinity or anti-affinity", |pod, _| {
        ["podAffinity", "podAntiAffinity"]
            .iter()
            .any(|kind| pod["spec"]["affinity"][kind][PREFERRED].is_array())
    }),
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
    ("overhead", |pod, _| pod["spec"]["overhead"].is_object()),
    ("init containers", |pod, _| list(&pod["spec"]["initContainers"]).any(|c| c["restartPolicy"].is_null())),
    ("sidecars", |pod, _| list(&pod["spec"]["initContainers"]).any(|c| c["restartPolicy"] == "Always")),
    ("resources of the whole pod", |pod, _| pod["spec"]["resources"].is_object()),
    ("devices", |pod, _| pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"].is_string()),
    ("priority", |pod, _| pod["spec"]["priorityClassName"].is_string()),
    ("volumes: bound", |pod, case| claims(pod, case).any(|c| c["spec"]["volumeName"].is_string())),
    ("volumes: WaitForFirstConsumer", |pod, case| {
        unbound(pod, case).any(|c| c == "wait" || c == "in-tree" || c == "files")
    }),
    ("volumes: allowedTopologies", |pod, case| unbound(pod, case).any(|c| c == "narrow")),
    ("volumes: Immediate, or without class", |pod, case| {
        unbound(pod, case).any(|c| c == "at-once" || c == "missing")
    }),
    ("volumes: ephemeral", |pod, _| list(&pod["spec"]["volumes"]).any(|v| v["ephemeral"].is_object())),
    ("volumes: claim that does not exist", |pod, case| {
        let named = list(&pod["spec"]["volumes"]).filter(|v| v["persistentVolumeClaim"].is_object()).count();
        named > claims(pod, case).count()
    }),
];

const OF_AFFINITY: [OfPod; 5] = [
    ("affinity over hosts", |pod, _| near(pod).any(|t| t["topologyKey"] == HOST)),
    ("affinity over zones", |pod, _| near(pod).any(|t| t["topologyKey"] == ZONE)),
    ("affinity over other labels", |pod, _| {
        near(pod).any(|t| t["topologyKey"] != ZONE && t["topologyKey"] != HOST)
    }),
    ("affinity to itself", |pod, _| {
        near(pod).any(|t| t["labelSelector"]["matchLabels"]["app"] == pod["metadata"]["labels"]["app"])
    }),
    ("affinity to others", |pod, _| {
        near(pod).any(|t| t["labelSelector"]["matchLabels"]["app"] != pod["metadata"]["labels"]["app"])
    }),
];

const OF_CASES: [OfCase; 16] = [
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
    ("NodePools: limits", |case| case.of_kind("NodePool").any(|p| p["spec"]["limits"].is_object())),
    ("NodePools: weights", |case| case.of_kind("NodePool").any(|p| p["spec"]["weight"].is_u64())),
];

const OF_DEVICES: [OfPod; 14] = [
    ("claims: counted devices", |pod, case| exact(pod, case).any(|r| r["count"].as_u64() > Some(1))),
    ("claims: selectors", |pod, case| exact(pod, case).any(|r| r["selectors"].is_array())),
    ("claims: quantities in device classes", |pod, case| {
        exact(pod, case).any(|r| r["deviceClassName"] == "big-gpu")
    }),
    ("claims: all devices", |pod, case| exact(pod, case).any(|r| r["allocationMode"] == "All")),
    ("claims: devices watched over", |pod, case| exact(pod, case).any(|r| r["adminAccess"] == true)),
    ("claims: class that does not exist", |pod, case| {
        exact(pod, case).any(|r| r["deviceClassName"] == "missing")
    }),
    ("claims: several requests", |pod, case| asked(pod, case).any(|d| list(&d["requests"]).count() > 1)),
    ("claims: devices of one NUMA node", |pod, case| {
        asked(pod, case).any(|d| d["constraints"][0]["matchAttribute"] == "gpu.example.com/numa")
    }),
    ("claims: devices of two drivers with one root", |pod, case| {
        asked(pod, case).any(|d| d["constraints"][0]["matchAttribute"] == "pci.example.com/root")
    }),
    ("claims: alternatives", |pod, case| {
        asked(pod, case).any(|d| list(&d["requests"]).any(|r| r["firstAvailable"].is_array()))
    }),
    ("claims: from a template", |pod, case| {
        case.of_kind("ResourceClaimTemplate").any(|t| names(pod, t, "resourceClaimTemplateName"))
    }),
    ("claims: shared", |pod, case| {
        case.of_kind("ResourceClaim").any(|c| c["status"].is_null() && names(pod, c, "resourceClaimName"))
    }),
    ("claims: with devices already", |pod, case| {
        case.of_kind("ResourceClaim").any(|c| c["status"].is_object() && names(pod, c, "resourceClaimName"))
    }),
    ("claims: that do not exist", |pod, case| {
        list(&pod["spec"]["resourceClaims"]).count() > asked(pod, case).count()
    }),
];

const OF_DEVICE_CASES: [OfCase; 3] = [
    ("nodes: devices", |case| case.of_kind("ResourceSlice").next().is_some()),
    ("nodes: devices that claims have", |case| {
        case.of_kind("ResourceClaim")
            .any(|c| c["metadata"]["name"].as_str().is_some_and(|n| n.starts_with("taken-")))
    }),
    ("nodes: devices of which not all are published", |case| {
        case.of_kind("ResourceSlice").any(|s| s["spec"]["pool"]["resourceSliceCount"] == 2)
    }),
];

const ZONE: &str = "topology.kubernetes.io/zone";
const HOST: &str = "kubernetes.io/hostname";
pub(super) const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn hard(pod: &Value) -> impl Iterator<Item = &Value> {
    list(&pod["spec"]["topologySpreadConstraints"]).filter(|c| c["whenUnsatisfiable"] == "DoNotSchedule")
}

fn anti(pod: &Value) -> impl Iterator<Item = &Value> {
    list(&pod["spec"]["affinity"]["podAntiAffinity"][REQUIRED])
}

fn near(pod: &Value) -> impl Iterator<Item = &Value> {
    list(&pod["spec"]["affinity"]["podAffinity"][REQUIRED])
}

fn terms(pod: &Value) -> impl Iterator<Item = &Value> {
    list(&pod["spec"]["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"])
}

fn expressions(pod: &Value) -> impl Iterator<Item = &Value> {
    terms(pod).flat_map(|t| list(&t["matchExpressions"]))
}

fn running(case: &Case) -> impl Iterator<Item = &Value> {
    case.of_kind("Pod").filter(|pod| pod["spec"]["nodeName"].is_string())
}

fn alike(a: &Value, b: &Value) -> bool {
    a["metadata"]["namespace"] == b["metadata"]["namespace"]
        && a["metadata"]["labels"]["app"] == b["metadata"]["labels"]["app"]
}

fn claims<'a>(pod: &'a Value, case: &'a Case) -> impl Iterator<Item = &'a Value> {
    list(&pod["spec"]["volumes"]).filter_map(move |volume| {
        case.of_kind("PersistentVolumeClaim").find(|claim| {
            claim["metadata"]["namespace"] == pod["metadata"]["namespace"]
                && claim["metadata"]["name"] == volume["persistentVolumeClaim"]["claimName"]
        })
    })
}

/// Storage classes of the claims of a pod that are not bound.
fn unbound<'a>(pod: &'a Value, case: &'a Case) -> impl Iterator<Item = &'a Value> {
    claims(pod, case).filter(|c| c["spec"]["volumeName"].is_null()).map(|c| &c["spec"]["storageClassName"])
}

/// Whether a pod has a claim that this object is, or is made from.
fn names(pod: &Value, object: &Value, by: &str) -> bool {
    pod["metadata"]["namespace"] == object["metadata"]["namespace"]
        && list(&pod["spec"]["resourceClaims"]).any(|r| r[by] == object["metadata"]["name"])
}

/// What the claims of a pod ask for.
fn asked<'a>(pod: &'a Value, case: &'a Case) -> impl Iterator<Item = &'a Value> {
    let made = case.of_kind("ResourceClaimTemplate").filter(|t| names(pod, t, "resourceClaimTemplateName"));
    let named = case.of_kind("ResourceClaim").filter(|c| names(pod, c, "resourceClaimName"));
    made.map(|t| &t["spec"]["spec"]["devices"]).chain(named.map(|c| &c["spec"]["devices"]))
}

/// Requests without alternatives.
fn exact<'a>(pod: &'a Value, case: &'a Case) -> impl Iterator<Item = &'a Value> {
    asked(pod, case).flat_map(|d| list(&d["requests"])).map(|r| &r["exactly"])
}

/// Names of all rules that clusters are to exercise.
pub(crate) fn all() -> Vec<&'static str> {
    let affinity = if crate::generate::POD_AFFINITY > 0 { &OF_AFFINITY[..] } else { &[] };
    let of_pods = OF_PODS.iter().chain(affinity).chain(&OF_DEVICES).map(|(name, _)| *name);
    of_pods
        .chain(OF_CASES.iter().chain(&OF_DEVICE_CASES).map(|(name, _)| *name))
        .chain(["pods that fit nowhere"])
        .collect()
}

/// Names of the rules that a cluster exercises.
pub(crate) fn exercised(case: &Case, plan: &Plan) -> BTreeSet<&'static str> {
    let of_pods = OF_PODS
        .iter()
        .chain(&OF_AFFINITY)
        .chain(&OF_DEVICES)
        .filter(|(_, states)| case.pending().any(|pod| states(pod, case)));
    let of_case = OF_CASES.iter().chain(&OF_DEVICE_CASES).filter(|(_, states)| states(case));
    let nowhere = (!plan.unplaced.is_empty()).then_some("pods that fit nowhere");
    of_pods.map(|(name, _)| *name).chain(of_case.map(|(name, _)| *name)).chain(nowhere).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::plan::plan;
    use super::*;
    use crate::generate::generate;

    #[test]
    fn seeds_exercise_every_rule_and_most_pods_have_a_place() {
        let (mut seen, mut reasons) = (BTreeSet::new(), BTreeMap::<String, usize>::new());
        let (mut placed, mut unplaced, mut extra) = (0, 0, 0);
        for seed in 1..=300 {
            let case = generate(seed);
            let plan = plan(&case).unwrap();
            seen.extend(exercised(&case, &plan));
            placed += plan.placed.len();
            unplaced += plan.unplaced.len();
            extra += plan.launchable.len();
            for why in plan.unplaced.values() {
                *reasons.entry(why.chars().take(60).collect()).or_default() += 1;
            }
        }
        println!("{placed} placed, {unplaced} not, {extra} extra nodes, {reasons:#?}");
        let never: Vec<_> = all().into_iter().filter(|rule| !seen.contains(rule)).collect();
        assert_eq!(never, Vec::<&str>::new());
        assert!(placed > 2 * unplaced, "{placed} placed, {unplaced} not");
    }
}
