//! The search for nodes that may go together.
//!
//! ```text
//! nodes by what they cost above the worth of their pods ─▶ parts of the cluster ─▶ all of a part, its worst third, a ninth…
//!    ─▶ plan their pods anew ─▶ what falls apart into steps is judged step by step ─▶ the best of it is carried out
//! ```
//!
//! Small clusters are searched more closely: neighbours together, their halves, and each node alone; of the smallest every set.
//! All that goes on until nothing more is found, so that a second look at what comes out finds nothing either. A node that was
//! launched on the way may go again: then the two steps are one, and it was never launched.
//!
//! A trial looks at the nodes that go, and at some that may receive their pods. The rest is seen from afar (`afar.rs`), so that
//! it takes as long in a cluster of a thousand nodes as in one of sixty.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use super::choice::Choice;
use super::fleet::{Fleet, Held, Sold};
use super::ideal::ideal;
use super::state::{Key, Mover, State, Targets, Trial};
use super::steps::{Account, Case, Court, Moves};
use super::wide::Sale;
use super::{Kept, Stage};
use crate::Progress;
use crate::money::Price;
use crate::problem::Problem;
use crate::solution::NewNode;

/// Nodes that are planned anew together in small clusters: few enough that a plan of their pods is made in no time, and enough
/// for what several become one by.
const TOGETHER: usize = 8;
/// Up to so many nodes that may go, every set of them is tried.
const EXHAUSTIVE: usize = 5;
/// Up to so many, each is tried alone, and all others may receive its pods.
const THOROUGH: usize = 64;
/// What a trial takes beside the packing, in steps: for each node that it looks at, for each running pod there, and at all.
const STEPS_OF_NODE: u64 = 60;
const STEPS_OF_POD: u64 = 12;
const STEPS_OF_ANY: u64 = 2_000;
/// The most that packing in one trial may take.
const STEPS_OF_TRIAL: u64 = 200_000;

mod large;

pub(super) struct Search<'a> {
    /// With everything that is for sale.
    pub(super) whole: &'a Problem,
    pub(super) sale: &'a Sale<'a>,
    /// The nodes there were at first.
    pub(super) fleet: &'a Fleet,
    pub(super) court: Court<'a>,
    pub(super) state: State,
    pub(super) moves: Moves,
    /// By node that goes, by its position: how many went before its proposal was carried out.
    pub(super) went: BTreeMap<usize, usize>,
    /// By key: why it is still there.
    pub(super) kept: BTreeMap<Key, Kept>,
    pub(super) steps: u64,
    /// Whether there are so few nodes that each is tried alone, whatever came of trials with others, and what is launched may go
    /// again.
    pub(super) thorough: bool,
    /// Nodes that may go, those first that are worth it most; in the order in which they were found.
    pub(super) ranked: Vec<Key>,
    /// What each of them costs above the worth of its pods, in micro-dollars an hour.
    pub(super) waste: BTreeMap<Key, i64>,
    /// Of a large cluster: the part whose nodes receive pods, beside those that may not go; any may where there is none.
    pub(super) among: Option<BTreeSet<Key>>,
    /// By node that there was at first: what its pods are worth, until something has changed.
    pub(super) worth: Option<Vec<f64>>,
    /// Whether what was done before has kept from doing more: a look that knows nothing of it might do that.
    pub(super) biased: bool,
    pub(super) cancel: &'a AtomicBool,
}

/// What came of a trial.
struct Proposals {
    /// What pays.
    pay: Vec<Proposal>,
    /// Nodes that share nothing with others of the trial, and by themselves do not pay.
    alone: BTreeSet<Key>,
}

/// A set of nodes to go, with all that follows.
struct Proposal {
    removed: BTreeSet<Key>,
    placed: Vec<(Key, Vec<Mover>)>,
    launches: Vec<(NewNode, Vec<Mover>)>,
    /// Saving less what disruption is worth, in micro-dollars.
    gain: i128,
}

impl Search<'_> {
    /// Looks until nothing more is found, or the budget is spent.
    pub(super) fn run(&mut self, progress: Progress<'_>) {
        loop {
            self.kept.clear();
            self.biased = false;
            self.state.tidy();
            self.court = Court::of(&self.state, self.court.aims);
            // In a large cluster what is launched stays for this look.
            let is_open =
                |(key, held): (&Key, &Held)| matches!(key, Key::Old(_)) && held.candidate().is_some();
            if !self.thorough && !self.state.keys.iter().zip(&self.state.fleet.nodes).any(is_open) {
                return;
            }
            let all = self.candidates();
            if all.is_empty() || self.spent() {
                return;
            }
            self.ranked.clone_from(&all);
            // Once a cluster is large it stays so for the whole look.
            self.thorough &= all.len() <= THOROUGH;
            let found = match all.len() {
                _ if !self.thorough => self.parts(&all, &mut *progress),
                0..=EXHAUSTIVE => self.every_set(&all),
                _ => self.neighbours(&all, &mut *progress),
            };
            if !found {
                return;
            }
        }
    }

    pub(super) fn spent(&self) -> bool {
        self.steps >= self.court.aims.max_steps || self.cancel.load(Ordering::Relaxed)
    }

    /// Nodes that may go, those first that cost most above the worth of their pods for what they disrupt.
    fn candidates(&mut self) -> Vec<Key> {
        let worth: Vec<f64> = match self.worth.take() {
            Some(first) => {
                let of = |key: &Key| first.get(super::old(*key)?).copied();
                self.state.keys.iter().map(|key| of(key).unwrap_or(0.0)).collect()
            }
            None => ideal(&self.state.problem, &self.state.fleet).worth,
        };
        self.waste.clear();
        let nodes =
            self.state.problem.nodes.iter().zip(&self.state.fleet.nodes).zip(&self.state.keys).zip(worth);
        let mut ranked: Vec<(f64, Price, &str, Key)> = nodes
            .filter_map(|(((node, held), key), worth)| {
                let price = held.candidate()?;
                let waste = (price.micros() as f64 - worth).max(0.0);
                self.waste.insert(*key, waste as i64);
                Some((waste / held.disruption().max(1) as f64, price, node.name.as_str(), *key))
            })
            .collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)).then(a.2.cmp(b.2)));
        ranked.into_iter().map(|(.., key)| key).collect()
    }

    /// Tries every set of a few nodes, and carries out the best, again and again.
    fn every_set(&mut self, all: &[Key]) -> bool {
        let mut best: Option<Proposal> = None;
        for mask in 1_u32..1 << all.len() {
            if self.spent() {
                break;
            }
            let set: BTreeSet<Key> =
                all.iter().enumerate().filter(|(at, _)| mask & (1 << at) != 0).map(|(_, key)| *key).collect();
            let proposals = self.propose(&set, STEPS_OF_TRIAL).pay;
            // Parts of the set that pay by themselves are sets of their own.
            let whole = proposals.into_iter().filter(|p| p.removed == set).max_by_key(|p| p.gain);
            if let Some(proposal) = whole
                && best.as_ref().is_none_or(|best| proposal.gain > best.gain)
            {
                best = Some(proposal);
            }
        }
        best.map(|best| self.accept(&best)).is_some()
    }

    /// Tries neighbours together, and smaller and smaller parts of them.
    fn neighbours(&mut self, all: &[Key], progress: Progress<'_>) -> bool {
        let mut by_place = BTreeMap::<(String, String), Vec<Key>>::new();
        for key in all {
            let Some(at) = self.state.position(*key) else { continue };
            let zone = self.state.problem.nodes[at].labels.get(&self.state.problem.zone_key).cloned();
            by_place
                .entry((self.state.pool(at).to_owned(), zone.unwrap_or_default()))
                .or_default()
                .push(*key);
        }
        let rank: BTreeMap<Key, usize> = all.iter().enumerate().map(|(at, key)| (*key, at)).collect();
        let mut chunks: Vec<Vec<Key>> =
            by_place.values().flat_map(|keys| keys.chunks(TOGETHER)).map(<[Key]>::to_vec).collect();
        chunks.sort_by_key(|chunk| rank.get(&chunk[0]).copied());
        let (total, mut found) = (chunks.len() as u64, false);
        for (at, chunk) in chunks.into_iter().enumerate() {
            progress(Stage::SEARCHING, at as u64, total);
            found |= self.explore(&chunk);
        }
        // Those of different places, once no place has anything left by itself.
        if !found {
            let left: Vec<Key> =
                all.iter().filter(|key| self.state.position(**key).is_some()).copied().collect();
            for chunk in left.chunks(TOGETHER) {
                found |= self.explore_together(chunk).0;
            }
        }
        found
    }

    /// Tries a set of nodes, then the halves of those that stay only because they were tried together.
    fn explore(&mut self, set: &[Key]) -> bool {
        if self.spent() {
            return false;
        }
        let (mut found, left) = self.explore_together(set);
        if left.len() > 1 {
            let (first, second) = left.split_at(left.len().div_ceil(2));
            found |= self.explore(first);
            found |= self.explore(second);
        } else if left.len() < set.len() && !left.is_empty() {
            found |= self.explore(&left);
        }
        found
    }

    /// Tries a set of nodes, and carries out what of it pays: all has room at the same time. Returns whether there was any, and
    /// which of the others another trial may still find something for, in the order of the set.
    fn explore_together(&mut self, set: &[Key]) -> (bool, Vec<Key>) {
        let all: BTreeSet<Key> =
            set.iter().filter(|key| self.state.position(**key).is_some()).copied().collect();
        if all.is_empty() || self.spent() {
            return (false, Vec::new());
        }
        let Proposals { pay, alone } = self.propose(&all, STEPS_OF_TRIAL);
        let found = !pay.is_empty();
        match <[Proposal; 1]>::try_from(pay) {
            // A smaller set is planned on its own, which holds as long as nothing else was done.
            Ok([whole]) if whole.removed.len() > 1 && whole.removed == all => {
                let best = self.smaller(whole);
                self.accept(&best);
            }
            Ok([one]) => self.accept(&one),
            Err(pay) => drop(self.accept_all(pay)),
        }
        let stays = |key: &&Key| self.state.position(**key).is_some() && (found || !alone.contains(*key));
        let left = set.iter().filter(stays).copied().collect();
        (found, left)
    }

    /// The same without nodes that need not go: those whose going costs more than it saves.
    fn smaller(&mut self, mut best: Proposal) -> Proposal {
        if best.launches.is_empty() {
            return best;
        }
        for key in best.removed.clone() {
            if best.removed.len() < 2 || self.spent() {
                break;
            }
            let mut less = best.removed.clone();
            less.remove(&key);
            let others =
                self.propose(&less, STEPS_OF_TRIAL).pay.into_iter().filter(|p| p.removed.is_subset(&less));
            if let Some(other) = others.max_by_key(|p| p.gain).filter(|p| p.gain >= best.gain) {
                best = other;
            }
        }
        best
    }

    /// What of a set may go and pays, as proposals to be carried out one by one: each starts from how things stand.
    fn propose(&mut self, set: &BTreeSet<Key>, steps: u64) -> Proposals {
        let mut out = Proposals { pay: Vec::new(), alone: BTreeSet::new() };
        let mut alike = BTreeSet::<Key>::new();
        // In large clusters there is no second try: nothing is bought that goes.
        let own = set
            .iter()
            .filter_map(|key| self.state.position(*key))
            .filter(|_| !self.thorough && set.len() > 1);
        let unlike = own.map(|at| self.state.fleet.nodes[at].sold_as.clone()).collect();
        let (trial, targets) = self.attempt(set, &unlike, steps);
        for group in self.groups(set, &trial, &targets) {
            match self.weigh(&group, &trial, &targets) {
                Ok(proposal) => out.pay.push(proposal),
                Err(why) => {
                    if matches!(why, Kept::LikeForLike { .. }) {
                        alike.extend(&group);
                    }
                    // By itself as it would be alone, but for the room that others took.
                    if let (Some(key), 1) = (group.first(), group.len()) {
                        out.alone.insert(*key);
                        self.kept.insert(*key, why);
                    }
                }
            }
        }
        // What takes the place of its like: something else may pay as well.
        if !alike.is_empty() && out.pay.is_empty() {
            let own = alike.iter().filter_map(|key| self.state.position(*key));
            let unlike: BTreeSet<Sold> = own.map(|at| self.state.fleet.nodes[at].sold_as.clone()).collect();
            let (trial, targets) = self.attempt(&alike, &unlike, steps);
            for group in self.groups(&alike, &trial, &targets) {
                if let Ok(proposal) = self.weigh(&group, &trial, &targets) {
                    for key in &group {
                        out.alone.remove(key);
                        self.kept.remove(key);
                    }
                    out.pay.push(proposal);
                }
            }
        }
        let singles = out.pay.is_empty() && out.alone.len() == set.len() && set.len() > 1;
        if self.thorough || singles {
            // Others took room that one of them alone might have had.
            out.alone.clear();
        }
        out
    }

    /// Plans the pods of a set of nodes anew.
    fn attempt(&mut self, set: &BTreeSet<Key>, unlike: &BTreeSet<Sold>, steps: u64) -> (Trial, Targets) {
        let removed: BTreeSet<usize> = set.iter().filter_map(|key| self.state.position(*key)).collect();
        let near = (!self.thorough).then(|| self.receivers(&removed));
        let looked_at = |at: &usize| near.as_ref().is_none_or(|near| near.contains(at));
        let positions = (0..self.state.keys.len()).filter(|at| removed.contains(at) || looked_at(at));
        let (nodes, pods) = positions.fold((0, 0), |(nodes, pods), at| {
            (nodes + 1, pods + self.state.problem.nodes[at].pods.len() as u64)
        });
        self.steps += STEPS_OF_ANY + nodes * STEPS_OF_NODE + pods * STEPS_OF_POD;
        let trial = self.state.try_without(&removed, near.as_ref(), unlike, steps, self.cancel);
        self.steps += trial.solution.stats.steps;
        let targets = trial.targets();
        (trial, targets)
    }

    /// Nodes of a set that share new nodes, with each other: those go together.
    fn groups(&self, set: &BTreeSet<Key>, trial: &Trial, targets: &Targets) -> Vec<BTreeSet<Key>> {
        let mut groups: Vec<BTreeSet<Key>> = set.iter().map(|key| BTreeSet::from([*key])).collect();
        for movers in &targets.launched {
            let from: BTreeSet<Key> = movers.iter().map(|mover| trial.movers[*mover].from).collect();
            let (together, apart): (Vec<_>, Vec<_>) = groups.into_iter().partition(|g| !g.is_disjoint(&from));
            groups = apart;
            groups.push(together.into_iter().flatten().collect());
        }
        groups.retain(|group| !group.is_empty());
        groups.sort_by_key(|group| self.places(group));
        groups
    }

    /// Where nodes stand, which is the order of their names.
    fn places(&self, group: &BTreeSet<Key>) -> Vec<usize> {
        let mut places: Vec<usize> = group.iter().filter_map(|key| self.state.position(*key)).collect();
        places.sort_unstable();
        places
    }

    /// Judges a group of nodes: what would go, and what would come.
    fn weigh(&mut self, group: &BTreeSet<Key>, trial: &Trial, targets: &Targets) -> Result<Proposal, Kept> {
        let within = |mover: &&usize| group.contains(&trial.movers[**mover].from);
        if let Some(lost) = targets.lost.iter().find(within) {
            let pod = trial.movers[*lost].name.clone();
            let unplaced = trial.solution.unplaced.iter().find(|u| u.pod.index() == *lost);
            return Err(Kept::NoPlace {
                pod,
                reasons: unplaced.map(|u| u.reasons.clone()).unwrap_or_default(),
            });
        }
        let own = |movers: &[usize]| -> Vec<Mover> {
            movers.iter().filter(within).map(|mover| trial.movers[*mover].clone()).collect()
        };
        let placed: Vec<(Key, Vec<Mover>)> = targets
            .placed
            .iter()
            .map(|(key, movers)| (*key, own(movers)))
            .filter(|(_, own)| !own.is_empty())
            .collect();
        let launches = trial.solution.new_nodes.iter().zip(&targets.launched);
        let launches = launches.map(|(node, movers)| (node, own(movers))).filter(|(_, own)| !own.is_empty());
        let launches: Vec<(NewNode, Vec<Mover>)> = launches.map(|(node, own)| (node.clone(), own)).collect();
        let bought: Vec<(String, Held)> = launches.iter().map(|(new, _)| self.state.as_held(new)).collect();
        let pods = placed.iter().map(|(_, movers)| movers.len()).sum::<usize>();
        self.within_limits(group)?;
        let account = self.court.judge(&self.case(group, &bought, pods))?;
        if let Err(why) = self.no_detour(group, &placed, &bought) {
            self.biased = true;
            return Err(why);
        }
        self.is_choice(group, &launches, &account)?;
        Ok(Proposal { removed: group.clone(), placed, launches, gain: self.court.gain(&account) })
    }

    /// Whether launches leave EC2 a choice as wide as it must be.
    fn is_choice(
        &self,
        group: &BTreeSet<Key>,
        launches: &[(NewNode, Vec<Mover>)],
        account: &Account,
    ) -> Result<(), Kept> {
        let state = &self.state;
        let going = group.iter().filter_map(|key| state.position(*key));
        let going = going.map(|at| (state.problem.nodes[at].pool.as_deref(), &state.fleet.nodes[at]));
        let choice = Choice::new(self.sale, self.court.aims, going.collect(), account, launches.len());
        if !launches.iter().any(|(new, _)| choice.matters(&state.problem, new)) {
            return Ok(());
        }
        let mut budget = self.sale.budget(&state.problem);
        let mut whole = Vec::with_capacity(launches.len());
        for (new, movers) in launches {
            let new = self.sale.launch(&state.problem, new);
            let new = new.ok_or_else(|| Kept::Broken("an offering is not for sale".to_owned()))?;
            self.sale.take(&new, &mut budget);
            whole.push((new, movers));
        }
        for (new, movers) in whole.iter().filter(|(new, _)| choice.matters(self.whole, new)) {
            let pods = movers.iter().map(|mover| mover.name.as_str());
            choice.of(self.whole, new, pods, &budget)?;
        }
        Ok(())
    }

    /// Whether no more nodes of any `NodePool` go than may at the same time, with those that go already.
    fn within_limits(&self, group: &BTreeSet<Key>) -> Result<(), Kept> {
        let limits = &self.court.aims.limits;
        if limits.is_empty() {
            return Ok(());
        }
        let mut going = BTreeMap::<&str, u32>::new();
        let here: BTreeSet<Key> = self.state.keys.iter().copied().collect();
        for (at, node) in self.whole.nodes.iter().enumerate() {
            let key = Key::Old(at);
            if !here.contains(&key) || group.contains(&key) {
                *going.entry(node.pool.as_deref().unwrap_or("")).or_insert(0) += 1;
            }
        }
        let over = going.iter().any(|(pool, count)| limits.get(*pool).is_some_and(|most| count > most));
        if over { Err(Kept::Limit) } else { Ok(()) }
    }

    /// What was launched on the way is never launched where it goes again. So the step that comes of it all is looked at, too:
    /// nodes that were there at first, and what would take their place in the end.
    fn no_detour(
        &self,
        group: &BTreeSet<Key>,
        placed: &[(Key, Vec<Mover>)],
        bought: &[(String, Held)],
    ) -> Result<(), Kept> {
        let touched = group.iter().chain(placed.iter().map(|(key, _)| key));
        let mut new: BTreeSet<Key> = touched.filter(|key| matches!(key, Key::New(_))).copied().collect();
        if new.is_empty() {
            return Ok(());
        }
        let mut old = BTreeSet::<usize>::new();
        loop {
            let known = (old.len(), new.len());
            for (from, to) in self.moves.values().filter(|(_, to)| matches!(to, Key::New(_))) {
                if new.contains(to) {
                    old.insert(*from);
                } else if old.contains(from) {
                    new.insert(*to);
                }
            }
            if known == (old.len(), new.len()) {
                break;
            }
        }
        let pool = |at: usize| self.whole.nodes[at].pool.as_deref().unwrap_or("");
        let first = old.into_iter().map(|at| (pool(at), &self.fleet.nodes[at]));
        let still = new.iter().filter(|key| !group.contains(key)).filter_map(|key| self.state.position(*key));
        let still = still.map(|at| (self.state.pool(at), &self.state.fleet.nodes[at]));
        let Case { mut removed, bought, .. } = self.case(group, bought, 0);
        removed.extend(first);
        Case { removed, bought: bought.into_iter().chain(still).collect(), pods: 0 }.like_for_like()
    }

    /// The nodes that go, as they are, and those that come, as they would be.
    fn case<'s>(&'s self, group: &BTreeSet<Key>, bought: &'s [(String, Held)], pods: usize) -> Case<'s> {
        let removed = group.iter().filter_map(|key| self.state.position(*key));
        Case {
            removed: removed.map(|at| (self.state.pool(at), &self.state.fleet.nodes[at])).collect(),
            bought: bought.iter().map(|(pool, held)| (pool.as_str(), held)).collect(),
            pods,
        }
    }

    /// Carries out proposals of one trial: all have room at the same time. In large clusters those that break a rule without the
    /// others of the trial are left out, as they are not looked at again. Returns whether there were any.
    fn accept_all(&mut self, mut pay: Vec<Proposal>) -> bool {
        pay.sort_by_cached_key(|proposal| (std::cmp::Reverse(proposal.gain), self.places(&proposal.removed)));
        let mut found = false;
        loop {
            let (before, mut later) = (pay.len(), Vec::new());
            for proposal in pay {
                // Each is within the limits by itself.
                if self.within_limits(&proposal.removed).is_err() {
                    continue;
                }
                match self.holds(&proposal) {
                    Ok(()) => {
                        self.accept(&proposal);
                        found = true;
                    }
                    Err(why) => later.push((proposal, why)),
                }
            }
            // What one does may be what another waits for.
            if later.is_empty() || later.len() == before {
                for (proposal, why) in later {
                    let broken = proposal.removed.iter().map(|key| (*key, Kept::Broken(why.clone())));
                    self.kept.extend(broken);
                }
                return found;
            }
            pay = later.into_iter().map(|(proposal, _)| proposal).collect();
        }
    }

    fn accept(&mut self, proposal: &Proposal) {
        let launches: Vec<(&NewNode, Vec<Mover>)> =
            proposal.launches.iter().map(|(new, movers)| (new, movers.clone())).collect();
        let before = self.went.len();
        let old = proposal.removed.iter().filter_map(|key| super::old(*key));
        self.went.extend(old.map(|at| (at, before)));
        let new = self.state.carry_out(&proposal.removed, &proposal.placed, &launches);
        let went = proposal.placed.iter().map(|(key, movers)| (*key, movers));
        let went = went.chain(new.into_iter().zip(proposal.launches.iter().map(|(_, movers)| movers)));
        for (to, movers) in went {
            for mover in movers {
                let from = match (self.moves.get(&mover.name), mover.from) {
                    (Some((from, _)), _) => *from,
                    (None, Key::Old(from)) => from,
                    (None, Key::New(_)) => continue,
                };
                self.moves.insert(mover.name.clone(), (from, to));
            }
        }
    }
}
