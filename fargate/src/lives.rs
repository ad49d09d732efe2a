//! How long pods of workloads ran that have ended: what their next ones are expected to run.
//!
//! # Invariants
//! - Few are no measure: nothing is said of fewer than three.
//! - Of each workload the last fifteen are kept, of 20,000 workloads at most.

use std::collections::{BTreeMap, VecDeque};

use crate::workload::Workload;

/// Runs that are kept of each workload: enough for a median that one odd run does not move.
const KEPT: usize = 15;
/// Runs without which there is no median.
const LEAST: usize = 3;
/// Workloads that are kept.
const MOST: usize = 20_000;

/// Runs of workloads, in seconds, the last ones last; and when the last one was noted, counted by notes.
#[derive(Clone, Debug, Default)]
pub struct Lives {
    by_workload: BTreeMap<Box<str>, (u64, VecDeque<u64>)>,
    notes: u64,
}

impl Lives {
    /// A pod of a workload has ended after so many seconds.
    pub fn note(&mut self, workload: &Workload, seconds: u64) {
        self.notes += 1;
        let (noted, runs) = self.by_workload.entry(workload.hold_word().into_boxed_str()).or_default();
        *noted = self.notes;
        if runs.len() == KEPT {
            runs.pop_front();
        }
        runs.push_back(seconds);
        if self.by_workload.len() > MOST {
            let mut noted: Vec<u64> = self.by_workload.values().map(|(noted, _)| *noted).collect();
            noted.sort_unstable();
            // A sixteenth at once, so that a look over all is rare.
            let bar = noted.get(MOST / 16).copied().unwrap_or_default();
            self.by_workload.retain(|_, (noted, _)| *noted >= bar);
        }
    }

    /// The median of its runs, whatever template they were of; `None` while there are too few to say.
    pub fn observed(&self, workload: &Workload) -> Option<u64> {
        let (_, runs) = self.by_workload.get(workload.hold_word().as_str())?;
        if runs.len() < LEAST {
            return None;
        }
        let mut runs: Vec<u64> = runs.iter().copied().collect();
        runs.sort_unstable();
        runs.get(runs.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Root;

    fn workload(name: &str) -> Workload {
        let root = Root::Controller("CronJob".to_owned(), name.to_owned());
        Workload { namespace: "shop".to_owned(), root, template: "1".to_owned() }
    }

    #[test]
    fn the_median_of_the_last_runs() {
        let mut lives = Lives::default();
        let mut after = |seconds: &[u64]| {
            for seconds in seconds {
                lives.note(&workload("a"), *seconds);
            }
            lives.observed(&Workload { template: "2".to_owned(), ..workload("a") })
        };
        assert_eq!(after(&[10, 900]), None);
        assert_eq!(after(&[30]), Some(30));
        // What was long ago no longer counts.
        assert_eq!(after(&[60; KEPT]), Some(60));
        assert_eq!(lives.observed(&workload("b")), None);
    }

    #[test]
    fn of_too_many_those_go_that_were_noted_first() {
        let mut lives = Lives::default();
        for n in 0..=MOST {
            (0..3).for_each(|_| lives.note(&workload(&n.to_string()), 5));
        }
        assert!(lives.by_workload.len() <= MOST);
        assert_eq!(
            (lives.observed(&workload("0")), lives.observed(&workload(&MOST.to_string()))),
            (None, Some(5))
        );
    }
}
