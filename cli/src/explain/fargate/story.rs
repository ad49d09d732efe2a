//! Why a pod is on Fargate or on nodes, as values: who rules it, what a look finds now, and what a controller has recorded.
//!
//! # Invariants
//! - No clock: it is as late as the snapshot knows.
//! - What is found is what the controller would find on this snapshot, with these prices and profiles.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use stowage_cluster::disrupt::latest;
use stowage_cluster::{Pod, Snapshot};
use stowage_fargate::{
    AT_ONCE, Billed, Cache, Candidate, Finding, Ground as LookGround, Group, Hold, NODE_START, Policies,
    Policy, PolicyError, PolicyId, Precedence, Profiles, Sighting, Verdict, Workload, is_fargate_node,
    look_at,
};
use stowage_pricing::Timestamp;
use stowage_pricing::fargate::Shape;
use stowage_solver::Price;

use super::seen::Seen;
use crate::failure::Failure;
use crate::plan::Ground;

/// Why a pod is where it is.
pub(in crate::explain) struct Story {
    /// The pod.
    pub(super) pod: Asked,
    /// The policy that rules it.
    pub(super) policy: Option<Arc<Policy>>,
    /// What is wrong with that.
    pub(super) errors: Vec<PolicyError>,
    /// Policies that select it as well, and why they do not count.
    pub(super) overruled: Vec<(Arc<Policy>, Precedence)>,
    /// How many policies there are.
    pub(super) policies: usize,
    /// Its workload; `None` where its `Job` is not known.
    pub(super) workload: Option<Workload>,
    /// The workload as it was looked at.
    pub(super) group: Option<Group>,
    /// Whether all profiles are known.
    pub(super) profiles_known: bool,
    /// What was found now.
    pub(super) found: Option<Finding>,
    /// What was recorded; `None` where the snapshot has no records.
    pub(super) recorded: Option<Recorded>,
    /// Until when its workload is kept on nodes.
    pub(super) hold: Option<Hold>,
    /// As late as the snapshot knows, in seconds since 1970.
    pub(super) as_of: u64,
    /// What could not be read.
    pub(super) warnings: Vec<String>,
}

/// The pod that is asked about.
pub(super) struct Asked {
    /// `namespace/name`.
    pub(super) name: String,
    /// Whether it runs on Fargate or waits for it.
    pub(super) on_fargate: bool,
    /// The profile that EKS gave it to.
    pub(super) profile: Option<String>,
    /// Its node.
    pub(super) node: Option<String>,
    /// Whether it waits for a node that is not Fargate's.
    pub(super) waits: bool,
    /// Whether it has ended.
    pub(super) over: bool,
    /// What its requests come to on Fargate.
    pub(super) planned: Option<Shape>,
    /// What Fargate says that it has provisioned.
    pub(super) billed: Option<Billed>,
    /// What an hour of it costs, where it is on Fargate.
    pub(super) price: Option<Price>,
}

/// What a controller has recorded of a workload.
pub(super) enum Recorded {
    /// A verdict on its template.
    Verdict(Arc<Verdict>),
    /// Only one on another template of its owner.
    OtherTemplate(Arc<Verdict>),
    /// Nothing: what goes to nodes and stays there is not recorded.
    Nothing,
}

/// Tells it of a pod that the snapshot has; `None` where nothing in it is about Fargate.
///
/// # Errors
/// Where no plan can be made of the snapshot.
pub(in crate::explain) fn tell(
    seen: &Seen,
    ground: &Ground,
    pod: &Pod,
    cancel: &AtomicBool,
) -> Result<Option<Story>, Failure> {
    let Some(sighting) = seen.pod.as_ref().filter(|_| seen.is_worth_telling()) else { return Ok(None) };
    let snapshot = &ground.snapshot;
    let (policies, mut errors) = seen.policies(snapshot);
    let mut selecting = policies.selecting(&pod.namespace, &pod.labels).cloned();
    let policy = selecting.next();
    let overruled = selecting.filter_map(|other| {
        let why = Policies::precedence(policy.as_deref()?, &other);
        Some((other, why))
    });
    let overruled: Vec<(Arc<Policy>, Precedence)> = overruled.collect();
    let of_ruling = policy.as_ref().and_then(|policy| errors.remove(&policy.id)).unwrap_or_default();
    let workload = seen.fleet.workload(&sighting.uid, &seen.jobs).as_deref().cloned();
    let profiles = profiles(ground);
    let mut story = Story {
        pod: asked(sighting, pod, ground),
        errors: of_ruling,
        overruled,
        policies: policies.all().len(),
        profiles_known: profiles.were_asked(),
        group: None,
        found: None,
        recorded: None,
        hold: None,
        as_of: latest(snapshot).map_or(0, |at| at.seconds_since(Timestamp::from_seconds(0))),
        warnings: [seen.warnings.clone(), words_of(errors)].concat(),
        policy,
        workload,
    };
    if let Some(workload) = story.workload.clone() {
        if story.policy.is_some() {
            story.look(seen, &policies, &profiles, &workload, ground, cancel)?;
        }
        if let Some((cache, written)) = seen.recorded() {
            story.as_of = story.as_of.max(written);
            story.hold = cache.held(&workload, story.as_of);
            story.recorded = Some(recorded(&cache, &workload));
        }
    }
    Ok(Some(story))
}

impl Story {
    /// Looks as the controller does: at the workload's newest pod, under the policy that rules that one.
    fn look(
        &mut self,
        seen: &Seen,
        policies: &Policies,
        profiles: &Profiles,
        workload: &Workload,
        ground: &Ground,
        cancel: &AtomicBool,
    ) -> Result<(), Failure> {
        let groups = Group::with_pods(seen.fleet.groups(policies, &seen.jobs), &ground.snapshot);
        let Some(at) = groups.iter().position(|(group, _)| group.workload == *workload) else {
            return Ok(());
        };
        let start = at / AT_ONCE * AT_ONCE;
        let part = &groups[start..groups.len().min(start + AT_ONCE)];
        let candidates: Vec<Candidate<'_>> = part.iter().map(|(group, pod)| group.candidate(pod)).collect();
        // They are said beside it; here they would be taken for others of the same name.
        let snapshot = Snapshot { fargate_profiles: Vec::new(), ..ground.snapshot.clone() };
        let grounds = LookGround {
            snapshot: &snapshot,
            catalog: &ground.catalog,
            options: &ground.options,
            profiles,
            subnets: &ground.options.fargate.subnets,
            rates: ground.rates,
            node_start: NODE_START,
        };
        self.found = look_at(&grounds, &candidates, at - start, cancel).map_err(Failure::new)?;
        self.group = Some(groups[at].0.clone());
        Ok(())
    }
}

/// What is wrong with policies that do not rule the pod.
fn words_of(errors: BTreeMap<PolicyId, Vec<PolicyError>>) -> Vec<String> {
    errors
        .into_values()
        .flatten()
        .map(|error| format!("{error}; until it is mended its pods stay on nodes"))
        .collect()
}

/// Those of the snapshot and of files are all that EKS has; where there are none, policies say what there is.
fn profiles(ground: &Ground) -> Profiles {
    let fargate = &ground.options.fargate;
    let of_snapshot = &ground.snapshot.fargate_profiles;
    if of_snapshot.is_empty() && !fargate.stated {
        return Profiles::unknown();
    }
    let usable = of_snapshot.iter().filter_map(|profile| profile.usable().ok());
    Profiles::of_eks(fargate.profiles.iter().cloned().chain(usable).collect())
}

fn asked(seen: &Sighting, pod: &Pod, ground: &Ground) -> Asked {
    let on_fargate = seen.on_fargate || on_machine(pod, &ground.snapshot);
    Asked {
        name: seen.pod(),
        on_fargate,
        profile: seen.profile.clone().filter(|_| on_fargate),
        node: pod.node.as_deref().map(str::to_owned),
        waits: !on_fargate && pod.pending() == Some(Ok(())),
        over: seen.over,
        planned: seen.shape,
        billed: seen.provisioned.as_deref().and_then(Billed::parse),
        price: ground.rates.filter(|_| on_fargate).and_then(|rates| seen.price(rates)),
    }
}

fn on_machine(pod: &Pod, snapshot: &Snapshot) -> bool {
    let node = pod.node.as_deref();
    snapshot.nodes().any(|n| Some(n.metadata.name.as_str()) == node && is_fargate_node(&n.metadata.labels))
}

fn recorded(cache: &Cache, workload: &Workload) -> Recorded {
    if let Some(verdict) = cache.get(workload) {
        return Recorded::Verdict(Arc::clone(verdict));
    }
    cache
        .latest_of_owner(workload)
        .map_or(Recorded::Nothing, |verdict| Recorded::OtherTemplate(Arc::clone(verdict)))
}
