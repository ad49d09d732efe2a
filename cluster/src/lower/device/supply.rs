//! What shapes take of resources, and what hosts have of them.

use std::collections::{BTreeMap, BTreeSet};

use super::demand::{Demands, Verdict};
use super::inventory::Inventory;
use super::shape::{Shape, Shapes};
use super::{Amounts, PREFIX, allocate, cover};
use crate::lower::UNLIMITED;
use crate::lower::notes::Notes;
use crate::note::Note;

/// Steps of searching devices for composed claims, over all nodes and types: about a second.
const SEARCH_STEPS: u64 = 30_000_000;

/// Resources, and amounts of them by their position.
#[derive(Default)]
pub(super) struct Supplies {
    pub(super) names: Vec<String>,
    /// By host: what is free.
    pub(super) of_hosts: Vec<Amounts>,
    /// By shape: what a pod takes.
    pub(super) of_shapes: Vec<Amounts>,
}

/// Works out the resources of all shapes.
pub(super) fn supplies(
    shapes: &Shapes<'_>,
    demands: &Demands<'_>,
    inventory: &Inventory<'_>,
    notes: &mut Notes,
) -> Supplies {
    let mut builder = Builder {
        shapes,
        demands,
        inventory,
        supplies: Supplies {
            names: Vec::new(),
            of_hosts: vec![Vec::new(); inventory.hosts.len()],
            of_shapes: vec![Vec::new(); shapes.all.len()],
        },
    };
    builder.counts();
    builder.watches();
    builder.gates();
    builder.composed(notes);
    builder.supplies
}

struct Builder<'b, 's> {
    shapes: &'b Shapes<'s>,
    demands: &'b Demands<'s>,
    inventory: &'b Inventory<'s>,
    supplies: Supplies,
}

impl<'b> Builder<'b, '_> {
    fn plain(&self) -> impl Iterator<Item = (usize, &'b Shape)> + use<'b> {
        self.shapes.all.iter().enumerate().filter(|(_, shape)| shape.is_plain())
    }

    /// A new resource, called after classes. Equal names are numbered.
    fn name(&mut self, demands: impl Iterator<Item = u32>, what: &str) -> usize {
        let mut classes = BTreeSet::new();
        let mut selective = false;
        for demand in demands {
            let demand = &self.demands.all[demand as usize];
            selective |= demand.is_selective();
            classes.insert(demand.class);
        }
        let classes: Vec<&str> = classes.into_iter().collect();
        let more = if selective { ", selected" } else { "" };
        let name = format!("{PREFIX}{}{more}{what}", classes.join(" or "));
        let known = |name: &String| self.supplies.names.contains(name);
        let numbered = (2..).map(|n| format!("{name} ({n})"));
        let name = std::iter::once(name.clone()).chain(numbered).find(|n| !known(n)).unwrap_or(name);
        self.supplies.names.push(name);
        self.supplies.names.len() - 1
    }

    /// What hosts have of a resource.
    fn supply(&mut self, at: usize, amount: impl Fn(usize) -> i64) {
        for (host, amounts) in self.supplies.of_hosts.iter_mut().enumerate() {
            let amount = amount(host);
            if amount > 0 {
                amounts.push((at, amount));
            }
        }
    }

    /// Devices that plain shapes count.
    fn counts(&mut self) {
        let wants = self.plain().flat_map(|(_, shape)| shape.wants()).filter(|want| !want.admin);
        let wanted: BTreeSet<u32> = wants.map(|want| want.demand).collect();
        for part in cover::parts(&wanted, self.demands) {
            let at = self.name(part.takers.iter().copied(), "");
            let (inventory, demands) = (self.inventory, self.demands);
            self.supply(at, |host| {
                let free = inventory.hosts[host].slots.iter().filter(|slot| !slot.taken);
                free.filter(|slot| part.holds(demands.signature(slot.kind))).count() as i64
            });
            for (number, shape) in self.plain() {
                let wants = shape.wants().filter(|w| !w.admin && part.takers.contains(&w.demand));
                let count: u64 = wants.map(|want| want.count).sum();
                if count > 0 {
                    self.supplies.of_shapes[number].push((at, count as i64));
                }
            }
        }
    }

    /// Devices that plain shapes watch over: they have to be there, free or not.
    fn watches(&mut self) {
        let mut watches = BTreeMap::<(u32, u64), Vec<usize>>::new();
        for (number, shape) in self.plain() {
            for want in shape.wants().filter(|want| want.admin) {
                let of = watches.entry((want.demand, want.count.max(1))).or_default();
                if of.last() != Some(&number) {
                    of.push(number);
                }
            }
        }
        for ((demand, count), of_shapes) in watches {
            let at = self.name(std::iter::once(demand), ", to watch over");
            let (inventory, demands) = (self.inventory, self.demands);
            self.supply(at, |host| {
                let there = inventory.hosts[host].slots.iter();
                let there = there.filter(|s| demands.verdict(demand, s.kind) == Verdict::Yes).count();
                if there as u64 >= count { UNLIMITED } else { 0 }
            });
            for number in of_shapes {
                self.supplies.of_shapes[number].push((at, 1));
            }
        }
    }

    /// Hosts with a device of which a demand cannot tell are closed to it.
    fn gates(&mut self) {
        let falters = |demand: &u32| self.demands.all[*demand as usize].falters();
        let all = self.plain().flat_map(|(_, shape)| shape.wants()).map(|want| want.demand);
        let faltering: BTreeSet<u32> = all.filter(falters).collect();
        for demand in faltering {
            let at = self.name(std::iter::once(demand), ", told apart");
            let (inventory, demands) = (self.inventory, self.demands);
            self.supply(at, |host| {
                let mut slots = inventory.hosts[host].slots.iter();
                let fault = slots.any(|s| demands.verdict(demand, s.kind) == Verdict::Fault);
                if fault { 0 } else { UNLIMITED }
            });
            for (number, shape) in self.plain() {
                if shape.wants().any(|want| want.demand == demand) {
                    self.supplies.of_shapes[number].push((at, 1));
                }
            }
        }
    }

    /// Each composed shape is a resource of its own.
    fn composed(&mut self, notes: &mut Notes) {
        let mut steps = SEARCH_STEPS;
        let mut cut_short = 0;
        for (number, shape) in self.shapes.all.iter().enumerate().filter(|(_, shape)| !shape.is_plain()) {
            let at = self.name(shape.wants().map(|want| want.demand), ", as claimed together");
            for (host, amounts) in self.inventory.hosts.iter().zip(&mut self.supplies.of_hosts) {
                let (copies, complete) =
                    allocate::copies(shape, host, self.inventory, self.demands, &mut steps);
                cut_short += usize::from(!complete);
                if copies > 0 {
                    amounts.push((at, copies));
                }
            }
            self.supplies.of_shapes[number].push((at, 1));
        }
        if cut_short > 0 {
            notes.add(Note::DeviceSearch { count: cut_short });
        }
    }
}
