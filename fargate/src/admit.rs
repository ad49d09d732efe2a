//! The answer to one admission: labels for a pod that goes to Fargate, or nothing.
//!
//! ```text
//! review ─▶ a pod being created? ─▶ a policy? ─▶ a verdict? ─▶ its profile's labels ─▶ a cap? ─▶ patch
//!                 └────────────────────┴────────────┴──────────────┴────────────────────┴──────▶ nothing, and why
//! ```
//!
//! Nothing is decided here that takes time: verdicts are found by others, beforehand. What the profile needs is worked out for
//! this pod, as its labels may differ from those of the pod that was looked at. Nothing but these labels is added: not even
//! an annotation that says who added them, as who reads the pod sees its profile, and policy and price stand in the cache.
//!
//! # Invariants
//! - Every review is answered, and every answer allows the pod. What is not understood is left as it is.
//! - A pod that is left alone takes nothing of a cap; nor does one of a dry run.
//! - A pod that has a scheduler of its own, or goes to a profile by itself, is left alone.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use stowage_pricing::fargate::{Profile, choose_profile};
use stowage_solver::Price;

use crate::cache::Cache;
use crate::caps::{Full, Request};
use crate::label::ways;
use crate::policy::{Labels, Mode, Policies, Policy, PolicyId};
use crate::verdict::Side;
use crate::workload::{Added, Root, Workload};

/// The largest review that is looked at, in bytes: the API server takes objects of up to 3 MiB.
const MAX_BYTES: usize = 4 << 20;
/// The scheduler of pods that name none.
const DEFAULT_SCHEDULER: &str = "default-scheduler";
/// Annotation of pods that kubelet runs by itself.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// What admissions are answered from.
#[derive(Clone, Debug)]
pub struct Admission<'a> {
    /// The policies.
    pub policies: &'a Policies,
    /// All profiles: [`crate::known_profiles`].
    pub profiles: &'a [Profile],
    /// Labels that they select.
    pub added: &'a Added,
    /// The verdicts.
    pub cache: &'a Cache,
    /// Verdicts that are older than this are not followed, in seconds.
    pub oldest: u64,
}

/// Why a pod is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Left {
    /// What was sent is no review of a pod.
    Malformed,
    /// It is no pod that is being created.
    OtherRequest,
    /// No policy selects it.
    NoPolicy,
    /// Its policy routes none.
    Never,
    /// It has a scheduler or a node already.
    OwnScheduler,
    /// A profile takes it as it is.
    AlreadyTaken,
    /// A `DaemonSet` or a node owns it.
    NodeBound,
    /// Nobody has looked at its workload yet.
    NoVerdict,
    /// The verdict is too old, or of another policy.
    Stale,
    /// The verdict is that it runs on nodes.
    Nodes,
    /// The guard keeps its workload on nodes.
    Guard,
    /// The profile of the verdict does not take it, whatever labels are added.
    NoProfile,
    /// The cap of pods is reached.
    CapPods,
    /// The cap of dollars is reached.
    CapCost,
}

impl Left {
    /// Why, as one word for metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Malformed => "Malformed",
            Self::OtherRequest => "OtherRequest",
            Self::NoPolicy => "NoPolicy",
            Self::Never => "Never",
            Self::OwnScheduler => "OwnScheduler",
            Self::AlreadyTaken => "AlreadyTaken",
            Self::NodeBound => "NodeBound",
            Self::NoVerdict => "NoVerdict",
            Self::Stale => "Stale",
            Self::Nodes => "Nodes",
            Self::Guard => "Guard",
            Self::NoProfile => "NoProfile",
            Self::CapPods => "CapPods",
            Self::CapCost => "CapCost",
        }
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What became of an admission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The pod goes to Fargate.
    Routed {
        /// By this policy,
        policy: PolicyId,
        /// of this workload,
        workload: String,
        /// on this profile,
        profile: String,
        /// for so much an hour.
        price: Price,
        /// Whether it was only a trial.
        dry_run: bool,
    },
    /// It is left as it is.
    Left(Left),
    /// It is left as it is, as its workload should be looked at first.
    Unknown(Workload),
}

impl Outcome {
    /// In one word for metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Routed { .. } => "Routed",
            Self::Left(left) => left.word(),
            Self::Unknown(_) => Left::NoVerdict.word(),
        }
    }
}

/// An answer, and what became of the pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The review to send back.
    pub review: Value,
    /// What became of it.
    pub outcome: Outcome,
}

fn text<'v>(of: &'v Value, key: &str) -> &'v str {
    of.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Answers a review. `reserve` takes room of a cap, and is asked last: what it grants is used.
pub fn admit(
    bytes: &[u8],
    admission: &Admission<'_>,
    now: u64,
    reserve: &mut dyn FnMut(&Request<'_>) -> Result<(), Full>,
) -> Answer {
    let review = if bytes.len() > MAX_BYTES { None } else { serde_json::from_slice::<Value>(bytes).ok() };
    let review = review.unwrap_or_default();
    let request = review.get("request").unwrap_or(&Value::Null);
    let decided = admission.decide(request, now, reserve);
    let mut response = json!({"uid": text(request, "uid"), "allowed": true});
    let outcome = match decided {
        Ok((outcome, patch)) => {
            if let Some(ops) = patch {
                response["patchType"] = json!("JSONPatch");
                response["patch"] = json!(STANDARD.encode(ops.to_string()));
            }
            outcome
        }
        Err(outcome) => outcome,
    };
    let review =
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    Answer { review, outcome }
}

impl Admission<'_> {
    fn decide(
        &self,
        request: &Value,
        now: u64,
        reserve: &mut dyn FnMut(&Request<'_>) -> Result<(), Full>,
    ) -> Result<(Outcome, Option<Value>), Outcome> {
        let left = |why| Err(Outcome::Left(why));
        let Some(pod) = request.get("object").filter(|pod| pod.is_object()) else {
            return left(Left::Malformed);
        };
        let kind = request.get("kind").unwrap_or(&Value::Null);
        let is_pod = text(kind, "kind") == "Pod" && text(kind, "group").is_empty();
        if !is_pod || text(request, "operation") != "CREATE" || !text(request, "subResource").is_empty() {
            return left(Left::OtherRequest);
        }
        let namespace = text(request, "namespace");
        let Some(labels) = labels_of(pod).filter(|_| !namespace.is_empty()) else {
            return left(Left::Malformed);
        };
        let Some(policy) = self.policies.ruling(namespace, &labels) else { return left(Left::NoPolicy) };
        if policy.mode == Mode::Never {
            return left(Left::Never);
        }
        let spec = pod.get("spec").unwrap_or(&Value::Null);
        let scheduler = text(spec, "schedulerName");
        if !matches!(scheduler, "" | DEFAULT_SCHEDULER) || !text(spec, "nodeName").is_empty() {
            return left(Left::OwnScheduler);
        }
        if choose_profile(self.profiles, namespace, &labels).is_some() {
            return left(Left::AlreadyTaken);
        }
        let workload = Workload::of_pod(pod, namespace, self.added);
        let mirror = pod.pointer("/metadata/annotations").is_some_and(|all| all.get(MIRROR).is_some());
        if mirror || matches!(workload.root, Root::DaemonSet(_) | Root::Node) {
            return left(Left::NodeBound);
        }
        let Some(verdict) = self.cache.get(&workload) else { return Err(Outcome::Unknown(workload)) };
        let known = (&verdict.found.policy.0, verdict.found.policy.1);
        if verdict.age(now) > self.oldest || known != (&policy.id, policy.version) {
            return left(Left::Stale);
        }
        let Some(target) = verdict.target() else {
            let held = now < verdict.held_until && verdict.side == Side::Ec2;
            return left(if held { Left::Guard } else { Left::Nodes });
        };
        let Some(add) = self.labels_for(policy, &target.profile, namespace, &labels) else {
            return left(Left::NoProfile);
        };
        let dry_run = request.get("dryRun").and_then(Value::as_bool) == Some(true);
        let meta = pod.get("metadata").unwrap_or(&Value::Null);
        let name = text(meta, "name");
        // A name that is made up is not there yet.
        let ticket =
            if name.is_empty() { text(request, "uid").to_owned() } else { format!("{namespace}/{name}") };
        let word = workload.word();
        let asked =
            Request { policy: &policy.id, workload: &word, ticket: &ticket, price: target.price, dry_run };
        match reserve(&asked) {
            Ok(()) => {}
            Err(Full::Pods) => return left(Left::CapPods),
            Err(Full::Cost) => return left(Left::CapCost),
            Err(Full::Unknown) => return left(Left::Stale),
        }
        let routed = Outcome::Routed {
            policy: policy.id.clone(),
            workload: word,
            profile: target.profile.clone(),
            price: target.price,
            dry_run,
        };
        Ok((routed, Some(patch(meta, &add))))
    }

    /// The labels that send this pod to the profile of the verdict.
    fn labels_for(&self, policy: &Policy, profile: &str, namespace: &str, labels: &Labels) -> Option<Labels> {
        let stated = policy.profiles.is_empty() || policy.profiles.iter().any(|p| p.name == profile);
        let ways = ways(self.profiles, namespace, labels).into_iter();
        ways.filter(|_| stated).find(|way| way.profile.name == profile).map(|way| way.add)
    }
}

/// The labels of a pod; `None` where they are none.
fn labels_of(pod: &Value) -> Option<Labels> {
    let none = Map::new();
    let labels = match pod.pointer("/metadata/labels") {
        None | Some(Value::Null) => &none,
        Some(Value::Object(labels)) => labels,
        Some(_) => return None,
    };
    labels
        .iter()
        .map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect::<Option<BTreeMap<_, _>>>()
}

/// Adds labels, and where there are none, the map that holds them.
fn patch(meta: &Value, add: &Labels) -> Value {
    if !meta.get("labels").is_some_and(Value::is_object) {
        return json!([{"op": "add", "path": "/metadata/labels", "value": add}]);
    }
    let one = |(key, value): (&String, &String)| {
        let key = key.replace('~', "~0").replace('/', "~1");
        json!({"op": "add", "path": format!("/metadata/labels/{key}"), "value": value})
    };
    add.iter().map(one).collect()
}
