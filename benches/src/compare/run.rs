//! Runs the planners on one workload, each in a process of its own, one after the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::args::{Args, Planner, Source};
use super::judge::{self, Verdict};
use super::outcome::Outcome;
use super::peer;
use super::workload::{Workload, put};

/// All planners on one workload.
pub(crate) struct Comparison {
    pub(crate) workload: String,
    pub(crate) optimum: Option<f64>,
    pub(crate) rows: Vec<Row>,
}

/// One planner on one workload.
pub(crate) struct Row {
    pub(crate) planner: Planner,
    /// The run of median time, or why there is none.
    pub(crate) outcome: Result<Outcome, String>,
    /// Seconds of every run, ascending.
    pub(crate) seconds: Vec<f64>,
    pub(crate) verdict: Option<Verdict>,
}

impl Comparison {
    /// The best bound that any planner proved, unless they left different pods out.
    pub(crate) fn bound(&self) -> Option<f64> {
        let outcomes = || self.rows.iter().filter_map(|row| row.outcome.as_ref().ok());
        let proven = outcomes().filter(|o| o.bound.is_some());
        let left_out = proven.clone().map(|o| o.unschedulable.keys()).next();
        let alike = left_out.is_none_or(|left| {
            proven
                .clone()
                .all(|o| o.unschedulable.len() == left.len() && o.unschedulable.keys().eq(left.clone()))
        });
        proven.filter_map(|o| o.bound).reduce(f64::max).filter(|_| alike)
    }

    /// Pods that wait.
    pub(crate) fn pods(&self) -> usize {
        self.rows.iter().filter_map(|row| row.outcome.as_ref().ok()).map(Outcome::pods).max().unwrap_or(0)
    }
}

/// Plans `source` with every planner that `args` asks for.
pub(crate) fn compare(source: &Source, args: &Args) -> anyhow::Result<Comparison> {
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => peer::target_dir()?.join("side-by-side"),
    };
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let workload = Workload::prepare(source, args, &dir)?;
    let rows = args.planners.iter().map(|planner| row(*planner, &workload, args, &dir));
    Ok(Comparison {
        rows: rows.collect::<anyhow::Result<_>>()?,
        optimum: workload.optimum,
        workload: workload.name,
    })
}

fn row(planner: Planner, workload: &Workload, args: &Args, dir: &Path) -> anyhow::Result<Row> {
    let mut command = match command(planner, workload, args)? {
        Ok(command) => command,
        Err(why) => return Ok(Row { planner, outcome: Err(why), seconds: Vec::new(), verdict: None }),
    };
    let mut outcomes =
        match (0..args.repeat).map(|_| planned(&mut command)).collect::<anyhow::Result<Vec<_>>>() {
            Ok(outcomes) => outcomes,
            // The Go program is a stranger; what stops our own stops the run.
            Err(error) if planner == Planner::Karpenter => {
                let why = format!("failed: {error:#}");
                return Ok(Row { planner, outcome: Err(why), seconds: Vec::new(), verdict: None });
            }
            Err(error) => return Err(error),
        };
    outcomes.sort_by(|a, b| a.solve_seconds.total_cmp(&b.solve_seconds));
    let seconds = outcomes.iter().map(|o| o.solve_seconds).collect();
    let outcome = outcomes.swap_remove(outcomes.len() / 2);

    let plan = put(dir, &workload.name, &format!("{planner}.json"), &outcome.document().to_string())?;
    let verdict = args.judge.as_deref().map(|path| judge::judge(path, workload, &plan)).transpose()?;
    Ok(Row { planner, outcome: Ok(outcome), seconds, verdict })
}

/// What to run; the inner error is why this planner cannot be had here.
fn command(planner: Planner, workload: &Workload, args: &Args) -> anyhow::Result<Result<Command, String>> {
    let inputs: [&PathBuf; 2] = [&workload.snapshot, &workload.catalog];
    if planner == Planner::Karpenter {
        return Ok(peer::built().clone().map(|program| {
            let mut command = Command::new(program);
            command.args(inputs);
            command
        }));
    }
    let mut command = Command::new(std::env::current_exe().context("cannot find this program's own file")?);
    command.args(["plan-once", planner.name()]).args(inputs).args(["--gap", &args.gap.to_string()]);
    if let Some(steps) = args.max_steps {
        command.args(["--max-steps", &steps.to_string()]);
    }
    Ok(Ok(command))
}

fn planned(command: &mut Command) -> anyhow::Result<Outcome> {
    let program = command.get_program().to_string_lossy().into_owned();
    let run = command.output().with_context(|| format!("cannot run {program}"))?;
    let said = String::from_utf8_lossy(&run.stderr);
    ensure!(run.status.success(), "{}", said.trim().strip_prefix("error: ").unwrap_or_else(|| said.trim()));
    serde_json::from_slice(&run.stdout).with_context(|| format!("cannot read what {program} printed"))
}
