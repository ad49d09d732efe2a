//! Services: how many replicas, how large, and under which rules.

use crate::random::Random;

/// Services of a company of any size; beyond that it is replicas that grow.
const SERVICES: usize = 100;

/// Requests in milli-CPU, common ones several times.
const CPU_MILLIS: [u64; 16] =
    [50, 100, 100, 150, 250, 250, 300, 500, 500, 750, 1000, 1000, 1500, 2000, 3300, 7000];
/// Memory in MiB for each CPU: proxies at the front of the list, caches and JVMs at the back.
const MIB_PER_CPU: [u64; 8] = [512, 1024, 1600, 2048, 2048, 4096, 6144, 8192];
/// What a process takes before it does anything.
const BASE_MIB: (u64, u64) = (48, 200);

/// Services that keep one pod a node, as databases and brokers do, are not the large ones: every tenth service has the
/// rule, taken from the smaller half.
const ONE_A_NODE: (usize, usize) = (5, 2);

/// A deployment and the pods of it that wait for a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Name, unique.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Pods; at least one.
    pub replicas: usize,
    /// CPU request of each.
    pub cpu_millis: u64,
    /// Memory request of each.
    pub memory_mib: u64,
    /// Whether they are spread evenly over zones.
    pub zone_spread: bool,
    /// Whether no two of them share a node.
    pub one_a_node: bool,
}

pub(crate) fn make_up(pods: usize, seed: u64) -> Vec<Service> {
    let mut random = Random::new(seed);
    let replicas = skewed(pods, SERVICES.min(pods));
    // Every service is drawn, also those that get no replica, so that shapes do not depend on the number of pods.
    let services: Vec<Service> = (0..SERVICES).map(|rank| draw(rank, &mut random)).collect();
    services.into_iter().zip(replicas).map(|(service, replicas)| Service { replicas, ..service }).collect()
}

fn draw(rank: usize, random: &mut Random) -> Service {
    const NAMESPACES: [&str; 6] = ["checkout", "data", "edge", "internal", "search", "web"];
    let cpu_millis = random.pick(&CPU_MILLIS);
    let memory = cpu_millis * random.pick(&MIB_PER_CPU) / 1000 + random.within(BASE_MIB.0, BASE_MIB.1);
    let (every, offset) = ONE_A_NODE;
    Service {
        name: format!("service-{rank:03}"),
        namespace: random.pick(&NAMESPACES).to_owned(),
        replicas: 0,
        cpu_millis,
        memory_mib: memory,
        zone_spread: rank.is_multiple_of(2),
        one_a_node: rank >= SERVICES / 2 && rank % every == offset,
    }
}

/// Zipf's law: the service of rank `r` has a share of `1 / r` of the pods. Sums to `pods`, at least one each.
fn skewed(pods: usize, services: usize) -> Vec<usize> {
    let weights: Vec<f64> = (1..=services).map(|rank| 1.0 / rank as f64).collect();
    let whole: f64 = weights.iter().sum();
    let spare = pods - services;
    let mut replicas: Vec<usize> = weights.iter().map(|w| 1 + (spare as f64 * w / whole) as usize).collect();
    // What rounding down left over goes to the largest.
    let rest = pods - replicas.iter().sum::<usize>().min(pods);
    for at in 0..rest {
        replicas[at % services] += 1;
    }
    replicas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_add_up_and_are_skewed() {
        for pods in [1, 7, 99, 100, 101, 1_000, 10_000, 100_000] {
            let services = make_up(pods, 1);
            assert_eq!(services.iter().map(|s| s.replicas).sum::<usize>(), pods);
            assert!(services.iter().all(|s| s.replicas > 0));
            assert!(services.is_sorted_by(|a, b| a.replicas >= b.replicas));
        }
        let services = make_up(10_000, 1);
        let top: usize = services[..10].iter().map(|s| s.replicas).sum();
        assert!((5_000..6_500).contains(&top), "the ten largest of a hundred have {top}");
        assert!(make_up(0, 1).is_empty());
    }

    #[test]
    fn half_spread_over_zones_and_a_tenth_keep_one_a_node() {
        let services = make_up(10_000, 1);
        assert_eq!(services.iter().filter(|s| s.zone_spread).count(), 50);
        assert_eq!(services.iter().filter(|s| s.one_a_node).count(), 10);
        assert!(services.iter().any(|s| s.zone_spread && s.one_a_node));
    }

    #[test]
    fn shapes_depend_on_the_seed_and_not_on_the_number() {
        let shapes = |pods, seed| {
            make_up(pods, seed).into_iter().map(|s| (s.cpu_millis, s.memory_mib)).collect::<Vec<_>>()
        };
        assert_eq!(shapes(1_000, 1), shapes(100_000, 1));
        assert_ne!(shapes(1_000, 1), shapes(1_000, 2));
        let mut distinct = shapes(1_000, 1);
        distinct.sort_unstable();
        distinct.dedup();
        assert!(distinct.len() > 90, "{} shapes", distinct.len());
    }
}
