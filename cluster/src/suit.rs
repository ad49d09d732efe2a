//! A catalogue for the nodes of a snapshot's `EC2NodeClasses`: kubelet's settings, image family, disks and subnets decide
//! what pods may use of a type, and where it can be had.
//!
//! ```text
//! NodePools that launch ─▶ their EC2NodeClasses ─▶ one setting of nodes ─▶ Catalog::suited_to ─▶ zones with a subnet
//! ```
//!
//! # Invariants
//! - Nodes have at least what the catalogue then says: where classes differ, the least of each resource counts, and only
//!   types that all of them run on are offered.
//! - A zone is offered where any class has a subnet there, or where nobody knows their subnets.

use std::collections::{BTreeMap, BTreeSet};

use stowage_api::{Ec2NodeClass, Quantity, well_known};
use stowage_pricing::{Catalog, CatalogSource, Error, InstanceType, Misfit, NodeConfig};

use crate::snapshot::Snapshot;

/// A catalogue that suits a snapshot, and what to know about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Suited {
    /// The catalogue.
    pub catalog: Catalog,
    /// Class and field of what could not be used: `default: spec.kubelet.maxPods: "max_pods / 2"`.
    pub unused: Vec<String>,
    /// Types that nodes so set up do not run on, and why.
    pub unsuited: Vec<(String, Misfit)>,
    /// Whether classes differ, so that the least of what they say counts.
    pub differ: bool,
}

/// Suits a catalogue to the classes of a snapshot. A catalogue from a file stays as it is, but for the zones.
///
/// # Errors
/// Where the embedded data is damaged.
pub fn suit(snapshot: &Snapshot, catalog: &Catalog) -> Result<Suited, Error> {
    let classes = launching(snapshot);
    let base = match &catalog.source {
        CatalogSource::Embedded { nodes, .. } => (**nodes).clone(),
        CatalogSource::File { .. } => NodeConfig::default(),
    };
    let mut unused = Vec::new();
    let mut configs = Vec::<NodeConfig>::new();
    for class in &classes {
        let (config, passed_over) = NodeConfig::of(class, &base);
        unused.extend(passed_over.iter().map(|field| format!("{}: {field}", class.metadata.name)));
        if !configs.contains(&config) {
            configs.push(config);
        }
    }
    let mut suited =
        Suited { catalog: catalog.clone(), unused, unsuited: Vec::new(), differ: configs.len() > 1 };
    for (at, config) in configs.iter().enumerate() {
        let (of_class, unsuited) = catalog.suited_to(config)?;
        suited.unsuited.extend(unsuited);
        if at == 0 {
            suited.catalog = of_class;
        } else {
            least(&mut suited.catalog, &of_class);
        }
    }
    suited.unsuited.sort();
    suited.unsuited.dedup();
    let zones: BTreeSet<&str> =
        classes.iter().flat_map(|c| &c.status.subnets).map(|s| s.zone.as_str()).collect();
    if !zones.is_empty() && classes.iter().all(|c| !c.status.subnets.is_empty()) {
        for offering in suited.catalog.types.iter_mut().flat_map(|t| &mut t.offerings) {
            offering.available &= zones.contains(offering.zone());
        }
    }
    Ok(suited)
}

/// The classes of `NodePools` that launch nodes, each once.
fn launching(snapshot: &Snapshot) -> Vec<&Ec2NodeClass> {
    let pools =
        snapshot.node_pools.iter().filter(|p| !p.metadata.is_terminating() && p.spec.replicas.is_none());
    let named: BTreeSet<&str> =
        pools.filter_map(|p| p.spec.template.spec.node_class_ref.as_ref()).map(|r| r.name.as_str()).collect();
    snapshot.node_classes.iter().filter(|c| named.contains(c.metadata.name.as_str())).collect()
}

/// Cuts a catalogue down to what another one has, too: types, and of each resource the least that pods may use.
fn least(catalog: &mut Catalog, other: &Catalog) {
    catalog.types.retain_mut(|of| {
        let Some(with) = other.find(&of.name).filter(|o| o.operating_systems == of.operating_systems) else {
            return false;
        };
        let (ours, theirs) = (of.allocatable(), with.allocatable());
        let (resources, overhead) = smaller(of, with, &ours, &theirs);
        (of.resources, of.overhead) = (resources, overhead);
        of.labels.retain(|key, value| with.labels.get(key) == Some(value));
        true
    });
}

type Amounts = BTreeMap<String, Quantity>;

/// Resources and overhead of whichever leaves pods less, resource by resource.
fn smaller(of: &InstanceType, with: &InstanceType, ours: &Amounts, theirs: &Amounts) -> (Amounts, Amounts) {
    let (mut resources, mut overhead) = (Amounts::new(), Amounts::new());
    for (name, amount) in ours.iter().filter(|(name, _)| theirs.contains_key(*name)) {
        let from = if theirs[name] < *amount { with } else { of };
        resources.insert(name.clone(), from.resources[name]);
        overhead.extend(from.overhead.get(name).map(|kept| (name.clone(), *kept)));
    }
    // Attach slots are counted by disk; what states none has no limit.
    if let (None, Some(slots)) = (ours.get(well_known::EBS_SLOTS), theirs.get(well_known::EBS_SLOTS)) {
        resources.insert(well_known::EBS_SLOTS.to_owned(), *slots);
    }
    (resources, overhead)
}
