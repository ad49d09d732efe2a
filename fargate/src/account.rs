//! What counts against the cap of one policy, and what one pod counts as.
//!
//! # Invariants
//! - What is not known of others' grants counts as much as it may be.

use std::collections::BTreeMap;
use std::sync::Arc;

use stowage_solver::Price;

use crate::granted::{Ahead, Level};
use crate::policy::{Caps, Labels, PolicyId};
use crate::request::Full;

/// What is known of one pod that counts, or will.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    /// Who rules it; nobody's pods are kept for when somebody does.
    pub(crate) policy: Option<PolicyId>,
    pub(crate) namespace: Box<str>,
    pub(crate) labels: Arc<Labels>,
    /// What was granted, and when. A pod may have taken the ticket of a dearer one like it: so that counts as long as the ticket
    /// would have.
    pub(crate) granted: Price,
    pub(crate) at: u64,
    /// What it costs as it is stored, once that is known.
    pub(crate) stored: Option<Price>,
    /// Whether its labels are those that it was admitted with.
    pub(crate) admitted: bool,
}

impl Hold {
    /// What it counts as.
    pub(crate) fn level(&self) -> Level {
        Level::one(self.stored.map_or(self.granted, |stored| stored.max(self.granted)))
    }
}

/// What is not known of what others granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// At most so much.
    pub(crate) most: Level,
    /// Until the watch has been followed to beyond this moment.
    pub(crate) until: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    pub(crate) cap: Caps,
    /// Whether its policy lets nothing go, whatever the cap.
    pub(crate) closed: bool,
    pub(crate) tickets: Level,
    pub(crate) pods: Level,
    pub(crate) doubt: Option<Doubt>,
    pub(crate) ahead: Ahead,
}

impl Account {
    pub(crate) fn is_capped(&self) -> bool {
        self.cap != Caps::default()
    }

    /// What must be taken to be used. While there is doubt no pod takes a ticket, as it may be of a grant that is not known here:
    /// so the tickets come on top of all that others may have granted.
    pub(crate) fn used(&self) -> Level {
        self.tickets.plus(self.doubt.map_or(self.pods, |doubt| self.pods.max(doubt.most)))
    }

    /// Whether there is room for so many pods of this price.
    pub(crate) fn room_for(&self, price: Price, pods: u32) -> Result<(), Full> {
        if !self.is_capped() {
            return Ok(());
        }
        let (cap, level) = (Level::of(self.cap), self.used().plus(Level::of_alike(price, pods)));
        let doubted = self.doubt.is_some_and(|doubt| doubt.most == Level::ENDLESS);
        match (level.pods > cap.pods, level.micros > cap.micros) {
            (true, _) | (_, true) if doubted => Err(Full::Settling),
            (true, _) => Err(Full::Pods),
            (_, true) => Err(Full::Cost),
            _ if level.min(self.ahead.level()) != level => Err(Full::NotWritten),
            _ => Ok(()),
        }
    }
}

/// Where the ticket of a pod counts.
pub(crate) fn tickets_of<'a>(
    accounts: &'a mut BTreeMap<PolicyId, Account>,
    hold: &Hold,
) -> Option<&'a mut Level> {
    accounts.get_mut(hold.policy.as_ref()?).map(|account| &mut account.tickets)
}

/// Where a pod that is stored counts.
pub(crate) fn pods_of<'a>(
    accounts: &'a mut BTreeMap<PolicyId, Account>,
    hold: &Hold,
) -> Option<&'a mut Level> {
    accounts.get_mut(hold.policy.as_ref()?).map(|account| &mut account.pods)
}
