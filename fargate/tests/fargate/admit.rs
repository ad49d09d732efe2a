//! Answers to admissions: what is added, and all that is left alone.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};
use stowage_fargate::{
    Added, Admission, Answer, Cache, Caps, Full, Labels, Ledger, Left, Outcome, Policies, Policy, Workload,
    admit,
};
use stowage_pricing::fargate::Profile;

use crate::{labels, policies, policy, profile, to_fargate};

/// Everything that admissions are answered from, with a verdict for the pod of [`pod`].
struct Desk {
    policies: Policies,
    profiles: Vec<Profile>,
    added: Added,
    cache: Cache,
}

fn ruling() -> Policy {
    policy(Some("shop"), "p", json!({"mode": "WhenCheaper"}))
}

impl Desk {
    fn new() -> Self {
        let profiles = vec![profile("jobs", "shop", &[("stowage.dev/fargate", "true")])];
        let added = Added::by(&profiles);
        let mut cache = Cache::default();
        cache.put(&Workload::of_pod(&pod(), "shop", &added), to_fargate(&ruling(), "jobs", 100));
        Self { policies: policies(vec![ruling()]), profiles, added, cache }
    }

    fn answer(&self, review: &Value) -> Answer {
        self.ask(review.to_string().as_bytes(), &mut |_| Ok(()))
    }

    fn ask(
        &self,
        bytes: &[u8],
        reserve: &mut dyn FnMut(&stowage_fargate::Request<'_>) -> Result<(), Full>,
    ) -> Answer {
        let Self { policies, profiles, added, cache } = self;
        admit(bytes, &Admission { policies, profiles, added, cache, oldest: 3_600 }, 200, reserve)
    }

    fn left(&self, review: &Value) -> String {
        let mut asked = false;
        let answer = self.ask(review.to_string().as_bytes(), &mut |_| {
            asked = true;
            Ok(())
        });
        assert!(!asked, "what is left alone takes nothing: {review}");
        assert_eq!(answer.review["response"]["allowed"], true);
        assert_eq!(answer.review["response"].get("patch"), None, "{review}");
        answer.outcome.word().to_owned()
    }
}

fn pod() -> Value {
    json!({
        "metadata": {
            "generateName": "web-5d4f-",
            "labels": {"app": "web", "pod-template-hash": "5d4f"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5d4f", "controller": true}],
        },
        "spec": {"containers": [{"name": "a"}], "schedulerName": "default-scheduler"},
    })
}

fn review(pod: Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE",
            "namespace": "shop", "object": pod, "dryRun": false,
        },
    })
}

/// A pod with something else in it.
fn with(pointer: &str, value: Value) -> Value {
    let mut review = review(pod());
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    review.pointer_mut(parent).unwrap()[key] = value;
    review
}

/// The labels of a pod after the patch.
fn patched(pod: &Value, answer: &Answer) -> Labels {
    let response = &answer.review["response"];
    assert_eq!(response["patchType"], "JSONPatch");
    let ops = STANDARD.decode(response["patch"].as_str().unwrap()).unwrap();
    let mut labels: Labels =
        pod["metadata"].get("labels").map(|l| serde_json::from_value(l.clone()).unwrap()).unwrap_or_default();
    for op in serde_json::from_slice::<Vec<Value>>(&ops).unwrap() {
        assert_eq!(op["op"], "add");
        let path = op["path"].as_str().unwrap().strip_prefix("/metadata/labels").unwrap();
        match path.strip_prefix('/') {
            None => labels.extend(serde_json::from_value::<Labels>(op["value"].clone()).unwrap()),
            Some(key) => {
                let key = key.replace("~1", "/").replace("~0", "~");
                assert!(!key.contains('/') || op["path"].as_str().unwrap().contains("~1"));
                labels.insert(key, op["value"].as_str().unwrap().to_owned());
            }
        }
    }
    labels
}

#[test]
fn a_pod_gets_what_the_selector_needs_and_nothing_else() {
    let desk = Desk::new();
    let answer = desk.answer(&review(pod()));
    assert_eq!(answer.review["response"]["uid"], "u-1");
    let mut expected: Labels = serde_json::from_value(pod()["metadata"]["labels"].clone()).unwrap();
    expected.insert("stowage.dev/fargate".to_owned(), "true".to_owned());
    assert_eq!(patched(&pod(), &answer), expected);
    let Outcome::Routed { policy, workload, profile, dry_run, .. } = answer.outcome else { panic!() };
    assert_eq!((policy.word().as_str(), profile.as_str(), dry_run), ("shop/p", "jobs", false));
    assert_eq!(workload, "shop/Deployment/web@5d4f");
}

#[test]
fn a_pod_without_labels_gets_a_map_of_them() {
    let mut desk = Desk::new();
    let bare = json!({"metadata": {"name": "one"}, "spec": {"containers": [{"name": "a"}]}});
    let workload = Workload::of_pod(&bare, "shop", &desk.added);
    desk.cache.put(&workload, to_fargate(&ruling(), "jobs", 100));
    let answer = desk.answer(&review(bare.clone()));
    assert_eq!(patched(&bare, &answer), labels(&[("stowage.dev/fargate", "true")]));
}

#[test]
fn all_that_is_left_alone() {
    let desk = Desk::new();
    for (pointer, value, why) in [
        ("/request/operation", json!("UPDATE"), "OtherRequest"),
        ("/request/operation", json!("DELETE"), "OtherRequest"),
        ("/request/subResource", json!("ephemeralcontainers"), "OtherRequest"),
        ("/request/kind", json!({"group": "apps", "kind": "Deployment"}), "OtherRequest"),
        ("/request/kind", json!({"group": "example.com", "kind": "Pod"}), "OtherRequest"),
        ("/request/object", json!(null), "Malformed"),
        ("/request/object", json!([1]), "Malformed"),
        ("/request/namespace", json!(""), "Malformed"),
        ("/request/object/metadata/labels", json!(["app"]), "Malformed"),
        ("/request/object/metadata/labels", json!({"app": 7}), "Malformed"),
        ("/request/namespace", json!("bank"), "NoPolicy"),
        ("/request/object/spec/schedulerName", json!("volcano"), "OwnScheduler"),
        ("/request/object/spec/schedulerName", json!("fargate-scheduler"), "OwnScheduler"),
        ("/request/object/spec/nodeName", json!("n"), "OwnScheduler"),
        ("/request/object/metadata/labels", json!({"stowage.dev/fargate": "true"}), "AlreadyTaken"),
        (
            "/request/object/metadata/ownerReferences",
            json!([{"kind": "DaemonSet", "name": "d"}]),
            "NodeBound",
        ),
        ("/request/object/metadata/annotations", json!({"kubernetes.io/config.mirror": "h"}), "NodeBound"),
        ("/request/object/metadata/labels", json!({"pod-template-hash": "other"}), "NoVerdict"),
    ] {
        assert_eq!(desk.left(&with(pointer, value.clone())), why, "{pointer} {value}");
    }
    // The pod's own value of the label is another one, or it names another profile: nothing can be added.
    for (key, value) in [("stowage.dev/fargate", "no"), ("eks.amazonaws.com/fargate-profile", "other")] {
        let mut own = pod();
        own["metadata"]["labels"][key] = json!(value);
        assert_eq!(desk.left(&review(own)), "NoProfile");
    }
}

#[test]
fn what_was_found_must_still_hold() {
    let mut desk = Desk::new();
    let workload = Workload::of_pod(&pod(), "shop", &desk.added);
    let ask = |desk: &Desk| desk.left(&review(pod()));
    desk.policies = policies(vec![policy(Some("shop"), "p", json!({"mode": "Never"}))]);
    assert_eq!(ask(&desk), "Never");
    desk.policies = policies(vec![policy(Some("shop"), "other", json!({"mode": "WhenCheaper"}))]);
    assert_eq!(ask(&desk), "Stale");
    desk.policies =
        policies(vec![policy(Some("shop"), "p", json!({"mode": "WhenCheaper", "tolerancePercent": 5}))]);
    assert_eq!(ask(&desk), "Stale");
    // Caps are counted, not looked at by verdicts.
    desk.policies =
        policies(vec![policy(Some("shop"), "p", json!({"mode": "WhenCheaper", "caps": {"maxPods": 9}}))]);
    assert_eq!(desk.answer(&review(pod())).outcome.word(), "Routed");
    desk.cache.change(&workload, |verdict| verdict.hold(150));
    assert_eq!(ask(&desk), "Guard");
    desk.cache.change(&workload, |verdict| *verdict = to_fargate(&ruling(), "gone", 100));
    assert_eq!(ask(&desk), "NoProfile");
    let old = policy(Some("shop"), "p", json!({"mode": "WhenCheaper"}));
    let Desk { policies, profiles, added, cache } = &desk;
    let bytes = review(pod()).to_string();
    let admission = Admission { policies, profiles, added, cache, oldest: 3_600 };
    let late = admit(bytes.as_bytes(), &admission, 100 + 3_601, &mut |_| Ok(()));
    assert_eq!((late.outcome, old.version), (Outcome::Left(Left::Stale), ruling().version));
}

#[test]
fn caps_are_taken_by_pods_that_go_and_not_by_dry_runs() {
    let desk = Desk::new();
    let mut ledger = Ledger::default();
    ledger.set(&[(ruling().id, Caps { pods: Some(3), hourly: None })].into());
    let mut send = |uid: &str, dry: bool| {
        let mut one = review(pod());
        one["request"]["uid"] = json!(uid);
        one["request"]["dryRun"] = json!(dry);
        let answer = desk.ask(one.to_string().as_bytes(), &mut |asked| ledger.reserve(asked, 200));
        assert_eq!(answer.review["response"]["allowed"], true);
        (answer.outcome.word(), answer.review["response"].get("patch").is_some())
    };
    for n in 0..10 {
        assert_eq!(send(&format!("dry-{n}"), true), ("Routed", true));
    }
    let sent: Vec<_> = (0..5).map(|n| send(&format!("u-{n}"), false)).collect();
    assert_eq!(sent[..3], [("Routed", true); 3]);
    assert_eq!(sent[3..], [("CapPods", false); 2]);
    // Sent again, as webhooks are when others have changed the pod.
    assert_eq!(send("u-0", false), ("Routed", true));
    assert_eq!(send("dry", true), ("CapPods", false));
    assert_eq!(ledger.used(&ruling().id).0, 3);
}

#[test]
fn what_is_no_review_is_answered_as_well() {
    let desk = Desk::new();
    for bytes in
        [&b""[..], b"null", b"[]", b"{", b"\xff\xfe", b"{\"request\": 7}", b"{\"request\": {\"uid\": 7}}"]
    {
        let answer = desk.ask(bytes, &mut |_| panic!("takes nothing"));
        assert_eq!(answer.outcome, Outcome::Left(Left::Malformed));
        assert_eq!(answer.review["response"], json!({"uid": "", "allowed": true}));
        assert_eq!(answer.review["kind"], "AdmissionReview");
    }
    let large = format!("{{\"request\": {{\"uid\": \"u\", \"pad\": \"{}\"}}}}", "x".repeat(5 << 20));
    assert_eq!(desk.ask(large.as_bytes(), &mut |_| panic!()).outcome.word(), "Malformed");
}

#[test]
fn an_unknown_workload_is_named_so_that_somebody_looks() {
    let mut desk = Desk::new();
    desk.cache = Cache::default();
    let Outcome::Unknown(workload) = desk.answer(&review(pod())).outcome else { panic!() };
    assert_eq!(workload.word(), "shop/Deployment/web@5d4f");
}

proptest! {
    /// Any byte of a review may be another one: it is answered, allowed, and what is patched are labels.
    #[test]
    fn damaged_reviews_are_answered(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let desk = Desk::new();
        let mut bytes = review(pod()).to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        let answer = desk.ask(&bytes, &mut |_| Ok(()));
        prop_assert_eq!(&answer.review["response"]["allowed"], &json!(true));
        if let Some(patch) = answer.review["response"].get("patch") {
            let ops: Vec<Value> = serde_json::from_slice(&STANDARD.decode(patch.as_str().unwrap()).unwrap()).unwrap();
            let labels = |op: &Value| op["path"].as_str().is_some_and(|p| p.starts_with("/metadata/labels"));
            prop_assert!(ops.iter().all(labels));
        }
    }
}
