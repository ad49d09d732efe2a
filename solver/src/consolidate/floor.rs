//! The least that a step saves, as options state it.

use std::str::FromStr;

use crate::money::Price;

/// The least that a step saves: dollars an hour, a share of what its nodes cost, or both with a comma between.
///
/// ```
/// use stowage_solver::SavingFloor;
///
/// let floor: SavingFloor = "0.005,5%".parse()?;
/// assert_eq!((floor.price.micros(), floor.share), (5_000, 50));
/// assert!("101%".parse::<SavingFloor>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavingFloor {
    /// An hour.
    pub price: Price,
    /// In thousandths of what the nodes that go cost.
    pub share: u32,
}

impl FromStr for SavingFloor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut floor = Self { price: Price::ZERO, share: 0 };
        for part in text.split(',').map(str::trim) {
            let wrong = || format!("`{part}` is neither dollars an hour, as 0.01, nor a share, as 5%");
            if let Some(percent) = part.strip_suffix('%') {
                let percent =
                    percent.parse::<f64>().ok().filter(|p| (0.0..=100.0).contains(p)).ok_or_else(wrong)?;
                floor.share = (percent * 10.0).round() as u32;
            } else {
                let dollars = part.trim_start_matches('$').parse().ok().ok_or_else(wrong)?;
                floor.price = Price::from_dollars(dollars).ok_or_else(wrong)?;
            }
        }
        Ok(floor)
    }
}
