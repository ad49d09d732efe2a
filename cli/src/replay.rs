//! `stowage replay`: a packing problem on its own, without the cluster it came from.
//!
//! `plan --dump-problem` writes what the solver saw; this solves it again and checks the plan. So a plan that surprises
//! can be reported and looked at without the snapshot, and a plan that breaks a rule can be reproduced.

use std::fs;
use std::path::Path;
use std::time::Instant;

use stowage_solver::{Price, Problem, solve};

use crate::args::ReplayArgs;
use crate::failure::{Exit, Failure};
use crate::input;
use crate::interrupt::Interrupt;
use crate::money::hourly;
use crate::plan::solve_options;
use crate::progress::Progress;
use crate::terminal;
use crate::text::thousands;

/// Writes a problem to a file.
///
/// # Errors
/// Where the file cannot be written.
pub(crate) fn write(path: &Path, problem: &Problem) -> Result<(), Failure> {
    let text = serde_json::to_string(problem)
        .map_err(|e| Failure::defect(format!("cannot write the problem: {e}")))?;
    fs::write(path, text).map_err(|e| Failure::new(format!("cannot write {}: {e}", path.display())))
}

/// Runs the command.
///
/// # Errors
/// Where the file is not a problem, or its plan breaks a rule: then every broken rule is listed.
pub(crate) fn run(args: &ReplayArgs) -> Result<Exit, Failure> {
    let read = input::read(&args.problem)?;
    let refuse = |why: String| {
        Failure::new(format!("{}: not a problem that can be replayed: {why}", read.name))
            .hint("make one with: stowage plan SNAPSHOT --dump-problem FILE")
    };
    let problem: Problem = serde_json::from_slice(&read.bytes).map_err(|e| refuse(e.to_string()))?;
    problem.check().map_err(refuse)?;
    let progress = Progress::start();
    let interrupt = Interrupt::listen();
    let started = Instant::now();
    let mut tell = |stage, done, of| progress.tell(stage, done, of);
    let solved = solve(&problem, &solve_options(args.gap.as_f64(), args.effort), interrupt.flag(), &mut tell);
    let seconds = started.elapsed().as_secs_f64();
    let interrupted = interrupt.finish();
    drop(progress);
    let solution = solved.map_err(|violations| {
        let lines: Vec<String> = violations.iter().map(|v| format!("  {}", v.what)).collect();
        Failure::defect(format!("the plan breaks {} rules:\n{}", lines.len(), lines.join("\n")))
    })?;
    let text = format!(
        "{} pods on {} new nodes, {} unschedulable; {} an hour{}, bound {}, gap {:.2}%\n\
         {} classes, {} bin kinds of which {} are useful, {} steps, {seconds:.3} s; every rule holds\n",
        thousands(problem.pods.len() as u64),
        thousands(solution.new_nodes.len() as u64),
        thousands(solution.unplaced.len() as u64),
        hourly(solution.cost),
        match (solution.fixed_cost() > Price::ZERO, solution.rebate() > Price::ZERO) {
            (true, true) => " with the fixed costs of nodes and what is paid for already",
            (true, false) => " with the fixed costs of nodes",
            (false, true) => " beside what is paid for already",
            (false, false) => "",
        },
        hourly(solution.bound),
        solution.gap() * 100.0,
        thousands(solution.stats.classes as u64),
        thousands(solution.stats.kinds as u64),
        thousands(solution.stats.useful_kinds as u64),
        thousands(solution.stats.steps),
    );
    terminal::print(text.as_bytes())?;
    Ok(if interrupted { Exit::Interrupted } else { Exit::Done })
}
