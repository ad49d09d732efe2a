//! What plans are made from beside the cluster itself: what is for sale, how pods are read, which `NodePools` may be used, for
//! which pods to come room is kept. The same for whoever makes nodes and whoever takes them away.

use std::sync::Arc;

use stowage_cluster::{LowerOptions, Snapshot};
use stowage_pricing::Catalog;
use stowage_solver::Options;
use tokio::sync::watch;

use crate::buffer::{Buffers, Virtual};
use crate::launch::run::Shortages;
use crate::learnt::Learnt;
use crate::market::Market;
use crate::pool::Standing;
use crate::settings::Settings;

/// All who know something.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// What can be bought.
    pub market: watch::Receiver<Arc<Market>>,
    /// How.
    pub settings: Settings,
    /// What lately could not be had.
    pub shortages: Shortages,
    /// What nodes really have.
    pub learnt: Learnt,
    /// Which `NodePools` nodes can be made from.
    pub standing: Standing,
    /// For which pods to come room is kept.
    pub buffers: Buffers,
}

/// What one plan is made from.
#[derive(Clone, Debug)]
pub struct Grounds {
    /// What can be bought.
    pub market: Arc<Market>,
    /// How pods are read.
    pub lowering: LowerOptions,
    /// How hard to look.
    pub solving: Options,
    /// The pods to come that were put into the snapshot.
    pub to_come: Virtual,
    shortages: Shortages,
}

impl Outlook {
    /// What is known now; puts pods to come into the snapshot, and takes out what gates keep out of plans.
    pub fn of(&self, snapshot: &mut Snapshot) -> Grounds {
        let market = Arc::clone(&self.market.borrow());
        let mut lowering = self.settings.lowering();
        lowering.learnt = self.learnt.with(Clone::clone);
        lowering.commitments = market.commitments.clone();
        lowering.not_ready = self.standing.not_ready(snapshot);
        if !self.settings.feature_gates.node_overlay {
            snapshot.node_overlays.clear();
        }
        Grounds {
            to_come: self.buffers.inject(snapshot),
            solving: self.settings.solving(),
            shortages: self.shortages.clone(),
            market,
            lowering,
        }
    }
}

impl Grounds {
    /// What can be had now.
    pub fn for_sale(&self) -> Catalog {
        self.shortages.for_sale(&self.market.catalog)
    }
}
