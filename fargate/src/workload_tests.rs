use proptest::prelude::*;
use serde_json::json;

use super::*;

fn of(pod: &Value) -> Workload {
    Workload::of_pod(pod, "shop", &Added::default())
}

fn owned(kind: &str, name: &str, labels: &Value, spec: &Value) -> Value {
    json!({
        "metadata": {
            "labels": labels,
            "ownerReferences": [{"kind": kind, "name": name, "controller": true}],
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
        ("Job", "report-28912345", json!({}), "shop/CronJob/report@"),
        ("Job", "report-2024", json!({}), "shop/Job/report-2024@"),
        ("Job", "-28912345", json!({}), "shop/Job/-28912345@"),
        ("Workflow", "w", json!({}), "shop/Workflow/w@"),
        ("Pod", "driver", json!({}), "shop/Pod/@"),
    ] {
        assert_eq!(of(&owned(kind, name, &labels, &spec)).owner_word(), owner, "{kind} {name}");
    }
    assert_eq!(of(&json!({"metadata": {"name": "alone"}})).root, Root::Bare);
    assert_eq!(of(&owned("Node", "n", &json!({}), &spec)).root, Root::Node);
}

/// A run of a `CronJob` as its controller makes it, and what the API server has made of it.
#[test]
fn runs_of_a_cron_job_share_a_template_before_and_after_admission() {
    let fresh = |run: &str| {
        owned(
            "Job",
            &format!("report-{run}"),
            &json!({"app": "report", "job-name": format!("report-{run}"), "controller-uid": run}),
            &json!({
                "containers": [{"name": "a", "image": "i", "resources": {"requests": {"cpu": "1"}}}],
                "restartPolicy": "Never",
            }),
        )
    };
    let admitted = json!({
        "metadata": {
            "name": "report-28912346-x7d2p",
            "labels": {
                "app": "report", "job-name": "report-28912346", "controller-uid": "u",
                "batch.kubernetes.io/job-name": "report-28912346",
                "eks.amazonaws.com/fargate-profile": "jobs", "stowage.dev/fargate": "true",
            },
            "ownerReferences": [{"kind": "Job", "name": "report-28912346", "controller": true}],
        },
        "spec": {
            "nodeName": "n", "schedulerName": "fargate-scheduler", "serviceAccount": "default",
            "priority": 0, "preemptionPolicy": "PreemptLowerPriority",
            "restartPolicy": "Never",
            "containers": [{
                "image": "i", "name": "a", "resources": {"requests": {"cpu": "1"}},
                "volumeMounts": [{"name": "kube-api-access-abcde", "mountPath": "/var"}],
            }],
            "volumes": [{"name": "kube-api-access-abcde", "projected": {}}],
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "tolerationSeconds": 300},
            ],
        },
    });
    let profile = Profile {
        selectors: vec![stowage_pricing::fargate::ProfileSelector {
            namespace: "*".to_owned(),
            labels: [("stowage.dev/*".to_owned(), "true".to_owned())].into(),
        }],
        ..Profile::default()
    };
    let added = Added::by([&profile]);
    let word = |pod: &Value| Workload::of_pod(pod, "shop", &added).word();
    assert_eq!(word(&fresh("28912345")), word(&fresh("28912346")));
    assert_eq!(word(&fresh("28912345")), word(&admitted));
}

#[test]
fn what_matters_tells_templates_apart() {
    let base = json!({
        "metadata": {"labels": {"app": "a"}},
        "spec": {
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "1"}}}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
        },
    });
    for (pointer, value) in [
        ("/metadata/labels/app", json!("b")),
        ("/spec/containers/0/resources/requests/cpu", json!("2")),
        ("/spec/containers/0/image", json!("other")),
        ("/spec/volumes/0/persistentVolumeClaim/claimName", json!("other")),
        ("/spec/nodeSelector", json!({"a": "b"})),
        ("/spec/activeDeadlineSeconds", json!(60)),
        ("/spec/hostNetwork", json!(true)),
        ("/spec/tolerations", json!([{"key": "a", "operator": "Exists"}])),
        ("/metadata/annotations", json!({"karpenter.sh/do-not-disrupt": "true"})),
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
        "[a-z/.-]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        let key = prop_oneof![
            Just("metadata".to_owned()),
            Just("spec".to_owned()),
            Just("ownerReferences".to_owned()),
            Just("volumes".to_owned()),
            Just("labels".to_owned()),
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
    #[test]
    fn any_json_has_a_workload(pod in json_value()) {
        let one = of(&pod);
        prop_assert!(one.word().starts_with("shop/"));
        prop_assert_eq!(one, of(&pod));
    }
}
