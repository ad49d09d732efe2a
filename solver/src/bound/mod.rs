//! Proven lower bounds on what the new nodes must cost.
//!
//! Two of them, and the better one counts:
//!
//! - [`resource`]: pods cut up and poured into bins. Quick, and close where pods are small beside bins.
//! - [`farley`]: whole pods in patterns, from the dual prices of column generation. Close where pods are big.
//!
//! In both a pod that may run on a machine of its own is worth no more than that costs.
//!
//! Both take floats from an LP only as a *proposal*: what is printed is recomputed in exact integers from it, rounding
//! against the bound, so a wrong proposal makes a bound loose, never false.
//!
//! Both drop, which only loosens them: spread (but for how many pods each domain must hold), affinity, conflicts between different pods on a host, `NodePool` limits,
//! and that nodes are whole.

mod farley;
mod knapsack;
mod resource;

use std::collections::{BTreeSet, HashMap};

use fixedbitset::FixedBitSet;

pub(crate) use farley::farley_bound;
pub(crate) use resource::{resource_bound, resource_prices};

use crate::class::Class;
use crate::host_rule::HostState;
use crate::kind::Kind;
use crate::ladder::tier_is_limited;
use crate::model::{GateId, Model, admits};
use crate::money::Price;
use crate::pack::useful::{Asking, useful};
use crate::pack::{Budget, Pattern};
use crate::problem::{Node, PodId, Problem};
use crate::search::Stages;
use crate::stock::Stock;
use crate::topology::{Caps, Dealt, deal};

/// Fixed point of bounds: one micro-dollar is 2^40.
const SCALE: i128 = 1 << 40;

/// What an LP takes as steps of the budget, from the multiplications of one of its iterations, of which there are about
/// fifteen; a step takes as long as forty.
pub(crate) fn lp_steps(work: usize) -> u64 {
    work as u64 * 3 / 8
}

/// Up to this many parts, kinds tell parts apart by size as well as by labels.
const MAX_FINE_PARTS: usize = 600;
/// Pods that the relaxation may place alike: those of classes that need the same room in the same bins.
pub(crate) struct Part {
    pub(crate) classes: Vec<u32>,
    /// Pods that must be held, on existing nodes or new ones.
    pub(crate) count: u32,
    /// The domain that a spread rule ties them to, if any.
    pub(crate) domain: Option<(String, String)>,
    /// What each needs, by dimension: the model's, then one for each host rule that is kept.
    need: Vec<i64>,
    /// At most so many share a node, by the rules of each class alone.
    together: u32,
    /// What each costs on a machine of its own, in micro-dollars an hour, where it may run on one: it is worth no more.
    route: Option<i64>,
}

impl Part {
    /// A class whose rules on nodes are those of all.
    fn class(&self) -> usize {
        self.classes[0] as usize
    }

    /// What each needs, by dimension: the model's, then one for each host rule that is kept.
    pub(crate) fn need(&self) -> &[i64] {
        &self.need
    }
}

/// A bin of the relaxation.
struct Open {
    kind: u32,
    /// By dimension, host rules included.
    room: Vec<i64>,
    /// The parts that it takes (their size aside, where there are many).
    parts: Vec<u32>,
}

/// The problem with nearly every rule between bins dropped: parts of classes, and the kinds that take them.
///
/// Of a spread over domains one thing is kept: how many pods each domain holds at least (see
/// [`crate::topology::SoleSpread`]). Those are parts of their own, tied to kinds of the domain; the rest of the class
/// may go anywhere.
///
/// Of the rules between pods of one host, those that ask for many nodes are kept as one more resource each, of which a
/// node has as much as the rule allows pods that carry it and match it.
pub(crate) struct Relaxation {
    pub(crate) parts: Vec<Part>,
    /// Kinds that no other beats.
    kinds: Vec<Open>,
    /// What every node has of each host rule that is kept.
    allowed: Vec<i64>,
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
        let held = held(model, &dealt.stock, placed, left);
        Self::holding(model, dealt, &held, &lightest(model, dealt, stages))
    }

    /// Of a plan that holds so many pods of each class. Pods that came late may be in `NodePool`s lighter than those that
    /// packing looked at: there, any weight will do.
    pub(crate) fn with_late(
        model: &Model<'_>,
        dealt: &Dealt,
        held: &[u32],
        late: &[bool],
        stages: &Stages,
    ) -> Self {
        let mut lightest = lightest(model, dealt, stages);
        lightest.iter_mut().zip(late).filter(|(_, late)| **late).for_each(|(lightest, _)| *lightest = None);
        Self::holding(model, dealt, held, &lightest)
    }

    /// Of any plan that holds so many pods of each class, in whatever `NodePool`s.
    fn of_any(model: &Model<'_>, dealt: &Dealt, held: &[u32]) -> Self {
        Self::holding(model, dealt, held, &vec![None; held.len()])
    }

    fn holding(model: &Model<'_>, dealt: &Dealt, held: &[u32], lightest: &[Option<i32>]) -> Self {
        let parts = parts(model, dealt, held, lightest);
        let fine = parts.len() <= MAX_FINE_PARTS;
        let kinds_of = |p: &Part| kinds_of(model, dealt, p, lightest[p.class()], fine);
        let allowed: Vec<FixedBitSet> = parts.iter().map(kinds_of).collect();
        let asking =
            |(p, kinds): (&Part, &FixedBitSet)| (p.need[..model.kinds.dims.len()].to_vec(), kinds.clone());
        let asking: Vec<(Vec<i64>, FixedBitSet)> = parts.iter().zip(&allowed).map(asking).collect();
        let asking: Vec<Asking<'_>> = asking.iter().map(|(need, kinds)| Asking { need, kinds }).collect();
        let useful = useful(model, &asking, &Budget::unlimited(model));
        let takes = |kind: u32| {
            (0..parts.len() as u32).filter(|part| allowed[*part as usize].contains(kind as usize)).collect()
        };
        let most = |rule: &u32| i64::from(model.rules.limits[*rule as usize].most());
        let of_rules: Vec<i64> = model.weighty.iter().map(most).collect();
        let open = |kind: u32| Open {
            kind,
            room: room(model, kind).iter().chain(&of_rules).copied().collect(),
            parts: takes(kind),
        };
        let kinds = useful.iter().map(|u| open(u.kind)).collect();
        Self { parts, kinds, allowed: of_rules }
    }

    /// Units of a quota that so many pods could use, one to a node: what is beyond that is worth nothing to anyone.
    fn units(&self, model: &Model<'_>, quota: usize) -> i64 {
        let draws = self.kinds.iter().flat_map(|open| &kind(model, open.kind).draws);
        let most = draws.filter(|(q, _)| *q as usize == quota).map(|(_, units)| *units).max().unwrap_or(0);
        let pods: i64 = self.parts.iter().map(|part| i64::from(part.count)).sum();
        model.problem.quotas[quota].units.min(most.saturating_mul(pods)).max(0)
    }

    /// The least sum of prices that is not below `bound` (in 2⁻⁴⁰ micro-dollars): prices are whole numbers, often of cents.
    /// Where nodes take several units of a quota, bills may cover part of a node, and are no such sums: then it is rounded
    /// down. Micro-dollars an hour.
    pub(crate) fn round_up(&self, model: &Model<'_>, bound: i128) -> i64 {
        let parted = |open: &Open| kind(model, open.kind).draws.iter().any(|(_, units)| *units > 1);
        if self.kinds.iter().any(parted) {
            return whole(bound);
        }
        let bound = whole(bound.saturating_add(SCALE - 1));
        let prices = self.kinds.iter().map(|open| kind(model, open.kind).price);
        let divisor =
            prices.chain(self.parts.iter().filter_map(|part| part.route)).fold(0, |known, price| {
                let (mut a, mut b) = (known, price);
                while b != 0 {
                    (a, b) = (b, a % b);
                }
                a
            });
        if divisor <= 1 { bound } else { bound.saturating_add(divisor - 1) / divisor * divisor }
    }

    /// Free room of an existing node, by dimension, host rules included.
    fn node_room(&self, model: &Model<'_>, node: usize) -> Vec<i64> {
        model.node_room[node].iter().chain(&self.allowed).copied().collect()
    }
}

/// A lower bound on what any plan of `problem` costs that holds all pods but those of `left`.
///
/// For plans that were made otherwise, or of another problem: nobody has to find a plan that holds the same pods. Pods may
/// be in `NodePool`s of any weight.
pub(crate) fn floor(problem: &Problem, left: &BTreeSet<PodId>) -> Price {
    let mut model = Model::build(problem);
    let dealt = deal(&mut model, &Caps::new());
    let held = |class: &Class| class.pods.iter().filter(|pod| !left.contains(pod)).count() as u32;
    let held: Vec<u32> = model.classes.classes.iter().map(held).collect();
    let relaxed = Relaxation::of_any(&model, &dealt, &held);
    Price::from_micros(relaxed.round_up(&model, resource_bound(&model, &relaxed)))
}

/// A lower bound on what any plan costs that holds all pods for which something has room, in `NodePool`s of any weight; and by
/// pod, what it is worth at the prices that prove it, in micro-dollars an hour.
pub(crate) fn worths(problem: &Problem) -> (Price, Vec<f64>) {
    let mut model = Model::build(problem);
    let dealt = deal(&mut model, &Caps::new());
    let homeless = |class: usize| {
        let spec = model.spec(class);
        let fits =
            |node: usize| admits(&problem.nodes[node], spec) && model.fits(class, &model.node_room[node]);
        model.feasible(class).is_clear() && !(0..problem.nodes.len()).any(fits)
    };
    let held = |class: usize| if homeless(class) { 0 } else { model.count(class) };
    let held: Vec<u32> = (0..model.classes.classes.len()).map(held).collect();
    let relaxed = Relaxation::of_any(&model, &dealt, &held);
    let prices = resource_prices(&model, &relaxed);
    let mut of_pods = vec![0.0; problem.pods.len()];
    for (at, part) in relaxed.parts.iter().enumerate() {
        let each = match prices.of_parts.get(at) {
            Some(of_part) if !of_part.is_empty() => worth_of(&part.need, of_part),
            _ => 0.0,
        };
        for pod in part.classes.iter().flat_map(|class| &model.classes.classes[*class as usize].pods) {
            of_pods[pod.index()] = each;
        }
    }
    (Price::from_micros(relaxed.round_up(&model, prices.bound)), of_pods)
}

/// What a need is worth at prices of 2⁻⁴⁰ micro-dollars.
fn worth_of(need: &[i64], prices: &[i128]) -> f64 {
    need.iter().zip(prices).map(|(need, price)| *need as f64 * (*price as f64 / SCALE as f64)).sum()
}

/// Whole micro-dollars, rounded down.
pub(crate) fn whole(bound: i128) -> i64 {
    i64::try_from(bound.max(0) / SCALE).unwrap_or(i64::MAX)
}

/// By class: the weight of the lightest `NodePool`s that the heaviest that can hold it may be. `None` where nothing is known.
fn lightest(model: &Model<'_>, dealt: &Dealt, stages: &Stages) -> Vec<Option<i32>> {
    let mut lightest = vec![None; model.classes.classes.len()];
    for item in &dealt.stock.items {
        if let Some((weight, _)) = stages.tiers[item.lot as usize].first() {
            for (class, _) in model.members(item.class) {
                let known: &mut Option<i32> = &mut lightest[class as usize];
                *known = Some(known.map_or(*weight, |w| w.min(*weight)));
            }
        }
    }
    lightest
}

/// Classes folded into parts.
fn parts(model: &Model<'_>, dealt: &Dealt, held: &[u32], lightest: &[Option<i32>]) -> Vec<Part> {
    type Key = (Vec<i64>, GateId, Option<i32>, Option<i64>, Option<(u32, String, String)>);
    let empty = HostState::default();
    let mut ids = HashMap::<Key, usize>::new();
    let mut parts: Vec<Part> = Vec::new();
    for class in (0..held.len() as u32).filter(|c| held[*c as usize] > 0) {
        let takes_part = |rule: &u32| i64::from(model.rules.scatters(class as usize, *rule));
        let of_rules = model.weighty.iter().map(takes_part);
        let need: Vec<i64> = model.requests[class as usize].iter().copied().chain(of_rules).collect();
        let together = model.rules.allowance(class, &empty);
        let mut add = |count: u32, domain: Option<(String, String)>| {
            // A spread's domains are its own class's.
            let own = domain.clone().map(|(key, value)| (class, key, value));
            let route = model.routes[class as usize];
            let key = (need.clone(), model.gate_of[class as usize], lightest[class as usize], route, own);
            let at = *ids.entry(key).or_insert_with(|| {
                let need = need.clone();
                parts.push(Part { classes: Vec::new(), count: 0, domain, need, together: 0, route });
                parts.len() - 1
            });
            parts[at].classes.push(class);
            parts[at].count += count;
            parts[at].together = parts[at].together.saturating_add(together.min(count));
        };
        let mut free = held[class as usize];
        let sole = dealt.spread.get(&class);
        for (value, count) in sole.map(|s| s.floors(free)).unwrap_or_default() {
            free -= count;
            add(count, sole.map(|s| (s.key.clone(), value)));
        }
        if free > 0 {
            add(free, None);
        }
    }
    parts
}

/// By class: pods that the plan holds.
fn held(model: &Model<'_>, stock: &Stock, placed: &[(usize, Pattern)], left: &[u32]) -> Vec<u32> {
    let mut held = vec![0u32; model.classes.classes.len()];
    let mut on_nodes = vec![0u32; stock.items.len()];
    for (item, count) in placed.iter().flat_map(|(_, pattern)| pattern) {
        on_nodes[*item as usize] += count;
    }
    for (at, item) in stock.items.iter().enumerate() {
        let items = item.count.saturating_sub(left[at]).max(on_nodes[at]);
        for (class, each) in model.members(item.class) {
            held[class as usize] += items * each;
        }
    }
    held
}

/// The kinds that a part may use, whatever domain its classes were dealt to.
fn kinds_of(model: &Model<'_>, dealt: &Dealt, part: &Part, lightest: Option<i32>, fine: bool) -> FixedBitSet {
    let class = part.class();
    let mut set =
        if fine { model.feasible(class) } else { model.gates[model.gate_of[class] as usize].clone() };
    // A pod goes to the heaviest NodePools that can hold it, unless a limit may send it to lighter ones. Where the
    // heaviest tier differs between domains, the lightest of them is the safe one.
    if let Some(weight) = lightest.filter(|w| !tier_is_limited(model, *w)) {
        let weight_of = |at: usize| model.problem.pools[model.kinds.kinds[at].pool.index()].weight;
        let light: Vec<usize> = set.ones().filter(|at| weight_of(*at) < weight).collect();
        for at in light {
            set.set(at, false);
        }
    }
    if let Some((_, value)) = &part.domain {
        match dealt.spread.get(&part.classes[0]).and_then(|sole| sole.kinds.get(value)) {
            Some(kinds) => set.intersect_with(kinds),
            None => set.clear(),
        }
    }
    set
}

/// Whether an existing node may take pods of a part.
fn takes(model: &Model<'_>, node: &Node, part: &Part) -> bool {
    part.domain.as_ref().is_none_or(|(key, value)| node.labels.get(key) == Some(value))
        && admits(node, model.spec(part.class()))
}

fn kind<'m>(model: &'m Model<'_>, at: u32) -> &'m Kind {
    &model.kinds.kinds[at as usize]
}

fn room<'m>(model: &'m Model<'_>, at: u32) -> &'m [i64] {
    &model.kinds.shapes[kind(model, at).shape as usize].room
}
