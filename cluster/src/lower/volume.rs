//! Claims and volumes: where they let a pod run, and how many disks they attach.
//!
//! Kubernetes' source of truth: `VolumeBinding`, `VolumeZone` and `NodeVolumeLimits` of kube-scheduler.

use std::collections::BTreeSet;

use stowage_api::well_known;
use stowage_solver::{NodeConstraint, Operator, Requirement, Term};

use super::labels;
use super::world::World;
use crate::object::{NodeSelector, NodeSelectorTerm, PersistentVolume, StorageClass, Volume};

/// Labels by which the volumes of old drivers say where they are. Several values stand in one label with `__` between.
const ZONE_LABELS: [&str; 4] =
    [well_known::ZONE, well_known::REGION, OLD_ZONE, "failure-domain.beta.kubernetes.io/region"];

/// The name of [`well_known::ZONE`] before Kubernetes 1.17.
const OLD_ZONE: &str = "failure-domain.beta.kubernetes.io/zone";

/// What the volumes of a pod ask for.
#[derive(Debug, Default)]
pub(super) struct VolumeRules {
    /// Where they let it run.
    pub(super) constraints: Vec<NodeConstraint>,
    /// Claims of EBS disks, `namespace/name`: each takes an attach slot, shared ones only once on a node.
    pub(super) disks: BTreeSet<String>,
    /// Claims shared with other pending pods whose disk is not made yet.
    pub(super) unbound: BTreeSet<String>,
    /// Why it can run nowhere.
    pub(super) blocked: Option<String>,
}

/// The rules of these volumes, of a pod of this name.
pub(super) fn rules(volumes: &[Volume], namespace: &str, pod: &str, world: &World<'_>) -> VolumeRules {
    let mut out = VolumeRules::default();
    for volume in volumes {
        match volume {
            Volume::Claim(name) => out.add(name, namespace, Origin::Elsewhere, world),
            Volume::Ephemeral { volume, storage_class } => {
                out.add(
                    &format!("{pod}-{volume}"),
                    namespace,
                    Origin::Template(storage_class.as_deref()),
                    world,
                );
            }
            Volume::HostPath | Volume::Ebs | Volume::Other => {}
        }
    }
    out
}

/// Who makes a claim.
#[derive(Clone, Copy)]
enum Origin<'a> {
    /// Someone else, who must have made it by now.
    Elsewhere,
    /// Kubernetes, when the pod is made, with this storage class.
    Template(Option<&'a str>),
}

impl VolumeRules {
    fn add(&mut self, name: &str, namespace: &str, origin: Origin<'_>, world: &World<'_>) {
        let claim = world.claim(namespace, name);
        let storage_class = match (claim, origin) {
            (Some(claim), _) => claim.spec.storage_class_name.as_deref(),
            (None, Origin::Template(class)) => class,
            (None, Origin::Elsewhere) => {
                return self.block(format!("claim {name} does not exist in namespace {namespace}"));
            }
        };
        if claim.is_some_and(|c| c.metadata.is_terminating()) {
            // A claim in use stays until its last pod is gone, and so does its disk.
            self.block(format!("claim {name} is being deleted"));
        }
        if claim.is_some_and(|c| c.status.phase == "Lost") {
            return self.block(format!("claim {name} is lost: the volume that it was bound to is gone"));
        }
        let key = format!("{namespace}/{name}");
        if let Some(volume) = claim.and_then(|c| c.spec.volume_name.as_deref()).filter(|v| !v.is_empty()) {
            let Some(pv) = world.volume(volume) else {
                return self.block(format!("volume {volume} of claim {name} does not exist"));
            };
            if is_ebs_volume(pv) {
                self.disks.insert(key);
            }
            return self.bound(pv, &format!("volume {volume} of claim {name}"));
        }
        let storage_class = match storage_class.or_else(|| world.default_storage_class()) {
            Some("") => {
                return self.block(format!(
                    "claim {name} asks for a volume that exists (its storage class is \"\"), and is bound to none"
                ));
            }
            None => {
                return self.block(format!(
                    "claim {name} is not bound and names no storage class, and no storage class is the default"
                ));
            }
            Some(named) => named,
        };
        let Some(class) = world.storage_class(storage_class) else {
            return self.block(format!("storage class {storage_class} of claim {name} does not exist"));
        };
        if well_known::EBS_DRIVERS.contains(&class.provisioner.as_str()) {
            if world.is_shared(namespace, name) {
                self.unbound.insert(key.clone());
            }
            self.disks.insert(key);
        }
        if class.volume_binding_mode == "Immediate" && claim.is_some() {
            return self.block(format!(
                "claim {name} is not bound although its storage class {storage_class} binds immediately"
            ));
        }
        if class.provisioner == well_known::NO_PROVISIONER {
            return self.made_by_hand(storage_class, name, world);
        }
        self.unbound(class, name);
    }

    fn block(&mut self, reason: String) {
        self.blocked.get_or_insert(reason);
    }

    /// Where an existing volume can be attached.
    fn bound(&mut self, volume: &PersistentVolume, source: &str) {
        if let Some(required) = &volume.spec.node_affinity.required {
            self.constraints.push(NodeConstraint {
                source: source.to_owned(),
                any_of: terms(required),
                of_volume: true,
            });
        }
        for key in ZONE_LABELS {
            let Some(value) = volume.metadata.labels.get(key).filter(|v| !v.is_empty()) else { continue };
            let values = zones(value);
            // A node may carry the old name of the label, the new one, or both.
            let stable = well_known::stable(key);
            let keys = [Some(key), (stable != key).then_some(stable)];
            let one = |key: &str| vec![Requirement { key: key.to_owned(), op: Operator::In(values.clone()) }];
            let any_of = keys.into_iter().flatten().map(one).collect();
            self.constraints.push(NodeConstraint { source: source.to_owned(), any_of, of_volume: true });
        }
        if let Some(any_of) = migrated(volume) {
            self.constraints.push(NodeConstraint { source: source.to_owned(), any_of, of_volume: true });
        }
    }

    /// Where a volume may be that nobody makes: where those that are free are. Sizes are not looked at.
    fn made_by_hand(&mut self, class: &str, claim: &str, world: &World<'_>) {
        let free = world.free_volumes(class);
        if free.is_empty() {
            return self.block(format!(
                "claim {claim} needs a volume of storage class {class}, which makes none, and none is free"
            ));
        }
        let required: Option<Vec<Vec<Term>>> =
            free.iter().map(|v| v.spec.node_affinity.required.as_ref().map(terms)).collect();
        // One that can be attached anywhere leaves the pod free.
        if let Some(of_each) = required {
            let source = format!("free volumes of claim {claim}");
            let any_of = of_each.into_iter().flatten().collect();
            self.constraints.push(NodeConstraint { source, any_of, of_volume: true });
        }
    }

    /// Where a volume that is yet to be made may be.
    fn unbound(&mut self, class: &StorageClass, claim: &str) {
        if class.allowed_topologies.is_empty() {
            return;
        }
        let any_of = class.allowed_topologies.iter().map(|term| {
            let all = term.match_label_expressions.iter();
            all.map(|e| Requirement { key: e.key.clone(), op: Operator::In(e.values.clone()) }).collect()
        });
        let source = format!("allowed topologies of claim {claim}");
        self.constraints.push(NodeConstraint { source, any_of: any_of.collect(), of_volume: true });
    }
}

/// Where the EBS driver attaches a volume of the old driver, on a node where it does that one's work: the scheduler then
/// reads the volume's zone as the label that the driver itself puts on nodes, which a node may lack.
fn migrated(volume: &PersistentVolume) -> Option<Vec<Term>> {
    volume.spec.aws_elastic_block_store.as_ref()?;
    let is_zone = |key: &str| [well_known::ZONE, OLD_ZONE].contains(&key);
    let required = volume.spec.node_affinity.required.iter().flat_map(terms);
    let mut any_of: Vec<Term> = required.filter(|term| term.iter().any(|r| is_zone(&r.key))).collect();
    for requirement in any_of.iter_mut().flatten().filter(|r| is_zone(&r.key)) {
        well_known::EBS_ZONE.clone_into(&mut requirement.key);
    }
    if any_of.is_empty() {
        let stated = [well_known::ZONE, OLD_ZONE].into_iter().find_map(|key| volume.metadata.labels.get(key));
        let zones = zones(stated.filter(|zone| !zone.is_empty())?);
        any_of.push(vec![Requirement { key: well_known::EBS_ZONE.to_owned(), op: Operator::In(zones) }]);
    }
    any_of
        .push(vec![Requirement { key: well_known::MIGRATED_PLUGINS.to_owned(), op: Operator::DoesNotExist }]);
    Some(any_of)
}

/// The zones that a label of a volume names.
fn zones(label: &str) -> Vec<String> {
    label.split("__").map(str::to_owned).collect()
}

fn is_ebs_volume(volume: &PersistentVolume) -> bool {
    volume.spec.aws_elastic_block_store.is_some()
        || volume.spec.csi.as_ref().is_some_and(|csi| well_known::EBS_DRIVERS.contains(&csi.driver.as_str()))
}

/// The alternatives of a node selector. A term with nothing in it holds nowhere, and is left out.
pub(super) fn terms(selector: &NodeSelector) -> Vec<Term> {
    let not_empty = |t: &&NodeSelectorTerm| t.match_expressions.len() + t.match_fields.len() > 0;
    selector.node_selector_terms.iter().filter(not_empty).map(term).collect()
}

/// What one term of a node selector asks for.
pub(super) fn term(term: &NodeSelectorTerm) -> Term {
    // The name of a node is the one field there is; nodes carry it as a label of that name.
    let fields = term.match_fields.iter().map(|field| {
        let mut requirement = labels::requirement(field);
        if field.key != NAME_FIELD && !requirement.allows(None) {
            requirement.op = labels::impossible();
        }
        requirement
    });
    term.match_expressions.iter().map(labels::requirement).chain(fields).collect()
}

/// The field by which a node selector names a node, and the label that nodes of a problem carry for it.
pub(super) const NAME_FIELD: &str = "metadata.name";

/// The old driver of EBS volumes, which was part of Kubernetes.
pub(super) const OLD_EBS_DRIVER: &str = "kubernetes.io/aws-ebs";
