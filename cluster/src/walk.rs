//! From a source to its objects, one after the other, each as it stands there.
//!
//! ```text
//! bytes ─▶ inflate ─▶ text ─▶ documents ─▶ lists flattened ─▶ objects
//! ```
//!
//! # Invariants
//! - Time and memory are proportional to the input: every list is flattened once, to a fixed depth.
//! - Nothing of an object is read but its kind and version.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::decode::Fault;
use crate::document::{self, Envelope, JsonDocuments};
use crate::error::{Position, ReadError};
use crate::inflate::inflate;
use crate::read::{Raw, Source};
use crate::yaml;

/// Lists within lists are flattened this deep; `kubectl` writes one level.
const MAX_LIST_DEPTH: usize = 4;

/// Who is shown the objects.
pub(crate) trait Visitor {
    /// An object that says what it is.
    fn object(&mut self, raw: Raw<'_>) -> Result<(), ReadError>;

    /// What is no object, of what kind as far as can be told.
    fn fault(&mut self, raw: &str, kind: &str, position: &Position, fault: Fault) -> Result<(), ReadError>;
}

/// Shows all objects of a source, gzip unpacked to so many bytes at most.
pub(crate) fn walk(source: Source<'_>, max_unpacked: u64, to: &mut impl Visitor) -> Result<(), ReadError> {
    let bytes = inflate(source.name, source.bytes, max_unpacked)?;
    let text = document::text(source.name, &bytes)?;
    let name: Arc<str> = source.name.into();
    let position = |document| Position { source: Arc::clone(&name), document, items: Vec::new() };
    if document::is_json(text) {
        let mut documents = JsonDocuments::new(source.name, text);
        let mut next = documents.next()?;
        let mut count = 0;
        while let Some(raw) = next {
            next = documents.next()?;
            let alone = count == 0 && next.is_none();
            object(to, raw, None, &position((!alone).then_some(count)))?;
            count += 1;
        }
        return Ok(());
    }
    let documents = yaml::documents(source.name, text)?;
    if documents.is_empty() {
        return Err(ReadError::Empty { origin: source.name.to_owned() });
    }
    for (count, raw) in documents.iter().enumerate() {
        object(to, raw, None, &position((documents.len() > 1).then_some(count)))?;
    }
    Ok(())
}

/// Shows one object, or the objects of a list. `list` is what the kind and version of the list around it say of its items.
fn object(
    to: &mut impl Visitor,
    raw: &str,
    list: Option<(&str, &str)>,
    position: &Position,
) -> Result<(), ReadError> {
    if !raw.starts_with('{') {
        let is = match raw.as_bytes().first() {
            Some(b'n') => "null",
            Some(b'[') => "an array",
            Some(b'"') => "a string",
            Some(b't' | b'f') => "true or false",
            _ => "a number",
        };
        let problem =
            format!("this is {is}, not a Kubernetes object: an object begins with {{ and has a kind");
        return to.fault(raw, "", position, Fault::new("", problem));
    }
    let envelope = Envelope::of(raw);
    if envelope.is_list() {
        return items(to, &envelope, raw, position);
    }
    let (list_kind, list_version) = list.unwrap_or_default();
    let kind = envelope.kind.as_deref().filter(|k| !k.is_empty()).unwrap_or(list_kind);
    if kind.is_empty() {
        let problem = "missing, or no text: every object says what it is, as in \"kind\": \"Pod\"";
        return to.fault(raw, "", position, Fault::new("kind", problem));
    }
    let version = envelope.api_version.as_deref().unwrap_or(list_version);
    to.object(Raw { kind, version, json: raw, position })
}

fn items(
    to: &mut impl Visitor,
    envelope: &Envelope<'_>,
    raw: &str,
    position: &Position,
) -> Result<(), ReadError> {
    let kind = envelope.kind.as_deref().unwrap_or_default();
    if envelope.odd_items {
        return to.fault(raw, kind, position, Fault::new("items", "not a list"));
    }
    if position.items.len() >= MAX_LIST_DEPTH {
        let problem = format!("lists within lists, more than {MAX_LIST_DEPTH} deep");
        return to.fault(raw, kind, position, Fault::new("items", problem));
    }
    let of =
        (kind.strip_suffix("List").unwrap_or_default(), envelope.api_version.as_deref().unwrap_or_default());
    let mut position = position.clone();
    for (at, item) in envelope.items.iter().flatten().map(|item: &&RawValue| item.get()).enumerate() {
        position.items.push(at);
        object(to, item, (!of.0.is_empty()).then_some(of), &position)?;
        position.items.pop();
    }
    Ok(())
}
