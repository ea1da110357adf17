//! A server program of the machine, such as a reverse proxy, on ports of its own.

use crate::ports::{self, Reserved};
use crate::process::Process;
use crate::wait::until;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
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
    /// both, writes what files are needed, and gives the arguments.
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

/// Debian keeps servers where only root looks.
fn path(name: &str) -> PathBuf {
    ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"]
        .iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed: run this test with scripts/test"))
}
