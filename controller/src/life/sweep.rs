//! Garbage is collected, for ever: what belongs together is decided in [`super::collect`].

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams};
use stowage_api::well_known;
use stowage_aws::Refused;
use tracing::warn;

use super::collect;
use super::run::Caretaker;
use crate::answer::is_gone;
use crate::operate::lives::error;

/// What Karpenter calls whoever collects garbage.
const COLLECTOR: &str = "nodeclaim.garbagecollection";

impl Caretaker {
    /// Collects garbage for ever.
    pub(super) async fn collect(self) {
        /// Rounds that follow each other quickly at first: who led before may have left something behind.
        const QUICK: u32 = 20;
        for round in 0_u32.. {
            if self.cluster.is_synced()
                && let Err(error) = Box::pin(self.collect_once()).await
            {
                warn!(error = format!("{error:#}"), "garbage could not be collected");
            }
            let rest = if round < QUICK { Duration::from_secs(10) } else { Duration::from_mins(2) };
            tokio::time::sleep(rest).await;
        }
    }

    async fn collect_once(&self) -> Result<()> {
        // Both first EC2, then the cluster: a claim that is made in between has no machine that was listed.
        let tags = [
            ("eks:eks-cluster-name".to_owned(), self.cluster_name.clone()),
            (well_known::EC2_NODE_CLASS.to_owned(), "*".to_owned()),
        ];
        let tags = tags.into();
        let machines = self.lives.asking((COLLECTOR, "List"), self.ec2.machines(&tags), error).await?;
        let listed = self.claims().list(&ListParams::default()).await?;
        let claims: Vec<stowage_api::NodeClaim> =
            listed.items.iter().map(collect::known).collect::<Result<_>>()?;
        let Some(snapshot) = self.cluster.snapshot() else { return Ok(()) };
        let now = Timestamp::now();
        // What EC2 says of a zone that the cluster is shifted away from may be wrong.
        let is_away = |claim: &stowage_api::NodeClaim| {
            claim.metadata.labels.get(well_known::ZONE).is_some_and(|zone| self.is_shifted(zone))
        };
        for claim in collect::lost(&claims, &snapshot, &machines, now).into_iter().filter(|c| !is_away(c)) {
            warn!(
                claim = claim.metadata.name,
                machine = claim.status.provider_id,
                "a machine has ended by itself"
            );
            self.lives.disrupted(&claim.metadata.labels, "garbage_collected");
            self.delete(&claim.metadata.name, "garbage_collected").await?;
        }
        let mut orphans = collect::orphans(&machines, &claims, now);
        orphans.retain(|machine| !self.is_shifted(&machine.zone));
        let ids: Vec<String> = orphans.iter().map(|machine| machine.id.clone()).collect();
        if !ids.is_empty() {
            warn!(machines = ids.join(","), "machines that belong to no NodeClaim are ended");
            let ended = async {
                let refused = self
                    .ec2
                    .terminate(&ids)
                    .await
                    .into_iter()
                    .filter_map(|(id, ended)| Some((id, ended.err()?)));
                let refused: BTreeMap<String, Refused> = refused.collect();
                for (machine, why) in &refused {
                    warn!(machine, %why, "a machine that belongs to no NodeClaim cannot be ended");
                }
                orphans.retain(|machine| !refused.contains_key(&machine.id));
                refused.into_values().next().map_or(Ok(()), Err)
            };
            // What could be ended was.
            let _ = self.lives.asking((COLLECTOR, "Delete"), ended, error).await;
        }
        for machine in orphans {
            let provider = machine.provider_id();
            for node in snapshot.nodes().filter(|node| node.spec.provider_id == provider) {
                let deleted = self.nodes().delete(&node.metadata.name, &DeleteParams::default()).await;
                if let Err(error) = deleted
                    && !is_gone(&error)
                {
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }
}
