//! What `EventBridge` says of machines, as it arrives in the queue: text that anybody may have written who may send to it.
//!
//! # Invariants
//! - Reading never panics, and takes no more than the text is long. What is no event at all is [`Malformed`]; an event that
//!   nobody here does anything about is a message of [`Kind::NoOp`].
//! - What names a machine looks like the id of one.
//!
//! compat: karpenter-provider-aws v1.14, `pkg/controllers/interruption/messages`; names of kinds are those of its metrics.
//! The events are those that AWS documents in the user guides of EC2 and of AWS Health.

use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// The longest text that is read, bytes: `EventBridge`'s own limit for an event.
pub const LONGEST: usize = 256 * 1024;

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// EC2 takes a spot machine back in two minutes.
    SpotInterrupted,
    /// EC2 may take a spot machine back soon.
    RebalanceRecommendation,
    /// What a machine runs on is to be maintained or retired.
    ScheduledChange,
    /// A machine stops, or has.
    InstanceStopped,
    /// A machine ends, or has.
    InstanceTerminated,
    /// The owner of a capacity reservation takes a machine of it back.
    CapacityReservationInterrupted,
    /// A capacity block ends, and EC2 its machines some minutes before.
    CapacityBlockExpiring,
    /// Nothing that concerns machines of a cluster.
    NoOp,
}

impl Kind {
    /// As metrics call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SpotInterrupted => "spot_interrupted",
            Self::RebalanceRecommendation => "rebalance_recommendation",
            Self::ScheduledChange => "scheduled_change",
            Self::InstanceStopped => "instance_stopped",
            Self::InstanceTerminated => "instance_terminated",
            Self::CapacityReservationInterrupted => "capacity_reservation_interrupted",
            Self::CapacityBlockExpiring => "capacity_block_expiring",
            Self::NoOp => "no_op",
        }
    }
}

/// A message that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is about.
    pub kind: Kind,
    /// Ids of machines that it is about: `i-0123456789abcdef0`.
    pub machines: Vec<String>,
    /// Ids of capacity reservations whose machines it is about: `cr-0123456789abcdef0`.
    pub reservations: Vec<String>,
    /// When that happened of which it tells.
    pub start: Option<Timestamp>,
}

/// Why a text is no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// More than [`LONGEST`].
    #[error("{0} bytes are more than an event can have")]
    TooLong(usize),
    /// No JSON, or none of an event.
    #[error("not an event of EventBridge: {0}")]
    NotAnEvent(String),
    /// An event that should name something, and does not.
    #[error("{of}: no {what} is named")]
    Nameless {
        /// Its `detail-type`.
        of: &'static str,
        /// What it should name.
        what: &'static str,
    },
}

#[derive(Deserialize)]
struct Event {
    source: String,
    // AWS's own examples of events of capacity blocks have an underscore.
    #[serde(rename = "detail-type", alias = "detail_type")]
    detail_type: String,
    #[serde(default)]
    time: Option<String>,
    #[serde(default)]
    detail: Value,
}

/// `detail-type`s that something is done about.
const SPOT: &str = "EC2 Spot Instance Interruption Warning";
const REBALANCE: &str = "EC2 Instance Rebalance Recommendation";
const STATE: &str = "EC2 Instance State-change Notification";
const RESERVATION: &str = "EC2 Capacity Reservation Instance Interruption Warning";
const BLOCK: &str = "Capacity Block Reservation Expiration Warning";
const HEALTH: &str = "AWS Health Event";

/// Reads a message.
///
/// # Errors
/// Where it is no event, or one that does not name what it is about.
pub fn parse(body: &str) -> Result<Message, Malformed> {
    if body.len() > LONGEST {
        return Err(Malformed::TooLong(body.len()));
    }
    let event: Event =
        serde_json::from_str(body).map_err(|error| Malformed::NotAnEvent(error.to_string()))?;
    let start = event.time.and_then(|time| time.parse().ok());
    let detail = &event.detail;
    let of = |kind, machines| Message { kind, machines, reservations: Vec::new(), start };
    let one = |kind, of_type| machine(detail, of_type).map(|machine| of(kind, vec![machine]));
    match (event.source.as_str(), event.detail_type.as_str()) {
        ("aws.ec2", SPOT) => one(Kind::SpotInterrupted, SPOT),
        ("aws.ec2", REBALANCE) => one(Kind::RebalanceRecommendation, REBALANCE),
        ("aws.ec2", STATE) => match state(detail) {
            Some(kind) => one(kind, STATE),
            None => Ok(of(Kind::NoOp, Vec::new())),
        },
        ("aws.ec2", RESERVATION) => one(Kind::CapacityReservationInterrupted, RESERVATION),
        ("aws.ec2", BLOCK) => {
            let named = detail["capacity-reservation-id"].as_str().filter(|id| is_id(id, "cr-"));
            let named = named.ok_or(Malformed::Nameless { of: BLOCK, what: "capacity reservation" })?;
            let reservations = vec![named.to_owned()];
            Ok(Message { reservations, ..of(Kind::CapacityBlockExpiring, Vec::new()) })
        }
        ("aws.health", HEALTH) if is_scheduled(detail) => Ok(of(Kind::ScheduledChange, affected(detail))),
        _ => Ok(of(Kind::NoOp, Vec::new())),
    }
}

/// The one machine that an event of EC2 is about.
fn machine(detail: &Value, of: &'static str) -> Result<String, Malformed> {
    let named = detail["instance-id"].as_str().filter(|id| is_id(id, "i-"));
    named.map(str::to_owned).ok_or(Malformed::Nameless { of, what: "instance" })
}

/// What a new state comes to; nothing where a machine starts.
fn state(detail: &Value) -> Option<Kind> {
    match detail["state"].as_str()? {
        "stopping" | "stopped" => Some(Kind::InstanceStopped),
        "shutting-down" | "terminated" => Some(Kind::InstanceTerminated),
        _ => None,
    }
}

/// Whether an event of AWS Health tells of a change of EC2's machines that is still to come.
fn is_scheduled(detail: &Value) -> bool {
    // `closed` is said once more when it is over, or was called off.
    let over = detail["statusCode"].as_str() == Some("closed");
    detail["service"] == "EC2" && detail["eventTypeCategory"] == "scheduledChange" && !over
}

/// Machines that an event of AWS Health is about. It names other things as well.
fn affected(detail: &Value) -> Vec<String> {
    let named = detail["affectedEntities"].as_array().into_iter().flatten();
    let mut ids: Vec<String> = named
        .filter_map(|entity| entity["entityValue"].as_str())
        .filter(|id| is_id(id, "i-"))
        .map(str::to_owned)
        .collect();
    ids.sort();
    ids.dedup();
    ids
}

/// Whether it looks like an id of EC2: eight letters or seventeen behind the prefix, of a hexadecimal number.
fn is_id(text: &str, prefix: &str) -> bool {
    let digits = text.strip_prefix(prefix).unwrap_or_default();
    let hexadecimal = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    matches!(digits.len(), 8 | 17) && digits.bytes().all(hexadecimal)
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
