//! Which pods leave a node next, and how.
//!
//! Ordinary pods first, then those of DaemonSets, then critical ones, then critical ones of DaemonSets; one tier is gone
//! before the next is asked to go. Pods are evicted, so that their `PodDisruptionBudgets` are honoured; only where the node has
//! to be gone by a moment and a pod's grace would outlast it, is the pod deleted.
//!
//! compat: karpenter v1.14, `pkg/controllers/node/termination/terminator`.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Toleration};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use stowage_api::well_known::{DO_NOT_DISRUPT, TAINT_DISRUPTED};

use crate::time::{duration, later, until};

/// A pod that is still there so long after it should have ended is stuck with its kubelet, and not waited for.
const STUCK: Duration = Duration::from_mins(1);

/// Grace that Kubernetes gives where a pod states none.
const GRACE: u64 = 30;

/// What there is to do on a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drain<'a> {
    /// Pods to evict.
    pub evict: Vec<&'a Pod>,
    /// Pods to delete, with so many seconds of grace.
    pub delete: Vec<(&'a Pod, u32)>,
    /// Pods that must not be disrupted.
    pub blocked: Vec<&'a Pod>,
    /// How many pods are waited for, those above included.
    pub left: usize,
}

/// What there is to do about the pods of a node at `now`, where it has to be gone by `deadline`.
pub fn drain(pods: &[Pod], deadline: Option<Timestamp>, now: Timestamp) -> Drain<'_> {
    let left: Vec<&Pod> = pods.iter().filter(|pod| is_waited_for(pod, now)).collect();
    let mut out = Drain { left: left.len(), ..Drain::default() };
    if let Some(deadline) = deadline {
        let rest = until(now, deadline);
        // Past the deadline even those that need no time have to go.
        let is_short = |pod: &Pod| grace(pod) > rest || rest.is_zero();
        let short = left.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none() && is_short(pod));
        // No pod is killed without warning.
        let seconds = u32::try_from(rest.as_secs()).unwrap_or(u32::MAX).max(1);
        out.delete = short.map(|pod| (*pod, seconds)).collect();
    }
    let Some(first) = left.iter().map(|pod| tier(pod)).min() else { return out };
    for pod in left.into_iter().filter(|pod| tier(pod) == first) {
        let goes = pod.metadata.deletion_timestamp.is_some()
            || out.delete.iter().any(|(other, _)| std::ptr::eq(*other, pod));
        match (goes, is_protected(pod, now)) {
            (true, _) => {}
            (false, true) => out.blocked.push(pod),
            (false, false) => out.evict.push(pod),
        }
    }
    out
}

/// Whether a node is not gone before this pod is.
pub fn is_waited_for(pod: &Pod, now: Timestamp) -> bool {
    !is_over(pod) && is_drainable(pod, now)
}

/// Whether a pod stays on a node that goes. One whose containers have ended does not, nor one that was asked to go: kubelet says
/// that they have ended before it unmounts their volumes.
pub fn stays(pod: &Pod, now: Timestamp) -> bool {
    let leaves = is_over(pod) || pod.metadata.deletion_timestamp.is_some();
    !is_drainable(pod, now) || (!leaves && is_protected(pod, now))
}

/// Whether all containers of a pod have ended for good.
fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether a pod leaves when its node is drained, sooner or later.
fn is_drainable(pod: &Pod, now: Timestamp) -> bool {
    let stuck = pod.metadata.deletion_timestamp.as_ref().is_some_and(|by| now > later(by.0, STUCK));
    let mirror = pod.annotations().contains_key("kubernetes.io/config.mirror");
    !stuck && !mirror && !tolerates_disruption(pod)
}

/// Pods that tolerate the taint would come back at once.
fn tolerates_disruption(pod: &Pod) -> bool {
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    tolerations.iter().any(|t: &Toleration| {
        let effect = t.effect.as_deref().unwrap_or_default();
        let of_effect = effect.is_empty() || effect == "NoSchedule";
        let exists = t.operator.as_deref() == Some("Exists");
        let key = t.key.as_deref().unwrap_or_default();
        let of_key = (key.is_empty() && exists) || key == TAINT_DISRUPTED;
        of_effect && of_key && (exists || t.value.as_deref().unwrap_or_default().is_empty())
    })
}

/// Whether somebody has said that the pod must not be disrupted: for ever, or for a time from its start that is not over.
pub fn is_protected(pod: &Pod, now: Timestamp) -> bool {
    let Some(stated) = pod.annotations().get(DO_NOT_DISRUPT) else { return false };
    let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    let started = started.or(pod.metadata.creation_timestamp.as_ref()).map_or(now, |at| at.0);
    stated == "true" || duration(stated).is_some_and(|period| now < later(started, period))
}

/// For how long a pod may go on once it was asked to end.
pub(super) fn grace(pod: &Pod) -> Duration {
    let stated = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    Duration::from_secs(stated.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(GRACE))
}

/// Its place in the order.
fn tier(pod: &Pod) -> u8 {
    let class = pod.spec.as_ref().and_then(|spec| spec.priority_class_name.as_deref());
    let critical = matches!(class, Some("system-cluster-critical" | "system-node-critical"));
    let daemon = pod.owner_references().iter().any(|owner| owner.kind == "DaemonSet");
    u8::from(critical) * 2 + u8::from(daemon)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn now() -> Timestamp {
        "2026-07-01T10:00:00Z".parse().expect("a moment")
    }

    fn pod(name: &str, more: &Value) -> Pod {
        let mut pod =
            json!({"metadata": {"name": name}, "spec": {"containers": []}, "status": {"phase": "Running"}});
        for (part, fields) in more.as_object().expect("an object") {
            for (key, value) in fields.as_object().expect("an object") {
                pod[part][key] = value.clone();
            }
        }
        serde_json::from_value(pod).expect("a pod")
    }

    fn names(pods: &[&Pod]) -> Vec<String> {
        pods.iter().map(|pod| pod.name_any()).collect()
    }

    #[test]
    fn tiers_go_one_after_the_other() {
        let daemon = json!({"ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "d"}]});
        let critical = json!({"priorityClassName": "system-node-critical"});
        let mut pods = vec![
            pod("critical-daemon", &json!({"metadata": daemon, "spec": critical})),
            pod("critical", &json!({"spec": critical})),
            pod("daemon", &json!({"metadata": daemon})),
            pod("a", &json!({})),
            pod("b", &json!({})),
        ];
        let mut order = Vec::new();
        while !pods.is_empty() {
            let evicted = names(&drain(&pods, None, now()).evict);
            pods.retain(|pod| !evicted.contains(&pod.name_any()));
            order.push(evicted);
        }
        assert_eq!(order, [vec!["a", "b"], vec!["daemon"], vec!["critical"], vec!["critical-daemon"]]);
    }

    #[test]
    fn a_tier_that_is_going_holds_up_the_next() {
        let pods = [
            pod("a", &json!({"metadata": {"deletionTimestamp": "2026-07-01T10:00:20Z"}})),
            pod("critical", &json!({"spec": {"priorityClassName": "system-cluster-critical"}})),
        ];
        let out = drain(&pods, None, now());
        assert_eq!((out.evict.len(), out.left), (0, 2));
    }

    #[test]
    fn some_pods_are_not_waited_for() {
        let tolerant = |toleration: Value| pod("t", &json!({"spec": {"tolerations": [toleration]}}));
        let waited = |pod: &Pod| is_waited_for(pod, now());
        assert!(waited(&pod("a", &json!({}))));
        assert!(!waited(&pod("a", &json!({"status": {"phase": "Succeeded"}}))));
        assert!(!waited(&pod(
            "a",
            &json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}})
        )));
        assert!(!waited(&pod("a", &json!({"metadata": {"deletionTimestamp": "2026-07-01T09:58:59Z"}}))));
        assert!(waited(&pod("a", &json!({"metadata": {"deletionTimestamp": "2026-07-01T09:59:30Z"}}))));
        assert!(!waited(&tolerant(json!({"operator": "Exists"}))));
        assert!(!waited(&tolerant(
            json!({"key": TAINT_DISRUPTED, "operator": "Exists", "effect": "NoSchedule"})
        )));
        assert!(waited(&tolerant(
            json!({"key": TAINT_DISRUPTED, "operator": "Exists", "effect": "NoExecute"})
        )));
        assert!(waited(&tolerant(json!({"key": "other", "operator": "Exists"}))));
        assert!(waited(&tolerant(json!({"key": TAINT_DISRUPTED, "value": "x"}))));
    }

    #[test]
    fn what_ends_does_not_stay() {
        let mark = json!({"annotations": {DO_NOT_DISRUPT: "true"}});
        let going =
            json!({"annotations": {DO_NOT_DISRUPT: "true"}, "deletionTimestamp": "2026-07-01T09:59:30Z"});
        let stuck = json!({"deletionTimestamp": "2026-07-01T09:58:59Z"});
        let tolerant = json!({"tolerations": [{"operator": "Exists"}]});
        for (more, expected) in [
            (json!({}), false),
            (json!({"status": {"phase": "Succeeded"}}), false),
            (json!({"status": {"phase": "Failed"}, "metadata": going}), false),
            (json!({"metadata": mark}), true),
            (json!({"metadata": mark, "status": {"phase": "Succeeded"}}), false),
            (json!({"metadata": going}), false),
            (json!({"metadata": stuck}), true),
            (json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}), true),
            (json!({"spec": tolerant}), true),
        ] {
            assert_eq!(stays(&pod("a", &more), now()), expected, "{more}");
        }
    }

    #[test]
    fn protected_pods_block_until_the_node_must_be_gone() {
        let pods = [pod("job", &json!({"metadata": {"annotations": {DO_NOT_DISRUPT: "true"}}}))];
        let out = drain(&pods, None, now());
        assert_eq!((names(&out.blocked), out.evict.len()), (vec!["job".to_owned()], 0));
        let early = drain(&pods, Some(later(now(), Duration::from_secs(31))), now());
        assert_eq!((early.delete.len(), early.blocked.len()), (0, 1));
        let late = drain(&pods, Some(later(now(), Duration::from_secs(20))), now());
        assert_eq!(late.delete.iter().map(|(_, grace)| *grace).collect::<Vec<_>>(), [20]);
        assert_eq!(late.blocked.len(), 0);
        let over = drain(&pods, Some(now()), now());
        assert_eq!(over.delete[0].1, 1);
    }

    #[test]
    fn a_pod_may_be_protected_for_a_time_from_its_start() {
        let of = |period: &str| {
            let mut pod = pod("job", &json!({"metadata": {"annotations": {DO_NOT_DISRUPT: period}}}));
            pod.status.get_or_insert_default().start_time =
                serde_json::from_value(json!("2026-07-01T09:00:00Z")).expect("a moment");
            is_protected(&pod, now())
        };
        assert_eq!(
            ["true", "1h1m", "1h", "0s", "soon", "false"].map(of),
            [true, true, false, false, false, false]
        );
    }

    #[test]
    fn grace_decides_who_is_deleted_early_in_every_tier() {
        let pods = [
            pod("quick", &json!({"spec": {"terminationGracePeriodSeconds": 5}})),
            pod(
                "slow",
                &json!({"spec": {"terminationGracePeriodSeconds": 600, "priorityClassName": "system-node-critical"}}),
            ),
        ];
        let out = drain(&pods, Some(later(now(), Duration::from_mins(1))), now());
        assert_eq!(names(&out.evict), ["quick"]);
        assert_eq!(
            out.delete.iter().map(|(pod, grace)| (pod.name_any(), *grace)).collect::<Vec<_>>(),
            [("slow".to_owned(), 60)]
        );
    }
}
