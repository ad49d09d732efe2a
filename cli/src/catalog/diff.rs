//! `stowage catalog diff`: what has changed between two catalogues.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};
use stowage_pricing::{Catalog, CatalogDiff, OfferedIn, PriceMove, Settings};
use stowage_solver::Price;

use super::{DEFAULT_REGION, Form};
use crate::failure::{Exit, Failure};
use crate::render::grid::{Align, Cell, Grid};
use crate::render::look::{Look, Style};
use crate::terminal::{self, ColorChoice};
use crate::text::{count, wrap};
use crate::{input, money};
use stowage_cluster::words::amount;

/// Stands for the embedded catalogue in the place of a file.
const EMBEDDED: &str = "embedded";

/// Lines of a section that people are shown.
const LINES: usize = 20;

/// Options of `stowage catalog diff`.
#[derive(Debug, clap::Args)]
pub(super) struct DiffArgs {
    /// Catalogue file of before; or `embedded`, for what is compiled in
    old: PathBuf,

    /// Catalogue file of now; or `embedded`
    new: PathBuf,

    /// AWS region that `embedded` stands for
    #[arg(long, value_name = "REGION", default_value = DEFAULT_REGION)]
    region: String,

    /// Show every line, however many there are
    #[arg(long)]
    all: bool,

    /// Form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

/// Runs the command.
///
/// # Errors
/// Where a catalogue cannot be used or output cannot be written.
pub(super) fn run(args: &DiffArgs, color: ColorChoice) -> Result<Exit, Failure> {
    input::once([&args.old, &args.new].into_iter())?;
    let load = |path: &PathBuf| {
        if path.as_os_str() == EMBEDDED {
            return Catalog::embedded(&args.region, &Settings::default()).map_err(Failure::new);
        }
        let file = input::read(path)?;
        Catalog::parse(&file.bytes, &file.name).map_err(Failure::new)
    };
    let diff = CatalogDiff::between(&load(&args.old)?, &load(&args.new)?);
    let text = match args.output {
        Form::Table => table(&diff, if args.all { usize::MAX } else { LINES }, &terminal::stdout_look(color)),
        Form::Json => format!("{:#}\n", document(&diff)),
    };
    terminal::print(text.as_bytes())?;
    Ok(Exit::Done)
}

fn table(diff: &CatalogDiff, lines: usize, look: &Look) -> String {
    let mut out = String::new();
    if diff.is_empty() {
        out.push_str("Both catalogues are the same.\n");
        return out;
    }
    names(&mut out, "Only in the old one", &diff.removed, look);
    names(&mut out, "Only in the new one", &diff.added, look);
    for (title, of) in [("No longer offered", &diff.lost), ("Newly offered", &diff.gained)] {
        let rows = of
            .iter()
            .map(|o| vec![o.instance_type.as_str().into(), o.capacity_type.as_str().into(), zones(o)]);
        section(
            &mut out,
            title,
            &[("TYPE", Align::Left), ("CAPACITY", Align::Left), ("ZONES", Align::Left)],
            rows.collect(),
            lines,
            look,
        );
    }
    let mut moves: Vec<&PriceMove> = diff.prices.iter().collect();
    // The greatest changes first; ties stay by name.
    moves.sort_by(|a, b| relative(b).abs().total_cmp(&relative(a).abs()));
    let rows = moves.into_iter().map(|m| {
        let change = relative(m);
        let style = if change > 0.0 { Style::Bad } else { Style::Good };
        let sign = if change > 0.0 { "+" } else { "" };
        vec![
            m.of.instance_type.as_str().into(),
            m.of.capacity_type.as_str().into(),
            zones(&m.of),
            price(m.old).into(),
            price(m.new).into(),
            // What was free has no percentage.
            if change.is_finite() {
                Cell::new(&format!("{sign}{:.1}%", change * 100.0), style)
            } else {
                Cell::new("-", Style::Dim)
            },
        ]
    });
    let columns = [
        ("TYPE", Align::Left),
        ("CAPACITY", Align::Left),
        ("ZONES", Align::Left),
        ("OLD $/H", Align::Right),
        ("NEW $/H", Align::Right),
        ("CHANGE", Align::Right),
    ];
    section(&mut out, "Other prices", &columns, rows.collect(), lines, look);
    let rows = diff.limits.iter().map(|m| {
        let of =
            |limit: Option<u32>| limit.map_or_else(|| Cell::new("-", Style::Dim), |n| n.to_string().into());
        vec![
            m.of.instance_type.as_str().into(),
            m.of.capacity_type.as_str().into(),
            zones(&m.of),
            of(m.old),
            of(m.new),
        ]
    });
    let columns = [
        ("TYPE", Align::Left),
        ("CAPACITY", Align::Left),
        ("ZONES", Align::Left),
        ("OLD", Align::Right),
        ("NEW", Align::Right),
    ];
    section(&mut out, "Other numbers of nodes", &columns, rows.collect(), lines, look);
    let rows = diff.resources.iter().map(|m| {
        let of = |q: stowage_api::Quantity| {
            let base = if m.resource == "cpu" { q.floor_millis() } else { q.floor_units() };
            Cell::from(amount::human(&m.resource, base))
        };
        vec![m.instance_type.as_str().into(), m.resource.as_str().into(), of(m.old), of(m.new)]
    });
    let columns =
        [("TYPE", Align::Left), ("RESOURCE", Align::Left), ("OLD", Align::Right), ("NEW", Align::Right)];
    section(&mut out, "Other room for pods", &columns, rows.collect(), lines, look);
    let rows = diff.labels.iter().map(|m| {
        let of =
            |value: &Option<String>| value.as_deref().map_or_else(|| Cell::new("-", Style::Dim), Cell::from);
        vec![m.instance_type.as_str().into(), m.key.as_str().into(), of(&m.old), of(&m.new)]
    });
    let columns = [("TYPE", Align::Left), ("LABEL", Align::Left), ("OLD", Align::Left), ("NEW", Align::Left)];
    section(&mut out, "Other labels", &columns, rows.collect(), lines, look);
    out
}

fn relative(of: &PriceMove) -> f64 {
    if of.old > 0.0 { of.new / of.old - 1.0 } else { f64::INFINITY }
}

fn price(dollars: f64) -> String {
    Price::from_dollars(dollars).map_or_else(|| "-".to_owned(), money::each)
}

fn zones(of: &OfferedIn) -> Cell {
    of.zones.join(" ").into()
}

fn heading(out: &mut String, title: &str, number: usize, look: &Look) {
    if !out.is_empty() {
        out.push('\n');
    }
    let _ = writeln!(out, "{}", look.paint(Style::Bold, &format!("{title} ({number})")));
}

fn names(out: &mut String, title: &str, names: &[String], look: &Look) {
    if !names.is_empty() {
        heading(out, title, names.len(), look);
        wrap(out, &names.join(" "), look.width, "  ", "  ");
    }
}

fn section(
    out: &mut String,
    title: &str,
    columns: &[(&'static str, Align)],
    rows: Vec<Vec<Cell>>,
    lines: usize,
    look: &Look,
) {
    if rows.is_empty() {
        return;
    }
    heading(out, title, rows.len(), look);
    let mut grid = Grid::new(2);
    for (name, align) in columns {
        match align {
            Align::Left => grid.name(name),
            Align::Right => grid.column(name, *align),
        };
    }
    let more = rows.len().saturating_sub(lines);
    for row in rows.into_iter().take(lines) {
        grid.row(row);
    }
    grid.render(look, out);
    if more > 0 {
        let _ = writeln!(out, "  and {} (--all shows them)", count(more, "more"));
    }
}

fn document(diff: &CatalogDiff) -> Value {
    let offered = |of: &OfferedIn| json!({"type": of.instance_type, "capacityType": of.capacity_type, "zones": of.zones});
    json!({
        "schemaVersion": "stowage.dev/catalog-diff/v1",
        "added": diff.added,
        "removed": diff.removed,
        "gained": diff.gained.iter().map(offered).collect::<Vec<_>>(),
        "lost": diff.lost.iter().map(offered).collect::<Vec<_>>(),
        "prices": diff.prices.iter().map(|m| {
            let mut of = offered(&m.of);
            of["old"] = json!(m.old);
            of["new"] = json!(m.new);
            of
        }).collect::<Vec<_>>(),
        "limits": diff.limits.iter().map(|m| {
            let mut of = offered(&m.of);
            of["old"] = json!(m.old);
            of["new"] = json!(m.new);
            of
        }).collect::<Vec<_>>(),
        "resources": diff.resources.iter().map(|m| json!({
            "type": m.instance_type, "resource": m.resource, "old": m.old.to_string(), "new": m.new.to_string(),
        })).collect::<Vec<_>>(),
        "labels": diff.labels.iter().map(|m| json!({
            "type": m.instance_type, "label": m.key, "old": m.old, "new": m.new,
        })).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        let mut catalog = Catalog::embedded(DEFAULT_REGION, &Settings::default()).unwrap();
        catalog.types.retain(|t| ["m7i.large", "m7g.large", "t2.nano"].contains(&t.name.as_str()));
        catalog
    }

    fn changed() -> CatalogDiff {
        let mut new = catalog();
        new.types.retain(|t| t.name != "t2.nano");
        for t in &mut new.types {
            let factor = if t.name == "m7i.large" { 1.25 } else { 0.5 };
            for o in t.offerings.iter_mut().filter(|o| o.capacity_type() == "on-demand") {
                o.price *= factor;
            }
            t.offerings.retain(|o| o.zone() != "us-east-1f");
        }
        CatalogDiff::between(&catalog(), &new)
    }

    #[test]
    fn people_see_the_greatest_changes_first() {
        let look = Look { width: 100, color: false, bars: false };
        insta::assert_snapshot!(table(&changed(), LINES, &look), @r"
        Only in the old one (1)
          t2.nano

        No longer offered (4)
          TYPE       CAPACITY   ZONES
          m7g.large  on-demand  us-east-1f
          m7g.large  spot       us-east-1f
          m7i.large  on-demand  us-east-1f
          m7i.large  spot       us-east-1f

        Other prices (2)
          TYPE       CAPACITY   ZONES                                        OLD $/H  NEW $/H  CHANGE
          m7g.large  on-demand  us-east-1a us-east-1b us-east-1c us-east-1d  $0.0816  $0.0408  -50.0%
          m7i.large  on-demand  us-east-1a us-east-1b us-east-1c us-east-1d  $0.1008  $0.1260  +25.0%
        ");
        assert!(table(&changed(), 1, &look).contains("  and 1 more (--all shows them)\n"));
        let mut limited = catalog();
        limited.types[0].offerings[0].limit = Some(7);
        limited.types[0].offerings[1].price = 0.0;
        let text = table(&CatalogDiff::between(&limited, &catalog()), LINES, &look);
        assert!(text.contains("Other numbers of nodes (1)\n"), "{text}");
        assert!(text.contains("on-demand  us-east-1a    7    -\n"), "{text}");
        assert!(text.contains("$0.0000  $0.0816       -\n"), "{text}");
        assert_eq!(table(&CatalogDiff::default(), LINES, &look), "Both catalogues are the same.\n");
    }

    #[test]
    fn programs_see_it_all() {
        let document = document(&changed());
        assert_eq!(document["removed"], json!(["t2.nano"]));
        assert_eq!(document["prices"][0]["type"], "m7g.large");
        assert_eq!(document["lost"][0]["zones"], json!(["us-east-1f"]));
    }
}
