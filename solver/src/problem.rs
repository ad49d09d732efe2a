//! The packing problem: immutable input of a solve, in plain numbers and strings.
//!
//! ```text
//! Pod ──▶ PodSpec ─── must fit ───▶ Node (already paid for)
//!  │            │             └───▶ NodePool × InstanceType × Offering (a bin kind, bought by the hour)
//!  │            └─ or a route ────▶ a machine of its own beside the nodes, at a price
//!  └────▶ labels: what other pods' selectors look at
//! ```
//!
//! # Invariants
//! - Ids index the vector of the same name in [`Problem`].
//! - [`Resources`] are sorted by id, hold no zero and no negative amount.
//! - The order of the vectors carries no meaning: a solve gives the same answer for any order of the same
//!   objects, because it sorts by name first.
//!
//! Kubernetes' names are not known here: whoever lowers a cluster to a problem maps them (the hostname key becomes
//! [`TopologyKey::Host`]) and supplies every label a node would have.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::money::Price;

/// Labels of a pod, node or offering.
pub type Labels = BTreeMap<String, String>;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(pub u32);

        impl $name {
            /// The position in the vector this id points into.
            pub fn index(self) -> usize {
                self.0 as usize
            }

            /// The id of position `index`.
            pub fn of(index: usize) -> Self {
                Self(u32::try_from(index).unwrap_or(u32::MAX))
            }
        }
    };
}

id!(/// Index into [`Problem::resources`].
    ResourceId);
id!(/// Index into [`Problem::pods`].
    PodId);
id!(/// Index into [`Problem::specs`].
    SpecId);
id!(/// Index into [`Problem::label_sets`].
    LabelSetId);
id!(/// Index into [`Problem::types`].
    TypeId);
id!(/// Index into [`Problem::pools`].
    PoolId);
id!(/// Index into [`Problem::nodes`].
    NodeId);
id!(/// Index into [`Problem::daemons`].
    DaemonId);
id!(/// Index into [`Problem::quotas`].
    QuotaId);

/// Amounts by resource, in the resource's base unit: milli-CPU for cpu, bytes for memory and storage, one for pods
/// and devices. Sorted by id; no zeros, nothing negative.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "Vec<(ResourceId, i64)>")]
pub struct Resources(Vec<(ResourceId, i64)>);

impl From<Vec<(ResourceId, i64)>> for Resources {
    fn from(amounts: Vec<(ResourceId, i64)>) -> Self {
        Self::from_amounts(amounts)
    }
}

impl Resources {
    /// From amounts in any order; equal ids add up (saturating), zeros and negative amounts are left out.
    pub fn from_amounts(amounts: impl IntoIterator<Item = (ResourceId, i64)>) -> Self {
        let mut by_id = BTreeMap::<ResourceId, i64>::new();
        for (id, amount) in amounts {
            let sum = by_id.entry(id).or_insert(0);
            *sum = sum.saturating_add(amount);
        }
        Self(by_id.into_iter().filter(|(_, amount)| *amount > 0).collect())
    }

    /// The amount of one resource; zero where absent.
    pub fn get(&self, id: ResourceId) -> i64 {
        self.0.binary_search_by_key(&id, |(id, _)| *id).map_or(0, |at| self.0[at].1)
    }

    /// All amounts above zero, by ascending id.
    pub fn iter(&self) -> impl Iterator<Item = (ResourceId, i64)> + '_ {
        self.0.iter().copied()
    }

    /// Whether every amount is zero.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sum with `other`, saturating.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self::from_amounts(self.iter().chain(other.iter()))
    }

    /// What is left after taking `other` away, nothing below zero.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        Self(
            self.iter()
                .map(|(id, have)| (id, have.saturating_sub(other.get(id))))
                .filter(|(_, left)| *left > 0)
                .collect(),
        )
    }

    /// Whether each amount is within `room`.
    pub fn fits(&self, room: &Self) -> bool {
        self.iter().all(|(id, amount)| amount <= room.get(id))
    }
}

/// How one label is constrained.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Operator {
    /// The label exists and its value is one of these.
    In(Vec<String>),
    /// The label is absent, or its value is none of these.
    NotIn(Vec<String>),
    /// The label exists.
    Exists,
    /// The label does not exist.
    DoesNotExist,
    /// The label is an integer in this inclusive range. Kubernetes' `Gt 4` is `4 + 1 ..= i64::MAX`.
    Within(i64, i64),
}

/// A constraint on one label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What its value must be.
    pub op: Operator,
}

impl Requirement {
    /// Whether a label with this value (`None` is no label) satisfies the requirement.
    pub fn allows(&self, value: Option<&str>) -> bool {
        match (&self.op, value) {
            (Operator::In(values), Some(v)) => values.iter().any(|w| w == v),
            (Operator::NotIn(values), Some(v)) => !values.iter().any(|w| w == v),
            (Operator::Exists, Some(_)) | (Operator::NotIn(_) | Operator::DoesNotExist, None) => true,
            (Operator::Within(low, high), Some(v)) => {
                v.parse::<i64>().is_ok_and(|n| (*low..=*high).contains(&n))
            }
            (Operator::Within(..) | Operator::In(_) | Operator::Exists, None)
            | (Operator::DoesNotExist, Some(_)) => false,
        }
    }
}

/// Requirements that must all hold.
pub type Term = Vec<Requirement>;

/// A constraint of a pod on its node's labels: at least one term must hold. No term at all holds nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeConstraint {
    /// Where it comes from, for explanations: "node selector", "node affinity", "volume pv-1 of claim data-0".
    pub source: String,
    /// Alternatives.
    pub any_of: Vec<Term>,
    /// Whether it comes from a volume. Spread rules that honour a pod's node affinity leave out nodes that its own selector
    /// and affinity exclude, not those that its volumes or preferences do (kube-scheduler's `PodTopologySpread`).
    #[serde(default)]
    pub of_volume: bool,
}

/// What a taint does to pods that do not tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Effect {
    /// Keeps new pods away.
    NoSchedule,
    /// Keeps new pods away where another node will do; never a reason to refuse.
    PreferNoSchedule,
    /// Keeps new pods away and evicts running ones.
    NoExecute,
}

/// A node's taint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Taint {
    /// Key.
    pub key: String,
    /// Value, often empty.
    pub value: String,
    /// Effect.
    pub effect: Effect,
}

/// A pod's toleration of taints.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Toleration {
    /// Key; `None` tolerates every key.
    pub key: Option<String>,
    /// The value to equal; `None` tolerates every value (Kubernetes' operator `Exists`).
    pub value: Option<String>,
    /// Effect; `None` tolerates every effect.
    pub effect: Option<Effect>,
}

impl Toleration {
    /// Whether this toleration covers `taint`.
    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.effect.is_none_or(|e| e == taint.effect)
            && self.key.as_ref().is_none_or(|k| *k == taint.key)
            && self.value.as_ref().is_none_or(|v| *v == taint.value)
    }
}

/// Network protocol of a host port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A port taken on the node itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HostPort {
    /// Address; `None` is every address, and clashes with all.
    pub ip: Option<String>,
    /// Protocol.
    pub protocol: Protocol,
    /// Port number.
    pub port: u16,
}

impl HostPort {
    /// Whether the two cannot be on one node.
    pub fn clashes(&self, other: &Self) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip.is_none() || other.ip.is_none() || self.ip == other.ip)
    }
}

/// What spread and affinity rules count over.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TopologyKey {
    /// One domain a node.
    Host,
    /// One domain for each value of this node label.
    Label(String),
}

/// Selects pods by namespace and labels. No requirement selects every pod of the namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PodSelector {
    /// Namespaces, sorted, already resolved from any namespace selector.
    pub namespaces: Vec<String>,
    /// Requirements on the pod's labels, all of which hold; `None` selects nothing.
    pub labels: Option<Term>,
}

impl PodSelector {
    /// Whether a pod of this namespace with these labels is selected.
    pub fn selects(&self, namespace: &str, labels: &Labels) -> bool {
        self.namespaces.iter().any(|n| n == namespace)
            && self
                .labels
                .as_ref()
                .is_some_and(|term| term.iter().all(|r| r.allows(labels.get(&r.key).map(String::as_str))))
    }
}

/// A hard topology spread constraint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Spread {
    /// What the domains are.
    pub key: TopologyKey,
    /// How many more matching pods than the least full domain a domain may have; at least 1.
    pub max_skew: u32,
    /// With fewer eligible domains than this, the least full one counts as empty; 1 when unset.
    pub min_domains: u32,
    /// Which pods count.
    pub selector: PodSelector,
    /// Whether domains that the pod's own node constraints exclude do not count (`nodeAffinityPolicy: Honor`).
    pub honor_node_affinity: bool,
    /// Whether nodes whose taints the pod does not tolerate do not count (`nodeTaintsPolicy: Honor`).
    pub honor_taints: bool,
    /// Whether it is only wished for. A node that lacks the label of a required rule counts for none of the pod's rules; one
    /// that lacks the label of a wish does.
    #[serde(default)]
    pub wished: bool,
}

/// A required pod affinity or anti-affinity term.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PodTerm {
    /// What the domains are.
    pub key: TopologyKey,
    /// The pods to be near to, or away from.
    pub selector: PodSelector,
}

/// Something a pod would like, and runs without where it cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Preference {
    /// Nodes with certain labels. Several are alternatives: the first counts, and those after it as far as nodes can have
    /// them too.
    Node(NodeConstraint),
    /// Nodes without certain labels, which stand for taints that only ask to keep away.
    Untainted(NodeConstraint),
    /// To be near other pods.
    Near(PodTerm),
    /// To be away from other pods.
    Away(PodTerm),
    /// To be spread evenly.
    Spread(Spread),
}

/// A way to run a pod beside all nodes, on a machine that holds it alone, at a price: what Fargate sells. As many pods as
/// like may take it, and where it is nobody knows: so it is closed to pods that a rule over domains concerns, their own or
/// that of others (see [`crate::solve`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Route {
    /// What an hour costs.
    pub price: Price,
    /// What machine it is: an index into a list of whoever made the problem.
    pub shape: u32,
}

/// Everything about a pod that decides where it may run, shared by all pods that have it in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PodSpec {
    /// Namespace, for selectors.
    pub namespace: String,
    /// Requests, including one unit of the resource `pods` and the attach slots of its volumes.
    pub requests: Resources,
    /// Constraints on the node's labels; every one must hold.
    pub node: Vec<NodeConstraint>,
    /// Tolerations.
    pub tolerations: Vec<Toleration>,
    /// Ports on the node.
    pub host_ports: Vec<HostPort>,
    /// Hard spread constraints.
    pub spread: Vec<Spread>,
    /// Required pod affinity.
    pub affinity: Vec<PodTerm>,
    /// Required pod anti-affinity.
    pub anti_affinity: Vec<PodTerm>,
    /// What else it would like, in the order in which it is given up: see [`Preference`].
    #[serde(default)]
    pub preferences: Vec<Preference>,
    /// Names of volume claims shared between pods that do not exist as a volume yet, as `namespace/name`: all users must
    /// share one value of the label `zone_key` of the problem.
    pub unbound_claims: Vec<String>,
    /// Scheduling priority: higher first where there is not enough for all.
    pub priority: i32,
    /// Why the pod can run nowhere, whatever the nodes ("claim data-0 does not exist").
    pub blocked: Option<String>,
    /// The machine of its own that it may run on instead of a node.
    #[serde(default)]
    pub route: Option<Route>,
}

/// A pending pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// `namespace/name`, unique.
    pub name: String,
    /// What decides where it may run.
    pub spec: SpecId,
    /// Its labels.
    pub labels: LabelSetId,
}

/// A pod that has a node already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningPod {
    /// `namespace/name`, unique.
    pub name: String,
    /// Its rules.
    pub spec: SpecId,
    /// Its labels.
    pub labels: LabelSetId,
    /// Whether it is being deleted: spread rules do not count it, but its room is still taken.
    pub terminating: bool,
}

/// A node that exists, or is being launched: capacity already paid for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Unique name.
    pub name: String,
    /// Labels; the hostname label included.
    pub labels: Labels,
    /// Taints that keep pods away; those that go by themselves while the node starts are left out.
    pub taints: Vec<Taint>,
    /// What pods may use in all.
    pub allocatable: Resources,
    /// What running pods, and `DaemonSet` pods still to come, take of it.
    pub used: Resources,
    /// Host ports that running pods, and `DaemonSet` pods still to come, take.
    pub host_ports: Vec<HostPort>,
    /// The pods that run there (`DaemonSet` pods included).
    pub pods: Vec<RunningPod>,
    /// The `NodePool` it belongs to, by name.
    pub pool: Option<String>,
    /// Whether new pods may be placed on it; `false` for a node that is being deleted.
    pub open: bool,
}

/// One way to buy an instance type: a zone and a capacity type at a price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offering {
    /// Zone name, for output ("us-east-1a").
    pub zone: String,
    /// Capacity type, for output ("on-demand").
    pub capacity_type: String,
    /// Labels that the offering adds to the node: zone, region, capacity type and their aliases.
    pub labels: Labels,
    /// Price.
    pub price: Price,
    /// Whether the price is an estimate.
    pub estimated: bool,
    /// What of the price need not be paid, because what the offering draws on is paid for whether it is used or not. Plans
    /// weigh prices without it.
    #[serde(default)]
    pub rebate: Price,
    /// What one node takes of each [`Quota`], each named once: units above zero. Empty for what can be had without end.
    #[serde(default)]
    pub draws: Vec<(QuotaId, i64)>,
}

impl Offering {
    /// What is still to be paid for one node: its price less the rebate, never below zero.
    pub fn due(&self) -> Price {
        (self.price - self.rebate).max(Price::ZERO)
    }
}

/// Something of which there is only so much, and that nodes are bought with: reserved instances, a savings plan, a capacity
/// reservation. An offering draws on one or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Unique name.
    pub name: String,
    /// How much is left. What a unit is, the offerings that draw on it agree among themselves: a node, a size, a
    /// nano-dollar an hour.
    pub units: i64,
}

/// A hardware shape that can be bought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceType {
    /// Name. Types of one name differ in their labels, so that no `NodePool` may buy more than one of them.
    pub name: String,
    /// Labels of every node of this type.
    pub labels: Labels,
    /// Raw capacity: what `NodePool` limits count.
    pub capacity: Resources,
    /// What pods, `DaemonSets` included, may use.
    pub allocatable: Resources,
    /// Where and how it can be bought, unavailable offerings left out.
    pub offerings: Vec<Offering>,
}

/// A label of a `NodePool`'s nodes that its requirements leave open, and pods may choose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenLabel {
    /// Key.
    pub key: String,
    /// What a value must satisfy. With an `In`, its values are all there are; otherwise any other value will do.
    pub requirements: Term,
}

/// How many different values of a label the things that a node could be launched as must have: `minValues` of a
/// requirement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinValues {
    /// Key of a label of types or offerings.
    pub key: String,
    /// The least number of different values; at least 1.
    pub least: u32,
    /// Whether pods that alone on a node would leave fewer values may still have one (Karpenter's policy `BestEffort`);
    /// otherwise they wait (`Strict`).
    pub relax: bool,
}

/// A `NodePool`: what may be launched, and how the nodes then look.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePool {
    /// Unique name.
    pub name: String,
    /// Higher is tried first.
    pub weight: i32,
    /// Labels of its nodes. May hold a placeholder for labels whose value is unique to a node (hostname).
    pub labels: Labels,
    /// Labels that pods may choose.
    pub open_labels: Vec<OpenLabel>,
    /// Taints of its nodes.
    pub taints: Vec<Taint>,
    /// What the labels of types and offerings must satisfy.
    pub requirements: Term,
    /// How wide the choice of what to launch each node as must be.
    #[serde(default)]
    pub min_values: Vec<MinValues>,
    /// Upper limits on the summed capacity of its nodes; a resource not listed is unlimited.
    pub limits: Vec<(ResourceId, i64)>,
    /// Capacity of its nodes that exist or are being launched.
    pub used: Resources,
    /// Upper limit on the number of nodes.
    pub node_limit: Option<u32>,
    /// Number of nodes that exist or are being launched.
    pub node_count: u32,
    /// What each of its nodes costs beside its instance: root volume, public address, licences of agents. Plans weigh
    /// prices with this on top.
    #[serde(default)]
    pub node_cost: Price,
}

/// A `DaemonSet`: runs one pod on every node that it selects and tolerates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Daemon {
    /// `namespace/name`, unique.
    pub name: String,
    /// Its pod, tolerations that `DaemonSets` always have included.
    pub spec: SpecId,
}

/// A packing problem.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Names of resources, for output. Only those that some pod, `DaemonSet` or limit asks for need be here.
    pub resources: Vec<String>,
    /// Node label whose values are availability zones.
    pub zone_key: String,
    /// Distinct pod specs.
    pub specs: Vec<PodSpec>,
    /// Distinct pod label sets.
    pub label_sets: Vec<Labels>,
    /// Pending pods.
    pub pods: Vec<Pod>,
    /// Existing capacity.
    pub nodes: Vec<Node>,
    /// `NodePools`.
    pub pools: Vec<NodePool>,
    /// Instance types.
    pub types: Vec<InstanceType>,
    /// `DaemonSets`.
    pub daemons: Vec<Daemon>,
    /// What offerings draw on.
    #[serde(default)]
    pub quotas: Vec<Quota>,
}

impl Problem {
    /// Whether every id points somewhere, and no fixed cost, price of a route, rebate or quota is negative: to be asked of a
    /// problem that was read from outside before it is solved.
    ///
    /// # Errors
    /// Names the first object of which that is not so.
    ///
    /// ```
    /// use stowage_solver::{LabelSetId, Pod, Problem, SpecId};
    /// let lost = Pod { name: "default/lost".to_owned(), spec: SpecId(7), labels: LabelSetId(0) };
    /// let problem = Problem { pods: vec![lost], ..Problem::default() };
    /// assert_eq!(problem.check(), Err("pod default/lost: no spec 7".to_owned()));
    /// ```
    pub fn check(&self) -> Result<(), String> {
        let spec = |of: &dyn std::fmt::Display, id: SpecId| {
            if id.index() < self.specs.len() { Ok(()) } else { Err(format!("{of}: no spec {}", id.0)) }
        };
        let labels = |of: &dyn std::fmt::Display, id: LabelSetId| {
            if id.index() < self.label_sets.len() {
                Ok(())
            } else {
                Err(format!("{of}: no label set {}", id.0))
            }
        };
        let resource = |of: &dyn std::fmt::Display, id: ResourceId| {
            if id.index() < self.resources.len() {
                Ok(())
            } else {
                Err(format!("{of}: no resource {}", id.0))
            }
        };
        let amounts = |of: &dyn std::fmt::Display, amounts: &Resources| {
            amounts.iter().try_for_each(|(id, _)| resource(of, id))
        };
        for pod in &self.pods {
            let of = format!("pod {}", pod.name);
            spec(&of, pod.spec)?;
            labels(&of, pod.labels)?;
        }
        for node in &self.nodes {
            amounts(&format!("node {}", node.name), &node.allocatable.plus(&node.used))?;
            for pod in &node.pods {
                let of = format!("pod {}", pod.name);
                spec(&of, pod.spec)?;
                labels(&of, pod.labels)?;
            }
        }
        for daemon in &self.daemons {
            spec(&format!("DaemonSet {}", daemon.name), daemon.spec)?;
        }
        for pool in &self.pools {
            let of = format!("NodePool {}", pool.name);
            amounts(&of, &pool.used)?;
            if pool.node_cost < Price::ZERO {
                return Err(format!("{of}: its node cost is below zero"));
            }
            pool.limits.iter().try_for_each(|(id, _)| resource(&of, *id))?;
        }
        for of_type in &self.types {
            let of = format!("type {}", of_type.name);
            amounts(&of, &of_type.capacity.plus(&of_type.allocatable))?;
            for offering in &of_type.offerings {
                if offering.rebate < Price::ZERO {
                    return Err(format!("{of}: a rebate is below zero"));
                }
                for (at, (id, units)) in offering.draws.iter().enumerate() {
                    if id.index() >= self.quotas.len() {
                        return Err(format!("{of}: no quota {}", id.0));
                    }
                    if *units <= 0 || offering.draws[..at].iter().any(|(other, _)| other == id) {
                        return Err(format!("{of}: draws on a quota are above zero, and on each one once"));
                    }
                }
            }
        }
        if let Some(quota) = self.quotas.iter().find(|quota| quota.units < 0) {
            return Err(format!("quota {}: its units are below zero", quota.name));
        }
        self.specs.iter().enumerate().try_for_each(|(at, s)| {
            if s.route.is_some_and(|route| route.price < Price::ZERO) {
                return Err(format!("spec {at}: the price of its route is below zero"));
            }
            amounts(&format!("spec {at}"), &s.requests)
        })
    }
}
