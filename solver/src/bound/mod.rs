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
//! Both drop, which only loosens them: spread, affinity, conflicts between different pods on a host, `NodePool` limits,
//! and that nodes are whole.

mod farley;
mod knapsack;
mod resource;

use fixedbitset::FixedBitSet;

pub(crate) use farley::farley_bound;
pub(crate) use resource::resource_bound;

use crate::kind::Kind;
use crate::ladder::tier_is_limited;
use crate::model::Model;
use crate::pack::useful::useful;
use crate::pack::{Budget, Pattern};
use crate::search::Stages;
use crate::topology::Item;

/// Up to this many classes, kinds tell classes apart by size as well as by labels.
const MAX_FINE_CLASSES: usize = 400;

/// The problem with every rule between bins dropped: classes, and the kinds that take them.
pub(crate) struct Relaxation {
    /// By class: pods that must be held, on existing nodes or new ones.
    pub(crate) held: Vec<u32>,
    /// Kinds that no other beats, each with the classes that it takes (their size aside, where there are many).
    pub(crate) kinds: Vec<(u32, Vec<u32>)>,
}

impl Relaxation {
    /// Of a plan that leaves `left` of each item out.
    pub(crate) fn of(
        model: &Model<'_>,
        items: &[Item],
        placed: &[(usize, Pattern)],
        left: &[u32],
        stages: &Stages,
    ) -> Self {
        let mut held = vec![0u32; model.classes.classes.len()];
        let mut on_nodes = vec![0u32; items.len()];
        for (item, count) in placed.iter().flat_map(|(_, pattern)| pattern) {
            on_nodes[*item as usize] += count;
        }
        for (at, item) in items.iter().enumerate() {
            held[item.class as usize] += item.count.saturating_sub(left[at]).max(on_nodes[at]);
        }
        let fine = held.len() <= MAX_FINE_CLASSES;
        // One item for each class, with every kind its rules on labels allow, whatever domain it was dealt to.
        let (mut whole, mut allowed) = (Vec::<Item>::new(), Vec::<FixedBitSet>::new());
        for class in (0..held.len()).filter(|c| held[*c] > 0) {
            let mut set =
                if fine { model.feasible(class) } else { model.gates[model.gate_of[class] as usize].clone() };
            let of_class = items.iter().zip(&stages.tiers).filter(|(item, _)| item.class as usize == class);
            let weights = of_class.filter_map(|(_, tiers)| tiers.first()).map(|(weight, _)| *weight);
            // A pod goes to the heaviest NodePools that can hold it, unless a limit may send it to lighter ones. Where
            // the heaviest tier differs between domains, the lightest of them is the safe one.
            if let Some(weight) = weights.min().filter(|w| !tier_is_limited(model, *w)) {
                let weight_of = |at: usize| model.problem.pools[model.kinds.kinds[at].pool.index()].weight;
                let light: Vec<usize> = set.ones().filter(|at| weight_of(*at) < weight).collect();
                for at in light {
                    set.set(at, false);
                }
            }
            whole.push(Item {
                class: class as u32,
                count: held[class],
                domain: Vec::new(),
                kinds: set.clone(),
            });
            allowed.push(set);
        }
        let useful = useful(model, &whole, &allowed, &Budget::unlimited(model));
        let takes = |kind: u32| {
            let takers = whole.iter().zip(&allowed).filter(|(_, set)| set.contains(kind as usize));
            takers.map(|(item, _)| item.class).collect()
        };
        let kinds = useful.iter().map(|u| (u.kind, takes(u.kind))).collect();
        Self { held, kinds }
    }
}

fn kind<'m>(model: &'m Model<'_>, at: u32) -> &'m Kind {
    &model.kinds.kinds[at as usize]
}

fn room<'m>(model: &'m Model<'_>, at: u32) -> &'m [i64] {
    &model.kinds.shapes[kind(model, at).shape as usize].room
}
