//! Pods: what they need, and what they ask of each other.

use serde::{Deserialize, Serialize};

use super::{LabelSetId, Labels, NodeConstraint, Resources, SpecId, Term, Toleration};
use crate::money::Price;

/// Network protocol of a host port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A port taken on the node itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HostPort {
    /// Address; `None` is every address, and clashes with all.
    pub ip: Option<String>,
    /// Protocol.
    pub protocol: Protocol,
    /// Port number.
    pub port: u16,
}

impl HostPort {
    /// Whether the two cannot be on one node.
    pub fn clashes(&self, other: &Self) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip.is_none() || other.ip.is_none() || self.ip == other.ip)
    }
}

/// What spread and affinity rules count over.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TopologyKey {
    /// One domain a node.
    Host,
    /// One domain for each value of this node label.
    Label(String),
}

/// Selects pods by namespace and labels. No requirement selects every pod of the namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PodSelector {
    /// Namespaces, sorted, already resolved from any namespace selector.
    pub namespaces: Vec<String>,
    /// Requirements on the pod's labels, all of which hold; `None` selects nothing.
    pub labels: Option<Term>,
}

impl PodSelector {
    /// Whether a pod of this namespace with these labels is selected.
    pub fn selects(&self, namespace: &str, labels: &Labels) -> bool {
        self.namespaces.iter().any(|n| n == namespace)
            && self
                .labels
                .as_ref()
                .is_some_and(|term| term.iter().all(|r| r.allows(labels.get(&r.key).map(String::as_str))))
    }
}

/// A hard topology spread constraint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Spread {
    /// What the domains are.
    pub key: TopologyKey,
    /// How many more matching pods than the least full domain a domain may have; at least 1.
    pub max_skew: u32,
    /// With fewer eligible domains than this, the least full one counts as empty; 1 when unset.
    pub min_domains: u32,
    /// Which pods count.
    pub selector: PodSelector,
    /// Whether domains that the pod's own node constraints exclude do not count (`nodeAffinityPolicy: Honor`).
    pub honor_node_affinity: bool,
    /// Whether nodes whose taints the pod does not tolerate do not count (`nodeTaintsPolicy: Honor`).
    pub honor_taints: bool,
    /// Whether it is only wished for. A node that lacks the label of a required rule counts for none of the pod's rules; one
    /// that lacks the label of a wish does.
    #[serde(default)]
    pub wished: bool,
}

/// A required pod affinity or anti-affinity term.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PodTerm {
    /// What the domains are.
    pub key: TopologyKey,
    /// The pods to be near to, or away from.
    pub selector: PodSelector,
}

/// Something a pod would like, and runs without where it cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Preference {
    /// Nodes with certain labels. Several are alternatives: the first counts, and those after it as far as nodes can have
    /// them too.
    Node(NodeConstraint),
    /// Nodes without certain labels, which stand for taints that only ask to keep away.
    Untainted(NodeConstraint),
    /// To be near other pods.
    Near(PodTerm),
    /// To be away from other pods.
    Away(PodTerm),
    /// To be spread evenly.
    Spread(Spread),
}

/// A way to run a pod beside all nodes, on a machine that holds it alone, at a price: what Fargate sells. As many pods as
/// like may take it, and where it is nobody knows: so it is closed to pods that a rule over domains concerns, their own or
/// that of others (see [`crate::solve`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Route {
    /// What an hour costs.
    pub price: Price,
    /// What machine it is: an index into a list of whoever made the problem.
    pub shape: u32,
}

/// Everything about a pod that decides where it may run, shared by all pods that have it in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PodSpec {
    /// Namespace, for selectors.
    pub namespace: String,
    /// Requests, including one unit of the resource `pods` and the attach slots of its volumes.
    pub requests: Resources,
    /// Constraints on the node's labels; every one must hold.
    pub node: Vec<NodeConstraint>,
    /// Tolerations.
    pub tolerations: Vec<Toleration>,
    /// Ports on the node.
    pub host_ports: Vec<HostPort>,
    /// Hard spread constraints.
    pub spread: Vec<Spread>,
    /// Required pod affinity.
    pub affinity: Vec<PodTerm>,
    /// Required pod anti-affinity.
    pub anti_affinity: Vec<PodTerm>,
    /// What else it would like, in the order in which it is given up: see [`Preference`].
    #[serde(default)]
    pub preferences: Vec<Preference>,
    /// Names of volume claims shared between pods that do not exist as a volume yet, as `namespace/name`: all users must
    /// share one value of the label `zone_key` of the problem.
    pub unbound_claims: Vec<String>,
    /// Scheduling priority: higher first where there is not enough for all.
    pub priority: i32,
    /// Why the pod can run nowhere, whatever the nodes ("claim data-0 does not exist").
    pub blocked: Option<String>,
    /// The machine of its own that it may run on instead of a node.
    #[serde(default)]
    pub route: Option<Route>,
}

/// A pending pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// `namespace/name`, unique.
    pub name: String,
    /// What decides where it may run.
    pub spec: SpecId,
    /// Its labels.
    pub labels: LabelSetId,
}

/// A pod that has a node already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningPod {
    /// `namespace/name`, unique.
    pub name: String,
    /// Its rules.
    pub spec: SpecId,
    /// Its labels.
    pub labels: LabelSetId,
    /// Whether it is being deleted: spread rules do not count it, but its room is still taken.
    pub terminating: bool,
    /// How many pods alike it stands for: one, but where a part of a cluster is looked at and the rest from afar.
    #[serde(default = "one")]
    pub count: u32,
}

fn one() -> u32 {
    1
}
