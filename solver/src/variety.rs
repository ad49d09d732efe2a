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
//! Rows stand biggest first: whether a node's pods leave enough is mostly answered by the first of them, and what a node
//! could be launched as is never written down (see `kept`).
//!
//! # Invariants
//! - What counts is what [`crate::alternatives`] finds before it looks at `NodePool` limits: those change with every node.
//! - A pod that would leave too few values all alone may not use the kind at all (policy `Strict`). Where the rule may be
//!   relaxed (`BestEffort`), the least that any pod of the node would leave alone is enough for the node.

mod gate;
mod kept;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use fixedbitset::FixedBitSet;

use crate::alternatives::Ties;
use crate::class::Classes;
use crate::kind::{Kind, Kinds};
use crate::problem::{InstanceType, MinValues, NodeConstraint, PodSpec, Problem};

pub(crate) use kept::Kept;

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
    alone: Vec<Rc<Alone>>,
}

/// How many values pods all alone leave, by [`AloneKey`].
type Alone = HashMap<AloneKey, Found>;
/// Variant, places like its own, and the row where labels of types tie the pods.
type AloneKey = (u32, Places, u32);

/// What nodes of one variant could be launched as.
struct Choice {
    /// The number of dimensions of a room.
    dims: usize,
    /// The room of each row, one after the other; the biggest rows first.
    rooms: Vec<i64>,
    /// By row: where it is sold.
    sold: Vec<Places>,
    /// Wherever any row is.
    anywhere: Places,
    demands: Vec<Demand>,
    /// By distinct node constraints: by row, the places that they let in; `None` where that is all.
    doors: Vec<Option<Vec<Places>>>,
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
    /// Whether rows differ in that.
    tied: bool,
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
        let (mut seats, number) = seats(problem, kinds, &looked_at(problem, &ties, specs));
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
                    (&mut seats, number),
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
        (seats, places): (&mut [(u32, Option<u8>)], usize),
        gates: &[FixedBitSet],
        ties: &[&BTreeSet<&str>],
    ) -> Self {
        biggest_first(kinds, variant, seats);
        let here: Vec<(usize, u32, u8)> = (0..kinds.kinds.len())
            .filter(|at| kinds.kinds[*at].variant == variant)
            .filter_map(|at| Some((at, seats[at].0, seats[at].1?)))
            .collect();
        let number = here.iter().map(|(_, row, _)| *row as usize + 1).max().unwrap_or(0);
        let dims = kinds.dims.len();
        let mut this = Self {
            dims,
            rooms: vec![0; number * dims],
            sold: vec![0; number],
            anywhere: 0,
            demands: Vec::new(),
            doors: Vec::new(),
            ties: Vec::new(),
        };
        for &(at, row, place) in &here {
            let room = &kinds.shapes[kinds.kinds[at].shape as usize].room;
            this.rooms[row as usize * dims..][..dims].copy_from_slice(room);
            this.sold[row as usize] |= 1 << place;
        }
        this.anywhere = this.sold.iter().fold(0, |all, places| all | places);
        for gate in gates {
            let mut door = vec![0; number];
            for &(at, row, place) in &here {
                door[row as usize] |= Places::from(gate.contains(at)) << place;
            }
            this.doors.push((door != this.sold).then_some(door));
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

    /// The room of a row.
    fn room(&self, row: usize) -> &[i64] {
        &self.rooms[row * self.dims..][..self.dims]
    }

    /// What pods leave of a row's places.
    fn narrow(&self, (door, tie): (u32, u32), own: (u32, u8), row: usize, places: Places) -> Places {
        let tie = &self.ties[tie as usize];
        if tie.tied && tie.of_row[row] != tie.of_row[own.0 as usize] {
            return 0;
        }
        let door = self.doors[door as usize].as_ref().map_or(Places::MAX, |door| door[row]);
        places & door & tie.alike[own.1 as usize]
    }

    /// Whether pods rule anything out beside what they have no room on.
    fn narrows(&self, (door, tie): (u32, u32), place: u8) -> bool {
        let tie = &self.ties[tie as usize];
        self.doors[door as usize].is_some() || tie.tied || self.anywhere & !tie.alike[place as usize] != 0
    }
}

/// The values that a label has where a type is sold, if offerings have it.
fn sold_with<'t>(of_type: &'t InstanceType, key: &str) -> BTreeSet<&'t str> {
    of_type.offerings.iter().filter_map(|offering| offering.labels.get(key)).map(String::as_str).collect()
}

/// Numbers the rows of a variant anew, by the sum of the magnitudes of their rooms.
fn biggest_first(kinds: &Kinds<'_>, variant: u32, seats: &mut [(u32, Option<u8>)]) {
    let mut shapes = BTreeMap::<u32, u32>::new();
    for (kind, (row, _)) in kinds.kinds.iter().zip(seats.iter()).filter(|(kind, _)| kind.variant == variant) {
        shapes.insert(*row, kind.shape);
    }
    let size = |shape: u32| -> f64 {
        kinds.shapes[shape as usize].room.iter().map(|have| ((*have).max(0) as f64).ln_1p()).sum()
    };
    let mut order: Vec<(f64, u32)> = shapes.into_iter().map(|(row, shape)| (size(shape), row)).collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut renamed = vec![0; order.len()];
    for (new, (_, old)) in order.iter().enumerate() {
        renamed[*old as usize] = new as u32;
    }
    for (_, (row, _)) in kinds.kinds.iter().zip(seats).filter(|(kind, _)| kind.variant == variant) {
        *row = renamed[*row as usize];
    }
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
        let of_row: Vec<u32> = keys.into_iter().map(&mut number).collect();
        let tied = of_row.iter().any(|value| *value != of_row[0]);
        Self { alike, of_row, tied }
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
