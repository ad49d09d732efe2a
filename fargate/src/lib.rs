//! Which pods run on Fargate instead of nodes: policies, verdicts, caps, and the answer to an admission.
//!
//! ```text
//! FargatePolicy ───▶ Policies ──▶ scopes ─▶ registration of the webhook
//!                       │
//! profiles of EKS ─▶ Profiles ──────────┐
//! Jobs ─▶ Jobs ─────────┼───────────────┤
//! Snapshot, Catalog ─▶ look ─▶ Verdict ─┴─▶ Cache ─▶ admit ─▶ JSON patch
//!                                            ▲   │      ▲ │
//!           documents of the leader ─────────┘   │      │ ▼
//!           guard ─▶ holds ──────────────────────┘    Ledger ◀── pods as they are stored
//! ```
//!
//! EKS decides where a pod runs when it is created, by its labels, and never again. So pods are labelled as they are admitted,
//! from verdicts that were found before. `docs/fargate.md` tells how a verdict comes about.
//!
//! # Invariants
//! - Nothing here reads a clock, a file or a network: moments are seconds since 1970, and whoever calls says them.
//! - Without a policy nothing is routed; what is in doubt runs on nodes.
//! - No input makes it panic or use memory out of proportion to its size.

mod account;
mod admit;
mod billed;
mod cache;
mod compare;
mod fleet;
mod granted;
mod guard;
mod hash;
mod hold;
mod home;
mod jobs;
mod json;
mod label;
mod ledger;
mod life;
mod lives;
mod look;
mod needs;
mod object;
mod pace;
mod plans;
mod policies;
mod policy;
mod profiles;
mod read;
mod recreate;
mod refusals;
mod request;
mod scope;
mod selector;
mod shared;
mod sighting;
mod status;
mod trial;
mod verdict;
mod workload;

pub use admit::{Admission, Answer, Left, Outcome, Reserve, admit};
pub use billed::{Billed, CAPACITY_PROVISIONED, Difference, Told};
pub use cache::{Cache, DEFAULT_LIMIT};
pub use fleet::{Fleet, Group, Young};
pub use granted::{GrantedUpTo, Level};
pub use guard::{Guard, Intent, Routed};
pub use hold::Hold;
pub use home::Home;
pub use jobs::{JobFacts, Jobs};
pub use label::{Choice, SUGGESTED_LABEL, no_profile, suggested, ways};
pub use ledger::{Ledger, MOST_TICKETS, UNSEEN_FOR};
pub use life::Life;
pub use lives::Lives;
pub use look::{AT_ONCE, Candidate, Ground, NODE_START, is_fargate_node, look, look_at};
pub use needs::{Concerns, Needs};
pub use pace::{Backoff, Bucket};
pub use policies::{Overruled, Policies, Precedence, Seen};
pub use policy::{Caps, Invalid, Labels, Mode, Never, Policy, PolicyError, PolicyId};
pub use profiles::Profiles;
pub use recreate::{Owner, Purpose, Stays, may_recreate};
pub use refusals::{Refusals, Refused};
pub use request::{Full, Request};
pub use scope::{REGISTRATION, Scope, registration};
pub use selector::Selector;
pub use shared::{DOCUMENT_BYTES, Document, MOST_DOCUMENTS, Part, Parts, VERDICTS_KEY, VERDICTS_LABEL};
pub use sighting::{FARGATE_SCHEDULER, PodKey, Sighting};
pub use status::{Aspect, Facts, Refusal, Standing, Status, status};
pub use verdict::{Before, Finding, OnNodes, Side, Steadiness, Target, Verdict, Why};
pub use workload::{Root, Workload};
