//! Pods that wait: for a node, made anew for Fargate; and for Fargate, made anew for nodes.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::common::{DEPLOYMENTS, POOLS, deployment};
use super::site::{POLICIES, Site, is_on_fargate, running};

fn uids(site: &Site) -> BTreeSet<String> {
    let uid = |pod: &Value| pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    site.world.pods().unwrap().iter().map(uid).collect()
}

#[test]
fn pods_that_wait_are_made_anew_for_fargate_whoever_is_killed_meanwhile() {
    // No node can be bought: all that runs, runs on Fargate.
    let site = Site::with_limit("fargate-anew", &json!({}), Some("0"));
    let first = site.controller("first");
    site.policy(&json!({"pending": {"recreate": true, "perMinute": 60}}));
    site.world.client().create(DEPLOYMENTS, &deployment("web", 5, "1", &json!({}))).unwrap();
    site.world.until("all to be there", |_| Ok((site.pods("web", |_| true)? == 5).then_some(()))).unwrap();
    let before = uids(&site);
    site.world
        .until("the first to be made anew", |_| Ok((!uids(&site).is_superset(&before)).then_some(())))
        .unwrap();
    drop(first);
    let second = site.controller("second");
    site.runs("web", 5);
    assert_eq!(running(&site.world, "web").unwrap(), (5, 5));
    assert!(site.event("FargateRecreate").contains("profile stowage"));
    drop(second);
}

#[test]
fn pods_that_fargate_does_not_start_go_back_to_nodes_once() {
    let site = Site::start("fargate-guard", &json!({}));
    let controller = site.controller("controller");
    site.policy(&json!({"guard": {"pendingTimeout": "2m"}}));
    site.deploy("web", 1, "1", &json!({}));
    site.verdict(&controller, "default/Deployment/web", "Fargate");
    site.scale("web", 2);
    assert_eq!(running(&site.world, "web").unwrap(), (1, 2));

    site.eks.full(true);
    let path = format!("{DEPLOYMENTS}/web");
    site.world.client().patch(&path, &json!({"spec": {"replicas": 5}})).unwrap();
    let waits = |pod: &Value| is_on_fargate(pod) && pod["spec"]["nodeName"].is_null();
    site.world
        .until("three to wait for Fargate", |_| Ok((site.pods("web", waits)? == 3).then_some(())))
        .unwrap();
    // EC2 buys nothing for them meanwhile.
    let claims = site.world.claims().unwrap().len();
    let said = site.event("FargatePending");
    assert!(said.contains("default/Deployment/web"), "{said}");
    assert_eq!(site.world.claims().unwrap().len(), claims);
    site.runs("web", 5);
    assert_eq!(running(&site.world, "web").unwrap(), (1, 5), "what ran there runs on, the others on nodes");

    // There is capacity again, and the workload stays on nodes for its hour.
    site.eks.full(false);
    site.scale("web", 6);
    assert_eq!(running(&site.world, "web").unwrap(), (1, 6));
    let metrics = controller.metrics().unwrap();
    assert!(metrics.contains("stowage_fargate_held 1"), "one workload is held");
    assert!(metrics.contains("stowage_fargate_recreated_total{to=\"Nodes\"} 3"), "each was made anew once");
}

#[test]
fn pods_whose_profile_is_deleted_run_on() {
    let site = Site::start("fargate-profile", &json!({}));
    let controller = site.controller("controller");
    site.policy(&json!({}));
    site.deploy("web", 1, "1", &json!({}));
    site.verdict(&controller, "default/Deployment/web", "Fargate");
    site.scale("web", 3);
    assert_eq!(running(&site.world, "web").unwrap(), (2, 3));
    // EKS takes nobody any more, and the policy still says that it does.
    site.eks.profiles(Vec::new());
    site.scale("web", 6);
    assert_eq!(
        running(&site.world, "web").unwrap(),
        (2, 6),
        "new ones run on nodes, with a label that means nothing"
    );
    // Nodes of Fargate are nobody's to count, drain or consolidate.
    let on_fargate = || {
        let nodes = site.world.nodes().unwrap();
        nodes
            .iter()
            .filter(|n| n["metadata"]["labels"]["eks.amazonaws.com/compute-type"] == "fargate")
            .count()
    };
    assert_eq!(on_fargate(), 2);
    site.world.client().delete(&format!("{POLICIES}/batch")).unwrap();
    // Room for all of them on a node of its own, once nobody else is there: to empty those of Fargate would cost nothing.
    site.deploy("large", 1, "3", &json!({}));
    let bought = site.world.claims().unwrap().len();
    site.world.client().delete(&format!("{DEPLOYMENTS}/large")).unwrap();
    let pool = json!({"spec": {"disruption": {
        "consolidateAfter": "0s", "consolidationPolicy": "WhenEmptyOrUnderutilized", "budgets": [{"nodes": "100%"}],
    }}});
    site.world.client().patch(&format!("{POOLS}/default"), &pool).unwrap();
    site.world
        .until("nodes to be consolidated", |w| {
            for node in w
                .nodes()?
                .iter()
                .filter(|n| n["metadata"]["labels"]["eks.amazonaws.com/compute-type"] == "fargate")
            {
                let taints = node["spec"]["taints"].as_array().unwrap();
                assert!(taints.iter().all(|taint| taint["key"] != "karpenter.sh/disrupted"), "{taints:?}");
            }
            Ok((w.claims()?.len() < bought).then_some(()))
        })
        .unwrap();
    site.runs("web", 6);
    assert_eq!(running(&site.world, "web").unwrap(), (2, 6), "those on Fargate stay there");
    assert_eq!(on_fargate(), 2);
    drop(controller);
}

/// Whoever deletes the policy because Fargate has no capacity finds the pods on nodes.
#[test]
fn pods_whose_policy_is_deleted_while_they_wait_go_back_to_nodes() {
    let site = Site::start("fargate-left", &json!({}));
    let controller = site.controller("controller");
    site.policy(&json!({"guard": {"pendingTimeout": "2m"}}));
    site.deploy("web", 1, "1", &json!({}));
    site.verdict(&controller, "default/Deployment/web", "Fargate");
    site.eks.full(true);
    let path = format!("{DEPLOYMENTS}/web");
    site.world.client().patch(&path, &json!({"spec": {"replicas": 3}})).unwrap();
    let waits = |pod: &Value| is_on_fargate(pod) && pod["spec"]["nodeName"].is_null();
    site.world
        .until("two to wait for Fargate", |_| Ok((site.pods("web", waits)? == 2).then_some(())))
        .unwrap();
    // A look of the guard later: it knows them by then.
    thread::sleep(Duration::from_secs(15));
    site.world.client().delete(&format!("{POLICIES}/batch")).unwrap();
    assert!(site.event("FargatePending").contains("default/Deployment/web"));
    site.runs("web", 3);
    assert_eq!(running(&site.world, "web").unwrap(), (0, 3));
}
