//! What a policy says of itself.

use serde_json::json;
use stowage_fargate::{Facts, Overruled, Verdict, Why, status};
use stowage_solver::Price;

use crate::{id, labels, policy, profile, to_fargate};

#[test]
fn a_status_tells_what_is_routed_what_is_not_and_what_is_wrong() {
    let own = policy(Some("shop"), "p", json!({"mode": "WhenCheaper"}));
    let mut kept: Verdict = to_fargate(&own, "jobs", 0);
    kept.hold(5);
    let other = to_fargate(&policy(None, "q", json!({"mode": "Always"})), "jobs", 0);
    let verdicts =
        [("shop/Deployment/web@1", &kept), ("shop/Deployment/x@1", &kept), ("bank/Deployment/y@1", &other)];
    let (pod, profiles) = (labels(&[("app", "web")]), [profile("jobs", "bank", &[])]);
    let overruled = [Overruled { policy: own.id.clone(), by: id(None, "q"), pods: 2, contradicts: true }];
    let facts = Facts {
        policy: Ok(&own),
        profiles: &profiles,
        pods: &[("shop", &pod)],
        used: (3, Price::from_micros(37_029)),
        overruled: &overruled,
    };
    let one = status(&facts, &own.id, verdicts.into_iter());
    assert_eq!((one.routed_pods, one.hourly_cost.as_str()), (3, "0.037029"));
    let [refused] = one.refused.as_slice() else { panic!("{one:?}") };
    assert_eq!((refused.reason, refused.workloads), (Why::Guard.word(), 2));
    assert!(refused.example.starts_with("shop/Deployment/web@1: nodes; Fargate would be 0.25 vCPU"));
    let said: Vec<_> = one.aspects.iter().map(|a| (a.kind, a.holds, a.reason)).collect();
    assert_eq!(
        said,
        [
            ("ValidationSucceeded", true, "ValidationSucceeded"),
            ("ProfileFound", false, "NoProfile"),
            ("Conflict", true, "Contradicted"),
        ]
    );
    let message = &one.aspects[1].message;
    assert!(message.contains(r#"{namespace: "shop", labels: {"stowage.dev/fargate": "true"}}"#), "{message}");
    let written = serde_json::to_value(&one).unwrap();
    assert_eq!((&written["routedPods"], &written["hourlyCost"]), (&json!(3), &json!("0.037029")));
    // And when all is well.
    let profiles = [profile("jobs", "sh*", &[])];
    let well = status(&Facts { profiles: &profiles, overruled: &[], ..facts }, &own.id, std::iter::empty());
    assert_eq!(well.aspects.map(|a| a.holds), [true, true, false]);
    assert!(well.refused.is_empty());
}
