//! Lowers a captured cluster and a catalogue to a packing problem.

use stowage_pricing::Catalog;
use stowage_solver::Problem;

use crate::note::Note;
use crate::snapshot::Snapshot;

/// The amount of attach slots of a node or instance type that states no limit: a node can never use it up, and a
/// million of them still add up in an `i64`. Not to be shown to anyone.
pub const UNLIMITED: i64 = 1 << 40;

/// How to lower.
#[derive(Clone, Debug, Default)]
pub struct LowerOptions {
    /// Take machines that are being launched (NodeClaims without a Node) as nodes that pods may be placed on. Off, they
    /// only count against their NodePools' limits: a plan then names none but Nodes of the snapshot.
    pub in_flight: bool,
}

/// A problem, and what to know about it.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// The problem.
    pub problem: Problem,
    /// What to know, in the order to show it.
    pub notes: Vec<Note>,
}

/// Why a snapshot cannot be lowered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LowerError {
    /// The pending pods together ask for more than can be counted.
    #[error(
        "the pending pods together ask for more {resource} than can be counted; pod {example} asks for the most: correct \
         its requests, or leave it out"
    )]
    TooMuch {
        /// The resource.
        resource: String,
        /// The pod that asks for the most.
        example: String,
    },
}

/// Lowers `snapshot`, with `catalog` to buy from.
pub fn lower(
    _snapshot: &Snapshot,
    _catalog: &Catalog,
    _options: &LowerOptions,
) -> Result<Lowered, LowerError> {
    Ok(Lowered { problem: Problem::default(), notes: Vec::new() })
}
