//! Two plans one after the other made one.
//!
//! ```text
//! first plan: node a ─▶ launch x        second: launch x, node b ─▶ launch y        one: nodes a and b ─▶ launch y
//! ```
//!
//! A step of the second that moves a pod which the first has moved, or has to do with a launch of the first, is one with the step
//! of the first: what is launched on the way is never launched, and no pod moves twice.

use std::collections::{BTreeMap, BTreeSet};

use super::carve::near;
use super::choice::{Spot, matters};
use super::fleet::{Aims, Fleet, Held};
use super::state::{Key, State, weighed};
use super::steps::{Case, Court, Groups};
use super::{Destination, PodMove, Step};
use crate::problem::{NodeId, PodId, Problem};
use crate::solution::{NewNode, Placement, Solution};
use crate::verify::verify;

/// What several steps come to together. Launches have their numbers in both plans.
#[derive(Default)]
struct Joined {
    removes: BTreeSet<usize>,
    launches: BTreeMap<usize, NewNode>,
    moves: BTreeMap<String, (usize, Key)>,
    /// Launches that hold what a single step has planned for them.
    untouched: BTreeSet<usize>,
}

/// The steps of one plan and of one that was made for what it leads to, whose nodes were `keys`. `None` where that is no plan in
/// any order.
pub(super) fn join(
    problem: &Problem,
    fleet: &Fleet,
    aims: &Aims,
    first: &[Step],
    second: &[Step],
    keys: &[Key],
) -> Option<Vec<Step>> {
    let all: Vec<&Step> = first.iter().chain(second).collect();
    let mut number = 0;
    let mut numbers = Vec::with_capacity(all.len());
    let mut step_of = Vec::new();
    for (at, step) in all.iter().enumerate() {
        numbers.push(number);
        number += step.launches.len();
        step_of.resize(number, at);
    }
    let key =
        |at: usize, node: NodeId| if at < first.len() { Key::Old(node.index()) } else { keys[node.index()] };
    let mut moved = BTreeMap::<&str, usize>::new();
    let mut groups = Groups::of(all.len());
    for (at, step) in all.iter().enumerate() {
        let gone = step.removes.iter().map(|node| key(at, *node));
        let taken = step.moves.iter().filter_map(|pod| match pod.to {
            Destination::Existing(node) => Some(key(at, node)),
            Destination::New(_) => None,
        });
        for number in
            gone.chain(taken).filter_map(|key| if let Key::New(number) = key { Some(number) } else { None })
        {
            groups.join(at, step_of[number]);
        }
        for pod in &step.moves {
            if let Some(before) = moved.insert(&pod.pod, at) {
                groups.join(at, before);
            }
        }
    }
    let mut waiting = Vec::new();
    for members in groups.all() {
        let mut joined = Joined::default();
        for at in &members {
            joined.add(all[*at], numbers[*at], |node| key(*at, node));
        }
        if members.len() > 1 {
            joined.untouched.clear();
        }
        waiting.push(joined);
    }
    // Each that can be taken, until all are: one may need another first.
    let mut state = State::of(problem, fleet);
    let court = Court::of(&state, aims);
    let mut steps = Vec::new();
    while !waiting.is_empty() {
        let before = waiting.len();
        let mut later = Vec::new();
        for joined in waiting {
            match joined.step(fleet, &court, &mut state) {
                Some(step) => steps.push(step),
                None => later.push(joined),
            }
        }
        if later.len() == before {
            return None;
        }
        waiting = later;
    }
    Some(steps)
}

impl Joined {
    /// Adds what a step does, whose launches are numbered from `first`.
    fn add(&mut self, step: &Step, first: usize, key: impl Fn(NodeId) -> Key) {
        for node in &step.removes {
            match key(*node) {
                Key::Old(at) => _ = self.removes.insert(at),
                Key::New(number) => _ = self.launches.remove(&number),
            }
        }
        for (at, launch) in step.launches.iter().enumerate() {
            self.launches.insert(first + at, launch.clone());
            self.untouched.insert(first + at);
        }
        for pod in &step.moves {
            let to = match pod.to {
                Destination::Existing(node) => key(node),
                Destination::New(launch) => Key::New(first + launch),
            };
            let from = match (self.moves.get(&pod.pod), key(pod.from)) {
                (Some((from, _)), _) => *from,
                (None, Key::Old(from)) => from,
                (None, Key::New(_)) => continue,
            };
            self.moves.insert(pod.pod.clone(), (from, to));
        }
    }
}

impl Joined {
    /// Takes it as a step where that pays and breaks no rule. Its positions are those of the problem that was handed in.
    fn step(&self, fleet: &Fleet, court: &Court<'_>, state: &mut State) -> Option<Step> {
        let removed: BTreeSet<Key> = self.removes.iter().map(|at| Key::Old(*at)).collect();
        let positions: BTreeSet<usize> = removed.iter().filter_map(|key| state.position(*key)).collect();
        if positions.len() < removed.len() {
            return None;
        }
        let numbers: Vec<usize> = self.launches.keys().copied().collect();
        let number = |wanted: &usize| numbers.binary_search(wanted).ok();
        let held: Vec<(String, Held)> = self.launches.values().map(|launch| state.as_held(launch)).collect();
        let pool = |at: usize| state.pool(at);
        let case = Case {
            removed: self
                .removes
                .iter()
                .filter_map(|at| Some((pool(state.position(Key::Old(*at))?), &fleet.nodes[*at])))
                .collect(),
            bought: held.iter().map(|(pool, held)| (pool.as_str(), held)).collect(),
            pods: self.moves.len(),
        };
        let account = court.judge(&case).ok()?;
        let spot = Spot::of(court.aims, self.removes.iter().map(|at| &fleet.nodes[*at]));
        let going = |pod: &str| self.moves.get(pod).map(|(_, to)| *to);
        let near = near(state, &positions, self.moves.values().map(|(_, to)| *to));
        let launches = state.without(&positions, near.as_ref(), |problem, movers, keys| {
            let mut launches: Vec<NewNode> = self.launches.values().cloned().collect();
            let mut placed = BTreeMap::<usize, Vec<PodId>>::new();
            for (at, mover) in movers.iter().enumerate() {
                match going(&mover.name)? {
                    Key::New(wanted) => launches[number(&wanted)?].pods.push(PodId::of(at)),
                    old @ Key::Old(_) => placed
                        .entry(keys.iter().position(|key| *key == old)?)
                        .or_default()
                        .push(PodId::of(at)),
                }
            }
            for (launch, at) in launches.iter_mut().zip(&numbers) {
                // What holds more or other pods than planned may not be launched as anything else.
                if !self.untouched.contains(at) {
                    // Where it may not be launched without a choice, the two cannot be one.
                    if matters(problem, spot, launch) {
                        return None;
                    }
                    launch.alternatives = [].into();
                }
            }
            let solution = Solution {
                cost: launches.iter().map(weighed).sum(),
                new_nodes: launches.clone(),
                placements: placed
                    .into_iter()
                    .map(|(node, pods)| Placement { node: NodeId::of(node), pods })
                    .collect(),
                ..Solution::default()
            };
            for launch in &mut launches {
                launch.pods.clear();
            }
            verify(problem, &solution).is_empty().then_some(launches)
        })?;
        let to = |to: Key| match to {
            Key::Old(at) => Some(Destination::Existing(NodeId::of(at))),
            Key::New(wanted) => Some(Destination::New(number(&wanted)?)),
        };
        let moves = self.moves.iter();
        let moves = moves.map(|(pod, (from, at))| {
            Some(PodMove { pod: pod.clone(), from: NodeId::of(*from), to: to(*at)? })
        });
        let step = Step {
            removes: self.removes.iter().map(|at| NodeId::of(*at)).collect(),
            launches,
            moves: moves.collect::<Option<_>>()?,
            saving: account.saving,
            disruption: account.disruption,
            payback: account.payback(court.aims),
        };
        state.take(&step);
        Some(step)
    }
}
