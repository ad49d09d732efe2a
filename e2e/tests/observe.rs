//! What others see of a cluster that Stowage runs: Prometheus, and eks-node-viewer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "common/world.rs"]
mod common;

use anyhow::Result;
use serde_json::json;
use stowage_e2e::{Prometheus, REGION, Viewer, World, check_metrics};

use common::{CLAIMS, DEPLOYMENTS, POOLS, deployment, name, node_pool, settled};

/// What Karpenter's dashboards ask for of what the controller does by now.
const NAMES: [&str; 43] = [
    "karpenter_build_info",
    "karpenter_cloudprovider_duration_seconds_bucket",
    "karpenter_cloudprovider_instance_type_cpu_cores",
    "karpenter_cloudprovider_instance_type_memory_bytes",
    "karpenter_cloudprovider_instance_type_offering_available",
    "karpenter_cloudprovider_instance_type_offering_price_estimate",
    "karpenter_cluster_state_node_count",
    "karpenter_cluster_state_synced",
    "karpenter_cluster_state_unsynced_time_seconds",
    "karpenter_cluster_utilization_percent",
    "karpenter_nodeclaims_created_total",
    "karpenter_nodeclaims_instance_termination_duration_seconds_bucket",
    "karpenter_nodeclaims_terminated_total",
    "karpenter_nodeclaims_termination_duration_seconds_bucket",
    "karpenter_nodepools_cost_total",
    "karpenter_nodepools_limit",
    "karpenter_nodepools_usage",
    "karpenter_nodes_allocatable",
    "karpenter_nodes_created_total",
    "karpenter_nodes_current_lifetime_seconds",
    "karpenter_nodes_drained_total",
    "karpenter_nodes_lifetime_duration_seconds_bucket",
    "karpenter_nodes_system_overhead",
    "karpenter_nodes_terminated_total",
    "karpenter_nodes_termination_duration_seconds",
    "karpenter_nodes_total_pod_requests",
    "karpenter_pods_bound_duration_seconds_bucket",
    "karpenter_pods_eviction_requests_total",
    "karpenter_pods_provisioning_bound_duration_seconds_bucket",
    "karpenter_pods_provisioning_startup_duration_seconds_bucket",
    "karpenter_pods_scheduling_decision_duration_seconds_bucket",
    "karpenter_pods_startup_duration_seconds",
    "karpenter_pods_state",
    "karpenter_scheduler_queue_depth",
    "karpenter_scheduler_scheduling_duration_seconds_bucket",
    "karpenter_scheduler_unfinished_work_seconds",
    "karpenter_scheduler_unschedulable_pods_count",
    "operator_node_status_condition_count",
    "operator_nodeclaim_status_condition_count",
    "operator_nodepool_status_condition_count",
    "operator_ec2nodeclass_status_condition_count",
    "stowage_plan_gap_ratio",
    "stowage_realised_cost_dollars_per_hour",
];

#[test]
fn prometheus_and_the_viewer_see_nodes_and_their_prices() {
    let world = World::start("observe").unwrap();
    let mut pool = node_pool("default", &json!({}));
    pool["spec"]["limits"] = json!({"cpu": "500"});
    world.client().create(POOLS, &pool).unwrap();
    let controller = world.controller("observe", &[]).unwrap();
    let prometheus = Prometheus::start(&world.plane, &[&controller]).unwrap();
    world.client().create(DEPLOYMENTS, &deployment("web", 12, "1500m", &json!({}))).unwrap();
    let claims = settled(&world, 12);

    // What the machines cost, to Prometheus and to us.
    let price = |node: &serde_json::Value| {
        let label = |key: &str| node["metadata"]["labels"][key].as_str().unwrap().to_owned();
        let (zone, capacity) = (label("topology.kubernetes.io/zone"), label("karpenter.sh/capacity-type"));
        let of = world.catalog.find(&label("node.kubernetes.io/instance-type")).unwrap();
        of.offerings.iter().find(|o| o.zone() == zone && o.capacity_type() == capacity).unwrap().price
    };
    let nodes = world.nodes().unwrap();
    let cost: f64 = nodes.iter().map(price).sum();
    let one = |query: &str| -> Result<Option<f64>> {
        Ok(prometheus.query(query)?.first().map(|(_, value)| *value))
    };
    let query = "sum(karpenter_nodepools_cost_total)";
    world
        .until("Prometheus to know what the machines cost", |_| {
            Ok(one(query)?.filter(|seen| (seen - cost).abs() < 0.001))
        })
        .unwrap();
    let made = "sum(karpenter_nodeclaims_created_total{nodepool=\"default\"})";
    assert_eq!(one(made).unwrap(), Some(claims.len() as f64));
    assert_eq!(one("up").unwrap(), Some(1.0));

    // Each node is on the viewer's screen, with its type and price.
    let viewer = Viewer::start(&world.plane, &world.front, REGION).unwrap();
    for node in &nodes {
        let of = node["metadata"]["labels"]["node.kubernetes.io/instance-type"].as_str().unwrap();
        let shown = format!("{of}/${:.4}", price(node));
        world
            .until(&format!("{} to be shown as {shown}", name(node)), |_| {
                let lines = viewer.shown()?;
                Ok(lines.iter().any(|l| l.contains(name(node)) && l.contains(&shown)).then_some(()))
            })
            .unwrap();
    }

    // A machine goes, so that all has been measured that there is.
    world.client().delete(&format!("{CLAIMS}/{}", name(&claims[0]))).unwrap();
    world
        .until("Prometheus to see that a machine has gone", |_| {
            Ok(one("sum(karpenter_nodes_terminated_total)")?.filter(|gone| *gone >= 1.0))
        })
        .unwrap();
    let seen = world
        .until("Prometheus to have seen every metric", |_| {
            let seen = prometheus.names()?;
            Ok(NAMES.iter().all(|name| seen.iter().any(|s| s == name)).then_some(seen))
        })
        .map_err(|error| {
            let seen = prometheus.names().unwrap();
            let missing: Vec<_> = NAMES.iter().filter(|name| !seen.iter().any(|s| s == *name)).collect();
            format!("{error:#}: {missing:?}")
        })
        .unwrap();
    assert!(seen.iter().all(|name| !name.contains("__")), "{seen:?}");

    // 3 is for advice on names, which are Karpenter's.
    let (code, said) = check_metrics(&controller.metrics().unwrap()).unwrap();
    assert!(matches!(code, Some(0 | 3)), "{code:?} {said:?}");
    assert!(!said.iter().any(|line| line.contains("no help text")), "{said:?}");
}
