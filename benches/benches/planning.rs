//! From a snapshot's bytes to a plan, stage by stage, at three sizes, with every instance type of us-east-1 on sale.
//!
//! ```sh
//! cargo bench -p stowage-benches                    # everything
//! cargo bench -p stowage-benches -- plan-quick      # one stage
//! cargo bench -p stowage-benches -- 10000$          # one size
//! ```
//!
//! | name | from | to |
//! |---|---|---|
//! | `read` | bytes of the snapshot | `cluster::Snapshot` |
//! | `lower` | snapshot and catalogue | `solver::Problem` |
//! | `classes` | problem | pod classes, bin kinds and compiled rules: the solver's first stage alone |
//! | `plan-quick` | problem | the plan with the least effort, with its bound, verified |
//! | `plan` | problem | the plan with the default effort, gap and step budget, verified |
//!
//! Time says little about a plan without its cost, so the planning benches also print what it costs, how far that is from
//! the proven bound, and how large the problem was.

use std::cell::{Cell, LazyCell};
use std::hint::black_box;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use stowage_benches::Workload;
use stowage_cluster::{LowerOptions, ReadOptions, Snapshot, Source, lower, read};
use stowage_pricing::{Catalog, Settings};
use stowage_solver::{Effort, Options, Problem, Solution, solve, stage};

const PODS: [usize; 3] = [1_000, 10_000, 100_000];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let catalog = Catalog::embedded("us-east-1", &Settings::default()).expect("us-east-1 is embedded");
    for pods in PODS {
        stages(&mut criterion, pods, &catalog);
    }
    criterion.final_summary();
}

/// Every stage at one size. What a stage starts from is made only when some bench of it runs.
fn stages(criterion: &mut Criterion, pods: usize, catalog: &Catalog) {
    let bytes = LazyCell::new(|| Workload::new(pods, Workload::SEED).to_json());
    let snapshot = LazyCell::new(|| parse(&bytes));
    let problem = LazyCell::new(|| {
        let problem = lowered(&snapshot, catalog);
        assert_eq!(problem.pods.len(), pods, "every pod is lowered");
        problem
    });

    let mut bench = |name: &str, run: &mut dyn FnMut(&mut criterion::Bencher)| {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(pods as u64));
        // A run takes from milliseconds to seconds; ten of them tell enough, and the largest would take minutes else.
        group.sampling_mode(SamplingMode::Flat).sample_size(10);
        group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
        group.bench_function(BenchmarkId::from_parameter(pods), run);
        group.finish();
    };
    bench("read", &mut |b| {
        let bytes: &[u8] = &bytes;
        b.iter_with_large_drop(|| parse(black_box(bytes)));
    });
    bench("lower", &mut |b| {
        let snapshot: &Snapshot = &snapshot;
        b.iter_with_large_drop(|| lowered(black_box(snapshot), catalog));
    });
    bench("classes", &mut |b| {
        let problem: &Problem = &problem;
        b.iter_custom(|times| (0..times).map(|_| time_of_classes(problem)).sum());
    });
    let quick = Options { effort: Effort::Quick, ..Options::default() };
    for (name, options) in [("plan-quick", quick), ("plan", Options::default())] {
        let told = Cell::new(false);
        bench(name, &mut |b| {
            let problem: &Problem = &problem;
            if !told.replace(true) {
                tell(name, pods, &planned(problem, &options));
            }
            b.iter_with_large_drop(|| planned(black_box(problem), &options));
        });
    }
}

fn parse(bytes: &[u8]) -> Snapshot {
    let source = Source { name: "made-up snapshot", bytes };
    read(&[source], &ReadOptions::default()).expect("what the generator writes can be read")
}

fn lowered(snapshot: &Snapshot, catalog: &Catalog) -> Problem {
    lower(snapshot, catalog, &LowerOptions::default())
        .expect("what the generator writes can be lowered")
        .problem
}

fn planned(problem: &Problem, options: &Options) -> Solution {
    solve(problem, options, &AtomicBool::new(false), &mut |_, _, _| {}).expect("plans pass the verifier")
}

/// The time from the start of the solver's first stage to the start of its second, in a solve that is cancelled at once.
fn time_of_classes(problem: &Problem) -> Duration {
    let mut began: Option<Instant> = None;
    let mut took = None;
    let mut progress = |now: &'static str, _: u64, _: u64| {
        if now == stage::FOLDING {
            began.get_or_insert_with(Instant::now);
        } else if took.is_none() {
            took = began.map(|began| began.elapsed());
        }
    };
    let plan = solve(problem, &Options::default(), &AtomicBool::new(true), &mut progress);
    black_box(plan.is_ok());
    took.expect("the solver tells of this stage, and of one after it")
}

fn tell(name: &str, pods: usize, plan: &Solution) {
    let stats = plan.stats;
    eprintln!(
        "{name}/{pods}: ${:.4}/h on {} nodes, bound ${:.4}/h, gap {:.2} %, {} unplaced; {} classes, {} kinds ({} useful), {} steps",
        plan.cost.dollars(),
        plan.new_nodes.len(),
        plan.bound.dollars(),
        plan.gap() * 100.0,
        plan.unplaced.len(),
        stats.classes,
        stats.kinds,
        stats.useful_kinds,
        stats.steps,
    );
}
