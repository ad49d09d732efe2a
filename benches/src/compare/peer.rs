//! Karpenter's scheduler: builds the Go program beside this crate once, and runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, anyhow, ensure};

/// Where the Go program is, as of when this was compiled.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peer");

/// The built program, or why there is none, for people.
pub(crate) fn built() -> &'static Result<PathBuf, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(|| {
        if !go_is_there() {
            return Err("no Go".to_owned());
        }
        build().map_err(|error| format!("no peer: {error:#}"))
    })
}

fn go_is_there() -> bool {
    let asked = Command::new("go").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

fn build() -> anyhow::Result<PathBuf> {
    let program = target_dir()?.join("karpenter-peer");
    if !program.exists() {
        eprintln!("building Karpenter's scheduler, which takes minutes the first time");
    }
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(SOURCE)
        .output()
        .context("cannot run go build")?;
    ensure!(built.status.success(), "go build: {}", String::from_utf8_lossy(&built.stderr).trim());
    Ok(program)
}

/// The folder that cargo put this program into.
pub(crate) fn target_dir() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe().context("cannot find this program's own file")?;
    this.parent().map(Path::to_path_buf).ok_or_else(|| anyhow!("{} is in no folder", this.display()))
}
