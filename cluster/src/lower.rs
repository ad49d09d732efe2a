//! Lowers a captured cluster and a catalogue to a packing problem: Kubernetes' names and rules in, numbers out.
//!
//! ```text
//! Pod, claims, volumes ─▶ spec ──┐
//! Node, CSINode, NodeClaim ─▶ node ──┤
//! NodePool, EC2NodeClass ─▶ pool ────┼─▶ Problem + notes
//! Catalog ─▶ view ─▶ offer ───────────┘
//! ```
//!
//! # Invariants
//! - What is dear is done once for each distinct pod spec, not for each pod.
//! - CPU is counted in milli-cores, all else in whole units; what is asked for is rounded up, what there is down.
//! - What the pending pods ask for in all fits an `i64` four times over.

mod admission;
mod attached;
mod device;
mod exclusive;
mod fargate;
mod labels;
mod loose;
mod node;
mod nominated;
mod notes;
mod offer;
mod overlay;
mod pool;
mod preemption;
mod preference;
mod quota;
mod resource;
mod selector;
mod size;
mod spec;
mod view;
mod volume;
mod world;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use stowage_api::{NodeSettings, Quantity, well_known};
use stowage_pricing::{Catalog, Commitments, Error, LearntCapacity};
use stowage_solver::{Daemon, LabelSetId, Labels, Pod as Pending, Problem};

use self::attached::Attached;
use self::device::Devices;
pub use self::device::stands_for_devices;
pub use self::fargate::{FargateOptions, OnFargate};
pub use self::nominated::{Nominated, list_nominated};
pub use self::quota::Commitment;
pub(crate) use self::quota::is_committable;

pub(crate) use self::labels::requirement;
use self::notes::Notes;
use self::quota::Quotas;
use self::resource::ResourceIds;
use self::spec::Specs;
use self::view::Views;
use self::world::World;
use crate::note::Note;
use crate::object::SpreadConstraint;
use crate::snapshot::{Pod, Snapshot};

/// The amount of attach slots of a node or instance type that states no limit: a node can never use it up, and a
/// million of them still add up in an `i64`. Not to be shown to anyone.
pub const UNLIMITED: i64 = 1 << 40;

/// What becomes of preferences of pods: preferred affinity, `ScheduleAnyway`, `PreferNoSchedule`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PreferencePolicy {
    /// They are kept where that can be, even if nodes cost more for it.
    #[default]
    Respect,
    /// They are not looked at.
    Ignore,
}

/// What becomes of pods that would leave fewer values to choose from than `minValues` of a `NodePool` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinValuesPolicy {
    /// They wait.
    #[default]
    Strict,
    /// They have a node that can be launched as fewer things.
    BestEffort,
}

/// How to lower.
#[derive(Clone, Debug, Default)]
pub struct LowerOptions {
    /// Take machines that are being launched (`NodeClaims` without a Node) as nodes that pods may be placed on. Off, they
    /// only count against their `NodePools`' limits: a plan then names none but Nodes of the snapshot.
    pub in_flight: bool,
    /// Fixed cost and size of nodes, for `NodePools` whose annotations do not say.
    pub nodes: NodeSettings,
    /// What becomes of preferences.
    pub preferences: PreferencePolicy,
    /// What becomes of pods for which `minValues` of a `NodePool` cannot be met.
    pub min_values: MinValuesPolicy,
    /// Names of schedulers beside the default one whose pods are planned for; those of others are left alone.
    pub schedulers: Vec<String>,
    /// Spread of replicas of workloads that state none: `defaultConstraints` of kube-scheduler's configuration. Selectors
    /// are filled in for each pod.
    pub default_spread: Vec<SpreadConstraint>,
    /// Whether and how pods may run on Fargate.
    pub fargate: FargateOptions,
    /// Whether pods that ask for devices by `ResourceClaims` are refused, in the place of being planned for.
    pub refuse_devices: bool,
    /// What is paid for already. Those in force only: see [`Commitments::in_force`].
    pub commitments: Commitments,
    /// What nodes were seen to have, in the place of the guess: see [`crate::learn()`].
    pub learnt: LearntCapacity,
    /// `NodePools` that nothing is launched from for now, by name, and why.
    pub not_ready: BTreeMap<String, String>,
    /// Nodes that take no more pods, by name, whatever their taints: those that are about to go. They count against limits.
    pub closed: BTreeSet<String>,
    /// Where there is no `NodePool`, launch nothing, in the place of planning with a default one.
    pub no_default_pool: bool,
}

/// A problem, and what to know about it.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// The problem.
    pub problem: Problem,
    /// What to know, in the order to show it.
    pub notes: Vec<Note>,
    /// By instance type of the problem: all that pods may use of it, in quantities. The problem knows only the resources
    /// that somebody asks for.
    pub allocatable: Vec<BTreeMap<String, Quantity>>,
    /// Pods that kube-scheduler holds room for on a node. The problem has them run there; see [`list_nominated`].
    pub nominated: Vec<Nominated>,
    /// Who may run on Fargate; empty where that is not planned with.
    pub fargate: OnFargate,
    /// Commitments that new nodes may use, each a quota of the problem.
    pub commitments: Vec<Commitment>,
}

/// Why a snapshot cannot be lowered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LowerError {
    /// The embedded catalogue does not read.
    #[error(transparent)]
    Catalog(#[from] Error),
}

/// Lowers `snapshot`, with `catalog` to buy from.
///
/// ```
/// use stowage_cluster::{LowerOptions, ReadOptions, Source, lower, read};
/// use stowage_pricing::{Catalog, Settings};
///
/// let bytes = br#"{"kind": "Pod", "metadata": {"name": "web-0"}}"#;
/// let snapshot = read(&[Source { name: "pod.json", bytes }], &ReadOptions::default())?;
/// let lowered = lower(&snapshot, &Catalog::embedded("us-east-1", &Settings::default())?, &LowerOptions::default())?;
/// assert_eq!(lowered.problem.pods[0].name, "default/web-0");
/// assert!(lowered.notes[0].to_string().starts_with("no NodePool in the snapshot"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Where what the pods ask for cannot be counted, or this build's own data is damaged. Whatever else is wrong with a pod
/// is a reason in the problem why it can run nowhere.
pub fn lower(snapshot: &Snapshot, catalog: &Catalog, options: &LowerOptions) -> Result<Lowered, LowerError> {
    let mut remarks = Notes::of(snapshot);
    let pending = remarks.sort_out(snapshot, &options.schedulers);
    let pools = pool::provisioning(snapshot, options, &mut remarks);
    let views = Views::of(snapshot, catalog, &pools, &options.learnt, &mut remarks)?;
    let world = World::new(snapshot, &pending, preference::soft_taints(snapshot, &pools), options);

    let devices = Devices::new(snapshot, catalog, &pending, options.refuse_devices, &mut remarks);
    let mut asked = resource::asked_for(snapshot, &pools);
    asked.extend(devices.names());
    let resources = ResourceIds::new(asked);
    let mut specs = Specs::new(&world, &resources, &devices);
    let mut label_sets = LabelSets::default();

    let mut pods = Vec::with_capacity(pending.len());
    for pod in &pending {
        let (spec, rules) = specs.of(pod);
        for rule in rules.iter() {
            remarks.not_honoured(*rule, || pod.key());
        }
        pods.push(Pending { name: pod.key(), spec, labels: label_sets.of_pending(pod, &devices) });
    }
    if options.preferences == PreferencePolicy::Ignore {
        remarks.preferences_ignored(&pods, &specs.forget_preferences());
    }
    let mut on_fargate =
        fargate::route(snapshot, &options.fargate, &pending, &mut pods, &mut specs, &world, &mut remarks);
    let sold = views.catalogs().flat_map(|catalog| &catalog.types).flat_map(|of| of.resources.iter());
    let there = snapshot.nodes().flat_map(|node| node.status.allocatable.iter());
    let supplies = sold.map(|(name, amount)| (name.as_str(), *amount)).chain(there);
    specs.cap(&resource::caps(&pods, specs.all(), &resources, supplies));

    let daemons: Vec<Daemon> = snapshot
        .daemon_sets
        .iter()
        .filter(|d| !d.metadata.is_terminating())
        .map(|d| Daemon { name: world::key(&d.metadata), spec: specs.of_daemon(d) })
        .collect();
    let mut nodes =
        node::lower(snapshot, options, &resources, &daemons, &mut specs, &mut label_sets, &mut remarks);
    let stated = pools;
    let selected = quota::selected(snapshot, catalog, &stated, &mut remarks);
    let mut quotas = Quotas::of(snapshot, catalog, &options.commitments, &mut remarks);
    let mut pools = pool::lower(snapshot, &views, &stated, &resources, options.min_values, &mut remarks);
    for (pool, required) in pools.iter_mut().zip(selected) {
        pool.requirements.extend(required);
    }
    let (mut types, allocatable) = offer::types(&views, &resources, &devices, &world, &pools, &mut quotas);
    size::apply(&stated, options, &views, &mut pools, &mut types, &mut remarks);
    views.keep_apart(&stated, &mut pools);
    preference::mark(&mut nodes, &mut pools);
    remarks.of_prices(catalog, &pools);

    let slot = resources.get(well_known::EBS_SLOTS);
    let attached = Attached::of(snapshot, &pending, &mut specs);
    let mut specs = specs.into_all();
    exclusive::keep(snapshot, &pending, &mut pods, &mut specs, &world);
    let mut nominated = nominated::of(snapshot, &nodes);
    preemption::preempt(snapshot, &pending, &mut pods, &mut nodes, &mut specs, &world, slot, &mut nominated);
    let (quotas, commitments) = quotas.into_all();
    let mut problem = Problem {
        resources: resources.into_names(),
        zone_key: well_known::ZONE.to_owned(),
        specs,
        label_sets: label_sets.all,
        pods,
        nodes,
        pools,
        types: types.into(),
        daemons,
        quotas,
    };
    if let Some(slot) = slot {
        attached.count_once(&mut problem, slot);
    }
    loose::loosen(&mut problem);
    fargate::conclude(&mut on_fargate, &problem.pods, &stowage_solver::closed_routes(&problem), &mut remarks);
    Ok(Lowered { problem, notes: remarks.finish(), allocatable, nominated, fargate: on_fargate, commitments })
}

/// Distinct label sets of pods.
#[derive(Default)]
struct LabelSets {
    all: Vec<Labels>,
    /// Sets that the snapshot shares already, by address, so that they are compared once.
    shared: HashMap<*const Labels, LabelSetId>,
    equal: BTreeMap<Labels, LabelSetId>,
}

impl LabelSets {
    fn of(&mut self, labels: &Arc<Labels>) -> LabelSetId {
        *self.shared.entry(Arc::as_ptr(labels)).or_insert_with(|| {
            if let Some(id) = self.equal.get(labels.as_ref()) {
                return *id;
            }
            let id = LabelSetId::of(self.all.len());
            self.all.push(labels.as_ref().clone());
            self.equal.insert(labels.as_ref().clone(), id);
            id
        })
    }
}

impl LabelSets {
    /// The labels of a pod, and those that stand for claims that wait for devices.
    fn of_pending(&mut self, pod: &Pod, devices: &Devices) -> LabelSetId {
        let more = devices.number(pod).map_or(&[][..], |number| devices.kind(number).labels.as_slice());
        if more.is_empty() {
            return self.of(&pod.labels);
        }
        let mut labels = pod.labels.as_ref().clone();
        labels.extend(more.iter().cloned());
        if let Some(id) = self.equal.get(&labels) {
            return *id;
        }
        let id = LabelSetId::of(self.all.len());
        self.all.push(labels.clone());
        self.equal.insert(labels, id);
        id
    }
}

/// Pods by the node that they are bound or nominated to.
pub(crate) fn bound_by_node(snapshot: &Snapshot) -> HashMap<&str, Vec<&Pod>> {
    let mut by_node = HashMap::<&str, Vec<&Pod>>::new();
    for pod in &snapshot.pods {
        let nominated = pod.nominated.as_deref().filter(|_| pod.pending() == Some(Ok(())));
        if let Some(node) = pod.node.as_deref().filter(|_| pod.is_bound()).or(nominated) {
            by_node.entry(node).or_default().push(pod);
        }
    }
    by_node
}
