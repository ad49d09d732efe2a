//! Reading a catalogue file: from bytes to a JSON array, and from its elements to instance types.
//!
//! The shape is that of the instance-type file of Karpenter's KWOK provider, with `overhead`, `labels` and, on offerings,
//! `Estimated` and `ReservationCapacity` besides; docs and messages call the fields by their first spelling below.
//!
//! ```text
//! [{name, architecture = amd64, operatingSystems = [linux], resources, overhead = {}, labels = {},
//!   offerings: [{Price|price, Available|available, Estimated|estimated = false, ReservationCapacity = no limit,
//!                Requirements|requirements: [{key, operator, values = []}]}]}]
//! ```
//!
//! Unknown fields are passed over, because other programs add theirs. Every error names the file, the type, the field and
//! what to write instead.

mod field;
mod instance_type;
#[cfg(test)]
mod tests;

use std::str;

use serde_json::Value;

use crate::catalog::{Catalog, CatalogSource};
use crate::error::Error;
use crate::inflate::inflate;

/// Refuses lists of anything but objects in the object that a file is: serde would take an array for an object, field by
/// field in the order of the code.
pub(crate) fn only_objects(bytes: &[u8]) -> Result<(), String> {
    // What does not read is told by whoever reads it.
    let Ok(Value::Object(file)) = serde_json::from_slice(bytes) else { return Ok(()) };
    for (key, list) in &file {
        let elements = list.as_array().into_iter().flatten().enumerate();
        for (at, element) in elements {
            let kind = match element {
                Value::Object(_) => continue,
                Value::Array(_) => "an array",
                Value::Null => "null",
                _ => "a plain value",
            };
            return Err(format!("{key}[{at}] is {kind}; write an object with named fields"));
        }
    }
    Ok(())
}

/// What is wrong, and where, still without the file's name.
struct Problem {
    /// Steps to the field, outermost first: `type m7i.large`, `offerings[2]`, `Price`.
    place: Vec<String>,
    what: String,
}

impl Problem {
    fn new(what: impl Into<String>) -> Self {
        Self { place: Vec::new(), what: what.into() }
    }

    /// The same problem, seen from one level further out.
    fn within(mut self, step: impl Into<String>) -> Self {
        self.place.insert(0, step.into());
        self
    }

    fn in_file(self, file: &str) -> Error {
        let mut place = String::new();
        for (depth, step) in self.place.iter().enumerate() {
            place.push_str(match depth {
                0 | 1 => ", ",
                _ if step.starts_with('[') => "",
                _ => ".",
            });
            place.push_str(step);
        }
        Error::File { file: file.to_owned(), place, problem: self.what }
    }
}

impl Catalog {
    /// Reads a catalogue file, plain or gzipped; `file_name` is what messages call it.
    ///
    /// # Errors
    /// For anything that is not a catalogue with at least one type and one available offering, each naming the file, the
    /// type, the field and the remedy.
    pub fn parse(bytes: &[u8], file_name: &str) -> Result<Self, Error> {
        let mut types = read(bytes).map_err(|problem| problem.in_file(file_name))?;
        types.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { types, source: CatalogSource::File { name: file_name.to_owned() } }.sharing())
    }
}

fn read(bytes: &[u8]) -> Result<Vec<crate::InstanceType>, Problem> {
    let bytes = inflate(bytes).map_err(|error| Problem::new(format!("cannot be unpacked: {error}")))?;
    let text = str::from_utf8(&bytes).map_err(|error| not_utf8(&bytes, error))?;
    let text = text.trim_start_matches('\u{feff}');
    let document = serde_json::from_str(text).map_err(|error| not_json(text, &error))?;
    let entries = match document {
        Value::Array(entries) => entries,
        Value::Object(object) if object.contains_key("kind") => {
            let problem = "is a Kubernetes object, not a catalogue; give a JSON array of instance types here, and snapshots as the \
                           snapshot";
            return Err(Problem::new(problem));
        }
        other => {
            return Err(Problem::new(format!(
                "is {}; a catalogue is a JSON array of instance types",
                field::noun(&other)
            )));
        }
    };
    if entries.is_empty() {
        return Err(Problem::new("has no instance types; give at least one"));
    }
    let types = instance_type::read_all(&entries)?;
    let mut offerings = types.iter().flat_map(|t| &t.offerings).peekable();
    if offerings.peek().is_none() {
        return Err(Problem::new(
            "has no offerings: no type says where and at what price it can be bought; fill in offerings",
        ));
    }
    if !offerings.any(|o| o.available) {
        return Err(Problem::new(
            "has no available offering: each says \"Available\": false; set it to true where one can be bought",
        ));
    }
    Ok(types)
}

fn not_utf8(bytes: &[u8], error: str::Utf8Error) -> Problem {
    let at = error.valid_up_to();
    let line = bytes[..at].split(|b| *b == b'\n').count();
    Problem::new(format!(
        "is not UTF-8 text: byte 0x{:02x} at offset {at} (line {line}); save it as UTF-8",
        bytes.get(at).copied().unwrap_or_default()
    ))
}

fn not_json(text: &str, error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or(&message);
    if error.is_eof() {
        return Problem::new(if text.trim().is_empty() {
            "is empty; a catalogue is a JSON array of instance types".to_owned()
        } else {
            format!("ends too early, at line {line} column {column} ({message}); was it cut off?")
        });
    }
    // The column is that of the offending character, counted from one in bytes, or one beside it.
    let from = column.saturating_sub(2);
    let around: String = text
        .lines()
        .nth(line.saturating_sub(1))
        .unwrap_or_default()
        .bytes()
        .skip(from)
        .take(12)
        .map(char::from)
        .collect();
    let hint = if ["NaN", "Inf", "nan", "inf"].iter().any(|word| around.contains(word)) {
        "; JSON has no NaN and no infinity: write a number"
    } else {
        ""
    };
    Problem::new(format!("is not JSON: {message} at line {line} column {column}{hint}"))
}
