//! Reads snapshots: JSON or YAML, plain or gzipped, lists or single objects.
//!
//! ```text
//! bytes ─▶ walk ─▶ objects by kind ─▶ Snapshot
//! ```
//!
//! # Invariants
//! - A malformed object is an error that names it; [`ReadOptions::skip_invalid`] collects such errors instead. What is
//!   no JSON or YAML at all is an error always, since nobody knows what was lost.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::decode::{Decoded, Decoder, Fault};
use crate::error::{Position, ReadError, Shown};
use crate::kind::Kind;
use crate::snapshot::Snapshot;
use crate::walk::{Visitor, walk};

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
        walk(*source, options.max_unpacked, &mut reader)?;
    }
    Ok(reader.snapshot)
}

/// An object as it stands in a source, of whatever kind.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    /// Its kind.
    pub kind: &'a str,
    /// Its API version, as `apps/v1`; empty where neither it nor the list around it says.
    pub version: &'a str,
    /// All of it, as JSON.
    pub json: &'a str,
    /// Where it stands.
    pub position: &'a Position,
}

impl Raw<'_> {
    /// Whether it is of this kind and API group, which is empty for the core of Kubernetes. A version that is not stated is of
    /// any group.
    pub fn is(&self, kind: &str, group: &str) -> bool {
        let stated = self.version.split_once('/').map_or("", |(group, _)| group);
        self.kind == kind && (self.version.is_empty() || stated == group)
    }
}

/// Hands out every object of these sources as it stands there: for what a [`Snapshot`] does not keep. What is no object at all
/// is passed over, as [`read()`] has complained of it.
///
/// ```
/// use stowage_cluster::{ReadOptions, Source, visit};
///
/// let bytes = br#"{"kind": "JobList", "apiVersion": "batch/v1", "items": [{"metadata": {"name": "a"}}]}"#;
/// let mut jobs = 0;
/// visit(&[Source { name: "jobs.json", bytes }], &ReadOptions::default(), &mut |raw| {
///     jobs += usize::from(raw.is("Job", "batch"));
/// })?;
/// assert_eq!(jobs, 1);
/// # Ok::<(), stowage_cluster::ReadError>(())
/// ```
///
/// # Errors
/// Where a source cannot be read at all.
pub fn visit(
    sources: &[Source<'_>],
    options: &ReadOptions,
    see: &mut dyn FnMut(Raw<'_>),
) -> Result<(), ReadError> {
    struct Seer<'s>(&'s mut dyn FnMut(Raw<'_>));
    impl Visitor for Seer<'_> {
        fn object(&mut self, raw: Raw<'_>) -> Result<(), ReadError> {
            (self.0)(raw);
            Ok(())
        }

        fn fault(&mut self, _: &str, _: &str, _: &Position, _: Fault) -> Result<(), ReadError> {
            Ok(())
        }
    }
    let mut seer = Seer(see);
    sources.iter().try_for_each(|source| walk(*source, options.max_unpacked, &mut seer))
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
}

impl Visitor for Reader<'_> {
    fn object(&mut self, raw: Raw<'_>) -> Result<(), ReadError> {
        let Raw { kind: name, version, json, position } = raw;
        let Some(kind) = Kind::of(name, version) else {
            *self.snapshot.ignored.entry(Shown(name).to_string()).or_insert(0) += 1;
            return Ok(());
        };
        self.keep(kind, json, position).or_else(|fault| self.fault(json, kind.name(), position, fault))
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
