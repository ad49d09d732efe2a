//! Column generation: the linear relaxation over patterns, and a packing rounded from it.
//!
//! ```text
//! min Σ price_p · x_p   such that   Σ_p pods of item i in p · x_p ≥ demand_i,  x ≥ 0
//! ```
//!
//! The master LP holds the patterns found so far and says what one more pod of each item would cost (its dual price).
//! Pricing fills every useful kind for the most value at those prices; patterns worth more than their kind costs join.
//! The duals come from an interior-point method at a loose tolerance: they are central, which damps the zig-zag of
//! column generation by itself (Gondzio, González-Brevis and Munari 2013).
//!
//! Nothing here is a proof: pricing is greedy and the LP is in floating point. The bound stands in `bound`.

use std::collections::{BTreeMap, BTreeSet};

use good_lp::solvers::{DualValues, SolutionWithDual};
use good_lp::{Expression, Solution as _, SolverModel, clarabel, constraint, variable, variables};

use crate::host_rule::HostState;
use crate::model::Model;
use crate::pack::fill::{Bin, Filler, ORDERS};
use crate::pack::useful::Useful;
use crate::pack::{Bins, Incumbent, Pattern, Shelf};
use crate::stock::Stock;

/// A pattern in a kind; a column of the master.
type Column = (u32, Pattern);

/// The master LP's columns and what it last said.
pub(crate) struct Columns {
    columns: Vec<Column>,
    known: BTreeSet<Column>,
    /// How often each column is used, in whole and part bins.
    usage: Vec<f64>,
    /// The LP's value, in micro-dollars an hour.
    pub(crate) value: f64,
}

/// A pattern joins when it is worth this much more than it costs.
const WORTHWHILE: f64 = 1.0 + 1e-6;
/// Above this many columns, those out of use are dropped.
const MAX_COLUMNS: usize = 4000;

impl Columns {
    /// Starts from the patterns of a packing, which must cover the demand.
    pub(crate) fn new(start: &Incumbent) -> Self {
        let mut this =
            Self { columns: Vec::new(), known: BTreeSet::new(), usage: Vec::new(), value: f64::INFINITY };
        this.learn(start);
        this
    }

    /// Adds the patterns of a packing.
    pub(crate) fn learn(&mut self, packing: &Incumbent) {
        for bins in &packing.bins {
            self.add((bins.kind, bins.pattern.clone()));
        }
    }

    fn add(&mut self, column: Column) -> bool {
        let new = self.known.insert(column.clone());
        if new {
            self.columns.push(column);
        }
        new
    }

    /// Solves the master; the dual price of each item, or `None` where the LP solver gives up.
    pub(crate) fn solve(&mut self, model: &Model<'_>, demand: &[u32]) -> Option<Vec<f64>> {
        let price = |kind: u32| model.kinds.kinds[kind as usize].price as f64;
        let top = self.columns.iter().map(|(k, _)| price(*k)).fold(1.0, f64::max);
        let mut rows: Vec<Expression> = vec![Expression::default(); demand.len()];
        variables! { vars: }
        let uses: Vec<_> = self.columns.iter().map(|_| vars.add(variable().min(0))).collect();
        let mut cost = Expression::default();
        for ((kind, pattern), x) in self.columns.iter().zip(&uses) {
            cost += *x * (price(*kind) / top);
            for (item, count) in pattern {
                rows[*item as usize] += *x * f64::from(*count);
            }
        }
        let mut lp = vars.minimise(cost).using(clarabel);
        lp.settings().tol_gap_rel(1e-6).tol_gap_abs(1e-6).tol_feas(1e-7);
        let references: Vec<_> = rows
            .into_iter()
            .zip(demand)
            .map(|(row, need)| {
                // Zero demand has no row: its price is zero.
                (*need > 0).then(|| lp.add_constraint(constraint!(row >= f64::from(*need))))
            })
            .collect();
        let mut solved = lp.solve().ok()?;
        self.usage = uses.iter().map(|x| solved.value(*x).max(0.0)).collect();
        self.value = self.columns.iter().zip(&self.usage).map(|((k, _), x)| price(*k) * x).sum();
        let duals = solved.compute_dual();
        let prices =
            references.iter().map(|r| r.as_ref().map_or(0.0, |r| duals.dual(r.clone()).max(0.0) * top));
        Some(prices.collect())
    }

    /// Fills every useful kind at these prices and adds what is worth more than it costs. Whether anything was.
    pub(crate) fn price(
        &mut self,
        model: &Model<'_>,
        stock: &Stock,
        useful: &[Useful],
        demand: &[u32],
        values: &[f64],
        filler: &mut Filler,
    ) -> bool {
        let empty = HostState::default();
        let shelf = Shelf::new(stock, demand.to_vec(), values);
        let mut found = false;
        for useful in useful {
            let kind = &model.kinds.kinds[useful.kind as usize];
            let room = &model.kinds.shapes[kind.shape as usize].room;
            let bin = Bin { room, state: &empty, lots: &useful.lots };
            let worthwhile = kind.price as f64 * WORTHWHILE;
            for order in ORDERS {
                let filled = filler.fill(model, stock, bin, &shelf, values, order);
                if filled.value > worthwhile {
                    found |= self.add((useful.kind, filled.pattern));
                }
            }
        }
        self.prune();
        found
    }

    /// Adds one pattern of a kind.
    pub(crate) fn teach(&mut self, kind: u32, mut pattern: Pattern) -> bool {
        pattern.sort_unstable();
        self.add((kind, pattern))
    }

    /// Forgets columns that the last solution did not use, once there are too many.
    fn prune(&mut self) {
        if self.columns.len() <= MAX_COLUMNS {
            return;
        }
        let usage = std::mem::take(&mut self.usage);
        let mut at = 0;
        self.columns.retain(|_| {
            at += 1;
            usage.get(at - 1).is_none_or(|x| *x > 1e-7)
        });
        self.known = self.columns.iter().cloned().collect();
    }

    /// Whole bins of the last solution, fractions above `threshold` rounded up where demand remains; what they leave.
    pub(crate) fn round(&self, demand: &[u32], threshold: f64) -> Incumbent {
        let mut left = demand.to_vec();
        let mut bins = BTreeMap::<usize, u32>::new();
        let mut order: Vec<usize> = (0..self.columns.len().min(self.usage.len())).collect();
        // The surest columns first: the largest fraction, then by column.
        let fraction = |at: usize| self.usage[at] - (self.usage[at] + 1e-6).floor();
        order.sort_by(|a, b| {
            fraction(*b).total_cmp(&fraction(*a)).then_with(|| self.columns[*a].cmp(&self.columns[*b]))
        });
        let mut buy = |at: usize, wanted: u32| {
            let (_, pattern) = &self.columns[at];
            let fits = pattern.iter().map(|(item, count)| left[*item as usize] / count).min().unwrap_or(0);
            let copies = fits.min(wanted);
            for (item, count) in pattern {
                left[*item as usize] -= count * copies;
            }
            *bins.entry(at).or_default() += copies;
        };
        for at in &order {
            buy(*at, (self.usage[*at] + 1e-6).floor() as u32);
        }
        for at in order.iter().filter(|at| fraction(**at) > threshold) {
            buy(*at, 1);
        }
        let bins = bins.into_iter().filter(|(_, copies)| *copies > 0).map(|(at, copies)| {
            let (kind, pattern) = self.columns[at].clone();
            Bins { kind, pattern, copies }
        });
        Incumbent { bins: bins.collect(), left }
    }
}
