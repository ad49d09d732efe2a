//! Planning a case as `stowage plan` does, and the nodes that the plan would bring into being.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, anyhow};
use serde_json::{Map, Value, json};
use stowage_api::well_known;
use stowage_cluster::{
    LowerOptions, Lowered, MinValuesPolicy, PreferencePolicy, ReadOptions, Source, list_nominated, lower,
    read,
};
use stowage_pricing::Catalog;
use stowage_solver::{
    Effect, InstanceType, Labels, NodePool, Obstacle, Offering, Operator, Problem, Reason, Requirement,
    Resources, Solution, Taint, solve,
};

use crate::case::{Case, key};
use crate::daemon;
use crate::generate::device::slice;
use crate::generate::node::csi_node;
use crate::generate::twist::{SPREADING, default_constraints};

/// A node as it would be, with what comes with it.
#[derive(Clone, Debug)]
pub(crate) struct NodeToBe {
    /// The node, where its type limits attached volumes its `CSINode`, and its `ResourceSlice`s.
    pub(crate) objects: Vec<Value>,
    /// Pods of `DaemonSet`s.
    pub(crate) daemons: Vec<Value>,
}

/// A plan, in names.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Nodes to launch.
    pub(crate) nodes: Vec<NodeToBe>,
    /// Node of each pod that has one, by `namespace/name`.
    pub(crate) placed: BTreeMap<String, String>,
    /// Where each pod goes that takes the place of others.
    pub(crate) preempting: BTreeMap<String, String>,
    /// Why each of the others has none.
    pub(crate) unplaced: BTreeMap<String, String>,
    /// Those of them that a node of their own would take: `minValues`, which the scheduler does not know, forbids it.
    pub(crate) too_narrow: BTreeSet<String>,
    /// One empty node of every kind that could be launched beside the planned ones; without room where a limit forbids it.
    pub(crate) launchable: Vec<NodeToBe>,
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for node in &self.nodes {
            let (name, labels) =
                (&node.objects[0]["metadata"]["name"], &node.objects[0]["metadata"]["labels"]);
            writeln!(f, "{name}: {labels}, {} pods of DaemonSets", node.daemons.len())?;
        }
        for (pod, node) in &self.placed {
            writeln!(f, "{pod} on {node}")?;
        }
        for (pod, node) in &self.preempting {
            writeln!(f, "{pod} on {node}, in the place of others")?;
        }
        for (pod, why) in &self.unplaced {
            writeln!(f, "{pod} nowhere: {why}")?;
        }
        Ok(())
    }
}

/// Plans a case.
///
/// # Errors
/// Where it cannot be read or lowered, or the plan does not pass the solver's own verifier: all of these are defects, of
/// the case or of Stowage.
pub(crate) fn plan(case: &Case) -> Result<Plan> {
    let (snapshot, catalog) = (case.snapshot().to_string(), case.catalog.to_string());
    let catalog = Catalog::parse(catalog.as_bytes(), "catalogue")?;
    let source = Source { name: "snapshot", bytes: snapshot.as_bytes() };
    let snapshot = read(&[source], &ReadOptions::default())?;
    let Lowered { mut problem, nominated, .. } = lower(&snapshot, &catalog, &how_to_lower(case)?)?;
    let options = stowage_solver::Options::default();
    let mut solution = solve(&problem, &options, &AtomicBool::new(false), &mut |_, _, _| {})
        .map_err(|broken| anyhow!("the solver's verifier refuses its plan: {}", broken[0].what))?;
    list_nominated(&mut problem, &mut solution, &nominated);
    Builder { case, catalog: &catalog, problem: &problem, solution: &solution }.plan()
}

fn how_to_lower(case: &Case) -> Result<LowerOptions> {
    let mut options = LowerOptions::default();
    if case.option("preference-policy") == Some("ignore") {
        options.preferences = PreferencePolicy::Ignore;
    }
    if case.option("min-values-policy") == Some("best-effort") {
        options.min_values = MinValuesPolicy::BestEffort;
    }
    if case.spreads_by_default() {
        options.schedulers = vec![SPREADING.to_owned()];
        options.default_spread = serde_json::from_value(default_constraints())?;
    }
    Ok(options)
}

struct Builder<'a> {
    case: &'a Case,
    catalog: &'a Catalog,
    problem: &'a Problem,
    solution: &'a Solution,
}

impl Builder<'_> {
    fn plan(&self) -> Result<Plan> {
        let daemon_sets: Vec<Value> = self.case.of_kind("DaemonSet").cloned().collect();
        let (mut nodes, mut placed) = (Vec::new(), BTreeMap::new());
        let pod = |id: stowage_solver::PodId| self.problem.pods[id.index()].name.clone();
        for (at, new) in self.solution.new_nodes.iter().enumerate() {
            let (pool, of_type) =
                (&self.problem.pools[new.pool.index()], &self.problem.types[new.instance_type.index()]);
            let name = format!("planned-{at}");
            let chosen = new.chosen_labels.iter().cloned().collect();
            let mut node = self.node(&name, pool, of_type, &of_type.offerings[new.offering], &chosen)?;
            node.daemons = daemon::pods_on(&node.objects[0], &daemon_sets);
            let mut ours: Vec<String> = node.daemons.iter().filter_map(key_of_owner).collect();
            let theirs = new.daemons.iter().map(|id| self.problem.daemons[id.index()].name.clone());
            let mut theirs: Vec<String> = theirs.collect();
            ours.sort_unstable();
            theirs.sort_unstable();
            if ours != theirs {
                return Err(anyhow!(
                    "{name} is planned with the DaemonSets {theirs:?} and would have {ours:?}"
                ));
            }
            nodes.push(node);
            placed.extend(new.pods.iter().map(|id| (pod(*id), name.clone())));
        }
        for placement in &self.solution.placements {
            let name = &self.problem.nodes[placement.node.index()].name;
            placed.extend(placement.pods.iter().map(|id| (pod(*id), name.clone())));
        }
        let (mut preempting, mut unplaced) = (BTreeMap::new(), BTreeMap::new());
        let mut too_narrow = BTreeSet::new();
        for left in &self.solution.unplaced {
            let name = pod(left.pod);
            if left.reasons.iter().any(|r| matches!(r, Reason::Pool(_, Obstacle::MinValues(_)))) {
                too_narrow.insert(name.clone());
            }
            match left.reasons.as_slice() {
                [Reason::Blocked(why)] if makes_room(why).is_some() => {
                    preempting.extend(makes_room(why).map(|node| (name, node)));
                }
                reasons => _ = unplaced.insert(name, format!("{reasons:?}")),
            }
        }
        let mut listed: Vec<&String> =
            placed.keys().chain(preempting.keys()).chain(unplaced.keys()).collect();
        listed.sort_unstable();
        let mut pending: Vec<String> = self.case.pending().map(key).collect();
        pending.sort_unstable();
        if !listed.into_iter().eq(&pending) {
            return Err(anyhow!("the plan does not name each of the pending pods once, and no others"));
        }
        let mut launchable = if unplaced.is_empty() { Vec::new() } else { self.launchable()? };
        for node in &mut launchable {
            node.daemons = daemon::pods_on(&node.objects[0], &daemon_sets);
        }
        Ok(Plan { nodes, placed, preempting, unplaced, too_narrow, launchable })
    }

    /// A node of every kind: pool, its open labels' values, type and offering.
    fn launchable(&self) -> Result<Vec<NodeToBe>> {
        let mut out = Vec::new();
        let hosts_beside_others = self.case.pending().any(counts_hosts_beside_others);
        for (pool_at, pool) in self.problem.pools.iter().enumerate() {
            let planned = self.solution.new_nodes.iter().filter(|n| n.pool.index() == pool_at);
            let mut used = pool.used.clone();
            let mut count = pool.node_count;
            for node in planned {
                used = used.plus(&self.problem.types[node.instance_type.index()].capacity);
                count += 1;
            }
            let full = pool.node_limit.is_some_and(|limit| count >= limit);
            for of_type in &self.problem.types {
                let full = full || !within_limits(pool, &used, of_type);
                for offering in &of_type.offerings {
                    for chosen in choices(pool) {
                        if admitted(pool, of_type, offering) {
                            let name = format!("extra-{}", out.len());
                            let mut node = self.node(&name, pool, of_type, offering, &chosen)?;
                            if full {
                                close(&mut node.objects[0], hosts_beside_others);
                            }
                            out.push(node);
                        }
                    }
                }
            }
        }
        Ok(out)
    }

    fn node(
        &self,
        name: &str,
        pool: &NodePool,
        of_type: &InstanceType,
        offering: &Offering,
        chosen: &Labels,
    ) -> Result<NodeToBe> {
        let mut labels = pool.labels.clone();
        for more in [&of_type.labels, &offering.labels, chosen] {
            labels.extend(more.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        labels.insert(well_known::HOSTNAME.to_owned(), name.to_owned());
        // Some stand for taints, and are no labels to Kubernetes.
        labels.retain(|key, _| !key.contains(':'));
        let entry = self.catalog.find(&of_type.name).context("a type of the plan is not in the catalogue")?;
        let mut allocatable = Map::new();
        let mut attach = None;
        for (resource, amount) in entry.allocatable() {
            if resource == well_known::EBS_SLOTS {
                attach = Some(amount.floor_units());
            } else {
                allocatable.insert(resource, json!(amount.to_string()));
            }
        }
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
            "spec": {"taints": pool.taints.iter().map(taint).collect::<Vec<_>>()},
            "status": {"allocatable": allocatable, "capacity": allocatable},
        });
        let driver = attach.map(|slots| csi_node(name, slots as usize));
        let slices = entry.resource_slices.iter().enumerate();
        let slices = slices.map(|(at, s)| slice(name, at, &s.driver, &json!(s.devices)));
        Ok(NodeToBe {
            objects: std::iter::once(node).chain(driver).chain(slices).collect(),
            daemons: Vec::new(),
        })
    }
}

/// The node on which a pod takes the place of others, if that is why it is given none.
fn makes_room(why: &str) -> Option<String> {
    let rest = why.strip_prefix("kube-scheduler makes room for it on node ")?;
    Some(rest.split_once(':')?.0.to_owned())
}

/// `namespace/name` of the `DaemonSet` that a pod belongs to.
fn key_of_owner(pod: &Value) -> Option<String> {
    let owner = pod["metadata"]["ownerReferences"][0]["name"].as_str()?;
    Some(format!("{}/{owner}", pod["metadata"]["namespace"].as_str()?))
}

fn taint(taint: &Taint) -> Value {
    let effect = match taint.effect {
        Effect::NoSchedule => "NoSchedule",
        Effect::PreferNoSchedule => "PreferNoSchedule",
        Effect::NoExecute => "NoExecute",
    };
    json!({"key": taint.key, "value": taint.value, "effect": effect})
}

/// Leaves of a node that may not be launched what a `NodePool`'s limits do not change: that its zone, capacity type and other
/// labels are domains, which spread rules count. It has no room, and is no host of its own to spread over; but a pod that
/// is to be even over hosts and something else counts no node that lacks either label.
fn close(node: &mut Value, keep_host: bool) {
    if let Some(labels) = node["metadata"]["labels"].as_object_mut()
        && !keep_host
    {
        labels.remove(well_known::HOSTNAME);
    }
    for amounts in ["allocatable", "capacity"] {
        node["status"][amounts] = json!({"pods": "0"});
    }
}

fn counts_hosts_beside_others(pod: &Value) -> bool {
    let rules = pod["spec"]["topologySpreadConstraints"].as_array().into_iter().flatten();
    let (hosts, others): (Vec<&Value>, Vec<&Value>) = rules
        .filter(|rule| rule["whenUnsatisfiable"] == "DoNotSchedule")
        .partition(|rule| rule["topologyKey"] == well_known::HOSTNAME);
    !hosts.is_empty() && !others.is_empty()
}

fn within_limits(pool: &NodePool, used: &Resources, of_type: &InstanceType) -> bool {
    let after = used.plus(&of_type.capacity);
    pool.limits.iter().all(|(resource, limit)| after.get(*resource) <= *limit)
}

fn admitted(pool: &NodePool, of_type: &InstanceType, offering: &Offering) -> bool {
    let value = |key: &str| {
        [&offering.labels, &of_type.labels, &pool.labels]
            .into_iter()
            .find_map(|labels| labels.get(key))
            .map(String::as_str)
    };
    pool.requirements.iter().all(|r: &Requirement| r.allows(value(&r.key)))
}

/// Every way to choose the values of a pool's open labels, where these are listed.
fn choices(pool: &NodePool) -> Vec<Labels> {
    let mut out = vec![Labels::new()];
    for open in &pool.open_labels {
        let listed = open.requirements.iter().find_map(|r| match &r.op {
            Operator::In(values) => Some(values.as_slice()),
            _ => None,
        });
        let values: Vec<&String> = listed
            .unwrap_or_default()
            .iter()
            .filter(|v| open.requirements.iter().all(|r| r.allows(Some(v))))
            .collect();
        let with = |labels: &Labels, value: &String| {
            let mut labels = labels.clone();
            labels.insert(open.key.clone(), value.clone());
            labels
        };
        out = out
            .iter()
            .flat_map(|labels| values.iter().map(|v| with(labels, v)).collect::<Vec<_>>())
            .collect();
    }
    out
}
