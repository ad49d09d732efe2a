//! What a claim says once it has a machine: labels, annotations, and what its node will have.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use stowage_api::crd::condition::{self, LAUNCHED, TRUE};
use stowage_api::crd::{Condition, Ec2NodeClass, NodeClaim, NodeClaimStatus};
use stowage_api::well_known::{
    ARCH, CAPACITY_TYPE, INSTANCE_TYPE, ON_DEMAND, OS, REGION, RESERVED, SPOT, ZONE,
};
use stowage_aws::Machine;
use stowage_pricing::{Catalog, InstanceType, LearntCapacity, NodeConfig, Offering};
use tracing::warn;

use super::order::RESERVATION;
use crate::claim::labels_of;
use crate::node_class::{PROFILE, hash};

/// What a claim carries of the class that its machine was launched by.
pub(super) fn annotations(class: &Ec2NodeClass) -> BTreeMap<String, String> {
    let copied = [hash::HASH, hash::HASH_VERSION].into_iter();
    let of_class = copied.filter_map(|key| Some((key.to_owned(), class.annotations().get(key)?.clone())));
    let profile = class.status.as_ref().and_then(|s| s.instance_profile.clone());
    of_class.chain(profile.map(|name| (PROFILE.to_owned(), name))).collect()
}

/// What a machine's node is labelled with: what follows from the machine, and what the claim requires beside the labels that it
/// has.
pub(super) fn labels(
    catalog: &Catalog,
    machine: &Machine,
    claim: &stowage_api::NodeClaim,
) -> BTreeMap<String, String> {
    let mut labels = labels_of(&claim.spec.requirements);
    labels.retain(|key, _| !claim.metadata.labels.contains_key(key));
    let known = catalog.find(&machine.instance_type);
    labels.extend(known.into_iter().flat_map(|of| of.labels.as_ref().clone()));
    let kind = match (&machine.reservation, machine.spot) {
        (Some(_), _) => RESERVED,
        (None, true) => SPOT,
        (None, false) => ON_DEMAND,
    };
    let sold = known.and_then(|t| {
        let of_kind = |o: &&Offering| (o.zone(), o.capacity_type()) == (machine.zone.as_str(), kind);
        let of_reservation = |o: &&Offering| o.label(RESERVATION) == machine.reservation.as_deref();
        t.offerings.iter().filter(of_kind).find(of_reservation)
    });
    labels.extend(sold.into_iter().flat_map(Offering::labels));
    if let Some(region) = sold.and_then(|o| o.region()) {
        labels.insert(REGION.to_owned(), region.to_owned());
    }
    if let Some(of) = known {
        labels.insert(ARCH.to_owned(), of.architecture.clone());
        labels.insert(OS.to_owned(), of.operating_systems.first().cloned().unwrap_or_default());
    }
    labels.insert(INSTANCE_TYPE.to_owned(), machine.instance_type.clone());
    labels.insert(ZONE.to_owned(), machine.zone.clone());
    labels.insert(CAPACITY_TYPE.to_owned(), kind.to_owned());
    labels
}

/// A machine's type as nodes of its class have it: kubelet's settings count, and what was learnt of earlier ones.
pub(super) fn as_set_up(
    catalog: &Catalog,
    class: &stowage_api::Ec2NodeClass,
    machine: &Machine,
    learnt: &LearntCapacity,
) -> Option<InstanceType> {
    let base = catalog.source.nodes().cloned().unwrap_or_default();
    let (config, _) = NodeConfig::of(class, &base);
    let mut found = match catalog.find_suited(&machine.instance_type, &config) {
        Ok(found) => found?,
        Err(error) => {
            warn!(%error, "what a node will have cannot be worked out");
            return None;
        }
    };
    learnt.correct(&mut found, [machine.image.as_str()]);
    Some(found)
}

/// The status of a claim that has a machine, whose node will have what the type `of` has.
pub(super) fn status(
    claim: &NodeClaim,
    machine: &Machine,
    of: Option<&InstanceType>,
    now: &str,
) -> NodeClaimStatus {
    let mut status = claim.status.clone().unwrap_or_default();
    status.provider_id = Some(machine.provider_id());
    status.image_id = Some(machine.image.clone());
    if let Some(of) = of {
        status.capacity = of.resources.iter().map(|(k, v)| (k.clone(), (*v).into())).collect();
        status.allocatable = of.allocatable().into_iter().map(|(k, v)| (k, v.into())).collect();
    }
    let generation = claim.metadata.generation;
    let condition = Condition {
        kind: LAUNCHED.to_owned(),
        status: TRUE.to_owned(),
        reason: LAUNCHED.to_owned(),
        message: String::new(),
        last_transition_time: now.to_owned(),
        observed_generation: generation,
    };
    condition::set(&mut status.conditions, condition);
    let roots = [LAUNCHED, condition::REGISTERED, condition::INITIALIZED];
    let ready = condition::ready(&status.conditions, &roots, now, generation);
    condition::set(&mut status.conditions, ready);
    status
}
