//! Refreshes, and what a book says of itself.

use super::*;
use crate::aws::spot_history;

const NOON: Timestamp = Timestamp::from_seconds(1_784_548_800);

fn spot(price: &str) -> Result<Answer<SpotPrices>, AnswerError> {
    spot_history::parse(
        format!(
            r#"{{"SpotPriceHistory": [{{"InstanceType": "m7i.large", "AvailabilityZone": "z", "SpotPrice": "{price}",
                "Timestamp": "2026-07-20T11:20:00Z"}}]}}"#
        )
        .as_bytes(),
    )
}

fn list(prices: &[(&str, f64)]) -> PriceList {
    let on_demand = prices.iter().map(|(name, price)| ((*name).to_owned(), *price)).collect();
    PriceList { on_demand, complete: true, ..PriceList::default() }
}

#[test]
fn a_late_answer_does_not_replace_a_newer_one() {
    let mut book = PriceBook::new("us-east-1");
    book.refresh_spot(NOON, &spot("0.05"));
    book.refresh_spot(NOON.plus_seconds(-60), &spot("0.04"));
    assert_eq!(book.spot("m7i.large", "z").map(|q| q.price), Some(0.05));
    assert_eq!(book.refreshes(Part::Spot).unwrap().last_good, Some(NOON));
}

#[test]
fn what_an_answer_lacks_stays_with_its_age() {
    let mut book = PriceBook::new("us-east-1");
    book.seed_on_demand(NOON, [("a".to_owned(), 1.0), ("b".to_owned(), 2.0), ("c".to_owned(), f64::NAN)]);
    book.refresh_list(NOON.plus_seconds(60), &Ok(list(&[("a", 1.5)])));
    let of = |name: &str| book.on_demand(name).map(|q| (q.price, q.source, q.as_of.seconds_since(NOON)));
    assert_eq!(of("a"), Some((1.5, PriceSource::PriceList, 60)));
    assert_eq!(of("b"), Some((2.0, PriceSource::Embedded, 0)));
    assert_eq!(of("c"), None);
}

#[test]
fn failures_are_told_until_a_refresh_succeeds() {
    let mut book = PriceBook::new("us-east-1");
    let said = |book: &PriceBook, after: i64| -> Vec<String> {
        book.concerns(NOON.plus_seconds(after), 3_600).iter().map(ToString::to_string).collect()
    };
    book.refresh_list(NOON, &Ok(list(&[("a", 1.0)])));
    book.refresh_spot(NOON, &spot("0.05"));
    assert_eq!(said(&book, 3_600), ["there are no Fargate rates"]);
    assert_eq!(said(&book, 7_200)[0], "on-demand prices are 2 h old");
    book.refresh_list(NOON.plus_seconds(60), &Ok(list(&[])));
    let refused = AnswerError::Refused {
        call: "GetProducts",
        code: "ThrottlingException".to_owned(),
        message: String::new(),
    };
    book.refresh_list(NOON.plus_seconds(120), &Err(refused));
    let expected = "on-demand prices are 2 min old: the last refresh failed, AWS refused GetProducts: ThrottlingException";
    assert_eq!(said(&book, 150)[0], expected);
    assert_eq!(book.refreshes(Part::OnDemand).unwrap().failures, 2);
    assert_eq!(book.on_demand("a").map(|q| q.price), Some(1.0));
    book.refresh_list(NOON.plus_seconds(180), &Ok(PriceList { complete: false, ..list(&[("a", 1.1)]) }));
    assert_eq!(
        said(&book, 200)[0],
        "on-demand prices are 20 s old: the last refresh failed, the answer was not complete"
    );
    book.refresh_list(NOON.plus_seconds(240), &Ok(list(&[("a", 1.2)])));
    assert_eq!(said(&book, 250), ["there are no Fargate rates"]);
}

#[test]
fn a_book_survives_a_cache() {
    let mut book = PriceBook::new("cn-north-1");
    book.refresh_list(
        NOON,
        &Ok(PriceList {
            fargate: Some(FargateRates { vcpu: 0.3, gb: 0.03, storage_gb: 0.001 }),
            ..list(&[("a", 1.0)])
        }),
    );
    book.refresh_spot(NOON, &spot("nothing"));
    let text = serde_json::to_string(&book).unwrap();
    assert_eq!(serde_json::from_str::<PriceBook>(&text).unwrap(), book);
    assert_eq!(book.currency().code(), "CNY");
}
