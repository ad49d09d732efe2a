//! One planning by a planner in Rust, in a process of its own: read, lower, plan, and say what it took.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, bail};
use stowage_cluster::{LowerOptions, ReadOptions, Snapshot, Source, lower, read};
use stowage_pricing::Catalog;
use stowage_solver::{Effort, Options, Problem, Solution, Status, solve, verify};

use super::args::{Once, Planner};
use super::first_fit;
use super::outcome::{Existing, Node, Outcome};
use stowage_benches::measure;

/// Violations of a baseline's plan that are told.
const TOLD: usize = 3;

/// Plans, and measures.
pub(crate) fn plan(once: &Once) -> anyhow::Result<Outcome> {
    let (problem, set_up_seconds) = problem(&once.snapshot, &once.catalog)?;
    let peak_from_solve = measure::reset_peak();
    let start_bytes = measure::peak_bytes();
    let mut stages = Stages::default();
    let started = Instant::now();
    let solution = match once.planner {
        Planner::Karpenter => bail!("Karpenter's scheduler is a program of its own"),
        Planner::Ffd => first_fit::plan(&problem),
        Planner::Quick => solved(&problem, once, Effort::Quick, &mut stages)?,
        Planner::Balanced => solved(&problem, once, Effort::Balanced, &mut stages)?,
        Planner::Thorough => solved(&problem, once, Effort::Thorough, &mut stages)?,
    };
    let solve_seconds = started.elapsed().as_secs_f64();
    stages.end();
    let peak_bytes = measure::peak_bytes();

    let ours = once.planner != Planner::Ffd;
    let mut outcome = describe(&problem, &solution);
    outcome.planner =
        if ours { format!("stowage {}", once.planner) } else { "first-fit decreasing".to_owned() };
    outcome.solve_seconds = solve_seconds;
    outcome.set_up_seconds = set_up_seconds;
    outcome.start_bytes = start_bytes;
    outcome.peak_bytes = peak_bytes;
    outcome.stages = stages.seconds;
    outcome.peak_from_solve = peak_from_solve;
    if ours {
        outcome.bound = Some(solution.bound.dollars());
        outcome.status = Some(status(solution.status).to_owned());
    } else {
        // Stowage refuses to return a plan that breaks a rule; a baseline may, and then it is said.
        let broken = verify(&problem, &solution);
        outcome.notes.extend(broken.iter().take(TOLD).map(|v| format!("breaks a rule: {}", v.what)));
        if broken.len() > TOLD {
            outcome.notes.push(format!("breaks {} rules more", broken.len() - TOLD));
        }
    }
    Ok(outcome)
}

fn solved(problem: &Problem, once: &Once, effort: Effort, stages: &mut Stages) -> anyhow::Result<Solution> {
    let mut options = Options { gap: once.gap, effort, ..Options::default() };
    if let Some(steps) = once.max_steps {
        options.max_steps = steps;
    }
    solve(problem, &options, &AtomicBool::new(false), &mut |stage, _, _| stages.enter(stage)).map_err(
        |violations| {
            let first = violations.first().map_or("", |v| v.what.as_str());
            anyhow::anyhow!("stowage made a plan that breaks a rule, a defect: {first}")
        },
    )
}

/// Where the time goes, as the solver tells its progress.
#[derive(Default)]
struct Stages {
    seconds: Vec<(String, f64)>,
    now: Option<(usize, &'static str, Instant)>,
}

impl Stages {
    fn enter(&mut self, stage: &'static str) {
        if self.now.is_some_and(|(_, name, _)| name == stage) {
            return;
        }
        self.end();
        let at = self.seconds.iter().position(|(name, _)| name == stage).unwrap_or_else(|| {
            self.seconds.push((stage.to_owned(), 0.0));
            self.seconds.len() - 1
        });
        self.now = Some((at, stage, Instant::now()));
    }

    fn end(&mut self) {
        if let Some((at, _, since)) = self.now.take() {
            self.seconds[at].1 += since.elapsed().as_secs_f64();
        }
    }
}

/// The problem in the files, and the seconds that lowering took. All else that was read is gone when it returns.
fn problem(snapshot: &Path, catalog: &Path) -> anyhow::Result<(Problem, f64)> {
    let bytes = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let name = |path: &Path| path.display().to_string();
    let types = Catalog::parse(&bytes(catalog)?, &name(catalog))?;
    let captured: Snapshot = {
        let bytes = bytes(snapshot)?;
        read(&[Source { name: &name(snapshot), bytes: &bytes }], &ReadOptions::default())?
    };
    let started = Instant::now();
    let problem = lower(&captured, &types, &LowerOptions::default())?.problem;
    Ok((problem, started.elapsed().as_secs_f64()))
}

fn describe(problem: &Problem, solution: &Solution) -> Outcome {
    let pods = |ids: &[stowage_solver::PodId]| -> Vec<String> {
        ids.iter().map(|id| problem.pods[id.index()].name.clone()).collect()
    };
    let nodes = solution.new_nodes.iter().map(|n| {
        let of_type = &problem.types[n.instance_type.index()];
        let offering = &of_type.offerings[n.offering];
        Node {
            node_pool: problem.pools[n.pool.index()].name.clone(),
            instance_type: of_type.name.clone(),
            zone: offering.zone.clone(),
            capacity_type: offering.capacity_type.clone(),
            price: n.price.dollars(),
            pods: pods(&n.pods),
        }
    });
    let existing = solution
        .placements
        .iter()
        .map(|p| Existing { name: problem.nodes[p.node.index()].name.clone(), pods: pods(&p.pods) });
    let left = solution.unplaced.iter().map(|u| {
        let reason = u.reasons.first().map_or_else(|| "no room".to_owned(), |reason| format!("{reason:?}"));
        (problem.pods[u.pod.index()].name.clone(), reason)
    });
    Outcome {
        nodes: nodes.collect(),
        existing_nodes: existing.collect(),
        unschedulable: left.collect::<BTreeMap<_, _>>(),
        ..Outcome::default()
    }
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Optimal => "optimal",
        Status::WithinGap => "within-gap",
        Status::BudgetSpent => "budget-spent",
    }
}
