//! `DescribeInstanceTypeOfferings` and `DescribeSubnets`: where types can be had, and where nodes may stand.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{Answer, AnswerError, PassedOver, elements, pages, quoted};

/// Type → zones that offer it.
pub type Locations = BTreeMap<String, BTreeSet<String>>;

/// The zones that offer each type. Where the answer is about regions or zone ids, nothing of it can be used: prices and
/// subnets are of zones by name.
///
/// # Errors
/// Where the bytes are no answer of `DescribeInstanceTypeOfferings`.
pub fn parse_offerings(bytes: &[u8]) -> Result<Answer<Locations>, AnswerError> {
    const CALL: &str = "DescribeInstanceTypeOfferings";
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Offered {
        instance_type: String,
        #[serde(default)]
        location_type: String,
        location: String,
    }
    let read = elements::<Offered>(pages(bytes, CALL)?, CALL, "InstanceTypeOfferings", "InstanceType")?;
    let mut answer =
        Answer { found: Locations::new(), passed_over: read.passed_over, complete: read.complete };
    for offered in read.found {
        if matches!(offered.location_type.as_str(), "" | "availability-zone") {
            answer.found.entry(offered.instance_type).or_default().insert(offered.location);
        } else {
            let why = format!(
                "is told by {}, not by zone; ask with --location-type availability-zone",
                quoted(&offered.location_type)
            );
            answer.passed_over.push(PassedOver { what: quoted(&offered.instance_type), why });
        }
    }
    Ok(answer)
}

/// A subnet that nodes may be launched into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// `subnet-0123456789abcdef0`.
    pub id: String,
    /// Zone: `us-east-1a`.
    pub zone: String,
    /// Zone id: `use1-az1`, the same place in every account; empty where the answer has none.
    pub zone_id: String,
    /// Addresses that are free, where stated.
    pub free_addresses: Option<u32>,
}

/// The subnets that are in use, by id.
///
/// # Errors
/// Where the bytes are no answer of `DescribeSubnets`.
pub fn parse_subnets(bytes: &[u8]) -> Result<Answer<Vec<Subnet>>, AnswerError> {
    const CALL: &str = "DescribeSubnets";
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Described {
        subnet_id: String,
        availability_zone: String,
        #[serde(default)]
        availability_zone_id: String,
        available_ip_address_count: Option<u32>,
        #[serde(default)]
        state: String,
    }
    let read = elements::<Described>(pages(bytes, CALL)?, CALL, "Subnets", "SubnetId")?;
    let mut answer = Answer { found: Vec::new(), passed_over: read.passed_over, complete: read.complete };
    for subnet in read.found {
        if !matches!(subnet.state.as_str(), "" | "available") {
            let why = format!("is {}", super::quoted(&subnet.state));
            answer.passed_over.push(PassedOver { what: subnet.subnet_id, why });
            continue;
        }
        answer.found.push(Subnet {
            id: subnet.subnet_id,
            zone: subnet.availability_zone,
            zone_id: subnet.availability_zone_id,
            free_addresses: subnet.available_ip_address_count,
        });
    }
    answer.found.sort_by(|a, b| a.id.cmp(&b.id));
    answer.found.dedup_by(|a, b| a.id == b.id);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_gather_by_type_over_pages() {
        let answer = parse_offerings(
            br#"{"InstanceTypeOfferings": [
                    {"InstanceType": "m7i.large", "LocationType": "availability-zone", "Location": "eu-west-1b"},
                    {"InstanceType": "x99.large", "LocationType": "availability-zone", "Location": "eu-west-1a"},
                    {"InstanceType": "m7i.large"}], "NextToken": "more"}
                {"InstanceTypeOfferings": [
                    {"InstanceType": "m7i.large", "LocationType": "availability-zone", "Location": "eu-west-1a"}]}"#,
        )
        .unwrap();
        assert_eq!(answer.found["m7i.large"].iter().collect::<Vec<_>>(), ["eu-west-1a", "eu-west-1b"]);
        assert_eq!(answer.found.len(), 2);
        assert_eq!(answer.passed_over[0].to_string(), "m7i.large: missing field `Location`");
        assert!(answer.complete);
    }

    #[test]
    fn only_zones_by_name_are_used() {
        let answer = parse_offerings(
            br#"{"InstanceTypeOfferings": [
                {"InstanceType": "m7i.large", "LocationType": "availability-zone", "Location": "eu-west-1a"},
                {"InstanceType": "m7i.large", "LocationType": "availability-zone-id", "Location": "euw1-az1"},
                {"InstanceType": "c7i.large", "LocationType": "region", "Location": "eu-west-1"}]}"#,
        )
        .unwrap();
        assert_eq!(answer.found.len(), 1);
        assert_eq!(answer.found["m7i.large"].iter().collect::<Vec<_>>(), ["eu-west-1a"]);
        let said: Vec<String> = answer.passed_over.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "m7i.large: is told by availability-zone-id, not by zone; ask with --location-type availability-zone",
                "c7i.large: is told by region, not by zone; ask with --location-type availability-zone",
            ]
        );
    }

    #[test]
    fn subnets_that_are_not_ready_are_named() {
        let answer = parse_subnets(
            br#"{"Subnets": [
                {"SubnetId": "subnet-b", "AvailabilityZone": "eu-west-1b", "AvailabilityZoneId": "euw1-az2",
                 "AvailableIpAddressCount": 4091, "State": "available", "CidrBlock": "10.0.16.0/20"},
                {"SubnetId": "subnet-c", "AvailabilityZone": "eu-west-1c", "State": "pending"},
                {"SubnetId": "subnet-a", "AvailabilityZone": "eu-west-1a"}]}"#,
        )
        .unwrap();
        assert_eq!(answer.found.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["subnet-a", "subnet-b"]);
        assert_eq!(
            (answer.found[1].zone_id.as_str(), answer.found[1].free_addresses),
            ("euw1-az2", Some(4091))
        );
        assert_eq!(answer.passed_over[0].to_string(), "subnet-c: is pending");
    }
}
