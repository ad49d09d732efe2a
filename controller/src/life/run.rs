//! The loop that sees to it that every NodeClaim gets what it needs next.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::{Client, Resource as _, ResourceExt as _};
use serde_json::{Value, json};
use stowage_api::crd::condition::{self, INITIALIZED, NODE_REGISTRATION_HEALTHY, REGISTERED, TRUE, UNKNOWN};
use stowage_api::crd::{Condition, NodeClaim, NodePool};
use stowage_api::well_known;
use stowage_aws::Ec2;
use stowage_cluster::{Kind, Snapshot};
use tracing::{debug, info, warn};

use super::FINALIZER;
use super::collect::id;
use super::evictions::Evictions;
use super::healthy::Outcomes;
use super::join;
use super::machines::Machines;
use super::quiet::{Moved, Quiet};
use super::step::{Aspect, Late, Next, next};
use super::surge::SurgeFirst;
use crate::announce::{Announcer, warning};
use crate::answer::{is_conflict, is_gone};
use crate::assumed::Expected;
use crate::claim::is_ours;
use crate::follow::Cluster;
use crate::launch::run::{Launching, Shortages};
use crate::market::now;
use crate::operate::health::Pulse;
use crate::operate::lives::Lives;
use crate::rounds::Rounds;
use crate::time::{moment, until};

/// Claims that are seen to side by side.
const SIDE_BY_SIDE: usize = 50;

/// Nominations that are written side by side.
const NOMINATIONS: usize = 30;

/// Changes that come within so short a time are looked at together.
const SETTLE: Duration = Duration::from_millis(20);

/// It looks so often where nothing changes.
const IDLE: Duration = Duration::from_mins(1);

/// Looking takes no more than one part in so many and one.
const IDLE_PARTS: u32 = 4;

/// What was just done shows in the watch by then; what failed is tried again.
pub(super) const SOON: Duration = Duration::from_millis(500);
pub(super) const AGAIN: Duration = Duration::from_secs(5);

/// What is to be done next about something.
enum Piece<'s> {
    /// A step of a NodeClaim with the Nodes of its machine.
    Step(Next, &'s [&'s stowage_cluster::object::Node]),
    /// The Node of this name has nobody else to let it go.
    LetGo(&'s str),
}

/// What the loop works with.
#[derive(Clone)]
pub struct Caretaker {
    /// To read and write with.
    pub client: Client,
    /// To evict with. It must not try again by itself what was refused for now: a budget of pods is in the way, which is to
    /// be said, and other pods are to be seen to.
    pub evictor: Client,
    /// Where the machines are.
    pub ec2: Ec2,
    /// What EC2 said of them last.
    pub machines: Machines,
    /// What there is.
    pub cluster: Cluster,
    /// Which pods are meant for which machines.
    pub expected: Expected,
    /// Claims that are being launched just now.
    pub launching: Launching,
    /// Zones that the cluster is shifted away from.
    pub shortages: Shortages,
    /// To say what is done.
    pub announcer: Announcer,
    /// Whether nodes have joined of late.
    pub outcomes: Outcomes,
    /// Pods that may not leave just now.
    pub evictions: Evictions,
    /// What is measured.
    pub lives: Lives,
    /// Whose pods leave only when others are ready.
    pub surge_first: SurgeFirst,
    /// Name of the cluster, by which its machines are found.
    pub cluster_name: String,
    /// Whether the API server's scheduler tries the node first that a pod is nominated to by others.
    pub nominates: bool,
    /// Where it shows that it goes on.
    pub pulse: Pulse,
}

impl Caretaker {
    /// Sees to the claims until the task is dropped.
    pub async fn run(self) {
        let mut changes = self.cluster.changes();
        let mut rounds = Rounds::new(SIDE_BY_SIDE);
        let mut quiet = Quiet::default();
        let mut collecting = tokio::spawn(self.clone().collect());
        let mut comparing = tokio::spawn(self.clone().compare());
        loop {
            self.pulse.beat("sees to nodes");
            let started = Instant::now();
            let due = match self.cluster.snapshot() {
                Some(snapshot) => {
                    for moved in quiet.moved(&snapshot, Instant::now()) {
                        tokio::spawn(self.clone().moved(moved));
                    }
                    self.look(&snapshot, &mut rounds)
                }
                None => None,
            };
            let settle = SETTLE.max(started.elapsed() * IDLE_PARTS);
            let due = due.map_or(IDLE, |due| until(Timestamp::now(), due)).min(IDLE).max(settle);
            tokio::select! {
                _ = changes.changed() => tokio::time::sleep(settle).await,
                () = rounds.turn() => {}
                () = tokio::time::sleep(due) => {}
                ended = &mut collecting => {
                    if let Err(error) = ended {
                        warn!(%error, "collecting garbage has ended, and begins anew");
                    }
                    collecting = tokio::spawn(self.clone().collect());
                }
                ended = &mut comparing => {
                    if let Err(error) = ended {
                        warn!(%error, "comparing nodes with what was promised has ended, and begins anew");
                    }
                    comparing = tokio::spawn(self.clone().compare());
                }
            }
            changes.borrow_and_update();
        }
    }

    /// Starts what is to be done; returns when to look again, whatever happens.
    fn look(&self, snapshot: &Arc<Snapshot>, rounds: &mut Rounds) -> Option<Timestamp> {
        let mut by_machine = HashMap::<&str, Vec<_>>::new();
        for node in snapshot.nodes() {
            let machine = node.spec.provider_id.as_str();
            if !machine.is_empty() {
                by_machine.entry(machine).or_default().push(node);
            }
        }
        let now = Timestamp::now();
        let mut due = None::<Timestamp>;
        let mut owned = HashSet::new();
        let mut steps = BTreeMap::new();
        for claim in snapshot.node_claims() {
            let name = claim.metadata.name.as_str();
            let machine = claim.status.provider_id.as_str();
            let nodes = by_machine.get(machine).map_or(&[][..], Vec::as_slice);
            owned.extend(nodes.iter().map(|node| node.metadata.name.as_str()));
            if !is_ours(claim) {
                continue;
            }
            let awaited = self.nominates && self.expected.with(|all| !all.pods_of(name).is_empty());
            let step = match next(claim, nodes, awaited, now) {
                Next::Rest(until) => {
                    due = due.into_iter().chain(until).min();
                    continue;
                }
                step => step,
            };
            steps.insert(name.to_owned(), Piece::Step(step, nodes));
        }
        // A Node whose claim is gone has nobody else to let it go.
        for node in snapshot.nodes() {
            let name = node.metadata.name.as_str();
            let ours = node.metadata.finalizers.iter().any(|f| f == FINALIZER);
            if ours && node.metadata.is_terminating() && !owned.contains(name) {
                steps.insert(format!("node {name}"), Piece::LetGo(name));
            }
        }
        for name in rounds.in_turn(steps.keys().map(String::as_str)) {
            if !rounds.may_start(name) {
                continue;
            }
            let (keeper, of) = (self.clone(), name.to_owned());
            match &steps[name] {
                Piece::Step(step, nodes) => {
                    let nodes = nodes.iter().map(|node| node.metadata.name.clone()).collect::<Vec<_>>();
                    let step = step.clone();
                    rounds.start(name, async move { keeper.take(&of, step, nodes).await });
                }
                Piece::LetGo(node) => {
                    let node = (*node).to_owned();
                    rounds.start(name, async move { keeper.let_go(&node).await });
                }
            }
        }
        due
    }

    /// Takes a step; returns how long to rest after it.
    async fn take(self, name: &str, step: Next, nodes: Vec<String>) -> Duration {
        let taken = match step {
            Next::Rest(_) => Ok(SOON),
            Next::Finalizer => self.finalizer(name).await,
            Next::Say(aspect) => self.say(name, &[aspect]).await,
            Next::Register(node) => Box::pin(self.register(name, &node)).await,
            Next::Initialize(node) => self.initialize(name, &node).await,
            Next::GiveUp(late) => self.give_up(name, late).await,
            Next::Follow => self.delete(name, "its Node is being deleted").await,
            Next::End => Box::pin(self.end(name, &nodes)).await,
        };
        taken.unwrap_or_else(|error| {
            if error.downcast_ref().is_some_and(is_conflict) {
                debug!(claim = name, "somebody else was quicker");
                return SOON;
            }
            warn!(claim = name, error = format!("{error:#}"), "a step in the life of a NodeClaim failed");
            AGAIN
        })
    }

    /// Whether the cluster is shifted away from the zone of this name: EC2 is not asked about what runs there.
    pub(super) fn is_shifted(&self, zone: &str) -> bool {
        self.shortages.with(|short| short.is_shifted(now(), zone))
    }

    pub(super) fn claims(&self) -> Api<NodeClaim> {
        Api::all(self.client.clone())
    }

    pub(super) fn nodes(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    /// Writes when a pod last came to a node or went from it.
    async fn moved(self, of: Moved) {
        let (name, at) = (of.claim, of.at.map_or_else(|| second(Timestamp::now()), |at| at.to_string()));
        let patch = json!({"status": {"lastPodEventTime": at}});
        let written = self.claims().patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch)).await;
        if let Err(error) = written
            && !is_gone(&error)
        {
            debug!(claim = name, %error, "when a pod came or went could not be written");
        }
    }

    /// Notes whether a node of a pool has joined, where that changes how the pool stands.
    async fn outcome(&self, claim: &NodeClaim, joined: bool) -> Result<()> {
        let Some(pool) = claim.labels().get(well_known::NODE_POOL) else { return Ok(()) };
        let status = self.outcomes.add(pool, joined);
        let pools: Api<NodePool> = Api::all(self.client.clone());
        let Some(pool) = pools.get_opt(pool).await? else { return Ok(()) };
        let mut all = pool.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
        let (reason, message) = if status == TRUE {
            (NODE_REGISTRATION_HEALTHY, "")
        } else {
            (
                "RegistrationFailed",
                "nodes of late have not joined: look at the user data, the role and the network of its class",
            )
        };
        let wanted = Condition {
            kind: NODE_REGISTRATION_HEALTHY.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            last_transition_time: second(Timestamp::now()),
            observed_generation: pool.metadata.generation,
        };
        if condition::set(&mut all, wanted) {
            let version = &pool.metadata.resource_version;
            let patch = json!({"metadata": {"resourceVersion": version}, "status": {"conditions": all}});
            pools.patch_status(&pool.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await?;
        }
        Ok(())
    }

    /// The same, where nothing depends on it.
    async fn note(&self, claim: &NodeClaim, joined: bool) {
        if let Err(error) = self.outcome(claim, joined).await {
            debug!(
                claim = claim.name_any(),
                error = format!("{error:#}"),
                "how its NodePool stands could not be written"
            );
        }
    }

    async fn finalizer(&self, name: &str) -> Result<Duration> {
        let claims = self.claims();
        let Some(claim) = claims.get_opt(name).await? else { return Ok(SOON) };
        let mut finalizers = claim.finalizers().to_vec();
        if claim.metadata.deletion_timestamp.is_none() && !finalizers.iter().any(|f| f == FINALIZER) {
            finalizers.push(FINALIZER.to_owned());
            let patch = json!({
                "metadata": {"resourceVersion": claim.metadata.resource_version, "finalizers": finalizers},
            });
            claims.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        }
        Ok(SOON)
    }

    /// Writes conditions of a claim, where they are news.
    async fn say(&self, name: &str, aspects: &[Aspect]) -> Result<Duration> {
        if let Some(claim) = self.claims().get_opt(name).await? {
            self.conditions(&claim, aspects, &json!({})).await?;
        }
        Ok(SOON)
    }

    /// The same, with other fields of the status.
    pub(super) async fn conditions(
        &self,
        claim: &NodeClaim,
        aspects: &[Aspect],
        more: &Value,
    ) -> Result<Option<NodeClaim>> {
        let Some(mut patch) = join::conditions(claim, aspects, Timestamp::now()) else { return Ok(None) };
        for (key, value) in more.as_object().into_iter().flatten() {
            patch["status"][key] = value.clone();
        }
        let written = self
            .claims()
            .patch_status(&claim.name_any(), &PatchParams::default(), &Patch::Merge(&patch))
            .await?;
        self.cluster.assume(Kind::NodeClaim, &written);
        Ok(Some(written))
    }

    /// A node joins: its pods are nominated to it, then it is opened to them.
    async fn register(&self, name: &str, node: &str) -> Result<Duration> {
        let (claims, nodes) = (self.claims(), self.nodes());
        let (Some(claim), Some(there)) = (claims.get_opt(name).await?, nodes.get_opt(node).await?) else {
            return Ok(SOON);
        };
        if join::came_unguarded(&there) {
            let note = format!(
                "Node {node} joined without the taint {}: pods may run on it too early; its user data should set it",
                well_known::TAINT_UNREGISTERED
            );
            warn!(claim = name, node, "a node joined without the taint that keeps pods off it");
            self.announcer.tell(claim.object_ref(&()), warning("UnregisteredTaintMissing", note));
        }
        let mut pods = self.expected.with(|all| all.pods_of(name).to_vec());
        // Those that still run elsewhere have successors of other names.
        if let Some(snapshot) = self.cluster.snapshot() {
            let waiting: HashSet<String> = snapshot
                .pods()
                .filter(|pod| pod.pending() == Some(Ok(())))
                .map(stowage_cluster::Pod::key)
                .collect();
            pods.retain(|pod| waiting.contains(pod));
        }
        let nominated = if self.nominates { self.nominate(&pods, node).await } else { 0 };
        let patch = join::registered(&there, &claim);
        let written = nodes.patch(node, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        self.expected.with(|all| all.opened(name, Instant::now()));
        self.cluster.assume(Kind::Node, &written);
        let aspects = [
            Aspect { kind: REGISTERED, status: TRUE, reason: REGISTERED, message: String::new() },
            Aspect {
                kind: INITIALIZED,
                status: UNKNOWN,
                reason: "AwaitingReconciliation",
                message: "it was not looked at yet".to_owned(),
            },
        ];
        let more = json!({"nodeName": node});
        self.conditions(&claim, &aspects, &more).await?;
        let made = claim.metadata.creation_timestamp.as_ref().map(|made| made.0);
        info!(
            claim = name,
            node,
            pods = pods.len(),
            nominated,
            seconds = made.map(|made| until(made, Timestamp::now()).as_secs_f64()),
            "a node has joined"
        );
        self.lives.joined(claim.labels());
        self.note(&claim, true).await;
        self.tag(&claim, node).await;
        Ok(Duration::ZERO)
    }

    /// Tells kube-scheduler where pods are expected; returns how many it was told of.
    async fn nominate(&self, pods: &[String], node: &str) -> usize {
        let patch = json!({"status": {"nominatedNodeName": node}});
        let told = pods.iter().filter_map(|pod| pod.split_once('/')).map(|(namespace, name)| {
            let (name, patch) = (name.to_owned(), patch.clone());
            let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
            async move {
                let told = pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch)).await;
                if let Err(error) = &told {
                    debug!(pod = name, %error, "a pod could not be nominated");
                }
                told.is_ok()
            }
            .boxed()
        });
        let told: Vec<_> = told.collect();
        let told: Vec<bool> = futures::stream::iter(told).buffer_unordered(NOMINATIONS).collect().await;
        told.into_iter().filter(|told| *told).count()
    }

    /// Names the machine after its node. Nothing depends on it.
    async fn tag(&self, claim: &NodeClaim, node: &str) {
        let provider = claim.status.as_ref().and_then(|status| status.provider_id.as_deref());
        let Some(id) = provider.and_then(id) else { return };
        if claim.labels().get(well_known::ZONE).is_some_and(|zone| self.is_shifted(zone)) {
            return;
        }
        let tagged = async {
            let there = self.machines.get(id).await?.map(|machine| machine.tags).unwrap_or_default();
            self.machines.forget(id);
            let tags = join::tags(node, &claim.name_any(), &there);
            if tags.is_empty() { Ok(()) } else { self.ec2.tag(id, &tags).await }
        };
        if let Err(error) = tagged.await {
            warn!(claim = claim.name_any(), machine = id, %error, "a machine was not tagged");
        }
    }

    /// A node takes pods.
    async fn initialize(&self, name: &str, node: &str) -> Result<Duration> {
        let Some(claim) = self.claims().get_opt(name).await? else { return Ok(SOON) };
        let patch = json!({"metadata": {"labels": {(well_known::INITIALIZED): "true"}}});
        self.nodes().patch(node, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        let aspect = Aspect { kind: INITIALIZED, status: TRUE, reason: INITIALIZED, message: String::new() };
        self.conditions(&claim, &[aspect], &json!({})).await?;
        self.expected.with(|all| all.opened(name, Instant::now()));
        info!(claim = name, node, "a node takes pods");
        Ok(Duration::ZERO)
    }

    async fn give_up(&self, name: &str, late: Late) -> Result<Duration> {
        warn!(claim = name, reason = late.reason(), "a NodeClaim took too long, and is given up");
        if let Some(claim) = self.claims().get_opt(name).await? {
            self.lives.disrupted(claim.labels(), late.reason());
            self.note(&claim, false).await;
        }
        self.delete(name, late.reason()).await
    }

    /// Asks for the end of a claim.
    pub(super) async fn delete(&self, name: &str, why: &str) -> Result<Duration> {
        info!(claim = name, why, "a NodeClaim is deleted");
        match self.claims().delete(name, &DeleteParams::default()).await {
            Err(error) if !is_gone(&error) => Err(error.into()),
            _ => Ok(SOON),
        }
    }

    /// Takes our finalizer from a Node that is being deleted.
    async fn let_go(&self, name: &str) -> Duration {
        let nodes = self.nodes();
        let gone = async {
            if let Some(node) = nodes.get_opt(name).await? {
                self.release_node(&node).await?;
            }
            anyhow::Ok(())
        };
        match gone.await {
            Ok(()) => SOON,
            Err(error) => {
                warn!(
                    node = name,
                    error = format!("{error:#}"),
                    "a Node without NodeClaim could not be let go"
                );
                AGAIN
            }
        }
    }

    pub(super) async fn release_node(&self, node: &Node) -> Result<()> {
        let left: Vec<&String> = node.finalizers().iter().filter(|f| *f != FINALIZER).collect();
        let patch =
            json!({"metadata": {"resourceVersion": node.metadata.resource_version, "finalizers": left}});
        match self.nodes().patch(&node.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await {
            Err(error) if !is_gone(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Since when something is so, as a claim says.
    pub(super) fn since(claim: &NodeClaim, kind: &str) -> Option<Timestamp> {
        let conditions = &claim.status.as_ref()?.conditions;
        let found = condition::find(conditions, kind)?;
        moment(Some(&found.last_transition_time))
    }
}

/// A moment as conditions state it.
fn second(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What an event on a Node is about.
pub(super) fn reference(node: &Node) -> ObjectReference {
    // Nodes are known by their name where others would state a uid: kubectl looks for that.
    ObjectReference { uid: node.metadata.name.clone(), ..node.object_ref(&()) }
}
