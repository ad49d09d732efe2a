//! The loop that writes what has become of each policy: its conditions, what it has sent to Fargate, what it left on nodes and why.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use stowage_api::crd::Condition;
use stowage_api::crd::condition::{
    self, CONFLICT, FALSE, PROFILE_FOUND, TRUE, UNKNOWN, VALIDATION_SUCCEEDED,
};
use stowage_fargate::{Facts, Labels, PolicyId, Status, status};
use tracing::{debug, warn};

use super::know::Kinds;
use super::looks::policy_reference;
use super::metrics::Measured;
use super::state::{Known, Object, State, seconds};
use crate::announce::{Announcer, bad_news};
use crate::answer::is_outdated;
use crate::follow::Cluster;

/// How often statuses are looked at.
const EVERY: Duration = Duration::from_secs(10);
/// How long a call may take.
const LIMIT: Duration = Duration::from_secs(20);
/// Pods that a policy is tried for profiles with: one of each namespace.
const MOST_PLACES: usize = 1_000;

/// Writes statuses.
pub(crate) struct Writer {
    pub(crate) client: Client,
    pub(crate) state: State,
    pub(crate) cluster: Cluster,
    pub(crate) kinds: Kinds,
    pub(crate) announcer: Announcer,
    pub(crate) measured: Measured,
}

impl Writer {
    /// Writes them until the task is dropped.
    pub(crate) async fn run(self) {
        loop {
            let known = self.state.known();
            if known.listed {
                let statuses = self.statuses(&known);
                let spent = statuses.iter().map(|(id, status)| {
                    (id.clone(), status.routed_pods, status.hourly_cost.parse().unwrap_or_default())
                });
                self.measured.routed(spent);
                for (id, status) in &statuses {
                    let Some(object) = known.objects.get(id) else { continue };
                    match tokio::time::timeout(LIMIT, self.write(id, object, status)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => {
                            warn!(policy = %id, error = format!("{error:#}"), "a policy's status cannot be written");
                        }
                        Err(_) => warn!(policy = %id, "a policy's status cannot be written in time"),
                    }
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// What each policy should say.
    fn statuses(&self, known: &Known) -> Vec<(PolicyId, Status)> {
        let now = seconds();
        self.state.refusals(|all| all.forget(now));
        let Some(snapshot) = self.cluster.snapshot() else { return Vec::new() };
        let pods = || snapshot.pods().map(|pod| (&*pod.namespace, &*pod.labels));
        let overruled = known.policies.overruled(pods());
        // One pod of each namespace that each policy rules.
        let mut places = BTreeMap::<&PolicyId, BTreeMap<&str, &Labels>>::new();
        for (namespace, labels) in pods() {
            let Some(policy) = known.policies.ruling(namespace, labels) else { continue };
            let of = places.entry(&policy.id).or_default();
            if of.len() < MOST_PLACES {
                of.entry(namespace).or_insert(labels);
            }
        }
        let of = |id: &PolicyId| {
            let pods: Vec<(&str, &Labels)> =
                places.get(id).into_iter().flatten().map(|(n, l)| (*n, *l)).collect();
            let policy = match (known.errors.get(id), known.policies.get(id)) {
                (Some(errors), _) => Err(errors.as_slice()),
                (None, Some(policy)) => Ok(&**policy),
                (None, None) => return None,
            };
            let used = self.state.ledger(|ledger| ledger.as_ref().map(|ledger| ledger.used(id)));
            self.state.refusals(|refusals| {
                let facts = Facts {
                    policy,
                    profiles: &known.profiles,
                    pods: &pods,
                    used: used.unwrap_or_default(),
                    overruled: &overruled,
                    refusals,
                };
                self.state.cache(|cache| {
                    let all = cache.iter().map(|(word, verdict)| (word, verdict, cache.is_held(word, now)));
                    Some((id.clone(), status(&facts, id, all)))
                })
            })
        };
        known.objects.keys().filter_map(of).collect()
    }

    async fn write(&self, id: &PolicyId, object: &Object, wanted: &Status) -> Result<()> {
        let now = Timestamp::now().to_string();
        let (old, new) = patched(object, wanted, &now)?;
        if old == new {
            return Ok(());
        }
        let kind = if id.namespace.is_some() { &self.kinds.of_namespaces } else { &self.kinds.of_cluster };
        let resource = kind.resource().context("the API server does not serve the kind")?;
        let api: Api<DynamicObject> = match &id.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        let mut about = policy_reference(id);
        about.uid = Some(object.uid.clone());
        // That there is no conflict is no bad news.
        let conditions = |of: &Value| -> Vec<Condition> {
            let all = serde_json::from_value::<Vec<Condition>>(of["conditions"].clone()).unwrap_or_default();
            all.into_iter().filter(|condition| condition.kind != CONFLICT).collect()
        };
        self.announcer.tell_all(bad_news(&about, &conditions(&old), &conditions(&new)));
        let patch = json!({"metadata": {"resourceVersion": object.resource_version}, "status": new});
        match api.patch_status(&id.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => Ok(()),
            Err(error) if is_outdated(&error) => {
                debug!(policy = %id, "a policy changed while its status was made");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The status as it is, and as it should be; what others have put there stays.
fn patched(object: &Object, wanted: &Status, now: &str) -> Result<(Value, Value)> {
    let old = if object.status.is_object() { object.status.clone() } else { json!({}) };
    let mut conditions: Vec<Condition> =
        serde_json::from_value(old["conditions"].clone()).unwrap_or_default();
    for aspect in wanted.aspects.iter().filter(|aspect| !aspect.kind.is_empty()) {
        let status = match aspect.holds {
            Some(true) => TRUE,
            Some(false) => FALSE,
            None => UNKNOWN,
        };
        condition::set(
            &mut conditions,
            Condition {
                kind: aspect.kind.to_owned(),
                status: status.to_owned(),
                reason: aspect.reason.to_owned(),
                message: aspect.message.clone(),
                last_transition_time: now.to_owned(),
                observed_generation: object.generation,
            },
        );
    }
    let ready = condition::ready(&conditions, &[VALIDATION_SUCCEEDED, PROFILE_FOUND], now, object.generation);
    condition::set(&mut conditions, ready);
    let mut new = old.clone();
    if let (Some(new), Value::Object(fields)) = (new.as_object_mut(), serde_json::to_value(wanted)?) {
        new.extend(fields);
        // An empty list is not kept by the API server's clients, and would be written for ever.
        if wanted.refused.is_empty() {
            new.insert("refused".to_owned(), json!([]));
        }
        new.insert("conditions".to_owned(), serde_json::to_value(conditions)?);
    }
    Ok((old, new))
}

#[cfg(test)]
mod tests {
    use stowage_fargate::Aspect;

    use super::*;

    #[test]
    fn the_same_facts_are_written_once() {
        let mut object =
            Object { uid: "u".to_owned(), generation: Some(2), resource_version: None, status: Value::Null };
        let aspect = |kind, holds| Aspect { kind, holds, reason: "Why", message: "m".to_owned() };
        let wanted = Status {
            routed_pods: 3,
            hourly_cost: "1.5".to_owned(),
            refused: Vec::new(),
            aspects: [
                aspect("ValidationSucceeded", Some(true)),
                aspect("ProfileFound", None),
                aspect("Conflict", Some(false)),
            ],
        };
        let (old, new) = patched(&object, &wanted, "2026-01-01T00:00:00Z").unwrap();
        assert_ne!(old, new);
        let ready = new["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Ready").unwrap();
        assert_eq!(ready["status"], "Unknown");
        assert_eq!(new["routedPods"], 3);
        object.status = new;
        let (old, new) = patched(&object, &wanted, "2026-01-01T00:10:00Z").unwrap();
        assert_eq!(old, new, "another moment is no news");
    }
}
