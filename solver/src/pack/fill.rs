//! Filling one bin: which items, how many of each, for the most value.
//!
//! A small multi-dimensional knapsack, answered by a handful of greedy orders. Values are the dual prices of the items:
//! what one more pod of each would cost. They are floats, and only rank; integers decide what fits.
//!
//! Orders rank lots: however many classes there are, they come in few sizes. Inside a lot the items that are hardest to
//! place go first, those that host rules keep out being passed over.

use crate::host_rule::HostState;
use crate::model::{Model, copies};
use crate::pack::{Pattern, Shelf};
use crate::stock::Stock;
use crate::variety::Kept;

/// How densely an item's value sits in the room it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Value by the sum of the shares of each resource.
    Sum,
    /// Value by the largest share of a resource.
    Dominant,
    /// Value by the sum of the shares of what is *left*, looked at again after each step: finds complements.
    Adaptive,
    /// Biggest value first: big pods before small ones.
    Value,
}

/// The orders that are tried for a bin.
pub(crate) const ORDERS: [Order; 4] = [Order::Sum, Order::Dominant, Order::Adaptive, Order::Value];

/// So many looks at what a node could be launched as take as long as one at an item.
const LOOKS_A_STEP: u64 = 8;

/// A filled bin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filled {
    pub(crate) pattern: Pattern,
    pub(crate) value: f64,
}

/// A bin to fill: its room, what its rules have counted, and the lots that its labels let in.
#[derive(Clone, Copy)]
pub(crate) struct Bin<'a> {
    pub(crate) room: &'a [i64],
    pub(crate) state: &'a HostState,
    pub(crate) lots: &'a [u32],
    /// What it could be launched as, where its `NodePool` asks for a wide choice.
    pub(crate) kept: Option<&'a Kept>,
}

/// A lot while a bin is filled.
#[derive(Clone, Copy)]
struct Ranked {
    density: f64,
    lot: u32,
    /// Position on the lot's shelf of the item to take from next.
    at: usize,
    /// Pods of that item taken already.
    taken: u32,
}

/// Scratch memory for filling, kept between bins.
#[derive(Default)]
pub(crate) struct Filler {
    ranked: Vec<Ranked>,
    open: Vec<u32>,
    room: Vec<i64>,
    part_of: Vec<f64>,
    state: HostState,
    kept: Option<Kept>,
    /// Looks at a lot or an item, for the step budget.
    pub(crate) steps: u64,
}

impl Filler {
    /// The best of all orders.
    pub(crate) fn best(
        &mut self,
        model: &Model<'_>,
        stock: &Stock,
        bin: Bin<'_>,
        shelf: &Shelf,
        values: &[f64],
    ) -> Filled {
        let mut best = Filled::default();
        for order in ORDERS {
            let filled = self.fill(model, stock, bin, shelf, values, order);
            if filled.value > best.value {
                best = filled;
            }
        }
        best
    }

    /// Fills `bin` in one order with what is on the shelf.
    pub(crate) fn fill(
        &mut self,
        model: &Model<'_>,
        stock: &Stock,
        bin: Bin<'_>,
        shelf: &Shelf,
        values: &[f64],
        order: Order,
    ) -> Filled {
        self.room.clear();
        self.room.extend_from_slice(bin.room);
        self.state.clone_from(bin.state);
        self.kept = bin.kept.cloned();
        self.ranked.clear();
        invert(bin.room, &mut self.part_of);
        for &lot in bin.lots {
            let value = values[lot as usize];
            if value > 0.0 && shelf.total(lot) > 0 {
                let density = density(order, value, &stock.lots[lot as usize].size, &self.part_of);
                self.ranked.push(Ranked { density, lot, at: 0, taken: 0 });
            }
        }
        self.steps += self.ranked.len() as u64;
        let mut filled = Filled::default();
        if order == Order::Adaptive {
            self.adapt(model, stock, shelf, values, &mut filled);
        } else {
            // Ties by lot, so that the answer does not depend on the sort.
            self.ranked.sort_unstable_by(|a, b| b.density.total_cmp(&a.density).then(a.lot.cmp(&b.lot)));
            for at in 0..self.ranked.len() {
                let need = &stock.lots[self.ranked[at].lot as usize].need;
                if need.iter().zip(&self.room).all(|(need, have)| need <= have) {
                    let fit = copies(need, &self.room);
                    self.take(model, stock, shelf, values, at, fit, &mut filled);
                }
            }
        }
        let mut merged = Pattern::new();
        for (item, count) in filled.pattern.drain(..) {
            crate::pack::add_to(&mut merged, item, count);
        }
        filled.pattern = merged;
        filled
    }

    fn adapt(
        &mut self,
        model: &Model<'_>,
        stock: &Stock,
        shelf: &Shelf,
        values: &[f64],
        filled: &mut Filled,
    ) {
        let mut open = std::mem::take(&mut self.open);
        open.clear();
        open.extend(0..self.ranked.len() as u32);
        while !open.is_empty() {
            let mut best: Option<(f64, u32)> = None;
            self.steps += open.len() as u64;
            invert(&self.room, &mut self.part_of);
            open.retain(|&at| {
                let Ranked { lot, at: position, .. } = self.ranked[at as usize];
                let of_lot = &stock.lots[lot as usize];
                if shelf.of_lot(lot).len() <= position {
                    return false;
                }
                if of_lot.need.iter().zip(&self.room).any(|(need, have)| need > have) {
                    return false;
                }
                let score = density(Order::Sum, values[lot as usize], &of_lot.size, &self.part_of);
                if best.is_none_or(|(s, _)| score > s) {
                    best = Some((score, at));
                }
                true
            });
            let Some((_, at)) = best else { break };
            // A third of what fits: fine enough to balance, few enough steps for bins of hundreds of pods.
            let fit = copies(&stock.lots[self.ranked[at as usize].lot as usize].need, &self.room);
            self.take(model, stock, shelf, values, at as usize, fit.div_ceil(3), filled);
        }
        self.open = open;
    }

    /// Takes up to `wanted` pods of a lot, item by item.
    #[expect(clippy::too_many_arguments, reason = "the innermost step of packing")]
    fn take(
        &mut self,
        model: &Model<'_>,
        stock: &Stock,
        shelf: &Shelf,
        values: &[f64],
        at: usize,
        mut wanted: u32,
        filled: &mut Filled,
    ) {
        let mut ranked = self.ranked[at];
        let items = shelf.of_lot(ranked.lot);
        let Some(first) = items.get(ranked.at) else { return };
        let of_lot = stock.items[*first as usize].class;
        if let Some(kept) = &self.kept {
            let most = model.most_varied(kept, of_lot, wanted);
            self.steps += kept.looks() / LOOKS_A_STEP;
            if most == 0 {
                // What is too much for the choice now stays too much.
                ranked.at = items.len();
            }
            wanted = most;
        }
        let before = wanted;
        while wanted > 0
            && let Some(&item) = items.get(ranked.at)
        {
            let class = stock.items[item as usize].class;
            self.steps += 1 + model.rules.steps(class);
            let left = shelf.left[item as usize] - ranked.taken;
            // Rules only ever get tighter while a bin fills: what they keep out now stays out.
            let allowed = model.rules.allowance(class, &self.state);
            let count = wanted.min(left).min(allowed);
            if count > 0 {
                for (room, need) in self.room.iter_mut().zip(&stock.lots[ranked.lot as usize].need) {
                    *room -= need * i64::from(count);
                }
                model.rules.add(class, count, &mut self.state);
                filled.pattern.push((item, count));
                filled.value += values[ranked.lot as usize] * f64::from(count);
                wanted -= count;
            }
            if count == left.min(allowed) {
                ranked.at += 1;
                ranked.taken = 0;
            } else {
                ranked.taken += count;
            }
        }
        if let Some(kept) = &mut self.kept
            && wanted < before
        {
            model.join(kept, of_lot, before - wanted);
        }
        self.ranked[at] = ranked;
    }
}

/// One over each amount of a room, for shares of it.
fn invert(room: &[i64], into: &mut Vec<f64>) {
    into.clear();
    into.extend(room.iter().map(|have| 1.0 / (*have).max(1) as f64));
}

/// Value by the room it takes: `part_of` is one over the room.
fn density(order: Order, value: f64, size: &[f64], part_of: &[f64]) -> f64 {
    let shares = size.iter().zip(part_of).map(|(need, part)| need * part);
    let size = match order {
        Order::Value => return value,
        Order::Dominant => shares.fold(0.0, f64::max),
        Order::Sum | Order::Adaptive => shares.sum(),
    };
    value / size.max(1e-12)
}
