//! How long pods take from being made until they have a node, and until they are ready.
//!
//! Seen as they come about: pods that were bound before this process began are none of its business.
//!
//! compat: karpenter v1.14, `pkg/controllers/metrics/pod`.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use prometheus::{Histogram, HistogramOpts};
use serde_json::Value;
use stowage_cluster::Snapshot;

use super::exposition::Exposition;
use super::metrics::SECONDS;

/// Quantiles of start-up times.
const QUANTILES: [(f64, &str); 5] = [(0.0, "0"), (0.5, "0.5"), (0.9, "0.9"), (0.99, "0.99"), (1.0, "1")];

/// Quantiles are of what was seen within so long, as those of Prometheus' own library are.
const RECENT: Duration = Duration::from_mins(10);

/// And of no more than so many.
const MOST: usize = 10_000;

/// Pods that are not ready yet, and how long others took.
#[derive(Clone, Debug, Default)]
pub struct PodTimes(Arc<Mutex<Times>>);

#[derive(Debug, Default)]
struct Times {
    /// By uid.
    waiting: HashMap<String, Waiting>,
    bound: Option<Histogram>,
    recent: VecDeque<(Instant, f64)>,
    sum: f64,
    count: u64,
}

#[derive(Debug)]
struct Waiting {
    namespace: String,
    name: String,
    made: Timestamp,
    bound: bool,
}

impl PodTimes {
    /// The histogram of times until pods were bound, for a registry.
    ///
    /// # Errors
    /// Where it cannot be made, which would be a defect.
    pub(crate) fn bound(&self) -> prometheus::Result<Histogram> {
        let name = "karpenter_pods_bound_duration_seconds";
        let help = "Time from when a pod was made until it was bound";
        let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()))?;
        self.with(|times| times.bound = Some(histogram.clone()));
        Ok(histogram)
    }

    /// A pod is as this says.
    pub(crate) fn see(&self, pod: &DynamicObject) {
        let Some((uid, made)) = pod.uid().zip(pod.creation_timestamp()) else { return };
        let status = &pod.data["status"];
        let over = matches!(status["phase"].as_str(), Some("Succeeded" | "Failed"));
        let (bound, ready) = (since(status, "PodScheduled"), since(status, "Ready"));
        self.with(|times| {
            if over || pod.metadata.deletion_timestamp.is_some() {
                times.waiting.remove(&uid);
                return;
            }
            let known = times.waiting.get_mut(&uid);
            if let Some(waiting) = known {
                if let (false, Some(at)) = (waiting.bound, bound) {
                    waiting.bound = true;
                    let seconds = at.duration_since(waiting.made).as_secs_f64();
                    if let Some(histogram) = &times.bound {
                        histogram.observe(seconds);
                    }
                }
                if let Some(at) = ready {
                    let seconds = at.duration_since(waiting.made).as_secs_f64();
                    times.waiting.remove(&uid);
                    times.started(seconds);
                }
            } else if ready.is_none() {
                let namespace = pod.namespace().unwrap_or_default();
                let waiting =
                    Waiting { namespace, name: pod.name_any(), made: made.0, bound: bound.is_some() };
                times.waiting.insert(uid, waiting);
            }
        });
    }

    /// A pod is gone.
    pub(crate) fn gone(&self, pod: &DynamicObject) {
        if let Some(uid) = pod.uid() {
            self.with(|times| drop(times.waiting.remove(&uid)));
        }
    }

    /// What is to be said of it, as of now. Pods that went unseen are forgotten.
    pub(crate) fn write(&self, out: &mut Exposition, snapshot: &Snapshot, now: Timestamp) {
        let there: HashSet<&str> = snapshot.pods.iter().map(|pod| &*pod.uid).collect();
        self.with(|times| {
            times.waiting.retain(|uid, _| there.contains(uid.as_str()));
            let mut all: Vec<&Waiting> = times.waiting.values().collect();
            all.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
            let mut family = |name, help, counts: fn(&Waiting) -> bool| {
                out.gauge(name, help);
                for pod in all.iter().filter(|pod| counts(pod)) {
                    let labels = [("name", pod.name.as_str()), ("namespace", pod.namespace.as_str())];
                    out.sample(labels, now.duration_since(pod.made).as_secs_f64());
                }
            };
            let unbound: fn(&Waiting) -> bool = |pod| !pod.bound;
            family("karpenter_pods_unbound_time_seconds", "How long a pod has waited for a node", unbound);
            family("karpenter_pods_unstarted_time_seconds", "How long a pod has not been ready", |_| true);
            times.forget();
            let mut sorted: Vec<f64> = times.recent.iter().map(|(_, seconds)| *seconds).collect();
            sorted.sort_by(f64::total_cmp);
            out.summary(
                "karpenter_pods_startup_duration_seconds",
                "Time from when a pod was made until it was ready",
            );
            for (share, label) in QUANTILES {
                let last = sorted.len().saturating_sub(1) as f64;
                let value = sorted.get((share * last).round() as usize).copied().unwrap_or(f64::NAN);
                out.sample([("quantile", label)], value);
            }
            out.part("_sum", times.sum);
            out.part("_count", times.count as f64);
        });
    }

    fn with<T>(&self, f: impl FnOnce(&mut Times) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Times {
    fn started(&mut self, seconds: f64) {
        self.forget();
        if self.recent.len() == MOST {
            self.recent.pop_front();
        }
        self.recent.push_back((Instant::now(), seconds));
        self.sum += seconds;
        self.count += 1;
    }

    fn forget(&mut self) {
        while self.recent.front().is_some_and(|(at, _)| at.elapsed() > RECENT) {
            self.recent.pop_front();
        }
    }
}

/// Since when a condition of a pod holds; `None` while it does not.
fn since(status: &Value, kind: &str) -> Option<Timestamp> {
    let conditions = status["conditions"].as_array()?;
    let found = conditions.iter().find(|c| c["type"] == kind && c["status"] == "True")?;
    found["lastTransitionTime"].as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stowage_cluster::{Index, Kind};

    use super::*;

    fn pod(name: &str, conditions: &[(&str, &str)]) -> DynamicObject {
        let condition =
            |(kind, at): &(&str, &str)| json!({"type": kind, "status": "True", "lastTransitionTime": at});
        let conditions: Vec<Value> = conditions.iter().map(condition).collect();
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "web", "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"phase": "Pending", "conditions": conditions},
        });
        serde_json::from_value(object).expect("a pod")
    }

    #[test]
    fn a_pod_is_timed_from_its_making_to_its_being_ready() {
        let times = PodTimes::default();
        let bound = times.bound().expect("a histogram");
        let scheduled = ("PodScheduled", "2026-01-01T00:00:07Z");
        let ready = ("Ready", "2026-01-01T00:00:20Z");
        times.see(&pod("old", &[scheduled, ready]));
        times.see(&pod("a", &[]));
        times.see(&pod("b", &[]));
        times.see(&pod("c", &[]));
        times.see(&pod("a", &[scheduled]));
        times.see(&pod("a", &[scheduled]));
        times.see(&pod("b", &[scheduled, ready]));
        times.gone(&pod("c", &[]));
        times.see(&pod("d", &[]));
        times.see(&pod("lost", &[]));
        assert_eq!((bound.get_sample_count(), bound.get_sample_sum()), (2, 14.0));
        let mut index = Index::default();
        for name in ["a", "b", "d", "old"] {
            let json = serde_json::to_string(&pod(name, &[])).expect("JSON");
            index.apply(Kind::Pod, &json).expect("a pod");
        }
        let mut out = Exposition::default();
        times.write(&mut out, &index.snapshot(), "2026-01-01T00:01:00Z".parse().expect("a moment"));
        let text = out.into_text();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            lines[..3],
            [
                "karpenter_pods_unbound_time_seconds{name=\"d\",namespace=\"web\"} 60",
                "karpenter_pods_unstarted_time_seconds{name=\"a\",namespace=\"web\"} 60",
                "karpenter_pods_unstarted_time_seconds{name=\"d\",namespace=\"web\"} 60",
            ]
        );
        assert!(lines.contains(&"karpenter_pods_startup_duration_seconds{quantile=\"0.5\"} 20"));
        assert_eq!(
            lines[8..],
            [
                "karpenter_pods_startup_duration_seconds_sum 20",
                "karpenter_pods_startup_duration_seconds_count 1"
            ]
        );
    }
}
