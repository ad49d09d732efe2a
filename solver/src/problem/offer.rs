//! What can be bought: types, offerings, what they draw on, and the `NodePool`s that nodes belong to.

use serde::{Deserialize, Serialize};

use super::{Labels, QuotaId, ResourceId, Resources, Taint, Term};
use crate::money::Price;

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
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OpenLabel {
    /// Key.
    pub key: String,
    /// What a value must satisfy. With an `In`, its values are all there are; otherwise any other value will do.
    pub requirements: Term,
}

/// How many different values of a label the things that a node could be launched as must have: `minValues` of a
/// requirement.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
