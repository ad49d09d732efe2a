//! `NodePools`: what is wrong with them, whether nodes can be made from them, what their nodes have together.
//!
//! ```text
//! NodePool ──▶ check ────┐
//! EC2NodeClass ──────────┼─▶ status ─▶ conditions, resources, nodes ─▶ API server
//! Nodes, NodeClaims ─▶ count ─┘          └▶ Standing: nothing is planned for a pool that is not ready
//! ```
//!
//! # Invariants
//! - A status is written only where it differs, and only onto the object that it was made from: others write conditions too.
//! - An object that nobody can make sense of gets a condition that says so, and holds up no other.
//!
//! compat: karpenter v1.14, `pkg/controllers/nodepool`.

pub mod check;
pub mod count;
pub mod run;
pub mod status;
pub mod unknown;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use stowage_api::NodePool;
use stowage_cluster::Snapshot;

/// Which `NodePools` nodes can be made from; shared with whoever plans.
#[derive(Clone, Debug, Default)]
pub struct Standing(Arc<Mutex<Known>>);

#[derive(Clone, Debug, Default)]
struct Known {
    pools: BTreeMap<String, Result<(), String>>,
    changes: u64,
}

impl Standing {
    /// The pools of a snapshot that nothing is launched from for now, and why.
    pub fn not_ready(&self, snapshot: &Snapshot) -> BTreeMap<String, String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |name: &String| match known.pools.get(name) {
            Some(Ok(())) => None,
            Some(Err(why)) => Some((name.clone(), why.clone())),
            None => Some((name.clone(), "it has not been looked at yet".to_owned())),
        };
        // Those being deleted and static ones are not planned with anyway, and nobody has to know why.
        let planned = |p: &&NodePool| p.spec.replicas.is_none() && !p.metadata.is_terminating();
        snapshot.node_pools.iter().filter(planned).filter_map(|pool| of(&pool.metadata.name)).collect()
    }

    /// Counts changes: after one, pods that fitted nowhere may fit somewhere.
    pub fn changes(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).changes
    }

    /// Whether nodes can be made from this pool.
    pub fn is_ready(&self, pool: &str) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.pools.get(pool).is_some_and(Result::is_ok)
    }

    fn set(&self, pools: BTreeMap<String, Result<(), String>>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.pools != pools {
            known.pools = pools;
            known.changes += 1;
        }
    }
}
