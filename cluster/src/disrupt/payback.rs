//! Within what time a step of consolidation pays, as options state it.

use std::str::FromStr;

use stowage_api::duration;

/// Within how many seconds a step of consolidation pays; `None` for any time.
///
/// ```
/// use stowage_cluster::disrupt::Payback;
///
/// assert_eq!("1h30m".parse(), Ok(Payback(Some(5_400))));
/// assert_eq!("Never".parse(), Ok(Payback(None)));
/// assert_eq!("never".parse(), Ok(Payback(None)));
/// assert!("soon".parse::<Payback>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payback(pub Option<u64>);

impl FromStr for Payback {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("never") {
            return Ok(Self(None));
        }
        let time = duration(text)
            .ok_or_else(|| format!("`{text}` is neither a length of time, as 2h or 30m, nor Never"))?;
        Ok(Self(Some(time.as_secs())))
    }
}
