//! The resource bound: pods may be cut up and poured into bins, so only resources matter, and which kinds a class may
//! use.
//!
//! Its dual is a price λ for each unit of each resource, one vector for each group of kinds that take the same
//! classes, such that no kind's room is worth more than the kind costs:
//!
//! ```text
//! λ_g · room_k ≤ price_k + Σ_b units_kb · t_b      for every kind k of group g
//! y_c = min λ_g · request_c                        over the groups g that take class c, and at most its route's price
//! bound = Σ count_c · y_c − Σ_nodes (the most that pods on that existing node can be worth) − Σ_b units_b · t_b
//! ```
//!
//! `t_b ≥ 0` is a toll on each unit of quota `b`: kinds that draw on it are let be worth more than they cost, and all that
//! the quota could be worth so is taken off. For given λ the best toll of a quota is the least that makes the inequalities
//! hold, and is worked out exactly.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use good_lp::{Expression, Solution as _, SolverModel, clarabel, constraint, variable, variables};

use super::knapsack::worth;
use super::{Open, Part, Relaxation, SCALE, kind, lp_steps, takes};
use crate::model::{Model, copies};

/// Of the LP, relative.
const TOLERANCE: f64 = 1e-5;
/// Groups with so much in common of what they sell together share one λ: the first of these with which the LP is small
/// enough, and where none is, all groups share one. Still a bound, a looser one, in good time.
const ALIKE: [f64; 4] = [0.8, 0.5, 0.25, 0.1];
/// The most multiplications of an iteration of the LP: tenths of a second for the whole LP.
const MOST_WORK: usize = 25_000_000;

/// A group of kinds that take the same parts.
struct Group<'r> {
    kinds: Vec<&'r Open>,
    parts: Vec<u32>,
}

/// The bound and what it consists of.
#[derive(Default)]
pub(crate) struct ResourcePrices {
    /// What any set of new nodes holding the same pods costs at least, in 2⁻⁴⁰ micro-dollars an hour.
    pub(crate) bound: i128,
    /// By part: what each dimension of its need is priced at, in 2⁻⁴⁰ micro-dollars.
    /// Zero where it is its route's price that counts.
    pub(crate) of_parts: Vec<Vec<i128>>,
    /// By part: what one is worth by its route's price, likewise; zero where it is worth less on nodes, or has no route.
    pub(crate) of_routes: Vec<i128>,
    /// What pods on existing nodes are worth at most, likewise.
    pub(crate) existing: i128,
    /// By quota: what a unit is worth, likewise.
    pub(crate) of_quotas: Vec<i128>,
    /// What all units of quotas are worth, likewise.
    pub(crate) quotas: i128,
    /// Work done.
    pub(crate) steps: u64,
}

impl ResourcePrices {
    /// By quota: what a unit is worth, in micro-dollars an hour.
    pub(crate) fn tolls(&self) -> Vec<f64> {
        self.of_quotas.iter().map(|toll| *toll as f64 / SCALE as f64).collect()
    }
}

/// What any set of new nodes holding the same pods costs at least, in 2⁻⁴⁰ micro-dollars an hour.
pub(crate) fn resource_bound(model: &Model<'_>, relaxed: &Relaxation) -> i128 {
    resource_prices(model, relaxed).bound
}

/// The same, with the prices that prove it.
pub(crate) fn resource_prices(model: &Model<'_>, relaxed: &Relaxation) -> ResourcePrices {
    if relaxed.kinds.is_empty() && relaxed.parts.iter().all(|part| part.route.is_none()) {
        return ResourcePrices::default();
    }
    let dims = model.kinds.dims.len() + relaxed.allowed.len();
    let together = || {
        let kinds = relaxed.kinds.iter().collect();
        vec![Group { kinds, parts: (0..relaxed.parts.len() as u32).collect() }]
    };
    let small = |groups: &Vec<Group<'_>>| work(groups, dims) <= MOST_WORK;
    let mut apart = ALIKE.iter().map(|share| groups(model, relaxed, *share));
    let groups = apart.find(small).unwrap_or_else(together);
    let Some((prices, tolls)) = propose(model, &groups, relaxed, dims) else {
        return ResourcePrices::default();
    };
    let exact: Vec<Vec<i128>> = groups.iter().zip(prices).map(|(g, p)| make_exact(model, g, &p)).collect();
    let tolls = exact_tolls(model, &groups, &exact, &tolls);
    let steps = lp_steps(work(&groups, dims));
    ResourcePrices { steps, ..total(model, &groups, &exact, tolls, relaxed) }
}

/// Multiplications of an iteration of the LP, about: what rows have in common, and the prices of all groups among each other.
fn work(groups: &[Group<'_>], dims: usize) -> usize {
    let rows: usize = groups.iter().map(|group| group.kinds.len() + group.parts.len()).sum();
    rows * (dims + 1).pow(2) + (groups.len() * dims).pow(3) / 3
}

/// Kinds grouped by the parts that they take. Groups that sell about the same, as zones do, become one with the parts and
/// kinds of all: one λ for each has a fraction of the rows, and where the same is sold it proves nearly as much.
fn groups<'r>(model: &Model<'_>, relaxed: &'r Relaxation, share: f64) -> Vec<Group<'r>> {
    let mut by_parts = BTreeMap::<&[u32], Vec<&'r Open>>::new();
    for open in &relaxed.kinds {
        by_parts.entry(&open.parts).or_default().push(open);
    }
    let mut all: Vec<Group<'r>> =
        by_parts.into_iter().map(|(parts, kinds)| Group { kinds, parts: parts.to_vec() }).collect();
    // The largest first: what is sold in few places joins what is sold in many.
    all.sort_by(|a, b| b.kinds.len().cmp(&a.kinds.len()).then_with(|| a.parts.cmp(&b.parts)));
    let mut merged: Vec<(Vec<Ware<'r>>, Group<'r>)> = Vec::new();
    for group in all {
        let wares = wares(model, &group);
        match merged.iter_mut().find(|(other, _)| alike(other, &wares, share)) {
            None => merged.push((wares, group)),
            Some((_, host)) => {
                host.kinds.extend(group.kinds);
                host.parts.extend(group.parts);
                host.parts.sort_unstable();
                host.parts.dedup();
            }
        }
    }
    merged.into_iter().map(|(_, group)| group).collect()
}

/// What a bin is to a bound: price and room.
type Ware<'r> = (i64, &'r [i64]);

/// What a group sells, sorted.
fn wares<'r>(model: &Model<'_>, group: &Group<'r>) -> Vec<Ware<'r>> {
    let mut wares: Vec<Ware<'r>> =
        group.kinds.iter().map(|open| (kind(model, open.kind).price, open.room.as_slice())).collect();
    wares.sort_unstable();
    wares.dedup();
    wares
}

/// Whether two lists have this share of everything in common.
fn alike(a: &[Ware<'_>], b: &[Ware<'_>], share: f64) -> bool {
    let common = b.iter().filter(|ware| a.binary_search(ware).is_ok()).count();
    common as f64 >= share * (a.len() + b.len() - common) as f64
}

/// λ for each group and dimension, in micro-dollars for each base unit, and the toll of each quota for a unit.
type Proposal = (Vec<Vec<f64>>, Vec<f64>);

/// Parts that need the same and are taken by the same groups: to the LP they are one. Zones that sell alike are one group,
/// and what a spread rule ties to each of them is folded with what it ties to the others.
struct Fold<'r> {
    /// One of them.
    part: &'r Part,
    pods: f64,
    /// Whether any group takes it.
    taken: bool,
}

/// All folds, and by part the one that it is in.
struct Folded<'r> {
    of_part: Vec<usize>,
    folds: Vec<Fold<'r>>,
}

fn fold<'r>(groups: &[Group<'_>], parts: &'r [Part]) -> Folded<'r> {
    let mut groups_of = vec![Vec::new(); parts.len()];
    for (at, group) in groups.iter().enumerate() {
        group.parts.iter().for_each(|part| groups_of[*part as usize].push(at));
    }
    let mut ids = HashMap::<(&[i64], Option<i64>, &[usize]), usize>::new();
    let mut folded = Folded { of_part: Vec::with_capacity(parts.len()), folds: Vec::new() };
    for (part, groups) in parts.iter().zip(&groups_of) {
        let id = *ids.entry((part.need(), part.route, groups)).or_insert(folded.folds.len());
        if id == folded.folds.len() {
            folded.folds.push(Fold { part, pods: 0.0, taken: !groups.is_empty() });
        }
        folded.folds[id].pods += f64::from(part.count);
        folded.of_part.push(id);
    }
    folded
}

/// λ and tolls from an LP; nearly feasible.
fn propose(model: &Model<'_>, groups: &[Group<'_>], relaxed: &Relaxation, dims: usize) -> Option<Proposal> {
    if groups.is_empty() {
        return Some((Vec::new(), vec![0.0; model.problem.quotas.len()]));
    }
    let parts = &relaxed.parts;
    let Folded { of_part, folds } = fold(groups, parts);
    // Scaled so that every coefficient is around one: bytes and devices differ by twelve orders of magnitude.
    let unit: Vec<f64> = (0..dims)
        .map(|d| {
            let rooms = groups.iter().flat_map(|g| &g.kinds).map(|k| k.room[d]);
            rooms.max().unwrap_or(1).max(1) as f64
        })
        .collect();
    let top =
        groups.iter().flat_map(|g| &g.kinds).map(|k| kind(model, k.kind).price).max().unwrap_or(1).max(1)
            as f64;
    let pods: f64 = parts.iter().map(|p| f64::from(p.count)).sum();
    variables! { vars: }
    let lambda: Vec<Vec<_>> =
        groups.iter().map(|_| (0..dims).map(|_| vars.add(variable().min(0))).collect()).collect();
    let worth: Vec<_> = folds.iter().map(|_| vars.add(variable().min(0))).collect();
    let mut objective: Expression = worth.iter().zip(&folds).map(|(y, fold)| *y * (fold.pods / pods)).sum();
    // A toll is for the whole quota here, so that sizes of units do not matter.
    let quotas: Vec<f64> = (0..model.problem.quotas.len()).map(|q| relaxed.units(model, q) as f64).collect();
    let tolls: Vec<_> = quotas.iter().map(|_| vars.add(variable().min(0))).collect();
    for toll in &tolls {
        objective -= *toll * (1.0 / pods);
    }
    let mut lp = vars.maximise(objective).using(clarabel);
    // Loose: what comes out is scaled to exactness anyway, and loses about as much as the tolerance.
    lp.settings().tol_gap_rel(TOLERANCE).tol_gap_abs(TOLERANCE).tol_feas(TOLERANCE);
    for (group, lambda) in groups.iter().zip(&lambda) {
        let mut wares = BTreeSet::new();
        for k in &group.kinds {
            // The same at the same price in several zones says the same.
            let of_kind = kind(model, k.kind);
            if !wares.insert((of_kind.price, k.room.as_slice(), of_kind.draws.as_slice())) {
                continue;
            }
            let value: Expression = (0..dims).map(|d| lambda[d] * (k.room[d].max(0) as f64 / unit[d])).sum();
            let drawn = of_kind.draws.iter().filter(|(quota, _)| quotas[*quota as usize] >= 1.0);
            let drawn: Expression = drawn
                .map(|(quota, units)| tolls[*quota as usize] * (*units as f64 / quotas[*quota as usize]))
                .sum();
            lp.add_constraint(constraint!(value - drawn <= of_kind.price as f64 / top));
        }
        let inside: BTreeSet<usize> = group.parts.iter().map(|part| of_part[*part as usize]).collect();
        for fold in inside {
            let need = &folds[fold].part.need;
            let cost: Expression = (0..dims).map(|d| lambda[d] * (need[d] as f64 / unit[d])).sum();
            lp.add_constraint(constraint!(worth[fold] <= cost));
        }
    }
    for (fold, y) in folds.iter().zip(&worth) {
        // A part that no group takes is on existing nodes only: worth nothing here.
        if !fold.taken {
            lp.add_constraint(constraint!(*y <= 0.0));
        }
        if let Some(route) = fold.part.route {
            lp.add_constraint(constraint!(*y <= route as f64 / top));
        }
    }
    let solved = lp.solve().ok()?;
    let value = |v| {
        let x: f64 = solved.value(v);
        if x.is_finite() { x.max(0.0) } else { 0.0 }
    };
    let tolls = tolls.iter().zip(&quotas).map(|(toll, units)| value(*toll) * top / units.max(1.0)).collect();
    Some((lambda.iter().map(|l| (0..dims).map(|d| value(l[d]) * top / unit[d]).collect()).collect(), tolls))
}

/// λ as integers of 1 / [`SCALE`] micro-dollars, such that no kind of the group is worth more than its price, those that
/// draw on quotas aside.
fn make_exact(model: &Model<'_>, group: &Group<'_>, prices: &[f64]) -> Vec<i128> {
    let mut exact: Vec<i128> = prices.iter().map(|p| (p * SCALE as f64).min(1e30) as i128).collect();
    for k in group.kinds.iter().filter(|k| kind(model, k.kind).draws.is_empty()) {
        let limit = i128::from(kind(model, k.kind).price) * SCALE;
        let value = worth(&exact, &k.room);
        if value > limit {
            for price in &mut exact {
                // Rounds down, so the sum does too.
                *price = scale_down(*price, limit, value);
            }
        }
    }
    exact
}

/// The toll of each quota for a unit, likewise: the least that lets every kind that draws on it be worth what it is, those
/// of the other quotas being as they are.
fn exact_tolls(model: &Model<'_>, groups: &[Group<'_>], exact: &[Vec<i128>], proposed: &[f64]) -> Vec<i128> {
    let mut tolls: Vec<i128> =
        proposed.iter().map(|toll| (toll * SCALE as f64).clamp(0.0, 1e30) as i128).collect();
    for quota in 0..tolls.len() {
        let mut least = 0;
        for (group, prices) in groups.iter().zip(exact) {
            for k in &group.kinds {
                let kind = kind(model, k.kind);
                let Some((_, units)) = kind.draws.iter().find(|(q, _)| *q as usize == quota) else {
                    continue;
                };
                let others = kind.draws.iter().filter(|(q, _)| *q as usize != quota);
                let others = others.map(|(q, units)| tolls[*q as usize].saturating_mul(i128::from(*units)));
                let covered = others.fold(i128::from(kind.price) * SCALE, i128::saturating_add);
                let lacks = worth(prices, &k.room).saturating_sub(covered).max(0);
                let units = i128::from(*units).max(1);
                least = least.max(lacks / units + i128::from(lacks % units > 0));
            }
        }
        tolls[quota] = least;
    }
    tolls
}

/// `price · limit / value`, rounded down, without overflow.
fn scale_down(price: i128, limit: i128, value: i128) -> i128 {
    match price.checked_mul(limit) {
        Some(product) => product / value,
        // Both are far above 2^40 then: dropping 40 bits of each still rounds down and loses nothing that shows.
        None => (price / SCALE).saturating_mul(limit / SCALE) / (value / SCALE + 1) * SCALE,
    }
}

/// Σ count · y − Σ what existing nodes can hold for nothing − Σ units · toll.
fn total(
    model: &Model<'_>,
    groups: &[Group<'_>],
    exact: &[Vec<i128>],
    of_quotas: Vec<i128>,
    relaxed: &Relaxation,
) -> ResourcePrices {
    let parts = &relaxed.parts;
    // By part: its value, and the group where it is that.
    let mut value: Vec<Option<(i128, usize)>> = vec![None; parts.len()];
    let mut highest = vec![0i128; model.kinds.dims.len() + relaxed.allowed.len()];
    for (at, (group, prices)) in groups.iter().zip(exact).enumerate() {
        for part in &group.parts {
            let y = worth(prices, &parts[*part as usize].need);
            let known = &mut value[*part as usize];
            *known = Some(known.map_or((y, at), |k| k.min((y, at))));
        }
        for (highest, price) in highest.iter_mut().zip(prices) {
            *highest = (*highest).max(*price);
        }
    }
    let dims = highest.len();
    // What one is worth on its route, where that is less than on nodes.
    let by_route = |(part, value): (&Part, &Option<(i128, usize)>)| {
        let route = part.route.map(|route| i128::from(route) * SCALE);
        route.filter(|route| value.is_none_or(|(y, _)| *route < y))
    };
    let by_route: Vec<Option<i128>> = parts.iter().zip(&value).map(by_route).collect();
    let unpriced: Vec<bool> = value.iter().map(Option::is_none).collect();
    // A part that no group takes is on existing nodes only, or on its route: on nodes it is worth nothing here.
    let of_node = |(v, route): (&Option<(i128, usize)>, &Option<i128>)| match (v, route) {
        (Some((_, group)), None) => exact[*group].clone(),
        _ => vec![0; dims],
    };
    let of_parts = value.iter().zip(&by_route).map(of_node).collect();
    let value: Vec<i128> = value
        .into_iter()
        .zip(&by_route)
        .map(|(v, route)| route.unwrap_or_else(|| v.map_or(0, |(y, _)| y)))
        .collect();
    let of_routes = by_route.into_iter().map(Option::unwrap_or_default).collect();
    let sum: i128 = parts.iter().zip(&value).map(|(p, y)| i128::from(p.count).saturating_mul(*y)).sum();
    let mut existing = 0i128;
    for (at, node) in model.problem.nodes.iter().enumerate() {
        let room = relaxed.node_room(model, at);
        // Of parts that have prices of resources, and of those that have none, by which no room is worth anything.
        let mut alone = [0i128; 2];
        for ((part, value), unpriced) in
            parts.iter().zip(&value).zip(&unpriced).filter(|((_, value), _)| **value > 0)
        {
            if takes(model, node, part) {
                let most = copies(&part.need, &room).min(part.count);
                let alone = &mut alone[usize::from(*unpriced)];
                *alone = alone.saturating_add(i128::from(most).saturating_mul(*value));
            }
        }
        existing = existing.saturating_add(alone[0].min(worth(&highest, &room)).saturating_add(alone[1]));
    }
    let of_quota = |(quota, toll): (usize, &i128)| toll.saturating_mul(relaxed.units(model, quota).into());
    let quotas = of_quotas.iter().enumerate().map(of_quota).fold(0, i128::saturating_add);
    let bound = sum.saturating_sub(existing).saturating_sub(quotas).max(0);
    ResourcePrices { bound, of_parts, of_routes, existing, of_quotas, quotas, steps: 0 }
}
