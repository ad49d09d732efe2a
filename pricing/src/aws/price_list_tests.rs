//! Price lists in both forms, whole and damaged.

use super::*;

/// A product of EC2 in the list's own words, and its price.
fn product(sku: &str, type_: &str, system: &str, tenancy: &str, region: &str) -> String {
    let family = if type_.contains("metal") { "Compute Instance (bare metal)" } else { "Compute Instance" };
    format!(
        r#"{{"productFamily": "{family}", "sku": "{sku}", "attributes": {{"instanceType": "{type_}",
            "operatingSystem": "{system}", "tenancy": "{tenancy}", "preInstalledSw": "NA", "capacitystatus": "Used",
            "regionCode": "{region}", "marketoption": "OnDemand", "usagetype": "BoxUsage:{type_}", "vcpu": "2"}}}}"#
    )
}

fn fargate(sku: &str, usage: &str) -> String {
    format!(
        r#"{{"productFamily": "Compute", "sku": "{sku}", "attributes": {{"regionCode": "us-east-1", "usagetype": "{usage}"}}}}"#
    )
}

fn terms(sku: &str, unit: &str, price: &str) -> String {
    format!(
        r#"{{"{sku}.JRTCKXETXF": {{"effectiveDate": "2026-07-01T00:00:00Z", "offerTermCode": "JRTCKXETXF",
            "priceDimensions": {{"{sku}.JRTCKXETXF.6YS6EN2CT7": {{"unit": "Hrs", "beginRange": "0",
            "pricePerUnit": {{"{unit}": "{price}"}}}}}}}}}}"#
    )
}

/// Products with their terms, in the form that `GetProducts` answers and in that of a download.
fn both_forms(products: &[(String, String)]) -> [String; 2] {
    let sku =
        |product: &str| product.split("\"sku\": \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let text = |(product, terms): &(String, String)| {
        let element =
            format!(r#"{{"product": {product}, "terms": {{"OnDemand": {terms}, "Reserved": {{}}}}}}"#);
        serde_json::to_string(&element).unwrap()
    };
    let query = format!(r#"{{"PriceList": [{}]}}"#, products.iter().map(text).collect::<Vec<_>>().join(","));
    let list = |of: &dyn Fn(&(String, String)) -> String| {
        products.iter().map(|p| format!("\"{}\": {}", sku(&p.0), of(p))).collect::<Vec<_>>().join(",")
    };
    let bulk = format!(
        r#"{{"formatVersion": "v1.0", "offerCode": "AmazonEC2", "products": {{{}}},
            "terms": {{"Reserved": {{"S1": []}}, "OnDemand": {{{}, "STRAY": {{}}}}}}, "more": [1]}}"#,
        list(&|p| p.0.clone()),
        list(&|p| p.1.clone()),
    );
    [query, bulk]
}

fn usd(sku: &str, price: &str) -> String {
    terms(sku, "USD", price)
}

#[test]
fn linux_on_shared_hardware_and_bare_metal_are_kept() {
    let products = [
        (product("S1", "m7i.large", "Linux", "Shared", "us-east-1"), usd("S1", "0.1008000000")),
        (product("S2", "m7i.large", "Windows", "Shared", "us-east-1"), usd("S2", "0.1928000000")),
        (product("S3", "m7i.large", "Linux", "Dedicated", "us-east-1"), usd("S3", "0.1069000000")),
        (product("S4", "m7i.metal-24xl", "Linux", "Dedicated", "us-east-1"), usd("S4", "4.8384000000")),
        (product("S5", "m7i.metal-24xl", "Linux", "Shared", "us-east-1"), usd("S5", "0.0000000000")),
        (product("S6", "m7i.large", "Linux", "Shared", "us-west-2"), usd("S6", "9.0")),
    ];
    for form in both_forms(&products) {
        let list = parse(form.as_bytes(), "us-east-1").unwrap();
        let expected = [("m7i.large".to_owned(), 0.1008), ("m7i.metal-24xl".to_owned(), 4.8384)];
        assert_eq!(list.on_demand, BTreeMap::from(expected));
        assert_eq!(list.published.map(|t| t.to_string()).as_deref(), Some("2026-07-01T00:00:00Z"));
        assert!(list.complete && list.passed_over.is_empty() && list.fargate.is_none());
    }
}

/// Rates of us-east-1 as of 2026: $0.04048 a vCPU, $0.004445 a GB, $0.000111 a GB of disk beyond 20.
#[test]
fn fargate_is_three_rates_or_none() {
    let products = [
        (fargate("F1", "USE1-Fargate-vCPU-Hours:perCPU"), usd("F1", "0.0404800000")),
        (fargate("F2", "USE1-Fargate-GB-Hours"), usd("F2", "0.0044450000")),
        (fargate("F3", "USE1-Fargate-EphemeralStorage-GB-Hours"), usd("F3", "0.0001110000")),
        (fargate("F4", "USE1-Fargate-ARM-GB-Hours"), usd("F4", "0.0035600000")),
        (fargate("F5", "USE1-SpotUsage:Fargate-vCPU-Hours:perCPU"), usd("F5", "9.0000000000")),
    ];
    for form in both_forms(&products) {
        let rates = parse(form.as_bytes(), "us-east-1").unwrap().fargate;
        assert_eq!(rates, Some(FargateRates { vcpu: 0.040_48, gb: 0.004_445, storage_gb: 0.000_111 }));
    }
    for form in both_forms(&products[..2]) {
        assert_eq!(parse(form.as_bytes(), "us-east-1").unwrap().fargate, None);
    }
}

#[test]
fn prices_that_cannot_be_used_are_named() {
    let of = |sku: &str, type_: &str, region: &str| product(sku, type_, "Linux", "Shared", region);
    let products = [
        (of("S1", "euro.large", "us-east-1"), terms("S1", "EUR", "0.1")),
        (of("S2", "free.large", "us-east-1"), usd("S2", "0.0000000000")),
        (of("S3", "nan.large", "us-east-1"), usd("S3", "NaN")),
        (of("S4", "none.large", "us-east-1"), "{}".to_owned()),
    ];
    for form in both_forms(&products) {
        let list = parse(form.as_bytes(), "us-east-1").unwrap();
        assert!(list.on_demand.is_empty());
        let said: Vec<String> = list.passed_over.iter().map(ToString::to_string).collect();
        let expected = [
            "euro.large: is priced in EUR, not in USD",
            "free.large: \"0.0000000000\" is not a price above zero",
            "nan.large: \"NaN\" is not a price above zero",
            "none.large: has no on-demand price",
        ];
        assert_eq!(said, expected);
    }
    let yuan = [(of("S1", "m5.large", "cn-north-1"), terms("S1", "CNY", "1.0430000000"))];
    for form in both_forms(&yuan) {
        let list = parse(form.as_bytes(), "cn-north-1").unwrap();
        assert_eq!(list.on_demand.get("m5.large"), Some(&1.043));
    }
}

#[test]
fn damaged_and_partial_lists() {
    let products = [(product("S1", "m7i.large", "Linux", "Shared", "us-east-1"), usd("S1", "0.1"))];
    for form in both_forms(&products) {
        for end in 0..form.len() {
            if form.is_char_boundary(end) {
                assert!(parse(&form.as_bytes()[..end], "us-east-1").is_err(), "cut at {end}");
            }
        }
    }
    let [query, _] = both_forms(&products);
    let partial = query.replace("]}", r#", 7], "NextToken": "more"}"#);
    let list = parse(partial.as_bytes(), "us-east-1").unwrap();
    assert!(!list.complete);
    assert_eq!((list.on_demand.len(), list.passed_over[0].what.as_str()), (1, "PriceList[1]"));
    let error = parse(b"{\"products\": {\"S1\": 7}}", "us-east-1").unwrap_err().to_string();
    assert!(error.starts_with("the answer to a price list download cannot be read"), "{error}");
}
