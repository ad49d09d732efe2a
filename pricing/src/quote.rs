//! Prices with where they come from and how old they are, and what a refresh does to them.
//!
//! ```text
//! answer ─▶ refresh ─┬─ good: newer quotes replace older ones; what it lacks stays
//!                    └─ failed, empty: everything stays, and the book says so from then on
//! ```
//!
//! # Invariants
//! - A price is finite and above zero.
//! - No refresh loses a price: the last good one stays, with its age.
//! - An answer never replaces one that was asked for later.
//! - No clock: every moment is handed in.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::aws::price_list::PriceList;
use crate::aws::spot_history::SpotPrices;
use crate::aws::{Answer, AnswerError};
use crate::time::Timestamp;

/// Money that prices are in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Currency {
    /// US dollars.
    #[default]
    #[serde(rename = "USD")]
    Usd,
    /// Yuan, in AWS's regions in China.
    #[serde(rename = "CNY")]
    Cny,
}

impl Currency {
    /// What a region's price list is in.
    pub fn of_region(region: &str) -> Self {
        if region.starts_with("cn-") { Self::Cny } else { Self::Usd }
    }

    /// `USD`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Usd => "USD",
            Self::Cny => "CNY",
        }
    }
}

/// A price of an hour, from a text.
///
/// # Errors
/// For everything but a finite number above zero and below a million.
pub(crate) fn hourly(text: &str) -> Result<f64, String> {
    let price = text.trim().parse::<f64>().ok().filter(|p| p.is_finite() && *p > 0.0 && *p < 1e6);
    price.ok_or_else(|| format!("{:?} is not a price above zero", text.chars().take(40).collect::<String>()))
}

/// What Fargate asks for Linux on x86, an hour.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FargateRates {
    /// For a vCPU.
    pub vcpu: f64,
    /// For a GB of memory.
    pub gb: f64,
    /// For a GB of disk beyond the first 20.
    pub storage_gb: f64,
}

/// Where a price comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PriceSource {
    /// Compiled into Stowage.
    Embedded,
    /// The Price List.
    PriceList,
    /// The history of spot prices.
    SpotHistory,
    /// A share of the on-demand price.
    Estimate,
}

impl PriceSource {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Embedded => "compiled in",
            Self::PriceList => "price list",
            Self::SpotHistory => "spot history",
            Self::Estimate => "estimate",
        }
    }
}

/// A price, and how much it is to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quote<T = f64> {
    /// The price of an hour, in the book's currency.
    pub price: T,
    /// Where it comes from.
    pub source: PriceSource,
    /// When it was asked for.
    pub as_of: Timestamp,
}

/// Parts of a book that are refreshed on their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// On-demand prices.
    OnDemand,
    /// Spot prices.
    Spot,
    /// Fargate's rates.
    Fargate,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OnDemand => "on-demand prices",
            Self::Spot => "spot prices",
            Self::Fargate => "Fargate rates",
        })
    }
}

/// How the refreshes of a part went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refreshes {
    /// When the last one that brought prices was asked for.
    pub last_good: Option<Timestamp>,
    /// When the last one failed and why, if it did after that.
    pub failed: Option<(Timestamp, String)>,
    /// How many failed since the last good one.
    pub failures: u32,
}

/// Something about a part that people should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concern {
    /// The part.
    pub part: Part,
    /// How old its last good prices are, in seconds; `None` where there are none.
    pub age: Option<u64>,
    /// Why there are no newer ones, where a refresh failed.
    pub failure: Option<String>,
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.age {
            Some(age) => write!(f, "{} are {} old", self.part, Age(age))?,
            None => write!(f, "there are no {}", self.part)?,
        }
        self.failure.as_ref().map_or(Ok(()), |why| write!(f, ": the last refresh failed, {why}"))
    }
}

/// Seconds as people say them: `40 s`, `12 min`, `5 h`, `3 days`.
#[derive(Clone, Copy, Debug)]
pub struct Age(pub u64);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..120 => write!(f, "{} s", self.0),
            120..7_200 => write!(f, "{} min", self.0 / 60),
            7_200..172_800 => write!(f, "{} h", self.0 / 3_600),
            _ => write!(f, "{} days", self.0 / 86_400),
        }
    }
}

/// The prices of a region. As JSON it is what a cache keeps.
///
/// ```
/// use stowage_pricing::{PriceBook, Timestamp, aws};
///
/// let now: Timestamp = "2026-07-20T12:00:00Z".parse()?;
/// let mut book = PriceBook::new("us-east-1");
/// let answer = br#"{"SpotPriceHistory": [{"InstanceType": "m7i.large", "AvailabilityZone": "us-east-1a",
///     "ProductDescription": "Linux/UNIX", "SpotPrice": "0.0413", "Timestamp": "2026-07-20T11:20:00Z"}]}"#;
/// book.refresh_spot(now, &aws::spot_history::parse(answer));
/// book.refresh_spot(now.plus_seconds(600), &aws::spot_history::parse(b"<html>"));
/// assert_eq!(book.spot("m7i.large", "us-east-1a").map(|q| (q.price, q.as_of)), Some((0.0413, now)));
/// let concern = &book.concerns(now.plus_seconds(900), 3600)[1];
/// assert!(concern.to_string().starts_with("spot prices are 15 min old: the last refresh failed, the answer"));
/// # Ok::<(), stowage_pricing::TimestampError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PriceBook {
    region: String,
    currency: Currency,
    on_demand: BTreeMap<String, Quote>,
    /// By type, then zone.
    spot: BTreeMap<String, BTreeMap<String, Quote>>,
    fargate: Option<Quote<FargateRates>>,
    refreshes: BTreeMap<Part, Refreshes>,
}

impl PriceBook {
    /// An empty book.
    pub fn new(region: &str) -> Self {
        Self { region: region.to_owned(), currency: Currency::of_region(region), ..Self::default() }
    }

    /// Its region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// What its prices are in.
    pub const fn currency(&self) -> Currency {
        self.currency
    }

    /// The on-demand price of a type.
    pub fn on_demand(&self, name: &str) -> Option<Quote> {
        self.on_demand.get(name).copied()
    }

    /// The spot price of a type in a zone.
    pub fn spot(&self, name: &str, zone: &str) -> Option<Quote> {
        self.spot.get(name)?.get(zone).copied()
    }

    /// Whether it has any spot price.
    pub fn knows_spot(&self) -> bool {
        !self.spot.is_empty()
    }

    /// Fargate's rates.
    pub const fn fargate(&self) -> Option<Quote<FargateRates>> {
        self.fargate
    }

    /// How the refreshes of a part went.
    pub fn refreshes(&self, part: Part) -> Option<&Refreshes> {
        self.refreshes.get(&part)
    }

    /// Puts prices in that were compiled in, where there are none that are newer.
    pub fn seed_on_demand(&mut self, as_of: Timestamp, prices: impl IntoIterator<Item = (String, f64)>) {
        let mut any = false;
        for (name, price) in prices.into_iter().filter(|(_, p)| p.is_finite() && *p > 0.0) {
            any |= newer(self.on_demand.entry(name), Quote { price, source: PriceSource::Embedded, as_of });
        }
        if any {
            let refreshes = self.refreshes.entry(Part::OnDemand).or_default();
            refreshes.last_good = refreshes.last_good.max(Some(as_of));
        }
    }

    /// Takes an answer of the Price List that was asked for at `asked`.
    pub fn refresh_list(&mut self, asked: Timestamp, answer: &Result<PriceList, AnswerError>) {
        let source = PriceSource::PriceList;
        match answer {
            Ok(list) => {
                for (name, price) in &list.on_demand {
                    newer(self.on_demand.entry(name.clone()), Quote { price: *price, source, as_of: asked });
                }
                if let Some(rates) = list.fargate {
                    let older = self.fargate.is_none_or(|known| known.as_of <= asked);
                    if older {
                        self.fargate = Some(Quote { price: rates, source, as_of: asked });
                    }
                    self.good(Part::Fargate, asked);
                }
                if !list.on_demand.is_empty() || list.fargate.is_none() {
                    self.outcome(Part::OnDemand, asked, !list.on_demand.is_empty(), list.complete);
                }
            }
            Err(error) => self.failed(Part::OnDemand, asked, error.to_string()),
        }
    }

    /// Takes an answer of the spot history that was asked for at `asked`.
    pub fn refresh_spot(&mut self, asked: Timestamp, answer: &Result<Answer<SpotPrices>, AnswerError>) {
        match answer {
            Ok(answer) => {
                for ((name, zone), spot) in &answer.found {
                    let zones = self.spot.entry(name.clone()).or_default();
                    let quote = Quote { price: spot.price, source: PriceSource::SpotHistory, as_of: asked };
                    newer(zones.entry(zone.clone()), quote);
                }
                self.outcome(Part::Spot, asked, !answer.found.is_empty(), answer.complete);
            }
            Err(error) => self.failed(Part::Spot, asked, error.to_string()),
        }
    }

    /// What is older than `most_age` seconds, missing, or was not refreshed the last time it was tried.
    pub fn concerns(&self, now: Timestamp, most_age: u64) -> Vec<Concern> {
        let of = |part: Part| {
            let refreshes = self.refreshes.get(&part);
            let age = refreshes.and_then(|r| r.last_good).map(|good| now.seconds_since(good));
            let failure = refreshes.and_then(|r| r.failed.as_ref()).map(|(_, why)| why.clone());
            let fine = age.is_some_and(|age| age <= most_age) && failure.is_none();
            (!fine).then_some(Concern { part, age, failure })
        };
        [Part::OnDemand, Part::Spot, Part::Fargate].into_iter().filter_map(of).collect()
    }

    fn outcome(&mut self, part: Part, asked: Timestamp, any: bool, complete: bool) {
        if any {
            self.good(part, asked);
        }
        if !any {
            self.failed(part, asked, "the answer held no price".to_owned());
        } else if !complete {
            self.failed(part, asked, "the answer was not complete".to_owned());
        }
    }

    fn good(&mut self, part: Part, asked: Timestamp) {
        let refreshes = self.refreshes.entry(part).or_default();
        refreshes.last_good = refreshes.last_good.max(Some(asked));
        if refreshes.failed.as_ref().is_none_or(|(at, _)| *at <= asked) {
            refreshes.failed = None;
            refreshes.failures = 0;
        }
    }

    fn failed(&mut self, part: Part, asked: Timestamp, why: String) {
        let refreshes = self.refreshes.entry(part).or_default();
        refreshes.failures = refreshes.failures.saturating_add(1);
        if refreshes.failed.as_ref().is_none_or(|(at, _)| *at <= asked)
            && refreshes.last_good.is_none_or(|good| good <= asked)
        {
            refreshes.failed = Some((asked, why));
        }
    }
}

/// Puts a quote in unless a newer one is there; says whether it did.
fn newer<K: Ord>(entry: std::collections::btree_map::Entry<'_, K, Quote>, quote: Quote) -> bool {
    use std::collections::btree_map::Entry;
    match entry {
        Entry::Vacant(place) => {
            place.insert(quote);
            true
        }
        Entry::Occupied(mut known) if known.get().as_of <= quote.as_of => {
            known.insert(quote);
            true
        }
        Entry::Occupied(_) => false,
    }
}

#[cfg(test)]
#[path = "quote_tests.rs"]
mod tests;
