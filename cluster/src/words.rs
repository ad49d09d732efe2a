//! Words for people: amounts, counts, and why a pod is not placed. Made here for all programs, and nowhere else.

pub mod amount;
pub mod kept;
pub mod reason;

use std::fmt::Write as _;

/// A count with thousands separated: `12,345`.
pub fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count and its noun: `1 pod`, `2,000 pods`.
pub fn count(n: usize, noun: &str) -> String {
    let mut out = thousands(n as u64);
    let _ = write!(out, " {noun}{}", if n == 1 { "" } else { "s" });
    out
}
