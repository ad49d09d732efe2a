//! Large clusters, part by part: what a part finds holds by itself, and is not looked at again.

use std::collections::{BTreeMap, BTreeSet};

use super::{Proposal, Search};
use crate::Progress;
use crate::consolidate::Stage;
use crate::consolidate::carve::near;
use crate::consolidate::state::{Key, Mover, weighed};
use crate::model::admits;
use crate::money::Price;
use crate::problem::{NodeId, PodId, Resources};
use crate::solution::{NewNode, Placement, Solution};
use crate::verify::verify;

/// Of larger clusters, so many nodes are one part: what replaces them wastes little by being whole nodes, and a step of them can
/// be taken at once.
const PART: usize = 12;
/// Nodes beside its own that a trial in a large cluster looks at.
const RECEIVERS: usize = 32;
/// The most that packing in one trial may take: less than in small clusters, as there are many.
const STEPS_OF_PART: u64 = 50_000;

impl Search<'_> {
    /// Goes through a large cluster part by part, then through the nodes that no part has a reason for. What is launched for one
    /// part is left alone by the others: steps stay as small as parts.
    pub(super) fn parts(&mut self, all: &[Key], progress: Progress<'_>) -> bool {
        let all: Vec<Key> = all.iter().filter(|key| matches!(key, Key::Old(_))).copied().collect();
        let total = all.len().div_ceil(PART) as u64;
        // First each part by itself: then what is done to one has nothing to do with the others.
        for apart in [true, false] {
            let mut found = false;
            for (at, part) in all.chunks(PART).enumerate() {
                progress(Stage::SEARCHING, at as u64, total);
                self.among = apart.then(|| part.iter().copied().collect());
                found |= self.part(part);
            }
            self.among = None;
            if found {
                return true;
            }
        }
        let mut found = false;
        for key in &all {
            if self.spent() || found {
                break;
            }
            if !self.kept.contains_key(key) {
                found = self.explore_together(&[*key]).0;
            }
        }
        found
    }

    /// Tries all nodes of a part together, the worst third of them, and so on; carries out what saves most.
    fn part(&mut self, part: &[Key]) -> bool {
        let gain = |pay: &[Proposal]| pay.iter().map(|proposal| proposal.gain).sum::<i128>();
        let (mut left, mut found) = (part.to_vec(), false);
        while !left.is_empty() && !self.spent() {
            let mut best = Vec::new();
            let mut size = left.len();
            while size > 0 && !self.spent() {
                let set: BTreeSet<Key> = left.iter().take(size).copied().collect();
                if !self.is_hopeless(&set) {
                    let pay = self.propose(&set, STEPS_OF_PART).pay;
                    if gain(&pay) > gain(&best) {
                        best = pay;
                    }
                    if best.iter().map(|proposal| proposal.removed.len()).sum::<usize>() == left.len() {
                        break;
                    }
                }
                size /= 3;
            }
            if !self.accept_all(best) {
                break;
            }
            found = true;
            left.retain(|key| self.state.position(*key).is_some());
        }
        found
    }

    /// Whether a set cannot be worth taking away: what its nodes cost above the worth of their pods, and what those cost above it
    /// that may receive some, is less than a step has to save.
    fn is_hopeless(&mut self, set: &BTreeSet<Key>) -> bool {
        let positions: BTreeSet<usize> = set.iter().filter_map(|key| self.state.position(*key)).collect();
        let prices = positions.iter().filter_map(|at| self.state.fleet.nodes[*at].price);
        let removed: Price = prices.sum();
        let share = i128::from(removed.micros()) * i128::from(self.court.aims.floor_share) / 1000;
        let mut most = 0_i128;
        for key in set {
            let Some(waste) = self.waste.get(key) else { return false };
            most += i128::from(*waste);
        }
        if most >= share {
            return false;
        }
        for at in self.receivers(&positions) {
            // Of those that may not go nobody knows what their room is worth.
            let Some(waste) = self.waste.get(&self.state.keys[at]) else { return false };
            most += i128::from(*waste);
        }
        most < share
    }

    /// Nodes that may receive pods of others: those of the cluster that are likeliest to stay, with room for at least one.
    pub(super) fn receivers(&self, removed: &BTreeSet<usize>) -> BTreeSet<usize> {
        let state = &self.state;
        let mut specs = BTreeSet::new();
        for at in removed {
            let node = &state.problem.nodes[*at];
            let movers = state.fleet.nodes[*at].moves.iter();
            specs.extend(movers.filter_map(|(pod, _)| Some(node.pods.get(*pod as usize)?.spec)));
        }
        let specs: Vec<_> = specs.iter().map(|spec| &state.problem.specs[spec.index()]).collect();
        let takes = |at: &usize| {
            let node = &state.problem.nodes[*at];
            let room: Resources = node.allocatable.minus(&node.used);
            node.open && specs.iter().any(|spec| spec.requests.fits(&room) && admits(node, spec))
        };
        let rank: BTreeMap<Key, usize> =
            self.ranked.iter().enumerate().map(|(at, key)| (*key, at + 1)).collect();
        let known = |at: &usize| {
            let key = &state.keys[*at];
            matches!(key, Key::Old(_))
                && self.among.as_ref().is_none_or(|part| part.contains(key) || !rank.contains_key(key))
        };
        let mut order: Vec<usize> =
            (0..state.keys.len()).filter(|at| !removed.contains(at)).filter(known).collect();
        // Nodes that may not go first, then from the last.
        let last = |at: &usize| rank.get(&state.keys[*at]).map_or(usize::MAX, |rank| *rank);
        order.sort_by_key(|at| std::cmp::Reverse(last(at)));
        order.into_iter().filter(takes).take(RECEIVERS).collect()
    }

    /// Whether a proposal breaks no rule as things stand: it was found together with others, which may not be carried out. Of
    /// small clusters that is left to the carving of steps, after which there is another look.
    pub(super) fn holds(&mut self, proposal: &Proposal) -> Result<(), String> {
        if self.thorough {
            return Ok(());
        }
        let removed: BTreeSet<usize> =
            proposal.removed.iter().filter_map(|key| self.state.position(*key)).collect();
        let near = near(&self.state, &removed, proposal.placed.iter().map(|(key, _)| *key));
        self.state.without(&removed, near.as_ref(), |problem, movers, keys| {
            let ids: BTreeMap<&str, PodId> =
                movers.iter().enumerate().map(|(at, mover)| (mover.name.as_str(), PodId::of(at))).collect();
            let pods = |own: &[Mover]| -> Vec<PodId> {
                own.iter().filter_map(|mover| ids.get(mover.name.as_str()).copied()).collect()
            };
            let place = |(key, own): &(Key, Vec<Mover>)| {
                let at = keys.iter().position(|other| other == key)?;
                Some(Placement { node: NodeId::of(at), pods: pods(own) })
            };
            let launch = |(new, own): &(NewNode, Vec<Mover>)| NewNode {
                alternatives: [].into(),
                pods: pods(own),
                ..new.clone()
            };
            let new_nodes: Vec<NewNode> = proposal.launches.iter().map(launch).collect();
            let solution = Solution {
                placements: proposal.placed.iter().filter_map(place).collect(),
                cost: new_nodes.iter().map(weighed).sum(),
                new_nodes,
                ..Solution::default()
            };
            verify(problem, &solution).into_iter().next().map_or(Ok(()), |broken| Err(broken.what))
        })
    }
}
