//! Resources by number, and amounts in base units.
//!
//! Kubernetes' source of truth: `resource.Quantity`, and the scheduler's plugin `NodeResourcesFit`, which counts every resource by
//! itself.

use std::collections::{BTreeMap, BTreeSet};

use stowage_api::{Quantity, well_known};
use stowage_pricing::Catalog;
use stowage_solver::{Pod as Pending, PodSpec, ResourceId, Resources};

use super::UNLIMITED;
use crate::requests::pod_requests;
use crate::snapshot::Snapshot;

/// The resources of a problem: those that some pod (running ones too), `DaemonSet` or limit asks for; CPU, memory and
/// pods in any case.
pub(super) struct ResourceIds<'a>(BTreeMap<&'a str, ResourceId>);

/// Names of the resources that a problem needs. `pools` are those that launch something.
pub(super) fn asked_for<'a>(
    snapshot: &'a Snapshot,
    pools: &[&'a stowage_api::NodePool],
) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::from([well_known::CPU, well_known::MEMORY, well_known::PODS]);
    let mut seen = std::collections::HashSet::new();
    let specs = snapshot.pods.iter().map(|p| p.spec.as_ref()).filter(|s| seen.insert(std::ptr::from_ref(*s)));
    for spec in specs.chain(snapshot.daemon_sets.iter().map(|d| &d.spec.template.spec)) {
        names.extend(
            pod_requests(spec).unwrap_or_default().into_iter().filter(|(_, n)| *n > 0).map(|(name, _)| name),
        );
        if spec.volumes.iter().any(crate::object::Volume::is_claim) {
            names.insert(well_known::EBS_SLOTS);
        }
    }
    let overheads = snapshot.runtime_classes.iter().flat_map(|c| c.overhead.pod_fixed.iter());
    names.extend(overheads.map(|(name, _)| name));
    names.extend(pools.iter().flat_map(|p| p.spec.limits.iter()).map(|(name, _)| name));
    names.remove(well_known::NODES);
    names
}

impl<'a> ResourceIds<'a> {
    pub(super) fn new(names: BTreeSet<&'a str>) -> Self {
        Self(names.into_iter().enumerate().map(|(at, name)| (name, ResourceId::of(at))).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<ResourceId> {
        self.0.get(name).copied()
    }

    pub(super) fn into_names(self) -> Vec<String> {
        self.0.into_keys().map(str::to_owned).collect()
    }

    /// Amounts of those resources that the problem has.
    pub(super) fn amounts<'n>(&self, amounts: impl IntoIterator<Item = (&'n str, i64)>) -> Resources {
        Resources::from_amounts(
            amounts.into_iter().filter_map(|(name, amount)| Some((self.get(name)?, amount))),
        )
    }

    /// What there is, rounded down. Where no number of attach slots is stated, there is no end of them.
    pub(super) fn supply<'n>(&self, stated: impl IntoIterator<Item = (&'n str, Quantity)>) -> Resources {
        let mut slots = Some(UNLIMITED);
        let mut amounts = Vec::new();
        for (name, amount) in stated {
            if name == well_known::EBS_SLOTS {
                slots = None;
            }
            amounts.push((name, floor(name, amount)));
        }
        self.amounts(amounts.into_iter().chain(slots.map(|n| (well_known::EBS_SLOTS, n))))
    }

    /// What counts against a limit, rounded up.
    pub(super) fn usage<'n>(&self, stated: impl IntoIterator<Item = (&'n str, Quantity)>) -> Resources {
        self.amounts(stated.into_iter().map(|(name, amount)| (name, ceil(name, amount))))
    }
}

/// In base units, rounded down.
pub(super) fn floor(resource: &str, amount: Quantity) -> i64 {
    if resource == well_known::CPU { amount.floor_millis() } else { amount.floor_units() }
}

fn ceil(resource: &str, amount: Quantity) -> i64 {
    if resource == well_known::CPU { amount.ceil_millis() } else { amount.ceil_units() }
}

/// Whether any instance type has some of a resource.
pub(super) fn is_offered(catalog: &Catalog, resource: &str) -> bool {
    catalog.types.iter().any(|t| t.resources.contains_key(resource))
}

/// The most that one pod may ask for, by resource, where sums over all pending pods could not be counted otherwise: more than
/// any machine or node has, so that it fits nowhere either way.
pub(super) fn caps<'n>(
    pods: &[Pending],
    specs: &[PodSpec],
    resources: &ResourceIds<'_>,
    supplies: impl Iterator<Item = (&'n str, Quantity)>,
) -> BTreeMap<ResourceId, i64> {
    // With room to spare.
    const MOST: i64 = i64::MAX / 4;
    let mut counts = vec![0_i128; specs.len()];
    for pod in pods {
        counts[pod.spec.index()] += 1;
    }
    let mut sums = BTreeMap::<ResourceId, i128>::new();
    for (spec, count) in specs.iter().zip(counts) {
        for (id, amount) in spec.requests.iter() {
            *sums.entry(id).or_insert(0) += i128::from(amount) * count;
        }
    }
    sums.retain(|_, sum| *sum > i128::from(MOST));
    if sums.is_empty() {
        return BTreeMap::new();
    }
    let mut largest: BTreeMap<ResourceId, i64> = sums.into_keys().map(|id| (id, 0)).collect();
    for (name, amount) in supplies {
        if let Some(known) = resources.get(name).and_then(|id| largest.get_mut(&id)) {
            *known = floor(name, amount).max(*known);
        }
    }
    let share = MOST / i64::try_from(pods.len().max(1)).unwrap_or(MOST);
    largest.into_iter().map(|(id, largest)| (id, largest.saturating_add(1).min(share))).collect()
}
