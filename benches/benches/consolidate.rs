//! Consolidation of a fragmented cluster: a thousand nodes, of whose thirty thousand pods a third has gone since.
//!
//! ```sh
//! cargo bench -p stowage-benches --bench consolidate
//! ```
//!
//! Time says little without what it found, so what the nodes cost before and after, how many steps that takes, and how much
//! cheaper any arrangement could be at most are printed beside it.

use std::cell::Cell;
use std::hint::black_box;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use stowage_benches::{Fragmented, Workload};
use stowage_cluster::{LowerOptions, ReadOptions, Source, lower, read};
use stowage_pricing::{Catalog, Settings};
use stowage_solver::{Aims, Consolidation, Problem, consolidate};

/// Pods at the start; two thirds of them are still there.
const PODS: [usize; 2] = [3_000, 30_000];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let catalog = Catalog::embedded("us-east-1", &Settings::default()).expect("us-east-1 is embedded");
    for pods in PODS {
        let cluster = Fragmented::of(&pending(pods, &catalog), pods / 30);
        let running: usize = cluster.problem.nodes.iter().map(|node| node.pods.len()).sum();
        let mut group = criterion.benchmark_group("consolidate");
        group.throughput(Throughput::Elements(running as u64));
        group.sampling_mode(SamplingMode::Flat).sample_size(10);
        group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(5));
        let told = Cell::new(false);
        group.bench_function(BenchmarkId::from_parameter(running), |b| {
            if !told.replace(true) {
                tell(&cluster, running, &consolidated(&cluster));
            }
            b.iter_with_large_drop(|| consolidated(black_box(&cluster)));
        });
        group.finish();
    }
    criterion.final_summary();
}

fn pending(pods: usize, catalog: &Catalog) -> Problem {
    let bytes = Workload::new(pods, Workload::SEED).to_json();
    let source = Source { name: "made-up snapshot", bytes: &bytes };
    let snapshot = read(&[source], &ReadOptions::default()).expect("what the generator writes can be read");
    lower(&snapshot, catalog, &LowerOptions::default()).expect("it can be lowered").problem
}

fn consolidated(cluster: &Fragmented) -> Consolidation {
    let never = AtomicBool::new(false);
    consolidate(&cluster.problem, &cluster.fleet, &Aims::default(), &never, &mut |_, _, _| {})
        .expect("nothing is pending")
}

fn tell(cluster: &Fragmented, running: usize, found: &Consolidation) {
    let sum = |of: fn(&stowage_solver::Step) -> usize| found.steps.iter().map(of).sum::<usize>();
    eprintln!(
        "consolidate/{running}: {} nodes at ${:.4}/h; {} steps remove {} and launch {}, moving {} pods: ${:.4}/h, {:.1} % less; no \
         arrangement costs less than ${:.4}/h; {} steps of work{}",
        cluster.problem.nodes.len(),
        found.before.dollars(),
        found.steps.len(),
        sum(|s| s.removes.len()),
        sum(|s| s.launches.len()),
        sum(|s| s.moves.len()),
        found.after.dollars(),
        (1.0 - found.after.dollars() / found.before.dollars()) * 100.0,
        found.bound.dollars(),
        found.work,
        if found.spent { ", budget spent" } else { "" },
    );
}
