//! The kubelets of the machines that moto runs: each machine gets its Node as its user data says, and kwok keeps that ready
//! and runs its pods, on paper.
//!
//! ```text
//! EC2 (moto) ─▶ user data ─▶ Node ─▶ kwok: ready, pods run
//!      └─ machine ended: the Node falls silent
//! ```
//!
//! # Invariants
//! - A Node has the labels and taints that the machine was told, its own name and zone, and nothing of its NodeClaim.
//! - Machines that were told nothing that can be read never join.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use stowage_pricing::Catalog;

use crate::aws::{Ec2Form, Instance};
use crate::client::Client;
use crate::components::{go_build, kept};
use crate::control_plane::ControlPlane;
use crate::process::Process;

/// The release that is built; the version in `kwok/go.mod`.
const RELEASE: &str = "v0.7.0";

/// How often EC2 is asked for machines.
const EVERY: Duration = Duration::from_millis(200);

/// Nodes with this are kwok's.
pub const KWOK: &str = "kwok.x-k8s.io/node";

/// The kubelets of one cluster's machines. They end when this is dropped.
#[derive(Debug)]
pub struct Kubelets {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
    _kwok: Process,
}

#[derive(Debug)]
struct State {
    ended: AtomicBool,
    /// Instance types whose machines never join; `*` is all.
    broken: Mutex<BTreeSet<String>>,
}

impl Kubelets {
    /// Starts kwok, and a thread that looks for machines of `cluster`. Each node's lease holds for so many seconds, and is renewed
    /// in a quarter of that.
    ///
    /// # Errors
    /// Where kwok cannot be built or started.
    pub fn start(
        plane: &ControlPlane,
        ec2: &Ec2Form,
        cluster: &str,
        catalog: &Catalog,
        lease: u32,
    ) -> Result<Self> {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("kwok");
        let folder = kept("kwok", RELEASE, &sources, &["go.mod", "go.sum"], build)?;
        let mut kubeconfig = OsString::from("--kubeconfig=");
        kubeconfig.push(plane.kubeconfig());
        let flags = [
            kubeconfig,
            format!("--manage-nodes-with-annotation-selector={KWOK}=fake").into(),
            format!("--node-lease-duration-seconds={lease}").into(),
            "--server-address=127.0.0.1:0".into(),
        ];
        let kwok = Process::start("kwok", &folder.join("kwok"), &flags, plane.logs())?;
        let state = Arc::new(State { ended: AtomicBool::new(false), broken: Mutex::default() });
        let mut boot = Boot {
            client: plane.client().clone(),
            ec2: ec2.clone(),
            cluster: cluster.to_owned(),
            server: plane.server().to_owned(),
            catalog: catalog.clone(),
            nodes: BTreeMap::new(),
        };
        let shared = Arc::clone(&state);
        let thread = thread::spawn(move || {
            while !shared.ended.load(Ordering::Relaxed) {
                let broken = shared.broken.lock().unwrap_or_else(PoisonError::into_inner).clone();
                // Where the API server or moto does not answer: the next look will tell.
                drop(boot.look(&broken));
                thread::sleep(EVERY);
            }
        });
        Ok(Self { state, thread: Some(thread), _kwok: kwok })
    }

    /// Machines of these types do not join from now on; `*` is all of them.
    pub fn broken(&self, types: &[&str]) {
        *self.state.broken.lock().unwrap_or_else(PoisonError::into_inner) =
            types.iter().map(|of| (*of).to_owned()).collect();
    }
}

impl Drop for Kubelets {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread knows.
struct Boot {
    client: Client,
    ec2: Ec2Form,
    cluster: String,
    server: String,
    catalog: Catalog,
    /// Names of nodes by their machines; empty for machines that do not join.
    nodes: BTreeMap<String, String>,
}

impl Boot {
    fn look(&mut self, broken: &BTreeSet<String>) -> Result<()> {
        let machines = self.ec2.machines(&self.cluster)?;
        for machine in &machines {
            let known = self.nodes.contains_key(&machine.id);
            if machine.state == "running" && !known {
                if broken.contains("*") || broken.contains(&machine.instance_type) {
                    continue;
                }
                let told = self.ec2.user_data(&machine.id)?;
                let name = match kubelet(&told, &self.cluster, &self.server) {
                    Ok(kubelet) => {
                        let name = machine.private_name.clone();
                        let node = self.node(&name, machine, &kubelet)?;
                        self.client.create("/api/v1/nodes", &node)?;
                        name
                    }
                    Err(_) => String::new(),
                };
                self.nodes.insert(machine.id.clone(), name);
            }
        }
        let ended: Vec<String> = self
            .nodes
            .keys()
            .filter(|id| machines.iter().all(|m| m.id != **id || m.state != "running"))
            .cloned()
            .collect();
        for id in ended {
            let name = self.nodes.remove(&id).unwrap_or_default();
            if !name.is_empty() {
                self.silence(&name)?;
            }
        }
        Ok(())
    }

    /// The Node that kubelet registers, with what the cloud provider adds.
    fn node(&self, name: &str, machine: &Instance, kubelet: &Kubelet) -> Result<Value> {
        let of = self.catalog.types.iter().find(|t| t.name == machine.instance_type);
        let of = of.with_context(|| format!("no instance type {}", machine.instance_type))?;
        let mut labels = kubelet.labels.clone();
        let region = machine.zone.trim_end_matches(|c: char| c.is_ascii_lowercase());
        for (key, value) in [
            ("kubernetes.io/hostname", name),
            ("kubernetes.io/arch", of.architecture.as_str()),
            ("kubernetes.io/os", "linux"),
            ("node.kubernetes.io/instance-type", machine.instance_type.as_str()),
            ("topology.kubernetes.io/zone", machine.zone.as_str()),
            ("topology.kubernetes.io/region", region),
        ] {
            labels.insert(key.to_owned(), value.to_owned());
        }
        let mut taints = kubelet.taints.clone();
        taints.push(json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}));
        let amounts = |all: Vec<(String, String)>| all.into_iter().collect::<BTreeMap<_, _>>();
        let capacity = of.resources.iter().map(|(k, v)| (k.clone(), v.to_string())).collect();
        let allocatable = of.allocatable().into_iter().map(|(k, v)| (k, v.to_string())).collect();
        Ok(json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": labels, "annotations": {(KWOK): "fake"}},
            "spec": {"providerID": format!("aws:///{}/{}", machine.zone, machine.id), "taints": taints},
            "status": {"capacity": amounts(capacity), "allocatable": amounts(allocatable)},
        }))
    }

    /// Nobody hears of the node any more.
    fn silence(&self, name: &str) -> Result<()> {
        let path = format!("/api/v1/nodes/{name}");
        if self.client.send("GET", &path, "application/json", None)?.status == 404 {
            return Ok(());
        }
        self.client.patch(&path, &json!({"metadata": {"annotations": {(KWOK): null}}}))?;
        let unknown = json!([{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]);
        self.client.patch(&format!("{path}/status"), &json!({"status": {"conditions": unknown}}))?;
        Ok(())
    }
}

/// What a machine was told.
#[derive(Debug, Default, PartialEq)]
struct Kubelet {
    labels: BTreeMap<String, String>,
    taints: Vec<Value>,
}

/// Reads user data as nodeadm would: the last `NodeConfig` of it.
fn kubelet(user_data: &str, cluster: &str, server: &str) -> Result<Kubelet> {
    let text = String::from_utf8(STANDARD.decode(user_data.trim())?)?;
    let config = text.rsplit("Content-Type: application/node.eks.aws").next().context("no part")?;
    let json = &config[config.find('{').context("no NodeConfig")?..=config.rfind('}').context("no end")?];
    let config: Value = serde_json::from_str(json)?;
    let spec = &config["spec"];
    ensure!(spec["cluster"]["name"] == cluster, "another cluster: {}", spec["cluster"]["name"]);
    ensure!(spec["cluster"]["apiServerEndpoint"] == server, "another API server: {}", spec["cluster"]);
    let flags = spec["kubelet"]["flags"].as_array().cloned().unwrap_or_default();
    let labels = flags.iter().filter_map(|flag| flag.as_str()?.strip_prefix("--node-labels="));
    let labels = labels.flat_map(|all| all.trim_matches('"').split(',').filter_map(|l| l.split_once('=')));
    Ok(Kubelet {
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        taints: spec["kubelet"]["config"]["registerWithTaints"].as_array().cloned().unwrap_or_default(),
    })
}

fn build(sources: &Path, folder: &Path) -> Result<()> {
    eprintln!("building kwok, {RELEASE}: some minutes, once");
    go_build(
        sources,
        "sigs.k8s.io/kwok/cmd/kwok",
        "-s -w",
        &folder.join("kwok"),
        "leave out the suites of whole clusters",
    )
}
