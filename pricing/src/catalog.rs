//! What a plan may buy: instance types with their resources, labels and offerings.
//!
//! # Invariants
//! - Types are sorted by name, and names are unique. Offerings are sorted by capacity type and zone.
//! - Every offering has exactly one zone and one capacity type, and no two of a type have the same labels.
//! - Every overhead is within the resource of the same name, so that nothing allocatable is negative.
//! - Every price is finite and at least zero.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use stowage_api::well_known::{CAPACITY_TYPE, REGION, ZONE};
use stowage_api::{DeviceTemplate, Operator, Quantity};

use crate::ami_family::AmiFamily;
use crate::error::Error;
use crate::facts::{self, TypeFacts};
use crate::node_config::{Misfit, NodeConfig};
use crate::share::Share;
use crate::time::Timestamp;
use crate::{labels, overhead, stated};

/// The instance types that a plan may use.
#[derive(Clone, Debug, PartialEq)]
pub struct Catalog {
    /// The types, by name.
    pub types: Vec<InstanceType>,
    /// Where they come from.
    pub source: CatalogSource,
}

/// Where a catalogue comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatalogSource {
    /// Compiled into Stowage.
    Embedded {
        /// AWS region.
        region: String,
        /// Day of the on-demand prices, as `2026-07-20`.
        price_date: String,
        /// What share of the on-demand price spot offerings were estimated at.
        spot_price_share: Share,
        /// How nodes are set up.
        nodes: Box<NodeConfig>,
        /// Whether that is as somebody's `EC2NodeClass` says.
        suited: bool,
    },
    /// AWS's answers about a region.
    Answers {
        /// AWS region.
        region: String,
        /// When the prices were asked for.
        as_of: Timestamp,
        /// What share of the on-demand price spot offerings were estimated at, where no history tells.
        spot_price_share: Share,
        /// What types are made of, by name.
        types: Arc<[TypeFacts]>,
        /// How nodes are set up.
        nodes: Box<NodeConfig>,
        /// Whether that is as somebody's `EC2NodeClass` says.
        suited: bool,
    },
    /// Read from a file.
    File {
        /// Its name, for people.
        name: String,
    },
}

impl CatalogSource {
    /// How nodes are set up; a file does not say.
    pub fn nodes(&self) -> Option<&NodeConfig> {
        match self {
            Self::Embedded { nodes, .. } | Self::Answers { nodes, .. } => Some(nodes),
            Self::File { .. } => None,
        }
    }
}

/// What the embedded catalogue is computed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How nodes are set up.
    pub nodes: NodeConfig,
    /// What a spot offering is assumed to cost, as a share of the on-demand price. An estimate, and marked as one.
    ///
    /// AWS says that spot costs *up to* 90 % less. What a fleet spread over many types pays is usually given as 60 to 70 %
    /// less, and it moves by the hour, so the default of 35 % is an assumption on the cautious side, not a measurement.
    pub spot_price_share: Share,
}

impl Default for Settings {
    fn default() -> Self {
        Self { nodes: NodeConfig::default(), spot_price_share: Share::from_millionths(350_000) }
    }
}

/// A hardware shape that can be rented.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceType {
    /// Unique name.
    pub name: String,
    /// `amd64` or `arm64`.
    pub architecture: String,
    /// Operating systems that it can run, in the order of preference; `linux` first where present.
    pub operating_systems: Vec<String>,
    /// Raw capacity. It, what is kept of it and labels are shared by catalogues that differ in something else: there is one for
    /// each plan.
    pub resources: Arc<BTreeMap<String, Quantity>>,
    /// What the operating system, kubelet and eviction thresholds keep of it.
    pub overhead: Arc<BTreeMap<String, Quantity>>,
    /// Labels of its nodes beside the architecture, operating system, type name and those of the offering.
    pub labels: Arc<BTreeMap<String, String>>,
    /// What drivers of devices would publish on its nodes (dynamic resource allocation).
    pub resource_slices: Vec<DeviceTemplate>,
    /// Where and how it can be bought.
    pub offerings: Vec<Offering>,
}

/// One way to buy an instance type.
#[derive(Clone, Debug, PartialEq)]
pub struct Offering {
    /// Dollars an hour.
    pub price: f64,
    /// Whether it can be bought now.
    pub available: bool,
    /// Whether the price is an estimate.
    pub estimated: bool,
    /// How many nodes can be bought at most; `None` for as many as anybody asks for.
    pub limit: Option<u32>,
    /// What the offering says of its nodes' labels, by key. `topology.kubernetes.io/zone` and
    /// `karpenter.sh/capacity-type` are always there, and every `In` has one value. Shared by the offerings of a catalogue that
    /// have the same: there are thousands of them, and as many such lists as zones times capacity types.
    pub requirements: Arc<[Requirement]>,
}

/// A constraint on one label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Requirement {
    /// Label key.
    pub key: String,
    /// Operator.
    pub operator: Operator,
    /// Operands.
    pub values: Vec<String>,
}

impl Catalog {
    /// The same, with one of all lists of requirements that are alike.
    pub(crate) fn sharing(mut self) -> Self {
        let mut known = HashSet::<Arc<[Requirement]>>::new();
        for offering in self.types.iter_mut().flat_map(|of| &mut of.offerings) {
            if let Some(same) = known.get(&offering.requirements) {
                offering.requirements = Arc::clone(same);
            } else {
                known.insert(Arc::clone(&offering.requirements));
            }
        }
        self
    }

    /// The type of this name.
    pub fn find(&self, name: &str) -> Option<&InstanceType> {
        self.types.binary_search_by(|t| t.name.as_str().cmp(name)).ok().map(|at| &self.types[at])
    }

    /// The AWS region that it is of: as its source says, else the one that all its offerings are in; `None` for zones that
    /// are not named as AWS does, and where there are several.
    pub fn region(&self) -> Option<&str> {
        match &self.source {
            CatalogSource::Embedded { region, .. } | CatalogSource::Answers { region, .. } => Some(region),
            CatalogSource::File { .. } => {
                let mut regions = self.types.iter().flat_map(|of| &of.offerings).map(Offering::region);
                let first = regions.next()??;
                regions.all(|other| other == Some(first)).then_some(first)
            }
        }
    }

    /// The catalogue for nodes that are set up otherwise: what pods may use is worked out anew, and types that such nodes do
    /// not run on are left out, each with why. What a file states is not known in parts, so there only what `config` says
    /// changes anything: pods at most, and what is kept at least.
    ///
    /// ```
    /// use stowage_pricing::{Catalog, NodeConfig, Settings};
    ///
    /// let catalog = Catalog::embedded("us-east-1", &Settings::default())?;
    /// let crowded = NodeConfig { max_pods: Some(110), ..NodeConfig::default() };
    /// let (suited, unsuited) = catalog.suited_to(&crowded)?;
    /// assert_eq!(suited.find("m7i.large").map(|t| t.resources["pods"].to_string()).as_deref(), Some("110"));
    /// assert_eq!(unsuited[0].0, "a1.2xlarge"); // Amazon Linux 2023 does not run there
    /// # Ok::<(), stowage_pricing::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where the embedded data is damaged.
    pub fn suited_to(&self, config: &NodeConfig) -> Result<(Self, Vec<(String, Misfit)>), Error> {
        let mut suited = self.clone();
        let mut unsuited = Vec::new();
        let (same, own) = match &mut suited.source {
            CatalogSource::Embedded { nodes, suited: of_class, .. } => {
                let same = **nodes == *config;
                (**nodes, *of_class) = (config.clone(), true);
                (same, None)
            }
            CatalogSource::Answers { nodes, suited: of_class, types, .. } => {
                let same = **nodes == *config;
                (**nodes, *of_class) = (config.clone(), true);
                (same, Some(Arc::clone(types)))
            }
            CatalogSource::File { .. } => {
                suited.types.iter_mut().for_each(|of| stated::set_up(of, config));
                return Ok((suited, unsuited));
            }
        };
        let known = match &own {
            Some(types) => types,
            None => facts::embedded()?,
        };
        suited.types.retain_mut(|of| {
            let Ok(at) = known.binary_search_by(|facts| facts.name.cmp(&of.name)) else { return true };
            if let Err(misfit) = config.runs_on(&known[at]) {
                unsuited.push((of.name.clone(), misfit));
                return false;
            }
            if !same {
                let new = InstanceType::of(&known[at], config);
                let (resources, overhead) =
                    (same_or(&of.resources, new.resources), same_or(&of.overhead, new.overhead));
                let labels = same_or(&of.labels, new.labels);
                let offerings = std::mem::take(&mut of.offerings);
                *of = InstanceType { resources, overhead, labels, offerings, ..new };
            }
            true
        });
        Ok((suited, unsuited))
    }

    /// The types that nodes set up like this do not run on, each with why: those that [`Self::suited_to`] leaves out. None
    /// where a file states the catalogue, as it does not say what its types are made of.
    ///
    /// # Errors
    /// Where the embedded data is damaged.
    pub fn unsuited_to(&self, config: &NodeConfig) -> Result<Vec<(&str, Misfit)>, Error> {
        let known = match &self.source {
            CatalogSource::Embedded { .. } => facts::embedded()?,
            CatalogSource::Answers { types, .. } => types,
            CatalogSource::File { .. } => return Ok(Vec::new()),
        };
        let misfit = |name: &str| {
            let at = known.binary_search_by(|facts| facts.name.as_str().cmp(name)).ok()?;
            config.runs_on(&known[at]).err()
        };
        Ok(self.types.iter().filter_map(|of| Some((of.name.as_str(), misfit(&of.name)?))).collect())
    }

    /// A type as [`Self::suited_to`] has it; `None` where it is not in the catalogue, or such nodes do not run on it.
    ///
    /// # Errors
    /// Where the embedded data is damaged.
    pub fn find_suited(&self, name: &str, config: &NodeConfig) -> Result<Option<InstanceType>, Error> {
        let Some(of) = self.find(name) else { return Ok(None) };
        let only = Self { types: vec![of.clone()], source: self.source.clone() };
        Ok(only.suited_to(config)?.0.types.pop())
    }

    /// Whether any available offering has an estimated price.
    pub fn has_estimates(&self) -> bool {
        self.types.iter().flat_map(|t| &t.offerings).any(|o| o.available && o.estimated)
    }
}

/// What is the same is kept once.
fn same_or<T: PartialEq>(known: &Arc<T>, new: Arc<T>) -> Arc<T> {
    if *known == new { Arc::clone(known) } else { new }
}

impl InstanceType {
    /// A type by its facts, set up as `config` says, still without offerings.
    pub fn of(facts: &TypeFacts, config: &NodeConfig) -> Self {
        let windows = matches!(config.ami_family, AmiFamily::Windows(_));
        Self {
            name: facts.name.clone(),
            architecture: facts.architecture.clone(),
            operating_systems: vec![if windows { "windows" } else { "linux" }.to_owned()],
            resources: overhead::capacity(facts, config).into(),
            overhead: overhead::overhead(facts, config).into(),
            labels: labels::labels(facts, config).into(),
            resource_slices: Vec::new(),
            offerings: Vec::new(),
        }
    }

    /// What pods, `DaemonSets` included, may use: resources minus overhead. Never negative.
    pub fn allocatable(&self) -> BTreeMap<String, Quantity> {
        let kept = |name: &str| self.overhead.get(name).copied().unwrap_or_default();
        self.resources
            .iter()
            .map(|(name, have)| {
                (name.clone(), have.checked_sub(kept(name)).unwrap_or_default().max(Quantity::ZERO))
            })
            .collect()
    }

    /// The lowest price of its available offerings that `wanted` accepts, in dollars an hour.
    pub fn cheapest(&self, wanted: impl Fn(&Offering) -> bool) -> Option<&Offering> {
        self.offerings.iter().filter(|o| o.available && wanted(o)).min_by(|a, b| a.price.total_cmp(&b.price))
    }
}

impl Offering {
    /// Zone name: `us-east-1a`.
    pub fn zone(&self) -> &str {
        self.label(ZONE).unwrap_or_default()
    }

    /// `on-demand`, `spot` or `reserved`.
    pub fn capacity_type(&self) -> &str {
        self.label(CAPACITY_TYPE).unwrap_or_default()
    }

    /// Region: the label `topology.kubernetes.io/region` where stated, else the front of a zone named as AWS does;
    /// `None` for zones named otherwise.
    pub fn region(&self) -> Option<&str> {
        self.label(REGION).or_else(|| region_of(self.zone()))
    }

    /// The value that the offering gives a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        let requirement = self.requirements.iter().find(|r| r.key == key && r.operator == Operator::In)?;
        requirement.values.first().map(String::as_str)
    }

    /// Every label that the offering adds to a node; the region of [`Offering::region`] included.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let stated = self.requirements.iter().filter(|r| r.operator == Operator::In);
        let stated = stated.filter_map(|r| Some((r.key.clone(), r.values.first()?.clone())));
        self.region().map(|region| (REGION.to_owned(), region.to_owned())).into_iter().chain(stated).collect()
    }
}

/// The region of a zone name: letters, dash, words, dash, digits, whatever follows (`us-east-1a`, `us-gov-west-1b`,
/// `us-west-2-lax-1a`).
fn region_of(zone: &str) -> Option<&str> {
    let mut end = 0;
    for (count, part) in zone.split('-').enumerate() {
        end += part.len() + usize::from(count > 0);
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            return (count >= 2).then(|| &zone[..end - part.len() + digits]);
        }
        if part.is_empty() || !part.bytes().all(|b| b.is_ascii_lowercase()) || (count == 0 && part.len() != 2)
        {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_of_the_region_that_all_its_zones_are_in() {
        let of = |zones: [&str; 2]| {
            let offering = |zone: &str| {
                format!(
                    r#"{{"Price": 1, "Available": true, "Requirements": [
                        {{"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot"]}},
                        {{"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["{zone}"]}}]}}"#
                )
            };
            let text = format!(
                r#"[{{"name": "a.b", "architecture": "amd64", "operatingSystems": ["linux"],
                    "resources": {{"cpu": "1", "memory": "1Gi", "pods": "9"}}, "offerings": [{}]}}]"#,
                zones.map(offering).join(",")
            );
            Catalog::parse(text.as_bytes(), "c.json").unwrap().region().map(ToOwned::to_owned)
        };
        assert_eq!(of(["cn-north-1a", "cn-north-1b"]).as_deref(), Some("cn-north-1"));
        assert_eq!(of(["cn-north-1a", "us-east-1a"]), None);
        assert_eq!(of(["rack-1", "rack-2"]), None);
    }

    #[test]
    fn regions_of_zones() {
        for (zone, region) in [
            ("us-east-1a", Some("us-east-1")),
            ("us-gov-west-1b", Some("us-gov-west-1")),
            ("us-west-2-lax-1a", Some("us-west-2")),
            ("ap-southeast-12c", Some("ap-southeast-12")),
            ("rack-7", None),
            ("us-1a", None),
            ("us--1a", None),
            ("", None),
            ("cellar", None),
        ] {
            assert_eq!(region_of(zone), region, "{zone}");
        }
    }
}
