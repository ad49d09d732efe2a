//! Machines that are as old as they may get (`expireAfter`) go: nobody is asked, and nothing is made ready in their place
//! first. Pods are evicted as ever, so that one that must not be disrupted may hold the end up until
//! `terminationGracePeriod` is over.
//!
//! Those of a capacity block go before the block ends, as EC2 ends them without asking then.
//!
//! compat: karpenter v1.14, `pkg/controllers/nodeclaim/expiration`: the age counts from when the NodeClaim was made;
//! karpenter-provider-aws v1.14, `pkg/controllers/capacityreservation/expiration`.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use stowage_api::well_known::CAPACITY_RESERVATION_ID;
use stowage_api::{Ec2NodeClass, NodeClaim};

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

/// EC2 ends the machines of a capacity block half an hour before the block ends; pods get ten minutes more than that.
const BLOCK: Duration = Duration::from_mins(40);

/// When a claim has to go because the capacity block ends that its machine runs in; `None` where it does not.
pub fn block_ends(claim: &NodeClaim, class: &Ec2NodeClass) -> Option<Timestamp> {
    if claim.metadata.is_terminating() {
        return None;
    }
    let own = claim.metadata.labels.get(CAPACITY_RESERVATION_ID)?;
    let of = class.status.capacity_reservations.iter().find(|of| of.id == *own)?;
    let ends = moment(of.end_time.as_ref()).filter(|_| of.reservation_type == "capacity-block")?;
    ends.checked_sub(SignedDuration::try_from(BLOCK).ok()?).ok()
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

    #[test]
    fn machines_of_a_capacity_block_go_before_it_ends() {
        let class = |kind: &str, end: Option<&str>| -> Ec2NodeClass {
            let class = json!({"status": {"capacityReservations": [{"id": "cr-1", "reservationType": kind, "endTime": end}]}});
            serde_json::from_value(class).expect("a class")
        };
        let claim = |reservation: &str| -> NodeClaim {
            let labels = json!({(CAPACITY_RESERVATION_ID): reservation});
            serde_json::from_value(json!({"metadata": {"name": "a", "labels": labels}})).expect("a claim")
        };
        let of = |reservation: &str, kind: &str, end: Option<&str>| {
            block_ends(&claim(reservation), &class(kind, end)).map(|at| at.to_string())
        };
        let end = Some("2026-07-02T11:30:00Z");
        assert_eq!(of("cr-1", "capacity-block", end).as_deref(), Some("2026-07-02T10:50:00Z"));
        assert_eq!(of("cr-2", "capacity-block", end), None, "another one");
        assert_eq!(of("cr-1", "default", end), None, "EC2 lets those go on, on demand");
        assert_eq!(of("cr-1", "capacity-block", None), None);
    }
}
