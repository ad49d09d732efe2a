//! The columns of the master in whole numbers, by HiGHS: only with the feature `highs`.
//!
//! Rounding the LP by thresholds is quick and seldom far off. Where a node is a percent of the bill it may be, and then a
//! mixed-integer solver that sees all columns of the LP's solution at once finds the best way to combine them. It is a C++ program that takes
//! cmake, a C++ compiler and libclang to build, so the default goes without.
//!
//! # Invariants
//! - One thread and a limit on nodes, never on time: the same columns give the same packing on any machine.
//! - What comes back is a proposal like any other: it is completed, mended and verified.

use good_lp::solvers::highs::HighsParallelType;
use good_lp::{Expression, Solution as _, SolverModel, constraint, highs, variable, variables};

use super::columns::Column;
use crate::model::Model;
use crate::pack::Budget;

/// Above this many columns the search tree is too deep for its limit to reach anything.
const MOST_COLUMNS: usize = 300;
/// Nodes of the search tree.
const NODES: i32 = 50;
/// Distance to the best combination at which it stops: a tenth of what plans are asked for.
const NEAR: f64 = 0.002;

/// How often to use each column in whole bins, so that the demand of each lot is covered at the least cost; `None` where
/// nothing is found within the limits.
pub(super) fn cover(
    model: &Model<'_>,
    columns: &[Column],
    demand: &[u32],
    budget: &Budget,
) -> Option<Vec<f64>> {
    if columns.len() > MOST_COLUMNS {
        return None;
    }
    let price = |kind: u32| model.kinds.kinds[kind as usize].price as f64;
    let top = columns.iter().map(|(kind, _)| price(*kind)).fold(1.0, f64::max);
    let mut rows: Vec<Expression> = vec![Expression::default(); demand.len()];
    let mut cost = Expression::default();
    let mut drawn: Vec<Option<(Expression, f64)>> = vec![None; model.problem.quotas.len()];
    variables! { vars: }
    let uses: Vec<_> = columns.iter().map(|_| vars.add(variable().integer().min(0))).collect();
    for ((kind, pattern), x) in columns.iter().zip(&uses) {
        cost += *x * (price(*kind) / top);
        for (quota, units) in &model.kinds.kinds[*kind as usize].draws {
            let all = budget.units(*quota) as f64;
            let (row, _) = drawn[*quota as usize].get_or_insert_with(|| (Expression::default(), all));
            *row += *x * *units as f64;
        }
        for (lot, count) in pattern {
            rows[*lot as usize] += *x * f64::from(*count);
        }
    }
    let mut mip = vars.minimise(cost).using(highs).set_threads(1).set_parallel(HighsParallelType::Off);
    mip = mip.set_option("mip_max_nodes", NODES).set_option("mip_rel_gap", NEAR).set_option("random_seed", 0);
    mip.set_verbose(false);
    for (row, units) in drawn.into_iter().flatten() {
        mip.add_constraint(constraint!(row <= units));
    }
    for (row, need) in rows.into_iter().zip(demand).filter(|(_, need)| **need > 0) {
        mip.add_constraint(constraint!(row >= f64::from(*need)));
    }
    let solved = mip.solve().ok()?;
    Some(uses.iter().map(|x| solved.value(*x).round().max(0.0)).collect())
}
