//! Rules between pods: topology spread, affinity, anti-affinity.

use serde_json::Value;

use super::{
    HOST, OfPod, PREFERRED, ZONE, alike, anti, claims, hard, is_tainted, list, near, pool_requirements,
    running, selects, zones_for_sale,
};

pub(super) const SPREAD: &[OfPod] = &[
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
    ("spread that does not count the pod itself", |pod, _| {
        hard(pod).any(|c| !selects(&c["labelSelector"], pod))
    }),
    ("spread over zones that only offerings have", |pod, case| {
        let there = |zone: &Value| case.of_kind("Node").any(|n| n["metadata"]["labels"][ZONE] == *zone);
        hard(pod).any(|c| c["topologyKey"] == ZONE) && zones_for_sale(case).any(|zone| !there(zone))
    }),
    ("spread beside zones of NodePools that the pod cannot use", |pod, case| {
        hard(pod).any(|c| c["topologyKey"] == ZONE)
            && pod["spec"]["tolerations"].is_null()
            && case
                .of_kind("NodePool")
                .any(|p| is_tainted(p) && pool_requirements(p).any(|r| r["key"] == ZONE))
    }),
    ("spread that the scheduler adds", |pod, case| {
        case.spreads_by_default()
            && pod["metadata"]["ownerReferences"].is_array()
            && pod["spec"]["topologySpreadConstraints"].is_null()
    }),
];

pub(super) const AFFINITY: &[OfPod] = &[
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
    ("affinity with namespaces", |pod, _| near(pod).any(|t| t["namespaces"].is_array())),
    ("affinity with namespaceSelector", |pod, _| near(pod).any(|t| t["namespaceSelector"].is_object())),
    ("affinity with matchLabelKeys", |pod, _| near(pod).any(|t| t["matchLabelKeys"].is_array())),
    ("affinity with mismatchLabelKeys", |pod, _| near(pod).any(|t| t["mismatchLabelKeys"].is_array())),
    ("affinity in a chain", |pod, case| {
        let to = |of: &Value, other: &Value| {
            !alike(of, other) && near(of).any(|t| selects(&t["labelSelector"], other))
        };
        case.pending().any(|b| to(pod, b) && case.pending().any(|c| !alike(pod, c) && to(b, c)))
    }),
    ("affinity over zones of pods with disks", |pod, case| {
        near(pod).any(|t| t["topologyKey"] == ZONE) && claims(pod, case).next().is_some()
    }),
];
