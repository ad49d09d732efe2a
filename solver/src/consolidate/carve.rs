//! From what a search found to steps that can be taken one after the other.
//!
//! Steps stand in the order of what they save for what they disrupt, which counts for less the sooner their nodes would expire
//! anyway, those that disrupt nothing first; in large clusters in the
//! order in which they were found, which is about the same. Each is checked on the
//! cluster that those before it leave, with everything that is for sale. One that needs another first (it moves pods to a zone
//! that the other makes the emptiest) is taken after it. One that breaks a rule whatever was done before, or finds too few types
//! to choose from, is left out; the others are checked without it.

use std::collections::{BTreeMap, BTreeSet};

use super::choice::Choice;
use super::fleet::Fleet;
use super::search::Search;
use super::state::{Key, Mover, State, weighed};
use super::steps::{Account, Case, Draft, drafts};
use super::tether::left_behind;
use super::{Destination, Kept, PodMove, Stage, Step};
use crate::Progress;
use crate::problem::{NodeId, PodId, Problem, TopologyKey};
use crate::solution::{NewNode, Placement, Solution};
use crate::verify::verify;

/// Returns the steps, and why nodes stay whose step was left out.
pub(super) fn carve(
    problem: &Problem,
    fleet: &Fleet,
    search: &Search<'_>,
    progress: Progress<'_>,
) -> (Vec<Step>, BTreeMap<usize, Kept>) {
    let (mut steps, mut refused) = (Vec::new(), BTreeMap::new());
    let mut leaving = Leaving::new();
    for (pod, (from, to)) in &search.moves {
        leaving.entry(*from).or_default().push((pod.as_str(), *to));
    }
    let mut drafts: Vec<(Account, Draft)> = drafts(fleet.nodes.len(), &search.state, &search.moves)
        .into_iter()
        .map(|draft| (case(fleet, problem, &draft, search, &leaving).account(search.court.aims), draft))
        .collect();
    // In a large cluster the search has gone from the best to the worst already, and steps that move many pods from zone to zone
    // hold in that order only.
    let found = |draft: &Draft| draft.removes.iter().filter_map(|at| search.went.get(at)).max().copied();
    drafts.sort_by(|(a, da), (b, db)| {
        if !search.thorough {
            return found(da).cmp(&found(db)).then_with(|| da.removes.cmp(&db.removes));
        }
        let per =
            |one: &Account, other: &Account| i128::from(one.saving.micros()) * i128::from(other.rank.max(1));
        per(b, a).cmp(&per(a, b)).then_with(|| da.removes.cmp(&db.removes))
    });
    let mut left = search.court.aims.limits.clone();
    let mut carver = Carver { problem, fleet, search, leaving: &leaving, state: State::of(problem, fleet) };
    let (total, mut waiting) = (drafts.len() as u64, drafts);
    loop {
        let before = waiting.len();
        let mut later = Vec::new();
        for (account, draft) in waiting {
            progress(Stage::CHECKING, (steps.len() + refused.len()) as u64, total);
            let mut refuse =
                |why: Kept| refused.extend(draft.removes.iter().map(|node| (*node, why.clone())));
            let mut going = BTreeMap::<&str, u32>::new();
            for node in &draft.removes {
                *going.entry(problem.nodes[*node].pool.as_deref().unwrap_or("")).or_insert(0) += 1;
            }
            if going.iter().any(|(pool, count)| left.get(*pool).is_some_and(|left| left < count)) {
                refuse(Kept::Limit);
                continue;
            }
            // Of moves that pay each on its own, the sum may be one that does not.
            if let Err(why) = search.court.judge(&case(fleet, problem, &draft, search, &leaving)) {
                refuse(why);
                continue;
            }
            match carver.step(&draft, account) {
                Ok(step) => {
                    for (pool, count) in going {
                        if let Some(left) = left.get_mut(pool) {
                            *left -= count;
                        }
                    }
                    steps.push(step);
                }
                Err(why) => later.push((account, draft, why)),
            }
        }
        // What is done now may be what they waited for.
        if later.is_empty() || later.len() == before {
            for (_, draft, why) in later {
                refused.extend(draft.removes.iter().map(|node| (*node, why.clone())));
            }
            return (steps, refused);
        }
        waiting = later.into_iter().map(|(account, draft, _)| (account, draft)).collect();
    }
}

/// Pods that move, by the node that they leave: which, and where to.
type Leaving<'s> = BTreeMap<usize, Vec<(&'s str, Key)>>;

/// What a step comes to, for the court.
fn case<'s>(
    fleet: &'s Fleet,
    problem: &'s Problem,
    draft: &Draft,
    search: &'s Search<'_>,
    leaving: &Leaving<'_>,
) -> Case<'s> {
    let end = &search.state;
    let removed =
        draft.removes.iter().map(|at| (problem.nodes[*at].pool.as_deref().unwrap_or(""), &fleet.nodes[*at]));
    let bought = draft.launches.iter().filter_map(|number| end.position(Key::New(*number)));
    let pods = draft.removes.iter().filter_map(|at| leaving.get(at)).map(Vec::len).sum();
    Case {
        removed: removed.collect(),
        bought: bought.map(|at| (end.pool(at), &end.fleet.nodes[at])).collect(),
        pods,
    }
}

struct Carver<'a> {
    problem: &'a Problem,
    fleet: &'a Fleet,
    search: &'a Search<'a>,
    leaving: &'a Leaving<'a>,
    /// The cluster as the steps so far leave it, with the whole catalogue.
    state: State,
}

impl Carver<'_> {
    fn step(&mut self, draft: &Draft, account: Account) -> Result<Step, Kept> {
        let own = draft.removes.iter().filter_map(|at| Some((at, self.leaving.get(at)?)));
        let going: BTreeMap<&str, (usize, Key)> =
            own.flat_map(|(at, pods)| pods.iter().map(|(pod, to)| (*pod, (*at, *to)))).collect();
        let numbers: Vec<usize> = draft.launches.iter().copied().collect();
        let mut launches = self.launches(&numbers)?;
        let removed: BTreeSet<Key> = draft.removes.iter().map(|at| Key::Old(*at)).collect();
        let positions: BTreeSet<usize> = removed.iter().filter_map(|key| self.state.position(*key)).collect();
        let near = near(&self.state, &positions, going.values().map(|(_, to)| *to));
        let sale = self.search.sale;
        let own = draft.removes.iter();
        let own = own.map(|at| (self.problem.nodes[*at].pool.as_deref(), &self.fleet.nodes[*at]));
        let choice = Choice::new(sale, self.search.court.aims, own.collect(), &account, numbers.len());
        let mut budget = sale.budget(&self.state.problem);
        let found = self.state.without(&positions, near.as_ref(), |problem, movers, keys| {
            plan(problem, movers, keys, &going, &numbers, &mut launches)?;
            for launch in &launches {
                sale.take(launch, &mut budget);
            }
            for launch in &mut launches {
                let pods = launch.pods.iter().map(|pod| problem.pods[pod.index()].name.as_str());
                launch.alternatives = choice.of(problem, launch, pods, &budget)?;
            }
            let solution = |launches: &[NewNode]| Solution {
                new_nodes: launches.to_vec(),
                placements: placements(movers, keys, &going),
                cost: launches.iter().map(weighed).sum(),
                ..Solution::default()
            };
            let mut broken = verify(problem, &solution(&launches));
            let free = |launch: &NewNode| !launch.alternatives.is_empty() && !choice.matters(problem, launch);
            if !broken.is_empty() && launches.iter().any(free) {
                // Better without something to fall back on than not at all.
                for launch in launches.iter_mut().filter(|launch| free(launch)) {
                    launch.alternatives = [].into();
                }
                broken = verify(problem, &solution(&launches));
            }
            match broken.into_iter().next() {
                Some(violation) => Err(Kept::Broken(violation.what)),
                None => Ok(movers.to_vec()),
            }
        });
        let movers = found?;
        let bought: Vec<(Key, &NewNode)> =
            numbers.iter().map(|number| Key::New(*number)).zip(&launches).collect();
        let to = |mover: &Mover| going.get(mover.name.as_str()).map(|(_, to)| *to);
        if let Some(why) = left_behind(&self.state, &positions, &movers, &to, &bought) {
            return Err(Kept::Broken(why));
        }
        let mut ends = BTreeMap::<Key, Vec<Mover>>::new();
        for mover in movers {
            if let Some((_, to)) = going.get(mover.name.as_str()) {
                ends.entry(*to).or_default().push(mover);
            }
        }
        let bought: Vec<(&NewNode, Vec<Mover>)> = launches
            .iter()
            .zip(&numbers)
            .map(|(launch, number)| (launch, ends.remove(&Key::New(*number)).unwrap_or_default()))
            .collect();
        ends.retain(|to, _| matches!(to, Key::Old(_)));
        let placed: Vec<(Key, Vec<Mover>)> = ends.into_iter().collect();
        self.state.carry_out(&removed, &placed, &bought);
        let mut moves: Vec<PodMove> = going
            .iter()
            .map(|(pod, (from, to))| PodMove {
                pod: (*pod).to_owned(),
                from: NodeId::of(*from),
                to: match to {
                    Key::Old(at) => Destination::Existing(NodeId::of(*at)),
                    Key::New(number) => Destination::New(numbers.binary_search(number).unwrap_or(0)),
                },
            })
            .collect();
        moves.sort_by(|a, b| a.pod.cmp(&b.pod));
        for launch in &mut launches {
            launch.pods = Vec::new();
        }
        let mut removes: Vec<NodeId> = draft.removes.iter().map(|at| NodeId::of(*at)).collect();
        removes.sort_by(|a, b| self.problem.nodes[a.index()].name.cmp(&self.problem.nodes[b.index()].name));
        let payback = account.payback(self.search.court.aims);
        Ok(Step { removes, launches, moves, saving: account.saving, disruption: account.disruption, payback })
    }

    /// What is launched, as the whole catalogue has it.
    fn launches(&self, numbers: &[usize]) -> Result<Vec<NewNode>, Kept> {
        let end = &self.search.state;
        let launch = |number: &usize| {
            let planned = end.bought.get(number);
            let planned = planned.ok_or_else(|| Kept::Broken("a launch is not known".to_owned()))?;
            let new = self.search.sale.launch(&end.problem, planned);
            let new = new.ok_or_else(|| Kept::Broken("an offering is not for sale".to_owned()))?;
            Ok(NewNode { alternatives: [].into(), pods: Vec::new(), ..new })
        };
        numbers.iter().map(launch).collect()
    }
}

/// The nodes that a check has to look at: those that receive pods. All of them where a rule looks at every node, as spread over
/// hosts does.
pub(super) fn near(
    state: &State,
    gone: &BTreeSet<usize>,
    receive: impl Iterator<Item = Key>,
) -> Option<BTreeSet<usize>> {
    let pods = gone.iter().flat_map(|at| &state.problem.nodes[*at].pods);
    let specs: BTreeSet<_> = pods.map(|pod| pod.spec).collect();
    let over_hosts = |spec: &crate::SpecId| {
        let spec = &state.problem.specs[spec.index()];
        spec.spread.iter().any(|rule| rule.key == TopologyKey::Host)
    };
    (!specs.iter().any(over_hosts)).then(|| receive.filter_map(|key| state.position(key)).collect())
}

/// Hands the pods of a step to its launches.
fn plan(
    problem: &Problem,
    movers: &[Mover],
    keys: &[Key],
    going: &BTreeMap<&str, (usize, Key)>,
    numbers: &[usize],
    launches: &mut [NewNode],
) -> Result<(), Kept> {
    for (at, mover) in movers.iter().enumerate() {
        match going.get(mover.name.as_str()).map(|(_, to)| *to) {
            Some(Key::New(number)) => match numbers.binary_search(&number) {
                Ok(launch) => launches[launch].pods.push(PodId::of(at)),
                Err(_) => {
                    return Err(Kept::Broken(format!("pod {} goes to a node of another step", mover.name)));
                }
            },
            Some(key) if keys.contains(&key) => {}
            _ => return Err(Kept::Broken(format!("pod {} has nowhere to go", mover.name))),
        }
    }
    for launch in launches {
        launch.pods.sort_by(|a, b| problem.pods[a.index()].name.cmp(&problem.pods[b.index()].name));
    }
    Ok(())
}

/// What goes to nodes that stay.
fn placements(movers: &[Mover], keys: &[Key], going: &BTreeMap<&str, (usize, Key)>) -> Vec<Placement> {
    let positions: BTreeMap<Key, usize> = keys.iter().enumerate().map(|(at, key)| (*key, at)).collect();
    let mut by_node = BTreeMap::<usize, Vec<PodId>>::new();
    for (at, mover) in movers.iter().enumerate() {
        let to = going.get(mover.name.as_str()).map(|(_, to)| *to).filter(|to| matches!(to, Key::Old(_)));
        if let Some(node) = to.and_then(|to| positions.get(&to)) {
            by_node.entry(*node).or_default().push(PodId::of(at));
        }
    }
    by_node.into_iter().map(|(node, pods)| Placement { node: NodeId::of(node), pods }).collect()
}
