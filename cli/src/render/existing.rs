//! Existing nodes that receive pods: room that is paid for already.

use super::Show;
use super::fill::{Fills, Form, Measured};
use super::grid::{Align, Cell, Grid};
use super::look::{Look, Style};
use crate::answer::Answer;
use crate::text;

/// So many nodes are listed one by one; of more, the others are folded into one line.
const LISTED: usize = 10;

/// Writes the table of existing nodes. Fills count what ran there before, too; `widest` is how roomy they may be shown.
pub(super) fn render(answer: &Answer, show: Show, look: &Look, widest: Form, out: &mut String) {
    let placements = &answer.solution.placements;
    let measured = Measured::of(answer);
    // One line that says "and 1 more" would take the room of that one.
    let listed = if show.pods || placements.len() <= LISTED + 1 { placements.len() } else { LISTED };
    let build = |form: Form| {
        let mut grid = Grid::new(2);
        grid.name("NODE").column("PODS", Align::Right);
        let align = if form == Form::PERCENT { Align::Right } else { Align::Left };
        grid.column("CPU", align).column("MEM", align);
        for placement in &placements[..listed] {
            let node = answer.existing(placement);
            let mut fills = Fills::default();
            fills.add(&measured, &node.used.plus(&answer.pods_request(&placement.pods)), &node.allocatable);
            let pods = format!("+{}", text::thousands(placement.pods.len() as u64));
            let mut row: Vec<Cell> = vec![node.name.as_str().into(), pods.into()];
            row.extend(fills.cells(form, false));
            grid.row(row);
        }
        grid
    };
    let forms = Form::ladder(look).iter().skip_while(|form| **form != widest);
    let fitting = forms.map(|f| build(*f)).find(|grid| grid.natural_width() <= look.width);
    fitting.unwrap_or_else(|| build(Form::PERCENT)).render(look, out);
    if listed < placements.len() {
        let pods: usize = placements[listed..].iter().map(|p| p.pods.len()).sum();
        let line = format!(
            "and {} more with {} (all of them: --show pods)",
            text::thousands((placements.len() - listed) as u64),
            text::count(pods, "pod")
        );
        out.push_str("  ");
        out.push_str(&look.paint(Style::Dim, &line));
        out.push('\n');
    }
}
