//! Work by name: one piece of each name at a time, so many side by side, and none again before it has rested.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

/// Pieces of work that are under way or rest.
#[derive(Debug)]
pub(crate) struct Rounds {
    most: usize,
    running: JoinSet<(String, Duration)>,
    busy: HashSet<String>,
    /// Until when.
    resting: HashMap<String, Instant>,
}

impl Rounds {
    /// None yet; at most so many side by side.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, running: JoinSet::new(), busy: HashSet::new(), resting: HashMap::new() }
    }

    /// Whether a piece of this name may start.
    pub(crate) fn may_start(&self, name: &str) -> bool {
        self.busy.len() < self.most && !self.busy.contains(name) && !self.resting.contains_key(name)
    }

    /// Starts a piece. It ends with how long no other of its name may start.
    pub(crate) fn start(&mut self, name: &str, work: impl Future<Output = Duration> + Send + 'static) {
        let of = name.to_owned();
        self.busy.insert(of.clone());
        self.running.spawn(async move {
            let rest = work.await;
            (of, rest)
        });
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
            Some(ended) = self.running.join_next() => {
                // One that panicked has told so already, and may go on as if it had never been.
                if let Ok((name, rest)) = ended {
                    self.busy.remove(&name);
                    if !rest.is_zero() {
                        self.resting.insert(name, Instant::now() + rest);
                    }
                } else {
                    self.busy.clear();
                    self.running.abort_all();
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
}
