//! What nodes go for, one method for each reason, in Karpenter's order: the first that finds something is followed.
//!
//! | method | nodes | what comes instead |
//! |---|---|---|
//! | [`Emptiness`] | all that budgets allow | nothing |
//! | [`StaticDrift`] | one in each command, as many as budgets allow | one for each |
//! | [`Drift`] | one | as many as its pods need |
//! | [`Consolidation`] | those of the solver's steps, as many as budgets allow | what each step launches |
//!
//! compat: karpenter v1.14, `pkg/controllers/disruption/controller.go`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use stowage_api::StatusCondition;
use stowage_api::crd::condition::DRIFTED;
use stowage_api::well_known::NODE_POOL;
use stowage_cluster::Snapshot;
use stowage_cluster::disrupt::{Reason, Room, Standing};
use stowage_cluster::object::Node;
use stowage_pricing::Catalog;
use stowage_solver::Aims;

use super::command::{Candidate, Command, Replacement, may_go};
use super::consolidate::{self, Consolidation};
use super::simulate::{Needed, Outcome, simulate};
use crate::decide::{DecideError, Terms};
use crate::operate::state::Prices;
use crate::pool::count::node_limit;

/// What a method looks at.
pub struct View<'a> {
    /// The cluster as it will be when all that was asked for is there.
    pub snapshot: &'a Snapshot,
    /// Every node of it, and whether it may go.
    pub standings: &'a [Standing<'a>],
    /// What budgets leave.
    pub room: Room,
    /// Where pods of nodes that go already are to run: by `namespace/name`.
    pub promised: &'a BTreeMap<String, String>,
    /// What is spoken for beside that.
    pub needed: &'a Needed,
    /// `NodePools` that nodes can be made from.
    pub ready: &'a dyn Fn(&str) -> bool,
    /// What is known beside the cluster.
    pub terms: &'a Terms<'a>,
    /// What machines cost.
    pub prices: &'a Prices<'a>,
    /// All that is sold, what cannot be had now included.
    pub whole: &'a Catalog,
    /// What consolidation aims for.
    pub aims: &'a Aims,
}

impl View<'_> {
    /// Where pods of nodes that go already are to run, promised or not: by `namespace/name`.
    pub fn homes(&self) -> BTreeMap<String, String> {
        let mut homes = self.needed.homes.clone();
        homes.extend(self.promised.iter().map(|(pod, node)| (pod.clone(), node.clone())));
        homes
    }
}

/// What came of looking.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// To be carried out, one after the other.
    pub commands: Vec<Command>,
    /// Nodes that would have gone but for something.
    pub kept: Vec<HeldUp>,
    /// Why each node is not taken away to save money, where that was looked at.
    pub stays: Vec<Stays>,
    /// Nodes that could go, before budgets and places were looked at.
    pub eligible: usize,
    /// `NodePools` whose budgets held nodes back.
    pub blocked: BTreeSet<String>,
    /// Whether there was more to look at than there was time for.
    pub cut_short: bool,
    /// What nodes were weighed to go by their `NodePool`'s policy.
    pub weighed: Vec<Weighed>,
}

/// A node that would have gone but for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldUp {
    /// The node.
    pub node: String,
    /// Why it stays, in one word.
    pub word: &'static str,
    /// Why, for people.
    pub why: String,
}

/// What became of nodes of a `NodePool` that might have gone together to save money.
#[derive(Clone, Debug, PartialEq)]
pub struct Weighed {
    /// The `NodePool`.
    pub pool: String,
    /// Its policy.
    pub policy: &'static str,
    /// Whether they go.
    pub approved: bool,
    /// The share that is saved over the share that is disrupted, where the policy asks for that.
    pub score: Option<f64>,
}

/// Why a node stays.
#[derive(Clone, Debug, PartialEq)]
pub struct Stays {
    /// Its NodeClaim.
    pub claim: String,
    /// The claim's uid.
    pub uid: String,
    /// The node.
    pub node: String,
    /// Its `NodePool`.
    pub pool: String,
    /// What sort of reason it is.
    pub cause: Cause,
    /// Why, in one word.
    pub word: &'static str,
    /// Why, for people.
    pub why: String,
    /// What would be saved without it, dollars an hour, where that is known and more than nothing.
    pub saving: Option<f64>,
}

/// What sort of reason it is that a node stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It may not go at all.
    Refused,
    /// It would have gone, but for budgets or places for its pods.
    HeldUp,
    /// Going does not pay.
    NotWorth,
}

/// A way to find nodes to take away.
pub trait Method: Send {
    /// Why they go.
    fn reason(&self) -> Reason;

    /// As metrics call it; empty where its reason says all.
    fn kind(&self) -> &'static str {
        ""
    }

    /// Finds nodes to take away.
    ///
    /// # Errors
    /// Where the snapshot cannot be planned on.
    fn find(&mut self, view: &mut View<'_>) -> Result<Found, DecideError>;
}

/// The methods, in their order.
pub fn all() -> Vec<Box<dyn Method>> {
    vec![Box::new(Emptiness), Box::new(StaticDrift), Box::<Drift>::default(), Box::<Consolidation>::default()]
}

/// Nodes that no pod has to leave.
#[derive(Clone, Copy, Debug)]
pub struct Emptiness;

impl Method for Emptiness {
    fn reason(&self) -> Reason {
        Reason::Empty
    }

    fn kind(&self) -> &'static str {
        "empty"
    }

    fn find(&mut self, view: &mut View<'_>) -> Result<Found, DecideError> {
        let mut found = Found::default();
        let mut candidates = Vec::new();
        for standing in view.standings.iter().filter(|standing| may_go(Reason::Empty, standing)) {
            let node = &standing.node.metadata.name;
            let Some(candidate) = Candidate::of(standing, view.prices) else { continue };
            found.eligible += 1;
            if view.needed.nodes.contains(node) {
                let why = "it is kept free for pods that wait, or of a CapacityBuffer".to_owned();
                found.keep(standing, "Awaited", why);
            } else if view.room.take(&candidate.pool, Reason::Empty) {
                candidates.push(candidate);
            } else {
                found.hold_back(standing, &candidate.pool, Reason::Empty);
            }
        }
        if !candidates.is_empty() {
            found.commands.push(Command {
                reason: Reason::Empty,
                kind: self.kind(),
                candidates,
                replacements: Vec::new(),
                moves: Vec::new(),
            });
        }
        Ok(found)
    }
}

/// How many machines each `NodePool` has: claims, and nodes that stand for claims which are on their way.
fn machines(snapshot: &Snapshot) -> BTreeMap<&str, u64> {
    let claims = || snapshot.node_claims();
    let of_claims: BTreeSet<&str> = claims()
        .flat_map(|claim| [claim.status.node_name.as_str(), claim.status.provider_id.as_str()])
        .filter(|name| !name.is_empty())
        .collect();
    let is_alone = |node: &&Node| {
        let (name, machine) = (node.metadata.name.as_str(), node.spec.provider_id.as_str());
        !of_claims.contains(name) && !of_claims.contains(machine)
    };
    let alone = snapshot.nodes().filter(is_alone).map(|node| &node.metadata.labels);
    let mut counts = BTreeMap::<&str, u64>::new();
    for pool in claims().map(|claim| &claim.metadata.labels).chain(alone).filter_map(|l| l.get(NODE_POOL)) {
        *counts.entry(pool).or_default() += 1;
    }
    counts
}

/// Nodes of static `NodePools` that are out of date: one comes for each that goes, and comes first.
#[derive(Clone, Copy, Debug)]
pub struct StaticDrift;

impl Method for StaticDrift {
    fn reason(&self) -> Reason {
        Reason::Drifted
    }

    fn find(&mut self, view: &mut View<'_>) -> Result<Found, DecideError> {
        let mut found = Found::default();
        let mut counts = machines(view.snapshot);
        for standing in drifted(view.standings) {
            let Some(pool) = standing.pool.filter(|pool| pool.spec.replicas.is_some()) else { continue };
            let Some(candidate) = Candidate::of(standing, view.prices) else { continue };
            found.eligible += 1;
            let count = counts.entry(pool.metadata.name.as_str()).or_default();
            if *count >= node_limit(pool) {
                let why = format!("limits.nodes of NodePool {} leaves no room", candidate.pool);
                found.keep(standing, "NodePoolLimit", why);
            } else if !(view.ready)(&candidate.pool) {
                let why = format!("NodePool {} is not ready", candidate.pool);
                found.keep(standing, "NodePoolNotReady", why);
            } else if view.room.take(&candidate.pool, Reason::Drifted) {
                *count += 1;
                found.commands.push(Command {
                    reason: Reason::Drifted,
                    kind: "",
                    replacements: vec![Replacement::Static(candidate.pool.clone())],
                    candidates: vec![candidate],
                    moves: Vec::new(),
                });
            } else {
                found.hold_back(standing, &candidate.pool, Reason::Drifted);
            }
        }
        Ok(found)
    }
}

/// So long one look for places of nodes that are out of date takes at most: others wait for their turn meanwhile. The next look
/// goes on where it ended.
const LOOK: Duration = Duration::from_secs(20);

/// Nodes that are out of date: one after the other, empty ones first, then those that have been so for longest.
#[derive(Clone, Debug)]
pub struct Drift {
    /// How long a look takes at most, once it has looked at one node.
    limit: Duration,
    /// The node that the last look ended at, where it did not get to the end.
    ended_at: Option<String>,
}

impl Default for Drift {
    fn default() -> Self {
        Self { limit: LOOK, ended_at: None }
    }
}

impl Method for Drift {
    fn reason(&self) -> Reason {
        Reason::Drifted
    }

    fn find(&mut self, view: &mut View<'_>) -> Result<Found, DecideError> {
        let mut found = Found::default();
        let (started, mut tried) = (Instant::now(), 0);
        let homes = view.homes();
        let mut all = drifted(view.standings);
        all.retain(|standing| standing.pool.is_some_and(|pool| pool.spec.replicas.is_none()));
        let name = |standing: &Standing<'_>| standing.node.metadata.name.clone();
        if let Some(ended) = self.ended_at.take()
            && let Some(at) = all.iter().position(|standing| name(standing) == ended)
        {
            all.rotate_left(at);
        }
        for standing in all {
            let Some(candidate) = Candidate::of(standing, view.prices) else { continue };
            found.eligible += 1;
            if !found.commands.is_empty() || self.ended_at.is_some() {
                continue;
            }
            if tried > 0 && started.elapsed() >= self.limit {
                self.ended_at = Some(name(standing));
                continue;
            }
            if view.room.left(&candidate.pool, Reason::Drifted).is_none_or(|left| left.more == 0) {
                found.hold_back(standing, &candidate.pool, Reason::Drifted);
                continue;
            }
            tried += 1;
            let outcome = if standing.pods.is_empty() {
                Outcome::Places(crate::decide::Decision::default())
            } else {
                simulate(view.snapshot, &[standing], &homes, view.terms)?
            };
            match outcome {
                Outcome::Places(plan) => {
                    view.room.take(&candidate.pool, Reason::Drifted);
                    found.commands.push(Command {
                        reason: Reason::Drifted,
                        kind: "",
                        candidates: vec![candidate],
                        replacements: plan
                            .wanted
                            .into_iter()
                            .map(|w| Replacement::Planned(Box::new(w)))
                            .collect(),
                        moves: plan.placed,
                    });
                }
                Outcome::Nowhere { pod, why } => {
                    let why = format!("no other place for pod {pod}: {why}");
                    found.keep(standing, "NoPlace", why);
                }
            }
        }
        Ok(found)
    }
}

/// Nodes that are out of date and may go, in the order in which they do.
fn drifted<'a, 's>(standings: &'a [Standing<'s>]) -> Vec<&'a Standing<'s>> {
    let mut all: Vec<&Standing<'_>> =
        standings.iter().filter(|standing| may_go(Reason::Drifted, standing)).collect();
    all.sort_by_cached_key(|standing| {
        let conditions = standing.claim.map_or(&[][..], |claim| claim.status.conditions.as_slice());
        let since = StatusCondition::find(conditions, DRIFTED).and_then(|c| c.last_transition_time.clone());
        (!standing.pods.is_empty(), since, standing.node.metadata.name.clone())
    });
    all
}

impl Found {
    /// A node would go, but its `NodePool`'s budgets let no more go.
    fn hold_back(&mut self, standing: &Standing<'_>, pool: &str, reason: Reason) {
        let why = format!("the budgets of NodePool {pool} let no more nodes go that are {}", reason.metric());
        self.keep(standing, "NodePoolBudget", why);
        self.blocked.insert(pool.to_owned());
    }

    fn keep(&mut self, standing: &Standing<'_>, word: &'static str, why: String) {
        self.kept.push(HeldUp { node: standing.node.metadata.name.clone(), word, why });
    }
}

/// What is left of a command in the cluster as it is now.
///
/// # Errors
/// Why nothing is.
pub fn validate(mut command: Command, view: &mut View<'_>) -> Result<Command, String> {
    if command.reason == Reason::Empty {
        // Each by itself: what is not empty any more keeps no other.
        command.candidates.retain(|candidate| {
            let found =
                view.standings.iter().find(|s| s.claim.is_some_and(|c| c.metadata.uid == candidate.uid));
            found.is_some_and(|standing| may_go(Reason::Empty, standing))
                && !view.needed.nodes.contains(&candidate.node)
                && view.room.take(&candidate.pool, Reason::Empty)
        });
        return if command.candidates.is_empty() {
            Err("no node is empty any more".to_owned())
        } else {
            Ok(command)
        };
    }
    if command.reason == Reason::Underutilized {
        return consolidate::validate(&command, view);
    }
    if let Some(why) = command.obstacle(view.snapshot, view.standings) {
        return Err(why);
    }
    for candidate in &command.candidates {
        if !view.room.take(&candidate.pool, command.reason) {
            return Err(format!("the budgets of NodePool {} let it go no more", candidate.pool));
        }
    }
    Ok(command)
}

#[cfg(test)]
#[path = "methods_tests.rs"]
mod tests;
