//! What else new nodes could be launched as, and how flexible that makes the spot nodes.

use std::collections::{BTreeMap, BTreeSet};

use stowage_solver::NewNode;

use super::grid::{Align, Cell, Grid};
use super::look::{Look, Style};
use crate::answer::Answer;
use crate::money;
use crate::text::{self, count};

/// One sentence on the least flexible spot node, where there is any.
pub(super) fn spot(answer: &Answer, look: &Look, out: &mut String) {
    let nodes = answer.spot_nodes();
    let Some((at, least)) = nodes.iter().copied().min_by_key(|(at, types)| (*types, *at)) else { return };
    let wanted = answer.wanted_types;
    let below = nodes.iter().filter(|(_, types)| *types < wanted).count();
    let mut line = if below == 0 {
        format!("each spot node can be launched as {} or more", count(least, "instance type"))
    } else {
        let name = &answer.node_names()[at];
        let types = count(least, "instance type");
        let short = if nodes.len() == 1 {
            format!("the spot node, {name}, can be launched as {types}, fewer than the {wanted} wanted")
        } else {
            format!(
                "{below} of {} spot nodes can be launched as fewer than {wanted} instance types: {name} as {least}",
                text::thousands(nodes.len() as u64)
            )
        };
        format!("{short} (--spot-diversity, --prefer-diversity)")
    };
    let premium = answer.solution.premium;
    if premium > stowage_solver::Price::ZERO {
        line = format!("{line}; {} an hour is paid for diversity", money::hourly(premium));
    }
    text::wrap(out, &text::safe(&line), look.width, "  ", "  ");
}

/// Nodes that are alike, and the least that any of them could be launched as.
struct Group<'a> {
    like: &'a NewNode,
    nodes: usize,
    /// With the same capacity type.
    types: usize,
    zones: usize,
}

/// Writes one line for each group of alike nodes.
pub(super) fn render(answer: &Answer, look: &Look, out: &mut String) {
    let mut index = BTreeMap::new();
    let mut groups = Vec::<Group<'_>>::new();
    for node in &answer.solution.new_nodes {
        let (types, zones) = (node.flexibility(&answer.problem), zones(answer, node));
        let at = *index.entry((node.pool, node.instance_type, node.offering)).or_insert(groups.len());
        if at == groups.len() {
            groups.push(Group { like: node, nodes: 0, types, zones });
        }
        let group = &mut groups[at];
        group.nodes += 1;
        if (types, zones) < (group.types, group.zones) {
            group.like = node;
        }
        (group.types, group.zones) = (group.types.min(types), group.zones.min(zones));
    }
    let grids =
        [(true, true), (true, false), (false, false)].map(|(zone, next)| grid(answer, &groups, zone, next));
    let fits = grids.iter().position(|g| g.natural_width() <= look.width).unwrap_or(grids.len() - 1);
    grids[fits].render(look, out);
    let meaning = "types with the same capacity type, and zones, of the least flexible node of the line; -o json lists all";
    text::wrap(out, meaning, look.width, "  ", "  ");
}

fn grid(answer: &Answer, groups: &[Group<'_>], zone: bool, next: bool) -> Grid {
    let mut grid = Grid::new(2);
    grid.column("NODES", Align::Right).name("TYPE");
    if zone {
        grid.name("ZONE").name("CAPACITY");
    }
    grid.column("TYPES", Align::Right).column("ZONES", Align::Right);
    if next {
        grid.name("NEXT BEST");
    }
    for group in groups {
        let offering = answer.offering(group.like);
        let mut row: Vec<Cell> = vec![text::thousands(group.nodes as u64).into()];
        row.push(Cell::new(&answer.instance_type(group.like).name, Style::Bold));
        if zone {
            row.push(offering.zone.as_str().into());
            row.push(offering.capacity_type.as_str().into());
        }
        row.push(text::thousands(group.types as u64).into());
        row.push(text::thousands(group.zones as u64).into());
        if next {
            row.push(best(answer, group.like).into());
        }
        grid.row(row);
    }
    grid
}

/// In how many zones a node could be launched, with its own capacity type.
fn zones(answer: &Answer, node: &NewNode) -> usize {
    let own = answer.offering(node);
    let others = node.alternatives.iter().map(|a| a.offering(&answer.problem));
    let alike = others.filter(|o| o.capacity_type == own.capacity_type).map(|o| o.zone.as_str());
    alike.chain([own.zone.as_str()]).collect::<BTreeSet<_>>().len()
}

/// The cheapest alternative in words.
fn best(answer: &Answer, node: &NewNode) -> String {
    let Some(next) = node.alternatives.first() else { return "-".to_owned() };
    let offering = next.offering(&answer.problem);
    let name = &answer.problem.types[next.instance_type.index()].name;
    let mark = if offering.estimated { "~" } else { "" };
    format!("{name} {} {} {mark}{}", offering.zone, offering.capacity_type, money::each(offering.price))
}
