//! Bin kinds: everything that could be launched, as `NodePool` × chosen labels × instance type × offering.
//!
//! ```text
//! NodePool ─ requirements ─▶ types and offerings it admits
//!    └─ open labels ─▶ variants: one for each value that some pod asks for
//! ```
//!
//! A kind knows its price and its room: the type's allocatable less the `DaemonSets` that would run there.
//!
//! Kubernetes' source of truth for which `DaemonSets` run on a node: the DaemonSet controller's `NodeShouldRunDaemonPod`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use fixedbitset::FixedBitSet;

use crate::model::met;
use crate::problem::{
    DaemonId, Effect, HostPort, NodeConstraint, Offering, OpenLabel, Operator, PodSpec, PoolId, Problem,
    Requirement, ResourceId, Term, Toleration, TopologyKey, TypeId,
};
use crate::twin;

/// A `NodePool` with values chosen for its open labels.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    pub(crate) pool: PoolId,
    pub(crate) chosen: BTreeMap<String, String>,
}

/// A bin that could be bought any number of times.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    pub(crate) variant: u32,
    pub(crate) pool: PoolId,
    pub(crate) instance_type: TypeId,
    pub(crate) offering: u32,
    /// Micro-dollars an hour, as weighed: what is due for the offering, and the pool's fixed cost of a node.
    pub(crate) price: i64,
    /// What one takes of quotas, by their position.
    pub(crate) draws: Vec<(u32, i64)>,
    /// Whether it draws on quotas, and nothing alike can be had without: once they are spent, so is the kind.
    pub(crate) rationed: bool,
    /// Index into [`Kinds::shapes`].
    pub(crate) shape: u32,
}

/// Room of a kind: what is left for pods beside the `DaemonSets`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub(crate) instance_type: TypeId,
    pub(crate) daemons: Vec<DaemonId>,
    /// By dimension; negative where the `DaemonSets` alone do not fit, and then nothing runs there.
    pub(crate) room: Vec<i64>,
}

/// All bin kinds of a problem, in a canonical order: pools by weight and name, types by name, offerings by price. Pools that
/// nobody can tell apart have them once ([`crate::twin`]).
pub(crate) struct Kinds<'p> {
    problem: &'p Problem,
    /// What the dimensions of `room` are.
    pub(crate) dims: Vec<ResourceId>,
    pub(crate) variants: Vec<Variant>,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) shapes: Vec<Shape>,
    /// For each pool the one that has its kinds: itself, or its twin.
    stand_ins: Vec<PoolId>,
    columns: HashMap<String, Column>,
    /// Every label that some kind has; filled when first needed.
    known: Option<HashSet<&'p str>>,
    requirements: HashMap<Requirement, FixedBitSet>,
    constraints: HashMap<Vec<Term>, FixedBitSet>,
}

/// One label over all kinds: value ids, 0 where absent.
struct Column {
    values: Vec<String>,
    of_kind: Vec<u32>,
}

/// At most this many variants a `NodePool`: more combinations of open labels than anyone writes on purpose.
const MAX_VARIANTS: usize = 256;

impl<'p> Kinds<'p> {
    /// Enumerates the kinds of `problem`. `dims` are the resources that pods ask for; `wanted` the specs (of pods and
    /// `DaemonSets`) whose node constraints may mention open labels.
    pub(crate) fn build(problem: &'p Problem, dims: Vec<ResourceId>, wanted: &[&PodSpec]) -> Self {
        let mut this = Self {
            problem,
            dims,
            variants: Vec::new(),
            stand_ins: Vec::new(),
            kinds: Vec::new(),
            shapes: Vec::new(),
            columns: HashMap::new(),
            known: None,
            requirements: HashMap::new(),
            constraints: HashMap::new(),
        };
        let order = by_weight(problem);
        this.stand_ins = twin::stand_ins(problem, &order);
        let kept = order.into_iter().filter(|at| this.stand_ins[*at].index() == *at);
        this.variants = variants(problem, kept, wanted);
        this.enumerate();
        this.ration();
        this.shape();
        this
    }

    /// A label of the nodes of one kind.
    pub(crate) fn label(&self, kind: &Kind, key: &str) -> Option<&'_ str> {
        let of_type = &self.problem.types[kind.instance_type.index()];
        let variant = &self.variants[kind.variant as usize];
        let found = variant.chosen.get(key);
        let found = found.or_else(|| of_type.offerings[kind.offering as usize].labels.get(key));
        let found = found.or_else(|| of_type.labels.get(key));
        found.or_else(|| self.problem.pools[kind.pool.index()].labels.get(key)).map(String::as_str)
    }

    /// Kinds that stand for those of a pool, by their positions.
    pub(crate) fn of_pool(&self, pool: PoolId) -> impl Iterator<Item = usize> {
        let stand_in = self.stand_ins[pool.index()];
        let all = self.kinds.iter().enumerate();
        all.filter(move |(_, kind)| kind.pool == stand_in).map(|(at, _)| at)
    }

    /// Whether some kind may have a label.
    fn is_known(&mut self, key: &str) -> bool {
        // Most labels that are asked for are on all types.
        if self.problem.types.first().is_some_and(|of_type| of_type.labels.contains_key(key)) {
            return true;
        }
        let problem = self.problem;
        let known = self.known.get_or_insert_with(|| {
            let types = problem.types.iter();
            let offerings = types.clone().flat_map(|of_type| &of_type.offerings).map(|o| &o.labels);
            let labels = types.map(|of_type| &of_type.labels).chain(offerings);
            let labels = labels.chain(problem.pools.iter().map(|pool| &pool.labels));
            labels.flat_map(|labels| labels.keys()).map(String::as_str).collect()
        });
        known.contains(key) || self.variants.iter().any(|variant| variant.chosen.contains_key(key))
    }

    /// Whether the labels of a kind's nodes satisfy a constraint; see [`Self::meeting`] for all kinds at once.
    pub(crate) fn meets(&self, kind: &Kind, constraint: &NodeConstraint) -> bool {
        met(constraint, |key| self.label(kind, key))
    }

    /// The distinct values of a label over all kinds, and for each kind its value's position plus one (0: no such
    /// label).
    pub(crate) fn values_of(&mut self, key: &str) -> (&[String], &[u32]) {
        if !self.columns.contains_key(key) {
            let mut ids = HashMap::<String, u32>::new();
            let mut values = Vec::new();
            // Labels that no kind has are asked for, too.
            let known = self.is_known(key);
            let kinds = if known { self.kinds.as_slice() } else { &[] };
            let mut of_kind: Vec<u32> = kinds
                .iter()
                .map(|kind| {
                    self.label(kind, key).map_or(0, |value| {
                        if let Some(id) = ids.get(value) {
                            return *id;
                        }
                        values.push(value.to_owned());
                        ids.insert(value.to_owned(), values.len() as u32);
                        values.len() as u32
                    })
                })
                .collect();
            of_kind.resize(self.kinds.len(), 0);
            self.columns.insert(key.to_owned(), Column { values, of_kind });
        }
        let column = &self.columns[key];
        (&column.values, &column.of_kind)
    }

    /// The second part of [`Self::values_of`], if somebody has asked for it before.
    pub(crate) fn column(&self, key: &str) -> Option<&[u32]> {
        self.columns.get(key).map(|column| column.of_kind.as_slice())
    }

    /// The kinds whose labels satisfy a requirement.
    pub(crate) fn satisfying(&mut self, requirement: &Requirement) -> &FixedBitSet {
        if !self.requirements.contains_key(requirement) {
            let total = self.kinds.len();
            let (values, of_kind) = self.values_of(&requirement.key);
            let absent = requirement.allows(None);
            let verdicts: Vec<bool> =
                std::iter::once(absent).chain(values.iter().map(|v| requirement.allows(Some(v)))).collect();
            let mut set = FixedBitSet::with_capacity(total);
            for (at, value) in of_kind.iter().enumerate() {
                set.set(at, verdicts[*value as usize]);
            }
            self.requirements.insert(requirement.clone(), set);
        }
        &self.requirements[requirement]
    }

    /// The kinds on which a node constraint holds.
    pub(crate) fn meeting(&mut self, constraint: &NodeConstraint) -> FixedBitSet {
        if let Some(known) = self.constraints.get(&constraint.any_of) {
            return known.clone();
        }
        let mut any = FixedBitSet::with_capacity(self.kinds.len());
        for term in &constraint.any_of {
            let mut all = self.every();
            for requirement in term {
                all.intersect_with(self.satisfying(requirement));
            }
            any.union_with(&all);
        }
        self.constraints.insert(constraint.any_of.clone(), any.clone());
        any
    }

    /// Every kind.
    pub(crate) fn every(&self) -> FixedBitSet {
        let mut all = FixedBitSet::with_capacity(self.kinds.len());
        all.insert_range(..);
        all
    }

    /// The kinds of pools whose taints are tolerated.
    pub(crate) fn tolerated_by(&self, tolerations: &[Toleration]) -> FixedBitSet {
        let verdicts: Vec<bool> =
            self.problem.pools.iter().map(|pool| untolerated(&pool.taints, tolerations).is_none()).collect();
        let mut set = FixedBitSet::with_capacity(self.kinds.len());
        for (at, kind) in self.kinds.iter().enumerate() {
            set.set(at, verdicts[kind.pool.index()]);
        }
        set
    }

    /// The kinds whose `DaemonSets` leave these host ports free.
    pub(crate) fn free_of(&self, ports: &[HostPort]) -> FixedBitSet {
        let mut set = self.every();
        if ports.is_empty() {
            return set;
        }
        let busy: Vec<bool> = self
            .shapes
            .iter()
            .map(|shape| {
                shape.daemons.iter().any(|d| {
                    let spec = &self.problem.specs[self.problem.daemons[d.index()].spec.index()];
                    spec.host_ports.iter().any(|taken| ports.iter().any(|p| p.clashes(taken)))
                })
            })
            .collect();
        for (at, kind) in self.kinds.iter().enumerate() {
            if busy[kind.shape as usize] {
                set.set(at, false);
            }
        }
        set
    }

    /// Every rule of a spec that looks at labels, taints and ports of a node, not at its room.
    pub(crate) fn admitting(&mut self, spec: &PodSpec) -> FixedBitSet {
        let mut set = self.tolerated_by(&spec.tolerations);
        for constraint in &spec.node {
            set.intersect_with(&self.meeting(constraint));
        }
        set.intersect_with(&self.free_of(&spec.host_ports));
        set
    }

    fn enumerate(&mut self) {
        let problem = self.problem;
        let mut types: Vec<usize> = (0..problem.types.len()).collect();
        let key = |at: &usize| (&problem.types[*at].name, &problem.types[*at].labels);
        types.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
        let offering_keys: BTreeSet<&str> = problem
            .types
            .iter()
            .flat_map(|t| &t.offerings)
            .flat_map(|o| o.labels.keys())
            .map(String::as_str)
            .collect();
        let mut orders = Vec::with_capacity(types.len());
        for &at in &types {
            let offerings = &problem.types[at].offerings;
            let mut order: Vec<usize> = (0..offerings.len()).collect();
            order.sort_by(|a, b| {
                let key =
                    |i: &usize| (offerings[*i].due(), &offerings[*i].zone, &offerings[*i].capacity_type);
                let rest = |i: &usize| (&offerings[*i].labels, drawn(problem, &offerings[*i]));
                key(a).cmp(&key(b)).then_with(|| rest(a).cmp(&rest(b)))
            });
            orders.push(order);
        }
        for (number, variant) in self.variants.iter().enumerate() {
            let pool = &problem.pools[variant.pool.index()];
            let (by_offering, by_type): (Vec<&Requirement>, Vec<&Requirement>) =
                pool.requirements.iter().partition(|r| offering_keys.contains(r.key.as_str()));
            for (&at, order) in types.iter().zip(&orders) {
                let of_type = &problem.types[at];
                let own = |key: &str| {
                    variant
                        .chosen
                        .get(key)
                        .or_else(|| of_type.labels.get(key))
                        .or_else(|| pool.labels.get(key))
                };
                if !by_type.iter().all(|r| r.allows(own(&r.key).map(String::as_str))) {
                    continue;
                }
                for &offering in order {
                    let labels = &of_type.offerings[offering].labels;
                    if by_offering
                        .iter()
                        .all(|r| r.allows(labels.get(&r.key).or_else(|| own(&r.key)).map(String::as_str)))
                    {
                        self.kinds.push(Kind {
                            variant: number as u32,
                            pool: variant.pool,
                            instance_type: TypeId::of(at),
                            offering: offering as u32,
                            price: (of_type.offerings[offering].due() + pool.node_cost).micros(),
                            draws: of_type.offerings[offering]
                                .draws
                                .iter()
                                .map(|(quota, units)| (quota.0, *units))
                                .collect(),
                            rationed: false,
                            shape: 0,
                        });
                    }
                }
            }
        }
    }

    /// Finds the kinds that draw on quotas and have no like that does not.
    fn ration(&mut self) {
        let place = |kind: &Kind| {
            let offering = &self.problem.types[kind.instance_type.index()].offerings[kind.offering as usize];
            (kind.variant, kind.instance_type, &offering.labels)
        };
        let of_type = |kind: &Kind| (kind.variant, kind.instance_type);
        let drawing: HashSet<_> = self.kinds.iter().filter(|k| !k.draws.is_empty()).map(of_type).collect();
        let endless = self.kinds.iter().filter(|k| k.draws.is_empty() && drawing.contains(&of_type(k)));
        let endless: HashSet<_> = endless.map(place).collect();
        let rationed = |kind: &Kind| !kind.draws.is_empty() && !endless.contains(&place(kind));
        let rationed: Vec<bool> = self.kinds.iter().map(rationed).collect();
        for (kind, rationed) in self.kinds.iter_mut().zip(rationed) {
            kind.rationed = rationed;
        }
    }

    /// Finds the `DaemonSets` of each kind, and with them its room.
    fn shape(&mut self) {
        let problem = self.problem;
        let mut daemons: Vec<usize> = (0..problem.daemons.len()).collect();
        daemons.sort_unstable_by(|a, b| problem.daemons[*a].name.cmp(&problem.daemons[*b].name));
        let mut runs = Vec::with_capacity(daemons.len());
        for &daemon in &daemons {
            let spec = &problem.specs[problem.daemons[daemon].spec.index()];
            let mut set = self.tolerated_by(&spec.tolerations);
            for constraint in &spec.node {
                set.intersect_with(&self.meeting(constraint));
            }
            runs.push((daemon, set));
        }
        let mut ids = HashMap::<(TypeId, Vec<DaemonId>), u32>::new();
        for at in 0..self.kinds.len() {
            let here: Vec<DaemonId> =
                runs.iter().filter(|(_, set)| set.contains(at)).map(|(d, _)| DaemonId::of(*d)).collect();
            let instance_type = self.kinds[at].instance_type;
            let next = self.shapes.len() as u32;
            let id = *ids.entry((instance_type, here.clone())).or_insert(next);
            if id == next {
                let room = self
                    .dims
                    .iter()
                    .map(|&dim| {
                        let taken = here.iter().map(|d| {
                            problem.specs[problem.daemons[d.index()].spec.index()].requests.get(dim)
                        });
                        let all = problem.types[instance_type.index()].allocatable.get(dim);
                        taken.fold(all, i64::saturating_sub)
                    })
                    .collect();
                self.shapes.push(Shape { instance_type, daemons: here, room });
            }
            self.kinds[at].shape = id;
        }
    }
}

/// What an offering draws on, by name.
pub(crate) fn drawn<'p>(problem: &'p Problem, offering: &Offering) -> Vec<(&'p str, i64)> {
    let mut drawn: Vec<(&str, i64)> = offering
        .draws
        .iter()
        .map(|(quota, units)| (problem.quotas[quota.index()].name.as_str(), *units))
        .collect();
    drawn.sort_unstable();
    drawn
}

/// The first taint that keeps a pod with these tolerations away.
pub(crate) fn untolerated<'t>(
    taints: &'t [crate::Taint],
    tolerations: &[Toleration],
) -> Option<&'t crate::Taint> {
    taints.iter().find(|taint| {
        taint.effect != Effect::PreferNoSchedule && !tolerations.iter().any(|t| t.tolerates(taint))
    })
}

/// Pools by weight and name.
fn by_weight(problem: &Problem) -> Vec<usize> {
    let mut pools: Vec<usize> = (0..problem.pools.len()).collect();
    pools.sort_by(|a, b| {
        let (a, b) = (&problem.pools[*a], &problem.pools[*b]);
        b.weight.cmp(&a.weight).then_with(|| a.name.cmp(&b.name))
    });
    pools
}

/// Pools, each once for each choice of its open labels.
fn variants(problem: &Problem, pools: impl Iterator<Item = usize>, wanted: &[&PodSpec]) -> Vec<Variant> {
    let mut out = Vec::new();
    for at in pools {
        let mut combinations = vec![BTreeMap::new()];
        let mut open: Vec<&OpenLabel> = problem.pools[at].open_labels.iter().collect();
        open.sort_by(|a, b| a.key.cmp(&b.key));
        for label in open {
            let values = candidates(label, wanted);
            // No value at all is possible: then the pool offers nothing.
            let room = (MAX_VARIANTS / combinations.len().max(1)).max(1);
            combinations = combinations
                .iter()
                .flat_map(|chosen| {
                    values.iter().take(room).map(|value| {
                        let mut chosen = chosen.clone();
                        chosen.insert(label.key.clone(), value.clone());
                        chosen
                    })
                })
                .collect();
        }
        out.extend(combinations.into_iter().map(|chosen| Variant { pool: PoolId::of(at), chosen }));
    }
    out
}

/// The values of an open label worth telling apart: the one nobody asks for first, then what the pods that mention the
/// label can live with; all that are listed where pods are to be spread over the label or kept apart on it.
fn candidates(label: &OpenLabel, wanted: &[&PodSpec]) -> Vec<String> {
    let neutral = suitable(label, &[]);
    let asked: BTreeSet<Vec<&Requirement>> =
        wanted.iter().flat_map(|spec| asked_of(&spec.node, &label.key)).collect();
    let mut values: BTreeSet<String> = BTreeSet::new();
    for requirements in &asked {
        let lists = requirements.iter().filter_map(|r| match &r.op {
            Operator::In(values) => Some(values),
            _ => None,
        });
        let allowed = |v: &&String| {
            label.requirements.iter().chain(requirements.iter().copied()).all(|r| r.allows(Some(v)))
        };
        let before = values.len();
        values.extend(lists.flatten().filter(allowed).cloned());
        let content = neutral.as_ref().is_some_and(|v| allowed(&v)) || values.len() > before;
        values.extend(suitable(label, requirements).filter(|_| !content));
    }
    if wanted.iter().any(|spec| looks_over(spec, &label.key)) {
        let listed = label.requirements.iter().filter_map(|r| match &r.op {
            Operator::In(values) => Some(values),
            _ => None,
        });
        let allowed = |v: &&String| label.requirements.iter().all(|r| r.allows(Some(v)));
        values.extend(listed.flatten().filter(allowed).cloned());
    }
    let rest = values.into_iter().filter(|v| Some(v) != neutral.as_ref());
    neutral.clone().into_iter().chain(rest).collect()
}

/// Whether a rule between pods looks at a label's values as domains.
fn looks_over(spec: &PodSpec, key: &str) -> bool {
    let terms = spec.affinity.iter().chain(&spec.anti_affinity).map(|term| &term.key);
    let mut keys = spec.spread.iter().map(|spread| &spread.key).chain(terms);
    keys.any(|k| matches!(k, TopologyKey::Label(label) if label == key))
}

/// What a pod's node constraints ask of one label: for each alternative, together with what all alternatives share.
fn asked_of<'s>(node: &'s [NodeConstraint], key: &str) -> Vec<Vec<&'s Requirement>> {
    let of_term = |term: &'s Term| term.iter().filter(|r| r.key == key).collect::<Vec<&Requirement>>();
    let single = |c: &&NodeConstraint| c.any_of.len() == 1;
    let shared: Vec<&Requirement> =
        node.iter().filter(single).flat_map(|c| &c.any_of).flat_map(of_term).collect();
    let mut asked = vec![shared.clone()];
    for term in node.iter().filter(|c| !single(c)).flat_map(|c| &c.any_of) {
        asked.push(shared.iter().copied().chain(of_term(term)).collect());
    }
    asked.retain(|requirements| !requirements.is_empty());
    asked
}

/// A value that an open label may have and that satisfies `more` requirements, too.
fn suitable(label: &OpenLabel, more: &[&Requirement]) -> Option<String> {
    let all = || label.requirements.iter().chain(more.iter().copied());
    let allowed = |value: &str| all().all(|r| r.allows(Some(value)));
    let listed = all().find_map(|r| match &r.op {
        Operator::In(values) => Some(values),
        _ => None,
    });
    match listed {
        Some(values) => values.iter().find(|v| allowed(v)).cloned(),
        None => unlisted(&all().collect::<Vec<_>>()).find(|v| allowed(v)),
    }
}

/// Values to try where none is listed: a number inside the bounds, then words nobody would forbid.
fn unlisted(requirements: &[&Requirement]) -> impl Iterator<Item = String> {
    let bounds = requirements.iter().filter_map(|r| match r.op {
        Operator::Within(low, high) => Some((low, high)),
        _ => None,
    });
    let bounds = bounds.reduce(|a, b| (a.0.max(b.0), a.1.min(b.1)));
    let number = bounds.filter(|(low, high)| low <= high).map(|(low, high)| 0.clamp(low, high).to_string());
    let words = (0..=requirements.len()).map(|n| if n == 0 { "any".to_owned() } else { format!("any-{n}") });
    number.into_iter().chain(words)
}
