//! What is measured: under Karpenter's names where it means the same, and under `stowage_` what only we know.
//!
//! compat: karpenter v1.14, `pkg/metrics` and the controllers' own.

use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use stowage_cluster::Snapshot;
use tracing::error;

use crate::decide::Decision;

/// Buckets of durations, seconds: Karpenter's.
const SECONDS: [f64; 18] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 180.0, 300.0, 450.0,
    600.0,
];
/// Buckets of numbers of pods.
const PODS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 500.0, 1_000.0, 10_000.0];

/// All that is measured.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    claims_created: IntCounterVec,
    unschedulable: IntGaugeVec,
    scheduling: Histogram,
    synced: IntGauge,
    nodes: IntGauge,
    batch: Histogram,
    cost: Gauge,
    bound: Gauge,
    gap: Gauge,
}

impl Metrics {
    /// All of them, at zero.
    ///
    /// # Errors
    /// Where two have one name, which would be a defect.
    pub fn new() -> prometheus::Result<Self> {
        let counters =
            |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))
        };
        let metrics = Self {
            registry: Registry::new(),
            claims_created: counters(
                "karpenter_nodeclaims_created_total",
                "NodeClaims made, by why, NodePool, and whether minValues was given up",
                &["reason", "nodepool", "min_values_relaxed"],
            )?,
            unschedulable: IntGaugeVec::new(
                Opts::new(
                    "karpenter_scheduler_unschedulable_pods_count",
                    "Pods that the last plan had no place for",
                ),
                &["controller"],
            )?,
            scheduling: histogram(
                "stowage_plan_seconds",
                "Time from a complete batch to a verified plan",
                &SECONDS,
            )?,
            synced: IntGauge::new(
                "karpenter_cluster_state_synced",
                "1 while all of the cluster is known and every NodeClaim is understood",
            )?,
            nodes: IntGauge::new(
                "karpenter_cluster_state_node_count",
                "Nodes, those being launched included",
            )?,
            batch: histogram("stowage_batch_pods", "Pods in a batch", &PODS)?,
            cost: Gauge::new("stowage_plan_cost_dollars_per_hour", "Cost of the new nodes of the last plan")?,
            bound: Gauge::new(
                "stowage_plan_bound_dollars_per_hour",
                "Proven lower bound of the cost of any plan for the same pods",
            )?,
            gap: Gauge::new("stowage_plan_gap_ratio", "How far the last plan's cost was above its bound")?,
        };
        for collector in [
            Box::new(metrics.claims_created.clone()) as Box<dyn prometheus::core::Collector>,
            Box::new(metrics.unschedulable.clone()),
            Box::new(metrics.scheduling.clone()),
            Box::new(metrics.synced.clone()),
            Box::new(metrics.nodes.clone()),
            Box::new(metrics.batch.clone()),
            Box::new(metrics.cost.clone()),
            Box::new(metrics.bound.clone()),
            Box::new(metrics.gap.clone()),
        ] {
            metrics.registry.register(collector)?;
        }
        Ok(metrics)
    }

    /// The cluster was looked at.
    pub fn looked(&self, amended: &Snapshot, unknown: usize) {
        self.synced.set(i64::from(unknown == 0));
        self.nodes.set(amended.nodes.len() as i64);
    }

    /// A batch of so many pods was planned for, in so many seconds.
    pub fn planned(&self, batch: usize, decision: &Decision, seconds: f64) {
        self.batch.observe(batch as f64);
        self.scheduling.observe(seconds);
        self.unschedulable.with_label_values(&["provisioner"]).set(decision.unplaced.len() as i64);
        self.cost.set(decision.figures.cost);
        self.bound.set(decision.figures.bound);
        self.gap.set(decision.figures.gap);
    }

    /// A claim was made.
    pub fn claim_made(&self, pool: &str, relaxed: bool) {
        let relaxed = if relaxed { "true" } else { "false" };
        self.claims_created.with_label_values(&["provisioned", pool, relaxed]).inc();
    }

    /// All of it, as Prometheus reads it.
    pub fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|error| {
            error!(%error, "metrics cannot be written: this is a defect");
            String::new()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::Figures;

    #[test]
    fn what_was_planned_can_be_read() {
        let metrics = Metrics::new().expect("names are different");
        let figures = Figures { cost: 1.5, bound: 1.25, gap: 0.2, pods: 3 };
        let unplaced = vec![("default/huge".to_owned(), "too big".to_owned())];
        metrics.planned(3, &Decision { unplaced, figures, ..Decision::default() }, 0.02);
        metrics.looked(&Snapshot::default(), 1);
        let text = metrics.text();
        for line in [
            "stowage_plan_cost_dollars_per_hour 1.5",
            "stowage_plan_bound_dollars_per_hour 1.25",
            "stowage_plan_gap_ratio 0.2",
            "karpenter_scheduler_unschedulable_pods_count{controller=\"provisioner\"} 1",
            "stowage_batch_pods_bucket{le=\"5\"} 1",
            "stowage_plan_seconds_bucket{le=\"0.025\"} 1",
            "karpenter_cluster_state_synced 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
    }
}
