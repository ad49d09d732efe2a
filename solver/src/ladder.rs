//! The ladder of a solve: each rung improves on the one before.
//!
//! ```text
//! fold into classes ─▶ deal over domains ─▶ fill what exists ─▶ bound ─▶ construct ─▶ improve ─▶ columns ─▶ hand out
//! ```

use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use crate::diversity::diversify;
use crate::hand_out::hand_out;
use crate::memory::Memory;
use crate::model::Model;
use crate::money::Price;
use crate::pack::Budget;
use crate::problem::{PoolId, Problem};
use crate::search::{Outcome, Search};
use crate::solution::{Solution, Stats, Status};
use crate::topology::{Caps, Dealt, deal};
use crate::{Options, Progress, stage};

/// After this many deals that could not be carried out, the classes concerned stay unplaced.
const ATTEMPTS: u64 = 12;

/// Plans `problem`; the result is not verified yet.
pub(crate) fn climb(
    problem: &Problem,
    options: &Options,
    memory: &mut Memory,
    cancel: &AtomicBool,
    progress: Progress<'_>,
) -> Solution {
    progress(stage::FOLDING, 0, problem.pods.len() as u64);
    let mut model = Model::build(problem);
    let mut caps = Caps::new();
    let mut attempt = 0;
    let (dealt, outcome) = loop {
        progress(stage::DEALING, attempt, ATTEMPTS);
        let dealt = deal(&mut model, &caps);
        let outcome = Search::new(&model, &dealt, options, memory, cancel).run(progress);
        attempt += 1;
        // Pods dealt to a domain that could not hold them leave their rule unbalanced: deal again, knowing better.
        if !learn(&mut caps, &dealt, &outcome.incumbent.left, attempt >= ATTEMPTS) {
            break (dealt, outcome);
        }
    };
    let Outcome { placed, mut incumbent, bound, mut budget, useful_kinds, steps } = outcome;
    let wanted = options.diversity.as_ref();
    let premium = wanted.map_or(0, |w| diversify(&model, &dealt.stock, w, &mut budget, &mut incumbent));
    let cost = incumbent.cost(&model);
    let mut solution = Solution {
        cost: Price::from_micros(cost),
        bound: Price::from_micros(bound.min(cost)),
        premium: Price::from_micros(premium),
        stats: Stats {
            classes: model.classes.classes.len(),
            kinds: model.kinds.kinds.len(),
            useful_kinds,
            steps,
        },
        ..Solution::default()
    };
    solution.status = match solution.gap() {
        gap if gap <= 1e-6 => Status::Optimal,
        gap if gap <= options.gap => Status::WithinGap,
        _ => Status::BudgetSpent,
    };
    progress(stage::HANDING_OUT, 0, problem.pods.len() as u64);
    hand_out(&model, &dealt, &placed, &incumbent, &budget, &mut solution);
    solution
}

/// Lowers the cap of each domain that was dealt more than it could hold; of the whole class when `final_attempt`.
/// Whether there was any.
fn learn(caps: &mut Caps, dealt: &Dealt, left: &[u32], final_attempt: bool) -> bool {
    let mut learnt = false;
    for (item, left) in dealt.stock.items.iter().zip(left) {
        let domain = &dealt.stock.lots[item.lot as usize].domain;
        if domain.is_empty() || *left == 0 {
            continue;
        }
        learnt = true;
        caps.insert((item.class, Rc::clone(domain)), item.count - left);
        if final_attempt {
            // Nothing converges: better a pod unplaced, with a reason, than a rule broken.
            for other in dealt.stock.items.iter().filter(|other| other.class == item.class) {
                let domain = &dealt.stock.lots[other.lot as usize].domain;
                caps.insert((other.class, Rc::clone(domain)), 0);
            }
        }
    }
    learnt
}

/// Whether any pool of this weight has a limit.
pub(crate) fn tier_is_limited(model: &Model<'_>, weight: i32) -> bool {
    let budget = Budget::of(model);
    (0..model.problem.pools.len())
        .any(|pool| model.problem.pools[pool].weight == weight && budget.limits(PoolId::of(pool)))
}
