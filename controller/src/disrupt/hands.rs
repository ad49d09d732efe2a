//! What is done about nodes that go: marks put on and taken off, replacements asked for, NodeClaims deleted.
//!
//! # Invariants
//! - A patch of a list names the version that it was made from: what others have put there meanwhile stays.
//! - What this process has written shows in its index at once.

use anyhow::{Context as _, Result, bail};
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};
use stowage_api::crd::condition::{self, DISRUPTABLE, DISRUPTION_REASON};
use stowage_api::crd::{Condition, NodeClaim};
use stowage_api::well_known::TAINT_DISRUPTED;
use stowage_cluster::Kind;
use stowage_cluster::disrupt::Reason;
use tracing::debug;

use super::command::{Candidate, Command, Replacement};
use super::conditions::{held, remove};
use super::methods::Stays;
use crate::answer::{is_conflict, is_gone, is_outdated};
use crate::decide::Wanted;
use crate::follow::Cluster;
use crate::life::join::{taints, with_disrupted};
use crate::make::Maker;

/// How often a patch is made anew where others were quicker.
const TRIES: usize = 5;

/// Candidates that are marked side by side.
const SIDE_BY_SIDE: usize = 10;

/// What is done with.
#[derive(Clone)]
pub struct Hands {
    /// To ask for nodes with.
    pub maker: Maker,
    /// To write with.
    pub client: Client,
    /// Where it shows.
    pub cluster: Cluster,
}

impl Hands {
    fn nodes(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    fn claims(&self) -> Api<NodeClaim> {
        Api::all(self.client.clone())
    }

    /// Marks the candidates of a command as chosen: all of them, or none; where each goes by itself, as empty ones do, those that
    /// can be. Returns the others, each with why: it is gone, goes already, or somebody forbids it.
    ///
    /// # Errors
    /// Where marks cannot be taken off again.
    pub async fn choose(&self, command: &Command) -> Result<Vec<(Candidate, anyhow::Error)>> {
        let all = &command.candidates;
        let marked =
            all.iter().map(|of| async move { (of, self.choose_one(of, command.reason).await) }.boxed());
        let marked: Vec<_> =
            futures::stream::iter(marked.collect::<Vec<_>>()).buffer_unordered(SIDE_BY_SIDE).collect().await;
        let failed: Vec<(Candidate, anyhow::Error)> =
            marked.into_iter().filter_map(|(of, done)| Some((of.clone(), done.err()?))).collect();
        let apart = command.reason == Reason::Empty;
        let back = all.iter().filter(|of| {
            !failed.is_empty() && (!apart || failed.iter().any(|(other, _)| other.uid == of.uid))
        });
        self.release_all(back.map(|of| (of.claim.as_str(), of.node.as_str()))).await?;
        Ok(failed)
    }

    async fn choose_one(&self, candidate: &Candidate, reason: Reason) -> Result<()> {
        let marked = self.change_node(&candidate.node, with_disrupted).await?;
        marked.with_context(|| format!("Node {} is gone, or goes already", candidate.node))?;
        self.change_claim(&candidate.claim, |claim, all| {
            let generation = claim.metadata.generation;
            // It stays no more.
            remove(all, DISRUPTABLE);
            condition::set(all, held(DISRUPTION_REASON, reason.name(), "", generation, Timestamp::now()))
        })
        .await?
        .filter(|claim| claim.metadata.uid.as_deref() == Some(candidate.uid.as_str()))
        .with_context(|| format!("NodeClaim {} is gone, or goes already", candidate.claim))?;
        Ok(())
    }

    /// Takes the marks off nodes that stay: (NodeClaim, Node).
    ///
    /// # Errors
    /// The first failure; what could be done was done.
    pub async fn release_all<'n>(&self, all: impl Iterator<Item = (&'n str, &'n str)>) -> Result<()> {
        let released = all.map(|(claim, node)| self.release(claim, node).boxed());
        let released: Vec<_> = futures::stream::iter(released.collect::<Vec<_>>())
            .buffer_unordered(SIDE_BY_SIDE)
            .collect()
            .await;
        released.into_iter().collect()
    }

    async fn release(&self, claim: &str, node: &str) -> Result<()> {
        // First the claim: whoever finds a node with the taint alone takes that off as well.
        let found = self.change_claim(claim, |_, all| remove(all, DISRUPTION_REASON)).await?;
        if found.is_none() {
            // It goes: so do the marks, with it.
            return Ok(());
        }
        self.change_node(node, |node| {
            let left: Vec<_> = taints(node).iter().filter(|taint| taint.key != TAINT_DISRUPTED).collect();
            (left.len() < taints(node).len()).then(|| json!(left))
        })
        .await?;
        Ok(())
    }

    /// Tells a NodeClaim why its node is not taken away to save money.
    ///
    /// # Errors
    /// Where the API server does not take it.
    pub async fn explain(&self, stays: &Stays) -> Result<()> {
        self.change_claim(&stays.claim, |claim, all| {
            let generation = claim.metadata.generation;
            let why = held(DISRUPTABLE, stays.word, &stays.why, generation, Timestamp::now());
            condition::set(all, Condition { status: condition::FALSE.to_owned(), ..why })
        })
        .await?;
        Ok(())
    }

    /// Changes the taints of a Node that is there and stays; `None` where it is not.
    async fn change_node(&self, name: &str, change: impl Fn(&Node) -> Option<Value>) -> Result<Option<Node>> {
        for _ in 0..TRIES {
            let Some(node) = self.nodes().get_opt(name).await? else { return Ok(None) };
            if node.metadata.deletion_timestamp.is_some() {
                return Ok(None);
            }
            let Some(taints) = change(&node) else { return Ok(Some(node)) };
            let version = &node.metadata.resource_version;
            let patch = json!({"metadata": {"resourceVersion": version}, "spec": {"taints": taints}});
            match self.nodes().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
                Ok(written) => {
                    self.cluster.assume(Kind::Node, &written);
                    return Ok(Some(written));
                }
                Err(error) if is_conflict(&error) => debug!(node = name, "somebody else was quicker"),
                Err(error) if is_gone(&error) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        bail!("Node {name} changes all the time")
    }

    /// Changes the conditions of a NodeClaim that is there and stays; `None` where it is not.
    async fn change_claim(
        &self,
        name: &str,
        change: impl Fn(&NodeClaim, &mut Vec<condition::Condition>) -> bool,
    ) -> Result<Option<NodeClaim>> {
        for _ in 0..TRIES {
            let Some(claim) = self.claims().get_opt(name).await? else { return Ok(None) };
            if claim.metadata.deletion_timestamp.is_some() {
                return Ok(None);
            }
            let mut all = claim.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
            if !change(&claim, &mut all) {
                return Ok(Some(claim));
            }
            let version = &claim.metadata.resource_version;
            let patch = json!({"metadata": {"resourceVersion": version}, "status": {"conditions": all}});
            match self.claims().patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
                Ok(written) => {
                    self.cluster.assume(Kind::NodeClaim, &written);
                    return Ok(Some(written));
                }
                Err(error) if is_conflict(&error) => debug!(claim = name, "somebody else was quicker"),
                Err(error) if is_gone(&error) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        bail!("NodeClaim {name} changes all the time")
    }

    /// Asks for the replacements of a command; returns their NodeClaims, in the same order.
    ///
    /// # Errors
    /// Where one could not be made. Those that were stay: as nodes that nobody needs, they go again.
    pub async fn launch(
        &self,
        command: &Command,
        mut asked: impl FnMut(&str, &Wanted),
    ) -> Result<Vec<String>> {
        let all = &command.replacements;
        let replaced: Vec<&str> = command.candidates.iter().map(|of| of.claim.as_str()).collect();
        let replaced = replaced.join(",");
        let planned: Vec<Wanted> = all
            .iter()
            .filter_map(|replacement| match replacement {
                Replacement::Planned(wanted) => Some(Wanted::clone(wanted)),
                Replacement::Static(_) => None,
            })
            .collect();
        let mut made = Vec::new();
        let mut failed = None;
        for (wanted, claim) in self.maker.planned(&planned, Some(&replaced)).await? {
            match claim {
                Ok(claim) => {
                    asked(&claim, wanted);
                    let at = planned.iter().position(|of| std::ptr::eq(of, wanted));
                    made.push((at, claim));
                }
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            return Err(error.context("a replacement could not be asked for"));
        }
        if made.len() < planned.len() {
            bail!("the NodePool of a replacement cannot be read");
        }
        // They were made side by side.
        made.sort();
        let mut made = made.into_iter().map(|(_, name)| name);
        let mut out = Vec::with_capacity(all.len());
        for replacement in all {
            out.push(match replacement {
                Replacement::Planned(_) => made.next().context("every plan has a NodeClaim")?,
                Replacement::Static(pool) => {
                    let one = self.maker.fixed(pool, 1).await?.pop();
                    one.context("one was asked for")?.context("a replacement could not be asked for")?
                }
            });
        }
        Ok(out)
    }

    /// Sends a candidate on its way: its NodeClaim is deleted. One that goes already, or is gone, is no error.
    ///
    /// # Errors
    /// Where the API server does not do it.
    pub async fn remove(&self, candidate: &Candidate) -> Result<()> {
        self.drop_claim(&candidate.claim, &candidate.uid).await
    }

    /// Deletes a NodeClaim of this name and uid. One that goes already, or is gone, is no error.
    ///
    /// # Errors
    /// Where the API server does not do it.
    pub async fn drop_claim(&self, name: &str, uid: &str) -> Result<()> {
        let uid = Some(uid.to_owned()).filter(|uid| !uid.is_empty());
        let how = DeleteParams {
            preconditions: Some(Preconditions { uid, resource_version: None }),
            ..DeleteParams::default()
        };
        match self.claims().delete(name, &how).await {
            Ok(going) => {
                if let Some(going) = going.left() {
                    self.cluster.assume(Kind::NodeClaim, &going);
                }
                Ok(())
            }
            Err(error) if is_outdated(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
