//! Pays a little for nodes that can be launched as more instance types.
//!
//! Spot capacity comes and goes by type and zone. A node whose pods only three types hold is one that is not to be had on
//! a bad day; the same pods on two nodes of half the size may find thirty. So each node of the capacity type in question
//! that falls short of the wanted number of types is looked at again:
//!
//! - could its pods go to another `NodePool` of the same weight, where more types hold them?
//! - could they be split evenly over some smaller nodes, or one kind of pod get a node of its own, so that each part finds
//!   enough types?
//!
//! The cheapest change that reaches the wanted number is taken, else the one that comes nearest; changes are made from the
//! cheapest on, until the share of the plan's cost that may be spent is. Parts of a bin break no rule that the bin kept:
//! host rules only get looser, and every part stays in the zone (or other domain) that a rule tied it to.

use std::collections::BTreeSet;

use crate::alternatives::{Alternatives, offering};
use crate::arrangement::{Pods, of_items};
use crate::class::SelectorId;
use crate::model::Model;
use crate::pack::improve::{classes, load};
use crate::pack::{Bins, Budget, Incumbent, Pattern};
use crate::problem::{TopologyKey, TypeId};
use crate::stock::Stock;

/// How many instance types a node should be launchable as, and what that may cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Diversity {
    /// The capacity type whose nodes should be ("spot"); others are left alone.
    pub capacity_type: String,
    /// The wanted number of instance types, the node's own included.
    pub types: usize,
    /// The most that may be spent on it, as a share of the plan's cost; 0.01 is 1 %.
    pub premium: f64,
}

/// Numbers of even parts that are tried.
const PARTS: [usize; 5] = [2, 3, 4, 6, 8];
/// So many times kinds are looked through for what holds a pattern, some tens of microseconds each.
const LOOKS: u32 = 5_000;

/// A change of one bin.
struct Change {
    at: usize,
    /// What one bin becomes.
    parts: Vec<(u32, Pattern)>,
    /// Micro-dollars an hour more for each copy.
    extra: i64,
}

/// Changes bins for more flexible ones. What that costs, in micro-dollars an hour.
pub(crate) fn diversify(
    model: &Model<'_>,
    stock: &Stock,
    wanted: &Diversity,
    budget: &mut Budget,
    incumbent: &mut Incumbent,
) -> i64 {
    let premium = if wanted.premium.is_finite() { wanted.premium.clamp(0.0, 1e6) } else { 0.0 };
    let mut purse = (incumbent.cost(model, stock) as f64 * premium) as i64;
    if purse <= 0 {
        return 0;
    }
    let purse_before = purse;
    let looker = Looker { model, stock, wanted, choices: Alternatives::of(model), glued: glued(model) };
    let mut changes = looker.changes(incumbent);
    changes.sort_by_key(|change| (change.extra, change.at));
    let mut added = Vec::new();
    for change in changes {
        let bins = &mut incumbent.bins[change.at];
        let affordable = if change.extra > 0 { purse / change.extra } else { i64::MAX };
        let copies = i64::from(bins.copies).min(affordable) as u32;
        let new = change.parts.into_iter().map(|(kind, pattern)| Bins { kind, pattern, copies });
        let new: Vec<Bins> = new.collect();
        let mut after = budget.clone();
        after.take(model, &model.kinds.kinds[bins.kind as usize], -i64::from(copies));
        let bought = Incumbent { bins: new, ..Incumbent::default() };
        if let Some(after) = after.after(model, &bought).filter(|_| copies > 0) {
            *budget = after;
            purse -= change.extra * i64::from(copies);
            bins.copies -= copies;
            added.extend(bought.bins);
        }
    }
    incumbent.bins.extend(added);
    incumbent.tidy();
    purse_before - purse
}

struct Looker<'m> {
    model: &'m Model<'m>,
    stock: &'m Stock,
    wanted: &'m Diversity,
    choices: Alternatives<'m>,
    glued: BTreeSet<usize>,
}

impl Looker<'_> {
    /// The best change for each bin that falls short, the least flexible first.
    fn changes(&self, incumbent: &Incumbent) -> Vec<Change> {
        let mut looks = 0;
        let mut short = Vec::new();
        for (at, bins) in incumbent.bins.iter().enumerate() {
            let kind = &self.model.kinds.kinds[bins.kind as usize];
            if offering(self.model, kind).capacity_type == self.wanted.capacity_type {
                let types = self.types(&self.holding(&bins.pattern, bins.kind, kind.variant));
                if types < self.wanted.types {
                    short.push((types, at));
                }
            }
        }
        short.sort_unstable();
        let mut changes = Vec::new();
        for (types, at) in short {
            if looks >= LOOKS {
                break;
            }
            changes.extend(self.change(&incumbent.bins[at], at, types, &mut looks));
        }
        changes
    }

    /// The best change of one bin that `types` types hold now.
    fn change(&self, bins: &Bins, at: usize, types: usize, looks: &mut u32) -> Option<Change> {
        let price = self.model.kinds.kinds[bins.kind as usize].price;
        let splits = std::iter::once(vec![bins.pattern.clone()]).chain(self.splits(bins));
        let mut best: Option<((bool, usize, i64, usize), Change)> = None;
        for split in splits {
            let number = split.len();
            let mut parts = Vec::with_capacity(number);
            let (mut least, mut cost) = (usize::MAX, 0i64);
            for pattern in split {
                let Some((kind, types)) = self.home(&pattern, bins.kind, looks) else { break };
                least = least.min(types);
                cost = cost.saturating_add(self.model.kinds.kinds[kind as usize].price);
                parts.push((kind, pattern));
            }
            if parts.len() < number || least <= types {
                continue;
            }
            let (reached, extra) = (least >= self.wanted.types, cost.saturating_sub(price));
            // Whatever reaches the wanted number is as good; below it, more types are better than less money.
            let key = (!reached, if reached { 0 } else { usize::MAX - least }, extra, number);
            if best.as_ref().is_none_or(|(other, _)| key < *other) {
                best = Some((key, Change { at, parts, extra }));
            }
        }
        best.map(|(_, change)| change)
    }

    /// Where `pattern` is best held, and by how many types: in a `NodePool` as heavy as that of `like`, the cheapest kind
    /// that reaches the wanted number, else the kind with most types.
    fn home(&self, pattern: &Pattern, like: u32, looks: &mut u32) -> Option<(u32, usize)> {
        let kinds = &self.model.kinds;
        let weight = |variant: usize| self.model.problem.pools[kinds.variants[variant].pool.index()].weight;
        let own = kinds.kinds[like as usize].variant as usize;
        let alike = (0..kinds.variants.len()).filter(|variant| weight(*variant) == weight(own));
        let found = alike.filter_map(|variant| {
            *looks += 1;
            let holding = self.holding(pattern, like, variant as u32);
            let cheapest = holding.iter().copied().find(|at| self.is_wanted(*at))?;
            if !self.model.is_varied(cheapest, classes(self.stock, pattern)) {
                return None;
            }
            let types = self.types(&holding);
            let reached = types >= self.wanted.types;
            let key = (!reached, if reached { 0 } else { usize::MAX - types });
            Some(((key, kinds.kinds[cheapest as usize].price, variant != own, variant), (cheapest, types)))
        });
        found.min_by_key(|(key, _)| *key).map(|(_, home)| home)
    }

    /// The kinds of a variant that could hold a bin's pods where `like` holds them now.
    fn holding(&self, pattern: &Pattern, like: u32, variant: u32) -> Vec<u32> {
        let mut pods = Pods::new();
        of_items(self.model, self.stock, pattern, &mut pods);
        self.choices.holding(&pods, like, variant)
    }

    /// Ways to take a bin's pods apart.
    fn splits(&self, bins: &Bins) -> Vec<Vec<Pattern>> {
        let class = |item: &u32| self.stock.items[*item as usize].class as usize;
        let pods: u32 = bins.pattern.iter().map(|(_, count)| count).sum();
        if pods < 2 || bins.pattern.iter().any(|(item, _)| self.glued.contains(&class(item))) {
            return Vec::new();
        }
        let even = PARTS.iter().filter(|parts| **parts <= pods as usize).map(|parts| self.even(bins, *parts));
        let mut splits: Vec<Vec<Pattern>> = even.collect();
        if bins.pattern.len() > 1 {
            for alone in &bins.pattern {
                let rest = bins.pattern.iter().filter(|other| *other != alone).copied().collect();
                splits.push(vec![vec![*alone], rest]);
            }
        }
        splits
    }

    /// The pods of a bin in so many parts of about one size: big ones first, each to the part with most room.
    fn even(&self, bins: &Bins, number: usize) -> Vec<Pattern> {
        let kind = &self.model.kinds.kinds[bins.kind as usize];
        let room = &self.model.kinds.shapes[kind.shape as usize].room;
        let share = |item: u32| {
            let one = load(self.model, self.stock, &vec![(item, 1)]);
            one.iter().zip(room).map(|(need, room)| *need as f64 / (*room).max(1) as f64).fold(0.0, f64::max)
        };
        let mut sized: Vec<(f64, u32, u32)> =
            bins.pattern.iter().map(|(item, count)| (share(*item), *item, *count)).collect();
        sized.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut parts: Vec<(f64, Pattern)> = vec![(0.0, Pattern::new()); number];
        for (size, item, count) in sized {
            for part in &mut parts {
                let each = count / number as u32;
                if each > 0 {
                    crate::pack::add_to(&mut part.1, item, each);
                    part.0 += size * f64::from(each);
                }
            }
            for _ in 0..count % number as u32 {
                let emptiest = parts.iter_mut().min_by(|a, b| a.0.total_cmp(&b.0));
                if let Some(part) = emptiest {
                    crate::pack::add_to(&mut part.1, item, 1);
                    part.0 += size;
                }
            }
        }
        parts.into_iter().map(|(_, pattern)| pattern).filter(|pattern| !pattern.is_empty()).collect()
    }

    fn is_wanted(&self, kind: u32) -> bool {
        let kind = &self.model.kinds.kinds[kind as usize];
        offering(self.model, kind).capacity_type == self.wanted.capacity_type
    }

    /// How many types of the wanted capacity type are among these kinds.
    fn types(&self, kinds: &[u32]) -> usize {
        let wanted = kinds.iter().filter(|at| self.is_wanted(**at));
        let types: BTreeSet<TypeId> =
            wanted.map(|at| self.model.kinds.kinds[*at as usize].instance_type).collect();
        types.len()
    }
}

/// Classes whose pods may not be taken from the node they share with others: required affinity over hosts.
fn glued(model: &Model<'_>) -> BTreeSet<usize> {
    let problem = model.problem;
    let all = 0..model.classes.classes.len();
    let near = |class: usize| {
        let terms = model.spec(class).affinity.iter().filter(|term| term.key == TopologyKey::Host);
        terms.map(|term| model.classes.selector_id(&term.selector))
    };
    let running = problem.nodes.iter().flat_map(|n| &n.pods).map(|p| &problem.specs[p.spec.index()]);
    let running = running.flat_map(|s| &s.affinity).filter(|term| term.key == TopologyKey::Host);
    let selectors: BTreeSet<SelectorId> = all
        .clone()
        .flat_map(near)
        .chain(running.map(|term| model.classes.selector_id(&term.selector)))
        .collect();
    let is_glued = |class: &usize| {
        near(*class).next().is_some()
            || model.classes.classes[*class].matched.iter().any(|s| selectors.contains(s))
    };
    all.filter(is_glued).collect()
}
