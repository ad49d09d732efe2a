//! Plan, explain and price the nodes of a captured Kubernetes cluster on AWS.
//!
//! ```text
//! args ─▶ input ─▶ plan: read, lower, solve ─▶ answer ─┬─▶ document ─▶ JSON, YAML
//!                                                      └─▶ render ───▶ table
//! ```
//!
//! This crate is the edge: files, terminal, signals and the clock are touched here and nowhere below.

mod answer;
mod args;
mod catalog;
mod consolidate;
mod document;
mod explain;
mod failure;
mod fargate_args;
#[cfg(test)]
mod fixture;
mod input;
mod interrupt;
mod live;
mod money;
mod node_args;
mod plan;
mod preference;
mod prices;
mod progress;
#[cfg(test)]
mod reason_tests;
mod render;
mod replay;
mod seen;
mod terminal;
mod text;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Args, Command};
use failure::{Exit, Failure};

fn main() -> ExitCode {
    let args = Args::parse();
    let color = args.color;
    run(args).unwrap_or_else(|failure| failure.report(color)).into()
}

fn run(args: Args) -> Result<Exit, Failure> {
    match args.command {
        Command::Plan(plan) => plan::run(&plan, args.color),
        Command::Explain(explain) => explain::run(&explain, args.color),
        Command::Replay(replay) => replay::run(&replay),
        Command::Catalog(catalog) => catalog::run(&catalog, args.color),
        Command::Prices(prices) => prices::run(&prices, args.color),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "stowage", &mut script);
            terminal::print(&script)?;
            Ok(Exit::Done)
        }
    }
}
