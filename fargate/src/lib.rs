//! Which pods run on Fargate instead of nodes: policies, verdicts, caps, and the answer to an admission.
//!
//! ```text
//! FargatePolicy ──▶ Policies ─────────────┐
//! profiles of EKS ─▶ ways to them ─────┐  │
//! Snapshot, Catalog ─▶ look ─▶ Verdict ┼──┼─▶ Cache ─▶ admit ─▶ JSON patch
//!                                      └──┘              ▲ │
//!                                              Ledger ◀──┘ └─▶ pods ─▶ guard, billed
//! ```
//!
//! EKS decides where a pod runs when it is created, by its labels, and never again. So pods are labelled as they are admitted,
//! from verdicts that were found before. `docs/fargate.md` tells how a verdict comes about.
//!
//! # Invariants
//! - Nothing here reads a clock, a file or a network: moments are seconds since 1970, and whoever calls says them.
//! - Without a policy nothing is routed; what is in doubt runs on nodes.
//! - No input makes it panic or use memory out of proportion to its size.

mod admit;
mod billed;
mod cache;
mod caps;
mod decide;
mod guard;
mod hash;
mod label;
mod life;
mod object;
mod pending;
mod policy;
mod read;
mod selector;
mod status;
mod verdict;
mod workload;

pub use admit::{Admission, Answer, Left, Outcome, admit};
pub use billed::{Billed, CAPACITY_PROVISIONED, Difference, Told};
pub use cache::{Cache, DEFAULT_LIMIT, Taken};
pub use caps::{Full, Ledger, Request, UNSEEN_FOR, share};
pub use decide::{Candidate, FARGATE_SCHEDULER, Ground, is_fargate_node, known_profiles, look};
pub use guard::{Action, Guard, Routed};
pub use label::{Choice, SUGGESTED_LABEL, no_profile, suggested, ways};
pub use life::Life;
pub use pending::{Bucket, Owner, Stays, may_recreate};
pub use policy::{Caps, Labels, Mode, Never, Overruled, Policies, Policy, PolicyError, PolicyId, Seen};
pub use selector::Selector;
pub use status::{Aspect, Facts, Refusal, Status, status};
pub use verdict::{Before, Finding, OnNodes, Side, Steadiness, Target, Verdict, Why};
pub use workload::{Added, Root, Workload};
