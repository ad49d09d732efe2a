//! The plan for people: headline, node groups, existing nodes, cost, what has no place and why, notes.
//!
//! Each section is a function from an [`Answer`] to text; none of them prints.

pub(crate) mod grid;
pub(crate) mod look;

mod alternatives;
mod cost;
mod existing;
mod fargate;
mod fill;
mod groups;
mod pods;
#[cfg(test)]
mod tests;
mod unplaced;

use stowage_cluster::words::reason;
use stowage_solver::Price;

use crate::answer::Answer;
use crate::money;
use crate::text::{self, count};
pub(crate) use fargate::words as shape_words;
use look::{Look, Style};

/// What to show beyond the usual.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Show {
    /// Every pod by name, and every existing node that receives some.
    pub(crate) pods: bool,
    /// What else each new node could be launched as.
    pub(crate) alternatives: bool,
}

/// The whole report.
pub(crate) fn report(answer: &Answer, show: Show, look: &Look) -> String {
    let mut out = String::new();
    headline(answer, look, &mut out);
    let mut form = fill::Form::ladder(look)[0];
    if !answer.solution.new_nodes.is_empty() {
        section("New nodes", Style::Bold, look, &mut out);
        form = groups::render(answer, look, &mut out);
        alternatives::spot(answer, look, &mut out);
    }
    if show.alternatives && !answer.solution.new_nodes.is_empty() {
        section("Alternatives", Style::Bold, look, &mut out);
        alternatives::render(answer, look, &mut out);
    }
    if !answer.solution.placements.is_empty() {
        section("Existing nodes that receive pods", Style::Bold, look, &mut out);
        existing::render(answer, show, look, form, &mut out);
    }
    if !answer.solution.routed.is_empty() {
        section("Fargate", Style::Bold, look, &mut out);
        fargate::render(answer, look, &mut out);
    }
    if !answer.solution.new_nodes.is_empty() || !answer.solution.routed.is_empty() {
        section("Cost", Style::Bold, look, &mut out);
        cost::render(answer, look, &mut out);
    }
    if show.pods {
        pods::render(answer, look, &mut out);
    }
    if !answer.is_complete() {
        let title = format!("Unschedulable: {}", count(answer.solution.unplaced.len(), "pod"));
        section(&title, Style::Bad, look, &mut out);
        unplaced::render(answer, show, look, &mut out);
    }
    if !answer.notes.is_empty() {
        section("Notes", Style::Warn, look, &mut out);
        for note in &answer.notes {
            text::wrap(&mut out, &text::safe(note), look.width, "  - ", "    ");
        }
    }
    if let Some(hint) = first_hint(answer) {
        out.push('\n');
        text::wrap(
            &mut out,
            &format!("{} {}", look.paint(Style::Good, "hint:"), text::safe(&hint)),
            look.width,
            "",
            "      ",
        );
    }
    out
}

pub(crate) fn section(title: &str, style: Style, look: &Look, out: &mut String) {
    out.push('\n');
    out.push_str(&look.paint(style, title));
    out.push('\n');
}

/// One line that answers "and?": how many pods, and where they went.
fn headline(answer: &Answer, look: &Look, out: &mut String) {
    let pending = answer.problem.pods.len();
    let line = if pending == 0 { "No pending pods: nothing to plan".to_owned() } else { where_to(answer) };
    let mut wrapped = String::new();
    text::wrap(&mut wrapped, &line, look.width, "", "  ");
    for line in wrapped.lines() {
        out.push_str(&look.paint(Style::Bold, line));
        out.push('\n');
    }
}

fn where_to(answer: &Answer) -> String {
    let solution = &answer.solution;
    let on_new: usize = solution.new_nodes.iter().map(|n| n.pods.len()).sum();
    let on_existing: usize = solution.placements.iter().map(|p| p.pods.len()).sum();
    let thousands = |n: usize| text::thousands(n as u64);
    let mut parts = Vec::new();
    if on_new > 0 {
        parts.push(format!("{} on {}", thousands(on_new), count(solution.new_nodes.len(), "new node")));
    }
    if on_existing > 0 {
        parts.push(format!(
            "{} on {}",
            thousands(on_existing),
            count(solution.placements.len(), "existing node")
        ));
    }
    if !solution.routed.is_empty() {
        parts.push(format!("{} on Fargate", thousands(solution.routed.len())));
    }
    if !solution.unplaced.is_empty() {
        parts.push(format!("{} unschedulable", thousands(solution.unplaced.len())));
    }
    let line = format!("{}: {}", count(answer.problem.pods.len(), "pending pod"), parts.join(", "));
    let bill = solution.instance_cost();
    if bill > Price::ZERO { format!("{line}; {} an hour", money::hourly(bill)) } else { line }
}

/// The hint of the reason that keeps most pods away.
fn first_hint(answer: &Answer) -> Option<String> {
    let grouped = unplaced::grouped(answer);
    let mut reasons = grouped.iter().flat_map(|group| group.reasons);
    reasons.find_map(|r| reason::hint(&answer.problem, r))
}
