//! What a NodeClaim needs next, from what is known of it and of the nodes on its machine.
//!
//! Pure, and with no memory: the same facts need the same step, whoever looks.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use stowage_api::crd::condition::{FALSE, INITIALIZED, LAUNCHED, REGISTERED, UNKNOWN};
use stowage_api::well_known::{TAINT_UNREGISTERED, is_starting_taint};
use stowage_api::{NodeClaim, StatusCondition};
use stowage_cluster::object::Node;

use super::FINALIZER;
use crate::time::{later, moment};

/// A machine that is not launched by then is given up.
const LAUNCH: Duration = Duration::from_mins(5);

/// And one whose node has not joined by then.
const REGISTRATION: Duration = Duration::from_mins(15);

/// How long a node that has joined may take to be ready before its taint is taken away all the same: what makes it ready
/// may itself wait for that.
const HOLD: Duration = Duration::from_secs(30);

/// What a claim needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing, until something changes or this moment comes.
    Rest(Option<Timestamp>),
    /// Our finalizer, before a machine is launched for it.
    Finalizer,
    /// A condition that says so.
    Say(Aspect),
    /// The Node of this name is to become its node.
    Register(String),
    /// The Node of this name takes pods.
    Initialize(String),
    /// To be deleted: it took too long.
    GiveUp(Late),
    /// To be deleted: its Node is being deleted.
    Follow,
    /// To be ended, as it was asked to.
    End,
}

/// A condition to set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aspect {
    /// Name.
    pub kind: &'static str,
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// Why, as one word.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
}

/// What took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// The launch.
    Launch,
    /// The node's joining.
    Registration,
}

impl Late {
    /// As metrics call it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Launch => "launch_timeout",
            Self::Registration => "registration_timeout",
        }
    }
}

/// What `claim` needs at `now`, with the Nodes of its machine. `awaited` is whether pods are meant for it.
pub fn next(claim: &NodeClaim, nodes: &[&Node], awaited: bool, now: Timestamp) -> Next {
    let meta = &claim.metadata;
    let finalizer = meta.finalizers.iter().any(|f| f == FINALIZER);
    if meta.is_terminating() {
        return if finalizer { Next::End } else { Next::Rest(None) };
    }
    if !finalizer {
        return Next::Finalizer;
    }
    if nodes.iter().any(|node| node.metadata.is_terminating()) {
        return Next::Follow;
    }
    let conditions = &claim.status.conditions;
    let made = moment(meta.creation_timestamp.as_ref()).unwrap_or(now);
    if !StatusCondition::holds(conditions, LAUNCHED) {
        let late = later(made, LAUNCH);
        return if now >= late { Next::GiveUp(Late::Launch) } else { Next::Rest(Some(late)) };
    }
    if !StatusCondition::holds(conditions, REGISTERED) {
        let said = StatusCondition::find(conditions, REGISTERED);
        let since = said.and_then(|c| moment(c.last_transition_time.as_ref())).unwrap_or(made);
        let late = later(since, REGISTRATION);
        return match nodes {
            // However late: it may have joined while nobody looked.
            [node] => register(node, awaited, now),
            _ if now >= late => Next::GiveUp(Late::Registration),
            [] => say_or(conditions, not_found(), Some(late)),
            _ => say_or(conditions, several(), Some(late)),
        };
    }
    if !StatusCondition::holds(conditions, INITIALIZED) {
        let [node] = nodes else { return Next::Rest(None) };
        return match waits_for(claim, node) {
            Some(aspect) => say_or(conditions, aspect, None),
            None => Next::Initialize(node.metadata.name.clone()),
        };
    }
    Next::Rest(None)
}

/// Pods are nominated to the node just before its taint goes. A try of kube-scheduler that fails clears a nomination, and
/// while a node is not ready every try fails; so the taint stays until it is.
fn register(node: &Node, awaited: bool, now: Timestamp) -> Next {
    let held = node.spec.taints.iter().any(|taint| taint.key == TAINT_UNREGISTERED);
    if awaited && held && not_ready(node).is_some() {
        let joined = moment(node.metadata.creation_timestamp.as_ref()).unwrap_or(now);
        let enough = later(joined, HOLD);
        if now < enough {
            return Next::Rest(Some(enough));
        }
    }
    Next::Register(node.metadata.name.clone())
}

fn not_found() -> Aspect {
    Aspect {
        kind: REGISTERED,
        status: UNKNOWN,
        reason: "NodeNotFound",
        message: "no Node of this machine is there".to_owned(),
    }
}

fn several() -> Aspect {
    Aspect {
        kind: REGISTERED,
        status: FALSE,
        reason: "MultipleNodesFound",
        message: "several Nodes state this machine".to_owned(),
    }
}

/// The condition, where it does not say so already.
fn say_or(conditions: &[StatusCondition], aspect: Aspect, late: Option<Timestamp>) -> Next {
    let said = StatusCondition::find(conditions, aspect.kind);
    let same = said.is_some_and(|c| c.status == aspect.status && c.reason == aspect.reason);
    if same { Next::Rest(late) } else { Next::Say(aspect) }
}

/// Why a node is not ready; `None` where it is.
fn not_ready(node: &Node) -> Option<String> {
    if !node.is_ready() {
        return Some(format!("Node {} is not ready", node.metadata.name));
    }
    // The one that it is to join with goes when it does.
    let passing = |key: &str| is_starting_taint(key) && key != TAINT_UNREGISTERED;
    let taint = node.spec.taints.iter().find(|taint| passing(&taint.key))?;
    Some(format!("Node {} has the taint {}", node.metadata.name, taint.key))
}

/// What the node of a claim still lacks to take pods; `None` where it lacks nothing.
fn waits_for(claim: &NodeClaim, node: &Node) -> Option<Aspect> {
    let waits = |reason, message| Some(Aspect { kind: INITIALIZED, status: UNKNOWN, reason, message });
    if !node.is_ready() {
        return waits("NodeNotReady", format!("Node {} is not ready", node.metadata.name));
    }
    let startup = claim.spec.startup_taints.iter().find(|startup| {
        node.spec.taints.iter().any(|taint| taint.key == startup.key && taint.effect == startup.effect)
    });
    if let Some(taint) = startup {
        return waits("StartupTaintsExist", format!("the startup taint {} is still there", taint.key));
    }
    if let Some(why) = not_ready(node) {
        return waits("KnownEphemeralTaintsExist", why);
    }
    let missing = claim.spec.resources.requests.iter().find(|(name, amount)| {
        !amount.is_zero() && node.status.allocatable.get(name).is_none_or(stowage_api::Quantity::is_zero)
    });
    let (name, _) = missing?;
    waits("ResourceNotRegistered", format!("the node has no {name} yet"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use stowage_api::well_known::{TAINT_NOT_READY, TAINT_UNINITIALIZED};

    use super::*;

    const NOW: &str = "2026-07-01T10:00:00Z";

    fn claim(more: &Value) -> NodeClaim {
        let mut claim = json!({
            "metadata": {
                "name": "default-abcde", "creationTimestamp": NOW, "finalizers": [FINALIZER],
            },
            "spec": {
                "resources": {"requests": {"cpu": "1", "nvidia.com/gpu": "1"}},
                "startupTaints": [{"key": "agent", "effect": "NoSchedule"}],
            },
        });
        merge(&mut claim, more);
        serde_json::from_value(claim).expect("a claim")
    }

    fn with(kinds: &[(&str, &str, &str)]) -> NodeClaim {
        let conditions: Vec<Value> = kinds
            .iter()
            .map(|(kind, status, reason)| {
                json!({"type": kind, "status": status, "reason": reason, "lastTransitionTime": NOW})
            })
            .collect();
        claim(&json!({"status": {"conditions": conditions}}))
    }

    fn node(more: &Value) -> Node {
        let mut node = json!({
            "metadata": {"name": "ip-1", "creationTimestamp": NOW},
            "spec": {"providerID": "aws:///us-east-1a/i-1"},
            "status": {
                "allocatable": {"cpu": "2", "nvidia.com/gpu": "1"},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        });
        merge(&mut node, more);
        serde_json::from_value(node).expect("a node")
    }

    fn merge(into: &mut Value, more: &Value) {
        match (into, more) {
            (Value::Object(into), Value::Object(more)) => {
                for (key, value) in more {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
            (into, more) => *into = more.clone(),
        }
    }

    fn at(seconds: u64) -> Timestamp {
        later(NOW.parse().expect("a moment"), Duration::from_secs(seconds))
    }

    const LAUNCHED_ONLY: [(&str, &str, &str); 1] = [(LAUNCHED, "True", "Launched")];

    #[test]
    fn a_claim_waits_for_its_launch_and_not_for_ever() {
        let claim = claim(&json!({}));
        assert_eq!(next(&claim, &[], true, at(10)), Next::Rest(Some(at(300))));
        assert_eq!(next(&claim, &[], true, at(300)), Next::GiveUp(Late::Launch));
    }

    #[test]
    fn a_claim_of_others_gets_our_finalizer_first() {
        let claim = claim(&json!({"metadata": {"finalizers": []}}));
        assert_eq!(next(&claim, &[], true, at(0)), Next::Finalizer);
    }

    #[test]
    fn a_machine_without_a_node_is_said_once_and_given_up_in_the_end() {
        assert_eq!(next(&with(&LAUNCHED_ONLY), &[], true, at(1)), Next::Say(not_found()));
        let said = with(&[LAUNCHED_ONLY[0], (REGISTERED, "Unknown", "NodeNotFound")]);
        assert_eq!(next(&said, &[], true, at(1)), Next::Rest(Some(at(900))));
        assert_eq!(next(&said, &[], true, at(900)), Next::GiveUp(Late::Registration));
    }

    #[test]
    fn a_node_that_has_joined_while_nobody_looked_is_not_too_late() {
        let said = with(&[LAUNCHED_ONLY[0], (REGISTERED, "Unknown", "NodeNotFound")]);
        assert_eq!(next(&said, &[&node(&json!({}))], true, at(5_000)), Next::Register("ip-1".to_owned()));
    }

    #[test]
    fn two_nodes_of_one_machine_are_none() {
        let node = node(&json!({}));
        assert_eq!(next(&with(&LAUNCHED_ONLY), &[&node, &node], true, at(1)), Next::Say(several()));
    }

    #[test]
    fn a_node_is_held_until_it_is_ready_where_pods_are_meant_for_it() {
        let claim = with(&LAUNCHED_ONLY);
        let held = json!([{"key": TAINT_UNREGISTERED, "effect": "NoExecute"}]);
        let unready = json!({"conditions": [{"type": "Ready", "status": "False"}]});
        let register = Next::Register("ip-1".to_owned());

        let ready = node(&json!({"spec": {"taints": held}}));
        assert_eq!(next(&claim, &[&ready], true, at(1)), register);
        let unready = node(&json!({"spec": {"taints": held}, "status": unready}));
        assert_eq!(next(&claim, &[&unready], true, at(1)), Next::Rest(Some(at(30))));
        assert_eq!(next(&claim, &[&unready], true, at(30)), register, "not for ever");
        assert_eq!(next(&claim, &[&unready], false, at(1)), register, "for whom?");
        let mut tainted = ready;
        tainted.spec.taints.push(
            serde_json::from_value(json!({"key": TAINT_NOT_READY, "effect": "NoSchedule"})).expect("a taint"),
        );
        assert_eq!(next(&claim, &[&tainted], true, at(1)), Next::Rest(Some(at(30))));
    }

    #[test]
    fn a_node_takes_pods_when_it_lacks_nothing() {
        let claim = with(&[LAUNCHED_ONLY[0], (REGISTERED, "True", "Registered")]);
        let reason = |more: Value| match next(&claim, &[&node(&more)], true, at(1)) {
            Next::Say(aspect) => aspect.reason,
            Next::Initialize(_) => "",
            other => panic!("{other:?}"),
        };
        assert_eq!(reason(json!({})), "");
        assert_eq!(
            reason(json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}})),
            "NodeNotReady"
        );
        let taint = |key: &str| json!({"spec": {"taints": [{"key": key, "effect": "NoSchedule"}]}});
        assert_eq!(reason(taint("agent")), "StartupTaintsExist");
        assert_eq!(reason(taint(TAINT_UNINITIALIZED)), "KnownEphemeralTaintsExist");
        assert_eq!(reason(taint("readiness.k8s.io/storage")), "KnownEphemeralTaintsExist");
        assert_eq!(reason(taint("other")), "");
        assert_eq!(
            reason(json!({"status": {"allocatable": {"nvidia.com/gpu": "0"}}})),
            "ResourceNotRegistered"
        );
    }

    #[test]
    fn a_claim_and_its_node_go_together() {
        let all = [LAUNCHED_ONLY[0], (REGISTERED, "True", ""), (INITIALIZED, "True", "")];
        assert_eq!(next(&with(&all), &[&node(&json!({}))], false, at(1)), Next::Rest(None));
        let going = node(&json!({"metadata": {"deletionTimestamp": NOW}}));
        assert_eq!(next(&with(&all), &[&going], false, at(1)), Next::Follow);
        let mut claim = with(&all);
        claim.metadata.deletion_timestamp = Some(NOW.to_owned());
        assert_eq!(next(&claim, &[&going], false, at(1)), Next::End);
        claim.metadata.finalizers.clear();
        assert_eq!(next(&claim, &[&going], false, at(1)), Next::Rest(None));
    }
}
