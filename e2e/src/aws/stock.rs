//! What the made-up AWS sells: a few families of types, at the prices compiled into Stowage unless told otherwise.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use stowage_pricing::{embedded_locations, embedded_prices, facts};

/// Enough of each kind of hardware: x86 and arm64, GPUs, Neuron devices, local disks, bare metal.
const FAMILIES: [&str; 7] = ["c7g", "g5", "inf2", "m5d", "m7i", "p5", "trn1"];

/// What can be bought in a region.
#[derive(Clone, Debug)]
pub struct Stock {
    /// The region.
    pub region: String,
    /// Types, by name.
    pub types: Vec<String>,
    /// Type → price of an hour on demand, as the list has it: text.
    pub on_demand: BTreeMap<String, String>,
    /// Currency of the list; a type's own goes before.
    pub currency: String,
    /// Types whose prices are in another currency.
    pub other_currency: BTreeMap<String, String>,
    /// (Type, zone) → spot price.
    pub spot: BTreeMap<(String, String), String>,
    /// What Fargate costs: the end of a usage type, and its price of an hour.
    pub fargate: Vec<(String, String)>,
    /// Parameters of the Systems Manager.
    pub parameters: BTreeMap<String, String>,
    /// Placement groups: name and strategy.
    pub placement_groups: Vec<(String, String)>,
    /// Types as XML that moto does not know: name, zone, and the element of `DescribeInstanceTypes`.
    pub unheard_of: Vec<(String, String, String)>,
    /// Zones of each type.
    pub zones: BTreeMap<String, BTreeSet<String>>,
    /// Reserved instances of the account: type, and how many.
    pub reserved: Vec<(String, u32)>,
    /// Savings plans of the account, by id.
    pub savings_plans: BTreeMap<String, Plan>,
}

/// A compute savings plan.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// An hour, in the money of the region.
    pub commitment: String,
    /// Type → rate.
    pub rates: BTreeMap<String, String>,
}

impl Stock {
    /// What is compiled into Stowage, and spot at 35 % of it, rounded to micro-dollars as estimates are.
    ///
    /// # Errors
    /// Where nothing is compiled in for the region.
    pub fn of(region: &str) -> Result<Self> {
        let (_, prices) = embedded_prices(region)?.context("no prices are compiled in")?;
        // China's prices are compiled in, its zones are not.
        let two = || BTreeSet::from([format!("{region}a"), format!("{region}b")]);
        let zones = match embedded_locations(region)? {
            Some(zones) => zones,
            None => prices.keys().map(|name| (name.clone(), two())).collect(),
        };
        let wanted = |name: &str| name.split_once('.').is_some_and(|(family, _)| FAMILIES.contains(&family));
        let known = facts::embedded()?.iter().filter(|f| wanted(&f.name));
        let known: Vec<_> =
            known.filter(|f| prices.contains_key(&f.name) && zones.contains_key(&f.name)).collect();
        let mut spot = BTreeMap::new();
        for of in known.iter().filter(|of| of.spot) {
            let price = (prices[&of.name] * 0.35 * 1e6).round() / 1e6;
            for zone in &zones[&of.name] {
                spot.insert((of.name.clone(), zone.clone()), format!("{price:.6}"));
            }
        }
        Ok(Self {
            region: region.to_owned(),
            types: known.iter().map(|of| of.name.clone()).collect(),
            on_demand: known
                .iter()
                .map(|of| (of.name.clone(), format!("{:.10}", prices[&of.name])))
                .collect(),
            currency: if region.starts_with("cn-") { "CNY" } else { "USD" }.to_owned(),
            other_currency: BTreeMap::new(),
            spot,
            // As AWS asks for it in the east of the USA.
            fargate: [
                ("vCPU-Hours:perCPU", "0.0404800000"),
                ("GB-Hours", "0.0044450000"),
                ("EphemeralStorage-GB-Hours", "0.0001110000"),
            ]
            .map(|(usage, price)| (usage.to_owned(), price.to_owned()))
            .to_vec(),
            parameters: BTreeMap::new(),
            placement_groups: Vec::new(),
            unheard_of: Vec::new(),
            zones: known.iter().map(|of| (of.name.clone(), zones[&of.name].clone())).collect(),
            reserved: Vec::new(),
            savings_plans: BTreeMap::new(),
        })
    }

    /// The products of a service and a family, in the shape of the Price List, each a text.
    pub(crate) fn products(&self, service: &str, family: &str) -> Vec<String> {
        if service == "AmazonEKS" {
            return self.fargate();
        }
        let metal = family.contains("bare metal");
        let of_family = self.on_demand.iter().filter(|(name, _)| name.contains(".metal") == metal);
        of_family.map(|(name, price)| self.product(name, price, family, metal)).collect()
    }

    fn product(&self, name: &str, price: &str, family: &str, metal: bool) -> String {
        let currency = self.other_currency.get(name).unwrap_or(&self.currency);
        let sku = name.to_uppercase();
        let attributes = json!({
            "instanceType": name, "regionCode": self.region, "operatingSystem": "Linux", "preInstalledSw": "NA",
            "tenancy": if metal { "Dedicated" } else { "Shared" }, "capacitystatus": "Used",
            "marketoption": "OnDemand", "locationType": "AWS Region", "servicecode": "AmazonEC2",
            "aFieldOfTomorrow": "kept",
        });
        let terms = json!({
            "OnDemand": {format!("{sku}.1"): term(price, currency)},
            "Reserved": {format!("{sku}.2"): term("0.0000000001", currency)},
        });
        let product = json!({"productFamily": family, "sku": sku, "attributes": attributes});
        json!({"product": product, "serviceCode": "AmazonEC2", "terms": terms, "version": "1"}).to_string()
    }

    /// Savings plans as AWS lists them.
    pub(crate) fn plans(&self) -> Vec<Value> {
        let plan = |(id, of): (&String, &Plan)| {
            json!({"savingsPlanId": id, "savingsPlanType": "Compute", "state": "active", "currency": self.currency,
                   "commitment": of.commitment, "end": "2099-01-01T00:00:00.000Z", "aFieldOfTomorrow": true})
        };
        self.savings_plans.iter().map(plan).collect()
    }

    /// The rates of a savings plan: of Linux, and of Windows, which are dearer.
    pub(crate) fn rates(&self, plan: &str) -> Vec<Value> {
        let rates = self.savings_plans.get(plan).into_iter().flat_map(|of| &of.rates);
        let rate = |(name, rate): (&String, &String), system: &str| {
            let property = |name: &str, value: &str| json!({"name": name, "value": value});
            json!({"rate": rate, "currency": self.currency, "unit": "Hrs", "productType": "EC2", "serviceCode": "AmazonEC2",
                   "usageType": format!("BoxUsage:{name}"), "operation": "RunInstances",
                   "properties": [property("region", &self.region), property("instanceType", name),
                                  property("productDescription", system), property("tenancy", "shared")]})
        };
        rates.flat_map(|of| [rate(of, "Linux/UNIX"), rate((of.0, &"99.0".to_owned()), "Windows")]).collect()
    }

    fn fargate(&self) -> Vec<String> {
        let product = |(usage, price): &(String, String)| {
            let attributes = json!({"regionCode": self.region, "usagetype": format!("USE1-Fargate-{usage}")});
            let terms = json!({"OnDemand": {"a": term(price, &self.currency)}});
            json!({"product": {"productFamily": "Compute", "attributes": attributes}, "terms": terms})
                .to_string()
        };
        self.fargate.iter().map(product).collect()
    }
}

fn term(price: &str, currency: &str) -> Value {
    json!({
        "effectiveDate": "2026-07-01T00:00:00Z",
        "priceDimensions": {"a.1": {"unit": "Hrs", "beginRange": "0", "endRange": "Inf",
                                    "pricePerUnit": {currency: price}}},
    })
}
