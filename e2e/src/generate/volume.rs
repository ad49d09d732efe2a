//! Volumes, claims and storage classes.

use serde_json::{Value, json};

use super::catalog::ZONES;
use crate::random::Random;

/// What the pods of a service keep their data on.
#[derive(Clone)]
pub(super) enum Storage {
    /// A disk each, made already.
    Bound,
    /// A disk each, made already by the in-tree driver, which says so with labels.
    Legacy,
    /// A disk each, to be made where the pod goes; the storage class.
    Unbound(&'static str),
    /// One claim for all; the disk is there already or to be made.
    Shared(String),
    /// One claim for all, which one pod at a time may use; the disk is there already or to be made.
    Exclusive(String),
    /// A disk each that lives as long as the pod.
    Ephemeral,
    /// Two disks each, which may be in different zones.
    Two,
    /// A claim that is not there.
    Missing,
}

/// Volumes and claims made so far.
pub(super) struct Volumes {
    pub(super) objects: Vec<Value>,
    /// Most disks of a cluster are in one zone, as they are where a cluster grew there.
    home: (&'static str, &'static str),
}

pub(super) fn storage_classes() -> Vec<Value> {
    let class = |name: &str, provisioner: &str, mode: &str| {
        json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
            "provisioner": provisioner, "volumeBindingMode": mode, "reclaimPolicy": "Delete",
        })
    };
    let mut narrow = class("narrow", "ebs.csi.aws.com", "WaitForFirstConsumer");
    narrow["allowedTopologies"] = json!([{"matchLabelExpressions": [
        {"key": "topology.kubernetes.io/zone", "values": [ZONES[0].0, ZONES[1].0]},
    ]}]);
    vec![
        class("wait", "ebs.csi.aws.com", "WaitForFirstConsumer"),
        class("in-tree", "kubernetes.io/aws-ebs", "WaitForFirstConsumer"),
        class("files", "efs.csi.aws.com", "WaitForFirstConsumer"),
        class("at-once", "ebs.csi.aws.com", "Immediate"),
        narrow,
    ]
}

impl Volumes {
    pub(super) fn new(random: &mut Random) -> Self {
        Self { objects: Vec::new(), home: random.pick(&ZONES) }
    }

    pub(super) fn storage(&mut self, random: &mut Random, namespace: &str, app: &str) -> Storage {
        match random.within(0, 15) {
            0..=3 => Storage::Bound,
            4 => Storage::Legacy,
            5 => Storage::Two,
            6 | 7 => Storage::Unbound(random.pick(&["wait", "in-tree", "files"])),
            8 => Storage::Unbound("narrow"),
            9 => Storage::Unbound(random.pick(&["at-once", "missing"])),
            10 => {
                let claim = format!("{app}-shared");
                let class = random.pick(&["wait", "files"]);
                self.objects.push(claim_of(namespace, &claim, class, None));
                Storage::Shared(claim)
            }
            11 => {
                let claim = format!("{app}-shared");
                let zone = if random.percent(50) { Some(self.home.0) } else { None };
                self.bind(namespace, &claim, zone, false);
                Storage::Shared(claim)
            }
            12 | 13 => Storage::Ephemeral,
            14 => {
                let claim = format!("{app}-exclusive");
                if random.percent(50) {
                    self.bind(namespace, &claim, Some(self.home.0), false);
                } else {
                    self.objects.push(claim_of(namespace, &claim, "wait", None));
                }
                for object in self.objects.iter_mut().rev().take(2) {
                    let claimed = object["spec"]["claimRef"]["name"] == claim.as_str();
                    if claimed || (object["metadata"]["name"] == claim.as_str()) {
                        object["spec"]["accessModes"] = json!(["ReadWriteOncePod"]);
                    }
                }
                Storage::Exclusive(claim)
            }
            _ => Storage::Missing,
        }
    }

    /// Gives a pod its volumes.
    pub(super) fn attach(&mut self, random: &mut Random, pod: &mut Value, storage: &Storage, name: &str) {
        let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        let own = format!("data-{name}");
        let zone = if random.percent(70) { self.home.0 } else { random.pick(&ZONES).0 };
        let mut claims = vec![own.clone()];
        match storage {
            Storage::Bound => self.bind(&namespace, &own, Some(zone), false),
            Storage::Legacy => self.bind(&namespace, &own, Some(zone), true),
            Storage::Two => {
                let second = format!("logs-{name}");
                self.bind(&namespace, &own, Some(zone), false);
                let class = random.pick(&["wait", "narrow"]);
                self.objects.push(claim_of(&namespace, &second, class, None));
                claims.push(second);
            }
            Storage::Unbound(class) => self.objects.push(claim_of(&namespace, &own, class, None)),
            Storage::Shared(claim) | Storage::Exclusive(claim) => claims = vec![claim.clone()],
            Storage::Ephemeral => {
                let claim = claim_of(&namespace, "template", "wait", None);
                pod["spec"]["volumes"] = json!([{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": claim["spec"]}}}]);
                return;
            }
            Storage::Missing => {}
        }
        pod["spec"]["volumes"] = claims
            .iter()
            .enumerate()
            .map(|(at, claim)| json!({"name": format!("v{at}"), "persistentVolumeClaim": {"claimName": claim}}))
            .collect();
    }

    /// A claim and its volume, which is in a zone or everywhere.
    fn bind(&mut self, namespace: &str, claim: &str, zone: Option<&str>, legacy: bool) {
        let volume = format!("pv-{namespace}-{claim}");
        self.objects.push(claim_of(namespace, claim, "wait", Some(&volume)));
        self.objects.push(volume_of(&volume, namespace, claim, zone, legacy));
    }
}

pub(crate) fn claim_of(namespace: &str, name: &str, class: &str, volume: Option<&str>) -> Value {
    let mut claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "accessModes": ["ReadWriteMany"], "storageClassName": class, "resources": {"requests": {"storage": "1Gi"}},
        },
    });
    if let Some(volume) = volume {
        claim["metadata"]["annotations"] = json!({"pv.kubernetes.io/bind-completed": "yes"});
        claim["spec"]["volumeName"] = json!(volume);
    }
    claim
}

pub(crate) fn volume_of(name: &str, namespace: &str, claim: &str, zone: Option<&str>, legacy: bool) -> Value {
    let mut volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteMany"], "capacity": {"storage": "1Gi"}, "storageClassName": "wait",
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": claim},
        },
    });
    if legacy {
        volume["spec"]["awsElasticBlockStore"] =
            json!({"volumeID": format!("aws://{}/vol-1", zone.unwrap_or_default())});
        if let Some(zone) = zone {
            volume["metadata"]["labels"] = json!({"failure-domain.beta.kubernetes.io/zone": zone});
        }
        return volume;
    }
    let driver = if zone.is_some() { "ebs.csi.aws.com" } else { "efs.csi.aws.com" };
    volume["spec"]["csi"] = json!({"driver": driver, "volumeHandle": name});
    if let Some(zone) = zone {
        let wanted = json!({"key": "topology.kubernetes.io/zone", "operator": "In", "values": [zone]});
        volume["spec"]["nodeAffinity"] =
            json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [wanted]}]}});
    }
    volume
}
