//! Redis: a private server to kill, pause and put behind TLS, and the one that all tests share.

use crate::environment;
use crate::ports::{self, Reserved};
use crate::process::Process;
use crate::random;
use crate::tls::{Ca, Identity};
use crate::wait::{PATIENCE, until};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, TlsCertificates};
use rustix::process::Signal;
use std::fmt::Write as _;
use std::process::Command;
use tempfile::TempDir;

mod cluster;
mod sentinels;

pub use cluster::Cluster;
pub use sentinels::Sentinels;

/// A redis-server of one test's own: nothing in it, random password, nothing written to disk. Ends when dropped.
///
/// Streams have fixed names, so a test that reads or writes them needs a server of its own.
pub struct PrivateRedis {
    port: Reserved,
    password: String,
    directory: TempDir,
    tls: bool,
    /// Where nodes of its cluster would reach it.
    bus: Option<Reserved>,
    process: Option<Process>,
}

impl PrivateRedis {
    /// Starts a server that speaks plain TCP.
    pub async fn start() -> Self {
        Self::start_with("", false).await
    }

    /// Starts a server that speaks TLS alone, with a certificate of `ca` for `localhost` and 127.0.0.1, and that
    /// demands a client certificate of the same `ca` when `client_certificate` says so.
    pub async fn start_tls(ca: &Ca, client_certificate: bool) -> Self {
        let directory = Self::directory();
        let settings = Self::tls_settings(&directory, ca, client_certificate);
        Self::start_in(directory, &settings, true).await
    }

    /// The lines that give a server its certificate, for `localhost` and 127.0.0.1.
    fn tls_settings(directory: &TempDir, ca: &Ca, client_certificate: bool) -> String {
        let files = ca.server(&["localhost", "127.0.0.1"]).write_to(directory.path());
        let root = Identity::write(directory.path(), "ca.pem", ca.pem());
        let mut settings = String::new();
        for (name, value) in [
            ("tls-cert-file", files.certificate.display().to_string()),
            ("tls-key-file", files.key.display().to_string()),
            ("tls-ca-cert-file", root.display().to_string()),
            (
                "tls-auth-clients",
                if client_certificate { "yes" } else { "no" }.to_owned(),
            ),
        ] {
            writeln!(settings, "{name} {value}").expect("a string grows");
        }
        settings
    }

    /// Starts a server with further lines of configuration.
    pub async fn start_configured(settings: &str) -> Self {
        Self::start_with(settings, false).await
    }

    /// Starts the one node of a cluster.
    pub async fn start_cluster_node() -> Self {
        // Its own choice, 10,000 above the other port, may be taken.
        let bus = ports::port();
        let settings = format!("cluster-enabled yes\ncluster-port {}\n", bus.port());
        let mut server = Self::start_configured(&settings).await;
        server.bus = Some(bus);
        server
    }

    async fn start_with(settings: &str, tls: bool) -> Self {
        Self::start_in(Self::directory(), settings, tls).await
    }

    fn directory() -> TempDir {
        tempfile::tempdir().expect("a temporary directory")
    }

    async fn start_in(directory: TempDir, settings: &str, tls: bool) -> Self {
        let port = ports::port();
        let password = random::hex();
        let (plain_port, tls_port) = if tls { (0, port.port()) } else { (port.port(), 0) };
        let text = format!(
            "bind 127.0.0.1\nport {plain_port}\ntls-port {tls_port}\nrequirepass {password}\nmasterauth {password}\n\
             dir {}\nsave \"\"\nappendonly no\nmaxmemory-policy noeviction\ndaemonize no\n{settings}\n",
            directory.path().display()
        );
        Identity::write(directory.path(), "redis.conf", &text);
        let mut server = Self {
            port,
            password,
            directory,
            tls,
            bus: None,
            process: None,
        };
        server.restart().await;
        server
    }

    /// The URL with password; `rediss://` for a server that speaks TLS.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "rediss" } else { "redis" };
        format!("{scheme}://:{}@127.0.0.1:{}/0", self.password, self.port())
    }

    /// The URL that reaches the server through something on another loopback port, such as a
    /// [`FaultProxy`](crate::proxy::FaultProxy).
    pub fn url_through(&self, port: u16) -> String {
        self.url()
            .replace(&format!(":{}/", self.port()), &format!(":{port}/"))
    }

    /// Its port on 127.0.0.1, the same after a restart.
    pub fn port(&self) -> u16 {
        self.port.port()
    }

    /// The password of the default user.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// A new connection; only for a server that speaks plain TCP.
    pub async fn connection(&self) -> MultiplexedConnection {
        connect(&self.url()).await
    }

    /// The answer to one command, over a connection of its own; only for a server that speaks plain TCP.
    pub async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::Cmd::new();
        command.arg(words);
        let mut connection = self.connection().await;
        command.query_async(&mut connection).await.expect("an answer")
    }

    /// Kills it (SIGKILL). What it held is gone.
    pub async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::KILL);
            process.wait().await;
        }
    }

    /// Stops it where it stands (SIGSTOP): connections stay open and new ones are accepted by the kernel, but nothing
    /// answers.
    pub fn pause(&mut self) {
        self.process
            .as_mut()
            .expect("a running server")
            .signal(Signal::STOP);
    }

    /// Lets a paused server go on (SIGCONT).
    pub fn resume(&mut self) {
        self.process
            .as_mut()
            .expect("a running server")
            .signal(Signal::CONT);
    }

    /// Starts it again after [`kill`](Self::kill), empty, on the same port.
    pub async fn restart(&mut self) {
        self.kill().await;
        let mut command = Command::new(environment::required("TEST_REDIS_BIN"));
        command.arg(self.directory.path().join("redis.conf"));
        let mut process = Process::start(command, self.directory.path());
        until("redis-server to be ready", async || {
            if let Some(status) = process.ended() {
                panic!("redis-server ended with {status}:\n{}", process.output());
            }
            process
                .stdout()
                .iter()
                .any(|line| line.contains("Ready to accept connections"))
                .then_some(())
        })
        .await;
        self.process = Some(process);
    }
}

/// The server that all tests share.
///
/// Other tests use it at the same time: keep to keys of your own, made with [`SharedRedis::key`], and stay away from
/// streams, `FLUSHALL` and `CONFIG SET`.
pub struct SharedRedis {
    url: String,
    prefix: String,
}

impl SharedRedis {
    /// The shared server.
    ///
    /// # Panics
    /// When the tests were not started by `scripts/test`.
    pub fn get() -> Self {
        let prefix = format!("test:{}:", random::hex());
        Self {
            url: environment::required("TEST_REDIS_URL"),
            prefix,
        }
    }

    /// The URL with password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A key that no other test uses; the same name gives the same key.
    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A new connection.
    pub async fn connection(&self) -> MultiplexedConnection {
        connect(&self.url).await
    }
}

async fn connect(url: &str) -> MultiplexedConnection {
    connect_over(url, None).await
}

/// A connection to a server whose certificate is this authority's, where it speaks TLS.
async fn connect_over(url: &str, authority: Option<&str>) -> MultiplexedConnection {
    let client = match authority {
        None => redis::Client::open(url),
        Some(authority) => redis::Client::build_with_tls(
            url,
            TlsCertificates {
                client_tls: None,
                root_cert: Some(authority.as_bytes().to_vec()),
            },
        ),
    };
    // The library's own limits, half a second for an answer, are for a server that is not busy.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    client
        .expect("the URL of a Redis server")
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .expect("a connection to Redis")
}

/// The lines that make servers speak TLS with each other, too, where there is an authority. The nodes of a cluster demand
/// a client's certificate of each other.
fn tls_lines(directory: &TempDir, ca: Option<&Ca>) -> String {
    ca.map_or_else(String::new, |ca| {
        let peer = directory.path().join("peer");
        std::fs::create_dir(&peer).expect("a new directory");
        let files = ca.client("peer").write_to(&peer);
        format!(
            "{}tls-client-cert-file {}\ntls-client-key-file {}\ntls-replication yes\n",
            PrivateRedis::tls_settings(directory, ca, false),
            files.certificate.display(),
            files.key.display(),
        )
    })
}

#[cfg(test)]
mod tests;
