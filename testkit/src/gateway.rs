//! The gateway under test as a child process, whatever it is written in.
//!
//! The command is taken from `GATEWAY_UNDER_TEST` (split at white space), or is the `caracal-gateway` built beside the
//! running test. It starts with exactly the environment it is given, in a temporary directory of its own. It has to
//! say where it listens in one JSON line on stderr: `{"msg":"listening","addr":"127.0.0.1:PORT", ..}`.

use crate::environment;
use crate::ports::{self, Reserved};
use crate::process::Process;
use crate::wait::until;
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
pub use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Command, ExitStatus};
use tempfile::TempDir;

/// The port that production mode insists on.
pub const PRODUCTION_PORT: u16 = 8081;

/// A gateway about to be started.
pub struct Launch {
    command: Vec<OsString>,
    environment: BTreeMap<String, String>,
    directory: TempDir,
    loopback: Option<Reserved>,
    /// To be handed over.
    sockets: Vec<OwnedFd>,
}

impl Default for Launch {
    fn default() -> Self {
        Self::new()
    }
}

impl Launch {
    /// With no arguments and an empty environment.
    pub fn new() -> Self {
        Self::of(environment::gateway_command())
    }

    /// The same of another command than the one under test.
    pub fn of(command: Vec<OsString>) -> Self {
        Self {
            command,
            environment: BTreeMap::new(),
            directory: tempfile::tempdir().expect("a temporary directory"),
            loopback: None,
            sockets: Vec::new(),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.command.push(argument.into());
        self
    }

    /// Runs it by another command, which takes it as its last arguments: `["prlimit", "--nofile=64"]`.
    #[must_use]
    pub fn under<S: AsRef<OsStr>>(mut self, command: &[S]) -> Self {
        let outer = command.iter().map(|word| word.as_ref().to_owned());
        self.command = outer.chain(self.command).collect();
        self
    }

    /// Hands sockets over, each with its name, as a service manager does (`sd_listen_fds(3)`), whatever they are. Their
    /// owner keeps them.
    ///
    /// # Panics
    /// When the system has no more descriptors.
    #[must_use]
    pub fn sockets(mut self, sockets: &[(&str, BorrowedFd<'_>)]) -> Self {
        let mut script = String::from("exec");
        for (place, (_, socket)) in sockets.iter().enumerate() {
            // Above those that the program gets, so that none is in the way of another.
            let copy = fcntl_dupfd_cloexec(socket, 100).expect("a free descriptor");
            script += &format!(" {}<&{}", 3 + place, copy.as_raw_fd());
            self.sockets.push(copy);
        }
        for copy in &self.sockets {
            script += &format!(" {}<&-", copy.as_raw_fd());
        }
        script += "; export LISTEN_PID=$$; exec \"$@\"";
        let names: Vec<&str> = sockets.iter().map(|(name, _)| *name).collect();
        self.under(&["bash", "-c", &script, "bash"])
            .env("LISTEN_FDS", sockets.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Sets variables.
    #[must_use]
    pub fn envs<'a>(mut self, variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let own = variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.environment.extend(own);
        self
    }

    /// Leaves a variable out.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// Gives the process a loopback address of its own, as `BIND_ADDR`: production mode pins the port, so the address
    /// has to tell processes apart. No other test gets the address while the process lives.
    #[must_use]
    pub fn own_loopback(mut self) -> Self {
        let reserved = ports::loopback(PRODUCTION_PORT);
        let address = reserved.addr().ip().to_string();
        self.loopback = Some(reserved);
        self.env("BIND_ADDR", address)
    }

    /// The address that [`own_loopback`](Self::own_loopback) gave it.
    ///
    /// # Panics
    /// When it was not asked for.
    pub fn loopback(&self) -> IpAddr {
        self.loopback
            .as_ref()
            .expect("an address from own_loopback")
            .addr()
            .ip()
    }

    /// The temporary directory in which the process will work: for certificates, keys, the spool. Removed with it.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts it and waits for nothing.
    ///
    /// # Panics
    /// When there is no such program.
    pub fn spawn(self) -> Gateway {
        let mut command = Command::new(self.command.first().expect("a command in GATEWAY_UNDER_TEST"));
        command
            .args(&self.command[1..])
            .env_clear()
            .envs(&self.environment);
        for socket in &self.sockets {
            fcntl_setfd(socket, FdFlags::empty()).expect("an open descriptor");
        }
        let process = Process::start(command, self.directory.path());
        drop(self.sockets);
        Gateway {
            process,
            addr: None,
            directory: self.directory,
            _loopback: self.loopback,
        }
    }

    /// Starts it and waits until it listens.
    ///
    /// # Panics
    /// When it ends instead, with all that it printed.
    pub async fn start(self) -> Gateway {
        let mut gateway = self.spawn();
        until("the gateway to listen", async || {
            let ended = gateway.process.ended();
            let addr = gateway.listening();
            if let (None, Some(status)) = (addr, ended) {
                panic!(
                    "the gateway ended with {status} before it listened:\n{}",
                    gateway.process.output()
                );
            }
            addr
        })
        .await;
        gateway
    }

    /// Runs it to its end, for commands that end and for starts that are refused.
    pub async fn finish(self) -> Finished {
        let mut gateway = self.spawn();
        let status = gateway.process.wait().await;
        Finished {
            code: status.code(),
            stdout: gateway.process.stdout(),
            stderr: gateway.process.stderr(),
        }
    }
}

/// What is left of a process that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The exit status; none when a signal ended it.
    pub code: Option<i32>,
    /// The lines of its standard output.
    pub stdout: Vec<String>,
    /// The lines of its standard error.
    pub stderr: Vec<String>,
}

/// A running gateway. Killed when dropped.
pub struct Gateway {
    process: Process,
    addr: Option<SocketAddr>,
    directory: TempDir,
    _loopback: Option<Reserved>,
}

impl Gateway {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr.expect("start has waited for the address")
    }

    /// Where it listens, once it does.
    pub fn listening(&mut self) -> Option<SocketAddr> {
        if self.addr.is_none() {
            self.addr = self.process.stderr().iter().find_map(|line| listening(line));
        }
        self.addr
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The directory in which it works.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The lines on its standard output so far.
    pub fn stdout(&self) -> Vec<String> {
        self.process.stdout()
    }

    /// The lines on its standard error so far.
    pub fn stderr(&self) -> Vec<String> {
        self.process.stderr()
    }

    /// The same without the first lines, for whoever has read them.
    pub fn stderr_after(&self, first: usize) -> Vec<String> {
        self.process.stderr_after(first)
    }

    /// The log so far: the lines of standard error that are JSON.
    pub fn log(&self) -> Vec<Value> {
        self.stderr()
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Waits for a log line for which `wanted` holds, old ones included.
    pub async fn logged(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(what, async || self.log().into_iter().find(|line| wanted(line))).await
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&mut self) {
        self.process.signal(Signal::TERM);
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Reads nothing that it prints any more, as a collector of logs that stands still, until it has ended.
    pub fn stop_reading(&self) {
        self.process.stop_reading();
    }

    /// Ends it at once (SIGKILL), as a crash would.
    pub async fn kill(&mut self) {
        self.process.signal(Signal::KILL);
        self.process.wait().await;
    }

    /// Stops it where it stands (SIGSTOP).
    pub fn pause(&mut self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&mut self) {
        self.process.signal(Signal::CONT);
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }

    /// Waits for its end.
    pub async fn wait(&mut self) -> ExitStatus {
        self.process.wait().await
    }
}

fn listening(line: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    if line.get("msg")?.as_str()? != "listening" {
        return None;
    }
    line.get("addr")?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Launch, listening};

    /// A stand-in that keeps the contract of a gateway: says where it listens, then does what `rest` says.
    fn stand_in(rest: &str) -> Launch {
        let mut launch = Launch {
            command: Vec::new(),
            ..blank()
        };
        let script = format!(r#"echo '{{"msg":"listening","addr":"127.0.0.1:7"}}' >&2; {rest}"#);
        launch.command = ["/bin/sh", "-c", &script].map(Into::into).to_vec();
        launch
    }

    fn blank() -> Launch {
        Launch {
            command: Vec::new(),
            environment: Default::default(),
            directory: tempfile::tempdir().unwrap(),
            loopback: None,
            sockets: Vec::new(),
        }
    }

    #[test]
    fn only_the_listening_line_gives_an_address() {
        let line = r#"{"level":"info","msg":"listening","addr":"127.0.0.2:8081"}"#;
        assert_eq!(listening(line), Some("127.0.0.2:8081".parse().unwrap()));
        for other in [
            r#"{"msg":"draining","addr":"127.0.0.1:1"}"#,
            r#"{"msg":"listening"}"#,
            "listening",
            "",
        ] {
            assert_eq!(listening(other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn process_has_only_the_given_environment_and_ends_when_asked() {
        let launch =
            stand_in("trap 'exit 3' TERM; echo A=$A H=$HOME; while :; do sleep 0.01; done").env("A", "1");
        let mut gateway = launch.own_loopback().start().await;
        assert_eq!(gateway.addr(), "127.0.0.1:7".parse().unwrap());
        crate::wait::until("the output", async || {
            (gateway.stdout() == ["A=1 H="]).then_some(())
        })
        .await;
        assert_eq!(gateway.log().len(), 1);
        assert!(gateway.ended().is_none());
        gateway.terminate();
        assert_eq!(gateway.wait().await.code(), Some(3));
    }

    #[tokio::test]
    async fn a_refused_start_gives_status_and_every_line() {
        let finished = stand_in("echo why >&2; exit 78").finish().await;
        assert_eq!(finished.code, Some(78));
        assert_eq!(finished.stderr.last().map(String::as_str), Some("why"));
    }
}
