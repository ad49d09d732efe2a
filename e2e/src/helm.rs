//! Helm: the program that `HELM` names, or a build of our own that is kept.
//!
//! It only renders and checks: nothing is installed with it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::components::{go_build, kept};

/// The release that is built; the version in `helm/go.mod`.
const RELEASE: &str = "v3.20.2";

/// Helm.
#[derive(Clone, Debug)]
pub struct Helm {
    program: PathBuf,
}

impl Helm {
    /// Finds it, or builds it.
    ///
    /// # Errors
    /// Where `HELM` names no file, or the build fails.
    pub fn ready() -> Result<Self> {
        if let Some(program) = env::var_os("HELM").map(PathBuf::from) {
            ensure!(program.is_file(), "HELM is {}, which is no file", program.display());
            return Ok(Self { program });
        }
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("helm");
        let folder = kept("helm", RELEASE, &sources, &["go.mod", "go.sum"], build)?;
        Ok(Self { program: folder.join("helm") })
    }

    /// Checks a chart; its warnings are errors.
    ///
    /// # Errors
    /// What it finds.
    pub fn lint(&self, chart: &Path, flags: &[&str]) -> Result<()> {
        self.run("lint", &[&["--strict"], flags].concat(), chart).map(|_| ())
    }

    /// The objects that a chart comes to, for a release `stowage` in the namespace `stowage`.
    ///
    /// # Errors
    /// Where it cannot be rendered.
    pub fn template(&self, chart: &Path, flags: &[&str]) -> Result<Vec<Value>> {
        let own = ["--namespace", "stowage", "--kube-version", "1.35.0", "--name-template", "stowage"];
        let text = self.run("template", &[&own, flags].concat(), chart)?;
        Ok(serde_saphyr::from_multiple::<Value>(&text)?
            .into_iter()
            .filter(|object| !object.is_null())
            .collect())
    }

    fn run(&self, verb: &str, flags: &[&str], chart: &Path) -> Result<String> {
        let output = Command::new(&self.program)
            .arg(verb)
            .args(flags)
            .arg(chart)
            .output()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if !output.status.success() {
            bail!("helm {verb} {}:\n{}{}", chart.display(), text(&output.stdout), text(&output.stderr));
        }
        Ok(text(&output.stdout))
    }
}

fn build(sources: &Path, folder: &Path) -> Result<()> {
    eprintln!("building Helm, {RELEASE}: some minutes, once");
    go_build(sources, "helm.sh/helm/v3/cmd/helm", "-s -w", &folder.join("helm"), "set HELM to the program")
}
