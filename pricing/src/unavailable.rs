//! Offerings that lately could not be had, so that they are not asked for again at once.
//!
//! ```text
//!             error                 no error for as long again
//!  available ───────▶ away 3 min ─────────────────────────────▶ forgotten
//!                        │  ▲
//!                  expiry│  │error again: twice as long, up to 48 min
//!                        ▼  │
//!                     on trial
//! ```
//!
//! When three types of a family fail in the same zone and capacity type, the others of the family are away too: they are
//! carved from the same machines. Zones are shifted away by whoever runs the cluster, and for that no error is needed.
//!
//! # Invariants
//! - No clock: every moment is handed in, and all answers follow from it.
//! - The generation changes whenever an answer may: it is what caches are keyed by.
//! - What is remembered is bounded: what has been forgotten takes no room after [`Unavailable::sweep`].
//!
//! compat: three minutes, and the codes, are those of karpenter-provider-aws v1.14 (`pkg/cache`, `pkg/errors`); Karpenter
//! knows neither families nor longer times.

mod file;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::catalog::{Catalog, Offering};
use crate::time::Timestamp;
use stowage_api::well_known::ZONE_ID;

/// How long an offering stays away after a first error, in seconds.
const FIRST_SECONDS: i64 = 180;
/// How often that is doubled at most.
const MOST_DOUBLINGS: u32 = 4;
/// Types of a family that fail before the whole family is away.
const TYPES_OF_A_FAMILY: usize = 3;

/// What an error of `CreateFleet` or `RunInstances` says about capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CapacityFault {
    /// This type cannot be had in this zone and capacity type.
    Offering,
    /// Nothing of this capacity type can be had.
    CapacityType,
    /// The subnet has no free address.
    Subnet,
    /// The capacity reservation is used up.
    Reservation,
}

impl CapacityFault {
    /// Of an error code; `None` where it says nothing about capacity.
    pub fn of_code(code: &str) -> Option<Self> {
        Some(match code {
            "InsufficientInstanceCapacity"
            | "MaxSpotInstanceCountExceeded"
            | "VcpuLimitExceeded"
            | "UnfulfillableCapacity"
            | "Unsupported"
            | "MaxFleetCountExceeded" => Self::Offering,
            "AuthFailure.ServiceLinkedRoleCreationNotPermitted" => Self::CapacityType,
            "InsufficientFreeAddressesInSubnet" => Self::Subnet,
            "ReservationCapacityExceeded" => Self::Reservation,
            _ => return None,
        })
    }
}

/// An offering, as errors name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OfferingKey {
    /// Type: `m7i.large`.
    pub instance_type: String,
    /// Zone: `us-east-1a`.
    pub zone: String,
    /// `on-demand`, `spot` or `reserved`.
    pub capacity_type: String,
}

impl OfferingKey {
    /// Of three names.
    pub fn new(instance_type: &str, zone: &str, capacity_type: &str) -> Self {
        Self {
            instance_type: instance_type.to_owned(),
            zone: zone.to_owned(),
            capacity_type: capacity_type.to_owned(),
        }
    }

    fn family(&self) -> &str {
        self.instance_type.split('.').next().unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    since: Timestamp,
    until: Timestamp,
    doublings: u32,
}

impl Mark {
    /// Away from now on: for longer than the last time where that is not long ago.
    fn renewed(last: Option<Self>, now: Timestamp) -> Self {
        let doublings = match last {
            // Errors that come in while it is away already are of launches that were under way.
            Some(last) if now < last.until => return Self { since: last.since, ..last },
            Some(last) if now < last.forgotten_at() => (last.doublings + 1).min(MOST_DOUBLINGS),
            _ => 0,
        };
        Self { since: now, until: now.plus_seconds(FIRST_SECONDS << doublings), doublings }
    }

    /// It is on trial as long again as it was away.
    fn forgotten_at(self) -> Timestamp {
        self.until.plus_seconds(self.until.seconds_since(self.since) as i64)
    }
}

/// What lately could not be had. As JSON it survives a restart.
///
/// ```
/// use stowage_pricing::{OfferingKey, Timestamp, Unavailable};
///
/// let noon: Timestamp = "2026-07-20T12:00:00Z".parse()?;
/// let mut unavailable = Unavailable::default();
/// let spot = OfferingKey::new("m7i.large", "us-east-1a", "spot");
/// unavailable.mark(noon, &spot);
/// assert!(unavailable.is_away(noon.plus_seconds(179), &spot));
/// assert!(!unavailable.is_away(noon.plus_seconds(180), &spot));
/// # Ok::<(), stowage_pricing::TimestampError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Unavailable {
    offerings: BTreeMap<OfferingKey, Mark>,
    /// By family in the place of the type.
    families: BTreeMap<OfferingKey, Mark>,
    capacity_types: BTreeMap<String, Mark>,
    /// Zones or zone ids that are shifted away, until when where that is set.
    shifted: BTreeMap<String, Option<Timestamp>>,
    /// When it was last swept: what ended before has been counted.
    swept: Timestamp,
    generation: u64,
}

/// The form of JSON: maps with keys of several parts as lists.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Written {
    offerings: Vec<(OfferingKey, Mark)>,
    families: Vec<(OfferingKey, Mark)>,
    capacity_types: BTreeMap<String, Mark>,
    shifted: BTreeMap<String, Option<Timestamp>>,
    swept: Timestamp,
    generation: u64,
}

impl From<Written> for Unavailable {
    fn from(written: Written) -> Self {
        Self {
            offerings: written.offerings.into_iter().collect(),
            families: written.families.into_iter().collect(),
            capacity_types: written.capacity_types,
            shifted: written.shifted,
            swept: written.swept,
            generation: written.generation,
        }
    }
}

impl From<Unavailable> for Written {
    fn from(of: Unavailable) -> Self {
        Self {
            offerings: of.offerings.into_iter().collect(),
            families: of.families.into_iter().collect(),
            capacity_types: of.capacity_types,
            shifted: of.shifted,
            swept: of.swept,
            generation: of.generation,
        }
    }
}

impl Unavailable {
    /// Changes whenever an answer of [`Self::is_away`] may have changed; with time only through [`Self::sweep`].
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Remembers that an offering could not be had.
    pub fn mark(&mut self, now: Timestamp, key: &OfferingKey) {
        let mark = Mark::renewed(self.offerings.get(key).copied(), now);
        self.offerings.insert(key.clone(), mark);
        let family = OfferingKey::new(key.family(), &key.zone, &key.capacity_type);
        let alike = |k: &OfferingKey| {
            (k.family(), &k.zone, &k.capacity_type) == (key.family(), &key.zone, &key.capacity_type)
        };
        let failing = self.offerings.iter().filter(|(k, m)| alike(k) && now < m.until).count();
        if failing >= TYPES_OF_A_FAMILY {
            let mark = Mark::renewed(self.families.get(&family).copied(), now);
            self.families.insert(family, mark);
        }
        self.generation += 1;
    }

    /// Remembers that nothing of a capacity type can be had, as when the account may not use spot.
    pub fn mark_capacity_type(&mut self, now: Timestamp, capacity_type: &str) {
        let mark = Mark::renewed(self.capacity_types.get(capacity_type).copied(), now);
        self.capacity_types.insert(capacity_type.to_owned(), mark);
        self.generation += 1;
    }

    /// Forgets an offering's errors, and its family's, because one was launched.
    pub fn launched(&mut self, key: &OfferingKey) {
        let family = OfferingKey::new(key.family(), &key.zone, &key.capacity_type);
        let known = self.offerings.remove(key).is_some();
        let family_known = self.families.remove(&family).is_some();
        let kind_known = self.capacity_types.remove(&key.capacity_type).is_some();
        self.generation += u64::from(known || family_known || kind_known);
    }

    /// Shifts a zone away, by name or id; until a moment, or until [`Self::shift_back`].
    pub fn shift(&mut self, zone: &str, until: Option<Timestamp>) {
        if self.shifted.insert(zone.to_owned(), until) != Some(until) {
            self.generation += 1;
        }
    }

    /// Ends the shift of a zone.
    pub fn shift_back(&mut self, zone: &str) {
        self.generation += u64::from(self.shifted.remove(zone).is_some());
    }

    /// Whether a zone, by name or id, is shifted away.
    pub fn is_shifted(&self, now: Timestamp, zone: &str) -> bool {
        self.shifted.get(zone).is_some_and(|until| until.is_none_or(|until| now < until))
    }

    /// Whether an offering should not be asked for now.
    pub fn is_away(&self, now: Timestamp, key: &OfferingKey) -> bool {
        let away = |mark: Option<&Mark>| mark.is_some_and(|m| now < m.until);
        away(self.offerings.get(key))
            || away(self.capacity_types.get(&key.capacity_type))
            || self.is_shifted(now, &key.zone)
            || (!self.families.is_empty()
                && away(self.families.get(&OfferingKey::new(key.family(), &key.zone, &key.capacity_type))))
    }

    /// The same, of an offering of the catalogue, whose zone may be known by its id too.
    pub fn is_offering_away(&self, now: Timestamp, instance_type: &str, offering: &Offering) -> bool {
        let id = offering.label(ZONE_ID).is_some_and(|id| self.is_shifted(now, id));
        id || self.is_away(now, &key_of(instance_type, offering))
    }

    /// Drops what is forgotten. Says when next an answer changes by itself, if ever: the moment to sweep and plan again.
    pub fn sweep(&mut self, now: Timestamp) -> Option<Timestamp> {
        let before = self.size();
        let ended = self.marks().any(|m| self.swept < m.until && m.until <= now);
        self.swept = self.swept.max(now);
        self.offerings.retain(|_, m| now < m.forgotten_at());
        self.families.retain(|_, m| now < m.forgotten_at());
        self.capacity_types.retain(|_, m| now < m.forgotten_at());
        self.shifted.retain(|_, until| until.is_none_or(|until| now < until));
        self.generation += u64::from(ended || before != self.size());
        let shifts = self.shifted.values().filter_map(|until| *until);
        self.marks().map(|m| m.until).filter(|until| now < *until).chain(shifts).min()
    }

    fn marks(&self) -> impl Iterator<Item = &Mark> {
        self.offerings.values().chain(self.families.values()).chain(self.capacity_types.values())
    }

    fn size(&self) -> usize {
        self.offerings.len() + self.families.len() + self.capacity_types.len() + self.shifted.len()
    }

    /// Zones that are shifted away and that no offering of a catalogue is in, by name or id.
    pub fn shifted_elsewhere(&self, catalog: &Catalog, now: Timestamp) -> Vec<&str> {
        let offerings = || catalog.types.iter().flat_map(|of| &of.offerings);
        let known: BTreeSet<&str> =
            offerings().flat_map(|o| o.label(ZONE_ID).into_iter().chain([o.zone()])).collect();
        let zones = self.shifted.keys().map(String::as_str);
        zones.filter(|zone| self.is_shifted(now, zone) && !known.contains(zone)).collect()
    }

    /// Makes what is away unavailable in a catalogue. Says how many offerings that were.
    pub fn hide_in(&self, catalog: &mut Catalog, now: Timestamp) -> usize {
        let families: BTreeSet<&str> = self.families.keys().map(|k| k.instance_type.as_str()).collect();
        let mut hidden = 0;
        for of in &mut catalog.types {
            let named = self.offerings.keys().any(|k| k.instance_type == of.name)
                || of.name.split('.').next().is_some_and(|family| families.contains(family));
            let whole = !self.shifted.is_empty() || !self.capacity_types.is_empty();
            if !named && !whole {
                continue;
            }
            for offering in of.offerings.iter_mut().filter(|o| o.available) {
                if self.is_offering_away(now, &of.name, offering) {
                    offering.available = false;
                    hidden += 1;
                }
            }
        }
        hidden
    }
}

fn key_of(name: &str, offering: &Offering) -> OfferingKey {
    OfferingKey::new(name, offering.zone(), offering.capacity_type())
}

#[cfg(test)]
#[path = "unavailable_tests.rs"]
mod tests;
