//! From bytes to documents, and from documents to objects: text as it stands, nothing built yet.
//!
//! JSON objects stay slices of the input until their kind is known, so that a kind that is not read costs one scan.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::error::ReadError;

/// The text of a source, its byte order mark taken off.
pub(crate) fn text<'a>(origin: &str, bytes: &'a [u8]) -> Result<&'a str, ReadError> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let offset = e.valid_up_to();
        let hint = if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            "; it looks like UTF-16, which PowerShell writes: save it as UTF-8"
        } else {
            ""
        };
        let line = 1 + bytes[..offset].split(|b| *b == b'\n').skip(1).count();
        ReadError::Encoding { origin: origin.to_owned(), offset, line, hint }
    })?;
    Ok(text.trim_start_matches('\u{feff}'))
}

/// Whether a text is to be read as JSON; all else is YAML.
pub(crate) fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

/// The JSON documents of a text: whitespace or lines of `---` between them.
pub(crate) struct JsonDocuments<'a> {
    origin: &'a str,
    text: &'a str,
    at: usize,
}

impl<'a> JsonDocuments<'a> {
    pub(crate) fn new(origin: &'a str, text: &'a str) -> Self {
        Self { origin, text, at: 0 }
    }

    /// The text of the next document.
    pub(crate) fn next(&mut self) -> Result<Option<&'a str>, ReadError> {
        let rest = &self.text[self.at..];
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '-');
        self.at = self.text.len() - rest.len();
        if rest.is_empty() {
            return Ok(None);
        }
        let mut stream = serde_json::Deserializer::from_str(rest);
        let document = <&RawValue>::deserialize(&mut stream).map_err(|e| self.syntax(&e))?;
        self.at += stream.into_iter::<IgnoredAny>().byte_offset();
        Ok(Some(document.get()))
    }

    fn syntax(&self, error: &serde_json::Error) -> ReadError {
        let before = &self.text[..self.at];
        let line = error.line() + before.bytes().filter(|b| *b == b'\n').count();
        let indent = before.len() - before.rfind('\n').map_or(0, |at| at + 1);
        let column = error.column() + if error.line() == 1 { indent } else { 0 };
        let mut problem = format!("not valid JSON: {}", message(error));
        if error.is_eof() {
            problem.push_str("; was it cut off while it was written or copied?");
        }
        ReadError::Syntax { origin: self.origin.to_owned(), line, column, problem }
    }
}

/// An error's message without its position, which is relative to whatever slice was parsed.
pub(crate) fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).unwrap_or(&text).to_owned()
}

/// What must be known of an object before it is read.
#[derive(Default)]
pub(crate) struct Envelope<'a> {
    /// Kind, where it is there and a string.
    pub(crate) kind: Option<Cow<'a, str>>,
    /// API version, where it is there and a string.
    pub(crate) api_version: Option<Cow<'a, str>>,
    /// Items, where they are there and a list.
    pub(crate) items: Option<Vec<&'a RawValue>>,
    /// Whether there are items that are no list.
    pub(crate) odd_items: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow)]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    api_version: Option<&'a RawValue>,
    #[serde(borrow)]
    items: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    /// Of one object, given as a slice that is known to be valid JSON.
    pub(crate) fn of(raw: &'a str) -> Self {
        serde_json::from_str::<Fields<'a>>(raw).map(Self::from).unwrap_or_default()
    }

    /// Whether this is a list of objects: its kind ends in `List`, or it has items and no kind.
    pub(crate) fn is_list(&self) -> bool {
        match self.kind.as_deref() {
            None | Some("") => self.items.is_some(),
            Some(kind) => kind.ends_with("List"),
        }
    }
}

impl<'a> From<Fields<'a>> for Envelope<'a> {
    fn from(fields: Fields<'a>) -> Self {
        let string =
            |raw: Option<&'a RawValue>| serde_json::from_str::<Borrowed<'a>>(raw?.get()).ok().map(|b| b.0);
        let items: Option<Vec<_>> = fields.items.and_then(|raw| serde_json::from_str(raw.get()).ok());
        Self {
            kind: string(fields.kind),
            api_version: string(fields.api_version),
            odd_items: fields.items.is_some() && items.is_none(),
            items,
        }
    }
}

/// A string, borrowed where nothing in it is escaped.
#[derive(Deserialize)]
struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);
