//! What is measured: under Karpenter's names where it means the same, and under `stowage_` what only we know.
//!
//! compat: karpenter v1.14, `pkg/metrics` and the controllers' own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use prometheus::core::Collector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use stowage_cluster::Snapshot;
use tokio::sync::watch;
use tracing::error;

use super::disruptions::Disruptions;
use super::exposition::Exposition;
use super::interruptions::Interruptions;
use super::lives::Lives;
use super::state;
use super::transitions::Transitions;
use crate::decide::Decision;
use crate::fargate::metrics::Measured;
use crate::follow::Cluster;
use crate::market::Market;
use crate::pool::run::Keeper;

/// Buckets of durations, seconds: Karpenter's.
pub(crate) const SECONDS: [f64; 18] = [
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
    zones: IntGaugeVec,
    scheduling: Histogram,
    synced: IntGauge,
    nodes: IntGauge,
    batch: Histogram,
    cost: Gauge,
    bound: Gauge,
    gap: Gauge,
    queue: IntGaugeVec,
    seconds: HistogramVec,
    calls: IntCounterVec,
    aws_calls: IntCounterVec,
    aws_seconds: HistogramVec,
    lives: Lives,
    disruptions: Disruptions,
    interruptions: Interruptions,
    fargate: Measured,
    /// What plans said that each claim's machine costs.
    planned: Arc<Mutex<HashMap<String, f64>>>,
    moments: Arc<Mutex<Moments>>,
    view: Arc<OnceLock<View>>,
}

/// Since when something goes on.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    /// The cluster is not all known.
    unsynced: Option<Instant>,
    /// A plan is being made.
    planning: Option<Instant>,
}

/// What is measured when somebody asks.
#[derive(Clone)]
pub struct View {
    /// What there is.
    pub cluster: Cluster,
    /// What can be bought.
    pub market: watch::Receiver<Arc<Market>>,
    /// `NodePools` and their classes.
    pub pools: Keeper,
    /// Whether each pod and node is told of.
    pub each: bool,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("each", &self.each).finish_non_exhaustive()
    }
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
        let registry = Registry::new();
        let metrics = Self {
            lives: Lives::new(&registry)?,
            disruptions: Disruptions::new(&registry)?,
            interruptions: Interruptions::new(&registry)?,
            fargate: Measured::new(&registry)?,
            registry,
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
            zones: IntGaugeVec::new(
                Opts::new(
                    "karpenter_scheduler_pending_pods_by_effective_zone_count",
                    "Pods of the last plan by the zone that they are bound to: `flexible` for several, `none` for none",
                ),
                &["controller", "zone"],
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
            queue: IntGaugeVec::new(
                Opts::new("karpenter_scheduler_queue_depth", "Pods that wait to be planned for"),
                &["controller"],
            )?,
            seconds: HistogramVec::new(
                HistogramOpts::new(
                    "karpenter_scheduler_scheduling_duration_seconds",
                    "Time from a complete batch to a verified plan",
                )
                .buckets(SECONDS.to_vec()),
                &["controller"],
            )?,
            calls: counters("stowage_api_calls_total", "Calls of the API server", &["verb", "resource"])?,
            aws_calls: counters(
                "stowage_aws_calls_total",
                "Calls of AWS, tries that failed included; code is AWS's word for what was wrong",
                &["service", "call", "code"],
            )?,
            aws_seconds: HistogramVec::new(
                HistogramOpts::new("stowage_aws_call_seconds", "How long AWS took to answer")
                    .buckets(SECONDS.to_vec()),
                &["service", "call"],
            )?,
            planned: Arc::default(),
            moments: Arc::new(Mutex::new(Moments { unsynced: Some(Instant::now()), planning: None })),
            view: Arc::default(),
        };
        for collector in [
            Box::new(metrics.claims_created.clone()) as Box<dyn prometheus::core::Collector>,
            Box::new(metrics.unschedulable.clone()),
            Box::new(metrics.zones.clone()),
            Box::new(metrics.scheduling.clone()),
            Box::new(metrics.synced.clone()),
            Box::new(metrics.nodes.clone()),
            Box::new(metrics.batch.clone()),
            Box::new(metrics.cost.clone()),
            Box::new(metrics.bound.clone()),
            Box::new(metrics.gap.clone()),
            Box::new(metrics.queue.clone()),
            Box::new(metrics.seconds.clone()),
            Box::new(metrics.calls.clone()),
            Box::new(metrics.aws_calls.clone()),
            Box::new(metrics.aws_seconds.clone()),
            Box::new(build_info()?),
        ] {
            metrics.registry.register(collector)?;
        }
        Ok(metrics)
    }

    /// From now on, the cluster itself is measured, too.
    ///
    /// # Errors
    /// Where two metrics have one name, which would be a defect.
    pub fn watch(&self, view: View) -> prometheus::Result<()> {
        view.cluster.pod_times().register(&self.registry)?;
        view.cluster.transitions().register(&self.registry)?;
        // A second view would be a defect, and the first is as good.
        let _ = self.view.set(view);
        Ok(())
    }

    /// What is measured of the lives of machines.
    pub fn lives(&self) -> &Lives {
        &self.lives
    }

    /// What is measured of nodes that are taken away.
    pub fn disruptions(&self) -> &Disruptions {
        &self.disruptions
    }

    /// What is measured of machines that are taken away, fail or fall ill.
    pub fn interruptions(&self) -> &Interruptions {
        &self.interruptions
    }

    /// What is measured of pods on Fargate.
    pub fn fargate(&self) -> &Measured {
        &self.fargate
    }

    /// The API server was called.
    pub(crate) fn called(&self, verb: &str, resource: &str) {
        self.calls.with_label_values(&[verb, resource]).inc();
    }

    /// AWS was called.
    pub(crate) fn called_aws(&self, service: &str, call: &str, took: Duration, code: Option<&str>) {
        self.aws_calls.with_label_values(&[service, call, code.unwrap_or_default()]).inc();
        self.aws_seconds.with_label_values(&[service, call]).observe(took.as_secs_f64());
    }

    /// The cluster was looked at; so many pods wait.
    pub fn looked(&self, amended: &Snapshot, unknown: usize, waiting: usize) {
        self.queue.with_label_values(&["provisioner"]).set(waiting as i64);
        self.synced.set(i64::from(unknown == 0));
        self.with_moments(|moments| {
            moments.unsynced = (unknown > 0).then(|| moments.unsynced.unwrap_or_else(Instant::now));
        });
        self.nodes.set(amended.nodes.len() as i64);
    }

    /// A plan is being made from now on, or no longer.
    pub fn planning(&self, is_on: bool) {
        self.with_moments(|moments| moments.planning = is_on.then(Instant::now));
    }

    /// A batch of so many pods was planned for, in so many seconds.
    pub fn planned(&self, batch: usize, decision: &Decision, seconds: f64) {
        self.batch.observe(batch as f64);
        self.scheduling.observe(seconds);
        self.seconds.with_label_values(&["provisioner"]).observe(seconds);
        self.unschedulable.with_label_values(&["provisioner"]).set(decision.unplaced.len() as i64);
        self.zones.reset();
        for (zone, pods) in &decision.zones {
            self.zones.with_label_values(&["provisioner", zone]).set(*pods as i64);
        }
        self.cost.set(decision.figures.cost);
        self.bound.set(decision.figures.bound);
        self.gap.set(decision.figures.gap);
    }

    /// A claim was made.
    pub fn claim_made(&self, pool: &str, relaxed: bool) {
        self.claim_made_for("provisioned", pool, relaxed);
    }

    /// A claim was made, for this reason.
    pub fn claim_made_for(&self, reason: &str, pool: &str, relaxed: bool) {
        let relaxed = if relaxed { "true" } else { "false" };
        self.claims_created.with_label_values(&[reason, pool, relaxed]).inc();
    }

    /// A claim was made for what a plan said to cost this much.
    pub fn promised(&self, claim: &str, dollars: f64) {
        self.with_planned(|planned| planned.insert(claim.to_owned(), dollars));
    }

    fn with_moments<T>(&self, f: impl FnOnce(&mut Moments) -> T) -> T {
        f(&mut self.moments.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn with_planned<T>(&self, f: impl FnOnce(&mut HashMap<String, f64>) -> T) -> T {
        f(&mut self.planned.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All of it, as Prometheus reads it. Takes a while in large clusters.
    pub fn text(&self) -> String {
        let mut text = self.kept();
        if let Some(view) = self.view.get() {
            text.push_str(&self.seen(view));
        }
        text
    }

    /// What is measured when somebody asks.
    fn seen(&self, view: &View) -> String {
        let mut out = Exposition::default();
        let seconds = |since: Option<Instant>| since.map_or(0.0, |since| since.elapsed().as_secs_f64());
        let moments = self.with_moments(|moments| *moments);
        out.gauge(
            "karpenter_cluster_state_unsynced_time_seconds",
            "How long the cluster has not been all known",
        );
        out.sample([], seconds(moments.unsynced));
        out.gauge(
            "karpenter_scheduler_unfinished_work_seconds",
            "How long the plan under way has taken so far",
        );
        out.sample([("controller", "provisioner")], seconds(moments.planning));
        self.lives.write(&mut out);
        let Some(snapshot) = view.cluster.snapshot() else { return out.into_text() };
        let market = Arc::clone(&view.market.borrow());
        let now = Timestamp::now();
        state::pools(&mut out, &snapshot, &market.catalog);
        self.with_planned(|planned| state::realised(&mut out, &snapshot, &market.catalog, planned));
        state::offerings(&mut out, &market.catalog);
        let (pools, classes) = view.pools.conditions();
        let of_pools = (
            "operator_nodepool_status_condition_count",
            "operator_nodepool_status_condition_current_status_seconds",
        );
        state::conditions(&mut out, of_pools, &pools, now);
        let of_classes = (
            "operator_ec2nodeclass_status_condition_count",
            "operator_ec2nodeclass_status_condition_current_status_seconds",
        );
        state::conditions(&mut out, of_classes, &classes, now);
        let of_claims = (
            "operator_nodeclaim_status_condition_count",
            "operator_nodeclaim_status_condition_current_status_seconds",
        );
        state::conditions(&mut out, of_claims, &state::of_claims(&snapshot), now);
        Transitions::write(&mut out, &snapshot, view.each, now);
        state::ignored(&mut out, &snapshot);
        state::user_data(&mut out, &view.pools.user_data());
        if view.each {
            let of_nodes = (
                "operator_node_status_condition_count",
                "operator_node_status_condition_current_status_seconds",
            );
            state::conditions(&mut out, of_nodes, &state::of_nodes(&snapshot), now);
            state::nodes(&mut out, &snapshot, now);
            state::pods(&mut out, &snapshot);
            view.cluster.pod_times().write(&mut out, &snapshot, now);
        }
        out.into_text()
    }

    fn kept(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|error| {
            error!(%error, "metrics cannot be written: this is a defect");
            String::new()
        })
    }
}

/// Something to measure with, which a registry knows from then on.
pub(crate) fn kept<C: Collector + Clone + 'static>(registry: &Registry, of: C) -> prometheus::Result<C> {
    registry.register(Box::new(of.clone()))?;
    Ok(of)
}

/// Which program this is.
fn build_info() -> prometheus::Result<IntGaugeVec> {
    let opts = Opts::new("karpenter_build_info", "1, labelled with what this program was built from");
    let info = IntGaugeVec::new(opts, &["version", "goversion", "goarch", "commit"])?;
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let commit = option_env!("STOWAGE_COMMIT").unwrap_or_default();
    info.with_label_values(&[env!("CARGO_PKG_VERSION"), "", arch, commit]).set(1);
    Ok(info)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;
    use stowage_cluster::disrupt::Room;
    use stowage_cluster::{Index, Kind};

    use super::*;
    use crate::decide::Figures;
    use crate::disrupt::methods::Weighed;
    use crate::market::now;

    #[test]
    fn what_was_planned_can_be_read() {
        let metrics = Metrics::new().expect("names are different");
        let figures = Figures { cost: 1.5, bound: 1.25, gap: 0.2, pods: 3 };
        let unplaced = vec![("default/huge".to_owned(), "too big".to_owned())];
        metrics.planned(3, &Decision { unplaced, figures, ..Decision::default() }, 0.02);
        metrics.looked(&Snapshot::default(), 1, 2);
        let text = metrics.text();
        for line in [
            "stowage_plan_cost_dollars_per_hour 1.5",
            "stowage_plan_bound_dollars_per_hour 1.25",
            "stowage_plan_gap_ratio 0.2",
            "karpenter_scheduler_unschedulable_pods_count{controller=\"provisioner\"} 1",
            "stowage_batch_pods_bucket{le=\"5\"} 1",
            "stowage_plan_seconds_bucket{le=\"0.025\"} 1",
            "karpenter_cluster_state_synced 0",
            "karpenter_scheduler_queue_depth{controller=\"provisioner\"} 2",
            "karpenter_scheduler_scheduling_duration_seconds_count{controller=\"provisioner\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
    }

    #[test]
    fn what_consolidation_weighs_and_budgets_leave_can_be_read_by_reason() {
        let metrics = Metrics::new().expect("names are different");
        let weighed =
            |approved, policy, score| Weighed { pool: "default".to_owned(), policy, approved, score };
        metrics.disruptions().weighed(&weighed(true, "WhenEmptyOrUnderutilized", None));
        metrics.disruptions().weighed(&weighed(true, "Balanced", Some(0.75)));
        metrics.disruptions().weighed(&weighed(false, "Balanced", Some(0.3)));
        let mut index = Index::default();
        let pool =
            json!({"metadata": {"name": "default"}, "spec": {"disruption": {"consolidateAfter": "0s"}}});
        index.apply(Kind::NodePool, &pool.to_string()).expect("a pool");
        metrics.disruptions().room(&Room::of(&index.snapshot(), &BTreeSet::new(), now()));
        let text = metrics.text();
        for line in [
            r#"karpenter_consolidation_moves_total{decision="approved",nodepool="default",policy="WhenEmptyOrUnderutilized"} 1"#,
            r#"karpenter_consolidation_moves_total{decision="rejected",nodepool="default",policy="Balanced"} 1"#,
            r#"karpenter_consolidation_score_sum{decision="approved",nodepool="default",policy="Balanced"} 0.75"#,
            r#"karpenter_consolidation_score_bucket{decision="rejected",nodepool="default",policy="Balanced",le="0.33"} 1"#,
            r#"karpenter_nodepools_nodes_consuming_budgets{nodepool="default",reason="drifted"} 0"#,
            r#"karpenter_nodepools_nodes_consuming_budgets{nodepool="default",reason="empty"} 0"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
        let plain = r#"consolidation_score_sum{decision="approved",nodepool="default",policy="WhenEmpty"#;
        assert!(!text.contains(plain), "only where the policy asks for a score");
    }
}
