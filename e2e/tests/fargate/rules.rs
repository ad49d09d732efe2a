//! Which pods go, and what is said of policies that are wrong.

use serde_json::{Value, json};
use stowage_e2e::{World, free_ports};
use stowage_pricing::fargate::{Profile, ProfileSelector};

use super::common::{DEPLOYMENTS, deployment, one_a_node};
use super::site::{POLICIES, Site, bare, is_on_fargate, last_verdict, policy, registered, running};

/// A Deployment of this name is marked not to be disrupted.
const TO_STAY: &str = "to-stay";

/// Affinity to pods of an app.
fn near(app: &str) -> Value {
    json!({"requiredDuringSchedulingIgnoredDuringExecution": [{
        "topologyKey": "topology.kubernetes.io/zone", "labelSelector": {"matchLabels": {"app": app}},
    }]})
}

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
        ("near", json!({"affinity": {"podAffinity": near("near")}}), "nodes"),
        (TO_STAY, json!({}), "nodes"),
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
        let mut wanted = deployment(app, 1, "500m", more);
        if *app == TO_STAY {
            wanted["spec"]["template"]["metadata"]["annotations"] =
                json!({"karpenter.sh/do-not-disrupt": "true"});
        }
        let made = site.world.client().create(DEPLOYMENTS, &wanted);
        made.unwrap_or_else(|error| panic!("{app}: {error:#}"));
    }
    for (app, _, side) in &cases {
        site.verdict(&controller, &format!("default/Deployment/{app}"), side);
        if *side == "nodes" {
            // Not for its price: mode Always asks for none.
            let said = last_verdict(&controller, &format!("default/Deployment/{app}")).unwrap();
            assert!(said.matches(';').count() >= 1, "{app}: no reason in {said}");
            // The pod says so as well.
            let tells = |w: &World| {
                let events = w.list("/api/v1/namespaces/default/events")?;
                let of_it = |event: &&Value| {
                    let name = event["involvedObject"]["name"].as_str().unwrap_or_default();
                    event["reason"] == "FargateVerdict" && name.starts_with(&format!("{app}-"))
                };
                Ok(events
                    .iter()
                    .find(of_it)
                    .map(|event| event["message"].as_str().unwrap_or_default().to_owned()))
            };
            let told = site.world.until("an event", tells).unwrap_or_else(|error| panic!("{app}: {error:#}"));
            assert!(told.starts_with("nodes") && told.contains(';'), "{app}: {told}");
        }
        site.runs(app, 1);
    }
    // And what is made next goes where its verdict says.
    for (app, _, side) in cases.iter().filter(|(app, ..)| ["plain", "host-path", "apart"].contains(app)) {
        site.scale(app, 2);
        assert_eq!(running(&site.world, app).unwrap().0 == 1, *side == "Fargate", "{app}");
    }
}

/// Profiles come from EKS; which takes a pod is decided by a stand-in that has the rules from its documentation.
#[test]
fn profiles_of_eks_with_wildcards_and_ties_take_the_pods_that_are_labelled_for_them() {
    let site = Site::start("fargate-wild", &json!({}));
    site.world.eks().unwrap();
    let selector = |namespace: &str, labels: &[(&str, &str)]| ProfileSelector {
        namespace: namespace.to_owned(),
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    };
    let profiles = [
        ("a-both", selector("default", &[("tier", "batch-?"), ("run", "*")])),
        ("m-two", selector("d*", &[("team", "x?"), ("cost", "*-low")])),
        ("z-tier", selector("de?ault", &[("tier", "batch-?")])),
    ];
    for (name, of) in &profiles {
        let selectors = json!([{"namespace": of.namespace, "labels": of.labels}]);
        site.world.fargate_profile(name, &selectors).unwrap();
    }
    let at_eks = profiles.map(|(name, of)| Profile {
        name: name.to_owned(),
        selectors: vec![of],
        subnets: Vec::new(),
    });
    site.eks.profiles(at_eks.to_vec());
    // What machines are told does not come from EKS, which knows another API server.
    let server = site.world.plane.server().to_owned();
    let [port] = free_ports().unwrap();
    let controller = site.controller_at("controller", port, port, &["--cluster-endpoint", &server]);
    // Any profile; and one alone, that another one comes before.
    let of = |app: &str| json!({"podSelector": {"matchLabels": {"app": app}}});
    let mut any = policy("any", &of("any"));
    any["spec"].as_object_mut().unwrap().remove("profiles");
    let mut last = policy("last", &json!({"podSelector": {"matchLabels": {"only": "last"}}}));
    last["spec"]["profiles"] =
        json!([{"name": "z-tier", "selectors": [{"namespace": "default", "labels": {"tier": "batch-?"}}]}]);
    for policy in [any, last] {
        site.world.client().create(POLICIES, &policy).unwrap();
    }
    site.world.until("the webhook to be registered", |w| Ok(registered(w).then_some(()))).unwrap();
    let cases = [
        ("any", json!({}), "z-tier", json!({"tier": "batch-0"})),
        ("tied", json!({"only": "last", "run": "now"}), "z-tier", json!({"tier": "batch-0"})),
        ("kept", json!({"only": "last", "tier": "web"}), "", json!({"tier": "web"})),
    ];
    for (app, labels, profile, _) in &cases {
        let mut wanted = deployment(app, 1, "500m", &json!({}));
        let own = wanted["spec"]["template"]["metadata"]["labels"].as_object_mut().unwrap();
        own.extend(labels.as_object().unwrap().clone());
        site.world.client().create(DEPLOYMENTS, &wanted).unwrap();
        let side = if profile.is_empty() { "nodes" } else { "Fargate" };
        site.verdict(&controller, &format!("default/Deployment/{app}"), side);
    }
    for (app, _, profile, labels) in &cases {
        site.scale(app, 2);
        assert_eq!(running(&site.world, app).unwrap().0, usize::from(!profile.is_empty()), "{app}");
        let pods = site.world.pods().unwrap();
        let newest = pods
            .iter()
            .filter(|pod| pod["metadata"]["labels"]["app"] == *app)
            .max_by_key(|pod| is_on_fargate(pod))
            .unwrap();
        let has = &newest["metadata"]["labels"];
        assert_eq!(has["eks.amazonaws.com/fargate-profile"].as_str().unwrap_or_default(), *profile, "{has}");
        assert_eq!(has["tier"], labels["tier"], "{app}: {has}");
        assert!(has["team"].is_null() && has["cost"].is_null(), "no more than is needed: {has}");
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
