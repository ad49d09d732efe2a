//! Mending a packing: cheaper bins for what is in them, and bad bins taken apart.

use std::collections::HashMap;

use crate::host_rule::HostState;
use crate::model::Model;
use crate::pack::construct::{Thrift, construct};
use crate::pack::fill::Filler;
use crate::pack::useful::Useful;
use crate::pack::{Bins, Budget, Incumbent, Pattern, add_to};
use crate::topology::Item;

/// Puts each pattern in the cheapest useful kind that holds it.
pub(crate) fn downsize(
    model: &Model<'_>,
    items: &[Item],
    useful: &[Useful],
    budget: &mut Budget,
    incumbent: &mut Incumbent,
) {
    for bins in &mut incumbent.bins {
        let load = load(model, items, &bins.pattern);
        let price = model.kinds.kinds[bins.kind as usize].price;
        // Useful kinds stand in order of price: the first that holds the pattern is the cheapest.
        let better =
            useful.iter().take_while(|u| model.kinds.kinds[u.kind as usize].price < price).find(|u| {
                let kind = &model.kinds.kinds[u.kind as usize];
                let room = &model.kinds.shapes[kind.shape as usize].room;
                load.iter().zip(room).all(|(need, have)| need <= have)
                    && bins.pattern.iter().all(|(item, _)| u.items.binary_search(item).is_ok())
                    && budget.allows(model, kind) >= bins.copies
            });
        if let Some(better) = better {
            budget.take(model, &model.kinds.kinds[bins.kind as usize], -i64::from(bins.copies));
            budget.take(model, &model.kinds.kinds[better.kind as usize], i64::from(bins.copies));
            bins.kind = better.kind;
        }
    }
}

/// Takes the worst bins apart, fills the holes of the others with their pods, and packs the rest anew. Keeps the
/// outcome if it is cheaper and says so.
#[expect(clippy::too_many_arguments, reason = "see construct")]
pub(crate) fn repack_worst(
    model: &Model<'_>,
    items: &[Item],
    useful: &[Useful],
    values: &[f64],
    budget: &mut Budget,
    incumbent: &mut Incumbent,
    share: f64,
    filler: &mut Filler,
) -> bool {
    let worth = |bins: &Bins| {
        let value: f64 = bins.pattern.iter().map(|(i, n)| values[*i as usize] * f64::from(*n)).sum();
        value / model.kinds.kinds[bins.kind as usize].price.max(1) as f64
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
    let mut trial = Incumbent { bins: kept, left: incumbent.left.clone() };
    let mut freed = 0;
    for bins in &apart {
        let kind = &model.kinds.kinds[bins.kind as usize];
        trial_budget.take(model, kind, -i64::from(bins.copies));
        freed += kind.price * i64::from(bins.copies);
        for (item, count) in &bins.pattern {
            trial.left[*item as usize] += count * bins.copies;
        }
    }
    plug(model, items, useful, &mut trial);
    let left = std::mem::take(&mut trial.left);
    let mut rest = construct(model, items, useful, &left, values, Thrift::Money, &mut trial_budget, filler);
    downsize(model, items, useful, &mut trial_budget, &mut rest);
    if rest.unpacked() > incumbent.unpacked()
        || rest.unpacked() == incumbent.unpacked() && rest.cost(model) >= freed
    {
        incumbent.bins = before;
        return false;
    }
    trial.bins.append(&mut rest.bins);
    trial.left = rest.left;
    trial.tidy();
    *incumbent = trial;
    *budget = trial_budget;
    true
}

/// Fills holes of bins with what is left, biggest pods first.
fn plug(model: &Model<'_>, items: &[Item], useful: &[Useful], trial: &mut Incumbent) {
    let mut order: Vec<u32> = (0..items.len() as u32).filter(|i| trial.left[*i as usize] > 0).collect();
    let size = |item: u32| {
        model.requests[items[item as usize].class as usize].iter().fold(0.0, |s, n| s + (*n as f64).ln_1p())
    };
    order.sort_by(|a, b| size(*b).total_cmp(&size(*a)).then(a.cmp(b)));
    let by_kind: HashMap<u32, &Useful> = useful.iter().map(|u| (u.kind, u)).collect();
    let holds =
        |kind: u32, item: u32| by_kind.get(&kind).is_some_and(|u| u.items.binary_search(&item).is_ok());
    // Equal bins are plugged alike as far as the pods last; the others of the group come round again.
    let mut waiting = std::mem::take(&mut trial.bins);
    waiting.reverse();
    while let Some(mut bins) = waiting.pop() {
        let kind = &model.kinds.kinds[bins.kind as usize];
        let full = load(model, items, &bins.pattern);
        let room = &model.kinds.shapes[kind.shape as usize].room;
        let mut room: Vec<i64> = room.iter().zip(full).map(|(have, used)| have - used).collect();
        let mut state: Option<HostState> = None;
        for &item in &order {
            let class = items[item as usize].class;
            let left = trial.left[item as usize];
            let most = crate::model::copies(&model.requests[class as usize], &room).min(left);
            if most == 0 || !holds(bins.kind, item) {
                continue;
            }
            let state = state.get_or_insert_with(|| {
                let mut state = HostState::default();
                for (item, count) in &bins.pattern {
                    model.rules.add(items[*item as usize].class, *count, &mut state);
                }
                state
            });
            let most = most.min(model.rules.allowance(class, state));
            if let Some(alike) = left.checked_div(most) {
                let alike = alike.min(bins.copies);
                if alike < bins.copies {
                    waiting.push(Bins { copies: bins.copies - alike, ..bins.clone() });
                    bins.copies = alike;
                }
                model.rules.add(class, most, state);
                trial.left[item as usize] -= most * alike;
                for (room, need) in room.iter_mut().zip(&model.requests[class as usize]) {
                    *room -= need * i64::from(most);
                }
                add_to(&mut bins.pattern, item, most);
            }
        }
        trial.bins.push(bins);
    }
}

/// What a pattern takes, by dimension.
pub(crate) fn load(model: &Model<'_>, items: &[Item], pattern: &Pattern) -> Vec<i64> {
    let mut load = vec![0i64; model.kinds.dims.len()];
    for (item, count) in pattern {
        for (load, need) in load.iter_mut().zip(&model.requests[items[*item as usize].class as usize]) {
            *load += need * i64::from(*count);
        }
    }
    load
}
