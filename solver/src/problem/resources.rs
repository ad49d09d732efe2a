//! Amounts of resources.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ResourceId;

/// Amounts by resource, in the resource's base unit: milli-CPU for cpu, bytes for memory and storage, one for pods
/// and devices. Sorted by id; no zeros, nothing negative.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "Vec<(ResourceId, i64)>")]
pub struct Resources(Vec<(ResourceId, i64)>);

impl From<Vec<(ResourceId, i64)>> for Resources {
    fn from(amounts: Vec<(ResourceId, i64)>) -> Self {
        Self::from_amounts(amounts)
    }
}

impl Resources {
    /// From amounts in any order; equal ids add up (saturating), zeros and negative amounts are left out.
    pub fn from_amounts(amounts: impl IntoIterator<Item = (ResourceId, i64)>) -> Self {
        let mut by_id = BTreeMap::<ResourceId, i64>::new();
        for (id, amount) in amounts {
            let sum = by_id.entry(id).or_insert(0);
            *sum = sum.saturating_add(amount);
        }
        Self(by_id.into_iter().filter(|(_, amount)| *amount > 0).collect())
    }

    /// The amount of one resource; zero where absent.
    pub fn get(&self, id: ResourceId) -> i64 {
        self.0.binary_search_by_key(&id, |(id, _)| *id).map_or(0, |at| self.0[at].1)
    }

    /// All amounts above zero, by ascending id.
    pub fn iter(&self) -> impl Iterator<Item = (ResourceId, i64)> + '_ {
        self.0.iter().copied()
    }

    /// Whether every amount is zero.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sum with `other`, saturating.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self::from_amounts(self.iter().chain(other.iter()))
    }

    /// What is left after taking `other` away, nothing below zero.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        Self(
            self.iter()
                .map(|(id, have)| (id, have.saturating_sub(other.get(id))))
                .filter(|(_, left)| *left > 0)
                .collect(),
        )
    }

    /// Whether each amount is within `room`.
    pub fn fits(&self, room: &Self) -> bool {
        self.iter().all(|(id, amount)| amount <= room.get(id))
    }
}
