//! What is measured of nodes that are taken away: decisions, budgets, what was promised and what came of it.
//!
//! compat: karpenter v1.14, `pkg/controllers/disruption/metrics.go`. Names that begin with `stowage_` are our own.

use prometheus::{
    CounterVec, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry,
};
use stowage_cluster::disrupt::{Reason, Room};

use super::metrics::{SECONDS, kept};
use crate::disrupt::methods::{Stays, Weighed};

/// Counters of what is taken away.
#[derive(Clone, Debug)]
pub struct Disruptions {
    decisions: IntCounterVec,
    by_pool: IntCounterVec,
    failures: IntCounterVec,
    invalid: IntCounterVec,
    cut_short: IntCounterVec,
    eligible: IntGaugeVec,
    seconds: HistogramVec,
    allowed: IntGaugeVec,
    consuming: IntGaugeVec,
    blocked: CounterVec,
    stay: IntGaugeVec,
    stay_savings: GaugeVec,
    promised: Gauge,
    realised: Gauge,
    moves: Moves,
}

/// What consolidation has weighed.
#[derive(Clone, Debug)]
struct Moves {
    total: IntCounterVec,
    scores: HistogramVec,
}

/// Bounds of scores of moves: a half is enough for the policy `Balanced`.
///
/// compat: karpenter v1.14, `consolidation_score`.
const SCORES: [f64; 8] = [0.1, 0.25, 0.33, 0.5, 1.0, 2.0, 5.0, 10.0];

/// What a decision was about.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// `delete` or `replace`.
    pub decision: &'a str,
    /// Why.
    pub reason: Reason,
    /// How it was found: `empty`, `single`, `multi`; empty for drift.
    pub kind: &'a str,
}

impl Moves {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let labels = ["decision", "nodepool", "policy"];
        let total = Opts::new(
            "karpenter_consolidation_moves_total",
            "Moves of consolidation that were weighed, by what came of it",
        );
        let scores = HistogramOpts::new(
            "karpenter_consolidation_score",
            "The share saved over the share disrupted of moves, where a NodePool's policy weighs them",
        );
        Ok(Self {
            total: kept(registry, IntCounterVec::new(total, &labels)?)?,
            scores: kept(registry, HistogramVec::new(scores.buckets(SCORES.to_vec()), &labels)?)?,
        })
    }
}

impl Disruptions {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            kept(registry, IntCounterVec::new(Opts::new(format!("karpenter_{name}"), help), labels)?)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            kept(registry, IntGaugeVec::new(Opts::new(format!("karpenter_{name}"), help), labels)?)
        };
        let decided = ["decision", "reason", "consolidation_type"];
        let options = HistogramOpts::new(
            "karpenter_voluntary_disruption_decision_evaluation_duration_seconds",
            "Time that looking for nodes to take away took",
        );
        let seconds =
            HistogramVec::new(options.buckets(SECONDS.to_vec()), &["reason", "consolidation_type"])?;
        let blocked = CounterVec::new(
            Opts::new(
                "stowage_disruption_blocked_seconds_total",
                "Time for which nodes that could go were held back by the budgets of their NodePool",
            ),
            &["nodepool", "reason"],
        )?;
        let gauge = |name: &str, help: &str| kept(registry, Gauge::new(name, help)?);
        Ok(Self {
            decisions: counter(
                "voluntary_disruption_decisions_total",
                "Decisions to take nodes away",
                &decided,
            )?,
            by_pool: counter(
                "voluntary_disruption_decisions_by_nodepool_total",
                "Nodes that were decided to be taken away",
                &["nodepool", "decision", "reason"],
            )?,
            failures: counter(
                "voluntary_disruption_queue_failures_total",
                "Decisions that were taken back",
                &decided,
            )?,
            invalid: counter(
                "voluntary_disruption_failed_validations_total",
                "Decisions that did not hold any more just before they would have been carried out",
                &["consolidation_type"],
            )?,
            cut_short: counter(
                "voluntary_disruption_consolidation_timeouts_total",
                "Looks for nodes to take away that ended before all was looked at",
                &["consolidation_type"],
            )?,
            eligible: gauges(
                "voluntary_disruption_eligible_nodes",
                "Nodes that could go, but for budgets and places for their pods",
                &["reason"],
            )?,
            seconds: kept(registry, seconds)?,
            allowed: gauges(
                "nodepools_allowed_disruptions",
                "Nodes that may still be sent on their way",
                &["nodepool", "reason"],
            )?,
            consuming: gauges(
                "nodepools_nodes_consuming_budgets",
                "Nodes that use budgets up: on their way, or not ready",
                &["nodepool", "reason"],
            )?,
            blocked: kept(registry, blocked)?,
            moves: Moves::new(registry)?,
            stay: kept(
                registry,
                IntGaugeVec::new(
                    Opts::new(
                        "stowage_disruption_kept_nodes",
                        "Nodes that are not taken away to save money, by why",
                    ),
                    &["nodepool", "reason"],
                )?,
            )?,
            stay_savings: kept(
                registry,
                GaugeVec::new(
                    Opts::new(
                        "stowage_disruption_kept_saving_dollars_per_hour",
                        "What would be saved without nodes that are not taken away, where that is known",
                    ),
                    &["nodepool", "reason"],
                )?,
            )?,
            promised: gauge(
                "stowage_disruption_promised_dollars_per_hour",
                "What decisions that were carried out were planned to save; less than nothing where nodes had to be replaced",
            )?,
            realised: gauge(
                "stowage_disruption_realised_dollars_per_hour",
                "What the same decisions have saved, as what came was launched",
            )?,
        })
    }

    /// These nodes stay.
    pub(crate) fn stay(&self, all: &[Stays]) {
        self.stay.reset();
        self.stay_savings.reset();
        for stays in all {
            let labels = [stays.pool.as_str(), stays.word];
            self.stay.with_label_values(&labels).inc();
            self.stay_savings.with_label_values(&labels).add(stays.saving.unwrap_or_default());
        }
    }

    /// It was decided to take nodes of these `NodePools` away.
    pub fn decided<'p>(&self, of: Of<'_>, pools: impl Iterator<Item = &'p str>) {
        self.decisions.with_label_values(&[of.decision, of.reason.metric(), of.kind]).inc();
        for pool in pools {
            self.by_pool.with_label_values(&[pool, of.decision, of.reason.metric()]).inc();
        }
    }

    /// A decision was taken back.
    pub fn failed(&self, of: Of<'_>) {
        self.failures.with_label_values(&[of.decision, of.reason.metric(), of.kind]).inc();
    }

    /// A decision did not hold any more.
    pub fn invalid(&self, kind: &str) {
        self.invalid.with_label_values(&[kind]).inc();
    }

    /// A method has not come to the end.
    pub fn cut_short(&self, kind: &str) {
        self.cut_short.with_label_values(&[kind]).inc();
    }

    /// A method has looked for so many seconds; so many nodes could go.
    pub fn looked(&self, reason: Reason, kind: &str, eligible: usize, seconds: f64) {
        self.eligible.with_label_values(&[reason.metric()]).set(eligible as i64);
        self.seconds.with_label_values(&[reason.metric(), kind]).observe(seconds);
    }

    /// What budgets leave.
    pub fn room(&self, room: &Room) {
        self.allowed.reset();
        self.consuming.reset();
        for (pool, reason, left) in room.all() {
            let more = i64::try_from(left.more).unwrap_or(i64::MAX);
            self.allowed.with_label_values(&[pool, reason.metric()]).set(more);
            let going = i64::try_from(left.tally.going).unwrap_or(i64::MAX);
            self.consuming.with_label_values(&[pool, reason.metric()]).set(going);
        }
    }

    /// Nodes of a `NodePool` were weighed.
    pub(crate) fn weighed(&self, weighed: &Weighed) {
        let decision = if weighed.approved { "approved" } else { "rejected" };
        let labels = [decision, weighed.pool.as_str(), weighed.policy];
        self.moves.total.with_label_values(&labels).inc();
        if let Some(score) = weighed.score {
            self.moves.scores.with_label_values(&labels).observe(score);
        }
    }

    /// Budgets of a `NodePool` have held nodes back for so many seconds more.
    pub fn blocked(&self, pool: &str, reason: Reason, seconds: f64) {
        self.blocked.with_label_values(&[pool, reason.metric()]).inc_by(seconds);
    }

    /// A decision was carried out: dollars an hour that were promised, and that it has saved.
    pub fn done(&self, promised: f64, realised: f64) {
        self.promised.add(promised);
        self.realised.add(realised);
    }
}
