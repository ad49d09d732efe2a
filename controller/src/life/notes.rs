//! What is written into a NodeClaim that is to go, for whoever sees it off: why, and by when.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use stowage_api::crd::NodeClaim;
use stowage_api::crd::condition::{DISRUPTION_REASON, find};

/// Annotation: by when the machine has to be gone; pods are deleted where they cannot be evicted in time.
pub(crate) use stowage_api::well_known::TERMINATION_TIMESTAMP as DEADLINE;

/// Annotation: why it was deleted, as metrics call it.
pub(crate) const WHY: &str = "stowage.dev/deleted-for";

/// Annotation: when EC2 takes the machine, whoever is still on it.
pub(crate) const TAKEN: &str = "stowage.dev/taken-at";

/// Annotations that are written.
pub(crate) type Notes = BTreeMap<&'static str, String>;

/// Writes them into the claim of this name and uid.
pub(crate) async fn write(
    claims: &Api<NodeClaim>,
    (name, uid): (&str, &str),
    notes: &Notes,
) -> kube::Result<NodeClaim> {
    let mut metadata = json!({"annotations": notes});
    // Another of its name is not meant: nobody changes a uid.
    if !uid.is_empty() {
        metadata["uid"] = json!(uid);
    }
    claims.patch(name, &PatchParams::default(), &Patch::Merge(&json!({"metadata": metadata}))).await
}

/// Why a claim goes, as metrics call it; `deleted` where somebody has just deleted it.
pub(crate) fn why_it_goes(claim: &NodeClaim) -> String {
    // One that was chosen to go may have met something worse before it went.
    if let Some(why) = claim.annotations().get(WHY) {
        return why.clone();
    }
    let conditions = claim.status.as_ref().map_or(&[][..], |status| status.conditions.as_slice());
    let chosen = find(conditions, DISRUPTION_REASON);
    chosen.map_or_else(|| "deleted".to_owned(), |chosen| chosen.reason.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn whoever_deletes_a_claim_says_why_its_pods_leave() {
        let of = |annotations: Value, conditions: Value| {
            let claim = json!({
                "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
                "metadata": {"name": "a", "annotations": annotations},
                "spec": {"requirements": [], "nodeClassRef": {"group": "g", "kind": "k", "name": "n"}},
                "status": {"conditions": conditions},
            });
            why_it_goes(&serde_json::from_value(claim).expect("a claim"))
        };
        let chosen = json!([{
            "type": DISRUPTION_REASON, "status": "True", "reason": "Drifted",
            "lastTransitionTime": "2026-07-01T10:00:00Z",
        }]);
        assert_eq!(of(json!({}), json!([])), "deleted");
        assert_eq!(of(json!({}), chosen.clone()), "drifted");
        assert_eq!(of(json!({(WHY): "expired"}), json!([])), "expired");
        assert_eq!(of(json!({(WHY): "spot_interrupted"}), chosen), "spot_interrupted");
    }
}
