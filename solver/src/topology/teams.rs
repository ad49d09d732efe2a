//! Required pod affinity over hosts: pods that must share a node are packed as a team.
//!
//! A team is one pod that has no such wish, or the first of a group that is near itself, with those that want to be near
//! it: each of ten web servers that want a cache on their node, of which there are five, makes five teams of one cache
//! and two web servers. Packing sees a team as a pod of its own, as big as all of it, under the rules of all of it.
//!
//! Teams are as even and as small as they can be, because small ones are packed best. Who finds no team (nobody is there
//! to be near, no node holds a bigger team, or rules over domains concern the pod, too) is tried after packing, beside
//! the pods that then have a node (`late`).
//!
//! Kubernetes' source of truth: `satisfyPodAffinity` of kube-scheduler's `InterPodAffinity`, over the host name.

use std::rc::Rc;

use fixedbitset::FixedBitSet;

use crate::arrangement::Pods;
use crate::class::SelectorId;
use crate::host_rule::HostState;
use crate::model::{Model, copies};
use crate::pack::add_to;
use crate::problem::{PodSpec, TopologyKey};
use crate::stock::{Dealing, Domain};

/// Equal teams to be.
struct Teams {
    /// The leader first.
    members: Vec<(u32, u32)>,
    copies: u32,
    domain: Domain,
    kinds: Rc<FixedBitSet>,
}

/// Whether a pod wants to share its node with others.
pub(crate) fn is_gregarious(spec: &PodSpec) -> bool {
    spec.affinity.iter().any(|term| term.key == TopologyKey::Host)
}

/// Joins gregarious classes to those that have been dealt. With each, whether rules over domains concern it.
pub(super) fn form(model: &mut Model<'_>, gregarious: &[(u32, bool)], dealings: &mut Vec<Dealing>) {
    if gregarious.is_empty() {
        return;
    }
    let mut teams: Vec<Teams> = dealings
        .drain(..)
        .map(|(class, copies, domain, kinds)| Teams { members: vec![(class, 1)], copies, domain, kinds })
        .collect();
    teams.sort_by(|a, b| (a.members[0].0, &a.domain).cmp(&(b.members[0].0, &b.domain)));
    let mut waiting: Vec<u32> =
        gregarious.iter().filter(|(_, tied)| !tied).map(|(class, _)| *class).collect();
    // Those whose targets have a place first; then one that may start a group of its own, and so on.
    while !waiting.is_empty() {
        let joins = waiting.iter().position(|class| {
            let selectors = selectors(model, *class);
            teams.iter().any(|team| has_target(model, team, &selectors))
        });
        if let Some(at) = joins {
            let class = waiting.remove(at);
            join(model, class, &mut teams);
            continue;
        }
        let Some(at) = waiting.iter().position(|class| starts(model, *class)) else { break };
        let class = waiting.remove(at);
        start(model, class, &mut teams);
    }
    for team in teams.into_iter().filter(|team| team.copies > 0) {
        let class = match team.members.as_slice() {
            [(class, 1)] => *class,
            _ => known(model, team.members),
        };
        dealings.push((class, team.copies, team.domain, team.kinds));
    }
}

/// The class of a team; equal teams are one.
fn known(model: &mut Model<'_>, members: Pods) -> u32 {
    let at = model.teams.iter().position(|team| *team == members);
    match at {
        Some(at) => (model.classes.classes.len() + at) as u32,
        None => model.enlist(members),
    }
}

/// What all terms of a class select.
fn selectors(model: &Model<'_>, class: u32) -> Vec<SelectorId> {
    let terms = &model.spec(class as usize).affinity;
    terms.iter().map(|term| model.classes.selector_id(&term.selector)).collect()
}

fn picks(model: &Model<'_>, selectors: &[SelectorId], class: u32) -> bool {
    let matched = &model.classes.classes[class as usize].matched;
    selectors.iter().all(|selector| matched.binary_search(selector).is_ok())
}

fn has_target(model: &Model<'_>, team: &Teams, selectors: &[SelectorId]) -> bool {
    team.members.iter().any(|(class, _)| picks(model, selectors, *class))
}

/// Whether a class may start a group: it selects itself, and nobody that runs is selected.
fn starts(model: &Model<'_>, class: u32) -> bool {
    let selectors = selectors(model, class);
    let runs = |matched: &Vec<SelectorId>| selectors.iter().all(|s| matched.binary_search(s).is_ok());
    picks(model, &selectors, class) && !model.classes.running.iter().flatten().any(runs)
}

/// All of a class in one team, as many of it as a node holds.
fn start(model: &Model<'_>, class: u32, teams: &mut Vec<Teams>) {
    let kinds = Rc::new(model.gates[model.gate_of[class as usize] as usize].clone());
    let team = Teams { members: vec![(class, 1)], copies: 1, domain: Rc::new([]), kinds };
    let more = most(model, &team, class).min(model.count(class as usize) - 1);
    teams.push(Teams { members: vec![(class, 1 + more)], ..team });
}

/// Deals the pods of a class out over the teams that hold one it wants to be near.
fn join(model: &Model<'_>, class: u32, teams: &mut Vec<Teams>) {
    let selectors = selectors(model, class);
    let gate = &model.gates[model.gate_of[class as usize] as usize];
    let hosts: Vec<usize> = (0..teams.len())
        .filter(|at| has_target(model, &teams[*at], &selectors) && !teams[*at].kinds.is_disjoint(gate))
        .collect();
    let number: u32 = hosts.iter().map(|at| teams[*at].copies).sum();
    if number == 0 {
        return;
    }
    let count = model.count(class as usize);
    let (each, mut more) = (count / number, count % number);
    for at in hosts {
        let bigger = more.min(teams[at].copies);
        if each == 0 && bigger == 0 {
            break;
        }
        let limit = most(model, &teams[at], class);
        more -= bigger;
        let plain = teams[at].copies - bigger;
        let grown = |team: &Teams, copies: u32, by: u32| {
            let mut members = team.members.clone();
            let mut kinds = team.kinds.clone();
            if by > 0 {
                let leader = members.remove(0);
                if leader.0 == class {
                    members.insert(0, (class, leader.1 + by));
                } else {
                    add_to(&mut members, class, by);
                    members.insert(0, leader);
                }
                Rc::make_mut(&mut kinds).intersect_with(gate);
            }
            Teams { members, copies, domain: Rc::clone(&team.domain), kinds }
        };
        let others = grown(&teams[at], plain, each.min(limit));
        let larger = grown(&teams[at], bigger, (each + 1).min(limit));
        // Teams of no copies would double in number with every class that joins.
        let mut some = [larger, others].into_iter().filter(|team| team.copies > 0);
        if let Some(first) = some.next() {
            teams[at] = first;
        }
        teams.extend(some);
    }
}

/// How many pods of a class a team can take in and still fit on a node.
fn most(model: &Model<'_>, team: &Teams, class: u32) -> u32 {
    let gate = &model.gates[model.gate_of[class as usize] as usize];
    let load = model.load(team.members.iter().copied());
    let need = &model.requests[class as usize];
    let shapes = team.kinds.intersection(gate).map(|kind| model.kinds.kinds[kind].shape as usize);
    let mut seen = vec![false; model.kinds.shapes.len()];
    let mut room = 0;
    for shape in shapes {
        if !std::mem::replace(&mut seen[shape], true) {
            let left: Vec<i64> =
                model.kinds.shapes[shape].room.iter().zip(&load).map(|(have, used)| have - used).collect();
            let holds = left.iter().zip(&load).all(|(left, used)| *used == 0 || *left >= 0);
            room = room.max(if holds { copies(need, &left) } else { 0 });
        }
    }
    let mut state = HostState::default();
    for (class, count) in &team.members {
        model.rules.add(*class, *count, &mut state);
    }
    room.min(model.rules.allowance(class, &state)).min(model.count(class as usize))
}
