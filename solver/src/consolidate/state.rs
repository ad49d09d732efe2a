//! The cluster while it is consolidated: nodes go, their pods move, new nodes come.
//!
//! # Invariants
//! - A [`State`] is a problem without pending pods, and a fleet: carried out, it is what the next look at the cluster would
//!   find. So whatever a look at it proposes, the next look would propose.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use super::afar::Afar;
use super::fleet::{Fleet, Held, Sold};
use super::{Destination, Step};
use crate::ladder;
use crate::money::Price;
use crate::problem::{LabelSetId, Node, Offering, Pod, PodId, Problem, Resources, RunningPod, SpecId};
use crate::solution::{NewNode, Solution};

/// Which node: one that was there, or one of those that the plan has launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Key {
    /// Position in the problem that was handed in.
    Old(usize),
    /// Number of the launch.
    New(usize),
}

/// What one node more is worth, an hour, where pods are planned anew: of arrangements that cost nearly the same, the one with
/// fewer nodes. Each has a disk of its own, and has to start: 20 GiB of gp3 at eight cents a month.
const ANOTHER_NODE: Price = Price::from_micros(2_000);

/// A pod that is to go elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Mover {
    pub(super) name: String,
    pub(super) spec: SpecId,
    pub(super) labels: LabelSetId,
    pub(super) weight: i64,
    /// The node that it leaves.
    pub(super) from: Key,
}

/// A cluster in which nothing is pending.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) problem: Problem,
    pub(super) fleet: Fleet,
    /// Which node each is.
    pub(super) keys: Vec<Key>,
    /// By number: what was launched, and still is.
    pub(super) bought: BTreeMap<usize, NewNode>,
    launched: usize,
    /// New nodes are numbered from here, so that their names are free.
    first: usize,
    /// What trials see of nodes that they are not about.
    afar: Afar,
    /// What taking away a new node disrupts beside its pods.
    fixed: i64,
    /// Pools that want savings in proportion to disruption.
    balanced: BTreeSet<String>,
}

/// What became of a trial: which pods were to move, and where to.
pub(super) struct Trial {
    pub(super) movers: Vec<Mover>,
    pub(super) solution: Solution,
    /// By existing node of the solution: which it is.
    pub(super) keys: Vec<Key>,
}

impl State {
    pub(super) fn of(problem: &Problem, fleet: &Fleet) -> Self {
        let mut problem = problem.clone();
        problem.pods.clear();
        for (node, held) in problem.nodes.iter_mut().zip(&fleet.nodes) {
            node.open &= held.receives;
        }
        // What running pods would like is not looked at: they have a place.
        for spec in &mut problem.specs {
            spec.preferences.clear();
            spec.route = None;
        }
        let keys = (0..problem.nodes.len()).map(Key::Old).collect();
        let number = |node: &Node| node.name.strip_prefix("new node ")?.parse::<usize>().ok();
        let first = problem.nodes.iter().filter_map(number).max().unwrap_or(0);
        let afar = Afar::of(&problem);
        let fixed = fleet.nodes.iter().find(|held| held.removable).map_or(1000, |held| held.fixed);
        let all = problem.nodes.iter().zip(&fleet.nodes).filter(|(_, held)| held.balanced);
        let balanced = all.filter_map(|(node, _)| node.pool.clone()).collect();
        let (fleet, bought) = (fleet.clone(), BTreeMap::new());
        Self { problem, fleet, keys, bought, launched: 0, first, afar, fixed, balanced }
    }

    /// Where a node stands now.
    pub(super) fn position(&self, key: Key) -> Option<usize> {
        self.keys.iter().position(|other| *other == key)
    }

    /// The pods that must go elsewhere when a node goes.
    fn movers(&self, at: usize) -> impl Iterator<Item = Mover> + '_ {
        let (node, from) = (&self.problem.nodes[at], self.keys[at]);
        self.fleet.nodes[at].moves.iter().filter_map(move |(pod, weight)| {
            let pod = node.pods.get(*pod as usize)?;
            Some(Mover { name: pod.name.clone(), spec: pod.spec, labels: pod.labels, weight: *weight, from })
        })
    }

    /// Does something with the problem without some nodes, whose pods wait instead. Those nodes still count against limits:
    /// what takes their place is launched before they go. Where `near` says which nodes are looked at, the others are seen from
    /// afar, and take no pods.
    pub(super) fn without<T>(
        &mut self,
        removed: &BTreeSet<usize>,
        near: Option<&BTreeSet<usize>>,
        f: impl FnOnce(&Problem, &[Mover], &[Key]) -> T,
    ) -> T {
        let movers: Vec<Mover> = removed.iter().flat_map(|at| self.movers(*at)).collect();
        let all = std::mem::take(&mut self.problem.nodes);
        let is_near = |at: usize| near.is_none_or(|near| near.contains(&at));
        let (mut kept, mut rest, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for (at, node) in all.into_iter().enumerate() {
            if !removed.contains(&at) && is_near(at) {
                keys.push(self.keys[at]);
                kept.push(node);
            } else {
                rest.push(node);
            }
        }
        if near.is_some() {
            kept.extend(self.afar.folded(|at| !removed.contains(&at) && !is_near(at)));
        }
        self.problem.nodes = kept;
        self.problem.pods = movers.iter().map(Mover::pending).collect();
        let out = f(&self.problem, &movers, &keys);
        self.problem.pods.clear();
        let (mut kept, mut rest) = (std::mem::take(&mut self.problem.nodes).into_iter(), rest.into_iter());
        let is_kept = |at: usize| !removed.contains(&at) && is_near(at);
        let back = (0..self.keys.len()).filter_map(|at| if is_kept(at) { kept.next() } else { rest.next() });
        self.problem.nodes = back.collect();
        out
    }

    /// Plans the pods of some nodes anew, onto those that are near and new ones, of which none is one of `unlike`. Not verified;
    /// prices are those that nodes have.
    pub(super) fn try_without(
        &mut self,
        removed: &BTreeSet<usize>,
        near: Option<&BTreeSet<usize>>,
        unlike: &BTreeSet<Sold>,
        steps: u64,
        cancel: &AtomicBool,
    ) -> Trial {
        let whole = self.withhold(unlike);
        let costs: Vec<Price> = self.problem.pools.iter().map(|pool| pool.node_cost).collect();
        self.problem.pools.iter_mut().for_each(|pool| pool.node_cost += ANOTHER_NODE);
        let mut trial = self.without(removed, near, |problem, movers, keys| {
            let solution = ladder::pack(problem, steps, cancel);
            Trial { movers: movers.to_vec(), solution, keys: keys.to_vec() }
        });
        for (pool, cost) in self.problem.pools.iter_mut().zip(&costs) {
            pool.node_cost = *cost;
        }
        for node in &mut trial.solution.new_nodes {
            node.fixed_cost = costs[node.pool.index()];
        }
        for (at, offerings) in whole {
            for node in trial.solution.new_nodes.iter_mut().filter(|node| node.instance_type.index() == at) {
                let planned = &self.problem.types[at].offerings[node.offering];
                let position = offerings.iter().position(|offering| offering == planned);
                node.offering = position.unwrap_or(node.offering);
            }
            self.problem.types[at].offerings = offerings;
        }
        trial
    }

    /// Takes what nodes were sold as off the market. Returns what was for sale of those types, by position.
    fn withhold(&mut self, unlike: &BTreeSet<Sold>) -> BTreeMap<usize, Vec<Offering>> {
        let mut whole = BTreeMap::new();
        for at in 0..self.problem.types.len() {
            let of_type = &self.problem.types[at];
            // Its like in another zone is no better.
            let like = |offering: &Offering| {
                unlike.iter().any(|sold| {
                    sold.instance_type == of_type.name && sold.capacity_type == offering.capacity_type
                })
            };
            if of_type.offerings.iter().any(like) {
                let kept = of_type.offerings.iter().filter(|offering| !like(offering)).cloned().collect();
                whole.insert(at, std::mem::replace(&mut self.problem.types[at].offerings, kept));
            }
        }
        whole
    }

    /// Takes nodes away, moves their pods to others, and launches new nodes with the rest of them. Returns the keys of the
    /// new nodes.
    pub(super) fn carry_out(
        &mut self,
        removed: &BTreeSet<Key>,
        placed: &[(Key, Vec<Mover>)],
        launches: &[(&NewNode, Vec<Mover>)],
    ) -> Vec<Key> {
        for (key, movers) in placed {
            if let Some(at) = self.position(*key) {
                self.seat(at, movers);
            }
        }
        let mut new = Vec::new();
        for (launch, movers) in launches {
            let key = Key::New(self.launched);
            self.bought.insert(self.launched, (*launch).clone());
            self.launched += 1;
            let (node, held) = self.launch(launch, self.first.saturating_add(self.launched));
            self.afar.push(&self.problem.specs, &self.problem.label_sets, &node);
            self.problem.nodes.push(node);
            self.fleet.nodes.push(held);
            self.keys.push(key);
            self.seat(self.keys.len() - 1, movers);
            new.push(key);
        }
        let gone: BTreeSet<usize> = removed.iter().filter_map(|key| self.position(*key)).collect();
        for at in &gone {
            if let Key::New(number) = self.keys[*at]
                && let Some(new) = self.bought.remove(&number)
            {
                self.draw(&new, -1);
            }
            let (node, held) = (&self.problem.nodes[*at], &self.fleet.nodes[*at]);
            if let Some(pool) =
                self.problem.pools.iter_mut().find(|pool| Some(&pool.name) == node.pool.as_ref())
            {
                pool.used = pool.used.minus(&held.capacity);
                pool.node_count = pool.node_count.saturating_sub(1);
            }
        }
        // All at once: of thousands of nodes none is moved twice.
        without_those(&mut self.problem.nodes, &gone);
        without_those(&mut self.fleet.nodes, &gone);
        without_those(&mut self.keys, &gone);
        self.afar.remove(&gone);
        new
    }

    /// Takes a step of a plan.
    pub(super) fn take(&mut self, step: &Step) {
        let removed: BTreeSet<Key> = step.removes.iter().map(|node| Key::Old(node.index())).collect();
        let positions = removed.iter().filter_map(|key| self.position(*key)).collect();
        let movers = self.without(&positions, None, |_, movers, _| movers.to_vec());
        let mut placed = BTreeMap::<Key, Vec<Mover>>::new();
        let mut launches: Vec<(&NewNode, Vec<Mover>)> =
            step.launches.iter().map(|launch| (launch, Vec::new())).collect();
        for mover in movers {
            let found = step.moves.binary_search_by(|pod| pod.pod.as_str().cmp(mover.name.as_str()));
            match found.map(|at| step.moves[at].to) {
                Ok(Destination::Existing(node)) => {
                    placed.entry(Key::Old(node.index())).or_default().push(mover);
                }
                Ok(Destination::New(launch)) if launch < launches.len() => launches[launch].1.push(mover),
                _ => {}
            }
        }
        let placed: Vec<_> = placed.into_iter().collect();
        self.carry_out(&removed, &placed, &launches);
    }

    fn seat(&mut self, at: usize, movers: &[Mover]) {
        let specs = &self.problem.specs;
        let (node, held) = (&mut self.problem.nodes[at], &mut self.fleet.nodes[at]);
        for mover in movers {
            let spec = &specs[mover.spec.index()];
            held.moves.push((node.pods.len() as u32, mover.weight));
            node.used = node.used.plus(&spec.requests);
            node.host_ports.extend(spec.host_ports.iter().cloned());
            let (name, spec, labels) = (mover.name.clone(), mover.spec, mover.labels);
            let pod = RunningPod { name, spec, labels, terminating: false, count: 1 };
            self.afar.seat(specs, &self.problem.label_sets, at, &pod);
            node.pods.push(pod);
        }
        node.host_ports.sort_unstable();
        node.host_ports.dedup();
    }

    /// What a launch would be to the fleet, and its pool.
    pub(super) fn as_held(&self, new: &NewNode) -> (String, Held) {
        let (pool, of_type) =
            (&self.problem.pools[new.pool.index()], &self.problem.types[new.instance_type.index()]);
        let offering = &of_type.offerings[new.offering];
        let sold_as = Sold {
            instance_type: of_type.name.clone(),
            zone: offering.zone.clone(),
            capacity_type: offering.capacity_type.clone(),
        };
        let held = Held {
            quiet: 0,
            aged: 0,
            price: Some(weighed(new)),
            sold_as,
            removable: true,
            receives: true,
            moves: Vec::new(),
            fixed: self.fixed,
            capacity: of_type.capacity.clone(),
            balanced: self.balanced.contains(&pool.name),
        };
        (pool.name.clone(), held)
    }

    /// The node that a launch becomes, without its pods.
    fn launch(&mut self, new: &NewNode, number: usize) -> (Node, Held) {
        let (_, held) = self.as_held(new);
        let (pool, of_type) =
            (&self.problem.pools[new.pool.index()], &self.problem.types[new.instance_type.index()]);
        let offering = &of_type.offerings[new.offering];
        let mut labels = pool.labels.clone();
        labels.extend(of_type.labels.clone());
        labels.extend(offering.labels.clone());
        labels.extend(new.chosen_labels.iter().cloned());
        let daemons =
            new.daemons.iter().map(|d| &self.problem.specs[self.problem.daemons[d.index()].spec.index()]);
        let (mut used, mut host_ports) = (Resources::default(), Vec::new());
        for daemon in daemons {
            used = used.plus(&daemon.requests);
            host_ports.extend(daemon.host_ports.iter().cloned());
        }
        let node = Node {
            name: format!("new node {number}"),
            labels,
            taints: pool.taints.clone(),
            allocatable: of_type.allocatable.clone(),
            used,
            host_ports,
            pods: Vec::new(),
            pool: Some(pool.name.clone()),
            open: true,
        };
        let pool = &mut self.problem.pools[new.pool.index()];
        pool.used = pool.used.plus(&held.capacity);
        pool.node_count += 1;
        self.draw(new, 1);
        (node, held)
    }

    /// Takes what a launch draws on quotas so many times; below zero gives it back.
    fn draw(&mut self, new: &NewNode, times: i64) {
        for (quota, units) in &self.problem.types[new.instance_type.index()].offerings[new.offering].draws {
            let quota = &mut self.problem.quotas[quota.index()];
            quota.units = quota.units.saturating_sub(units.saturating_mul(times)).max(0);
        }
    }

    /// The name of a node's pool.
    pub(super) fn pool(&self, at: usize) -> &str {
        self.problem.nodes[at].pool.as_deref().unwrap_or("")
    }
}

/// Takes what stands at some positions out of a list.
pub(super) fn without_those<T>(list: &mut Vec<T>, gone: &BTreeSet<usize>) {
    if gone.is_empty() {
        return;
    }
    let mut at = 0;
    list.retain(|_| {
        at += 1;
        !gone.contains(&(at - 1))
    });
}

impl State {
    /// Names the nodes that were launched by what they are and hold, not by when they were found, and puts all in the order of
    /// their names: as the next look would find them.
    pub(super) fn tidy(&mut self) {
        let mut order: Vec<usize> =
            (0..self.keys.len()).filter(|at| matches!(self.keys[*at], Key::New(_))).collect();
        let what = |at: usize| {
            let first = self.problem.nodes[at].pods.iter().map(|pod| &pod.name).min();
            (&self.problem.nodes[at].pool, &self.fleet.nodes[at].sold_as, first)
        };
        order.sort_by(|a, b| what(*a).cmp(&what(*b)));
        for (number, at) in order.into_iter().enumerate() {
            self.problem.nodes[at].name = format!("new node {}", self.first.saturating_add(number + 1));
        }
        let names = |at: &usize| &self.problem.nodes[*at].name;
        let mut order: Vec<usize> = (0..self.keys.len()).collect();
        order.sort_by(|a, b| names(a).cmp(names(b)));
        if order.is_sorted() {
            return;
        }
        let mut nodes: Vec<Option<Node>> =
            std::mem::take(&mut self.problem.nodes).into_iter().map(Some).collect();
        self.problem.nodes = order.iter().filter_map(|at| nodes[*at].take()).collect();
        self.fleet.nodes = order.iter().map(|at| std::mem::take(&mut self.fleet.nodes[*at])).collect();
        self.keys = order.iter().map(|at| self.keys[*at]).collect();
        self.afar.reorder(&order);
    }
}

impl Mover {
    /// The pod, waiting.
    pub(super) fn pending(&self) -> Pod {
        Pod { name: self.name.clone(), spec: self.spec, labels: self.labels }
    }
}

/// What a new node costs, as weighed.
pub(super) fn weighed(new: &NewNode) -> Price {
    new.price - new.rebate + new.fixed_cost
}

/// Where the pods of a solution go, by the nodes that they get.
pub(super) struct Targets {
    pub(super) placed: BTreeMap<Key, Vec<usize>>,
    /// By new node of the solution.
    pub(super) launched: Vec<Vec<usize>>,
    /// Movers that have no place.
    pub(super) lost: Vec<usize>,
}

impl Trial {
    pub(super) fn targets(&self) -> Targets {
        let index = |pods: &[PodId]| pods.iter().map(|pod| pod.index()).collect::<Vec<usize>>();
        let placed =
            self.solution.placements.iter().map(|p| (self.keys[p.node.index()], index(&p.pods))).collect();
        let launched = self.solution.new_nodes.iter().map(|node| index(&node.pods)).collect();
        let routed = self.solution.routed.iter().map(|routed| routed.pod.index());
        let lost = self.solution.unplaced.iter().map(|u| u.pod.index()).chain(routed).collect();
        Targets { placed, launched, lost }
    }
}
