//! Random menus: instance types of odd shapes at odd prices, so that no planner is tuned to one cloud's price list.

use super::manifest::{Type, catalog, cpu_and_memory};
use super::random::Random;

const ZONES: [&str; 3] = ["us-east-1a", "us-east-1b", "us-east-1c"];
const FAMILIES: u64 = 24;
const SIZES: [u64; 9] = [1, 2, 4, 8, 16, 32, 48, 64, 96];
/// Memory for each CPU, and how much a family's price is off the one its resources are worth.
const MIB_PER_CPU: (u64, u64) = (1024, 12 * 1024);
const PERMILLE_OFF: (u64, u64) = (700, 1300);
/// What CPUs and memory are worth, in micro-dollars an hour: about what EC2's m and r families come to.
const MICROS_PER_CPU: u64 = 32_000;
const MICROS_PER_GIB: u64 = 4_500;

/// A catalogue for `seed`. Sizes of a family cost in proportion but for 5 % either way, and every tenth offering is
/// missing.
pub(crate) fn types(seed: u64) -> String {
    let mut random = Random::new(seed);
    let mut types = Vec::new();
    for family in 0..FAMILIES {
        let per_cpu = random.within(MIB_PER_CPU.0, MIB_PER_CPU.1);
        let off = random.within(PERMILLE_OFF.0, PERMILLE_OFF.1);
        for cpus in SIZES {
            types.extend(draw(family, cpus, per_cpu, off, &mut random));
        }
    }
    catalog(&types)
}

fn draw(family: u64, cpus: u64, per_cpu: u64, off: u64, random: &mut Random) -> Option<Type> {
    let memory = cpus * per_cpu;
    let worth = (cpus * MICROS_PER_CPU + memory * MICROS_PER_GIB / 1024) * off / 1000;
    let offerings: Vec<_> = ZONES
        .iter()
        .filter_map(|zone| {
            let price = (worth * random.within(950, 1050) / 1000) as f64 / 1e6;
            (random.within(1, 10) > 1).then_some(("on-demand", *zone, price))
        })
        .collect();
    let mut resources = cpu_and_memory(cpus * 1000, memory);
    resources.push(("pods".to_owned(), (8 + cpus * 10).min(250).to_string()));
    let overhead = cpu_and_memory(60 + cpus * 10, 300 + memory / 20);
    (!offerings.is_empty()).then(|| Type {
        name: format!("f{family:02}.{cpus}"),
        resources,
        overhead,
        offerings,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn one_seed_one_menu() {
        assert_eq!(types(3), types(3));
        assert_ne!(types(3), types(4));
        let list: Value = serde_json::from_str(&types(3)).unwrap();
        assert!(list.as_array().unwrap().len() > 200);
    }
}
