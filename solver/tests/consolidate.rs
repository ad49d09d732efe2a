//! Consolidation: what it finds on clusters small enough to think through, and what it leaves alone.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::town::Town;
use common::{World, amounts, away_from, node_selector, one_of, spec, zone_spread};
use stowage_solver::{Aims, Consolidation, Destination, Kept, MinValues, Price, ResourceId, TopologyKey};

/// The names of the nodes that each step removes, and of the types that it launches.
fn told(town: &Town, out: &Consolidation) -> Vec<(Vec<String>, Vec<String>)> {
    let problem = &town.world.0;
    let step = |step: &stowage_solver::Step| {
        let removes = step.removes.iter().map(|node| problem.nodes[node.index()].name.clone()).collect();
        let launches =
            step.launches.iter().map(|new| problem.types[new.instance_type.index()].name.clone()).collect();
        (removes, launches)
    };
    out.steps.iter().map(step).collect()
}

fn names(all: &[&str]) -> Vec<String> {
    all.iter().map(|name| (*name).to_owned()).collect()
}

/// Types `small` of 2 CPU, `big` of 8; a CPU costs a dime, on the big one a little less.
fn market() -> World {
    let mut world = World::new();
    world.instance("small", amounts(2000, 8192, 0, 20), 0.2).instance(
        "big",
        amounts(8000, 32768, 0, 80),
        0.7,
    );
    world
}

#[test]
fn a_node_whose_pods_fit_elsewhere_goes() {
    let mut town = Town::new(market());
    town.node("a", "small", "a").pods("web", 2, &spec(500, 512));
    town.node("b", "small", "a").pods("web", 1, &spec(500, 512));
    let out = town.plan();
    assert_eq!(told(&town, &out), [(names(&["b"]), vec![])]);
    assert_eq!(out.steps[0].saving, Price::from_dollars(0.2).unwrap());
    // A node and a pod, at a tenth of a cent each, at 20 cents an hour: 36 seconds.
    assert_eq!((out.steps[0].disruption, out.steps[0].payback), (2000, 36));
    assert!(matches!(out.steps[0].moves[0].to, Destination::Existing(_)));
    assert_eq!(
        (out.before, out.after),
        (Price::from_dollars(0.4).unwrap(), Price::from_dollars(0.2).unwrap())
    );
}

#[test]
fn an_empty_node_goes_whatever_little_it_costs() {
    let mut world = World::new();
    world.instance("tiny", amounts(500, 512, 0, 4), 0.001);
    let mut town = Town::new(world);
    town.node("a", "tiny", "a");
    assert_eq!(told(&town, &town.plan()), [(names(&["a"]), vec![])]);
}

#[test]
fn three_become_two() {
    // Each holds 1.2 CPU of its 1.3, in pods of 0.9 and 0.3. The middle type has 2.1: two of them hold all, one not even what
    // two nodes hold.
    let mut world = World::new();
    world.instance("small", amounts(1300, 8192, 0, 20), 0.2).instance(
        "middle",
        amounts(2100, 8192, 0, 20),
        0.25,
    );
    let mut town = Town::new(world);
    for name in ["a", "b", "c"] {
        town.node(name, "small", "a").pods("web", 1, &spec(900, 512)).pods("api", 1, &spec(300, 512));
    }
    let out = town.plan();
    assert_eq!(told(&town, &out), [(names(&["a", "b", "c"]), names(&["middle", "middle"]))]);
    assert_eq!(out.steps[0].saving, Price::from_dollars(0.1).unwrap());
}

#[test]
fn what_falls_apart_is_several_steps() {
    // Two go onto one of the middle type, and so do the other two: neither pair needs the other.
    let mut world = World::new();
    world.instance("small", amounts(2000, 8192, 0, 20), 0.2).instance(
        "middle",
        amounts(2600, 8192, 0, 20),
        0.25,
    );
    let mut town = Town::new(world);
    for name in ["a", "b", "c", "d"] {
        town.node(name, "small", "a").pods("web", 1, &spec(1300, 512));
    }
    let out = town.plan();
    assert_eq!(
        out.steps.iter().map(|s| (s.removes.len(), s.launches.len())).collect::<Vec<_>>(),
        [(2, 1), (2, 1)]
    );
}

#[test]
fn a_big_node_becomes_several_smaller_ones() {
    // 3.6 of 8 CPU in use, in pods of 1.8: two small nodes hold them.
    let mut town = Town::new(market());
    town.node("a", "big", "a").pods("web", 2, &spec(1800, 512));
    let out = town.plan();
    assert_eq!(told(&town, &out), [(names(&["a"]), names(&["small", "small"]))]);
    assert_eq!(out.steps[0].saving, Price::from_dollars(0.3).unwrap());
}

#[test]
fn on_demand_becomes_spot_where_that_is_sold() {
    let mut world = market();
    world.spot(0.4);
    let mut town = Town::new(world);
    town.node("a", "small", "a").pods("web", 3, &spec(600, 512));
    let out = town.plan();
    assert_eq!(told(&town, &out), [(names(&["a"]), names(&["small"]))]);
    assert_eq!(out.steps[0].launches[0].offering(&town.world.0).capacity_type, "spot");
}

/// So many types of 2 CPU, spot at a few cents, each a tenth of a cent dearer than the one before.
fn spots(count: usize) -> World {
    let mut world = World::new();
    for at in 0..count {
        world.instance(&format!("type-{at:02}"), amounts(2000, 8192, 0, 20), 0.1 + 0.002 * at as f64);
    }
    world.spot(0.5);
    for of_type in &mut world.0.types {
        of_type.offerings.retain(|offering| offering.capacity_type == "spot");
    }
    world
}

#[test]
fn spot_becomes_cheaper_spot_where_there_are_types_enough_to_choose_from() {
    for (count, expected) in [(14, false), (15, true), (20, true)] {
        let mut town = Town::new(spots(count));
        town.bought("a", "type-00", "a", "spot", Some(0.12)).pods("web", 3, &spec(600, 512));
        town.fleet.nodes[0].sold_as.instance_type = "old".to_owned();
        let out = town.plan();
        assert_eq!(out.steps.len(), usize::from(expected), "{count}: {out:#?}");
        if expected {
            // The launch may choose among the cheapest fifteen, and no others.
            assert_eq!(out.steps[0].launches[0].flexibility(&town.world.0), 15);
        } else {
            assert!(matches!(out.kept[0].1, Kept::SpotTypes { found: 14, least: 15 }), "{:?}", out.kept);
        }
    }
    let mut town = Town::new(spots(20));
    town.bought("a", "type-00", "a", "spot", Some(0.12)).pods("web", 3, &spec(600, 512));
    town.fleet.nodes[0].sold_as.instance_type = "old".to_owned();
    let out = town.plan_with(&Aims { spot_types: None, ..Aims::default() });
    assert_eq!((out.steps.len(), &out.kept[0].1), (0, &Kept::SpotTypes { found: 0, least: 0 }));
}

#[test]
fn a_spot_node_becomes_several_where_each_has_types_enough_to_choose_from() {
    // Two pods that a type of 2 CPU holds one of each: both nodes together cost less than the one that is half empty.
    for (count, expected) in [(14, false), (15, true), (20, true)] {
        let mut town = Town::new(spots(count));
        town.world.instance("old", amounts(8000, 32768, 0, 80), 0.4);
        for offering in &mut town.world.0.types.last_mut().unwrap().offerings {
            "spot".clone_into(&mut offering.capacity_type);
            offering.labels.insert(common::CAPACITY.to_owned(), "spot".to_owned());
        }
        town.bought("a", "old", "a", "spot", None).pods("web", 2, &spec(1800, 512));
        let out = town.plan();
        assert_eq!(out.steps.len(), usize::from(expected), "{count}: {out:#?}");
        if expected {
            let flexible = |new: &stowage_solver::NewNode| new.flexibility(&town.world.0);
            assert_eq!(out.steps[0].launches.iter().map(flexible).collect::<Vec<_>>(), [15, 15]);
        } else {
            assert!(matches!(out.kept[0].1, Kept::SpotTypes { found: 14, least: 15 }), "{:?}", out.kept);
        }
    }
}

#[test]
fn several_spot_nodes_become_one_whatever_there_is_to_choose_from() {
    let mut town = Town::new(spots(3));
    for name in ["a", "b"] {
        town.bought(name, "type-02", "a", "spot", Some(0.2)).pods("web", 1, &spec(900, 512));
        town.fleet.nodes.last_mut().unwrap().sold_as.instance_type = "old".to_owned();
    }
    assert_eq!(told(&town, &town.plan()), [(names(&["a", "b"]), names(&["type-00"]))]);
}

#[test]
fn on_demand_that_takes_the_place_of_spot_does_not_become_spot_again() {
    // Spot that costs more than on demand, of a few types.
    let mut town = Town::new(market());
    town.world.spot(1.1);
    town.bought("a", "small", "a", "spot", Some(0.4)).pods("web", 3, &spec(600, 512));
    let out = town.plan();
    assert_eq!(told(&town, &out), [(names(&["a"]), names(&["small"]))]);
    let launch = &out.steps[0].launches[0];
    let kinds = launch.alternatives.iter().map(|other| &other.offering(&town.world.0).capacity_type);
    assert!(kinds.chain([&launch.offering(&town.world.0).capacity_type]).all(|kind| kind == "on-demand"));
}

/// Types of 2 CPU at these prices, of which a `NodePool` asks for so many to choose from.
fn choosy(dollars: &[f64], least: u32, relax: bool) -> Town {
    let mut world = World::new();
    world.instance("own", amounts(2000, 8192, 0, 20), 0.2);
    for (at, dollars) in dollars.iter().enumerate() {
        world.instance(&format!("type-{at}"), amounts(2000, 8192, 0, 20), *dollars);
    }
    let key = "node.kubernetes.io/instance-type".to_owned();
    world.0.pools[0].min_values = vec![MinValues { key, least, relax }];
    let mut town = Town::new(world);
    town.node("a", "own", "a").pods("web", 3, &spec(600, 512));
    town
}

#[test]
fn what_min_values_asks_for_is_counted_among_what_is_cheap_enough() {
    // Two types are cheaper; the third would be the type that goes, or one that costs more.
    let out = choosy(&[0.1, 0.12, 0.3], 3, false).plan();
    assert_eq!(out.steps, []);
    let key = "node.kubernetes.io/instance-type".to_owned();
    assert_eq!(out.kept[0].1, Kept::MinValues { key, found: 2, least: 3 });
    // A third that leaves a saving is enough, and nothing else may be chosen.
    let town = choosy(&[0.1, 0.12, 0.15, 0.3], 3, false);
    let out = town.plan();
    assert_eq!(told(&town, &out), [(names(&["a"]), names(&["type-0"]))]);
    assert_eq!(out.steps[0].launches[0].flexibility(&town.world.0), 3);
    // Where fewer will do, they do.
    let town = choosy(&[0.1, 0.12, 0.3], 3, true);
    assert_eq!(told(&town, &town.plan()), [(names(&["a"]), names(&["type-0"]))]);
    // Nothing is chosen where nothing is bought.
    let mut town = choosy(&[0.3], 3, false);
    town.node("b", "own", "a").pods("web", 1, &spec(100, 128));
    assert_eq!(told(&town, &town.plan()), [(names(&["b"]), vec![])]);
}

#[test]
fn spot_may_be_chosen_from_as_many_as_min_values_asks_for() {
    let mut town = Town::new(spots(20));
    let key = "node.kubernetes.io/instance-type".to_owned();
    town.world.0.pools[0].min_values = vec![MinValues { key, least: 18, relax: false }];
    town.bought("a", "type-00", "a", "spot", Some(0.12)).pods("web", 3, &spec(600, 512));
    town.fleet.nodes[0].sold_as.instance_type = "old".to_owned();
    assert_eq!(town.plan().steps[0].launches[0].flexibility(&town.world.0), 18);
}

#[test]
fn pods_that_hold_memory_go_onto_types_of_much_memory() {
    // Each pod needs most of the memory of its node and little of its CPU: one node with twice the memory holds all three.
    let mut world = World::new();
    world
        .instance("m.2xlarge", amounts(8000, 32 << 10, 0, 58), 0.384)
        .instance("c.2xlarge", amounts(8000, 16 << 10, 0, 58), 0.34)
        .instance("r.2xlarge", amounts(8000, 64 << 10, 0, 58), 0.504)
        .instance("m.4xlarge", amounts(16_000, 64 << 10, 0, 58), 0.768);
    let mut town = Town::new(world);
    for name in ["a", "b", "c"] {
        town.node(name, "m.2xlarge", "a").pods("cache", 1, &spec(1500, 20 << 10));
    }
    let out = town.plan();
    assert_eq!(told(&town, &out), [(names(&["a", "b", "c"]), names(&["r.2xlarge"]))]);
    assert_eq!(out.steps[0].saving, Price::from_dollars(0.648).unwrap());
    assert_eq!(out.steps[0].moves.len(), 3);
}

#[test]
fn of_steps_that_save_as_much_those_of_old_nodes_go_first() {
    // Each becomes a small one in its own zone, as its pod has a disk there.
    let mut town = Town::new(market());
    for name in ["a", "b", "c"] {
        let mut disk = spec(1800, 512);
        disk.node.push(node_selector(one_of(common::ZONE, &[name])));
        town.node(name, "big", name).pods("db", 1, &disk);
    }
    let order = |town: &Town| told(town, &town.plan()).into_iter().map(|(gone, _)| gone).collect::<Vec<_>>();
    assert_eq!(order(&town), [names(&["a"]), names(&["b"]), names(&["c"])]);
    town.fleet.nodes[2].aged = 900;
    assert_eq!(order(&town), [names(&["c"]), names(&["a"]), names(&["b"])]);
    // What it comes to does not depend on it.
    let steps = town.plan().steps;
    assert!(
        steps.iter().all(|step| (step.disruption, step.payback) == (2000, steps[1].payback)),
        "{steps:#?}"
    );
}

#[test]
fn nothing_takes_the_place_of_its_like() {
    // What is there costs more than the same would cost now: a change of price alone moves no pod.
    let mut town = Town::new(market());
    town.bought("a", "small", "a", "on-demand", Some(0.3)).pods("web", 3, &spec(600, 512));
    let out = town.plan();
    assert_eq!(out.steps, []);
    assert_eq!(out.kept[0].1, Kept::LikeForLike { instance_type: "small".to_owned() });
}

#[test]
fn what_saves_too_little_stays() {
    let mut world = market();
    world.instance("other", amounts(2000, 8192, 0, 20), 0.194);
    let mut town = Town::new(world);
    town.node("a", "small", "a").pods("web", 3, &spec(600, 512));
    let cent = |dollars: f64| Price::from_dollars(dollars).unwrap();
    // Three percent are less than five.
    assert_eq!(town.plan().kept[0].1, Kept::TooLittle { saving: cent(0.006), least: cent(0.01) });
    // With a lower floor: four units of disruption at $0.001, and $0.0065 for two minutes of the new node before it is of use.
    let eager = Aims { floor_share: 20, ..Aims::default() };
    let out = town.plan_with(&eager);
    assert_eq!((out.steps.len(), out.steps[0].payback), (1, 6280));
    town.fleet.nodes[0].quiet = 12 * 3600;
    // Half an hour, as the node has been quiet for half a day.
    let hasty = Aims { payback: Some(225), ..eager };
    let why = Kept::Payback { saving: cent(0.006), disruption: 4000, seconds: 6280 };
    assert_eq!(town.plan_with(&hasty).kept[0].1, why);
    let at_once = Aims { startup: 0, ..hasty };
    assert_eq!(
        town.plan_with(&at_once).kept[0].1,
        Kept::Payback { saving: cent(0.006), disruption: 4000, seconds: 2400 }
    );
}

#[test]
fn what_nodes_save_that_were_quiet_for_long_may_take_longer_to_pay() {
    let aims = Aims { payback: Some(900), ..Aims::default() };
    let horizons = [0, 6, 12, 48, 96].map(|hours| aims.horizon(hours * 3600));
    assert_eq!(horizons, [900, 900, 1800, 7200, 10800].map(Some));
    assert_eq!(Aims { payback: None, ..aims }.horizon(0), None);

    // A tenth is saved: $0.018 an hour, for $0.004 of pods and $0.006 while the new node starts, in 34 minutes.
    let mut world = market();
    world.instance("other", amounts(2000, 8192, 0, 20), 0.182);
    let mut town = Town::new(world);
    town.node("a", "small", "a").pods("web", 3, &spec(600, 512));
    assert_eq!(town.plan().steps[0].payback, 2014);
    town.fleet.nodes[0].quiet = 8 * 3600;
    assert!(matches!(town.plan().kept[0].1, Kept::Payback { seconds: 2014, .. }));
    town.fleet.nodes[0].quiet = 24 * 3600;
    assert_eq!(town.plan().steps.len(), 1);
}

#[test]
fn balanced_pools_weigh_savings_against_disruption() {
    // Saves 7 % of what the pool costs, and disrupts four fifths of it.
    let mut world = market();
    world.instance("other", amounts(2000, 8192, 0, 20), 0.18);
    let mut town = Town::new(world);
    town.node("a", "small", "a").pods("web", 3, &spec(600, 512));
    town.node("b", "small", "b");
    town.fleet.nodes[1].removable = false;
    town.fleet.nodes[1].receives = false;
    assert_eq!(town.plan().steps.len(), 1);
    town.fleet.nodes[0].balanced = true;
    let out = town.plan();
    // 0.02 of 0.4 over 4 of 5.
    assert_eq!(
        (out.steps.len(), &out.kept[0].1),
        (0, &Kept::Unbalanced { saving: Price::from_dollars(0.02).unwrap(), score: 62 })
    );
}

#[test]
fn nodes_that_may_not_go_stay_and_hold_what_they_may() {
    let mut town = Town::new(market());
    town.node("a", "small", "a").pods("web", 1, &spec(500, 512));
    town.node("b", "small", "a").pods("web", 1, &spec(500, 512));
    town.fleet.nodes[0].removable = false;
    assert_eq!(told(&town, &town.plan()), [(names(&["b"]), vec![])]);
    town.fleet.nodes[1].price = None;
    let out = town.plan();
    assert_eq!(out.steps, []);
    assert_eq!([&out.kept[0].1, &out.kept[1].1], [&Kept::NotRemovable, &Kept::UnknownPrice]);
    // Nothing may be moved to the first: the second stays, and says what it would save.
    let mut town = Town::new(market());
    town.node("a", "small", "a").pods("web", 1, &spec(500, 512));
    town.node("b", "small", "a").pods("web", 1, &spec(500, 512));
    (town.fleet.nodes[0].removable, town.fleet.nodes[0].receives) = (false, false);
    let out = town.plan();
    assert_eq!(
        (out.steps.len(), &out.kept[1].1),
        (0, &Kept::LikeForLike { instance_type: "small".to_owned() })
    );
}

#[test]
fn pods_that_keep_apart_keep_their_nodes() {
    let mut town = Town::new(market());
    let mut alone = spec(500, 512);
    alone.anti_affinity.push(away_from(TopologyKey::Host, "web"));
    for name in ["a", "b", "c"] {
        town.node(name, "small", "a").pods("web", 1, &alone);
    }
    let out = town.plan();
    assert_eq!(out.steps, []);
    // Three nodes are what they need: no arrangement is cheaper.
    assert_eq!(out.bound, out.before);
}

#[test]
fn spread_over_zones_holds_afterwards() {
    let mut town = Town::new(market());
    let mut even = spec(500, 512);
    even.spread.push(zone_spread("web", 1));
    for (name, zone) in [("a", "a"), ("b", "b"), ("c", "c")] {
        town.node(name, "small", zone).pods("web", 2, &even);
    }
    // Pods of another service fit anywhere.
    town.node("d", "small", "a").pods("api", 1, &spec(500, 512));
    assert_eq!(told(&town, &town.plan()), [(names(&["d"]), vec![])]);
}

#[test]
fn pods_with_a_disk_stay_in_its_zone() {
    let mut town = Town::new(market());
    let mut disk = spec(500, 512);
    disk.node.push(node_selector(one_of(common::ZONE, &["b"])));
    town.node("a", "small", "a").pods("web", 1, &spec(500, 512));
    town.node("b", "small", "b").pods("db", 1, &disk);
    // Only the pod without a disk can move.
    assert_eq!(told(&town, &town.plan()), [(names(&["a"]), vec![])]);
}

#[test]
fn what_comes_must_be_within_limits_with_what_goes_still_there() {
    let mut town = Town::new(market());
    town.node("a", "big", "a").pods("web", 2, &spec(1800, 512));
    // Twelve CPU would do for both together.
    town.world.0.pools[0].limits = vec![(ResourceId(0), 12_000)];
    assert_eq!(town.plan().steps.len(), 1);
    town.world.0.pools[0].limits = vec![(ResourceId(0), 11_000)];
    let out = town.plan();
    assert!(matches!(&out.kept[0].1, Kept::NoPlace { reasons, .. } if !reasons.is_empty()), "{out:#?}");
}

#[test]
fn no_more_nodes_go_than_may_at_once() {
    let mut town = Town::new(market());
    town.node("a", "big", "a").pods("web", 1, &spec(500, 512));
    town.fleet.nodes[0].removable = false;
    for name in ["b", "c", "d"] {
        town.node(name, "small", "a").pods("web", 1, &spec(500, 512));
    }
    assert_eq!(town.plan().steps.len(), 3);
    let aims = Aims { limits: [("default".to_owned(), 2)].into(), ..Aims::default() };
    let out = town.plan_with(&aims);
    assert_eq!((out.steps.len(), &out.kept[1].1), (2, &Kept::Limit));
}

#[test]
fn pending_pods_come_first() {
    let mut town = Town::new(market());
    town.node("a", "small", "a").pods("web", 1, &spec(500, 512));
    town.node("b", "small", "a").pods("web", 1, &spec(500, 512));
    town.world.pods("new", 1, spec(1400, 512));
    let out = town.plan();
    assert_eq!((out.pending.placements.len(), out.pending.new_nodes.len()), (1, 0));
    // The other two no longer fit together with it.
    assert_eq!(out.steps, []);
    assert_eq!(out.kept.iter().filter(|(_, why)| *why == Kept::Awaited).count(), 1);
}
