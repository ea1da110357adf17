//! A primary, its replicas and three sentinels, to fail over.

use std::process::Command;

use redis::aio::MultiplexedConnection;
use rustix::process::Signal;
use tempfile::TempDir;

use super::{PrivateRedis, connect_over, tls_lines};
use crate::environment;
use crate::ports::{self, Reserved};
use crate::process::Process;
use crate::random;
use crate::tls::{Ca, Identity};
use crate::wait::until;

/// The name under which the sentinels monitor the primary.
const SERVICE: &str = "caracal";
/// The user at the sentinels.
const USER: &str = "watcher";

/// One primary and its replicas under three sentinels, two of which must agree. All of them end when dropped.
pub struct Sentinels {
    /// The servers; the first one is the primary at the beginning.
    pub servers: Vec<PrivateRedis>,
    sentinels: Vec<Sentinel>,
    password: String,
    /// The authority of their certificates, where they speak TLS.
    authority: Option<String>,
}

struct Sentinel {
    port: Reserved,
    /// Where it speaks plain TCP beside TLS.
    plain: Option<Reserved>,
    directory: TempDir,
    process: Option<Process>,
}

impl Sentinels {
    /// What the user of [`Sentinels::login`] may do: what clients of a sentinel need, and no more.
    pub const RIGHTS: &str = "resetkeys resetchannels &+switch-master &+promoted-slave -@all +auth +hello +subscribe \
                              +sentinel|master +sentinel|get-master-addr-by-name";

    /// Starts a primary with this many replicas, and the sentinels. Ready to fail over.
    pub async fn start(replicas: usize) -> Self {
        Self::start_with(replicas, None).await
    }

    /// The same, where the servers speak TLS alone and everybody speaks it to them and to the sentinels, with
    /// certificates of `ca` for 127.0.0.1.
    pub async fn start_tls(replicas: usize, ca: &Ca) -> Self {
        Self::start_with(replicas, Some(ca)).await
    }

    async fn start_with(replicas: usize, ca: Option<&Ca>) -> Self {
        let password = random::hex();
        let login = format!("requirepass {password}\nmasterauth {password}\nrepl-diskless-sync-delay 0");
        let mut servers: Vec<PrivateRedis> = Vec::new();
        for _ in 0..=replicas {
            let directory = PrivateRedis::directory();
            let mut settings = format!("{login}\n{}", tls_lines(&directory, ca));
            if let Some(primary) = servers.first() {
                settings += &format!("replicaof 127.0.0.1 {}\n", primary.port());
            }
            servers.push(PrivateRedis::start_in(directory, &settings, ca.is_some()).await);
        }
        for server in &mut servers {
            server.password.clone_from(&password);
        }
        let mut group = Self {
            servers,
            sentinels: Vec::new(),
            password: random::hex(),
            authority: ca.map(|ca| ca.pem().to_owned()),
        };
        for _ in 0..3 {
            let sentinel = group.sentinel(&password, ca).await;
            group.sentinels.push(sentinel);
        }
        group.ready(replicas).await;
        group
    }

    async fn sentinel(&self, password: &str, ca: Option<&Ca>) -> Sentinel {
        let mut sentinel = Sentinel {
            port: ports::port(),
            plain: ca.map(|_| ports::port()),
            directory: tempfile::tempdir().expect("a temporary directory"),
            process: None,
        };
        let plain = sentinel.plain.as_ref();
        let text = format!(
            "bind 127.0.0.1\n{}port {}\ndir {}\ndaemonize no\n{}\
             sentinel monitor {SERVICE} 127.0.0.1 {} 2\nsentinel auth-pass {SERVICE} {password}\n\
             sentinel down-after-milliseconds {SERVICE} 1000\nsentinel failover-timeout {SERVICE} 3000\n\
             user {USER} on >{} {}\n",
            plain.map_or_else(String::new, |plain| format!("port {}\ntls-", plain.port())),
            sentinel.port.port(),
            sentinel.directory.path().display(),
            tls_lines(&sentinel.directory, ca),
            self.servers[0].port(),
            self.password,
            Self::RIGHTS,
        );
        Identity::write(sentinel.directory.path(), "sentinel.conf", &text);
        sentinel.start().await;
        sentinel
    }

    /// Waits until every sentinel knows the others and the replicas, which are up to date.
    async fn ready(&self, replicas: usize) {
        until("the sentinels to know each other and the replicas", async || {
            for sentinel in &self.sentinels {
                let mut connection = self.at(sentinel.port.port(), None).await;
                let facts: std::collections::HashMap<String, String> = redis::cmd("SENTINEL")
                    .arg("MASTER")
                    .arg(SERVICE)
                    .query_async(&mut connection)
                    .await
                    .expect("an answer of a sentinel");
                let knows = |name: &str, count: usize| facts.get(name) == Some(&count.to_string());
                if !knows("num-slaves", replicas) || !knows("num-other-sentinels", 2) {
                    return None;
                }
            }
            Some(())
        })
        .await;
        let primary = &self.servers[0];
        let mut primary = self.at(primary.port(), Some(&primary.password)).await;
        until("the replicas to confirm writes", async || {
            let (_, confirmed): (String, usize) = redis::pipe()
                .set("testkit", 1)
                .cmd("WAIT")
                .arg(replicas)
                .arg(100)
                .query_async(&mut primary)
                .await
                .expect("an answer of the primary");
            (confirmed == replicas).then_some(())
        })
        .await;
    }

    /// A connection to a server or, without a password, a sentinel.
    async fn at(&self, port: u16, password: Option<&str>) -> MultiplexedConnection {
        let login = password.map_or_else(String::new, |password| format!(":{password}@"));
        let scheme = if self.authority.is_some() {
            "rediss"
        } else {
            "redis"
        };
        let url = format!("{scheme}://{login}127.0.0.1:{port}");
        connect_over(&url, self.authority.as_deref()).await
    }

    /// The address of the service, which lists every sentinel.
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self
            .sentinels
            .iter()
            .map(|sentinel| format!("127.0.0.1:{}", sentinel.port.port()))
            .collect();
        let (password, hosts) = (&self.servers[0].password, hosts.join(","));
        let scheme = if self.authority.is_some() {
            "rediss"
        } else {
            "redis"
        };
        format!("{scheme}-sentinel://:{password}@{hosts}/0?service={SERVICE}")
    }

    /// The name under which the sentinels monitor the primary.
    pub fn service(&self) -> &'static str {
        SERVICE
    }

    /// The ports of the sentinels.
    pub fn ports(&self) -> Vec<u16> {
        self.sentinels
            .iter()
            .map(|sentinel| sentinel.port.port())
            .collect()
    }

    /// The ports at which sentinels that speak TLS speak plain TCP too, for TLS of a test's own in front of them.
    pub fn plain_ports(&self) -> Vec<u16> {
        let plain = |sentinel: &Sentinel| sentinel.plain.as_ref().map(Reserved::port);
        self.sentinels.iter().filter_map(plain).collect()
    }

    /// User and password at the sentinels.
    pub fn login(&self) -> (&str, &str) {
        (USER, &self.password)
    }

    /// Which server the first sentinel that runs names: its place in [`Sentinels::servers`].
    pub async fn primary(&self) -> usize {
        self.named(self.running().next().expect("a running sentinel"))
            .await
    }

    fn running(&self) -> impl Iterator<Item = &Sentinel> {
        self.sentinels
            .iter()
            .filter(|sentinel| sentinel.process.is_some())
    }

    /// Which server this sentinel names.
    async fn named(&self, sentinel: &Sentinel) -> usize {
        let mut connection = self.at(sentinel.port.port(), None).await;
        let (_, port): (String, u16) = redis::cmd("SENTINEL")
            .arg("GET-MASTER-ADDR-BY-NAME")
            .arg(SERVICE)
            .query_async(&mut connection)
            .await
            .expect("a primary");
        let named = self.servers.iter().position(|server| server.port() == port);
        named.expect("one of the servers")
    }

    /// Has a replica promoted although the primary is well (`SENTINEL FAILOVER`), and returns when it is named.
    pub async fn fail_over(&self) -> usize {
        let before = self.primary().await;
        let mut connection = self.at(self.sentinels[0].port.port(), None).await;
        until("the sentinel to begin a failover", async || {
            let begun: redis::RedisResult<()> = redis::cmd("SENTINEL")
                .arg("FAILOVER")
                .arg(SERVICE)
                .query_async(&mut connection)
                .await;
            begun.ok()
        })
        .await;
        self.promoted(before).await
    }

    /// Waits until every sentinel that runs names the same server, and another one than this: one that lags would make
    /// the promoted server a replica of the old primary again, if that came back, empty.
    pub async fn promoted(&self, before: usize) -> usize {
        until("another primary to be named", async || {
            let mut all = Vec::new();
            for sentinel in self.running() {
                all.push(self.named(sentinel).await);
            }
            let now = *all.first()?;
            (now != before && all.iter().all(|named| *named == now)).then_some(now)
        })
        .await
    }

    /// Kills a sentinel (SIGKILL).
    pub async fn kill_sentinel(&mut self, index: usize) {
        if let Some(mut process) = self.sentinels[index].process.take() {
            process.signal(Signal::KILL);
            process.wait().await;
        }
    }

    /// Starts a sentinel again; it remembers what it knew.
    pub async fn restart_sentinel(&mut self, index: usize) {
        self.kill_sentinel(index).await;
        self.sentinels[index].start().await;
    }
}

impl Sentinel {
    async fn start(&mut self) {
        let mut command = Command::new(environment::required("TEST_REDIS_BIN"));
        command
            .arg(self.directory.path().join("sentinel.conf"))
            .arg("--sentinel");
        let mut process = Process::start(command, self.directory.path());
        until("the sentinel to be ready", async || {
            if let Some(status) = process.ended() {
                panic!("the sentinel ended with {status}:\n{}", process.output());
            }
            let ready = |line: &String| line.contains("+monitor master");
            process.stdout().iter().any(ready).then_some(())
        })
        .await;
        self.process = Some(process);
    }
}
