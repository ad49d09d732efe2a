//! Plain demands as resources: exact, by Hall's theorem.
//!
//! Each demand is for some of a set of devices, and sets may overlap: any GPU, a GPU with 40 GiB, a GPU of this model. A
//! node can meet a number of demands if and only if, for every union of their sets, it has as many devices in the union as
//! are asked for by the demands whose sets lie within it. So every such union is a resource. Where sets are the same,
//! disjoint, or one within the other, as people write them, there are no more unions than sets.
//!
//! Should there be too many, each demand also takes from every set that it shares a device with. That is more than it
//! needs, never less: whoever comes last then still finds a free device in its own set.
//!
//! Kubernetes' source of truth: the allocator of structured parameters, which finds an allocation where there is one.

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random and are the same every time.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, end: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % end
        }
    }

    /// Whether each of these sets can have a device of its own, by trying.
    fn can_be_met(wanted: &[&BTreeSet<u32>], free: &mut [u64]) -> bool {
        let Some((set, rest)) = wanted.split_first() else { return true };
        set.iter().any(|device| {
            let at = *device as usize;
            if free[at] == 0 {
                return false;
            }
            free[at] -= 1;
            let met = can_be_met(rest, free);
            free[at] += 1;
            met
        })
    }

    fn suffices(parts: &[Part], counts: &[u64], free: &[u64]) -> bool {
        parts.iter().all(|part| {
            let asked: u64 = part.takers.iter().map(|demand| counts[*demand as usize]).sum();
            asked <= part.devices.iter().map(|device| free[*device as usize]).sum()
        })
    }

    #[test]
    fn resources_suffice_exactly_where_devices_do() {
        let mut numbers = Numbers(7);
        let (mut met, mut refused, mut careful) = (0, 0, 0);
        for _ in 0..3_000 {
            let sets: Vec<(u32, BTreeSet<u32>)> =
                (0..4).map(|demand| (demand, (0..4).filter(|_| numbers.below(2) == 0).collect())).collect();
            let counts: Vec<u64> = sets.iter().map(|_| numbers.below(3)).collect();
            let mut free: Vec<u64> = (0..4).map(|_| numbers.below(4)).collect();
            let group: Vec<&(u32, BTreeSet<u32>)> = sets.iter().collect();
            let wanted: Vec<&BTreeSet<u32>> =
                sets.iter().flat_map(|(d, set)| (0..counts[*d as usize]).map(move |_| set)).collect();
            let truth = can_be_met(&wanted, &mut free);
            assert_eq!(
                suffices(&unions(&group).unwrap(), &counts, &free),
                truth,
                "{sets:?} {counts:?} {free:?}"
            );
            // The other way never promises too much.
            let promise = suffices(&rivals(&group), &counts, &free);
            assert!(truth || !promise, "{sets:?} {counts:?} {free:?}");
            met += usize::from(truth);
            refused += usize::from(!truth);
            careful += usize::from(truth && !promise);
        }
        assert!(met > 500 && refused > 500 && careful > 50, "{met} {refused} {careful}");
    }

    #[test]
    fn too_many_unions_are_given_up() {
        // Pairs of neighbours on a line of twenty: any run of them is a union.
        let sets: Vec<(u32, BTreeSet<u32>)> = (0..20).map(|d| (d, BTreeSet::from([d, d + 1]))).collect();
        let group: Vec<&(u32, BTreeSet<u32>)> = sets.iter().collect();
        assert_eq!(unions(&group), None);
        assert_eq!(rivals(&group).len(), 20);
    }
}
