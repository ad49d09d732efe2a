//! Mending a packing: cheaper bins for what is in them, and bad bins taken apart.

use std::collections::{HashMap, HashSet};

use crate::host_rule::HostState;
use crate::kind::Kind;
use crate::model::{Model, copies};
use crate::pack::construct::{Thrift, construct};
use crate::pack::fill::Filler;
use crate::pack::route::{self, Routes};
use crate::pack::useful::{Menu, Useful};
use crate::pack::{Bins, Budget, Incumbent, Pattern, Shelf, add_to};
use crate::stock::Stock;
use crate::variety::Kept;

/// Puts each pattern in the cheapest useful kind that holds it.
pub(crate) fn downsize(
    model: &Model<'_>,
    stock: &Stock,
    useful: &[Useful],
    budget: &mut Budget,
    incumbent: &mut Incumbent,
) {
    for bins in &mut incumbent.bins {
        let load = load(model, stock, &bins.pattern);
        let price = model.kinds.kinds[bins.kind as usize].price;
        // Useful kinds stand in order of price: the first that holds the pattern is the cheapest.
        let better =
            useful.iter().take_while(|u| model.kinds.kinds[u.kind as usize].price < price).find(|u| {
                let kind = &model.kinds.kinds[u.kind as usize];
                let room = &model.kinds.shapes[kind.shape as usize].room;
                load.iter().zip(room).all(|(need, have)| need <= have)
                    && bins.pattern.iter().all(|(item, _)| u.holds(stock.items[*item as usize].lot))
                    && budget.allows(model, kind) >= bins.copies
                    && model.is_varied(u.kind, classes(stock, &bins.pattern))
            });
        if let Some(better) = better {
            budget.take(model, &model.kinds.kinds[bins.kind as usize], -i64::from(bins.copies));
            budget.take(model, &model.kinds.kinds[better.kind as usize], i64::from(bins.copies));
            bins.kind = better.kind;
        }
    }
}

/// Puts each pattern in the smallest kind that costs the same: a type that is bigger for nothing may be hard to get, takes more
/// of what limits leave, and is the dearer one as soon as prices move.
///
/// What is useful does not say: of two kinds at one price, packing looks at the bigger one only.
pub(crate) fn shrink(model: &Model<'_>, stock: &Stock, budget: &mut Budget, incumbent: &mut Incumbent) {
    let kinds = &model.kinds.kinds;
    let at_price = |of: &Kind| (of.variant, of.price);
    let bought: HashSet<_> = incumbent.bins.iter().map(|bins| at_price(&kinds[bins.kind as usize])).collect();
    let mut alike = HashMap::<(u32, i64), Vec<u32>>::new();
    for (at, kind) in kinds.iter().enumerate().filter(|(_, kind)| bought.contains(&at_price(kind))) {
        alike.entry(at_price(kind)).or_default().push(at as u32);
    }
    let room = |kind: u32| &model.kinds.shapes[kinds[kind as usize].shape as usize].room;
    let within = |a: &[i64], b: &[i64]| a.iter().zip(b).all(|(a, b)| a <= b);
    let size = |kind: u32| room(kind).iter().map(|have| ((*have).max(0) as f64).ln_1p()).sum::<f64>();
    for bins in &mut incumbent.bins {
        let own = &kinds[bins.kind as usize];
        let load = load(model, stock, &bins.pattern);
        let mut smaller: Vec<u32> = alike[&at_price(own)].clone();
        smaller.retain(|kind| {
            let less = within(room(*kind), room(bins.kind)) && room(*kind) != room(bins.kind);
            less && kinds[*kind as usize].draws == own.draws && within(&load, room(*kind))
        });
        smaller.sort_by(|a, b| size(*a).total_cmp(&size(*b)).then(a.cmp(b)));
        let fitting = smaller.into_iter().find(|kind| {
            bins.pattern.iter().all(|(item, _)| stock.kinds(*item).contains(*kind as usize))
                && budget.swaps(model, own, &kinds[*kind as usize], bins.copies) == bins.copies
                && model.is_varied(*kind, classes(stock, &bins.pattern))
        });
        if let Some(kind) = fitting {
            budget.take(model, own, -i64::from(bins.copies));
            budget.take(model, &kinds[kind as usize], i64::from(bins.copies));
            bins.kind = kind;
        }
    }
    incumbent.tidy();
}

/// Takes the worst bins apart, fills the holes of the others with their pods, and packs the rest anew. Keeps the
/// outcome if it is cheaper and says so. `routes` says what may leave for machines of its own.
#[expect(clippy::too_many_arguments, reason = "see construct")]
pub(crate) fn repack_worst(
    model: &Model<'_>,
    stock: &Stock,
    menu: Menu<'_>,
    values: &[f64],
    budget: &mut Budget,
    incumbent: &mut Incumbent,
    share: f64,
    routes: Routes,
    filler: &mut Filler,
) -> bool {
    let worth = |bins: &Bins| {
        stock.worth(&bins.pattern, values) / budget.weight(&model.kinds.kinds[bins.kind as usize])
    };
    let mut kept = std::mem::take(&mut incumbent.bins);
    let before = kept.clone();
    kept.sort_by(|a, b| {
        worth(a).total_cmp(&worth(b)).then_with(|| (a.kind, &a.pattern).cmp(&(b.kind, &b.pattern)))
    });
    let total: u32 = kept.iter().map(|b| b.copies).sum();
    let mut cut = ((f64::from(total) * share).ceil() as u32).clamp(1, total.max(1));
    let mut apart: Vec<Bins> = Vec::new();
    for bins in &mut kept {
        let copies = bins.copies.min(cut);
        if copies > 0 {
            apart.push(Bins { copies, ..bins.clone() });
        }
        bins.copies -= copies;
        cut -= copies;
    }
    kept.retain(|b| b.copies > 0);
    let mut trial_budget = budget.clone();
    // Pods on routes come along for holes; those that find none go back.
    let mut trial = Incumbent { bins: kept, routed: incumbent.routed.clone(), left: incumbent.left.clone() };
    let routed_before = route::recall(&mut trial);
    let mut freed = stock.routed(&routed_before);
    for bins in &apart {
        let kind = &model.kinds.kinds[bins.kind as usize];
        trial_budget.take(model, kind, -i64::from(bins.copies));
        freed += kind.price * i64::from(bins.copies);
        for (item, count) in &bins.pattern {
            trial.left[*item as usize] += count * bins.copies;
        }
    }
    plug(model, stock, menu.whole, &mut trial);
    route::restore(routed_before, &mut trial);
    let left = std::mem::take(&mut trial.left);
    let mut rest = construct(model, stock, menu.thin, left, values, Thrift::Money, &mut trial_budget, filler);
    rest.routed = std::mem::take(&mut trial.routed);
    downsize(model, stock, menu.whole, &mut trial_budget, &mut rest);
    if routes > Routes::Kept {
        route::trim(model, stock, menu.whole, &mut trial_budget, &mut rest, &mut filler.steps);
    }
    if routes == Routes::Settled {
        route::settle(stock, &mut rest);
    }
    if rest.unpacked() > incumbent.unpacked()
        || rest.unpacked() == incumbent.unpacked() && rest.cost(model, stock) >= freed
    {
        incumbent.bins = before;
        return false;
    }
    trial.bins.append(&mut rest.bins);
    (trial.routed, trial.left) = (rest.routed, rest.left);
    trial.tidy();
    *incumbent = trial;
    *budget = trial_budget;
    true
}

/// Fills holes of bins with what is left, biggest pods first.
pub(crate) fn plug(model: &Model<'_>, stock: &Stock, useful: &[Useful], trial: &mut Incumbent) {
    let mut shelf = Shelf::new(stock, std::mem::take(&mut trial.left));
    let mut order: Vec<u32> = (0..stock.lots.len() as u32).filter(|lot| shelf.total(*lot) > 0).collect();
    let size = |lot: u32| stock.lots[lot as usize].need.iter().fold(0.0, |s, n| s + (*n as f64).ln_1p());
    order.sort_by(|a, b| size(*b).total_cmp(&size(*a)).then(a.cmp(b)));
    let by_kind: HashMap<u32, &Useful> = useful.iter().map(|u| (u.kind, u)).collect();
    // Equal bins are plugged alike as far as the pods last; the others of the group come round again.
    let mut waiting = std::mem::take(&mut trial.bins);
    waiting.reverse();
    while let Some(mut bins) = waiting.pop() {
        let kind = &model.kinds.kinds[bins.kind as usize];
        let full = load(model, stock, &bins.pattern);
        let room = &model.kinds.shapes[kind.shape as usize].room;
        let mut room: Vec<i64> = room.iter().zip(full).map(|(have, used)| have - used).collect();
        let mut state: Option<HostState> = None;
        let mut kept: Option<Kept> = None;
        for &lot in &order {
            let need = &stock.lots[lot as usize].need;
            let holds = |kind: u32| by_kind.get(&kind).is_some_and(|u| u.holds(lot));
            if shelf.total(lot) == 0 || copies(need, &room) == 0 || !holds(bins.kind) {
                continue;
            }
            let state = state.get_or_insert_with(|| {
                let mut state = HostState::default();
                for (item, count) in &bins.pattern {
                    model.rules.add(stock.items[*item as usize].class, *count, &mut state);
                }
                state
            });
            if kept.is_none() {
                kept = model.keep_with(bins.kind, classes(stock, &bins.pattern));
            }
            let mut at = 0;
            while let Some(&item) = shelf.of_lot(lot).get(at) {
                let class = stock.items[item as usize].class;
                let left = shelf.left[item as usize];
                let fit = copies(need, &room);
                if fit == 0 {
                    break;
                }
                let most = fit.min(left).min(model.rules.allowance(class, state));
                let most = kept.as_ref().map_or(most, |kept| model.most_varied(kept, class, most));
                let Some(alike) = left.checked_div(most) else {
                    at += 1;
                    continue;
                };
                let alike = alike.min(bins.copies);
                if alike < bins.copies {
                    waiting.push(Bins { copies: bins.copies - alike, ..bins.clone() });
                    bins.copies = alike;
                }
                model.rules.add(class, most, state);
                if let Some(kept) = &mut kept {
                    model.join(kept, class, most);
                }
                shelf.take(stock, item, most * alike);
                for (room, need) in room.iter_mut().zip(need) {
                    *room -= need * i64::from(most);
                }
                add_to(&mut bins.pattern, item, most);
                // An item used up has left the shelf, and the next stands in its place.
                at += usize::from(shelf.left[item as usize] > 0);
            }
        }
        trial.bins.push(bins);
    }
    trial.left = shelf.left;
}

/// The pods of a pattern by class or team.
pub(crate) fn classes(stock: &Stock, pattern: &Pattern) -> impl Iterator<Item = (u32, u32)> {
    pattern.iter().map(|(item, count)| (stock.items[*item as usize].class, *count))
}

/// What a pattern takes, by dimension.
pub(crate) fn load(model: &Model<'_>, stock: &Stock, pattern: &Pattern) -> Vec<i64> {
    model.load(classes(stock, pattern))
}
