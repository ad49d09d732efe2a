//! The bin kinds worth a look: those that no other kind beats.
//!
//! A kind is beaten by one that is no dearer, draws no more on any quota, has no less room of anything, and takes every pod
//! that it takes. Zones
//! that no pod tells apart fall together this way, and so do most of the 1,340 instance types.

use std::collections::{BTreeMap, HashMap};

use fixedbitset::FixedBitSet;

use crate::kind::Kind;
use crate::model::Model;
use crate::pack::Budget;

/// A kind, and the lots that it can hold.
#[derive(Clone, Debug)]
pub(crate) struct Useful {
    pub(crate) kind: u32,
    /// Positions of those that ask, ascending.
    pub(crate) lots: Vec<u32>,
}

impl Useful {
    /// Whether the kind can hold a lot.
    pub(crate) fn holds(&self, lot: u32) -> bool {
        self.lots.binary_search(&lot).is_ok()
    }
}

/// What asks for a bin: pods of one size, and the kinds that they may use.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) need: &'a [i64],
    pub(crate) kinds: &'a FixedBitSet,
}

/// Finds the kinds that are not beaten, cheapest first, among those with something to hold.
pub(crate) fn useful(model: &Model<'_>, asking: &[Asking<'_>], budget: &Budget) -> Vec<Useful> {
    let total = model.kinds.kinds.len();
    // Those with the same set of kinds are one gate: labels are looked at once for each.
    let mut ids = HashMap::<&FixedBitSet, usize>::new();
    let mut gates = Vec::<(&FixedBitSet, Vec<u32>)>::new();
    for (at, lot) in asking.iter().enumerate() {
        let id = *ids.entry(lot.kinds).or_insert_with(|| {
            gates.push((lot.kinds, Vec::new()));
            gates.len() - 1
        });
        gates[id].1.push(at as u32);
    }
    let mut by_signature = BTreeMap::<(Vec<u32>, Option<u32>), Vec<u32>>::new();
    for at in 0..total {
        let signature: Vec<u32> =
            (0..gates.len()).filter(|g| gates[*g].0.contains(at)).map(|g| g as u32).collect();
        let kind = &model.kinds.kinds[at];
        if !signature.is_empty() && budget.allows(model, kind) > 0 {
            let apart = budget.limits(kind.pool) || model.variety.concerns(kind);
            let limited = apart.then_some(kind.pool.0);
            by_signature.entry((signature, limited)).or_default().push(at as u32);
        }
    }
    let mut fronts: Vec<(Vec<u32>, Option<u32>, Vec<u32>)> = Vec::new();
    for ((signature, limited), mut kinds) in by_signature {
        kinds.sort_by_key(|k| (model.kinds.kinds[*k as usize].price, *k));
        let mut front: Vec<u32> = Vec::new();
        for kind in kinds {
            if !front.iter().any(|other| beats(model, budget, *other, kind)) {
                front.push(kind);
            }
        }
        fronts.push((signature, limited, front));
    }
    let mut out = Vec::new();
    for (signature, _, front) in &fronts {
        // Of equals in both groups the wider one stays, so nothing is lost to a tie.
        let wider: Vec<&(Vec<u32>, Option<u32>, Vec<u32>)> = fronts
            .iter()
            .filter(|(other, limited, _)| {
                limited.is_none() && other.len() > signature.len() && subset(signature, other)
            })
            .collect();
        for kind in front {
            if wider.iter().any(|(_, _, front)| front.iter().any(|other| beats(model, budget, *other, *kind)))
            {
                continue;
            }
            let room = &model.kinds.shapes[model.kinds.kinds[*kind as usize].shape as usize].room;
            let fits = |lot: &u32| asking[*lot as usize].need.iter().zip(room).all(|(n, r)| n <= r);
            let mut lots: Vec<u32> =
                signature.iter().flat_map(|g| &gates[*g as usize].1).copied().filter(fits).collect();
            if !lots.is_empty() {
                lots.sort_unstable();
                out.push(Useful { kind: *kind, lots });
            }
        }
    }
    out.sort_by_key(|u| (model.kinds.kinds[u.kind as usize].price, u.kind));
    out
}

/// What can be bought.
#[derive(Clone, Copy)]
pub(crate) struct Menu<'a> {
    /// Every useful kind, cheapest first.
    pub(crate) whole: &'a [Useful],
    /// Those to build from.
    pub(crate) thin: &'a [Useful],
}

/// A menu this long is worth thinning.
const LONG_MENU: usize = 300;
/// Kinds nearer to each other than this, in price and in what a dollar buys, are near enough alike: 6 %.
const NEAR: f64 = 1.06;

/// Of a long menu, kinds that differ by more than a few percent: enough to build from, as whatever was built moves to the
/// cheapest kind of the whole menu that holds it. `None` where the menu is short.
pub(crate) fn thinned(model: &Model<'_>, menu: &[Useful], budget: &Budget) -> Option<Vec<Useful>> {
    if menu.len() <= LONG_MENU {
        return None;
    }
    let near = |a: f64, b: f64| a <= b * NEAR && b <= a * NEAR;
    let alike = |a: &Useful, b: &Useful| {
        let (ka, kb) = (&model.kinds.kinds[a.kind as usize], &model.kinds.kinds[b.kind as usize]);
        let quotas = |kind: &Kind| kind.draws.iter().map(|(quota, _)| *quota).collect::<Vec<u32>>();
        if quotas(ka) != quotas(kb) {
            return false;
        }
        let (pa, pb) = (budget.weight(ka), budget.weight(kb));
        let rooms = model.kinds.shapes[ka.shape as usize].room.iter();
        let mut rooms = rooms.zip(&model.kinds.shapes[kb.shape as usize].room);
        near(pa, pb) && rooms.all(|(a, b)| near(*a as f64 / pa, *b as f64 / pb))
    };
    let mut last = HashMap::<&[u32], Vec<usize>>::new();
    let mut thin = Vec::new();
    for (at, useful) in menu.iter().enumerate() {
        // The menu stands by price: only kinds kept lately can be near.
        let kept = last.entry(&useful.lots).or_default();
        if !kept.iter().rev().take(8).any(|other| alike(&menu[*other], useful)) {
            kept.push(at);
            thin.push(useful.clone());
        }
    }
    Some(thin)
}

fn subset(a: &[u32], b: &[u32]) -> bool {
    a.iter().all(|x| b.binary_search(x).is_ok())
}

/// Whether kind `a` makes kind `b` pointless for the same items. Kinds of pools with limits, or whose nodes must keep a wide
/// choice, are only held against others of their pool.
fn beats(model: &Model<'_>, budget: &Budget, a: u32, b: u32) -> bool {
    let (ka, kb) = (&model.kinds.kinds[a as usize], &model.kinds.kinds[b as usize]);
    let (ra, rb) = (&model.kinds.shapes[ka.shape as usize].room, &model.kinds.shapes[kb.shape as usize].room);
    let frugal = ka
        .draws
        .iter()
        .all(|(quota, units)| kb.draws.iter().any(|(other, least)| quota == other && units <= least));
    let bigger = ka.price <= kb.price && frugal && ra.iter().zip(rb).all(|(a, b)| a >= b);
    if !bigger || !budget.limits(ka.pool) {
        return bigger;
    }
    let capacity = |k: &Kind| &model.problem.types[k.instance_type.index()].capacity;
    let limits = &model.problem.pools[ka.pool.index()].limits;
    ka.pool == kb.pool && limits.iter().all(|(id, _)| capacity(ka).get(*id) <= capacity(kb).get(*id))
}
