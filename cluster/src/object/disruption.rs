//! `PodDisruptionBudgets`: how many pods of a workload must stay up.
//!
//! Kubernetes' source of truth: the disruption controller, and the eviction subresource of pods.

use serde::Deserialize;
use stowage_api::{IntOrText, ObjectMeta, null_is_default};

use super::selector::LabelSelector;

/// How many pods of a workload must stay up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PodDisruptionBudget {
    /// Metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: DisruptionBudgetSpec,
    /// Status.
    #[serde(deserialize_with = "null_is_default")]
    pub status: DisruptionBudgetStatus,
}

/// Specification of a [`PodDisruptionBudget`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DisruptionBudgetSpec {
    /// Which pods of its namespace; `None` selects none.
    pub selector: Option<LabelSelector>,
    /// How many must stay up: a number, or a part of all as `50%`.
    pub min_available: Option<IntOrText>,
    /// How many may be down: a number, or a part of all as `50%`.
    pub max_unavailable: Option<IntOrText>,
    /// Whether pods that are not ready may always be evicted: `AlwaysAllow`; else only while enough others are up.
    #[serde(deserialize_with = "null_is_default")]
    pub unhealthy_pod_eviction_policy: String,
}

/// Status of a [`PodDisruptionBudget`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DisruptionBudgetStatus {
    /// How many pods may be evicted now; `None` where nobody has said yet.
    pub disruptions_allowed: Option<i64>,
}

impl PodDisruptionBudget {
    /// How many pods may be evicted now: what its status says, or else what that would be with so many pods selected, and so
    /// many of them ready.
    pub fn allowed(&self, selected: usize, ready: usize) -> i64 {
        let (all, ready) =
            (i64::try_from(selected).unwrap_or(i64::MAX), i64::try_from(ready).unwrap_or(i64::MAX));
        self.status.disruptions_allowed.unwrap_or_else(|| (ready - self.wanted(all)).max(0))
    }

    /// Whether it lets none of so many pods go even while all of them are ready.
    pub fn blocks_always(&self, selected: usize) -> bool {
        let all = i64::try_from(selected).unwrap_or(i64::MAX);
        all > 0 && self.wanted(all) >= all
    }

    /// How many of so many pods must be up.
    fn wanted(&self, all: i64) -> i64 {
        match (&self.spec.min_available, &self.spec.max_unavailable) {
            (Some(least), _) => part(least, all).unwrap_or(all),
            // Zero percent of none is none: what cannot be read lets nothing go.
            (None, Some(most)) => all - part(most, all).unwrap_or(0),
            (None, None) => 0,
        }
    }
}

/// A number, or a part of all rounded up; `None` for what is neither.
fn part(stated: &IntOrText, all: i64) -> Option<i64> {
    match stated {
        IntOrText::Int(number) => Some(i64::from(*number)),
        IntOrText::Text(text) => {
            let percent: i64 = text.strip_suffix('%')?.parse().ok().filter(|p| (0..=100).contains(p))?;
            Some(all.saturating_mul(percent).saturating_add(99) / 100)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(spec: &str) -> PodDisruptionBudget {
        serde_json::from_str(&format!(r#"{{"metadata": {{"name": "b"}}, "spec": {spec}}}"#)).expect("valid")
    }

    #[test]
    fn what_a_budget_allows_follows_from_its_spec_where_nobody_has_said() {
        // 30% of 7 is 2.1: three may be down, as the disruption controller rounds up.
        let cases = [
            (r#"{"minAvailable": 2}"#, 7, 7, 5, false),
            (r#"{"minAvailable": "100%"}"#, 7, 7, 0, true),
            (r#"{"maxUnavailable": "30%"}"#, 7, 7, 3, false),
            (r#"{"maxUnavailable": "30%"}"#, 7, 5, 1, false),
            (r#"{"maxUnavailable": 0}"#, 7, 7, 0, true),
            (r#"{"minAvailable": 1}"#, 1, 1, 0, true),
            (r#"{"maxUnavailable": "lots"}"#, 3, 3, 0, true),
            ("{}", 3, 3, 3, false),
        ];
        for (spec, all, ready, allowed, always) in cases {
            let budget = budget(spec);
            assert_eq!((budget.allowed(all, ready), budget.blocks_always(all)), (allowed, always), "{spec}");
        }
    }

    #[test]
    fn the_status_comes_first() {
        let text = r#"{"metadata": {"name": "b"}, "spec": {"minAvailable": 1}, "status": {"disruptionsAllowed": 0}}"#;
        let budget: PodDisruptionBudget = serde_json::from_str(text).expect("valid");
        assert_eq!((budget.allowed(5, 5), budget.blocks_always(5)), (0, false));
    }
}
