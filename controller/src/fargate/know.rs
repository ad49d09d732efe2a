//! What admissions and looks stand on, kept up to date at every replica: policies, namespaces, profiles, prices, and the labels
//! that others select pods by.
//!
//! # Invariants
//! - A policy that cannot be understood is there as one that keeps its pods on nodes.
//! - What EKS did not answer changes nothing: what it said last holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use kube::api::DynamicObject;
use stowage_aws::{Clients, Search};
use stowage_cluster::Snapshot;
use stowage_fargate::{Concerns, Labels, Policies, PolicyError, PolicyId, Profiles};
use stowage_pricing::aws::offerings::Subnet;
use tokio::time::Instant;
use tracing::{info, warn};

use super::state::{Known, Object, State, seconds};
use crate::follow::Cluster;
use crate::market::Market;
use crate::whole::Whole;

/// The group of our kinds.
pub(crate) const GROUP: &str = "stowage.dev";
/// How often it is looked whether something is different.
const EVERY: Duration = Duration::from_secs(5);
/// Changes of policies that come within so short a time are taken in together.
const SETTLE: Duration = Duration::from_millis(100);
/// How often EKS is asked for its profiles. They change seldom, and EKS lets nobody ask much.
const ASK_EVERY: Duration = Duration::from_mins(5);
/// And after it did not answer.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// All policies, of namespaces and of the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Kinds {
    pub(crate) of_namespaces: Whole,
    pub(crate) of_cluster: Whole,
}

impl Default for Kinds {
    fn default() -> Self {
        Self {
            of_namespaces: Whole::new(GROUP, "FargatePolicy"),
            of_cluster: Whole::new(GROUP, "ClusterFargatePolicy"),
        }
    }
}

/// Keeps what is known up to date.
pub(crate) struct Keeper {
    pub(crate) state: State,
    pub(crate) cluster: Cluster,
    pub(crate) kinds: Kinds,
    pub(crate) market: tokio::sync::watch::Receiver<Arc<Market>>,
    /// The namespace of Stowage.
    pub(crate) namespace: String,
    /// To ask EKS with, about the cluster of this name; `None` where nobody may.
    pub(crate) aws: Option<(Clients, String)>,
}

impl Keeper {
    /// Keeps it until the task is dropped.
    pub(crate) async fn run(self) {
        tokio::join!(self.keep(), self.ask());
    }

    async fn keep(&self) {
        let (mut a, mut b) = (self.kinds.of_namespaces.changes(), self.kinds.of_cluster.changes());
        let mut seen = None::<Arc<Snapshot>>;
        loop {
            if let Some(snapshot) = self.cluster.snapshot() {
                let same = seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &snapshot));
                self.update(&snapshot, same);
                seen = Some(snapshot);
            }
            tokio::select! {
                () = a.next() => tokio::time::sleep(SETTLE).await,
                () = b.next() => tokio::time::sleep(SETTLE).await,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    fn update(&self, snapshot: &Snapshot, same: bool) {
        // Either kind alone says nothing: a wider policy must not rule while a narrower one is not listed yet.
        if !self.kinds.of_namespaces.is_listed() || !self.kinds.of_cluster.is_listed() {
            return;
        }
        let old = self.state.known();
        let objects: Vec<(bool, Arc<DynamicObject>)> = self
            .kinds
            .of_namespaces
            .all()
            .into_iter()
            .map(|object| (true, object))
            .chain(self.kinds.of_cluster.all().into_iter().map(|object| (false, object)))
            .collect();
        let mut new = Known { listed: true, ..Known::clone(&old) };
        new.rates = self.market.borrow().fargate;
        if new.rates != old.rates {
            info!(known = new.rates.is_some(), "prices of Fargate");
        }
        let made_from = (objects.iter().map(|(_, o)| fingerprint(o)).collect(), namespaces(snapshot));
        let changed = made_from != old.made_from || !old.listed;
        if changed {
            let (policies, errors) = read(&objects, made_from.1.clone(), &self.namespace);
            for error in errors.values().flatten() {
                warn!(%error, "a policy for Fargate is not followed");
            }
            (new.policies, new.errors, new.made_from) = (policies, errors, made_from);
        }
        // Their status changes without their generation.
        new.objects = objects.iter().map(|(of_namespace, o)| (id(*of_namespace, o), object(o))).collect();
        if !new.policies.all().is_empty() && (!same || changed) {
            new.concerns = Concerns::of(snapshot);
        }
        let policies = changed.then(|| new.policies.clone());
        self.state.learn(new);
        if let Some(policies) = policies {
            let now = seconds();
            self.state.ledger(|ledger| ledger.iter_mut().for_each(|ledger| ledger.set(&policies, now)));
            info!(count = policies.all().len(), "policies for Fargate");
        }
    }

    /// Asks EKS for its profiles, now and then.
    async fn ask(&self) {
        let Some((aws, cluster)) = &self.aws else { return std::future::pending().await };
        let mut due = Instant::now();
        loop {
            // Who has no policy needs no profiles, and no permission to ask for them; the first one should not have to wait.
            if due <= Instant::now() && !self.state.known().policies.all().is_empty() {
                let mut rest = ASK_AGAIN;
                let started = Instant::now();
                match asked(aws, cluster).await {
                    Ok((profiles, subnets)) => {
                        info!(
                            count = profiles.len(),
                            seconds = started.elapsed().as_secs_f64(),
                            "Fargate profiles"
                        );
                        let old = self.state.known();
                        let profiles = Profiles::of_eks(profiles);
                        self.state.learn(Known { profiles, subnets, ..Known::clone(&old) });
                        rest = ASK_EVERY;
                    }
                    Err(error) => {
                        let why = format!("{error:#}");
                        warn!(error = why, "EKS does not tell its Fargate profiles");
                    }
                }
                due = Instant::now() + rest;
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

/// What EKS has, and where its subnets are.
async fn asked(
    aws: &Clients,
    cluster: &str,
) -> anyhow::Result<(Vec<stowage_pricing::fargate::Profile>, Vec<Subnet>)> {
    let profiles = aws.clusters.fargate_profiles(cluster).await?;
    let mut ids: Vec<&String> = profiles.iter().flat_map(|profile| &profile.subnets).collect();
    ids.sort_unstable();
    ids.dedup();
    let search = |id: &&String| Search { id: Some((*id).clone()), ..Search::default() };
    let searches: Vec<Search> = ids.iter().map(search).collect();
    let found = aws.ec2.subnets(&searches).await?;
    let subnet = |of: stowage_aws::FoundSubnet| Subnet {
        id: of.id,
        zone: of.zone,
        zone_id: of.zone_id,
        free_addresses: u32::try_from(of.free).ok(),
    };
    Ok((profiles, found.into_iter().map(subnet).collect()))
}

fn fingerprint(object: &DynamicObject) -> (String, Option<i64>) {
    (object.uid().unwrap_or_default(), object.metadata.generation)
}

fn namespaces(snapshot: &Snapshot) -> BTreeMap<String, Labels> {
    let of = |namespace: &stowage_cluster::object::Namespace| {
        (namespace.metadata.name.clone(), namespace.metadata.labels.clone())
    };
    snapshot.namespaces.iter().map(of).collect()
}

fn id(of_namespace: bool, object: &DynamicObject) -> PolicyId {
    let namespace = of_namespace.then(|| object.namespace().unwrap_or_else(|| "default".to_owned()));
    PolicyId { namespace, name: object.name_any() }
}

fn object(of: &DynamicObject) -> Object {
    Object {
        uid: of.uid().unwrap_or_default(),
        generation: of.metadata.generation,
        resource_version: of.resource_version(),
        status: of.data["status"].clone(),
    }
}

/// Policies as their objects say, and what is wrong with which.
fn read(
    objects: &[(bool, Arc<DynamicObject>)],
    namespaces: BTreeMap<String, Labels>,
    own: &str,
) -> (Policies, BTreeMap<PolicyId, Vec<PolicyError>>) {
    let live = objects.iter().filter(|(_, object)| object.metadata.deletion_timestamp.is_none());
    let json = live.map(|(of_namespace, object)| {
        (*of_namespace, serde_json::to_string(object.as_ref()).unwrap_or_default())
    });
    Policies::read(json, namespaces, own)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(name: &str, spec: &serde_json::Value) -> Arc<DynamicObject> {
        let object = json!({
            "apiVersion": "stowage.dev/v1alpha1", "kind": "FargatePolicy",
            "metadata": {"name": name, "namespace": "shop", "uid": name, "generation": 1}, "spec": spec,
        });
        Arc::new(serde_json::from_value(object).expect("an object"))
    }

    #[test]
    fn a_policy_that_is_wrong_keeps_its_pods_on_nodes_and_says_why() {
        let objects = [
            (true, policy("good", &json!({"mode": "Always", "podSelector": {"matchLabels": {"a": "b"}}}))),
            (true, policy("wrong", &json!({"mode": "Sometimes"}))),
        ];
        let (policies, errors) = read(&objects, BTreeMap::new(), "stowage");
        assert_eq!(policies.all().len(), 2);
        let wrong = PolicyId { namespace: Some("shop".to_owned()), name: "wrong".to_owned() };
        assert!(policies.get(&wrong).is_some_and(|policy| policy.invalid));
        assert_eq!(errors.keys().collect::<Vec<_>>(), [&wrong]);
    }
}
