//! moto, a server that answers as AWS does: EC2's instance types and zones in it were recorded from AWS.
//!
//! It is installed from `PyPI` into a Python environment of its own, once, under `STOWAGE_CI_CACHE`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::components::cache;
use crate::control_plane::{folder, free_ports, tail};
use crate::process::Process;

/// The release that the facts compiled into Stowage were taken from.
const RELEASE: &str = "5.2.5";

/// Importing all of it takes seconds; on a machine that is busy, more of them.
const PATIENCE: Duration = Duration::from_mins(3);
const EVERY: Duration = Duration::from_millis(25);

/// A running moto.
#[derive(Debug)]
pub struct Moto {
    port: u16,
    _process: Process,
}

impl Moto {
    /// The one that all tests of a process share; it ends with the process. It is installed first where need be.
    ///
    /// # Errors
    /// Where it cannot be installed or does not start.
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<Moto, String>> = OnceLock::new();
        let moto = SHARED.get_or_init(|| Self::start().map_err(|error| format!("{error:#}")));
        moto.as_ref().map_err(|error| anyhow::anyhow!(error.clone()))
    }

    fn start() -> Result<Self> {
        let program = installed()?;
        let [port] = free_ports()?;
        let logs = folder()?;
        let flags = ["-H", "127.0.0.1", "-p"].map(Into::into);
        let flags = [&flags[..], &[port.to_string().into()]].concat();
        let mut process = Process::start("moto", &program, &flags, &logs)?;
        let started = Instant::now();
        while ureq::get(format!("http://127.0.0.1:{port}/moto-api/data.json")).call().is_err() {
            if let Some(status) = process.ended() {
                bail!("moto ended by itself ({status}):\n{}", tail(process.log()));
            }
            if started.elapsed() > PATIENCE {
                bail!("moto was not ready after {} s:\n{}", PATIENCE.as_secs(), tail(process.log()));
            }
            thread::sleep(EVERY);
        }
        Ok(Self { port, _process: process })
    }

    /// Held while it is asked something: its threads share tables without locks, and all tests of a process share it.
    pub(crate) fn turn() -> MutexGuard<'static, ()> {
        static TURN: Mutex<()> = Mutex::new(());
        TURN.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same for queues: they share no table with machines, and nobody who waits for a message waits for a launch.
    pub(crate) fn turn_of_queues() -> MutexGuard<'static, ()> {
        static TURN: Mutex<()> = Mutex::new(());
        TURN.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its port on loopback.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

/// The program, installed.
fn installed() -> Result<PathBuf> {
    let place = cache()?.join(format!("moto-{RELEASE}"));
    fs::create_dir_all(&place).with_context(|| format!("cannot create {}", place.display()))?;
    // Held until it is installed: another process waits here instead of doing the same.
    let lock = File::create(place.join("lock"))?;
    lock.lock().with_context(|| format!("cannot lock {}", place.display()))?;
    let environment = place.join("environment");
    if !place.join("done").exists() {
        eprintln!("installing moto {RELEASE}: a minute, once");
        run(Path::new("python3"), &["-m", "venv", "--clear"], Some(&environment))?;
        let package = format!("moto[server]=={RELEASE}");
        let arguments = ["install", "--quiet", "--disable-pip-version-check", &package];
        run(&environment.join("bin/pip"), &arguments, None)?;
        File::create(place.join("done"))?;
    }
    Ok(environment.join("bin/moto_server"))
}

fn run(program: &Path, arguments: &[&str], last: Option<&Path>) -> Result<()> {
    let ran = Command::new(program).args(arguments).args(last).status();
    let ran = ran.with_context(|| format!("cannot run {}: is Python 3 installed?", program.display()))?;
    ensure!(ran.success(), "{} {} failed: {ran}", program.display(), arguments.join(" "));
    Ok(())
}
