//! Whether nodes of a `NodePool` have joined of late: its condition `NodeRegistrationHealthy`, which decides nothing.
//!
//! compat: karpenter v1.14, `pkg/state/nodepoolhealth`: the last four outcomes count, and two failures are too many.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use stowage_api::crd::condition::{FALSE, TRUE};

/// Outcomes that count.
const LAST: usize = 4;

/// So many failures of them are too many.
const TOO_MANY: usize = 2;

/// The last outcomes by `NodePool`: whether a node has joined.
#[derive(Clone, Debug, Default)]
pub struct Outcomes(Arc<Mutex<BTreeMap<String, VecDeque<bool>>>>);

impl Outcomes {
    /// A node has joined, or was given up. Says what the condition is to be.
    pub fn add(&self, pool: &str, joined: bool) -> &'static str {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = all.entry(pool.to_owned()).or_default();
        last.push_back(joined);
        if last.len() > LAST {
            last.pop_front();
        }
        let failed = last.iter().filter(|joined| !**joined).count();
        if failed >= TOO_MANY { FALSE } else { TRUE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_failures_of_four_are_too_many() {
        let outcomes = Outcomes::default();
        let said: Vec<&str> = [true, false, false, true, true, true]
            .into_iter()
            .map(|joined| outcomes.add("a", joined))
            .collect();
        assert_eq!(said, [TRUE, TRUE, FALSE, FALSE, FALSE, TRUE]);
        assert_eq!(outcomes.add("b", false), TRUE, "pools are apart");
    }
}
