//! Plain demands as resources: exact, by Hall's theorem.
//!
//! Each demand is for some of a set of devices, and sets may overlap: any GPU, a GPU with 40 GiB, a GPU of this model. A
//! node can meet a number of demands if and only if, for every union of their sets, it has as many devices in the union as
//! are asked for by the demands whose sets lie within it. So every such union is a resource. Where sets are the same,
//! disjoint, or one within the other, as people write them, there are no more unions than sets.
//!
//! Should there be too many, each demand also takes from every set that it shares a device with. That is more than it
//! needs, never less: whoever comes last then still finds a free device in its own set.

use std::collections::BTreeSet;

use super::demand::{Demands, Verdict};

/// Unions of sets that are kept apart, at most, for demands that overlap.
const MOST_PARTS: usize = 64;

/// A set of devices, and the demands that take from it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Signatures of its devices.
    devices: BTreeSet<u32>,
    /// The demands that may only be met from it.
    pub(super) takers: Vec<u32>,
}

impl Part {
    /// Whether devices with this signature are part of it.
    pub(super) fn holds(&self, signature: u32) -> bool {
        self.devices.contains(&signature)
    }
}

/// The resources of these demands.
pub(super) fn parts(wanted: &BTreeSet<u32>, demands: &Demands<'_>) -> Vec<Part> {
    let suits = |demand: u32, signature: usize| demands.answers[signature][demand as usize] == Verdict::Yes;
    let sets: Vec<(u32, BTreeSet<u32>)> = wanted
        .iter()
        .map(|d| (*d, (0..demands.answers.len()).filter(|s| suits(*d, *s)).map(|s| s as u32).collect()))
        .collect();
    let mut out = Vec::new();
    let mut rest: Vec<usize> = (0..sets.len()).collect();
    while let Some(first) = rest.first().copied() {
        // Those that overlap, directly or through others.
        let mut together = vec![first];
        let mut devices = sets[first].1.clone();
        rest.remove(0);
        while let Some(at) = rest.iter().position(|at| !sets[*at].1.is_disjoint(&devices)) {
            let at = rest.remove(at);
            devices.extend(&sets[at].1);
            together.push(at);
        }
        let group: Vec<&(u32, BTreeSet<u32>)> = together.iter().map(|at| &sets[*at]).collect();
        out.extend(unions(&group).unwrap_or_else(|| rivals(&group)));
    }
    out.sort_by(|a, b| a.takers.cmp(&b.takers));
    out
}

/// Every union of sets that overlap; `None` where there are too many.
fn unions(group: &[&(u32, BTreeSet<u32>)]) -> Option<Vec<Part>> {
    let mut known: BTreeSet<BTreeSet<u32>> = group.iter().map(|(_, set)| set.clone()).collect();
    let mut fresh: Vec<BTreeSet<u32>> = known.iter().cloned().collect();
    while let Some(union) = fresh.pop() {
        for (_, set) in group {
            if set.is_disjoint(&union) || set.is_subset(&union) {
                continue;
            }
            let larger: BTreeSet<u32> = union.union(set).copied().collect();
            if known.insert(larger.clone()) {
                fresh.push(larger);
            }
            if known.len() > MOST_PARTS.max(group.len()) {
                return None;
            }
        }
    }
    let takers = |devices: &BTreeSet<u32>| -> Vec<u32> {
        group.iter().filter(|(_, set)| set.is_subset(devices)).map(|(demand, _)| *demand).collect()
    };
    Some(known.into_iter().map(|devices| Part { takers: takers(&devices), devices }).collect())
}

/// Every set, with all demands that overlap it as takers.
fn rivals(group: &[&(u32, BTreeSet<u32>)]) -> Vec<Part> {
    let sets: BTreeSet<&BTreeSet<u32>> = group.iter().map(|(_, set)| set).collect();
    let takers = |devices: &BTreeSet<u32>| -> Vec<u32> {
        let overlap = |set: &BTreeSet<u32>| !set.is_disjoint(devices) || set == devices;
        group.iter().filter(|(_, set)| overlap(set)).map(|(demand, _)| *demand).collect()
    };
    sets.into_iter().map(|devices| Part { takers: takers(devices), devices: devices.clone() }).collect()
}
