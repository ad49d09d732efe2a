use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;

const RATES: FargateRates = FargateRates { vcpu: 0.040_48, gb: 0.004_445, storage_gb: 0.000_111 };

fn policies() -> Policies {
    let policy = |name: &str, spec: Value| {
        let object = json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec});
        Policy::of_namespace(&object.to_string()).unwrap()
    };
    let narrow = json!({"mode": "Never", "podSelector": {"matchLabels": {"app": "db"}}});
    let all = vec![policy("p", json!({"mode": "Always"})), policy("db", narrow)];
    Policies::new(all, BTreeMap::new(), "stowage").0
}

/// A pod of a Deployment.
fn pod(uid: &str, app: &str, created: u64) -> Value {
    json!({
        "metadata": {
            "name": format!("{app}-{uid}"), "uid": uid, "namespace": "shop",
            "labels": {"app": app, "pod-template-hash": "1"},
            "creationTimestamp": format!("1970-01-01T00:{created:02}:00Z"),
            "ownerReferences": [{"kind": "ReplicaSet", "name": format!("{app}-1"), "uid": "rs", "controller": true}],
        },
        "spec": {"containers": [{"name": "a"}]},
    })
}

fn with(mut pod: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    if pod.pointer(parent).is_none() {
        let (grand, name) = parent.rsplit_once('/').unwrap();
        pod.pointer_mut(grand).unwrap()[name] = json!({});
    }
    pod.pointer_mut(parent).unwrap()[key] = value;
    pod
}

#[test]
fn a_workload_is_told_with_its_pods() {
    let (mut fleet, jobs) = (Fleet::default(), Jobs::default());
    let elsewhere = with(pod("e", "web", 9), "/metadata/namespace", json!("bank"));
    for pod in [
        pod("a", "web", 1),
        with(pod("b", "web", 2), "/spec/schedulerName", json!("fargate-scheduler")),
        with(pod("c", "web", 3), "/spec/nodeName", json!("n")),
        with(pod("d", "web", 4), "/spec/schedulingGates", json!([{"name": "g"}])),
        with(pod("f", "web", 5), "/spec/hostNetwork", json!(true)),
        pod("g", "db", 1),
        elsewhere,
    ] {
        assert!(fleet.see(&pod, &jobs, Some(RATES)).is_some());
    }
    let groups = fleet.groups(&policies(), &jobs);
    let [db, web] = groups.as_slice() else { panic!("{groups:?}") };
    assert_eq!((db.workload.word().as_str(), db.policy.id.name.as_str()), ("shop/Deployment/db@1", "db"));
    assert_eq!((web.policy.id.name.as_str(), web.pod.as_str(), web.life.endless), ("p", "shop/web-f", true));
    assert_eq!(web.needs.words().collect::<Vec<_>>(), ["hostNetwork"]);
    assert_eq!(web.waiting, BTreeSet::from(["shop/web-a".to_owned(), "shop/web-f".to_owned()]));
    assert_eq!(web.on_fargate, (1, Price::from_micros(12_343)));
    fleet.gone("b");
    fleet.listed(&BTreeSet::from(["a"]));
    let groups = fleet.groups(&policies(), &jobs);
    assert_eq!((groups.len(), groups[0].waiting.len(), groups[0].on_fargate.0), (1, 1, 0));
}

/// A Job may be seen after its pods; how long they ran counts once each.
#[test]
fn young_pods_are_those_that_wait_and_that_may_be_made_anew() {
    let (mut fleet, jobs) = (Fleet::default(), Jobs::default());
    let object = json!({
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"mode": "Always", "pending": {"recreate": true}, "podSelector": {"matchLabels": {"app": "web"}}},
    });
    let policy = Policy::of_namespace(&object.to_string()).unwrap();
    let recreating = Policies::new(vec![policy], BTreeMap::new(), "stowage").0;
    let bare = with(pod("b", "web", 9), "/metadata/ownerReferences", json!([]));
    let bound = with(pod("c", "web", 9), "/spec/nodeName", json!("n"));
    for pod in [pod("a", "web", 9), bare, bound, pod("d", "web", 1), pod("e", "db", 9)] {
        fleet.see(&pod, &jobs, Some(RATES));
    }
    let young = |policies: &Policies| {
        let found = fleet.young(policies, &jobs, 9 * 60 + 10, 30);
        found.into_iter().map(|young| (young.pod, young.created)).collect::<Vec<_>>()
    };
    assert_eq!(young(&recreating), [("shop/web-a".to_owned(), 540)]);
    assert_eq!(young(&policies()), [], "no policy lets any be made anew");
}

#[test]
fn pods_of_jobs_are_known_once_their_job_is() {
    let (mut fleet, mut jobs) = (Fleet::default(), Jobs::default());
    let job = |uid: &str| {
        json!({
            "metadata": {"name": "r", "uid": uid, "ownerReferences": [
                {"kind": "CronJob", "name": "report", "uid": "c", "controller": true}]},
            "spec": {"ttlSecondsAfterFinished": 1},
        })
    };
    let run = |uid: &str, ran: u64| {
        let owner = json!([{"kind": "Job", "name": "r", "uid": format!("job-{uid}"), "controller": true}]);
        let pod = with(pod(uid, "r", 1), "/metadata/ownerReferences", owner);
        let status = json!({
            "phase": "Succeeded", "startTime": "1970-01-01T00:00:00Z",
            "containerStatuses": [{"state": {"terminated": {"finishedAt": format!("1970-01-01T00:00:{ran:02}Z")}}}],
        });
        with(pod, "/status", status)
    };
    fleet.see(&run("a", 10), &jobs, None);
    assert!(fleet.groups(&policies(), &jobs).is_empty());
    for uid in ["a", "b", "c", "d"] {
        jobs.apply(&job(&format!("job-{uid}")));
    }
    for (uid, ran) in [("b", 20), ("b", 20), ("b", 20), ("c", 30)] {
        fleet.see(&run(uid, ran), &jobs, None);
    }
    let life = |fleet: &Fleet| fleet.groups(&policies(), &jobs)[0].life;
    assert_eq!(life(&fleet), Life { observed: None, deadline: None, endless: false });
    fleet.see(&run("d", 40), &jobs, None);
    let groups = fleet.groups(&policies(), &jobs);
    assert_eq!((groups.len(), groups[0].life.observed), (1, Some(30)));
    assert!(groups[0].job.as_ref().is_some_and(|job| job.has_ttl) && groups[0].workload.is_of_jobs());
}

proptest! {
    /// The order in which pods are seen does not matter, and neither does how often.
    #[test]
    fn groups_do_not_depend_on_the_order(
        picks in prop::collection::vec((0_u8..12, 0_u8..3, 0_u8..4, 0_u64..5), 1..30),
        turn in any::<prop::sample::Index>(),
    ) {
        let mut last = BTreeMap::new();
        for (uid, app, kind, created) in picks {
            let pod = pod(&format!("u{uid}"), ["web", "db", "job"][app as usize], created);
            let pod = match kind {
                0 => pod,
                1 => with(pod, "/spec/nodeName", json!("n")),
                2 => with(pod, "/spec/schedulerName", json!("fargate-scheduler")),
                _ => with(pod, "/metadata/namespace", json!("bank")),
            };
            last.insert(uid, pod);
        }
        let jobs = Jobs::default();
        let told = |pods: &[Value]| {
            let mut fleet = Fleet::default();
            for pod in pods {
                fleet.see(pod, &jobs, Some(RATES));
            }
            format!("{:?}", fleet.groups(&policies(), &jobs))
        };
        let mut pods: Vec<Value> = last.into_values().collect();
        let first = told(&pods);
        let at = turn.index(pods.len());
        pods.rotate_left(at);
        pods.extend(pods.clone());
        prop_assert_eq!(first, told(&pods));
    }
}
