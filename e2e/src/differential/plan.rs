//! Planning a case as `stowage plan` does, and the nodes that the plan would bring into being.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, anyhow};
use serde_json::{Map, Value, json};
use stowage_api::well_known;
use stowage_cluster::{LowerOptions, ReadOptions, Source, lower, read};
use stowage_pricing::Catalog;
use stowage_solver::{
    Effect, InstanceType, Labels, NodePool, Offering, Operator, Problem, Requirement, Resources, Solution,
    Taint, solve,
};

use crate::case::{Case, key};
use crate::daemon;
use crate::generate::device::slice;
use crate::generate::node::csi_node;

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
    /// Why each of the others has none.
    pub(crate) unplaced: BTreeMap<String, String>,
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
    let problem = lower(&snapshot, &catalog, &LowerOptions::default())?.problem;
    let options = stowage_solver::Options::default();
    let solution = solve(&problem, &options, &AtomicBool::new(false), &mut |_, _, _| {})
        .map_err(|broken| anyhow!("the solver's verifier refuses its plan: {}", broken[0].what))?;
    Builder { case, catalog: &catalog, problem: &problem, solution: &solution }.plan()
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
        let unplaced: BTreeMap<String, String> =
            self.solution.unplaced.iter().map(|u| (pod(u.pod), format!("{:?}", u.reasons))).collect();
        let pending: Vec<String> = self.case.pending().map(key).collect();
        for pod in &pending {
            if placed.contains_key(pod) == unplaced.contains_key(pod) {
                return Err(anyhow!("pod {pod} is not in exactly one list of the plan"));
            }
        }
        let mut launchable = if unplaced.is_empty() { Vec::new() } else { self.launchable()? };
        for node in &mut launchable {
            node.daemons = daemon::pods_on(&node.objects[0], &daemon_sets);
        }
        Ok(Plan { nodes, placed, unplaced, launchable })
    }

    /// A node of every kind: pool, its open labels' values, type and offering.
    fn launchable(&self) -> Result<Vec<NodeToBe>> {
        let mut out = Vec::new();
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
                                close(&mut node.objects[0]);
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
/// labels are domains, which spread rules count. It has no room, and is no host of its own to spread over.
fn close(node: &mut Value) {
    if let Some(labels) = node["metadata"]["labels"].as_object_mut() {
        labels.remove(well_known::HOSTNAME);
    }
    for amounts in ["allocatable", "capacity"] {
        node["status"][amounts] = json!({"pods": "0"});
    }
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
