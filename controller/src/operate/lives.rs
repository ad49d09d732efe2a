//! What is measured of the lives of machines: how many came and went, why, and how long that took.
//!
//! compat: karpenter v1.14, `pkg/metrics`, `pkg/controllers/node/termination`, and the provider's launches.

use std::collections::BTreeMap;

use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use stowage_api::well_known::{CAPACITY_TYPE, NODE_POOL, ZONE};

use super::metrics::SECONDS;

/// Counters of lives.
#[derive(Clone, Debug)]
pub struct Lives {
    nodes_created: IntCounterVec,
    nodes_terminated: IntCounterVec,
    nodes_drained: IntCounterVec,
    claims_terminated: IntCounterVec,
    claims_disrupted: IntCounterVec,
    termination: HistogramVec,
    evictions: IntCounterVec,
    pods_drained: IntCounterVec,
    failures: IntCounterVec,
}

/// Labels of a NodeClaim.
type Labels = BTreeMap<String, String>;

fn of<'l>(labels: &'l Labels, key: &str) -> &'l str {
    labels.get(key).map_or("", String::as_str)
}

impl Lives {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(format!("karpenter_{name}"), help), labels)?;
            registry.register(Box::new(counter.clone()) as Box<dyn Collector>)?;
            prometheus::Result::Ok(counter)
        };
        let options = HistogramOpts::new(
            "karpenter_nodeclaims_termination_duration_seconds",
            "Time from the deletion of a NodeClaim until it is gone",
        );
        let termination = HistogramVec::new(options.buckets(SECONDS.to_vec()), &["nodepool"])?;
        registry.register(Box::new(termination.clone()))?;
        Ok(Self {
            nodes_created: counter("nodes_created_total", "Nodes that have joined", &["nodepool", "zone"])?,
            nodes_terminated: counter(
                "nodes_terminated_total",
                "Nodes that are gone",
                &["nodepool", "zone"],
            )?,
            nodes_drained: counter("nodes_drained_total", "Nodes that were drained", &["nodepool"])?,
            claims_terminated: counter(
                "nodeclaims_terminated_total",
                "NodeClaims that are gone",
                &["nodepool", "capacity_type", "zone"],
            )?,
            claims_disrupted: counter(
                "nodeclaims_disrupted_total",
                "NodeClaims that were deleted by the controller",
                &["reason", "nodepool", "capacity_type"],
            )?,
            termination,
            evictions: counter(
                "pods_eviction_requests_total",
                "Evictions asked for, by the answer",
                &["code"],
            )?,
            pods_drained: counter(
                "pods_drained_total",
                "Pods that had to leave a node, by why the node goes",
                &["reason"],
            )?,
            failures: counter(
                "cloudprovider_instance_launch_failures_total",
                "Offerings that a launch could not have",
                &["zone", "capacity_type", "reason"],
            )?,
        })
    }

    /// A node has joined.
    pub fn joined(&self, labels: &Labels) {
        self.nodes_created.with_label_values(&[of(labels, NODE_POOL), of(labels, ZONE)]).inc();
    }

    /// A node was drained.
    pub fn drained(&self, labels: &Labels) {
        self.nodes_drained.with_label_values(&[of(labels, NODE_POOL)]).inc();
    }

    /// A claim is gone, so many seconds after it was deleted, with its node if it had one.
    pub fn gone(&self, labels: &Labels, had_node: bool, seconds: Option<f64>) {
        let (pool, zone) = (of(labels, NODE_POOL), of(labels, ZONE));
        if had_node {
            self.nodes_terminated.with_label_values(&[pool, zone]).inc();
        }
        self.claims_terminated.with_label_values(&[pool, of(labels, CAPACITY_TYPE), zone]).inc();
        if let Some(seconds) = seconds {
            self.termination.with_label_values(&[pool]).observe(seconds);
        }
    }

    /// We have deleted a claim.
    pub fn disrupted(&self, labels: &Labels, reason: &str) {
        let (pool, capacity) = (of(labels, NODE_POOL), of(labels, CAPACITY_TYPE));
        self.claims_disrupted.with_label_values(&[reason, pool, capacity]).inc();
    }

    /// A pod was made to leave its node, which goes for this reason.
    pub fn pod_drained(&self, reason: &str) {
        self.pods_drained.with_label_values(&[reason]).inc();
    }

    /// An eviction was answered so.
    pub fn evicted(&self, code: u16) {
        self.evictions.with_label_values(&[&code.to_string()]).inc();
    }

    /// An offering could not be had.
    pub fn not_had(&self, zone: &str, capacity_type: &str, reason: &str) {
        self.failures.with_label_values(&[zone, capacity_type, reason]).inc();
    }
}
