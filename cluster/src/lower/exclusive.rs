//! Claims that one pod at a time may use (`ReadWriteOncePod`).
//!
//! While a pod uses such a claim, no other that wants it is scheduled, on any node. Of several pending pods one is: the
//! one of the highest priority, then the first by name. (kube-scheduler evicts a user of lower priority; that is left to
//! it, and the pod gets no node either way.)
//!
//! Kubernetes' source of truth: `VolumeRestrictions` of kube-scheduler.

use std::cmp::Reverse;
use std::collections::HashMap;

use stowage_solver::{Pod as Pending, PodSpec, SpecId};

use super::world::World;
use crate::object::Volume;
use crate::snapshot::{Pod, Snapshot};

/// The claims of a pod that it alone may use.
fn exclusive<'s>(pod: &'s Pod, world: &World<'s>) -> impl Iterator<Item = (&'s str, &'s str)> {
    pod.spec.volumes.iter().filter_map(|volume| {
        let Volume::Claim(name) = volume else { return None };
        let claim = world.claim(&pod.namespace, name)?;
        let alone = claim.spec.access_modes.iter().any(|mode| mode == "ReadWriteOncePod");
        alone.then_some((pod.namespace.as_ref(), name.as_str()))
    })
}

/// Blocks pods whose claims others have. `pending` are the snapshot's pods of `pods`.
pub(super) fn keep<'s>(
    snapshot: &'s Snapshot,
    pending: &[&'s Pod],
    pods: &mut [Pending],
    specs: &mut Vec<PodSpec>,
    world: &World<'s>,
) {
    let mut users = HashMap::<(&str, &str), String>::new();
    let placed = |pod: &&Pod| pod.is_bound() || pod.nominated.is_some();
    for pod in snapshot.pods().filter(placed) {
        for claim in exclusive(pod, world) {
            users.entry(claim).or_insert_with(|| pod.key());
        }
    }
    let wanting = |at: &usize| exclusive(pending[*at], world).next().is_some();
    let mut order: Vec<usize> = (0..pods.len()).filter(wanting).collect();
    order.sort_by(|a, b| {
        let key = |at: usize| (Reverse(specs[pods[at].spec.index()].priority), pods[at].name.as_str());
        key(*a).cmp(&key(*b))
    });
    for at in order {
        let own = pods[at].name.clone();
        let taken =
            exclusive(pending[at], world).find_map(|claim| Some((claim.1, users.get(&claim)?.clone())));
        if let Some((claim, user)) = taken {
            let mut spec = specs[pods[at].spec.index()].clone();
            spec.blocked.get_or_insert_with(|| {
                format!("claim {claim} is for one pod at a time (ReadWriteOncePod), and pod {user} has it")
            });
            pods[at].spec = SpecId::of(specs.len());
            specs.push(spec);
        } else if specs[pods[at].spec.index()].blocked.is_none() {
            for claim in exclusive(pending[at], world) {
                users.insert(claim, own.clone());
            }
        }
    }
}
