//! What a solve remembers of those before it: it may help, and must never mislead.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::AtomicBool;

use common::random::draft;
use common::{World, amounts, spec};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use stowage_solver::{Effort, Memory, Options, Problem, Solution, solve_again};

fn again(problem: &Problem, memory: &mut Memory) -> Solution {
    within(0.001, problem, memory)
}

fn within(gap: f64, problem: &Problem, memory: &mut Memory) -> Solution {
    let options = Options { effort: Effort::Balanced, gap, max_steps: 20_000_000, ..Options::default() };
    solve_again(problem, &options, memory, &AtomicBool::new(false), &mut |_, _, _| {}).unwrap()
}

/// Services of sizes that do not go into each other, on types of one price for their size.
fn services(more: usize) -> World {
    let mut world = World::new();
    for (at, cpu) in [2i64, 4, 8, 16, 32].into_iter().enumerate() {
        world.instance(&format!("general-{at}"), amounts(cpu * 970, cpu * 3700, 0, 60), cpu as f64 * 0.05);
        world.instance(&format!("compute-{at}"), amounts(cpu * 970, cpu * 1800, 0, 60), cpu as f64 * 0.043);
        world.instance(&format!("memory-{at}"), amounts(cpu * 970, cpu * 7600, 0, 60), cpu as f64 * 0.066);
    }
    for at in 0..40i64 {
        let (cpu, mib) = (110 + at * 37, 230 + (at * at * 53) % 4100);
        world.pods(&format!("app-{at}"), 12 + more + at as usize % 7, spec(cpu, mib));
    }
    world
}

#[test]
fn a_plan_as_good_is_found_in_fewer_steps() {
    let mut memory = Memory::default();
    within(0.015, &services(0).0, &mut memory);
    assert!(!memory.is_empty());
    let remembered = within(0.015, &services(1).0, &mut memory);
    let fresh = within(0.015, &services(1).0, &mut Memory::default());
    assert!(remembered.gap() <= 0.015 && fresh.gap() <= 0.015, "{} {}", remembered.gap(), fresh.gap());
    assert!(
        remembered.stats.steps * 2 < fresh.stats.steps,
        "{} steps with a memory, {} without",
        remembered.stats.steps,
        fresh.stats.steps
    );
}

#[test]
fn a_type_that_is_gone_is_forgotten() {
    let mut memory = Memory::default();
    let first = again(&services(0).0, &mut memory);
    let mut world = services(0);
    let used: Vec<&str> =
        first.new_nodes.iter().map(|n| world.0.types[n.instance_type.index()].name.as_str()).collect();
    let gone = used[0].to_owned();
    world.0.types.retain(|t| t.name != gone);
    let second = again(&world.0, &mut memory);
    assert!(second.unplaced.is_empty() && second.gap() < 0.05, "{}", second.gap());
}

proptest! {
    #![proptest_config(Config { cases: 60, rng_seed: RngSeed::Fixed(11), failure_persistence: None, ..Config::default() })]

    /// `solve_again` verifies what it returns; beyond that, pods placed and proof hold whatever is remembered.
    #[test]
    fn a_memory_of_something_else_does_no_harm(one in draft(), other in draft()) {
        let mut memory = Memory::default();
        again(&other.world(false).0, &mut memory);
        let problem = one.world(false).0;
        let misled = again(&problem, &mut memory);
        let fresh = again(&problem, &mut Memory::default());
        prop_assert!(misled.bound <= misled.cost);
        prop_assert!(fresh.bound <= misled.cost || misled.unplaced.len() != fresh.unplaced.len());
        let repeated = again(&problem, &mut memory.clone());
        prop_assert_eq!(&repeated, &again(&problem, &mut memory));
    }
}
