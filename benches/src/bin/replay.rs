//! Replays simulated days of a cluster with nobody consolidating, with Karpenter's method, and with Stowage's.
//!
//! ```sh
//! cargo run --release -p stowage-benches --bin replay                        # three days of a made-up company
//! cargo run --release -p stowage-benches --bin replay -- --pattern steady --days 7
//! cargo run --release -p stowage-benches --bin replay -- snapshot.json.gz --pods 1000
//! ```
//!
//! `docs/benchmarks.md` says what is replayed and what the figures mean.

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use stowage_benches::Workload;
use stowage_benches::replay::{Outcome, Pattern, Policy, Settings, market, run};
use stowage_cluster::{LowerOptions, ReadOptions, Source, lower, read};
use stowage_pricing::{Catalog, Settings as Pricing};
use stowage_solver::{Aims, Problem};

/// Replays simulated days of a cluster under three ways to consolidate it
#[derive(Parser)]
struct Args {
    /// Snapshot whose pending pods come and go; without it, a made-up company's
    file: Option<PathBuf>,

    /// Catalogue to buy from; without it, types of categories c, m and r of us-east-1, in three zones
    #[arg(long)]
    catalog: Option<PathBuf>,

    /// Pods at most
    #[arg(long, default_value_t = 600)]
    pods: usize,

    /// Days
    #[arg(long, default_value_t = 3)]
    days: u32,

    /// Minutes between two looks
    #[arg(long, default_value_t = 10)]
    tick: u32,

    /// What happens
    #[arg(long, value_enum, default_value_t = What::Days)]
    pattern: What,

    /// Minutes that a node is left alone after pods have come or gone
    #[arg(long, default_value_t = 10)]
    consolidate_after: u32,

    /// Percent of the nodes that may go between two looks
    #[arg(long, default_value_t = 10)]
    budget: u32,

    /// Another number makes other days
    #[arg(long, default_value_t = 7)]
    seed: u64,

    /// Policies
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Who::Nobody, Who::Karpenter, Who::Stowage])]
    policy: Vec<Who>,

    /// Minutes within which Stowage's steps pay for themselves
    #[arg(long)]
    payback: Option<u64>,

    /// What a step of Stowage's saves at least, in thousandths of what its nodes cost
    #[arg(long)]
    floor_share: Option<u32>,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// Services follow the hours of the day, jobs come and go
    Days,
    /// As many pods as ever, some of which are replaced
    Steady,
}

#[derive(Clone, Copy, ValueEnum)]
enum Who {
    Nobody,
    Karpenter,
    Stowage,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let workload = workload(&args)?;
    let pattern = match args.pattern {
        What::Days => Pattern::Days,
        What::Steady => Pattern::Steady,
    };
    let usual = Aims::default();
    let settings = Settings {
        minutes: args.days * 24 * 60,
        tick: args.tick.max(1),
        consolidate_after: args.consolidate_after,
        budget: args.budget,
        aims: Aims {
            payback: args.payback.map_or(usual.payback, |minutes| Some(minutes * 60)),
            floor_share: args.floor_share.unwrap_or(usual.floor_share),
            ..usual
        },
        ..Settings::default()
    };
    println!(
        "{} pods at most, {} days, a look every {} minutes, seed {}",
        workload.pods.len(),
        args.days,
        settings.tick,
        args.seed
    );
    println!("policy         day        $  evictions   of a day   removed  launched  unplaced  seconds");
    for who in &args.policy {
        let (name, policy) = match who {
            Who::Nobody => ("nobody", Policy::Nobody),
            Who::Karpenter => ("karpenter", Policy::Karpenter),
            Who::Stowage => ("stowage", Policy::Stowage),
        };
        let started = Instant::now();
        let out = run(&workload, pattern, args.seed, policy, &settings)?;
        tell(name, &out, settings.tick, started.elapsed().as_secs_f64());
    }
    Ok(())
}

fn tell(name: &str, out: &Outcome, tick: u32, seconds: f64) {
    let day = (24 * 60 / tick) as usize;
    for (number, hourly) in out.hourly.chunks(day).enumerate() {
        let dollars = hourly.iter().map(|price| price.dollars()).sum::<f64>() * f64::from(tick) / 60.0;
        let moved: u32 = out.evictions.iter().skip(number * day).take(day).sum();
        println!("{name:<12} {:>5} {dollars:>8.2} {moved:>10}", number + 1);
    }
    println!(
        "{name:<12}   all {:>8.2} {:>10} {:>10.1} {:>9} {:>9} {:>9} {seconds:>8.1}",
        out.dollars(tick),
        out.moved(),
        f64::from(out.moved()) / (out.hourly.len() as f64 / day as f64),
        out.removed,
        out.launched,
        out.unplaced,
    );
    let (mut bound, mut cost) = (0.0, 0.0);
    for (at, price) in &out.bounds {
        bound += price.dollars();
        cost += out.hourly.get(*at).map_or(0.0, |price| price.dollars());
    }
    if bound > 0.0 {
        println!(
            "{name:<12} bound {:>7.2} % of it: no arrangement costs less at any look",
            bound / cost * 100.0
        );
    }
}

fn workload(args: &Args) -> Result<Problem> {
    let catalog = match &args.catalog {
        Some(path) => {
            let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            Catalog::parse(&bytes, &path.display().to_string())?
        }
        None => Catalog::embedded("us-east-1", &Pricing::default())?,
    };
    let (name, bytes) = match &args.file {
        Some(path) => {
            let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            (path.display().to_string(), bytes)
        }
        None => ("made-up snapshot".to_owned(), Workload::new(args.pods, Workload::SEED).to_json()),
    };
    let snapshot = read(&[Source { name: &name, bytes: &bytes }], &ReadOptions::default())?;
    let mut problem = lower(&snapshot, &catalog, &LowerOptions::default())?.problem;
    problem.nodes.clear();
    // Every so many, where there are more than asked for.
    let every = problem.pods.len().div_ceil(args.pods.max(1)).max(1);
    let mut number = 0;
    problem.pods.retain(|_| {
        number += 1;
        number % every == 0
    });
    if args.catalog.is_none() && args.file.is_none() {
        market(&mut problem);
    }
    Ok(problem)
}
