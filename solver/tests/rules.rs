//! One rule at a time, on clusters small enough to see the answer.

#![allow(clippy::panic)] // A test fails by panicking.

mod common;

use common::{
    CAPACITY, HOSTNAME, World, ZONE, amounts, away_from, near_to, node_selector, one_of, plan_with, port,
    spec, spread, taint, tolerate, zone_spread,
};
use stowage_solver::{
    Alternative, Diversity, NodeConstraint, Obstacle, OpenLabel, Operator, Options, PodSpec, Price, Problem,
    Reason, Requirement, ResourceId, Resources, Solution, Status, TopologyKey, TypeId, verify,
};

/// `small` holds 2 cpu and 4 GiB for $1, `big` 8 cpu and 16 GiB for $4, `ram` 2 cpu and 16 GiB for $1.5.
fn shop() -> World {
    let mut world = World::new();
    world.instance("small", amounts(2000, 4096, 0, 20), 1.0);
    world.instance("big", amounts(8000, 16384, 0, 80), 4.0);
    world.instance("ram", amounts(2000, 16384, 0, 20), 1.5);
    world
}

/// New nodes as `type@zone`, sorted.
fn nodes(problem: &Problem, solution: &Solution) -> Vec<String> {
    let mut names: Vec<String> = solution
        .new_nodes
        .iter()
        .map(|n| {
            let of_type = &problem.types[n.instance_type.index()];
            format!("{}@{}", of_type.name, of_type.offerings[n.offering].zone)
        })
        .collect();
    names.sort();
    names
}

fn zones(problem: &Problem, solution: &Solution) -> Vec<(String, usize)> {
    let mut by_zone = std::collections::BTreeMap::new();
    for node in &solution.new_nodes {
        let zone = problem.types[node.instance_type.index()].offerings[node.offering].zone.clone();
        *by_zone.entry(zone).or_insert(0) += node.pods.len();
    }
    by_zone.into_iter().collect()
}

fn obstacle(solution: &Solution) -> Obstacle {
    match &solution.unplaced[0].reasons[0] {
        Reason::Pool(_, obstacle) => obstacle.clone(),
        other => panic!("expected a NodePool's reason, got {other:?}"),
    }
}

#[test]
fn nothing_pending_costs_nothing() {
    let solution = shop().solve();
    assert_eq!((solution.cost, solution.bound, solution.status), (Price::ZERO, Price::ZERO, Status::Optimal));
}

#[test]
fn memory_heavy_pods_find_the_memory_type() {
    let mut world = shop();
    world.pods("cache", 4, spec(250, 4000));
    let solution = world.solve();
    assert_eq!(nodes(&world.0, &solution), ["ram@a"]);
    assert_eq!(solution.cost, Price::from_dollars(1.5).unwrap());
}

#[test]
fn one_more_small_node_beats_a_bigger_one() {
    let mut world = shop();
    world.pods("web", 5, spec(1000, 1024));
    let solution = world.solve();
    // Three small nodes at $3 hold five one-cpu pods; a big one costs $4.
    assert_eq!(solution.cost, Price::from_dollars(3.0).unwrap());
}

#[test]
fn existing_room_is_used_before_anything_is_bought() {
    let mut world = shop();
    world.node("old", "b", amounts(4000, 8192, 0, 10)).pods("web", 3, spec(1000, 1024));
    let solution = world.solve();
    assert_eq!(solution.new_nodes.len(), 0);
    assert_eq!(solution.placements[0].pods.len(), 3);
    assert_eq!(solution.bound, Price::ZERO);
}

#[test]
fn closed_and_tainted_nodes_take_nothing() {
    let mut world = shop();
    world.node("closing", "a", amounts(4000, 8192, 0, 10)).node("tainted", "a", amounts(4000, 8192, 0, 10));
    world.0.nodes[0].open = false;
    world.0.nodes[1].taints = vec![taint("dedicated")];
    world.pods("web", 1, spec(1000, 1024));
    let solution = world.solve();
    assert_eq!((solution.new_nodes.len(), solution.placements.len()), (1, 0));
}

#[test]
fn a_tainted_pool_takes_only_pods_that_tolerate() {
    let mut world = shop();
    world.0.pools[0].taints = vec![taint("dedicated")];
    world.pods("plain", 1, spec(100, 100));
    world.pods("special", 1, PodSpec { tolerations: vec![tolerate("dedicated")], ..spec(100, 100) });
    let solution = world.solve();
    assert_eq!(solution.unplaced.len(), 1);
    assert_eq!(obstacle(&solution), Obstacle::Taint("dedicated:NoSchedule".to_owned()));
}

#[test]
fn a_selector_that_nothing_meets_is_named() {
    let mut world = shop();
    world.pods("web", 1, PodSpec { node: vec![node_selector(one_of("disk", &["ssd"]))], ..spec(100, 100) });
    let wanted =
        Obstacle::Constraint { source: "node selector".to_owned(), wanted: "disk In [ssd]".to_owned() };
    assert_eq!(obstacle(&world.solve()), wanted);
}

#[test]
fn a_pod_too_big_names_the_resource() {
    let mut world = shop();
    world.pods("huge", 1, spec(100, 65536));
    let most = 16384 << 20;
    let wanted = Obstacle::TooSmall { resource: ResourceId(1), need: 65536 << 20, most };
    assert_eq!(obstacle(&world.solve()), wanted);
}

#[test]
fn daemon_sets_take_their_room_first() {
    let mut world = shop();
    world.daemon("agent", spec(500, 100)).pods("web", 2, spec(1000, 1024));
    let solution = world.solve();
    // 2000m less 500m leaves room for one pod on a small node.
    assert_eq!(solution.new_nodes.len(), 2);
    assert_eq!(solution.new_nodes[0].daemons.len(), 1);
}

#[test]
fn a_daemon_set_burdens_only_the_types_it_selects() {
    let mut world = shop();
    let on_big = node_selector(one_of("node.kubernetes.io/instance-type", &["big"]));
    world.daemon("agent", PodSpec { node: vec![on_big], ..spec(500, 100) }).pods("web", 2, spec(1000, 1024));
    let solution = world.solve();
    assert_eq!(nodes(&world.0, &solution), ["small@a"]);
    assert!(solution.new_nodes[0].daemons.is_empty());
}

#[test]
fn zone_spread_is_even() {
    let mut world = shop();
    world.pods("web", 7, PodSpec { spread: vec![zone_spread("web", 1)], ..spec(500, 512) });
    let solution = world.solve();
    let counts: Vec<usize> = zones(&world.0, &solution).into_iter().map(|(_, n)| n).collect();
    assert_eq!(counts, [3, 2, 2]);
}

#[test]
fn zone_spread_counts_what_runs() {
    let mut world = shop();
    world.node("old", "a", amounts(2000, 4096, 0, 10));
    for _ in 0..4 {
        world.running("web", spec(500, 512));
    }
    world.pods("web", 4, PodSpec { spread: vec![zone_spread("web", 1)], ..spec(500, 512) });
    let solution = world.solve();
    assert_eq!(zones(&world.0, &solution), [("b".to_owned(), 2), ("c".to_owned(), 2)]);
}

#[test]
fn zone_spread_stops_at_a_zone_that_takes_no_more() {
    let mut world = World::new();
    world.instance_in("only-a", amounts(2000, 4096, 0, 20), 1.0, &["a"]);
    world.node("full", "b", amounts(100, 100, 0, 1));
    world.pods("web", 5, PodSpec { spread: vec![zone_spread("web", 2)], ..spec(500, 512) });
    let solution = world.solve();
    assert_eq!(zones(&world.0, &solution), [("a".to_owned(), 2)]);
    assert_eq!(solution.unplaced.len(), 3);
    assert!(matches!(obstacle(&solution), Obstacle::Topology(why) if why.contains("skew of 2")));
}

/// A pod's own selector narrows the domains that its spread counts; where its volume is does not.
#[test]
fn zone_spread_counts_zones_that_only_a_volume_excludes() {
    for (of_volume, placed) in [(true, 1), (false, 3)] {
        let mut world = shop();
        let tied = NodeConstraint { of_volume, ..node_selector(one_of(ZONE, &["a"])) };
        let spread = vec![zone_spread("web", 1)];
        world.pods("web", 3, PodSpec { node: vec![tied], spread, ..spec(500, 512) });
        let solution = world.solve();
        assert_eq!(zones(&world.0, &solution), [("a".to_owned(), placed)]);
    }
}

#[test]
fn host_anti_affinity_gives_each_pod_its_own_node() {
    let mut world = shop();
    let alone = PodSpec { anti_affinity: vec![away_from(TopologyKey::Host, "db")], ..spec(100, 100) };
    world.pods("db", 3, alone).pods("web", 6, spec(100, 100));
    let solution = world.solve();
    assert_eq!(solution.new_nodes.len(), 3);
}

#[test]
fn running_pods_keep_others_away() {
    let mut world = shop();
    world.node("old", "a", amounts(4000, 8192, 0, 10));
    world.running(
        "db",
        PodSpec { anti_affinity: vec![away_from(TopologyKey::Host, "web")], ..spec(100, 100) },
    );
    world.pods("web", 1, spec(100, 100));
    assert_eq!(world.solve().new_nodes.len(), 1);
}

#[test]
fn zone_anti_affinity_runs_out_of_zones() {
    let mut world = shop();
    let zone = TopologyKey::Label(ZONE.to_owned());
    world.pods("db", 4, PodSpec { anti_affinity: vec![away_from(zone, "db")], ..spec(100, 100) });
    let solution = world.solve();
    assert_eq!((solution.new_nodes.len(), solution.unplaced.len()), (3, 1));
}

fn near(name: &str) -> Vec<stowage_solver::PodTerm> {
    vec![near_to(TopologyKey::Label(ZONE.to_owned()), name)]
}

#[test]
fn a_group_near_itself_shares_one_zone() {
    let mut world = shop();
    // More than one node's worth, of two sizes.
    world.pods("web", 9, PodSpec { affinity: near("web"), ..spec(700, 512) });
    let solution = world.solve();
    assert_eq!(zones(&world.0, &solution), [("a".to_owned(), 9)]);
}

#[test]
fn a_group_near_itself_goes_where_the_pickiest_of_it_can_be() {
    let mut world = shop();
    world.pods("web", 5, PodSpec { affinity: near("web"), ..spec(700, 512) });
    let node = vec![node_selector(one_of(ZONE, &["c"]))];
    world.pods("web", 1, PodSpec { affinity: near("web"), node, ..spec(200, 512) });
    let solution = world.solve();
    assert_eq!(zones(&world.0, &solution), [("c".to_owned(), 6)]);
}

#[test]
fn pods_go_where_those_run_that_they_want_to_be_near() {
    let mut world = shop();
    world.node("old", "b", amounts(1000, 1024, 0, 2));
    world.running("db", spec(1000, 1024));
    world.pods("web", 3, PodSpec { affinity: near("db"), ..spec(700, 512) });
    let solution = world.solve();
    assert_eq!(zones(&world.0, &solution), [("b".to_owned(), 3)]);
}

#[test]
fn a_group_joins_its_own_that_run_already() {
    let mut world = shop();
    world.node("old", "c", amounts(1000, 1024, 0, 2));
    world.running("web", spec(1000, 1024));
    world.pods("web", 3, PodSpec { affinity: near("web"), ..spec(700, 512) });
    let solution = world.solve();
    assert_eq!(zones(&world.0, &solution), [("c".to_owned(), 3)]);
}

#[test]
fn a_chain_of_affinity_ends_in_one_zone() {
    let mut world = shop();
    // Named so that the last of the chain comes first by name.
    world.pods("c", 2, PodSpec { affinity: near("b"), ..spec(700, 512) });
    world.pods("b", 2, PodSpec { affinity: near("a"), ..spec(700, 512) });
    let node = vec![node_selector(one_of(ZONE, &["b"]))];
    world.pods("a", 1, PodSpec { node, ..spec(200, 512) });
    let solution = world.solve();
    assert_eq!(zones(&world.0, &solution), [("b".to_owned(), 5)]);
}

#[test]
fn nobody_can_be_near_a_pod_that_is_nowhere() {
    let mut world = shop();
    world.pods("web", 2, PodSpec { affinity: near("db"), ..spec(700, 512) });
    let solution = world.solve();
    assert_eq!(solution.unplaced.len(), 2);
    assert!(matches!(obstacle(&solution), Obstacle::Topology(why) if why.contains("affinity")));
}

#[test]
fn two_groups_that_wait_for_each_other_stay_out() {
    let mut world = shop();
    world.pods("a", 1, PodSpec { affinity: near("b"), ..spec(700, 512) });
    world.pods("b", 1, PodSpec { affinity: near("a"), ..spec(700, 512) });
    assert_eq!(world.solve().unplaced.len(), 2);
}

#[test]
fn of_pods_that_want_each_other_the_one_that_finds_a_third_goes_first() {
    let mut world = shop();
    // Both select each other; `b` selects `c`, too, which wants nobody.
    world.pods("a", 1, PodSpec { affinity: near("b"), ..spec(700, 512) });
    let selector = stowage_solver::PodSelector {
        namespaces: vec!["default".to_owned()],
        labels: Some(vec![one_of("app", &["a", "c"])]),
    };
    let either = vec![stowage_solver::PodTerm { key: TopologyKey::Label(ZONE.to_owned()), selector }];
    world.pods("b", 1, PodSpec { affinity: either, ..spec(700, 512) });
    world.pods("c", 1, spec(700, 512));
    assert!(world.solve().unplaced.is_empty());
}

#[test]
fn a_group_with_a_shared_volume_follows_it() {
    let mut world = shop();
    let claims = vec!["default/data".to_owned()];
    world.pods("web", 2, PodSpec { affinity: near("web"), unbound_claims: claims, ..spec(700, 512) });
    world.pods("web", 2, PodSpec { affinity: near("web"), ..spec(200, 512) });
    let solution = world.solve();
    assert_eq!(solution.unplaced.len(), 0);
    assert_eq!(zones(&world.0, &solution).len(), 1);
}

#[test]
fn a_spread_and_affinity_to_one_zone_stop_at_the_skew() {
    let mut world = shop();
    world.node("old", "b", amounts(1000, 1024, 0, 2));
    world.running("db", spec(1000, 1024));
    let spread = vec![zone_spread("web", 2)];
    world.pods("web", 5, PodSpec { affinity: near("db"), spread, ..spec(200, 512) });
    let solution = world.solve();
    assert_eq!((zones(&world.0, &solution), solution.unplaced.len()), (vec![("b".to_owned(), 2)], 3));
}

#[test]
fn the_verifier_sees_pods_apart_that_want_to_be_near() {
    let mut world = shop();
    world.pods("web", 2, PodSpec { affinity: near("web"), ..spec(1900, 512) });
    let mut solution = world.solve();
    assert_eq!((solution.new_nodes.len(), stowage_solver::verify(&world.0, &solution).len()), (2, 0));
    let offerings = &world.0.types[solution.new_nodes[1].instance_type.index()].offerings;
    solution.new_nodes[1].offering = offerings.iter().position(|o| o.zone == "b").unwrap();
    solution.new_nodes[1].price = offerings[1].price;
    assert!(stowage_solver::verify(&world.0, &solution).iter().any(|v| v.what.contains("affinity over")));
}

#[test]
fn host_spread_caps_a_node() {
    let mut world = shop();
    world.pods("web", 6, PodSpec { spread: vec![spread(TopologyKey::Host, "web", 2)], ..spec(100, 100) });
    let solution = world.solve();
    assert!(solution.new_nodes.iter().all(|n| n.pods.len() <= 2));
}

#[test]
fn host_ports_do_not_share() {
    let mut world = shop();
    world.daemon("proxy", PodSpec { host_ports: vec![port(9100)], ..spec(10, 10) });
    world.pods("gate", 2, PodSpec { host_ports: vec![port(80)], ..spec(100, 100) });
    world.pods("metrics", 1, PodSpec { host_ports: vec![port(9100)], ..spec(100, 100) });
    let solution = world.solve();
    assert_eq!((solution.new_nodes.len(), solution.unplaced.len()), (2, 1));
    assert_eq!(obstacle(&solution), Obstacle::NoTypeHolds);
}

#[test]
fn limits_stop_a_pool_and_higher_priority_goes_first() {
    let mut world = shop();
    world.0.pools[0].limits = vec![(ResourceId(0), 2000)];
    world.pods("low", 2, spec(1000, 1024));
    world.pods("vip", 2, PodSpec { priority: 100, ..spec(1000, 1024) });
    let solution = world.solve();
    assert_eq!(solution.new_nodes.len(), 1);
    let left: Vec<&str> =
        solution.unplaced.iter().map(|u| world.0.pods[u.pod.index()].name.as_str()).collect();
    assert_eq!(left, ["default/low-0000", "default/low-0001"]);
    assert_eq!(
        obstacle(&solution),
        Obstacle::Limit { resource: Some(ResourceId(0)), limit: 2000, used: 2000 }
    );
}

#[test]
fn a_limit_on_nodes_counts_those_there() {
    let mut world = shop();
    world.0.pools[0].node_limit = Some(2);
    world.0.pools[0].node_count = 1;
    world.pods("web", 9, spec(2000, 1024));
    let solution = world.solve();
    assert_eq!(solution.new_nodes.len(), 1);
    // One big node holds four; a small one would hold one.
    assert_eq!(solution.unplaced.len(), 5);
}

#[test]
fn the_heavier_pool_wins_and_overflows_at_its_limit() {
    let mut world = shop();
    world.pool("first", |p| {
        p.weight = 10;
        p.limits = vec![(ResourceId(0), 2000)];
    });
    world.pods("web", 4, spec(1000, 1024));
    let solution = world.solve();
    let pools: Vec<&str> =
        solution.new_nodes.iter().map(|n| world.0.pools[n.pool.index()].name.as_str()).collect();
    assert_eq!(pools, ["default", "first"]);
}

#[test]
fn open_labels_take_the_value_that_pods_ask_for() {
    let mut world = shop();
    let requirements = vec![one_of("team", &["red", "blue"])];
    world.0.pools[0].open_labels = vec![OpenLabel { key: "team".to_owned(), requirements }];
    for team in ["red", "blue"] {
        world.pods(team, 1, PodSpec { node: vec![node_selector(one_of("team", &[team]))], ..spec(100, 100) });
    }
    let solution = world.solve();
    let mut chosen: Vec<&str> = solution.new_nodes.iter().map(|n| n.chosen_labels[0].1.as_str()).collect();
    chosen.sort_unstable();
    assert_eq!(chosen, ["blue", "red"]);
}

#[test]
fn an_open_label_takes_a_value_that_no_pod_forbids() {
    let mut world = shop();
    let requirements = vec![one_of("team", &["red", "blue", "green"])];
    world.0.pools[0].open_labels = vec![OpenLabel { key: "team".to_owned(), requirements }];
    let not = |values: &[&str]| Requirement {
        key: "team".to_owned(),
        op: Operator::NotIn(values.iter().map(|v| (*v).to_owned()).collect()),
    };
    world.pods("a", 1, PodSpec { node: vec![node_selector(not(&["red"]))], ..spec(100, 100) });
    let both = vec![node_selector(not(&["red"])), node_selector(not(&["blue"]))];
    world.pods("b", 1, PodSpec { node: both, ..spec(100, 100) });
    let solution = world.solve();
    assert!(solution.unplaced.is_empty());
    assert_eq!(solution.new_nodes.len(), 1);
    assert_eq!(solution.new_nodes[0].chosen_labels, [("team".to_owned(), "green".to_owned())]);
}

#[test]
fn an_open_label_with_bounds_takes_a_number_inside_them() {
    let mut world = shop();
    let below = Requirement { key: "rank".to_owned(), op: Operator::Within(i64::MIN, -1) };
    world.0.pools[0].open_labels = vec![OpenLabel { key: "rank".to_owned(), requirements: vec![below] }];
    world.pods("web", 1, spec(100, 100));
    assert_eq!(world.solve().new_nodes[0].chosen_labels, [("rank".to_owned(), "-1".to_owned())]);
}

#[test]
fn a_pool_whose_open_labels_allow_nothing_offers_nothing() {
    let mut world = shop();
    let open = |key: &str, requirements| OpenLabel { key: key.to_owned(), requirements };
    let never = vec![one_of("a", &["x"]), one_of("a", &["y"])];
    world.0.pools[0].open_labels = vec![open("a", never), open("b", vec![one_of("b", &["z"])])];
    world.pods("web", 1, spec(100, 100));
    assert_eq!(obstacle(&world.solve()), Obstacle::NoOfferings);
}

#[test]
fn daemon_sets_that_do_not_fit_rule_a_type_out() {
    let mut world = shop();
    world.instance("gpu", amounts(2000, 4096, 1, 20), 9.0);
    world.daemon("driver", PodSpec { requests: amounts(10, 10, 1, 1), ..spec(0, 0) });
    world.pods("web", 1, spec(100, 100));
    assert_eq!(nodes(&world.0, &world.solve()), ["gpu@a"]);
}

#[test]
fn a_shared_volume_claim_keeps_its_pods_in_one_zone() {
    let mut world = World::new();
    world.instance_in("one", amounts(1000, 4096, 0, 1), 1.0, &["a", "b"]);
    let claim = PodSpec { unbound_claims: vec!["default/disk".to_owned()], ..spec(500, 512) };
    world.pods("writer", 2, claim.clone());
    let in_b = node_selector(one_of(ZONE, &["b"]));
    world.pods("reader", 1, PodSpec { node: vec![in_b], ..claim });
    let solution = world.solve();
    assert_eq!(nodes(&world.0, &solution), ["one@b", "one@b", "one@b"]);
}

#[test]
fn a_shared_volume_claim_keeps_clear_of_pods_that_repel() {
    let mut world = shop();
    world.node("old", "a", amounts(1000, 1024, 0, 2));
    let zone = TopologyKey::Label(ZONE.to_owned());
    let repel = vec![away_from(zone, "web")];
    world.running("db", PodSpec { anti_affinity: repel, ..spec(1000, 1024) });
    let claims = vec!["default/data".to_owned()];
    world.pods("web", 2, PodSpec { unbound_claims: claims, ..spec(700, 512) });
    assert_eq!(zones(&world.0, &world.solve()), [("b".to_owned(), 2)]);
}

#[test]
fn a_group_near_itself_keeps_clear_of_pods_that_repel() {
    let mut world = shop();
    let zone = TopologyKey::Label(ZONE.to_owned());
    world.node("old", "a", amounts(1000, 1024, 0, 2));
    world.running("db", PodSpec { anti_affinity: vec![away_from(zone, "web")], ..spec(1000, 1024) });
    world.pods("web", 4, PodSpec { affinity: near("web"), ..spec(700, 512) });
    assert_eq!(zones(&world.0, &world.solve()), [("b".to_owned(), 4)]);
}

#[test]
fn a_shared_volume_claim_is_made_where_there_is_room_already() {
    let mut world = shop();
    world.node("old", "c", amounts(4000, 8192, 0, 10));
    world.pods("writer", 2, PodSpec { unbound_claims: vec!["default/disk".to_owned()], ..spec(500, 512) });
    assert_eq!(world.solve().cost, Price::ZERO);
}

#[test]
fn a_blocked_pod_says_why() {
    let mut world = shop();
    world.pods("web", 1, PodSpec { blocked: Some("claim data does not exist".to_owned()), ..spec(100, 100) });
    let reasons = &world.solve().unplaced[0].reasons;
    assert_eq!(reasons, &[Reason::Blocked("claim data does not exist".to_owned())]);
}

#[test]
fn without_pools_nothing_can_be_launched() {
    let mut world = shop();
    world.0.pools.clear();
    world.pods("web", 1, spec(100, 100));
    assert_eq!(world.solve().unplaced[0].reasons, [Reason::NoPools]);
}

#[test]
fn a_hostname_cannot_be_asked_of_a_new_node() {
    let mut world = shop();
    world.pods(
        "pinned",
        1,
        PodSpec { node: vec![node_selector(one_of(HOSTNAME, &["old"]))], ..spec(100, 100) },
    );
    assert!(matches!(obstacle(&world.solve()), Obstacle::Constraint { .. }));
}

#[test]
fn pools_restrict_types() {
    let mut world = shop();
    let requirement: Requirement = one_of("node.kubernetes.io/instance-type", &["big"]);
    world.0.pools[0].requirements = vec![requirement];
    world.pods("web", 1, spec(100, 100));
    assert_eq!(nodes(&world.0, &world.solve()), ["big@a"]);
}

#[test]
fn alternatives_hold_the_same_pods_cheapest_first() {
    let mut world = shop();
    world.pods("web", 1, spec(1500, 1024));
    let solution = world.solve();
    let names: Vec<&str> = solution.new_nodes[0]
        .types_in_place(&world.0)
        .map(|t| world.0.types[t.index()].name.as_str())
        .collect();
    assert_eq!(names, ["ram", "big"]);
}

/// Alternatives of the only new node as `type@zone/capacity`.
fn alternatives(world: &World) -> Vec<String> {
    let solution = world.solve();
    assert_eq!(solution.new_nodes.len(), 1);
    let named = |a: &Alternative| {
        let offering = a.offering(&world.0);
        format!(
            "{}@{}/{}",
            world.0.types[a.instance_type.index()].name,
            offering.zone,
            offering.capacity_type
        )
    };
    solution.new_nodes[0].alternatives.iter().map(named).collect()
}

#[test]
fn alternatives_include_zones_and_capacity_types_where_the_pods_allow() {
    let mut world = World::new();
    world.instance_in("small", amounts(2000, 4096, 0, 20), 1.0, &["a", "b"]);
    world.instance_in("big", amounts(8000, 16384, 0, 80), 4.0, &["a", "b"]);
    world.spot(0.4);
    world.pods("web", 1, spec(1500, 1024));
    let free = alternatives(&world);
    let cheap = ["small@b/spot", "small@a/on-demand", "small@b/on-demand", "big@a/spot", "big@b/spot"];
    assert_eq!(free, [&cheap[..], &["big@a/on-demand", "big@b/on-demand"]].concat());

    // A rule over zones keeps the zone, one over capacity types the capacity type, a limit the size.
    let carrying = |change: &dyn Fn(&mut PodSpec)| {
        let mut world = world.clone();
        change(&mut world.0.specs[0]);
        alternatives(&world)
    };
    let same_zone = ["small@a/on-demand", "big@a/spot", "big@a/on-demand"];
    assert_eq!(carrying(&|s| s.spread = vec![zone_spread("web", 1)]), same_zone);
    assert_eq!(carrying(&|s| s.unbound_claims = vec!["default/disk".to_owned()]), same_zone);
    let apart = away_from(TopologyKey::Label(CAPACITY.to_owned()), "web");
    assert_eq!(
        carrying(&|s| s.anti_affinity = vec![apart.clone()]),
        ["small@b/spot", "big@a/spot", "big@b/spot"]
    );
    let mut limited = world.clone();
    limited.0.pools[0].limits = vec![(ResourceId(0), 3000)];
    assert_eq!(alternatives(&limited), cheap[..3]);

    // A rule that somebody else carries and that picks the pod counts too.
    let mut watched = world.clone();
    watched.node("old", "a", amounts(100, 100, 0, 1));
    watched.running("other", PodSpec { spread: vec![zone_spread("web", 1)], ..spec(100, 100) });
    assert_eq!(alternatives(&watched), same_zone);
}

#[test]
fn diversity_splits_what_few_types_hold_and_keeps_to_its_premium() {
    let mut world = World::new();
    // Only `huge` holds all eight pods; five types hold four of them, at a few cents more.
    world.instance("huge", amounts(16000, 65536, 0, 80), 8.0);
    for name in ["a1", "a2", "a3", "a4"] {
        world.instance(name, amounts(8000, 32768, 0, 80), 4.04);
    }
    world.spot(0.5).pods("web", 8, spec(2000, 4096));
    let with = |premium: f64, types: usize| {
        let diversity = Diversity { capacity_type: "spot".to_owned(), types, premium };
        plan_with(&world.0, &Options { diversity: Some(diversity), ..Options::default() })
    };
    let plain = world.solve();
    assert_eq!((plain.new_nodes.len(), plain.new_nodes[0].flexibility(&world.0)), (1, 1));
    let flexible = with(0.02, 5);
    assert_eq!(flexible.premium, Price::from_micros(40_000));
    assert_eq!(flexible.cost, plain.cost + flexible.premium);
    assert!(flexible.new_nodes.len() == 2 && flexible.new_nodes.iter().all(|n| n.flexibility(&world.0) == 5));
    // Too little money, nothing wanted, on-demand nodes: the plan stays.
    for plan in [with(0.009, 5), with(0.0, 5), with(0.5, 1)] {
        assert_eq!((plan.cost, plan.premium), (plain.cost, Price::ZERO));
    }
    let mut dear = world.clone();
    for offering in
        dear.0.types.iter_mut().flat_map(|t| &mut t.offerings).filter(|o| o.capacity_type == "spot")
    {
        offering.price = offering.price * 8;
    }
    let diversity = Diversity { capacity_type: "spot".to_owned(), types: 5, premium: 0.5 };
    let plan = plan_with(&dear.0, &Options { diversity: Some(diversity), ..Options::default() });
    assert_eq!((plan.new_nodes.len(), plan.premium), (1, Price::ZERO));
}

#[test]
fn the_verifier_tries_every_alternative() {
    let mut world = World::new();
    world.instance_in("small", amounts(2000, 4096, 0, 20), 1.0, &["a", "b"]);
    world.instance_in("tiny", amounts(1000, 4096, 0, 20), 9.0, &["a"]);
    world.instance_in("gone", amounts(8000, 4096, 0, 20), 9.0, &["b"]);
    world.pods("web", 1, PodSpec { spread: vec![zone_spread("web", 1)], ..spec(1500, 1024) });
    let good = world.solve();
    let with = |of_type: u32, offering: u32| {
        let mut plan = good.clone();
        plan.new_nodes[0].alternatives = [Alternative { instance_type: TypeId(of_type), offering }].into();
        verify(&world.0, &plan).into_iter().map(|v| v.what).collect::<Vec<_>>().join("; ")
    };
    assert!(with(0, 0).contains("is the node itself"), "{}", with(0, 0));
    assert!(with(0, 1).contains("has another topology.kubernetes.io/zone"), "{}", with(0, 1));
    assert!(with(1, 0).contains("has too little cpu"), "{}", with(1, 0));
    assert!(with(2, 9).contains("is no offering"), "{}", with(2, 9));
    world.0.pools[0].requirements = vec![one_of("node.kubernetes.io/instance-type", &["small"])];
    let mut plan = world.solve();
    plan.new_nodes[0].alternatives = [Alternative { instance_type: TypeId(2), offering: 0 }].into();
    let broken = verify(&world.0, &plan);
    assert!(broken[0].what.contains("requirement on node.kubernetes.io/instance-type"), "{broken:?}");
}

#[test]
fn resources_that_nobody_has_are_missed() {
    let mut world = shop();
    let gpu = Resources::from_amounts([(ResourceId(2), 1), (ResourceId(3), 1)]);
    world.pods("train", 1, PodSpec { requests: gpu, ..spec(0, 0) });
    assert_eq!(obstacle(&world.solve()), Obstacle::TooSmall { resource: ResourceId(2), need: 1, most: 0 });
}

#[test]
fn the_bound_knows_that_a_spread_fills_every_zone() {
    let mut world = World::new();
    world.instance_in("cheap", amounts(4000, 8192, 0, 40), 1.0, &["a"]);
    world.instance_in("dear", amounts(4000, 8192, 0, 40), 3.0, &["b"]);
    world.pods("web", 16, PodSpec { spread: vec![zone_spread("web", 1)], ..spec(500, 512) });
    let solution = world.solve();
    // Eight pods fill a node in each zone; without the rule two cheap nodes would do.
    assert_eq!(solution.cost, Price::from_dollars(4.0).unwrap());
    assert!(solution.bound > Price::from_dollars(3.99).unwrap(), "{}", solution.bound);
}

#[test]
fn a_fixed_cost_of_nodes_makes_fewer_and_bigger_ones() {
    let mut world = shop();
    world.pods("web", 8, spec(1000, 1024));
    let plain = world.solve();
    assert_eq!(
        (plain.cost, plain.instance_cost(), plain.instance_bound),
        (plain.cost, plain.cost, plain.bound)
    );
    world.0.pools[0].node_cost = Price::from_micros(100_000);
    let weighed = world.solve();
    // Eight cpu are one `big` or four `small` at the same price: the fixed cost is paid once instead of four times.
    assert_eq!(nodes(&world.0, &weighed), ["big@a"]);
    assert_eq!(weighed.instance_cost(), Price::from_micros(4_000_000));
    assert_eq!(weighed.cost, Price::from_micros(4_100_000));
    assert_eq!(weighed.new_nodes[0].fixed_cost, Price::from_micros(100_000));
    assert!(weighed.bound > Price::from_micros(4_000_000), "the bound is weighed too: {}", weighed.bound);
    assert!(weighed.instance_bound >= Price::from_micros(3_999_990), "{}", weighed.instance_bound);

    // Dear instances that save nodes: the bill for instances is above its own bound, and says so.
    let mut dear = World::new();
    dear.instance("small", amounts(2000, 4096, 0, 20), 1.0).instance("big", amounts(8000, 16384, 0, 80), 5.0);
    dear.pods("web", 8, spec(1000, 1024)).0.pools[0].node_cost = Price::from_micros(1_000_000);
    let plan = dear.solve();
    assert_eq!((nodes(&dear.0, &plan), plan.cost), (vec!["big@a".to_owned()], Price::from_micros(6_000_000)));
    assert!((plan.instance_gap() - 0.25).abs() < 1e-4 && plan.gap() < 0.02, "{}", plan.gap());
}

#[test]
fn the_verifier_recomputes_weighed_costs() {
    let mut world = shop();
    world.pods("web", 2, spec(1000, 1024)).0.pools[0].node_cost = Price::from_micros(100_000);
    let good = world.solve();
    let broken = |change: &dyn Fn(&mut Solution)| {
        let mut plan = good.clone();
        change(&mut plan);
        verify(&world.0, &plan).into_iter().map(|v| v.what).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(broken(&|_| {}), "");
    assert!(
        broken(&|p| p.new_nodes[0].fixed_cost = Price::ZERO)
            .contains("fixed cost is stated as $0.00, it is $0.10")
    );
    assert!(broken(&|p| p.cost = p.instance_cost()).contains("add up to $1.10"));
    assert!(broken(&|p| p.instance_bound = p.cost).contains("instances' bill"));
}

#[test]
fn pods_are_spread_over_the_values_that_a_pool_leaves_open() {
    // Karpenter's documented way to have one node in four on demand: a label of five made-up values, split between pools.
    let mut world = shop();
    world.pool("split", |p| {
        p.weight = 10;
        let requirements = vec![one_of("capacity-spread", &["1", "2", "3"])];
        p.open_labels = vec![OpenLabel { key: "capacity-spread".to_owned(), requirements }];
    });
    let over = TopologyKey::Label("capacity-spread".to_owned());
    world.pods("web", 6, PodSpec { spread: vec![spread(over, "web", 1)], ..spec(500, 512) });
    let solution = world.solve();
    let mut by_value = std::collections::BTreeMap::<&str, usize>::new();
    for node in &solution.new_nodes {
        *by_value.entry(node.chosen_labels[0].1.as_str()).or_default() += node.pods.len();
    }
    assert_eq!(by_value, [("1", 2), ("2", 2), ("3", 2)].into());
}
