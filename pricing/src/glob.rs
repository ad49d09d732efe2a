//! Patterns with `*` for any characters and `?` for one.

/// Whether a name fits a pattern. Takes time proportional to the product of their lengths at most.
///
/// ```
/// use stowage_pricing::fits_glob;
///
/// assert!(fits_glob("m7*.?xlarge", "m7i.2xlarge"));
/// assert!(!fits_glob("m7*.?xlarge", "m7i.xlarge"));
/// ```
pub fn fits_glob(glob: &str, name: &str) -> bool {
    let (glob, name): (Vec<char>, Vec<char>) = (glob.chars().collect(), name.chars().collect());
    let (mut g, mut n) = (0, 0);
    // Where the last `*` stands, and up to where of the name it reaches.
    let mut star = None;
    while n < name.len() {
        match glob.get(g) {
            Some('*') => {
                star = Some((g, n));
                g += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                g += 1;
                n += 1;
            }
            _ => {
                let Some((at, reach)) = star else { return false };
                star = Some((at, reach + 1));
                g = at + 1;
                n = reach + 1;
            }
        }
    }
    glob[g..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (glob, name, fits) in [
            ("m7i.*", "m7i.large", true),
            ("*.large", "m7i.large", true),
            ("m?i.large", "m7i.large", true),
            ("*", "", true),
            ("m*i*large", "m7i-flex.xlarge", true),
            ("m7i", "m7i.large", false),
            ("m7i.large?", "m7i.large", false),
            ("", "m7i.large", false),
        ] {
            assert_eq!(fits_glob(glob, name), fits, "{glob} {name}");
        }
        assert!(!fits_glob(&"*a".repeat(2_000), &"a".repeat(1_999)));
    }
}
