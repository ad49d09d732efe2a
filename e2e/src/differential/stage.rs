//! A control plane on which clusters are set up one after the other.
//!
//! # Invariants
//! - A pod is let go only after a *barrier*: a pod whose node, claim and volume were made after everything else has been
//!   bound, so the scheduler, which hears of each kind in order, knows all nodes, pods, claims and volumes as they are.
//!   Namespaces, storage classes and priority classes are the same in all clusters and stay.
//! - No two pods that the scheduler is to try have one name, also if one is gone before the other comes. A failed attempt is
//!   booked on the pod that has the name by then (`handleSchedulingFailure` asks for it by name), and the queue keeps seats by
//!   name: the successor of a pod that was deleted while it was tried may find its seat taken by what is known of the other,
//!   and is then not tried when its gate goes, but only once five minutes are over.
//! - Barrier nodes have no label that anything counts over, and room for nothing more, so they change no decision.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::device;
use super::kubelet;
use super::plan::NodeToBe;
use super::provisioner;
use super::watcher::{Seen, Watcher};
use crate::case::{Case, key};
use crate::client::Client;
use crate::control_plane::{ControlPlane, Options};
use crate::daemon;
use crate::generate::NAMESPACES;
use crate::generate::device::slice;
use crate::generate::twist::{SPREADING, default_constraints, replica_sets};
use crate::generate::volume::{claim_of, volume_of};

/// Keeps a pod that is being deleted.
const HOLD: &str = "e2e.stowage.dev/hold";
/// Holds a pod back until it is let go.
const GATE: &str = "e2e.stowage.dev/gate";
/// Namespace and node label of barriers.
const BARRIER: &str = "barrier";
const BARRIER_LABEL: &str = "e2e.stowage.dev/barrier";

/// A control plane and what is on it.
#[derive(Debug)]
pub(crate) struct Stage {
    plane: ControlPlane,
    watcher: Watcher,
    barriers: u64,
    /// How many pods were let try so far, and how each was called last, by its own namespace and name.
    tries: u64,
    names: BTreeMap<String, String>,
    /// Whether the cluster has devices.
    devices: bool,
    /// What its claims of devices are made from.
    templates: Vec<Value>,
}

impl Stage {
    pub(crate) fn start() -> Result<Self> {
        let plane = ControlPlane::start(&Options { scheduler: Some(scheduler()), ..Options::default() })?;
        let watcher = Watcher::start(plane.client())?;
        provisioner::start(plane.client())?;
        kubelet::start(plane.client())?;
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": BARRIER}});
        plane.client().create("/api/v1/namespaces", &namespace)?;
        plane.client().create("/apis/resource.k8s.io/v1/deviceclasses", &json!({
            "apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": BARRIER},
            "spec": {"selectors": [{"cel": {"expression": format!("device.driver == '{BARRIER}.example.com'")}}]},
        }))?;
        for (namespace, _) in NAMESPACES {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            plane.client().create("/api/v1/namespaces", &namespace)?;
        }
        for replica_set in replica_sets() {
            plane.client().create(&collection(&replica_set)?, &replica_set)?;
        }
        Ok(Self {
            plane,
            watcher,
            barriers: 0,
            tries: 0,
            names: BTreeMap::new(),
            devices: false,
            templates: Vec::new(),
        })
    }

    fn client(&self) -> &Client {
        self.plane.client()
    }

    /// Leaves the control plane's logs behind.
    pub(crate) fn keep_logs(&self) {
        self.plane.keep_logs();
    }

    /// Makes all of a cluster but its pending pods.
    pub(crate) fn set_up(&mut self, case: &Case) -> Result<()> {
        self.devices = case.of_kind("DeviceClass").next().is_some();
        self.templates = case.of_kind("ResourceClaimTemplate").cloned().collect();
        for object in &case.objects {
            match object["kind"].as_str().unwrap_or_default() {
                // Those stay, and are the same in all clusters.
                "Namespace" | "StorageClass" | "PriorityClass" | "DeviceClass" | "RuntimeClass" => {
                    let path = collection(object)?;
                    let answer = self.client().send("POST", &path, "application/json", Some(object))?;
                    anyhow::ensure!(
                        matches!(answer.status, 201 | 409),
                        "{} is refused: {}",
                        key(object),
                        answer.body["message"]
                    );
                    // Clusters kept from earlier may lack labels that namespaces have by now.
                    if answer.status == 409 && object["kind"] == "Namespace" {
                        let labels = json!({"metadata": {"labels": object["metadata"]["labels"]}});
                        self.client().patch(&path_of(object)?, &labels)?;
                    }
                }
                "Node" | "CSINode" | "PersistentVolume" | "PersistentVolumeClaim" | "ResourceSlice" => {
                    self.create(object)?;
                }
                "ResourceClaim" => self.claim(object)?,
                _ => {}
            }
        }
        let running: Vec<&Value> =
            case.of_kind("Pod").filter(|pod| pod["spec"]["nodeName"].is_string()).collect();
        running.iter().try_for_each(|pod| self.run(pod))?;
        // What `DaemonSet`s have still to start there takes its room too.
        let daemon_sets: Vec<Value> = case.of_kind("DaemonSet").cloned().collect();
        let there: BTreeSet<String> = running.into_iter().map(key).collect();
        let to_come = case.of_kind("Node").flat_map(|node| daemon::pods_on(node, &daemon_sets));
        to_come.filter(|pod| !there.contains(&key(pod))).try_for_each(|pod| self.create(&pod))
    }

    fn create(&self, object: &Value) -> Result<()> {
        self.client().create(&collection(object)?, object)?;
        Ok(())
    }

    /// Makes a pod that has its node already, and may be on its way out.
    fn run(&self, pod: &Value) -> Result<()> {
        if pod["metadata"]["deletionTimestamp"].is_null() {
            return self.create(pod);
        }
        let mut held = pod.clone();
        held["metadata"]["finalizers"] = json!([HOLD]);
        self.create(&held)?;
        self.client().delete(&path_of(pod)?)
    }

    /// Makes nodes, and what `DaemonSet`s run on them.
    pub(crate) fn add_nodes(&self, nodes: &[NodeToBe]) -> Result<()> {
        for node in nodes {
            // Drivers first: a node without its driver's limits would take any number of volumes.
            node.objects.iter().rev().chain(&node.daemons).try_for_each(|object| self.create(object))?;
        }
        Ok(())
    }

    pub(crate) fn remove_nodes(&self, nodes: &[NodeToBe]) -> Result<()> {
        for node in nodes {
            for object in node.daemons.iter().chain(&node.objects) {
                self.client().delete(&path_of(object)?)?;
            }
        }
        Ok(())
    }

    /// Makes a pending pod, held back by a gate. Returns its uid.
    pub(crate) fn submit(&mut self, pod: &Value) -> Result<String> {
        self.tries += 1;
        let name = format!("{}-{}", pod["metadata"]["name"].as_str().unwrap_or_default(), self.tries);
        self.names.insert(key(pod), name);
        let pod = &self.as_tried(pod);
        let mut gated = pod.clone();
        gated["spec"]["schedulingGates"] = json!([{"name": GATE}]);
        let made = self.client().create(&collection(pod)?, &gated)?;
        let uid = made["metadata"]["uid"].as_str().context("the API server gives pods a uid")?.to_owned();
        for claim in ephemeral_claims(pod) {
            let mut claim = claim;
            claim["metadata"]["ownerReferences"] = owner(pod, &uid);
            self.create(&claim)?;
        }
        let made: Vec<Value> = device::made_for(pod, &self.templates);
        if !made.is_empty() {
            for claim in &made {
                let mut claim = claim.clone();
                claim["metadata"]["ownerReferences"] = owner(pod, &uid);
                self.create(&claim)?;
            }
            let statuses = json!({"status": {"resourceClaimStatuses": device::statuses(&made)}});
            self.client().patch(&format!("{}/status", path_of(pod)?), &statuses)?;
        }
        Ok(uid)
    }

    /// A pod as it is called on the control plane.
    fn as_tried(&self, pod: &Value) -> Value {
        let mut tried = pod.clone();
        if let Some(name) = self.names.get(&key(pod)) {
            tried["metadata"]["name"] = json!(name);
        }
        tried
    }

    /// Lets a pod go; nominated to a node where one is given. Not before: the scheduler counts pods that are nominated to a
    /// node as if they ran there, when it looks at that node, and not when it looks at others.
    pub(crate) fn release(&self, pod: &Value, nominated: Option<&str>) -> Result<()> {
        let pod = &self.as_tried(pod);
        if let Some(node) = nominated {
            let path = format!("{}/status", path_of(pod)?);
            self.client().patch(&path, &json!({"status": {"nominatedNodeName": node}}))?;
        }
        self.client().patch(&path_of(pod)?, &json!({"spec": {"schedulingGates": null}}))?;
        Ok(())
    }

    /// Deletes a pending pod, and makes anew the claims of its own that were to be bound. Returns whether it had any.
    pub(crate) fn withdraw(&self, case: &Case, pod: &Value) -> Result<bool> {
        let pod = &self.as_tried(pod);
        self.client().delete(&path_of(pod)?)?;
        let mut any = false;
        for claim in ephemeral_claims(pod) {
            self.client().delete(&path_of(&claim)?)?;
            any = true;
        }
        for claim in device::made_for(pod, &self.templates) {
            self.delete_claim(&path_of(&claim)?)?;
            any = true;
        }
        for claim in case.of_kind("ResourceClaim").filter(|c| device::uses(pod, c) && c["status"].is_null()) {
            any = true;
            self.leave(&path_of(claim)?, &pod["metadata"]["name"])?;
        }
        let users = |claim: &Value| case.pending().filter(|p| uses(p, claim)).count();
        for claim in unbound_claims(case).filter(|claim| uses(pod, claim)) {
            any = true;
            // What others share stays as it has become.
            if users(claim) == 1 {
                self.client().delete(&path_of(claim)?)?;
                self.create(claim)?;
            }
        }
        Ok(any)
    }

    /// Makes all claims anew that were to be bound.
    pub(crate) fn renew_claims(&self, case: &Case) -> Result<()> {
        for claim in unbound_claims(case) {
            self.client().delete(&path_of(claim)?)?;
            self.create(claim)?;
        }
        Ok(())
    }

    /// What the scheduler does with these pods, once `ready` says that this is all.
    pub(crate) fn wait(
        &self,
        uids: &[String],
        what: &str,
        ready: impl Fn(&[Seen]) -> bool,
    ) -> Result<Vec<Seen>> {
        self.watcher.wait(uids, what, ready)
    }

    /// Makes a claim of devices, which may have some already.
    fn claim(&self, claim: &Value) -> Result<()> {
        self.create(claim)?;
        if !claim["status"].is_null() {
            self.client()
                .patch(&format!("{}/status", path_of(claim)?), &json!({"status": claim["status"]}))?;
        }
        Ok(())
    }

    /// Deletes a claim of devices, whoever wants to keep it.
    fn delete_claim(&self, path: &str) -> Result<()> {
        let free = json!({"metadata": {"finalizers": null}});
        self.client().send("PATCH", path, "application/merge-patch+json", Some(&free))?;
        self.client().delete(path)
    }

    /// Takes a pod off the users of a claim; the last one gives its devices back.
    fn leave(&self, path: &str, pod: &Value) -> Result<()> {
        let claim = self.client().get(path)?;
        let users = claim["status"]["reservedFor"].as_array().cloned().unwrap_or_default();
        let rest: Vec<&Value> = users.iter().filter(|user| user["name"] != *pod).collect();
        if rest.len() == users.len() {
            return Ok(());
        }
        let mut status = json!({"reservedFor": rest});
        if rest.is_empty() {
            status = json!({"reservedFor": null, "allocation": null});
        }
        self.client().patch(&format!("{path}/status"), &json!({"status": status}))?;
        Ok(())
    }

    /// Returns when the scheduler knows all there is.
    pub(crate) fn barrier(&mut self) -> Result<()> {
        self.barriers += 1;
        let name = format!("barrier-{}", self.barriers);
        let labels = json!({BARRIER_LABEL: name});
        self.create(&json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
            "status": {"allocatable": {"pods": "1"}, "capacity": {"pods": "1"}},
        }))?;
        self.create(&volume_of(&name, BARRIER, &name, None, false))?;
        self.create(&claim_of(BARRIER, &name, "barrier", Some(&name)))?;
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": BARRIER},
            "spec": {
                "nodeSelector": labels, "tolerations": [{"operator": "Exists"}],
                "containers": [{"name": "main", "image": "main"}],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": name}}],
            },
        });
        if self.devices {
            let driver = format!("{BARRIER}.example.com");
            self.create(&slice(&name, 0, &driver, &json!([{"name": "device"}])))?;
            self.create(&json!({
                "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
                "metadata": {"name": name, "namespace": BARRIER},
                "spec": {"devices": {"requests": [{"name": "one", "exactly": {"deviceClassName": BARRIER}}]}},
            }))?;
            pod["spec"]["resourceClaims"] = json!([{"name": "one", "resourceClaimName": name}]);
        }
        let made = self.client().create(&collection(&pod)?, &pod)?;
        let uid = made["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        self.watcher.wait(&[uid], "a barrier", |seen| seen[0].node.is_some())?;
        Ok(())
    }

    /// Takes everything away that is not the same in all clusters.
    pub(crate) fn clear(&self, case: &Case) -> Result<()> {
        for pod in case.of_kind("Pod").filter(|p| p["metadata"]["deletionTimestamp"].is_string()) {
            let free = json!({"metadata": {"finalizers": null}});
            self.client().send("PATCH", &path_of(pod)?, "application/merge-patch+json", Some(&free))?;
        }
        let namespaces: BTreeSet<&str> = case
            .objects
            .iter()
            .filter_map(|object| object["metadata"]["namespace"].as_str())
            .chain([BARRIER])
            .collect();
        for kind in ["pods", "persistentvolumeclaims"] {
            for namespace in &namespaces {
                self.client().delete(&format!("/api/v1/namespaces/{namespace}/{kind}"))?;
            }
        }
        if self.devices {
            for namespace in &namespaces {
                let all = format!("/apis/resource.k8s.io/v1/namespaces/{namespace}/resourceclaims");
                let claims = self.client().get(&all)?;
                for claim in claims["items"].as_array().into_iter().flatten() {
                    self.delete_claim(&format!(
                        "{all}/{}",
                        claim["metadata"]["name"].as_str().unwrap_or_default()
                    ))?;
                }
            }
        }
        // Types may publish devices where nobody asks for any.
        let slices = "/apis/resource.k8s.io/v1/resourceslices";
        for all in [slices, "/api/v1/nodes", "/api/v1/persistentvolumes", "/apis/storage.k8s.io/v1/csinodes"]
        {
            self.client().delete(all)?;
        }
        Ok(())
    }
}

/// Its third scheduler, which is the default one but that it preempts.
pub(crate) const PREEMPTING: &str = "preempting-scheduler";

/// Preemption is off but for pods that are to preempt: others that could have another's room are to stay without. Pods that
/// are refused come back after a second at most, and nothing slows the scheduler down.
fn scheduler() -> Value {
    let mut config = Options::scheduler();
    config["clientConnection"] = json!({"qps": 5000, "burst": 5000});
    config["podInitialBackoffSeconds"] = json!(1);
    config["podMaxBackoffSeconds"] = json!(1);
    let profile = |name: &str, preempts: bool, spread: &Value| {
        let off = if preempts { json!([]) } else { json!([{"name": "DefaultPreemption"}]) };
        let defaults = json!({"defaultingType": "List", "defaultConstraints": spread});
        json!({
            "schedulerName": name, "percentageOfNodesToScore": 100,
            "plugins": {"postFilter": {"disabled": off}},
            "pluginConfig": [{"name": "PodTopologySpread", "args": defaults}],
        })
    };
    let none = json!([]);
    config["profiles"] = json!([
        profile("default-scheduler", false, &none),
        profile(SPREADING, false, &default_constraints()),
        profile(PREEMPTING, true, &none),
    ]);
    config
}

/// Claims of a cluster that are not bound yet.
fn unbound_claims(case: &Case) -> impl Iterator<Item = &Value> {
    case.of_kind("PersistentVolumeClaim").filter(|claim| claim["spec"]["volumeName"].is_null())
}

fn volumes(pod: &Value) -> impl Iterator<Item = &Value> {
    pod["spec"]["volumes"].as_array().into_iter().flatten()
}

fn uses(pod: &Value, claim: &Value) -> bool {
    pod["metadata"]["namespace"] == claim["metadata"]["namespace"]
        && volumes(pod).any(|v| v["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"])
}

/// That an object belongs to a pod.
fn owner(pod: &Value, uid: &str) -> Value {
    json!([{"apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"], "uid": uid, "controller": true}])
}

/// The claims that the ephemeral volumes of a pod become.
fn ephemeral_claims(pod: &Value) -> Vec<Value> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = |volume: &Value| {
        let spec = volume["ephemeral"]["volumeClaimTemplate"]["spec"].clone();
        let name = format!("{}-{}", text(&pod["metadata"]["name"]), text(&volume["name"]));
        let mut claim = claim_of(&text(&pod["metadata"]["namespace"]), &name, "", None);
        claim["spec"] = spec;
        claim
    };
    volumes(pod).filter(|v| v["ephemeral"].is_object()).map(of).collect()
}

/// The collection that an object belongs to.
fn collection(object: &Value) -> Result<String> {
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
    Ok(match object["kind"].as_str().unwrap_or_default() {
        "Pod" => format!("/api/v1/namespaces/{namespace}/pods"),
        "PersistentVolumeClaim" => format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims"),
        "Node" => "/api/v1/nodes".to_owned(),
        "Namespace" => "/api/v1/namespaces".to_owned(),
        "PersistentVolume" => "/api/v1/persistentvolumes".to_owned(),
        "CSINode" => "/apis/storage.k8s.io/v1/csinodes".to_owned(),
        "StorageClass" => "/apis/storage.k8s.io/v1/storageclasses".to_owned(),
        "PriorityClass" => "/apis/scheduling.k8s.io/v1/priorityclasses".to_owned(),
        "DeviceClass" => "/apis/resource.k8s.io/v1/deviceclasses".to_owned(),
        "RuntimeClass" => "/apis/node.k8s.io/v1/runtimeclasses".to_owned(),
        "ReplicaSet" => format!("/apis/apps/v1/namespaces/{namespace}/replicasets"),
        "ResourceSlice" => "/apis/resource.k8s.io/v1/resourceslices".to_owned(),
        "ResourceClaim" => format!("/apis/resource.k8s.io/v1/namespaces/{namespace}/resourceclaims"),
        other => anyhow::bail!("a {other} cannot be made on the control plane"),
    })
}

fn path_of(object: &Value) -> Result<String> {
    let name = object["metadata"]["name"].as_str().context("an object has no name")?;
    Ok(format!("{}/{name}", collection(object)?))
}

/// Pods by `namespace/name`.
pub(crate) fn by_key(case: &Case) -> BTreeMap<String, &Value> {
    case.pending().map(|pod| (key(pod), pod)).collect()
}
