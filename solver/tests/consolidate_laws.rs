//! Laws of consolidation on random clusters, and its answers beside those of trying everything.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::exhaustive::cheapest;
use common::plan_with;
use common::random::{App, Draft, draft};
use common::town::{Town, consolidated};
use common::{World, ZONE, amounts, away_from, node_selector, one_of, spec};
use proptest::prelude::*;
use stowage_solver::{
    Aims, Consolidation, Effort, Fleet, Kept, MinValues, Options, Pod, PodId, Price, Problem, ResourceId,
    TopologyKey,
};

/// What the first `NodePool` of a random cluster has come to ask of the choice of what to launch: in two of five nothing but what
/// the draft says itself.
fn varied(problem: &mut Problem, wide: u32) {
    let of_types = |least: u32, relax: bool| MinValues {
        key: "node.kubernetes.io/instance-type".to_owned(),
        least,
        relax,
    };
    let zones = MinValues { key: ZONE.to_owned(), least: 2, relax: false };
    match wide % 5 {
        0 => problem.pools[0].min_values = vec![of_types(2, false)],
        1 => problem.pools[0].min_values = vec![zones, of_types(3, true)],
        2 => problem.pools[0].min_values = vec![of_types(3, false)],
        _ => {}
    }
}

/// Spot for spot with as many types as are documented, or with so few that random clusters have them.
fn aims(wide: u32) -> Aims {
    Aims { spot_types: Some(if wide < 5 { 15 } else { 2 }), ..Aims::default() }
}

/// Nodes that a plan bought, with their pods, of which some have gone since.
fn settled(draft: &Draft, gone: u32, wide: u32) -> Option<(Problem, Fleet)> {
    let mut problem = draft.world(false).0;
    let options = Options { effort: Effort::Quick, ..Options::default() };
    // Pods that are planned now are the cluster's; what runs already stays as it is, and so do the rules that held.
    // Claims of pods that run have their volumes.
    for spec in &mut problem.specs {
        spec.route = None;
        spec.unbound_claims.clear();
    }
    let pending = plan_with(&problem, &options);
    let bought = pending.new_nodes.len();
    let there = Fleet { nodes: problem.nodes.iter().map(|_| receiving()).collect() };
    let plan = Consolidation { pending, ..Consolidation::default() };
    let waiting: Vec<String> = problem.pods.iter().map(|pod| pod.name.clone()).collect();
    let old: Vec<String> = problem.nodes.iter().map(|node| node.name.clone()).collect();
    let (mut next, mut fleet) = plan.carried_out(&problem, &there);
    varied(&mut next, wide);
    for (node, held) in next.nodes.iter_mut().zip(&mut fleet.nodes) {
        let new = !old.contains(&node.name);
        (held.removable, held.receives, node.open) = (new, true, node.open || new);
        held.fixed = if new { 1000 } else { 0 };
        // Only what was bought is asked about.
        held.moves.iter_mut().for_each(|(_, weight)| *weight = 1000);
    }
    let mut number = 0;
    fleet.ended(&mut next, |pod| {
        number += 1;
        waiting.contains(&pod.name) && (gone >> (number % 32)) & 1 != 0
    });
    (bought > 0).then_some((next, fleet))
}

fn receiving() -> stowage_solver::Held {
    stowage_solver::Held { receives: true, ..stowage_solver::Held::default() }
}

/// How many random clusters a law is tried on: more where somebody wants to know more.
fn cases() -> u32 {
    std::env::var("STOWAGE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(64)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    /// Never dearer, never below the bound, every step within the rules; and whoever looks again finds nothing, unless the plan
    /// says that there is more.
    #[test]
    fn consolidation_keeps_its_laws(draft in draft(), gone in any::<u32>(), wide in 0_u32..10) {
        let Some((problem, fleet)) = settled(&draft, gone, wide) else { return Ok(()) };
        let aims = aims(wide);
        let out = consolidated(&problem, &fleet, &aims);
        let (next, next_fleet) = out.carried_out(&problem, &fleet);
        let cost: Price = next_fleet.nodes.iter().filter_map(|held| held.price).sum();
        prop_assert_eq!(cost, out.after);
        let pods = |problem: &Problem| {
            let mut names: Vec<String> =
                problem.nodes.iter().flat_map(|node| &node.pods).map(|pod| pod.name.clone()).collect();
            names.sort();
            names
        };
        // No pod is lost: those of nodes that may not go stay where they are.
        prop_assert_eq!(pods(&problem), pods(&next));
        prop_assert!(!out.spent, "the budget is enough for a handful of nodes");
        let again = consolidated(&next, &next_fleet, &aims);
        prop_assert_eq!(again.steps.is_empty(), !out.more, "{:#?}\nafter {:#?}", again.steps, out.steps);
    }

    /// The order of the nodes changes nothing.
    #[test]
    fn consolidation_does_not_depend_on_order(draft in draft(), gone in any::<u32>(), wide in 0_u32..10) {
        let Some((problem, fleet)) = settled(&draft, gone, wide) else { return Ok(()) };
        let aims = aims(wide);
        let out = consolidated(&problem, &fleet, &aims);
        let (mut turned, mut turned_fleet) = (problem.clone(), fleet.clone());
        turned.nodes.reverse();
        turned_fleet.nodes.reverse();
        let other = consolidated(&turned, &turned_fleet, &aims);
        let told = |problem: &Problem, out: &Consolidation| -> Vec<(Vec<String>, usize, Price)> {
            let names = |step: &stowage_solver::Step| {
                step.removes.iter().map(|node| problem.nodes[node.index()].name.clone()).collect()
            };
            out.steps.iter().map(|step| (names(step), step.launches.len(), step.saving)).collect()
        };
        prop_assert_eq!(told(&problem, &out), told(&turned, &other));
        prop_assert_eq!(out.bound, other.bound);
    }
}

#[test]
fn what_a_refused_step_kept_from_going_is_more() {
    // Three nodes are the most: two of them together may not become one, but once one is gone, another may become a cheaper one.
    let app = |count, mib, rules, target| App { count, cpu: 250, mib, gpu: 0, rules, target };
    let draft = Draft {
        apps: vec![app(2, 3584, 32, 1), app(1, 2048, 40, 1), app(3, 1024, 0, 0)],
        nodes: Vec::new(),
        types: vec![(1, 2, 0, 4), (1, 5, 0, 2)],
        pools: 33_840,
        daemon: false,
        quotas: 49_156,
    };
    let (problem, fleet) = settled(&draft, 1_913_351_458, 3).unwrap();
    let out = consolidated(&problem, &fleet, &Aims::default());
    assert_eq!((out.steps.len(), out.more), (1, true), "{out:#?}");
    let (next, next_fleet) = out.carried_out(&problem, &fleet);
    assert_eq!(consolidated(&next, &next_fleet, &Aims::default()).steps.len(), 1);
}

/// Two pods run where a third one is that they must be near to: it has to stay with them, on a node that could go.
#[test]
fn what_a_pod_moved_to_be_near_stays_there() {
    let app = |count, mib, rules, target| App { count, cpu: 250, mib, gpu: 0, rules, target };
    let draft = Draft {
        apps: vec![app(3, 3072, 3080, 3), app(1, 512, 16, 0), app(1, 512, 0, 0), app(2, 3072, 0, 0)],
        nodes: vec![(0, 2, 1), (1, 4, 2)],
        types: vec![(1, 4, 0, 2), (1, 1, 0, 1)],
        pools: 5_568,
        daemon: false,
        quotas: 0,
    };
    let (problem, fleet) = settled(&draft, 4_117_623_472, 0).unwrap();
    let out = consolidated(&problem, &fleet, &aims(0));
    let left: Vec<_> = out.kept.iter().filter(|(_, why)| matches!(why, Kept::Broken(_))).collect();
    assert_eq!((out.steps.len(), left.len()), (1, 1), "{out:#?}");
}

/// Numbers that are the same everywhere.
struct Draws(u64);

impl Draws {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// A few nodes with a few pods: small enough to try everything.
fn tiny(seed: u64) -> Town {
    let mut draws = Draws(seed.wrapping_mul(7919).wrapping_add(13));
    draws.below(2);
    let mut world = World::new();
    world.instance("small", amounts(2000, 8192, 0, 20), 0.2).instance(
        "big",
        amounts(8000, 32768, 0, 20),
        0.75,
    );
    if draws.below(2) == 0 {
        world.instance("roomy", amounts(2000, 32768, 0, 20), 0.27);
    }
    for of_type in &mut world.0.types {
        of_type.offerings.retain(|offering| offering.zone != "c");
    }
    let mut town = Town::new(world);
    let mut pods = 5;
    for at in 0..2 + draws.below(3) {
        let of_type = ["small", "big"][draws.below(2) as usize];
        town.node(&format!("n{at}"), of_type, ["a", "b"][draws.below(2) as usize]);
        let mut left = if of_type == "small" { 2000 } else { 8000 };
        for _ in 0..draws.below(4) {
            let cpu = [300, 500, 900, 1400][draws.below(4) as usize];
            if pods == 0 || cpu > left {
                break;
            }
            let app = ["web", "api"][draws.below(2) as usize];
            let mut pod = spec(cpu, [256, 512, 6000][draws.below(3) as usize]);
            if draws.below(6) == 0 && of_type == "big" {
                let zone = town.world.0.nodes.last().unwrap().labels[ZONE].clone();
                pod.node.push(node_selector(one_of(ZONE, &[&zone])));
            }
            if app == "api" && draws.below(3) == 0 && town.world.0.nodes.last().unwrap().pods.is_empty() {
                pod.anti_affinity.push(away_from(TopologyKey::Host, "api"));
                town.pods(app, 1, &pod);
                pods -= 1;
                break;
            }
            town.pods(app, 1, &pod);
            (pods, left) = (pods - 1, left - cpu);
        }
    }
    if draws.below(4) == 0 {
        let used = town.world.0.pools[0].used.get(ResourceId(0));
        town.world.0.pools[0].limits = vec![(ResourceId(0), used + 2000 + 2000 * draws.below(3) as i64)];
    }
    if draws.below(4) == 0 {
        town.fleet.nodes[0].removable = false;
    }
    town
}

/// The least that the nodes cost once some of them are gone, their pods wherever the rules let them: every set of nodes, every
/// place for every pod.
fn least(problem: &Problem, fleet: &Fleet) -> Price {
    let whole: Price = fleet.nodes.iter().filter_map(|held| held.price).sum();
    let mut best = whole;
    let free: Vec<usize> = (0..fleet.nodes.len()).filter(|at| fleet.nodes[*at].removable).collect();
    for mask in 1_u32..1 << free.len() {
        let gone: Vec<usize> =
            free.iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0).map(|(_, at)| *at).collect();
        let saved: Price = gone.iter().filter_map(|at| fleet.nodes[*at].price).sum();
        let mut after = problem.clone();
        // Steps follow each other: the second may use what the first has left of a limit.
        after.pools.iter_mut().for_each(|pool| pool.limits.clear());
        after.nodes = (0..problem.nodes.len())
            .filter(|at| !gone.contains(at))
            .map(|at| problem.nodes[at].clone())
            .collect();
        let pods = gone.iter().flat_map(|at| &problem.nodes[*at].pods);
        after.pods =
            pods.map(|pod| Pod { name: pod.name.clone(), spec: pod.spec, labels: pod.labels }).collect();
        let all: Vec<PodId> = (0..after.pods.len()).map(PodId::of).collect();
        if let Some(cost) = cheapest(&after, &all) {
            best = best.min(whole - saved + cost);
        }
    }
    best
}

#[test]
fn no_answer_is_better_than_the_best_there_is_and_most_are_as_good() {
    // Whatever saves anything is wanted.
    let aims = Aims { floor: Price::ZERO, floor_share: 0, payback: None, ..Aims::default() };
    let (mut equal, mut saving, mut above) = (0, 0, 0.0_f64);
    let clusters = 60;
    for seed in 0..clusters {
        let town = tiny(seed);
        let (problem, fleet) = (&town.world.0, &town.fleet);
        let out = consolidated(problem, fleet, &aims);
        let best = least(problem, fleet);
        assert!(out.after >= best, "seed {seed}: {} is below the least, {best}", out.after);
        assert!(out.bound <= best, "seed {seed}: the bound {} is above the least, {best}", out.bound);
        equal += usize::from(out.after == best);
        saving += usize::from(best < out.before);
        above = above.max(out.after.dollars() / best.dollars().max(1e-9) - 1.0);
    }
    #[expect(clippy::print_stdout, reason = "the figures are worth reading with --nocapture")]
    {
        println!(
            "{equal} of {clusters} are the best there is, {saving} save anything, worst {:.1} % above",
            above * 100.0
        );
    }
    assert!(saving * 2 > clusters as usize, "too few clusters have anything to save: {saving}");
    assert!(equal * 100 >= clusters as usize * 90, "only {equal} of {clusters} are the best there is");
}
