//! Moments, as the API server writes them.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

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

/// A length of time as Karpenter's API states it (`1h30m`, `720h`); `None` for `Never` and what is none.
pub(crate) fn duration(stated: &str) -> Option<Duration> {
    let mut rest = stated;
    let mut seconds = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        // Units are single letters: the schema admits no others.
        let unit = match rest.as_bytes()[digits] {
            b'h' => 3600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[digits + 1..];
    }
    (!stated.is_empty()).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_the_schema_admits_them() {
        let seconds = |stated: &str| duration(stated).map(|d| d.as_secs());
        assert_eq!(
            (seconds("720h"), seconds("1h30m"), seconds("45s")),
            (Some(2_592_000), Some(5_400), Some(45))
        );
        for none in ["", "Never", "10", "1d", "h", "99999999999999999999h", "é"] {
            assert_eq!(seconds(none), None, "{none}");
        }
    }

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
