//! What nodes really have, by type and image, learnt from those that were seen.
//!
//! How much memory a hypervisor, firmware and kernel keep is nowhere published, so it is guessed as a share
//! ([`crate::NodeConfig::vm_memory_overhead`]). A guess too low opens nodes on which the planned pods do not fit; one too
//! high pays for memory that is never used. The first node of a type with an image ends the guessing.
//!
//! # Invariants
//! - The lowest of what was seen counts: pods planned with it fit on every such node.
//! - What was not seen for sixty days is forgotten, as Karpenter has it; what an image of another id had never counts.
//! - No clock: every moment is handed in.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stowage_api::Quantity;
use stowage_api::well_known::{INSTANCE_MEMORY, MEMORY};

use crate::catalog::InstanceType;
use crate::time::Timestamp;

/// compat: karpenter-provider-aws v1.14, `DiscoveredCapacityCacheTTL`.
const KEPT_SECONDS: u64 = 60 * 24 * 60 * 60;

/// What is in a file of another program, or of a version of Stowage to come.
const VERSION: u32 = 1;

/// A node can have less than its type advertises by so much at most, in percent; what is below is no such type.
const LEAST_PERCENT: i64 = 50;

/// What the nodes of a type and image had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Seen {
    /// The least memory of any of them, in bytes.
    memory: i64,
    /// How often one was seen.
    nodes: u64,
    /// When one with so little was last seen.
    last: Timestamp,
}

/// What nodes really have. As JSON it survives a restart.
///
/// ```
/// use stowage_pricing::{LearntCapacity, Timestamp};
///
/// let noon: Timestamp = "2026-07-20T12:00:00Z".parse()?;
/// let mut learnt = LearntCapacity::default();
/// learnt.observe("m7i.large", "ami-1", "7934656Ki".parse()?, noon);
/// assert_eq!(learnt.memory("m7i.large", ["ami-1"]), Some("7934656Ki".parse()?));
/// assert_eq!(learnt.memory("m7i.large", ["ami-2"]), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LearntCapacity {
    /// Type → image → what was seen.
    types: BTreeMap<String, BTreeMap<String, Seen>>,
    generation: u64,
}

#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    types: BTreeMap<String, BTreeMap<String, Seen>>,
}

/// Why a file is not one of learnt capacity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LearntError {
    /// It does not read.
    #[error("learnt capacity cannot be read ({0}); delete the file to learn anew")]
    Unreadable(String),
    /// Another version wrote it.
    #[error(
        "learnt capacity is of version {0}, and this is for version {VERSION}; delete the file to learn anew"
    )]
    OtherVersion(u32),
}

impl LearntCapacity {
    /// Changes whenever an answer may have.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// How many pairs of type and image are known.
    pub fn len(&self) -> usize {
        self.types.values().map(BTreeMap::len).sum()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    /// Learns from a node: its type, the image it was launched from, and `status.capacity.memory`. What is not above zero
    /// is not believed.
    pub fn observe(&mut self, instance_type: &str, image: &str, memory: Quantity, now: Timestamp) {
        let memory = memory.floor_units();
        if memory <= 0 || instance_type.is_empty() || image.is_empty() {
            return;
        }
        let images = self.types.entry(instance_type.to_owned()).or_default();
        let seen = images.entry(image.to_owned()).or_insert_with(|| {
            self.generation += 1;
            Seen { memory, nodes: 0, last: now }
        });
        seen.nodes = seen.nodes.saturating_add(1);
        if memory < seen.memory {
            seen.memory = memory;
            self.generation += 1;
        }
        if memory == seen.memory {
            seen.last = seen.last.max(now);
        }
    }

    /// The memory of a type's nodes with any of these images; the least where several are known.
    pub fn memory<'i>(
        &self,
        instance_type: &str,
        images: impl IntoIterator<Item = &'i str>,
    ) -> Option<Quantity> {
        let known = self.types.get(instance_type)?;
        let of = images.into_iter().filter_map(|image| known.get(image));
        of.map(|seen| Quantity::from_bytes(seen.memory)).min()
    }

    /// Whether anything is known of nodes of an image.
    pub fn knows(&self, image: &str) -> bool {
        self.types.values().any(|images| images.contains_key(image))
    }

    /// Forgets what was not seen for sixty days.
    pub fn sweep(&mut self, now: Timestamp) {
        let before = self.len();
        for images in self.types.values_mut() {
            images.retain(|_, seen| now.seconds_since(seen.last) < KEPT_SECONDS);
        }
        self.types.retain(|_, images| !images.is_empty());
        self.generation += u64::from(self.len() != before);
    }

    /// Puts what was learnt in the place of the guess, where something was. Says whether.
    ///
    /// Less than half of the guess is not believed, nor more than EC2 advertises: such a node was of another type, or broken.
    pub fn correct<'i>(&self, of: &mut InstanceType, images: impl IntoIterator<Item = &'i str>) -> bool {
        let guess = of.resources.get(MEMORY).copied().unwrap_or_default();
        let least = guess.floor_units() / 100 * LEAST_PERCENT;
        let advertised = of.labels.get(INSTANCE_MEMORY).and_then(|mib| mib.parse::<i64>().ok());
        let most = advertised.map_or(i64::MAX, |mib| mib.saturating_mul(1 << 20));
        let believed = |memory: &Quantity| (least..=most).contains(&memory.floor_units());
        let Some(memory) = self.memory(&of.name, images).filter(believed) else { return false };
        Arc::make_mut(&mut of.resources).insert(MEMORY.to_owned(), memory);
        if let Some(kept) = Arc::make_mut(&mut of.overhead).get_mut(MEMORY) {
            *kept = (*kept).min(memory);
        }
        true
    }

    /// As JSON.
    pub fn to_json(&self) -> String {
        let written = Written { version: VERSION, types: self.types.clone() };
        // Maps of texts and numbers cannot fail to be written.
        serde_json::to_string_pretty(&written).unwrap_or_default() + "\n"
    }

    /// From JSON.
    ///
    /// # Errors
    /// Where it is something else; nothing is lost by starting from nothing then.
    pub fn from_json(text: &str) -> Result<Self, LearntError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let unreadable = |error: serde_json::Error| LearntError::Unreadable(error.to_string());
        let Version { version } = serde_json::from_str(text).map_err(unreadable)?;
        if version != VERSION {
            return Err(LearntError::OtherVersion(version));
        }
        let written: Written = serde_json::from_str(text).map_err(unreadable)?;
        let mut types = written.types;
        for images in types.values_mut() {
            images.retain(|_, seen| (1..=Quantity::MAX_UNITS).contains(&seen.memory));
        }
        types.retain(|_, images| !images.is_empty());
        Ok(Self { types, generation: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Catalog, Settings};

    const NOON: Timestamp = Timestamp::from_seconds(1_784_548_800);
    const DAY: i64 = 86_400;

    fn mib(n: i64) -> Quantity {
        Quantity::from_bytes(n << 20)
    }

    #[test]
    fn the_least_counts_and_is_kept_sixty_days() {
        let mut learnt = LearntCapacity::default();
        for (memory, day) in [(7_750, 0), (7_740, 1), (7_760, 50)] {
            learnt.observe("m7i.large", "ami-1", mib(memory), NOON.plus_seconds(day * DAY));
        }
        assert_eq!(learnt.memory("m7i.large", ["ami-0", "ami-1"]), Some(mib(7_740)));
        learnt.sweep(NOON.plus_seconds(60 * DAY));
        assert_eq!(learnt.len(), 1);
        learnt.sweep(NOON.plus_seconds(61 * DAY));
        assert!(learnt.is_empty());
    }

    #[test]
    fn nonsense_is_not_believed() {
        let mut learnt = LearntCapacity::default();
        learnt.observe("m7i.large", "ami-1", Quantity::ZERO, NOON);
        learnt.observe("", "ami-1", mib(1), NOON);
        learnt.observe("m7i.large", "", mib(1), NOON);
        assert!(learnt.is_empty());
        learnt.observe("m7i.large", "ami-1", mib(512), NOON);
        let mut catalog = Catalog::embedded("us-east-1", &Settings::default()).unwrap();
        let m7i = catalog.types.iter_mut().find(|t| t.name == "m7i.large").unwrap();
        assert!(!learnt.correct(m7i, ["ami-1"]));
        learnt.observe("m7i.large", "ami-2", mib(8_193), NOON);
        assert!(!learnt.correct(m7i, ["ami-2"]));
        assert_eq!(m7i.resources[MEMORY].to_string(), "7577Mi");
    }

    /// An m7i.large advertises 8192 MiB; the guess is 7577 MiB, of which pods may use 6903.
    #[test]
    fn a_type_is_corrected() {
        let mut learnt = LearntCapacity::default();
        learnt.observe("m7i.large", "ami-1", mib(7_748), NOON);
        let mut catalog = Catalog::embedded("us-east-1", &Settings::default()).unwrap();
        let m7i = catalog.types.iter_mut().find(|t| t.name == "m7i.large").unwrap();
        assert_eq!(m7i.allocatable()[MEMORY], mib(6_903));
        assert!(!learnt.correct(m7i, ["ami-2"]));
        assert!(learnt.correct(m7i, ["ami-1"]));
        assert_eq!(m7i.allocatable()[MEMORY], mib(7_748 - 674));
    }

    #[test]
    fn it_survives_a_restart() {
        let mut learnt = LearntCapacity::default();
        learnt.observe("m7i.large", "ami-1", mib(7_748), NOON);
        learnt.observe("c7g.large", "ami-2", mib(3_800), NOON);
        let read = LearntCapacity::from_json(&learnt.to_json()).unwrap();
        assert_eq!(read.types, learnt.types);
        assert_eq!(LearntCapacity::from_json(r#"{"version": 2, "x": 1}"#), Err(LearntError::OtherVersion(2)));
        let error = LearntCapacity::from_json("{").unwrap_err().to_string();
        assert!(error.contains("delete the file to learn anew"), "{error}");
        let absurd =
            r#"{"version": 1, "types": {"a": {"ami": {"memory": -5, "nodes": 1, "last": "2026-07-20"}}}}"#;
        assert!(LearntCapacity::from_json(absurd).unwrap().is_empty());
    }
}
