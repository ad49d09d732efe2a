//! What rules cost: measured by solving again without each.
//!
//! Two figures come out of a pair of quick solves, and both are estimates: by how much the bill falls, and by how much
//! the bound does. Two more are proven, whatever the quick solves were worth. With `B` and `C` the best bound and the
//! bill of the plan at hand, `B'` and `C'` those without the rule:
//!
//! ```text
//! every plan with the rule costs B at least, one without it costs C'   ⇒  the rule costs B − C' at least
//! every plan without the rule costs B' at least                        ⇒  C − B' is all that C could fall by
//! ```
//!
//! A plan that keeps the rule keeps to the relaxed problem as well, so `C'` is never taken to be above `C`.

use std::sync::atomic::{AtomicBool, Ordering};

use super::ExplainOptions;
use super::data::{Costs, Measure, Remedy, RuleCost, Rules};
use super::rule::{Found, rules};
use crate::money::Price;
use crate::problem::{PodId, Problem};
use crate::solution::Solution;
use crate::{Effort, Options, solve};

/// A solve counts for so many steps at least, for what it does beside packing: so that many small solves end, too.
const LEAST_STEPS: u64 = 20_000;
/// And for so many for each pod.
const STEPS_PER_POD: u64 = 100;

/// Solves problems like one, quickly.
struct Bench<'a> {
    cancel: &'a AtomicBool,
    steps: u64,
}

impl Bench<'_> {
    /// Plans a problem; `None` where the plan breaks a rule, or where nobody waits any more.
    fn solve(&mut self, problem: &Problem) -> Option<Solution> {
        let options = Options { effort: Effort::Quick, ..Options::default() };
        let solved = solve(problem, &options, self.cancel, &mut |_, _, _| {});
        self.steps += LEAST_STEPS + STEPS_PER_POD * problem.pods.len() as u64;
        let solved = solved.ok()?;
        self.steps += solved.stats.steps;
        (!self.cancel.load(Ordering::Relaxed)).then_some(solved)
    }
}

fn measure(solution: &Solution) -> Measure {
    Measure { cost: solution.cost, bound: solution.bound, unplaced: solution.unplaced.len() as u32 }
}

fn unplaced(solution: &Solution) -> Vec<PodId> {
    solution.unplaced.iter().map(|u| u.pod).collect()
}

/// Measures the rules of a problem.
pub(super) fn measured(
    problem: &Problem,
    solution: &Solution,
    options: &ExplainOptions,
    cancel: &AtomicBool,
    tell: &mut dyn FnMut(u64, u64),
) -> Rules {
    let found = rules(problem);
    let mut result = Rules::default();
    if found.is_empty() || problem.pods.is_empty() {
        return result;
    }
    // Those that concern most of what is asked for first: the rest has little to cost.
    let weights: Vec<f64> = weigh(problem, &found);
    let mut order: Vec<usize> = (0..found.len()).collect();
    order.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]).then(a.cmp(b)));
    let all = order.len();
    let mut bench = Bench { cancel, steps: 0 };
    let Some(base) = bench.solve(problem) else {
        result.left_out = all as u32;
        return result;
    };
    result.base = measure(&base);
    let mut done = 0;
    for at in order {
        if done >= options.rules || bench.steps >= options.max_steps || cancel.load(Ordering::Relaxed) {
            break;
        }
        tell(done as u64, options.rules.min(all) as u64);
        let mut relaxed = problem.clone();
        found[at].relax(&mut relaxed);
        let Some(without) = bench.solve(&relaxed) else { continue };
        done += 1;
        let comparable = unplaced(&without) == unplaced(&base);
        let costs = comparable.then(|| costs(solution, &base, &without));
        let rule = found[at].rule.clone();
        result.measured.push(RuleCost { rule, without: measure(&without), costs });
    }
    result.left_out = (all - result.measured.len()) as u32;
    result.steps = bench.steps;
    result.measured.sort_by(|a, b| {
        let key = |r: &RuleCost| {
            let gained = result.base.unplaced.saturating_sub(r.without.unplaced);
            (gained, r.costs.map(|c| (c.bound.max(c.plan), c.bound, c.at_least)))
        };
        key(b).cmp(&key(a)).then_with(|| a.rule.cmp(&b.rule))
    });
    result
}

fn costs(solution: &Solution, base: &Solution, without: &Solution) -> Costs {
    let fall = |from: Price, to: Price| (from - to).max(Price::ZERO);
    // The plan at hand, where it holds the same pods, is one without the rule, too.
    let same = unplaced(solution) == unplaced(without);
    if !same {
        let (plan, bound) = (fall(base.cost, without.cost), fall(base.bound, without.bound));
        return Costs { plan, bound, at_least: Price::ZERO, at_most: base.cost };
    }
    let cheapest = without.cost.min(solution.cost).min(base.cost);
    Costs {
        plan: fall(base.cost, without.cost),
        bound: fall(base.bound, without.bound),
        at_least: fall(solution.kept_bound().max(base.bound), cheapest),
        at_most: fall(solution.cost.min(base.cost), without.bound),
    }
}

/// By rule: the share of everything asked for that it concerns, over all resources. Rules of pools and nodes come first.
fn weigh(problem: &Problem, found: &[Found]) -> Vec<f64> {
    let mut count = vec![0i64; problem.specs.len()];
    for pod in &problem.pods {
        count[pod.spec.index()] += 1;
    }
    let used: Vec<usize> = (0..count.len()).filter(|at| count[*at] > 0).collect();
    let mut totals = vec![0f64; problem.resources.len()];
    for at in &used {
        for (id, amount) in problem.specs[*at].requests.iter() {
            totals[id.index()] += amount as f64 * count[*at] as f64;
        }
    }
    let share = |at: usize| {
        let parts = problem.specs[at].requests.iter();
        let parts = parts.map(|(id, amount)| amount as f64 * count[at] as f64 / totals[id.index()].max(1.0));
        parts.fold(0.0, |sum, part| sum + part)
    };
    let shares: Vec<f64> = used.iter().map(|at| share(*at)).collect();
    let weigh = |rule: &Found| {
        let concerned = used.iter().zip(&shares).filter(|(at, _)| rule.concerns(&problem.specs[**at]));
        concerned.fold(0.0, |sum, (_, share)| sum + share)
    };
    found.iter().map(weigh).collect()
}

/// Rules that concern a pod without a place and, alone relaxed, let it in.
pub(super) fn remedies(
    problem: &Problem,
    pod: PodId,
    options: &ExplainOptions,
    cancel: &AtomicBool,
) -> Vec<Remedy> {
    let spec = &problem.specs[problem.pods[pod.index()].spec.index()];
    let concerned: Vec<Found> = rules(problem).into_iter().filter(|rule| rule.concerns(spec)).collect();
    let mut bench = Bench { cancel, steps: 0 };
    let Some(base) = bench.solve(problem) else { return Vec::new() };
    let mut found = Vec::new();
    for rule in concerned.into_iter().take(options.rules) {
        if bench.steps >= options.max_steps || cancel.load(Ordering::Relaxed) {
            break;
        }
        let mut relaxed = problem.clone();
        rule.relax(&mut relaxed);
        let Some(without) = bench.solve(&relaxed) else { continue };
        if !unplaced(&without).contains(&pod) {
            let pods = base.unplaced.len().saturating_sub(without.unplaced.len()) as u32;
            found.push(Remedy { rule: rule.rule, pods });
        }
    }
    found
}
