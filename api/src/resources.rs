//! Amounts by resource name.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::Quantity;

/// Amounts by resource name, none negative.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ResourceList(BTreeMap<String, Quantity>);

impl FromIterator<(String, Quantity)> for ResourceList {
    fn from_iter<I: IntoIterator<Item = (String, Quantity)>>(amounts: I) -> Self {
        Self(amounts.into_iter().collect())
    }
}

impl ResourceList {
    /// The amount of one resource, where stated.
    pub fn get(&self, resource: &str) -> Option<Quantity> {
        self.0.get(resource).copied()
    }

    /// All that is stated, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Quantity)> {
        self.0.iter().map(|(name, amount)| (name.as_str(), *amount))
    }

    /// Whether nothing is stated.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A quantity that is at least zero.
struct NonNegative(Quantity);

impl<'de> Deserialize<'de> for NonNegative {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let amount = Quantity::deserialize(deserializer)?;
        if amount.is_negative() {
            return Err(D::Error::custom(format_args!("{amount} is negative: an amount is at least 0")));
        }
        Ok(Self(amount))
    }
}

impl<'de> Deserialize<'de> for ResourceList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let amounts = BTreeMap::<String, NonNegative>::deserialize(deserializer)?;
        Ok(Self(amounts.into_iter().map(|(name, NonNegative(amount))| (name, amount)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_never_negative() {
        let list: ResourceList = serde_json::from_str(r#"{"cpu": "250m", "pods": 110}"#).expect("valid");
        assert_eq!(list.get("cpu"), Some(Quantity::from_millis(250)));
        assert_eq!(list.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["cpu", "pods"]);
        let error = serde_json::from_str::<ResourceList>(r#"{"cpu": "-1"}"#).expect_err("negative");
        assert!(error.to_string().starts_with("-1 is negative: an amount is at least 0"), "{error}");
    }
}
