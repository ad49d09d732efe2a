//! Claims of devices (dynamic resource allocation), made to what the solver knows: resources, labels and rules between
//! pods of a node.
//!
//! ```text
//! ResourceSlices, catalogue ─▶ inventory: the devices of each node and instance type ─┐
//! DeviceClasses, requests ───▶ demand: which devices suit which request ──────────────┼─▶ amounts of each node and type
//! pods, claims, templates ───▶ ask: what each pod has to be given ─▶ shape ───────────┘   and what each pod takes of them
//! ```
//!
//! - *Plain* claims ask for numbers of devices. They become resources that a plan counts like memory, and the counting is
//!   exact: a set of plain claims can be met on a node if and only if the resources suffice (`cover`).
//! - *Composed* claims ask for devices that have something in common, for all there are, or for one kind where another is
//!   not to be had. Each distinct composition is a resource of its own, of which a node has as much as kube-scheduler's
//!   search finds there (`allocate`), and pods with other claims on the same devices stay away from its nodes. That is
//!   careful, not exact: what shares a node can always be had, but more nodes may be bought than are needed.
//! - Pods that share a claim share a node: the first of them takes the devices, the others want to be with it.
//! - A claim that has its devices ties its pods to where those are.
//!
//! What Kubernetes does is in `k8s.io/dynamic-resource-allocation/structured` and in the scheduler's plugin
//! `dynamicresources`, with the features that version 1.35 has on by default.

mod allocate;
mod ask;
mod cover;
mod demand;
mod inventory;
mod shape;
mod supply;

use std::collections::{BTreeSet, HashMap, HashSet};

use stowage_pricing::Catalog;
use stowage_solver::{NodeConstraint, Operator, PodSelector, PodTerm, Requirement, TopologyKey};

use self::demand::Demands;
use self::inventory::Inventory;
use self::shape::Shapes;
use self::supply::supplies;
use super::notes::Notes;
use crate::snapshot::{Pod, Snapshot};

/// What names of resources that stand for devices begin with. No resource of Kubernetes has a space in its name.
const PREFIX: &str = "device class ";

/// Whether a resource of a problem is none of Kubernetes', but stands for devices that claims ask for.
pub fn stands_for_devices(resource: &str) -> bool {
    resource.starts_with(PREFIX)
}

/// The label that pods carry for what they ask for, where other pods have to stay away from it. Nor has a label.
const SHAPE: &str = "device shape";

/// The label of a pod that takes the devices of a claim that it shares; the claim follows.
const LEADS: &str = "device claim ";

/// Amounts of resources, by position in [`Devices::names`].
pub(super) type Amounts = Vec<(usize, i64)>;

/// What pods ask of devices, and what of it nodes and types have.
#[derive(Default)]
pub(super) struct Devices {
    /// Names of resources.
    names: Vec<String>,
    /// What pods have to be given, each once.
    kinds: Vec<OfPod>,
    /// By address, as all pods of a snapshot are told apart.
    of_pod: HashMap<*const Pod, u32>,
    of_node: HashMap<String, Amounts>,
    of_type: HashMap<String, Amounts>,
}

/// What the claims of a pod come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct OfPod {
    /// What it takes.
    pub(super) requests: Amounts,
    /// Where the devices are that it has already.
    pub(super) node: Vec<NodeConstraint>,
    /// Pods that have to be on its node.
    pub(super) affinity: Vec<PodTerm>,
    /// Pods that must not be.
    pub(super) anti_affinity: Vec<PodTerm>,
    /// Labels for such rules of others.
    pub(super) labels: Vec<(String, String)>,
    /// Why it can run nowhere.
    pub(super) blocked: Option<String>,
}

impl Devices {
    pub(super) fn new(
        snapshot: &Snapshot,
        catalog: &Catalog,
        pending: &[&Pod],
        refuse: bool,
        notes: &mut Notes,
    ) -> Self {
        ask::of_daemon_sets(snapshot, notes);
        // Pods that are nominated to a node are as good as there, but their claims have no devices yet.
        let known: HashSet<*const Pod> = pending.iter().map(|pod| std::ptr::from_ref(*pod)).collect();
        let nominated = snapshot.pods().filter(|pod| {
            pod.nominated.is_some()
                && pod.pending() == Some(Ok(()))
                && !known.contains(&std::ptr::from_ref(*pod))
        });
        let waiting: Vec<&Pod> = pending.iter().copied().chain(nominated).collect();
        let mut asks = ask::of_pods(snapshot, &waiting);
        for ask in asks.iter_mut().filter(|ask| refuse && known.contains(&std::ptr::from_ref(ask.pod))) {
            let why =
                "it asks for devices by ResourceClaims, which are not planned for (IGNORE_DRA_REQUESTS)";
            ask.blocked.get_or_insert_with(|| why.to_owned());
        }
        if asks.is_empty() {
            return Self::default();
        }
        let inventory = Inventory::new(snapshot, catalog, notes);
        let mut demands = Demands::new(snapshot);
        let mut shapes = Shapes::default();
        let of_asks: Vec<Result<u32, String>> =
            asks.iter().map(|ask| shapes.of(&ask.carried, &mut demands, notes, ask.pod)).collect();
        demands.judge(&inventory, notes);

        let supplies = supplies(&shapes, &demands, &inventory, notes);
        let mut this = Self { names: supplies.names, ..Self::default() };
        for (host, amounts) in inventory.hosts.iter().zip(supplies.of_hosts) {
            let of = if host.is_type { &mut this.of_type } else { &mut this.of_node };
            of.insert(host.name.to_owned(), amounts);
        }
        let apart = shapes.apart(&demands);
        let namespaces: BTreeSet<&str> = asks.iter().map(|ask| ask.pod.namespace.as_ref()).collect();
        let namespaces: Vec<&str> = namespaces.into_iter().collect();
        let mut ids = HashMap::new();
        for (ask, shape) in asks.into_iter().zip(of_asks) {
            let mut of_pod = OfPod { node: ask.node, blocked: ask.blocked, ..OfPod::default() };
            match shape {
                Err(reason) => _ = of_pod.blocked.get_or_insert(reason),
                Ok(shape) => {
                    of_pod.requests.clone_from(&supplies.of_shapes[shape as usize]);
                    let others = &apart[shape as usize];
                    if !others.is_empty() {
                        of_pod.labels.push((SHAPE.to_owned(), shape.to_string()));
                        if !shapes.all[shape as usize].is_plain() {
                            let others = others.iter().map(u32::to_string).collect();
                            let others = Requirement { key: SHAPE.to_owned(), op: Operator::In(others) };
                            of_pod.anti_affinity.push(term(&namespaces, others));
                        }
                    }
                }
            }
            for claim in &ask.leads {
                of_pod.labels.push((format!("{LEADS}{claim}"), String::new()));
            }
            for claim in &ask.follows {
                let key = format!("{LEADS}{claim}");
                let leads = Requirement { key, op: Operator::In(vec![String::new()]) };
                of_pod.affinity.push(term(&[ask.pod.namespace.as_ref()], leads));
            }
            let next = this.kinds.len() as u32;
            let id = *ids.entry(of_pod.clone()).or_insert(next);
            if id == next {
                this.kinds.push(of_pod);
            }
            this.of_pod.insert(std::ptr::from_ref(ask.pod), id);
        }
        this
    }

    /// Names of the resources that stand for devices.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// What a pending pod's claims come to, by number; `None` for a pod without claims.
    pub(super) fn number(&self, pod: &Pod) -> Option<u32> {
        self.of_pod.get(&std::ptr::from_ref(pod)).copied()
    }

    /// What that number stands for.
    pub(super) fn kind(&self, number: u32) -> &OfPod {
        &self.kinds[number as usize]
    }

    /// Amounts by name.
    pub(super) fn named<'s>(&'s self, amounts: &'s Amounts) -> impl Iterator<Item = (&'s str, i64)> {
        amounts.iter().map(|(at, amount)| (self.names[*at].as_str(), *amount))
    }

    /// What a node has that is free.
    pub(super) fn of_node(&self, name: &str) -> impl Iterator<Item = (&str, i64)> {
        self.of_node.get(name).into_iter().flat_map(|amounts| self.named(amounts))
    }

    /// What a new node of a type would have.
    pub(super) fn of_type(&self, name: &str) -> impl Iterator<Item = (&str, i64)> {
        self.of_type.get(name).into_iter().flat_map(|amounts| self.named(amounts))
    }
}

/// A rule about pods with such a label on the same node.
fn term(namespaces: &[&str], label: Requirement) -> PodTerm {
    let namespaces = namespaces.iter().map(|n| (*n).to_owned()).collect();
    PodTerm { key: TopologyKey::Host, selector: PodSelector { namespaces, labels: Some(vec![label]) } }
}
