//! The loop that takes nodes away: looks, decides, looks again, acts, and sees to what is under way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::ObjectReference;
use stowage_api::crd::condition::INITIALIZED;
use stowage_api::{NodeClaim, StatusCondition};
use stowage_cluster::Snapshot;
use stowage_cluster::disrupt::{Reason, Room, standings};
use stowage_solver::Aims;
use tracing::{info, warn};

use super::command::Command;
use super::conditions::is_drifted;
use super::explain::{Explainer, Known, Seen};
use super::hands::Hands;
use super::methods::{self, Found, Method, View};
use super::orphans::orphans;
use super::queue::{Queue, Step, UnderWay};
use super::simulate::needed;
use super::tell::{Said, Told, launching, marked, saves};
use super::words::refusal;
use crate::announce::Announcer;
use crate::assumed::{Beside, Expected};
use crate::claim::is_ours;
use crate::decide::Terms;
use crate::market::now;
use crate::operate::disruptions::Of;
use crate::operate::health::Pulse;
use crate::operate::metrics::Metrics;
use crate::operate::state::Prices;
use crate::outlook::{Grounds, Outlook};

/// How often it is looked what could go.
///
/// compat: karpenter v1.14, `pollingPeriod`.
const EVERY: Duration = Duration::from_secs(10);

/// How long after a decision to save money it has to hold still.
///
/// compat: karpenter v1.14, `consolidationTTL`.
const HOLDS: Duration = Duration::from_secs(15);

/// How often it is looked at what is under way, and how soon after a change.
const TICK: Duration = Duration::from_secs(1);
const SETTLE: Duration = Duration::from_millis(200);

/// What the loop works with.
pub struct Disruptor {
    /// What is done.
    pub hands: Hands,
    /// What plans are made from.
    pub outlook: Outlook,
    /// Which pods are meant for which machines.
    pub expected: Expected,
    /// To say what is done.
    pub announcer: Announcer,
    /// What it measures.
    pub metrics: Arc<Metrics>,
    /// Where it shows that it goes on.
    pub pulse: Pulse,
}

/// What it remembers.
struct State {
    queue: Queue,
    methods: Vec<Box<dyn Method>>,
    /// What was decided to save money, and from when on it may be carried out.
    holding: Option<(Vec<Command>, Instant)>,
    /// When it is looked for nodes again.
    next: Instant,
    /// `NodePools` whose budgets held nodes back when it was looked last.
    blocked: BTreeSet<(String, Reason)>,
    explainer: Explainer,
    /// Why nodes stay, as of the last looks.
    known: Known,
    /// What was said of marks of pods.
    told: Told,
    looked: Instant,
}

/// What is decided on, gathered from all who know something.
struct Facts {
    snapshot: Snapshot,
    grounds: Grounds,
    aims: Aims,
    moment: stowage_cluster::disrupt::Moment,
    leaving: BTreeSet<String>,
    promised: BTreeMap<String, String>,
    ready: BTreeSet<String>,
}

/// What came of a look.
#[derive(Default)]
pub(super) struct Round {
    /// Nodes with marks of nobody: (NodeClaim, Node).
    stray: Vec<(String, String)>,
    /// NodeClaims of replacements that nobody waits for: (name, uid).
    orphans: Vec<(String, String)>,
    room: Room,
    pub(super) found: Vec<(Reason, &'static str, Found, f64)>,
    /// Why nodes stay, where that was looked at.
    seen: Option<Seen>,
    /// Nodes that are out of date and must stay: (NodeClaim, Node, why).
    pub(super) refused: Vec<(String, String, String)>,
    /// Pods that are marked not to be disrupted for a time, or with what says nothing.
    pub(super) marked: Vec<(ObjectReference, Said)>,
}

impl Facts {
    /// Calls with what methods look at.
    fn view<T>(&self, f: impl FnOnce(&mut View<'_>) -> Result<T>) -> Result<T> {
        let mut standings = standings(&self.snapshot, &self.moment);
        // Nodes of others are theirs to take away, and so are the marks on them.
        standings.retain(|standing| standing.claim.is_none_or(is_ours));
        let grounds = &self.grounds;
        let catalog = grounds.for_sale();
        let terms = Terms { catalog: &catalog, lowering: &grounds.lowering, solving: &grounds.solving };
        let needed = needed(&self.snapshot, &standings, &self.promised, &terms)?;
        let mut view = View {
            snapshot: &self.snapshot,
            standings: &standings,
            room: Room::of(&self.snapshot, &self.leaving, now()),
            promised: &self.promised,
            needed: &needed,
            ready: &|pool| self.ready.contains(pool),
            terms: &terms,
            // What a machine costs is known of those too that cannot be had now.
            prices: &Prices::of(&grounds.market.catalog),
            whole: &grounds.market.catalog,
            aims: &self.aims,
        };
        f(&mut view)
    }
}

/// Looks for nodes to take away: the first method that finds some is followed.
fn look(facts: &Facts, queue: &Queue, all: &mut [Box<dyn Method>]) -> Result<Round> {
    facts.view(|view| {
        let ours = view.standings.iter().filter(|standing| standing.claim.is_some());
        let mut round = Round {
            stray: queue.stray(view.standings),
            orphans: orphans(view.standings, view.needed, now()),
            room: view.room.clone(),
            marked: ours.flat_map(|standing| &standing.pods).filter_map(|pod| marked(pod)).collect(),
            ..Round::default()
        };
        if !round.stray.is_empty() {
            return Ok(round);
        }
        for standing in view.standings {
            let Some(claim) = standing.claim.filter(|claim| is_drifted(claim) && !standing.may_drift())
            else {
                continue;
            };
            let mut why = standing.refused.iter().chain(&standing.refused_by_pods);
            if let Some((_, why)) = why.find_map(refusal) {
                round.refused.push((claim.metadata.name.clone(), standing.node.metadata.name.clone(), why));
            }
        }
        for method in all {
            let started = Instant::now();
            let found = method.find(view)?;
            let done = !found.commands.is_empty();
            round.found.push((method.reason(), method.kind(), found, started.elapsed().as_secs_f64()));
            if done {
                break;
            }
        }
        let found: Vec<_> = round.found.iter().map(|(reason, _, found, _)| (*reason, found)).collect();
        round.seen = Some(Seen::of(view.standings, &found));
        Ok(round)
    })
}

impl Disruptor {
    /// Takes nodes away until the task is dropped.
    pub async fn run(mut self) {
        let start = Instant::now();
        let mut state = State {
            queue: Queue::default(),
            methods: methods::all(),
            holding: None,
            next: start,
            blocked: BTreeSet::new(),
            explainer: Explainer::default(),
            known: Known::default(),
            told: Told::default(),
            looked: start,
        };
        let mut changes = self.hands.cluster.changes();
        loop {
            self.pulse.beat("takes nodes away");
            if let Some(snapshot) = self.hands.cluster.snapshot() {
                state.queue.forget(&snapshot);
                self.advance(&snapshot, &mut state).await;
                if let Err(error) = self.decide(&mut state).await {
                    warn!(error = format!("{error:#}"), "nodes to take away could not be looked for");
                }
            }
            let busy = !state.queue.is_empty();
            tokio::select! {
                _ = changes.changed(), if busy => tokio::time::sleep(SETTLE).await,
                () = tokio::time::sleep(TICK) => {}
            }
            changes.borrow_and_update();
        }
    }

    /// Decides what is due.
    async fn decide(&mut self, state: &mut State) -> Result<()> {
        let now = Instant::now();
        if state.holding.as_ref().is_some_and(|(_, from)| now >= *from) {
            // One after the other, each on the cluster that those before it leave.
            for command in state.holding.take().into_iter().flat_map(|(commands, _)| commands) {
                self.carry_out(command, state).await?;
            }
            state.next = Instant::now();
            return Ok(());
        }
        if state.holding.is_some() || now < state.next {
            return Ok(());
        }
        state.next = now + EVERY;
        let Some(facts) = self.facts(&state.queue) else { return Ok(()) };
        let (mut methods, queue) = (std::mem::take(&mut state.methods), std::mem::take(&mut state.queue));
        let looked = tokio::task::spawn_blocking(move || {
            let round = look(&facts, &queue, &mut methods);
            (round, methods, queue)
        });
        // One that panicked takes with it what is under way: its marks are found as those of nobody, and taken off.
        state.methods = methods::all();
        let (round, methods, queue) = looked.await.context("looking for nodes ended without an answer")?;
        (state.methods, state.queue) = (methods, queue);
        let mut round = round?;
        self.measure(&round, state);
        self.tell(&mut round, &mut state.told);
        if let Some(seen) = round.seen.take() {
            let stays = state.known.update(seen);
            self.explain(&stays, &mut state.explainer).await;
        }
        self.drop_claims(&round.orphans, "a replacement that nobody waits for has not started up").await;
        if !round.stray.is_empty() {
            info!(nodes = round.stray.len(), "marks of commands that nobody carries out are taken off");
            let stray = round.stray.iter().map(|(claim, node)| (claim.as_str(), node.as_str()));
            state.next = now + TICK;
            return self.hands.release_all(stray).await;
        }
        for command in round.found.into_iter().flat_map(|(_, _, found, _)| found.commands) {
            if command.reason == Reason::Drifted {
                self.carry_out(command, state).await?;
                // There may be more that budgets allow.
                state.next = Instant::now() + TICK;
            } else {
                // What saves money can wait until it is certain.
                if command.reason == Reason::Underutilized {
                    let note = format!("{}; it is looked at again in {} s", saves(&command), HOLDS.as_secs());
                    self.trail("ConsolidationCandidate", &command, &note);
                }
                let holding = state.holding.get_or_insert_with(|| (Vec::new(), Instant::now() + HOLDS));
                holding.0.push(command);
            }
        }
        Ok(())
    }

    /// All that is known now; `None` while the cluster is not.
    fn facts(&mut self, queue: &Queue) -> Option<Facts> {
        let snapshot = self.hands.cluster.snapshot()?;
        let mut amended = self.expected.with(|all| all.amend(&snapshot, &Beside::NOTHING));
        let grounds = self.outlook.of(&mut amended.snapshot);
        let moment = queue.moment(&snapshot, now());
        let pools = snapshot.node_pools.iter().map(|pool| &pool.metadata.name);
        let ready = pools.filter(|pool| self.outlook.standing.is_ready(pool)).cloned().collect();
        Some(Facts {
            snapshot: amended.snapshot,
            grounds,
            aims: self.outlook.settings.aims(),
            moment,
            leaving: queue.leaving(),
            promised: queue.promised(&snapshot),
            ready,
        })
    }

    /// Looks at a command again, on the cluster as it is now, and begins it where it still holds.
    async fn carry_out(&mut self, command: Command, state: &mut State) -> Result<()> {
        let Some(facts) = self.facts(&state.queue) else { return Ok(()) };
        let (kind, decided) = (command.kind, command.clone());
        let checked =
            tokio::task::spawn_blocking(move || facts.view(|view| Ok(methods::validate(command, view))));
        let command = match checked.await.context("looking again ended without an answer")?? {
            Ok(command) => command,
            Err(why) => {
                info!(why, "what was decided does not hold any more");
                self.metrics.disruptions().invalid(kind);
                if decided.reason == Reason::Underutilized {
                    self.trail("ConsolidationRejected", &decided, &why);
                }
                return Ok(());
            }
        };
        if command.reason == Reason::Underutilized {
            self.trail("ConsolidationApproved", &command, &saves(&command));
        }
        let of = of(&command);
        let nodes: Vec<&str> = command.candidates.iter().map(|candidate| candidate.node.as_str()).collect();
        info!(
            reason = of.reason.name(),
            decision = of.decision,
            nodes = nodes.join(","),
            replacements = command.replacements.len(),
            saving = command.saving(),
            "nodes are to go"
        );
        let pools = command.candidates.iter().map(|candidate| candidate.pool.as_str());
        self.metrics.disruptions().decided(of, pools);
        let unmarked = self.hands.choose(&command).await?;
        for (candidate, error) in &unmarked {
            warn!(
                node = candidate.node,
                error = format!("{error:#}"),
                "a node that is to go could not be marked"
            );
            state.queue.failed(candidate, Instant::now());
        }
        let mut command = command;
        if !unmarked.is_empty() {
            let is_marked =
                |of: &super::command::Candidate| unmarked.iter().all(|(other, _)| other.uid != of.uid);
            command.candidates.retain(is_marked);
            if command.reason != Reason::Empty || command.candidates.is_empty() {
                self.metrics.disruptions().failed(of);
                return Ok(());
            }
        }
        let (metrics, reason) = (&self.metrics, command.reason);
        let made = self
            .hands
            .launch(&command, |claim, wanted| {
                metrics.promised(claim, wanted.price);
                metrics.claim_made_for(reason.metric(), &wanted.pool, wanted.choice.relaxed);
                info!(
                    claim,
                    pool = wanted.pool,
                    price = wanted.price,
                    "asked for a node in the place of one that is to go"
                );
            })
            .await;
        match made {
            Ok(made) => {
                let launching = made.iter().map(|claim| (claim.as_str(), "", launching(&command)));
                self.announce(launching.collect());
                state.queue.add(command, made, Instant::now());
                Ok(())
            }
            Err(error) => {
                self.metrics.disruptions().failed(of);
                command.candidates.iter().for_each(|of| state.queue.failed(of, Instant::now()));
                warn!(
                    error = format!("{error:#}"),
                    "nothing could be made in the place of nodes that are to go: they stay"
                );
                self.release(&command).await
            }
        }
    }

    /// Sees to what is under way.
    async fn advance(&self, snapshot: &Snapshot, state: &mut State) {
        if state.queue.is_empty() {
            return;
        }
        let moment = state.queue.moment(snapshot, now());
        // Only where something is to go.
        let all = std::cell::OnceCell::new();
        let overtaken = |command: &Command| {
            let all = all.get_or_init(|| standings(snapshot, &moment));
            command.overtaken(snapshot, all)
        };
        for (of, step) in state.queue.turn(snapshot, Instant::now(), overtaken) {
            match step {
                Step::Wait(claims) => {
                    let note = "Waiting on readiness to continue disruption";
                    let event = || ("DisruptionWaitingReadiness", note.to_owned());
                    self.announce(claims.iter().map(|claim| (claim.as_str(), "", event())).collect());
                }
                Step::Go => self.remove(of, snapshot, &mut state.queue).await,
                Step::Fail(why) => {
                    warn!(why, "nodes that were to go stay");
                    self.metrics.disruptions().failed(self::of(&of.command));
                    of.command.candidates.iter().for_each(|of| state.queue.failed(of, Instant::now()));
                    self.take_back(&of, snapshot).await;
                    if let Err(error) = self.release(&of.command).await {
                        warn!(
                            error = format!("{error:#}"),
                            "marks could not be taken off, which is tried again"
                        );
                    }
                }
            }
        }
    }

    /// Takes back what was asked for in the place of nodes that stay, as far as it has not started up: else there would be one
    /// more with each try.
    async fn take_back(&self, of: &UnderWay, snapshot: &Snapshot) {
        let starts = |claim: &&NodeClaim| {
            of.made.contains(&claim.metadata.name)
                && !StatusCondition::holds(&claim.status.conditions, INITIALIZED)
                && !claim.metadata.is_terminating()
        };
        let all = snapshot.node_claims().filter(starts);
        let all: Vec<_> =
            all.map(|claim| (claim.metadata.name.clone(), claim.metadata.uid.clone())).collect();
        self.drop_claims(&all, "what it was to replace stays, and it has not started up").await;
    }

    /// Deletes NodeClaims, by name and uid.
    async fn drop_claims(&self, all: &[(String, String)], why: &str) {
        for (claim, uid) in all {
            match self.hands.drop_claim(claim, uid).await {
                Ok(()) => info!(claim, why, "a replacement is taken back"),
                Err(error) => warn!(claim, error = format!("{error:#}"), "a replacement stays"),
            }
        }
    }

    /// Sends the candidates of a command on their way. Where that is refused, it is tried again.
    async fn remove(&self, mut of: UnderWay, snapshot: &Snapshot, queue: &mut Queue) {
        let claims: BTreeMap<&str, &NodeClaim> =
            snapshot.node_claims().map(|claim| (claim.metadata.name.as_str(), claim)).collect();
        let reason = of.command.reason;
        let (mut told, mut refused) = (Vec::new(), Vec::new());
        let mut goes = 0.0;
        for candidate in &of.command.candidates {
            if let Err(error) = self.hands.remove(candidate).await {
                let claim = &candidate.claim;
                warn!(claim, error = format!("{error:#}"), "a NodeClaim that is to go could not be deleted");
                refused.push(candidate.clone());
                continue;
            }
            goes += candidate.price.unwrap_or_default();
            info!(claim = candidate.claim, node = candidate.node, reason = reason.name(), "a node goes");
            if let Some(claim) = claims.get(candidate.claim.as_str()) {
                self.metrics.lives().disrupted(&claim.metadata.labels, reason.metric());
            }
            let note = format!("Disrupting: {}", reason.name());
            told.push((candidate.claim.as_str(), candidate.node.as_str(), ("DisruptionTerminating", note)));
        }
        if !told.is_empty() {
            // What comes is set against the first that go.
            let (planned, paid) = if of.counted { (0.0, 0.0) } else { self.outlay(&of, &claims) };
            self.metrics.disruptions().done(goes - planned, goes - paid);
            self.announce(told);
            of.counted = true;
        }
        if !refused.is_empty() {
            queue.refused(of, refused, Instant::now());
        }
    }

    /// What the replacements of a command were planned to cost, and what they do, in dollars an hour.
    fn outlay(&self, of: &UnderWay, claims: &BTreeMap<&str, &NodeClaim>) -> (f64, f64) {
        let market = Arc::clone(&self.outlook.market.borrow());
        let prices = Prices::of(&market.catalog);
        let comes =
            of.made.iter().filter_map(|name| prices.price(&claims.get(name.as_str())?.metadata.labels));
        (of.command.outlay(), comes.sum())
    }

    async fn release(&self, command: &Command) -> Result<()> {
        let all = command.candidates.iter().map(|of| (of.claim.as_str(), of.node.as_str()));
        self.hands.release_all(all).await
    }

    fn measure(&self, round: &Round, state: &mut State) {
        let metrics = self.metrics.disruptions();
        metrics.room(&round.room);
        let now = Instant::now();
        let seconds = now.duration_since(std::mem::replace(&mut state.looked, now)).as_secs_f64();
        let mut blocked = BTreeSet::new();
        let mut eligible = BTreeMap::<Reason, usize>::new();
        for (reason, kind, found, took) in &round.found {
            // Two methods look for nodes that are out of date.
            let eligible = eligible.entry(*reason).or_default();
            *eligible += found.eligible;
            metrics.looked(*reason, kind, *eligible, *took);
            if found.cut_short {
                metrics.cut_short(kind);
            }
            found.weighed.iter().for_each(|weighed| metrics.weighed(weighed));
            blocked.extend(found.blocked.iter().map(|pool| (pool.clone(), *reason)));
        }
        // What was held back then and is now was held back in between.
        for (pool, reason) in state.blocked.intersection(&blocked) {
            metrics.blocked(pool, *reason, seconds);
        }
        state.blocked = blocked;
    }
}

fn of(command: &Command) -> Of<'static> {
    Of { decision: command.decision(), reason: command.reason, kind: command.kind }
}
