//! A gateway that reaches one dependency, or each of its sentinels, through TLS and two proxies.

use crate::world::{NONE, World, around_address, present_to};
use devstack::{Devstack, Minted};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use tempfile::TempDir;
use testkit::gateway::Launch;
use testkit::http::{self, Response};
use testkit::proxy::{Fault, FaultProxy};
use testkit::redis::Sentinels;
use testkit::tls::{Ca, Identity, TlsFront};
use testkit::wait::until;

/// What the gateway depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dependency {
    Redis,
    Postgres,
    Sts,
    Sentinels,
}

impl Dependency {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Redis => "Redis",
            Self::Postgres => "PostgreSQL",
            Self::Sts => "STS",
            Self::Sentinels => "Every sentinel",
        }
    }

    fn variable(self) -> &'static str {
        match self {
            Self::Redis | Self::Sentinels => "REDIS_URL",
            Self::Postgres => "DATABASE_URL",
            Self::Sts => "STS_URL",
        }
    }

    /// The protocols (ALPN) that its server speaks.
    fn protocols(self) -> &'static [&'static str] {
        match self {
            Self::Postgres => &["postgresql"],
            Self::Redis | Self::Sts | Self::Sentinels => &[],
        }
    }
}

/// Where something goes wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum Where {
    /// On the network.
    Network(Fault),
    /// In what the server says, inside its TLS connection.
    Server(Fault),
    /// A server with another authority's certificate.
    WrongCertificate,
}

/// What stands between the gateway and one server: network, TLS, server.
struct Way {
    network: FaultProxy,
    server: FaultProxy,
    stranger: TlsFront,
    _front: TlsFront,
}

impl Way {
    /// A way to the server at `target`, which the gateway knows by a certificate of `ca`.
    async fn to(target: SocketAddr, protocols: &[&str], ca: &Ca, other: &Ca) -> Self {
        let server = FaultProxy::start(target).await;
        let tls = |identity: Identity| TlsFront::start(server.addr(), identity.server_config(protocols));
        let front = tls(ca.server(&["127.0.0.1"])).await;
        let stranger = tls(other.server(&["127.0.0.1"])).await;
        let network = FaultProxy::start(front.addr()).await;
        Self {
            network,
            server,
            stranger,
            _front: front,
        }
    }

    async fn set(&self, fault: Where) {
        let (network, server) = match fault {
            Where::Network(fault) => (fault, Fault::None),
            Where::Server(fault) => (Fault::None, fault),
            Where::WrongCertificate => (Fault::Elsewhere(self.stranger.addr()), Fault::None),
        };
        self.server.set(server).await;
        self.network.set(network).await;
    }
}

/// What the gateway's log says of sentinels.
#[derive(Clone, Copy, Default)]
struct Log {
    /// How many of its lines were read.
    read: usize,
    /// How often one that had answered did not.
    lost: usize,
    /// How often one that had not answered did.
    found: usize,
}

/// A fault, and what had been seen when it began.
pub(super) struct Struck {
    fault: Where,
    lost: usize,
    asked: Vec<u64>,
}

/// The gateway, and the ways to the dependency: one, or one to each sentinel.
pub(super) struct Scene {
    pub(super) world: World,
    dependency: Dependency,
    ways: Vec<Way>,
    /// The ways of gateways that are started later, and what leads them there.
    later: (Vec<Way>, Vec<(String, String)>),
    log: Mutex<Log>,
    _group: Option<Sentinels>,
    _directory: TempDir,
}

impl Scene {
    pub(super) async fn start(dependency: Dependency) -> Self {
        let (ca, other) = (Ca::new(), Ca::new());
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path().join("ca.pem");
        std::fs::write(&root, ca.pem()).expect("a written file");
        let root = root.display().to_string();
        let group = match dependency {
            Dependency::Sentinels => Some(Sentinels::start_tls(1, &ca).await),
            _ => None,
        };
        let (mut ways, mut later) = (Vec::new(), (Vec::new(), Vec::new()));
        let mut builder = World::builder()
            .env("REPLAY_TIMEOUT", "1s")
            .env("REDIS_DIAL_TIMEOUT", "1s");
        builder = match dependency {
            // How long a silent one takes to be noticed, while exchanges are under way.
            Dependency::Sentinels => builder.env("REDIS_READ_TIMEOUT", "1s").env("LOG_LEVEL", "info"),
            _ => builder.env("STS_TIMEOUT", "1s"),
        };
        let world = builder
            .start_with(async |_: &Devstack, mut variables: BTreeMap<String, String>| {
                let url = variables[dependency.variable()].clone();
                let (start, target, rest) = around_address(&url);
                let targets = match &group {
                    Some(group) => group.plain_ports(),
                    None => vec![target.port()],
                };
                for port in targets {
                    let target = ([127, 0, 0, 1], port).into();
                    for ways in [&mut ways, &mut later.0] {
                        ways.push(Way::to(target, dependency.protocols(), &ca, &other).await);
                    }
                }
                let lead = |ways: &[Way]| match &group {
                    Some(group) => to_sentinels(group, ways, &root),
                    None => over_tls(dependency, start, &ways[0].network, rest, &root),
                };
                later.1 = lead(&later.0);
                variables.extend(lead(&ways));
                variables
            })
            .await;
        Self {
            world,
            dependency,
            ways,
            later,
            log: Mutex::default(),
            _group: group,
            _directory: directory,
        }
    }

    /// Puts a fault in force on every way, in place of the one before.
    pub(super) async fn set(&self, fault: Where) -> Struck {
        let struck = Struck {
            fault,
            lost: self.log().lost,
            asked: self.ways.iter().map(|way| way.network.asked()).collect(),
        };
        for way in self.ways.iter().chain(&self.later.0) {
            way.set(fault).await;
        }
        struck
    }

    /// Everything works again.
    pub(super) async fn mend(&self) {
        self.set(Where::Network(Fault::None)).await;
    }

    /// Waits until the fault has met every sentinel: the gateway has noticed that it cannot hear it, or asks it at least.
    /// What becomes of the others is seen by requests and by `/ready`.
    pub(super) async fn noticed(&self, struck: &Struck) {
        if self.dependency != Dependency::Sentinels {
            return;
        }
        until("the gateway to notice", async || {
            let noticed = match struck.fault {
                Where::Network(Fault::Delay(_)) => {
                    let mut ways = self.ways.iter().zip(&struck.asked);
                    ways.all(|(way, asked)| way.network.asked() > *asked)
                }
                _ => self.log().lost >= struck.lost + self.ways.len(),
            };
            noticed.then_some(())
        })
        .await;
    }

    /// Waits until the gateway hears every sentinel again.
    pub(super) async fn heard(&self) {
        until("every sentinel to be heard", async || {
            let log = self.log();
            (log.lost == log.found).then_some(())
        })
        .await;
    }

    fn log(&self) -> Log {
        let mut log = self.log.lock().expect("the log");
        for line in self.world.gateway.stderr_after(log.read) {
            log.read += 1;
            log.lost += usize::from(line.contains("a sentinel does not answer"));
            log.found += usize::from(line.contains("a sentinel answers again"));
        }
        *log
    }

    /// Another gateway, about to be started.
    pub(super) fn launch(&self) -> Launch {
        let variables = self.later.1.iter();
        let variables: Vec<_> = variables.map(|(name, value)| (&**name, &**value)).collect();
        self.world.launch(&variables)
    }

    /// Has the gateway ask a dependency that it does not ask all the time.
    pub(super) async fn ask(&self) {
        if self.dependency == Dependency::Postgres {
            self.world
                .database
                .execute("NOTIFY caracal_gateway_bindings")
                .await;
        }
    }

    /// How many connections of later gateways were taken on so far.
    pub(super) fn attempts(&self) -> u64 {
        self.later.0.iter().map(|way| way.network.accepted()).sum()
    }

    pub(super) fn mint(&self) -> Minted {
        self.world.mint(NONE)
    }

    /// The reason of `/ready`; none when it is ready.
    pub(super) async fn reason(&self) -> Option<String> {
        let answer = http::get(self.world.addr(), "/ready", &[]).await;
        (answer.status() != 200).then(|| answer.json()["reason"].as_str().unwrap_or_default().to_owned())
    }
}

/// One request.
pub(super) async fn request(addr: SocketAddr, mandate: &Minted) -> Response {
    present_to(addr, mandate.token.expose(), NONE, "/").await
}

/// The variables that lead the gateway through TLS: a URL is `start`, address, `rest`.
fn over_tls(
    dependency: Dependency,
    start: &str,
    network: &FaultProxy,
    rest: &str,
    root: &str,
) -> Vec<(String, String)> {
    let at = network.addr();
    let variables = match dependency {
        Dependency::Redis | Dependency::Sentinels => vec![
            (
                "REDIS_URL",
                format!("{}{at}{rest}", start.replace("redis://", "rediss://")),
            ),
            ("REDIS_CA_FILE", root.to_owned()),
        ],
        Dependency::Postgres => {
            let sign = if rest.contains('?') { '&' } else { '?' };
            let tls = format!("sslmode=verify-full&sslnegotiation=direct&sslrootcert={root}");
            vec![("DATABASE_URL", format!("{start}{at}{rest}{sign}{tls}"))]
        }
        Dependency::Sts => vec![
            ("STS_URL", format!("https://{at}{rest}")),
            ("STS_CA_FILE", root.to_owned()),
        ],
    };
    variables
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// The variables that lead the gateway to the sentinels on these ways.
fn to_sentinels(group: &Sentinels, ways: &[Way], root: &str) -> Vec<(String, String)> {
    let mut url = group.url();
    for (port, way) in group.ports().into_iter().zip(ways) {
        url = url.replace(&format!(":{port}"), &format!(":{}", way.network.port()));
    }
    let (user, password) = group.login();
    [
        ("REDIS_URL", url.as_str()),
        ("REDIS_CA_FILE", root),
        ("REDIS_SENTINEL_USERNAME", user),
        ("REDIS_SENTINEL_PASSWORD", password),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}
