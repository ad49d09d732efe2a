//! Disruption: nodes that are empty, out of date or too old go, within the budgets of their `NodePools`.
//!
//! ```text
//! NodeClaims ─▶ conditions ─▶ Drifted, Consolidatable         (marks)
//!          └──▶ expire ─▶ deleted: nobody is asked
//! Snapshot ─▶ standings, room ─▶ methods ─▶ Command ─▶ looked at again ─▶ queue ─▶ hands ─▶ API server
//!                                   └▶ simulate, consolidate: a place for every pod   └▶ life: drained and ended
//! ```
//!
//! What decides is pure ([`conditions`], [`methods`], [`simulate`], [`queue`]); the loops around it read the clock, EC2 and
//! the API server ([`marks`], [`run`], [`hands`]). Which node may go at all, and what budgets leave, is known to
//! [`stowage_cluster::disrupt`].
//!
//! # Invariants
//! - At no moment do more nodes go than budgets allow: whoever decides counts what was just done, and marks in the cluster
//!   count for whoever comes after.
//! - Nothing goes before its pods have a place, and what is launched for them takes pods.
//! - All that must not be lost stands in the cluster.
//!
//! compat: karpenter v1.14, `pkg/controllers/disruption`.

pub mod command;
pub mod conditions;
pub mod consolidate;
pub mod expire;
pub mod explain;
pub mod hands;
pub mod marks;
pub mod methods;
pub mod orphans;
pub mod queue;
pub mod run;
pub mod simulate;
pub mod tell;
pub mod words;
