//! `DescribeSpotPriceHistory`: what spot costs in each zone.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Answer, AnswerError, PassedOver, elements, pages};
use crate::quote::hourly;
use crate::time::Timestamp;

const CALL: &str = "DescribeSpotPriceHistory";

/// The products that are plain Linux; the second is what accounts of before 2013 see.
const LINUX: [&str; 2] = ["Linux/UNIX", "Linux/UNIX (Amazon VPC)"];

/// A spot price, and since when it holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpotPrice {
    /// Dollars an hour.
    pub price: f64,
    /// Since when.
    pub since: Timestamp,
}

/// (Type, zone) → price.
pub type SpotPrices = BTreeMap<(String, String), SpotPrice>;

/// The latest price of Linux of each type in each zone.
///
/// # Errors
/// Where the bytes are no such answer.
pub fn parse(bytes: &[u8]) -> Result<Answer<SpotPrices>, AnswerError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Element {
        instance_type: String,
        availability_zone: String,
        spot_price: String,
        timestamp: Timestamp,
        product_description: Option<String>,
    }
    let read = elements::<Element>(pages(bytes, CALL)?, CALL, "SpotPriceHistory", "InstanceType")?;
    let mut passed_over = read.passed_over;
    let mut found = SpotPrices::new();
    for element in read.found {
        if element.product_description.as_deref().is_some_and(|product| !LINUX.contains(&product)) {
            continue;
        }
        let price = match hourly(&element.spot_price) {
            Ok(price) => SpotPrice { price, since: element.timestamp },
            Err(why) => {
                let what = format!("{} in {}", element.instance_type, element.availability_zone);
                passed_over.push(PassedOver { what: super::quoted(&what), why });
                continue;
            }
        };
        let latest = found.entry((element.instance_type, element.availability_zone)).or_insert(price);
        // Of two of one moment the dearer, so that their order does not matter.
        if (price.since, price.price) > (latest.since, latest.price) {
            *latest = price;
        }
    }
    Ok(Answer { found, passed_over, complete: read.complete })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(elements: &str) -> Answer<SpotPrices> {
        parse(format!("{{\"SpotPriceHistory\": [{elements}], \"NextToken\": \"\"}}").as_bytes()).unwrap()
    }

    fn element(price: &str, at: &str, product: &str) -> String {
        format!(
            r#"{{"AvailabilityZone": "us-east-1a", "InstanceType": "m7i.large", "ProductDescription": "{product}",
                "SpotPrice": "{price}", "Timestamp": "{at}"}}"#
        )
    }

    #[test]
    fn the_latest_linux_price_holds() {
        let history = [
            element("0.040100", "2026-07-20T10:00:00.000Z", "Linux/UNIX"),
            element("0.041300", "2026-07-20T12:30:00+00:00", "Linux/UNIX"),
            element("0.133300", "2026-07-20T13:00:00Z", "Windows"),
            element("0.039900", "2026-07-20T11:00:00Z", "Linux/UNIX (Amazon VPC)"),
        ];
        let mut backwards = history.clone();
        backwards.reverse();
        for history in [history, backwards] {
            let found = answer(&history.join(",")).found;
            let price = found[&("m7i.large".to_owned(), "us-east-1a".to_owned())];
            assert_eq!((price.price, price.since.to_string().as_str()), (0.0413, "2026-07-20T12:30:00Z"));
        }
    }

    #[test]
    fn prices_that_are_none_are_named() {
        let bad = ["NaN", "-0.1", "0.0000", "cheap", "inf"]
            .map(|p| element(p, "2026-07-20T10:00:00Z", "Linux/UNIX"));
        let undated = element("0.1", "yesterday", "Linux/UNIX");
        let answer = answer(&[bad.join(","), undated].join(","));
        assert!(answer.found.is_empty());
        let why: Vec<&str> = answer.passed_over.iter().map(|p| p.why.as_str()).collect();
        assert!(why[0].contains("no moment in time"), "{why:?}");
        assert_eq!(why[1], "\"NaN\" is not a price above zero");
        assert_eq!(why.len(), 6);
        assert_eq!(answer.passed_over[1].what, "m7i.large in us-east-1a");
    }
}
