//! A cluster that Karpenter has run until now, with the manifests of somebody who uses it: its nodes are adopted and kept,
//! what is new is launched from the same manifests, and from then on they live like all others.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "common/world.rs"]
mod common;

use std::time::Duration;

use serde_json::{Map, Value, json};
use stowage_e2e::aws::all;
use stowage_e2e::{Controller, REGION, World, holds};

use common::{CLAIMS, CLASSES, DEPLOYMENTS, POOLS, deployment, looks, name, nothing_is_left_over};

const MANIFESTS: [&str; 2] =
    [include_str!("../karpenter/ec2nodeclass.yaml"), include_str!("../karpenter/nodepools.yaml")];

const NODE_CLASS: &str = "standard";

/// A node that Karpenter has made.
struct Made {
    claim: &'static str,
    node: &'static str,
    pool: &'static str,
    instance_type: &'static str,
    zone: &'static str,
    capacity_type: &'static str,
    arch: &'static str,
}

const MADE: [Made; 4] = [
    Made {
        claim: "general-7xk2p",
        node: "ip-10-0-0-1.ec2.internal",
        pool: "general",
        instance_type: "m7i.2xlarge",
        zone: "us-east-1a",
        capacity_type: "on-demand",
        arch: "amd64",
    },
    Made {
        claim: "general-q9dlm",
        node: "ip-10-0-0-2.ec2.internal",
        pool: "general",
        instance_type: "m7i.2xlarge",
        zone: "us-east-1b",
        capacity_type: "on-demand",
        arch: "amd64",
    },
    Made {
        claim: "batch-c4w8h",
        node: "ip-10-0-0-3.ec2.internal",
        pool: "batch",
        instance_type: "m7i.xlarge",
        zone: "us-east-1a",
        capacity_type: "spot",
        arch: "amd64",
    },
    Made {
        claim: "arm-z6n5b",
        node: "ip-10-0-0-4.ec2.internal",
        pool: "arm",
        instance_type: "c7g.xlarge",
        zone: "us-east-1a",
        capacity_type: "on-demand",
        arch: "arm64",
    },
];

/// What the manifests count on in the account: tags of subnets and security groups, a role, images. Returns the images by
/// architecture.
fn account(world: &World) -> Map<String, Value> {
    let subnets = all(&world.ec2.ask("DescribeSubnets", &[]).unwrap(), "subnetId");
    let default = [("Filter.1.Name", "group-name"), ("Filter.1.Value.1", "default")];
    let groups = all(&world.ec2.ask("DescribeSecurityGroups", &default).unwrap(), "groupId");
    for id in subnets.iter().chain(groups.iter().take(1)) {
        let form = [
            ("ResourceId.1", id.as_str()),
            ("Tag.1.Key", "karpenter.sh/discovery"),
            ("Tag.1.Value", &world.cluster),
        ];
        world.ec2.ask("CreateTags", &form).unwrap();
    }
    let trust = json!({"Version": "2012-10-17", "Statement": []}).to_string();
    let role = format!("KarpenterNodeRole-{}", world.cluster);
    let form = [("RoleName", role.as_str()), ("AssumeRolePolicyDocument", &trust)];
    world.iam("CreateRole", &form).unwrap();
    let mut images = Map::new();
    for (arch, of) in [("amd64", "x86_64"), ("arm64", "arm64")] {
        let filter = [("Filter.1.Name", "architecture"), ("Filter.1.Value.1", of)];
        let image = all(&world.ec2.ask("DescribeImages", &filter).unwrap(), "imageId").remove(0);
        let path = format!(
            "/aws/service/eks/optimized-ami/1.35/amazon-linux-2023/{of}/standard/recommended/image_id"
        );
        world.front.change(|stock| drop(stock.parameters.insert(path, image.clone())));
        images.insert(arch.to_owned(), json!(image));
    }
    images
}

/// What Karpenter writes on the NodePools of the manifests, with the defaults that the API server fills in: made by
/// `benches/peer/hashes`, which is Karpenter's code.
const HASHES: [(&str, &str); 3] =
    [("general", "7250399309491761513"), ("batch", "9454454763372610565"), ("arm", "13978319380612168392")];

/// Applies the manifests, with what Karpenter has written into them.
fn apply(world: &World) {
    let (from, to) = ("${CLUSTER_NAME}", &world.cluster);
    for text in MANIFESTS {
        for mut object in serde_saphyr::from_multiple::<Value>(&text.replace(from, to)).unwrap() {
            let is_pool = object["kind"] == "NodePool";
            if !is_pool {
                object["metadata"]["annotations"] = json!({
                    "karpenter.k8s.aws/ec2nodeclass-hash": "11870542310562142315",
                    "karpenter.k8s.aws/ec2nodeclass-hash-version": "v6",
                });
                object["metadata"]["finalizers"] = json!(["karpenter.k8s.aws/termination"]);
            }
            let made = world.client().create(if is_pool { POOLS } else { CLASSES }, &object).unwrap();
            if is_pool {
                let hash = HASHES.iter().find(|(pool, _)| *pool == name(&made)).unwrap().1;
                let annotations = json!({"metadata": {"annotations": {
                    "karpenter.sh/nodepool-hash": hash,
                    "karpenter.sh/nodepool-hash-version": "v3",
                }}});
                world.client().patch(&format!("{POOLS}/{}", name(&made)), &annotations).unwrap();
            }
        }
    }
}

/// A machine as Karpenter launches it: found by its tags.
fn machine(world: &World, of: &Made, image: &str) -> String {
    let cluster = format!("kubernetes.io/cluster/{}", world.cluster);
    let group = [("Filter.1.Name", "group-name"), ("Filter.1.Value.1", "default")];
    let group = all(&world.ec2.ask("DescribeSecurityGroups", &group).unwrap(), "groupId").remove(0);
    let mut form = vec![
        ("ImageId", image),
        ("InstanceType", of.instance_type),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("SecurityGroupId.1", &group),
        ("Placement.AvailabilityZone", of.zone),
        ("TagSpecification.1.ResourceType", "instance"),
    ];
    if of.capacity_type == "spot" {
        form.push(("InstanceMarketOptions.MarketType", "spot"));
    }
    let tags = [
        ("karpenter.sh/nodepool", of.pool),
        ("karpenter.sh/nodeclaim", of.claim),
        ("karpenter.k8s.aws/ec2nodeclass", NODE_CLASS),
        ("eks:eks-cluster-name", world.cluster.as_str()),
        (cluster.as_str(), "owned"),
    ];
    let keys: Vec<(String, String)> = (1..=tags.len())
        .map(|at| (format!("TagSpecification.1.Tag.{at}.Key"), format!("TagSpecification.1.Tag.{at}.Value")))
        .collect();
    for ((key, value), (tag, of)) in keys.iter().zip(&tags) {
        form.extend([(key.as_str(), *tag), (value.as_str(), *of)]);
    }
    all(&world.ec2.ask("RunInstances", &form).unwrap(), "instanceId").remove(0)
}

/// The objects of a node that Karpenter has made; returns the machine.
fn left_behind(world: &World, of: &Made, image: &str) -> String {
    let id = machine(world, of, image);
    let provider = format!("aws:///{}/{id}", of.zone);
    let facts = world.catalog.types.iter().find(|t| t.name == of.instance_type).unwrap();
    let mut labels: Map<String, Value> =
        facts.labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    let pool = world.client().get(&format!("{POOLS}/{}", of.pool)).unwrap();
    let template = &pool["spec"]["template"];
    for (key, value) in template["metadata"]["labels"].as_object().into_iter().flatten() {
        labels.insert(key.clone(), value.clone());
    }
    for (key, value) in [
        ("karpenter.sh/nodepool", of.pool),
        ("karpenter.sh/capacity-type", of.capacity_type),
        ("karpenter.k8s.aws/ec2nodeclass", NODE_CLASS),
        ("kubernetes.io/arch", of.arch),
        ("kubernetes.io/os", "linux"),
        ("node.kubernetes.io/instance-type", of.instance_type),
        ("topology.kubernetes.io/region", REGION),
        ("topology.kubernetes.io/zone", of.zone),
    ] {
        labels.insert(key.to_owned(), json!(value));
    }
    let amounts = |all: Vec<(String, String)>| -> Value {
        Value::Object(all.into_iter().map(|(key, value)| (key, json!(value))).collect())
    };
    let capacity = amounts(facts.resources.iter().map(|(k, v)| (k.clone(), v.to_string())).collect());
    let allocatable = amounts(facts.allocatable().into_iter().map(|(k, v)| (k, v.to_string())).collect());
    let class = world.client().get(&format!("{CLASSES}/{NODE_CLASS}")).unwrap();
    let hashed = |object: &Value, key: &str| object["metadata"]["annotations"][key].clone();
    let mut spec = template["spec"].clone();
    spec["requirements"].as_array_mut().unwrap().extend([
        json!({"key": "karpenter.sh/nodepool", "operator": "In", "values": [of.pool]}),
        json!({"key": "node.kubernetes.io/instance-type", "operator": "In",
               "values": ["m7i.2xlarge", "m7i.xlarge", "c7g.xlarge"]}),
    ]);
    spec["resources"] = json!({"requests": {"cpu": "2"}});
    let claim = json!({
        "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
        "metadata": {
            "name": of.claim, "labels": labels, "finalizers": ["karpenter.sh/termination"],
            "annotations": {
                "karpenter.k8s.aws/ec2nodeclass-hash": hashed(&class, "karpenter.k8s.aws/ec2nodeclass-hash"),
                "karpenter.k8s.aws/ec2nodeclass-hash-version": "v6",
                "karpenter.k8s.aws/tagged": "true",
                "karpenter.sh/nodepool-hash": hashed(&pool, "karpenter.sh/nodepool-hash"),
                "karpenter.sh/nodepool-hash-version": "v3",
            },
            "ownerReferences": [{
                "apiVersion": "karpenter.sh/v1", "kind": "NodePool", "name": of.pool,
                "uid": pool["metadata"]["uid"], "blockOwnerDeletion": true,
            }],
        },
        "spec": spec,
    });
    let created = world.client().create(CLAIMS, &claim).unwrap();
    let condition = |kind: &str| {
        json!({
            "type": kind, "status": "True", "reason": kind, "message": "", "lastTransitionTime": "2026-07-01T10:00:00Z",
        })
    };
    let conditions = ["Launched", "Registered", "Initialized", "Ready"].map(condition);
    let status = json!({"status": {
        "providerID": provider, "imageID": image, "nodeName": of.node,
        "capacity": capacity, "allocatable": allocatable, "conditions": conditions,
    }});
    world.client().patch(&format!("{CLAIMS}/{}/status", of.claim), &status).unwrap();

    for key in ["karpenter.sh/registered", "karpenter.sh/initialized"] {
        labels.insert(key.to_owned(), json!("true"));
    }
    labels.insert("kubernetes.io/hostname".to_owned(), json!(of.node));
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": of.node, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"},
            "finalizers": ["karpenter.sh/termination"],
            "ownerReferences": [{
                "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "name": of.claim,
                "uid": created["metadata"]["uid"], "blockOwnerDeletion": true,
            }],
        },
        "spec": {"providerID": provider, "taints": template["spec"]["taints"]},
        "status": {"capacity": capacity, "allocatable": allocatable},
    });
    world.client().create("/api/v1/nodes", &node).unwrap();
    id
}

/// Workloads that fill the nodes, so that none is worth replacing.
fn workloads(world: &World) -> usize {
    let on = |pool: &str| json!({"nodeSelector": {"karpenter.sh/nodepool": pool}});
    let batch = json!({
        "nodeSelector": {"karpenter.sh/nodepool": "batch"},
        "tolerations": [{"key": "example.com/batch", "operator": "Exists"}],
    });
    for (name, replicas, more) in [("shop", 14, on("general")), ("nightly", 3, batch), ("arm", 3, on("arm"))]
    {
        world.client().create(DEPLOYMENTS, &deployment(name, replicas, "1", &more)).unwrap();
    }
    20
}

/// What tells an object from another of its name, for all of a collection.
fn uids(objects: &[Value]) -> Vec<(String, String)> {
    let uid = |object: &Value| object["metadata"]["uid"].as_str().unwrap().to_owned();
    let mut all: Vec<_> = objects.iter().map(|object| (name(object).to_owned(), uid(object))).collect();
    all.sort();
    all
}

/// What Cilium's agent does on a node that has joined: it is ready, and takes its taint off.
fn agents(world: &World) {
    for node in world.nodes().unwrap_or_default() {
        let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
        let (own, others): (Vec<Value>, Vec<Value>) =
            taints.into_iter().partition(|taint| taint["key"] == "node.cilium.io/agent-not-ready");
        if !own.is_empty() {
            let version = &node["metadata"]["resourceVersion"];
            let patch = json!({"metadata": {"resourceVersion": version}, "spec": {"taints": others}});
            // Somebody else has changed it: another time.
            drop(world.client().patch(&format!("/api/v1/nodes/{}", name(&node)), &patch));
        }
    }
}

/// Waits until so many pods run, and every NodeClaim is ready.
fn settled(world: &World, pods: usize) -> Vec<Value> {
    world
        .within(Duration::from_mins(2), "all pods to run on nodes that are ready", |w| {
            agents(w);
            let claims = w.claims()?;
            let ready = claims.iter().all(|claim| holds(claim, "Ready"));
            Ok((ready && w.running()? == pods).then_some(claims))
        })
        .unwrap()
}

/// Waits until it was looked so often whether nodes should go.
fn looked(world: &World, controller: &Controller, times: usize) {
    let before = looks(controller);
    let what = format!("{times} looks for nodes that should go");
    world
        .within(Duration::from_mins(3), &what, |_| Ok((looks(controller) >= before + times).then_some(())))
        .unwrap();
}

#[test]
fn nodes_of_karpenter_are_adopted_and_kept() {
    let world = World::start("compatibility").unwrap();
    let images = account(&world);
    apply(&world);
    let ids: Vec<String> =
        MADE.iter().map(|of| left_behind(&world, of, images[of.arch].as_str().unwrap())).collect();
    let pods = workloads(&world);
    world.until("pods to run on the old nodes", |w| Ok((w.running()? == pods).then_some(()))).unwrap();
    let before =
        (uids(&world.claims().unwrap()), uids(&world.nodes().unwrap()), uids(&world.pods().unwrap()));

    // Consolidation is on, after 5 s; drift is looked for; nothing has a reason to go.
    let controller = world.controller("controller", &[]).unwrap();
    world
        .until("the class to be ready", |w| {
            Ok(holds(&w.client().get(&format!("{CLASSES}/{NODE_CLASS}"))?, "Ready").then_some(()))
        })
        .unwrap();
    looked(&world, &controller, 5);
    let after = (uids(&world.claims().unwrap()), uids(&world.nodes().unwrap()), uids(&world.pods().unwrap()));
    assert_eq!(after, before, "{}", controller.log().unwrap());
    let class = world.client().get(&format!("{CLASSES}/{NODE_CLASS}")).unwrap();
    for claim in world.claims().unwrap() {
        assert!(holds(&claim, "Ready") && !holds(&claim, "Drifted"), "{claim:#}");
        for key in ["ec2nodeclass-hash", "ec2nodeclass-hash-version"] {
            let of = |object: &Value| {
                object["metadata"]["annotations"][format!("karpenter.k8s.aws/{key}")].clone()
            };
            assert!(of(&class).is_string() && of(&claim) == of(&class), "{claim:#}: it cannot drift again");
        }
    }
    for pool in ["general", "batch", "arm"] {
        let pool = world.client().get(&format!("{POOLS}/{pool}")).unwrap();
        assert!(holds(&pool, "Ready"), "{pool:#}");
        let hash = pool["metadata"]["annotations"]["karpenter.sh/nodepool-hash"].as_str();
        assert_eq!(hash, HASHES.iter().find(|(of, _)| *of == name(&pool)).map(|(_, hash)| *hash));
        assert!(pool["status"]["resources"]["cpu"].is_string(), "what its nodes have is counted: {pool:#}");
    }

    // More than the old nodes have room for: what is left gets a node from the same manifests.
    let more = json!({"nodeSelector": {"karpenter.sh/nodepool": "general"}});
    world.client().create(DEPLOYMENTS, &deployment("new", 3, "1", &more)).unwrap();
    let claims = settled(&world, pods + 3);
    let new: Vec<&Value> =
        claims.iter().filter(|claim| MADE.iter().all(|made| made.claim != name(claim))).collect();
    assert_eq!((claims.len(), new.len()), (5, 1), "{claims:#?}");
    let labels = &new[0]["metadata"]["labels"];
    assert_eq!(
        (&labels["team"], &labels["karpenter.k8s.aws/instance-family"]),
        (&json!("shop"), &json!("m7i"))
    );
    nothing_is_left_over(&world);
    let there = world.machines().unwrap();
    assert!(ids.iter().all(|id| there.iter().any(|machine| machine.id == *id)), "the old machines run");

    // From here on they live like all others: a template that changes is drift, and the node makes way for another.
    let changed = json!({"spec": {"template": {"metadata": {"labels": {"team": "farm"}}}}});
    world.client().patch(&format!("{POOLS}/arm"), &changed).unwrap();
    world
        .within(Duration::from_mins(4), "the old node of arm to be replaced", |w| {
            let claims = w.claims()?;
            let is_new = |c: &Value| {
                c["metadata"]["labels"]["karpenter.sh/nodepool"] == "arm"
                    && name(c) != "arm-z6n5b"
                    && holds(c, "Ready")
            };
            agents(w);
            let gone = !w.machines()?.iter().any(|machine| machine.id == ids[3]);
            Ok((gone && claims.iter().any(is_new) && w.running()? == pods + 3).then_some(()))
        })
        .unwrap();
    let claims = world.claims().unwrap();
    let kept = |of: &Made| claims.iter().any(|claim| name(claim) == of.claim);
    assert!(MADE[..3].iter().all(kept), "no other node goes for it");

    // And one that is deleted ends as our own do.
    world.client().delete(&format!("{CLAIMS}/{}", MADE[0].claim)).unwrap();
    world
        .within(Duration::from_mins(2), "the old machine to be gone", |w| {
            let there = w.machines()?.iter().any(|machine| machine.id == ids[0]);
            Ok((!there && w.claims()?.iter().all(|claim| name(claim) != MADE[0].claim)).then_some(()))
        })
        .unwrap();
    settled(&world, pods + 3);
    nothing_is_left_over(&world);
}
