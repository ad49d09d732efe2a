//! `stowage prices`: what types cost, zone by zone and capacity type by capacity type, and for how much of a machine.
//!
//! ```text
//! Source ─▶ Catalog ─▶ filter ─▶ one line for each price ─▶ sort ─▶ limit ─▶ table or JSON
//! ```

use std::cmp::Ordering;
use std::collections::BTreeMap;

use clap::ValueEnum;
use serde_json::{Value, json};
use stowage_pricing::{Catalog, InstanceType, Offering};
use stowage_solver::Price;

use crate::catalog::{Filters, Source, accelerators, memory, summary, vcpus};
use crate::failure::{Exit, Failure};
use crate::money;
use crate::progress::Progress;
use crate::render::grid::{Align, Cell, Grid};
use crate::render::look::{Look, Style};
use crate::terminal::{self, ColorChoice};
use crate::text::{thousands, wrap};

/// Lines that people are shown where they do not say.
const LINES: usize = 30;

/// Options of `stowage prices`.
#[derive(Debug, Default, clap::Args)]
#[command(after_long_help = "\
Examples:
  stowage prices m7i.large                          # in every zone and capacity type
  stowage prices 'm7*' 'c7*' --sort vcpu            # cheapest for a vCPU first
  stowage prices --gpu h100 --sort gpu
  stowage prices --min-memory 512Gi --sort gib --limit 5 -o json")]
pub(crate) struct PricesArgs {
    /// Names, with `*` for anything and `?` for one character; all types without
    #[arg(value_name = "TYPE")]
    types: Vec<String>,

    #[command(flatten)]
    source: Source,

    #[command(flatten)]
    filters: Filters,

    /// What is cheapest first
    #[arg(long, value_name = "ORDER", value_enum, default_value_t)]
    sort: Order,

    /// Show only the first so many [default: 30 in a table, all in JSON]
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,

    /// Form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

/// Orders of lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Order {
    /// The price of the machine
    #[default]
    Price,
    /// The price of a vCPU
    Vcpu,
    /// The price of a GiB of memory
    Gib,
    /// The price of a GPU or other accelerator
    Gpu,
    /// By name, zone and capacity type
    Name,
}

/// Forms of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

/// A price, and where it holds.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    name: String,
    capacity_type: String,
    zones: Vec<String>,
    /// The same without the region where all have one.
    letters: Vec<String>,
    price: f64,
    estimated: bool,
    per_vcpu: Option<f64>,
    per_gib: Option<f64>,
    per_gpu: Option<f64>,
}

/// Runs the command.
///
/// # Errors
/// Where the catalogue cannot be used or output cannot be written.
pub(crate) fn run(args: &PricesArgs, color: ColorChoice) -> Result<Exit, Failure> {
    let progress = Progress::start();
    let loaded = args.source.load(&progress)?;
    drop(progress);
    let catalog = loaded.and_remark();
    let text = match args.output {
        Form::Table => table(&catalog, args, &terminal::stdout_look(color)),
        Form::Json => format!("{:#}\n", document(&lines(&catalog, args))),
    };
    terminal::print(text.as_bytes())?;
    Ok(Exit::Done)
}

/// Every price that passes, in order; zones of the same price stand in one line.
fn lines(catalog: &Catalog, args: &PricesArgs) -> Vec<Line> {
    let mut lines: Vec<Line> =
        args.filters.select(catalog, &args.types).iter().flat_map(lines_of_type).collect();
    let key = |line: &Line| match args.sort {
        Order::Price => Some(line.price),
        Order::Vcpu => line.per_vcpu,
        Order::Gib => line.per_gib,
        Order::Gpu => line.per_gpu,
        Order::Name => None,
    };
    // Lines are by name, capacity type and zone already, and the sort is stable. What has no such price comes last.
    lines.sort_by(|a, b| match (key(a), key(b)) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    });
    if args.sort == Order::Gpu {
        lines.retain(|line| line.per_gpu.is_some());
    }
    lines.truncate(args.limit.unwrap_or(usize::MAX));
    lines
}

fn lines_of_type(t: &InstanceType) -> Vec<Line> {
    let mut by_price = BTreeMap::<(String, u64, bool), Vec<&Offering>>::new();
    for offering in t.offerings.iter().filter(|o| o.available) {
        let key = (offering.capacity_type().to_owned(), offering.price.to_bits(), offering.estimated);
        by_price.entry(key).or_default().push(offering);
    }
    let per = |price: f64, of: f64| (of > 0.0).then(|| price / of);
    let line = |((capacity_type, bits, estimated), offerings): ((String, u64, bool), Vec<&Offering>)| {
        let price = f64::from_bits(bits);
        let short = |o: &&Offering| {
            o.region().and_then(|r| o.zone().strip_prefix(r)).unwrap_or_else(|| o.zone()).to_owned()
        };
        Line {
            name: t.name.clone(),
            capacity_type,
            zones: offerings.iter().map(|o| o.zone().to_owned()).collect(),
            letters: offerings.iter().map(short).collect(),
            price,
            estimated,
            per_vcpu: per(price, vcpus(t).floor_millis() as f64 / 1000.0),
            per_gib: per(price, memory(t).floor_units() as f64 / f64::from(1 << 30)),
            per_gpu: accelerators(t).and_then(|(count, _)| per(price, count as f64)),
        }
    };
    let mut lines: Vec<Line> = by_price.into_iter().map(line).collect();
    lines.sort_by(|a, b| match a.capacity_type.cmp(&b.capacity_type) {
        Ordering::Equal => a.zones.cmp(&b.zones),
        different => different,
    });
    lines
}

fn table(catalog: &Catalog, args: &PricesArgs, look: &Look) -> String {
    let all = lines(catalog, args);
    let limit = args.limit.unwrap_or(LINES);
    let mut out = String::new();
    if all.is_empty() {
        out.push_str("No price passes these filters.\n");
    } else {
        let gpus = all.iter().take(limit).any(|line| line.per_gpu.is_some());
        let mut grid = Grid::new(0);
        grid.name("TYPE").column("CAPACITY", Align::Left).name("ZONES").column("$/H", Align::Right);
        grid.column("$/VCPU", Align::Right).column("$/GIB", Align::Right);
        if gpus {
            grid.column("$/GPU", Align::Right);
        }
        for line in all.iter().take(limit) {
            let cell = |price: Option<f64>, decimals: usize| match price {
                None => Cell::new("-", Style::Dim),
                Some(price) => {
                    let mark = if line.estimated { "~" } else { "" };
                    let style = if line.estimated { Style::Dim } else { Style::Plain };
                    Cell::new(&format!("{mark}${price:.decimals$}"), style)
                }
            };
            let whole = Price::from_dollars(line.price).map(money::each);
            let mut row = vec![
                line.name.as_str().into(),
                line.capacity_type.as_str().into(),
                line.letters.join(" ").into(),
                match whole {
                    Some(price) if line.estimated => Cell::new(&format!("~{price}"), Style::Dim),
                    Some(price) => price.into(),
                    None => Cell::new("-", Style::Dim),
                },
                cell(line.per_vcpu, 5),
                cell(line.per_gib, 5),
            ];
            if gpus {
                row.push(cell(line.per_gpu, 4));
            }
            grid.row(row);
        }
        grid.render(look, &mut out);
        let more = all.len().saturating_sub(limit);
        if more > 0 {
            let text = format!("and {} more prices (--limit shows them)", thousands(more as u64));
            wrap(&mut out, &text, look.width, "", "");
        }
        out.push('\n');
    }
    let chosen = args.filters.select(catalog, &args.types);
    wrap(&mut out, &summary(catalog, &chosen), look.width, "", "");
    out
}

fn document(lines: &[Line]) -> Value {
    let prices = lines.iter().map(|line| {
        json!({
            "type": line.name, "capacityType": line.capacity_type, "zones": line.zones, "price": line.price,
            "estimated": line.estimated, "perVcpu": line.per_vcpu, "perGib": line.per_gib, "perGpu": line.per_gpu,
        })
    });
    json!({"schemaVersion": "stowage.dev/prices/v1", "prices": prices.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::text::width;

    static EMBEDDED: LazyLock<Catalog> =
        LazyLock::new(|| Source::default().load(&Progress::start()).unwrap().catalog);

    fn args(types: &[&str], sort: Order) -> PricesArgs {
        PricesArgs { types: types.iter().map(|t| (*t).to_owned()).collect(), sort, ..PricesArgs::default() }
    }

    fn firsts(args: &PricesArgs) -> Vec<String> {
        lines(&EMBEDDED, args).into_iter().map(|l| format!("{} {}", l.name, l.capacity_type)).collect()
    }

    #[test]
    fn a_table() {
        let look = |width| Look { width, color: false, bars: false };
        let args = args(&["m7i.large", "c7g.xlarge", "p5.48xlarge"], Order::Price);
        insta::assert_snapshot!(table(&EMBEDDED, &args, &look(100)), @r"
        TYPE         CAPACITY   ZONES              $/H     $/VCPU      $/GIB     $/GPU
        m7i.large    spot       a b c d f     ~$0.0353  ~$0.01764  ~$0.00441         -
        c7g.xlarge   spot       a b c d f     ~$0.0508  ~$0.01269  ~$0.00634         -
        m7i.large    on-demand  a b c d f      $0.1008   $0.05040   $0.01260         -
        c7g.xlarge   on-demand  a b c d f      $0.1450   $0.03625   $0.01812         -
        p5.48xlarge  spot       a b c d e f  ~$19.2640  ~$0.10033  ~$0.00941  ~$2.4080
        p5.48xlarge  on-demand  a b c d e f   $55.0400   $0.28667   $0.02687   $6.8800

        3 of 1,340 types in us-east-1; on-demand prices of 2026-07-20; ~ spot prices are estimated at 35% of
        on-demand.
        ");
        for columns in 70..120 {
            let text = table(&EMBEDDED, &args, &look(columns));
            assert!(text.lines().all(|line| width(line) <= columns), "{columns} columns:\n{text}");
        }
        let few = PricesArgs { limit: None, types: vec!["m7i.*".to_owned()], ..PricesArgs::default() };
        assert!(!table(&EMBEDDED, &few, &look(100)).contains("more prices"));
        let all = table(&EMBEDDED, &PricesArgs::default(), &look(100));
        assert!(all.contains(" more prices (--limit shows them)"), "{all}");
    }

    /// m7i.large: 2 vCPUs and 8 GiB for $0.1008; c7g.xlarge: 4 and 8 for $0.145; r7g.large: 2 and 16 for $0.1071.
    #[test]
    fn orders_by_what_is_got() {
        let on_demand = |sort| {
            let mut args = args(&["m7i.large", "c7g.xlarge", "r7g.large"], sort);
            args.filters.capacity_type = Some("on-demand".to_owned());
            firsts(&args).into_iter().map(|l| l.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(on_demand(Order::Price), ["m7i.large", "r7g.large", "c7g.xlarge"]);
        assert_eq!(on_demand(Order::Vcpu), ["c7g.xlarge", "m7i.large", "r7g.large"]);
        assert_eq!(on_demand(Order::Gib), ["r7g.large", "m7i.large", "c7g.xlarge"]);
        assert_eq!(on_demand(Order::Name), ["c7g.xlarge", "m7i.large", "r7g.large"]);
        assert!(on_demand(Order::Gpu).is_empty());
        let gpus = args(&["p5.48xlarge", "g6e.xlarge", "m7i.large"], Order::Gpu);
        assert_eq!(firsts(&gpus)[0], "g6e.xlarge spot");
    }

    /// p5.48xlarge is $55.04 for 192 vCPUs, 2 TiB and 8 GPUs.
    #[test]
    fn prices_of_parts() {
        let found = lines(&EMBEDDED, &args(&["p5.48xlarge"], Order::Name));
        let line = found.iter().find(|l| l.capacity_type == "on-demand").unwrap();
        let close = |a: Option<f64>, b: f64| assert!(a.is_some_and(|a| (a - b).abs() < 1e-9), "{a:?} {b}");
        close(line.per_vcpu, 55.04 / 192.0);
        close(line.per_gib, 55.04 / 2048.0);
        close(line.per_gpu, 6.88);
        assert_eq!(line.letters.concat(), "abcdef");
        let document = document(&found);
        assert_eq!(document["prices"][0]["zones"][0], "us-east-1a");
        assert_eq!(document["schemaVersion"], "stowage.dev/prices/v1");
    }
}
