//! The loop that repairs nodes: those that have been unhealthy for too long go at once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::jiff::Timestamp;
use stowage_api::well_known::{CAPACITY_TYPE, NODE_POOL};
use tracing::warn;

use super::oust::{Ending, Ousted, Ouster, Said};
use super::repair::{Patient, look};
use crate::operate::interruptions::{Interruptions, Repaired};
use crate::time::until;

/// Changes that come within so short a time are looked at together.
const SETTLE: Duration = Duration::from_secs(1);

/// It is looked so often, whatever happens.
const EVERY: Duration = Duration::from_mins(5);

/// For so long it is not said again that a node is not repaired.
const QUIET: Duration = Duration::from_mins(15);

/// Nodes that are seen to side by side.
const SIDE_BY_SIDE: usize = 10;

/// Who repairs.
#[derive(Clone)]
pub struct Mender {
    /// To end claims with.
    pub ouster: Ouster,
    /// What is measured.
    pub measured: Interruptions,
}

impl Mender {
    /// Repairs until the task is dropped.
    pub async fn run(self) {
        let mut changes = self.ouster.cluster.changes();
        let mut said = HashMap::new();
        loop {
            let due = self.look(&mut said).await;
            let due = due.map_or(EVERY, |due| until(Timestamp::now(), due)).clamp(SETTLE, EVERY);
            tokio::select! {
                _ = changes.changed() => tokio::time::sleep(SETTLE).await,
                () = tokio::time::sleep(due) => {}
            }
            changes.borrow_and_update();
        }
    }

    /// Does what is to be done now, and says when there may be more.
    async fn look(&self, said: &mut HashMap<String, Instant>) -> Option<Timestamp> {
        let snapshot = self.ouster.cluster.snapshot()?;
        let round = look(&snapshot, Timestamp::now());
        let now = Instant::now();
        said.retain(|_, at| now.duration_since(*at) < QUIET);
        let mut work = Vec::new();
        for patient in &round.patients {
            let name = &patient.owner.claim.metadata.name;
            if patient.blocked.is_some() {
                if said.contains_key(name) {
                    continue;
                }
                said.insert(name.clone(), now);
            }
            work.push(self.see(patient).boxed());
        }
        futures::stream::iter(work).buffer_unordered(SIDE_BY_SIDE).collect::<Vec<()>>().await;
        round.due
    }

    async fn see(&self, patient: &Patient<'_>) {
        let (claim, condition) = (patient.owner.claim, patient.condition);
        let name = claim.metadata.name.as_str();
        let labelled = |key: &str| claim.metadata.labels.get(key).map_or("", String::as_str);
        if let Some(blocked) = patient.blocked {
            let of = match labelled(NODE_POOL) {
                "" => "the cluster".to_owned(),
                pool => format!("NodePool {pool}"),
            };
            let note = format!(
                "More than 20% of the nodes of {of} are unhealthy ({} of {}): none is repaired",
                blocked.unhealthy, blocked.of
            );
            warn!(claim = name, condition, note, "a node is not repaired");
            return self.ouster.tell(patient.owner, &[Said::warning("NodeRepairBlocked", note)]);
        }
        match self.ouster.oust(patient.owner, Ending::Overdue, "unhealthy").await {
            Ok(Ousted::Deleted) => {
                self.measured.repaired(Repaired {
                    condition: &snake(condition),
                    pool: labelled(NODE_POOL),
                    capacity_type: labelled(CAPACITY_TYPE),
                    image: &claim.status.image_id,
                });
                let note = format!("Disrupting NodeClaim: {condition} of its node was wrong for too long");
                self.ouster.tell(patient.owner, &[Said::warning("DisruptionTerminating", note)]);
            }
            Ok(Ousted::Hurried) => {
                let note = format!("Its time is over: {condition} of its node was wrong for too long");
                self.ouster.tell(patient.owner, &[Said::warning("DisruptionTerminating", note)]);
            }
            Ok(Ousted::AsBefore) => {}
            Err(error) => {
                let error = format!("{error:#}");
                warn!(claim = name, error, "the NodeClaim of an unhealthy node could not be deleted");
            }
        }
    }
}

/// A name as metrics write it: `AcceleratedHardwareReady` is `accelerated_hardware_ready`.
fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for (at, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_written_as_metrics_write_them() {
        assert_eq!(snake("Ready"), "ready");
        assert_eq!(snake("AcceleratedHardwareReady"), "accelerated_hardware_ready");
    }
}
