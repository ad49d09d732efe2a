//! `NodePools` on a real API server: what is wrong with them, whether they are ready, what their nodes have together.
//!
//! What launches machines is played here, and so is whoever looks classes up.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use stowage_e2e::{Client, ControlPlane, Controller, Options, crds};
use stowage_pricing::{Catalog, Settings};

use common::{CLAIMS, PODS, items, node_pool, ready_class, set_class, until};

const POOLS: &str = "/apis/karpenter.sh/v1/nodepools";

/// What does not come about by then never will.
const PATIENCE: Duration = Duration::from_mins(1);

struct World {
    plane: ControlPlane,
    flags: Vec<String>,
}

impl World {
    fn start() -> Self {
        let options = Options { scheduler: Some(Options::scheduler()), ..Options::default() };
        let plane = ControlPlane::start(&options).unwrap();
        crds::install(plane.client()).unwrap();
        let catalog = Catalog::embedded("us-east-1", &Settings::default()).unwrap();
        let file = plane.logs().join("catalog.json");
        fs::write(&file, catalog.to_json()).unwrap();
        let flags = ["--catalog", &file.display().to_string(), "--log-format", "text", "--disable-launch"];
        Self { flags: flags.map(str::to_owned).to_vec(), plane }
    }

    fn client(&self) -> &Client {
        self.plane.client()
    }

    fn controller(&self, more: &[&str]) -> Controller {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
        Controller::start(&self.plane, "controller", &flags, &[]).unwrap()
    }

    /// Waits until something holds of the cluster.
    fn until<T>(&self, what: &str, mut holds: impl FnMut(&Client) -> Option<T>) -> T {
        until(&self.plane, PATIENCE, what, || holds(self.client()))
    }

    /// Waits until a condition of an object has this status and says this.
    fn condition(&self, object: &str, kind: &str, status: &str, says: &str) {
        let what = format!("{object} to have {kind}={status}: {says}");
        self.until(&what, |client| {
            let object = client.get(object).unwrap();
            let found = condition(&object, kind)?;
            let message = found["message"].as_str().unwrap_or_default();
            (found["status"] == status && message.contains(says)).then_some(())
        });
    }

    fn events(&self, pod: &str) -> Vec<String> {
        let events = items(&self.client().get("/apis/events.k8s.io/v1/namespaces/default/events").unwrap());
        let ours =
            events.iter().filter(|e| e["regarding"]["name"] == pod && e["reportingController"] == "stowage");
        ours.map(|e| e["note"].as_str().unwrap().to_owned()).collect()
    }
}

fn condition<'o>(object: &'o Value, kind: &str) -> Option<&'o Value> {
    object["status"]["conditions"].as_array()?.iter().find(|c| c["type"] == kind)
}

fn pod(name: &str) -> Value {
    let resources = json!({"requests": {"cpu": "900m", "memory": "1Gi"}});
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "main", "resources": resources}]},
    })
}

fn named(mut pool: Value, name: &str) -> Value {
    pool["metadata"]["name"] = json!(name);
    pool
}

#[test]
fn a_pool_says_how_it_stands_and_pods_why_they_wait() {
    let world = World::start();
    let client = world.client();
    client.create(POOLS, &node_pool()).unwrap();
    client.create(PODS, &pod("early")).unwrap();
    let controller = world.controller(&[]);
    let default = format!("{POOLS}/default");
    world.condition(&default, "NodeClassReady", "False", "EC2NodeClass default does not exist: create it");
    world.condition(&default, "ValidationSucceeded", "True", "");
    world.condition(&default, "Ready", "False", "NodeClassReady=False");
    world.until("the pod to be told", |_| {
        let why = "Fits no node: NodePool default is not ready: EC2NodeClass default does not exist";
        world.events("early").iter().any(|note| note.starts_with(why)).then_some(())
    });
    assert_eq!(items(&client.get(CLAIMS).unwrap()).len(), 0);

    ready_class(client);
    world.condition(&default, "Ready", "True", "");
    world.until("a claim", |client| (items(&client.get(CLAIMS).unwrap()).len() == 1).then_some(()));
    set_class(client, "False");
    world.condition(
        &default,
        "NodeClassReady",
        "False",
        "EC2NodeClass default is not ready: SubnetsReady=False",
    );
    set_class(client, "True");
    world.condition(&default, "Ready", "True", "");

    // Karpenter's own hash of this template, and the same on the claim.
    let pool = client.get(&default).unwrap();
    let annotations = &pool["metadata"]["annotations"];
    assert_eq!(annotations["karpenter.sh/nodepool-hash"], "6821555240594823858");
    assert_eq!(annotations["karpenter.sh/nodepool-hash-version"], "v3");
    let claim = items(&client.get(CLAIMS).unwrap()).remove(0);
    assert_eq!(claim["metadata"]["annotations"]["karpenter.sh/nodepool-hash"], "6821555240594823858");
    assert_eq!(pool["status"]["nodeClassObservedGeneration"], 1);
    assert_eq!(pool["status"]["resources"]["cpu"], "0");

    // What it is launched as counts, and no more once it is gone.
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "n-1", "labels": {"karpenter.sh/nodepool": "default"}},
        "spec": {"providerID": "aws:///us-east-1a/i-1"},
        "status": {"capacity": {"cpu": "4", "memory": "8Gi", "vpc.amazonaws.com/pod-eni": "9"}},
    });
    client.create("/api/v1/nodes", &node).unwrap();
    let resources = |client: &Client| client.get(&default).unwrap()["status"]["resources"].take();
    world.until("the node to count", |client| {
        (resources(client)["vpc.amazonaws.com/pod-eni"] == "9").then_some(())
    });
    let counted = client.get(&default).unwrap();
    assert_eq!(
        (&counted["status"]["nodes"], &counted["status"]["resources"]["memory"]),
        (&json!(1), &json!("8Gi"))
    );
    let measured = controller.metrics().unwrap();
    let ready = "type=\"Ready\",status=\"True\",reason=\"Ready\"} 1";
    for line in [
        "karpenter_nodepools_usage{resource_type=\"memory\",nodepool=\"default\"} 8589934592".to_owned(),
        "karpenter_pods_unbound_time_seconds{name=\"early\",namespace=\"default\"} ".to_owned(),
        "karpenter_pods_state{name=\"early\",namespace=\"default\",owner=\"\",node=\"\",scheduled=\"false\""
            .to_owned(),
        "stowage_api_calls_total{resource=\"nodeclaims\",verb=\"create\"} 1".to_owned(),
        format!("operator_nodepool_status_condition_count{{name=\"default\",namespace=\"\",{ready}"),
        "karpenter_build_info{".to_owned(),
    ] {
        assert!(measured.lines().any(|l| l.starts_with(&line)), "{line} in {measured}");
    }
    client.delete("/api/v1/nodes/n-1").unwrap();
    let none = json!({"cpu": "0", "memory": "0", "pods": "0", "ephemeral-storage": "0", "nodes": "0"});
    world.until("the node to count no more", |client| (resources(client) == none).then_some(()));
}

#[test]
fn a_hash_of_another_version_is_carried_over() {
    let world = World::start();
    let client = world.client();
    ready_class(client);
    let mut pool = node_pool();
    pool["metadata"]["annotations"] =
        json!({"karpenter.sh/nodepool-hash": "1", "karpenter.sh/nodepool-hash-version": "v2"});
    let created = client.create(POOLS, &pool).unwrap();
    let claim = |name: &str| {
        json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
            "metadata": {
                "name": name, "labels": {"karpenter.sh/nodepool": "default"},
                "annotations": {"karpenter.sh/nodepool-hash": "1", "karpenter.sh/nodepool-hash-version": "v2"},
                "ownerReferences": [{"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "name": "default",
                    "uid": created["metadata"]["uid"], "blockOwnerDeletion": true}],
            },
            "spec": {"requirements": [], "nodeClassRef": created["spec"]["template"]["spec"]["nodeClassRef"]},
        })
    };
    for name in ["fresh", "drifted"] {
        client.create(CLAIMS, &claim(name)).unwrap();
    }
    let drifted = json!({"type": "Drifted", "status": "True", "reason": "NodePoolDrifted",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    client.patch(&format!("{CLAIMS}/drifted/status"), &json!({"status": {"conditions": [drifted]}})).unwrap();
    let _controller = world.controller(&[]);
    let annotated = |client: &Client, path: &str| {
        let annotations = client.get(path).unwrap()["metadata"]["annotations"].take();
        let text = |key: &str| annotations[key].as_str().unwrap_or_default().to_owned();
        (text("karpenter.sh/nodepool-hash"), text("karpenter.sh/nodepool-hash-version"))
    };
    world.until("the pool to have the new version", |client| {
        (annotated(client, &format!("{POOLS}/default")).1 == "v3").then_some(())
    });
    let new = ("6821555240594823858".to_owned(), "v3".to_owned());
    assert_eq!(annotated(client, &format!("{CLAIMS}/fresh")), new);
    assert_eq!(annotated(client, &format!("{CLAIMS}/drifted")), ("1".to_owned(), "v3".to_owned()));
}

#[test]
fn what_is_wrong_with_a_pool_holds_up_no_other() {
    let world = World::start();
    let client = world.client();
    ready_class(client);
    let with = |name: &str, change: &dyn Fn(&mut Value)| {
        let mut pool = named(node_pool(), name);
        change(&mut pool["spec"]);
        client.create(POOLS, &pool).unwrap();
        format!("{POOLS}/{name}")
    };
    let taint = json!({"key": "dedicated", "effect": "NoSchedule"});
    let twice = with("twice", &|spec| {
        spec["template"]["spec"]["taints"] = json!([taint]);
        spec["template"]["spec"]["startupTaints"] = json!([taint]);
    });
    let misspelt = with("misspelt", &|spec| {
        spec["wieght"] = json!(10);
        spec["template"]["spec"]["expireafter"] = json!("1h");
    });
    let kind = with("kind", &|spec| {
        let requirements = spec["template"]["spec"]["requirements"].as_array_mut().unwrap();
        requirements
            .push(json!({"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["sport"]}));
    });
    let contradiction = with("contradiction", &|spec| {
        let requirements = spec["template"]["spec"]["requirements"].as_array_mut().unwrap();
        requirements.push(json!({"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64"]}));
    });
    let annotated = {
        let mut pool = named(node_pool(), "annotated");
        pool["metadata"]["annotations"] = json!({"stowage.dev/node-cost": "much"});
        client.create(POOLS, &pool).unwrap();
        format!("{POOLS}/annotated")
    };
    let other = {
        let mut pool = named(node_pool(), "other");
        pool["spec"]["template"]["spec"]["nodeClassRef"]["name"] = json!("none");
        client.create(POOLS, &pool).unwrap();
        format!("{POOLS}/other")
    };
    client.create(PODS, &pod("web")).unwrap();
    let _controller = world.controller(&[]);
    world.condition(
        &twice,
        "ValidationSucceeded",
        "False",
        "spec.template.spec.startupTaints[0]: dedicated:NoSchedule",
    );
    world.condition(
        &kind,
        "ValidationSucceeded",
        "False",
        "(karpenter.sh/capacity-type): none of sport is one of its values",
    );
    world.condition(
        &annotated,
        "ValidationSucceeded",
        "False",
        "metadata.annotations[stowage.dev/node-cost]: ",
    );
    world.condition(
        &misspelt,
        "ValidationSucceeded",
        "True",
        "not looked at: spec.wieght, spec.template.spec.expireafter",
    );
    world.condition(&contradiction, "Ready", "True", "");
    world.condition(&other, "NodeClassReady", "False", "EC2NodeClass none does not exist");
    world.condition(&misspelt, "Ready", "True", "");
    let claim = world.until("a claim", |client| items(&client.get(CLAIMS).unwrap()).pop());
    assert_eq!(claim["metadata"]["labels"]["karpenter.sh/nodepool"], "misspelt");
}

/// NodePools by the thousand, one for each tenant, and a pod that nobody writes on purpose.
#[test]
fn thousands_of_pools_and_a_pod_with_a_thousand_terms_hold_nobody_up() {
    const POOLS_MADE: usize = 5000;
    const SIDE_BY_SIDE: usize = 8;
    let world = World::start();
    let client = world.client();
    ready_class(client);
    std::thread::scope(|scope| {
        for first in 0..SIDE_BY_SIDE {
            scope.spawn(move || {
                for at in (first..POOLS_MADE).step_by(SIDE_BY_SIDE) {
                    let mut pool = named(node_pool(), &format!("tenant-{at}"));
                    pool["spec"]["template"]["metadata"] =
                        json!({"labels": {"example.com/tenant": format!("t{at}")}});
                    let taint = json!({"key": "tenant", "value": format!("t{at}"), "effect": "NoSchedule"});
                    pool["spec"]["template"]["spec"]["taints"] = json!([taint]);
                    client.create(POOLS, &pool).unwrap();
                }
            });
        }
    });
    let term = |at: usize| {
        let values = json!([format!("app-{at}")]);
        json!({
            "topologyKey": "topology.kubernetes.io/zone",
            "labelSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": values}]},
        })
    };
    let tenant = |name: &str, of: usize| {
        let mut pod = pod(name);
        pod["spec"]["tolerations"] =
            json!([{"key": "tenant", "operator": "Equal", "value": format!("t{of}")}]);
        pod["spec"]["nodeSelector"] = json!({"example.com/tenant": format!("t{of}")});
        pod
    };
    let mut hostile = tenant("hostile", 7);
    let terms: Vec<Value> = (0..1000).map(term).collect();
    hostile["spec"]["affinity"] =
        json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}});
    client.create(PODS, &hostile).unwrap();
    client.create(PODS, &tenant("web", 4321)).unwrap();
    client.create(PODS, &tenant("nobody", POOLS_MADE)).unwrap();

    let _controller = world.controller(&[]);
    let patience = Duration::from_mins(5);
    let pools = until(&world.plane, patience, "claims of both tenants", || {
        let claims = items(&client.get(CLAIMS).unwrap());
        let pool =
            |claim: &Value| claim["metadata"]["labels"]["karpenter.sh/nodepool"].as_str().map(str::to_owned);
        let mut pools: Vec<String> = claims.iter().filter_map(pool).collect();
        pools.sort_unstable();
        (pools.len() == 2).then_some(pools)
    });
    assert_eq!(pools, ["tenant-4321", "tenant-7"]);
    let why = until(&world.plane, patience, "the pod of nobody to be told", || world.events("nobody").pop());
    // The first few are named, not all of them.
    assert!(why.starts_with("Fits no node: ") && why.len() <= 1024, "{why}");
    until(&world.plane, patience, "every pool to be ready", || {
        let all = items(&client.get(POOLS).unwrap());
        all.iter().all(|pool| condition(pool, "Ready").is_some_and(|c| c["status"] == "True")).then_some(())
    });
}

#[test]
fn a_static_pool_keeps_its_replicas() {
    let world = World::start();
    let client = world.client();
    ready_class(client);
    let mut pool = named(node_pool(), "fixed");
    pool["spec"]["replicas"] = json!(3);
    pool["spec"]["limits"] = json!({"nodes": "4"});
    client.create(POOLS, &pool).unwrap();
    client.create(PODS, &pod("web")).unwrap();
    let _controller = world.controller(&["--feature-gates", "StaticCapacity=true"]);
    let claims = |client: &Client| items(&client.get(CLAIMS).unwrap());
    let alive = |client: &Client| {
        let alive = |c: &Value| c["metadata"]["deletionTimestamp"].is_null();
        claims(client)
            .into_iter()
            .filter(alive)
            .map(|c| c["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let keep = |count: usize| -> Vec<String> {
        world.until(&format!("{count} claims"), |client| {
            let names: Vec<String> = alive(client);
            (names.len() == count).then_some(names)
        })
    };
    keep(3);
    for claim in claims(client) {
        assert_eq!(claim["metadata"]["labels"]["karpenter.sh/nodepool"], "fixed");
        assert!(claim["metadata"]["annotations"]["karpenter.sh/nodepool-hash"].is_string());
        let keys = claim["spec"]["requirements"].as_array().unwrap();
        assert!(
            keys.iter().all(|r| r["key"] != "node.kubernetes.io/instance-type"),
            "all that the pool admits"
        );
    }
    // Pods are none of its business, and it is said so.
    world.until("the pod to be told", |_| {
        world
            .events("web")
            .iter()
            .any(|note| note.contains("there is no NodePool to launch nodes from"))
            .then_some(())
    });

    // Above the limit nothing is made; what goes counts until it is gone, and finalizers are ours to take.
    let fixed = format!("{POOLS}/fixed");
    client.patch(&fixed, &json!({"spec": {"replicas": 9}})).unwrap();
    let four = keep(4);
    let launched = json!({"status": {"providerID": "aws:///us-east-1a/i-1", "nodeName": "n-1"}});
    client.patch(&format!("{CLAIMS}/{}/status", four[0]), &launched).unwrap();
    client.patch(&fixed, &json!({"spec": {"replicas": 1}})).unwrap();
    assert_eq!(keep(1), four[..1], "what has a machine goes last");
    for name in &four[1..] {
        client.patch(&format!("{CLAIMS}/{name}"), &json!({"metadata": {"finalizers": null}})).unwrap();
    }
    world.until("them to be gone", |client| (claims(client).len() == 1).then_some(()));
}

#[test]
fn a_buffer_keeps_room_for_pods_to_come() {
    let world = World::start();
    let client = world.client();
    ready_class(client);
    client.create(POOLS, &node_pool()).unwrap();
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": pod("web")["spec"]});
    let workload = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 8, "selector": {"matchLabels": {"app": "web"}}, "template": template},
    });
    client.create("/apis/apps/v1/namespaces/default/deployments", &workload).unwrap();
    let buffers = "/apis/autoscaling.x-k8s.io/v1beta1/namespaces/default/capacitybuffers";
    let buffer = |name: &str, spec: Value| {
        let object = json!({
            "apiVersion": "autoscaling.x-k8s.io/v1beta1", "kind": "CapacityBuffer",
            "metadata": {"name": name}, "spec": spec,
        });
        client.create(buffers, &object).unwrap();
        format!("{buffers}/{name}")
    };
    let scalable = |kind: &str| json!({"apiGroup": "apps", "kind": kind, "name": "web"});
    let quarter = buffer("quarter", json!({"scalableRef": scalable("Deployment"), "percentage": 25}));
    let nobodys = buffer("nobodys", json!({"scalableRef": scalable("StatefulSet"), "replicas": 1}));
    let none = buffer("none", json!({"podTemplateRef": {"name": "late"}, "replicas": 0}));
    let other = buffer(
        "other",
        json!({
            "scalableRef": scalable("Deployment"), "replicas": 1, "provisioningStrategy": "somebody.else/strategy",
        }),
    );
    let _controller = world.controller(&["--feature-gates", "CapacityBuffer=true"]);
    world.condition(&nobodys, "ReadyForProvisioning", "False", "StatefulSet default/web does not exist");
    world.condition(&nobodys, "Provisioning", "False", "its pods are not known");
    world.condition(&none, "ReadyForProvisioning", "False", "PodTemplate default/late does not exist");
    world.condition(&quarter, "ReadyForProvisioning", "True", "");
    let claim = world.until("a claim", |client| items(&client.get(CLAIMS).unwrap()).pop());
    let requests = &claim["spec"]["resources"]["requests"];
    assert_eq!((&requests["cpu"], &requests["pods"]), (&json!("1800m"), &json!("2")));
    // What was asked for is room, too: nothing is asked for again.
    world.condition(&quarter, "Provisioning", "True", "there is room for all 2 pods");
    assert_eq!(items(&client.get(CLAIMS).unwrap()).len(), 1);
    assert_eq!(client.get(&quarter).unwrap()["status"]["replicas"], 2);
    assert_eq!(client.get(&other).unwrap()["status"]["conditions"], json!(null), "others look after that");
    assert_eq!(world.events("capacity-buffer-quarter-0"), Vec::<String>::new());

    // More of it takes more room, and room that nobody can make is said to be none.
    client.patch(&quarter, &json!({"spec": {"percentage": 100_000}})).unwrap();
    client.patch(&format!("{POOLS}/default"), &json!({"spec": {"limits": {"nodes": "1"}}})).unwrap();
    world.condition(&quarter, "Provisioning", "False", "fit nowhere");
    assert_eq!(items(&client.get(CLAIMS).unwrap()).len(), 1);
    // Once its template is there, it is an empty buffer.
    let late = json!({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "late"}, "template": template});
    client.create("/api/v1/namespaces/default/podtemplates", &late).unwrap();
    client.patch(&none, &json!({"spec": {"limits": {"cpu": "4"}}})).unwrap();
    world.condition(&none, "Provisioning", "False", "it is for no pods");
    assert_eq!(client.get(&none).unwrap()["status"]["podTemplateRef"]["name"], "late");
}

#[test]
fn an_overlay_says_whether_it_is_applied() {
    let world = World::start();
    let client = world.client();
    ready_class(client);
    client.create(POOLS, &node_pool()).unwrap();
    let overlays = "/apis/karpenter.sh/v1alpha1/nodeoverlays";
    let overlay = |name: &str, price: &str| {
        let families =
            json!([{"key": "karpenter.k8s.aws/instance-family", "operator": "In", "values": ["m7i"]}]);
        let object = json!({
            "apiVersion": "karpenter.sh/v1alpha1", "kind": "NodeOverlay", "metadata": {"name": name},
            "spec": {"requirements": families, "price": price, "wait": 3},
        });
        client.create(overlays, &object).unwrap();
        format!("{overlays}/{name}")
    };
    let (first, second) = (overlay("a", "0.1"), overlay("b", "0.001"));
    let _controller = world.controller(&["--feature-gates", "NodeOverlay=true"]);
    world.condition(&second, "Ready", "True", "");
    world.condition(&second, "ValidationSucceeded", "True", "not looked at: spec.wait");
    world.condition(
        &first,
        "ValidationSucceeded",
        "False",
        "b has the same weight and sets the price of m7i",
    );
    client.create(PODS, &pod("web")).unwrap();
    let claim = world.until("a claim", |client| items(&client.get(CLAIMS).unwrap()).pop());
    let requirements = claim["spec"]["requirements"].as_array().unwrap();
    let types = requirements.iter().find(|r| r["key"] == "node.kubernetes.io/instance-type").unwrap();
    assert!(types["values"][0].as_str().unwrap().starts_with("m7i."), "nearly for nothing: {types}");
    client.patch(&first, &json!({"spec": {"weight": 5}})).unwrap();
    world.condition(&first, "Ready", "True", "");
}
