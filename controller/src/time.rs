//! Moments, as the API server writes them.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
pub(crate) use stowage_api::duration;

/// The moment that an object states; `None` where it states none, or none that can be read.
pub(crate) fn moment(stated: Option<&String>) -> Option<Timestamp> {
    stated?.parse().ok()
}

/// So much later; the last moment that can be told where there is none so late.
pub(crate) fn later(moment: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    moment.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// How long it is from one moment to another; nothing where the other is earlier.
pub(crate) fn until(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// How long to leave something alone that has failed so often: `first` after the first time, twice as long after each that follows,
/// and `most` at most.
pub(crate) fn doubled(times: u32, (first, most): (Duration, Duration)) -> Duration {
    first.saturating_mul(1 << times.saturating_sub(1).min(16)).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_do_not_overflow() {
        let now: Timestamp = "2026-07-01T10:00:00Z".parse().expect("a moment");
        assert_eq!(moment(Some(&"2026-07-01T10:00:00Z".to_owned())), Some(now));
        assert_eq!(moment(Some(&"soon".to_owned())), None);
        assert_eq!(later(now, Duration::MAX), Timestamp::MAX);
        assert_eq!(until(now, later(now, Duration::from_secs(5))), Duration::from_secs(5));
        assert_eq!(until(later(now, Duration::from_secs(5)), now), Duration::ZERO);
    }
}
