//! Selectors of labels, checked once and asked often.

use serde_json::{Map, Value, json};
use stowage_api::{Operator, Requirement};

use crate::policy::Labels;

/// What labels must be: every requirement holds. Without any, all labels do.
///
/// # Invariants
/// Sorted, none twice: equal selectors that are written differently are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

    /// What two of them have in common: it selects whatever either selects, and perhaps more.
    pub(crate) fn common(&self, other: &Self) -> Self {
        Self(self.0.iter().filter(|r| other.0.contains(r)).cloned().collect())
    }

    /// With one more requirement.
    pub(crate) fn and(&self, key: &str, operator: Operator, values: Vec<String>) -> Self {
        let mut all = self.0.clone();
        all.push(Requirement { key: key.to_owned(), operator, values, min_values: None });
        Self::new(all)
    }

    /// As a `LabelSelector` of Kubernetes.
    ///
    /// ```
    /// # use stowage_fargate::Selector;
    /// assert_eq!(Selector::default().to_label_selector(), serde_json::json!({}));
    /// ```
    pub fn to_label_selector(&self) -> Value {
        let expression = |r: &Requirement| {
            let mut one = Map::from_iter([
                ("key".to_owned(), json!(r.key)),
                ("operator".to_owned(), json!(r.operator.name())),
            ]);
            // The API server refuses values where there can be none.
            if !r.values.is_empty() {
                one.insert("values".to_owned(), json!(r.values));
            }
            Value::Object(one)
        };
        if self.0.is_empty() {
            return json!({});
        }
        json!({ "matchExpressions": self.0.iter().map(expression).collect::<Vec<_>>() })
    }
}
