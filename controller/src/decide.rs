//! What to do about the pods that wait: a plan, as orders that can be carried out.
//!
//! ```text
//! Snapshot ─▶ Assumed::amend ─▶ lower ─▶ solve (verified) ─▶ Decision: nodes to ask for, pods with room, pods without
//! ```
//!
//! Pure: what a decision follows from is handed in, and the same facts give the same decision.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};
use stowage_api::Quantity;
use stowage_api::well_known::HOSTNAME;
use stowage_cluster::words::{amount, reason};
use stowage_cluster::{LowerError, LowerOptions, Lowered, Snapshot, lower};
use stowage_pricing::Catalog;
use stowage_solver::{
    Effort, Memory, NewNode, Obstacle, Options, Problem, Reason, ResourceId, Solution, SpecId, TypeId,
    Violation, solve_again,
};

use crate::claim::{Choice, MOST_TYPES};
use crate::zones::effective;

/// Reasons that are told of one pod.
const MOST_REASONS: usize = 20;

/// What is known when a decision is made, beside the cluster itself.
#[derive(Clone, Debug)]
pub struct Terms<'a> {
    /// What can be bought.
    pub catalog: &'a Catalog,
    /// How pods are read.
    pub lowering: &'a LowerOptions,
    /// How hard to look.
    pub solving: &'a Options,
}

/// What to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Nodes to ask for.
    pub wanted: Vec<Wanted>,
    /// Pods for which there is room: (`namespace/name`, name of the node or of the claim).
    pub placed: Vec<(String, String)>,
    /// Pods that fit nowhere: (`namespace/name`, why).
    pub unplaced: Vec<(String, String)>,
    /// `NodePools` from which nothing can be launched just now, as far as pods that fit nowhere have shown.
    pub barren: Vec<String>,
    /// How many pods are bound to which zone; `flexible` and `none` beside the zones.
    pub zones: BTreeMap<String, usize>,
    /// What all that costs.
    pub figures: Figures,
    /// What a first plan broke, where a plainer one had to be made: a defect of the solver.
    pub defect: Option<String>,
}

/// What a plan costs, as it was weighed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Dollars an hour of the nodes to ask for.
    pub cost: f64,
    /// Dollars an hour below which nothing holds the same pods.
    pub bound: f64,
    /// How far the cost is above the bound, as a share of it.
    pub gap: f64,
    /// Pods that were planned for.
    pub pods: usize,
}

/// A node to ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Its `NodePool`.
    pub pool: String,
    /// What to launch it as.
    pub choice: Choice,
    /// Its pods, `namespace/name`.
    pub pods: Vec<String>,
    /// How the node will look, as far as scheduling goes: a Node object without a name.
    pub node: Value,
    /// Dollars an hour.
    pub price: f64,
}

/// Why nothing could be decided.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecideError {
    /// The cluster cannot be counted.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// A defect: the plan does not hold.
    #[error("the planner made a plan that breaks a rule, and it is not followed: {0}")]
    Broken(String),
}

/// Decides what to do about the pending pods of a snapshot.
///
/// # Errors
/// Where the snapshot cannot be lowered, or a defect shows.
pub fn decide(
    snapshot: &Snapshot,
    terms: &Terms<'_>,
    memory: &mut Memory,
    cancel: &AtomicBool,
) -> Result<Decision, DecideError> {
    let lowered = lower(snapshot, terms.catalog, terms.lowering)?;
    let what = |broken: Vec<Violation>| broken.into_iter().next().map(|v| v.what).unwrap_or_default();
    let solve = |options: &Options, memory: &mut Memory| {
        solve_again(&lowered.problem, options, memory, cancel, &mut |_, _, _| {}).map_err(what)
    };
    let (solution, defect) = match solve(terms.solving, memory) {
        Ok(solution) => (solution, None),
        // A plainer plan is better than none.
        Err(defect) => {
            *memory = Memory::default();
            let plain = Options { effort: Effort::Quick, ..terms.solving.clone() };
            (solve(&plain, memory).map_err(DecideError::Broken)?, Some(defect))
        }
    };
    Ok(Decision { defect, ..orders(&lowered, &solution, &terms.lowering.not_ready) })
}

fn orders(lowered: &Lowered, solution: &Solution, not_ready: &BTreeMap<String, String>) -> Decision {
    let problem = &lowered.problem;
    let key = |pod: &stowage_solver::PodId| problem.pods[pod.index()].name.clone();
    let placed = solution.placements.iter().flat_map(|placement| {
        let node = &problem.nodes[placement.node.index()].name;
        placement.pods.iter().map(move |pod| (key(pod), node.clone()))
    });
    let unplaced =
        solution.unplaced.iter().map(|left| (key(&left.pod), why(problem, &left.reasons, not_ready)));
    let barren: BTreeSet<&str> = solution
        .unplaced
        .iter()
        .flat_map(|left| &left.reasons)
        .filter_map(|reason| match reason {
            Reason::Pool(pool, Obstacle::NoOfferings) => Some(problem.pools[pool.index()].name.as_str()),
            _ => None,
        })
        .collect();
    let mut spare = Spare::of(problem, &solution.new_nodes);
    Decision {
        barren: barren.into_iter().map(str::to_owned).collect(),
        wanted: solution
            .new_nodes
            .iter()
            .map(|node| {
                let pods = node.pods.iter().map(|pod| &problem.pods[pod.index()]);
                wanted(lowered, node, pods.map(|pod| (pod.name.clone(), pod.spec)).collect(), &mut spare)
            })
            .collect(),
        placed: placed.collect(),
        unplaced: unplaced.collect(),
        defect: None,
        zones: effective(problem),
        figures: Figures {
            cost: solution.cost.dollars(),
            bound: solution.bound.dollars(),
            gap: solution.gap(),
            pods: problem.pods.len(),
        },
    }
}

/// Reasons in words: the first few, as there may be thousands of `NodePools`, and pods.
fn why(problem: &Problem, reasons: &[Reason], not_ready: &BTreeMap<String, String>) -> String {
    // That there is none to launch from is said better by why not.
    let said = reasons.iter().filter(|r| not_ready.is_empty() || !matches!(r, Reason::NoPools));
    let count = said.clone().count() + not_ready.len();
    let said = said.map(|r| reason::sentence(problem, r));
    let idle = not_ready.iter().map(|(name, why)| format!("NodePool {name} is not ready: {why}"));
    let mut sentences: Vec<String> = said.chain(idle).take(MOST_REASONS).collect();
    if count > MOST_REASONS {
        sentences.push(format!("and {} more NodePools", count - MOST_REASONS));
    }
    sentences.join("; ")
}

/// What the limits of `NodePools` leave when all is launched as planned. Which of its types a claim becomes is EC2's to say: so
/// what the largest of them has more than the planned one counts as taken.
///
/// compat: karpenter v1.14 takes the most that any type of a claim has from what the limits leave.
struct Spare {
    /// By `NodePool`: what is left of each limit, and for how many claims.
    pools: Vec<(Vec<(ResourceId, i64)>, i64)>,
}

impl Spare {
    fn of(problem: &Problem, nodes: &[NewNode]) -> Self {
        let left = |pool: &stowage_solver::NodePool| {
            pool.limits.iter().map(|(id, limit)| (*id, limit.saturating_sub(pool.used.get(*id)))).collect()
        };
        let mut pools: Vec<(Vec<_>, i64)> = problem.pools.iter().map(|pool| (left(pool), 0)).collect();
        for node in nodes {
            let (left, count) = &mut pools[node.pool.index()];
            *count += 1;
            for (id, left) in left {
                *left = left.saturating_sub(problem.types[node.instance_type.index()].capacity.get(*id));
            }
        }
        Self { pools }
    }

    /// The planned type of a node, and those of the others that the limits allow it: each claim of a `NodePool` has the same
    /// share of what is left.
    fn types(&mut self, problem: &Problem, node: &NewNode) -> Vec<TypeId> {
        let (left, count) = &mut self.pools[node.pool.index()];
        let more = |of: TypeId, id: ResourceId| {
            let capacity = |of: TypeId| problem.types[of.index()].capacity.get(id);
            capacity(of).saturating_sub(capacity(node.instance_type)).max(0)
        };
        let share: Vec<(ResourceId, i64)> =
            left.iter().map(|(id, left)| (*id, (*left).max(0) / (*count).max(1))).collect();
        let allowed = |of: &TypeId| share.iter().all(|(id, share)| more(*of, *id) <= *share);
        let mut types = vec![node.instance_type];
        types.extend(node.types_in_place(problem).filter(allowed));
        types.truncate(MOST_TYPES);
        *count -= 1;
        for (id, left) in left {
            *left -= types.iter().map(|of| more(*of, *id)).max().unwrap_or_default();
        }
        types
    }
}

/// Orders for nodes that a plan launches together, each with its pods: (`namespace/name`, its spec).
pub fn orders_for(lowered: &Lowered, nodes: &[NewNode], pods: Vec<Vec<(String, SpecId)>>) -> Vec<Wanted> {
    let mut spare = Spare::of(&lowered.problem, nodes);
    nodes.iter().zip(pods).map(|(node, pods)| wanted(lowered, node, pods, &mut spare)).collect()
}

fn wanted(lowered: &Lowered, node: &NewNode, pods: Vec<(String, SpecId)>, spare: &mut Spare) -> Wanted {
    let problem = &lowered.problem;
    let pool = &problem.pools[node.pool.index()];
    let offering = node.offering(problem);
    let of_type = &problem.types[node.instance_type.index()];
    let admitted = spare.types(problem, node);
    let types: Vec<String> = admitted.iter().map(|of| problem.types[of.index()].name.clone()).collect();
    // What limits count of it until it is launched.
    let most = |id| admitted.iter().map(|of| problem.types[of.index()].capacity.get(id)).max();

    let mut labels = pool.labels.clone();
    labels.extend(of_type.labels.iter().chain(&offering.labels).map(|(k, v)| (k.clone(), v.clone())));
    labels.extend(node.chosen_labels.iter().cloned());
    // A placeholder: the node's own name takes its place.
    labels.remove(HOSTNAME);
    let taints: Vec<Value> = pool
        .taints
        .iter()
        .map(|t| json!({"key": t.key, "value": t.value, "effect": format!("{:?}", t.effect)}))
        .collect();
    let none = BTreeMap::<String, Quantity>::new();
    let allocatable = lowered.allocatable.get(node.instance_type.index()).unwrap_or(&none);
    let allocatable: BTreeMap<&str, String> =
        allocatable.iter().map(|(name, amount)| (name.as_str(), amount.to_string())).collect();
    Wanted {
        pool: pool.name.clone(),
        choice: Choice {
            zones: zones(problem, node, &types),
            types,
            capacity_type: offering.capacity_type.clone(),
            labels: node.chosen_labels.iter().cloned().collect(),
            requests: requests(problem, node, &pods),
            relaxed: !node.relaxed.is_empty(),
        },
        pods: pods.into_iter().map(|(pod, _)| pod).collect(),
        node: json!({
            "metadata": {"labels": labels},
            "spec": {"taints": taints},
            "status": {
                "allocatable": allocatable,
                "capacity": quantities(problem, |id| most(id).unwrap_or_default()),
            },
        }),
        price: node.price.dollars(),
    }
}

/// Zones where a node may be: its own, and others where each of these types that is sold there holds the same pods. A claim
/// names types and zones apart, so that every pair of them must do.
fn zones(problem: &Problem, node: &NewNode, types: &[String]) -> Vec<String> {
    let own = node.offering(problem);
    let mut found = BTreeMap::<&str, BTreeSet<&str>>::new();
    for alternative in node.alternatives.iter() {
        let offering = alternative.offering(problem);
        if offering.capacity_type == own.capacity_type && offering.zone != own.zone {
            let name = problem.types[alternative.instance_type.index()].name.as_str();
            found.entry(&offering.zone).or_default().insert(name);
        }
    }
    let named = problem.types.iter().filter(|of| types.contains(&of.name));
    let named: Vec<_> = named.collect();
    let holds = |zone: &str, there: &BTreeSet<&str>| {
        named.iter().all(|of| {
            let sold = of.offerings.iter().any(|o| o.zone == zone && o.capacity_type == own.capacity_type);
            !sold || there.contains(of.name.as_str())
        })
    };
    let others = found.iter().filter(|(zone, there)| holds(zone, there)).map(|(zone, _)| (*zone).to_owned());
    [own.zone.clone()].into_iter().chain(others).collect()
}

/// What the pods and the `DaemonSets` of a node ask for.
fn requests(problem: &Problem, node: &NewNode, pods: &[(String, SpecId)]) -> BTreeMap<String, String> {
    let pods = pods.iter().map(|(_, spec)| *spec);
    let daemons = node.daemons.iter().map(|daemon| problem.daemons[daemon.index()].spec);
    let specs: Vec<_> = pods.chain(daemons).map(|spec| &problem.specs[spec.index()].requests).collect();
    quantities(problem, |id| specs.iter().map(|requests| requests.get(id)).sum())
}

/// The amounts above zero, as quantities.
fn quantities(problem: &Problem, amount_of: impl Fn(ResourceId) -> i64) -> BTreeMap<String, String> {
    let named =
        problem.resources.iter().enumerate().map(|(at, name)| (name, amount_of(ResourceId(at as u32))));
    named
        .filter(|(_, base)| *base > 0)
        .map(|(name, base)| (name.clone(), amount::quantity(name, base)))
        .collect()
}
