//! The devices that there are: on nodes as drivers publish them, on instance types as their drivers would.
//!
//! A pool is what a driver says it is: the slices of its newest generation, if they are all there and no two devices have
//! one name. Devices of other pools are not given to anyone (`GatherPools` of the allocator).
//!
//! Kubernetes' source of truth: `GatherPools` of the allocator of structured parameters.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use stowage_api::Device;
use stowage_pricing::Catalog;

use crate::lower::notes::Notes;
use crate::note::Rule;
use crate::object::ResourceSlice;
use crate::snapshot::Snapshot;

/// A device as requests see it: what it is, not what it is called.
#[derive(Debug)]
pub(super) struct Kind<'s> {
    pub(super) driver: &'s str,
    pub(super) device: Device,
}

/// A device of a host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// Index into [`Inventory::kinds`].
    pub(super) kind: u32,
    /// Whether a claim has it.
    pub(super) taken: bool,
}

/// A node, or what a new node of an instance type would be.
#[derive(Debug)]
pub(super) struct Host<'s> {
    pub(super) name: &'s str,
    pub(super) is_type: bool,
    /// In the order in which they are tried.
    pub(super) slots: Vec<Slot>,
    /// Whether a pool is not as it should be: then nobody knows what all its devices are.
    pub(super) incomplete: bool,
}

/// All devices.
#[derive(Debug, Default)]
pub(super) struct Inventory<'s> {
    pub(super) kinds: Vec<Kind<'s>>,
    pub(super) hosts: Vec<Host<'s>>,
}

impl<'s> Inventory<'s> {
    pub(super) fn new(snapshot: &'s Snapshot, catalog: &'s Catalog, notes: &mut Notes) -> Self {
        let mut builder = Builder { inventory: Self::default(), ids: HashMap::new() };
        builder.nodes(snapshot, notes);
        for of_type in catalog.types.iter().filter(|t| !t.resource_slices.is_empty()) {
            let mut host = Host { name: &of_type.name, is_type: true, slots: Vec::new(), incomplete: false };
            for slice in &of_type.resource_slices {
                for device in slice.devices.iter().filter(|d| usable(d)) {
                    if device.allow_multiple_allocations {
                        notes.not_honoured(Rule::ConsumableCapacity, || of_type.name.clone());
                    }
                    let kind = builder.kind(&slice.driver, device.clone());
                    host.slots.push(Slot { kind, taken: false });
                }
                if !slice.devices.iter().all(usable) {
                    notes.not_honoured(Rule::PartitionableDevices, || of_type.name.clone());
                }
            }
            builder.inventory.hosts.push(host);
        }
        builder.inventory
    }
}

/// Whether a device is one that claims are given whole and at once.
fn usable(device: &Device) -> bool {
    !device.consumes_counters && !device.binding_conditions
}

struct Builder<'s> {
    inventory: Inventory<'s>,
    /// By driver and all that is known of a device, as text.
    ids: HashMap<(&'s str, String), u32>,
}

impl<'s> Builder<'s> {
    fn kind(&mut self, driver: &'s str, mut device: Device) -> u32 {
        device.name = String::new();
        let next = self.inventory.kinds.len() as u32;
        let id = *self.ids.entry((driver, format!("{device:?}"))).or_insert(next);
        if id == next {
            self.inventory.kinds.push(Kind { driver, device });
        }
        id
    }

    fn nodes(&mut self, snapshot: &'s Snapshot, notes: &mut Notes) {
        let mut pools = BTreeMap::<(&str, &str), Vec<&ResourceSlice>>::new();
        for slice in &snapshot.resource_slices {
            let key = (slice.spec.driver.as_str(), slice.spec.pool.name.as_str());
            pools.entry(key).or_default().push(slice);
        }
        let taken = taken(snapshot);
        let mut hosts = BTreeMap::<&str, Host<'s>>::new();
        for ((driver, pool), mut slices) in pools {
            let newest = slices.iter().map(|s| s.spec.pool.generation).max().unwrap_or(0);
            slices.retain(|s| s.spec.pool.generation == newest);
            slices.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
            let stated = slices.first().map_or(1, |s| s.spec.pool.resource_slice_count.max(1));
            let complete = slices.len() as i64 == stated;
            let mut by_node = BTreeMap::<&str, Vec<&ResourceSlice>>::new();
            for slice in slices {
                match slice.spec.node_name.as_deref().filter(|n| !n.is_empty()) {
                    Some(node) => by_node.entry(node).or_default().push(slice),
                    None => notes.not_honoured(Rule::SharedDevices, || slice.metadata.name.clone()),
                }
            }
            for (node, slices) in by_node {
                let host = hosts.entry(node).or_insert_with(|| Host {
                    name: node,
                    is_type: false,
                    slots: Vec::new(),
                    incomplete: false,
                });
                let devices = || slices.iter().flat_map(|s| &s.spec.devices);
                let mut names = HashSet::new();
                if !complete || !devices().all(|d| names.insert(d.name.as_str())) {
                    host.incomplete = true;
                    continue;
                }
                for slice in &slices {
                    for device in slice.spec.devices.iter().filter(|d| usable(d)) {
                        if device.allow_multiple_allocations {
                            notes.not_honoured(Rule::ConsumableCapacity, || slice.metadata.name.clone());
                        }
                        let taken = taken.contains(&(driver, pool, device.name.as_str()));
                        let kind = self.kind(driver, device.clone().modern());
                        host.slots.push(Slot { kind, taken });
                    }
                    if !slice.spec.devices.iter().all(usable) {
                        notes.not_honoured(Rule::PartitionableDevices, || slice.metadata.name.clone());
                    }
                }
            }
        }
        self.inventory.hosts.extend(hosts.into_values());
    }
}

/// The devices that claims have: driver, pool and name.
fn taken(snapshot: &Snapshot) -> BTreeSet<(&str, &str, &str)> {
    let allocations = snapshot.resource_claims.iter().filter_map(|claim| claim.status.allocation.as_ref());
    let results = allocations.flat_map(|a| &a.devices.results).filter(|r| !r.admin_access);
    results.map(|r| (r.driver.as_str(), r.pool.as_str(), r.device.as_str())).collect()
}
