//! The differential test: clusters made up from seeds, planned by Stowage and tried on the real kube-scheduler.
//!
//! ```text
//! seed ─▶ generate ─▶ Case ─▶ plan ─▶ check, on a stage ─▶ Outcome ─▶ report
//!                       ▲                                    │ a disagreement
//!                       └──────────── shrink ◀───────────────┘
//! ```

mod check;
mod device;
mod kubelet;
mod plan;
mod provisioner;
mod rules;
mod run;
mod shrink;
mod stage;
mod watcher;

pub use run::{Settings, replay, run};
