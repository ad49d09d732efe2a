//! Has plans checked by a program of another author.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::workload::Workload;

/// What the judge says of one plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No violation.
    Good,
    /// Its last line: how many violations.
    Bad(String),
    /// It could not read the files, or would not run.
    Unreadable(String),
}

impl Verdict {
    pub(crate) fn passes(&self) -> bool {
        *self == Self::Good
    }

    /// For a column of a table.
    pub(crate) fn short(&self) -> String {
        match self {
            Self::Good => "passes".to_owned(),
            // "judge: …, 3 violations"
            Self::Bad(line) => line.rsplit(", ").next().unwrap_or(line).to_owned(),
            Self::Unreadable(_) => "cannot tell".to_owned(),
        }
    }

    /// In full.
    pub(crate) fn long(&self) -> String {
        match self {
            Self::Good => "passes".to_owned(),
            Self::Bad(line) | Self::Unreadable(line) => line.clone(),
        }
    }
}

/// Runs the judge on a plan.
pub(crate) fn judge(judge: &Path, workload: &Workload, plan: &PathBuf) -> anyhow::Result<Verdict> {
    let run = Command::new("python3")
        .arg(judge)
        .args([&workload.catalog, &workload.snapshot, plan])
        .arg("--quiet")
        .output()
        .context("cannot run python3 for the judge")?;
    let said = String::from_utf8_lossy(if run.stdout.is_empty() { &run.stderr } else { &run.stdout });
    let last = said.lines().last().unwrap_or("it said nothing").to_owned();
    Ok(match run.status.code() {
        Some(0) => Verdict::Good,
        Some(1) => Verdict::Bad(last),
        _ => Verdict::Unreadable(last),
    })
}
