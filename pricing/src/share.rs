//! A fraction of something, exactly: what percentages of memory and estimated prices are computed with.

use std::fmt;
use std::str::FromStr;

/// A fraction between 0 and 1 in whole millionths, so that no rounding of a float decides how much memory a node has.
///
/// ```
/// use stowage_pricing::Share;
///
/// let overhead: Share = "0.075".parse()?;
/// assert_eq!(overhead, "7.5%".parse()?);
/// assert_eq!(overhead.of_rounded_up(8192), 615); // 614.4
/// assert_eq!(overhead.to_string(), "7.5%");
/// # Ok::<(), stowage_pricing::ShareError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share {
    millionths: u32,
}

/// Why a text is no share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a share: write a fraction from 0 to 1 as in 0.075, or a percentage as in 7.5%, to at most six (four) decimals"
)]
pub struct ShareError(String);

impl Share {
    const ONE: u32 = 1_000_000;

    /// Nothing.
    pub const ZERO: Self = Self { millionths: 0 };

    /// From whole millionths; more than one million is one.
    pub const fn from_millionths(millionths: u32) -> Self {
        Self { millionths: if millionths > Self::ONE { Self::ONE } else { millionths } }
    }

    /// This share of `amount`, rounded up.
    pub fn of_rounded_up(self, amount: u64) -> u64 {
        (u128::from(amount) * u128::from(self.millionths)).div_ceil(u128::from(Self::ONE)) as u64
    }

    /// The fraction as a float, for prices.
    pub fn as_f64(self) -> f64 {
        f64::from(self.millionths) / f64::from(Self::ONE)
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let (number, places) = text.strip_suffix('%').map_or((text, 6), |percent| (percent.trim_end(), 4));
        read(number, places).ok_or_else(|| ShareError(text.chars().take(40).collect()))
    }
}

/// A decimal with at most `places` decimals, as millionths of one.
fn read(number: &str, places: usize) -> Option<Share> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + fraction.len() == 0
        || whole.len() > 3
        || fraction.len() > places
        || !digits(whole)
        || !digits(fraction)
    {
        return None;
    }
    let millionths = format!("{whole}{fraction:0<places$}").parse::<u32>().ok()?;
    (millionths <= Share::ONE).then_some(Share { millionths })
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.millionths / 10_000, self.millionths % 10_000);
        if rest == 0 {
            return write!(f, "{whole}%");
        }
        let decimals = format!("{rest:04}");
        write!(f, "{whole}.{}%", decimals.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fractions_and_percentages() {
        for (text, millionths) in [
            ("0", 0),
            ("1", 1_000_000),
            ("0.075", 75_000),
            (".5", 500_000),
            ("7.5%", 75_000),
            ("100%", 1_000_000),
            ("0.0001%", 1),
        ] {
            assert_eq!(text.parse(), Ok(Share { millionths }), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_share() {
        for text in ["", ".", "%", "-0.1", "1.01", "101%", "NaN", "0.0000001", "7,5%", "1e-2", "99999999999"]
        {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }

    #[test]
    fn prints_what_it_reads_back() {
        for millionths in [0, 1, 10, 75_000, 350_000, 999_999, 1_000_000] {
            let share = Share { millionths };
            assert_eq!(share.to_string().parse(), Ok(share));
        }
    }

    #[test]
    fn rounds_up_exactly_where_a_float_would_not() {
        // 0.07 has no exact double: 0.07 × 100 is 7.000000000000001 there, whose ceiling is 8.
        assert_eq!("0.07".parse::<Share>().unwrap().of_rounded_up(100), 7);
        assert_eq!(Share::from_millionths(75_000).of_rounded_up(u64::MAX), 1_383_505_805_528_216_372);
    }
}
