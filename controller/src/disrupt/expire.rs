//! Machines that are as old as they may get (`expireAfter`) go: nobody is asked, and nothing is made ready in their place
//! first. Pods are evicted as ever, so that one that must not be disrupted may hold the end up until
//! `terminationGracePeriod` is over.
//!
//! compat: karpenter v1.14, `pkg/controllers/nodeclaim/expiration`: the age counts from when the NodeClaim was made.

use k8s_openapi::jiff::Timestamp;
use stowage_api::NodeClaim;

use crate::time::{duration, later, moment};

/// When a claim expires; `None` where it never does, or goes already.
///
/// What its claim does not state is a month by the API's own default, so that what states nothing was written past it, and
/// stays.
pub fn expires(claim: &NodeClaim) -> Option<Timestamp> {
    if claim.metadata.is_terminating() {
        return None;
    }
    let life = duration(claim.spec.expire_after.as_deref()?)?;
    Some(later(moment(claim.metadata.creation_timestamp.as_ref())?, life))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_age_counts_from_when_the_claim_was_made() {
        let of = |after: Option<&str>, going: Option<&str>| {
            let claim = json!({
                "metadata": {"name": "a", "creationTimestamp": "2026-07-01T10:00:00Z", "deletionTimestamp": going},
                "spec": {"expireAfter": after},
            });
            let claim: NodeClaim = serde_json::from_value(claim).expect("a claim");
            expires(&claim).map(|at| at.to_string())
        };
        assert_eq!(of(Some("720h"), None).as_deref(), Some("2026-07-31T10:00:00Z"));
        assert_eq!(of(Some("1h30m"), None).as_deref(), Some("2026-07-01T11:30:00Z"));
        assert_eq!(of(Some("Never"), None), None);
        assert_eq!(of(None, None), None);
        assert_eq!(of(Some("1s"), Some("2026-07-01T10:00:00Z")), None, "it goes already");
    }
}
