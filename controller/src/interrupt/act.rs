//! What is done about a message: which NodeClaims it concerns, and what becomes of them. Pure.
//!
//! compat: karpenter-provider-aws v1.14, `pkg/controllers/interruption`: a recommendation to rebalance is told of and no more;
//! all else ends the NodeClaim. A spot interruption says that the offering has run short, and so does that of a reservation.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use stowage_api::NodeClaim;
use stowage_api::well_known::{CAPACITY_RESERVATION_ID, CAPACITY_TYPE, INSTANCE_TYPE, RESERVED, SPOT, ZONE};
use stowage_cluster::Snapshot;
use stowage_pricing::OfferingKey;

use super::message::{Kind, Message};
use crate::claim::is_ours;
use crate::life::collect::id;
use crate::time::later;

/// For so long a message is known by machine and kind. SQS brings the same twice within seconds, or where it was not deleted;
/// EC2 says twice within minutes that it takes a machine.
const KNOWN: Duration = Duration::from_hours(1);

/// Messages that are known at most. Of more, all are taken for new: what they ask for was done, and is not done twice.
const MOST_KNOWN: usize = 100_000;

/// NodeClaims that have a machine, by what messages name.
#[derive(Clone, Debug, Default)]
pub struct Known<'s> {
    by_machine: HashMap<&'s str, Owner<'s>>,
    by_reservation: HashMap<&'s str, Vec<&'s str>>,
}

/// The NodeClaim of a machine, and its Node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Owner<'s> {
    /// The NodeClaim.
    pub claim: &'s NodeClaim,
    /// Name of the Node, where one has joined.
    pub node: Option<&'s str>,
}

impl<'s> Known<'s> {
    /// Those of a cluster.
    pub fn of(snapshot: &'s Snapshot) -> Self {
        let nodes: HashMap<&str, &str> = snapshot
            .nodes()
            .filter(|node| !node.spec.provider_id.is_empty())
            .map(|node| (node.spec.provider_id.as_str(), node.metadata.name.as_str()))
            .collect();
        let mut known = Self::default();
        for claim in snapshot.node_claims().filter(|claim| is_ours(claim)) {
            let provider = claim.status.provider_id.as_str();
            let Some(machine) = id(provider) else { continue };
            known.by_machine.insert(machine, Owner { claim, node: nodes.get(provider).copied() });
            if let Some(reservation) = claim.metadata.labels.get(CAPACITY_RESERVATION_ID) {
                known.by_reservation.entry(reservation).or_default().push(machine);
            }
        }
        known
    }

    /// Whose a machine is; nobody's where it is none of ours.
    pub fn owner(&self, machine: &str) -> Option<Owner<'s>> {
        self.by_machine.get(machine).copied()
    }
}

/// What is done about a machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Deed<'s> {
    /// The machine.
    pub machine: &'s str,
    /// Whose it is.
    pub owner: Owner<'s>,
    /// The event that says so: its reason, and what it says.
    pub event: (&'static str, &'static str),
    /// Whether the NodeClaim is deleted.
    pub ends: bool,
    /// What is not to be had for some time.
    pub away: Option<OfferingKey>,
}

/// What is done about a message; nothing where it is about no machine of ours.
pub fn deeds<'s>(message: &Message, known: &Known<'s>) -> Vec<Deed<'s>> {
    let Some(event) = event(message.kind) else { return Vec::new() };
    let named = message.machines.iter().map(String::as_str);
    let held = message.reservations.iter().filter_map(|id| known.by_reservation.get(id.as_str())).flatten();
    // Borrowed from what is known, not from the message.
    let all = named.chain(held.copied()).filter_map(|machine| known.by_machine.get_key_value(machine));
    let deed = |(machine, owner): (&&'s str, &Owner<'s>)| Deed {
        machine,
        owner: *owner,
        event,
        ends: message.kind != Kind::RebalanceRecommendation,
        away: away(message.kind, owner.claim),
    };
    all.map(deed).collect()
}

/// EC2 says so long before that it takes a machine.
const NOTICE: Duration = Duration::from_mins(2);

/// When the machines are gone that a message is about; nothing where nobody can tell, or it is a long time yet.
pub fn gone_by(message: &Message, now: Timestamp) -> Option<Timestamp> {
    let said = message.start.unwrap_or(now);
    match message.kind {
        Kind::SpotInterrupted | Kind::CapacityReservationInterrupted => Some(later(said, NOTICE)),
        Kind::InstanceStopped | Kind::InstanceTerminated => Some(said),
        Kind::RebalanceRecommendation | Kind::ScheduledChange | Kind::CapacityBlockExpiring | Kind::NoOp => {
            None
        }
    }
}

/// What a message of a kind says of what is for sale.
fn away(kind: Kind, claim: &NodeClaim) -> Option<OfferingKey> {
    let capacity_type = match kind {
        Kind::SpotInterrupted => SPOT,
        Kind::CapacityReservationInterrupted => RESERVED,
        _ => return None,
    };
    let labelled = |key: &str| claim.metadata.labels.get(key).map(String::as_str);
    // One that is not what the message takes it for says nothing of what is for sale.
    labelled(CAPACITY_TYPE).filter(|of| *of == capacity_type)?;
    Some(OfferingKey::new(labelled(INSTANCE_TYPE)?, labelled(ZONE)?, capacity_type))
}

/// Reason and words of the event that tells of a message of this kind.
fn event(kind: Kind) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        Kind::SpotInterrupted => ("SpotInterrupted", "EC2 takes the spot instance back in two minutes"),
        Kind::RebalanceRecommendation => (
            "SpotRebalanceRecommendation",
            "EC2 may take the spot instance back soon: nothing is done about it",
        ),
        Kind::ScheduledChange => {
            ("InstanceUnhealthy", "AWS has scheduled a change of what the instance runs on")
        }
        Kind::InstanceStopped => ("InstanceStopping", "The instance is being stopped by somebody else"),
        Kind::InstanceTerminated => ("InstanceTerminating", "The instance is being ended by somebody else"),
        Kind::CapacityReservationInterrupted => (
            "CapacityReservationInstanceInterrupted",
            "The owner of the capacity reservation takes the instance back",
        ),
        Kind::CapacityBlockExpiring => {
            ("CapacityReservationInstanceInterrupted", "The capacity block that the instance is part of ends")
        }
        Kind::NoOp => return None,
    })
}

/// What was dealt with of late, by machine and kind: SQS may bring the same more than once, and AWS says some things twice.
#[derive(Clone, Debug, Default)]
pub struct Seen(HashMap<(Kind, String), Instant>);

impl Seen {
    /// Whether this is new; from now on it is not.
    pub fn begin(&mut self, kind: Kind, machine: &str, now: Instant) -> bool {
        let is_old = |at: &Instant| now.duration_since(*at) >= KNOWN;
        if self.0.len() >= MOST_KNOWN {
            self.0.retain(|_, at| !is_old(at));
        }
        if self.0.len() >= MOST_KNOWN {
            self.0.clear();
        }
        self.0.insert((kind, machine.to_owned()), now).is_none_or(|at| is_old(&at))
    }

    /// It could not be dealt with, and is new when it comes again.
    pub fn failed(&mut self, kind: Kind, machine: &str) {
        self.0.remove(&(kind, machine.to_owned()));
    }
}

/// Texts that were complained about: each once.
#[derive(Clone, Debug, Default)]
pub struct Complaints(HashSet<u64>);

impl Complaints {
    /// Texts that are remembered at most.
    const MOST: usize = 10_000;

    /// Whether nobody has complained about this text yet; from now on somebody has.
    pub fn is_new(&mut self, text: &str) -> bool {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        if self.0.len() >= Self::MOST {
            self.0.clear();
        }
        let mut digest = DefaultHasher::new();
        text.hash(&mut digest);
        self.0.insert(digest.finish())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(name: &str, machine: &str, capacity_type: &str) -> NodeClaim {
        let claim = json!({
            "metadata": {"name": name, "labels": {
                (CAPACITY_TYPE): capacity_type, (INSTANCE_TYPE): "m7i.large", (ZONE): "us-east-1a",
                (CAPACITY_RESERVATION_ID): if capacity_type == RESERVED { "cr-01234567" } else { "" },
            }},
            "status": {"providerID": format!("aws:///us-east-1a/{machine}")},
        });
        serde_json::from_value(claim).expect("a claim")
    }

    fn snapshot() -> Snapshot {
        let node = json!({"metadata": {"name": "n"}, "spec": {"providerID": "aws:///us-east-1a/i-00000001"}});
        let node: stowage_cluster::object::Node = serde_json::from_value(node).expect("a node");
        let mut foreign = claim("foreign", "i-00000009", SPOT);
        let class = json!({"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "default"});
        foreign.spec.node_class_ref = serde_json::from_value(class).expect("a reference");
        let claims = [
            claim("a", "i-00000001", SPOT),
            claim("b", "i-00000002", "on-demand"),
            claim("c", "i-00000003", RESERVED),
            foreign,
        ];
        let node_claims = claims.into_iter().map(Into::into).collect();
        Snapshot { nodes: vec![node.into()], node_claims, ..Snapshot::default() }
    }

    fn message(kind: Kind, machines: &[&str]) -> Message {
        let machines = machines.iter().map(|id| (*id).to_owned()).collect();
        Message { kind, machines, reservations: Vec::new(), start: None }
    }

    #[test]
    fn an_interruption_ends_the_claim_and_its_offering_is_away() {
        let snapshot = snapshot();
        let known = Known::of(&snapshot);
        let all = deeds(&message(Kind::SpotInterrupted, &["i-00000001", "i-0000000f", "i-00000009"]), &known);
        let [deed] = &all[..] else { panic!("only of ours: {all:?}") };
        assert_eq!((deed.owner.claim.metadata.name.as_str(), deed.owner.node), ("a", Some("n")));
        assert!(deed.ends);
        assert_eq!(deed.away, Some(OfferingKey::new("m7i.large", "us-east-1a", SPOT)));
        assert_eq!(deed.event.0, "SpotInterrupted");
        // An on-demand machine is no spot offering, whatever somebody has sent.
        let all = deeds(&message(Kind::SpotInterrupted, &["i-00000002"]), &known);
        assert_eq!(all.iter().map(|d| (d.owner.node, d.away.clone())).collect::<Vec<_>>(), [(None, None)]);
    }

    #[test]
    fn it_is_known_when_ec2_takes_a_machine() {
        let now: Timestamp = "2026-07-01T10:00:05Z".parse().expect("a moment");
        let of = |kind, start: Option<&str>| {
            let mut message = message(kind, &["i-00000001"]);
            message.start = start.map(|at| at.parse().expect("a moment"));
            gone_by(&message, now).map(|at| at.to_string())
        };
        let start = Some("2026-07-01T10:00:00Z");
        assert_eq!(of(Kind::SpotInterrupted, start).as_deref(), Some("2026-07-01T10:02:00Z"));
        assert_eq!(of(Kind::SpotInterrupted, None).as_deref(), Some("2026-07-01T10:02:05Z"));
        assert_eq!(of(Kind::CapacityReservationInterrupted, start).as_deref(), Some("2026-07-01T10:02:00Z"));
        assert_eq!(of(Kind::InstanceTerminated, start).as_deref(), start, "it goes while we read");
        assert_eq!(of(Kind::ScheduledChange, start), None, "that may be weeks");
    }

    #[test]
    fn a_recommendation_is_told_of_and_no_more() {
        let snapshot = snapshot();
        let known = Known::of(&snapshot);
        let all = deeds(&message(Kind::RebalanceRecommendation, &["i-00000001"]), &known);
        assert!(matches!(&all[..], [Deed { ends: false, away: None, .. }]), "{all:?}");
        for kind in [Kind::ScheduledChange, Kind::InstanceStopped, Kind::InstanceTerminated] {
            let all = deeds(&message(kind, &["i-00000001", "i-00000002"]), &known);
            assert!(all.len() == 2 && all.iter().all(|d| d.ends && d.away.is_none()), "{all:?}");
        }
        assert_eq!(deeds(&message(Kind::NoOp, &["i-00000001"]), &known), []);
    }

    #[test]
    fn what_holds_a_reservation_is_found_by_it() {
        let snapshot = snapshot();
        let known = Known::of(&snapshot);
        let mut block = message(Kind::CapacityBlockExpiring, &[]);
        block.reservations = vec!["cr-01234567".to_owned(), "cr-76543210".to_owned()];
        let all = deeds(&block, &known);
        assert_eq!(all.iter().map(|d| (d.machine, d.ends)).collect::<Vec<_>>(), [("i-00000003", true)]);
        let all = deeds(&message(Kind::CapacityReservationInterrupted, &["i-00000003"]), &known);
        assert_eq!(all[0].away, Some(OfferingKey::new("m7i.large", "us-east-1a", RESERVED)));
    }

    #[test]
    fn the_same_of_the_same_machine_is_new_once_an_hour() {
        let (mut seen, now) = (Seen::default(), Instant::now());
        assert!(seen.begin(Kind::SpotInterrupted, "i-1", now));
        assert!(!seen.begin(Kind::SpotInterrupted, "i-1", now + KNOWN / 2));
        assert!(seen.begin(Kind::InstanceTerminated, "i-1", now), "another kind is other news");
        assert!(seen.begin(Kind::SpotInterrupted, "i-2", now));
        assert!(seen.begin(Kind::SpotInterrupted, "i-1", now + KNOWN / 2 + KNOWN));
        seen.failed(Kind::SpotInterrupted, "i-2");
        assert!(seen.begin(Kind::SpotInterrupted, "i-2", now), "what could not be done is done later");
    }

    #[test]
    fn a_text_is_complained_about_once() {
        let mut complaints = Complaints::default();
        assert!(complaints.is_new("a") && complaints.is_new("b"));
        assert!(!complaints.is_new("a"));
        assert!((0..Complaints::MOST).all(|at| complaints.is_new(&at.to_string())));
        assert!(complaints.0.len() <= Complaints::MOST);
    }
}
