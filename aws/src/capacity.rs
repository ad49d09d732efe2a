//! Where capacity is set aside, and how machines stand to each other: capacity reservations and placement groups.

use aws_sdk_ec2::primitives::{DateTime, DateTimeFormat};
use aws_sdk_ec2::types::{
    CapacityReservation, Filter, PlacementGroup, PlacementGroupState, PlacementStrategy,
};

use crate::ec2::{Ec2, Refused, Search};

/// A way to find capacity reservations: all that it says must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReservationSearch {
    /// Id, tags; and the owner, an account.
    pub of: Search,
    /// `open` or `targeted`.
    pub match_criteria: Option<String>,
}

/// A capacity reservation that is active.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FoundReservation {
    /// `cr-0123456789abcdef0`.
    pub id: String,
    /// Zone.
    pub zone: String,
    /// Instance type.
    pub instance_type: String,
    /// `open` or `targeted`.
    pub match_criteria: String,
    /// Account.
    pub owner: String,
    /// `default` or `capacity-block`.
    pub kind: String,
    /// Whether its owner may take it back.
    pub interruptible: bool,
    /// When it ends, as EC2 writes it.
    pub end: Option<String>,
}

/// A placement group.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FoundGroup {
    /// `pg-0123456789abcdef0`.
    pub id: String,
    /// Name.
    pub name: String,
    /// `cluster`, `partition` or `spread`.
    pub strategy: String,
    /// `available`, or on its way there or off.
    pub state: String,
}

impl Ec2 {
    /// Active capacity reservations that one of the searches finds, by id.
    ///
    /// # Errors
    /// What EC2 says.
    pub async fn reservations(&self, any_of: &[ReservationSearch]) -> Result<Vec<FoundReservation>, Refused> {
        let one = |name: &str, value: &str| Filter::builder().name(name).values(value).build();
        let mut found = Vec::new();
        for search in any_of {
            // There is no filter for ids: they stand beside the filters.
            let mut filters = Search { id: None, ..search.of.clone() }.filters("", "");
            filters.push(one("state", "active"));
            filters.extend(search.of.owners.first().map(|owner| one("owner-id", owner)));
            filters.extend(search.match_criteria.as_deref().map(|of| one("instance-match-criteria", of)));
            let ids = search.of.id.clone().map(|id| vec![id]);
            let call = self.client.describe_capacity_reservations();
            let mut pages =
                call.set_filters(Some(filters)).set_capacity_reservation_ids(ids).into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = match page.map_err(|error| Refused::of("DescribeCapacityReservations", &error)) {
                    Ok(page) => page,
                    Err(refused) if refused.is_gone() => break,
                    Err(refused) => return Err(refused),
                };
                found.extend(page.capacity_reservations().iter().map(reservation));
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// The placement group of this id or name; `None` where there is none.
    ///
    /// # Errors
    /// What EC2 says.
    pub async fn placement_group(&self, of: &Search) -> Result<Option<FoundGroup>, Refused> {
        let call = self.client.describe_placement_groups();
        let ids = of.id.clone().map(|id| vec![id]);
        let names = of.name.clone().map(|name| vec![name]);
        let answer = call.set_group_ids(ids).set_group_names(names).send().await;
        match answer.map_err(|error| Refused::of("DescribePlacementGroups", &error)) {
            Ok(answer) => Ok(answer.placement_groups().first().map(group)),
            // Of these alone EC2 says it in another way.
            Err(refused) if refused.is_gone() || refused.code.as_deref().is_some_and(is_unknown) => Ok(None),
            Err(refused) => Err(refused),
        }
    }
}

fn is_unknown(code: &str) -> bool {
    code.ends_with(".Unknown")
}

fn reservation(of: &CapacityReservation) -> FoundReservation {
    let text = |found: Option<&str>| found.unwrap_or_default().to_owned();
    FoundReservation {
        id: text(of.capacity_reservation_id()),
        zone: text(of.availability_zone()),
        instance_type: text(of.instance_type()),
        match_criteria: of.instance_match_criteria().map_or("open", |c| c.as_str()).to_owned(),
        owner: text(of.owner_id()),
        kind: of.reservation_type().map_or("default", |kind| kind.as_str()).to_owned(),
        interruptible: of.interruptible().unwrap_or_default(),
        end: of.end_date().and_then(|at: &DateTime| at.fmt(DateTimeFormat::DateTime).ok()),
    }
}

fn group(of: &PlacementGroup) -> FoundGroup {
    let text = |found: Option<&str>| found.unwrap_or_default().to_owned();
    FoundGroup {
        id: text(of.group_id()),
        name: text(of.group_name()),
        strategy: text(of.strategy().map(PlacementStrategy::as_str)),
        state: text(of.state().map(PlacementGroupState::as_str)),
    }
}
