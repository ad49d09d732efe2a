//! What a process of a cluster owes to those who run it: one that leads, whether it is well, and what it measured.

pub mod calls;
pub mod disruptions;
mod exposition;
pub mod health;
pub mod interruptions;
pub mod lease;
pub mod lives;
pub mod metrics;
pub mod pod_times;
pub mod state;
mod summary;
pub(crate) mod transitions;
