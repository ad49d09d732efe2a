//! Pods on Fargate: policies, the webhook over TLS beside EKS's own, caps, the guard, and what becomes of pods where something
//! does not answer.
//!
//! | file | |
//! |---|---|
//! | `site.rs` | a cluster with EKS's part, and what tests ask of it |
//! | `rules.rs` | which pods go, and what is said of policies that are wrong |
//! | `caps.rs` | caps through two replicas and a change of leader |
//! | `webhook.rs` | slow, expired, rotated |
//! | `load.rs` | a thousand pods a second |
//! | `waiting.rs` | pods that wait: made anew, and back |
//! | `cost.rs` | what a mixed cluster costs |

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../common/world.rs"]
mod common;

mod caps;
mod cost;
mod load;
mod rules;
mod site;
mod waiting;
mod webhook;
