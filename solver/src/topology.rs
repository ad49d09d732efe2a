//! Rules over domains of a node label (zones, capacity types, racks): decided before packing.
//!
//! Spread and anti-affinity over a label couple bins with each other, which packing by patterns cannot see. So each
//! class that such a rule concerns is first dealt out over the label's domains, counting what runs already; packing
//! then sees one [`Item`] for each class and domain, that may only use bins of that domain.
//!
//! - *Spread*: the next pod goes to the emptiest domain that `maxSkew` allows; ties to a domain with free room on
//!   existing nodes, then to the cheapest. Eligible domains are those of existing nodes and of everything a `NodePool`
//!   offers to the pod, whether or not a node is there yet: so the outcome is valid whatever else is launched.
//! - *Anti-affinity*: a carrier has its domain to itself, both ways.
//! - *Shared volume claims* that do not exist yet: all users go to one zone.
//!
//! The hostname key is not a label here: see `host_rule`.

mod claims;
mod sole_spread;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fixedbitset::FixedBitSet;

use crate::class::SelectorId;
use crate::kind::untolerated;
use crate::model::{Model, admits, copies, selects};
use crate::problem::{Spread, TopologyKey};

pub(crate) use sole_spread::SoleSpread;

use claims::claim_zones;

/// A value for each of some label keys; an absent label is `None`.
pub(crate) type Domain = Vec<(String, Option<String>)>;

/// Pods of one class that may use the same bins: what packing packs.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) class: u32,
    pub(crate) count: u32,
    /// The domain it is tied to; empty for none.
    pub(crate) domain: Domain,
    /// Kinds it may use, before room is looked at.
    pub(crate) kinds: FixedBitSet,
}

/// Pods that no domain takes.
#[derive(Clone, Debug)]
pub(crate) struct Stuck {
    pub(crate) class: u32,
    pub(crate) why: String,
}

/// What a class was dealt.
#[derive(Debug, Default)]
pub(crate) struct Dealt {
    pub(crate) items: Vec<Item>,
    pub(crate) stuck: Vec<Stuck>,
    /// By class: the one spread rule that decides how its pods are dealt, where there is just one.
    pub(crate) spread: BTreeMap<u32, SoleSpread>,
}

/// At most this many pods of a class in a domain, learnt from an attempt that could not place more.
pub(crate) type Caps = BTreeMap<(u32, Domain), u32>;

/// Deals every class over its domains.
pub(crate) fn deal(model: &mut Model<'_>, caps: &Caps) -> Dealt {
    let total = model.classes.classes.len();
    let mut tally = Tally::build(model);
    let zones = claim_zones(model);
    let mut dealt = Dealt::default();
    // Classes with few domains choose first, big pods before small ones, then by name.
    let mut order: Vec<(usize, Vec<Candidate>)> = Vec::new();
    for class in 0..total {
        if model.spec(class).blocked.is_some() {
            continue;
        }
        let keys = tally.keys(model, class, zones.contains_key(&class));
        if keys.is_empty() {
            let kinds = model.gates[model.gate_of[class] as usize].clone();
            dealt.items.push(Item {
                class: class as u32,
                count: model.count(class),
                domain: Vec::new(),
                kinds,
            });
        } else {
            let mut candidates = candidates(model, class, &keys);
            for candidate in &mut candidates {
                if let Some(cap) = caps.get(&(class as u32, candidate.domain.clone())) {
                    candidate.most = *cap;
                }
            }
            if let Some(zone) = zones.get(&class) {
                let zone_key = &model.problem.zone_key;
                candidates
                    .retain(|c| c.domain.iter().any(|(k, v)| k == zone_key && v.as_ref() == Some(zone)));
            }
            order.push((class, candidates));
        }
    }
    order.sort_by_key(|(class, candidates)| (candidates.len(), *class));
    for (class, candidates) in order {
        if let Some(sole) = tally.sole_spread(model, class, &candidates) {
            dealt.spread.insert(class as u32, sole);
        }
        let (counts, blocked) = tally.deal_class(model, class, &candidates);
        for (candidate, count) in candidates.into_iter().zip(counts).filter(|(_, count)| *count > 0) {
            let mut kinds = candidate.kinds;
            kinds.intersect_with(&model.gates[model.gate_of[class] as usize]);
            dealt.items.push(Item { class: class as u32, count, domain: candidate.domain, kinds });
        }
        if let Some(why) = blocked {
            dealt.stuck.push(Stuck { class: class as u32, why });
        }
    }
    dealt.items.sort_by(|a, b| (a.class, &a.domain).cmp(&(b.class, &b.domain)));
    dealt
}

/// A domain that a class could use.
struct Candidate {
    domain: Domain,
    kinds: FixedBitSet,
    /// How many pods existing nodes there could take, each node looked at alone.
    free: u32,
    /// How many it may get in all: what existing nodes take where nothing can be bought.
    most: u32,
}

/// The domains in which a class has a kind or a node, the cheapest first.
fn candidates(model: &mut Model<'_>, class: usize, keys: &BTreeSet<String>) -> Vec<Candidate> {
    let feasible = model.feasible(class);
    let mut by_domain = BTreeMap::<Domain, (i64, Candidate)>::new();
    let columns: Vec<(String, Vec<String>, Vec<u32>)> = keys
        .iter()
        .map(|key| {
            let (values, of_kind) = model.kinds.values_of(key);
            (key.clone(), values.to_vec(), of_kind.to_vec())
        })
        .collect();
    let total = model.kinds.kinds.len();
    let mut by_ids = HashMap::<Vec<u32>, (i64, FixedBitSet)>::new();
    for at in feasible.ones() {
        let ids: Vec<u32> = columns.iter().map(|(_, _, of_kind)| of_kind[at]).collect();
        let price = model.kinds.kinds[at].price;
        let entry = by_ids.entry(ids).or_insert_with(|| (price, FixedBitSet::with_capacity(total)));
        entry.0 = entry.0.min(price);
        entry.1.insert(at);
    }
    for (ids, (price, kinds)) in by_ids {
        let domain = columns
            .iter()
            .zip(ids)
            .map(|((key, values, _), id)| {
                (key.clone(), id.checked_sub(1).map(|at| values[at as usize].clone()))
            })
            .collect::<Domain>();
        by_domain.insert(domain.clone(), (price, Candidate { domain, kinds, free: 0, most: u32::MAX }));
    }
    let spec = model.spec(class);
    for (at, node) in model.problem.nodes.iter().enumerate() {
        let most = copies(&model.requests[class], &model.node_room[at]);
        if most > 0 && admits(node, spec) {
            let domain: Domain = keys.iter().map(|k| (k.clone(), node.labels.get(k).cloned())).collect();
            let (_, candidate) = by_domain.entry(domain.clone()).or_insert_with(|| {
                let kinds = FixedBitSet::with_capacity(total);
                (i64::MAX, Candidate { domain, kinds, free: 0, most: 0 })
            });
            let most = most.min(model.rules.allowance(class as u32, &model.rules.of_node[at]));
            candidate.free = candidate.free.saturating_add(most);
            if candidate.most != u32::MAX {
                candidate.most = candidate.free;
            }
        }
    }
    let mut out: Vec<(i64, Candidate)> = by_domain.into_values().collect();
    out.sort_by(|(pa, a), (pb, b)| (pa, &a.domain).cmp(&(pb, &b.domain)));
    out.into_iter().map(|(_, candidate)| candidate).collect()
}

/// What keeps the next pod out of a domain.
enum Obstacle {
    Full,
    Crowded(usize),
    Skewed(usize),
}

/// Pods counted over domains.
struct Tally {
    /// Selectors of label anti-affinity rules carried by some pod, pending or running, with the rule's key.
    anti: BTreeSet<(SelectorId, String)>,
    /// For each existing node: how many of its pods each selector picks, terminating ones aside.
    live: Vec<HashMap<SelectorId, u32>>,
    /// By anti-affinity rule, label value: carriers and matches so far.
    crowd: HashMap<(SelectorId, String), BTreeMap<String, (u32, u32)>>,
    /// By selector and key, label value: pending pods dealt so far.
    planned: HashMap<(SelectorId, String), BTreeMap<String, u32>>,
}

impl Tally {
    fn build(model: &Model<'_>) -> Self {
        let problem = model.problem;
        let mut anti = BTreeSet::new();
        let pending = (0..model.classes.classes.len()).map(|c| model.spec(c));
        let running = problem.nodes.iter().flat_map(|n| &n.pods).map(|p| &problem.specs[p.spec.index()]);
        for spec in pending.chain(running) {
            anti.extend(anti_terms(model, spec));
        }
        let mut crowd = HashMap::<_, BTreeMap<String, (u32, u32)>>::new();
        let mut live = Vec::with_capacity(problem.nodes.len());
        for (node, matched) in problem.nodes.iter().zip(&model.classes.running) {
            let mut here = HashMap::new();
            for (pod, matched) in node.pods.iter().zip(matched) {
                if !pod.terminating {
                    for selector in matched {
                        *here.entry(*selector).or_insert(0) += 1;
                    }
                }
                let carried: Vec<_> = anti_terms(model, &problem.specs[pod.spec.index()]).collect();
                for rule in anti.iter().filter(|r| matched.contains(&r.0) || carried.contains(r)) {
                    if let Some(value) = node.labels.get(&rule.1) {
                        let entry = crowd.entry(rule.clone()).or_default().entry(value.clone()).or_default();
                        entry.0 += u32::from(carried.contains(rule));
                        entry.1 += u32::from(matched.contains(&rule.0));
                    }
                }
            }
            live.push(here);
        }
        Self { anti, live, crowd, planned: HashMap::new() }
    }

    /// The label keys over which a class must be dealt.
    fn keys(&self, model: &Model<'_>, class: usize, shares_claim: bool) -> BTreeSet<String> {
        let spec = model.spec(class);
        let matched = &model.classes.classes[class].matched;
        let mut keys: BTreeSet<String> = label_spreads(spec).map(|(_, key)| key.to_owned()).collect();
        keys.extend(anti_terms(model, spec).map(|(_, key)| key));
        keys.extend(self.anti.iter().filter(|(s, _)| matched.contains(s)).map(|(_, key)| key.clone()));
        if shares_claim {
            keys.insert(model.problem.zone_key.clone());
        }
        keys
    }

    /// How many pods of a class go to each candidate, and why the rest of them go nowhere.
    fn deal_class(
        &mut self,
        model: &mut Model<'_>,
        class: usize,
        candidates: &[Candidate],
    ) -> (Vec<u32>, Option<String>) {
        let spec = model.spec(class);
        let matched = model.classes.classes[class].matched.clone();
        let mut spreads: Vec<SpreadCount> = label_spreads(spec)
            .map(|(spread, key)| self.spread_count(model, class, spread, key, candidates))
            .collect();
        let carried: Vec<_> = anti_terms(model, spec).collect();
        let rules: Vec<(SelectorId, String)> =
            self.anti.iter().filter(|r| matched.contains(&r.0) || carried.contains(r)).cloned().collect();
        let mut counts = vec![0u32; candidates.len()];
        let mut stuck = None;
        for _ in 0..model.count(class) {
            let obstacle = |at: usize| {
                let candidate = &candidates[at];
                if counts[at] >= candidate.most {
                    return Some(Obstacle::Full);
                }
                let crowded =
                    rules.iter().position(|rule| !self.has_room(rule, &carried, &matched, candidate));
                let skewed = || spreads.iter().position(|s| !s.allows(at)).map(Obstacle::Skewed);
                crowded.map(Obstacle::Crowded).or_else(skewed)
            };
            let best = (0..candidates.len()).filter(|&at| obstacle(at).is_none()).min_by_key(|&at| {
                let crowd: u32 = spreads.iter().map(|s| s.counts[at]).sum();
                (crowd, counts[at] >= candidates[at].free, at)
            });
            let Some(at) = best else {
                // The rule that excludes the most desirable domain tells most.
                let why = (0..candidates.len()).find_map(|at| Some((at, obstacle(at)?)));
                let why = match why {
                    None => "no domain holds the pod".to_owned(),
                    Some((at, Obstacle::Full)) => {
                        format!("no more room can be had in {}", words(&candidates[at].domain))
                    }
                    Some((_, Obstacle::Crowded(rule))) => {
                        format!("pod anti-affinity over {} leaves no domain", rules[rule].1)
                    }
                    Some((_, Obstacle::Skewed(rule))) => spreads[rule].words(),
                };
                stuck = Some(why);
                break;
            };
            counts[at] += 1;
            for spread in &mut spreads {
                spread.add(at);
            }
            for rule in &rules {
                if let Some(value) = value_of(&candidates[at].domain, &rule.1) {
                    let entry =
                        self.crowd.entry(rule.clone()).or_default().entry(value.to_owned()).or_default();
                    entry.0 += u32::from(carried.contains(rule));
                    entry.1 += u32::from(matched.contains(&rule.0));
                }
            }
        }
        for spread in &spreads {
            for (candidate, count) in candidates.iter().zip(&counts) {
                if let (true, Some(value)) = (spread.counts_itself, value_of(&candidate.domain, &spread.key))
                {
                    let table = self.planned.entry((spread.selector, spread.key.clone())).or_default();
                    *table.entry(value.to_owned()).or_default() += count;
                }
            }
        }
        (counts, stuck)
    }

    /// The spread rule of a class, if it is the only rule over domains that concerns it and concerns nothing else.
    fn sole_spread(
        &self,
        model: &mut Model<'_>,
        class: usize,
        candidates: &[Candidate],
    ) -> Option<SoleSpread> {
        let keys = candidates.first()?.domain.len();
        let (spread, key) = label_spreads(model.spec(class)).next()?;
        if keys != 1 || label_spreads(model.spec(class)).count() != 1 {
            return None;
        }
        let count = self.spread_count(model, class, spread, key, candidates);
        let shared = |c: usize| c != class && model.classes.classes[c].matched.contains(&count.selector);
        let anti = self.keys(model, class, false).len() != 1 || self.anti.iter().any(|(_, k)| k == key);
        if !count.counts_itself || count.always_empty || anti || (0..model.classes.classes.len()).any(shared)
        {
            return None;
        }
        let in_domain =
            |c: &Candidate| value_of(&c.domain, &count.key).map(|v| (v.to_owned(), c.kinds.clone()));
        let kinds: BTreeMap<String, FixedBitSet> = candidates.iter().filter_map(in_domain).collect();
        // Where every domain offers the same at the same price, it does not matter which a pod is in.
        let offer = |kinds: &FixedBitSet| {
            let mut offer: Vec<_> = kinds
                .ones()
                .map(|at| &model.kinds.kinds[at])
                .map(|k| (k.variant, k.instance_type, k.shape, k.price))
                .collect();
            offer.sort_unstable();
            offer
        };
        let offers: Vec<_> = count.eligible.keys().map(|value| kinds.get(value).map(offer)).collect();
        if offers.windows(2).all(|pair| pair[0] == pair[1]) {
            return None;
        }
        Some(SoleSpread { key: count.key, max_skew: count.max_skew, running: count.eligible, kinds })
    }

    /// Whether an anti-affinity rule lets one more pod of the class into a domain.
    fn has_room(
        &self,
        rule: &(SelectorId, String),
        carried: &[(SelectorId, String)],
        matched: &[SelectorId],
        candidate: &Candidate,
    ) -> bool {
        let Some(value) = value_of(&candidate.domain, &rule.1) else { return true };
        let (carriers, matches) =
            self.crowd.get(rule).and_then(|values| values.get(value)).copied().unwrap_or_default();
        (!carried.contains(rule) || matches == 0) && (!matched.contains(&rule.0) || carriers == 0)
    }

    /// The counts of a spread rule as one class sees them.
    fn spread_count(
        &self,
        model: &mut Model<'_>,
        class: usize,
        spread: &Spread,
        key: &str,
        candidates: &[Candidate],
    ) -> SpreadCount {
        let spec = model.spec(class);
        let selector = model.classes.selector_id(&spread.selector);
        let keys: Vec<&str> = label_spreads(spec).map(|(_, key)| key).collect();
        let mut counts = BTreeMap::<String, u32>::new();
        for (node, live) in model.problem.nodes.iter().zip(&self.live) {
            let counted = keys.iter().all(|k| node.labels.contains_key(*k))
                && (!spread.honor_node_affinity || selects(spec, &node.labels))
                && (!spread.honor_taints || untolerated(&node.taints, &spec.tolerations).is_none());
            if let (true, Some(value)) = (counted, node.labels.get(key)) {
                *counts.entry(value.clone()).or_default() += live.get(&selector).copied().unwrap_or(0);
            }
        }
        for value in offered(model, class, spread, key) {
            counts.entry(value).or_default();
        }
        if let Some(planned) = self.planned.get(&(selector, key.to_owned())) {
            for (value, count) in planned {
                if let Some(entry) = counts.get_mut(value) {
                    *entry += count;
                }
            }
        }
        SpreadCount {
            key: key.to_owned(),
            selector,
            max_skew: spread.max_skew,
            always_empty: counts.len() < spread.min_domains as usize,
            counts_itself: model.classes.classes[class].matched.contains(&selector),
            counts: candidates
                .iter()
                .map(|c| value_of(&c.domain, key).and_then(|v| counts.get(v)).copied().unwrap_or(0))
                .collect(),
            values: candidates.iter().map(|c| value_of(&c.domain, key).map(str::to_owned)).collect(),
            eligible: counts,
        }
    }
}

/// The values of a spread key that some `NodePool` offers to a class, whether or not its pods fit there.
fn offered(model: &mut Model<'_>, class: usize, spread: &Spread, key: &str) -> Vec<String> {
    let spec = model.spec(class);
    let mut kinds =
        if spread.honor_taints { model.kinds.tolerated_by(&spec.tolerations) } else { model.kinds.every() };
    if spread.honor_node_affinity {
        for constraint in &spec.node {
            kinds.intersect_with(&model.kinds.meeting(constraint));
        }
    }
    let (values, of_kind) = model.kinds.values_of(key);
    let mut seen = vec![false; values.len() + 1];
    kinds.ones().for_each(|at| seen[of_kind[at] as usize] = true);
    values.iter().zip(&seen[1..]).filter(|(_, seen)| **seen).map(|(value, _)| value.clone()).collect()
}

/// One spread rule while a class is dealt.
struct SpreadCount {
    key: String,
    selector: SelectorId,
    max_skew: u32,
    always_empty: bool,
    counts_itself: bool,
    /// By candidate: matching pods in its domain.
    counts: Vec<u32>,
    values: Vec<Option<String>>,
    /// By eligible domain.
    eligible: BTreeMap<String, u32>,
}

impl SpreadCount {
    fn least(&self) -> u32 {
        if self.always_empty { 0 } else { self.eligible.values().copied().min().unwrap_or(0) }
    }

    fn allows(&self, at: usize) -> bool {
        self.values[at].is_some()
            && self.counts[at] + u32::from(self.counts_itself) <= self.least().saturating_add(self.max_skew)
    }

    fn add(&mut self, at: usize) {
        if !self.counts_itself {
            return;
        }
        if let Some(value) = self.values[at].clone() {
            if let Some(count) = self.eligible.get_mut(&value) {
                *count += 1;
            }
            for (count, other) in self.counts.iter_mut().zip(&self.values) {
                if other.as_ref() == Some(&value) {
                    *count += 1;
                }
            }
        }
    }

    fn words(&self) -> String {
        format!(
            "topology spread over {} allows a skew of {}, and the least full of {} domains ({}) takes no more pods",
            self.key,
            self.max_skew,
            self.eligible.len(),
            self.eligible.iter().min_by_key(|(_, n)| **n).map_or("none", |(v, _)| v.as_str()),
        )
    }
}

fn value_of<'d>(domain: &'d Domain, key: &str) -> Option<&'d str> {
    domain.iter().find(|(k, _)| k == key).and_then(|(_, v)| v.as_deref())
}

fn words(domain: &Domain) -> String {
    let parts: Vec<String> =
        domain.iter().map(|(k, v)| format!("{k}={}", v.as_deref().unwrap_or("(none)"))).collect();
    parts.join(", ")
}

fn label_spreads(spec: &crate::PodSpec) -> impl Iterator<Item = (&Spread, &str)> {
    spec.spread.iter().filter_map(|s| match &s.key {
        TopologyKey::Label(key) => Some((s, key.as_str())),
        TopologyKey::Host => None,
    })
}

fn anti_terms<'a>(
    model: &'a Model<'_>,
    spec: &'a crate::PodSpec,
) -> impl Iterator<Item = (SelectorId, String)> + 'a {
    spec.anti_affinity.iter().filter_map(|t| match &t.key {
        TopologyKey::Label(key) => Some((model.classes.selector_id(&t.selector), key.clone())),
        TopologyKey::Host => None,
    })
}
