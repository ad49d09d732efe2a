//! What rules between pods cost: 5,000 pods of a hundred services, planned without rules and with rules on half of them.
//!
//! ```sh
//! cargo bench -p stowage-benches --bench rules
//! cargo bench -p stowage-benches --bench rules -- spread    # plain pods, and rules with this in their names
//! ```
//!
//! | name | services with a rule |
//! |---|---|
//! | `plain` | none |
//! | one of the rules | every other one carries it |
//! | `mixed` | every other one carries one of them, in turn |
//!
//! Each is planned with quick and with default effort. At the end stands how much longer than plain pods each takes, by the
//! median of runs that take turns, so that whatever else the machine does falls on all alike. Rules cost nodes, too: cost
//! and gap are printed beside.

#![expect(clippy::print_stdout, reason = "a table is what this bench is for")]

use std::hint::black_box;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use stowage_benches::Workload;
use stowage_cluster::{LowerOptions, ReadOptions, Source, lower, read};
use stowage_pricing::{Catalog, Settings};
use stowage_solver::{
    Effort, Operator, Options, PodSelector, PodSpec, PodTerm, Problem, Requirement, Solution, SpecId, Spread,
    TopologyKey, solve,
};

const PODS: usize = 5_000;
const ROUNDS: usize = 9;
const RULES: [&str; 6] = [
    "zone spread",
    "host spread",
    "zone affinity to itself",
    "host anti-affinity",
    "zone affinity to the next",
    "host affinity to the next",
];

fn main() {
    // `cargo test --benches` and the like only ask whether it runs.
    let rounds = if std::env::args().any(|arg| arg == "--test") { 1 } else { ROUNDS };
    let catalog = Catalog::embedded("us-east-1", &Settings::default()).expect("us-east-1 is embedded");
    let bytes = Workload::new(PODS, Workload::SEED).to_json();
    let source = Source { name: "made-up snapshot", bytes: &bytes };
    let snapshot = read(&[source], &ReadOptions::default()).expect("what the generator writes can be read");
    let lowered = lower(&snapshot, &catalog, &LowerOptions::default()).expect("and lowered");
    let mut cases = vec![("plain", ruled(&lowered.problem, &[]))];
    cases.extend(RULES.iter().enumerate().map(|(at, name)| (*name, ruled(&lowered.problem, &[at]))));
    cases.push(("mixed", ruled(&lowered.problem, &[0, 1, 2, 3, 4, 5])));
    if let Some(wanted) = std::env::args().skip(1).find(|arg| !arg.starts_with('-')) {
        cases.retain(|(name, _)| *name == "plain" || name.contains(&wanted));
    }
    for (effort, name) in [(Effort::Quick, "quick"), (Effort::Balanced, "balanced")] {
        let options = Options { effort, ..Options::default() };
        let mut times = vec![Vec::new(); cases.len()];
        let mut plans: Vec<Option<Solution>> = vec![None; cases.len()];
        for _ in 0..rounds {
            for ((times, plan), (_, problem)) in times.iter_mut().zip(&mut plans).zip(&cases) {
                let began = Instant::now();
                let found = solve(black_box(problem), &options, &AtomicBool::new(false), &mut |_, _, _| {});
                times.push(began.elapsed());
                *plan = found.ok();
            }
        }
        let medians: Vec<Duration> = times.into_iter().map(median).collect();
        println!(
            "{name}, {PODS} pods{:>17}{:>9}{:>9}{:>8}{:>10}",
            "ms", "x plain", "nodes", "gap", "unplaced"
        );
        for (((case, _), plan), time) in cases.iter().zip(&plans).zip(&medians) {
            let plan = plan.as_ref().expect("plans pass the verifier");
            println!(
                "  {case:<28}{:>9.1}{:>9.2}{:>9}{:>6.2} %{:>10}",
                time.as_secs_f64() * 1e3,
                time.as_secs_f64() / medians[0].as_secs_f64(),
                plan.new_nodes.len(),
                plan.gap() * 100.0,
                plan.unplaced.len()
            );
        }
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The problem with the rules that its services have taken away, and every other service under one of `rules`.
fn ruled(problem: &Problem, rules: &[usize]) -> Problem {
    let mut out = Problem { specs: problem.specs.clone(), ..problem.clone() };
    // A service is the pods of one label set.
    let app = |labels: usize| problem.label_sets[labels].get("app").cloned().unwrap_or_default();
    let mut spec_of = vec![None; problem.label_sets.len()];
    for pod in &mut out.pods {
        let labels = pod.labels.index();
        let id = *spec_of[labels].get_or_insert_with(|| {
            let spec = PodSpec {
                spread: Vec::new(),
                affinity: Vec::new(),
                anti_affinity: Vec::new(),
                ..problem.specs[pod.spec.index()].clone()
            };
            let next = (labels + 1) % problem.label_sets.len();
            let spec = match rules {
                [..] if rules.is_empty() || labels % 2 == 0 => spec,
                _ => with_rule(spec, rules[labels / 2 % rules.len()], &app(labels), &app(next)),
            };
            out.specs.push(spec);
            SpecId::of(out.specs.len() - 1)
        });
        pod.spec = id;
    }
    out
}

fn with_rule(mut spec: PodSpec, rule: usize, app: &str, other: &str) -> PodSpec {
    // The namespaces of other services are not known here, and no two services have one name.
    let namespaces = ["checkout", "data", "edge", "internal", "search", "web"].map(str::to_owned).to_vec();
    let pods_of = |app: &str| PodSelector {
        namespaces: namespaces.clone(),
        labels: Some(vec![Requirement { key: "app".to_owned(), op: Operator::In(vec![app.to_owned()]) }]),
    };
    let zone = || TopologyKey::Label("topology.kubernetes.io/zone".to_owned());
    let spread = |key| Spread {
        key,
        max_skew: 1,
        min_domains: 1,
        selector: pods_of(app),
        honor_node_affinity: true,
        honor_taints: false,
        wished: false,
    };
    match rule {
        0 => spec.spread.push(spread(zone())),
        1 => spec.spread.push(spread(TopologyKey::Host)),
        2 => spec.affinity.push(PodTerm { key: zone(), selector: pods_of(app) }),
        3 => spec.anti_affinity.push(PodTerm { key: TopologyKey::Host, selector: pods_of(app) }),
        4 => spec.affinity.push(PodTerm { key: zone(), selector: pods_of(other) }),
        _ => spec.affinity.push(PodTerm { key: TopologyKey::Host, selector: pods_of(other) }),
    }
    spec
}
