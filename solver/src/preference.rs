//! Preferences: kept like rules where that can be, given up one at a time where it cannot.
//!
//! ```text
//! spec with preferences ─▶ rungs: everything it would like ─▶ one thing less ─▶ … ─▶ what it requires
//! ```
//!
//! A pod begins on its top rung, where each preference is a rule; whole problems are solved with quick effort, and pods
//! left over step down a rung, until none is left over that could be placed without preferences. The problem is then
//! solved in earnest. In detail:
//!
//! - Preferences are given up in the order in which [`PodSpec::preferences`] lists them; where there are more than thirty-two,
//!   several at a time.
//! - Of preferred nodes, which are alternatives rather than a list of wishes, the first counts, and those after it as far
//!   as some node can have them too. So nothing is given up for what no node offers.
//! - Of wishes to be near other pods the heaviest counts, and none for a pod that has to be near some.
//! - A pod gives up its wishes about nodes alone. A wish about other pods (near, away, spread) is given up by all pods of
//!   the spec that stand on the same rung: those that kept it would hold it against those that did not.
//! - Capacity that is there is filled first, as kube-scheduler does: a preference chooses among nodes that exist, it never
//!   refuses them all. Only pods that none of them takes are planned with their preferences on new nodes.
//! - Which pods are left over where there is not room for all may depend on preferences. Those that would have a place
//!   without give theirs up even where as many others would be left over: they may have one beside these. In the end all
//!   that are left over ask for nothing more than they require.
//! - Where pods are left over that have nothing to give up, although they have a place when nobody has preferences, all
//!   others step down. So preferences never cost a pod its place.
//!
//! # Invariants
//! - A plan that keeps a preference keeps every rule: a rung only adds rules to what is required. Plans are verified
//!   both ways.
//! - The bound of the plan is that of the problem without preferences.

mod prospects;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use crate::bound::floor;
use crate::memory::Memory;
use crate::model::holds;
use crate::problem::{
    Labels, NodeConstraint, PodId, PodSpec, PodTerm, Preference, Problem, SpecId, Spread, TopologyKey,
};
use crate::solution::{NewNode, Preferences, Solution};
use crate::{Options, Progress, Violation, fixed_cost, ladder, route, verify};

use prospects::{Prospects, Wishes};

/// So often everything is planned anew while pods give up preferences one at a time; then they give up the rest at once.
const ATTEMPTS: usize = 24;
/// The same once trials have taken so many steps: half a second.
const TRIAL_STEPS: u64 = 40_000_000;

/// At most this many rungs of one spec: with more preferences, several are given up at a time.
const MAX_RUNGS: usize = 32;

/// What a spec can stand on.
struct Rung {
    /// The spec with what it still holds as rules, in the problem of all rungs.
    spec: SpecId,
    /// Which preferences those are.
    held: Vec<usize>,
    /// Whether stepping down from here gives up a wish about other pods.
    shared: bool,
}

/// Quick plans that show who is left over.
struct Trials<'o> {
    options: &'o Options,
    cancel: &'o AtomicBool,
    /// Steps so far.
    spent: Cell<u64>,
}

impl Trials<'_> {
    fn plan(&self, problem: &Problem) -> Solution {
        let quick = self.options.quick();
        let planned = ladder::climb(problem, &quick, &mut Memory::default(), self.cancel, &mut |_, _, _| {});
        self.spent.set(self.spent.get() + planned.stats.steps);
        planned
    }

    /// The number of an attempt; that of the last one once the steps are spent.
    fn count(&self, attempt: usize) -> usize {
        if self.spent.get() < TRIAL_STEPS { attempt } else { attempt.max(ATTEMPTS) }
    }
}

/// Where every pod stands.
struct Standing<'p> {
    problem: &'p Problem,
    /// `problem` with the specs of all rungs, and each pod with that of its rung.
    variant: Problem,
    /// By spec, of those that pending pods have: top rung first; the last is what is required.
    rungs: BTreeMap<u32, Vec<Rung>>,
    /// By pod: its rung.
    at: Vec<usize>,
}

/// Solves a problem in which pending pods have preferences; `None` where none has.
pub(crate) fn solve(
    problem: &Problem,
    options: &Options,
    memory: &mut Memory,
    cancel: &AtomicBool,
    progress: Progress<'_>,
) -> Option<Result<Solution, Vec<Violation>>> {
    let mut standing = Standing::of(problem)?;
    let trials = Trials { options, cancel, spent: Cell::new(0) };
    let mut required = standing.required();
    let mut free = trials.plan(&required);
    let hopeless = unplaced(&free);
    standing.settle_on_what_exists(&trials);
    let (mut attempts, mut spent) = (0, 0);
    // Earnest plans share one budget. The first that leaves over only who must be is the plan.
    let mut plan = |problem: &Problem| {
        let planned = ladder::climb(problem, &options.after(spent), memory, cancel, &mut *progress);
        spent += planned.stats.steps;
        planned
    };
    let mut solution = loop {
        attempts += 1;
        if standing.give_up(&unplaced(&trials.plan(&standing.variant)), &hopeless, trials.count(attempts)) {
            continue;
        }
        let planned = plan(&standing.variant);
        if !standing.give_up(&unplaced(&planned), &hopeless, trials.count(attempts)) {
            break planned;
        }
    };
    let before = standing.at.clone();
    if standing.give_up_all(&unplaced(&solution)) {
        let again = plan(&standing.variant);
        if unplaced(&again).len() <= unplaced(&solution).len() {
            solution = again;
        } else {
            (0..before.len()).for_each(|pod| standing.put(pod, before[pod]));
        }
    }
    route::compare(&standing.variant, &mut solution, options, cancel);
    let violations = verify(&standing.variant, &solution);
    if !violations.is_empty() {
        return Some(Err(violations));
    }
    let left = unplaced(&solution);
    if unplaced(&free) != left {
        // A plan that holds other pods says nothing about these.
        forbid(&mut required, &left);
        free = trials.plan(&required);
    }
    solution.stats.steps = spent + trials.spent.get();
    let alike = unplaced(&free) == left;
    let kept_bound = solution.bound;
    // Nor does a plan that still leaves over pods which this one holds.
    let bound = if alike { free.bound } else { floor(&required, &left) };
    solution.bound = bound.min(solution.cost);
    solution.instance_bound = fixed_cost::instance_bound(&required, &solution, options, cancel);
    solution.preferences = Some(Preferences {
        pods: standing.stated(),
        given_up: standing.given_up(&solution),
        bound: kept_bound,
        without: alike.then_some(free.cost),
    });
    let violations = verify(problem, &solution);
    Some(if violations.is_empty() { Ok(solution) } else { Err(violations) })
}

impl<'p> Standing<'p> {
    fn of(problem: &'p Problem) -> Option<Self> {
        let used: BTreeSet<u32> = problem.pods.iter().map(|pod| pod.spec.0).collect();
        let wishing = |at: &u32| !problem.specs[*at as usize].preferences.is_empty();
        if !used.iter().any(wishing) {
            return None;
        }
        let mut variant = problem.clone();
        for spec in &mut variant.specs {
            spec.preferences.clear();
        }
        let mut prospects = Prospects::of(problem, &used);
        let mut rungs = BTreeMap::new();
        for at in used.into_iter().filter(wishing) {
            let spec = &problem.specs[at as usize];
            let ladder = ladder_of(spec, SpecId(at), &mut prospects, &mut variant.specs);
            rungs.insert(at, ladder);
        }
        let mut this = Self { problem, variant, rungs, at: vec![0; problem.pods.len()] };
        for pod in 0..problem.pods.len() {
            this.put(pod, 0);
        }
        Some(this)
    }

    /// The problem with every pod at its bottom rung.
    fn required(&self) -> Problem {
        let mut required = self.variant.clone();
        for (pod, own) in required.pods.iter_mut().zip(&self.problem.pods) {
            pod.spec = own.spec;
        }
        required
    }

    /// How many pods have preferences.
    fn stated(&self) -> usize {
        self.problem.pods.iter().filter(|pod| self.rungs.contains_key(&pod.spec.0)).count()
    }

    fn rungs_of(&self, pod: usize) -> &[Rung] {
        self.rungs.get(&self.problem.pods[pod].spec.0).map_or(&[], Vec::as_slice)
    }

    fn put(&mut self, pod: usize, rung: usize) {
        self.at[pod] = rung;
        if let Some(rung) = self.rungs_of(pod).get(rung) {
            self.variant.pods[pod].spec = rung.spec;
        }
    }

    fn has_more(&self, pod: usize) -> bool {
        self.at[pod] + 1 < self.rungs_of(pod).len()
    }

    /// Pods that nodes as they are take keep the rung on which they do; all others go back to the top.
    fn settle_on_what_exists(&mut self, trials: &Trials<'_>) {
        if !self.problem.nodes.iter().any(|node| node.open) {
            return;
        }
        let pools = std::mem::take(&mut self.variant.pools);
        let nobody = BTreeSet::new();
        for attempt in 1.. {
            let left = unplaced(&trials.plan(&self.variant));
            if !self.give_up(&left, &nobody, trials.count(attempt)) {
                for pod in left {
                    self.put(pod.index(), 0);
                }
                break;
            }
        }
        self.variant.pools = pools;
    }

    /// Lets pods step down for those that are left over. Whether anything changed.
    fn give_up(&mut self, left: &BTreeSet<PodId>, hopeless: &BTreeSet<PodId>, attempt: usize) -> bool {
        let lost = left.len() > hopeless.len();
        let able = |pods: &mut dyn Iterator<Item = usize>| -> Vec<usize> {
            pods.filter(|pod| self.has_more(*pod)).collect()
        };
        let mut stepping = able(&mut left.difference(hopeless).map(|pod| pod.index()));
        if stepping.is_empty() && lost {
            stepping = able(&mut left.iter().map(|pod| pod.index()));
        }
        // With nothing to buy, pods that find no room go to new nodes: nobody makes room for them.
        if stepping.is_empty() && lost && !self.variant.pools.is_empty() {
            stepping = able(&mut (0..self.problem.pods.len()));
        }
        let mut all: BTreeSet<usize> = stepping.iter().copied().collect();
        let shared: BTreeSet<(u32, usize)> = stepping
            .iter()
            .filter(|pod| self.rungs_of(**pod)[self.at[**pod]].shared)
            .map(|pod| (self.problem.pods[*pod].spec.0, self.at[*pod]))
            .collect();
        if !shared.is_empty() {
            let same = |pod: &usize| shared.contains(&(self.problem.pods[*pod].spec.0, self.at[*pod]));
            all.extend((0..self.problem.pods.len()).filter(same));
        }
        for pod in &all {
            let last = self.rungs_of(*pod).len() - 1;
            let next = if attempt < ATTEMPTS { self.at[*pod] + 1 } else { last };
            self.put(*pod, next);
        }
        !all.is_empty()
    }

    /// Lets pods that are left over give up everything that they only prefer. Whether anything changed.
    ///
    /// Some are left over without preferences too, where limits leave room for some of them only. Whether there is room
    /// for these beside what is planned by now shows only when they ask for nothing more.
    fn give_up_all(&mut self, left: &BTreeSet<PodId>) -> bool {
        let able: Vec<usize> = left.iter().map(|pod| pod.index()).filter(|pod| self.has_more(*pod)).collect();
        for pod in &able {
            self.put(*pod, self.rungs_of(*pod).len() - 1);
        }
        !able.is_empty()
    }

    /// By pod, in order: the preferences that it goes without.
    fn given_up(&self, solution: &Solution) -> Vec<(PodId, Vec<usize>)> {
        let mut labels = vec![None; self.problem.pods.len()];
        for placement in &solution.placements {
            for pod in &placement.pods {
                labels[pod.index()] = Some(self.problem.nodes[placement.node.index()].labels.clone());
            }
        }
        for node in &solution.new_nodes {
            let of_node = labels_of(self.problem, node);
            for pod in &node.pods {
                labels[pod.index()] = Some(of_node.clone());
            }
        }
        let mut out = Vec::new();
        for (pod, labels) in labels.into_iter().enumerate() {
            let (Some(labels), Some(rung)) = (labels, self.rungs_of(pod).get(self.at[pod])) else { continue };
            let spec = &self.problem.specs[self.problem.pods[pod].spec.index()];
            let lost = |at: &usize| match &spec.preferences[*at] {
                Preference::Node(wish) | Preference::Untainted(wish) => !holds(wish, &labels),
                Preference::Near(_) | Preference::Away(_) | Preference::Spread(_) => !rung.held.contains(at),
            };
            let lost: Vec<usize> = (0..spec.preferences.len()).filter(lost).collect();
            if !lost.is_empty() {
                out.push((PodId::of(pod), lost));
            }
        }
        for pod in solution.routed.iter().map(|routed| routed.pod) {
            // A machine of its own is no preferred node, has no company, and is nobody knows where.
            let lost = |preference: &Preference| match preference {
                Preference::Node(_) | Preference::Near(_) => true,
                Preference::Untainted(_) => false,
                Preference::Away(PodTerm { key, .. }) | Preference::Spread(Spread { key, .. }) => {
                    matches!(key, TopologyKey::Label(_))
                }
            };
            let wishes = &self.problem.specs[self.problem.pods[pod.index()].spec.index()].preferences;
            let lost: Vec<usize> = (0..wishes.len()).filter(|at| lost(&wishes[*at])).collect();
            out.extend((!lost.is_empty()).then_some((pod, lost)));
        }
        out.sort_unstable();
        out
    }
}

/// The labels of a planned node.
fn labels_of(problem: &Problem, node: &NewNode) -> Labels {
    let mut labels = problem.pools[node.pool.index()].labels.clone();
    labels.extend(problem.types[node.instance_type.index()].labels.clone());
    labels.extend(node.offering(problem).labels.clone());
    labels.extend(node.chosen_labels.iter().cloned());
    labels
}

fn unplaced(solution: &Solution) -> BTreeSet<PodId> {
    solution.unplaced.iter().map(|u| u.pod).collect()
}

/// Makes sure that these pods have no place.
fn forbid(problem: &mut Problem, pods: &BTreeSet<PodId>) {
    for pod in pods {
        let mut spec = problem.specs[problem.pods[pod.index()].spec.index()].clone();
        spec.blocked.get_or_insert_with(|| "has no place".to_owned());
        problem.pods[pod.index()].spec = intern(spec, &mut problem.specs);
    }
}

fn intern(spec: PodSpec, specs: &mut Vec<PodSpec>) -> SpecId {
    specs.push(spec);
    SpecId::of(specs.len() - 1)
}

/// The rungs of a spec.
fn ladder_of(
    spec: &PodSpec,
    own: SpecId,
    prospects: &mut Prospects<'_>,
    specs: &mut Vec<PodSpec>,
) -> Vec<Rung> {
    let mut ladder = Vec::<Rung>::new();
    let all = spec.preferences.len();
    let wishes = prospects.wishes(spec);
    for first in (0..all.min(MAX_RUNGS)).map(|rung| rung * all / all.min(MAX_RUNGS)) {
        let (stricter, held) = with(spec, first, &wishes);
        if held.is_empty() {
            break;
        }
        if ladder.last().is_some_and(|rung| rung.held == held) {
            continue;
        }
        if let Some(above) = ladder.last_mut() {
            above.shared = gives_up_company(spec, &above.held, &held);
        }
        ladder.push(Rung { spec: intern(stricter, specs), held, shared: false });
    }
    if let Some(above) = ladder.last_mut() {
        above.shared = gives_up_company(spec, &above.held, &[]);
    }
    ladder.push(Rung { spec: own, held: Vec::new(), shared: false });
    ladder
}

fn gives_up_company(spec: &PodSpec, before: &[usize], after: &[usize]) -> bool {
    let about_pods = |at: &&usize| {
        matches!(spec.preferences[**at], Preference::Near(_) | Preference::Away(_) | Preference::Spread(_))
    };
    before.iter().filter(about_pods).any(|at| !after.contains(at))
}

/// A spec with its preferences from number `first` on as rules, and which of them could be taken.
fn with(spec: &PodSpec, first: usize, wishes: &Wishes) -> (PodSpec, Vec<usize>) {
    let mut out = PodSpec { preferences: Vec::new(), ..spec.clone() };
    let mut held = BTreeSet::new();
    let listed = || spec.preferences.iter().enumerate().skip(first);
    // Taints before preferred nodes: what is given up last weighs most.
    let untainted = listed().filter_map(|(at, p)| match p {
        Preference::Untainted(wish) => Some((at, wish)),
        _ => None,
    });
    let nodes = listed().filter_map(|(at, p)| match p {
        Preference::Node(wish) => Some((at, wish)),
        _ => None,
    });
    let mut left = wishes.required.clone();
    for (at, wish) in untainted.chain(nodes) {
        let Some(narrower) = wishes.by_preference[at].as_ref().and_then(|wish| left.and(wish)) else {
            continue;
        };
        left = narrower;
        out.node.push(NodeConstraint { of_volume: true, ..wish.clone() });
        // Nor is a machine of its own a preferred node.
        if matches!(spec.preferences[at], Preference::Node(_)) {
            out.route = None;
        }
        held.insert(at);
    }
    // Of several affinity terms a pod has to satisfy all, each counts only pods that all of them select. So a wish to be near
    // some pods is no rule beside another: the heaviest is kept, and none where a term is required.
    let near = |(at, p): (usize, &Preference)| matches!(p, Preference::Near(_)).then_some(at);
    let nearest = listed().filter_map(near).next_back().filter(|_| spec.affinity.is_empty());
    for (at, preference) in listed() {
        match preference {
            Preference::Node(_) | Preference::Untainted(_) => continue,
            Preference::Near(_) if nearest != Some(at) => continue,
            Preference::Near(term) => out.affinity.push(term.clone()),
            Preference::Away(term) => out.anti_affinity.push(term.clone()),
            Preference::Spread(spread) => out.spread.push(Spread { wished: true, ..spread.clone() }),
        }
        held.insert(at);
    }
    (out, held.into_iter().collect())
}
