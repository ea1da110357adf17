//! `REDIS_URL`: which servers it names. The client's own parser reads each address, so that what is judged here, what
//! the egress guard refuses and what is dialled are the same.

use std::fmt;

use admission::limits::OwnEndpoint;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisConnectionInfo};
use url::Url;

use crate::endpoints::{Endpoints, endpoint};
use crate::keys::backends::REDIS_URL;
use crate::violation::Violation;

/// What a well-formed one looks like.
pub(crate) const EXAMPLE: &str = "redis://host:6379/0";

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26_379;

/// Which Redis servers are used. `Debug` shows nothing of the addresses: they are secret, and one that was put together
/// wrongly has its password where the host should be.
#[derive(Clone)]
pub enum RedisServers {
    /// The one server at this address.
    Single(Box<ConnectionInfo>),
    /// The primary that the sentinels name.
    Sentinel {
        /// The sentinels, with the login at them.
        sentinels: Vec<ConnectionInfo>,
        /// The name under which they monitor the primary.
        service: String,
        /// Login, database and protocol at the primary.
        primary: RedisConnectionInfo,
    },
    /// The primaries of a cluster, each for the slots that it serves.
    Cluster {
        /// Nodes that are asked for the others; the login is that of all of them.
        seeds: Vec<ConnectionInfo>,
    },
}

impl fmt::Debug for RedisServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single(_) => f.write_str("Single(***)"),
            Self::Sentinel { sentinels, .. } => write!(f, "Sentinel(*** {})", sentinels.len()),
            Self::Cluster { seeds } => write!(f, "Cluster(*** {})", seeds.len()),
        }
    }
}

/// `REDIS_URL`, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct RedisUrl {
    pub(crate) servers: RedisServers,
    /// Whether it asks for TLS.
    pub(crate) tls: bool,
    /// The servers that it names; none for a Unix socket.
    pub(crate) endpoints: Endpoints,
}

impl RedisUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// It names no server that the gateway can use.
    pub(crate) fn parse(address: &str) -> Result<Self, Violation> {
        let (scheme, rest) = address.split_once("://").ok_or_else(malformed)?;
        match scheme {
            "redis" | "rediss" => Self::single(address, rest, scheme == "rediss"),
            "unix" | "redis+unix" => Self::socket(address, rest),
            "redis-sentinel" | "rediss-sentinel" => Self::sentinel(rest, scheme == "rediss-sentinel"),
            "redis-cluster" | "rediss-cluster" => Self::cluster(rest, scheme == "rediss-cluster"),
            _ => Err(malformed()),
        }
    }

    fn single(address: &str, rest: &str, tls: bool) -> Result<Self, Violation> {
        password_is_escaped(rest)?;
        let (url, server) = server(address)?;
        let endpoint = tcp_endpoint(&url, REDIS_PORT)?;
        Ok(Self {
            servers: RedisServers::Single(Box::new(server)),
            tls,
            endpoints: Endpoints(vec![endpoint]),
        })
    }

    fn socket(address: &str, rest: &str) -> Result<Self, Violation> {
        if !rest.is_empty() && !rest.starts_with('/') {
            return Err(says(
                "puts a host or a login before the path of a Unix socket; write unix:///path?user=NAME&pass=PASSWORD&db=0",
            ));
        }
        let url = Url::parse(address).map_err(|_| malformed())?;
        if url.fragment().is_some() {
            return Err(fragment());
        }
        let database = url.query_pairs().find(|(name, _)| name == "db");
        if database.is_some_and(|(_, number)| !is_database(&number)) {
            return Err(database_number());
        }
        let server = url.into_connection_info().map_err(|_| malformed())?;
        Ok(Self {
            servers: RedisServers::Single(Box::new(server)),
            tls: false,
            endpoints: Endpoints::default(),
        })
    }

    fn sentinel(rest: &str, tls: bool) -> Result<Self, Violation> {
        let (servers, endpoints) = several(rest, tls, SENTINEL_PORT)?;
        let (url, server) = servers.first().ok_or_else(malformed)?;
        let known = |name: &str| matches!(name, "service" | "protocol");
        if url.query_pairs().any(|(name, _)| !known(&name)) {
            return Err(says(
                "has a parameter that is not known; service and protocol are",
            ));
        }
        let service = url.query_pairs().find(|(name, _)| name == "service");
        let service = service.map(|(_, name)| name.into_owned());
        let service = service.filter(|name| !name.is_empty()).ok_or_else(|| {
            says("names no service; end it with ?service=NAME, the name under which the sentinels monitor the primary")
        })?;
        let anonymous = |server: &ConnectionInfo| server.addr().clone().into_connection_info();
        let sentinels = servers.iter().map(|(_, server)| anonymous(server));
        Ok(Self {
            servers: RedisServers::Sentinel {
                sentinels: sentinels.collect::<Result<_, _>>().map_err(|_| malformed())?,
                service,
                primary: server.redis_settings().clone(),
            },
            tls,
            endpoints,
        })
    }

    fn cluster(rest: &str, tls: bool) -> Result<Self, Violation> {
        let (servers, endpoints) = several(rest, tls, REDIS_PORT)?;
        let (url, server) = servers.first().ok_or_else(malformed)?;
        if url.query_pairs().any(|(name, _)| name != "protocol") {
            return Err(says("has a parameter that is not known; protocol is"));
        }
        if server.redis_settings().db() != 0 {
            return Err(says("names a database; a cluster has only database 0"));
        }
        Ok(Self {
            servers: RedisServers::Cluster {
                seeds: servers.into_iter().map(|(_, server)| server).collect(),
            },
            tls,
            endpoints,
        })
    }

    /// With a login of the gateway's at the sentinels.
    pub(crate) fn sentinel_login(mut self, user: Option<&str>, password: &str) -> Self {
        if let RedisServers::Sentinel { sentinels, .. } = &mut self.servers {
            for sentinel in sentinels {
                let mut login = sentinel.redis_settings().clone().set_password(password);
                if let Some(user) = user {
                    login = login.set_username(user);
                }
                *sentinel = sentinel.clone().set_redis_settings(login);
            }
        }
        self
    }
}

/// Each server of an address that lists several: as the address of that server alone, and as the client reads it.
fn several(
    rest: &str,
    tls: bool,
    default_port: u16,
) -> Result<(Vec<(Url, ConnectionInfo)>, Endpoints), Violation> {
    password_is_escaped(rest)?;
    let (authority, tail) = rest.split_at(authority_end(rest));
    let (login, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    let scheme = if tls { "rediss" } else { "redis" };
    let (mut servers, mut endpoints) = (Vec::new(), Vec::new());
    for host in hosts.split(',') {
        let (url, server) = server(&format!("{scheme}://{login}{host}{tail}"))?;
        endpoints.push(tcp_endpoint(&url, default_port)?);
        let port = url.port().unwrap_or(default_port);
        let address = match server.addr() {
            ConnectionAddr::TcpTls { host, insecure, .. } => ConnectionAddr::TcpTls {
                host: host.clone(),
                port,
                insecure: *insecure,
                tls_params: None,
            },
            ConnectionAddr::Tcp(host, _) => ConnectionAddr::Tcp(host.clone(), port),
            _ => return Err(malformed()),
        };
        servers.push((url, server.set_addr(address)));
    }
    Ok((servers, Endpoints(endpoints)))
}

/// One server's address over TCP, as the client reads it.
fn server(address: &str) -> Result<(Url, ConnectionInfo), Violation> {
    let url = Url::parse(address).map_err(|_| malformed())?;
    if url.fragment().is_some() {
        return Err(fragment());
    }
    // The client passes it over in silence there.
    if url.query_pairs().any(|(name, _)| name == "db") {
        return Err(says(
            "names its database in the query, where it has no effect; put it in the path, such as /5",
        ));
    }
    let database = url.path().trim_matches('/');
    if !database.is_empty() && !is_database(database) {
        return Err(database_number());
    }
    match url.clone().into_connection_info() {
        Ok(server) => Ok((url, server)),
        Err(_) if url.authority().contains('%') => Err(unescaped()),
        Err(_) => Err(malformed()),
    }
}

fn tcp_endpoint(url: &Url, default_port: u16) -> Result<OwnEndpoint, Violation> {
    let host = url.host_str().filter(|host| !host.contains(','));
    let port = url.port().unwrap_or(default_port);
    let endpoint = host.and_then(|host| endpoint(host.trim_matches(['[', ']']), port));
    endpoint.filter(|_| port != 0).ok_or_else(malformed)
}

/// The server's databases are numbers; how many it has only it knows.
fn is_database(text: &str) -> bool {
    text.parse::<i32>().is_ok_and(|number| number >= 0)
}

/// Where host and login of an address end.
fn authority_end(rest: &str) -> usize {
    rest.find(['/', '?', '#']).unwrap_or(rest.len())
}

/// Behind the host no `@` has a meaning, so one there was meant to end a password.
fn password_is_escaped(rest: &str) -> Result<(), Violation> {
    if rest[authority_end(rest)..].contains('@') {
        Err(unescaped())
    } else {
        Ok(())
    }
}

fn says(what: &'static str) -> Violation {
    Violation::Variable(REDIS_URL.name, what)
}

fn malformed() -> Violation {
    Violation::MalformedSecret(REDIS_URL.name, EXAMPLE)
}

fn unescaped() -> Violation {
    says(
        "holds a user or password with a character that must be percent-encoded (/ as %2F, ? as %3F, # as %23, \
         @ as %40, % as %25)",
    )
}

fn fragment() -> Violation {
    says(
        "has a fragment; certificates are always verified, so remove #insecure, and write a # in a password as %23",
    )
}

fn database_number() -> Violation {
    says("names a database that is not a number from 0 up")
}

#[cfg(test)]
mod tests;
