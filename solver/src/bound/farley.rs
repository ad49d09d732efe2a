//! Farley's bound, part by part: from any prices of the parts, true whatever the prices.
//!
//! If no pattern of a kind is worth more than θ times what the kind costs, then with the prices of all its parts divided by
//! θ it is worth what it costs at most. So each part's price y is divided by the largest θ of the kinds that take it, and
//! pods worth `Σ count · y / θ` cannot be had for less. (Farley 1990 divides all prices by the largest θ of all; one kind
//! that is hard to prove then spoils the bound for everybody.) The y are the dual prices of column generation, rounded to
//! integers; the most that a pattern is worth comes from [`super::knapsack`], proven. Existing nodes cost nothing, so the
//! most that pods on them can be worth is taken off.
//!
//! Kinds that draw on quotas count as if a toll was paid on each unit, in both θ and price, and all that tolls could come to
//! is taken off: `Σ count · y / θ − Σ units · toll`.
//!
//! A pattern found to be worth more than its kind costs is a column that greedy pricing missed, and goes back to it.

use std::collections::HashMap;

use good_lp::{Expression, Solution as _, SolverModel, clarabel, constraint, variable, variables};

use super::knapsack::{Thing, priced_bound, search, worth};
use super::{Part, Relaxation, SCALE, kind, lp_steps, takes};
use crate::model::{Model, copies};

/// Values, and λ times a room, stay below this ($4,000 an hour), so that products fit.
const MOST: i128 = 1 << 72;
/// Branch-and-bound nodes for one kind; and for one more once these prices cannot raise the bound any more, when only
/// patterns are looked for.
const NODES: u64 = 20_000;
const HOPELESS_NODES: u64 = 500;
/// So many kinds are looked at once these prices cannot raise the bound any more.
const HOPELESS_KINDS: u32 = 100;
/// A pattern worth less than this part above its price is not worth finding: a twentieth of a percent.
const NEGLIGIBLE: i128 = 2_000;

/// A bound, and patterns that the prices forgot.
pub(crate) struct Proof {
    /// In 2⁻⁴⁰ micro-dollars an hour.
    pub(crate) bound: i128,
    /// (kind, [(part, count)]) worth more than the kind costs.
    pub(crate) missed: Vec<(u32, Vec<(u32, u32)>)>,
    /// Work done.
    pub(crate) steps: u64,
}

/// A part as something to put into room, where that has any and it is worth something.
fn thing<'p>(parts: &'p [Part], part: u32, values: &[i128], caps: &[u32], room: &[i64]) -> Option<Thing<'p>> {
    let need = parts[part as usize].need.as_slice();
    let most = caps[part as usize].min(copies(need, room));
    let value = values[part as usize];
    (most > 0 && value > 0).then_some(Thing { part, value, need, most })
}

/// The bound that prices of the parts and of units of quotas, `values` and `tolls` (micro-dollars an hour), give; of interest
/// only above `known`.
pub(crate) fn farley_bound(
    model: &Model<'_>,
    relaxed: &Relaxation,
    values: &[f64],
    tolls: &[f64],
    known: i64,
) -> Proof {
    let mut proof = Proof { bound: 0, missed: Vec::new(), steps: 0 };
    let tolls: Vec<i128> = tolls.iter().map(|toll| fixed(*toll)).collect();
    let toll = |(quota, toll): (usize, &i128)| toll.saturating_mul(relaxed.units(model, quota).into());
    let paid = tolls.iter().enumerate().map(toll).fold(0, i128::saturating_add);
    let parts = &relaxed.parts;
    // A route is a bin that holds one: worth no more than it costs, whatever the nodes say.
    let capped = |value: i128, part: &Part| part.route.map_or(value, |r| value.min(i128::from(r) * SCALE));
    let exact: Vec<i128> = values.iter().zip(parts).map(|(v, part)| capped(fixed(*v), part)).collect();
    let caps: Vec<u32> = parts.iter().map(|p| p.count.min(p.together)).collect();
    let things = |values: &[i128], inside: &mut dyn Iterator<Item = u32>, room: &[i64]| {
        inside.filter_map(|part| thing(parts, part, values, &caps, room)).collect::<Vec<Thing<'_>>>()
    };
    let mut lambdas: Vec<Vec<i128>> = Vec::new();
    let mut cache = HashMap::<(u32, &[u32]), usize>::new();
    // By part: one over the largest θ of its kinds, as a fixed-point number; `None` until some kind takes it.
    let mut shares: Vec<Option<i128>> = vec![None; parts.len()];
    // Kinds still to come and existing nodes can only take away from this.
    let hopeless = |shares: &[Option<i128>]| {
        let part = |((y, p), share): ((&i128, &Part), &Option<i128>)| {
            scaled(*y, share.unwrap_or(SCALE).min(SCALE)) * i128::from(p.count)
        };
        let sum = exact.iter().zip(parts).zip(shares).map(part).sum::<i128>();
        sum.saturating_sub(paid) / SCALE <= i128::from(known)
    };
    let (mut limit, mut more) = (NODES, HOPELESS_KINDS);
    for open in &relaxed.kinds {
        let of = kind(model, open.kind);
        let tolled =
            of.draws.iter().map(|(quota, units)| tolls[*quota as usize].saturating_mul(i128::from(*units)));
        let price = tolled.fold(i128::from(of.price) * SCALE, i128::saturating_add);
        let room = open.room.as_slice();
        let inside = things(&exact, &mut open.parts.iter().copied(), room);
        if inside.is_empty() {
            continue;
        }
        if price >= MOST {
            // One dearer than the arithmetic allows is left to the other bound.
            return proof;
        }
        let held: Vec<u32> = inside.iter().map(|t| t.part).collect();
        if price <= 0 {
            // A free kind holds anything for nothing.
            for part in &held {
                shares[*part as usize] = Some(0);
            }
            continue;
        }
        let alike = (kind(model, open.kind).shape, open.parts.as_slice());
        let target = price + price / NEGLIGIBLE;
        // Neighbours' prices of room often do, and save an LP.
        let known = lambdas.iter().map(|l| priced_bound(&inside, room, l)).min();
        let verdict = if known.is_some_and(|bound| bound <= target) {
            target
        } else {
            if limit <= HOPELESS_NODES {
                if more == 0 {
                    return proof;
                }
                more -= 1;
            }
            let size = inside.len() as u64;
            let lambda = *cache.entry(alike).or_insert_with(|| {
                lambdas.push(room_prices(&inside, room));
                proof.steps += size * lp_steps((room.len() + 1).pow(2) * 16);
                lambdas.len() - 1
            });
            let lambda = &lambdas[lambda];
            let verdict = search(inside, room, lambda, target, limit);
            // A node looks at all that could go in.
            proof.steps += verdict.steps * (1 + size / 8);
            if let Some(pattern) = verdict.found {
                proof.missed.push((open.kind, pattern));
            }
            verdict.bound
        };
        let share = (price << 40) / verdict.max(1);
        for part in &held {
            let known = &mut shares[*part as usize];
            *known = Some(known.map_or(share, |s| s.min(share)));
        }
        if verdict > target && limit > HOPELESS_NODES && hopeless(&shares) {
            limit = HOPELESS_NODES;
        }
    }
    // A part that no kind takes is on existing nodes only, and worth nothing here, or on its route.
    let alone = |part: &Part| if part.route.is_some() { SCALE } else { 0 };
    let lowered = exact.iter().zip(parts).zip(&shares);
    let lowered: Vec<i128> = lowered
        .map(|((y, part), share)| capped(scaled(*y, share.unwrap_or_else(|| alone(part))), part))
        .collect();
    let mut sum: i128 = lowered.iter().zip(parts).map(|(y, p)| y * i128::from(p.count)).sum();
    for (at, node) in model.problem.nodes.iter().enumerate() {
        let room = relaxed.node_room(model, at);
        let mut admitted = (0..exact.len() as u32).filter(|p| takes(model, node, &parts[*p as usize]));
        let inside = things(&lowered, &mut admitted, &room);
        let alone: i128 = inside.iter().map(|t| t.value * i128::from(t.most)).sum();
        let priced = lambdas.iter().map(|l| priced_bound(&inside, &room, l)).min();
        sum -= alone.min(priced.unwrap_or(alone));
    }
    sum = sum.saturating_sub(paid);
    proof.bound = sum.max(0);
    proof
}

/// `value · share`, rounded down; a share is a fixed-point number of at most sixteen.
fn scaled(value: i128, share: i128) -> i128 {
    (value * share.clamp(0, SCALE << 4)) >> 40
}

fn fixed(value: f64) -> i128 {
    let scaled = value * SCALE as f64;
    if scaled.is_finite() { (scaled as i128).clamp(0, MOST / 64) } else { 0 }
}

/// Prices of a bin's room that make it worth least: the dual of the knapsack's LP, rounded.
fn room_prices(things: &[Thing<'_>], room: &[i64]) -> Vec<i128> {
    let dims = room.len();
    let unit: Vec<f64> = room.iter().map(|r| (*r).max(1) as f64).collect();
    let top = things.iter().map(|t| t.value as f64).fold(1.0, f64::max);
    variables! { vars: }
    let lambda: Vec<_> = (0..dims).map(|_| vars.add(variable().min(0))).collect();
    let over: Vec<_> = things.iter().map(|_| vars.add(variable().min(0))).collect();
    let mut total: Expression = lambda.iter().map(|l| *l * 1.0).sum();
    for (thing, over) in things.iter().zip(&over) {
        total += *over * f64::from(thing.most);
    }
    let mut lp = vars.minimise(total).using(clarabel);
    for (thing, over) in things.iter().zip(&over) {
        let taken: Expression = (0..dims).map(|d| lambda[d] * (thing.need[d] as f64 / unit[d])).sum();
        lp.add_constraint(constraint!(taken + *over >= thing.value as f64 / top));
    }
    let Ok(solved) = lp.solve() else { return vec![0; dims] };
    let exact = (0..dims).map(|d| {
        let price = solved.value(lambda[d]).max(0.0) * top / unit[d];
        let most = MOST / 64 / i128::from(room[d].max(1));
        if price.is_finite() { (price as i128).clamp(0, most) } else { 0 }
    });
    let exact: Vec<i128> = exact.collect();
    debug_assert!(worth(&exact, room) < MOST);
    exact
}
