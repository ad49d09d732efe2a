//! `NodeOverlays`: prices and extended resources in the place of those of the catalogue, with Karpenter's precedence.
//!
//! ```text
//! overlays by weight (ties: by name, backwards) ─▶ each onto every pool's offerings that it selects
//!    price       of an offering: the first overlay that sets it
//!    capacity    of a type, as soon as one of its offerings is selected: the first overlay, resource by resource
//!    conflict    an equal weight has set the same before: all of the later overlay is rejected
//! ```
//!
//! # Invariants
//! - A price stays finite and at least zero.
//! - An overlay applies as a whole or not at all, over all pools.
//!
//! compat: karpenter v1.14, `pkg/controllers/nodeoverlay` and `AdjustedPrice` in `pkg/cloudprovider`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use stowage_api::well_known::{
    ARCH, CPU, EFA, EPHEMERAL_STORAGE, GAUDI, INSTANCE_TYPE, MEMORY, NEURON, NEURON_CORE, NODE_POOL, OS,
    POD_ENI, PODS, REGION, stable,
};
use stowage_api::{NodeOverlay, Operator, Quantity, Requirement};

use crate::catalog::{Catalog, InstanceType, Offering};

/// Resources that an overlay may not state: those of kubelet, and those that the AWS provider counts itself.
const RESTRICTED: [&str; 9] =
    [CPU, MEMORY, EPHEMERAL_STORAGE, PODS, POD_ENI, NEURON, NEURON_CORE, GAUDI, EFA];

/// compat: the heaviest that Karpenter's schema allows. An overlay without a weight has none at all, zero.
const MOST_WEIGHT: i32 = 10_000;

/// What an overlay does to a price.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PriceChange {
    /// Sets it, in dollars an hour.
    To(f64),
    /// Adds dollars an hour.
    By(f64),
    /// Adds so many percent.
    ByPercent(f64),
}

impl PriceChange {
    /// The price after it; never below zero.
    ///
    /// ```
    /// use stowage_pricing::PriceChange;
    ///
    /// assert_eq!(PriceChange::ByPercent(-50.0).of(0.5), 0.25);
    /// assert_eq!(PriceChange::By(-1.0).of(0.4), 0.0);
    /// ```
    pub fn of(self, price: f64) -> f64 {
        match self {
            Self::To(price) => price,
            Self::By(dollars) => (price + dollars).max(0.0),
            Self::ByPercent(percent) => (price * (1.0 + percent / 100.0)).max(0.0),
        }
    }
}

/// An overlay that can be applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Overlay {
    /// Its name.
    pub name: String,
    /// Heavier ones go before.
    pub weight: i32,
    /// Which offerings it selects.
    pub requirements: Vec<Requirement>,
    /// What it does to their prices.
    pub price: Option<PriceChange>,
    /// What their types have besides.
    pub capacity: BTreeMap<String, Quantity>,
}

/// Why an overlay cannot be used at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverlayError {
    /// A price is none.
    #[error("NodeOverlay {name}: spec.price is {text:?}; write dollars an hour, such as \"0.25\"")]
    Price {
        /// The overlay.
        name: String,
        /// What it says.
        text: String,
    },
    /// An adjustment is none.
    #[error(
        "NodeOverlay {name}: spec.priceAdjustment is {text:?}; write a change such as \"+0.05\" or \"-15%\", not below -100%"
    )]
    Adjustment {
        /// The overlay.
        name: String,
        /// What it says.
        text: String,
    },
    /// Both are set.
    #[error("NodeOverlay {name}: spec.price and spec.priceAdjustment are both set; remove one")]
    Both {
        /// The overlay.
        name: String,
    },
    /// A weight that is out of range.
    #[error("NodeOverlay {name}: spec.weight is {weight}; write a number from 1 to {MOST_WEIGHT}, or none")]
    Weight {
        /// The overlay.
        name: String,
        /// What it says.
        weight: i32,
    },
    /// A resource that is not for overlays.
    #[error(
        "NodeOverlay {name}: spec.capacity states {resource}, which only the node itself can say; remove it"
    )]
    Resource {
        /// The overlay.
        name: String,
        /// The resource.
        resource: String,
    },
}

impl Overlay {
    /// From the object.
    ///
    /// # Errors
    /// Where Karpenter would reject it, too.
    pub fn of(object: &NodeOverlay) -> Result<Self, OverlayError> {
        let name = object.metadata.name.clone();
        let spec = &object.spec;
        let quoted = |text: &String| text.chars().take(40).collect::<String>();
        let price = match (&spec.price, &spec.price_adjustment) {
            (Some(_), Some(_)) => return Err(OverlayError::Both { name }),
            (Some(text), None) => match decimal(text) {
                Some(price) => Some(PriceChange::To(price)),
                None => return Err(OverlayError::Price { name, text: quoted(text) }),
            },
            (None, Some(text)) => match adjustment(text) {
                Some(change) => Some(change),
                None => return Err(OverlayError::Adjustment { name, text: quoted(text) }),
            },
            (None, None) => None,
        };
        if let Some((resource, _)) = spec.capacity.iter().find(|(r, _)| RESTRICTED.contains(r)) {
            return Err(OverlayError::Resource { name, resource: resource.to_owned() });
        }
        if !(0..=MOST_WEIGHT).contains(&spec.weight) {
            return Err(OverlayError::Weight { name, weight: spec.weight });
        }
        let capacity = spec.capacity.iter().map(|(r, amount)| (r.to_owned(), amount)).collect();
        Ok(Self { name, weight: spec.weight, requirements: spec.requirements.clone(), price, capacity })
    }

    fn selects(&self, pool: &PoolLabels, of: &InstanceType, offering: &Offering) -> bool {
        self.requirements.iter().all(|r| allows(r, label(pool, of, offering, stable(&r.key)).as_deref()))
    }
}

/// Digits with at most one point, as the overlay's schema has it.
fn decimal(text: &str) -> Option<f64> {
    let plain =
        text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text.bytes().any(|b| b.is_ascii_digit());
    text.parse::<f64>().ok().filter(|p| plain && p.is_finite() && *p <= 1e6)
}

fn adjustment(text: &str) -> Option<PriceChange> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1.0, &text[1..]),
        b'-' => (-1.0, &text[1..]),
        _ => return None,
    };
    match rest.strip_suffix('%') {
        None => decimal(rest).map(|d| PriceChange::By(sign * d)),
        Some(percent) => {
            let percent = sign * decimal(percent)?;
            (percent >= -100.0).then_some(PriceChange::ByPercent(percent))
        }
    }
}

/// A `NodePool`, as far as overlays select by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolLabels {
    /// Its name.
    pub name: String,
    /// Labels of its template.
    pub labels: BTreeMap<String, String>,
}

/// What a node of this pool, type and offering is labelled with under `key`.
fn label(pool: &PoolLabels, of: &InstanceType, offering: &Offering, key: &str) -> Option<String> {
    match key {
        NODE_POOL => Some(pool.name.clone()),
        INSTANCE_TYPE => Some(of.name.clone()),
        ARCH => Some(of.architecture.clone()),
        OS => of.operating_systems.first().cloned(),
        REGION => offering.region().map(str::to_owned),
        _ => {
            let of_type = || of.labels.get(key).or_else(|| pool.labels.get(key)).cloned();
            offering.label(key).map(str::to_owned).or_else(of_type)
        }
    }
}

fn allows(requirement: &Requirement, value: Option<&str>) -> bool {
    let listed = || value.is_some_and(|v| requirement.values.iter().any(|r| r == v));
    let number = || Some((value?.parse::<i64>().ok()?, requirement.number()?));
    match requirement.operator {
        Operator::In => listed(),
        Operator::NotIn => !listed(),
        Operator::Exists => value.is_some(),
        Operator::DoesNotExist => value.is_none(),
        Operator::Gt => number().is_some_and(|(v, n)| v > n),
        Operator::Lt => number().is_some_and(|(v, n)| v < n),
        Operator::Gte => number().is_some_and(|(v, n)| v >= n),
        Operator::Lte => number().is_some_and(|(v, n)| v <= n),
    }
}

/// An overlay that another one stands in the way of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The overlay.
    pub name: String,
    /// The overlay of equal weight that set the same before.
    pub by: String,
    /// What both set: `the price of m7i.large`.
    pub what: String,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, by, what } = self;
        write!(
            f,
            "NodeOverlay {name}: {by} has the same weight and sets {what}, too; give one of them another weight"
        )
    }
}

/// What overlays make of a catalogue, pool by pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overlaid {
    /// Overlays that are left out, in the order in which they were tried.
    pub rejected: Vec<Rejected>,
    /// Pool → position of the type in the catalogue → what changes.
    pools: BTreeMap<String, BTreeMap<usize, Change>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Change {
    /// Position of the offering → what its price becomes, and the last overlay that wanted to set it.
    prices: BTreeMap<usize, (PriceChange, Setter)>,
    capacity: BTreeMap<String, Quantity>,
    /// The last overlay that stated resources, and which.
    stated: Option<(Setter, Vec<String>)>,
}

/// Weight and name of an overlay.
type Setter = (i32, String);

impl Overlaid {
    /// Applies overlays to the offerings that pools may buy.
    pub fn new(overlays: &[Overlay], pools: &[PoolLabels], catalog: &Catalog) -> Self {
        let mut order: Vec<&Overlay> = overlays.iter().collect();
        order.sort_by(|a, b| b.weight.cmp(&a.weight).then_with(|| b.name.cmp(&a.name)));
        let mut overlaid = Self::default();
        for overlay in order {
            let selected = Self::selected(overlay, pools, catalog);
            match overlaid.conflict(overlay, &selected, catalog) {
                Some(rejected) => overlaid.rejected.push(rejected),
                None => overlaid.apply(overlay, selected),
            }
        }
        overlaid
    }

    /// Pool, type and offerings that an overlay selects.
    fn selected<'p>(
        overlay: &Overlay,
        pools: &'p [PoolLabels],
        catalog: &Catalog,
    ) -> Vec<(&'p str, usize, Vec<usize>)> {
        let mut selected = Vec::new();
        for pool in pools {
            for (at, of) in catalog.types.iter().enumerate() {
                let chosen = |(_, offering): &(usize, &Offering)| overlay.selects(pool, of, offering);
                let offerings: Vec<usize> =
                    of.offerings.iter().enumerate().filter(chosen).map(|(i, _)| i).collect();
                if !offerings.is_empty() {
                    selected.push((pool.name.as_str(), at, offerings));
                }
            }
        }
        selected
    }

    fn conflict(
        &self,
        overlay: &Overlay,
        selected: &[(&str, usize, Vec<usize>)],
        catalog: &Catalog,
    ) -> Option<Rejected> {
        let reject =
            |by: &Setter, what: String| Some(Rejected { name: overlay.name.clone(), by: by.1.clone(), what });
        for (pool, at, offerings) in selected {
            let Some(change) = self.pools.get(*pool).and_then(|types| types.get(at)) else { continue };
            let name = &catalog.types[*at].name;
            if overlay.price.is_some() {
                let set = offerings.iter().filter_map(|o| change.prices.get(o)).map(|(_, by)| by);
                if let Some(by) = set.into_iter().find(|by| by.0 == overlay.weight) {
                    return reject(by, format!("the price of {name}"));
                }
            }
            if let Some((by, stated)) = change.stated.as_ref().filter(|(by, _)| by.0 == overlay.weight)
                && let Some(resource) = stated.iter().find(|r| overlay.capacity.contains_key(*r))
            {
                return reject(by, format!("{resource} of {name}"));
            }
        }
        None
    }

    fn apply(&mut self, overlay: &Overlay, selected: Vec<(&str, usize, Vec<usize>)>) {
        let setter = || (overlay.weight, overlay.name.clone());
        for (pool, at, offerings) in selected {
            if overlay.price.is_none() && overlay.capacity.is_empty() {
                continue;
            }
            let change = self.pools.entry(pool.to_owned()).or_default().entry(at).or_default();
            if let Some(price) = overlay.price {
                for offering in offerings {
                    // compat: one that comes later does not change the price, but is who a third conflicts with.
                    let known = change.prices.entry(offering).or_insert_with(|| (price, setter()));
                    known.1 = setter();
                }
            }
            if !overlay.capacity.is_empty() {
                for (resource, amount) in &overlay.capacity {
                    change.capacity.entry(resource.clone()).or_insert(*amount);
                }
                // compat: Karpenter, too, compares with what the last of an equal weight stated.
                change.stated = Some((setter(), overlay.capacity.keys().cloned().collect()));
            }
        }
    }

    /// Whether anything changes for a pool.
    pub fn changes(&self, pool: &str) -> bool {
        self.pools.contains_key(pool)
    }

    /// The catalogue as a pool sees it. A price that is set is no estimate any more.
    pub fn for_pool(&self, pool: &str, catalog: &Catalog) -> Catalog {
        let mut changed = catalog.clone();
        for (at, change) in self.pools.get(pool).into_iter().flatten() {
            let Some(of) = changed.types.get_mut(*at) else { continue };
            for (offering, (price, _)) in &change.prices {
                if let Some(offering) = of.offerings.get_mut(*offering) {
                    offering.price = price.of(offering.price);
                    offering.estimated &= !matches!(price, PriceChange::To(_));
                }
            }
            Arc::make_mut(&mut of.resources)
                .extend(change.capacity.iter().map(|(r, amount)| (r.clone(), *amount)));
        }
        changed
    }
}

#[cfg(test)]
#[path = "overlay_tests.rs"]
mod tests;
