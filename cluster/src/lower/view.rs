//! What `NodePools` may buy, as nodes of their `EC2NodeClass` would be: kubelet's settings, image family, disks and subnets
//! decide what pods may use of a type, and where it can be had.
//!
//! ```text
//! NodePools that launch ─▶ their EC2NodeClasses ─▶ how nodes are set up ─▶ Catalog::suited_to ─▶ zones with a subnet
//!    ─▶ memory as nodes of their images were seen to have
//! ```
//!
//! Where classes differ, each has types of its own, told apart by the label that Karpenter gives a node for its class, which
//! pools then require. So a type may be there several times, each with what nodes of that class have of it.
//!
//! `NodeOverlays` then change what is seen; where they do so for some pools of a class only, those have a view of their own.
//!
//! # Invariants
//! - Where all classes are alike, and no overlay is about single pools, there is one view, and types have no label more.
//! - A class that is not in the snapshot, or says nothing, leaves the catalogue as it is.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use stowage_api::{Ec2NodeClass, NodePool, well_known};
use stowage_pricing::{Catalog, Error, InstanceType, LearntCapacity, NodeConfig};
use stowage_solver::{self as solver, Labels, Operator, Requirement};

use super::notes::Notes;
use super::overlay;
use crate::learn::images;
use crate::note::Note;
use crate::snapshot::Snapshot;

/// A catalogue as nodes of a class see it.
struct View<'c> {
    /// The class, by name; empty for `NodePools` that name none.
    class: String,
    /// The `NodePools` that it is for, where `NodeOverlays` make others of the class see something else.
    only: Option<Vec<String>>,
    catalog: Cow<'c, Catalog>,
}

/// How the nodes of a class are set up.
#[derive(PartialEq)]
struct Setup {
    /// `None` where the class is not known.
    config: Option<NodeConfig>,
    /// The zones of its subnets, where these are known.
    zones: Option<BTreeSet<String>>,
    /// Its images, as far as anything was learnt of their nodes.
    images: BTreeSet<String>,
}

/// All views of a catalogue.
pub(super) struct Views<'c> {
    all: Vec<View<'c>>,
    /// Whether classes differ.
    of_classes: bool,
}

/// Tells types apart that `NodeOverlays` change for some `NodePools` of a class.
const OVERLAID: &str = "stowage.dev/overlaid";

impl<'c> Views<'c> {
    /// The views that `pools` have of a catalogue.
    ///
    /// # Errors
    /// Where the embedded data is damaged.
    pub(super) fn of(
        snapshot: &Snapshot,
        catalog: &'c Catalog,
        pools: &[&NodePool],
        learnt: &LearntCapacity,
        notes: &mut Notes,
    ) -> Result<Self, Error> {
        let names: BTreeSet<&str> = pools.iter().map(|pool| class_of(pool)).collect();
        let base = catalog.source.nodes().cloned().unwrap_or_default();
        let mut setups = Vec::with_capacity(names.len());
        let seen = if learnt.is_empty() { BTreeMap::new() } else { images(snapshot) };
        for name in names {
            let class = snapshot.node_classes.iter().find(|c| c.metadata.name == name && !name.is_empty());
            let mut setup = Setup::of(class, &base, notes);
            setup.images = images_of(name, class, &seen).into_iter().filter(|i| learnt.knows(i)).collect();
            setups.push((name, setup));
        }
        if setups.iter().all(|(_, setup)| *setup == setups[0].1) {
            setups.truncate(1);
        }
        let mut views = Vec::with_capacity(setups.len());
        for (name, setup) in setups {
            let mut catalog = setup.view(name, catalog, &base, notes)?;
            setup.correct(name, learnt, &mut catalog, notes);
            views.push(View { class: name.to_owned(), only: None, catalog });
        }
        let mut this = Self { of_classes: views.len() > 1, all: views };
        this.overlay(snapshot, catalog, pools, notes);
        Ok(this)
    }

    /// Puts the overlays of a snapshot in.
    fn overlay(&mut self, snapshot: &Snapshot, catalog: &Catalog, pools: &[&NodePool], notes: &mut Notes) {
        let overlays = overlay::applicable(snapshot, catalog, pools, notes);
        if overlays.is_empty() {
            return;
        }
        for view in std::mem::take(&mut self.all) {
            let own = |pool: &&&NodePool| !self.of_classes || class_of(pool) == view.class;
            let own: Vec<&NodePool> = pools.iter().filter(own).copied().collect();
            let seen = overlay::seen(&overlays, &view.catalog, &own);
            let differ = seen.len() > 1;
            for (types, pools) in seen {
                let catalog = types.map_or_else(|| view.catalog.clone(), Cow::Owned);
                let only = differ.then_some(pools);
                self.all.push(View { class: view.class.clone(), only, catalog });
            }
        }
    }

    /// What each view has on sale, each with the labels that tell its types from those of other views.
    pub(super) fn each(&self) -> impl Iterator<Item = (&Catalog, Labels)> {
        self.all.iter().enumerate().map(|(at, view)| {
            let class = self.of_classes.then(|| (well_known::EC2_NODE_CLASS.to_owned(), view.class.clone()));
            let overlaid = view.only.as_ref().map(|_| (OVERLAID.to_owned(), at.to_string()));
            (view.catalog.as_ref(), class.into_iter().chain(overlaid).collect())
        })
    }

    /// The catalogue of every view.
    pub(super) fn catalogs(&self) -> impl Iterator<Item = &Catalog> + Clone {
        self.all.iter().map(|view| view.catalog.as_ref())
    }

    /// The catalogue as a pool sees it.
    pub(super) fn seen_by(&self, pool: &NodePool) -> &Catalog {
        self.all[self.place_of(pool)].catalog.as_ref()
    }

    fn place_of(&self, pool: &NodePool) -> usize {
        let own = |view: &View<'_>| {
            let named = |only: &Vec<String>| only.contains(&pool.metadata.name);
            (!self.of_classes || view.class == class_of(pool)) && view.only.as_ref().is_none_or(named)
        };
        self.all.iter().position(own).unwrap_or(0)
    }

    /// Lets each pool buy what it sees, and nothing else.
    pub(super) fn keep_apart(&self, pools: &[&NodePool], lowered: &mut [solver::NodePool]) {
        for (pool, lowered) in pools.iter().zip(lowered) {
            if self.of_classes {
                let op = Operator::In(vec![class_of(pool).to_owned()]);
                lowered.requirements.push(Requirement { key: well_known::EC2_NODE_CLASS.to_owned(), op });
            }
            let at = self.place_of(pool);
            if self.all[at].only.is_some() {
                let op = Operator::In(vec![at.to_string()]);
                lowered.requirements.push(Requirement { key: OVERLAID.to_owned(), op });
            }
        }
    }
}

/// The images of a class: those that it has found; else those that its nodes run; for no class those of all nodes.
fn images_of(
    name: &str,
    class: Option<&Ec2NodeClass>,
    seen: &BTreeMap<&str, BTreeSet<&str>>,
) -> BTreeSet<String> {
    let found = class.map_or(&[][..], |class| class.status.amis.as_slice());
    if !found.is_empty() {
        return found.iter().map(|ami| ami.id.clone()).collect();
    }
    let own = |class: &str| name.is_empty() || class == name;
    let seen = seen.iter().filter(|(class, _)| own(class)).flat_map(|(_, images)| images);
    seen.map(|image| (*image).to_owned()).collect()
}

/// The name of the class of a pool's nodes; empty where it names none.
fn class_of(pool: &NodePool) -> &str {
    pool.spec.template.spec.node_class_ref.as_ref().map_or("", |class| class.name.as_str())
}

impl Setup {
    fn of(class: Option<&Ec2NodeClass>, base: &NodeConfig, notes: &mut Notes) -> Self {
        let Some(class) = class else {
            return Self { config: None, zones: None, images: BTreeSet::new() };
        };
        let (config, unused) = NodeConfig::of(class, base);
        for field in unused {
            notes.add(Note::ClassField { class: class.metadata.name.clone(), field: field.to_string() });
        }
        let zones: BTreeSet<String> = class.status.subnets.iter().map(|s| s.zone.clone()).collect();
        Self { config: Some(config), zones: (!zones.is_empty()).then_some(zones), images: BTreeSet::new() }
    }

    /// Puts the memory that nodes of the class were seen to have in the place of the guess.
    fn correct(&self, class: &str, learnt: &LearntCapacity, seen: &mut Cow<'_, Catalog>, notes: &mut Notes) {
        let images = || self.images.iter().map(String::as_str);
        let known = |of: &InstanceType| learnt.memory(&of.name, images()).is_some();
        let known: Vec<usize> = (0..seen.types.len()).filter(|at| known(&seen.types[*at])).collect();
        let memory = |of: &InstanceType| of.resources.get(well_known::MEMORY).copied().unwrap_or_default();
        let (mut count, mut first) = (0, None);
        for at in known {
            let guess = memory(&seen.types[at]);
            let of = &mut seen.to_mut().types[at];
            if learnt.correct(of, images()) && memory(of) != guess {
                count += 1;
                first = first.or_else(|| Some((of.name.clone(), guess.to_string(), memory(of).to_string())));
            }
        }
        if let Some((example, guess, memory)) = first {
            notes.add(Note::Learnt { class: class.to_owned(), count, example, guess, memory });
        }
    }

    fn view<'c>(
        &self,
        class: &str,
        catalog: &'c Catalog,
        base: &NodeConfig,
        notes: &mut Notes,
    ) -> Result<Cow<'c, Catalog>, Error> {
        let Some(config) = &self.config else { return Ok(Cow::Borrowed(catalog)) };
        let (mut suited, unsuited) = catalog.suited_to(config)?;
        // Types that no node of the class runs on are worth a word only where the class asked for something.
        if let Some((example, why)) = unsuited.first().filter(|_| config != base) {
            notes.add(Note::UnsuitedTypes {
                class: class.to_owned(),
                count: unsuited.len(),
                example: example.clone(),
                why: why.to_string(),
            });
        }
        if let Some(zones) = &self.zones {
            let mut lost = BTreeSet::new();
            for offering in suited.types.iter_mut().flat_map(|t| &mut t.offerings).filter(|o| o.available) {
                if !zones.contains(offering.zone()) {
                    lost.insert(offering.zone().to_owned());
                    offering.available = false;
                }
            }
            if !lost.is_empty() {
                let lost = lost.into_iter().collect::<Vec<_>>().join(", ");
                notes.add(Note::NoSubnets { class: class.to_owned(), zones: lost });
            }
        }
        Ok(if suited.types == catalog.types { Cow::Borrowed(catalog) } else { Cow::Owned(suited) })
    }
}
