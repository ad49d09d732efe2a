//! A cluster with EKS's part, and what tests ask of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stowage_e2e::{Controller, Eks, World, free_ports};
use stowage_pricing::fargate::{Profile, ProfileSelector};

use super::common::{DEPLOYMENTS, POOLS, deployment, node_pool};

pub(crate) const POLICIES: &str = "/apis/stowage.dev/v1alpha1/namespaces/default/fargatepolicies";
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";
const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const OURS: &str = "0400-stowage-fargate";

/// A cluster with EKS's part, and one NodePool.
pub(crate) struct Site {
    pub(crate) eks: Eks,
    pub(crate) world: World,
}

impl Site {
    /// The fields are those of the NodePool's template.
    pub(crate) fn start(name: &str, template: &Value) -> Self {
        Self::with_limit(name, template, None)
    }

    /// The same, with a NodePool that buys no more than this.
    pub(crate) fn with_limit(name: &str, template: &Value, cpu: Option<&str>) -> Self {
        let world = World::start_with(name, &["settings.fargate=true"]).unwrap();
        let mut pool = node_pool("default", template);
        // Pods that are moved are made anew, and may go elsewhere.
        pool["spec"]["disruption"] = json!({"consolidateAfter": "Never"});
        if let Some(cpu) = cpu {
            pool["spec"]["limits"] = json!({"cpu": cpu});
        }
        world.client().create(POOLS, &pool).unwrap();
        let eks = Eks::start(world.client(), vec![profile()]).unwrap();
        Self { eks, world }
    }

    /// A controller, which asks the API server to call the webhook at its own port.
    pub(crate) fn controller(&self, name: &str) -> Controller {
        let [port] = free_ports().unwrap();
        self.controller_at(name, port, port, &[])
    }

    /// A controller whose webhook is at one port and which has the API server call another one.
    pub(crate) fn controller_at(&self, name: &str, port: u16, called: u16, more: &[&str]) -> Controller {
        let port = format!("--webhook-port={port}");
        let url = format!("--webhook-url=https://127.0.0.1:{called}");
        let mut flags = vec!["--fargate", &port, &url, "--pod-ip=127.0.0.1", "--system-namespace=stowage"];
        flags.extend(more);
        self.world.controller(name, &flags).unwrap()
    }

    /// Waits until a controller that leads counts what goes to Fargate: a policy that comes before that gets nothing for two
    /// minutes, as nobody knows what was granted.
    pub(crate) fn counts(&self, controller: &Controller) {
        let counts = |_: &World| Ok(controller.log()?.contains("counts what goes to Fargate").then_some(()));
        self.world.until("a leader to count", counts).unwrap();
    }

    pub(crate) fn policy(&self, more: &Value) {
        self.world.client().create(POLICIES, &policy("batch", more)).unwrap();
        self.world.until("the webhook to be registered", |w| Ok(registered(w).then_some(()))).unwrap();
    }

    /// Waits for what a workload is found to belong on: `Fargate` or `nodes`.
    pub(crate) fn verdict(&self, controller: &Controller, workload: &str, side: &str) {
        self.world
            .until("a verdict", |_| Ok((last_verdict(controller, workload)?.starts_with(side)).then_some(())))
            .unwrap_or_else(|error| panic!("{workload} {side}: {error:#}"));
    }

    pub(crate) fn deploy(&self, app: &str, replicas: usize, cpu: &str, more: &Value) {
        self.world.client().create(DEPLOYMENTS, &deployment(app, replicas, cpu, more)).unwrap();
        self.runs(app, replicas);
    }

    /// Asks for so many replicas, and waits until they run and no others.
    pub(crate) fn scale(&self, app: &str, replicas: usize) {
        let path = format!("{DEPLOYMENTS}/{app}");
        self.world.client().patch(&path, &json!({"spec": {"replicas": replicas}})).unwrap();
        self.runs(app, replicas);
    }

    pub(crate) fn runs(&self, app: &str, replicas: usize) {
        self.world
            .until("all pods to run", |w| {
                let all = self.pods(app, |_| true)?;
                Ok((all == replicas && running(w, app)?.1 == replicas).then_some(()))
            })
            .unwrap_or_else(|error| panic!("{replicas} of {app}: {error:#}"));
    }

    /// Pods of an app of which this holds.
    pub(crate) fn pods(&self, app: &str, of: impl Fn(&Value) -> bool) -> anyhow::Result<usize> {
        let pods = self.world.pods()?;
        Ok(pods.iter().filter(|pod| pod["metadata"]["labels"]["app"] == app && of(pod)).count())
    }

    /// Whether a pod that is made now would go to Fargate: asked of the API server, which keeps nothing.
    pub(crate) fn would_go(&self, pod: &Value) -> anyhow::Result<bool> {
        let made = self.world.client().create(&format!("{PODS}?dryRun=All"), pod)?;
        Ok(is_on_fargate(&made))
    }

    pub(crate) fn status(&self, policy: &str) -> anyhow::Result<Value> {
        Ok(self.world.client().get(&format!("{POLICIES}/{policy}"))?["status"].clone())
    }

    /// Waits for an event with this reason, and gives what it says.
    pub(crate) fn event(&self, reason: &str) -> String {
        self.world
            .until("an event", |w| {
                let events = w.list("/api/v1/namespaces/default/events")?;
                let found = events.iter().find(|event| event["reason"] == reason);
                Ok(found.map(|event| event["message"].as_str().unwrap_or_default().to_owned()))
            })
            .unwrap_or_else(|error| panic!("{reason}: {error:#}"))
    }
}

/// What a controller has last said of a workload.
pub(crate) fn last_verdict(controller: &Controller, workload: &str) -> anyhow::Result<String> {
    let log = controller.log()?;
    let (of, marker) = (format!("workload={workload} "), "verdict=\"");
    let line = log.lines().rev().find(|line| line.contains(&of) && line.contains(marker));
    Ok(line
        .and_then(|line| line.split_once(marker))
        .map_or_else(String::new, |(_, verdict)| verdict.to_owned()))
}

/// A profile that takes pods of `default` with our label.
pub(crate) fn profile() -> Profile {
    let labels = BTreeMap::from([("stowage.dev/fargate".to_owned(), "true".to_owned())]);
    let selectors = vec![ProfileSelector { namespace: "default".to_owned(), labels }];
    Profile { name: "stowage".to_owned(), selectors, subnets: Vec::new() }
}

/// A policy that states that profile.
pub(crate) fn policy(name: &str, more: &Value) -> Value {
    let mut policy = json!({
        "apiVersion": "stowage.dev/v1alpha1", "kind": "FargatePolicy", "metadata": {"name": name},
        "spec": {
            "mode": "Always",
            "profiles": [{
                "name": "stowage",
                "selectors": [{"namespace": "default", "labels": {"stowage.dev/fargate": "true"}}],
            }],
        },
    });
    for (key, value) in more.as_object().unwrap() {
        policy["spec"][key] = value.clone();
    }
    policy
}

/// A pod without an owner.
pub(crate) fn bare(name: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": app}},
        "spec": {"containers": [{
            "name": "main", "image": "registry.k8s.io/pause:3.10",
            "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}},
        }]},
    })
}

pub(crate) fn is_on_fargate(pod: &Value) -> bool {
    pod["spec"]["schedulerName"] == "fargate-scheduler"
}

/// Pods of an app that run: those on Fargate, and all.
pub(crate) fn running(world: &World, app: &str) -> anyhow::Result<(usize, usize)> {
    let pods = world.pods()?;
    let ours = pods.iter().filter(|pod| pod["metadata"]["labels"]["app"] == app);
    let runs: Vec<&Value> = ours
        .filter(|pod| pod["status"]["phase"] == "Running" && pod["metadata"]["deletionTimestamp"].is_null())
        .collect();
    Ok((runs.iter().filter(|pod| is_on_fargate(pod)).count(), runs.len()))
}

pub(crate) fn registered(world: &World) -> bool {
    world.client().get(&format!("{WEBHOOKS}/{OURS}")).is_ok()
}
