//! `NodeOverlays`: whether each can be applied, said in its conditions (gate `NodeOverlay`).
//!
//! What an overlay comes to is decided where plans are made; this says the same of it.
//!
//! compat: karpenter v1.14, `pkg/controllers/nodeoverlay`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use stowage_api::crd::condition::{self, FALSE, TRUE, VALIDATION_SUCCEEDED};
use stowage_api::crd::{Condition, NodeOverlaySpec, NodeOverlayStatus};
use stowage_cluster::Snapshot;
use stowage_pricing::{Catalog, Overlaid, Overlay, PoolLabels};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::answer::is_outdated;
use crate::follow::Cluster;
use crate::market::Market;
use crate::pool::unknown;
use crate::whole::Whole;

/// What is bought changes, and with it which overlays conflict.
const EVERY: Duration = Duration::from_mins(10);

/// Changes that come within so short a time are looked at together.
const SETTLE: Duration = Duration::from_millis(100);

/// Statuses that are written side by side.
const SIDE_BY_SIDE: usize = 10;

/// What the loop works with.
pub struct Keeper {
    /// To write with.
    pub client: Client,
    /// What there is.
    pub cluster: Cluster,
    /// What can be bought.
    pub market: watch::Receiver<Arc<Market>>,
}

/// Why an overlay is not applied: reason and words.
type Verdict = Result<(), (&'static str, String)>;

impl Keeper {
    /// Looks at them until the task is dropped.
    pub async fn run(self) {
        let whole = Whole::new("karpenter.sh", "NodeOverlay");
        tokio::join!(whole.clone().follow(self.client.clone()), self.work(&whole));
    }

    async fn work(&self, whole: &Whole) {
        let mut changes = whole.changes();
        loop {
            // Until all of the cluster is known, nothing can be said.
            let mut rest = Duration::from_secs(1);
            if let Some(snapshot) = self.cluster.snapshot()
                && let Some(resource) = whole.resource()
            {
                rest = EVERY;
                let objects = whole.all();
                let market = Arc::clone(&self.market.borrow());
                let judged = tokio::task::spawn_blocking(move || {
                    let verdicts = verdicts(&objects, &snapshot, &market.catalog);
                    (objects, verdicts)
                });
                let api = Api::<DynamicObject>::all_with(self.client.clone(), &resource);
                match judged.await {
                    Ok((objects, verdicts)) => tell(&api, &objects, &verdicts).await,
                    Err(error) => warn!(%error, "NodeOverlays cannot be looked at"),
                }
            }
            tokio::select! {
                () = changes.next() => tokio::time::sleep(SETTLE).await,
                () = tokio::time::sleep(rest) => {}
            }
        }
    }
}

/// Whether each overlay can be applied, by name.
fn verdicts(
    objects: &[Arc<DynamicObject>],
    snapshot: &Snapshot,
    catalog: &Catalog,
) -> BTreeMap<String, Verdict> {
    let mut verdicts = BTreeMap::<String, Verdict>::new();
    let mut overlays = Vec::new();
    for object in objects.iter().filter(|o| o.metadata.deletion_timestamp.is_none()) {
        let read = serde_json::to_value(object.as_ref())
            .map_err(|error| error.to_string())
            .and_then(|json| serde_json::from_value(json).map_err(|error| error.to_string()))
            .and_then(|read| Overlay::of(&read).map_err(|error| error.to_string()));
        let verdict = match read {
            Ok(overlay) => {
                overlays.push(overlay);
                Ok(())
            }
            Err(why) => Err(("RuntimeValidation", why)),
        };
        verdicts.insert(object.name_any(), verdict);
    }
    let of = |pool: &stowage_api::NodePool| PoolLabels {
        name: pool.metadata.name.clone(),
        labels: pool.spec.template.metadata.labels.clone(),
    };
    let pools: Vec<PoolLabels> = snapshot.node_pools.iter().map(of).collect();
    for rejected in Overlaid::new(&overlays, &pools, catalog).rejected {
        verdicts.insert(rejected.name.clone(), Err(("Conflict", rejected.to_string())));
    }
    verdicts
}

async fn tell(
    api: &Api<DynamicObject>,
    objects: &[Arc<DynamicObject>],
    verdicts: &BTreeMap<String, Verdict>,
) {
    let now = Timestamp::now().to_string();
    let writes = objects.iter().filter_map(|object| {
        let verdict = verdicts.get(&object.name_any())?;
        let old: NodeOverlayStatus =
            serde_json::from_value(object.data["status"].clone()).unwrap_or_default();
        let unknown = serde_json::from_value::<NodeOverlaySpec>(object.data["spec"].clone())
            .map(|spec| unknown::words(&unknown::of_overlay(&spec)));
        let wanted = status(&old, object.metadata.generation, verdict, &unknown.unwrap_or_default(), &now);
        (wanted != old).then_some((object, wanted))
    });
    let written = futures::stream::iter(writes.collect::<Vec<_>>()).map(|(object, wanted)| async move {
        let name = object.name_any();
        let patch: Value =
            json!({"metadata": {"resourceVersion": object.resource_version()}, "status": wanted});
        let written = api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch)).await;
        (name, written, condition::holds(&wanted.conditions, VALIDATION_SUCCEEDED))
    });
    for (name, written, applied) in written.buffer_unordered(SIDE_BY_SIDE).collect::<Vec<_>>().await {
        match written {
            Ok(_) => info!(overlay = name, applied, "NodeOverlay"),
            Err(error) if is_outdated(&error) => {
                debug!(overlay = name, "a NodeOverlay changed while it was looked at");
            }
            Err(error) => warn!(overlay = name, %error, "a NodeOverlay's status cannot be written"),
        }
    }
}

/// The status that an overlay should have, as of `now`.
fn status(
    old: &NodeOverlayStatus,
    generation: Option<i64>,
    verdict: &Verdict,
    unknown: &str,
    now: &str,
) -> NodeOverlayStatus {
    let mut status = old.clone();
    let (state, reason, message) = match verdict {
        Ok(()) => (TRUE, VALIDATION_SUCCEEDED, unknown),
        Err((reason, why)) => (FALSE, *reason, why.as_str()),
    };
    let valid = Condition {
        kind: VALIDATION_SUCCEEDED.to_owned(),
        status: state.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: now.to_owned(),
        observed_generation: generation,
    };
    condition::set(&mut status.conditions, valid);
    let ready = condition::ready(&status.conditions, &[VALIDATION_SUCCEEDED], now, generation);
    condition::set(&mut status.conditions, ready);
    status
}

#[cfg(test)]
mod tests {
    use stowage_api::crd::condition::READY;
    use stowage_cluster::{Index, Kind};
    use stowage_pricing::Settings;

    use super::*;

    fn overlay(name: &str, spec: Value) -> Arc<DynamicObject> {
        let mut object =
            json!({"apiVersion": "karpenter.sh/v1alpha1", "kind": "NodeOverlay", "metadata": {"name": name}});
        object["spec"] = spec;
        object["spec"]["requirements"] =
            json!([{"key": "karpenter.k8s.aws/instance-family", "operator": "In", "values": ["m7i"]}]);
        Arc::new(serde_json::from_value(object).expect("an object"))
    }

    #[test]
    fn an_overlay_is_told_why_it_is_not_applied() {
        let mut index = Index::default();
        let pool = json!({"metadata": {"name": "default"}, "spec": {}});
        index.apply(Kind::NodePool, &pool.to_string()).expect("a pool");
        let catalog = Catalog::embedded("us-east-1", &Settings::default()).expect("a region");
        let objects = [
            overlay("a", json!({"price": "1", "weight": 5})),
            overlay("b", json!({"priceAdjustment": "-10%", "weight": 5})),
            overlay("c", json!({"capacity": {"aws.amazon.com/neuron": "1"}})),
            overlay("d", json!({"capacity": {"example.com/key": "1"}})),
        ];
        let verdicts = verdicts(&objects, &index.snapshot(), &catalog);
        let said = |name: &str| verdicts[name].as_ref().map_err(|(reason, why)| (*reason, why.clone()));
        // Of equal weight, the last by name is the first.
        assert_eq!((said("b"), said("d")), (Ok(&()), Ok(&())));
        let (reason, why) = said("a").expect_err("a conflict");
        assert_eq!(
            (reason, why.contains("NodeOverlay a: b has the same weight")),
            ("Conflict", true),
            "{why}"
        );
        assert_eq!(said("c").expect_err("restricted").0, "RuntimeValidation");

        let refused = status(&NodeOverlayStatus::default(), Some(1), &verdicts["a"], "", "t1");
        assert!(!condition::holds(&refused.conditions, READY));
        let applied = status(&refused, Some(2), &Ok(()), "spec.x is not looked at", "t2");
        assert!(condition::holds(&applied.conditions, READY));
        assert_eq!(applied.conditions[0].message, "spec.x is not looked at");
    }
}
