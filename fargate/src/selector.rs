//! Selectors of labels, checked once and asked often.

use stowage_api::Requirement;

use crate::policy::Labels;

/// What labels must be: every requirement holds. Without any, all labels do.
///
/// # Invariants
/// Sorted, none twice: equal selectors that are written differently are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector(Vec<Requirement>);

impl Selector {
    /// From requirements that are well-formed.
    pub(crate) fn new(mut requirements: Vec<Requirement>) -> Self {
        for requirement in &mut requirements {
            requirement.values.sort_unstable();
            requirement.values.dedup();
        }
        requirements.sort_unstable();
        requirements.dedup();
        Self(requirements)
    }

    /// Whether labels are what it asks for.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|r| r.allows(labels.get(&r.key).map(String::as_str)))
    }

    /// How many requirements it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it selects all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
