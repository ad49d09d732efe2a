//! What is left to pack, lot by lot, the items that are hardest to place in front.

use crate::stock::{Lot, Stock};

/// Pods still to pack.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    /// By item.
    pub(crate) left: Vec<u32>,
    /// By lot: items with pods left, in the lot's order.
    queues: Vec<Vec<u32>>,
    /// By lot: pods left.
    totals: Vec<u32>,
}

impl Shelf {
    pub(crate) fn new(stock: &Stock, left: Vec<u32>) -> Self {
        let there = |item: &u32| left[*item as usize] > 0;
        let queue = |lot: &Lot| lot.items.iter().copied().filter(there).collect();
        let queues = stock.lots.iter().map(queue).collect();
        let totals = stock.by_lot(&left);
        Self { left, queues, totals }
    }

    /// Items of a lot with pods left, in the lot's order.
    pub(crate) fn of_lot(&self, lot: u32) -> &[u32] {
        &self.queues[lot as usize]
    }

    /// Pods left in a lot.
    pub(crate) fn total(&self, lot: u32) -> u32 {
        self.totals[lot as usize]
    }

    /// Takes pods of an item away.
    pub(crate) fn take(&mut self, stock: &Stock, item: u32, count: u32) {
        let lot = stock.items[item as usize].lot as usize;
        self.left[item as usize] -= count;
        self.totals[lot] -= count;
        if self.left[item as usize] == 0 {
            self.queues[lot].retain(|i| *i != item);
        }
    }
}
