//! A gateway that reaches one dependency, or each of its sentinels, through TLS and two proxies.

use crate::world::{NONE, World, around_address, present_to};
use devstack::{Devstack, Minted};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tempfile::TempDir;
use testkit::http::{self, Response};
use testkit::proxy::{Fault, FaultProxy};
use testkit::redis::Sentinels;
use testkit::tls::{Ca, Identity, TlsFront};

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

/// The gateway, and the ways to the dependency: one, or one to each sentinel.
pub(super) struct Scene {
    pub(super) world: World,
    dependency: Dependency,
    ways: Vec<Way>,
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
        let mut ways = Vec::new();
        let world = World::builder()
            .env("REPLAY_TIMEOUT", "1s")
            .env("REDIS_DIAL_TIMEOUT", "1s")
            .env("STS_TIMEOUT", "1s")
            .start_with(async |_: &Devstack, mut variables: BTreeMap<String, String>| {
                if let Some(group) = &group {
                    for port in group.plain_ports() {
                        let target = ([127, 0, 0, 1], port).into();
                        ways.push(Way::to(target, dependency.protocols(), &ca, &other).await);
                    }
                    variables.extend(to_sentinels(group, &ways, &root));
                    return variables;
                }
                let url = variables[dependency.variable()].clone();
                let (start, target, rest) = around_address(&url);
                let way = Way::to(target, dependency.protocols(), &ca, &other).await;
                variables.extend(over_tls(dependency, start, &way.network, rest, &root));
                ways.push(way);
                variables
            })
            .await;
        Self {
            world,
            dependency,
            ways,
            _group: group,
            _directory: directory,
        }
    }

    /// Puts a fault in force on every way, in place of the one before.
    pub(super) async fn set(&self, fault: Where) {
        for way in &self.ways {
            way.set(fault).await;
        }
    }

    /// Everything works again.
    pub(super) async fn mend(&self) {
        self.set(Where::Network(Fault::None)).await;
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

    /// How many connections were taken on so far.
    pub(super) fn attempts(&self) -> u64 {
        self.ways.iter().map(|way| way.network.accepted()).sum()
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
