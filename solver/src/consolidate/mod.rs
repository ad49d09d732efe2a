//! Consolidation: the same pods on fewer or cheaper nodes, by steps that pay for what they disrupt.
//!
//! ```text
//! Problem + Fleet ─▶ pending pods get their places ─▶ search: which nodes go ─▶ steps, best first, each verified in its turn
//!                        └─▶ ideal: how cheap any arrangement could be                 └─▶ and by node that stays, why
//! ```
//!
//! A node that is there is a bin that is paid for by the hour: it may be kept, or given up. Giving it up costs disruption,
//! what takes its place costs money. What comes out is several steps, each of nodes that go, nodes that come, and where the
//! pods go; a step can be taken without those after it.
//!
//! # Invariants
//! - Replacements are launched before anything goes: limits and quotas hold with both there.
//! - Each step passes the verifier, on the cluster that the steps before it leave.
//! - Pods that run stay or move; none is left without a place. Pending pods have what they would have had without.
//! - No step costs more than it saves, and none puts a node in the place of its like.
//! - A second look at what a plan leads to finds nothing, or the plan says that there is more. One look may leave something: a
//!   step that it left out had hidden another. So the plan goes on, look after look, until one finds nothing; what a later one
//!   does to a node that an earlier one launched, or to a pod that it moved, is made one step with that (`join.rs`). Where it
//!   cannot be one step, that is the end, and there is more: the two together would put a node in the place of its like (one
//!   goes for a cheaper one, which goes again, with others, for the first), or need more of a limit at the same time than there
//!   is, or save too little for the pods of both, or leave no choice where there must be one. Whoever takes the steps may look again. In clusters of more than 64 nodes that
//!   may go (`search.rs`) a plan is one look, of which no part touches what another has launched, so that steps stay small: there
//!   may always be more.
//! - The bound holds for every arrangement: see `ideal.rs`.

mod afar;
mod carve;
mod choice;
mod fleet;
mod floor;
mod ideal;
mod join;
mod look;
mod search;
mod state;
mod steps;
mod tether;
mod wide;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

pub use fleet::{Aims, Fleet, Held, Sold};
pub use floor::SavingFloor;

use self::join::join;
use self::look::look;
use self::state::{Key, State};
use crate::money::Price;
use crate::problem::{NodeId, Problem};
use crate::solution::{NewNode, Reason, Solution};
use crate::{Effort, Options, Progress, Violation, solve};

/// Names of the stages, as progress tells them.
struct Stage;

impl Stage {
    const SEARCHING: &'static str = "looking for nodes that need not be";
    const CHECKING: &'static str = "checking steps";
}

/// Where a pod goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Destination {
    /// A node that is there.
    Existing(NodeId),
    /// A launch of the same step, by its position.
    New(usize),
}

/// A pod that moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodMove {
    /// `namespace/name`.
    pub pod: String,
    /// The node that it leaves.
    pub from: NodeId,
    /// Where it goes.
    pub to: Destination,
}

/// Nodes that go, what comes in their place, and where their pods go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Nodes that go, by name.
    pub removes: Vec<NodeId>,
    /// Nodes to launch first. Their lists of pods are empty: see `moves`. Their alternatives leave the step a saving.
    pub launches: Vec<NewNode>,
    /// Pods that move, by name.
    pub moves: Vec<PodMove>,
    /// What is saved an hour.
    pub saving: Price,
    /// What that disrupts, in thousandths of what it is to move an ordinary pod.
    pub disruption: i64,
    /// After how many seconds the saving has paid for the disruption.
    pub payback: u64,
}

/// Why a node stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It may not go: whoever made the fleet knows why.
    NotRemovable,
    /// Pending pods get their places on it.
    Awaited,
    /// Nobody knows what it costs.
    UnknownPrice,
    /// A pod of it fits nowhere else.
    NoPlace {
        /// The pod.
        pod: String,
        /// Why no `NodePool` makes a place for it.
        reasons: Vec<Reason>,
    },
    /// Without it no more is saved than that, and a step saves more.
    TooLittle {
        /// What would be saved; zero or less where what takes its place costs as much or more.
        saving: Price,
        /// What a step saves at least.
        least: Price,
    },
    /// What takes its place is its like.
    LikeForLike {
        /// The type of both.
        instance_type: String,
    },
    /// It would take longer than allowed until the saving has paid for what it disrupts.
    Payback {
        /// What would be saved.
        saving: Price,
        /// What it would disrupt, in thousandths of an ordinary pod.
        disruption: i64,
        /// After how long it would have paid, in seconds.
        seconds: u64,
    },
    /// Of what holds its pods, too little is cheap enough for a choice as wide as the `NodePool` of what would take its place asks
    /// for with `minValues`.
    MinValues {
        /// The label whose values are counted.
        key: String,
        /// How many there are.
        found: u32,
        /// How many there must be.
        least: u32,
    },
    /// Spot would be replaced by spot with too few cheaper types to choose from.
    SpotTypes {
        /// Cheaper types, the planned one among them; zero where spot is not replaced by spot at all.
        found: usize,
        /// How many there must be.
        least: usize,
    },
    /// Its `NodePool` wants savings in proportion to disruption.
    Unbalanced {
        /// What would be saved.
        saving: Price,
        /// The share saved over the share disrupted, in thousandths.
        score: u32,
    },
    /// As many of its `NodePool` go as may at the same time.
    Limit,
    /// What would take its place broke a rule, so the step was not taken.
    Broken(String),
    /// The budget of steps was spent before it was looked at by itself.
    NotReached,
}

/// What a consolidation comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consolidation {
    /// The steps, those first that save most for what they disrupt.
    pub steps: Vec<Step>,
    /// Places for the pods that wait: planned first, and left alone.
    pub pending: Solution,
    /// Why nodes stay, by node.
    pub kept: Vec<(NodeId, Kept)>,
    /// What all nodes cost an hour, new ones for pending pods among them, before any step; nodes of unknown price left out.
    pub before: Price,
    /// The same once all steps are taken.
    pub after: Price,
    /// No arrangement of the same pods on nodes that may be kept or bought costs less.
    pub bound: Price,
    /// Whether another look at what this leads to may find more, which cannot be one plan with this: see the invariants.
    pub more: bool,
    /// Whether the budget of steps was spent.
    pub spent: bool,
    /// Steps of work.
    pub work: u64,
}

/// Plans which nodes of `fleet` need not be. `cancel` set from elsewhere ends the search early.
///
/// # Errors
/// What a defective plan for pending pods breaks; steps that break a rule are left out, and say so.
pub fn consolidate(
    problem: &Problem,
    fleet: &Fleet,
    aims: &Aims,
    cancel: &AtomicBool,
    progress: Progress<'_>,
) -> Result<Consolidation, Vec<Violation>> {
    if fleet.nodes.len() != problem.nodes.len() {
        let what = format!("a fleet of {} for {} nodes", fleet.nodes.len(), problem.nodes.len());
        return Err(vec![Violation { what }]);
    }
    // What comes first by name is found first: the order of the input carries no meaning.
    let mut order: Vec<usize> = (0..problem.nodes.len()).collect();
    order.sort_by(|a, b| problem.nodes[*a].name.cmp(&problem.nodes[*b].name));
    let nodes = order.iter().map(|at| problem.nodes[*at].clone()).collect();
    let sorted = Problem { nodes, ..problem.clone() };
    let fleet = Fleet { nodes: order.iter().map(|at| fleet.nodes[*at].clone()).collect() };
    let mut out = sorted_out(&sorted, &fleet, aims, cancel, progress)?;
    out.renumber(&order);
    Ok(out)
}

/// The same for nodes in the order of their names.
fn sorted_out(
    problem: &Problem,
    fleet: &Fleet,
    aims: &Aims,
    cancel: &AtomicBool,
    progress: Progress<'_>,
) -> Result<Consolidation, Vec<Violation>> {
    let pending = if problem.pods.is_empty() {
        Solution::default()
    } else {
        let options = Options { effort: Effort::Quick, ..Options::default() };
        solve(problem, &options, cancel, &mut *progress)?
    };
    let awaited: Vec<NodeId> = pending.placements.iter().map(|placement| placement.node).collect();
    let (whole, fleet) = settled(problem, fleet, &pending);
    let before = fleet.nodes.iter().filter_map(|held| held.price).sum();
    let mut out = Consolidation { pending, before, ..Consolidation::default() };
    let first = look(&whole, &fleet, aims, 0, cancel, &mut *progress);
    let bound = first.bound;
    let (mut kept, mut again) = (first.kept, first.again);
    (out.steps, out.more, out.spent, out.work) = (first.steps, first.more, first.spent, first.work);
    while again && !out.spent {
        let (next, next_fleet, keys) = after(&whole, &fleet, &out.steps);
        let rest = aims.after(&whole, &out.steps);
        let more = look(&next, &next_fleet, &rest, out.work, cancel, &mut *progress);
        (out.spent, out.work, again) = (more.spent, more.work, more.again);
        kept = more.kept.into_iter().filter_map(|(at, why)| Some((old(keys[at])?, why))).collect();
        if more.steps.is_empty() {
            break;
        }
        let Some(joined) = join(&whole, &fleet, aims, &out.steps, &more.steps, &keys) else {
            out.more = true;
            break;
        };
        out.steps = joined;
    }
    out.after = out.before - out.steps.iter().map(|step| step.saving).sum();
    debug_assert!(bound <= out.after, "a bound of {bound:?} above a plan of {:?}", out.after);
    out.bound = bound.min(out.after);
    let gone: BTreeSet<NodeId> = out.steps.iter().flat_map(|step| step.removes.iter().copied()).collect();
    for (at, held) in fleet.nodes.iter().enumerate().take(problem.nodes.len()) {
        let why = match (held.candidate(), kept.get(&at)) {
            _ if gone.contains(&NodeId::of(at)) => continue,
            _ if awaited.contains(&NodeId::of(at)) => Kept::Awaited,
            (None, _) if held.removable => Kept::UnknownPrice,
            (None, _) => Kept::NotRemovable,
            (_, Some(why)) => why.clone(),
            _ => Kept::NotReached,
        };
        out.kept.push((NodeId::of(at), why));
    }
    Ok(out)
}

/// The node that was there at first.
fn old(key: Key) -> Option<usize> {
    match key {
        Key::Old(at) => Some(at),
        Key::New(_) => None,
    }
}

/// The cluster once steps are taken, in the order of names; and which node each was. New nodes are numbered in the order of the
/// steps that launch them.
fn after(problem: &Problem, fleet: &Fleet, steps: &[Step]) -> (Problem, Fleet, Vec<Key>) {
    let mut state = State::of(problem, fleet);
    for step in steps {
        state.take(step);
    }
    state.tidy();
    // Whether a node takes pods is the fleet's to say, and whether it may be given more the problem's.
    for (node, key) in state.problem.nodes.iter_mut().zip(&state.keys) {
        if let Key::Old(at) = key {
            node.open = problem.nodes.get(*at).is_none_or(|node| node.open);
        }
    }
    (Problem { specs: problem.specs.clone(), ..state.problem }, state.fleet, state.keys)
}

/// The cluster once pending pods have their places. Nodes that get some stay; what is launched for them takes no other pods: it
/// is not there yet.
fn settled(problem: &Problem, fleet: &Fleet, pending: &Solution) -> (Problem, Fleet) {
    let mut state = State::of(problem, fleet);
    let mover = |pod: &crate::PodId| {
        let pod = &problem.pods[pod.index()];
        let (name, spec, labels) = (pod.name.clone(), pod.spec, pod.labels);
        state::Mover { name, spec, labels, weight: 0, from: Key::Old(usize::MAX) }
    };
    let placed: Vec<_> = pending
        .placements
        .iter()
        .map(|p| (Key::Old(p.node.index()), p.pods.iter().map(mover).collect::<Vec<_>>()))
        .collect();
    let launches: Vec<_> = pending
        .new_nodes
        .iter()
        .map(|node| (node, node.pods.iter().map(mover).collect::<Vec<_>>()))
        .collect();
    state.carry_out(&std::collections::BTreeSet::new(), &placed, &launches);
    for placement in &pending.placements {
        state.fleet.nodes[placement.node.index()].removable = false;
    }
    for held in state.fleet.nodes.iter_mut().skip(problem.nodes.len()) {
        held.removable = false;
        held.receives = false;
    }
    (state.problem, state.fleet)
}

impl Consolidation {
    /// Gives nodes the numbers that they had before they were sorted.
    fn renumber(&mut self, order: &[usize]) {
        let number = |node: &mut NodeId| *node = order.get(node.index()).map_or(*node, |at| NodeId::of(*at));
        self.pending.placements.iter_mut().for_each(|placement| number(&mut placement.node));
        self.kept.iter_mut().for_each(|(node, _)| number(node));
        for step in &mut self.steps {
            step.removes.iter_mut().for_each(number);
            for pod in &mut step.moves {
                number(&mut pod.from);
                if let Destination::Existing(node) = &mut pod.to {
                    number(node);
                }
            }
        }
    }

    /// The cluster once all steps are taken, and pending pods are where they should be: what another look would find. Pods
    /// that have no place are gone from it.
    pub fn carried_out(&self, problem: &Problem, fleet: &Fleet) -> (Problem, Fleet) {
        let (whole, whole_fleet) = settled(problem, fleet, &self.pending);
        let (next, next_fleet, _) = after(&whole, &whole_fleet, &self.steps);
        (next, next_fleet)
    }
}
