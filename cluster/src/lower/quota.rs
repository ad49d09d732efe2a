//! What there is only so much of: capacity that is reserved, and what commitments still cover.
//!
//! ```text
//! offering with a limit ───────────────────────▶ a quota of nodes
//! commitments − what running nodes use ─ left ─▶ a quota, and for each offering on demand that it covers one without
//!                                                anything to pay, and one with the part that the rest of it pays
//! ```
//!
//! # Invariants
//! - Nodes that run, or are being launched, use commitments before new ones do.
//! - Reserved instances and savings plans are for Linux on demand.

use std::collections::{BTreeMap, BTreeSet};

use stowage_api::NodePool;
use stowage_api::well_known::{
    CAPACITY_RESERVATION_ID, CAPACITY_TYPE, INSTANCE_TYPE, ON_DEMAND, OS, REGION, ZONE,
};
use stowage_pricing::{Catalog, Commitments, Cover, CoverUnit, InstanceType, Nodes, Offering};
use stowage_solver::{Labels, Operator, Price, Quota, QuotaId, Requirement};

use super::node::launching;
use super::notes::Notes;
use crate::note::Note;
use crate::snapshot::Snapshot;

/// Operating system that commitments are for.
pub(super) const LINUX: &str = "linux";
/// Label of nodes of EKS's own node groups: `ON_DEMAND` or `SPOT`.
const EKS_CAPACITY_TYPE: &str = "eks.amazonaws.com/capacityType";

/// A node is covered in part where that is an eighth at least: less is not worth another way to buy every type.
const LEAST_PART: u64 = 8;

/// Dollars an hour of a running type that the catalogue does not have: whatever a commitment takes for it, it saves.
const UNKNOWN_PRICE: f64 = 1e6;

/// A commitment that new nodes may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commitment {
    /// The quota of the problem that stands for what is left of it.
    pub quota: QuotaId,
    /// What units of the quota are.
    pub unit: CoverUnit,
}

/// What a node takes of a commitment.
pub(super) struct Draw {
    pub(super) quota: QuotaId,
    /// Units of the quota.
    pub(super) units: i64,
    /// The same, out of [`Self::all`] units that cover the node as a whole.
    part: u64,
    all: u64,
}

impl Draw {
    /// What of a price it saves, in whole micro-dollars.
    pub(super) fn saves(&self, price: Price) -> Price {
        let saved = i128::from(price.micros()) * i128::from(self.part) / i128::from(self.all);
        Price::from_micros(i64::try_from(saved).unwrap_or(0))
    }
}

/// The quotas of a problem.
#[derive(Default)]
pub(super) struct Quotas {
    all: Vec<Quota>,
    covers: Vec<(Cover, QuotaId)>,
    /// By id of the reservation, or else by type and labels: views of a catalogue share what there is.
    reserved: BTreeMap<(String, Labels), QuotaId>,
    pub(super) commitments: Vec<Commitment>,
}

impl Quotas {
    /// What is left of commitments.
    pub(super) fn of(
        snapshot: &Snapshot,
        catalog: &Catalog,
        commitments: &Commitments,
        notes: &mut Notes,
    ) -> Self {
        let mut this = Self::default();
        if *commitments == Commitments::default() {
            return this;
        }
        let (running, elsewhere) = running(snapshot, catalog);
        let nodes: u32 = running.iter().map(|n| n.count).sum();
        notes.add(Note::Commitments {
            count: commitments.reserved_instances.len() + commitments.savings_plans.len(),
            nodes: nodes as usize,
        });
        if elsewhere > 0 {
            let region = region(catalog).unwrap_or_default().to_owned();
            notes.add(Note::NodesElsewhere { count: elsewhere, region });
        }
        for cover in commitments.budget().after(&running).covers() {
            let units = i64::try_from(cover.free).unwrap_or(i64::MAX);
            let quota = this.add(&cover.name, units);
            this.commitments.push(Commitment { quota, unit: cover.unit });
            this.covers.push((cover, quota));
        }
        this
    }

    fn add(&mut self, name: &str, units: i64) -> QuotaId {
        let id = QuotaId::of(self.all.len());
        let taken = |name: &str| self.all.iter().any(|quota| quota.name == name);
        let mut unique = name.to_owned();
        let mut number = 2;
        while taken(&unique) {
            unique = format!("{name} ({number})");
            number += 1;
        }
        self.all.push(Quota { name: unique, units });
        id
    }

    /// What one node of an offering takes where there are only so many; `None` for as many as anybody asks for.
    pub(super) fn limited(&mut self, of: &InstanceType, offering: &Offering) -> Option<(QuotaId, i64)> {
        let limit = offering.limit?;
        let id = offering.label(CAPACITY_RESERVATION_ID);
        let key =
            id.map_or_else(|| (of.name.clone(), offering.labels()), |id| (id.to_owned(), Labels::new()));
        if let Some(known) = self.reserved.get(&key) {
            return Some((*known, 1));
        }
        let place = || format!("{} {} in {}", offering.capacity_type(), of.name, offering.zone());
        let quota = self.add(&id.map_or_else(place, str::to_owned), i64::from(limit));
        self.reserved.insert(key, quota);
        Some((quota, 1))
    }

    /// How commitments cover one node of an offering.
    ///
    /// As a whole, as often as one suffices for that; and once in part, by what is then left over. The rest of such a node
    /// is paid on demand, as AWS bills it.
    pub(super) fn covering(&self, of: &InstanceType, offering: &Offering) -> Vec<Draw> {
        if offering.capacity_type() != ON_DEMAND || offering.limit.is_some() {
            return Vec::new();
        }
        let mut draws = Vec::new();
        for (cover, quota) in &self.covers {
            let Some(all) = cover.takes(&of.name, offering.zone(), offering.price).filter(|n| *n > 0) else {
                continue;
            };
            let whole = Some(all).filter(|all| *all <= cover.free);
            let rest = Some(cover.free % all).filter(|rest| *rest > 0 && *rest >= all / LEAST_PART);
            for part in whole.into_iter().chain(rest) {
                if let Ok(units) = i64::try_from(part) {
                    draws.push(Draw { quota: *quota, units, part, all });
                }
            }
        }
        draws
    }

    pub(super) fn into_all(self) -> (Vec<Quota>, Vec<Commitment>) {
        (self.all, self.commitments)
    }
}

/// By pool: what it requires of reserved capacity. A pool may use the reservations that its node class has selected; where
/// the class is not in the snapshot, all of them.
pub(super) fn selected(
    snapshot: &Snapshot,
    catalog: &Catalog,
    pools: &[&NodePool],
    notes: &mut Notes,
) -> Vec<Option<Requirement>> {
    let offerings = catalog.types.iter().flat_map(|of| &of.offerings);
    let known: BTreeSet<&str> = offerings.filter_map(|o| o.label(CAPACITY_RESERVATION_ID)).collect();
    let mut unknown = BTreeSet::new();
    let required = pools.iter().map(|pool| {
        let class = pool.spec.template.spec.node_class_ref.as_ref()?;
        let class = snapshot.node_classes.iter().find(|c| c.metadata.name == class.name)?;
        let own: BTreeSet<&str> = class.status.capacity_reservations.iter().map(|r| r.id.as_str()).collect();
        unknown.extend(own.difference(&known).copied());
        let others: Vec<String> = known.difference(&own).map(|id| (*id).to_owned()).collect();
        let op = Operator::NotIn(others.clone());
        (!others.is_empty()).then(|| Requirement { key: CAPACITY_RESERVATION_ID.to_owned(), op })
    });
    let required = required.collect();
    if let Some(first) = unknown.first() {
        notes.add(Note::UnknownReservation { count: unknown.len(), example: (*first).to_owned() });
    }
    required
}

/// The region that a catalogue is of.
fn region(catalog: &Catalog) -> Option<&str> {
    catalog.types.iter().flat_map(|of| &of.offerings).find_map(Offering::region)
}

/// Whether commitments are for a node with these labels.
pub(crate) fn is_committable(labels: &Labels) -> bool {
    labels.get(CAPACITY_TYPE).is_none_or(|own| own == ON_DEMAND)
        && labels.get(EKS_CAPACITY_TYPE).is_none_or(|own| own == "ON_DEMAND")
        && labels.get(OS).is_none_or(|own| own == LINUX)
}

/// Nodes on demand that run, or are being launched; and how many there are of other regions, which are not among them.
fn running(snapshot: &Snapshot, catalog: &Catalog) -> (Vec<Nodes>, usize) {
    let region = region(catalog);
    let offerings = catalog.types.iter().flat_map(|of| &of.offerings);
    let zones: BTreeSet<&str> = offerings.map(Offering::zone).collect();
    // A zone is called as its region and a letter or more.
    let is_here = |own: Option<&String>, zone: &str| match (region, own) {
        (Some(region), Some(own)) => own == region,
        (Some(region), None) => zones.contains(zone) || zone.starts_with(region),
        (None, _) => true,
    };
    let mut elsewhere = 0;

    let nodes = snapshot.nodes.iter().filter(|n| !n.metadata.is_terminating()).map(|n| &n.metadata.labels);
    let claims = launching(snapshot).map(|claim| &claim.metadata.labels);
    let mut counts = BTreeMap::<(String, String), u32>::new();
    for stated in nodes.chain(claims) {
        let committable = is_committable(stated);
        if let (Some(of), Some(zone), true) = (stated.get(INSTANCE_TYPE), stated.get(ZONE), committable) {
            if is_here(stated.get(REGION), zone) {
                *counts.entry((of.clone(), zone.clone())).or_insert(0) += 1;
            } else {
                elsewhere += 1;
            }
        }
    }
    let price = |of: &str, zone: &str| {
        let of = catalog.find(of)?;
        // What runs is billed, whether another could be had now or not.
        let sold = || of.offerings.iter().filter(|o| o.capacity_type() == ON_DEMAND);
        let here = sold().filter(|o| o.zone() == zone).map(|o| o.price).min_by(f64::total_cmp);
        here.or_else(|| sold().map(|o| o.price).min_by(f64::total_cmp))
    };
    let of_counts = |((instance_type, zone), count): ((String, String), u32)| {
        let on_demand = price(&instance_type, &zone).unwrap_or(UNKNOWN_PRICE);
        Nodes { instance_type, zone, count, on_demand }
    };
    (counts.into_iter().map(of_counts).collect(), elsewhere)
}
