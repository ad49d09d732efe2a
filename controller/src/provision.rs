//! The loop that provisions: waits for a batch, decides, asks for nodes, and says so.
//!
//! ```text
//! change ─▶ amend ─▶ window ─▶ decide (on a thread of its own) ─▶ NodeClaims ─▶ events
//!    ▲                                                             │
//!    └───────────────── assumed at once, seen later ◀──────────────┘
//! ```

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use stowage_api::NodeClaim;
use stowage_cluster::Snapshot;
use stowage_cluster::disrupt::{Leaving, leaving};
use stowage_solver::Memory;
use tracing::{debug, error, info, warn};

use crate::announce::{Announcer, warning};
use crate::assumed::{Amended, Beside, Expected};
use crate::batch::Window;
use crate::decide::{Decision, Terms, decide};
use crate::fargate::state::{State as Routed, seconds};
use crate::follow::Cluster;
use crate::make::Maker;
use crate::market::now;
use crate::operate::health::Pulse;
use crate::operate::metrics::Metrics;
use crate::outlook::Outlook;
use crate::say::{Said, say};
use crate::stand_in::stand_in;

/// A pod that a plan could not help is planned for again after so long.
///
/// compat: karpenter v1.14 looks at unscheduled pods every ten seconds.
const AGAIN: Duration = Duration::from_secs(10);

/// The same while pods wait that may yet be made anew for Fargate.
const WITHHELD: Duration = Duration::from_millis(500);

/// Changes that come within so short a time are looked at together.
const SETTLE: Duration = Duration::from_millis(50);

/// Looking takes no more than one part in so many and one: where changes never end, most of the time is others'.
const IDLE_PARTS: u32 = 4;

/// How long the launch of a node is waited for of which nobody knows what it will hold: one of a static `NodePool`, or that
/// somebody else has asked for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a window calls all the pods to come: no pod has such a name.
const BUFFERS: &str = "buffers";

/// What the loop works with.
pub struct Provisioner {
    /// To ask for nodes with.
    pub maker: Maker,
    /// What there is.
    pub cluster: Cluster,
    /// What plans are made from.
    pub outlook: Outlook,
    /// Which pods are meant for which machines.
    pub expected: Expected,
    /// To tell pods.
    pub announcer: Announcer,
    /// What it measures.
    pub metrics: Arc<Metrics>,
    /// Where it shows that it goes round.
    pub pulse: Pulse,
    /// What is known of pods that may go to Fargate.
    pub routed: Routed,
}

/// What it remembers from pass to pass.
struct State {
    start: Instant,
    window: Window,
    memory: Memory,
    /// When a pod was last planned for, where that did not help.
    tried: HashMap<String, Duration>,
    /// When it is seen again whether there is room for pods to come.
    room: Duration,
    /// Since when a batch is held up.
    held: Option<Duration>,
    /// Since when claims have been unknown.
    unknown: HashMap<String, Duration>,
    /// How often `NodePools` had become ready, or ceased to be, when that was.
    standing: u64,
    /// Whether pods wait that may yet be made anew for Fargate: nothing else tells when that is over.
    withholds: bool,
}

impl State {
    /// The claims whose launch is waited for: those of which nobody knows what they will hold, and none for long.
    fn held_up<'a>(&mut self, amended: &'a Amended, now: Duration) -> Vec<&'a str> {
        self.unknown.retain(|claim, _| amended.unknown.contains(claim));
        for claim in &amended.unknown {
            self.unknown.entry(claim.clone()).or_insert(now);
        }
        let is_patient = |claim: &&str| self.unknown.get(*claim).is_none_or(|since| now < *since + PATIENCE);
        let held: Vec<&str> = amended.unknown.iter().map(String::as_str).filter(is_patient).collect();
        if held.is_empty() {
            self.held = None;
            return held;
        }
        // However many come one after the other.
        if now < *self.held.get_or_insert(now) + PATIENCE { held } else { Vec::new() }
    }
}

impl Provisioner {
    /// Provisions until the task is dropped.
    pub async fn run(mut self) {
        let mut state = State {
            start: Instant::now(),
            window: Window::new(
                self.outlook.settings.batch_idle_duration,
                self.outlook.settings.batch_max_duration,
            ),
            memory: Memory::default(),
            tried: HashMap::new(),
            room: Duration::ZERO,
            unknown: HashMap::new(),
            held: None,
            standing: 0,
            withholds: false,
        };
        let mut changes = self.cluster.changes();
        loop {
            self.pulse.beat("plans for pending pods");
            let started = state.start.elapsed();
            if let Some(snapshot) = self.cluster.snapshot() {
                self.look(&snapshot, &mut state).await;
            }
            let now = state.start.elapsed();
            let settle = SETTLE.max(now.saturating_sub(started) * IDLE_PARTS);
            // Never at once: a window stays due while claims are unknown.
            let again = if state.withholds { WITHHELD } else { AGAIN };
            let due = state.window.due().map_or(again, |due| due.saturating_sub(now)).max(settle);
            tokio::select! {
                _ = changes.changed() => tokio::time::sleep(settle).await,
                () = tokio::time::sleep(due) => {}
            }
            changes.borrow_and_update();
        }
    }

    /// Looks at the cluster as it is, and makes a pass when a batch is complete.
    async fn look(&mut self, snapshot: &Arc<Snapshot>, state: &mut State) {
        let Leaving { nodes, pods: displaced } = leaving(snapshot, Some(now()));
        let market = Arc::clone(&self.outlook.market.borrow());
        let stand_in = |claim: &NodeClaim| stand_in(claim, snapshot, &market.catalog);
        let mut amended = self.expected.with(|all| {
            all.forget(snapshot, &displaced, Instant::now());
            all.amend(snapshot, &Beside { displaced: &displaced, stand_in: &stand_in })
        });
        // Nothing is placed on what goes, whoever has been told of that already.
        amended.held.extend(nodes);
        let mut withheld =
            if amended.waiting.is_empty() { BTreeSet::new() } else { self.routed.withheld(seconds()) };
        if !withheld.is_empty() {
            // Those that a node was asked for keep their room there.
            self.expected.with(|all| {
                for (pod, _) in all.expected() {
                    withheld.remove(pod);
                }
            });
        }
        state.withholds = !withheld.is_empty();
        if state.withholds {
            amended.waiting.retain(|pod| !withheld.contains(pod));
            amended.snapshot.pods.retain(|pod| pod.is_bound() || !withheld.contains(&pod.key()));
        }
        self.metrics.looked(&amended.snapshot, amended.unknown.len(), amended.waiting.len());
        let now = state.start.elapsed();
        state.tried.retain(|_, at| now < *at + AGAIN);
        if std::mem::replace(&mut state.standing, self.outlook.standing.changes()) != state.standing {
            state.tried.clear();
        }
        for pod in amended.waiting.iter().filter(|pod| !state.tried.contains_key(*pod)) {
            state.window.add(pod, now);
        }
        let held = state.held_up(&amended, now);
        // Room for them may be taken at any time, by pods that the scheduler needs no help with.
        if !self.outlook.buffers.is_empty() && now >= state.room {
            state.window.add(BUFFERS, now);
        }
        if let Some(first) = held.first() {
            // Their machines are launched by now, or will be: what they hold shows soon.
            debug!(claim = first, count = held.len(), "waiting for NodeClaims to be launched");
            return;
        }
        let Some(batch) = state.window.take(now) else { return };
        state.held = None;
        state.room = now + AGAIN;
        let waiting = amended.waiting.clone();
        if let Err(error) = self.pass(amended, batch, state).await {
            error!(error = format!("{error:#}"), "nothing was provisioned in this pass");
        }
        let helped: HashSet<String> =
            self.expected.with(|all| all.expected().map(|(pod, _)| pod.to_owned()).collect());
        let left: Vec<String> = waiting.into_iter().filter(|pod| !helped.contains(pod)).collect();
        let now = state.start.elapsed();
        state.tried.extend(left.into_iter().map(|pod| (pod, now)));
    }

    async fn pass(&mut self, mut amended: Amended, batch: usize, state: &mut State) -> Result<()> {
        let mut grounds = self.outlook.of(&mut amended.snapshot);
        grounds.lowering.closed.clone_from(&amended.held);
        let names = grounds.to_come.clone();
        let mut memory = std::mem::take(&mut state.memory);
        let started = Instant::now();
        self.metrics.planning(true);
        let solved = tokio::task::spawn_blocking(move || {
            let catalog = grounds.for_sale();
            let terms = Terms { catalog: &catalog, lowering: &grounds.lowering, solving: &grounds.solving };
            let decision = decide(&amended.snapshot, &terms, &mut memory, &AtomicBool::new(false));
            (decision, memory, amended)
        });
        let solved = solved.await;
        self.metrics.planning(false);
        let (decision, memory, amended) = solved.context("the planner ended without an answer")?;
        state.memory = memory;
        let mut decision = decision?;
        if let Some(defect) = &decision.defect {
            error!(
                defect,
                "the planner made a plan that breaks a rule, which was not followed, and then a plainer one"
            );
        }
        self.outlook.buffers.settle(&names, &mut decision);
        let figures = decision.figures;
        let seconds = started.elapsed().as_secs_f64();
        self.metrics.planned(batch, &decision, seconds);
        let on_new = decision.wanted.iter().flat_map(|wanted| &wanted.pods);
        let placed = decision.placed.iter().map(|(pod, _)| pod).chain(on_new).map(String::as_str);
        let unplaced = decision.unplaced.iter().map(|(pod, _)| pod.as_str());
        self.cluster.pod_times().planned(placed, unplaced, Timestamp::now());
        info!(
            batch,
            pods = figures.pods,
            nodes = decision.wanted.len(),
            unplaced = decision.unplaced.len(),
            cost = figures.cost,
            bound = figures.bound,
            gap = figures.gap,
            seconds,
            "planned"
        );
        self.ask(&decision, &amended).await;
        Ok(())
    }

    /// Makes the claims of a decision, and tells the pods.
    async fn ask(&self, decision: &Decision, amended: &Amended) {
        let made = self.maker.planned(&decision.wanted, None).await.unwrap_or_else(|error| {
            error!(error = format!("{error:#}"), "no NodeClaim could be made");
            Vec::new()
        });
        let mut said = Vec::new();
        for (wanted, made) in made {
            match made {
                Ok(name) => {
                    self.metrics.claim_made(&wanted.pool, wanted.choice.relaxed);
                    self.metrics.promised(&name, wanted.price);
                    info!(
                        claim = name,
                        pool = wanted.pool,
                        instance_type = wanted.choice.types.first(),
                        alternatives = wanted.choice.types.len().saturating_sub(1),
                        zones = wanted.choice.zones.join(","),
                        capacity_type = wanted.choice.capacity_type,
                        pods = wanted.pods.len(),
                        price = wanted.price,
                        "asked for a node"
                    );
                    said.extend(wanted.pods.iter().map(|pod| (pod.as_str(), Said::Expected(name.clone()))));
                }
                Err(error) => {
                    let why = format!("{error:#}");
                    warn!(pool = wanted.pool, error = why, "a NodeClaim was not made");
                    let told = Said::Nowhere(format!("no NodeClaim could be made: {why}"));
                    said.extend(wanted.pods.iter().map(|pod| (pod.as_str(), told.clone())));
                }
            }
        }
        for (pod, node) in decision.placed.iter().filter(|(_, node)| amended.coming.contains(node)) {
            self.expected.with(|all| all.expect(node, pod));
        }
        said.extend(decision.placed.iter().map(|(pod, node)| (pod.as_str(), Said::Expected(node.clone()))));
        said.extend(decision.unplaced.iter().map(|(pod, why)| (pod.as_str(), Said::Nowhere(why.clone()))));
        // Those that still run have not asked for anything.
        said.retain(|(pod, _)| !amended.displaced.contains(*pod));
        say(&self.announcer, &said, &amended.snapshot);
        let barren = decision.barren.iter().map(|pool| {
            let note = "No instance type that can be had now meets its requirements: see spec.template.spec.requirements";
            (node_pool(pool), warning("NoCompatibleInstanceTypes", note))
        });
        self.announcer.tell_all(barren);
    }
}

/// What an event on a `NodePool` is about.
pub(crate) fn node_pool(name: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("karpenter.sh/v1".to_owned()),
        kind: Some("NodePool".to_owned()),
        name: Some(name.to_owned()),
        ..ObjectReference::default()
    }
}
