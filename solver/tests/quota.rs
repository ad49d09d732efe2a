//! What is paid for already: quotas, and the offerings that draw on them.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod common;

use common::random::draft;
use common::{CAPACITY, World, amounts, node_selector, one_of, plan, spec};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use stowage_solver::{InstanceType, Obstacle, Offering, Price, Problem, Reason, Solution, verify};

/// Two types alike, one a little dearer.
fn two_types() -> World {
    let mut world = World::new();
    world.instance_in("cheap", amounts(2000, 4096, 0, 10), 0.09, &["a"]);
    world.instance_in("dear", amounts(2000, 4096, 0, 10), 0.10, &["a"]);
    world
}

/// Covers a type, at so many units a node.
fn only(name: &str, units: i64) -> impl Fn(usize, &InstanceType, &Offering) -> Option<i64> {
    move |_, of_type, _| (of_type.name == name).then_some(units)
}

/// How many nodes are bought of each type, and how many of those draw on a quota.
fn bought(problem: &Problem, solution: &Solution, name: &str) -> (usize, usize) {
    let of = solution.new_nodes.iter().filter(|n| problem.types[n.instance_type.index()].name == name);
    (of.clone().count(), of.filter(|n| !n.offering(problem).draws.is_empty()).count())
}

#[test]
fn a_covered_type_goes_before_a_cheaper_one_as_far_as_it_is_covered() {
    let mut world = two_types();
    world.covered("plan", 13, only("dear", 5)).pods("web", 3, spec(1500, 1024));
    let solution = world.solve();
    assert_eq!(bought(&world.0, &solution, "dear"), (2, 2));
    assert_eq!(bought(&world.0, &solution, "cheap"), (1, 0));
    assert_eq!(
        (solution.cost, solution.instance_cost()),
        (Price::from_micros(90_000), Price::from_micros(290_000))
    );
    // A bill that covers part of a node pays two fifths of the third one, at least.
    assert!(solution.bound >= Price::from_micros(35_800), "{}", solution.bound);
    assert!(solution.instance_bound >= Price::from_micros(269_990), "{}", solution.instance_bound);
}

#[test]
fn what_covers_everything_leaves_nothing_to_pay() {
    let mut world = two_types();
    world.covered("plan", 1_000_000_000_000, only("dear", 5)).pods("web", 40, spec(700, 512));
    let solution = world.solve();
    assert_eq!((solution.cost, solution.bound, solution.gap()), (Price::ZERO, Price::ZERO, 0.0));
    // Nor more of it than need be: two pods fit a node.
    assert_eq!(bought(&world.0, &solution, "dear"), (20, 20));
}

#[test]
fn it_is_spent_where_it_saves_most() {
    let mut world = World::new();
    world.instance_in("big", amounts(8000, 16384, 0, 10), 0.40, &["a"]);
    world.instance_in("small", amounts(2000, 4096, 0, 10), 0.10, &["a"]);
    // A big one saves 40 cents for five units, a small one 10 cents for two.
    let units = |_: usize, of: &InstanceType, _: &Offering| Some(if of.name == "big" { 5 } else { 2 });
    world.covered("plan", 5, units).pods("batch", 1, spec(7500, 8192)).pods("web", 2, spec(1500, 1024));
    let solution = world.solve();
    assert_eq!(bought(&world.0, &solution, "big"), (1, 1));
    assert_eq!(solution.cost, Price::from_micros(200_000));
}

#[test]
fn pods_that_need_reserved_capacity_get_it_and_the_rest_waits() {
    let mut world = two_types();
    let held = node_selector(one_of(CAPACITY, &["reserved"]));
    let mut needy = spec(1500, 1024);
    needy.node.push(held);
    world.reserved(0, 2, 0.0).pods("any", 2, spec(1500, 1024)).pods("needy", 3, needy);
    let solution = world.solve();
    assert_eq!(solution.cost, Price::from_micros(180_000));
    let [waits] = solution.unplaced.as_slice() else { panic!("{:?}", solution.unplaced) };
    let spent = Obstacle::Spent { quota: "reservation-0".to_owned() };
    assert!(matches!(&waits.reasons[..], [Reason::Pool(_, obstacle)] if *obstacle == spent), "{waits:?}");
}

#[test]
fn the_verifier_counts_for_itself() {
    let mut world = two_types();
    world.covered("plan", 10, only("dear", 5)).pods("web", 2, spec(1500, 1024));
    let solution = world.solve();
    assert_eq!(bought(&world.0, &solution, "dear"), (2, 2));
    world.0.quotas[0].units = 9;
    let found = verify(&world.0, &solution);
    assert!(found.iter().any(|v| v.what == "quota plan: 10 units are drawn, it has 9"), "{found:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn more_of_a_quota_never_costs_more(draft in draft()) {
        let World(problem) = draft.world(false);
        let mut more = problem.clone();
        more.quotas.iter_mut().for_each(|quota| quota.units *= 2);
        let (less, more) = (plan(&problem), plan(&more));
        if less.unplaced.is_empty() && more.unplaced.is_empty() {
            prop_assert!(more.bound <= less.cost, "{} with more, {} with less", more.bound, less.cost);
        }
    }

    #[test]
    fn without_quotas_it_costs_as_much_at_least(draft in draft()) {
        let World(problem) = draft.world(false);
        let mut bare = problem.clone();
        bare.types.iter_mut().for_each(|of_type| of_type.offerings.retain(|offering| offering.draws.is_empty()));
        let (with, without) = (plan(&problem), plan(&bare));
        if with.unplaced.is_empty() && without.unplaced.is_empty() && bare.pools.iter().all(|p| p.weight == 0) {
            prop_assert!(with.bound <= without.cost, "{} with, {} without", with.bound, without.cost);
        }
    }
}
