//! The side-by-side runner.
//!
//! ```text
//! workload ─▶ snapshot + catalogue files ─┬─▶ process: Karpenter's scheduler (Go) ──┐
//!                                         ├─▶ process: first-fit decreasing ────────┤
//!                                         └─▶ process: Stowage, three efforts ──────┴─▶ Outcome ─▶ judge ─▶ table, JSON
//! ```
//!
//! # Invariants
//! - Every planner reads the same two files, in a process of its own, one after the other: peak memory is its own, and
//!   none takes another's processor time.
//! - Seconds are those of planning, from objects in memory to a finished plan. Reading files is not in them.
//! - No planner judges itself: an outside judge checks every plan from the files alone.

mod args;
mod classic;
mod first_fit;
mod judge;
mod manifest;
mod market;
mod menu;
mod mix;
mod once;
mod outcome;
mod peer;
#[path = "../random.rs"]
mod random;
mod report;
mod rules;
mod run;
mod vbp;
mod workload;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command, Form};

/// Exit code for bad usage or input, as clap's own.
const BAD_INPUT: u8 = 2;

/// Runs what the command line asks for.
pub(crate) fn main() -> ExitCode {
    let args = Args::parse();
    match perform(&args) {
        Ok(all_good) => ExitCode::from(u8::from(!all_good)),
        // Whoever reads may stop early, as `head` does.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(BAD_INPUT)
        }
    }
}

/// Whether every plan passed whatever judged it.
fn perform(args: &Args) -> anyhow::Result<bool> {
    if let Some(Command::PlanOnce(once)) = &args.command {
        let outcome = once::plan(once)?;
        write(&serde_json::to_string(&outcome)?)?;
        return Ok(true);
    }
    let mut all_good = true;
    let mut results = Vec::new();
    if args.output == Form::Table {
        write(&report::machine())?;
    }
    for name in args.workloads() {
        let result = run::compare(&name, args)?;
        all_good &= result.rows.iter().all(|row| row.verdict.as_ref().is_none_or(judge::Verdict::passes));
        match args.output {
            // A table at a time: the whole may take minutes.
            Form::Table => write(&report::table(&result))?,
            Form::Json => results.push(report::json(&result)),
        }
    }
    if args.output == Form::Json {
        let document = serde_json::json!({"machine": report::machine().trim(), "workloads": results});
        write(&serde_json::to_string_pretty(&document)?)?;
    }
    Ok(all_good)
}

fn write(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}
