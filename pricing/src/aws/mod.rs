//! AWS's answers as facts: the JSON that the API, or `aws … --output json`, gives, without a call being made here.
//!
//! ```text
//! bytes ─▶ pages ─▶ elements ─▶ facts
//!            │          └─▶ passed over, each with why
//!            └─▶ more to come, or refused
//! ```
//!
//! # Invariants
//! - Fields and values that are not known are no error: AWS adds some every month.
//! - An element that cannot be used is passed over and named; the others are kept.
//! - An answer that ends before its last page says so ([`Answer::complete`]).

pub mod capacity_reservations;
pub mod commitments;
pub mod instance_types;
pub mod offerings;
pub mod price_list;
pub mod spot_history;

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::inflate::inflate;

/// Longest text of an answer that messages repeat.
const QUOTED: usize = 80;

/// What an answer held.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer<T> {
    /// What could be used.
    pub found: T,
    /// What could not, in the answer's order.
    pub passed_over: Vec<PassedOver>,
    /// Whether the last page is among the pages.
    pub complete: bool,
}

/// An element of an answer that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// Which one.
    pub what: String,
    /// Why not.
    pub why: String,
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

/// Why an answer holds no facts at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It is not what this call answers.
    #[error("the answer to {call} {problem}")]
    Unreadable {
        /// The call.
        call: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// AWS refused the call.
    #[error("AWS refused {call}: {code}{}", said(.message))]
    Refused {
        /// The call.
        call: &'static str,
        /// AWS's code: `UnauthorizedOperation`.
        code: String,
        /// AWS's words; may be empty.
        message: String,
    },
    /// None came.
    #[error("AWS gave no answer to {call}: {problem}")]
    NoAnswer {
        /// The call.
        call: &'static str,
        /// Why not.
        problem: String,
    },
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(" ({message})") }
}

impl AnswerError {
    /// Whether the call came too soon after others, so that it is worth making again after a while.
    pub fn is_throttled(&self) -> bool {
        /// The codes that AWS's own clients retry.
        const CODES: [&str; 9] = [
            "BandwidthLimitExceeded",
            "EC2ThrottledException",
            "ProvisionedThroughputExceededException",
            "RequestLimitExceeded",
            "RequestThrottled",
            "RequestThrottledException",
            "Throttling",
            "ThrottlingException",
            "TooManyRequestsException",
        ];
        matches!(self, Self::Refused { code, .. } if CODES.contains(&code.as_str()))
    }
}

/// The pages of an answer: one JSON object, several one after the other, or an array of them; plain or gzipped.
pub(crate) fn pages(bytes: &[u8], call: &'static str) -> Result<Vec<Map<String, Value>>, AnswerError> {
    let unreadable = |problem: String| AnswerError::Unreadable { call, problem };
    let bytes = inflate(bytes).map_err(|error| unreadable(format!("cannot be unpacked: {error}")))?;
    let mut pages = Vec::new();
    for document in serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>() {
        let parts = match document {
            Ok(Value::Array(parts)) => parts,
            Ok(one) => vec![one],
            Err(error) if error.is_eof() => return Err(unreadable(format!("was cut off ({error})"))),
            Err(error) => return Err(unreadable(format!("is not JSON: {error}"))),
        };
        for part in parts {
            match part {
                Value::Object(page) => match refusal(&page) {
                    Some((code, message)) => return Err(AnswerError::Refused { call, code, message }),
                    None => pages.push(page),
                },
                _ => return Err(unreadable("is not a JSON object".to_owned())),
            }
        }
    }
    if pages.is_empty() {
        return Err(unreadable("is empty".to_owned()));
    }
    Ok(pages)
}

/// AWS's code and words, where a page is an error and not an answer.
fn refusal(page: &Map<String, Value>) -> Option<(String, String)> {
    let text = |of: &Map<String, Value>, names: [&str; 2]| {
        let found = names.iter().find_map(|name| of.get(*name)?.as_str());
        found.map(|text| text.chars().take(4 * QUOTED).collect::<String>())
    };
    if let Some(error) = page.get("Error").and_then(Value::as_object) {
        let message = text(error, ["Message", "message"]).unwrap_or_default();
        return Some((text(error, ["Code", "code"])?, message));
    }
    let kind = text(page, ["__type", "__Type"])?;
    // com.amazonaws.pricing#ThrottlingException
    let code = kind.rsplit('#').next().unwrap_or(&kind).to_owned();
    Some((code, text(page, ["message", "Message"]).unwrap_or_default()))
}

/// The elements of a list that every page has under `key`, each read on its own; `name` says which one a message is
/// about.
pub(crate) fn elements<T: DeserializeOwned>(
    pages: Vec<Map<String, Value>>,
    call: &'static str,
    key: &str,
    name: &str,
) -> Result<Answer<Vec<T>>, AnswerError> {
    let mut answer = Answer { found: Vec::new(), passed_over: Vec::new(), complete: true };
    for mut page in pages {
        let token = ["NextToken", "nextToken"].iter().find_map(|field| page.get(*field)?.as_str());
        answer.complete = token.is_none_or(str::is_empty);
        let Some(Value::Array(list)) = page.remove(key) else {
            let problem = format!("has no list {key}: is it the answer to another call?");
            return Err(AnswerError::Unreadable { call, problem });
        };
        for (at, element) in list.into_iter().enumerate() {
            let what = element.get(name).and_then(Value::as_str);
            let what = what.map_or_else(|| format!("{key}[{at}]"), quoted);
            match serde_json::from_value(element) {
                Ok(found) => answer.found.push(found),
                Err(error) => answer.passed_over.push(PassedOver { what, why: error.to_string() }),
            }
        }
    }
    Ok(answer)
}

/// A text of an answer as messages repeat it.
pub(crate) fn quoted(text: &str) -> String {
    text.chars().take(QUOTED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_come_one_by_one_or_as_an_array() {
        for text in [r#"{"a": 1} {"a": 2}"#, r#"[{"a": 1}, {"a": 2}]"#, "{\"a\": 1}\n{\"a\": 2}\n"] {
            assert_eq!(pages(text.as_bytes(), "Call").unwrap().len(), 2, "{text}");
        }
    }

    #[test]
    fn what_is_no_answer_says_so() {
        let error = |text: &str| pages(text.as_bytes(), "Call").unwrap_err().to_string();
        assert_eq!(error(""), "the answer to Call is empty");
        assert_eq!(error("[]"), "the answer to Call is empty");
        assert_eq!(error("7"), "the answer to Call is not a JSON object");
        assert!(error("{\"a\": [1, ").starts_with("the answer to Call was cut off"));
        assert!(error("<html>").starts_with("the answer to Call is not JSON"));
        assert!(pages(&[0x1f, 0x8b, 0], "Call").unwrap_err().to_string().contains("cannot be unpacked"));
    }

    #[test]
    fn refusals_are_told_from_answers() {
        let query = r#"{"Error": {"Code": "RequestLimitExceeded", "Message": "Request limit exceeded."}}"#;
        let json = r#"{"__type": "com.amazonaws.pricing#AccessDeniedException", "message": "no"}"#;
        let [query, json] = [query, json].map(|text| pages(text.as_bytes(), "Call").unwrap_err());
        assert_eq!(query.to_string(), "AWS refused Call: RequestLimitExceeded (Request limit exceeded.)");
        assert_eq!(json.to_string(), "AWS refused Call: AccessDeniedException (no)");
        assert_eq!((query.is_throttled(), json.is_throttled()), (true, false));
    }

    #[test]
    fn elements_are_read_one_by_one() {
        let read = |text: &str| {
            elements::<Vec<u8>>(pages(text.as_bytes(), "Call").unwrap(), "Call", "Items", "Name")
        };
        let answer = read(r#"{"Items": [[1], {"Name": "x"}, [300]], "NextToken": "t"}"#).unwrap();
        assert_eq!((answer.found, answer.complete), (vec![vec![1]], false));
        let passed_over: Vec<&str> = answer.passed_over.iter().map(|p| p.what.as_str()).collect();
        assert_eq!(passed_over, ["x", "Items[2]"]);
        assert!(read(r#"{"Items": [], "NextToken": "t"} {"Items": []}"#).unwrap().complete);
        let error = read(r#"{"Others": []}"#).unwrap_err().to_string();
        assert_eq!(error, "the answer to Call has no list Items: is it the answer to another call?");
    }
}
