//! `minValues`: how wide the choice of what to launch a node as must stay.
//!
//! A `NodePool` may ask that whatever its nodes could be launched as, their pods being what they are, comes in at least so
//! many values of a label: fifteen instance types, three families. That is a rule about a node's *contents*: each pod that
//! joins rules types out, by its size, by its node constraints, or because it must stay in a zone. So packing asks before
//! each pod, for nodes of such pools only.
//!
//! ```text
//! variant ─▶ rows (type and its DaemonSets) × places (zone, capacity type, …), a row's places one bit each
//! pod joins ─▶ places & its node constraints & places like the node's own; rows with too little room go
//! ```
//!
//! Labels of offerings (zone, capacity type) count as Karpenter counts them: for each type that is left, all the values with
//! which it is sold, wherever the node itself must be. A pod that insists on a zone leaves as many zones as its types have.
//!
//! # Invariants
//! - What counts is what [`crate::alternatives`] finds before it looks at `NodePool` limits: those change with every node.
//! - A pod that would leave too few values all alone may not use the kind at all (policy `Strict`). Where the rule may be
//!   relaxed (`BestEffort`), the least that any pod of the node would leave alone is enough for the node.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use fixedbitset::FixedBitSet;

use crate::alternatives::Ties;
use crate::arrangement::Pods;
use crate::class::Classes;
use crate::kind::{Kind, Kinds};
use crate::model::{Model, copies};
use crate::problem::{InstanceType, MinValues, NodeConstraint, PodSpec, Problem};
use crate::solution::Relaxed;

/// Some places, one bit each.
type Places = u128;
/// Places that are told apart. What is sold beyond them does not count as a choice, and is not bought.
const MOST_PLACES: usize = 128;

/// How many values each `minValues` finds, in the order in which the `NodePool` states them.
type Found = Vec<u32>;

/// What the `minValues` of all `NodePool`s come to. Empty where none has any.
#[derive(Default)]
pub(crate) struct Variety {
    /// By variant; `None` where its pool asks for nothing.
    choices: Vec<Option<Choice>>,
    /// By kind: its row and its place.
    seats: Vec<(u32, Option<u8>)>,
    /// By class: its node constraints, and what it is tied to, as numbers.
    of_class: Vec<(u32, u32)>,
    /// By class and team, where the rule may be relaxed: what one pod alone leaves, by variant, places, and what its row is
    /// tied to.
    alone: Vec<HashMap<(u32, Places, u32), Found>>,
}

/// What nodes of one variant could be launched as.
struct Choice {
    /// By row: the room.
    rooms: Vec<Vec<i64>>,
    /// By row: where it is sold.
    sold: Vec<Places>,
    demands: Vec<Demand>,
    /// By distinct node constraints, by row: the places that they let in.
    doors: Vec<Vec<Places>>,
    ties: Vec<Tie>,
}

struct Demand {
    least: u32,
    relax: bool,
    /// By row: its values, each with the places where it has it.
    of_row: Vec<Vec<(u32, Places)>>,
    /// Number of distinct values.
    values: usize,
}

/// Labels whose values a node must keep.
struct Tie {
    /// By place: the places that are like it.
    alike: Vec<Places>,
    /// By row: its values of labels that types have, as one number.
    of_row: Vec<u32>,
}

/// What a node with some pods could still be launched as.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    variant: u32,
    row: u32,
    place: u8,
    /// Rows that have room, and where.
    rows: Vec<(u32, Places)>,
    load: Vec<i64>,
    /// By demand: how many values must be left.
    floor: Found,
}

impl Variety {
    pub(crate) fn of(
        problem: &Problem,
        kinds: &mut Kinds<'_>,
        classes: &Classes<'_>,
        gates: &[FixedBitSet],
        gate_of: &[u32],
    ) -> Self {
        if problem.pools.iter().all(|pool| pool.min_values.is_empty()) {
            return Self::default();
        }
        let ties = Ties::of(problem, classes);
        let tied: Vec<BTreeSet<&str>> = classes.classes.iter().map(|class| ties.of_class(class)).collect();
        let distinct: Vec<&BTreeSet<&str>> = tied.iter().collect::<BTreeSet<_>>().into_iter().collect();
        let tie_of = tied.iter().map(|set| distinct.binary_search(&set).map_or(0, |at| at as u32));
        let of_class = gate_of.iter().copied().zip(tie_of).collect();
        let specs = classes.classes.iter().map(|class| &problem.specs[class.spec.index()]);
        let (seats, number) = seats(problem, kinds, &looked_at(problem, &ties, specs));
        let mut choices: Vec<Option<Choice>> = kinds.variants.iter().map(|_| None).collect();
        for (variant, choice) in choices.iter_mut().enumerate() {
            let demands = &problem.pools[kinds.variants[variant].pool.index()].min_values;
            if !demands.is_empty() {
                let types = &problem.types;
                *choice = Some(Choice::of(
                    kinds,
                    types,
                    variant as u32,
                    demands,
                    (&seats, number),
                    gates,
                    &distinct,
                ));
            }
        }
        Self { choices, seats, of_class, alone: Vec::new() }
    }

    fn choice(&self, kind: &Kind) -> Option<&Choice> {
        self.choices.get(kind.variant as usize)?.as_ref()
    }

    /// What rules tie pods of a class to, as a number: pods of one lot have it in common.
    pub(crate) fn tie_of(&self, class: usize) -> u32 {
        self.of_class.get(class).map_or(0, |(_, tie)| *tie)
    }

    /// Forgets all teams.
    pub(crate) fn disband(&mut self, classes: usize) {
        self.alone.truncate(classes);
    }

    /// Whether a pool's `minValues` say anything about nodes of a kind.
    pub(crate) fn concerns(&self, kind: &Kind) -> bool {
        self.choice(kind).is_some()
    }
}

impl Choice {
    fn of(
        kinds: &mut Kinds<'_>,
        types: &[InstanceType],
        variant: u32,
        demands: &[MinValues],
        (seats, places): (&[(u32, Option<u8>)], usize),
        gates: &[FixedBitSet],
        ties: &[&BTreeSet<&str>],
    ) -> Self {
        let here: Vec<(usize, u32, u8)> = (0..kinds.kinds.len())
            .filter(|at| kinds.kinds[*at].variant == variant)
            .filter_map(|at| Some((at, seats[at].0, seats[at].1?)))
            .collect();
        let number = here.iter().map(|(_, row, _)| *row as usize + 1).max().unwrap_or(0);
        let mut this = Self {
            rooms: vec![Vec::new(); number],
            sold: vec![0; number],
            demands: Vec::new(),
            doors: vec![vec![0; number]; gates.len()],
            ties: Vec::new(),
        };
        for &(at, row, place) in &here {
            let room = &kinds.shapes[kinds.kinds[at].shape as usize].room;
            this.rooms[row as usize].clone_from(room);
            this.sold[row as usize] |= 1 << place;
            for (door, gate) in this.doors.iter_mut().zip(gates) {
                door[row as usize] |= Places::from(gate.contains(at)) << place;
            }
        }
        for demand in demands {
            let mut of_row = vec![BTreeMap::<u32, Places>::new(); number];
            let mut sold = BTreeMap::<&str, u32>::new();
            for &(at, row, _) in &here {
                for value in sold_with(&types[kinds.kinds[at].instance_type.index()], &demand.key) {
                    let next = sold.len() as u32;
                    of_row[row as usize].insert(*sold.entry(value).or_insert(next), Places::MAX);
                }
            }
            let mut values = sold.len();
            if sold.is_empty() {
                let (known, of_kind) = kinds.values_of(&demand.key);
                for &(at, row, place) in here.iter().filter(|(at, ..)| of_kind[*at] > 0) {
                    *of_row[row as usize].entry(of_kind[at] - 1).or_insert(0) |= 1 << place;
                }
                values = known.len();
            }
            let of_row = of_row.into_iter().map(|values| values.into_iter().collect()).collect();
            this.demands.push(Demand { least: demand.least, relax: demand.relax, of_row, values });
        }
        for labels in ties {
            let columns: Vec<Vec<u32>> =
                labels.iter().map(|label| kinds.values_of(label).1.to_vec()).collect();
            this.ties.push(Tie::of(&here, &columns, number, places));
        }
        this
    }

    /// What pods leave of rows.
    fn narrow(&self, (door, tie): (u32, u32), own: (u32, u8), row: u32, places: Places) -> Places {
        let tie = &self.ties[tie as usize];
        if tie.of_row[row as usize] == tie.of_row[own.0 as usize] {
            places & self.doors[door as usize][row as usize] & tie.alike[own.1 as usize]
        } else {
            0
        }
    }

    /// How many values of each demand some rows have.
    fn found(&self, rows: &[(u32, Places)]) -> Found {
        let count = |demand: &Demand| {
            let mut seen = vec![false; demand.values];
            for (row, places) in rows {
                for (value, there) in &demand.of_row[*row as usize] {
                    seen[*value as usize] |= places & there != 0;
                }
            }
            seen.into_iter().filter(|seen| *seen).count() as u32
        };
        self.demands.iter().map(count).collect()
    }
}

/// The values that a label has where a type is sold, if offerings have it.
fn sold_with<'t>(of_type: &'t InstanceType, key: &str) -> BTreeSet<&'t str> {
    of_type.offerings.iter().filter_map(|offering| offering.labels.get(key)).map(String::as_str).collect()
}

impl Tie {
    fn of(here: &[(usize, u32, u8)], columns: &[Vec<u32>], rows: usize, places: usize) -> Self {
        let mut alike = vec![Places::MAX; places];
        let mut keys: Vec<Vec<u32>> = vec![Vec::new(); rows];
        for column in columns {
            // What a place says of a label, if all that is sold there says the same.
            let mut by_place: Vec<Option<u32>> = vec![None; places];
            let mut uniform = true;
            for (at, _, place) in here {
                let known = by_place[*place as usize].get_or_insert(column[*at]);
                uniform &= *known == column[*at];
            }
            if uniform {
                for (own, alike) in alike.iter_mut().enumerate() {
                    let same = by_place.iter().enumerate().filter(|(_, other)| **other == by_place[own]);
                    *alike &= same.fold(0, |set, (place, _)| set | 1 << place);
                }
            } else {
                for (at, row, _) in here {
                    let key = &mut keys[*row as usize];
                    if key.last() != Some(&column[*at]) {
                        key.push(column[*at]);
                    }
                }
                for key in &mut keys {
                    key.push(u32::MAX);
                }
            }
        }
        let mut ids = HashMap::<Vec<u32>, u32>::new();
        let mut number = |key| {
            let next = ids.len() as u32;
            *ids.entry(key).or_insert(next)
        };
        Self { alike, of_row: keys.into_iter().map(&mut number).collect() }
    }
}

/// Labels by which places are told apart: those that some rule or node constraint looks at, or some `minValues`.
fn looked_at<'p>(
    problem: &'p Problem,
    ties: &Ties<'p>,
    specs: impl Iterator<Item = &'p PodSpec>,
) -> BTreeSet<&'p str> {
    let of_constraint = |c: &'p NodeConstraint| c.any_of.iter().flatten().map(|r| r.key.as_str());
    let demands = problem.pools.iter().flat_map(|pool| &pool.min_values).map(|d| d.key.as_str());
    let constrained = specs.flat_map(|spec| spec.node.iter().flat_map(of_constraint));
    ties.labels().into_iter().chain(demands).chain(constrained).collect()
}

/// The row and place of each kind, and how many places there are. Kinds of one variant with one shape share a row.
fn seats(problem: &Problem, kinds: &Kinds<'_>, labels: &BTreeSet<&str>) -> (Vec<(u32, Option<u8>)>, usize) {
    let mut places = HashMap::<Vec<Option<&String>>, usize>::new();
    let mut rows = HashMap::<(u32, u32), u32>::new();
    let mut in_variant = HashMap::<u32, u32>::new();
    let seat = |kind: &Kind| {
        let offering = &problem.types[kind.instance_type.index()].offerings[kind.offering as usize];
        let place: Vec<Option<&String>> = labels.iter().map(|label| offering.labels.get(*label)).collect();
        let next = places.len();
        let place = match places.get(&place) {
            Some(known) => Some(*known),
            None if next < MOST_PLACES => {
                places.insert(place, next);
                Some(next)
            }
            None => None,
        };
        let row = *rows.entry((kind.variant, kind.shape)).or_insert_with(|| {
            let next = in_variant.entry(kind.variant).or_insert(0);
            *next += 1;
            *next - 1
        });
        (row, place.map(|place| place as u8))
    };
    let seats = kinds.kinds.iter().map(seat).collect();
    (seats, places.len())
}

impl Model<'_> {
    /// Takes the kinds from each class's gate on which one of its pods alone would leave too few values.
    pub(crate) fn narrow_gates(&mut self) {
        if self.variety.choices.is_empty() {
            return;
        }
        let mut ids = HashMap::new();
        for class in 0..self.classes.classes.len() {
            let gate = self.gate_of[class];
            let (kinds, alone) = self.wide_enough(&vec![(class as u32, 1)], gate);
            self.variety.alone.push(alone);
            if kinds == self.gates[gate as usize] {
                continue;
            }
            let next = self.gates.len() as u32;
            let id = *ids.entry((gate, kinds)).or_insert_with_key(|(gate, kinds)| {
                self.gates.push(kinds.clone());
                self.gate_specs.push(self.gate_specs[*gate as usize].clone());
                next
            });
            self.gate_of[class] = id;
        }
    }

    /// The same for a team that was just made.
    pub(crate) fn narrow_team(&mut self, team: u32) {
        if self.variety.choices.is_empty() {
            return;
        }
        let gate = self.gate_of[team as usize];
        let (kinds, alone) = self.wide_enough(&vec![(team, 1)], gate);
        self.gates[gate as usize] = kinds;
        self.variety.alone.push(alone);
    }

    /// Of a gate, the kinds that leave enough values with these pods; and where that may be relaxed, how many those pods
    /// leave.
    pub(crate) fn wide_enough(
        &self,
        pods: &Pods,
        gate: u32,
    ) -> (FixedBitSet, HashMap<(u32, Places, u32), Found>) {
        let mut known = HashMap::<(u32, Places, u32), (bool, Found)>::new();
        let mut kinds = self.gates[gate as usize].clone();
        for at in self.gates[gate as usize].ones() {
            let kind = &self.kinds.kinds[at];
            let Some(choice) = self.variety.choice(kind) else { continue };
            let verdict = self.variety.seats[at].1.map(|place| {
                let key = self.alone_key(choice, kind.variant, (self.variety.seats[at].0, place), pods);
                known.entry(key).or_insert_with(|| {
                    let found = self.keep(at as u32).map(|kept| self.held(kept, pods)).unwrap_or_default();
                    let found = choice.found(&found);
                    let enough = |(d, found): (&Demand, &u32)| d.relax || *found >= d.least;
                    (choice.demands.iter().zip(&found).all(enough), found)
                })
            });
            kinds.set(at, verdict.is_some_and(|(enough, _)| *enough));
        }
        let relaxed = |(variant, ..): &(u32, Places, u32)| {
            let choice = self.variety.choices[*variant as usize].as_ref();
            choice.is_some_and(|choice| choice.demands.iter().any(|d| d.relax))
        };
        let alone = known.into_iter().filter(|(key, _)| relaxed(key)).map(|(key, (_, found))| (key, found));
        (kinds, alone.collect())
    }

    /// What decides how many values pods alone leave on a kind, beside the pods.
    fn alone_key(&self, choice: &Choice, variant: u32, own: (u32, u8), pods: &Pods) -> (u32, Places, u32) {
        let members = pods.iter().flat_map(|(class, _)| self.members(*class));
        let ties = members.map(|(class, _)| &choice.ties[self.variety.tie_of(class as usize) as usize]);
        let mut tied = false;
        let places = ties.fold(Places::MAX, |places, tie| {
            tied |= tie.of_row.iter().any(|value| *value != tie.of_row[0]);
            places & tie.alike[own.1 as usize]
        });
        (variant, places, if tied { own.0 } else { u32::MAX })
    }

    fn held(&self, mut kept: Kept, pods: &Pods) -> Vec<(u32, Places)> {
        for (class, count) in pods {
            self.narrow(&mut kept, *class, *count);
        }
        kept.rows
    }

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
            rows: choice.sold.iter().enumerate().map(|(row, places)| (row as u32, *places)).collect(),
            load: vec![0; self.kinds.dims.len()],
            floor: choice.demands.iter().map(|d| d.least).collect(),
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

    /// Whether the choice is wide enough for a node of a kind that holds these pods (classes or teams).
    pub(crate) fn is_varied(&self, kind: u32, pods: impl IntoIterator<Item = (u32, u32)>) -> bool {
        let Some(kept) = self.keep_with(kind, pods) else { return true };
        let Some(choice) = self.choice_of(&kept) else { return true };
        choice.found(&kept.rows).iter().zip(&kept.floor).all(|(found, floor)| found >= floor)
    }

    fn choice_of(&self, kept: &Kept) -> Option<&Choice> {
        self.variety.choices[kept.variant as usize].as_ref()
    }

    /// Pods of a class, or of a team, come to a node.
    pub(crate) fn join(&self, kept: &mut Kept, class: u32, count: u32) {
        kept.floor = self.floor_with(kept, class);
        self.narrow(kept, class, count);
    }

    fn narrow(&self, kept: &mut Kept, class: u32, count: u32) {
        let Some(choice) = self.choice_of(kept) else { return };
        for (load, need) in kept.load.iter_mut().zip(&self.requests[class as usize]) {
            *load = load.saturating_add(need.saturating_mul(i64::from(count)));
        }
        let members = self.members(class);
        let own = (kept.row, kept.place);
        let load = &kept.load;
        kept.rows.retain_mut(|(row, places)| {
            for (member, _) in &members {
                *places = choice.narrow(self.variety.of_class[*member as usize], own, *row, *places);
            }
            let room = &choice.rooms[*row as usize];
            *places != 0 && load.iter().zip(room).all(|(need, have)| *need == 0 || need <= have)
        });
    }

    /// How many values must be left once a pod of a class has come.
    fn floor_with(&self, kept: &Kept, class: u32) -> Found {
        let Some(choice) = self.choice_of(kept) else { return Vec::new() };
        if choice.demands.iter().all(|demand| !demand.relax) {
            return kept.floor.clone();
        }
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
        let members = self.members(class);
        let own = (kept.row, kept.place);
        let floor = self.floor_with(kept, class);
        if self.all_may_come(choice, kept, class, wanted, &floor) {
            return wanted;
        }
        let mut best: Vec<Vec<u32>> = choice.demands.iter().map(|d| vec![0; d.values]).collect();
        let mut room = vec![0; kept.load.len()];
        for (row, places) in &kept.rows {
            let narrow = |places, (member, _): &(u32, u32)| {
                choice.narrow(self.variety.of_class[*member as usize], own, *row, places)
            };
            let places = members.iter().fold(*places, narrow);
            if places == 0 {
                continue;
            }
            for ((left, have), load) in room.iter_mut().zip(&choice.rooms[*row as usize]).zip(&kept.load) {
                *left = have - load;
            }
            let fits = copies(need, &room);
            for (best, demand) in best.iter_mut().zip(&choice.demands) {
                for (value, there) in &demand.of_row[*row as usize] {
                    if places & there != 0 {
                        best[*value as usize] = best[*value as usize].max(fits);
                    }
                }
            }
        }
        let most = |(mut best, floor): (Vec<u32>, u32)| match (floor as usize).checked_sub(1) {
            None => u32::MAX,
            Some(at) if at >= best.len() => 0,
            Some(at) => *best.select_nth_unstable_by(at, |a, b| b.cmp(a)).1,
        };
        best.into_iter().zip(floor).map(most).min().unwrap_or(u32::MAX).min(wanted)
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

    /// Whether so many pods of a class leave enough values: for most kinds the first rows that are big enough say yes.
    fn all_may_come(&self, choice: &Choice, kept: &Kept, class: u32, wanted: u32, floor: &[u32]) -> bool {
        let of_pods = self.requests[class as usize].iter().zip(&kept.load);
        let load: Vec<i64> =
            of_pods.map(|(need, load)| load.saturating_add(need.saturating_mul(i64::from(wanted)))).collect();
        let members = self.members(class);
        let own = (kept.row, kept.place);
        let mut seen: Vec<Vec<bool>> = choice.demands.iter().map(|d| vec![false; d.values]).collect();
        let mut lacking: Found = floor.to_vec();
        for (row, places) in &kept.rows {
            let room = &choice.rooms[*row as usize];
            if load.iter().zip(room).any(|(need, have)| *need > 0 && need > have) {
                continue;
            }
            let narrow = |places, (member, _): &(u32, u32)| {
                choice.narrow(self.variety.of_class[*member as usize], own, *row, places)
            };
            let places = members.iter().fold(*places, narrow);
            for ((demand, seen), lacking) in choice.demands.iter().zip(&mut seen).zip(&mut lacking) {
                for (value, there) in &demand.of_row[*row as usize] {
                    if places & there != 0 && !std::mem::replace(&mut seen[*value as usize], true) {
                        *lacking = lacking.saturating_sub(1);
                    }
                }
            }
            if lacking.iter().all(|n| *n == 0) {
                return true;
            }
        }
        lacking.iter().all(|n| *n == 0)
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
