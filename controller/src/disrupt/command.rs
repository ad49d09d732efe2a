//! A command: nodes that go together, and what is launched in their place first.

use stowage_cluster::disrupt::{Reason, Refusal, Standing};
use stowage_cluster::words::kept;
use stowage_cluster::{Pod, Snapshot};

use crate::decide::Wanted;
use crate::operate::state::Prices;

/// Nodes that go together, and what comes in their place.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Why.
    pub reason: Reason,
    /// How they were found, as metrics call it: `empty`, `single`, `multi`; empty for drift.
    pub kind: &'static str,
    /// Nodes that go.
    pub candidates: Vec<Candidate>,
    /// What is launched, and has to take pods before anything goes.
    pub replacements: Vec<Replacement>,
    /// Where pods of theirs are to go that find room on nodes that are there: (`namespace/name`, node).
    pub moves: Vec<(String, String)>,
}

/// A node that goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its NodeClaim.
    pub claim: String,
    /// Which tells that one from others of its name.
    pub uid: String,
    /// The Node.
    pub node: String,
    /// Its `NodePool`.
    pub pool: String,
    /// Dollars an hour; `None` where nobody knows.
    pub price: Option<f64>,
    /// The pods that have to go elsewhere, `namespace/name`.
    pub pods: Vec<String>,
}

/// What is launched.
#[derive(Clone, Debug, PartialEq)]
pub enum Replacement {
    /// A node that was planned.
    Planned(Box<Wanted>),
    /// One more of a static `NodePool`.
    Static(String),
}

/// What has come in the way of a command whose nodes are marked already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// It ends by itself, as a rule soon: it is worth waiting for.
    Passing(String),
    /// What was planned does not hold any more.
    Lasting(String),
}

impl Hindrance {
    /// What it is, for people.
    pub fn into_why(self) -> String {
        match self {
            Self::Passing(why) | Self::Lasting(why) => why,
        }
    }
}

impl Replacement {
    /// The `NodePool` that it is launched from.
    pub fn pool(&self) -> &str {
        match self {
            Self::Planned(wanted) => &wanted.pool,
            Self::Static(pool) => pool,
        }
    }
}

impl Candidate {
    /// The candidate that a node is; `None` where nothing of ours is behind it.
    pub fn of(standing: &Standing<'_>, prices: &Prices<'_>) -> Option<Self> {
        let (claim, pool) = (standing.claim?, standing.pool?);
        Some(Self {
            claim: claim.metadata.name.clone(),
            uid: claim.metadata.uid.clone(),
            node: standing.node.metadata.name.clone(),
            pool: pool.metadata.name.clone(),
            price: prices.price(&standing.node.metadata.labels),
            pods: standing.pods.iter().map(|pod| pod.key()).collect(),
        })
    }
}

impl Command {
    /// `delete`, or `replace`.
    pub fn decision(&self) -> &'static str {
        if self.replacements.is_empty() { "delete" } else { "replace" }
    }

    /// What it is planned to save, in dollars an hour: less than nothing where what comes is dearer. Machines whose price nobody
    /// knows count as nothing.
    pub fn saving(&self) -> f64 {
        let goes: f64 = self.candidates.iter().filter_map(|candidate| candidate.price).sum();
        goes - self.outlay()
    }

    /// What its replacements are planned to cost, in dollars an hour.
    pub fn outlay(&self) -> f64 {
        let comes = self.replacements.iter().map(|replacement| match replacement {
            Replacement::Planned(wanted) => wanted.price,
            // As what goes: nobody has planned what it will be.
            Replacement::Static(_) => self.candidates.first().and_then(|c| c.price).unwrap_or_default(),
        });
        comes.sum()
    }

    /// Why it must not be carried out any more, in a cluster that has moved on: a candidate may not go, or has other pods than
    /// were planned for, or a node that takes pods of theirs does no more.
    pub fn obstacle(&self, snapshot: &Snapshot, standings: &[Standing<'_>]) -> Option<String> {
        for candidate in &self.candidates {
            let found = standings.iter().find(|s| s.claim.is_some_and(|c| c.metadata.uid == candidate.uid));
            let Some(standing) = found else { return Some(format!("{} is gone", candidate.node)) };
            if !may_go(self.reason, standing) {
                return Some(format!("{} may not go any more", candidate.node));
            }
        }
        self.overtaken(snapshot, standings).map(Hindrance::into_why)
    }

    /// The same of one that is marked already, where the marks themselves say nothing: a candidate, or a pod of it, must not be
    /// disrupted by now, it has other pods than were planned for, or a node that takes pods of theirs does no more.
    pub fn overtaken(&self, snapshot: &Snapshot, standings: &[Standing<'_>]) -> Option<Hindrance> {
        let mut passing = None;
        for candidate in &self.candidates {
            let found = standings.iter().find(|s| s.claim.is_some_and(|c| c.metadata.uid == candidate.uid));
            // What goes already needs nobody's leave.
            let Some(standing) = found.filter(|standing| !standing.refused.contains(&Refusal::Deleting))
            else {
                continue;
            };
            let more = standing.pods.iter().map(|pod| pod.key()).find(|pod| !candidate.pods.contains(pod));
            if let Some(pod) = more {
                return Some(Hindrance::Lasting(format!("pod {pod} has come to {}", candidate.node)));
            }
            match protection(self.reason, standing) {
                Some(lasting @ Hindrance::Lasting(_)) => return Some(lasting),
                other => passing = passing.or(other),
            }
        }
        let takes = |name: &str| {
            snapshot.nodes().any(|node| {
                node.metadata.name == name
                    && !node.metadata.is_terminating()
                    && !node.spec.unschedulable
                    && node.is_ready()
            })
        };
        let lost = self.moves.iter().find(|(_, node)| !takes(node));
        let lost = lost.map(|(pod, node)| format!("node {node} does not take pod {pod} any more"));
        lost.map(Hindrance::Lasting).or(passing)
    }
}

/// What protects a node that is marked already: a mark of somebody on it or on a pod, or a budget of its pods.
fn protection(reason: Reason, standing: &Standing<'_>) -> Option<Hindrance> {
    // The others are marks of the command itself, or of those beside it.
    let own = standing.refused.iter().filter(|why| matches!(why, Refusal::Protected | Refusal::PodUnread(_)));
    let asks_nobody = reason == Reason::Drifted && standing.has_term();
    let of_pods = standing.refused_by_pods.iter().filter(|_| !asks_nobody);
    // While a pod of it is on its way elsewhere, a budget may look as if it never let one go.
    let passes = |why: &Refusal| matches!(why, Refusal::BudgetSpent { .. } | Refusal::BudgetAlways { .. });
    let all: Vec<&Refusal> = own.chain(of_pods).collect();
    let first = *all.iter().find(|why| !passes(why)).or_else(|| all.first())?;
    let why = format!("node {} must stay: {}", standing.node.metadata.name, kept::refusal(first));
    Some(if passes(first) { Hindrance::Passing(why) } else { Hindrance::Lasting(why) })
}

/// Whether a node may go for a reason, as far as that does not depend on other nodes.
pub fn may_go(reason: Reason, standing: &Standing<'_>) -> bool {
    match reason {
        Reason::Empty => standing.is_empty() && standing.may_save(),
        Reason::Drifted => standing.claim.is_some_and(super::conditions::is_drifted) && standing.may_drift(),
        Reason::Underutilized => standing.may_save(),
    }
}

/// Takes a pod off its node, so that a place is looked for.
pub fn displace(pod: &mut Pod) {
    pod.node = None;
    pod.nominated = None;
    pod.phase = stowage_cluster::object::Phase::Pending;
    pod.terminating = false;
    pod.refused = true;
}
