//! The loop that marks NodeClaims as out of date or quiet, and deletes those that are too old.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::{Client, Resource as _};
use serde_json::json;
use stowage_api::well_known::{
    CAPACITY_RESERVATION_ID, CAPACITY_RESERVATION_INTERRUPTIBLE, CAPACITY_RESERVATION_TYPE, CAPACITY_TYPE,
    EC2_NODE_CLASS, NODE_POOL, ON_DEMAND,
};
use stowage_api::{Ec2NodeClass, NodeClaim, NodePool, crd};
use stowage_aws::{Ec2, Machine};
use stowage_cluster::{Kind, Snapshot};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::conditions::{Facts, Marks, differs, has_lost_its_reservation, marks, patch};
use super::expire::{block_ends, expires};
use crate::announce::{Announcer, normal};
use crate::answer::{is_gone, is_outdated};
use crate::claim::is_ours;
use crate::follow::Cluster;
use crate::life::collect::id;
use crate::life::notes;
use crate::market::Market;
use crate::operate::lives::Lives;
use crate::time::until;

/// Changes that come within so short a time are looked at together.
const SETTLE: Duration = Duration::from_millis(500);

/// Looking takes no more than one part in so many and one.
const IDLE_PARTS: u32 = 9;

/// How often EC2 is asked what machines run in.
///
/// compat: karpenter v1.14 looks for drift every five minutes, and on changes.
const ASK: Duration = Duration::from_mins(5);

/// How soon again where EC2 did not answer.
const ASK_AGAIN: Duration = Duration::from_secs(20);

/// Claims that are written side by side.
const SIDE_BY_SIDE: usize = 10;

/// What the loop works with.
#[derive(Clone)]
pub struct Marker {
    /// To write with.
    pub client: Client,
    /// Where the machines are.
    pub ec2: Ec2,
    /// What there is.
    pub cluster: Cluster,
    /// What can be bought.
    pub market: watch::Receiver<Arc<Market>>,
    /// To say what is done.
    pub announcer: Announcer,
    /// What is measured.
    pub lives: Lives,
    /// Name of the cluster, by which its machines are found.
    pub cluster_name: String,
}

/// What is to be done about a claim.
enum Todo<'s> {
    Mark(&'s NodeClaim, Marks),
    Expire(&'s NodeClaim),
    EndWithBlock(&'s NodeClaim),
    Demote(&'s NodeClaim),
}

impl Marker {
    /// Marks claims until the task is dropped.
    pub async fn run(self) {
        let mut changes = self.cluster.changes();
        let mut market = self.market.clone();
        let mut machines = HashMap::new();
        let mut ask = Instant::now();
        loop {
            let started = Instant::now();
            let mut due = None;
            if let Some(snapshot) = self.cluster.snapshot() {
                if started >= ask && !snapshot.node_claims.is_empty() {
                    ask = started + self.ask(&mut machines).await;
                }
                let market = Arc::clone(&market.borrow_and_update());
                due = self.look(&snapshot, &market, &machines).await;
            }
            let settle = SETTLE.max(started.elapsed() * IDLE_PARTS);
            let due = due.map_or(ASK, |due| until(Timestamp::now(), due)).min(ASK).max(settle);
            tokio::select! {
                _ = changes.changed() => tokio::time::sleep(settle).await,
                () = tokio::time::sleep(due) => {}
            }
            changes.borrow_and_update();
        }
    }

    /// Asks EC2 for the machines; says in how long to ask again.
    async fn ask(&self, machines: &mut HashMap<String, Machine>) -> Duration {
        let tags = [
            ("eks:eks-cluster-name".to_owned(), self.cluster_name.clone()),
            (EC2_NODE_CLASS.to_owned(), "*".to_owned()),
        ];
        match self.ec2.machines(&tags.into()).await {
            Ok(found) => {
                *machines = found.into_iter().map(|machine| (machine.id.clone(), machine)).collect();
                ASK
            }
            Err(error) => {
                warn!(%error, "EC2 does not say what machines run in: drift from it is not looked for");
                ASK_AGAIN
            }
        }
    }

    /// Does what is to be done now, and says when something is to be done at the latest.
    async fn look(
        &self,
        snapshot: &Snapshot,
        market: &Market,
        machines: &HashMap<String, Machine>,
    ) -> Option<Timestamp> {
        let now = Timestamp::now();
        let pools: HashMap<&str, &NodePool> =
            snapshot.node_pools.iter().map(|pool| (pool.metadata.name.as_str(), pool)).collect();
        let classes: HashMap<&str, &Ec2NodeClass> =
            snapshot.node_classes.iter().map(|class| (class.metadata.name.as_str(), class)).collect();
        let (mut todo, mut due) = (Vec::new(), None::<Timestamp>);
        for claim in snapshot.node_claims().filter(|claim| !claim.metadata.is_terminating() && is_ours(claim))
        {
            let expires = expires(claim);
            if expires.is_some_and(|at| now >= at) {
                todo.push(Todo::Expire(claim));
                continue;
            }
            due = due.into_iter().chain(expires).min();
            let labelled = |key: &str| claim.metadata.labels.get(key).map(String::as_str);
            let class = labelled(EC2_NODE_CLASS).and_then(|name| classes.get(name)).copied();
            let ends = class.and_then(|class| block_ends(claim, class));
            if ends.is_some_and(|at| now >= at) {
                todo.push(Todo::EndWithBlock(claim));
                continue;
            }
            due = due.into_iter().chain(ends).min();
            let machine = id(&claim.status.provider_id).and_then(|id| machines.get(id));
            if machine.is_some_and(|machine| has_lost_its_reservation(claim, machine)) {
                todo.push(Todo::Demote(claim));
                continue;
            }
            let Some(pool) = labelled(NODE_POOL).and_then(|name| pools.get(name)) else { continue };
            let facts = Facts { pool, class, catalog: &market.catalog, machine };
            let marks = marks(claim, &facts, now);
            due = due.into_iter().chain(marks.due).min();
            if differs(claim, marks) {
                todo.push(Todo::Mark(claim, marks));
            }
        }
        let work = todo.iter().map(|todo| {
            async move {
                let (claim, done) = match todo {
                    Todo::Mark(claim, marks) => (claim, self.mark(claim, *marks).await),
                    Todo::Expire(claim) => {
                        let age = claim.spec.expire_after.as_deref().unwrap_or_default();
                        (claim, self.end(claim, "expired", &format!("it is older than {age}")).await)
                    }
                    Todo::EndWithBlock(claim) => {
                        let why = "its capacity block ends within forty minutes";
                        (claim, self.end(claim, "capacity_block_expired", why).await)
                    }
                    Todo::Demote(claim) => (claim, self.demote(claim).await),
                };
                if let Err(error) = done {
                    let claim = &claim.metadata.name;
                    warn!(claim, error = format!("{error:#}"), "a NodeClaim could not be marked");
                }
            }
            .boxed()
        });
        futures::stream::iter(work.collect::<Vec<_>>())
            .buffer_unordered(SIDE_BY_SIDE)
            .collect::<Vec<()>>()
            .await;
        due
    }

    async fn mark(&self, claim: &NodeClaim, marks: Marks) -> Result<()> {
        let (claims, name) = (Api::<crd::NodeClaim>::all(self.client.clone()), claim.metadata.name.as_str());
        let Some(now) = claims.get_opt(name).await? else { return Ok(()) };
        let Some(patched) = patch(&now, marks, Timestamp::now()) else { return Ok(()) };
        match claims.patch_status(name, &PatchParams::default(), &Patch::Merge(&patched)).await {
            Ok(written) => {
                self.cluster.assume(Kind::NodeClaim, &written);
                if let Some(drift) = marks.drifted {
                    info!(claim = name, reason = drift.reason(), "a NodeClaim is out of date");
                }
                Ok(())
            }
            Err(error) if is_outdated(&error) => {
                debug!(claim = name, "a NodeClaim changed while it was looked at");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Labels a machine as on demand whose capacity reservation is gone, and its node.
    async fn demote(&self, claim: &NodeClaim) -> Result<()> {
        let labels = json!({"metadata": {"labels": {
            (CAPACITY_TYPE): ON_DEMAND, (CAPACITY_RESERVATION_ID): null, (CAPACITY_RESERVATION_TYPE): null,
            (CAPACITY_RESERVATION_INTERRUPTIBLE): null,
        }}});
        let how = PatchParams::default();
        let (name, node) = (claim.metadata.name.as_str(), claim.status.node_name.as_str());
        // The node first: once the claim says so, nobody looks again.
        if !node.is_empty() {
            let nodes = Api::<Node>::all(self.client.clone());
            match nodes.patch(node, &how, &Patch::Merge(&labels)).await {
                Ok(_) => {}
                Err(error) if is_gone(&error) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        match Api::<crd::NodeClaim>::all(self.client.clone()).patch(name, &how, &Patch::Merge(&labels)).await
        {
            Ok(written) => {
                self.cluster.assume(Kind::NodeClaim, &written);
                info!(claim = name, "its capacity reservation is gone: it is on demand now");
                Ok(())
            }
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a claim, and says why.
    async fn end(&self, claim: &NodeClaim, reason: &str, why: &str) -> Result<()> {
        let (claims, name) = (Api::<crd::NodeClaim>::all(self.client.clone()), claim.metadata.name.as_str());
        let Some(now) = claims.get_opt(name).await? else { return Ok(()) };
        if now.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        info!(claim = name, why, "a NodeClaim has had its time");
        let uid = claim.metadata.uid.as_str();
        let because = [(notes::WHY, reason.to_owned())].into();
        // It goes all the same.
        if let Err(error) = notes::write(&claims, (name, uid), &because).await {
            debug!(claim = name, %error, "why a NodeClaim goes could not be written");
        }
        match claims.delete(name, &DeleteParams::default()).await {
            Ok(going) => {
                if let Some(going) = going.left() {
                    self.cluster.assume(Kind::NodeClaim, &going);
                }
            }
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        self.lives.disrupted(&claim.metadata.labels, reason);
        let note = format!("Disrupting NodeClaim: {why}");
        self.announcer.tell(now.object_ref(&()), normal("DisruptionTerminating", note));
        Ok(())
    }
}
