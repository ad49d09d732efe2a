//! What the rules between pods say to one more pod of a class, with everyone where they are: kube-scheduler's filters
//! `PodTopologySpread` and `InterPodAffinity`, and shared volume claims.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::yard::{Site, Yard};
use crate::class::SelectorId;
use crate::kind::untolerated;
use crate::model::{Model, met};
use crate::problem::{PodSelector, PodSpec, Spread, TopologyKey};
use crate::topology::offered_values;

/// A value of a topology key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Domain<'m> {
    Place(usize),
    Value(&'m str),
}

/// By class and number of its spread rule: the values that `NodePool`s offer, with or without a node there.
pub(super) struct Offers(HashMap<(usize, usize), Vec<String>>);

impl Offers {
    pub(super) fn of(model: &mut Model<'_>, classes: &[usize]) -> Self {
        let mut this = HashMap::new();
        for &class in classes {
            for (at, spread) in model.spec(class).spread.iter().enumerate() {
                if let TopologyKey::Label(key) = &spread.key {
                    this.insert((class, at), offered_values(model, class, spread, key));
                }
            }
        }
        Self(this)
    }
}

/// The zone that shared claims tie a pod to.
enum Claims<'m> {
    Anywhere,
    In(Option<&'m str>),
}

/// A spread rule of the class.
struct Count<'m> {
    key: &'m TopologyKey,
    by_domain: BTreeMap<Domain<'m>, u32>,
    /// The most that a domain may have before the pod joins.
    most: u32,
}

/// What one more pod of a class must mind.
pub(super) struct Outlook<'m> {
    spreads: Vec<Count<'m>>,
    /// Domains that anti-affinity keeps it out of, its own or that of others.
    closed: BTreeSet<(&'m TopologyKey, Domain<'m>)>,
    /// By affinity term: the domains where it finds the pods that all terms select. `None` where it may be the first.
    near: Option<Vec<(&'m TopologyKey, BTreeSet<Domain<'m>>)>>,
    /// Keys that its node must have.
    keys: Vec<&'m TopologyKey>,
    /// Where other users of its claims are.
    claims: Claims<'m>,
    zone_key: &'m str,
    free: bool,
}

/// Pods of one kind on a place.
struct Group<'m, 'y> {
    place: usize,
    spec: &'m PodSpec,
    matched: &'y [SelectorId],
    count: u32,
    terminating: bool,
    planned: bool,
}

impl<'m> Outlook<'m> {
    pub(super) fn of(model: &'m Model<'m>, yard: &Yard<'m>, offers: &Offers, class: usize) -> Self {
        let spec = model.spec(class);
        let own = &model.classes.classes[class].matched;
        let groups = groups(model, yard);
        let domain = |place: usize, key: &TopologyKey| domain(yard, place, key);
        let id = |selector: &PodSelector| model.classes.selector_id(selector);
        let mut closed = BTreeSet::new();
        for group in &groups {
            for term in &group.spec.anti_affinity {
                if own.binary_search(&id(&term.selector)).is_ok()
                    && let Some(domain) = domain(group.place, &term.key)
                {
                    closed.insert((&term.key, domain));
                }
            }
            for term in &spec.anti_affinity {
                if group.matched.binary_search(&id(&term.selector)).is_ok()
                    && let Some(domain) = domain(group.place, &term.key)
                {
                    closed.insert((&term.key, domain));
                }
            }
        }
        let near = near(model, yard, spec, &groups, own);
        let mut claims = Claims::Anywhere;
        if !spec.unbound_claims.is_empty() {
            let shares = |g: &&Group<'_, '_>| {
                g.planned && g.spec.unbound_claims.iter().any(|c| spec.unbound_claims.contains(c))
            };
            if let Some(user) = groups.iter().find(shares) {
                claims = Claims::In(yard.label(user.place, &model.problem.zone_key));
            }
        }
        let views = if spec.spread.is_empty() { Vec::new() } else { views(model, yard, spec) };
        let spreads = (0..spec.spread.len())
            .map(|at| count(model, yard, offers, class, at, &groups, &views))
            .collect::<Vec<Count<'m>>>();
        let free = spec.spread.is_empty()
            && spec.affinity.is_empty()
            && spec.anti_affinity.is_empty()
            && spec.unbound_claims.is_empty()
            && closed.is_empty();
        let keys = spec.spread.iter().map(|s| &s.key).chain(spec.affinity.iter().map(|t| &t.key)).collect();
        Self { spreads, closed, near, keys, claims, zone_key: &model.problem.zone_key, free }
    }

    /// Whether no rule here looks at where the class's pods are.
    pub(super) fn is_free(&self) -> bool {
        self.free
    }

    /// Whether the pod may join a place with these labels.
    pub(super) fn allows<'l>(&self, place: usize, label: impl Fn(&str) -> Option<&'l str>) -> bool {
        let domain = |key: &TopologyKey| match key {
            TopologyKey::Host => Some(Domain::Place(place)),
            TopologyKey::Label(key) => label(key).map(Domain::Value),
        };
        let open = |(key, closed): &(&TopologyKey, Domain<'_>)| domain(key) != Some(*closed);
        self.keys.iter().all(|key| domain(key).is_some())
            && self.closed.iter().all(open)
            && match self.claims {
                Claims::Anywhere => true,
                Claims::In(zone) => label(self.zone_key) == zone,
            }
            && self.near.as_ref().is_none_or(|terms| {
                terms.iter().all(|(key, found)| domain(key).is_some_and(|d| contains(found, d)))
            })
            && self.spreads.iter().all(|spread| {
                let there = domain(spread.key)
                    .and_then(|d| spread.by_domain.iter().find(|(k, _)| **k == d))
                    .map_or(0, |(_, n)| *n);
                there <= spread.most
            })
    }
}

fn contains(set: &BTreeSet<Domain<'_>>, domain: Domain<'_>) -> bool {
    set.iter().any(|d| *d == domain)
}

fn domain<'m>(yard: &Yard<'m>, place: usize, key: &TopologyKey) -> Option<Domain<'m>> {
    match key {
        TopologyKey::Host => Some(Domain::Place(place)),
        TopologyKey::Label(key) => yard.label(place, key).map(Domain::Value),
    }
}

fn groups<'m, 'y>(model: &'m Model<'m>, yard: &'y Yard<'m>) -> Vec<Group<'m, 'y>>
where
    'm: 'y,
{
    let mut groups = Vec::new();
    for (place, here) in yard.places.iter().enumerate() {
        if let Site::Old(node) = here.site {
            let pods = &model.problem.nodes[node].pods;
            groups.extend(pods.iter().zip(&model.classes.running[node]).map(|(pod, matched)| Group {
                place,
                spec: &model.problem.specs[pod.spec.index()],
                matched: matched.as_slice(),
                count: pod.count,
                terminating: pod.terminating,
                planned: false,
            }));
        }
        groups.extend(here.pods.iter().map(|(class, count)| Group {
            place,
            spec: model.spec(*class as usize),
            matched: model.classes.classes[*class as usize].matched.as_slice(),
            count: *count,
            terminating: false,
            planned: true,
        }));
    }
    groups
}

/// Where each affinity term finds pods that all terms select.
fn near<'m>(
    model: &Model<'_>,
    yard: &Yard<'m>,
    spec: &'m PodSpec,
    groups: &[Group<'m, '_>],
    own: &[SelectorId],
) -> Option<Vec<(&'m TopologyKey, BTreeSet<Domain<'m>>)>> {
    if spec.affinity.is_empty() {
        return None;
    }
    let selectors: Vec<SelectorId> =
        spec.affinity.iter().map(|t| model.classes.selector_id(&t.selector)).collect();
    let picks = |matched: &[SelectorId]| selectors.iter().all(|s| matched.binary_search(s).is_ok());
    let mut found: Vec<(&TopologyKey, BTreeSet<Domain<'m>>)> =
        spec.affinity.iter().map(|t| (&t.key, BTreeSet::new())).collect();
    for group in groups.iter().filter(|g| picks(g.matched)) {
        for (key, set) in &mut found {
            set.extend(domain(yard, group.place, key));
        }
    }
    let none = found.iter().all(|(_, set)| set.is_empty());
    (!(none && picks(own))).then_some(found)
}

/// What spread rules of a pod ask of a node before they count it.
#[derive(Clone, Copy)]
struct View {
    has_keys: bool,
    selected: bool,
    tolerated: bool,
}

/// By place: how a pod sees it.
fn views<'m>(model: &'m Model<'m>, yard: &Yard<'m>, spec: &PodSpec) -> Vec<View> {
    let view = |place: usize| {
        let mut required = spec.spread.iter().filter(|s| !s.wished);
        let mut own = spec.node.iter().filter(|c| !c.of_volume);
        let taints = match yard.places[place].site {
            Site::Old(node) => &model.problem.nodes[node].taints,
            Site::New(kind) => &model.problem.pools[model.kinds.kinds[kind as usize].pool.index()].taints,
        };
        View {
            has_keys: required.all(|s| domain(yard, place, &s.key).is_some()),
            selected: own.all(|c| met(c, |key| yard.label(place, key))),
            tolerated: untolerated(taints, &spec.tolerations).is_none(),
        }
    };
    (0..yard.places.len()).map(view).collect()
}

/// A spread rule as the pod finds it.
fn count<'m>(
    model: &'m Model<'m>,
    yard: &Yard<'m>,
    offers: &Offers,
    class: usize,
    at: usize,
    groups: &[Group<'m, '_>],
    views: &[View],
) -> Count<'m> {
    let spec = model.spec(class);
    let rule: &'m Spread = &spec.spread[at];
    let eligible = |view: &View| {
        view.has_keys
            && (!rule.honor_node_affinity || view.selected)
            && (!rule.honor_taints || view.tolerated)
    };
    let counts: Vec<bool> = views.iter().map(eligible).collect();
    let mut by_domain = BTreeMap::<Domain<'m>, u32>::new();
    for place in (0..counts.len()).filter(|place| counts[*place]) {
        if let Some(domain) = domain(yard, place, &rule.key) {
            by_domain.entry(domain).or_default();
        }
    }
    let selector = model.classes.selector_id(&rule.selector);
    for group in groups.iter().filter(|g| counts[g.place] && !g.terminating) {
        if group.matched.binary_search(&selector).is_ok()
            && let Some(domain) = domain(yard, group.place, &rule.key)
        {
            *by_domain.entry(domain).or_default() += group.count;
        }
    }
    let unseen = offers.0.get(&(class, at)).into_iter().flatten();
    let unseen = unseen.filter(|v| !by_domain.contains_key(&Domain::Value(v))).count();
    let total = by_domain.len() + unseen;
    let empty = unseen > 0 || total < rule.min_domains as usize;
    let least = if empty { 0 } else { by_domain.values().copied().min().unwrap_or(0) };
    let itself = u32::from(model.classes.classes[class].matched.binary_search(&selector).is_ok());
    let most = least.saturating_add(rule.max_skew).saturating_sub(itself);
    Count { key: &rule.key, by_domain, most }
}
