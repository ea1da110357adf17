//! A PostgreSQL server of one test's own.

use crate::environment;
use crate::ports::{self, Reserved};
use crate::process::Process;
use crate::random;
use crate::tls::Identity;
use crate::wait::until;
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A server to kill, pause and restart; about a second to start. Ends when dropped, data and all.
pub struct PrivatePostgres {
    port: Reserved,
    password: String,
    directory: TempDir,
    process: Option<Process>,
}

impl PrivatePostgres {
    /// Makes a cluster and starts the server on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When the tests were not started by `scripts/test`.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let password = random::hex();
        let secret = Identity::write(directory.path(), "password", &password);
        hand_over(directory.path());
        hand_over(&secret);
        let mut initdb = program("initdb");
        initdb
            .arg("-D")
            .arg(directory.path().join("data"))
            .arg(format!("--pwfile={}", secret.display()))
            .args([
                "--username=caracal_test",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ]);
        let mut initdb = Process::start(initdb, directory.path());
        let status = initdb.wait().await;
        assert!(
            status.success(),
            "initdb ended with {status}:\n{}",
            initdb.output()
        );
        let mut server = Self {
            port: ports::port(),
            password,
            directory,
            process: None,
        };
        server.restart().await;
        server
    }

    /// The URL of the superuser on the database `postgres`.
    pub fn url(&self) -> String {
        format!(
            "postgres://caracal_test:{}@127.0.0.1:{}/postgres",
            self.password,
            self.port()
        )
    }

    /// Its port on 127.0.0.1, the same after a restart.
    pub fn port(&self) -> u16 {
        self.port.port()
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Breaks every connection at once and ends the server without tidying up (SIGQUIT, an immediate shutdown).
    /// Committed rows are there again after [`restart`](Self::restart).
    pub async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            signal_all(&process, Signal::CONT);
            process.signal(Signal::QUIT);
            process.wait().await;
        }
    }

    /// Stops every process of the server where it stands (SIGSTOP): nothing is closed and nothing answers.
    pub fn pause(&mut self) {
        signal_all(self.process.as_ref().expect("a running server"), Signal::STOP);
    }

    /// Lets a paused server go on (SIGCONT).
    pub fn resume(&mut self) {
        signal_all(self.process.as_ref().expect("a running server"), Signal::CONT);
    }

    /// Ends the server tidily and starts it again as a hot standby, of which nobody can write and none listen: it waits
    /// for what a primary would send.
    pub async fn restart_as_standby(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::INT);
            process.wait().await;
        }
        let sign = Identity::write(&self.data(), "standby.signal", "");
        hand_over(&sign);
        self.restart().await;
    }

    /// Starts it again after [`kill`](Self::kill), on the same port and with the same data.
    pub async fn restart(&mut self) {
        self.kill().await;
        let mut command = program("postgres");
        command
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port().to_string()])
            .args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "unix_socket_directories=",
            ])
            .args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
        let mut process = Process::start(command, self.directory.path());
        let state = self.data().join("postmaster.pid");
        until("PostgreSQL to be ready", async || {
            if let Some(status) = process.ended() {
                panic!("PostgreSQL ended with {status}:\n{}", process.output());
            }
            // The first line names the process, the eighth is its own word on its state.
            let text = std::fs::read_to_string(&state).ok()?;
            let ours = text.lines().next() == Some(process.pid().to_string().as_str());
            let state = text.lines().nth(7)?;
            (ours && (state.starts_with("ready") || state.starts_with("standby"))).then_some(())
        })
        .await;
        self.process = Some(process);
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // Its processes end with it only when they run.
            signal_all(process, Signal::CONT);
            process.end_with(Signal::QUIT);
        }
    }
}

/// Signals the server and each process it has started; they are not of one process group.
fn signal_all(server: &Process, signal: Signal) {
    let pid = server.pid();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    for pid in [i32::try_from(pid).expect("a process id")]
        .into_iter()
        .chain(children)
    {
        // One that has ended in the meantime is as good as signalled.
        let _ = kill_process(Pid::from_raw(pid).expect("a process id"), signal);
    }
}

/// A program of PostgreSQL.
fn program(name: &str) -> Command {
    as_server_user(&Path::new(&environment::required("TEST_POSTGRES_BIN")).join(name))
}

/// A program, run as the user that `scripts/test` lends, since it refuses to run as root.
pub(super) fn as_server_user(path: &Path) -> Command {
    match environment::server_user() {
        None => Command::new(path),
        Some(user) => {
            let mut command = Command::new("setpriv");
            command
                .arg(format!("--reuid={user}"))
                .arg(format!("--regid={}", id("-g", &user)))
                .args(["--clear-groups", "--"])
                .arg(path);
            command
        }
    }
}

pub(super) fn hand_over(path: &Path) {
    if let Some(user) = environment::server_user() {
        std::os::unix::fs::chown(path, Some(id("-u", &user)), Some(id("-g", &user)))
            .expect("the owner is changed");
    }
}

fn id(which: &str, user: &str) -> u32 {
    let output = Command::new("id")
        .args([which, user])
        .output()
        .expect("the program id");
    String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .unwrap_or_else(|_| panic!("no user {user}"))
}
