//! The controller launches: pods wait, claims are made, EC2 (moto) starts machines, their nodes join, pods run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use stowage_e2e::aws::{Front, Stock, all};
use stowage_e2e::{Client, ControlPlane, Controller, Options, REGION, crds};
use stowage_pricing::{Catalog, Settings};

use common::{CLAIMS, CLASSES, PODS, bound, items, node_pool, until};

/// What does not come about by then never will.
const PATIENCE: Duration = Duration::from_secs(90);

struct World {
    plane: ControlPlane,
    front: Front,
    catalog: Catalog,
    cluster: String,
}

impl World {
    fn start(cluster: &str) -> Self {
        let front = Front::start(Stock::of(REGION).unwrap()).unwrap();
        let options = Options { scheduler: Some(Options::scheduler()), ..Options::default() };
        let plane = ControlPlane::start(&options).unwrap();
        crds::install(plane.client()).unwrap();
        let catalog = Catalog::embedded(REGION, &Settings::default()).unwrap();
        fs::write(plane.logs().join("catalog.json"), catalog.to_json()).unwrap();
        let world = Self { plane, front, catalog, cluster: cluster.to_owned() };
        world.client().create(CLASSES, &world.node_class()).unwrap();
        world.client().create("/apis/karpenter.sh/v1/nodepools", &node_pool()).unwrap();
        world
    }

    fn client(&self) -> &Client {
        self.plane.client()
    }

    fn controller(&self, name: &str) -> Controller {
        let file = self.plane.logs().join("catalog.json").display().to_string();
        let flags = ["--catalog", &file, "--log-format", "text", "--cluster-name", &self.cluster];
        Controller::start(&self.plane, name, &flags, &self.front.environment(REGION)).unwrap()
    }

    /// EC2's answer, as it stands.
    fn ec2(&self, action: &str, more: &[(&str, &str)]) -> String {
        self.front.ec2(REGION).ask(action, more).unwrap()
    }

    /// Selectors by id, of what moto has.
    fn node_class(&self) -> Value {
        let subnets = all(&self.ec2("DescribeSubnets", &[]), "subnetId");
        let groups = all(
            &self.ec2(
                "DescribeSecurityGroups",
                &[("Filter.1.Name", "group-name"), ("Filter.1.Value.1", "default")],
            ),
            "groupId",
        );
        let images =
            self.ec2("DescribeImages", &[("Filter.1.Name", "architecture"), ("Filter.1.Value.1", "x86_64")]);
        let by_id = |ids: Vec<String>| ids.into_iter().map(|id| json!({"id": id})).collect::<Vec<_>>();
        json!({
            "apiVersion": "karpenter.k8s.aws/v1", "kind": "EC2NodeClass", "metadata": {"name": "default"},
            "spec": {
                "amiFamily": "Custom", "instanceProfile": "nodes", "userData": "#!/bin/sh\njoin the cluster\n",
                "amiSelectorTerms": by_id(all(&images, "imageId").into_iter().take(1).collect()),
                "subnetSelectorTerms": by_id(subnets), "securityGroupSelectorTerms": by_id(groups[..1].to_vec()),
                "tags": {"team": "a"},
            },
        })
    }

    fn claims(&self) -> Vec<Value> {
        items(&self.client().get(CLAIMS).unwrap())
    }

    /// Machines of this cluster that run: (id, type, claim).
    fn machines(&self) -> Vec<(String, String, String)> {
        let machines = self.front.ec2(REGION).machines(&self.cluster).unwrap();
        let running = machines.into_iter().filter(|machine| machine.state == "running");
        running.map(|machine| (machine.id, machine.instance_type, machine.claim)).collect()
    }

    /// Kubelet starts on the machine of a claim.
    fn join(&self, claim: &Value) {
        let status = &claim["status"];
        let mut labels: BTreeMap<String, String> =
            serde_json::from_value(claim["metadata"]["labels"].clone()).unwrap();
        let name = format!("ip-{}", claim["metadata"]["name"].as_str().unwrap());
        labels.insert("kubernetes.io/hostname".to_owned(), name.clone());
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
            "spec": {"providerID": status["providerID"]},
            "status": {"capacity": status["capacity"], "allocatable": status["allocatable"]},
        });
        self.client().create("/api/v1/nodes", &node).unwrap();
    }

    fn bound(&self) -> usize {
        bound(self.client())
    }

    /// Waits until something holds of the cluster.
    fn until<T>(&self, what: &str, mut holds: impl FnMut(&Self) -> Option<T>) -> T {
        until(&self.plane, PATIENCE, what, || holds(self))
    }
}

fn pod(name: &str, cpu: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [
            {"name": "web", "image": "web", "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}},
        ]},
    })
}

fn launched(claim: &Value) -> bool {
    let conditions = claim["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Launched" && c["status"] == "True"))
}

#[test]
fn pods_that_wait_get_machines_that_are_launched_once() {
    let world = World::start("launched-once");
    let controller = world.controller("controller");
    for at in 0..12 {
        world.client().create(PODS, &pod(&format!("web-{at}"), "900m")).unwrap();
    }
    let claims = world.until("all claims to be launched", |w| {
        let claims = w.claims();
        (!claims.is_empty() && claims.iter().all(launched)).then_some(claims)
    });
    let class = world.client().get(&format!("{CLASSES}/default")).unwrap();
    assert!(class["status"]["subnets"].as_array().is_some_and(|s| !s.is_empty()));

    let machines = world.machines();
    assert_eq!(machines.len(), claims.len());
    for claim in &claims {
        let name = claim["metadata"]["name"].as_str().unwrap();
        let (id, of_type, _) = machines.iter().find(|(.., of)| of == name).unwrap();
        let machine = claim["status"]["providerID"].as_str().unwrap();
        assert!(machine.starts_with("aws:///us-east-1") && machine.ends_with(id.as_str()), "{machine} {id}");
        let labels = &claim["metadata"]["labels"];
        assert_eq!(labels["node.kubernetes.io/instance-type"], of_type.as_str());
        let wanted = claim["spec"]["requirements"].as_array().unwrap();
        let types = wanted.iter().find(|r| r["key"] == "node.kubernetes.io/instance-type").unwrap();
        assert!(types["values"].as_array().unwrap().contains(&json!(of_type)));
        let known = world.catalog.types.iter().find(|t| &t.name == of_type).unwrap();
        assert_eq!(claim["status"]["capacity"]["cpu"], known.resources["cpu"].to_string());
    }
    // Killed and started again, it launches nothing that is launched already.
    drop(controller);
    let _again = world.controller("again");
    for claim in &claims {
        world.join(claim);
    }
    world.until("all pods to run", |w| (w.bound() == 12).then_some(()));
    assert_eq!((world.claims().len(), world.machines().len()), (claims.len(), claims.len()));
}

#[test]
fn a_class_that_finds_nothing_says_so_and_launches_nothing() {
    let world = World::start("finds-nothing");
    let nothing = json!({"spec": {"subnetSelectorTerms": [{"id": "subnet-0000000000000000f"}]}});
    world.client().patch(&format!("{CLASSES}/default"), &nothing).unwrap();
    let _controller = world.controller("controller");
    world.client().create(PODS, &pod("web", "900m")).unwrap();
    let message = world.until("the class not to be ready", |w| {
        let class = w.client().get(&format!("{CLASSES}/default")).unwrap();
        let conditions = class["status"]["conditions"].as_array()?.clone();
        let subnets = conditions.iter().find(|c| c["type"] == "SubnetsReady" && c["status"] == "False")?;
        Some(subnets["message"].as_str().unwrap().to_owned())
    });
    assert_eq!(message, "SubnetSelector did not match any Subnets");
    let told = world.until("the pod to be told", |w| {
        let events = items(&w.client().get("/api/v1/namespaces/default/events").unwrap());
        let ours = events
            .iter()
            .find(|e| e["reason"] == "FailedScheduling" && e["reportingComponent"] == "stowage")?;
        Some(ours["message"].as_str().unwrap().to_owned())
    });
    assert!(told.contains("EC2NodeClass default"), "{told}");
    assert_eq!(world.machines(), []);
}
