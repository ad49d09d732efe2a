//! One cluster to try: Kubernetes objects as a snapshot has them, and a catalogue to buy from.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

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
            pod["spec"]["nodeName"].is_null()
                && pod["spec"]["schedulingGates"].is_null()
                && pod["metadata"]["deletionTimestamp"].is_null()
        })
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
