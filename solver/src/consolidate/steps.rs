//! Steps: what of a plan can be done by itself, and whether it pays.
//!
//! ```text
//! node removed ──its pods── new node ──its pods── node removed      one step: together it pays, or not at all
//! node removed ──its pods─▶ kept node ◀─its pods── node removed      two: there is room for the one without the other
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::Kept;
use super::fleet::{Aims, Held, SPOT};
use super::state::{Key, State};
use crate::money::Price;

/// A step, by nodes only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Draft {
    /// Positions in the problem that was handed in.
    pub(super) removes: BTreeSet<usize>,
    /// Launches, by number.
    pub(super) launches: BTreeSet<usize>,
}

/// Where every pod that has moved came from and is now.
pub(super) type Moves = BTreeMap<String, (usize, Key)>;

/// What belongs together, of things that are known by their numbers.
pub(super) struct Groups(Vec<usize>);

impl Groups {
    /// So many, each by itself.
    pub(super) fn of(count: usize) -> Self {
        Self((0..count).collect())
    }

    /// Two of them belong together. The smallest stands for all, so that the outcome depends on no order.
    pub(super) fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }

    fn root(&self, mut at: usize) -> usize {
        while self.0[at] != at {
            at = self.0[at];
        }
        at
    }

    /// All groups, by their smallest.
    pub(super) fn all(&self) -> Vec<Vec<usize>> {
        let mut out = BTreeMap::<usize, Vec<usize>>::new();
        (0..self.0.len()).for_each(|at| out.entry(self.root(at)).or_default().push(at));
        out.into_values().collect()
    }
}

/// The steps that lead from the nodes there were to a state.
pub(super) fn drafts(nodes: usize, state: &State, moves: &Moves) -> Vec<Draft> {
    let here: BTreeSet<Key> = state.keys.iter().copied().collect();
    let gone = (0..nodes).map(Key::Old).filter(|key| !here.contains(key));
    let members: BTreeSet<Key> =
        gone.chain(here.iter().filter(|key| matches!(key, Key::New(_))).copied()).collect();
    let members: Vec<Key> = members.into_iter().collect();
    let mut groups = Groups::of(members.len());
    for (from, to) in moves.values() {
        let (from, to) = (members.binary_search(&Key::Old(*from)), members.binary_search(to));
        if let (Ok(from), Ok(to)) = (from, to) {
            groups.join(from, to);
        }
    }
    let draft = |group: Vec<usize>| {
        let mut draft = Draft::default();
        for key in group.into_iter().map(|at| members[at]) {
            match key {
                Key::Old(at) => draft.removes.insert(at),
                Key::New(number) => draft.launches.insert(number),
            };
        }
        draft
    };
    groups.all().into_iter().map(draft).collect()
}

/// What it comes to when nodes go and others come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) removed: Price,
    pub(super) bought: Price,
    pub(super) saving: Price,
    pub(super) disruption: i64,
    /// What counts of that in the order of steps: old nodes go first.
    pub(super) rank: i64,
    /// Within how many seconds it has to pay; `None` for any time.
    pub(super) horizon: Option<u64>,
}

impl Account {
    /// What must be saved at least.
    pub(super) fn least(&self, aims: &Aims) -> Price {
        let share = i128::from(self.removed.micros()) * i128::from(aims.floor_share) / 1000;
        aims.floor.max(Price::from_micros(i64::try_from(share).unwrap_or(i64::MAX)))
    }

    /// After how many seconds it has paid.
    pub(super) fn payback(&self, aims: &Aims) -> u64 {
        aims.payback(self.disruption, self.bought, self.saving).unwrap_or(u64::MAX)
    }
}

/// Nodes that would go and nodes that would come, each with its pool.
pub(super) struct Case<'s> {
    pub(super) removed: Vec<(&'s str, &'s Held)>,
    pub(super) bought: Vec<(&'s str, &'s Held)>,
    /// How many pods move.
    pub(super) pods: usize,
}

impl Case<'_> {
    /// What it saves and disrupts.
    pub(super) fn account(&self, aims: &Aims) -> Account {
        let held = |all: &[(&str, &Held)]| all.iter().filter_map(|(_, held)| held.price).sum::<Price>();
        let of_all = |of: fn(&Held) -> i64| {
            self.removed.iter().fold(0_i64, |sum, (_, held)| sum.saturating_add(of(held)))
        };
        let (disruption, rank) = (of_all(Held::disruption), of_all(Held::rest_of_disruption));
        let (removed, bought) = (held(&self.removed), held(&self.bought));
        let quiet = self.removed.iter().map(|(_, held)| held.quiet).min().unwrap_or(0);
        let (saving, horizon) = (removed - bought, aims.horizon(quiet));
        Account { removed, bought, saving, disruption, rank, horizon }
    }

    /// Whether none that comes is the like of one that goes.
    pub(super) fn like_for_like(&self) -> Result<(), Kept> {
        let own: BTreeSet<_> = self.removed.iter().map(|(pool, held)| (*pool, &held.sold_as)).collect();
        let like = self.bought.iter().find(|(pool, held)| own.contains(&(*pool, &held.sold_as)));
        match like {
            Some((_, like)) => Err(Kept::LikeForLike { instance_type: like.sold_as.instance_type.clone() }),
            None => Ok(()),
        }
    }
}

/// The sums that savings and disruptions of a `NodePool` are held against, and what is aimed for.
pub(super) struct Court<'a> {
    pub(super) aims: &'a Aims,
    /// By pool: what its nodes cost, and what taking all of them away would disrupt.
    pub(super) sums: BTreeMap<String, (Price, i64)>,
}

impl<'a> Court<'a> {
    pub(super) fn of(state: &State, aims: &'a Aims) -> Self {
        let mut sums = BTreeMap::<String, (Price, i64)>::new();
        for (at, held) in state.fleet.nodes.iter().enumerate() {
            let sum = sums.entry(state.pool(at).to_owned()).or_default();
            sum.0 += held.price.unwrap_or(Price::ZERO);
            sum.1 = sum.1.saturating_add(held.disruption());
        }
        Self { aims, sums }
    }

    /// What it comes to, or why it does not pay.
    pub(super) fn judge(&self, case: &Case<'_>) -> Result<Account, Kept> {
        let account = case.account(self.aims);
        let Account { saving, disruption, .. } = account;
        // Nothing moves, and nothing is bought: there is nothing to pay for.
        if case.pods == 0 && case.bought.is_empty() {
            let least = self.aims.floor;
            return if saving > Price::ZERO { Ok(account) } else { Err(Kept::TooLittle { saving, least }) };
        }
        case.like_for_like()?;
        let least = account.least(self.aims);
        if saving <= Price::ZERO || saving < least {
            return Err(Kept::TooLittle { saving, least });
        }
        let seconds = account.payback(self.aims);
        if account.horizon.is_some_and(|most| seconds > most) {
            return Err(Kept::Payback { saving, disruption, seconds });
        }
        let spot = |held: &Held| held.sold_as.capacity_type == SPOT;
        if self.aims.spot_types.is_none()
            && case.removed.iter().all(|(_, held)| spot(held))
            && case.bought.iter().any(|(_, held)| spot(held))
        {
            return Err(Kept::SpotTypes { found: 0, least: 0 });
        }
        match self.score(case, saving, disruption).filter(|score| *score < i64::from(self.aims.balance)) {
            Some(score) => Err(Kept::Unbalanced { saving, score: u32::try_from(score).unwrap_or(0) }),
            None => Ok(account),
        }
    }

    /// The share saved over the share disrupted, in thousandths, where a pool wants that weighed.
    fn score(&self, case: &Case<'_>, saving: Price, disruption: i64) -> Option<i64> {
        if !case.removed.iter().any(|(_, held)| held.balanced) {
            return None;
        }
        let pools: BTreeSet<&str> = case.removed.iter().map(|(pool, _)| *pool).collect();
        let sums = pools.into_iter().filter_map(|pool| self.sums.get(pool));
        let (cost, whole) = sums.fold((0_i128, 0_i128), |sum, (cost, disruption)| {
            (sum.0 + i128::from(cost.micros()), sum.1 + i128::from(*disruption))
        });
        let above = i128::from(saving.micros()) * whole * 1000;
        let below = (cost * i128::from(disruption.max(1))).max(1);
        Some(i64::try_from(above / below).unwrap_or(i64::MAX))
    }

    /// Saving less what disruption is worth, in micro-dollars over the time that it may take to pay.
    pub(super) fn gain(&self, account: &Account) -> i128 {
        let seconds = account.horizon.map_or(24 * 3600, |seconds| seconds.max(1));
        i128::from(account.saving.micros()) * i128::from(seconds) / 3600
            - i128::from((self.aims.worth(account.disruption) + self.aims.outlay(account.bought)).micros())
    }
}
