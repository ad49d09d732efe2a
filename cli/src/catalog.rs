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
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Subcommand, ValueEnum};
use stowage_api::well_known::CPU;
use stowage_pricing::{Catalog, InstanceType, Settings, Share, Timestamp, to_json};

pub(crate) use self::filter::{Filters, accelerators, memory, vcpus};
pub(crate) use self::table::summary;

use self::diff::DiffArgs;
use self::filter::resource;
use self::import::ImportArgs;
use crate::failure::{Exit, Failure};
use crate::input;
use crate::terminal::{self, ColorChoice};

/// Region whose types are used where nobody says.
const DEFAULT_REGION: &str = "us-east-1";

const PRICES: &str = "Instance types and prices";

/// Where instance types and prices come from.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Source {
    /// AWS region whose embedded instance types and prices are used [default: us-east-1]
    #[arg(long, value_name = "REGION", help_heading = PRICES, conflicts_with = "catalog")]
    pub(crate) region: Option<String>,

    /// File of instance types and prices to use instead of the embedded ones
    #[arg(long, value_name = "FILE", help_heading = PRICES)]
    pub(crate) catalog: Option<PathBuf>,

    /// Share of memory that the hypervisor and kernel keep of what EC2 advertises [default: 7.5%]
    #[arg(long, value_name = "SHARE", help_heading = PRICES, conflicts_with = "catalog")]
    pub(crate) vm_memory_overhead_percent: Option<Share>,

    /// Spot price to assume, as a share of the on-demand price [default: 35%]
    #[arg(long, value_name = "SHARE", help_heading = PRICES, conflicts_with = "catalog")]
    pub(crate) spot_price_share: Option<Share>,
}

impl Source {
    /// Reads the file, or computes the embedded catalogue of the region.
    ///
    /// # Errors
    /// Where the file cannot be used, or nothing is embedded for the region.
    pub(crate) fn load(&self) -> Result<Catalog, Failure> {
        if let Some(path) = &self.catalog {
            let file = input::read(path)?;
            return Catalog::parse(&file.bytes, &file.name).map_err(Failure::new);
        }
        let standard = Settings::default();
        let mut nodes = standard.nodes;
        nodes.vm_memory_overhead = self.vm_memory_overhead_percent.unwrap_or(nodes.vm_memory_overhead);
        let settings =
            Settings { nodes, spot_price_share: self.spot_price_share.unwrap_or(standard.spot_price_share) };
        Catalog::embedded(self.region.as_deref().unwrap_or(DEFAULT_REGION), &settings).map_err(Failure::new)
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
    let catalog = args.source.load()?;
    let chosen = select(&catalog, args);
    let text = match args.output {
        Form::Table => table::table(&catalog, &chosen, &terminal::stdout_look(color)),
        Form::Json => to_json(&chosen),
    };
    terminal::print(text.as_bytes())?;
    Ok(Exit::Done)
}

/// The clock, for what ends at some moment.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_seconds(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
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
