//! What was decided and has not shown yet: machines asked for, and the pods that they are for.
//!
//! Between asking for a node and seeing it, the cluster looks as if nothing had happened. A plan made then would ask again.
//! So every snapshot is amended before it is planned on: a machine that is being launched stands there as the node that it
//! will be, and its pods as ones that have their room.
//!
//! # Invariants
//! - A machine counts from the moment its claim is made until its Node is there, then the Node counts.
//! - A pod has its room until it is bound, gone, or its machine is gone. Nothing is held for ever.
//! - Pods that kube-scheduler has not refused are not planned for: it may well have a node for them.
//! - Pods of nodes that are being deleted are planned for before they leave, as if they waited already.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stowage_api::crd::condition::INITIALIZED;
use stowage_api::well_known::{HOSTNAME, INSTANCE_TYPE, ZONE, stable};
use stowage_api::{NodeClaim, Quantity, ResourceList, StatusCondition};
use stowage_cluster::object::Node;
use stowage_cluster::{Pod, Snapshot};

use crate::decide::Wanted;
use crate::disrupt::command::displace;

/// Machines asked for.
#[derive(Clone, Debug, Default)]
pub struct Assumed {
    /// By name of the claim.
    machines: BTreeMap<String, Machine>,
    /// Claims of which it shows what they were launched as.
    launched: BTreeSet<String>,
    /// Since when pods have been nominated: by pod, with the node.
    nominated: HashMap<String, (Arc<str>, Instant)>,
    /// Pods whose nomination has come to nothing.
    stale: HashSet<String>,
}

#[derive(Clone, Debug, Default)]
struct Machine {
    /// As it was planned; `None` where that was before our time, and its claim's status says what it will be.
    node: Option<Node>,
    pods: Vec<String>,
    /// Of these, the ones that were put there after it was planned: it was not chosen for them.
    late: BTreeSet<String>,
    /// When its node was opened to its pods.
    opened: Option<Instant>,
    /// Whether its room is for pods that still run elsewhere.
    held: bool,
}

/// What is expected, shared with whoever brings it about.
#[derive(Clone, Debug, Default)]
pub struct Expected(Arc<Mutex<Assumed>>);

impl Expected {
    /// Looks at it, or notes something.
    pub fn with<T>(&self, f: impl FnOnce(&mut Assumed) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A pod that has been nominated for so long to a node that nobody leaves will not get there. kube-scheduler does not always take
/// such a nomination back, and until then the pod would wait for room that others have.
const NOMINATED: Duration = Duration::from_secs(30);

/// Pods that are not bound so long after their node was opened to them will not be: others took their room. By then
/// kube-scheduler has tried each of them again; it waits ten seconds at most.
const OPEN: Duration = Duration::from_secs(15);

/// What a snapshot is amended by, beside what was asked for.
#[derive(Clone, Copy)]
pub struct Beside<'a> {
    /// Pods that are about to leave their nodes, `namespace/name`: they wait as well.
    pub displaced: &'a BTreeSet<String>,
    /// The node that a claim will be at least of which nothing else is known.
    pub stand_in: &'a dyn Fn(&NodeClaim) -> Option<Node>,
}

impl Beside<'_> {
    /// Nothing.
    pub const NOTHING: Self = Self { displaced: &BTreeSet::new(), stand_in: &|_| None };
}

/// The cluster as it will be when all that was asked for is there.
#[derive(Clone, Debug)]
pub struct Amended {
    /// To plan on.
    pub snapshot: Snapshot,
    /// The pods that a plan is for, `namespace/name`.
    pub waiting: Vec<String>,
    /// Claims of which nobody knows what they will hold: that shows when they are launched.
    pub unknown: Vec<String>,
    /// Claims that stand in the snapshot as the nodes that they will be.
    pub coming: BTreeSet<String>,
    /// Nodes that nothing may be placed on: of those that come, the ones whose room is for pods that still run elsewhere.
    pub held: BTreeSet<String>,
    /// Pods that still run on nodes which are being deleted, and were planned for all the same.
    pub displaced: BTreeSet<String>,
}

impl Assumed {
    /// A claim of this name was made for what was wanted.
    ///
    /// # Errors
    /// Where `wanted.node` is no Node, which would be a defect.
    pub fn add(&mut self, claim: &str, wanted: &Wanted) -> Result<(), serde_json::Error> {
        let node = Some(named(claim, &wanted.node)?);
        self.machines
            .insert(claim.to_owned(), Machine { node, pods: wanted.pods.clone(), ..Machine::default() });
        Ok(())
    }

    /// The machine of a claim is for pods that still run on nodes which are to go: until it is there, no other is planned on it.
    pub fn hold(&mut self, claim: &str) {
        self.machines.entry(claim.to_owned()).or_default().held = true;
    }

    /// A pod is to run on the machine of a claim besides those that it was made for.
    pub fn expect(&mut self, claim: &str, pod: &str) {
        let machine = self.machines.entry(claim.to_owned()).or_default();
        if !machine.pods.iter().any(|there| there == pod) {
            machine.pods.push(pod.to_owned());
            if !self.launched.contains(claim) {
                machine.late.insert(pod.to_owned());
            }
        }
    }

    /// The node of a claim was opened to its pods.
    pub fn opened(&mut self, claim: &str, at: Instant) {
        if let Some(machine) = self.machines.get_mut(claim) {
            machine.opened = Some(at);
        }
    }

    /// All pods that have a machine to come, `namespace/name`, and the claim of each.
    pub fn expected(&self) -> impl Iterator<Item = (&str, &str)> {
        let machines = self.machines.iter();
        machines.flat_map(|(claim, m)| m.pods.iter().map(move |pod| (pod.as_str(), claim.as_str())))
    }

    /// The pods that are to run on the machine of a claim, `namespace/name`.
    pub fn pods_of(&self, claim: &str) -> &[String] {
        self.machines.get(claim).map_or(&[], |machine| &machine.pods)
    }

    /// Forgets what has come about and what never will: machines whose claims are gone, pods that are bound or gone and are not
    /// `displaced`.
    pub fn forget(&mut self, snapshot: &Snapshot, displaced: &BTreeSet<String>, now: Instant) {
        let claims: BTreeMap<&str, &NodeClaim> =
            snapshot.node_claims().map(|c| (c.metadata.name.as_str(), c)).collect();
        self.machines
            .retain(|name, _| claims.get(name.as_str()).is_some_and(|c| !c.metadata.is_terminating()));
        let launched = claims.iter().filter(|(_, claim)| !claim.status.provider_id.is_empty());
        self.launched = launched.map(|(name, _)| (*name).to_owned()).collect();
        for (name, machine) in self.machines.iter_mut().filter(|(name, _)| self.launched.contains(*name)) {
            machine.launch(claims[name.as_str()]);
        }
        self.judge_nominations(snapshot, now);
        let waiting: HashSet<String> =
            snapshot.pods().filter(|pod| pod.pending() == Some(Ok(()))).map(Pod::key).collect();
        for machine in self.machines.values_mut() {
            let missed = machine.opened.is_some_and(|at| now.duration_since(at) >= OPEN);
            machine.pods.retain(|pod| !missed && (waiting.contains(pod) || displaced.contains(pod)));
        }
    }

    /// Finds nominations that have come to nothing.
    fn judge_nominations(&mut self, snapshot: &Snapshot, now: Instant) {
        // Where a pod is on its way out, room is being made for the one that is nominated.
        let leaving: HashSet<&str> =
            snapshot.pods().filter(|pod| pod.terminating).filter_map(|pod| pod.node.as_deref()).collect();
        let mut known = std::mem::take(&mut self.nominated);
        self.stale.clear();
        for pod in snapshot.pods().filter(|pod| pod.pending() == Some(Ok(()))) {
            let Some(node) = &pod.nominated else { continue };
            let key = pod.key();
            let since = match known.remove(&key) {
                Some((same, since)) if same == *node && !leaving.contains(&**node) => since,
                _ => now,
            };
            if now.duration_since(since) >= NOMINATED {
                self.stale.insert(key.clone());
            }
            self.nominated.insert(key, (Arc::clone(node), since));
        }
    }

    /// The snapshot with machines as nodes and their pods on them.
    pub fn amend(&self, snapshot: &Snapshot, beside: &Beside<'_>) -> Amended {
        let mut out = snapshot.clone();
        let mut unknown = Vec::new();
        let (mut coming, mut held) = (BTreeSet::new(), BTreeSet::new());
        let by_machine: HashMap<&str, &str> = snapshot
            .nodes()
            .filter(|node| !node.spec.provider_id.is_empty())
            .map(|node| (node.spec.provider_id.as_str(), node.metadata.name.as_str()))
            .collect();
        // The name under which each claim's machine is a node of the amended snapshot.
        let mut nodes = BTreeMap::<&str, Arc<str>>::new();
        // Nodes that are there and may not show all that they have.
        let mut starting = HashMap::<&str, &NodeClaim>::new();
        out.node_claims.clear();
        for claim in &snapshot.node_claims {
            let name = claim.metadata.name.as_str();
            let machine = claim.status.provider_id.as_str();
            let there = Some(claim.status.node_name.as_str()).filter(|name| !name.is_empty());
            if let Some(node) = there.or_else(|| by_machine.get(machine).copied()) {
                nodes.insert(name, node.into());
                if !StatusCondition::holds(&claim.status.conditions, INITIALIZED) {
                    starting.insert(node, claim);
                }
                out.node_claims.push(Arc::clone(claim));
            } else if claim.metadata.is_terminating() {
                out.node_claims.push(Arc::clone(claim));
            } else if let Some(node) =
                // What it was launched as may be another type, or in another zone, than was planned.
                launched(claim)
                    .or_else(|| self.machines.get(name).and_then(|m| m.node.clone()))
                    .or_else(|| (beside.stand_in)(claim))
            {
                coming.insert(name.to_owned());
                if self.machines.get(name).is_some_and(|machine| machine.held) {
                    held.insert(name.to_owned());
                }
                nodes.insert(name, name.into());
                out.nodes.push(Arc::new(node));
            } else {
                unknown.push(name.to_owned());
                out.node_claims.push(Arc::clone(claim));
            }
        }
        for node in &mut out.nodes {
            if let Some(claim) = starting.get(node.metadata.name.as_str()) {
                fill(node, claim);
            }
        }
        let room: HashMap<&str, &Arc<str>> = self
            .machines
            .iter()
            .filter_map(|(claim, machine)| Some((nodes.get(claim.as_str())?, machine)))
            .flat_map(|(node, machine)| machine.pods.iter().map(move |pod| (pod.as_str(), node)))
            .collect();
        let mut waiting = Vec::new();
        out.pods.retain_mut(|pod| {
            if pod.is_bound() && !beside.displaced.is_empty() && beside.displaced.contains(&pod.key()) {
                displace(Arc::make_mut(pod));
            }
            if pod.pending() != Some(Ok(())) {
                return true;
            }
            let key = pod.key();
            if pod.nominated.is_some() {
                if !self.stale.contains(&key) {
                    return true;
                }
                // Had kube-scheduler found it a node, it would be bound by now.
                let pod = Arc::make_mut(pod);
                pod.nominated = None;
                pod.refused = true;
            }
            if let Some(node) = room.get(key.as_str()) {
                Arc::make_mut(pod).nominated = Some(Arc::clone(node));
            } else if pod.refused {
                waiting.push(key);
            } else {
                return false;
            }
            true
        });
        Amended { snapshot: out, waiting, unknown, coming, held, displaced: beside.displaced.clone() }
    }
}

impl Machine {
    /// It was launched as what its claim says by now. Where that is another type or in another zone than was planned, only the
    /// pods that it was chosen for are known to fit: the others are planned for again.
    fn launch(&mut self, claim: &NodeClaim) {
        let late = std::mem::take(&mut self.late);
        let planned = self.node.as_ref().map(|node| &node.metadata.labels);
        let as_planned = planned.is_some_and(|planned| {
            [INSTANCE_TYPE, ZONE].iter().all(|key| planned.get(*key) == claim.metadata.labels.get(*key))
        });
        if !as_planned {
            self.pods.retain(|pod| !late.contains(pod));
        }
    }
}

/// Puts into a node that starts what its claim says that it will have and it does not show yet: devices, whose drivers report
/// them only once they run there. Else their pods would be taken for pods without a place.
///
/// compat: karpenter v1.14, `StateNode.Allocatable`: entries of zero are the claim's until it is initialized.
fn fill(node: &mut Arc<Node>, claim: &NodeClaim) {
    let filled = |shown: &ResourceList, promised: &ResourceList| {
        let lacks = |name: &str| shown.get(name).is_none_or(Quantity::is_zero);
        let missing: Vec<_> =
            promised.iter().filter(|(name, amount)| !amount.is_zero() && lacks(name)).collect();
        let own = |(name, amount): (&str, Quantity)| (name.to_owned(), amount);
        (!missing.is_empty()).then(|| shown.iter().chain(missing).map(own).collect::<ResourceList>())
    };
    let (shown, promised) = (&node.status, &claim.status);
    let allocatable = filled(&shown.allocatable, &promised.allocatable);
    let capacity = filled(&shown.capacity, &promised.capacity);
    if allocatable.is_some() || capacity.is_some() {
        let status = &mut Arc::make_mut(node).status;
        status.allocatable = allocatable.unwrap_or_else(|| std::mem::take(&mut status.allocatable));
        status.capacity = capacity.unwrap_or_else(|| std::mem::take(&mut status.capacity));
    }
}

fn named(name: &str, node: &Value) -> Result<Node, serde_json::Error> {
    let mut node = node.clone();
    node["metadata"]["name"] = json!(name);
    node["metadata"]["labels"][HOSTNAME] = json!(name);
    serde_json::from_value(node)
}

/// The node that a launched machine will be, as its claim says: `None` before it is launched.
fn launched(claim: &NodeClaim) -> Option<Node> {
    if claim.status.allocatable.is_empty() {
        return None;
    }
    let mut node = Node::default();
    node.metadata.name.clone_from(&claim.metadata.name);
    for requirement in &claim.spec.requirements {
        if let (stowage_api::Operator::In, [value]) = (requirement.operator, requirement.values.as_slice()) {
            node.metadata.labels.insert(stable(&requirement.key).to_owned(), value.clone());
        }
    }
    // What it was launched as stands in its labels.
    node.metadata.labels.extend(claim.metadata.labels.clone());
    node.metadata.labels.insert(HOSTNAME.to_owned(), claim.metadata.name.clone());
    node.spec.taints.clone_from(&claim.spec.taints);
    node.status.allocatable = claim.status.allocatable.clone();
    node.status.capacity = claim.status.capacity.clone();
    Some(node)
}
