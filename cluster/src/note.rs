//! What a reader of the plan should know about how the snapshot was taken: assumptions, what was left out, and rules
//! that planning does not honour.

use std::fmt;

use stowage_api::Dollars;

use crate::snapshot::LeftOut;

/// Something to know about a lowered snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Note {
    /// The snapshot has no `NodePool`, so a default one was used.
    DefaultNodePool,
    /// Pods have preferences, and nobody looks at them.
    PreferencesIgnored {
        /// How many pods.
        count: usize,
        /// One of them.
        example: String,
    },
    /// The catalogue offers instance types at estimated prices.
    EstimatedPrices {
        /// Number of such offerings.
        offerings: usize,
    },
    /// Malformed objects were left out.
    Invalid {
        /// How many.
        count: usize,
    },
    /// Objects of a kind that is not read.
    Ignored {
        /// The kind.
        kind: String,
        /// How many.
        count: usize,
    },
    /// Pods without a node that are none of the planner's business.
    LeftOut {
        /// Why.
        why: LeftOut,
        /// How many.
        count: usize,
        /// One of them.
        example: String,
    },
    /// Pods bound to nodes that are not in the snapshot.
    UnknownNode {
        /// How many.
        count: usize,
        /// One of them.
        example: String,
        /// Its node.
        node: String,
    },
    /// Nodes whose pods ask for more of some resource than there is: nothing more is placed there.
    Overcommitted {
        /// How many.
        count: usize,
        /// One of them.
        example: String,
    },
    /// `NodePools` that launch nothing for pods.
    IdlePool {
        /// Its name.
        name: String,
        /// Whether it is being deleted; otherwise it is static.
        deleting: bool,
    },
    /// Commitments, which nodes that run use first.
    Commitments {
        /// How many commitments.
        count: usize,
        /// Nodes on demand that run or are being launched.
        nodes: usize,
    },
    /// Nodes on demand of other regions, which reserved instances of this one do not cover.
    NodesElsewhere {
        /// How many.
        count: usize,
        /// The region planned for.
        region: String,
    },
    /// Capacity reservations that a node class has selected, and nobody says how many machines of them are free.
    UnknownReservation {
        /// How many.
        count: usize,
        /// One of them.
        example: String,
    },
    /// A `NodeOverlay` that is not applied.
    Overlay {
        /// Which, why, and what to do.
        problem: String,
    },
    /// A fixed cost of nodes, which prices are weighed with.
    NodeCost {
        /// The `NodePool`.
        pool: String,
        /// What a node costs beside its instance.
        dollars: Dollars,
    },
    /// Nodes may only be of some sizes.
    NodeSize {
        /// The `NodePool`.
        pool: String,
        /// The sizes, in words.
        sizes: String,
        /// How many of the catalogue's types are of that size.
        types: usize,
    },
    /// An annotation of our own domain that means nothing.
    UnknownSetting {
        /// The `NodePool`.
        pool: String,
        /// The annotation's key.
        key: String,
    },
    /// A field of an `EC2NodeClass` that cannot be used.
    ClassField {
        /// The class.
        class: String,
        /// The field and what it says: `spec.kubelet.maxPods: "max_pods / 2"`.
        field: String,
    },
    /// Instance types that nodes of an `EC2NodeClass` do not run on.
    UnsuitedTypes {
        /// The class.
        class: String,
        /// How many.
        count: usize,
        /// One of them.
        example: String,
        /// Why not, of that one.
        why: String,
    },
    /// Instance types with the memory that nodes of them were seen to have.
    Learnt {
        /// The `EC2NodeClass`; empty where classes do not differ.
        class: String,
        /// How many types.
        count: usize,
        /// One of them.
        example: String,
        /// What it was taken to have.
        guess: String,
        /// What it has.
        memory: String,
    },
    /// Zones of the catalogue in which an `EC2NodeClass` has no subnet.
    NoSubnets {
        /// The class.
        class: String,
        /// The zones, in words.
        zones: String,
    },
    /// Machines that are being launched.
    InFlight {
        /// How many.
        count: usize,
        /// One of them.
        example: String,
        /// Whether pods may be placed on them; otherwise they count against their `NodePools`' limits only.
        open: bool,
    },
    /// Selectors that cannot tell of some devices whether they suit.
    DeviceSelector {
        /// The device class that is asked for.
        class: String,
        /// Of how many kinds of devices.
        count: usize,
        /// Why, of the first.
        problem: String,
    },
    /// The search for devices of composed claims was cut short.
    DeviceSearch {
        /// On how many nodes and instance types.
        count: usize,
    },
    /// How many of the pending pods may run on Fargate.
    Fargate {
        /// So many.
        eligible: usize,
        /// Of so many.
        pending: usize,
    },
    /// A Fargate profile that takes no pods.
    FargateProfile {
        /// Its name.
        name: String,
        /// Why it takes none.
        why: String,
    },
    /// There is no Fargate profile, so one was assumed that takes every pod.
    AnyFargateProfile,
    /// Pods that may not run on Fargate, by the first reason of each.
    NotOnFargate {
        /// Why not.
        why: String,
        /// How many.
        count: usize,
        /// One of them.
        example: String,
    },
    /// A rule that the snapshot states and planning does not honour.
    NotHonoured {
        /// The rule.
        rule: Rule,
        /// How many objects state it.
        count: usize,
        /// One of them.
        example: String,
    },
}

/// A rule that planning does not honour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// Pods: claims that ask for a part of a device's capacity.
    DeviceShares,
    /// Pods: a runtime class.
    RuntimeClass,
    /// Pods: tolerations that compare numbers.
    NumericTolerations,
    /// `NodePools`: limits on resources that no instance type has.
    UnknownLimit,
    /// `DaemonSets`: claims of devices.
    DaemonSetClaims,
    /// `ResourceSlices` and instance types: devices that take from counters they share, or that wait for conditions.
    PartitionableDevices,
    /// `ResourceSlices` and instance types: devices that several claims may have at once.
    ConsumableCapacity,
    /// `ResourceSlices`: devices that are on no single node.
    SharedDevices,
}

impl Rule {
    /// The rule in words, and what planning does instead.
    pub const fn words(self) -> &'static str {
        match self {
            Self::DeviceShares => "claims of a part of a device's capacity: each takes whole devices",
            Self::DaemonSetClaims => "claims of devices of DaemonSets: planned as if there were none",
            Self::PartitionableDevices => {
                "devices that share counters or wait for conditions (partitionable devices): given to no pod"
            }
            Self::ConsumableCapacity => "devices that several claims may have at once: given to one claim",
            Self::SharedDevices => "devices that are on no single node: given to no pod",
            Self::RuntimeClass => {
                "runtime classes that are not in the snapshot: only the overhead, node selector and tolerations that the \
                 pod itself states"
            }
            Self::NumericTolerations => "tolerations with Lt or Gt: taken to tolerate nothing",
            Self::UnknownLimit => "NodePool limits on a resource that no instance type has",
        }
    }

    /// What states it.
    const fn of(self) -> &'static str {
        match self {
            Self::UnknownLimit => "NodePool",
            Self::DaemonSetClaims => "DaemonSet",
            Self::PartitionableDevices | Self::ConsumableCapacity => "slice",
            Self::SharedDevices => "ResourceSlice",
            _ => "pod",
        }
    }
}

/// Pods that are left out, in words.
const fn who(why: LeftOut) -> &'static str {
    match why {
        LeftOut::NotPending => "without a node and not pending",
        LeftOut::Terminating => "being deleted",
        LeftOut::DaemonSet => "of DaemonSets, which bind their own",
        LeftOut::Gated => "held back by scheduling gates",
        LeftOut::Mirror => "of nodes, whose kubelets run them",
        LeftOut::OtherScheduler => "of other schedulers",
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DefaultNodePool => f.write_str(
                "no NodePool in the snapshot: a default one is used (on-demand and spot, linux, amd64 and arm64, \
                 categories c, m, r, generation above 2)",
            ),
            Self::PreferencesIgnored { count, example } => {
                write!(f, "preferences of {} are ignored, as asked for ({example})", Counted(*count, "pod"))
            }
            Self::EstimatedPrices { offerings } => {
                write!(f, "estimated prices: those of {offerings} offerings that may be used")
            }
            Self::Invalid { count } => write!(f, "left out: {}, malformed", Counted(*count, "object")),
            Self::Ignored { kind, count } => write!(f, "not read: {count} {kind}"),
            Self::LeftOut { why, count, example } => {
                write!(f, "left out: {} {} ({example})", Counted(*count, "pod"), who(*why))
            }
            Self::UnknownNode { count, example, node } => {
                let pods = Counted(*count, "pod");
                write!(f, "left out: {pods} on nodes that are not in the snapshot ({example} on {node})")
            }
            Self::Overcommitted { count, example } => {
                let nodes = Counted(*count, "node");
                write!(f, "nothing more is placed on {nodes} whose pods ask for more than there is ({example})")
            }
            Self::IdlePool { name, deleting } => {
                let why = if *deleting { "being deleted" } else { "static (it has replicas)" };
                write!(f, "NodePool {name} launches nothing for pods: it is {why}")
            }
            Self::Commitments { count, nodes } => commitments(f, *count, *nodes),
            Self::NodesElsewhere { count, region } => {
                let nodes = Counted(*count, "node");
                write!(f, "{nodes} on demand in other regions than {region}: taken to use no commitment")
            }
            Self::UnknownReservation { count, example } => unknown_reservations(f, *count, example),
            Self::Overlay { problem } => write!(f, "not applied: {problem}"),
            Self::NodeCost { pool, dollars } => {
                write!(f, "a node of NodePool {pool} costs ${dollars} an hour beside its instance")
            }
            Self::NodeSize { pool, sizes, types } => {
                let types = Counted(*types, "instance type");
                write!(f, "nodes of NodePool {pool} have {sizes}: {types} of that size in the catalogue")
            }
            Self::UnknownSetting { pool, key } => write!(
                f,
                "annotation {key} of NodePool {pool} means nothing: there are node-cost, min-node-cpu, max-node-cpu, \
                 min-node-memory and max-node-memory"
            ),
            Self::ClassField { class, field } => {
                write!(f, "EC2NodeClass {class} is planned with the default, as this cannot be used: {field}")
            }
            Self::UnsuitedTypes { class, count, example, why } => {
                let types = Counted(*count, "instance type");
                write!(f, "nodes of EC2NodeClass {class} are none of {types} ({example}: {why})")
            }
            Self::Learnt { class, count, example, guess, memory } => {
                let types = Counted(*count, "instance type");
                let of = if class.is_empty() { String::new() } else { format!(" of EC2NodeClass {class}") };
                write!(f, "memory of {types}{of} is that of nodes seen ({example}: {memory}, not {guess})")
            }
            Self::NoSubnets { class, zones } => {
                write!(f, "EC2NodeClass {class} has no subnet in {zones}: its nodes are not launched there")
            }
            Self::InFlight { count, example, open } => {
                let claims = Counted(*count, "NodeClaim");
                let use_ = if *open { "pods may be placed on them" } else { "they count against limits only" };
                write!(f, "being launched: {claims} without a Node ({example}); {use_}")
            }
            Self::DeviceSelector { class, count, problem } => {
                let kinds = Counted(*count, "kind");
                write!(
                    f,
                    "requests for device class {class} cannot tell of {kinds} of devices whether they suit, and get none \
                     on nodes that have such: {problem}"
                )
            }
            Self::DeviceSearch { count } => {
                let hosts = Counted(*count, "node");
                write!(
                    f,
                    "claims of devices are too complex to be looked through on {hosts} or instance types: fewer pods than \
                     might be are placed there"
                )
            }
            Self::Fargate { eligible, pending } => {
                write!(f, "{eligible} of {} may run on Fargate", Counted(*pending, "pending pod"))
            }
            Self::FargateProfile { name, why } => write!(f, "left out: Fargate profile {name}, as {why}"),
            Self::AnyFargateProfile => f.write_str(
                "no Fargate profile in the snapshot: planned as if one took the pods of every namespace, in unknown zones",
            ),
            Self::NotOnFargate { why, count, example } => {
                write!(f, "not on Fargate: {} ({example}): {why}", Counted(*count, "pod"))
            }
            Self::NotHonoured { rule, count, example } => {
                write!(f, "not honoured: {} ({}, {example})", rule.words(), Counted(*count, rule.of()))
            }
        }
    }
}

fn commitments(f: &mut fmt::Formatter<'_>, count: usize, nodes: usize) -> fmt::Result {
    let commitments = Counted(count, "commitment");
    if nodes == 0 {
        return write!(f, "{commitments}: no node on demand runs yet that uses them");
    }
    let nodes = Counted(nodes, "node");
    write!(f, "{commitments}: used by the {nodes} on demand that run before new ones use them")
}

fn unknown_reservations(f: &mut fmt::Formatter<'_>, count: usize, example: &str) -> fmt::Result {
    let reservations = Counted(count, "capacity reservation");
    write!(
        f,
        "left out: {reservations} of EC2NodeClasses, as the catalogue does not say how many machines are free ({example}): \
         `stowage catalog import --reservations` makes one that does"
    )
}

/// A number of things.
struct Counted(usize, &'static str);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = match self.0 {
            1 => "",
            _ if self.1.ends_with("Class") => "es",
            _ => "s",
        };
        write!(f, "{} {}{plural}", self.0, self.1)
    }
}
