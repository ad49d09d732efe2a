//! Consolidation: what it finds on clusters small enough to think through, what it leaves alone, and laws on random ones.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use common::random::{Draft, draft};
use common::{World, amounts, away_from, labels, node_selector, one_of, plan_with, spec, zone_spread};
use proptest::prelude::*;
use stowage_solver::{
    Aims, Consolidation, Destination, Effort, Fleet, Held, Kept, NewNode, Node, NodeId, Options, Placement,
    Pod, PodId, PodSpec, Price, Problem, ResourceId, Resources, RunningPod, Sold, Solution, TopologyKey,
    consolidate, verify,
};

const CAPACITY: &str = "karpenter.sh/capacity-type";

/// A cluster with nodes that were bought.
struct Town {
    world: World,
    fleet: Fleet,
}

impl Town {
    fn new(world: World) -> Self {
        Self { world, fleet: Fleet::default() }
    }

    /// A node of a type of the world, on demand.
    fn node(&mut self, name: &str, of_type: &str, zone: &str) -> &mut Self {
        self.bought(name, of_type, zone, "on-demand", None)
    }

    fn bought(
        &mut self,
        name: &str,
        of_type: &str,
        zone: &str,
        capacity_type: &str,
        dollars: Option<f64>,
    ) -> &mut Self {
        let problem = &self.world.0;
        let found = problem.types.iter().find(|t| t.name == of_type).unwrap();
        let offering = found.offerings.iter().find(|o| o.zone == zone && o.capacity_type == capacity_type);
        let price = dollars.and_then(Price::from_dollars).or_else(|| offering.map(|o| o.price));
        let (capacity, own) = (found.capacity.clone(), found.labels.clone());
        self.world.node(name, zone, capacity.clone());
        let node = self.world.0.nodes.last_mut().unwrap();
        node.labels.extend(own);
        node.labels.extend(labels(&[(CAPACITY, capacity_type), ("karpenter.sh/nodepool", "default")]));
        node.pool = Some("default".to_owned());
        let pool = &mut self.world.0.pools[0];
        pool.used = pool.used.plus(&capacity);
        pool.node_count += 1;
        self.fleet.nodes.push(Held {
            price,
            sold_as: Sold {
                instance_type: of_type.to_owned(),
                zone: zone.to_owned(),
                capacity_type: capacity_type.to_owned(),
            },
            removable: true,
            receives: true,
            fixed: 1000,
            capacity,
            ..Held::default()
        });
        self
    }

    /// `count` pods on the last node.
    fn pods(&mut self, app: &str, count: usize, spec: &PodSpec) -> &mut Self {
        for _ in 0..count {
            self.world.running(app, spec.clone());
            let at = self.world.0.nodes.last().unwrap().pods.len() as u32 - 1;
            self.fleet.nodes.last_mut().unwrap().moves.push((at, 1000));
        }
        self
    }

    fn plan(&self) -> Consolidation {
        self.plan_with(&Aims::default())
    }

    fn plan_with(&self, aims: &Aims) -> Consolidation {
        consolidated(&self.world.0, &self.fleet, aims)
    }
}

/// Consolidates, and checks what holds of every outcome.
fn consolidated(problem: &Problem, fleet: &Fleet, aims: &Aims) -> Consolidation {
    let never = AtomicBool::new(false);
    let out =
        consolidate(problem, fleet, aims, &never, &mut |_, _, _| {}).unwrap_or_else(|v| panic!("{v:?}"));
    assert!(out.after <= out.before, "dearer after than before: {out:#?}");
    assert!(out.bound <= out.after, "the bound is above what was found: {out:#?}");
    for step in &out.steps {
        assert!(step.saving > Price::ZERO && !step.removes.is_empty(), "{step:#?}");
        let stated: i64 = step.removes.iter().map(|node| fleet.nodes[node.index()].disruption()).sum();
        assert_eq!(step.disruption, stated);
        for launch in &step.launches {
            let (pool, offering) = (&problem.pools[launch.pool.index()].name, launch.offering(problem));
            let own = &problem.types[launch.instance_type.index()].name;
            let alike = step.removes.iter().find(|node| {
                let sold = &fleet.nodes[node.index()].sold_as;
                problem.nodes[node.index()].pool.as_ref() == Some(pool)
                    && (&sold.instance_type, &sold.zone, &sold.capacity_type)
                        == (own, &offering.zone, &offering.capacity_type)
            });
            assert!(alike.is_none(), "like for like: {step:#?}");
        }
    }
    if problem.pods.is_empty() {
        let broken = verify(&whole(problem, &out).0, &whole(problem, &out).1);
        assert_eq!(broken, [], "the state after all steps");
    }
    let gone: usize = out.steps.iter().map(|step| step.removes.len()).sum();
    assert_eq!(gone + out.kept.len(), problem.nodes.len(), "every node goes or has a reason");
    out
}

/// All steps as one plan: nodes gone, their pods waiting, and where they are to go. Limits and spread hold step by step, and not
/// for all at once: they are left out.
fn whole(problem: &Problem, out: &Consolidation) -> (Problem, Solution) {
    let mut all = problem.clone();
    let gone: Vec<NodeId> = out.steps.iter().flat_map(|step| step.removes.iter().copied()).collect();
    let kept: Vec<usize> = (0..problem.nodes.len()).filter(|at| !gone.contains(&NodeId::of(*at))).collect();
    all.nodes = kept.iter().map(|at| problem.nodes[*at].clone()).collect();
    all.pools.iter_mut().for_each(|pool| (pool.limits, pool.node_limit) = (Vec::new(), None));
    all.specs.iter_mut().for_each(|spec| spec.spread.clear());
    let mut solution = Solution::default();
    let mut on_kept = BTreeMap::<usize, Vec<PodId>>::new();
    for step in &out.steps {
        let first = solution.new_nodes.len();
        solution
            .new_nodes
            .extend(step.launches.iter().cloned().map(|new| NewNode { alternatives: [].into(), ..new }));
        for pod in &step.moves {
            let running = problem.nodes[pod.from.index()].pods.iter().find(|p| p.name == pod.pod).unwrap();
            let id = PodId::of(all.pods.len());
            all.pods.push(Pod { name: pod.pod.clone(), spec: running.spec, labels: running.labels });
            match pod.to {
                Destination::New(launch) => solution.new_nodes[first + launch].pods.push(id),
                Destination::Existing(node) => {
                    on_kept.entry(kept.binary_search(&node.index()).unwrap()).or_default().push(id);
                }
            }
        }
    }
    solution.cost = solution.new_nodes.iter().map(|new| new.price - new.rebate + new.fixed_cost).sum();
    solution.placements =
        on_kept.into_iter().map(|(node, pods)| Placement { node: NodeId::of(node), pods }).collect();
    // How wide the choice is was checked with each step, and alternatives are left out here.
    all.pools.iter_mut().for_each(|pool| pool.min_values.clear());
    (all, solution)
}

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
    // With a lower floor, four units of disruption at $0.001 take 40 minutes.
    let eager = Aims { floor_share: 20, ..Aims::default() };
    let out = town.plan_with(&eager);
    assert_eq!((out.steps.len(), out.steps[0].payback), (1, 2400));
    let hasty = Aims { payback: Some(1800), ..eager };
    let why = Kept::Payback { saving: cent(0.006), disruption: 4000, seconds: 2400 };
    assert_eq!(town.plan_with(&hasty).kept[0].1, why);
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

/// Nodes that a plan bought, with their pods, of which some have gone since.
fn settled(draft: &Draft, gone: u32) -> Option<(Problem, Fleet)> {
    let mut problem = draft.world(false).0;
    let options = Options { effort: Effort::Quick, ..Options::default() };
    // Pods that are planned now are the cluster's; what runs already stays as it is, and so do the rules that held.
    // Claims of pods that run have their volumes.
    for spec in &mut problem.specs {
        spec.route = None;
        spec.unbound_claims.clear();
    }
    let plan: Solution = plan_with(&problem, &options);
    let mut fleet = Fleet { nodes: vec![Held { receives: true, ..Held::default() }; problem.nodes.len()] };
    let waiting = std::mem::take(&mut problem.pods);
    for (number, new) in plan.new_nodes.iter().enumerate() {
        let (pool, of_type) = (&problem.pools[new.pool.index()], &problem.types[new.instance_type.index()]);
        let offering = new.offering(&problem);
        let mut own = pool.labels.clone();
        own.extend(of_type.labels.clone());
        own.extend(offering.labels.clone());
        own.extend(new.chosen_labels.iter().cloned());
        let daemons =
            new.daemons.iter().map(|d| &problem.specs[problem.daemons[d.index()].spec.index()].requests);
        let mut node = Node {
            name: format!("node-{number:02}"),
            labels: own,
            taints: pool.taints.clone(),
            allocatable: of_type.allocatable.clone(),
            used: daemons.fold(Resources::default(), |sum, requests| sum.plus(requests)),
            host_ports: Vec::new(),
            pods: Vec::new(),
            pool: Some(pool.name.clone()),
            open: true,
        };
        let mut held = Held {
            price: Some(new.price - new.rebate + new.fixed_cost),
            sold_as: Sold {
                instance_type: of_type.name.clone(),
                zone: offering.zone.clone(),
                capacity_type: offering.capacity_type.clone(),
            },
            removable: true,
            receives: true,
            fixed: 1000,
            capacity: of_type.capacity.clone(),
            ..Held::default()
        };
        for (at, pod) in new.pods.iter().enumerate() {
            if (gone >> ((at + number) % 32)) & 1 != 0 {
                continue;
            }
            let pod = &waiting[pod.index()];
            let spec = &problem.specs[pod.spec.index()];
            node.used = node.used.plus(&spec.requests);
            node.host_ports.extend(spec.host_ports.iter().cloned());
            held.moves.push((node.pods.len() as u32, 1000));
            let (name, spec, labels) = (pod.name.clone(), pod.spec, pod.labels);
            node.pods.push(RunningPod { name, spec, labels, terminating: false, count: 1 });
        }
        let pool = &mut problem.pools[new.pool.index()];
        pool.used = pool.used.plus(&held.capacity);
        pool.node_count += 1;
        problem.nodes.push(node);
        fleet.nodes.push(held);
    }
    (!plan.new_nodes.is_empty()).then_some((problem, fleet))
}

/// After so many looks nothing is left to find.
const LOOKS: usize = 4;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Never dearer, never below the bound, every step within the rules, and an end to it.
    #[test]
    fn consolidation_keeps_its_laws(draft in draft(), gone in any::<u32>()) {
        let Some((problem, fleet)) = settled(&draft, gone) else { return Ok(()) };
        let aims = Aims::default();
        let out = consolidated(&problem, &fleet, &aims);
        let (next, next_fleet) = out.carried_out(&problem, &fleet);
        let cost: Price = next_fleet.nodes.iter().filter_map(|held| held.price).sum();
        prop_assert_eq!(cost, out.after);
        let pods = |problem: &Problem| {
            let mut names: Vec<String> =
                problem.nodes.iter().flat_map(|node| &node.pods).map(|pod| pod.name.clone()).collect();
            names.sort();
            names
        };
        // No pod is lost: those of nodes that may not go stay where they are.
        prop_assert_eq!(pods(&problem), pods(&next));
        // Looks come to an end: each that finds something saves. Most find all at once; where steps stand in each other's way, or
        // what is paid for already comes back with whoever goes, another look has more to give.
        let (mut problem, mut fleet, mut last) = (next, next_fleet, out);
        for _ in 0..LOOKS {
            if last.spent || last.steps.is_empty() {
                break;
            }
            last = consolidated(&problem, &fleet, &aims);
            (problem, fleet) = last.carried_out(&problem, &fleet);
        }
        prop_assert!(last.spent || last.steps.is_empty(), "still something to find: {:#?}", last.steps);
    }

    /// The order of the nodes changes nothing.
    #[test]
    fn consolidation_does_not_depend_on_order(draft in draft(), gone in any::<u32>()) {
        let Some((problem, fleet)) = settled(&draft, gone) else { return Ok(()) };
        let out = consolidated(&problem, &fleet, &Aims::default());
        let (mut turned, mut turned_fleet) = (problem.clone(), fleet.clone());
        turned.nodes.reverse();
        turned_fleet.nodes.reverse();
        let other = consolidated(&turned, &turned_fleet, &Aims::default());
        let told = |problem: &Problem, out: &Consolidation| -> Vec<(Vec<String>, usize, Price)> {
            let names = |step: &stowage_solver::Step| {
                step.removes.iter().map(|node| problem.nodes[node.index()].name.clone()).collect()
            };
            out.steps.iter().map(|step| (names(step), step.launches.len(), step.saving)).collect()
        };
        prop_assert_eq!(told(&problem, &out), told(&turned, &other));
        prop_assert_eq!(out.bound, other.bound);
    }
}
