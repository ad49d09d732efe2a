//! `DescribeReservedInstances`, `DescribeSavingsPlans` and `DescribeSavingsPlanRates`: what has been paid for.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Answer, AnswerError, PassedOver, elements, pages, quoted};
use crate::commitment::{PlanKind, ReservedInstances, SavingsPlan};
use crate::quote::{Currency, hourly};
use crate::time::Timestamp;

/// The reserved instances that are active, for Linux on shared hardware.
///
/// What was paid ahead is spread over the term. Those in other money than `region`'s are passed over.
///
/// # Errors
/// Where the bytes are no answer of `DescribeReservedInstances`.
pub fn parse_reserved_instances(
    bytes: &[u8],
    region: &str,
) -> Result<Answer<Vec<ReservedInstances>>, AnswerError> {
    const CALL: &str = "DescribeReservedInstances";
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Element {
        reserved_instances_id: String,
        instance_type: String,
        instance_count: u32,
        product_description: String,
        state: String,
        #[serde(default)]
        instance_tenancy: String,
        #[serde(default)]
        availability_zone: String,
        #[serde(default)]
        fixed_price: f64,
        #[serde(default)]
        usage_price: f64,
        #[serde(default)]
        currency_code: String,
        #[serde(default)]
        duration: u64,
        #[serde(default)]
        recurring_charges: Vec<Charge>,
        end: Option<Timestamp>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Charge {
        #[serde(default)]
        amount: f64,
        #[serde(default)]
        frequency: String,
    }
    let read = elements::<Element>(pages(bytes, CALL)?, CALL, "ReservedInstances", "ReservedInstancesId")?;
    let mut answer = Answer { found: Vec::new(), passed_over: read.passed_over, complete: read.complete };
    for of in read.found {
        let ahead = if of.duration > 0 { of.fixed_price * 3600.0 / of.duration as f64 } else { 0.0 };
        let recurring: f64 =
            of.recurring_charges.iter().filter(|c| c.frequency == "Hourly").map(|c| c.amount).sum();
        let hourly = ahead + of.usage_price + recurring;
        let why = if of.state != "active" {
            Some(format!("is {}", quoted(&of.state)))
        } else if !matches!(of.product_description.as_str(), "Linux/UNIX" | "Linux/UNIX (Amazon VPC)") {
            Some(format!("is for {}", quoted(&of.product_description)))
        } else if !matches!(of.instance_tenancy.as_str(), "" | "default") {
            Some(format!("is for tenancy {}", quoted(&of.instance_tenancy)))
        } else if let Some(why) = other_money(&of.currency_code, region) {
            Some(why)
        } else if !hourly.is_finite() || hourly < 0.0 {
            Some("has no price".to_owned())
        } else {
            None
        };
        if let Some(why) = why {
            answer.passed_over.push(PassedOver { what: of.reserved_instances_id, why });
            continue;
        }
        answer.found.push(ReservedInstances {
            id: of.reserved_instances_id,
            instance_type: of.instance_type,
            count: of.instance_count,
            zone: Some(of.availability_zone).filter(|zone| !zone.is_empty()),
            hourly,
            end: of.end,
        });
    }
    Ok(answer)
}

/// The savings plans that are active and for EC2, still without rates: those are answers of their own, one for each plan
/// ([`parse_plan_rates`]). Those in other money than `region`'s are passed over.
///
/// # Errors
/// Where the bytes are no answer of `DescribeSavingsPlans`.
pub fn parse_savings_plans(bytes: &[u8], region: &str) -> Result<Answer<Vec<SavingsPlan>>, AnswerError> {
    const CALL: &str = "DescribeSavingsPlans";
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Element {
        savings_plan_id: String,
        savings_plan_type: String,
        commitment: String,
        #[serde(default)]
        currency: String,
        state: String,
        #[serde(default)]
        ec2_instance_family: String,
        #[serde(default)]
        region: String,
        end: Option<Timestamp>,
    }
    let read = elements::<Element>(pages(bytes, CALL)?, CALL, "savingsPlans", "savingsPlanId")?;
    let mut answer = Answer { found: Vec::new(), passed_over: read.passed_over, complete: read.complete };
    for of in read.found {
        let kind = match of.savings_plan_type.as_str() {
            "Compute" => Ok(PlanKind::Compute),
            "EC2Instance" => Ok(PlanKind::Ec2Instance { family: of.ec2_instance_family, region: of.region }),
            other => Err(format!("is a plan for {}", quoted(other))),
        };
        let checked = match (of.state.as_str(), other_money(&of.currency, region)) {
            ("active", None) => kind.and_then(|kind| Ok((kind, hourly(&of.commitment)?))),
            ("active", Some(why)) => Err(why),
            (state, _) => Err(format!("is {}", quoted(state))),
        };
        match checked {
            Ok((kind, commitment)) => answer.found.push(SavingsPlan {
                id: of.savings_plan_id,
                kind,
                commitment,
                rates: BTreeMap::new(),
                end: of.end,
            }),
            Err(why) => answer.passed_over.push(PassedOver { what: of.savings_plan_id, why }),
        }
    }
    Ok(answer)
}

/// Type → rate of Linux on shared hardware in a region, of one savings plan.
///
/// # Errors
/// Where the bytes are no answer of `DescribeSavingsPlanRates`.
pub fn parse_plan_rates(bytes: &[u8], region: &str) -> Result<Answer<BTreeMap<String, f64>>, AnswerError> {
    const CALL: &str = "DescribeSavingsPlanRates";
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Element {
        rate: String,
        #[serde(default)]
        currency: String,
        #[serde(default)]
        product_type: String,
        #[serde(default)]
        usage_type: String,
        #[serde(default)]
        properties: Vec<Property>,
    }
    #[derive(Deserialize)]
    struct Property {
        #[serde(default)]
        name: String,
        #[serde(default)]
        value: String,
    }
    let read = elements::<Element>(pages(bytes, CALL)?, CALL, "searchResults", "usageType")?;
    let mut answer =
        Answer { found: BTreeMap::new(), passed_over: read.passed_over, complete: read.complete };
    for of in read.found {
        let property = |name: &str| {
            of.properties.iter().find(|p| p.name == name).map(|p| p.value.as_str()).unwrap_or_default()
        };
        let wanted = of.product_type == "EC2"
            && property("region") == region
            && matches!(property("productDescription"), "Linux/UNIX" | "Linux/UNIX (Amazon VPC)")
            && matches!(property("tenancy"), "shared" | "default")
            && !of.usage_type.contains("UnusedBox");
        if !wanted {
            continue;
        }
        let rate = other_money(&of.currency, region).map_or_else(|| hourly(&of.rate), Err);
        match rate {
            Ok(rate) => {
                // Of several, the dearest, whatever their order.
                let known = answer.found.entry(property("instanceType").to_owned()).or_insert(rate);
                *known = known.max(rate);
            }
            Err(why) => answer.passed_over.push(PassedOver { what: quoted(&of.usage_type), why }),
        }
    }
    Ok(answer)
}

/// Why something in this currency cannot be held against prices of a region. Where none is named, it is the region's own.
fn other_money(currency: &str, region: &str) -> Option<String> {
    let own = Currency::of_region(region).code();
    let other = !currency.is_empty() && currency != own;
    other.then(|| format!("is in {}, not in {own}", quoted(currency)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A purchase of a year with $219 paid ahead, so 2.5 cents an hour of 8,760, and 3.5 cents an hour besides.
    #[test]
    fn reserved_instances_with_what_was_paid_ahead() {
        let answer = parse_reserved_instances(
            br#"{"ReservedInstances": [
                {"ReservedInstancesId": "ri-1", "InstanceType": "m7i.large", "InstanceCount": 3, "State": "active",
                 "ProductDescription": "Linux/UNIX", "InstanceTenancy": "default", "Scope": "Region",
                 "Duration": 31536000, "FixedPrice": 219.0, "UsagePrice": 0.0, "CurrencyCode": "USD",
                 "RecurringCharges": [{"Amount": 0.035, "Frequency": "Hourly"}],
                 "Start": "2026-01-01T00:00:00Z", "End": "2027-01-01T00:00:00Z", "OfferingClass": "standard"},
                {"ReservedInstancesId": "ri-2", "InstanceType": "m7i.large", "InstanceCount": 1, "State": "active",
                 "ProductDescription": "Linux/UNIX", "Scope": "Availability Zone", "AvailabilityZone": "us-east-1a"},
                {"ReservedInstancesId": "ri-3", "InstanceType": "m7i.large", "InstanceCount": 1, "State": "retired",
                 "ProductDescription": "Linux/UNIX"},
                {"ReservedInstancesId": "ri-4", "InstanceType": "m7i.large", "InstanceCount": 1, "State": "active",
                 "ProductDescription": "Windows"},
                {"ReservedInstancesId": "ri-5", "InstanceType": "m7i.large", "InstanceCount": 1, "State": "active",
                 "ProductDescription": "Linux/UNIX", "InstanceTenancy": "dedicated"},
                {"ReservedInstancesId": "ri-6", "InstanceCount": -1},
                {"ReservedInstancesId": "ri-7", "InstanceType": "m7i.large", "InstanceCount": 1, "State": "active",
                 "ProductDescription": "Linux/UNIX", "CurrencyCode": "CNY"}]}"#,
            "us-east-1",
        )
        .unwrap();
        let [first, zonal] = answer.found.as_slice() else { panic!("{:?}", answer.found) };
        assert!((first.hourly - 0.06).abs() < 1e-12);
        assert_eq!(
            (first.count, first.zone.as_deref(), zonal.zone.as_deref()),
            (3, None, Some("us-east-1a"))
        );
        let said: Vec<String> = answer.passed_over.iter().map(ToString::to_string).collect();
        assert!(said[0].starts_with("ri-6: "), "{said:?}");
        let expected = [
            "ri-3: is retired",
            "ri-4: is for Windows",
            "ri-5: is for tenancy dedicated",
            "ri-7: is in CNY, not in USD",
        ];
        assert_eq!(said[1..], expected);
    }

    #[test]
    fn savings_plans_and_their_rates() {
        let answer = parse_savings_plans(
            br#"{"savingsPlans": [
                {"savingsPlanId": "sp-1", "savingsPlanType": "Compute", "commitment": "1.50000000", "currency": "USD",
                 "state": "active", "productTypes": ["EC2", "Fargate", "Lambda"], "end": "2027-07-01T00:00:00.000Z"},
                {"savingsPlanId": "sp-2", "savingsPlanType": "EC2Instance", "commitment": "0.25", "state": "active",
                 "ec2InstanceFamily": "m7i", "region": "us-east-1"},
                {"savingsPlanId": "sp-3", "savingsPlanType": "SageMaker", "commitment": "1", "state": "active"},
                {"savingsPlanId": "sp-4", "savingsPlanType": "Compute", "commitment": "1", "state": "retired"},
                {"savingsPlanId": "sp-5", "savingsPlanType": "Compute", "commitment": "1", "currency": "CNY", "state": "active"},
                {"savingsPlanId": "sp-6", "savingsPlanType": "Compute", "commitment": "NaN", "state": "active"}],
                "nextToken": null}"#,
            "us-east-1",
        )
        .unwrap();
        assert_eq!(answer.found.len(), 2);
        assert_eq!(answer.found[0].kind, PlanKind::Compute);
        let said: Vec<&str> = answer.passed_over.iter().map(|p| p.why.as_str()).collect();
        let expected = [
            "is a plan for SageMaker",
            "is retired",
            "is in CNY, not in USD",
            "\"NaN\" is not a price above zero",
        ];
        assert_eq!(said, expected);

        let rate = |type_: &str, region: &str, product: &str, tenancy: &str, rate: &str| {
            format!(
                r#"{{"rate": "{rate}", "currency": "USD", "unit": "Hrs", "productType": "EC2", "serviceCode": "AmazonEC2",
                    "usageType": "BoxUsage:{type_}", "operation": "RunInstances", "properties": [
                    {{"name": "instanceType", "value": "{type_}"}}, {{"name": "region", "value": "{region}"}},
                    {{"name": "productDescription", "value": "{product}"}}, {{"name": "tenancy", "value": "{tenancy}"}}]}}"#
            )
        };
        let rates = [
            rate("m7i.large", "us-east-1", "Linux/UNIX", "shared", "0.0667"),
            rate("m7i.large", "us-east-1", "Windows", "shared", "0.1587"),
            rate("m7i.large", "us-east-1", "Linux/UNIX", "dedicated", "0.0728"),
            rate("m7i.large", "eu-west-1", "Linux/UNIX", "shared", "0.0749"),
            rate("m7i.xlarge", "us-east-1", "Linux/UNIX", "shared", "-1"),
        ];
        let text = format!(r#"{{"savingsPlanId": "sp-1", "searchResults": [{}]}}"#, rates.join(","));
        let answer = parse_plan_rates(text.as_bytes(), "us-east-1").unwrap();
        assert_eq!(answer.found, BTreeMap::from([("m7i.large".to_owned(), 0.0667)]));
        assert_eq!(answer.passed_over[0].what, "BoxUsage:m7i.xlarge");
    }

    /// In China an account pays in yuan, so dollars are the other money.
    #[test]
    fn in_china_commitments_are_in_yuan() {
        let plans = br#"{"savingsPlans": [
            {"savingsPlanId": "sp-1", "savingsPlanType": "Compute", "commitment": "9.5", "currency": "CNY", "state": "active"},
            {"savingsPlanId": "sp-2", "savingsPlanType": "Compute", "commitment": "1.5", "currency": "USD", "state": "active"}]}"#;
        let answer = parse_savings_plans(plans, "cn-north-1").unwrap();
        assert_eq!(answer.found.iter().map(|p| p.commitment).collect::<Vec<_>>(), [9.5]);
        assert_eq!(answer.passed_over[0].to_string(), "sp-2: is in USD, not in CNY");
        let rates = br#"{"searchResults": [{"rate": "0.4", "currency": "CNY", "productType": "EC2",
            "usageType": "CNN1-BoxUsage:m6i.large", "properties": [
            {"name": "instanceType", "value": "m6i.large"}, {"name": "region", "value": "cn-north-1"},
            {"name": "productDescription", "value": "Linux/UNIX"}, {"name": "tenancy", "value": "shared"}]}]}"#;
        let answer = parse_plan_rates(rates, "cn-north-1").unwrap();
        assert_eq!(answer.found, BTreeMap::from([("m6i.large".to_owned(), 0.4)]));
    }
}
