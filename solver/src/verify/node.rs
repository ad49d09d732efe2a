//! What can be judged one node at a time, and `NodePool` limits.
//!
//! Kubernetes' source of truth: `NodeResourcesFit`, `NodeAffinity`, `TaintToleration` and `NodePorts` of kube-scheduler;
//! limits are Karpenter's (`spec.limits` of a `NodePool`).

use std::collections::HashMap;

use super::cluster::{Cluster, Host, broken, clash, repelling};
use super::{Violation, violation};
use crate::problem::{HostPort, Resources, SpecId};
use crate::solution::{NewNode, Solution};

pub(super) fn check(cluster: &Cluster<'_>, solution: &Solution, found: &mut Vec<Violation>) {
    for host in &cluster.hosts {
        if let Some(new) = host.new {
            new_node(cluster, host, &solution.new_nodes[new], found);
        }
        let placed = host.seats.iter().any(|s| cluster.seats[*s].placed);
        if let (Some(old), true) = (host.old, placed)
            && !cluster.problem.nodes[old].open
        {
            violation(found, format!("{} is closed and still gets pods", host.title));
        }
        if placed {
            pods(cluster, host, solution, found);
        }
    }
    limits(cluster, solution, found);
    quotas(cluster, solution, found);
    claims(cluster, found);
}

/// The `NodePool` admits the node, and its `DaemonSets` are the right ones.
fn new_node(cluster: &Cluster<'_>, host: &Host<'_>, node: &NewNode, found: &mut Vec<Violation>) {
    let problem = cluster.problem;
    let pool = &problem.pools[node.pool.index()];
    for r in pool.requirements.iter().filter(|r| !r.allows(host.labels.get(&r.key).map(String::as_str))) {
        violation(found, format!("{}: the NodePool's requirement on {} is not met", host.title, r.key));
    }
    for open in &pool.open_labels {
        let value = host.labels.get(&open.key).map(String::as_str);
        if !open.requirements.iter().all(|r| r.allows(value)) {
            violation(
                found,
                format!("{}: label {}={value:?} is not one the NodePool allows", host.title, open.key),
            );
        }
    }
    let expected: Vec<usize> = (0..problem.daemons.len())
        .filter(|d| {
            let spec = &problem.specs[problem.daemons[*d].spec.index()];
            broken(&spec.node, &host.labels).is_none() && repelling(host.taints, &spec.tolerations).is_none()
        })
        .collect();
    let mut stated: Vec<usize> = node.daemons.iter().map(|d| d.index()).collect();
    stated.sort_unstable();
    if stated != expected {
        violation(found, format!("{}: DaemonSets {stated:?} are stated, {expected:?} would run", host.title));
    }
    if node.pods.is_empty() {
        violation(found, format!("{} holds no pod", host.title));
    }
}

/// Labels, taints, resources and host ports of the pods on one node.
fn pods(cluster: &Cluster<'_>, host: &Host<'_>, solution: &Solution, found: &mut Vec<Violation>) {
    let problem = cluster.problem;
    let mut counts = HashMap::<SpecId, i64>::new();
    let mut ports: Vec<HostPort> = Vec::new();
    let (allocatable, mut used) = match (host.old, host.new) {
        (Some(old), _) => {
            ports.extend(problem.nodes[old].host_ports.iter().cloned());
            (&problem.nodes[old].allocatable, problem.nodes[old].used.clone())
        }
        (None, Some(new)) => {
            let node = &solution.new_nodes[new];
            let daemons =
                node.daemons.iter().map(|d| &problem.specs[problem.daemons[d.index()].spec.index()]);
            let mut used = Resources::default();
            for daemon in daemons {
                used = used.plus(&daemon.requests);
                ports.extend(daemon.host_ports.iter().cloned());
            }
            (&problem.types[node.instance_type.index()].allocatable, used)
        }
        (None, None) => return,
    };
    for seat in host.seats.iter().map(|s| &cluster.seats[*s]).filter(|s| s.placed) {
        let spec = &problem.specs[seat.spec.index()];
        let count = counts.entry(seat.spec).or_insert(0);
        *count += 1;
        if *count == 1 {
            if let Some(constraint) = broken(&spec.node, &host.labels) {
                violation(
                    found,
                    format!("pod {}: {} does not match {}", seat.name, constraint.source, host.title),
                );
            }
            if let Some(taint) = repelling(host.taints, &spec.tolerations) {
                violation(
                    found,
                    format!("pod {} does not tolerate {} of {}", seat.name, taint.key, host.title),
                );
            }
            if spec.blocked.is_some() {
                violation(found, format!("pod {} is placed though it can run nowhere", seat.name));
            }
        }
        if let Some(port) = clash(&ports, &spec.host_ports) {
            violation(
                found,
                format!("pod {}: host port {} is taken on {}", seat.name, port.port, host.title),
            );
        }
        ports.extend(spec.host_ports.iter().cloned());
    }
    let mut counts: Vec<(SpecId, i64)> = counts.into_iter().collect();
    counts.sort_unstable();
    for (spec, count) in counts {
        let each = &problem.specs[spec.index()].requests;
        used = used.plus(&Resources::from_amounts(each.iter().map(|(id, n)| (id, n.saturating_mul(count)))));
    }
    // What running pods overdraw on an existing node is not the plan's doing: only what it adds to is checked.
    let asked = |id| {
        host.seats.iter().any(|s| {
            cluster.seats[*s].placed && problem.specs[cluster.seats[*s].spec.index()].requests.get(id) > 0
        })
    };
    for (id, amount) in used.iter().filter(|(id, amount)| *amount > allocatable.get(*id)) {
        if host.new.is_some() || asked(id) {
            let name = &problem.resources[id.index()];
            let have = allocatable.get(id);
            violation(found, format!("{}: {amount} of {name} requested, {have} allocatable", host.title));
        }
    }
}

fn limits(cluster: &Cluster<'_>, solution: &Solution, found: &mut Vec<Violation>) {
    let problem = cluster.problem;
    for (at, pool) in problem.pools.iter().enumerate() {
        let mut used = pool.used.clone();
        let mut nodes = pool.node_count;
        for node in solution.new_nodes.iter().filter(|n| n.pool.index() == at) {
            used = used.plus(&problem.types[node.instance_type.index()].capacity);
            nodes += 1;
        }
        if nodes == pool.node_count {
            continue;
        }
        for (id, limit) in pool.limits.iter().filter(|(id, limit)| used.get(*id) > *limit) {
            let name = &problem.resources[id.index()];
            violation(
                found,
                format!("NodePool {}: {} of {name}, its limit is {limit}", pool.name, used.get(*id)),
            );
        }
        if let Some(limit) = pool.node_limit.filter(|limit| nodes > *limit) {
            violation(found, format!("NodePool {}: {nodes} nodes, its limit is {limit}", pool.name));
        }
    }
}

/// New nodes together draw no more on a quota than there is.
fn quotas(cluster: &Cluster<'_>, solution: &Solution, found: &mut Vec<Violation>) {
    let problem = cluster.problem;
    for (at, quota) in problem.quotas.iter().enumerate() {
        let drawn = solution.new_nodes.iter().flat_map(|node| &node.offering(problem).draws);
        let drawn: i128 = drawn.filter(|(id, _)| id.index() == at).map(|(_, units)| i128::from(*units)).sum();
        if drawn > i128::from(quota.units) {
            violation(
                found,
                format!("quota {}: {drawn} units are drawn, it has {}", quota.name, quota.units),
            );
        }
    }
}

/// Pods that share a volume claim still to be made are in one zone.
fn claims(cluster: &Cluster<'_>, found: &mut Vec<Violation>) {
    let mut zones = HashMap::<&str, Option<&str>>::new();
    for (at, seat) in cluster.seats.iter().enumerate().filter(|(_, seat)| seat.placed) {
        for claim in &cluster.spec(at).unbound_claims {
            let zone = cluster.hosts[seat.host].labels.get(&cluster.problem.zone_key).map(String::as_str);
            let first = *zones.entry(claim).or_insert(zone);
            if first != zone {
                violation(
                    found,
                    format!("pod {}: claim {claim} is used in {first:?} and {zone:?}", seat.name),
                );
            }
        }
    }
}
