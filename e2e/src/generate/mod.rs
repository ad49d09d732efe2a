//! Clusters made up from a seed, small and full of rules.
//!
//! A cluster is 5 to 15 pending pods of a few services and up to three others, up to three nodes with running pods, one to three `NodePool`s, and
//! the volumes, claims and `DaemonSet`s that these refer to. Rules are drawn often enough that most clusters mix several,
//! and seldom enough that most pods have somewhere to go.

mod bystander;
mod catalog;
mod chain;
pub(crate) mod device;
pub(crate) mod node;
mod pod;
mod pool;
mod rule;
pub(crate) mod twist;
mod urgent;
pub(crate) mod volume;

use serde_json::{Value, json};

use crate::case::Case;
use crate::random::Random;

/// How many services in a hundred carry required pod affinity.
pub(crate) const POD_AFFINITY: u64 = 15;

/// How many of its terms in a hundred are over host names; none while planning does not honour these.
const HOST_AFFINITY: u64 = 25;

/// Namespaces, and a label of theirs.
pub(crate) const NAMESPACES: [(&str, &str); 3] = [("shop", "web"), ("data", "batch"), ("lab", "batch")];

/// Makes the cluster of a seed.
pub(crate) fn generate(seed: u64) -> Case {
    let mut random = Random::new(seed);
    let random = &mut random;
    let catalog = catalog::generate(random);
    let pools = pool::generate(random);
    let daemons = node::daemon_sets(random);
    let nodes = node::generate(random, &catalog, &pools);
    let mut objects = Vec::new();
    objects.extend(NAMESPACES.map(|(name, tier)| {
        // Only there may claims watch over devices.
        let watch = json!(if name == "lab" { "true" } else { "false" });
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": name, "labels": {"tier": tier, "resource.kubernetes.io/admin-access": watch},
        }})
    }));
    objects.extend(priority_classes());
    objects.extend(urgent::ranks());
    objects.extend(twist::runtime_classes());
    objects.extend(volume::storage_classes());
    let mut volumes = volume::Volumes::new(random);
    let services = pod::services(random, &nodes, &mut volumes);
    let running = node::running(random, &nodes, &daemons, &services);
    let pending = pod::pending(random, &services, &mut volumes);
    objects.extend(pools);
    objects.extend(daemons);
    objects.extend(node::objects(&nodes));
    objects.extend(volumes.objects);
    objects.extend(running);
    objects.extend(pending);
    let mut case = Case { catalog, objects };
    device::add(seed, &mut case);
    twist::add(seed, &mut case);
    chain::add(seed, &mut case);
    urgent::add(seed, &mut case);
    bystander::add(seed, &mut case);
    case
}

/// Priority classes. The last takes the place of others, the first two never do.
const PRIORITIES: [(&str, i32, &str); 3] =
    [("important", 1000, "Never"), ("spare", -10, "Never"), ("urgent", 2000, "PreemptLowerPriority")];

fn priority_classes() -> [Value; 3] {
    PRIORITIES.map(|(name, value, policy)| {
        json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
            "value": value, "preemptionPolicy": policy,
        })
    })
}

/// The priority of a class.
pub(crate) fn priority_of(class: &str) -> i32 {
    PRIORITIES.iter().find(|(name, ..)| *name == class).map_or(0, |(_, value, _)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_names_a_cluster() {
        assert_eq!(generate(7), generate(7));
        assert_ne!(generate(7), generate(8));
    }

    #[test]
    fn clusters_are_small() {
        for seed in 0..200 {
            let pending = generate(seed).pending().count();
            assert!((5..=18).contains(&pending), "seed {seed}: {pending}");
        }
    }
}
