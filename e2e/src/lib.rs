//! The real control plane, and what is tried on it; an AWS on loopback.
//!
//! ```text
//! components ─▶ process ─▶ control_plane ─▶ client ─▶ the suites
//! build once    ends with   etcd, API server,
//!               us          scheduler, controllers
//! ```

pub mod aws;
mod case;
mod client;
mod components;
mod control_plane;
mod controller;
pub mod crds;
mod daemon;
pub mod differential;
mod eks;
pub mod events;
mod generate;
mod helm;
mod kubelets;
mod objects;
mod process;
mod prometheus;
mod random;
mod relay;
mod viewer;
mod world;

pub use client::{Answer, Client};
pub use components::Components;
pub use control_plane::{ControlPlane, Options, free_ports};
pub use controller::Controller;
pub use eks::Eks;
pub use helm::Helm;
pub use kubelets::{KWOK, Kubelets};
pub use objects::{deployment, node_pool};
pub use prometheus::{Prometheus, check_metrics};
pub use relay::Relay;
pub use viewer::Viewer;
pub use world::{REGION, World, holds};
