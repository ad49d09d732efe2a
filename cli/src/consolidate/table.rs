//! A consolidation for people: headline, steps, why nodes stay, notes.

use std::collections::BTreeMap;

use stowage_cluster::words::kept::tenths;
use stowage_solver::{NodeId, Price, Step};

use super::Answer;
use super::document::{new_name, payback};
use crate::money;
use crate::render::grid::{Align, Grid};
use crate::render::look::{Look, Style};
use crate::render::section;
use crate::text::{self, count};

/// The whole report.
pub(crate) fn report(answer: &Answer, look: &Look) -> String {
    let mut out = String::new();
    let mut wrapped = String::new();
    text::wrap(&mut wrapped, &headline(answer), look.width, "", "  ");
    for line in wrapped.lines() {
        out.push_str(&look.paint(Style::Bold, line));
        out.push('\n');
    }
    if !answer.found.steps.is_empty() {
        section("Steps, those first that save most for what they disrupt", Style::Bold, look, &mut out);
        steps(answer, look, &mut out);
    }
    section("Cost", Style::Bold, look, &mut out);
    cost(answer, look, &mut out);
    if !answer.kept.is_empty() {
        section("Nodes that stay", Style::Bold, look, &mut out);
        stays(answer, look, &mut out);
    }
    if !answer.notes.is_empty() {
        section("Notes", Style::Warn, look, &mut out);
        for note in &answer.notes {
            text::wrap(&mut out, &text::safe(note), look.width, "  - ", "    ");
        }
    }
    out
}

fn headline(answer: &Answer) -> String {
    let found = &answer.found;
    let nodes = count(answer.problem.nodes.len(), "node");
    if found.steps.is_empty() {
        return format!("{nodes}: nothing to save by taking nodes away");
    }
    let sum = |of: fn(&Step) -> usize| found.steps.iter().map(of).sum::<usize>();
    let (gone, new, moved) = (sum(|s| s.removes.len()), sum(|s| s.launches.len()), sum(|s| s.moves.len()));
    let new = if new == 0 { String::new() } else { format!(", {} launched", text::thousands(new as u64)) };
    let saving = money::hourly(found.before - found.after);
    format!(
        "{nodes}: {} removed{new}, {} moved; saves {saving} an hour",
        text::thousands(gone as u64),
        count(moved, "pod")
    )
}

/// Each step with what it comes to, then a line for each node that goes (-) or comes (+).
fn steps(answer: &Answer, look: &Look, out: &mut String) {
    let digits = answer.found.steps.len().to_string().len();
    let indent = " ".repeat(digits + 4);
    for (number, step) in answer.found.steps.iter().enumerate() {
        let line = format!(
            "{} an hour, {} moved, disruption {}, paid in {}",
            money::hourly(step.saving),
            count(step.moves.len(), "pod"),
            tenths(step.disruption),
            payback(step)
        );
        text::wrap(out, &line, look.width, &format!("  {:>digits$}. ", number + 1), &indent);
        let gone = step.removes.iter().map(|node| format!("- {}", removed(answer, *node)));
        let new =
            (0..step.launches.len()).map(|launch| format!("+ {}", launched(answer, number, step, launch)));
        for node in gone.chain(new) {
            text::wrap(out, &text::safe(&node), look.width, &indent, &format!("{indent}  "));
        }
    }
}

fn removed(answer: &Answer, node: NodeId) -> String {
    let sold = &answer.fleet.nodes[node.index()].sold_as;
    let what = [sold.instance_type.as_str(), sold.zone.as_str(), sold.capacity_type.as_str()];
    let what: Vec<&str> = what.into_iter().filter(|text| !text.is_empty()).collect();
    format!("{} ({})", answer.problem.nodes[node.index()].name, what.join(", "))
}

fn launched(answer: &Answer, number: usize, step: &Step, launch: usize) -> String {
    let new = &step.launches[launch];
    let offering = new.offering(&answer.problem);
    let of_type = &answer.problem.types[new.instance_type.index()].name;
    let name = new_name(answer, number, launch);
    format!("{name} ({of_type}, {}, {})", offering.zone, offering.capacity_type)
}

fn cost(answer: &Answer, look: &Look, out: &mut String) {
    let found = &answer.found;
    let mut grid = Grid::new(2);
    grid.column("", Align::Left).column("$/hour", Align::Right).column("$/month", Align::Right);
    let rows = [
        ("now", found.before),
        ("once all steps are taken", found.after),
        ("any arrangement, at least", found.bound),
    ];
    for (what, price) in rows {
        grid.row(vec![what.into(), money::bill(price, found.before).into(), money::monthly(price).into()]);
    }
    grid.render(look, out);
    if found.after > Price::ZERO && found.bound < found.after {
        let left = 1.0 - found.bound.dollars() / found.after.dollars();
        let line =
            format!("no arrangement of these pods is more than {} cheaper than that", text::percent(left, 1));
        text::wrap(out, &line, look.width, "  ", "  ");
    }
}

/// Nodes with one and the same reason stand together.
fn stays(answer: &Answer, look: &Look, out: &mut String) {
    /// So many names are told for a reason.
    const NAMED: usize = 3;
    let mut by_reason = BTreeMap::<&str, Vec<NodeId>>::new();
    for (node, reason) in &answer.kept {
        by_reason.entry(reason).or_default().push(*node);
    }
    let mut all: Vec<(&str, Vec<NodeId>)> = by_reason.into_iter().collect();
    all.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then(a.0.cmp(b.0)));
    for (reason, nodes) in all {
        let mut names: Vec<&str> =
            nodes.iter().take(NAMED).map(|node| answer.problem.nodes[node.index()].name.as_str()).collect();
        let more = format!("{} more", nodes.len().saturating_sub(NAMED));
        if nodes.len() > NAMED {
            names.push(&more);
        }
        text::wrap(out, &text::safe(&format!("{}: {reason}", names.join(", "))), look.width, "  ", "    ");
    }
}
