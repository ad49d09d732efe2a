//! The program as users have it, with `--live`.

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
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built.as_deref().map_err(|error| anyhow::anyhow!(error.clone()))
}

fn build() -> Result<PathBuf> {
    if let Some(path) = env::var_os("STOWAGE_LIVE").map(PathBuf::from) {
        ensure!(path.is_file(), "STOWAGE_LIVE is {}, and there is no such file", path.display());
        return Ok(path);
    }
    let target = cache()?.join("target");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--locked",
            "--package",
            "stowage",
            "--features",
            "live",
            "--manifest-path",
        ])
        .arg(manifest)
        .env("CARGO_TARGET_DIR", &target)
        .status()
        .context("cannot run cargo")?;
    ensure!(built.success(), "stowage with the feature live does not build: {built}");
    Ok(target.join("debug/stowage"))
}
