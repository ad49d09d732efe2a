//! Everything that a solve does is counted in steps, and the steps are bounded: whatever is mixed, and never by the clock.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod common;

use common::{
    World, ZONE, amounts, app, away_from, node_selector, one_of, plan_with, route, spec, spread, zone_spread,
};
use stowage_solver::{
    Effort, MinValues, NodeConstraint, Operator, Options, PodSelector, PodSpec, PodTerm, Preference, Price,
    Requirement, ResourceId, Resources, Spread, TopologyKey,
};

const TYPE: &str = "node.kubernetes.io/instance-type";

/// Many types, wide choices to keep, limits, fixed costs, spot, quotas, routes, spread, anti-affinity and wishes; nearly every pod
/// of a class of its own.
fn everything(pods: usize) -> World {
    let mut world = World::new();
    for size in 1..=12i64 {
        for (family, memory) in [("c", 2048), ("m", 4096), ("r", 8192)] {
            let room = amounts(size * 2000, size * 2 * memory, 0, 8 + size * 20);
            let dollars = size as f64 * (0.05 + memory as f64 * 1e-5);
            world.instance(&format!("{family}{size:02}"), room, dollars);
        }
    }
    world.spot(0.4).reserved(3, 2, 0.5).quotas(0x1400);
    let wide = |least| vec![MinValues { key: TYPE.to_owned(), least, relax: false }];
    world.0.pools[0].min_values = wide(3);
    world.0.pools[0].limits = vec![(ResourceId(0), pods as i64 * 1000)];
    world.pool("heavy", |pool| {
        pool.weight = 10;
        pool.limits = vec![(ResourceId(0), pods as i64 * 250)];
        pool.node_cost = Price::from_dollars(0.01).unwrap();
        pool.min_values = wide(2);
    });
    for at in 0..pods {
        let name = format!("p{at}");
        let mut of = spec([100, 250, 500, 1000, 2000, 3500, 9500][at % 7], [128, 512, 1024, 3072][at % 4]);
        match at % 10 {
            0 => of.spread = vec![zone_spread(&name, 1)],
            1 => of.anti_affinity = vec![away_from(TopologyKey::Host, &name)],
            2 => of.node = vec![node_selector(one_of(ZONE, &["a", "b"]))],
            3 => {
                of.preferences = vec![Preference::Node(wish("c")), Preference::Spread(zone_spread(&name, 1))];
            }
            4 => of.route = Some(route(40 + at as i64)),
            _ => {}
        }
        world.pods(&name, 1 + at % 3, of);
    }
    for at in 0..pods / 20 {
        world.node(&format!("n{at}"), ["a", "b", "c"][at % 3], amounts(2000, 8192, 0, 20));
        world.running("old", spec(500, 1024));
    }
    world
}

fn wish(zone: &str) -> NodeConstraint {
    NodeConstraint { of_volume: true, ..node_selector(one_of(ZONE, &[zone])) }
}

fn steps(world: &World, options: &Options) -> u64 {
    plan_with(&world.0, options).stats.steps
}

#[test]
fn with_everything_mixed_steps_are_bounded() {
    let quick = Options { effort: Effort::Quick, ..Options::default() };
    let world = everything(60);
    // Its own plans, and as many for wishes.
    let spent = steps(&world, &quick);
    assert!(spent < 100_000_000, "quick: {spent}");
    let spent = steps(&world, &Options::default());
    assert!(spent < 300_000_000, "balanced: {spent}");
}

#[test]
fn without_steps_there_is_a_plan_all_the_same() {
    // Where limits bind, effort decides how many pods they let in; here they do not.
    let mut world = everything(30);
    world.0.pools.iter_mut().for_each(|pool| pool.limits.clear());
    let all = plan_with(&world.0, &Options::default());
    let none = plan_with(&world.0, &Options { max_steps: 0, ..Options::default() });
    assert_eq!(none.unplaced.len(), all.unplaced.len());
    assert!(none.stats.steps < all.stats.steps, "{} of {}", none.stats.steps, all.stats.steps);
}

#[test]
fn a_wide_choice_takes_few_more_steps() {
    let mut narrow = World::new();
    for at in 0..200i64 {
        let room = amounts(1000 + at * 400, 4096 + (at * 97 % 31) * 2048, 0, 20 + at);
        narrow.instance(&format!("t{at:03}"), room, 0.05 + at as f64 * 0.021);
    }
    for at in 0..40 {
        let of = PodSpec { requests: Resources::default(), ..spec(0, 0) };
        let requests = amounts(100 + at * 130 % 1900, 200 + at * 331 % 3800, 0, 1);
        narrow.pods(&format!("p{at}"), 5, PodSpec { requests, ..of });
    }
    let mut wide = narrow.clone();
    wide.0.pools[0].min_values = vec![MinValues { key: TYPE.to_owned(), least: 15, relax: false }];
    let quick = Options { effort: Effort::Quick, ..Options::default() };
    let (narrow, wide) = (steps(&narrow, &quick), steps(&wide, &quick));
    assert!(wide < 4 * narrow, "{narrow} steps without, {wide} with");
}

/// Fifty pods of ten services, and five that carry `rules`.
fn hostile(rules: impl Fn(usize, &mut PodSpec)) -> World {
    let mut world = World::new();
    for size in 1..=20i64 {
        world.instance(&format!("t{size:02}"), amounts(size * 1000, size * 4096, 0, 40), size as f64 * 0.05);
    }
    for app in 0..10 {
        world.pods(&format!("app-{app}"), 5, spec(500, 1024));
    }
    for pod in 0..5 {
        let mut of = spec(500, 1024);
        rules(pod, &mut of);
        world.pods(&format!("hostile-{pod}"), 1, of);
    }
    world
}

/// A thousand terms that each pick other pods, among them many services of the cluster.
fn about(number: usize) -> PodSelector {
    let apps = (0..10).filter(|app| (number >> app) & 1 == 1).map(|app| format!("app-{app}"));
    let values = apps.chain([format!("nobody-{number}")]).collect();
    let labels = Some(vec![Requirement { key: "app".to_owned(), op: Operator::In(values) }]);
    PodSelector { labels, ..app("") }
}

#[test]
fn a_thousand_rules_of_a_pod_take_no_more_than_the_budget_of_a_quick_plan() {
    let zone = || TopologyKey::Label(ZONE.to_owned());
    let term = |key, number| PodTerm { key, selector: about(number) };
    let over = |key, number| Spread { selector: about(number), ..spread(key, "", 3) };
    let cases: [(&str, World); 7] = [
        (
            "anti-affinity over hosts",
            hostile(|_, of| of.anti_affinity = (0..1000).map(|n| term(TopologyKey::Host, n)).collect()),
        ),
        (
            "anti-affinity over zones",
            hostile(|_, of| of.anti_affinity = (0..1000).map(|n| term(zone(), n)).collect()),
        ),
        ("affinity", hostile(|_, of| of.affinity = (0..1000).map(|n| term(zone(), n)).collect())),
        (
            "spread over hosts",
            hostile(|_, of| of.spread = (0..1000).map(|n| over(TopologyKey::Host, n)).collect()),
        ),
        (
            "spread over labels that nothing has",
            hostile(|_, of| {
                let key = |n| TopologyKey::Label(format!("example.com/{n}"));
                of.spread = (0..1000).map(|n| over(key(n), n)).collect();
            }),
        ),
        (
            "preferred nodes",
            hostile(|pod, of| {
                let cores = |n: usize| one_of(TYPE, &[&format!("t{:02}", (n + pod) % 20), &format!("x{n}")]);
                of.preferences = (0..1000)
                    .map(|n| Preference::Node(NodeConstraint { of_volume: true, ..node_selector(cores(n)) }))
                    .collect();
            }),
        ),
        (
            "preferred company",
            hostile(|_, of| {
                of.preferences = (0..1000).map(|n| Preference::Away(term(TopologyKey::Host, n))).collect();
            }),
        ),
    ];
    let quick = Options { effort: Effort::Quick, ..Options::default() };
    for (name, world) in cases {
        let spent = steps(&world, &quick);
        // Plain pods take some 200,000.
        assert!(spent < 60_000_000, "{name}: {spent}");
    }
}
