//! The search for a cheap packing of new bins, rung by rung.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use fixedbitset::FixedBitSet;

use crate::bound::{Part, Relaxation, farley_bound, resource_bound, resource_prices};
use crate::host_rule::HostState;
use crate::memory::{Memory, Recalled};
use crate::model::Model;
use crate::pack::columns::Columns;
use crate::pack::construct::{Thrift, construct, correct, first_values};
use crate::pack::cover::cover;
use crate::pack::existing::fill_existing;
use crate::pack::fill::{Bin, Filler};
use crate::pack::improve::{classes, downsize, load, plug, repack_worst};
use crate::pack::merge::merge;
use crate::pack::route::{self, Routes};
use crate::pack::useful::{Asking, Menu, Useful, thinned, useful};
use crate::pack::{Bins, Budget, Incumbent, Pattern, Shelf, add_to};
use crate::stock::{Domain, Lot, Stock};
use crate::topology::Dealt;
use crate::{Effort, Options, Progress, stage};

/// Passes of value correction over one construction.
const PASSES: u32 = 12;
/// The same where a memory of solves before has better values to begin with.
const PASSES_REMEMBERED: u32 = 2;
/// The quick effort begins no pass of a stage after this many steps: some tens of milliseconds.
const QUICK_STEPS: u64 = 2_000_000;
/// Rounds of column generation, of which every few are rounded to a packing.
const ROUNDS: u32 = 60;
const ROUNDS_BETWEEN_ROUNDINGS: u32 = 6;
/// Balanced effort stops after this many rounds of which none closed much of the gap,
const STALLED: u32 = 30;
/// which is this share of it.
const MUCH: f64 = 0.03;
/// Where even the master's fractions of bins cost this many times the asked-for gap above the bound, the target is out of
/// reach: what lacks is the proof. Balanced effort then rounds as soon as the master
const OUT_OF_REACH: f64 = 1.5;
/// falls by less than this share from one round to the next,
const SLOW: f64 = 5e-4;
/// and is content with a plan that costs this share more than the master, instead of going on while its budget lasts.
const CONTENT: f64 = 2.5e-3;
/// Shares of the bins, the worst of them, that repacking takes apart.
const SHARES: [f64; 4] = [0.02, 0.05, 0.1, 0.3];
/// Fractions of a bin above which rounding buys it.
const THRESHOLDS: [f64; 4] = [1.0, 0.8, 0.6, 0.4];

/// For each lot, the kinds it may use; by tier of `NodePool` weight.
pub(crate) struct Stages {
    /// By lot: its tiers, heaviest first, each with the kinds that could hold one of its pods.
    pub(crate) tiers: Vec<Vec<(i32, Rc<FixedBitSet>)>>,
}

impl Stages {
    /// Of everything there is to pack.
    pub(crate) fn of(model: &Model<'_>, stock: &Stock) -> Self {
        Self { tiers: stock.lots.iter().map(|lot| tiers(model, lot)).collect() }
    }
}

/// What a search found.
pub(crate) struct Outcome {
    /// What each existing node got.
    pub(crate) placed: Vec<(usize, Pattern)>,
    pub(crate) incumbent: Incumbent,
    /// Micro-dollars an hour.
    pub(crate) bound: i64,
    pub(crate) budget: Budget,
    pub(crate) stages: Stages,
    pub(crate) useful_kinds: usize,
    pub(crate) steps: u64,
}

/// The state of one solve.
pub(crate) struct Search<'a> {
    model: &'a Model<'a>,
    dealt: &'a Dealt,
    stock: &'a Stock,
    options: &'a Options,
    memory: &'a mut Memory,
    cancel: &'a AtomicBool,
    stages: Stages,
    budget: Budget,
    /// Whether a bound is wanted.
    pub(crate) proving: bool,
    /// Whether pods that find no room on nodes are routed, where they may be.
    settling: bool,
    filler: Filler,
    placed: Vec<(usize, Pattern)>,
    incumbent: Incumbent,
    /// The bound, if every pod finds a place, and what it is a bound of.
    bound: i64,
    relaxed: Option<Relaxation>,
}

impl<'a> Search<'a> {
    pub(crate) fn new(
        model: &'a Model<'a>,
        dealt: &'a Dealt,
        options: &'a Options,
        memory: &'a mut Memory,
        cancel: &'a AtomicBool,
    ) -> Self {
        Self {
            model,
            dealt,
            stock: &dealt.stock,
            options,
            memory,
            cancel,
            stages: Stages::of(model, &dealt.stock),
            budget: Budget::of(model),
            proving: true,
            settling: true,
            filler: Filler::default(),
            placed: Vec::new(),
            incumbent: Incumbent { left: dealt.stock.counts(), ..Incumbent::default() },
            bound: 0,
            relaxed: None,
        }
    }

    pub(crate) fn run(mut self, progress: Progress<'_>) -> Outcome {
        let first = self.allowed(0, None);
        let start = self.useful(&first);
        let useful_kinds = start.len();
        let values = first_values(self.model, self.stock, &start, &self.budget);
        progress(stage::FILLING, 0, self.model.problem.nodes.len() as u64);
        let mut left = std::mem::take(&mut self.incumbent.left);
        self.placed = fill_existing(self.model, self.stock, &mut left, &values, &mut self.filler);
        if self.proving {
            progress(stage::BOUNDING, 0, 1);
            let all = hopeless(self.stock, &left, &self.stages);
            let relaxed = Relaxation::of(self.model, self.dealt, &self.placed, &all, &self.stages);
            let prices = resource_prices(self.model, &relaxed);
            self.filler.steps += prices.steps;
            self.bound = relaxed.round_up(self.model, prices.bound);
            self.relaxed = Some(relaxed);
            self.budget.value(self.model, &prices.tolls());
        }
        self.incumbent.left.clone_from(&left);
        // Limits seldom bind: only when they leave pods over does it matter who goes first.
        let whole = self.budget.clone();
        self.stage(&first, &start, values, progress);
        route::settle(self.stock, &mut self.incumbent);
        let misplaced =
            |this: &Self| this.incumbent.left != hopeless(this.stock, &this.incumbent.left, &this.stages);
        if whole.binds(self.model) && misplaced(&self) {
            self.budget = whole.clone();
            self.incumbent = Incumbent { left: left.clone(), ..Incumbent::default() };
            self.by_priority(progress);
            if misplaced(&self) && self.stock.lots.iter().any(|lot| lot.route.is_some()) {
                self.make_way(whole, left, progress);
            }
        } else if whole.binds(self.model)
            && self.incumbent.routed.iter().any(|(item, _)| self.has_lighter(*item))
        {
            // Where a limit has sent pods to routes, lighter NodePools may be cheaper.
            let other = Incumbent { left: left.clone(), ..Incumbent::default() };
            let (incumbent, budget) = (std::mem::replace(&mut self.incumbent, other), self.budget.clone());
            self.budget = whole;
            self.by_priority(progress);
            let key = |i: &Incumbent| (i.unpacked(), i.cost(self.model, self.stock));
            if key(&incumbent) <= key(&self.incumbent) {
                (self.incumbent, self.budget) = (incumbent, budget);
            }
        }
        if self.proving && misplaced(&self) {
            let left = &self.incumbent.left;
            let relaxed = Relaxation::of(self.model, self.dealt, &self.placed, left, &self.stages);
            self.bound = relaxed.round_up(self.model, resource_bound(self.model, &relaxed));
        }
        Outcome {
            placed: self.placed,
            incumbent: self.incumbent,
            bound: self.bound,
            budget: self.budget,
            stages: self.stages,
            useful_kinds,
            steps: self.filler.steps,
        }
    }

    /// Whether an item may use `NodePools` of several weights.
    fn has_lighter(&self, item: u32) -> bool {
        self.stages.tiers[self.stock.items[item as usize].lot as usize].len() > 1
    }

    /// Where limits bind, higher priorities go first, and what a tier has no room for falls to the next.
    fn by_priority(&mut self, progress: Progress<'_>) {
        let rounds = self.stages.tiers.iter().map(Vec::len).max().unwrap_or(0);
        let mut priorities: Vec<i32> = self.stock.lots.iter().map(|lot| lot.priority).collect();
        priorities.sort_unstable_by(|a, b| b.cmp(a));
        priorities.dedup();
        for priority in priorities {
            for round in 0..rounds {
                // A lighter NodePool may be cheaper than a route.
                self.settling = round + 1 == rounds;
                let allowed = self.allowed(round, Some(priority));
                let useful = self.useful(&allowed);
                let values = first_values(self.model, self.stock, &useful, &self.budget);
                self.top_up(&allowed);
                self.stage(&allowed, &useful, values, &mut *progress);
            }
        }
        self.settling = true;
        route::settle(self.stock, &mut self.incumbent);
    }

    /// Plans again with all pods on routes that have one, so that they take no room that limits leave from those that have
    /// none; and keeps that plan where it holds more.
    fn make_way(&mut self, whole: Budget, left: Vec<u32>, progress: Progress<'_>) {
        let way = Incumbent { left, ..Incumbent::default() };
        let (incumbent, budget) = (std::mem::replace(&mut self.incumbent, way), self.budget.clone());
        route::settle(self.stock, &mut self.incumbent);
        self.budget = whole;
        self.by_priority(progress);
        if self.incumbent.unpacked() >= incumbent.unpacked() {
            (self.incumbent, self.budget) = (incumbent, budget);
        }
    }

    /// By lot: the kinds of its tier number `round`; none for lots that have no such tier or another priority.
    fn allowed(&self, round: usize, priority: Option<i32>) -> Vec<Rc<FixedBitSet>> {
        let none = Rc::new(FixedBitSet::with_capacity(self.model.kinds.kinds.len()));
        let pick = |(lot, tiers): (&Lot, &Vec<(i32, Rc<FixedBitSet>)>)| {
            let wanted = priority.is_none_or(|p| lot.priority == p);
            let tier = tiers.get(round).filter(|_| wanted);
            Rc::clone(tier.map_or(&none, |(_, kinds)| kinds))
        };
        self.stock.lots.iter().zip(&self.stages.tiers).map(pick).collect()
    }

    /// The kinds worth a look where lots may use `allowed`.
    fn useful(&mut self, allowed: &[Rc<FixedBitSet>]) -> Vec<Useful> {
        self.filler.steps += self.model.kinds.kinds.len() as u64;
        let lots = self.stock.lots.iter().zip(allowed);
        let asking: Vec<Asking<'_>> = lots.map(|(lot, kinds)| Asking { need: &lot.need, kinds }).collect();
        useful(self.model, &asking, &self.budget)
    }

    /// Buys bins for what is left of the items with allowed kinds.
    fn stage(
        &mut self,
        allowed: &[Rc<FixedBitSet>],
        useful: &[Useful],
        mut values: Vec<f64>,
        progress: Progress<'_>,
    ) {
        let wanted: Vec<u32> = self
            .stock
            .items
            .iter()
            .zip(&self.incumbent.left)
            .map(|(item, left)| if allowed[item.lot as usize].is_clear() { 0 } else { *left })
            .collect();
        if wanted.iter().all(|n| *n == 0) || useful.is_empty() {
            return;
        }
        let thin = thinned(self.model, useful, &self.budget);
        let menu = Menu { whole: useful, thin: thin.as_deref().unwrap_or(useful) };
        let mut best: Option<(Incumbent, Budget)> = None;
        let Recalled { columns: known, values: worth } = self.memory.recall(self.model, self.stock, useful);
        for (value, known) in values.iter_mut().zip(worth) {
            *value = known.unwrap_or(*value);
        }
        route::cap(self.stock, &mut values);
        let before = self.filler.steps;
        let passes = if known.is_empty() { PASSES } else { PASSES_REMEMBERED };
        let mut columns = Columns::default();
        for column in known {
            columns.add(column);
        }
        // Where a limit may bind, pods on routes make way for those that have none.
        if self.budget.binds(self.model) {
            self.begin_beside(&wanted, menu, &values, &mut columns, &mut best);
        }
        for pass in 0..passes {
            progress(stage::PACKING, u64::from(pass), u64::from(passes));
            // Pods left over mean that a limit binds: from then on, spend the limit well instead of the money.
            let short = best.as_ref().is_some_and(|(b, _)| b.unpacked() > 0);
            let thrift = if short && pass % 2 == 1 { Thrift::Limits } else { Thrift::Money };
            let begun = Incumbent { left: wanted.clone(), ..Incumbent::default() };
            let budget = self.budget.clone();
            let found = self.complete(begun, budget, menu, &values, thrift);
            correct(self.model, self.stock, &found.0, &self.budget, &mut values);
            route::cap(self.stock, &mut values);
            columns.learn(self.stock, &found.0);
            self.keep(&mut best, found);
            let hurried = self.options.effort == Effort::Quick && self.filler.steps - before >= QUICK_STEPS;
            if hurried || self.stopped() || self.good_enough(best.as_ref()) {
                break;
            }
        }
        if !self.budget.binds(self.model) && !self.stopped() && !self.good_enough(best.as_ref()) {
            self.begin_beside(&wanted, menu, &values, &mut columns, &mut best);
        }
        let all_packed = best.as_ref().is_some_and(|(b, _)| b.unpacked() == 0);
        if all_packed && self.options.effort > Effort::Quick {
            self.generate(&mut columns, &mut values, &wanted, menu, &mut best, progress);
        }
        self.memory.keep(self.model, self.stock, columns.used(), &values);
        if let Some((mut found, mut budget)) = best {
            let steps = &mut self.filler.steps;
            *steps += merge(self.model, self.stock, useful, &values, &mut budget, &mut found);
            self.incumbent.bins.append(&mut found.bins);
            for (item, count) in found.routed {
                add_to(&mut self.incumbent.routed, item, count);
            }
            for ((left, wanted), still) in self.incumbent.left.iter_mut().zip(&wanted).zip(&found.left) {
                *left -= wanted - still;
            }
            self.budget = budget;
        }
        self.incumbent.tidy();
    }

    /// A packing that begins with all pods on routes that have one: what then finds room, finds it for nothing.
    fn begin_beside(
        &mut self,
        wanted: &[u32],
        menu: Menu<'_>,
        values: &[f64],
        columns: &mut Columns,
        best: &mut Option<(Incumbent, Budget)>,
    ) {
        let mut beside = Incumbent { left: wanted.to_vec(), ..Incumbent::default() };
        route::settle(self.stock, &mut beside);
        if !beside.routed.is_empty() {
            let found = self.complete(beside, self.budget.clone(), menu, values, Thrift::Money);
            columns.learn(self.stock, &found.0);
            self.keep(best, found);
        }
    }

    /// Improves on the best by column generation and rounding.
    fn generate(
        &mut self,
        columns: &mut Columns,
        values: &mut Vec<f64>,
        wanted: &[u32],
        menu: Menu<'_>,
        best: &mut Option<(Incumbent, Budget)>,
        progress: Progress<'_>,
    ) {
        let demand = self.stock.by_lot(wanted);
        let mut offer = menu.thin;
        let (mut least, mut closed) = (f64::INFINITY, 0);
        // What the last round took, and what its master came to.
        let (mut took, mut last) = (0, f64::INFINITY);
        for number in 1..=ROUNDS {
            if self.stopped() || self.good_enough(best.as_ref()) {
                return;
            }
            // Rounds for which there would be no rounding are spared.
            let before = self.filler.steps;
            let ahead = took * u64::from(number.next_multiple_of(ROUNDS_BETWEEN_ROUNDINGS) - number);
            if before.saturating_add(ahead) >= self.options.max_steps {
                return;
            }
            let mut tell = |stage| progress(stage, u64::from(number), u64::from(ROUNDS));
            tell(stage::MASTER);
            self.filler.steps += columns.steps(&demand);
            let Some(prices) = columns.solve(self.model, self.stock, &demand, &self.budget) else { return };
            *values = prices.lots;
            let tolls = prices.quotas;
            self.budget.value(self.model, &tolls);
            tell(stage::PRICING);
            let budget = &self.budget;
            let mut more =
                columns.price(self.model, self.stock, offer, wanted, values, budget, &mut self.filler);
            if !more && offer.len() < menu.whole.len() {
                // What a thinned menu had to teach is learnt.
                offer = menu.whole;
                more = columns.price(self.model, self.stock, offer, wanted, values, budget, &mut self.filler);
            }
            took = self.filler.steps - before;
            let slow = self.is_out_of_reach(prices.least) && prices.least > last * (1.0 - SLOW);
            last = prices.least;
            if more && !slow && number % ROUNDS_BETWEEN_ROUNDINGS != 0 && number != ROUNDS {
                continue;
            }
            last = f64::INFINITY;
            tell(stage::ROUNDING);
            let round = |threshold| columns.round(self.model, self.stock, wanted, &self.budget, threshold);
            let begun = THRESHOLDS.into_iter().map(round);
            #[cfg(feature = "highs")]
            let begun = begun.chain(columns.cover(self.model, self.stock, wanted, &demand, &self.budget));
            for begun in begun.collect::<Vec<Incumbent>>() {
                if let Some(budget) = self.budget.after(self.model, &begun) {
                    let found = self.complete(begun, budget, menu, values, Thrift::Money);
                    columns.learn(self.stock, &found.0);
                    self.keep(best, found);
                }
            }
            // Prove what the prices are worth, and learn what greedy pricing missed.
            let bound = self.bound;
            if !self.good_enough(best.as_ref()) {
                tell(stage::PROVING);
                if !self.prove(columns, values, &tolls) && !more {
                    return;
                }
            }
            let gap = self.gap(best.as_ref());
            if gap <= least * (1.0 - MUCH) {
                (least, closed) = (gap, number);
            }
            let content = |best: &(Incumbent, Budget)| {
                best.0.unpacked() == 0
                    && best.0.cost(self.model, self.stock) as f64 <= prices.least * (1.0 + CONTENT)
            };
            // A bound that rises may rise on.
            if self.bound == bound && self.is_out_of_reach(prices.least) && best.as_ref().is_some_and(content)
            {
                return;
            }
            if number - closed >= STALLED && self.options.effort < Effort::Thorough {
                return;
            }
        }
    }

    /// Raises the bound with the dual prices of items. Whether patterns were found that the columns lacked.
    fn prove(&mut self, columns: &mut Columns, values: &[f64], tolls: &[f64]) -> bool {
        let Some(relaxed) = &self.relaxed else { return false };
        let of_class = self.by_class();
        let cheapest = |part: &Part| {
            let of_classes = part.classes.iter().flat_map(|class| &of_class[*class as usize]);
            let lots = of_classes.map(|(item, share)| (self.stock.items[*item as usize].lot, share));
            let of_part = lots.filter(|(lot, _)| {
                let domain = &self.stock.lots[*lot as usize].domain;
                part.domain.as_ref().is_none_or(|d| in_domain(domain, d))
            });
            // A part free to go anywhere is worth what it costs in its cheapest domain.
            let worth = of_part.map(|(lot, share)| values[lot as usize] * share);
            worth.filter(|v| *v > 0.0).fold(f64::INFINITY, f64::min)
        };
        let prices: Vec<f64> =
            relaxed.parts.iter().map(cheapest).map(|v| if v.is_finite() { v } else { 0.0 }).collect();
        let proof = farley_bound(self.model, relaxed, &prices, tolls, self.bound);
        self.filler.steps += proof.steps;
        self.bound = self.bound.max(relaxed.round_up(self.model, proof.bound));
        let mut new = false;
        for (kind, pattern) in proof.missed {
            // A pattern of parts is one of items where items enough of its classes may use the kind.
            let mut items = Some(Pattern::new());
            for (part, mut count) in pattern {
                let of_classes =
                    relaxed.parts[part as usize].classes.iter().flat_map(|class| &of_class[*class as usize]);
                // Members of a team are no pattern on their own.
                let plain = of_classes.map(|(at, _)| at).filter(|at| {
                    self.stock.kinds(**at).contains(kind as usize)
                        && (self.stock.items[**at as usize].class as usize) < of_class.len()
                });
                for at in plain {
                    let taken = count.min(self.stock.items[*at as usize].count);
                    if let (Some(items), true) = (&mut items, taken > 0) {
                        add_to(items, *at, taken);
                    }
                    count -= taken;
                }
                items = items.filter(|_| count == 0);
            }
            if let Some(items) = items.filter(|items| self.agree(kind, items)) {
                new |= columns.teach(self.stock, kind, &items);
            }
        }
        new
    }

    /// The items of each class, each with the share of its value that is one pod's: less than all in a team.
    fn by_class(&self) -> Vec<Vec<(u32, f64)>> {
        let mut of_class = vec![Vec::new(); self.model.classes.classes.len()];
        for (at, item) in self.stock.items.iter().enumerate() {
            let whole = &self.model.requests[item.class as usize];
            for (class, _) in self.model.members(item.class) {
                let parts =
                    self.model.requests[class as usize].iter().zip(whole).filter(|(_, all)| **all > 0);
                let (sum, number) = parts.fold((0.0, 0.0), |(sum, number), (n, all)| {
                    (sum + *n as f64 / *all as f64, number + 1.0)
                });
                of_class[class as usize].push((at as u32, sum / f64::max(number, 1.0)));
            }
        }
        of_class
    }

    /// Whether the rules between pods of one host, and those on what the host could be launched as, let a pattern be.
    fn agree(&self, kind: u32, pattern: &Pattern) -> bool {
        let mut state = HostState::default();
        pattern.iter().all(|(item, count)| {
            let class = self.stock.items[*item as usize].class;
            let allowed = self.model.rules.allowance(class, &state) >= *count;
            self.model.rules.add(class, *count, &mut state);
            allowed
        }) && self.model.is_varied(kind, classes(self.stock, pattern))
    }

    /// Packs what a packing leaves, then mends the whole. Routes are held against the mended packing, so that they never
    /// make it dearer; one that begins with some is mended together with them.
    fn complete(
        &mut self,
        mut begun: Incumbent,
        mut budget: Budget,
        menu: Menu<'_>,
        values: &[f64],
        thrift: Thrift,
    ) -> (Incumbent, Budget) {
        let (model, stock) = (self.model, self.stock);
        let mut rest =
            construct(model, stock, menu.thin, begun.left, values, thrift, &mut budget, &mut self.filler);
        begun.bins.append(&mut rest.bins);
        begun.left = rest.left;
        // Mending holds bins against kinds, here and at each repair.
        self.filler.steps += (begun.bins.len() * menu.whole.len() / 8) as u64;
        downsize(model, stock, menu.whole, &mut budget, &mut begun);
        let routes = if self.settling { Routes::Settled } else { Routes::Weighed };
        if begun.routed.is_empty() {
            begun.tidy();
            self.mend(&mut begun, &mut budget, menu, values, Routes::Kept);
        }
        if stock.lots.iter().any(|lot| lot.route.is_some()) {
            route::trim(model, stock, menu.whole, &mut budget, &mut begun, &mut self.filler.steps);
            if !begun.routed.is_empty() {
                let before = route::recall(&mut begun);
                plug(model, stock, menu.whole, &mut begun);
                route::restore(before, &mut begun);
            }
            if self.settling {
                route::settle(stock, &mut begun);
            }
            begun.tidy();
            if !begun.routed.is_empty() {
                self.mend(&mut begun, &mut budget, menu, values, routes);
            }
        }
        cover(model, stock, menu.whole, &mut budget, &mut begun);
        (begun, budget)
    }

    /// Takes the worst bins apart and packs them anew, a few of them, then more.
    fn mend(
        &mut self,
        packed: &mut Incumbent,
        budget: &mut Budget,
        menu: Menu<'_>,
        values: &[f64],
        routes: Routes,
    ) {
        for share in SHARES {
            if packed.bins.is_empty() || self.stopped() {
                break;
            }
            let filler = &mut self.filler;
            repack_worst(self.model, self.stock, menu, values, budget, packed, share, routes, filler);
        }
    }

    /// Keeps the better one: fewer pods left over, then cheaper.
    fn keep(&self, best: &mut Option<(Incumbent, Budget)>, found: (Incumbent, Budget)) {
        let key = |i: &Incumbent| (i.unpacked(), i.cost(self.model, self.stock));
        if best.as_ref().is_none_or(|(b, _)| key(&found.0) < key(b)) {
            *best = Some(found);
        }
    }

    /// Whether the asked-for gap is reached.
    fn good_enough(&self, best: Option<&(Incumbent, Budget)>) -> bool {
        let gap = if self.options.effort == Effort::Thorough { 1e-6 } else { self.options.gap };
        self.gap(best) <= gap
    }

    /// Whether a master that comes to `least` is far above the bound, for an effort that minds.
    fn is_out_of_reach(&self, least: f64) -> bool {
        let whole = least + self.incumbent.cost(self.model, self.stock) as f64;
        self.options.effort < Effort::Thorough
            && whole > self.bound as f64 * (1.0 + OUT_OF_REACH * self.options.gap)
    }

    /// The relative gap of the best so far; without end where it leaves pods over.
    fn gap(&self, best: Option<&(Incumbent, Budget)>) -> f64 {
        let Some((found, _)) = best.filter(|(found, _)| found.unpacked() == 0) else { return f64::INFINITY };
        let cost = (found.cost(self.model, self.stock) + self.incumbent.cost(self.model, self.stock)) as f64;
        if cost <= self.bound as f64 { 0.0 } else { cost / (self.bound as f64).max(1e-9) - 1.0 }
    }

    /// Lets what is left into the holes of bins bought in earlier stages.
    fn top_up(&mut self, allowed: &[Rc<FixedBitSet>]) {
        let mut single = Vec::new();
        for bins in self.incumbent.bins.drain(..) {
            single.extend((0..bins.copies).map(|_| Bins { copies: 1, ..bins.clone() }));
        }
        let ones = vec![1.0; self.stock.lots.len()];
        let mut shelf = Shelf::new(self.stock, std::mem::take(&mut self.incumbent.left));
        for bins in &mut single {
            let kind = &self.model.kinds.kinds[bins.kind as usize];
            let full = load(self.model, self.stock, &bins.pattern);
            let room = &self.model.kinds.shapes[kind.shape as usize].room;
            let room: Vec<i64> = room.iter().zip(full).map(|(have, used)| have - used).collect();
            let mut state = HostState::default();
            for (item, count) in &bins.pattern {
                self.model.rules.add(self.stock.items[*item as usize].class, *count, &mut state);
            }
            let usable: Vec<u32> = (0..self.stock.lots.len() as u32)
                .filter(|lot| allowed[*lot as usize].contains(bins.kind as usize))
                .collect();
            let kept = self.model.keep_with(bins.kind, classes(self.stock, &bins.pattern));
            let bin = Bin { room: &room, state: &state, lots: &usable, kept: kept.as_ref() };
            let filled = self.filler.best(self.model, self.stock, bin, &shelf, &ones);
            for (item, count) in filled.pattern {
                shelf.take(self.stock, item, count);
                add_to(&mut bins.pattern, item, count);
            }
        }
        self.incumbent.left = shelf.left;
        self.incumbent.bins = single;
        self.incumbent.tidy();
    }

    fn stopped(&self) -> bool {
        self.filler.steps >= self.options.max_steps || self.cancel.load(Ordering::Relaxed)
    }
}

/// The tiers of a lot: its kinds by weight of their `NodePool`, where at least one could hold one of its pods.
fn tiers(model: &Model<'_>, lot: &Lot) -> Vec<(i32, Rc<FixedBitSet>)> {
    let fits = |room: &[i64]| lot.need.iter().zip(room).all(|(need, have)| need <= have);
    let holds: Vec<bool> = model.kinds.shapes.iter().map(|s| fits(&s.room)).collect();
    let mut by_weight = BTreeMap::<i32, (bool, FixedBitSet)>::new();
    for at in lot.kinds.ones() {
        let kind = &model.kinds.kinds[at];
        let weight = model.problem.pools[kind.pool.index()].weight;
        let (any, set) = by_weight
            .entry(weight)
            .or_insert_with(|| (false, FixedBitSet::with_capacity(model.kinds.kinds.len())));
        *any |= holds[kind.shape as usize];
        set.insert(at);
    }
    let tiers = by_weight.into_iter().rev().filter(|(_, (any, _))| *any);
    tiers.map(|(weight, (_, set))| (weight, Rc::new(set))).collect()
}

/// By item: the pods of `left` that no kind could ever hold, and that have no route.
fn hopeless(stock: &Stock, left: &[u32], stages: &Stages) -> Vec<u32> {
    let hopeless =
        |lot: u32| stages.tiers[lot as usize].is_empty() && stock.lots[lot as usize].route.is_none();
    stock.items.iter().zip(left).map(|(item, left)| if hopeless(item.lot) { *left } else { 0 }).collect()
}

/// Whether a domain has this value.
fn in_domain(domain: &Domain, (key, value): &(String, String)) -> bool {
    domain.iter().any(|(k, v)| k == key && v.as_ref() == Some(value))
}
