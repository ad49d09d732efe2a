//! Prometheus: the programs `prometheus` and `promtool` of the folder that `PROMETHEUS` names, or of Debian's package, which
//! is fetched and unpacked once, and not installed.

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::components::kept;
use crate::control_plane::{ControlPlane, free_ports};
use crate::controller::Controller;
use crate::process::Process;

/// Bumped where what is unpacked changes.
const RELEASE: &str = "bookworm";

/// A Prometheus that scrapes controllers every second. It ends when this is dropped.
#[derive(Debug)]
pub struct Prometheus {
    _process: Process,
    port: u16,
}

impl Prometheus {
    /// Starts it; its log is beside those of the control plane.
    ///
    /// # Errors
    /// Where it cannot be had or started.
    pub fn start(plane: &ControlPlane, controllers: &[&Controller]) -> Result<Self> {
        let targets: Vec<String> =
            controllers.iter().map(|of| format!("'{}'", of.metrics_address())).collect();
        let configuration = plane.logs().join("prometheus.yml");
        let text = format!(
            "global:\n  scrape_interval: 1s\nscrape_configs:\n- job_name: stowage\n  static_configs:\n  - targets: [{}]\n",
            targets.join(", ")
        );
        fs::write(&configuration, text)?;
        let [port] = free_ports()?;
        let arguments = [
            format!("--config.file={}", configuration.display()),
            format!("--storage.tsdb.path={}", plane.logs().join("prometheus-data").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ];
        let program = folder()?.join("prometheus");
        let process = Process::start("prometheus", &program, &arguments.map(Into::into), plane.logs())?;
        Ok(Self { _process: process, port })
    }

    /// The values that a query has now, each with its labels.
    ///
    /// # Errors
    /// Where Prometheus does not answer, as while it starts.
    pub fn query(&self, query: &str) -> Result<Vec<(Value, f64)>> {
        let answer = self.get("query", &[("query", query)])?;
        let result = answer["data"]["result"].as_array().context("no result")?;
        let value = |sample: &Value| {
            let value = sample["value"][1].as_str()?.parse().ok()?;
            Some((sample["metric"].clone(), value))
        };
        Ok(result.iter().filter_map(value).collect())
    }

    /// Names of all metrics that it has seen.
    ///
    /// # Errors
    /// Where Prometheus does not answer.
    pub fn names(&self) -> Result<Vec<String>> {
        let answer = self.get("label/__name__/values", &[])?;
        let names = answer["data"].as_array().context("no names")?;
        Ok(names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        let url = format!("http://127.0.0.1:{}/api/v1/{path}", self.port);
        let mut answer = ureq::get(url).query_pairs(query.iter().copied()).call()?;
        Ok(serde_json::from_str(&answer.body_mut().read_to_string()?)?)
    }
}

/// What promtool has to say of metrics as a text, a line each; its exit code, too.
///
/// # Errors
/// Where it cannot be had or run.
pub fn check_metrics(text: &str) -> Result<(Option<i32>, Vec<String>)> {
    let mut tool = Command::new(folder()?.join("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run promtool")?;
    tool.stdin.take().context("promtool reads nothing")?.write_all(text.as_bytes())?;
    let output = tool.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    let lines = String::from_utf8_lossy(&said).lines().map(str::to_owned).collect();
    Ok((output.status.code(), lines))
}

/// The folder with the programs.
fn folder() -> Result<PathBuf> {
    if let Some(folder) = env::var_os("PROMETHEUS").map(PathBuf::from) {
        for name in ["prometheus", "promtool"] {
            ensure!(
                folder.join(name).is_file(),
                "PROMETHEUS is {}, and there is no {name} in it",
                folder.display()
            );
        }
        return Ok(folder);
    }
    let folder = kept("prometheus", RELEASE, Path::new(""), &[], unpack)?;
    Ok(folder.join("usr/bin"))
}

fn unpack(_: &Path, folder: &Path) -> Result<()> {
    eprintln!("fetching Debian's package of Prometheus, once");
    let download = || Command::new("apt-get").args(["download", "prometheus"]).current_dir(folder).status();
    let instead = "set PROMETHEUS to a folder with prometheus and promtool";
    let fetched = download().with_context(|| format!("cannot run apt-get: {instead}"))?;
    if !fetched.success() {
        // A new machine has no lists of packages yet.
        Command::new("apt-get").args(["update", "-qq"]).status()?;
        ensure!(download()?.success(), "apt-get download prometheus failed: {instead}");
    }
    let package = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let package = package.into_iter().find(|path| path.extension().is_some_and(|of| of == "deb"));
    let package = package.context("apt-get has fetched no package")?;
    let unpacked =
        Command::new("dpkg").arg("-x").arg(&package).arg(folder).status().context("cannot run dpkg")?;
    ensure!(unpacked.success(), "dpkg -x {} failed: {unpacked}", package.display());
    Ok(())
}
