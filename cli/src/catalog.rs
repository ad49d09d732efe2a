//! `stowage catalog`: which instance types there are, what they hold and what they cost.
//!
//! ```text
//! Source ─▶ Catalog ─▶ filter ─▶ sort ─▶ limit ─▶ table or JSON
//!                 └──▶ diff with another one
//! ```
//!
//! The JSON is the catalogue format, so that it can be edited and given back with `--catalog`.

mod diff;
mod filter;
mod import;
mod table;

use std::cmp::Ordering;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::{Subcommand, ValueEnum};
use stowage_api::well_known::CPU;
use stowage_pricing::{
    Catalog, Commitments, Currency, FargateRates, InstanceType, Settings, Share, Timestamp, to_json,
};

pub(crate) use self::filter::{Filters, accelerators, memory, vcpus};
pub(crate) use self::table::summary;

use self::diff::DiffArgs;
use self::filter::resource;
use self::import::ImportArgs;
use crate::failure::{Exit, Failure};
use crate::input;
use crate::live::{self, MaxAge};
use crate::progress::Progress;
use crate::terminal::{self, ColorChoice};
use crate::text::safe;

/// Region whose types are used where nobody says.
const DEFAULT_REGION: &str = "us-east-1";

pub(crate) const PRICES: &str = "Instance types and prices";

/// Where instance types and prices come from.
#[derive(Debug, Default, clap::Args)]
#[cfg_attr(
    not(feature = "live"),
    allow(dead_code, reason = "what is for --live is read where that is compiled in")
)]
pub(crate) struct Source {
    /// AWS region whose instance types and prices are used [default: us-east-1; with --live, as AWS is configured]
    #[arg(long, value_name = "REGION", help_heading = PRICES, conflicts_with = "catalog")]
    pub(crate) region: Option<String>,

    /// File of instance types and prices to use instead of the embedded ones
    #[arg(long, value_name = "FILE", help_heading = PRICES)]
    pub(crate) catalog: Option<PathBuf>,

    /// Ask AWS for instance types, zones and prices, or use its answers that are still fresh
    ///
    /// Credentials, profile, endpoint and retries are those of AWS's own configuration. Answers are kept on disk: types,
    /// zones and list prices are asked for once a day, spot prices and what the account has once an hour. Where AWS cannot
    /// be asked, the last answers are used, and the output says how old they are.
    #[arg(long, help_heading = PRICES, conflicts_with = "catalog")]
    pub(crate) live: bool,

    /// With --live, use answers only up to this age: 90s, 10m, 2h, 1d; 0 asks for everything anew
    #[arg(long, value_name = "AGE", help_heading = PRICES, requires = "live")]
    pub(crate) max_age: Option<MaxAge>,

    /// With --live, ask nothing, and use the last answers, however old
    #[arg(long, help_heading = PRICES, requires = "live", conflicts_with = "max_age")]
    pub(crate) offline: bool,

    /// With --live, folder of answers [default: stowage in the user's cache folder]
    #[arg(long, value_name = "FOLDER", env = "STOWAGE_CACHE", hide_env_values = true, help_heading = PRICES)]
    pub(crate) cache: Option<PathBuf>,

    /// Share of memory that the hypervisor and kernel keep of what EC2 advertises [default: 7.5%]
    #[arg(long, value_name = "SHARE", help_heading = PRICES, conflicts_with = "catalog")]
    pub(crate) vm_memory_overhead_percent: Option<Share>,

    /// Network interfaces kept from pods on every node: fewer pods have an address
    #[arg(long, value_name = "COUNT", help_heading = PRICES, conflicts_with = "catalog")]
    pub(crate) reserved_enis: Option<u32>,

    /// Give each slot of a network interface sixteen addresses, as the VPC CNI does with `ENABLE_PREFIX_DELEGATION`
    #[arg(long, help_heading = PRICES, conflicts_with = "catalog")]
    pub(crate) prefix_delegation: bool,

    /// Spot price to assume, as a share of the on-demand price [default: 35%]
    #[arg(long, value_name = "SHARE", help_heading = PRICES, conflicts_with = "catalog")]
    pub(crate) spot_price_share: Option<Share>,
}

/// A catalogue, and what its reader must know of it.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) catalog: Catalog,
    /// What was read and what was not, how old it is, what is left out.
    pub(crate) remarks: Vec<String>,
    /// What Fargate costs there, where AWS was asked.
    pub(crate) fargate: Option<FargateRates>,
    /// What has been paid for already, where AWS was asked.
    pub(crate) commitments: Option<Commitments>,
}

impl Loaded {
    /// The catalogue; remarks go to standard error.
    pub(crate) fn and_remark(self) -> Catalog {
        for remark in &self.remarks {
            terminal::complain(&format!("note: {}\n", safe(remark)));
        }
        self.catalog
    }
}

impl Source {
    /// Reads the file, asks AWS, or computes the embedded catalogue of the region.
    ///
    /// # Errors
    /// Where the file cannot be used, or nothing is known of the region.
    pub(crate) fn load(&self, progress: &Progress) -> Result<Loaded, Failure> {
        let standard = Settings::default();
        let mut nodes = standard.nodes;
        nodes.vm_memory_overhead = self.vm_memory_overhead_percent.unwrap_or(nodes.vm_memory_overhead);
        nodes.reserved_interfaces = self.reserved_enis.unwrap_or(nodes.reserved_interfaces);
        nodes.prefix_delegation |= self.prefix_delegation;
        let settings =
            Settings { nodes, spot_price_share: self.spot_price_share.unwrap_or(standard.spot_price_share) };
        if self.live {
            return live::load(self, &settings, now(), progress);
        }
        let catalog = match &self.catalog {
            Some(path) => {
                let file = input::read(path)?;
                Catalog::parse(&file.bytes, &file.name)
            }
            None => Catalog::embedded(self.region.as_deref().unwrap_or(DEFAULT_REGION), &settings),
        };
        let catalog = catalog.map_err(Failure::new)?;
        let remarks = other_money(&catalog).into_iter().collect();
        Ok(Loaded { catalog, remarks, fargate: None, commitments: None })
    }
}

/// Options of `stowage catalog`.
#[derive(Debug, Default, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "\
Examples:
  stowage catalog --type 'm7*' --min-cpu 8 --sort price --limit 10
  stowage catalog --gpu h100
  stowage catalog --region us-east-1 --capacity-type on-demand -o json > catalog.json   # edit, then give to --catalog
  stowage catalog --live --region eu-west-1
  stowage catalog diff catalog.json embedded"
)]
pub(crate) struct CatalogArgs {
    #[command(subcommand)]
    command: Option<CatalogCommand>,

    #[command(flatten)]
    source: Source,

    /// Names, with `*` for anything and `?` for one character
    #[arg(long = "type", value_name = "GLOB", value_delimiter = ',', help_heading = "Filters")]
    types: Vec<String>,

    #[command(flatten)]
    filters: Filters,

    /// Order [default: price in a table, name in JSON]
    #[arg(long, value_name = "ORDER", value_enum)]
    sort: Option<Sort>,

    /// Show only the first so many
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,

    /// Form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

/// What else there is to do with catalogues.
#[derive(Debug, Subcommand)]
enum CatalogCommand {
    /// What has changed between two catalogues: types, zones, prices, and what nodes hold
    Diff(DiffArgs),
    /// Make a catalogue of any region from saved answers of AWS
    Import(ImportArgs),
}

/// Orders of types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// Cheapest first
    Price,
    /// By name
    Name,
    /// Fewest vCPUs first
    Cpu,
    /// Least memory first
    Memory,
}

/// Forms of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    #[default]
    Table,
    /// The catalogue format, to edit and give back with --catalog
    Json,
}

/// Runs the command.
///
/// # Errors
/// Where the catalogue cannot be used or output cannot be written.
pub(crate) fn run(args: &CatalogArgs, color: ColorChoice) -> Result<Exit, Failure> {
    match &args.command {
        Some(CatalogCommand::Diff(diff)) => return diff::run(diff, color),
        Some(CatalogCommand::Import(import)) => return import::run(import, now()),
        None => {}
    }
    let progress = Progress::start();
    let loaded = args.source.load(&progress)?;
    drop(progress);
    let catalog = loaded.and_remark();
    let chosen = select(&catalog, args);
    let text = match args.output {
        Form::Table => table::table(&catalog, &chosen, &terminal::stdout_look(color)),
        Form::Json => to_json(&chosen),
    };
    terminal::print(text.as_bytes())?;
    Ok(Exit::Done)
}

/// What to know of prices that AWS does not state in dollars.
fn other_money(catalog: &Catalog) -> Option<String> {
    let region = catalog.region()?;
    let currency = Currency::of_region(region);
    (currency != Currency::Usd).then(|| {
        format!(
            "AWS's prices of {region} are in {}: amounts are what the catalogue has, not dollars",
            currency.code()
        )
    })
}

/// The clock, for what ends at some moment.
pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}

/// The types that pass the filters, with the offerings that do, in order.
fn select(catalog: &Catalog, args: &CatalogArgs) -> Vec<InstanceType> {
    let mut chosen = args.filters.select(catalog, &args.types);
    let sort = args.sort.unwrap_or(if args.output == Form::Table { Sort::Price } else { Sort::Name });
    // Names are unique and in order already, and the sort is stable, so ties stay by name.
    chosen.sort_by(|a, b| match sort {
        Sort::Price => order_of_prices(cheapest(a), cheapest(b)),
        Sort::Name => a.name.cmp(&b.name),
        Sort::Cpu => resource(a, CPU).cmp(&resource(b, CPU)),
        Sort::Memory => memory(a).cmp(&memory(b)),
    });
    chosen.truncate(args.limit.unwrap_or(usize::MAX));
    chosen
}

fn cheapest(t: &InstanceType) -> Option<f64> {
    t.cheapest(|_| true).map(|o| o.price)
}

/// Lowest first; what cannot be bought last.
fn order_of_prices(a: Option<f64>, b: Option<f64>) -> Ordering {
    a.unwrap_or(f64::INFINITY).total_cmp(&b.unwrap_or(f64::INFINITY))
}

#[cfg(test)]
#[path = "catalog/tests.rs"]
mod tests;
