//! Reads snapshots: JSON or YAML, plain or gzipped, lists or single objects.
//!
//! ```text
//! bytes ─▶ inflate ─▶ text ─▶ documents ─▶ lists flattened ─▶ objects by kind ─▶ Snapshot
//! ```
//!
//! # Invariants
//! - Time and memory are proportional to the input: every list is flattened once, to a fixed depth, and every object
//!   has a size that etcd could have held.
//! - A malformed object is an error that names it; [`ReadOptions::skip_invalid`] collects such errors instead. What is
//!   no JSON or YAML at all is an error always, since nobody knows what was lost.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::decode::{Decoded, Decoder, Fault};
use crate::document::{self, Envelope, JsonDocuments};
use crate::error::{Position, ReadError, Shown};
use crate::inflate::inflate;
use crate::kind::Kind;
use crate::snapshot::Snapshot;
use crate::yaml;

/// Lists within lists are flattened this deep; `kubectl` writes one level.
const MAX_LIST_DEPTH: usize = 4;

/// A file or stream, its bytes read by the caller.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its name, for messages.
    pub name: &'a str,
    /// What is in it.
    pub bytes: &'a [u8],
}

/// How to read.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// Leave malformed objects out, and collect what is wrong with them in [`Snapshot::invalid`].
    pub skip_invalid: bool,
    /// The most that a gzipped source may unpack to, in bytes. Plain sources have no limit: their size is no surprise.
    pub max_unpacked: u64,
}

impl Default for ReadOptions {
    fn default() -> Self {
        // A hundred thousand pods with every field that the API server keeps are about 1 GiB.
        Self { skip_invalid: false, max_unpacked: 2 << 30 }
    }
}

/// Reads one snapshot from one or several sources.
///
/// ```
/// use stowage_cluster::{ReadOptions, Source, read};
///
/// let bytes = br#"{"kind": "PodList", "items": [{"metadata": {"name": "web-0"}}]}"#;
/// let snapshot = read(&[Source { name: "pods.json", bytes }], &ReadOptions::default())?;
/// assert_eq!(snapshot.pods[0].key(), "default/web-0");
/// # Ok::<(), stowage_cluster::ReadError>(())
/// ```
///
/// # Errors
/// The first thing that cannot be read. An empty list is a valid snapshot; a source with nothing in it is not.
pub fn read(sources: &[Source<'_>], options: &ReadOptions) -> Result<Snapshot, ReadError> {
    let mut reader = Reader::new(options);
    for source in sources {
        reader.source(*source)?;
    }
    Ok(reader.snapshot)
}

struct Reader<'o> {
    options: &'o ReadOptions,
    snapshot: Snapshot,
    /// Where each object was first seen.
    seen: HashMap<(Kind, Arc<str>, Box<str>), Position>,
    decoder: Decoder,
}

impl<'o> Reader<'o> {
    fn new(options: &'o ReadOptions) -> Self {
        Self { options, snapshot: Snapshot::default(), seen: HashMap::new(), decoder: Decoder::default() }
    }

    fn source(&mut self, source: Source<'_>) -> Result<(), ReadError> {
        let bytes = inflate(source.name, source.bytes, self.options.max_unpacked)?;
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
                self.object(raw, None, &position((!alone).then_some(count)))?;
                count += 1;
            }
            return Ok(());
        }
        let documents = yaml::documents(source.name, text)?;
        if documents.is_empty() {
            return Err(ReadError::Empty { origin: source.name.to_owned() });
        }
        for (count, raw) in documents.iter().enumerate() {
            self.object(raw, None, &position((documents.len() > 1).then_some(count)))?;
        }
        Ok(())
    }

    /// Reads one object, or the objects of a list. `list` is what the kind and version of the list around it say of
    /// its items.
    fn object(
        &mut self,
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
            return self.fault(raw, "", position, Fault::new("", problem));
        }
        let envelope = Envelope::of(raw);
        if envelope.is_list() {
            return self.list(&envelope, raw, position);
        }
        let (list_kind, list_version) = list.unwrap_or_default();
        let name = envelope.kind.as_deref().filter(|k| !k.is_empty()).unwrap_or(list_kind);
        if name.is_empty() {
            let problem = "missing, or no text: every object says what it is, as in \"kind\": \"Pod\"";
            return self.fault(raw, "", position, Fault::new("kind", problem));
        }
        let version = envelope.api_version.as_deref().unwrap_or(list_version);
        let Some(kind) = Kind::of(name, version) else {
            *self.snapshot.ignored.entry(Shown(name).to_string()).or_insert(0) += 1;
            return Ok(());
        };
        self.keep(kind, raw, position).or_else(|fault| self.fault(raw, kind.name(), position, fault))
    }

    fn keep(&mut self, kind: Kind, raw: &str, position: &Position) -> Result<(), Fault> {
        let Decoded { namespace, name, object } = self.decoder.decode(kind, raw)?;
        match self.seen.entry((kind, namespace, name)) {
            Entry::Occupied(first) => {
                let problem = format!(
                    "there is already a {kind} of this name at {}: remove one of the two",
                    first.get(),
                    kind = kind.name()
                );
                return Err(Fault::new("metadata.name", problem));
            }
            Entry::Vacant(free) => free.insert(position.clone()),
        };
        object.add_to(&mut self.snapshot);
        Ok(())
    }

    fn list(&mut self, envelope: &Envelope<'_>, raw: &str, position: &Position) -> Result<(), ReadError> {
        let kind = envelope.kind.as_deref().unwrap_or_default();
        if envelope.odd_items {
            return self.fault(raw, kind, position, Fault::new("items", "not a list"));
        }
        if position.items.len() >= MAX_LIST_DEPTH {
            let problem = format!("lists within lists, more than {MAX_LIST_DEPTH} deep");
            return self.fault(raw, kind, position, Fault::new("items", problem));
        }
        let of = (
            kind.strip_suffix("List").unwrap_or_default(),
            envelope.api_version.as_deref().unwrap_or_default(),
        );
        let mut position = position.clone();
        for (at, item) in envelope.items.iter().flatten().map(|item: &&RawValue| item.get()).enumerate() {
            position.items.push(at);
            self.object(item, (!of.0.is_empty()).then_some(of), &position)?;
            position.items.pop();
        }
        Ok(())
    }

    fn fault(&mut self, raw: &str, kind: &str, position: &Position, fault: Fault) -> Result<(), ReadError> {
        let error = fault.at(raw, kind, position);
        if !self.options.skip_invalid {
            return Err(ReadError::Object(Box::new(error)));
        }
        self.snapshot.invalid.push(error);
        Ok(())
    }
}
