//! Packing: from items and bin kinds to bins.
//!
//! ```text
//! items ─▶ existing (free room first) ─▶ useful (kinds worth a look) ─▶ construct (patterns) ─▶ improve, route
//! ```
//!
//! Everything here works on an [`Incumbent`]: a set of bins, what goes beside them, and what is left unpacked.

pub(crate) mod columns;
pub(crate) mod construct;
pub(crate) mod cover;
pub(crate) mod existing;
pub(crate) mod fill;
pub(crate) mod improve;
pub(crate) mod merge;
pub(crate) mod route;
pub(crate) mod shelf;
pub(crate) mod useful;
#[cfg(feature = "highs")]
mod whole;

use std::collections::BTreeMap;

use crate::kind::Kind;
use crate::model::Model;
use crate::problem::{PoolId, Problem, ResourceId};
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

/// What the limits of the `NodePools` leave, and what is left of quotas.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    /// By pool: what is left of each limited resource.
    left: Vec<Vec<(ResourceId, i64)>>,
    /// By pool: how many more nodes.
    nodes: Vec<Option<u32>>,
    /// By quota: units.
    quotas: Vec<i64>,
    /// By quota: what a unit is worth, in micro-dollars an hour. What draws on a quota is ranked with this on top: its
    /// units could save money elsewhere.
    tolls: Vec<f64>,
}

/// A unit of a quota is ranked as worth this share of what it saves at best, even where there is plenty: equals are then
/// bought with as few units as will do.
const LEAST_TOLL: f64 = 1e-3;

impl Budget {
    pub(crate) fn of(model: &Model<'_>) -> Self {
        Self::at(model, model.problem)
    }

    /// What is left at another moment, which has the same pools and quotas.
    pub(crate) fn at(model: &Model<'_>, now: &Problem) -> Self {
        let pools = &now.pools;
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
            quotas: now.quotas.iter().map(|quota| quota.units).collect(),
            tolls: least_tolls(model),
        }
    }

    /// As if no pool had limits. Quotas are as they are.
    pub(crate) fn unlimited(model: &Model<'_>) -> Self {
        let pools = model.problem.pools.len();
        Self { left: vec![Vec::new(); pools], nodes: vec![None; pools], ..Self::of(model) }
    }

    /// Whether any pool has a limit, or kinds that quotas may use up.
    pub(crate) fn binds(&self, model: &Model<'_>) -> bool {
        (0..self.left.len()).any(|pool| self.limits(PoolId::of(pool)))
            || model.kinds.kinds.iter().any(|kind| kind.rationed)
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
        for (quota, units) in &kind.draws {
            most = most.min(self.quotas[*quota as usize].max(0) / (*units).max(1));
        }
        most as u32
    }

    /// Whether the limits allow one bin of kind `other` in place of one of kind `own` that is bought already.
    pub(crate) fn allows_instead(&self, model: &Model<'_>, own: &Kind, other: &Kind) -> bool {
        let capacity = |kind: &Kind| &model.problem.types[kind.instance_type.index()].capacity;
        self.left[own.pool.index()].iter().all(|(id, left)| {
            let more = capacity(other).get(*id).saturating_sub(capacity(own).get(*id));
            more <= 0 || more <= *left
        }) && self.spent(own, other).is_none()
    }

    /// How many of `most` bins of kind `own`, bought already, the limits allow to become ones of kind `other`.
    pub(crate) fn swaps(&self, model: &Model<'_>, own: &Kind, other: &Kind, most: u32) -> u32 {
        if own.pool != other.pool {
            return self.allows(model, other).min(most);
        }
        let capacity = |kind: &Kind| &model.problem.types[kind.instance_type.index()].capacity;
        let mut swaps = i64::from(most);
        for (id, left) in &self.left[own.pool.index()] {
            let more = capacity(other).get(*id).saturating_sub(capacity(own).get(*id));
            if more > 0 {
                swaps = swaps.min((*left).max(0) / more);
            }
        }
        for (quota, units) in &other.draws {
            let back = own.draws.iter().find(|(q, _)| q == quota).map_or(0, |(_, units)| *units);
            let more = units.saturating_sub(back);
            if more > 0 {
                swaps = swaps.min(self.quotas[*quota as usize].max(0) / more);
            }
        }
        swaps as u32
    }

    /// The quota that has too little for one bin of kind `other` once one of kind `own` is given back.
    pub(crate) fn spent(&self, own: &Kind, other: &Kind) -> Option<u32> {
        let lacks = |(quota, units): &&(u32, i64)| {
            let back = own.draws.iter().find(|(q, _)| q == quota).map_or(0, |(_, units)| *units);
            units.saturating_sub(back) > self.quotas[*quota as usize]
        };
        other.draws.iter().find(lacks).map(|(quota, _)| *quota)
    }

    /// Units left of a quota.
    pub(crate) fn units(&self, quota: u32) -> i64 {
        self.quotas[quota as usize]
    }

    /// Says what a unit of each quota is worth, in micro-dollars an hour.
    pub(crate) fn value(&mut self, model: &Model<'_>, tolls: &[f64]) {
        for ((toll, least), value) in self.tolls.iter_mut().zip(least_tolls(model)).zip(tolls) {
            *toll = if value.is_finite() { value.max(least) } else { least };
        }
    }

    /// What a bin of a kind is ranked by: its price, and what the units are worth that it draws. Never zero, so that
    /// it can be divided by.
    pub(crate) fn weight(&self, kind: &Kind) -> f64 {
        let tolls = kind.draws.iter().map(|(quota, units)| self.tolls[*quota as usize] * *units as f64);
        (kind.price as f64 + tolls.sum::<f64>()).max(1.0)
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
        let draws = kind.draws.iter().filter(|_| kind.rationed);
        let drawn = draws.map(|(quota, units)| *units as f64 / self.units(*quota).max(1) as f64);
        shares.chain(drawn).fold(of_nodes, f64::max)
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
        for (quota, units) in &kind.draws {
            let left = &mut self.quotas[*quota as usize];
            *left = left.saturating_sub(units.saturating_mul(copies));
        }
    }
}

/// By quota: a small part of what a unit saves at best.
fn least_tolls(model: &Model<'_>) -> Vec<f64> {
    let mut best = vec![0f64; model.problem.quotas.len()];
    for kind in model.kinds.kinds.iter().filter(|kind| !kind.draws.is_empty()) {
        let offering = &model.problem.types[kind.instance_type.index()].offerings[kind.offering as usize];
        for (quota, units) in &kind.draws {
            let saved = offering.rebate.micros() as f64 / (*units).max(1) as f64;
            best[*quota as usize] = best[*quota as usize].max(saved);
        }
    }
    best.into_iter().map(|saved| saved * LEAST_TOLL).collect()
}
