//! Preferences: kept where that can be, given up in order where it cannot, and never at the cost of a place.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod common;

use std::collections::BTreeMap;

use common::random::{draft, in_zone, preferred, wish};
use common::{World, ZONE, amounts, away_from, near_to, one_of, plan, plan_with, spec, zone_spread};
use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use stowage_solver::{Effort, Options, PodSpec, Preference, Price, Problem, Solution, TopologyKey, verify};

/// Types of 2 cpu / 4 GiB for $1.00 and 8 cpu / 16 GiB for $4.00, in zones a, b and c.
fn shop() -> World {
    let mut world = World::new();
    let small = amounts(2000, 4096, 0, 20);
    world.instance("small", small, 1.0).instance("big", amounts(8000, 16384, 0, 80), 4.0);
    world
}

fn zone() -> TopologyKey {
    TopologyKey::Label(ZONE.to_owned())
}

fn wishing(cpu: i64, preferences: Vec<Preference>) -> PodSpec {
    PodSpec { preferences, ..spec(cpu, 100) }
}

/// Pods by zone, on new and existing nodes.
fn by_zone(world: &World, solution: &Solution) -> BTreeMap<String, usize> {
    let mut zones = BTreeMap::new();
    for placement in &solution.placements {
        *zones.entry(world.0.nodes[placement.node.index()].labels[ZONE].clone()).or_default() +=
            placement.pods.len();
    }
    for new in &solution.new_nodes {
        *zones.entry(new.offering(&world.0).zone.clone()).or_default() += new.pods.len();
    }
    zones
}

fn zones(of: &[(&str, usize)]) -> BTreeMap<String, usize> {
    of.iter().map(|(zone, pods)| ((*zone).to_owned(), *pods)).collect()
}

/// How many pods go without some preference.
fn without(solution: &Solution) -> usize {
    solution.preferences.as_ref().map_or(0, |p| p.given_up.len())
}

#[test]
fn a_preference_that_can_be_had_is_kept_and_what_it_costs_is_told() {
    let mut world = shop();
    // Zone b is dearer: without the wish nothing would go there.
    for of_type in &mut world.0.types {
        of_type.offerings[1].price += Price::from_micros(100_000);
    }
    world.pods("web", 4, wishing(1000, vec![in_zone("b")]));
    let solution = world.solve();
    assert_eq!(by_zone(&world, &solution), zones(&[("b", 4)]));
    assert_eq!((without(&solution), solution.cost), (0, Price::from_micros(2_200_000)));
    let preferences = solution.preferences.expect("some");
    assert_eq!((preferences.pods, preferences.bound), (4, solution.cost));
    // The bound is of what is required, and that alone costs less.
    assert_eq!(
        (preferences.without, solution.bound),
        (Some(Price::from_micros(2_000_000)), Price::from_micros(2_000_000))
    );
}

#[test]
fn preferred_nodes_are_alternatives_and_lighter_ones_count_where_both_can_be_had() {
    let mut world = shop();
    world.pods("a", 1, wishing(1000, vec![in_zone("nowhere"), in_zone("b")]));
    world.pods("b", 1, wishing(1000, vec![in_zone("c"), in_zone("b")]));
    let big = preferred(one_of("node.kubernetes.io/instance-type", &["big"]));
    world.pods("c", 1, wishing(1000, vec![in_zone("c"), big]));
    let solution = world.solve();
    assert_eq!(by_zone(&world, &solution), zones(&[("b", 1), ("c", 2)]));
    assert!(solution.new_nodes.iter().any(|n| n.instance_type.0 == 1));
    // One wish of a and one of b cannot be had.
    assert_eq!(without(&solution), 2);
}

#[test]
fn a_spread_that_domains_do_not_suffice_for_is_given_up_by_all_alike() {
    let mut world = shop();
    let wish = Preference::Spread(zone_spread("web", 1));
    world.pods("web", 5, wishing(500, vec![wish.clone()]));
    let solution = world.solve();
    assert_eq!((by_zone(&world, &solution), without(&solution)), (zones(&[("a", 2), ("b", 2), ("c", 1)]), 0));

    // Zone c has no room for it: a required spread would leave pods over.
    let mut world = shop();
    world.0.types.truncate(1);
    world.0.types[0].offerings.truncate(2);
    let tiny = amounts(100, 4096, 0, 20);
    world.instance_in("tiny", tiny, 0.1, &["c"]);
    world.pods("web", 6, wishing(500, vec![wish]));
    let solution = world.solve();
    assert_eq!((solution.unplaced.len(), without(&solution)), (0, 6));
}

#[test]
fn nodes_that_exist_are_chosen_by_preference_and_never_refused_for_it() {
    let mut world = shop();
    world.node("old-a", "a", amounts(2000, 4096, 0, 20)).node("old-b", "b", amounts(2000, 4096, 0, 20));
    world.pods("web", 4, wishing(500, vec![in_zone("b")]));
    let solution = world.solve();
    assert_eq!((by_zone(&world, &solution), without(&solution)), (zones(&[("b", 4)]), 0));
    // Eight fill both; nobody is bought a node in b while there is one in a.
    world.pods("more", 4, wishing(500, vec![in_zone("b")]));
    let solution = world.solve();
    assert_eq!((by_zone(&world, &solution), without(&solution)), (zones(&[("a", 4), ("b", 4)]), 4));
    // The ninth has no room there, and its node is in b.
    world.pods("last", 1, wishing(500, vec![in_zone("b")]));
    let solution = world.solve();
    assert_eq!((by_zone(&world, &solution), without(&solution)), (zones(&[("a", 4), ("b", 5)]), 4));
}

#[test]
fn only_pods_that_a_preferred_pool_cannot_hold_go_elsewhere() {
    let mut world = shop();
    world.pool("reserved", |pool| pool.node_limit = Some(1));
    let reserved = preferred(one_of("karpenter.sh/nodepool", &["reserved"]));
    world.pods("web", 12, wishing(1000, vec![reserved]));
    let solution = world.solve();
    let pods = |pool: &str| -> usize {
        let of_pool = solution.new_nodes.iter().filter(|n| world.0.pools[n.pool.index()].name == pool);
        of_pool.map(|n| n.pods.len()).sum()
    };
    assert_eq!((pods("reserved"), pods("default"), without(&solution)), (8, 4, 4));
}

#[test]
fn no_pod_loses_its_place_to_the_preference_of_another() {
    let mut world = shop();
    for of_type in &mut world.0.types {
        of_type.offerings.truncate(1);
    }
    world.pods("db", 1, wishing(500, vec![Preference::Away(away_from(zone(), "web"))]));
    world.pods("web", 1, wishing(500, Vec::new()));
    let solution = world.solve();
    assert_eq!((solution.unplaced.len(), without(&solution)), (0, 1));
}

#[test]
fn preferred_company_is_sought_and_missing_company_is_done_without() {
    let mut world = shop();
    world.node("old", "c", amounts(100, 100, 0, 20)).running("db", spec(100, 10));
    world.pods("web", 2, wishing(1000, vec![Preference::Near(near_to(zone(), "db"))]));
    world.pods("api", 1, wishing(1000, vec![Preference::Near(near_to(zone(), "nobody"))]));
    let solution = world.solve();
    assert!(by_zone(&world, &solution)["c"] >= 2);
    assert_eq!((solution.unplaced.len(), without(&solution)), (0, 1));
}

#[test]
fn a_preferred_zone_does_not_narrow_a_required_spread() {
    let mut world = shop();
    let preferences = vec![in_zone("a")];
    world.pods("web", 6, PodSpec { spread: vec![zone_spread("web", 1)], ..wishing(500, preferences) });
    let solution = world.solve();
    assert_eq!(by_zone(&world, &solution), zones(&[("a", 2), ("b", 2), ("c", 2)]));
}

#[test]
fn preferences_cost_no_pod_its_place_and_the_bound_holds_without_them() {
    let config = Config { failure_persistence: None, rng_seed: RngSeed::Fixed(3), ..Config::default() };
    let mut runner = TestRunner::new(config);
    let strategy = (draft(), vec(vec(0..9_u8, 0..3), 8));
    let (mut wishing, mut without_some) = (0, 0);
    for case in 0..150 {
        let (draft, wishes) = strategy.new_tree(&mut runner).unwrap().current();
        let World(ignored) = draft.world(false);
        let mut problem = ignored.clone();
        for (spec, wishes) in problem.specs.iter_mut().zip(wishes.iter().cycle()) {
            spec.preferences = wishes.iter().map(|number| wish(*number)).collect();
        }
        let (kept, free) = (plan(&problem), plan(&ignored));
        assert!(kept.unplaced.len() <= free.unplaced.len(), "{case}: {problem:#?}");
        let left = |s: &Solution| s.unplaced.iter().map(|u| u.pod).collect::<Vec<_>>();
        if left(&kept) == left(&free) {
            assert!(kept.bound <= free.cost, "{case}: {problem:#?}");
        }
        assert!(kept.bound <= kept.cost && verify(&problem, &kept).is_empty(), "{case}");
        let mut reversed = problem.clone();
        reversed.types.reverse();
        reversed.nodes.reverse();
        let reversed = plan(&reversed);
        assert_eq!((kept.cost, without(&kept)), (reversed.cost, without(&reversed)), "{case}");
        wishing += usize::from(kept.preferences.is_some());
        without_some += without(&kept);
    }
    assert!(wishing > 100 && without_some > 50, "{wishing} clusters, {without_some} pods");
}

/// The same problem with the pods that a plan holds only, without wishes and limits.
fn only_held(problem: &Problem, solution: &Solution) -> Problem {
    let mut held = problem.clone();
    held.specs.iter_mut().for_each(|spec| spec.preferences.clear());
    for pool in &mut held.pools {
        pool.limits.clear();
        pool.node_limit = None;
    }
    let left: Vec<usize> = solution.unplaced.iter().map(|u| u.pod.index()).collect();
    let mut at = 0;
    held.pods.retain(|_| {
        at += 1;
        !left.contains(&(at - 1))
    });
    held
}

/// Where limits leave pods over, plans with wishes and plans without may leave over different ones.
#[test]
fn a_plan_with_wishes_has_a_bound_whoever_it_holds() {
    let config = Config { failure_persistence: None, rng_seed: RngSeed::Fixed(5), ..Config::default() };
    let mut runner = TestRunner::new(config);
    let strategy = (draft(), vec(vec(0..9_u8, 0..3), 8));
    let quick = Options { effort: Effort::Quick, ..Options::default() };
    let (mut of_others, mut tight, mut compared) = (0, 0, 0);
    for case in 0..1500_u32 {
        let (draft, wishes) = strategy.new_tree(&mut runner).unwrap().current();
        let World(mut problem) = draft.world(false);
        for pool in &mut problem.pools {
            pool.node_limit = Some(1 + case % 3);
            pool.weight = 0;
        }
        for (spec, wishes) in problem.specs.iter_mut().zip(wishes.iter().cycle()) {
            spec.preferences = wishes.iter().map(|number| wish(*number)).collect();
        }
        let solution = plan_with(&problem, &quick);
        // Only plans of which nobody planned the same pods without wishes.
        if solution.preferences.as_ref().is_none_or(|p| p.without.is_some()) {
            continue;
        }
        of_others += 1;
        assert!(solution.bound <= solution.cost, "{case}: {problem:#?}");
        let held = only_held(&problem, &solution);
        let other = plan(&held);
        if other.unplaced.is_empty() {
            compared += 1;
            assert!(solution.bound <= other.cost, "{case}: {} above {}", solution.bound, other.cost);
            // What the pods need at least is seen where there is something to buy.
            tight += usize::from(solution.bound > Price::ZERO || other.bound == Price::ZERO);
        }
    }
    assert!(of_others >= 5 && compared >= 3 && tight == compared, "{of_others}: {tight} of {compared}");
}

#[test]
fn preferred_company_is_no_rule_beside_required_company() {
    let mut world = shop();
    // The node that the pod has to be on is full, so it stays where it is: beside nobody.
    world.node("home", "a", amounts(500, 4096, 0, 20)).running("web", spec(500, 100));
    let affinity = vec![near_to(TopologyKey::Host, "web")];
    let preferences = vec![Preference::Near(near_to(zone(), "db"))];
    world.pods("web", 1, PodSpec { affinity, ..wishing(500, preferences) });
    assert_eq!(plan(&world.0).unplaced.len(), 1);
}
