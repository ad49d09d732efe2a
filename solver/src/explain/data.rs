//! Explanations as data: what [`super::explain`] and [`super::explain_pod`] return.
//!
//! Ids index the problem, as everywhere. Prices are micro-dollars an hour, weighed with the fixed costs of nodes.

use serde::{Deserialize, Serialize};

use crate::money::Price;
use crate::problem::{DaemonId, NodeId, PodId, PoolId, ResourceId, TopologyKey, TypeId};
use crate::solution::Reason;

/// Why a plan is as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Every new node, those that hold alike pods in one entry; in the order of their first node.
    pub nodes: Vec<NodeStory>,
    /// What each resource is worth at the plan's scale.
    pub prices: Prices,
    /// What rules cost, the dearest first.
    pub rules: Rules,
}

/// Why new nodes are of their size, and of nothing cheaper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStory {
    /// Positions in [`crate::Solution::new_nodes`]: nodes of one kind that hold as many pods of the same classes.
    pub nodes: Vec<u32>,
    /// How full each of them is, by resource that anything asks for, fullest first.
    pub fills: Vec<Fill>,
    /// What keeps another pod of those it holds away.
    pub binding: Binding,
    /// The next cheaper things to buy of the same `NodePool`, zone and capacity type, dearest first; then, for each sort of
    /// rule that alone is in the way, the cheapest that has room for all of the node's pods.
    pub cheaper: Vec<Cheaper>,
    /// The next smaller type of the same family: of those whose names begin alike up to a full stop.
    pub smaller: Option<Cheaper>,
    /// All cheaper kinds, by what is in the way; the most frequent first.
    pub tally: Vec<Tally>,
}

/// How full a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// Of what.
    pub resource: ResourceId,
    /// What its pods ask for.
    pub pods: i64,
    /// What its `DaemonSets` ask for.
    pub daemons: i64,
    /// What there is for both.
    pub of: i64,
}

impl Fill {
    /// From 0 to 1; zero where there is none of it.
    pub fn share(self) -> f64 {
        if self.of > 0 { (self.pods as f64 + self.daemons as f64) / self.of as f64 } else { 0.0 }
    }
}

/// What keeps one more pod of the classes on a node away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Binding {
    /// None of the classes that it holds has room for one more pod, or some have none: for want of this, the fullest.
    Resource(ResourceId),
    /// There is room, but a rule between pods of one host (host spread, anti-affinity, a host port) of pods like this.
    HostRule(PodId),
    /// Nothing: another pod of each class would fit, there are no more.
    Nothing,
}

/// Something cheaper that was not bought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cheaper {
    /// The `NodePool`.
    pub pool: PoolId,
    /// Instance type.
    pub instance_type: TypeId,
    /// Index into the type's offerings; `None` where it has none that would do.
    pub offering: Option<u32>,
    /// How much less it costs; zero where it is not sold there.
    pub saves: Price,
    /// What is in the way.
    pub hurdle: Hurdle,
}

/// What keeps the pods of a node off something cheaper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hurdle {
    /// The `NodePool` has a taint, as `key=value:Effect`.
    Taint {
        /// The taint.
        taint: String,
        /// A pod that does not tolerate it.
        pod: PodId,
        /// How many of the node's pods do not.
        pods: u32,
    },
    /// A node constraint of pods.
    Constraint {
        /// Where it comes from.
        source: String,
        /// The constraint in words.
        wanted: String,
        /// A pod that has it.
        pod: PodId,
        /// How many of the node's pods have it.
        pods: u32,
    },
    /// `DaemonSets` take a host port there.
    HostPort {
        /// A pod that needs the port.
        pod: PodId,
        /// How many of the node's pods need it.
        pods: u32,
    },
    /// The pods leave a narrower choice of what to launch than its `NodePool` asks for with `minValues`.
    MinValues,
    /// It is smaller.
    Room {
        /// What it lacks for the node's pods, the worst first: the resource, and how much beside its `DaemonSets`.
        lacks: Vec<(ResourceId, i64)>,
        /// So many of the node's pods it would hold, smallest first.
        holds: u32,
        /// Of so many.
        of: u32,
    },
    /// A rule over a node label, or a shared volume claim, has dealt pods to the node's own value of it.
    Domain {
        /// The label.
        label: String,
        /// Its value on the node.
        value: Option<String>,
        /// A pod so dealt.
        pod: PodId,
    },
    /// The `NodePool`'s limit.
    Limit {
        /// The limit's resource; `None` is the number of nodes.
        resource: Option<ResourceId>,
    },
    /// Its `NodePool` has less weight, and pods go to the heaviest that can hold them.
    Weight {
        /// The weight of its pool.
        weight: i32,
        /// That of the node's.
        own: i32,
    },
    /// Too little is left of a quota that it draws on.
    Spent {
        /// The quota's name.
        quota: String,
    },
    /// A requirement of the `NodePool`, in words, leaves it out.
    Pool {
        /// The requirement.
        requirement: String,
    },
    /// It is not sold in the node's zone and capacity type.
    NotSold,
    /// Nothing: it would do, and the search did not find it.
    Nothing,
}

impl Hurdle {
    /// In one word: what is counted in a [`Tally`].
    pub fn sort(&self) -> HurdleSort {
        match self {
            Self::Taint { .. } => HurdleSort::Taint,
            Self::Constraint { .. } => HurdleSort::Constraint,
            Self::HostPort { .. } => HurdleSort::HostPort,
            Self::MinValues => HurdleSort::MinValues,
            Self::Room { lacks, .. } => {
                lacks.first().map_or(HurdleSort::Nothing, |(resource, _)| HurdleSort::Room(*resource))
            }
            Self::Domain { .. } => HurdleSort::Domain,
            Self::Limit { .. } => HurdleSort::Limit,
            Self::Spent { .. } => HurdleSort::Spent,
            Self::Weight { .. } => HurdleSort::Weight,
            Self::Pool { .. } | Self::NotSold => HurdleSort::NotSold,
            Self::Nothing => HurdleSort::Nothing,
        }
    }
}

/// The sort of a [`Hurdle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HurdleSort {
    /// A taint that is not tolerated.
    Taint,
    /// A node constraint of pods.
    Constraint,
    /// A host port that `DaemonSets` take.
    HostPort,
    /// The `NodePool` asks for a wider choice.
    MinValues,
    /// Too little of a resource; the one it lacks most of.
    Room(ResourceId),
    /// A rule over a node label ties pods elsewhere.
    Domain,
    /// A `NodePool` limit.
    Limit,
    /// A quota that is spent.
    Spent,
    /// The weights of `NodePools`.
    Weight,
    /// Not sold, or left out by the `NodePool`.
    NotSold,
    /// Nothing.
    Nothing,
}

/// How often something is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// What.
    pub sort: HurdleSort,
    /// For how many kinds (`NodePool`, type, zone and capacity type).
    pub kinds: u32,
}

/// Shadow prices: what the bound says each resource is worth. The values add up: `resources`, `host_rules` and `routes` together
/// are `gross`, and `gross` less `existing` and `quotas` is `bound`, but for less than a micro-dollar each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Prices {
    /// The bound that these prices prove, before it is rounded up to a sum of prices.
    pub bound: Price,
    /// The best bound known of the plan.
    pub best_bound: Price,
    /// What all pods are worth at these prices.
    pub gross: Price,
    /// What pods on existing nodes can be worth, at most.
    pub existing: Price,
    /// What quotas can be worth, at most.
    pub quotas: Price,
    /// By resource, the most valuable first.
    pub resources: Vec<ResourcePrice>,
    /// What rules that let few pods share a node are worth (host spread, host anti-affinity, host ports).
    pub host_rules: Vec<HostRulePrice>,
    /// What pods are worth that cost no more on machines of their own than the resources that they ask for: the prices of
    /// their routes.
    #[serde(default)]
    pub routes: Price,
}

/// What a resource is worth, on average over the pods that ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourcePrice {
    /// The resource.
    pub resource: ResourceId,
    /// How much of it the plan's pods ask for, in base units.
    pub amount: i64,
    /// What that is worth.
    pub value: Price,
    /// Dollars an hour for one base unit (milli-CPU, byte, device): the mean, the least and the most over the pods.
    pub each: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

/// What a place is worth where a rule lets few pods share a node.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostRulePrice {
    /// A pod that carries the rule.
    pub pod: PodId,
    /// How many pods carry it.
    pub pods: u32,
    /// So many of them may share a node.
    pub share: u32,
    /// What their places are worth together.
    pub value: Price,
}

/// What rules cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// The same problem with nothing relaxed, solved as the relaxed ones are: what their figures are compared with.
    pub base: Measure,
    /// Those that were measured, the dearest first.
    pub measured: Vec<RuleCost>,
    /// How many were not, for want of steps.
    pub left_out: u32,
    /// Steps spent.
    pub steps: u64,
}

/// Bill and bound of one quick solve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measure {
    /// What the plan costs.
    pub cost: Price,
    /// Its lower bound.
    pub bound: Price,
    /// Pods without a place.
    pub unplaced: u32,
}

/// A rule, and what became of the plan without it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleCost {
    /// The rule.
    pub rule: Rule,
    /// The problem without it, solved quickly.
    pub without: Measure,
    /// `None` where other pods found a place without it: then bills do not compare.
    pub costs: Option<Costs>,
}

/// What a rule costs, four ways. Micro-dollars an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Costs {
    /// By how much the quick solve's bill falls without it: an estimate.
    pub plan: Price,
    /// By how much the quick solve's bound falls without it: an estimate, and zero for rules that the bound drops.
    pub bound: Price,
    /// It costs at least so much: proven, from the bound with it and the cheapest known bill without it.
    pub at_least: Price,
    /// The plan at hand would save at most so much without it: proven, from its bill and the bound without the rule.
    pub at_most: Price,
}

/// A rule that can be relaxed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Rule {
    /// A topology spread constraint.
    Spread(PodRule),
    /// A required anti-affinity term.
    AntiAffinity(PodRule),
    /// A required affinity term.
    Affinity(PodRule),
    /// A node selector or required node affinity.
    NodeConstraint {
        /// Where it comes from.
        source: String,
        /// In words.
        wanted: String,
        /// The first pod that has it, by name.
        pod: PodId,
        /// How many pending pods have it.
        pods: u32,
    },
    /// All limits of a `NodePool`.
    Limits(PoolId),
    /// That pods go to the heaviest `NodePool`.
    Weights,
    /// A `DaemonSet` that takes room on every node.
    Daemon(DaemonId),
    /// The number of pods that a node may run: the resource `pods`.
    MaxPods(ResourceId),
}

/// A rule between pods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PodRule {
    /// Over which domains.
    pub key: TopologyKey,
    /// The first pending pod that carries it, by name.
    pub pod: PodId,
    /// How many pending pods carry it.
    pub pods: u32,
}

/// Why a pod is where it is, or nowhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PodStory {
    /// The pod.
    pub pod: PodId,
    /// Where it goes.
    pub place: Place,
    /// By `NodePool`, by weight and name: how its kinds fare.
    pub pools: Vec<PoolStory>,
    /// Existing nodes by why they do not take it (or do), the most frequent first.
    pub nodes: Vec<NodeTally>,
    /// The cheapest thing to buy that could hold it alone, rules between pods aside.
    pub cheapest: Option<Cheapest>,
    /// For a pod without a place: rules that, alone relaxed, let it in; found by solving again.
    pub remedies: Vec<Remedy>,
}

/// Where a pod goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Place {
    /// To a new node: its position in [`crate::Solution::new_nodes`], and the pod's share of the resource that it asks most of.
    New {
        /// Position.
        node: u32,
        /// The share, from 0 to 1, and of what.
        share: f64,
        /// Of what; `None` for a pod that asks for nothing.
        of: Option<ResourceId>,
    },
    /// To an existing node.
    Existing(NodeId),
    /// To a machine of its own, at this price.
    Routed(Price),
    /// Nowhere.
    Nowhere(Vec<Reason>),
}

/// How the kinds of a `NodePool` fare for one pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolStory {
    /// The `NodePool`.
    pub pool: PoolId,
    /// How many kinds it has.
    pub kinds: u32,
    /// How many of them could hold the pod, other pods aside.
    pub fit: u32,
    /// The others, by what is in the way; the most frequent first.
    pub refused: Vec<Refusal>,
}

/// Something in the way of a pod, and how often.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Refusal {
    /// What.
    pub why: Unfit,
    /// For how many kinds or nodes.
    pub count: u32,
}

/// Why something does not take a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Unfit {
    /// A taint that it does not tolerate.
    Taint(String),
    /// A node constraint of the pod.
    Constraint {
        /// Where it comes from.
        source: String,
        /// In words.
        wanted: String,
    },
    /// A host port is taken.
    HostPort,
    /// The pod alone leaves too few values of this label to choose from: `minValues` of the `NodePool`.
    MinValues(String),
    /// Too little of a resource.
    Room(ResourceId),
    /// The node takes no new pods.
    Closed,
    /// A rule between pods, or another pod has taken the room.
    Pods,
}

/// Existing nodes by why they do not take a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeTally {
    /// Why.
    pub why: Unfit,
    /// How many nodes.
    pub nodes: u32,
    /// One of them.
    pub example: NodeId,
}

/// The cheapest thing to buy for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cheapest {
    /// The `NodePool`.
    pub pool: PoolId,
    /// Instance type.
    pub instance_type: TypeId,
    /// Index into the type's offerings.
    pub offering: u32,
    /// What it costs.
    pub price: Price,
}

/// What would let pods in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remedy {
    /// Without this rule the pod finds a place.
    pub rule: Rule,
    /// And so many more pods than now.
    pub pods: u32,
}
