//! One cluster to try: Kubernetes objects as a snapshot has them, and a catalogue to buy from.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::generate::twist::SPREADING;

/// A cluster and a catalogue.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Case {
    /// What a plan may buy, as a catalogue file has it.
    pub(crate) catalog: Value,
    /// The cluster's objects.
    pub(crate) objects: Vec<Value>,
}

impl Case {
    /// The objects of a kind.
    pub(crate) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    /// Pods that wait for a node, as far as planning is concerned.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &Value> {
        self.of_kind("Pod").filter(|pod| {
            let (meta, spec) = (&pod["metadata"], &pod["spec"]);
            let ours = spec["schedulerName"].as_str().is_none_or(|name| name == SPREADING);
            let of_daemon_set = meta["ownerReferences"][0]["kind"] == "DaemonSet";
            let mirror = meta["annotations"]["kubernetes.io/config.mirror"].is_string();
            ours && !of_daemon_set
                && !mirror
                && spec["nodeName"].is_null()
                && spec["schedulingGates"].is_null()
                && meta["deletionTimestamp"].is_null()
        })
    }

    /// What is said of how to plan it, by name.
    pub(crate) fn option(&self, key: &str) -> Option<&str> {
        self.of_kind("ConfigMap").find_map(|map| map["data"][key].as_str())
    }

    /// Whether its pods are those of the scheduler that spreads by default.
    pub(crate) fn spreads_by_default(&self) -> bool {
        self.of_kind("Pod").any(|pod| pod["spec"]["schedulerName"] == SPREADING)
    }

    /// The snapshot, as `kubectl get -o json` prints it.
    pub(crate) fn snapshot(&self) -> Value {
        json!({"apiVersion": "v1", "kind": "List", "items": self.objects})
    }

    /// Writes `NAME.json` and `NAME.catalog.json` into a folder, for `stowage plan` and for [`Self::load`].
    ///
    /// # Errors
    /// Where they cannot be written.
    pub(crate) fn save(&self, folder: &Path, name: &str) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let write = |file: String, value: &Value| -> Result<()> {
            let path = folder.join(file);
            fs::write(&path, format!("{value:#}\n"))
                .with_context(|| format!("cannot write {}", path.display()))
        };
        write(format!("{name}.json"), &self.snapshot())?;
        write(format!("{name}.catalog.json"), &self.catalog)
    }

    /// Reads what [`Self::save`] wrote; `path` is that of `NAME.json`.
    ///
    /// # Errors
    /// Where one of the two cannot be read or is no JSON.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let read = |path: &Path| -> Result<Value> {
            let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            serde_json::from_slice(&text).with_context(|| format!("{} is no JSON", path.display()))
        };
        let list = read(path)?;
        let objects =
            list["items"].as_array().cloned().with_context(|| format!("{} is no List", path.display()))?;
        Ok(Self { catalog: read(&path.with_extension("catalog.json"))?, objects })
    }
}

/// `namespace/name` of an object, or its name where it has no namespace.
pub(crate) fn key(object: &Value) -> String {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}
