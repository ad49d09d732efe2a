//! The solver's stages apart, each on the same problems: what a change of one of them is worth.
//!
//! ```sh
//! cargo bench -p stowage-benches --bench stages                 # everything
//! cargo bench -p stowage-benches --bench stages -- pricing      # one stage
//! ```
//!
//! | name | what it is the time of |
//! |---|---|
//! | `master` | all LPs over patterns in one solve |
//! | `pricing` | all searches for better patterns in one solve |
//! | `rounding` | all roundings of an LP's solution, completed and repaired, in one solve |
//! | `bound` | the resource bound and all Farley bounds in one solve |
//! | `verify` | one check of the finished plan, alternatives included |
//!
//! A solve tells which stage it is in, and the clock is read when that changes: so each stage is measured in its place,
//! on what the stages before it left, not on made-up input. The effort is thorough and the steps are few and fixed, so
//! that every stage runs, and does the same work in each repetition. What the plan costs stands beside, as does how often
//! each stage was entered: less time for a dearer plan or a looser bound is no gain.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode};
use stowage_benches::Workload;
use stowage_cluster::{LowerOptions, ReadOptions, Source, lower, read};
use stowage_pricing::{Catalog, Settings};
use stowage_solver::{Effort, Options, Problem, Solution, solve, stage, verify};

const PODS: [usize; 2] = [1_000, 10_000];

/// Steps of a solve: a second of work or two, and some rounds of every stage.
const STEPS: u64 = 30_000_000;

/// Each bench, and the stages that it adds up.
const STAGES: [(&str, &[&str]); 4] = [
    ("master", &[stage::MASTER]),
    ("pricing", &[stage::PRICING]),
    ("rounding", &[stage::ROUNDING]),
    ("bound", &[stage::BOUNDING, stage::PROVING]),
];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let catalog = Catalog::embedded("us-east-1", &Settings::default()).expect("us-east-1 is embedded");
    for pods in PODS {
        let problem = LazyCell::new(|| problem(pods, &catalog));
        let first = LazyCell::new(|| {
            let (plan, times) = timed(&problem);
            tell(pods, &plan, &times);
            plan
        });
        for (name, stages) in STAGES {
            bench(&mut criterion, name, pods, |b| {
                LazyCell::force(&first);
                let problem: &Problem = &problem;
                b.iter_custom(|times| (0..times).map(|_| spent(&timed(problem).1, stages)).sum());
            });
        }
        bench(&mut criterion, "verify", pods, |b| {
            let (problem, plan): (&Problem, &Solution) = (&problem, &first);
            b.iter(|| verify(black_box(problem), plan));
        });
    }
    criterion.final_summary();
}

fn bench(criterion: &mut Criterion, name: &str, pods: usize, run: impl FnMut(&mut criterion::Bencher)) {
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_secs(5));
    group.bench_function(BenchmarkId::from_parameter(pods), run);
    group.finish();
}

fn problem(pods: usize, catalog: &Catalog) -> Problem {
    let bytes = Workload::new(pods, Workload::SEED).to_json();
    let source = Source { name: "made-up snapshot", bytes: &bytes };
    let snapshot = read(&[source], &ReadOptions::default()).expect("what the generator writes can be read");
    lower(&snapshot, catalog, &LowerOptions::default())
        .expect("what the generator writes can be lowered")
        .problem
}

/// Time in each stage, and how often it was entered.
type Times = BTreeMap<&'static str, (Duration, u32)>;

/// Solves, and tells the time apart by stage.
fn timed(problem: &Problem) -> (Solution, Times) {
    let mut times = Times::new();
    let mut now: Option<(&'static str, Instant)> = None;
    let mut enter = |times: &mut Times, next: Option<&'static str>| {
        let at = Instant::now();
        if let Some((stage, began)) = now.take() {
            times.entry(stage).or_default().0 += at - began;
        }
        now = next.map(|stage| {
            times.entry(stage).or_default().1 += 1;
            (stage, at)
        });
    };
    let options = Options { effort: Effort::Thorough, max_steps: STEPS, ..Options::default() };
    let plan =
        solve(problem, &options, &AtomicBool::new(false), &mut |stage, _, _| enter(&mut times, Some(stage)));
    enter(&mut times, None);
    (plan.expect("plans pass the verifier"), times)
}

fn spent(times: &Times, stages: &[&str]) -> Duration {
    stages.iter().filter_map(|stage| times.get(stage)).map(|(time, _)| *time).sum()
}

fn tell(pods: usize, plan: &Solution, times: &Times) {
    let entered: Vec<String> = STAGES
        .iter()
        .map(|(name, stages)| {
            let count: u32 =
                stages.iter().filter_map(|stage| times.get(stage)).map(|(_, count)| *count).sum();
            format!("{name} × {count}")
        })
        .collect();
    eprintln!(
        "{pods} pods: ${:.4}/h on {} nodes, bound ${:.4}/h, gap {:.2} %; {}",
        plan.cost.dollars(),
        plan.new_nodes.len(),
        plan.bound.dollars(),
        plan.gap() * 100.0,
        entered.join(", "),
    );
}
