//! Answers to admissions: what is added, and all that is left alone.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};
use stowage_cluster::{Index, Kind};
use stowage_fargate::{
    Admission, Answer, Cache, Concerns, Full, Jobs, Labels, Ledger, Left, Outcome, Policies, Policy,
    Profiles, Request, Reserve, Verdict, Workload, admit,
};
use stowage_pricing::FargateRates;
use stowage_solver::Price;

use crate::{id, labels, policies, policy, profile, to_fargate};

/// us-east-1, 2026.
const RATES: FargateRates = FargateRates { vcpu: 0.040_48, gb: 0.004_445, storage_gb: 0.000_111 };

/// Everything that admissions are answered from, with a verdict for the pod of [`pod`].
struct Desk {
    policies: Policies,
    profiles: Profiles,
    jobs: Jobs,
    concerns: Concerns,
    cache: Cache,
    rates: Option<FargateRates>,
}

fn ruling() -> Policy {
    policy(Some("shop"), "p", json!({"mode": "WhenCheaper"}))
}

impl Desk {
    fn new() -> Self {
        let mut this = Self {
            policies: policies(vec![ruling()]),
            profiles: Profiles::of_eks(vec![profile("jobs", "shop", &[("stowage.dev/fargate", "true")])]),
            jobs: Jobs::default(),
            concerns: Concerns::default(),
            cache: Cache::default(),
            rates: Some(RATES),
        };
        this.put(&pod(), to_fargate(&ruling(), "jobs", 100));
        this
    }

    fn workload(&self, pod: &Value) -> Workload {
        Workload::of_pod(pod, "shop", &self.jobs).unwrap()
    }

    fn put(&mut self, pod: &Value, verdict: Verdict) {
        self.cache.put(&self.workload(pod), verdict);
    }

    fn answer(&self, review: &Value) -> Answer {
        self.ask(review.to_string().as_bytes(), &mut |_| Ok(()))
    }

    fn ask(&self, bytes: &[u8], reserve: Reserve<'_>) -> Answer {
        let Self { policies, profiles, jobs, concerns, cache, rates } = self;
        let rates = *rates;
        admit(
            bytes,
            &Admission { policies, profiles, jobs, concerns, cache, rates, oldest: 3_600 },
            200,
            reserve,
        )
    }

    /// What is asked of the ledger for a pod that goes.
    fn asked(&self, review: &Value) -> Request {
        let mut asked = None;
        let answer = self.ask(review.to_string().as_bytes(), &mut |request| {
            asked = Some(request.clone());
            Ok(())
        });
        assert_eq!(answer.outcome.word(), "Routed");
        asked.unwrap()
    }

    fn left(&self, review: &Value) -> String {
        let mut asked = false;
        let answer = self.ask(review.to_string().as_bytes(), &mut |request| {
            // What goes by itself is counted, and not granted.
            asked |= !request.by_itself;
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
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5d4f", "uid": "rs", "controller": true}],
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
    assert_eq!(workload.word(), "shop/Deployment/web@5d4f");
}

#[test]
fn a_pod_without_labels_gets_a_map_of_them() {
    let mut desk = Desk::new();
    let bare = json!({"metadata": {"name": "one"}, "spec": {"containers": [{"name": "a"}]}});
    desk.put(&bare, to_fargate(&ruling(), "jobs", 100));
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
        ("/request/object/metadata/ownerReferences", json!([]), "NoVerdict"),
        (
            "/request/object/metadata/ownerReferences",
            json!([{"kind": "Job", "name": "j", "uid": "nobody knows", "controller": true}]),
            "UnknownJob",
        ),
        ("/request/uid", json!(""), "Malformed"),
        ("/request/object/spec/hostNetwork", json!(true), "Differs"),
        ("/request/object/spec/nodeSelector", json!({"disk": "ssd"}), "Differs"),
        (
            "/request/object/spec/containers",
            json!([{"name": "a", "resources": {"requests": {"cpu": "17"}}}]),
            "NoPrice",
        ),
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
    let ask = |desk: &Desk| desk.left(&review(pod()));
    desk.policies = policies(vec![policy(Some("shop"), "p", json!({"mode": "Never"}))]);
    assert_eq!(ask(&desk), "Never");
    let wrong = json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": {"mode": "Nevr"}}).to_string();
    let refusing = Policy::of_namespace(&wrong).unwrap_err().refusing.unwrap();
    desk.policies = policies(vec![*refusing, policy(None, "wide", json!({"mode": "Always"}))]);
    assert_eq!(ask(&desk), "InvalidPolicy");
    desk.policies = policies(vec![policy(Some("shop"), "other", json!({"mode": "WhenCheaper"}))]);
    assert_eq!(ask(&desk), "Stale");
    desk.policies =
        policies(vec![policy(Some("shop"), "p", json!({"mode": "WhenCheaper", "tolerancePercent": 5}))]);
    assert_eq!(ask(&desk), "Stale");
    // Caps are counted, not looked at by verdicts.
    desk.policies =
        policies(vec![policy(Some("shop"), "p", json!({"mode": "WhenCheaper", "caps": {"maxPods": 9}}))]);
    assert_eq!(desk.answer(&review(pod())).outcome.word(), "Routed");
    desk.rates = None;
    assert_eq!(ask(&desk), "NoPrice");
    desk.rates = Some(RATES);
    desk.put(&pod(), to_fargate(&ruling(), "gone", 100));
    assert_eq!(ask(&desk), "NoProfile");
    desk.put(&pod(), Verdict { looked: 0, ..to_fargate(&ruling(), "jobs", 100) });
    let Desk { policies, profiles, jobs, concerns, cache, rates } = &desk;
    let bytes = review(pod()).to_string();
    let admission = Admission { policies, profiles, jobs, concerns, cache, rates: *rates, oldest: 3_600 };
    let late = admit(bytes.as_bytes(), &admission, 3_601, &mut |_| Ok(()));
    assert!(matches!(late.outcome, Outcome::Refused { why: Left::Stale, .. }), "{:?}", late.outcome);
    assert!(late.outcome.to_look_at().is_some());
}

/// A rollout makes a template that nobody has looked at: it goes where the last one went, if it is no other pod than that.
#[test]
fn a_new_template_goes_where_the_latest_of_its_owner_went() {
    let mut desk = Desk::new();
    let next = |cpu: &str| {
        let mut next = pod();
        next["metadata"]["generateName"] = json!("web-77aa-");
        next["metadata"]["labels"]["pod-template-hash"] = json!("77aa");
        next["metadata"]["ownerReferences"][0]["name"] = json!("web-77aa");
        next["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}});
        next
    };
    assert_eq!(desk.answer(&review(next("250m"))).outcome.word(), "Routed");
    // Dearer, or in need of more: somebody has to look first.
    assert_eq!(desk.left(&review(next("300m"))), "Differs");
    let mut bound = next("250m");
    bound["spec"]["volumes"] = json!([{"name": "v", "hostPath": {"path": "/"}}]);
    let answer = desk.answer(&review(bound));
    assert_eq!(answer.outcome.to_look_at().unwrap().word(), "shop/Deployment/web@77aa");
    // The template that was looked at may cost more than then: it was compared with nodes as it is.
    let mut same = pod();
    same["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "300m"}});
    assert_eq!(desk.answer(&review(same)).outcome.word(), "Routed");
    // A load balancer finds such pods by their nodes since then.
    let mut index = Index::default();
    let service = json!({"metadata": {"name": "s", "namespace": "shop"}, "spec": {"type": "LoadBalancer", "selector": {"app": "web"}}});
    index.apply(Kind::Service, &service.to_string()).unwrap();
    desk.concerns = Concerns::of(&index.snapshot());
    assert_eq!(desk.left(&review(next("250m"))), "Differs");
    desk.concerns = Concerns::default();
    // Of another owner, or a verdict for nodes: nothing to follow.
    let mut other = next("250m");
    other["metadata"]["ownerReferences"][0]["name"] = json!("other-77aa");
    assert_eq!(desk.left(&review(other)), "NoVerdict");
    desk.put(&pod(), Verdict { side: stowage_fargate::Side::Ec2, ..to_fargate(&ruling(), "jobs", 100) });
    assert_eq!(
        (desk.left(&review(next("250m"))), desk.left(&review(pod()))),
        ("NoVerdict".into(), "Nodes".into())
    );
}

/// `kubectl rollout restart` while Fargate has no capacity.
#[test]
fn a_hold_is_of_all_templates() {
    let mut desk = Desk::new();
    let mut next = pod();
    next["metadata"]["labels"]["pod-template-hash"] = json!("77aa");
    next["metadata"]["ownerReferences"][0]["name"] = json!("web-77aa");
    assert_eq!(desk.answer(&review(next.clone())).outcome.word(), "Routed");
    let workload = desk.workload(&pod());
    desk.cache.hold(&workload, 150);
    assert_eq!((desk.left(&review(pod())), desk.left(&review(next))), ("Guard".into(), "Guard".into()));
}

#[test]
fn pods_of_jobs_go_by_what_their_job_says() {
    let mut desk = Desk::new();
    let job =
        |ttl: Value| json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"ttlSecondsAfterFinished": ttl}});
    let mut run = pod();
    run["metadata"]["ownerReferences"] =
        json!([{"kind": "Job", "name": "j", "uid": "u", "controller": true}]);
    desk.jobs.apply(&job(json!(60)));
    desk.put(&run, to_fargate(&ruling(), "jobs", 100));
    assert_eq!(desk.answer(&review(run.clone())).outcome.word(), "Routed");
    desk.jobs.apply(&job(json!(null)));
    assert_eq!(desk.left(&review(run.clone())), "JobWithoutTTL");
    // Unless the policy lets such Jobs go.
    let lenient = policy(Some("shop"), "p", json!({"mode": "WhenCheaper", "neverRoute": []}));
    desk.put(&run, to_fargate(&lenient, "jobs", 100));
    desk.policies = policies(vec![lenient]);
    assert_eq!(desk.answer(&review(run)).outcome.word(), "Routed");
}

/// What a team states of its own namespace is for its own pods.
#[test]
fn profiles_that_a_policy_states_are_for_its_own_pods_alone() {
    let mut desk = Desk::new();
    desk.profiles = Profiles::unknown();
    let stating = |namespace: &str, of: &str, key: &str| {
        let profile = json!({"name": "jobs", "selectors": [{"namespace": of, "labels": {key: "true"}}]});
        policy(Some(namespace), "p", json!({"mode": "WhenCheaper", "profiles": [profile]}))
    };
    // One that would take everything, by a policy of the bank.
    let mut greedy = stating("bank", "*", "x");
    greedy.profiles[0].selectors[0].labels.clear();
    let own = stating("shop", "shop", "stowage.dev/fargate");
    desk.put(&pod(), to_fargate(&own, "jobs", 100));
    desk.policies = policies(vec![own, greedy]);
    assert_eq!(desk.answer(&review(pod())).outcome.word(), "Routed");
    // EKS was asked, and has none: what is stated is not there.
    desk.profiles = Profiles::of_eks(vec![]);
    assert_eq!(desk.left(&review(pod())), "NoProfile");
}

#[test]
fn caps_are_asked_for_the_pod_as_it_is() {
    let mut desk = Desk::new();
    let sized =
        |cpu: &str| with("/request/object/spec/containers/0/resources", json!({"requests": {"cpu": cpu}}));
    let asked = desk.asked(&sized("1"));
    assert_eq!((asked.ticket.as_str(), &asked.policy), ("u-1", &ruling().id));
    let key = (asked.pod.namespace.as_str(), asked.pod.controller.as_str(), asked.pod.name.as_str());
    assert_eq!(key, ("shop", "rs", "web-5d4f-"));
    assert_eq!(asked.added, labels(&[("stowage.dev/fargate", "true")]));
    // A vCPU and 2 GB: more than what was looked at. And no less than that, as others may add to the pod yet.
    assert_eq!(asked.price, Price::from_micros(49_370));
    assert_eq!(desk.asked(&sized("100m")).price, Price::from_micros(12_343));
    let mut dearer = to_fargate(&ruling(), "jobs", 100);
    dearer.found.target.as_mut().unwrap().price = Price::from_micros(20_000);
    desk.put(&pod(), dearer);
    assert_eq!(desk.asked(&sized("100m")).price, Price::from_micros(20_000));
    let sent: Request = serde_json::from_str(&serde_json::to_string(&asked).unwrap()).unwrap();
    assert_eq!(sent, asked);
    // One that goes by itself cannot be refused, and counts.
    let mut counted = Vec::new();
    let own = with("/request/object/metadata/labels", json!({"stowage.dev/fargate": "true"}));
    let answer = desk.ask(own.to_string().as_bytes(), &mut |request| {
        counted.push((request.by_itself, request.price.micros()));
        Err(Full::Pods)
    });
    assert_eq!((answer.outcome.word(), counted), ("AlreadyTaken", vec![(true, 12_343)]));
    // Any doubt is a refusal.
    for (full, why) in [
        (Full::Pods, "CapPods"),
        (Full::Cost, "CapCost"),
        (Full::NotLeading, "CapUnsure"),
        (Full::Settling, "CapUnsure"),
    ] {
        let answer = desk.ask(review(pod()).to_string().as_bytes(), &mut |_| Err(full));
        assert_eq!((answer.outcome.word(), answer.review["response"].get("patch")), (why, None));
    }
    desk.cache = Cache::default();
    assert_eq!(desk.left(&review(pod())), "NoVerdict");
}

#[test]
fn caps_are_taken_by_pods_that_go_and_not_by_dry_runs() {
    let mut desk = Desk::new();
    desk.policies =
        policies(vec![policy(Some("shop"), "p", json!({"mode": "WhenCheaper", "caps": {"maxPods": 3}}))]);
    let mut ledger = Ledger::take_over(None, &desk.policies, 0);
    ledger.lead(1_000);
    ledger.expire(150);
    let mut send = |uid: &str, dry: bool| {
        let mut one = review(pod());
        one["request"]["uid"] = json!(uid);
        one["request"]["dryRun"] = json!(dry);
        while let Some(levels) = ledger.to_write() {
            ledger.wrote(&levels);
        }
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
    // Sent again with the same uid, as by a follower that has not heard.
    assert_eq!(send("u-0", false), ("Routed", true));
    assert_eq!(send("dry", true), ("CapPods", false));
    assert_eq!(ledger.used(&id(Some("shop"), "p")).0, 3);
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
    let outcome = desk.answer(&review(pod())).outcome;
    assert_eq!(outcome.word(), "NoVerdict");
    assert_eq!(outcome.to_look_at().unwrap().word(), "shop/Deployment/web@5d4f");
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
