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

mod label;
mod offer;
mod pod;
mod resources;

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::money::Price;

pub use label::*;
pub use offer::*;
pub use pod::*;
pub use resources::*;

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

/// A `DaemonSet`: runs one pod on every node that it selects and tolerates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Daemon {
    /// `namespace/name`, unique.
    pub name: String,
    /// Its pod, tolerations that `DaemonSets` always have included.
    pub spec: SpecId,
}

/// Instance types. Copies of a problem share them until one of them changes its own: there are hundreds, each with its
/// offerings, and they are the same in all that a problem is taken apart into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Types(Arc<Vec<InstanceType>>);

impl Deref for Types {
    type Target = Vec<InstanceType>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Types {
    fn deref_mut(&mut self) -> &mut Self::Target {
        Arc::make_mut(&mut self.0)
    }
}

impl From<Vec<InstanceType>> for Types {
    fn from(all: Vec<InstanceType>) -> Self {
        Self(Arc::new(all))
    }
}

impl FromIterator<InstanceType> for Types {
    fn from_iter<I: IntoIterator<Item = InstanceType>>(all: I) -> Self {
        Vec::from_iter(all).into()
    }
}

impl<'a> IntoIterator for &'a Types {
    type Item = &'a InstanceType;
    type IntoIter = std::slice::Iter<'a, InstanceType>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a mut Types {
    type Item = &'a mut InstanceType;
    type IntoIter = std::slice::IterMut<'a, InstanceType>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl Serialize for Types {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_slice().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Types {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
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
    pub types: Types,
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
