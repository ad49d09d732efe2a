//! Work by name: one piece of each name at a time, so many side by side, and none again before it has rested.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tokio::time::Instant;

/// Pieces of work that are under way or rest.
#[derive(Debug)]
pub(crate) struct Rounds {
    most: usize,
    running: JoinSet<Duration>,
    /// By task, as one that panicked has nothing else to be known by.
    busy: HashMap<Id, String>,
    /// Until when.
    resting: HashMap<String, Instant>,
    /// The how manieth piece each name has begun last.
    began: HashMap<String, u64>,
    pieces: u64,
}

impl Rounds {
    /// None yet; at most so many side by side.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            running: JoinSet::new(),
            busy: HashMap::new(),
            resting: HashMap::new(),
            began: HashMap::new(),
            pieces: 0,
        }
    }

    /// These names in the order in which they should start: who has waited longest first, so that those that fail again and again
    /// keep nobody from his first try. Forgets all others.
    pub(crate) fn in_turn<'n>(&mut self, names: impl IntoIterator<Item = &'n str>) -> Vec<&'n str> {
        let mut names: Vec<&str> = names.into_iter().collect();
        let there: HashSet<&str> = names.iter().copied().collect();
        self.began.retain(|name, _| there.contains(name.as_str()));
        names.sort_by_key(|name| self.began.get(*name).copied().unwrap_or(0));
        names
    }

    /// Whether a piece of this name may start.
    pub(crate) fn may_start(&self, name: &str) -> bool {
        self.busy.len() < self.most
            && self.busy.values().all(|busy| busy != name)
            // Who waits for turns is not always there when a rest is over.
            && self.resting.get(name).is_none_or(|until| *until <= Instant::now())
    }

    /// Starts a piece. It ends with how long no other of its name may start.
    pub(crate) fn start(&mut self, name: &str, work: impl Future<Output = Duration> + Send + 'static) {
        let task = self.running.spawn(work);
        self.busy.insert(task.id(), name.to_owned());
        self.pieces += 1;
        self.began.insert(name.to_owned(), self.pieces);
    }

    /// Waits until a piece has ended, or has rested. For ever where there is none.
    pub(crate) async fn turn(&mut self) {
        let now = Instant::now();
        let first = self.resting.values().min().copied();
        let rested = async {
            match first {
                Some(first) => tokio::time::sleep(first.saturating_duration_since(now)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(ended) = self.running.join_next_with_id() => {
                // One that panicked has told so already, and may start again at once.
                let (task, rest) = ended.unwrap_or_else(|error| (error.id(), Duration::ZERO));
                if let Some(name) = self.busy.remove(&task)
                    && !rest.is_zero()
                {
                    self.resting.insert(name, Instant::now() + rest);
                }
            }
            () = rested => {}
        }
        let now = Instant::now();
        self.resting.retain(|_, until| *until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_fails_again_and_again_keeps_nobody_from_a_first_try() {
        let mut rounds = Rounds::new(1);
        for _ in 0..2 {
            assert_eq!(rounds.in_turn(["a", "b"])[0], "a");
            rounds.start("a", async { Duration::from_millis(1) });
            rounds.turn().await;
            assert_eq!(rounds.in_turn(["a", "b"]), ["b", "a"]);
            rounds.start("b", async { Duration::from_millis(1) });
            rounds.turn().await;
        }
        assert_eq!(rounds.in_turn(["a", "b", "c"]), ["c", "a", "b"]);
        assert_eq!(
            (rounds.in_turn(["b"]), rounds.in_turn(["a", "b"])),
            (vec!["b"], vec!["a", "b"]),
            "a was forgotten"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_works_once_at_a_time_and_rests() {
        let mut rounds = Rounds::new(2);
        rounds.start("a", async { Duration::from_millis(50) });
        assert!(!rounds.may_start("a") && rounds.may_start("b"));
        rounds.start("b", std::future::pending());
        assert!(!rounds.may_start("c"), "two are enough");
        rounds.turn().await;
        assert!(!rounds.may_start("a") && rounds.may_start("c"), "a rests");
        rounds.turn().await;
        assert!(rounds.may_start("a") && !rounds.may_start("b"));
    }
    #[tokio::test(start_paused = true)]
    async fn one_that_panics_takes_no_other_with_it() {
        let mut rounds = Rounds::new(2);
        rounds.start("a", async { panic!("on purpose") });
        rounds.start("b", async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Duration::ZERO
        });
        rounds.turn().await;
        assert!(rounds.may_start("a") && !rounds.may_start("b"), "b goes on");
        rounds.turn().await;
        assert!(rounds.may_start("b"));
    }
}
