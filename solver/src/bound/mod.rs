//! Proven lower bounds on what the new nodes must cost.
//!
//! Two of them, and the better one counts:
//!
//! - [`resource`]: pods cut up and poured into bins. Quick, and close where pods are small beside bins.
//! - [`farley`]: whole pods in patterns, from the dual prices of column generation. Close where pods are big.
//!
//! Both take floats from an LP only as a *proposal*: what is printed is recomputed in exact integers from it, rounding
//! against the bound, so a wrong proposal makes a bound loose, never false.
//!
//! Both drop, which only loosens them: spread (but for how many pods each domain must hold), affinity, conflicts between different pods on a host, `NodePool` limits,
//! and that nodes are whole.

mod farley;
mod knapsack;
mod resource;

use fixedbitset::FixedBitSet;

pub(crate) use farley::farley_bound;
pub(crate) use resource::resource_bound;

use crate::kind::Kind;
use crate::ladder::tier_is_limited;
use crate::model::{Model, admits};
use crate::pack::useful::useful;
use crate::pack::{Budget, Pattern};
use crate::problem::Node;
use crate::search::Stages;
use crate::topology::{Dealt, Item};

/// Up to this many parts, kinds tell parts apart by size as well as by labels.
const MAX_FINE_PARTS: usize = 600;

/// Pods of one class that the relaxation may place alike.
pub(crate) struct Part {
    pub(crate) class: u32,
    /// Pods that must be held, on existing nodes or new ones.
    pub(crate) count: u32,
    /// The domain that a spread rule ties them to, if any.
    pub(crate) domain: Option<(String, String)>,
}

/// The problem with nearly every rule between bins dropped: parts of classes, and the kinds that take them.
///
/// Of a spread over domains one thing is kept: how many pods each domain holds at least (see
/// [`crate::topology::SoleSpread`]). Those are parts of their own, tied to kinds of the domain; the rest of the class
/// may go anywhere.
pub(crate) struct Relaxation {
    pub(crate) parts: Vec<Part>,
    /// Kinds that no other beats, each with the parts that it takes (their size aside, where there are many).
    pub(crate) kinds: Vec<(u32, Vec<u32>)>,
}

impl Relaxation {
    /// Of a plan that leaves `left` of each item out.
    pub(crate) fn of(
        model: &Model<'_>,
        dealt: &Dealt,
        placed: &[(usize, Pattern)],
        left: &[u32],
        stages: &Stages,
    ) -> Self {
        let held = held(model, &dealt.items, placed, left);
        let mut parts = Vec::new();
        for class in (0..held.len() as u32).filter(|c| held[*c as usize] > 0) {
            let mut free = held[class as usize];
            let sole = dealt.spread.get(&class);
            for (value, count) in sole.map(|s| s.floors(free)).unwrap_or_default() {
                free -= count;
                let domain = sole.map(|s| (s.key.clone(), value));
                parts.push(Part { class, count, domain });
            }
            if free > 0 {
                parts.push(Part { class, count: free, domain: None });
            }
        }
        let fine = parts.len() <= MAX_FINE_PARTS;
        let allowed: Vec<FixedBitSet> =
            parts.iter().map(|p| kinds_of(model, dealt, p, stages, fine)).collect();
        let whole: Vec<Item> = parts
            .iter()
            .zip(&allowed)
            .map(|(p, set)| Item { class: p.class, count: p.count, domain: Vec::new(), kinds: set.clone() })
            .collect();
        let useful = useful(model, &whole, &allowed, &Budget::unlimited(model));
        let takes = |kind: u32| {
            (0..parts.len() as u32).filter(|part| allowed[*part as usize].contains(kind as usize)).collect()
        };
        let kinds = useful.iter().map(|u| (u.kind, takes(u.kind))).collect();
        Self { parts, kinds }
    }
}

/// By class: pods that the plan holds.
fn held(model: &Model<'_>, items: &[Item], placed: &[(usize, Pattern)], left: &[u32]) -> Vec<u32> {
    let mut held = vec![0u32; model.classes.classes.len()];
    let mut on_nodes = vec![0u32; items.len()];
    for (item, count) in placed.iter().flat_map(|(_, pattern)| pattern) {
        on_nodes[*item as usize] += count;
    }
    for (at, item) in items.iter().enumerate() {
        held[item.class as usize] += item.count.saturating_sub(left[at]).max(on_nodes[at]);
    }
    held
}

/// The kinds that a part may use, whatever domain its class was dealt to.
fn kinds_of(model: &Model<'_>, dealt: &Dealt, part: &Part, stages: &Stages, fine: bool) -> FixedBitSet {
    let class = part.class as usize;
    let mut set =
        if fine { model.feasible(class) } else { model.gates[model.gate_of[class] as usize].clone() };
    let of_class = dealt.items.iter().zip(&stages.tiers).filter(|(item, _)| item.class == part.class);
    let weights = of_class.filter_map(|(_, tiers)| tiers.first()).map(|(weight, _)| *weight);
    // A pod goes to the heaviest NodePools that can hold it, unless a limit may send it to lighter ones. Where the
    // heaviest tier differs between domains, the lightest of them is the safe one.
    if let Some(weight) = weights.min().filter(|w| !tier_is_limited(model, *w)) {
        let weight_of = |at: usize| model.problem.pools[model.kinds.kinds[at].pool.index()].weight;
        let light: Vec<usize> = set.ones().filter(|at| weight_of(*at) < weight).collect();
        for at in light {
            set.set(at, false);
        }
    }
    if let Some((_, value)) = &part.domain {
        match dealt.spread.get(&part.class).and_then(|sole| sole.kinds.get(value)) {
            Some(kinds) => set.intersect_with(kinds),
            None => set.clear(),
        }
    }
    set
}

/// Whether an existing node may take pods of a part.
fn takes(model: &Model<'_>, node: &Node, part: &Part) -> bool {
    part.domain.as_ref().is_none_or(|(key, value)| node.labels.get(key) == Some(value))
        && admits(node, model.spec(part.class as usize))
}

fn kind<'m>(model: &'m Model<'_>, at: u32) -> &'m Kind {
    &model.kinds.kinds[at as usize]
}

fn room<'m>(model: &'m Model<'_>, at: u32) -> &'m [i64] {
    &model.kinds.shapes[kind(model, at).shape as usize].room
}
