//! Which pods of each class every node gets: what packing decided, its items taken apart into classes.

use std::collections::BTreeMap;

use crate::model::Model;
use crate::pack::{Incumbent, Pattern, add_to};
use crate::stock::Stock;

/// How many pods of each class a node holds; sorted by class, no zeros.
pub(crate) type Pods = Vec<(u32, u32)>;

/// New nodes of one kind that hold the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewNodes {
    pub(crate) kind: u32,
    pub(crate) pods: Pods,
    pub(crate) copies: u32,
}

/// Who goes where, by class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrangement {
    /// By index of existing node: what it gets.
    pub(crate) on_nodes: BTreeMap<usize, Pods>,
    pub(crate) new: Vec<NewNodes>,
    /// Pods on machines of their own.
    pub(crate) routed: Pods,
    /// By class: pods without a place.
    pub(crate) left: Vec<u32>,
}

impl Arrangement {
    /// What packing decided.
    pub(crate) fn of(
        model: &Model<'_>,
        stock: &Stock,
        placed: &[(usize, Pattern)],
        incumbent: &Incumbent,
    ) -> Self {
        let mut this = Self::default();
        for (node, pattern) in placed {
            let pods = this.on_nodes.entry(*node).or_default();
            of_items(model, stock, pattern, pods);
        }
        for bins in &incumbent.bins {
            let mut pods = Pods::new();
            of_items(model, stock, &bins.pattern, &mut pods);
            this.new.push(NewNodes { kind: bins.kind, pods, copies: bins.copies });
        }
        of_items(model, stock, &incumbent.routed, &mut this.routed);
        this.left = (0..model.classes.classes.len()).map(|class| model.count(class)).collect();
        let on_nodes = this.on_nodes.values().chain([&this.routed]).map(|pods| (pods, 1));
        for (pods, copies) in on_nodes.chain(this.new.iter().map(|n| (&n.pods, n.copies))) {
            for (class, count) in pods {
                this.left[*class as usize] -= count * copies;
            }
        }
        this
    }

    /// By class: pods with a place.
    pub(crate) fn held(&self, model: &Model<'_>) -> Vec<u32> {
        self.left.iter().enumerate().map(|(class, left)| model.count(class) - left).collect()
    }

    /// Micro-dollars an hour.
    pub(crate) fn cost(&self, model: &Model<'_>) -> i64 {
        let nodes = self.new.iter().map(|n| model.kinds.kinds[n.kind as usize].price * i64::from(n.copies));
        let routes =
            self.routed.iter().map(|(class, n)| model.routes[*class as usize].unwrap_or(0) * i64::from(*n));
        nodes.chain(routes).sum()
    }
}

/// Adds the pods of a pattern of items, by class.
pub(crate) fn of_items(model: &Model<'_>, stock: &Stock, pattern: &Pattern, pods: &mut Pods) {
    for (item, count) in pattern {
        for (class, each) in model.members(stock.items[*item as usize].class) {
            add_to(pods, class, each * count);
        }
    }
}
