//! `--live`: the catalogue as AWS tells it, or told it not long ago.
//!
//! What asks AWS is compiled in with the feature `live` alone; without it there is one message that says so.

use std::str::FromStr;

use stowage_pricing::{Settings, Timestamp};

use crate::catalog::{Loaded, Source};
use crate::failure::Failure;
use crate::progress::Progress;

/// An age in seconds, as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "live"), allow(dead_code, reason = "read where --live is compiled in"))]
pub(crate) struct MaxAge(pub(crate) u64);

impl FromStr for MaxAge {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
        let unit = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)));
        let (number, seconds) = unit.unwrap_or((text, 1));
        let known = unit.is_some() || text == "0";
        let age = number.parse::<u64>().ok().filter(|_| known).and_then(|n| n.checked_mul(seconds));
        age.map(Self).ok_or_else(|| "write an age as 90s, 10m, 2h or 1d, or 0".to_owned())
    }
}

/// Answers of AWS as a catalogue, at `now`.
///
/// # Errors
/// Where no catalogue can be made of what AWS says or said, or this build cannot ask.
#[cfg(not(feature = "live"))]
pub(crate) fn load(_: &Source, _: &Settings, _: Timestamp, _: &Progress) -> Result<Loaded, Failure> {
    Err(Failure::new("this build of stowage cannot ask AWS: --live is not compiled in")
        .hint("build one that can: cargo build --release --features live"))
}

/// Answers of AWS as a catalogue, at `now`.
///
/// # Errors
/// Where no catalogue can be made of what AWS says or said.
#[cfg(feature = "live")]
pub(crate) fn load(
    source: &Source,
    settings: &Settings,
    now: Timestamp,
    progress: &Progress,
) -> Result<Loaded, Failure> {
    use stowage_aws::{Live, Store, Wish, read};

    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let folder = source.cache.clone().or_else(cache_folder).ok_or_else(|| {
        Failure::new("there is no folder to keep AWS's answers in").hint("give --cache FOLDER")
    })?;
    let store = Store::new(&folder, set("AWS_PROFILE").as_deref(), set("AWS_ENDPOINT_URL").as_deref());
    let wish = Wish {
        region: source.region.as_deref(),
        store: &store,
        most_age: source.max_age.map(|age| age.0),
        offline: source.offline,
        isolated: false,
        now,
    };
    progress.tell("asking AWS", 0, 0);
    let readings = read(&wish, &mut |pages| progress.tell("asking AWS, page", pages, 0));
    let live = readings.and_then(|readings| readings.live(settings, now)).map_err(Failure::new)?;
    let Live { catalog, fargate, commitments, remarks } = live;
    Ok(Loaded { catalog, remarks, fargate: fargate.map(|quote| quote.price), commitments: Some(commitments) })
}

/// Where programs of this user keep what they can do without.
#[cfg(feature = "live")]
fn cache_folder() -> Option<std::path::PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let of_user = set("XDG_CACHE_HOME").map(std::path::PathBuf::from);
    let of_user = of_user.or_else(|| Some(std::path::PathBuf::from(set("HOME")?).join(".cache")))?;
    Some(of_user.join("stowage"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_as_people_write_them() {
        let read = |text: &str| text.parse::<MaxAge>().map(|age| age.0).ok();
        let read = ["0", "90s", "10m", "2h", "1d", "0m"].map(read);
        assert_eq!(read, [Some(0), Some(90), Some(600), Some(7_200), Some(86_400), Some(0)]);
        for text in ["", "5", "m", "-1m", "1.5h", "1w", "99999999999999999999d", "9999999999999999999d"] {
            assert!(text.parse::<MaxAge>().is_err(), "{text}");
        }
    }
}
