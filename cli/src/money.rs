//! Money for people: dollars an hour and a month, with as many decimals as carry meaning.

use stowage_solver::Price;

use crate::text::thousands;

/// Hours in a month, as AWS's own calculators count: 365 days of 24 hours over 12.
pub(crate) const HOURS_A_MONTH: f64 = 730.0;

/// The price of one node an hour: `$0.1008`. EC2 prices go down to a hundredth of a cent and beyond.
pub(crate) fn each(price: Price) -> String {
    dollars(price.dollars(), if price.dollars() < 100.0 { 4 } else { 2 })
}

/// A part of a bill, with as many decimals as the whole can do with, so that both stand in one column.
pub(crate) fn bill(part: Price, whole: Price) -> String {
    dollars(part.dollars(), if whole.dollars() < 100.0 { 4 } else { 2 })
}

/// A bill an hour: `$0.6048`, `$12.345`, `$8,621.30`.
pub(crate) fn hourly(price: Price) -> String {
    let value = price.dollars();
    let decimals = if value < 9.999_95 {
        4
    } else if value < 99.9995 {
        3
    } else {
        2
    };
    dollars(value, decimals)
}

/// The same bill a month: `$883.01`, `$76,583`.
pub(crate) fn monthly(price: Price) -> String {
    let value = price.dollars() * HOURS_A_MONTH;
    dollars(value, if value < 9_999.995 { 2 } else { 0 })
}

fn dollars(value: f64, decimals: usize) -> String {
    let (sign, value) = if value < 0.0 { ("-", -value) } else { ("", value) };
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(w, f)| (w, Some(f)));
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), thousands);
    match fraction {
        Some(fraction) => format!("{sign}${whole}.{fraction}"),
        None => format!("{sign}${whole}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_follow_the_size() {
        let price = |micros| Price::from_micros(micros);
        assert_eq!(each(price(100_800)), "$0.1008");
        assert_eq!(each(price(407_680_000)), "$407.68");
        assert_eq!(each(price(-456_400)), "-$0.4564");
        assert_eq!(hourly(price(604_800)), "$0.6048");
        assert_eq!(hourly(price(12_345_000)), "$12.345");
        assert_eq!(hourly(price(8_621_300_000)), "$8,621.30");
        assert_eq!(monthly(price(1_209_600)), "$883.01");
        assert_eq!(monthly(price(104_910_000)), "$76,584");
        assert_eq!(hourly(Price::ZERO), "$0.0000");
    }
}
