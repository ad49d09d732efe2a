//! `stowage catalog`: which instance types there are, what they hold and what they cost.
//!
//! ```text
//! Source ─▶ Catalog ─▶ filter offerings ─▶ filter types ─▶ sort ─▶ limit ─▶ table or JSON
//! ```
//!
//! The JSON is the catalogue format, so that it can be edited and given back with `--catalog`.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::ValueEnum;
use stowage_api::Quantity;
use stowage_api::well_known::{
    AMD_GPU, CPU, GAUDI, INSTANCE_ACCELERATOR_NAME, INSTANCE_GPU_NAME, INSTANCE_MEMORY, MEMORY, NEURON,
    NVIDIA_GPU, ON_DEMAND, PODS, RESERVED, SPOT,
};
use stowage_pricing::{Catalog, CatalogSource, InstanceType, Offering, Settings, Share, fits_glob, to_json};
use stowage_solver::Price;

use crate::failure::{Exit, Failure};
use crate::render::grid::{Align, Cell, Grid};
use crate::render::look::{Look, Style};
use crate::terminal::{self, ColorChoice};
use crate::text::{count, safe, thousands, wrap};
use crate::{amount, input, money};

/// Region whose types are used where nobody says.
const DEFAULT_REGION: &str = "us-east-1";

const PRICES: &str = "Instance types and prices";
const FILTERS: &str = "Filters";

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
#[command(after_long_help = "\
Examples:
  stowage catalog --type 'm7*' --min-cpu 8 --sort price --limit 10
  stowage catalog --gpu h100
  stowage catalog --region us-east-1 --capacity-type on-demand -o json > catalog.json   # edit, then give to --catalog")]
pub(crate) struct CatalogArgs {
    #[command(flatten)]
    source: Source,

    /// Names, with `*` for anything and `?` for one character
    #[arg(long = "type", value_name = "GLOB", value_delimiter = ',', help_heading = FILTERS)]
    types: Vec<String>,

    /// Architecture
    #[arg(long, value_name = "ARCH", value_parser = ["amd64", "arm64"], help_heading = FILTERS)]
    arch: Option<String>,

    /// At least this many vCPUs
    #[arg(long, value_name = "CPUS", help_heading = FILTERS)]
    min_cpu: Option<Quantity>,

    /// At most this many vCPUs
    #[arg(long, value_name = "CPUS", help_heading = FILTERS)]
    max_cpu: Option<Quantity>,

    /// At least this much advertised memory, such as 64Gi
    #[arg(long, value_name = "BYTES", help_heading = FILTERS)]
    min_memory: Option<Quantity>,

    /// Only types with GPUs or other accelerators; or with those of this name, such as h100
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = false, help_heading = FILTERS)]
    #[expect(clippy::option_option, reason = "an option with an optional value is just that")]
    gpu: Option<Option<String>>,

    /// Only offerings of this capacity type: on-demand, spot or reserved
    #[arg(long, value_name = "KIND", help_heading = FILTERS)]
    capacity_type: Option<String>,

    /// Only offerings in this zone
    #[arg(long, value_name = "ZONE", help_heading = FILTERS)]
    zone: Option<String>,

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
    let catalog = args.source.load()?;
    let text = match args.output {
        Form::Table => table(&catalog, args, &terminal::stdout_look(color)),
        Form::Json => to_json(&select(&catalog, args)),
    };
    terminal::print(text.as_bytes())?;
    Ok(Exit::Done)
}

/// The types that pass the filters, with the offerings that do, in order.
fn select(catalog: &Catalog, args: &CatalogArgs) -> Vec<InstanceType> {
    let mut chosen: Vec<InstanceType> = catalog.types.iter().filter(|t| passes(t, args)).cloned().collect();
    let narrowed = args.zone.is_some() || args.capacity_type.is_some();
    if narrowed {
        for t in &mut chosen {
            t.offerings.retain(|o| {
                args.zone.as_ref().is_none_or(|zone| zone == o.zone())
                    && args.capacity_type.as_ref().is_none_or(|kind| kind == o.capacity_type())
            });
        }
        chosen.retain(|t| !t.offerings.is_empty());
    }
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

fn passes(t: &InstanceType, args: &CatalogArgs) -> bool {
    (args.types.is_empty() || args.types.iter().any(|glob| fits_glob(glob, &t.name)))
        && args.arch.as_ref().is_none_or(|arch| *arch == t.architecture)
        && args.min_cpu.is_none_or(|least| resource(t, CPU) >= least)
        && args.max_cpu.is_none_or(|most| resource(t, CPU) <= most)
        && args.min_memory.is_none_or(|least| memory(t) >= least)
        && args.gpu.as_ref().is_none_or(|wanted| match (wanted, accelerators(t)) {
            (None, found) => found.is_some(),
            (Some(wanted), Some((_, name))) => name.eq_ignore_ascii_case(wanted),
            (Some(_), None) => false,
        })
}

fn resource(t: &InstanceType, name: &str) -> Quantity {
    t.resources.get(name).copied().unwrap_or_default()
}

/// Memory as advertised where the type says so, else what its nodes have.
fn memory(t: &InstanceType) -> Quantity {
    let advertised = t.labels.get(INSTANCE_MEMORY).and_then(|mib| format!("{mib}Mi").parse().ok());
    advertised.unwrap_or_else(|| resource(t, MEMORY))
}

/// Number and name of a type's GPUs, or else of its other accelerators.
fn accelerators(t: &InstanceType) -> Option<(i64, &str)> {
    let name = |label: &str| t.labels.get(label).map_or("", String::as_str);
    [
        (NVIDIA_GPU, INSTANCE_GPU_NAME),
        (AMD_GPU, INSTANCE_GPU_NAME),
        (GAUDI, INSTANCE_GPU_NAME),
        (NEURON, INSTANCE_ACCELERATOR_NAME),
    ]
    .into_iter()
    .find_map(|(device, label)| {
        let count = resource(t, device).ceil_units();
        (count > 0).then(|| (count, name(label)))
    })
}

fn cheapest(t: &InstanceType) -> Option<f64> {
    t.cheapest(|_| true).map(|o| o.price)
}

/// Lowest first; what cannot be bought last.
fn order_of_prices(a: Option<f64>, b: Option<f64>) -> Ordering {
    a.unwrap_or(f64::INFINITY).total_cmp(&b.unwrap_or(f64::INFINITY))
}

/// The types as a table with as many of its columns as the width has room for, and where the prices come from.
fn table(catalog: &Catalog, args: &CatalogArgs, look: &Look) -> String {
    let chosen = select(catalog, args);
    let mut out = String::new();
    if chosen.is_empty() {
        out.push_str("No instance type passes these filters.\n");
    } else {
        let kinds: Vec<&str> = [ON_DEMAND, SPOT, RESERVED]
            .into_iter()
            .filter(|kind| {
                chosen.iter().flat_map(|t| &t.offerings).any(|o| o.available && o.capacity_type() == *kind)
            })
            .collect();
        let grids = Columns::LADDER.map(|columns| grid(&chosen, &kinds, columns));
        let fits = grids.iter().position(|g| g.natural_width() <= look.width).unwrap_or(grids.len() - 1);
        grids[fits].render(look, &mut out);
        out.push('\n');
    }
    wrap(&mut out, &summary(catalog, &chosen), look.width, "", "");
    out
}

/// The columns that give way on a narrow terminal.
#[derive(Clone, Copy)]
struct Columns {
    arch: bool,
    zones: bool,
    for_pods: bool,
}

impl Columns {
    /// From all to none, in the order in which they are missed least.
    const LADDER: [Self; 4] = [
        Self { arch: true, zones: true, for_pods: true },
        Self { arch: true, zones: true, for_pods: false },
        Self { arch: true, zones: false, for_pods: false },
        Self { arch: false, zones: false, for_pods: false },
    ];
}

fn grid(chosen: &[InstanceType], kinds: &[&str], columns: Columns) -> Grid {
    let gpus = chosen.iter().any(|t| accelerators(t).is_some());
    let mut grid = Grid::new(0);
    grid.name("TYPE");
    if columns.arch {
        grid.column("ARCH", Align::Left);
    }
    grid.column("VCPU", Align::Right).column("MEMORY", Align::Right);
    if gpus {
        grid.column("GPU", Align::Left);
    }
    if columns.for_pods {
        grid.column("POD CPU", Align::Right).column("POD MEMORY", Align::Right).column("PODS", Align::Right);
    }
    if columns.zones {
        grid.column("ZONES", Align::Left);
    }
    for kind in kinds {
        let title = match *kind {
            ON_DEMAND => "ON-DEMAND/H",
            SPOT => "SPOT/H",
            _ => "RESERVED/H",
        };
        grid.column(title, Align::Right);
    }
    for t in chosen {
        let allocatable = t.allocatable();
        let for_pod = |name: &str| allocatable.get(name).copied().unwrap_or_default();
        let mut row: Vec<Cell> = vec![t.name.as_str().into()];
        if columns.arch {
            row.push(t.architecture.as_str().into());
        }
        row.push(amount::human(CPU, resource(t, CPU).floor_millis()).into());
        row.push(amount::human(MEMORY, memory(t).floor_units()).into());
        if gpus {
            row.push(
                accelerators(t).map_or_else(String::new, |(count, name)| format!("{count} {name}")).into(),
            );
        }
        if columns.for_pods {
            row.push(amount::human(CPU, for_pod(CPU).floor_millis()).into());
            row.push(amount::human(MEMORY, for_pod(MEMORY).floor_units()).into());
            row.push(thousands(for_pod(PODS).floor_units() as u64).into());
        }
        if columns.zones {
            row.push(zone_letters(t).into());
        }
        row.extend(kinds.iter().map(|kind| price(t.cheapest(|o| o.capacity_type() == *kind))));
        grid.row(row);
    }
    grid
}

fn price(offering: Option<&Offering>) -> Cell {
    match offering.and_then(|o| Some((o, Price::from_dollars(o.price)?))) {
        None => Cell::new("-", Style::Dim),
        Some((offering, price)) if offering.estimated => {
            Cell::new(&format!("~{}", money::each(price)), Style::Dim)
        }
        Some((_, price)) => money::each(price).into(),
    }
}

/// Zones without their region where they have one: `a b c`.
fn zone_letters(t: &InstanceType) -> String {
    let short = |o: &Offering| {
        o.region().and_then(|r| o.zone().strip_prefix(r)).unwrap_or_else(|| o.zone()).to_owned()
    };
    let zones: BTreeSet<String> = t.offerings.iter().filter(|o| o.available).map(short).collect();
    zones.into_iter().collect::<Vec<_>>().join(" ")
}

/// How many types these are, where they come from and how good the prices are.
fn summary(catalog: &Catalog, chosen: &[InstanceType]) -> String {
    let all = count(catalog.types.len(), "type");
    let shown = if chosen.len() == catalog.types.len() {
        all
    } else {
        format!("{} of {all}", thousands(chosen.len() as u64))
    };
    let estimates = chosen.iter().flat_map(|t| &t.offerings).any(|o| o.estimated);
    match &catalog.source {
        CatalogSource::Embedded { region, price_date, spot_price_share } => {
            let spot = format!("; ~ spot prices are estimated at {spot_price_share} of on-demand");
            let spot = if estimates { &spot } else { "" };
            format!("{shown} in {region}; on-demand prices of {price_date}{spot}.")
        }
        CatalogSource::File { name } => {
            let note = if estimates { "; ~ estimated" } else { "" };
            format!("{shown} in {}{note}.", safe(name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::width;

    fn embedded() -> Catalog {
        Source::default().load().unwrap()
    }

    fn few() -> CatalogArgs {
        let globs = ["m7i.large", "c7g.xlarge", "p5.48xlarge", "inf2.48xlarge", "t2.nano"];
        CatalogArgs { types: globs.map(str::to_owned).to_vec(), ..CatalogArgs::default() }
    }

    fn names(args: &CatalogArgs) -> Vec<String> {
        select(&embedded(), args).into_iter().map(|t| t.name).collect()
    }

    #[test]
    fn a_wide_table_and_a_narrow_one() {
        let look = |width| Look { width, color: false, bars: false };
        insta::assert_snapshot!(table(&embedded(), &few(), &look(120)), @r"
        TYPE           ARCH   VCPU   MEMORY  GPU             POD CPU  POD MEMORY  PODS  ZONES        ON-DEMAND/H     SPOT/H
        t2.nano        amd64     1  512 MiB                     0.94      74 MiB     4  a b c d e f      $0.0058          -
        m7i.large      amd64     2    8 GiB                     1.93    6.74 GiB    29  a b c d f        $0.1008   ~$0.0353
        c7g.xlarge     arm64     4    8 GiB                     3.92    6.37 GiB    58  a b c d f        $0.1450   ~$0.0508
        inf2.48xlarge  amd64   192  768 GiB  12 inferentia2      191     702 GiB   737  a b c f         $12.9813   ~$4.5434
        p5.48xlarge    amd64   192    2 TiB  8 h100              191    1.85 TiB   100  a b c d e f     $55.0400  ~$19.2640

        5 of 1,340 types in us-east-1; on-demand prices of 2026-07-20; ~ spot prices are estimated at 35% of on-demand.
        ");
        insta::assert_snapshot!(table(&embedded(), &few(), &look(70)), @r"
        TYPE           VCPU   MEMORY  GPU             ON-DEMAND/H     SPOT/H
        t2.nano           1  512 MiB                      $0.0058          -
        m7i.large         2    8 GiB                      $0.1008   ~$0.0353
        c7g.xlarge        4    8 GiB                      $0.1450   ~$0.0508
        inf2.48xlarge   192  768 GiB  12 inferentia2     $12.9813   ~$4.5434
        p5.48xlarge     192    2 TiB  8 h100             $55.0400  ~$19.2640

        5 of 1,340 types in us-east-1; on-demand prices of 2026-07-20; ~ spot
        prices are estimated at 35% of on-demand.
        ");
        for columns in 62..140 {
            let text = table(&embedded(), &few(), &look(columns));
            assert!(text.lines().all(|line| width(line) <= columns), "{columns} columns:\n{text}");
        }
    }

    #[test]
    fn filters_narrow_types_and_offerings() {
        let all = CatalogArgs::default();
        assert!(names(&all).len() > 1_300);
        assert_eq!(names(&CatalogArgs { arch: Some("arm64".to_owned()), ..few() }), ["c7g.xlarge"]);
        assert_eq!(names(&CatalogArgs { gpu: Some(None), ..few() }), ["inf2.48xlarge", "p5.48xlarge"]);
        assert_eq!(names(&CatalogArgs { gpu: Some(Some("H100".to_owned())), ..few() }), ["p5.48xlarge"]);
        let middle = CatalogArgs { min_cpu: "2".parse().ok(), max_cpu: "4".parse().ok(), ..few() };
        assert_eq!(names(&middle), ["m7i.large", "c7g.xlarge"]);
        // Advertised memory: of its 8 GiB, pods of an m7i.large see less.
        let roomy = CatalogArgs { min_memory: "8Gi".parse().ok(), max_cpu: "4".parse().ok(), ..few() };
        assert_eq!(names(&roomy), ["m7i.large", "c7g.xlarge"]);
        let spot = CatalogArgs {
            capacity_type: Some("spot".to_owned()),
            zone: Some("us-east-1a".to_owned()),
            ..few()
        };
        assert!(!names(&spot).contains(&"t2.nano".to_owned()), "t2 is not sold as spot");
        assert!(select(&embedded(), &spot).iter().all(|t| t.offerings.len() == 1));
        let nowhere = CatalogArgs { zone: Some("mars".to_owned()), ..few() };
        let look = Look { width: 80, color: false, bars: false };
        assert!(
            table(&embedded(), &nowhere, &look).starts_with("No instance type passes these filters.\n0 of ")
        );
    }

    #[test]
    fn orders_and_limits() {
        let sorted = |sort| names(&CatalogArgs { sort: Some(sort), limit: Some(3), ..few() });
        assert_eq!(sorted(Sort::Price), ["t2.nano", "m7i.large", "c7g.xlarge"]);
        assert_eq!(sorted(Sort::Name), ["c7g.xlarge", "inf2.48xlarge", "m7i.large"]);
        assert_eq!(sorted(Sort::Cpu), ["t2.nano", "m7i.large", "c7g.xlarge"]);
        assert_eq!(sorted(Sort::Memory), ["t2.nano", "c7g.xlarge", "m7i.large"]);
    }

    #[test]
    fn what_is_printed_as_json_reads_back() {
        let chosen = select(&embedded(), &CatalogArgs { output: Form::Json, ..few() });
        let read = Catalog::parse(to_json(&chosen).as_bytes(), "few.json").unwrap();
        assert_eq!(read.types, chosen);
    }
}
