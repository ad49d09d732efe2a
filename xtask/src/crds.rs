//! The definitions of the custom resources, as files of the charts.
//!
//! Each stands in both charts: plain in `crds/` of the main one, from where Helm installs it once, and as a template in the
//! chart that also updates them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

/// What is at the top of each file.
const HEAD: &str = "# Written by `cargo xtask crds` from the types in api/src/crd: change those.\n";

/// What the template has beside the plain definition, after the name.
const ANNOTATIONS: &str = "  {{- with .Values.additionalAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
";

/// Writes all files.
pub(crate) fn write(root: &Path) -> Result<()> {
    for (path, text) in files()? {
        let path = root.join(path);
        let folder = path.parent().context("a file is in a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// All files: path in the repository, and text.
fn files() -> Result<Vec<(PathBuf, String)>> {
    let charts = Path::new("deploy/charts");
    let mut files = Vec::new();
    for (name, definition) in stowage_api::crd::definitions()? {
        let (plural, group) = name.split_once('.').context("a definition is named plural.group")?;
        let file = format!("{group}_{plural}.yaml");
        let plain = yaml(&definition)?;
        let after_name = format!("metadata:\n  name: {name}\n");
        let (before, after) = plain
            .split_once(&after_name)
            .with_context(|| format!("{file} has no lines {after_name:?} to put annotations after"))?;
        let template = format!("{HEAD}{before}{after_name}{ANNOTATIONS}{after}");
        files.push((charts.join("stowage/crds").join(&file), format!("{HEAD}{plain}")));
        files.push((charts.join("stowage-crd/templates").join(&file), template));
    }
    Ok(files)
}

fn yaml(definition: &Value) -> Result<String> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    Ok(serde_saphyr::to_string_with_options(definition, options)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_charts_hold_what_the_types_say() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for (path, text) in files().unwrap() {
            let there = fs::read_to_string(root.join(&path)).unwrap_or_default();
            assert!(there == text, "{} is out of date: run `cargo xtask crds`", path.display());
        }
    }

    #[test]
    fn no_other_definitions_are_in_the_charts() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let files = files().unwrap();
        for folder in ["deploy/charts/stowage/crds", "deploy/charts/stowage-crd/templates"] {
            for entry in fs::read_dir(root.join(folder)).unwrap() {
                let path = Path::new(folder).join(entry.unwrap().file_name());
                assert!(files.iter().any(|(written, _)| *written == path), "{}: of no type", path.display());
            }
        }
    }

    #[test]
    fn what_is_written_is_what_was_meant() {
        for (name, definition) in stowage_api::crd::definitions().unwrap() {
            let text = yaml(&definition).unwrap();
            // Helm would take these for its own.
            assert!(!text.contains("{{"), "{name}");
            assert_eq!(serde_saphyr::from_str::<Value>(&text).unwrap(), definition, "{name}");
        }
    }
}
