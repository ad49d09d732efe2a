//! What is written when a node joins: patches of its Node, and conditions of its NodeClaim.
//!
//! # Invariants
//! - A patch of lists (taints, finalizers, owners, conditions) names the version that it was made from: where somebody else
//!   was quicker, the API server refuses it, and it is made anew.
//! - What others put on a Node stays.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Taint};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use stowage_api::crd::condition::{self, INITIALIZED, LAUNCHED, REGISTERED};
use stowage_api::crd::{Condition, NodeClaim};
use stowage_api::well_known::{self, TAINT_DISRUPTED, TAINT_UNREGISTERED};

use super::FINALIZER;
use super::step::Aspect;
use crate::claim::API_VERSION;

/// Label: who registers the node takes care of its taints.
const DO_NOT_SYNC_TAINTS: &str = "karpenter.sh/do-not-sync-taints";

/// Whether a Node that joins lacks what keeps pods off it until now: its image does not set the taint.
pub fn came_unguarded(node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    let registered = labels.is_some_and(|labels| labels.contains_key(well_known::REGISTERED));
    !registered && taints(node).iter().all(|taint| taint.key != TAINT_UNREGISTERED)
}

/// The patch by which a Node becomes the node of a claim.
pub fn registered(node: &Node, claim: &NodeClaim) -> Value {
    let meta = &node.metadata;
    let mut labels = claim.metadata.labels.clone().unwrap_or_default();
    labels.insert(well_known::REGISTERED.to_owned(), "true".to_owned());
    let annotations = claim.metadata.annotations.clone().unwrap_or_default();
    let mut finalizers = meta.finalizers.clone().unwrap_or_default();
    if !finalizers.iter().any(|f| f == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
    let uid = claim.metadata.uid.clone().unwrap_or_default();
    let mut owners =
        serde_json::to_value(meta.owner_references.clone().unwrap_or_default()).unwrap_or_default();
    if let Some(owners) = owners.as_array_mut()
        && !owners.iter().any(|owner| owner["uid"] == uid.as_str())
    {
        owners.push(json!({
            "apiVersion": API_VERSION,
            "kind": "NodeClaim",
            "name": claim.metadata.name,
            "uid": uid,
            "blockOwnerDeletion": true,
        }));
    }
    let mut wanted: Vec<Taint> =
        taints(node).iter().filter(|taint| taint.key != TAINT_UNREGISTERED).cloned().collect();
    let synced = meta.labels.as_ref().and_then(|labels| labels.get(DO_NOT_SYNC_TAINTS));
    if synced.is_none_or(|value| value != "true") {
        for taint in claim.spec.taints.iter().chain(&claim.spec.startup_taints) {
            if !wanted.iter().any(|there| there.key == taint.key && there.effect == taint.effect) {
                wanted.push(Taint {
                    key: taint.key.clone(),
                    value: (!taint.value.is_empty()).then(|| taint.value.clone()),
                    effect: taint.effect.clone(),
                    time_added: None,
                });
            }
        }
    }
    json!({
        "metadata": {
            "resourceVersion": meta.resource_version,
            "labels": labels,
            "annotations": annotations,
            "finalizers": finalizers,
            "ownerReferences": owners,
        },
        "spec": {"taints": wanted},
    })
}

/// Load balancers send nothing to nodes with this label.
const OFF_LOAD_BALANCERS: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Taints of a Node.
pub(crate) fn taints(node: &Node) -> &[Taint] {
    node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
}

/// The taints of a Node with the one that keeps pods off what goes; `None` where it has that.
pub(crate) fn with_disrupted(node: &Node) -> Option<Value> {
    let there = taints(node);
    let own = Taint { key: TAINT_DISRUPTED.to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() };
    let all = || there.iter().chain([&own]).collect::<Vec<_>>();
    there.iter().all(|taint| taint.key != TAINT_DISRUPTED).then(|| json!(all()))
}

/// The patch of a Node that keeps pods and load balancers off it; `None` where something does already. One that was chosen to
/// go has the taint, and keeps its traffic until it does.
pub(crate) fn keep_off(node: &Node) -> Option<Value> {
    let labelled = node.metadata.labels.as_ref().is_some_and(|all| all.contains_key(OFF_LOAD_BALANCERS));
    let tainted = with_disrupted(node);
    if labelled && tainted.is_none() {
        return None;
    }
    let mut patch = json!({
        "metadata": {
            "resourceVersion": node.metadata.resource_version,
            "labels": {(OFF_LOAD_BALANCERS): "karpenter"},
        },
    });
    if let Some(taints) = tainted {
        patch["spec"] = json!({"taints": taints});
    }
    Some(patch)
}

/// The patch of a claim's status with these conditions, and what stands on them; `None` where it says so already.
pub fn conditions(claim: &NodeClaim, aspects: &[Aspect], now: Timestamp) -> Option<Value> {
    let generation = claim.metadata.generation;
    let mut all = claim.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
    let now = now.to_string();
    let mut changed = false;
    for aspect in aspects {
        let wanted = Condition {
            kind: aspect.kind.to_owned(),
            status: aspect.status.to_owned(),
            reason: aspect.reason.to_owned(),
            message: aspect.message.clone(),
            last_transition_time: now.clone(),
            observed_generation: generation,
        };
        changed |= condition::set(&mut all, wanted);
    }
    let ready = condition::ready(&all, &[LAUNCHED, REGISTERED, INITIALIZED], &now, generation);
    changed |= condition::set(&mut all, ready);
    changed.then(|| {
        json!({
            "metadata": {"resourceVersion": claim.metadata.resource_version},
            "status": {"conditions": all},
        })
    })
}

/// Tags that the machine of a node gets besides those of its launch, by which people find it: those that it has not yet.
pub fn tags(node: &str, claim: &str, there: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    [("Name", node), ("karpenter.sh/nodeclaim", claim)]
        .into_iter()
        .filter(|(key, _)| !there.contains_key(*key))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use stowage_api::crd::condition::{TRUE, UNKNOWN};

    use super::*;

    fn node(labels: &Value, taints: &Value) -> Node {
        let node = json!({
            "metadata": {
                "name": "ip-1", "resourceVersion": "7", "labels": labels, "finalizers": ["other/finalizer"],
                "ownerReferences": [{"apiVersion": "v1", "kind": "Machine", "name": "m", "uid": "u-0"}],
            },
            "spec": {"taints": taints},
        });
        serde_json::from_value(node).expect("a node")
    }

    fn claim() -> NodeClaim {
        let claim = json!({
            "apiVersion": API_VERSION, "kind": "NodeClaim",
            "metadata": {
                "name": "default-1", "uid": "u-1", "generation": 1, "resourceVersion": "9",
                "labels": {"karpenter.sh/nodepool": "default", "team": "a"}, "annotations": {"note": "n"},
            },
            "spec": {
                "requirements": [], "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "c"},
                "taints": [{"key": "dedicated", "value": "x", "effect": "NoSchedule"}],
                "startupTaints": [{"key": "agent", "effect": "NoSchedule"}],
            },
        });
        serde_json::from_value(claim).expect("a claim")
    }

    fn keys(patch: &Value) -> Vec<&str> {
        let taints = patch["spec"]["taints"].as_array().expect("a list");
        taints.iter().filter_map(|taint| taint["key"].as_str()).collect()
    }

    #[test]
    fn a_node_gets_what_its_claim_says_and_keeps_what_it_has() {
        let there = json!([
            {"key": TAINT_UNREGISTERED, "effect": "NoExecute"},
            {"key": "dedicated", "value": "x", "effect": "NoSchedule"},
            {"key": "somebody/elses", "effect": "NoSchedule"},
        ]);
        let patch = registered(&node(&json!({}), &there), &claim());
        assert_eq!(keys(&patch), ["dedicated", "somebody/elses", "agent"]);
        let meta = &patch["metadata"];
        assert_eq!(meta["resourceVersion"], "7");
        assert_eq!(
            meta["labels"],
            json!({"karpenter.sh/nodepool": "default", "karpenter.sh/registered": "true", "team": "a"})
        );
        assert_eq!(meta["annotations"], json!({"note": "n"}));
        assert_eq!(meta["finalizers"], json!(["other/finalizer", FINALIZER]));
        let owners = meta["ownerReferences"].as_array().expect("a list");
        assert_eq!((owners.len(), &owners[1]["uid"]), (2, &json!("u-1")));
    }

    #[test]
    fn a_node_that_was_chosen_to_go_loses_its_traffic_when_it_does() {
        let chosen = node(&json!({}), &json!([{"key": TAINT_DISRUPTED, "effect": "NoSchedule"}]));
        let patch = keep_off(&chosen).expect("the label is missing");
        assert!(patch["metadata"]["labels"][OFF_LOAD_BALANCERS].is_string() && patch["spec"].is_null());
        let plain = keep_off(&node(&json!({}), &json!([]))).expect("both are missing");
        assert_eq!(keys(&plain), [TAINT_DISRUPTED]);
        let mut off = chosen;
        off.metadata.labels = Some([(OFF_LOAD_BALANCERS.to_owned(), "karpenter".to_owned())].into());
        assert_eq!(keep_off(&off), None);
    }

    #[test]
    fn taints_that_kubelet_has_set_are_not_set_again() {
        let patch = registered(&node(&json!({DO_NOT_SYNC_TAINTS: "true"}), &json!([])), &claim());
        assert_eq!(keys(&patch), Vec::<&str>::new());
    }

    #[test]
    fn a_node_without_taint_and_label_came_unguarded() {
        let guarded = json!([{"key": TAINT_UNREGISTERED, "effect": "NoExecute"}]);
        assert!(came_unguarded(&node(&json!({}), &json!([]))));
        assert!(!came_unguarded(&node(&json!({}), &guarded)));
        assert!(!came_unguarded(&node(&json!({"karpenter.sh/registered": "true"}), &json!([]))));
    }

    #[test]
    fn conditions_are_written_where_they_are_news() {
        let now = "2026-07-01T10:00:00Z".parse().expect("a moment");
        let aspect = |status| Aspect { kind: REGISTERED, status, reason: "Because", message: String::new() };
        let patch = conditions(&claim(), &[aspect(UNKNOWN)], now).expect("news");
        assert_eq!(patch["metadata"]["resourceVersion"], "9");
        let mut said = claim();
        said.status = serde_json::from_value(patch["status"].clone()).expect("a status");
        assert_eq!(conditions(&said, &[aspect(UNKNOWN)], now), None);
        let patch = conditions(&said, &[aspect(TRUE)], now).expect("news");
        let all = patch["status"]["conditions"].as_array().expect("a list");
        assert_eq!(
            all.iter().map(|c| c["status"].as_str()).collect::<Vec<_>>(),
            [Some("True"), Some("Unknown")]
        );
    }

    #[test]
    fn machines_keep_the_tags_that_they_have() {
        let there = BTreeMap::from([("Name".to_owned(), "mine".to_owned())]);
        assert_eq!(
            tags("ip-1", "default-1", &there),
            BTreeMap::from([("karpenter.sh/nodeclaim".to_owned(), "default-1".to_owned())])
        );
    }
}
