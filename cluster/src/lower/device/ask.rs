//! What each pod has to be given: its claims found, and of those that it shares who takes the devices.
//!
//! Kubernetes' source of truth: `DynamicResources` of kube-scheduler, and the resource claim controller.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use stowage_solver::NodeConstraint;

use crate::lower::notes::Notes;
use crate::lower::volume;
use crate::note::Rule;
use crate::object::{ResourceClaim, ResourceClaimSpec, ResourceClaimTemplate};
use crate::snapshot::{Pod, Snapshot, namespace_of};

/// How many pods may use a claim at once: `ResourceClaimReservedForMaxSize` of `resource.k8s.io/v1`.
const MOST_USERS: usize = 256;

/// What the claims of a pod come to, but for the devices.
#[derive(Debug)]
pub(super) struct PodAsk<'s> {
    pub(super) pod: &'s Pod,
    /// Claims that have to be given devices when the pod gets its node.
    pub(super) carried: Vec<&'s ResourceClaimSpec>,
    /// Shared ones of them, by name.
    pub(super) leads: Vec<&'s str>,
    /// Claims that another pod carries, by name.
    pub(super) follows: Vec<&'s str>,
    /// Where claims have their devices.
    pub(super) node: Vec<NodeConstraint>,
    /// Why it can run nowhere.
    pub(super) blocked: Option<String>,
}

/// By namespace and name of a claim without devices: its pods, those first that have a chance and a node in view.
type Users<'s> = BTreeMap<(&'s str, &'s str), Vec<(bool, bool, &'s str)>>;

/// The claims of pending pods.
pub(super) fn of_pods<'s>(snapshot: &'s Snapshot, pending: &[&'s Pod]) -> Vec<PodAsk<'s>> {
    let pods: Vec<&'s Pod> = pending.iter().copied().filter(|p| !p.spec.resource_claims.is_empty()).collect();
    if pods.is_empty() {
        return Vec::new();
    }
    let world = World {
        claims: snapshot
            .resource_claims
            .iter()
            .map(|c| ((namespace_of(&c.metadata), c.metadata.name.as_str()), c))
            .collect(),
        templates: snapshot
            .resource_claim_templates
            .iter()
            .map(|t| ((namespace_of(&t.metadata), t.metadata.name.as_str()), t))
            .collect(),
    };
    let found: Vec<Vec<Found<'s>>> = pods.iter().map(|pod| world.claims_of(pod)).collect();
    let mut users = Users::new();
    for (pod, found) in pods.iter().zip(&found) {
        let hopeless = found.iter().any(|f| matches!(f, Found::Missing(_)));
        let mine: BTreeSet<&str> =
            found.iter().filter_map(Found::waiting).map(|c| c.metadata.name.as_str()).collect();
        for claim in mine {
            users.entry((&pod.namespace, claim)).or_default().push((
                hopeless,
                pod.nominated.is_none(),
                &pod.name,
            ));
        }
    }
    // The first by name leads, of those that have a chance; one that is nominated to a node before others.
    for users in users.values_mut() {
        users.sort_unstable();
    }
    let asks = pods.into_iter().zip(found);
    asks.map(|(pod, found)| one(pod, found, &users)).collect()
}

/// Says of `DaemonSets` whose pods have claims that these are not looked at.
pub(super) fn of_daemon_sets(snapshot: &Snapshot, notes: &mut Notes) {
    for daemon in &snapshot.daemon_sets {
        if !daemon.spec.template.spec.resource_claims.is_empty() {
            notes.not_honoured(Rule::DaemonSetClaims, || crate::lower::world::key(&daemon.metadata));
        }
    }
}

struct World<'s> {
    claims: HashMap<(&'s str, &'s str), &'s ResourceClaim>,
    templates: HashMap<(&'s str, &'s str), &'s ResourceClaimTemplate>,
}

/// A claim of a pod.
enum Found<'s> {
    Claim(&'s ResourceClaim),
    /// To be made from a template.
    ToBeMade(&'s ResourceClaimSpec),
    /// Why there is none.
    Missing(String),
}

impl<'s> Found<'s> {
    /// A claim that has no devices yet.
    fn waiting(&self) -> Option<&'s ResourceClaim> {
        match self {
            Self::Claim(claim) if claim.status.allocation.is_none() => Some(claim),
            _ => None,
        }
    }
}

impl<'s> World<'s> {
    fn claims_of(&self, pod: &'s Pod) -> Vec<Found<'s>> {
        let namespace = pod.namespace.as_ref();
        let mut out = Vec::new();
        for reference in &pod.spec.resource_claims {
            let text = |name: &'s Option<String>| name.as_deref().filter(|n| !n.is_empty());
            let template = text(&reference.resource_claim_template_name);
            let made = pod.made_claims.iter().find(|made| made.name == reference.name);
            let name = match (text(&reference.resource_claim_name), made) {
                (Some(name), _) => Some(name),
                // Said to be needless by whoever makes claims.
                (None, Some(made)) if text(&made.resource_claim_name).is_none() => continue,
                (None, Some(made)) => text(&made.resource_claim_name),
                (None, None) => None,
            };
            let claim = name.and_then(|name| self.claims.get(&(namespace, name)));
            out.push(match (claim, template) {
                (Some(claim), _) if claim.metadata.is_terminating() => {
                    Found::Missing(format!("resource claim {} is being deleted", claim.metadata.name))
                }
                (Some(claim), _) => Found::Claim(claim),
                (None, Some(template)) => match self.templates.get(&(namespace, template)) {
                    Some(template) => Found::ToBeMade(&template.spec.spec),
                    None => Found::Missing(format!(
                        "resource claim template {template} does not exist in namespace {namespace}"
                    )),
                },
                (None, None) => Found::Missing(name.map_or_else(
                    || format!("its resource claim {} names neither a claim nor a template", reference.name),
                    |name| format!("resource claim {name} does not exist in namespace {namespace}"),
                )),
            });
        }
        out
    }
}

fn one<'s>(pod: &'s Pod, found: Vec<Found<'s>>, users: &Users<'s>) -> PodAsk<'s> {
    let mut ask = PodAsk {
        pod,
        carried: Vec::new(),
        leads: Vec::new(),
        follows: Vec::new(),
        node: Vec::new(),
        blocked: None,
    };
    let mut seen = BTreeSet::new();
    for found in found {
        match found {
            Found::Missing(reason) => _ = ask.blocked.get_or_insert(reason),
            Found::ToBeMade(spec) => ask.carried.push(spec),
            // A pod may refer to a claim twice.
            Found::Claim(claim) if !seen.insert(claim.metadata.name.as_str()) => {}
            Found::Claim(claim) => {
                let name = claim.metadata.name.as_str();
                let Some(allocation) = &claim.status.allocation else {
                    let users = &users[&(pod.namespace.as_ref(), name)];
                    let place = users.iter().position(|(_, _, user)| *user == &*pod.name).unwrap_or(0);
                    if place >= MOST_USERS {
                        ask.blocked.get_or_insert_with(|| full(name));
                    } else if place > 0 {
                        ask.follows.push(name);
                    } else {
                        ask.carried.push(&claim.spec);
                        if users.len() > 1 {
                            ask.leads.push(name);
                        }
                    }
                    continue;
                };
                let reserved = &claim.status.reserved_for;
                let mine = reserved.iter().any(|c| c.resource == "pods" && c.name == *pod.name);
                if reserved.len() >= MOST_USERS && !mine {
                    ask.blocked.get_or_insert_with(|| full(name));
                }
                if let Some(selector) = &allocation.node_selector {
                    let source = format!("resource claim {name}");
                    let any_of = volume::terms(selector);
                    // Like a volume's: rules that count domains by what a pod selects do not look at it.
                    ask.node.push(NodeConstraint { source, any_of, of_volume: true });
                }
            }
        }
    }
    ask
}

fn full(claim: &str) -> String {
    format!("resource claim {claim} is used by {MOST_USERS} pods, and no more may")
}
