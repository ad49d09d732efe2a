//! A program that lives no longer than we do.
//!
//! A shell stands between: it starts the program, and kills it when its own standard input ends. We hold the other end of
//! that, so it ends with us, however we end: a return, a panic, Ctrl-C, even `kill -9`.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result};

/// Waits for the program, so that one that ends by itself ends the shell too, with its status. The reader of the standard
/// input may outlive that, and ends with us.
const SHELL: &str = r#"
exec 3<&0 </dev/null
"$@" 3<&- & program=$!
{ cat <&3 >/dev/null; kill -KILL $program; } 2>/dev/null & reader=$!
exec 3<&-
wait $program; status=$?
kill $reader 2>/dev/null
exit $status
"#;

/// A running program.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    shell: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program`; what it prints goes to `NAME.log` in `folder`.
    ///
    /// # Errors
    /// Where the log cannot be written or there is no shell. A program that does not start shows by [`Self::ended`].
    pub(crate) fn start(name: &str, program: &Path, arguments: &[OsString], folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let out = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let shell = Command::new("sh")
            .args(["-c", SHELL, name])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(out.try_clone()?)
            .stderr(out)
            // Ctrl-C is for us alone: what we start ends after us, in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start a shell for {name}"))?;
        Ok(Self { name: name.to_owned(), shell, log })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it prints.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Its status, where it has ended by itself.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.shell.try_wait().ok().flatten()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // The shell waits for the program: once it has ended, so has the program. There is no one to tell of an error.
        let _ = self.shell.wait();
    }
}
