//! What consolidation knows of the nodes there are, beside the problem: what each costs, what may be done with it, and what
//! that costs its pods.

use crate::money::Price;
use crate::problem::{NodeId, Problem, Resources, RunningPod};

/// The nodes of a problem, in the same order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// One for each of [`crate::Problem::nodes`].
    pub nodes: Vec<Held>,
}

/// A node that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// What an hour of it costs, weighed as new nodes are: less rebates, with the fixed cost of a node. `None` where nobody
    /// knows; such a node stays.
    pub price: Option<Price>,
    /// What it is; empty where nobody knows.
    pub sold_as: Sold,
    /// Whether it may be taken away.
    pub removable: bool,
    /// Whether pods may be moved to it.
    pub receives: bool,
    /// The pods that must go elsewhere when it goes, by their position in [`crate::Node::pods`], ascending; and what moving
    /// each costs, in thousandths of an ordinary pod. All others go with the node.
    pub moves: Vec<(u32, i64)>,
    /// What taking it away costs beside its pods, in thousandths of an ordinary pod.
    pub fixed: i64,
    /// Its raw capacity: what its `NodePool`'s limits count.
    pub capacity: Resources,
    /// For how many seconds no pod has come to it or left it; see [`Aims::horizon`].
    pub quiet: u64,
    /// How much of its life is over, in thousandths: of steps that pay, those go first whose pods would soon have to move
    /// anyway. Whether a step pays does not depend on it: nodes that merely grow old stay.
    pub aged: u32,
    /// Whether its `NodePool` wants savings in proportion to disruption: see [`super::Aims::balance`].
    pub balanced: bool,
}

impl Fleet {
    /// Takes pods away that have ended: their room is free again. Returns the nodes that they have left.
    pub fn ended(&mut self, problem: &mut Problem, mut gone: impl FnMut(&RunningPod) -> bool) -> Vec<NodeId> {
        let mut left = Vec::new();
        for (at, (node, held)) in problem.nodes.iter_mut().zip(&mut self.nodes).enumerate() {
            let ends: Vec<bool> = node.pods.iter().map(&mut gone).collect();
            if !ends.contains(&true) {
                continue;
            }
            left.push(NodeId::of(at));
            for (pod, _) in node.pods.iter().zip(&ends).filter(|(_, ends)| **ends) {
                let spec = &problem.specs[pod.spec.index()];
                node.used = node.used.minus(&spec.requests);
                // No two pods of a node have the same port.
                node.host_ports.retain(|port| !spec.host_ports.contains(port));
            }
            let mut number = 0;
            let number_of = |ends: &bool| {
                number += u32::from(!ends);
                (!ends).then(|| number - 1)
            };
            let numbers: Vec<Option<u32>> = ends.iter().map(number_of).collect();
            let still = |(pod, weight): &(u32, i64)| Some((numbers.get(*pod as usize).copied()??, *weight));
            held.moves = held.moves.iter().filter_map(still).collect();
            let mut stays = ends.into_iter().map(|ends| !ends);
            node.pods.retain(|_| stays.next().unwrap_or(true));
        }
        left
    }
}

impl Held {
    /// What taking it away costs, in thousandths of an ordinary pod.
    pub fn disruption(&self) -> i64 {
        self.moves.iter().fold(self.fixed, |sum, (_, weight)| sum.saturating_add((*weight).max(0)))
    }

    /// The same less by the part of its life that is over.
    pub(super) fn rest_of_disruption(&self) -> i64 {
        let left = 1000_u32.saturating_sub(self.aged);
        i64::try_from(i128::from(self.disruption()) * i128::from(left) / 1000).unwrap_or(i64::MAX)
    }

    /// Whether it may go, and anything is known to be saved by that.
    pub(super) fn candidate(&self) -> Option<Price> {
        self.price.filter(|_| self.removable)
    }
}

/// What a node was bought as.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sold {
    /// Instance type.
    pub instance_type: String,
    /// Zone.
    pub zone: String,
    /// Capacity type.
    pub capacity_type: String,
}

/// The capacity type that the rule of many types is about: machines that may be taken back, of which more kinds to choose
/// from means fewer taken back.
pub(super) const SPOT: &str = "spot";

/// What a consolidation should aim for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aims {
    /// A step saves at least this much an hour,
    pub floor: Price,
    /// and at least so many thousandths of what its nodes cost. Empty nodes go for less.
    pub floor_share: u32,
    /// What moving an ordinary pod is worth in money: what its start costs, and the trouble.
    pub pod_price: Price,
    /// For so many seconds a new node is paid for beside those that it replaces: it boots, joins, and pulls the images of its pods.
    pub startup: u64,
    /// What a step disrupts pays for itself within so many seconds; `None` for any time. Where its nodes have been quiet for long,
    /// what it saves will last: an hour for each day of that then, up to twelve times as long.
    pub payback: Option<u64>,
    /// A spot node is replaced by others only where each of them may be chosen from so many types that leave a saving. `None`:
    /// spot is not replaced by spot. (Several nodes at once are, as Karpenter documents.)
    pub spot_types: Option<usize>,
    /// Of `NodePools` whose nodes are [`Held::balanced`]: the share that a step saves of what the pool costs, over the share
    /// that it disrupts of what the pool has, in thousandths, is at least this much.
    pub balance: u32,
    /// At most so many nodes of a `NodePool` go, by name; no limit for those that are not named.
    pub limits: std::collections::BTreeMap<String, u32>,
    /// How much work to spend at most, in steps of a solve.
    pub max_steps: u64,
}

impl Default for Aims {
    /// A step saves half a cent an hour, and 5 %; a pod moved is worth a tenth of a cent, which is some minutes of a small
    /// one's machine; it pays for itself within ten minutes, and within two hours where nodes have been quiet for two days.
    fn default() -> Self {
        Self {
            floor: Price::from_micros(5_000),
            floor_share: 50,
            pod_price: Price::from_micros(1_000),
            // A minute until the node is ready, as AWS's own images take, and as much until pods have their images and are ready.
            startup: 120,
            payback: Some(600),
            // Karpenter's MinInstanceTypesForSpotToSpotConsolidation.
            spot_types: Some(15),
            // Karpenter's policy Balanced accepts scores of a half and more.
            balance: 500,
            limits: std::collections::BTreeMap::new(),
            max_steps: 400_000_000,
        }
    }
}

impl Aims {
    /// The same once steps are taken: fewer nodes may go.
    pub(super) fn after(&self, problem: &Problem, steps: &[super::Step]) -> Self {
        let mut rest = self.clone();
        for node in steps.iter().flat_map(|step| &step.removes) {
            let pool = problem.nodes[node.index()].pool.as_deref().unwrap_or("");
            if let Some(left) = rest.limits.get_mut(pool) {
                *left = left.saturating_sub(1);
            }
        }
        rest
    }

    /// What a disruption is worth in money.
    pub fn worth(&self, disruption: i64) -> Price {
        let micros = i128::from(disruption.max(0)) * i128::from(self.pod_price.micros().max(0)) / 1000;
        Price::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
    }

    /// Within how many seconds a step pays for itself whose nodes have been quiet for so many; `None` for any time.
    ///
    /// Clusters follow the hours of the day: where nodes were quiet for a night, that says little. In a cluster that changes all the time, what a step saves is soon overtaken, and the pods that it moved are moved again.
    pub fn horizon(&self, quiet: u64) -> Option<u64> {
        self.payback.map(|least| (quiet / 24).clamp(least, least.saturating_mul(12)))
    }

    /// What it costs that new nodes are there before the old ones are gone: `bought` is their price.
    pub fn outlay(&self, bought: Price) -> Price {
        let micros = i128::from(bought.micros().max(0)) * i128::from(self.startup) / 3600;
        Price::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
    }

    /// After how many seconds a saving has paid for a disruption and for new nodes of this price; `None` where nothing is saved.
    pub fn payback(&self, disruption: i64, bought: Price, saving: Price) -> Option<u64> {
        let saving = u128::try_from(saving.micros()).ok().filter(|saving| *saving > 0)?;
        let worth = u128::try_from((self.worth(disruption) + self.outlay(bought)).micros()).unwrap_or(0);
        Some(u64::try_from((worth * 3600).div_ceil(saving)).unwrap_or(u64::MAX))
    }
}
