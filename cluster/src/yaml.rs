//! YAML, turned into JSON text so that both take the same path from there.
//!
//! The text is written while the YAML is parsed: no tree of it is ever held.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::error::ReadError;

/// Deeper than any Kubernetes object, and shallow enough for any stack.
const MAX_DEPTH: usize = 100;

/// The documents of a YAML text, each as JSON; documents with nothing in them are left out.
pub(crate) fn documents(origin: &str, text: &str) -> Result<Vec<String>, ReadError> {
    // Without aliases every event and node takes at least one byte, so these bounds are beyond any plain text; what
    // aliases may add is bounded by the parser's own limits (a million events).
    let size = text.len() * 2 + 1000;
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_events: size,
            max_nodes: size,
            max_documents: size,
            max_total_scalar_bytes: size,
        },
        with_snippet: false,
        emit_comments: false,
    };
    let documents: Vec<Json> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|e| syntax(origin, &e))?;
    Ok(documents.into_iter().map(|Json(text)| text).collect())
}

fn syntax(origin: &str, error: &serde_saphyr::Error) -> ReadError {
    let at = error.location();
    let (line, column) = at.map_or((1, 1), |at| (at.line() as usize, at.column() as usize));
    let problem = error.without_snippet().to_string();
    // The location stands before the problem already.
    let problem = match problem.split_once(" at line ") {
        Some((what, _)) => what.to_owned(),
        None => problem,
    };
    ReadError::Syntax {
        origin: origin.to_owned(),
        line,
        column,
        problem: format!("not valid YAML: {problem}"),
    }
}

/// JSON text of whatever is deserialised.
struct Json(String);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut out = String::new();
        Write(&mut out).deserialize(deserializer)?;
        Ok(Self(out))
    }
}

/// Appends one value.
struct Write<'a>(&'a mut String);

impl Write<'_> {
    fn scalar<T: serde::Serialize, E: Error>(self, value: T) -> Result<(), E> {
        self.0.push_str(&serde_json::to_string(&value).map_err(E::custom)?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Write<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Write<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has too")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.scalar(())
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.scalar(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.0.push('[');
        let start = self.0.len();
        loop {
            let before = self.0.len();
            if before > start {
                self.0.push(',');
            }
            if items.next_element_seed(Write(self.0))?.is_none() {
                self.0.truncate(before);
                break;
            }
        }
        self.0.push(']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        self.0.push('{');
        let mut first = true;
        while let Some(key) = entries.next_key::<String>()? {
            if !first {
                self.0.push(',');
            }
            first = false;
            Write(self.0).scalar::<_, A::Error>(key)?;
            self.0.push(':');
            entries.next_value_seed(Write(self.0))?;
        }
        self.0.push('}');
        Ok(())
    }
}
