//! What is said of all nodes of a `NodePool`: what one costs beside its instance, and how small or big it may be.
//!
//! A size is a requirement like any other, on two labels of our own that stand for what EC2 advertises. They are put on
//! types only where some `NodePool` asks, and no pod can mean them.

use stowage_api::{NodePool, NodeSettings, Quantity, well_known};
use stowage_pricing::InstanceType;
use stowage_solver::{self as solver, Operator, Price, Requirement};

use super::LowerOptions;
use super::notes::Notes;
use super::view::Views;
use crate::note::Note;

/// Advertised vCPUs in thousandths.
const NODE_MILLI_CPU: &str = "stowage.dev/node-milli-cpu";
/// Advertised memory in bytes.
const NODE_MEMORY_BYTES: &str = "stowage.dev/node-memory-bytes";

/// What holds for a pool: its annotations, and for what they do not say, the options.
fn settings(pool: &NodePool, options: &LowerOptions, notes: &mut Notes) -> NodeSettings {
    let annotations = &pool.metadata.annotations;
    for key in NodeSettings::unknown(annotations) {
        notes.add(Note::UnknownSetting { pool: pool.metadata.name.clone(), key: key.to_owned() });
    }
    // What cannot be read is refused when a snapshot is read.
    NodeSettings::of(annotations).unwrap_or_default().or(options.nodes)
}

/// Puts the settings of each pool to work.
pub(super) fn apply(
    stated: &[&NodePool],
    options: &LowerOptions,
    views: &Views<'_>,
    pools: &mut [solver::NodePool],
    types: &mut [solver::InstanceType],
    notes: &mut Notes,
) {
    let mut sized = false;
    for (pool, stated) in pools.iter_mut().zip(stated) {
        let settings = settings(stated, options, notes);
        if let Some(dollars) = settings.cost.filter(|d| d.micros() > 0) {
            pool.node_cost = Price::from_micros(dollars.micros());
            notes.add(Note::NodeCost { pool: pool.name.clone(), dollars });
        }
        if !settings.limits_size() {
            continue;
        }
        let range = |least: Option<Quantity>,
                     most: Option<Quantity>,
                     up: fn(Quantity) -> i64,
                     down: fn(Quantity) -> i64| {
            Operator::Within(least.map_or(0, up), most.map_or(i64::MAX, down))
        };
        let of_cpu = range(settings.min_cpu, settings.max_cpu, Quantity::ceil_millis, Quantity::floor_millis);
        let of_memory =
            range(settings.min_memory, settings.max_memory, Quantity::ceil_units, Quantity::floor_units);
        let asked = [
            Requirement { key: NODE_MILLI_CPU.to_owned(), op: of_cpu },
            Requirement { key: NODE_MEMORY_BYTES.to_owned(), op: of_memory },
        ];
        let fits = |t: &&InstanceType| {
            let (cpu, memory) = advertised(t);
            asked[0].allows(Some(&cpu)) && asked[1].allows(Some(&memory))
        };
        let types = views.seen_by(stated).types.iter().filter(fits).count();
        notes.add(Note::NodeSize { pool: pool.name.clone(), sizes: words(&settings), types });
        pool.requirements.extend(asked);
        sized = true;
    }
    if sized {
        // Types stand in the order of the views.
        let all = views.catalogs().flat_map(|catalog| &catalog.types);
        for (lowered, of_catalog) in types.iter_mut().zip(all) {
            let (cpu, memory) = advertised(of_catalog);
            lowered.labels.insert(NODE_MILLI_CPU.to_owned(), cpu);
            lowered.labels.insert(NODE_MEMORY_BYTES.to_owned(), memory);
        }
    }
}

/// vCPUs in thousandths and memory in bytes, as EC2 advertises them where the labels tell, else as the catalogue states
/// the capacity: of its 8 GiB, nothing on an m7i.large ever sees more than 7.4.
fn advertised(of: &InstanceType) -> (String, String) {
    let capacity = |name: &str| of.resources.get(name).copied().unwrap_or_default();
    let label =
        |key: &str, unit: &str| -> Option<Quantity> { format!("{}{unit}", of.labels.get(key)?).parse().ok() };
    let cpu = label(well_known::INSTANCE_CPU, "").unwrap_or_else(|| capacity(well_known::CPU));
    let memory = label(well_known::INSTANCE_MEMORY, "Mi").unwrap_or_else(|| capacity(well_known::MEMORY));
    (cpu.floor_millis().to_string(), memory.floor_units().to_string())
}

fn words(settings: &NodeSettings) -> String {
    let range = |least: Option<Quantity>, most: Option<Quantity>, what: &str| match (least, most) {
        (Some(least), Some(most)) => Some(format!("{least} to {most} {what}")),
        (Some(least), None) => Some(format!("at least {least} {what}")),
        (None, Some(most)) => Some(format!("at most {most} {what}")),
        (None, None) => None,
    };
    let cpu = range(settings.min_cpu, settings.max_cpu, "vCPUs");
    let memory = range(settings.min_memory, settings.max_memory, "memory");
    cpu.into_iter().chain(memory).collect::<Vec<_>>().join(" and ")
}
