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
    let mut single: Vec<Bins> = Vec::new();
    for bins in &incumbent.bins {
        single.extend((0..bins.copies).map(|_| Bins { copies: 1, ..bins.clone() }));
    }
    single.sort_by(|a, b| {
        worth(a).total_cmp(&worth(b)).then_with(|| (a.kind, &a.pattern).cmp(&(b.kind, &b.pattern)))
    });
    let cut = ((single.len() as f64 * share).ceil() as usize).clamp(1, single.len());
    let kept = single.split_off(cut);
    let mut trial_budget = budget.clone();
    let mut trial = Incumbent { bins: kept, left: incumbent.left.clone() };
    let mut freed = 0;
    for bins in &single {
        let kind = &model.kinds.kinds[bins.kind as usize];
        trial_budget.take(model, kind, -1);
        freed += kind.price;
        for (item, count) in &bins.pattern {
            trial.left[*item as usize] += count;
        }
    }
    plug(model, items, useful, &mut trial);
    let left = std::mem::take(&mut trial.left);
    let mut rest = construct(model, items, useful, &left, values, Thrift::Money, &mut trial_budget, filler);
    downsize(model, items, useful, &mut trial_budget, &mut rest);
    if rest.unpacked() > incumbent.unpacked()
        || rest.unpacked() == incumbent.unpacked() && rest.cost(model) >= freed
    {
        return false;
    }
    trial.bins.append(&mut rest.bins);
    trial.left = rest.left;
    trial.tidy();
    *incumbent = trial;
    *budget = trial_budget;
    true
}

/// Fills holes of single bins with what is left, biggest pods first.
fn plug(model: &Model<'_>, items: &[Item], useful: &[Useful], trial: &mut Incumbent) {
    let mut order: Vec<u32> = (0..items.len() as u32).filter(|i| trial.left[*i as usize] > 0).collect();
    let size = |item: u32| {
        model.requests[items[item as usize].class as usize].iter().fold(0.0, |s, n| s + (*n as f64).ln_1p())
    };
    order.sort_by(|a, b| size(*b).total_cmp(&size(*a)).then(a.cmp(b)));
    let by_kind: HashMap<u32, &Useful> = useful.iter().map(|u| (u.kind, u)).collect();
    let holds =
        |kind: u32, item: u32| by_kind.get(&kind).is_some_and(|u| u.items.binary_search(&item).is_ok());
    for bins in &mut trial.bins {
        let kind = &model.kinds.kinds[bins.kind as usize];
        let full = load(model, items, &bins.pattern);
        let room = &model.kinds.shapes[kind.shape as usize].room;
        let mut room: Vec<i64> = room.iter().zip(full).map(|(have, used)| have - used).collect();
        let mut state: Option<HostState> = None;
        for &item in &order {
            let class = items[item as usize].class;
            let most =
                crate::model::copies(&model.requests[class as usize], &room).min(trial.left[item as usize]);
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
            if most > 0 {
                model.rules.add(class, most, state);
                trial.left[item as usize] -= most;
                for (room, need) in room.iter_mut().zip(&model.requests[class as usize]) {
                    *room -= need * i64::from(most);
                }
                add_to(&mut bins.pattern, item, most);
            }
        }
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
