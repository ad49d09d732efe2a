//! Summaries: quantiles of what was seen lately, which the library that keeps the other metrics does not have.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::exposition::Exposition;

/// The quantiles that are told.
const QUANTILES: [(f64, &str); 5] = [(0.0, "0"), (0.5, "0.5"), (0.9, "0.9"), (0.99, "0.99"), (1.0, "1")];

/// They are of what was seen within so long, as those of Prometheus' own libraries are.
const RECENT: Duration = Duration::from_mins(10);

/// And of no more than so many.
const MOST: usize = 10_000;

/// What was seen of one thing, seconds.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    recent: VecDeque<(Instant, f64)>,
    sum: f64,
    count: u64,
}

impl Summary {
    /// It took so long.
    pub(crate) fn see(&mut self, seconds: f64) {
        self.forget();
        if self.recent.len() == MOST {
            self.recent.pop_front();
        }
        self.recent.push_back((Instant::now(), seconds));
        self.sum += seconds;
        self.count += 1;
    }

    /// Its samples, in a family that has begun.
    pub(crate) fn write(&mut self, out: &mut Exposition, label: Option<(&str, &str)>) {
        self.forget();
        let mut sorted: Vec<f64> = self.recent.iter().map(|(_, seconds)| *seconds).collect();
        sorted.sort_by(f64::total_cmp);
        for (share, quantile) in QUANTILES {
            let last = sorted.len().saturating_sub(1) as f64;
            let value = sorted.get((share * last).round() as usize).copied().unwrap_or(f64::NAN);
            out.sample(label.into_iter().chain([("quantile", quantile)]), value);
        }
        out.part("_sum", label, self.sum);
        out.part("_count", label, self.count as f64);
    }

    fn forget(&mut self) {
        while self.recent.front().is_some_and(|(at, _)| at.elapsed() > RECENT) {
            self.recent.pop_front();
        }
    }
}

/// One for each value of a label.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summaries(Arc<Mutex<BTreeMap<String, Summary>>>);

impl Summaries {
    /// It took so long for this value of the label.
    pub(crate) fn see(&self, value: &str, seconds: f64) {
        self.with(|all| all.entry(value.to_owned()).or_default().see(seconds));
    }

    /// The family of this name and label; nothing while nothing was seen.
    pub(crate) fn write(&self, out: &mut Exposition, (name, label): (&'static str, &str), help: &str) {
        self.with(|all| {
            if !all.is_empty() {
                out.summary(name, help);
            }
            for (value, summary) in all {
                summary.write(out, Some((label, value)));
            }
        });
    }

    fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<String, Summary>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_told_for_each_value() {
        let all = Summaries::default();
        let mut out = Exposition::default();
        all.write(&mut out, ("a", "pool"), "What it is.");
        assert_eq!(out.into_text(), "");
        for seconds in [1.0, 2.0, 9.0] {
            all.see("x", seconds);
        }
        let mut out = Exposition::default();
        all.write(&mut out, ("a", "pool"), "What it is.");
        let text = out.into_text();
        for line in ["a{pool=\"x\",quantile=\"0.5\"} 2", "a_sum{pool=\"x\"} 12", "a_count{pool=\"x\"} 3"] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
    }
}
