//! How conditions of objects change, and how long objects take to go: seen as it comes about.
//!
//! compat: operatorpkg's status controller, as karpenter v1.14 uses it.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use serde_json::Value;
use stowage_cluster::{Kind, Snapshot};

use super::exposition::Exposition;
use super::metrics::SECONDS;
use super::pod_times::between;
use crate::shared::Shared;

/// Buckets of the time that a condition kept a status: half a second, doubled fourteen times.
const STATUS: (f64, f64, usize) = (0.5, 2.0, 15);

/// Conditions as they were seen last, and what was counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transitions(Shared<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// By kind and uid: conditions by type, with status and since when.
    objects: BTreeMap<(Kind, String), Conditions>,
    counters: BTreeMap<Kind, Counters>,
}

/// By type: status, and since when.
type Conditions = BTreeMap<String, (String, Option<Timestamp>)>;

#[derive(Clone, Debug)]
struct Counters {
    changes: IntCounterVec,
    kept: HistogramVec,
    went: HistogramVec,
}

/// The kinds that are looked at, and what metrics call them.
const KINDS: [(Kind, &str); 4] = [
    (Kind::NodePool, "nodepool"),
    (Kind::NodeClaim, "nodeclaim"),
    (Kind::Ec2NodeClass, "ec2nodeclass"),
    (Kind::Node, "node"),
];

impl Transitions {
    /// Changes are counted in a registry from now on.
    ///
    /// # Errors
    /// Where two have one name, which would be a defect.
    pub(crate) fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        let (start, factor, count) = STATUS;
        for (kind, name) in KINDS {
            let counters = Counters {
                changes: IntCounterVec::new(
                    Opts::new(
                        format!("operator_{name}_status_condition_transitions_total"),
                        "Changes of conditions, by the new status",
                    ),
                    &["type", "status", "reason"],
                )?,
                kept: HistogramVec::new(
                    HistogramOpts::new(
                        format!("operator_{name}_status_condition_transition_seconds"),
                        "How long conditions had the status that they changed from",
                    )
                    .buckets(prometheus::exponential_buckets(start, factor, count)?),
                    &["type", "status"],
                )?,
                went: HistogramVec::new(
                    HistogramOpts::new(
                        format!("operator_{name}_termination_duration_seconds"),
                        "Time from the deletion of an object until it is gone",
                    )
                    .buckets(SECONDS.to_vec()),
                    &[],
                )?,
            };
            registry.register(Box::new(counters.changes.clone()) as Box<dyn Collector>)?;
            registry.register(Box::new(counters.kept.clone()))?;
            registry.register(Box::new(counters.went.clone()))?;
            self.0.with(|seen| seen.counters.insert(kind, counters));
        }
        Ok(())
    }

    /// An object is as this says.
    pub(crate) fn see(&self, kind: Kind, object: &DynamicObject) {
        let Some(uid) = object.uid().filter(|_| KINDS.iter().any(|(known, _)| *known == kind)) else {
            return;
        };
        let stated = object.data["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
        self.0.with(|seen| {
            let Seen { objects, counters } = seen;
            // How things were when this process began is no change.
            let is_new = !objects.contains_key(&(kind, uid.clone()));
            let known = objects.entry((kind, uid)).or_default();
            for condition in stated {
                let text = |key: &str| condition[key].as_str().unwrap_or_default();
                let (of, status) = (text("type"), text("status"));
                let since = moment(&condition["lastTransitionTime"]);
                let before = known.insert(of.to_owned(), (status.to_owned(), since));
                if is_new || before.as_ref().is_some_and(|(before, _)| before == status) {
                    continue;
                }
                let Some(counters) = counters.get(&kind) else { continue };
                counters.changes.with_label_values(&[of, status, text("reason")]).inc();
                if let Some((before, from)) = before
                    && let (Some(from), Some(to)) = (from, since)
                {
                    counters.kept.with_label_values(&[of, &before]).observe(between(from, to));
                }
            }
        });
    }

    /// An object is gone.
    pub(crate) fn gone(&self, kind: Kind, object: &DynamicObject) {
        let Some(uid) = object.uid() else { return };
        self.0.with(|seen| {
            seen.objects.remove(&(kind, uid));
            if let (Some(counters), Some(asked)) =
                (seen.counters.get(&kind), object.metadata.deletion_timestamp.as_ref())
            {
                let none: [&str; 0] = [];
                counters.went.with_label_values(&none).observe(between(asked.0, Timestamp::now()));
            }
        });
    }

    /// What is to be said as of now: how long objects have been going. Objects that went unseen are forgotten.
    pub(crate) fn write(out: &mut Exposition, snapshot: &Snapshot, each: bool, now: Timestamp) {
        let help = "How long an object has been on its way out";
        let mut family = |name, all: &mut dyn Iterator<Item = &stowage_api::ObjectMeta>| {
            out.gauge(name, help);
            for meta in all {
                let asked = meta.deletion_timestamp.as_deref();
                if let Some(asked) = asked.and_then(|at| at.parse::<Timestamp>().ok()) {
                    out.sample([("namespace", ""), ("name", meta.name.as_str())], between(asked, now));
                }
            }
        };
        let pools = &mut snapshot.node_pools.iter().map(|pool| &pool.metadata);
        family("operator_nodepool_termination_current_time_seconds", pools);
        let claims = &mut snapshot.node_claims().map(|claim| &claim.metadata);
        family("operator_nodeclaim_termination_current_time_seconds", claims);
        let classes = &mut snapshot.node_classes.iter().map(|class| &class.metadata);
        family("operator_ec2nodeclass_termination_current_time_seconds", classes);
        if each {
            let nodes = &mut snapshot.nodes().map(|node| &node.metadata);
            family("operator_node_termination_current_time_seconds", nodes);
        }
    }
}

fn moment(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(uid: &str, status: &str, at: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "metadata": {"name": uid, "uid": uid},
            "status": {"conditions": [
                {"type": "Launched", "status": status, "reason": "Why", "lastTransitionTime": at}]},
        }))
        .expect("an object")
    }

    #[test]
    fn changes_are_counted_and_timed() {
        let (seen, registry) = (Transitions::default(), Registry::new());
        seen.register(&registry).expect("different names");
        seen.see(Kind::NodeClaim, &claim("a", "Unknown", "2026-07-01T10:00:00Z"));
        seen.see(Kind::NodeClaim, &claim("a", "Unknown", "2026-07-01T10:00:00Z"));
        seen.see(Kind::NodeClaim, &claim("a", "True", "2026-07-01T10:00:03Z"));
        // It was so before.
        seen.see(Kind::NodeClaim, &claim("b", "True", "2026-07-01T09:00:00Z"));
        let mut going = claim("a", "True", "2026-07-01T10:00:03Z");
        going.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::now()));
        seen.gone(Kind::NodeClaim, &going);
        seen.see(Kind::Pod, &claim("pod", "True", "2026-07-01T10:00:03Z"));
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).expect("text");
        for line in [
            "operator_nodeclaim_status_condition_transitions_total{reason=\"Why\",status=\"True\",type=\"Launched\"} 1",
            "operator_nodeclaim_status_condition_transition_seconds_sum{status=\"Unknown\",type=\"Launched\"} 3",
            "operator_nodeclaim_termination_duration_seconds_count 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
        assert_eq!(text.matches("transitions_total{").count(), 1);
    }
}
