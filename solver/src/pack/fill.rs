//! Filling one bin: which items, how many of each, for the most value.
//!
//! A small multi-dimensional knapsack, answered by a handful of greedy orders. Values are the dual prices of the items:
//! what one more pod of each would cost. They are floats, and only rank; integers decide what fits.

use crate::host_rule::HostState;
use crate::model::{Model, copies};
use crate::pack::Pattern;
use crate::topology::Item;

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

/// A filled bin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filled {
    pub(crate) pattern: Pattern,
    pub(crate) value: f64,
}

/// Scratch memory for filling, kept between bins.
#[derive(Default)]
pub(crate) struct Filler {
    ranked: Vec<(f64, u32)>,
    room: Vec<i64>,
    state: HostState,
    /// Looks at an item, for the step budget.
    pub(crate) steps: u64,
}

impl Filler {
    /// The best of all orders.
    pub(crate) fn best(
        &mut self,
        model: &Model<'_>,
        items: &[Item],
        bin: Bin<'_>,
        left: &[u32],
        values: &[f64],
    ) -> Filled {
        let mut best = Filled::default();
        for order in ORDERS {
            let filled = self.fill(model, items, bin, left, values, order);
            if filled.value > best.value {
                best = filled;
            }
        }
        best
    }

    /// Fills `bin` in one order with at most `left` of each item.
    pub(crate) fn fill(
        &mut self,
        model: &Model<'_>,
        items: &[Item],
        bin: Bin<'_>,
        left: &[u32],
        values: &[f64],
        order: Order,
    ) -> Filled {
        self.room.clear();
        self.room.extend_from_slice(bin.room);
        self.state.clone_from(bin.state);
        self.ranked.clear();
        let candidates =
            bin.items.iter().copied().filter(|i| left[*i as usize] > 0 && values[*i as usize] > 0.0);
        for item in candidates {
            let need = &model.requests[items[item as usize].class as usize];
            self.ranked.push((density(order, values[item as usize], need, bin.room), item));
        }
        self.steps += self.ranked.len() as u64;
        let mut filled = Filled::default();
        if order == Order::Adaptive {
            self.adapt(model, items, left, values, &mut filled);
        } else {
            // Ties by item, so that the answer does not depend on the sort.
            self.ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            for at in 0..self.ranked.len() {
                let item = self.ranked[at].1;
                let most = self.most(model, items, item, left[item as usize]);
                self.put(model, items, item, most, values, &mut filled);
            }
        }
        filled.pattern.sort_unstable();
        filled
    }

    fn adapt(
        &mut self,
        model: &Model<'_>,
        items: &[Item],
        left: &[u32],
        values: &[f64],
        filled: &mut Filled,
    ) {
        let mut taken = vec![0u32; self.ranked.len()];
        let mut open: Vec<u32> = (0..self.ranked.len() as u32).collect();
        while !open.is_empty() {
            let mut best: Option<(f64, usize, u32)> = None;
            let mut keep = Vec::with_capacity(open.len());
            for &at in &open {
                let item = self.ranked[at as usize].1;
                let most = self.most(model, items, item, left[item as usize] - taken[at as usize]);
                if most == 0 {
                    continue;
                }
                keep.push(at);
                let need = &model.requests[items[item as usize].class as usize];
                let score = density(Order::Sum, values[item as usize], need, &self.room);
                if best.is_none_or(|(s, _, _)| score > s) {
                    best = Some((score, at as usize, most));
                }
            }
            self.steps += open.len() as u64;
            open = keep;
            let Some((_, at, most)) = best else { break };
            // A third of what fits: fine enough to balance, few enough steps for bins of hundreds of pods.
            let count = most.div_ceil(3);
            taken[at] += count;
            let item = self.ranked[at].1;
            self.put(model, items, item, count, values, filled);
        }
        let mut merged = Pattern::new();
        for (item, count) in filled.pattern.drain(..) {
            crate::pack::add_to(&mut merged, item, count);
        }
        filled.pattern = merged;
    }

    fn most(&self, model: &Model<'_>, items: &[Item], item: u32, left: u32) -> u32 {
        let class = items[item as usize].class;
        let fit = copies(&model.requests[class as usize], &self.room).min(left);
        if fit == 0 { 0 } else { fit.min(model.rules.allowance(class, &self.state)) }
    }

    fn put(
        &mut self,
        model: &Model<'_>,
        items: &[Item],
        item: u32,
        count: u32,
        values: &[f64],
        filled: &mut Filled,
    ) {
        if count == 0 {
            return;
        }
        let class = items[item as usize].class;
        for (room, need) in self.room.iter_mut().zip(&model.requests[class as usize]) {
            *room -= need * i64::from(count);
        }
        model.rules.add(class, count, &mut self.state);
        filled.pattern.push((item, count));
        filled.value += values[item as usize] * f64::from(count);
    }
}

/// A bin to fill: its room, what its rules have counted, and the items that its labels let in.
#[derive(Clone, Copy)]
pub(crate) struct Bin<'a> {
    pub(crate) room: &'a [i64],
    pub(crate) state: &'a HostState,
    pub(crate) items: &'a [u32],
}

fn density(order: Order, value: f64, need: &[i64], room: &[i64]) -> f64 {
    if order == Order::Value {
        return value;
    }
    let mut size = 0.0f64;
    for (need, have) in need.iter().zip(room) {
        if *need > 0 {
            let share = *need as f64 / (*have).max(1) as f64;
            size = if order == Order::Dominant { size.max(share) } else { size + share };
        }
    }
    value / size.max(1e-12)
}
