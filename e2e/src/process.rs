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
    /// Program and arguments.
    command: (PathBuf, Vec<OsString>),
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
        File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        Self::append(name, program, arguments, log)
    }

    /// Ends the program without warning, and starts it again.
    ///
    /// # Errors
    /// As of [`Self::start`].
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.end();
        let (program, arguments) = &self.command;
        *self = Self::append(&self.name, program, arguments, self.log.clone())?;
        Ok(())
    }

    fn append(name: &str, program: &Path, arguments: &[OsString], log: PathBuf) -> Result<Self> {
        let out = File::options().append(true).open(&log)?;
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
        let command = (program.to_owned(), arguments.to_owned());
        Ok(Self { name: name.to_owned(), command, shell, log })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it prints.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Stops the program in the middle of whatever it does, or lets it go on.
    ///
    /// # Errors
    /// Where it is not there.
    pub(crate) fn pause(&self, on: bool) -> Result<()> {
        // The shell itself goes on, so that the program still ends with us. Its children are the program, which came first, and
        // the reader.
        let shell = self.shell.id();
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"))?;
        let program =
            children.split_whitespace().next().with_context(|| format!("{} has ended", self.name))?;
        let signal = if on { "-STOP" } else { "-CONT" };
        let status = Command::new("kill").args([signal, program]).status()?;
        anyhow::ensure!(status.success(), "{} is not there", self.name);
        Ok(())
    }

    /// Its status, where it has ended by itself.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.shell.try_wait().ok().flatten()
    }
}

impl Process {
    fn end(&mut self) {
        drop(self.shell.stdin.take());
        // The shell waits for the program: once it has ended, so has the program. There is no one to tell of an error.
        let _ = self.shell.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::fs;
    use std::io::{BufRead, BufReader};
    use std::time::{Duration, Instant};

    use super::*;

    /// A program that says which it is and then waits.
    fn start(folder: &Path) -> Process {
        let arguments = ["-c", "echo $$; exec sleep 1000"].map(OsString::from);
        Process::start("waiting", Path::new("sh"), &arguments, folder).unwrap()
    }

    /// The process id that a program says it has.
    fn id(log: &Path) -> String {
        let said = || fs::read_to_string(log).ok().filter(|text| text.ends_with('\n'));
        until(|| said().is_some());
        said().unwrap().trim().to_owned()
    }

    fn until(happened: impl Fn() -> bool) {
        let started = Instant::now();
        while !happened() {
            assert!(started.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn runs(id: &str) -> bool {
        fs::read_to_string(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.contains("sleep"))
    }

    fn folder(name: &str) -> PathBuf {
        let folder = env::temp_dir().join(format!("stowage-process-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn it_ends_when_it_is_dropped() {
        let folder = folder("dropped");
        let process = start(&folder);
        let id = id(process.log());
        // While one program takes the other's place, it has no command line.
        until(|| runs(&id));
        drop(process);
        assert!(!runs(&id));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn one_that_ends_by_itself_is_seen_to() {
        let folder = folder("ended");
        let arguments = ["-c", "exit 3"].map(OsString::from);
        let mut process = Process::start("ending", Path::new("sh"), &arguments, &folder).unwrap();
        let mut status = None;
        let started = Instant::now();
        while status.is_none() && started.elapsed() < Duration::from_secs(20) {
            status = process.ended();
        }
        assert_eq!(status.and_then(|s| s.code()), Some(3));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    #[ignore = "no test: the next one runs it in a process of its own, to kill that"]
    fn holder() {
        let Some(folder) = env::var_os("HOLDER_FOLDER") else { return };
        let process = start(Path::new(&folder));
        println!("id {}", id(process.log()));
        std::thread::park();
        drop(process);
    }

    #[test]
    fn it_ends_when_we_are_killed() {
        let folder = folder("killed");
        let mut holder = Command::new(env::current_exe().unwrap())
            .args(["--exact", "process::tests::holder", "--ignored", "--nocapture"])
            .env("HOLDER_FOLDER", &folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(holder.stdout.take().unwrap()).lines();
        let id =
            lines.map_while(Result::ok).find_map(|line| Some(line.split_once("id ")?.1.to_owned())).unwrap();
        // While one program takes the other's place, it has no command line.
        until(|| runs(&id));
        holder.kill().unwrap();
        holder.wait().unwrap();
        until(|| !runs(&id));
        fs::remove_dir_all(folder).unwrap();
    }
}
