//! Comparisons as tables and as JSON.

use std::fs;
use std::thread;

use serde_json::{Value, json};

use super::args::Planner;
use super::judge::Verdict;
use super::outcome::{Outcome, gap};
use super::run::{Comparison, Row};

const MIB: f64 = 1024.0 * 1024.0;
const NONE: &str = "–";
const HEAD: [&str; 11] = [
    "planner",
    "$/h",
    "bound",
    "gap",
    "over best bound",
    "seconds",
    "pods/s",
    "peak MiB",
    "nodes",
    "left out",
    "judge",
];

/// What the figures were measured on.
pub(crate) fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": ").map(|(_, m)| m));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    // What else ran shows in every timing.
    let busy = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let busy = busy.split(' ').next().filter(|load| !load.is_empty()).unwrap_or("unknown");
    format!(
        "{threads} hardware threads of {}, {} {}, load average {busy}\n",
        model.unwrap_or("an unknown processor"),
        std::env::consts::OS,
        std::env::consts::ARCH
    )
}

/// One workload for people.
pub(crate) fn table(comparison: &Comparison) -> String {
    let best = comparison.bound();
    let mut lines: Vec<Vec<String>> = vec![HEAD.iter().map(|h| (*h).to_owned()).collect()];
    lines.extend(comparison.rows.iter().map(|row| cells(row, best)));
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|c| lines.iter().map(|line| line[c].chars().count()).max().unwrap_or(0))
        .collect();

    let mut text = title(comparison, best);
    for line in &lines {
        let padded = line.iter().zip(&widths).enumerate().map(|(at, (cell, width))| {
            let pad = " ".repeat(width - cell.chars().count());
            if at == 0 || at == HEAD.len() - 1 { format!("{cell}{pad}") } else { format!("{pad}{cell}") }
        });
        text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    for line in remarks(comparison) {
        text.extend(["  ", line.as_str(), "\n"]);
    }
    text
}

fn title(comparison: &Comparison, best: Option<f64>) -> String {
    let mut parts = vec![format!("{} pods", comparison.pods())];
    parts.extend(comparison.optimum.map(|optimum| format!("optimum {optimum:.2} $/h")));
    parts.extend(best.map(|bound| format!("best proven bound {bound:.4} $/h")));
    format!("{}: {}\n", comparison.workload, parts.join(", "))
}

fn cells(row: &Row, best: Option<f64>) -> Vec<String> {
    let outcome = match &row.outcome {
        Ok(outcome) => outcome,
        Err(why) => {
            // Long reasons go below the table.
            let short = if why.chars().count() > 12 { NONE } else { why };
            let mut cells = vec![short.to_owned(); HEAD.len()];
            row.planner.name().clone_into(&mut cells[0]);
            return cells;
        }
    };
    let percent = |gap: Option<f64>| gap.map_or_else(|| NONE.to_owned(), |g| format!("{:.2} %", g * 100.0));
    vec![
        outcome.planner.clone(),
        format!("{:.4}", outcome.cost()),
        outcome.bound.map_or_else(|| NONE.to_owned(), |b| format!("{b:.4}")),
        percent(outcome.gap()),
        percent(best.map(|b| gap(outcome.cost(), b))),
        three_digits(outcome.solve_seconds),
        format!("{:.0}", rate(outcome)),
        if outcome.peak_bytes == 0 {
            NONE.to_owned()
        } else {
            format!("{:.1}", outcome.peak_bytes as f64 / MIB)
        },
        outcome.nodes.len().to_string(),
        outcome.unschedulable.len().to_string(),
        row.verdict.as_ref().map_or_else(|| NONE.to_owned(), Verdict::short),
    ]
}

/// All that a timing is worth.
fn three_digits(value: f64) -> String {
    let decimals = match value {
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        v if v >= 0.1 => 3,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

fn rate(outcome: &Outcome) -> f64 {
    outcome.pods() as f64 / outcome.solve_seconds.max(1e-9)
}

/// What a reader must know beside the figures, and Stowage against Karpenter.
fn remarks(comparison: &Comparison) -> Vec<String> {
    let mut lines = Vec::new();
    let of = |planner: Planner| {
        let row = comparison.rows.iter().find(|row| row.planner == planner)?;
        row.outcome.as_ref().ok()
    };
    if let Some(theirs) = of(Planner::Karpenter) {
        for planner in [Planner::Quick, Planner::Balanced, Planner::Thorough] {
            lines.extend(of(planner).map(|ours| against(ours, theirs)));
        }
    }
    for row in &comparison.rows {
        match &row.outcome {
            Err(why) => lines.push(format!("{}: {why}", row.planner)),
            Ok(outcome) => {
                let name = &outcome.planner;
                lines.extend(outcome.notes.iter().map(|note| format!("{name}: {note}")));
                if outcome.timed_out {
                    lines.push(format!("{name}: stopped by its time limit"));
                }
                if !outcome.peak_from_solve {
                    lines.push(format!("{name}: peak memory includes reading the files"));
                }
            }
        }
        lines.extend(
            row.verdict.iter().filter(|v| !v.passes()).map(|v| format!("{}: {}", row.planner, v.long())),
        );
    }
    if comparison.bound().is_none()
        && comparison.rows.iter().any(|r| r.outcome.as_ref().is_ok_and(|o| o.bound.is_some()))
    {
        lines.push("bounds are for different pods, so the best of them is none for all".to_owned());
    }
    lines
}

fn against(ours: &Outcome, theirs: &Outcome) -> String {
    let (mine, other) = (ours.cost(), theirs.cost());
    let dearer = if other == 0.0 { 0.0 } else { (mine / other - 1.0) * 100.0 };
    let memory = match (ours.peak_bytes, theirs.peak_bytes) {
        (0, _) | (_, 0) => String::new(),
        (mine, other) => format!(", {:.2} of its memory", mine as f64 / other as f64),
    };
    format!(
        "{} against {}: {dearer:+.1} % cost, {} times its pods per second{memory}",
        ours.planner,
        theirs.planner,
        three_digits(rate(ours) / rate(theirs))
    )
}

/// One workload for programs. Seconds of all runs are there, to see the noise.
pub(crate) fn json(comparison: &Comparison) -> Value {
    let best = comparison.bound();
    let rows: Vec<Value> = comparison
        .rows
        .iter()
        .map(|row| match &row.outcome {
            Err(why) => json!({"planner": row.planner.name(), "missing": why}),
            Ok(outcome) => json!({
                "planner": row.planner.name(),
                "version": outcome.planner,
                "hourlyCost": outcome.cost(),
                "lowerBound": outcome.bound,
                "gap": outcome.gap().filter(|g| g.is_finite()),
                "overBestBound": best.map(|b| gap(outcome.cost(), b)).filter(|g| g.is_finite()),
                "status": outcome.status,
                "seconds": outcome.solve_seconds,
                "secondsOfAllRuns": row.seconds,
                "secondsByStage": outcome.stages,
                "setUpSeconds": outcome.set_up_seconds,
                "timedOut": outcome.timed_out,
                "podsPerSecond": rate(outcome),
                "startBytes": outcome.start_bytes,
                "peakBytes": outcome.peak_bytes,
                "peakFromSolve": outcome.peak_from_solve,
                "nodes": outcome.nodes.len(),
                "leftOut": outcome.unschedulable.len(),
                "notes": outcome.notes,
                "judge": row.verdict.as_ref().map(Verdict::long),
            }),
        })
        .collect();
    json!({
        "workload": comparison.workload, "pods": comparison.pods(), "optimum": comparison.optimum,
        "bestBound": best, "planners": rows,
    })
}

#[cfg(test)]
mod tests {
    use super::super::outcome::Node;
    use super::*;

    fn comparison() -> Comparison {
        let row = |planner, bound| Row {
            planner,
            outcome: Ok(Outcome {
                planner: planner.to_string(),
                solve_seconds: 0.5,
                peak_bytes: 3 << 20,
                peak_from_solve: true,
                bound,
                nodes: vec![Node { price: 2.0, pods: vec!["a/b".to_owned()], ..Node::default() }],
                ..Outcome::default()
            }),
            seconds: vec![0.5],
            verdict: Some(Verdict::Good),
        };
        let missing = Row {
            planner: Planner::Karpenter,
            outcome: Err("no Go".to_owned()),
            seconds: Vec::new(),
            verdict: None,
        };
        Comparison {
            workload: "tiny".to_owned(),
            optimum: None,
            rows: vec![missing, row(Planner::Ffd, None), row(Planner::Quick, Some(1.6))],
        }
    }

    #[test]
    fn a_table_says_what_is_missing() {
        let text = table(&comparison());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "tiny: 1 pods, best proven bound 1.6000 $/h");
        assert!(lines[2].starts_with("karpenter") && lines[2].ends_with("no Go"), "{text}");
        assert_eq!(
            lines[4].split_whitespace().collect::<Vec<_>>(),
            [
                "quick", "2.0000", "1.6000", "25.00", "%", "25.00", "%", "0.500", "2", "3.0", "1", "0",
                "passes"
            ]
        );
        assert_eq!(lines[5], "  karpenter: no Go");
    }

    #[test]
    fn json_has_no_number_where_there_is_none() {
        let value = json(&comparison());
        assert_eq!(value["planners"][0], json!({"planner": "karpenter", "missing": "no Go"}));
        assert_eq!(value["planners"][1]["lowerBound"], Value::Null);
        assert_eq!(value["planners"][2]["gap"], value["planners"][1]["overBestBound"]);
    }

    #[test]
    fn timings_have_three_digits() {
        assert_eq!(
            [12.345, 1.2345, 0.12345, 0.012_345].map(three_digits),
            ["12.3", "1.23", "0.123", "0.0123"]
        );
    }
}
