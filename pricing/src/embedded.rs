//! The catalogue compiled into Stowage: EC2's types and zones of every commercial region, prices where known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use serde::de::DeserializeOwned;
use stowage_api::well_known::{CAPACITY_TYPE, ON_DEMAND, SPOT, ZONE};

use stowage_api::Operator;

use crate::aws::offerings::Locations;
use crate::catalog::{Catalog, CatalogSource, InstanceType, Offering, Requirement, Settings};
use crate::error::Error;
use crate::facts::{PriceFacts, TypeFacts, ZoneFacts, read_ranges};
use crate::inflate::inflate;

const TYPES: &[u8] = include_bytes!("../data/types.json.gz");
const ZONES: &[u8] = include_bytes!("../data/zones.json.gz");
const PRICES: &[u8] = include_bytes!("../data/prices.json.gz");

/// Facts of every type, by name.
pub(crate) fn type_facts() -> Result<&'static [TypeFacts], Error> {
    static FACTS: OnceLock<Result<Vec<TypeFacts>, Error>> = OnceLock::new();
    FACTS.get_or_init(|| read(TYPES)).as_deref().map_err(Clone::clone)
}

/// The zones of a region that offer each type; `None` where they are not embedded.
///
/// # Errors
/// Where the embedded data is damaged: a defect of the build.
pub fn locations(region: &str) -> Result<Option<Locations>, Error> {
    let zones = read::<ZoneFacts>(ZONES)?;
    let Some(in_zones) = zones.regions.get(region) else { return Ok(None) };
    let mut locations = Locations::new();
    for (zone, ranges) in in_zones {
        for at in positions(zone, ranges, &zones)? {
            locations.entry(zones.types[at].clone()).or_default().insert(zone.clone());
        }
    }
    Ok(Some(locations))
}

/// A day, and the on-demand prices of then by type.
pub type DatedPrices = (String, BTreeMap<String, f64>);

/// The day of the embedded on-demand prices of a region, and the prices; `None` where none are embedded.
///
/// # Errors
/// Where the embedded data is damaged: a defect of the build.
pub fn on_demand_prices(region: &str) -> Result<Option<DatedPrices>, Error> {
    let mut prices = read::<PriceFacts>(PRICES)?;
    Ok(prices.regions.remove(region).map(|of| (prices.date, of)))
}

fn positions(zone: &str, ranges: &str, zones: &ZoneFacts) -> Result<Vec<usize>, Error> {
    read_ranges(ranges, zones.types.len())
        .ok_or_else(|| Error::Embedded(format!("zone {zone}: bad ranges {ranges:?}")))
}

/// Regions whose catalogue is embedded: both their zones and their prices are known. Sorted.
pub fn priced_regions() -> Result<Vec<String>, Error> {
    let (zones, prices) = (read::<ZoneFacts>(ZONES)?, read::<PriceFacts>(PRICES)?);
    Ok(complete(&zones, &prices))
}

fn complete(zones: &ZoneFacts, prices: &PriceFacts) -> Vec<String> {
    zones.regions.keys().filter(|region| prices.regions.contains_key(*region)).cloned().collect()
}

impl Catalog {
    /// The embedded catalogue of a region: every type sold on demand there, in every zone that offers it.
    ///
    /// Spot offerings stand beside the on-demand ones of types sold as spot, at an estimated price.
    ///
    /// # Errors
    /// For a region that is unknown, or whose zones or prices are: each says what to do.
    pub fn embedded(region: &str, settings: &Settings) -> Result<Self, Error> {
        let (zones, prices) = (read::<ZoneFacts>(ZONES)?, read::<PriceFacts>(PRICES)?);
        let (in_zones, on_demand) = match (zones.regions.get(region), prices.regions.get(region)) {
            (Some(in_zones), Some(on_demand)) => (in_zones, on_demand),
            (in_zones, on_demand) => {
                return Err(unavailable(region, &zones, &prices, in_zones.is_some(), on_demand.is_some()));
            }
        };
        let mut zones_of = BTreeMap::<&str, Vec<&str>>::new();
        for (zone, ranges) in in_zones {
            for at in positions(zone, ranges, &zones)? {
                zones_of.entry(&zones.types[at]).or_default().push(zone);
            }
        }
        let mut types = Vec::new();
        for facts in type_facts()? {
            if let (Some(zones), Some(price)) =
                (zones_of.get(facts.name.as_str()), on_demand.get(&facts.name))
            {
                types.push(instance_type(facts, zones, *price, settings));
            }
        }
        types.sort_by(|a, b| a.name.cmp(&b.name));
        let source = CatalogSource::Embedded {
            region: region.to_owned(),
            price_date: prices.date,
            spot_price_share: settings.spot_price_share,
            nodes: Box::new(settings.nodes.clone()),
            suited: false,
        };
        Ok(Self { types, source }.sharing())
    }
}

fn instance_type(facts: &TypeFacts, zones: &[&str], price: f64, settings: &Settings) -> InstanceType {
    let offer = |capacity_type: &str, zone: &str, price: f64, estimated: bool| Offering {
        price,
        available: true,
        estimated,
        limit: None,
        requirements: [(CAPACITY_TYPE, capacity_type), (ZONE, zone)]
            .map(|(key, value)| Requirement {
                key: key.to_owned(),
                operator: Operator::In,
                values: vec![value.to_owned()],
            })
            .into(),
    };
    let mut offerings: Vec<Offering> =
        zones.iter().map(|zone| offer(ON_DEMAND, zone, price, false)).collect();
    if facts.spot {
        // Plans count whole micro-dollars, and an estimate has no digits beyond them.
        let estimate = (price * settings.spot_price_share.as_f64() * 1e6).round() / 1e6;
        offerings.extend(zones.iter().map(|zone| offer(SPOT, zone, estimate, true)));
    }
    InstanceType { offerings, ..InstanceType::of(facts, &settings.nodes) }
}

fn unavailable(
    region: &str,
    zones: &ZoneFacts,
    prices: &PriceFacts,
    has_zones: bool,
    has_prices: bool,
) -> Error {
    let region = region.to_owned();
    if has_zones {
        Error::NoPrices { region, priced: complete(zones, prices).join(", ") }
    } else if has_prices {
        Error::NoZones { region }
    } else {
        let known: BTreeSet<&str> =
            zones.regions.keys().chain(prices.regions.keys()).map(String::as_str).collect();
        let hint = nearest(&region, &known);
        Error::UnknownRegion { region: region.chars().take(40).collect(), hint }
    }
}

/// The known names closest to what was written, as a hint; all of them where none is close.
fn nearest(written: &str, known: &BTreeSet<&str>) -> String {
    /// More slips of the pen than this make another word.
    const SLIPS: usize = 3;
    let written: String = written.trim().to_lowercase().chars().take(40).collect();
    let mut close: Vec<(usize, &str)> = known
        .iter()
        .map(|name| (distance(&written, name), *name))
        .filter(|(slips, _)| *slips <= SLIPS)
        .collect();
    close.sort_unstable();
    let best = close.first().map_or(0, |(slips, _)| *slips);
    // A zone is asked for where its region is meant: us-east-1a.
    let names: Vec<&str> =
        close.into_iter().filter(|(slips, _)| *slips == best).map(|(_, name)| name).collect();
    if names.is_empty() {
        format!("known are {}", known.iter().copied().collect::<Vec<_>>().join(", "))
    } else {
        format!("did you mean {}?", names.join(" or "))
    }
}

/// Characters to insert, delete or replace to turn one text into the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

fn read<T: DeserializeOwned>(packed: &[u8]) -> Result<T, Error> {
    let bytes = inflate(packed).map_err(|error| Error::Embedded(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| Error::Embedded(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, slips) in
            [("", "", 0), ("us-east1", "us-east-1", 1), ("eu-wset-1", "eu-west-1", 2), ("abc", "", 3)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (slips, slips), "{a} {b}");
        }
    }

    #[test]
    fn an_unknown_region_suggests_the_nearest() {
        let message = |region: &str| Catalog::embedded(region, &Settings::default()).unwrap_err().to_string();
        assert_eq!(
            message("us-east1"),
            "there is no region \"us-east1\" in the embedded catalogue; did you mean us-east-1?"
        );
        assert!(message("US-EAST-1").ends_with("did you mean us-east-1?"));
        assert!(message("us-east-1a").ends_with("did you mean us-east-1?"));
        assert!(message("mars").contains("known are af-south-1, ap-east-1"), "{}", message("mars"));
        assert!(message(&"x".repeat(1_000_000)).len() < 2_000);
    }

    #[test]
    fn a_region_without_prices_or_zones_says_what_to_do() {
        let message = |region: &str| Catalog::embedded(region, &Settings::default()).unwrap_err().to_string();
        assert_same(
            &message("eu-west-1"),
            "no prices for region eu-west-1 are embedded (only for us-east-1); ask AWS with --live, or give --catalog FILE, \
             which `stowage catalog import --region eu-west-1 --prices FILE` makes from saved answers",
        );
        assert_same(
            &message("us-gov-west-1"),
            "prices for region us-gov-west-1 are embedded, but not which zones offer which types; ask AWS with --live, or \
             give --catalog FILE, which `stowage catalog import --region us-gov-west-1 --offerings FILE` makes from a saved \
             answer",
        );
    }

    fn assert_same(actual: &str, expected: &str) {
        assert_eq!(actual, expected);
    }

    #[test]
    fn every_region_reads() {
        let zones = read::<ZoneFacts>(ZONES).unwrap();
        let known = zones.types.len();
        assert!(zones.regions.len() >= 30, "{} regions", zones.regions.len());
        for ranges in zones.regions.values().flat_map(BTreeMap::values) {
            assert!(read_ranges(ranges, known).is_some_and(|at| !at.is_empty()), "{ranges}");
        }
        assert_eq!(priced_regions().unwrap(), ["us-east-1"]);
    }
}
