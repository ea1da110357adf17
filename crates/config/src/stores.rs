//! The stores behind the gateway: Redis and PostgreSQL, or the embedded ones of development.

use std::num::NonZeroU32;
use std::time::Duration;

use admission::limits::OwnEndpoint;
use admission::mode::{DevOnly, Mode};

use crate::endpoints::Endpoints;
use crate::identity::Source;
use crate::keys::Key;
use crate::keys::backends as keys;
use crate::postgres::{self, DatabaseUrl};
use crate::reader::{Read, Reader};
use crate::redis::{self, RedisServers, RedisUrl};
use crate::secret::Secret;
use crate::tls::{Authorities, ClientTls, ClientTlsKeys, load_identity};
use crate::violation::Violation;
use crate::warning::Warning;

/// Which stores are used. The environment alone never leads to the embedded ones.
#[derive(Clone, Debug)]
pub enum Stores {
    /// Real servers.
    External(Box<External>),
    /// Stores in memory. Development only, hence the proof.
    Embedded(DevOnly),
}

/// The real servers.
#[derive(Clone, Debug)]
pub struct External {
    /// Replay marks, revocation messages and audit delivery.
    pub redis: Redis,
    /// Bindings and revocation snapshots.
    pub database: Database,
}

/// How Redis is reached.
#[derive(Clone, Debug)]
pub struct Redis {
    /// `REDIS_URL`, with the login at the sentinels where it names some.
    pub servers: RedisServers,
    /// Authorities and client certificate, for `rediss://`.
    pub tls: ClientTls,
    /// Time to connect.
    pub dial_timeout: Duration,
    /// Time for an answer outside the request path.
    pub read_timeout: Duration,
    /// How many replicas must confirm a replay mark.
    pub min_replicas: u32,
    own_endpoints: Endpoints,
}

/// How PostgreSQL is reached.
#[derive(Clone, Debug)]
pub struct Database {
    /// `DATABASE_URL`: hosts, login, database and `sslmode`.
    pub url: DatabaseUrl,
    /// Authorities (`DATABASE_CA_FILE`, else the URL's `sslrootcert`) and client certificate.
    pub tls: ClientTls,
    /// `DB_MAX_CONNS`, shown in metrics. The gateway opens fewer: one connection for each purpose.
    pub max_connections: NonZeroU32,
    /// A connection older than this is replaced.
    pub max_lifetime: Duration,
    /// Time to connect, TLS and login included.
    pub connect_timeout: Duration,
}

impl External {
    pub(crate) fn read(reader: &mut Reader<'_>, mode: Read<Mode>) -> Read<Self> {
        let redis = Redis::read(reader, mode);
        let database = Database::read(reader, mode);
        Ok(Self {
            redis: redis?,
            database: database?,
        })
    }
}

impl Stores {
    /// Where the servers are reached.
    pub(crate) fn own_endpoints(&self) -> Vec<OwnEndpoint> {
        match self {
            Self::External(external) => {
                let redis = external.redis.own_endpoints.0.iter().cloned();
                redis.chain(external.database.url.endpoints()).collect()
            }
            Self::Embedded(_) => Vec::new(),
        }
    }
}

impl Redis {
    pub(crate) fn read(reader: &mut Reader<'_>, mode: Read<Mode>) -> Read<Self> {
        let url = address(reader, &keys::REDIS_URL, redis::EXAMPLE)
            .and_then(|url| reader.judge(RedisUrl::parse(url.expose())));
        let url = Self::sentinel_login(reader, url);
        let in_use = url.as_ref().map(|url| url.tls).map_err(|reported| *reported);
        let tls = ClientTls::read_for(
            reader,
            mode,
            (&keys::REDIS_URL, in_use),
            &ClientTlsKeys {
                authorities: &keys::REDIS_CA_FILE,
                certificate: &keys::REDIS_CLIENT_CERT_FILE,
                private_key: &keys::REDIS_CLIENT_KEY_FILE,
            },
        );
        let dial_timeout = reader.duration(&keys::REDIS_DIAL_TIMEOUT);
        let read_timeout = reader.duration(&keys::REDIS_READ_TIMEOUT);
        let min_replicas = reader.count_or_zero(&keys::REPLAY_MIN_REPLICAS);
        let ignored = reader.ignored(&[
            &keys::REDIS_WRITE_TIMEOUT,
            &keys::REDIS_POOL_SIZE,
            &keys::REDIS_MIN_IDLE_CONNS,
            &keys::REDIS_POOL_TIMEOUT,
        ]);
        let RedisUrl {
            servers, endpoints, ..
        } = url?;
        let min_replicas = min_replicas?;
        match &servers {
            RedisServers::Sentinel { .. } | RedisServers::Cluster { .. } if min_replicas == 0 => {
                reader.warn(Warning::UnconfirmedMarks);
            }
            _ => {}
        }
        ignored?;
        Ok(Self {
            servers,
            tls: tls?,
            dial_timeout: dial_timeout?,
            read_timeout: read_timeout?,
            min_replicas,
            own_endpoints: endpoints,
        })
    }

    /// Where Redis, its sentinels, or nodes of its cluster are, if the environment names them.
    pub(crate) fn named(reader: &mut Reader<'_>) -> Read<Vec<OwnEndpoint>> {
        match reader.secret(&keys::REDIS_URL)? {
            Some(url) => Ok(reader.judge(RedisUrl::parse(url.expose()))?.endpoints.0),
            None => Ok(Vec::new()),
        }
    }

    /// Adds the login at the sentinels, which servers without them have no use for.
    fn sentinel_login(reader: &mut Reader<'_>, url: Read<RedisUrl>) -> Read<RedisUrl> {
        let user = reader.secret(&keys::REDIS_SENTINEL_USERNAME);
        let password = reader.secret(&keys::REDIS_SENTINEL_PASSWORD);
        let (url, user, password) = (url?, user?, password?);
        match (&url.servers, user, password) {
            (_, None, None) => Ok(url),
            (RedisServers::Single(_) | RedisServers::Cluster { .. }, ..) => Err(reader.report(Violation::Rule(
                "REDIS_SENTINEL_USERNAME and REDIS_SENTINEL_PASSWORD need a redis-sentinel:// address in REDIS_URL; \
                 unset them, or change the address",
            ))),
            (RedisServers::Sentinel { .. }, Some(_), None) => Err(reader.report(Violation::Rule(
                "REDIS_SENTINEL_PASSWORD is required beside REDIS_SENTINEL_USERNAME; set it",
            ))),
            (RedisServers::Sentinel { .. }, user, Some(password)) => {
                Ok(url.sentinel_login(user.as_ref().map(Secret::expose), password.expose()))
            }
        }
    }
}

impl Database {
    pub(crate) fn read(reader: &mut Reader<'_>, mode: Read<Mode>) -> Read<Self> {
        let url = address(reader, &keys::DATABASE_URL, postgres::EXAMPLE)
            .and_then(|url| reader.judge(DatabaseUrl::parse(url.expose())));
        let tls = ClientTls::read(
            reader,
            mode,
            &ClientTlsKeys {
                authorities: &keys::DATABASE_CA_FILE,
                certificate: &keys::DATABASE_CLIENT_CERT_FILE,
                private_key: &keys::DATABASE_CLIENT_KEY_FILE,
            },
        );
        let from_url = match &url {
            Ok(url) => Self::tls_of_url(reader, mode, url),
            Err(reported) => Err(*reported),
        };
        let max = reader.count(&keys::DB_MAX_CONNS);
        let min = reader.count(&keys::DB_MIN_CONNS);
        // The lower bound has no effect, but one above the upper is a mistake in either.
        let max_connections = match (min, max) {
            (Ok(min), Ok(max)) if min > max => Err(reader.report(Violation::Bounds {
                low: keys::DB_MIN_CONNS.name,
                high: keys::DB_MAX_CONNS.name,
            })),
            (Err(reported), _) => Err(reported),
            (Ok(_), max) => max,
        };
        let max_lifetime = reader.duration(&keys::DB_MAX_CONN_LIFETIME);
        let ignored = reader.ignored(&[&keys::DB_MAX_CONN_IDLE, &keys::DB_HEALTH_CHECK_PERIOD]);
        let connect_timeout = reader.duration(&keys::DB_CONNECT_TIMEOUT);
        let (mut url, mut tls, from_url) = (url?, tls?, from_url?);
        url.warnings.drain(..).for_each(|warning| reader.warn(warning));
        tls.authorities = tls.authorities.or(from_url.authorities);
        tls.identity = tls.identity.or(from_url.identity);
        ignored?;
        Ok(Self {
            url,
            tls,
            max_connections: max_connections?,
            max_lifetime: max_lifetime?,
            connect_timeout: connect_timeout?,
        })
    }
}

impl Database {
    /// The files that the URL names, where no variable names others.
    fn tls_of_url(reader: &mut Reader<'_>, mode: Read<Mode>, url: &DatabaseUrl) -> Read<ClientTls> {
        let named = reader.file(&keys::DATABASE_CA_FILE).is_some();
        let authorities = match &url.authorities {
            Some(path) if !named => reader
                .judge(Authorities::load("sslrootcert in DATABASE_URL", path.clone()))
                .map(Some),
            _ => Ok(None),
        };
        let named = reader.file(&keys::DATABASE_CLIENT_CERT_FILE).is_some();
        let identity = match &url.identity {
            Some((certificate, private_key)) if !named => {
                let source = Source {
                    certificate: ("sslcert in DATABASE_URL", certificate.clone()),
                    private_key: ("sslkey in DATABASE_URL", private_key.clone()),
                };
                load_identity(reader, mode, source).map(Some)
            }
            _ => Ok(None),
        };
        Ok(ClientTls {
            authorities: authorities?,
            identity: identity?,
        })
    }
}

/// A backend's address. It may hold a password, so it is never shown.
fn address(reader: &mut Reader<'_>, key: &Key, example: &'static str) -> Read<Secret> {
    let url = reader.secret(key)?;
    let fix = format!(
        "set it, or {}_FILE, to {example} (`caracal-gateway dev` needs none)",
        key.name
    );
    reader.present(key, url, &fix)
}
