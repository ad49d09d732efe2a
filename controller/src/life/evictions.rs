//! Pods whose eviction was refused: they are asked again, each time after a longer while. A budget that lets nobody go may do so
//! for hours, and asking costs the API server a look at all its pods.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::time::doubled;

/// After the first refusal it is asked again so soon, then after twice as long each time, up to so long. Karpenter's queue waits
/// from a tenth of a second up to ten seconds; the pods of a budget that opens wait for half of the last pause on average.
const PAUSE: (Duration, Duration) = (Duration::from_millis(900), Duration::from_secs(5));

/// Who was refused, by uid of the pod: how often, and when last. Shared by all nodes that are drained.
#[derive(Clone, Debug, Default)]
pub struct Evictions(Arc<Mutex<HashMap<String, (u32, Instant)>>>);

impl Evictions {
    /// Whether a pod may be asked to leave by now.
    pub fn is_due(&self, pod: &str, now: Instant) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(pod)
            .is_none_or(|(times, last)| now.saturating_duration_since(*last) >= doubled(*times, PAUSE))
    }

    /// A pod may not leave now. Those that nobody has asked for long are forgotten: they are gone.
    pub fn refused(&self, pod: &str, now: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (_, last)| now.saturating_duration_since(*last) < 10 * PAUSE.1);
        let (times, last) = all.entry(pod.to_owned()).or_insert((0, now));
        (*times, *last) = (times.saturating_add(1), now);
    }
}

/// What was answered, apart from the first that was not: the others were done all the same.
pub(super) fn apart<T, A, E>(asked: Vec<(T, Result<A, E>)>) -> (Vec<(T, A)>, Option<E>) {
    let (mut answered, mut failed) = (Vec::with_capacity(asked.len()), None);
    for (of, answer) in asked {
        match answer {
            Ok(answer) => answered.push((of, answer)),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    (answered, failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_fails_hides_no_other() {
        let (answered, failed) =
            apart(vec![("a", Ok(1)), ("b", Err("first")), ("c", Ok(3)), ("d", Err("second"))]);
        assert_eq!((answered, failed), (vec![("a", 1), ("c", 3)], Some("first")));
        assert_eq!(apart::<_, _, &str>(vec![("a", Ok(1))]), (vec![("a", 1)], None));
    }

    #[test]
    fn who_is_refused_is_asked_less_and_less_often() {
        let (evictions, start) = (Evictions::default(), Instant::now());
        let after = |millis| start + Duration::from_millis(millis);
        assert!(evictions.is_due("a", start));
        evictions.refused("a", start);
        assert!(!evictions.is_due("a", after(899)) && evictions.is_due("a", after(900)));
        assert!(evictions.is_due("b", start), "another pod");
        evictions.refused("a", after(1000));
        assert!(!evictions.is_due("a", after(2799)) && evictions.is_due("a", after(2800)));
        for _ in 0..40 {
            evictions.refused("a", after(1000));
        }
        assert!(!evictions.is_due("a", after(5999)) && evictions.is_due("a", after(6000)));
        evictions.refused("b", after(60_000));
        assert!(evictions.is_due("a", after(1000)), "it is forgotten");
    }
}
