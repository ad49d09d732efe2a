//! Schedules of budgets: cron's five fields, or one word for them, in UTC.
//!
//! compat: karpenter v1.14 reads them with `robfig/cron` v3, `ParseStandard`: names of months and days, `?` for `*`, steps,
//! days of the week from 0 (Sunday) to 6; where neither day field begins with `*`, a day counts that one of the two has.

use std::str::FromStr;

use stowage_pricing::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Days that are looked through for a hit. What has none in nine years has none at all: the 29th of February is eight years
/// from the next at most.
const MOST_DAYS: i64 = 9 * 366;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEK_DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// When something happens again and again. A bit for each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    minutes: u64,
    hours: u64,
    days: Days,
    months: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Days {
    of_month: u64,
    of_week: u64,
    /// Whether both must have a day, and not one of them only.
    both: bool,
}

/// What is wrong with a schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// There are other than five fields.
    #[error("{0:?} is no schedule: write five fields, as 0 9 * * mon-fri, or @daily")]
    Fields(String),
    /// A field is none.
    #[error("{0:?} cannot be read as {1}")]
    Field(String, &'static str),
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let text = match text.trim() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, of_month, months, of_week] = fields[..] else {
            return Err(ScheduleError::Fields(text.to_owned()));
        };
        let (of_month, any_of_month) = field(of_month, "a day of the month", 1, 31, &[])?;
        let (of_week, any_of_week) = field(of_week, "a day of the week", 0, 6, &WEEK_DAYS)?;
        Ok(Self {
            minutes: field(minutes, "a minute", 0, 59, &[])?.0,
            hours: field(hours, "an hour", 0, 23, &[])?.0,
            days: Days { of_month, of_week, both: any_of_month || any_of_week },
            months: field(months, "a month", 1, 12, &MONTHS)?.0,
        })
    }
}

/// The values of a field as bits, and whether one of its parts is all of them.
fn field(
    text: &str,
    what: &'static str,
    least: u32,
    most: u32,
    names: &[&str],
) -> Result<(u64, bool), ScheduleError> {
    let wrong = || ScheduleError::Field(text.to_owned(), what);
    let number = |text: &str| {
        let named = names.iter().position(|name| text.eq_ignore_ascii_case(name));
        let named = named.and_then(|at| u32::try_from(at).ok()).map(|at| at + least);
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        named.or_else(|| text.parse().ok().filter(|_| digits)).ok_or_else(wrong)
    };
    let (mut bits, mut any) = (0_u64, false);
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(number(step)?)),
            None => (part, None),
        };
        let all = matches!(range, "*" | "?");
        let (from, to) = match range.split_once('-') {
            _ if all => (least, most),
            Some((from, to)) => (number(from)?, number(to)?),
            // 5/10 is from five on, every ten.
            None => (number(range)?, if step.is_some() { most } else { number(range)? }),
        };
        let step = step.unwrap_or(1);
        if from < least || to > most || from > to || step == 0 {
            return Err(wrong());
        }
        any |= all && step == 1;
        bits = (from..=to).step_by(step as usize).fold(bits, |bits, value| bits | 1 << value);
    }
    Ok((bits, any))
}

impl Schedule {
    /// The last hit at or before `now`; `None` where there was none in nine years.
    pub fn last_hit(&self, now: Timestamp) -> Option<Timestamp> {
        let now = now.seconds();
        let today = now.div_euclid(DAY);
        (0..MOST_DAYS.min(today + 1)).find_map(|back| {
            let day = today - back;
            if !self.has_day(day) {
                return None;
            }
            let latest = if back == 0 { now.rem_euclid(DAY) } else { DAY - 1 };
            let at = self.last_of_day(latest)?;
            Some(Timestamp::from_seconds(day * DAY + at))
        })
    }

    /// Whether there was a hit within so many seconds before `now`, the first of them left out.
    pub fn is_within(&self, seconds: u64, now: Timestamp) -> bool {
        self.last_hit(now).is_some_and(|hit| now.seconds_since(hit) < seconds)
    }

    /// The last second of a day, at or before this one, that has a hit.
    fn last_of_day(&self, latest: i64) -> Option<i64> {
        let hour = last_bit(self.hours, latest / HOUR)?;
        let whole = if hour == latest / HOUR { latest % HOUR / MINUTE } else { 59 };
        if let Some(minute) = last_bit(self.minutes, whole) {
            return Some(hour * HOUR + minute * MINUTE);
        }
        let hour = last_bit(self.hours, hour - 1)?;
        Some(hour * HOUR + last_bit(self.minutes, 59)? * MINUTE)
    }

    fn has_day(&self, day: i64) -> bool {
        let (_, month, of_month) = Timestamp::from_seconds(day * DAY).date();
        // The first of January 1970 was a Thursday.
        let of_week = (day + 4).rem_euclid(7);
        let holds = (has(self.days.of_month, of_month), has(self.days.of_week, of_week));
        let day = if self.days.both { holds.0 && holds.1 } else { holds.0 || holds.1 };
        day && has(self.months, month)
    }
}

fn has(bits: u64, value: i64) -> bool {
    bits >> value & 1 == 1
}

/// The highest value with a bit, at or below this one.
fn last_bit(bits: u64, most: i64) -> Option<i64> {
    (0..=most).rev().find(|value| has(bits, *value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a moment")
    }

    fn last(schedule: &str, now: &str) -> String {
        let schedule: Schedule = schedule.parse().expect(schedule);
        schedule.last_hit(at(now)).map(|hit| hit.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_last_hit_is_found() {
        // A Wednesday.
        let now = "2026-07-01T10:30:15Z";
        for (schedule, hit) in [
            ("* * * * *", "2026-07-01T10:30:00Z"),
            ("@hourly", "2026-07-01T10:00:00Z"),
            ("45 * * * *", "2026-07-01T09:45:00Z"),
            ("0 9 * * mon-fri", "2026-07-01T09:00:00Z"),
            ("0 11 * * MON-FRI", "2026-06-30T11:00:00Z"),
            ("@weekly", "2026-06-28T00:00:00Z"),
            ("@monthly", "2026-07-01T00:00:00Z"),
            ("@yearly", "2026-01-01T00:00:00Z"),
            ("15,45 */6 * * ?", "2026-07-01T06:45:00Z"),
            ("5/20 8-9 * * *", "2026-07-01T09:45:00Z"),
            ("0 0 29 feb *", "2024-02-29T00:00:00Z"),
            // Neither field is all: a Sunday, or the 30th.
            ("0 0 30 * sun", "2026-06-30T00:00:00Z"),
            ("0 0 20 * sun", "2026-06-28T00:00:00Z"),
            // All but with a step is not all.
            ("0 0 */30 * sun", "2026-07-01T00:00:00Z"),
            // One is: both must have it.
            ("0 0 * 6 sat", "2026-06-27T00:00:00Z"),
            ("0 0 31 2 *", ""),
        ] {
            assert_eq!(last(schedule, now), hit, "{schedule}");
        }
        assert_eq!(last("30 10 * * *", "2026-07-01T10:29:59Z"), "2026-06-30T10:30:00Z");
        assert_eq!(last("0 0 1 3 *", "2024-03-01T00:00:00Z"), "2024-03-01T00:00:00Z");
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 7",
            "5-1 * * * *",
            "*/0 * * * *",
            "a * * * *",
            "1,,2 * * * *",
            "+1 * * * *",
            "@every 1h",
            "@noon",
            "* * * * mon-",
            "99999999999 * * * *",
            "TZ=UTC * * * * *",
        ] {
            assert!(text.parse::<Schedule>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_window_ends_when_its_time_is_over() {
        let schedule: Schedule = "0 9 * * *".parse().expect("valid");
        let within = |now: &str| schedule.is_within(8 * 3600, at(now));
        assert!(!within("2026-07-01T08:59:59Z"));
        assert!(within("2026-07-01T09:00:00Z"));
        assert!(within("2026-07-01T16:59:59Z"));
        assert!(!within("2026-07-01T17:00:00Z"));
    }

    proptest! {
        /// The last hit is what going back minute by minute finds.
        #[test]
        fn no_hit_is_missed(
            minutes in 0_u64..60, step in 1_u64..30, hours in "[0-9]|1[0-9]|\\*|\\*/5", months in "\\*|3|2-7",
            days in "\\*|1|15|\\*/9", week in "\\*|0|1-5|6", seconds in 1_700_000_000_i64..1_900_000_000,
        ) {
            let text = format!("{minutes}/{step} {hours} {days} {months} {week}");
            let schedule: Schedule = text.parse().expect("valid");
            let now = Timestamp::from_seconds(seconds);
            let hit = schedule.last_hit(now).expect("every year has one");
            let is_hit = |minute: i64| {
                let (day, of_day) = (minute.div_euclid(1440), minute.rem_euclid(1440));
                schedule.has_day(day) && has(schedule.hours, of_day / 60) && has(schedule.minutes, of_day % 60)
            };
            let first = hit.seconds().div_euclid(60);
            prop_assert!(is_hit(first) && hit.seconds() % 60 == 0 && hit <= now);
            prop_assert!(((first + 1)..=seconds.div_euclid(60)).all(|minute| !is_hit(minute)));
        }

        /// Nothing that is written makes it panic.
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}", now in any::<i64>()) {
            if let Ok(schedule) = text.parse::<Schedule>() {
                let _ = schedule.last_hit(Timestamp::from_seconds(now));
            }
        }
    }
}
