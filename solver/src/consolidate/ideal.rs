//! How cheap any arrangement of the pods could be, and what each node's pods are worth in it.
//!
//! Nodes that may go are bins at their own price, of which there are as many as there are; those that may not are paid for,
//! and their free room costs nothing. The pods of the former are poured into both, and into what is for sale. What that costs
//! at least is the bound; the prices that prove it say what each pod is worth, and a node that costs much more than its pods
//! are worth is the first to look at.
//!
//! Dropped, beside what [`crate::bound`] drops, because pods that run may have broken it and may stay: spread and affinity,
//! anti-affinity over anything but hosts, anti-affinity that is broken now, weights and limits of `NodePools`, and pods that
//! their own node would not take today. All that only loosens the bound.

use std::collections::{BTreeMap, BTreeSet};

use super::fleet::Fleet;
use crate::bound::worths;
use crate::kind::untolerated;
use crate::model::selects;
use crate::money::Price;
use crate::problem::{
    InstanceType, Labels, Node, NodePool, Offering, Operator, Pod, PodSpec, Problem, Quota, QuotaId,
    Requirement, Resources, Taint, TopologyKey,
};

/// A label that tells nodes that are there from those for sale.
const GROUP: &str = "stowage/group";

/// What is known of all arrangements.
pub(super) struct Ideal {
    /// None costs less: nodes that may not go included, as far as their prices are known.
    pub(super) bound: Price,
    /// By node: what its pods are worth, in micro-dollars an hour; zero for those that may not go.
    pub(super) worth: Vec<f64>,
}

/// Nodes of one kind, wherever they are.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Alike {
    labels: Labels,
    taints: Vec<Taint>,
    /// By resource: what pods may use of it beside those that go with it.
    room: Vec<(crate::ResourceId, i64)>,
    price: i64,
}

pub(super) fn ideal(problem: &Problem, fleet: &Fleet) -> Ideal {
    let (poured, homes) = poured(problem, fleet);
    let (bound, worth_of) = worths(&poured);
    let mut worth = vec![0.0; problem.nodes.len()];
    for (home, pod) in homes.iter().zip(&worth_of) {
        worth[*home] += pod;
    }
    let fixed = fleet.nodes.iter().filter(|held| held.candidate().is_none()).filter_map(|held| held.price);
    Ideal { bound: bound + fixed.sum(), worth }
}

/// The problem in which all pods of nodes that may go wait; and by pod, its node.
fn poured(from: &Problem, fleet: &Fleet) -> (Problem, Vec<usize>) {
    let daemons = from.daemons.iter().map(|daemon| &from.specs[daemon.spec.index()].requests);
    let daemons = daemons.fold(Resources::default(), |sum, requests| sum.plus(requests));
    let (mut pods, mut homes, mut nodes) = (Vec::new(), Vec::new(), Vec::new());
    let mut groups = BTreeMap::<Alike, i64>::new();
    for (at, (node, held)) in from.nodes.iter().zip(&fleet.nodes).enumerate() {
        let Some(price) = held.candidate() else {
            nodes.push(Node { open: node.open && held.receives, ..node.clone() });
            continue;
        };
        let mut moved = Resources::default();
        let shared = anonymous(node);
        for pod in held.moves.iter().filter_map(|(pod, _)| node.pods.get(*pod as usize)) {
            let spec = &from.specs[pod.spec.index()];
            moved = moved.plus(&spec.requests);
            if spec.blocked.is_none()
                && selects(spec, &shared)
                && untolerated(&node.taints, &spec.tolerations).is_none()
            {
                pods.push(Pod { name: pod.name.clone(), spec: pod.spec, labels: pod.labels });
                homes.push(at);
            }
        }
        // What goes with the node stays; an overcommitted node holds what it holds.
        let fixed = node.used.minus(&moved);
        let room = node.allocatable.minus(&fixed);
        let room = Resources::from_amounts(
            room.iter()
                .map(|(id, have)| (id, have.max(moved.get(id))))
                .chain(moved.iter().filter(|(id, _)| room.get(*id) == 0)),
        );
        let room = room.plus(&daemons).iter().collect();
        *groups
            .entry(Alike { labels: shared, taints: node.taints.clone(), room, price: price.micros() })
            .or_insert(0) += 1;
    }
    let broken = broken(from);
    let mut problem = Problem {
        resources: from.resources.clone(),
        zone_key: from.zone_key.clone(),
        specs: from.specs.iter().enumerate().map(|(at, spec)| plain(spec, broken.contains(&at))).collect(),
        label_sets: from.label_sets.clone(),
        pods,
        nodes,
        pools: from.pools.iter().map(for_sale).collect(),
        types: from.types.clone(),
        daemons: from.daemons.clone(),
        quotas: from.quotas.clone(),
    };
    for (number, (alike, count)) in groups.into_iter().enumerate() {
        add_group(&mut problem, number, alike, count);
    }
    (problem, homes)
}

/// A spec with no rule left that pods that run may have broken.
fn plain(spec: &PodSpec, broken: bool) -> PodSpec {
    let mut plain = PodSpec { spread: Vec::new(), affinity: Vec::new(), route: None, ..spec.clone() };
    plain.anti_affinity.retain(|term| term.key == TopologyKey::Host && !broken);
    plain.unbound_claims.clear();
    plain
}

/// Specs of which a pod shares its host with one that it wants to be away from.
fn broken(problem: &Problem) -> BTreeSet<usize> {
    let mut out = BTreeSet::new();
    for node in &problem.nodes {
        for (at, pod) in node.pods.iter().enumerate() {
            let terms = problem.specs[pod.spec.index()].anti_affinity.iter();
            for term in terms.filter(|term| term.key == TopologyKey::Host) {
                let hit = node.pods.iter().enumerate().any(|(other, pod)| {
                    let namespace = &problem.specs[pod.spec.index()].namespace;
                    other != at && term.selector.selects(namespace, &problem.label_sets[pod.labels.index()])
                });
                if hit {
                    out.insert(pod.spec.index());
                }
            }
        }
    }
    out
}

/// A pool that sells what is for sale, and at any time.
fn for_sale(pool: &NodePool) -> NodePool {
    let mut pool =
        NodePool { weight: 0, limits: Vec::new(), node_limit: None, min_values: Vec::new(), ..pool.clone() };
    pool.requirements.push(Requirement { key: GROUP.to_owned(), op: Operator::DoesNotExist });
    pool
}

/// The labels of a node, less those that are its name.
fn anonymous(node: &Node) -> Labels {
    node.labels
        .iter()
        .filter(|(_, value)| **value != node.name)
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

/// Puts nodes that are there up for sale, at their price and as many as there are.
fn add_group(problem: &mut Problem, number: usize, alike: Alike, count: i64) {
    let name = format!("group {number}");
    let quota = QuotaId::of(problem.quotas.len());
    problem.quotas.push(Quota { name: name.clone(), units: count });
    let mark = Labels::from([(GROUP.to_owned(), name.clone())]);
    let room = Resources::from_amounts(alike.room);
    problem.types.push(InstanceType {
        name: name.clone(),
        labels: mark,
        capacity: room.clone(),
        allocatable: room,
        offerings: vec![Offering {
            zone: String::new(),
            capacity_type: String::new(),
            labels: Labels::new(),
            price: Price::from_micros(alike.price),
            estimated: false,
            rebate: Price::ZERO,
            draws: vec![(quota, 1)],
        }],
    });
    problem.pools.push(NodePool {
        name: format!("stowage {name}"),
        labels: alike.labels,
        taints: alike.taints,
        requirements: vec![Requirement { key: GROUP.to_owned(), op: Operator::In(vec![name]) }],
        ..NodePool::default()
    });
}
