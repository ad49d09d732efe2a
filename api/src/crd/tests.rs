use serde_json::{Value, json};

use super::*;

/// What is read and written again.
fn again<T: serde::Serialize + serde::de::DeserializeOwned>(value: &Value) -> Value {
    serde_json::to_value(serde_json::from_value::<T>(value.clone()).unwrap()).unwrap()
}

#[test]
fn fields_of_newer_versions_are_kept() {
    let pool = json!({
        "apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "default"},
        "spec": {
            "colour": "green",
            "template": {
                "kind": {"of": ["template"]},
                "metadata": {"labels": {"team": "a"}, "finalizers": ["x"]},
                "spec": {
                    "requirements": [{"key": "a", "operator": "Roughly", "values": ["b"], "score": 1.5}],
                    "nodeClassRef": {"group": "g", "kind": "k", "name": "n", "namespace": "ns"},
                    "expireAfter": "720h", "warmUp": true,
                },
            },
            "disruption": {
                "consolidationPolicy": "WhenTheMoonIsFull", "consolidateAfter": "0s",
                "budgets": [{"nodes": "10%", "zones": {"most": 1}}], "window": null,
            },
            "limits": {"cpu": 1000, "memory": "1000Gi"},
        },
        "status": {"nodes": 2, "resources": {"cpu": "12"}, "cost": {"hourly": "1.5"}},
    });
    assert_eq!(again::<NodePool>(&pool), pool);
    let class = json!({
        "apiVersion": "karpenter.k8s.aws/v1", "kind": "EC2NodeClass", "metadata": {"name": "default"},
        "spec": {
            "amiSelectorTerms": [{"alias": "al2023@latest", "arch": "arm64"}],
            "subnetSelectorTerms": [{"tags": {"a": "b"}, "zone": "z"}],
            "securityGroupSelectorTerms": [{"id": "sg-1", "vpc": "v"}],
            "kubelet": {"maxPods": 20, "imageMaximumGCAge": "1h", "newer": {"a": [1, {"b": null}]}},
            "metadataOptions": {
                "httpEndpoint": "enabled", "httpProtocolIPv6": "disabled", "httpPutResponseHopLimit": 1,
                "httpTokens": "required", "instanceMetadataTags": "enabled",
            },
            "newer": [1, 2, 3],
        },
    });
    assert_eq!(again::<Ec2NodeClass>(&class), class);
    let policy = json!({
        "apiVersion": "stowage.dev/v1alpha1", "kind": "ClusterFargatePolicy", "metadata": {"name": "default"},
        "spec": {
            "namespaceSelector": {"matchLabels": {"team": "a"}, "newer": 1},
            "podSelector": {"matchExpressions": [{"key": "a", "operator": "Roughly", "values": ["b"]}]},
            "mode": "WhenTheMoonIsFull", "caps": {"maxPods": 3, "newer": 2}, "neverRoute": ["Job"],
            "profiles": [{"name": "p", "selectors": [{"namespace": "*", "newer": 3}]}],
            "guard": {"pendingTimeout": "1m", "newer": 4}, "newer": 5,
        },
        "status": {"routedPods": 1, "refused": [{"reason": "Caps", "workloads": 1}], "newer": 6},
    });
    assert_eq!(again::<ClusterFargatePolicy>(&policy), policy);
}

#[test]
fn amounts_are_written_as_they_were_read() {
    let amounts: Amounts = serde_json::from_value(json!({"cpu": 1000, "memory": "1.50Gi"})).unwrap();
    assert_eq!(amounts["cpu"].quantity(), "1000".parse());
    assert_eq!(amounts["memory"].quantity(), "1536Mi".parse());
    assert_eq!(serde_json::to_string(&amounts).unwrap(), r#"{"cpu":1000,"memory":"1.50Gi"}"#);
    assert!(Amount::Text("a lot".to_owned()).quantity().is_err());
}

fn condition(kind: &str, status: &str, at: &str) -> Condition {
    Condition {
        kind: kind.to_owned(),
        status: status.to_owned(),
        reason: "Because".to_owned(),
        last_transition_time: at.to_owned(),
        ..Condition::default()
    }
}

#[test]
fn a_condition_keeps_the_time_of_its_last_change() {
    let mut conditions = Vec::new();
    assert!(condition::set(&mut conditions, condition("Launched", condition::TRUE, "1")));
    assert!(!condition::set(&mut conditions, condition("Launched", condition::TRUE, "2")));
    assert_eq!(conditions[0].last_transition_time, "1");
    assert!(condition::set(&mut conditions, condition("Launched", condition::FALSE, "3")));
    assert_eq!((conditions.len(), conditions[0].last_transition_time.as_str()), (1, "3"));
}

#[test]
fn ready_is_what_it_stands_on() {
    let roots = [condition::LAUNCHED, condition::REGISTERED];
    let mut conditions = vec![condition("Launched", condition::TRUE, "1")];
    let ready = |conditions: &[Condition]| {
        let ready = condition::ready(conditions, &roots, "9", Some(1));
        (ready.status, ready.message)
    };
    assert_eq!(ready(&conditions), ("Unknown".to_owned(), "Registered=Unknown".to_owned()));
    conditions.push(condition("Registered", condition::FALSE, "1"));
    assert_eq!(ready(&conditions), ("False".to_owned(), "Registered=False".to_owned()));
    condition::set(&mut conditions, condition("Registered", condition::TRUE, "2"));
    assert_eq!(ready(&conditions), ("True".to_owned(), String::new()));
}

#[test]
fn definitions_say_nothing_of_null() {
    let definitions = definitions().unwrap();
    let names: Vec<_> = definitions.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "capacitybuffers.autoscaling.x-k8s.io",
            "clusterfargatepolicies.stowage.dev",
            "ec2nodeclasses.karpenter.k8s.aws",
            "fargatepolicies.stowage.dev",
            "nodeclaims.karpenter.sh",
            "nodeoverlays.karpenter.sh",
            "nodepools.karpenter.sh",
        ]
    );
    for (name, definition) in &definitions {
        let text = definition.to_string();
        assert!(!text.contains("nullable") && !text.contains("null"), "{name}: {text}");
    }
}
