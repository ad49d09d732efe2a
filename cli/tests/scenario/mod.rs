//! Scenario files: reading one, planning it, and comparing the plan with what it expects.

mod catalog;
mod check;
mod consolidate;
mod expect;
mod objects;
mod plan;

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use self::catalog::Type;
use self::expect::Expect;
use self::plan::Plan;
use crate::support;

/// Where scenario files stand.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

fn text_of(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}

fn documents(text: &str) -> Result<Vec<Value>, String> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|e| e.to_string())?;
    Ok(documents.into_iter().filter(|d| !d.is_null()).collect())
}

/// The types of a catalogue file.
fn types(name: &str) -> Result<Vec<Type>, String> {
    serde_saphyr::from_str(&text_of(&folder().join(name))?).map_err(|e| format!("{name}: {e}"))
}

/// What scenarios have in common: `catalog.yaml` and `nodepool.yaml`.
pub(crate) struct Shared {
    types: Vec<Type>,
    pool: Value,
}

impl Shared {
    pub(crate) fn load() -> Result<Self, String> {
        let pool = documents(&text_of(&folder().join("nodepool.yaml"))?)?.pop().ok_or("no NodePool")?;
        Ok(Self { types: types("catalog.yaml")?, pool })
    }

    /// Writes the catalogue, as the program reads it, into a folder.
    pub(crate) fn write(&self, out: &Path) -> std::io::Result<()> {
        fs::write(out.join("catalog.json"), catalog::json(&self.types))
    }
}

/// A scenario that fails, and why it may.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Known {
    pub(crate) scenario: String,
    pub(crate) reason: String,
}

impl Known {
    pub(crate) fn load() -> Result<Vec<Self>, String> {
        serde_saphyr::from_str(&text_of(&folder().join("known.yaml"))?)
            .map_err(|e| format!("known.yaml: {e}"))
    }
}

/// The first document of a scenario file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Header {
    #[serde(rename = "apiVersion")]
    _api_version: Option<String>,
    #[serde(rename = "kind")]
    _kind: String,
    /// The idea, in a sentence.
    pub(crate) says: String,
    /// Where Kubernetes or Karpenter says so.
    source: String,
    expect: Expect,
    /// Types instead of the shared ones.
    #[serde(default)]
    catalog: Types,
    /// What is paid for already: the content of `--commitments`.
    commitments: Option<Value>,
    /// What could not be had: the content of `--unavailable`.
    unavailable: Option<Value>,
    /// More arguments of `stowage plan`.
    #[serde(default)]
    args: Vec<String>,
    /// Where there is no NodePool, the shared one is used, unless this is false.
    #[serde(default = "yes")]
    shared_node_pool: bool,
    /// Why the plans are no matter for a judge that sees only the plan document, where that is so.
    unjudged: Option<String>,
    /// The snapshot as text, where it is no valid YAML or no object.
    raw: Option<String>,
}

/// Types of a scenario's own, or those of another file beside the shared catalogue.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Types {
    Own(Vec<Type>),
    File(String),
}

impl Default for Types {
    fn default() -> Self {
        Self::Own(Vec::new())
    }
}

const fn yes() -> bool {
    true
}

/// A scenario by name, or what is wrong with its file.
pub(crate) type Named = (String, Result<Scenario, String>);

/// A scenario.
pub(crate) struct Scenario {
    /// `rule/idea`.
    name: String,
    pub(crate) header: Header,
    objects: Vec<Value>,
}

impl Scenario {
    /// Every scenario by name, or what is wrong with its file.
    pub(crate) fn all() -> Result<Vec<Named>, String> {
        let mut out = Vec::new();
        for rule in entries(&folder())?.into_iter().filter(|p| p.is_dir()) {
            for path in entries(&rule)? {
                let idea = path.file_stem().unwrap_or_default().to_string_lossy();
                let rule = rule.file_name().unwrap_or_default().to_string_lossy();
                let name = format!("{rule}/{idea}");
                if path.extension().is_none_or(|e| e != "yaml") {
                    return Err(format!("{}: scenarios are .yaml files", path.display()));
                }
                let scenario = Self::parse(&name, &text_of(&path)?);
                out.push((name, scenario));
            }
        }
        Ok(out)
    }

    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut documents = documents(text)?.into_iter();
        let first = documents.next().filter(|d| d["kind"] == "Scenario");
        let first = first.ok_or("the first document is no Scenario")?;
        let header: Header = serde_json::from_value(first).map_err(|e| e.to_string())?;
        header.expect.check()?;
        if header.says.is_empty() || header.source.is_empty() {
            return Err("says or source is empty".to_owned());
        }
        if header.args.iter().any(|a| a == "--effort") {
            return Err("args: each scenario is planned with every effort".to_owned());
        }
        let objects = objects::expanded(documents.collect())?;
        if objects.is_empty() && header.raw.is_none() {
            return Err("no object beside the Scenario".to_owned());
        }
        Ok(Self { name: name.to_owned(), header, objects })
    }

    /// Plans with each effort, and tells what is not as expected.
    pub(crate) fn run(&self, shared: &Shared, out: &Path) -> Vec<String> {
        self.tried(shared, out).unwrap_or_else(|problem| vec![problem])
    }

    fn tried(&self, shared: &Shared, out: &Path) -> Result<Vec<String>, String> {
        let file = |end: &str| out.join(format!("{}.{end}", self.name));
        fs::create_dir_all(file("json").parent().unwrap_or(out)).map_err(|e| e.to_string())?;
        let (objects, snapshot) = if let Some(raw) = &self.header.raw {
            (Vec::new(), raw.clone())
        } else {
            let objects = self.snapshot(shared);
            let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
            (objects, format!("{list:#}"))
        };
        let snapshot_file = file("snapshot.json");
        fs::write(&snapshot_file, snapshot).map_err(|e| e.to_string())?;
        let mut catalog_file = out.join("catalog.json");
        let types = match &self.header.catalog {
            Types::Own(types) => types.clone(),
            Types::File(name) => types(name)?,
        };
        if !types.is_empty() {
            catalog_file = file("catalog.json");
            fs::write(&catalog_file, catalog::json(&types)).map_err(|e| e.to_string())?;
        }
        let mut files = Vec::new();
        for (option, content) in
            [("--commitments", &self.header.commitments), ("--unavailable", &self.header.unavailable)]
        {
            if let Some(content) = content {
                let path = file(&format!("{}.json", option.trim_start_matches('-')));
                fs::write(&path, format!("{content:#}")).map_err(|e| e.to_string())?;
                files.extend([option.to_owned(), path.to_string_lossy().into_owned()]);
            }
        }
        let mut mismatches: Vec<String> = Vec::new();
        for effort in ["quick", "balanced"] {
            let (catalog_file, snapshot_file) =
                (catalog_file.to_string_lossy(), snapshot_file.to_string_lossy());
            let mut args =
                vec!["plan", "--catalog", &catalog_file, &snapshot_file, "-o", "json", "--effort", effort];
            args.extend(files.iter().map(String::as_str));
            if self.header.expect.consolidate.is_some() {
                args.push("--consolidate");
            }
            args.extend(self.header.args.iter().map(String::as_str));
            let ran = support::run(&args);
            let found = match (&self.header.expect.error, ran.code) {
                (Some(error), Some(2)) => check::error(error, &ran.stderr),
                (Some(error), Some(0)) => vec![format!("planned, expected an error that says {error:?}")],
                (None, Some(0)) if let Some(expected) = &self.header.expect.consolidate => {
                    let found = serde_json::from_str(&ran.stdout).map_err(|e| e.to_string())?;
                    consolidate::check(expected, &found)
                }
                (None, Some(0)) => {
                    if self.header.unjudged.is_none() {
                        fs::write(file(&format!("{effort}.json")), &ran.stdout).map_err(|e| e.to_string())?;
                    }
                    let plan: Plan = serde_json::from_str(&ran.stdout).map_err(|e| e.to_string())?;
                    check::plan(&self.header.expect, &plan, &objects)
                }
                (_, code) => vec![format!("ended with {code:?}: {}", ran.stderr.trim())],
            };
            // What both efforts get wrong is told once.
            let new: Vec<String> = found.into_iter().filter(|m| !mismatches.contains(m)).collect();
            mismatches.extend(
                new.into_iter().map(|m| if effort == "quick" { m } else { format!("balanced: {m}") }),
            );
        }
        Ok(mismatches)
    }

    /// The objects to plan, the shared NodePool with them where there is none.
    fn snapshot(&self, shared: &Shared) -> Vec<Value> {
        let has_pool = self.objects.iter().any(|o| o["kind"] == "NodePool");
        let pool = (!has_pool && self.header.shared_node_pool).then(|| shared.pool.clone());
        pool.into_iter().chain(self.objects.iter().cloned()).collect()
    }
}

/// What stands in a folder, by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let read = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut paths =
        read.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
    paths.sort();
    Ok(paths)
}
