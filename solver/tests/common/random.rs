//! Small random clusters that mix every rule.

use proptest::prelude::*;
use stowage_solver::{
    MinValues, NodeConstraint, OpenLabel, PodSpec, Preference, Price, Requirement, ResourceId, TopologyKey,
};

use super::{
    World, ZONE, amounts, away_from, near_to, node_selector, one_of, port, route, spec, spread, taint,
    tolerate, zone_spread,
};

/// What one application looks like, in small numbers.
#[derive(Clone, Debug)]
pub struct App {
    pub count: usize,
    pub cpu: i64,
    pub mib: i64,
    pub gpu: i64,
    /// Which rules it has, bit by bit.
    pub rules: u16,
    pub target: usize,
}

/// A cluster to be.
#[derive(Clone, Debug)]
pub struct Draft {
    pub apps: Vec<App>,
    pub nodes: Vec<(usize, i64, usize)>,
    pub types: Vec<(i64, i64, i64, u32)>,
    pub pools: u16,
    pub daemon: bool,
    /// What is paid for already, bit by bit: see [`World::quotas`].
    pub quotas: u16,
}

pub fn draft() -> impl Strategy<Value = Draft> {
    let app = (1usize..7, 1i64..9, 1i64..9, 0i64..8, any::<u16>(), 0usize..4).prop_map(
        |(count, cpu, mem, gpu, rules, target)| App {
            count,
            cpu: cpu * 250,
            mib: mem * 512,
            gpu: i64::from(gpu == 7),
            rules: rules & rules.rotate_right(5),
            target,
        },
    );
    let apps = prop::collection::vec(app, 1..6);
    let nodes = prop::collection::vec((0usize..3, 1i64..5, 0usize..4), 0..4);
    let types = prop::collection::vec((1i64..9, 1i64..9, 0i64..6, 1u32..40), 1..6);
    (apps, nodes, types, any::<u16>(), any::<bool>(), any::<u16>()).prop_map(
        |(apps, nodes, types, pools, daemon, quotas)| Draft { apps, nodes, types, pools, daemon, quotas },
    )
}

pub const ZONES: [&str; 3] = ["a", "b", "c"];

impl Draft {
    /// Whether bit `bit` of an app's rules is set.
    fn app_spec(&self, at: usize) -> PodSpec {
        let app = &self.apps[at];
        let name = format!("app-{at}");
        let other = format!("app-{}", app.target);
        let mut spec = PodSpec { requests: amounts(app.cpu, app.mib, app.gpu, 1), ..spec(0, 0) };
        let zone = || TopologyKey::Label(ZONE.to_owned());
        let has = |bit: u16| app.rules & (1 << bit) != 0;
        if has(0) {
            spec.spread.push(zone_spread(&name, 1 + app.target as u32 % 2));
        }
        if has(1) {
            spec.spread.push(spread(TopologyKey::Host, &name, 1 + app.target as u32 % 3));
        }
        if has(2) {
            spec.anti_affinity.push(away_from(TopologyKey::Host, &name));
        }
        if has(3) {
            spec.anti_affinity.push(away_from(TopologyKey::Host, &other));
        }
        if has(4) {
            spec.anti_affinity.push(away_from(zone(), &other));
        }
        if has(5) {
            spec.node.push(node_selector(one_of(ZONE, &[ZONES[app.target % 3]])));
        }
        if has(6) {
            spec.tolerations.push(tolerate("dedicated"));
        }
        if has(7) {
            spec.host_ports.push(port(80));
        }
        if has(8) {
            spec.node.push(node_selector(one_of("team", &[["red", "blue"][app.target % 2]])));
        }
        if has(9) {
            spec.unbound_claims.push(format!("default/disk-{}", app.target));
        }
        if has(11) {
            let near = if app.target.is_multiple_of(2) { &name } else { &other };
            spec.affinity.push(near_to(zone(), near));
        }
        if has(12) {
            let near = if app.target.is_multiple_of(2) { &other } else { &name };
            spec.affinity.push(near_to(TopologyKey::Host, near));
        }
        if has(13) || has(14) {
            // Two cents for a quarter of a CPU, and up to four times as much.
            spec.route = Some(route(app.cpu / 250 * 10 * (1 + app.target as i64)));
        }
        if has(10) {
            spec.priority = app.target as i32;
        }
        spec
    }

    /// Builds it, applications in the order of `order` (positions modulo their number; all of them come).
    pub fn world(&self, reversed: bool) -> World {
        let mut world = World::new();
        for (at, (cpu, mem, gpu, cents)) in self.types.iter().enumerate() {
            let room = amounts(cpu * 500, mem * 1024, (gpu - 3).max(0), 12);
            let zones = if at % 3 == 2 { &ZONES[..2] } else { &ZONES[..] };
            world.instance_in(&format!("type-{at}"), room, f64::from(*cents) / 100.0, zones);
        }
        if self.pools & 0x100 != 0 {
            world.spot(0.5);
        }
        world.quotas(self.quotas);
        if self.pools & 1 != 0 {
            world.pool("special", |p| {
                p.weight = if self.pools & 2 != 0 { 10 } else { 0 };
                p.taints = if self.pools & 4 != 0 { vec![taint("dedicated")] } else { Vec::new() };
                if self.pools & 8 != 0 {
                    p.limits = vec![(ResourceId(0), 3000)];
                }
                let requirements = vec![one_of("team", &["red", "blue"])];
                p.open_labels = vec![OpenLabel { key: "team".to_owned(), requirements }];
            });
        }
        if self.pools & 0x30 == 0x30 {
            world.0.pools[0].node_limit = Some(3);
        }
        if self.pools & 0x600 == 0x200 {
            let key = "node.kubernetes.io/instance-type".to_owned();
            world.0.pools[0].min_values = vec![MinValues { key, least: 2, relax: false }];
        }
        for (at, pool) in world.0.pools.iter_mut().enumerate() {
            if self.pools & (0x40 << at) != 0 {
                pool.node_cost = Price::from_micros(20_000 * (1 + at as i64));
            }
        }
        if self.daemon {
            world.daemon("agent", spec(100, 64));
        }
        for (at, (zone, size, app)) in self.nodes.iter().enumerate() {
            world.node(&format!("old-{at}"), ZONES[*zone], amounts(size * 1000, size * 2048, size / 4, 8));
            if app < &self.apps.len() {
                world.running(&format!("app-{app}"), self.app_spec(*app));
            }
        }
        for at in 0..self.apps.len() {
            world.pods(&format!("app-{at}"), self.apps[at].count, self.app_spec(at));
        }
        if reversed {
            world.0.pods.reverse();
        }
        world
    }
}

/// A wish for nodes.
pub fn preferred(requirement: Requirement) -> Preference {
    let any_of = vec![vec![requirement]];
    Preference::Node(NodeConstraint { source: "preferred".to_owned(), any_of, of_volume: true })
}

/// A wish for a zone.
pub fn in_zone(zone: &str) -> Preference {
    preferred(one_of(ZONE, &[zone]))
}

/// What a pod of a random cluster may wish for: number 0 to 8.
pub fn wish(number: u8) -> Preference {
    let zone = || TopologyKey::Label(ZONE.to_owned());
    match number {
        0..4 => in_zone(["a", "b", "c", "nowhere"][usize::from(number)]),
        4 => Preference::Near(near_to(zone(), "app-0")),
        5 => Preference::Away(away_from(TopologyKey::Host, "app-1")),
        6 => Preference::Away(away_from(zone(), "app-0")),
        7 => Preference::Spread(zone_spread("app-0", 1)),
        _ => Preference::Spread(spread(TopologyKey::Host, "app-1", 1)),
    }
}
