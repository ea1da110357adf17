//! PgBouncer in front of one database.

use crate::environment;
use crate::ports::{self, Reserved};
use crate::process::Process;
use crate::tls::Identity;
use crate::wait::until;
use std::net::Ipv4Addr;
use std::path::Path;
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::server::{as_server_user, hand_over};

/// For how long a client keeps the server connection that it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Until it leaves.
    Session,
    /// Until its transaction ends: what it sets, and listens for, stays with the server connection.
    Transaction,
}

/// A running PgBouncer. Ends when dropped.
pub struct PgBouncer {
    port: Reserved,
    url: String,
    _process: Process,
    _directory: TempDir,
}

impl PgBouncer {
    /// Starts it on a free port of 127.0.0.1, in front of the database of this URL.
    ///
    /// # Panics
    /// When the tests were not started by `scripts/test`.
    pub async fn start(url: &str, pooling: Pooling) -> Self {
        let port = ports::port();
        let mode = match pooling {
            Pooling::Session => "session",
            Pooling::Transaction => "transaction",
        };
        let (user, password, server, database) = parts(url).expect("a URL with user, password and 127.0.0.1");
        let settings = format!(
            "[databases]\n\
             {database} = host=127.0.0.1 port={server} dbname={database} user={user} password={password}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\n",
            port.port()
        );
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = Identity::write(directory.path(), "pgbouncer.ini", &settings);
        hand_over(directory.path());
        hand_over(&file);
        let mut command = as_server_user(Path::new(&environment::required("TEST_PGBOUNCER_BIN")));
        command.arg(&file);
        let mut process = Process::start(command, directory.path());
        until("PgBouncer to listen", async || {
            if let Some(status) = process.ended() {
                panic!("PgBouncer ended with {status}:\n{}", process.output());
            }
            let address = (Ipv4Addr::LOCALHOST, port.port());
            TcpStream::connect(address).await.ok()
        })
        .await;
        Self {
            port,
            url: url.to_owned(),
            _process: process,
            _directory: directory,
        }
    }

    /// The URL of the database, through it.
    pub fn url(&self) -> String {
        super::through(&self.url, self.port.port())
    }
}

/// User, password, port and database.
fn parts(url: &str) -> Option<(&str, &str, &str, &str)> {
    let (login, rest) = url.strip_prefix("postgres://")?.split_once("@127.0.0.1:")?;
    let (user, password) = login.split_once(':')?;
    let (port, database) = rest.split_once('/')?;
    Some((user, password, port, database))
}
