//! Many clusters on several control planes at once, and what is told of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::check::{Disagreement, Outcome, check};
use super::plan::plan;
use super::rules;
use super::shrink::shrink;
use super::stage::Stage;
use crate::case::Case;
use crate::generate::generate;

/// From this many clusters on, each rule must be among them.
const ALL_RULES: usize = 300;

/// So long a failing cluster is made smaller. Mostly a minute is enough; a cluster whose every try waits for the scheduler
/// would take hours, and is kept as small as it is by then.
const PATIENCE: Duration = Duration::from_mins(2);

/// How much to try.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Clusters that failed once: a folder with those that were made small. They are tried first.
    pub regressions: Option<PathBuf>,
    /// The seeds of the clusters.
    pub seeds: Vec<u64>,
    /// Control planes at once. The scheduler waits for etcd and the API server much of the time, so more than there are
    /// cores.
    pub lanes: usize,
    /// Where failing clusters are written, as they are and made small.
    pub failures: PathBuf,
    /// So many failing clusters are not yet an error: those of defects that are known and not mended.
    pub tolerate: usize,
    /// How many failing clusters are made small, which takes up to [`PATIENCE`] each; the others are only told.
    pub shrink: usize,
    /// Whether clusters are written that do not fail, too.
    pub keep: bool,
}

/// Everything that is counted.
#[derive(Debug, Default)]
struct Report {
    clusters: u64,
    totals: Outcome,
    rules: BTreeMap<&'static str, u64>,
    failures: BTreeSet<String>,
}

impl Report {
    fn add(&mut self, name: &str, case: &Case, outcome: &Outcome) {
        self.clusters += 1;
        if let Ok(plan) = plan(case) {
            for rule in rules::exercised(case, &plan) {
                *self.rules.entry(rule).or_default() += 1;
            }
        }
        self.totals.placed += outcome.placed;
        self.totals.unplaced += outcome.unplaced;
        self.totals.unaided += outcome.unaided;
        self.totals.nodes += outcome.nodes;
        self.totals.extra += outcome.extra;
        if !outcome.disagreements.is_empty() {
            self.failures.insert(name.to_owned());
        }
    }

    fn print(&self, seconds: f64) {
        let Outcome { placed, unplaced, unaided, nodes, extra, .. } = self.totals;
        println!("\n{:>8}  clusters exercised", "");
        for rule in rules::all() {
            println!("{:>8}  {rule}", self.rules.get(rule).copied().unwrap_or_default());
        }
        println!(
            "\n{} clusters in {seconds:.0} s: {placed} pods planned on {nodes} new nodes and on existing ones, {unplaced} \
             pods without a place despite {extra} empty nodes",
            self.clusters
        );
        println!("unaided, {unaided} of the {placed} planned pods found a node");
    }
}

/// Tries many clusters and prints a report.
///
/// # Errors
/// Where a cluster fails, a rule was never exercised, or the control plane does not work.
pub fn run(settings: &Settings) -> Result<()> {
    let started = Instant::now();
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (report, shrunk) = (Mutex::new(Report::default()), AtomicUsize::new(0));
    let jobs = jobs(settings)?;
    let lane = || -> Result<()> {
        let mut stage = Stage::start()?;
        while !stop.load(Ordering::Relaxed) {
            let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            let (name, case) = job.open()?;
            if settings.keep {
                case.save(&settings.failures, &name)?;
            }
            let outcome = check(&mut stage, &case, true).inspect_err(|_| {
                stage.keep_logs();
                stop.store(true, Ordering::Relaxed);
            });
            if outcome.is_err() {
                case.save(&settings.failures, &name)?;
            }
            let outcome = outcome.with_context(|| name.clone())?;
            for disagreement in &outcome.disagreements {
                println!("{name}: {disagreement}");
            }
            if let (Some(first), Job::Seed(_)) = (outcome.disagreements.first(), job) {
                case.save(&settings.failures, &name)?;
                if shrunk.fetch_add(1, Ordering::Relaxed) < settings.shrink {
                    let small = make_small(&mut stage, &case, first).with_context(|| name.clone())?;
                    small.save(&settings.failures, &format!("{name}-small"))?;
                }
                println!("{name}: kept in {}", settings.failures.display());
            }
            let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
            report.add(&name, &case, &outcome);
            if report.clusters % 50 == 0 {
                println!("{} clusters after {} s", report.clusters, started.elapsed().as_secs());
            }
        }
        Ok(())
    };
    let results: Vec<Result<()>> = thread::scope(|scope| {
        let lanes: Vec<_> = (0..settings.lanes.max(1)).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().map(|l| l.join().unwrap_or_else(|_| bail!("a lane panicked"))).collect()
    });
    let report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.print(started.elapsed().as_secs_f64());
    results.into_iter().collect::<Result<Vec<()>>>()?;
    let never: Vec<&str> = rules::all().into_iter().filter(|rule| !report.rules.contains_key(rule)).collect();
    if !report.failures.is_empty() {
        let failed: Vec<&str> = report.failures.iter().map(String::as_str).collect();
        let what = format!("{} clusters failed: {}", failed.len(), failed.join(", "));
        if failed.len() > settings.tolerate {
            bail!("{what}; {} would be tolerated", settings.tolerate);
        }
        println!("{what}: tolerated");
    }
    // A few seeds that someone wants to look at need not be all there is.
    if !never.is_empty() && settings.seeds.len() >= ALL_RULES {
        bail!("never exercised: {}", never.join("; "));
    }
    Ok(())
}

/// A cluster to try.
enum Job {
    /// Made from a seed.
    Seed(u64),
    /// Read from a file.
    File(PathBuf),
}

impl Job {
    /// Its name and the cluster.
    fn open(&self) -> Result<(String, Case)> {
        match self {
            Self::Seed(seed) => Ok((format!("seed-{seed}"), generate(*seed))),
            Self::File(path) => {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                Ok((name, Case::load(path)?))
            }
        }
    }
}

fn jobs(settings: &Settings) -> Result<Vec<Job>> {
    let mut files = Vec::new();
    if let Some(folder) = &settings.regressions {
        let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.to_string_lossy();
            if name.ends_with(".json") && !name.ends_with(".catalog.json") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files.into_iter().map(Job::File).chain(settings.seeds.iter().copied().map(Job::Seed)).collect())
}

fn make_small(stage: &mut Stage, case: &Case, first: &Disagreement) -> Result<Case> {
    let started = Instant::now();
    shrink(case, &mut |case| {
        if started.elapsed() > PATIENCE {
            return Ok(false);
        }
        let Ok(outcome) = check(stage, case, false) else {
            // The API server refuses a cluster that lost what it needs.
            stage.clear(case)?;
            return Ok(false);
        };
        Ok(outcome.disagreements.iter().any(|d| d.kind() == first.kind()))
    })
}

/// Tries a cluster from a file that an earlier run wrote, and makes it small if asked to.
///
/// # Errors
/// Where it fails, or cannot be tried.
pub fn replay(path: &Path, small: bool) -> Result<()> {
    let case = Case::load(path)?;
    let mut stage = Stage::start()?;
    let outcome = check(&mut stage, &case, true)?;
    for disagreement in &outcome.disagreements {
        println!("{disagreement}");
    }
    if let Ok(plan) = plan(&case) {
        println!("{plan}");
    }
    println!("{} of {} planned pods found a node unaided", outcome.unaided, outcome.placed);
    let Some(first) = outcome.disagreements.first() else { return Ok(()) };
    if small {
        make_small(&mut stage, &case, first)?
            .save(path.parent().unwrap_or_else(|| Path::new(".")), "small")?;
    }
    bail!("{} fails", path.display())
}
