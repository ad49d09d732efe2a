//! What a node with some pods could still be launched as: asked before each pod, so it is never written down.
//!
//! A node's load and what its pods look at say which rows are left. Rows stand biggest first, and looking stops once there are
//! enough values: after a few rows for most nodes, and only for nodes near the size of the biggest after all of them.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeSet, HashSet};

use super::{Choice, Demand, Found, Places, sold_with};
use crate::arrangement::Pods;
use crate::model::{Model, copies};
use crate::problem::MinValues;
use crate::solution::Relaxed;

/// What a node with some pods could still be launched as.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    variant: u32,
    row: u32,
    place: u8,
    /// What its pods look at, where that rules anything out: their node constraints, and what they are tied to.
    narrowed: Vec<(u32, u32)>,
    load: Vec<i64>,
    /// By demand: how many values must be left.
    floor: Found,
    /// How many rows were looked at, for the step budget.
    looks: Cell<u64>,
}

impl Kept {
    /// Rows looked at since this was last asked.
    pub(crate) fn looks(&self) -> u64 {
        self.looks.take()
    }
}

/// Values that were found, by demand.
struct Seen {
    values: Vec<Vec<bool>>,
    found: Found,
}

impl Seen {
    fn of(choice: &Choice) -> Self {
        let values = choice.demands.iter().map(|d| vec![false; d.values]).collect();
        Self { values, found: vec![0; choice.demands.len()] }
    }

    /// Counts what a row has in some places.
    fn add(&mut self, choice: &Choice, row: usize, places: Places) {
        let demands = choice.demands.iter().zip(&mut self.values).zip(&mut self.found);
        for ((demand, seen), found) in demands {
            for (value, there) in &demand.of_row[row] {
                if places & there != 0 && !std::mem::replace(&mut seen[*value as usize], true) {
                    *found += 1;
                }
            }
        }
    }

    fn reaches(&self, floor: &[u32]) -> bool {
        self.found.iter().zip(floor).all(|(found, floor)| found >= floor)
    }
}

impl Choice {
    /// Whether any of its demands may be relaxed.
    pub(super) fn relaxes(&self) -> bool {
        self.demands.iter().any(|demand| demand.relax)
    }

    /// The rows that hold so much, in places that pods who look at this leave.
    fn rows<'c>(
        &'c self,
        kept: &'c Kept,
        narrowed: &'c [(u32, u32)],
        load: &'c [i64],
    ) -> impl Iterator<Item = (usize, Places)> + 'c {
        let own = (kept.row, kept.place);
        (0..self.sold.len()).filter_map(move |row| {
            kept.looks.set(kept.looks.get() + 1);
            if load.iter().zip(self.room(row)).any(|(need, have)| *need > 0 && need > have) {
                return None;
            }
            let places = narrowed.iter().fold(self.sold[row], |p, by| self.narrow(*by, own, row, p));
            (places != 0).then_some((row, places))
        })
    }

    /// Whether the rows that hold so much have enough values: the first of them mostly do.
    fn reaches(&self, kept: &Kept, narrowed: &[(u32, u32)], load: &[i64], floor: &[u32]) -> bool {
        let mut seen = Seen::of(self);
        seen.reaches(floor)
            || self.rows(kept, narrowed, load).any(|(row, places)| {
                seen.add(self, row, places);
                seen.reaches(floor)
            })
    }

    /// Whether there are as many values left as must be.
    pub(super) fn is_enough(&self, kept: &Kept) -> bool {
        self.reaches(kept, &kept.narrowed, &kept.load, &kept.floor)
    }

    /// How many values of each demand are left.
    pub(super) fn found(&self, kept: &Kept) -> Found {
        let mut seen = Seen::of(self);
        for (row, places) in self.rows(kept, &kept.narrowed, &kept.load) {
            seen.add(self, row, places);
        }
        seen.found
    }
}

impl Model<'_> {
    /// What an empty node of a kind could be launched as; `None` where its pool does not ask.
    pub(crate) fn keep(&self, kind: u32) -> Option<Kept> {
        let of_kind = &self.kinds.kinds[kind as usize];
        let choice = self.variety.choice(of_kind)?;
        let (row, place) = self.variety.seats[kind as usize];
        Some(Kept {
            variant: of_kind.variant,
            row,
            // What has no place passes no gate.
            place: place.unwrap_or(0),
            narrowed: Vec::new(),
            load: vec![0; self.kinds.dims.len()],
            floor: choice.demands.iter().map(|d| d.least).collect(),
            looks: Cell::new(0),
        })
    }

    /// The same with pods on it.
    pub(crate) fn keep_with(&self, kind: u32, pods: impl IntoIterator<Item = (u32, u32)>) -> Option<Kept> {
        let mut kept = self.keep(kind)?;
        for (class, count) in pods {
            self.join(&mut kept, class, count);
        }
        Some(kept)
    }

    /// The same with pods that lower no floor.
    pub(super) fn held(&self, mut kept: Kept, pods: &Pods) -> Kept {
        for (class, count) in pods {
            self.narrow(&mut kept, *class, *count);
        }
        kept
    }

    /// Whether the choice is wide enough for a node of a kind that holds these pods (classes or teams).
    pub(crate) fn is_varied(&self, kind: u32, pods: impl IntoIterator<Item = (u32, u32)>) -> bool {
        let Some(kept) = self.keep_with(kind, pods) else { return true };
        self.choice_of(&kept).is_none_or(|choice| choice.is_enough(&kept))
    }

    fn choice_of(&self, kept: &Kept) -> Option<&Choice> {
        self.variety.choices[kept.variant as usize].as_ref()
    }

    /// Pods of a class, or of a team, come to a node.
    pub(crate) fn join(&self, kept: &mut Kept, class: u32, count: u32) {
        if let Cow::Owned(floor) = self.floor_with(kept, class) {
            kept.floor = floor;
        }
        self.narrow(kept, class, count);
    }

    fn narrow(&self, kept: &mut Kept, class: u32, count: u32) {
        for (load, need) in kept.load.iter_mut().zip(&self.requests[class as usize]) {
            *load = load.saturating_add(need.saturating_mul(i64::from(count)));
        }
        if let Cow::Owned(narrowed) = self.narrowed_with(kept, class) {
            kept.narrowed = narrowed;
        }
    }

    /// What the pods of a node look at once one of a class has come.
    fn narrowed_with<'k>(&self, kept: &'k Kept, class: u32) -> Cow<'k, [(u32, u32)]> {
        let mut narrowed = Cow::Borrowed(kept.narrowed.as_slice());
        let Some(choice) = self.choice_of(kept) else { return narrowed };
        for (member, _) in self.members(class) {
            let by = self.variety.of_class[member as usize];
            if !narrowed.contains(&by) && choice.narrows(by, kept.place) {
                narrowed.to_mut().push(by);
            }
        }
        narrowed
    }

    /// How many values must be left once a pod of a class has come.
    fn floor_with<'k>(&self, kept: &'k Kept, class: u32) -> Cow<'k, [u32]> {
        let Some(choice) = self.choice_of(kept).filter(|choice| choice.relaxes()) else {
            return Cow::Borrowed(&kept.floor);
        };
        let key = self.alone_key(choice, kept.variant, (kept.row, kept.place), &self.members(class));
        let alone = self.variety.alone.get(class as usize).and_then(|alone| alone.get(&key));
        let floor = kept.floor.iter().zip(&choice.demands).enumerate();
        let lower = |(at, (floor, demand)): (usize, (&u32, &Demand))| match alone {
            Some(alone) if demand.relax => alone[at].min(*floor),
            _ => *floor,
        };
        floor.map(lower).collect()
    }

    /// How many pods of a class may come to a node, `wanted` at most.
    pub(crate) fn most_varied(&self, kept: &Kept, class: u32, wanted: u32) -> u32 {
        let Some(choice) = self.choice_of(kept) else { return wanted };
        let need = &self.requests[class as usize];
        let floor = self.floor_with(kept, class);
        let narrowed = self.narrowed_with(kept, class);
        let with = |count: u32| -> Vec<i64> {
            let of_pods = need.iter().zip(&kept.load);
            of_pods.map(|(need, load)| load.saturating_add(need.saturating_mul(i64::from(count)))).collect()
        };
        if choice.reaches(kept, &narrowed, &with(wanted), &floor) {
            return wanted;
        }
        // Of each value the most pods that fit, of those the number that must be left.
        let mut best: Vec<Vec<u32>> = choice.demands.iter().map(|d| vec![0; d.values]).collect();
        let mut room = vec![0; kept.load.len()];
        for (row, places) in choice.rows(kept, &narrowed, &with(1)) {
            for ((left, have), load) in room.iter_mut().zip(choice.room(row)).zip(&kept.load) {
                *left = have - load;
            }
            let fits = copies(need, &room);
            for (best, demand) in best.iter_mut().zip(&choice.demands) {
                for (value, there) in &demand.of_row[row] {
                    if places & there != 0 {
                        best[*value as usize] = best[*value as usize].max(fits);
                    }
                }
            }
        }
        let most = |(mut best, floor): (Vec<u32>, &u32)| match (*floor as usize).checked_sub(1) {
            None => u32::MAX,
            Some(at) if at >= best.len() => 0,
            Some(at) => *best.select_nth_unstable_by(at, |a, b| b.cmp(a)).1,
        };
        best.into_iter().zip(floor.iter()).map(most).min().unwrap_or(u32::MAX).min(wanted)
    }

    /// What is lacking of its pool's `minValues` where a node could be launched as any of `kinds`.
    pub(crate) fn lacking(&self, own: u32, kinds: &[u32]) -> Vec<Relaxed> {
        let pool = &self.problem.pools[self.kinds.kinds[own as usize].pool.index()];
        let short = |demand: &MinValues| {
            let values = kinds.iter().flat_map(|at| self.counted(*at, &demand.key));
            let found = values.collect::<HashSet<&str>>().len() as u32;
            let short = Relaxed { key: demand.key.clone(), least: demand.least, found };
            (found < demand.least).then_some(short)
        };
        pool.min_values.iter().filter_map(short).collect()
    }

    /// What a pod of a class lacks of a pool's `minValues` all alone on a node of one of `kinds`, room and labels being
    /// right: the least that any leaves lacking.
    pub(crate) fn too_narrow(&self, class: usize, kinds: &[usize]) -> Option<Relaxed> {
        let mut seen = HashSet::new();
        let lacking = kinds.iter().filter_map(|at| {
            let of_kind = &self.kinds.kinds[*at];
            let choice = self.variety.choice(of_kind)?;
            // Kinds of one place leave the same, but for ties to labels of types.
            if !seen.insert((of_kind.variant, self.variety.seats[*at].1)) {
                return None;
            }
            let left = choice.found(&self.held(self.keep(*at as u32)?, &vec![(class as u32, 1)]));
            let demands = self.problem.pools[of_kind.pool.index()].min_values.iter().zip(left);
            let mut short = demands.filter(|(demand, found)| !demand.relax && *found < demand.least);
            let (demand, found) = short.next()?;
            Some(Relaxed { key: demand.key.clone(), least: demand.least, found })
        });
        lacking.max_by_key(|lacking| lacking.found)
    }

    /// The values of a label that a kind counts with.
    fn counted(&self, kind: u32, key: &str) -> BTreeSet<&str> {
        let kind = &self.kinds.kinds[kind as usize];
        let sold = sold_with(&self.problem.types[kind.instance_type.index()], key);
        if sold.is_empty() { self.kinds.label(kind, key).into_iter().collect() } else { sold }
    }

    /// Of kinds that could take a node's place, the first of each value that its pool's `minValues` still lack.
    pub(crate) fn varied_by(&self, own: u32, others: &[u32]) -> Vec<u32> {
        let kind = &self.kinds.kinds[own as usize];
        let mut out = BTreeSet::new();
        for demand in &self.problem.pools[kind.pool.index()].min_values {
            let mut seen: HashSet<&str> = self.counted(own, &demand.key).into_iter().collect();
            for other in others {
                if seen.len() >= demand.least as usize {
                    break;
                }
                let before = seen.len();
                seen.extend(self.counted(*other, &demand.key));
                if seen.len() > before {
                    out.insert(*other);
                }
            }
        }
        out.into_iter().collect()
    }
}
