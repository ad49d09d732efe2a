//! Steps: what of a plan can be done by itself, and whether it pays.
//!
//! ```text
//! node removed ──its pods── new node ──its pods── node removed      one step: together it pays, or not at all
//! node removed ──its pods─▶ kept node ◀─its pods── node removed      two: there is room for the one without the other
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::fleet::{Aims, Fleet, Held, SPOT};
use super::state::{Key, State};
use super::Kept;
use crate::money::Price;

/// A step, by nodes only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Draft {
    /// Positions in the problem that was handed in.
    pub(super) removes: BTreeSet<usize>,
    /// Launches, by number.
    pub(super) launches: BTreeSet<usize>,
    /// How many pods move.
    pub(super) pods: usize,
}

/// Where every pod that has moved came from and is now.
pub(super) type Moves = BTreeMap<String, (usize, Key)>;

/// The steps that lead from the nodes there were to a state.
pub(super) fn drafts(nodes: usize, state: &State, moves: &Moves) -> Vec<Draft> {
    let here: BTreeSet<Key> = state.keys.iter().copied().collect();
    let gone: Vec<usize> = (0..nodes).filter(|at| !here.contains(&Key::Old(*at))).collect();
    let mut parents: BTreeMap<Key, Key> = gone.iter().map(|at| (Key::Old(*at), Key::Old(*at))).collect();
    parents.extend(here.iter().filter(|key| matches!(key, Key::New(_))).map(|key| (*key, *key)));
    for (from, to) in moves.values() {
        let (from, to) = (Key::Old(*from), *to);
        if matches!(to, Key::New(_)) && parents.contains_key(&from) && parents.contains_key(&to) {
            let (a, b) = (root(&parents, from), root(&parents, to));
            // The smaller is the root, so that the outcome depends on no order.
            parents.insert(a.max(b), a.min(b));
        }
    }
    let mut out = BTreeMap::<Key, Draft>::new();
    for key in parents.keys() {
        let draft = out.entry(root(&parents, *key)).or_default();
        match key {
            Key::Old(at) => draft.removes.insert(*at),
            Key::New(number) => draft.launches.insert(*number),
        };
    }
    for (from, _) in moves.values() {
        if let Some(draft) = parents.get(&Key::Old(*from)).and_then(|_| out.get_mut(&root(&parents, Key::Old(*from)))) {
            draft.pods += 1;
        }
    }
    out.into_values().collect()
}

fn root(parents: &BTreeMap<Key, Key>, mut key: Key) -> Key {
    while let Some(parent) = parents.get(&key).filter(|parent| **parent != key) {
        key = *parent;
    }
    key
}

/// What a step comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) removed: Price,
    pub(super) saving: Price,
    pub(super) disruption: i64,
}

/// The sums that savings and disruptions of a `NodePool` are held against.
#[derive(Clone, Debug, Default)]
pub(super) struct PoolSums(BTreeMap<String, (Price, i64)>);

impl PoolSums {
    pub(super) fn of(state: &State) -> Self {
        let mut sums = BTreeMap::<String, (Price, i64)>::new();
        for (at, held) in state.fleet.nodes.iter().enumerate() {
            let sum = sums.entry(state.pool(at).to_owned()).or_default();
            sum.0 += held.price.unwrap_or(Price::ZERO);
            sum.1 = sum.1.saturating_add(held.disruption());
        }
        Self(sums)
    }
}

/// What stands as it was handed in, for judging what is done to it.
pub(super) struct Court<'a> {
    pub(super) fleet: &'a Fleet,
    /// By node: its pool.
    pub(super) pools: Vec<String>,
    pub(super) sums: PoolSums,
    pub(super) aims: &'a Aims,
}

impl Court<'_> {
    /// What a step saves and disrupts.
    pub(super) fn account(&self, draft: &Draft, state: &State) -> Account {
        let removed: Price = draft.removes.iter().filter_map(|at| self.fleet.nodes[*at].price).sum();
        let bought: Price = self.launched(draft, state).filter_map(|held| held.price).sum();
        let disruption = draft.removes.iter().fold(0_i64, |sum, at| sum.saturating_add(self.fleet.nodes[*at].disruption()));
        Account { removed, saving: removed - bought, disruption }
    }

    fn launched<'s>(&self, draft: &'s Draft, state: &'s State) -> impl Iterator<Item = &'s Held> + 's {
        draft.launches.iter().filter_map(|number| state.position(Key::New(*number))).map(|at| &state.fleet.nodes[at])
    }

    /// Why a step does not pay, if it does not.
    pub(super) fn refuses(&self, draft: &Draft, state: &State) -> Option<Kept> {
        let Account { removed, saving, disruption } = self.account(draft, state);
        // Nothing moves, and nothing is bought: there is nothing to pay for.
        if draft.pods == 0 && draft.launches.is_empty() {
            return (saving <= Price::ZERO).then_some(Kept::TooLittle { saving, least: self.aims.floor });
        }
        let share = i128::from(removed.micros()) * i128::from(self.aims.floor_share) / 1000;
        let least = self.aims.floor.max(Price::from_micros(i64::try_from(share).unwrap_or(i64::MAX)));
        if saving <= Price::ZERO || saving < least {
            return Some(Kept::TooLittle { saving, least });
        }
        let own: BTreeSet<_> = draft.removes.iter().map(|at| (&self.pools[*at], &self.fleet.nodes[*at].sold_as)).collect();
        for number in &draft.launches {
            let Some(at) = state.position(Key::New(*number)) else { continue };
            let pool = state.pool(at).to_owned();
            if own.contains(&(&pool, &state.fleet.nodes[at].sold_as)) {
                return Some(Kept::LikeForLike { instance_type: state.fleet.nodes[at].sold_as.instance_type.clone() });
            }
        }
        let payback = self.aims.payback(disruption, saving).unwrap_or(u64::MAX);
        if self.aims.payback.is_some_and(|most| payback > most) {
            return Some(Kept::Payback { saving, disruption, seconds: payback });
        }
        let spot = |held: &Held| held.sold_as.capacity_type == SPOT;
        let all_spot = draft.removes.iter().all(|at| spot(&self.fleet.nodes[*at]));
        if all_spot && self.aims.spot_types.is_none() && self.launched(draft, state).any(spot) {
            return Some(Kept::SpotTypes { found: 0, least: 0 });
        }
        self.score(draft, saving, disruption).filter(|score| *score < i64::from(self.aims.balance)).map(|score| {
            Kept::Unbalanced { saving, score: u32::try_from(score).unwrap_or(0) }
        })
    }

    /// The share saved over the share disrupted, in thousandths, where a pool of the step wants that weighed.
    fn score(&self, draft: &Draft, saving: Price, disruption: i64) -> Option<i64> {
        if !draft.removes.iter().any(|at| self.fleet.nodes[*at].balanced) {
            return None;
        }
        let pools: BTreeSet<&String> = draft.removes.iter().map(|at| &self.pools[*at]).collect();
        let sums = pools.into_iter().filter_map(|pool| self.sums.0.get(pool));
        let (cost, whole) = sums.fold((0_i128, 0_i128), |sum, (cost, disruption)| {
            (sum.0 + i128::from(cost.micros()), sum.1 + i128::from(*disruption))
        });
        let above = i128::from(saving.micros()) * whole * 1000;
        let below = (cost * i128::from(disruption.max(1))).max(1);
        Some(i64::try_from(above / below).unwrap_or(i64::MAX))
    }
}
