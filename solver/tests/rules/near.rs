//! Affinity: pods that want to be near others, and volumes that they share.

use stowage_solver::{Obstacle, PodSpec, Price, TopologyKey};

use crate::common::{World, ZONE, amounts, away_from, near_to, node_selector, one_of, spec, zone_spread};
use crate::{nodes, obstacle, shop, zones};

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
