//! What has been paid for already: reserved instances and savings plans, and what nodes cost beside them.
//!
//! ```text
//! nodes ─▶ zonal reserved ─▶ regional reserved, small sizes first ─▶ EC2 instance plans ─▶ compute plans ─▶ on demand
//!           exact type,        units of the family, or the exact       a family of the       anything at     the rest, in
//!           exact zone         type where sizes are not flexible       region, at its rate   its rate        full
//! ```
//!
//! A commitment is spent whether it is used or not. So what it covers costs nothing more: a node that it covers wholly adds
//! nothing to the bill, one that it covers in part adds the rest of its on-demand price. What is left after the nodes that
//! run already is a [`Budget`]: cheap nodes, limited.
//!
//! # Invariants
//! - Money is whole nano-dollars, sizes whole quarter units (a `nano` is one), so that no cent is lost or made.
//! - No node is covered twice, and no commitment is used for more than it is.
//! - The order of nodes and commitments does not matter.
//!
//! Sources: EC2 user guide, "How Reserved Instances are applied"; Savings Plans user guide, "Understanding how Savings
//! Plans apply to your usage".

mod file;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Families whose reserved instances hold for their own size only.
const INFLEXIBLE: [&str; 11] =
    ["g4ad", "g4dn", "g5", "g5g", "g6", "g6e", "gr6", "hpc7a", "inf1", "inf2", "p5"];

/// Reserved instances of one purchase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReservedInstances {
    /// Their id, for people.
    pub id: String,
    /// Type: `m7i.large`.
    pub instance_type: String,
    /// How many.
    pub count: u32,
    /// The zone that they are for; all of the region without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// What one costs an hour, whatever was paid ahead spread over the term.
    pub hourly: f64,
    /// When the term ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
}

/// What a savings plan is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum PlanKind {
    /// Any family in any region, and Fargate.
    Compute,
    /// A family in a region.
    Ec2Instance {
        /// `m7i`.
        family: String,
        /// `us-east-1`.
        region: String,
    },
}

/// A savings plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SavingsPlan {
    /// Its id, for people.
    pub id: String,
    /// What it is for.
    pub kind: PlanKind,
    /// Dollars an hour that are spent anyway.
    pub commitment: f64,
    /// Type → what an hour of Linux takes of the commitment, in the region that is planned for.
    #[serde(default)]
    pub rates: BTreeMap<String, f64>,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
}

/// Everything that has been paid for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Commitments {
    /// Reserved instances.
    pub reserved_instances: Vec<ReservedInstances>,
    /// Savings plans.
    pub savings_plans: Vec<SavingsPlan>,
}

/// Nodes that run, or are to run, on demand.
#[derive(Clone, Debug, PartialEq)]
pub struct Nodes {
    /// Their type.
    pub instance_type: String,
    /// Their zone.
    pub zone: String,
    /// How many.
    pub count: u32,
    /// What one costs an hour on demand.
    pub on_demand: f64,
}

/// What nodes cost an hour.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bill {
    /// What is paid on top of the commitments.
    pub on_demand: f64,
    /// What the commitments cost, used or not.
    pub committed: f64,
    /// What of the commitments nothing uses.
    pub unused: f64,
}

impl Bill {
    /// All of it.
    pub fn total(&self) -> f64 {
        self.on_demand + self.committed
    }
}

/// What is left of commitments.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    commitments: Commitments,
    /// Quarter units of reserved instances that are free, in the order of `commitments`.
    reserved: Vec<u64>,
    /// Nano-dollars of savings plans that are free.
    plans: Vec<u64>,
}

/// What is left of commitments that cover the same nodes alike: those of several purchases count as one.
#[derive(Clone, Debug, PartialEq)]
pub struct Cover {
    /// Ids of the commitments, joined by `+`.
    pub name: String,
    /// What of it is free.
    pub free: u64,
    /// What units are.
    pub unit: CoverUnit,
    what: Covered,
}

/// What a unit of a [`Cover`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoverUnit {
    /// A node.
    Node,
    /// A quarter of AWS's normalisation factor: a `large` has 16.
    QuarterSize,
    /// A nano-dollar an hour.
    NanoDollar,
}

#[derive(Clone, Debug, PartialEq)]
enum Covered {
    Instances(ReservedInstances),
    Plan(SavingsPlan),
}

impl Covered {
    fn alike(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Instances(a), Self::Instances(b)) if a.is_flexible() && b.is_flexible() => {
                family_and_size(&a.instance_type).0 == family_and_size(&b.instance_type).0
            }
            (Self::Instances(a), Self::Instances(b)) => {
                (a.is_flexible(), &a.instance_type, &a.zone) == (b.is_flexible(), &b.instance_type, &b.zone)
            }
            (Self::Plan(a), Self::Plan(b)) => (&a.kind, &a.rates) == (&b.kind, &b.rates),
            _ => false,
        }
    }
}

impl Cover {
    /// What a node on demand takes of it; `None` where it is not covered, or where nothing would be saved.
    ///
    /// ```
    /// use stowage_pricing::Commitments;
    ///
    /// let four = br#"{"reservedInstances": [{"id": "ri-1", "instanceType": "m7i.large", "count": 4, "hourly": 0.06}]}"#;
    /// let covers = Commitments::parse(four, "ri.json")?.budget().covers();
    /// // Of a family sizes can be exchanged: four large ones are two xlarge.
    /// assert_eq!((covers[0].free, covers[0].takes("m7i.xlarge", "us-east-1a", 0.2)), (64, Some(32)));
    /// assert_eq!(covers[0].takes("m6i.large", "us-east-1a", 0.1), None);
    /// # Ok::<(), String>(())
    /// ```
    pub fn takes(&self, instance_type: &str, zone: &str, on_demand: f64) -> Option<u64> {
        match &self.what {
            Covered::Instances(of) => of.units_for(instance_type, zone),
            Covered::Plan(of) => of.rate_for(instance_type).filter(|rate| *rate < nanos(on_demand)),
        }
    }
}

/// How a commitment covers a node of some type.
#[derive(Clone, Debug, PartialEq)]
pub struct CommittedOffer {
    /// Which commitment: equal ids share one budget.
    pub id: String,
    /// Nodes that it covers wholly: they add nothing to the bill.
    pub whole: u32,
    /// What one more node adds to the bill, where it is covered in part.
    pub partial: Option<f64>,
}

const NANOS: f64 = 1e9;

fn nanos(dollars: f64) -> u64 {
    if dollars.is_finite() && dollars > 0.0 { (dollars.min(1e9) * NANOS).round() as u64 } else { 0 }
}

fn dollars(nanos: u64) -> f64 {
    nanos as f64 / NANOS
}

/// Family and size of a type.
fn family_and_size(name: &str) -> (&str, &str) {
    name.split_once('.').unwrap_or((name, ""))
}

/// Quarter units of a size: a `nano` is 1, a `large` 16, an `Nxlarge` 32 × N. `None` where AWS has none, and sizes
/// cannot be exchanged: bare metal of unnamed size.
///
/// ```
/// use stowage_pricing::size_units;
///
/// assert_eq!(size_units("m7i.large"), Some(16));
/// assert_eq!(size_units("m7i.24xlarge"), Some(768));
/// assert_eq!(size_units("m7i.metal-24xl"), Some(768));
/// assert_eq!(size_units("i3.metal"), None);
/// ```
pub fn size_units(name: &str) -> Option<u64> {
    let (_, size) = family_and_size(name);
    let xlarges = |n: &str| n.parse::<u64>().ok().filter(|n| (1..=1_000).contains(n)).map(|n| 32 * n);
    Some(match size {
        "nano" => 1,
        "micro" => 2,
        "small" => 4,
        "medium" => 8,
        "large" => 16,
        "xlarge" => 32,
        _ => match size.strip_prefix("metal-") {
            Some(metal) => xlarges(metal.strip_suffix("xl")?)?,
            None => xlarges(size.strip_suffix("xlarge")?)?,
        },
    })
}

impl ReservedInstances {
    fn is_flexible(&self) -> bool {
        let (family, _) = family_and_size(&self.instance_type);
        self.zone.is_none()
            && !INFLEXIBLE.contains(&family)
            && !family.starts_with("u7")
            && size_units(&self.instance_type).is_some()
    }

    /// Units of one: of its size where sizes can be exchanged, else one.
    fn units_of_one(&self) -> u64 {
        if self.is_flexible() { size_units(&self.instance_type).unwrap_or(1) } else { 1 }
    }

    /// Units that a node of this type takes; `None` where it is not covered.
    fn units_for(&self, name: &str, zone: &str) -> Option<u64> {
        if self.is_flexible() {
            let same = family_and_size(name).0 == family_and_size(&self.instance_type).0;
            return size_units(name).filter(|_| same);
        }
        let here = self.zone.as_deref().is_none_or(|z| z == zone);
        (here && name == self.instance_type).then_some(1)
    }
}

impl SavingsPlan {
    /// Nano-dollars that a node of this type takes an hour; `None` where it is not covered.
    fn rate_for(&self, name: &str) -> Option<u64> {
        let covers = match &self.kind {
            PlanKind::Compute => true,
            PlanKind::Ec2Instance { family, .. } => family_and_size(name).0 == family,
        };
        self.rates.get(name).map(|rate| nanos(*rate)).filter(|rate| covers && *rate > 0)
    }
}

impl Commitments {
    /// Leaves out what has ended by `now`, and instance plans of other regions.
    #[must_use]
    pub fn in_force(&self, now: Timestamp, region: &str) -> Self {
        let runs = |end: Option<Timestamp>| end.is_none_or(|end| now < end);
        let here = |kind: &PlanKind| match kind {
            PlanKind::Compute => true,
            PlanKind::Ec2Instance { region: of, .. } => of == region,
        };
        Self {
            reserved_instances: self.reserved_instances.iter().filter(|r| runs(r.end)).cloned().collect(),
            savings_plans: self
                .savings_plans
                .iter()
                .filter(|p| runs(p.end) && here(&p.kind))
                .cloned()
                .collect(),
        }
    }

    /// What nodes cost, as AWS bills them.
    ///
    /// ```
    /// use stowage_pricing::{Commitments, Nodes};
    ///
    /// // A plan of $0.10 an hour, at which an m7i.large takes $0.05.
    /// let plan = br#"{"savingsPlans": [{"id": "sp-1", "kind": "compute", "commitment": 0.1, "rates": {"m7i.large": 0.05}}]}"#;
    /// let commitments = Commitments::parse(plan, "plan.json")?;
    /// let three = Nodes { instance_type: "m7i.large".into(), zone: "us-east-1a".into(), count: 3, on_demand: 0.1008 };
    /// let bill = commitments.bill(&[three]);
    /// assert_eq!((bill.on_demand, bill.committed, bill.unused), (0.1008, 0.1, 0.0));
    /// # Ok::<(), String>(())
    /// ```
    pub fn bill(&self, nodes: &[Nodes]) -> Bill {
        let mut budget = self.budget();
        let on_demand = budget.spend(nodes);
        let committed: u64 = self
            .reserved_instances
            .iter()
            .map(|r| nanos(r.hourly).saturating_mul(u64::from(r.count)))
            .chain(self.savings_plans.iter().map(|p| nanos(p.commitment)))
            .fold(0, u64::saturating_add);
        let idle = self.reserved_instances.iter().zip(&budget.reserved).map(|(of, left)| {
            (u128::from(nanos(of.hourly)) * u128::from(*left) / u128::from(of.units_of_one())) as u64
        });
        let unused = idle.chain(budget.plans.iter().copied()).fold(0, u64::saturating_add);
        Bill { on_demand: dollars(on_demand), committed: dollars(committed), unused: dollars(unused) }
    }

    /// All of it, unused. Sorted by id, so that the order of files does not matter.
    pub fn budget(&self) -> Budget {
        let mut commitments = self.clone();
        commitments.reserved_instances.sort_by(|a, b| a.id.cmp(&b.id));
        commitments.savings_plans.sort_by(|a, b| a.id.cmp(&b.id));
        let reserved = &commitments.reserved_instances;
        Budget {
            reserved: reserved.iter().map(|r| u64::from(r.count) * r.units_of_one()).collect(),
            plans: commitments.savings_plans.iter().map(|p| nanos(p.commitment)).collect(),
            commitments,
        }
    }
}

/// A kind of node with what of it is still to be paid, in parts of a node.
struct Open<'n> {
    nodes: &'n Nodes,
    /// Nodes that nothing covers yet, and how much of one more.
    left: u64,
    /// The open share of one node, in billionths; zero where no node is covered in part.
    part: u64,
}

/// One node.
const WHOLE: u64 = 1_000_000_000;

impl Open<'_> {
    /// Covers as much as a budget of `have` does where a whole node takes `each`; says how much it took.
    fn cover(&mut self, have: u64, each: u64) -> u64 {
        let mut have = have;
        let before = have;
        if self.part > 0 {
            let takes = share(each, self.part);
            if takes <= have {
                have -= takes;
                self.part = 0;
            } else {
                self.part -= (u128::from(have) * u128::from(WHOLE) / u128::from(each)) as u64;
                return before;
            }
        }
        let whole = (have / each).min(self.left);
        self.left -= whole;
        have -= whole * each;
        if self.left > 0 && have > 0 {
            self.left -= 1;
            self.part = WHOLE - (u128::from(have) * u128::from(WHOLE) / u128::from(each)) as u64;
            have = 0;
        }
        before - have
    }

    fn cost(&self) -> u64 {
        let each = nanos(self.nodes.on_demand);
        each.saturating_mul(self.left).saturating_add(share(each, self.part))
    }
}

/// A share in billionths, rounded up.
fn share(of: u64, billionths: u64) -> u64 {
    (u128::from(of) * u128::from(billionths)).div_ceil(u128::from(WHOLE)) as u64
}

impl Budget {
    /// Takes what these nodes use. Says what is to be paid for them on top, in nano-dollars an hour.
    fn spend(&mut self, nodes: &[Nodes]) -> u64 {
        let mut open: Vec<Open<'_>> =
            nodes.iter().map(|n| Open { nodes: n, left: u64::from(n.count), part: 0 }).collect();
        // Small sizes first; then by name and zone, so that the order given does not matter.
        let order = |o: &Open<'_>| {
            let n = o.nodes;
            (size_units(&n.instance_type).unwrap_or(u64::MAX), n.instance_type.clone(), n.zone.clone())
        };
        open.sort_by_key(order);
        let reserved = &self.commitments.reserved_instances;
        for zonal in [true, false] {
            for (of, left) in reserved.iter().zip(&mut self.reserved) {
                if of.zone.is_some() != zonal {
                    continue;
                }
                for open in &mut open {
                    if let Some(each) = of.units_for(&open.nodes.instance_type, &open.nodes.zone) {
                        *left -= open.cover(*left, each);
                    }
                }
            }
        }
        for compute in [false, true] {
            for (plan, left) in self.commitments.savings_plans.iter().zip(&mut self.plans) {
                if matches!(plan.kind, PlanKind::Compute) != compute {
                    continue;
                }
                // The greatest saving first, and of equal ones the lowest rate.
                let mut covered: Vec<(u64, u64, usize)> = open
                    .iter()
                    .enumerate()
                    .filter_map(|(at, o)| {
                        let (rate, list) = (plan.rate_for(&o.nodes.instance_type)?, nanos(o.nodes.on_demand));
                        (rate < list).then(|| (rate.saturating_mul(1_000_000) / list, rate, at))
                    })
                    .collect();
                covered.sort_unstable();
                for (_, rate, at) in covered {
                    *left -= open[at].cover(*left, rate);
                }
            }
        }
        open.iter().map(Open::cost).fold(0, u64::saturating_add)
    }

    /// What is left after these nodes.
    #[must_use]
    pub fn after(mut self, nodes: &[Nodes]) -> Self {
        self.spend(nodes);
        self
    }

    /// What is left, those together that cover alike; in the order in which AWS uses them.
    pub fn covers(&self) -> Vec<Cover> {
        let of = &self.commitments;
        let instances = |zonal: bool| {
            let all = of.reserved_instances.iter().zip(&self.reserved);
            all.filter(move |(r, _)| r.zone.is_some() == zonal).map(|(r, free)| {
                let unit = if r.is_flexible() { CoverUnit::QuarterSize } else { CoverUnit::Node };
                Cover { name: r.id.clone(), free: *free, unit, what: Covered::Instances(r.clone()) }
            })
        };
        let plans = |compute: bool| {
            let all = of.savings_plans.iter().zip(&self.plans);
            all.filter(move |(p, _)| matches!(p.kind, PlanKind::Compute) == compute).map(|(p, free)| Cover {
                name: p.id.clone(),
                free: *free,
                unit: CoverUnit::NanoDollar,
                what: Covered::Plan(p.clone()),
            })
        };
        let mut covers: Vec<Cover> = Vec::new();
        for cover in instances(true).chain(instances(false)).chain(plans(false)).chain(plans(true)) {
            match covers.iter_mut().find(|known| known.what.alike(&cover.what)) {
                Some(known) => {
                    known.free = known.free.saturating_add(cover.free);
                    known.name = format!("{}+{}", known.name, cover.name);
                }
                None => covers.push(cover),
            }
        }
        covers
    }

    /// What nodes of a type in a zone cost, as far as commitments cover them: one offer for each commitment that does,
    /// in the order in which AWS uses them.
    pub fn offers(&self, instance_type: &str, zone: &str, on_demand: f64) -> Vec<CommittedOffer> {
        let mut offers = Vec::new();
        let mut offer = |id: &String, have: u64, each: u64| {
            let covered = have % each;
            let partial = (covered > 0).then(|| {
                let open = WHOLE - (u128::from(covered) * u128::from(WHOLE) / u128::from(each)) as u64;
                dollars(share(nanos(on_demand), open))
            });
            let whole = u32::try_from(have / each).unwrap_or(u32::MAX);
            if whole > 0 || partial.is_some() {
                offers.push(CommittedOffer { id: id.clone(), whole, partial });
            }
        };
        for zonal in [true, false] {
            for (of, left) in self.commitments.reserved_instances.iter().zip(&self.reserved) {
                if let Some(each) = of.units_for(instance_type, zone).filter(|_| of.zone.is_some() == zonal) {
                    offer(&of.id, *left, each);
                }
            }
        }
        for compute in [false, true] {
            for (plan, left) in self.commitments.savings_plans.iter().zip(&self.plans) {
                let rate = plan.rate_for(instance_type).filter(|rate| *rate < nanos(on_demand));
                if let Some(rate) = rate.filter(|_| matches!(plan.kind, PlanKind::Compute) == compute) {
                    offer(&plan.id, *left, rate);
                }
            }
        }
        offers
    }
}

#[cfg(test)]
#[path = "commitment_tests.rs"]
mod tests;
