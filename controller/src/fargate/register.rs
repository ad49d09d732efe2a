//! The registration of the webhook, kept by the leader as policies need it: none without a policy.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use stowage_fargate::{Policies, REGISTRATION, registration};
use tokio::sync::watch;
use tracing::{info, warn};

use super::state::{State, seconds};
use super::tls::Shown;
use crate::answer::{is_conflict, is_gone};

/// How often it is looked whether the registration is as it should be.
const EVERY: Duration = Duration::from_secs(5);
/// How often although nothing has changed here: somebody else may have changed it.
const AGAIN: u32 = 12;
/// How long a call may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Where the API server finds the webhook.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    /// The Service.
    pub(crate) service: String,
    /// And its namespace.
    pub(crate) namespace: String,
    /// Or a URL, where we do not run in the cluster.
    pub(crate) url: Option<String>,
}

/// Keeps the registration.
pub(crate) struct Registrar {
    pub(crate) client: Client,
    pub(crate) state: State,
    pub(crate) reached: Reached,
    pub(crate) shown: watch::Receiver<Option<Arc<Shown>>>,
}

/// What is registered for these policies; `None` for nothing.
fn wanted(policies: &Policies, reached: &Reached, bundle: &str) -> Option<Value> {
    let scopes = policies.scopes();
    if scopes.is_empty() {
        return None;
    }
    let bundle = STANDARD.encode(bundle);
    let mut all = registration(&scopes, &reached.service, &reached.namespace, &bundle);
    if let Some(url) = &reached.url {
        for webhook in all["webhooks"].as_array_mut().into_iter().flatten() {
            webhook["clientConfig"] = json!({"url": format!("{url}/mutate"), "caBundle": bundle});
        }
    }
    Some(all)
}

impl Registrar {
    /// Keeps it until the task is dropped.
    pub(crate) async fn run(self) {
        let kind =
            GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration");
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &ApiResource::from_gvk(&kind));
        let (mut last, mut looks) = (None::<Option<Value>>, 0_u32);
        loop {
            let (known, shown) = (self.state.known(), self.shown.borrow().clone());
            // Before policies are listed nobody knows that there are none, and without a certificate nobody could be answered.
            if let (true, Some(shown)) = (known.listed, shown) {
                let wanted = wanted(&known.policies, &self.reached, &shown.bundle);
                let due = last.as_ref() != Some(&wanted) || looks.is_multiple_of(AGAIN);
                looks = looks.wrapping_add(1);
                if due {
                    last = match tokio::time::timeout(LIMIT, keep(&api, wanted.as_ref())).await {
                        Ok(Ok(true)) => {
                            self.state.registered(wanted.is_some(), seconds());
                            Some(wanted)
                        }
                        Ok(Err(error)) => {
                            warn!(error = format!("{error:#}"), "the webhook cannot be registered");
                            None
                        }
                        // Somebody else has written it meanwhile, or it took too long.
                        Ok(Ok(false)) | Err(_) => None,
                    };
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

/// Makes the registration what it should be; says whether it is.
async fn keep(api: &Api<DynamicObject>, wanted: Option<&Value>) -> Result<bool> {
    let there = api.get_opt(REGISTRATION).await?;
    let written = match (there, wanted) {
        (None, None) => return Ok(true),
        (Some(there), Some(wanted)) if there.data["webhooks"] == wanted["webhooks"] => return Ok(true),
        (Some(_), None) => {
            info!("no policy sends pods to Fargate: the webhook is not asked any more");
            api.delete(REGISTRATION, &DeleteParams::default()).await.map(drop)
        }
        (None, Some(wanted)) => {
            info!("the webhook is asked about pods from now on");
            let object = serde_json::from_value(wanted.clone())?;
            api.create(&PostParams::default(), &object).await.map(drop)
        }
        (Some(there), Some(wanted)) => {
            info!("the webhook is asked about other pods, or trusted by another authority");
            let mut object: DynamicObject = serde_json::from_value(wanted.clone())?;
            object.metadata.resource_version = there.resource_version();
            api.replace(REGISTRATION, &PostParams::default(), &object).await.map(drop)
        }
    };
    match written {
        Err(error) if is_conflict(&error) || is_gone(&error) => Ok(false),
        other => {
            other?;
            Ok(true)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use stowage_fargate::Policy;

    use super::*;
    use crate::shared::Shared;

    #[test]
    fn without_a_policy_that_routes_nothing_is_registered() {
        let of = |mode: &str| {
            let json = json!({
                "metadata": {"name": "p", "namespace": "shop"}, "spec": {"mode": mode},
            });
            let policy = Policy::of_namespace(&json.to_string()).expect("a policy");
            let (policies, _) = Policies::new(vec![policy], BTreeMap::new(), "stowage");
            let reached = Reached {
                service: "s".into(),
                namespace: "n".into(),
                url: Some("https://127.0.0.1:9".into()),
            };
            wanted(&policies, &reached, "PEM")
        };
        assert_eq!(of("Never"), None);
        let found = of("Always").expect("a registration");
        let hook = &found["webhooks"][0];
        assert_eq!(hook["clientConfig"]["url"], "https://127.0.0.1:9/mutate");
        assert_eq!(
            (hook["failurePolicy"].as_str(), hook["timeoutSeconds"].as_u64()),
            (Some("Ignore"), Some(1))
        );
    }

    /// An API server that keeps one object, and notes how it was called.
    fn server(calls: &Shared<Vec<String>>) -> Api<DynamicObject> {
        let (there, calls) = (Shared::<Option<Value>>::default(), calls.clone());
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let (there, calls) = (there.clone(), calls.clone());
            async move {
                let method = request.method().to_string();
                let body = request.into_body().collect_bytes().await.unwrap();
                let sent: Option<Value> = serde_json::from_slice(&body).ok();
                let mut answer = (200, json!({}));
                match method.as_str() {
                    "GET" => match there.with(|there| there.clone()) {
                        Some(object) => answer.1 = object,
                        None => {
                            answer = (
                                404,
                                json!({"status": "Failure", "message": "", "code": 404, "reason": "NotFound"}),
                            );
                        }
                    },
                    "DELETE" => there.with(|there| *there = None),
                    _ => {
                        let mut object = sent.unwrap();
                        object["metadata"]["resourceVersion"] = json!("7");
                        there.with(|there| *there = Some(object.clone()));
                        answer.1 = object;
                    }
                }
                calls.with(|calls| calls.push(method));
                let answer = http::Response::builder()
                    .status(answer.0)
                    .body(kube::client::Body::from(answer.1.to_string().into_bytes()));
                Ok::<_, std::convert::Infallible>(answer.unwrap())
            }
        });
        let kind =
            GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration");
        Api::all_with(Client::new(service, "stowage"), &ApiResource::from_gvk(&kind))
    }

    #[tokio::test]
    async fn it_is_written_when_it_is_another_and_taken_away_when_nobody_needs_it() {
        let calls = Shared::<Vec<String>>::default();
        let api = server(&calls);
        let taken = || calls.with(std::mem::take);
        let of = |bundle: &str| {
            let policy = json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": {"mode": "Always"}});
            let policy = Policy::of_namespace(&policy.to_string()).unwrap();
            let (policies, _) = Policies::new(vec![policy], BTreeMap::new(), "stowage");
            let reached = Reached { service: "s".into(), namespace: "n".into(), url: None };
            wanted(&policies, &reached, bundle)
        };
        keep(&api, None).await.unwrap();
        assert_eq!(taken(), ["GET"]);
        keep(&api, of("one").as_ref()).await.unwrap();
        assert_eq!(taken(), ["GET", "POST"]);
        keep(&api, of("one").as_ref()).await.unwrap();
        assert_eq!(taken(), ["GET"]);
        keep(&api, of("two").as_ref()).await.unwrap();
        assert_eq!(taken(), ["GET", "PUT"]);
        keep(&api, None).await.unwrap();
        assert_eq!(taken(), ["GET", "DELETE"]);
        keep(&api, None).await.unwrap();
        assert_eq!(taken(), ["GET"]);
    }
}
