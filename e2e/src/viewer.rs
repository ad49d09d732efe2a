//! eks-node-viewer: the program that `EKS_NODE_VIEWER` names, or a build of our own that is kept. Runs in a terminal that
//! nobody sees, and what it shows is read.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::aws::Front;
use crate::components::{go_build, kept};
use crate::control_plane::ControlPlane;
use crate::process::Process;

/// The release that is built; the version in `viewer/go.mod`.
const RELEASE: &str = "v0.7.4";

/// A running viewer. It ends when this is dropped.
#[derive(Debug)]
pub struct Viewer(Process);

impl Viewer {
    /// Starts it on a cluster, with prices from an AWS.
    ///
    /// # Errors
    /// Where it cannot be built or started.
    pub fn start(plane: &ControlPlane, front: &Front, region: &str) -> Result<Self> {
        let program = program()?.display().to_string();
        let kubeconfig = plane.kubeconfig().display().to_string();
        // As wide as its lines are.
        let run = format!("stty cols 240 rows 60; exec '{program}' --kubeconfig '{kubeconfig}'");
        let mut arguments: Vec<OsString> = vec!["-i".into()];
        let path = format!("PATH={}", env::var("PATH").unwrap_or_default());
        // It looks for a file of settings there.
        let home = format!("HOME={}", plane.logs().display());
        arguments.extend([path, home, "TERM=xterm".to_owned()].map(OsString::from));
        arguments
            .extend(front.environment(region).iter().map(|(key, value)| format!("{key}={value}").into()));
        arguments.extend(
            ["script", "--quiet", "--flush", "--return", "--command", &run, "/dev/null"].map(OsString::from),
        );
        Ok(Self(Process::start("eks-node-viewer", Path::new("/usr/bin/env"), &arguments, plane.logs())?))
    }

    /// All lines that it has shown so far, without colours.
    ///
    /// # Errors
    /// Where its log cannot be read.
    pub fn shown(&self) -> Result<Vec<String>> {
        let text = fs::read(self.0.log()).context("the viewer has no log")?;
        Ok(plain(&String::from_utf8_lossy(&text)).split(['\n', '\r']).map(str::to_owned).collect())
    }
}

/// A text of a terminal without what moves and colours.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\u{1b}' {
            out.push(c);
        } else if rest.next() == Some('[') {
            // Parameters, then a letter.
            let _ = rest.find(char::is_ascii_alphabetic);
        }
    }
    out
}

fn program() -> Result<PathBuf> {
    if let Some(program) = env::var_os("EKS_NODE_VIEWER").map(PathBuf::from) {
        ensure!(program.is_file(), "EKS_NODE_VIEWER is {}, which is no file", program.display());
        return Ok(program);
    }
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("viewer");
    let folder = kept("viewer", RELEASE, &sources, &["go.mod", "go.sum"], build)?;
    Ok(folder.join("eks-node-viewer"))
}

fn build(sources: &Path, folder: &Path) -> Result<()> {
    eprintln!("building eks-node-viewer, {RELEASE}: some minutes, once");
    let package = "github.com/awslabs/eks-node-viewer/cmd/eks-node-viewer";
    let instead = "set EKS_NODE_VIEWER to the program";
    go_build(sources, package, "-s -w", &folder.join("eks-node-viewer"), instead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_moves_are_left_out() {
        assert_eq!(
            plain("\u{1b}[?25l\u{1b}[38;5;2mm7i.large\u{1b}[0m/$0.1\u{1b}[K\r\n"),
            "m7i.large/$0.1\r\n"
        );
    }
}
