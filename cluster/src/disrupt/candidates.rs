//! Which nodes may be taken away, and why others may not, by Karpenter's rules.
//!
//! compat: karpenter v1.14, `NewCandidate`, `ValidateNodeDisruptable` and `ValidatePodsDisruptable`; `ShouldDisrupt` of
//! consolidation.

use std::collections::{BTreeSet, HashMap};

use stowage_api::{ConsolidationPolicy, NodeClaim, NodePool, StatusCondition, well_known};
use stowage_pricing::Timestamp;

use super::cost::{
    Priorities, balanced_disruption, eviction_cost, lifetime_left, node_disruption, restlessness,
};
use super::shields::{Guard, Shields};
use crate::lower::bound_by_node;
use crate::object::{Node, Toleration, TolerationOperator};
use crate::snapshot::{Pod, Snapshot};

/// What is known beside the snapshot.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    /// Now; `None` where nobody knows, and what depends on ages is not held against a node.
    pub now: Option<Timestamp>,
    /// Nodes that pods are on their way to, by name.
    pub nominated: BTreeSet<String>,
    /// Nodes that are about to go already, by name.
    pub leaving: BTreeSet<String>,
    /// Nodes that were to go a while ago, and what was to come in their place did not.
    pub resting: BTreeSet<String>,
}

/// Why a node may not be taken away. Pods and budgets are `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// No `NodeClaim` is behind it: another system made it.
    NotManaged,
    /// Its `NodePool` is not there.
    NoPool(String),
    /// It has not started up yet.
    NotInitialized,
    /// It, or its claim, is being deleted.
    Deleting,
    /// It was chosen to go already.
    Chosen,
    /// Pods are on their way to it.
    Nominated,
    /// What was to come in its place did not, a while ago.
    Resting,
    /// A pod of it cannot be read: kind, namespace and name. Nobody knows whether it may leave.
    PodUnread(String),
    /// It is marked `karpenter.sh/do-not-disrupt`.
    Protected,
    /// A pod of it is marked so, for ever or until some moment.
    PodProtected {
        /// The pod.
        pod: String,
        /// Until when.
        until: Option<Timestamp>,
    },
    /// A budget lets no more of the pods go that it is about, for now.
    BudgetSpent {
        /// A pod that it is about.
        pod: String,
        /// The budget.
        budget: String,
    },
    /// A budget lets none of the pods go that it is about, however many of them are up.
    BudgetAlways {
        /// A pod that it is about.
        pod: String,
        /// The budget.
        budget: String,
    },
    /// Several budgets are about one pod, which the API server then refuses to evict.
    SeveralBudgets {
        /// The pod.
        pod: String,
        /// The budgets.
        budgets: Vec<String>,
    },
    /// Its `NodePool` keeps a number of nodes, whatever the pods.
    Static,
    /// It lacks a label by which its price is found.
    NoLabel(String),
    /// Its `NodePool` says `consolidateAfter: Never`.
    Never,
    /// Pods have come or gone too short a time ago.
    NotQuiet {
        /// From when on it may go; `None` where only its condition `Consolidatable` says that it may not.
        until: Option<Timestamp>,
    },
    /// Its `NodePool` lets only empty nodes go, and it has pods.
    NotEmpty,
}

/// A node, and whether it may be taken away.
#[derive(Clone, Debug)]
pub struct Standing<'s> {
    /// The node.
    pub node: &'s Node,
    /// What stands behind it.
    pub claim: Option<&'s NodeClaim>,
    /// The `NodePool` that it belongs to.
    pub pool: Option<&'s NodePool>,
    /// The pods that would have to go elsewhere: those of `DaemonSets` and of kubelet itself go with the node.
    pub pods: Vec<&'s Pod>,
    /// What each of them costs to evict, in parts of [`super::UNIT`].
    pub evictions: Vec<i64>,
    /// How much more that is because it has only just come up, in thousandths; see [`super::restlessness`].
    pub restlessness: Vec<i64>,
    /// How much of its life it has before it, in thousandths.
    pub lifetime_left: i64,
    /// For how many seconds no pod has come to it or left it; for ever where nothing tells.
    pub quiet: u64,
    /// Why it may not go, whatever the cause.
    pub refused: Vec<Refusal>,
    /// Why its pods may not, on top of that. Drift passes over these where the claim states how long pods have.
    pub refused_by_pods: Vec<Refusal>,
    /// Why it may not go to save money, on top of both.
    pub refused_saving: Vec<Refusal>,
}

impl Standing<'_> {
    /// Whether no pod has to leave it that is worth the trouble.
    pub fn is_empty(&self) -> bool {
        self.evictions.iter().all(|cost| *cost <= 0)
    }

    /// Whether it may be taken away for a cause that its pods have to agree to.
    pub fn may_go(&self) -> bool {
        self.refused.is_empty() && self.refused_by_pods.is_empty()
    }

    /// Whether it may be taken away because it is out of date: pods do not stand in the way of what states how long they
    /// have.
    pub fn may_drift(&self) -> bool {
        self.refused.is_empty() && (self.has_term() || self.refused_by_pods.is_empty())
    }

    /// Whether its claim states how long its pods have once it goes.
    pub fn has_term(&self) -> bool {
        self.claim.is_some_and(|claim| claim.spec.termination_grace_period.is_some())
    }

    /// Whether it may be taken away to save money.
    pub fn may_save(&self) -> bool {
        self.may_go() && self.refused_saving.is_empty()
    }

    /// Every reason why it may not be taken away to save money.
    pub fn refusals(&self) -> impl Iterator<Item = &Refusal> {
        self.refused.iter().chain(&self.refused_by_pods).chain(&self.refused_saving)
    }

    /// What taking it away costs, in parts of [`super::UNIT`]; see [`node_disruption`].
    pub fn disruption(&self) -> i64 {
        node_disruption(self.evictions.iter().copied(), self.lifetime_left)
    }

    /// The same as the policy `Balanced` counts it.
    pub fn balanced_disruption(&self) -> i64 {
        balanced_disruption(self.evictions.iter().copied())
    }

    /// What its `NodePool` lets go to save money.
    pub fn policy(&self) -> ConsolidationPolicy {
        self.pool.map(|pool| pool.spec.disruption.consolidation_policy).unwrap_or_default()
    }
}

/// The standing of every node, in the order of their names.
pub fn standings<'s>(snapshot: &'s Snapshot, moment: &Moment) -> Vec<Standing<'s>> {
    let bound = bound_by_node(snapshot);
    let shields = Shields::of(snapshot);
    let priorities = Priorities::of(snapshot);
    let mut by_node = HashMap::<&str, &NodeClaim>::new();
    for claim in snapshot.node_claims() {
        for key in [claim.status.node_name.as_str(), claim.status.provider_id.as_str()] {
            if !key.is_empty() {
                by_node.insert(key, claim);
            }
        }
    }
    let pools: HashMap<&str, &NodePool> =
        snapshot.node_pools.iter().map(|pool| (pool.metadata.name.as_str(), pool)).collect();
    let unread: HashMap<&str, &str> = snapshot
        .invalid
        .iter()
        .filter_map(|error| Some((error.node.as_deref()?, error.object.as_deref().unwrap_or("a pod"))))
        .collect();
    let mut nodes: Vec<&Node> = snapshot.nodes().collect();
    nodes.sort_by_key(|node| &node.metadata.name);
    let standing = |node: &'s Node| {
        let name = node.metadata.name.as_str();
        let claim = by_node.get(name).or_else(|| by_node.get(node.spec.provider_id.as_str())).copied();
        let all = bound.get(name).map_or(&[][..], Vec::as_slice);
        let pods: Vec<&Pod> = all.iter().copied().filter(|pod| moves(pod)).collect();
        let evictions = pods.iter().map(|pod| eviction_cost(pod, priorities.get(pod))).collect();
        let pool = claim.and_then(|claim| claim.metadata.labels.get(well_known::NODE_POOL));
        let pool = pool.or_else(|| node.metadata.labels.get(well_known::NODE_POOL));
        let mut standing = Standing {
            node,
            claim,
            pool: pool.and_then(|name| pools.get(name.as_str())).copied(),
            evictions,
            restlessness: pods.iter().map(|pod| restlessness(pod, moment.now)).collect(),
            lifetime_left: claim.zip(moment.now).map_or(1000, |(claim, now)| lifetime_left(claim, now)),
            quiet: claim
                .and_then(last_moved)
                .zip(moment.now)
                .map_or(u64::MAX, |(last, now)| now.seconds_since(last)),
            refused: of_node(node, claim, moment),
            refused_by_pods: of_pods(all, &shields, moment.now),
            refused_saving: Vec::new(),
            pods,
        };
        if let Some(pod) = unread.get(name).filter(|_| claim.is_some()) {
            standing.refused.push(Refusal::PodUnread((*pod).to_owned()));
        }
        // A pod for which others were sent off is on its way.
        let awaited = all.iter().any(|pod| !pod.is_bound());
        if awaited && claim.is_some() && !standing.refused.contains(&Refusal::Nominated) {
            standing.refused.push(Refusal::Nominated);
        }
        if let (Some(name), None) = (pool, standing.pool)
            && claim.is_some()
        {
            standing.refused.push(Refusal::NoPool(name.clone()));
        }
        if standing.claim.is_some() {
            standing.refused_saving = of_saving(&standing, moment.now);
        }
        standing
    };
    nodes.into_iter().map(standing).collect()
}

/// Whether a pod has to go elsewhere when its node goes. One that is on its way out does not, unless it is of a
/// `StatefulSet`: its successor has its name, and waits for it.
fn moves(pod: &Pod) -> bool {
    let successor = pod.owner.as_deref().is_some_and(|owner| owner.contains("/statefulsets/"));
    pod.is_bound() && (!pod.terminating || successor) && pod.daemon_set.is_none() && !pod.mirror
}

/// Nodes that are being deleted, and who has to leave them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaving {
    /// Nodes, by name: those of `NodeClaims` that are being deleted among them.
    pub nodes: BTreeSet<String>,
    /// Pods that are about to leave, `namespace/name`. One that nobody may evict now is not among them: nobody knows when it
    /// leaves.
    pub pods: BTreeSet<String>,
}

/// Nodes that are being deleted, and who has to leave them.
///
/// compat: karpenter v1.14, `CurrentlyReschedulablePods`.
pub fn leaving(snapshot: &Snapshot, now: Option<Timestamp>) -> Leaving {
    let going = snapshot.node_claims().filter(|claim| claim.metadata.is_terminating());
    let names = going.flat_map(|claim| [claim.status.node_name.as_str(), claim.status.provider_id.as_str()]);
    let names: BTreeSet<&str> = names.filter(|name| !name.is_empty()).collect();
    let leaving: BTreeSet<&str> = snapshot
        .nodes()
        .filter(|node| {
            let known = [node.metadata.name.as_str(), node.spec.provider_id.as_str()];
            known.iter().any(|name| names.contains(name))
                || (node.metadata.is_terminating()
                    && node.metadata.labels.contains_key(well_known::NODE_POOL))
        })
        .map(|node| node.metadata.name.as_str())
        .collect();
    if leaving.is_empty() {
        return Leaving::default();
    }
    let shields = Shields::of(snapshot);
    let leaves = |pod: &&Pod| {
        pod.node.as_deref().is_some_and(|node| leaving.contains(node))
            && moves(pod)
            && protected(pod, now).is_none()
            && shields.guard(pod).is_none()
    };
    Leaving {
        pods: snapshot.pods().filter(leaves).map(Pod::key).collect(),
        nodes: leaving.into_iter().map(str::to_owned).collect(),
    }
}

/// Why a node may not go, whatever the cause.
fn of_node(node: &Node, claim: Option<&NodeClaim>, moment: &Moment) -> Vec<Refusal> {
    let Some(claim) = claim else { return vec![Refusal::NotManaged] };
    let name = node.metadata.name.as_str();
    let holds = |kind: &str| StatusCondition::holds(&claim.status.conditions, kind);
    let labelled = node.metadata.labels.get(well_known::INITIALIZED).is_some_and(|v| v == "true");
    let tainted = node.spec.taints.iter().any(|taint| taint.key == well_known::TAINT_DISRUPTED);
    let marked = |marks: &std::collections::BTreeMap<String, String>| {
        marks.get(well_known::DO_NOT_DISRUPT).is_some_and(|v| v == "true")
    };
    let checks = [
        (!labelled && !holds("Initialized"), Refusal::NotInitialized),
        (node.metadata.is_terminating() || claim.metadata.is_terminating(), Refusal::Deleting),
        (tainted || holds("DisruptionReason") || moment.leaving.contains(name), Refusal::Chosen),
        (moment.nominated.contains(name), Refusal::Nominated),
        (moment.resting.contains(name), Refusal::Resting),
        (marked(&node.metadata.annotations) || marked(&claim.metadata.annotations), Refusal::Protected),
    ];
    checks.into_iter().filter(|(holds, _)| *holds).map(|(_, why)| why).collect()
}

/// Why the pods of a node may not leave it: for each reason the first of them by name.
fn of_pods(pods: &[&Pod], shields: &Shields<'_>, now: Option<Timestamp>) -> Vec<Refusal> {
    let mut pods: Vec<&Pod> = pods.to_vec();
    pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    let mut out = Vec::new();
    for pod in &pods {
        // Those of DaemonSets and kubelet's own count too.
        if let Some(refusal) = protected(pod, now) {
            out.push(refusal);
            break;
        }
    }
    let mut told = BTreeSet::new();
    for pod in pods.iter().filter(|pod| is_evicted(pod)) {
        let refusal = match shields.guard(pod) {
            None => continue,
            Some(Guard::Spent(budget)) => Refusal::BudgetSpent { pod: pod.key(), budget },
            Some(Guard::Always(budget)) => Refusal::BudgetAlways { pod: pod.key(), budget },
            Some(Guard::Several(budgets)) => Refusal::SeveralBudgets { pod: pod.key(), budgets },
        };
        let about = match &refusal {
            Refusal::SeveralBudgets { budgets, .. } => budgets.join(" "),
            Refusal::BudgetSpent { budget, .. } | Refusal::BudgetAlways { budget, .. } => budget.clone(),
            _ => String::new(),
        };
        if told.insert(about) {
            out.push(refusal);
        }
    }
    out
}

/// That a pod must not be disrupted, where it must not: for ever, or for a time from its start. Where nobody knows what time it
/// is, that time is not over.
fn protected(pod: &Pod, now: Option<Timestamp>) -> Option<Refusal> {
    match Mark::of(pod, now)? {
        Mark::Always => Some(Refusal::PodProtected { pod: pod.key(), until: None }),
        Mark::Until(until) => Some(Refusal::PodProtected { pod: pod.key(), until }),
        Mark::Over | Mark::Odd => None,
    }
}

/// What `karpenter.sh/do-not-disrupt` says of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It must not be disrupted.
    Always,
    /// It must not be disrupted until then; `None` where nobody knows when it started.
    Until(Option<Timestamp>),
    /// The time that it was to be left alone is over.
    Over,
    /// It is neither `true` nor a time, and says nothing.
    Odd,
}

impl Mark {
    /// The mark of a pod; `None` where it has none.
    pub fn of(pod: &Pod, now: Option<Timestamp>) -> Option<Self> {
        if pod.do_not_disrupt {
            return Some(Self::Always);
        }
        let Some(seconds) = pod.protected_for else { return pod.odd_mark.then_some(Self::Odd) };
        let until = pod.started.map(|from| from.plus_seconds(seconds.into()));
        let over = until.zip(now).is_some_and(|(until, now)| until <= now);
        Some(if over { Self::Over } else { Self::Until(until) })
    }
}

/// Whether a pod is evicted when its node goes.
fn is_evicted(pod: &Pod) -> bool {
    let tolerant = |t: &Toleration| {
        let named = t.key.is_empty() && t.operator == TolerationOperator::Exists;
        named || t.key == well_known::TAINT_DISRUPTED
    };
    pod.is_bound() && !pod.terminating && !pod.mirror && !pod.spec.tolerations.iter().any(tolerant)
}

/// When a pod has last come to a node or left it, or else when it started up.
fn last_moved(claim: &NodeClaim) -> Option<Timestamp> {
    let initialized = StatusCondition::find(&claim.status.conditions, "Initialized");
    let moments = [
        claim.status.last_pod_event_time.as_ref(),
        initialized.and_then(|condition| condition.last_transition_time.as_ref()),
    ];
    moments.into_iter().flatten().filter_map(|moment| moment.parse::<Timestamp>().ok()).max()
}

/// Why a node may not go to save money.
fn of_saving(standing: &Standing<'_>, now: Option<Timestamp>) -> Vec<Refusal> {
    let mut out = Vec::new();
    let labels = &standing.node.metadata.labels;
    for key in [well_known::INSTANCE_TYPE, well_known::CAPACITY_TYPE, well_known::ZONE] {
        if !labels.contains_key(key) {
            out.push(Refusal::NoLabel(key.to_owned()));
        }
    }
    let Some(pool) = standing.pool else { return out };
    if pool.spec.replicas.is_some() {
        out.push(Refusal::Static);
    }
    match (pool.spec.disruption.quiet_for(), standing.claim) {
        (None, _) => out.push(Refusal::Never),
        (Some(wait), Some(claim)) => {
            let conditions = &claim.status.conditions;
            let stated = StatusCondition::find(conditions, "Consolidatable");
            let last = last_moved(claim);
            let seconds = i64::try_from(wait.as_secs()).unwrap_or(i64::MAX);
            let until = last.map(|last| last.plus_seconds(seconds));
            match (now, until) {
                (Some(now), Some(until)) if now < until => out.push(Refusal::NotQuiet { until: Some(until) }),
                (Some(_), Some(_)) => {}
                // Nothing to reckon with: what the claim says of itself counts.
                _ if stated.is_some_and(|c| c.status == "False") => {
                    out.push(Refusal::NotQuiet { until: None });
                }
                _ => {}
            }
        }
        (Some(_), None) => {}
    }
    if pool.spec.disruption.consolidation_policy == ConsolidationPolicy::WhenEmpty && !standing.is_empty() {
        out.push(Refusal::NotEmpty);
    }
    out
}

#[cfg(test)]
#[path = "candidates_tests.rs"]
mod tests;
