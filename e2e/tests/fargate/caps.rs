//! Caps: reached exactly, and never exceeded by pods that are created at the same time, through a replica that does not lead,
//! and when the one that leads is gone.

use std::collections::BTreeSet;
use std::thread;

use serde_json::{Value, json};
use stowage_e2e::free_ports;

use super::common::DEPLOYMENTS;
use super::site::{PODS, POLICIES, Site, bare, is_on_fargate, registered, running};

#[test]
fn pods_of_a_policy_land_on_fargate_up_to_its_cap_and_on_nodes_without_us() {
    let site = Site::start("fargate", &json!({}));
    let first = site.controller("controller");
    site.counts(&first);
    site.policy(&json!({"caps": {"maxPods": 3}}));
    // The first pod of a workload runs on a node: nobody has looked at it yet.
    site.deploy("web", 1, "1", &json!({}));
    assert_eq!(running(&site.world, "web").unwrap(), (0, 1));
    site.verdict(&first, "default/Deployment/web", "Fargate");
    site.scale("web", 8);
    assert_eq!(running(&site.world, "web").unwrap().0, 3, "the cap is reached exactly");
    let says = |pods: usize| {
        site.world
            .until(
                "the policy to say so",
                |_| Ok((site.status("batch")?["routedPods"] == pods).then_some(())),
            )
            .unwrap();
    };
    says(3);

    // Nobody answers: pods are created all the same.
    drop(first);
    site.world.client().create(DEPLOYMENTS, &super::common::deployment("late", 2, "1", &json!({}))).unwrap();
    let made = |_: &_| Ok((site.pods("late", |_| true)? == 2).then_some(()));
    site.world.until("pods to be created", made).unwrap();
    let _second = site.controller("second");
    site.runs("late", 2);
    assert_eq!(running(&site.world, "late").unwrap(), (0, 2));
    says(3);

    // Without a policy nobody is asked.
    site.world.client().delete(&format!("{POLICIES}/batch")).unwrap();
    site.world.until("the webhook to go", |w| Ok((!registered(w)).then_some(()))).unwrap();
}

/// Creates so many pods from eight threads at the same time.
fn create(site: &Site, names: &str, many: usize) {
    thread::scope(|scope| {
        for one in 0..8 {
            scope.spawn(move || {
                for n in (one..many).step_by(8) {
                    site.world.client().create(PODS, &bare(&format!("{names}-{n}"), "bare")).unwrap();
                }
            });
        }
    });
}

/// Deletes so many that run on Fargate.
fn delete(site: &Site, many: usize) {
    let pods = site.world.pods().unwrap();
    let on_fargate: BTreeSet<&str> = pods
        .iter()
        .filter(|pod| is_on_fargate(pod))
        .filter_map(|pod| pod["metadata"]["name"].as_str())
        .collect();
    assert!(on_fargate.len() >= many);
    for name in on_fargate.iter().take(many) {
        site.world.client().delete(&format!("{PODS}/{name}")).unwrap();
    }
}

#[test]
fn caps_hold_through_two_replicas_and_a_change_of_leader() {
    const CAP: usize = 15;
    let site = Site::start("fargate-caps", &json!({}));
    let [led, followed] = free_ports().unwrap();
    // The API server asks the one that does not lead; that one asks the one that does.
    let leader = site.controller_at("leader", led, followed, &[]);
    site.counts(&leader);
    let follower = site.controller_at("follower", followed, followed, &[]);
    site.policy(&json!({"caps": {"maxPods": CAP}}));
    site.world.client().create(PODS, &bare("seed", "bare")).unwrap();
    site.runs("bare", 1);
    let goes = |what: &str| {
        let probe: Value = bare("probe", "bare");
        site.world.until(what, |_| Ok(site.would_go(&probe)?.then_some(()))).unwrap();
    };
    goes("the follower to know the verdict");
    create(&site, "first", 40);
    site.runs("bare", 41);
    assert_eq!(running(&site.world, "bare").unwrap().0, CAP, "reached exactly, through the follower");

    // What is given back can be had again.
    delete(&site, 5);
    goes("room to be given back");
    create(&site, "second", 10);
    site.runs("bare", 46);
    assert_eq!(running(&site.world, "bare").unwrap().0, CAP, "reached exactly, after five have gone");

    drop(leader);
    create(&site, "orphan", 10);
    site.counts(&follower);
    create(&site, "third", 10);
    site.runs("bare", 66);
    assert_eq!(running(&site.world, "bare").unwrap().0, CAP, "not exceeded, whoever leads");
    delete(&site, 5);
    goes("the new leader to be sure of what was granted");
    create(&site, "fourth", 10);
    site.runs("bare", 71);
    assert_eq!(running(&site.world, "bare").unwrap().0, CAP, "reached exactly, under the new leader");
    drop(follower);
}
