//! How fast pods are deleted to be made anew: so many a minute of a policy, and of a workload ever more seldom where that does
//! not help.
//!
//! # Invariants
//! - No more a minute than the policy says, whatever looks there are in between.
//! - Of a workload whose pods come back as they were, one is tried after 5 minutes, then after 10, and so on up to a day.
//! - A clock that goes back gives nothing.

use std::collections::BTreeMap;

/// So many a minute: a bucket that holds a minute's worth, and begins full of what a tenth of a minute is worth.
///
/// Why not full: after each new leader a full minute's worth would go at once.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    per_minute: u32,
    /// In sixtieths.
    tokens: u64,
    filled: u64,
}

impl Bucket {
    /// So many a minute, from now on.
    pub fn new(per_minute: u32, now: u64) -> Self {
        Self { per_minute, tokens: (u64::from(per_minute) * 6).max(60), filled: now }
    }

    /// Another rate from now on.
    pub fn set_rate(&mut self, per_minute: u32, now: u64) {
        self.fill(now);
        self.per_minute = per_minute;
        self.tokens = self.tokens.min(u64::from(per_minute) * 60);
    }

    fn fill(&mut self, now: u64) {
        let seconds = now.saturating_sub(self.filled);
        self.filled = self.filled.max(now);
        let rate = u64::from(self.per_minute);
        self.tokens = self.tokens.saturating_add(seconds.saturating_mul(rate)).min(rate * 60);
    }

    /// Whether there is one.
    pub fn has(&mut self, now: u64) -> bool {
        self.fill(now);
        self.tokens >= 60
    }

    /// Takes one, if there is one.
    pub fn take(&mut self, now: u64) -> bool {
        let some = self.has(now);
        if some {
            self.tokens -= 60;
        }
        some
    }
}

/// For how many seconds after a try in vain, the first time.
const FIRST_WAIT: u64 = 300;
const LONGEST_WAIT: u64 = 86_400;
/// Workloads that are kept; of more, those go that may be tried first again.
const MOST: usize = 10_000;

/// Workloads whose pods were made anew, and when that may be tried again.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    by_workload: BTreeMap<String, Try>,
}

#[derive(Clone, Copy, Debug)]
struct Try {
    in_vain: u32,
    again: u64,
}

impl Backoff {
    /// Whether pods of a workload may be deleted to be made anew. While tries are not in vain, as many as a policy's rate allows.
    pub fn is_open(&self, workload: &str, now: u64) -> bool {
        self.by_workload.get(workload).is_none_or(|tried| now >= tried.again)
    }

    /// Workloads of which no pods may be deleted now.
    pub fn closed(&self, now: u64) -> impl Iterator<Item = &str> {
        self.by_workload.iter().filter(move |(_, tried)| now < tried.again).map(|(word, _)| word.as_str())
    }

    /// A pod that was made anew is as the one before it: waiting, and on the side that it was to leave.
    pub fn in_vain(&mut self, workload: &str, now: u64) {
        let tried = self.by_workload.entry(workload.to_owned()).or_insert(Try { in_vain: 0, again: 0 });
        // All replicas of one try are one.
        if now < tried.again {
            return;
        }
        let wait = FIRST_WAIT.saturating_mul(1 << tried.in_vain.min(16)).min(LONGEST_WAIT);
        *tried = Try { in_vain: tried.in_vain.saturating_add(1), again: now.saturating_add(wait) };
        if self.by_workload.len() > MOST {
            let first =
                self.by_workload.iter().min_by_key(|(_, tried)| tried.again).map(|(word, _)| word.clone());
            first.map(|word| self.by_workload.remove(&word));
        }
    }

    /// A pod that was made anew got where it was to.
    pub fn worked(&mut self, workload: &str) {
        self.by_workload.remove(workload);
    }

    /// Forgets what was tried long ago.
    pub fn forget(&mut self, now: u64) {
        self.by_workload.retain(|_, tried| now < tried.again.saturating_add(LONGEST_WAIT));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_does_not_help_is_tried_ever_more_seldom() {
        let mut backoff = Backoff::default();
        assert!(backoff.is_open("w", 0));
        backoff.in_vain("w", 0);
        backoff.in_vain("w", 10);
        assert!(!backoff.is_open("w", 299) && backoff.is_open("w", 300) && backoff.is_open("other", 10));
        backoff.in_vain("w", 300);
        assert!(!backoff.is_open("w", 899) && backoff.is_open("w", 900));
        let mut now = 900;
        for _ in 0..20 {
            backoff.in_vain("w", now);
            now += LONGEST_WAIT;
            assert!(backoff.is_open("w", now), "a day at most");
        }
        backoff.worked("w");
        backoff.in_vain("w", now);
        assert!(backoff.is_open("w", now + FIRST_WAIT));
        backoff.forget(now + 2 * LONGEST_WAIT);
        assert!(backoff.by_workload.is_empty());
    }

    #[test]
    fn it_stays_small() {
        let mut backoff = Backoff::default();
        for n in 0..MOST as u64 + 3 {
            backoff.in_vain(&format!("w{n}"), n);
        }
        assert_eq!(backoff.by_workload.len(), MOST);
        assert!(!backoff.by_workload.contains_key("w0") && backoff.by_workload.contains_key("w3"));
    }

    proptest! {
        /// In no minute more than the rate and what the bucket held at first.
        #[test]
        fn no_more_than_the_rate(rate in 1_u32..100, waits in prop::collection::vec(0_u64..10, 1..300)) {
            let (mut now, mut taken) = (0, Vec::new());
            let mut bucket = Bucket::new(rate, now);
            for wait in waits {
                now += wait;
                if bucket.take(now) {
                    taken.push(now);
                }
            }
            for (at, begin) in taken.iter().enumerate() {
                let within = taken[at..].iter().take_while(|t| **t < begin + 60).count() as u32;
                prop_assert!(within <= 2 * rate, "{within} of {rate}");
            }
            let most = u64::from(rate) * now / 60 + u64::from(rate) / 10 + 1;
            prop_assert!(taken.len() as u64 <= most, "{} of {most}", taken.len());
        }
    }
}
