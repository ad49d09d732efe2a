//! A machine goes: its node lets go of its pods and volumes, its instance ends, and then its objects may go.
//!
//! ```text
//! tainted ─▶ drained ─▶ volumes detached ─▶ instance ended ─▶ EC2 has it no more ─▶ Node gone ─▶ NodeClaim gone
//! ```
//!
//! Each look takes the claim as far as it goes and comes back: nothing waits in here, and whoever takes over goes on.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, EvictParams, ListParams, Patch, PatchParams, Preconditions};
use kube::{Resource as _, ResourceExt as _};
use serde_json::json;
use stowage_api::crd::NodeClaim;
use stowage_api::crd::condition::{DRAINED, FALSE, INSTANCE_TERMINATING, TRUE, UNKNOWN, VOLUMES_DETACHED};
use stowage_api::well_known::ZONE;
use stowage_aws::Machine;
use tracing::{debug, info, warn};

use super::FINALIZER;
use super::collect::id;
use super::drain::{Drain, drain, grace};
use super::evictions::apart;
use super::join::keep_off;
use super::notes::{DEADLINE, TAKEN, why_it_goes};
use super::run::{Caretaker, SOON, reference};
use super::step::Aspect;
use super::surge::{ROLLED_FOR, Surge, Time, may_surge, surge};
use super::volumes::attached;
use crate::announce::{normal, warning};
use crate::answer::{is_forbidden, is_gone, is_outdated, is_refused};
use crate::operate::lives::{Ended, error};
use crate::time::{duration, later, moment, until};

/// Draining takes so long at least: a pod may have been bound just before the taint was there.
const LEAST_DRAIN: Duration = Duration::from_secs(5);

/// How often it is looked whether pods have left or a machine has ended.
const LOOK: Duration = Duration::from_secs(1);

/// How often it is looked whether a zone is back that the cluster is shifted away from.
const WAIT_FOR_ZONE: Duration = Duration::from_secs(30);

/// Evictions that are asked for side by side, of one node.
const EVICTIONS: usize = 10;

/// What came of asking a pod to leave.
enum Evicted {
    /// It leaves.
    Yes,
    /// It has left, or another has its name: nothing was done.
    Gone,
    /// A budget stands in the way.
    Not(String),
}

/// How far a node has let go of its pods and volumes.
enum Progress {
    /// Not yet.
    Waiting,
    /// So far that its instance may end.
    Done,
}

impl Caretaker {
    /// Takes the end of a claim as far as it goes now; `nodes` are those of its machine.
    pub(super) async fn end(&self, name: &str, nodes: &[String]) -> Result<Duration> {
        let Some(mut claim) = self.claims().get_opt(name).await? else { return Ok(SOON) };
        if claim.metadata.deletion_timestamp.is_none() || !claim.finalizers().iter().any(|f| f == FINALIZER) {
            return Ok(SOON);
        }
        if self.launching.is_under_way(name) {
            // Then there is a machine to end, or there never will be.
            return Ok(SOON);
        }
        let deadline = self.deadline(&mut claim).await?;
        // EC2 is asked when it matters: draining does not wait for it.
        let mut machine = None;

        let mut ours = Vec::new();
        for node in nodes {
            let Some(mut node) = self.nodes().get_opt(node).await? else { continue };
            if node.metadata.deletion_timestamp.is_none() {
                match self.nodes().delete(&node.name_any(), &DeleteParams::default()).await {
                    Err(error) if !is_gone(&error) => return Err(error.into()),
                    _ => {}
                }
                let Some(still) = self.nodes().get_opt(&node.name_any()).await? else { continue };
                node = still;
            }
            if !node.finalizers().iter().any(|f| f == FINALIZER) {
                continue;
            }
            if !is_ready(&node) && machine.is_none() {
                machine = Some(self.machine(&claim).await?);
            }
            if machine.as_ref().is_none_or(|(_, machine)| is_there(machine.as_ref())) {
                match self.empty(&mut claim, &mut node, deadline).await? {
                    Progress::Waiting => return Ok(LOOK),
                    Progress::Done => {}
                }
            }
            ours.push(node);
        }
        let (machine_id, machine) = match machine {
            Some(known) => known,
            None => self.machine(&claim).await?,
        };
        let there = is_there(machine.as_ref());
        if there && self.is_away(&claim) {
            debug!(claim = name, "a machine of a zone that the cluster is shifted away from is ended later");
            return Ok(WAIT_FOR_ZONE);
        }
        if let (Some(id), true) = (&machine_id, there) {
            return self.terminate(&mut claim, id, machine.as_ref()).await;
        }
        for node in &ours {
            self.release_node(node).await?;
        }
        self.release(&claim, machine_id.as_deref()).await
    }

    /// Whether the cluster is shifted away from the zone of a claim.
    fn is_away(&self, claim: &NodeClaim) -> bool {
        claim.labels().get(ZONE).is_some_and(|zone| self.is_shifted(zone))
    }

    /// By when the machine has to be gone: said once, so that it does not move.
    async fn deadline(&self, claim: &mut NodeClaim) -> Result<Option<Timestamp>> {
        if let Some(said) = claim.annotations().get(DEADLINE) {
            return Ok(moment(Some(said)));
        }
        let grace = claim.spec.termination_grace_period.as_deref().and_then(duration);
        let asked = claim.metadata.deletion_timestamp.as_ref().map(|at| at.0);
        let (Some(grace), Some(asked)) = (grace, asked) else { return Ok(None) };
        let deadline = later(asked, grace);
        let patch = json!({"metadata": {"annotations": {(DEADLINE): deadline.to_string()}}});
        *claim =
            self.claims().patch(&claim.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(Some(deadline))
    }

    /// The machine of a claim: the one that its status names, or one whose launch was told to nobody.
    async fn machine(&self, claim: &NodeClaim) -> Result<(Option<String>, Option<Machine>)> {
        let provider = claim.status.as_ref().and_then(|status| status.provider_id.as_deref());
        match provider.map(|provider| (provider, id(provider))) {
            // EC2 is not asked; it is there until EC2 says otherwise.
            Some((_, Some(id))) if self.is_away(claim) => {
                Ok((Some(id.to_owned()), Some(Machine { id: id.to_owned(), ..Machine::default() })))
            }
            Some((_, Some(id))) => {
                let found = self.machines.get(id);
                let found = self.lives.asking(("nodeclaim.lifecycle", "Get"), found, error).await?;
                Ok((Some(id.to_owned()), found))
            }
            // Of another cloud, or made up: nothing of ours.
            Some((_, None)) => Ok((None, None)),
            None => {
                let found = self.machines.of_claim(&claim.name_any()).await?;
                Ok((found.as_ref().map(|machine| machine.id.clone()), found))
            }
        }
    }

    /// Lets a node go of its pods and volumes.
    async fn empty(
        &self,
        claim: &mut NodeClaim,
        node: &mut Node,
        deadline: Option<Timestamp>,
    ) -> Result<Progress> {
        if let Some(patch) = keep_off(node) {
            *node =
                self.nodes().patch(&node.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await?;
            info!(claim = claim.name_any(), node = node.name_any(), "a node is drained");
        }
        let now = Timestamp::now();
        let on_node = ListParams::default().fields(&format!("spec.nodeName={}", node.name_any()));
        let pods = Api::<Pod>::all(self.client.clone()).list(&on_node).await?.items;
        let over = deadline.is_some_and(|deadline| now >= deadline);
        if !is_true(claim, DRAINED) {
            let todo = drain(&pods, deadline, now);
            let since = Self::since(claim, DRAINED).unwrap_or(now);
            if todo.left > 0 {
                // First: from here on it counts how long pods are waited for, whatever is in their way.
                let message = format!("{} pods are still there", todo.left);
                self.set(claim, DRAINED, UNKNOWN, "Draining", &message).await?;
                self.drain(claim, node, &todo, deadline).await?;
                return Ok(Progress::Waiting);
            }
            if until(since, now) < LEAST_DRAIN {
                self.set(claim, DRAINED, UNKNOWN, "Draining", "no pods are left").await?;
                return Ok(Progress::Waiting);
            }
            self.set(claim, DRAINED, TRUE, DRAINED, "").await?;
            self.lives.drained(claim.labels());
        }
        if !is_true(claim, VOLUMES_DETACHED) {
            let known = self.cluster.snapshot();
            let attached = known.map_or(usize::MAX, |known| attached(&known, &node.name_any(), &pods, now));
            if attached > 0 && !over {
                let message = format!("{attached} volumes are still attached");
                self.set(claim, VOLUMES_DETACHED, UNKNOWN, "AwaitingVolumeDetachment", &message).await?;
                self.announcer.tell(reference(node), normal("AwaitingVolumeDetachment", message));
                return Ok(Progress::Waiting);
            }
            if attached > 0 {
                let reason = "TerminationGracePeriodElapsed";
                self.set(claim, VOLUMES_DETACHED, FALSE, reason, "it had to be gone by now").await?;
            } else {
                self.set(claim, VOLUMES_DETACHED, TRUE, VOLUMES_DETACHED, "").await?;
            }
        }
        Ok(Progress::Done)
    }

    /// Asks pods to leave, and says what is in the way. What fails holds up no other pod, and is returned at the end.
    async fn drain(
        &self,
        claim: &NodeClaim,
        node: &Node,
        todo: &Drain<'_>,
        deadline: Option<Timestamp>,
    ) -> Result<()> {
        let (mut told, mut failed) = (Vec::new(), None::<anyhow::Error>);
        for (pod, grace) in &todo.delete {
            let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
            let how = DeleteParams {
                grace_period_seconds: Some(*grace),
                preconditions: Some(same(pod)),
                ..DeleteParams::default()
            };
            match api.delete(&pod.name_any(), &how).await {
                // Or the pod of that name is another one by now.
                Err(error) if is_outdated(&error) => {}
                // Somebody forbids it: the others are to leave all the same.
                Err(error) if is_refused(&error) => {
                    let note = format!("Failed to drain node, pod {} cannot be deleted: {error}", key(pod));
                    told.push((reference(node), warning("FailedDraining", note)));
                }
                Err(error) => failed = failed.or_else(|| Some(error.into())),
                Ok(_) => {
                    self.lives.pod_drained(&why_it_goes(claim));
                    info!(
                        pod = key(pod),
                        node = node.name_any(),
                        grace,
                        "a pod is deleted: its node has to go"
                    );
                    let note = format!("Deleted with {grace} s of grace: its node has to be gone by then");
                    told.push((pod.object_ref(&()), normal("Disrupted", note)));
                }
            }
        }
        let mut evict = Vec::with_capacity(todo.evict.len());
        let due = |pod: &&&Pod| {
            self.evictions.is_due(pod.metadata.uid.as_deref().unwrap_or_default(), Instant::now())
        };
        for pod in todo.evict.iter().filter(due) {
            if !may_surge(pod, self.surge_first) {
                evict.push(*pod);
                continue;
            }
            match self.surge(claim, pod).await {
                Ok(Some(note)) => told.push((pod.object_ref(&()), normal("SurgeFirst", note))),
                Ok(None) => evict.push(*pod),
                // Somebody forbids to roll its Deployment: it leaves as others do.
                Err(error) if error.downcast_ref::<kube::Error>().is_some_and(is_forbidden) => {
                    info!(pod = key(pod), error = format!("{error:#}"), "its Deployment may not be rolled");
                    evict.push(*pod);
                }
                // The others are to leave all the same.
                Err(error) => warn!(pod = key(pod), error = format!("{error:#}"), "a pod is not seen to"),
            }
        }
        let asked = evict.into_iter().map(|pod| {
            let (keeper, pod) = (self.clone(), Pod::clone(pod));
            async move {
                let answer = keeper.evict(&pod).await;
                (pod, answer)
            }
            .boxed()
        });
        let asked: Vec<_> = asked.collect();
        let evicted: Vec<_> = futures::stream::iter(asked).buffer_unordered(EVICTIONS).collect().await;
        let (answered, not_answered) = apart(evicted);
        for (pod, answer) in answered {
            match answer {
                Evicted::Gone => {}
                Evicted::Yes => {
                    self.lives.pod_drained(&why_it_goes(claim));
                    info!(
                        pod = key(&pod),
                        node = node.name_any(),
                        claim = claim.name_any(),
                        "a pod is evicted"
                    );
                    told.push((
                        pod.object_ref(&()),
                        normal("Evicted", "Evicted pod: its node is going away"),
                    ));
                }
                Evicted::Not(why) => {
                    self.evictions.refused(pod.metadata.uid.as_deref().unwrap_or_default(), Instant::now());
                    debug!(pod = key(&pod), why, "a pod cannot be evicted now");
                    let note = format!("Failed to drain node, pod {} cannot be evicted: {why}", key(&pod));
                    told.push((reference(node), warning("FailedDraining", note)));
                }
            }
        }
        for pod in &todo.blocked {
            let note = format!("Failed to drain node, pod {} must not be disrupted", key(pod));
            told.push((reference(node), warning("FailedDraining", note)));
        }
        if let (Some(deadline), false) = (deadline, told.is_empty()) {
            let note = format!("All pods will be deleted by {deadline}");
            told.push((reference(node), normal("TerminationGracePeriodExpiring", note)));
        }
        self.announcer.tell_all(told);
        failed.or(not_answered).map_or(Ok(()), Err)
    }

    /// Has the Deployment of a pod make another one first, where it can; returns what is to be said of that. `None`: the pod is to
    /// be evicted.
    async fn surge(&self, claim: &NodeClaim, pod: &Pod) -> Result<Option<String>> {
        let namespace = pod.namespace().unwrap_or_default();
        let owner = |owners: &[OwnerReference], kind: &str| {
            owners.iter().find(|o| o.kind == kind && o.controller == Some(true)).map(|o| o.name.clone())
        };
        let Some(set) = owner(pod.owner_references(), "ReplicaSet") else { return Ok(None) };
        let sets: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &namespace);
        let Some(set) = sets.get_opt(&set).await? else { return Ok(None) };
        let Some(name) = owner(set.owner_references(), "Deployment") else { return Ok(None) };
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &namespace);
        let Some(deployment) = deployments.get_opt(&name).await? else { return Ok(None) };
        let taken = moment(claim.annotations().get(TAKEN));
        let time = Time { since: Self::since(claim, DRAINED), taken, grace: grace(pod) };
        match surge(&deployment, &claim.name_any(), time, Timestamp::now()) {
            Surge::Evict => Ok(None),
            Surge::Wait => {
                Ok(Some(format!("Waiting for Deployment {name} to replace the pod before it goes")))
            }
            Surge::Roll => {
                let patch = json!({
                    "metadata": {"resourceVersion": deployment.metadata.resource_version},
                    "spec": {"template": {"metadata": {"annotations": {(ROLLED_FOR): claim.name_any()}}}},
                });
                deployments.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
                info!(deployment = name, namespace, claim = claim.name_any(), "a Deployment is rolled");
                Ok(Some(format!(
                    "Deployment {name} is rolled, so that another pod is ready before this one goes"
                )))
            }
        }
    }

    /// Asks for the eviction of a pod.
    async fn evict(&self, pod: &Pod) -> Result<Evicted> {
        let api: Api<Pod> = Api::namespaced(self.evictor.clone(), &pod.namespace().unwrap_or_default());
        let how = EvictParams {
            delete_options: Some(DeleteParams { preconditions: Some(same(pod)), ..DeleteParams::default() }),
            ..EvictParams::default()
        };
        match api.evict(&pod.name_any(), &how).await {
            Ok(_) => {
                self.lives.evicted(200);
                Ok(Evicted::Yes)
            }
            Err(kube::Error::Api(status)) => match self.answered(status.code) {
                404 | 409 => Ok(Evicted::Gone),
                // 429: a budget; 500: more than one budget covers the pod, and the API server does not choose; others: somebody
                // forbids it.
                400..=500 => Ok(Evicted::Not(status.message.clone())),
                _ => Err(kube::Error::Api(status).into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    fn answered(&self, code: u16) -> u16 {
        self.lives.evicted(code);
        code
    }

    /// Ends the instance.
    async fn terminate(
        &self,
        claim: &mut NodeClaim,
        machine_id: &str,
        machine: Option<&Machine>,
    ) -> Result<Duration> {
        if machine.is_none_or(|machine| machine.state != "shutting-down") {
            let ended = self.machines.end(machine_id);
            let ended = self.lives.asking(("nodeclaim.lifecycle", "Delete"), ended, error).await;
            ended.inspect_err(|_| self.lives.not_ended(claim.labels()))?;
            info!(claim = claim.name_any(), machine = machine_id, "a machine is ended");
        }
        self.set(claim, INSTANCE_TERMINATING, TRUE, INSTANCE_TERMINATING, "").await?;
        Ok(LOOK)
    }

    /// Lets the claim go.
    async fn release(&self, claim: &NodeClaim, machine_id: Option<&str>) -> Result<Duration> {
        let name = claim.name_any();
        let left: Vec<&String> = claim.finalizers().iter().filter(|f| *f != FINALIZER).collect();
        let patch =
            json!({"metadata": {"resourceVersion": claim.metadata.resource_version, "finalizers": left}});
        match self.claims().patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Err(error) if !is_gone(&error) => return Err(error.into()),
            _ => {}
        }
        if let Some(id) = machine_id {
            self.machines.forget(id);
        }
        let asked = claim.metadata.deletion_timestamp.as_ref().map(|at| at.0);
        let now = Timestamp::now();
        let since = |moment: Option<Timestamp>| moment.map(|moment| until(moment, now).as_secs_f64());
        let ended = Ended {
            had_node: claim.status.as_ref().is_some_and(|status| status.node_name.is_some()),
            lived: since(claim.metadata.creation_timestamp.as_ref().map(|made| made.0)),
            going: since(asked),
            ending: since(Self::since(claim, INSTANCE_TERMINATING)),
        };
        self.lives.gone(claim.labels(), ended);
        info!(claim = name, machine = machine_id, seconds = ended.going, "a machine is gone");
        Ok(SOON)
    }

    async fn set(
        &self,
        claim: &mut NodeClaim,
        kind: &'static str,
        status: &'static str,
        reason: &'static str,
        message: &str,
    ) -> Result<()> {
        let aspect = Aspect { kind, status, reason, message: message.to_owned() };
        if let Some(written) = self.conditions(claim, &[aspect], &json!({})).await? {
            *claim = written;
        }
        Ok(())
    }
}

/// Whether a machine has not ended yet.
fn is_there(machine: Option<&Machine>) -> bool {
    machine.is_some_and(|machine| machine.state != "terminated")
}

fn is_true(claim: &NodeClaim, kind: &str) -> bool {
    claim.status.as_ref().is_some_and(|status| stowage_api::crd::condition::holds(&status.conditions, kind))
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// That very pod, and no other of its name.
fn same(pod: &Pod) -> Preconditions {
    Preconditions { uid: pod.metadata.uid.clone(), resource_version: None }
}

fn key(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())
}
