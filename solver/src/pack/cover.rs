//! What is paid for already goes where it saves most.
//!
//! Constructions spend quotas as they go, led by what a unit is thought to be worth. Once all bins are known it is plain
//! what each would cost without: so all of them give their units back, and get them again in the order of what a unit saves,
//! in a few orders of which the best counts. A bin may become another type on the way, where that takes fewer units.
//!
//! # Invariants
//! - No pod moves, and no pod is let go: bins that can be had with a quota only keep it.
//! - The cost never rises.

use crate::model::Model;
use crate::pack::improve::{classes, load};
use crate::pack::useful::Useful;
use crate::pack::{Bins, Budget, Incumbent};
use crate::stock::Stock;

/// So many kinds of each quota are looked at for a bin, those that save most for a unit.
const LOOKED_AT: usize = 4;

/// A way to cover a group of equal bins.
struct Cover {
    at: usize,
    kind: u32,
    /// Micro-dollars an hour for each bin.
    saves: i64,
    /// What that is for each unit of the quota that it takes most of.
    density: f64,
    /// Of how many groups the quota could cover bins: those that fewest can use go first.
    users: usize,
}

/// Spends quotas anew on the bins of a packing.
pub(crate) fn cover(
    model: &Model<'_>,
    stock: &Stock,
    useful: &[Useful],
    budget: &mut Budget,
    incumbent: &mut Incumbent,
) {
    let kinds = &model.kinds.kinds;
    if !useful.iter().any(|u| !kinds[u.kind as usize].draws.is_empty()) {
        return;
    }
    let mut bare = budget.clone();
    let mut bins = incumbent.bins.clone();
    let mut covers = Vec::new();
    for (at, of) in bins.iter_mut().enumerate() {
        let load = load(model, stock, &of.pattern);
        let holds = |u: &&Useful| {
            let room = &model.kinds.shapes[kinds[u.kind as usize].shape as usize].room;
            load.iter().zip(room).all(|(need, have)| need <= have)
                && of.pattern.iter().all(|(item, _)| u.holds(stock.items[*item as usize].lot))
                && model.is_varied(u.kind, classes(stock, &of.pattern))
        };
        let holding: Vec<u32> = useful.iter().filter(holds).map(|u| u.kind).collect();
        if !kinds[of.kind as usize].draws.is_empty() {
            bare.take(model, &kinds[of.kind as usize], -i64::from(of.copies));
            let without = holding.iter().copied().find(|kind| {
                let kind = &kinds[*kind as usize];
                kind.draws.is_empty() && bare.allows(model, kind) >= of.copies
            });
            let kind = without.unwrap_or(of.kind);
            bare.take(model, &kinds[kind as usize], i64::from(of.copies));
            of.kind = kind;
        }
        // Whatever can be had with a quota only, has it already.
        if kinds[of.kind as usize].draws.is_empty() {
            covers.extend(ways(model, &holding, at, of.kind));
        }
    }
    count_users(model, &mut covers);
    let drain = |bins: &[Bins]| -> f64 {
        let weights = bins.iter().map(|b| bare.weight(&kinds[b.kind as usize]) * f64::from(b.copies));
        weights.sum()
    };
    let cost = |bins: &[Bins]| -> i64 {
        bins.iter().map(|b| kinds[b.kind as usize].price * i64::from(b.copies)).sum()
    };
    let mut best: Option<(i64, f64, Vec<Bins>, Budget)> = None;
    for order in 0..3u8 {
        covers.sort_by(|a, b| {
            let dense = || b.density.total_cmp(&a.density).then(b.saves.cmp(&a.saves));
            let first = match order {
                0 => a.users.cmp(&b.users).then_with(dense),
                1 => dense(),
                _ => b.saves.cmp(&a.saves).then_with(|| a.users.cmp(&b.users)).then_with(dense),
            };
            first.then(a.at.cmp(&b.at)).then(a.kind.cmp(&b.kind))
        });
        let mut left = bare.clone();
        let mut open: Vec<u32> = bins.iter().map(|b| b.copies).collect();
        let mut covered = Vec::new();
        for way in &covers {
            let (own, other) = (&kinds[bins[way.at].kind as usize], &kinds[way.kind as usize]);
            let copies = left.swaps(model, own, other, open[way.at]);
            left.take(model, own, -i64::from(copies));
            left.take(model, other, i64::from(copies));
            open[way.at] -= copies;
            if copies > 0 {
                covered.push(Bins { kind: way.kind, copies, ..bins[way.at].clone() });
            }
        }
        covered.extend(bins.iter().zip(open).map(|(of, copies)| Bins { copies, ..of.clone() }));
        covered.retain(|of| of.copies > 0);
        let key = (cost(&covered), drain(&covered));
        if best.as_ref().is_none_or(|(c, d, ..)| key.0 < *c || key.0 == *c && key.1 < *d) {
            best = Some((key.0, key.1, covered, left));
        }
    }
    let before = (cost(&incumbent.bins), drain(&incumbent.bins));
    if let Some((cost, drain, bins, left)) = best
        && (cost < before.0 || cost == before.0 && drain < before.1)
    {
        incumbent.bins = bins;
        *budget = left;
        incumbent.tidy();
    }
}

/// The best ways to cover bins of a kind, among those kinds that hold them.
fn ways(model: &Model<'_>, holding: &[u32], at: usize, own: u32) -> Vec<Cover> {
    let kinds = &model.kinds.kinds;
    let mut ways: Vec<Cover> = Vec::new();
    for &kind in holding.iter().filter(|kind| !kinds[**kind as usize].draws.is_empty()) {
        let saves = kinds[own as usize].price - kinds[kind as usize].price;
        let units = kinds[kind as usize].draws.iter().map(|(_, units)| *units).max().unwrap_or(1);
        if saves > 0 {
            ways.push(Cover { at, kind, saves, density: saves as f64 / units.max(1) as f64, users: 0 });
        }
    }
    ways.sort_by(|a, b| b.density.total_cmp(&a.density).then(a.kind.cmp(&b.kind)));
    let mut seen = vec![0usize; model.problem.quotas.len()];
    ways.retain(|way| {
        let quota = kinds[way.kind as usize].draws[0].0 as usize;
        seen[quota] += 1;
        seen[quota] <= LOOKED_AT
    });
    ways
}

fn count_users(model: &Model<'_>, covers: &mut [Cover]) {
    let quota = |cover: &Cover| model.kinds.kinds[cover.kind as usize].draws[0].0 as usize;
    let mut users = vec![0usize; model.problem.quotas.len()];
    let mut last = vec![usize::MAX; users.len()];
    for cover in covers.iter() {
        if std::mem::replace(&mut last[quota(cover)], cover.at) != cover.at {
            users[quota(cover)] += 1;
        }
    }
    for cover in covers {
        cover.users = users[quota(cover)];
    }
}
