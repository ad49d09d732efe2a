//! A captured cluster: reading a snapshot, and lowering it to a packing problem.
//!
//! ```text
//! kubectl get … -o json ─▶ read ─▶ Snapshot ─┐
//!                                            ├─▶ lower ─▶ solver::Problem + notes
//!                      pricing::Catalog ─────┘
//! ```
//!
//! # Invariants
//! - Nothing here reads a file, a clock, the environment or a network: bytes come in, values go out.
//! - No input makes it panic, hang, or use memory out of proportion to its size.
//! - Nothing that a snapshot asks for is dropped silently: what planning does not honour becomes a [`Note`].

mod cel;
mod decode;
pub mod disrupt;
mod document;
mod error;
mod index;
mod inflate;
mod kind;
mod learn;
mod lower;
mod note;
pub mod object;
mod read;
mod requests;
mod snapshot;
mod walk;
pub mod words;
mod yaml;

pub use error::{ObjectError, Position, ReadError};
pub use index::Index;
pub use kind::Kind;
pub use learn::learn;
pub use lower::{
    Commitment, FargateOptions, LowerError, LowerOptions, Lowered, MinValuesPolicy, Nominated, OnFargate,
    PreferencePolicy, UNLIMITED, list_nominated, lower, stands_for_devices,
};
pub use note::{Note, Rule};
pub use read::{Raw, ReadOptions, Source, read, visit};
pub use requests::{allowed_for, asked_for};
pub use snapshot::{LeftOut, Pod, Snapshot};
