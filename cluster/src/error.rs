//! What can be wrong with a snapshot, said so that a person can put it right: source, object, field, problem, remedy.

use std::fmt;
use std::sync::Arc;

/// Where an object stands in its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Name of the source.
    pub source: Arc<str>,
    /// Document, from 0; `None` where the source has but one.
    pub document: Option<usize>,
    /// Position in each enclosing list, from 0.
    pub items: Vec<usize>,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if let Some(document) = self.document {
            write!(f, ": document {}", document + 1)?;
        }
        for (depth, item) in self.items.iter().enumerate() {
            f.write_str(if depth == 0 { ": " } else { "." })?;
            write!(f, "items[{item}]")?;
        }
        Ok(())
    }
}

/// A malformed object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectError {
    /// Where it stands.
    pub position: Position,
    /// Kind, namespace and name, as far as they can be made out: `Pod default/web-0`.
    pub object: Option<String>,
    /// The field, as `spec.containers[0].resources.requests.cpu`; empty where it is the object as a whole.
    pub field: String,
    /// What is wrong, and what would be right.
    pub problem: String,
    /// Of a Pod: the node that it runs on, where that can be made out. What it takes there, and whether it may leave, is not known.
    pub node: Option<String>,
}

impl fmt::Display for ObjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.position)?;
        if let Some(object) = &self.object {
            write!(f, ", {}", Shown(object))?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", Shown(&self.field))?;
        }
        write!(f, ": {}", Shown(&self.problem))
    }
}

/// Text that may come from the input: on one line, and not a megabyte of it.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 400;
        for (count, c) in self.0.chars().enumerate() {
            if count == LONGEST {
                return f.write_str("…");
            }
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        Ok(())
    }
}

impl std::error::Error for ObjectError {}

/// Why a snapshot cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Gzip that does not unpack.
    #[error("{origin}: cannot unpack the gzip data: {problem}")]
    Gzip {
        /// The source.
        origin: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Gzip that unpacks to more than is allowed.
    #[error(
        "{origin}: unpacks to more than {limit} MiB; if that is meant, unpack it first and give the plain file"
    )]
    TooLarge {
        /// The source.
        origin: String,
        /// The limit, MiB.
        limit: u64,
    },
    /// Not text.
    #[error("{origin}: not UTF-8 text at byte {offset} (line {line}){hint}")]
    Encoding {
        /// The source.
        origin: String,
        /// First bad byte, from 0, in the unpacked data.
        offset: usize,
        /// Its line, from 1.
        line: usize,
        /// What it may be instead.
        hint: &'static str,
    },
    /// Neither JSON nor YAML.
    #[error("{origin}: line {line}, column {column}: {problem}")]
    Syntax {
        /// The source.
        origin: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong.
        problem: String,
    },
    /// Nothing in it at all.
    #[error(
        "{origin}: there is nothing in it; `kubectl get pods,nodes,... -A -o json` prints a List even where it finds \
         nothing"
    )]
    Empty {
        /// The source.
        origin: String,
    },
    /// A malformed object.
    #[error("{0}\nhint: --skip-invalid leaves such objects out, and lists them")]
    Object(Box<ObjectError>),
}
