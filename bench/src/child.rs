//! A server under measurement: a child process on the measured core, in a directory of its own.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::clock;
use crate::cpu;
use crate::failure::{Result, read};

/// How long a start or an end may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Pause between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// A running child. Killed when dropped.
pub(crate) struct Child {
    process: std::process::Child,
    directory: TempDir,
}

impl Child {
    /// Starts a program with this environment and no other. What it prints goes to a file.
    pub(crate) fn start(
        program: &Path,
        arguments: &[OsString],
        environment: &[(&str, String)],
        directory: TempDir,
    ) -> Result<Self> {
        let output = File::create(directory.path().join("output"))?;
        let variables = environment.iter().map(|(name, value)| (OsStr::new(name), value));
        let process = Command::new("taskset")
            .args(["-c", &cpu::MEASURED.to_string()])
            .arg(program)
            .args(arguments)
            .env_clear()
            .envs(variables)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        Ok(Self { process, directory })
    }

    /// Its id: `taskset` has become the program.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where its files are.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What it has printed so far.
    pub(crate) fn output(&self) -> String {
        read(self.directory.path().join("output")).unwrap_or_default()
    }

    /// Asks again and again until there is a value.
    pub(crate) async fn until<T>(
        &mut self,
        what: &str,
        mut ask: impl AsyncFnMut(&Self) -> Option<T>,
    ) -> Result<T> {
        let deadline = clock::now() + TIMEOUT;
        while clock::now() < deadline {
            if let Some(value) = ask(self).await {
                return Ok(value);
            }
            if let Some(status) = self.process.try_wait()? {
                return Err(format!("waiting for {what}: ended with {status}\n{}", self.output()).into());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Err(format!("waited {TIMEOUT:?} in vain for {what}\n{}", self.output()).into())
    }

    /// Asks it to end, and waits for that.
    pub(crate) async fn stop(mut self) -> Result<ExitStatus> {
        kill_process(Pid::from_child(&self.process), Signal::TERM)?;
        let deadline = clock::now() + TIMEOUT;
        while clock::now() < deadline {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Err(format!("it does not end:\n{}", self.output()).into())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}
