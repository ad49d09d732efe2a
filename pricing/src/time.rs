//! Moments, as whole seconds since 1970 in UTC; no clock is read here.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const DAY: i64 = 86_400;

/// A moment, to the second. Years 1970 to 9999.
///
/// ```
/// use stowage_pricing::Timestamp;
///
/// let then: Timestamp = "2026-07-20T13:44:30.250Z".parse()?;
/// assert_eq!(then.to_string(), "2026-07-20T13:44:30Z");
/// assert_eq!("2026-07-20T15:44:30+02:00".parse(), Ok(then));
/// assert_eq!(then.plus_seconds(90).seconds_since(then), 90);
/// # Ok::<(), stowage_pricing::TimestampError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

/// Why a text is no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no moment in time: write one as 2026-07-20T13:44:30Z")]
pub struct TimestampError(String);

/// For whoever reads a clock; before 1970 it is 1970.
impl From<SystemTime> for Timestamp {
    fn from(moment: SystemTime) -> Self {
        let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_seconds(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }
}

impl Timestamp {
    /// The first that is told apart.
    pub const EPOCH: Self = Self(0);
    /// The last of the year 9999.
    pub const LAST: Self = Self(253_402_300_799);

    /// From seconds since 1970; clamped to the years 1970 to 9999.
    pub const fn from_seconds(seconds: i64) -> Self {
        if seconds < 0 {
            Self::EPOCH
        } else if seconds > Self::LAST.0 {
            Self::LAST
        } else {
            Self(seconds)
        }
    }

    /// Seconds since 1970.
    pub const fn seconds(self) -> i64 {
        self.0
    }

    /// So much later.
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self::from_seconds(self.0.saturating_add(seconds))
    }

    /// Its day in UTC: year, month and day of the month.
    pub const fn date(self) -> (i64, i64, i64) {
        date(self.0.div_euclid(DAY))
    }

    /// How long after `earlier` this is; zero where it is before.
    pub const fn seconds_since(self, earlier: Self) -> u64 {
        if self.0 > earlier.0 { (self.0 - earlier.0) as u64 } else { 0 }
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
///
/// Years are counted from March, so that the leap day is a year's last; 400 years are 146,097 days.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date so many days after 1970-01-01.
const fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + carry, month, day)
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        read(text).ok_or_else(|| TimestampError(text.chars().take(40).collect()))
    }
}

/// `2026-07-20T13:44:30`, perhaps a fraction, then `Z` or an offset; or a date alone, which is its first second.
fn read(text: &str) -> Option<Timestamp> {
    let number = |range: std::ops::Range<usize>, most: i64| -> Option<i64> {
        let digits = text.get(range)?;
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse().ok().filter(|n| plain && *n <= most)
    };
    let is = |at: usize, one_of: &[u8]| text.as_bytes().get(at).is_some_and(|b| one_of.contains(b));
    let (year, month, day) = (number(0..4, 9999)?, number(5..7, 12)?, number(8..10, 31)?);
    if !is(4, b"-") || !is(7, b"-") || year < 1970 || date(days(year, month, day)) != (year, month, day) {
        return None;
    }
    let midnight = days(year, month, day) * DAY;
    if text.len() == 10 {
        return Some(Timestamp(midnight));
    }
    if !is(10, b"Tt ") || !is(13, b":") || !is(16, b":") {
        return None;
    }
    let (hour, minute, second) = (number(11..13, 23)?, number(14..16, 59)?, number(17..19, 60)?);
    let mut rest = text.get(19..)?;
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        rest = fraction.get(digits..).filter(|_| digits > 0)?;
    }
    let offset = if matches!(rest, "Z" | "z") {
        0
    } else {
        let start = text.len() - rest.len();
        let sign = match rest.as_bytes().first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let minutes = if is(start + 3, b":") { start + 4 } else { start + 3 };
        if text.len() != minutes + 2 {
            return None;
        }
        sign * (number(start + 1..start + 3, 23)? * 3600 + number(minutes..minutes + 2, 59)? * 60)
    };
    Some(Timestamp::from_seconds(midnight + hour * 3600 + minute * 60 + second - offset))
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.0.div_euclid(DAY));
        let of_day = self.0.rem_euclid(DAY);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2001-09-09T01:46:40Z", 1_000_000_000),
            ("2026-07-20T13:44:30Z", 1_784_555_070),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            let moment: Timestamp = text.parse().unwrap();
            assert_eq!((moment.seconds(), moment.to_string().as_str()), (seconds, text));
        }
    }

    #[test]
    fn every_day_of_four_centuries_round_trips() {
        for day in 0..146_097 {
            let (year, month, of_month) = date(day);
            assert_eq!(days(year, month, of_month), day);
        }
    }

    #[test]
    fn forms() {
        let noon: Timestamp = "2026-07-20T12:00:00Z".parse().unwrap();
        for text in [
            "2026-07-20T12:00:00.999999Z",
            "2026-07-20t12:00:00z",
            "2026-07-20 12:00:00+00:00",
            "2026-07-20T07:00:00-0500",
            "2026-07-20T17:30:00.1+05:30",
        ] {
            assert_eq!(text.parse(), Ok(noon), "{text}");
        }
        assert_eq!("2026-07-20".parse(), Ok(noon.plus_seconds(-43_200)));
    }

    #[test]
    fn what_is_no_moment() {
        for text in [
            "",
            "now",
            "2026",
            "2026-02-30",
            "2026-13-01",
            "1969-12-31",
            "2026-7-20",
            "2026-07-20T",
            "2026-07-20T24:00:00Z",
            "2026-07-20T12:00:00",
            "2026-07-20T12:00:00.Z",
            "2026-07-20T12:00:00+5",
            "2026-07-20T12:00:00Z!",
            "+026-07-20",
            "2026-07-20T1２:00:00Z",
            "2026-07-20T12:00:00+05:300",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }
}
