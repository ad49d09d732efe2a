//! Standings and prices, as consolidation wants them: one entry for each node of the lowered problem.
//!
//! # What a node costs
//! What its offering costs today, as the catalogue has it: what it cost when it was launched nobody states. A node of reserved
//! capacity costs next to nothing more than the reservation, which is paid for with it or without.
//!
//! Reserved instances and savings plans are paid for, too, so a node costs what taking it away would take off the bill. That
//! depends on which others go: of three alike of which two are covered, the first to go saves its price, and the others nothing.
//! So nodes are thought to go one after the other, those first that cost most for what their going disrupts, and those that may
//! not go last; each costs what is then taken off. Whatever set of them goes saves that much, or more: what covers a node covers
//! another as soon as it is gone, and the more have gone, the less is left to cover.
//!
//! # What taking it away disrupts
//! The same however old the node is. compat: karpenter v1.14 scales a node's disruption cost by `LifetimeRemaining`, to say which
//! of the nodes that may go is taken first; what must be saved does not shrink with it, nor does the score of `Balanced`. So the
//! order of steps knows of age ([`Held::aged`]), and what a step has to pay for does not: else a cluster in which nothing changes
//! would be taken apart because its nodes grow old.

use std::collections::{BTreeMap, HashMap};

use stowage_api::{ConsolidationPolicy, StatusCondition, well_known};
use stowage_pricing::{Catalog, Commitments, Nodes, Timestamp};
use stowage_solver::{Fleet, Held, Node, Price, Problem, Sold};

use super::candidates::{Refusal, Standing};
use super::cost::UNIT;
use crate::lower::is_committable;
use crate::snapshot::Snapshot;

/// What the nodes of a problem cost, and what may be done with them. Nodes without a standing (machines that are being launched)
/// stay as they are. `commitments` are those in force, whatever uses them.
pub fn fleet(
    problem: &Problem,
    catalog: &Catalog,
    commitments: &Commitments,
    standings: &[Standing<'_>],
) -> Fleet {
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
            .zip(standing.evictions.iter().zip(&standing.restlessness))
            .map(|(pod, (cost, restless))| {
                let cost = thousandths(*cost);
                // What is worth less than the trouble is so however new it is.
                (pod.key(), if cost > 0 { cost.saturating_mul(*restless) / 1000 } else { cost })
            })
            .collect();
        let moves = node.pods.iter().enumerate();
        let moves = moves.filter_map(|(at, pod)| Some((u32::try_from(at).ok()?, *weights.get(&pod.name)?)));
        Held {
            price: prices.of(&sold_as),
            sold_as,
            removable: standing.may_save(),
            receives: receives(standing),
            moves: moves.collect(),
            fixed: thousandths(UNIT),
            capacity,
            quiet: standing.quiet,
            aged: u32::try_from(1000 - standing.lifetime_left.clamp(0, 1000)).unwrap_or(0),
            balanced: standing.policy() == ConsolidationPolicy::Balanced,
        }
    };
    let mut fleet = Fleet { nodes: problem.nodes.iter().map(held).collect() };
    if *commitments != Commitments::default() {
        discount(problem, commitments, &mut fleet);
    }
    // What a node costs beside its machine is no part of what commitments cover.
    for (node, held) in problem.nodes.iter().zip(&mut fleet.nodes) {
        let pool = problem.pools.iter().find(|pool| Some(&pool.name) == node.pool.as_ref());
        held.price = held.price.map(|price| price + pool.map_or(Price::ZERO, |pool| pool.node_cost));
    }
    fleet
}

/// Leaves of the price of nodes on demand what is taken off the bill when they go.
fn discount(problem: &Problem, commitments: &Commitments, fleet: &mut Fleet) {
    let of_node = |at: usize, held: &Held| {
        let sold = &held.sold_as;
        let price = held.price.filter(|_| is_committable(&problem.nodes[at].labels))?;
        Some((at, price, (sold.instance_type.clone(), sold.zone.clone())))
    };
    let mut going: Vec<_> =
        fleet.nodes.iter().enumerate().filter_map(|(at, held)| of_node(at, held)).collect();
    let mut running = BTreeMap::<(String, String), Nodes>::new();
    for (_, price, (instance_type, zone)) in &going {
        let nodes = running.entry((instance_type.clone(), zone.clone())).or_insert_with(|| Nodes {
            instance_type: instance_type.clone(),
            zone: zone.clone(),
            count: 0,
            on_demand: price.dollars(),
        });
        nodes.count += 1;
    }
    let worth = |at: usize, price: Price| {
        i128::from(price.micros()) * 1_000_000 / i128::from(fleet.nodes[at].disruption().max(1))
    };
    going.sort_by_cached_key(|(at, price, _)| {
        let stays = !fleet.nodes[*at].removable;
        (stays, std::cmp::Reverse(worth(*at, *price)), problem.nodes[*at].name.clone())
    });
    let bill = |running: &BTreeMap<(String, String), Nodes>| {
        let nodes: Vec<Nodes> = running.values().filter(|nodes| nodes.count > 0).cloned().collect();
        Price::from_dollars(commitments.bill(&nodes).on_demand).unwrap_or(Price::ZERO)
    };
    let mut whole = bill(&running);
    for (at, price, key) in going {
        if let Some(nodes) = running.get_mut(&key) {
            nodes.count -= 1;
        }
        let rest = bill(&running);
        fleet.nodes[at].price = Some((whole - rest).max(Price::ZERO).min(price));
        whole = rest;
    }
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

/// Parts of [`UNIT`] in thousandths of an ordinary pod.
fn thousandths(cost: i64) -> i64 {
    i64::try_from(i128::from(cost) * 1000 / i128::from(UNIT)).unwrap_or(i64::MAX)
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
    /// What an hour of a machine costs.
    fn of(&mut self, sold: &Sold) -> Option<Price> {
        let (problem, catalog) = (self.problem, self.catalog);
        *self.known.entry(sold.clone()).or_insert_with(|| {
            let types = problem.types.iter().filter(|of| of.name == sold.instance_type);
            let mut offered = types.flat_map(|of| &of.offerings).filter(|o| {
                o.zone == sold.zone && o.capacity_type == sold.capacity_type && o.rebate == Price::ZERO
            });
            let for_sale = offered.next().map(|offering| offering.price);
            // What cannot be had now is paid for all the same.
            let of_type = catalog.types.iter().find(|of| of.name == sold.instance_type);
            let all = of_type.into_iter().flat_map(|of| &of.offerings);
            let mut stated = all.filter(|o| o.zone() == sold.zone && o.capacity_type() == sold.capacity_type);
            let stated = || stated.next().and_then(|offering| Price::from_dollars(offering.price));
            // A reservation is paid for whether it is offered now or not.
            let reserved = (sold.capacity_type == well_known::RESERVED).then_some(Price::ZERO);
            for_sale.or_else(stated).or(reserved)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use stowage_solver::{Aims, Kept, consolidate};

    use super::*;
    use crate::disrupt::{Moment, standings};
    use crate::{LowerOptions, ReadOptions, Source, lower, read};

    /// Two types of the same room, of which the other is six in a hundred cheaper.
    fn catalog() -> Catalog {
        let of = |name: &str, price: f64| {
            format!(
                r#"{{"name": "{name}", "architecture": "amd64", "operatingSystems": ["linux"],
                "resources": {{"cpu": "2", "memory": "7577Mi", "pods": "29", "ephemeral-storage": "20Gi"}}, "labels": {{}},
                "offerings": [{{"Price": {price}, "Available": true, "Requirements": [
                    {{"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]}},
                    {{"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["us-east-1a"]}}]}}]}}"#
            )
        };
        let text = format!("[{}, {}]", of("m6i.large", 0.1), of("m6a.large", 0.094));
        Catalog::parse(text.as_bytes(), "types").expect("a catalogue")
    }

    /// A node of the dearer type with nine pods, all as old as the month.
    fn snapshot(spec: &str) -> Snapshot {
        let pods: Vec<String> = (0..9)
            .map(|at| {
                format!(
                    r#"{{"kind": "Pod", "metadata": {{"name": "web-{at}"}}, "spec": {{"nodeName": "n", "containers": [
                    {{"name": "c", "resources": {{"requests": {{"cpu": "150m", "memory": "128Mi"}}}}}}]}},
                    "status": {{"phase": "Running", "startTime": "2026-07-01T00:00:00Z"}}}}"#
                )
            })
            .collect();
        let text = format!(
            r#"{{"kind": "List", "items": [
            {{"kind": "NodePool", "metadata": {{"name": "default"}}, "spec": {{}}}},
            {{"kind": "Node", "metadata": {{"name": "n", "labels": {{"karpenter.sh/nodepool": "default",
                "karpenter.sh/initialized": "true", "node.kubernetes.io/instance-type": "m6i.large",
                "karpenter.sh/capacity-type": "on-demand", "topology.kubernetes.io/zone": "us-east-1a"}}}},
                "status": {{"allocatable": {{"cpu": "1930m", "memory": "7000Mi", "pods": "29"}}}}}},
            {{"kind": "NodeClaim", "metadata": {{"name": "c", "creationTimestamp": "2026-07-01T00:00:00Z",
                "labels": {{"karpenter.sh/nodepool": "default"}}}}, "spec": {{{spec}}},
                "status": {{"nodeName": "n", "lastPodEventTime": "2026-07-01T00:00:00Z"}}}}, {}]}}"#,
            pods.join(", ")
        );
        read(&[Source { name: "t", bytes: text.as_bytes() }], &ReadOptions::default()).expect("valid")
    }

    fn held(snapshot: &Snapshot, now: &str) -> (Problem, Fleet) {
        let catalog = catalog();
        let moment = Moment { now: Some(now.parse().expect("a moment")), ..Moment::default() };
        let problem = lower(snapshot, &catalog, &LowerOptions::default()).expect("lowered").problem;
        let fleet = fleet(&problem, &catalog, &Commitments::default(), &standings(snapshot, &moment));
        (problem, fleet)
    }

    #[test]
    fn a_cluster_that_merely_grows_old_is_left_alone() {
        // $0.006 an hour for ten units of disruption at $0.001 and $0.0031 while the new node starts: in two hours and eleven
        // minutes, where two hours are the most.
        for spec in ["", r#""expireAfter": "720h""#, r#""expireAfter": "Never""#] {
            let snapshot = snapshot(spec);
            let mut ages = Vec::new();
            for day in ["03", "08", "16", "30"] {
                let (problem, fleet) = held(&snapshot, &format!("2026-07-{day}T12:00:00Z"));
                assert_eq!((fleet.nodes[0].removable, fleet.nodes[0].disruption()), (true, 10_000), "{day}");
                ages.push(fleet.nodes[0].aged);
                let never = AtomicBool::new(false);
                let out = consolidate(&problem, &fleet, &Aims::default(), &never, &mut |_, _, _| {});
                let out = out.expect("no rule is broken");
                let why = out.kept.first().map(|(_, why)| why.clone());
                assert!(matches!(why, Some(Kept::Payback { seconds: 7880, .. })), "day {day}: {out:#?}");
            }
            let aging = if spec.contains("Never") { vec![0; 4] } else { vec![84, 250, 517, 984] };
            assert_eq!(ages, aging, "the order of steps knows of it");
        }
    }

    #[test]
    fn pods_that_have_only_just_come_up_weigh_more_for_an_hour() {
        let snapshot = snapshot("");
        let weights = |now: &str| held(&snapshot, now).1.nodes[0].disruption();
        assert_eq!(weights("2026-07-01T00:30:00Z"), 1000 + 9 * 1500);
        assert_eq!(weights("2026-07-01T01:00:00Z"), 10_000);
    }
}
