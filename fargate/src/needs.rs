//! What of a pod the rules of Fargate look at, as a few words, so that two pods can be compared without looking at the cluster.
//!
//! A verdict is found for one pod and followed by others: by those that another webhook has changed, and by those of a new
//! template that nobody has looked at yet. What was found holds for a pod that needs nothing that the one that was looked at did
//! not need. Rules of others count by labels: who could select this pod, and did not select that one.
//!
//! # Invariants
//! - A pod whose needs are among those of one that may go may go, as long as the cluster stays as it is.
//! - Two dozen words at most, of bounded length; many needs are one word that only the same needs have.

use std::collections::BTreeSet;

use serde_json::Value;
use stowage_api::{duration, well_known};
use stowage_cluster::Snapshot;

use crate::hash::{Canonical, Fnv, claim};
use crate::json::{list, text};
use crate::life::DAY;
use crate::policy::Labels;

/// Needs that are told apart, those that come of labels aside; and so many of these.
pub(crate) const MOST: usize = 12;
/// The longest word, in bytes; longer ones become a hash.
pub(crate) const MAX_WORD: usize = 80;

/// Labels of templates, which the API server makes a part of rules that ask for pods of the same template.
const TEMPLATE_LABELS: [&str; 3] =
    ["pod-template-hash", "rollouts-pod-template-hash", "controller-revision-hash"];
/// What of rules between pods is no rule, or is filled in between admission and storage.
pub(crate) const FILLED: [&str; 4] = [
    "labelSelector",
    "matchLabelKeys",
    "mismatchLabelKeys",
    "preferredDuringSchedulingIgnoredDuringExecution",
];

/// Keys of labels by which others select pods in a way that matters on Fargate: affinities, and load balancers that find their
/// targets by node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Concerns(BTreeSet<String>);

impl Concerns {
    /// Those of a cluster.
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut keys = BTreeSet::new();
        for service in snapshot.services.iter().filter(|s| s.spec.kind == "LoadBalancer") {
            keys.extend(service.spec.selector.keys().cloned());
        }
        // Pods share their specs: each is looked at once.
        let mut seen = BTreeSet::new();
        for pod in snapshot.pods() {
            if !seen.insert(std::ptr::from_ref(pod.spec.as_ref())) {
                continue;
            }
            let affinity = &pod.spec.affinity;
            let terms =
                [&affinity.pod_affinity, &affinity.pod_anti_affinity].into_iter().flat_map(|of| &of.required);
            let affine =
                terms.flat_map(|term| term.label_selector.iter().map(|s| (s, &term.match_label_keys)));
            let spread = pod.spec.topology_spread_constraints.iter();
            let spread = spread.flat_map(|c| c.label_selector.iter().map(|s| (s, &c.match_label_keys)));
            for (selector, more) in affine.chain(spread) {
                keys.extend(selector.match_labels.keys().cloned());
                keys.extend(selector.match_expressions.iter().map(|e| e.0.key.clone()));
                keys.extend(more.iter().cloned());
            }
        }
        // Rules between pods of one template are no concern of another one.
        keys.retain(|key| !TEMPLATE_LABELS.contains(&key.as_str()));
        Self(keys)
    }
}

/// What a pod needs of where it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Needs(BTreeSet<String>);

impl Needs {
    /// Those of a pod as the API server writes it, its labels aside: these never change with the cluster.
    pub fn of_pod(pod: &Value) -> Self {
        let none = Value::Null;
        let meta = pod.get("metadata").unwrap_or(&none);
        let spec = pod.get("spec").unwrap_or(&none);
        let mut words = BTreeSet::new();
        let mut add = |word: String| words.insert(short(word));
        for field in ["hostNetwork", "hostPID", "hostIPC"] {
            if spec.get(field).and_then(Value::as_bool) == Some(true) {
                add(field.to_owned());
            }
        }
        for container in list(spec, "containers").iter().chain(list(spec, "initContainers")) {
            of_container(container, &mut add);
        }
        if let Some(selector) = spec.get("nodeSelector").and_then(Value::as_object) {
            for (key, value) in selector {
                add(format!("node:{key}={}", value.as_str().unwrap_or_default()));
            }
        }
        for field in ["affinity", "topologySpreadConstraints", "resourceClaims"] {
            let mut hash = Fnv::default();
            if Canonical::without(&mut hash, &FILLED).field(spec, field) {
                add(format!("{field}:{:016x}", hash.finish()));
            }
        }
        let class = text(spec, "runtimeClassName");
        if !class.is_empty() {
            add(format!("runtime:{class}"));
        }
        for volume in list(spec, "volumes") {
            of_volume(volume, text(meta, "name"), &mut add);
        }
        let mark = meta.get("annotations").map_or("", |all| text(all, well_known::DO_NOT_DISRUPT));
        if mark == "true" || duration(mark).is_some_and(|d| d.as_secs() > DAY) {
            add("undisturbed".to_owned());
        }
        Self(few(words, "many"))
    }

    /// And those that come of labels, as others select by them now.
    #[must_use]
    pub fn with_labels(mut self, labels: &Labels, concerns: &Concerns) -> Self {
        let concerned = labels.iter().filter(|(key, _)| concerns.0.contains(*key));
        let words = concerned.map(|(key, value)| short(format!("label:{key}={value}"))).collect();
        self.0.extend(few(words, "labels"));
        self
    }

    /// As they were written.
    pub(crate) fn from_words(words: Vec<String>) -> Option<Self> {
        let sound = words.len() <= 2 * MOST && words.iter().all(|word| word.len() <= MAX_WORD);
        sound.then(|| Self(words.into_iter().collect()))
    }

    /// In words.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The first need that another one has not.
    pub fn beyond<'s>(&'s self, other: &Self) -> Option<&'s str> {
        self.0.iter().find(|word| !other.0.contains(*word)).map(String::as_str)
    }
}

/// One word for more than can be told apart.
fn few(words: BTreeSet<String>, many: &str) -> BTreeSet<String> {
    if words.len() <= MOST {
        return words;
    }
    let mut hash = Fnv::default();
    for word in &words {
        hash.text(word);
    }
    BTreeSet::from([format!("{many}:{:016x}", hash.finish())])
}

fn short(word: String) -> String {
    if word.len() <= MAX_WORD {
        return word;
    }
    let mut hash = Fnv::default();
    hash.text(&word);
    format!("long:{:016x}", hash.finish())
}

fn of_container(container: &Value, add: &mut impl FnMut(String) -> bool) {
    let privileged = container.pointer("/securityContext/privileged").and_then(Value::as_bool);
    if privileged == Some(true) {
        add("privileged".to_owned());
    }
    if list(container, "ports")
        .iter()
        .any(|p| p.get("hostPort").and_then(Value::as_u64).is_some_and(|n| n > 0))
    {
        add("hostPort".to_owned());
    }
    let plain = [well_known::CPU, well_known::MEMORY, well_known::EPHEMERAL_STORAGE];
    for kind in ["/resources/requests", "/resources/limits"] {
        let Some(of) = container.pointer(kind).and_then(Value::as_object) else { continue };
        for resource in of.keys().filter(|name| !plain.contains(&name.as_str())) {
            add(format!("resource:{resource}"));
        }
    }
}

/// Volumes that Kubernetes fills by itself are no need; of others, those that EFS serves may be none, and it takes the cluster to
/// know.
fn of_volume(volume: &Value, pod: &str, add: &mut impl FnMut(String) -> bool) {
    const OWN: [&str; 7] =
        ["name", "emptyDir", "configMap", "secret", "projected", "downwardAPI", "persistentVolumeClaim"];
    let claim = claim(volume, pod);
    if !claim.is_empty() {
        add(format!("claim:{claim}"));
    }
    let Some(fields) = volume.as_object() else { return };
    for (kind, _) in fields.iter().filter(|(kind, of)| !of.is_null() && !OWN.contains(&kind.as_str())) {
        add(format!("volume:{kind}"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stowage_cluster::{Index, Kind};

    use super::*;

    fn pod() -> Value {
        json!({
            "metadata": {"name": "web-0", "labels": {"app": "web", "version": "1"}},
            "spec": {
                "containers": [{"name": "a", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}],
                "volumes": [{"name": "config", "configMap": {"name": "c"}}, {"name": "tmp", "emptyDir": {}}],
            },
        })
    }

    fn needs(pod: &Value, concerns: &Concerns) -> Needs {
        Needs::of_pod(pod).with_labels(&crate::json::labels_of(pod).unwrap(), concerns)
    }

    #[test]
    fn each_rule_of_fargate_is_a_need_and_nothing_else_is() {
        let plain = needs(&pod(), &Concerns::default());
        assert_eq!(plain, Needs::default());
        for (pointer, value, word) in [
            ("/spec/hostNetwork", json!(true), "hostNetwork"),
            ("/spec/hostPID", json!(true), "hostPID"),
            ("/spec/nodeSelector", json!({"disk": "ssd"}), "node:disk=ssd"),
            ("/spec/runtimeClassName", json!("gvisor"), "runtime:gvisor"),
            ("/spec/volumes", json!([{"name": "v", "hostPath": {"path": "/"}}]), "volume:hostPath"),
            ("/spec/volumes", json!([{"persistentVolumeClaim": {"claimName": "data-web-0"}}]), "claim:data-"),
            ("/spec/containers/0/securityContext", json!({"privileged": true}), "privileged"),
            ("/spec/containers/0/ports", json!([{"hostPort": 80}]), "hostPort"),
            ("/spec/containers/0/resources/limits", json!({"nvidia.com/gpu": 1}), "resource:nvidia.com/gpu"),
            ("/metadata/annotations", json!({"karpenter.sh/do-not-disrupt": "72h"}), "undisturbed"),
            ("/metadata/annotations", json!({"karpenter.sh/do-not-disrupt": "true"}), "undisturbed"),
        ] {
            let mut other = pod();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            other.pointer_mut(parent).unwrap()[key] = value;
            let found = needs(&other, &Concerns::default());
            assert_eq!(found.beyond(&plain), Some(word), "{pointer}");
            assert_eq!(plain.beyond(&found), None);
        }
        for (pointer, value) in [
            ("/spec/priorityClassName", json!("system-node-critical")),
            ("/spec/affinity", json!({})),
            ("/metadata/annotations", json!({"karpenter.sh/do-not-disrupt": "1h"})),
            ("/metadata/labels/version", json!("2")),
        ] {
            let mut other = pod();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            other.pointer_mut(parent).unwrap()[key] = value;
            assert_eq!(needs(&other, &Concerns::default()), plain, "{pointer}");
        }
    }

    #[test]
    fn labels_count_by_which_others_select() {
        let mut index = Index::default();
        let service =
            json!({"metadata": {"name": "s"}, "spec": {"type": "LoadBalancer", "selector": {"app": "web"}}});
        index.apply(Kind::Service, &service.to_string()).unwrap();
        let shy = json!({
            "metadata": {"name": "shy"},
            "spec": {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchExpressions": [{"key": "version", "operator": "Exists"}]}},
            ]}}},
        });
        let before = Concerns::of(&index.snapshot());
        assert_eq!(needs(&pod(), &before).words().collect::<Vec<_>>(), ["label:app=web"]);
        index.apply(Kind::Pod, &shy.to_string()).unwrap();
        let now = Concerns::of(&index.snapshot());
        assert_eq!(needs(&pod(), &now).beyond(&needs(&pod(), &before)), Some("label:version=1"));
    }

    #[test]
    fn many_needs_are_one_word() {
        let with = |n: usize| {
            let selector: serde_json::Map<String, Value> =
                (0..n).map(|i| (format!("key-{i:02}"), json!("v"))).collect();
            let mut pod = pod();
            pod["spec"]["nodeSelector"] = Value::Object(selector);
            needs(&pod, &Concerns::default())
        };
        assert_eq!(with(MOST).words().count(), MOST);
        assert_eq!((with(20).words().count(), with(20).beyond(&with(20))), (1, None));
        assert!(with(20).beyond(&with(21)).is_some() && with(21).beyond(&with(20)).is_some());
        let mut long = pod();
        long["spec"]["nodeSelector"] = json!({"k": "v".repeat(10_000)});
        assert!(needs(&long, &Concerns::default()).words().all(|word| word.len() <= MAX_WORD));
    }
}
