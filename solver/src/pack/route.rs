//! Machines of their own for pods that cost less there than they would on a node, or that no node holds.
//!
//! A pod in a hole of a bin that is bought anyway costs nothing. So nothing is routed before the others are packed; then
//! each bin is held against what its pods would cost elsewhere: all of them routed and no bin, or a cheaper bin for some of
//! them and routes for the rest.

use crate::model::{Model, copies};
use crate::pack::improve::classes;
use crate::pack::useful::Useful;
use crate::pack::{Bins, Budget, Incumbent, Pattern, add_to};
use crate::stock::Stock;

/// What packing may send to machines of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Routes {
    /// Nothing more than is there already.
    Kept,
    /// What makes a bin cheaper.
    Weighed,
    /// And what has no room at all.
    Settled,
}

/// What a bin becomes.
struct Change {
    /// Micro-dollars an hour, routes included.
    cost: i64,
    /// The new kind and what it keeps; `None` for no bin at all.
    bin: Option<(u32, Pattern)>,
    routed: Pattern,
}

/// Replaces bins by cheaper ones, or none, where routes for the pods that then have no room cost less than that saves.
/// `steps` counts looks.
pub(crate) fn trim(
    model: &Model<'_>,
    stock: &Stock,
    useful: &[Useful],
    budget: &mut Budget,
    incumbent: &mut Incumbent,
    steps: &mut u64,
) {
    for bins in &mut incumbent.bins {
        if bins.pattern.iter().all(|(item, _)| stock.route(*item).is_none()) {
            continue;
        }
        let Some(change) = best_change(model, stock, useful, budget, bins, steps) else { continue };
        budget.take(model, &model.kinds.kinds[bins.kind as usize], -i64::from(bins.copies));
        for (item, count) in change.routed {
            add_to(&mut incumbent.routed, item, count * bins.copies);
        }
        match change.bin {
            None => bins.copies = 0,
            Some((kind, pattern)) => {
                budget.take(model, &model.kinds.kinds[kind as usize], i64::from(bins.copies));
                (bins.kind, bins.pattern) = (kind, pattern);
            }
        }
    }
    incumbent.bins.retain(|bins| bins.copies > 0);
}

/// The cheapest way to hold a bin's pods that costs less than the bin.
fn best_change(
    model: &Model<'_>,
    stock: &Stock,
    useful: &[Useful],
    budget: &Budget,
    bins: &Bins,
    steps: &mut u64,
) -> Option<Change> {
    let mut best: Option<Change> = None;
    let mut limit = model.kinds.kinds[bins.kind as usize].price;
    let (routable, firm): (Pattern, Pattern) =
        bins.pattern.iter().copied().partition(|(item, _)| stock.route(*item).is_some());
    if firm.is_empty() {
        let cost = stock.routed(&routable);
        if cost < limit {
            limit = cost;
            best = Some(Change { cost, bin: None, routed: routable.clone() });
        }
    }
    // Useful kinds stand in order of price.
    for useful in useful {
        let kind = &model.kinds.kinds[useful.kind as usize];
        if kind.price >= limit {
            break;
        }
        *steps += 1;
        let holds = |(item, _): &(u32, u32)| useful.holds(stock.items[*item as usize].lot);
        if !firm.iter().all(holds) || budget.allows(model, kind) < bins.copies {
            continue;
        }
        *steps += bins.pattern.len() as u64;
        let mut room = model.kinds.shapes[kind.shape as usize].room.clone();
        if !firm.iter().all(|(item, count)| put(stock.need(*item), *count, &mut room) == *count) {
            continue;
        }
        // Those whose routes are dearest for the room that they take stay.
        let mut order: Vec<(f64, (u32, u32))> = routable
            .iter()
            .map(|(item, count)| {
                let shares = stock.need(*item).iter().zip(&room).filter(|(need, _)| **need > 0);
                let share = shares.map(|(n, r)| *n as f64 / (*r).max(1) as f64).fold(0.0, f64::max);
                let price = stock.route(*item).unwrap_or(0) as f64;
                (price / share.max(1e-12), (*item, *count))
            })
            .collect();
        order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let (mut kept, mut routed) = (firm.clone(), Pattern::new());
        for (_, (item, count)) in order {
            let fit = if holds(&(item, count)) { put(stock.need(item), count, &mut room) } else { 0 };
            if fit > 0 {
                add_to(&mut kept, item, fit);
            }
            if count > fit {
                add_to(&mut routed, item, count - fit);
            }
        }
        let cost = kind.price + stock.routed(&routed);
        let varied = || model.is_varied(useful.kind, classes(stock, &kept));
        if cost < limit && !kept.is_empty() && varied() {
            limit = cost;
            best = Some(Change { cost, bin: Some((useful.kind, kept)), routed });
        }
    }
    debug_assert!(best.as_ref().is_none_or(|b| b.cost == limit));
    best
}

/// Takes room for as many of `count` pods as fit.
fn put(need: &[i64], count: u32, room: &mut [i64]) -> u32 {
    let fit = if room.iter().zip(need).all(|(have, need)| *need == 0 || have >= need) {
        copies(need, room).min(count)
    } else {
        0
    };
    for (have, need) in room.iter_mut().zip(need) {
        *have -= need * i64::from(fit);
    }
    fit
}

/// Routes what is left and has a route.
pub(crate) fn settle(stock: &Stock, incumbent: &mut Incumbent) {
    for (at, left) in incumbent.left.iter_mut().enumerate().filter(|(_, left)| **left > 0) {
        if stock.route(at as u32).is_some() {
            add_to(&mut incumbent.routed, at as u32, std::mem::take(left));
        }
    }
}

/// Takes everything off its routes; what that was.
pub(crate) fn recall(incumbent: &mut Incumbent) -> Pattern {
    for (item, count) in &incumbent.routed {
        incumbent.left[*item as usize] += count;
    }
    std::mem::take(&mut incumbent.routed)
}

/// Puts what is left of pods that were routed before back on their routes.
pub(crate) fn restore(before: Pattern, incumbent: &mut Incumbent) {
    for (item, count) in before {
        let left = &mut incumbent.left[item as usize];
        let count = count.min(*left);
        if count > 0 {
            *left -= count;
            add_to(&mut incumbent.routed, item, count);
        }
    }
}

/// No pod is worth more than its route costs.
pub(crate) fn cap(stock: &Stock, values: &mut [f64]) {
    for (lot, value) in stock.lots.iter().zip(values) {
        if let Some(route) = lot.route {
            *value = value.min((route as f64).max(1e-3));
        }
    }
}
