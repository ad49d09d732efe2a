//! Fargate on EKS: whether a pod can run there, on what shape, and for how much.
//!
//! ```text
//! profiles ──▶ which profile takes it ─┐
//! pod's traits ▶ every rule ───────────┼─▶ fit: shape, disk, price an hour ── or every reason why not
//! pod's requests ▶ + 256 MiB, up ──────┘
//! ```
//!
//! # Invariants
//! - A pod that cannot run there gets every reason, not the first.
//! - Nothing is rounded down: neither what is provisioned nor what is billed.

mod eligibility;
mod profile;
mod shape;

pub use eligibility::{Fit, Ineligible, PodTraits, VolumeSource, eligible};
pub use profile::{
    MAX_LABELS, MAX_SELECTORS, PROFILE_LABEL, Profile, ProfileSelector, choose_profile, parse_profiles,
};
pub use shape::{MAX_DISK_GIB, PodRequest, Shape, TooLarge, embedded_rates, hourly_price, price_of_run};
