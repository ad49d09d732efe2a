//! Instance types and offerings of the catalogue, with all the labels that their nodes would have.
//!
//! Karpenter's source of truth: `computeRequirements` of its AWS provider, and the labels that kubelets put on their nodes.

use std::collections::BTreeMap;

use stowage_api::{Quantity, well_known};
use stowage_pricing::InstanceType;
use stowage_solver::{self as solver, Labels, NodePool, Price, QuotaId, Requirement};

use super::device::Devices;
use super::labels;
use super::quota::{LINUX, Quotas};
use super::resource::ResourceIds;
use super::view::Views;
use super::world::World;

/// Lowers the types that can be bought: those of each view, one after the other. With each, all that pods may use of it.
///
/// A type that runs several operating systems is offered with each, but with others than its first only where a pod or
/// a `NodePool` refuses that one: otherwise two equal offers would differ in nothing but a label that nobody looks at.
pub(super) fn types(
    views: &Views<'_>,
    resources: &ResourceIds<'_>,
    devices: &Devices,
    world: &World<'_>,
    pools: &[NodePool],
    quotas: &mut Quotas,
) -> (Vec<solver::InstanceType>, Vec<BTreeMap<String, Quantity>>) {
    let of_pools = pools.iter().flat_map(|p| &p.requirements).filter(|r| r.key == well_known::OS);
    let stated: Vec<&Requirement> = world.systems.iter().chain(of_pools).collect();
    let refuses_first = |r: &&Requirement, systems: &[String], at: usize| {
        r.allows(Some(&systems[at])) && !r.allows(Some(&systems[0]))
    };
    let offered =
        |systems: &[String], at: usize| at == 0 || stated.iter().any(|r| refuses_first(r, systems, at));
    let (mut types, mut all) = (Vec::new(), Vec::new());
    for (catalog, own) in views.each() {
        for of in &catalog.types {
            let allocatable = of.allocatable();
            types.push(one(of, &own, &allocatable, resources, devices, &offered, quotas));
            all.push(allocatable);
        }
    }
    (types, all)
}

fn one(
    from: &InstanceType,
    own: &Labels,
    allocatable: &BTreeMap<String, Quantity>,
    resources: &ResourceIds<'_>,
    devices: &Devices,
    offered: &impl Fn(&[String], usize) -> bool,
    quotas: &mut Quotas,
) -> solver::InstanceType {
    let mut labels = Labels::clone(&from.labels);
    labels.extend(own.clone());
    labels.insert(well_known::ARCH.to_owned(), from.architecture.clone());
    labels.insert(well_known::INSTANCE_TYPE.to_owned(), from.name.clone());
    let systems = &from.operating_systems;
    if let [only] = systems.as_slice() {
        labels.insert(well_known::OS.to_owned(), only.clone());
    }
    labels::add_aliases(&mut labels);

    let mut offerings = Vec::with_capacity(from.offerings.len());
    for offering in from.offerings.iter().filter(|o| o.available && o.limit != Some(0)) {
        // A price that is none is refused when a catalogue is read.
        let Some(price) = Price::from_dollars(offering.price) else { continue };
        let mut own: Labels = offering.labels();
        labels::add_aliases(&mut own);
        let limited: Vec<(QuotaId, i64)> = quotas.limited(from, offering).into_iter().collect();
        let covering = quotas.covering(from, offering);
        let sold = |own: Labels| solver::Offering {
            zone: offering.zone().to_owned(),
            capacity_type: offering.capacity_type().to_owned(),
            labels: own,
            price,
            estimated: offering.estimated,
            rebate: Price::ZERO,
            draws: limited.clone(),
        };
        let mut sell = |own: Labels, system: &str| {
            let sold = sold(own);
            // What commitments are for costs nothing more.
            let covering = covering.iter().filter(|_| system == LINUX);
            let rebates = covering.map(|draw| (draw, draw.saves(sold.price)));
            let covered = rebates.filter(|(_, rebate)| *rebate > Price::ZERO).map(|(draw, rebate)| {
                solver::Offering { rebate, draws: vec![(draw.quota, draw.units)], ..sold.clone() }
            });
            offerings.extend(covered.collect::<Vec<_>>());
            offerings.push(sold);
        };
        if systems.len() < 2 {
            sell(own, systems.first().map_or(LINUX, String::as_str));
            continue;
        }
        for (_, system) in systems.iter().enumerate().filter(|(at, _)| offered(systems, *at)) {
            let mut own = own.clone();
            own.insert(well_known::OS.to_owned(), system.clone());
            labels::add_aliases(&mut own);
            sell(own, system);
        }
    }
    solver::InstanceType {
        name: from.name.clone(),
        labels,
        capacity: resources.usage(from.resources.iter().map(|(k, v)| (k.as_str(), *v))),
        allocatable: resources
            .supply(allocatable.iter().map(|(k, v)| (k.as_str(), *v)))
            .plus(&resources.amounts(devices.of_type(&from.name))),
        offerings,
    }
}
