//! Spread, affinity and anti-affinity for the first-fit baseline: counts by domain, kept as pods are placed.
//!
//! A pod is judged as kube-scheduler would at that moment, with the pods placed before it, so the order in which the
//! baseline places pods is one in which a cluster could bind them.

use std::collections::{BTreeMap, HashMap};

use stowage_solver::{LabelSetId, Pod, PodSelector, PodSpec, PodTerm, Problem, SpecId, TopologyKey};

/// Domains of a place by topology key, in the order of [`Rules::keys`]. `None` where the place is in no domain.
pub(super) type Domains = Vec<Option<u32>>;

/// A set of pods counted over one topology key.
#[derive(Default)]
struct Group {
    /// Position in `keys`.
    key: usize,
    /// Placed pods that the selector picks, by domain.
    picked: HashMap<u32, u32>,
    /// Placed pods that must be apart from those the selector picks, by domain.
    apart: HashMap<u32, u32>,
}

/// The rules of one spec, as groups.
#[derive(Clone, Default)]
struct Wants {
    /// Group, most skew, fewest domains.
    spread: Vec<(usize, u32, u32)>,
    near: Vec<usize>,
    apart: Vec<usize>,
}

/// All rules of a problem, and who is where.
pub(super) struct Rules<'p> {
    problem: &'p Problem,
    keys: Vec<&'p TopologyKey>,
    values: HashMap<(usize, &'p str), u32>,
    groups: Vec<Group>,
    selectors: Vec<&'p PodSelector>,
    wants: Vec<Wants>,
    picks: HashMap<(SpecId, LabelSetId), Vec<usize>>,
}

impl<'p> Rules<'p> {
    pub(super) fn of(problem: &'p Problem) -> Self {
        let mut this = Self {
            problem,
            keys: Vec::new(),
            values: HashMap::new(),
            groups: Vec::new(),
            selectors: Vec::new(),
            wants: Vec::new(),
            picks: HashMap::new(),
        };
        let mut known = BTreeMap::new();
        for spec in &problem.specs {
            let wants = this.wants(spec, &mut known);
            this.wants.push(wants);
        }
        this
    }

    fn wants(
        &mut self,
        spec: &'p PodSpec,
        known: &mut BTreeMap<(&'p TopologyKey, &'p PodSelector), usize>,
    ) -> Wants {
        let mut group = |key: &'p TopologyKey, selector: &'p PodSelector| {
            *known.entry((key, selector)).or_insert_with(|| {
                let at = self.keys.iter().position(|k| *k == key).unwrap_or_else(|| {
                    self.keys.push(key);
                    self.keys.len() - 1
                });
                self.groups.push(Group { key: at, ..Group::default() });
                self.selectors.push(selector);
                self.groups.len() - 1
            })
        };
        let mut terms = |terms: &'p [PodTerm]| terms.iter().map(|t| group(&t.key, &t.selector)).collect();
        let (near, apart) = (terms(&spec.affinity), terms(&spec.anti_affinity));
        let spread =
            spec.spread.iter().map(|s| (group(&s.key, &s.selector), s.max_skew, s.min_domains)).collect();
        Wants { spread, near, apart }
    }

    /// The domains of a place with these labels; `host` tells hosts apart.
    pub(super) fn domains(&mut self, label: impl Fn(&str) -> Option<&'p str>, host: u32) -> Domains {
        let keys = self.keys.iter().enumerate();
        keys.map(|(at, key)| match key {
            TopologyKey::Host => Some(host),
            TopologyKey::Label(name) => label(name).map(|value| {
                let next = self.values.len() as u32;
                *self.values.entry((at, value)).or_insert(next)
            }),
        })
        .collect()
    }

    /// The same place as another host.
    pub(super) fn on_host(&self, domains: &Domains, host: u32) -> Domains {
        let keys = self.keys.iter().zip(domains);
        keys.map(|(key, domain)| if **key == TopologyKey::Host { Some(host) } else { *domain }).collect()
    }

    /// Whether two places differ at most in their host.
    pub(super) fn alike(&self, a: &Domains, b: &Domains) -> bool {
        self.keys.iter().zip(a.iter().zip(b)).all(|(key, (a, b))| **key == TopologyKey::Host || a == b)
    }

    /// Whether `pod` may be placed. `eligible` lists the places that the pod's other rules leave it.
    pub(super) fn allow(&mut self, pod: &Pod, at: &Domains, eligible: &[Domains]) -> bool {
        self.pick(pod);
        let (picked, wants) = (&self.picks[&(pod.spec, pod.labels)], &self.wants[pod.spec.index()]);
        let domain = |group: usize| at[self.groups[group].key];
        let count = |group: usize, domain: u32| self.groups[group].picked.get(&domain).copied().unwrap_or(0);
        let free = |group: &usize| domain(*group).is_none_or(|d| count(*group, d) == 0);
        let welcome =
            |group: &usize| domain(*group).is_none_or(|d| !self.groups[*group].apart.contains_key(&d));
        if !wants.apart.iter().all(free) || !picked.iter().all(welcome) {
            return false;
        }
        let even = wants.spread.iter().all(|(group, skew, fewest)| {
            let Some(here) = domain(*group) else { return false };
            let after = count(*group, here) + u32::from(picked.contains(group));
            after <= skew.saturating_add(self.least(*group, *fewest, eligible))
        });
        // The first pod of a group that wants to be together finds nobody, and may start anywhere.
        let first = wants.near.iter().all(|g| self.groups[*g].picked.is_empty() && picked.contains(g));
        even && wants.near.iter().all(|g| domain(*g).is_some_and(|d| first || count(*g, d) > 0))
    }

    /// The count of the least full domain. A new host is always empty, and can always be had.
    fn least(&self, group: usize, fewest: u32, eligible: &[Domains]) -> u32 {
        let key = self.groups[group].key;
        if *self.keys[key] == TopologyKey::Host {
            return 0;
        }
        let mut domains: Vec<u32> = eligible.iter().filter_map(|place| place[key]).collect();
        domains.sort_unstable();
        domains.dedup();
        if domains.len() < fewest as usize {
            return 0;
        }
        let counts = domains.iter().map(|d| self.groups[group].picked.get(d).copied().unwrap_or(0));
        counts.min().unwrap_or(0)
    }

    /// Counts a placed pod.
    pub(super) fn place(&mut self, pod: &Pod, at: &Domains) {
        self.pick(pod);
        for group in &self.picks[&(pod.spec, pod.labels)] {
            let group = &mut self.groups[*group];
            if let Some(domain) = at[group.key] {
                *group.picked.entry(domain).or_insert(0) += 1;
            }
        }
        for group in &self.wants[pod.spec.index()].apart {
            let group = &mut self.groups[*group];
            if let Some(domain) = at[group.key] {
                *group.apart.entry(domain).or_insert(0) += 1;
            }
        }
    }

    /// How many pods like this one a host may have.
    pub(super) fn most_on_a_host(&mut self, pod: &Pod) -> u32 {
        self.pick(pod);
        let (picked, wants) = (&self.picks[&(pod.spec, pod.labels)], &self.wants[pod.spec.index()]);
        let counts = |group: &usize| {
            *self.keys[self.groups[*group].key] == TopologyKey::Host && picked.contains(group)
        };
        let alone = wants.apart.iter().any(counts).then_some(1);
        let spread = wants.spread.iter().filter(|(group, ..)| counts(group)).map(|(_, skew, _)| *skew);
        spread.chain(alone).min().unwrap_or(u32::MAX)
    }

    /// Works out which groups a pod is picked by.
    fn pick(&mut self, pod: &Pod) {
        let problem = self.problem;
        self.picks.entry((pod.spec, pod.labels)).or_insert_with(|| {
            let (namespace, labels) =
                (&problem.specs[pod.spec.index()].namespace, &problem.label_sets[pod.labels.index()]);
            let groups = self.selectors.iter().enumerate();
            groups.filter(|(_, selector)| selector.selects(namespace, labels)).map(|(at, _)| at).collect()
        });
    }
}
