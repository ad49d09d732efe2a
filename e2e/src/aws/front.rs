//! The server that Stowage asks: it answers itself or asks moto, page by page, and can be told to fail.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use serde_json::{Value, json};

use super::http::{Request, Response, forward, relay, serve};
use super::instances::Ec2Form;
use super::moto::Moto;
use super::sqs::{Mailbox, receive};
use super::stock::Stock;
use super::unwell::{Unwell, managed, statuses};

/// Elements of a page: fewer than were asked for, as AWS may give, and so few that every answer has several.
const PAGE: usize = 20;

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// Nothing.
    None,
    /// It came too soon after others.
    Throttle,
    /// The account may not ask this.
    Refuse,
    /// The service has broken down.
    Break,
    /// The connection ends without an answer, and nothing was done.
    Cut,
    /// The connection ends without an answer, after a fleet was launched.
    Lose,
}

/// An AWS on loopback.
#[derive(Debug)]
pub struct Front {
    url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    stock: Stock,
    moto: u16,
    /// What happens to the next requests of a call.
    next: BTreeMap<String, VecDeque<Mishap>>,
    /// What happens to all further ones; `*` is every call.
    always: BTreeMap<String, Mishap>,
    seen: BTreeMap<String, usize>,
    /// Launches by their tokens, what was asked and what was answered: moto would launch again.
    launched: BTreeMap<String, (String, (u16, String))>,
    /// Instance types and zones that cannot be had, and the code that says so; `*` is any.
    short: Vec<(String, String, String)>,
    /// Machines that something is wrong with, by id.
    unwell: Vec<(String, Unwell)>,
    /// Ids of zones that clusters are shifted away from; `None` where they may not be.
    shifted: Option<Vec<String>>,
}

impl Front {
    /// Starts to serve.
    ///
    /// # Errors
    /// Where moto does not start.
    pub fn start(stock: Stock) -> Result<Self> {
        let state = State {
            stock,
            moto: Moto::shared()?.port(),
            next: BTreeMap::new(),
            always: BTreeMap::new(),
            seen: BTreeMap::new(),
            launched: BTreeMap::new(),
            short: Vec::new(),
            unwell: Vec::new(),
            shifted: None,
        };
        let state = Arc::new(Mutex::new(state));
        let served = Arc::clone(&state);
        let address = serve(move |request| answer(&served, request))?;
        Ok(Self { url: format!("http://{address}"), state })
    }

    /// For `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What a program is told so that it takes this for the AWS of a region.
    pub fn environment<'f>(&'f self, region: &'f str) -> [(&'static str, &'f str); 5] {
        [
            ("AWS_ENDPOINT_URL", self.url()),
            ("AWS_REGION", region),
            ("AWS_ACCESS_KEY_ID", "made-up"),
            ("AWS_SECRET_ACCESS_KEY", "made-up"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]
    }

    /// The EC2 behind it.
    pub fn ec2(&self, region: &str) -> Ec2Form {
        Ec2Form::new(self.state().moto, region)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happens to the next requests of a call.
    pub fn next(&self, call: &str, mishaps: &[Mishap]) {
        self.state().next.insert(call.to_owned(), mishaps.iter().copied().collect());
    }

    /// What happens to all requests of a call from now on; `*` is every call.
    pub fn always(&self, call: &str, mishap: Mishap) {
        self.state().always.insert(call.to_owned(), mishap);
    }

    /// How many requests of a call have come; `*` counts all.
    pub fn seen(&self, call: &str) -> usize {
        let state = self.state();
        let wanted = state.seen.iter().filter(|(name, _)| call == "*" || *name == call);
        wanted.map(|(_, count)| count).sum()
    }

    /// What cannot be had from now on: (instance type, zone, code), `*` is any.
    pub fn short_of(&self, what: &[(&str, &str, &str)]) {
        self.state().short =
            what.iter().map(|(t, z, c)| ((*t).to_owned(), (*z).to_owned(), (*c).to_owned())).collect();
    }

    /// What EC2 finds wrong with machines from now on, by their ids.
    pub fn unwell(&self, of: &[(String, Unwell)]) {
        self.state().unwell = of.to_vec();
    }

    /// Shifts clusters away from the zones of these ids, and from no others.
    pub fn shift(&self, zones: &[&str]) {
        self.state().shifted = Some(zones.iter().map(|zone| (*zone).to_owned()).collect());
    }

    /// A queue, for tests.
    ///
    /// # Errors
    /// Where moto does not make it.
    pub fn mailbox(&self, region: &str, name: &str) -> Result<Mailbox> {
        Mailbox::open(self.state().moto, region, name)
    }

    /// Changes what is sold.
    pub fn change(&self, change: impl FnOnce(&mut Stock)) {
        change(&mut self.state().stock);
    }
}

fn answer(state: &Mutex<State>, request: &Request) -> Response {
    let target = request.header("x-amz-target").and_then(|target| target.split_once('.'));
    let call = match target {
        Some((_, call)) => call.to_owned(),
        None if request.path.starts_with("/managedresources/") => "GetManagedResource".to_owned(),
        None => form(&request.body, "Action").unwrap_or_else(|| request.path.trim_matches('/').to_owned()),
    };
    // Dry runs are calls of their own: what is to happen to a launch does not happen to a trial of one.
    let tries = form(&request.body, "DryRun").as_deref() == Some("true");
    let call = if tries { format!("Try{call}") } else { call };
    let (mishap, stock, moto, unwell, shifted) = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        *state.seen.entry(call.clone()).or_default() += 1;
        let next = state.next.get_mut(&call).and_then(VecDeque::pop_front);
        let always = state.always.get(&call).or_else(|| state.always.get("*")).copied();
        let mishap = next.or(always).unwrap_or(Mishap::None);
        (mishap, state.stock.clone(), state.moto, state.unwell.clone(), state.shifted.clone())
    };
    let is_json = request.header("content-type").is_some_and(|kind| kind.contains("json"));
    let failure = |status: u16, code: &str| {
        let (kind, body) = if is_json {
            ("application/x-amz-json-1.1", json!({"__type": code, "message": "made up"}).to_string())
        } else {
            ("text/xml", failed(code))
        };
        Response::Whole(status, kind, body)
    };
    match mishap {
        Mishap::Throttle if is_json => return failure(400, "ThrottlingException"),
        Mishap::Throttle => return failure(503, "RequestLimitExceeded"),
        Mishap::Refuse if is_json => return failure(400, "AccessDeniedException"),
        Mishap::Refuse => return failure(403, "UnauthorizedOperation"),
        Mishap::Break => return failure(500, "InternalFailure"),
        // As EC2 may do what it was asked for, and nobody hears of it.
        Mishap::Lose => {
            if call == "CreateFleet" {
                drop(launch(state, request));
            }
            return Response::Nothing;
        }
        Mishap::Cut => return Response::Nothing,
        Mishap::None => {}
    }
    let xml = |body| Response::Whole(200, "text/xml", body);
    match call.as_str() {
        "DescribeInstanceTypes" => types(request, &stock, moto).map_or_else(|_| failure(500, "Moto"), xml),
        "DescribeInstanceTypeOfferings" => {
            offerings(request, &stock, moto).map_or_else(|_| failure(500, "Moto"), xml)
        }
        "DescribeSubnets" => forward(request, &request.body, moto).map_or_else(|_| failure(500, "Moto"), xml),
        "DescribeSpotPriceHistory" => xml(spot(request, &stock)),
        "DescribeCapacityReservations" => xml(reservations(request, &stock)),
        "DescribePlacementGroups" => xml(placement_groups(request, &stock)),
        "GetParameter" => parameter(request, &stock),
        "DescribeReservedInstances" => xml(reserved(&stock)),
        "DescribeInstanceStatus" => statuses(request, &unwell),
        "GetManagedResource" => managed(shifted.as_deref()),
        "ReceiveMessage" => receive(request, moto).unwrap_or_else(|_| failure(500, "Moto")),
        "GetQueueUrl" | "DeleteMessageBatch" => relay(request, &request.body, moto).map_or_else(
            |_| failure(500, "Moto"),
            |(status, body)| Response::Whole(status, "application/x-amz-json-1.0", body),
        ),
        "GetProducts" => products(request, &stock),
        "DescribeSavingsPlans" | "DescribeSavingsPlanRates" => savings(&call, request, &stock),
        tried if tried.starts_with("Try") => relay(request, &request.body, moto).map_or_else(
            |_| failure(500, "Moto"),
            |(status, body)| Response::Whole(status, "text/xml", body),
        ),
        "CreateFleet" => launch(state, request).map_or_else(
            |_| failure(500, "Moto"),
            |(status, body)| Response::Whole(status, "text/xml", body),
        ),
        // What moto does as EC2 does it.
        "DescribeSecurityGroups"
        | "DescribeImages"
        | "DescribeInstances"
        | "DescribeInstanceAttribute"
        | "CreateLaunchTemplate"
        | "CreateTags"
        | "RunInstances"
        | "DescribeLaunchTemplates"
        | "DescribeLaunchTemplateVersions"
        | "DeleteLaunchTemplate"
        | "TerminateInstances"
        // And IAM.
        | "CreateRole"
        | "GetInstanceProfile"
        | "ListInstanceProfiles"
        | "CreateInstanceProfile"
        | "DeleteInstanceProfile"
        | "AddRoleToInstanceProfile"
        | "RemoveRoleFromInstanceProfile" => relay(request, &request.body, moto).map_or_else(
            |_| failure(500, "Moto"),
            |(status, body)| Response::Whole(status, "text/xml", body),
        ),
        // EKS has paths in the place of calls.
        path if path == "clusters" || path.starts_with("clusters/") => {
            relay(request, &request.body, moto).map_or_else(
                |_| failure(500, "Moto"),
                |(status, body)| Response::Whole(status, "application/json", body),
            )
        }
        _ => failure(400, "InvalidAction"),
    }
}

/// How EC2 says that something failed.
fn failed(code: &str) -> String {
    let error = format!("<Error><Code>{code}</Code><Message>made up</Message></Error>");
    format!("<Response><Errors>{error}</Errors><RequestID>r</RequestID></Response>")
}

/// Launches a fleet: without what cannot be had. A token that is known is answered as the first time, whatever came of it, and
/// refused where something else is asked for with it, as EC2 does.
fn launch(state: &Mutex<State>, request: &Request) -> Result<(u16, String)> {
    let token = form(&request.body, "ClientToken").unwrap_or_default();
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((asked, answer)) = state.launched.get(&token) {
        let is_same = *asked == request.body;
        return Ok(if is_same { answer.clone() } else { (400, failed("IdempotentParameterMismatch")) });
    }
    let (left, errors) = without(&request.body, &state.short);
    let answer = if left.contains(".Overrides.") {
        let (status, body) = relay(request, &left, state.moto)?;
        (status, body.replacen("<errorSet/>", &format!("<errorSet>{errors}</errorSet>"), 1))
    } else {
        let id = "<fleetId>fleet-00000000-0000-0000-0000-000000000000</fleetId>";
        let nothing = format!("{id}<errorSet>{errors}</errorSet><fleetInstanceSet/>");
        (200, format!("<CreateFleetResponse>{nothing}</CreateFleetResponse>"))
    };
    if answer.0 == 200 {
        state.launched.insert(token, (request.body.clone(), answer.clone()));
    }
    Ok(answer)
}

/// A request for a fleet without the overrides that cannot be had, and the errors that EC2 states of these.
fn without(body: &str, short: &[(String, String, String)]) -> (String, String) {
    // Fields of overrides stand under `LaunchTemplateConfigs.1.Overrides.7.`; those that are left are counted anew.
    let mut ways = BTreeMap::<(&str, usize), Vec<(&str, &str)>>::new();
    let mut left = Vec::new();
    for pair in body.split('&') {
        let way = pair.split_once(".Overrides.").and_then(|(config, rest)| {
            let (number, rest) = rest.split_once('.')?;
            Some(((config, number.parse().ok()?), rest.split_once('=')?))
        });
        match way {
            Some((way, field)) => ways.entry(way).or_default().push(field),
            None => left.push(pair.to_owned()),
        }
    }
    let mut errors = String::new();
    let mut counts = BTreeMap::<&str, usize>::new();
    for ((config, _), fields) in ways {
        let of = |name: &str| fields.iter().find(|(field, _)| *field == name).map_or("", |(_, value)| *value);
        let (of_type, zone, subnet) = (of("InstanceType"), of("AvailabilityZone"), of("SubnetId"));
        let is = |stated: &str, real: &str| stated == "*" || stated == real;
        if let Some((.., code)) = short.iter().find(|(t, z, _)| is(t, of_type) && is(z, zone)) {
            let _ = write!(
                errors,
                "<item><errorCode>{code}</errorCode><errorMessage>made up</errorMessage><lifecycle>on-demand</lifecycle>\
                 <launchTemplateAndOverrides><overrides><instanceType>{of_type}</instanceType><subnetId>{subnet}</subnetId>\
                 <availabilityZone>{zone}</availabilityZone></overrides></launchTemplateAndOverrides></item>"
            );
        } else {
            let count = counts.entry(config).or_default();
            *count += 1;
            left.extend(
                fields.iter().map(|(field, value)| format!("{config}.Overrides.{count}.{field}={value}")),
            );
        }
    }
    (left.join("&"), errors)
}

/// A field of a form; the values that are asked for here need no decoding.
pub(super) fn form(body: &str, name: &str) -> Option<String> {
    body.split('&').find_map(|pair| Some(pair.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
}

/// The elements of a page, and the token of the next one. A token is where the next page begins.
fn page<T>(all: &[T], token: Option<String>) -> (&[T], Option<String>) {
    let from = token.and_then(|token| token.parse().ok()).unwrap_or(0).min(all.len());
    let to = (from + PAGE).min(all.len());
    (&all[from..to], (to < all.len()).then(|| to.to_string()))
}

fn next_token(token: Option<String>) -> String {
    token.map_or_else(String::new, |token| format!("<nextToken>{token}</nextToken>"))
}

/// What moto says of the types of one page. It has no pages of its own.
fn types(request: &Request, stock: &Stock, moto: u16) -> Result<String> {
    let (names, token) = page(&stock.types, form(&request.body, "NextToken"));
    let mut body = "Action=DescribeInstanceTypes&Version=2016-11-15".to_owned();
    for (at, name) in names.iter().enumerate() {
        let _ = write!(body, "&InstanceType.{}={name}", at + 1);
    }
    let mut answer = forward(request, &body, moto)?;
    if token.is_none() {
        let more: String = stock.unheard_of.iter().map(|(_, _, xml)| xml.as_str()).collect();
        answer = answer.replacen("</instanceTypeSet>", &format!("{more}</instanceTypeSet>"), 1);
    }
    let end = "</DescribeInstanceTypesResponse>";
    Ok(answer.replacen(end, &format!("{}{end}", next_token(token)), 1))
}

fn offerings(request: &Request, stock: &Stock, moto: u16) -> Result<String> {
    // Moto knows no zones of China.
    if stock.region.starts_with("cn-") {
        let pairs = stock.zones.iter().flat_map(|(name, zones)| zones.iter().map(move |zone| (name, zone)));
        let items: String = pairs.map(|(name, zone)| offered(name, zone)).collect();
        return Ok(format!(
            "<DescribeInstanceTypeOfferingsResponse><instanceTypeOfferingSet>{items}</instanceTypeOfferingSet>\
             </DescribeInstanceTypeOfferingsResponse>"
        ));
    }
    let mut body = "Action=DescribeInstanceTypeOfferings&Version=2016-11-15&LocationType=availability-zone\
                    &Filter.1.Name=instance-type"
        .to_owned();
    for (at, name) in stock.types.iter().enumerate() {
        let _ = write!(body, "&Filter.1.Value.{}={name}", at + 1);
    }
    let more: String = stock.unheard_of.iter().map(|(name, zone, _)| offered(name, zone)).collect();
    let answer = forward(request, &body, moto)?;
    Ok(answer.replacen("</instanceTypeOfferingSet>", &format!("{more}</instanceTypeOfferingSet>"), 1))
}

fn offered(name: &str, zone: &str) -> String {
    format!(
        "<item><instanceType>{name}</instanceType><locationType>availability-zone</locationType>\
         <location>{zone}</location></item>"
    )
}

fn spot(request: &Request, stock: &Stock) -> String {
    let all: Vec<_> = stock.spot.iter().collect();
    let (some, token) = page(&all, form(&request.body, "NextToken"));
    let item = |((name, zone), price): &(&(String, String), &String)| {
        format!(
            "<item><instanceType>{name}</instanceType><productDescription>Linux/UNIX</productDescription>\
             <spotPrice>{price}</spotPrice><timestamp>2026-07-20T11:20:00.000Z</timestamp>\
             <availabilityZone>{zone}</availabilityZone></item>"
        )
    };
    let items: String = some.iter().map(item).collect();
    format!(
        "<DescribeSpotPriceHistoryResponse><spotPriceHistorySet>{items}</spotPriceHistorySet>{}\
         </DescribeSpotPriceHistoryResponse>",
        next_token(token)
    )
}

/// Two machines of one type are held in the first zone.
fn reservations(request: &Request, stock: &Stock) -> String {
    let wanted = form(&request.body, "CapacityReservationId.1");
    let item = format!(
        "<item><capacityReservationId>cr-1</capacityReservationId><instanceType>m7i.large</instanceType>\
         <ownerId>123456789012</ownerId><instanceMatchCriteria>targeted</instanceMatchCriteria>\
         <instancePlatform>Linux/UNIX</instancePlatform><availabilityZone>{}a</availabilityZone>\
         <tenancy>default</tenancy><totalInstanceCount>3</totalInstanceCount>\
         <availableInstanceCount>2</availableInstanceCount><state>active</state></item>",
        stock.region
    );
    let item = if wanted.is_none_or(|id| id == "cr-1") { item } else { String::new() };
    format!(
        "<DescribeCapacityReservationsResponse><capacityReservationSet>{item}</capacityReservationSet>\
         </DescribeCapacityReservationsResponse>"
    )
}

/// Moto has none.
fn placement_groups(request: &Request, stock: &Stock) -> String {
    let name = form(&request.body, "GroupName.1");
    let some = stock.placement_groups.iter().filter(|(of, _)| name.as_ref().is_none_or(|name| name == of));
    let item = |(name, strategy): &(String, String)| {
        format!(
            "<item><groupId>pg-0123456789abcdef0</groupId><groupName>{name}</groupName>\
             <strategy>{strategy}</strategy><state>available</state></item>"
        )
    };
    let items: String = some.map(item).collect();
    format!(
        "<DescribePlacementGroupsResponse><placementGroupSet>{items}</placementGroupSet>\
         </DescribePlacementGroupsResponse>"
    )
}

/// Moto has none of those in which AWS publishes images for EKS.
fn parameter(request: &Request, stock: &Stock) -> Response {
    let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
    let name = body["Name"].as_str().unwrap_or_default();
    let (status, answer) = match stock.parameters.get(name) {
        Some(value) => (200, json!({"Parameter": {"Name": name, "Type": "String", "Value": value}})),
        None => (400, json!({"__type": "ParameterNotFound", "message": format!("{name} is not there")})),
    };
    Response::Whole(status, "application/x-amz-json-1.1", answer.to_string())
}

/// Reserved instances, of a year with nothing paid ahead, at half a dollar or yuan an hour.
fn reserved(stock: &Stock) -> String {
    let currency = &stock.currency;
    let item = |(at, (name, count)): (usize, &(String, u32))| {
        format!(
            "<item><reservedInstancesId>ri-{at}</reservedInstancesId><instanceType>{name}</instanceType>\
             <instanceCount>{count}</instanceCount><productDescription>Linux/UNIX</productDescription>\
             <state>active</state><instanceTenancy>default</instanceTenancy><duration>31536000</duration>\
             <currencyCode>{currency}</currencyCode><fixedPrice>0.0</fixedPrice><usagePrice>0.0</usagePrice><scope>Region</scope>\
             <end>2099-01-01T00:00:00.000Z</end><recurringCharges><item><frequency>Hourly</frequency>\
             <amount>0.5</amount></item></recurringCharges></item>"
        )
    };
    let items: String = stock.reserved.iter().enumerate().map(item).collect();
    format!(
        "<DescribeReservedInstancesResponse><reservedInstancesSet>{items}</reservedInstancesSet>\
         </DescribeReservedInstancesResponse>"
    )
}

/// Savings plans, or the rates of one, page by page.
fn savings(call: &str, request: &Request, stock: &Stock) -> Response {
    let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
    let (list, all) = if call == "DescribeSavingsPlans" {
        ("savingsPlans", stock.plans())
    } else {
        ("searchResults", stock.rates(body["savingsPlanId"].as_str().unwrap_or_default()))
    };
    let (some, token) = page(&all, body["nextToken"].as_str().map(str::to_owned));
    let mut answer = json!({list: some});
    if let Some(token) = token {
        answer["nextToken"] = json!(token);
    }
    Response::Whole(200, "application/json", answer.to_string())
}

fn products(request: &Request, stock: &Stock) -> Response {
    let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
    let term = |field: &str| {
        let filters = body["Filters"].as_array().into_iter().flatten();
        filters.filter(|f| f["Field"] == field).find_map(|f| f["Value"].as_str()).unwrap_or_default()
    };
    let all = if term("regionCode") == stock.region {
        stock.products(body["ServiceCode"].as_str().unwrap_or_default(), term("productFamily"))
    } else {
        Vec::new()
    };
    let (some, token) = page(&all, body["NextToken"].as_str().map(str::to_owned));
    let mut answer = json!({"FormatVersion": "aws_v1", "PriceList": some});
    if let Some(token) = token {
        answer["NextToken"] = json!(token);
    }
    Response::Whole(200, "application/x-amz-json-1.1", answer.to_string())
}
