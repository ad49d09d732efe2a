//! EC2NodeClasses: what they select is found, what they need is made, and all of it goes with them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::fs;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use stowage_e2e::aws::{Front, Mishap, Stock, all};
use stowage_e2e::{Client, ControlPlane, Controller, Options, REGION, crds};
use stowage_pricing::{Catalog, Settings};

use common::{CLAIMS, CLASSES, PODS, items, node_pool, until};

/// What does not come about by then never will.
const PATIENCE: Duration = Duration::from_secs(90);

struct World {
    plane: ControlPlane,
    front: Front,
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
        Self { plane, front, cluster: cluster.to_owned() }
    }

    fn client(&self) -> &Client {
        self.plane.client()
    }

    fn controller(&self) -> Controller {
        let file = self.plane.logs().join("catalog.json").display().to_string();
        let flags = ["--catalog", &file, "--log-format", "text", "--cluster-name", &self.cluster];
        Controller::start(&self.plane, "controller", &flags, &self.front.environment(REGION)).unwrap()
    }

    /// A request of a service. moto looks for service and region in the signature, which nobody checks.
    fn post(&self, service: &str, path: &str) -> ureq::RequestBuilder<ureq::typestate::WithBody> {
        let signed = format!(
            "AWS4-HMAC-SHA256 Credential=x/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=x"
        );
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        let url = format!("{}{path}", self.front.url());
        ureq::Agent::new_with_config(config).post(url).header("Authorization", signed)
    }

    /// What a service answers, as it stands.
    fn ask(&self, service: &str, version: &str, action: &str, more: &[(&str, &str)]) -> String {
        let mut form = vec![("Action", action), ("Version", version)];
        form.extend(more);
        self.post(service, "").send_form(form).unwrap().body_mut().read_to_string().unwrap()
    }

    /// Makes the cluster known to EKS, and returns it as EKS describes it.
    fn describe(&self) -> Value {
        let role = "arn:aws:iam::123456789012:role/cluster";
        let wish =
            json!({"name": self.cluster, "roleArn": role, "resourcesVpcConfig": {}, "version": "1.35"});
        let made =
            self.post("eks", "/clusters").header("Content-Type", "application/json").send(wish.to_string());
        let made = made.unwrap().body_mut().read_to_string().unwrap();
        serde_json::from_str::<Value>(&made).unwrap()["cluster"].clone()
    }

    fn ec2(&self, action: &str, more: &[(&str, &str)]) -> String {
        self.ask("ec2", "2016-11-15", action, more)
    }

    fn iam(&self, action: &str, more: &[(&str, &str)]) -> String {
        self.ask("iam", "2010-05-08", action, more)
    }

    /// The first images of an architecture that moto has.
    fn images(&self, architecture: &str) -> Vec<String> {
        let of = [("Filter.1.Name", "architecture"), ("Filter.1.Value.1", architecture)];
        all(&self.ec2("DescribeImages", &of), "imageId")
    }

    /// A class with subnets and groups of moto, and this besides.
    fn create_class(&self, spec: &Value) {
        let by_id = |ids: &[String]| ids.iter().map(|id| json!({"id": id})).collect::<Vec<_>>();
        let default = [("Filter.1.Name", "group-name"), ("Filter.1.Value.1", "default")];
        let subnets = all(&self.ec2("DescribeSubnets", &[]), "subnetId");
        let groups = all(&self.ec2("DescribeSecurityGroups", &default), "groupId");
        let mut class = json!({
            "apiVersion": "karpenter.k8s.aws/v1", "kind": "EC2NodeClass", "metadata": {"name": "default"},
            "spec": {"subnetSelectorTerms": by_id(&subnets), "securityGroupSelectorTerms": by_id(&groups[..1])},
        });
        for (key, value) in spec.as_object().unwrap() {
            class["spec"][key] = value.clone();
        }
        self.client().create(CLASSES, &class).unwrap();
        self.client().create("/apis/karpenter.sh/v1/nodepools", &node_pool()).unwrap();
    }

    fn class(&self) -> Option<Value> {
        items(&self.client().get(CLASSES).unwrap()).into_iter().next()
    }

    /// (Status, reason, message) of a condition of the class.
    fn condition(&self, kind: &str) -> Option<(String, String, String)> {
        let class = self.class()?;
        let of = class["status"]["conditions"].as_array()?.iter().find(|c| c["type"] == kind)?.clone();
        let text = |field: &str| of[field].as_str().unwrap_or_default().to_owned();
        Some((text("status"), text("reason"), text("message")))
    }

    /// Waits until something holds of the cluster.
    fn until<T>(&self, what: &str, mut holds: impl FnMut(&Self) -> Option<T>) -> T {
        until(&self.plane, PATIENCE, what, || holds(self))
    }

    fn until_ready(&self) {
        self.until("the class to be ready", |w| w.condition("Ready").filter(|c| c.0 == "True"));
    }

    fn until_refused(&self, kind: &str, reason: &str) -> String {
        self.until(reason, |w| w.condition(kind).filter(|c| c.0 == "False" && c.1 == reason)).2
    }
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
        "spec": {"containers": [
            {"name": "web", "image": "web", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}},
        ]},
    })
}

/// A class with an alias and a role, from its first day to its last.
#[test]
fn what_a_class_needs_is_made_and_goes_with_it() {
    let world = World::start("class-life");
    let trust = json!({"Version": "2012-10-17", "Statement": []}).to_string();
    world.iam("CreateRole", &[("RoleName", "nodes-of-class-life"), ("AssumeRolePolicyDocument", &trust)]);
    let (amd, arm) = (world.images("x86_64"), world.images("arm64"));
    world.front.change(|stock| {
        let path = |of: &str| {
            format!("/aws/service/eks/optimized-ami/1.35/amazon-linux-2023/{of}/recommended/image_id")
        };
        stock.parameters.insert(path("x86_64/standard"), amd[0].clone());
        stock.parameters.insert(path("x86_64/nvidia"), amd[1].clone());
        stock.parameters.insert(path("arm64/standard"), arm[0].clone());
    });
    world.create_class(&json!({
        "amiSelectorTerms": [{"alias": "al2023@latest"}], "role": "nodes-of-class-life", "tags": {"team": "a"},
    }));
    let cluster = world.describe();
    let _controller = world.controller();
    world.until_ready();

    let class = world.class().unwrap();
    let uid = class["metadata"]["uid"].as_str().unwrap();
    let said: Vec<(String, String)> = class["status"]["amis"]
        .as_array()
        .unwrap()
        .iter()
        .map(|ami| {
            let of = ami["requirements"].as_array().unwrap().iter();
            let of =
                of.map(|r| format!("{} {}", r["key"].as_str().unwrap(), r["operator"].as_str().unwrap()));
            (ami["id"].as_str().unwrap().to_owned(), of.collect::<Vec<_>>().join(", "))
        })
        .collect();
    let plain = "kubernetes.io/arch In, karpenter.k8s.aws/instance-accelerator-count DoesNotExist, \
                 karpenter.k8s.aws/instance-gpu-count DoesNotExist";
    assert!(said.contains(&(amd[0].clone(), plain.to_owned())), "{said:?}");
    assert!(said.contains(&(arm[0].clone(), plain.to_owned())), "{said:?}");
    let with_gpu = "kubernetes.io/arch In, karpenter.k8s.aws/instance-gpu-count Exists";
    assert!(said.contains(&(amd[1].clone(), with_gpu.to_owned())), "{said:?}");
    // No parameter is read twice.
    assert_eq!(world.front.seen("GetParameter"), 5);
    assert_eq!(class["metadata"]["finalizers"], json!(["karpenter.k8s.aws/termination"]));
    let hash = &class["metadata"]["annotations"]["karpenter.k8s.aws/ec2nodeclass-hash"];
    assert!(hash.as_str().is_some_and(|hash| !hash.is_empty()));

    // A profile with the role, where Karpenter has them.
    let profile = class["status"]["instanceProfile"].as_str().unwrap().to_owned();
    assert!(profile.starts_with("class-life_"), "{profile}");
    let made = world.iam("GetInstanceProfile", &[("InstanceProfileName", &profile)]);
    assert_eq!(all(&made, "RoleName"), ["nodes-of-class-life"], "{made}");
    assert!(made.contains(&format!("<Path>/karpenter/{REGION}/class-life/{uid}/</Path>")), "{made}");

    // The machine is launched with the image for its hardware, by a template that is tagged.
    world.client().create(PODS, &pod()).unwrap();
    let claim = world.until("a machine", |w| {
        let claims = items(&w.client().get(CLAIMS).unwrap());
        claims.into_iter().find(|claim| claim["status"]["providerID"].is_string())
    });
    assert_eq!(claim["status"]["imageID"], amd[0].as_str());
    // It is told of the cluster what EKS says of it.
    let machine = claim["status"]["providerID"].as_str().unwrap().rsplit('/').next().unwrap();
    let told = STANDARD.decode(world.front.ec2(REGION).user_data(machine).unwrap()).unwrap();
    let told = String::from_utf8(told).unwrap();
    let authorities = cluster["certificateAuthority"]["data"].as_str().unwrap();
    for word in [cluster["endpoint"].as_str().unwrap().trim_end_matches('/'), authorities] {
        assert!(told.contains(word), "{word} in {told}");
    }
    let annotations = &claim["metadata"]["annotations"];
    assert_eq!(annotations["karpenter.k8s.aws/instance-profile-name"], profile.as_str());
    assert_eq!(&annotations["karpenter.k8s.aws/ec2nodeclass-hash"], hash);
    let of_cluster =
        [("Filter.1.Name", "tag:kubernetes.io/cluster/class-life"), ("Filter.1.Value.1", "owned")];
    let templates = || all(&world.ec2("DescribeLaunchTemplates", &of_cluster), "launchTemplateName");
    assert!(!templates().is_empty());

    // It waits for its NodeClaims.
    world.client().delete(&format!("{CLASSES}/default")).unwrap();
    let name = claim["metadata"]["name"].as_str().unwrap();
    let note = world.until("an event", |w| {
        let events = items(&w.client().get("/apis/events.k8s.io/v1/events").unwrap());
        let event = events.into_iter().find(|e| e["reason"] == "WaitingOnNodeClaimTermination")?;
        Some(event["note"].as_str().unwrap().to_owned())
    });
    assert!(note.contains(name), "{note}");
    assert!(world.class().is_some());
    // Nobody needs the claim any more.
    world.client().delete(&format!("{PODS}/web")).unwrap();
    let free = json!({"metadata": {"finalizers": null}});
    world.client().patch(&format!("{CLAIMS}/{name}"), &free).unwrap();
    let _ = world.client().delete(&format!("{CLAIMS}/{name}"));
    world.until("the class to go", |w| w.class().is_none().then_some(()));
    assert_eq!(templates(), Vec::<String>::new());
    let gone = world.iam("GetInstanceProfile", &[("InstanceProfileName", &profile)]);
    assert!(gone.contains("NoSuchEntity"), "{gone}");
}

/// More classes than are looked up side by side: each has its turn.
#[test]
fn many_classes_are_all_looked_up() {
    let world = World::start("class-many");
    let subnets: Vec<Value> =
        all(&world.ec2("DescribeSubnets", &[]), "subnetId").into_iter().map(|id| json!({"id": id})).collect();
    let group = all(&world.ec2("DescribeSecurityGroups", &[]), "groupId").remove(0);
    let image = world.images("x86_64").remove(0);
    for at in 0..12 {
        let class = json!({
            "apiVersion": "karpenter.k8s.aws/v1", "kind": "EC2NodeClass",
            "metadata": {"name": format!("class-{at:02}")},
            "spec": {
                "amiFamily": "AL2023", "instanceProfile": "nodes", "amiSelectorTerms": [{"id": image}],
                "subnetSelectorTerms": subnets, "securityGroupSelectorTerms": [{"id": group}],
            },
        });
        world.client().create(CLASSES, &class).unwrap();
    }
    let _controller = world.controller();
    world.until("all classes to be ready", |w| {
        let classes = items(&w.client().get(CLASSES).unwrap());
        let ready = classes.iter().filter(|class| stowage_e2e::holds(class, "Ready")).count();
        (ready == 12).then_some(())
    });
}

/// What AWS or kubelet would refuse is a condition before a pod waits for it, with what to do.
#[test]
fn what_would_be_refused_is_said_before_a_machine_is_needed() {
    let world = World::start("class-refused");
    let image = world.images("x86_64").remove(0);
    world.front.always("TryCreateFleet", Mishap::Refuse);
    world.create_class(&json!({
        "amiFamily": "Custom", "amiSelectorTerms": [{"id": image}], "instanceProfile": "nodes",
        "kubelet": {"evictionSoft": {"memory.available": "5%"}}, "placementGroupSelector": {"name": "close"},
        "capacityReservationSelectorTerms": [{"id": "cr-1"}],
    }));
    let _controller = world.controller();
    let path = format!("{CLASSES}/default");
    let patch = |spec: Value| drop(world.client().patch(&path, &json!({"spec": spec})).unwrap());

    world.until_refused("PlacementGroupReady", "PlacementGroupNotFound");
    assert_eq!(world.condition("ValidationSucceeded").unwrap().1, "DependenciesNotReady");
    world.front.change(|stock| stock.placement_groups.push(("close".to_owned(), "cluster".to_owned())));
    patch(json!({"tags": {"team": "a"}}));
    let message = world.until_refused("ValidationSucceeded", "InvalidKubeletConfiguration");
    assert!(
        message.contains("evictionSoft has memory.available, and evictionSoftGracePeriod has not"),
        "{message}"
    );

    patch(json!({"kubelet": {"evictionSoftGracePeriod": {"memory.available": "1m"}}}));
    let message = world.until_refused("ValidationSucceeded", "CreateFleetAuthCheckFailed");
    assert!(message.contains("UnauthorizedOperation") && message.contains("deploy/iam"), "{message}");

    world.front.always("TryCreateFleet", Mishap::None);
    patch(json!({"tags": {"team": "b"}}));
    world.until_ready();
    let class = world.class().unwrap();
    let found = &class["status"]["capacityReservations"][0];
    assert_eq!((&found["id"], &found["state"]), (&json!("cr-1"), &json!("active")));
    assert_eq!(found["instanceMatchCriteria"], "targeted");

    // Where AWS does not answer, what is known stays.
    world.front.always("DescribeSubnets", Mishap::Break);
    patch(json!({"tags": {"team": "c"}}));
    world.until("the class to be looked up", |w| {
        let class = w.class()?;
        let ready = class["status"]["conditions"].as_array()?.iter().find(|c| c["type"] == "Ready")?.clone();
        (ready["observedGeneration"] == class["metadata"]["generation"]).then_some(())
    });
    assert_eq!(world.condition("Ready").unwrap().0, "True");
}
