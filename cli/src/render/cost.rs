//! The bill, the proven floor under it, and what could at most still be saved.
//!
//! Where nodes have fixed costs there are two bills: that for the instances, which is what the prices above add up to, and
//! the weighed one with the fixed costs, which is what the plan is about. Bound and gap are always of the weighed one, and
//! of plans that honour the preferences that this one does; a bound without preferences stands beside them.

use stowage_solver::{Price, Status};

use super::grid::{Align, Cell, Grid};
use super::look::{Look, Style};
use crate::answer::Answer;
use crate::money;
use crate::text::{self, percent};

pub(super) fn render(answer: &Answer, look: &Look, out: &mut String) {
    let solution = &answer.solution;
    let mut grid = Grid::new(2);
    grid.column("", Align::Left).column("PER HOUR", Align::Right).column("PER MONTH", Align::Right);
    let bill = |title: &str, price: Price, style| {
        vec![
            Cell::new(title, style),
            Cell::new(&money::hourly(price), style),
            Cell::new(&money::monthly(price), style),
        ]
    };
    let (plan, bound) = match answer.estimated_nodes() {
        0 => ("this plan", "proven lower bound"),
        _ => ("this plan (estimated)", "lower bound at these prices"),
    };
    let fixed = solution.fixed_cost();
    let rebate = solution.rebate();
    if fixed > Price::ZERO || rebate > Price::ZERO {
        grid.row(bill(
            if solution.routed.is_empty() { "instances" } else { "instances and Fargate" },
            solution.instance_cost(),
            Style::Plain,
        ));
    }
    if rebate > Price::ZERO {
        grid.row(bill("paid for already", Price::ZERO - rebate, Style::Plain));
    }
    if fixed > Price::ZERO {
        grid.row(bill("fixed costs of nodes", fixed, Style::Plain));
    }
    grid.row(bill(plan, solution.cost, Style::Bold));
    grid.row(bill(bound, solution.kept_bound(), Style::Plain));
    // Zero is no bound, and no sum that one would pay.
    if solution.preferences.is_some() && solution.bound > Price::ZERO {
        grid.row(bill("the same without preferences", solution.bound, Style::Plain));
    }
    grid.render(look, out);
    let gap = solution.kept_gap();
    let asked = percent(answer.asked_gap, 2);
    let verdict = match solution.status {
        Status::Optimal => "optimal: no nodes that hold these pods under the same rules cost less".to_owned(),
        _ if !gap.is_finite() => "gap unknown: no lower bound above zero is proven".to_owned(),
        Status::WithinGap => format!("gap {}: within the {asked} asked for", percent(gap, 2)),
        Status::BudgetSpent => {
            let left = money::monthly(solution.cost - solution.kept_bound());
            format!(
                "gap {}: at most {left} a month could still be saved ({asked} was asked for)",
                percent(gap, 2)
            )
        }
    };
    text::wrap(out, &verdict, look.width, "  ", "  ");
    if rebate > Price::ZERO {
        let unit =
            "commitments cost what they cost, used or not: plan, bound and gap are what is paid on top";
        text::wrap(out, unit, look.width, "  ", "  ");
    }
    if fixed > Price::ZERO {
        let unit = "plan, bound and gap are with the fixed costs; the table above is without";
        text::wrap(out, unit, look.width, "  ", "  ");
    }
    text::wrap(out, &text::safe(&answer.prices), look.width, "  ", "  ");
}
