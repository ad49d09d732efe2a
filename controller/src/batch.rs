//! When enough pods wait to plan for them: the window that batches them.
//!
//! ```text
//!  first pod        another        nothing for `idle`, or `most` since the first
//!     │────────────────│──────────────────│
//!   opens          stays open          complete ─▶ plan ─▶ closed until the next pod
//! ```
//!
//! # Invariants
//! - No clock: moments are handed in, as time since some start.
//! - A pod counts once in a window, however often it is told of.
//!
//! compat: karpenter v1.14, `pkg/controllers/provisioning/batcher`.

use std::collections::BTreeSet;
use std::time::Duration;

/// Batches pods that come one after the other.
#[derive(Clone, Debug)]
pub struct Window {
    /// Complete when for so long no new pod came.
    idle: Duration,
    /// Complete so long after the first pod at the latest.
    most: Duration,
    /// The pods of the open window.
    pods: BTreeSet<String>,
    /// When the first and the last of them came.
    span: Option<(Duration, Duration)>,
}

impl Window {
    /// A closed window.
    pub fn new(idle: Duration, most: Duration) -> Self {
        Self { idle, most, pods: BTreeSet::new(), span: None }
    }

    /// A pod waits, seen at `now`. The first opens the window.
    pub fn add(&mut self, pod: &str, now: Duration) {
        if self.pods.contains(pod) {
            return;
        }
        self.pods.insert(pod.to_owned());
        let first = self.span.map_or(now, |(first, _)| first);
        self.span = Some((first, now));
    }

    /// When the window will be complete if nothing else comes; `None` while it is closed.
    pub fn due(&self) -> Option<Duration> {
        self.span.map(|(first, last)| (last + self.idle).min(first + self.most))
    }

    /// Closes the window if it is complete, and says how many pods were in it.
    pub fn take(&mut self, now: Duration) -> Option<usize> {
        self.due().filter(|due| *due <= now)?;
        self.span = None;
        Some(std::mem::take(&mut self.pods).len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn window() -> Window {
        Window::new(at(1_000), at(10_000))
    }

    #[test]
    fn a_window_closes_when_no_more_pods_come() {
        let mut window = window();
        assert_eq!((window.due(), window.take(at(99_000))), (None, None));
        window.add("a", at(100));
        window.add("b", at(900));
        assert_eq!((window.due(), window.take(at(1_899))), (Some(at(1_900)), None));
        assert_eq!(window.take(at(1_900)), Some(2));
        assert_eq!((window.due(), window.take(at(5_000))), (None, None));
    }

    #[test]
    fn a_window_closes_although_more_pods_come() {
        let mut window = window();
        for (count, millis) in (0..).step_by(900).take(12).enumerate() {
            window.add(&format!("pod-{count}"), at(millis));
        }
        assert_eq!((window.due(), window.take(at(10_000))), (Some(at(10_000)), Some(12)));
    }

    #[test]
    fn a_pod_that_is_told_of_again_holds_nothing_up() {
        let mut window = window();
        window.add("a", at(0));
        window.add("a", at(800));
        assert_eq!(window.take(at(1_000)), Some(1));
        window.add("a", at(1_500));
        assert_eq!(window.due(), Some(at(2_500)), "in the next window it is new");
    }
}
