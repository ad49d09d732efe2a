//! Budgets of `NodePools`: how many of a pool's nodes may go at the same time, for a reason, at a moment.
//!
//! ```text
//! budgets in force ─▶ the tightest ─▶ so many may be on their way ─ those that are, whatever the cause ─▶ so many more
//! ```
//!
//! # Invariants
//! - Whatever takes nodes away uses budgets up; what is forced asks nobody.
//! - A budget that cannot be read lets nothing go.
//!
//! compat: karpenter v1.14, `NodePool.GetAllowedDisruptionsByReason` and `BuildDisruptionBudgetMapping`. A schedule that never
//! hits is never in force here; there it always is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use stowage_api::{Budget, NodeClaim, NodePool, StatusCondition, duration, well_known};
use stowage_pricing::Timestamp;

use super::cron::Schedule;
use crate::object::Node;
use crate::snapshot::Snapshot;

/// The budget of a `NodePool` that states none.
const TENTH: &str = "10%";

/// Why a node goes, as far as budgets tell reasons apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// No pod has to leave it.
    Empty,
    /// It is out of date.
    Drifted,
    /// Its pods fit elsewhere for less.
    Underutilized,
}

impl Reason {
    /// All of them, in the order in which they are looked for.
    pub const ALL: [Self; 3] = [Self::Empty, Self::Drifted, Self::Underutilized];

    /// As budgets, conditions and events call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Drifted => "Drifted",
            Self::Underutilized => "Underutilized",
        }
    }

    /// As metrics call it.
    pub const fn metric(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Drifted => "drifted",
            Self::Underutilized => "underutilized",
        }
    }
}

/// How many nodes may be on their way at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// So many; `None` where nothing says.
    pub most: Option<u64>,
    /// Which of the budgets says so, counted from 0.
    pub by: Option<usize>,
}

/// How many of so many nodes may be on their way at the same time, by these budgets.
///
/// ```
/// use stowage_api::Budget;
/// use stowage_cluster::disrupt::{Reason, allowance};
/// use stowage_pricing::Timestamp;
///
/// let tenth: Budget = serde_json::from_str(r#"{"nodes": "10%"}"#)?;
/// assert_eq!(allowance(&[tenth], Reason::Empty, 11, Timestamp::EPOCH).most, Some(2));
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn allowance(budgets: &[Budget], reason: Reason, nodes: u64, now: Timestamp) -> Allowance {
    let mut tightest = Allowance { most: None, by: None };
    for (at, budget) in budgets.iter().enumerate() {
        if !covers(budget, reason) {
            continue;
        }
        let most = match window(budget) {
            Window::After(schedule, seconds) if !schedule.is_within(seconds, now) => continue,
            Window::Unreadable => 0,
            Window::Always | Window::After(..) => count(&budget.nodes, nodes),
        };
        if tightest.most.is_none_or(|known| most < known) {
            tightest = Allowance { most: Some(most), by: Some(at) };
        }
    }
    tightest
}

fn covers(budget: &Budget, reason: Reason) -> bool {
    budget.reasons.is_empty() || budget.reasons.iter().any(|stated| stated == reason.name())
}

/// When a budget is in force.
enum Window {
    Always,
    After(Schedule, u64),
    Unreadable,
}

fn window(budget: &Budget) -> Window {
    match (&budget.schedule, &budget.duration) {
        (None, None) => Window::Always,
        (Some(schedule), Some(length)) => match (schedule.parse(), duration(length)) {
            (Ok(schedule), Some(length)) => Window::After(schedule, length.as_secs()),
            _ => Window::Unreadable,
        },
        _ => Window::Unreadable,
    }
}

/// A number, or a part of so many nodes, rounded up. What cannot be read is none.
fn count(stated: &str, nodes: u64) -> u64 {
    match stated.strip_suffix('%') {
        Some(percent) => {
            let percent: u64 = percent.parse().unwrap_or_default();
            u64::try_from((u128::from(nodes) * u128::from(percent.min(100))).div_ceil(100)).unwrap_or(nodes)
        }
        None => stated.parse().unwrap_or_default(),
    }
}

/// Nodes of a `NodePool` that budgets count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that have started up and whose machine is not being ended yet.
    pub nodes: u64,
    /// Of these, those that use budgets up: on their way, or not ready.
    pub going: u64,
}

/// Counts the nodes of every `NodePool`, by name. `leaving` are `NodeClaims` that are about to go and do not show it yet.
pub fn tallies<'s>(snapshot: &'s Snapshot, leaving: &BTreeSet<String>) -> BTreeMap<&'s str, Tally> {
    let mut nodes = HashMap::<&str, &Node>::new();
    for node in snapshot.nodes() {
        nodes.insert(&node.metadata.name, node);
        if !node.spec.provider_id.is_empty() {
            nodes.insert(&node.spec.provider_id, node);
        }
    }
    let mut out = BTreeMap::<&str, Tally>::new();
    for claim in snapshot.node_claims() {
        let node = nodes.get(claim.status.node_name.as_str()).or_else(|| {
            let machine = claim.status.provider_id.as_str();
            nodes.get(machine).filter(|_| !machine.is_empty())
        });
        let (Some(pool), Some(node)) = (claim.metadata.labels.get(well_known::NODE_POOL), node) else {
            continue;
        };
        if !is_counted(claim, node) {
            continue;
        }
        let tally = out.entry(pool).or_default();
        tally.nodes += 1;
        tally.going += u64::from(is_going(claim, node) || leaving.contains(&claim.metadata.name));
    }
    out
}

fn is_counted(claim: &NodeClaim, node: &Node) -> bool {
    let label = node.metadata.labels.get(well_known::INITIALIZED).is_some_and(|value| value == "true");
    label && !StatusCondition::holds(&claim.status.conditions, "InstanceTerminating")
}

/// Whether a node uses budgets up: it goes, was chosen to go, or is not ready.
fn is_going(claim: &NodeClaim, node: &Node) -> bool {
    let chosen = StatusCondition::holds(&claim.status.conditions, "DisruptionReason")
        || node.spec.taints.iter().any(|taint| taint.key == well_known::TAINT_DISRUPTED);
    chosen || claim.metadata.is_terminating() || node.metadata.is_terminating() || !node.is_ready()
}

/// How many more nodes of each `NodePool` may be sent on their way at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    pools: BTreeMap<(String, Reason), Left>,
}

/// What a `NodePool`'s budgets leave for a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// What its budgets say in all.
    pub allowance: Allowance,
    /// The nodes that they are about.
    pub tally: Tally,
    /// How many more may go; `u64::MAX` where nothing limits that.
    pub more: u64,
}

impl Room {
    /// What the budgets of all `NodePools` leave.
    pub fn of(snapshot: &Snapshot, leaving: &BTreeSet<String>, now: Timestamp) -> Self {
        let tallies = tallies(snapshot, leaving);
        let each = snapshot.node_pools.iter().flat_map(|pool| {
            let tally = tallies.get(pool.metadata.name.as_str()).copied().unwrap_or_default();
            Reason::ALL.map(|reason| {
                let allowance = of_pool(pool, reason, tally.nodes, now);
                let more = allowance.most.map_or(u64::MAX, |most| most.saturating_sub(tally.going));
                ((pool.metadata.name.clone(), reason), Left { allowance, tally, more })
            })
        });
        Self { pools: each.collect() }
    }

    /// What is left for a reason. Nothing for a `NodePool` that is not there.
    pub fn left(&self, pool: &str, reason: Reason) -> Option<Left> {
        self.pools.get(&(pool.to_owned(), reason)).copied()
    }

    /// By `NodePool` and reason.
    pub fn all(&self) -> impl Iterator<Item = (&str, Reason, &Left)> {
        self.pools.iter().map(|((pool, reason), left)| (pool.as_str(), *reason, left))
    }

    /// One more of a `NodePool`'s nodes goes, where its budgets let it.
    pub fn take(&mut self, pool: &str, reason: Reason) -> bool {
        if self.left(pool, reason).is_none_or(|left| left.more == 0) {
            return false;
        }
        // Whatever the reason: it uses up what there is for the others, too.
        for other in Reason::ALL {
            if let Some(left) = self.pools.get_mut(&(pool.to_owned(), other))
                && left.more < u64::MAX
            {
                left.more = left.more.saturating_sub(1);
            }
        }
        true
    }
}

fn of_pool(pool: &NodePool, reason: Reason, nodes: u64, now: Timestamp) -> Allowance {
    match &pool.spec.disruption.budgets {
        Some(budgets) => allowance(budgets, reason, nodes, now),
        None => Allowance { most: Some(count(TENTH, nodes)), by: None },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::{Index, Kind};

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a moment")
    }

    fn budgets(stated: &Value) -> Vec<Budget> {
        serde_json::from_value(stated.clone()).expect("budgets")
    }

    fn most(stated: &Value, reason: Reason, nodes: u64, now: &str) -> Option<u64> {
        allowance(&budgets(stated), reason, nodes, at(now)).most
    }

    const NOW: &str = "2026-07-01T10:30:00Z";

    #[test]
    fn percents_are_rounded_up_and_the_tightest_counts() {
        let of = |stated: Value, nodes| most(&stated, Reason::Empty, nodes, NOW);
        assert_eq!(of(json!([{"nodes": "5%"}]), 10), Some(1));
        assert_eq!(of(json!([{"nodes": "10%"}]), 0), Some(0));
        assert_eq!(of(json!([{"nodes": "100%"}]), 7), Some(7));
        assert_eq!(of(json!([{"nodes": "20%"}, {"nodes": "5"}]), 30), Some(5));
        assert_eq!(of(json!([{"nodes": "0"}]), 30), Some(0));
        assert_eq!(of(json!([]), 30), None);
        for wrong in ["", "ten", "-1", "1.5", "%"] {
            assert_eq!(of(json!([{"nodes": wrong}]), 30), Some(0), "{wrong}");
        }
    }

    #[test]
    fn a_budget_counts_for_its_reasons_in_its_time() {
        let stated = json!([
            {"nodes": "3"},
            {"nodes": "0", "reasons": ["Drifted", "Underutilized"], "schedule": "0 9 * * mon-fri", "duration": "8h"},
        ]);
        let of = |reason, now: &str| most(&stated, reason, 100, now);
        assert_eq!(of(Reason::Drifted, NOW), Some(0));
        assert_eq!(of(Reason::Empty, NOW), Some(3));
        assert_eq!(of(Reason::Drifted, "2026-07-01T17:00:00Z"), Some(3));
        assert_eq!(of(Reason::Underutilized, "2026-07-04T10:00:00Z"), Some(3), "a Saturday");
        let tightest = allowance(&budgets(&stated), Reason::Drifted, 100, at(NOW));
        assert_eq!(tightest.by, Some(1));
    }

    #[test]
    fn what_cannot_be_read_lets_nothing_go() {
        for wrong in [
            json!({"nodes": "5", "schedule": "0 9 * *", "duration": "8h"}),
            json!({"nodes": "5", "schedule": "@daily"}),
            json!({"nodes": "5", "duration": "8h"}),
            json!({"nodes": "5", "schedule": "@daily", "duration": "soon"}),
        ] {
            assert_eq!(most(&json!([wrong]), Reason::Empty, 30, NOW), Some(0), "{wrong}");
        }
    }

    fn cluster(count: usize, going: &[(usize, &str)], budgets: &Value) -> std::sync::Arc<Snapshot> {
        let mut index = Index::default();
        let pool = json!({"metadata": {"name": "default"}, "spec": {"disruption": {"consolidateAfter": "0s", "budgets": budgets}}});
        index.apply(Kind::NodePool, &pool.to_string()).expect("a pool");
        for at in 0..count {
            let how = going.iter().find(|(of, _)| *of == at).map_or("", |(_, how)| how);
            let condition = |kind: &str| json!({"type": kind, "status": "True"});
            let mut node = json!({
                "metadata": {"name": format!("n{at}"), "labels": {"karpenter.sh/initialized": "true"}},
                "spec": {"providerID": format!("aws:///z/{at}")}, "status": {"conditions": [condition("Ready")]},
            });
            let mut claim = json!({
                "metadata": {"name": format!("c{at}"), "labels": {"karpenter.sh/nodepool": "default"}},
                "status": {"providerID": format!("aws:///z/{at}"), "conditions": [condition("Initialized")]},
            });
            match how {
                "unready" => node["status"] = json!({}),
                "tainted" => {
                    node["spec"]["taints"] =
                        json!([{"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}]);
                }
                "deleted" => claim["metadata"]["deletionTimestamp"] = json!(NOW),
                "drained" => node["metadata"]["deletionTimestamp"] = json!(NOW),
                "chosen" => claim["status"]["conditions"] = json!([condition("DisruptionReason")]),
                "ending" => claim["status"]["conditions"] = json!([condition("InstanceTerminating")]),
                "starting" => node["metadata"]["labels"] = json!({}),
                _ => {}
            }
            index.apply(Kind::Node, &node.to_string()).expect("a node");
            index.apply(Kind::NodeClaim, &claim.to_string()).expect("a claim");
        }
        index.snapshot()
    }

    #[test]
    fn nodes_count_from_their_start_until_their_machine_ends() {
        let going = [
            (0, "unready"),
            (1, "tainted"),
            (2, "deleted"),
            (3, "drained"),
            (4, "chosen"),
            (5, "ending"),
            (6, "starting"),
        ];
        let snapshot = cluster(12, &going, &json!([{"nodes": "100%"}]));
        let leaving = BTreeSet::from(["c7".to_owned(), "c0".to_owned()]);
        assert_eq!(tallies(&snapshot, &leaving)["default"], Tally { nodes: 10, going: 6 });
        let room = Room::of(&snapshot, &leaving, at(NOW));
        assert_eq!(room.left("default", Reason::Empty).map(|left| left.more), Some(4));
        assert_eq!(room.left("other", Reason::Empty), None);
    }

    #[test]
    fn a_pool_without_budgets_has_a_tenth() {
        let room = Room::of(&cluster(11, &[], &Value::Null), &BTreeSet::new(), at(NOW));
        assert_eq!(room.left("default", Reason::Drifted).map(|left| left.more), Some(2));
    }

    proptest! {
        /// However many ask, and for whatever reason: no budget is exceeded, and none is left unused that somebody asked for.
        #[test]
        fn no_budget_is_exceeded(
            count in 0_usize..40, going in 0_usize..40, all in 0_u64..30, empty in 0_u64..30, percent in 0_u64..=100,
            asked in proptest::collection::vec(0_usize..3, 0..60),
        ) {
            let going: Vec<(usize, &str)> = (0..going.min(count)).map(|at| (at, "tainted")).collect();
            let stated = json!([
                {"nodes": all.to_string()},
                {"nodes": empty.to_string(), "reasons": ["Empty"]},
                {"nodes": format!("{percent}%"), "reasons": ["Drifted"]},
            ]);
            let mut room = Room::of(&cluster(count, &going, &stated), &BTreeSet::new(), at(NOW));
            let part = (count as u64 * percent).div_ceil(100);
            let limits = BTreeMap::from([
                (Reason::Empty, all.min(empty)), (Reason::Drifted, all.min(part)), (Reason::Underutilized, all),
            ]);
            let mut on_their_way = going.len() as u64;
            for reason in asked.into_iter().map(|at| Reason::ALL[at]) {
                let may = on_their_way < limits[&reason];
                prop_assert_eq!(room.take("default", reason), may);
                on_their_way += u64::from(may);
            }
        }
    }
}
