//! Which pods the API server asks about: scopes of the webhook, no wider than the policies need, and its registration.
//!
//! Of a webhook configuration with several webhooks each one is called that matches. A pod that two of them match would be asked
//! about twice, and would take room of a cap twice. So scopes do not overlap: each is about namespaces of its own. Where
//! selectors cannot say exactly what policies select, a scope is wider: who is asked too often answers nothing.
//!
//! # Invariants
//! - Every pod that a policy may send to Fargate is in exactly one scope, and no pod is in two.
//! - Without such a policy there is no scope.
//! - Namespaces of the system are in no scope, unless a policy says so that rules there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use stowage_api::Operator;

use crate::policies::{NAME_LABEL, Policies};
use crate::policy::{Mode, Policy};
use crate::selector::Selector;

/// The name of the registration: before `0500-amazon-eks-fargate-mutation`, as the API server calls webhooks by name of their
/// configuration, and EKS must see our labels.
pub const REGISTRATION: &str = "0400-stowage-fargate";
/// Seconds that the API server waits for an answer, which takes less than a millisecond.
const TIMEOUT_SECONDS: u32 = 1;
/// Scopes at most: each costs the API server a look at every pod. Beyond, namespaces of policies share the last.
const MOST: usize = 16;

/// Pods that the webhook is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Their namespaces.
    pub namespaces: Selector,
    /// Their labels.
    pub pods: Selector,
}

impl Policies {
    /// What the webhook is to be asked about.
    pub fn scopes(&self) -> Vec<Scope> {
        let routing = || self.all().iter().filter(|policy| policy.mode != Mode::Never);
        let of_cluster: Vec<&Policy> =
            routing().filter(|policy| policy.id.namespace.is_none()).map(AsRef::as_ref).collect();
        let everywhere = union(of_cluster.iter().map(|policy| &policy.pods));
        // Namespaces with policies of their own, by what is selected there.
        let mut own = BTreeMap::<&str, Vec<&Selector>>::new();
        for policy in routing() {
            if let Some(namespace) = &policy.id.namespace {
                own.entry(namespace).or_default().push(&policy.pods);
            }
        }
        let mut groups = BTreeMap::<Selector, BTreeSet<String>>::new();
        for (namespace, selectors) in &own {
            let all = selectors.iter().copied().chain(&everywhere);
            groups.entry(union(all).unwrap_or_default()).or_default().insert((*namespace).to_owned());
        }
        if groups.len() >= MOST {
            let names = groups.into_values().flatten().collect();
            let all = union(own.values().flatten().copied().chain(&everywhere)).unwrap_or_default();
            groups = BTreeMap::from([(all, names)]);
        }
        let named = |(pods, names): (Selector, BTreeSet<String>)| Scope {
            namespaces: Selector::default().and(NAME_LABEL, Operator::In, names.into_iter().collect()),
            pods,
        };
        let mut scopes: Vec<Scope> = groups.into_iter().map(named).collect();
        if let Some(pods) = everywhere {
            let rest = |policy: &&Policy| policy.namespaces.clone().unwrap_or_default();
            let places: Vec<Selector> = of_cluster.iter().map(rest).collect();
            let mut out: BTreeSet<String> = own.keys().map(|name| (*name).to_owned()).collect();
            if !of_cluster.iter().any(|policy| policy.system) {
                out.extend(self.system_namespaces());
            }
            let mut namespaces = union(&places).unwrap_or_default();
            if !out.is_empty() {
                namespaces = namespaces.and(NAME_LABEL, Operator::NotIn, out.into_iter().collect());
            }
            scopes.push(Scope { namespaces, pods });
        }
        scopes
    }
}

/// What selects whatever any of these selects; `None` of none.
fn union<'s>(selectors: impl IntoIterator<Item = &'s Selector>) -> Option<Selector> {
    let mut all = selectors.into_iter();
    let first = all.next()?.clone();
    Some(all.fold(first, |common, other| common.common(other)))
}

/// The registration of the webhook: a `MutatingWebhookConfiguration`, served by this Service, with the certificates of its
/// authority in base64. Without scopes it has no webhooks, and nobody is asked.
///
/// Webhooks that fail, are slow or are gone are passed over (`Ignore`): pods are created as without Stowage then.
pub fn registration(scopes: &[Scope], service: &str, namespace: &str, ca_bundle: &str) -> Value {
    let webhook = |(at, scope): (usize, &Scope)| {
        json!({
            "name": format!("scope-{at}.fargate.stowage.dev"),
            "admissionReviewVersions": ["v1"],
            "clientConfig": {
                "service": {"name": service, "namespace": namespace, "path": "/mutate", "port": 443},
                "caBundle": ca_bundle,
            },
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"],
                "scope": "Namespaced",
            }],
            "namespaceSelector": scope.namespaces.to_label_selector(),
            "objectSelector": scope.pods.to_label_selector(),
            "matchPolicy": "Equivalent",
            "failurePolicy": "Ignore",
            "sideEffects": "NoneOnDryRun",
            "timeoutSeconds": TIMEOUT_SECONDS,
            "reinvocationPolicy": "Never",
        })
    };
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": REGISTRATION},
        "webhooks": scopes.iter().enumerate().map(webhook).collect::<Vec<_>>(),
    })
}
