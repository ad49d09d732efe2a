//! Made-up clusters for benches: a web company's services as a snapshot of pending pods, of any size.
//!
//! ```text
//! (pods, seed) ─▶ Workload: about a hundred services ─▶ a Kubernetes List, as `kubectl get -o json` prints it
//! ```
//!
//! What makes such clusters hard to pack, and so is in here: few services with most of the replicas and many with few,
//! shapes that divide no machine evenly, memory per CPU from a half to eight GiB, half of the services spread over zones,
//! a tenth with one pod a node, and `DaemonSets` that take their part of every node.
//!
//! # Invariants
//! - The same number and seed give the same bytes, on any machine.

mod fragmented;
pub mod measure;
mod random;
pub mod replay;
mod service;
mod snapshot;

pub use fragmented::Fragmented;
pub use service::Service;
pub use snapshot::write;

/// The services of a made-up company, with `pods` replicas in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// The services, largest first; none without a replica.
    pub services: Vec<Service>,
}

impl Workload {
    /// The seed of every bench, so that numbers of different days compare.
    pub const SEED: u64 = 7;

    /// Makes up services. One seed gives the same shapes whatever the number of pods; only the replicas differ.
    pub fn new(pods: usize, seed: u64) -> Self {
        Self { services: service::make_up(pods, seed) }
    }

    /// Replicas in all.
    pub fn pods(&self) -> usize {
        self.services.iter().map(|s| s.replicas).sum()
    }

    /// The snapshot as bytes.
    pub fn to_json(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing to memory cannot fail.
        let _ = write(self, &mut bytes);
        bytes
    }
}
