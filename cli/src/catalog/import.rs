//! `stowage catalog import`: a catalogue of any region from answers of AWS that were saved to files.
//!
//! ```text
//! describe-instance-types ──────────┐ (else: compiled in)
//! describe-instance-type-offerings ─┤ (else: compiled in)
//! get-products, or a download ──────┼─▶ catalogue on standard output, what is left out on standard error
//! describe-spot-price-history ──────┤ (else: estimated)
//! describe-subnets, …-reservations ─┘
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use stowage_pricing::aws::offerings::Locations;
use stowage_pricing::aws::{
    self, Answer, AnswerError, PassedOver, capacity_reservations, instance_types, offerings, spot_history,
};
use stowage_pricing::{
    Currency, PriceBook, Region, Settings, Share, Timestamp, embedded_locations, embedded_prices, facts,
};

use crate::failure::{Exit, Failure};
use crate::text::{count, safe};
use crate::{input, terminal};

const ANSWERS: &str = "Answers of AWS, as `aws … --output json` prints them";

/// Elements of an answer that are named when they cannot be used; the others are counted.
const NAMED: usize = 3;

/// Options of `stowage catalog import`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
A catalogue of eu-west-1 with what is compiled in, and prices of today:
  aws pricing get-products --region us-east-1 --service-code AmazonEC2 --output json --filters \\
    Type=TERM_MATCH,Field=regionCode,Value=eu-west-1 Type=TERM_MATCH,Field=operatingSystem,Value=Linux \\
    Type=TERM_MATCH,Field=preInstalledSw,Value=NA Type=TERM_MATCH,Field=capacitystatus,Value=Used > prices.json
  aws ec2 describe-spot-price-history --region eu-west-1 --product-descriptions Linux/UNIX \\
    --start-time $(date -u +%FT%TZ) --output json > spot.json
  stowage catalog import --region eu-west-1 --prices prices.json --spot spot.json > catalog.json
  stowage plan snapshot.json --catalog catalog.json")]
pub(super) struct ImportArgs {
    /// AWS region that the answers are about
    #[arg(long, value_name = "REGION")]
    region: String,

    /// `aws pricing get-products`, or a downloaded price list [default: what is compiled in]
    #[arg(long, value_name = "FILE", help_heading = ANSWERS)]
    prices: Option<PathBuf>,

    /// `aws ec2 describe-spot-price-history` [default: an estimate]
    #[arg(long, value_name = "FILE", help_heading = ANSWERS)]
    spot: Option<PathBuf>,

    /// `aws ec2 describe-instance-types` [default: what is compiled in]
    #[arg(long, value_name = "FILE", help_heading = ANSWERS)]
    types: Option<PathBuf>,

    /// `aws ec2 describe-instance-type-offerings --location-type availability-zone` [default: what is compiled in]
    #[arg(long, value_name = "FILE", help_heading = ANSWERS)]
    offerings: Option<PathBuf>,

    /// `aws ec2 describe-subnets`: nodes can stand in their zones only
    #[arg(long, value_name = "FILE", help_heading = ANSWERS)]
    subnets: Option<PathBuf>,

    /// `aws ec2 describe-capacity-reservations`
    #[arg(long, value_name = "FILE", help_heading = ANSWERS)]
    reservations: Option<PathBuf>,

    /// Share of memory that the hypervisor and kernel keep of what EC2 advertises
    #[arg(long, value_name = "SHARE", default_value = "7.5%")]
    vm_memory_overhead_percent: Share,

    /// Spot price to assume where there is no --spot, as a share of the on-demand price
    #[arg(long, value_name = "SHARE", default_value = "35%")]
    spot_price_share: Share,
}

/// Runs the command at `now`.
///
/// # Errors
/// Where a file cannot be used, or something is missing that is not compiled in.
pub(super) fn run(args: &ImportArgs, now: Timestamp) -> Result<Exit, Failure> {
    let mut remarks = Vec::new();
    let json = import(args, now, &mut remarks);
    // What was passed over is why there is no catalogue, where there is none.
    for remark in &remarks {
        terminal::complain(&format!("note: {}\n", safe(remark)));
    }
    terminal::print(json?.as_bytes())?;
    Ok(Exit::Done)
}

fn import(args: &ImportArgs, now: Timestamp, remarks: &mut Vec<String>) -> Result<String, Failure> {
    let region = args.region.as_str();
    let types = match &args.types {
        Some(path) => read(path, instance_types::parse, remarks)?,
        None => facts::embedded().map_err(Failure::new)?.to_vec(),
    };
    let locations = match &args.offerings {
        Some(path) => in_region(read(path, offerings::parse_offerings, remarks)?, region, path, remarks),
        None => embedded_locations(region).map_err(Failure::new)?.ok_or_else(|| {
            Failure::new(format!("which zones of {region} offer which types is not compiled in")).hint(
                format!(
                    "give --offerings, from: aws ec2 describe-instance-type-offerings --region {region} \
                     --location-type availability-zone --output json"
                ),
            )
        })?,
    };
    let subnets =
        args.subnets.as_ref().map(|path| read(path, offerings::parse_subnets, remarks)).transpose()?;
    let reservations = match &args.reservations {
        Some(path) => read(path, capacity_reservations::parse, remarks)?,
        None => Vec::new(),
    };
    let book = prices(args, now, remarks)?;
    let mut settings = Settings { spot_price_share: args.spot_price_share, ..Settings::default() };
    settings.nodes.vm_memory_overhead = args.vm_memory_overhead_percent;
    let assembled = Region {
        types: &types,
        locations: &locations,
        subnets: subnets.as_deref(),
        reservations: &reservations,
        book: &book,
        settings: &settings,
        now,
    }
    .assemble();
    remarks.extend(assembled.left_out.iter().map(ToString::to_string));
    if !assembled.catalog.types.iter().flat_map(|t| &t.offerings).any(|o| o.available) {
        return Err(Failure::new(format!("nothing can be bought in {region} with these answers"))
            .hint("are they all of this region? what was left out is told above"));
    }
    Ok(assembled.catalog.to_json())
}

/// Leaves out zones of other regions, whose prices are others.
fn in_region(mut of: Locations, region: &str, path: &Path, remarks: &mut Vec<String>) -> Locations {
    let mut others = BTreeSet::new();
    for zones in of.values_mut() {
        others.extend(zones.extract_if(.., |zone| !zone.starts_with(region)));
    }
    of.retain(|_, zones| !zones.is_empty());
    if let Some(first) = others.first() {
        let more = if others.len() > 1 { ", …" } else { "" };
        remarks.push(format!(
            "{}: passed over {} of other regions than {region}: {first}{more}",
            path.display(),
            count(others.len(), "zone")
        ));
    }
    of
}

/// The prices: what the file says, else those compiled in.
fn prices(args: &ImportArgs, now: Timestamp, remarks: &mut Vec<String>) -> Result<PriceBook, Failure> {
    let region = args.region.as_str();
    let mut book = PriceBook::new(region);
    match (embedded_prices(region).map_err(Failure::new)?, &args.prices) {
        (_, Some(_)) => {}
        (Some((date, prices)), None) => {
            book.seed_on_demand(date.parse().unwrap_or_default(), prices);
            remarks.push(format!("on-demand prices are those compiled in, of {date}"));
        }
        (None, None) => {
            return Err(Failure::new(format!("no prices of {region} are compiled in"))
                .hint("give --prices; `stowage catalog import --help` shows how to get them"));
        }
    }
    if let Some(path) = &args.prices {
        let file = input::read(path)?;
        let list = aws::price_list::parse(&file.bytes, region);
        let list = list.map_err(|error| Failure::new(format!("{}: {error}", file.name)))?;
        pass_over(&file.name, &list.passed_over, list.complete, remarks);
        if list.on_demand.is_empty() {
            return Err(Failure::new(format!("{} has no on-demand price of Linux in {region}", file.name)));
        }
        book.refresh_list(now, &Ok(list));
    }
    if let Some(path) = &args.spot {
        let file = input::read(path)?;
        let answer = spot_history::parse(&file.bytes);
        let answer = answer.map_err(|error| Failure::new(format!("{}: {error}", file.name)))?;
        pass_over(&file.name, &answer.passed_over, answer.complete, remarks);
        book.refresh_spot(now, &Ok(answer));
    }
    if book.currency() != Currency::Usd {
        remarks.push(format!("prices of {region} are in {}, not in dollars", book.currency().code()));
    }
    Ok(book)
}

fn read<T>(
    path: &Path,
    parse: impl Fn(&[u8]) -> Result<Answer<T>, AnswerError>,
    remarks: &mut Vec<String>,
) -> Result<T, Failure> {
    let file = input::read(path)?;
    let answer = parse(&file.bytes).map_err(|error| Failure::new(format!("{}: {error}", file.name)))?;
    pass_over(&file.name, &answer.passed_over, answer.complete, remarks);
    Ok(answer.found)
}

fn pass_over(file: &str, passed_over: &[PassedOver], complete: bool, remarks: &mut Vec<String>) {
    remarks.extend(passed_over.iter().take(NAMED).map(|p| format!("{file}: passed over {p}")));
    if passed_over.len() > NAMED {
        remarks.push(format!("{file}: passed over {} more", passed_over.len() - NAMED));
    }
    if !complete {
        remarks.push(format!("{file} is not complete: a page is missing, so something may be, too"));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use stowage_pricing::Catalog;

    use super::*;

    const NOON: Timestamp = Timestamp::from_seconds(1_784_548_800);

    fn args(region: &str) -> ImportArgs {
        ImportArgs {
            region: region.to_owned(),
            prices: None,
            spot: None,
            types: None,
            offerings: None,
            subnets: None,
            reservations: None,
            vm_memory_overhead_percent: "7.5%".parse().unwrap(),
            spot_price_share: "35%".parse().unwrap(),
        }
    }

    /// A file of its own for each name.
    fn file(name: &str, text: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("stowage-import-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    const LIST: &str = r#"{"PriceList": ["{\"product\": {\"productFamily\": \"Compute Instance\", \"attributes\":
        {\"instanceType\": \"m7i.large\", \"regionCode\": \"eu-west-1\", \"operatingSystem\": \"Linux\", \"tenancy\": \"Shared\",
         \"preInstalledSw\": \"NA\", \"capacitystatus\": \"Used\"}}, \"terms\": {\"OnDemand\": {\"a\": {\"priceDimensions\":
        {\"b\": {\"pricePerUnit\": {\"USD\": \"0.1123500000\"}}}}}}}"]}"#;

    #[test]
    fn a_region_whose_prices_are_not_compiled_in() {
        let spot = r#"{"SpotPriceHistory": [{"InstanceType": "m7i.large", "AvailabilityZone": "eu-west-1a",
            "SpotPrice": "0.05", "Timestamp": "2026-07-20T11:20:00Z"}, {"InstanceType": "odd"}], "NextToken": "x"}"#;
        let args = ImportArgs {
            prices: Some(file("prices.json", &LIST.replace('\n', " "))),
            spot: Some(file("spot.json", spot)),
            ..args("eu-west-1")
        };
        let mut remarks = Vec::new();
        let json = import(&args, NOON, &mut remarks).unwrap();
        let catalog = Catalog::parse(json.as_bytes(), "c.json").unwrap();
        let [m7i] = catalog.types.as_slice() else { panic!("{} types", catalog.types.len()) };
        let price = |kind: &str| m7i.cheapest(|o| o.capacity_type() == kind).map(|o| (o.price, o.estimated));
        assert_eq!((price("on-demand"), price("spot")), (Some((0.112_35, false)), Some((0.05, false))));
        let all = remarks.join("\n");
        for part in [
            "passed over odd: missing field",
            "spot.json is not complete",
            "without an on-demand price, so not offered",
            "without a spot price in some zones",
        ] {
            assert!(all.contains(part), "{part}: {all}");
        }
    }

    /// Two on-demand prices of us-east-1, one of them not in dollars.
    #[test]
    fn prices_of_a_file_take_the_place_of_those_compiled_in() {
        let list = |currency: &str, price: &str| {
            LIST.replace('\n', " ")
                .replace("eu-west-1", "us-east-1")
                .replace("USD", currency)
                .replace("0.1123500000", price)
        };
        let of = |name: &str, text: &str| {
            let mut remarks = Vec::new();
            let args = ImportArgs { prices: Some(file(name, text)), ..args("us-east-1") };
            (import(&args, NOON, &mut remarks).map_err(|f| format!("{f:?}")), remarks.join("\n"))
        };
        let (json, remarks) = of("one.json", &list("USD", "0.1"));
        assert_eq!(Catalog::parse(json.unwrap().as_bytes(), "c.json").unwrap().types.len(), 1);
        assert!(remarks.contains("types without an on-demand price, so not offered: c1.medium"), "{remarks}");
        // Where nothing is left, what was passed over says why.
        for (price, currency, why) in [
            ("NaN", "USD", "passed over m7i.large: \"NaN\" is not a price above zero"),
            ("-1", "USD", "passed over m7i.large: \"-1\" is not a price above zero"),
            ("0", "USD", "passed over m7i.large: \"0\" is not a price above zero"),
            ("0.1", "EUR", "passed over m7i.large: is priced in EUR, not in USD"),
        ] {
            let (error, remarks) = of("none.json", &list(currency, price));
            assert!(error.unwrap_err().contains("has no on-demand price of Linux in us-east-1"));
            assert!(remarks.contains(why), "{remarks}");
        }
    }

    #[test]
    fn zones_of_other_regions_are_passed_over() {
        let offered = |zone: &str| {
            format!(
                r#"{{"InstanceType": "m7i.large", "LocationType": "availability-zone", "Location": "{zone}"}}"#
            )
        };
        let zones = ["us-east-1a", "eu-west-1a", "us-east-1-bos-1a"].map(offered).join(",");
        let mut remarks = Vec::new();
        let answer = file("zones.json", &format!(r#"{{"InstanceTypeOfferings": [{zones}]}}"#));
        let args = ImportArgs { offerings: Some(answer), ..args("us-east-1") };
        let json = import(&args, NOON, &mut remarks).unwrap();
        assert!(!json.contains("eu-west-1a") && json.contains("us-east-1-bos-1a"), "{json}");
        let said = "zones.json: passed over 1 zone of other regions than us-east-1: eu-west-1a";
        assert!(remarks.iter().any(|r| r.ends_with(said)), "{remarks:?}");
    }

    #[test]
    fn what_is_missing_says_how_to_get_it() {
        let error = |args: &ImportArgs| format!("{:?}", import(args, NOON, &mut Vec::new()).unwrap_err());
        assert!(error(&args("eu-west-1")).contains("no prices of eu-west-1 are compiled in"));
        assert!(error(&args("us-gov-west-1")).contains("which zones of us-gov-west-1 offer which types"));
        let wrong = ImportArgs { prices: Some(file("other.json", LIST)), ..args("us-west-2") };
        assert!(error(&wrong).contains("is not JSON"), "{}", error(&wrong));
        let wrong =
            ImportArgs { prices: Some(file("list.json", &LIST.replace('\n', " "))), ..args("us-west-2") };
        assert!(error(&wrong).contains("has no on-demand price of Linux in us-west-2"));
    }
}
