//! Spread and anti-affinity over zones and hosts, and host ports.

use stowage_solver::{NodeConstraint, Obstacle, PodSpec, Price, TopologyKey};

use crate::common::{
    World, ZONE, amounts, away_from, node_selector, one_of, port, spec, spread, zone_spread,
};
use crate::{obstacle, shop, zones};

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
