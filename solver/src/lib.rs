//! Packs pods onto priced nodes, with a proven lower bound, a verifier and explanations.
//!
//! Pure: no clock, no threads of its own, no environment, no Kubernetes, no AWS. `docs/designs/solver.md` tells how it
//! works; this is how it is used:
//!
//! ```
//! use std::sync::atomic::AtomicBool;
//! use stowage_solver::{
//!     InstanceType, LabelSetId, Labels, NodePool, Offering, Options, Pod, PodSpec, Price, Problem, ResourceId,
//!     Resources, SpecId, solve,
//! };
//!
//! // One type of 2 cpu for ten cents an hour, and three pods of 600 milli-CPU.
//! let cpu = |millis| Resources::from_amounts([(ResourceId(0), millis)]);
//! let offering = Offering {
//!     zone: "a".to_owned(),
//!     capacity_type: "on-demand".to_owned(),
//!     labels: Labels::new(),
//!     price: Price::from_micros(100_000),
//!     estimated: false,
//!     rebate: Price::ZERO,
//!     draws: Vec::new(),
//! };
//! let instance_type = InstanceType {
//!     name: "small".to_owned(),
//!     labels: Labels::new(),
//!     capacity: cpu(2000),
//!     allocatable: cpu(2000),
//!     offerings: vec![offering],
//! };
//! let pod = |n| Pod { name: format!("default/web-{n}"), spec: SpecId(0), labels: LabelSetId(0) };
//! let problem = Problem {
//!     resources: vec!["cpu".to_owned()],
//!     specs: vec![PodSpec { namespace: "default".to_owned(), requests: cpu(600), ..PodSpec::default() }],
//!     label_sets: vec![Labels::new()],
//!     pods: (0..3).map(pod).collect(),
//!     pools: vec![NodePool { name: "default".to_owned(), ..NodePool::default() }],
//!     types: vec![instance_type].into(),
//!     ..Problem::default()
//! };
//! let plan = solve(&problem, &Options::default(), &AtomicBool::new(false), &mut |_, _, _| {}).unwrap();
//! assert_eq!((plan.new_nodes.len(), plan.cost), (1, Price::from_micros(100_000)));
//! assert!(plan.bound > Price::ZERO && plan.bound <= plan.cost);
//! ```

mod alternatives;
mod arrangement;
mod bound;
mod class;
mod consolidate;
mod diversity;
pub mod explain;
mod fixed_cost;
mod hand_out;
mod host_rule;
mod kind;
mod ladder;
mod late;
mod memory;
mod model;
mod money;
mod pack;
mod preference;
mod problem;
mod route;
mod search;
mod solution;
pub mod stage;
mod stock;
mod topology;
mod twin;
mod variety;
mod verify;

pub use consolidate::{
    Aims, Consolidation, Destination, Fleet, Held, Kept, PodMove, SavingFloor, Sold, Step, consolidate,
};
pub use diversity::Diversity;
pub use explain::{explain, explain_pod};
pub use memory::Memory;
pub use money::Price;
pub use problem::*;
pub use route::closed_routes;
pub use solution::{
    Alternative, NewNode, Obstacle, Placement, Preferences, Reason, Relaxed, Routed, Solution, Stats, Status,
    Unplaced,
};
pub use verify::{Violation, verify};

use std::sync::atomic::AtomicBool;

/// Steps of a solve with quick effort: tenths of a second.
const QUICK_STEPS: u64 = 16_000_000;
/// Steps of a solve with balanced effort, what LPs and proofs take included: a few seconds.
const BALANCED_STEPS: u64 = 150_000_000;

/// How far up the ladder a solve climbs before it settles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// Constructions and repairs only: tens of milliseconds.
    Quick,
    /// Column generation too, until the gap is reached, or is out of reach and more would change little.
    #[default]
    Balanced,
    /// Spends the whole step budget on a better plan, whatever the gap.
    Thorough,
}

/// What a solve should aim for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Stop at this relative gap between cost and bound; 0.02 is 2 %.
    pub gap: f64,
    /// How hard to try.
    pub effort: Effort,
    /// How much work to spend at most, in steps (a step is one look at an item while filling a bin). Steps, not
    /// seconds, so that the same input gives the same plan on any machine.
    pub max_steps: u64,
    /// Pay for nodes that can be launched as more instance types; `None` leaves the plan as cheap as it is.
    pub diversity: Option<Diversity>,
}

impl Default for Options {
    fn default() -> Self {
        Self { gap: 0.02, effort: Effort::Balanced, max_steps: 1_000_000_000, diversity: None }
    }
}

/// Progress of a long solve, told as it goes: (stage, done, of). The stages are those of [`stage`].
pub type Progress<'a> = &'a mut dyn FnMut(&'static str, u64, u64);

/// Solves `problem`. `cancel` set from elsewhere ends the search early with the best plan so far.
///
/// Every returned solution has passed the verifier; `Err` lists what a defective one broke.
pub fn solve(
    problem: &Problem,
    options: &Options,
    cancel: &AtomicBool,
    progress: Progress<'_>,
) -> Result<Solution, Vec<Violation>> {
    solve_again(problem, options, &mut Memory::default(), cancel, progress)
}

/// Solves `problem` with what solves of problems like it have left in `memory`, and leaves what this one found.
///
/// For a controller that solves every few seconds: a plan as good is found in fewer steps. The same problem with the same
/// memory gives the same plan.
///
/// # Errors
/// As [`solve`].
pub fn solve_again(
    problem: &Problem,
    options: &Options,
    memory: &mut Memory,
    cancel: &AtomicBool,
    progress: Progress<'_>,
) -> Result<Solution, Vec<Violation>> {
    if let Some(solved) = preference::solve(problem, options, memory, cancel, &mut *progress) {
        return solved;
    }
    solve_plain(problem, options, memory, cancel, progress)
}

impl Options {
    /// Steps of a whole solve, however often it plans anew. Even the last plan is finished: at least one construction.
    fn steps(&self) -> u64 {
        self.max_steps.min(match self.effort {
            Effort::Quick => QUICK_STEPS,
            Effort::Balanced => BALANCED_STEPS,
            Effort::Thorough => u64::MAX,
        })
    }

    /// For one more plan of a solve that has spent so many steps.
    fn after(&self, spent: u64) -> Self {
        Self { max_steps: self.steps().saturating_sub(spent), ..self.clone() }
    }

    /// For a plan on the way, of which only the outcome counts.
    fn quick(&self) -> Self {
        Self { effort: Effort::Quick, diversity: None, ..self.clone() }
    }
}

/// Solves a problem without preferences.
fn solve_plain(
    problem: &Problem,
    options: &Options,
    memory: &mut Memory,
    cancel: &AtomicBool,
    progress: Progress<'_>,
) -> Result<Solution, Vec<Violation>> {
    let mut solution = ladder::climb(problem, options, memory, cancel, &mut *progress);
    route::compare(problem, &mut solution, options, cancel);
    solution.instance_bound = fixed_cost::instance_bound(problem, &solution, options, cancel);
    progress(stage::CHECKING, 0, problem.pods.len() as u64);
    let violations = verify(problem, &solution);
    if violations.is_empty() { Ok(solution) } else { Err(violations) }
}
