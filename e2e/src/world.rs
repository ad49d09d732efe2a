//! A cluster with all that a controller meets: a control plane, an AWS, machines that join, and what the charts install.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use stowage_pricing::{Catalog, Settings};

use crate::aws::{Ec2Form, Front, Instance, Stock, all};
use crate::client::Client;
use crate::control_plane::{ControlPlane, Options};
use crate::controller::Controller;
use crate::crds;
use crate::helm::Helm;
use crate::kubelets::Kubelets;
use crate::relay::Relay;

/// The region that everything is in.
pub const REGION: &str = "us-east-1";

/// What does not come about by then never will.
const PATIENCE: Duration = Duration::from_mins(6);

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(50);

/// The namespace of the controller.
const NAMESPACE: &str = "stowage";

/// A cluster with all that a controller meets.
#[derive(Debug)]
pub struct World {
    /// Machines' kubelets. First, so that they end first.
    pub kubelets: Kubelets,
    /// The control plane.
    pub plane: ControlPlane,
    /// The AWS that the controller asks.
    pub front: Front,
    /// The same, for tests.
    pub ec2: Ec2Form,
    /// What can be bought.
    pub catalog: Catalog,
    /// Name of the cluster.
    pub cluster: String,
    kubeconfig: PathBuf,
}

impl World {
    /// Starts it; the name tells its machines from those of others in the same moto.
    ///
    /// # Errors
    /// Where something does not start.
    pub fn start(cluster: &str) -> Result<Self> {
        Self::start_with(cluster, &[])
    }

    /// The same for thousands of nodes, which report every few minutes only.
    ///
    /// # Errors
    /// Where something does not start.
    pub fn start_large(cluster: &str) -> Result<Self> {
        Self::start_as(cluster, &[], true)
    }

    /// The same, where the chart has these values: `settings.surgeFirst=Annotated`.
    ///
    /// # Errors
    /// Where something does not start.
    pub fn start_with(cluster: &str, values: &[&str]) -> Result<Self> {
        Self::start_as(cluster, values, false)
    }

    fn start_as(cluster: &str, values: &[&str], is_large: bool) -> Result<Self> {
        let front = Front::start(Stock::of(REGION)?)?;
        let options = Options {
            scheduler: Some(Options::scheduler()),
            controller_manager: true,
            rbac: true,
            silence: is_large.then_some(900),
            ..Options::default()
        };
        let plane = ControlPlane::start(&options)?;
        let ec2 = front.ec2(REGION);
        crds::install(plane.client())?;
        let catalog = Catalog::embedded(REGION, &Settings::default())?;
        fs::write(plane.logs().join("catalog.json"), catalog.to_json())?;
        let kubeconfig = install(&plane, values)?;
        let kubelets = Kubelets::start(&plane, &ec2, cluster, &catalog, if is_large { 400 } else { 40 })?;
        let world = Self { kubelets, plane, front, ec2, catalog, cluster: cluster.to_owned(), kubeconfig };
        let class = world.node_class()?;
        world.client().create("/apis/karpenter.k8s.aws/v1/ec2nodeclasses", &class)?;
        Ok(world)
    }

    /// A client that may do anything.
    pub fn client(&self) -> &Client {
        self.plane.client()
    }

    /// Starts the controller, as the service account of the chart.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn controller(&self, name: &str, more: &[&str]) -> Result<Controller> {
        self.controller_as(&self.kubeconfig, name, more)
    }

    fn controller_as(&self, who: &Path, name: &str, more: &[&str]) -> Result<Controller> {
        let file = self.plane.logs().join("catalog.json").display().to_string();
        let mut flags = vec!["--catalog", &file, "--log-format", "text", "--cluster-name", &self.cluster];
        flags.extend(["--service-cidr", "10.96.0.0/16", "--leader-election-namespace", NAMESPACE]);
        flags.extend(more);
        Controller::start_as(&self.plane, who, name, &flags, &self.front.environment(REGION))
    }

    /// The same, where the API server is reached by way of a relay.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn controller_behind(&self, relay: &Relay, name: &str, more: &[&str]) -> Result<Controller> {
        let mut kubeconfig: Value = serde_json::from_str(&fs::read_to_string(&self.kubeconfig)?)?;
        kubeconfig["clusters"][0]["cluster"]["server"] = json!(format!("https://{}", relay.address()));
        let path = self.plane.logs().join(format!("kubeconfig-{name}"));
        fs::write(&path, kubeconfig.to_string())?;
        // Machines reach the API server without it.
        let flags: Vec<&str> =
            ["--cluster-endpoint", self.plane.server()].iter().chain(more).copied().collect();
        self.controller_as(&path, name, &flags)
    }

    /// Where the API server listens.
    ///
    /// # Errors
    /// Where its address is none, which would be a defect.
    pub fn api_server(&self) -> Result<SocketAddr> {
        let server = self.plane.server();
        server.trim_start_matches("https://").parse().with_context(|| format!("{server} is no address"))
    }

    /// An EC2NodeClass of what moto has, by id.
    ///
    /// # Errors
    /// Where moto does not answer.
    pub fn node_class(&self) -> Result<Value> {
        let subnets = all(&self.ec2.ask("DescribeSubnets", &[])?, "subnetId");
        let default = [("Filter.1.Name", "group-name"), ("Filter.1.Value.1", "default")];
        let groups = all(&self.ec2.ask("DescribeSecurityGroups", &default)?, "groupId");
        let mut images = Vec::new();
        for architecture in ["x86_64", "arm64"] {
            let of = [("Filter.1.Name", "architecture"), ("Filter.1.Value.1", architecture)];
            images.extend(all(&self.ec2.ask("DescribeImages", &of)?, "imageId").into_iter().take(1));
        }
        let by_id = |ids: Vec<String>| ids.into_iter().map(|id| json!({"id": id})).collect::<Vec<_>>();
        Ok(json!({
            "apiVersion": "karpenter.k8s.aws/v1", "kind": "EC2NodeClass", "metadata": {"name": "default"},
            "spec": {
                "amiFamily": "AL2023", "instanceProfile": "nodes",
                "amiSelectorTerms": by_id(images), "subnetSelectorTerms": by_id(subnets),
                "securityGroupSelectorTerms": by_id(groups.into_iter().take(1).collect()),
            },
        }))
    }

    /// Makes the cluster known to EKS, under another address than it has.
    ///
    /// # Errors
    /// Where moto does not make it.
    pub fn eks(&self) -> Result<()> {
        let role = "arn:aws:iam::123456789012:role/cluster";
        let wish =
            json!({"name": self.cluster, "roleArn": role, "resourcesVpcConfig": {}, "version": "1.35"});
        let asked = self.post("eks", "/clusters").header("Content-Type", "application/json");
        asked.send(wish.to_string()).map(drop).context("EKS does not make a cluster")
    }

    /// Gives the cluster a Fargate profile, at EKS: after [`World::eks`].
    ///
    /// # Errors
    /// Where moto does not make it.
    pub fn fargate_profile(&self, name: &str, selectors: &Value) -> Result<()> {
        let wish = json!({
            "fargateProfileName": name, "selectors": selectors,
            "podExecutionRoleArn": "arn:aws:iam::123456789012:role/pods",
        });
        let path = format!("/clusters/{}/fargate-profiles", self.cluster);
        let asked = self.post("eks", &path).header("Content-Type", "application/json");
        asked.send(wish.to_string()).map(drop).with_context(|| format!("EKS does not make a profile {name}"))
    }

    /// What IAM answers, as XML.
    ///
    /// # Errors
    /// Where it refuses.
    pub fn iam(&self, action: &str, more: &[(&str, &str)]) -> Result<String> {
        let mut form = vec![("Action", action), ("Version", "2010-05-08")];
        form.extend(more);
        let mut answer = self.post("iam", "").send_form(form).with_context(|| format!("IAM: {action}"))?;
        Ok(answer.body_mut().read_to_string()?)
    }

    /// A request of a service. moto looks for service and region in the signature, which nobody checks.
    fn post(&self, service: &str, path: &str) -> ureq::RequestBuilder<ureq::typestate::WithBody> {
        let signed = format!(
            "AWS4-HMAC-SHA256 Credential=x/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=x"
        );
        ureq::post(format!("{}{path}", self.front.url())).header("Authorization", signed)
    }

    /// The objects of a collection.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn list(&self, collection: &str) -> Result<Vec<Value>> {
        let list = self.client().get(collection)?;
        list["items"].as_array().cloned().context("a list has items")
    }

    /// NodeClaims.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn claims(&self) -> Result<Vec<Value>> {
        self.list("/apis/karpenter.sh/v1/nodeclaims")
    }

    /// Nodes.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn nodes(&self) -> Result<Vec<Value>> {
        self.list("/api/v1/nodes")
    }

    /// Pods of the namespace `default`.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn pods(&self) -> Result<Vec<Value>> {
        self.list("/api/v1/namespaces/default/pods")
    }

    /// How many pods of the namespace `default` run.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn running(&self) -> Result<usize> {
        Ok(self.pods()?.iter().filter(|pod| pod["status"]["phase"] == "Running").count())
    }

    /// Machines that run.
    ///
    /// # Errors
    /// Where moto does not answer.
    pub fn machines(&self) -> Result<Vec<Instance>> {
        let all = self.ec2.machines(&self.cluster)?;
        Ok(all.into_iter().filter(|machine| machine.state == "running").collect())
    }

    /// Waits until something holds of the cluster.
    ///
    /// # Errors
    /// Where it does not come about: the logs stay then.
    pub fn until<T>(&self, what: &str, holds: impl FnMut(&Self) -> Result<Option<T>>) -> Result<T> {
        self.within(PATIENCE, what, holds)
    }

    /// The same with as much patience as this.
    ///
    /// # Errors
    /// Where it does not come in time.
    pub fn within<T>(
        &self,
        patience: Duration,
        what: &str,
        mut holds: impl FnMut(&Self) -> Result<Option<T>>,
    ) -> Result<T> {
        let started = Instant::now();
        loop {
            // An API server that was restarted does not answer, or not at once.
            let found = holds(self);
            if let Ok(Some(found)) = found {
                return Ok(found);
            }
            if started.elapsed() > patience {
                self.plane.keep_logs();
                let last = found.err().map(|error| format!(" ({error:#})")).unwrap_or_default();
                bail!("waited for {what}{last}: see {}", self.plane.logs().display());
            }
            thread::sleep(EVERY);
        }
    }
}

/// Whether a condition of an object is `True`.
pub fn holds(object: &Value, condition: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|c| c["type"] == condition && c["status"] == "True"))
}

/// Puts in what the chart says of permissions; gives the kubeconfig of its service account.
fn install(plane: &ControlPlane, values: &[&str]) -> Result<PathBuf> {
    let client = plane.client();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    client.create("/api/v1/namespaces", &namespace)?;
    let chart = crds::root().join("deploy/charts/stowage");
    let values = ["settings.clusterName=e2e"].into_iter().chain(values.iter().copied());
    let flags: Vec<&str> = values.flat_map(|value| ["--set", value]).collect();
    let objects = Helm::ready()?.template(&chart, &flags)?;
    let mut account = None;
    for object in &objects {
        let namespaced =
            |plural: &str| format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}/{plural}");
        let wide = |plural: &str| format!("/apis/rbac.authorization.k8s.io/v1/{plural}");
        let collection = match object["kind"].as_str().unwrap_or_default() {
            "ServiceAccount" => {
                account = object["metadata"]["name"].as_str().map(str::to_owned);
                format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts")
            }
            // The controller may fill it, and make none.
            "Secret" => format!("/api/v1/namespaces/{NAMESPACE}/secrets"),
            "ClusterRole" => wide("clusterroles"),
            "ClusterRoleBinding" => wide("clusterrolebindings"),
            "Role" => match object["metadata"]["namespace"].as_str() {
                Some("stowage") | None => namespaced("roles"),
                Some(other) => format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{other}/roles"),
            },
            "RoleBinding" => match object["metadata"]["namespace"].as_str() {
                Some("stowage") | None => namespaced("rolebindings"),
                Some(other) => format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{other}/rolebindings"),
            },
            _ => continue,
        };
        client.create(&collection, object)?;
    }
    let account = account.context("the chart has no service account")?;
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"expirationSeconds": 86_400},
    });
    let path = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{account}/token");
    let answer = client.create(&path, &request)?;
    let token = answer["status"]["token"].as_str().unwrap_or_default();
    ensure!(!token.is_empty(), "the API server gave no token for {account}");
    plane.kubeconfig_of("controller", token)
}
