//! Pods and their owners as the API server has them now, for whoever is about to delete a pod: what a watch has told may be
//! seconds old.

use anyhow::{Context as _, Result};
use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Preconditions};
use serde_json::Value;
use stowage_cluster::{Index, Kind, Pod};
use stowage_fargate::{Labels, Owner, Sighting};

use crate::answer::is_outdated;

/// A pod that waits, and who makes it anew.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) pod: Pod,
    pub(crate) uid: String,
    pub(crate) resource_version: String,
    /// When it was made, in seconds since 1970.
    pub(crate) created: u64,
    pub(crate) owner: Option<Owner>,
    /// The labels of its owner's template: what it has before any webhook.
    pub(crate) template: Labels,
}

/// A pod as it is now; `None` where it is gone, or is another one than that of this uid.
pub(crate) async fn live(client: &Client, key: &str, uid: &str) -> Result<Option<Live>> {
    let (namespace, name) = key.split_once('/').context("no name of a pod")?;
    let Some(object) = raw(client, "", "v1", "Pod", namespace, name).await? else { return Ok(None) };
    let json = serde_json::to_value(&object)?;
    if text(&json["metadata"], "uid") != uid {
        return Ok(None);
    }
    let mut index = Index::default();
    let read = index.apply(Kind::Pod, &json.to_string());
    read.map_err(|error| anyhow::anyhow!("{}: {}", error.field, error.problem))?;
    let Some(pod) = index.snapshot().pods().next().cloned() else { return Ok(None) };
    let (owner, template) = owner(client, namespace, &json).await?;
    let resource_version = text(&json["metadata"], "resourceVersion").to_owned();
    let created = Sighting::of(&json).and_then(|seen| seen.created).unwrap_or(u64::MAX);
    Ok(Some(Live { pod, uid: uid.to_owned(), resource_version, created, owner, template }))
}

/// Deletes a pod as it was looked at; says whether it was still that.
pub(crate) async fn delete(client: &Client, key: &str, uid: &str, resource_version: &str) -> Result<bool> {
    let (namespace, name) = key.split_once('/').context("no name of a pod")?;
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client.clone(), namespace);
    let how = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: Some(resource_version.to_owned()),
        }),
        ..DeleteParams::default()
    };
    match pods.delete(name, &how).await {
        Ok(_) => Ok(true),
        Err(error) if is_outdated(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn raw(
    client: &Client,
    group: &str,
    version: &str,
    kind: &str,
    namespace: &str,
    name: &str,
) -> Result<Option<DynamicObject>> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    Ok(api.get_opt(name).await?)
}

async fn owner(client: &Client, namespace: &str, pod: &Value) -> Result<(Option<Owner>, Labels)> {
    let none = (None, Labels::new());
    let owners = pod["metadata"]["ownerReferences"].as_array();
    let Some(of) = owners.into_iter().flatten().find(|of| of["controller"].as_bool() == Some(true)) else {
        return Ok(none);
    };
    let (kind, name) = (text(of, "kind"), text(of, "name"));
    // Of others it is not known that they make pods anew, and there is no permission to read them.
    let group = match (kind, text(of, "apiVersion")) {
        ("ReplicaSet" | "StatefulSet", "apps/v1") => "apps",
        ("ReplicationController", "v1") => "",
        _ => return Ok((Some(Owner { kind: kind.to_owned(), controls: true, ..Owner::default() }), none.1)),
    };
    let Some(object) = raw(client, group, "v1", kind, namespace, name).await? else { return Ok(none) };
    let json = serde_json::to_value(&object)?;
    let labels = json["spec"]["template"]["metadata"]["labels"].as_object();
    let labels = labels.into_iter().flatten().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())));
    Ok((Some(read(kind, text(of, "uid"), &json)), labels.collect()))
}

/// What an owner's object says; the pod names it by this kind and uid.
fn read(kind: &str, uid: &str, owner: &Value) -> Owner {
    let (meta, spec, status) = (&owner["metadata"], &owner["spec"], &owner["status"]);
    let number = |of: &Value| of.as_u64().and_then(|n| u32::try_from(n).ok());
    // What its controller has not seen yet says nothing of how many there are.
    let is_seen = status["observedGeneration"].as_u64() >= meta["generation"].as_u64();
    let revisions = (text(status, "currentRevision"), text(status, "updateRevision"));
    Owner {
        kind: kind.to_owned(),
        controls: true,
        same: !uid.is_empty() && text(meta, "uid") == uid,
        terminating: !meta["deletionTimestamp"].is_null(),
        wants: number(&spec["replicas"]).filter(|_| is_seen),
        has: number(&status["replicas"]).unwrap_or_default(),
        first_ordinal: number(&spec["ordinals"]["start"]).unwrap_or_default(),
        update_awaited: text(&spec["updateStrategy"], "type") == "OnDelete" && revisions.0 != revisions.1,
    }
}

fn text<'v>(of: &'v Value, key: &str) -> &'v str {
    of[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_owner_is_the_very_one_that_the_pod_names_and_as_its_controller_has_seen_it() {
        let mut owner = json!({
            "metadata": {"uid": "u", "generation": 3},
            "spec": {"replicas": 4, "ordinals": {"start": 2}, "updateStrategy": {"type": "OnDelete"}},
            "status": {"observedGeneration": 3, "replicas": 4, "currentRevision": "a", "updateRevision": "b"},
        });
        let found = read("StatefulSet", "u", &owner);
        let expected = Owner {
            kind: "StatefulSet".to_owned(),
            controls: true,
            same: true,
            terminating: false,
            wants: Some(4),
            has: 4,
            first_ordinal: 2,
            update_awaited: true,
        };
        assert_eq!(found, expected);
        assert!(!read("StatefulSet", "other", &owner).same);
        owner["status"]["observedGeneration"] = json!(2);
        assert_eq!(read("StatefulSet", "u", &owner).wants, None, "scaled, and not acted upon yet");
    }
}
