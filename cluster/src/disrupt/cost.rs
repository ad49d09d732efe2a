//! What it costs to take pods off their node, in parts of an ordinary pod.
//!
//! compat: karpenter v1.14, `EvictionCost`, `ReschedulingCost` and `LifetimeRemaining`: an eviction costs
//! `1 + deletion-cost/2^27 + priority/2^25`, at least −10 and at most 10. Counted here in whole units of 2⁻²⁷.

use std::collections::HashMap;
use std::time::Duration;

use stowage_api::{NodeClaim, duration};
use stowage_pricing::Timestamp;

use crate::snapshot::{Pod, Snapshot};

/// One ordinary pod moved: no priority, no deletion cost.
pub const UNIT: i64 = 1 << 27;

/// No pod costs more than so many ordinary ones, nor less than as many saved.
const MOST: i64 = 10;

/// The age that nodes may get where their claim does not say: Karpenter's default, 720 hours.
const MONTH: Duration = Duration::from_hours(720);

/// Priorities by name of class, for pods whose admission has not resolved theirs.
#[derive(Clone, Debug, Default)]
pub struct Priorities<'s> {
    classes: HashMap<&'s str, i32>,
    default: i32,
}

impl<'s> Priorities<'s> {
    /// Those of a snapshot.
    pub fn of(snapshot: &'s Snapshot) -> Self {
        let classes = &snapshot.priority_classes;
        Self {
            classes: classes.iter().map(|c| (c.metadata.name.as_str(), c.value)).collect(),
            default: classes.iter().filter(|c| c.global_default).map(|c| c.value).max().unwrap_or(0),
        }
    }

    /// The priority of a pod.
    pub fn get(&self, pod: &Pod) -> i32 {
        let named = |class: &str| match class {
            "system-node-critical" => 2_000_001_000,
            "system-cluster-critical" => 2_000_000_000,
            class => self.classes.get(class).copied().unwrap_or(self.default),
        };
        pod.spec.priority.unwrap_or_else(|| named(&pod.spec.priority_class_name))
    }
}

/// What it costs to evict a pod of this priority, in parts of [`UNIT`]; below zero for pods that are worth less than the
/// trouble.
pub fn eviction_cost(pod: &Pod, priority: i32) -> i64 {
    (UNIT + i64::from(pod.deletion_cost) + 4 * i64::from(priority)).clamp(-MOST * UNIT, MOST * UNIT)
}

/// Pods that have come up within this time were moved of late, or are new: to move them again is worse than to move others.
const UNSETTLED: u64 = 3600;

/// What an eviction costs more because the pod has only just come up, in thousandths: twice as much at the start, and the usual
/// after an hour. So a pod is not sent from node to node.
pub fn restlessness(pod: &Pod, now: Option<Timestamp>) -> i64 {
    let age =
        pod.started.zip(now).map_or(UNSETTLED, |(started, now)| now.seconds_since(started).min(UNSETTLED));
    2000 - i64::try_from(age * 1000 / UNSETTLED).unwrap_or(1000)
}

/// How much of its life a machine has before it, in thousandths; all of it where it never expires, or does not say when it
/// was made.
pub fn lifetime_left(claim: &NodeClaim, now: Timestamp) -> i64 {
    let stated = claim.spec.expire_after.as_deref();
    let Some(life) = stated.map_or(Some(MONTH), duration).map(|life| life.as_secs()).filter(|life| *life > 0)
    else {
        return 1000;
    };
    let made = claim.metadata.creation_timestamp.as_ref().and_then(|made| made.parse::<Timestamp>().ok());
    let age = made.map_or(0, |made| now.seconds_since(made)).min(life);
    i64::try_from(u128::from(life - age) * 1000 / u128::from(life)).unwrap_or(1000)
}

/// What it costs to take a node away, in parts of [`UNIT`]: one for the node itself, and what its pods cost to evict, as far
/// as that is above zero. A node that would soon expire costs less by the part of its life that is over: `left` are
/// thousandths.
pub fn node_disruption(evictions: impl IntoIterator<Item = i64>, left: i64) -> i64 {
    let whole = balanced_disruption(evictions);
    i64::try_from(i128::from(whole) * i128::from(left.clamp(0, 1000)) / 1000).unwrap_or(i64::MAX)
}

/// The same without regard to age: what the policy `Balanced` holds savings against.
pub fn balanced_disruption(evictions: impl IntoIterator<Item = i64>) -> i64 {
    evictions.into_iter().filter(|cost| *cost > 0).fold(UNIT, i64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ReadOptions, Source, read};

    fn snapshot(items: &str) -> Snapshot {
        let text = format!(r#"{{"kind": "List", "items": [{items}]}}"#);
        read(&[Source { name: "t", bytes: text.as_bytes() }], &ReadOptions::default()).expect("valid")
    }

    #[test]
    fn pods_weigh_by_priority_and_deletion_cost() {
        let cluster = snapshot(
            r#"{"kind": "Pod", "metadata": {"name": "plain"}},
               {"kind": "Pod", "metadata": {"name": "dear", "annotations": {"controller.kubernetes.io/pod-deletion-cost": "134217728"}}},
               {"kind": "Pod", "metadata": {"name": "low"}, "spec": {"priority": -33554432}},
               {"kind": "Pod", "metadata": {"name": "critical"}, "spec": {"priorityClassName": "system-cluster-critical"}},
               {"kind": "Pod", "metadata": {"name": "odd", "annotations": {"controller.kubernetes.io/pod-deletion-cost": "lots"}}}"#,
        );
        let priorities = Priorities::of(&cluster);
        let costs: Vec<i64> =
            cluster.pods.iter().map(|pod| eviction_cost(pod, priorities.get(pod))).collect();
        // 2^27 of deletion cost is one more pod; a priority of -2^25 makes a pod cost nothing; ten is the most.
        assert_eq!(costs, [UNIT, 2 * UNIT, 0, 10 * UNIT, UNIT]);
        assert_eq!(node_disruption(costs.iter().copied(), 1000), 15 * UNIT);
        assert_eq!(node_disruption([-3 * UNIT], 500), UNIT / 2);
    }

    #[test]
    fn pods_that_have_only_just_come_up_weigh_twice_as_much() {
        let cluster = snapshot(
            r#"{"kind": "Pod", "metadata": {"name": "web"}, "status": {"phase": "Running", "startTime": "2026-07-01T10:00:00Z"}}"#,
        );
        let at = |moment: &str| restlessness(&cluster.pods[0], moment.parse().ok());
        let all =
            ["2026-07-01T10:00:00Z", "2026-07-01T10:30:00Z", "2026-07-01T11:00:00Z", "2026-07-09T10:00:00Z"];
        assert_eq!(all.map(at), [2000, 1500, 1000, 1000]);
        assert_eq!(restlessness(&cluster.pods[0], None), 1000, "nobody knows what time it is");
    }

    #[test]
    fn old_nodes_cost_less() {
        let claim = |more: &str| -> NodeClaim {
            let text = format!(
                r#"{{"metadata": {{"name": "c", "creationTimestamp": "2026-07-01T00:00:00Z"}}, "spec": {{{more}}}}}"#
            );
            serde_json::from_str(&text).expect("valid")
        };
        let at = |text: &str| text.parse::<Timestamp>().expect("a moment");
        assert_eq!(lifetime_left(&claim(""), at("2026-07-16T00:00:00Z")), 500);
        assert_eq!(lifetime_left(&claim(r#""expireAfter": "10h""#), at("2026-07-01T09:00:00Z")), 100);
        assert_eq!(lifetime_left(&claim(r#""expireAfter": "10h""#), at("2026-07-09T09:00:00Z")), 0);
        assert_eq!(lifetime_left(&claim(r#""expireAfter": "Never""#), at("2036-07-16T00:00:00Z")), 1000);
    }
}
