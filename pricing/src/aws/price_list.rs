//! The Price List: what EC2 costs on demand and what Fargate costs, from `GetProducts` answers or a bulk offer file.
//!
//! ```text
//! GetProducts   {"PriceList": ["{product, terms}", …], "NextToken"}     each element a text of JSON, or JSON
//! bulk          {"products": {SKU: …}, "terms": {"OnDemand": {SKU: …}}}  hundreds of megabytes for a region
//! ```
//!
//! A bulk file is walked twice, and only what is wanted of it is kept.
//!
//! compat: the products are those that karpenter-provider-aws v1.14 asks for (`pkg/providers/pricing`): Linux, nothing
//! installed, shared hardware, and bare metal, which the list calls dedicated.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::{AnswerError, PassedOver, pages, quoted};
use crate::inflate::inflate;
use crate::quote::{Currency, FargateRates, hourly};
use crate::time::Timestamp;

const CALL: &str = "GetProducts";
const BULK: &str = "a price list download";

/// Prices of one region.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PriceList {
    /// Type → on-demand price of an hour of Linux.
    pub on_demand: BTreeMap<String, f64>,
    /// Fargate's rates for Linux on x86, where all three are in the list.
    pub fargate: Option<FargateRates>,
    /// When the newest of the prices was published, where the list says.
    pub published: Option<Timestamp>,
    /// Products whose price cannot be used.
    pub passed_over: Vec<PassedOver>,
    /// Whether the last page is among the pages; a download is one page.
    pub complete: bool,
}

/// Prices of `region` in any of the forms that the Price List comes in; plain or gzipped.
///
/// # Errors
/// Where the bytes are neither.
pub fn parse(bytes: &[u8], region: &str) -> Result<PriceList, AnswerError> {
    let unpacked = inflate(bytes)
        .map_err(|e| AnswerError::Unreadable { call: BULK, problem: format!("cannot be unpacked: {e}") })?;
    let mut list = Collected { region, list: PriceList::default(), fargate: [None; 3] };
    // The name of its first fields tells a download; reading all of it to find out would take seconds.
    let start = String::from_utf8_lossy(&unpacked[..unpacked.len().min(2048)]);
    if start.contains("\"products\"") || start.contains("\"offerCode\"") && !start.contains("\"PriceList\"") {
        list.bulk(&unpacked)?;
    } else {
        list.pages(&unpacked)?;
    }
    Ok(list.finish())
}

#[derive(Deserialize)]
struct Product {
    #[serde(rename = "productFamily", default)]
    family: String,
    #[serde(default)]
    attributes: Attributes,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Attributes {
    #[serde(rename = "regionCode")]
    region: String,
    #[serde(rename = "instanceType")]
    instance_type: String,
    #[serde(rename = "operatingSystem")]
    system: String,
    tenancy: String,
    #[serde(rename = "preInstalledSw")]
    software: String,
    #[serde(rename = "capacitystatus")]
    capacity: String,
    #[serde(rename = "marketoption")]
    market: String,
    usagetype: String,
}

/// What a product is the price of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Type(String),
    /// Position in [`Collected::fargate`].
    Fargate(usize),
}

impl Product {
    fn wanted(&self, region: &str) -> Option<Wanted> {
        let of = &self.attributes;
        if of.region != region {
            return None;
        }
        if let Some((prefix, rate)) = of.usagetype.split_once("Fargate-") {
            // The prefix is the region's: USE1-. Spot and ARM stand in it or after it.
            let plain = prefix.is_empty() || prefix.ends_with('-') && !prefix.contains(':');
            let at = ["vCPU-Hours:perCPU", "GB-Hours", "EphemeralStorage-GB-Hours"]
                .iter()
                .position(|r| *r == rate);
            return at.filter(|_| plain).map(Wanted::Fargate);
        }
        let linux = of.system == "Linux" && of.software == "NA" && of.capacity == "Used";
        let on_demand = matches!(of.market.as_str(), "" | "OnDemand");
        let hardware = match self.family.as_str() {
            "Compute Instance" => of.tenancy == "Shared",
            "Compute Instance (bare metal)" => of.tenancy == "Dedicated",
            _ => false,
        };
        (linux && on_demand && hardware && !of.instance_type.is_empty())
            .then(|| Wanted::Type(of.instance_type.clone()))
    }
}

/// Terms of a product: the offers by code.
type Terms = BTreeMap<String, Term>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Term {
    #[serde(default)]
    price_dimensions: BTreeMap<String, Dimension>,
    effective_date: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dimension {
    #[serde(default)]
    price_per_unit: BTreeMap<String, String>,
}

struct Collected<'a> {
    region: &'a str,
    list: PriceList,
    fargate: [Option<f64>; 3],
}

impl Collected<'_> {
    fn pages(&mut self, bytes: &[u8]) -> Result<(), AnswerError> {
        #[derive(Deserialize)]
        struct Element {
            product: Product,
            #[serde(default)]
            terms: OnDemand,
        }
        #[derive(Default, Deserialize)]
        struct OnDemand {
            #[serde(rename = "OnDemand", default)]
            on_demand: Terms,
        }
        for mut page in pages(bytes, CALL)? {
            let token = page.get("NextToken").and_then(Value::as_str);
            self.list.complete = token.is_none_or(str::is_empty);
            let Some(Value::Array(elements)) = page.remove("PriceList") else {
                let problem = "has no list PriceList: is it the answer to another call?".to_owned();
                return Err(AnswerError::Unreadable { call: CALL, problem });
            };
            for (at, element) in elements.into_iter().enumerate() {
                let read = match element {
                    Value::String(text) => serde_json::from_str::<Element>(&text),
                    other => serde_json::from_value(other),
                };
                match read {
                    Ok(Element { product, terms }) => {
                        if let Some(wanted) = product.wanted(self.region) {
                            self.take(&wanted, &terms.on_demand);
                        }
                    }
                    Err(error) => self.pass_over(format!("PriceList[{at}]"), error.to_string()),
                }
            }
        }
        Ok(())
    }

    fn bulk(&mut self, bytes: &[u8]) -> Result<(), AnswerError> {
        let unreadable = |error: serde_json::Error| {
            let what = if error.is_eof() { "was cut off" } else { "cannot be read" };
            AnswerError::Unreadable { call: BULK, problem: format!("{what}: {error}") }
        };
        let mut wanted = BTreeMap::new();
        let seed = Field { name: "products", then: Products { region: self.region, wanted: &mut wanted } };
        seed.deserialize(&mut serde_json::Deserializer::from_slice(bytes)).map_err(unreadable)?;
        let skus: BTreeSet<String> = wanted.keys().cloned().collect();
        let mut terms = Vec::new();
        let offers = Field { name: "OnDemand", then: Offers { skus: &skus, terms: &mut terms } };
        let seed = Field { name: "terms", then: offers };
        seed.deserialize(&mut serde_json::Deserializer::from_slice(bytes)).map_err(unreadable)?;
        for (sku, terms) in terms {
            self.take(&wanted[&sku], &terms);
        }
        self.list.complete = true;
        Ok(())
    }

    fn take(&mut self, wanted: &Wanted, terms: &Terms) {
        let currency = Currency::of_region(self.region);
        let dimensions = terms.values().flat_map(|t| t.price_dimensions.values());
        let prices: Vec<&BTreeMap<String, String>> = dimensions.map(|d| &d.price_per_unit).collect();
        let name = match wanted {
            Wanted::Type(name) => quoted(name),
            Wanted::Fargate(_) => "Fargate".to_owned(),
        };
        let stated: Vec<&String> = prices.iter().filter_map(|p| p.get(currency.code())).collect();
        if stated.is_empty() {
            let others: BTreeSet<&str> = prices.iter().flat_map(|p| p.keys()).map(String::as_str).collect();
            let why = if others.is_empty() {
                "has no on-demand price".to_owned()
            } else {
                let others = others.into_iter().collect::<Vec<_>>().join(", ");
                format!("is priced in {}, not in {}", quoted(&others), currency.code())
            };
            return self.pass_over(name, why);
        }
        // Where there are several, some are a free tier of zero; of the others the dearest, whatever their order.
        let mut best = None::<f64>;
        let mut problem = String::new();
        for text in stated {
            match hourly(text) {
                Ok(price) => best = Some(best.map_or(price, |b| b.max(price))),
                Err(why) => problem = why,
            }
        }
        let Some(price) = best else { return self.pass_over(name, problem) };
        let newest = terms.values().filter_map(|t| t.effective_date).max();
        self.list.published = self.list.published.max(newest);
        match wanted {
            Wanted::Type(name) => {
                let known = self.list.on_demand.entry(name.clone()).or_insert(price);
                *known = known.max(price);
            }
            Wanted::Fargate(at) => {
                let known = self.fargate[*at].get_or_insert(price);
                *known = known.max(price);
            }
        }
    }

    fn pass_over(&mut self, what: String, why: String) {
        self.list.passed_over.push(PassedOver { what, why });
    }

    fn finish(mut self) -> PriceList {
        if let [Some(vcpu), Some(gb), Some(storage_gb)] = self.fargate {
            self.list.fargate = Some(FargateRates { vcpu, gb, storage_gb });
        }
        self.list
    }
}

/// Hands the value of one field of an object on, and passes the others by.
struct Field<'n, S> {
    name: &'n str,
    then: S,
}

impl<'de, S: DeserializeSeed<'de, Value = ()>> DeserializeSeed<'de> for Field<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, S: DeserializeSeed<'de, Value = ()>> Visitor<'de> for Field<'_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with {}", self.name)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let mut then = Some(self.then);
        while let Some(key) = map.next_key::<String>()? {
            match then.take_if(|_| key == self.name) {
                Some(then) => map.next_value_seed(then)?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Keeps the products that are wanted, by SKU.
struct Products<'a> {
    region: &'a str,
    wanted: &'a mut BTreeMap<String, Wanted>,
}

impl<'de> DeserializeSeed<'de> for Products<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Products<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("products by SKU")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some((sku, product)) = map.next_entry::<String, Product>()? {
            if let Some(wanted) = product.wanted(self.region) {
                self.wanted.insert(sku, wanted);
            }
        }
        Ok(())
    }
}

/// Keeps the terms of some products.
struct Offers<'a> {
    skus: &'a BTreeSet<String>,
    terms: &'a mut Vec<(String, Terms)>,
}

impl<'de> DeserializeSeed<'de> for Offers<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Offers<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("terms by SKU")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(sku) = map.next_key::<String>()? {
            if self.skus.contains(&sku) {
                let terms = map.next_value()?;
                self.terms.push((sku, terms));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "price_list_tests.rs"]
mod tests;
