//! Why a pod runs on Fargate or on nodes: what `FargatePolicies` make of it on this snapshot, and what a controller has made of
//! it so far.
//!
//! ```text
//! sources ─▶ Seen ─┐
//!                  ├─▶ tell ─▶ Story ─┬─▶ document ─▶ JSON, YAML
//! plan::Ground ────┘                  └─▶ words ────▶ table
//! ```

mod document;
mod seen;
mod story;
mod words;

pub(super) use document::{Told, of as document};
pub(super) use seen::Seen;
pub(super) use story::{Story, tell};

use crate::render::look::{Look, Style};
use crate::render::section;
use crate::text::{safe, wrap};

/// Columns of the names of parts, and two more.
const NAMES: usize = 10;

impl Story {
    /// The pod, as `namespace/name`.
    pub(super) fn name(&self) -> &str {
        &self.pod.name
    }
}

/// The section of the table.
pub(super) fn table(story: &Story, look: &Look, out: &mut String) {
    section("Fargate", Style::Bold, look, out);
    let rest = " ".repeat(2 + NAMES);
    for (name, text) in words::lines(story) {
        wrap(out, &safe(&text), look.width, &format!("  {name:NAMES$}"), &rest);
    }
}
