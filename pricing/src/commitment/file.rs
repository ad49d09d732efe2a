//! Files of commitments: what is no such file, and what in one cannot be meant.
//!
//! # Invariants
//! - An error names the file, the purchase and the field, and says what to write.
//! - What is possible, but covers nothing (a type that nobody sells, a term that has ended), is a remark, never silence.

use std::collections::BTreeSet;

use stowage_api::well_known::ON_DEMAND;

use super::{Commitments, PlanKind, SavingsPlan, family_and_size, nanos};
use crate::catalog::{Catalog, InstanceType, Offering};
use crate::parse::only_objects;
use crate::time::Timestamp;

/// The form of a file, for people who have got it wrong.
const FORM: &str = r#"write {"reservedInstances": [...], "savingsPlans": [...]}, as docs/pricing.md has it"#;

/// Dollars an hour that a commitment or a rate is at most: more is a slip of the pen.
const MOST: f64 = 1e6;

impl Commitments {
    /// Reads a file of commitments: JSON in the form of these types.
    ///
    /// # Errors
    /// One line that says where and what.
    pub fn parse(bytes: &[u8], file_name: &str) -> Result<Self, String> {
        let of_file = |problem: String| format!("commitments {file_name}: {problem}");
        match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
            None => return Err(of_file(format!("the file is empty; {FORM}"))),
            Some(b'{') => {}
            Some(_) => return Err(of_file(format!("is no JSON object; {FORM}"))),
        }
        only_objects(bytes).map_err(of_file)?;
        let read: Self =
            serde_json::from_slice(bytes).map_err(|error| of_file(format!("{error}; {FORM}")))?;
        let mut names = BTreeSet::new();
        for (list, at, id) in read.ids() {
            if id.trim().is_empty() {
                return Err(of_file(format!("{list}[{at}].id is empty; give it a name, such as AWS's id")));
            }
            if !names.insert(id) {
                return Err(of_file(format!(
                    "{list}[{at}].id is {id:?}, as another one's; give each its own"
                )));
            }
        }
        let of_purchase = |id: &str, problem: String| Err(of_file(format!("{}: {problem}", shortened(id))));
        for of in &read.reserved_instances {
            let (family, size) = family_and_size(&of.instance_type);
            if family.is_empty() || size.is_empty() {
                let problem =
                    format!("instanceType is {:?}; write family and size, as m7i.large", of.instance_type);
                return of_purchase(&of.id, problem);
            }
            if !(0.0..=MOST).contains(&of.hourly) {
                return of_purchase(&of.id, amount("hourly", of.hourly, "zero or more"));
            }
        }
        for plan in &read.savings_plans {
            if !(0.0..=MOST).contains(&plan.commitment) {
                return of_purchase(&plan.id, amount("commitment", plan.commitment, "zero or more"));
            }
            let wrong = plan.rates.iter().find(|(_, rate)| !(**rate > 0.0 && **rate <= MOST));
            if let Some((name, rate)) = wrong {
                let wanted = "more than zero, or leave the type out";
                return of_purchase(&plan.id, amount(&format!("rates of {name}"), *rate, wanted));
            }
        }
        Ok(read)
    }

    /// List, position in it and id of everything.
    fn ids(&self) -> impl Iterator<Item = (&'static str, usize, &str)> {
        let instances = self.reserved_instances.iter().map(|r| r.id.as_str()).enumerate();
        let plans = self.savings_plans.iter().map(|p| p.id.as_str()).enumerate();
        let instances = instances.map(|(at, id)| ("reservedInstances", at, id));
        instances.chain(plans.map(|(at, id)| ("savingsPlans", at, id)))
    }

    /// What of it covers none of the nodes that a catalogue has, and why, for people; at `now`.
    ///
    /// ```
    /// use stowage_pricing::{Catalog, Commitments, Settings, Timestamp};
    ///
    /// let text = br#"{"reservedInstances": [{"id": "ri-1", "instanceType": "m7.large", "count": 1, "hourly": 0.06}]}"#;
    /// let catalog = Catalog::embedded("us-east-1", &Settings::default())?;
    /// let remarks = Commitments::parse(text, "ri.json")?.idle(&catalog, Timestamp::default());
    /// assert_eq!(remarks, ["ri-1 covers no new node: the catalogue has no m7.large"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn idle(&self, catalog: &Catalog, now: Timestamp) -> Vec<String> {
        let offerings = || catalog.types.iter().flat_map(|of| &of.offerings);
        let region = offerings().find_map(Offering::region);
        let zones: BTreeSet<&str> = offerings().map(Offering::zone).collect();
        let has_family = |family: &str| catalog.types.iter().any(|of| family_and_size(&of.name).0 == family);
        let ended =
            |end: Option<Timestamp>| end.filter(|end| *end <= now).map(|end| format!("it ended {end}"));
        let no_family = |family: &str| Some(family).filter(|f| !has_family(f)).map(lacks_family);
        let mut remarks = Vec::new();
        let mut remark = |id: &str, why: Option<String>| {
            remarks.extend(why.map(|why| format!("{} covers no new node: {why}", shortened(id))));
        };
        for of in &self.reserved_instances {
            let name = of.instance_type.as_str();
            let sold = if of.is_flexible() {
                has_family(family_and_size(name).0)
            } else {
                catalog.find(name).is_some()
            };
            let unsold = || (!sold).then(|| format!("the catalogue has no {name}"));
            let nowhere = || {
                let zone = of.zone.as_deref().filter(|zone| !zones.contains(zone))?;
                let known: Vec<&str> = zones.iter().copied().collect();
                Some(format!("{zone} is none of the catalogue's zones, {}", known.join(", ")))
            };
            let none = || (of.count == 0).then(|| "its count is 0".to_owned());
            remark(&of.id, ended(of.end).or_else(none).or_else(unsold).or_else(nowhere));
        }
        for plan in &self.savings_plans {
            let misplaced = || match &plan.kind {
                PlanKind::Compute => None,
                PlanKind::Ec2Instance { region: of, .. } if region.is_some_and(|region| region != of) => {
                    Some(format!("it is for {of}"))
                }
                PlanKind::Ec2Instance { family, .. } => no_family(family),
            };
            let rated = plan.rates.keys().any(|name| catalog.find(name).is_some());
            let unrated = || (!rated).then(|| "it has a rate for no type of the catalogue".to_owned());
            let empty = || (nanos(plan.commitment) == 0).then(|| "its commitment is 0".to_owned());
            let useless = || useless_rates(plan, catalog);
            let why = ended(plan.end).or_else(empty).or_else(misplaced).or_else(unrated).or_else(useless);
            remark(&plan.id, why);
        }
        remarks.extend(self.savings_plans.iter().filter_map(|plan| {
            let known = |name: &str| {
                let facts = crate::facts::embedded().unwrap_or_default();
                catalog.find(name).is_some() || facts.iter().any(|of| of.name == name)
            };
            let unknown: Vec<&String> = plan.rates.keys().filter(|name| !known(name)).collect();
            let first = unknown.first()?;
            Some(format!("{} has rates of {} unknown types ({first})", shortened(&plan.id), unknown.len()))
        }));
        remarks
    }
}

/// Why no rate of a plan saves anything, where none does: all are for other families, or not below what a node on demand
/// costs.
fn useless_rates(plan: &SavingsPlan, catalog: &Catalog) -> Option<String> {
    let rated = || catalog.types.iter().filter_map(|of| Some((of, plan.rate_for(&of.name)?)));
    if let PlanKind::Ec2Instance { family, .. } = &plan.kind
        && rated().next().is_none()
    {
        return Some(format!("it is for {family}, and its rates are for others"));
    }
    let saves = |(of, rate): (&InstanceType, u64)| {
        of.offerings.iter().any(|o| o.capacity_type() == ON_DEMAND && rate < nanos(o.price))
    };
    (!rated().any(saves)).then(|| "none of its rates is below the price on demand".to_owned())
}

fn lacks_family(family: &str) -> String {
    format!("the catalogue has no {family}")
}

fn amount(field: &str, is: f64, wanted: &str) -> String {
    let is = if is.abs() < MOST * 1e3 { is.to_string() } else { format!("{is:e}") };
    format!("{field} is {is}; write dollars an hour, {wanted}, and at most a million")
}

/// As much of an id as anyone reads.
fn shortened(id: &str) -> String {
    id.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Settings;

    fn error(text: &str) -> String {
        Commitments::parse(text.as_bytes(), "c.json").unwrap_err()
    }

    fn instances(fields: &str) -> String {
        format!(r#"{{"reservedInstances": [{{"id": "ri-1", "count": 1, {fields}}}]}}"#)
    }

    fn plan(fields: &str) -> String {
        format!(r#"{{"savingsPlans": [{{"id": "sp-1", {fields}}}]}}"#)
    }

    #[test]
    fn what_is_no_such_file() {
        for (text, expected) in [
            ("", "commitments c.json: the file is empty; write {\"reservedInstances\""),
            ("  \n", "the file is empty"),
            ("[]", "is no JSON object"),
            ("null", "is no JSON object"),
            (
                r#"{"reservedInstances": [["ri-1", "m7i.large", 3, null, 0.06, null]]}"#,
                "reservedInstances[0] is an array; write an object with named fields",
            ),
            ("{\"savingsPlan\": []}", "unknown field `savingsPlan`, expected `reservedInstances` or"),
            ("{", "EOF while parsing an object at line 1 column 1; write"),
        ] {
            let error = error(text);
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(Commitments::parse(b"{}", "c.json"), Ok(Commitments::default()));
    }

    #[test]
    fn what_cannot_be_meant() {
        let twice = r#"{"reservedInstances": [{"id": "a", "instanceType": "m5.large", "count": 1, "hourly": 0}],
            "savingsPlans": [{"id": "a", "kind": "compute", "commitment": 1}]}"#;
        for (text, expected) in [
            (twice.to_owned(), "savingsPlans[0].id is \"a\", as another one's; give each its own"),
            (twice.replace("\"a\"", "\" \""), "reservedInstances[0].id is empty; give it a name"),
            (
                instances(r#""instanceType": "m5", "hourly": 0.1"#),
                "ri-1: instanceType is \"m5\"; write family",
            ),
            (instances(r#""instanceType": "m5.large", "hourly": -1"#), "ri-1: hourly is -1; write dollars"),
            (instances(r#""instanceType": "m5.large", "hourly": 1e300"#), "ri-1: hourly is 1e300; write"),
            (plan(r#""kind": "compute", "commitment": 1e300"#), "sp-1: commitment is 1e300; write dollars"),
            (
                plan(r#""kind": "compute", "commitment": 1, "rates": {"m5.large": 0}"#),
                "sp-1: rates of m5.large is 0; write dollars an hour, more than zero, or leave the type out",
            ),
        ] {
            let error = error(&text);
            assert!(error.starts_with("commitments c.json: ") && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn what_covers_nothing_is_said() {
        let catalog = Catalog::embedded("us-east-1", &Settings::default()).unwrap();
        let noon: Timestamp = "2026-07-20T12:00:00Z".parse().unwrap();
        let text = r#"{"reservedInstances": [
            {"id": "a", "instanceType": "nope.large", "count": 1, "hourly": 0},
            {"id": "b", "instanceType": "m7i.large", "count": 1, "hourly": 0, "zone": "mars-1a"},
            {"id": "c", "instanceType": "m7i.large", "count": 1, "hourly": 0, "end": "2026-07-20T12:00:00Z"},
            {"id": "d", "instanceType": "m7i.9xlarge", "count": 1, "hourly": 0},
            {"id": "e", "instanceType": "m7i.large", "count": 0, "hourly": 0}],
          "savingsPlans": [
            {"id": "ea", "kind": "compute", "commitment": 0, "rates": {"m7i.large": 0.06}},
            {"id": "eb", "kind": {"ec2Instance": {"family": "c7i", "region": "us-east-1"}}, "commitment": 1,
             "rates": {"m7i.large": 0.06}},
            {"id": "ec", "kind": "compute", "commitment": 1, "rates": {"m7i.large": 5}},
            {"id": "f", "kind": {"ec2Instance": {"family": "m7i", "region": "eu-west-1"}}, "commitment": 1},
            {"id": "g", "kind": {"ec2Instance": {"family": "m0", "region": "us-east-1"}}, "commitment": 1},
            {"id": "h", "kind": "compute", "commitment": 1},
            {"id": "i", "kind": "compute", "commitment": 1, "rates": {"m7i.large": 0.06, "nope.large": 1}}]}"#;
        let said = Commitments::parse(text.as_bytes(), "c.json").unwrap().idle(&catalog, noon);
        let starts = [
            "a covers no new node: the catalogue has no nope.large",
            "b covers no new node: mars-1a is none of the catalogue's zones, us-east-1a, ",
            "c covers no new node: it ended 2026-07-20T12:00:00Z",
            "e covers no new node: its count is 0",
            "ea covers no new node: its commitment is 0",
            "eb covers no new node: it is for c7i, and its rates are for others",
            "ec covers no new node: none of its rates is below the price on demand",
            "f covers no new node: it is for eu-west-1",
            "g covers no new node: the catalogue has no m0",
            "h covers no new node: it has a rate for no type of the catalogue",
            "i has rates of 1 unknown types (nope.large)",
        ];
        assert_eq!(said.len(), starts.len(), "{said:?}");
        for (said, start) in said.iter().zip(starts) {
            assert!(said.starts_with(start), "{said}");
        }
    }
}
