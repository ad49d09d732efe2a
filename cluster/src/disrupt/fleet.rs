//! Standings and prices, as consolidation wants them: one entry for each node of the lowered problem.

use std::collections::{BTreeMap, HashMap};

use stowage_api::{ConsolidationPolicy, StatusCondition, well_known};
use stowage_pricing::{Catalog, Timestamp};
use stowage_solver::{Fleet, Held, Node, Price, Problem, Sold};

use super::candidates::{Refusal, Standing};
use super::cost::UNIT;
use crate::snapshot::Snapshot;

/// What the nodes of a problem cost, and what may be done with them. Nodes without a standing (machines that are being launched)
/// stay as they are.
///
/// A node's price is what its offering costs today, as `catalog` has it: what it cost when it was launched nobody states.
pub fn fleet(problem: &Problem, catalog: &Catalog, standings: &[Standing<'_>]) -> Fleet {
    let by_name: BTreeMap<&str, &Standing<'_>> =
        standings.iter().map(|standing| (standing.node.metadata.name.as_str(), standing)).collect();
    let mut prices = Prices { problem, catalog, known: HashMap::new() };
    let held = |node: &Node| {
        let sold_as = sold_as(node);
        let capacity =
            problem.types.iter().find(|of| of.name == sold_as.instance_type).map(|of| &of.capacity);
        let capacity = capacity.unwrap_or(&node.allocatable).clone();
        let Some(standing) = by_name.get(node.name.as_str()) else {
            return Held { sold_as, capacity, ..Held::default() };
        };
        let weights: HashMap<String, i64> = standing
            .pods
            .iter()
            .zip(&standing.evictions)
            .map(|(pod, cost)| (pod.key(), thousandths(*cost, standing.lifetime_left)))
            .collect();
        let moves = node.pods.iter().enumerate();
        let moves = moves.filter_map(|(at, pod)| Some((u32::try_from(at).ok()?, *weights.get(&pod.name)?)));
        Held {
            price: prices.of(node, &sold_as),
            sold_as,
            removable: standing.may_save(),
            receives: receives(standing),
            moves: moves.collect(),
            fixed: thousandths(UNIT, standing.lifetime_left),
            capacity,
            balanced: standing.policy() == ConsolidationPolicy::Balanced,
        }
    };
    Fleet { nodes: problem.nodes.iter().map(held).collect() }
}

/// The newest moment that a snapshot states: about when it was made. `None` where it states none.
pub fn latest(snapshot: &Snapshot) -> Option<Timestamp> {
    let of_conditions = |all: &[StatusCondition]| {
        let moments = all.iter().flat_map(|c| [&c.last_transition_time, &c.last_heartbeat_time]);
        moments.filter_map(|moment| moment.as_ref()?.parse::<Timestamp>().ok()).max()
    };
    let made = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<Timestamp>().ok());
    let nodes = snapshot.nodes();
    let nodes =
        nodes.flat_map(|n| [made(&n.metadata.creation_timestamp), of_conditions(&n.status.conditions)]);
    let claims = snapshot.node_claims().flat_map(|c| {
        let seen = made(&c.status.last_pod_event_time);
        [made(&c.metadata.creation_timestamp), of_conditions(&c.status.conditions), seen]
    });
    snapshot.pods().map(|pod| pod.started).chain(nodes).chain(claims).flatten().max()
}

/// Parts of [`UNIT`] in thousandths of an ordinary pod, for a node with so many thousandths of its life before it.
fn thousandths(cost: i64, left: i64) -> i64 {
    i64::try_from(i128::from(cost) * i128::from(left.clamp(0, 1000)) / i128::from(UNIT)).unwrap_or(i64::MAX)
}

/// Whether pods may be moved to a node: one that is there to stay, and has come to rest. Karpenter leaves nodes alone whose
/// `consolidateAfter` is not over, and does not rely on those that are not initialized.
fn receives(standing: &Standing<'_>) -> bool {
    let unsteady = |why: &Refusal| {
        matches!(
            why,
            Refusal::NotInitialized | Refusal::Deleting | Refusal::Chosen | Refusal::NotQuiet { .. }
        )
    };
    let ready = StatusCondition::find(&standing.node.status.conditions, "Ready");
    !standing.refusals().any(unsteady) && ready.is_none_or(|ready| ready.status == "True")
}

/// What a node's labels say that it is.
fn sold_as(node: &Node) -> Sold {
    let label = |key: &str| node.labels.get(key).cloned().unwrap_or_default();
    Sold {
        instance_type: label(well_known::INSTANCE_TYPE),
        zone: label(well_known::ZONE),
        capacity_type: label(well_known::CAPACITY_TYPE),
    }
}

struct Prices<'a> {
    problem: &'a Problem,
    catalog: &'a Catalog,
    known: HashMap<Sold, Option<Price>>,
}

impl Prices<'_> {
    /// What an hour of a node costs, with what its `NodePool` says that a node costs beside its machine.
    fn of(&mut self, node: &Node, sold: &Sold) -> Option<Price> {
        let (problem, catalog) = (self.problem, self.catalog);
        let instance = *self.known.entry(sold.clone()).or_insert_with(|| {
            let types = problem.types.iter().filter(|of| of.name == sold.instance_type);
            let mut offered = types.flat_map(|of| &of.offerings).filter(|o| {
                o.zone == sold.zone && o.capacity_type == sold.capacity_type && o.rebate == Price::ZERO
            });
            let for_sale = offered.next().map(|offering| offering.price);
            // What cannot be had now is paid for all the same.
            let of_type = catalog.types.iter().find(|of| of.name == sold.instance_type);
            let all = of_type.into_iter().flat_map(|of| &of.offerings);
            let mut stated = all.filter(|o| o.zone() == sold.zone && o.capacity_type() == sold.capacity_type);
            for_sale.or_else(|| stated.next().and_then(|offering| Price::from_dollars(offering.price)))
        });
        let pool = problem.pools.iter().find(|pool| Some(&pool.name) == node.pool.as_ref());
        instance.map(|price| price + pool.map_or(Price::ZERO, |pool| pool.node_cost))
    }
}
