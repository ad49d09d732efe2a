//! Money as exact integers.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, Sub};

/// A price or cost in micro-dollars an hour. Integer, so that sums do not depend on their order.
///
/// ```
/// use stowage_solver::Price;
/// let node = Price::from_dollars(0.1008).unwrap();
/// assert_eq!(node * 3, Price::from_micros(302_400));
/// assert_eq!((node * 3).to_string(), "$0.3024");
/// assert_eq!(Price::from_dollars(f64::NAN), None);
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct Price(i64);

impl Price {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From micro-dollars an hour.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From dollars an hour, to the nearest micro-dollar; `None` for what is not a price: not a number, negative, or
    /// above a billion dollars an hour.
    pub fn from_dollars(dollars: f64) -> Option<Self> {
        (0.0..=1e9).contains(&dollars).then(|| Self((dollars * 1e6).round() as i64))
    }

    /// Micro-dollars an hour.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Dollars an hour, for output and for ranking.
    pub fn dollars(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl fmt::Display for Price {
    /// Dollars with at least two and at most six decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.6}", self.dollars());
        let keep = text.trim_end_matches('0').len().max(text.len() - 4);
        write!(f, "${}", &text[..keep])
    }
}

impl Add for Price {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Price {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl AddAssign for Price {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Mul<u32> for Price {
    type Output = Self;
    fn mul(self, count: u32) -> Self {
        Self(self.0.saturating_mul(i64::from(count)))
    }
}

impl Sum for Price {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}
