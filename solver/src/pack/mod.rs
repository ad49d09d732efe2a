//! Packing: from items and bin kinds to bins.
//!
//! ```text
//! items ─▶ existing (free room first) ─▶ useful (kinds worth a look) ─▶ construct (patterns) ─▶ improve, route
//! ```
//!
//! Everything here works on an [`Incumbent`]: a set of bins, what goes beside them, and what is left unpacked.

pub(crate) mod columns;
pub(crate) mod construct;
pub(crate) mod existing;
pub(crate) mod fill;
pub(crate) mod improve;
pub(crate) mod route;
pub(crate) mod shelf;
pub(crate) mod useful;
#[cfg(feature = "highs")]
mod whole;

use std::collections::BTreeMap;

use crate::kind::Kind;
use crate::model::Model;
use crate::problem::{PoolId, ResourceId};
use crate::stock::Stock;

pub(crate) use shelf::Shelf;

/// How many pods of each item one bin holds; sorted by item, no zeros.
pub(crate) type Pattern = Vec<(u32, u32)>;

/// Equal bins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bins {
    pub(crate) kind: u32,
    pub(crate) pattern: Pattern,
    pub(crate) copies: u32,
}

/// A packing of new bins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Incumbent {
    pub(crate) bins: Vec<Bins>,
    /// Pods on machines of their own.
    pub(crate) routed: Pattern,
    /// By item: pods not packed.
    pub(crate) left: Vec<u32>,
}

impl Incumbent {
    /// Micro-dollars an hour.
    pub(crate) fn cost(&self, model: &Model<'_>, stock: &Stock) -> i64 {
        let bins = self.bins.iter().map(|b| model.kinds.kinds[b.kind as usize].price * i64::from(b.copies));
        bins.chain([stock.routed(&self.routed)]).sum()
    }

    /// Pods not packed.
    pub(crate) fn unpacked(&self) -> u64 {
        self.left.iter().map(|n| u64::from(*n)).sum()
    }

    /// Bins with equal kind and pattern merged, in a canonical order.
    pub(crate) fn tidy(&mut self) {
        let mut merged = BTreeMap::<(u32, Pattern), u32>::new();
        for bins in self.bins.drain(..).filter(|b| b.copies > 0 && !b.pattern.is_empty()) {
            *merged.entry((bins.kind, bins.pattern)).or_insert(0) += bins.copies;
        }
        self.bins =
            merged.into_iter().map(|((kind, pattern), copies)| Bins { kind, pattern, copies }).collect();
    }
}

/// Adds `count` of an item to a pattern.
pub(crate) fn add_to(pattern: &mut Pattern, item: u32, count: u32) {
    match pattern.binary_search_by_key(&item, |(i, _)| *i) {
        Ok(at) => pattern[at].1 += count,
        Err(at) => pattern.insert(at, (item, count)),
    }
}

/// What the limits of the `NodePools` leave.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    /// By pool: what is left of each limited resource.
    left: Vec<Vec<(ResourceId, i64)>>,
    /// By pool: how many more nodes.
    nodes: Vec<Option<u32>>,
}

impl Budget {
    pub(crate) fn of(model: &Model<'_>) -> Self {
        let pools = &model.problem.pools;
        Self {
            left: pools
                .iter()
                .map(|p| {
                    p.limits.iter().map(|(id, limit)| (*id, limit.saturating_sub(p.used.get(*id)))).collect()
                })
                .collect(),
            nodes: pools
                .iter()
                .map(|p| p.node_limit.map(|limit| limit.saturating_sub(p.node_count)))
                .collect(),
        }
    }

    /// As if no pool had limits.
    pub(crate) fn unlimited(model: &Model<'_>) -> Self {
        let pools = model.problem.pools.len();
        Self { left: vec![Vec::new(); pools], nodes: vec![None; pools] }
    }

    /// Whether any pool has a limit.
    pub(crate) fn binds(&self) -> bool {
        (0..self.left.len()).any(|pool| self.limits(PoolId::of(pool)))
    }

    /// Whether this pool has a limit.
    pub(crate) fn limits(&self, pool: PoolId) -> bool {
        !self.left[pool.index()].is_empty() || self.nodes[pool.index()].is_some()
    }

    /// What is left of a limited resource; a lot where it is not limited.
    pub(crate) fn remaining(&self, pool: PoolId, resource: ResourceId) -> i64 {
        self.left[pool.index()].iter().find(|(id, _)| *id == resource).map_or(i64::MAX, |(_, left)| *left)
    }

    /// How many more nodes a pool may have.
    pub(crate) fn remaining_nodes(&self, pool: PoolId) -> Option<u32> {
        self.nodes[pool.index()]
    }

    /// How many bins of a kind the limits still allow.
    pub(crate) fn allows(&self, model: &Model<'_>, kind: &Kind) -> u32 {
        let capacity = &model.problem.types[kind.instance_type.index()].capacity;
        let mut most = i64::from(self.nodes[kind.pool.index()].unwrap_or(u32::MAX));
        for (id, left) in &self.left[kind.pool.index()] {
            let each = capacity.get(*id);
            if each > 0 {
                most = most.min((*left).max(0) / each);
            } else if *left < 0 {
                // Already over the limit: Karpenter launches nothing more from the pool.
                most = 0;
            }
        }
        most as u32
    }

    /// Whether the limits allow one bin of kind `other` in place of one of kind `own` that is bought already.
    pub(crate) fn allows_instead(&self, model: &Model<'_>, own: &Kind, other: &Kind) -> bool {
        let capacity = |kind: &Kind| &model.problem.types[kind.instance_type.index()].capacity;
        self.left[own.pool.index()].iter().all(|(id, left)| {
            let more = capacity(other).get(*id).saturating_sub(capacity(own).get(*id));
            more <= 0 || more <= *left
        })
    }

    /// What is left after buying a packing, or `None` where a limit forbids it.
    pub(crate) fn after(&self, model: &Model<'_>, packing: &Incumbent) -> Option<Self> {
        let mut budget = self.clone();
        for bins in &packing.bins {
            let kind = &model.kinds.kinds[bins.kind as usize];
            if budget.allows(model, kind) < bins.copies {
                return None;
            }
            budget.take(model, kind, i64::from(bins.copies));
        }
        Some(budget)
    }

    /// The largest share of what any limit leaves that one bin of a kind would take; zero without limits.
    pub(crate) fn share(&self, model: &Model<'_>, kind: &Kind) -> f64 {
        let capacity = &model.problem.types[kind.instance_type.index()].capacity;
        let of_nodes = self.nodes[kind.pool.index()].map_or(0.0, |left| 1.0 / f64::from(left.max(1)));
        let shares = self.left[kind.pool.index()]
            .iter()
            .map(|(id, left)| capacity.get(*id) as f64 / (*left).max(1) as f64);
        shares.fold(of_nodes, f64::max)
    }

    /// Takes `copies` bins of a kind out of the budget; negative gives back.
    pub(crate) fn take(&mut self, model: &Model<'_>, kind: &Kind, copies: i64) {
        let capacity = &model.problem.types[kind.instance_type.index()].capacity;
        for (id, left) in &mut self.left[kind.pool.index()] {
            *left = left.saturating_sub(capacity.get(*id).saturating_mul(copies));
        }
        if let Some(nodes) = &mut self.nodes[kind.pool.index()] {
            *nodes = (i64::from(*nodes) - copies).clamp(0, i64::from(u32::MAX)) as u32;
        }
    }
}
