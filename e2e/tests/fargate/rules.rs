//! Which pods go, and what is said of policies that are wrong.

use serde_json::{Value, json};

use super::common::{DEPLOYMENTS, deployment, one_a_node};
use super::site::{POLICIES, Site, bare, last_verdict, policy, registered, running};

/// Deployments with this in their pods' spec and where they belong, with a word of why.
fn cases() -> Vec<(&'static str, Value, &'static str)> {
    let container = |more: Value| {
        let mut container = json!({
            "name": "main", "image": "registry.k8s.io/pause:3.10",
            "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}},
        });
        for (key, value) in more.as_object().unwrap() {
            container[key] = value.clone();
        }
        json!({"containers": [container]})
    };
    let volume = |source: Value| {
        let mut volume = json!({"name": "v"});
        volume.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        json!({"volumes": [volume]})
    };
    vec![
        ("plain", json!({}), "Fargate"),
        ("empty-dir", volume(json!({"emptyDir": {}})), "Fargate"),
        ("amd64", json!({"nodeSelector": {"kubernetes.io/arch": "amd64"}}), "Fargate"),
        ("arm64", json!({"nodeSelector": {"kubernetes.io/arch": "arm64"}}), "nodes"),
        ("host-path", volume(json!({"hostPath": {"path": "/var/log"}})), "nodes"),
        ("host-network", json!({"hostNetwork": true}), "nodes"),
        ("privileged", container(json!({"securityContext": {"privileged": true}})), "nodes"),
        ("host-port", container(json!({"ports": [{"containerPort": 80, "hostPort": 80}]})), "nodes"),
        ("apart", one_a_node("apart"), "nodes"),
        ("spot", json!({"nodeSelector": {"karpenter.sh/capacity-type": "spot"}}), "nodes"),
        ("large", container(json!({"resources": {"requests": {"cpu": "17", "memory": "1Gi"}}})), "nodes"),
        (
            "largest",
            container(json!({"resources": {"requests": {"cpu": "16", "memory": "100Gi"}}})),
            "Fargate",
        ),
    ]
}

#[test]
fn each_rule_of_fargate_holds_both_ways() {
    let any = json!({"requirements": [
        {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64", "arm64"]},
        {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand", "spot"]},
        {"key": "karpenter.k8s.aws/instance-category", "operator": "In", "values": ["c", "m", "r"]},
    ]});
    let site = Site::start("fargate-rules", &any);
    let controller = site.controller("controller");
    site.policy(&json!({}));
    let cases = cases();
    for (app, more, _) in &cases {
        let made = site.world.client().create(DEPLOYMENTS, &deployment(app, 1, "500m", more));
        made.unwrap_or_else(|error| panic!("{app}: {error:#}"));
    }
    for (app, _, side) in &cases {
        site.verdict(&controller, &format!("default/Deployment/{app}"), side);
        if *side == "nodes" {
            // Not for its price: mode Always asks for none.
            let said = last_verdict(&controller, &format!("default/Deployment/{app}")).unwrap();
            assert!(said.matches(';').count() >= 1, "{app}: no reason in {said}");
        }
        site.runs(app, 1);
    }
    // And what is made next goes where its verdict says.
    for (app, _, side) in cases.iter().filter(|(app, ..)| ["plain", "host-path", "apart"].contains(app)) {
        site.scale(app, 2);
        assert_eq!(running(&site.world, app).unwrap().0 == 1, *side == "Fargate", "{app}");
    }
}

/// Reason and message of a condition of a policy, where it has this status.
fn said(status: &Value, condition: &str, is: &str) -> Option<(String, String)> {
    let all = status["conditions"].as_array()?;
    let found = all.iter().find(|c| c["type"] == condition && c["status"] == is)?;
    let word = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    Some((word("reason"), word("message")))
}

#[test]
fn policies_that_are_wrong_or_contradict_each_other_say_so() {
    let site = Site::start("fargate-wrong", &json!({}));
    let controller = site.controller("controller");
    let client = site.world.client();
    site.policy(&json!({}));
    // More specific: it wins, and the other one says so.
    let narrow = policy("narrow", &json!({"mode": "Never", "podSelector": {"matchLabels": {"app": "kept"}}}));
    client.create(POLICIES, &narrow).unwrap();
    // A cluster's policy that selects the system's namespaces is refused, unless it says that it means them.
    let mut wide = policy(
        "wide",
        &json!({"namespaceSelector": {"matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["kube-system", "default"]},
        ]}}),
    );
    wide["kind"] = json!("ClusterFargatePolicy");
    let of_cluster = "/apis/stowage.dev/v1alpha1/clusterfargatepolicies";
    client.create(of_cluster, &wide).unwrap();
    for app in ["kept", "free"] {
        site.deploy(app, 1, "500m", &json!({}));
    }
    site.verdict(&controller, "default/Deployment/free", "Fargate");
    site.verdict(&controller, "default/Deployment/kept", "nodes");
    let condition = |policy: &str, condition: &str, is: &str| {
        let path = format!("{POLICIES}/{policy}");
        let path = if policy == "wide" { format!("{of_cluster}/wide") } else { path };
        site.world
            .until("a condition", |w| Ok(said(&w.client().get(&path)?["status"], condition, is)))
            .unwrap_or_else(|error| panic!("{policy} {condition}={is}: {error:#}"))
    };
    let (reason, message) = condition("batch", "Conflict", "True");
    assert!(reason == "Contradicted" && message.contains("narrow"), "{reason}: {message}");
    let (_, message) = condition("wide", "ValidationSucceeded", "False");
    assert!(message.contains("kube-system"), "{message}");
    condition("narrow", "ValidationSucceeded", "True");
    condition("batch", "ProfileFound", "True");

    // A pod that names a scheduler is left as it is.
    let mut named = bare("named", "named");
    named["spec"]["schedulerName"] = json!("another");
    site.world.client().create(super::site::PODS, &named).unwrap();
    let made = site.world.client().get(&format!("{}/named", super::site::PODS)).unwrap();
    assert_eq!(made["spec"]["schedulerName"], "another");
    assert!(made["metadata"]["labels"]["stowage.dev/fargate"].is_null(), "{}", made["metadata"]);

    // A profile that takes no pods of the policy: the condition says which selector to create.
    client.delete(&format!("{POLICIES}/narrow")).unwrap();
    client.delete(&format!("{POLICIES}/batch")).unwrap();
    client.delete(&format!("{of_cluster}/wide")).unwrap();
    site.world.until("the webhook to go", |w| Ok((!registered(w)).then_some(()))).unwrap();
    let elsewhere = json!({"profiles": [{"name": "other", "selectors": [{"namespace": "default", "labels": {"app": "other"}}]}]});
    client.create(POLICIES, &policy("lost", &elsewhere)).unwrap();
    let (_, message) = condition("lost", "ProfileFound", "False");
    assert!(message.contains("default"), "{message}");
}
