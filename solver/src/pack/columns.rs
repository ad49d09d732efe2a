//! Column generation: the linear relaxation over patterns, and a packing rounded from it.
//!
//! ```text
//! min Σ price_p · x_p + Σ route_l · r_l   such that   Σ_p pods of lot l in p · x_p + r_l ≥ demand_l,
//!                                                     Σ_p units p draws · x_p ≤ quota,  x, r ≥ 0
//! ```
//!
//! `r` are the pods of a lot on machines of their own, where it has a route.
//!
//! The master LP holds the patterns found so far and says what one more pod of each lot would cost (its dual
//! price), and what one more unit of each quota would save: patterns that draw on a quota are priced with that on top.
//! Pricing fills every useful kind for the most value at those prices; patterns worth more than their kind costs join.
//! The duals come from an interior-point method at a loose tolerance: they are central, which damps the zig-zag of
//! column generation by itself (Gondzio, González-Brevis and Munari 2013).
//!
//! Nothing here is a proof: pricing is greedy and the LP is in floating point. The bound stands in `bound`.

use std::collections::BTreeSet;

use good_lp::solvers::{DualValues, SolutionWithDual};
use good_lp::{Expression, Solution as _, SolverModel, clarabel, constraint, variable, variables};

use crate::bound::lp_steps;
use crate::host_rule::HostState;
use crate::model::Model;
use crate::pack::fill::{Bin, Filler, ORDERS};
use crate::pack::useful::Useful;
use crate::pack::{Bins, Budget, Incumbent, Pattern, Shelf, add_to};
use crate::stock::Stock;

/// How many pods of each lot a bin of a kind holds; a column of the master.
pub(crate) type Column = (u32, Pattern);

/// The master LP's columns and what it last said.
#[derive(Default)]
pub(crate) struct Columns {
    columns: Vec<Column>,
    known: BTreeSet<Column>,
    /// How often each column is used, in whole and part bins.
    usage: Vec<f64>,
    /// By lot: how many of its pods are routed.
    routed: Vec<f64>,
}

/// What the master says of one more: of each lot a pod, of each quota a unit; micro-dollars an hour.
pub(crate) struct Duals {
    /// What the master's bins and routes cost, parts of them included, in micro-dollars an hour: no packing by these columns
    /// costs less.
    pub(crate) least: f64,
    pub(crate) lots: Vec<f64>,
    pub(crate) quotas: Vec<f64>,
}

/// A pattern joins when it is worth this much more than it costs.
const WORTHWHILE: f64 = 1.0 + 1e-6;
/// Above this many columns, those out of use are dropped.
const MAX_COLUMNS: usize = 4000;

impl Columns {
    /// Adds the patterns of a packing.
    pub(crate) fn learn(&mut self, stock: &Stock, packing: &Incumbent) {
        for bins in &packing.bins {
            self.teach(stock, bins.kind, &bins.pattern);
        }
    }

    /// Adds one pattern of items of a kind. Whether it is new.
    pub(crate) fn teach(&mut self, stock: &Stock, kind: u32, pattern: &[(u32, u32)]) -> bool {
        let mut lots = Pattern::new();
        for (item, count) in pattern {
            add_to(&mut lots, stock.items[*item as usize].lot, *count);
        }
        self.add((kind, lots))
    }

    /// The columns that the last solution uses; all of them before there is one.
    pub(crate) fn used(&self) -> impl Iterator<Item = &Column> {
        let used = |at: usize| self.usage.get(at).is_none_or(|x| *x > 1e-7);
        self.columns.iter().enumerate().filter(move |(at, _)| used(*at)).map(|(_, column)| column)
    }

    /// Adds one column. Whether it is new.
    pub(crate) fn add(&mut self, column: Column) -> bool {
        let new = self.known.insert(column.clone());
        if new {
            self.columns.push(column);
        }
        new
    }

    /// Solves the master; the dual prices, or `None` where the LP solver gives up.
    pub(crate) fn solve(
        &mut self,
        model: &Model<'_>,
        stock: &Stock,
        demand: &[u32],
        budget: &Budget,
    ) -> Option<Duals> {
        let price = |kind: u32| model.kinds.kinds[kind as usize].price as f64;
        let routes = stock.lots.iter().filter_map(|lot| lot.route).map(|route| route as f64);
        let top = self.columns.iter().map(|(k, _)| price(*k)).chain(routes).fold(1.0, f64::max);
        let mut rows: Vec<Expression> = vec![Expression::default(); demand.len()];
        variables! { vars: }
        let uses: Vec<_> = self.columns.iter().map(|_| vars.add(variable().min(0))).collect();
        let mut cost = Expression::default();
        let mut drawn: Vec<Option<Expression>> = vec![None; model.problem.quotas.len()];
        for ((kind, pattern), x) in self.columns.iter().zip(&uses) {
            cost += *x * (price(*kind) / top);
            for (quota, units) in &model.kinds.kinds[*kind as usize].draws {
                let share = *units as f64 / budget.units(*quota).max(1) as f64;
                *drawn[*quota as usize].get_or_insert_default() += *x * share;
            }
            for (lot, count) in pattern {
                rows[*lot as usize] += *x * f64::from(*count);
            }
        }
        let mut routed = vec![None; demand.len()];
        for (at, lot) in stock.lots.iter().enumerate().filter(|(at, _)| demand[*at] > 0) {
            if let Some(route) = lot.route {
                let r = vars.add(variable().min(0));
                cost += r * (route as f64 / top);
                rows[at] += r;
                routed[at] = Some(r);
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
        let limits: Vec<_> =
            drawn.into_iter().map(|row| row.map(|row| lp.add_constraint(constraint!(row <= 1.0)))).collect();
        let mut solved = lp.solve().ok()?;
        self.usage = uses.iter().map(|x| solved.value(*x).max(0.0)).collect();
        self.routed = routed.iter().map(|r| r.map_or(0.0, |r| solved.value(r).max(0.0))).collect();
        let duals = solved.compute_dual();
        let lots =
            references.iter().map(|r| r.as_ref().map_or(0.0, |r| duals.dual(r.clone()).max(0.0) * top));
        let lots = lots.collect();
        let unit = |quota: usize| top / budget.units(quota as u32).max(1) as f64;
        let quotas = limits.iter().enumerate().map(|(at, limit)| {
            // A limit from above: one more unit lowers the cost, or does not change it.
            limit.as_ref().map_or(0.0, |limit| duals.dual(limit.clone()).abs() * unit(at))
        });
        let bins = self.columns.iter().zip(&self.usage).map(|((kind, _), x)| price(*kind) * x);
        let beside = stock.lots.iter().zip(&self.routed).map(|(lot, r)| lot.route.unwrap_or(0) as f64 * r);
        let least = bins.chain(beside).sum();
        Some(Duals { least, lots, quotas: quotas.collect() })
    }

    /// Steps of solving the master once: what columns have in common, and rows among each other.
    pub(crate) fn steps(&self, demand: &[u32]) -> u64 {
        let rows = demand.iter().filter(|need| **need > 0).count();
        let common: usize = self.columns.iter().map(|(_, pattern)| pattern.len().pow(2)).sum();
        lp_steps(common + rows.pow(3) / 3)
    }

    /// Fills every useful kind at these prices and adds what is worth more than it costs. Whether anything was.
    #[expect(clippy::too_many_arguments, reason = "see construct")]
    pub(crate) fn price(
        &mut self,
        model: &Model<'_>,
        stock: &Stock,
        useful: &[Useful],
        wanted: &[u32],
        values: &[f64],
        budget: &Budget,
        filler: &mut Filler,
    ) -> bool {
        let empty = HostState::default();
        let shelf = Shelf::new(stock, wanted.to_vec());
        let mut found = false;
        for useful in useful {
            let kind = &model.kinds.kinds[useful.kind as usize];
            let room = &model.kinds.shapes[kind.shape as usize].room;
            let kept = model.keep(useful.kind);
            let bin = Bin { room, state: &empty, lots: &useful.lots, kept: kept.as_ref() };
            let worthwhile = budget.weight(kind) * WORTHWHILE;
            for order in ORDERS {
                let filled = filler.fill(model, stock, bin, &shelf, values, order);
                if filled.value > worthwhile {
                    found |= self.teach(stock, useful.kind, &filled.pattern);
                }
            }
        }
        self.prune();
        found
    }

    /// The best packing by whole columns that HiGHS finds, and what it leaves.
    #[cfg(feature = "highs")]
    pub(crate) fn cover(
        &self,
        model: &Model<'_>,
        stock: &Stock,
        wanted: &[u32],
        demand: &[u32],
        budget: &Budget,
    ) -> Option<Incumbent> {
        // Those that the LP uses cover the demand; all the others would take the search minutes.
        let used = self.columns.iter().zip(&self.usage).filter(|(_, x)| **x > 1e-7);
        let columns: Vec<Column> = used.map(|(column, _)| column.clone()).collect();
        let routed: Vec<f64> = self.routed.iter().map(|r| r.round()).collect();
        let demand: Vec<u32> = demand.iter().zip(&routed).map(|(d, r)| d.saturating_sub(*r as u32)).collect();
        let usage = super::whole::cover(model, &columns, &demand, budget)?;
        let whole = Self { columns, known: BTreeSet::new(), usage, routed };
        Some(whole.round(model, stock, wanted, budget, 1.0))
    }

    /// Forgets columns that the last solution did not use, once there are too many.
    fn prune(&mut self) {
        if self.columns.len() <= MAX_COLUMNS {
            return;
        }
        let mut at = 0;
        self.columns.retain(|_| {
            at += 1;
            self.usage.get(at - 1).is_none_or(|x| *x > 1e-7)
        });
        // Rounding goes by the usage of the columns that stay.
        self.usage.retain(|x| *x > 1e-7);
        self.known = self.columns.iter().cloned().collect();
    }

    /// Whole bins of the last solution, fractions above `threshold` rounded up where demand remains; what they leave.
    pub(crate) fn round(
        &self,
        model: &Model<'_>,
        stock: &Stock,
        wanted: &[u32],
        budget: &Budget,
        threshold: f64,
    ) -> Incumbent {
        let mut shelf = Shelf::new(stock, wanted.to_vec());
        let mut budget = budget.clone();
        let mut bins = Vec::new();
        let mut routed = Pattern::new();
        for (lot, number) in self.routed.iter().enumerate() {
            let mut number = (number + 1e-6).floor() as u32;
            while let Some(&item) = shelf.of_lot(lot as u32).first().filter(|_| number > 0) {
                let count = number.min(shelf.left[item as usize]);
                shelf.take(stock, item, count);
                add_to(&mut routed, item, count);
                number -= count;
            }
        }
        let mut order: Vec<usize> = (0..self.columns.len().min(self.usage.len())).collect();
        // The surest columns first: the largest fraction, then by column.
        let fraction = |at: usize| self.usage[at] - (self.usage[at] + 1e-6).floor();
        order.sort_by(|a, b| {
            fraction(*b).total_cmp(&fraction(*a)).then_with(|| self.columns[*a].cmp(&self.columns[*b]))
        });
        let mut buy = |at: usize, mut copies: u32| {
            let (kind, lots) = &self.columns[at];
            let of_kind = &model.kinds.kinds[*kind as usize];
            if !of_kind.draws.is_empty() {
                // What is rounded up may be more than there is.
                copies = copies.min(budget.allows(model, of_kind));
            }
            while copies > 0
                && let Some(pattern) = instance(model, stock, &shelf, lots)
            {
                let fits = pattern.iter().map(|(item, count)| shelf.left[*item as usize] / count).min();
                let alike = fits.unwrap_or(0).min(copies);
                for (item, count) in &pattern {
                    shelf.take(stock, *item, count * alike);
                }
                bins.push(Bins { kind: *kind, pattern, copies: alike });
                budget.take(model, of_kind, i64::from(alike));
                copies -= alike;
            }
        };
        for at in &order {
            buy(*at, (self.usage[*at] + 1e-6).floor() as u32);
        }
        for at in order.iter().filter(|at| fraction(**at) > threshold) {
            buy(*at, 1);
        }
        Incumbent { bins, routed, left: shelf.left }
    }
}

/// Items for a pattern of lots, or `None` where there are not enough that the rules let share a host.
fn instance(model: &Model<'_>, stock: &Stock, shelf: &Shelf, lots: &Pattern) -> Option<Pattern> {
    let mut state = HostState::default();
    let mut pattern = Pattern::new();
    for (lot, wanted) in lots {
        let mut wanted = *wanted;
        if shelf.total(*lot) < wanted {
            return None;
        }
        for item in shelf.of_lot(*lot) {
            let class = stock.items[*item as usize].class;
            let count = wanted.min(shelf.left[*item as usize]).min(model.rules.allowance(class, &state));
            if count > 0 {
                model.rules.add(class, count, &mut state);
                add_to(&mut pattern, *item, count);
                wanted -= count;
            }
            if wanted == 0 {
                break;
            }
        }
        if wanted > 0 {
            return None;
        }
    }
    Some(pattern)
}
