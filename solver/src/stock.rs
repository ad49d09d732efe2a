//! What packing packs: items, and lots of them.
//!
//! - An *item* is the pods of one class that are tied to one domain (or to none): any of them will do.
//! - A *lot* is the items that need the same room and may use the same bins. They differ in host rules only, and in none
//!   that asks for many nodes ([`HostRules::weighty`]). So whatever looks at sizes, labels, prices and values looks at
//!   lots: ten thousand kinds of pods seldom have a hundred sizes.

use std::collections::HashMap;
use std::rc::Rc;

use fixedbitset::FixedBitSet;

use crate::host_rule::HostState;
use crate::model::{GateId, Model};

/// A value for each of some label keys; an absent label is `None`.
pub(crate) type Domain = Rc<[(String, Option<String>)]>;

/// Pods of one class that may use the same bins.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) class: u32,
    pub(crate) count: u32,
    /// Index into [`Stock::lots`].
    pub(crate) lot: u32,
}

/// Items that only host rules tell apart.
#[derive(Clone, Debug)]
pub(crate) struct Lot {
    /// What one pod needs, by dimension.
    pub(crate) need: Vec<i64>,
    /// The same in floating point, for ranking.
    pub(crate) size: Vec<f64>,
    pub(crate) gate: GateId,
    pub(crate) priority: i32,
    /// What one of its pods costs on a machine of its own, in micro-dollars an hour, where it may run on one.
    pub(crate) route: Option<i64>,
    /// The domain that it is tied to; empty for none.
    pub(crate) domain: Domain,
    /// Kinds that it may use, before room is looked at.
    pub(crate) kinds: Rc<FixedBitSet>,
    /// Those that host rules scatter over most nodes first: they are the hardest to place.
    pub(crate) items: Vec<u32>,
}

/// Everything there is to pack.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stock {
    /// By class and domain.
    pub(crate) items: Vec<Item>,
    pub(crate) lots: Vec<Lot>,
}

/// Pods of a class as they were dealt to a domain: class, count, domain, the kinds there.
pub(crate) type Dealing = (u32, u32, Domain, Rc<FixedBitSet>);

/// What the items of a lot have in common: need, rules that scatter them, gate, priority, what ties them, route, domain.
type LotKey<'k> = (&'k [i64], &'k [u32], GateId, i32, u32, Option<i64>, Domain);

impl Stock {
    pub(crate) fn of(model: &Model<'_>, mut dealings: Vec<Dealing>) -> Self {
        dealings.sort_by(|a, b| (a.0, &a.2).cmp(&(b.0, &b.2)));
        let empty = HostState::default();
        let mut ids = HashMap::<LotKey<'_>, u32>::new();
        let mut this = Self::default();
        for (class, count, domain, kinds) in dealings {
            let need = model.requests[class as usize].as_slice();
            let gate = model.gate_of[class as usize];
            let priority = model.priority(class);
            let rules = model.scattered[class as usize].as_slice();
            // A team is a lot of its own where it matters: nobody else has its gate.
            let tie = model.variety.tie_of(class as usize);
            let route = model.routes[class as usize];
            let next = this.lots.len() as u32;
            let lot =
                *ids.entry((need, rules, gate, priority, tie, route, Rc::clone(&domain))).or_insert(next);
            if lot == next {
                let (need, size) = (need.to_vec(), need.iter().map(|n| *n as f64).collect());
                this.lots.push(Lot { need, size, gate, priority, route, domain, kinds, items: Vec::new() });
            }
            this.lots[lot as usize].items.push(this.items.len() as u32);
            this.items.push(Item { class, count, lot });
        }
        for lot in &mut this.lots {
            let nodes = |at: &u32| {
                let item = &this.items[*at as usize];
                item.count.div_ceil(model.rules.allowance(item.class, &empty).max(1))
            };
            lot.items.sort_by(|a, b| nodes(b).cmp(&nodes(a)).then(a.cmp(b)));
        }
        this
    }

    /// The lot of an item.
    pub(crate) fn lot(&self, item: u32) -> &Lot {
        &self.lots[self.items[item as usize].lot as usize]
    }

    /// The kinds that an item may use, before room is looked at.
    pub(crate) fn kinds(&self, item: u32) -> &FixedBitSet {
        &self.lot(item).kinds
    }

    /// What one pod of an item needs, by dimension.
    pub(crate) fn need(&self, item: u32) -> &[i64] {
        &self.lot(item).need
    }

    /// What an item's pods cost on machines of their own, each, in micro-dollars an hour; `None` where they may not run on one.
    pub(crate) fn route(&self, item: u32) -> Option<i64> {
        self.lot(item).route
    }

    /// What items cost on machines of their own, in micro-dollars an hour.
    pub(crate) fn routed(&self, items: &[(u32, u32)]) -> i64 {
        items.iter().map(|(item, count)| self.route(*item).unwrap_or(0) * i64::from(*count)).sum()
    }

    /// What a pattern of items is worth, by the values of lots.
    pub(crate) fn worth(&self, pattern: &[(u32, u32)], values: &[f64]) -> f64 {
        pattern.iter().map(|(item, n)| values[self.items[*item as usize].lot as usize] * f64::from(*n)).sum()
    }

    /// By lot: the sum of what there is by item.
    pub(crate) fn by_lot(&self, of_items: &[u32]) -> Vec<u32> {
        let mut sums = vec![0; self.lots.len()];
        for (item, count) in self.items.iter().zip(of_items) {
            sums[item.lot as usize] += count;
        }
        sums
    }

    /// By item: how many pods there are.
    pub(crate) fn counts(&self) -> Vec<u32> {
        self.items.iter().map(|i| i.count).collect()
    }
}
