//! Why a node is what it is: how full, what fills it, and what keeps its pods off everything cheaper.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::data::{Binding, Cheaper, Fill, Hurdle, HurdleSort, NodeStory, Tally};
use super::unplaced::{constraint_words, requirement_words, taint_words};
use crate::alternatives::{Alternatives, offering};
use crate::arrangement::Pods;
use crate::host_rule::HostState;
use crate::kind::{Kind, untolerated};
use crate::model::Model;
use crate::money::Price;
use crate::pack::{Budget, add_to};
use crate::problem::{PodId, PoolId, Requirement, ResourceId, TypeId};
use crate::solution::{NewNode, Solution};

/// So many cheaper kinds are told of in the node's own pool, zone and capacity type.
const TOLD: usize = 3;

/// What nodes of a plan are compared with.
pub(super) struct Nodes<'m> {
    model: &'m Model<'m>,
    alternatives: Alternatives<'m>,
    /// What the plan leaves of limits.
    budget: Budget,
    /// Kinds, dearest first.
    dearest: Vec<u32>,
    known: HashMap<(PoolId, TypeId, u32), Vec<u32>>,
    class_of: Vec<u32>,
}

/// What a node holds.
struct Held {
    kind: u32,
    pods: Pods,
    load: Vec<i64>,
    /// Labels that keep their value.
    tied: Vec<String>,
}

impl<'m> Nodes<'m> {
    pub(super) fn of(model: &'m Model<'m>, solution: &Solution) -> Self {
        let kinds = &model.kinds.kinds;
        let mut dearest: Vec<u32> = (0..kinds.len() as u32).collect();
        dearest.sort_by_key(|at| std::cmp::Reverse(kinds[*at as usize].price));
        let mut known = HashMap::<_, Vec<u32>>::new();
        for (at, kind) in kinds.iter().enumerate() {
            known.entry((kind.pool, kind.instance_type, kind.offering)).or_default().push(at as u32);
        }
        let mut class_of = vec![0; model.problem.pods.len()];
        for (class, of_class) in model.classes.classes.iter().enumerate() {
            for pod in &of_class.pods {
                class_of[pod.index()] = class as u32;
            }
        }
        let alternatives = Alternatives::of(model);
        let mut this = Self { model, alternatives, budget: Budget::of(model), dearest, known, class_of };
        for node in &solution.new_nodes {
            if let Some(kind) = this.kind_of(node) {
                this.budget.take(model, &kinds[kind as usize], 1);
            }
        }
        this
    }

    /// The kind of a node, where its pool still offers it.
    pub(super) fn kind_of(&self, node: &NewNode) -> Option<u32> {
        let offering = u32::try_from(node.offering).ok()?;
        let like = self.known.get(&(node.pool, node.instance_type, offering))?;
        let chosen = |at: &&u32| {
            let variant = self.model.kinds.kinds[**at as usize].variant;
            self.model.kinds.variants[variant as usize]
                .chosen
                .iter()
                .eq(node.chosen_labels.iter().map(|(k, v)| (k, v)))
        };
        like.iter().find(chosen).copied()
    }

    fn pods(&self, node: &NewNode) -> Pods {
        let mut pods = Pods::new();
        for pod in &node.pods {
            add_to(&mut pods, self.class_of[pod.index()], 1);
        }
        pods
    }

    /// The stories of all new nodes.
    pub(super) fn stories(&self, solution: &Solution, tell: &mut dyn FnMut(u64, u64)) -> Vec<NodeStory> {
        let mut groups = BTreeMap::<(u32, Pods), Vec<u32>>::new();
        for (at, node) in solution.new_nodes.iter().enumerate() {
            if let Some(kind) = self.kind_of(node) {
                groups.entry((kind, self.pods(node))).or_default().push(at as u32);
            }
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|(_, nodes)| nodes[0]);
        let all = groups.len() as u64;
        let mut stories = Vec::with_capacity(groups.len());
        for ((kind, pods), nodes) in groups {
            tell(stories.len() as u64, all);
            stories.push(self.story(kind, pods, nodes));
        }
        stories
    }

    fn story(&self, kind: u32, pods: Pods, nodes: Vec<u32>) -> NodeStory {
        let model = self.model;
        let classes: BTreeSet<usize> = pods.iter().map(|(class, _)| *class as usize).collect();
        let tied = self.alternatives.tied(&classes).into_iter().map(str::to_owned).collect();
        let held = Held { kind, load: model.load(pods.iter().copied()), pods, tied };
        let mut fills = self.fills(&held);
        fills.sort_by(|a, b| b.share().total_cmp(&a.share()).then(a.resource.cmp(&b.resource)));
        let binding = self.binding(&held, &fills);
        let (cheaper, tally) = self.cheaper(&held);
        NodeStory { nodes, fills, binding, cheaper, smaller: self.smaller(&held), tally }
    }

    fn fills(&self, held: &Held) -> Vec<Fill> {
        let (model, kind) = (self.model, self.kind(held.kind));
        let of_type = &model.problem.types[kind.instance_type.index()];
        let room = self.room(held.kind);
        let fill = |(dim, resource): (usize, &ResourceId)| {
            let of = of_type.allocatable.get(*resource);
            Fill { resource: *resource, pods: held.load[dim], daemons: of.saturating_sub(room[dim]), of }
        };
        let all = model.kinds.dims.iter().enumerate().map(fill);
        all.filter(|f| f.pods > 0 || f.daemons > 0).collect()
    }

    /// What refuses one more pod of the classes that the node holds.
    fn binding(&self, held: &Held, fills: &[Fill]) -> Binding {
        let model = self.model;
        let room = self.room(held.kind);
        let mut state = HostState::default();
        for (class, count) in &held.pods {
            model.rules.add(*class, *count, &mut state);
        }
        let mut short = BTreeSet::new();
        let mut ruled = None;
        for (class, _) in &held.pods {
            let need = &model.requests[*class as usize];
            let lacking = (0..room.len()).filter(|d| held.load[*d] + need[*d] > room[*d] && need[*d] > 0);
            let before = short.len();
            let mut full = false;
            for dim in lacking {
                full = true;
                short.insert(model.kinds.dims[dim]);
            }
            if !full && before == short.len() && model.rules.allowance(*class, &state) == 0 && ruled.is_none()
            {
                ruled = Some(self.first(*class));
            }
        }
        match (fills.iter().find(|f| short.contains(&f.resource)), ruled) {
            (Some(fill), _) => Binding::Resource(fill.resource),
            (None, Some(pod)) => Binding::HostRule(pod),
            (None, None) => Binding::Nothing,
        }
    }

    /// The next cheaper kinds, and all of them counted.
    fn cheaper(&self, held: &Held) -> (Vec<Cheaper>, Vec<Tally>) {
        let model = self.model;
        let own = self.kind(held.kind);
        let from = self.dearest.partition_point(|at| self.kind(*at).price >= own.price);
        let mut counts = BTreeMap::<HurdleSort, u32>::new();
        let mut near = Vec::new();
        let mut big_enough = BTreeMap::<HurdleSort, u32>::new();
        let mut told = BTreeSet::from([own.instance_type]);
        let own_place = offering(model, own);
        for at in self.dearest[from..].iter().filter(|at| self.stands_for_all(held, **at)) {
            let kind = self.kind(*at);
            let place = offering(model, kind);
            let here = kind.variant == own.variant
                && (&place.zone, &place.capacity_type) == (&own_place.zone, &own_place.capacity_type);
            let sort = if here && near.len() < TOLD && told.insert(kind.instance_type) {
                let hurdle = self.hurdle(held, *at);
                let sort = hurdle.sort();
                near.push(self.cheaper_of(held, *at, hurdle));
                sort
            } else {
                let sort = self.sort(held, *at);
                if !matches!(sort, HurdleSort::Room(_)) && self.lacks(held, *at).is_empty() {
                    // The last one is the cheapest.
                    big_enough.insert(sort, *at);
                }
                sort
            };
            *counts.entry(sort).or_insert(0) += 1;
        }
        let mut far: Vec<u32> = big_enough.into_values().collect();
        far.sort_by_key(|at| (self.kind(*at).price, *at));
        for at in far {
            near.push(self.cheaper_of(held, at, self.hurdle(held, at)));
        }
        let mut tally: Vec<Tally> = counts.into_iter().map(|(sort, kinds)| Tally { sort, kinds }).collect();
        tally.sort_by_key(|t| std::cmp::Reverse(t.kinds));
        (near, tally)
    }

    /// Whether a kind is the one to look at of those that only the choice of labels tells apart: in the node's own pool
    /// the same choice, elsewhere the first that admits the pods, or the first.
    fn stands_for_all(&self, held: &Held, at: u32) -> bool {
        let (own, kind) = (self.kind(held.kind), self.kind(at));
        if kind.pool == own.pool {
            return kind.variant == own.variant;
        }
        let Some(alike) = self.known.get(&(kind.pool, kind.instance_type, kind.offering)) else {
            return true;
        };
        let admits = |at: &&u32| held.pods.iter().all(|(class, _)| self.gate(*class).contains(**at as usize));
        alike.iter().find(admits).or_else(|| alike.first()) == Some(&at)
    }

    fn cheaper_of(&self, held: &Held, at: u32, hurdle: Hurdle) -> Cheaper {
        let (own, kind) = (self.kind(held.kind), self.kind(at));
        Cheaper {
            pool: kind.pool,
            instance_type: kind.instance_type,
            offering: Some(kind.offering),
            saves: Price::from_micros(own.price - kind.price),
            hurdle,
        }
    }

    /// The biggest of the family's smaller types.
    fn smaller(&self, held: &Held) -> Option<Cheaper> {
        let model = self.model;
        let own = self.kind(held.kind);
        let types = &model.problem.types;
        let own_type = &types[own.instance_type.index()];
        let family = own_type.name.split_once('.')?.0;
        let smaller = |other: &crate::InstanceType| {
            other.name.split_once('.').is_some_and(|(f, _)| f == family)
                && other.name != own_type.name
                && other.allocatable.fits(&own_type.allocatable)
                && other.allocatable != own_type.allocatable
        };
        let size = |at: &usize| {
            let of = &types[*at].allocatable;
            let share = model.kinds.dims.iter().filter_map(|d| {
                let whole = own_type.allocatable.get(*d);
                (whole > 0).then(|| of.get(*d) as f64 / whole as f64)
            });
            share.fold(0.0, |sum, s| sum + s)
        };
        // The same type may be there several times, each for some pools.
        let sold_here = |at: usize| {
            (0..types[at].offerings.len())
                .any(|o| self.known.contains_key(&(own.pool, TypeId::of(at), o as u32)))
        };
        let alone = |at: usize| types.iter().filter(|of| of.name == types[at].name).count() == 1;
        let all = (0..types.len()).filter(|at| smaller(&types[*at]) && (sold_here(*at) || alone(*at)));
        let at =
            all.max_by(|a, b| size(a).total_cmp(&size(b)).then_with(|| types[*b].name.cmp(&types[*a].name)))?;
        let place = offering(model, own);
        let sold = types[at]
            .offerings
            .iter()
            .position(|o| o.zone == place.zone && o.capacity_type == place.capacity_type);
        let mut found = Cheaper {
            pool: own.pool,
            instance_type: TypeId::of(at),
            offering: sold.map(|at| at as u32),
            saves: Price::ZERO,
            hurdle: Hurdle::NotSold,
        };
        let Some(sold) = sold else { return Some(found) };
        let known = self.known.get(&(own.pool, TypeId::of(at), sold as u32));
        let kind = known.into_iter().flatten().find(|k| self.kind(**k).variant == own.variant);
        let Some(kind) = kind else {
            found.hurdle = Hurdle::Pool { requirement: self.excluding(own, at, sold) };
            return Some(found);
        };
        if self.kind(*kind).price >= own.price {
            return None;
        }
        Some(self.cheaper_of(held, *kind, self.hurdle(held, *kind)))
    }

    /// The first requirement of a kind's pool that leaves an offering out.
    fn excluding(&self, own: &Kind, of_type: usize, sold: usize) -> String {
        let problem = self.model.problem;
        let pool = &problem.pools[own.pool.index()];
        let chosen = &self.model.kinds.variants[own.variant as usize].chosen;
        let of_type = &problem.types[of_type];
        let label = |r: &Requirement| {
            let found = of_type.offerings[sold].labels.get(&r.key).or_else(|| chosen.get(&r.key));
            found
                .or_else(|| of_type.labels.get(&r.key))
                .or_else(|| pool.labels.get(&r.key))
                .map(String::as_str)
        };
        let broken = pool.requirements.iter().find(|r| !r.allows(label(r)));
        broken.map_or_else(|| "its requirements".to_owned(), requirement_words)
    }

    /// What keeps the node's pods off a kind.
    fn hurdle(&self, held: &Held, at: u32) -> Hurdle {
        let (model, kind) = (self.model, self.kind(at));
        let pool = &model.problem.pools[kind.pool.index()];
        let refused = |test: &dyn Fn(u32) -> bool| {
            let pods: Vec<&(u32, u32)> = held.pods.iter().filter(|(class, _)| test(*class)).collect();
            let first = pods.first()?;
            Some((self.first(first.0), pods.iter().map(|(_, n)| n).sum::<u32>()))
        };
        let spec = |class: u32| model.spec(class as usize);
        if let Some((pod, pods)) =
            refused(&|class| untolerated(&pool.taints, &spec(class).tolerations).is_some())
        {
            let taint = untolerated(&pool.taints, &self.spec(pod).tolerations);
            return Hurdle::Taint { taint: taint.map(taint_words).unwrap_or_default(), pod, pods };
        }
        let broken = |class: u32| spec(class).node.iter().find(|c| !self.model.kinds.meets(kind, c));
        if let Some((pod, _)) = refused(&|class| broken(class).is_some())
            && let Some(constraint) = self.spec(pod).node.iter().find(|c| !self.model.kinds.meets(kind, c))
        {
            let same = refused(&|class| spec(class).node.contains(constraint));
            return Hurdle::Constraint {
                source: constraint.source.clone(),
                wanted: constraint_words(constraint),
                pod,
                pods: same.map_or(1, |(_, pods)| pods),
            };
        }
        let gated = |class: u32| !self.gate(class).contains(at as usize);
        let lacks = self.lacks(held, at);
        if lacks.is_empty() && self.is_narrow(held, at) {
            return Hurdle::MinValues;
        }
        if let Some((pod, pods)) = refused(&gated).filter(|_| !self.is_narrow(held, at)) {
            return Hurdle::HostPort { pod, pods };
        }
        if !lacks.is_empty() {
            let (holds, of) = self.holds(held, at);
            return Hurdle::Room { lacks, holds, of };
        }
        let own = self.kind(held.kind);
        let weight = |kind: &Kind| model.problem.pools[kind.pool.index()].weight;
        if weight(kind) < weight(own) {
            return Hurdle::Weight { weight: weight(kind), own: weight(own) };
        }
        if let Some(label) = self.strays(held, at) {
            let value = model.kinds.label(own, label).map(str::to_owned);
            let ties = |class: u32| self.alternatives.tied(&BTreeSet::from([class as usize])).contains(label);
            let pod = refused(&ties).map_or_else(|| self.first(held.pods[0].0), |(pod, _)| pod);
            return Hurdle::Domain { label: label.to_owned(), value, pod };
        }
        self.limit(own, kind)
    }

    /// The sort of [`Self::hurdle`], found without words.
    fn sort(&self, held: &Held, at: u32) -> HurdleSort {
        let (model, kind) = (self.model, self.kind(at));
        let taints = &model.problem.pools[kind.pool.index()].taints;
        let lacks = self.lacks(held, at);
        if held.pods.iter().any(|(class, _)| !self.gate(*class).contains(at as usize)) {
            let tolerant =
                |class: u32| untolerated(taints, &model.spec(class as usize).tolerations).is_none();
            return if !held.pods.iter().all(|(class, _)| tolerant(*class)) {
                HurdleSort::Taint
            } else if self.is_narrow(held, at) && self.suits(held, kind) {
                lacks.first().map_or(HurdleSort::MinValues, |(resource, _)| HurdleSort::Room(*resource))
            } else if self.ports_only(held, kind) {
                HurdleSort::HostPort
            } else {
                HurdleSort::Constraint
            };
        }
        if let Some((resource, _)) = lacks.first() {
            return HurdleSort::Room(*resource);
        }
        if self.is_narrow(held, at) {
            return HurdleSort::MinValues;
        }
        let own = self.kind(held.kind);
        if model.problem.pools[kind.pool.index()].weight < model.problem.pools[own.pool.index()].weight {
            HurdleSort::Weight
        } else if self.strays(held, at).is_some() {
            HurdleSort::Domain
        } else {
            self.limit(own, kind).sort()
        }
    }

    /// Whether no node constraint is broken where a gate is shut and taints are tolerated.
    fn ports_only(&self, held: &Held, kind: &Kind) -> bool {
        let has_ports = |class: u32| !self.model.spec(class as usize).host_ports.is_empty();
        held.pods.iter().any(|(class, _)| has_ports(*class)) && self.suits(held, kind)
    }

    /// Whether a kind meets the node constraints of all of a node's pods.
    fn suits(&self, held: &Held, kind: &Kind) -> bool {
        let meets = |constraint| self.model.kinds.meets(kind, constraint);
        held.pods.iter().all(|(class, _)| self.model.spec(*class as usize).node.iter().all(meets))
    }

    /// Whether a node's pods leave fewer values than the pool of a kind asks for.
    fn is_narrow(&self, held: &Held, at: u32) -> bool {
        !self.model.is_varied(at, held.pods.iter().copied())
    }

    /// What a kind lacks for a node's pods, the greatest share of the load first.
    fn lacks(&self, held: &Held, at: u32) -> Vec<(ResourceId, i64)> {
        let room = self.room(at);
        let dims = self.model.kinds.dims.iter().enumerate();
        let short = dims.map(|(d, resource)| (*resource, held.load[d] - room[d].max(0), held.load[d]));
        let mut short: Vec<(ResourceId, i64, i64)> =
            short.filter(|(_, lack, load)| *lack > 0 && *load > 0).collect();
        let part = |(_, lack, load): &(ResourceId, i64, i64)| *lack as f64 / *load as f64;
        short.sort_by(|a, b| part(b).total_cmp(&part(a)).then(a.0.cmp(&b.0)));
        short.into_iter().map(|(resource, lack, _)| (resource, lack)).collect()
    }

    /// So many of a node's pods a kind would hold, smallest first; and how many there are.
    fn holds(&self, held: &Held, at: u32) -> (u32, u32) {
        let model = self.model;
        let mut room = self.room(at).to_vec();
        let whole = room.clone();
        let share = |class: u32| {
            let need = model.requests[class as usize].iter().zip(&whole);
            let shares = need.filter(|(n, _)| **n > 0).map(|(n, r)| *n as f64 / (*r).max(1) as f64);
            shares.fold(0.0, f64::max)
        };
        let mut order: Vec<(u32, u32)> = held.pods.clone();
        order.sort_by(|a, b| share(a.0).total_cmp(&share(b.0)).then(a.0.cmp(&b.0)));
        let mut holds = 0;
        for (class, count) in order {
            let need = &model.requests[class as usize];
            let taken = count.min(crate::model::copies(need, &room));
            for (room, need) in room.iter_mut().zip(need) {
                *room -= need * i64::from(taken);
            }
            holds += taken;
        }
        (holds, held.pods.iter().map(|(_, n)| n).sum())
    }

    /// The first label that ties pods of a node to a value which a kind does not have.
    fn strays<'h>(&self, held: &'h Held, at: u32) -> Option<&'h str> {
        let kinds = &self.model.kinds;
        let (own, kind) = (self.kind(held.kind), self.kind(at));
        held.tied.iter().map(String::as_str).find(|label| kinds.label(own, label) != kinds.label(kind, label))
    }

    /// The limit that forbids one kind in place of another, or nothing.
    fn limit(&self, own: &Kind, kind: &Kind) -> Hurdle {
        let model = self.model;
        if own.pool == kind.pool && self.budget.allows_instead(model, own, kind) {
            return Hurdle::Nothing;
        }
        if own.pool != kind.pool && self.budget.allows(model, kind) > 0 {
            return Hurdle::Nothing;
        }
        if let Some(quota) = self.budget.spent(own, kind) {
            return Hurdle::Spent { quota: model.problem.quotas[quota as usize].name.clone() };
        }
        let capacity = |k: &Kind| &model.problem.types[k.instance_type.index()].capacity;
        let more = |resource: ResourceId| {
            let taken = if own.pool == kind.pool { capacity(own).get(resource) } else { 0 };
            capacity(kind).get(resource).saturating_sub(taken)
        };
        let limits = &model.problem.pools[kind.pool.index()].limits;
        let broken = limits.iter().find(|(id, _)| more(*id) > self.budget.remaining(kind.pool, *id));
        Hurdle::Limit { resource: broken.map(|(id, _)| *id) }
    }

    fn kind(&self, at: u32) -> &Kind {
        &self.model.kinds.kinds[at as usize]
    }

    fn room(&self, at: u32) -> &[i64] {
        &self.model.kinds.shapes[self.kind(at).shape as usize].room
    }

    fn gate(&self, class: u32) -> &fixedbitset::FixedBitSet {
        &self.model.gates[self.model.gate_of[class as usize] as usize]
    }

    fn first(&self, class: u32) -> PodId {
        self.model.classes.classes[class as usize].pods[0]
    }

    fn spec(&self, pod: PodId) -> &crate::PodSpec {
        &self.model.problem.specs[self.model.problem.pods[pod.index()].spec.index()]
    }
}
