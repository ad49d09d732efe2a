//! Explanations: what they say of small clusters where it can be worked out by hand, and laws that hold for all.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use common::random::draft;
use common::{World, amounts, away_from, node_selector, one_of, plan, spec, taint, zone_spread};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngSeed, TestRunner};
use stowage_solver::explain::{
    Binding, Cheaper, ExplainOptions, Explanation, Hurdle, HurdleSort, NodeStory, Place, PodStory, Rule,
    RuleCost, Unfit, explain, explain_pod,
};
use stowage_solver::{PodId, PodSpec, Price, Problem, ResourceId, Solution, TopologyKey, verify};

const CPU: ResourceId = ResourceId(0);
const MEMORY: ResourceId = ResourceId(1);

fn told(problem: &Problem, solution: &Solution, rules: usize) -> Explanation {
    let options = ExplainOptions { rules, ..ExplainOptions::default() };
    explain(problem, solution, &options, &AtomicBool::new(false), &mut |_, _, _| {})
}

fn pod_told(problem: &Problem, name: &str) -> PodStory {
    let pod = PodId::of(problem.pods.iter().position(|p| p.name == name).unwrap());
    let options = ExplainOptions::default();
    explain_pod(problem, &plan(problem), pod, &options, &AtomicBool::new(false)).unwrap()
}

fn dollars(dollars: f64) -> Price {
    Price::from_dollars(dollars).unwrap()
}

/// Three services that each fill a node, in three zones of which the last is dear.
fn dear_zone() -> World {
    let mut world = World::new();
    world.instance_in("m.cheap", amounts(2000, 8000, 0, 10), 1.0, &["a", "b"]);
    world.instance_in("m.dear", amounts(2000, 8000, 0, 10), 3.0, &["c"]);
    world.pods("web", 3, PodSpec { spread: vec![zone_spread("web", 1)], ..spec(2000, 1000) });
    world
}

fn only(explanation: &Explanation, wanted: impl Fn(&Rule) -> bool) -> &RuleCost {
    explanation.rules.measured.iter().find(|r| wanted(&r.rule)).unwrap()
}

#[test]
fn a_spread_into_a_dear_zone_costs_the_difference() {
    let World(problem) = dear_zone();
    let plan = plan(&problem);
    assert_eq!(plan.cost, dollars(5.0));
    let told = told(&problem, &plan, 12);
    let spread = only(&told, |r| matches!(r, Rule::Spread(_)));
    let costs = spread.costs.unwrap();
    let two = dollars(2.0);
    assert_eq!((costs.plan, costs.bound, costs.at_least, costs.at_most), (two, two, two, two));
    assert_eq!(told.rules.measured[0].rule, spread.rule, "the dearest comes first");
    let dear = told.nodes.iter().find(|n| plan.new_nodes[n.nodes[0] as usize].price == dollars(3.0)).unwrap();
    let dealt = dear.cheaper.iter().find(|c| matches!(c.hurdle, Hurdle::Domain { .. })).unwrap();
    assert_eq!(dealt.saves, two, "zones a and b are as big, and cheaper, but the spread says c");
}

#[test]
fn rules_beyond_what_is_asked_for_are_counted() {
    let World(problem) = dear_zone();
    let told = told(&problem, &plan(&problem), 1);
    assert_eq!((told.rules.measured.len(), told.rules.left_out), (1, 1));
}

#[test]
fn a_node_says_what_fills_it_and_what_smaller_ones_lack() {
    let mut world = World::new();
    world.instance("m.big", amounts(4000, 16_000, 0, 10), 1.0);
    world.instance("m.small", amounts(2000, 8000, 0, 10), 0.6);
    world.instance("c.big", amounts(4000, 6000, 0, 10), 0.9);
    world.daemon("agent", spec(400, 1000));
    world.pods("web", 4, spec(900, 2000));
    let plan = plan(&world.0);
    let told = told(&world.0, &plan, 0);
    let [node] = told.nodes.as_slice() else { panic!("{:?}", told.nodes) };
    assert_eq!(node.binding, Binding::Resource(CPU));
    assert_eq!((node.fills[0].resource, node.fills[0].pods, node.fills[0].daemons), (CPU, 3600, 400));
    let [c, small] = node.cheaper.as_slice() else { panic!("{:?}", node.cheaper) };
    let lack = |cpu: i64, mib: i64| vec![(MEMORY, mib << 20), (CPU, cpu)];
    assert_eq!(c.hurdle, Hurdle::Room { lacks: vec![(MEMORY, 3000 << 20)], holds: 2, of: 4 });
    let Hurdle::Room { lacks, holds, of } = &small.hurdle else { panic!("{small:?}") };
    let mut sorted = lacks.clone();
    sorted.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
    assert_eq!((sorted, *holds, *of), (lack(2000, 1000), 1, 4));
    assert_eq!(node.smaller.as_ref(), Some(small), "a size smaller is of the same family");
    assert!(told.rules.measured.is_empty() && told.rules.left_out > 0, "no rule was asked for");
}

#[test]
fn a_rule_of_hosts_binds_where_there_is_room() {
    let mut world = World::new();
    world.instance("m.big", amounts(4000, 16_000, 0, 10), 1.0);
    let apart = PodSpec { anti_affinity: vec![away_from(TopologyKey::Host, "db")], ..spec(500, 1000) };
    world.pods("db", 3, apart);
    let told = told(&world.0, &plan(&world.0), 12);
    assert!(matches!(told.nodes[0].binding, Binding::HostRule(_)), "{:?}", told.nodes);
    let costs = only(&told, |r| matches!(r, Rule::AntiAffinity(_))).costs.unwrap();
    assert_eq!((costs.plan, costs.at_least), (dollars(2.0), dollars(2.0)));
}

#[test]
fn a_pod_without_a_place_is_told_what_would_let_it_in() {
    let mut world = World::new();
    world.instance("m.big", amounts(4000, 16_000, 0, 10), 1.0);
    world.pool("tainted", |pool| pool.taints = vec![taint("team")]);
    world.pods("web", 1, PodSpec { node: vec![node_selector(one_of("disk", &["ssd"]))], ..spec(500, 1000) });
    world.node("old", "a", amounts(100, 16_000, 0, 10));
    let story = pod_told(&world.0, "default/web-0000");
    assert!(matches!(story.place, Place::Nowhere(_)));
    let remedies: Vec<&Rule> = story.remedies.iter().map(|r| &r.rule).collect();
    assert!(matches!(remedies.as_slice(), [Rule::NodeConstraint { .. }]), "{remedies:?}");
    assert_eq!(story.pools.iter().map(|p| (p.kinds, p.fit)).collect::<Vec<_>>(), [(3, 0), (3, 0)]);
    assert!(matches!(story.pools[0].refused[0].why, Unfit::Constraint { .. }));
    assert!(matches!(story.pools[1].refused[0].why, Unfit::Taint(_)));
    assert!(matches!(story.nodes[0].why, Unfit::Constraint { .. }));
}

#[test]
fn a_pod_with_a_place_knows_its_share() {
    let World(problem) = dear_zone();
    let story = pod_told(&problem, "default/web-0000");
    let Place::New { share, of, .. } = story.place else { panic!("{story:?}") };
    assert!((share - 1.0).abs() < 1e-9 && of == Some(CPU));
    assert_eq!(story.cheapest.unwrap().price, dollars(1.0));
    assert!(story.remedies.is_empty());
}

/// The plan with `cheaper` in the place of the first node of a story.
fn instead(problem: &Problem, plan: &Solution, story: &NodeStory, cheaper: &Cheaper) -> Option<Solution> {
    let mut other = plan.clone();
    let new = &mut other.new_nodes[story.nodes[0] as usize];
    // Another pool may have other labels to choose.
    if new.pool != cheaper.pool && !problem.pools[cheaper.pool.index()].open_labels.is_empty() {
        return None;
    }
    if new.pool != cheaper.pool {
        new.chosen_labels.clear();
    }
    new.pool = cheaper.pool;
    new.fixed_cost = problem.pools[cheaper.pool.index()].node_cost;
    new.instance_type = cheaper.instance_type;
    new.offering = cheaper.offering? as usize;
    new.price = new.offering(problem).price;
    new.alternatives = Arc::default();
    other.cost = other.instance_cost() - other.rebate() + other.fixed_cost();
    (other.bound, other.instance_bound) = (Price::ZERO, Price::ZERO);
    Some(other)
}

/// The smallest pods of a node alone on something else, with no rules between pods.
fn alone(
    problem: &Problem,
    plan: &Solution,
    story: &NodeStory,
    cheaper: &Cheaper,
    holds: u32,
) -> (Problem, Solution) {
    let mut bare = problem.clone();
    for spec in &mut bare.specs {
        (spec.spread, spec.affinity, spec.anti_affinity) = (Vec::new(), Vec::new(), Vec::new());
        spec.unbound_claims.clear();
    }
    bare.nodes.clear();
    let mut node = instead(problem, plan, story, cheaper).unwrap().new_nodes[story.nodes[0] as usize].clone();
    let room = &problem.types[cheaper.instance_type.index()].allocatable;
    let share = |pod: &PodId| {
        let requests = problem.specs[problem.pods[pod.index()].spec.index()].requests.iter();
        requests.map(|(id, n)| n as f64 / room.get(id).max(1) as f64).fold(0.0, f64::max)
    };
    node.pods.sort_by(|a, b| share(a).total_cmp(&share(b)));
    node.pods.truncate(holds as usize);
    node.pods.sort_by(|a, b| problem.pods[a.index()].name.cmp(&problem.pods[b.index()].name));
    // Only those pods are there, under new numbers.
    let pods = node.pods.iter().map(|pod| problem.pods[pod.index()].clone()).collect();
    bare.pods = pods;
    node.pods = (0..bare.pods.len()).map(PodId::of).collect();
    let solution = Solution {
        cost: node.price - node.rebate + node.fixed_cost,
        new_nodes: vec![node],
        ..Solution::default()
    };
    (bare, solution)
}

#[test]
fn the_generator_reaches_every_sort_of_obstacle() {
    let mut runner = TestRunner::deterministic();
    let mut reached = BTreeSet::new();
    for _ in 0..300 {
        let World(problem) = draft().new_tree(&mut runner).unwrap().current().world(false);
        for story in told(&problem, &plan(&problem), 0).nodes {
            for cheaper in story.cheaper.iter().chain(&story.smaller) {
                reached.insert(match cheaper.hurdle.sort() {
                    HurdleSort::Room(_) => "room",
                    HurdleSort::Taint => "taint",
                    HurdleSort::Constraint => "constraint",
                    HurdleSort::Domain => "domain",
                    HurdleSort::Limit => "limit",
                    HurdleSort::Weight => "weight",
                    _ => "other",
                });
            }
        }
    }
    for sort in ["room", "taint", "constraint", "domain", "limit", "weight"] {
        assert!(reached.contains(sort), "{sort} is not among {reached:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn obstacles_are_real(draft in draft()) {
        let World(problem) = draft.world(false);
        let plan = plan(&problem);
        for story in &told(&problem, &plan, 0).nodes {
            for cheaper in story.cheaper.iter().chain(&story.smaller) {
                // Pods are dealt to domains, and to heavy pools, before prices are looked at: that is no rule broken.
                let rule = matches!(
                    cheaper.hurdle,
                    Hurdle::Taint { .. } | Hurdle::Constraint { .. } | Hurdle::HostPort { .. } | Hurdle::Room { .. } | Hurdle::Limit { .. }
                );
                let Some(other) = instead(&problem, &plan, story, cheaper) else { continue };
                if rule {
                    prop_assert!(!verify(&problem, &other).is_empty(), "{:?} would do for {:?}", cheaper, story);
                }
                if let Hurdle::Room { holds, of, .. } = cheaper.hurdle {
                    prop_assert!(holds < of, "{:?}", cheaper);
                    if problem.daemons.is_empty() && holds > 0 {
                        let (bare, some) = alone(&problem, &plan, story, cheaper, holds);
                        let broken = verify(&bare, &some);
                        prop_assert!(broken.is_empty(), "{:?}: {:?}", cheaper, broken);
                    }
                }
            }
        }
    }

    #[test]
    fn shadow_prices_add_up_to_a_bound(draft in draft()) {
        let World(problem) = draft.world(false);
        let plan = plan(&problem);
        let prices = told(&problem, &plan, 0).prices;
        let parts = prices.resources.iter().map(|p| p.value).chain(prices.host_rules.iter().map(|r| r.value));
        let parts = parts.chain([prices.routes]);
        let (sum, count) = (parts.clone().sum::<Price>(), parts.count() as u64);
        prop_assert!(sum.micros().abs_diff(prices.gross.micros()) <= count, "{:?}", prices);
        let net = (prices.gross - prices.existing - prices.quotas).max(Price::ZERO);
        prop_assert!(net.micros().abs_diff(prices.bound.micros()) <= 2, "{:?}", prices);
        prop_assert!(prices.bound <= plan.cost, "{:?} of {:?}", prices, plan);
    }

    #[test]
    fn what_is_proven_of_rules_is_consistent(draft in draft()) {
        let World(problem) = draft.world(false);
        let plan = plan(&problem);
        let all = told(&problem, &plan, 6);
        for costs in all.rules.measured.iter().filter_map(|r| r.costs) {
            prop_assert!(costs.at_least <= costs.at_most, "{:?} of {:?}", costs, all.rules);
            prop_assert!(costs.at_most <= plan.cost.max(all.rules.base.cost));
        }
        prop_assert_eq!(all, told(&problem, &plan, 6));
    }
}
