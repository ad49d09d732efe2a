//! A pod as the API server stores it, as far as caps, the guard and the bill care.
//!
//! What decides is what came of the admission, not what was meant: a pod is on Fargate if EKS gave it its scheduler, which
//! nobody can change later. One that has the labels and not the scheduler runs on nodes.
//!
//! # Invariants
//! - What is billed is never taken to be less than what the pod asks for.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stowage_api::well_known;
use stowage_cluster::asked_for;
use stowage_cluster::object::PodSpec;
use stowage_pricing::fargate::{PROFILE_LABEL, PodRequest, Shape};
use stowage_pricing::{FargateRates, Timestamp};
use stowage_solver::Price;

use crate::billed::{Billed, CAPACITY_PROVISIONED};
use crate::json::{labels_of, list, text};
use crate::policy::Labels;

pub use stowage_api::well_known::FARGATE_SCHEDULER;

/// What a pod is known by before it has a name or an uid, and after: as many pods are made with one key as admissions were
/// granted with it, so grants and pods can be told off against each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PodKey {
    /// Its namespace.
    pub namespace: String,
    /// The uid of its controller; empty for a pod of nobody.
    pub controller: String,
    /// What its name is made from (`generateName`), or else its name.
    pub name: String,
}

impl PodKey {
    /// That of a pod as its JSON says, in this namespace: an admission says it beside the pod.
    pub fn of(pod: &Value, namespace: &str) -> Self {
        let meta = pod.get("metadata").unwrap_or(&Value::Null);
        let made = text(meta, "generateName");
        let name = if made.is_empty() { text(meta, "name") } else { made };
        let controller = controller(pod).map_or("", |owner| text(owner, "uid"));
        Self { namespace: namespace.to_owned(), controller: controller.to_owned(), name: name.to_owned() }
    }
}

/// The owner that controls a pod: the one that makes it anew.
pub(crate) fn controller(pod: &Value) -> Option<&Value> {
    let owners = pod.get("metadata").map(|meta| list(meta, "ownerReferences")).unwrap_or_default();
    owners.iter().find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))
}

/// What Fargate would provision for a pod; `None` where it is larger than any shape, or cannot be read.
pub(crate) fn shape_of(pod: &Value) -> Option<Shape> {
    let spec = PodSpec::deserialize(pod.get("spec")?).ok()?;
    let asked = asked_for(&spec);
    let amount = |name: &str| asked.get(name).map_or(0, |n| u64::try_from(*n).unwrap_or(0));
    // A pod counts as one of the resource `pods`: where that lacks, it asks for more than can be counted.
    asked.get(well_known::PODS)?;
    let request = PodRequest {
        cpu_millis: amount(well_known::CPU),
        memory_bytes: amount(well_known::MEMORY),
        disk_bytes: amount(well_known::EPHEMERAL_STORAGE),
    };
    Shape::for_pod(request).ok()
}

/// A moment of an object, in seconds since 1970.
fn moment(of: &Value, key: &str) -> Option<u64> {
    let at = text(of, key).parse::<Timestamp>().ok()?;
    Some(at.seconds_since(Timestamp::from_seconds(0)))
}

/// From when a pod was started until its last container ended.
fn ran(status: &Value) -> Option<u64> {
    let ended = list(status, "containerStatuses").iter().filter_map(|of| of.pointer("/state/terminated"));
    let last = ended.filter_map(|of| moment(of, "finishedAt")).max()?;
    last.checked_sub(moment(status, "startTime")?)
}

/// A pod as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Sighting {
    /// What tells it from all others, before and after it.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// What it was known by when it was admitted.
    pub key: PodKey,
    /// Its labels.
    pub labels: Labels,
    /// Whether it runs on Fargate or waits for it: never on a node.
    pub on_fargate: bool,
    /// The profile that EKS gave it to.
    pub profile: Option<String>,
    /// Whether it has a node.
    pub bound: bool,
    /// Whether it has ended; Fargate bills it all the same until it is deleted.
    pub over: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Whether a gate keeps it from being scheduled.
    pub gated: bool,
    /// When it was made, in seconds since 1970.
    pub created: Option<u64>,
    /// For how many seconds it ran from when it was started, if it has ended.
    pub ran: Option<u64>,
    /// Its `activeDeadlineSeconds`.
    pub deadline: Option<u64>,
    /// The version of the object, for a precondition of its deletion.
    pub resource_version: String,
    /// What its requests come to; `None` where no shape holds them.
    pub shape: Option<Shape>,
    /// What Fargate says that it has provisioned, in full, where it says so.
    pub provisioned: Option<String>,
}

impl Sighting {
    /// From the JSON of a watch; `None` for what is no pod that is stored.
    pub fn of(pod: &Value) -> Option<Self> {
        let meta = pod.get("metadata")?;
        let (uid, name) = (text(meta, "uid"), text(meta, "name"));
        if uid.is_empty() || name.is_empty() {
            return None;
        }
        let namespace = Some(text(meta, "namespace")).filter(|n| !n.is_empty()).unwrap_or("default");
        let none = Value::Null;
        let (spec, status) = (pod.get("spec").unwrap_or(&none), pod.get("status").unwrap_or(&none));
        let labels = labels_of(pod).unwrap_or_default();
        let over = matches!(text(status, "phase"), "Succeeded" | "Failed");
        let provisioned = meta.get("annotations").map_or("", |all| text(all, CAPACITY_PROVISIONED));
        Some(Self {
            uid: uid.to_owned(),
            name: name.to_owned(),
            key: PodKey::of(pod, namespace),
            on_fargate: text(spec, "schedulerName") == FARGATE_SCHEDULER,
            profile: labels.get(PROFILE_LABEL).cloned(),
            labels,
            bound: !text(spec, "nodeName").is_empty(),
            over,
            terminating: !text(meta, "deletionTimestamp").is_empty(),
            gated: !list(spec, "schedulingGates").is_empty(),
            ran: if over { ran(status) } else { None },
            deadline: spec.get("activeDeadlineSeconds").and_then(Value::as_u64),
            created: moment(meta, "creationTimestamp"),
            resource_version: text(meta, "resourceVersion").to_owned(),
            shape: shape_of(pod),
            provisioned: Some(provisioned).filter(|text| !text.is_empty()).map(str::to_owned),
        })
    }

    /// `namespace/name`.
    pub fn pod(&self) -> String {
        format!("{}/{}", self.key.namespace, self.name)
    }

    /// What an hour of it costs: the dearer of what it asks for and what is provisioned for it; `None` where neither is known.
    pub fn price(&self, rates: FargateRates) -> Option<Price> {
        let asked = self.shape;
        let billed = self.provisioned.as_deref().and_then(Billed::parse);
        let billed = billed.map(|of| Shape {
            cpu_millis: of.cpu_millis,
            memory_mib: of.memory_mib,
            // The annotation says nothing of disk.
            disk_gib: asked.map_or(0, |shape| shape.disk_gib),
        });
        let prices = [asked, billed].into_iter().flatten();
        prices.filter_map(|shape| Price::from_dollars(shape.hourly(rates))).max()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RATES: FargateRates = FargateRates { vcpu: 0.040_48, gb: 0.004_445, storage_gb: 0.000_111 };

    fn pod() -> Value {
        json!({
            "metadata": {
                "name": "web-5d4f-x7", "generateName": "web-5d4f-", "namespace": "shop", "uid": "u",
                "labels": {"app": "web", "eks.amazonaws.com/fargate-profile": "jobs"},
                "creationTimestamp": "1970-01-01T00:02:00Z", "resourceVersion": "7",
                "ownerReferences": [
                    {"kind": "Thing", "name": "t", "uid": "no"},
                    {"kind": "ReplicaSet", "name": "web-5d4f", "uid": "rs", "controller": true},
                ],
            },
            "spec": {
                "schedulerName": "fargate-scheduler",
                "containers": [{"name": "a", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}],
            },
        })
    }

    #[test]
    fn a_stored_pod_says_what_became_of_it() {
        let seen = Sighting::of(&pod()).unwrap();
        let key = PodKey { namespace: "shop".into(), controller: "rs".into(), name: "web-5d4f-".into() };
        assert_eq!((seen.key.clone(), seen.pod().as_str()), (key, "shop/web-5d4f-x7"));
        // The same before it had a name.
        let mut before = pod();
        before["metadata"].as_object_mut().unwrap().remove("name");
        assert_eq!(PodKey::of(&before, "shop"), seen.key);
        assert!(seen.on_fargate && !seen.bound && !seen.over);
        assert_eq!((seen.profile.as_deref(), seen.created), (Some("jobs"), Some(120)));
        let mut other = pod();
        other["spec"]["schedulerName"] = json!("default-scheduler");
        assert!(!Sighting::of(&other).unwrap().on_fargate);
        assert_eq!(Sighting::of(&json!({"metadata": {"name": "a"}})), None);
        let mut ended = pod();
        ended["status"] = json!({
            "phase": "Failed", "startTime": "1970-01-01T00:03:00Z",
            "containerStatuses": [
                {"state": {"terminated": {"finishedAt": "1970-01-01T00:04:00Z"}}},
                {"state": {"terminated": {"finishedAt": "1970-01-01T00:03:10Z"}}},
                {"state": {"waiting": {}}},
            ],
        });
        let ended = Sighting::of(&ended).unwrap();
        assert_eq!((ended.over, ended.ran), (true, Some(60)));
    }

    #[test]
    fn the_dearer_of_what_it_asks_for_and_what_is_provisioned() {
        let price = |capacity: Option<&str>| {
            let mut pod = pod();
            if let Some(capacity) = capacity {
                pod["metadata"]["annotations"] = json!({"CapacityProvisioned": capacity});
            }
            Sighting::of(&pod).unwrap().price(RATES).unwrap().micros()
        };
        // A vCPU and 2 GB: 0.04048 + 0.00889.
        assert_eq!(price(None), 49_370);
        assert_eq!(price(Some("0.25vCPU 0.5GB")), 49_370);
        assert_eq!(price(Some("1vCPU 3GB")), 53_815);
        assert_eq!(price(Some("who knows")), 49_370);
        // More than can be counted is no small pod.
        let mut absurd = pod();
        absurd["spec"]["containers"][0]["resources"]["requests"]["memory"] = json!("9000Pi");
        assert_eq!(Sighting::of(&absurd).unwrap().shape, None);
        assert_eq!(Sighting::of(&absurd).unwrap().price(RATES), None);
    }
}
