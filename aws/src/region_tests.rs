use std::collections::BTreeMap;

use stowage_pricing::{CatalogSource, PlanKind};

use super::*;
use crate::read::Reading;

const NOON: Timestamp = Timestamp::from_seconds(1_784_548_800);

const OFFERINGS: &str = r#"{"InstanceTypeOfferings": [
    {"InstanceType": "m7i.large", "LocationType": "availability-zone", "Location": "eu-west-1a"},
    {"InstanceType": "c7g.large", "LocationType": "availability-zone", "Location": "eu-west-1a"}]}"#;
const SPOT: &str = r#"{"SpotPriceHistory": [{"InstanceType": "m7i.large", "AvailabilityZone": "eu-west-1a",
    "SpotPrice": "0.05", "Timestamp": "2026-07-20T11:20:00Z"}]}"#;

fn product(region: &str, name: &str, currency: &str) -> String {
    format!(
        r#"{{"product": {{"productFamily": "Compute Instance", "attributes": {{"instanceType": "{name}",
            "regionCode": "{region}", "operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA",
            "capacitystatus": "Used"}}}}, "terms": {{"OnDemand": {{"a": {{"priceDimensions":
            {{"b": {{"pricePerUnit": {{"{currency}": "0.1123500000"}}}}}}}}}}}}}}"#
    )
}

fn readings(region: &str, answers: &[(Call, &str)]) -> Readings {
    let reading = |text: &str| Reading { asked: NOON, answer: text.as_bytes().to_vec() };
    Readings {
        region: region.to_owned(),
        answers: answers.iter().map(|(call, text)| (*call, reading(text))).collect(),
        failures: BTreeMap::new(),
        remarks: Vec::new(),
    }
}

fn live(of: &Readings, at: Timestamp) -> Result<Live, Trouble> {
    of.live(&Settings::default(), at)
}

#[test]
fn answers_make_a_catalogue_and_say_what_is_missing() {
    let prices = format!(
        r#"{{"PriceList": [{}, {}]}}"#,
        product("eu-west-1", "m7i.large", "USD"),
        product("eu-west-1", "c7g.large", "EUR")
    );
    let mut of = readings(
        "eu-west-1",
        &[(Call::Offerings, OFFERINGS), (Call::OnDemandPrices, &prices), (Call::SpotPrices, SPOT)],
    );
    let (call, problem) = ("DescribeInstanceTypes", "Connection refused".to_owned());
    of.failures.insert(Call::InstanceTypes, AnswerError::NoAnswer { call, problem });
    let live = live(&of, NOON.plus_seconds(180)).unwrap();
    let names: Vec<&str> = live.catalog.types.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["m7i.large"]);
    let all = live.remarks.join("\n");
    for said in [
        "eu-west-1 as AWS told it: zones of types, on-demand prices, spot prices 3 min ago",
        "instance types are not known: asking failed, Connection refused",
        "instance types are those compiled in",
        "on-demand prices: passed over c7g.large: is priced in EUR, not in USD",
        "1 type without an on-demand price, so not offered: c7g.large",
    ] {
        assert!(all.contains(said), "{said}: {all}");
    }
    let CatalogSource::Answers { region, as_of, .. } = &live.catalog.source else { panic!("{all}") };
    assert_eq!((region.as_str(), *as_of), ("eu-west-1", NOON));
}

#[test]
fn old_answers_are_used_and_their_age_is_said_once_for_all_that_failed_alike() {
    let prices = format!(r#"{{"PriceList": [{}]}}"#, product("eu-west-1", "m7i.large", "USD"));
    let mut of = readings(
        "eu-west-1",
        &[(Call::Offerings, OFFERINGS), (Call::OnDemandPrices, &prices), (Call::SpotPrices, SPOT)],
    );
    for call in [Call::OnDemandPrices, Call::SpotPrices] {
        let (code, message) = ("RequestLimitExceeded".to_owned(), "slow down".to_owned());
        of.failures.insert(call, AnswerError::Refused { call: call.name(), code, message });
    }
    let live = live(&of, NOON.plus_seconds(5 * 3_600)).unwrap();
    let said =
        "on-demand prices, spot prices are 5 h old: asking anew failed, RequestLimitExceeded (slow down)";
    assert!(live.remarks.iter().any(|remark| remark == said), "{:?}", live.remarks);
    assert_eq!(live.catalog.types.len(), 1);
}

#[test]
fn yuan_are_said() {
    let prices = format!(r#"{{"PriceList": [{}]}}"#, product("cn-north-1", "m7i.large", "CNY"));
    let offered = OFFERINGS.replace("eu-west-1", "cn-north-1");
    let of = readings("cn-north-1", &[(Call::Offerings, &offered), (Call::OnDemandPrices, &prices)]);
    let remarks = live(&of, NOON).unwrap().remarks;
    assert!(remarks.iter().any(|r| r == "prices of cn-north-1 are in CNY, not in dollars"), "{remarks:?}");
    assert!(remarks.iter().any(|r| r.starts_with("spot prices are estimated at 35")), "{remarks:?}");
}

#[test]
fn nothing_at_all_is_an_error_that_says_why() {
    let mut of = readings("eu-west-1", &[(Call::SpotPrices, SPOT)]);
    assert!(matches!(live(&of, NOON), Err(Trouble::NothingKept { .. })));
    let (call, problem) = ("DescribeInstanceTypes", "no credentials".to_owned());
    of.failures.insert(Call::InstanceTypes, AnswerError::NoAnswer { call, problem });
    let error = live(&of, NOON).unwrap_err().to_string();
    assert!(error.contains("AWS gave no answer to DescribeInstanceTypes: no credentials"), "{error}");
    let error = live(&readings("eu-west-1", &[(Call::Offerings, OFFERINGS)]), NOON).unwrap_err().to_string();
    assert!(error.starts_with("on-demand prices of eu-west-1 are not known: nothing is kept"), "{error}");
}

#[test]
fn a_savings_plan_gets_the_rates_beside_it() {
    let rate = r#"{"rate": "0.0667", "currency": "USD", "productType": "EC2", "usageType": "BoxUsage:m7i.large",
        "properties": [{"name": "region", "value": "eu-west-1"}, {"name": "instanceType", "value": "m7i.large"},
        {"name": "productDescription", "value": "Linux/UNIX"}, {"name": "tenancy", "value": "shared"}]}"#;
    let plans = format!(
        r#"{{"savingsPlans": [{{"savingsPlanId": "sp-1", "savingsPlanType": "Compute", "commitment": "1.5",
            "currency": "USD", "state": "active"}}], "rates": {{"sp-1": [{{"searchResults": [{rate}]}}]}}}}"#
    );
    let prices = format!(r#"{{"PriceList": [{}]}}"#, product("eu-west-1", "m7i.large", "USD"));
    let of = readings(
        "eu-west-1",
        &[(Call::Offerings, OFFERINGS), (Call::OnDemandPrices, &prices), (Call::SavingsPlans, &plans)],
    );
    let plans = live(&of, NOON).unwrap().commitments.savings_plans;
    assert_eq!((plans.len(), &plans[0].kind, plans[0].commitment), (1, &PlanKind::Compute, 1.5));
    assert_eq!(plans[0].rates.get("m7i.large"), Some(&0.0667));
}
