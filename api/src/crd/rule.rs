//! Rules in the API server's expression language, and patterns, that several kinds share.

use serde_json::{Value, json};

use crate::well_known as names;

/// A label key, with or without a domain.
pub(super) const KEY_PATTERN: &str = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*(\/))?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$";
/// A label value.
pub(super) const VALUE_PATTERN: &str = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$";
/// A duration, or never.
pub(super) const DURATION_OR_NEVER: &str = "^(([0-9]+(s|m|h))+|Never)$";
/// A duration.
pub(super) const DURATION: &str = "^([0-9]+(s|m|h))+$";

/// Rules as a schema holds them: (expression, what is wrong where it is false).
pub(super) fn rules(rules: &[(&str, &str)]) -> Value {
    rules.iter().map(|(rule, message)| json!({"rule": rule, "message": message})).collect()
}

/// Labels of Karpenter's own domain that requirements may name.
const OWN_LABELS: [&str; 2] = [names::CAPACITY_TYPE, names::NODE_POOL];

/// Labels that the provider defines for instances of any capacity, and that requirements may name.
const INSTANCE_LABELS: [&str; 23] = [
    names::EC2_NODE_CLASS,
    names::INSTANCE_ACCELERATOR_COUNT,
    names::INSTANCE_ACCELERATOR_MANUFACTURER,
    names::INSTANCE_ACCELERATOR_NAME,
    names::INSTANCE_CAPABILITY_FLEX,
    names::INSTANCE_CATEGORY,
    names::INSTANCE_CPU,
    names::INSTANCE_CPU_MANUFACTURER,
    names::INSTANCE_CPU_CLOCK_SPEED,
    names::INSTANCE_EBS_BANDWIDTH,
    names::INSTANCE_ENCRYPTION_IN_TRANSIT,
    names::INSTANCE_FAMILY,
    names::INSTANCE_GENERATION,
    names::INSTANCE_GPU_COUNT,
    names::INSTANCE_GPU_MANUFACTURER,
    names::INSTANCE_GPU_MEMORY,
    names::INSTANCE_GPU_NAME,
    names::INSTANCE_HYPERVISOR,
    names::INSTANCE_LOCAL_NVME,
    names::INSTANCE_MEMORY,
    names::INSTANCE_NETWORK_BANDWIDTH,
    names::INSTANCE_SIZE,
    names::NITRO_SANDBOX,
];

/// Labels that depend on what an account has: overlays cannot name them.
const ACCOUNT_LABELS: [&str; 6] = [
    names::CAPACITY_RESERVATION_ID,
    names::CAPACITY_RESERVATION_INTERRUPTIBLE,
    names::CAPACITY_RESERVATION_TYPE,
    names::INSTANCE_TENANCY,
    names::PLACEMENT_GROUP_ID,
    names::PLACEMENT_GROUP_PARTITION,
];

/// Who names a label.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Namer {
    /// A NodePool, which is not free to say which NodePool its nodes are of.
    Pool,
    /// A NodeClaim.
    Claim,
    /// A NodeOverlay.
    Overlay,
}

/// Rules of the key of one requirement.
pub(super) fn key(namer: Namer) -> Value {
    label_rules(namer, "self", str::to_owned)
}

/// Rules of a map of labels.
pub(super) fn labels() -> Value {
    label_rules(Namer::Pool, "x", |test| format!("self.all(x, {test})"))
}

/// `label` is what the expressions call one label, and `whole` makes them speak of all.
fn label_rules(namer: Namer, label: &str, whole: impl Fn(&str) -> String) -> Value {
    let domain = |domain: &str, known: &[&str]| {
        let known = known.iter().map(|k| format!("'{k}'")).collect::<Vec<_>>().join(", ");
        (
            whole(&format!("{label} in [{known}] || !{label}.find('^([^/]+)').endsWith('{domain}')")),
            format!("labels of the domain {domain} other than the documented ones are restricted"),
        )
    };
    let never = |key: &str| (whole(&format!("{label} != '{key}'")), format!("the label {key} is restricted"));
    let account: &[&str] = if namer == Namer::Overlay { &[] } else { &ACCOUNT_LABELS };
    let mut all = vec![
        domain("karpenter.sh", &OWN_LABELS),
        domain("karpenter.k8s.aws", &[&INSTANCE_LABELS, account].concat()),
        never(names::HOSTNAME),
    ];
    if namer == Namer::Pool {
        all.push(never(names::NODE_POOL));
    }
    rules(&all.iter().map(|(rule, message)| (rule.as_str(), message.as_str())).collect::<Vec<_>>())
}

/// `In` without values matches nothing.
pub(super) const IN_NEEDS_VALUES: (&str, &str) = (
    "self.all(x, x.operator != 'In' || (has(x.values) && x.values.size() != 0))",
    "operator In needs at least one value",
);
/// `NotIn` without values says nothing.
pub(super) const NOT_IN_NEEDS_VALUES: (&str, &str) = (
    "self.all(x, x.operator != 'NotIn' || (has(x.values) && x.values.size() != 0))",
    "operator NotIn needs at least one value",
);
/// `Exists` and `DoesNotExist` compare with nothing.
pub(super) const EXISTS_NEEDS_NONE: (&str, &str) = (
    "self.all(x, !(x.operator in ['Exists', 'DoesNotExist']) || !has(x.values) || x.values.size() == 0)",
    "operators Exists and DoesNotExist take no values",
);
/// Numbers are compared with one number.
pub(super) const ONE_NUMBER: (&str, &str) = (
    "self.all(x, !(x.operator in ['Gt', 'Lt', 'Gte', 'Lte']) || (has(x.values) && x.values.size() == 1 && \
     x.values[0].matches('^[0-9]+$') && int(x.values[0]) >= 0))",
    "operators Gt, Lt, Gte and Lte need exactly one value, a whole number of at least 0",
);
/// There cannot be more different values than are allowed.
pub(super) const ENOUGH_VALUES: (&str, &str) = (
    "self.all(x, x.operator != 'In' || !has(x.minValues) || (has(x.values) && x.values.size() >= x.minValues))",
    "minValues with operator In needs at least that many values",
);
