//! NodePools: weight, limits, taints, open labels, and what they leave to launch.

use stowage_solver::{Obstacle, OpenLabel, Operator, PodSpec, Reason, Requirement, ResourceId, TopologyKey};

use crate::common::{HOSTNAME, node_selector, one_of, spec, spread, taint, tolerate};
use crate::{nodes, obstacle, shop};

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
