//! A look at the cluster: what a pod of each workload would cost on nodes and on Fargate, and so which side is better.
//!
//! The rule, for so many pods of a workload as wait, or for one where none does:
//!
//! - *On nodes* they cost what a plan for everything that waits costs more with them than without. Room on nodes that are there
//!   and stay costs nothing; so does room on nodes that are bought anyway. A node that is bought for them alone is theirs to
//!   pay, and shared among them. They never cost more than if each had a node of its own.
//! - Where their expected life is known, a bought node is paid for while it starts as well: so long more of its price.
//! - *On Fargate* each costs its shape, requests rounded up with 256 MiB more, and a minute at least.
//! - `WhenCheaper`: Fargate, where it costs no more than nodes and the tolerance. `WhenNoRoom`: Fargate, where nodes cost
//!   anything at all. `Always`: Fargate. Where nodes have no place at any price, each of these is Fargate.
//!
//! # Invariants
//! - Each workload is looked at for itself: pods that wait of others are planned for nodes.
//! - Comparisons are exact, in micro-dollars.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use stowage_api::well_known;
use stowage_cluster::object::{Count, Phase};
use stowage_cluster::{FargateOptions, LowerError, LowerOptions, Pod, Snapshot, lower};
use stowage_pricing::aws::offerings::Subnet;
use stowage_pricing::fargate::{Ineligible, PROFILE_LABEL, Profile};
use stowage_pricing::{Catalog, FargateRates};
use stowage_solver::{Effort, Options, Pod as Planned, Price, Problem, Solution, solve};

use crate::label::ways;
use crate::life::Life;
use crate::policy::{Labels, Mode, Never, Policy};
use crate::read::ZONE;
use crate::verdict::{Finding, OnNodes, Side, Target, Why};
use crate::workload::{Root, Workload};

/// The scheduler of pods that Fargate runs.
pub const FARGATE_SCHEDULER: &str = "fargate-scheduler";
/// As many pods of a workload are looked at together at most: what more cost differs little, and plans take their time.
const TOGETHER: usize = 50;
/// The shortest run that Fargate bills, in seconds.
const SHORTEST: u64 = 60;

/// A workload to look at.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The workload.
    pub workload: &'a Workload,
    /// The policy that rules it.
    pub policy: &'a Policy,
    /// A pod of it.
    pub pod: &'a Pod,
    /// How long its pods run.
    pub life: Life,
    /// Its pods that wait, by `namespace/name`.
    pub waiting: &'a BTreeSet<String>,
}

/// What all workloads have in common.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// The cluster.
    pub snapshot: &'a Snapshot,
    /// What nodes cost.
    pub catalog: &'a Catalog,
    /// How to plan; what it says of Fargate is not looked at.
    pub options: &'a LowerOptions,
    /// The profiles that EKS has.
    pub profiles: &'a [Profile],
    /// Their subnets.
    pub subnets: &'a [Subnet],
    /// What Fargate costs; `None` where that is not known, and then nothing goes there.
    pub rates: Option<FargateRates>,
    /// How long a node takes from the launch to the first pod, in seconds.
    pub node_start: u64,
}

/// All profiles: those that EKS has, and those that only policies state.
pub fn known_profiles<'a>(eks: &[Profile], policies: impl IntoIterator<Item = &'a Policy>) -> Vec<Profile> {
    let stated = policies.into_iter().flat_map(|p| &p.profiles).map(|p| (p.name.as_str(), p));
    let mut all: BTreeMap<&str, &Profile> = stated.collect();
    all.extend(eks.iter().map(|p| (p.name.as_str(), p)));
    all.into_values().cloned().collect()
}

/// Looks at the cluster for each of these workloads, in their order.
///
/// # Errors
/// As [`lower`].
pub fn look(
    ground: &Ground<'_>,
    candidates: &[Candidate<'_>],
    cancel: &AtomicBool,
) -> Result<Vec<Finding>, LowerError> {
    let profiles = known_profiles(ground.profiles, candidates.iter().map(|c| c.policy));
    let mut snapshot = ground.snapshot.clone();
    let early: Vec<Option<Finding>> = candidates.iter().map(forbidden).collect();
    let mut trials: Vec<Vec<Trial<'_>>> = Vec::new();
    for (at, candidate) in candidates.iter().enumerate() {
        let open = if early[at].is_some() { Vec::new() } else { try_out(candidate, &profiles, at) };
        snapshot.pods.extend(open.iter().map(|trial| Arc::clone(&trial.pod)));
        trials.push(open);
    }
    let options = LowerOptions {
        fargate: FargateOptions {
            wanted: true,
            subnets: ground.subnets.iter().cloned().chain(zones(&profiles)).collect(),
            profiles: profiles.clone(),
            stated: true,
            rates: ground.rates,
        },
        ..ground.options.clone()
    };
    let lowered = lower(&snapshot, ground.catalog, &options)?;
    let at: BTreeMap<&str, usize> =
        lowered.problem.pods.iter().enumerate().map(|(at, pod)| (pod.name.as_str(), at)).collect();
    let mut chosen = Vec::new();
    for (trials, early) in trials.iter().zip(early) {
        chosen.push(match early {
            Some(finding) => Err(finding.why),
            None => choose(trials, &lowered, &at, ground.rates),
        });
    }
    let trial_names: BTreeSet<String> = trials.iter().flatten().map(|trial| trial.pod.key()).collect();
    let mut plans = Plans::new(lowered.problem, &trial_names, cancel);
    let found = candidates.iter().zip(chosen).map(|(candidate, chosen)| match chosen {
        Err(why) => on_nodes(candidate, why),
        Ok((target, spec)) => {
            let together = candidate.waiting.len().clamp(1, TOGETHER);
            let nodes = plans.cost(&spec, candidate.waiting, together);
            compare(candidate, target, nodes, together as u32, ground.node_start)
        }
    });
    Ok(found.collect())
}

/// A pod to be tried on a profile.
struct Trial<'p> {
    pod: Arc<Pod>,
    profile: &'p str,
    add: Labels,
}

/// Zones that policies state, as the subnets that stand for them.
fn zones(profiles: &[Profile]) -> impl Iterator<Item = Subnet> {
    profiles.iter().flat_map(|p| &p.subnets).filter_map(|id| {
        let zone = id.strip_prefix(ZONE)?;
        Some(Subnet { id: id.clone(), zone: zone.to_owned(), zone_id: String::new(), free_addresses: None })
    })
}

fn on_nodes(candidate: &Candidate<'_>, why: Why) -> Finding {
    Finding {
        policy: (candidate.policy.id.clone(), candidate.policy.version),
        target: None,
        side: Side::Ec2,
        why,
        nodes: None,
        lead_percent: None,
        together: 0,
    }
}

/// What needs no look at the cluster.
fn forbidden(candidate: &Candidate<'_>) -> Option<Finding> {
    let policy = candidate.policy;
    if policy.mode == Mode::Never {
        return Some(on_nodes(candidate, Why::Never));
    }
    let kind = match &candidate.workload.root {
        Root::Controller(kind, _) if matches!(kind.as_str(), "Job" | "CronJob") => Some((Never::Job, "Job")),
        Root::Controller(kind, _) if kind == "StatefulSet" => Some((Never::StatefulSet, "StatefulSet")),
        Root::Bare => Some((Never::BarePod, "BarePod")),
        _ => None,
    };
    let mut why = Vec::new();
    if let Some((_, word)) = kind.filter(|(never, _)| policy.never.contains(never)) {
        why.push(format!("spec.neverRoute of the policy names {word}"));
    }
    if matches!(candidate.workload.root, Root::DaemonSet(_)) || candidate.pod.daemon_set.is_some() {
        why.push(Ineligible::DaemonSet.to_string());
    }
    if candidate.workload.root == Root::Node || candidate.pod.mirror {
        why.push("kubelet runs it by itself".to_owned());
    }
    why.extend(candidate.life.against(policy));
    (!why.is_empty()).then(|| on_nodes(candidate, Why::Forbidden(why)))
}

/// Pods like that of the workload, each with the labels of one way to a profile.
fn try_out<'p>(candidate: &Candidate<'_>, profiles: &'p [Profile], number: usize) -> Vec<Trial<'p>> {
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
    pod.do_not_disrupt &= policy.never.contains(&Never::DoNotDisrupt) && !candidate.life.is_short();
    if !policy.never.contains(&Never::JobWithoutTtl) {
        pod.job = None;
    }
    let stated: BTreeSet<&str> = policy.profiles.iter().map(|p| p.name.as_str()).collect();
    let open = ways(profiles, &pod.namespace, &labels).into_iter();
    let open = open.filter(|way| stated.is_empty() || stated.contains(way.profile.name.as_str()));
    open.enumerate()
        .map(|(at, way)| {
            let mut own = pod.clone();
            // No name of a pod has a colon.
            own.name = format!("look:{number}:{at}").into_boxed_str();
            let with = labels.iter().chain(&way.add).map(|(k, v)| (k.clone(), v.clone()));
            own.labels = Arc::new(with.collect());
            Trial { pod: Arc::new(own), profile: &way.profile.name, add: way.add }
        })
        .collect()
}

/// The first way that the rules of Fargate leave open, or why there is none.
fn choose(
    trials: &[Trial<'_>],
    lowered: &stowage_cluster::Lowered,
    at: &BTreeMap<&str, usize>,
    rates: Option<FargateRates>,
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
            (Some(Ok(fit)), None) if fit.profile == trial.profile => {
                let Some(price) = Price::from_dollars(fit.shape.hourly(rates)) else { continue };
                let (profile, labels) = (fit.profile.clone(), trial.add.clone());
                return Ok((Target { profile, labels, shape: fit.shape, price }, planned.clone()));
            }
            (Some(Err(why)), None) => why.iter().map(Ineligible::to_string).collect(),
            _ => vec![format!("another profile than {} takes it", trial.profile)],
        };
        first.get_or_insert(why);
    }
    Err(first.map_or(Why::NoProfile, Why::Forbidden))
}

/// Plans for nodes alone.
struct Plans<'c> {
    problem: Problem,
    /// Pods that wait.
    waiting: Vec<Planned>,
    /// What the plan for all that wait costs, and how many it leaves over, once that was asked for.
    all: Option<(Price, usize)>,
    cancel: &'c AtomicBool,
}

impl<'c> Plans<'c> {
    fn new(mut problem: Problem, trials: &BTreeSet<String>, cancel: &'c AtomicBool) -> Self {
        problem.specs.iter_mut().for_each(|spec| spec.route = None);
        let waiting = std::mem::take(&mut problem.pods);
        let waiting = waiting.into_iter().filter(|pod| !trials.contains(&pod.name)).collect();
        Self { problem, waiting, all: None, cancel }
    }

    fn solve(&mut self, pods: Vec<Planned>) -> Option<Solution> {
        self.problem.pods = pods;
        let options = Options { effort: Effort::Quick, ..Options::default() };
        solve(&self.problem, &options, self.cancel, &mut |_, _, _| {}).ok()
    }

    /// What so many pods like this one cost on nodes, each; those that wait of its workload are among them.
    fn cost(&mut self, like: &Planned, own: &BTreeSet<String>, together: usize) -> OnNodes {
        let others: Vec<Planned> =
            self.waiting.iter().filter(|pod| !own.contains(&pod.name)).cloned().collect();
        let everybody = others.len() == self.waiting.len();
        let without = self.all.filter(|_| everybody).or_else(|| {
            let plan = self.solve(others.clone()).map(|plan| (plan.cost, plan.unplaced.len()));
            if everybody {
                self.all = plan;
            }
            plan
        });
        let mut pods = others;
        pods.extend((0..together).map(|n| Planned { name: format!("{}:{n}", like.name), ..like.clone() }));
        let with = self.solve(pods);
        // A plan that fails its own check says nothing: pods stay on nodes.
        let (Some((before, left_out)), Some(with)) = (without, with) else { return OnNodes::Room };
        if with.unplaced.len() > left_out {
            return OnNodes::NoPlace;
        }
        let more = (with.cost - before).micros().max(0);
        if more == 0 {
            return OnNodes::Room;
        }
        let each = (more as u64).div_ceil(together as u64) as i64;
        let alone = self.alone(like).unwrap_or(i64::MAX);
        OnNodes::Bought(Price::from_micros(each.min(alone)))
    }

    /// What a node costs that a pod has for itself.
    fn alone(&mut self, like: &Planned) -> Option<i64> {
        let open: Vec<bool> = self.problem.nodes.iter().map(|node| node.open).collect();
        self.problem.nodes.iter_mut().for_each(|node| node.open = false);
        let plan = self.solve(vec![like.clone()]);
        for (node, open) in self.problem.nodes.iter_mut().zip(open) {
            node.open = open;
        }
        plan.filter(|plan| plan.unplaced.is_empty()).map(|plan| plan.cost.micros())
    }
}

/// Which side is better, by the policy's mode.
fn compare(
    candidate: &Candidate<'_>,
    target: Target,
    nodes: OnNodes,
    together: u32,
    node_start: u64,
) -> Finding {
    let life = candidate.life.expected().map(|s| s.max(1));
    let stretched = |price: Price, billed: u64| match life {
        Some(life) => i128::from(price.micros()) * i128::from(billed) / i128::from(life),
        None => i128::from(price.micros()),
    };
    let fargate = stretched(target.price, life.unwrap_or(SHORTEST).max(SHORTEST));
    let on_nodes = nodes.price().map(|price| stretched(price, life.unwrap_or(0).saturating_add(node_start)));
    let (side, why, lead_percent) = match (candidate.policy.mode, nodes, on_nodes) {
        (Mode::Never, ..) => (Side::Ec2, Why::Never, None),
        (Mode::Always, ..) => (Side::Fargate, Why::Always, None),
        (_, _, None) | (_, OnNodes::NoPlace, _) => (Side::Fargate, Why::NoPlace, None),
        (Mode::WhenNoRoom, OnNodes::Room, _) => (Side::Ec2, Why::Room, None),
        (Mode::WhenNoRoom, OnNodes::Bought(_), _) => (Side::Fargate, Why::NoRoom, None),
        (Mode::WhenCheaper { tolerance_percent }, _, Some(on_nodes)) => {
            // Both in hundredths of what they are.
            let bar = on_nodes * (100 + i128::from(tolerance_percent));
            let cost = fargate * 100;
            let lead = |better: i128, worse: i128| Some(((worse - better) * 100 / worse.max(1)) as u32);
            let why = if nodes == OnNodes::Room { Why::Room } else { Why::Cost };
            if cost <= bar {
                (Side::Fargate, why, lead(cost, bar))
            } else {
                (Side::Ec2, why, lead(bar, cost))
            }
        }
    };
    Finding {
        policy: (candidate.policy.id.clone(), candidate.policy.version),
        target: Some(target),
        side,
        why,
        nodes: Some(nodes),
        lead_percent,
        together,
    }
}

/// Whether a node is one of Fargate's: never bought for, drained or counted.
pub fn is_fargate_node(labels: &Labels) -> bool {
    labels.get(well_known::COMPUTE_TYPE).map(String::as_str) == Some(well_known::FARGATE)
}
