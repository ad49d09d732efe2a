//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Workloads of a run that names none: some of each kind, a few minutes in all.
const DEFAULT_WORKLOADS: [&str; 9] = [
    "services:500",
    "services:5000",
    "menu:5000",
    "mix:5000",
    "falkenauer-u:250",
    "falkenauer-t:249",
    "scholl-hard:200",
    "caprara-toth-1:200",
    "caprara-toth-8:200",
];

/// Plans the same clusters with several planners: Karpenter's scheduler, first-fit decreasing, and Stowage
#[derive(Parser, Debug)]
#[command(name = "compare", args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Snapshots, and vector packing instances (files ending in .vbp), to plan
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// Built-in workload, repeatable: mix, services, menu, falkenauer-u, falkenauer-t, scholl-hard, caprara-toth-1 to -10
    #[arg(long = "workload", value_name = "NAME[:PODS]", value_delimiter = ',')]
    pub(crate) named: Vec<String>,

    /// Catalogue for snapshots and for `services`; without it, the one of us-east-1 that Stowage comes with (for `services`,
    /// of that the categories c, m and r)
    #[arg(long, value_name = "FILE")]
    pub(crate) catalog: Option<PathBuf>,

    /// Planners to run
    #[arg(long = "planner", value_name = "NAME", value_delimiter = ',', value_enum, default_values_t = Planner::ALL)]
    pub(crate) planners: Vec<Planner>,

    /// Gap at which Stowage's balanced effort stops, as a fraction
    #[arg(long, default_value_t = 0.02)]
    pub(crate) gap: f64,

    /// Step budget of Stowage's efforts; without it, the library's own
    #[arg(long)]
    pub(crate) max_steps: Option<u64>,

    /// Plan so many times, and give the run of median time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) repeat: u32,

    /// Another number makes other random workloads
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,

    /// Program that checks each plan: run by python3 with CATALOG SNAPSHOT PLAN, exit code 0 for a good one
    #[arg(long, value_name = "FILE")]
    pub(crate) judge: Option<PathBuf>,

    /// Keep inputs and plans in this folder; without it, in the target folder
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// Format of the output
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    pub(crate) output: Form,
}

impl Args {
    /// What to plan: file names and names of built-in workloads.
    pub(crate) fn workloads(&self) -> Vec<Source> {
        let files = self.files.iter().cloned().map(Source::File);
        let named = self.named.iter().cloned().map(Source::Named);
        let asked: Vec<Source> = files.chain(named).collect();
        if asked.is_empty() {
            return DEFAULT_WORKLOADS.iter().map(|name| Source::Named((*name).to_owned())).collect();
        }
        asked
    }
}

/// Where a workload comes from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A snapshot or a `.vbp` file.
    File(PathBuf),
    /// Made here, as `name` or `name:pods`.
    Named(String),
}

/// Who plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Planner {
    /// Karpenter's provisioning scheduler
    Karpenter,
    /// First-fit decreasing
    Ffd,
    /// Stowage, least effort
    Quick,
    /// Stowage, default effort
    Balanced,
    /// Stowage, whole budget
    Thorough,
}

impl Planner {
    /// All, in the order of the table.
    pub(crate) const ALL: [Self; 5] =
        [Self::Karpenter, Self::Ffd, Self::Quick, Self::Balanced, Self::Thorough];

    /// The name in commands and files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Karpenter => "karpenter",
            Self::Ffd => "ffd",
            Self::Quick => "quick",
            Self::Balanced => "balanced",
            Self::Thorough => "thorough",
        }
    }
}

impl std::fmt::Display for Planner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// A table for each workload
    Table,
    /// One document
    Json,
}

/// What the runner asks of itself in a process of its own.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Plans once with one planner and prints the outcome
    #[command(hide = true)]
    PlanOnce(Once),
}

/// One planning by one planner.
#[derive(clap::Args, Debug)]
pub(crate) struct Once {
    /// Planner, of those written in Rust
    #[arg(value_enum)]
    pub(crate) planner: Planner,
    /// Snapshot
    pub(crate) snapshot: PathBuf,
    /// Catalogue
    pub(crate) catalog: PathBuf,
    /// Gap to stop at
    #[arg(long)]
    pub(crate) gap: f64,
    /// Step budget
    #[arg(long)]
    pub(crate) max_steps: Option<u64>,
}
