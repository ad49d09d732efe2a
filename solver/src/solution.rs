//! The answer: what to launch, what goes where, what fits nowhere and why, and how good that is.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::money::Price;
use crate::problem::{DaemonId, NodeId, Offering, PodId, PoolId, Problem, ResourceId, TypeId};

/// How a solve ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// The cost equals the bound to within a millionth.
    #[default]
    Optimal,
    /// The asked-for gap was reached.
    WithinGap,
    /// The step budget was spent first.
    BudgetSpent,
}

/// A node to launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNode {
    /// `NodePool`.
    pub pool: PoolId,
    /// Instance type.
    pub instance_type: TypeId,
    /// Index into the type's offerings.
    pub offering: usize,
    /// Values chosen for the pool's open labels.
    pub chosen_labels: Vec<(String, String)>,
    /// Price of its instance.
    pub price: Price,
    /// What of that need not be paid: [`Offering::rebate`].
    pub rebate: Price,
    /// What it costs beside its instance: [`crate::NodePool::node_cost`].
    pub fixed_cost: Price,
    /// Pods, ascending.
    pub pods: Vec<PodId>,
    /// `DaemonSets` that will run there, ascending.
    pub daemons: Vec<DaemonId>,
    /// What else it could be launched as with the same pods and all else as planned, cheapest first: other types, and
    /// where its pods allow, other zones and capacity types of the same pool. Shared by nodes that hold alike pods.
    pub alternatives: Arc<[Alternative]>,
    /// `minValues` of the `NodePool` that this node falls short of, as its pods leave no more ([`crate::MinValues::relax`]).
    pub relaxed: Vec<Relaxed>,
}

/// A choice that is not as wide as a `NodePool` asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Relaxed {
    /// Key of the label.
    pub key: String,
    /// How many different values are asked for.
    pub least: u32,
    /// How many there are, those of the node itself included.
    pub found: u32,
}

/// Another way to launch a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alternative {
    /// Instance type.
    pub instance_type: TypeId,
    /// Index into the type's offerings.
    pub offering: u32,
}

impl Alternative {
    /// Where and how it is sold.
    pub fn offering(self, problem: &Problem) -> &Offering {
        &problem.types[self.instance_type.index()].offerings[self.offering as usize]
    }
}

impl NewNode {
    /// Where and how it is sold.
    pub fn offering<'p>(&self, problem: &'p Problem) -> &'p Offering {
        &problem.types[self.instance_type.index()].offerings[self.offering]
    }

    /// Other types as which it could be launched in the same zone and with the same capacity type, cheapest first.
    pub fn types_in_place<'a>(&'a self, problem: &'a Problem) -> impl Iterator<Item = TypeId> + 'a {
        let own = self.offering(problem);
        let alike = move |a: &&Alternative| {
            let other = a.offering(problem);
            other.zone == own.zone && other.capacity_type == own.capacity_type
        };
        self.alternatives.iter().filter(alike).map(|a| a.instance_type)
    }

    /// As how many instance types it could be launched with its capacity type, in any zone; its own is one.
    pub fn flexibility(&self, problem: &Problem) -> usize {
        let own = self.offering(problem);
        let alike =
            self.alternatives.iter().filter(|a| a.offering(problem).capacity_type == own.capacity_type);
        let types: BTreeSet<TypeId> = alike.map(|a| a.instance_type).chain([self.instance_type]).collect();
        types.len()
    }
}

/// Pods placed on one existing node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The node.
    pub node: NodeId,
    /// Pods, ascending.
    pub pods: Vec<PodId>,
}

/// A pod on a machine of its own: its [`crate::Route`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routed {
    /// The pod.
    pub pod: PodId,
    /// What that costs.
    pub price: Price,
    /// The cheapest node that would hold the pod alone, weighed with its fixed cost; `None` where no `NodePool` sells one.
    pub node: Option<(Alternative, Price)>,
}

/// The first constraint that leaves a pod nothing in one `NodePool`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Obstacle {
    /// Nothing was wrong with the pod: the `NodePool` offers no instance type at all.
    NoOfferings,
    /// A taint that the pod does not tolerate, as `key=value:Effect`.
    Taint(String),
    /// A node constraint of the pod that no offering of the pool satisfies.
    Constraint {
        /// Where it comes from: "node selector", "node affinity", "volume pv-1 of claim data-0".
        source: String,
        /// The constraint in words: `disk In [ssd]`.
        wanted: String,
    },
    /// Each constraint alone leaves offerings, all of them together leave none.
    Combination,
    /// No remaining instance type is big enough.
    TooSmall {
        /// The resource that the largest type still lacks.
        resource: ResourceId,
        /// What the pod and the `DaemonSets` beside it need.
        need: i64,
        /// The most that any remaining type has.
        most: i64,
    },
    /// Enough of every resource somewhere, but of all of them nowhere; or `DaemonSets` take a host port that it needs.
    NoTypeHolds,
    /// A pod would leave too few values of a label to choose from when its node is launched: the pool's `minValues`.
    MinValues(Relaxed),
    /// The pool's limit leaves no room for any type that would do.
    Limit {
        /// The limit's resource; `None` is the number of nodes.
        resource: Option<ResourceId>,
        /// The limit.
        limit: i64,
        /// What is in use, planned nodes included.
        used: i64,
    },
    /// What would do draws on a quota that is spent.
    Spent {
        /// The quota's name.
        quota: String,
    },
    /// A topology rule (spread, affinity, anti-affinity) leaves no domain.
    Topology(String),
}

/// Why a pod is not placed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// Nothing to do with nodes: see [`crate::PodSpec::blocked`].
    Blocked(String),
    /// There is no `NodePool`.
    NoPools,
    /// One `NodePool`, and what excludes it.
    Pool(PoolId, Obstacle),
}

/// A pod that fits nowhere: an answer, not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unplaced {
    /// The pod.
    pub pod: PodId,
    /// One reason for each `NodePool`, by weight and name, or a single general one.
    pub reasons: Vec<Reason>,
}

/// An answer to a [`crate::Problem`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Solution {
    /// Nodes to launch, by pool, price (dearest first), type and zone.
    pub new_nodes: Vec<NewNode>,
    /// Pods placed on existing nodes, by node.
    pub placements: Vec<Placement>,
    /// Pods that run beside all nodes, by pod.
    pub routed: Vec<Routed>,
    /// Pods that fit nowhere, by pod.
    pub unplaced: Vec<Unplaced>,
    /// What the new nodes and the routed pods cost, as weighed: prices of instances less rebates, prices of routes, and fixed
    /// costs of nodes. Without rebates and fixed costs this is the bill for instances and routes.
    pub cost: Price,
    /// No set of new nodes and routes that holds the same pods costs less, weighed likewise, whether or not it honours
    /// preferences.
    pub bound: Price,
    /// No set of new nodes that holds the same pods has a lower bill for its instances alone, at their prices. Without
    /// rebates and fixed costs this is `bound`; with them it is found with quick effort, and not what the plan aimed for.
    pub instance_bound: Price,
    /// What a plan costs, weighed likewise, that holds the same pods and routes none, found with quick effort; `None` where
    /// that leaves other pods over, or none is routed.
    pub without_routes: Option<Price>,
    /// What of the cost is paid for [`crate::Diversity`]; below zero where looking for it happened to save money.
    pub premium: Price,
    /// What became of preferences; `None` where no pod has any.
    pub preferences: Option<Preferences>,
    /// How the solve ended. With preferences, `Optimal` and `WithinGap` are about [`Preferences::bound`].
    pub status: Status,
    /// What was counted on the way, for people who tune.
    pub stats: Stats,
}

/// What became of the preferences of pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preferences {
    /// How many pods have some.
    pub pods: usize,
    /// The placed pods that go without some, ascending, each with positions in [`crate::PodSpec::preferences`]. What was
    /// given up for one pod and came about by chance counts as had for nodes, and as given up for company.
    pub given_up: Vec<(PodId, Vec<usize>)>,
    /// No set of new nodes that holds the same pods and honours the preferences that this plan set out to honour costs
    /// less, weighed likewise.
    pub bound: Price,
    /// What a plan costs, weighed likewise, that holds the same pods and looks at no preference, found with quick effort;
    /// `None` where that placed other pods.
    pub without: Option<Price>,
}

/// Sizes and work of a solve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Pod classes.
    pub classes: usize,
    /// Bin kinds before pruning.
    pub kinds: usize,
    /// Bin kinds that are not dominated.
    pub useful_kinds: usize,
    /// Steps spent.
    pub steps: u64,
}

impl Solution {
    /// How far the weighed cost is above its bound, `cost / bound - 1`; zero where nothing is bought, infinite where the
    /// bound is zero.
    pub fn gap(&self) -> f64 {
        distance(self.cost, self.bound)
    }

    /// The bound of what the plan aimed for: [`Preferences::bound`], or without preferences `bound`.
    pub fn kept_bound(&self) -> Price {
        self.preferences.as_ref().map_or(self.bound, |p| p.bound)
    }

    /// How far the weighed cost is above [`Self::kept_bound`]; like [`Self::gap`].
    pub fn kept_gap(&self) -> f64 {
        distance(self.cost, self.kept_bound())
    }

    /// What the instances of the new nodes and the routed pods cost, rebates and fixed costs aside: the sum of their prices.
    pub fn instance_cost(&self) -> Price {
        self.new_nodes.iter().map(|node| node.price).chain([self.route_cost()]).sum()
    }

    /// What the routed pods cost.
    pub fn route_cost(&self) -> Price {
        self.routed.iter().map(|routed| routed.price).sum()
    }

    /// What of the instances' prices need not be paid.
    pub fn rebate(&self) -> Price {
        self.new_nodes.iter().map(|node| node.rebate).sum()
    }

    /// What the new nodes cost beside their instances.
    pub fn fixed_cost(&self) -> Price {
        self.new_nodes.iter().map(|node| node.fixed_cost).sum()
    }

    /// How far the bill for the instances alone is above its own bound; like [`Self::gap`].
    pub fn instance_gap(&self) -> f64 {
        distance(self.instance_cost(), self.instance_bound)
    }
}

fn distance(cost: Price, bound: Price) -> f64 {
    if cost == Price::ZERO {
        0.0
    } else if bound == Price::ZERO {
        f64::INFINITY
    } else {
        cost.dollars() / bound.dollars() - 1.0
    }
}
