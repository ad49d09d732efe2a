//! The catalogue as a table: what types have, what pods can use of it, and what they cost.

use std::collections::BTreeSet;

use stowage_api::well_known::{CPU, EBS_SLOTS, MEMORY, ON_DEMAND, PODS, RESERVED, SPOT};
use stowage_pricing::{Catalog, CatalogSource, InstanceType, Offering};
use stowage_solver::Price;

use super::filter::{accelerators, memory, resource};
use crate::money;
use crate::render::grid::{Align, Cell, Grid};
use crate::render::look::{Look, Style};
use crate::text::{count, safe, thousands, wrap};
use stowage_cluster::words::amount;

/// The types as a table with as many of its columns as the width has room for, and where the prices come from.
pub(super) fn table(catalog: &Catalog, chosen: &[InstanceType], look: &Look) -> String {
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
        let grids = Columns::LADDER.map(|columns| grid(chosen, &kinds, columns));
        let fits = grids.iter().position(|g| g.natural_width() <= look.width).unwrap_or(grids.len() - 1);
        grids[fits].render(look, &mut out);
        out.push('\n');
    }
    wrap(&mut out, &summary(catalog, chosen), look.width, "", "");
    out
}

/// The columns that give way on a narrow terminal.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each column is there or not")]
struct Columns {
    arch: bool,
    zones: bool,
    for_pods: bool,
    volumes: bool,
}

impl Columns {
    /// From all to none, in the order in which they are missed least.
    const LADDER: [Self; 5] = [
        Self { arch: true, zones: true, for_pods: true, volumes: true },
        Self { arch: true, zones: true, for_pods: true, volumes: false },
        Self { arch: true, zones: true, for_pods: false, volumes: false },
        Self { arch: true, zones: false, for_pods: false, volumes: false },
        Self { arch: false, zones: false, for_pods: false, volumes: false },
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
    if columns.volumes {
        grid.column("VOLUMES", Align::Right);
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
        if columns.volumes {
            let slots = allocatable.get(EBS_SLOTS).map(|n| n.floor_units().to_string());
            row.push(slots.map_or_else(|| Cell::new("-", Style::Dim), Cell::from));
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
pub(crate) fn summary(catalog: &Catalog, chosen: &[InstanceType]) -> String {
    let all = count(catalog.types.len(), "type");
    let shown = if chosen.len() == catalog.types.len() {
        all
    } else {
        format!("{} of {all}", thousands(chosen.len() as u64))
    };
    let estimates = chosen.iter().flat_map(|t| &t.offerings).any(|o| o.estimated);
    match &catalog.source {
        CatalogSource::Embedded { region, price_date, spot_price_share, .. } => {
            let spot = format!("; ~ spot prices are estimated at {spot_price_share} of on-demand");
            let spot = if estimates { &spot } else { "" };
            format!("{shown} in {region}; on-demand prices of {price_date}{spot}.")
        }
        CatalogSource::Answers { region, as_of, spot_price_share, .. } => {
            let spot = format!("; ~ spot prices are estimated at {spot_price_share} of on-demand");
            let spot = if estimates { &spot } else { "" };
            format!("{shown} in {region}; prices as AWS told them at {as_of}{spot}.")
        }
        CatalogSource::File { name } => {
            let note = if estimates { "; ~ estimated" } else { "" };
            format!("{shown} in {}{note}.", safe(name))
        }
    }
}
