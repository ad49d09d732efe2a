//! Constructions: buy the bin that gives the most value for its price, again and again.
//!
//! Each step fills every useful kind with what is left, takes the best value for money and buys as many copies as
//! demand allows. Small kinds and big ones compete on the same scale, so one more small node is always weighed against
//! one bigger one; towards the end, when little is left, a big bin's value falls and a small one wins.
//!
//! Values start from what a pod would cost in its best-fitting bin and are corrected after each pass by what it did
//! cost (sequential value correction, Belov and Scheithauer 2007): classes that ended in bad bins get dearer, and are
//! packed earlier next time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::host_rule::HostState;
use crate::model::Model;
use crate::pack::fill::{Bin, Filled, Filler};
use crate::pack::useful::Useful;
use crate::pack::{Bins, Budget, Incumbent, Shelf};
use crate::stock::{Lot, Stock};

/// A kind in the queue, by the value for money it gave when it was last filled.
struct Entry {
    ratio: f64,
    at: usize,
    filled: Filled,
    /// The number of purchases when it was filled.
    version: u64,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.ratio.total_cmp(&other.ratio).then(other.at.cmp(&self.at))
    }
}

/// What a purchase is weighed against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thrift {
    /// Its price.
    Money,
    /// Its share of what `NodePool` limits leave: holds more pods where a limit binds.
    Limits,
}

/// A kind is bought if none promised this many times its value for money when last looked at: 1 % on top.
const NEAR_ENOUGH: f64 = 1.01;

/// One construction with fixed values.
#[expect(
    clippy::too_many_arguments,
    reason = "one inner loop; a struct of the same eight would only rename them"
)]
pub(crate) fn construct(
    model: &Model<'_>,
    stock: &Stock,
    useful: &[Useful],
    left: Vec<u32>,
    values: &[f64],
    thrift: Thrift,
    budget: &mut Budget,
    filler: &mut Filler,
) -> Incumbent {
    let mut bought = Vec::new();
    let mut shelf = Shelf::new(stock, left);
    let empty = HostState::default();
    let mut version = 1;
    let mut heap: BinaryHeap<Entry> = (0..useful.len())
        .map(|at| Entry { ratio: f64::INFINITY, at, filled: Filled::default(), version: 0 })
        .collect();
    while let Some(mut entry) = heap.pop() {
        let kind = &model.kinds.kinds[useful[entry.at].kind as usize];
        let allowed = budget.allows(model, kind);
        if allowed == 0 {
            continue;
        }
        if entry.version < version {
            // Filled before the last purchases: what it promised may be gone. Values for money mostly fall as demand
            // does, so a look at the best promise is nearly always enough.
            let still = entry.version > 0
                && entry.filled.pattern.iter().all(|(item, count)| *count <= shelf.left[*item as usize]);
            if !still {
                let room = &model.kinds.shapes[kind.shape as usize].room;
                let kept = model.keep(useful[entry.at].kind);
                let lots = &useful[entry.at].lots;
                let bin = Bin { room, state: &empty, lots, kept: kept.as_ref() };
                entry.filled = filler.best(model, stock, bin, &shelf, values);
                entry.ratio = entry.filled.value
                    / match thrift {
                        Thrift::Money => budget.weight(kind),
                        Thrift::Limits => budget.share(model, kind).max(1e-9),
                    };
            }
            entry.version = version;
            if entry.filled.pattern.is_empty() {
                continue;
            }
            // What others promised before the last purchases is mostly gone, too: near enough is good enough.
            if heap.peek().is_some_and(|other| other.ratio > entry.ratio * NEAR_ENOUGH) {
                heap.push(entry);
                continue;
            }
        }
        let fits = entry.filled.pattern.iter().map(|(item, count)| shelf.left[*item as usize] / count).min();
        let copies = fits.unwrap_or(0).min(allowed);
        for (item, count) in &entry.filled.pattern {
            shelf.take(stock, *item, count * copies);
        }
        budget.take(model, kind, i64::from(copies));
        bought.push(Bins { kind: useful[entry.at].kind, pattern: entry.filled.pattern.clone(), copies });
        version += 1;
        heap.push(entry);
    }
    Incumbent { bins: bought, routed: Vec::new(), left: shelf.left }
}

/// What one pod of each lot costs in the bin that suits it best, its dominant share taken, or on its route: micro-dollars an
/// hour.
pub(crate) fn first_values(model: &Model<'_>, stock: &Stock, useful: &[Useful], budget: &Budget) -> Vec<f64> {
    let route = |lot: &Lot| lot.route.map_or(f64::INFINITY, |route| route as f64);
    let mut values: Vec<f64> = stock.lots.iter().map(route).collect();
    for useful in useful {
        let kind = &model.kinds.kinds[useful.kind as usize];
        let room = &model.kinds.shapes[kind.shape as usize].room;
        for &lot in &useful.lots {
            let need = &stock.lots[lot as usize].need;
            let share =
                need.iter().zip(room).map(|(n, r)| *n as f64 / (*r).max(1) as f64).fold(0.0, f64::max);
            let value = &mut values[lot as usize];
            *value = value.min(budget.weight(kind) * share);
        }
    }
    for value in &mut values {
        *value = if value.is_finite() { value.max(1e-3) } else { 1.0 };
    }
    values
}

/// Moves values half-way towards what each lot did cost, a bin's price shared out by value.
pub(crate) fn correct(
    model: &Model<'_>,
    stock: &Stock,
    incumbent: &Incumbent,
    budget: &Budget,
    values: &mut [f64],
) {
    let mut paid = vec![0.0; values.len()];
    let mut pods = vec![0.0; values.len()];
    for bins in &incumbent.bins {
        let price = budget.weight(&model.kinds.kinds[bins.kind as usize]);
        let worth: f64 = stock.worth(&bins.pattern, values);
        for (item, count) in &bins.pattern {
            let lot = stock.items[*item as usize].lot as usize;
            let number = f64::from(*count) * f64::from(bins.copies);
            paid[lot] += values[lot] * number * price / worth.max(1e-9);
            pods[lot] += number;
        }
    }
    for ((value, paid), pods) in values.iter_mut().zip(paid).zip(pods) {
        if pods > 0.0 {
            *value = f64::midpoint(*value, paid / pods);
        }
    }
}
