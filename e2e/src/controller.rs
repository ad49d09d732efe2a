//! The controller under test: the built program, following a control plane of ours.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::aws::stowage_controller;
use crate::control_plane::{ControlPlane, free_ports};
use crate::process::Process;

/// A running controller. It ends, without warning, when this is dropped.
#[derive(Debug)]
pub struct Controller {
    process: Process,
    health: u16,
    metrics: u16,
}

impl Controller {
    /// Starts the controller with these flags and nothing but this environment; what it says goes to `NAME.log` beside the logs of the control plane.
    ///
    /// # Errors
    /// Where it cannot be built or started.
    pub fn start(
        plane: &ControlPlane,
        name: &str,
        flags: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        Self::start_as(plane, plane.kubeconfig(), name, flags, environment)
    }

    /// The same, as whoever this kubeconfig says.
    ///
    /// # Errors
    /// Where it cannot be built or started.
    pub fn start_as(
        plane: &ControlPlane,
        who: &Path,
        name: &str,
        flags: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let [health, metrics] = free_ports()?;
        let mut kubeconfig = OsString::from("KUBECONFIG=");
        kubeconfig.push(who);
        let mut arguments: Vec<OsString> = vec!["-i".into(), kubeconfig];
        arguments.extend(environment.iter().map(|(key, value)| format!("{key}={value}").into()));
        arguments.push(stowage_controller()?.into());
        let own = [
            format!("--pod-name={name}"),
            "--listen=127.0.0.1".to_owned(),
            format!("--health-probe-port={health}"),
            format!("--metrics-port={metrics}"),
        ];
        arguments.extend(own.into_iter().map(OsString::from));
        arguments.extend(flags.iter().map(OsString::from));
        let process = Process::start(name, Path::new("/usr/bin/env"), &arguments, plane.logs())?;
        Ok(Self { process, health, metrics })
    }

    /// Stops it in the middle of whatever it does, or lets it go on.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn pause(&self, on: bool) -> Result<()> {
        self.process.pause(on)
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process.ended().is_some()
    }

    /// What it has said so far.
    ///
    /// # Errors
    /// Where its log cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.process.log())?)
    }

    /// Whether it says that it is ready; not while it does not answer.
    pub fn is_ready(&self) -> bool {
        ureq::get(format!("http://127.0.0.1:{}/readyz", self.health)).call().is_ok()
    }

    /// Where it tells what it has measured.
    pub fn metrics_address(&self) -> String {
        format!("127.0.0.1:{}", self.metrics)
    }

    /// What it has measured, as Prometheus reads it.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn metrics(&self) -> Result<String> {
        let mut answer = ureq::get(format!("http://{}/metrics", self.metrics_address())).call()?;
        answer.body_mut().with_config().limit(u64::MAX).read_to_string().context("metrics are no text")
    }
}
