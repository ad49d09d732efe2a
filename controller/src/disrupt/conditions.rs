//! What a NodeClaim is marked with: that it is out of date (`Drifted`, with why), and that nothing has moved on its node for
//! so long that it may go to save money (`Consolidatable`).
//!
//! Pure, and without a memory: what ceases to hold is taken away again.
//!
//! compat: karpenter v1.14, `pkg/controllers/nodeclaim/disruption`; the provider's `IsDrifted`.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use stowage_api::crd::condition::{self, CONSOLIDATABLE, DRIFTED, INITIALIZED, LAUNCHED, TRUE};
use stowage_api::crd::{self, Condition};
use stowage_api::well_known::{CAPACITY_TYPE, INSTANCE_TYPE, NODE_POOL_HASH, RESERVED, ZONE, stable};
use stowage_api::{
    Ec2NodeClass, NodeClaim, NodePool, ObjectMeta, PlacementGroupSelector, Requirement, StatusCondition,
};
use stowage_aws::Machine;
use stowage_pricing::Catalog;

use crate::claim::HASH_VERSION;
use crate::node_class::hash;
use crate::time::{later, moment};

/// A catalogue that has just lost a type may have it again: only machines of this age are held against it.
const SETTLED: Duration = Duration::from_hours(1);

/// What a claim is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Its `NodePool`.
    pub pool: &'a NodePool,
    /// The `EC2NodeClass` that it was launched by; `None` where it is not there.
    pub class: Option<&'a Ec2NodeClass>,
    /// What can be bought.
    pub catalog: &'a Catalog,
    /// Its machine, as EC2 said last; `None` where EC2 has not said.
    pub machine: Option<&'a Machine>,
}

/// How a claim is out of date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drift {
    /// The `NodePool`'s template is another.
    Pool,
    /// Its labels are not what the `NodePool` requires.
    Requirements,
    /// Its instance type is not sold any more.
    InstanceType,
    /// The class is another.
    Class,
    /// Its image is not one of the class.
    Image,
    /// Its security groups are not those of the class.
    SecurityGroups,
    /// Its subnet is not one of the class.
    Subnet,
    /// Its capacity reservation is not one of the class.
    Reservation,
    /// It does not run in the placement group of the class.
    PlacementGroup,
}

impl Drift {
    const ALL: [Self; 9] = [
        Self::Pool,
        Self::Requirements,
        Self::InstanceType,
        Self::Class,
        Self::Image,
        Self::SecurityGroups,
        Self::Subnet,
        Self::Reservation,
        Self::PlacementGroup,
    ];

    /// Reason of the condition.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Pool => "NodePoolDrifted",
            Self::Requirements => "RequirementsDrifted",
            Self::InstanceType => "InstanceTypeNotFound",
            Self::Class => "NodeClassDrift",
            Self::Image => "AMIDrift",
            Self::SecurityGroups => "SecurityGroupDrift",
            Self::Subnet => "SubnetDrift",
            Self::Reservation => "CapacityReservationDrift",
            Self::PlacementGroup => "PlacementGroupDrift",
        }
    }

    /// Whether only EC2 can tell.
    const fn is_of_machine(self) -> bool {
        matches!(self, Self::SecurityGroups | Self::Subnet | Self::Reservation | Self::PlacementGroup)
    }
}

/// What a claim is to be marked with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// That it is out of date, and how.
    pub drifted: Option<Drift>,
    /// That it may go to save money.
    pub consolidatable: bool,
    /// When that may change without anything else having changed.
    pub due: Option<Timestamp>,
}

/// What a claim is to be marked with at `now`.
pub fn marks(claim: &NodeClaim, facts: &Facts<'_>, now: Timestamp) -> Marks {
    let launched = StatusCondition::holds(&claim.status.conditions, LAUNCHED);
    let (consolidatable, due) = quiet(claim, facts.pool, now);
    Marks { drifted: if launched { drifted(claim, facts, now) } else { None }, consolidatable, due }
}

/// Whether nothing has moved for long enough, and if not, from when on that will be so.
fn quiet(claim: &NodeClaim, pool: &NodePool, now: Timestamp) -> (bool, Option<Timestamp>) {
    let conditions = &claim.status.conditions;
    let initialized = StatusCondition::find(conditions, INITIALIZED).filter(|c| c.status == TRUE);
    let (Some(wait), Some(initialized)) = (pool.spec.disruption.quiet_for(), initialized) else {
        return (false, None);
    };
    let moved = moment(claim.status.last_pod_event_time.as_ref());
    let since = moved.or_else(|| moment(initialized.last_transition_time.as_ref())).unwrap_or(now);
    let from = later(since, wait);
    if now >= from { (true, None) } else { (false, Some(from)) }
}

fn drifted(claim: &NodeClaim, facts: &Facts<'_>, now: Timestamp) -> Option<Drift> {
    let Facts { pool, class, catalog, machine } = *facts;
    if is_of_another(&claim.metadata, &pool.metadata, NODE_POOL_HASH, HASH_VERSION) {
        return Some(Drift::Pool);
    }
    let label = |key: &str| claim.metadata.labels.get(stable(key)).map(String::as_str);
    if !pool.spec.template.spec.requirements.iter().all(|r| r.allows(label(&r.key))) {
        return Some(Drift::Requirements);
    }
    let made = moment(claim.metadata.creation_timestamp.as_ref()).unwrap_or(now);
    if now >= later(made, SETTLED) && !is_sold(claim, catalog) {
        return Some(Drift::InstanceType);
    }
    let class = class?;
    if is_of_another(&claim.metadata, &class.metadata, hash::HASH, hash::HASH_VERSION) {
        return Some(Drift::Class);
    }
    let image = claim.status.image_id.as_str();
    let suits = |all: &[Requirement]| all.iter().all(|r| r.allows(label(&r.key)));
    let mut images = class.status.amis.iter().filter(|ami| suits(&ami.requirements)).peekable();
    // Where nothing is known that suits it, there is nothing better to be had either.
    if !image.is_empty() && images.peek().is_some() && images.all(|ami| ami.id != image) {
        return Some(Drift::Image);
    }
    match machine {
        Some(machine) => of_machine(machine, class),
        // Until EC2 says otherwise, what was found holds.
        None => StatusCondition::find(&claim.status.conditions, DRIFTED)
            .filter(|said| said.status == TRUE)
            .and_then(|said| Drift::ALL.into_iter().find(|drift| drift.reason() == said.reason))
            .filter(|drift| drift.is_of_machine()),
    }
}

/// Whether an object was made from an older state of another, as their hashes say. Those of different versions say nothing.
fn is_of_another(made: &ObjectMeta, from: &ObjectMeta, hash: &str, version: &str) -> bool {
    let pair = |key: &str| made.annotations.get(key).zip(from.annotations.get(key));
    let same_version = pair(version).is_some_and(|(of, now)| of == now);
    same_version && pair(hash).is_some_and(|(of, now)| of != now)
}

/// Whether somebody who wanted the same machine could still ask for it. Whether it can be had now is of no matter.
fn is_sold(claim: &NodeClaim, catalog: &Catalog) -> bool {
    let label = |key: &str| claim.metadata.labels.get(key).map(String::as_str);
    let Some(name) = label(INSTANCE_TYPE) else { return true };
    let Some(of) = catalog.find(name) else { return false };
    // Reservations come and go with the class that selects them.
    label(CAPACITY_TYPE) == Some(RESERVED)
        || of.offerings.iter().any(|offering| {
            Some(offering.zone()) == label(ZONE) && Some(offering.capacity_type()) == label(CAPACITY_TYPE)
        })
}

fn of_machine(machine: &Machine, class: &Ec2NodeClass) -> Option<Drift> {
    let status = &class.status;
    let has: BTreeSet<&str> = machine.groups.iter().map(String::as_str).collect();
    let wanted: BTreeSet<&str> = status.security_groups.iter().map(|group| group.id.as_str()).collect();
    if !has.is_empty() && !wanted.is_empty() && has != wanted {
        return Some(Drift::SecurityGroups);
    }
    let subnet = machine.subnet.as_str();
    if !subnet.is_empty() && !status.subnets.is_empty() && status.subnets.iter().all(|of| of.id != subnet) {
        return Some(Drift::Subnet);
    }
    let reserved = machine.reservation.as_ref();
    if reserved.is_some_and(|id| status.capacity_reservations.iter().all(|of| of.id != *id)) {
        return Some(Drift::Reservation);
    }
    let is_in = |wanted: &PlacementGroupSelector| {
        let (id, name) = machine.placement_group.clone().unwrap_or_default();
        wanted.id.as_ref().is_none_or(|of| *of == id) && wanted.name.as_ref().is_none_or(|of| *of == name)
    };
    let as_wanted = match &class.spec.placement_group_selector {
        Some(wanted) => is_in(wanted),
        None => machine.placement_group.is_none(),
    };
    (!as_wanted).then_some(Drift::PlacementGroup)
}

/// Whether the capacity reservation of a machine is gone, and the machine is paid for as any other: its labels are to say so.
///
/// compat: karpenter-provider-aws v1.14, `pkg/controllers/nodeclaim/capacityreservation`.
pub fn has_lost_its_reservation(claim: &NodeClaim, machine: &Machine) -> bool {
    claim.metadata.labels.get(CAPACITY_TYPE).is_some_and(|of| of == RESERVED)
        && machine.reservation.is_none()
        && machine.state == "running"
}

/// The patch of a claim's status by which it is marked so; `None` where it is already. It names the version that it was made
/// from, as others write conditions too.
pub fn patch(claim: &crd::NodeClaim, marks: Marks, now: Timestamp) -> Option<Value> {
    let mut all = claim.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
    let wanted = [
        (DRIFTED, marks.drifted.map(Drift::reason)),
        (CONSOLIDATABLE, marks.consolidatable.then_some(CONSOLIDATABLE)),
    ];
    let mut changed = false;
    for (kind, reason) in wanted {
        changed |= match reason {
            Some(reason) => condition::set(&mut all, held(kind, reason, "", claim.metadata.generation, now)),
            None => remove(&mut all, kind),
        };
    }
    changed.then(|| {
        let version = &claim.metadata.resource_version;
        json!({"metadata": {"resourceVersion": version}, "status": {"conditions": all}})
    })
}

/// Whether a claim is marked otherwise than it should be.
pub fn differs(claim: &NodeClaim, marks: Marks) -> bool {
    let said = |kind: &str| StatusCondition::find(&claim.status.conditions, kind);
    let drift = said(DRIFTED).map(|c| (c.status.as_str(), c.reason.as_str()));
    drift != marks.drifted.map(|drift| (TRUE, drift.reason()))
        || said(CONSOLIDATABLE).map(|c| c.status.as_str()) != marks.consolidatable.then_some(TRUE)
}

/// Whether a claim says that it is out of date.
pub(super) fn is_drifted(claim: &NodeClaim) -> bool {
    StatusCondition::holds(&claim.status.conditions, DRIFTED)
}

/// A condition that holds.
pub(super) fn held(
    kind: &str,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    Condition {
        kind: kind.to_owned(),
        status: TRUE.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        observed_generation: generation,
    }
}

/// Takes a condition away; says whether there was one.
pub(super) fn remove(all: &mut Vec<Condition>, kind: &str) -> bool {
    let before = all.len();
    all.retain(|condition| condition.kind != kind);
    all.len() < before
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stowage_pricing::Settings;

    use super::*;

    const NOW: &str = "2026-07-01T10:00:00Z";

    fn now() -> Timestamp {
        NOW.parse().expect("a moment")
    }

    fn pool() -> Value {
        json!({
            "metadata": {"name": "default", "annotations": {"karpenter.sh/nodepool-hash": "1", "karpenter.sh/nodepool-hash-version": "v3"}},
            "spec": {
                "template": {"spec": {"requirements": [
                    {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]},
                    {"key": "team", "operator": "DoesNotExist"},
                ]}},
                "disruption": {"consolidateAfter": "5m"},
            },
        })
    }

    fn class() -> Value {
        json!({
            "metadata": {"name": "default", "annotations": {(hash::HASH): "7", (hash::HASH_VERSION): hash::VERSION}},
            "spec": {"placementGroupSelector": {"name": "apart"}},
            "status": {
                "amis": [
                    {"id": "ami-arm", "requirements": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64"]}]},
                    {"id": "ami-1", "requirements": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}]},
                ],
                "subnets": [{"id": "subnet-1", "zone": "us-east-1a"}],
                "securityGroups": [{"id": "sg-1"}, {"id": "sg-2"}],
                "capacityReservations": [{"id": "cr-1"}],
            },
        })
    }

    fn claim() -> Value {
        json!({
            "metadata": {
                "name": "default-1", "creationTimestamp": "2026-07-01T06:00:00Z",
                "labels": {
                    "kubernetes.io/arch": "amd64", "node.kubernetes.io/instance-type": "m5.large",
                    "topology.kubernetes.io/zone": "us-east-1a", "karpenter.sh/capacity-type": "on-demand",
                },
                "annotations": {
                    "karpenter.sh/nodepool-hash": "1", "karpenter.sh/nodepool-hash-version": "v3",
                    (hash::HASH): "7", (hash::HASH_VERSION): hash::VERSION,
                },
            },
            "status": {
                "imageID": "ami-1",
                "conditions": [
                    {"type": "Launched", "status": "True"},
                    {"type": "Initialized", "status": "True", "lastTransitionTime": "2026-07-01T09:00:00Z"},
                ],
            },
        })
    }

    fn machine() -> Machine {
        Machine {
            id: "i-1".to_owned(),
            subnet: "subnet-1".to_owned(),
            groups: vec!["sg-2".to_owned(), "sg-1".to_owned()],
            reservation: Some("cr-1".to_owned()),
            placement_group: Some(("pg-1".to_owned(), "apart".to_owned())),
            ..Machine::default()
        }
    }

    #[test]
    fn a_machine_whose_reservation_is_gone_is_on_demand() {
        let of = |capacity_type: &str, reservation: Option<&str>, state: &str| {
            let claim =
                json!({"metadata": {"name": "a", "labels": {"karpenter.sh/capacity-type": capacity_type}}});
            let claim: NodeClaim = serde_json::from_value(claim).expect("a claim");
            let (reservation, state) = (reservation.map(str::to_owned), state.to_owned());
            has_lost_its_reservation(&claim, &Machine { reservation, state, ..Machine::default() })
        };
        assert!(of("reserved", None, "running"));
        assert!(!of("reserved", Some("cr-1"), "running") && !of("spot", None, "running"));
        assert!(!of("reserved", None, "pending"), "it may be told yet");
    }

    fn found(pool: &Value, class: &Value, claim: &Value, machine: Option<&Machine>) -> Marks {
        let catalog = Catalog::embedded("us-east-1", &Settings::default()).expect("embedded");
        let (pool, class): (NodePool, Ec2NodeClass) = (
            serde_json::from_value(pool.clone()).expect("a pool"),
            serde_json::from_value(class.clone()).expect("a class"),
        );
        let claim: NodeClaim = serde_json::from_value(claim.clone()).expect("a claim");
        marks(&claim, &Facts { pool: &pool, class: Some(&class), catalog: &catalog, machine }, now())
    }

    #[test]
    fn what_is_as_it_should_be_has_not_drifted() {
        let of = |machine: Option<&Machine>| found(&pool(), &class(), &claim(), machine).drifted;
        assert_eq!((of(Some(&machine())), of(None)), (None, None));
    }

    #[test]
    fn each_difference_is_found() {
        let with = |what: &str, path: &str, value: Value| {
            let (mut pool, mut class, mut claim) = (pool(), class(), claim());
            let object = match what {
                "pool" => &mut pool,
                "class" => &mut class,
                _ => &mut claim,
            };
            *object.pointer_mut(path).expect(path) = value;
            found(&pool, &class, &claim, Some(&machine())).drifted
        };
        let hash_of_pool = "/metadata/annotations/karpenter.sh~1nodepool-hash";
        let hash_of_class = "/metadata/annotations/karpenter.k8s.aws~1ec2nodeclass-hash";
        let arch = "/spec/template/spec/requirements/0/values/0";
        for (what, path, value, drift) in [
            ("pool", hash_of_pool, json!("2"), Some(Drift::Pool)),
            ("pool", "/metadata/annotations/karpenter.sh~1nodepool-hash-version", json!("v4"), None),
            ("pool", arch, json!("arm64"), Some(Drift::Requirements)),
            (
                "pool",
                "/spec/template/spec/requirements/1/operator",
                json!("Exists"),
                Some(Drift::Requirements),
            ),
            (
                "claim",
                "/metadata/labels/node.kubernetes.io~1instance-type",
                json!("m0.huge"),
                Some(Drift::InstanceType),
            ),
            (
                "claim",
                "/metadata/labels/topology.kubernetes.io~1zone",
                json!("us-east-1z"),
                Some(Drift::InstanceType),
            ),
            ("class", hash_of_class, json!("8"), Some(Drift::Class)),
            ("class", "/status/amis/1/id", json!("ami-2"), Some(Drift::Image)),
            ("class", "/status/amis", json!([]), None),
            ("claim", "/status/imageID", json!("ami-arm"), Some(Drift::Image)),
            ("class", "/status/securityGroups/1/id", json!("sg-3"), Some(Drift::SecurityGroups)),
            ("class", "/status/subnets/0/id", json!("subnet-2"), Some(Drift::Subnet)),
            ("class", "/status/capacityReservations", json!([]), Some(Drift::Reservation)),
            ("class", "/spec", json!({"placementGroupSelector": {"name": "apart"}}), None),
            ("class", "/spec", json!({"placementGroupSelector": {"id": "pg-1"}}), None),
            (
                "class",
                "/spec",
                json!({"placementGroupSelector": {"id": "pg-2"}}),
                Some(Drift::PlacementGroup),
            ),
            ("class", "/spec", json!({}), Some(Drift::PlacementGroup)),
            ("claim", "/status/conditions/0/status", json!("Unknown"), None),
        ] {
            assert_eq!(with(what, path, value.clone()), drift, "{what} {path} {value}");
        }
    }

    #[test]
    fn a_young_machine_is_not_held_against_the_catalogue() {
        let mut young = claim();
        young["metadata"]["labels"]["node.kubernetes.io/instance-type"] = json!("m0.huge");
        young["metadata"]["creationTimestamp"] = json!("2026-07-01T09:01:00Z");
        assert_eq!(found(&pool(), &class(), &young, None).drifted, None);
    }

    #[test]
    fn what_only_ec2_can_tell_holds_until_it_says_otherwise() {
        let mut marked = claim();
        let said = |reason: &str| json!([{"type": "Launched", "status": "True"}, {"type": "Drifted", "status": "True", "reason": reason}]);
        marked["status"]["conditions"] = said("SubnetDrift");
        assert_eq!(found(&pool(), &class(), &marked, None).drifted, Some(Drift::Subnet));
        assert_eq!(found(&pool(), &class(), &marked, Some(&machine())).drifted, None);
        marked["status"]["conditions"] = said("AMIDrift");
        assert_eq!(found(&pool(), &class(), &marked, None).drifted, None);
    }

    #[test]
    fn a_node_is_quiet_so_long_after_the_last_pod_moved() {
        let of = |after: &str, moved: Option<&str>| {
            let (mut pool, mut claim) = (pool(), claim());
            pool["spec"]["disruption"]["consolidateAfter"] = json!(after);
            claim["status"]["lastPodEventTime"] = json!(moved);
            let marks = found(&pool, &class(), &claim, None);
            (marks.consolidatable, marks.due.map(|at| at.to_string()))
        };
        assert_eq!(of("5m", None), (true, None), "since it takes pods");
        assert_eq!(of("2h", None), (false, Some("2026-07-01T11:00:00Z".to_owned())));
        assert_eq!(of("5m", Some("2026-07-01T09:55:00Z")), (true, None));
        assert_eq!(of("5m", Some("2026-07-01T09:55:01Z")), (false, Some("2026-07-01T10:00:01Z".to_owned())));
        assert_eq!(of("Never", None), (false, None));
    }

    #[test]
    fn marks_are_put_on_and_taken_off() {
        let bare: crd::NodeClaim = serde_json::from_value(json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "metadata": {"name": "a", "resourceVersion": "5"},
            "spec": {"requirements": [], "nodeClassRef": {"group": "g", "kind": "k", "name": "n"}},
            "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "", "message": "", "lastTransitionTime": NOW}]},
        }))
        .expect("a claim");
        let both = Marks { drifted: Some(Drift::Image), consolidatable: true, due: None };
        let patched = patch(&bare, both, now()).expect("a patch");
        assert_eq!(patched["metadata"]["resourceVersion"], "5");
        let mut marked = bare.clone();
        marked.status.as_mut().expect("a status").conditions =
            serde_json::from_value(patched["status"]["conditions"].clone()).expect("conditions");
        assert_eq!(patch(&marked, both, now()), None);
        let thin: NodeClaim =
            serde_json::from_value(serde_json::to_value(&marked).expect("json")).expect("a claim");
        assert!(!differs(&thin, both) && differs(&thin, Marks { drifted: Some(Drift::Class), ..both }));
        let cleared = patch(&marked, Marks::default(), now()).expect("a patch");
        assert_eq!(cleared["status"]["conditions"].as_array().map(Vec::len), Some(1));
    }
}
