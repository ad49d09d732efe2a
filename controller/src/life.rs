//! The life of a machine after its launch: its node joins, takes pods, and goes again with all that was made for it.
//!
//! ```text
//! Launched ─▶ Registered ─▶ Initialized ─▶ … ─▶ asked to go ─▶ drained ─▶ volumes detached ─▶ instance ended ─▶ gone
//!    └─ too late: given up           └─ instance lost: collected
//! ```
//!
//! What comes next is decided by pure functions ([`step`], [`join`], [`drain`], [`collect`]) from what the cluster says, so
//! that whoever takes over goes on where the last one stopped. The loops around them read and write ([`run`], [`end`]).
//!
//! compat: karpenter v1.14, `pkg/controllers/nodeclaim` and `pkg/controllers/node/termination`.

pub mod collect;
mod consistent;
pub mod drain;
pub mod end;
pub mod evictions;
pub mod healthy;
pub mod join;
pub mod machines;
pub(crate) mod notes;
pub mod quiet;
pub mod run;
pub mod step;
pub mod surge;
mod sweep;
pub mod volumes;

/// Who has to agree before a NodeClaim or its Node is gone: us, once the machine is.
pub const FINALIZER: &str = "karpenter.sh/termination";
