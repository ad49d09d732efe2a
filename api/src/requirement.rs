//! Constraints on node labels, as `NodePools` and node affinity write them.

use std::fmt;

use serde::{Deserialize, Deserializer};

use crate::meta::null_is_default;

/// How a requirement compares. `Gte` and `Lte` are Karpenter's own; node affinity knows the other six.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
pub enum Operator {
    /// One of the values.
    In,
    /// None of the values, or no such label.
    NotIn,
    /// Any value.
    Exists,
    /// No such label.
    DoesNotExist,
    /// A whole number above the one value.
    Gt,
    /// A whole number below the one value.
    Lt,
    /// A whole number of at least the one value.
    Gte,
    /// A whole number of at most the one value.
    Lte,
}

impl Operator {
    /// All of them, in the order in which messages list them.
    pub const ALL: [Self; 8] =
        [Self::In, Self::NotIn, Self::Exists, Self::DoesNotExist, Self::Gt, Self::Lt, Self::Gte, Self::Lte];

    /// The name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::In => "In",
            Self::NotIn => "NotIn",
            Self::Exists => "Exists",
            Self::DoesNotExist => "DoesNotExist",
            Self::Gt => "Gt",
            Self::Lt => "Lt",
            Self::Gte => "Gte",
            Self::Lte => "Lte",
        }
    }
    /// Whether it compares numbers.
    pub const fn is_numeric(self) -> bool {
        matches!(self, Self::Gt | Self::Lt | Self::Gte | Self::Lte)
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The most that `minValues` may ask for.
const MOST_MIN_VALUES: u32 = 50;

/// A constraint on one label.
///
/// # Invariants
/// A numeric operator has exactly one value, a whole number that fits an `i64`; `In` and `NotIn` have at least one.
/// `min_values` is 1 to 50, and no more than there are values of `In`: what the API server lets in, too.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Requirement {
    /// Label key.
    pub key: String,
    /// Operator.
    pub operator: Operator,
    /// Operands.
    pub values: Vec<String>,
    /// In a `NodePool`: how many different values the instance types of a launch must leave open.
    pub min_values: Option<u32>,
}

impl Requirement {
    /// The bound of a numeric operator.
    pub fn number(&self) -> Option<i64> {
        self.values.first().filter(|_| self.operator.is_numeric())?.parse().ok()
    }

    /// Whether a node may have this value of the label, or where `None`, may lack the label.
    ///
    /// ```
    /// use stowage_api::{Operator, Requirement};
    ///
    /// let key = "karpenter.k8s.aws/instance-cpu".to_owned();
    /// let above = Requirement { key, operator: Operator::Gt, values: vec!["4".to_owned()], min_values: None };
    /// assert!(above.allows(Some("8")) && !above.allows(Some("4")) && !above.allows(None));
    /// ```
    pub fn allows(&self, value: Option<&str>) -> bool {
        let listed = value.is_some_and(|value| self.values.iter().any(|v| v == value));
        let number = || value.and_then(|value| value.parse::<i64>().ok()).zip(self.number());
        match self.operator {
            Operator::In => listed,
            Operator::NotIn => !listed,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => number().is_some_and(|(has, bound)| has > bound),
            Operator::Lt => number().is_some_and(|(has, bound)| has < bound),
            Operator::Gte => number().is_some_and(|(has, bound)| has >= bound),
            Operator::Lte => number().is_some_and(|(has, bound)| has <= bound),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    key: String,
    operator: Operator,
    #[serde(default, deserialize_with = "null_is_default")]
    values: Vec<String>,
    #[serde(default)]
    min_values: Option<u32>,
}

impl<'de> Deserialize<'de> for Requirement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Wire { key, operator, values, min_values } = Wire::deserialize(deserializer)?;
        let wrong = |needs| {
            let shown: Vec<_> = values.iter().take(3).collect();
            let more = if values.len() > 3 { " and more" } else { "" };
            serde::de::Error::custom(format_args!(
                "{key} {operator} needs {needs} in values, not {shown:?}{more}"
            ))
        };
        if let Some(least) = min_values {
            let listed = values.len();
            let problem = if !(1..=MOST_MIN_VALUES).contains(&least) {
                format!("write a number from 1 to {MOST_MIN_VALUES}")
            } else if operator == Operator::In && (listed as u64) < u64::from(least) {
                format!("values has only {listed}: list more, or ask for fewer")
            } else {
                String::new()
            };
            if !problem.is_empty() {
                return Err(serde::de::Error::custom(format_args!(
                    "minValues of {key} is {least}; {problem}"
                )));
            }
        }
        match operator {
            Operator::In | Operator::NotIn if values.is_empty() => Err(wrong("at least one value")),
            _ if operator.is_numeric() && !matches!(values.as_slice(), [n] if n.parse::<i64>().is_ok()) => {
                Err(wrong("exactly one whole number"))
            }
            _ => Ok(Self { key, operator, values, min_values }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Requirement, String> {
        serde_json::from_str(json).map_err(|e| e.to_string())
    }

    #[test]
    fn reads_operators_and_values() {
        let r = read(r#"{"key": "k", "operator": "Gt", "values": ["4"], "minValues": 2}"#).expect("valid");
        assert_eq!((r.operator, r.number(), r.min_values), (Operator::Gt, Some(4), Some(2)));
        let r = read(r#"{"key": "k", "operator": "Exists", "values": null}"#).expect("valid");
        assert_eq!((r.values.len(), r.number()), (0, None));
    }

    #[test]
    fn refuses_what_the_api_server_would() {
        for (json, expected) in [
            (
                r#"{"key": "k", "operator": "Near", "values": ["4"]}"#,
                "unknown variant `Near`, expected one of `In`",
            ),
            (
                r#"{"key": "k", "operator": "In", "values": []}"#,
                "k In needs at least one value in values, not []",
            ),
            (
                r#"{"key": "k", "operator": "Lt", "values": ["4", "5"]}"#,
                "k Lt needs exactly one whole number in values, not [\"4\", \"5\"]",
            ),
            (
                r#"{"key": "k", "operator": "Gte", "values": ["99999999999999999999"]}"#,
                "k Gte needs exactly one whole number",
            ),
            (r#"{"operator": "Exists"}"#, "missing field `key`"),
            (
                r#"{"key": "k", "operator": "Exists", "minValues": 0}"#,
                "minValues of k is 0; write a number from 1 to 50",
            ),
            (r#"{"key": "k", "operator": "Exists", "minValues": 51}"#, "minValues of k is 51; write"),
            (
                r#"{"key": "k", "operator": "In", "values": ["a", "b"], "minValues": 3}"#,
                "minValues of k is 3; values has only 2: list more, or ask for fewer",
            ),
        ] {
            let error = read(json).expect_err(json);
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn values_are_told_apart() {
        let allowed = |operator, values: &[&str]| {
            let values = values.iter().map(|v| (*v).to_owned()).collect();
            let requirement = Requirement { key: "k".to_owned(), operator, values, min_values: None };
            [Some("a"), Some("5"), None].map(|value| requirement.allows(value))
        };
        assert_eq!(allowed(Operator::In, &["a"]), [true, false, false]);
        assert_eq!(allowed(Operator::NotIn, &["a"]), [false, true, true]);
        assert_eq!(allowed(Operator::Exists, &[]), [true, true, false]);
        assert_eq!(allowed(Operator::DoesNotExist, &[]), [false, false, true]);
        assert_eq!(allowed(Operator::Gt, &["4"]), [false, true, false]);
        assert_eq!(allowed(Operator::Lt, &["5"]), [false, false, false]);
        assert_eq!(allowed(Operator::Gte, &["5"]), [false, true, false]);
        assert_eq!(allowed(Operator::Lte, &["5"]), [false, true, false]);
    }
}
