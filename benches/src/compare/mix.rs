//! Karpenter's own benchmark: `makeDiversePods` and `fake.InstanceTypes(400)` of its `scheduling_benchmark_test.go`.
//!
//! A fifth of the pods each are generic, spread over zones, spread over hosts, near the pods of their own label in one
//! zone, and one a host. CPU, memory and labels are drawn evenly from its short lists. The draws are ours: Go's random
//! numbers cannot be had here, so a run has the same distribution and not the same pods.
//!
//! As there, the selector of a spread rule is drawn apart from the pod's own label, so most such pods count others; and
//! type `i` has `i + 1` CPUs, 2 GiB and 10 pods for each, at a price linear in both, so that no type is a bargain.

use super::manifest::{Amounts, HOST, Label, Rule, Type, ZONE, catalog, cpu_and_memory, pod, snapshot};
use super::random::Random;

const CPU_MILLIS: [u64; 5] = [100, 250, 500, 1000, 1500];
const MEMORY_MIB: [u64; 6] = [100, 256, 512, 1024, 2048, 4096];
const LABELS: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];
const GROUPS: usize = 5;

/// Types that the benchmark asks for.
pub(crate) const TYPES: usize = 400;

/// The pods.
pub(crate) fn pods(count: usize, seed: u64) -> String {
    let mut random = Random::new(seed);
    let each = count / GROUPS;
    let mut all = Vec::with_capacity(count);
    for group in ["generic", "zone-spread", "host-spread", "zone-affinity", "host-anti-affinity"] {
        // What a fifth leaves over is generic.
        let size = if group == "generic" { count - each * (GROUPS - 1) } else { each };
        for at in 0..size {
            let (label, rule) = shape(group, &mut random);
            all.push(pod(&format!("{group}-{at:05}"), label, &requests(&mut random), &rule));
        }
    }
    snapshot(all)
}

fn shape(group: &str, random: &mut Random) -> (Label, Rule) {
    let mine = ("my-label", random.pick(&LABELS));
    let other = ("my-label", random.pick(&LABELS));
    match group {
        "zone-spread" => (mine, Rule::Spread(ZONE, other)),
        "host-spread" => (mine, Rule::Spread(HOST, other)),
        "zone-affinity" => {
            let own = ("my-affinity", mine.1);
            (own, Rule::Near(ZONE, own))
        }
        "host-anti-affinity" => {
            let own = ("app", "nginx");
            (own, Rule::Apart(HOST, own))
        }
        _ => (mine, Rule::None),
    }
}

fn requests(random: &mut Random) -> Amounts {
    cpu_and_memory(random.pick(&CPU_MILLIS), random.pick(&MEMORY_MIB))
}

/// The types: spot in two zones, on-demand in three, all at one price, less 100m and 10 MiB for the kubelet.
pub(crate) fn types() -> String {
    let types: Vec<Type> = (1..=TYPES as u64).map(linear).collect();
    catalog(&types)
}

fn linear(cpus: u64) -> Type {
    let memory_bytes = (cpus * 2) << 30;
    // Ten cents a CPU and ten cents a (decimal) gigabyte.
    let price = 0.1 * cpus as f64 + 0.1 * memory_bytes as f64 / 1e9;
    let mut resources = cpu_and_memory(cpus * 1000, cpus * 2 * 1024);
    resources.push(("pods".to_owned(), (cpus * 10).to_string()));
    let spot = ["test-zone-1", "test-zone-2"].map(|zone| ("spot", zone, price));
    let on_demand = ["test-zone-1", "test-zone-2", "test-zone-3"].map(|zone| ("on-demand", zone, price));
    Type {
        name: format!("fake-it-{}", cpus - 1),
        resources,
        overhead: cpu_and_memory(100, 10),
        offerings: spot.into_iter().chain(on_demand).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_fifth_of_each_kind_and_the_rest_generic() {
        let list: Value = serde_json::from_str(&pods(103, 1)).unwrap();
        let pods: Vec<&Value> =
            list["items"].as_array().unwrap().iter().filter(|i| i["kind"] == "Pod").collect();
        let with = |pointer: &str| pods.iter().filter(|p| p.pointer(pointer).is_some()).count();
        assert_eq!(pods.len(), 103);
        assert_eq!(with("/spec/topologySpreadConstraints"), 40);
        assert_eq!(with("/spec/affinity/podAffinity"), 20);
        assert_eq!(with("/spec/affinity/podAntiAffinity"), 20);
    }

    #[test]
    fn types_are_linear() {
        let list: Value = serde_json::from_str(&types()).unwrap();
        assert_eq!(list.as_array().unwrap().len(), 400);
        let last = &list[399];
        assert_eq!((&last["name"], &last["resources"]["cpu"]), (&"fake-it-399".into(), &"400000m".into()));
        assert_eq!(last["resources"]["memory"], "819200Mi");
        // 400 CPUs and 858.993459 GB.
        assert_eq!(last["offerings"][0]["Price"], 125.899_346);
        assert_eq!(last["offerings"].as_array().unwrap().len(), 5);
    }
}
