//! What else a node could be launched as, and diversity.

use stowage_solver::{
    Alternative, Diversity, Options, PodSpec, Price, ResourceId, TopologyKey, TypeId, verify,
};

use crate::common::{CAPACITY, World, amounts, away_from, one_of, plan_with, spec, zone_spread};
use crate::shop;

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
