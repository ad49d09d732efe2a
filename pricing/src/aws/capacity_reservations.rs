//! `DescribeCapacityReservations`: machines that are held for this account, and paid for, used or not.

use serde::Deserialize;
use stowage_api::Operator;
use stowage_api::well_known::{
    CAPACITY_RESERVATION_ID, CAPACITY_RESERVATION_INTERRUPTIBLE, CAPACITY_RESERVATION_TYPE, CAPACITY_TYPE,
    RESERVED, ZONE, ZONE_ID,
};

use super::{Answer, AnswerError, PassedOver, elements, pages, quoted};
use crate::catalog::{Offering, Requirement};
use crate::time::Timestamp;

const CALL: &str = "DescribeCapacityReservations";

/// A reservation is paid for already, so a node on it costs next to nothing; not nothing, so that of two the one of the
/// smaller machine is taken.
///
/// compat: karpenter-provider-aws v1.14, `reserved_capacity_resolver.go`.
const DIVISOR: f64 = 10_000_000.0;

/// Karpenter ends nodes of a capacity block so long before the block itself, in seconds.
const BLOCK_ENDS_EARLY: i64 = 40 * 60;

/// Machines of one type in one zone that are held for this account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapacityReservation {
    /// `cr-0123456789abcdef0`.
    pub id: String,
    /// Type.
    pub instance_type: String,
    /// Zone.
    pub zone: String,
    /// Zone id; empty where not told.
    pub zone_id: String,
    /// Machines in all.
    pub total: u32,
    /// Machines that no instance uses.
    pub available: u32,
    /// `default` or `capacity-block`.
    pub kind: String,
    /// Whether AWS may take machines back.
    pub interruptible: bool,
    /// When it ends, if it does.
    pub end: Option<Timestamp>,
}

impl CapacityReservation {
    /// Whether a node may be launched on it: one is free, and the reservation does not end at once.
    pub fn is_open(&self, now: Timestamp) -> bool {
        let early = if self.kind == "capacity-block" { BLOCK_ENDS_EARLY } else { 0 };
        self.available > 0 && self.end.is_none_or(|end| now.plus_seconds(early) < end)
    }

    /// The offering of it: reserved, at a ten-millionth of the on-demand price, for as many nodes as are free.
    pub fn offering(&self, on_demand: Option<f64>, now: Timestamp) -> Offering {
        let mut labels = vec![
            (CAPACITY_RESERVATION_ID, self.id.clone()),
            (CAPACITY_RESERVATION_INTERRUPTIBLE, self.interruptible.to_string()),
            (CAPACITY_RESERVATION_TYPE, self.kind.clone()),
            (CAPACITY_TYPE, RESERVED.to_owned()),
            (ZONE, self.zone.clone()),
        ];
        if !self.zone_id.is_empty() {
            labels.push((ZONE_ID, self.zone_id.clone()));
        }
        let mut requirements: Vec<Requirement> = labels
            .into_iter()
            .map(|(key, value)| Requirement {
                key: key.to_owned(),
                operator: Operator::In,
                values: vec![value],
            })
            .collect();
        requirements.sort();
        Offering {
            price: on_demand.unwrap_or_default() / DIVISOR,
            available: self.is_open(now),
            estimated: false,
            limit: Some(self.available),
            requirements: requirements.into(),
        }
    }
}

/// The reservations of Linux machines that are active, by id.
///
/// # Errors
/// Where the bytes are no such answer.
pub fn parse(bytes: &[u8]) -> Result<Answer<Vec<CapacityReservation>>, AnswerError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Element {
        capacity_reservation_id: String,
        instance_type: String,
        availability_zone: String,
        #[serde(default)]
        availability_zone_id: String,
        #[serde(default)]
        instance_platform: String,
        #[serde(default)]
        tenancy: String,
        total_instance_count: u32,
        available_instance_count: u32,
        state: String,
        end_date: Option<Timestamp>,
        #[serde(default)]
        reservation_type: String,
        #[serde(default)]
        interruptible: bool,
    }
    let read =
        elements::<Element>(pages(bytes, CALL)?, CALL, "CapacityReservations", "CapacityReservationId")?;
    let mut answer = Answer { found: Vec::new(), passed_over: read.passed_over, complete: read.complete };
    for of in read.found {
        let linux = matches!(of.instance_platform.as_str(), "" | "Linux/UNIX");
        let why = if of.state != "active" {
            Some(format!("is {}", quoted(&of.state)))
        } else if !linux {
            Some(format!("is for {}", quoted(&of.instance_platform)))
        } else if !matches!(of.tenancy.as_str(), "" | "default") {
            Some(format!("is for tenancy {}", quoted(&of.tenancy)))
        } else {
            None
        };
        if let Some(why) = why {
            answer.passed_over.push(PassedOver { what: of.capacity_reservation_id, why });
            continue;
        }
        let kind = if of.reservation_type.is_empty() { "default".to_owned() } else { of.reservation_type };
        answer.found.push(CapacityReservation {
            id: of.capacity_reservation_id,
            instance_type: of.instance_type,
            zone: of.availability_zone,
            zone_id: of.availability_zone_id,
            total: of.total_instance_count,
            available: of.available_instance_count.min(of.total_instance_count),
            kind,
            interruptible: of.interruptible,
            end: of.end_date,
        });
    }
    answer.found.sort_by(|a, b| a.id.cmp(&b.id));
    answer.found.dedup_by(|a, b| a.id == b.id);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_seconds(1_784_548_800);

    fn answer() -> Answer<Vec<CapacityReservation>> {
        parse(
            br#"{"CapacityReservations": [
                {"CapacityReservationId": "cr-2", "InstanceType": "p5.48xlarge", "AvailabilityZone": "us-east-1b",
                 "AvailabilityZoneId": "use1-az2", "InstancePlatform": "Linux/UNIX", "Tenancy": "default",
                 "TotalInstanceCount": 4, "AvailableInstanceCount": 3, "State": "active",
                 "EndDate": "2026-07-20T13:00:00Z", "EndDateType": "limited", "ReservationType": "capacity-block"},
                {"CapacityReservationId": "cr-1", "InstanceType": "m7i.large", "AvailabilityZone": "us-east-1a",
                 "InstancePlatform": "Linux/UNIX", "TotalInstanceCount": 2, "AvailableInstanceCount": 0, "State": "active"},
                {"CapacityReservationId": "cr-3", "InstanceType": "m7i.large", "AvailabilityZone": "us-east-1a",
                 "InstancePlatform": "Windows", "TotalInstanceCount": 2, "AvailableInstanceCount": 2, "State": "active"},
                {"CapacityReservationId": "cr-4", "InstanceType": "m7i.large", "AvailabilityZone": "us-east-1a",
                 "TotalInstanceCount": 2, "AvailableInstanceCount": 2, "State": "expired"}]}"#,
        )
        .unwrap()
    }

    #[test]
    fn active_linux_reservations_are_kept() {
        let answer = answer();
        assert_eq!(answer.found.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["cr-1", "cr-2"]);
        let said: Vec<String> = answer.passed_over.iter().map(ToString::to_string).collect();
        assert_eq!(said, ["cr-3: is for Windows", "cr-4: is expired"]);
    }

    /// p5.48xlarge is $55.04 in us-east-1.
    #[test]
    fn an_offering_is_nearly_free_and_limited() {
        let block = &answer().found[1];
        let offering = block.offering(Some(55.04), NOON);
        assert!((offering.price - 55.04e-7).abs() < 1e-15);
        assert_eq!((offering.available, offering.limit), (true, Some(3)));
        assert_eq!((offering.zone(), offering.capacity_type()), ("us-east-1b", "reserved"));
        assert_eq!(offering.label("karpenter.k8s.aws/capacity-reservation-type"), Some("capacity-block"));
        assert_eq!(offering.label("karpenter.k8s.aws/capacity-reservation-interruptible"), Some("false"));
        assert_eq!(offering.label("topology.k8s.aws/zone-id"), Some("use1-az2"));
        // A block of until 13:00 is left alone from 12:20 on.
        assert!(!block.offering(Some(55.04), NOON.plus_seconds(20 * 60)).available);
        let full = answer().found[0].offering(None, NOON);
        assert_eq!((full.available, full.limit), (false, Some(0)));
    }
}
