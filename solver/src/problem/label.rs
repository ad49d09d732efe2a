//! What pods ask of the labels and taints of a node.

use serde::{Deserialize, Serialize};

/// How one label is constrained.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Operator {
    /// The label exists and its value is one of these.
    In(Vec<String>),
    /// The label is absent, or its value is none of these.
    NotIn(Vec<String>),
    /// The label exists.
    Exists,
    /// The label does not exist.
    DoesNotExist,
    /// The label is an integer in this inclusive range. Kubernetes' `Gt 4` is `4 + 1 ..= i64::MAX`.
    Within(i64, i64),
}

/// A constraint on one label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What its value must be.
    pub op: Operator,
}

impl Requirement {
    /// Whether a label with this value (`None` is no label) satisfies the requirement.
    pub fn allows(&self, value: Option<&str>) -> bool {
        match (&self.op, value) {
            (Operator::In(values), Some(v)) => values.iter().any(|w| w == v),
            (Operator::NotIn(values), Some(v)) => !values.iter().any(|w| w == v),
            (Operator::Exists, Some(_)) | (Operator::NotIn(_) | Operator::DoesNotExist, None) => true,
            (Operator::Within(low, high), Some(v)) => {
                v.parse::<i64>().is_ok_and(|n| (*low..=*high).contains(&n))
            }
            (Operator::Within(..) | Operator::In(_) | Operator::Exists, None)
            | (Operator::DoesNotExist, Some(_)) => false,
        }
    }
}

/// Requirements that must all hold.
pub type Term = Vec<Requirement>;

/// A constraint of a pod on its node's labels: at least one term must hold. No term at all holds nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeConstraint {
    /// Where it comes from, for explanations: "node selector", "node affinity", "volume pv-1 of claim data-0".
    pub source: String,
    /// Alternatives.
    pub any_of: Vec<Term>,
    /// Whether it comes from a volume. Spread rules that honour a pod's node affinity leave out nodes that its own selector
    /// and affinity exclude, not those that its volumes or preferences do (kube-scheduler's `PodTopologySpread`).
    #[serde(default)]
    pub of_volume: bool,
}

/// What a taint does to pods that do not tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Effect {
    /// Keeps new pods away.
    NoSchedule,
    /// Keeps new pods away where another node will do; never a reason to refuse.
    PreferNoSchedule,
    /// Keeps new pods away and evicts running ones.
    NoExecute,
}

/// A node's taint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Taint {
    /// Key.
    pub key: String,
    /// Value, often empty.
    pub value: String,
    /// Effect.
    pub effect: Effect,
}

/// A pod's toleration of taints.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Toleration {
    /// Key; `None` tolerates every key.
    pub key: Option<String>,
    /// The value to equal; `None` tolerates every value (Kubernetes' operator `Exists`).
    pub value: Option<String>,
    /// Effect; `None` tolerates every effect.
    pub effect: Option<Effect>,
}

impl Toleration {
    /// Whether this toleration covers `taint`.
    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.effect.is_none_or(|e| e == taint.effect)
            && self.key.as_ref().is_none_or(|k| *k == taint.key)
            && self.value.as_ref().is_none_or(|v| *v == taint.value)
    }
}
