//! Instance types and offerings of the catalogue, with all the labels that their nodes would have.

use std::collections::BTreeMap;

use stowage_api::{Quantity, well_known};
use stowage_pricing::InstanceType;
use stowage_solver::{self as solver, Labels, NodePool, Price, Requirement};

use super::device::Devices;
use super::labels;
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
            types.push(one(of, &own, &allocatable, resources, devices, &offered));
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
) -> solver::InstanceType {
    let mut labels: Labels = from.labels.clone();
    labels.extend(own.clone());
    labels.insert(well_known::ARCH.to_owned(), from.architecture.clone());
    labels.insert(well_known::INSTANCE_TYPE.to_owned(), from.name.clone());
    let systems = &from.operating_systems;
    if let [only] = systems.as_slice() {
        labels.insert(well_known::OS.to_owned(), only.clone());
    }
    labels::add_aliases(&mut labels);

    let mut offerings = Vec::with_capacity(from.offerings.len());
    // The solver buys as many of an offering as it likes, so what there is only so many of is not offered yet.
    for offering in from.offerings.iter().filter(|o| o.available && o.limit.is_none()) {
        // A price that is none is refused when a catalogue is read.
        let Some(price) = Price::from_dollars(offering.price) else { continue };
        let mut own: Labels = offering.labels();
        labels::add_aliases(&mut own);
        let sold = |own: Labels| solver::Offering {
            zone: offering.zone().to_owned(),
            capacity_type: offering.capacity_type().to_owned(),
            labels: own,
            price,
            estimated: offering.estimated,
        };
        if systems.len() < 2 {
            offerings.push(sold(own));
            continue;
        }
        for (_, system) in systems.iter().enumerate().filter(|(at, _)| offered(systems, *at)) {
            let mut own = own.clone();
            own.insert(well_known::OS.to_owned(), system.clone());
            labels::add_aliases(&mut own);
            offerings.push(sold(own));
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
