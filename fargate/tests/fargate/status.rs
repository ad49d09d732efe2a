//! What a policy says of itself.

use serde_json::json;
use stowage_fargate::{
    Facts, Left, Outcome, Overruled, Policy, Profiles, Refusals, Root, Verdict, Workload, status,
};
use stowage_solver::Price;

use crate::{id, labels, policy, profile, to_fargate};

fn own() -> Policy {
    policy(Some("shop"), "p", json!({"mode": "WhenCheaper"}))
}

#[test]
fn a_status_tells_what_is_routed_what_is_not_and_what_is_wrong() {
    let own = own();
    let held: Verdict = to_fargate(&own, "jobs", 0);
    let other = to_fargate(&policy(None, "q", json!({"mode": "Always"})), "jobs", 0);
    let verdicts = [
        ("shop/Deployment/web@1", &held, true),
        ("shop/Deployment/x@1", &held, true),
        ("shop/Deployment/routed@1", &held, false),
        ("bank/Deployment/y@1", &other, true),
    ];
    let mut refusals = Refusals::default();
    let root = Root::Controller("Deployment".to_owned(), "big".to_owned());
    let workload = Workload { namespace: "shop".to_owned(), root, template: "1".to_owned() };
    let full = |why| Outcome::Refused { why, policy: own.id.clone(), workload: Some(workload.clone()) };
    refusals.note(&full(Left::CapPods), 0);
    // What the verdicts say is not counted twice.
    refusals.note(&full(Left::Guard), 0);
    let (pod, profiles) = (labels(&[("app", "web")]), Profiles::of_eks(vec![profile("jobs", "bank", &[])]));
    let overruled = [Overruled { policy: own.id.clone(), by: id(None, "q"), pods: 2, contradicts: true }];
    let facts = Facts {
        policy: Ok(&own),
        profiles: &profiles,
        pods: &[("shop", &pod)],
        used: (3, Price::from_micros(37_029)),
        overruled: &overruled,
        refusals: &refusals,
    };
    let one = status(&facts, &own.id, verdicts.into_iter());
    assert_eq!((one.routed_pods, one.hourly_cost.as_str()), (3, "0.037029"));
    let refused: Vec<_> = one.refused.iter().map(|r| (r.reason, r.workloads)).collect();
    assert_eq!(refused, [("CapPods", 1), ("Guard", 2)]);
    assert_eq!(one.refused[0].example, "shop/Deployment/big");
    let said = "shop/Deployment/web@1: held on nodes, as Fargate did not start its pods in time; Fargate, as 0.25 vCPU";
    assert!(one.refused[1].example.starts_with(said), "{}", one.refused[1].example);
    let said: Vec<_> = one.aspects.iter().map(|a| (a.kind, a.holds, a.reason)).collect();
    assert_eq!(
        said,
        [
            ("ValidationSucceeded", Some(true), "ValidationSucceeded"),
            ("ProfileFound", Some(false), "NoProfile"),
            ("Conflict", Some(true), "Contradicted"),
        ]
    );
    let message = &one.aspects[1].message;
    assert!(message.contains(r#"{namespace: "shop", labels: {"stowage.dev/fargate": "true"}}"#), "{message}");
    let written = serde_json::to_value(&one).unwrap();
    assert_eq!((&written["routedPods"], &written["hourlyCost"]), (&json!(3), &json!("0.037029")));
    // And when all is well.
    let profiles = Profiles::of_eks(vec![profile("jobs", "sh*", &[])]);
    let refusals = Refusals::default();
    let well = Facts { profiles: &profiles, overruled: &[], refusals: &refusals, ..facts };
    let well = status(&well, &own.id, std::iter::empty());
    assert_eq!(well.aspects.map(|a| a.holds), [Some(true), Some(true), Some(false)]);
    assert!(well.refused.is_empty());
}

/// That EKS has no profile is not the same as that nobody has asked.
#[test]
fn what_is_known_of_profiles_is_told_apart() {
    let refusals = Refusals::default();
    let found = |policy: &Policy, profiles: &Profiles| {
        let (policy, overruled, used) = (Ok(policy), &[][..], (0, Price::ZERO));
        let facts = Facts { policy, profiles, pods: &[], used, overruled, refusals: &refusals };
        let [_, found, _] = status(&facts, &id(Some("shop"), "p"), std::iter::empty()).aspects;
        (found.holds, found.reason)
    };
    let stated = json!([{"name": "jobs", "selectors": [{"namespace": "shop"}]}]);
    let stated = policy(Some("shop"), "p", json!({"mode": "Always", "profiles": stated}));
    let (unknown, none) = (Profiles::unknown(), Profiles::of_eks(vec![]));
    assert_eq!(found(&own(), &unknown), (None, "NotAsked"));
    assert_eq!(found(&own(), &none), (Some(false), "NoProfile"));
    assert_eq!(found(&stated, &unknown), (Some(true), "ProfileFound"));
    assert_eq!(found(&stated, &none), (Some(false), "NoSuchProfile"));
    let has = Profiles::of_eks(vec![profile("jobs", "shop", &[])]);
    assert_eq!(found(&stated, &has), (Some(true), "ProfileFound"));
}
