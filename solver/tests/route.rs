//! Routes: pods on machines of their own, beside all nodes.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod common;

use common::{World, ZONE, amounts, away_from, near_to, plan, plan_with, route, spec, zone_spread};
use stowage_solver::{
    Effort, Options, PodSpec, Price, Problem, Routed, Solution, Status, TopologyKey, closed_routes, verify,
};

fn zone() -> TopologyKey {
    TopologyKey::Label(ZONE.to_owned())
}

/// A pod of half a CPU that may run on a machine of its own.
fn routable(mills: i64) -> PodSpec {
    PodSpec { route: Some(route(mills)), ..spec(500, 512) }
}

/// One type of two CPUs at ten cents.
fn world() -> World {
    let mut world = World::new();
    world.instance("two", amounts(2000, 8192, 0, 20), 0.10);
    world
}

fn routed(problem: &Problem, solution: &Solution) -> Vec<String> {
    solution.routed.iter().map(|r| problem.pods[r.pod.index()].name.clone()).collect()
}

#[test]
fn nodes_win_where_they_are_full_and_routes_where_they_are_not() {
    for (pods, nodes, dollars) in [(1, 0, 0.03), (3, 0, 0.09), (4, 1, 0.10), (5, 1, 0.13), (8, 2, 0.20)] {
        for effort in [Effort::Quick, Effort::Balanced] {
            let mut world = world();
            world.pods("web", pods, routable(30));
            let solution = plan_with(&world.0, &Options { effort, ..Options::default() });
            assert_eq!(solution.new_nodes.len(), nodes, "{pods} pods");
            assert_eq!(Some(solution.cost), Price::from_dollars(dollars), "{pods} pods");
            assert_eq!(solution.routed.len(), pods - 4 * nodes);
        }
    }
}

#[test]
fn a_plan_of_routes_alone_is_optimal_and_says_what_nodes_would_cost() {
    let mut world = world();
    world.pods("web", 3, routable(10));
    let solution = world.solve();
    assert_eq!((solution.status, solution.bound), (Status::Optimal, solution.cost));
    assert_eq!(solution.without_routes, Price::from_dollars(0.10));
    assert_eq!(solution.routed[0].node.map(|(_, price)| price), Price::from_dollars(0.10));
    assert_eq!(solution.instance_cost(), solution.cost);
}

#[test]
fn what_no_node_holds_is_routed() {
    let mut world = world();
    world.pods("big", 1, PodSpec { route: Some(route(500)), ..spec(4000, 512) });
    let solution = world.solve();
    assert_eq!(routed(&world.0, &solution), ["default/big-0000"]);
    assert_eq!((solution.routed[0].node, solution.without_routes), (None, None));
    // Nor does it take a NodePool.
    world.0.pools.clear();
    assert_eq!(world.solve().routed.len(), 1);
}

#[test]
fn room_that_is_paid_for_comes_first() {
    let mut world = world();
    world.node("old", "a", amounts(1000, 2048, 0, 10)).pods("web", 3, routable(1));
    let solution = world.solve();
    assert_eq!((solution.placements[0].pods.len(), solution.routed.len()), (2, 1));
}

#[test]
fn routable_pods_fill_nodes_that_others_need() {
    let mut world = world();
    world.pods("firm", 1, spec(1000, 512)).pods("web", 3, routable(5));
    let solution = world.solve();
    assert_eq!((solution.new_nodes[0].pods.len(), solution.routed.len()), (3, 1));
}

/// A node of four CPUs for a big and a small pod, or one of two for the big one, and a route.
#[test]
fn a_smaller_node_and_a_route_may_be_cheaper_than_a_bigger_node() {
    let mut world = world();
    world.instance("four", amounts(4000, 16384, 0, 20), 0.20);
    world.pods("firm", 1, spec(2000, 512)).pods("web", 1, routable(30));
    let solution = world.solve();
    assert_eq!((solution.new_nodes.len(), Some(solution.cost)), (1, Price::from_dollars(0.13)));
}

#[test]
fn where_a_limit_binds_pods_with_a_route_make_way() {
    for priority in [0, 10] {
        let mut world = world();
        world.0.pools[0].node_limit = Some(1);
        world.pods("web", 4, PodSpec { priority, ..routable(300) }).pods("firm", 4, spec(500, 512));
        let solution = world.solve();
        assert!(solution.unplaced.is_empty(), "{:?}", solution.unplaced);
        assert_eq!(routed(&world.0, &solution).len(), 4);
    }
}

#[test]
fn a_lighter_pool_is_cheaper_than_a_route_once_the_heavier_is_spent() {
    let mut world = world();
    world.pool("first", |p| {
        p.weight = 10;
        p.node_limit = Some(1);
    });
    world.pods("web", 8, routable(100));
    let solution = world.solve();
    assert_eq!((solution.new_nodes.len(), Some(solution.cost)), (2, Price::from_dollars(0.20)));
}

#[test]
fn rules_over_zones_close_routes() {
    let selects = |change: &dyn Fn(&mut PodSpec)| {
        let mut other = spec(2000, 512);
        change(&mut other);
        let mut world = world();
        world.pods("web", 1, routable(1)).pods("other", 1, other);
        let closed = closed_routes(&world.0).len();
        assert_eq!(world.solve().routed.len(), 1 - closed);
        closed
    };
    assert_eq!(selects(&|_| {}), 0);
    assert_eq!(selects(&|s| s.anti_affinity.push(away_from(TopologyKey::Host, "web"))), 0);
    assert_eq!(selects(&|s| s.anti_affinity.push(away_from(zone(), "web"))), 1);
    assert_eq!(selects(&|s| s.affinity.push(near_to(TopologyKey::Host, "web"))), 1);
    assert_eq!(selects(&|s| s.spread.push(zone_spread("web", 1))), 1);
    // Its own rules do so, too; and those of pods that run only where they keep others away.
    let mut world = world();
    world.pods("web", 1, PodSpec { spread: vec![zone_spread("web", 1)], ..routable(1) });
    assert_eq!(closed_routes(&world.0).len(), 1);
    for (running, closed) in [
        (PodSpec { affinity: vec![near_to(zone(), "web")], ..spec(0, 0) }, 0),
        (PodSpec { anti_affinity: vec![away_from(zone(), "web")], ..spec(0, 0) }, 1),
    ] {
        let mut world = self::world();
        world.node("old", "a", amounts(0, 0, 0, 1)).running("other", running).pods("web", 1, routable(1));
        assert_eq!(closed_routes(&world.0).len(), closed);
        assert_eq!(world.solve().routed.len(), 1 - closed);
    }
}

#[test]
fn the_verifier_knows_who_may_be_routed_and_for_how_much() {
    let mut world = world();
    world.pods("web", 1, routable(10)).pods("firm", 1, spec(500, 512));
    let problem = &world.0;
    let sound = plan(problem);
    assert!(verify(problem, &sound).is_empty());
    let broken = |change: &dyn Fn(&mut Solution)| {
        let mut other = sound.clone();
        change(&mut other);
        other.cost = other.instance_cost() + other.fixed_cost();
        (other.bound, other.instance_bound) = (Price::ZERO, Price::ZERO);
        verify(problem, &other).first().map(|v| v.what.clone()).unwrap_or_default()
    };
    let to_route = |s: &mut Solution, price: i64| {
        for node in std::mem::take(&mut s.new_nodes) {
            let price = Price::from_micros(price);
            s.routed.extend(node.pods.iter().map(|pod| Routed { pod: *pod, price, node: None }));
        }
    };
    // The free room of the node is where the routable pod went.
    assert!(broken(&|s| to_route(s, 10_000)).contains("its route is none"));
    let mut both = world.clone();
    both.0.specs[1].route = Some(route(20));
    let mut other = sound.clone();
    to_route(&mut other, 10_000);
    other.cost = other.instance_cost();
    (other.bound, other.instance_bound) = (Price::ZERO, Price::ZERO);
    let said: Vec<String> = verify(&both.0, &other).into_iter().map(|v| v.what).collect();
    assert!(said.iter().any(|s| s.contains("routed for $0.01, its route is $0.02")), "{said:?}");
    both.0.specs[1].route = Some(route(10));
    assert!(verify(&both.0, &other).is_empty());
    both.0.specs[1].spread.push(zone_spread("firm", 1));
    assert!(!verify(&both.0, &other).is_empty());
    both.0.specs[1].spread.clear();
    both.0.specs[1].anti_affinity.push(away_from(zone(), "web"));
    let said: Vec<String> = verify(&both.0, &other).into_iter().map(|v| v.what).collect();
    assert!(said.iter().any(|s| s.contains("other pods ask where it is")), "{said:?}");
}

#[test]
fn a_price_below_zero_is_refused() {
    let mut world = world();
    world.pods("web", 1, routable(-1));
    assert!(world.0.check().unwrap_err().contains("below zero"));
}
