//! Semantic versions, as `semver` attributes and Kubernetes' function of that name have them.

use std::cmp::Ordering;

use super::Fault;

/// A semantic version; what stands after a `+` says nothing about precedence and is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) numbers: [u64; 3],
    before: Vec<Part>,
}

/// A part of what stands after the `-`: numbers come before words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Word(String),
}

impl Version {
    /// Reads a version as it has to be written.
    ///
    /// # Errors
    /// Where it is written otherwise.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        Self::read(text)
            .ok_or_else(|| format!("{:?} is no semantic version", text.chars().take(60).collect::<String>()))
    }

    /// Reads a version as people write them: with a `v`, with one or two numbers, with zeros in front.
    ///
    /// # Errors
    /// Where even that does not make it one.
    pub(super) fn parse_tolerant(text: &str) -> Result<Self, Fault> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let end = text.find(['-', '+']).unwrap_or(text.len());
        let (front, rest) = text.split_at(end);
        let mut numbers: Vec<&str> = front.splitn(3, '.').collect();
        for number in &mut numbers {
            let short = number.trim_start_matches('0');
            *number = if short.is_empty() && !number.is_empty() { "0" } else { short };
        }
        if numbers.len() < 3 && !rest.is_empty() {
            return Self::parse(text);
        }
        numbers.resize(3, "0");
        Self::parse(&format!("{}{rest}", numbers.join(".")))
    }

    fn read(text: &str) -> Option<Self> {
        let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
        let (front, before) =
            text.split_once('-').map_or((text, None), |(text, before)| (text, Some(before)));
        let mut parts = front.split('.');
        let mut next = || number(parts.next()?);
        let numbers = [next()?, next()?, next()?];
        let word =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if parts.next().is_some() || build.is_some_and(|build| !build.split('.').all(word)) {
            return None;
        }
        let part = |part: &str| {
            if part.bytes().all(|b| b.is_ascii_digit()) && !part.is_empty() {
                number(part).map(Part::Number)
            } else {
                word(part).then(|| Part::Word(part.to_owned()))
            }
        };
        let before = before.map_or(Some(Vec::new()), |before| before.split('.').map(part).collect())?;
        Some(Self { numbers, before })
    }
}

/// Digits without zeros in front.
fn number(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (plain && (text == "0" || !text.starts_with('0'))).then(|| text.parse().ok())?
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let released = |v: &Self| v.before.is_empty();
        self.numbers
            .cmp(&other.numbers)
            .then_with(|| released(self).cmp(&released(other)))
            .then_with(|| self.before.cmp(&other.before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precedence_is_that_of_semantic_versions() {
        let order = [
            "0.9.12",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.2.0",
            "1.10.0",
            "2.0.0",
        ];
        let parsed: Vec<Version> = order.iter().map(|v| Version::parse(v).unwrap()).collect();
        assert!(parsed.windows(2).all(|pair| pair[0] < pair[1]), "{parsed:?}");
        assert_eq!(Version::parse("1.0.0+a"), Version::parse("1.0.0+b"));
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in
            ["", "1", "1.2", "v1.2.3", "01.2.3", "1.2.3.4", "1.2.x", "1.2.3-", "1.2.3-01", "1.2.3+", "-1.2.3"]
        {
            assert!(Version::parse(text).is_err(), "{text}");
        }
        for (text, same) in
            [("v1", "1.0.0"), ("1.02", "1.2.0"), (" v1.2.3-rc.1", "1.2.3-rc.1"), ("0.0.00", "0.0.0")]
        {
            assert_eq!(Version::parse_tolerant(text), Version::parse(same), "{text}");
        }
    }
}
