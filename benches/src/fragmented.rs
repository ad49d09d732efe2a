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
const TYPES: [&str; 7] =
    ["m6i.16xlarge", "m6i.12xlarge", "m6i.8xlarge", "m6i.4xlarge", "m6i.2xlarge", "m6i.xlarge", "m6i.large"];

impl Fragmented {
    /// From pods that are pending, on about so many nodes: of one type, or of one for some of the pods and the next smaller one for
    /// the others.
    ///
    /// # Panics
    /// Where the pods cannot be planned.
    pub fn of(pending: &Problem, nodes: usize) -> Self {
        let mut larger = None::<(&str, usize)>;
        let mut chosen = (TYPES[TYPES.len() - 1], None);
        for name in TYPES {
            let count = bought(pending, &Fleet::default(), name).0.nodes.len();
            if count >= nodes || name == TYPES[TYPES.len() - 1] {
                chosen = (name, larger.map(|(larger, fewer)| (larger, share(fewer, nodes, count))));
                break;
            }
            larger = Some((name, count));
        }
        let (mut problem, mut fleet) = match chosen {
            (name, Some((larger, few))) if few < 1000 => {
                let pods = pending.pods.len() * few / 1000;
                let later = pending.pods[pods..].to_vec();
                let first = Problem { pods: pending.pods[..pods].to_vec(), ..pending.clone() };
                let (cluster, fleet) = bought(&first, &Fleet::default(), name);
                bought(&Problem { pods: later, ..cluster }, &fleet, larger)
            }
            (name, _) => bought(pending, &Fleet::default(), name),
        };
        let mut number = 0_usize;
        fleet.ended(&mut problem, |_| {
            number += 1;
            number.is_multiple_of(3)
        });
        Self { problem, fleet }
    }
}

/// Which share of the pods belongs on smaller nodes, in thousandths, where all on larger ones are `fewer` nodes and all on smaller
/// ones `more`.
fn share(fewer: usize, nodes: usize, more: usize) -> usize {
    (nodes.saturating_sub(fewer) * 1000 / more.saturating_sub(fewer).max(1)).min(1000)
}

/// A cluster once what waits in it has places, on new nodes of one type as far as it takes some.
fn bought(pending: &Problem, fleet: &Fleet, name: &str) -> (Problem, Fleet) {
    let mut problem = pending.clone();
    // Types keep their ids: what is not for sale has no offerings.
    problem.types.iter_mut().filter(|of| of.name != name).for_each(|of| of.offerings.clear());
    let options = Options { effort: Effort::Quick, ..Options::default() };
    let never = AtomicBool::new(false);
    let plan = solve(&problem, &options, &never, &mut |_, _, _| {}).expect("a plan");
    let (mut cluster, fleet) = settled(&problem, fleet, plan);
    cluster.types.clone_from(&pending.types);
    (cluster, fleet)
}

/// What a plan leads to, where all may go and anything may come.
fn settled(problem: &Problem, fleet: &Fleet, pending: Solution) -> (Problem, Fleet) {
    let plan = Consolidation { pending, ..Consolidation::default() };
    let (mut problem, mut fleet) = plan.carried_out(problem, fleet);
    for (node, held) in problem.nodes.iter_mut().zip(&mut fleet.nodes) {
        (held.removable, held.receives, node.open) = (true, true, true);
        held.fixed = 1000;
        held.moves.iter_mut().for_each(|(_, weight)| *weight = 1000);
    }
    (problem, fleet)
}

#[cfg(test)]
mod tests {
    use stowage_cluster::{LowerOptions, ReadOptions, Source, lower, read};
    use stowage_pricing::{Catalog, Settings};
    use stowage_solver::{Aims, Kept, consolidate};

    use super::*;
    use crate::Workload;

    /// Of more nodes than are tried one by one, most with pods that are spread over zones.
    #[test]
    fn a_large_cluster_becomes_much_cheaper_by_steps_that_hold_one_after_the_other() {
        let bytes = Workload::new(1_800, Workload::SEED).to_json();
        let source = Source { name: "made-up snapshot", bytes: &bytes };
        let catalog = Catalog::embedded("us-east-1", &Settings::default()).expect("us-east-1 is embedded");
        let snapshot =
            read(&[source], &ReadOptions::default()).expect("what the generator writes can be read");
        let pending =
            lower(&snapshot, &catalog, &LowerOptions::default()).expect("it can be lowered").problem;
        let cluster = Fragmented::of(&pending, 70);
        assert!(cluster.problem.nodes.len() > 64, "{} nodes", cluster.problem.nodes.len());
        let never = AtomicBool::new(false);
        let found =
            consolidate(&cluster.problem, &cluster.fleet, &Aims::default(), &never, &mut |_, _, _| {})
                .expect("nothing is pending");
        let broken = found.kept.iter().filter(|(_, why)| matches!(why, Kept::Broken(_))).count();
        let share = found.after.dollars() / found.before.dollars();
        assert!(
            broken == 0 && share < 0.6,
            "{broken} nodes stay as a rule is broken, and {share:.2} of the cost"
        );
        assert!(found.bound <= found.after);
        assert!(found.steps.iter().all(|step| step.removes.len() <= 24), "steps are small");
    }
}
