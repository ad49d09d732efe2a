//! Workloads: a name on the command line becomes a snapshot file and a catalogue file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use stowage_benches::Workload as Services;
use stowage_pricing::{Catalog, InstanceType, Settings, to_json};

use super::args::{Args, Source};
use super::classic::{self, Classic};
use super::vbp::Instance;
use super::{menu, mix};

/// Region of the catalogue that is used where none is given.
const REGION: &str = "us-east-1";
/// Pods of a built-in workload that names no number.
const DEFAULT_PODS: usize = 1_000;
const MAX_PODS: usize = 1_000_000;

/// Two files that every planner reads.
pub(crate) struct Workload {
    /// What tables and file names call it.
    pub(crate) name: String,
    pub(crate) snapshot: PathBuf,
    pub(crate) catalog: PathBuf,
    /// What it costs at best, where the way it was made tells.
    pub(crate) optimum: Option<f64>,
}

impl Workload {
    /// Writes the files of `source` into `dir`; a snapshot or catalogue that is a file already stays where it is.
    pub(crate) fn prepare(source: &Source, args: &Args, dir: &Path) -> anyhow::Result<Self> {
        match source {
            Source::File(path) if path.extension().is_some_and(|e| e == "vbp") => {
                let text =
                    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
                let instance = Instance::read(&text).with_context(|| path.display().to_string())?;
                packing(&stem(path), &Classic { instance, optimum: None }, dir)
            }
            Source::File(path) => {
                let name = stem(path);
                let catalog = given_or_embedded(args, &name, dir)?;
                Ok(Self { name, snapshot: path.clone(), catalog, optimum: None })
            }
            Source::Named(name) => named(name, args, dir),
        }
    }
}

fn named(name: &str, args: &Args, dir: &Path) -> anyhow::Result<Workload> {
    let (kind, pods) = match name.split_once(':') {
        None => (name, DEFAULT_PODS),
        Some((kind, pods)) => {
            let number = pods.parse().ok().filter(|n| (1..=MAX_PODS).contains(n));
            let number = number
                .with_context(|| format!("{name}: {pods:?} is no number of pods from 1 to {MAX_PODS}"))?;
            (kind, number)
        }
    };
    let file_name = format!("{kind}-{pods}");
    let services = |seed| String::from_utf8(Services::new(pods, seed).to_json());
    match kind {
        "mix" => files(&file_name, &mix::pods(pods, args.seed), &mix::types(), dir),
        "menu" => files(&file_name, &services(args.seed)?, &menu::types(args.seed), dir),
        "services" => {
            let catalog = match &args.catalog {
                Some(path) => path.clone(),
                None => put(dir, &file_name, "catalog.json", &to_json(&general_purpose()?))?,
            };
            let snapshot = put(dir, &file_name, "snapshot.json", &services(args.seed)?)?;
            Ok(Workload { name: file_name, snapshot, catalog, optimum: None })
        }
        _ => match classic::draw(kind, pods, args.seed) {
            Some(classic) => {
                put(dir, &file_name, "instance.vbp", &classic.instance.write())?;
                packing(&file_name, &classic, dir)
            }
            None => bail!(
                "{kind:?} is no workload: take mix, services, menu, falkenauer-u, falkenauer-t, scholl-hard or \
                 caprara-toth-1 to caprara-toth-10, or name a file"
            ),
        },
    }
}

fn packing(name: &str, classic: &Classic, dir: &Path) -> anyhow::Result<Workload> {
    let workload = files(name, &classic.instance.pods(), &classic.instance.types(), dir)?;
    Ok(Workload { optimum: classic.optimum.map(|bins| bins as f64), ..workload })
}

fn files(name: &str, snapshot: &str, catalog: &str, dir: &Path) -> anyhow::Result<Workload> {
    Ok(Workload {
        name: name.to_owned(),
        snapshot: put(dir, name, "snapshot.json", snapshot)?,
        catalog: put(dir, name, "catalog.json", catalog)?,
        optimum: None,
    })
}

fn given_or_embedded(args: &Args, name: &str, dir: &Path) -> anyhow::Result<PathBuf> {
    if let Some(path) = &args.catalog {
        return Ok(path.clone());
    }
    let catalog = Catalog::embedded(REGION, &Settings::default())?;
    put(dir, name, "catalog.json", &catalog.to_json())
}

/// The embedded types of categories c, m and r and a generation above 2, as Stowage's and many a company's own `NodePool`
/// has it. With every type on sale, Karpenter's scheduler fills machines of six terabytes, and a comparison says little.
fn general_purpose() -> anyhow::Result<Vec<InstanceType>> {
    let is = |t: &InstanceType| {
        let label =
            |key: &str| t.labels.get(&format!("karpenter.k8s.aws/instance-{key}")).map(String::as_str);
        let generation = label("generation").and_then(|g| g.parse::<u32>().ok());
        matches!(label("category"), Some("c" | "m" | "r")) && generation.is_some_and(|g| g > 2)
    };
    let catalog = Catalog::embedded(REGION, &Settings::default())?;
    Ok(catalog.types.into_iter().filter(is).collect())
}

/// Writes one file of a workload.
pub(crate) fn put(dir: &Path, name: &str, what: &str, text: &str) -> anyhow::Result<PathBuf> {
    let path = dir.join(format!("{name}.{what}"));
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// `a/b/services-500.json.gz` is `services-500`.
fn stem(path: &Path) -> String {
    let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    name.split('.').next().filter(|s| !s.is_empty()).unwrap_or("snapshot").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_without_their_endings() {
        assert_eq!(stem(Path::new("a/b/services-500.json.gz")), "services-500");
        assert_eq!(stem(Path::new("..")), "snapshot");
    }

    #[test]
    fn services_buy_what_companies_buy() {
        let types = general_purpose().unwrap();
        let names: Vec<&str> = types.iter().map(|t| t.name.as_str()).collect();
        assert!(names.contains(&"m7i.large") && names.contains(&"r6g.xlarge"));
        let odd = ["u-6tb1.112xlarge", "t3.large", "p5.48xlarge", "c1.medium"];
        assert!(odd.iter().all(|name| !names.contains(name)), "of {}", names.len());
    }
}
