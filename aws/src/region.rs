//! Answers as a catalogue, with everything that its reader must know of them.
//!
//! What is not known at all is made up for where that can be done, and said: types, zones and some prices are compiled in,
//! spot prices can be estimated. Prices in no way known leave their types out, by name.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use stowage_pricing::aws::offerings::{self, Locations, Subnet};
use stowage_pricing::aws::{
    Answer, AnswerError, PassedOver, capacity_reservations, commitments, instance_types, price_list,
    spot_history,
};
use stowage_pricing::facts::{self, TypeFacts};
use stowage_pricing::{
    Age, Catalog, Commitments, Currency, FargateRates, PriceBook, Quote, Region, Settings, Timestamp,
    embedded_locations, embedded_prices,
};

use crate::call::Call;
use crate::read::{Readings, Trouble};

/// Elements of an answer that are named when they cannot be used; the others are counted.
const NAMED: usize = 3;

/// A region as AWS says it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// Types, zones and prices.
    pub catalog: Catalog,
    /// What Fargate costs, where that is known.
    pub fargate: Option<Quote<FargateRates>>,
    /// What has been paid for.
    pub commitments: Commitments,
    /// What was read and how old it is; what could not be read or used, and what that means.
    pub remarks: Vec<String>,
}

/// One region on its way to a catalogue.
struct Facts<'a> {
    readings: &'a Readings,
    now: Timestamp,
    remarks: Vec<String>,
}

impl Readings {
    /// The catalogue of these answers at `now`, for nodes set up as `settings` say.
    ///
    /// # Errors
    /// Where no catalogue can be made.
    pub fn live(&self, settings: &Settings, now: Timestamp) -> Result<Live, Trouble> {
        let region = self.region.as_str();
        let core = [Call::InstanceTypes, Call::Offerings, Call::OnDemandPrices];
        if !core.iter().any(|call| self.answers.contains_key(call)) {
            let region = region.to_owned();
            return Err(match core.iter().find_map(|call| self.failures.get(call)) {
                Some(why) => Trouble::Nothing { region, why: why.to_string() },
                None => Trouble::NothingKept { region },
            });
        }
        let mut facts = Facts { readings: self, now, remarks: Vec::new() };
        facts.remarks.extend(self.what_was_read(now));
        facts.remarks.extend(self.what_failed(now));
        facts.remarks.extend(self.remarks.iter().cloned());

        let types = facts.types()?;
        let locations = facts.locations()?;
        let subnets = facts.subnets()?;
        let reservations = facts.list(Call::CapacityReservations, capacity_reservations::parse)?;
        let book = facts.prices(settings)?;
        let commitments = facts.commitments()?.in_force(now, region);
        let assembled = Region {
            types: &types,
            locations: &locations,
            subnets: subnets.as_deref(),
            reservations: &reservations.unwrap_or_default(),
            book: &book,
            settings,
            now,
        }
        .assemble();
        let mut remarks = facts.remarks;
        remarks.extend(assembled.left_out.iter().map(ToString::to_string));
        Ok(Live { catalog: assembled.catalog, fargate: book.fargate(), commitments, remarks })
    }

    /// `eu-west-1 as AWS told it: instance types, on-demand prices 3 h ago; spot prices 40 s ago`.
    fn what_was_read(&self, now: Timestamp) -> Option<String> {
        let mut by_age = Vec::<(String, Vec<String>)>::new();
        for (call, reading) in &self.answers {
            let age = match now.seconds_since(reading.asked) {
                0 => "now".to_owned(),
                seconds => format!("{} ago", Age(seconds)),
            };
            match by_age.iter_mut().find(|(known, _)| *known == age) {
                Some((_, calls)) => calls.push(call.to_string()),
                None => by_age.push((age, vec![call.to_string()])),
            }
        }
        let told: Vec<String> =
            by_age.into_iter().map(|(age, calls)| format!("{} {age}", calls.join(", "))).collect();
        (!told.is_empty()).then(|| format!("{} as AWS told it: {}", self.region, told.join("; ")))
    }

    /// What could not be asked anew: calls that failed alike in one sentence.
    fn what_failed(&self, now: Timestamp) -> Vec<String> {
        let mut alike = BTreeMap::<(Option<String>, String), Vec<String>>::new();
        for (call, error) in &self.failures {
            let age = self.answers.get(call).map(|r| Age(now.seconds_since(r.asked)).to_string());
            alike.entry((age, reason(error))).or_default().push(call.to_string());
        }
        let sentence = |((age, why), calls): ((Option<String>, String), Vec<String>)| {
            let calls = calls.join(", ");
            match age {
                Some(age) => format!("{calls} are {age} old: asking anew failed, {why}"),
                None => format!("{calls} are not known: asking failed, {why}"),
            }
        };
        alike.into_iter().map(sentence).collect()
    }
}

/// What an error says beside the name of the call.
fn reason(error: &AnswerError) -> String {
    match error {
        AnswerError::Refused { code, message, .. } if message.is_empty() => code.clone(),
        AnswerError::Refused { code, message, .. } => format!("{code} ({message})"),
        AnswerError::Unreadable { problem, .. } => format!("the answer {problem}"),
        AnswerError::NoAnswer { problem, .. } => problem.clone(),
    }
}

impl Facts<'_> {
    fn answer(&self, call: Call) -> Option<&[u8]> {
        self.readings.answers.get(&call).map(|reading| reading.answer.as_slice())
    }

    fn asked(&self, call: Call) -> Timestamp {
        self.readings.answers.get(&call).map_or(self.now, |reading| reading.asked)
    }

    fn unreadable(&self, call: Call, why: &dyn std::fmt::Display) -> Trouble {
        Trouble::Unreadable { call, region: self.readings.region.clone(), why: why.to_string() }
    }

    fn missing(&self, call: Call) -> Trouble {
        let why = self.readings.failures.get(&call).map_or_else(
            || "nothing is kept of them, and none are compiled in".to_owned(),
            |failure| format!("{failure}, and none are compiled in"),
        );
        Trouble::Missing { call, region: self.readings.region.clone(), why }
    }

    fn pass_over(&mut self, call: Call, passed_over: &[PassedOver]) {
        self.remarks.extend(passed_over.iter().take(NAMED).map(|p| format!("{call}: passed over {p}")));
        if let Some(more) = passed_over.len().checked_sub(NAMED).filter(|more| *more > 0) {
            self.remarks.push(format!("{call}: passed over {more} more"));
        }
    }

    /// What an answer holds; `None` where there is no answer.
    fn list<T>(
        &mut self,
        call: Call,
        parse: impl Fn(&[u8]) -> Result<Answer<T>, AnswerError>,
    ) -> Result<Option<T>, Trouble> {
        let Some(bytes) = self.answer(call) else { return Ok(None) };
        let answer = parse(bytes).map_err(|error| self.unreadable(call, &error))?;
        self.pass_over(call, &answer.passed_over);
        Ok(Some(answer.found))
    }

    fn types(&mut self) -> Result<Vec<TypeFacts>, Trouble> {
        if let Some(types) = self.list(Call::InstanceTypes, instance_types::parse)? {
            return Ok(types);
        }
        self.remarks.push("instance types are those compiled in".to_owned());
        Ok(facts::embedded().map_err(|error| self.unreadable(Call::InstanceTypes, &error))?.to_vec())
    }

    fn locations(&mut self) -> Result<Locations, Trouble> {
        if let Some(locations) = self.list(Call::Offerings, offerings::parse_offerings)? {
            return Ok(locations);
        }
        let known = embedded_locations(&self.readings.region);
        let known = known.map_err(|error| self.unreadable(Call::Offerings, &error))?;
        self.remarks.push("which zones offer which types is as compiled in".to_owned());
        known.ok_or_else(|| self.missing(Call::Offerings))
    }

    /// The account's subnets. One that has none at all, or may not see them, cannot mean that no node stands anywhere.
    fn subnets(&mut self) -> Result<Option<Vec<Subnet>>, Trouble> {
        let subnets = self.list(Call::Subnets, offerings::parse_subnets)?;
        if subnets.as_ref().is_some_and(Vec::is_empty) {
            self.remarks.push("the account shows no subnet, so every zone is taken to have one".to_owned());
        }
        Ok(subnets.filter(|subnets| !subnets.is_empty()))
    }

    fn prices(&mut self, settings: &Settings) -> Result<PriceBook, Trouble> {
        let region = self.readings.region.as_str();
        let mut book = PriceBook::new(region);
        for call in [Call::OnDemandPrices, Call::FargatePrices] {
            let Some(bytes) = self.answer(call) else { continue };
            let list = price_list::parse(bytes, region).map_err(|error| self.unreadable(call, &error))?;
            self.pass_over(call, &list.passed_over);
            book.refresh_list(self.asked(call), &Ok(list));
        }
        if self.answer(Call::OnDemandPrices).is_none() {
            let known = embedded_prices(region);
            let known = known.map_err(|error| self.unreadable(Call::OnDemandPrices, &error))?;
            let (date, prices) = known.ok_or_else(|| self.missing(Call::OnDemandPrices))?;
            book.seed_on_demand(date.parse().unwrap_or_default(), prices);
            self.remarks.push(format!("on-demand prices are those compiled in, of {date}"));
        }
        match self.answer(Call::SpotPrices) {
            Some(bytes) => {
                let spot = spot_history::parse(bytes);
                let spot = spot.map_err(|error| self.unreadable(Call::SpotPrices, &error))?;
                self.pass_over(Call::SpotPrices, &spot.passed_over);
                book.refresh_spot(self.asked(Call::SpotPrices), &Ok(spot));
            }
            None => self
                .remarks
                .push(format!("spot prices are estimated at {} of on-demand", settings.spot_price_share)),
        }
        if book.currency() != Currency::Usd {
            self.remarks
                .push(format!("prices of {region} are in {}, not in dollars", book.currency().code()));
        }
        Ok(book)
    }

    fn commitments(&mut self) -> Result<Commitments, Trouble> {
        let region = &self.readings.region.clone();
        let reserved =
            self.list(Call::ReservedInstances, |bytes| commitments::parse_reserved_instances(bytes, region))?;
        let plans = self.list(Call::SavingsPlans, |bytes| commitments::parse_savings_plans(bytes, region))?;
        let mut plans = plans.unwrap_or_default();
        let rates = self.answer(Call::SavingsPlans).map(rates_by_plan).unwrap_or_default();
        for plan in &mut plans {
            let Some(pages) = rates.get(&plan.id) else { continue };
            let answer = commitments::parse_plan_rates(pages.to_string().as_bytes(), region);
            let answer = answer.map_err(|error| self.unreadable(Call::SavingsPlans, &error))?;
            self.pass_over(Call::SavingsPlans, &answer.passed_over);
            plan.rates = answer.found;
        }
        Ok(Commitments { reserved_instances: reserved.unwrap_or_default(), savings_plans: plans })
    }
}

/// Plan → pages of its rates, as they stand beside the plans.
fn rates_by_plan(bytes: &[u8]) -> Map<String, Value> {
    let pages = serde_json::Deserializer::from_slice(bytes).into_iter::<Map<String, Value>>();
    let rates = pages.flatten().filter_map(|mut page| page.remove("rates"));
    rates.filter_map(|rates| if let Value::Object(of) = rates { Some(of) } else { None }).flatten().collect()
}

#[cfg(test)]
#[path = "region_tests.rs"]
mod tests;
