//! Node groups: new nodes that are alike (`NodePool`, type, zone, capacity type) in one line each.
//!
//! The layout gives up, in this order, where the width is short: wide bars, amounts beside the percentages, bars, the
//! total price, the columns of `NodePool` and capacity type (which become headings), the common front of the zones'
//! names, and at last whole names.

use std::collections::BTreeMap;

use stowage_solver::{NewNode, Price};

use super::fill::{Fills, Form, Measured};
use super::grid::{Align, Cell, Grid};
use super::look::{Look, Style};
use crate::answer::Answer;
use crate::{money, text};

struct Group<'a> {
    like: &'a NewNode,
    nodes: usize,
    pods: usize,
    total: Price,
    fills: Fills,
}

fn grouped<'a>(answer: &'a Answer, measured: &Measured) -> Vec<Group<'a>> {
    let mut index = BTreeMap::new();
    let mut groups = Vec::<Group<'a>>::new();
    for node in &answer.solution.new_nodes {
        let at = *index.entry((node.pool, node.instance_type, node.offering)).or_insert(groups.len());
        if at == groups.len() {
            groups.push(Group { like: node, nodes: 0, pods: 0, total: Price::ZERO, fills: Fills::default() });
        }
        let group = &mut groups[at];
        group.nodes += 1;
        group.pods += node.pods.len();
        group.total += node.price;
        group.fills.add(measured, &answer.node_requests(node), &answer.instance_type(node).allocatable);
    }
    groups
}

/// Which columns a layout has.
#[derive(Clone, Copy)]
struct Layout<'a> {
    form: Form,
    /// Whether `NodePool` and capacity type are columns (else headings over their groups).
    wide: bool,
    total: bool,
    /// What to leave out at the front of zone names; the headings tell it.
    zone_prefix: &'a str,
    /// Whether a single blank stands between columns.
    tight: bool,
}

/// Writes the table of node groups; says in which form it shows shares.
pub(super) fn render(answer: &Answer, look: &Look, out: &mut String) -> Form {
    let measured = Measured::of(answer);
    let groups = grouped(answer, &measured);
    let plain = Layout { form: Form::PERCENT, wide: true, total: true, zone_prefix: "", tight: false };
    let mut layouts: Vec<Layout<'_>> =
        Form::ladder(look).iter().map(|form| Layout { form: *form, ..plain }).collect();
    layouts.push(Layout { total: false, ..plain });
    layouts.push(Layout { wide: false, ..plain });
    layouts.push(Layout { wide: false, total: false, ..plain });
    let narrow = Layout { wide: false, total: false, zone_prefix: common_region(answer, &groups), ..plain };
    layouts.push(narrow);
    layouts.push(Layout { tight: true, ..narrow });
    let mut chosen = None;
    for layout in layouts {
        let grid = table(answer, &groups, &measured, layout);
        let fits = grid.natural_width() <= look.width;
        chosen = Some((grid, layout.form));
        if fits {
            break;
        }
    }
    let Some((grid, form)) = chosen else { return Form::PERCENT };
    grid.render(look, out);
    form
}

/// The capacity type of a node, and what it is bought with where that is a commitment or a reservation.
fn capacity(answer: &Answer, node: &NewNode) -> String {
    let capacity_type = &answer.offering(node).capacity_type;
    answer.drawn(node).map_or_else(|| capacity_type.clone(), |name| format!("{capacity_type} ({name})"))
}

/// What all zone names begin with, up to their last dash and the digits after it: `us-east-1` of `us-east-1a`. What is
/// left of each must tell them apart, so it is nothing where that differs.
fn common_region<'a>(answer: &'a Answer, groups: &[Group<'_>]) -> &'a str {
    let region = |zone: &'a str| zone.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let mut regions = groups
        .iter()
        .map(|g| region(&answer.problem.types[g.like.instance_type.index()].offerings[g.like.offering].zone));
    let first = regions.next().unwrap_or_default();
    if regions.all(|r| r == first) { first } else { "" }
}

fn table(answer: &Answer, groups: &[Group<'_>], measured: &Measured, layout: Layout<'_>) -> Grid {
    let device = measured.device.is_some();
    let mut grid = Grid::new(2);
    if layout.tight {
        grid.tight();
    }
    grid.column("NODES", Align::Right);
    if layout.wide {
        grid.name("NODEPOOL");
    }
    grid.name("TYPE").name("ZONE");
    if layout.wide {
        grid.name("CAPACITY");
    }
    grid.column("$/H EACH", Align::Right);
    if layout.total {
        grid.column("$/H", Align::Right);
    }
    grid.column("PODS", Align::Right);
    let bars = if layout.form.bar > 0 || layout.form.amounts { Align::Left } else { Align::Right };
    grid.column("CPU", bars).column("MEM", bars);
    if let Some((_, title)) = measured.device {
        grid.column(title, bars);
    }

    let bill = groups.iter().map(|g| g.total).sum();
    let mut last = None;
    for group in groups {
        let (pool, offering) = (answer.pool(group.like), answer.offering(group.like));
        let capacity = capacity(answer, group.like);
        let heading = (&pool.name, capacity.clone());
        if !layout.wide && last.as_ref() != Some(&heading) {
            let mut text = format!("NodePool {}, {capacity}", pool.name);
            if !layout.zone_prefix.is_empty() {
                text = format!("{text}, {}", layout.zone_prefix);
            }
            grid.heading(Cell::new(&text, Style::Bold));
            last = Some(heading);
        }
        let mut row = vec![text::thousands(group.nodes as u64).into()];
        if layout.wide {
            row.push(pool.name.as_str().into());
        }
        row.push(Cell::new(&answer.instance_type(group.like).name, Style::Bold));
        row.push(offering.zone.strip_prefix(layout.zone_prefix).unwrap_or(&offering.zone).into());
        if layout.wide {
            row.push(capacity.as_str().into());
        }
        // A price that is an estimate is marked wherever it is shown.
        let mark = if offering.estimated { "~" } else { "" };
        row.push(format!("{mark}{}", money::each(group.like.price)).into());
        if layout.total {
            row.push(format!("{mark}{}", money::bill(group.total, bill)).into());
        }
        row.push(text::thousands(group.pods as u64).into());
        row.extend(group.fills.cells(layout.form, device));
        grid.row(row);
    }
    if groups.len() > 1 {
        let mark = if answer.estimated_nodes() > 0 { "~" } else { "" };
        grid.row(total_row(groups, layout, device, &format!("{mark}{}", money::bill(bill, bill))));
    }
    grid
}

fn total_row(groups: &[Group<'_>], layout: Layout<'_>, device: bool, total: &str) -> Vec<Cell> {
    let mut fills = Fills::default();
    for group in groups {
        fills.merge(&group.fills);
    }
    let bold = |text: &str| Cell::new(text, Style::Bold);
    let mut row = vec![bold(&text::thousands(groups.iter().map(|g| g.nodes as u64).sum()))];
    row.push(bold("in all"));
    row.extend(std::iter::repeat_n(Cell::default(), if layout.wide { 3 } else { 1 }));
    row.push(Cell::default());
    if layout.total {
        row.push(bold(total));
    }
    row.push(bold(&text::thousands(groups.iter().map(|g| g.pods as u64).sum())));
    row.extend(fills.cells(layout.form, device));
    row
}
