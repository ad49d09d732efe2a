//! The ladder of a solve: each rung improves on the one before.
//!
//! ```text
//! fold into classes ─▶ deal over domains ─▶ fill what exists ─▶ bound ─▶ construct ─▶ improve ─▶ columns ─▶ hand out
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use crate::arrangement::Arrangement;
use crate::bound::{Relaxation, resource_bound};
use crate::diversity::diversify;
use crate::hand_out::hand_out;
use crate::late::admit;
use crate::memory::Memory;
use crate::model::Model;
use crate::money::Price;
use crate::pack::Budget;
use crate::pack::improve::shrink;
use crate::problem::{PoolId, Problem};
use crate::search::{Outcome, Search};
use crate::solution::{Solution, Stats, Status};
use crate::stock::Domain;
use crate::topology::{Caps, Dealt, deal};
use crate::{Effort, Options, Progress, stage, verify};

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
    climbed(problem, options, memory, true, cancel, progress)
}

/// The same with quick effort, nothing proven and nothing to choose from: for plans of which only the packing counts.
pub(crate) fn pack(problem: &Problem, max_steps: u64, cancel: &AtomicBool) -> Solution {
    let options = Options { effort: Effort::Quick, max_steps, ..Options::default() };
    climbed(problem, &options, &mut Memory::default(), false, cancel, &mut |_, _, _| {})
}

fn climbed(
    problem: &Problem,
    options: &Options,
    memory: &mut Memory,
    proving: bool,
    cancel: &AtomicBool,
    progress: Progress<'_>,
) -> Solution {
    progress(stage::FOLDING, 0, problem.pods.len() as u64);
    let mut model = Model::build(problem);
    let mut caps = Caps::new();
    let (mut attempt, mut spent) = (0, 0);
    let (dealt, outcome) = loop {
        progress(stage::DEALING, attempt, ATTEMPTS);
        let dealt = deal(&mut model, &caps);
        let left = options.after(spent);
        let mut search = Search::new(&model, &dealt, &left, memory, cancel);
        search.proving = proving;
        let outcome = search.run(progress);
        attempt += 1;
        spent += outcome.steps;
        // Pods dealt to a domain that could not hold them leave their rule unbalanced: deal again, knowing better.
        if !learn(&model, &mut caps, &dealt, &outcome.incumbent.left, attempt >= ATTEMPTS) {
            break (dealt, outcome);
        }
    };
    let Outcome { placed, mut incumbent, bound, mut budget, stages, useful_kinds, .. } = outcome;
    shrink(&model, &dealt.stock, &mut budget, &mut incumbent);
    let wanted = options.diversity.as_ref();
    let premium = wanted.map_or(0, |w| diversify(&model, &dealt.stock, w, &mut budget, &mut incumbent));
    let packed = Arrangement::of(&model, &dealt.stock, &placed, &incumbent);
    let late = admit(&mut model, &packed, &budget, cancel);
    let stats = Stats {
        classes: model.classes.classes.len(),
        kinds: model.kinds.kinds.len(),
        useful_kinds,
        steps: spent,
    };
    let state = |arrangement: &Arrangement, bound: i64| {
        let cost = arrangement.cost(&model);
        let mut solution = Solution {
            cost: Price::from_micros(cost),
            bound: Price::from_micros(bound.min(cost)),
            premium: Price::from_micros(premium),
            stats,
            ..Solution::default()
        };
        solution.status = match solution.gap() {
            gap if gap <= 1e-6 => Status::Optimal,
            gap if gap <= options.gap => Status::WithinGap,
            _ => Status::BudgetSpent,
        };
        solution
    };
    progress(stage::HANDING_OUT, 0, problem.pods.len() as u64);
    let mut solution = state(&packed, bound);
    if let Some((arrangement, budget)) = late {
        let held = arrangement.held(&model);
        let came = packed.left.iter().zip(&arrangement.left).map(|(before, left)| left < before);
        let relaxed = Relaxation::with_late(&model, &dealt, &held, &came.collect::<Vec<bool>>(), &stages);
        let raised = bound.max(relaxed.round_up(&model, resource_bound(&model, &relaxed)));
        let mut with_late = state(&arrangement, raised);
        hand_out(&model, &dealt, &arrangement, &budget, proving, &mut with_late);
        // Latecomers may rely on an order that the verifier does not find. Better without them than no plan at all.
        if verify(problem, &with_late).is_empty() {
            return with_late;
        }
    }
    hand_out(&model, &dealt, &packed, &budget, proving, &mut solution);
    solution
}

/// Lowers the cap of each domain that was dealt more than it could hold; of the whole class when `final_attempt`.
/// Whether there was any.
fn learn(model: &Model<'_>, caps: &mut Caps, dealt: &Dealt, left: &[u32], final_attempt: bool) -> bool {
    // By class and domain: pods dealt, and those of them left over.
    let mut dealings = BTreeMap::<(u32, Domain), (u32, u32)>::new();
    for (item, left) in dealt.stock.items.iter().zip(left) {
        let domain = &dealt.stock.lots[item.lot as usize].domain;
        if !domain.is_empty() {
            let entry = dealings.entry((model.lead(item.class), Rc::clone(domain))).or_default();
            entry.0 += item.count;
            entry.1 += left;
        }
    }
    let short: BTreeSet<u32> =
        dealings.iter().filter(|(_, (_, left))| *left > 0).map(|((class, _), _)| *class).collect();
    for ((class, domain), (count, left)) in dealings {
        // Where nothing converges: better a pod unplaced, with a reason, than a rule broken.
        if final_attempt && short.contains(&class) {
            caps.insert((class, domain), 0);
        } else if left > 0 {
            caps.insert((class, domain), count - left);
        }
    }
    !short.is_empty()
}

/// Whether any pool of this weight has a limit, or kinds that quotas may use up.
pub(crate) fn tier_is_limited(model: &Model<'_>, weight: i32) -> bool {
    let of_weight = |pool: PoolId| model.problem.pools[pool.index()].weight == weight;
    let budget = Budget::of(model);
    (0..model.problem.pools.len()).map(PoolId::of).any(|pool| of_weight(pool) && budget.limits(pool))
        || model.kinds.kinds.iter().any(|kind| kind.rationed && of_weight(kind.pool))
}
