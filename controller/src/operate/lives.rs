//! What is measured of the lives of machines: how many came and went, why, how long that took, and what AWS was asked for it.
//!
//! compat: karpenter v1.14, `pkg/metrics`, `pkg/controllers/node/termination`, and the provider's launches.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use stowage_api::well_known::{CAPACITY_TYPE, NODE_POOL, ZONE};
use stowage_aws::Refused;

use super::exposition::Exposition;
use super::metrics::SECONDS;
use super::summary::Summaries;

/// How Karpenter calls what it launches machines with.
const PROVIDER: &str = "aws";

/// Counters of lives.
#[derive(Clone, Debug)]
pub struct Lives {
    nodes_created: IntCounterVec,
    nodes_terminated: IntCounterVec,
    nodes_drained: IntCounterVec,
    claims_terminated: IntCounterVec,
    claims_disrupted: IntCounterVec,
    termination: HistogramVec,
    instance_termination: HistogramVec,
    lifetime: HistogramVec,
    node_termination: Summaries,
    evictions: IntCounterVec,
    pods_drained: IntCounterVec,
    failures: IntCounterVec,
    not_ended: IntCounterVec,
    batches: HistogramVec,
    batch_times: HistogramVec,
    asked: HistogramVec,
    errors: IntCounterVec,
}

/// What ended: for how long it was there, and for how long it was going.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ended {
    /// Whether it had a node.
    pub had_node: bool,
    /// Seconds since it was made.
    pub lived: Option<f64>,
    /// Seconds since its deletion.
    pub going: Option<f64>,
    /// Seconds since its instance was ended.
    pub ending: Option<f64>,
}

/// Buckets of lives, seconds.
const LIVES: [f64; 12] = [
    300.0,
    900.0,
    1_800.0,
    3_600.0,
    10_800.0,
    21_600.0,
    43_200.0,
    86_400.0,
    259_200.0,
    604_800.0,
    1_209_600.0,
    2_592_000.0,
];

/// What Karpenter calls an answer of AWS that says no.
pub(crate) fn error(refused: &Refused) -> &'static str {
    if refused.is_gone() { "NodeClaimNotFoundError" } else { "" }
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
        let histogram = |name: &str, help: &str, labels: &[&str]| {
            let options = HistogramOpts::new(format!("karpenter_{name}"), help).buckets(SECONDS.to_vec());
            let histogram = HistogramVec::new(options, labels)?;
            registry.register(Box::new(histogram.clone()) as Box<dyn Collector>)?;
            prometheus::Result::Ok(histogram)
        };
        // Lives are longer than what else is measured: from five minutes to a month.
        let options = HistogramOpts::new(
            "karpenter_nodes_lifetime_duration_seconds",
            "Time from the making of a node's NodeClaim until it is gone",
        );
        let lifetime = HistogramVec::new(options.buckets(LIVES.to_vec()), &["nodepool"])?;
        registry.register(Box::new(lifetime.clone()))?;
        Ok(Self {
            lifetime,
            node_termination: Summaries::default(),
            instance_termination: histogram(
                "nodeclaims_instance_termination_duration_seconds",
                "Time from the end of an instance until EC2 has it no more",
                &["nodepool"],
            )?,
            asked: histogram(
                "cloudprovider_duration_seconds",
                "How long it took to launch, find or end machines",
                &["controller", "method", "provider"],
            )?,
            errors: counter(
                "cloudprovider_errors_total",
                "Machines that could not be launched, found or ended",
                &["controller", "method", "provider", "error"],
            )?,
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
            termination: histogram(
                "nodeclaims_termination_duration_seconds",
                "Time from the deletion of a NodeClaim until it is gone",
                &["nodepool"],
            )?,
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
            not_ended: counter(
                "cloudprovider_instance_termination_failures_total",
                "Instances that could not be ended when it was tried",
                &["zone"],
            )?,
            batches: histogram(
                "cloudprovider_batcher_batch_size",
                "Instances that EC2 was asked about, or asked to end, by one call",
                &["batcher"],
            )?,
            batch_times: histogram(
                "cloudprovider_batcher_batch_time_seconds",
                "Time from the first question of a batch until EC2 was asked",
                &["batcher"],
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

    /// A claim is gone.
    pub fn gone(&self, labels: &Labels, ended: Ended) {
        let (pool, zone) = (of(labels, NODE_POOL), of(labels, ZONE));
        self.claims_terminated.with_label_values(&[pool, of(labels, CAPACITY_TYPE), zone]).inc();
        let see = |histogram: &HistogramVec, seconds: Option<f64>| {
            if let Some(seconds) = seconds {
                histogram.with_label_values(&[pool]).observe(seconds);
            }
        };
        see(&self.termination, ended.going);
        see(&self.instance_termination, ended.ending);
        if ended.had_node {
            self.nodes_terminated.with_label_values(&[pool, zone]).inc();
            see(&self.lifetime, ended.lived);
            if let Some(seconds) = ended.going {
                self.node_termination.see(pool, seconds);
            }
        }
    }

    /// Measures something that AWS is asked, under the names that Karpenter has for who asks (`nodeclaim.lifecycle`) and for
    /// what (`Create`).
    pub async fn asking<T, E>(
        &self,
        (controller, method): (&str, &str),
        asking: impl Future<Output = Result<T, E>>,
        error: impl FnOnce(&E) -> &'static str,
    ) -> Result<T, E> {
        let began = Instant::now();
        let answer = asking.await;
        let took = began.elapsed().as_secs_f64();
        self.asked.with_label_values(&[controller, method, PROVIDER]).observe(took);
        if let Err(failed) = &answer {
            self.errors.with_label_values(&[controller, method, PROVIDER, error(failed)]).inc();
        }
        answer
    }

    /// What is written when somebody asks.
    pub(super) fn write(&self, out: &mut Exposition) {
        self.node_termination.write(
            out,
            ("karpenter_nodes_termination_duration_seconds", "nodepool"),
            "Time from the deletion of a node until it is gone",
        );
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

    /// The instance of a claim could not be ended.
    pub fn not_ended(&self, labels: &Labels) {
        self.not_ended.with_label_values(&[of(labels, ZONE)]).inc();
    }

    /// So many were asked about together, after so long.
    pub(crate) fn batch(&self, batcher: &str, size: usize, waited: Duration) {
        self.batches.with_label_values(&[batcher]).observe(size as f64);
        self.batch_times.with_label_values(&[batcher]).observe(waited.as_secs_f64());
    }

    /// An offering could not be had.
    pub fn not_had(&self, zone: &str, capacity_type: &str, reason: &str) {
        self.failures.with_label_values(&[zone, capacity_type, reason]).inc();
    }
}
