//! Where the control plane's programs come from: a folder that is given, or a build of our own that is kept.
//!
//! `KUBEBUILDER_ASSETS` names a folder with `etcd`, `kube-apiserver`, `kube-controller-manager` and `kube-scheduler`.
//! Without it, the small Go program in `components/`, which is all four of them, is built: minutes the first time, nothing
//! after that. It is kept in `STOWAGE_CI_CACHE` (`~/.cache/stowage-ci`), under a name that changes with its sources.

use std::collections::hash_map::DefaultHasher;
use std::env;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The release that is built; the version in `components/go.mod`.
const RELEASE: &str = "v1.35.4";

/// The programs.
const NAMES: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// A folder with the control plane's programs.
#[derive(Clone, Debug)]
pub struct Components {
    folder: PathBuf,
}

impl Components {
    /// Finds the programs, or builds them.
    ///
    /// # Errors
    /// Where a given folder lacks one of them, or the build fails.
    pub fn ready() -> Result<Self> {
        if let Some(folder) = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from) {
            for name in NAMES {
                ensure!(
                    folder.join(name).is_file(),
                    "KUBEBUILDER_ASSETS is {}, and there is no {name} in it: add it, or unset the variable to build all",
                    folder.display()
                );
            }
            return Ok(Self { folder });
        }
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("components");
        let folder = kept("components", RELEASE, &sources, &["main.go", "go.mod", "go.sum"], build)?;
        Ok(Self { folder })
    }

    /// The program of this name.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

pub(crate) fn cache() -> Result<PathBuf> {
    if let Some(folder) = env::var_os("STOWAGE_CI_CACHE") {
        return Ok(folder.into());
    }
    let home =
        env::var_os("HOME").context("neither STOWAGE_CI_CACHE nor HOME is set: set one, for the build")?;
    Ok(Path::new(&home).join(".cache/stowage-ci"))
}

/// The folder with what is built from `sources`; builds it the first time, and again when one of `files` has changed.
pub(crate) fn kept(
    name: &str,
    release: &str,
    sources: &Path,
    files: &[&str],
    build: fn(&Path, &Path) -> Result<()>,
) -> Result<PathBuf> {
    let folder = cache()?.join(name).join(fingerprint(release, sources, files)?);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    // Held until the build is done: another process waits here instead of building the same.
    let lock = File::create(folder.join("lock"))?;
    lock.lock().with_context(|| format!("cannot lock {}", folder.display()))?;
    if !folder.join("done").exists() {
        build(sources, &folder)?;
        File::create(folder.join("done"))?;
    }
    Ok(folder)
}

/// Changes with what is built.
fn fingerprint(release: &str, sources: &Path, files: &[&str]) -> Result<String> {
    let mut hash = DefaultHasher::new();
    release.hash(&mut hash);
    for name in files {
        let path = sources.join(name);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?.hash(&mut hash);
    }
    Ok(format!("{:016x}", hash.finish()))
}

/// Builds a package of Go, as `sources` pins it; `instead` is what else somebody without Go can do.
pub(crate) fn go_build(
    sources: &Path,
    package: &str,
    link: &str,
    program: &Path,
    instead: &str,
) -> Result<()> {
    let built = Command::new("go")
        .args(["build", "-trimpath", "-ldflags", link, "-o"])
        .arg(program)
        .arg(package)
        .current_dir(sources)
        .status()
        .with_context(|| format!("cannot run go: install Go, or {instead}"))?;
    ensure!(built.success(), "go build in {} failed: {built}", sources.display());
    Ok(())
}

fn build(sources: &Path, folder: &Path) -> Result<()> {
    eprintln!("building the control plane, {RELEASE}: some minutes, once");
    let version = "k8s.io/component-base/version";
    let flags =
        format!("-s -w -X {version}.gitVersion={RELEASE} -X {version}.gitMajor=1 -X {version}.gitMinor=35");
    go_build(
        sources,
        ".",
        &flags,
        &folder.join("components"),
        "set KUBEBUILDER_ASSETS to a folder with the control plane's programs",
    )?;
    for name in NAMES {
        let link = folder.join(name);
        if fs::symlink_metadata(&link).is_err() {
            std::os::unix::fs::symlink("components", &link)?;
        }
    }
    Ok(())
}
