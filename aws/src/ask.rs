//! Asking one question until its last page.

use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::primitives::DateTime;
use aws_sdk_ec2::types::{Filter, LocationType};
use aws_sdk_pricing::types::{Filter as Term, FilterType};
use aws_sdk_savingsplans::types::{SavingsPlanRateFilter, SavingsPlanRateFilterName, SavingsPlanState};
use aws_smithy_async::future::pagination_stream::PaginationStream;
use serde_json::{Map, Value, json};
use stowage_pricing::Timestamp;
use stowage_pricing::aws::AnswerError;

use crate::call::Call;
use crate::row;
use crate::session::Session;

/// The two kinds of hardware that nodes are: shared, and whole machines, which the Price List calls dedicated.
const HARDWARE: [(&str, &str); 2] =
    [("Compute Instance", "Shared"), ("Compute Instance (bare metal)", "Dedicated")];

/// Linux, by its name now, and by that which accounts of before 2013 see.
const LINUX: [&str; 2] = ["Linux/UNIX", "Linux/UNIX (Amazon VPC)"];

/// More pages than any answer has, and few enough to come to an end.
const MOST_PAGES: usize = 10_000;

/// An answer while it comes in: its pages, each a JSON object.
struct Gathered<'t> {
    call: Call,
    told: &'t (dyn Fn() + Send + Sync),
    bytes: Vec<u8>,
    elements: usize,
    pages: usize,
}

/// Asks; `told` is called for each page. The answer is the pages' JSON, one after the other.
pub(crate) async fn ask(
    session: &Session,
    call: Call,
    now: Timestamp,
    told: &(dyn Fn() + Send + Sync),
) -> Result<Vec<u8>, AnswerError> {
    let mut into = Gathered { call, told, bytes: Vec::new(), elements: 0, pages: 0 };
    let ec2 = &session.ec2;
    match call {
        Call::InstanceTypes => {
            let pages = ec2.describe_instance_types().into_paginator().page_size(100).send();
            into.all(pages, |page| row::rows(page.instance_types(), row::instance_type)).await?;
        }
        Call::Offerings => {
            let by_zone =
                ec2.describe_instance_type_offerings().location_type(LocationType::AvailabilityZone);
            let pages = by_zone.into_paginator().page_size(1000).send();
            into.all(pages, |page| row::rows(page.instance_type_offerings(), row::offering)).await?;
        }
        Call::OnDemandPrices => {
            for (family, tenancy) in HARDWARE {
                let terms = [
                    ("regionCode", session.region.as_str()),
                    ("productFamily", family),
                    ("tenancy", tenancy),
                    ("operatingSystem", "Linux"),
                    ("preInstalledSw", "NA"),
                    ("capacitystatus", "Used"),
                    ("marketoption", "OnDemand"),
                ];
                into.products(session, "AmazonEC2", &terms).await?;
            }
        }
        Call::FargatePrices => {
            into.products(session, "AmazonEKS", &[("regionCode", session.region.as_str())]).await?;
        }
        Call::SpotPrices => {
            // A history that starts now is what holds now.
            let mut history =
                ec2.describe_spot_price_history().start_time(DateTime::from_secs(now.seconds()));
            for product in LINUX {
                history = history.product_descriptions(product);
            }
            let pages = history.into_paginator().page_size(1000).send();
            into.all(pages, |page| row::rows(page.spot_price_history(), row::spot_price)).await?;
        }
        Call::Subnets => {
            let pages = ec2.describe_subnets().into_paginator().page_size(1000).send();
            into.all(pages, |page| row::rows(page.subnets(), row::subnet)).await?;
        }
        Call::CapacityReservations => {
            let active = Filter::builder().name("state").values("active").build();
            let pages = ec2.describe_capacity_reservations().filters(active);
            let pages = pages.into_paginator().page_size(1000).send();
            into.all(pages, |page| row::rows(page.capacity_reservations(), row::capacity_reservation))
                .await?;
        }
        Call::ReservedInstances => {
            let active = Filter::builder().name("state").values("active").build();
            let answer = ec2.describe_reserved_instances().filters(active).send().await;
            let answer = answer.map_err(|error| refused(call.name(), &error))?;
            into.page(row::rows(answer.reserved_instances(), row::reserved_instances));
        }
        Call::SavingsPlans => into.savings_plans(session).await?,
    }
    into.finish()
}

impl Gathered<'_> {
    async fn all<P, E: ProvideErrorMetadata + std::error::Error + 'static>(
        &mut self,
        mut pages: PaginationStream<Result<P, SdkError<E>>>,
        list: impl Fn(&P) -> Value,
    ) -> Result<(), AnswerError> {
        while let Some(page) = pages.next().await {
            self.page(list(&page.map_err(|error| refused(self.call.name(), &error))?));
            if self.pages > MOST_PAGES {
                let problem = format!("has more than {MOST_PAGES} pages");
                return Err(AnswerError::Unreadable { call: self.call.name(), problem });
            }
        }
        Ok(())
    }

    fn page(&mut self, list: Value) {
        self.page_of(Map::from_iter([(self.call.list().to_owned(), list)]));
    }

    fn page_of(&mut self, page: Map<String, Value>) {
        self.elements += page.get(self.call.list()).and_then(Value::as_array).map_or(0, Vec::len);
        self.pages += 1;
        self.bytes.extend(Value::Object(page).to_string().into_bytes());
        self.bytes.push(b'\n');
        (self.told)();
    }

    async fn products(
        &mut self,
        session: &Session,
        service: &str,
        terms: &[(&str, &str)],
    ) -> Result<(), AnswerError> {
        let call = self.call.name();
        let mut request = session.pricing.get_products().service_code(service);
        for (field, value) in terms {
            let term = Term::builder().r#type(FilterType::TermMatch).field(*field).value(*value).build();
            let term = term.map_err(|error| AnswerError::NoAnswer { call, problem: error.to_string() })?;
            request = request.filters(term);
        }
        let pages = request.into_paginator().page_size(100).send();
        self.all(pages, |page| Value::Array(page.price_list().iter().map(|p| row::product(p)).collect()))
            .await
    }

    /// The plans, and of each its rates, as further fields of the page: `rates`, by the plan's id.
    async fn savings_plans(&mut self, session: &Session) -> Result<(), AnswerError> {
        let client = &session.savings_plans;
        let mut token = None;
        loop {
            let request = client.describe_savings_plans().states(SavingsPlanState::Active);
            let answer = request.set_next_token(token).send().await;
            let answer = answer.map_err(|error| refused(self.call.name(), &error))?;
            let mut rates = Map::new();
            for id in answer.savings_plans().iter().filter_map(|plan| plan.savings_plan_id.as_deref()) {
                rates.insert(id.to_owned(), Value::Array(self.plan_rates(session, id).await?));
            }
            let plans = row::rows(answer.savings_plans(), row::savings_plan);
            self.page_of(Map::from_iter([
                (self.call.list().to_owned(), plans),
                ("rates".to_owned(), Value::Object(rates)),
            ]));
            token = answer.next_token.filter(|token| !token.is_empty());
            if token.is_none() || self.pages > MOST_PAGES {
                return Ok(());
            }
        }
    }

    /// The pages of one plan's rates.
    async fn plan_rates(&self, session: &Session, plan: &str) -> Result<Vec<Value>, AnswerError> {
        let here = SavingsPlanRateFilter::builder()
            .name(SavingsPlanRateFilterName::Region)
            .values(session.region.as_str())
            .build();
        let mut pages = Vec::new();
        let mut token = None;
        loop {
            let request = session.savings_plans.describe_savings_plan_rates().savings_plan_id(plan);
            let answer = request.filters(here.clone()).set_next_token(token).send().await;
            let answer = answer.map_err(|error| refused("DescribeSavingsPlanRates", &error))?;
            pages.push(json!({"searchResults": row::rows(answer.search_results(), row::savings_plan_rate)}));
            (self.told)();
            token = answer.next_token.filter(|token| !token.is_empty());
            if token.is_none() || pages.len() > MOST_PAGES {
                return Ok(pages);
            }
        }
    }

    fn finish(self) -> Result<Vec<u8>, AnswerError> {
        if self.elements == 0 && self.call.is_never_empty() {
            return Err(AnswerError::Unreadable { call: self.call.name(), problem: "is empty".to_owned() });
        }
        Ok(self.bytes)
    }
}

/// What went wrong, in AWS's words where it answered.
fn refused<E: ProvideErrorMetadata + std::error::Error + 'static>(
    call: &'static str,
    error: &SdkError<E>,
) -> AnswerError {
    if let SdkError::ServiceError(context) = error {
        let (error, status) = (context.err(), context.raw().status());
        let code = error.code().map_or_else(|| format!("status {status}"), str::to_owned);
        return AnswerError::Refused { call, code, message: error.message().unwrap_or_default().to_owned() };
    }
    let problem = match error {
        SdkError::TimeoutError(_) => "it took too long".to_owned(),
        other => deepest(other),
    };
    AnswerError::NoAnswer { call, problem }
}

/// The first line of the innermost cause: the outer ones say only that something failed. Credentials that are not found
/// come with a list of where they were looked for.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(cause) = at.source() {
        at = cause;
    }
    let text = at.to_string();
    text.lines().next().unwrap_or_default().trim_end_matches(". Attempted:").to_owned()
}
