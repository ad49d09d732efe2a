//! Why a plan is as it is: reasons of pods that fit nowhere, what fills nodes and keeps their pods off cheaper ones, what
//! resources are worth, and what rules cost.
//!
//! ```text
//! solve ─▶ Solution ─┬─▶ unplaced   reasons, a part of every solution
//!                    └─▶ explain ─┬─▶ node    every new node against everything cheaper
//!                                 ├─▶ price   the resource bound's dual prices, added up
//!                                 └─▶ cost    the problem without each rule, solved again
//!                        explain_pod ─▶ pod
//! ```
//!
//! # Invariants
//! - What is named as an obstacle is one: with the cheaper thing in the node's place the plan would break the rule. Two are
//!   decisions rather than rules, and told so: which domain pods were dealt to, and that a `NodePool` has less weight.
//! - Figures are measured or proven, and each says which. Nothing is guessed.
//! - Work is counted in steps, so that the same plan is explained alike on any machine; what was left out is told.

mod cost;
mod data;
mod kept;
mod node;
mod pod;
mod price;
mod rule;
mod unplaced;

pub use data::*;
pub(crate) use unplaced::reasons;

use std::sync::atomic::AtomicBool;

use crate::model::Model;
use crate::problem::{PodId, Problem};
use crate::solution::Solution;
use crate::{Progress, stage};

/// How much work an explanation may be.
#[derive(Clone, Debug)]
pub struct ExplainOptions {
    /// So many rules are measured at most; zero for none.
    pub rules: usize,
    /// And no further one once so many steps are spent on them.
    pub max_steps: u64,
}

impl Default for ExplainOptions {
    fn default() -> Self {
        Self { rules: 12, max_steps: 40_000_000 }
    }
}

/// Explains a plan of `problem`, such as [`crate::solve`] has made. `cancel` set from elsewhere leaves rules unmeasured.
///
/// ```
/// use std::sync::atomic::AtomicBool;
/// use stowage_solver::explain::{ExplainOptions, explain};
/// use stowage_solver::{Problem, Solution};
/// let never = AtomicBool::new(false);
/// let nothing = explain(
///     &Problem::default(), &Solution::default(), &ExplainOptions::default(), &never, &mut |_, _, _| {},
/// );
/// assert!(nothing.nodes.is_empty() && nothing.rules.measured.is_empty());
/// ```
pub fn explain(
    problem: &Problem,
    solution: &Solution,
    options: &ExplainOptions,
    cancel: &AtomicBool,
    progress: Progress<'_>,
) -> Explanation {
    let kept = kept::kept(problem, solution);
    let problem = kept.as_ref();
    let nodes = stories(problem, solution, &mut *progress);
    let prices = price::prices(problem, solution);
    let mut tell = |done, of| progress(stage::MEASURING, done, of);
    let rules = cost::measured(problem, solution, options, cancel, &mut tell);
    Explanation { nodes, prices, rules }
}

/// The stories of all new nodes; see [`Explanation::nodes`].
pub fn explain_nodes(problem: &Problem, solution: &Solution, progress: Progress<'_>) -> Vec<NodeStory> {
    stories(&kept::kept(problem, solution), solution, progress)
}

fn stories(problem: &Problem, solution: &Solution, progress: Progress<'_>) -> Vec<NodeStory> {
    if solution.new_nodes.is_empty() {
        return Vec::new();
    }
    let model = Model::build(problem);
    let nodes = node::Nodes::of(&model, solution);
    nodes.stories(solution, &mut |done, of| progress(stage::COMPARING, done, of))
}

/// Why a pod is where it is in a plan, or nowhere, and then what would let it in.
pub fn explain_pod(
    problem: &Problem,
    solution: &Solution,
    pod: PodId,
    options: &ExplainOptions,
    cancel: &AtomicBool,
) -> Option<PodStory> {
    pod::story(&kept::kept(problem, solution), solution, pod, options, cancel)
}
