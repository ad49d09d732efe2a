//! Plans made-up clusters and tries the plans on the real kube-scheduler.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Parser;
use stowage_e2e::differential::{Settings, replay, run};

/// Plans made-up clusters and tries the plans on the real kube-scheduler.
#[derive(Parser)]
struct Args {
    /// How many clusters
    #[arg(long, default_value_t = 500)]
    clusters: u64,
    /// The seed of the first; the others follow
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// These seeds instead, separated by commas
    #[arg(long, value_delimiter = ',')]
    only: Vec<u64>,
    /// Control planes at once
    #[arg(long, default_value_t = 4)]
    lanes: usize,
    /// Folder for failing clusters, as they are and made small
    #[arg(long, default_value = "failures")]
    failures: PathBuf,
    /// So many failing clusters are not yet an error
    #[arg(long, default_value_t = 0)]
    tolerate: usize,
    /// How many failing clusters to make small
    #[arg(long, default_value_t = 3)]
    shrink: usize,
    /// Write clusters that do not fail, too
    #[arg(long)]
    keep: bool,
    /// Try this cluster instead, which an earlier run wrote
    #[arg(long)]
    replay: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let Args { clusters, seed, only, lanes, failures, tolerate, shrink, keep, replay: path } = args;
    let regressions = only.is_empty().then(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions"));
    let seeds = if only.is_empty() { (seed..).take(clusters as usize).collect() } else { only };
    match path {
        Some(path) => replay(&path, shrink > 0),
        None => run(&Settings { regressions, seeds, lanes, failures, tolerate, shrink, keep }),
    }
}
