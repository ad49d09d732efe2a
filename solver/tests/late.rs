//! Pods that find their place last: where limits end what was planned, and beside pods that they must share a node with.

mod common;

use std::collections::BTreeMap;

use common::{World, amounts, away_from, near_to, one_of, spec, spread, zone_spread};
use stowage_solver::{PodSelector, PodSpec, Price, ResourceId, Solution, TopologyKey};

/// Types of 2 cpu / 4 GiB for $1.00 and 8 cpu / 16 GiB for $4.00.
fn shop() -> World {
    let mut world = World::new();
    world.instance("small", amounts(2000, 4096, 0, 20), 1.0).instance(
        "big",
        amounts(8000, 16384, 0, 80),
        4.0,
    );
    world
}

/// The applications on each node, new ones by number, and how many pods of each.
fn together(world: &World, solution: &Solution) -> Vec<BTreeMap<String, usize>> {
    let placed = solution.placements.iter().map(|p| &p.pods);
    let nodes = placed.chain(solution.new_nodes.iter().map(|n| &n.pods));
    let apps = nodes.map(|pods| {
        let mut apps = BTreeMap::new();
        for pod in pods {
            let name = &world.0.pods[pod.index()].name;
            let app = name.trim_start_matches("default/").rsplit('-').nth(1).unwrap_or_default();
            *apps.entry(app.to_owned()).or_default() += 1;
        }
        apps
    });
    apps.collect()
}

fn on(app: &str, count: usize) -> BTreeMap<String, usize> {
    BTreeMap::from([(app.to_owned(), count)])
}

#[test]
fn with_no_more_nodes_to_come_a_spread_over_hosts_fills_those_there_are() {
    let mut world = shop();
    world.0.pools[0].node_limit = Some(2);
    world.pods("web", 4, PodSpec { spread: vec![spread(TopologyKey::Host, "web", 1)], ..spec(100, 100) });
    let solution = world.solve();
    // One pod a node while an empty node may join; two of them once none can.
    assert_eq!(together(&world, &solution), [on("web", 2), on("web", 2)]);
}

#[test]
fn a_lighter_pool_takes_what_a_full_one_cannot() {
    let mut world = shop();
    world.0.pools[0].weight = 10;
    world.0.pools[0].node_limit = Some(1);
    world.pool("second", |_| {});
    world.pods(
        "web",
        3,
        PodSpec { anti_affinity: vec![away_from(TopologyKey::Host, "web")], ..spec(1500, 100) },
    );
    world.pods("api", 1, PodSpec { spread: vec![zone_spread("api", 1)], ..spec(1500, 100) });
    let solution = world.solve();
    assert!(solution.unplaced.is_empty(), "{:?}", solution.unplaced);
    assert_eq!(solution.new_nodes.iter().filter(|n| world.0.pools[n.pool.index()].weight == 10).count(), 1);
}

#[test]
fn each_pod_shares_a_node_with_one_that_it_wants_to_be_near() {
    // The example of the Kubernetes documentation: a cache for each web server, both one to a node.
    let mut world = shop();
    let alone = |name| vec![away_from(TopologyKey::Host, name)];
    world.pods("cache", 3, PodSpec { anti_affinity: alone("cache"), ..spec(500, 512) });
    let affinity = vec![near_to(TopologyKey::Host, "cache")];
    world.pods("web", 3, PodSpec { anti_affinity: alone("web"), affinity, ..spec(1000, 512) });
    let solution = world.solve();
    let pair = BTreeMap::from([("cache".to_owned(), 1), ("web".to_owned(), 1)]);
    assert_eq!(together(&world, &solution), [pair.clone(), pair.clone(), pair]);
    assert_eq!(solution.cost, Price::from_dollars(3.0).unwrap());
}

#[test]
fn a_group_near_itself_shares_one_node_big_enough() {
    let mut world = shop();
    let affinity = vec![near_to(TopologyKey::Host, "web")];
    world.pods("web", 5, PodSpec { affinity, ..spec(1000, 512) });
    let solution = world.solve();
    assert_eq!(together(&world, &solution), [on("web", 5)]);
}

#[test]
fn where_one_runs_already_a_group_joins_it_and_nothing_else_will_do() {
    let mut world = shop();
    world.node("home", "a", amounts(2000, 4096, 0, 20)).running("web", spec(500, 512));
    let affinity = vec![near_to(TopologyKey::Host, "web")];
    world.pods("web", 3, PodSpec { affinity, ..spec(600, 512) });
    let solution = world.solve();
    assert_eq!(together(&world, &solution), [on("web", 2)]);
    assert_eq!((solution.unplaced.len(), solution.new_nodes.len()), (1, 0));
}

#[test]
fn those_near_others_share_their_nodes_in_a_fair_proportion() {
    let mut world = shop();
    world.pods("cache", 4, spec(500, 512));
    world.pods("web", 8, PodSpec { affinity: vec![near_to(TopologyKey::Host, "cache")], ..spec(1000, 512) });
    let solution = world.solve();
    assert!(solution.unplaced.is_empty(), "{:?}", solution.unplaced);
    let nodes = together(&world, &solution);
    assert!(nodes.iter().all(|n| !n.contains_key("web") || n.contains_key("cache")), "{nodes:?}");
    // Teams of one cache and two web servers need 2.5 cpu: three to a big node.
    assert_eq!(solution.cost, Price::from_dollars(8.0).unwrap());
}

#[test]
fn a_chain_of_wishes_ends_on_one_node() {
    let mut world = shop();
    world.pods("base", 1, spec(500, 512));
    world.pods(
        "middle",
        1,
        PodSpec { affinity: vec![near_to(TopologyKey::Host, "base")], ..spec(1000, 512) },
    );
    world.pods("top", 1, PodSpec { affinity: vec![near_to(TopologyKey::Host, "middle")], ..spec(1000, 512) });
    let solution = world.solve();
    assert_eq!(together(&world, &solution).len(), 1);
    assert!(solution.unplaced.is_empty(), "{:?}", solution.unplaced);
}

#[test]
fn nobody_to_be_near_is_a_reason() {
    let mut world = shop();
    world.pods("web", 1, PodSpec { affinity: vec![near_to(TopologyKey::Host, "ghost")], ..spec(500, 512) });
    let solution = world.solve();
    let why = format!("{:?}", solution.unplaced[0].reasons);
    assert!(why.contains("pod affinity over the host"), "{why}");
}

#[test]
fn a_pod_near_others_of_two_kinds_needs_both() {
    let mut world = shop();
    let both = PodSelector { labels: Some(vec![one_of("app", &["cache", "proxy"])]), ..common::app("cache") };
    world.pods("cache", 1, spec(500, 512)).pods("proxy", 1, spec(500, 512));
    let mut any = near_to(TopologyKey::Host, "cache");
    any.selector = both;
    // Two terms: a pod counts only where both select it.
    world.pods(
        "web",
        1,
        PodSpec { affinity: vec![near_to(TopologyKey::Host, "cache"), any], ..spec(900, 512) },
    );
    let solution = world.solve();
    assert!(solution.unplaced.is_empty(), "{:?}", solution.unplaced);
}

#[test]
fn limits_on_what_nodes_have_hold_for_late_nodes_too() {
    let mut world = shop();
    world.0.pools[0].limits = vec![(ResourceId(0), 4000)];
    let anti_affinity = vec![away_from(TopologyKey::Host, "web")];
    world.pods("web", 3, PodSpec { anti_affinity, ..spec(100, 100) });
    let solution = world.solve();
    assert_eq!((solution.new_nodes.len(), solution.unplaced.len()), (2, 1));
}

#[test]
fn many_kinds_of_pods_near_few_are_planned_in_good_time() {
    let mut world = shop();
    for at in 0..3 {
        world.pods(&format!("cache-{at}"), 2, spec(100 + at, 100));
    }
    let caches: Vec<String> = (0..3).map(|at| format!("cache-{at}")).collect();
    let caches: Vec<&str> = caches.iter().map(String::as_str).collect();
    let mut any = near_to(TopologyKey::Host, "cache-0");
    any.selector.labels = Some(vec![one_of("app", &caches)]);
    for at in 0..40 {
        world.pods(&format!("web-{at}"), 2, PodSpec { affinity: vec![any.clone()], ..spec(10 + at, 10) });
    }
    assert!(world.solve().unplaced.is_empty());
}

#[test]
fn two_groups_that_one_order_serves_are_both_placed() {
    // `b` begins its group before `c`, which it would have to join, stands elsewhere.
    let mut world = World::new();
    world.instance("small", amounts(1000, 4096, 0, 20), 1.0);
    let tier = PodSelector { labels: Some(vec![one_of("app", &["b", "c"])]), ..common::app("b") };
    let mut near_tier = near_to(TopologyKey::Host, "b");
    near_tier.selector = tier;
    world.pods("b", 1, PodSpec { affinity: vec![near_tier], ..spec(900, 100) });
    world.pods("c", 1, PodSpec { affinity: vec![near_to(TopologyKey::Host, "c")], ..spec(900, 100) });
    assert!(world.solve().new_nodes.len() <= 2);
}

#[test]
fn a_node_grows_for_a_pod_that_must_share_it() {
    let mut world = shop();
    world.pods("cache", 1, spec(2000, 100));
    let affinity = vec![near_to(TopologyKey::Host, "cache")];
    world.pods("web", 1, PodSpec { affinity, spread: vec![zone_spread("web", 1)], ..spec(100, 100) });
    let solution = world.solve();
    assert_eq!((solution.unplaced.len(), solution.new_nodes.len()), (0, 1));
    assert_eq!(solution.cost, Price::from_dollars(4.0).unwrap());
}
