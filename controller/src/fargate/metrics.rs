//! What is measured of pods that go to Fargate.

use std::time::Duration;

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use stowage_fargate::{Outcome, PolicyId};

use crate::operate::metrics::kept;

/// Buckets of how long an answer takes, seconds.
const ANSWER: [f64; 9] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.025, 0.1, 0.5];

/// Counters about Fargate.
#[derive(Clone, Debug)]
pub struct Measured {
    admissions: IntCounterVec,
    seconds: Histogram,
    routed: IntGaugeVec,
    spend: GaugeVec,
    saved: Gauge,
    age: Gauge,
    verdicts: IntGaugeVec,
    left_out: IntGauge,
    recreated: IntCounterVec,
    held: IntGauge,
    misbilled: IntGauge,
    home: Gauge,
    tickets: IntGauge,
}

impl Measured {
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let name = |name: &str| format!("stowage_fargate_{name}");
        let gauge = |of: &str, help: &str| kept(registry, Gauge::new(name(of), help)?);
        let count = |of: &str, help: &str| kept(registry, IntGauge::new(name(of), help)?);
        let seconds =
            HistogramOpts::new(name("admission_seconds"), "How long the answer to an admission took");
        let counters = |of: &str, help: &str, labels: &[&str]| {
            kept(registry, IntCounterVec::new(Opts::new(name(of), help), labels)?)
        };
        let routed =
            Opts::new(name("pods"), "Pods on Fargate, or about to be, by the policy that rules them");
        let spend = Opts::new(name("dollars_per_hour"), "What these pods cost an hour");
        let verdicts = Opts::new(name("verdicts"), "Workloads by where their next pods go");
        Ok(Self {
            admissions: counters(
                "admissions_total",
                "Admissions that were answered: Routed, or why the pod was left as it is",
                &["policy", "outcome"],
            )?,
            seconds: kept(registry, Histogram::with_opts(seconds.buckets(ANSWER.to_vec()))?)?,
            routed: kept(registry, IntGaugeVec::new(routed, &["policy"])?)?,
            spend: kept(registry, GaugeVec::new(spend, &["policy"])?)?,
            saved: gauge(
                "saved_dollars_per_hour",
                "What nodes for the same pods would cost an hour more, by the last looks; without those that have no place on nodes",
            )?,
            age: gauge(
                "verdict_age_seconds",
                "How long ago the oldest verdict that is followed was looked at",
            )?,
            verdicts: kept(registry, IntGaugeVec::new(verdicts, &["side"])?)?,
            left_out: count(
                "verdicts_left_out",
                "Verdicts that other replicas cannot be told for lack of room",
            )?,
            recreated: counters(
                "recreated_total",
                "Pods that were deleted to be made anew, by where for",
                &["to"],
            )?,
            held: count(
                "held",
                "Workloads that are kept on nodes, as Fargate did not start their pods in time",
            )?,
            misbilled: count(
                "misbilled",
                "Workloads for which Fargate provisions something else than planned",
            )?,
            home: gauge(
                "home_dollars_per_hour",
                "What would be saved an hour by bringing pods home to nodes",
            )?,
            tickets: count("open_grants", "Grants of which no pod has been seen yet")?,
        })
    }

    pub(crate) fn admitted(&self, outcome: &Outcome, took: Duration) {
        let policy = match outcome {
            Outcome::Routed { policy, .. } | Outcome::Refused { policy, .. } => policy.word(),
            Outcome::Left(_) => String::new(),
        };
        self.admissions.with_label_values(&[policy.as_str(), outcome.word()]).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// Pods by policy, and what they cost an hour.
    pub(crate) fn routed(&self, all: impl Iterator<Item = (PolicyId, usize, f64)>) {
        self.routed.reset();
        self.spend.reset();
        for (policy, pods, dollars) in all {
            let word = policy.word();
            self.routed.with_label_values(&[&word]).set(pods as i64);
            self.spend.with_label_values(&[&word]).set(dollars);
        }
    }

    pub(crate) fn looked(&self, fargate: usize, nodes: usize, oldest: u64, saved: f64, home: f64) {
        self.verdicts.with_label_values(&["Fargate"]).set(fargate as i64);
        self.verdicts.with_label_values(&["Nodes"]).set(nodes as i64);
        self.age.set(oldest as f64);
        self.saved.set(saved);
        self.home.set(home);
    }

    pub(crate) fn left_out(&self, verdicts: usize) {
        self.left_out.set(verdicts as i64);
    }

    pub(crate) fn recreated(&self, to: &str) {
        self.recreated.with_label_values(&[to]).inc();
    }

    pub(crate) fn standing(&self, held: usize, misbilled: usize, tickets: usize) {
        self.held.set(held as i64);
        self.misbilled.set(misbilled as i64);
        self.tickets.set(tickets as i64);
    }
}
