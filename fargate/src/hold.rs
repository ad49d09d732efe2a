//! Workloads that are kept on nodes, as Fargate has not started their pods in time.
//!
//! A hold is about Fargate and not about a template: a rollout does not end it, and neither does another price. It stands beside
//! the verdicts, which go on being found below it, and need not be there at all.
//!
//! # Invariants
//! - While a hold lasts, nothing of the workload goes to Fargate, whatever is found.
//! - Each next hold lasts twice as long, a day at most; a day after the last one ended all begins anew.
//! - Holds are 20,000 at most; of more, those go that end first.

use std::collections::BTreeMap;

use crate::workload::Workload;

/// For how many seconds the first time. An hour is longer than shortages of Fargate capacity mostly last, and short enough for
/// it to be noticed that they are over.
const FIRST: u64 = 3_600;
const LONGEST: u64 = 86_400;
/// For how many seconds after its end a hold is remembered.
const REMEMBERED: u64 = 86_400;
/// Holds that are kept: as many as verdicts where all of them fail. Some 100 bytes each.
const MOST: usize = 20_000;

/// How long a workload is kept on nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hold {
    /// Until then, in seconds since 1970.
    pub until: u64,
    /// How often that has been so in a row.
    pub strikes: u32,
}

impl Hold {
    /// Whether it lasts.
    pub fn lasts(self, now: u64) -> bool {
        now < self.until
    }
}

/// All holds, by [`Workload::hold_word`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Holds(BTreeMap<Box<str>, Hold>);

impl Holds {
    pub(crate) fn of(&self, workload: &Workload, now: u64) -> Option<Hold> {
        self.0.get(workload.hold_word().as_str()).copied().filter(|hold| hold.lasts(now))
    }

    /// Begins one; `None` where one lasts already.
    pub(crate) fn begin(&mut self, workload: &Workload, now: u64) -> Option<Hold> {
        let word = workload.hold_word();
        let strikes = match self.0.get(word.as_str()) {
            Some(old) if old.lasts(now) => return None,
            Some(old) if now < old.until.saturating_add(REMEMBERED) => old.strikes,
            _ => 0,
        };
        let lasts = FIRST.saturating_mul(1 << strikes.min(10)).min(LONGEST);
        let hold = Hold { until: now.saturating_add(lasts), strikes: strikes.saturating_add(1) };
        self.put(word, hold);
        Some(hold)
    }

    /// One that another one tells of: the one that lasts longer counts.
    pub(crate) fn put(&mut self, word: String, hold: Hold) {
        let known = self.0.entry(word.into_boxed_str()).or_default();
        *known = (*known).max(hold);
        if self.0.len() > MOST {
            let mut ends: Vec<u64> = self.0.values().map(|hold| hold.until).collect();
            ends.sort_unstable();
            // A sixteenth at once, so that a look over all is rare.
            let bar = ends.get(MOST / 16).copied().unwrap_or_default();
            self.0.retain(|_, hold| hold.until >= bar);
        }
    }

    pub(crate) fn forget(&mut self, now: u64) {
        self.0.retain(|_, hold| now < hold.until.saturating_add(REMEMBERED));
    }

    /// Those of these words.
    pub(crate) fn iter_of<'s>(&'s self, words: [&'s str; 2]) -> impl Iterator<Item = Hold> + 's {
        words.into_iter().filter_map(|word| self.0.get(word).copied())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Hold)> {
        self.0.iter().map(|(word, hold)| (&**word, *hold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Root;

    fn workload(root: Root, template: &str) -> Workload {
        Workload { namespace: "shop".to_owned(), root, template: template.to_owned() }
    }

    fn web(template: &str) -> Workload {
        workload(Root::Controller("Deployment".to_owned(), "web".to_owned()), template)
    }

    #[test]
    fn each_next_hold_is_longer_and_a_quiet_day_ends_that() {
        let mut holds = Holds::default();
        assert_eq!(holds.begin(&web("1"), 100), Some(Hold { until: 100 + FIRST, strikes: 1 }));
        assert_eq!(holds.begin(&web("1"), 101), None);
        let second = 100 + FIRST + 1;
        assert_eq!(holds.begin(&web("1"), second), Some(Hold { until: second + 2 * FIRST, strikes: 2 }));
        let later = second + 2 * FIRST + REMEMBERED;
        assert_eq!(holds.begin(&web("1"), later).unwrap().strikes, 1);
        holds.forget(later + FIRST + REMEMBERED);
        assert_eq!(holds.iter().count(), 0);
    }

    /// `kubectl rollout restart` makes another template, and Fargate no better.
    #[test]
    fn a_rollout_does_not_end_it_and_bare_pods_go_by_what_they_are() {
        let mut holds = Holds::default();
        holds.begin(&web("1"), 100);
        assert!(holds.of(&web("2"), 200).is_some() && holds.of(&web("2"), 100 + FIRST).is_none());
        holds.begin(&workload(Root::Bare, "1"), 100);
        assert!(holds.of(&workload(Root::Bare, "1"), 200).is_some());
        assert!(holds.of(&workload(Root::Bare, "2"), 200).is_none());
    }

    #[test]
    fn of_too_many_those_go_that_end_first() {
        let mut holds = Holds::default();
        for n in 0..MOST as u64 + 5 {
            holds.put(format!("shop/Deployment/w{n}@"), Hold { until: n, strikes: 1 });
        }
        assert!((MOST * 15 / 16..=MOST).contains(&holds.iter().count()));
        assert!(holds.iter().all(|(_, hold)| hold.until >= 5));
        assert!(holds.iter().any(|(_, hold)| hold.until == MOST as u64 + 4));
    }
}
