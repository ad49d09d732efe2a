//! The controller on a real API server with the real scheduler: pods wait, claims are made, nodes come, pods run.
//!
//! What launches machines is played here: a Node for each claim, as its claim says.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use stowage_e2e::{Client, ControlPlane, Controller, Options, crds};
use stowage_pricing::{Catalog, Settings};

use common::{CLAIMS, PODS, bound, items, node_pool, ready_class, until};

/// What does not come about by then never will.
const PATIENCE: Duration = Duration::from_mins(1);

struct World {
    plane: ControlPlane,
    catalog: Catalog,
    file: PathBuf,
}

impl World {
    fn start() -> Self {
        let options = Options { scheduler: Some(Options::scheduler()), ..Options::default() };
        let plane = ControlPlane::start(&options).unwrap();
        crds::install(plane.client()).unwrap();
        let catalog = Catalog::embedded("us-east-1", &Settings::default()).unwrap();
        let file = plane.logs().join("catalog.json");
        fs::write(&file, catalog.to_json()).unwrap();
        let world = Self { plane, catalog, file };
        ready_class(world.client());
        world.client().create("/apis/karpenter.sh/v1/nodepools", &node_pool()).unwrap();
        world
    }

    fn client(&self) -> &Client {
        self.plane.client()
    }

    fn controller(&self, name: &str) -> Controller {
        let file = self.file.display().to_string();
        Controller::start(
            &self.plane,
            name,
            &["--catalog", &file, "--log-format", "text", "--disable-launch"],
            &[],
        )
        .unwrap()
    }

    fn pod(&self, name: &str, cpu: &str) {
        self.client().create(PODS, &pod(name, cpu)).unwrap();
    }

    fn claims(&self) -> Vec<Value> {
        items(&self.client().get(CLAIMS).unwrap())
    }

    /// The Node of a claim joins, as EC2 and kubelet would have it.
    fn join(&self, claim: &Value) -> String {
        let values = |key: &str| -> Vec<String> {
            let requirements = claim["spec"]["requirements"].as_array().unwrap();
            let found = requirements.iter().find(|r| r["key"] == key).unwrap();
            found["values"].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
        };
        let of_type = values("node.kubernetes.io/instance-type").remove(0);
        let zone = values("topology.kubernetes.io/zone").remove(0);
        let capacity_type = values("karpenter.sh/capacity-type").remove(0);
        let known = self.catalog.types.iter().find(|t| t.name == of_type).unwrap();
        let mut labels: BTreeMap<String, String> =
            serde_json::from_value(claim["metadata"]["labels"].clone()).unwrap();
        labels.extend(known.labels.as_ref().clone());
        let name = format!("ip-{}", claim["metadata"]["name"].as_str().unwrap());
        for (key, value) in [
            ("kubernetes.io/hostname", name.as_str()),
            ("kubernetes.io/arch", "amd64"),
            ("kubernetes.io/os", "linux"),
            ("node.kubernetes.io/instance-type", &of_type),
            ("topology.kubernetes.io/zone", &zone),
            ("karpenter.sh/capacity-type", &capacity_type),
        ] {
            labels.insert(key.to_owned(), value.to_owned());
        }
        let amounts: BTreeMap<String, String> = known
            .allocatable()
            .into_iter()
            .map(|(name, amount)| (name.clone(), amount.to_string()))
            .collect();
        let machine = format!("aws:///{zone}/i-{name}");
        let status = json!({"capacity": amounts, "allocatable": amounts});
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
            "spec": {"providerID": machine}, "status": status,
        });
        self.client().create("/api/v1/nodes", &node).unwrap();
        let path = format!("{CLAIMS}/{}/status", claim["metadata"]["name"].as_str().unwrap());
        let status = json!({"status": {"providerID": machine, "nodeName": name, "allocatable": amounts}});
        self.client().patch(&path, &status).unwrap();
        name
    }

    /// Waits until something holds of the cluster.
    fn until<T>(&self, what: &str, mut holds: impl FnMut(&Self) -> Option<T>) -> T {
        until(&self.plane, PATIENCE, what, || holds(self))
    }

    /// Pods of claims that the events on them name.
    fn nominated(&self) -> BTreeMap<String, String> {
        let events = items(&self.client().get("/apis/events.k8s.io/v1/namespaces/default/events").unwrap());
        let of = |event: &Value| {
            let note = event["note"].as_str()?;
            let (_, node) = note.rsplit_once(' ')?;
            Some((event["regarding"]["name"].as_str()?.to_owned(), node.to_owned()))
        };
        events.iter().filter(|e| e["reason"] == "Nominated").filter_map(of).collect()
    }

    fn bound(&self) -> usize {
        bound(self.client())
    }
}

fn pod(name: &str, cpu: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {
            "containers": [{"name": "web", "image": "web", "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}}],
            "topologySpreadConstraints": [{
                "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app": "web"}},
            }],
        },
    })
}

#[test]
fn pods_that_wait_get_nodes_that_hold_them_and_no_more() {
    let world = World::start();
    let controller = world.controller("controller");
    for at in 0..24 {
        world.pod(&format!("web-{at}"), "900m");
    }
    world.pod("huge", "9999");
    // Every pod that fits somewhere is told which claim it is for.
    world.until("a claim for each pod", |w| (w.nominated().len() == 24).then_some(()));
    let claims = world.claims();
    let names: BTreeSet<&str> = claims.iter().map(|c| c["metadata"]["name"].as_str().unwrap()).collect();
    assert!(world.nominated().values().all(|claim| names.contains(claim.as_str())));
    for claim in &claims {
        assert_eq!(claim["metadata"]["labels"]["karpenter.sh/nodepool"], "default");
        assert_eq!(claim["metadata"]["ownerReferences"][0]["kind"], "NodePool");
        assert_eq!(claim["spec"]["expireAfter"], "720h", "the template's defaults are carried over");
    }
    let why = world.until("why a pod fits nowhere", |w| {
        let events = items(&w.client().get("/apis/events.k8s.io/v1/namespaces/default/events").unwrap());
        let ours = |e: &&Value| e["regarding"]["name"] == "huge" && e["reportingController"] == "stowage";
        let mut said = events.iter().filter(ours).map(|e| e["note"].as_str().unwrap().to_owned());
        // The first plan may have been made before the NodePool was looked at.
        said.find(|note| !note.contains("it has not been looked at yet"))
    });
    assert!(why.starts_with("Fits no node: NodePool default: needs") && why.contains("CPUs"), "{why}");

    let measured = controller.metrics().unwrap();
    let made = format!(
        "karpenter_nodeclaims_created_total{{min_values_relaxed=\"false\",nodepool=\"default\",reason=\"provisioned\"}} {}",
        claims.len()
    );
    assert!(measured.contains(&made), "{made} in {measured}");

    // Machines take their time; the controller does not ask twice meanwhile, nor after it was killed.
    for claim in &claims[..claims.len() / 2] {
        world.join(claim);
    }
    assert!(controller.log().unwrap().contains("asked for a node"));
    drop(controller);
    let _again = world.controller("controller-again");
    for claim in &claims[claims.len() / 2..] {
        world.join(claim);
    }
    world.until("all pods to run", |w| (w.bound() == 24).then_some(()));
    assert_eq!(world.claims().len(), claims.len());
}

#[test]
fn one_of_two_replicas_leads_and_the_other_takes_over() {
    let world = World::start();
    let first = world.controller("first");
    let leads = |controller: &Controller| controller.log().unwrap().contains("leads lease=").then_some(());
    world.until("the first to lead", |_| leads(&first));
    let second = world.controller("second");
    world.until("the second to be ready", |_| second.is_ready().then_some(()));
    world.pod("web-0", "900m");
    world.until("a claim", |w| (w.claims().len() == 1).then_some(()));
    assert_eq!(leads(&second), None, "one is enough");

    // Killed: it cannot give the lease back, so that it has to run out.
    drop(first);
    world.until("the second to lead", |_| leads(&second));
    let claim = world.claims().remove(0);
    world.join(&claim);
    world.until("the pod to run", |w| (w.bound() == 1).then_some(()));
    world.pod("more", "30");
    world.until("another claim", |w| (w.claims().len() == 2).then_some(()));
}
