//! Which nodes may be taken away, why others may not, and what it costs their pods.
//!
//! ```text
//! Snapshot + now + what is in flight ─▶ standings: one for each Node ─▶ may it go at all? to save money?
//!                                          └─▶ its pods, what moving them costs
//! ```
//!
//! What takes nodes away asks here: consolidation, drift, emptiness, and plans made offline. A standing does not look at
//! budgets of `NodePools`: they are about how many may go at the same time, and not about which, and are in [`Room`].
//!
//! # Invariants
//! - No clock: the moment is handed in.
//! - Every node of the snapshot has a standing, in the order of names; one that may not go has a reason.
//!
//! compat: karpenter v1.14, `pkg/controllers/disruption` and `pkg/utils/{disruption,pdb,pod}`.

mod budget;
mod candidates;
mod cost;
mod cron;
mod fleet;
mod payback;
mod shields;

pub use budget::{Allowance, Left, Reason, Room, Tally, allowance, tallies};
pub use candidates::{Leaving, Mark, Moment, Refusal, Standing, leaving, standings};
pub use cost::{
    Priorities, UNIT, balanced_disruption, eviction_cost, lifetime_left, node_disruption, restlessness,
};
pub use cron::{Schedule, ScheduleError};
pub use fleet::{fleet, latest};
pub use payback::Payback;
pub use shields::Shields;
