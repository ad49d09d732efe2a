//! Ends a NodeClaim at once: it is deleted, its Node takes no more pods, and both are told why. Pods are evicted, and the
//! instance ended, as of every NodeClaim that goes.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Client, ResourceExt as _};
use serde_json::json;
use stowage_api::{NodeClaim, crd};
use stowage_cluster::Kind;
use tracing::{debug, info};

use super::act::Owner;
use crate::announce::{Announcer, normal, warning};
use crate::answer::{is_conflict, is_gone, is_outdated};
use crate::disrupt::run::about;
use crate::follow::Cluster;
use crate::life::end::DEADLINE;
use crate::life::join::keep_off;
use crate::operate::lives::Lives;
use crate::time::moment;

/// How often a patch is made anew where others were quicker.
const TRIES: usize = 5;

/// How a NodeClaim ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its pods have the time that they and it state.
    Drained,
    /// Its time is over: pods are deleted where they cannot be evicted.
    Overdue,
}

/// NodeClaims that were deleted of late, by uid: several things may be wrong with a machine at the same time.
#[derive(Clone, Debug, Default)]
pub struct Going(Arc<Mutex<HashSet<String>>>);

impl Going {
    /// Claims that are remembered at most.
    const MOST: usize = 10_000;

    /// Whether nobody else is at it.
    fn begin(&self, uid: &str) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= Self::MOST {
            all.clear();
        }
        all.insert(uid.to_owned())
    }

    fn failed(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

/// What a claim and its node are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Whether somebody should look at it.
    pub warns: bool,
    /// One word.
    pub reason: &'static str,
    /// A sentence.
    pub note: String,
}

impl Said {
    /// Something that somebody should look at.
    pub fn warning(reason: &'static str, note: impl Into<String>) -> Self {
        Self { warns: true, reason, note: note.into() }
    }
}

/// Who ends NodeClaims.
#[derive(Clone)]
pub struct Ouster {
    /// To write with.
    pub client: Client,
    /// What there is, and where what was written shows.
    pub cluster: Cluster,
    /// To say what is done.
    pub announcer: Announcer,
    /// What is measured.
    pub lives: Lives,
    /// What was deleted of late.
    pub going: Going,
}

impl Ouster {
    /// Ends a claim, for a reason as metrics call it. Says whether it was not going already.
    ///
    /// # Errors
    /// Where the API server does not do it: then it is to be tried again.
    pub async fn oust(&self, owner: Owner<'_>, ending: Ending, reason: &str) -> Result<bool> {
        // A node that takes no more pods is what counts: neither waits for the other. A taint that is left without a deletion
        // is taken off by whoever disrupts.
        let (deleted, tainted) = tokio::join!(self.delete(owner.claim, ending), self.taint(owner.node));
        let (deleted, ()) = (deleted?, tainted?);
        if !deleted {
            return Ok(false);
        }
        let claim = &owner.claim.metadata;
        info!(
            claim = claim.name,
            node = owner.node,
            reason,
            "a NodeClaim is deleted: its machine goes, or is lost"
        );
        self.lives.disrupted(&claim.labels, reason);
        Ok(true)
    }

    /// Tells a claim and its node.
    pub fn tell(&self, owner: Owner<'_>, said: &[Said]) {
        let claim = &owner.claim.metadata;
        let claim = about("karpenter.sh/v1", "NodeClaim", &claim.name, &claim.uid);
        // Nodes are known by their name where others would state a uid: kubectl looks for that.
        let node = owner.node.map(|node| about("v1", "Node", node, node));
        let all = [Some(claim), node];
        let told = said.iter().flat_map(|said| {
            let event = if said.warns { warning } else { normal };
            all.iter().flatten().map(move |of| (of.clone(), event(said.reason, said.note.as_str())))
        });
        let told: Vec<_> = told.collect();
        self.announcer.tell_all(told);
    }

    /// Deletes a claim; says whether it was not going already.
    async fn delete(&self, claim: &NodeClaim, ending: Ending) -> Result<bool> {
        let uid = claim.metadata.uid.as_str();
        if claim.metadata.is_terminating() || !self.going.begin(uid) {
            return Ok(false);
        }
        self.delete_it(claim, ending).await.inspect_err(|_| self.going.failed(uid))
    }

    async fn delete_it(&self, claim: &NodeClaim, ending: Ending) -> Result<bool> {
        let claims: Api<crd::NodeClaim> = Api::all(self.client.clone());
        let name = claim.metadata.name.as_str();
        if ending == Ending::Overdue && !self.overdue(&claims, name).await? {
            return Ok(false);
        }
        let uid = Some(claim.metadata.uid.clone()).filter(|uid| !uid.is_empty());
        let how = DeleteParams {
            preconditions: Some(Preconditions { uid, resource_version: None }),
            ..DeleteParams::default()
        };
        match claims.delete(name, &how).await {
            Ok(going) => {
                if let Some(going) = going.left() {
                    self.cluster.assume(Kind::NodeClaim, &going);
                }
                Ok(true)
            }
            Err(error) if is_outdated(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes into a claim that its time is over; says whether it is there.
    async fn overdue(&self, claims: &Api<crd::NodeClaim>, name: &str) -> Result<bool> {
        let Some(claim) = claims.get_opt(name).await? else { return Ok(false) };
        let now = Timestamp::now();
        // Never later than it was.
        if moment(claim.annotations().get(DEADLINE)).is_some_and(|said| said <= now) {
            return Ok(true);
        }
        let patch = json!({"metadata": {"annotations": {(DEADLINE): now.to_string()}}});
        match claims.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(true),
        }
    }

    /// Keeps pods and load balancers off a node.
    async fn taint(&self, node: Option<&str>) -> Result<()> {
        let Some(name) = node else { return Ok(()) };
        let nodes: Api<Node> = Api::all(self.client.clone());
        for _ in 0..TRIES {
            let Some(node) = nodes.get_opt(name).await? else { return Ok(()) };
            let Some(patch) = keep_off(&node) else { return Ok(()) };
            match nodes.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
                Ok(written) => {
                    self.cluster.assume(Kind::Node, &written);
                    return Ok(());
                }
                Err(error) if is_conflict(&error) => debug!(node = name, "somebody else was quicker"),
                Err(error) if is_gone(&error) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        // It goes all the same, and is tainted when it is drained.
        debug!(node = name, "a node changes all the time");
        Ok(())
    }
}
