//! Files of capacity errors and zonal shifts: what launches have told, for plans.
//!
//! ```json
//! {"errors": [{"instanceType": "m7i.large", "zone": "us-east-1a", "capacityType": "spot",
//!              "code": "InsufficientInstanceCapacity", "at": "2026-07-20T12:00:00Z"}],
//!  "zonalShifts": [{"zone": "use1-az1", "until": "2026-07-20T18:00:00Z"}]}
//! ```
//!
//! Errors are gone through in the order in which they came, so that those that came again last longer, and families that
//! fail are backed off. One without a moment is of now.

use serde::Deserialize;
use stowage_api::well_known::{ON_DEMAND, RESERVED, SPOT};

use super::{CapacityFault, OfferingKey, Unavailable};
use crate::parse::only_objects;
use crate::time::Timestamp;

/// The form of a file, for people who have got it wrong.
const FORM: &str = r#"write {"errors": [...], "zonalShifts": [...]}, as docs/pricing.md has it"#;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct File {
    errors: Vec<CapacityError>,
    zonal_shifts: Vec<ZonalShift>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CapacityError {
    instance_type: String,
    zone: String,
    capacity_type: String,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    at: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ZonalShift {
    zone: String,
    #[serde(default)]
    until: Option<Timestamp>,
}

impl Unavailable {
    /// Reads a file of capacity errors and zonal shifts, at `now`.
    ///
    /// ```
    /// use stowage_pricing::{OfferingKey, Timestamp, Unavailable};
    ///
    /// let noon: Timestamp = "2026-07-20T12:00:00Z".parse()?;
    /// let text = br#"{"errors": [{"instanceType": "m7i.large", "zone": "us-east-1a", "capacityType": "spot"}]}"#;
    /// let away = Unavailable::parse(text, "errors.json", noon)?;
    /// assert!(away.is_away(noon, &OfferingKey::new("m7i.large", "us-east-1a", "spot")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// One line that says where and what.
    pub fn parse(bytes: &[u8], file_name: &str, now: Timestamp) -> Result<Self, String> {
        let of_file = |problem: String| format!("capacity errors {file_name}: {problem}");
        match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
            None => return Err(of_file(format!("the file is empty; {FORM}"))),
            Some(b'{') => {}
            Some(_) => return Err(of_file(format!("is no JSON object; {FORM}"))),
        }
        only_objects(bytes).map_err(of_file)?;
        let File { errors, zonal_shifts } =
            serde_json::from_slice(bytes).map_err(|error| of_file(format!("{error}; {FORM}")))?;
        let mut away = Self::default();
        let mut marks = Vec::with_capacity(errors.len());
        for (at, error) in errors.iter().enumerate() {
            let of_error =
                |field: &str, problem: &str| Err(of_file(format!("errors[{at}].{field} {problem}")));
            if error.instance_type.is_empty() {
                return of_error("instanceType", "is empty; write one such as m7i.large");
            }
            if error.zone.is_empty() {
                return of_error("zone", "is empty; write one such as us-east-1a");
            }
            if ![ON_DEMAND, SPOT, RESERVED].contains(&error.capacity_type.as_str()) {
                return of_error("capacityType", "is none; write on-demand, spot or reserved");
            }
            let fault = match &error.code {
                None => CapacityFault::Offering,
                Some(code) => match CapacityFault::of_code(code) {
                    Some(fault) => fault,
                    None => {
                        return of_error(
                            "code",
                            "says nothing of capacity; leave it out, or the whole error",
                        );
                    }
                },
            };
            marks.push((error.at.unwrap_or(now).min(now), error, fault));
        }
        marks.sort_by_key(|(at, ..)| *at);
        for (at, error, fault) in marks {
            if fault == CapacityFault::CapacityType {
                away.mark_capacity_type(at, &error.capacity_type);
            } else {
                let key = OfferingKey::new(&error.instance_type, &error.zone, &error.capacity_type);
                away.mark(at, &key);
            }
        }
        for (at, shift) in zonal_shifts.iter().enumerate() {
            if shift.zone.is_empty() {
                return Err(of_file(format!(
                    "zonalShifts[{at}].zone is empty; write one such as us-east-1a or use1-az1"
                )));
            }
            away.shift(&shift.zone, shift.until);
        }
        away.sweep(now);
        Ok(away)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_seconds(1_784_548_800);

    fn error(capacity_type: &str, rest: &str) -> String {
        format!(
            r#"{{"instanceType": "m7i.large", "zone": "us-east-1a", "capacityType": "{capacity_type}"{rest}}}"#
        )
    }

    fn read(errors: &[String]) -> Result<Unavailable, String> {
        let text = format!(r#"{{"errors": [{}]}}"#, errors.join(","));
        Unavailable::parse(text.as_bytes(), "e.json", NOON)
    }

    fn spot(of: &str) -> OfferingKey {
        OfferingKey::new(of, "us-east-1a", "spot")
    }

    #[test]
    fn errors_expire_and_last_longer_when_they_come_again() {
        let at = |ago: i64| format!(r#", "at": "{}""#, NOON.plus_seconds(-ago));
        // In any order: four minutes ago for three minutes, and again a minute ago, then for six.
        let again = read(&[error("spot", &at(60)), error("spot", &at(240))]).unwrap();
        let once = read(&[error("spot", &at(200))]).unwrap();
        assert!(again.is_away(NOON.plus_seconds(299), &spot("m7i.large")));
        assert!(!again.is_away(NOON.plus_seconds(300), &spot("m7i.large")));
        assert!(!once.is_away(NOON, &spot("m7i.large")));
        // What has not been yet, was now.
        let to_come = read(&[error("spot", &at(-86_400))]).unwrap();
        assert!(!to_come.is_away(NOON.plus_seconds(180), &spot("m7i.large")));
    }

    #[test]
    fn three_types_take_their_family_along() {
        let of = |name: &str| error("spot", "").replace("m7i.large", name);
        let two = read(&["m7i.large", "m7i.xlarge"].map(of)).unwrap();
        let three = read(&["m7i.large", "m7i.xlarge", "m7i.2xlarge"].map(of)).unwrap();
        assert!(!two.is_away(NOON, &spot("m7i.4xlarge")));
        assert!(three.is_away(NOON, &spot("m7i.4xlarge")));
        assert!(!three.is_away(NOON, &spot("m6i.4xlarge")));
    }

    #[test]
    fn a_shift_ends_or_does_not() {
        let text =
            br#"{"zonalShifts": [{"zone": "use1-az1"}, {"zone": "us-east-1b", "until": "2026-07-20T12:00:01Z"}]}"#;
        let away = Unavailable::parse(text, "e.json", NOON).unwrap();
        assert!(away.is_shifted(NOON.plus_seconds(1_000_000), "use1-az1"));
        assert!(away.is_shifted(NOON, "us-east-1b") && !away.is_shifted(NOON.plus_seconds(1), "us-east-1b"));
    }

    #[test]
    fn no_spot_at_all() {
        let denied = r#", "code": "AuthFailure.ServiceLinkedRoleCreationNotPermitted""#;
        let away = read(&[error("spot", denied)]).unwrap();
        assert!(away.is_away(NOON, &OfferingKey::new("c7g.large", "us-east-1b", "spot")));
        assert!(!away.is_away(NOON, &OfferingKey::new("m7i.large", "us-east-1a", "on-demand")));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            (String::new(), "capacity errors e.json: the file is empty; write"),
            ("[]".to_owned(), "is no JSON object; write"),
            (r#"{"error": []}"#.to_owned(), "unknown field `error`"),
            (
                r#"{"zonalShifts": [["use1-az1", null]]}"#.to_owned(),
                "zonalShifts[0] is an array; write an object with named fields",
            ),
            (
                format!(r#"{{"errors": [{}]}}"#, error("free", "")),
                "errors[0].capacityType is none; write on-demand",
            ),
            (
                format!(r#"{{"errors": [{}]}}"#, error("spot", r#", "code": "Throttling""#)),
                "errors[0].code says nothing of capacity",
            ),
            (
                format!(r#"{{"errors": [{}]}}"#, error("spot", r#", "at": "noon""#)),
                "\"noon\" is no moment in time: write one as",
            ),
            (r#"{"zonalShifts": [{"zone": ""}]}"#.to_owned(), "zonalShifts[0].zone is empty"),
        ] {
            let error = Unavailable::parse(text.as_bytes(), "e.json", NOON).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
