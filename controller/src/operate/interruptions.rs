//! What is measured of machines that are taken away, fail or fall ill.
//!
//! compat: karpenter-provider-aws v1.14, `pkg/controllers/interruption/metrics.go`; karpenter v1.14,
//! `pkg/controllers/node/health/metrics.go`. Names that begin with `stowage_` are our own.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::metrics::{SECONDS, kept};

/// Counters of interruptions.
#[derive(Clone, Debug)]
pub struct Interruptions {
    received: IntCounterVec,
    deleted: IntCounter,
    waited: Histogram,
    unwell: IntCounterVec,
    repaired: IntCounterVec,
    readable: IntGauge,
    shifted: IntGaugeVec,
}

/// A claim that was repaired.
#[derive(Clone, Copy, Debug)]
pub struct Repaired<'a> {
    /// The condition of its node, as metrics write it.
    pub condition: &'a str,
    /// Its `NodePool`.
    pub pool: &'a str,
    /// `spot`, `on-demand` or `reserved`.
    pub capacity_type: &'a str,
    /// The image that its machine was launched from.
    pub image: &'a str,
}

impl Interruptions {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            kept(registry, IntCounterVec::new(Opts::new(format!("karpenter_{name}"), help), labels)?)
        };
        let waited = HistogramOpts::new(
            "karpenter_interruption_message_queue_duration_seconds",
            "Time from the sending of a message until it was dealt with",
        );
        let deleted = IntCounter::new(
            "karpenter_interruption_deleted_messages_total",
            "Messages that were deleted from the queue",
        )?;
        let readable = IntGauge::new(
            "stowage_interruption_queue_readable",
            "1 while the queue of interruptions answers; 0 while it is missing, refuses or does not answer",
        )?;
        let shifted = IntGaugeVec::new(
            Opts::new("stowage_zone_shifted", "1 for each zone that the cluster is shifted away from"),
            &["zone_id"],
        )?;
        Ok(Self {
            received: counter(
                "interruption_received_messages_total",
                "Messages that were received, by what they are about",
                &["message_type"],
            )?,
            deleted: kept(registry, deleted)?,
            waited: kept(registry, Histogram::with_opts(waited.buckets(SECONDS.to_vec()))?)?,
            unwell: counter(
                "interruption_instance_status_unhealthy_total",
                "Machines that EC2 has found something wrong with, by what",
                &["category"],
            )?,
            repaired: counter(
                "nodeclaims_unhealthy_disrupted_total",
                "NodeClaims that were deleted because their node was unhealthy for too long",
                &["condition", "nodepool", "capacity_type", "image_id"],
            )?,
            readable: kept(registry, readable)?,
            shifted: kept(registry, shifted)?,
        })
    }

    /// A message has come.
    pub fn received(&self, kind: &str) {
        self.received.with_label_values(&[kind]).inc();
    }

    /// So many were deleted.
    pub fn deleted(&self, count: usize) {
        self.deleted.inc_by(count as u64);
    }

    /// One was dealt with so many seconds after it was sent.
    pub fn waited(&self, seconds: f64) {
        self.waited.observe(seconds);
    }

    /// EC2 has found something wrong with a machine.
    pub fn unwell(&self, category: &str) {
        self.unwell.with_label_values(&[category]).inc();
    }

    /// A claim was deleted as its node was unhealthy.
    pub fn repaired(&self, of: Repaired<'_>) {
        let labels = [of.condition, of.pool, of.capacity_type, of.image];
        self.repaired.with_label_values(&labels).inc();
    }

    /// Whether the queue answers.
    pub fn readable(&self, is: bool) {
        self.readable.set(i64::from(is));
    }

    /// Zones that are shifted away from, by their ids.
    pub fn shifted<'z>(&self, zones: impl Iterator<Item = &'z str>) {
        self.shifted.reset();
        zones.for_each(|zone| self.shifted.with_label_values(&[zone]).set(1));
    }
}
