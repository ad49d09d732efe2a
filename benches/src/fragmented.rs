//! Clusters that have run for a while: nodes of one type, bought for pods of which every third has gone since.

use std::sync::atomic::AtomicBool;

use stowage_solver::{Consolidation, Effort, Fleet, Options, Problem, Solution, solve};

/// A cluster and what is known of its nodes.
#[derive(Debug)]
pub struct Fragmented {
    /// Nothing is pending in it.
    pub problem: Problem,
    /// All nodes may go.
    pub fleet: Fleet,
}

/// What the nodes may be, the first of these of which there must be enough.
const TYPES: [&str; 5] = ["m6i.8xlarge", "m6i.4xlarge", "m6i.2xlarge", "m6i.xlarge", "m6i.large"];

impl Fragmented {
    /// From pods that are pending, on about so many nodes or more.
    ///
    /// # Panics
    /// Where the pods cannot be planned.
    pub fn of(pending: &Problem, nodes: usize) -> Self {
        let planned = |name: &str| {
            let mut problem = pending.clone();
            // Types keep their ids: what is not for sale has no offerings.
            problem.types.iter_mut().filter(|of| of.name != name).for_each(|of| of.offerings.clear());
            let options = Options { effort: Effort::Quick, ..Options::default() };
            let never = AtomicBool::new(false);
            let plan = solve(&problem, &options, &never, &mut |_, _, _| {}).expect("a plan");
            (problem, plan)
        };
        let (mut problem, mut plan) = planned(TYPES[0]);
        for name in &TYPES[1..] {
            if plan.new_nodes.len() >= nodes {
                break;
            }
            (problem, plan) = planned(name);
        }
        let (mut problem, mut fleet) = settled(&problem, plan);
        problem.types.clone_from(&pending.types);
        let mut number = 0_usize;
        fleet.ended(&mut problem, |_| {
            number += 1;
            number.is_multiple_of(3)
        });
        Self { problem, fleet }
    }
}

/// What a plan leads to, where all may go and anything may come.
fn settled(problem: &Problem, pending: Solution) -> (Problem, Fleet) {
    let plan = Consolidation { pending, ..Consolidation::default() };
    let (mut problem, mut fleet) = plan.carried_out(problem, &Fleet::default());
    for (node, held) in problem.nodes.iter_mut().zip(&mut fleet.nodes) {
        (held.removable, held.receives, node.open) = (true, true, true);
        held.fixed = 1000;
        held.moves.iter_mut().for_each(|(_, weight)| *weight = 1000);
    }
    (problem, fleet)
}
