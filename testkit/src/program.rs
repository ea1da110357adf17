//! A server program of the machine, such as a reverse proxy, on ports of its own.

use crate::environment;
use crate::ports::{self, Reserved};
use crate::process::Process;
use crate::wait::{until, within};
use std::io::{Seek as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;

/// A running program. Ends when dropped.
pub struct Program {
    addrs: Vec<SocketAddr>,
    _process: Process,
    _ports: Vec<Reserved>,
    _directory: TempDir,
}

impl Program {
    /// Starts it in a directory of its own and waits until it listens at so many addresses of 127.0.0.1. `arguments` is told
    /// both, writes what files are needed, and gives the arguments. `name` may be a path.
    ///
    /// # Panics
    /// When there is no such program, or when it ends instead, with all that it printed.
    pub async fn start(
        name: &str,
        addresses: usize,
        arguments: impl FnOnce(&Path, &[SocketAddr]) -> Vec<String>,
    ) -> Self {
        let ports: Vec<Reserved> = (0..addresses).map(|_| ports::port()).collect();
        let addrs: Vec<SocketAddr> = ports.iter().map(Reserved::addr).collect();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new(path(name));
        command.args(arguments(directory.path(), &addrs));
        let mut process = Process::start(command, directory.path());
        for addr in &addrs {
            until(&format!("{name} to listen"), async || {
                if let Some(status) = process.ended() {
                    panic!("{name} ended with {status}:\n{}", process.output());
                }
                TcpStream::connect(addr).await.ok()
            })
            .await;
        }
        Self {
            addrs,
            _process: process,
            _ports: ports,
            _directory: directory,
        }
    }

    /// Where it listens.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }
}

/// How long a program may take that [`run`] waits for: it builds something, or does the work of many.
const RUN_PATIENCE: Duration = Duration::from_secs(150);

/// Runs a program of the machine to its end in this directory, and gives what it printed to standard output. It ends when
/// nobody waits for it any more.
///
/// # Panics
/// When there is no such program, when it fails, or when it does not end within 150 s, with all that it printed.
pub async fn run(
    name: &str,
    directory: &Path,
    variables: &[(&str, &str)],
    arguments: &[&str],
    input: &[u8],
) -> String {
    let mut stdin = tempfile::tempfile().expect("a temporary file");
    stdin
        .write_all(input)
        .and_then(|()| stdin.rewind())
        .expect("a written file");
    let mut command = Command::new(path(name));
    command.args(arguments).envs(variables.iter().copied());
    let mut process = Process::start_with(command, directory, stdin.into());
    let status = within(RUN_PATIENCE, async || process.ended()).await;
    let status = status.unwrap_or_else(|| panic!("{name} has not ended yet:\n{}", process.output()));
    assert!(
        status.success(),
        "{name} ended with {status}:\n{}",
        process.output()
    );
    process.stdout().join("\n")
}

fn path(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| panic!("{name} is not installed: run this test with scripts/test"))
}

/// Where a program of this name, or at this path, is: Debian keeps servers where only root looks, others have programs in
/// places of their own.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    let fixed = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"].map(PathBuf::from);
    fixed
        .into_iter()
        .chain(environment::program_directories())
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}
