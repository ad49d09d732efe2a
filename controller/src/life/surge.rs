//! Surge first: the only pod of a Deployment leaves a node when another one is ready elsewhere, and not before.
//!
//! An eviction ends the pod first and leaves it to its owner to make another: for so long nobody serves. Where that is asked for,
//! the owner is rolled instead, as `kubectl rollout restart` does: the Deployment makes the new pod first, away from the node that
//! takes no pods any more, and ends the old one itself.

use std::time::Duration;

use clap::ValueEnum;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;

use crate::time::{later, until};

/// Annotation of pods: whether their Deployment is rolled rather than they evicted.
pub const SURGE_FIRST: &str = "stowage.dev/surge-first";

/// Annotation of a Deployment's template: the NodeClaim whose end it was last rolled for.
pub const ROLLED_FOR: &str = "stowage.dev/rolled-for";

/// A pod that has not been replaced by then is evicted after all.
pub const PATIENCE: Duration = Duration::from_mins(10);

/// Whose pods leave that way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SurgeFirst {
    /// Nobody's.
    #[default]
    Never,
    /// Those with the annotation `stowage.dev/surge-first: "true"`
    Annotated,
    /// Those of all Deployments of one replica, but for the annotation `stowage.dev/surge-first: "false"`
    SingleReplica,
}

/// What is done about a pod instead of evicting it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surge {
    /// Its Deployment is rolled.
    Roll,
    /// It was rolled: the new pod is waited for.
    Wait,
    /// Nothing: it is evicted.
    Evict,
}

/// What time there is for that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// Since when the node is drained.
    pub since: Option<Timestamp>,
    /// When EC2 takes the machine, whoever is still on it.
    pub taken: Option<Timestamp>,
    /// What the pod may need to end.
    pub grace: Duration,
}

impl Time {
    /// Whether the pod is to leave now, with or without another.
    fn is_up(self, now: Timestamp) -> bool {
        let waited = self.since.is_some_and(|since| until(since, now) >= PATIENCE);
        // Any later, and the machine would be gone before the pod has ended.
        waited || self.taken.is_some_and(|at| later(now, self.grace) >= at)
    }
}

/// Whether it is worth while to look at what owns a pod.
pub fn may_surge(pod: &Pod, whose: SurgeFirst) -> bool {
    let owned = pod
        .owner_references()
        .iter()
        .any(|owner| owner.kind == "ReplicaSet" && owner.controller == Some(true));
    let stated = pod.annotations().get(SURGE_FIRST).map(String::as_str);
    owned
        && match whose {
            SurgeFirst::Never => false,
            SurgeFirst::Annotated => stated == Some("true"),
            SurgeFirst::SingleReplica => stated != Some("false"),
        }
}

/// What to do about the pod of a Deployment whose node goes with this claim.
pub fn surge(deployment: &Deployment, claim: &str, time: Time, now: Timestamp) -> Surge {
    let spec = deployment.spec.clone().unwrap_or_default();
    if spec.replicas.unwrap_or(1) != 1 || spec.paused == Some(true) || !makes_new_first(deployment) {
        return Surge::Evict;
    }
    let rolled = spec.template.metadata.and_then(|meta| meta.annotations).unwrap_or_default();
    match (rolled.get(ROLLED_FOR).is_some_and(|of| of == claim), time.is_up(now)) {
        (_, true) => Surge::Evict,
        (true, false) => Surge::Wait,
        // It is being rolled, for whatever reason: to roll it anew would end the pod that is about to be ready.
        (false, false) if is_rolling(deployment) => Surge::Wait,
        (false, false) => Surge::Roll,
    }
}

/// Whether the pods of an older template are still being replaced.
fn is_rolling(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else { return false };
    let unseen = status.observed_generation.is_some_and(|seen| Some(seen) < deployment.metadata.generation);
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    unseen
        || status.updated_replicas.unwrap_or(0) < wanted
        || status.replicas.unwrap_or(0) > status.updated_replicas.unwrap_or(0)
}

/// Whether a Deployment of one replica makes the new pod before it ends the old one. A share is rounded up for surge, and down
/// for what may be unavailable: of one replica, any share allows one more and none less.
fn makes_new_first(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.clone()).unwrap_or_default();
    if strategy.type_.as_deref().unwrap_or("RollingUpdate") != "RollingUpdate" {
        return false;
    }
    let rolling = strategy.rolling_update.unwrap_or_default();
    let is_none = |amount: &IntOrString| match amount {
        IntOrString::Int(count) => *count == 0,
        IntOrString::String(share) => share.trim_end_matches('%') == "0",
    };
    let surges = rolling.max_surge.as_ref().is_none_or(|amount| !is_none(amount));
    let all_stay = rolling.max_unavailable.as_ref().is_none_or(|amount| match amount {
        IntOrString::Int(count) => *count == 0,
        IntOrString::String(share) => share != "100%",
    });
    surges && all_stay
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a moment")
    }

    fn deployment(spec: &Value, rolled_for: Option<&str>) -> Deployment {
        let mut object = json!({"metadata": {"name": "web"}, "spec": {
            "selector": {}, "template": {"metadata": {"annotations": {}}},
        }});
        for (key, value) in spec.as_object().expect("fields") {
            object["spec"][key] = value.clone();
        }
        if let Some(claim) = rolled_for {
            object["spec"]["template"]["metadata"]["annotations"][ROLLED_FOR] = json!(claim);
        }
        serde_json::from_value(object).expect("a Deployment")
    }

    #[test]
    fn only_what_makes_the_new_pod_first_is_rolled() {
        let now = at("2026-07-01T10:00:00Z");
        let rolling = |surge: Value, unavailable: Value| json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}});
        for (spec, expected) in [
            (json!({}), Surge::Roll),
            (json!({"replicas": 1}), Surge::Roll),
            (json!({"replicas": 2}), Surge::Evict),
            (json!({"replicas": 0}), Surge::Evict),
            (json!({"paused": true}), Surge::Evict),
            (json!({"strategy": {"type": "Recreate"}}), Surge::Evict),
            (rolling(json!("25%"), json!("25%")), Surge::Roll),
            (rolling(json!(1), json!(0)), Surge::Roll),
            (rolling(json!(0), json!(1)), Surge::Evict),
            (rolling(json!(1), json!(1)), Surge::Evict),
            (rolling(json!("0%"), json!(0)), Surge::Evict),
            (rolling(json!(1), json!("100%")), Surge::Evict),
        ] {
            assert_eq!(surge(&deployment(&spec, None), "c", Time::default(), now), expected, "{spec}");
        }
    }

    #[test]
    fn it_is_rolled_once_for_a_node_and_waited_for_a_while() {
        let time = Time { since: Some(at("2026-07-01T10:00:00Z")), ..Time::default() };
        let later = at("2026-07-01T10:09:59Z");
        let rolled = deployment(&json!({}), Some("c"));
        assert_eq!(surge(&rolled, "c", time, later), Surge::Wait);
        assert_eq!(surge(&rolled, "c", time, at("2026-07-01T10:10:00Z")), Surge::Evict);
        assert_eq!(surge(&rolled, "another", time, later), Surge::Roll);
    }

    #[test]
    fn a_pod_goes_while_it_still_has_time_to_end_before_the_machine_is_taken() {
        let time = |grace| Time {
            since: Some(at("2026-07-01T10:00:00Z")),
            taken: Some(at("2026-07-01T10:02:00Z")),
            grace: Duration::from_secs(grace),
        };
        let of = |grace, rolled_for, now: &str| {
            surge(&deployment(&json!({}), rolled_for), "c", time(grace), at(now))
        };
        assert_eq!(of(30, None, "2026-07-01T10:00:01Z"), Surge::Roll, "a minute may be enough");
        assert_eq!(of(30, Some("c"), "2026-07-01T10:01:29Z"), Surge::Wait);
        assert_eq!(of(30, Some("c"), "2026-07-01T10:01:30Z"), Surge::Evict);
        assert_eq!(of(300, None, "2026-07-01T10:00:01Z"), Surge::Evict, "it needs longer than there is");
        assert_eq!(of(0, Some("c"), "2026-07-01T10:03:00Z"), Surge::Evict, "the machine is taken by now");
    }

    #[test]
    fn what_is_being_rolled_is_not_rolled_anew() {
        let time = Time { since: Some(at("2026-07-01T10:00:00Z")), ..Time::default() };
        let of = |generation: i64, status: Value| {
            let mut of = deployment(&json!({}), Some("c"));
            of.metadata.generation = Some(generation);
            of.status = serde_json::from_value(status).expect("a status");
            surge(&of, "another", time, at("2026-07-01T10:00:09Z"))
        };
        let status = |seen: i64, all: i32, updated: i32| json!({"observedGeneration": seen, "replicas": all, "updatedReplicas": updated});
        assert_eq!(of(2, status(2, 1, 1)), Surge::Roll);
        assert_eq!(of(3, status(2, 1, 1)), Surge::Wait, "it has not been seen yet");
        assert_eq!(of(2, status(2, 2, 1)), Surge::Wait, "the old pod is still there");
        assert_eq!(of(2, status(2, 1, 0)), Surge::Wait);
    }

    #[test]
    fn whose_pods_surge_is_stated() {
        let pod = |owner: &str, stated: Option<&str>| -> Pod {
            let annotations = stated.map(|stated| json!({(SURGE_FIRST): stated}));
            serde_json::from_value(json!({"metadata": {
                "name": "web", "annotations": annotations,
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": owner, "name": "o", "uid": "u", "controller": true}],
            }}))
            .expect("a pod")
        };
        for (owner, stated, expected) in [
            ("ReplicaSet", None, [false, false, true]),
            ("ReplicaSet", Some("true"), [false, true, true]),
            ("ReplicaSet", Some("false"), [false, false, false]),
            ("StatefulSet", Some("true"), [false, false, false]),
        ] {
            let all = [SurgeFirst::Never, SurgeFirst::Annotated, SurgeFirst::SingleReplica];
            let found = all.map(|whose| may_surge(&pod(owner, stated), whose));
            assert_eq!(found, expected, "{owner} {stated:?}");
        }
    }
}
