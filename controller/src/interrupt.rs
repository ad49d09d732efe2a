//! Forceful disruption: machines that are taken away, fail or fall ill go at once. Nobody is asked, no budget holds them up,
//! and nothing is made ready in their place first; their pods are planned for as soon as they are evicted.
//!
//! ```text
//! SQS ─▶ message ─▶ act ──────────────┐
//! DescribeInstanceStatus ─▶ status ───┼─▶ oust: NodeClaim deleted, Node tainted, said ─▶ life: drained and ended
//! conditions of Nodes ─▶ repair ──────┘
//! ARC ─▶ shift ─▶ Shortages: no new capacity in a zone
//! ```
//!
//! What is done is decided by pure functions ([`message`], [`act`], [`repair`]); the loops beside them ask AWS, read the clock
//! and write ([`run`], [`status`], [`mend`], [`shift`]).
//!
//! # Invariants
//! - A message leaves the queue when what it asks for was done, or when nobody here could ever do it.
//! - What AWS says is believed of machines of this cluster only, and only as far as this: that they go.
//! - No loop ends because AWS does not answer. It is said once, measured, and tried again.
//!
//! compat: karpenter-provider-aws v1.14, `pkg/controllers/interruption`, `arczonalshift`; karpenter v1.14,
//! `pkg/controllers/node/health`.

pub mod act;
pub mod mend;
pub mod message;
pub mod oust;
pub mod repair;
pub mod run;
pub mod shift;
pub mod status;
mod trouble;
