//! What differs between two catalogues.
//!
//! # Invariants
//! - Types stand by name, and what is said of a type by capacity type and zone, so equal catalogues give equal answers.
//! - An offering that is not available counts as none: nobody can buy it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use stowage_api::Quantity;
use stowage_api::well_known::{ARCH, OS, ZONE_ID};

use crate::catalog::{Catalog, InstanceType, Offering, Requirement};

/// What differs between an older and a newer catalogue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CatalogDiff {
    /// Types that only the newer one has.
    pub added: Vec<String>,
    /// Types that only the older one has.
    pub removed: Vec<String>,
    /// Offerings that only the newer one has, of types in both.
    pub gained: Vec<OfferedIn>,
    /// Offerings that only the older one has, of types in both.
    pub lost: Vec<OfferedIn>,
    /// Offerings of both at another price.
    pub prices: Vec<PriceMove>,
    /// Reserved offerings of both with another number of nodes left.
    pub limits: Vec<LimitMove>,
    /// What pods may use, where it differs.
    pub resources: Vec<ResourceMove>,
    /// Labels that differ.
    pub labels: Vec<LabelMove>,
}

/// A type, a capacity type, and zones.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OfferedIn {
    /// Type.
    pub instance_type: String,
    /// Capacity type.
    pub capacity_type: String,
    /// Zones.
    pub zones: Vec<String>,
}

/// A price that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceMove {
    /// Type, capacity type, and the zones where it goes from and to these prices.
    pub of: OfferedIn,
    /// Dollars an hour before.
    pub old: f64,
    /// Dollars an hour now.
    pub new: f64,
}

/// A number of nodes that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitMove {
    /// Type, capacity type and zone.
    pub of: OfferedIn,
    /// How many there were; `None` for no limit.
    pub old: Option<u32>,
    /// How many there are now.
    pub new: Option<u32>,
}

/// An amount that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceMove {
    /// Type.
    pub instance_type: String,
    /// Resource.
    pub resource: String,
    /// What pods may use of it before; zero where there was none.
    pub old: Quantity,
    /// What they may use now.
    pub new: Quantity,
}

/// A label that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelMove {
    /// Type.
    pub instance_type: String,
    /// Key.
    pub key: String,
    /// Value before.
    pub old: Option<String>,
    /// Value now.
    pub new: Option<String>,
}

impl CatalogDiff {
    /// What differs from `old` to `new`.
    pub fn between(old: &Catalog, new: &Catalog) -> Self {
        let names = |of: &Catalog, other: &Catalog| -> Vec<String> {
            of.types.iter().filter(|t| other.find(&t.name).is_none()).map(|t| t.name.clone()).collect()
        };
        let mut diff = Self { added: names(new, old), removed: names(old, new), ..Self::default() };
        for was in &old.types {
            if let Some(is) = new.find(&was.name) {
                diff.of_type(was, is);
            }
        }
        diff
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn of_type(&mut self, was: &InstanceType, is: &InstanceType) {
        let (old, new) = (offered(was), offered(is));
        let only = |of: &BTreeMap<Key, &Offering>, other: &BTreeMap<Key, &Offering>| {
            let keys = of.keys().filter(|key| !other.contains_key(*key));
            group(keys.map(|key| (key.0.clone(), key.1.clone())), &was.name)
        };
        self.gained.extend(only(&new, &old));
        self.lost.extend(only(&old, &new));
        // Prices by their bits, so that they can be grouped by; all are finite, and minus zero is zero.
        let mut moves = BTreeMap::<(String, u64, u64), BTreeSet<String>>::new();
        for (key, before) in &old {
            let Some(now) = new.get(key) else { continue };
            let bits = |of: &Offering| (of.price + 0.0).to_bits();
            if bits(before) != bits(now) {
                moves.entry((key.0.clone(), bits(before), bits(now))).or_default().insert(key.1.clone());
            }
            if before.limit != now.limit {
                self.limits.push(LimitMove {
                    of: OfferedIn {
                        instance_type: was.name.clone(),
                        capacity_type: key.0.clone(),
                        zones: vec![key.1.clone()],
                    },
                    old: before.limit,
                    new: now.limit,
                });
            }
        }
        self.prices.extend(moves.into_iter().map(|((capacity_type, old, new), zones)| PriceMove {
            of: OfferedIn {
                instance_type: was.name.clone(),
                capacity_type,
                zones: zones.into_iter().collect(),
            },
            old: f64::from_bits(old),
            new: f64::from_bits(new),
        }));
        let (before, now) = (was.allocatable(), is.allocatable());
        for resource in before.keys().chain(now.keys()).collect::<BTreeSet<_>>() {
            let of =
                |amounts: &BTreeMap<String, Quantity>| amounts.get(resource).copied().unwrap_or_default();
            if of(&before) != of(&now) {
                self.resources.push(ResourceMove {
                    instance_type: was.name.clone(),
                    resource: resource.clone(),
                    old: of(&before),
                    new: of(&now),
                });
            }
        }
        let (before, now) = (labels(was), labels(is));
        for key in before.keys().chain(now.keys()).collect::<BTreeSet<_>>() {
            let (old, new) = (before.get(key), now.get(key));
            if old != new {
                self.labels.push(LabelMove {
                    instance_type: was.name.clone(),
                    key: (*key).to_owned(),
                    old: old.map(ToString::to_string),
                    new: new.map(ToString::to_string),
                });
            }
        }
    }
}

/// Capacity type, zone, and what else tells an offering from others. The zone's id does not: it is another name for the
/// same place, which catalogues have only where the account's subnets are known.
type Key = (String, String, Vec<Requirement>);

fn offered(of: &InstanceType) -> BTreeMap<Key, &Offering> {
    let key = |o: &Offering| {
        let others = o.requirements.iter().filter(|r| r.key != ZONE_ID).cloned().collect();
        (o.capacity_type().to_owned(), o.zone().to_owned(), others)
    };
    of.offerings.iter().filter(|o| o.available).map(|o| (key(o), o)).collect()
}

/// Labels of a type's nodes, with those that catalogues say in fields of their own.
fn labels(of: &InstanceType) -> BTreeMap<&str, Cow<'_, str>> {
    let stated = of.labels.iter().map(|(key, value)| (key.as_str(), Cow::from(value)));
    let own = [(ARCH, Cow::from(&of.architecture)), (OS, Cow::from(of.operating_systems.join(",")))];
    stated.chain(own).collect()
}

/// Zones by capacity type.
fn group(pairs: impl Iterator<Item = (String, String)>, name: &str) -> Vec<OfferedIn> {
    let mut zones = BTreeMap::<String, BTreeSet<String>>::new();
    for (capacity_type, zone) in pairs {
        zones.entry(capacity_type).or_default().insert(zone);
    }
    let one = |(capacity_type, zones): (String, BTreeSet<String>)| OfferedIn {
        instance_type: name.to_owned(),
        capacity_type,
        zones: zones.into_iter().collect(),
    };
    zones.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::catalog::Settings;

    fn embedded() -> Catalog {
        Catalog::embedded("us-east-1", &Settings::default()).unwrap()
    }

    #[test]
    fn nothing_differs_from_itself() {
        let read = Catalog::parse(embedded().to_json().as_bytes(), "same.json").unwrap();
        assert!(CatalogDiff::between(&embedded(), &read).is_empty());
    }

    #[test]
    fn zone_ids_are_no_difference_and_numbers_of_nodes_are() {
        let requirement = |key: &str, value: &str| {
            format!(r#"{{"key": "{key}", "operator": "In", "values": ["{value}"]}}"#)
        };
        let catalog = |more: &str, left: u32, price: &str| {
            let (kind, zone) = (
                requirement("karpenter.sh/capacity-type", "reserved"),
                requirement("topology.kubernetes.io/zone", "us-east-1a"),
            );
            let text = format!(
                r#"[{{"name": "m7i.large", "architecture": "amd64", "operatingSystems": ["linux"],
                    "resources": {{"cpu": "2", "memory": "8Gi", "pods": "29"}}, "offerings": [{{"Price": {price},
                    "Available": true, "ReservationCapacity": {left}, "Requirements": [{kind}, {zone}{more}]}}]}}]"#
            );
            Catalog::parse(text.as_bytes(), "c.json").unwrap()
        };
        let with_id = format!(", {}", requirement(ZONE_ID, "use1-az1"));
        let old = catalog("", 3, "0");
        assert!(CatalogDiff::between(&old, &catalog(&with_id, 3, "-0.0")).is_empty());
        let diff = CatalogDiff::between(&old, &catalog(&with_id, 7, "0"));
        let [limit] = diff.limits.as_slice() else { panic!("{diff:?}") };
        assert_eq!(
            (limit.of.zones.concat().as_str(), limit.old, limit.new),
            ("us-east-1a", Some(3), Some(7))
        );
        assert!(diff.gained.is_empty() && diff.lost.is_empty() && diff.prices.is_empty());
    }

    #[test]
    fn all_kinds_of_difference() {
        let old = embedded();
        let mut new = embedded();
        new.types.retain(|t| t.name != "t2.nano");
        for t in &mut new.types {
            if t.name == "m7i.large" {
                for o in t.offerings.iter_mut().filter(|o| o.capacity_type() == "on-demand") {
                    o.price = 0.2;
                }
                t.offerings.retain(|o| o.capacity_type() == "on-demand" || o.zone() != "us-east-1a");
                t.offerings[1].available = false;
                Arc::make_mut(&mut t.resources).insert("pods".to_owned(), Quantity::from_units(58));
                Arc::make_mut(&mut t.labels)
                    .insert("karpenter.k8s.aws/instance-memory".to_owned(), "1".to_owned());
                t.architecture = "arm64".to_owned();
            }
        }
        let diff = CatalogDiff::between(&old, &new);
        assert_eq!((diff.added.len(), diff.removed.as_slice()), (0, &["t2.nano".to_owned()][..]));
        let shown =
            |of: &OfferedIn| format!("{} {} {}", of.instance_type, of.capacity_type, of.zones.join(" "));
        let lost: Vec<String> = diff.lost.iter().map(shown).collect();
        assert_eq!(lost, ["m7i.large on-demand us-east-1b", "m7i.large spot us-east-1a"]);
        let [price] = diff.prices.as_slice() else { panic!("{:?}", diff.prices) };
        assert_eq!(shown(&price.of), "m7i.large on-demand us-east-1a us-east-1c us-east-1d us-east-1f");
        assert!((price.old - 0.1008).abs() < 1e-9 && (price.new - 0.2).abs() < 1e-9);
        assert_eq!(diff.resources[0].new.to_string(), "58");
        assert_eq!(diff.labels[0].new.as_deref(), Some("1"));
        assert_eq!((diff.labels[1].key.as_str(), diff.labels[1].new.as_deref()), (ARCH, Some("arm64")));
        let back = CatalogDiff::between(&new, &old);
        assert_eq!((back.added, back.gained.len()), (diff.removed, 2));
    }
}
