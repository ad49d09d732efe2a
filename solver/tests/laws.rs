//! What holds for every cluster. That plans verify, and cost no less than their bound, is checked by every solve here.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::random::{Draft, draft};
use common::{World, plan, plan_with};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngSeed, TestRunner};
use stowage_solver::{Diversity, Options, Price, Problem, Solution, verify};

/// A plan in names, which do not depend on the order of the input.
fn named(problem: &Problem, solution: &Solution) -> Vec<String> {
    let pods = |ids: &[stowage_solver::PodId]| {
        ids.iter().map(|p| problem.pods[p.index()].name.as_str()).collect::<Vec<_>>().join(",")
    };
    let mut out = vec![format!("{} {}", solution.cost, solution.bound)];
    for node in &solution.new_nodes {
        let of_type = &problem.types[node.instance_type.index()];
        let zone = &of_type.offerings[node.offering].zone;
        let pool = &problem.pools[node.pool.index()].name;
        out.push(format!("{pool} {} {zone} {:?}: {}", of_type.name, node.chosen_labels, pods(&node.pods)));
    }
    for placement in &solution.placements {
        out.push(format!("{}: {}", problem.nodes[placement.node.index()].name, pods(&placement.pods)));
    }
    out.extend(
        solution
            .routed
            .iter()
            .map(|r| format!("{} {:?}: {}", r.price, r.node.map(|n| n.1), problem.pods[r.pod.index()].name)),
    );
    out.extend(solution.unplaced.iter().map(|u| format!("nowhere: {}", problem.pods[u.pod.index()].name)));
    out
}

/// Everything in the problem in another order.
fn shuffled(problem: &Problem) -> Problem {
    let mut other = problem.clone();
    other.pods.reverse();
    other.nodes.reverse();
    other.types.reverse();
    for of_type in &mut other.types {
        of_type.offerings.reverse();
    }
    other.pools.reverse();
    other.daemons.reverse();
    other.quotas.reverse();
    let last = other.quotas.len() as u32;
    for (quota, _) in other.types.iter_mut().flat_map(|t| &mut t.offerings).flat_map(|o| &mut o.draws) {
        quota.0 = last - 1 - quota.0;
    }
    for pool in &mut other.pools {
        pool.requirements.reverse();
    }
    other
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_the_input_is_irrelevant(draft in draft()) {
        let World(problem) = draft.world(false);
        let other = shuffled(&problem);
        prop_assert_eq!(named(&problem, &plan(&problem)), named(&other, &plan(&other)));
    }

    #[test]
    fn pools_that_nobody_can_tell_apart_are_one(draft in draft()) {
        let World(problem) = draft.world(false);
        let mut doubled = problem.clone();
        for pool in problem.pools.iter().filter(|pool| pool.limits.is_empty() && pool.node_limit.is_none()) {
            let mut twin = pool.clone();
            twin.name.push('~');
            twin.labels.insert("never-asked-for".to_owned(), twin.name.clone());
            doubled.pools.push(twin);
        }
        prop_assert_eq!(named(&problem, &plan(&problem)), named(&doubled, &plan(&doubled)));
    }

    #[test]
    fn a_problem_written_out_is_the_same_problem(draft in draft()) {
        let World(problem) = draft.world(false);
        let text = serde_json::to_string(&problem).unwrap();
        prop_assert_eq!(problem, serde_json::from_str::<Problem>(&text).unwrap());
    }

    #[test]
    fn scaling_all_prices_scales_the_cost(draft in draft()) {
        let World(problem) = draft.world(false);
        let mut dear = problem.clone();
        for offering in dear.types.iter_mut().flat_map(|t| &mut t.offerings) {
            offering.price = offering.price * 4;
            offering.rebate = offering.rebate * 4;
        }
        for pool in &mut dear.pools {
            pool.node_cost = pool.node_cost * 4;
        }
        for route in dear.specs.iter_mut().filter_map(|spec| spec.route.as_mut()) {
            route.price = route.price * 4;
        }
        let (one, four) = (plan(&problem), plan(&dear));
        // Four, because floats scale exactly by powers of two: ties break the same way.
        prop_assert_eq!(one.cost * 4, four.cost);
        // Bounds are rounded up to whole micro-dollars, and those to sums of prices, which scale. Only where bills may cover
        // parts of nodes are they rounded down.
        let (low, high) = ((one.bound * 4).micros(), four.bound.micros());
        let slack = 4 + high.unsigned_abs() / 100_000;
        prop_assert!(low.abs_diff(high) <= slack, "{} {} at {}", one.bound, four.bound, one.cost);
    }

    #[test]
    fn every_alternative_can_take_its_nodes_place(draft in draft()) {
        let World(problem) = draft.world(false);
        let plan = plan(&problem);
        for (at, node) in plan.new_nodes.iter().enumerate() {
            for alternative in node.alternatives.iter() {
                let mut other = plan.clone();
                let (price, due) = (alternative.offering(&problem).price, alternative.offering(&problem).due());
                // The others' own alternatives may draw on what this one takes.
                other.new_nodes.iter_mut().for_each(|node| node.alternatives = Arc::default());
                let new = &mut other.new_nodes[at];
                (new.instance_type, new.offering) = (alternative.instance_type, alternative.offering as usize);
                (new.price, new.rebate) = (price, price - due);
                other.cost = other.instance_cost() - other.rebate() + other.fixed_cost();
                // Only bounds are checked against what is left of the bill.
                other.instance_bound = Price::ZERO;
                let broken = verify(&problem, &other);
                prop_assert!(broken.is_empty(), "{:?} in the place of {:?}: {:?}", alternative, node, broken);
            }
        }
    }

    #[test]
    fn diversity_costs_no_more_than_it_may_and_makes_nodes_more_flexible(draft in draft(), types in 2usize..6) {
        let World(problem) = draft.world(false);
        let diversity = Diversity { capacity_type: "spot".to_owned(), types, premium: 0.25 };
        let options = Options { diversity: Some(diversity), ..Options::default() };
        let (plain, flexible) = (plan(&problem), plan_with(&problem, &options));
        let named = |s: &Solution| s.unplaced.iter().map(|u| u.pod).collect::<Vec<_>>();
        prop_assert_eq!(named(&plain), named(&flexible));
        prop_assert_eq!(flexible.cost, plain.cost + flexible.premium);
        prop_assert!(flexible.premium.micros() * 4 <= plain.cost.micros(), "{}", flexible.premium);
        // Where limits bind, fewer alternatives may be left for each node.
        if problem.pools.iter().all(|p| p.limits.is_empty() && p.node_limit.is_none()) {
            let least = |s: &Solution| {
                let spot = s.new_nodes.iter().filter(|n| n.offering(&problem).capacity_type == "spot");
                spot.map(|n| n.flexibility(&problem)).min().unwrap_or(usize::MAX).min(types)
            };
            prop_assert!(least(&flexible) >= least(&plain));
        }
    }

    #[test]
    fn the_verifier_notices_a_pod_moved_to_a_full_node(draft in draft()) {
        let World(problem) = draft.world(false);
        let mut solution = plan(&problem);
        if solution.new_nodes.len() < 2 {
            return Ok(());
        }
        // All pods onto the first new node, the others left empty.
        let pods: Vec<_> = solution.new_nodes.iter_mut().flat_map(|n| std::mem::take(&mut n.pods)).collect();
        solution.new_nodes[0].pods = pods;
        prop_assert!(!verify(&problem, &solution).is_empty());
    }
}

/// The generator reaches what it is for.
#[test]
#[expect(clippy::too_many_lines, reason = "one list of what to reach")]
fn the_generator_reaches_every_rule() {
    let mut runner = TestRunner::deterministic();
    let mut reached = BTreeSet::new();
    for _ in 0..400 {
        let draft: Draft = draft().new_tree(&mut runner).unwrap().current();
        let World(problem) = draft.world(false);
        let solution = plan(&problem);
        let mut note = |what: &'static str, yes: bool| {
            if yes {
                reached.insert(what);
            }
        };
        note(
            "several pools in one plan",
            solution.new_nodes.iter().any(|n| n.pool != solution.new_nodes[0].pool),
        );
        note("existing nodes filled", !solution.placements.is_empty());
        note("pods left over", !solution.unplaced.is_empty());
        note(
            "gpus",
            solution.new_nodes.iter().any(|n| {
                problem.types[n.instance_type.index()].capacity.get(stowage_solver::ResourceId(2)) > 0
            }),
        );
        let gpus = |pod: &stowage_solver::PodId| {
            problem.specs[problem.pods[pod.index()].spec.index()].requests.get(stowage_solver::ResourceId(2))
        };
        note(
            "pods with and without gpus on one node",
            solution
                .new_nodes
                .iter()
                .any(|n| n.pods.iter().any(|p| gpus(p) > 0) && n.pods.iter().any(|p| gpus(p) == 0)),
        );
        note(
            "a cap on nodes reached",
            problem.pools.iter().enumerate().any(|(at, pool)| {
                let bought = solution.new_nodes.iter().filter(|n| n.pool.index() == at).count();
                pool.node_limit.is_some_and(|limit| bought as u32 == limit)
            }),
        );
        note("pods routed and nodes bought", !solution.routed.is_empty() && !solution.new_nodes.is_empty());
        note("pods routed that no node holds", solution.routed.iter().any(|r| r.node.is_none()));
        note(
            "nodes bought for pods that might be routed",
            solution
                .new_nodes
                .iter()
                .flat_map(|n| &n.pods)
                .any(|p| problem.specs[problem.pods[p.index()].spec.index()].route.is_some()),
        );
        let drawn = |n: &stowage_solver::NewNode| !n.offering(&problem).draws.is_empty();
        note(
            "quotas spent on some nodes and not on others",
            solution.new_nodes.iter().any(drawn) && !solution.new_nodes.iter().all(drawn),
        );
        note(
            "nodes of reserved capacity",
            solution.new_nodes.iter().any(|n| n.offering(&problem).capacity_type == "reserved"),
        );
        note("nothing to pay", !solution.new_nodes.is_empty() && solution.cost == Price::ZERO);
        note("fixed costs paid", solution.fixed_cost() > Price::ZERO);
        note(
            "existing nodes filled and new ones bought",
            !solution.placements.is_empty() && !solution.new_nodes.is_empty(),
        );
        note(
            "chosen labels",
            solution.new_nodes.iter().any(|n| n.chosen_labels.iter().any(|(_, v)| v == "blue")),
        );
        note(
            "limits bind",
            solution.unplaced.iter().any(|u| {
                u.reasons.iter().any(|r| {
                    matches!(r, stowage_solver::Reason::Pool(_, stowage_solver::Obstacle::Limit { .. }))
                })
            }),
        );
        note(
            "topology binds",
            solution.unplaced.iter().any(|u| {
                u.reasons.iter().any(|r| {
                    matches!(r, stowage_solver::Reason::Pool(_, stowage_solver::Obstacle::Topology(_)))
                })
            }),
        );
        note(
            "alternatives in other zones",
            solution.new_nodes.iter().any(|n| {
                let zone = &n.offering(&problem).zone;
                n.alternatives.iter().any(|a| a.offering(&problem).zone != *zone)
            }),
        );
        note(
            "alternatives of another capacity type only in the same zone",
            solution.new_nodes.iter().any(|n| {
                let own = n.offering(&problem);
                let others = || n.alternatives.iter().map(|a| a.offering(&problem));
                others().any(|o| o.capacity_type != own.capacity_type) && others().all(|o| o.zone == own.zone)
            }),
        );
        let diversity = Diversity { capacity_type: "spot".to_owned(), types: 4, premium: 0.25 };
        let flexible = plan_with(&problem, &Options { diversity: Some(diversity), ..Options::default() });
        note("diversity bought", flexible.premium > Price::ZERO);
        note("a gap", solution.gap() > 0.0 && solution.bound > Price::ZERO);
        note("no gap", solution.cost > Price::ZERO && solution.gap() == 0.0);
    }
    let wanted = [
        "several pools in one plan",
        "existing nodes filled",
        "pods left over",
        "existing nodes filled and new ones bought",
        "gpus",
        "pods with and without gpus on one node",
        "a cap on nodes reached",
        "pods routed and nodes bought",
        "pods routed that no node holds",
        "nodes bought for pods that might be routed",
        "fixed costs paid",
        "chosen labels",
        "limits bind",
        "quotas spent on some nodes and not on others",
        "nodes of reserved capacity",
        "nothing to pay",
        "topology binds",
        "diversity bought",
        "alternatives in other zones",
        "alternatives of another capacity type only in the same zone",
        "a gap",
        "no gap",
    ];
    let missing: Vec<&&str> = wanted.iter().filter(|w| !reached.contains(**w)).collect();
    assert!(missing.is_empty(), "never reached: {missing:?}");
}
