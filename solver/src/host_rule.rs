//! Rules between pods that share a node: host anti-affinity, host spread and host ports.
//!
//! All three are one shape. A rule has *carriers* (pods that ask for it) and *matches* (pods it is about), and a node
//! keeps two counters for it. A host port is its own rule: whoever takes the port carries it, whoever would clash
//! matches it.
//!
//! Host spread is read strictly: the least full host counts as empty, because a new empty node can always join. So
//! `maxSkew` is a cap on the matching pods of a node that holds a carrier. kube-scheduler may allow more for a moment
//! when every node is busy; a plan that keeps to the cap is valid in every order of binding.
//!
//! Kubernetes' source of truth: `NodePorts`, `InterPodAffinity` and `PodTopologySpread` of kube-scheduler.

use std::collections::HashMap;

use crate::class::{Class, Classes, SelectorId};
use crate::problem::{HostPort, PodSpec, Problem, TopologyKey};

/// A rule is weighty if it asks for a node for this many pods of the problem, or fewer.
const WEIGHTY: u64 = 20;
/// At most this many of them.
const MAX_WEIGHTY: usize = 8;

/// What a rule forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Limit {
    /// A carrier shares its node with no other match.
    Alone,
    /// A node with a carrier has at most this many matches.
    AtMost(u32),
}

impl Limit {
    /// How many pods that carry the rule and match it a node may have.
    pub(crate) fn most(self) -> u32 {
        match self {
            Self::Alone => 1,
            Self::AtMost(most) => most,
        }
    }
}

/// How a class takes part in a rule: what one pod of it counts up, or one team of pods.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) rule: u32,
    pub(crate) carriers: u32,
    pub(crate) matches: u32,
}

impl Part {
    fn carries(self) -> bool {
        self.carriers > 0
    }

    fn is_match(self) -> bool {
        self.matches > 0
    }
}

/// All host rules of a problem.
#[derive(Debug, Default)]
pub(crate) struct HostRules {
    pub(crate) limits: Vec<Limit>,
    /// For each class, its part in each rule that concerns it.
    pub(crate) of_class: Vec<Vec<Part>>,
    /// For each existing node, what its running pods have counted up.
    pub(crate) of_node: Vec<HostState>,
}

/// The counters of one node: (rule, carriers, matches), for the rules touched so far, by rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostState(Vec<(u32, u32, u32)>);

/// So many parts at once are merged in rather than inserted one at a time.
const MANY: usize = 16;

impl HostState {
    /// A walk along rules in ascending order, for so many of them.
    fn walk(&self, parts: usize) -> Walk<'_> {
        Walk { left: &self.0, many: parts >= MANY }
    }

    /// Counts `copies` pods with this part.
    pub(crate) fn add(&mut self, part: Part, copies: u32) {
        let at = self.0.binary_search_by_key(&part.rule, |(rule, _, _)| *rule).unwrap_or_else(|at| {
            self.0.insert(at, (part.rule, 0, 0));
            at
        });
        let (_, carriers, matches) = &mut self.0[at];
        *carriers += part.carriers * copies;
        *matches += part.matches * copies;
    }

    /// Counts `copies` pods with these parts, which are in the order of their rules.
    fn add_all(&mut self, parts: &[Part], copies: u32) {
        if parts.len() < MANY {
            for part in parts {
                self.add(*part, copies);
            }
            return;
        }
        let mut merged = Vec::with_capacity(self.0.len() + parts.len());
        let (mut old, mut new) = (self.0.iter().copied().peekable(), parts.iter().peekable());
        loop {
            let (before, part) = (old.peek().map(|c| c.0), new.peek().map(|p| p.rule));
            let Some(rule) = before.into_iter().chain(part).min() else { break };
            let (mut carriers, mut matches) = (0, 0);
            if let Some(counted) = old.next_if(|c| c.0 == rule) {
                (carriers, matches) = (counted.1, counted.2);
            }
            if let Some(part) = new.next_if(|p| p.rule == rule) {
                carriers += part.carriers * copies;
                matches += part.matches * copies;
            }
            merged.push((rule, carriers, matches));
        }
        self.0 = merged;
    }
}

/// What is left of the counters of a node while rules are looked up in ascending order.
struct Walk<'s> {
    left: &'s [(u32, u32, u32)],
    /// Whether so many rules are looked up that walking is quicker than jumping.
    many: bool,
}

impl Walk<'_> {
    fn counts(&mut self, rule: u32) -> (u32, u32) {
        let before = |counted: &(u32, u32, u32)| counted.0 < rule;
        let skipped = if self.many {
            self.left.iter().position(|counted| !before(counted)).unwrap_or(self.left.len())
        } else {
            self.left.partition_point(before)
        };
        self.left = &self.left[skipped..];
        self.left.first().filter(|counted| counted.0 == rule).map_or((0, 0), |c| (c.1, c.2))
    }
}

impl HostRules {
    pub(crate) fn build(problem: &Problem, classes: &Classes<'_>) -> Self {
        let mut ids = Ids::default();
        let running_specs =
            problem.nodes.iter().flat_map(|n| &n.pods).map(|p| &problem.specs[p.spec.index()]);
        let pending_specs = classes.classes.iter().map(|c| &problem.specs[c.spec.index()]);
        for spec in pending_specs.chain(running_specs) {
            ids.collect(spec, classes);
        }
        let mut ports: Vec<&HostPort> =
            classes.classes.iter().flat_map(|c| &problem.specs[c.spec.index()].host_ports).collect();
        ports.sort_unstable();
        ports.dedup();
        for port in &ports {
            ids.limits.push(Limit::Alone);
            ids.ports.push(((*port).clone(), ids.limits.len() as u32 - 1));
        }
        let of_class = classes
            .classes
            .iter()
            .map(|class: &Class| ids.parts(&problem.specs[class.spec.index()], &class.matched, classes));
        let of_class = of_class.collect();
        let of_node = problem
            .nodes
            .iter()
            .zip(&classes.running)
            .map(|(node, running)| {
                let mut state = HostState::default();
                // Nothing is put there.
                if !node.open {
                    return state;
                }
                for (pod, matched) in node.pods.iter().zip(running) {
                    let mut parts = ids.parts(&problem.specs[pod.spec.index()], matched, classes);
                    parts.retain(|part| !ids.is_port(part.rule));
                    state.add_all(&parts, pod.count);
                }
                for taken in &node.host_ports {
                    for part in ids.port_parts(std::slice::from_ref(taken)) {
                        state.add(part, 1);
                    }
                }
                state
            })
            .collect();
        Self { limits: ids.limits, of_class, of_node }
    }

    /// How many more pods of a class a node with these counters may take; `u32::MAX` for any number.
    pub(crate) fn allowance(&self, class: u32, state: &HostState) -> u32 {
        let mut least = u32::MAX;
        let parts = &self.of_class[class as usize];
        let mut walk = state.walk(parts.len());
        for part in parts {
            let (carriers, matches) = walk.counts(part.rule);
            let allowed = match (self.limits[part.rule as usize], part.carries(), part.is_match()) {
                (Limit::Alone, true, true) => u32::from(carriers == 0 && matches == 0),
                (Limit::Alone, true, false) if matches > 0 => 0,
                (Limit::Alone, false, true) if carriers > 0 => 0,
                (Limit::AtMost(most), true, true) => most.saturating_sub(matches) / part.matches,
                (Limit::AtMost(most), false, true) if carriers > 0 => {
                    most.saturating_sub(matches) / part.matches
                }
                (Limit::AtMost(most), true, false) if matches > most => 0,
                _ => u32::MAX,
            };
            least = least.min(allowed);
            if least == 0 {
                break;
            }
        }
        least
    }

    /// Whether a node with these counters takes one more pod of a class. Unless an empty node may still join, what is read
    /// strictly of host spread is not asked here: who knows all nodes knows how full the least full one is.
    pub(crate) fn lets_in(&self, class: u32, state: &HostState, empty_may_join: bool) -> bool {
        let parts = &self.of_class[class as usize];
        let mut walk = state.walk(parts.len());
        parts.iter().all(|part| {
            let (carriers, matches) = walk.counts(part.rule);
            match self.limits[part.rule as usize] {
                Limit::Alone => (!part.carries() || matches == 0) && (!part.is_match() || carriers == 0),
                Limit::AtMost(_) if !empty_may_join => true,
                Limit::AtMost(most) => {
                    let after = matches + part.matches;
                    (!part.carries() && carriers == 0) || after <= most
                }
            }
        })
    }

    /// Whether a class carries a rule and matches it: then the rule limits how many of its pods share a node.
    pub(crate) fn scatters(&self, class: usize, rule: u32) -> bool {
        self.of_class[class].iter().any(|part| part.rule == rule && part.carries() && part.is_match())
    }

    /// The rules that ask for most nodes, if they ask for one node for every twenty pods or more: such a rule shapes the
    /// whole plan, and is looked at wherever sizes are.
    pub(crate) fn weighty(&self, classes: &Classes<'_>) -> Vec<u32> {
        let mut pods = vec![0u64; self.limits.len()];
        let mut total = 0u64;
        for (class, parts) in classes.classes.iter().zip(&self.of_class) {
            let count = class.pods.len() as u64;
            total += count;
            for part in parts.iter().filter(|part| part.carries() && part.is_match()) {
                pods[part.rule as usize] += count;
            }
        }
        let nodes = |rule: usize| pods[rule].div_ceil(u64::from(self.limits[rule].most().max(1)));
        let mut rules: Vec<(u64, u32)> = (0..pods.len()).map(|rule| (nodes(rule), rule as u32)).collect();
        rules.retain(|(nodes, _)| *nodes > 1 && nodes * WEIGHTY >= total);
        rules.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        rules.truncate(MAX_WEIGHTY);
        let mut rules: Vec<u32> = rules.into_iter().map(|(_, rule)| rule).collect();
        rules.sort_unstable();
        rules
    }

    /// What a team of pods counts up.
    pub(crate) fn parts_of_team(&self, members: &[(u32, u32)]) -> Vec<Part> {
        let mut state = HostState::default();
        for (class, count) in members {
            self.add(*class, *count, &mut state);
        }
        let mut parts: Vec<Part> =
            state.0.iter().map(|&(rule, carriers, matches)| Part { rule, carriers, matches }).collect();
        parts.sort_unstable_by_key(|part| part.rule);
        parts
    }

    /// Counts `copies` pods of a class on a node.
    pub(crate) fn add(&self, class: u32, copies: u32, state: &mut HostState) {
        state.add_all(&self.of_class[class as usize], copies);
    }

    /// Looks at the counters of a node that one more pod of a class takes, as steps of a budget: next to none for the few
    /// rules that a pod has, and many for a pod with a thousand.
    pub(crate) fn steps(&self, class: u32) -> u64 {
        (self.of_class[class as usize].len() / MANY) as u64
    }
}

/// Rule numbers, by what they are about.
#[derive(Default)]
struct Ids {
    limits: Vec<Limit>,
    by_selector: HashMap<SelectorId, Vec<(Limit, u32)>>,
    ports: Vec<(HostPort, u32)>,
}

impl Ids {
    fn collect(&mut self, spec: &PodSpec, classes: &Classes<'_>) {
        for (selector, limit) in host_limits(spec, classes) {
            let rules = self.by_selector.entry(selector).or_default();
            if !rules.iter().any(|(l, _)| *l == limit) {
                self.limits.push(limit);
                rules.push((limit, self.limits.len() as u32 - 1));
            }
        }
    }

    fn is_port(&self, rule: u32) -> bool {
        self.ports.first().is_some_and(|(_, first)| rule >= *first)
    }

    fn parts(&self, spec: &PodSpec, matched: &[SelectorId], classes: &Classes<'_>) -> Vec<Part> {
        let mut carried: Vec<(SelectorId, Limit)> = host_limits(spec, classes).collect();
        carried.sort_unstable();
        carried.dedup();
        let mut parts = Vec::new();
        for selector in matched {
            for (limit, rule) in self.by_selector.get(selector).into_iter().flatten() {
                parts.push(Part {
                    rule: *rule,
                    carriers: u32::from(carried.binary_search(&(*selector, *limit)).is_ok()),
                    matches: 1,
                });
            }
        }
        for (selector, limit) in carried.iter().filter(|(s, _)| matched.binary_search(s).is_err()) {
            let rules = self.by_selector.get(selector).into_iter().flatten();
            parts.extend(rules.filter(|(l, _)| l == limit).map(|(_, rule)| Part {
                rule: *rule,
                carriers: 1,
                matches: 0,
            }));
        }
        parts.extend(self.port_parts(&spec.host_ports));
        parts.sort_unstable_by_key(|p| (p.rule, p.carriers, p.matches));
        parts.dedup_by_key(|p| p.rule);
        parts
    }

    fn port_parts(&self, taken: &[HostPort]) -> Vec<Part> {
        if taken.is_empty() {
            return Vec::new();
        }
        self.ports
            .iter()
            .map(|(port, rule)| Part {
                rule: *rule,
                carriers: u32::from(taken.contains(port)),
                matches: u32::from(taken.iter().any(|t| t.clashes(port))),
            })
            .filter(|part| part.is_match())
            .collect()
    }
}

/// The host rules that a spec carries.
fn host_limits<'a>(
    spec: &'a PodSpec,
    classes: &'a Classes<'_>,
) -> impl Iterator<Item = (SelectorId, Limit)> + 'a {
    let spread = spec.spread.iter().filter(|s| s.key == TopologyKey::Host);
    let spread = spread.map(|s| (classes.selector_id(&s.selector), Limit::AtMost(s.max_skew)));
    let anti = spec.anti_affinity.iter().filter(|t| t.key == TopologyKey::Host);
    spread.chain(anti.map(|t| (classes.selector_id(&t.selector), Limit::Alone)))
}
