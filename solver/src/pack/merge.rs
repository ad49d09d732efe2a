//! Two bins into one: what neither filling bins one by one nor taking a few of them apart finds.
//!
//! A bin is bought for its value for money, so three pods that go two to a small one come to two small ones, though one of
//! twice the size would be cheaper for all three. Fractions of bins hide it from the master, too: one and a half small ones
//! are cheapest of all. With many bins that is a trifle; with few it is the plan.

use crate::host_rule::HostState;
use crate::model::Model;
use crate::pack::improve::{classes, load};
use crate::pack::useful::Useful;
use crate::pack::{Bins, Budget, Incumbent, Pattern, add_to};
use crate::stock::Stock;

/// Of so many groups of equal bins, those that are worth least for their price, every two are held against every kind.
const MOST: usize = 48;

/// Two groups of bins, one of each of which fits into one of `kind`.
struct Merger {
    saves: i64,
    groups: (usize, usize),
    kind: u32,
    pattern: Pattern,
}

/// Puts the pods of two bins into one that costs less than both, as long as there are such, the best first. What that took, in
/// steps.
pub(crate) fn merge(
    model: &Model<'_>,
    stock: &Stock,
    useful: &[Useful],
    values: &[f64],
    budget: &mut Budget,
    incumbent: &mut Incumbent,
) -> u64 {
    let mut steps = 0;
    for _ in 0..MOST {
        let Some(Merger { groups: (a, b), kind, pattern, .. }) =
            best(model, stock, useful, values, budget, incumbent, &mut steps)
        else {
            break;
        };
        for group in [a, b] {
            let bins = &mut incumbent.bins[group];
            bins.copies -= 1;
            budget.take(model, &model.kinds.kinds[bins.kind as usize], -1);
        }
        budget.take(model, &model.kinds.kinds[kind as usize], 1);
        incumbent.bins.push(Bins { kind, pattern, copies: 1 });
        incumbent.tidy();
    }
    steps
}

/// The two bins whose merger saves the most.
fn best(
    model: &Model<'_>,
    stock: &Stock,
    useful: &[Useful],
    values: &[f64],
    budget: &Budget,
    incumbent: &Incumbent,
    steps: &mut u64,
) -> Option<Merger> {
    let bins = &incumbent.bins;
    let price = |kind: u32| model.kinds.kinds[kind as usize].price;
    let ratio = |at: usize| stock.worth(&bins[at].pattern, values) / (price(bins[at].kind) as f64).max(1.0);
    let mut worst: Vec<usize> = (0..bins.len()).collect();
    worst.sort_by(|a, b| ratio(*a).total_cmp(&ratio(*b)).then(a.cmp(b)));
    worst.truncate(MOST);
    let loads: Vec<Vec<i64>> = worst.iter().map(|at| load(model, stock, &bins[*at].pattern)).collect();
    let mut found: Option<Merger> = None;
    for (i, a) in worst.iter().enumerate() {
        for (j, b) in worst.iter().enumerate().skip(i) {
            if a == b && bins[*a].copies < 2 {
                continue;
            }
            let both = price(bins[*a].kind) + price(bins[*b].kind);
            let saved = found.as_ref().map_or(0, |known| known.saves);
            let room = |kind: u32| &model.kinds.shapes[model.kinds.kinds[kind as usize].shape as usize].room;
            let fits = |kind: u32| {
                loads[i].iter().zip(&loads[j]).zip(room(kind)).all(|((a, b), have)| a + b <= *have)
            };
            // Useful kinds stand in order of price.
            let cheaper = useful.iter().take_while(|u| both - price(u.kind) > saved);
            let mut tried = 0;
            let holds = |u: &&Useful| {
                tried += 1;
                let (one, other) = (&bins[*a].pattern, &bins[*b].pattern);
                fits(u.kind)
                    && one.iter().chain(other).all(|(item, _)| u.holds(stock.items[*item as usize].lot))
            };
            let candidate = cheaper.filter(holds).find_map(|u| {
                let pattern = together(model, stock, &bins[*a].pattern, &bins[*b].pattern)?;
                let allowed = budget.allows(model, &model.kinds.kinds[u.kind as usize]) > 0
                    && model.is_varied(u.kind, classes(stock, &pattern));
                allowed.then_some((u.kind, pattern))
            });
            *steps += tried / 8 + 1;
            if let Some((kind, pattern)) = candidate {
                found = Some(Merger { saves: both - price(kind), groups: (*a, *b), kind, pattern });
            }
        }
    }
    found
}

/// Two patterns as one, or `None` where the rules between pods of one host keep them apart.
fn together(model: &Model<'_>, stock: &Stock, one: &Pattern, other: &Pattern) -> Option<Pattern> {
    let mut pattern = one.clone();
    for (item, count) in other {
        add_to(&mut pattern, *item, *count);
    }
    let mut state = HostState::default();
    let agree = pattern.iter().all(|(item, count)| {
        let class = stock.items[*item as usize].class;
        let allowed = model.rules.allowance(class, &state) >= *count;
        model.rules.add(class, *count, &mut state);
        allowed
    });
    agree.then_some(pattern)
}
