//! Kubernetes quantities, exactly: `250m`, `1.5Gi`, `3e2`.
//!
//! A quantity is a whole number of nano-units, because Kubernetes itself resolves nothing finer: what is smaller is
//! rounded up (away from zero). No float is involved anywhere, also where JSON or YAML writes a bare number.
//!
//! # Invariants
//! - `|value|` is at most [`Quantity::MAX_UNITS`], so that [`Quantity::ceil_millis`] and its kin always fit an `i64`,
//!   and a thousand of the largest fit too.
//! - Equality and order look at the value alone: `1Gi == 1024Mi`. How it was written only decides how it prints.
//! - What [`Quantity`] prints, it reads back as the same value.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

const NANO: i128 = 1_000_000_000;

/// Longest text that an error message repeats.
const QUOTED: usize = 40;

/// How a quantity was written, and so prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// `k M G`, and `n u m` below one.
    Decimal,
    /// `Ki Mi Gi`.
    Binary,
    /// `e3 e6`.
    Exponent,
}

/// An exact Kubernetes quantity.
///
/// ```
/// use stowage_api::Quantity;
///
/// let memory: Quantity = "1536Mi".parse()?;
/// assert_eq!(memory, "1.5Gi".parse()?);
/// assert_eq!(memory.ceil_units(), 1_610_612_736);
/// assert_eq!(memory.to_string(), "1536Mi");
/// assert_eq!("0.5".parse::<Quantity>()?.to_string(), "500m");
/// assert!("1e30".parse::<Quantity>().is_err());
/// # Ok::<(), stowage_api::QuantityError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    family: Family,
}

/// Why a text is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not of the form number and suffix.
    #[error(
        "{0:?} is not a quantity: write a number with one of the suffixes n u m k M G T P E Ki Mi Gi Ti Pi Ei, or an \
         exponent, as in 250m, 1.5Gi or 3e2"
    )]
    Malformed(String),
    /// Larger than [`Quantity::MAX_UNITS`] in either direction.
    #[error("{0:?} is an absurd quantity: at most 8Pi (9007199254740992) is accepted")]
    TooLarge(String),
}

impl Quantity {
    /// The largest value, in units: 2⁵³, eight pebi-units. No machine has as much of anything (the largest instance
    /// store is 336 TB), its thousandfold still fits an `i64`, and every whole value is exact in JSON readers that
    /// know only doubles.
    pub const MAX_UNITS: i64 = 1 << 53;

    /// Nothing.
    pub const ZERO: Self = Self { nanos: 0, family: Family::Decimal };

    /// A whole number of units (CPUs, devices, pods); clamped to [`Self::MAX_UNITS`].
    pub const fn from_units(units: i64) -> Self {
        Self { nanos: clamp(units as i128 * NANO), family: Family::Decimal }
    }

    /// A whole number of bytes, which prints with a binary suffix where one divides it.
    pub const fn from_bytes(bytes: i64) -> Self {
        Self { nanos: clamp(bytes as i128 * NANO), family: Family::Binary }
    }

    /// A whole number of thousandths, as of CPUs.
    pub const fn from_millis(millis: i64) -> Self {
        Self { nanos: clamp(millis as i128 * 1_000_000), family: Family::Decimal }
    }

    /// The value in nano-units.
    pub const fn nanos(self) -> i128 {
        self.nanos
    }

    /// Whether the value is below zero.
    pub const fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// Whether the value is zero.
    pub const fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Thousandths, rounded up: how kube-scheduler counts a CPU request.
    pub const fn ceil_millis(self) -> i64 {
        -(-self.nanos).div_euclid(1_000_000) as i64
    }

    /// Thousandths, rounded down.
    pub const fn floor_millis(self) -> i64 {
        self.nanos.div_euclid(1_000_000) as i64
    }

    /// Units, rounded up: how kube-scheduler counts a request of anything but CPU.
    pub const fn ceil_units(self) -> i64 {
        -(-self.nanos).div_euclid(NANO) as i64
    }

    /// Units, rounded down.
    pub const fn floor_units(self) -> i64 {
        self.nanos.div_euclid(NANO) as i64
    }

    /// The sum, in the family of `self`; `None` beyond [`Self::MAX_UNITS`].
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Self { nanos: self.nanos.checked_add(other.nanos)?, ..self }.in_range()
    }

    /// The difference, in the family of `self`; `None` beyond [`Self::MAX_UNITS`].
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        Self { nanos: self.nanos.checked_sub(other.nanos)?, ..self }.in_range()
    }

    fn in_range(self) -> Option<Self> {
        (clamp(self.nanos) == self.nanos).then_some(self)
    }
}

const fn clamp(nanos: i128) -> i128 {
    let most = Quantity::MAX_UNITS as i128 * NANO;
    if nanos > most {
        most
    } else if nanos < -most {
        -most
    } else {
        nanos
    }
}

/// The parts of a written quantity.
struct Written<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

fn split(text: &str) -> Option<Written<'_>> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, rest) = digits(unsigned);
    let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), digits);
    (!whole.is_empty() || !fraction.is_empty()).then_some(Written { negative, whole, fraction, suffix })
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// Family, power of ten and power of two of a suffix.
fn suffix(text: &str) -> Option<(Family, i64, u32)> {
    let decimal = |power| Some((Family::Decimal, power, 0));
    let binary = |power| Some((Family::Binary, 0, power));
    match text {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => {
            let exponent = text.strip_prefix(['e', 'E'])?;
            let (negative, size) = match exponent.strip_prefix('-') {
                Some(size) => (true, size),
                None => (false, exponent.strip_prefix('+').unwrap_or(exponent)),
            };
            if size.is_empty() || !size.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            // Whatever is beyond a million is beyond every bound; a mantissa long enough to make up for it is refused.
            let size = size.parse::<i64>().unwrap_or(i64::MAX).min(1_000_000);
            Some((Family::Exponent, if negative { -size } else { size }, 0))
        }
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let malformed = || QuantityError::Malformed(quote(text));
        let written = split(text).ok_or_else(malformed)?;
        let (family, ten, two) = suffix(written.suffix).ok_or_else(malformed)?;
        let nanos = magnitude(&written, ten, two).ok_or_else(|| QuantityError::TooLarge(quote(text)))?;
        Self { nanos: if written.negative { -nanos } else { nanos }, family }
            .in_range()
            .ok_or_else(|| QuantityError::TooLarge(quote(text)))
    }
}

/// `whole.fraction × 10^ten × 2^two` in nano-units, rounded up; `None` when far beyond every bound. Linear in the text,
/// whatever the exponent.
fn magnitude(written: &Written<'_>, ten: i64, two: u32) -> Option<i128> {
    /// More decimal places than any value in range has, on either side of the point.
    const PLACES: i64 = 64;
    let unit = NANO << two;
    let digit = |b: u8| i128::from(b - b'0');
    let all = || written.whole.bytes().chain(written.fraction.bytes());
    let length = (written.whole.len() + written.fraction.len()) as i64;
    if all().all(|b| b == b'0') {
        return Some(0);
    }
    // The decimal point, moved by the exponent, as a position in the row of all digits; may lie outside of it.
    let point = written.whole.len() as i64 + ten;

    let mut units = 0_i128;
    for b in all().take(point.max(0) as usize) {
        units = units.checked_mul(10)?.checked_add(digit(b))?;
    }
    let padding = (point - length).max(0);
    if units > 0 && padding > PLACES {
        return None;
    }
    for _ in 0..if units > 0 { padding } else { 0 } {
        units = units.checked_mul(10)?;
    }

    // From the last digit to the first, ⌈(digit·unit + rest) / 10⌉: rounding up in each step equals rounding up once.
    let after = point.clamp(0, length) as usize;
    let mut rest = 0_i128;
    for b in written.fraction.bytes().rev().chain(written.whole.bytes().rev()).take(length as usize - after) {
        rest = (digit(b) * unit + rest + 9) / 10;
    }
    for _ in 0..(-point).clamp(0, PLACES) {
        rest = (rest + 9) / 10;
    }
    units.checked_mul(unit)?.checked_add(rest)
}

/// The text as an error repeats it: not a megabyte of it.
fn quote(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

impl fmt::Display for Quantity {
    /// The canonical form: the largest suffix of its family that leaves a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const BINARY: [(&str, i128); 6] = [
            ("Ei", 1 << 60),
            ("Pi", 1 << 50),
            ("Ti", 1 << 40),
            ("Gi", 1 << 30),
            ("Mi", 1 << 20),
            ("Ki", 1 << 10),
        ];
        const DECIMAL: [&str; 9] = ["P", "T", "G", "M", "k", "", "m", "u", "n"];
        const EXPONENT: [&str; 9] = ["e15", "e12", "e9", "e6", "e3", "", "e-3", "e-6", "e-9"];
        if self.nanos == 0 {
            return f.write_str("0");
        }
        if self.family == Family::Binary && self.nanos % NANO == 0 {
            let units = self.nanos / NANO;
            return match BINARY.iter().find(|(_, size)| units % size == 0) {
                Some((suffix, size)) => write!(f, "{}{suffix}", units / size),
                None => write!(f, "{units}"),
            };
        }
        let suffixes = if self.family == Family::Exponent { EXPONENT } else { DECIMAL };
        let mut size = 1_000_000 * NANO * NANO;
        for suffix in suffixes {
            if self.nanos % size == 0 {
                return write!(f, "{}{suffix}", self.nanos / size);
            }
            size /= 1000;
        }
        Ok(()) // Not reached: the last size is one nano-unit, which divides everything.
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Hash for Quantity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.nanos.hash(state);
    }
}

impl Default for Quantity {
    fn default() -> Self {
        Self::ZERO
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StringOrNumber)
    }
}

/// Accepts a string or a bare number.
struct StringOrNumber;

impl Visitor<'_> for StringOrNumber {
    type Value = Quantity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a quantity such as 250m, 1.5Gi or 2")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, units: i64) -> Result<Quantity, E> {
        self.visit_str(&units.to_string())
    }

    fn visit_u64<E: de::Error>(self, units: u64) -> Result<Quantity, E> {
        self.visit_str(&units.to_string())
    }

    fn visit_f64<E: de::Error>(self, units: f64) -> Result<Quantity, E> {
        // The shortest decimal that reads back as this double: what was written, for up to fifteen digits.
        self.visit_str(&units.to_string())
    }
}

#[cfg(test)]
mod tests;
