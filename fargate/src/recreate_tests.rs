use serde_json::json;
use stowage_cluster::{Index, Kind};
use stowage_pricing::fargate::{Profile, ProfileSelector};

use super::*;
use crate::policy::Labels;

fn pod(json: &str) -> Pod {
    let mut index = Index::default();
    index.apply(Kind::Pod, json).unwrap();
    index.snapshot().pods[0].as_ref().clone()
}

fn owner(kind: &str) -> Owner {
    let kind = kind.to_owned();
    Owner { kind, controls: true, same: true, wants: Some(3), has: 3, ..Owner::default() }
}

/// A policy with a profile of its own, as EKS was not asked.
fn policy() -> Policy {
    let profile = json!({"name": "jobs", "selectors": [{"namespace": "default", "labels": {"f": "t"}}]});
    let spec = json!({"mode": "Always", "profiles": [profile]});
    Policy::of_namespace(&json!({"metadata": {"name": "p"}, "spec": spec}).to_string()).unwrap()
}

fn to_fargate<'a>(policy: &'a Policy, profiles: &'a Profiles) -> Purpose<'a> {
    Purpose::ToFargate { policy, profiles, profile: "jobs", cap_has_room: true, webhook_answers: true }
}

fn for_fargate(pod: &Pod, owner: Option<&Owner>) -> Result<(), Stays> {
    may_recreate(pod, owner, to_fargate(&policy(), &Profiles::unknown()))
}

#[test]
fn only_what_is_made_anew_for_certain() {
    let waiting = pod(r#"{"metadata": {"name": "web-1"}}"#);
    let stays = |of: &Owner| for_fargate(&waiting, Some(of)).err();
    for kind in ["ReplicaSet", "ReplicationController", "StatefulSet"] {
        assert_eq!(stays(&owner(kind)), None, "{kind}");
    }
    for kind in ["Job", "DaemonSet", "Workflow", "Pod", ""] {
        assert_eq!(stays(&owner(kind)), Some(Stays::NotRemade), "{kind}");
    }
    assert_eq!(for_fargate(&waiting, None), Err(Stays::NoOwner));
    let set = owner("ReplicaSet");
    assert_eq!(stays(&Owner { same: false, ..set.clone() }), Some(Stays::NoOwner));
    assert_eq!(stays(&Owner { controls: false, ..set.clone() }), Some(Stays::NoOwner));
    assert_eq!(stays(&Owner { terminating: true, ..set.clone() }), Some(Stays::OwnerGoes));
    assert_eq!(stays(&Owner { wants: Some(2), ..set.clone() }), Some(Stays::ScaledDown));
    assert_eq!(stays(&Owner { wants: Some(0), has: 0, ..set.clone() }), Some(Stays::ScaledDown));
    assert_eq!(stays(&Owner { wants: None, ..set }), Some(Stays::NoOwner));
    // Number 1 is the last that a set of two from 0 makes, and below the first of one from 2.
    let set = owner("StatefulSet");
    assert_eq!(stays(&Owner { wants: Some(2), has: 2, ..set.clone() }), None);
    assert_eq!(stays(&Owner { wants: Some(1), has: 1, ..set.clone() }), Some(Stays::ScaledDown));
    assert_eq!(stays(&Owner { update_awaited: true, ..set.clone() }), Some(Stays::UpdateAwaited));
    assert_eq!(stays(&Owner { first_ordinal: 2, ..set }), Some(Stays::ScaledDown));
}

#[test]
fn only_pods_that_wait() {
    for (json, why) in [
        (r#"{"metadata": {"name": "a"}, "spec": {"nodeName": "n"}}"#, Stays::NotWaiting),
        (r#"{"metadata": {"name": "a"}, "status": {"phase": "Running"}}"#, Stays::NotWaiting),
        (r#"{"metadata": {"name": "a"}, "status": {"phase": "Failed"}}"#, Stays::NotWaiting),
        (r#"{"metadata": {"name": "a"}, "spec": {"schedulingGates": [{"name": "g"}]}}"#, Stays::NotWaiting),
        (r#"{"metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"}}"#, Stays::Terminating),
        (r#"{"metadata": {"name": "a"}, "status": {"nominatedNodeName": "n"}}"#, Stays::Nominated),
    ] {
        assert_eq!(for_fargate(&pod(json), Some(&owner("ReplicaSet"))), Err(why), "{json}");
    }
}

/// The next pod would be as this one, and be deleted as well.
#[test]
fn only_where_the_next_one_gets_where_this_one_did_not() {
    let (policy, unknown) = (policy(), Profiles::unknown());
    let set = owner("ReplicaSet");
    let may = |json: &str, purpose| may_recreate(&pod(json), Some(&set), purpose);
    let plain = r#"{"metadata": {"name": "a"}, "spec": {"schedulerName": "default-scheduler"}}"#;
    let fargate = r#"{"metadata": {"name": "a"}, "spec": {"schedulerName": "fargate-scheduler"}}"#;
    let volcano = r#"{"metadata": {"name": "a"}, "spec": {"schedulerName": "volcano"}}"#;
    let labelled = r#"{"metadata": {"name": "a", "labels": {"f": "t"}}}"#;
    let contrary = r#"{"metadata": {"name": "a", "labels": {"f": "no"}}}"#;
    let there = || to_fargate(&policy, &unknown);
    assert_eq!((may(plain, there()), may(plain, Purpose::Back)), (Ok(()), Err(Stays::OtherScheduler)));
    assert_eq!((may(fargate, there()), may(fargate, Purpose::Back)), (Err(Stays::OtherScheduler), Ok(())));
    assert_eq!(may(volcano, there()), Err(Stays::OtherScheduler));
    assert_eq!(may(volcano, Purpose::Back), Err(Stays::OtherScheduler));
    assert_eq!(may(labelled, there()), Err(Stays::NotTaken));
    assert_eq!(may(contrary, there()), Err(Stays::NoProfile));
    let with = |profiles, profile, cap_has_room, webhook_answers| Purpose::ToFargate {
        policy: &policy,
        profiles,
        profile,
        cap_has_room,
        webhook_answers,
    };
    assert_eq!(may(plain, with(&unknown, "gone", true, true)), Err(Stays::NoProfile));
    assert_eq!(may(plain, with(&unknown, "jobs", false, true)), Err(Stays::CapFull));
    assert_eq!(may(plain, with(&unknown, "jobs", true, false)), Err(Stays::NoWebhook));
    // EKS was asked and has it, or has none at all.
    let selectors = vec![ProfileSelector {
        namespace: "default".to_owned(),
        labels: Labels::from([("f".to_owned(), "t".to_owned())]),
    }];
    let known = Profiles::of_eks(vec![Profile { name: "jobs".to_owned(), selectors, subnets: Vec::new() }]);
    assert_eq!(may(plain, with(&known, "jobs", true, true)), Ok(()));
    assert_eq!(may(plain, with(&Profiles::of_eks(Vec::new()), "jobs", true, true)), Err(Stays::NoProfile));
}
