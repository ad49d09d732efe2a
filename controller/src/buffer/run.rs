//! The loop that looks buffers up: their templates, how many pods, and their status.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;
use futures::StreamExt as _;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use stowage_api::crd::condition::{self, FALSE, PROVISIONING, READY_FOR_PROVISIONING, TRUE};
use stowage_api::crd::{
    ACTIVE_CAPACITY, CapacityBuffer, CapacityBufferSpec, CapacityBufferStatus, Condition, PodTemplateRef,
};
use stowage_cluster::{Pod, asked_for};
use tracing::{debug, warn};

use super::pods::virtual_pod;
use super::size::count;
use super::{Buffers, Outcome};
use crate::answer::is_outdated;
use crate::whole::Whole;

/// How often templates and workloads are looked up again.
const EVERY: Duration = Duration::from_secs(30);

/// How often it is seen to what plans have come to.
const LOOK: Duration = Duration::from_secs(1);

/// Changes that come within so short a time are looked at together.
const SETTLE: Duration = Duration::from_millis(100);

/// Objects that are read or written side by side.
const SIDE_BY_SIDE: usize = 10;

/// The most virtual pods of one buffer: no cluster has room for more to spare.
const MOST: u64 = 10_000;

/// What the loop works with.
pub struct Keeper {
    /// To read and write with.
    pub client: Client,
    /// What comes of it.
    pub buffers: Buffers,
}

/// A buffer whose pods are known.
#[derive(Clone, Debug)]
struct Resolved {
    pod: Pod,
    count: usize,
    /// Name and generation of the `PodTemplate`, where it is one.
    template: Option<(String, Option<i64>)>,
    note: String,
}

/// Why they are not.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refused {
    reason: &'static str,
    message: String,
}

impl Refused {
    fn failed(message: impl Into<String>) -> Self {
        Self { reason: "ResolutionFailed", message: message.into() }
    }
}

impl Keeper {
    /// Looks them up until the task is dropped.
    pub async fn run(self) {
        let whole = Whole::new("autoscaling.x-k8s.io", "CapacityBuffer");
        tokio::join!(whole.clone().follow(self.client.clone()), self.work(&whole));
    }

    async fn work(&self, whole: &Whole) {
        let mut changes = whole.changes();
        let mut known = BTreeMap::<String, Result<Resolved, Refused>>::new();
        let mut due = true;
        let mut at = tokio::time::Instant::now();
        loop {
            let objects = whole.all();
            let read = |object: &std::sync::Arc<DynamicObject>| {
                serde_json::to_value(object.as_ref()).ok().and_then(|json| serde_json::from_value(json).ok())
            };
            // The schema sees to it that each can be read, and that others are none of ours.
            let buffers: Vec<CapacityBuffer> = objects.iter().filter_map(read).filter(ours).collect();
            if due {
                let resolve = |buffer| async move { (key(buffer), self.resolve(buffer).await) };
                let looked_up = futures::stream::iter(&buffers).map(resolve).buffer_unordered(SIDE_BY_SIDE);
                known = looked_up.collect::<Vec<_>>().await.into_iter().collect();
                let kept = known.iter().filter_map(|(key, of)| {
                    let of = of.as_ref().ok()?;
                    Some((key.clone(), (of.pod.clone(), of.count)))
                });
                self.buffers.set(kept.collect());
                at = tokio::time::Instant::now();
            }
            if let Some(resource) = whole.resource() {
                self.tell(&resource, &buffers, &known).await;
            }
            due = tokio::select! {
                () = changes.next() => {
                    tokio::time::sleep(SETTLE).await;
                    let all: BTreeSet<String> = buffers.iter().map(version).collect();
                    let now: Vec<CapacityBuffer> = whole.all().iter().filter_map(read).filter(ours).collect();
                    // A status that was written here is no change.
                    now.len() != all.len() || now.iter().any(|buffer| !all.contains(&version(buffer)))
                }
                () = tokio::time::sleep(LOOK) => at.elapsed() >= EVERY,
            };
        }
    }

    async fn resolve(&self, buffer: &CapacityBuffer) -> Result<Resolved, Refused> {
        let namespace = buffer.namespace().unwrap_or_default();
        let wanted = source(&buffer.spec)?;
        let missing = |what: &str| Refused {
            reason: wanted.missing,
            message: format!("{what} {namespace}/{} does not exist", wanted.name),
        };
        let gvk = GroupVersionKind::gvk(wanted.group, "v1", wanted.kind);
        let api = Api::<DynamicObject>::namespaced_with(
            self.client.clone(),
            &namespace,
            &ApiResource::from_gvk(&gvk),
        );
        let object = match api.get_opt(wanted.name).await {
            Ok(object) => object.ok_or_else(|| missing(wanted.kind))?,
            Err(error) => {
                return Err(Refused::failed(format!(
                    "{} {namespace}/{} cannot be read: {error}",
                    wanted.kind, wanted.name
                )));
            }
        };
        let is_template = wanted.kind == POD_TEMPLATE;
        let template = if is_template { &object.data["template"] } else { &object.data["spec"]["template"] };
        // The API server fills in one where nothing is said.
        let scale = (!is_template).then(|| object.data["spec"]["replicas"].as_i64().unwrap_or(1));
        sized(buffer, template, scale).map(|resolved| Resolved {
            template: is_template.then(|| (wanted.name.to_owned(), object.metadata.generation)),
            ..resolved
        })
    }

    async fn tell(
        &self,
        resource: &ApiResource,
        buffers: &[CapacityBuffer],
        known: &BTreeMap<String, Result<Resolved, Refused>>,
    ) {
        let now = Timestamp::now().to_string();
        let write = |buffer: &CapacityBuffer| {
            let key = key(buffer);
            let wanted = status(buffer, known.get(&key)?, self.buffers.outcome(&key), &now);
            (buffer.status.as_ref() != Some(&wanted)).then(|| (buffer.clone(), wanted))
        };
        let writes: Vec<_> = buffers.iter().filter_map(write).collect();
        let written = futures::stream::iter(writes).map(|(buffer, wanted)| async move {
            let namespace = buffer.namespace().unwrap_or_default();
            let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), &namespace, resource);
            let mut patch =
                json!({"metadata": {"resourceVersion": buffer.resource_version()}, "status": wanted});
            if wanted.pod_template_ref.is_none() {
                patch["status"]["podTemplateRef"] = Value::Null;
                patch["status"]["podTemplateGeneration"] = Value::Null;
            }
            let name = buffer.name_any();
            (key(&buffer), api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch)).await)
        });
        for (key, written) in written.buffer_unordered(SIDE_BY_SIDE).collect::<Vec<_>>().await {
            match written {
                Ok(_) => {}
                Err(error) if is_outdated(&error) => {
                    debug!(buffer = key, "a CapacityBuffer changed while it was looked at");
                }
                Err(error) => warn!(buffer = key, %error, "a CapacityBuffer's status cannot be written"),
            }
        }
    }
}

const POD_TEMPLATE: &str = "PodTemplate";

/// The object that says what pods are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Source<'b> {
    group: &'static str,
    kind: &'static str,
    name: &'b str,
    /// What is said where it does not exist.
    missing: &'static str,
}

fn source(spec: &CapacityBufferSpec) -> Result<Source<'_>, Refused> {
    if let Some(template) = &spec.pod_template_ref {
        return Ok(Source {
            group: "",
            kind: POD_TEMPLATE,
            name: &template.name,
            missing: "PodTemplateNotFound",
        });
    }
    let Some(scalable) = &spec.scalable_ref else {
        return Err(Refused::failed("neither spec.podTemplateRef nor spec.scalableRef is set: set one"));
    };
    let known = [
        ("apps", "Deployment"),
        ("apps", "ReplicaSet"),
        ("apps", "StatefulSet"),
        ("", "ReplicationController"),
    ];
    // No group is that of Kubernetes' workloads, whichever that is.
    let is_meant = |(group, kind): &&(&str, &str)| {
        scalable.kind == *kind && (scalable.api_group.is_empty() || scalable.api_group == *group)
    };
    let (group, kind) = known.iter().find(is_meant).ok_or_else(|| {
        let group = if scalable.api_group.is_empty() { "" } else { &format!(" of {}", scalable.api_group) };
        Refused::failed(format!(
            "spec.scalableRef: {}{group} is no workload that can be read: Deployment, ReplicaSet, StatefulSet or \
             ReplicationController",
            scalable.kind
        ))
    })?;
    Ok(Source { group, kind, name: &scalable.name, missing: "ScalableRefNotFound" })
}

/// The pods of a buffer, from their template.
fn sized(buffer: &CapacityBuffer, template: &Value, scale: Option<i64>) -> Result<Resolved, Refused> {
    let (namespace, name) = (buffer.namespace().unwrap_or_default(), buffer.name_any());
    let pod = virtual_pod(&namespace, &name, template)
        .map_err(|why| Refused::failed(format!("its pods: {why}")))?;
    let wanted = count(&buffer.spec, scale, &asked_for(&pod.spec)).map_err(Refused::failed)?;
    let note = if wanted > MOST {
        format!("room is kept for {MOST} of {wanted} pods: a buffer has no more")
    } else {
        String::new()
    };
    let count = usize::try_from(wanted.min(MOST)).unwrap_or_default();
    Ok(Resolved { pod, count, template: None, note })
}

/// The status that a buffer should have, as of `now`.
fn status(
    buffer: &CapacityBuffer,
    resolved: &Result<Resolved, Refused>,
    outcome: Option<Outcome>,
    now: &str,
) -> CapacityBufferStatus {
    let mut status = buffer.status.clone().unwrap_or_default();
    status.provisioning_strategy = Some(buffer.spec.provisioning_strategy.clone());
    let with = |kind: &str, state: &str, reason: &str, message: String| Condition {
        kind: kind.to_owned(),
        status: state.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: now.to_owned(),
        observed_generation: buffer.metadata.generation,
    };
    let provisioning = |state, reason, message| Some(with(PROVISIONING, state, reason, message));
    let (ready, room) = match resolved {
        Err(Refused { reason, message }) => {
            let message = format!("{message}: nothing is kept free");
            (
                with(READY_FOR_PROVISIONING, FALSE, reason, message),
                provisioning(FALSE, "NotReadyForProvisioning", "its pods are not known".to_owned()),
            )
        }
        Ok(of) => {
            status.replicas = Some(i32::try_from(of.count).unwrap_or(i32::MAX));
            let (name, generation) = of.template.clone().unzip();
            status.pod_template_ref = name.map(|name| PodTemplateRef { name, ..PodTemplateRef::default() });
            status.pod_template_generation = generation.flatten();
            let room = match outcome {
                _ if of.count == 0 => provisioning(FALSE, "BufferEmpty", "it is for no pods".to_owned()),
                // Not planned with yet: what stands there may well hold.
                None => None,
                Some(Outcome { fit, need: 0, failed: 0 }) => {
                    provisioning(TRUE, "FitsExistingCapacity", format!("there is room for all {fit} pods"))
                }
                Some(Outcome { fit, need, failed }) => provisioning(
                    FALSE,
                    "RequiresNewCapacity",
                    format!(
                        "there is room for {fit} pods, nodes are made for {need}, and {failed} fit nowhere"
                    ),
                ),
            };
            (with(READY_FOR_PROVISIONING, TRUE, "Resolved", of.note.clone()), room)
        }
    };
    for condition in [Some(ready), room].into_iter().flatten() {
        condition::set(&mut status.conditions, condition);
    }
    status
}

fn ours(buffer: &CapacityBuffer) -> bool {
    buffer.spec.provisioning_strategy == ACTIVE_CAPACITY && buffer.metadata.deletion_timestamp.is_none()
}

fn key(buffer: &CapacityBuffer) -> String {
    format!("{}/{}", buffer.namespace().unwrap_or_default(), buffer.name_any())
}

/// What tells a buffer from what it was and will be, its status aside.
fn version(buffer: &CapacityBuffer) -> String {
    format!("{} {} {:?}", key(buffer), buffer.uid().unwrap_or_default(), buffer.metadata.generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(spec: &Value) -> CapacityBuffer {
        let object = json!({
            "apiVersion": "autoscaling.x-k8s.io/v1beta1", "kind": "CapacityBuffer",
            "metadata": {"name": "room", "namespace": "shop", "generation": 2}, "spec": spec,
        });
        serde_json::from_value(object).expect("a buffer")
    }

    fn said(status: &CapacityBufferStatus, kind: &str) -> String {
        let found = condition::find(&status.conditions, kind);
        found.map_or_else(String::new, |c| format!("{} {} {}", c.status, c.reason, c.message))
    }

    #[test]
    fn a_buffer_names_what_its_pods_are_like() {
        let of = |spec: Value| source(&buffer(&spec).spec).map(|s| (s.group, s.kind, s.missing));
        assert_eq!(
            of(json!({"podTemplateRef": {"name": "a"}, "replicas": 1})),
            Ok(("", "PodTemplate", "PodTemplateNotFound"))
        );
        let scalable = |group: &str, kind: &str| {
            of(json!({"scalableRef": {"apiGroup": group, "kind": kind, "name": "a"}}))
        };
        assert_eq!(scalable("apps", "Deployment"), Ok(("apps", "Deployment", "ScalableRefNotFound")));
        assert_eq!(scalable("", "StatefulSet").map(|s| s.0), Ok("apps"));
        assert_eq!(scalable("", "ReplicationController").map(|s| s.0), Ok(""));
        for (group, kind) in [("batch", "Job"), ("other", "Deployment"), ("", "DaemonSet")] {
            assert_eq!(
                scalable(group, kind).map_err(|r| r.reason),
                Err("ResolutionFailed"),
                "{group} {kind}"
            );
        }
        assert!(of(json!({})).is_err());
    }

    #[test]
    fn a_status_says_for_how_many_there_is_room() {
        let of = buffer(&json!({"podTemplateRef": {"name": "a"}, "replicas": 3}));
        let template = json!({"spec": {"containers": [{"resources": {"requests": {"cpu": "1"}}}]}});
        let resolved = sized(&of, &template, None).expect("a pod template");
        let resolved = Ok(Resolved { template: Some(("a".to_owned(), Some(4))), ..resolved });
        let fresh = status(&of, &resolved, None, "t1");
        assert_eq!((fresh.replicas, fresh.pod_template_generation), (Some(3), Some(4)));
        assert_eq!(said(&fresh, READY_FOR_PROVISIONING), "True Resolved ");
        assert_eq!(said(&fresh, PROVISIONING), "");
        let outcome = |fit, need, failed| {
            said(&status(&of, &resolved, Some(Outcome { fit, need, failed }), "t1"), PROVISIONING)
        };
        assert_eq!(outcome(3, 0, 0), "True FitsExistingCapacity there is room for all 3 pods");
        assert_eq!(
            outcome(1, 1, 1),
            "False RequiresNewCapacity there is room for 1 pods, nodes are made for 1, and 1 fit nowhere"
        );
        let none = Ok(Resolved { count: 0, ..resolved.clone().expect("resolved") });
        assert!(said(&status(&of, &none, None, "t1"), PROVISIONING).starts_with("False BufferEmpty"));
        let refused = Err(Refused { reason: "PodTemplateNotFound", message: "it is not there".to_owned() });
        let refused = status(&of, &refused, None, "t1");
        assert_eq!(
            said(&refused, READY_FOR_PROVISIONING),
            "False PodTemplateNotFound it is not there: nothing is kept free"
        );
        assert!(said(&refused, PROVISIONING).starts_with("False NotReadyForProvisioning"));
    }

    #[test]
    fn a_buffer_for_millions_is_kept_within_reason() {
        let template = json!({"spec": {"containers": [{"resources": {"requests": {"cpu": "1"}}}]}});
        let resolved =
            sized(&buffer(&json!({"replicas": i32::MAX})), &template, None).expect("a pod template");
        assert_eq!((resolved.count, resolved.note.contains("10000 of 2147483647")), (10_000, true));
    }
}
