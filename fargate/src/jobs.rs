//! The `Jobs` of a cluster, as far as their pods' verdicts depend on them.
//!
//! A pod of a `Job` says neither which template it is made from nor whether it is left lying when it has ended. Its `Job` says
//! both, and it is there before its pods are: so pods of `Jobs` are known by their `Job`, found by its uid.
//!
//! # Invariants
//! - Of each `Job` some hundred bytes are kept, of a hundred thousand at most. A pod whose `Job` is not kept runs on nodes.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::hash::{Canonical, Fnv};
use crate::json::text;
use crate::sighting::controller;

/// `Jobs` that are kept: ten times what controllers of clusters are known to bear.
const MOST: usize = 100_000;
/// Labels that a `Job` gives its own pods alone, in its template as well.
const OWN_LABELS: [&str; 4] =
    ["batch.kubernetes.io/job-name", "batch.kubernetes.io/controller-uid", "job-name", "controller-uid"];

/// What is kept of a `Job`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFacts {
    /// Whose pods they are: a kind, and a name.
    pub root: (&'static str, Box<str>),
    /// A hash of the template of its pods.
    pub template: Box<str>,
    /// Whether it goes some time after it has ended, and its pods with it (`ttlSecondsAfterFinished`).
    pub has_ttl: bool,
}

/// `Jobs` by uid.
#[derive(Clone, Debug, Default)]
pub struct Jobs {
    by_uid: BTreeMap<Box<str>, JobFacts>,
}

impl Jobs {
    /// A `Job` is there, or has changed, as the JSON of a watch says.
    pub fn apply(&mut self, job: &Value) {
        let Some((uid, facts)) = facts(job) else { return };
        if self.by_uid.len() < MOST || self.by_uid.contains_key(uid) {
            self.by_uid.insert(uid.into(), facts);
        }
    }

    /// A `Job` is gone.
    pub fn remove(&mut self, uid: &str) {
        self.by_uid.remove(uid);
    }

    /// All were listed anew: those stay that this says of.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.by_uid.retain(|uid, _| keep(uid));
    }

    /// What is known of the `Job` of this uid.
    pub fn get(&self, uid: &str) -> Option<&JobFacts> {
        self.by_uid.get(uid)
    }

    /// What is known of the `Job` that controls a pod; `None` where none does, too.
    pub fn of_pod(&self, pod: &Value) -> Option<&JobFacts> {
        let owner = controller(pod).filter(|owner| text(owner, "kind") == "Job")?;
        self.get(text(owner, "uid"))
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.by_uid.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.by_uid.is_empty()
    }
}

fn facts(job: &Value) -> Option<(&str, JobFacts)> {
    let meta = job.get("metadata")?;
    let (uid, name) = (text(meta, "uid"), text(meta, "name"));
    if uid.is_empty() || name.is_empty() {
        return None;
    }
    let spec = job.get("spec").unwrap_or(&Value::Null);
    let cron = controller(job).filter(|owner| text(owner, "kind") == "CronJob").map(|o| text(o, "name"));
    let root = match cron.filter(|cron| !cron.is_empty()) {
        Some(cron) => ("CronJob", cron.into()),
        None => ("Job", name.into()),
    };
    let has_ttl = spec.get("ttlSecondsAfterFinished").is_some_and(Value::is_number);
    let mut hash = Fnv::default();
    hash.bytes(&[u8::from(has_ttl)]);
    let template = spec.get("template").unwrap_or(&Value::Null);
    Canonical::without(&mut hash, &OWN_LABELS).value(template);
    let template = format!("{:016x}", hash.finish()).into();
    Some((uid, JobFacts { root, template, has_ttl }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(uid: &str, name: &str) -> Value {
        json!({
            "metadata": {
                "name": name, "uid": uid, "namespace": "shop",
                "ownerReferences": [{"kind": "CronJob", "name": "report", "uid": "c", "controller": true}],
            },
            "spec": {
                "ttlSecondsAfterFinished": 60,
                "template": {
                    "metadata": {"labels": {"app": "report", "job-name": name, "controller-uid": uid,
                        "batch.kubernetes.io/job-name": name, "batch.kubernetes.io/controller-uid": uid}},
                    "spec": {"containers": [{"name": "a", "image": "i"}], "restartPolicy": "Never"},
                },
            },
        })
    }

    #[test]
    fn runs_of_a_cron_job_have_one_template_and_others_have_another() {
        let of = |job: &Value| facts(job).unwrap().1;
        let one = of(&run("u1", "report-1"));
        assert_eq!(one, of(&run("u2", "report-2")));
        assert_eq!((one.root.0, &*one.root.1, one.has_ttl), ("CronJob", "report", true));
        let mut other = run("u3", "report-3");
        other["spec"]["template"]["spec"]["containers"][0]["image"] = json!("j");
        assert_ne!(of(&other).template, one.template);
        // Whether it is cleared away is part of it: what a policy asks of it would change.
        let mut lasting = run("u4", "report-4");
        lasting["spec"].as_object_mut().unwrap().remove("ttlSecondsAfterFinished");
        assert!(!of(&lasting).has_ttl && of(&lasting).template != one.template);
        // Named as a CronJob would name it, and of nobody.
        let mut alone = run("u5", "report-28912345");
        alone["metadata"]["ownerReferences"] = json!([]);
        assert_eq!((of(&alone).root.0, &*of(&alone).root.1), ("Job", "report-28912345"));
    }

    #[test]
    fn jobs_are_found_by_uid_and_forgotten() {
        let mut jobs = Jobs::default();
        jobs.apply(&run("u1", "report-1"));
        jobs.apply(&json!({"metadata": {"name": "no-uid"}}));
        let pod = |uid: &str, kind: &str| json!({"metadata": {"ownerReferences": [{"kind": kind, "name": "report-1", "uid": uid, "controller": true}]}});
        assert!(jobs.of_pod(&pod("u1", "Job")).is_some());
        assert!(jobs.of_pod(&pod("u2", "Job")).is_none() && jobs.of_pod(&pod("u1", "ReplicaSet")).is_none());
        jobs.retain(|uid| uid != "u1");
        assert!(jobs.is_empty());
    }
}
