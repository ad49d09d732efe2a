//! What to ask EC2 for, so that it gives the node that a claim wants: instance types, zones, subnets and images, by price.
//!
//! ```text
//! claim's requirements ─▶ offerings that are left ─▶ one capacity type ─▶ ordinary machines ─▶ the cheapest sixty types
//!                                                    ─▶ a subnet for each zone ─▶ an image for each type
//! ```
//!
//! compat: karpenter-provider-aws v1.14, filters of `pkg/providers/instance`. Claims of this controller name one capacity
//! type, and the zones where all of their types do; those of others, and those that people write, may leave them open.

use std::collections::{BTreeMap, BTreeSet};

use stowage_api::well_known::{ARCH, EFA, INSTANCE_TYPE, ON_DEMAND, OS, PODS, RESERVED, SPOT};
use stowage_api::{Ec2NodeClass, NodeClaim, Operator, Requirement, well_known};
use stowage_pricing::{Catalog, InstanceType, Offering};

use crate::claim::MOST_TYPES;

/// What to ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// `reserved`, `spot` or `on-demand`.
    pub capacity_type: String,
    /// One launch template each: an image, and what may be launched with it.
    pub images: Vec<OrderedImage>,
    /// Addresses that the machine takes of its subnet at least: one for each pod that the smallest of the types holds.
    pub addresses: i64,
}

/// What may be launched with an image.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderedImage {
    /// Its id.
    pub image: String,
    /// Id of the capacity reservation that the machines are for.
    pub reservation: Option<String>,
    /// Interfaces for the Elastic Fabric Adapter that they have, where their pods ask for such.
    pub efa: i32,
    /// Pods that they hold at most, where that is not what their images find out by themselves.
    pub pods: Option<u32>,
    /// By price.
    pub ways: Vec<Way>,
}

/// A way to launch the node.
#[derive(Clone, Debug, PartialEq)]
pub struct Way {
    /// Instance type.
    pub instance_type: String,
    /// Zone.
    pub zone: String,
    /// Subnet.
    pub subnet: String,
    /// Dollars an hour.
    pub price: f64,
}

/// Why nothing can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NothingToOrder {
    /// Every offering that the claim admits is gone: another plan is needed.
    #[error("no instance type that the NodeClaim admits can be had now")]
    NoOffering,
    /// Its `EC2NodeClass` has no subnet where the node could be.
    #[error("EC2NodeClass {class} has no subnet in {}", zones.join(", "))]
    NoSubnet {
        /// The class.
        class: String,
        /// Zones of offerings that are left.
        zones: Vec<String>,
    },
    /// Its `EC2NodeClass` has no image for any of the types.
    #[error("EC2NodeClass {class} has no image for {example}")]
    NoImage {
        /// The class.
        class: String,
        /// One of the types.
        example: String,
    },
}

/// What to ask EC2 for. `free` is how many addresses are left in a subnet; more than enough where it does not say;
/// `is_away` whether an offering is out of the question, as it lately could not be had or nodes of the class do not run on it.
///
/// # Errors
/// Where nothing can be asked for.
pub fn order(
    claim: &NodeClaim,
    class: &Ec2NodeClass,
    catalog: &Catalog,
    free: &BTreeMap<String, i64>,
    is_away: &dyn Fn(&InstanceType, &Offering) -> bool,
) -> Result<Order, NothingToOrder> {
    let wanted = &claim.spec.requirements;
    let mut left: Vec<(&InstanceType, &Offering)> = catalog
        .types
        .iter()
        .flat_map(|of| of.offerings.iter().filter(|o| o.available).map(move |o| (of, o)))
        .filter(|(of, offering)| wanted.iter().all(|r| allows(r, of, offering)) && !is_away(of, offering))
        .filter(|(_, offering)| offering.capacity_type() != RESERVED || is_selected(class, offering))
        .collect();
    let kinds: BTreeSet<&str> = left.iter().map(|(_, o)| o.capacity_type()).collect();
    let capacity_type = [RESERVED, SPOT, ON_DEMAND].into_iter().find(|kind| kinds.contains(kind));
    let capacity_type = capacity_type.ok_or(NothingToOrder::NoOffering)?;

    // Where the claim counts on a choice of types, none is taken from it.
    let choosy = wanted.iter().any(|r| r.min_values.is_some());
    if !choosy {
        // The type that was planned comes first in the claim: where it is exotic, it is meant.
        let planned = wanted.iter().find(|r| r.key == INSTANCE_TYPE).and_then(|r| r.values.first());
        let meant = left.iter().any(|(of, _)| Some(&of.name) == planned && is_exotic(of));
        if !meant && left.iter().any(|(of, _)| !is_exotic(of)) {
            left.retain(|(of, _)| !is_exotic(of));
        }
        let on_demand = left.iter().filter(|(_, o)| o.capacity_type() == ON_DEMAND).map(|(_, o)| o.price);
        if let Some(cheapest) = on_demand.min_by(f64::total_cmp)
            && capacity_type == SPOT
            && left.iter().any(|(_, o)| o.capacity_type() == SPOT && o.price <= cheapest)
        {
            left.retain(|(_, o)| o.price <= cheapest);
        }
    }
    left.retain(|(_, o)| o.capacity_type() == capacity_type);
    if capacity_type == RESERVED {
        // Two reservations for one type in one zone could not be told apart in EC2's answer: the one with more room stays.
        let room = |offering: &Offering| offering.limit.unwrap_or(u32::MAX);
        left.sort_by(|(a, x), (b, y)| {
            (&a.name, x.zone()).cmp(&(&b.name, y.zone())).then_with(|| room(y).cmp(&room(x)))
        });
        left.dedup_by(|(a, x), (b, y)| (&a.name, x.zone()) == (&b.name, y.zone()));
    }
    left.sort_by(|(a, x), (b, y)| {
        x.price.total_cmp(&y.price).then_with(|| (&a.name, x.zone()).cmp(&(&b.name, y.zone())))
    });

    let subnets = subnets(class, free);
    let name = || class.metadata.name.clone();
    let in_reach: Vec<_> = left.iter().filter(|(_, o)| subnets.contains_key(o.zone())).collect();
    if in_reach.is_empty() {
        let zones: BTreeSet<&str> = left.iter().map(|(_, o)| o.zone()).collect();
        return Err(NothingToOrder::NoSubnet {
            class: name(),
            zones: zones.into_iter().map(str::to_owned).collect(),
        });
    }
    let with_image = in_reach.iter().filter_map(|(of, offering)| Some((*of, *offering, image(class, of)?)));
    let with_image: Vec<_> = with_image.collect();
    let types = cheapest(with_image.iter().map(|(of, ..)| *of), wanted);
    let has = |of: &InstanceType, resource: &str| of.resources.get(resource).map(|n| n.ceil_units());
    let asks = |resource: &str| claim.spec.resources.requests.get(resource).is_some_and(|n| !n.is_zero());
    let efa = asks(EFA) && class.spec.network_interfaces.as_ref().is_none_or(Vec::is_empty);
    // Images count all interfaces of their machine. What a class says of its kubelet is told anyhow.
    let reserves = catalog.source.nodes().is_some_and(|nodes| nodes.reserved_interfaces > 0);
    let tells_pods = reserves && class.spec.kubelet.as_ref().is_none_or(|kubelet| kubelet.max_pods.is_none());
    let mut images = Vec::<OrderedImage>::new();
    for (of, offering, image) in with_image.into_iter().filter(|(of, ..)| types.contains(of.name.as_str())) {
        let way = Way {
            instance_type: of.name.clone(),
            zone: offering.zone().to_owned(),
            subnet: subnets[offering.zone()].to_owned(),
            price: offering.price,
        };
        let reservation = offering.label(RESERVATION).filter(|_| capacity_type == RESERVED);
        let efa = if efa { has(of, EFA).and_then(|n| n.try_into().ok()).unwrap_or_default() } else { 0 };
        let pods = tells_pods.then(|| has(of, PODS)?.try_into().ok()).flatten();
        let same = |i: &&mut OrderedImage| {
            (i.image.as_str(), i.reservation.as_deref(), i.efa, i.pods) == (image, reservation, efa, pods)
        };
        match images.iter_mut().find(same) {
            // A type may be sold in a zone in several ways that EC2 does not tell apart.
            Some(known)
                if known
                    .ways
                    .iter()
                    .any(|w| (&w.instance_type, &w.zone) == (&way.instance_type, &way.zone)) => {}
            Some(known) => known.ways.push(way),
            None => images.push(OrderedImage {
                image: image.to_owned(),
                reservation: reservation.map(str::to_owned),
                efa,
                pods,
                ways: vec![way],
            }),
        }
    }
    if images.is_empty() {
        let example = in_reach.first().map(|(of, _)| of.name.clone()).unwrap_or_default();
        return Err(NothingToOrder::NoImage { class: name(), example });
    }
    let holds = |of: &&InstanceType| has(of, PODS);
    let ordered = catalog.types.iter().filter(|of| types.contains(of.name.as_str()));
    let addresses = ordered.filter_map(|of| holds(&of)).min().unwrap_or(1);
    Ok(Order { capacity_type: capacity_type.to_owned(), images, addresses })
}

/// The cheapest types of those that come by price, as many as a launch takes; first those that `minValues` counts on.
fn cheapest<'c>(
    by_price: impl Iterator<Item = &'c InstanceType>,
    wanted: &[Requirement],
) -> BTreeSet<&'c str> {
    let mut seen = BTreeSet::new();
    let by_price: Vec<&InstanceType> = by_price.filter(|of| seen.insert(&of.name)).collect();
    let mut out = BTreeSet::new();
    for (requirement, least) in wanted.iter().filter_map(|r| Some((r, r.min_values?))) {
        let key = well_known::stable(&requirement.key);
        let value = |of: &&'c InstanceType| match key {
            INSTANCE_TYPE => Some(of.name.as_str()),
            ARCH => Some(of.architecture.as_str()),
            _ => of.labels.get(key).map(String::as_str),
        };
        let mut values = BTreeSet::new();
        let new = by_price.iter().filter(|of| value(of).is_some_and(|value| values.insert(value)));
        out.extend(new.take(least as usize).map(|of| of.name.as_str()));
    }
    for of in by_price {
        if out.len() >= MOST_TYPES {
            break;
        }
        out.insert(&of.name);
    }
    out
}

/// Whether a node of this type, sold so, can be what a requirement asks for. Labels that neither has are the node's own to
/// have: the claim says itself what they are.
fn allows(requirement: &Requirement, of: &InstanceType, offering: &Offering) -> bool {
    let key = well_known::stable(&requirement.key);
    match key {
        INSTANCE_TYPE => return requirement.allows(Some(&of.name)),
        ARCH => return requirement.allows(Some(&of.architecture)),
        OS => return of.operating_systems.iter().any(|os| requirement.allows(Some(os))),
        _ => {}
    }
    if let Some(said) = offering.requirements.iter().find(|r| r.key == key) {
        return match (said.operator, said.values.as_slice()) {
            (Operator::In, [value]) => requirement.allows(Some(value)),
            (Operator::DoesNotExist, _) => requirement.allows(None),
            _ => true,
        };
    }
    match of.labels.get(key) {
        Some(value) => requirement.allows(Some(value)),
        None if key.starts_with(OF_TYPES) => requirement.allows(None),
        None => true,
    }
}

/// Label with the id of a capacity reservation.
pub(super) const RESERVATION: &str = "karpenter.k8s.aws/capacity-reservation-id";

/// Whether a class may use the reservation of an offering. Blocks are bought in a way of their own, which is not known here.
fn is_selected(class: &Ec2NodeClass, offering: &Offering) -> bool {
    let selected = &class.status.capacity_reservations;
    let is_block = offering.label("karpenter.k8s.aws/capacity-reservation-type") == Some("capacity-block");
    !is_block && offering.label(RESERVATION).is_some_and(|id| selected.iter().any(|of| of.id == id))
}

/// Labels that begin so are of instance types: one that has none of such a key has no value of it.
const OF_TYPES: &str = "karpenter.k8s.aws/instance-";

/// Bare metal, and machines with accelerators: not for pods that do not ask for them.
fn is_exotic(of: &InstanceType) -> bool {
    let has = |key: &str| of.labels.contains_key(key);
    of.name.contains(".metal")
        || has("karpenter.k8s.aws/instance-gpu-count")
        || has("karpenter.k8s.aws/instance-accelerator-count")
}

/// The subnet of each zone: that with the most free addresses.
fn subnets<'c>(class: &'c Ec2NodeClass, free: &BTreeMap<String, i64>) -> BTreeMap<&'c str, &'c str> {
    let mut best = BTreeMap::<&str, (i64, &str)>::new();
    for subnet in &class.status.subnets {
        let room = free.get(&subnet.id).copied().unwrap_or(i64::MAX);
        if room <= 0 {
            continue;
        }
        let known = best.entry(&subnet.zone).or_insert((room, &subnet.id));
        // The first by name, of those with as many.
        if (room, std::cmp::Reverse(subnet.id.as_str())) > (known.0, std::cmp::Reverse(known.1)) {
            *known = (room, &subnet.id);
        }
    }
    best.into_iter().map(|(zone, (_, id))| (zone, id)).collect()
}

/// The first image that runs on a type.
fn image<'c>(class: &'c Ec2NodeClass, of: &InstanceType) -> Option<&'c str> {
    let fits = |requirement: &Requirement| {
        let value = match well_known::stable(&requirement.key) {
            ARCH => Some(of.architecture.as_str()),
            INSTANCE_TYPE => Some(of.name.as_str()),
            key => of.labels.get(key).map(String::as_str),
        };
        requirement.allows(value)
    };
    let found = class.status.amis.iter().find(|ami| ami.requirements.iter().all(fits))?;
    Some(&found.id)
}

#[cfg(test)]
mod tests;
