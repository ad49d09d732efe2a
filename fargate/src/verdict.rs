//! Verdicts: where pods of a workload go, why, and when that changes.
//!
//! ```text
//! a look at the cluster ─▶ Finding ─┐
//!                                   ├─▶ Verdict::after ─▶ Verdict
//! the verdict before ───────────────┘
//! ```
//!
//! What is found may differ from look to look: a node more, a price. So a verdict stays where it is until the other side is
//! better by a margin, and that in several looks in a row; then it changes once for all replicas to come. With another template
//! of the same workload one look is enough. What is no matter of price changes at once: a pod that can no longer run on
//! Fargate, a policy that wants something else, no place on nodes at all.
//!
//! # Invariants
//! - No clock: whoever looks says when, in seconds since 1970.
//! - What the guard holds on nodes ([`crate::Hold`]) stands above all verdicts, and changes none.

use std::fmt;

use stowage_pricing::fargate::Shape;
use stowage_solver::Price;

use crate::needs::Needs;
use crate::policy::{Labels, PolicyId};

/// Where pods go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// To nodes.
    Ec2,
    /// To Fargate.
    Fargate,
}

impl Side {
    fn other(self) -> Self {
        if self == Self::Ec2 { Self::Fargate } else { Self::Ec2 }
    }
}

/// Where on Fargate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The profile.
    pub profile: String,
    /// The labels that the pod that was looked at needed for it.
    pub labels: Labels,
    /// What is provisioned and billed.
    pub shape: Shape,
    /// What that costs, an hour.
    pub price: Price,
    /// What the pod that was looked at needed: others that need more may not go.
    pub needs: Needs,
}

/// What a pod would cost on nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnNodes {
    /// Nothing: nodes that are there have room.
    Room,
    /// So much an hour, as nodes must be bought.
    Bought(Price),
    /// It has no place on nodes, bought ones included.
    NoPlace,
}

impl OnNodes {
    /// What it costs an hour; `None` where there is no place.
    pub fn price(self) -> Option<Price> {
        match self {
            Self::Room => Some(Price::ZERO),
            Self::Bought(price) => Some(price),
            Self::NoPlace => None,
        }
    }
}

/// Why pods go where they go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Rules forbid Fargate: each reason, in words.
    Forbidden(Vec<String>),
    /// No profile takes them, whatever labels are added.
    NoProfile,
    /// The policy wants nodes.
    Never,
    /// The policy wants Fargate wherever that can be.
    Always,
    /// Nodes that are there have room.
    Room,
    /// They have no place on nodes.
    NoPlace,
    /// Nodes that are there have no room, and the policy looks no further.
    NoRoom,
    /// What either side costs.
    Cost,
    /// What either side costs has changed, not by enough or not for long enough to move.
    Steady,
}

impl Why {
    /// Why, as one word: for metrics and for a policy's status.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Forbidden(_) => "Forbidden",
            Self::NoProfile => "NoProfile",
            Self::Never => "Never",
            Self::Always => "Always",
            Self::Room => "FreeRoom",
            Self::NoPlace => "NoPlaceOnNodes",
            Self::NoRoom => "NoRoomOnNodes",
            Self::Cost => "Cost",
            Self::Steady => "Steady",
        }
    }

    /// From the word; reasons that rules give are not in it.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        let all = [
            Self::Forbidden(Vec::new()),
            Self::NoProfile,
            Self::Never,
            Self::Always,
            Self::Room,
            Self::NoPlace,
            Self::NoRoom,
            Self::Cost,
            Self::Steady,
        ];
        all.into_iter().find(|why| why.word() == word)
    }
}

/// What one look at the cluster has found for a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The policy that rules it, and its version.
    pub policy: (PolicyId, u64),
    /// Where it would go on Fargate; `None` where it cannot or must not.
    pub target: Option<Target>,
    /// The better side.
    pub side: Side,
    /// Why.
    pub why: Why,
    /// What a pod costs on nodes; `None` where that was not looked at.
    pub nodes: Option<OnNodes>,
    /// What a pod costs on nodes where others that would go to Fargate for themselves come along, if that is less.
    pub jointly: Option<Price>,
    /// By how much the better side is better, in percent of what the other one costs; `None` where it is no matter of price.
    pub lead_percent: Option<u32>,
    /// How many pods were looked at together.
    pub together: u32,
}

impl Finding {
    /// What a pod costs on nodes, alone or with others, whichever is less; `None` where that is not known, or there is no place.
    pub fn price_on_nodes(&self) -> Option<Price> {
        let alone = self.nodes?.price()?;
        Some(self.jointly.map_or(alone, |jointly| jointly.min(alone)))
    }
}

/// When verdicts change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steadiness {
    /// By how many percent the other side must be better.
    pub margin_percent: u32,
    /// In how many looks in a row.
    pub looks: u32,
}

impl Default for Steadiness {
    /// A tenth, three times: with looks a minute apart, prices and room that come and go within minutes change nothing.
    fn default() -> Self {
        Self { margin_percent: 10, looks: 3 }
    }
}

/// Where pods of a workload go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What the last look found; its side is the better one, which need not be the one that holds.
    pub found: Finding,
    /// The side that holds.
    pub side: Side,
    /// Why it holds.
    pub why: Why,
    /// Since when it holds.
    pub since: u64,
    /// When the cluster was last looked at.
    pub looked: u64,
    /// In how many looks in a row the other side was better by the margin.
    pub against: u32,
}

/// What was known before a look.
#[derive(Clone, Copy, Debug)]
pub enum Before<'v> {
    /// Nothing.
    Nothing,
    /// A verdict on this template.
    Same(&'v Verdict),
    /// A verdict on another template of the workload.
    OtherTemplate(&'v Verdict),
}

impl Verdict {
    /// The verdict after a look.
    pub fn after(before: Before<'_>, found: Finding, now: u64, steady: Steadiness) -> Self {
        let fresh = |found: Finding| Self {
            side: found.side,
            why: found.why.clone(),
            since: now,
            looked: now,
            against: 0,
            found,
        };
        let (old, same) = match before {
            Before::Nothing => return fresh(found),
            Before::Same(old) => (old, true),
            Before::OtherTemplate(old) => (old, false),
        };
        let since = if found.side == old.side { old.since } else { now };
        let settled = Self { since, ..fresh(found) };
        let found = &settled.found;
        let changed = found.side != old.side;
        // A policy that says something else is followed at once.
        let free = found.policy != old.found.policy;
        let Some(lead) = found.lead_percent.filter(|_| changed && !free) else {
            // The mode WhenNoRoom has no price to compare, and flickers most of all.
            let flickers = changed && !free && matches!(found.why, Why::Room | Why::NoRoom);
            return if flickers && same { settled.hold_back(old, true, steady) } else { settled };
        };
        let better = lead >= steady.margin_percent;
        if better && !same { settled } else { settled.hold_back(old, better, steady) }
    }

    /// Stays on the old side, until the other one was better often enough.
    fn hold_back(mut self, old: &Self, better: bool, steady: Steadiness) -> Self {
        let against = if better { old.against.saturating_add(1) } else { 0 };
        if against >= steady.looks.max(1) {
            return self;
        }
        self.side = self.side.other();
        // Fargate cannot be stayed on without a place there.
        if self.side == Side::Fargate && self.found.target.is_none() {
            self.side = Side::Ec2;
            return self;
        }
        self.why = Why::Steady;
        self.since = old.since;
        self.against = against;
        self
    }

    /// Whether others must know it. Of whom they know nothing they leave to nodes; but who leads next must know as well of how
    /// far a change has come that takes several looks.
    pub(crate) fn is_told(&self) -> bool {
        self.side == Side::Fargate || self.found.side != self.side
    }

    /// How old what it stands on is, in seconds.
    pub fn age(&self, now: u64) -> u64 {
        now.saturating_sub(self.looked)
    }

    /// Where its pods go on Fargate, if that is the side that holds.
    pub fn target(&self) -> Option<&Target> {
        self.found.target.as_ref().filter(|_| self.side == Side::Fargate)
    }

    /// What is saved by each of its pods that goes to Fargate, an hour; negative where that costs more. `None` where they go to
    /// nodes, or nodes have no place for them.
    pub fn saved(&self) -> Option<Price> {
        let target = self.target()?;
        Some(self.found.price_on_nodes()? - target.price)
    }
}

impl fmt::Display for Verdict {
    /// For an event: "Fargate, as x of profile y for $z an hour; nodes would cost $n".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = |t: &Target| {
            let (cpu, memory) = (f64::from(t.shape.cpu_millis) / 1e3, f64::from(t.shape.memory_mib) / 1024.0);
            format!("{cpu} vCPU and {memory} GB of profile {} for {} an hour", t.profile, t.price)
        };
        match (self.side, &self.found.target) {
            (Side::Fargate, Some(target)) => write!(f, "Fargate, as {}", shape(target))?,
            (_, Some(target)) => write!(f, "nodes; Fargate would be {}", shape(target))?,
            _ => f.write_str("nodes")?,
        }
        match self.found.nodes {
            Some(OnNodes::Room) => f.write_str("; nodes that are there have room")?,
            Some(OnNodes::Bought(price)) => write!(f, "; nodes would cost {price} an hour for each pod")?,
            Some(OnNodes::NoPlace) => f.write_str("; no nodes hold it")?,
            None => {}
        }
        if let Some(price) = self.found.jointly {
            write!(f, ", and {price} together with others on Fargate")?;
        }
        match &self.why {
            Why::Forbidden(why) => write!(f, "; {}", why.join("; ")),
            Why::NoProfile => f.write_str("; no Fargate profile takes it"),
            Why::Never => f.write_str("; the policy says so"),
            Why::Steady => f.write_str("; the other side is not better by enough, or not for long enough"),
            Why::Always | Why::Room | Why::NoPlace | Why::NoRoom | Why::Cost => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
