//! The ladder of a solve: each rung improves on the one before.
//!
//! ```text
//! fold into classes ─▶ deal over domains ─▶ fill what exists ─▶ construct ─▶ improve ─▶ bound ─▶ verify
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use fixedbitset::FixedBitSet;

use crate::bound::lower_bound;
use crate::explain::reasons;
use crate::host_rule::HostState;
use crate::model::Model;
use crate::money::Price;
use crate::pack::construct::{Thrift, construct, correct, first_values};
use crate::pack::existing::fill_existing;
use crate::pack::fill::Filler;
use crate::pack::improve::{downsize, load, repack_worst};
use crate::pack::useful::{Useful, useful};
use crate::pack::{Bins, Budget, Incumbent, Pattern};
use crate::problem::{NodeId, PodId, PoolId, Problem, TypeId};
use crate::solution::{NewNode, Placement, Solution, Stats, Status, Unplaced};
use crate::topology::{Caps, Dealt, Item, deal};
use crate::{Options, Progress};

/// Passes of value correction over one construction.
const PASSES: u32 = 12;
/// After this many deals that could not be carried out, the classes concerned stay unplaced.
const ATTEMPTS: u64 = 12;
/// At most this many alternatives a node.
const ALTERNATIVES: usize = 60;

/// Plans `problem`; the result is not verified yet.
pub(crate) fn climb(
    problem: &Problem,
    options: &Options,
    cancel: &AtomicBool,
    progress: Progress<'_>,
) -> Solution {
    let pods = problem.pods.len() as u64;
    progress("folding pods into classes", 0, pods);
    let mut model = Model::build(problem);
    let mut caps = Caps::new();
    let mut attempt = 0;
    let (dealt, outcome) = loop {
        progress("dealing classes over domains", attempt, ATTEMPTS);
        let dealt = deal(&mut model, &caps);
        let mut search = Search::new(&model, &dealt, options, cancel);
        search.run(progress);
        let Search { placed, incumbent, stages, budget, filler, .. } = search;
        attempt += 1;
        // Pods dealt to a domain that could not hold them leave their rule unbalanced: deal again, knowing better.
        if !learn(&mut caps, &dealt, &incumbent.left, attempt >= ATTEMPTS) {
            break (dealt, (placed, incumbent, stages, budget, filler));
        }
    };
    let (placed, incumbent, stages, budget, filler) = outcome;
    let bound = lower_bound(&model, &dealt.items, &placed, &incumbent.left, &stages);
    let cost = incumbent.cost(&model);
    let (cost, bound) = (Price::from_micros(cost), Price::from_micros(bound.min(cost)));
    let mut solution = Solution {
        new_nodes: Vec::new(),
        placements: Vec::new(),
        unplaced: Vec::new(),
        cost,
        bound,
        status: Status::BudgetSpent,
        stats: Stats {
            classes: model.classes.classes.len(),
            kinds: model.kinds.kinds.len(),
            useful_kinds: stages.useful_kinds,
            steps: filler.steps,
        },
    };
    let gap = solution.gap();
    solution.status = match gap {
        g if g <= 1e-6 => Status::Optimal,
        g if g <= options.gap => Status::WithinGap,
        _ => Status::BudgetSpent,
    };
    hand_out(&model, &dealt, &placed, &incumbent, &budget, &mut solution);
    solution
}

/// Lowers the cap of each domain that was dealt more than it could hold; of the whole class when `final_attempt`.
/// Whether there was any.
fn learn(caps: &mut Caps, dealt: &Dealt, left: &[u32], final_attempt: bool) -> bool {
    let mut learnt = false;
    for (item, left) in dealt.items.iter().zip(left) {
        if item.domain.is_empty() || *left == 0 {
            continue;
        }
        learnt = true;
        caps.insert((item.class, item.domain.clone()), item.count - left);
        if final_attempt {
            // Nothing converges: better a pod unplaced, with a reason, than a rule broken.
            for other in dealt.items.iter().filter(|other| other.class == item.class) {
                caps.insert((other.class, other.domain.clone()), 0);
            }
        }
    }
    learnt
}

/// For each item, the kinds it may use; by tier of NodePool weight.
pub(crate) struct Stages {
    /// By item: its tiers, heaviest first, each with the kinds that could hold one of its pods.
    pub(crate) tiers: Vec<Vec<(i32, FixedBitSet)>>,
    pub(crate) useful_kinds: usize,
}

/// The state of one solve.
struct Search<'a> {
    model: &'a Model<'a>,
    items: &'a [Item],
    options: &'a Options,
    cancel: &'a AtomicBool,
    stages: Stages,
    budget: Budget,
    filler: Filler,
    placed: Vec<(usize, Pattern)>,
    incumbent: Incumbent,
}

impl<'a> Search<'a> {
    fn new(model: &'a Model<'a>, dealt: &'a Dealt, options: &'a Options, cancel: &'a AtomicBool) -> Self {
        let tiers = dealt.items.iter().map(|item| tiers(model, item)).collect();
        Self {
            model,
            items: &dealt.items,
            options,
            cancel,
            stages: Stages { tiers, useful_kinds: 0 },
            budget: Budget::of(model),
            filler: Filler::default(),
            placed: Vec::new(),
            incumbent: Incumbent { bins: Vec::new(), left: dealt.items.iter().map(|i| i.count).collect() },
        }
    }

    fn run(&mut self, progress: Progress<'_>) {
        let first = self.allowed(0, None);
        let start = useful(self.model, self.items, &first, &self.budget);
        self.stages.useful_kinds = start.len();
        let values = first_values(self.model, self.items, &start);
        progress("filling existing nodes", 0, self.model.problem.nodes.len() as u64);
        let mut left = std::mem::take(&mut self.incumbent.left);
        self.placed = fill_existing(self.model, self.items, &mut left, &values, &mut self.filler);
        self.incumbent.left = left;
        let rounds = self.stages.tiers.iter().map(Vec::len).max().unwrap_or(0);
        if !self.budget.binds() {
            // Without limits, every pod finds room in the heaviest pools that can hold it.
            self.stage(&first, start, values, progress);
            return;
        }
        // Where limits bind, higher priorities go first, and what a tier has no room for falls to the next.
        let mut priorities: Vec<i32> = self.items.iter().map(|i| self.model.spec(i.class as usize).priority).collect();
        priorities.sort_unstable_by(|a, b| b.cmp(a));
        priorities.dedup();
        for priority in priorities {
            for round in 0..rounds {
                let allowed = self.allowed(round, Some(priority));
                let useful = useful(self.model, self.items, &allowed, &self.budget);
                let values = first_values(self.model, self.items, &useful);
                self.top_up(&allowed);
                self.stage(&allowed, useful, values, progress);
            }
        }
    }

    /// By item: the kinds of its tier number `round`; none for items that have no such tier or another priority.
    fn allowed(&self, round: usize, priority: Option<i32>) -> Vec<FixedBitSet> {
        let none = FixedBitSet::with_capacity(self.model.kinds.kinds.len());
        let pick = |(item, tiers): (&Item, &Vec<(i32, FixedBitSet)>)| {
            let wanted = priority.is_none_or(|p| self.model.spec(item.class as usize).priority == p);
            if wanted { tiers.get(round).map_or_else(|| none.clone(), |(_, kinds)| kinds.clone()) } else { none.clone() }
        };
        self.items.iter().zip(&self.stages.tiers).map(pick).collect()
    }

    /// Buys bins for what is left of the items with allowed kinds.
    fn stage(&mut self, allowed: &[FixedBitSet], useful: Vec<Useful>, mut values: Vec<f64>, progress: Progress<'_>) {
        let wanted: Vec<u32> = allowed
            .iter()
            .zip(&self.incumbent.left)
            .map(|(kinds, left)| if kinds.is_clear() { 0 } else { *left })
            .collect();
        let want: u64 = wanted.iter().map(|n| u64::from(*n)).sum();
        if want == 0 || useful.is_empty() {
            return;
        }
        let mut best: Option<(Incumbent, Budget)> = None;
        for pass in 0..PASSES {
            progress("packing", u64::from(pass), u64::from(PASSES));
            let mut budget = self.budget.clone();
            let (model, items) = (self.model, self.items);
            // Pods left over mean that a limit binds: from then on, spend the limit well instead of the money.
            let short = best.as_ref().is_some_and(|(b, _): &(Incumbent, Budget)| b.unpacked() > 0);
            let thrift = if short && pass % 2 == 1 { Thrift::Limits } else { Thrift::Money };
            let mut found = construct(model, items, &useful, &wanted, &values, thrift, &mut budget, &mut self.filler);
            downsize(model, items, &useful, &mut budget, &mut found);
            for share in [0.02, 0.05, 0.1, 0.3] {
                if found.bins.is_empty() || self.stopped() {
                    break;
                }
                repack_worst(model, items, &useful, &values, &mut budget, &mut found, share, &mut self.filler);
            }
            correct(model, &found, &mut values);
            let key = |i: &Incumbent| (i.unpacked(), i.cost(model));
            if best.as_ref().is_none_or(|(b, _)| key(&found) < key(b)) {
                best = Some((found, budget));
            }
            if self.stopped() {
                break;
            }
        }
        if let Some((mut found, budget)) = best {
            self.incumbent.bins.append(&mut found.bins);
            for ((left, wanted), still) in self.incumbent.left.iter_mut().zip(&wanted).zip(&found.left) {
                *left -= wanted - still;
            }
            self.budget = budget;
        }
        self.incumbent.tidy();
    }

    /// Lets what is left into the holes of bins bought in earlier stages.
    fn top_up(&mut self, allowed: &[FixedBitSet]) {
        let mut single = Vec::new();
        for bins in self.incumbent.bins.drain(..) {
            single.extend((0..bins.copies).map(|_| Bins { copies: 1, ..bins.clone() }));
        }
        for bins in &mut single {
            let kind = &self.model.kinds.kinds[bins.kind as usize];
            let full = load(self.model, self.items, &bins.pattern);
            let room = &self.model.kinds.shapes[kind.shape as usize].room;
            let room: Vec<i64> = room.iter().zip(full).map(|(have, used)| have - used).collect();
            let mut state = HostState::default();
            for (item, count) in &bins.pattern {
                self.model.rules.add(self.items[*item as usize].class, *count, &mut state);
            }
            let usable: Vec<u32> =
                (0..self.items.len() as u32).filter(|i| allowed[*i as usize].contains(bins.kind as usize)).collect();
            let values = vec![1.0; self.items.len()];
            let bin = crate::pack::fill::Bin { room: &room, state: &state, items: &usable };
            let filled = self.filler.best(self.model, self.items, bin, &self.incumbent.left, &values);
            for (item, count) in filled.pattern {
                self.incumbent.left[item as usize] -= count;
                crate::pack::add_to(&mut bins.pattern, item, count);
            }
        }
        self.incumbent.bins = single;
        self.incumbent.tidy();
    }

    fn stopped(&self) -> bool {
        self.filler.steps >= self.options.max_steps || self.cancel.load(Ordering::Relaxed)
    }
}

/// The tiers of an item: its kinds by weight of their NodePool, where at least one could hold one of its pods.
fn tiers(model: &Model<'_>, item: &Item) -> Vec<(i32, FixedBitSet)> {
    let holds: Vec<bool> = model.kinds.shapes.iter().map(|s| model.fits(item.class as usize, &s.room)).collect();
    let mut by_weight = BTreeMap::<i32, (bool, FixedBitSet)>::new();
    for at in item.kinds.ones() {
        let kind = &model.kinds.kinds[at];
        let weight = model.problem.pools[kind.pool.index()].weight;
        let (any, set) = by_weight
            .entry(weight)
            .or_insert_with(|| (false, FixedBitSet::with_capacity(model.kinds.kinds.len())));
        *any |= holds[kind.shape as usize];
        set.insert(at);
    }
    by_weight.into_iter().rev().filter(|(_, (any, _))| *any).map(|(weight, (_, set))| (weight, set)).collect()
}

/// Turns patterns of items into named pods on nodes.
fn hand_out(
    model: &Model<'_>,
    dealt: &Dealt,
    placed: &[(usize, Pattern)],
    incumbent: &Incumbent,
    budget: &Budget,
    solution: &mut Solution,
) {
    let problem = model.problem;
    let mut next = vec![0usize; model.classes.classes.len()];
    let mut take = |class: u32, count: u32, into: &mut Vec<PodId>| {
        let at = &mut next[class as usize];
        into.extend_from_slice(&model.classes.classes[class as usize].pods[*at..*at + count as usize]);
        *at += count as usize;
    };
    let by_name = |pods: &mut Vec<PodId>| {
        pods.sort_unstable_by(|a, b| problem.pods[a.index()].name.cmp(&problem.pods[b.index()].name));
    };
    let mut on_node = BTreeMap::<&str, (usize, Vec<PodId>)>::new();
    for (node, pattern) in placed {
        let (_, pods) = on_node.entry(&problem.nodes[*node].name).or_insert_with(|| (*node, Vec::new()));
        for (item, count) in pattern {
            take(dealt.items[*item as usize].class, *count, pods);
        }
    }
    for (node, mut pods) in on_node.into_values() {
        by_name(&mut pods);
        solution.placements.push(Placement { node: NodeId::of(node), pods });
    }
    for bins in &incumbent.bins {
        let kind = &model.kinds.kinds[bins.kind as usize];
        let alternatives = alternatives(model, &dealt.items, bins);
        for _ in 0..bins.copies {
            let mut pods = Vec::new();
            for (item, count) in &bins.pattern {
                take(dealt.items[*item as usize].class, *count, &mut pods);
            }
            by_name(&mut pods);
            solution.new_nodes.push(NewNode {
                pool: kind.pool,
                instance_type: kind.instance_type,
                offering: kind.offering as usize,
                chosen_labels: model.kinds.variants[kind.variant as usize].chosen.clone().into_iter().collect(),
                price: Price::from_micros(kind.price),
                pods,
                daemons: model.kinds.shapes[kind.shape as usize].daemons.clone(),
                alternatives: alternatives.clone(),
            });
        }
    }
    let place = |node: &NewNode| {
        let of_type = &problem.types[node.instance_type.index()];
        let offering = &of_type.offerings[node.offering];
        (of_type.name.as_str(), offering.zone.as_str(), offering.capacity_type.as_str())
    };
    let pool_name = |node: &NewNode| problem.pools[node.pool.index()].name.as_str();
    let first = |node: &NewNode| node.pods.first().map_or("", |p| problem.pods[p.index()].name.as_str());
    solution.new_nodes.sort_by(|a, b| {
        let pools = pool_name(a).cmp(pool_name(b));
        pools.then(b.price.cmp(&a.price)).then_with(|| place(a).cmp(&place(b))).then_with(|| first(a).cmp(first(b)))
    });
    let mut unplaced = Vec::new();
    for class in 0..model.classes.classes.len() {
        let pods = &model.classes.classes[class].pods[next[class]..];
        if !pods.is_empty() {
            let why = reasons(model, class, &dealt.stuck, budget);
            unplaced.extend(pods.iter().map(|pod| Unplaced { pod: *pod, reasons: why.clone() }));
        }
    }
    unplaced.sort_by(|a, b| problem.pods[a.pod.index()].name.cmp(&problem.pods[b.pod.index()].name));
    solution.unplaced = unplaced;
}

/// Other types that hold the same pods, from the same pool, in the same zone and capacity type: cheapest first.
fn alternatives(model: &Model<'_>, items: &[Item], bins: &Bins) -> Vec<TypeId> {
    let problem = model.problem;
    let chosen = &model.kinds.kinds[bins.kind as usize];
    let sold = |kind: &crate::kind::Kind| {
        let offering = &problem.types[kind.instance_type.index()].offerings[kind.offering as usize];
        (offering.zone.as_str(), offering.capacity_type.as_str())
    };
    let load = load(model, items, &bins.pattern);
    let mut found: Vec<(i64, &str, TypeId)> = Vec::new();
    for (at, kind) in model.kinds.kinds.iter().enumerate() {
        let fits = || {
            let room = &model.kinds.shapes[kind.shape as usize].room;
            load.iter().zip(room).all(|(need, have)| need <= have)
                && bins.pattern.iter().all(|(item, _)| items[*item as usize].kinds.contains(at))
        };
        if kind.variant == chosen.variant && kind.instance_type != chosen.instance_type && sold(kind) == sold(chosen) && fits() {
            found.push((kind.price, &problem.types[kind.instance_type.index()].name, kind.instance_type));
        }
    }
    found.sort_unstable();
    found.dedup_by_key(|(_, _, id)| *id);
    found.into_iter().take(ALTERNATIVES).map(|(_, _, id)| id).collect()
}

/// Whether any pool of this weight has a limit.
pub(crate) fn tier_is_limited(model: &Model<'_>, weight: i32) -> bool {
    let budget = Budget::of(model);
    (0..model.problem.pools.len())
        .any(|pool| model.problem.pools[pool].weight == weight && budget.limits(PoolId::of(pool)))
}
