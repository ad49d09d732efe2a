//! A region's catalogue from AWS's answers: what types there are, where they are offered, and what they cost there.
//!
//! ```text
//! types ───────┐
//! zones ───────┼─▶ type × zone × capacity type ─▶ Catalog
//! price book ──┤                              └─▶ left out, each with why
//! reservations ┘
//! ```
//!
//! # Invariants
//! - What has no price is not offered, and is named.
//! - A type that is offered and not known, or known and not offered, is named, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use stowage_api::Operator;
use stowage_api::well_known::{CAPACITY_TYPE, ON_DEMAND, SPOT, ZONE, ZONE_ID};

use crate::aws::capacity_reservations::CapacityReservation;
use crate::aws::offerings::{Locations, Subnet};
use crate::aws::quoted;
use crate::catalog::{Catalog, CatalogSource, InstanceType, Offering, Requirement, Settings};
use crate::facts::TypeFacts;
use crate::quote::{Part, PriceBook};
use crate::time::Timestamp;

/// What is known of a region.
#[derive(Clone, Copy, Debug)]
pub struct Region<'a> {
    /// What types are made of.
    pub types: &'a [TypeFacts],
    /// The zones that offer each.
    pub locations: &'a Locations,
    /// Where nodes may stand; every zone without.
    pub subnets: Option<&'a [Subnet]>,
    /// Machines that are held for this account.
    pub reservations: &'a [CapacityReservation],
    /// What all of it costs.
    pub book: &'a PriceBook,
    /// How nodes are set up, and what spot costs where no history tells.
    pub settings: &'a Settings,
    /// Now: reservations that end are left alone.
    pub now: Timestamp,
}

/// A catalogue, and what is not in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Assembled {
    /// The catalogue.
    pub catalog: Catalog,
    /// What was left out.
    pub left_out: Vec<LeftOut>,
}

/// Types that are not in a catalogue, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Why.
    pub why: Why,
    /// Which, by name.
    pub types: Vec<String>,
}

/// Why a type is not in a catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It has no on-demand price.
    NoPrice,
    /// It is sold as spot, and the history has no price of it in some zone that offers it.
    NoSpotPrice,
    /// Zones offer it, or machines of it are reserved, and nobody said what it is.
    Unknown,
    /// No zone offers it.
    NotOffered,
    /// Nodes so set up do not run on it.
    Misfit,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.types.len();
        let types = if count == 1 { "type" } else { "types" };
        let why = match self.why {
            Why::NoPrice => "without an on-demand price, so not offered",
            Why::NoSpotPrice => "without a spot price in some zones, so not offered as spot there",
            Why::Unknown => "offered in some zone or reserved, but not described",
            Why::NotOffered => "described, but offered in no zone",
            Why::Misfit => "on which nodes so set up do not run",
        };
        let some: Vec<String> = self.types.iter().take(3).map(|name| quoted(name)).collect();
        let more = if count > some.len() { ", …" } else { "" };
        write!(f, "{count} {types} {why}: {}{more}", some.join(", "))
    }
}

impl Region<'_> {
    /// The catalogue of all this.
    pub fn assemble(&self) -> Assembled {
        let mut left_out = BTreeMap::<Why, BTreeSet<String>>::new();
        let mut leave = |why: Why, name: &str| {
            left_out.entry(why).or_default().insert(name.to_owned());
        };
        let described: BTreeSet<&str> = self.types.iter().map(|t| t.name.as_str()).collect();
        let reserved = self.reservations.iter().map(|r| &r.instance_type);
        for name in self.locations.keys().chain(reserved).filter(|name| !described.contains(name.as_str())) {
            leave(Why::Unknown, name);
        }
        let mut types = Vec::new();
        for facts in self.types {
            let name = facts.name.as_str();
            let Some(zones) = self.locations.get(name).filter(|zones| !zones.is_empty()) else {
                leave(Why::NotOffered, name);
                continue;
            };
            if self.settings.nodes.runs_on(facts).is_err() {
                leave(Why::Misfit, name);
                continue;
            }
            let on_demand = self.book.on_demand(name).map(|quote| quote.price);
            if on_demand.is_none() {
                leave(Why::NoPrice, name);
            }
            let mut of = InstanceType::of(facts, &self.settings.nodes);
            for zone in zones {
                let open = self.is_open(zone);
                if let Some(price) = on_demand {
                    of.offerings.push(self.offering(ON_DEMAND, zone, price, open, false));
                }
                match self.spot_price(facts, zone, on_demand) {
                    Some((price, estimated)) => {
                        of.offerings.push(self.offering(SPOT, zone, price, open, estimated));
                    }
                    None if facts.spot && on_demand.is_some() => leave(Why::NoSpotPrice, name),
                    None => {}
                }
            }
            for held in self.reservations.iter().filter(|r| r.instance_type == name) {
                let mut offering = held.offering(on_demand, self.now);
                offering.available &= self.is_open(&held.zone);
                of.offerings.push(offering);
            }
            of.offerings.sort_by(|a, b| {
                (a.capacity_type(), a.zone())
                    .cmp(&(b.capacity_type(), b.zone()))
                    .then_with(|| a.requirements.cmp(&b.requirements))
            });
            if !of.offerings.is_empty() {
                types.push(of);
            }
        }
        types.sort_by(|a, b| a.name.cmp(&b.name));
        types.dedup_by(|a, b| a.name == b.name);
        let left_out = left_out
            .into_iter()
            .map(|(why, types)| LeftOut { why, types: types.into_iter().collect() })
            .collect();
        let mut described = self.types.to_vec();
        described.sort_by(|a, b| a.name.cmp(&b.name));
        let good = |part: Part| self.book.refreshes(part).and_then(|r| r.last_good);
        let source = CatalogSource::Answers {
            region: self.book.region().to_owned(),
            // The older of both, so that neither looks newer than it is.
            as_of: good(Part::OnDemand).into_iter().chain(good(Part::Spot)).min().unwrap_or(self.now),
            spot_price_share: self.settings.spot_price_share,
            types: described.into(),
            nodes: Box::new(self.settings.nodes.clone()),
            suited: false,
        };
        Assembled { catalog: Catalog { types, source }.sharing(), left_out }
    }

    /// The spot price of a type, and whether it is an estimate: one is made only where there is no history at all.
    fn spot_price(&self, facts: &TypeFacts, zone: &str, on_demand: Option<f64>) -> Option<(f64, bool)> {
        if !facts.spot {
            return None;
        }
        if let Some(quote) = self.book.spot(&facts.name, zone) {
            return Some((quote.price, false));
        }
        let share = self.settings.spot_price_share.as_f64();
        // Plans count whole micro-dollars, and an estimate has no digits beyond them.
        on_demand.filter(|_| !self.book.knows_spot()).map(|price| ((price * share * 1e6).round() / 1e6, true))
    }

    /// Whether nodes may stand in a zone.
    fn is_open(&self, zone: &str) -> bool {
        self.subnets.is_none_or(|subnets| {
            subnets.iter().any(|s| s.zone == zone && s.free_addresses.is_none_or(|free| free > 0))
        })
    }

    fn offering(&self, kind: &str, zone: &str, price: f64, available: bool, estimated: bool) -> Offering {
        let id = self.subnets.into_iter().flatten().find(|s| s.zone == zone).map(|s| s.zone_id.as_str());
        let labels =
            [(CAPACITY_TYPE, Some(kind)), (ZONE_ID, id.filter(|id| !id.is_empty())), (ZONE, Some(zone))];
        let requirements = labels.into_iter().filter_map(|(key, value)| {
            Some(Requirement { key: key.to_owned(), operator: Operator::In, values: vec![value?.to_owned()] })
        });
        let mut requirements: Vec<Requirement> = requirements.collect();
        requirements.sort();
        Offering { price, available, estimated, limit: None, requirements: requirements.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::{offerings, spot_history};
    use crate::embedded;

    const NOON: Timestamp = Timestamp::from_seconds(1_784_548_800);

    fn book(spot: &str) -> PriceBook {
        let mut book = PriceBook::new("us-east-1");
        let prices = embedded::on_demand_prices("us-east-1").unwrap().unwrap();
        book.seed_on_demand(NOON, prices.1);
        if !spot.is_empty() {
            book.refresh_spot(NOON, &spot_history::parse(spot.as_bytes()));
        }
        book
    }

    fn region<'a>(locations: &'a Locations, book: &'a PriceBook, settings: &'a Settings) -> Region<'a> {
        Region {
            types: embedded::type_facts().unwrap(),
            locations,
            subnets: None,
            reservations: &[],
            book,
            settings,
            now: NOON,
        }
    }

    #[test]
    fn from_embedded_facts_it_is_the_embedded_catalogue() {
        let (settings, book) = (Settings::default(), book(""));
        let mut locations = embedded::locations("us-east-1").unwrap().unwrap();
        // The embedded catalogue has them, for nodes with an older image.
        locations.retain(|name, _| !name.starts_with("a1."));
        let assembled = region(&locations, &book, &settings).assemble();
        let mut expected = Catalog::embedded("us-east-1", &settings).unwrap().types;
        expected.retain(|t| !t.name.starts_with("a1."));
        assert_eq!(assembled.catalog.types, expected);
    }

    #[test]
    fn what_is_left_out_is_named() {
        let settings = Settings::default();
        let spot = r#"{"SpotPriceHistory": [{"InstanceType": "m7i.large", "AvailabilityZone": "us-east-1a",
            "SpotPrice": "0.0413", "Timestamp": "2026-07-20T11:20:00Z"}]}"#;
        let book = book(spot);
        let offered = |name: &str, zone: &str| {
            format!(
                r#"{{"InstanceType": "{name}", "LocationType": "availability-zone", "Location": "{zone}"}}"#
            )
        };
        let answer = [
            offered("m7i.large", "us-east-1a"),
            offered("m7i.large", "us-east-1b"),
            offered("x99.large", "us-east-1a"),
            offered("a1.large", "us-east-1a"),
        ];
        let answer = format!("{{\"InstanceTypeOfferings\": [{}]}}", answer.join(","));
        let locations = offerings::parse_offerings(answer.as_bytes()).unwrap().found;
        let assembled = region(&locations, &book, &settings).assemble();
        let [m7i] = assembled.catalog.types.as_slice() else { panic!("{:?}", assembled.catalog.types) };
        let shown: Vec<String> = m7i
            .offerings
            .iter()
            .map(|o| format!("{} {} {} {}", o.capacity_type(), o.zone(), o.price, o.estimated))
            .collect();
        let expected = [
            "on-demand us-east-1a 0.1008 false",
            "on-demand us-east-1b 0.1008 false",
            "spot us-east-1a 0.0413 false",
        ];
        assert_eq!(shown, expected);
        let said: Vec<String> = assembled.left_out.iter().map(ToString::to_string).collect();
        assert_eq!(
            said[0],
            "1 type without a spot price in some zones, so not offered as spot there: m7i.large"
        );
        assert_eq!(said[1], "1 type offered in some zone or reserved, but not described: x99.large");
        assert!(said[2].contains("described, but offered in no zone: a1.2xlarge, a1.4xlarge, a1.medium, …"));
        assert_eq!(said[3], "1 type on which nodes so set up do not run: a1.large");
    }

    #[test]
    fn subnets_say_where_nodes_may_stand() {
        let (settings, book) = (Settings::default(), book(""));
        let locations = embedded::locations("us-east-1").unwrap().unwrap();
        let subnet = |zone: &str, free| Subnet {
            id: zone.to_owned(),
            zone: zone.to_owned(),
            zone_id: format!("id-of-{zone}"),
            free_addresses: Some(free),
        };
        let subnets = [subnet("us-east-1a", 9), subnet("us-east-1b", 0)];
        let held = CapacityReservation {
            id: "cr-1".to_owned(),
            instance_type: "m7i.large".to_owned(),
            zone: "us-east-1a".to_owned(),
            zone_id: String::new(),
            total: 2,
            available: 2,
            kind: "default".to_owned(),
            interruptible: false,
            end: None,
        };
        let reservations = [held];
        let of = Region {
            subnets: Some(&subnets),
            reservations: &reservations,
            ..region(&locations, &book, &settings)
        };
        let catalog = of.assemble().catalog;
        let m7i = catalog.find("m7i.large").unwrap();
        let open: Vec<String> = m7i
            .offerings
            .iter()
            .filter(|o| o.available)
            .map(|o| format!("{} {} {:?}", o.capacity_type(), o.zone(), o.limit))
            .collect();
        assert_eq!(
            open,
            ["on-demand us-east-1a None", "reserved us-east-1a Some(2)", "spot us-east-1a None"]
        );
        assert_eq!(m7i.offerings[0].label(ZONE_ID), Some("id-of-us-east-1a"));
        let read = Catalog::parse(catalog.to_json().as_bytes(), "c.json").unwrap();
        assert_eq!(read.types, catalog.types);
    }
}
