//! Lengths of time, as Karpenter's API and its annotations state them.

use std::time::Duration;

/// A length of time as Go writes it: `720h`, `1h30m`, `1.5h`, `500ms`. `None` for `Never` and for what is none.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(stowage_api::duration("1h30m"), Some(Duration::from_secs(5_400)));
/// assert_eq!(stowage_api::duration("Never"), None);
/// ```
pub fn duration(stated: &str) -> Option<Duration> {
    let mut rest = stated;
    let mut total = 0_u64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let nanos: u64 = match &tail[..unit] {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        total = total.checked_add(scaled(number, nanos)?)?;
        rest = &tail[unit..];
    }
    (!stated.is_empty()).then(|| Duration::from_nanos(total))
}

/// A decimal number of units of so many nanoseconds; what is finer than a nanosecond is cut off.
fn scaled(number: &str, nanos: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && part.is_empty()) || part.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut out = whole.checked_mul(nanos)?;
    let mut place = nanos;
    for digit in part.bytes() {
        place /= 10;
        out = out.checked_add(u64::from(digit - b'0') * place)?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let millis = |stated: &str| duration(stated).map(|d| d.as_millis());
        assert_eq!(
            (millis("720h"), millis("1h30m"), millis("45s")),
            (Some(2_592_000_000), Some(5_400_000), Some(45_000))
        );
        assert_eq!(
            (millis("1.5h"), millis(".5s"), millis("250ms"), millis("0s")),
            (Some(5_400_000), Some(500), Some(250), Some(0))
        );
        for none in
            ["", "Never", "10", "1d", "h", "1.2.3s", ".s", "-1h", "99999999999999999999h", "9999999999h", "é"]
        {
            assert_eq!(millis(none), None, "{none}");
        }
    }
}
