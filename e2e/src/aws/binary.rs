//! The programs as users have them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

use crate::components::cache;

/// The path of `stowage` with the feature `live`: `STOWAGE_LIVE` where that is set, else it is built.
///
/// # Errors
/// Where it cannot be built.
pub fn stowage() -> Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let flags = ["--package", "stowage", "--features", "live"];
    once(&BUILT, "STOWAGE_LIVE", "stowage", &flags)
}

/// The path of `stowage-controller`: `STOWAGE_CONTROLLER` where that is set, else it is built.
///
/// # Errors
/// Where it cannot be built.
pub fn stowage_controller() -> Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&BUILT, "STOWAGE_CONTROLLER", "stowage-controller", &["--package", "stowage-controller"])
}

fn once(
    built: &'static OnceLock<Result<PathBuf, String>>,
    variable: &str,
    name: &str,
    flags: &[&str],
) -> Result<&'static Path> {
    let built = built.get_or_init(|| build(variable, name, flags).map_err(|error| format!("{error:#}")));
    built.as_deref().map_err(|error| anyhow::anyhow!(error.clone()))
}

fn build(variable: &str, name: &str, flags: &[&str]) -> Result<PathBuf> {
    if let Some(path) = env::var_os(variable).map(PathBuf::from) {
        ensure!(path.is_file(), "{variable} is {}, and there is no such file", path.display());
        return Ok(path);
    }
    let target = cache()?.join("target");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(manifest)
        .args(flags)
        .env("CARGO_TARGET_DIR", &target)
        .status()
        .context("cannot run cargo")?;
    ensure!(built.success(), "{name} does not build: {built}");
    Ok(target.join("debug").join(name))
}
