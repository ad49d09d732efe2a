//! Trials: pods like that of a workload, each with the labels of one way to a profile, to learn by which way the rules of
//! Fargate let it go.
//!
//! Which profile takes a pod depends on the policy that rules it, as long as EKS was not asked, and one plan is made for the pods
//! of all policies. So in that plan each trial has a profile for itself, told from all others by a label that no pod has.
//!
//! # Invariants
//! - A profile of a policy is seen by trials of that policy's pods alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use stowage_cluster::object::{Count, Phase};
use stowage_cluster::{Lowered, Pod};
use stowage_pricing::FargateRates;
use stowage_pricing::aws::offerings::Subnet;
use stowage_pricing::fargate::{Ineligible, PROFILE_LABEL, Profile, ProfileSelector};
use stowage_solver::{Pod as Planned, Price};

use crate::life::DAY;
use crate::look::Candidate;
use crate::needs::Needs;
use crate::policy::{Labels, Mode, Never, PolicyId};
use crate::profiles::Profiles;
use crate::read::ZONE;
use crate::sighting::FARGATE_SCHEDULER;
use crate::verdict::{Target, Why};
use crate::workload::Root;

/// The label that leads a trial to its profile: no key of a label has two slashes.
const TRIAL_LABEL: &str = "stowage.dev/look/profile";

/// A pod to be tried on a profile.
pub(crate) struct Trial {
    pub(crate) pod: Arc<Pod>,
    profile: String,
    /// What stands for the profile in the plan.
    stand_in: String,
    add: Labels,
}

/// Profiles as trials see them.
pub(crate) struct Grounds<'a> {
    known: &'a Profiles,
    /// What trials of each policy see: one for all where EKS was asked.
    sights: BTreeMap<Option<&'a PolicyId>, &'a [Profile]>,
}

/// What needs no look at the cluster.
pub(crate) fn forbidden(candidate: &Candidate<'_>) -> Option<Why> {
    let policy = candidate.policy;
    if policy.mode == Mode::Never {
        return Some(Why::Never);
    }
    let (root, of_jobs) = (&candidate.workload.root, candidate.workload.is_of_jobs());
    let kind = match root {
        _ if of_jobs => Some((Never::Job, "Job")),
        Root::Controller(kind, _) if kind == "StatefulSet" => Some((Never::StatefulSet, "StatefulSet")),
        Root::Bare => Some((Never::BarePod, "BarePod")),
        _ => None,
    };
    let mut why = Vec::new();
    if let Some((_, word)) = kind.filter(|(never, _)| policy.never.contains(never)) {
        why.push(format!("spec.neverRoute of the policy names {word}"));
    }
    if of_jobs || candidate.pod.job.is_some() {
        match candidate.job {
            None => why.push("its Job is not known, and so neither is what becomes of its pods".to_owned()),
            Some(job) if !job.has_ttl && policy.never.contains(&Never::JobWithoutTtl) => {
                why.push(Ineligible::FinishedJob.to_string());
            }
            Some(_) => {}
        }
    }
    if matches!(root, Root::DaemonSet(_)) || candidate.pod.daemon_set.is_some() {
        why.push(Ineligible::DaemonSet.to_string());
    }
    if *root == Root::Node || candidate.pod.mirror {
        why.push("kubelet runs it by itself".to_owned());
    }
    why.extend(candidate.life.against(policy));
    (!why.is_empty()).then_some(Why::Forbidden(why))
}

impl<'a> Grounds<'a> {
    pub(crate) fn new(known: &'a Profiles, candidates: &[Candidate<'a>]) -> Self {
        let sight = |c: &Candidate<'a>| {
            let id = (!known.were_asked()).then_some(&c.policy.id);
            (id, known.of(c.policy))
        };
        Self { known, sights: candidates.iter().map(sight).collect() }
    }

    /// Every profile of every sight: name in the plan, and the profile.
    fn stand_ins(&self) -> impl Iterator<Item = (String, &'a Profile)> {
        self.sights.iter().flat_map(|(id, profiles)| {
            profiles.iter().map(move |profile| (stand_in(*id, &profile.name), profile))
        })
    }

    /// The profiles of the plan.
    pub(crate) fn profiles(&self) -> Vec<Profile> {
        let mut all = BTreeMap::new();
        for (name, profile) in self.stand_ins() {
            let labels = Labels::from([(TRIAL_LABEL.to_owned(), name.clone())]);
            let selectors = vec![ProfileSelector { namespace: "*".to_owned(), labels }];
            all.insert(name.clone(), Profile { name, selectors, subnets: profile.subnets.clone() });
        }
        all.into_values().collect()
    }

    /// Zones that policies state, as the subnets that stand for them.
    pub(crate) fn zones(&self) -> impl Iterator<Item = Subnet> {
        let ids: BTreeSet<&String> = self.stand_ins().flat_map(|(_, profile)| &profile.subnets).collect();
        ids.into_iter().filter_map(|id| {
            let zone = id.strip_prefix(ZONE)?.to_owned();
            Some(Subnet { id: id.clone(), zone, zone_id: String::new(), free_addresses: None })
        })
    }

    /// Pods like that of a workload, the best way first.
    pub(crate) fn trials(&self, candidate: &Candidate<'_>, number: usize) -> Vec<Trial> {
        let policy = candidate.policy;
        let mut pod = candidate.pod.clone();
        let mut labels = pod.labels.as_ref().clone();
        let mut spec = pod.spec.as_ref().clone();
        if spec.scheduler_name == FARGATE_SCHEDULER {
            spec.scheduler_name = String::new();
            // EKS has written it.
            labels.remove(PROFILE_LABEL);
        }
        // What gates wait for will have come by then.
        spec.scheduling_gates = Count(0);
        // Whoever drives out others has not found free room.
        spec.preemption_policy = Some("Never".to_owned());
        pod.spec = Arc::new(spec);
        (pod.node, pod.nominated, pod.refused, pod.terminating) = (None, None, false, false);
        (pod.phase, pod.ready) = (Phase::Pending, false);
        // A mark for longer than a day is as good as one for ever.
        let marked = pod.do_not_disrupt || pod.protected_for.is_some_and(|s| u64::from(s) > DAY);
        pod.do_not_disrupt =
            marked && policy.never.contains(&Never::DoNotDisrupt) && !candidate.life.is_short();
        // Its Job was looked at by itself.
        pod.job = None;
        let id = (!self.known.were_asked()).then_some(&policy.id);
        let ways = self.known.ways(policy, &pod.namespace, &labels);
        ways.enumerate()
            .map(|(at, way)| {
                let mut own = pod.clone();
                // No name of a pod has a colon.
                own.name = format!("look:{number}:{at}").into_boxed_str();
                let stand_in = stand_in(id, &way.profile.name);
                let mut with = labels.clone();
                with.extend(way.add.clone());
                // It names the profile by the name that EKS knows.
                with.remove(PROFILE_LABEL);
                with.insert(TRIAL_LABEL.to_owned(), stand_in.clone());
                own.labels = Arc::new(with);
                Trial { pod: Arc::new(own), profile: way.profile.name.clone(), stand_in, add: way.add }
            })
            .collect()
    }
}

/// What a profile is called in the plan: pairs of policy and profile are told apart, whatever they are called.
fn stand_in(policy: Option<&PolicyId>, profile: &str) -> String {
    let policy = policy.map(PolicyId::word).unwrap_or_default();
    format!("{policy}:{profile}")
}

/// The first way that the rules of Fargate leave open, or why there is none.
pub(crate) fn choose(
    trials: &[Trial],
    lowered: &Lowered,
    at: &BTreeMap<&str, usize>,
    rates: Option<FargateRates>,
    needs: impl Fn() -> Needs,
) -> Result<(Target, Planned), Why> {
    let Some(rates) = rates else {
        return Err(Why::Forbidden(vec!["what Fargate costs here is not known".to_owned()]));
    };
    let mut first: Option<Vec<String>> = None;
    for trial in trials {
        let Some(at) = at.get(trial.pod.key().as_str()) else {
            return Err(Why::Forbidden(vec!["it names a scheduler of its own".to_owned()]));
        };
        let planned = &lowered.problem.pods[*at];
        let blocked = lowered.problem.specs[planned.spec.index()].blocked.clone();
        let why = match (lowered.fargate.verdict(*at), blocked) {
            (_, Some(blocked)) => vec![blocked],
            (Some(Ok(fit)), None) if fit.profile == trial.stand_in => {
                let Some(price) = Price::from_dollars(fit.shape.hourly(rates)) else { continue };
                let (profile, labels) = (trial.profile.clone(), trial.add.clone());
                let target = Target { profile, labels, shape: fit.shape, price, needs: needs() };
                return Ok((target, planned.clone()));
            }
            (Some(Err(why)), None) => why.iter().map(Ineligible::to_string).collect(),
            _ => vec![format!("another profile than {} takes it", trial.profile)],
        };
        first.get_or_insert(why);
    }
    Err(first.map_or(Why::NoProfile, Why::Forbidden))
}
