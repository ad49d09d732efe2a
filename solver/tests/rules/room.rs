//! Room and price: which nodes hold what.

use stowage_solver::{Obstacle, PodSpec, Price, Reason, ResourceId, Resources, Solution, Status, verify};

use crate::common::{World, amounts, node_selector, one_of, spec, taint};
use crate::{nodes, obstacle, shop};

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
fn daemon_sets_that_do_not_fit_rule_a_type_out() {
    let mut world = shop();
    world.instance("gpu", amounts(2000, 4096, 1, 20), 9.0);
    world.daemon("driver", PodSpec { requests: amounts(10, 10, 1, 1), ..spec(0, 0) });
    world.pods("web", 1, spec(100, 100));
    assert_eq!(nodes(&world.0, &world.solve()), ["gpu@a"]);
}

#[test]
fn a_blocked_pod_says_why() {
    let mut world = shop();
    world.pods("web", 1, PodSpec { blocked: Some("claim data does not exist".to_owned()), ..spec(100, 100) });
    let reasons = &world.solve().unplaced[0].reasons;
    assert_eq!(reasons, &[Reason::Blocked("claim data does not exist".to_owned())]);
}

#[test]
fn resources_that_nobody_has_are_missed() {
    let mut world = shop();
    let gpu = Resources::from_amounts([(ResourceId(2), 1), (ResourceId(3), 1)]);
    world.pods("train", 1, PodSpec { requests: gpu, ..spec(0, 0) });
    assert_eq!(obstacle(&world.solve()), Obstacle::TooSmall { resource: ResourceId(2), need: 1, most: 0 });
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
fn of_types_at_one_price_the_smallest_that_holds_the_pods_is_bought() {
    let mut world = World::new();
    world.instance("a-huge", amounts(64_000, 131_072, 0, 200), 0.01);
    world.instance("fair", amounts(4000, 8192, 0, 30), 0.01);
    world.instance("tiny", amounts(2000, 4096, 0, 20), 0.01);
    world.pods("p", 2, spec(1700, 1024));
    let solution = world.solve();
    assert_eq!(nodes(&world.0, &solution), ["fair@a"]);
}
