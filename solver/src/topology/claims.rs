//! Volume claims that several pods share and that do not exist yet: all their users go to one zone.
//!
//! Kubernetes' source of truth: `VolumeBinding` of kube-scheduler, and EBS volumes being in one zone.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::candidate::Grounds;
use super::{Tally, value_of};
use crate::model::Model;

/// The representative of a group in a union-find forest.
fn root(group: &[usize], mut at: usize) -> usize {
    while group[at] != at {
        at = group[at];
    }
    at
}

/// For each class that uses a volume claim shared with other pods: the zone in which all its users can be.
pub(super) fn claim_zones(
    model: &mut Model<'_>,
    grounds: &mut Grounds,
    tally: &Tally,
) -> HashMap<usize, String> {
    let mut users = BTreeMap::<&str, Vec<usize>>::new();
    for class in 0..model.classes.classes.len() {
        for claim in &model.spec(class).unbound_claims {
            users.entry(claim).or_default().push(class);
        }
    }
    // Classes joined by claims, directly or in a chain, share a zone.
    let mut group: Vec<usize> = (0..model.classes.classes.len()).collect();
    let mut shared = BTreeSet::new();
    for classes in users.values() {
        let pods: u32 = classes.iter().map(|c| model.count(*c)).sum();
        if pods > 1 {
            for class in classes {
                let (a, b) = (root(&group, classes[0]), root(&group, *class));
                group[a.max(b)] = a.min(b);
                shared.insert(*class);
            }
        }
    }
    let mut members = BTreeMap::<usize, Vec<usize>>::new();
    for class in shared {
        members.entry(root(&group, class)).or_default().push(class);
    }
    let mut out = HashMap::new();
    for classes in members.into_values() {
        // By zone: pods that it can hold, those of them that cost nothing there, and how dear it is.
        let mut votes = BTreeMap::<String, (u32, u32, Reverse<usize>)>::new();
        for class in &classes {
            // Rules over other labels may close all of a zone, so all the class's keys are looked at.
            let keys = tally.keys(model, *class, true);
            let candidates = grounds.candidates(model, *class, &keys);
            let mut here = BTreeMap::<String, (u32, u32, usize)>::new();
            for (rank, candidate) in tally.crowd.open_to(model, *class, &candidates).iter().enumerate() {
                if let Some(zone) = value_of(&candidate.domain, &model.problem.zone_key) {
                    let entry = here.entry(zone.to_owned()).or_insert((0, 0, rank));
                    entry.0 = entry.0.saturating_add(candidate.most);
                    entry.1 = entry.1.saturating_add(candidate.free);
                }
            }
            for (zone, (most, free, rank)) in here {
                let entry = votes.entry(zone).or_default();
                entry.0 = entry.0.saturating_add(most.min(model.count(*class)));
                entry.1 = entry.1.saturating_add(free.min(model.count(*class)));
                entry.2.0 += rank;
            }
        }
        let best = votes.into_iter().max_by(|(za, a), (zb, b)| a.cmp(b).then_with(|| zb.cmp(za)));
        if let Some((zone, _)) = best {
            out.extend(classes.into_iter().map(|class| (class, zone.clone())));
        }
    }
    out
}
