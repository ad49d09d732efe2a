use proptest::prelude::*;
use serde_json::json;

use super::*;

fn of(pod: &Value) -> Workload {
    Workload::of_pod(pod, "shop", &Jobs::default()).unwrap()
}

fn owned(kind: &str, name: &str, labels: &Value, spec: &Value) -> Value {
    json!({
        "metadata": {
            "labels": labels,
            "ownerReferences": [{"kind": kind, "name": name, "uid": format!("uid-of-{name}"), "controller": true}],
        },
        "spec": spec,
    })
}

#[test]
fn roots_are_found() {
    let spec = json!({"containers": [{"name": "a"}]});
    for (kind, name, labels, word) in [
        ("ReplicaSet", "web-5d4f", json!({"pod-template-hash": "5d4f"}), "shop/Deployment/web@5d4f"),
        ("ReplicaSet", "web-5d4f", json!({"rollouts-pod-template-hash": "5d4f"}), "shop/Rollout/web@5d4f"),
        ("StatefulSet", "db", json!({"controller-revision-hash": "db-7"}), "shop/StatefulSet/db@db-7"),
        ("DaemonSet", "log", json!({"controller-revision-hash": "9"}), "shop/DaemonSet/log@9"),
    ] {
        assert_eq!(of(&owned(kind, name, &labels, &spec)).word(), word);
    }
    for (kind, name, labels, owner) in [
        ("ReplicaSet", "web", json!({}), "shop/ReplicaSet/web@"),
        // The hash must be of this ReplicaSet: labels are anybody's to write.
        ("ReplicaSet", "web-1", json!({"pod-template-hash": "5d4f"}), "shop/ReplicaSet/web-1@"),
        ("Workflow", "w", json!({}), "shop/Workflow/w@"),
        ("Pod", "driver", json!({}), "shop/Pod/@"),
    ] {
        assert_eq!(of(&owned(kind, name, &labels, &spec)).owner_word(), owner, "{kind} {name}");
    }
    assert_eq!(of(&json!({"metadata": {"name": "alone"}})).root, Root::Bare);
    assert_eq!(of(&owned("Node", "n", &json!({}), &spec)).root, Root::Node);
    // Who does not control it is not its root; what ties it to a node does, whoever controls it.
    let loose =
        |kind: &str| json!({"metadata": {"ownerReferences": [{"kind": kind, "name": "x", "uid": "u"}]}});
    assert_eq!(of(&loose("ReplicaSet")).root, Root::Bare);
    assert_eq!(of(&loose("DaemonSet")).root, Root::DaemonSet("x".to_owned()));
}

/// A run of a `CronJob` as its controller makes it, what webhooks and the API server make of it, and another run.
#[test]
fn pods_of_jobs_are_known_by_their_job_before_and_after_admission() {
    let job = |uid: &str, name: &str, cron: bool| {
        let owner = json!([{"kind": "CronJob", "name": "report", "uid": "c", "controller": true}]);
        json!({
            "metadata": {"name": name, "uid": uid, "ownerReferences": if cron { owner } else { json!([]) }},
            "spec": {"ttlSecondsAfterFinished": 60, "template": {
                "metadata": {"labels": {"app": "report", "job-name": name, "controller-uid": uid}},
                "spec": {"containers": [{"name": "a", "image": "i"}]},
            }},
        })
    };
    let mut jobs = Jobs::default();
    jobs.apply(&job("u1", "report-1", true));
    jobs.apply(&job("u2", "report-2", true));
    // Named as a CronJob would name it, and made by hand.
    jobs.apply(&job("u3", "report-28912345", false));
    let pod = |uid: &str| {
        json!({
            "metadata": {"labels": {"app": "report"}, "ownerReferences": [
                {"kind": "Job", "name": "whatever it says", "uid": uid, "controller": true}]},
            "spec": {"containers": [{"name": "a", "image": "i"}]},
        })
    };
    let word = |pod: &Value| Workload::of_pod(pod, "shop", &jobs).map(|w| w.word());
    let fresh = word(&pod("u1")).unwrap();
    assert!(fresh.starts_with("shop/CronJob/report@"), "{fresh}");
    assert_eq!(word(&pod("u2")).as_ref(), Some(&fresh));
    assert!(word(&pod("u3")).unwrap().starts_with("shop/Job/report-28912345@"));
    assert_eq!(word(&pod("u4")), None, "nobody knows its Job");
    // What others add once Stowage was asked.
    let mut stored = pod("u1");
    stored["metadata"]["labels"]["eks.amazonaws.com/fargate-profile"] = json!("jobs");
    stored["spec"]["priorityClassName"] = json!("system-node-critical");
    stored["spec"]["priority"] = json!(2_000_001_000);
    stored["spec"]["schedulerName"] = json!("fargate-scheduler");
    stored["spec"]["containers"][0]["env"] = json!([{"name": "AWS_ROLE_ARN", "value": "arn"}]);
    stored["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "proxy", "image": "p"}));
    assert_eq!(word(&stored), Some(fresh));
}

/// EKS sets a priority class, and the webhook for permissions a volume, after Stowage was asked.
#[test]
fn a_bare_pod_is_the_same_after_other_webhooks() {
    let base = json!({
        "metadata": {"labels": {"app": "a"}},
        "spec": {"containers": [{"name": "a", "image": "i", "resources": {"requests": {"cpu": "1"}}}]},
    });
    let mut stored = base.clone();
    stored["metadata"]["name"] = json!("a-x7d2p");
    stored["metadata"]["labels"]["eks.amazonaws.com/fargate-profile"] = json!("jobs");
    stored["metadata"]["annotations"] = json!({"CapacityProvisioned": "1vCPU 2GB"});
    stored["spec"]["priorityClassName"] = json!("system-node-critical");
    stored["spec"]["priority"] = json!(2_000_001_000);
    stored["spec"]["schedulerName"] = json!("fargate-scheduler");
    stored["spec"]["nodeName"] = json!("fargate-ip-10-0-0-1");
    stored["spec"]["tolerations"] = json!([{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}]);
    stored["spec"]["volumes"] = json!([
        {"name": "kube-api-access-abcde", "projected": {}}, {"name": "aws-iam-token", "projected": {}},
    ]);
    stored["spec"]["containers"][0]["env"] = json!([{"name": "AWS_ROLE_ARN", "value": "arn"}]);
    stored["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "aws-iam-token", "mountPath": "/var"}]);
    assert_eq!(of(&base), of(&stored));
}

#[test]
fn what_decides_its_place_and_price_tells_templates_apart() {
    let base = json!({
        "metadata": {"labels": {"app": "a"}},
        "spec": {
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "1"}}}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
        },
    });
    for (pointer, value) in [
        ("/spec/containers/0/name", json!("b")),
        ("/spec/containers/0/image", json!("other")),
        ("/spec/containers/0/resources/requests/cpu", json!("2")),
        ("/spec/initContainers", json!([{"name": "a", "resources": {"requests": {"cpu": "1"}}}])),
        ("/spec/volumes/0/persistentVolumeClaim/claimName", json!("other")),
        ("/spec/nodeSelector", json!({"a": "b"})),
        (
            "/spec/affinity",
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{}, {"matchFields": [{"key": "k"}]}]}}}),
        ),
        ("/spec/hostNetwork", json!(true)),
        ("/spec/hostPID", json!(true)),
    ] {
        let mut other = base.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        other.pointer_mut(parent).unwrap()[key] = value;
        assert_ne!(of(&base).word(), of(&other).word(), "{pointer}");
    }
    let claims = |pod: &str| {
        json!({"metadata": {"name": pod}, "spec": {"volumes": [
            {"name": "v", "persistentVolumeClaim": {"claimName": format!("data-{pod}")}}]}})
    };
    assert_eq!(of(&claims("x-0")), of(&claims("x-1")));
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-zé/.-]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        let key = prop_oneof![
            prop::sample::select(vec![
                "metadata",
                "spec",
                "ownerReferences",
                "volumes",
                "labels",
                "containers",
                "resources",
                "uid",
                "name",
            ])
            .prop_map(str::to_owned),
            "[a-z]{1,4}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whatever is sent or stored is read without a panic, and twice alike.
    #[test]
    fn any_json_is_read(pod in json_value()) {
        if let Some(one) = Workload::of_pod(&pod, "shop", &Jobs::default()) {
            prop_assert!(one.word().starts_with("shop/"));
            prop_assert_eq!(Some(one), Workload::of_pod(&pod, "shop", &Jobs::default()));
        }
        let mut jobs = Jobs::default();
        jobs.apply(&pod);
        prop_assert!(jobs.len() <= 1);
        let words = crate::Needs::of_pod(&pod);
        prop_assert_eq!(words.beyond(&crate::Needs::of_pod(&pod)), None);
        crate::Sighting::of(&pod);
    }
}
