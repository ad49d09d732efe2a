//! Devices and claims of them.

use super::{OfCase, OfPod, asked, exact, list, names};

pub(super) const PODS: &[OfPod] = &[
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

pub(super) const CASES: &[OfCase] = &[
    ("nodes: devices", |case| case.of_kind("ResourceSlice").next().is_some()),
    ("nodes: devices that claims have", |case| {
        case.of_kind("ResourceClaim")
            .any(|c| c["metadata"]["name"].as_str().is_some_and(|n| n.starts_with("taken-")))
    }),
    ("nodes: devices of which not all are published", |case| {
        case.of_kind("ResourceSlice").any(|s| s["spec"]["pool"]["resourceSliceCount"] == 2)
    }),
];
