//! Rules over domains of a node label (zones, capacity types, racks): decided before packing.
//!
//! Spread, affinity and anti-affinity over a label couple bins with each other, which packing by patterns cannot see. So
//! each class that such a rule concerns is first dealt out over the label's domains, counting what runs already; packing
//! then sees one item for each class and domain, that may only use bins of that domain.
//!
//! - *Spread* (`spread`): the next pod goes to the emptiest domain that `maxSkew` allows; ties to a domain with free room
//!   on existing nodes, then to the cheapest. Eligible domains are those of existing nodes and of everything a `NodePool`
//!   offers to the pod, whether or not a node is there yet: so the outcome is valid whatever else is launched.
//! - *Anti-affinity* (`crowd`): a carrier has its domain to itself, both ways.
//! - *Affinity* (`near`): pods go where those are that they select, and those are dealt first.
//! - *Affinity over hosts* (`teams`): pods that must share a node are packed as one.
//! - *Shared volume claims* (`claims`) that do not exist yet: all users go to one zone.
//!
//! The hostname key is otherwise not a label here: see `host_rule`.

mod candidate;
mod claims;
mod crowd;
mod near;
mod sole_spread;
mod spread;
mod teams;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use crate::class::SelectorId;
use crate::model::Model;
use crate::stock::{Dealing, Domain, Stock};

pub(crate) use sole_spread::SoleSpread;
pub(crate) use spread::offered_values;
pub(crate) use teams::is_gregarious;

use candidate::{Candidate, Grounds};
use claims::claim_zones;
use crowd::Crowd;
use near::Nears;
use spread::{SpreadCount, SpreadTally, label_spreads};

/// Pods that no domain takes.
#[derive(Clone, Debug)]
pub(crate) struct Stuck {
    pub(crate) class: u32,
    pub(crate) why: String,
}

/// What a class was dealt.
#[derive(Debug, Default)]
pub(crate) struct Dealt {
    pub(crate) stock: Stock,
    pub(crate) stuck: Vec<Stuck>,
    /// By class: the one spread rule that decides how its pods are dealt, where there is just one.
    pub(crate) spread: BTreeMap<u32, SoleSpread>,
}

/// At most this many pods of a class in a domain, learnt from an attempt that could not place more.
pub(crate) type Caps = BTreeMap<(u32, Domain), u32>;

/// A class that rules over domains concern.
struct Concerned {
    class: usize,
    keys: BTreeSet<String>,
    candidates: Vec<Candidate>,
}

/// Deals every class over its domains.
pub(crate) fn deal(model: &mut Model<'_>, caps: &Caps) -> Dealt {
    model.disband();
    let mut grounds = Grounds::default();
    let mut tally = Tally::build(model);
    let zones = claim_zones(model, &mut grounds, &tally);
    let mut dealt = Dealt::default();
    let mut dealings: Vec<Dealing> = Vec::new();
    let nowhere: Domain = Rc::new([]);
    let mut every = HashMap::new();
    let (mut order, mut gregarious) = (Vec::new(), Vec::new());
    for class in 0..model.classes.classes.len() {
        let spec = model.spec(class);
        if spec.blocked.is_some() {
            continue;
        }
        // Pods that want to be near others on one node join those when they are dealt.
        if teams::is_gregarious(spec) {
            gregarious.push((class as u32, !tally.keys(model, class, zones.contains_key(&class)).is_empty()));
            continue;
        }
        let keys = tally.keys(model, class, zones.contains_key(&class));
        if keys.is_empty() {
            let gate = model.gate_of[class];
            let kinds = every.entry(gate).or_insert_with(|| Rc::new(model.gates[gate as usize].clone()));
            dealings.push((class as u32, model.count(class), Rc::clone(&nowhere), Rc::clone(kinds)));
            continue;
        }
        let mut candidates = grounds.candidates(model, class, &keys);
        if !caps.is_empty() {
            for candidate in &mut candidates {
                if let Some(cap) = caps.get(&(class as u32, Rc::clone(&candidate.domain))) {
                    candidate.most = *cap;
                }
            }
        }
        if let Some(zone) = zones.get(&class) {
            candidates.retain(|c| value_of(&c.domain, &model.problem.zone_key) == Some(zone));
        }
        order.push(Concerned { class, keys, candidates });
    }
    // Classes with few domains choose first, then by name.
    order.sort_by_key(|c| (c.candidates.len(), c.class));
    let mut waiting = VecDeque::from(order);
    while let Some(next) = tally.next(&waiting) {
        if let Some(near) = tally.nears.homeless(waiting[next].class) {
            let group = waiting.iter().filter(|c| tally.nears.has_rule(c.class, near));
            let members: Vec<(u32, Vec<Candidate>)> = group
                .map(|c| (model.count(c.class), tally.crowd.open_to(model, c.class, &c.candidates)))
                .collect();
            tally.nears.settle(near, members.iter().map(|(count, open)| (*count, open.as_slice())));
        }
        let Some(concerned) = waiting.remove(next) else { break };
        let class = concerned.class;
        if let Some(sole) = tally.sole_spread(model, &mut grounds, &concerned) {
            dealt.spread.insert(class as u32, sole);
        }
        let (counts, blocked) = tally.deal_class(model, class, &concerned.candidates);
        tally.nears.dealt(class);
        let shares = concerned.candidates.into_iter().zip(counts).filter(|(_, count)| *count > 0);
        dealings.extend(shares.map(|(c, count)| (class as u32, count, c.domain, c.kinds)));
        if let Some(why) = blocked {
            let why = tied_by_claims(model, class, zones.get(&class), why);
            dealt.stuck.push(Stuck { class: class as u32, why });
        }
    }
    teams::form(model, &gregarious, &mut dealings);
    let lonely = "pod affinity over the host: no node with a pod that it selects takes it";
    let stuck = gregarious.iter().map(|(class, _)| {
        let at = *class as usize;
        Stuck { class: *class, why: tied_by_claims(model, at, zones.get(&at), lonely.to_owned()) }
    });
    dealt.stuck.extend(stuck);
    dealt.stock = Stock::of(model, dealings);
    dealt
}

/// Why a class is stuck, with the claims that chose its zone.
fn tied_by_claims(model: &Model<'_>, class: usize, zone: Option<&String>, why: String) -> String {
    let Some(zone) = zone else { return why };
    let claims = &model.spec(class).unbound_claims;
    let (noun, verb) = if claims.len() == 1 { ("claim", "ties") } else { ("claims", "tie") };
    let key = &model.problem.zone_key;
    format!("{noun} {}, shared with other pods, {verb} it to {key}={zone}: {why}", claims.join(" and "))
}

/// What keeps the next pod out of a domain.
enum Obstacle {
    Full,
    Crowded(usize),
    Lonely,
    Skewed(usize),
}

/// Pods counted over domains.
struct Tally {
    crowd: Crowd,
    nears: Nears,
    spreads: SpreadTally,
    /// By selector: how many classes it picks.
    picks: HashMap<SelectorId, u32>,
}

impl Tally {
    fn build(model: &Model<'_>) -> Self {
        let mut spreads = SpreadTally::default();
        for (node, matched) in model.problem.nodes.iter().zip(&model.classes.running) {
            let mut here = HashMap::new();
            for (pod, matched) in node.pods.iter().zip(matched).filter(|(pod, _)| !pod.terminating) {
                for selector in matched {
                    *here.entry(*selector).or_insert(0) += pod.count;
                }
            }
            spreads.live.push(here);
        }
        for class in 0..model.classes.classes.len() {
            for (spread, key) in label_spreads(model.spec(class)) {
                spreads.rule(key, model.classes.selector_id(&spread.selector));
            }
        }
        let mut picks = HashMap::new();
        for selector in model.classes.classes.iter().flat_map(|c| &c.matched) {
            *picks.entry(*selector).or_insert(0) += 1;
        }
        Self { crowd: Crowd::of(model), nears: Nears::of(model), spreads, picks }
    }

    /// The class to deal next: the first whose targets are all dealt; else, of those that wait for each other, the first
    /// that has a target already; else the first that may start its own group.
    fn next(&self, waiting: &VecDeque<Concerned>) -> Option<usize> {
        let ready = waiting.iter().position(|c| self.nears.ready(c.class));
        let joins = |c: &Concerned| c.candidates.iter().any(|k| self.nears.allows(c.class, k));
        let ready = ready.or_else(|| waiting.iter().position(joins));
        let ready = ready.or_else(|| waiting.iter().position(|c| self.nears.selects_itself(c.class)));
        ready.or_else(|| (!waiting.is_empty()).then_some(0))
    }

    /// The label keys over which a class must be dealt.
    fn keys(&self, model: &Model<'_>, class: usize, shares_claim: bool) -> BTreeSet<String> {
        let spec = model.spec(class);
        let matched = &model.classes.classes[class].matched;
        let mut keys: BTreeSet<String> = label_spreads(spec).map(|(_, key)| key.to_owned()).collect();
        if !keys.is_empty() {
            keys.extend(self.spreads.keys(matched).cloned());
        }
        keys.extend(crowd::terms(model, spec).map(|(_, key)| key));
        keys.extend(self.crowd.keys_against(matched).into_iter().cloned());
        keys.extend(self.nears.keys(class).cloned());
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
        let mut spreads: Vec<SpreadCount> = label_spreads(spec)
            .map(|(spread, key)| self.spreads.count(model, class, spread, key, candidates))
            .collect();
        let concern = self.crowd.concern(model, class);
        let mut counts = vec![0u32; candidates.len()];
        let mut stuck = None;
        for _ in 0..model.count(class) {
            let least: Vec<u32> = spreads.iter().map(SpreadCount::least).collect();
            let obstacle = |at: usize| {
                let candidate = &candidates[at];
                if counts[at] >= candidate.most {
                    return Some(Obstacle::Full);
                }
                if !self.nears.allows(class, candidate) {
                    return Some(Obstacle::Lonely);
                }
                let crowded = concern.parts.iter().position(|part| !self.crowd.has_room(part, candidate));
                let skewed = || {
                    let full = spreads.iter().zip(&least).position(|(s, least)| !s.allows(at, *least));
                    full.map(Obstacle::Skewed)
                };
                crowded.map(Obstacle::Crowded).or_else(skewed)
            };
            let best = (0..candidates.len()).filter(|&at| obstacle(at).is_none()).min_by_key(|&at| {
                let crowd: u32 = spreads.iter().map(|s| s.counts[at]).sum();
                (crowd, counts[at] >= candidates[at].free, at)
            });
            let Some(at) = best else {
                // Of the rules, the one that excludes the most desirable domain tells most.
                let why = (0..candidates.len()).find_map(|at| Some((at, obstacle(at)?)));
                let why = match why {
                    None => "no domain holds the pod".to_owned(),
                    Some((at, Obstacle::Full)) => {
                        format!("no more room can be had in {}", words(&candidates[at].domain))
                    }
                    Some((_, Obstacle::Crowded(rule))) => {
                        format!(
                            "pod anti-affinity over {} leaves no domain",
                            self.crowd.key(&concern.parts[rule])
                        )
                    }
                    Some((_, Obstacle::Lonely)) => self.nears.words(class),
                    Some((_, Obstacle::Skewed(rule))) => spreads[rule].words(),
                };
                stuck = Some(why);
                break;
            };
            counts[at] += 1;
            for spread in &mut spreads {
                spread.add(at);
            }
            self.crowd.add(&concern, &candidates[at]);
            self.nears.add(class, &candidates[at], 1);
        }
        if !spreads.is_empty() {
            self.spreads.note(&model.classes.classes[class].matched, candidates, &counts);
        }
        (counts, stuck)
    }

    /// The spread rule of a class, if it is the only rule over domains that concerns it and concerns nothing else.
    fn sole_spread(
        &mut self,
        model: &mut Model<'_>,
        grounds: &mut Grounds,
        concerned: &Concerned,
    ) -> Option<SoleSpread> {
        let Concerned { class, keys, candidates } = concerned;
        let mut rules = label_spreads(model.spec(*class));
        let (spread, key) = rules.next()?;
        let anti = self.crowd.keys.contains(key);
        if keys.len() != 1 || rules.next().is_some() || anti || self.nears.keys(*class).next().is_some() {
            return None;
        }
        let selector = model.classes.selector_id(&spread.selector);
        if self.picks.get(&selector).is_some_and(|n| *n > 1) {
            return None;
        }
        let count = self.spreads.count(model, *class, spread, key, candidates);
        if !count.counts_itself || count.always_empty {
            return None;
        }
        let in_domain =
            |c: &Candidate| value_of(&c.domain, &count.key).map(|v| (v.to_owned(), (*c.kinds).clone()));
        let kinds: BTreeMap<String, _> = candidates.iter().filter_map(in_domain).collect();
        // Where every domain offers the same at the same price, it does not matter which a pod is in.
        if count.eligible.keys().all(|value| kinds.contains_key(value)) && grounds.alike(model, *class, keys)
        {
            return None;
        }
        Some(SoleSpread { key: count.key, max_skew: count.max_skew, running: count.eligible, kinds })
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
