//! What is left to pack, lot by lot, the most valuable items in front.

use crate::stock::Stock;

/// Pods still to pack, ordered by what they are worth.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    /// By item.
    pub(crate) left: Vec<u32>,
    /// By lot: items with pods left and a value, dearest first.
    queues: Vec<Vec<u32>>,
    /// By lot: pods left.
    totals: Vec<u32>,
}

impl Shelf {
    pub(crate) fn new(stock: &Stock, left: Vec<u32>, values: &[f64]) -> Self {
        let mut queues = Vec::with_capacity(stock.lots.len());
        let mut totals = Vec::with_capacity(stock.lots.len());
        for lot in &stock.lots {
            let there = |item: &u32| left[*item as usize] > 0 && values[*item as usize] > 0.0;
            let mut queue: Vec<u32> = lot.items.iter().copied().filter(there).collect();
            let value = |item: &u32| values[*item as usize];
            queue.sort_by(|a, b| value(b).total_cmp(&value(a)).then(a.cmp(b)));
            totals.push(queue.iter().map(|item| left[*item as usize]).sum());
            queues.push(queue);
        }
        Self { left, queues, totals }
    }

    /// Items of a lot with pods left, dearest first.
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
