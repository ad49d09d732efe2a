//! What a `NodePool` may say of all its nodes in annotations of our own: a fixed cost, and how small or big they may be.
//!
//! Karpenter's `NodePool` has no field for either, and passes annotations of the `NodePool` itself by. The command line
//! says the same for `NodePools` that do not.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::well_known::{
    MAX_NODE_CPU, MAX_NODE_MEMORY, MIN_NODE_CPU, MIN_NODE_MEMORY, NODE_COST, OWN_DOMAIN,
};
use crate::{Quantity, QuantityError};

/// Dollars an hour in whole micro-dollars, from zero to a thousand dollars.
///
/// ```
/// use stowage_api::Dollars;
///
/// let address: Dollars = "0.005".parse()?;
/// assert_eq!(address.micros(), 5_000);
/// assert!("-1".parse::<Dollars>().is_err());
/// # Ok::<(), stowage_api::DollarsError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dollars {
    micros: u32,
}

/// Why a text is no amount of dollars.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no amount of dollars an hour: write a number from 0 to 1000 with at most six decimals, as in 0.005"
)]
pub struct DollarsError(String);

impl Dollars {
    /// The most that is accepted. No agent's licence costs as much as the dearest machine; a slip of the decimal point
    /// does.
    const MOST: u32 = 1_000_000_000;

    /// Micro-dollars an hour.
    pub const fn micros(self) -> i64 {
        self.micros as i64
    }
}

impl FromStr for Dollars {
    type Err = DollarsError;

    fn from_str(text: &str) -> Result<Self, DollarsError> {
        exactly(text).ok_or_else(|| DollarsError(text.chars().take(40).collect()))
    }
}

fn exactly(text: &str) -> Option<Dollars> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || whole.len() > 4 || fraction.len() > 6 {
        return None;
    }
    let micros = whole.parse::<u32>().ok()?.checked_mul(1_000_000)?;
    let micros = micros.checked_add(format!("{fraction:0<6}").parse().ok()?)?;
    (micros <= Dollars::MOST).then_some(Dollars { micros })
}

impl fmt::Display for Dollars {
    /// With as many decimals as it takes, two at least: `0.005`, `1.50`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:06}", self.micros / 1_000_000, self.micros % 1_000_000);
        let keep = text.trim_end_matches('0').len().max(text.len() - 4);
        f.write_str(&text[..keep])
    }
}

/// What is said of all nodes of a `NodePool`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeSettings {
    /// What a node costs beside its instance: root volume, public address, licences of agents.
    pub cost: Option<Dollars>,
    /// At least so many vCPUs.
    pub min_cpu: Option<Quantity>,
    /// At most so many vCPUs.
    pub max_cpu: Option<Quantity>,
    /// At least so much advertised memory.
    pub min_memory: Option<Quantity>,
    /// At most so much advertised memory.
    pub max_memory: Option<Quantity>,
}

/// An annotation that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    /// The annotation's key.
    pub key: &'static str,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl NodeSettings {
    /// What annotations say.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use stowage_api::NodeSettings;
    ///
    /// let says = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    /// let settings = NodeSettings::of(&says("stowage.dev/max-node-cpu", "64"))?;
    /// assert_eq!(settings.max_cpu, "64".parse().ok());
    /// assert_eq!(NodeSettings::of(&says("stowage.dev/node-cost", "x")).unwrap_err().key, "stowage.dev/node-cost");
    /// # Ok::<(), stowage_api::SettingError>(())
    /// ```
    ///
    /// # Errors
    /// Names the first annotation of ours whose value cannot be read.
    pub fn of(annotations: &BTreeMap<String, String>) -> Result<Self, SettingError> {
        let amount = |key: &'static str| {
            let Some(text) = annotations.get(key) else { return Ok(None) };
            let read = text.parse::<Quantity>().and_then(|q| {
                if q.is_negative() { Err(QuantityError::Malformed(text.clone())) } else { Ok(q) }
            });
            read.map(Some).map_err(|e| SettingError { key, problem: e.to_string() })
        };
        let cost = annotations.get(NODE_COST).map(|text| text.parse()).transpose();
        let settings = Self {
            cost: cost.map_err(|e: DollarsError| SettingError { key: NODE_COST, problem: e.to_string() })?,
            min_cpu: amount(MIN_NODE_CPU)?,
            max_cpu: amount(MAX_NODE_CPU)?,
            min_memory: amount(MIN_NODE_MEMORY)?,
            max_memory: amount(MAX_NODE_MEMORY)?,
        };
        let empty = |low: Option<Quantity>, high: Option<Quantity>| low.zip(high).is_some_and(|(l, h)| l > h);
        for (low, high, key) in [
            (settings.min_cpu, settings.max_cpu, MIN_NODE_CPU),
            (settings.min_memory, settings.max_memory, MIN_NODE_MEMORY),
        ] {
            if empty(low, high) {
                return Err(SettingError { key, problem: "the least is above the most".to_owned() });
            }
        }
        Ok(settings)
    }

    /// Keys of annotations of ours that mean nothing.
    pub fn unknown(annotations: &BTreeMap<String, String>) -> impl Iterator<Item = &str> {
        let known = [NODE_COST, MIN_NODE_CPU, MAX_NODE_CPU, MIN_NODE_MEMORY, MAX_NODE_MEMORY];
        let ours = annotations.keys().map(String::as_str).filter(|key| key.starts_with(OWN_DOMAIN));
        ours.filter(move |key| !known.contains(key))
    }

    /// These, and `other` for what these do not say.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            cost: self.cost.or(other.cost),
            min_cpu: self.min_cpu.or(other.min_cpu),
            max_cpu: self.max_cpu.or(other.max_cpu),
            min_memory: self.min_memory.or(other.min_memory),
            max_memory: self.max_memory.or(other.max_memory),
        }
    }

    /// Whether a size is asked for.
    pub const fn limits_size(&self) -> bool {
        self.min_cpu.is_some()
            || self.max_cpu.is_some()
            || self.min_memory.is_some()
            || self.max_memory.is_some()
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)
    }
}

impl std::error::Error for SettingError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn dollars_are_exact() {
        for (text, micros, shown) in [
            ("0", 0, "0.00"),
            ("0.005", 5_000, "0.005"),
            ("1.5", 1_500_000, "1.50"),
            ("0.000001", 1, "0.000001"),
            ("1000", 1_000_000_000, "1000.00"),
        ] {
            let dollars: Dollars = text.parse().unwrap();
            assert_eq!((dollars.micros(), dollars.to_string().as_str()), (micros, shown));
        }
        for text in
            ["", ".", "1.", ".5", "-1", "+1", "1e3", "0.0000001", "1000.000001", "9999", "1_0", "１", "NaN"]
        {
            assert!(text.parse::<Dollars>().is_err(), "{text}");
        }
    }

    #[test]
    fn annotations_say_what_cannot_be_read() {
        let error = |pairs: &[(&str, &str)]| NodeSettings::of(&says(pairs)).unwrap_err().to_string();
        assert!(error(&[(NODE_COST, "1m")]).starts_with("stowage.dev/node-cost: \"1m\" is no amount"));
        assert!(
            error(&[(MAX_NODE_CPU, "many")])
                .starts_with("stowage.dev/max-node-cpu: \"many\" is not a quantity")
        );
        assert!(error(&[(MIN_NODE_MEMORY, "-1Gi")]).contains("stowage.dev/min-node-memory"));
        assert_eq!(
            error(&[(MIN_NODE_CPU, "8"), (MAX_NODE_CPU, "4")]),
            "stowage.dev/min-node-cpu: the least is above the most"
        );
    }

    #[test]
    fn the_nearer_one_wins() {
        let near = NodeSettings::of(&says(&[(NODE_COST, "0"), (MIN_NODE_CPU, "4")])).unwrap();
        let far = NodeSettings::of(&says(&[(NODE_COST, "1"), (MAX_NODE_MEMORY, "64Gi")])).unwrap();
        let both = near.or(far);
        assert_eq!((both.cost, both.min_cpu), (near.cost, near.min_cpu));
        assert_eq!((both.max_memory, both.max_cpu), (far.max_memory, None));
        let stray = says(&[("stowage.dev/node-costs", "1"), (NODE_COST, "1"), ("other/x", "1")]);
        assert_eq!(NodeSettings::unknown(&stray).collect::<Vec<_>>(), ["stowage.dev/node-costs"]);
    }
}
