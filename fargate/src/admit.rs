//! The answer to one admission: labels for a pod that goes to Fargate, or nothing.
//!
//! ```text
//! review ─▶ a pod being created? ─▶ a policy? ─▶ a verdict? ─▶ no more needs? ─▶ its profile's labels ─▶ a cap? ─▶ patch
//!                 └────────────────────┴────────────┴────────────────┴──────────────────┴───────────────┴──────▶ nothing
//! ```
//!
//! Nothing is decided here that takes time: verdicts are found by others, beforehand. What differs from pod to pod is looked at
//! for this pod: the labels that the profile needs, what the pod costs, and whether it needs more than the one that was looked
//! at. Nothing but labels is added: not even an annotation that says who added them, as who reads the pod sees its profile, and
//! policy and price stand in the cache.
//!
//! A template that nobody has looked at yet is taken for the latest of its owner, where it costs no more and needs no more. So a
//! rollout does not send a workload to nodes for as long as it takes to look.
//!
//! # Invariants
//! - Every review is answered, and every answer allows the pod. What is not understood is left as it is.
//! - A pod that is left alone takes nothing of a cap; nor does one of a dry run. One that goes to Fargate by itself is left alone
//!   and counts.
//! - A pod that has a scheduler of its own, or goes to a profile by itself, is left alone.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stowage_pricing::FargateRates;
use stowage_pricing::fargate::choose_profile;
use stowage_solver::Price;

use crate::cache::Cache;
use crate::jobs::Jobs;
use crate::json::{labels_of, text};
use crate::needs::{Concerns, Needs};
use crate::policies::Policies;
use crate::policy::{Labels, Mode, Never, Policy, PolicyId};
use crate::profiles::Profiles;
use crate::request::{Full, Request};
use crate::sighting::{PodKey, shape_of};
use crate::verdict::Target;
use crate::workload::{Root, Workload};

/// The largest review that is looked at, in bytes: the API server takes objects of up to 3 MiB.
const MAX_BYTES: usize = 4 << 20;
/// The scheduler of pods that name none.
pub(crate) const DEFAULT_SCHEDULER: &str = "default-scheduler";
/// Annotation of pods that kubelet runs by itself.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// What admissions are answered from.
#[derive(Clone, Copy, Debug)]
pub struct Admission<'a> {
    /// The policies.
    pub policies: &'a Policies,
    /// What is known of profiles.
    pub profiles: &'a Profiles,
    /// The `Jobs` that there are.
    pub jobs: &'a Jobs,
    /// Labels by which others select pods.
    pub concerns: &'a Concerns,
    /// The verdicts.
    pub cache: &'a Cache,
    /// What Fargate costs; `None` where that is not known, and then nothing goes there.
    pub rates: Option<FargateRates>,
    /// Verdicts that are older than this are not followed, in seconds.
    pub oldest: u64,
}

/// Why a pod is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Left {
    /// What was sent is no review of a pod.
    Malformed,
    /// It is no pod that is being created.
    OtherRequest,
    /// No policy selects it.
    NoPolicy,
    /// The policy that would rule it cannot be understood.
    InvalidPolicy,
    /// Its policy routes none.
    Never,
    /// It has a scheduler or a node already.
    OwnScheduler,
    /// A profile takes it as it is.
    AlreadyTaken,
    /// A `DaemonSet` or a node owns it.
    NodeBound,
    /// Its `Job` is not known yet.
    UnknownJob,
    /// Its `Job` leaves finished pods lying.
    JobWithoutTtl,
    /// Nobody has looked at its workload yet.
    NoVerdict,
    /// The verdict is too old, or of another policy.
    Stale,
    /// The verdict is that it runs on nodes.
    Nodes,
    /// The guard keeps its workload on nodes.
    Guard,
    /// It needs more than the pod that was looked at, or costs more than another template of its owner.
    Differs,
    /// No shape of Fargate holds it, or what it costs is not known.
    NoPrice,
    /// The profile of the verdict does not take it, whatever labels are added.
    NoProfile,
    /// The cap of pods is reached.
    CapPods,
    /// The cap of dollars is reached.
    CapCost,
    /// Whether there is room below the cap could not be told in time.
    CapUnsure,
}

impl Left {
    /// Why, as one word for metrics and for the status of a policy.
    pub fn word(self) -> &'static str {
        match self {
            Self::Malformed => "Malformed",
            Self::OtherRequest => "OtherRequest",
            Self::NoPolicy => "NoPolicy",
            Self::InvalidPolicy => "InvalidPolicy",
            Self::Never => "Never",
            Self::OwnScheduler => "OwnScheduler",
            Self::AlreadyTaken => "AlreadyTaken",
            Self::NodeBound => "NodeBound",
            Self::UnknownJob => "UnknownJob",
            Self::JobWithoutTtl => "JobWithoutTTL",
            Self::NoVerdict => "NoVerdict",
            Self::Stale => "Stale",
            Self::Nodes => "Nodes",
            Self::Guard => "Guard",
            Self::Differs => "Differs",
            Self::NoPrice => "NoPrice",
            Self::NoProfile => "NoProfile",
            Self::CapPods => "CapPods",
            Self::CapCost => "CapCost",
            Self::CapUnsure => "CapUnsure",
        }
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl From<Full> for Left {
    fn from(full: Full) -> Self {
        match full {
            Full::Pods => Self::CapPods,
            Full::Cost => Self::CapCost,
            Full::Unknown | Full::Settling | Full::NotWritten | Full::NotLeading | Full::Busy => {
                Self::CapUnsure
            }
        }
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
        workload: Workload,
        /// on this profile,
        profile: String,
        /// for so much an hour.
        price: Price,
        /// Whether it was only a trial.
        dry_run: bool,
    },
    /// It is left as it is, and no policy has to do with that.
    Left(Left),
    /// It is left as it is, though a policy rules it.
    Refused {
        /// Why.
        why: Left,
        /// The policy.
        policy: PolicyId,
        /// Its workload, as far as that can be told. With [`Left::NoVerdict`], [`Left::Stale`] and [`Left::Differs`] it should be
        /// looked at soon.
        workload: Option<Workload>,
    },
}

impl Outcome {
    /// In one word for metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Routed { .. } => "Routed",
            Self::Left(why) | Self::Refused { why, .. } => why.word(),
        }
    }

    /// The workload that somebody should look at.
    pub fn to_look_at(&self) -> Option<&Workload> {
        match self {
            Self::Refused { why: Left::NoVerdict | Left::Stale | Left::Differs, workload, .. } => {
                workload.as_ref()
            }
            _ => None,
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

/// Takes room of a cap for a pod.
pub type Reserve<'r> = &'r mut dyn FnMut(&Request) -> Result<(), Full>;

/// Answers a review. `reserve` takes room of a cap, and is asked last: what it grants is used. Where the answer then does not
/// reach the API server, the ticket is to be given back.
pub fn admit(bytes: &[u8], admission: &Admission<'_>, now: u64, reserve: Reserve<'_>) -> Answer {
    let review = if bytes.len() > MAX_BYTES { None } else { serde_json::from_slice::<Value>(bytes).ok() };
    let review = review.unwrap_or_default();
    let request = review.get("request").unwrap_or(&Value::Null);
    let mut response = json!({"uid": text(request, "uid"), "allowed": true});
    let outcome = match Asked::read(request) {
        Err(why) => Outcome::Left(why),
        Ok(asked) => match admission.policies.ruling(asked.namespace, &asked.labels) {
            None => Outcome::Left(Left::NoPolicy),
            Some(policy) => {
                let (outcome, patch) = admission.decide(&asked, policy, now, reserve);
                if let Some(ops) = patch {
                    response["patchType"] = json!("JSONPatch");
                    response["patch"] = json!(STANDARD.encode(ops.to_string()));
                }
                outcome
            }
        },
    };
    let review =
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    Answer { review, outcome }
}

/// A pod that is being created.
struct Asked<'r> {
    uid: &'r str,
    namespace: &'r str,
    pod: &'r Value,
    labels: Labels,
    dry_run: bool,
}

impl<'r> Asked<'r> {
    fn read(request: &'r Value) -> Result<Self, Left> {
        let pod = request.get("object").filter(|pod| pod.is_object()).ok_or(Left::Malformed)?;
        let kind = request.get("kind").unwrap_or(&Value::Null);
        let is_pod = text(kind, "kind") == "Pod" && text(kind, "group").is_empty();
        if !is_pod || text(request, "operation") != "CREATE" || !text(request, "subResource").is_empty() {
            return Err(Left::OtherRequest);
        }
        let (uid, namespace) = (text(request, "uid"), text(request, "namespace"));
        let labels = labels_of(pod).filter(|_| !namespace.is_empty() && !uid.is_empty());
        let dry_run = request.get("dryRun").and_then(Value::as_bool) == Some(true);
        labels.map(|labels| Self { uid, namespace, pod, labels, dry_run }).ok_or(Left::Malformed)
    }

    fn request(&self, policy: &Policy, added: Labels, price: Price, by_itself: bool) -> Request {
        Request {
            ticket: self.uid.to_owned(),
            policy: policy.id.clone(),
            pod: PodKey::of(self.pod, self.namespace),
            labels: self.labels.clone(),
            added,
            price,
            dry_run: self.dry_run,
            by_itself,
        }
    }
}

impl Admission<'_> {
    fn decide(
        &self,
        asked: &Asked<'_>,
        policy: &Policy,
        now: u64,
        reserve: Reserve<'_>,
    ) -> (Outcome, Option<Value>) {
        let refused = |why, workload| (Outcome::Refused { why, policy: policy.id.clone(), workload }, None);
        if policy.mode == Mode::Never {
            return refused(if policy.invalid { Left::InvalidPolicy } else { Left::Never }, None);
        }
        let spec = asked.pod.get("spec").unwrap_or(&Value::Null);
        let scheduler = text(spec, "schedulerName");
        if !matches!(scheduler, "" | DEFAULT_SCHEDULER) || !text(spec, "nodeName").is_empty() {
            return refused(Left::OwnScheduler, None);
        }
        let price = || Price::from_dollars(shape_of(asked.pod)?.hourly(self.rates?));
        if choose_profile(self.profiles.of(policy), asked.namespace, &asked.labels).is_some() {
            // Nobody can refuse it. It counts all the same, so that the next one is refused.
            if let Some(price) = price() {
                let _ = reserve(&asked.request(policy, Labels::new(), price, true));
            }
            return refused(Left::AlreadyTaken, None);
        }
        let Some(workload) = Workload::of_pod(asked.pod, asked.namespace, self.jobs) else {
            return refused(Left::UnknownJob, None);
        };
        let mirror = asked.pod.pointer("/metadata/annotations").is_some_and(|all| all.get(MIRROR).is_some());
        if mirror || matches!(workload.root, Root::DaemonSet(_) | Root::Node) {
            return refused(Left::NodeBound, Some(workload));
        }
        let has_ttl = self.jobs.of_pod(asked.pod).is_none_or(|job| job.has_ttl);
        if !has_ttl && policy.never.contains(&Never::JobWithoutTtl) {
            return refused(Left::JobWithoutTtl, Some(workload));
        }
        if self.cache.held(&workload, now).is_some() {
            return refused(Left::Guard, Some(workload));
        }
        let Some(price) = price() else { return refused(Left::NoPrice, Some(workload)) };
        let target = match self.target(asked, policy, &workload, price, now) {
            Ok(target) => target,
            Err(why) => return refused(why, Some(workload)),
        };
        let mut ways = self.profiles.ways(policy, asked.namespace, &asked.labels);
        let Some(add) = ways.find(|way| way.profile.name == target.profile).map(|way| way.add) else {
            return refused(Left::NoProfile, Some(workload));
        };
        // What others add to the pod after this, the one that was looked at had already.
        let price = price.max(target.price);
        if let Err(full) = reserve(&asked.request(policy, add.clone(), price, false)) {
            return refused(full.into(), Some(workload));
        }
        let (policy, profile) = (policy.id.clone(), target.profile.clone());
        let patch = patch(asked.pod.get("metadata").unwrap_or(&Value::Null), &add);
        (Outcome::Routed { policy, workload, profile, price, dry_run: asked.dry_run }, Some(patch))
    }

    /// Where the verdict sends this pod: that on its workload, or else the latest on another template of its owner.
    fn target(
        &self,
        asked: &Asked<'_>,
        policy: &Policy,
        workload: &Workload,
        price: Price,
        now: u64,
    ) -> Result<&Target, Left> {
        let own = self.cache.get(workload);
        let verdict = own.or_else(|| self.cache.latest_of_owner(workload)).ok_or(Left::NoVerdict)?;
        let known = (&verdict.found.policy.0, verdict.found.policy.1);
        if verdict.age(now) > self.oldest || known != (&policy.id, policy.version) {
            return Err(if own.is_some() { Left::Stale } else { Left::NoVerdict });
        }
        // Another template's verdict for nodes says little of this one.
        let nodes = if own.is_some() { Left::Nodes } else { Left::NoVerdict };
        let target = verdict.target().ok_or(nodes)?;
        let dearer = own.is_none() && price > target.price;
        let needs = Needs::of_pod(asked.pod).with_labels(&asked.labels, self.concerns);
        if dearer || needs.beyond(&target.needs).is_some() { Err(Left::Differs) } else { Ok(target) }
    }
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
