//! What one solve leaves for the next, when a problem changes a little and is solved again.
//!
//! Kept are patterns (which kinds hold how many pods of which lots) and what a pod of each lot was worth. They are found
//! again by what they are about, names and sizes, not by position; what no longer exists, or no longer fits, is passed
//! over. A memory changes how soon a plan is found and which of two good plans, never whether it is right.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::kind::drawn;
use crate::model::Model;
use crate::pack::Pattern;
use crate::pack::columns::Column;
use crate::pack::useful::Useful;
use crate::stock::{Lot, Stock};

/// What one solve leaves for the next: see [`crate::solve_again`].
///
/// ```
/// use std::sync::atomic::AtomicBool;
/// use stowage_solver::{Memory, Options, Problem, solve_again};
/// let (mut memory, never) = (Memory::default(), AtomicBool::new(false));
/// let first = solve_again(&Problem::default(), &Options::default(), &mut memory, &never, &mut |_, _, _| {});
/// let second = solve_again(&Problem::default(), &Options::default(), &mut memory, &never, &mut |_, _, _| {});
/// assert_eq!(first, second);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// By kind: the patterns that were in use, by lot.
    patterns: Vec<(u64, Vec<(u64, u32)>)>,
    /// By lot: what one pod was worth, in micro-dollars an hour.
    values: HashMap<u64, f64>,
}

/// More patterns than this are not worth keeping.
const MAX_PATTERNS: usize = 4000;

/// What a memory knows of a problem.
pub(crate) struct Recalled {
    pub(crate) columns: Vec<Column>,
    /// By lot: its value, where it is known.
    pub(crate) values: Vec<Option<f64>>,
}

impl Memory {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Patterns and values that still make sense.
    pub(crate) fn recall(&self, model: &Model<'_>, stock: &Stock, menu: &[Useful]) -> Recalled {
        if self.is_empty() {
            return Recalled { columns: Vec::new(), values: vec![None; stock.lots.len()] };
        }
        let keys = lot_keys(model, stock);
        let values = keys.iter().map(|key| self.values.get(key).copied()).collect();
        let lots: HashMap<u64, u32> = keys.into_iter().zip(0..).collect();
        let kinds: HashMap<u64, &Useful> = menu.iter().map(|u| (kind_key(model, u.kind), u)).collect();
        let mut columns = Vec::new();
        for (kind, pattern) in &self.patterns {
            let Some(useful) = kinds.get(kind) else { continue };
            let known: Option<Pattern> =
                pattern.iter().map(|(lot, count)| lots.get(lot).map(|at| (*at, *count))).collect();
            let Some(mut pattern) = known else { continue };
            pattern.sort_unstable();
            if fits(model, stock, useful, &pattern) {
                columns.push((useful.kind, pattern));
            }
        }
        Recalled { columns, values }
    }

    /// Keeps patterns and values of this solve in place of what was known.
    pub(crate) fn keep<'c>(
        &mut self,
        model: &Model<'_>,
        stock: &Stock,
        columns: impl Iterator<Item = &'c Column>,
        values: &[f64],
    ) {
        let keys = lot_keys(model, stock);
        let by_key = |pattern: &Pattern| pattern.iter().map(|(lot, n)| (keys[*lot as usize], *n)).collect();
        let patterns = columns.map(|(kind, pattern)| (kind_key(model, *kind), by_key(pattern)));
        self.patterns = patterns.take(MAX_PATTERNS).collect();
        self.values = keys.iter().copied().zip(values.iter().copied()).collect();
    }
}

/// Whether a kind holds a pattern of lots.
fn fits(model: &Model<'_>, stock: &Stock, useful: &Useful, pattern: &Pattern) -> bool {
    let mut room = model.kinds.shapes[model.kinds.kinds[useful.kind as usize].shape as usize].room.clone();
    let class = |lot: u32| stock.lots[lot as usize].items.first().map(|at| stock.items[*at as usize].class);
    let of_lots = pattern.iter().filter_map(|(lot, count)| Some((class(*lot)?, *count)));
    pattern.iter().all(|(lot, count)| {
        let need = &stock.lots[*lot as usize].need;
        room.iter_mut().zip(need).for_each(|(room, need)| *room -= need.saturating_mul(i64::from(*count)));
        useful.holds(*lot) && room.iter().zip(need).all(|(room, need)| *need == 0 || *room >= 0)
    }) && model.is_varied(useful.kind, of_lots)
}

/// What a lot is, whatever its position: what it needs, where it may go, and which rules scatter it.
fn lot_keys(model: &Model<'_>, stock: &Stock) -> Vec<u64> {
    let problem = model.problem;
    let names: Vec<&str> = model.kinds.dims.iter().map(|d| problem.resources[d.index()].as_str()).collect();
    let key = |lot: &Lot| {
        let mut hasher = DefaultHasher::new();
        for (name, need) in names.iter().zip(&lot.need).filter(|(_, need)| **need > 0) {
            (name, need).hash(&mut hasher);
        }
        for gate in &model.gate_specs[lot.gate as usize] {
            (&gate.node, &gate.tolerations, &gate.host_ports).hash(&mut hasher);
        }
        (&lot.domain, lot.priority, lot.route).hash(&mut hasher);
        let class = lot.items.first().map(|item| stock.items[*item as usize].class as usize);
        class.map(|class| model.scattered[class].len()).hash(&mut hasher);
        hasher.finish()
    };
    stock.lots.iter().map(key).collect()
}

/// What a kind is, whatever its position.
fn kind_key(model: &Model<'_>, kind: u32) -> u64 {
    let kind = &model.kinds.kinds[kind as usize];
    let of_type = &model.problem.types[kind.instance_type.index()];
    let mut hasher = DefaultHasher::new();
    (&model.problem.pools[kind.pool.index()].name, &of_type.name).hash(&mut hasher);
    let offering = &of_type.offerings[kind.offering as usize];
    (&model.kinds.variants[kind.variant as usize].chosen, &offering.labels).hash(&mut hasher);
    if !offering.draws.is_empty() {
        drawn(model.problem, offering).hash(&mut hasher);
    }
    hasher.finish()
}
