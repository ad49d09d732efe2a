//! How often a host can meet a composed shape: kube-scheduler's own search, one pod after the other.
//!
//! It tries devices in order and takes the first that do, goes back where that leads nowhere, and never moves what a pod
//! has been given. Devices that one request may take are tried as sets, not in every order, which finds the same.
//!
//! # Invariants
//! - Steps are counted. A search that runs out of them has found nothing, which is careful.

use stowage_api::DeviceAttribute;

use super::demand::{Demands, Verdict};
use super::inventory::{Host, Inventory, Kind};
use super::shape::{MOST_DEVICES, Shape, Want};
use crate::lower::UNLIMITED;

/// No node runs more pods than this.
const MOST_COPIES: i64 = 256;

/// Steps for one shape on one host.
const STEPS: u64 = 200_000;

/// How many pods with claims of this shape a host can hold. Takes its steps off `steps`; whether they sufficed.
pub(super) fn copies(
    shape: &Shape,
    host: &Host<'_>,
    inventory: &Inventory<'_>,
    demands: &Demands<'_>,
    steps: &mut u64,
) -> (i64, bool) {
    let falters =
        |want: &Want| host.slots.iter().any(|s| demands.verdict(want.demand, s.kind) == Verdict::Fault);
    if host.slots.is_empty() || shape.wants().any(falters) {
        return (0, true);
    }
    let allowed = STEPS.min(*steps);
    let mut search = Search {
        shape,
        host,
        inventory,
        demands,
        used: host.slots.iter().map(|slot| slot.taken).collect(),
        alike: Vec::new(),
        given: Vec::new(),
        left: allowed,
    };
    let mut copies = 0;
    while copies < MOST_COPIES {
        let before = search.used.clone();
        search.alike = shape.claims.iter().map(|c| vec![Shared::default(); c.alike.len()]).collect();
        search.given = vec![Vec::new(); shape.claims.len()];
        if !search.claim(0, 0) {
            break;
        }
        if search.used == before {
            // It takes nothing, so there is no end of it.
            copies = UNLIMITED;
            break;
        }
        copies += 1;
    }
    *steps -= allowed - search.left;
    (copies, search.left > 0)
}

/// The value that devices have in common, and how many there are.
#[derive(Clone, Default)]
struct Shared<'a> {
    value: Option<&'a DeviceAttribute>,
    devices: u32,
}

struct Search<'a> {
    shape: &'a Shape,
    host: &'a Host<'a>,
    inventory: &'a Inventory<'a>,
    demands: &'a Demands<'a>,
    /// By slot.
    used: Vec<bool>,
    /// By claim and constraint.
    alike: Vec<Vec<Shared<'a>>>,
    /// By claim: slots.
    given: Vec<Vec<usize>>,
    left: u64,
}

impl Search<'_> {
    /// Whether this claim can be met from this request on, and all that follow.
    fn claim(&mut self, claim: usize, ask: usize) -> bool {
        let Some(of) = self.shape.claims.get(claim) else { return true };
        let Some(request) = of.asks.get(ask) else { return self.claim(claim + 1, 0) };
        (0..request.alternatives.len()).any(|alternative| {
            let want = &request.alternatives[alternative];
            let all: Option<Vec<usize>> = want.all.then(|| self.suitable(want));
            let count = all.as_ref().map_or(want.count as usize, Vec::len);
            if (want.all && count == 0) || (self.given[claim].len() + count) as u64 > MOST_DEVICES {
                return false;
            }
            if want.all && self.host.incomplete {
                return false;
            }
            self.devices(&Place { claim, ask, alternative, all: all.as_deref() }, count, 0)
        })
    }

    fn suitable(&self, want: &Want) -> Vec<usize> {
        let slots = self.host.slots.iter().enumerate();
        slots
            .filter(|(_, s)| self.demands.verdict(want.demand, s.kind) == Verdict::Yes)
            .map(|(at, _)| at)
            .collect()
    }

    /// Whether so many more devices can be found for a request, from this slot on, and all that follows be met.
    fn devices(&mut self, place: &Place<'_>, missing: usize, from: usize) -> bool {
        if missing == 0 {
            return self.claim(place.claim, place.ask + 1);
        }
        let shape = self.shape;
        let want = &shape.claims[place.claim].asks[place.ask].alternatives[place.alternative];
        if let Some(all) = place.all {
            let slot = all[all.len() - missing];
            return self.take(place, want, slot) && {
                let done = self.devices(place, missing - 1, 0);
                if !done {
                    self.give_back(place, want, slot);
                }
                done
            };
        }
        for slot in from..self.host.slots.len() {
            if self.demands.verdict(want.demand, self.host.slots[slot].kind) != Verdict::Yes {
                continue;
            }
            if !self.take(place, want, slot) {
                continue;
            }
            if self.devices(place, missing - 1, slot + 1) {
                return true;
            }
            self.give_back(place, want, slot);
            if self.left == 0 {
                return false;
            }
        }
        false
    }

    /// Takes a device if it is free and has in common what it must.
    fn take(&mut self, place: &Place<'_>, want: &Want, slot: usize) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        let used = if want.admin { self.given[place.claim].contains(&slot) } else { self.used[slot] };
        if used {
            return false;
        }
        let inventory = self.inventory;
        let kind = &inventory.kinds[self.host.slots[slot].kind as usize];
        let shape = self.shape;
        let claim = &shape.claims[place.claim];
        for (at, (requests, name)) in claim.alike.iter().enumerate() {
            if !concerns(requests, &claim.asks[place.ask].name, &want.name) {
                continue;
            }
            let value = attribute(kind, name);
            let shared = &self.alike[place.claim][at];
            if value.is_none() || (shared.devices > 0 && shared.value != value) {
                return false;
            }
        }
        for (at, (requests, name)) in claim.alike.iter().enumerate() {
            if concerns(requests, &claim.asks[place.ask].name, &want.name) {
                let shared = &mut self.alike[place.claim][at];
                shared.value = attribute(kind, name);
                shared.devices += 1;
            }
        }
        self.used[slot] |= !want.admin;
        self.given[place.claim].push(slot);
        true
    }

    fn give_back(&mut self, place: &Place<'_>, want: &Want, slot: usize) {
        let claim = &self.shape.claims[place.claim];
        for (at, (requests, _)) in claim.alike.iter().enumerate() {
            if concerns(requests, &claim.asks[place.ask].name, &want.name) {
                self.alike[place.claim][at].devices -= 1;
            }
        }
        if !want.admin {
            self.used[slot] = false;
        }
        self.given[place.claim].pop();
    }
}

/// Where in a shape devices are looked for.
struct Place<'l> {
    claim: usize,
    ask: usize,
    alternative: usize,
    /// The slots, where all are asked for.
    all: Option<&'l [usize]>,
}

/// Whether a constraint on these requests is about this one, or this alternative of it.
fn concerns(requests: &[String], request: &str, alternative: &str) -> bool {
    requests.is_empty()
        || requests.iter().any(|named| match named.split_once('/') {
            None => named == request,
            Some((of, one)) => of == request && one == alternative,
        })
}

/// An attribute by its full name; those of the driver's own domain may be written without it.
fn attribute<'k>(kind: &'k Kind<'_>, name: &str) -> Option<&'k DeviceAttribute> {
    let attributes = &kind.device.attributes;
    let own = || name.split_once('/').filter(|(domain, _)| *domain == kind.driver).map(|(_, id)| id);
    attributes.get(name).or_else(|| attributes.get(own()?))
}
