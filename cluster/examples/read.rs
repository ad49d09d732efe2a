//! Reads a snapshot and says how long that took: `cargo run --release -p stowage-cluster --example read -- FILE`.

use std::time::Instant;

use stowage_cluster::{LowerOptions, ReadOptions, Source, lower, read};
use stowage_pricing::{Catalog, Settings};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).ok_or("give a file")?;
    let start = Instant::now();
    let bytes = std::fs::read(&name)?;
    let loaded = start.elapsed();
    let snapshot = read(&[Source { name: &name, bytes: &bytes }], &ReadOptions::default())?;
    let done = start.elapsed();
    let peak = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = peak.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default().to_owned();
    eprintln!("{} pods; load {loaded:?}, read {:?}; {peak}", snapshot.pods.len(), done - loaded);
    let catalog = Catalog::embedded("us-east-1", &Settings::default())?;
    let start = Instant::now();
    let lowered = lower(&snapshot, &catalog, &LowerOptions::default())?;
    eprintln!(
        "lower {:?}: {} pods, {} specs",
        start.elapsed(),
        lowered.problem.pods.len(),
        lowered.problem.specs.len()
    );
    for note in &lowered.notes {
        eprintln!("note: {note}");
    }
    Ok(())
}
