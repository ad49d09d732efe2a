//! How long pods take from being made until they have a node, and until they are ready; and of that, from when they were
//! first planned for.
//!
//! Seen as they come about: pods that were bound before this process began are none of its business.
//!
//! compat: karpenter v1.14, `pkg/controllers/metrics/pod`.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use prometheus::{Histogram, HistogramOpts, Registry};
use serde_json::Value;
use stowage_cluster::Snapshot;

use super::exposition::Exposition;
use super::metrics::SECONDS;
use super::summary::Summary;

/// Pods that are not ready yet, and how long others took.
#[derive(Clone, Debug, Default)]
pub struct PodTimes(Arc<Mutex<Times>>);

#[derive(Debug, Default)]
struct Times {
    /// By uid.
    waiting: HashMap<String, Waiting>,
    histograms: Option<Histograms>,
    started: Summary,
}

#[derive(Debug)]
struct Waiting {
    namespace: String,
    name: String,
    made: Timestamp,
    bound: bool,
    /// When a plan was first made for it.
    decided: Option<Timestamp>,
    /// When a plan first had a place for it.
    placed: Option<Timestamp>,
}

/// Durations, seconds.
#[derive(Clone, Debug)]
struct Histograms {
    /// Until a pod was bound, from its making.
    bound: Histogram,
    /// Until it was first planned for.
    decided: Histogram,
    /// Until it was bound, from when a plan first had a place for it.
    placed_bound: Histogram,
    /// Until it was ready, from then.
    placed_ready: Histogram,
}

impl PodTimes {
    /// Durations go into a registry from now on.
    ///
    /// # Errors
    /// Where two have one name, which would be a defect.
    pub(crate) fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        let histogram = |name: &str, help: &str| {
            let options = HistogramOpts::new(format!("karpenter_pods_{name}"), help);
            let histogram = Histogram::with_opts(options.buckets(SECONDS.to_vec()))?;
            registry.register(Box::new(histogram.clone()))?;
            prometheus::Result::Ok(histogram)
        };
        let histograms = Histograms {
            bound: histogram("bound_duration_seconds", "Time from when a pod was made until it was bound")?,
            decided: histogram(
                "scheduling_decision_duration_seconds",
                "Time from when a pod was made until it was first planned for",
            )?,
            placed_bound: histogram(
                "provisioning_bound_duration_seconds",
                "Time from when a plan first had a place for a pod until it was bound",
            )?,
            placed_ready: histogram(
                "provisioning_startup_duration_seconds",
                "Time from when a plan first had a place for a pod until it was ready",
            )?,
        };
        self.with(|times| times.histograms = Some(histograms));
        Ok(())
    }

    /// A plan was made: pods (`namespace/name`) with a place in it, and pods without one.
    pub(crate) fn planned<'a>(
        &self,
        placed: impl Iterator<Item = &'a str>,
        unplaced: impl Iterator<Item = &'a str>,
        now: Timestamp,
    ) {
        let pods: HashMap<&str, bool> =
            unplaced.map(|pod| (pod, false)).chain(placed.map(|pod| (pod, true))).collect();
        self.with(|times| {
            for waiting in times.waiting.values_mut() {
                let key = format!("{}/{}", waiting.namespace, waiting.name);
                let Some(has_place) = pods.get(key.as_str()) else { continue };
                if waiting.decided.is_none() {
                    waiting.decided = Some(now);
                    if let Some(histograms) = &times.histograms {
                        histograms.decided.observe(now.duration_since(waiting.made).as_secs_f64().max(0.0));
                    }
                }
                if *has_place {
                    waiting.placed.get_or_insert(now);
                }
            }
        });
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
                    if let Some(histograms) = &times.histograms {
                        histograms.bound.observe(at.duration_since(waiting.made).as_secs_f64());
                        if let Some(placed) = waiting.placed {
                            histograms.placed_bound.observe(between(placed, at));
                        }
                    }
                }
                if let Some(at) = ready {
                    let seconds = at.duration_since(waiting.made).as_secs_f64();
                    if let (Some(histograms), Some(placed)) = (&times.histograms, waiting.placed) {
                        histograms.placed_ready.observe(between(placed, at));
                    }
                    times.waiting.remove(&uid);
                    times.started.see(seconds);
                }
            } else if ready.is_none() {
                let namespace = pod.namespace().unwrap_or_default();
                let waiting = Waiting {
                    namespace,
                    name: pod.name_any(),
                    made: made.0,
                    bound: bound.is_some(),
                    decided: None,
                    placed: None,
                };
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
        let there: HashSet<&str> = snapshot.pods().map(|pod| &*pod.uid).collect();
        self.with(|times| {
            times.waiting.retain(|uid, _| there.contains(uid.as_str()));
            let mut all: Vec<&Waiting> = times.waiting.values().collect();
            all.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
            let mut family = |name, help, since: fn(&Waiting) -> Option<Timestamp>| {
                out.gauge(name, help);
                for (pod, since) in all.iter().filter_map(|pod| Some((pod, since(pod)?))) {
                    let labels = [("name", pod.name.as_str()), ("namespace", pod.namespace.as_str())];
                    out.sample(labels, between(since, now));
                }
            };
            family("karpenter_pods_unbound_time_seconds", "How long a pod has waited for a node", |pod| {
                (!pod.bound).then_some(pod.made)
            });
            family("karpenter_pods_unstarted_time_seconds", "How long a pod has not been ready", |pod| {
                Some(pod.made)
            });
            family(
                "karpenter_pods_provisioning_scheduling_undecided_time_seconds",
                "How long a pod has not been planned for",
                |pod| (!pod.bound && pod.decided.is_none()).then_some(pod.made),
            );
            family(
                "karpenter_pods_provisioning_unbound_time_seconds",
                "How long a pod that has a place in a plan has not been bound",
                |pod| pod.placed.filter(|_| !pod.bound),
            );
            family(
                "karpenter_pods_provisioning_unstarted_time_seconds",
                "How long a pod that has a place in a plan has not been ready",
                |pod| pod.placed,
            );
            out.summary(
                "karpenter_pods_startup_duration_seconds",
                "Time from when a pod was made until it was ready",
            );
            times.started.write(out, None);
        });
    }

    fn with<T>(&self, f: impl FnOnce(&mut Times) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Seconds from one moment to a later one. Those of the API server are whole seconds, so that it may look earlier.
pub(super) fn between(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
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
        let registry = Registry::new();
        times.register(&registry).expect("histograms");
        let scheduled = ("PodScheduled", "2026-01-01T00:00:07Z");
        let ready = ("Ready", "2026-01-01T00:00:20Z");
        times.see(&pod("old", &[scheduled, ready]));
        times.see(&pod("a", &[]));
        times.see(&pod("b", &[]));
        times.see(&pod("c", &[]));
        let decided = "2026-01-01T00:00:03Z".parse().expect("a moment");
        times.planned(["web/a"].into_iter(), ["web/b"].into_iter(), decided);
        times.see(&pod("a", &[scheduled]));
        times.see(&pod("a", &[scheduled]));
        times.see(&pod("b", &[scheduled, ready]));
        times.gone(&pod("c", &[]));
        times.see(&pod("d", &[]));
        times.see(&pod("lost", &[]));
        let kept = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).expect("text");
        for line in [
            "karpenter_pods_bound_duration_seconds_sum 14",
            "karpenter_pods_bound_duration_seconds_count 2",
            "karpenter_pods_scheduling_decision_duration_seconds_sum 6",
            "karpenter_pods_provisioning_bound_duration_seconds_sum 4",
            "karpenter_pods_provisioning_bound_duration_seconds_count 1",
        ] {
            assert!(kept.lines().any(|l| l == line), "{line} in {kept}");
        }
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
            lines[..6],
            [
                "karpenter_pods_unbound_time_seconds{name=\"d\",namespace=\"web\"} 60",
                "karpenter_pods_unstarted_time_seconds{name=\"a\",namespace=\"web\"} 60",
                "karpenter_pods_unstarted_time_seconds{name=\"d\",namespace=\"web\"} 60",
                "karpenter_pods_provisioning_scheduling_undecided_time_seconds{name=\"d\",namespace=\"web\"} 60",
                "karpenter_pods_provisioning_unstarted_time_seconds{name=\"a\",namespace=\"web\"} 57",
                "karpenter_pods_startup_duration_seconds{quantile=\"0\"} 20",
            ]
        );
        assert!(lines.contains(&"karpenter_pods_startup_duration_seconds{quantile=\"0.5\"} 20"));
        assert_eq!(
            lines[lines.len() - 2..],
            [
                "karpenter_pods_startup_duration_seconds_sum 20",
                "karpenter_pods_startup_duration_seconds_count 1"
            ]
        );
    }
}
